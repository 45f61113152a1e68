//! Source code: its items as sections, its statements as pieces.

use std::ops::Range;

use flowbench_core::ports::Tokens;

use super::outline::{Form, Piece, Section};
use crate::clean::Cleaned;

/// Sections and pieces of a source file.
pub(super) fn outline(cleaned: &Cleaned, _most: usize, _tokens: &dyn Tokens) -> (Vec<Section>, Vec<Piece>) {
    let text = &cleaned.text;
    (vec![Section { range: 0..text.len(), ..Section::default() }], by_blank_lines(text, 0..text.len()))
}

/// Stretches that begin after a blank line with a line that is not indented.
fn by_blank_lines(text: &str, range: Range<usize>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut start = range.start;
    let mut at = range.start;
    let mut after_blank = false;
    for line in text[range.clone()].split_inclusive('\n') {
        if line.trim().is_empty() {
            after_blank = true;
        } else {
            // A closing bracket belongs to what it closes.
            let opens = line.starts_with(|letter: char| !letter.is_whitespace() && !")]}".contains(letter));
            if after_blank && opens {
                push(text, start..at, &mut pieces);
                start = at;
            }
            after_blank = false;
        }
        at += line.len();
    }
    push(text, start..range.end, &mut pieces);
    pieces
}

fn push(text: &str, range: Range<usize>, pieces: &mut Vec<Piece>) {
    let end = range.start + text[range.clone()].trim_end().len();
    if end > range.start {
        pieces.push(Piece { range: range.start..end, form: Form::Code });
    }
}
