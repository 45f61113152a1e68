//! Source code: its items as sections, its statements as pieces.
//!
//! A function or class that fits stays whole, with the comments and attributes above it. A class that does not is a
//! section of its own above those of its members; a function that does not is cut between statements, and those that do
//! not fit between the statements inside them. Files of other languages are cut at blank lines before lines that are not
//! indented.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tree_sitter::{Language, Node, ParseOptions, ParseState, Parser, Tree};

use super::outline::{Form, Piece, Section};
use super::tokens::TokenMap;
use crate::clean::Cleaned;

/// Larger files are made by programs; parsing them would take memory of fifty times their size.
const MAX_SOURCE_BYTES: usize = 2 << 20;

/// A file that takes longer to parse is cut as one of an unknown language.
const MAX_PARSE_TIME: Duration = Duration::from_secs(2);

/// Deeper nesting is cut between lines.
const MAX_DEPTH: usize = 32;

/// What a grammar calls the items that have a name of their own.
const ITEMS: &[&str] = &[
    "abstract_class_declaration",
    "annotation_type_declaration",
    "class_declaration",
    "class_definition",
    "constructor_declaration",
    "enum_declaration",
    "enum_item",
    "function_declaration",
    "function_definition",
    "function_item",
    "generator_function_declaration",
    "impl_item",
    "interface_declaration",
    "internal_module",
    "macro_definition",
    "method_declaration",
    "method_definition",
    "mod_item",
    "record_declaration",
    "struct_item",
    "trait_item",
    "type_alias_declaration",
    "type_declaration",
    "union_item",
];

/// Grammar for the end of a file's name. That of TSX reads JavaScript and TypeScript too.
fn language(name: &str) -> Option<Language> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "py" | "pyi" | "pyw" => tree_sitter_python::LANGUAGE.into(),
        "rs" => tree_sitter_rust::LANGUAGE.into(),
        "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" => {
            tree_sitter_typescript::LANGUAGE_TSX.into()
        }
        "go" => tree_sitter_go::LANGUAGE.into(),
        "java" => tree_sitter_java::LANGUAGE.into(),
        _ => return None,
    })
}

/// Sections and pieces of a source file.
pub(super) fn outline(cleaned: &Cleaned, most: usize, map: &TokenMap) -> (Vec<Section>, Vec<Piece>) {
    let text = cleaned.text.as_str();
    let Some(tree) = language(&cleaned.document).and_then(|language| parse(text, &language)) else {
        return (vec![Section { range: 0..text.len(), ..Section::default() }], by_blank_lines(text));
    };
    let mut walk = Walk { text, most, map, sections: Vec::new(), cuts: Vec::new() };
    walk.section(0, &[], None);
    walk.items(tree.root_node(), &[], 0);
    walk.finish()
}

fn parse(text: &str, language: &Language) -> Option<Tree> {
    if text.len() > MAX_SOURCE_BYTES {
        return None;
    }
    let mut parser = Parser::new();
    parser.set_language(language).ok()?;
    let started = Instant::now();
    let mut watch = |_: &ParseState| match started.elapsed() > MAX_PARSE_TIME {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let bytes = text.as_bytes();
    let options = ParseOptions::new().progress_callback(&mut watch);
    parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options))
}

/// A section that begins here.
struct Start {
    at: usize,
    path: Vec<String>,
    is_titled: bool,
}

struct Walk<'a> {
    text: &'a str,
    most: usize,
    map: &'a TokenMap,
    sections: Vec<Start>,
    /// Where pieces begin.
    cuts: Vec<usize>,
}

