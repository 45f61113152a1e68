//! One change to one part, as replacements in the text.
//!
//! Every function answers with the bytes to replace and leaves all others alone: comments, order, quotes and
//! blank lines stay. Whether the result says what it should is checked by the caller, who reads it again.

use std::ops::Range;

use flowbench_core::edit::{EditError, Path, pointer_of};
use flowbench_core::reference::PathStep;
use serde_json::Value;

use super::emit::{self, Context, Manner, indented, takes_lines};
use super::locate::{Found, Slot, find};
use super::tree::{Content, Entry, Item, Layout, Node, Style, Tree, skip_trivia};

/// A piece of text to put in place of another.
#[derive(Clone, Debug)]
pub(crate) struct Splice {
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
}

/// A change that text can be spliced for.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A part that is there gets another value.
    Replace {
        path: Path,
        value: Value,
    },
    /// A map with entries gets another one, last.
    AddEntry {
        map: Path,
        key: String,
        value: Value,
    },
    /// A list with items gets another one.
    InsertItem {
        list: Path,
        index: usize,
        value: Value,
    },
    Copy {
        list: Path,
        index: usize,
    },
    /// A part that is not the only one of its parent goes.
    Remove {
        path: Path,
    },
    RenameKey {
        path: Path,
        to: String,
    },
    Move {
        list: Path,
        from: usize,
        to: usize,
    },
    Comment {
        path: Path,
        comment: Option<String>,
    },
}

impl Action {
    /// The part that it is about.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Replace { path, .. }
            | Self::Remove { path }
            | Self::RenameKey { path, .. }
            | Self::Comment { path, .. } => path,
            Self::AddEntry { map: path, .. }
            | Self::InsertItem { list: path, .. }
            | Self::Copy { list: path, .. }
            | Self::Move { list: path, .. } => path,
        }
    }

    /// True if it changes nothing outside its part, so that others can be made against the same text.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Replace { .. } | Self::RenameKey { .. })
    }
}

/// A text with its tree, to be changed.
pub(crate) struct Writer<'d> {
    pub(crate) text: &'d str,
    pub(crate) tree: &'d Tree,
    pub(crate) manner: Manner,
}

