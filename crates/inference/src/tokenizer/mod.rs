//! Tokenizers from a GGUF file's own metadata, both kinds: byte-level BPE (`gpt2`) and SentencePiece (`llama`).
//!
//! A text is first cut at special tokens, then each piece goes through [`bpe`] or [`spm`]. Text from users is
//! never allowed to become a control token: [`Tokenizer::encode`] says whether specials are parsed at all, and
//! [`Tokenizer::encode_guarded`] parses those of a chat template while a [`GUARD`] character protects what came
//! from messages. Ids equal those of llama.cpp; the tests hold them against its output.

mod bpe;
mod merge;
mod pre;
mod spm;
mod stream;
mod vocabulary;

use std::collections::HashSet;

pub use stream::TextStream;
pub use vocabulary::{TokenType, Vocabulary};

use crate::InferenceError;
use crate::gguf::GgufFile;

/// Put behind the first character of anything in user text that might begin a special token; taken out again
/// before the text is tokenised. U+FDD0 is a Unicode noncharacter: no honest text holds one.
pub const GUARD: char = '\u{FDD0}';

/// Turns text into token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    kind: Kind,
    /// First characters of the special tokens' texts.
    special_starts: HashSet<char>,
}

#[derive(Debug)]
enum Kind {
    Bpe(bpe::Bpe),
    SentencePiece,
}

/// How a text is to be tokenised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Add the begin and end tokens that the model wants around a whole text.
    pub add_special: bool,
    /// Let the text's own `<|marker|>`s become control tokens. Never for text from users.
    pub parse_special: bool,
}

/// A piece between special tokens, or one of them.
enum Fragment<'a> {
    Text(&'a str),
    Token(u32),
}

impl Tokenizer {
    /// The tokenizer that the file describes. Takes the long arrays out of `file`.
    pub fn load(file: &mut GgufFile) -> Result<Self, InferenceError> {
        let model = file
            .get("tokenizer.ggml.model")
            .and_then(|value| value.as_str())
            .ok_or_else(|| InferenceError::MissingMetadata { key: "tokenizer.ggml.model".to_owned() })?
            .to_owned();
        let vocabulary = Vocabulary::load(file, &model)?;
        let kind = match model.as_str() {
            "gpt2" => Kind::Bpe(bpe::Bpe::load(file, &vocabulary)?),
            "llama" => Kind::SentencePiece,
            other => {
                return Err(InferenceError::UnsupportedFeature {
                    what: format!("a tokenizer of kind `{other}` (`gpt2` and `llama` are supported)"),
                });
            }
        };
        let special_starts = vocabulary
            .specials()
            .iter()
            .filter(|&&id| vocabulary.is_marker(id))
            .filter_map(|&id| vocabulary.text(id).chars().next())
            .collect();
        Ok(Self { vocabulary, kind, special_starts })
    }

    /// The tokens and what the file says of them.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Token ids of a text.
    pub fn encode(&self, text: &str, how: Encoding) -> Vec<u32> {
        let fragments = self.split(text, |id| how.parse_special || !self.vocabulary.is_control(id));
        let mut ids = Vec::new();
        if how.add_special {
            ids.extend(self.vocabulary.begin());
        }
        self.encode_fragments(&fragments, &mut ids);
        if how.add_special {
            ids.extend(self.vocabulary.end());
        }
        ids
    }

    /// Token ids of a rendered chat template. Markers become control tokens where the template wrote them; what
    /// [`guard`](Self::guard) has touched stays text. The begin token is added where the model wants one and
    /// the template did not write it.
    pub fn encode_guarded(&self, text: &str) -> Vec<u32> {
        let outer = self.split(text, |id| self.vocabulary.is_marker(id));
        let bare: Vec<Result<String, u32>> = outer
            .iter()
            .map(|fragment| match fragment {
                Fragment::Text(text) => Ok(text.replace(GUARD, "")),
                Fragment::Token(id) => Err(*id),
            })
            .collect();
        let mut fragments = Vec::new();
        for piece in &bare {
            match piece {
                Ok(text) => fragments.extend(self.split(text, |id| !self.vocabulary.is_marker(id))),
                Err(id) => fragments.push(Fragment::Token(*id)),
            }
        }
        let mut ids = Vec::new();
        self.encode_fragments(&fragments, &mut ids);
        if let Some(begin) = self.vocabulary.begin()
            && ids.first() != Some(&begin)
        {
            ids.insert(0, begin);
        }
        ids
    }

