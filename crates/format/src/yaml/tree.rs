//! The tree of a YAML text: every node with its byte range, built from parser events.
//!
//! Events alone do not say where an empty value, a block scalar's header, a dash or a colon stands. A cursor
//! follows the text between events, so that every node knows its exact bytes. Where text and events disagree
//! (rare forms such as explicit keys), the tree can still be read but is marked as not editable.

use std::collections::HashSet;
use std::ops::Range;

use flowbench_core::finding::Finding;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{MAX_DEPTH, MAX_NODES, text::Text};

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
    /// Nothing is written: the empty value.
    Empty,
}

/// How a list or map is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One entry a line.
    Block,
    /// In brackets or braces.
    Flow,
    /// The single pair in `[a: b]`, which has no braces.
    Pair,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) content: Content,
    /// Bytes of the content, without anchor and tag; empty for an empty value.
    pub(crate) span: Range<usize>,
    /// Where anchor or tag start; the content's start without them.
    pub(crate) start: usize,
    /// Anchor id of the parser; 0 for none.
    pub(crate) anchor: usize,
    pub(crate) tag: Option<Tag>,
    /// One-based line and column of `start`.
    pub(crate) place: (u32, u32),
}

/// A tag as far as reading cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Text,
    Int,
    Float,
    Bool,
    Null,
    List,
    Map,
    /// `!`: not resolved.
    NonSpecific,
    Other(String),
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Scalar {
        style: Style,
        text: String,
    },
    List {
        layout: Layout,
        items: Vec<Item>,
    },
    Map {
        layout: Layout,
        entries: Vec<Entry>,
    },
    /// The anchor id it stands for.
    Alias(usize),
}

/// An item of a list; `dash` is where its `-` stands (block layout).
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) dash: Option<usize>,
    pub(crate) node: Node,
}

/// An entry of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Node,
    /// Just behind the colon; `None` where no colon is written.
    pub(crate) colon: Option<usize>,
    pub(crate) value: Node,
    /// Written with `?`.
    pub(crate) is_explicit: bool,
}

/// What building gave.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) root: Option<Node>,
    /// True if every byte range is sure and the whole text was understood.
    pub(crate) is_editable: bool,
    /// True if the text was understood to its end.
    pub(crate) is_whole: bool,
    /// `%YAML 1.1` is written.
    pub(crate) is_yaml_1_1: bool,
    /// Anchors that an alias names.
    pub(crate) aliases: HashSet<usize>,
    /// Where the first document starts: behind `---` if there is one.
    pub(crate) body_start: usize,
}

enum Open {
    List { layout: Layout, items: Vec<Item>, dash: Option<usize> },
    Map { layout: Layout, entries: Vec<Entry>, key: Option<(Node, bool)>, colon: Option<usize> },
}

struct Frame {
    open: Open,
    start: usize,
    content_start: usize,
    anchor: usize,
    tag: Option<Tag>,
    place: (u32, u32),
}

struct Builder<'t> {
    text: &'t Text<'t>,
    stack: Vec<Frame>,
    root: Option<Node>,
    cursor: usize,
    nodes: usize,
    is_sure: bool,
    aliases: HashSet<usize>,
}

/// Most bytes parsed in all tries with lines indented for the parser: every bracket that is indented too little
/// costs one.
const MAX_TRIED_BYTES: usize = 32 << 20;

/// Builds the tree. After a syntax error the part before it is kept, all open lists and maps closed.
pub(crate) fn build(text: &mut Text<'_>, findings: &mut Vec<Finding>) -> Tree {
    let mut tried_bytes = 0;
    loop {
        let body = text.for_parser();
        tried_bytes += body.len();
        let (tree, found, error) = build_once(text, &body);
        if let Some((error, open_brackets)) = error {
            let lines = badly_indented(text, &error, open_brackets);
            if tried_bytes < MAX_TRIED_BYTES && text.pad(lines) {
                continue;
            }
            findings.push(syntax_finding(text, &error));
        }
        findings.extend(found);
        return tree;
    }
}

