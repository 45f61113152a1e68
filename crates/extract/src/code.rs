//! Source code: one block, with its language in the metadata.

use crate::builder::{Builder, clean_lines};
use crate::decode::Decoded;
use crate::document::{Block, BlockKind, Extracted, Kind, Limits};

/// Reads source code.
pub(crate) fn read(decoded: Decoded, language: &str, limits: &Limits) -> Extracted {
    let mut builder = Builder::new(Kind::Code, limits);
    decoded.note(&mut builder);
    builder.meta("language_code", language);
    let text = clean_lines(&decoded.text);
    let end = text.trim_end().len();
    let blocks = if end > 0 { vec![Block { kind: BlockKind::Code, range: 0..end }] } else { Vec::new() };
    builder.whole(text, blocks, Vec::new());
    builder.finish()
}
