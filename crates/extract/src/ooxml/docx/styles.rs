//! Styles of paragraphs: which are headings, items, quotations or code.

use std::collections::HashMap;

use crate::document::BlockKind;
use crate::xml::{El, Tree};

/// Longest chain of styles that are based on each other; Word itself stops at ten.
const MAX_CHAIN: usize = 12;

#[derive(Default)]
struct Style {
    name: String,
    based_on: Option<String>,
    outline: Option<usize>,
    list: Option<String>,
    depth: Option<usize>,
}

/// All paragraph styles by id.
pub(super) struct Styles(HashMap<String, Style>);

impl Styles {
    pub fn new(tree: Option<&Tree>) -> Self {
        let mut styles = HashMap::new();
        for el in tree.into_iter().flat_map(|tree| tree.document().children()).filter(|el| el.is("style")) {
            let value = |name: &str| el.child(name).and_then(|el| el.attr("val")).map(str::to_owned);
            let properties = el.child("pPr");
            let (list, depth) = numbers(properties);
            let style = Style {
                name: value("name").unwrap_or_default().to_lowercase(),
                based_on: value("basedOn"),
                outline: outline(properties),
                list,
                depth,
            };
            if let Some(id) = el.attr("styleId") {
                styles.insert(id.to_owned(), style);
            }
        }
        Self(styles)
    }

    /// A style and those it is based on.
    fn chain(&self, style: Option<&str>) -> impl Iterator<Item = &Style> {
        let first = style.and_then(|id| self.0.get(id));
        std::iter::successors(first, |style| self.0.get(style.based_on.as_deref()?)).take(MAX_CHAIN)
    }

    /// Level of a heading: the paragraph's own outline level, the style's name, or the style's outline level.
    pub fn level(&self, style: Option<&str>, properties: Option<El<'_>>) -> Option<u8> {
        if let Some(outline) = outline(properties) {
            return level_of(outline);
        }
        for link in self.chain(style) {
            if let Some(level) = named_level(&link.name) {
                return Some(level);
            }
            if let Some(outline) = link.outline {
                return level_of(outline);
            }
        }
        // A document without its styles still names them by the usual ids.
        style.filter(|id| !self.0.contains_key(*id)).and_then(|id| named_level(&id.to_lowercase()))
    }

    /// List and depth of an item.
    pub fn item(&self, style: Option<&str>, properties: Option<El<'_>>) -> Option<(String, usize)> {
        let (own, own_depth) = numbers(properties);
        let styled =
            || self.chain(style).find_map(|style| style.list.clone().map(|list| (list, style.depth)));
        let (list, depth) = match own {
            Some(list) => (list, own_depth),
            None => {
                let (list, depth) = styled()?;
                (list, own_depth.or(depth))
            }
        };
        (list != "0").then(|| (list, depth.unwrap_or(0)))
    }

    /// Kind of a paragraph that is neither heading nor item.
    pub fn kind(&self, style: Option<&str>) -> BlockKind {
        let name = self.chain(style).next().map_or("", |style| style.name.as_str());
        match name {
            "quote" | "intense quote" | "block text" => BlockKind::Quote,
            "html preformatted" | "macro" | "plain text" | "source code" | "code" => BlockKind::Code,
            _ => BlockKind::Paragraph,
        }
    }
}

fn outline(properties: Option<El<'_>>) -> Option<usize> {
    properties?.child("outlineLvl")?.attr("val")?.parse().ok()
}

/// Nine is body text.
fn level_of(outline: usize) -> Option<u8> {
    u8::try_from(outline + 1).ok().filter(|level| *level <= 9)
}

fn named_level(name: &str) -> Option<u8> {
    if name == "title" {
        return Some(1);
    }
    let number = name.strip_prefix("heading")?.trim();
    number.parse().ok().filter(|level| (1..=9).contains(level))
}

fn numbers(properties: Option<El<'_>>) -> (Option<String>, Option<usize>) {
    let numbers = properties.and_then(|it| it.child("numPr"));
    let value = |name: &str| numbers.and_then(|it| it.child(name)).and_then(|it| it.attr("val"));
    (value("numId").map(str::to_owned), value("ilvl").and_then(|depth| depth.parse().ok()))
}
