//! XML of office documents and e-books as a tree whose depth and size are bounded. Entities that a document defines
//! are left out, so that none expands; names are kept without their prefix.

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::decode;
use crate::document::Limits;
use crate::error::ExtractError;

/// Most nodes of one part: about ten times the largest book that we met, 700 MB of memory at most.
const MAX_NODES: usize = 8_000_000;
/// No node.
const NONE: u32 = u32::MAX;

/// A tree of elements and texts.
pub(crate) struct Tree {
    nodes: Vec<Node>,
    attributes: Vec<(u32, Box<str>)>,
    names: Vec<Box<str>>,
    /// Where and why reading stopped early.
    pub problem: Option<String>,
}

struct Node {
    /// Name of an element; [`NONE`] for a text.
    name: u32,
    first_child: u32,
    next: u32,
    parent: u32,
    attributes: (u32, u32),
    text: Box<str>,
}

/// An element or a text in a [`Tree`].
#[derive(Clone, Copy)]
pub(crate) struct El<'t> {
    tree: &'t Tree,
    at: u32,
}

impl Tree {
    /// Reads a part. What comes before a broken place is kept, with the [`problem`](Self::problem) told; a part
    /// without any element is damaged.
    pub fn parse(bytes: &[u8], part: &str, limits: &Limits) -> Result<Self, ExtractError> {
        let damaged = |reason: &str| ExtractError::Damaged { reason: format!("its part `{part}` {reason}") };
        let declared = declared_encoding(bytes);
        let text = decode::decode(bytes, declared.as_deref()).ok_or_else(|| damaged("is no XML"))?.text;
        let mut growing = Growing::new();
        let mut reader = Reader::from_str(&text);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        let mut problem = None;
        loop {
            match reader.read_event() {
                Ok(Event::Eof) => break,
                Ok(event) => growing.take(event),
                Err(error) => {
                    problem =
                        Some(format!("`{part}` is broken at byte {} ({error})", reader.error_position()));
                    break;
                }
            }
            if growing.path.len() > limits.max_depth {
                return Err(ExtractError::TooLarge {
                    what: format!("the nesting of its part `{part}`"),
                    limit: format!("{} levels", limits.max_depth),
                });
            }
            if growing.tree.nodes.len() > MAX_NODES {
                return Err(ExtractError::TooLarge {
                    what: format!("the number of elements in its part `{part}`"),
                    limit: MAX_NODES.to_string(),
                });
            }
        }
        let mut tree = growing.tree;
        if tree.root().children().next().is_none() {
            return Err(damaged("is no XML"));
        }
        tree.problem = problem;
        Ok(tree)
    }

    /// The node above the document's element.
    pub fn root(&self) -> El<'_> {
        El { tree: self, at: 0 }
    }

    /// The document's element.
    pub fn document(&self) -> El<'_> {
        self.root().children().next().unwrap_or(self.root())
    }
}

struct Growing {
    tree: Tree,
    known: HashMap<Box<str>, u32>,
    /// Open elements with their last child.
    path: Vec<(u32, u32)>,
}

impl Growing {
    fn new() -> Self {
        let tree = Tree { nodes: Vec::new(), attributes: Vec::new(), names: Vec::new(), problem: None };
        let mut growing = Self { tree, known: HashMap::new(), path: Vec::new() };
        let name = growing.intern("");
        growing.tree.nodes.push(Node {
            name,
            first_child: NONE,
            next: NONE,
            parent: NONE,
            attributes: (0, 0),
            text: "".into(),
        });
        growing.path.push((0, NONE));
        growing
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(start) => {
                let at = self.element(&start);
                self.path.push((at, NONE));
            }
            Event::Empty(start) => {
                self.element(&start);
            }
            Event::End(_) if self.path.len() > 1 => {
                self.path.pop();
            }
            Event::Text(text) => self.text(&text.into_inner()),
            Event::CData(data) => self.text(&data.into_inner()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(char)) => self.text(char.encode_utf8(&mut [0; 4])),
                _ => {
                    let name = reference.into_inner();
                    let known = match &*name {
                        "nbsp" => Some(" "),
                        name => quick_xml::escape::resolve_predefined_entity(name),
                    };
                    self.text(known.unwrap_or_default());
                }
            },
            _ => {}
        }
    }

    fn element(&mut self, start: &BytesStart<'_>) -> u32 {
        let name = self.intern(start.local_name().as_ref());
        let from = self.tree.attributes.len();
        for attribute in start.attributes().with_checks(false).flatten() {
            let key = attribute.key.local_name();
            // Word writes up to five revision marks on every run, and nobody reads them.
            if key.as_ref().starts_with("rsid") {
                continue;
            }
            let key = self.intern(key.as_ref());
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.unwrap_or(attribute.value);
            self.tree.attributes.push((key, value.into()));
        }
        let attributes = (small(from), small(self.tree.attributes.len()));
        self.push(Node { name, first_child: NONE, next: NONE, parent: NONE, attributes, text: "".into() })
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() || self.path.len() < 2 {
            return;
        }
        let last = self.path.last().map_or(NONE, |(_, last)| *last);
        if let Some(node) = self.tree.nodes.get_mut(last as usize).filter(|node| node.name == NONE) {
            let mut joined = String::from(std::mem::take(&mut node.text));
            joined.push_str(text);
            node.text = joined.into();
            return;
        }
        // Indentation between elements.
        if text.contains('\n') && text.trim().is_empty() {
            return;
        }
        self.push(Node {
            name: NONE,
            first_child: NONE,
            next: NONE,
            parent: NONE,
            attributes: (0, 0),
            text: text.into(),
        });
    }

    fn push(&mut self, mut node: Node) -> u32 {
        let at = small(self.tree.nodes.len());
        let Some((parent, last)) = self.path.last_mut() else { return at };
        node.parent = *parent;
        let before = std::mem::replace(last, at);
        let parent = *parent as usize;
        match self.tree.nodes.get_mut(before as usize) {
            Some(before) => before.next = at,
            None => self.tree.nodes[parent].first_child = at,
        }
        self.tree.nodes.push(node);
        at
    }

    fn intern(&mut self, name: &str) -> u32 {
        if let Some(at) = self.known.get(name) {
            return *at;
        }
        let at = small(self.tree.names.len());
        self.tree.names.push(name.into());
        self.known.insert(name.into(), at);
        at
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}

