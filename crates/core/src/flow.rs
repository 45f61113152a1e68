//! `FlowDraft`: a flow as its file says it, complete or broken, with the place of every part.
//!
//! Reading never fails: what cannot be understood becomes a finding, and the raw value stays beside the typed one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::finding::{Finding, Place};

/// Places of a document's parts, by JSON pointer (`/nodes/3/inputs/question`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Places {
    /// File name for findings.
    pub file: Option<String>,
    /// Pointer to one-based line and column.
    pub by_pointer: BTreeMap<String, (u32, u32)>,
}

impl Places {
    /// Place of a pointer, or of the nearest part above it.
    pub fn of(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some((line, column)) = self.by_pointer.get(pointer) {
                return Place {
                    file: self.file.clone(),
                    line: Some(*line),
                    column: Some(*column),
                    node: None,
                };
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => return Place { file: self.file.clone(), ..Place::default() },
            }
        }
    }
}

/// Escapes one key for a JSON pointer.
pub fn pointer_key(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// An input of the flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputDefinition {
    /// Type word as written.
    pub kind: Option<String>,
    /// Default; present and null is not the same as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What it is.
    pub description: Option<String>,
    /// The question of a chat.
    pub is_chat_input: bool,
    /// The history of a chat.
    pub is_chat_history: bool,
}

/// An output of the flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputDefinition {
    /// Type word as written.
    pub kind: Option<String>,
    /// Reference or literal.
    pub reference: Value,
    /// True if one is written, be it null.
    pub has_reference: bool,
    /// What it is.
    pub description: Option<String>,
    /// The answer of a chat.
    pub is_chat_output: bool,
    /// Only for evaluation: not served.
    pub is_evaluation_only: bool,
}

/// Where a node's code or template is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeSource {
    /// `code`, `package` or `package_with_prompt`.
    pub kind: String,
    /// File beside the flow.
    pub path: Option<String>,
    /// Package tool.
    pub tool: Option<String>,
    /// Arguments of a flex flow's class.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub init: Map<String, Value>,
}

/// Condition of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activate {
    /// Reference or literal.
    pub when: Value,
    /// How the two are compared; `is` is prompt flow's.
    pub comparison: Comparison,
    /// What with.
    pub with: Value,
}

/// Comparisons of `activate`; `is` is prompt flow's own, the others are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Equal, as Python sees it.
    Is,
    /// Not equal.
    IsNot,
    /// One of a list.
    In,
    /// None of a list.
    NotIn,
    /// Greater than.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less than.
    Lt,
    /// Less or equal.
    Le,
    /// Text or list contains it.
    Contains,
    /// Text matches a regular expression.
    Matches,
    /// True if `true`: the value is there and not empty.
    Exists,
}

impl Comparison {
    /// The key as written in `activate`.
    pub const ALL: [(&'static str, Self); 11] = [
        ("is", Self::Is),
        ("is_not", Self::IsNot),
        ("in", Self::In),
        ("not_in", Self::NotIn),
        ("gt", Self::Gt),
        ("ge", Self::Ge),
        ("lt", Self::Lt),
        ("le", Self::Le),
        ("contains", Self::Contains),
        ("matches", Self::Matches),
        ("exists", Self::Exists),
    ];
}

/// What happens to a list when one item fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The node fails.
    #[default]
    Fail,
    /// The item is left out.
    Skip,
    /// The item becomes null.
    Null,
}

/// A node run once for each item of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForEach {
    /// Reference to a list, or a literal list.
    pub items: Value,
    /// Input that takes the item; `item` unless said.
    pub input: String,
    /// How many at once.
    pub max_parallel: usize,
    /// What a failed item does.
    pub on_error: OnError,
    /// Most items taken.
    pub max_items: usize,
}

/// How often a failed node is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// First wait in seconds; doubles after each attempt.
    pub wait: f64,
}

