//! The vocabulary of a static model, and its tokenizer: that of the encoder without what only an encoder needs, and
//! with whole words of a corpus where that is wanted.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tokenizers::{Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer};

use super::DistillError;

/// A word that occurs less often in a corpus is not worth a vector of its own.
const FEWEST_OCCURRENCES: u64 = 3;

/// A tokenizer to be, and what its tokens are to the encoder.
pub(crate) struct Vocabulary {
    /// `tokenizer.json` of the static model.
    pub json: Vec<u8>,
    /// By new id: the ids that the encoder reads for the token, those it wants around them included.
    pub sequences: Vec<Vec<u32>>,
    /// How many of them, the last ones, are words that were added.
    pub added: usize,
    /// Whether the id is that of the unknown token, which needs no vector.
    pub unknown: Option<u32>,
}

impl Vocabulary {
    /// From an encoder's `tokenizer.json`; `words` are added where they are not tokens yet.
    pub fn plan(json: &[u8], words: &[String]) -> Result<Self, DistillError> {
        let library = parse(json)?;
        let mut value: Value = serde_json::from_slice(json)
            .map_err(|error| DistillError::Tokenizer { problem: error.to_string() })?;
        let around = Around::of(&library)?;
        let root = value.as_object_mut().ok_or_else(|| refused("is no mapping"))?;
        let kind = root.get("model").and_then(|model| model["type"].as_str()).unwrap_or_default().to_owned();
        for key in ["truncation", "padding", "post_processor"] {
            root.insert(key.to_owned(), Value::Null);
        }
        if kind != "WordPiece" {
            if !words.is_empty() {
                return Err(DistillError::NoWholeWords { kind });
            }
            return Self::whole(&library, &value, &around);
        }
        let special: Vec<String> = root
            .get("added_tokens")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|token| token["content"].as_str().map(str::to_owned))
            .collect();
        // Text that looks like a special token is text like any other here.
        root.insert("added_tokens".to_owned(), json!([]));
        let model =
            root.get_mut("model").and_then(Value::as_object_mut).ok_or_else(|| refused("has no model"))?;
        let unknown = model.get("unk_token").and_then(Value::as_str).unwrap_or("[UNK]").to_owned();
        let old =
            model.get("vocab").and_then(Value::as_object).ok_or_else(|| refused("has no vocabulary"))?;
        let mut kept: Vec<(&String, u32)> = Vec::with_capacity(old.len());
        for (token, id) in old {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| refused(&format!("gives `{token}` an id that is none")))?;
            if *token == unknown || !(is_unused(token) || special.contains(token)) {
                kept.push((token, id));
            }
        }
        // Order of ids is order of frequency, near enough.
        kept.sort_by_key(|(_, id)| *id);
        let mut vocabulary = Map::with_capacity(kept.len() + words.len());
        let mut sequences = Vec::with_capacity(kept.len() + words.len());
        for (token, id) in kept {
            vocabulary.insert(token.clone(), json!(sequences.len()));
            sequences.push(around.wrap(&[id]));
        }
        let before = sequences.len();
        for word in words {
            if !vocabulary.contains_key(word) {
                let ids =
                    library.encode_fast(word.as_str(), false).map_err(|error| refused(&error.to_string()))?;
                vocabulary.insert(word.clone(), json!(sequences.len()));
                sequences.push(around.wrap(ids.get_ids()));
            }
        }
        let unknown = vocabulary.get(&unknown).and_then(Value::as_u64).map(|id| id as u32);
        model.insert("vocab".to_owned(), Value::Object(vocabulary));
        let added = sequences.len() - before;
        Ok(Self { json: value.to_string().into_bytes(), sequences, added, unknown })
    }

    /// Every id as it is: other kinds of tokenizer do not let tokens go.
    fn whole(library: &Tokenizer, value: &Value, around: &Around) -> Result<Self, DistillError> {
        let count = library.get_vocab(true).into_values().max().map_or(0, |id| id + 1);
        let sequences = (0..count).map(|id| around.wrap(&[id])).collect();
        Ok(Self { json: value.to_string().into_bytes(), sequences, added: 0, unknown: None })
    }
}

