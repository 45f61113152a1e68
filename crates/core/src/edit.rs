//! Edit operations on a flow's document: what a user does, and what that means for the document's value.
//!
//! An [`EditOperation`] is lowered to [`EditStep`]s against the document as it is ([`EditOperation::steps`]);
//! a step changes one part, named by its path. [`EditStep::apply`] says what a step means for the value. How the
//! text changes with it is the business of whoever holds the text; that the text then says the same value can
//! be checked against this model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::flow::{list_known, pointer_key, shape};
use crate::reference::{PathStep, Reference, parse_reference, write_reference};

/// Path to a part of the document: keys of maps and indexes of lists.
pub type Path = Vec<PathStep>;

/// Something a user does to a flow's document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum EditOperation {
    /// Adds a node; its `name` must be new. At the end unless a position is given.
    AddNode {
        /// The node's body, `name` included.
        node: Map<String, Value>,
        /// Index in the list of nodes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<usize>,
    },
    /// Removes a node and its variants. References to it stay, and are found by checking.
    RemoveNode {
        /// Which.
        name: String,
    },
    /// Renames a node: its name, the key of its variants, and every reference to it.
    RenameNode {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// Copies a node, and its variants, behind itself.
    DuplicateNode {
        /// Which.
        name: String,
        /// Name of the copy.
        copy: String,
    },
    /// Moves a node in the list.
    MoveNode {
        /// Which.
        name: String,
        /// Its index afterwards.
        position: usize,
    },
    /// Sets a key of a node, or of one of its variants; missing maps on the way are made.
    SetNodeKey {
        /// Which node.
        node: String,
        /// Its variant, if not the node itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<String>,
        /// Path within the body.
        path: Path,
        /// New value.
        value: Value,
    },
    /// Removes a key of a node or of one of its variants.
    RemoveNodeKey {
        /// Which node.
        node: String,
        /// Its variant, if not the node itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<String>,
        /// Path within the body.
        path: Path,
    },
    /// Sets an input of a node to a literal or to a reference's text.
    SetNodeInput {
        /// Which node.
        node: String,
        /// Its variant, if not the node itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<String>,
        /// Input name.
        input: String,
        /// New value.
        value: Value,
    },
    /// Removes an input of a node.
    RemoveNodeInput {
        /// Which node.
        node: String,
        /// Its variant, if not the node itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<String>,
        /// Input name.
        input: String,
    },
    /// Draws an edge: the input takes the reference.
    Connect {
        /// Which node.
        node: String,
        /// Its variant, if not the node itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<String>,
        /// Input name.
        input: String,
        /// Where the value comes from.
        source: Reference,
    },
    /// Removes an edge: the input goes if it holds a reference.
    Disconnect {
        /// Which node.
        node: String,
        /// Its variant, if not the node itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<String>,
        /// Input name.
        input: String,
    },
    /// Adds an input of the flow.
    AddInput {
        /// New name.
        name: String,
        /// Its body: `type`, `default` and so on.
        definition: Map<String, Value>,
    },
    /// Removes an input of the flow.
    RemoveInput {
        /// Which.
        name: String,
    },
    /// Renames an input of the flow and every reference to it.
    RenameInput {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// Sets a key of an input (`type`, `default`, …).
    SetInputKey {
        /// Which input.
        name: String,
        /// Which key.
        key: String,
        /// New value.
        value: Value,
    },
    /// Adds an output of the flow.
    AddOutput {
        /// New name.
        name: String,
        /// Its body: `type`, `reference` and so on.
        definition: Map<String, Value>,
    },
    /// Removes an output of the flow.
    RemoveOutput {
        /// Which.
        name: String,
    },
    /// Renames an output of the flow.
    RenameOutput {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// Sets a key of an output (`type`, `reference`, …).
    SetOutputKey {
        /// Which output.
        name: String,
        /// Which key.
        key: String,
        /// New value.
        value: Value,
    },
    /// Adds a variant of a node; the first becomes the default.
    AddVariant {
        /// Which node.
        node: String,
        /// Id of the variant.
        id: String,
        /// The node's body in this variant, without `name`.
        body: Map<String, Value>,
    },
    /// Removes a variant.
    RemoveVariant {
        /// Which node.
        node: String,
        /// Which variant.
        id: String,
    },
    /// Renames a variant, the default included if it is that one.
    RenameVariant {
        /// Which node.
        node: String,
        /// Old id.
        from: String,
        /// New id.
        to: String,
    },
    /// Chooses the default variant.
    SetDefaultVariant {
        /// Which node.
        node: String,
        /// Which variant.
        id: String,
    },
    /// Sets any part of the document; missing maps on the way are made.
    SetKey {
        /// Path from the top.
        path: Path,
        /// New value.
        value: Value,
    },
    /// Removes any part of the document.
    RemoveKey {
        /// Path from the top.
        path: Path,
    },
    /// Sets or removes the comment lines directly above a part.
    SetComment {
        /// Path of the part.
        path: Path,
        /// Comment text without `#`, one line or more; `None` removes it.
        comment: Option<String>,
    },
    /// Replaces text as it stands: what undo and redo are made of.
    ReplaceText {
        /// Made in this order; each one's bytes count after those before it.
        changes: Vec<TextChange>,
    },
}

/// One replaced piece of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextChange {
    /// Byte where it starts.
    pub start: usize,
    /// The text that stood there.
    pub removed: String,
    /// The text that stands there now.
    pub inserted: String,
}

impl TextChange {
    /// The change that takes this one back.
    pub fn inverse(&self) -> Self {
        Self { start: self.start, removed: self.inserted.clone(), inserted: self.removed.clone() }
    }
}

/// An edit that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// In this order; each one's bytes count after those before it. Empty if nothing changed.
    pub changes: Vec<TextChange>,
    /// The operation that gives the bytes of before.
    pub inverse: EditOperation,
}

