//! `index.json` of a generation: what it was made from, how, and what must still be found in it.

use flowbench_corpus::clean::RuleReport;
use flowbench_corpus::source::Entry;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Quantization;

/// Version of `index.json`.
pub const FORMAT: u32 = 1;

/// One generation of an index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this file.
    pub format: u32,
    /// Index name.
    pub name: String,
    /// Digest of the generation: recipe, model, and the ordered chunk ids with the digests of their texts.
    pub digest: String,
    /// Digest over everything that is kept of the documents, metadata included, and the chunks that lack a vector.
    pub contents: String,
    /// Name that the generation is stored under: its folder, and its collection on a server. New for every build that
    /// writes, so that nothing is ever written over what answers.
    pub stored: String,
    /// The recipe as the spec said it.
    pub recipe: Value,
    /// Digest of recipe, model, tokenizer and the versions of extraction and analysis.
    pub recipe_digest: String,
    /// Digest over the documents' names and bytes.
    pub corpus_digest: String,
    /// Documents with at least one chunk.
    pub documents: usize,
    /// Chunks that are searched.
    pub chunks: usize,
    /// Chunks that have a vector.
    pub vectors: usize,
    /// Sources, in the order of the spec.
    pub sources: Vec<SourceRecord>,
    /// The embedding model, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRecord>,
    /// Which engines hold it.
    pub engine: EngineRecord,
    /// Languages of the chunks with their share, largest first.
    pub languages: Vec<LanguageShare>,
    /// When it was built, in milliseconds since 1970.
    pub built_ms: u64,
    /// Id of the build.
    pub build: String,
    /// Questions that must find their chunks.
    pub probes: Vec<Probe>,
    /// What cleaning did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleaning: Vec<RuleReport>,
    /// Expectations and how they turned out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<Value>,
    /// What could not be had, read or embedded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
}

/// A source at the time of the build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Name.
    pub name: String,
    /// Path or address, as the spec writes it.
    pub place: String,
    /// Documents.
    pub documents: usize,
    /// When it was last listed, in milliseconds since 1970.
    pub listed_ms: u64,
    /// Oldest allowed, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
}

/// The embedding model of a generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Connection.
    pub connection: String,
    /// Model.
    pub model: String,
    /// Digest of weights and tokenizer, or the provider's version; absent where the provider may change it in silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// How vectors are compared.
    pub metric: String,
    /// How vectors are held.
    pub quantization: Quantization,
    /// Share of vectors in hybrid search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fusion_weight: Option<f64>,
    /// Languages it was trained for; empty for unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
}

/// The engines of a generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineRecord {
    /// `embedded` or `qdrant`.
    pub kind: String,
    /// Version of how texts become terms.
    pub analysis: String,
    /// On a server: its address without key, and the generation's collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// A language and how many of the chunks are in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LanguageShare {
    /// ISO 639-1; empty for unknown.
    pub language: String,
    /// 0 to 1.
    pub share: f64,
}

/// A question with what it must find.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Question.
    pub query: String,
    /// Chunk ids or documents, of which one must be found.
    pub expect: Vec<String>,
    /// Among the first so many.
    pub within: usize,
    /// True if the spec wrote it; the others were made from the documents.
    pub is_written: bool,
}

/// A document or chunk that is not in the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// `source`, `fetch`, `extract`, `clean`, `embed`.
    pub stage: String,
    /// Document, chunk or place.
    pub place: String,
    /// Why.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A document in a generation: one line of `documents.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DocumentRecord {
    /// What its source says of it: name, source, place, stamp, metadata.
    #[serde(flatten)]
    pub entry: Entry,
    /// Digest of the bytes (layer one).
    pub bytes: String,
    /// Key of the extracted text (layer two).
    pub extracted: String,
    /// Digest of the cleaned document (layer two); absent where it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleaned: Option<String>,
    /// Key of its chunks (layer three).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<String>,
    /// Chunks that are searched.
    pub count: usize,
    /// When it was fetched, in milliseconds since 1970.
    pub fetched_ms: u64,
    /// When it was last changed, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ms: Option<u64>,
    /// Media type that a server told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Language that its source states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Why it has no chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Document that it is an attachment of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<String>,
}
