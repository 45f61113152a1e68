//! What is done to the text of documents before it is cut, each rule with a report of before and after.
//!
//! Two passes. [`Survey`] takes a [`Sketch`] of every document and finds what only many documents show: lines that they
//! share, and copies. [`clean_document`] then cleans one document by the [`DocumentFacts`] that the survey has for it;
//! both are pure functions, so that a build may keep their results by digest and clean again only what changed, or what
//! has other facts. What does not live here: cutting, and expectations of a corpus.

mod boilerplate;
mod document;
mod draft;
mod encoding;
mod origin;
mod privacy;
mod report;
mod shingles;
mod survey;
#[cfg(test)]
mod tests;

pub use document::{CleanInput, CleanOutcome, CleanResult, LeftOut, clean_document};
pub use origin::Places;
pub use privacy::ProjectKey;
pub use report::add_reports;
pub use survey::{CopyOf, DocumentFacts, Facts, Sketch, Survey, sketch};

use std::ops::Range;

use flowbench_extract::{Block, Heading, Note, Page};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Part of every key under which cleaned documents and sketches are kept: raise it when the same document is cleaned
/// otherwise.
pub const VERSION: u32 = 1;

/// `clean` in `indexes/NAME.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CleanSpec {
    /// Remove lines that most documents of a source share, and what documents mark as headers and footers; default true.
    pub boilerplate: bool,
    /// Leave out documents that are nearly the same as an earlier one (by name): smallest share of equal word
    /// 5-shingles, such as 0.9. Default: none are left out, only told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near_duplicates: Option<f64>,
    /// Repair text that was decoded wrongly, odd blanks, soft hyphens, control characters; default true.
    pub encoding: bool,
    /// `keep` (default), `mask` (the same value gets the same pseudonym in the whole project) or `drop` the document.
    pub personal_data: Treatment,
    /// `keep`, `mask` (default: secrets never reach an index) or `drop` the document.
    pub secrets: Treatment,
    /// Languages taken (ISO 639-1); empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
}

/// What is done with what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    /// Left as it is.
    #[default]
    Keep,
    /// Put a pseudonym or a mark in its place.
    Mask,
    /// Leave the document out.
    Drop,
}

impl Default for CleanSpec {
    fn default() -> Self {
        Self {
            boilerplate: true,
            near_duplicates: None,
            encoding: true,
            personal_data: Treatment::Keep,
            secrets: Treatment::Mask,
            languages: Vec::new(),
        }
    }
}

/// A document of layer two: text that is ready to be cut. Ranges are bytes of `text`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cleaned {
    /// Document name.
    pub document: String,
    /// Name of its source.
    pub source: String,
    /// Where it was.
    pub uri: String,
    /// Cleaned text.
    pub text: String,
    /// Pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<Page>,
    /// Headings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headings: Vec<Heading>,
    /// Blocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// Language, ISO 639-1, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// True for source code, which is cut by its structure.
    #[serde(default)]
    pub is_code: bool,
    /// Metadata of source and document.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Digest of the bytes as fetched (layer one).
    pub bytes_digest: String,
    /// How cleaned text came from extracted text: stretches of `cleaned` bytes and where they stood in `extracted`
    /// bytes; a stretch that was replaced (a mask) covers ranges of different lengths.
    pub origin: Vec<Stretch>,
    /// Notes of extraction and cleaning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// A stretch of cleaned text and the extracted text it came from, both in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// In the cleaned text.
    pub cleaned: Range<usize>,
    /// In the extracted text.
    pub extracted: Range<usize>,
    /// In the extracted text, in characters.
    #[serde(default)]
    pub characters: Range<usize>,
    /// True where the cleaned text stands in place of another; otherwise both are the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

/// What one rule did to a corpus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Rule: a key of `clean`.
    pub rule: String,
    /// Documents it changed or left out.
    pub documents: usize,
    /// What it found: lines, values, copies.
    pub found: usize,
    /// Characters of all documents before.
    pub characters_before: usize,
    /// Characters of all documents after.
    pub characters_after: usize,
    /// Up to ten examples: document and what was done; personal data and secrets only as their masks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}
