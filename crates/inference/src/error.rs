//! What can go wrong with a local model, with the facts as fields and a hint where there is something to do.

use std::path::PathBuf;

use thiserror::Error;

use crate::gguf::GgufError;

/// Why a local model could not be loaded, or gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The file cannot be opened or read.
    #[error("model file `{}` cannot be read: {source}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a sound GGUF file.
    #[error("model file `{}`: {source}", path.display())]
    Gguf {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: GgufError,
    },
    /// No decoder for this family.
    #[error("models of architecture `{found}` are not supported")]
    UnsupportedArchitecture {
        /// What the file says it is.
        found: String,
    },
    /// The file asks for something this decoder cannot do.
    #[error("the model needs {what}, which is not supported")]
    UnsupportedFeature {
        /// What it asks for.
        what: String,
    },
    /// Metadata the model cannot be run without.
    #[error("the model file does not say `{key}`")]
    MissingMetadata {
        /// Which key.
        key: String,
    },
    /// Metadata with an impossible value.
    #[error("the model file's `{key}` {problem}")]
    BadMetadata {
        /// Which key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor the architecture needs is not there.
    #[error("the model file has no tensor `{name}`")]
    MissingTensor {
        /// Which tensor.
        name: String,
    },
    /// A tensor's dimensions do not fit the rest.
    #[error("tensor `{name}` has the dimensions {found:?} where {expected:?} were expected")]
    TensorShape {
        /// Which tensor.
        name: String,
        /// As in the file, rows first.
        found: Vec<usize>,
        /// As the metadata wants.
        expected: Vec<usize>,
    },
    /// The tokenizer's metadata cannot be used.
    #[error("the model file's tokenizer {problem}")]
    Tokenizer {
        /// What is wrong with it.
        problem: String,
    },
    /// Messages were given to a model without a chat template.
    #[error("model `{model}` has no chat template, so it cannot take messages")]
    NoChatTemplate {
        /// The model's name.
        model: String,
    },
    /// The chat template failed.
    #[error("the model's chat template failed: {problem}")]
    Template {
        /// What it said.
        problem: String,
    },
    /// The prompt does not fit.
    #[error("the prompt has {prompt_tokens} tokens, but the context of `{model}` holds {limit}")]
    ContextExceeded {
        /// The model's name.
        model: String,
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens the context holds.
        limit: usize,
    },
    /// The prompt came to no tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// A sampling value outside its range.
    #[error("`{name}` must be {expected}, not {found}")]
    Sampling {
        /// Which value.
        name: &'static str,
        /// Its range.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// The reply's schema cannot be enforced.
    #[error("the reply's JSON schema cannot be enforced: {problem}")]
    Schema {
        /// What it uses.
        problem: String,
    },
    /// The device is not there, or not built in.
    #[error("device `{device}` is not available: {problem}")]
    Device {
        /// Which device.
        device: &'static str,
        /// Why.
        problem: String,
    },
    /// A file of a model's folder that cannot be used.
    #[error("model file `{}` {problem}", path.display())]
    BadFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, with the key or tensor.
        problem: String,
    },
    /// No encoder for this family.
    #[error("model file `{}`: encoders of type `{found}` are not supported", path.display())]
    UnsupportedEncoder {
        /// Where it says so.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A text that a model can make nothing of.
    #[error("text {index} comes to no tokens")]
    NoTokens {
        /// Which of the texts given, from 0.
        index: usize,
    },
    /// More numbers asked for than a vector has.
    #[error("vectors of `{model}` have {available} dimensions, not {asked}")]
    Dimensions {
        /// The model's name.
        model: String,
        /// What it gives.
        available: usize,
        /// What was asked for.
        asked: usize,
    },
    /// The tensor library refused.
    #[error("the computation failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// Too many requests wait already.
    #[error("the model has {waiting} requests waiting already")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// The model's thread has ended, because of a bug.
    #[error("the model's thread has ended unexpectedly; please report this")]
    ThreadGone,
}

impl InferenceError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnsupportedArchitecture { .. } => format!(
                "use a model of one of these architectures: {}",
                crate::decoder::Architecture::NAMES.join(", ")
            ),
            Self::UnsupportedEncoder { .. } => {
                format!("use a model of one of these types: {}", crate::encoder::FAMILIES.join(", "))
            }
            Self::NoTokens { .. } => "leave empty texts out".to_owned(),
            Self::NoChatTemplate { .. } => {
                "use `api: completion` with this model, or choose one that was tuned for chat".to_owned()
            }
            Self::ContextExceeded { .. } => {
                "shorten the prompt or the retrieved context, or set a larger `context_length` if the model \
                 allows it"
                    .to_owned()
            }
            Self::Gguf { source, .. } => return source.hint(),
            Self::Device { .. } => "use `device: cpu`".to_owned(),
            Self::Schema { .. } => {
                "leave the keyword out of the schema, or check the reply afterwards with an `extract` node"
                    .to_owned()
            }
            _ => return None,
        })
    }
}
