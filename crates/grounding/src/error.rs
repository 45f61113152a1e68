//! Why an index cannot be built or asked.

use std::path::PathBuf;

use flowbench_core::ports::{ModelError, ModelErrorKind};
use thiserror::Error;

use crate::engine::{EngineError, FilterError};
use crate::manifest::Failed;
use crate::retrieve::RetrieveError;

/// An index that cannot be opened, built or asked.
#[derive(Debug, Error)]
pub enum IndexError {
    /// There is no such spec.
    #[error("index `{name}` does not exist: `{}` is not there", path.display())]
    Missing {
        /// Index name.
        name: String,
        /// Where its spec would be.
        path: PathBuf,
        /// Indexes that there are.
        known: Vec<String>,
    },
    /// The spec is wrong.
    #[error("index `{name}`: {message}")]
    Spec {
        /// Index name.
        name: String,
        /// What.
        message: String,
    },
    /// A file cannot be read or written.
    #[error("index `{name}`: `{}`: {source}", path.display())]
    File {
        /// Index name.
        name: String,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Documents outside the workspace, which nobody has approved.
    #[error("index `{name}` reads `{}`, which is outside the workspace", path.display())]
    Outside {
        /// Index name.
        name: String,
        /// Which source.
        path: PathBuf,
    },
    /// A host that only the folder names, which nobody has approved.
    #[error("index `{name}` asks `{host}`, which only this workspace names")]
    Host {
        /// Index name.
        name: String,
        /// Which.
        host: String,
    },
    /// It has not been built, and must not be now.
    #[error("index `{name}` has not been built")]
    NotBuilt {
        /// Index name.
        name: String,
        /// Why it is not built now.
        reason: String,
    },
    /// Another process builds it.
    #[error("index `{name}` is being built by another process")]
    Busy {
        /// Index name.
        name: String,
    },
    /// A source cannot be listed.
    #[error("index `{name}`: source `{source_name}`: {message}")]
    Source {
        /// Index name.
        name: String,
        /// Source.
        source_name: String,
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Nothing to index.
    #[error("index `{name}`: its sources hold no document with text{}", because(first))]
    Empty {
        /// Index name.
        name: String,
        /// The first thing that failed.
        first: Option<Failed>,
    },
    /// The corpus is below its bar.
    #[error(
        "index `{name}`: the documents are below the bar: {failed}; the earlier generation keeps serving"
    )]
    Quality {
        /// Index name.
        name: String,
        /// Expectations that do not hold.
        failed: String,
    },
    /// A probe no longer finds its document.
    #[error(
        "index `{name}`: {failed} of {probes} probes do not find their documents, first `{first}`; the earlier generation keeps serving"
    )]
    Probes {
        /// Index name.
        name: String,
        /// How many.
        failed: usize,
        /// Of how many.
        probes: usize,
        /// The first one.
        first: String,
    },
    /// The embedding model fails or does not fit.
    #[error("index `{name}`: {message}")]
    Model {
        /// Index name.
        name: String,
        /// What.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// The user's word is needed.
        is_forbidden: bool,
    },
    /// The index was built with another model.
    #[error("index `{name}` was built with model `{built}`, and the spec now says `{asked}`")]
    OtherModel {
        /// Index name.
        name: String,
        /// Model of the generation.
        built: String,
        /// Model of the spec.
        asked: String,
    },
    /// What was asked cannot be answered.
    #[error("index `{name}`: {message}")]
    Question {
        /// Index name.
        name: String,
        /// What.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Stored bytes are not what was written.
    #[error("index `{name}` is damaged: {reason}")]
    Damaged {
        /// Index name.
        name: String,
        /// What was seen.
        reason: String,
    },
    /// The engine fails.
    #[error("index `{name}`: {source}")]
    Engine {
        /// Index name.
        name: String,
        /// Why.
        source: EngineError,
    },
    /// It was stopped.
    #[error("index `{name}`: the build was stopped; it goes on from there next time")]
    Stopped {
        /// Index name.
        name: String,
    },
}

/// The first failure of a build that found nothing.
fn because(first: &Option<Failed>) -> String {
    first.as_ref().map(|failed| format!(" (`{}`: {})", failed.place, failed.message)).unwrap_or_default()
}

impl IndexError {
    /// A model that cannot be asked.
    pub fn model(name: &str, error: ModelError) -> Self {
        Self::Model {
            name: name.to_owned(),
            is_forbidden: error.kind == ModelErrorKind::Forbidden,
            message: error.message,
            hint: error.hint,
        }
    }

    /// A question that cannot be answered.
    pub fn question(name: &str, error: RetrieveError) -> Self {
        match error {
            RetrieveError::Engine(source) => Self::Engine { name: name.to_owned(), source },
            RetrieveError::Model(error) => Self::model(name, error),
            other => Self::Question { name: name.to_owned(), hint: other.hint(), message: other.to_string() },
        }
    }

    /// A filter that cannot be read.
    pub fn filter(name: &str, error: &FilterError) -> Self {
        Self::Question { name: name.to_owned(), message: error.to_string(), hint: None }
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { known, .. } if known.is_empty() => {
                "make one with `flowbench new index NAME`".to_owned()
            }
            Self::Missing { known, .. } => format!("known indexes: {}", known.join(", ")),
            Self::Spec { .. } => return None,
            Self::File { .. } => "check the path, the permissions and the space on the disk".to_owned(),
            Self::Outside { .. } | Self::Host { .. } => "allow it with `--trust`".to_owned(),
            Self::NotBuilt { name, reason } => {
                format!("{reason}; build it with `flowbench index build {name}`")
            }
            Self::Busy { .. } => "wait for it, or stop the other process".to_owned(),
            Self::Empty { .. } => "check `path`, `include` and `exclude` of its sources".to_owned(),
            Self::Quality { .. } => {
                "`flowbench index inspect` lists the expectations; mend the documents or `quality`".to_owned()
            }
            Self::Probes { name, .. } => {
                format!("see `flowbench index search {name} QUERY --why CHUNK`, or correct `probes`")
            }
            Self::OtherModel { name, .. } => format!("rebuild it with `flowbench index build {name}`"),
            Self::Damaged { name, .. } => {
                format!("build it anew with `flowbench index build {name} --fresh`")
            }
            Self::Engine { name, source: EngineError::Damaged { .. } } => {
                format!("build it anew with `flowbench index build {name} --fresh`")
            }
            Self::Engine { source: EngineError::Unreachable { .. }, .. } => {
                "start the server or correct `store.qdrant`".to_owned()
            }
            Self::Engine { source: EngineError::Refused { .. }, .. } => {
                "check `store.api_key` and the server's log".to_owned()
            }
            Self::Engine { name, source: EngineError::Dimensions { .. } } => {
                format!(
                    "rebuild it with `flowbench index build {name}`, or choose the model it was built with"
                )
            }
            Self::Engine { .. } => return None,
            Self::Stopped { .. } => return None,
            Self::Model { hint, .. } | Self::Question { hint, .. } | Self::Source { hint, .. } => {
                return hint.clone();
            }
        })
    }
}
