//! A source, whatever its kind.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowbench_net::Outbound;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::age::{AgeError, parse_age};
use super::folder::Folder;
use super::rows::Rows;
use super::web::Web;
use super::{Entry, Fetched, Problem, SourceSpec};

/// Values of environment variables by name.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a source needs from outside.
#[derive(Clone)]
pub struct SourceContext {
    /// Folder that relative paths start from: the spec's own.
    pub base: PathBuf,
    /// The way to the web; `None` for none.
    pub web: Option<Outbound>,
    /// True when somebody approved the addresses of this spec: their hosts may then be called whatever the policy of
    /// `web` says, private ones included.
    pub is_web_approved: bool,
    /// Value of the environment variable of this name.
    pub variable: Variables,
    /// Folder for what is put aside between listing and fetching; `None` for the system's.
    pub scratch: Option<PathBuf>,
    /// What is known of earlier fetches, for conditional requests.
    pub earlier: Option<Arc<dyn Earlier>>,
}

impl SourceContext {
    /// Local sources below this folder, and nothing else.
    pub fn local(base: impl Into<PathBuf>) -> Self {
        Self {
            base: base.into(),
            web: None,
            is_web_approved: false,
            variable: Arc::new(|_| None),
            scratch: None,
            earlier: None,
        }
    }
}

/// What an earlier build kept of documents. Asked while a web source is listed, so that what did not change is not
/// sent again.
pub trait Earlier: Send + Sync {
    /// Stamp of a document when it was fetched last.
    fn stamp(&self, source: &str, name: &str) -> Option<String>;
    /// Its bytes, from which links are followed again.
    fn bytes(&self, source: &str, name: &str) -> Option<Vec<u8>>;
}

/// What a source holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// Documents, in order of the bytes of their names.
    pub entries: Vec<Entry>,
    /// Documents that cannot be had.
    pub problems: Vec<Problem>,
    /// Documents that cannot be had beyond those told in `problems`.
    #[serde(default)]
    pub untold: usize,
    /// What is worth knowing and costs no document.
    #[serde(default)]
    pub notes: Vec<Problem>,
}

