//! Plain text: paragraphs between blank lines.

use crate::builder::{Builder, clean_lines};
use crate::decode::Decoded;
use crate::document::{Block, BlockKind, Extracted, Kind, Limits};

/// Reads plain text.
pub(crate) fn read(decoded: Decoded, limits: &Limits) -> Extracted {
    let mut builder = Builder::new(Kind::Text, limits);
    decoded.note(&mut builder);
    let text = clean_lines(&decoded.text);
    let blocks = paragraphs(&text, BlockKind::Paragraph);
    builder.whole(text, blocks, Vec::new());
    builder.finish()
}

/// Runs of lines between blank lines.
pub(crate) fn paragraphs(text: &str, kind: BlockKind) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut at = 0;
    let mut open = false;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let end = start + line.trim_end().len();
        if end == start {
            open = false;
            continue;
        }
        match blocks.last_mut().filter(|_| open) {
            Some(block) => block.range.end = end,
            None => blocks.push(Block { kind, range: start..end }),
        }
        open = true;
    }
    blocks
}
