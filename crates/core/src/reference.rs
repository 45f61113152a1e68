//! References such as `${search.output[0].text}`, exactly as prompt flow reads them.
//!
//! Only a text that starts with `$`, then `{`, and ends with `}` is a reference; there is no interpolation inside text.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::value::python_repr;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathStep {
    /// Index of a list.
    Index(usize),
    /// Key of a map.
    Key(String),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// A flow input; the whole rest of the text is its name.
    Input(String),
    /// Result of a node, or a part of it.
    Node {
        /// Node name.
        node: String,
        /// Steps into the result.
        path: Vec<PathStep>,
    },
}

/// A text that looks like a reference and is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// `${}`.
    #[error("reference `{text}` is empty")]
    Empty {
        /// As written.
        text: String,
    },
    /// The part after the node name is not `output`.
    #[error("reference `{text}`: after node `{node}` comes `{section}`, and only `output` is possible there")]
    Section {
        /// As written.
        text: String,
        /// Node name.
        node: String,
        /// What stands there instead.
        section: String,
    },
}

impl ReferenceError {
    /// What to do about it.
    pub fn suggestion(&self) -> String {
        match self {
            Self::Empty { .. } => "write `${inputs.NAME}` or `${NODE.output}`".to_owned(),
            Self::Section { node, section, .. } => match section.strip_prefix("output[") {
                Some(rest) => format!("write `${{{node}.output.[{rest}}}`"),
                None => format!(
                    "write `${{{node}.output.{section}}}`, and one reference a value: there is no interpolation"
                ),
            },
        }
    }
}

/// Inside of a reference text, or `None` for a literal.
fn inside(text: &str) -> Option<&str> {
    text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
}

/// Reads a text: `Ok(None)` for a literal.
pub fn parse_reference(text: &str) -> Result<Option<Reference>, ReferenceError> {
    let Some(body) = inside(text) else { return Ok(None) };
    if body.is_empty() {
        return Err(ReferenceError::Empty { text: text.to_owned() });
    }
    let (head, rest) = match body.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (body, None),
    };
    match rest {
        Some(name) if head == "inputs" || head == "flow" => Ok(Some(Reference::Input(name.to_owned()))),
        None => Ok(Some(Reference::Node { node: head.to_owned(), path: Vec::new() })),
        Some(rest) => {
            let (section, path) = rest.split_once('.').unwrap_or((rest, ""));
            if section != "output" {
                return Err(ReferenceError::Section {
                    text: text.to_owned(),
                    node: head.to_owned(),
                    section: section.to_owned(),
                });
            }
            Ok(Some(Reference::Node { node: head.to_owned(), path: parse_path(path) }))
        }
    }
}

/// Reads a value: only texts can be references.
pub fn parse_value(value: &Value) -> Result<Option<Reference>, ReferenceError> {
    match value {
        Value::String(text) => parse_reference(text),
        _ => Ok(None),
    }
}

/// Scans a property path for tokens: a word, `['text']` or `[digits]`. What fits no token is skipped, as in
/// prompt flow, so that `my-key` is two steps.
pub fn parse_path(path: &str) -> Vec<PathStep> {
    let mut steps = Vec::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            steps.push(PathStep::Key(rest[..end].to_owned()));
            rest = &rest[end..];
            continue;
        }
        if let Some((step, after)) = bracket(rest) {
            steps.push(step);
            rest = after;
            continue;
        }
        rest = &rest[first.len_utf8()..];
    }
    steps
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn bracket(text: &str) -> Option<(PathStep, &str)> {
    let inner = text.strip_prefix('[')?;
    if let Some(quoted) = inner.strip_prefix('\'') {
        let end = quoted.find("']")?;
        return Some((PathStep::Key(quoted[..end].to_owned()), &quoted[end + 2..]));
    }
    let end = inner.find(']')?;
    let digits = &inner[..end];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((PathStep::Index(digits.parse().ok()?), &inner[end + 1..]))
}

/// A step that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{step} is not in the value `{value}`")]
pub struct PathError {
    /// The step, in words.
    pub step: String,
    /// The value it was looked for in, shortened.
    pub value: String,
}

