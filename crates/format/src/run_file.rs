//! Run files of prompt flow (`pf run create -f run.yaml`): a flow, its data and the mapping between them.
//!
//! Paths are relative to the file's folder and stay as written; no file is opened. Names of earlier runs and
//! `${connection.key}` in variables stay text too.

use flowbench_core::finding::{Finding, Severity};
use flowbench_core::flow::{Places, pointer_key};
use flowbench_core::value::python_text;
use serde_json::{Map, Value};

use crate::connections::{is_secret_field, shape};
use crate::yaml::YamlDocument;

/// What a run file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFile {
    /// Name of the run.
    pub name: Option<String>,
    /// Name for people.
    pub display_name: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Own words to find it by.
    pub tags: Map<String, Value>,
    /// Path of the flow.
    pub flow: Option<String>,
    /// Path of the data.
    pub data: Option<String>,
    /// Name of an earlier run whose inputs and outputs are data.
    pub run: Option<String>,
    /// Flow input to `${data.COLUMN}`, `${run.inputs.X}`, `${run.outputs.X}` or a literal.
    pub column_mapping: Map<String, Value>,
    /// Node and variant.
    pub variant: Option<(String, String)>,
    /// By node: connection, model and inputs put in place of those in the flow.
    pub connections: Map<String, Value>,
    /// Set before the run.
    pub environment_variables: Option<MapOrPath>,
    /// Arguments of a flex flow's class.
    pub init: Option<MapOrPath>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// A part that stands in the file or in another one.
#[derive(Clone, Debug, PartialEq)]
pub enum MapOrPath {
    /// Here.
    Map(Map<String, Value>),
    /// There.
    Path(String),
}

/// Keys of the cloud service.
const CLOUD: [&str; 4] = ["runtime", "resources", "identity", "properties"];
/// Keys that are read.
const KNOWN: [&str; 14] = [
    "$schema",
    "name",
    "display_name",
    "description",
    "tags",
    "flow",
    "data",
    "run",
    "column_mapping",
    "variant",
    "connections",
    "environment_variables",
    "init",
    "type",
];

/// Reads a run file from bytes; never fails.
pub fn parse_run_file(bytes: &[u8], file: Option<&str>) -> RunFile {
    let (_, value, places, findings) = YamlDocument::parse(bytes, file).into_parts();
    let mut reader = Reader { places, findings };
    let mut run = match &value {
        Value::Object(map) => reader.run(map),
        Value::Null => {
            let finding = Finding::error("run-incomplete", "the file says nothing")
                .suggest("write `flow:` and `data:`");
            reader.found("", finding);
            RunFile::default()
        }
        other => {
            reader.wrong("", "the file", "a map", other);
            RunFile::default()
        }
    };
    run.findings = reader.findings;
    run
}

struct Reader {
    places: Places,
    findings: Vec<Finding>,
}

impl Reader {
    fn found(&mut self, pointer: &str, finding: Finding) {
        self.findings.push(finding.at(self.places.of(pointer)));
    }

    fn wrong(&mut self, pointer: &str, what: &str, expected: &str, found: &Value) {
        let message = format!("{what} must be {expected}, and is {}", shape(found));
        self.found(pointer, Finding::error("wrong-shape", message));
    }

    fn text(&mut self, map: &Map<String, Value>, key: &str) -> Option<String> {
        match map.get(key)? {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            // A name of digits is a number to YAML.
            value @ (Value::String(_) | Value::Number(_)) => Some(python_text(value)),
            other => {
                self.wrong(&format!("/{key}"), &format!("`{key}`"), "text", other);
                None
            }
        }
    }

