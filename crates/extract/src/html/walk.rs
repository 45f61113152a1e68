//! From a tree of elements to blocks.

use dom_query::NodeRef;

use crate::builder::{Builder, one_line};
use crate::document::{BlockKind, Limits};
use crate::table;

mod lists;
mod tables;

/// Longest text of a table cell that still is data; longer ones are page layout.
const MAX_CELL_BYTES: usize = 2_000;

/// Deepest level below a node, found without recursion.
pub(super) fn depth(root: &NodeRef<'_>) -> usize {
    let (mut deepest, mut level) = (0, 0usize);
    let mut at = *root;
    loop {
        if let Some(child) = at.first_child() {
            at = child;
            level += 1;
            deepest = deepest.max(level);
            continue;
        }
        loop {
            if at.id == root.id {
                return deepest;
            }
            if let Some(next) = at.next_sibling() {
                at = next;
                break;
            }
            let Some(parent) = at.parent() else { return deepest };
            at = parent;
            level -= 1;
        }
    }
}

/// Writes everything below a node. `whole` says that this is a whole page, whose navigation and footer are furniture.
pub(super) fn walk(root: &NodeRef<'_>, builder: &mut Builder, limits: &Limits, whole: bool) {
    let mut walker = Walker {
        builder,
        line: String::new(),
        kind: BlockKind::Paragraph,
        max_depth: limits.max_depth,
        whole,
    };
    walker.children(root, 0);
    walker.flush();
}

struct Walker<'b> {
    builder: &'b mut Builder,
    /// Running text that has not become a block yet.
    line: String,
    kind: BlockKind,
    max_depth: usize,
    whole: bool,
}

impl Walker<'_> {
    fn children(&mut self, node: &NodeRef<'_>, depth: usize) {
        let mut next = node.first_child();
        while let Some(child) = next {
            if self.builder.is_full() {
                return;
            }
            self.node(&child, depth);
            next = child.next_sibling();
        }
    }

    fn node(&mut self, node: &NodeRef<'_>, depth: usize) {
        if node.is_text() {
            push_text(&mut self.line, &node.text());
            return;
        }
        let Some(name) = element_name(node) else { return };
        if is_skipped(&name) || is_hidden(node) {
            return;
        }
        if depth >= self.max_depth {
            push_text(&mut self.line, " ");
            let text = text_of(node);
            push_text(&mut self.line, &text);
            return;
        }
        match name.as_str() {
            "br" => self.line.push('\n'),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush();
                let title = one_line(&text_of(node));
                self.builder.heading(name.as_bytes()[1] - b'0', &title);
            }
            "pre" | "listing" | "xmp" => {
                self.flush();
                self.builder.block(BlockKind::Code, &raw_text(node));
            }
            "table" => self.table(node, depth),
            "ul" | "ol" | "menu" => self.list(node, depth),
            "dl" => self.definitions(node, depth),
            "blockquote" => self.within(node, depth, BlockKind::Quote),
            "nav" | "footer" if self.whole => self.within(node, depth, BlockKind::Furniture),
            "hr" => self.flush(),
            _ if is_block(&name) => {
                self.flush();
                self.children(node, depth + 1);
                self.flush();
            }
            _ => self.children(node, depth + 1),
        }
    }

    /// Writes a block element whose text is of another kind.
    fn within(&mut self, node: &NodeRef<'_>, depth: usize, kind: BlockKind) {
        self.flush();
        let outer = self.kind;
        if outer != BlockKind::Furniture {
            self.kind = kind;
        }
        self.children(node, depth + 1);
        self.flush();
        self.kind = outer;
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        let lines: Vec<&str> = line.split('\n').map(str::trim).collect();
        // Two line breaks in a row are how old pages part paragraphs.
        for paragraph in lines.split(|line| line.is_empty()) {
            if !paragraph.is_empty() {
                self.builder.block(self.kind, &paragraph.join("\n"));
            }
        }
    }

    fn table(&mut self, node: &NodeRef<'_>, depth: usize) {
        self.flush();
        match tables::rows(node) {
            Some(rows) => {
                if let Some(caption) = node.find(&["caption"]).first() {
                    self.builder.block(BlockKind::Paragraph, &one_line(&text_of(caption)));
                }
                if let Some(text) = table::markdown(&rows) {
                    self.builder.block(BlockKind::Table, &text);
                }
            }
            None => self.children(node, depth + 1),
        }
        self.flush();
    }

    fn list(&mut self, node: &NodeRef<'_>, depth: usize) {
        self.flush();
        if lists::has_blocks(node) {
            self.children(node, depth + 1);
        } else {
            let mut out = String::new();
            lists::lines(node, 0, self.max_depth.saturating_sub(depth), &mut out);
            let kind = if self.kind == BlockKind::Furniture { self.kind } else { BlockKind::List };
            self.builder.block(kind, &out);
        }
        self.flush();
    }

    fn definitions(&mut self, node: &NodeRef<'_>, depth: usize) {
        self.flush();
        if lists::has_blocks(node) {
            self.children(node, depth + 1);
        } else {
            self.builder.block(BlockKind::List, &lists::definitions(node));
        }
        self.flush();
    }
}

