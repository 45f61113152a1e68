//! `flow.flex.yaml`: a flow that is plain Python, as its file says it.

use flowbench_core::finding::Finding;
use flowbench_core::flow::{InputDefinition, Places, pointer_key, shape};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::yaml::YamlDocument;

/// The usual name of a flex flow's file.
pub const FLEX_FILE: &str = "flow.flex.yaml";

/// Every key that has a meaning here or in prompt flow.
pub const FLEX_KEYS: [&str; 17] = [
    "$schema",
    "additional_includes",
    "description",
    "display_name",
    "entry",
    "environment",
    "environment_variables",
    "id",
    "init",
    "inputs",
    "language",
    "message_format",
    "name",
    "outputs",
    "sample",
    "tags",
    "type",
];

/// What a flex flow starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Python module, dots between its parts.
    pub module: String,
    /// Function or class in it.
    pub name: String,
}

/// A flex flow as its file says it.
#[derive(Clone, Debug, Default)]
pub struct FlexFile {
    /// What is started; `None` if it is missing or broken, with a finding.
    pub entry: Option<Entry>,
    /// Name, if written.
    pub name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// `python` unless said.
    pub language: Option<String>,
    /// Declared inputs; empty means that the entry's parameters are the inputs.
    pub inputs: IndexMap<String, InputDefinition>,
    /// Declared outputs, as written.
    pub outputs: Map<String, Value>,
    /// Declared arguments of a class.
    pub init: IndexMap<String, InputDefinition>,
    /// Sample inputs; empty where they are a `${file:path}`, which stays in `sample`.
    pub sample_inputs: Map<String, Value>,
    /// Sample arguments of the class, likewise.
    pub sample_init: Map<String, Value>,
    /// The samples as written.
    pub sample: Value,
    /// Set before the run.
    pub environment_variables: Map<String, Value>,
    /// Files and folders merged in.
    pub additional_includes: Vec<String>,
    /// Keys that are not known here.
    pub unknown: Map<String, Value>,
    /// Places of all parts.
    pub places: Places,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Reads a flex flow; never fails. `file` is the name for findings.
pub fn parse_flex(bytes: &[u8], file: Option<&str>) -> FlexFile {
    let (_, value, places, findings) = YamlDocument::parse(bytes, file).into_parts();
    let mut reader = Reader { places, findings };
    let empty = Map::new();
    let map = match &value {
        Value::Object(map) => map,
        Value::Null => &empty,
        other => {
            reader.wrong("", "a flex flow", "a map with `entry`", other);
            &empty
        }
    };
    let sample = reader.map_or_file(map, "sample", "");
    let mut flow = FlexFile {
        entry: reader.entry(map),
        name: reader.text(map, "name"),
        description: reader.text(map, "description"),
        language: reader.text(map, "language"),
        inputs: reader.definitions(map, "inputs"),
        outputs: reader.map(map, "outputs", ""),
        init: reader.definitions(map, "init"),
        sample_inputs: reader.map_or_file(&sample, "inputs", "/sample"),
        sample_init: reader.map_or_file(&sample, "init", "/sample"),
        environment_variables: reader.map(map, "environment_variables", ""),
        additional_includes: reader.texts(map, "additional_includes"),
        sample: map.get("sample").cloned().unwrap_or(Value::Null),
        ..FlexFile::default()
    };
    for (key, value) in map.iter().filter(|(key, _)| !FLEX_KEYS.contains(&key.as_str())) {
        let place = reader.places.of(&format!("/{}", pointer_key(key)));
        reader.findings.push(
            Finding::warning("unknown-key", format!("key `{key}` has no meaning in a flex flow"))
                .at(place)
                .suggest("check its spelling, or remove it"),
        );
        flow.unknown.insert(key.clone(), value.clone());
    }
    flow.places = reader.places;
    flow.findings = reader.findings;
    flow
}

struct Reader {
    places: Places,
    findings: Vec<Finding>,
}

impl Reader {
    fn wrong(&mut self, pointer: &str, what: &str, expected: &str, found: &Value) {
        let place = self.places.of(pointer);
        self.findings.push(
            Finding::error("wrong-shape", format!("{what} must be {expected}, and is {}", shape(found)))
                .at(place),
        );
    }

    fn text(&mut self, map: &Map<String, Value>, key: &str) -> Option<String> {
        match map.get(key)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            other => {
                self.wrong(&format!("/{key}"), &format!("`{key}`"), "text", other);
                None
            }
        }
    }

    fn map(&mut self, map: &Map<String, Value>, key: &str, pointer: &str) -> Map<String, Value> {
        match map.get(key) {
            Some(Value::Object(inner)) => inner.clone(),
            None | Some(Value::Null) => Map::new(),
            Some(other) => {
                self.wrong(&format!("{pointer}/{key}"), &format!("`{key}`"), "a map", other);
                Map::new()
            }
        }
    }

