//! Byte-level BPE, the `gpt2` tokenizer kind: a regular expression cuts words, bytes become printable characters,
//! and ranked merges join them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::Vocabulary;
use super::merge::merge;
use super::pre::PreTokenizer;
use crate::InferenceError;
use crate::gguf::{GgufFile, Value};

/// The ranked merges and the rule that cuts words.
#[derive(Debug)]
pub(super) struct Bpe {
    /// Left and right token to rank and joined token.
    merges: HashMap<(u32, u32), (u32, u32)>,
    pre: PreTokenizer,
}

impl Bpe {
    pub(super) fn load(file: &mut GgufFile, vocabulary: &Vocabulary) -> Result<Self, InferenceError> {
        let lines = match file.take("tokenizer.ggml.merges") {
            Some(Value::Texts(lines)) => lines,
            Some(_) => {
                return Err(InferenceError::Tokenizer {
                    problem: "has merges that are not texts".to_owned(),
                });
            }
            None => return Err(InferenceError::MissingMetadata { key: "tokenizer.ggml.merges".to_owned() }),
        };
        let mut merges = HashMap::with_capacity(lines.len());
        let mut joined = String::new();
        for (rank, line) in lines.iter().enumerate() {
            // The first character may itself be a space in odd files, so the search starts behind it.
            let first_len = line.chars().next().map_or(0, char::len_utf8);
            let Some(at) = line[first_len..].find(' ').map(|at| at + first_len) else {
                return Err(InferenceError::Tokenizer {
                    problem: format!("has a merge without a space, number {rank}"),
                });
            };
            let (left, right) = (&line[..at], &line[at + 1..]);
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            if let (Some(left), Some(right), Some(id)) =
                (vocabulary.id_of(left), vocabulary.id_of(right), vocabulary.joined_id_of(&joined))
            {
                merges.entry((left, right)).or_insert((rank as u32, id));
            }
        }
        Ok(Self { merges, pre: PreTokenizer::of_name(vocabulary.pre())? })
    }

    /// Appends the ids of `text`.
    pub(super) fn encode(&self, text: &str, vocabulary: &Vocabulary, ids: &mut Vec<u32>) {
        let mut word = String::new();
        for piece in self.pre.split(text) {
            word.clear();
            word.extend(piece.bytes().map(|byte| BYTE_TO_CHAR[byte as usize]));
            if self.pre.ignores_merges()
                && let Some(id) = vocabulary.joined_id_of(&word)
            {
                ids.push(id);
                continue;
            }
            let pieces = word.char_indices().map(|(start, c)| {
                let len = c.len_utf8();
                (start, len, vocabulary.id_of(&word[start..start + len]))
            });
            let symbols = merge(pieces, |left, right| {
                let &(rank, id) = self.merges.get(&(left.id?, right.id?))?;
                Some((Reverse(rank), id))
            });
            ids.extend(symbols.filter_map(|symbol| symbol.id));
        }
    }
}

/// GPT-2's table: printable bytes stand for themselves, the others for characters from U+0100 on.
static BYTE_TO_CHAR: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut table = ['\0'; 256];
    let mut next = 0x100;
    for byte in 0..=255u8 {
        table[byte as usize] = match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => {
                let c = char::from_u32(next).unwrap_or('\0');
                next += 1;
                c
            }
        };
    }
    table
});

static CHAR_TO_BYTE: LazyLock<HashMap<char, u8>> =
    LazyLock::new(|| (0..=255u8).map(|byte| (BYTE_TO_CHAR[byte as usize], byte)).collect());

/// The bytes that a token's printable characters stand for.
pub(super) fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match CHAR_TO_BYTE.get(&c) {
            Some(&byte) => bytes.push(byte),
            None => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}
