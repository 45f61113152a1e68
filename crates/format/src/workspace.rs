//! `flowbench.yaml`: what holds for a whole workspace. It can narrow what the user allowed and never widen it:
//! a folder cannot declare itself trusted.

use flowbench_core::finding::Finding;
use flowbench_core::flow::{Places, parse_seconds, pointer_key, shape};
use serde_json::{Map, Value};

use crate::yaml::YamlDocument;

/// Name of the file in the workspace's root.
pub const WORKSPACE_FILE: &str = "flowbench.yaml";

/// Keys of the file, with those of its maps.
pub const WORKSPACE_KEYS: [(&str, &[&str]); 6] = [
    ("", &["$schema", "name", "description", "defaults", "policies", "trust"]),
    ("/defaults", &["connection", "model", "max_parallel", "timeout"]),
    ("/policies", &["network", "licences", "budget"]),
    ("/policies/network", &["hosts"]),
    ("/policies/licences", &["allow", "deny"]),
    ("/policies/budget", &["money", "tokens", "time"]),
];

/// Settings of a workspace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkspaceSettings {
    /// Name for people.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Connection of nodes that name none.
    pub default_connection: Option<String>,
    /// Model of nodes that name none.
    pub default_model: Option<String>,
    /// Lines of a batch at once.
    pub max_parallel: Option<u64>,
    /// Seconds a node may take unless it says otherwise.
    pub timeout: Option<f64>,
    /// Hosts that http nodes may ask, once the user approved the folder.
    pub hosts: Vec<String>,
    /// Licences (SPDX) that models may have; empty for any.
    pub allowed_licences: Vec<String>,
    /// Licences that models may not have.
    pub denied_licences: Vec<String>,
    /// Most money a run may cost, in the currency of the price table.
    pub budget_money: Option<f64>,
    /// Most tokens of a run.
    pub budget_tokens: Option<u64>,
    /// Most seconds of a run.
    pub budget_time: Option<f64>,
    /// `trust: refuse`: code of this folder is not run, whatever was approved.
    pub refuses_code: bool,
}

/// A workspace's file that was read.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceFile {
    /// What it sets.
    pub settings: WorkspaceSettings,
    /// All of it, unknown keys included.
    pub value: Map<String, Value>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Reads the file; never fails. `file` is the name for findings.
pub fn parse_workspace(bytes: &[u8], file: Option<&str>) -> WorkspaceFile {
    let (_, value, places, findings) = YamlDocument::parse(bytes, file).into_parts();
    let mut reader = Reader { places, findings };
    let value = match value {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        other => {
            reader.wrong("", "a workspace's file", "a map", &other);
            Map::new()
        }
    };
    let root = Value::Object(value.clone());
    for (pointer, known) in WORKSPACE_KEYS {
        match root.pointer(pointer) {
            Some(Value::Object(map)) => reader.unknown_keys(map, pointer, known),
            None | Some(Value::Null) => {}
            Some(other) => reader.wrong(pointer, &format!("`{}`", last(pointer)), "a map", other),
        }
    }
    let settings = WorkspaceSettings {
        name: reader.text(&root, "/name"),
        description: reader.text(&root, "/description"),
        default_connection: reader.text(&root, "/defaults/connection"),
        default_model: reader.text(&root, "/defaults/model"),
        max_parallel: reader.count(&root, "/defaults/max_parallel"),
        timeout: reader.seconds(&root, "/defaults/timeout"),
        hosts: reader.texts(&root, "/policies/network/hosts"),
        allowed_licences: reader.texts(&root, "/policies/licences/allow"),
        denied_licences: reader.texts(&root, "/policies/licences/deny"),
        budget_money: reader.amount(&root, "/policies/budget/money"),
        budget_tokens: reader.count(&root, "/policies/budget/tokens"),
        budget_time: reader.seconds(&root, "/policies/budget/time"),
        refuses_code: reader.refuses_code(&root),
    };
    WorkspaceFile { settings, value, findings: reader.findings }
}

