//! `flow.layout.json`: where nodes are drawn. View data only: a missing file means that nodes are laid out anew,
//! a broken one is found and replaced by the next edit.
//!
//! One node a line, so that moving a node changes one line; keys that are not known here stay.

use flowbench_core::edit::{Applied, EditStep, TextChange};
use flowbench_core::finding::{Finding, Place};
use flowbench_core::reference::PathStep;
use serde_json::{Map, Number, Value, json};

use crate::yaml::YamlDocument;

/// Name of the file beside a flow.
pub const LAYOUT_FILE: &str = "flow.layout.json";

/// Largest layout that is read: some hundred bytes for each of ten thousand nodes.
pub const MAX_LAYOUT_BYTES: usize = 4 << 20;

/// Where a node is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Pixels from the left.
    pub x: f64,
    /// Pixels from the top.
    pub y: f64,
}

/// A flow's layout while it is edited.
#[derive(Clone, Debug)]
pub struct LayoutDocument {
    text: String,
    value: Map<String, Value>,
    findings: Vec<Finding>,
}

impl Default for LayoutDocument {
    /// The layout of a flow that has none. Its text is empty until something is placed.
    fn default() -> Self {
        Self { text: String::new(), value: Map::new(), findings: Vec::new() }
    }
}

impl LayoutDocument {
    /// Reads bytes; never fails. `file` is the name for findings.
    pub fn parse(bytes: &[u8], file: Option<&str>) -> Self {
        let place = Place { file: file.map(str::to_owned), line: Some(1), column: Some(1), node: None };
        let broken = |place: Place, message: String| Self {
            findings: vec![
                Finding::warning("broken-layout", message)
                    .at(place)
                    .suggest("remove the file to have the nodes laid out anew"),
            ],
            text: String::from_utf8_lossy(bytes).into_owned(),
            ..Self::default()
        };
        if bytes.len() > MAX_LAYOUT_BYTES {
            let message = format!("the layout is larger than {} MiB", MAX_LAYOUT_BYTES >> 20);
            return Self { text: String::new(), ..broken(place, message) };
        }
        let bare = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        if bare.iter().all(u8::is_ascii_whitespace) {
            return Self { text: String::from_utf8_lossy(bytes).into_owned(), ..Self::default() };
        }
        match serde_json::from_slice::<Value>(bare) {
            Ok(Value::Object(value)) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                Self { text, value, findings: Vec::new() }
            }
            Ok(_) => broken(place, "the layout is no map".to_owned()),
            Err(error) => {
                let line = u32::try_from(error.line().max(1)).unwrap_or(u32::MAX);
                let column = u32::try_from(error.column().max(1)).unwrap_or(u32::MAX);
                let place = Place { line: Some(line), column: Some(column), ..place };
                broken(place, format!("the layout is no JSON: {error}"))
            }
        }
    }

    /// The bytes to save.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// What is wrong with it.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The layout with all keys, known or not.
    pub fn value(&self) -> &Map<String, Value> {
        &self.value
    }

    /// Where a node is drawn, if the layout says it.
    pub fn position(&self, node: &str) -> Option<Position> {
        let node = self.nodes()?.get(node)?;
        Some(Position { x: node.get("x")?.as_f64()?, y: node.get("y")?.as_f64()? })
    }

    fn nodes(&self) -> Option<&Map<String, Value>> {
        self.value.get("nodes")?.as_object()
    }

    /// Puts a node somewhere. Coordinates are kept to whole pixels, so that moving to and fro changes nothing.
    pub fn move_node(&mut self, node: &str, to: Position) -> Applied {
        let mut steps = Vec::new();
        if self.nodes().is_some_and(|nodes| nodes.get(node).is_some_and(Value::is_object)) {
            for (key, pixels) in [("x", to.x), ("y", to.y)] {
                steps.push(EditStep::Set { path: path(&["nodes", node, key]), value: whole(pixels) });
            }
        } else {
            let value = json!({"x": whole(to.x), "y": whole(to.y)});
            steps.push(EditStep::Set { path: path(&["nodes", node]), value });
        }
        self.make(&steps)
    }

    /// Sets any part, such as `["nodes", "ask", "colour"]` or `["frames"]`.
    pub fn set(&mut self, path: &[PathStep], value: Value) -> Applied {
        self.make(&[EditStep::Set { path: path.to_vec(), value }])
    }

    /// Follows the rename of a node.
    pub fn rename_node(&mut self, from: &str, to: &str) -> Applied {
        match self.nodes() {
            Some(nodes) if nodes.contains_key(from) && !nodes.contains_key(to) => {
                self.make(&[EditStep::RenameKey { path: path(&["nodes", from]), to: to.to_owned() }])
            }
            _ => Applied::new(Vec::new()),
        }
    }

    /// Forgets a node.
    pub fn remove_node(&mut self, node: &str) -> Applied {
        match self.nodes() {
            Some(nodes) if nodes.contains_key(node) => {
                self.make(&[EditStep::Remove { path: path(&["nodes", node]) }])
            }
            _ => Applied::new(Vec::new()),
        }
    }

    fn make(&mut self, steps: &[EditStep]) -> Applied {
        let mut value = Value::Object(self.value.clone());
        if steps.iter().any(|step| step.apply(&mut value).is_err()) {
            // A part has a shape that nothing can be put into; view data is not worth an error.
            return Applied::new(Vec::new());
        }
        let Value::Object(value) = value else { return Applied::new(Vec::new()) };
        if value == self.value {
            return Applied::new(Vec::new());
        }
        let before = std::mem::take(&mut self.text);
        let (text, changes) = spliced(&before, steps, &value).unwrap_or_else(|| {
            let text = render(&value);
            let change = TextChange { start: 0, removed: before.clone(), inserted: text.clone() };
            (text, vec![change])
        });
        self.text = text;
        self.value = value;
        self.findings.clear();
        Applied::new(changes)
    }

    /// Takes back or repeats an edit by its changes; `false` if the text is another than they were made for.
    pub fn replace_text(&mut self, changes: &[TextChange]) -> bool {
        let mut text = self.text.clone();
        for change in changes {
            let end = change.start + change.removed.len();
            if text.get(change.start..end) != Some(change.removed.as_str()) {
                return false;
            }
            text.replace_range(change.start..end, &change.inserted);
        }
        *self = Self::parse(text.as_bytes(), None);
        true
    }
}