    /// User text made safe for [`encode_guarded`](Self::encode_guarded). `keep` names markers that may stay
    /// whole, such as `</think>` in the model's own earlier answers.
    pub fn guard(&self, text: &str, keep: &[&str]) -> String {
        let mut guarded = String::with_capacity(text.len() + 8);
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(kept) = keep.iter().find(|kept| !kept.is_empty() && rest.starts_with(**kept)) {
                guarded.push_str(kept);
                rest = &rest[kept.len()..];
                continue;
            }
            if first != GUARD {
                guarded.push(first);
                if self.special_starts.contains(&first) {
                    guarded.push(GUARD);
                }
            }
            rest = &rest[first.len_utf8()..];
        }
        guarded
    }

    /// The bytes a token stands for. Control tokens are empty unless `with_special`.
    pub fn token_bytes(&self, id: u32, with_special: bool) -> Vec<u8> {
        let Some(kind) = self.vocabulary.kind(id) else {
            return Vec::new();
        };
        let text = self.vocabulary.text(id);
        match (kind, &self.kind) {
            (TokenType::Control | TokenType::Unknown, _) if !with_special => Vec::new(),
            (TokenType::Control | TokenType::Unknown | TokenType::UserDefined, _) => text.as_bytes().to_vec(),
            (TokenType::Byte, _) => vocabulary::byte_of(text).map_or_else(Vec::new, |byte| vec![byte]),
            (_, Kind::SentencePiece) => text.replace(spm::SPACE, " ").into_bytes(),
            (_, Kind::Bpe(_)) => bpe::bytes_of(text),
        }
    }

    /// Text of a sequence of ids, as a whole: invalid bytes become U+FFFD, and the space that SentencePiece puts
    /// before the first word is taken away again.
    pub fn decode(&self, ids: &[u32], with_special: bool) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.token_bytes(id, with_special)).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match (&self.kind, text.strip_prefix(' ')) {
            (Kind::SentencePiece, Some(stripped)) if self.vocabulary.add_space_prefix() => {
                stripped.to_owned()
            }
            _ => text,
        }
    }

    fn encode_fragments(&self, fragments: &[Fragment<'_>], ids: &mut Vec<u32>) {
        let mut after_special = true;
        for fragment in fragments {
            match fragment {
                Fragment::Token(id) => {
                    ids.push(*id);
                    after_special = true;
                }
                Fragment::Text(text) => {
                    match &self.kind {
                        Kind::Bpe(bpe) => bpe.encode(text, &self.vocabulary, ids),
                        Kind::SentencePiece => {
                            let prefix = after_special && self.vocabulary.add_space_prefix();
                            spm::encode(text, prefix, &self.vocabulary, ids);
                        }
                    }
                    after_special = false;
                }
            }
        }
    }

    /// Cuts a text at the special tokens that `wanted` accepts, longer ones first, as llama.cpp does.
    fn split<'a>(&self, text: &'a str, wanted: impl Fn(u32) -> bool) -> Vec<Fragment<'a>> {
        let mut fragments = Vec::new();
        if text.is_empty() {
            return fragments;
        }
        fragments.push(Fragment::Text(text));
        let windows = Windows::of(text);
        for &id in self.vocabulary.specials() {
            let marker = self.vocabulary.text(id);
            if marker.is_empty() || !wanted(id) || !windows.may_hold(marker) {
                continue;
            }
            let strip = self.vocabulary.strips_right(id);
            fragments = fragments
                .into_iter()
                .flat_map(|fragment| match fragment {
                    Fragment::Text(piece) => cut(piece, marker, id, strip),
                    token => vec![token],
                })
                .collect();
        }
        fragments
    }
}

fn cut<'a>(mut piece: &'a str, marker: &str, id: u32, strip_right: bool) -> Vec<Fragment<'a>> {
    let mut parts = Vec::new();
    while let Some(at) = piece.find(marker) {
        if at > 0 {
            parts.push(Fragment::Text(&piece[..at]));
        }
        parts.push(Fragment::Token(id));
        piece = &piece[at + marker.len()..];
        if strip_right {
            piece = piece.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        }
    }
    if !piece.is_empty() {
        parts.push(Fragment::Text(piece));
    }
    parts
}

/// Which four-byte windows a text has, to pass over most of the thousands of special tokens quickly.
struct Windows(HashSet<[u8; 4]>);

impl Windows {
    fn of(text: &str) -> Self {
        Self(text.as_bytes().windows(4).filter_map(|window| window.try_into().ok()).collect())
    }

    fn may_hold(&self, marker: &str) -> bool {
        match (marker.as_bytes().first_chunk::<4>(), marker.as_bytes().last_chunk::<4>()) {
            (Some(first), Some(last)) => self.0.contains(first) && self.0.contains(last),
            _ => true,
        }
    }
}
