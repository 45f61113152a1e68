//! Engines that hold one generation of an index and answer from it: embedded (tantivy and Qdrant in this process) or a
//! Qdrant server, where keywords are sparse vectors with the same BM25 weights. Both give the same ids for the same
//! question. What is asked, why, and in which order results are mixed is not decided here.

use std::path::PathBuf;

use async_trait::async_trait;
use flowbench_corpus::chunk::Chunk;
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod bm25;
pub mod embedded;
pub mod filter;
pub mod server;
mod terms;

pub use filter::{Condition, Filter, FilterError, Test};

/// A chunk on its way into an engine.
#[derive(Clone, Debug)]
pub struct Passage {
    /// The chunk; a parent is kept and never searched.
    pub chunk: Chunk,
    /// Its vector; absent for parents, for indexes without vectors, and where embedding failed.
    pub vector: Option<Vec<f32>>,
}

/// A chunk and how well it fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Chunk id.
    pub id: String,
    /// BM25 or cosine.
    pub score: f32,
}

/// Which vectors an engine holds, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VectorSettings {
    /// Numbers in a vector.
    pub dimensions: usize,
    /// How they are held for searching.
    #[serde(default)]
    pub quantization: Quantization,
}

/// How vectors are held for searching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// Numbers of 32 bits.
    #[default]
    None,
    /// Numbers of 8 bits, best candidates scored again with the full ones.
    Int8,
}

/// Writes one generation. Nobody sees it before `finish`.
#[async_trait]
pub trait EngineWriter: Send {
    /// Adds passages.
    async fn add(&mut self, passages: Vec<Passage>) -> Result<(), EngineError>;
    /// Takes out all passages of these documents (after starting from an earlier generation).
    async fn remove_documents(&mut self, documents: &[String]) -> Result<(), EngineError>;
    /// Writes everything and makes it quick to search (one keyword segment, vector index built, statistics exact).
    async fn finish(self: Box<Self>) -> Result<(), EngineError>;
}

/// One generation, open for reading. Any number of readers in any number of processes.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Best chunks by BM25, best first, ties by id ascending. A term's weight is how often the question has it.
    async fn keyword(
        &self,
        terms: &[(String, f32)],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Scored>, EngineError>;
    /// Best chunks by cosine, best first, ties by id ascending. `is_exact` compares with every vector.
    async fn vector(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
        is_exact: bool,
    ) -> Result<Vec<Scored>, EngineError>;
    /// BM25 of these chunks for these terms, each term's part by itself; a chunk without any term has no parts.
    async fn keyword_parts(
        &self,
        terms: &[(String, f32)],
        ids: &[String],
    ) -> Result<Vec<Vec<(String, f32)>>, EngineError>;
    /// Chunks by id, in the order asked; absent where there is none.
    async fn chunks(&self, ids: &[String]) -> Result<Vec<Option<Chunk>>, EngineError>;
    /// Chunks of a document by their place, in order.
    async fn neighbours(
        &self,
        document: &str,
        ordinals: std::ops::RangeInclusive<u32>,
    ) -> Result<Vec<Chunk>, EngineError>;
    /// Vectors of chunks, in the order asked; absent where there is none.
    async fn vectors_of(&self, ids: &[String]) -> Result<Vec<Option<Vec<f32>>>, EngineError>;
    /// Number of chunks that are searched.
    fn len(&self) -> usize;
    /// True if there is nothing to search.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads all that is held and names what is broken.
    async fn verify(&self) -> Result<(), EngineError>;
}

/// An engine that cannot do what was asked.
#[derive(Debug, Error)]
pub enum EngineError {
    /// A file cannot be read or written; a full disk is among them.
    #[error("`{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is on disk is not what was written.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// Folder of the engine.
        path: PathBuf,
        /// What was seen.
        reason: String,
    },
    /// A vector of another length.
    #[error("a vector has {found} dimensions, and the index has {expected}")]
    Dimensions {
        /// Of the vector.
        found: usize,
        /// Of the index.
        expected: usize,
    },
    /// There are no vectors.
    #[error("the index holds no vectors")]
    NoVectors,
    /// The server does not answer.
    #[error("the Qdrant server at `{address}` does not answer: {reason}")]
    Unreachable {
        /// Address without key.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server answers with an error.
    #[error("the Qdrant server at `{address}` refuses: {reason}")]
    Refused {
        /// Address without key.
        address: String,
        /// Why.
        reason: String,
    },
    /// A fault of the engine itself.
    #[error("the index engine failed: {0}")]
    Internal(String),
}