fn path(keys: &[&str]) -> Vec<PathStep> {
    keys.iter().map(|key| PathStep::Key((*key).to_owned())).collect()
}

fn whole(pixels: f64) -> Value {
    let bounded = if pixels.is_finite() { pixels.round().clamp(-1e9, 1e9) } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, reason = "clamped and rounded")]
    Value::Number(Number::from(bounded as i64))
}

/// The edit in the text as it is; `None` where the text cannot be edited or would not stay JSON.
fn spliced(
    text: &str,
    steps: &[EditStep],
    expected: &Map<String, Value>,
) -> Option<(String, Vec<TextChange>)> {
    // JSON is YAML in brackets. New entries need an example of how entries are laid out.
    let document = YamlDocument::parse(text.as_bytes(), None);
    let is_first_node =
        document.value().get("nodes").and_then(Value::as_object).is_none_or(|nodes| nodes.is_empty());
    if is_first_node {
        return None;
    }
    let (after, changes) = document.edit_as_json(steps).ok()?;
    let text = after.text().to_owned();
    let read: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    (read.as_object() == Some(expected)).then_some((text, changes))
}

/// The layout as text: one node a line, one frame a line.
fn render(value: &Map<String, Value>) -> String {
    let mut parts = Vec::new();
    if !value.contains_key("version") {
        parts.push("  \"version\": 1".to_owned());
    }
    for (key, part) in value {
        let lines: Vec<String> = match part {
            Value::Object(map) if key == "nodes" && !map.is_empty() => {
                map.iter().map(|(name, node)| format!("    {}: {}", json!(name), spaced(node))).collect()
            }
            Value::Array(items) if key == "frames" && !items.is_empty() => {
                items.iter().map(|frame| format!("    {}", spaced(frame))).collect()
            }
            _ => {
                parts.push(format!("  {}: {}", json!(key), spaced(part)));
                continue;
            }
        };
        let (open, close) = if part.is_object() { ('{', '}') } else { ('[', ']') };
        parts.push(format!("  {}: {open}\n{}\n  {close}", json!(key), lines.join(",\n")));
    }
    format!("{{\n{}\n}}\n", parts.join(",\n"))
}