/// The words of a corpus that a tokenizer would cut into pieces, most frequent first, at most `most`.
pub(crate) fn words_of(json: &[u8], corpus: &[String], most: usize) -> Result<Vec<String>, DistillError> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let library = parse(json)?;
    let failed = |error: tokenizers::Error| refused(&error.to_string());
    let mut counts: HashMap<String, u64> = HashMap::new();
    for text in corpus {
        let mut text = tokenizers::NormalizedString::from(text.as_str());
        if let Some(normalizer) = library.get_normalizer() {
            normalizer.normalize(&mut text).map_err(failed)?;
        }
        let mut text = PreTokenizedString::from(text);
        if let Some(cutter) = library.get_pre_tokenizer() {
            cutter.pre_tokenize(&mut text).map_err(failed)?;
        }
        for (word, _, _) in text.get_splits(OffsetReferential::Original, OffsetType::None) {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(word.to_owned(), 1);
                }
            }
        }
    }
    let is_word = |word: &str| word.chars().any(char::is_alphabetic) && library.token_to_id(word).is_none();
    let mut words: Vec<(String, u64)> =
        counts.into_iter().filter(|(word, count)| *count >= FEWEST_OCCURRENCES && is_word(word)).collect();
    words.sort_by(|(a, more), (b, fewer)| fewer.cmp(more).then_with(|| a.cmp(b)));
    words.truncate(most);
    Ok(words.into_iter().map(|(word, _)| word).collect())
}

/// The ids that an encoder wants before and after a text.
struct Around {
    before: Vec<u32>,
    after: Vec<u32>,
}

impl Around {
    fn of(library: &Tokenizer) -> Result<Self, DistillError> {
        let probe = library.encode_fast("a", true).map_err(|error| refused(&error.to_string()))?;
        let (ids, mask) = (probe.get_ids(), probe.get_special_tokens_mask());
        let is_special = |mask: &&u32| **mask == 1;
        let before = mask.iter().take_while(is_special).count();
        let after = mask[before..].iter().rev().take_while(is_special).count();
        Ok(Self { before: ids[..before].to_vec(), after: ids[ids.len() - after..].to_vec() })
    }

    fn wrap(&self, ids: &[u32]) -> Vec<u32> {
        [&self.before, ids, &self.after].concat()
    }
}

fn parse(json: &[u8]) -> Result<Tokenizer, DistillError> {
    let mut library = Tokenizer::from_bytes(json).map_err(|error| refused(&error.to_string()))?;
    library.with_truncation(None).map_err(|error| refused(&error.to_string()))?;
    library.with_padding(None);
    Ok(library)
}

fn refused(problem: &str) -> DistillError {
    DistillError::Tokenizer { problem: problem.to_owned() }
}

/// BERT's placeholders, `[unused0]` and so on: no text has them.
fn is_unused(token: &str) -> bool {
    let inner = token.strip_prefix("[unused").and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENIZER: &[u8] = include_bytes!("../../../../fixtures/static/wordpiece-f32/tokenizer.json");

    #[test]
    fn only_what_text_can_have_is_kept() {
        let plan = Vocabulary::plan(TOKENIZER, &[]).unwrap();
        let value: Value = serde_json::from_slice(&plan.json).unwrap();
        let vocabulary = value["model"]["vocab"].as_object().unwrap();
        assert!(!vocabulary.contains_key("[MASK]"));
        assert_eq!(vocabulary["[UNK]"], 0);
        assert_eq!(vocabulary.len(), plan.sequences.len());
        assert_eq!((value["added_tokens"].as_array().unwrap().len(), plan.unknown), (0, Some(0)));
        // The fixture has no post-processor, so nothing stands around a token.
        let old = parse(TOKENIZER).unwrap();
        for (token, id) in vocabulary {
            let id = id.as_u64().unwrap() as usize;
            assert_eq!(plan.sequences[id], [old.token_to_id(token).unwrap()], "{token}");
        }
    }

    #[test]
    fn words_of_a_corpus_become_tokens() {
        let corpus: Vec<String> =
            ["Schiffe boote", "schiffe, boote.", "Schiffe Boote ferries", "schiffe ferry 1712 1712 1712"]
                .map(str::to_owned)
                .to_vec();
        let words = words_of(TOKENIZER, &corpus, 9).unwrap();
        assert_eq!(words, ["schiffe", "boote"], "rare words, numbers and tokens are left out");
        assert_eq!(words_of(TOKENIZER, &corpus, 1).unwrap(), ["schiffe"]);
        let plan = Vocabulary::plan(TOKENIZER, &words).unwrap();
        let new = parse(&plan.json).unwrap();
        let cut = new.encode("Schiffe!", false).unwrap();
        assert_eq!(cut.get_tokens(), ["schiffe", "!"]);
        assert_eq!(plan.added, 2);
        let old = parse(TOKENIZER).unwrap();
        let pieces = old.encode_fast("schiffe", false).unwrap();
        assert_eq!(plan.sequences[new.token_to_id("schiffe").unwrap() as usize], pieces.get_ids());
    }

    #[test]
    fn other_tokenizers_are_kept_whole() {
        let unigram = include_bytes!("../../../../fixtures/static/unigram-f16/tokenizer.json");
        assert_eq!(Vocabulary::plan(unigram, &[]).unwrap().sequences.len(), 19);
        let error = Vocabulary::plan(unigram, &["ship".to_owned()]).err().unwrap();
        assert_eq!(error.to_string(), "whole words cannot be added to a tokenizer of the kind `Unigram`");
    }
}
