//! From the fragments of one column to blocks: lines, paragraphs, list items, tables. Which paragraphs are headings is
//! known only when the whole document has been read.

use super::columns::Item;
use super::direction::is_mostly_right_to_left;
use super::fragments::Fragment;
use super::tables::{self, Row};

/// A line of a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// Its text.
    pub text: String,
    /// Whether the text goes on because the line was full, rather than because its writer ended it.
    pub runs_on: bool,
}

/// What a block is, before headings are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Running text.
    Paragraph,
    /// Items of a list.
    List,
    /// Header, footer or page number.
    Furniture,
}

/// A block of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PageBlock {
    /// Lines.
    Text {
        /// What they are.
        shape: Shape,
        /// The lines.
        lines: Vec<Line>,
        /// Size of the font.
        size: f32,
        /// Whether all of it is bold.
        bold: bool,
    },
    /// Cells.
    Table(Vec<Vec<String>>),
}

/// Lines of a column: the part between two margins.
struct TextRow {
    baseline: f32,
    size: f32,
    bold: bool,
    text: String,
    /// Where it starts and ends, measured in reading direction.
    lead: f32,
    trail: f32,
    /// Width of its first word.
    first_word: f32,
}

/// Reads one part of a page, whose items stand below each other.
pub(super) fn blocks(part: Vec<Item>) -> Vec<PageBlock> {
    let mut blocks = Vec::new();
    let mut run: Vec<Fragment> = Vec::new();
    for item in part {
        match item {
            Item::Text(fragment) => run.push(fragment),
            Item::Table { rows, .. } => {
                text_blocks(std::mem::take(&mut run), &mut blocks);
                blocks.push(PageBlock::Table(rows));
            }
        }
    }
    text_blocks(run, &mut blocks);
    blocks
}

fn text_blocks(fragments: Vec<Fragment>, blocks: &mut Vec<PageBlock>) {
    let rows = rows(fragments);
    let right_to_left = is_mostly_right_to_left(rows.iter().flatten().map(|fragment| fragment.text.as_str()));
    let mut run: Vec<TextRow> = Vec::new();
    let mut at = 0;
    while at < rows.len() {
        match tables::aligned(&rows[at..]) {
            Some((taken, cells)) => {
                paragraphs(std::mem::take(&mut run), blocks);
                blocks.push(PageBlock::Table(cells));
                at += taken;
            }
            None => {
                run.push(TextRow::new(rows[at].clone(), right_to_left));
                at += 1;
            }
        }
    }
    paragraphs(run, blocks);
}

/// Fragments by baseline, from top to bottom and from left to right.
pub(super) fn rows(mut fragments: Vec<Fragment>) -> Vec<Row> {
    fragments.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut rows: Vec<Row> = Vec::new();
    for fragment in fragments {
        let near = |row: &&mut Row| {
            let Some(largest) = row.iter().max_by(|a, b| a.size.total_cmp(&b.size)) else { return false };
            (fragment.baseline - largest.baseline).abs() < 0.45 * largest.size.min(2.0 * fragment.size)
        };
        match rows.last_mut().filter(near) {
            Some(row) => row.push(fragment),
            None => rows.push(vec![fragment]),
        }
    }
    for row in &mut rows {
        row.sort_by(|a, b| a.start.total_cmp(&b.start));
    }
    rows
}

impl TextRow {
    fn new(mut cells: Row, right_to_left: bool) -> Self {
        let start = cells.iter().fold(f32::MAX, |start, cell| start.min(cell.start));
        let end = cells.iter().fold(f32::MIN, |end, cell| end.max(cell.end));
        let main = cells.iter().max_by_key(|cell| cell.text.len());
        let (size, baseline) = main.map_or((10.0, 0.0), |main| (main.size, main.baseline));
        if right_to_left {
            cells.reverse();
        }
        let bold = cells.iter().all(|cell| cell.bold);
        let text = cells.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join(" ");
        let (lead, trail) = if right_to_left { (-end, -start) } else { (start, end) };
        let chars = text.chars().count().max(1) as f32;
        let first = text.split(' ').next().map_or(0, |word| word.chars().count()) as f32;
        Self { baseline, size, bold, lead, trail, first_word: (end - start) * first / chars, text }
    }