impl<'t> El<'t> {
    fn node(self) -> &'t Node {
        &self.tree.nodes[self.at as usize]
    }

    fn link(self, at: u32) -> Option<Self> {
        (at != NONE).then_some(Self { tree: self.tree, at })
    }

    /// Local name of an element; empty for a text.
    pub fn name(self) -> &'t str {
        self.tree.names.get(self.node().name as usize).map_or("", |name| name)
    }

    /// Whether it is an element of this name.
    pub fn is(self, name: &str) -> bool {
        self.name() == name
    }

    /// Its characters, when it is a text.
    pub fn as_text(self) -> Option<&'t str> {
        (self.node().name == NONE).then_some(&*self.node().text)
    }

    /// Value of an attribute by local name.
    pub fn attr(self, name: &str) -> Option<&'t str> {
        let (from, to) = self.node().attributes;
        let attributes = &self.tree.attributes[from as usize..to as usize];
        attributes.iter().find(|(key, _)| *self.tree.names[*key as usize] == *name).map(|(_, value)| &**value)
    }

    /// Values of all attributes of a local name, which may stand in several name spaces.
    pub fn attrs(self, name: &str) -> impl Iterator<Item = &'t str> {
        let (from, to) = self.node().attributes;
        let attributes = &self.tree.attributes[from as usize..to as usize];
        let of_name = move |key: u32| *self.tree.names[key as usize] == *name;
        attributes.iter().filter(move |(key, _)| of_name(*key)).map(|(_, value)| &**value)
    }

    /// Elements and texts in it.
    pub fn content(self) -> impl Iterator<Item = El<'t>> {
        std::iter::successors(self.link(self.node().first_child), |el| el.link(el.node().next))
    }

    /// Elements in it.
    pub fn children(self) -> impl Iterator<Item = El<'t>> {
        self.content().filter(|el| el.node().name != NONE)
    }

    /// First element of a name in it.
    pub fn child(self, name: &str) -> Option<El<'t>> {
        self.children().find(|el| el.is(name))
    }

    /// Element reached by names.
    pub fn path(self, names: &[&str]) -> Option<El<'t>> {
        names.iter().try_fold(self, |el, name| el.child(name))
    }

    /// Everything below it in document order.
    pub fn below(self) -> impl Iterator<Item = El<'t>> {
        let root = self.at;
        std::iter::successors(self.link(self.node().first_child), move |el| {
            if let Some(child) = el.link(el.node().first_child) {
                return Some(child);
            }
            let mut at = *el;
            loop {
                if at.at == root {
                    return None;
                }
                if let Some(next) = at.link(at.node().next) {
                    return Some(next);
                }
                at = at.link(at.node().parent)?;
            }
        })
    }

    /// Elements of a name below it.
    pub fn all(self, name: &'t str) -> impl Iterator<Item = El<'t>> {
        self.below().filter(move |el| el.is(name))
    }

    /// All characters below it.
    pub fn text(self) -> String {
        self.below().filter_map(El::as_text).collect()
    }
}

/// The encoding that an XML declaration names.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let declaration =
        start.trim_start_matches('\u{feff}').strip_prefix("<?xml")?.split("?>").next()?.to_owned();
    let value = declaration.split("encoding").nth(1)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tree, ExtractError> {
        Tree::parse(text.as_bytes(), "a.xml", &Limits::default())
    }

    #[test]
    fn a_tree_is_read() {
        let tree =
            parse("<?xml version='1.0'?><w:a x:id='1 &amp; 2'><b>t &lt; &#x41;<![CDATA[<c>]]></b><d/></w:a>")
                .unwrap();
        let a = tree.document();
        assert_eq!((a.name(), a.attr("id")), ("a", Some("1 & 2")));
        assert_eq!(a.text(), "t < A<c>");
        assert_eq!(a.below().map(|el| el.name()).collect::<Vec<_>>(), ["b", "", "d"]);
    }

    #[test]
    fn entities_do_not_expand() {
        let tree = parse("<!DOCTYPE a [<!ENTITY b 'x'><!ENTITY c '&b;&b;&b;'>]><a>1&c;2</a>").unwrap();
        assert_eq!(tree.document().text(), "12");
    }

    #[test]
    fn depth_is_bounded() {
        let text = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        assert!(matches!(parse(&text), Err(ExtractError::TooLarge { .. })));
    }

    #[test]
    fn what_comes_before_a_broken_place_is_kept() {
        let tree = parse("<a><b>one</b><b>two</b><b").unwrap();
        assert_eq!(tree.document().text(), "onetwo");
        assert!(tree.problem.unwrap().contains("a.xml"));
        assert!(matches!(parse("no xml at all"), Err(ExtractError::Damaged { .. })));
    }
}
