//! Words of texts as search counts them: the same for documents and questions, and for every engine.
//!
//! A text passes through it as runs (words with blanks between them, or letters without) → words in one spelling (width
//! and compatibility forms folded, lower-cased, combining marks kept) → stems or character bigrams. What deliberately
//! does not happen: no stop words (BM25 weighs them down by itself, and they are the whole of some questions), no
//! accents taken off (Hindi loses two thirds of its nDCG with them), no dictionary.
//!
//! ```
//! use flowbench_text::analysis::Analyzer;
//! let words = |text, language| -> Vec<String> {
//!     Analyzer::new().document_terms(text, language).into_iter().map(|term| term.text).collect()
//! };
//! assert_eq!(words("Deliveries, delivered", "en"), ["deliveri", "deliv"]);
//! assert_eq!(words("東京都の天気", "ja"), ["東京", "京都", "都の", "の天", "天気"]);
//! assert_eq!(words("max_retries", "en"), ["max_retries", "max", "retri"]);
//! ```

mod stem;
mod words;

use stem::stem;
use words::{Piece, pieces};

/// Part of every index key: changes whenever the words of a text do, so that no index is asked in other words than it was
/// built with.
pub const ANALYSIS_VERSION: &str = "words-1";

/// Longest word in characters; the rest is cut off documents and questions alike. Longer ones are encodings of something,
/// and their beginning identifies them.
pub const MAX_TERM_CHARS: usize = 64;

/// A language must have this share of an index's chunks for questions to be stemmed in it: below it, its stems mostly hit
/// the same letters in other languages.
pub const LEAST_SHARE: f64 = 0.02;

/// A word as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The stem, bigram, or whole identifier.
    pub text: String,
    /// Place in the text; an identifier and its first part share one.
    pub position: u32,
}

/// Takes texts apart. Holds nothing and costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Analyzer;

impl Analyzer {
    /// An analyzer.
    pub fn new() -> Self {
        Self
    }

    /// Words of a document, in the order of the text. `language` is ISO 639-1; empty where it is not known: then each
    /// word is stemmed in the commonest language of its script.
    pub fn document_terms(&self, text: &str, language: &str) -> Vec<Term> {
        let mut terms = Vec::with_capacity(text.len() / 6);
        let mut position = 0;
        for piece in pieces(text) {
            match piece {
                Piece::Gram(gram) => {
                    terms.push(Term { text: gram, position });
                    position += 1;
                }
                Piece::Word { whole, parts } => {
                    terms.extend(whole.map(|text| Term { text: bounded(text), position }));
                    for part in parts {
                        terms.push(Term { text: bounded(stem(&part, language)), position });
                        position += 1;
                    }
                }
            }
        }
        terms
    }

    /// Words of a question with their weights, in the order in which they are first asked. A word asked twice weighs
    /// two. Each is stemmed in every language of the index that has a real share (with its share, from 0 to 1; empty
    /// stands for chunks of no known language), and equal stems are one.
    pub fn query_terms(&self, query: &str, languages: &[(String, f64)]) -> Vec<(String, f32)> {
        let spoken: Vec<&str> = languages
            .iter()
            .filter(|(_, share)| *share >= LEAST_SHARE)
            .map(|(language, _)| language.as_str())
            .collect();
        let spoken = if spoken.is_empty() { vec![""] } else { spoken };
        let mut terms: Vec<(String, f32)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut count = |text: String| {
            let place = *places.entry(text.clone()).or_insert(terms.len());
            match terms.get_mut(place) {
                Some((_, weight)) => *weight += 1.0,
                None => terms.push((text, 1.0)),
            }
        };
        for piece in pieces(query) {
            match piece {
                Piece::Gram(gram) => count(gram),
                Piece::Word { whole, parts } => {
                    whole.into_iter().for_each(|text| count(bounded(text)));
                    for part in parts {
                        let mut stems: Vec<String> = Vec::with_capacity(spoken.len());
                        for language in &spoken {
                            let stem = bounded(stem(&part, language));
                            if !stems.contains(&stem) {
                                stems.push(stem);
                            }
                        }
                        stems.into_iter().for_each(&mut count);
                    }
                }
            }
        }
        terms
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_TERM_CHARS
        && let Some((end, _)) = text.char_indices().nth(MAX_TERM_CHARS)
    {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