    /// Whether it starts with a bullet.
    fn is_item(&self) -> bool {
        let mut chars = self.text.chars();
        let bullet = |char: char| "•●▪◦‣○■□➢✓–—·∙*-".contains(char);
        chars.next().is_some_and(bullet) && chars.next() == Some(' ') && chars.next().is_some()
    }

    /// Whether it starts with a number as in a numbered list.
    fn is_numbered(&self) -> bool {
        let Some((mark, rest)) = self.text.split_once(' ') else { return false };
        let mark = mark.strip_prefix('(').unwrap_or(mark);
        let Some(mark) = mark.strip_suffix(['.', ')']) else { return false };
        let digits = mark.split('.').all(|part| {
            !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit())
        });
        !rest.is_empty()
            && (digits || (mark.len() == 1 && mark.bytes().all(|byte| byte.is_ascii_lowercase())))
    }

    fn ends_sentence(&self) -> bool {
        self.text
            .trim_end_matches(['"', '”', '’', ')', '»'])
            .ends_with(['.', '!', '?', ':', '。', '؟', '！', '？', '۔'])
    }
}

/// Cuts lines of one column into paragraphs.
fn paragraphs(rows: Vec<TextRow>, blocks: &mut Vec<PageBlock>) {
    if rows.is_empty() {
        return;
    }
    let step = leading(&rows) * 1.35;
    let left = usual_lead(&rows);
    let far = |before: &TextRow, row: &TextRow| {
        row.baseline - before.baseline > step * row.size.min(before.size)
            || (row.size / before.size - 1.0).abs() > 0.1
    };
    // First where space or size part them; the margin of what stays together tells more.
    for group in rows.chunk_by(|before, row| !far(before, row)) {
        grouped(group, left, blocks);
    }
}

/// Cuts lines that stand evenly below each other.
fn grouped(rows: &[TextRow], left: f32, blocks: &mut Vec<PageBlock>) {
    let margin = rows.iter().fold(f32::MIN, |margin, row| margin.max(row.trail));
    let mut block: Option<Open> = None;
    for (at, row) in rows.iter().enumerate() {
        let shape = if row.is_item() { Shape::List } else { Shape::Paragraph };
        let line = Line { text: row.text.clone(), runs_on: false };
        let before = at.checked_sub(1).map(|before| &rows[before]);
        let (breaks, ended) =
            before.map_or((true, true), |before| breaks(before, row, rows.get(at + 1), left, margin));
        match &mut block {
            Some(open) if !breaks || (shape == Shape::List && open.shape == Shape::List) => {
                if let Some(last) = open.lines.last_mut() {
                    last.runs_on = !ended && !breaks;
                }
                open.bold &= row.bold;
                open.lines.push(line);
            }
            _ => {
                blocks.extend(block.take().map(Open::close));
                block = Some(Open { shape, lines: vec![line], size: row.size, bold: row.bold });
            }
        }
    }
    blocks.extend(block.map(Open::close));
}

/// Whether a line starts a paragraph, and whether the line before it was ended by its writer.
fn breaks(before: &TextRow, row: &TextRow, next: Option<&TextRow>, left: f32, margin: f32) -> (bool, bool) {
    // The next word would have fitted.
    let ended = before.trail + row.first_word + 0.3 * row.size < margin - 0.1 * row.size;
    let next_is_back = next.is_none_or(|next| next.lead < row.lead - 0.7 * row.size);
    let after_item = before.is_item() || before.is_numbered();
    let indented = row.lead > left + 0.7 * row.size
        && row.lead < left + 6.0 * row.size
        && before.lead <= left + 0.4 * row.size
        && next_is_back
        && !after_item
        && (before.lead + before.trail - row.lead - row.trail).abs() > row.size;
    // A title in the middle of its column.
    let (before_gap, after_gap) = (before.lead - left, margin - before.trail);
    let after_centred = before_gap > 1.5 * row.size
        && (before_gap - after_gap).abs() < row.size
        && before.lead > row.lead + 0.5 * row.size;
    let breaks = row.bold != before.bold && ended
        || row.is_item()
        || row.is_numbered() && (ended || before.ends_sentence())
        || indented
        || after_centred
        || ended && before.ends_sentence();
    (breaks, ended)
}