/// Local name of an element.
fn element_name(node: &NodeRef<'_>) -> Option<String> {
    node.element_ref().map(|element| element.name.local.to_string())
}

/// Elements whose text nobody reads.
fn is_skipped(name: &str) -> bool {
    matches!(
        name,
        "script"
            | "style"
            | "noscript"
            | "template"
            | "head"
            | "title"
            | "iframe"
            | "object"
            | "embed"
            | "svg"
            | "select"
            | "datalist"
            | "textarea"
            | "button"
            | "input"
            | "canvas"
            | "audio"
            | "video"
            | "map"
            | "annotation"
            | "annotation-xml"
            | "rp"
            | "rt"
            | "meta"
            | "link"
    )
}

fn is_hidden(node: &NodeRef<'_>) -> bool {
    let Some(element) = node.element_ref() else { return false };
    element.attrs.iter().any(|attr| match &*attr.name.local {
        "hidden" => true,
        "aria-hidden" => attr.value.trim().eq_ignore_ascii_case("true"),
        "style" => {
            let style: String = attr.value.chars().filter(|char| !char.is_whitespace()).collect();
            let style = style.to_ascii_lowercase();
            style.contains("display:none") || style.contains("visibility:hidden")
        }
        _ => false,
    })
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "dd"
            | "details"
            | "dialog"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "header"
            | "hgroup"
            | "html"
            | "legend"
            | "li"
            | "main"
            | "nav"
            | "ol"
            | "optgroup"
            | "option"
            | "p"
            | "pre"
            | "search"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "td"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "ul"
            | "menu"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "hr"
    )
}

/// Appends text with white space collapsed.
fn push_text(line: &mut String, text: &str) {
    for char in text.chars() {
        if !char.is_whitespace() {
            line.push(char);
        } else if !line.is_empty() && !line.ends_with([' ', '\n']) {
            line.push(' ');
        }
    }
}

/// Visible text below a node, without recursion; blocks are apart by a blank, line breaks stay.
fn text_of(root: &NodeRef<'_>) -> String {
    let mut out = String::new();
    each_below(root, |node, entering| {
        if node.is_text() {
            push_text(&mut out, &node.text());
            return true;
        }
        let Some(name) = element_name(node) else { return true };
        if entering && (is_skipped(&name) || is_hidden(node)) {
            return false;
        }
        if name == "br" && entering {
            out.push('\n');
        } else if is_block(&name) {
            push_text(&mut out, " ");
        }
        true
    });
    out.trim().to_owned()
}

/// Text below a node with its white space.
fn raw_text(root: &NodeRef<'_>) -> String {
    let mut out = String::new();
    each_below(root, |node, entering| {
        if node.is_text() {
            out.push_str(&node.text());
        } else if entering && node.has_name("br") {
            out.push('\n');
        }
        true
    });
    out
}

/// Visits everything below a node in document order: elements on entering and on leaving, text once. A visitor that
/// returns `false` on entering skips what is below.
fn each_below(root: &NodeRef<'_>, mut visit: impl FnMut(&NodeRef<'_>, bool) -> bool) {
    let mut next = root.first_child();
    while let Some(node) = next {
        next = if visit(&node, true) { node.first_child() } else { None };
        if next.is_some() {
            continue;
        }
        let mut at = node;
        next = loop {
            if at.is_element() {
                visit(&at, false);
            }
            if let Some(sibling) = at.next_sibling() {
                break Some(sibling);
            }
            match at.parent() {
                Some(parent) if parent.id != root.id => at = parent,
                _ => break None,
            }
        };
    }
}
