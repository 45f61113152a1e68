//! From text to token ids and spans: the library's way, and for BERT's tokenizer a quick one with the same result.

use std::ops::Range;

use flowbench_core::ports::Tokens;
use serde_json::Value;
use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;

use super::StaticModelError;
use super::word_piece::WordPiece;

/// A tokenizer for static models: no special tokens, nothing padded, nothing cut off.
pub struct Cutter {
    library: Tokenizer,
    quick: Option<WordPiece>,
    unknown: Option<u32>,
    token_count: usize,
    median_length: usize,
    digest: String,
}

impl Cutter {
    /// Reads a `tokenizer.json`. Its own truncation and padding are ignored.
    pub fn parse(json: &[u8]) -> Result<Self, StaticModelError> {
        let bad = |error: tokenizers::Error| StaticModelError::Tokenizer {
            problem: format!("cannot be read: {error}"),
        };
        let mut library = Tokenizer::from_bytes(json).map_err(bad)?;
        library.with_truncation(None).map_err(bad)?;
        library.with_padding(None);
        let vocabulary = library.get_vocab(true);
        let mut lengths: Vec<usize> = vocabulary.keys().map(|token| token.chars().count()).collect();
        lengths.sort_unstable();
        Ok(Self {
            unknown: unknown_id(&library, json),
            quick: WordPiece::of(&library),
            token_count: vocabulary.values().max().map_or(0, |id| *id as usize + 1),
            median_length: median(&lengths),
            digest: blake3::hash(json).to_hex().to_string(),
            library,
        })
    }

    /// One more than the largest id.
    pub fn token_count(&self) -> usize {
        self.token_count
    }

    /// True if this tokenizer is cut without the library's help where the text is ASCII.
    pub fn is_quick(&self) -> bool {
        self.quick.is_some()
    }

    /// The ids of a text, at most `most` counted before unknown ones are left out, as model2vec does it.
    pub fn ids(&self, text: &str, most: Option<usize>, ids: &mut Vec<u32>) -> Result<(), StaticModelError> {
        ids.clear();
        // What lies far behind the limit is not worth cutting; where model2vec stops, too.
        let text = match most.and_then(|most| text.char_indices().nth(most * self.median_length)) {
            Some((end, _)) => &text[..end],
            None => text,
        };
        self.walk(text, |id, _| ids.push(id))?;
        ids.truncate(most.unwrap_or(usize::MAX));
        ids.retain(|id| Some(*id) != self.unknown);
        Ok(())
    }

    /// Every token with its bytes.
    fn walk(&self, text: &str, mut take: impl FnMut(u32, Range<usize>)) -> Result<(), StaticModelError> {
        let Some(quick) = &self.quick else {
            return self.by_library(text, 0, &mut take);
        };
        let bytes = text.as_bytes();
        let mut start = 0;
        while start < bytes.len() {
            if is_blank(&bytes[start]) {
                start += 1;
                continue;
            }
            let length = bytes[start..].iter().position(is_blank).unwrap_or(bytes.len() - start);
            let run = &text[start..start + length];
            match quick.knows(run) {
                true => quick.cut(run, |piece| take(piece.id, start + piece.start..start + piece.end)),
                false => self.by_library(run, start, &mut take)?,
            }
            start += length;
        }
        Ok(())
    }

    fn by_library(
        &self,
        text: &str,
        at: usize,
        take: &mut impl FnMut(u32, Range<usize>),
    ) -> Result<(), StaticModelError> {
        let failed = |error: tokenizers::Error| StaticModelError::Tokenizer {
            problem: format!("failed on a text: {error}"),
        };
        let encoding = self.library.encode(text, false).map_err(failed)?;
        for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            take(*id, at + start..at + end);
        }
        Ok(())
    }
}

impl Tokens for Cutter {
    fn digest(&self) -> String {
        self.digest.clone()
    }

    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        match self.walk(text, |_, span| spans.push(span)) {
            Ok(()) => spans,
            // A text that cannot be cut is one piece: chunking must go on.
            Err(_) => std::iter::once(0..text.len()).collect(),
        }
    }
}

/// The blanks that BERT's normalizer keeps apart from control characters; others are left within a run.
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn median(sorted: &[usize]) -> usize {
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => 1,
        (half, 0) => (sorted[half - 1] + sorted[half]) / 2,
        (half, _) => sorted[half],
    }
}

fn unknown_id(tokenizer: &Tokenizer, json: &[u8]) -> Option<u32> {
    let name = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
        ModelWrapper::BPE(model) => model.unk_token.clone(),
        // The library does not tell.
        ModelWrapper::Unigram(_) => {
            let json: Value = serde_json::from_slice(json).ok()?;
            return json["model"]["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok());
        }
    };
    tokenizer.token_to_id(&name?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKENIZER: &[u8] = include_bytes!("../../../../fixtures/static/wordpiece-f32/tokenizer.json");

    fn pair(json: &[u8]) -> (Cutter, Cutter) {
        let quick = Cutter::parse(json).unwrap();
        assert!(quick.is_quick(), "this is BERT's tokenizer");
        (quick, Cutter { quick: None, ..Cutter::parse(json).unwrap() })
    }

    fn cut(cutter: &Cutter, text: &str) -> Vec<(u32, Range<usize>)> {
        let mut pieces = Vec::new();
        cutter.walk(text, |id, span| pieces.push((id, span))).unwrap();
        pieces
    }

    proptest! {
        #[test]
        fn both_ways_cut_alike(text in "([a-gI-Oſnoti#ßé船\u{301}\u{200b}\u{0}\u{b}\u{85}\u{2028}.,!“\\[\\] \n\t]|noon|ferry|\\[UNK\\]|\\[SEP\\]){0,40}") {
            let (quick, slow) = pair(TOKENIZER);
            prop_assert_eq!(cut(&quick, &text), cut(&slow, &text));
        }

        #[test]
        fn spans_lie_in_order_on_characters(text in "\\PC{0,60}") {
            let (quick, _) = pair(TOKENIZER);
            let spans = quick.spans(&text);
            for span in &spans {
                prop_assert!(text.get(span.clone()).is_some());
            }
            prop_assert!(spans.is_sorted_by_key(|span| span.start));
        }
    }

    #[test]
    fn unknown_words_are_spans_but_no_ids() {
        let (quick, _) = pair(TOKENIZER);
        let mut ids = Vec::new();
        quick.ids("the zzz ferry", None, &mut ids).unwrap();
        assert_eq!((ids.len(), quick.spans("the zzz ferry")), (2, vec![0..3, 4..7, 8..13]));
    }

    /// Real text, where `FLOWBENCH_TEST_TEXTS` names a file of lines and `FLOWBENCH_TEST_TOKENIZER` BERT's tokenizer.
    #[test]
    fn both_ways_cut_real_text_alike() {
        let named = |name| std::env::var_os(name).map(std::path::PathBuf::from);
        let (Some(texts), Some(tokenizer)) =
            (named("FLOWBENCH_TEST_TEXTS"), named("FLOWBENCH_TEST_TOKENIZER"))
        else {
            println!("not run: FLOWBENCH_TEST_TEXTS and FLOWBENCH_TEST_TOKENIZER name no files");
            return;
        };
        let (quick, slow) = pair(&std::fs::read(tokenizer).unwrap());
        let texts = std::fs::read_to_string(texts).unwrap();
        let mut tokens = 0;
        for text in texts.lines() {
            let pieces = cut(&quick, text);
            assert_eq!(pieces, cut(&slow, text), "{text}");
            tokens += pieces.len();
        }
        println!("{} texts, {tokens} tokens", texts.lines().count());
    }
}