/// Follows a path into a value. An index into text gives the character, as in Python.
pub fn follow(value: &Value, path: &[PathStep]) -> Result<Value, PathError> {
    let mut current = value;
    for (position, step) in path.iter().enumerate() {
        if let (PathStep::Index(index), Value::String(text)) = (step, current)
            && let Some(character) = text.chars().nth(*index)
        {
            return follow(&Value::String(character.to_string()), &path[position + 1..]);
        }
        let next = match (step, current) {
            (PathStep::Key(key), Value::Object(map)) => map.get(key),
            (PathStep::Index(index), Value::Array(items)) => items.get(*index),
            _ => None,
        };
        current = next.ok_or_else(|| PathError {
            step: match step {
                PathStep::Key(key) => format!("key `{key}`"),
                PathStep::Index(index) => format!("index {index}"),
            },
            value: python_repr(current).chars().take(120).collect(),
        })?;
    }
    Ok(current.clone())
}

/// Writes a reference as text. `follow`-equal to what was parsed, and the shortest usual form.
pub fn write_reference(reference: &Reference) -> String {
    match reference {
        Reference::Input(name) => format!("${{inputs.{name}}}"),
        Reference::Node { node, path } => {
            let mut text = format!("${{{node}.output");
            for (position, step) in path.iter().enumerate() {
                match step {
                    PathStep::Key(key) if !key.is_empty() && key.chars().all(is_word) => {
                        text.push('.');
                        text.push_str(key);
                    }
                    PathStep::Key(key) => {
                        text.push_str(if position == 0 { ".['" } else { "['" });
                        text.push_str(key);
                        text.push_str("']");
                    }
                    PathStep::Index(index) => {
                        text.push_str(if position == 0 { ".[" } else { "[" });
                        text.push_str(&index.to_string());
                        text.push(']');
                    }
                }
            }
            text.push('}');
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, path: &[PathStep]) -> Option<Reference> {
        Some(Reference::Node { node: name.into(), path: path.to_vec() })
    }

    fn key(text: &str) -> PathStep {
        PathStep::Key(text.into())
    }

    #[test]
    fn every_form_of_the_reference_is_read() {
        let cases = [
            ("${inputs.q}", Some(Reference::Input("q".into()))),
            ("${flow.q}", Some(Reference::Input("q".into()))),
            ("${inputs.q.x}", Some(Reference::Input("q.x".into()))),
            ("${a}", node("a", &[])),
            ("${a.output}", node("a", &[])),
            ("${a.output.b.c}", node("a", &[key("b"), key("c")])),
            ("${a.output.[0]}", node("a", &[PathStep::Index(0)])),
            ("${a.output.k[0]}", node("a", &[key("k"), PathStep::Index(0)])),
            ("${a.output.['my-key']}", node("a", &[key("my-key")])),
            ("${a.output.my-key}", node("a", &[key("my"), key("key")])),
            ("${ a.output }", node(" a", &[])),
            ("a ${b}", None),
            ("${b} c", None),
        ];
        for (text, expected) in cases {
            // `${ a.output }` has the section `output ` and is refused by the word, not by the node.
            if text == "${ a.output }" {
                assert!(parse_reference(text).is_err());
                continue;
            }
            assert_eq!(parse_reference(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn broken_references_say_what_to_write() {
        let error = parse_reference("${a.output[0]}").unwrap_err();
        assert_eq!(error.suggestion(), "write `${a.output.[0]}`");
        assert!(parse_reference("${a.output} and ${b.output}").is_err());
        assert!(parse_reference("${}").is_err());
    }

    #[test]
    fn paths_are_followed_or_refused() {
        let value = json!({"k": [1, {"my-key": "x"}]});
        let path = parse_path("k[1]['my-key']");
        assert_eq!(follow(&value, &path), Ok(json!("x")));
        let error = follow(&value, &parse_path("k.0")).unwrap_err();
        assert_eq!(error.to_string(), "key `0` is not in the value `[1, {'my-key': 'x'}]`");
    }
}
