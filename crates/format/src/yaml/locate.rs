//! Finding a part of the tree by its path, with what an edit needs to know of its surroundings.

use flowbench_core::edit::{EditError, pointer_of};
use flowbench_core::reference::PathStep;
use serde_json::Value;

use super::emit::{Context, Manner};
use super::scalar::{Meaning, resolve_plain};
use super::tree::{Content, Entry, Layout, Node, Style, Tag, Tree};

/// Where a node sits in its parent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slot<'d> {
    Root,
    Entry { map: &'d Node, entries: &'d [Entry], index: usize },
    Item { list: &'d Node, index: usize },
}

/// A part of the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'d> {
    pub(crate) node: &'d Node,
    pub(crate) slot: Slot<'d>,
    /// Inside brackets or braces.
    pub(crate) context: Context,
    /// Just behind the colon or dash that leads to the node; where the document starts for the root. `None`
    /// where no colon is written.
    pub(crate) indicator_end: Option<usize>,
    /// No comment that belongs to the part starts before this byte.
    pub(crate) floor: usize,
}

/// Finds a part. What an alias or a merge key gives is [`EditError::Shared`].
pub(crate) fn find<'d>(tree: &'d Tree, path: &[PathStep]) -> Result<Found<'d>, EditError> {
    let no_part = |depth: usize| EditError::NoPart { pointer: pointer_of(&path[..depth]) };
    let root = tree.root.as_ref().ok_or_else(|| no_part(0))?;
    let mut found = Found {
        node: root,
        slot: Slot::Root,
        context: Context::Block,
        indicator_end: Some(tree.body_start),
        floor: tree.body_start,
    };
    for (depth, step) in path.iter().enumerate() {
        let outer = found.context;
        let inside = |layout: &Layout| {
            if *layout == Layout::Block && outer == Context::Block { Context::Block } else { Context::Flow }
        };
        let parent = found.node;
        found = match (&parent.content, step) {
            (Content::Alias(_), _) => {
                return Err(EditError::Shared { pointer: pointer_of(&path[..=depth]) });
            }
            (Content::Map { layout, entries }, PathStep::Key(key)) => {
                let position = entries.iter().position(|entry| {
                    key_text(&entry.key, tree.is_yaml_1_1).as_deref() == Some(key.as_str())
                        && !is_merge(entry)
                });
                let Some(index) = position else {
                    return Err(if entries.iter().any(is_merge) {
                        EditError::Shared { pointer: pointer_of(&path[..=depth]) }
                    } else {
                        no_part(depth + 1)
                    });
                };
                let entry = &entries[index];
                let floor = match index.checked_sub(1) {
                    Some(before) => entries[before].value.span.end,
                    None => found.indicator_end.unwrap_or(found.floor),
                };
                Found {
                    node: &entry.value,
                    slot: Slot::Entry { map: parent, entries, index },
                    context: inside(layout),
                    indicator_end: entry.colon,
                    floor,
                }
            }
            (Content::List { layout, items }, PathStep::Index(index)) => {
                let item = items.get(*index).ok_or_else(|| no_part(depth + 1))?;
                let floor = match index.checked_sub(1) {
                    Some(before) => items[before].node.span.end,
                    None => found.indicator_end.unwrap_or(found.floor),
                };
                Found {
                    node: &item.node,
                    slot: Slot::Item { list: parent, index: *index },
                    context: inside(layout),
                    indicator_end: Some(item.dash.map_or(item.node.start, |dash| dash + 1)),
                    floor,
                }
            }
            _ => return Err(no_part(depth + 1)),
        };
    }
    Ok(found)
}

pub(crate) fn is_merge(entry: &Entry) -> bool {
    entry.key.tag.is_none()
        && matches!(&entry.key.content, Content::Scalar { style: Style::Plain, text } if text == "<<")
}

/// A key as the value's key says it.
pub(crate) fn key_text(key: &Node, is_yaml_1_1: bool) -> Option<String> {
    let Content::Scalar { style, text } = &key.content else { return None };
    if !matches!(style, Style::Plain | Style::Empty) || matches!(key.tag, Some(Tag::Text | Tag::NonSpecific))
    {
        return Some(text.clone());
    }
    Some(match resolve_plain(text, is_yaml_1_1) {
        Meaning::Value(Value::Null) => "null".to_owned(),
        Meaning::Value(Value::Bool(flag)) => flag.to_string(),
        Meaning::Value(Value::Number(number)) => number.to_string(),
        _ => text.clone(),
    })
}

/// How the document is written, so that new parts look like their neighbours: the first nested map and the
/// first list in a map say it. Two blanks and none, as prompt flow writes, where there is no example.
pub(crate) fn manner_of(tree: &Tree) -> Manner {
    let mut indent = None;
    let mut list_indent = None;
    if let Some(root) = &tree.root {
        look(root, &mut indent, &mut list_indent);
    }
    Manner { indent: indent.unwrap_or(2), list_indent: list_indent.unwrap_or(0), is_careful: false }
}

fn look(node: &Node, indent: &mut Option<usize>, list_indent: &mut Option<usize>) {
    match &node.content {
        Content::Map { layout: Layout::Block, entries } => {
            for entry in entries {
                let inner = match &entry.value.content {
                    Content::Map { layout: Layout::Block, entries: inner } if indent.is_none() => {
                        inner.first().map(|first| (&mut *indent, first.key.place))
                    }
                    Content::List { layout: Layout::Block, .. } if list_indent.is_none() => {
                        Some((&mut *list_indent, entry.value.place))
                    }
                    _ => None,
                };
                if let Some((slot, (line, column))) = inner
                    && line > entry.key.place.0
                    && let Some(offset) = column.checked_sub(entry.key.place.1)
                {
                    *slot = Some((offset as usize).min(8));
                }
                if indent.is_some() && list_indent.is_some() {
                    return;
                }
                look(&entry.value, indent, list_indent);
            }
        }
        Content::List { layout: Layout::Block, items } => {
            for item in items {
                if indent.is_some() && list_indent.is_some() {
                    return;
                }
                look(&item.node, indent, list_indent);
            }
        }
        _ => {}
    }
}
