//! SentencePiece as the `llama` tokenizer kind means it: joins are driven by token scores, what is no token
//! falls back to bytes. Unlike llama.cpp, joins never make a special token, so that no user can spell one.

use std::cmp::Ordering;

use super::Vocabulary;
use super::merge::merge;

/// What SentencePiece writes for a space.
pub(super) const SPACE: &str = "\u{2581}";

/// A score, ordered.
#[derive(Clone, Copy, PartialEq)]
struct Worth(f32);

impl Eq for Worth {}

impl PartialOrd for Worth {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worth {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Appends the ids of `text`, with a space before it where `prefix` says so.
pub(super) fn encode(text: &str, prefix: bool, vocabulary: &Vocabulary, ids: &mut Vec<u32>) {
    let mut escaped = String::with_capacity(text.len() + 16);
    if prefix {
        escaped.push_str(SPACE);
    }
    escaped.push_str(&text.replace(' ', SPACE));

    let pieces = escaped.char_indices().map(|(start, c)| {
        let len = c.len_utf8();
        (start, len, vocabulary.joined_id_of(&escaped[start..start + len]))
    });
    let symbols = merge(pieces, |left, right| {
        let id = vocabulary.joined_id_of(&escaped[left.start..right.start + right.len])?;
        Some((Worth(vocabulary.score(id)), id))
    });
    for symbol in symbols {
        match symbol.id {
            Some(id) => ids.push(id),
            None => {
                let bytes = &escaped.as_bytes()[symbol.start..symbol.start + symbol.len];
                ids.extend(bytes.iter().filter_map(|&byte| vocabulary.byte_token(byte)));
            }
        }
    }
}