/// One try: the tree, findings, and the parser's error with the number of brackets open at it.
fn build_once(text: &Text<'_>, body: &str) -> (Tree, Vec<Finding>, Option<(ScanError, usize)>) {
    let mut parser = Parser::new_from_str(body);
    let mut builder = Builder {
        text,
        stack: Vec::new(),
        root: None,
        cursor: text.bom(),
        nodes: 0,
        is_sure: true,
        aliases: HashSet::new(),
    };
    let mut tree = Tree { is_whole: true, ..Tree::default() };
    let mut findings = Vec::new();
    let mut stopped_by = None;
    let mut documents = 0;
    loop {
        let (event, span) = match parser.next_event() {
            None => break,
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                tree.is_whole = false;
                stopped_by = Some((error, builder.open_brackets()));
                break;
            }
        };
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(is_explicit) => {
                documents += 1;
                if documents > 1 {
                    tree.is_whole = false;
                    findings.push(
                        Finding::error("yaml-many-documents", "the file holds more than one YAML document")
                            .at(text.place_of_mark(&span.start))
                            .suggest("keep one document a file: remove this `---` or move what follows it"),
                    );
                    break;
                }
                if is_explicit {
                    let at = text.byte_of(span.start.index());
                    tree.is_yaml_1_1 = text.all()[..at].lines().any(|line| line.starts_with("%YAML 1.1"));
                    builder.cursor = text.byte_of(span.end.index());
                }
                tree.body_start = builder.cursor;
            }
            event => {
                if let Err(finding) = builder.event(event, &span) {
                    tree.is_whole = false;
                    findings.push(*finding);
                    break;
                }
            }
        }
    }
    while !builder.stack.is_empty() {
        builder.close(None);
    }
    tree.is_editable = tree.is_whole && builder.is_sure;
    tree.aliases = builder.aliases;
    tree.root = builder.root;
    (tree, findings, stopped_by)
}

/// Starts of the lines that the parser refuses for their indentation although they stand inside brackets or
/// quotes, where it means nothing.
fn badly_indented(text: &Text<'_>, error: &ScanError, open_brackets: usize) -> Vec<usize> {
    let all = text.all();
    let bytes = all.as_bytes();
    let at = text.byte_of(error.marker().index());
    let line_start = |at: usize| all[..at].rfind('\n').map_or(text.bom(), |newline| newline + 1);
    match error.info() {
        "invalid indentation in quoted scalar" => {
            let Some(quote) = bytes.get(at).copied().filter(|byte| matches!(byte, b'"' | b'\'')) else {
                return Vec::new();
            };
            let end = quoted_end(bytes, at, quote);
            all[at..end].match_indices('\n').map(|(offset, _)| at + offset + 1).collect()
        }
        "invalid indentation" | "invalid indentation in flow construct" => {
            let is_inside = open_brackets > 0
                || all[..at].trim_end().ends_with(['[', '{', ','])
                || matches!(bytes.get(at), Some(b']' | b'}'));
            if !is_inside {
                return Vec::new();
            }
            // This line, and the ones after it up to the bracket that closes the outermost one.
            let mut lines = vec![line_start(at)];
            let mut depth = open_brackets.max(1);
            let mut at = at;
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' | b'\'' => {
                        at = quoted_end(bytes, at, *byte);
                        continue;
                    }
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => {
                        depth -= 1;
                        if depth == 0 {
                            break;
                        }
                    }
                    b'\n' => lines.push(at + 1),
                    _ => {}
                }
                at += 1;
            }
            lines
        }
        _ => Vec::new(),
    }
}

/// Behind the closing quote, or the end of the text.
fn quoted_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn syntax_finding(text: &Text<'_>, error: &ScanError) -> Finding {
    let info = error.info();
    let (message, suggestion) = if info.contains("recursion limit") {
        return too_deep().at(text.place_of_mark(error.marker()));
    } else if info.contains("tab") {
        (info.to_owned(), "indent with spaces: YAML allows no tabs there")
    } else if info.contains("unknown anchor") {
        ("an alias names an anchor that is not defined above it".to_owned(), "define it with `&NAME` first")
    } else if info.contains("mapping values are not allowed") {
        (info.to_owned(), "quote the text if its `:` is part of it, or check the indentation")
    } else if info.contains("end of stream") || info.contains("eof") {
        (info.to_owned(), "close the quote or bracket that is still open")
    } else if info.contains("did not find expected key") || info.contains("simple key expect") {
        (info.to_owned(), "write `KEY: VALUE`, indented like the lines around it")
    } else if info.contains("indentation") || info.contains("indented") {
        (info.to_owned(), "indent the line like its neighbours")
    } else {
        (info.to_owned(), "check quotes, brackets and indentation here and in the line above")
    };
    Finding::error("yaml-syntax", message).at(text.place_of_mark(error.marker())).suggest(suggestion)
}

fn too_deep() -> Finding {
    Finding::error("yaml-too-deep", format!("lists and maps are nested more than {MAX_DEPTH} deep"))
        .suggest("no flow needs that: check where the nesting comes from")
}