impl Applied {
    /// An edit made of these changes.
    pub fn new(changes: Vec<TextChange>) -> Self {
        let inverse = changes.iter().rev().map(TextChange::inverse).collect();
        Self { changes, inverse: EditOperation::ReplaceText { changes: inverse } }
    }
}

/// An edit that cannot be made. The document is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// No such node, input, output or variant.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// `node`, `flow input`, …
        what: &'static str,
        /// As asked for.
        name: String,
        /// A sentence with the names that there are.
        known: String,
    },
    /// The new name is in use.
    #[error("{what} `{name}` is already there")]
    NameTaken {
        /// `node`, `flow input`, …
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The new name cannot be referred to.
    #[error("`{name}` cannot be the name of a {what}: {reason}")]
    BadName {
        /// `node`, `flow input`, …
        what: &'static str,
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The path leads nowhere.
    #[error("there is nothing at `{pointer}`")]
    NoPart {
        /// JSON pointer.
        pointer: String,
    },
    /// A part has another shape than the edit needs.
    #[error("`{pointer}` must be {expected} for this edit, and is {found}")]
    WrongShape {
        /// JSON pointer.
        pointer: String,
        /// `a map` or `a list`.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The text has errors; a part of it may mean something else than it seems.
    #[error("the file has YAML errors, and is not edited until they are repaired")]
    BrokenText,
    /// The part comes from a merge key and stands in several places.
    #[error("`{pointer}` comes from an alias or a merge key, and changing it would change other parts")]
    Shared {
        /// JSON pointer.
        pointer: String,
    },
    /// The text is not the one the change was made for.
    #[error("the text has changed since: other text than expected at byte {at}")]
    Stale {
        /// Byte.
        at: usize,
    },
    /// The text cannot be changed in this way without touching other parts.
    #[error("the text at `{pointer}` is written in a way that this edit cannot change")]
    NotPossible {
        /// JSON pointer.
        pointer: String,
    },
}

impl EditError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { known, .. } => known.clone(),
            Self::NameTaken { .. } => "choose another name".to_owned(),
            Self::BadName { .. } => "use letters, digits, `_` and `-`".to_owned(),
            Self::NoPart { .. } => "check the path, or reload the document".to_owned(),
            Self::WrongShape { .. } => "repair that part in the text first".to_owned(),
            Self::BrokenText => "repair what `check` finds in the text".to_owned(),
            Self::Shared { .. } => "edit the anchored part in the text".to_owned(),
            Self::Stale { .. } => "reload the document and edit again".to_owned(),
            Self::NotPossible { .. } => "edit it in the text".to_owned(),
        }
    }
}

/// One change to one part. `path` names the part, `list` a list.
#[derive(Clone, Debug, PartialEq)]
pub enum EditStep {
    /// Sets a part; missing maps on the way are made, a new key comes last.
    Set {
        /// The part.
        path: Path,
        /// New value.
        value: Value,
    },
    /// Puts an item into a list; the list is made if it is missing.
    Insert {
        /// The list.
        list: Path,
        /// Index afterwards.
        index: usize,
        /// The item.
        value: Value,
    },
    /// Copies an item of a list behind itself.
    Copy {
        /// The list.
        list: Path,
        /// Index of the original.
        index: usize,
    },
    /// Takes a part away.
    Remove {
        /// The part.
        path: Path,
    },
    /// Renames the key of a part; order stays.
    RenameKey {
        /// The part, by its old key.
        path: Path,
        /// The new key.
        to: String,
    },
    /// Moves an item of a list.
    Move {
        /// The list.
        list: Path,
        /// Index before.
        from: usize,
        /// Index afterwards.
        to: usize,
    },
    /// Sets the comment above a part; the value stays.
    Comment {
        /// The part.
        path: Path,
        /// Text without `#`, or none.
        comment: Option<String>,
    },
}

