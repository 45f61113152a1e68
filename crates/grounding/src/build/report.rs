//! What a build tells while it works and when it is done.

use flowbench_corpus::clean::RuleReport;
use serde::Serialize;
use serde_json::Value;

use crate::manifest::Failed;

/// What happens during a build.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BuildEvent {
    /// A stage began.
    Stage {
        /// Which.
        stage: Stage,
        /// How many things it has to do, where known.
        total: Option<usize>,
    },
    /// So many of a stage's things are done.
    Progress {
        /// Which.
        stage: Stage,
        /// Done.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// Something the user should know; the build goes on.
    Note {
        /// In words.
        message: String,
    },
}

/// The stages of a build, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Sources are listed.
    List,
    /// Documents are fetched and their text is extracted.
    Extract,
    /// Texts are cleaned.
    Clean,
    /// Texts are cut.
    Chunk,
    /// Chunks become vectors.
    Embed,
    /// The generation is written.
    Write,
    /// The generation is asked its probes.
    Probe,
}

impl Stage {
    /// What is being done, for a line of progress.
    pub fn doing(self) -> &'static str {
        match self {
            Self::List => "listing sources",
            Self::Extract => "reading documents",
            Self::Clean => "cleaning",
            Self::Chunk => "cutting",
            Self::Embed => "embedding",
            Self::Write => "writing",
            Self::Probe => "probing",
        }
    }
}

/// Takes events of a build; must not block.
pub type BuildReader<'r> = &'r (dyn Fn(BuildEvent) + Send + Sync);

/// What a build did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BuildReport {
    /// Index name.
    pub index: String,
    /// Digest of the generation that answers now.
    pub generation: String,
    /// True if it is the one that answered before.
    pub is_unchanged: bool,
    /// Documents with chunks.
    pub documents: usize,
    /// Chunks that are searched.
    pub chunks: usize,
    /// Chunks that have a vector.
    pub vectors: usize,
    /// Documents that were not there before.
    pub added: usize,
    /// Documents with other chunks than before.
    pub changed: usize,
    /// Documents that are gone.
    pub removed: usize,
    /// Documents read from their source in this build.
    pub fetched: usize,
    /// Documents whose text was extracted in this build.
    pub extracted: usize,
    /// Documents that were embedded in this build, in part or whole.
    pub embedded_documents: usize,
    /// Texts that the model embedded in this build.
    pub embedded: usize,
    /// Tokens that the model's provider counted in this build, where told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_tokens: Option<u64>,
    /// What could not be had, read or embedded.
    pub failed: Vec<Failed>,
    /// Documents that could not be had beyond those.
    pub untold: usize,
    /// What cleaning did.
    pub cleaning: Vec<RuleReport>,
    /// Expectations and how they turned out.
    pub quality: Vec<Value>,
    /// Milliseconds by stage.
    pub millis: Vec<(Stage, u64)>,
}
