//! From the tree to a JSON value and the places of its parts.

use std::collections::{HashMap, HashSet};

use flowbench_core::finding::Finding;
use flowbench_core::flow::{Places, pointer_key};
use serde_json::{Map, Value};

use super::scalar::{Meaning, resolve_plain};
use super::text::Text;
use super::tree::{Content, Entry, Node, Style, Tag, Tree};
use super::{MAX_EXPANDED_BYTES, MAX_PLACES_BYTES};

/// Converts a tree. What JSON cannot say becomes a finding.
pub(crate) fn read(tree: &Tree, text: &Text<'_>, findings: &mut Vec<Finding>, places: &mut Places) -> Value {
    let mut reader = Reader {
        text,
        findings,
        places,
        anchors: HashMap::new(),
        aliases: &tree.aliases,
        is_yaml_1_1: tree.is_yaml_1_1,
        expanded: 0,
        places_bytes: 0,
        is_bomb: false,
    };
    match &tree.root {
        Some(root) => {
            reader.note("", root.place);
            reader.value(root, "")
        }
        None => Value::Null,
    }
}

struct Reader<'r, 't> {
    text: &'r Text<'t>,
    findings: &'r mut Vec<Finding>,
    places: &'r mut Places,
    /// Value and size of every anchor read so far.
    anchors: HashMap<usize, (Value, usize)>,
    /// Anchors that are used; the others need not be kept.
    aliases: &'r HashSet<usize>,
    is_yaml_1_1: bool,
    expanded: usize,
    places_bytes: usize,
    is_bomb: bool,
}

impl Reader<'_, '_> {
    /// Notes a place. Long keys over many parts would take memory without end: past the bound only the part
    /// above is known.
    fn note(&mut self, pointer: &str, place: (u32, u32)) {
        self.places_bytes += pointer.len() + 64;
        if self.places_bytes <= MAX_PLACES_BYTES {
            self.places.by_pointer.insert(pointer.to_owned(), place);
        }
    }

    fn warn(&mut self, rule: &str, place: (u32, u32), message: String, suggestion: &str) {
        self.findings.push(
            Finding::warning(rule, message).at(self.text.place_at(place.0, place.1)).suggest(suggestion),
        );
    }

