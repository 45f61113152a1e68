//! What can go wrong with what is kept, each with the path and, where there is one, a way out.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A journal that cannot be written, read or resumed.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("journal `{}` cannot be {action}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// `created`, `written`, `read` or `synced`.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No space left; the record was taken back whole, and all earlier ones are safe.
    #[error("the disk is full: journal `{}` keeps every finished line so far, and line {line} is not among them", path.display())]
    DiskFull {
        /// Which file.
        path: PathBuf,
        /// Line that could not be kept.
        line: u64,
    },
    /// Another process runs or resumes this batch.
    #[error("batch `{}` is being run by another process", path.parent().unwrap_or(path).display())]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// There is one already.
    #[error("journal `{}` is there already", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// Bytes in the middle that are no record.
    #[error("journal `{}` is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where the damage starts.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The header never reached the disk, so nothing had run.
    #[error("journal `{}` has no header: the batch was stopped before its first line", path.display())]
    NoHeader {
        /// Which file.
        path: PathBuf,
    },
    /// Written by a newer Flowbench.
    #[error("journal `{}` has version {found}, and this program reads up to {known}", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// What is to be resumed is not what was begun.
    #[error("batch `{run}` cannot be resumed: {} changed since it began", changed.join(" and "))]
    Changed {
        /// Run id.
        run: String,
        /// `the flow`, `the data`, `the mapping`, `the variants`.
        changed: Vec<&'static str>,
    },
    /// An earlier write to the disk failed in the background; what came after it may not be durable.
    #[error("journal `{}` could not be synced: {message}", path.display())]
    Sync {
        /// Which file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

impl JournalError {
    /// What to do, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::DiskFull { .. } => "free some space, then go on with `--resume`".to_owned(),
            Self::Locked { .. } => "wait for it, or end it".to_owned(),
            Self::Damaged { path, offset, .. } => format!(
                "keep a copy, then cut `{}` off at byte {offset} to resume from the lines before it",
                path.display()
            ),
            Self::NoHeader { .. } => "start the batch anew".to_owned(),
            Self::Newer { .. } => "use the newer program".to_owned(),
            Self::Changed { .. } => "start a new batch, or bring the old state back".to_owned(),
            _ => return None,
        })
    }

    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}

/// A database, event log or run folder that cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("`{}` cannot be {action}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The file is no database, or a broken one.
    #[error("database `{}` is damaged: {message}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// SQLite's words.
        message: String,
    },
    /// Written by a newer Flowbench.
    #[error("database `{}` has version {found}, and this program knows up to {known}", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Other processes held it for too long.
    #[error("database `{}` is busy", path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// Anything else SQLite says.
    #[error("database `{}`: {message}", path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// SQLite's words.
        message: String,
    },
    /// An identifier that could leave the state folder.
    #[error("`{id}` is no run id")]
    BadId {
        /// As given.
        id: String,
    },
    /// A line of an event log that is no event.
    #[error("event log `{}`, line {line}: {message}", path.display())]
    BadEvent {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
}

impl StoreError {
    /// What to do, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Corrupt { path, .. } => format!(
                "move `{}` away to start with an empty one; runs keep their own folders beside it",
                path.display()
            ),
            Self::Newer { .. } => "use the newer program; this one leaves the file as it is".to_owned(),
            Self::Busy { .. } => "try again when the other processes are done".to_owned(),
            _ => return None,
        })
    }

    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}

/// A recording that cannot be written or read.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file system refused.
    #[error("recording `{}` cannot be {action}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error("`{}` is no recording", path.display())]
    NotARecording {
        /// Which file.
        path: PathBuf,
    },
    /// Written by a newer Flowbench.
    #[error("recording `{}` has version {found}, and this program reads up to {known}", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A line that is no entry.
    #[error("recording `{}`, line {line}: {message}", path.display())]
    BadEntry {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
}

impl RecordingError {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}