/// A node as its file says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeDraft {
    /// Name.
    pub name: String,
    /// Type word as written.
    pub kind: Option<String>,
    /// Where its code is.
    pub source: Option<NodeSource>,
    /// Inputs: literals and references.
    pub inputs: IndexMap<String, Value>,
    /// Connection of an llm node.
    pub connection: Option<String>,
    /// `chat` or `completion`.
    pub api: Option<String>,
    /// Provider word; ignored when run.
    pub provider: Option<String>,
    /// Condition.
    pub activate: Option<Activate>,
    /// Runs once after all lines.
    pub is_aggregation: bool,
    /// Body lives in `node_variants`.
    pub uses_variants: bool,
    /// Runs for each item.
    pub for_each: Option<ForEach>,
    /// Tries again.
    pub retry: Option<RetryPolicy>,
    /// Seconds.
    pub timeout: Option<f64>,
    /// `cache: off` or `on`; absent means that the kind of node decides.
    pub cache: Option<bool>,
    /// Tools an llm node may call (flows or Python nodes), as written.
    pub tools: Option<Value>,
    /// Most rounds of calling tools.
    pub max_steps: Option<u32>,
    /// Keys this version does not know, kept.
    pub unknown: Map<String, Value>,
    /// JSON pointer of the body, for places.
    pub pointer: String,
}

/// Alternatives of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeVariants {
    /// The one used unless said otherwise.
    pub default_variant_id: Option<String>,
    /// By id.
    pub variants: IndexMap<String, NodeDraft>,
}

/// How images are written in values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageFormat {
    /// `{"data:image/png;path": …}`.
    #[default]
    #[serde(rename = "basic")]
    Basic,
    /// `{"type": "image_url", …}`.
    #[serde(rename = "openai-vision")]
    OpenAiVision,
}

/// A flow as its file says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowDraft {
    /// Name, if written.
    pub name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// `standard`, `chat` or `evaluation`; informational.
    pub kind: Option<String>,
    /// `python` unless said.
    pub language: Option<String>,
    /// By name, in order.
    pub inputs: IndexMap<String, InputDefinition>,
    /// By name, in order.
    pub outputs: IndexMap<String, OutputDefinition>,
    /// In file order; duplicates kept.
    pub nodes: Vec<NodeDraft>,
    /// By node name.
    pub node_variants: IndexMap<String, NodeVariants>,
    /// Set before the run.
    pub environment_variables: IndexMap<String, Value>,
    /// Files and folders merged in.
    pub additional_includes: Vec<String>,
    /// Image wire form.
    pub message_format: MessageFormat,
    /// Top-level keys this version does not know.
    pub unknown: Map<String, Value>,
    /// Places of all parts.
    #[serde(skip)]
    pub places: Arc<Places>,
}

impl FlowDraft {
    /// Reads a parsed document. Every part that has the wrong shape is left out and found.
    pub fn read(value: &Value, places: Places) -> (Self, Vec<Finding>) {
        let places = Arc::new(places);
        let mut reader = Reader { places: Arc::clone(&places), findings: Vec::new() };
        let flow = reader.flow(value, places);
        (flow, reader.findings)
    }

    /// The draft with the chosen variants put in place: for each node with variants the chosen id, else the
    /// default one. Unknown nodes and ids are findings.
    pub fn with_variants(&self, chosen: &[(String, String)]) -> (Self, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut flow = self.clone();
        let choice: HashMap<&str, &str> =
            chosen.iter().map(|(node, id)| (node.as_str(), id.as_str())).collect();
        for (node, id) in chosen {
            match self.node_variants.get(node) {
                None => {
                    let known: Vec<&str> = self.node_variants.keys().map(String::as_str).collect();
                    findings.push(
                        Finding::error("unknown-variant", format!("node `{node}` has no variants"))
                            .suggest(list_known("nodes with variants", &known)),
                    );
                }
                Some(variants) if !variants.variants.contains_key(id) => {
                    let known: Vec<&str> = variants.variants.keys().map(String::as_str).collect();
                    findings.push(
                        Finding::error("unknown-variant", format!("node `{node}` has no variant `{id}`"))
                            .on_node(node)
                            .suggest(list_known("variants", &known)),
                    );
                }
                Some(_) => {}
            }
        }
        for (name, variants) in &self.node_variants {
            let place = self.places.of(&format!("/node_variants/{}", pointer_key(name)));
            let Some(slot) = flow.nodes.iter_mut().find(|node| &node.name == name) else { continue };
            let default_id = variants.default_variant_id.as_deref();
            if let Some(id) = default_id.filter(|id| !variants.variants.contains_key(*id)) {
                let known: Vec<&str> = variants.variants.keys().map(String::as_str).collect();
                findings.push(
                    Finding::error(
                        "unknown-variant",
                        format!("default variant `{id}` of node `{name}` is not among its variants"),
                    )
                    .at(place.clone())
                    .on_node(name)
                    .suggest(list_known("variants", &known)),
                );
                continue;
            }
            let id =
                choice.get(name.as_str()).copied().or(if slot.uses_variants { default_id } else { None });
            match id {
                Some(id) => {
                    if let Some(body) = variants.variants.get(id) {
                        *slot = NodeDraft { name: name.clone(), uses_variants: false, ..body.clone() };
                    }
                }
                None if slot.uses_variants => findings.push(
                    Finding::error("unknown-variant", format!("node `{name}` has no default variant"))
                        .at(place)
                        .on_node(name)
                        .suggest("name one with `default_variant_id`"),
                ),
                None => {}
            }
        }
        for node in &flow.nodes {
            if node.uses_variants && !self.node_variants.contains_key(&node.name) {
                findings.push(
                    Finding::error(
                        "unknown-variant",
                        format!("node `{}` uses variants, and `node_variants` has none for it", node.name),
                    )
                    .at(self.places.of(&node.pointer))
                    .on_node(&node.name),
                );
            }
        }
        (flow, findings)
    }
}