    /// A map, or the text of a reference to a file, which is not followed here.
    fn map_or_file(&mut self, map: &Map<String, Value>, key: &str, pointer: &str) -> Map<String, Value> {
        match map.get(key) {
            Some(Value::String(text)) if text.starts_with("${file:") && text.ends_with('}') => Map::new(),
            _ => self.map(map, key, pointer),
        }
    }

    fn texts(&mut self, map: &Map<String, Value>, key: &str) -> Vec<String> {
        match map.get(key) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => {
                let mut texts = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    match item {
                        Value::String(text) => texts.push(text.clone()),
                        other => self.wrong(
                            &format!("/{key}/{index}"),
                            &format!("an entry of `{key}`"),
                            "text",
                            other,
                        ),
                    }
                }
                texts
            }
            Some(other) => {
                self.wrong(&format!("/{key}"), &format!("`{key}`"), "a list", other);
                Vec::new()
            }
        }
    }

    fn entry(&mut self, map: &Map<String, Value>) -> Option<Entry> {
        let written = self.text(map, "entry").unwrap_or_default();
        let parts = written.split_once(':').map(|(module, name)| (module.trim(), name.trim()));
        if let Some((module, name)) = parts
            && !module.is_empty()
            && is_identifier(name)
            && module.split('.').all(is_identifier)
        {
            return Some(Entry { module: module.to_owned(), name: name.to_owned() });
        }
        let message = if written.is_empty() {
            "a flex flow names its `entry`".to_owned()
        } else {
            format!("entry `{written}` is not of the form `module:function`")
        };
        let place = self.places.of("/entry");
        self.findings.push(
            Finding::error("missing-entry", message)
                .at(place)
                .suggest("write `entry: module:function` or `entry: module:Class`"),
        );
        None
    }

    fn definitions(&mut self, map: &Map<String, Value>, key: &str) -> IndexMap<String, InputDefinition> {
        let mut out = IndexMap::new();
        for (name, body) in self.map(map, key, "") {
            let pointer = format!("/{key}/{}", pointer_key(&name));
            let Value::Object(body) = body else {
                self.wrong(&pointer, &format!("`{name}`"), "a map with `type`", &body);
                continue;
            };
            let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
            let flag = |key: &str| body.get(key).and_then(Value::as_bool).unwrap_or(false);
            out.insert(
                name,
                InputDefinition {
                    kind: text("type"),
                    default: body.get("default").cloned(),
                    description: text("description"),
                    is_chat_input: flag("is_chat_input"),
                    is_chat_history: flag("is_chat_history"),
                },
            );
        }
        out
    }
}

fn is_identifier(text: &str) -> bool {
    text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_flex_flow_is_read_whole() {
        let flow = parse_flex(
            b"entry: package.grade:Grader\ninputs:\n  answer: {type: string, default: x}\ninit:\n  limit:\n    type: int\nsample:\n  inputs: {answer: y}\n  init: {limit: 3}\nadditional_includes: [../shared]\nenvironment_variables: {A: b}\n",
            None,
        );
        assert!(flow.findings.is_empty(), "{:?}", flow.findings);
        assert_eq!(flow.entry, Some(Entry { module: "package.grade".into(), name: "Grader".into() }));
        assert_eq!(flow.inputs["answer"].default, Some(json!("x")));
        assert_eq!(flow.init["limit"].kind.as_deref(), Some("int"));
        assert_eq!(flow.sample_init["limit"], json!(3));
        assert_eq!(flow.additional_includes, ["../shared"]);
        let flow = parse_flex(b"entry: a:b\nsample:\n  inputs: ${file:inputs.json}\n", None);
        assert!(flow.findings.is_empty(), "{:?}", flow.findings);
        assert_eq!(flow.sample["inputs"], json!("${file:inputs.json}"));
    }

    #[test]
    fn what_is_wrong_is_found_with_its_place() {
        let found = |text: &str| -> Vec<String> {
            parse_flex(text.as_bytes(), None)
                .findings
                .iter()
                .map(|finding| format!("{}:{}", finding.place.line.unwrap_or(0), finding.message))
                .collect()
        };
        assert_eq!(found("name: a\n"), ["1:a flex flow names its `entry`"]);
        assert_eq!(
            found("name: a\nentry: grade\n"),
            ["2:entry `grade` is not of the form `module:function`"]
        );
        assert_eq!(found("entry: ../a:b\n"), ["1:entry `../a:b` is not of the form `module:function`"]);
        assert_eq!(
            found("entry: a:b\ninputs: [x]\nentrie: 1\n"),
            ["2:`inputs` must be a map, and is a list", "3:key `entrie` has no meaning in a flex flow"]
        );
    }
}