fn last(pointer: &str) -> &str {
    pointer.rsplit('/').next().unwrap_or(pointer)
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

    fn unknown_keys(&mut self, map: &Map<String, Value>, pointer: &str, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let place = self.places.of(&format!("{pointer}/{}", pointer_key(key)));
            self.findings.push(
                Finding::warning("unknown-key", format!("key `{key}` is not known and has no effect"))
                    .at(place)
                    .suggest(format!("known keys here: {}", known.join(", "))),
            );
        }
    }

    /// The value at a pointer, if it is written; `expect` reads it or says what was expected.
    fn read<T>(
        &mut self,
        root: &Value,
        pointer: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = root.pointer(pointer).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.wrong(pointer, &format!("`{}`", last(pointer)), expected, value);
        }
        read
    }

    fn text(&mut self, root: &Value, pointer: &str) -> Option<String> {
        self.read(root, pointer, "text", |value| value.as_str().map(str::to_owned))
    }

    fn count(&mut self, root: &Value, pointer: &str) -> Option<u64> {
        self.read(root, pointer, "a whole number above 0", |value| value.as_u64().filter(|count| *count > 0))
    }

    fn amount(&mut self, root: &Value, pointer: &str) -> Option<f64> {
        self.read(root, pointer, "a number above 0", |value| value.as_f64().filter(|amount| *amount > 0.0))
    }

    fn seconds(&mut self, root: &Value, pointer: &str) -> Option<f64> {
        self.read(root, pointer, "seconds, or text such as `30s` or `2m`", |value| {
            let seconds = match value {
                Value::String(text) => parse_seconds(text),
                other => other.as_f64(),
            };
            seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0)
        })
    }

    fn texts(&mut self, root: &Value, pointer: &str) -> Vec<String> {
        let texts = self.read(root, pointer, "a list of texts", |value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        texts.unwrap_or_default()
    }

    fn refuses_code(&mut self, root: &Value) -> bool {
        let word = self.read(root, "/trust", "`ask` or `refuse`", |value| match value.as_str()? {
            "ask" => Some(false),
            "refuse" => Some(true),
            _ => None,
        });
        word.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let file = parse_workspace(
            b"name: samples\ndefaults: {model: builtin/extractive, timeout: 30s}\npolicies:\n  network: {hosts: [api.example.test]}\n  licences: {deny: [CC-BY-NC-4.0]}\n  budget: {money: 1.5, tokens: 1000, time: 2m}\ntrust: refuse\n",
            None,
        );
        assert!(file.findings.is_empty(), "{:?}", file.findings);
        let settings = file.settings;
        assert_eq!(settings.hosts, ["api.example.test"]);
        assert_eq!((settings.budget_money, settings.budget_time), (Some(1.5), Some(120.0)));
        assert_eq!((settings.timeout, settings.refuses_code), (Some(30.0), true));
    }

    #[test]
    fn typing_errors_are_found_and_kept() {
        let file = parse_workspace(
            b"nam: x\npolicies:\n  network: {host: [a]}\n  budget: {tokens: many}\ntrust: all\n",
            None,
        );
        let found: Vec<String> = file
            .findings
            .iter()
            .map(|finding| format!("{}: {}", finding.place.line.unwrap_or(0), finding.message))
            .collect();
        assert_eq!(
            found,
            [
                "1: key `nam` is not known and has no effect",
                "3: key `host` is not known and has no effect",
                "4: `tokens` must be a whole number above 0, and is text",
                "5: `trust` must be `ask` or `refuse`, and is text",
            ]
        );
        assert_eq!(file.value["nam"], "x");
    }

    #[test]
    fn the_shipped_workspace_has_no_findings() {
        let bytes = include_bytes!("../../../flowbench.yaml");
        let file = parse_workspace(bytes, Some(WORKSPACE_FILE));
        assert!(file.findings.is_empty(), "{:?}", file.findings);
        assert!(file.settings.name.is_some());
    }
}