impl Writer<'_> {
    pub(crate) fn splices(&self, action: &Action) -> Result<Vec<Splice>, EditError> {
        let mut splices = match action {
            Action::Replace { path, value } => self.replace(path, value),
            Action::AddEntry { map, key, value } => self.add_entry(map, key, value),
            Action::InsertItem { list, index, value } => self.insert_item(list, *index, value),
            Action::Copy { list, index } => self.copy(list, *index),
            Action::Remove { path } => self.remove(path),
            Action::RenameKey { path, to } => self.rename_key(path, to),
            Action::Move { list, from, to } => self.move_item(list, *from, *to),
            Action::Comment { path, comment } => self.comment(path, comment.as_deref()),
        }?;
        if self.newline() != "\n" {
            for splice in &mut splices {
                splice.text = splice.text.replace("\r\n", "\n").replace('\n', self.newline());
            }
        }
        Ok(splices)
    }

    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The line ending of the file's first line.
    fn newline(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    /// Start of the line; behind a byte order mark in the first.
    fn line_start(&self, at: usize) -> usize {
        match self.text[..at].rfind('\n') {
            Some(newline) => newline + 1,
            None => {
                if self.text.starts_with('\u{feff}') {
                    '\u{feff}'.len_utf8()
                } else {
                    0
                }
            }
        }
    }

    /// End of the line, its line break not included.
    fn line_end(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |offset| at + offset);
        if end > at && self.text[..end].ends_with('\r') { end - 1 } else { end }
    }

    /// Start of the next line, or the end of the text.
    fn next_line(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |offset| at + offset + 1)
    }

    /// True if only blanks stand before it in its line.
    fn is_first_in_line(&self, at: usize) -> bool {
        self.text[self.line_start(at)..at].bytes().all(|byte| byte == b' ')
    }

    /// Blanks that a line needs to start where this byte stands.
    fn column(&self, at: usize) -> usize {
        self.text[self.line_start(at)..at].chars().count()
    }

    fn not_possible(&self, path: &[PathStep]) -> EditError {
        EditError::NotPossible { pointer: pointer_of(path) }
    }

    // ---- values ----

    fn replace(&self, path: &[PathStep], value: &Value) -> Result<Vec<Splice>, EditError> {
        let Some(root) = &self.tree.root else {
            return Ok(vec![self.first_lines(value)]);
        };
        let found = find(self.tree, path)?;
        if matches!(found.slot, Slot::Root)
            && matches!(root.content, Content::Scalar { style: Style::Empty, .. })
        {
            return Ok(vec![self.first_lines(value)]);
        }
        // A tag says how the old value is to be read, and goes with it; an anchor stays.
        let node = found.node;
        let start = if node.tag.is_some() { node.start } else { node.span.start };
        let wants_lines = found.context == Context::Block && takes_lines(value, self.manner);
        let is_block_collection = matches!(
            node.content,
            Content::List { layout: Layout::Block, .. } | Content::Map { layout: Layout::Block, .. }
        );
        match (is_block_collection && found.context == Context::Block, wants_lines) {
            (false, false) => Ok(self.replace_inline(&found, start, value)),
            (false, true) => self.inline_to_lines(&found, start, value),
            (true, false) => Ok(self.lines_to_inline(&found, value)),
            (true, true) => Ok(self.lines_to_lines(&found, value)),
        }
    }

    /// Text for a document that says nothing yet.
    fn first_lines(&self, value: &Value) -> Splice {
        let mut text = String::new();
        if !self.text.is_empty() && !self.text.ends_with('\n') && !self.text.ends_with('\u{feff}') {
            text.push('\n');
        }
        text.push_str(&emit::block(value, self.manner).join("\n"));
        text.push('\n');
        Splice { range: self.text.len()..self.text.len(), text }
    }

    fn replace_inline(&self, found: &Found<'_>, start: usize, value: &Value) -> Vec<Splice> {
        let node = found.node;
        let style = match &node.content {
            Content::Scalar { style, .. } => *style,
            _ => Style::Plain,
        };
        let mut text = emit::scalar_like(style, value, found.context, self.manner);
        if matches!(style, Style::Literal | Style::Folded) {
            // A comment behind the header stays on the line.
            let header = &self.text[node.span.start..self.line_end(node.span.start).max(node.span.start)];
            if let Some(comment) = header.find('#') {
                text = format!("{text} {}", &header[comment..]);
            }
            return vec![Splice { range: start..node.span.end, text }];
        }
        if style == Style::Empty {
            let at = node.span.end;
            let text = match found.indicator_end {
                None => format!(": {text}"),
                // Nothing may touch the value on its left, and nothing but an end on its right.
                Some(_) => format!(" {text}"),
            };
            return vec![Splice { range: at..at, text }];
        }
        vec![Splice { range: start..node.span.end, text }]
    }

    /// Lines for the value of this slot: those below it, and how the first one starts.
    fn lines_of(&self, found: &Found<'_>, value: &Value) -> (Option<String>, Vec<String>) {
        match found.slot {
            Slot::Root => (None, emit::block(value, self.manner)),
            Slot::Entry { entries, index, .. } => {
                let column = self.column(entries[index].key.start);
                let mut lines = emit::entry("", value, self.manner);
                // The first is what stands behind the key: nothing, or the header of a literal block.
                let first = lines.remove(0);
                let header = first.trim_start_matches(':').trim().to_owned();
                let lines = lines.iter().map(|line| indented(line, column)).collect();
                ((!header.is_empty()).then_some(header), lines)
            }
            Slot::Item { list, index } => {
                let dash = dash_of(list, index).unwrap_or(found.node.start);
                let column = self.column(dash);
                let mut lines = emit::item(value, self.manner);
                let first = lines.remove(0);
                let lines = lines.iter().map(|line| indented(line, column)).collect();
                (Some(first.trim_start_matches('-').trim_start().to_owned()), lines)
            }
        }
    }

    fn inline_to_lines(
        &self,
        found: &Found<'_>,
        start: usize,
        value: &Value,
    ) -> Result<Vec<Splice>, EditError> {
        let node = found.node;
        let (first, lines) = self.lines_of(found, value);
        if matches!(found.slot, Slot::Root) {
            return Ok(vec![Splice { range: start..node.span.end, text: lines.join("\n") }]);
        }
        let Some(indicator_end) = found.indicator_end else {
            return Err(EditError::NotPossible { pointer: String::new() });
        };
        let is_literal_old =
            matches!(node.content, Content::Scalar { style: Style::Literal | Style::Folded, .. });
        if is_literal_old {
            // Header and content go; a comment behind the header stays.
            let header_end = self.line_end(node.span.start);
            let header = &self.text[node.span.start..header_end];
            let comment = header.find('#').map(|at| format!(" {}", &header[at..])).unwrap_or_default();
            let head = first.unwrap_or_default();
            let start = if head.is_empty() { self.behind_properties(found, indicator_end) } else { start };
            let text = format!("{head}{comment}\n{}", lines.join("\n"));
            return Ok(vec![Splice { range: start..node.span.end, text }]);
        }
        let is_empty = matches!(node.content, Content::Scalar { style: Style::Empty, .. });
        let (range, text) = match first {
            // The value's first line takes the old value's place.
            Some(first) if is_empty => (node.span.end..node.span.end, format!(" {first}")),
            Some(first) => (start..node.span.end, first),
            None => (self.behind_properties(found, indicator_end)..node.span.end, String::new()),
        };
        // What stands behind the old value (a comment) stays on that line; the lines come below.
        let below = self.line_end(node.span.end);
        let mut splices = vec![Splice { range, text }];
        if !lines.is_empty() {
            splices.push(Splice { range: below..below, text: format!("\n{}", lines.join("\n")) });
        }
        Ok(splices)
    }

    /// Behind the colon or dash, and behind an anchor that stays.
    fn behind_properties(&self, found: &Found<'_>, indicator_end: usize) -> usize {
        let node = found.node;
        if node.tag.is_none() && node.anchor > 0 {
            let properties = &self.text[node.start..node.span.start];
            return node.start + properties.trim_end().len();
        }
        indicator_end
    }

    fn lines_to_inline(&self, found: &Found<'_>, value: &Value) -> Vec<Splice> {
        let node = found.node;
        let text = emit::inline(value, found.context, self.manner);
        let indicator_end = found.indicator_end.unwrap_or(node.span.start);
        let is_below = self.is_first_in_line(node.span.start)
            && !matches!(found.slot, Slot::Root)
            && self.line_start(node.span.start) > indicator_end;
        if !is_below {
            return vec![Splice { range: node.span.clone(), text }];
        }
        let at = self.behind_properties(found, indicator_end);
        vec![
            Splice { range: at..at, text: format!(" {text}") },
            self.whole_lines(node.span.start, node.span.end),
        ]
    }

    /// The deletion of the lines from the one to the other byte.
    fn whole_lines(&self, from: usize, to: usize) -> Splice {
        let start = self.line_start(from);
        let end = self.line_end(to);
        let next = self.next_line(to);
        let range = if next > end || start == 0 {
            start..next
        } else {
            // The last line has no line break: the one before goes with it.
            let before = self.text[..start].strip_suffix('\n').unwrap_or(&self.text[..start]);
            before.strip_suffix('\r').unwrap_or(before).len()..next
        };
        Splice { range, text: String::new() }
    }

    fn lines_to_lines(&self, found: &Found<'_>, value: &Value) -> Vec<Splice> {
        let node = found.node;
        let (first, lines) = self.lines_of(found, value);
        let is_below = self.is_first_in_line(node.span.start);
        if matches!(found.slot, Slot::Root) {
            return vec![Splice { range: node.span.clone(), text: lines.join("\n") }];
        }
        match (first, is_below) {
            (Some(first), _) => {
                let mut all = vec![first];
                all.extend(lines);
                vec![Splice { range: node.span.clone(), text: all.join("\n") }]
            }
            (None, true) => {
                let range = self.line_start(node.span.start)..node.span.end;
                vec![Splice { range, text: lines.join("\n") }]
            }
            (None, false) => {
                let start = found.indicator_end.unwrap_or(node.span.start);
                vec![Splice { range: start..node.span.end, text: format!("\n{}", lines.join("\n")) }]
            }
        }
    }

    // ---- entries and items ----

    fn add_entry(&self, path: &[PathStep], key: &str, value: &Value) -> Result<Vec<Splice>, EditError> {
        let found = find(self.tree, path)?;
        let Content::Map { layout, entries } = &found.node.content else {
            return Err(match found.node.content {
                Content::Alias(_) => EditError::Shared { pointer: pointer_of(path) },
                _ => self.not_possible(path),
            });
        };
        let Some(last) = entries.last() else { return Err(self.not_possible(path)) };
        if *layout == Layout::Pair || last.is_explicit {
            return Err(self.not_possible(path));
        }
        if *layout == Layout::Block {
            let column = self.column(entries[0].key.start);
            let key = emit::write_key(key, Style::Plain, Context::Block, self.manner);
            let lines = emit::entry(&key, value, self.manner);
            return Ok(self.lines_behind(found.node, column, &lines));
        }
        let key = emit::write_key(key, Style::Plain, Context::Flow, self.manner);
        let text = format!("{key}: {}", emit::inline(value, Context::Flow, self.manner));
        Ok(vec![self.behind_last_in_brackets(
            last.key.start,
            last.value.span.end,
            found.node.span.end,
            &text,
        )])
    }

    /// Lines below a block list or map.
    fn lines_behind(&self, node: &Node, column: usize, lines: &[String]) -> Vec<Splice> {
        let at = self.line_end(node.span.end);
        let mut text = String::new();
        for line in lines {
            text.push('\n');
            text.push_str(&indented(line, column));
        }
        let mut splices = vec![Splice { range: at..at, text }];
        if at == self.text.len()
            && let Some(indicator) = clipped_block_at_end(node)
            && !self.text[indicator..self.line_end(indicator)].contains(['+', '-'])
        {
            // Without a line break at the end of the file the text has none; with one it would get it.
            splices.push(Splice { range: indicator + 1..indicator + 1, text: "-".to_owned() });
        }
        splices
    }

    fn behind_last_in_brackets(&self, start: usize, end: usize, closing: usize, text: &str) -> Splice {
        let comma = skip_trivia(self.bytes(), end);
        let has_comma = self.bytes().get(comma) == Some(&b',');
        let at = if has_comma { comma + 1 } else { end };
        // One entry a line stays one entry a line.
        let own_lines = self.is_first_in_line(start) && self.line_end(end) < closing - 1;
        let lead = match (own_lines, has_comma) {
            (true, true) => format!("\n{}", " ".repeat(self.column(start))),
            (true, false) => format!(",\n{}", " ".repeat(self.column(start))),
            (false, true) => " ".to_owned(),
            (false, false) => ", ".to_owned(),
        };
        Splice { range: at..at, text: format!("{lead}{text}") }
    }

    fn list<'d>(&self, path: &[PathStep], found: &Found<'d>) -> Result<(Layout, &'d [Item]), EditError> {
        match &found.node.content {
            Content::List { layout, items } if !items.is_empty() => Ok((*layout, items)),
            Content::Alias(_) => Err(EditError::Shared { pointer: pointer_of(path) }),
            _ => Err(self.not_possible(path)),
        }
    }

    fn insert_item(&self, path: &[PathStep], index: usize, value: &Value) -> Result<Vec<Splice>, EditError> {
        let found = find(self.tree, path)?;
        let (layout, items) = self.list(path, &found)?;
        if layout != Layout::Block {
            let text = emit::inline(value, Context::Flow, self.manner);
            return Ok(vec![match items.get(index) {
                Some(next) => Splice { range: next.node.start..next.node.start, text: format!("{text}, ") },
                None => {
                    let last = &items[items.len() - 1].node;
                    self.behind_last_in_brackets(last.start, last.span.end, found.node.span.end, &text)
                }
            }]);
        }
        self.insert_lines(path, &found, items, index, &emit::item(value, self.manner))
    }

    /// Puts the lines of an item (not indented) in front of the item with that index, or behind the last.
    fn insert_lines(
        &self,
        path: &[PathStep],
        found: &Found<'_>,
        items: &[Item],
        index: usize,
        lines: &[String],
    ) -> Result<Vec<Splice>, EditError> {
        let first_dash = items[0].dash.ok_or_else(|| self.not_possible(path))?;
        let column = self.column(first_dash);
        let Some(next) = items.get(index) else {
            return Ok(self.lines_behind(found.node, column, lines));
        };
        let dash = next.dash.ok_or_else(|| self.not_possible(path))?;
        if !self.is_first_in_line(dash) {
            // The list starts in the line of something else: the new item takes that place.
            let mut text = String::new();
            for (number, line) in lines.iter().enumerate() {
                text.push_str(&if number == 0 { line.clone() } else { indented(line, column) });
                text.push('\n');
            }
            text.push_str(&" ".repeat(column));
            return Ok(vec![Splice { range: dash..dash, text }]);
        }
        let floor = index
            .checked_sub(1)
            .map_or_else(|| found.indicator_end.unwrap_or(found.floor), |before| items[before].node.span.end);
        let at = self.comments_above(self.line_start(dash), floor);
        let mut text = String::new();
        for line in lines {
            text.push_str(&indented(line, column));
            text.push('\n');
        }
        Ok(vec![Splice { range: at..at, text }])
    }

    /// Start of the comment lines directly above a line; nothing that starts before the floor's line ends.
    fn comments_above(&self, line_start: usize, floor: usize) -> usize {
        let mut start = line_start;
        while start > 0 {
            let above = self.line_start(start - 1);
            if above >= start || above <= floor && floor > 0 && self.line_start(floor) >= above {
                break;
            }
            if !self.text[above..start].trim_start().starts_with('#') {
                break;
            }
            start = above;
        }
        start
    }

    fn copy(&self, path: &[PathStep], index: usize) -> Result<Vec<Splice>, EditError> {
        let found = find(self.tree, path)?;
        let (layout, items) = self.list(path, &found)?;
        let item = items.get(index).ok_or_else(|| self.not_possible(path))?;
        if layout != Layout::Block {
            let text = self.text[item.node.start..item.node.span.end].to_owned();
            let at = item.node.span.end;
            return Ok(vec![Splice { range: at..at, text: format!(", {text}") }]);
        }
        let dash = item.dash.ok_or_else(|| self.not_possible(path))?;
        let end = self.line_end(item.node.span.end);
        let body = &self.text[dash..end];
        let text = format!("\n{}{body}", " ".repeat(self.column(dash)));
        let mut splices = vec![Splice { range: end..end, text }];
        if end == self.text.len() && clipped_block_at_end(&item.node).is_some() {
            return Err(self.not_possible(path));
        }
        splices.retain(|splice| !splice.text.is_empty());
        Ok(splices)
    }

    fn remove(&self, path: &[PathStep]) -> Result<Vec<Splice>, EditError> {
        let found = find(self.tree, path)?;
        match found.slot {
            Slot::Root => Err(self.not_possible(path)),
            Slot::Entry { map, entries, index } => {
                let entry = &entries[index];
                if entry.is_explicit {
                    return Err(self.not_possible(path));
                }
                let start = entry.key.start;
                let end = entry_end(entry);
                let next = entries.get(index + 1).map(|next| next.key.start);
                let before = index.checked_sub(1).map(|before| entry_end(&entries[before]));
                Ok(vec![match &map.content {
                    Content::Map { layout: Layout::Block, .. } => self.remove_lines(start, end, next),
                    _ => self.remove_in_brackets(start, end, before, next),
                }])
            }
            Slot::Item { list, index } => {
                let Content::List { layout, items } = &list.content else {
                    return Err(self.not_possible(path));
                };
                let node = &items[index].node;
                if *layout == Layout::Block {
                    let dash = items[index].dash.ok_or_else(|| self.not_possible(path))?;
                    let next = items.get(index + 1).and_then(|next| next.dash);
                    return Ok(vec![self.remove_lines(dash, node.span.end.max(dash + 1), next)]);
                }
                let next = items.get(index + 1).map(|next| next.node.start);
                let before = index.checked_sub(1).map(|before| items[before].node.span.end);
                Ok(vec![self.remove_in_brackets(node.start, node.span.end, before, next)])
            }
        }
    }

    fn remove_lines(&self, start: usize, end: usize, next: Option<usize>) -> Splice {
        if self.is_first_in_line(start) {
            return self.whole_lines(start, end);
        }
        // The first of a list or map that starts in the line of something else: the next one moves up.
        match next {
            Some(next) if self.text[end..next].trim().is_empty() => {
                Splice { range: start..next, text: String::new() }
            }
            _ => Splice { range: start..end, text: String::new() },
        }
    }

    fn remove_in_brackets(
        &self,
        start: usize,
        end: usize,
        before: Option<usize>,
        next: Option<usize>,
    ) -> Splice {
        let range = match (next, before) {
            (Some(next), _) if !self.text[end..next].contains('#') => start..next,
            (Some(_), _) => start..skip_trivia(self.bytes(), end) + 1,
            (None, Some(before)) if !self.text[before..start].contains('#') => before..end,
            (None, _) => start..end,
        };
        Splice { range, text: String::new() }
    }

    fn rename_key(&self, path: &[PathStep], to: &str) -> Result<Vec<Splice>, EditError> {
        let found = find(self.tree, path)?;
        let Slot::Entry { entries, index, .. } = found.slot else { return Err(self.not_possible(path)) };
        let key = &entries[index].key;
        let Content::Scalar { style, .. } = &key.content else { return Err(self.not_possible(path)) };
        let style = if matches!(style, Style::Single | Style::Double) { *style } else { Style::Plain };
        let start = if key.tag.is_some() { key.start } else { key.span.start };
        let text = emit::write_key(to, style, found.context, self.manner);
        Ok(vec![Splice { range: start..key.span.end, text }])
    }

    fn move_item(&self, path: &[PathStep], from: usize, to: usize) -> Result<Vec<Splice>, EditError> {
        let found = find(self.tree, path)?;
        let (layout, items) = self.list(path, &found)?;
        let (low, high) = (from.min(to), from.max(to));
        if high >= items.len() {
            return Err(self.not_possible(path));
        }
        // Every place between the two gets another item; what stands between the places stays.
        let mut places = Vec::new();
        for (index, item) in items.iter().enumerate().take(high + 1).skip(low) {
            if layout != Layout::Block {
                places.push((item.node.start..item.node.span.end, false));
                continue;
            }
            let dash = item.dash.ok_or_else(|| self.not_possible(path))?;
            let end = self.line_end(item.node.span.end.max(dash + 1));
            if self.is_first_in_line(dash) {
                let floor = index.checked_sub(1).map_or_else(
                    || found.indicator_end.unwrap_or(found.floor),
                    |before| items[before].node.span.end,
                );
                places.push((self.comments_above(self.line_start(dash), floor)..end, true));
            } else {
                places.push((dash..end, false));
            }
        }
        let column = items[0].dash.map_or(0, |dash| self.column(dash));
        let mut order: Vec<usize> = (0..places.len()).collect();
        if from < to {
            order.rotate_left(1)
        } else {
            order.rotate_right(1)
        }
        let mut splices = Vec::new();
        for (place, source) in order.into_iter().enumerate() {
            let (range, has_own_line) = places[place].clone();
            let (source, source_has_own_line) = places[source].clone();
            let text = &self.text[source];
            let text = match (has_own_line, source_has_own_line || layout != Layout::Block) {
                (true, false) => format!("{}{text}", " ".repeat(column)),
                (false, true) if layout == Layout::Block => {
                    let bare = text.trim_start_matches(' ');
                    if bare.starts_with('#') {
                        return Err(self.not_possible(path));
                    }
                    bare.to_owned()
                }
                _ => text.to_owned(),
            };
            splices.push(Splice { range, text });
        }
        Ok(splices)
    }

    fn comment(&self, path: &[PathStep], comment: Option<&str>) -> Result<Vec<Splice>, EditError> {
        let found = find(self.tree, path)?;
        let at = match found.slot {
            Slot::Root => return Err(self.not_possible(path)),
            Slot::Entry { entries, index, .. } => entries[index].key.start,
            Slot::Item { list, index } => dash_of(list, index).unwrap_or(found.node.start),
        };
        if !self.is_first_in_line(at) || found.context == Context::Flow {
            return Err(self.not_possible(path));
        }
        let line = self.line_start(at);
        let start = self.comments_above(line, found.floor);
        let mut text = String::new();
        for comment_line in comment.iter().flat_map(|comment| comment.split('\n')) {
            let comment_line = comment_line.trim_end();
            let mark = if comment_line.is_empty() { "#".to_owned() } else { format!("# {comment_line}") };
            text.push_str(&indented(&mark, self.column(at)));
            text.push('\n');
        }
        if self.text[start..line] == text {
            return Ok(Vec::new());
        }
        Ok(vec![Splice { range: start..line, text }])
    }
}

fn dash_of(list: &Node, index: usize) -> Option<usize> {
    match &list.content {
        Content::List { items, .. } => items.get(index).and_then(|item| item.dash),
        _ => None,
    }
}

fn entry_end(entry: &Entry) -> usize {
    entry.value.span.end.max(entry.colon.unwrap_or(0)).max(entry.key.span.end)
}

/// The `|` or `>` of a block scalar that ends the node.
fn clipped_block_at_end(node: &Node) -> Option<usize> {
    match &node.content {
        Content::Scalar { style: Style::Literal | Style::Folded, .. } => Some(node.span.start),
        Content::List { layout: Layout::Block, items } => clipped_block_at_end(&items.last()?.node),
        Content::Map { layout: Layout::Block, entries } => clipped_block_at_end(&entries.last()?.value),
        _ => None,
    }
}