impl Builder<'_> {
    fn open_brackets(&self) -> usize {
        let is_flow = |frame: &&Frame| {
            matches!(
                frame.open,
                Open::List { layout: Layout::Flow, .. } | Open::Map { layout: Layout::Flow, .. }
            )
        };
        self.stack.iter().filter(is_flow).count()
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Box<Finding>> {
        if matches!(
            event,
            Event::Alias(_) | Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..)
        ) {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                return Err(Box::new(
                    Finding::error(
                        "yaml-too-many-parts",
                        format!("the file has more than {MAX_NODES} values"),
                    )
                    .at(self.text.place_of_mark(&span.start))
                    .suggest("move data out of the flow into a file of rows"),
                ));
            }
        }
        match event {
            Event::Alias(id) => {
                self.aliases.insert(id);
                let (start, _) = self.begin();
                let end = self.text.byte_of(span.end.index());
                self.check(start == self.text.byte_of(span.start.index()));
                self.add(self.node(Content::Alias(id), start..end, start, 0, None));
                self.cursor = end;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| read_tag(&tag));
                self.scalar(text.into_owned(), style, span, anchor, tag);
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(true, anchor, tag.map(|tag| read_tag(&tag)), span)?
            }
            Event::MappingStart(anchor, tag) => {
                self.open(false, anchor, tag.map(|tag| read_tag(&tag)), span)?
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(Some(span)),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn node(
        &self,
        content: Content,
        span: Range<usize>,
        start: usize,
        anchor: usize,
        tag: Option<Tag>,
    ) -> Node {
        Node { content, place: self.text.line_and_column(start), span, start, anchor, tag }
    }

    /// Notes that text and events agree, or do not.
    fn check(&mut self, agrees: bool) {
        self.is_sure &= agrees;
    }

    /// Moves over the indicators in front of the next node (`-`, `?`, `:`, `,`). Gives the node's start, anchor
    /// and tag included, and the start of its content.
    fn begin(&mut self) -> (usize, usize) {
        let bytes = self.text.all().as_bytes();
        let mut at = self.cursor;
        let mut is_sure = true;
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            Some(Open::List { layout: Layout::Block, dash, .. }) => {
                let found = skip_trivia(bytes, at);
                is_sure &= bytes.get(found) == Some(&b'-');
                *dash = Some(found);
                at = found + usize::from(is_sure);
            }
            Some(Open::List { items, .. }) => {
                at = skip_trivia(bytes, at);
                if !items.is_empty() {
                    is_sure &= bytes.get(at) == Some(&b',');
                    at += usize::from(is_sure);
                }
            }
            Some(Open::Map { key: Some((_, _)), colon, layout, .. }) => {
                let found = skip_trivia(bytes, at);
                // `{a, b: 1}` and a `? key` without value have no colon.
                if bytes.get(found) == Some(&b':') {
                    *colon = Some(found + 1);
                    at = found + 1;
                } else {
                    is_sure &= *layout == Layout::Flow;
                    *colon = None;
                    // Nothing is written: the empty value stands directly behind its key.
                    self.check(is_sure);
                    return (at, at);
                }
            }
            Some(Open::Map { layout, entries, .. }) => {
                at = skip_trivia(bytes, at);
                if *layout == Layout::Flow && !entries.is_empty() {
                    is_sure &= bytes.get(at) == Some(&b',');
                    at += usize::from(is_sure);
                }
            }
            None => {}
        }
        self.check(is_sure);
        let start = skip_trivia(bytes, at);
        let content = skip_properties(bytes, start);
        // Without properties an empty value ends at its indicator, not at the next token.
        self.cursor = at;
        (start, content)
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, span: &Span, anchor: usize, tag: Option<Tag>) {
        let before = self.cursor;
        let (mut start, mut content) = self.begin();
        let bytes = self.text.all().as_bytes();
        // An explicit key: `? key`.
        let expects_key =
            matches!(self.stack.last().map(|frame| &frame.open), Some(Open::Map { key: None, .. }));
        let mut is_explicit = false;
        if expects_key && is_question(bytes, start) {
            is_explicit = true;
            start = skip_trivia(bytes, start + 1);
            content = skip_properties(bytes, start);
        }
        let has_properties = anchor > 0 || tag.is_some();
        let node = match style {
            ScalarStyle::Plain if text.is_empty() => {
                // Nothing is written; with properties they are all there is.
                let (start, at) = if has_properties {
                    (start, property_end(bytes, start))
                } else if matches!(
                    self.stack.last().map(|frame| &frame.open),
                    Some(Open::Map { key: Some(_), colon: None, .. })
                ) {
                    (before, before)
                } else {
                    (self.cursor, self.cursor)
                };
                self.check(!expects_key);
                self.cursor = at;
                self.node(Content::Scalar { style: Style::Empty, text }, at..at, start, anchor, tag)
            }
            ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                let end = self.text.byte_of(span.end.index());
                self.check(start == self.text.byte_of(span.start.index()) && content <= end);
                let content = content.min(end);
                let style = match style {
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    _ => Style::Plain,
                };
                self.cursor = end;
                self.node(Content::Scalar { style, text }, content..end, start, anchor, tag)
            }
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let mut text = text;
                // At the end of a file without a last line break the loader of prompt flow adds none.
                if span.end.index() > span.start.index()
                    && self.text.byte_of(span.end.index()) == bytes.len()
                    && !bytes.ends_with(b"\n")
                    && !bytes.ends_with(b"\r")
                    && text.ends_with('\n')
                {
                    text.pop();
                }
                let style = if style == ScalarStyle::Literal { Style::Literal } else { Style::Folded };
                let indicator = if style == Style::Literal { b'|' } else { b'>' };
                self.check(bytes.get(content) == Some(&indicator));
                let limit = self.text.byte_of(span.end.index()).max(content);
                let end = block_scalar_end(bytes, content, limit);
                self.cursor = end;
                self.node(Content::Scalar { style, text }, content..end, start, anchor, tag)
            }
        };
        if is_explicit {
            if let Some(Open::Map { key, colon, .. }) = self.stack.last_mut().map(|frame| &mut frame.open) {
                *key = Some((node, true));
                *colon = None;
            }
        } else {
            self.add(node);
        }
    }

    fn open(
        &mut self,
        is_list: bool,
        anchor: usize,
        tag: Option<Tag>,
        span: &Span,
    ) -> Result<(), Box<Finding>> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Box::new(too_deep().at(self.text.place_of_mark(&span.start))));
        }
        let (start, behind_properties) = self.begin();
        // In `&a b: c` the anchor is the key's, not the map's.
        let content = if anchor > 0 || tag.is_some() { behind_properties } else { start };
        let bytes = self.text.all().as_bytes();
        let bracket = if is_list { b'[' } else { b'{' };
        let inside_flow_list = matches!(
            self.stack.last().map(|frame| &frame.open),
            Some(Open::List { layout: Layout::Flow, .. })
        );
        let layout = if bytes.get(content) == Some(&bracket) {
            // `[{a: b}: c]` is beyond us; brackets that start a node belong to it.
            Layout::Flow
        } else if inside_flow_list && !is_list {
            Layout::Pair
        } else {
            Layout::Block
        };
        // A map as a key.
        if matches!(self.stack.last().map(|frame| &frame.open), Some(Open::Map { key: None, .. })) {
            self.check(false);
        }
        self.cursor = if layout == Layout::Flow { content + 1 } else { content };
        // In `[{a: b}: c]` events and brackets part: the pair's event is empty, a bracket's is not.
        if layout == Layout::Flow {
            self.check(span.end.index() > span.start.index());
        }
        let place = self.text.line_and_column(start);
        let open = if is_list {
            Open::List { layout, items: Vec::new(), dash: None }
        } else {
            Open::Map { layout, entries: Vec::new(), key: None, colon: None }
        };
        self.stack.push(Frame { open, start, content_start: content, anchor, tag, place });
        Ok(())
    }

    /// Closes the innermost list or map; without a span because the text is broken behind it.
    fn close(&mut self, span: Option<&Span>) {
        let Some(frame) = self.stack.pop() else { return };
        let (content, layout) = match frame.open {
            Open::List { layout, items, .. } => (Content::List { layout, items }, layout),
            Open::Map { layout, mut entries, key, colon } => {
                if let Some((key, is_explicit)) = key {
                    let at = colon.unwrap_or(key.span.end);
                    let value = self.node(
                        Content::Scalar { style: Style::Empty, text: String::new() },
                        at..at,
                        at,
                        0,
                        None,
                    );
                    entries.push(Entry { key, colon, value, is_explicit });
                }
                (Content::Map { layout, entries }, layout)
            }
        };
        let bytes = self.text.all().as_bytes();
        let end = if layout == Layout::Flow && span.is_some() {
            let mut at = skip_trivia(bytes, self.cursor);
            // A comma may stand before the bracket.
            if bytes.get(at) == Some(&b',') {
                at = skip_trivia(bytes, at + 1);
            }
            let bracket = if matches!(content, Content::List { .. }) { b']' } else { b'}' };
            let is_there = bytes.get(at) == Some(&bracket);
            self.check(is_there);
            if is_there { at + 1 } else { self.cursor }
        } else {
            self.cursor
        };
        let start = frame.content_start.min(end);
        self.cursor = end;
        self.add(Node {
            content,
            span: start..end,
            start: frame.start,
            anchor: frame.anchor,
            tag: frame.tag,
            place: frame.place,
        });
    }

    fn add(&mut self, node: Node) {
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::List { items, dash, .. }) => items.push(Item { dash: dash.take(), node }),
            Some(Open::Map { entries, key, colon, .. }) => match key.take() {
                None => *key = Some((node, false)),
                Some((key, is_explicit)) => {
                    entries.push(Entry { key, colon: colon.take(), value: node, is_explicit });
                }
            },
        }
    }
}

