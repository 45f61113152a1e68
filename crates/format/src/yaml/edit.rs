//! Edit steps on a YAML text, as replacements of its bytes.
//!
//! Steps become actions, actions become splices, the spliced text is read again; at the end its value must be
//! the one that the steps mean. If it is not, the edit is tried once more with every new text in quotes, and
//! then refused: an edit never leaves a text that says something else.

use std::collections::VecDeque;

use flowbench_core::edit::{EditError, EditStep, Path, TextChange, part, pointer_of};
use flowbench_core::reference::PathStep;
use serde_json::{Map, Value};

use super::YamlDocument;
use super::locate::{is_merge, key_text, manner_of};
use super::splice::{Action, Splice, Writer};
use super::tree::{Content, Node};

impl YamlDocument {
    /// Makes the steps one after the other. Gives the new document and the changes of the text.
    ///
    /// Where an edit is about one of several places that share a part through aliases, the aliases are written
    /// out first; an edit that means the same in all of them keeps them.
    pub fn edit(&self, steps: &[EditStep]) -> Result<(Self, Vec<TextChange>), EditError> {
        if !self.tree.is_editable || self.has_errors() {
            return Err(EditError::BrokenText);
        }
        let mut expected = self.value.clone();
        for step in steps {
            step.apply(&mut expected)?;
        }
        let mut refusal = None;
        for writes_out_aliases in [false, true] {
            if writes_out_aliases && self.tree.aliases.is_empty() {
                break;
            }
            for is_careful in [false, true] {
                let made = if writes_out_aliases {
                    self.without_aliases().and_then(|(document, mut changes)| {
                        let made = document.edit_in_manner(steps, is_careful)?;
                        changes.extend(made.changes);
                        Ok(Edited { changes, ..made })
                    })
                } else {
                    self.edit_in_manner(steps, is_careful)
                };
                match made {
                    Ok(made) if made.document.says(&expected) => return Ok((made.document, made.changes)),
                    Ok(made) => refusal = made.skipped.or(refusal),
                    Err(error @ (EditError::NotPossible { .. } | EditError::Shared { .. })) => {
                        refusal = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let pointer = steps.first().map_or_else(String::new, |step| pointer_of(step_path(step)));
        Err(refusal.unwrap_or(EditError::NotPossible { pointer }))
    }

    /// The same document with the value in place of every alias. Merge keys stay.
    fn without_aliases(&self) -> Result<(Self, Vec<TextChange>), EditError> {
        let mut paths = Vec::new();
        if let Some(root) = &self.tree.root {
            alias_paths(root, self.tree.is_yaml_1_1, &mut Vec::new(), &mut paths);
        }
        let writer = Writer { text: &self.text, tree: &self.tree, manner: manner_of(&self.tree) };
        let mut splices = Vec::new();
        for path in paths {
            if let Some(value) = part(&self.value, &path) {
                splices.extend(writer.splices(&Action::Replace { path, value: value.clone() })?);
            }
        }
        let not_possible = EditError::NotPossible { pointer: String::new() };
        let (text, changes) = spliced(&self.text, splices).ok_or_else(|| not_possible.clone())?;
        let document = Self::parse(text.as_bytes(), self.places.file.as_deref());
        if document.says(&self.value) { Ok((document, changes)) } else { Err(not_possible) }
    }

    /// As [`YamlDocument::edit`], for a text that is JSON: every new text is quoted.
    pub(crate) fn edit_as_json(&self, steps: &[EditStep]) -> Result<(Self, Vec<TextChange>), EditError> {
        if !self.tree.is_editable || self.has_errors() {
            return Err(EditError::BrokenText);
        }
        let made = self.edit_in_manner(steps, true)?;
        Ok((made.document, made.changes))
    }

    /// Replaces texts, in order. Works on broken texts too, as long as they are UTF-8.
    pub fn replace_text(&self, changes: &[TextChange]) -> Result<Self, EditError> {
        if !self.is_text_exact {
            return Err(EditError::BrokenText);
        }
        let mut text = self.text.clone();
        for change in changes {
            let end = change.start.saturating_add(change.removed.len());
            if text.get(change.start..end) != Some(change.removed.as_str()) {
                return Err(EditError::Stale { at: change.start });
            }
            text.replace_range(change.start..end, &change.inserted);
        }
        Ok(Self::parse(text.as_bytes(), self.places.file.as_deref()))
    }

    fn has_errors(&self) -> bool {
        flowbench_core::finding::has_errors(&self.findings)
    }

    /// True if the document was read whole and says that value.
    fn says(&self, expected: &Value) -> bool {
        self.tree.is_editable && !self.has_errors() && self.value == *expected
    }

    fn edit_in_manner(&self, steps: &[EditStep], is_careful: bool) -> Result<Edited, EditError> {
        let mut skipped = None;
        let mut queue: VecDeque<EditStep> = steps.iter().cloned().collect();
        let mut changes = Vec::new();
        let mut current: Option<Self> = None;
        while !queue.is_empty() {
            let document = current.as_ref().unwrap_or(self);
            let splices = document.next_splices(&mut queue, is_careful, &mut skipped)?;
            if splices.is_empty() {
                continue;
            }
            let (text, made) = spliced(&document.text, splices)
                .ok_or_else(|| EditError::NotPossible { pointer: pointer_of(step_path(&steps[0])) })?;
            changes.extend(made);
            let next = Self::parse(text.as_bytes(), self.places.file.as_deref());
            if !next.tree.is_editable {
                return Err(EditError::NotPossible { pointer: pointer_of(step_path(&steps[0])) });
            }
            current = Some(next);
        }
        let document = match current {
            Some(document) => document,
            None => Self::parse(self.text.as_bytes(), self.places.file.as_deref()),
        };
        Ok(Edited { document, changes, skipped })
    }

    /// Splices of as many steps as can be made against this text at once: the next one, and those behind it
    /// that are about other parts and change nothing around them.
    fn next_splices(
        &self,
        queue: &mut VecDeque<EditStep>,
        is_careful: bool,
        skipped: &mut Option<EditError>,
    ) -> Result<Vec<Splice>, EditError> {
        let mut manner = manner_of(&self.tree);
        manner.is_careful = is_careful;
        let writer = Writer { text: &self.text, tree: &self.tree, manner };
        let mut splices = Vec::new();
        let mut touched: Vec<Path> = Vec::new();
        while let Some(step) = queue.pop_front() {
            match expand(&self.value, &step)? {
                Expanded::Steps(steps) => {
                    for step in steps.into_iter().rev() {
                        queue.push_front(step);
                    }
                }
                Expanded::Action(action) => {
                    let is_apart =
                        action.is_local() && !touched.iter().any(|path| are_related(path, action.path()));
                    if !touched.is_empty() && !is_apart {
                        queue.push_front(step);
                        break;
                    }
                    match writer.splices(&action) {
                        Ok(made) => splices.extend(made),
                        // Another step may make the same change where the part is anchored; the end tells.
                        Err(error @ EditError::Shared { .. }) if action.is_local() => {
                            *skipped = Some(error);
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                    touched.push(action.path().clone());
                    if !action.is_local() {
                        break;
                    }
                }
            }
        }
        Ok(splices)
    }
}

/// A document after an edit.
struct Edited {
    document: YamlDocument,
    changes: Vec<TextChange>,
    /// A step that was left out, because its part stands behind an alias.
    skipped: Option<EditError>,
}

/// Paths of all aliases that are values.
fn alias_paths(node: &Node, is_yaml_1_1: bool, path: &mut Path, out: &mut Vec<Path>) {
    match &node.content {
        Content::Alias(_) => out.push(path.clone()),
        Content::Scalar { .. } => {}
        Content::List { items, .. } => {
            for (index, item) in items.iter().enumerate() {
                path.push(PathStep::Index(index));
                alias_paths(&item.node, is_yaml_1_1, path, out);
                path.pop();
            }
        }
        Content::Map { entries, .. } => {
            for entry in entries.iter().filter(|entry| !is_merge(entry)) {
                let Some(key) = key_text(&entry.key, is_yaml_1_1) else { continue };
                path.push(PathStep::Key(key));
                alias_paths(&entry.value, is_yaml_1_1, path, out);
                path.pop();
            }
        }
    }
}

fn step_path(step: &EditStep) -> &Path {
    match step {
        EditStep::Set { path, .. }
        | EditStep::Remove { path }
        | EditStep::RenameKey { path, .. }
        | EditStep::Comment { path, .. } => path,
        EditStep::Insert { list, .. } | EditStep::Copy { list, .. } | EditStep::Move { list, .. } => list,
    }
}

fn are_related(a: &[PathStep], b: &[PathStep]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Makes splices; `None` if they overlap. The changes count their bytes one after the other.
fn spliced(text: &str, mut splices: Vec<Splice>) -> Option<(String, Vec<TextChange>)> {
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    if splices.windows(2).any(|pair| pair[0].range.end > pair[1].range.start) {
        return None;
    }
    let mut out = text.to_owned();
    let mut changes = Vec::new();
    // From the end, so that the bytes of those still to come do not move.
    for splice in splices.into_iter().rev() {
        let removed = text.get(splice.range.clone())?;
        // Only what differs is a change.
        let same_start = common_prefix(removed, &splice.text);
        let same_end = common_suffix(&removed[same_start..], &splice.text[same_start..]);
        let change = TextChange {
            start: splice.range.start + same_start,
            removed: removed[same_start..removed.len() - same_end].to_owned(),
            inserted: splice.text[same_start..splice.text.len() - same_end].to_owned(),
        };
        if change.removed.is_empty() && change.inserted.is_empty() {
            continue;
        }
        out.replace_range(change.start..change.start + change.removed.len(), &change.inserted);
        changes.push(change);
    }
    Some((out, changes))
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

fn common_suffix(a: &str, b: &str) -> usize {
    a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

enum Expanded {
    /// Smaller steps that mean the same.
    Steps(Vec<EditStep>),
    Action(Action),
}

/// A step for a document with that value: an action, or smaller steps, so that unchanged entries of maps and
/// items of lists keep their text.
fn expand(document: &Value, step: &EditStep) -> Result<Expanded, EditError> {
    Ok(match step {
        EditStep::Set { path, value } => match part(document, path) {
            Some(old) if old == value => Expanded::Steps(Vec::new()),
            Some(Value::Object(old)) if !old.is_empty() => match value {
                Value::Object(new) if shares_keys(old, new) => Expanded::Steps(set_map(path, old, new)),
                _ => replace(path, value),
            },
            Some(Value::Array(old)) if !old.is_empty() => match value {
                Value::Array(new) if !new.is_empty() => Expanded::Steps(set_list(path, old, new)),
                _ => replace(path, value),
            },
            Some(_) => replace(path, value),
            None => add(document, path, value)?,
        },
        EditStep::Insert { list, index, value } => match part(document, list) {
            Some(Value::Array(items)) if !items.is_empty() => Expanded::Action(Action::InsertItem {
                list: list.clone(),
                index: *index,
                value: value.clone(),
            }),
            _ => Expanded::Steps(vec![EditStep::Set {
                path: list.clone(),
                value: Value::Array(vec![value.clone()]),
            }]),
        },
        EditStep::Copy { list, index } => {
            Expanded::Action(Action::Copy { list: list.clone(), index: *index })
        }
        EditStep::Remove { path } => {
            let parent = &path[..path.len().saturating_sub(1)];
            match part(document, parent) {
                Some(Value::Object(map)) if map.len() == 1 => replace(parent, &Value::Object(Map::new())),
                Some(Value::Array(items)) if items.len() == 1 => replace(parent, &Value::Array(Vec::new())),
                _ => Expanded::Action(Action::Remove { path: path.clone() }),
            }
        }
        EditStep::RenameKey { path, to } => {
            Expanded::Action(Action::RenameKey { path: path.clone(), to: to.clone() })
        }
        EditStep::Move { from, to, .. } if from == to => Expanded::Steps(Vec::new()),
        EditStep::Move { list, from, to } => {
            Expanded::Action(Action::Move { list: list.clone(), from: *from, to: *to })
        }
        EditStep::Comment { path, comment } => {
            Expanded::Action(Action::Comment { path: path.clone(), comment: comment.clone() })
        }
    })
}

fn replace(path: &[PathStep], value: &Value) -> Expanded {
    Expanded::Action(Action::Replace { path: path.to_vec(), value: value.clone() })
}

fn shares_keys(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    new.keys().any(|key| old.contains_key(key))
}

fn child(path: &[PathStep], step: PathStep) -> Path {
    let mut path = path.to_vec();
    path.push(step);
    path
}

/// Changes first, then what is new, then what goes: the map is never empty on the way.
fn set_map(path: &[PathStep], old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<EditStep> {
    let at = |key: &String| child(path, PathStep::Key(key.clone()));
    let mut steps = Vec::new();
    for is_new in [false, true] {
        for (key, value) in new.iter().filter(|(key, _)| old.contains_key(*key) != is_new) {
            if old.get(key) != Some(value) {
                steps.push(EditStep::Set { path: at(key), value: value.clone() });
            }
        }
    }
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    steps.extend(gone.map(|key| EditStep::Remove { path: at(key) }));
    steps
}

/// What both lists start and end with stays; between, items are set, then put in or taken away.
fn set_list(path: &[PathStep], old: &[Value], new: &[Value]) -> Vec<EditStep> {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let end =
        old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(old, new)| old == new).count();
    let old_middle = old.len() - start - end;
    let new_middle = &new[start..new.len() - end];
    let mut steps = Vec::new();
    for (offset, value) in new_middle.iter().enumerate() {
        let index = start + offset;
        if offset < old_middle {
            steps.push(EditStep::Set { path: child(path, PathStep::Index(index)), value: value.clone() });
        } else {
            steps.push(EditStep::Insert { list: path.to_vec(), index, value: value.clone() });
        }
    }
    for _ in new_middle.len()..old_middle {
        steps.push(EditStep::Remove { path: child(path, PathStep::Index(start + new_middle.len())) });
    }
    steps
}

/// A part that is not there: an entry of the deepest map that is, with what is missing between.
fn add(document: &Value, path: &[PathStep], value: &Value) -> Result<Expanded, EditError> {
    let no_part = |depth: usize| EditError::NoPart { pointer: pointer_of(&path[..depth]) };
    let mut depth = path.len() - 1;
    while part(document, &path[..depth]).is_none() {
        depth = depth.checked_sub(1).ok_or_else(|| no_part(0))?;
    }
    let mut value = value.clone();
    for step in path[depth + 1..].iter().rev() {
        let PathStep::Key(key) = step else { return Err(no_part(path.len())) };
        value = Value::Object(Map::from_iter([(key.clone(), value)]));
    }
    let PathStep::Key(key) = &path[depth] else { return Err(no_part(depth + 1)) };
    Ok(match part(document, &path[..depth]) {
        Some(Value::Object(map)) if !map.is_empty() => {
            Expanded::Action(Action::AddEntry { map: path[..depth].to_vec(), key: key.clone(), value })
        }
        _ => replace(&path[..depth], &Value::Object(Map::from_iter([(key.clone(), value)]))),
    })
}