/// A path as a JSON pointer.
pub fn pointer_of(path: &[PathStep]) -> String {
    let mut out = String::new();
    for step in path {
        out.push('/');
        match step {
            PathStep::Index(index) => out.push_str(&index.to_string()),
            PathStep::Key(key) => out.push_str(&pointer_key(key)),
        }
    }
    out
}

/// The part at a path.
pub fn part<'v>(document: &'v Value, path: &[PathStep]) -> Option<&'v Value> {
    path.iter().try_fold(document, |value, step| match (step, value) {
        (PathStep::Index(index), Value::Array(items)) => items.get(*index),
        (PathStep::Key(key), Value::Object(map)) => map.get(key),
        _ => None,
    })
}

fn part_mut<'v>(document: &'v mut Value, path: &[PathStep]) -> Option<&'v mut Value> {
    path.iter().try_fold(document, |value, step| match (step, value) {
        (PathStep::Index(index), Value::Array(items)) => items.get_mut(*index),
        (PathStep::Key(key), Value::Object(map)) => map.get_mut(key),
        _ => None,
    })
}

fn no_part(path: &[PathStep]) -> EditError {
    EditError::NoPart { pointer: pointer_of(path) }
}

fn list_at<'v>(document: &'v mut Value, path: &[PathStep]) -> Result<&'v mut Vec<Value>, EditError> {
    match part_mut(document, path) {
        Some(Value::Array(items)) => Ok(items),
        Some(other) => {
            Err(EditError::WrongShape { pointer: pointer_of(path), expected: "a list", found: shape(other) })
        }
        None => Err(no_part(path)),
    }
}

impl EditStep {
    /// What the step means for the document's value. On an error the value may be half changed: work on a copy.
    pub fn apply(&self, document: &mut Value) -> Result<(), EditError> {
        match self {
            Self::Set { path, value } => set(document, path, value.clone()),
            Self::Insert { list, index, value } => {
                if part(document, list).is_none_or(Value::is_null) {
                    set(document, list, Value::Array(Vec::new()))?;
                }
                let items = list_at(document, list)?;
                if *index > items.len() {
                    return Err(no_part(&child(list, PathStep::Index(*index))));
                }
                items.insert(*index, value.clone());
                Ok(())
            }
            Self::Copy { list, index } => {
                let items = list_at(document, list)?;
                let Some(item) = items.get(*index).cloned() else {
                    return Err(no_part(&child(list, PathStep::Index(*index))));
                };
                items.insert(index + 1, item);
                Ok(())
            }
            Self::Remove { path } => {
                let Some((last, parent)) = path.split_last() else { return Err(no_part(path)) };
                match (part_mut(document, parent), last) {
                    (Some(Value::Object(map)), PathStep::Key(key)) => {
                        map.shift_remove(key).map(drop).ok_or_else(|| no_part(path))
                    }
                    (Some(Value::Array(items)), PathStep::Index(index)) if *index < items.len() => {
                        items.remove(*index);
                        Ok(())
                    }
                    _ => Err(no_part(path)),
                }
            }
            Self::RenameKey { path, to } => {
                let Some((PathStep::Key(from), parent)) = path.split_last() else {
                    return Err(no_part(path));
                };
                let Some(Value::Object(map)) = part_mut(document, parent) else { return Err(no_part(path)) };
                if !map.contains_key(from) {
                    return Err(no_part(path));
                }
                if from != to && map.contains_key(to) {
                    return Err(EditError::NameTaken { what: "key", name: to.clone() });
                }
                let old = std::mem::take(map);
                for (key, value) in old {
                    map.insert(if key == *from { to.clone() } else { key }, value);
                }
                Ok(())
            }
            Self::Move { list, from, to } => {
                let items = list_at(document, list)?;
                for index in [from, to] {
                    if *index >= items.len() {
                        return Err(no_part(&child(list, PathStep::Index(*index))));
                    }
                }
                let item = items.remove(*from);
                items.insert(*to, item);
                Ok(())
            }
            Self::Comment { path, .. } => part(document, path).map(drop).ok_or_else(|| no_part(path)),
        }
    }
}

fn child(path: &[PathStep], step: PathStep) -> Path {
    let mut path = path.to_vec();
    path.push(step);
    path
}

