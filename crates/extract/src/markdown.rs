//! Markdown: kept as it is, with its headings and blocks found. Front matter becomes metadata and leaves the text.
//!
//! This is no renderer: what matters is where sections, tables, lists and code begin and end, by the rules of
//! CommonMark that people meet (fences, ATX and setext headings, pipe tables).

use std::ops::Range;

use crate::builder::{Builder, clean_lines, one_line};
use crate::decode::Decoded;
use crate::document::{Block, BlockKind, Extracted, Heading, Kind, Limits};

mod front_matter;

/// Reads Markdown.
pub(crate) fn read(decoded: Decoded, limits: &Limits) -> Extracted {
    let mut builder = Builder::new(Kind::Markdown, limits);
    decoded.note(&mut builder);
    let text = clean_lines(&decoded.text);
    let body = front_matter::take(&text, &mut builder);
    let text = body.trim_start_matches('\n').to_owned();
    let (blocks, headings) = find_blocks(&text);
    if let Some(heading) = headings.iter().find(|heading| heading.level == 1) {
        builder.meta("title", &heading.title);
    }
    builder.whole(text, blocks, headings);
    builder.finish()
}

/// A line, where it lies and what it starts with.
struct Line<'a> {
    range: Range<usize>,
    text: &'a str,
    indent: usize,
}

/// Blocks and headings of a Markdown text, in order.
pub(crate) fn find_blocks(text: &str) -> (Vec<Block>, Vec<Heading>) {
    let mut at = 0;
    let lines: Vec<Line<'_>> = text
        .split_inclusive('\n')
        .map(|line| {
            let start = at;
            at += line.len();
            let trimmed = line.trim_end();
            let body = trimmed.trim_start();
            Line { range: start..start + trimmed.len(), text: body, indent: trimmed.len() - body.len() }
        })
        .collect();
    let mut found = Found::default();
    let mut at = 0;
    while at < lines.len() {
        at = found.next(text, &lines, at);
    }
    (found.blocks, found.headings)
}

#[derive(Default)]
struct Found {
    blocks: Vec<Block>,
    headings: Vec<Heading>,
}