/// JSON on one line with blanks behind commas and colons.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", json!(key), spaced(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: &str = "{\n  \"version\": 1,\n  \"nodes\": {\n    \"find\": {\"x\": 0, \"y\": 120},\n    \"ask\": {\"x\": 240, \"y\": 120, \"colour\": \"blue\"}\n  },\n  \"own\": [1, {\"a\": null}]\n}\n";

    fn lines_changed(before: &str, after: &str) -> usize {
        let before: Vec<&str> = before.lines().collect();
        after.lines().filter(|line| !before.contains(line)).count()
    }

    #[test]
    fn moving_a_node_touches_one_line_and_can_be_taken_back() {
        let mut layout = LayoutDocument::parse(LAYOUT.as_bytes(), None);
        assert_eq!(layout.position("ask"), Some(Position { x: 240.0, y: 120.0 }));
        let applied = layout.move_node("ask", Position { x: 250.4, y: -60.0 });
        let text = String::from_utf8(layout.bytes().to_vec()).unwrap();
        assert_eq!(text, LAYOUT.replace("\"x\": 240, \"y\": 120", "\"x\": 250, \"y\": -60"));
        let flowbench_core::edit::EditOperation::ReplaceText { changes } = applied.inverse else { panic!() };
        assert!(layout.replace_text(&changes));
        assert_eq!(layout.bytes(), LAYOUT.as_bytes());
        assert!(layout.move_node("ask", Position { x: 240.2, y: 120.0 }).changes.is_empty());
    }

    #[test]
    fn nodes_come_go_and_change_their_names_on_lines_of_their_own() {
        let mut layout = LayoutDocument::parse(LAYOUT.as_bytes(), None);
        layout.move_node("an \"odd\" name", Position { x: 1.0, y: 2.0 });
        let text = String::from_utf8(layout.bytes().to_vec()).unwrap();
        assert!(
            text.contains("\"blue\"},\n    \"an \\\"odd\\\" name\": {\"x\": 1, \"y\": 2}\n  }"),
            "{text}"
        );
        layout.rename_node("find", "search");
        layout.remove_node("an \"odd\" name");
        let text = String::from_utf8(layout.bytes().to_vec()).unwrap();
        assert_eq!(lines_changed(LAYOUT, &text), 1, "{text}");
        assert!(text.contains("    \"search\": {\"x\": 0, \"y\": 120},\n"));
        serde_json::from_str::<Value>(&text).unwrap();
    }

    #[test]
    fn a_flow_without_layout_gets_one_and_a_broken_one_is_found() {
        let mut layout = LayoutDocument::default();
        layout.move_node("a", Position { x: 1.0, y: f64::NAN });
        assert_eq!(
            String::from_utf8(layout.bytes().to_vec()).unwrap(),
            "{\n  \"version\": 1,\n  \"nodes\": {\n    \"a\": {\"x\": 1, \"y\": 0}\n  }\n}\n"
        );
        let mut layout = LayoutDocument::parse(b"{\"nodes\": ", Some("flow.layout.json"));
        assert_eq!(layout.findings()[0].rule, "broken-layout");
        assert_eq!(layout.bytes(), b"{\"nodes\": ", "nothing is lost before an edit");
        layout.move_node("a", Position { x: 1.0, y: 1.0 });
        assert!(layout.findings().is_empty());
        let deep = format!("{{\"nodes\": {}", "[".repeat(100_000));
        assert_eq!(LayoutDocument::parse(deep.as_bytes(), None).findings().len(), 1);
    }

    #[test]
    fn unknown_keys_and_other_layouts_stay() {
        let odd = "{\"nodes\":{\"a\":{\"x\":1,\"y\":2,\"z\":3}},\"zoom\":0.5}";
        let mut layout = LayoutDocument::parse(odd.as_bytes(), None);
        layout.move_node("a", Position { x: 5.0, y: 2.0 });
        assert_eq!(String::from_utf8(layout.bytes().to_vec()).unwrap(), odd.replace("\"x\":1", "\"x\":5"));
        let tabs = LAYOUT.replace("  ", "\t").replace('\n', "\r\n");
        let mut layout = LayoutDocument::parse(tabs.as_bytes(), None);
        layout.move_node("ask", Position { x: 7.0, y: 120.0 });
        assert_eq!(
            String::from_utf8(layout.bytes().to_vec()).unwrap(),
            tabs.replace("\"x\": 240", "\"x\": 7")
        );
    }
}