    fn map(&mut self, map: &Map<String, Value>, key: &str) -> Map<String, Value> {
        match map.get(key) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(inner)) => inner.clone(),
            Some(other) => {
                self.wrong(&format!("/{key}"), &format!("`{key}`"), "a map", other);
                Map::new()
            }
        }
    }

    fn map_or_path(&mut self, map: &Map<String, Value>, key: &str) -> Option<MapOrPath> {
        match map.get(key)? {
            Value::Null => None,
            Value::Object(inner) => Some(MapOrPath::Map(inner.clone())),
            Value::String(path) if !path.is_empty() => Some(MapOrPath::Path(path.clone())),
            other => {
                self.wrong(&format!("/{key}"), &format!("`{key}`"), "a map or the path of a file", other);
                None
            }
        }
    }

    fn run(&mut self, map: &Map<String, Value>) -> RunFile {
        self.keys(map);
        let run = RunFile {
            name: self.text(map, "name"),
            display_name: self.text(map, "display_name"),
            description: self.text(map, "description"),
            tags: self.map(map, "tags"),
            flow: self.text(map, "flow"),
            data: self.text(map, "data"),
            run: self.text(map, "run"),
            column_mapping: self.map(map, "column_mapping"),
            variant: self.variant(map),
            connections: self.connections(map),
            environment_variables: self.environment(map),
            init: self.map_or_path(map, "init"),
            findings: Vec::new(),
        };
        self.sources(&run);
        run
    }

    fn keys(&mut self, map: &Map<String, Value>) {
        for (key, value) in map {
            let at = format!("/{}", pointer_key(key));
            if CLOUD.contains(&key.as_str()) {
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if !is_empty {
                    let message = format!("key `{key}` is for the cloud service and has no effect");
                    self.found(&at, Finding::new("cloud-only", Severity::Note, message));
                }
            } else if !KNOWN.contains(&key.as_str()) {
                let message = format!("key `{key}` is not known and has no effect");
                self.found(&at, Finding::warning("unknown-key", message));
            }
        }
    }

    fn sources(&mut self, run: &RunFile) {
        if run.flow.is_none() {
            let finding =
                Finding::warning("run-incomplete", "the run names no flow").suggest("write `flow: PATH`");
            self.found("/flow", finding);
        }
        if run.data.is_none() && run.run.is_none() {
            let finding =
                Finding::warning("run-incomplete", "the run has neither `data` nor an earlier `run`")
                    .suggest("write `data: PATH`");
            self.found("", finding);
        }
        for (key, path) in [("flow", &run.flow), ("data", &run.data)] {
            let Some(path) = path else { continue };
            if path.starts_with("azureml:") || path.contains("://") {
                let message = format!("`{key}` is `{path}`, which is not on this machine");
                let finding =
                    Finding::error("cloud-only", message).suggest("fetch it, and write the path of the copy");
                self.found(&format!("/{key}"), finding);
            }
        }
    }

    fn variant(&mut self, map: &Map<String, Value>) -> Option<(String, String)> {
        let text = self.text(map, "variant")?;
        let inside = text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        match inside.and_then(|inside| inside.split_once('.')) {
            Some((node, id)) if !node.is_empty() && !id.is_empty() => Some((node.to_owned(), id.to_owned())),
            _ => {
                let finding =
                    Finding::error("wrong-shape", format!("variant `{text}` is not `${{NODE.VARIANT}}`"));
                self.found("/variant", finding.suggest("name one variant of one node"));
                None
            }
        }
    }

    fn connections(&mut self, map: &Map<String, Value>) -> Map<String, Value> {
        let mut nodes = self.map(map, "connections");
        nodes.retain(|node, settings| {
            if settings.is_object() {
                return true;
            }
            let at = format!("/connections/{}", pointer_key(node));
            self.wrong(&at, &format!("the settings of node `{node}`"), "a map", settings);
            false
        });
        nodes
    }

    fn environment(&mut self, map: &Map<String, Value>) -> Option<MapOrPath> {
        let read = self.map_or_path(map, "environment_variables");
        if let Some(MapOrPath::Map(variables)) = &read {
            for (name, value) in variables {
                let is_written =
                    value.as_str().is_some_and(|text| !text.is_empty() && !text.starts_with("${"));
                if is_secret_field(name) && is_written {
                    let message = format!("the secret `{name}` is written out in the file");
                    let finding = Finding::warning("literal-secret", message)
                        .suggest("write `${CONNECTION.FIELD}`, or set the variable where the run is started");
                    self.found(&format!("/environment_variables/{}", pointer_key(name)), finding);
                }
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) -> RunFile {
        let run = parse_run_file(text.as_bytes(), Some("run.yaml"));
        let found: Vec<String> = run
            .findings
            .iter()
            .map(|finding| {
                format!("{} {}: {}", finding.place.line.unwrap_or(0), finding.rule, finding.message)
            })
            .collect();
        assert_eq!(found, expected, "{text}");
        run
    }

    #[test]
    fn a_run_file_says_flow_data_mapping_and_variant() {
        let run = check(
            "$schema: x\nname: 20230820\nflow: .\ndata: ./data.jsonl\nvariant: ${summarize.variant_1}\n\
             column_mapping:\n  url: ${data.url}\n  n: 3\ntags: {a: b}\n\
             connections: {summarize: {connection: c, deployment_name: d}}\n\
             environment_variables: {AZURE_OPENAI_API_KEY: \"${c.api_key}\", TYPE: azure}\ninit: init.json\n",
            &[],
        );
        assert_eq!((run.name.as_deref(), run.flow.as_deref()), (Some("20230820"), Some(".")));
        assert_eq!(run.variant, Some(("summarize".to_owned(), "variant_1".to_owned())));
        assert_eq!(Value::Object(run.column_mapping), json!({"url": "${data.url}", "n": 3}));
        assert_eq!(run.connections["summarize"]["deployment_name"], "d");
        assert!(matches!(run.environment_variables, Some(MapOrPath::Map(map)) if map.len() == 2));
        assert_eq!(run.init, Some(MapOrPath::Path("init.json".to_owned())));
        let run = check("flow: ../f\nrun: earlier\nenvironment_variables: .env\n", &[]);
        assert_eq!(run.run.as_deref(), Some("earlier"));
        assert_eq!(run.environment_variables, Some(MapOrPath::Path(".env".to_owned())));
    }

    #[test]
    fn keys_of_the_cloud_are_noted_and_unknown_ones_warned_of() {
        check(
            "flow: azureml:web\ndata: https://h/d.jsonl\nruntime: r\nresources: {instance_type: x}\nproperties: {}\nextra: 1\n",
            &[
                "3 cloud-only: key `runtime` is for the cloud service and has no effect",
                "4 cloud-only: key `resources` is for the cloud service and has no effect",
                "6 unknown-key: key `extra` is not known and has no effect",
                "1 cloud-only: `flow` is `azureml:web`, which is not on this machine",
                "2 cloud-only: `data` is `https://h/d.jsonl`, which is not on this machine",
            ],
        );
    }

    #[test]
    fn hostile_files_are_findings() {
        check("", &["0 run-incomplete: the file says nothing"]);
        check("- a\n", &["1 wrong-shape: the file must be a map, and is a list"]);
        check(
            "flow: [a]\ncolumn_mapping: x\nvariant: node.id\nconnections: {n: c}\nenvironment_variables: {API_KEY: sk-hidden}\ninit: 3\n",
            &[
                "1 wrong-shape: `flow` must be text, and is a list",
                "2 wrong-shape: `column_mapping` must be a map, and is text",
                "3 wrong-shape: variant `node.id` is not `${NODE.VARIANT}`",
                "4 wrong-shape: the settings of node `n` must be a map, and is text",
                "5 literal-secret: the secret `API_KEY` is written out in the file",
                "6 wrong-shape: `init` must be a map or the path of a file, and is a number",
                "1 run-incomplete: the run names no flow",
                "1 run-incomplete: the run has neither `data` nor an earlier `run`",
            ],
        );
        assert!(!parse_run_file(b"flow: {", None).findings.is_empty());
        assert!(!parse_run_file(b"\xff\x00", None).findings.is_empty());
    }
}
