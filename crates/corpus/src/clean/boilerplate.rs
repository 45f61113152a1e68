//! Lines that the documents of a source share at their edges: mastheads, licence notes, links at the foot.

use std::ops::Range;

use flowbench_extract::{BlockKind, Extracted, Kind};

use super::draft::Edit;

/// Lines with words at each edge of a document in which boilerplate is looked for.
const EDGE_LINES: usize = 15;

/// Letters without which a line is a mark of structure: `---`, `* * *`, `1.`.
const LEAST_LETTERS: usize = 3;

/// Words of lines that count pages.
const PAGE_WORDS: [&str; 10] =
    ["page", "pages", "seite", "sida", "sidan", "página", "pagina", "страница", "стр", "ページ"];

/// Longer lines that speak of pages say more than their number.
const PAGE_LINE_WORDS: usize = 8;

/// A line at the edge of a document: its digest, for which `page 3 of 9` is `page 14 of 20`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EdgeLine {
    pub range: Range<usize>,
    pub digest: u64,
}

/// Lines near the start and the end, without headings, tables and code, which have the same lines for good reasons.
pub(super) fn edge_lines(extracted: &Extracted) -> Vec<EdgeLine> {
    if extracted.kind == Some(Kind::Code) {
        return Vec::new();
    }
    let text = &extracted.text;
    let mut lines = Vec::new();
    forward(extracted, text, &mut lines);
    let seen = lines.last().map_or(0, |last: &EdgeLine| last.range.end);
    let mut at = text.len();
    let mut taken = 0;
    for line in text[seen..].split_inclusive('\n').rev() {
        let range = at - line.len()..at;
        at = range.start;
        if taken == EDGE_LINES {
            break;
        }
        if let Some(line) = edge_line(extracted, text, range) {
            lines.push(line);
            taken += 1;
        }
    }
    lines.sort_by_key(|line| line.range.start);
    lines
}

fn forward(extracted: &Extracted, text: &str, lines: &mut Vec<EdgeLine>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if lines.len() == EDGE_LINES {
            return;
        }
        lines.extend(edge_line(extracted, text, at..at + line.len()));
        at += line.len();
    }
}

fn edge_line(extracted: &Extracted, text: &str, range: Range<usize>) -> Option<EdgeLine> {
    let line = text[range.clone()].trim();
    if line.chars().filter(|letter| letter.is_alphabetic()).take(LEAST_LETTERS).count() < LEAST_LETTERS {
        return None;
    }
    let index = extracted.blocks.partition_point(|block| block.range.end <= range.start);
    if let Some(block) = extracted.blocks.get(index)
        && block.range.start < range.end
        && matches!(block.kind, BlockKind::Heading | BlockKind::Table | BlockKind::Code)
    {
        return None;
    }
    let words: Vec<String> = line.split_whitespace().map(str::to_lowercase).collect();
    if is_field(line) {
        return None;
    }
    let counts_pages = words.len() <= PAGE_LINE_WORDS
        && words.iter().any(|word| PAGE_WORDS.contains(&word.trim_end_matches(['.', ':'])));
    let mut digest = blake3::Hasher::new();
    for word in &words {
        // Other numbers are what a line says: `Amount: 50 EUR`.
        let word = match counts_pages && word.contains(char::is_numeric) {
            true => "#",
            false => word.as_str(),
        };
        digest.update(word.as_bytes()).update(b" ");
    }
    let mut eight = [0u8; 8];
    eight.copy_from_slice(&digest.finalize().as_bytes()[..8]);
    Some(EdgeLine { range, digest: u64::from_le_bytes(eight) })
}

/// `Status: open`: a fact, though half of the documents may share it.
fn is_field(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(label, value)| {
        let is_word = |word: &str| {
            word.chars().all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-')
        };
        !value.trim().is_empty()
            && label.split_whitespace().count() <= 3
            && label.split_whitespace().all(is_word)
    })
}

/// Removes furniture and the shared lines of a document. A document that is nothing else keeps its text.
pub(super) fn edits(extracted: &Extracted, shared: &[u64]) -> Vec<Edit> {
    let text = &extracted.text;
    let mut ranges: Vec<Range<usize>> = extracted
        .blocks
        .iter()
        .filter(|block| block.kind == BlockKind::Furniture)
        .map(|block| block.range.clone())
        .collect();
    if !shared.is_empty() {
        let lines =
            edge_lines(extracted).into_iter().filter(|line| shared.binary_search(&line.digest).is_ok());
        ranges.extend(lines.map(|line| line.range));
    }
    ranges.sort_by_key(|range| range.start);
    let mut edits: Vec<Edit> = Vec::new();
    for range in ranges {
        let start = range.start.max(edits.last().map_or(0, |edit| edit.range.end));
        if start >= range.end {
            continue;
        }
        // The blank lines behind it go as well, so that what is around is one blank line apart.
        let opens = text[..start].trim_end_matches([' ', '\t']);
        let mut end = range.end;
        if opens.is_empty() || opens.ends_with('\n') {
            end += text[end..].len() - text[end..].trim_start_matches('\n').len();
        }
        edits.push(Edit { range: start..end, with: String::new() });
    }
    let removed: usize = edits.iter().map(|edit| text[edit.range.clone()].split_whitespace().count()).sum();
    if removed == text.split_whitespace().count() { Vec::new() } else { edits }
}
