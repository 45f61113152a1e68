//! Which paragraphs are headings: those in a larger font than the text, those in bold on a line of their own, and
//! those that the document's own outline names.

use std::collections::{BTreeMap, HashMap};

use super::paragraphs::{PageBlock, Shape};

/// From this factor of the body's size on a line is a heading.
const LARGER: f32 = 1.15;
/// Longest heading in characters and lines.
const MAX_CHARS: usize = 160;
/// See above.
const MAX_LINES: usize = 3;
/// Deepest level told apart by size.
const MAX_LEVELS: usize = 6;

/// Knows the headings of one document.
#[derive(Debug, Default)]
pub(super) struct Headings {
    /// Sizes of headings in tenths of points, largest first.
    sizes: Vec<i32>,
    /// Whether the text itself is bold, so that bold says nothing.
    body_is_bold: bool,
    /// Levels by title, from the outline.
    outline: HashMap<String, u8>,
}

impl Headings {
    /// Looks at the whole document.
    pub fn new<'b>(blocks: impl Iterator<Item = &'b PageBlock> + Clone, outline: &[(u8, String)]) -> Self {
        let mut chars_by_size: BTreeMap<i32, usize> = BTreeMap::new();
        let (mut bold_chars, mut all_chars) = (0, 0);
        for block in blocks.clone() {
            let PageBlock::Text { lines, size, bold, .. } = block else { continue };
            let chars = lines.iter().map(|line| line.text.len()).sum::<usize>();
            *chars_by_size.entry(tenths(*size)).or_default() += chars;
            all_chars += chars;
            bold_chars += if *bold { chars } else { 0 };
        }
        let body = chars_by_size.iter().max_by_key(|(_, chars)| **chars).map_or(100, |(size, _)| *size);
        let outline = outline.iter().map(|(level, title)| (key(title), *level)).collect();
        let mut headings = Self { sizes: Vec::new(), body_is_bold: bold_chars * 2 > all_chars, outline };
        let mut sizes: Vec<i32> = blocks
            .filter(|block| headings.could_be(block))
            .filter_map(|block| match block {
                PageBlock::Text { size, .. } => Some(tenths(*size)),
                PageBlock::Table(_) => None,
            })
            .filter(|size| *size as f32 >= body as f32 * LARGER)
            .collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        // Sizes that differ by rounding are one.
        sizes.dedup_by(|a, b| (*a - *b).abs() <= 4);
        headings.sizes = sizes;
        headings
    }

    /// The level of a block that is a heading.
    pub fn level(&self, block: &PageBlock) -> Option<u8> {
        let PageBlock::Text { lines, size, bold, .. } = block else { return None };
        if !self.could_be(block) {
            return None;
        }
        let title: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        if let Some(level) = self.outline.get(&key(&title.join(" "))) {
            return Some(*level);
        }
        let size = tenths(*size);
        let rank = self.sizes.iter().position(|known| size >= *known - 4);
        let level = match rank {
            Some(rank) => rank + 1,
            None => {
                let text = lines.first().map_or("", |line| line.text.as_str());
                let alone = lines.len() == 1 && !text.ends_with(['.', ':', ',', ';', '!', '?']);
                if !(*bold && !self.body_is_bold && alone) {
                    return None;
                }
                self.sizes.len() + 1
            }
        };
        u8::try_from(level.min(MAX_LEVELS)).ok()
    }

    fn could_be(&self, block: &PageBlock) -> bool {
        let PageBlock::Text { shape, lines, .. } = block else { return false };
        let chars: usize = lines.iter().map(|line| line.text.chars().count()).sum();
        let letters =
            lines.iter().flat_map(|line| line.text.chars()).filter(|char| char.is_alphabetic()).count();
        *shape == Shape::Paragraph && lines.len() <= MAX_LINES && chars <= MAX_CHARS && letters >= 2
    }
}

fn tenths(size: f32) -> i32 {
    (size * 10.0).round() as i32
}

/// A title as it is compared: letters and digits, without its number.
fn key(title: &str) -> String {
    let letters = title.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase);
    letters.skip_while(|char| char.is_numeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::paragraphs::Line;
    use super::*;

    fn text(text: &str, size: f32, bold: bool) -> PageBlock {
        let lines = vec![Line { text: text.to_owned(), runs_on: false }];
        PageBlock::Text { shape: Shape::Paragraph, lines, size, bold }
    }

    #[test]
    fn size_outline_and_boldness_make_headings() {
        let blocks = [
            text("The title", 20.0, false),
            text("A chapter", 14.0, false),
            text("Running text that is by far the longest of all blocks in here", 10.0, false),
            text("A bold line", 10.0, true),
            text("Bold, but a sentence.", 10.0, true),
            text("2.1 Known from the outline", 10.0, false),
        ];
        let headings = Headings::new(blocks.iter(), &[(4, "Known from the Outline".to_owned())]);
        let levels: Vec<Option<u8>> = blocks.iter().map(|block| headings.level(block)).collect();
        assert_eq!(levels, [Some(1), Some(2), None, Some(3), None, Some(4)]);
    }

    #[test]
    fn a_document_in_one_size_has_no_headings() {
        let blocks = [text("One line", 12.0, false), text("Another line", 12.0, false)];
        let headings = Headings::new(blocks.iter(), &[]);
        assert!(blocks.iter().all(|block| headings.level(block).is_none()));
    }
}