impl Walk<'_> {
    fn section(&mut self, at: usize, above: &[String], name: Option<String>) {
        let is_titled = name.is_some();
        let path: Vec<String> = above.iter().cloned().chain(name).collect();
        let start = Start { at, path, is_titled };
        match self
            .sections
            .last_mut()
            .filter(|last| last.at >= at || self.text[last.at..at].trim().is_empty())
        {
            // Nothing stood between them.
            Some(last) if last.at <= at && (is_titled || !last.is_titled) => *last = start,
            Some(_) => {}
            None => self.sections.push(start),
        }
        self.cuts.push(at);
    }

    /// The items below a node, and what stands between them.
    fn items(&mut self, node: Node<'_>, path: &[String], depth: usize) {
        let mut cursor = node.walk();
        let children: Vec<Node<'_>> = node.named_children(&mut cursor).collect();
        // Start of the comments and attributes above what comes next, and their end.
        let mut above: Option<(usize, usize)> = None;
        let mut after_item = false;
        for child in children {
            let start = self.line_of(child.start_byte());
            if is_remark(child.kind()) {
                let goes_on = above.is_some_and(|(_, end)| self.is_next_line(end, child.start_byte()));
                match above.as_mut().filter(|_| goes_on) {
                    Some(above) => above.1 = child.end_byte(),
                    None => {
                        // Remarks that a blank line follows are no item's.
                        if let Some((loose, _)) = above.replace((start, child.end_byte())) {
                            self.loose(loose, path, &mut after_item);
                        }
                    }
                }
                continue;
            }
            let start = match above.take() {
                Some((remark, end)) if self.is_next_line(end, child.start_byte()) => remark,
                Some((remark, _)) => {
                    self.loose(remark, path, &mut after_item);
                    start
                }
                None => start,
            };
            match self.item(child) {
                Some((item, name)) => {
                    self.section(start, path, Some(name.clone()));
                    after_item = true;
                    let range = start..child.end_byte();
                    if self.map.count(range) > self.most && depth < MAX_DEPTH {
                        let inside: Vec<String> = path.iter().cloned().chain([name]).collect();
                        match item.child_by_field_name("body") {
                            Some(body) if self.has_items(body) => self.items(body, &inside, depth + 1),
                            body => self.statements(body.unwrap_or(item), depth + 1),
                        }
                    }
                }
                None => {
                    self.loose(start, path, &mut after_item);
                    if self.map.count(start..child.end_byte()) > self.most {
                        self.statements(child, depth + 1);
                    }
                }
            }
        }
        if let Some((remark, _)) = above {
            self.loose(remark, path, &mut after_item);
        }
    }

    /// Imports, constants and the like: a section for all that stand together.
    fn loose(&mut self, at: usize, path: &[String], after_item: &mut bool) {
        if std::mem::take(after_item) {
            self.section(at, path, None);
        } else {
            self.cuts.push(at);
        }
    }

    /// Cuts between the statements below a node, and below those that are too long themselves.
    fn statements(&mut self, node: Node<'_>, depth: usize) {
        if depth >= MAX_DEPTH {
            return;
        }
        let mut cursor = node.walk();
        let children: Vec<Node<'_>> = node.named_children(&mut cursor).collect();
        let mut remark: Option<usize> = None;
        for child in children {
            let start = self.line_of(child.start_byte());
            if is_remark(child.kind()) {
                remark.get_or_insert(start);
                continue;
            }
            self.cuts.push(remark.take().unwrap_or(start));
            if self.map.count(start..child.end_byte()) > self.most {
                self.statements(child.child_by_field_name("body").unwrap_or(child), depth + 1);
            }
        }
    }

    /// The item that a node is or holds, with its name: an export, a decorated class, a function put in a constant.
    fn item<'t>(&self, node: Node<'t>) -> Option<(Node<'t>, String)> {
        let mut node = node;
        for field in ["declaration", "definition"] {
            node = node.child_by_field_name(field).unwrap_or(node);
        }
        if node.kind() == "expression_statement" {
            node = node.named_child(0).filter(|inner| inner.kind() == "internal_module").unwrap_or(node);
        }
        let text_of = |node: Node<'_>| {
            let words: Vec<&str> = self.text[node.byte_range()].split_whitespace().collect();
            words.join(" ")
        };
        if matches!(node.kind(), "lexical_declaration" | "variable_declaration") {
            let declared = node.named_child(0)?;
            let value = declared.child_by_field_name("value")?;
            let is_function = matches!(value.kind(), "arrow_function" | "function_expression" | "class");
            return is_function
                .then(|| declared.child_by_field_name("name"))
                .flatten()
                .map(|name| (value, text_of(name)));
        }
        if ITEMS.binary_search(&node.kind()).is_err() {
            return None;
        }
        // `impl Trait for Type` is about the type; the type of a Go declaration is one step down.
        let named = if node.kind() == "type_declaration" { node.named_child(0)? } else { node };
        let name = named.child_by_field_name("name").or_else(|| named.child_by_field_name("type"))?;
        Some((node, text_of(name)))
    }

    fn has_items(&self, body: Node<'_>) -> bool {
        let mut cursor = body.walk();
        body.named_children(&mut cursor).any(|child| {
            // A function within a function is one of its statements, unless it is nothing else.
            self.item(child).is_some_and(|(item, _)| item.kind() != "lexical_declaration")
        }) && !matches!(body.kind(), "statement_block")
            && !(body.kind() == "block"
                && body.parent().is_some_and(|parent| parent.kind().starts_with("function")))
    }

    /// Start of the line on which a node begins, where nothing else stands before it.
    fn line_of(&self, at: usize) -> usize {
        let line = self.text[..at].rfind('\n').map_or(0, |found| found + 1);
        if self.text[line..at].trim().is_empty() { line } else { at }
    }

    fn is_next_line(&self, end: usize, start: usize) -> bool {
        self.text
            .get(end.min(start)..start)
            .is_some_and(|between| between.trim().is_empty() && between.matches('\n').count() <= 1)
    }

    fn finish(mut self) -> (Vec<Section>, Vec<Piece>) {
        let length = self.text.len();
        let ends: Vec<usize> = self.sections.iter().skip(1).map(|next| next.at).chain([length]).collect();
        let sections = self
            .sections
            .into_iter()
            .zip(ends)
            .filter(|(start, end)| start.at < *end)
            .map(|(start, end)| Section {
                range: start.at..end,
                path: start.path,
                is_titled: start.is_titled,
            })
            .collect();
        // What begins within a line is cut with it.
        self.cuts.retain(|cut| *cut == 0 || self.text[..*cut].ends_with('\n'));
        self.cuts.push(0);
        self.cuts.push(length);
        self.cuts.sort_unstable();
        self.cuts.dedup();
        let mut pieces = Vec::with_capacity(self.cuts.len());
        self.cuts.windows(2).for_each(|pair| push(self.text, pair[0], pair[1], &mut pieces));
        (sections, pieces)
    }
}