    fn value(&mut self, node: &Node, pointer: &str) -> Value {
        let value = match &node.content {
            Content::Alias(id) => self.alias(*id, node.place),
            Content::Scalar { style, text } => self.scalar(*style, text, node),
            Content::List { items, .. } => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{pointer}/{index}");
                    self.note(&at, item.node.place);
                    list.push(self.value(&item.node, &at));
                }
                Value::Array(list)
            }
            Content::Map { entries, .. } => Value::Object(self.map(entries, pointer)),
        };
        if let Some(Tag::Other(tag)) = &node.tag {
            self.warn(
                "yaml-tag",
                node.place,
                format!("tag `{tag}` has no meaning here and is ignored"),
                "remove it",
            );
        }
        if self.aliases.contains(&node.anchor) {
            let size = size_of(&value);
            // Anchors inside anchors would be copied once a level.
            let kept = if self.expand(size, node.place) { value.clone() } else { Value::Null };
            self.anchors.insert(node.anchor, (kept, size));
        }
        value
    }

    /// Counts copied bytes; false once there are too many.
    fn expand(&mut self, size: usize, place: (u32, u32)) -> bool {
        self.expanded = self.expanded.saturating_add(size);
        if self.expanded <= MAX_EXPANDED_BYTES {
            return true;
        }
        if !self.is_bomb {
            self.is_bomb = true;
            self.findings.push(
                Finding::error(
                    "yaml-alias-bomb",
                    format!("aliases stand for more than {} MiB of values", MAX_EXPANDED_BYTES >> 20),
                )
                .at(self.text.place_at(place.0, place.1))
                .suggest("write the values out, or move data into a file of rows"),
            );
        }
        false
    }

    fn alias(&mut self, id: usize, place: (u32, u32)) -> Value {
        let Some(size) = self.anchors.get(&id).map(|(_, size)| *size) else {
            self.findings.push(
                Finding::error("yaml-recursive-alias", "an alias stands inside the part it stands for")
                    .at(self.text.place_at(place.0, place.1))
                    .suggest("write the value out"),
            );
            return Value::Null;
        };
        if !self.expand(size, place) {
            return Value::Null;
        }
        self.anchors.get(&id).map_or(Value::Null, |(value, _)| value.clone())
    }

    fn scalar(&mut self, style: Style, text: &str, node: &Node) -> Value {
        let plain = matches!(style, Style::Plain | Style::Empty);
        match &node.tag {
            Some(Tag::Text | Tag::NonSpecific) => return Value::String(text.to_owned()),
            Some(Tag::Null) => return Value::Null,
            Some(Tag::Float) => {
                if let Ok(number) = text.replace('_', "").parse::<f64>()
                    && let Some(number) = serde_json::Number::from_f64(number)
                {
                    return Value::Number(number);
                }
            }
            Some(Tag::Int | Tag::Bool) => {}
            Some(_) | None if !plain => return Value::String(text.to_owned()),
            Some(_) | None => {}
        }
        match resolve_plain(text, self.is_yaml_1_1) {
            Meaning::Value(value) => value,
            Meaning::Merge => Value::String(text.to_owned()),
            Meaning::BeyondJson => {
                self.warn(
                    "yaml-number-range",
                    node.place,
                    format!(
                        "number `{}` is beyond what can be passed on, and is taken as text",
                        shorten(text)
                    ),
                    "write a number of at most 64 bits, or quote the text",
                );
                Value::String(text.to_owned())
            }
        }
    }

    fn map(&mut self, entries: &[Entry], pointer: &str) -> Map<String, Value> {
        let mut map = Map::with_capacity(entries.len());
        let mut first_places: HashMap<String, (u32, u32)> = HashMap::new();
        let mut merged: Vec<Map<String, Value>> = Vec::new();
        for entry in entries {
            let is_merge = matches!(
                &entry.key.content,
                Content::Scalar { style: Style::Plain, text } if text == "<<"
            ) && entry.key.tag.is_none();
            if is_merge {
                let at = format!("{pointer}/<<");
                let value = self.value(&entry.value, &at);
                self.merge(value, entry.value.place, &mut merged);
                continue;
            }
            let Some(key) = self.key(&entry.key) else { continue };
            if let Some(first) = first_places.get(&key) {
                let message = format!("key `{}` is written twice, first in line {}", shorten(&key), first.0);
                let place = entry.key.place;
                self.findings.push(
                    Finding::error("yaml-duplicate-key", message)
                        .at(self.text.place_at(place.0, place.1))
                        .suggest("remove or rename one of the two; the first is used"),
                );
                continue;
            }
            first_places.insert(key.clone(), entry.key.place);
            let at = format!("{pointer}/{}", pointer_key(&key));
            let is_written_scalar = matches!(
                &entry.value.content,
                Content::Scalar { style, .. } if *style != Style::Empty
            );
            self.note(&at, if is_written_scalar { entry.value.place } else { entry.key.place });
            let value = self.value(&entry.value, &at);
            map.insert(key, value);
        }
        // Written keys win over merged ones, earlier merged ones over later.
        for source in merged {
            for (key, value) in source {
                map.entry(key).or_insert(value);
            }
        }
        map
    }

    fn merge(&mut self, value: Value, place: (u32, u32), merged: &mut Vec<Map<String, Value>>) {
        let sources = match value {
            Value::Array(items) => items,
            other => vec![other],
        };
        for source in sources {
            match source {
                Value::Object(map) => merged.push(map),
                _ => self.findings.push(
                    Finding::error("yaml-merge", "`<<` merges maps, and this is none")
                        .at(self.text.place_at(place.0, place.1))
                        .suggest("write `<<: *NAME` for a map that is anchored with `&NAME`"),
                ),
            }
        }
    }

    /// A key as JSON writes it: numbers, truth values and null as text.
    fn key(&mut self, node: &Node) -> Option<String> {
        let value = match &node.content {
            Content::Scalar { style, text } => self.scalar(*style, text, node),
            Content::Alias(id) => self.alias(*id, node.place),
            Content::List { .. } | Content::Map { .. } => Value::Array(Vec::new()),
        };
        match value {
            Value::String(text) => Some(text),
            Value::Null => Some("null".to_owned()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Array(_) | Value::Object(_) => {
                self.findings.push(
                    Finding::error("yaml-key", "a list or map cannot be a key")
                        .at(self.text.place_at(node.place.0, node.place.1))
                        .suggest("use text as the key"),
                );
                None
            }
        }
    }
}

/// About how much memory a value takes.
fn size_of(value: &Value) -> usize {
    let own = size_of_val(value);
    match value {
        Value::String(text) => own + text.len(),
        Value::Array(items) => own + items.iter().map(size_of).sum::<usize>(),
        Value::Object(map) => {
            own + map.iter().map(|(key, value)| key.len() + 48 + size_of(value)).sum::<usize>()
        }
        _ => own,
    }
}

/// The first characters of a user's text, for a message.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    let short: String = text.chars().take(59).collect();
    format!("{short}…")
}