fn set(document: &mut Value, path: &[PathStep], value: Value) -> Result<(), EditError> {
    let mut at = document;
    for (depth, step) in path.iter().enumerate() {
        // Nothing written means an empty map to whoever adds the first key.
        if at.is_null() && matches!(step, PathStep::Key(_)) {
            *at = Value::Object(Map::new());
        }
        let found = shape(at);
        let refused = match step {
            PathStep::Key(_) if !at.is_object() => Some("a map"),
            PathStep::Index(_) if !at.is_array() && !at.is_null() => Some("a list"),
            _ => None,
        };
        if let Some(expected) = refused {
            return Err(EditError::WrongShape { pointer: pointer_of(&path[..depth]), expected, found });
        }
        at = match (step, at) {
            (PathStep::Key(key), Value::Object(map)) => map.entry(key.clone()).or_insert(Value::Null),
            (PathStep::Index(index), Value::Array(items)) => {
                items.get_mut(*index).ok_or_else(|| no_part(&path[..=depth]))?
            }
            _ => return Err(no_part(&path[..=depth])),
        };
    }
    *at = value;
    Ok(())
}

fn key(text: &str) -> PathStep {
    PathStep::Key(text.to_owned())
}

fn keys(texts: &[&str]) -> Path {
    texts.iter().map(|text| key(text)).collect()
}

/// Index of the first node with that name.
fn node_index(document: &Value, name: &str) -> Result<usize, EditError> {
    let nodes = document.get("nodes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let name_of = |node: &Value| node.get("name").and_then(Value::as_str).map(str::to_owned);
    nodes.iter().position(|node| name_of(node).as_deref() == Some(name)).ok_or_else(|| {
        let known: Vec<String> = nodes.iter().filter_map(name_of).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        EditError::Unknown { what: "node", name: name.to_owned(), known: list_known("nodes", &known) }
    })
}

fn require<'v>(
    document: &'v Value,
    path: &[&str],
    name: &str,
    what: &'static str,
    whats: &str,
) -> Result<&'v Value, EditError> {
    let map = part(document, &keys(path)).and_then(Value::as_object);
    map.and_then(|map| map.get(name)).ok_or_else(|| {
        let known: Vec<&str> = map.into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
        EditError::Unknown { what, name: name.to_owned(), known: list_known(whats, &known) }
    })
}

fn refuse_taken(document: &Value, path: &[&str], name: &str, what: &'static str) -> Result<(), EditError> {
    match part(document, &keys(path)).and_then(|map| map.get(name)) {
        Some(_) => Err(EditError::NameTaken { what, name: name.to_owned() }),
        None => Ok(()),
    }
}

/// A name that references can carry.
fn check_name(name: &str, what: &'static str) -> Result<(), EditError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.contains(['}', '\n', '\r']) {
        "it would break references"
    } else if what == "node" && name.contains('.') {
        "a reference would end at the dot"
    } else if what == "node" && matches!(name, "inputs" | "flow") {
        "references to it would mean flow inputs"
    } else if name.trim() != name {
        "it has blanks around it"
    } else {
        return Ok(());
    };
    Err(EditError::BadName { what, name: name.to_owned(), reason })
}

/// Path of a node's body, or of one of its variants' bodies.
fn body_path(document: &Value, node: &str, variant: Option<&str>) -> Result<Path, EditError> {
    match variant {
        None => Ok(vec![key("nodes"), PathStep::Index(node_index(document, node)?)]),
        Some(id) => {
            require(document, &["node_variants"], node, "node with variants", "nodes with variants")?;
            require(document, &["node_variants", node, "variants"], id, "variant", "variants")?;
            Ok(keys(&["node_variants", node, "variants", id, "node"]))
        }
    }
}

/// Bodies of all nodes and of their variants, with their paths.
fn bodies(document: &Value) -> Vec<(Path, &Value)> {
    let mut bodies: Vec<(Path, &Value)> = Vec::new();
    for (index, node) in document.get("nodes").and_then(Value::as_array).into_iter().flatten().enumerate() {
        bodies.push((vec![key("nodes"), PathStep::Index(index)], node));
    }
    for (name, variants) in document.get("node_variants").and_then(Value::as_object).into_iter().flatten() {
        for (id, variant) in variants.get("variants").and_then(Value::as_object).into_iter().flatten() {
            if let Some(body) = variant.get("node") {
                bodies.push((keys(&["node_variants", name, "variants", id, "node"]), body));
            }
        }
    }
    bodies
}

/// Every text of the document that a reference may stand in, with its path.
pub fn reference_texts(document: &Value) -> Vec<(Path, &str)> {
    let mut out = Vec::new();
    for (path, body) in bodies(document) {
        let at = |steps: &[&str]| {
            let mut path = path.clone();
            path.extend(keys(steps));
            path
        };
        for (input, value) in body.get("inputs").and_then(Value::as_object).into_iter().flatten() {
            out.extend(value.as_str().map(|text| (at(&["inputs", input]), text)));
        }
        if let Some(when) = body.get("activate").and_then(|activate| activate.get("when")) {
            out.extend(when.as_str().map(|text| (at(&["activate", "when"]), text)));
        }
        match body.get("for_each") {
            Some(Value::String(text)) => out.push((at(&["for_each"]), text)),
            Some(Value::Object(for_each)) => {
                let items = for_each.get("items").and_then(Value::as_str);
                out.extend(items.map(|text| (at(&["for_each", "items"]), text)));
            }
            _ => {}
        }
    }
    for (name, output) in document.get("outputs").and_then(Value::as_object).into_iter().flatten() {
        let reference = output.get("reference").and_then(Value::as_str);
        out.extend(reference.map(|text| (keys(&["outputs", name, "reference"]), text)));
    }
    out
}

