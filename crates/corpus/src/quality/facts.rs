//! What a corpus is, in numbers.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::chunk::Chunk;
use crate::clean::{Cleaned, RuleReport};
use crate::layers::Digest;

/// Counts over a whole corpus. What was not counted is absent, not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CorpusFacts {
    /// Documents that gave text, even if none is left.
    pub documents: u64,
    /// Documents that could not be had or read.
    pub failed: u64,
    /// Documents without any text.
    pub empty: u64,
    /// Documents that are word for word the same as one before.
    pub duplicates: u64,
    /// Documents by language; those whose language cannot be told are under the empty text.
    pub languages: BTreeMap<String, u64>,
    /// Characters of the shortest and longest document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub characters: Option<Span>,
    /// How many chunks have how many tokens; larger pieces that are only read are left out.
    pub chunk_tokens: BTreeMap<u32, u64>,
    /// Documents whose characters could not be told with certainty.
    pub encoding_errors: u64,
    /// Personal data found by cleaning, where it looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personal_data_found: Option<u64>,
    /// Documents by the fields of metadata they have.
    pub fields: BTreeMap<String, u64>,
    /// When the oldest and the newest document were changed, of those where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_ms: Option<Span>,
    /// Documents where it is known.
    pub dated: u64,
}

/// Smallest and largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Smallest.
    pub min: u64,
    /// Largest.
    pub max: u64,
}

impl Span {
    fn widened(span: Option<Self>, value: u64) -> Self {
        match span {
            Some(span) => Self { min: span.min.min(value), max: span.max.max(value) },
            None => Self { min: value, max: value },
        }
    }
}

impl CorpusFacts {
    /// Tokens that so many of a hundred chunks do not exceed (nearest rank); `None` without chunks.
    pub fn tokens_at(&self, percentile: f64) -> Option<u32> {
        let total: u64 = self.chunk_tokens.values().sum();
        let rank = ((percentile / 100.0 * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut passed = 0;
        self.chunk_tokens.iter().find_map(|(tokens, count)| {
            passed += count;
            (passed >= rank).then_some(*tokens)
        })
    }
}

/// Counts a corpus as it goes by. The order of documents does not matter.
#[derive(Debug, Default)]
pub struct FactsCollector {
    facts: CorpusFacts,
    texts: HashSet<Digest>,
}

impl FactsCollector {
    /// Counts a document, with the time it was last changed, where known.
    pub fn document(&mut self, document: &Cleaned, modified_ms: Option<u64>) {
        let facts = &mut self.facts;
        facts.documents += 1;
        let text = document.text.trim();
        if text.is_empty() {
            facts.empty += 1;
        } else if !self.texts.insert(Digest::of(text.as_bytes())) {
            facts.duplicates += 1;
        }
        *facts.languages.entry(document.language.clone().unwrap_or_default()).or_default() += 1;
        let characters = document.text.chars().count() as u64;
        facts.characters = Some(Span::widened(facts.characters, characters));
        if document.notes.iter().any(|note| note.code == "encoding") {
            facts.encoding_errors += 1;
        }
        for (field, value) in &document.metadata {
            let is_empty = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
            if !is_empty {
                *facts.fields.entry(field.clone()).or_default() += 1;
            }
        }
        if let Some(modified) = modified_ms {
            facts.modified_ms = Some(Span::widened(facts.modified_ms, modified));
            facts.dated += 1;
        }
    }

    /// Counts a chunk.
    pub fn chunk(&mut self, chunk: &Chunk) {
        if !chunk.is_parent {
            *self.facts.chunk_tokens.entry(chunk.tokens).or_default() += 1;
        }
    }

    /// Counts documents that could not be had or read.
    pub fn failed(&mut self, documents: usize) {
        self.facts.failed += documents as u64;
    }

    /// Takes over what the rules of cleaning found.
    pub fn rules(&mut self, reports: &[RuleReport]) {
        for report in reports.iter().filter(|report| report.rule == "personal_data") {
            *self.facts.personal_data_found.get_or_insert(0) += report.found as u64;
        }
    }

    /// The counts.
    pub fn finish(self) -> CorpusFacts {
        self.facts
    }
}