/// "known X: a, b" for suggestions; at most eight names.
pub fn list_known(what: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("there are no {what}");
    }
    let shown: Vec<String> = known.iter().take(8).map(|name| format!("`{name}`")).collect();
    let more = if known.len() > 8 { format!(" and {} more", known.len() - 8) } else { String::new() };
    format!("known {what}: {}{more}", shown.join(", "))
}

/// Default of `for_each.max_parallel`: enough to hide latency, small enough for a laptop.
pub const DEFAULT_MAX_PARALLEL: usize = 8;
/// Default of `for_each.max_items`: a list that long is more often a mistake than a wish.
pub const DEFAULT_MAX_ITEMS: usize = 10_000;

const TOP_LEVEL_IGNORED: [&str; 8] =
    ["$schema", "id", "display_name", "tags", "environment", "tools", "comment", "node_variants"];

struct Reader {
    places: Arc<Places>,
    findings: Vec<Finding>,
}

impl Reader {
    fn wrong(&mut self, pointer: &str, what: &str, expected: &str, found: &Value) {
        self.findings.push(
            Finding::error("wrong-shape", format!("{what} must be {expected}, and is {}", shape(found)))
                .at(self.places.of(pointer)),
        );
    }

    fn text(&mut self, map: &Map<String, Value>, key: &str, pointer: &str) -> Option<String> {
        match map.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            Value::Number(number) => Some(number.to_string()),
            other => {
                let other = other.clone();
                self.wrong(&format!("{pointer}/{key}"), &format!("`{key}`"), "text", &other);
                None
            }
        }
    }

    fn flag(&mut self, map: &Map<String, Value>, key: &str, pointer: &str) -> bool {
        match map.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                let other = other.clone();
                self.wrong(&format!("{pointer}/{key}"), &format!("`{key}`"), "true or false", &other);
                false
            }
        }
    }

    fn map<'v>(
        &mut self,
        map: &'v Map<String, Value>,
        key: &str,
        pointer: &str,
    ) -> Option<&'v Map<String, Value>> {
        match map.get(key)? {
            Value::Object(inner) => Some(inner),
            Value::Null => None,
            other => {
                self.wrong(&format!("{pointer}/{key}"), &format!("`{key}`"), "a map", other);
                None
            }
        }
    }

    fn flow(&mut self, value: &Value, places: Arc<Places>) -> FlowDraft {
        let mut flow = FlowDraft { places, ..FlowDraft::default() };
        let Value::Object(map) = value else {
            self.wrong("", "a flow", "a map with `inputs`, `outputs` and `nodes`", value);
            return flow;
        };
        flow.name = self.text(map, "name", "");
        flow.description = self.text(map, "description", "");
        flow.kind = self.text(map, "type", "");
        flow.language = self.text(map, "language", "");
        for (name, body) in self.map(map, "inputs", "").into_iter().flatten() {
            let pointer = format!("/inputs/{}", pointer_key(name));
            if let Some(input) = self.input(body, &pointer, name) {
                flow.inputs.insert(name.clone(), input);
            }
        }
        for (name, body) in self.map(map, "outputs", "").into_iter().flatten() {
            let pointer = format!("/outputs/{}", pointer_key(name));
            if let Some(output) = self.output(body, &pointer, name) {
                flow.outputs.insert(name.clone(), output);
            }
        }
        match map.get("nodes") {
            None | Some(Value::Null) => {}
            Some(Value::Array(nodes)) => {
                for (index, body) in nodes.iter().enumerate() {
                    let pointer = format!("/nodes/{index}");
                    if let Some(node) = self.node(body, &pointer, None) {
                        flow.nodes.push(node);
                    }
                }
            }
            Some(other) => self.wrong("/nodes", "`nodes`", "a list", other),
        }
        for (name, body) in self.map(map, "node_variants", "").into_iter().flatten() {
            let pointer = format!("/node_variants/{}", pointer_key(name));
            if let Some(variants) = self.variants(body, &pointer, name) {
                flow.node_variants.insert(name.clone(), variants);
            }
        }
        for (name, value) in self.map(map, "environment_variables", "").into_iter().flatten() {
            flow.environment_variables.insert(name.clone(), value.clone());
        }
        match map.get("additional_includes") {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    match item {
                        Value::String(path) => flow.additional_includes.push(path.clone()),
                        other => self.wrong(
                            &format!("/additional_includes/{index}"),
                            "an entry of `additional_includes`",
                            "a path",
                            other,
                        ),
                    }
                }
            }
            Some(other) => {
                self.wrong("/additional_includes", "`additional_includes`", "a list of paths", other)
            }
        }
        match self.text(map, "message_format", "").as_deref() {
            None | Some("basic") => {}
            Some("openai-vision") => flow.message_format = MessageFormat::OpenAiVision,
            Some(other) => self.findings.push(
                Finding::error("wrong-shape", format!("`message_format` `{other}` is not known"))
                    .at(self.places.of("/message_format"))
                    .suggest("write `basic` or `openai-vision`"),
            ),
        }
        const KNOWN: [&str; 10] = [
            "name",
            "description",
            "type",
            "language",
            "inputs",
            "outputs",
            "nodes",
            "environment_variables",
            "additional_includes",
            "message_format",
        ];
        for (key, value) in map {
            if !KNOWN.contains(&key.as_str()) && !TOP_LEVEL_IGNORED.contains(&key.as_str()) {
                flow.unknown.insert(key.clone(), value.clone());
            }
        }
        flow
    }

    fn input(&mut self, body: &Value, pointer: &str, name: &str) -> Option<InputDefinition> {
        let Value::Object(map) = body else {
            self.wrong(pointer, &format!("input `{name}`"), "a map with `type`", body);
            return None;
        };
        Some(InputDefinition {
            kind: self.text(map, "type", pointer),
            default: map.get("default").cloned(),
            description: self.text(map, "description", pointer),
            is_chat_input: self.flag(map, "is_chat_input", pointer),
            is_chat_history: self.flag(map, "is_chat_history", pointer),
        })
    }

    fn output(&mut self, body: &Value, pointer: &str, name: &str) -> Option<OutputDefinition> {
        let Value::Object(map) = body else {
            self.wrong(pointer, &format!("output `{name}`"), "a map with `reference`", body);
            return None;
        };
        Some(OutputDefinition {
            kind: self.text(map, "type", pointer),
            reference: map.get("reference").cloned().unwrap_or(Value::Null),
            has_reference: map.contains_key("reference"),
            description: self.text(map, "description", pointer),
            is_chat_output: self.flag(map, "is_chat_output", pointer),
            is_evaluation_only: self.flag(map, "evaluation_only", pointer),
        })
    }

    fn variants(&mut self, body: &Value, pointer: &str, name: &str) -> Option<NodeVariants> {
        let Value::Object(map) = body else {
            self.wrong(pointer, &format!("variants of node `{name}`"), "a map", body);
            return None;
        };
        let mut variants = NodeVariants {
            default_variant_id: self.text(map, "default_variant_id", pointer),
            variants: IndexMap::new(),
        };
        for (id, variant) in self.map(map, "variants", pointer).into_iter().flatten() {
            let at = format!("{pointer}/variants/{}", pointer_key(id));
            let Value::Object(variant_map) = variant else {
                self.wrong(&at, &format!("variant `{id}`"), "a map with `node`", variant);
                continue;
            };
            let Some(node) = variant_map.get("node") else {
                self.wrong(&at, &format!("variant `{id}`"), "a map with `node`", variant);
                continue;
            };
            if let Some(draft) = self.node(node, &format!("{at}/node"), Some(name)) {
                variants.variants.insert(id.clone(), draft);
            }
        }
        Some(variants)
    }

    fn node(&mut self, body: &Value, pointer: &str, given_name: Option<&str>) -> Option<NodeDraft> {
        let Value::Object(map) = body else {
            self.wrong(pointer, "a node", "a map with `name` and `type`", body);
            return None;
        };
        let name = match given_name {
            Some(name) => name.to_owned(),
            None => match self.text(map, "name", pointer) {
                Some(name) => name,
                None => {
                    self.findings.push(
                        Finding::error("wrong-shape", "a node has no name")
                            .at(self.places.of(pointer))
                            .suggest("give it a `name`"),
                    );
                    return None;
                }
            },
        };
        let mut node = NodeDraft { pointer: pointer.to_owned(), ..NodeDraft::default() };
        node.kind = self.text(map, "type", pointer);
        if let Some(source) = self.map(map, "source", pointer) {
            let at = format!("{pointer}/source");
            node.source = Some(NodeSource {
                kind: self.text(source, "type", &at).unwrap_or_default(),
                path: self.text(source, "path", &at),
                tool: self.text(source, "tool", &at),
                init: self.map(source, "init", &at).cloned().unwrap_or_default(),
            });
        }
        for (key, value) in self.map(map, "inputs", pointer).into_iter().flatten() {
            node.inputs.insert(key.clone(), value.clone());
        }
        node.connection = self.text(map, "connection", pointer).filter(|text| !text.is_empty());
        node.api = self.text(map, "api", pointer);
        node.provider = self.text(map, "provider", pointer);
        node.is_aggregation = self.flag(map, "aggregation", pointer) || self.flag(map, "reduce", pointer);
        node.uses_variants = self.flag(map, "use_variants", pointer);
        node.activate = self.activate(map, pointer);
        node.for_each = self.for_each(map, pointer);
        node.retry = self.retry(map, pointer);
        node.timeout = self.seconds(map, "timeout", pointer);
        node.cache = self.cache(map, pointer);
        node.tools = map.get("tools").filter(|tools| !tools.is_null()).cloned();
        node.max_steps =
            self.count(map, "max_steps", pointer).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        const KNOWN: [&str; 22] = [
            "name",
            "type",
            "source",
            "inputs",
            "connection",
            "api",
            "provider",
            "module",
            "activate",
            "aggregation",
            "reduce",
            "use_variants",
            "enable_cache",
            "comment",
            "tool",
            "for_each",
            "retry",
            "timeout",
            "cache",
            "tools",
            "max_steps",
            "description",
        ];
        for (key, value) in map {
            if !KNOWN.contains(&key.as_str()) {
                node.unknown.insert(key.clone(), value.clone());
            }
        }
        node.name = name;
        Some(node)
    }

    fn activate(&mut self, map: &Map<String, Value>, pointer: &str) -> Option<Activate> {
        let inner = self.map(map, "activate", pointer)?;
        let at = format!("{pointer}/activate");
        let Some(when) = inner.get("when") else {
            self.findings.push(
                Finding::error("wrong-shape", "`activate` has no `when`")
                    .at(self.places.of(&at))
                    .suggest("write `when: ${NODE.output}` and `is: VALUE`"),
            );
            return None;
        };
        let found: Vec<(Comparison, &Value)> = Comparison::ALL
            .iter()
            .filter_map(|(key, comparison)| inner.get(*key).map(|value| (*comparison, value)))
            .collect();
        match found.as_slice() {
            [(comparison, with)] => {
                Some(Activate { when: when.clone(), comparison: *comparison, with: (*with).clone() })
            }
            _ => {
                let keys: Vec<&str> = Comparison::ALL.iter().map(|(key, _)| *key).collect();
                self.findings.push(
                    Finding::error("wrong-shape", "`activate` needs exactly one comparison")
                        .at(self.places.of(&at))
                        .suggest(format!("write one of {}", keys.join(", "))),
                );
                None
            }
        }
    }

    fn for_each(&mut self, map: &Map<String, Value>, pointer: &str) -> Option<ForEach> {
        let at = format!("{pointer}/for_each");
        let written = map.get("for_each").filter(|value| !value.is_null())?;
        // The short form names the list only.
        let Value::Object(inner) = written else {
            return Some(ForEach {
                items: written.clone(),
                input: "item".to_owned(),
                max_parallel: DEFAULT_MAX_PARALLEL,
                on_error: OnError::Fail,
                max_items: DEFAULT_MAX_ITEMS,
            });
        };
        let on_error = match self.text(inner, "on_error", &at).as_deref() {
            None | Some("fail") => OnError::Fail,
            Some("skip") => OnError::Skip,
            Some("null") => OnError::Null,
            Some(other) => {
                self.findings.push(
                    Finding::error("wrong-shape", format!("`on_error` `{other}` is not known"))
                        .at(self.places.of(&format!("{at}/on_error")))
                        .suggest("write `fail`, `skip` or `null`"),
                );
                OnError::Fail
            }
        };
        let Some(items) = inner.get("items") else {
            self.findings.push(
                Finding::error("wrong-shape", "`for_each` has no `items`")
                    .at(self.places.of(&at))
                    .suggest("write `items: ${NODE.output}`"),
            );
            return None;
        };
        Some(ForEach {
            items: items.clone(),
            input: self.text(inner, "input", &at).unwrap_or_else(|| "item".to_owned()),
            max_parallel: self.count(inner, "max_parallel", &at).unwrap_or(DEFAULT_MAX_PARALLEL).max(1),
            on_error,
            max_items: self.count(inner, "max_items", &at).unwrap_or(DEFAULT_MAX_ITEMS),
        })
    }

    fn retry(&mut self, map: &Map<String, Value>, pointer: &str) -> Option<RetryPolicy> {
        let at = format!("{pointer}/retry");
        match map.get("retry").filter(|value| !value.is_null())? {
            Value::Object(inner) => Some(RetryPolicy {
                attempts: self.count(inner, "attempts", &at).unwrap_or(3).clamp(1, 100) as u32,
                wait: self.seconds(inner, "wait", &at).unwrap_or(0.5),
            }),
            Value::Number(number) if number.as_u64().is_some() => {
                Some(RetryPolicy { attempts: number.as_u64().unwrap_or(1).clamp(1, 100) as u32, wait: 0.5 })
            }
            other => {
                self.wrong(&at, "`retry`", "a number of attempts or a map with `attempts` and `wait`", other);
                None
            }
        }
    }

    fn cache(&mut self, map: &Map<String, Value>, pointer: &str) -> Option<bool> {
        match map.get("cache")? {
            Value::Null => None,
            Value::Bool(flag) => Some(*flag),
            Value::String(word) if word == "off" => Some(false),
            Value::String(word) if word == "on" => Some(true),
            other => {
                self.wrong(&format!("{pointer}/cache"), "`cache`", "`on` or `off`", other);
                None
            }
        }
    }

    fn count(&mut self, map: &Map<String, Value>, key: &str, pointer: &str) -> Option<usize> {
        match map.get(key).filter(|value| !value.is_null())? {
            Value::Number(number) if number.as_u64().is_some() => {
                number.as_u64().and_then(|count| usize::try_from(count).ok())
            }
            other => {
                self.wrong(&format!("{pointer}/{key}"), &format!("`{key}`"), "a whole number", other);
                None
            }
        }
    }

    /// Seconds as a number, or text with a unit: `500ms`, `30s`, `2m`, `1h`.
    fn seconds(&mut self, map: &Map<String, Value>, key: &str, pointer: &str) -> Option<f64> {
        let value = map.get(key).filter(|value| !value.is_null())?;
        let seconds = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => parse_seconds(text),
            _ => None,
        };
        match seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0 && *seconds <= 31_536_000.0) {
            Some(seconds) => Some(seconds),
            None => {
                self.wrong(
                    &format!("{pointer}/{key}"),
                    &format!("`{key}`"),
                    "seconds, or text such as `500ms`, `30s` or `2m`",
                    value,
                );
                None
            }
        }
    }
}

/// Reads `500ms`, `30s`, `2m`, `1h` or a bare number of seconds.
pub fn parse_seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (digits, factor) = if let Some(digits) = text.strip_suffix("ms") {
        (digits, 0.001)
    } else if let Some(digits) = text.strip_suffix('s') {
        (digits, 1.0)
    } else if let Some(digits) = text.strip_suffix('m') {
        (digits, 60.0)
    } else if let Some(digits) = text.strip_suffix('h') {
        (digits, 3600.0)
    } else {
        (text, 1.0)
    };
    digits.trim().parse::<f64>().ok().map(|number| number * factor)
}

/// A value's shape in words.
pub fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