/// The text with its head (node or input name) renamed, or `None` if it does not refer to it.
fn renamed(text: &str, from: &str, to: &str, is_input: bool) -> Option<String> {
    let body = text.strip_prefix("${")?.strip_suffix('}')?;
    match parse_reference(text).ok()?? {
        Reference::Input(name) if is_input && name == from => {
            let head = body.split_once('.').map_or("inputs", |(head, _)| head);
            Some(format!("${{{head}.{to}}}"))
        }
        Reference::Node { node, .. } if !is_input && node == from => {
            Some(format!("${{{to}{}}}", &body[from.len()..]))
        }
        _ => None,
    }
}

fn rename_references(document: &Value, from: &str, to: &str, is_input: bool, steps: &mut Vec<EditStep>) {
    for (path, text) in reference_texts(document) {
        if let Some(text) = renamed(text, from, to, is_input) {
            steps.push(EditStep::Set { path, value: Value::String(text) });
        }
    }
}

/// Entries of llm nodes' `tools` that name the node: `NAME` or `{node: NAME}`.
fn tool_entries(document: &Value, name: &str) -> Vec<Path> {
    let mut out = Vec::new();
    for (body_path, body) in bodies(document) {
        for (at, entry) in body.get("tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let mut path = body_path.clone();
            path.extend([key("tools"), PathStep::Index(at)]);
            if entry.as_str() == Some(name) {
                out.push(path);
            } else if entry.get("node").and_then(Value::as_str) == Some(name) {
                path.push(key("node"));
                out.push(path);
            }
        }
    }
    out
}

