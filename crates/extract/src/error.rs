//! Why a document gave no text.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A document without text. The caller adds which document.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum ExtractError {
    /// Content of no kind that can be read.
    #[error("no reader for this kind of file ({found})")]
    Unsupported {
        /// What it looks like.
        found: String,
    },
    /// It is locked, and no password was given.
    #[error("it is encrypted and needs a password")]
    NeedsPassword,
    /// It is locked, and the password does not open it.
    #[error("the password does not open it")]
    WrongPassword,
    /// It is not what its kind demands.
    #[error("it is damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// It breaks a limit.
    #[error("it is larger than allowed: {what} is above {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// The limit, in words.
        limit: String,
    },
    /// It took too long.
    #[error("no text came within {seconds} s")]
    TimedOut {
        /// Time given.
        seconds: u64,
    },
    /// The process that read it died.
    #[error("its reader crashed: {reason}")]
    Crashed {
        /// How.
        reason: String,
    },
    /// The process that reads cannot be started.
    #[error("the reader of documents cannot be started: {reason}")]
    NoReader {
        /// Why.
        reason: String,
    },
}

impl ExtractError {
    /// What to do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NeedsPassword => "give the source a `password: \"${env:NAME}\"`",
            Self::WrongPassword => "correct the variable that the source's `password` names",
            Self::Unsupported { .. } => "leave it out with `exclude`, or convert it",
            Self::Damaged { .. } => {
                "open and save it again with the program it comes from, or leave it out with `exclude`"
            }
            Self::TooLarge { .. } | Self::TimedOut { .. } => "split it, or raise the source's `limits`",
            Self::Crashed { .. } | Self::NoReader { .. } => return None,
        })
    }
}
