//! What a document is made of before it is cut: sections under headings, and the blocks of its text.

use std::ops::Range;

use flowbench_extract::{Block, BlockKind};

use crate::clean::Cleaned;

/// A stretch under one heading, up to the next heading of any level.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Section {
    /// From its heading on.
    pub range: Range<usize>,
    /// Titles from the highest heading to its own.
    pub path: Vec<String>,
    /// Its own heading is text at its start.
    pub is_titled: bool,
}

/// What may be cut, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A line that stays with what follows it.
    Heading,
    /// Sentences.
    Prose,
    /// Items, a line each.
    List,
    /// Rows, a line each; the first one or two name the columns.
    Table,
    /// Lines.
    Code,
}

/// A stretch that is kept whole where it fits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub range: Range<usize>,
    pub form: Form,
}

/// Sections in order, without gaps; the first may be above all headings.
pub(super) fn sections(cleaned: &Cleaned) -> Vec<Section> {
    let length = cleaned.text.len();
    let mut headings: Vec<_> =
        cleaned.headings.iter().filter(|heading| heading.range.start < length).collect();
    headings.sort_by_key(|heading| heading.range.start);
    headings.dedup_by_key(|heading| heading.range.start);
    let mut sections = Vec::with_capacity(headings.len() + 1);
    let first = headings.first().map_or(length, |heading| heading.range.start);
    if first > 0 || headings.is_empty() {
        sections.push(Section { range: 0..first, ..Section::default() });
    }
    let mut above: Vec<(u8, String)> = Vec::new();
    for (index, heading) in headings.iter().enumerate() {
        while above.last().is_some_and(|(level, _)| *level >= heading.level) {
            above.pop();
        }
        above.push((heading.level, one_line(&heading.title)));
        let end = headings.get(index + 1).map_or(length, |next| next.range.start);
        sections.push(Section {
            range: heading.range.start..end,
            path: above.iter().map(|(_, title)| title.clone()).filter(|title| !title.is_empty()).collect(),
            is_titled: !heading.title.trim().is_empty(),
        });
    }
    sections
}

/// Blocks of a document with what stands outside of them; where it has none, paragraphs.
pub(super) fn pieces(cleaned: &Cleaned) -> Vec<Piece> {
    let text = &cleaned.text;
    let mut pieces = Vec::with_capacity(cleaned.blocks.len());
    let mut blocks: Vec<&Block> = cleaned.blocks.iter().collect();
    blocks.sort_by_key(|block| block.range.start);
    let mut at = 0;
    for block in blocks {
        let (start, end) = (block.range.start.max(at), block.range.end.min(text.len()));
        if start >= end {
            continue;
        }
        paragraphs(text, at..start, &mut pieces);
        let form = match block.kind {
            BlockKind::Heading => Form::Heading,
            BlockKind::List => Form::List,
            BlockKind::Table => Form::Table,
            BlockKind::Code => Form::Code,
            BlockKind::Paragraph | BlockKind::Quote | BlockKind::Furniture => Form::Prose,
        };
        pieces.push(Piece { range: start..end, form });
        at = end;
    }
    paragraphs(text, at..text.len(), &mut pieces);
    pieces
}

/// Stretches between blank lines.
fn paragraphs(text: &str, range: Range<usize>, pieces: &mut Vec<Piece>) {
    let mut start = None;
    let mut last = range.start;
    let mut at = range.start;
    for line in text[range.clone()].split_inclusive('\n') {
        if line.trim().is_empty() {
            if let Some(start) = start.take() {
                pieces.push(Piece { range: start..last, form: Form::Prose });
            }
        } else {
            start.get_or_insert(at);
            last = at + line.trim_end().len();
        }
        at += line.len();
    }
    if let Some(start) = start {
        pieces.push(Piece { range: start..last, form: Form::Prose });
    }
}

/// Titles become parts of one line.
pub(super) fn one_line(title: &str) -> String {
    title.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The section in which a place lies.
pub(super) fn section_at(sections: &[Section], place: usize) -> Option<&Section> {
    let index = sections.partition_point(|section| section.range.start <= place);
    index.checked_sub(1).map(|index| &sections[index])
}

/// Neighbouring sections that are cut together: small ones go with the siblings and children that follow.
///
/// A group grows while it holds fewer than a quarter of the tokens that a chunk may hold, or is nothing but headings, and
/// while all of it fits. It never leaves the heading above its first section.
pub(super) fn groups(
    sections: &[Section],
    most: usize,
    count: impl Fn(Range<usize>) -> usize,
    is_bare: impl Fn(&Section) -> bool,
) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < sections.len() {
        let first = &sections[at];
        let above = &first.path[..first.path.len() - usize::from(first.is_titled && !first.path.is_empty())];
        let mut range = first.range.clone();
        let mut only_headings = is_bare(first);
        let mut next = at + 1;
        while let Some(section) = sections.get(next) {
            let small = count(range.clone()) < most / 4;
            let belongs =
                section.path.starts_with(above) && (section.path.len() > above.len() || !section.is_titled);
            let fits = count(range.start..section.range.end) <= most;
            if !belongs || !((small && fits) || only_headings) {
                break;
            }
            range.end = section.range.end;
            only_headings &= is_bare(section);
            next += 1;
        }
        groups.push(range);
        at = next;
    }
    groups
}