/// A source that cannot be opened or listed at all.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It says nothing of where.
    #[error("a source has no place; give it one of `path`, `rows`, `sitemap` and `site`")]
    NoPlace,
    /// It says several.
    #[error("a source has several places: {}", keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))]
    ManyPlaces {
        /// Keys.
        keys: Vec<&'static str>,
    },
    /// A key that does not go with the kind of source.
    #[error("`{key}` means nothing for a source with `{place}`")]
    Pointless {
        /// Key.
        key: &'static str,
        /// Key that says what the source is.
        place: &'static str,
    },
    /// A key with a value that cannot be used.
    #[error("`{key}` of a source cannot be used: {reason}")]
    Setting {
        /// Key.
        key: &'static str,
        /// Why.
        reason: String,
    },
    /// `max_age` that is none.
    #[error("`max_age` of a source cannot be used: {0}")]
    Age(#[from] AgeError),
    /// A glob that is none.
    #[error("the pattern `{pattern}` cannot be read: {reason}")]
    Glob {
        /// Pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// The variable with the password is not set.
    #[error("the password of a source is in the variable `{name}`, which is not set")]
    NoPassword {
        /// Variable.
        name: String,
    },
    /// The place cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unread {
        /// Path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pipe, device or the like.
    #[error("`{}` is neither a file nor a folder of documents", path.display())]
    NoFile {
        /// Path.
        path: PathBuf,
    },
    /// Not in a working tree.
    #[error("`{}` is in no git working tree", path.display())]
    NoRepository {
        /// Folder.
        path: PathBuf,
    },
    /// What git keeps cannot be read.
    #[error("`{}` cannot be read: {reason}", path.display())]
    Git {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Rows of a format that is not read.
    #[error("`{}` has no format of rows (`.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`, each also with `.gz`)", path.display())]
    RowFormat {
        /// File.
        path: PathBuf,
    },
    /// Rows that cannot be read from the start.
    #[error("rows of `{}`: {reason}", path.display())]
    Rows {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file of rows that never holds still.
    #[error("`{}` changed while it was read, twice", path.display())]
    Restless {
        /// File.
        path: PathBuf,
    },
    /// Nowhere to put things aside.
    #[error("nothing can be put aside in `{}`: {source}", path.display())]
    Scratch {
        /// Folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A web source where no network is to be used.
    #[error("the source `{name}` is on the web, and the network is not to be used here")]
    NoNetwork {
        /// Source.
        name: String,
    },
    /// An address that cannot be used.
    #[error("address `{address}` cannot be used: {reason}")]
    Address {
        /// Address, without query.
        address: String,
        /// Why.
        reason: String,
    },
    /// The list of pages cannot be had.
    #[error("`{address}`: {reason}")]
    Web {
        /// Address.
        address: String,
        /// Why.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl SourceError {
    /// What to do, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPassword { name } => format!("set `{name}`, or remove `password` from the source"),
            Self::NoRepository { .. } => {
                "remove `git` from the source, or name a folder of a clone".to_owned()
            }
            Self::Restless { .. } => "build again when nothing writes to it".to_owned(),
            Self::Unread { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "paths are relative to the file that names them".to_owned()
            }
            Self::Web { hint, .. } => return hint.clone(),
            _ => return None,
        })
    }
}

/// What documents of all kinds of sources get.
#[derive(Debug)]
pub(super) struct Common {
    pub name: String,
    pub max_bytes: u64,
    pub password: Option<String>,
    pub language: Option<String>,
}

/// An opened source. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    spec: SourceSpec,
    common: Common,
    place: Place,
}

enum Place {
    Folder(Arc<Folder>),
    Rows(Arc<Rows>),
    Web(Box<Web>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.inner.common.name).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a source: checks its settings and that its place is there. Reads no documents and calls nobody.
    pub fn open(spec: &SourceSpec, context: &SourceContext) -> Result<Self, SourceError> {
        let place = place_of(spec)?;
        check_keys(spec, place)?;
        if let Some(age) = &spec.max_age {
            parse_age(age)?;
        }
        let common = Common {
            name: spec.name.clone().unwrap_or_else(|| usual_name(spec)),
            max_bytes: spec.max_bytes.unwrap_or(flowbench_extract::Limits::default().max_input_bytes),
            password: password_of(spec, context)?,
            language: spec.language.clone(),
        };
        let place = match (&spec.path, &spec.rows) {
            (Some(path), _) => Place::Folder(Arc::new(Folder::open(spec, &context.base, path)?)),
            (_, Some(rows)) => {
                Place::Rows(Arc::new(Rows::open(spec, &context.base, rows, context.scratch.clone())?))
            }
            _ => Place::Web(Box::new(Web::open(spec, context, &common)?)),
        };
        Ok(Self { inner: Arc::new(Inner { spec: spec.clone(), common, place }) })
    }

    /// Its name in reports.
    pub fn name(&self) -> &str {
        &self.inner.common.name
    }

    /// What it was opened from.
    pub fn spec(&self) -> &SourceSpec {
        &self.inner.spec
    }

    /// What opens its encrypted documents; never kept.
    pub fn password(&self) -> Option<&str> {
        self.inner.common.password.as_deref()
    }

    /// True where nobody is called.
    pub fn is_local(&self) -> bool {
        match &self.inner.place {
            Place::Folder(_) | Place::Rows(_) => true,
            Place::Web(_) => false,
        }
    }

    /// Where it leads, links followed, if that is outside this folder: somebody should approve it first.
    pub fn outside(&self, root: &Path) -> Option<PathBuf> {
        let place = match &self.inner.place {
            Place::Folder(folder) => folder.place(),
            Place::Rows(rows) => rows.place(),
            Place::Web(_) => return None,
        };
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        (!place.starts_with(&root)).then_some(place)
    }

    /// Lists its documents.
    pub async fn list(&self) -> Result<Listing, SourceError> {
        match &self.inner.place {
            Place::Folder(folder) => {
                let folder = folder.clone();
                self.blocking(move |common| folder.list(common)).await
            }
            Place::Rows(rows) => {
                let rows = rows.clone();
                self.blocking(move |common| rows.list(common)).await
            }
            Place::Web(web) => Box::pin(web.list(&self.inner.common)).await,
        }
    }

    /// Fetches a document that it listed, now or in an earlier process. The entry comes back with the stamp of what
    /// was fetched, which may be newer.
    pub async fn fetch(&self, entry: &Entry) -> Result<Fetched, Problem> {
        match &self.inner.place {
            Place::Folder(folder) => {
                let (folder, entry) = (folder.clone(), entry.clone());
                self.blocking(move |common| folder.fetch(&entry, common)).await
            }
            Place::Rows(rows) => {
                let (rows, entry) = (rows.clone(), entry.clone());
                self.blocking(move |common| rows.fetch(&entry, common)).await
            }
            Place::Web(web) => Box::pin(web.fetch(entry, &self.inner.common)).await,
        }
    }

    /// Does slow work where it keeps nobody waiting.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Common) -> T + Send + 'static) -> T {
        let inner = self.inner.clone();
        match tokio::task::spawn_blocking(move || work(&inner.common)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down, and so is whoever waits here.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// The one key that says what a source is.
fn place_of(spec: &SourceSpec) -> Result<&'static str, SourceError> {
    let mut keys = Vec::new();
    let given = [
        ("path", spec.path.is_some()),
        ("rows", spec.rows.is_some()),
        ("sitemap", spec.sitemap.is_some()),
        ("site", !spec.site.is_empty()),
    ];
    keys.extend(given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key));
    match keys[..] {
        [] => Err(SourceError::NoPlace),
        [one] => Ok(one),
        _ => Err(SourceError::ManyPlaces { keys }),
    }
}

/// Tells keys that would silently do nothing.
fn check_keys(spec: &SourceSpec, place: &'static str) -> Result<(), SourceError> {
    let given: [(&'static str, bool, &[&str]); 11] = [
        ("include", !spec.include.is_empty(), &["path", "sitemap", "site"]),
        ("exclude", !spec.exclude.is_empty(), &["path", "sitemap", "site"]),
        ("ignore_files", spec.ignore_files.is_some(), &["path"]),
        ("git", spec.git.is_some(), &["path"]),
        ("text", spec.text.is_some(), &["rows"]),
        ("id", spec.id.is_some(), &["rows"]),
        ("depth", spec.depth.is_some(), &["site"]),
        ("max_pages", spec.max_pages.is_some(), &["sitemap", "site"]),
        ("rate", spec.rate.is_some(), &["sitemap", "site"]),
        ("password", spec.password.is_some(), &["path", "sitemap", "site"]),
        ("metadata", spec.metadata.is_some(), &["path", "rows", "sitemap", "site"]),
    ];
    for (key, is_given, places) in given {
        if is_given && !places.contains(&place) {
            return Err(SourceError::Pointless { key, place });
        }
    }
    Ok(())
}

/// The last part of the place: file, folder or host.
fn usual_name(spec: &SourceSpec) -> String {
    if let Some(path) = spec.path.as_ref().or(spec.rows.as_ref()) {
        let last = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        return last.unwrap_or_else(|| path.clone());
    }
    let address = spec.sitemap.as_ref().or(spec.site.first()).cloned().unwrap_or_default();
    let host = url::Url::parse(&address).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or(address)
}

fn password_of(spec: &SourceSpec, context: &SourceContext) -> Result<Option<String>, SourceError> {
    let Some(text) = &spec.password else { return Ok(None) };
    let name = text.trim().strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}'));
    let Some(name) = name else {
        // The text is not told: it may well be the password.
        let reason = "write `${env:NAME}`, and the password into that variable".to_owned();
        return Err(SourceError::Setting { key: "password", reason });
    };
    match (context.variable)(name) {
        Some(password) => Ok(Some(password)),
        None => Err(SourceError::NoPassword { name: name.to_owned() }),
    }
}