/// A block in the making.
struct Open {
    shape: Shape,
    lines: Vec<Line>,
    size: f32,
    bold: bool,
}

impl Open {
    fn close(self) -> PageBlock {
        PageBlock::Text { shape: self.shape, lines: self.lines, size: self.size, bold: self.bold }
    }
}

/// The usual distance between lines of a paragraph, in font sizes.
fn leading(rows: &[TextRow]) -> f32 {
    let mut steps: Vec<f32> = rows
        .windows(2)
        .filter(|pair| (pair[0].size / pair[1].size - 1.0).abs() <= 0.1)
        .map(|pair| (pair[1].baseline - pair[0].baseline) / pair[1].size)
        .filter(|step| *step > 0.7 && *step < 2.6)
        .collect();
    steps.sort_by(f32::total_cmp);
    // Most steps are inside paragraphs, unless paragraphs have one line: then the nearest lines tell.
    steps.get(steps.len() * 2 / 5).copied().unwrap_or(1.25).clamp(0.9, 2.2)
}

/// Where most lines start.
fn usual_lead(rows: &[TextRow]) -> f32 {
    let mut leads: Vec<f32> = rows.iter().map(|row| row.lead).collect();
    leads.sort_by(f32::total_cmp);
    let size = rows[0].size.max(1.0);
    let mut best = (0, leads[0]);
    for (at, lead) in leads.iter().enumerate() {
        let count = leads[at..].iter().take_while(|other| **other - lead < 0.3 * size).count();
        if count > best.0 {
            best = (count, *lead);
        }
    }
    best.1
}

/// A block of lines that are furniture.
pub(super) fn furniture(fragments: Vec<Fragment>) -> Vec<PageBlock> {
    rows(fragments)
        .into_iter()
        .map(|row| {
            let row = TextRow::new(row, false);
            let (size, bold) = (row.size, row.bold);
            let lines = vec![Line { text: row.text, runs_on: false }];
            PageBlock::Text { shape: Shape::Furniture, lines, size, bold }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, start: f32, baseline: f32) -> Item {
        let end = start + 5.0 * text.chars().count() as f32;
        Item::Text(Fragment {
            text: text.to_owned(),
            start,
            end,
            baseline,
            size: 10.0,
            bold: false,
            furniture: false,
            order: baseline as usize,
        })
    }

    fn shapes(items: Vec<Item>) -> Vec<(Shape, String)> {
        blocks(items)
            .into_iter()
            .filter_map(|block| match block {
                PageBlock::Text { shape, lines, .. } => {
                    let texts: Vec<_> = lines
                        .iter()
                        .map(|line| format!("{}{}", line.text, if line.runs_on { "+" } else { "" }))
                        .collect();
                    Some((shape, texts.join("|")))
                }
                PageBlock::Table(_) => None,
            })
            .collect()
    }

    #[test]
    fn full_lines_run_on_and_indentation_starts_a_paragraph() {
        let found = shapes(vec![
            line("the first line is quite full of words", 0.0, 12.0),
            line("and the second ends here.", 0.0, 24.0),
            line("an indented line starts a paragraph", 10.0, 36.0),
            line("which goes on over here", 0.0, 48.0),
        ]);
        assert_eq!(
            found,
            [
                (Shape::Paragraph, "the first line is quite full of words+|and the second ends here.".into()),
                (Shape::Paragraph, "an indented line starts a paragraph+|which goes on over here".into())
            ]
        );
    }

    #[test]
    fn a_wider_step_starts_a_paragraph() {
        let found = shapes(vec![
            line("one line of text goes on", 0.0, 12.0),
            line("with a second line of it", 0.0, 24.0),
            line("and a third line after it", 0.0, 36.0),
            line("far below stands another", 0.0, 60.0),
        ]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn bullets_make_one_list() {
        let found = shapes(vec![line("• one", 0.0, 12.0), line("• two", 0.0, 24.0)]);
        assert_eq!(found, [(Shape::List, "• one|• two".to_owned())]);
    }
}
