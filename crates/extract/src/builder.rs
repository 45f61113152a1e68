//! Puts an [`Extracted`] together. Every reader writes through [`Builder`], so that the promises of the contract
//! (ranges in order and in bounds, no control characters, the text limit) are kept in one place.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use crate::document::{Attachment, Block, BlockKind, Extracted, Heading, Kind, Limits, Note, Page};

/// Longest value of one piece of metadata: a title page fits, a smuggled book does not.
const MAX_METADATA_BYTES: usize = 4_096;
/// Most notes; the ten thousandth skipped part tells nobody anything.
const MAX_NOTES: usize = 200;

/// An [`Extracted`] in the making.
pub(crate) struct Builder {
    out: Extracted,
    limit: usize,
    max_parts: usize,
    cut: bool,
    page: Option<(Option<String>, usize)>,
}

impl Builder {
    /// An empty document of a kind.
    pub fn new(kind: Kind, limits: &Limits) -> Self {
        let out = Extracted { kind: Some(kind), ..Extracted::default() };
        Self { out, limit: limits.max_text_bytes, max_parts: limits.max_parts, cut: false, page: None }
    }

    /// Adds a block; blank text adds nothing. Says where it went.
    pub fn block(&mut self, kind: BlockKind, text: &str) -> Option<Range<usize>> {
        let text = clean(text);
        let text = trim_block(&text);
        if text.is_empty() {
            return None;
        }
        let gap = if self.out.text.is_empty() { 0 } else { 2 };
        let room = self.limit.saturating_sub(self.out.text.len() + gap);
        let fits = &text[..floor_boundary(text, room)];
        if fits.len() < text.len() {
            self.cut = true;
        }
        let fits = fits.trim_end();
        if fits.is_empty() {
            return None;
        }
        if gap > 0 {
            self.out.text.push_str("\n\n");
        }
        let start = self.out.text.len();
        self.out.text.push_str(fits);
        let range = start..self.out.text.len();
        self.out.blocks.push(Block { kind, range: range.clone() });
        Some(range)
    }

    /// Adds a heading line.
    pub fn heading(&mut self, level: u8, title: &str) {
        let title = one_line(title);
        if let Some(range) = self.block(BlockKind::Heading, &title) {
            let title = self.out.text[range.clone()].to_owned();
            self.out.headings.push(Heading { level: level.clamp(1, 9), title, range });
        }
    }

    /// Whether no more text fits, so that a reader can stop.
    pub fn is_full(&self) -> bool {
        self.cut
    }

    /// Starts a page, slide or sheet. `false` when there are too many.
    pub fn begin_page(&mut self, name: Option<String>) -> bool {
        self.end_page();
        if self.out.pages.len() >= self.max_parts {
            let message = format!("only the first {} pages were read", self.max_parts);
            self.note("cut", message, None);
            return false;
        }
        let name = name.map(|name| one_line(&name)).filter(|name| !name.is_empty());
        self.page = Some((name, self.out.text.len()));
        true
    }

    /// Ends the page that was started last.
    pub fn end_page(&mut self) {
        let Some((name, start)) = self.page.take() else { return };
        let end = self.out.text.len();
        let start = if end > start && start > 0 { start + 2 } else { start };
        let number = u32::try_from(self.out.pages.len() + 1).unwrap_or(u32::MAX);
        self.out.pages.push(Page { number, name, range: start.min(end)..end });
    }

    /// One-based number of the page that is being written.
    pub fn page_number(&self) -> Option<u32> {
        self.page.as_ref()?;
        u32::try_from(self.out.pages.len() + 1).ok()
    }

    /// Whether the page that is being written has no text so far.
    pub fn page_is_empty(&self) -> bool {
        self.page.as_ref().is_some_and(|(_, start)| *start == self.out.text.len())
    }

    /// Sets metadata, unless it is blank or was set before.
    pub fn meta(&mut self, key: &str, value: &str) {
        let value = one_line(value);
        let value = &value[..floor_boundary(&value, MAX_METADATA_BYTES)];
        if !value.is_empty() && !self.out.metadata.contains_key(key) {
            self.out.metadata.insert(key.to_owned(), Value::String(value.to_owned()));
        }
    }

    /// Adds a note, once.
    pub fn note(&mut self, code: &str, message: impl Into<String>, page: Option<u32>) {
        let note = Note { code: code.to_owned(), message: message.into(), page };
        if self.out.notes.len() < MAX_NOTES && !self.out.notes.contains(&note) {
            self.out.notes.push(note);
        }
    }

    /// Adds a document that lies inside this one.
    pub fn attach(&mut self, attachment: Attachment) {
        if self.out.attachments.len() < self.max_parts {
            self.out.attachments.push(attachment);
        } else {
            self.note("cut", format!("only the first {} attachments were taken", self.max_parts), None);
        }
    }

    /// Whether any text was written.
    pub fn is_empty(&self) -> bool {
        self.out.text.is_empty()
    }

    /// Replaces everything by a text whose blocks and headings are known, cut where the limit says.
    pub fn whole(&mut self, text: String, blocks: Vec<Block>, headings: Vec<Heading>) {
        let end = floor_boundary(&text, self.limit);
        self.cut |= end < text.len();
        let inside = |range: &Range<usize>| range.start < end;
        let clip = |range: Range<usize>| range.start..range.end.min(end);
        self.out.blocks = blocks.into_iter().filter(|block| inside(&block.range)).collect();
        self.out.headings = headings.into_iter().filter(|heading| inside(&heading.range)).collect();
        self.out.blocks.iter_mut().for_each(|block| block.range = clip(block.range.clone()));
        self.out.headings.iter_mut().for_each(|heading| heading.range = clip(heading.range.clone()));
        self.out.text = text;
        self.out.text.truncate(end);
    }