impl EditOperation {
    /// The steps that the operation is, for a document with that value. [`EditOperation::ReplaceText`] has none:
    /// it knows nothing of values.
    pub fn steps(&self, document: &Value) -> Result<Vec<EditStep>, EditError> {
        match self {
            Self::AddNode { node, position } => add_node(document, node, *position),
            Self::RemoveNode { name } => {
                let index = node_index(document, name)?;
                let mut steps = vec![EditStep::Remove { path: vec![key("nodes"), PathStep::Index(index)] }];
                if part(document, &keys(&["node_variants", name])).is_some() {
                    steps.push(EditStep::Remove { path: keys(&["node_variants", name]) });
                }
                Ok(steps)
            }
            Self::RenameNode { from, to } => rename_node(document, from, to),
            Self::DuplicateNode { name, copy } => duplicate_node(document, name, copy),
            Self::MoveNode { name, position } => {
                let from = node_index(document, name)?;
                let last = document.get("nodes").and_then(Value::as_array).map_or(0, |nodes| nodes.len() - 1);
                let to = (*position).min(last);
                Ok(if from == to {
                    Vec::new()
                } else {
                    vec![EditStep::Move { list: keys(&["nodes"]), from, to }]
                })
            }
            Self::SetNodeKey { node, variant, path, value } => {
                let mut full = body_path(document, node, variant.as_deref())?;
                if path.is_empty() {
                    return Err(no_part(&full));
                }
                full.extend(path.iter().cloned());
                if let ([PathStep::Key(name)], None, Some(to)) = (path.as_slice(), variant, value.as_str())
                    && name == "name"
                    && to != node
                {
                    check_name(to, "node")?;
                    if node_index(document, to).is_ok() {
                        return Err(EditError::NameTaken { what: "node", name: to.to_owned() });
                    }
                }
                Ok(vec![EditStep::Set { path: full, value: value.clone() }])
            }
            Self::RemoveNodeKey { node, variant, path } => {
                let mut full = body_path(document, node, variant.as_deref())?;
                if path.is_empty() {
                    return Err(no_part(&full));
                }
                full.extend(path.iter().cloned());
                Ok(vec![EditStep::Remove { path: full }])
            }
            Self::SetNodeInput { node, variant, input, value } => {
                let path = input_path(document, node, variant.as_deref(), input)?;
                Ok(vec![EditStep::Set { path, value: value.clone() }])
            }
            Self::RemoveNodeInput { node, variant, input } => {
                Ok(vec![EditStep::Remove { path: input_path(document, node, variant.as_deref(), input)? }])
            }
            Self::Connect { node, variant, input, source } => {
                match source {
                    Reference::Input(name) => {
                        require(document, &["inputs"], name, "flow input", "flow inputs")?;
                    }
                    Reference::Node { node, .. } => {
                        node_index(document, node)?;
                    }
                }
                let path = input_path(document, node, variant.as_deref(), input)?;
                Ok(vec![EditStep::Set { path, value: Value::String(write_reference(source)) }])
            }
            Self::Disconnect { node, variant, input } => {
                let path = input_path(document, node, variant.as_deref(), input)?;
                let text = part(document, &path).ok_or_else(|| no_part(&path))?.as_str().unwrap_or("");
                Ok(if text.starts_with("${") && text.ends_with('}') {
                    vec![EditStep::Remove { path }]
                } else {
                    Vec::new()
                })
            }
            Self::AddInput { name, definition } => {
                add_named(document, "inputs", name, definition, "flow input")
            }
            Self::RemoveInput { name } => {
                require(document, &["inputs"], name, "flow input", "flow inputs")?;
                Ok(vec![EditStep::Remove { path: keys(&["inputs", name]) }])
            }
            Self::RenameInput { from, to } => {
                let mut steps = rename_named(document, "inputs", from, to, "flow input", "flow inputs")?;
                if from != to {
                    rename_references(document, from, to, true, &mut steps);
                }
                Ok(steps)
            }
            Self::SetInputKey { name, key, value } => {
                require(document, &["inputs"], name, "flow input", "flow inputs")?;
                Ok(vec![EditStep::Set { path: keys(&["inputs", name, key]), value: value.clone() }])
            }
            Self::AddOutput { name, definition } => {
                add_named(document, "outputs", name, definition, "flow output")
            }
            Self::RemoveOutput { name } => {
                require(document, &["outputs"], name, "flow output", "flow outputs")?;
                Ok(vec![EditStep::Remove { path: keys(&["outputs", name]) }])
            }
            Self::RenameOutput { from, to } => {
                rename_named(document, "outputs", from, to, "flow output", "flow outputs")
            }
            Self::SetOutputKey { name, key, value } => {
                require(document, &["outputs"], name, "flow output", "flow outputs")?;
                Ok(vec![EditStep::Set { path: keys(&["outputs", name, key]), value: value.clone() }])
            }
            Self::AddVariant { node, id, body } => add_variant(document, node, id, body),
            Self::RemoveVariant { node, id } => {
                require(document, &["node_variants"], node, "node with variants", "nodes with variants")?;
                require(document, &["node_variants", node, "variants"], id, "variant", "variants")?;
                Ok(vec![EditStep::Remove { path: keys(&["node_variants", node, "variants", id]) }])
            }
            Self::RenameVariant { node, from, to } => rename_variant(document, node, from, to),
            Self::SetDefaultVariant { node, id } => {
                require(document, &["node_variants"], node, "node with variants", "nodes with variants")?;
                require(document, &["node_variants", node, "variants"], id, "variant", "variants")?;
                let path = keys(&["node_variants", node, "default_variant_id"]);
                Ok(vec![EditStep::Set { path, value: Value::String(id.clone()) }])
            }
            Self::SetKey { path, value } if !path.is_empty() => {
                Ok(vec![EditStep::Set { path: path.clone(), value: value.clone() }])
            }
            Self::RemoveKey { path } if !path.is_empty() => Ok(vec![EditStep::Remove { path: path.clone() }]),
            Self::SetKey { path, .. } | Self::RemoveKey { path } => Err(no_part(path)),
            Self::SetComment { path, comment } => {
                part(document, path).ok_or_else(|| no_part(path))?;
                Ok(vec![EditStep::Comment { path: path.clone(), comment: comment.clone() }])
            }
            Self::ReplaceText { .. } => Ok(Vec::new()),
        }
    }
}

fn input_path(document: &Value, node: &str, variant: Option<&str>, input: &str) -> Result<Path, EditError> {
    let mut path = body_path(document, node, variant)?;
    path.extend(keys(&["inputs", input]));
    Ok(path)
}

fn add_node(
    document: &Value,
    node: &Map<String, Value>,
    position: Option<usize>,
) -> Result<Vec<EditStep>, EditError> {
    let name = node.get("name").and_then(Value::as_str).unwrap_or("");
    check_name(name, "node")?;
    if node_index(document, name).is_ok() {
        return Err(EditError::NameTaken { what: "node", name: name.to_owned() });
    }
    let count = document.get("nodes").and_then(Value::as_array).map_or(0, Vec::len);
    let index = position.unwrap_or(count).min(count);
    Ok(vec![EditStep::Insert { list: keys(&["nodes"]), index, value: Value::Object(node.clone()) }])
}

