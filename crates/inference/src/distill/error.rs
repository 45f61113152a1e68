//! Why a static model could not be made.

use std::path::PathBuf;

use thiserror::Error;

use crate::InferenceError;

/// Why a static model could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DistillError {
    /// The encoder failed.
    #[error(transparent)]
    Encoder(#[from] InferenceError),
    /// The tokenizer cannot be used.
    #[error("the encoder's tokenizer cannot be used: {problem}")]
    Tokenizer {
        /// What is wrong.
        problem: String,
    },
    /// Words were asked for, and the tokenizer takes none.
    #[error("whole words cannot be added to a tokenizer of the kind `{kind}`")]
    NoWholeWords {
        /// What it is.
        kind: String,
    },
    /// A setting outside its range.
    #[error("`{name}` must be {expected}, not {found}")]
    Option {
        /// Which.
        name: &'static str,
        /// Its range.
        expected: String,
        /// What was given.
        found: String,
    },
    /// Vectors of which no components can be found.
    #[error("the encoder gives numbers that are none, so its weights must be damaged")]
    NotFinite,
    /// The caller wanted no more.
    #[error("distilling was cancelled")]
    Cancelled,
    /// The model cannot be written.
    #[error("`{}` cannot be written: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A bug.
    #[error("internal: {problem}; please report this")]
    Internal {
        /// What happened.
        problem: String,
    },
}

impl DistillError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWholeWords { .. } => {
                Some("leave the words out; the corpus still decides how much each token weighs".to_owned())
            }
            Self::Encoder(error) => error.hint(),
            _ => None,
        }
    }
}