    /// The finished document.
    pub fn finish(mut self) -> Extracted {
        self.end_page();
        if self.cut {
            let message = format!("the text was cut at {} bytes", self.limit);
            self.note("cut", message, None);
        }
        self.out
    }
}

/// Text without control characters and soft hyphens, with line feeds at the ends of lines.
fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(|char| char != '\u{ad}' && is_kept(char)) {
        return Cow::Borrowed(text);
    }
    let text = clean_lines(text);
    Cow::Owned(text.chars().filter(|char| *char != '\u{ad}').collect())
}

/// Whether a character may stand in extracted text.
fn is_kept(char: char) -> bool {
    matches!(char, '\n' | '\t') || !(char.is_control() || matches!(char, '\u{2028}' | '\u{2029}'))
}

/// Text without control characters, with line feeds at the ends of lines; everything else stays as it is.
pub(crate) fn clean_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            '\u{b}' | '\u{85}' | '\u{2028}' => out.push('\n'),
            '\u{c}' | '\u{2029}' => out.push_str("\n\n"),
            _ if is_kept(char) => out.push(char),
            _ => {}
        }
    }
    out
}

/// Without blank lines around; the first line keeps its indentation.
fn trim_block(text: &str) -> &str {
    let text = text.trim_end();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if !line.trim().is_empty() {
            break;
        }
        start += line.len();
    }
    &text[start..]
}

/// All white space as single blanks.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|char: char| char.is_whitespace() || !is_kept(char)) {
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().filter(|char| *char != '\u{ad}'));
    }
    out
}

/// The largest character boundary that is not above `at`.
pub(crate) fn floor_boundary(text: &str, at: usize) -> usize {
    if at >= text.len() {
        return text.len();
    }
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// What breaks the promises of the contract in a result; `None` when all are kept. For tests of any reader.
pub fn debug_check(extracted: &Extracted, limits: &Limits) -> Option<String> {
    let text = &extracted.text;
    if text.len() > limits.max_text_bytes {
        return Some(format!("{} bytes of text", text.len()));
    }
    if let Some(char) = text.chars().find(|char| !is_kept(*char)) {
        return Some(format!("control character {char:?} in the text"));
    }
    let in_text = |range: &Range<usize>| {
        range.start <= range.end
            && range.end <= text.len()
            && text.is_char_boundary(range.start)
            && text.is_char_boundary(range.end)
    };
    let apart = |ranges: Vec<&Range<usize>>, what: &str, may_be_empty: bool| {
        let mut end = 0;
        for range in ranges {
            if !in_text(range) || range.start < end || (range.is_empty() && !may_be_empty) {
                return Some(format!("{what} {range:?} after {end} of {}", text.len()));
            }
            end = range.end;
        }
        None
    };
    apart(extracted.blocks.iter().map(|block| &block.range).collect(), "block", false)
        .or_else(|| {
            apart(extracted.headings.iter().map(|heading| &heading.range).collect(), "heading", false)
        })
        .or_else(|| apart(extracted.pages.iter().map(|page| &page.range).collect(), "page", true))
        .or_else(|| {
            let numbered = extracted.pages.iter().zip(1..).all(|(page, number)| page.number == number);
            (!numbered).then(|| "pages are not numbered in order".to_owned())
        })
        .or_else(|| {
            let mut covered = 0;
            for block in &extracted.blocks {
                if !is_separator(&text[covered..block.range.start]) {
                    return Some(format!("text outside of all blocks before {:?}", block.range));
                }
                covered = block.range.end;
            }
            (!is_separator(&text[covered..])).then(|| "text after the last block".to_owned())
        })
}

/// Whether a text between blocks only parts them: white space, and the rules of Markdown.
fn is_separator(text: &str) -> bool {
    text.chars().all(|char| char.is_whitespace() || matches!(char, '-' | '*' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_the_limit_on_a_character() {
        let limits = Limits { max_text_bytes: 6, ..Limits::default() };
        let mut builder = Builder::new(Kind::Text, &limits);
        builder.block(BlockKind::Paragraph, "aé");
        builder.block(BlockKind::Paragraph, "éé");
        let out = builder.finish();
        assert_eq!(out.text, "aé");
        assert_eq!(out.notes[0].code, "cut");
        assert_eq!(debug_check(&out, &limits), None);
    }

    #[test]
    fn control_characters_and_line_ends_are_cleaned() {
        assert_eq!(clean_lines("a\r\nb\rc\u{0}d\u{c}e\tf\u{85}g"), "a\nb\ncd\n\ne\tf\ng");
        assert_eq!(clean("so\u{ad}ft"), "soft");
    }

    #[test]
    fn pages_cover_their_blocks() {
        let limits = Limits::default();
        let mut builder = Builder::new(Kind::Pptx, &limits);
        builder.begin_page(Some("First".to_owned()));
        builder.heading(1, "First");
        builder.begin_page(None);
        builder.begin_page(None);
        builder.block(BlockKind::Paragraph, "third");
        let out = builder.finish();
        assert_eq!(out.pages.iter().map(|page| page.range.clone()).collect::<Vec<_>>(), [0..5, 5..5, 7..12]);
        assert_eq!(debug_check(&out, &limits), None);
    }
}
