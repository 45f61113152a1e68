//! What can go wrong between a model's name and its files.

use std::path::PathBuf;

use flowbench_net::NetError;
use thiserror::Error;

/// Why a model is not to be had, or cannot be trusted. Holds no credentials.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// Neither the catalog nor the store nor the disk knows it.
    #[error("there is no model `{name}`")]
    UnknownModel {
        /// As the user wrote it.
        name: String,
        /// The closest name that exists.
        similar: Option<String>,
    },
    /// Known, but its files are not here.
    #[error("model `{name}` is not on this machine")]
    NotPulled {
        /// Catalog name.
        name: String,
    },
    /// Not usable as a name.
    #[error(
        "`{name}` cannot be a model's name: it is made of letters, digits, `.`, `_` and `-`, at most 100"
    )]
    BadName {
        /// As the user wrote it.
        name: String,
    },
    /// A path that leads to no model.
    #[error("`{}` is not a model: {reason}", path.display())]
    NoModelAt {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The record offers no source of the asked kind, or none that we know.
    #[error("model `{name}` cannot be had from {asked}")]
    NoSuchSource {
        /// Catalog name.
        name: String,
        /// What was asked for.
        asked: String,
    },
    /// Every source failed.
    #[error("model `{name}` could not be pulled: {}", attempts.join("; "))]
    AllFailed {
        /// Catalog name.
        name: String,
        /// What each source said.
        attempts: Vec<String>,
        /// True if one of them sent other bytes than the record promises.
        is_integrity: bool,
    },
    /// Other bytes than promised.
    #[error("`{file}` has digest {found}, but its record says {expected}")]
    Digest {
        /// File.
        file: String,
        /// From the record.
        expected: String,
        /// Of the bytes that came.
        found: String,
    },
    /// Another size than promised.
    #[error("`{file}` has {found} bytes, but its record says {expected}")]
    Size {
        /// File.
        file: String,
        /// From the record.
        expected: u64,
        /// Stated by the server, or counted.
        found: u64,
    },
    /// More than anybody promised.
    #[error("`{file}` is larger than {limit} bytes")]
    TooLarge {
        /// File.
        file: String,
        /// The most that is taken.
        limit: u64,
    },
    /// The server said no.
    #[error("`{host}` answered {status} for `{file}`")]
    Answer {
        /// Host.
        host: String,
        /// HTTP status.
        status: u16,
        /// What was asked for.
        file: String,
    },
    /// The request failed or was refused.
    #[error("`{file}`: {source}")]
    Net {
        /// What was asked for.
        file: String,
        /// Why it did not come.
        source: NetError,
    },
    /// No address of a package index.
    #[error("no Python package index is configured, and Python could not be asked for its own: {reason}")]
    NoIndex {
        /// Why not.
        reason: String,
    },
    /// The index said something we do not understand.
    #[error("the package index's page of `{package}` cannot be read: {reason}")]
    Index {
        /// Package.
        package: String,
        /// Why.
        reason: String,
    },
    /// The index has the package, but not that.
    #[error("the package index has no wheel of `{package}` {version}")]
    NoWheel {
        /// Package.
        package: String,
        /// Version.
        version: String,
    },
    /// The archive is broken, hostile or not what it should be.
    #[error("archive `{archive}`: {reason}")]
    Archive {
        /// File name of the archive.
        archive: String,
        /// Why.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("`{}`: {source}", path.display())]
    Disk {
        /// File or folder.
        path: PathBuf,
        /// In the system's words.
        source: std::io::Error,
    },
    /// The store's own note of an installed model is damaged.
    #[error("`{}` is not a note of an installed model: {reason}", path.display())]
    Note {
        /// The note.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Work beside the event loop ended without an answer.
    #[error("internal: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl CatalogError {
    /// True if bytes are not what their record promises: exit code 5.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Digest { .. } | Self::Size { .. } | Self::TooLarge { .. } => true,
            Self::AllFailed { is_integrity, .. } => *is_integrity,
            _ => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownModel { similar: Some(similar), .. } => format!("did you mean `{similar}`?"),
            Self::UnknownModel { .. } => "`flowbench models list` shows what there is".to_owned(),
            Self::NotPulled { name } => format!("flowbench models pull {name}"),
            Self::NoIndex { .. } => "set PIP_INDEX_URL, or `index-url` in pip's configuration".to_owned(),
            Self::Answer { status: 401 | 403, .. } => {
                "the model may ask for an accepted licence; set HF_TOKEN for the hub".to_owned()
            }
            Self::Net { source, .. } => return source.hint(),
            Self::Note { path, .. } => format!("delete `{}` and pull the model again", path.display()),
            Self::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "make room and pull again: what has come so far is kept".to_owned()
            }
            error if error.is_integrity() => {
                "do not use it; the source or the record is wrong, so ask whoever wrote the record".to_owned()
            }
            Self::AllFailed { .. } => {
                "pull again to go on where it stopped, choose another source with --from, or bring the files \
                 yourself with `flowbench models add`"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

/// Names the file or folder in a disk error.
pub(crate) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> CatalogError {
    let path = path.into();
    move |source| CatalogError::Disk { path, source }
}