fn read_tag(tag: &saphyr_parser::Tag) -> Tag {
    if tag.is_yaml_core_schema() {
        match tag.suffix.as_str() {
            "str" => return Tag::Text,
            "int" => return Tag::Int,
            "float" => return Tag::Float,
            "bool" => return Tag::Bool,
            "null" => return Tag::Null,
            "seq" => return Tag::List,
            "map" => return Tag::Map,
            _ => {}
        }
        return Tag::Other(format!("!!{}", tag.suffix));
    }
    if tag.handle.is_empty() && tag.suffix == "!" {
        return Tag::NonSpecific;
    }
    Tag::Other(tag.to_string())
}

fn is_question(bytes: &[u8], at: usize) -> bool {
    bytes.get(at) == Some(&b'?')
        && bytes.get(at + 1).is_none_or(|next| matches!(next, b' ' | b'\t' | b'\n' | b'\r'))
}

/// Moves over blanks, line breaks and comments.
pub(crate) fn skip_trivia(bytes: &[u8], mut at: usize) -> usize {
    // A comment needs something in front of it that ends what was before.
    let may_start_comment = |at: usize| {
        at == 0
            || matches!(bytes[at - 1], b' ' | b'\t' | b'\n' | b'\r' | b',' | b'[' | b'{')
            || bytes[..at] == *"\u{feff}".as_bytes()
    };
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\t' | b'\n' | b'\r') => at += 1,
            Some(b'#') if may_start_comment(at) => {
                while bytes.get(at).is_some_and(|byte| !matches!(byte, b'\n' | b'\r')) {
                    at += 1;
                }
            }
            _ => return at,
        }
    }
}