fn rename_node(document: &Value, from: &str, to: &str) -> Result<Vec<EditStep>, EditError> {
    let index = node_index(document, from)?;
    if from == to {
        return Ok(Vec::new());
    }
    check_name(to, "node")?;
    if node_index(document, to).is_ok() {
        return Err(EditError::NameTaken { what: "node", name: to.to_owned() });
    }
    refuse_taken(document, &["node_variants"], to, "node with variants")?;
    let name = Value::String(to.to_owned());
    let path = vec![key("nodes"), PathStep::Index(index), key("name")];
    let mut steps = vec![EditStep::Set { path, value: name.clone() }];
    rename_references(document, from, to, false, &mut steps);
    steps.extend(
        tool_entries(document, from).into_iter().map(|path| EditStep::Set { path, value: name.clone() }),
    );
    if part(document, &keys(&["node_variants", from])).is_some() {
        // Last: the steps before it name parts by the old key.
        steps.push(EditStep::RenameKey { path: keys(&["node_variants", from]), to: to.to_owned() });
    }
    Ok(steps)
}

fn duplicate_node(document: &Value, name: &str, copy: &str) -> Result<Vec<EditStep>, EditError> {
    let index = node_index(document, name)?;
    check_name(copy, "node")?;
    if node_index(document, copy).is_ok() {
        return Err(EditError::NameTaken { what: "node", name: copy.to_owned() });
    }
    let mut steps = vec![
        EditStep::Copy { list: keys(&["nodes"]), index },
        EditStep::Set {
            path: vec![key("nodes"), PathStep::Index(index + 1), key("name")],
            value: Value::String(copy.to_owned()),
        },
    ];
    if let Some(variants) = part(document, &keys(&["node_variants", name])) {
        refuse_taken(document, &["node_variants"], copy, "node with variants")?;
        steps.push(EditStep::Set { path: keys(&["node_variants", copy]), value: variants.clone() });
    }
    Ok(steps)
}

fn add_named(
    document: &Value,
    section: &str,
    name: &str,
    definition: &Map<String, Value>,
    what: &'static str,
) -> Result<Vec<EditStep>, EditError> {
    check_name(name, what)?;
    refuse_taken(document, &[section], name, what)?;
    Ok(vec![EditStep::Set { path: keys(&[section, name]), value: Value::Object(definition.clone()) }])
}

fn rename_named(
    document: &Value,
    section: &str,
    from: &str,
    to: &str,
    what: &'static str,
    whats: &str,
) -> Result<Vec<EditStep>, EditError> {
    require(document, &[section], from, what, whats)?;
    if from == to {
        return Ok(Vec::new());
    }
    check_name(to, what)?;
    refuse_taken(document, &[section], to, what)?;
    Ok(vec![EditStep::RenameKey { path: keys(&[section, from]), to: to.to_owned() }])
}

fn add_variant(
    document: &Value,
    node: &str,
    id: &str,
    body: &Map<String, Value>,
) -> Result<Vec<EditStep>, EditError> {
    node_index(document, node)?;
    check_name(id, "variant")?;
    refuse_taken(document, &["node_variants", node, "variants"], id, "variant")?;
    let mut variant = Map::new();
    variant.insert("node".to_owned(), Value::Object(body.clone()));
    let mut steps = Vec::new();
    if part(document, &keys(&["node_variants", node, "default_variant_id"])).is_none_or(Value::is_null) {
        steps.push(EditStep::Set {
            path: keys(&["node_variants", node, "default_variant_id"]),
            value: Value::String(id.to_owned()),
        });
    }
    steps.push(EditStep::Set {
        path: keys(&["node_variants", node, "variants", id]),
        value: Value::Object(variant),
    });
    Ok(steps)
}

