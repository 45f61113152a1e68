//! BM25 in one place, so that all engines give the same numbers: the formula of Robertson and Zaragoza (2009) with
//! tantivy's constants, its rounding of lengths to 256 steps, and its form of the inverse document frequency.
//!
//! Engines choose candidates with their own arithmetic, whose order of additions depends on how postings lie. What is
//! reported is added up here: words in the order of their letters, in 64 bits.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use tantivy::fieldnorm::FieldNormReader;

use super::{EngineError, Scored};

/// How quickly further occurrences of a word stop to count; tantivy's value.
const K1: f32 = 1.2;
/// How much long chunks are held back; tantivy's value.
const B: f32 = 0.75;
/// Candidates this much below the last place are scored again: far above what 32-bit additions lose, far below any
/// difference that means something.
pub(super) const MARGIN: f32 = 1e-4;

/// What BM25 knows of an index.
#[derive(Clone, Debug)]
pub(super) struct Bm25 {
    chunks: u64,
    /// The part of the denominator that depends on a chunk's length, for each of its 256 steps.
    norms: Vec<f32>,
}

impl Bm25 {
    /// For an index of so many chunks with so many words in all.
    pub(super) fn new(chunks: u64, words: u64) -> Self {
        let average = match chunks {
            0 => 1.0,
            chunks => (words as f32 / chunks as f32).max(f32::MIN_POSITIVE),
        };
        let norms = (0..=255)
            .map(|step| K1 * (1.0 - B + B * FieldNormReader::id_to_fieldnorm(step) as f32 / average))
            .collect();
        Self { chunks, norms }
    }

    /// Weight of a word that so many chunks have.
    pub(super) fn idf(&self, chunks_with_word: u64) -> f32 {
        let without = self.chunks.saturating_sub(chunks_with_word) as f32;
        (1.0 + (without + 0.5) / (chunks_with_word as f32 + 0.5)).ln()
    }

    /// What a word brings in a chunk of this length (in steps), before its weight.
    pub(super) fn in_chunk(&self, length_step: u8, times: u32) -> f32 {
        let norm = self.norms.get(usize::from(length_step)).copied().unwrap_or(K1);
        let times = times as f32;
        (1.0 + K1) * (times / (times + norm))
    }
}

/// A length in tantivy's 256 steps.
pub(super) fn length_step(words: usize) -> u8 {
    FieldNormReader::fieldnorm_to_id(u32::try_from(words).unwrap_or(u32::MAX))
}

/// A question's words, each once with its whole weight, in the order of their letters. Words without a positive weight
/// are not asked for.
pub(super) fn merged(terms: &[(String, f32)]) -> Vec<(String, f32)> {
    let mut weights: BTreeMap<&str, f32> = BTreeMap::new();
    for (term, weight) in terms {
        if weight.is_finite() && *weight > 0.0 {
            *weights.entry(term).or_default() += weight;
        }
    }
    weights.into_iter().map(|(term, weight)| (term.to_owned(), weight)).collect()
}

/// One word's part of a score.
pub(super) fn part(weight: f32, idf: f32, in_chunk: f32) -> f64 {
    f64::from(weight) * f64::from(idf) * f64::from(in_chunk)
}

/// Best first, ties by id ascending, no more than `limit`.
pub(super) fn rank(mut found: Vec<(f32, u128)>, limit: usize) -> Vec<Scored> {
    found.sort_by(|left, right| better_first(*left, *right));
    found.truncate(limit);
    found.into_iter().map(|(score, id)| Scored { id: id_text(id), score }).collect()
}

/// The order of results.
pub(super) fn better_first(left: (f32, u128), right: (f32, u128)) -> Ordering {
    right.0.total_cmp(&left.0).then(left.1.cmp(&right.1))
}

/// A chunk's id as engines hold it; `None` if it is no id.
pub(super) fn id_number(id: &str) -> Option<u128> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| u128::from_str_radix(id, 16).ok()).flatten()
}

/// The same, for ids that must be ids.
pub(super) fn checked_id(id: &str) -> Result<u128, EngineError> {
    id_number(id).ok_or_else(|| {
        EngineError::Internal(format!("the chunk id `{id}` is not 32 hexadecimal digits in lower case"))
    })
}

/// The same as text.
pub(super) fn id_text(id: u128) -> String {
    format!("{id:032x}")
}
