//! What can be wrong with a static model's files.

use std::path::PathBuf;

use flowbench_core::ports::{ModelError, ModelErrorKind};
use thiserror::Error;

/// Why a static model could not be loaded or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StaticModelError {
    /// A file cannot be opened or read.
    #[error("model file `{}` cannot be read: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that every static model has is not there.
    #[error("a static model has a file `{name}`, and this one has none")]
    MissingFile {
        /// Path within the model.
        name: String,
    },
    /// The weights are not what a static model's are.
    #[error("the model's `{file}` {problem}")]
    BadWeights {
        /// Path within the model.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The tokenizer cannot be used.
    #[error("the model's tokenizer {problem}")]
    Tokenizer {
        /// What is wrong.
        problem: String,
    },
    /// The settings cannot be read.
    #[error("the model's `{file}` cannot be read: {problem}")]
    BadConfig {
        /// Path within the model.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// More numbers were asked for than the model has.
    #[error("vectors of {asked} numbers were asked for, and the model makes {most}")]
    Dimensions {
        /// Asked for.
        asked: usize,
        /// The model's own.
        most: usize,
    },
    /// A bug.
    #[error("internal: {problem}; please report this")]
    Internal {
        /// What happened.
        problem: String,
    },
}

impl StaticModelError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::MissingFile { .. } => "static models have the files `model.safetensors`, `tokenizer.json` \
                                         and `config.json`; other models are loaded as encoders"
                .to_owned(),
            Self::Dimensions { most, .. } => format!("ask for 1 to {most} dimensions, or for none"),
            _ => return None,
        })
    }
}

impl From<StaticModelError> for ModelError {
    fn from(error: StaticModelError) -> Self {
        let kind = match &error {
            StaticModelError::Read { .. } | StaticModelError::MissingFile { .. } => ModelErrorKind::NotFound,
            StaticModelError::Internal { .. } => ModelErrorKind::Internal,
            _ => ModelErrorKind::InvalidRequest,
        };
        let told = ModelError::new(kind, error.to_string());
        match error.hint() {
            Some(hint) => told.with_hint(hint),
            None => told,
        }
    }
}
