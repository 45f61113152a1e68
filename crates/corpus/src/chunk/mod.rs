//! Pieces of documents, as they are searched and read.
//!
//! A [`Cleaned`] document is seen as sections under headings and as blocks of text. Small sections go together, large
//! ones are cut between blocks, then sentences, then words. The tokenizer sees a document once; candidates are then
//! counted by arithmetic, and each finished chunk is counted as it will be embedded. What does not live here: reading
//! files, and vectors.
//!
//! ```
//! use flowbench_corpus::chunk::{ChunkSpec, WordTokens, chunk_document};
//! use flowbench_corpus::clean::Cleaned;
//!
//! let cleaned = Cleaned { document: "tea.txt".into(), text: "Boil water.\n\nAdd tea.".into(), ..Cleaned::default() };
//! let chunks = chunk_document(&cleaned, &ChunkSpec::default(), &WordTokens);
//! assert_eq!(chunks[0].text, "Boil water.\n\nAdd tea.");
//! ```

mod code;
mod cut;
mod document;
mod outline;
mod preview;
mod sentences;
#[cfg(test)]
mod tests;
mod tokens;

pub use preview::{Bar, ChunkStatistics, DocumentStatistics, InDocument, Preview};
pub use tokens::WordTokens;

use flowbench_core::ports::{HitSource, Tokens};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clean::Cleaned;

/// Part of every key under which chunks are kept: raise it when the same text is cut elsewhere.
pub const VERSION: u32 = 1;

/// `chunk` in `indexes/NAME.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChunkSpec {
    /// Where to cut.
    pub by: ChunkBy,
    /// Most tokens of a chunk, counted by the embedding model's own tokenizer.
    pub max_tokens: usize,
    /// Tokens that a chunk repeats of the one before it.
    pub overlap: usize,
    /// Read large: hits give the text of the surrounding piece of this many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// Put the title and the headings above a chunk in front of what is searched; default true.
    pub headings: bool,
}

/// Where chunks are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkBy {
    /// At headings; long sections at paragraphs, then sentences.
    #[default]
    Headings,
    /// At sentences, as many as fit.
    Sentences,
    /// At tokens.
    Tokens,
    /// At functions, classes and other items of source code; other documents at headings.
    Code,
    /// At pages, slides and sheets; long ones at paragraphs.
    Page,
    /// Not at all: a document is one chunk (what does not fit the model is cut by it).
    Document,
}

impl Default for ChunkSpec {
    fn default() -> Self {
        Self { by: ChunkBy::Headings, max_tokens: 256, overlap: 32, parent: None, headings: true }
    }
}

/// A piece of a document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// 32 hexadecimal digits from the document's name, the text, and how often the same text came before in it. Also a
    /// valid UUID without its hyphens.
    pub id: String,
    /// Place among the chunks of its document, from 0.
    pub ordinal: u32,
    /// Its text.
    pub text: String,
    /// Where it stands; `start` and `end` are characters of the extracted text.
    pub source: HitSource,
    /// Name of its source.
    pub origin: String,
    /// Language, ISO 639-1; empty where it cannot be told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Tokens, headings in front included.
    pub tokens: u32,
    /// Title or headings put in front of the text when it is searched; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// The larger piece that is read in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// True for a larger piece that is read and never searched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_parent: bool,
    /// Metadata of its document.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

impl Chunk {
    /// What is searched and embedded: the text below its context.
    pub fn searched_text(&self) -> String {
        match self.context.is_empty() {
            true => self.text.clone(),
            false => format!("{}\n\n{}", self.context, self.text),
        }
    }
}

/// The chunks of a document and what was done to make them fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunked {
    /// Document.
    pub document: String,
    /// Its chunks; parents, which are never searched, come after all others.
    pub chunks: Vec<Chunk>,
    /// What would have been kept whole, and was too long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub torn: Vec<TornPiece>,
    /// Headings that nothing stands under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_sections: Vec<EmptySection>,
}

/// A cut through something that would have been kept whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TornPiece {
    /// `table` (between rows), `row`, `list` (between items), `code` (between lines), `sentence` (between words), `word`.
    pub what: String,
    /// Where, in characters of the extracted text.
    pub place: usize,
    /// Headings above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<String>,
}

/// A heading that nothing stands under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptySection {
    /// Headings from the highest to it, joined by ` > `.
    pub heading: String,
}

/// Cuts a document into chunks.
pub fn chunk_document(cleaned: &Cleaned, spec: &ChunkSpec, tokens: &dyn Tokens) -> Vec<Chunk> {
    document::chunk(cleaned, spec, tokens).chunks
}

/// Cuts a document into chunks and says what did not fit; [`Preview`] gathers it.
pub fn chunk_with_report(cleaned: &Cleaned, spec: &ChunkSpec, tokens: &dyn Tokens) -> Chunked {
    document::chunk(cleaned, spec, tokens)
}