impl Found {
    /// Takes the block that begins at line `at`; the line after it.
    fn next(&mut self, text: &str, lines: &[Line<'_>], at: usize) -> usize {
        let line = &lines[at];
        if line.text.is_empty() || (is_rule(line.text) && line.indent < 4) {
            return at + 1;
        }
        if let Some(end) = fence_end(lines, at) {
            return self.push(BlockKind::Code, lines, at..end);
        }
        if line.indent < 4
            && let Some((level, title)) = atx(line.text)
        {
            self.head(level, title, line.range.clone());
            return at + 1;
        }
        if is_table_head(lines, at) {
            let more = lines[at + 2..].iter().take_while(|line| line.text.contains('|')).count();
            return self.push(BlockKind::Table, lines, at..at + 2 + more);
        }
        if is_item(line.text) {
            return self.push(BlockKind::List, lines, at..list_end(lines, at));
        }
        if line.indent >= 4 {
            let more = lines[at..].iter().take_while(|line| line.text.is_empty() || line.indent >= 4).count();
            let blank = lines[at..at + more].iter().rev().take_while(|line| line.text.is_empty()).count();
            return self.push(BlockKind::Code, lines, at..at + more - blank);
        }
        if line.text.starts_with('>') {
            let more = lines[at..].iter().take_while(|line| line.text.starts_with('>')).count();
            return self.push(BlockKind::Quote, lines, at..at + more);
        }
        self.paragraph(text, lines, at)
    }

    fn paragraph(&mut self, text: &str, lines: &[Line<'_>], at: usize) -> usize {
        let mut end = at + 1;
        while end < lines.len() {
            let line = &lines[end];
            let is_equals = !line.text.is_empty() && line.text.bytes().all(|byte| byte == b'=');
            let is_dashes = !line.text.is_empty() && line.text.bytes().all(|byte| byte == b'-');
            if line.indent < 4 && (is_equals || is_dashes) {
                let range = lines[at].range.start..line.range.end;
                let title = &text[lines[at].range.start..lines[end - 1].range.end];
                self.head(if is_equals { 1 } else { 2 }, title, range);
                return end + 1;
            }
            let starts_other = fence(line.text).is_some()
                || atx(line.text).is_some()
                || line.text.starts_with('>')
                || is_rule(line.text)
                || is_table_head(lines, end)
                || (is_item(line.text)
                    && !line.text.starts_with(|char: char| char.is_ascii_digit() && char != '1'));
            if line.text.is_empty() || (line.indent < 4 && starts_other) {
                break;
            }
            end += 1;
        }
        self.push(BlockKind::Paragraph, lines, at..end)
    }

    fn push(&mut self, kind: BlockKind, lines: &[Line<'_>], which: Range<usize>) -> usize {
        let range = lines[which.start].range.start..lines[which.end - 1].range.end;
        self.blocks.push(Block { kind, range });
        which.end
    }

    fn head(&mut self, level: u8, title: &str, range: Range<usize>) {
        self.blocks.push(Block { kind: BlockKind::Heading, range: range.clone() });
        let title = without_marks(title);
        if !title.is_empty() {
            self.headings.push(Heading { level, title, range });
        }
    }
}

/// The line after a fenced block that begins here.
fn fence_end(lines: &[Line<'_>], at: usize) -> Option<usize> {
    let (mark, length) = fence(lines[at].text)?;
    let closes = |line: &Line<'_>| {
        let marks = line.text.chars().take_while(|char| *char == mark).count();
        marks >= length && line.text.len() == marks
    };
    let close = lines[at + 1..].iter().position(closes).map(|more| at + 1 + more + 1);
    Some(close.unwrap_or(lines.len()))
}

fn fence(line: &str) -> Option<(char, usize)> {
    let mark = line.chars().next().filter(|char| matches!(char, '`' | '~'))?;
    let length = line.chars().take_while(|char| *char == mark).count();
    (length >= 3 && !(mark == '`' && line[length..].contains('`'))).then_some((mark, length))
}

fn atx(line: &str) -> Option<(u8, &str)> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    let rest = &line[level..];
    let is_heading = (1..=6).contains(&level) && (rest.is_empty() || rest.starts_with([' ', '\t']));
    is_heading.then(|| (u8::try_from(level).unwrap_or(6), rest.trim()))
}

fn is_rule(line: &str) -> bool {
    let mark = line.chars().next().unwrap_or(' ');
    matches!(mark, '-' | '*' | '_')
        && line.chars().all(|char| char == mark || char == ' ' || char == '\t')
        && line.chars().filter(|char| *char == mark).count() >= 3
}

fn is_table_head(lines: &[Line<'_>], at: usize) -> bool {
    let is_delimiter = |line: &str| {
        line.contains('-')
            && line.contains('|')
            && line.chars().all(|char| matches!(char, '|' | '-' | ':' | ' ' | '\t'))
    };
    lines[at].text.contains('|') && lines.get(at + 1).is_some_and(|line| is_delimiter(line.text))
}

fn is_item(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = match digits {
        0 => line.strip_prefix(['-', '*', '+']),
        1..=9 => line[digits..].strip_prefix(['.', ')']),
        _ => None,
    };
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// The line after a list that begins here: items, what is indented below them, and lazy continuations.
fn list_end(lines: &[Line<'_>], at: usize) -> usize {
    let mut end = at + 1;
    let mut next = at + 1;
    let mut after_blank = false;
    while let Some(line) = lines.get(next) {
        if line.text.is_empty() {
            after_blank = true;
            next += 1;
            continue;
        }
        let inside = line.indent >= 2 || (is_item(line.text) && !is_rule(line.text));
        let breaks = line.indent < 2
            && (atx(line.text).is_some()
                || fence(line.text).is_some()
                || line.text.starts_with('>')
                || is_table_head(lines, next));
        if (after_blank && !inside) || breaks || (is_rule(line.text) && line.indent < 2) {
            break;
        }
        // A fenced block below an item may hold anything.
        next = fence_end(lines, next).unwrap_or(next + 1);
        end = next;
        after_blank = false;
    }
    while end > at + 1 && lines[end - 1].text.is_empty() {
        end -= 1;
    }
    end
}

/// Words of a heading without closing marks, anchors, emphasis, code marks and link targets.
fn without_marks(title: &str) -> String {
    let title = title.trim();
    let closed = title.trim_end_matches('#');
    let title = if closed.is_empty() || closed.ends_with([' ', '\t']) { closed.trim_end() } else { title };
    let title = match title.rfind("{#") {
        Some(at) if title.ends_with('}') => title[..at].trim_end(),
        _ => title,
    };
    let mut out = String::with_capacity(title.len());
    let mut rest = title;
    while let Some(char) = rest.chars().next() {
        let link = rest.starts_with('[').then(|| link_text(rest)).flatten();
        if let Some((words, after)) = link {
            out.push_str(words);
            rest = after;
            continue;
        }
        rest = &rest[char.len_utf8()..];
        match char {
            '`' => {}
            '*' => {}
            '\\' if rest.starts_with(|char: char| char.is_ascii_punctuation()) => {
                let escaped = rest.chars().next().unwrap_or('\\');
                out.push(escaped);
                rest = &rest[escaped.len_utf8()..];
            }
            _ => out.push(char),
        }
    }
    one_line(&out)
}

/// `[words](target)` at the start: its words and what follows.
fn link_text(rest: &str) -> Option<(&str, &str)> {
    let middle = rest.find("](")?;
    let words = &rest[1..middle];
    let close = rest[middle..].find(')')? + middle;
    (!words.contains('[')).then(|| (words, &rest[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::debug_check;
    use crate::decode::decode;

    fn read_text(text: &str) -> Extracted {
        let limits = Limits::default();
        let out = read(decode(text.as_bytes(), None).unwrap(), &limits);
        assert_eq!(debug_check(&out, &limits), None);
        out
    }

    #[track_caller]
    fn check(text: &str, expected: &[(BlockKind, &str)]) {
        let out = read_text(text);
        let blocks: Vec<_> =
            out.blocks.iter().map(|block| (block.kind, &out.text[block.range.clone()])).collect();
        assert_eq!(blocks, expected);
    }

    #[test]
    fn blocks_are_found() {
        use BlockKind::{Code, Heading, List, Paragraph, Quote, Table};
        check(
            "# A\ntext\nmore\n- one\n  two\n\n- three\n\n```sh\n# no heading\n```\n\na | b\n--|--\n1 | 2\n\n> said\n\n    code\n",
            &[
                (Heading, "# A"),
                (Paragraph, "text\nmore"),
                (List, "- one\n  two\n\n- three"),
                (Code, "```sh\n# no heading\n```"),
                (Table, "a | b\n--|--\n1 | 2"),
                (Quote, "> said"),
                (Code, "    code"),
            ],
        );
    }

    #[test]
    fn code_below_an_item_hides_its_marks() {
        check(
            "1. do\n\n   ```\n# not a heading\n   ```\n2. then\n",
            &[(BlockKind::List, "1. do\n\n   ```\n# not a heading\n   ```\n2. then")],
        );
    }

    #[test]
    fn headings_lose_their_marks() {
        let out = read_text(
            "Top\n===\n\n## The `run` *command* [here](a.md) ##\n\nSub\n---\n\n#tag\n\n### C# {#c}\n",
        );
        let headings: Vec<_> = out.headings.iter().map(|it| (it.level, it.title.as_str())).collect();
        assert_eq!(headings, [(1, "Top"), (2, "The run command here"), (2, "Sub"), (3, "C#")]);
        assert_eq!(out.metadata["title"], "Top");
    }

    #[test]
    fn front_matter_becomes_metadata() {
        let out = read_text(
            "---\ntitle: \"Plan: one\"\nauthor: Ada\ntags: [a, b]\ndate: 2024-05-01\n---\n\n# Head\n",
        );
        assert_eq!(out.text, "# Head\n");
        assert_eq!(out.metadata["title"], "Plan: one");
        assert_eq!(out.metadata["date"], "2024-05-01");
        assert_eq!(out.metadata["tags"], "a, b");
        assert_eq!(read_text("---\n\nno front matter\n\n---\n").metadata.len(), 0);
    }
}