/// Moves over an anchor and a tag, in either order, and what lies between them and the content.
fn skip_properties(bytes: &[u8], start: usize) -> usize {
    let end = property_end(bytes, start);
    if end == start { start } else { skip_trivia(bytes, end) }
}

/// End of anchor and tag themselves.
fn property_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut end = start;
    for _ in 0..2 {
        if !matches!(bytes.get(at), Some(b'&' | b'!')) {
            break;
        }
        while bytes
            .get(at)
            .is_some_and(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}'))
        {
            at += 1;
        }
        end = at;
        at = skip_trivia(bytes, at);
    }
    end
}

/// End of a block scalar that starts at its `|` or `>`: behind its last character. Blank lines behind it
/// belong to it only with the keep sign (`|+`).
fn block_scalar_end(bytes: &[u8], start: usize, limit: usize) -> usize {
    let mut header_end = start;
    while header_end < limit && !matches!(bytes[header_end], b'\n' | b'\r') {
        header_end += 1;
    }
    let header = &bytes[start..header_end];
    let keeps = header.iter().take(3).any(|byte| *byte == b'+');
    let mut end = limit.min(bytes.len());
    // The parser has already moved over the indentation of the line behind.
    while end > header_end && matches!(bytes[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    if keeps {
        if end > header_end && bytes[end - 1] == b'\n' {
            end -= 1;
        }
        if end > header_end && bytes[end - 1] == b'\r' {
            end -= 1;
        }
    } else {
        while end > header_end && matches!(bytes[end - 1], b' ' | b'\t' | b'\n' | b'\r') {
            end -= 1;
        }
    }
    if end <= header_end {
        // The header itself, without a comment behind it.
        let mut at = start + 1;
        while bytes.get(at).is_some_and(|byte| matches!(byte, b'+' | b'-' | b'0'..=b'9')) {
            at += 1;
        }
        return at;
    }
    end
}