fn is_remark(kind: &str) -> bool {
    matches!(kind, "comment" | "line_comment" | "block_comment" | "attribute_item" | "decorator")
}

/// Stretches that begin after a blank line with a line that is not indented.
fn by_blank_lines(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut after_blank = false;
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            after_blank = true;
        } else {
            // A closing bracket belongs to what it closes.
            let opens = line.starts_with(|letter: char| !letter.is_whitespace() && !")]}".contains(letter));
            if after_blank && opens {
                push(text, start, at, &mut pieces);
                start = at;
            }
            after_blank = false;
        }
        at += line.len();
    }
    push(text, start, text.len(), &mut pieces);
    pieces
}

fn push(text: &str, start: usize, end: usize, pieces: &mut Vec<Piece>) {
    let end = start + text[start..end].trim_end().len();
    if end > start {
        pieces.push(Piece { range: start..end, form: Form::Code });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Chunk, ChunkBy, ChunkSpec, WordTokens, chunk_document};
    use super::*;

    #[test]
    fn the_list_can_be_searched() {
        assert!(ITEMS.is_sorted());
    }

    fn cut(name: &str, text: &str, max_tokens: usize) -> Vec<Chunk> {
        let cleaned =
            Cleaned { document: name.into(), text: text.into(), is_code: true, ..Cleaned::default() };
        let spec = ChunkSpec { by: ChunkBy::Code, max_tokens, overlap: 0, ..ChunkSpec::default() };
        chunk_document(&cleaned, &spec, &WordTokens)
    }

    /// Context and text of every chunk.
    #[track_caller]
    fn check(name: &str, text: &str, max_tokens: usize, expected: &[(&str, &str)]) {
        let chunks = cut(name, text, max_tokens);
        let shown: Vec<(&str, &str)> =
            chunks.iter().map(|chunk| (chunk.context.as_str(), chunk.text.as_str())).collect();
        assert_eq!(shown, expected);
    }

    const BODY: &str = "value = first + second * third - fourth / fifth";

    #[test]
    fn a_function_keeps_its_comments_and_decorators() {
        let text = format!(
            "import os\n\nLIMIT = 3\n\n# Boils water.\n@cached\ndef boil():\n    {BODY}\n    {BODY}\n\n\ndef pour():\n    {BODY}\n    {BODY}\n"
        );
        check(
            "a/tea.py",
            &text,
            48,
            &[
                (
                    "a/tea.py",
                    &format!(
                        "import os\n\nLIMIT = 3\n\n# Boils water.\n@cached\ndef boil():\n    {BODY}\n    {BODY}"
                    ),
                ),
                ("a/tea.py", &format!("def pour():\n    {BODY}\n    {BODY}")),
            ],
        );
    }

    #[test]
    fn members_of_a_long_class_know_their_class() {
        let method = |name: &str| {
            format!("    /// Does it.\n    fn {name}(&self) {{\n        {BODY};\n        {BODY};\n    }}")
        };
        let text = format!("impl Kettle {{\n{}\n\n{}\n}}\n", method("boil"), method("pour"));
        let chunks = cut("tea.rs", &text, 48);
        assert_eq!(chunks.last().unwrap().context, "tea.rs > Kettle");
        assert_eq!(chunks.last().unwrap().source.heading.as_deref(), Some("Kettle > pour"));
        assert!(chunks.last().unwrap().text.starts_with("    /// Does it.\n    fn pour"));
    }

    #[test]
    fn a_long_function_is_cut_between_statements() {
        let statements: Vec<String> = (0..6).map(|_| format!("    {BODY};")).collect();
        let text = format!("func Boil() {{\n{}\n}}\n", statements.join("\n"));
        let chunks = cut("tea.go", &text, 40);
        assert!(chunks.len() > 1);
        assert!(chunks[1..].iter().all(|chunk| chunk.context == "tea.go > Boil"));
        for chunk in &chunks {
            assert!(
                chunk.text.lines().all(|line| line.trim().is_empty() || line.ends_with([';', '{', '}'])),
                "{}",
                chunk.text
            );
        }
    }

    #[test]
    fn exported_and_assigned_functions_have_names() {
        let text = format!(
            "export class Tea {{\n  boil() {{\n    {BODY};\n    {BODY};\n  }}\n}}\n\nexport const pour = () => {{\n  {BODY};\n  {BODY};\n}};\n"
        );
        let headings = |name: &str, text: &str| -> Vec<String> {
            cut(name, text, 40).into_iter().filter_map(|chunk| chunk.source.heading).collect()
        };
        assert_eq!(headings("tea.ts", &text).last().unwrap(), "pour");
        let java = format!(
            "class Tea {{\n  void boil() {{\n    {BODY};\n    {BODY};\n  }}\n\n  /** Pours. */\n  void pour() {{\n    {BODY};\n    {BODY};\n  }}\n}}\n"
        );
        assert_eq!(headings("Tea.java", &java).last().unwrap(), "Tea > pour");
    }

    #[test]
    fn other_languages_are_cut_at_blank_lines() {
        let part = |name: &str| format!("begin {name}\n  {BODY}\n\n  {BODY}\nend");
        let text = format!("{}\n\n{}\n", part("one"), part("two"));
        let chunks = cut("tea.zzz", &text, 48);
        assert_eq!(chunks.len(), 2);
        assert!(chunks[1].text.starts_with("begin two"));
    }

    #[test]
    fn broken_and_deep_code_is_cut_all_the_same() {
        let deep = format!("x = {}1{}", "(".repeat(5_000), ")".repeat(5_000));
        for text in ["def (:\n  ]] class", deep.as_str(), "}}}}", "class A:\n"] {
            let chunks = cut("a.py", text, 64);
            assert!(!chunks.is_empty() && chunks.iter().all(|chunk| chunk.tokens <= 64));
        }
    }
}