fn rename_variant(document: &Value, node: &str, from: &str, to: &str) -> Result<Vec<EditStep>, EditError> {
    require(document, &["node_variants"], node, "node with variants", "nodes with variants")?;
    require(document, &["node_variants", node, "variants"], from, "variant", "variants")?;
    if from == to {
        return Ok(Vec::new());
    }
    check_name(to, "variant")?;
    refuse_taken(document, &["node_variants", node, "variants"], to, "variant")?;
    let mut steps = Vec::new();
    let default_path = keys(&["node_variants", node, "default_variant_id"]);
    if part(document, &default_path).and_then(Value::as_str) == Some(from) {
        steps.push(EditStep::Set { path: default_path, value: Value::String(to.to_owned()) });
    }
    steps.push(EditStep::RenameKey {
        path: keys(&["node_variants", node, "variants", from]),
        to: to.to_owned(),
    });
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flow() -> Value {
        json!({
            "inputs": {"q": {"type": "string"}},
            "outputs": {"answer": {"reference": "${ask.output}"}},
            "nodes": [
                {"name": "find", "inputs": {"text": "${inputs.q}", "list": ["${ask.output}"]}},
                {"name": "ask", "inputs": {"hits": "${find.output.hits[0]}", "same": "${find}"},
                 "activate": {"when": "${find.output}", "is": true},
                 "for_each": {"items": "${find.output}"}, "tools": ["find", {"node": "find"}, {"flow": "find"}]},
                {"name": "old", "use_variants": true}
            ],
            "node_variants": {"old": {"default_variant_id": "v0", "variants": {
                "v0": {"node": {"inputs": {"x": "${find.output}"}, "tools": [{"node": "find"}]}}}}}
        })
    }

    /// The document after an operation.
    #[track_caller]
    fn after(operation: &EditOperation) -> Value {
        let mut document = flow();
        for step in operation.steps(&document).unwrap() {
            step.apply(&mut document).unwrap();
        }
        document
    }

    fn refusal(operation: &EditOperation) -> String {
        operation.steps(&flow()).unwrap_err().to_string()
    }

    #[test]
    fn renaming_a_node_touches_its_name_and_every_reference_to_it() {
        let renamed = after(&EditOperation::RenameNode { from: "find".into(), to: "search".into() });
        let text = flow().to_string();
        let expected = text
            .replace("\"name\":\"find\"", "\"name\":\"search\"")
            .replace("${find", "${search")
            .replace("[\"find\",", "[\"search\",")
            .replace("{\"node\":\"find\"}", "{\"node\":\"search\"}");
        assert_eq!(renamed.to_string(), expected);
        let renamed = after(&EditOperation::RenameNode { from: "old".into(), to: "new".into() });
        assert_eq!(renamed.to_string(), text.replace("\"old\"", "\"new\""));
    }

    #[test]
    fn renaming_an_input_touches_its_key_and_its_references() {
        let renamed = after(&EditOperation::RenameInput { from: "q".into(), to: "question".into() });
        assert_eq!(
            renamed.to_string(),
            flow().to_string().replace("\"q\"", "\"question\"").replace("inputs.q", "inputs.question")
        );
    }

    #[test]
    fn names_that_references_cannot_carry_are_refused() {
        let rename = |to: &str| refusal(&EditOperation::RenameNode { from: "find".into(), to: to.into() });
        assert_eq!(rename("ask"), "node `ask` is already there");
        assert_eq!(rename("a.b"), "`a.b` cannot be the name of a node: a reference would end at the dot");
        assert_eq!(
            rename("inputs"),
            "`inputs` cannot be the name of a node: references to it would mean flow inputs"
        );
        let error = EditOperation::RemoveNode { name: "fin".into() }.steps(&flow()).unwrap_err();
        assert_eq!(error.to_string(), "there is no node `fin`");
        assert_eq!(error.hint(), "known nodes: `find`, `ask`, `old`");
    }

    #[test]
    fn edges_are_inputs_that_hold_references() {
        let connect = EditOperation::Connect {
            node: "ask".into(),
            variant: None,
            input: "extra".into(),
            source: Reference::Input("q".into()),
        };
        assert_eq!(after(&connect)["nodes"][1]["inputs"]["extra"], "${inputs.q}");
        let cut = |input: &str| EditOperation::Disconnect {
            node: "find".into(),
            variant: None,
            input: input.into(),
        };
        assert_eq!(after(&cut("text"))["nodes"][0]["inputs"].get("text"), None);
        assert_eq!(after(&cut("list")), flow(), "a literal is no edge");
    }

    #[test]
    fn variants_are_added_renamed_and_chosen() {
        let add = EditOperation::AddVariant {
            node: "find".into(),
            id: "short".into(),
            body: json!({"type": "prompt"}).as_object().unwrap().clone(),
        };
        assert_eq!(
            after(&add)["node_variants"]["find"],
            json!({"default_variant_id": "short", "variants": {"short": {"node": {"type": "prompt"}}}})
        );
        let rename = EditOperation::RenameVariant { node: "old".into(), from: "v0".into(), to: "v1".into() };
        assert_eq!(after(&rename)["node_variants"]["old"].to_string().matches("v1").count(), 2);
        let choose = EditOperation::SetDefaultVariant { node: "old".into(), id: "v9".into() };
        assert_eq!(refusal(&choose), "there is no variant `v9`");
    }

    #[test]
    fn operations_travel_as_json() {
        let operation = EditOperation::SetNodeKey {
            node: "a".into(),
            variant: None,
            path: vec![PathStep::Key("tools".into()), PathStep::Index(0)],
            value: json!(1),
        };
        let text = serde_json::to_string(&operation).unwrap();
        assert_eq!(text, r#"{"op":"set_node_key","node":"a","path":["tools",0],"value":1}"#);
        assert_eq!(serde_json::from_str::<EditOperation>(&text).unwrap(), operation);
    }
}
