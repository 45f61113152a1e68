//! Finds JSON in text: the whole of it, a fenced block, or a part amid prose.
//!
//! What stands after a model's thinking is looked at before the thinking itself, and the first value that fits wins.
//! Where none fits, the error tells about the longest value found, which is most likely the one that was meant.

use serde_json::Value;

use super::error::{ExtractError, SchemaError};
use super::tolerant;

/// How often the text may be read over, on average, while looking for a start that leads to an end. Text made of
/// unclosed brackets would otherwise be read once for each of them.
const READS: usize = 16;

/// Read in any case, so that short texts never hit the limit above.
const SURE_BYTES: usize = 1 << 20;

/// The mark that ends a reasoning model's thinking.
const END_OF_THINKING: &str = "</think>";

/// The first JSON value in the text that `check` accepts.
pub(super) fn find_fitting(
    text: &str,
    tolerant: bool,
    check: impl Fn(&Value) -> Result<(), SchemaError>,
) -> Result<Value, ExtractError> {
    let mut search = Search { tolerant, check, misfit: None, reason: None };
    let found = match text.rfind(END_OF_THINKING) {
        Some(at) => {
            search.in_part(&text[at + END_OF_THINKING.len()..]).or_else(|| search.in_part(&text[..at]))
        }
        None => search.in_part(text),
    };
    match (found, search.misfit) {
        (Some(value), _) => Ok(value),
        (None, Some((_, error))) => Err(error.into()),
        (None, None) => Err(ExtractError::NoJson { reason: search.reason }),
    }
}

struct Search<C> {
    tolerant: bool,
    check: C,
    /// The longest value that did not fit: its bytes and why.
    misfit: Option<(usize, SchemaError)>,
    /// Why the first text that began like JSON was none.
    reason: Option<String>,
}

impl<C: Fn(&Value) -> Result<(), SchemaError>> Search<C> {
    fn in_part(&mut self, text: &str) -> Option<Value> {
        let whole = text.trim();
        if let Some(value) = self.whole(whole) {
            return Some(value);
        }
        for block in fenced_blocks(whole) {
            if let Some(value) = self.whole(block.trim()) {
                return Some(value);
            }
        }
        self.amid_prose(whole)
    }

    /// The text as one value and nothing else.
    fn whole(&mut self, text: &str) -> Option<Value> {
        let (value, end) = self.parse_start(text).ok()?;
        if !text[end..].trim().is_empty() {
            return None;
        }
        self.fitting(value, end)
    }

    /// The first fitting map or list that begins anywhere.
    fn amid_prose(&mut self, text: &str) -> Option<Value> {
        let mut budget = text.len().saturating_mul(READS) + SURE_BYTES;
        let mut position = 0;
        while let Some(start) = text[position..].find(['{', '[']).map(|at| position + at) {
            match self.parse_start(&text[start..]) {
                Ok((value, length)) => {
                    if let Some(value) = self.fitting(value, length) {
                        return Some(value);
                    }
                    position = start + length;
                }
                Err(failure) => {
                    if self.reason.is_none() && text[start..].starts_with(['{', '[']) && failure.looks_meant {
                        self.reason = Some(failure.reason);
                    }
                    budget = budget.checked_sub(failure.read)?;
                    position = start + 1;
                }
            }
        }
        None
    }

    fn fitting(&mut self, value: Value, length: usize) -> Option<Value> {
        match (self.check)(&value) {
            Ok(()) => Some(value),
            Err(error) => {
                if self.misfit.as_ref().is_none_or(|(longest, _)| length > *longest) {
                    self.misfit = Some((length, error));
                }
                None
            }
        }
    }

    fn parse_start(&self, text: &str) -> Result<(Value, usize), Failure> {
        if self.tolerant {
            return tolerant::parse_start(text).map_err(|error| Failure {
                reason: error.to_string(),
                read: error.position + 1,
                looks_meant: error.position > 1,
            });
        }
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => Ok((value, values.byte_offset())),
            Some(Err(error)) => {
                let read = bytes_before(text, error.line(), error.column());
                Err(Failure { reason: error.to_string(), read: read + 1, looks_meant: read > 2 })
            }
            None => Err(Failure { reason: "the text is empty".to_owned(), read: 1, looks_meant: false }),
        }
    }
}

struct Failure {
    reason: String,
    /// Bytes read until it failed.
    read: usize,
    /// Got further than the bracket, so that the reason helps.
    looks_meant: bool,
}

/// Turns serde's line and column, both from 1, into bytes.
fn bytes_before(text: &str, line: usize, column: usize) -> usize {
    let mut lines_start = 0;
    for _ in 1..line {
        match text[lines_start..].find('\n') {
            Some(at) => lines_start += at + 1,
            None => break,
        }
    }
    (lines_start + column).min(text.len())
}

/// Insides of Markdown's ``` and ~~~ blocks, in order; a block that is not closed ends with the text.
fn fenced_blocks(text: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let mut position = 0;
    for line in text.split_inclusive('\n') {
        let start = position;
        position += line.len();
        let content = line.trim();
        match open {
            None => {
                if let Some(fence) = ["```", "~~~"].into_iter().find(|fence| content.starts_with(fence)) {
                    open = Some((fence, position));
                }
            }
            Some((fence, inside)) => {
                if content.starts_with(fence) {
                    blocks.push(&text[inside..start]);
                    open = None;
                }
            }
        }
    }
    if let Some((_, inside)) = open {
        blocks.push(&text[inside..]);
    }
    blocks
}
