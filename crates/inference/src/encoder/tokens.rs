//! The tokenizer of an encoder: `tokenizer.json` without the truncation and padding that it may carry. Those are
//! leftovers of whoever saved it (MiniLM's says 128 and pads to that; the model was made for 256), so the length
//! comes from the model's other files.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use flowbench_core::ports::Tokens;
use tokenizers::utils::truncation::truncate_encodings;
use tokenizers::{Encoding, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use super::files::{Settings, bad_file, read_bounded};
use crate::InferenceError;

/// Longest `tokenizer.json` that is read; the largest real ones (a quarter of a million tokens) have 35 MB.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

/// Cuts texts into the ids a model wants.
#[derive(Clone)]
pub struct EncoderTokenizer {
    inner: Arc<Tokenizer>,
    /// Digest of the file.
    digest: String,
    /// Texts are lower-cased before anything else.
    pub(crate) lower_case: bool,
    /// False if the model is never told token types, whatever the tokenizer says of them.
    pub(crate) tells_types: bool,
    /// The end that is kept when a text is too long.
    pub(crate) cut: Cut,
}

/// Which end of a long text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    End,
    Start,
}

/// Ids of a text or pair, with the tokens that the model wants around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub ids: Vec<u32>,
    pub types: Vec<u32>,
}

impl EncoderTokenizer {
    /// Reads `tokenizer.json` from a model's folder.
    pub fn load(folder: &Path) -> Result<Self, InferenceError> {
        let path = folder.join("tokenizer.json");
        let bytes = read_bounded(&path, MAX_TOKENIZER_BYTES)?;
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let mut inner = Tokenizer::from_bytes(&bytes)
            .map_err(|error| bad_file(&path, format!("cannot be used as a tokenizer: {error}")))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| bad_file(&path, error.to_string()))?;
        Ok(Self { inner: Arc::new(inner), digest, lower_case: false, tells_types: true, cut: Cut::End })
    }

    /// The tokenizer itself.
    pub fn inner(&self) -> &Tokenizer {
        &self.inner
    }

    /// Ids of a text with its special tokens, `max_tokens` at most.
    pub fn ids(&self, text: &str, max_tokens: usize) -> Result<Vec<u32>, InferenceError> {
        Ok(self.encode(text, max_tokens)?.ids)
    }

    pub(crate) fn encode(&self, text: &str, max_tokens: usize) -> Result<Encoded, InferenceError> {
        let lowered = self.lower_case.then(|| text.to_lowercase());
        let text = lowered.as_deref().unwrap_or(text);
        let whole = self.inner.encode_fast(text, true).map_err(refused)?;
        if whole.len() <= max_tokens {
            return Ok(self.encoded(&whole));
        }
        let bare = self.inner.encode_fast(text, false).map_err(refused)?;
        let special = whole.len().saturating_sub(bare.len());
        self.shorten(bare, None, special, max_tokens)
    }

    /// Ids of a text without special tokens around it.
    pub(crate) fn bare_ids(&self, text: &str) -> Result<Vec<u32>, InferenceError> {
        Ok(self.inner.encode_fast(text, false).map_err(refused)?.get_ids().to_vec())
    }

    /// Tokens that a prefix comes to where a text follows it: the last special token is behind the text.
    pub(crate) fn prefix_len(&self, prefix: &str) -> Result<usize, InferenceError> {
        let encoding = self.inner.encode_fast(prefix, true).map_err(refused)?;
        let ends_special = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(ends_special))
    }

    /// Ids of a pair. Tokens are taken from the longer text until both fit, as the reference does.
    pub(crate) fn encode_pair(
        &self,
        first: &str,
        second: &str,
        max_tokens: usize,
    ) -> Result<Encoded, InferenceError> {
        let lowered = self.lower_case.then(|| (first.to_lowercase(), second.to_lowercase()));
        let (first, second) = match &lowered {
            Some((first, second)) => (first.as_str(), second.as_str()),
            None => (first, second),
        };
        let whole = self.inner.encode_fast((first, second), true).map_err(refused)?;
        if whole.len() <= max_tokens {
            return Ok(self.encoded(&whole));
        }
        let one = self.inner.encode_fast(first, false).map_err(refused)?;
        let two = self.inner.encode_fast(second, false).map_err(refused)?;
        let special = whole.len().saturating_sub(one.len() + two.len());
        self.shorten(one, Some(two), special, max_tokens)
    }

    fn encoded(&self, encoding: &Encoding) -> Encoded {
        let types = if self.tells_types { encoding.get_type_ids().to_vec() } else { Vec::new() };
        Encoded { ids: encoding.get_ids().to_vec(), types }
    }

    /// What `tokenizer_config.json` and `sentence_bert_config.json` say of how texts are cut.
    pub(crate) fn obey(
        &mut self,
        tokenizer: Option<&Settings>,
        bert: Option<&Settings>,
    ) -> Result<(), InferenceError> {
        if let Some(settings) = bert {
            self.lower_case = settings.flag(&["do_lower_case"])?.unwrap_or(false);
        }
        if let Some(settings) = tokenizer {
            if settings.text(&["truncation_side"])? == Some("left") {
                self.cut = Cut::Start;
            }
            if let Some(names) = settings.get("model_input_names").and_then(|names| names.as_array()) {
                self.tells_types = names.iter().any(|name| name == "token_type_ids");
            }
        }
        Ok(())
    }

    /// Cuts what has no special tokens yet so that they fit in, and adds them.
    fn shorten(
        &self,
        first: Encoding,
        second: Option<Encoding>,
        special: usize,
        max_tokens: usize,
    ) -> Result<Encoded, InferenceError> {
        let parameters = TruncationParams {
            max_length: max_tokens.saturating_sub(special),
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
            direction: match self.cut {
                Cut::End => TruncationDirection::Right,
                Cut::Start => TruncationDirection::Left,
            },
        };
        let (first, second) = truncate_encodings(first, second, &parameters).map_err(refused)?;
        let mut encoded = self.encoded(&self.inner.post_process(first, second, true).map_err(refused)?);
        // Only where the special tokens alone are too many.
        encoded.ids.truncate(max_tokens);
        encoded.types.truncate(max_tokens);
        Ok(encoded)
    }
}

fn refused(error: tokenizers::Error) -> InferenceError {
    InferenceError::Tokenizer { problem: format!("failed on a text: {error}") }
}

impl Tokens for EncoderTokenizer {
    fn digest(&self) -> String {
        if self.lower_case { format!("{}-lower", self.digest) } else { self.digest.clone() }
    }

    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        // Lower-casing may change lengths, so ranges are those of the text as it came.
        let Ok(encoding) = self.inner.encode(text, false) else { return Vec::new() };
        encoding
            .get_offsets()
            .iter()
            .filter_map(|&(start, end)| {
                let (start, end) = (text.floor_char_boundary(start), text.ceil_char_boundary(end));
                if start < end {
                    return Some(start..end);
                }
                // A token that is nothing but a blank, which some tokenizers trim away: the one before its end.
                let blank = text[..end].chars().next_back().filter(|last| last.is_whitespace())?;
                Some(end - blank.len_utf8()..end)
            })
            .collect()
    }

    fn count(&self, text: &str) -> usize {
        self.inner.encode_fast(text, false).map_or(0, |encoding| encoding.len())
    }
}
