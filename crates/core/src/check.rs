//! From a draft to a flow whose names resolve, whose pairs of type and source are legal and which has no cycle.
//!
//! [`check_flow`] returns as many findings as it can; a [`CheckedFlow`] comes out only when none is an error.
//! What the named files hold comes in as [`FlowFacts`]; without facts about a file only the flow itself is checked.

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexMap;
use serde_json::Value;

use crate::facts::{FlowFacts, ParameterFacts, SourceFacts};
use crate::finding::{Finding, Place, Severity, has_errors};
use crate::flow::{
    Activate, Comparison, FlowDraft, ForEach, MessageFormat, NodeDraft, RetryPolicy, list_known, pointer_key,
};
use crate::ids::NodeId;
use crate::ports::CodeSource;
use crate::reference::{PathStep, Reference, ReferenceError, parse_value, write_reference};
use crate::value::{ValueType, coerce};

/// Where an input's value comes from, names resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Binding {
    /// Written in the flow.
    Literal(Value),
    /// A flow input.
    Input(String),
    /// Result of a node (by index into [`CheckedFlow::nodes`]), or a part of it.
    Node {
        /// Index of the node.
        node: usize,
        /// Steps into its result.
        path: Vec<PathStep>,
    },
}

/// `chat` or `completion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Messages.
    Chat,
    /// Text.
    Completion,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Asks a model with a rendered template.
    Llm {
        /// Template path.
        template: String,
        /// Connection name; absent means that none was named.
        connection: Option<String>,
        /// Which API.
        api: Api,
        /// Tools as written (flows or Python nodes the model may call).
        tools: Option<Value>,
        /// Most rounds of calling tools.
        max_steps: u32,
    },
    /// Renders a template.
    Prompt {
        /// Template path.
        template: String,
    },
    /// Runs Python: a file or a package tool.
    Python {
        /// Where the code is.
        source: CodeSource,
    },
    /// A package tool that takes a template.
    CustomLlm {
        /// Package tool.
        tool: String,
        /// Template path.
        template: String,
    },
    /// Runs JavaScript.
    Script {
        /// Source path.
        path: String,
    },
    /// Asks an index.
    Retrieve,
    /// Vectors for texts.
    Embed {
        /// Connection name.
        connection: Option<String>,
    },
    /// Reorders passages.
    Rerank {
        /// Connection name.
        connection: Option<String>,
    },
    /// One request.
    Http,
    /// Checks text.
    Guard {
        /// Connection of a remote checker, where one is named.
        connection: Option<String>,
    },
    /// Calls another flow.
    Flow {
        /// Folder or file, relative to the flow folder.
        path: String,
    },
    /// Structured content from text.
    Extract {
        /// Connection for the repair try.
        connection: Option<String>,
    },
}

impl NodeKind {
    /// The type word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Llm { .. } => "llm",
            Self::Prompt { .. } => "prompt",
            Self::Python { .. } => "python",
            Self::CustomLlm { .. } => "custom_llm",
            Self::Script { .. } => "script",
            Self::Retrieve => "retrieve",
            Self::Embed { .. } => "embed",
            Self::Rerank { .. } => "rerank",
            Self::Http => "http",
            Self::Guard { .. } => "guard",
            Self::Flow { .. } => "flow",
            Self::Extract { .. } => "extract",
        }
    }

    /// Path of the node's own source file, where it has one.
    pub fn source_path(&self) -> Option<&str> {
        match self {
            Self::Llm { template, .. } | Self::Prompt { template } | Self::CustomLlm { template, .. } => {
                Some(template)
            }
            Self::Python { source: CodeSource::PythonFile { path } }
            | Self::Script { path }
            | Self::Flow { path } => Some(path),
            _ => None,
        }
    }
}

/// The type words a node may have.
pub const NODE_TYPES: [&str; 12] = [
    "llm",
    "prompt",
    "python",
    "custom_llm",
    "script",
    "retrieve",
    "embed",
    "rerank",
    "http",
    "guard",
    "flow",
    "extract",
];

/// Default of an llm node's `max_steps`: rounds of tool calls before the node gives up.
pub const DEFAULT_MAX_STEPS: u32 = 8;

/// Condition, names resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedActivate {
    /// What is compared.
    pub when: Binding,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub with: Value,
}

/// Map over a list, names resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedForEach {
    /// The list.
    pub items: Binding,
    /// Everything else as written.
    pub settings: ForEach,
}

/// A node whose names resolve.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedNode {
    /// Name.
    pub id: NodeId,
    /// What it does.
    pub kind: NodeKind,
    /// Inputs; null and empty-text literals are gone.
    pub inputs: IndexMap<String, Binding>,
    /// Parameters that have a default and may be left out when their source was bypassed.
    pub optional: BTreeSet<String>,
    /// Parameters that take a connection, whose value is its name.
    pub connection_parameters: BTreeSet<String>,
    /// Condition.
    pub activate: Option<CheckedActivate>,
    /// Map over a list.
    pub for_each: Option<CheckedForEach>,
    /// Runs once after all lines.
    pub is_aggregation: bool,
    /// Tries again.
    pub retry: Option<RetryPolicy>,
    /// Seconds.
    pub timeout: Option<f64>,
    /// Whether its result may be reused; absent means that the kind of node decides.
    pub cache: Option<bool>,
    /// True if an llm node calls it as a tool: it does not run by itself.
    pub is_tool: bool,
    /// Indexes of nodes it waits for, each once.
    pub dependencies: Vec<usize>,
    /// Where it stands.
    pub place: Place,
}

/// A flow input, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedInput {
    /// Type.
    pub kind: ValueType,
    /// Default.
    pub default: Option<Value>,
    /// The question of a chat.
    pub is_chat_input: bool,
    /// The history of a chat.
    pub is_chat_history: bool,
}

/// A flow output, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedOutput {
    /// Type, where one is written and known.
    pub kind: Option<ValueType>,
    /// Where its value comes from.
    pub binding: Binding,
    /// The answer of a chat.
    pub is_chat_output: bool,
    /// Only for evaluation: not served.
    pub is_evaluation_only: bool,
}

/// A flow that can be planned.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedFlow {
    /// Name.
    pub name: String,
    /// Inputs.
    pub inputs: IndexMap<String, CheckedInput>,
    /// Outputs; those that point at aggregation nodes are gone.
    pub outputs: IndexMap<String, CheckedOutput>,
    /// Nodes in file order.
    pub nodes: Vec<CheckedNode>,
    /// Indexes of `nodes`, each after all it waits for.
    pub order: Vec<usize>,
    /// Image wire form.
    pub message_format: MessageFormat,
    /// Set before the run.
    pub environment_variables: IndexMap<String, Value>,
}

impl CheckedFlow {
    /// Index of a node by name.
    pub fn node_index(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id.as_str() == name)
    }

    /// The input that takes the question of a chat.
    pub fn chat_input(&self) -> Option<&str> {
        self.inputs.iter().find(|(_, input)| input.is_chat_input).map(|(name, _)| name.as_str())
    }

    /// The input that takes the history of a chat.
    pub fn chat_history(&self) -> Option<&str> {
        self.inputs.iter().find(|(_, input)| input.is_chat_history).map(|(name, _)| name.as_str())
    }

    /// The output that holds the answer of a chat.
    pub fn chat_output(&self) -> Option<&str> {
        self.outputs.iter().find(|(_, output)| output.is_chat_output).map(|(name, _)| name.as_str())
    }
}

/// What a check found, and the flow if nothing found is an error.
#[derive(Clone, Debug)]
pub struct CheckOutcome {
    /// All findings, in file order.
    pub findings: Vec<Finding>,
    /// The flow.
    pub flow: Option<CheckedFlow>,
}

/// Checks a draft whose variants are already in place (see [`FlowDraft::with_variants`]).
pub fn check_flow(draft: &FlowDraft, fallback_name: &str, facts: &FlowFacts) -> CheckOutcome {
    let mut checker = Checker::new(draft, facts);
    checker.check_head();
    let inputs = checker.inputs();
    let nodes = checker.nodes();
    let order = checker.order(&nodes);
    checker.check_aggregation(&nodes);
    let outputs = checker.outputs(&nodes);
    checker.check_chat();
    let mut findings = checker.findings;
    findings.sort_by_key(|finding| (finding.place.line.unwrap_or(0), finding.place.column.unwrap_or(0)));
    let flow = (!has_errors(&findings)).then(|| CheckedFlow {
        name: draft.name.clone().unwrap_or_else(|| fallback_name.to_owned()),
        inputs,
        outputs,
        nodes,
        order,
        message_format: draft.message_format,
        environment_variables: draft.environment_variables.clone(),
    });
    CheckOutcome { findings, flow }
}

struct Checker<'a> {
    draft: &'a FlowDraft,
    facts: &'a FlowFacts,
    findings: Vec<Finding>,
    indexes: HashMap<&'a str, usize>,
    tools: BTreeSet<&'a str>,
}

impl<'a> Checker<'a> {
    fn new(draft: &'a FlowDraft, facts: &'a FlowFacts) -> Self {
        let mut indexes = HashMap::new();
        for (index, node) in draft.nodes.iter().enumerate() {
            indexes.entry(node.name.as_str()).or_insert(index);
        }
        let tools = draft
            .nodes
            .iter()
            .flat_map(|node| tool_names(node.tools.as_ref()))
            .filter(|name| indexes.contains_key(name))
            .collect();
        Self { draft, facts, findings: Vec::new(), indexes, tools }
    }

    fn place(&self, pointer: &str) -> Place {
        self.draft.places.of(pointer)
    }

    fn check_head(&mut self) {
        if let Some(language) = self.draft.language.as_deref().filter(|language| *language != "python") {
            self.findings.push(
                Finding::error("unsupported-language", format!("flows in `{language}` cannot be run"))
                    .at(self.place("/language"))
                    .suggest("only `python` flows are supported"),
            );
        }
        if self.draft.inputs.is_empty() && self.draft.outputs.is_empty() && self.draft.nodes.is_empty() {
            self.findings.push(
                Finding::error("no-flow", "the file has neither inputs, outputs nor nodes, and is no flow")
                    .at(self.place(""))
                    .suggest("name the flow's folder, or write `inputs`, `outputs` and `nodes`"),
            );
        }
        for key in self.draft.unknown.keys() {
            self.findings.push(
                Finding::warning("unknown-key", format!("key `{key}` is not known and has no effect"))
                    .at(self.place(&format!("/{}", pointer_key(key)))),
            );
        }
        let mut seen: HashMap<&str, &NodeDraft> = HashMap::new();
        for node in &self.draft.nodes {
            if let Some(first) = seen.insert(&node.name, node) {
                let first_line = self.place(&first.pointer).line.unwrap_or(0);
                self.findings.push(
                    Finding::error("duplicate-node", format!("two nodes are named `{}`", node.name))
                        .at(self.place(&node.pointer))
                        .on_node(&node.name)
                        .suggest(format!("rename one; the other is on line {first_line}")),
                );
            }
        }
    }

    fn inputs(&mut self) -> IndexMap<String, CheckedInput> {
        let draft = self.draft;
        let mut inputs = IndexMap::new();
        for (name, input) in &draft.inputs {
            let at = self.place(&format!("/inputs/{}", pointer_key(name)));
            let kind = match input.kind.as_deref() {
                None => {
                    self.findings.push(
                        Finding::error("unknown-type", format!("input `{name}` has no type"))
                            .at(at.clone())
                            .suggest("write `type: string`, or int, double, bool, list, object, image"),
                    );
                    continue;
                }
                Some(word) => match ValueType::parse(word) {
                    Some(kind) => kind,
                    None => {
                        self.findings.push(
                            Finding::error(
                                "unknown-type",
                                format!("input `{name}` has the unknown type `{word}`"),
                            )
                            .at(at)
                            .suggest("write int, double, bool, string, list, object or image"),
                        );
                        continue;
                    }
                },
            };
            if let Some(default) = input.default.as_ref().filter(|value| !value.is_null())
                && let Err(error) = coerce(default, kind)
            {
                self.findings.push(
                    Finding::warning("wrong-default", format!("default of input `{name}`: {error}")).at(at),
                );
            }
            inputs.insert(
                name.clone(),
                CheckedInput {
                    kind,
                    default: input.default.clone(),
                    is_chat_input: input.is_chat_input,
                    is_chat_history: input.is_chat_history,
                },
            );
        }
        inputs
    }

    /// Resolves one value. `what` names it in findings, `pointer` places it.
    fn binding(&mut self, value: &Value, what: &str, pointer: &str, node: Option<&str>) -> Option<Binding> {
        let finding = |rule: &str, message: String| {
            let finding = Finding::error(rule, message).at(self.place(pointer));
            match node {
                Some(node) => finding.on_node(node),
                None => finding,
            }
        };
        match parse_value(value) {
            Ok(None) => Some(Binding::Literal(value.clone())),
            Ok(Some(Reference::Input(name))) => {
                if self.draft.inputs.contains_key(&name) {
                    return Some(Binding::Input(name));
                }
                let known: Vec<&str> = self.draft.inputs.keys().map(String::as_str).collect();
                let suggestion = match name.split_once('.') {
                    Some((head, _)) if self.draft.inputs.contains_key(head) => format!(
                        "parts of a flow input cannot be named; pass `${{inputs.{head}}}` and take the part in the node"
                    ),
                    _ => list_known("inputs", &known),
                };
                let found = finding("unknown-input", format!("{what}: flow input `{name}` is not defined"));
                self.findings.push(found.suggest(suggestion));
                None
            }
            Ok(Some(Reference::Node { node: target, path })) => match self.indexes.get(target.as_str()) {
                Some(index) => Some(Binding::Node { node: *index, path }),
                None => {
                    let known: Vec<&str> = self.draft.nodes.iter().map(|node| node.name.as_str()).collect();
                    let suggestion = match nearest(&target, &known) {
                        Some(near) => format!("did you mean `${{{near}.output}}`?"),
                        None => list_known("nodes", &known),
                    };
                    let found = finding("unknown-node", format!("{what}: node `{target}` does not exist"));
                    self.findings.push(found.suggest(suggestion));
                    None
                }
            },
            Err(error) => {
                let found = finding("broken-reference", format!("{what}: {error}"));
                self.findings.push(found.suggest(error.suggestion()));
                None
            }
        }
    }

    /// References inside lists and maps are not resolved; say so, for the writer surely meant one.
    fn warn_nested_references(&mut self, value: &Value, what: &str, pointer: &str, node: &str) {
        fn has_reference(value: &Value) -> bool {
            match value {
                Value::String(_) => !matches!(parse_value(value), Ok(None)),
                Value::Array(items) => items.iter().any(has_reference),
                Value::Object(map) => map.values().any(has_reference),
                _ => false,
            }
        }
        if matches!(value, Value::Array(_) | Value::Object(_)) && has_reference(value) {
            self.findings.push(
                Finding::warning(
                    "nested-reference",
                    format!("{what}: references inside a list or map are not resolved"),
                )
                .at(self.place(pointer))
                .on_node(node)
                .suggest("give the reference an input of its own"),
            );
        }
    }

    fn nodes(&mut self) -> Vec<CheckedNode> {
        let draft = self.draft;
        draft.nodes.iter().map(|node| self.node(node)).collect()
    }

    fn node(&mut self, node: &'a NodeDraft) -> CheckedNode {
        let place = self.place(&node.pointer);
        let kind = self.kind(node);
        let mut inputs = IndexMap::new();
        let mut dependencies = Vec::new();
        for (name, value) in &node.inputs {
            let pointer = format!("{}/inputs/{}", node.pointer, pointer_key(name));
            let what = format!("node `{}`, input `{name}`", node.name);
            self.warn_nested_references(value, &what, &pointer, &node.name);
            // Prompt flow drops these, so that the tool's own default applies; a prompt node has none.
            let is_empty = value.is_null() || value.as_str() == Some("");
            if is_empty && !matches!(kind, NodeKind::Prompt { .. }) {
                continue;
            }
            if let Some(binding) = self.binding(value, &what, &pointer, Some(&node.name)) {
                depend(&mut dependencies, &binding);
                inputs.insert(name.clone(), binding);
            }
        }
        let activate = node.activate.as_ref().and_then(|activate| self.activate(node, activate));
        if let Some(activate) = &activate {
            depend(&mut dependencies, &activate.when);
        }
        let for_each = node.for_each.as_ref().and_then(|for_each| {
            let pointer = format!("{}/for_each", node.pointer);
            let what = format!("node `{}`, `for_each`", node.name);
            let items = self.binding(&for_each.items, &what, &pointer, Some(&node.name))?;
            if let Binding::Literal(value) = &items
                && !value.is_array()
            {
                self.findings.push(
                    Finding::error(
                        "wrong-shape",
                        format!("{what}: `items` must be a list or a reference to one"),
                    )
                    .at(self.place(&pointer))
                    .on_node(&node.name),
                );
            }
            Some(CheckedForEach { items, settings: for_each.clone() })
        });
        if let Some(for_each) = &for_each {
            depend(&mut dependencies, &for_each.items);
        }
        self.check_tools(node, &mut dependencies);
        for key in node.unknown.keys() {
            self.findings.push(
                Finding::warning(
                    "unknown-key",
                    format!("key `{key}` of node `{}` is not known and has no effect", node.name),
                )
                .at(self.place(&format!("{}/{}", node.pointer, pointer_key(key))))
                .on_node(&node.name),
            );
        }
        let mut checked = CheckedNode {
            id: NodeId(node.name.clone()),
            kind,
            inputs,
            optional: BTreeSet::new(),
            connection_parameters: BTreeSet::new(),
            activate,
            for_each,
            is_aggregation: node.is_aggregation,
            retry: node.retry.clone(),
            timeout: node.timeout,
            cache: node.cache,
            is_tool: self.tools.contains(node.name.as_str()),
            dependencies,
            place,
        };
        self.check_source(node, &mut checked);
        self.check_connection(node, &checked);
        checked
    }

    /// A tool node's wired inputs must be there before the model that calls it runs.
    fn check_tools(&mut self, node: &NodeDraft, dependencies: &mut Vec<usize>) {
        let Some(tools) = &node.tools else { return };
        let pointer = format!("{}/tools", node.pointer);
        if node.kind.as_deref() != Some("llm") || !tools.is_array() {
            self.findings.push(
                Finding::error(
                    "wrong-shape",
                    format!("node `{}`: `tools` is a list, on llm nodes only", node.name),
                )
                .at(self.place(&pointer))
                .on_node(&node.name)
                .suggest("write `tools: [{node: NAME}, {flow: ../FOLDER}]`"),
            );
            return;
        }
        for name in tool_names(Some(tools)) {
            let Some(index) = self.indexes.get(name).copied() else { continue };
            let target = &self.draft.nodes[index];
            if target.kind.as_deref() != Some("python") {
                self.findings.push(
                    Finding::error(
                        "wrong-tool",
                        format!("node `{}`: tool `{name}` is no python node", node.name),
                    )
                    .at(self.place(&pointer))
                    .on_node(&node.name)
                    .suggest("a tool is a python node of this flow, or a flow: `{flow: ../FOLDER}`"),
                );
            }
            depend(dependencies, &Binding::Node { node: index, path: Vec::new() });
        }
    }

    fn activate(&mut self, node: &NodeDraft, activate: &Activate) -> Option<CheckedActivate> {
        let pointer = format!("{}/activate/when", node.pointer);
        let what = format!("node `{}`, `activate.when`", node.name);
        let when = self.binding(&activate.when, &what, &pointer, Some(&node.name))?;
        Some(CheckedActivate { when, comparison: activate.comparison, with: activate.with.clone() })
    }

    fn kind(&mut self, node: &NodeDraft) -> NodeKind {
        let word = node.kind.as_deref().unwrap_or("");
        let source_kind = node.source.as_ref().map(|source| source.kind.as_str());
        let path = node.source.as_ref().and_then(|source| source.path.clone());
        let tool = node.source.as_ref().and_then(|source| source.tool.clone());
        let refuse = |this: &mut Self, rule: &str, message: String, suggestion: String| {
            this.findings.push(
                Finding::error(rule, message)
                    .at(this.place(&node.pointer))
                    .on_node(&node.name)
                    .suggest(suggestion),
            );
        };
        if !NODE_TYPES.contains(&word) {
            let message = match word {
                "" => format!("node `{}` has no type", node.name),
                _ => format!("node `{}` has the unknown type `{word}`", node.name),
            };
            refuse(self, "unknown-type", message, format!("known types: {}", NODE_TYPES.join(", ")));
            return NodeKind::Retrieve;
        }
        let legal: &[&str] = match word {
            "llm" | "prompt" | "script" | "flow" => &["code"],
            // `flex` is what a flex flow's file becomes; nobody writes it in a dag.
            "python" => &["code", "package", "flex"],
            "custom_llm" => &["package_with_prompt"],
            _ => &[],
        };
        match source_kind {
            None if legal.is_empty() => {}
            Some(kind) if legal.contains(&kind) => {}
            found => {
                let message = match found {
                    None => format!("node `{}` of type `{word}` has no source", node.name),
                    Some(kind) => {
                        format!("node `{}`: type `{word}` does not go with source type `{kind}`", node.name)
                    }
                };
                let suggestion = match legal {
                    [] => format!("remove `source`: a `{word}` node takes all it needs from `inputs`"),
                    _ => format!("write `source: {{type: {}, …}}`", legal.join("` or `")),
                };
                refuse(self, "wrong-source", message, suggestion);
            }
        }
        let need_path = |this: &mut Self| {
            path.clone().unwrap_or_else(|| {
                if source_kind.is_some() {
                    let message = format!("source of node `{}` has no path", node.name);
                    refuse(this, "wrong-source", message, "write `path: FILE`".to_owned());
                }
                String::new()
            })
        };
        match word {
            "llm" => NodeKind::Llm {
                template: need_path(self),
                connection: node.connection.clone(),
                api: self.api(node),
                tools: node.tools.clone(),
                max_steps: node.max_steps.unwrap_or(DEFAULT_MAX_STEPS),
            },
            "prompt" => NodeKind::Prompt { template: need_path(self) },
            "python" if source_kind == Some("package") => {
                NodeKind::Python { source: CodeSource::PythonPackage { tool: self.need_tool(node, tool) } }
            }
            "python" if source_kind == Some("flex") => NodeKind::Python {
                source: CodeSource::FlexEntry {
                    entry: need_path(self),
                    init: node.source.as_ref().map(|source| source.init.clone()).unwrap_or_default(),
                    aggregate: node.is_aggregation,
                },
            },
            "python" => NodeKind::Python { source: CodeSource::PythonFile { path: need_path(self) } },
            "custom_llm" => {
                NodeKind::CustomLlm { template: need_path(self), tool: self.need_tool(node, tool) }
            }
            "script" => NodeKind::Script { path: need_path(self) },
            "embed" => NodeKind::Embed { connection: node.connection.clone() },
            "rerank" => NodeKind::Rerank { connection: node.connection.clone() },
            "http" => NodeKind::Http,
            "guard" => NodeKind::Guard { connection: node.connection.clone() },
            "flow" => NodeKind::Flow { path: need_path(self) },
            "extract" => NodeKind::Extract { connection: node.connection.clone() },
            _ => NodeKind::Retrieve,
        }
    }

    fn need_tool(&mut self, node: &NodeDraft, tool: Option<String>) -> String {
        tool.unwrap_or_else(|| {
            self.findings.push(
                Finding::error("wrong-source", format!("source of node `{}` has no tool", node.name))
                    .at(self.place(&node.pointer))
                    .on_node(&node.name)
                    .suggest("write `tool: package.module.function`"),
            );
            String::new()
        })
    }

    fn api(&mut self, node: &NodeDraft) -> Api {
        match node.api.as_deref() {
            None | Some("chat") => Api::Chat,
            Some("completion") => Api::Completion,
            Some(other) => {
                self.findings.push(
                    Finding::error("unknown-api", format!("node `{}` asks for api `{other}`", node.name))
                        .at(self.place(&format!("{}/api", node.pointer)))
                        .on_node(&node.name)
                        .suggest("write `chat` or `completion`"),
                );
                Api::Chat
            }
        }
    }

    fn check_source(&mut self, node: &NodeDraft, checked: &mut CheckedNode) {
        let Some(path) = checked.kind.source_path().map(str::to_owned) else { return };
        let facts = self.facts;
        let Some(facts) = facts.sources.get(&path) else { return };
        let at = self.place(&format!("{}/source/path", node.pointer));
        match facts {
            SourceFacts::Missing { reason } => self.findings.push(
                Finding::error("missing-source", format!("node `{}`: file `{path}` {reason}", node.name))
                    .at(at)
                    .on_node(&node.name)
                    .suggest("put the file beside the flow, or correct the path"),
            ),
            SourceFacts::Broken { message, line, column } => {
                let place = Place { file: self.source_file(&path), line: *line, column: *column, node: None };
                self.findings.push(
                    Finding::error("broken-source", format!("node `{}`: {message}", node.name))
                        .at(place)
                        .on_node(&node.name),
                );
            }
            SourceFacts::Template { variables, has_roles } => {
                self.check_template(node, checked, variables, *has_roles, &path, &at);
            }
            // The results of all lines are handed to `__aggregate__`, which is not the function that was read.
            SourceFacts::Python { .. }
                if node.is_aggregation
                    && node.source.as_ref().is_some_and(|source| source.kind == "flex") => {}
            SourceFacts::Python { parameters, takes_rest, .. } => {
                self.check_parameters(node, checked, parameters, *takes_rest, &at);
            }
            SourceFacts::Present => {}
        }
    }

    fn source_file(&self, path: &str) -> Option<String> {
        let flow_file = self.draft.places.file.as_deref()?;
        Some(match flow_file.rfind('/') {
            Some(end) => format!("{}/{path}", &flow_file[..end]),
            None => path.to_owned(),
        })
    }

    fn check_template(
        &mut self,
        node: &NodeDraft,
        checked: &CheckedNode,
        variables: &[String],
        has_roles: bool,
        path: &str,
        at: &Place,
    ) {
        let is_chat = matches!(checked.kind, NodeKind::Llm { api: Api::Chat, .. });
        if is_chat && !has_roles {
            self.findings.push(
                Finding::warning(
                    "no-role",
                    format!("node `{}`: template `{path}` has no role line of its own", node.name),
                )
                .at(Place { file: self.source_file(path), line: Some(1), column: Some(1), node: None })
                .on_node(&node.name)
                .suggest(
                    "begin it with `# system:` or `# user:` on a line of its own, or use `api: completion`",
                ),
            );
        }
        let mapped_item = checked.for_each.as_ref().map(|for_each| for_each.settings.input.as_str());
        for variable in variables {
            let is_given = node.inputs.contains_key(variable) || mapped_item == Some(variable);
            if !is_given {
                self.findings.push(
                    Finding::warning(
                        "unset-variable",
                        format!(
                            "node `{}`: template `{path}` reads `{variable}`, which no input sets",
                            node.name
                        ),
                    )
                    .at(at.clone())
                    .on_node(&node.name)
                    .suggest(format!("add input `{variable}`; it renders as nothing now")),
                );
            }
        }
    }

    fn check_parameters(
        &mut self,
        node: &NodeDraft,
        checked: &mut CheckedNode,
        parameters: &[ParameterFacts],
        takes_rest: bool,
        at: &Place,
    ) {
        let item = checked.for_each.as_ref().map(|for_each| for_each.settings.input.clone());
        for parameter in parameters {
            if parameter.has_default {
                checked.optional.insert(parameter.name.clone());
            }
            if parameter.is_connection {
                checked.connection_parameters.insert(parameter.name.clone());
            }
            let is_given =
                checked.inputs.contains_key(&parameter.name) || item.as_deref() == Some(&parameter.name);
            // What is not wired in a tool is for the model to fill in.
            if !is_given && !parameter.has_default && !checked.is_tool {
                // A null literal for a parameter without default is given as null by prompt flow's callers too rarely
                // to guess at; it is told apart from a forgotten one only in the suggestion.
                let suggestion = if node.inputs.contains_key(&parameter.name) {
                    "an empty literal counts as absent; give it a value or the parameter a default".to_owned()
                } else {
                    format!("add input `{}`", parameter.name)
                };
                // A connection is a matter of the machine, as one that is named and not configured is.
                let (rule, severity) = match parameter.is_connection {
                    true => ("missing-connection", Severity::Warning),
                    false => ("missing-parameter", Severity::Error),
                };
                self.findings.push(
                    Finding::new(
                        rule,
                        severity,
                        format!("node `{}`, parameter `{}`: nothing is connected", node.name, parameter.name),
                    )
                    .at(at.clone())
                    .on_node(&node.name)
                    .suggest(suggestion),
                );
            }
        }
        for (name, binding) in &mut checked.inputs {
            let Some(parameter) = parameters.iter().find(|parameter| &parameter.name == name) else {
                if !takes_rest {
                    let known: Vec<&str> =
                        parameters.iter().map(|parameter| parameter.name.as_str()).collect();
                    let pointer = format!("{}/inputs/{}", node.pointer, pointer_key(name));
                    self.findings.push(
                        Finding::warning(
                            "unknown-parameter",
                            format!("node `{}`: the function has no parameter `{name}`", node.name),
                        )
                        .at(self.draft.places.of(&pointer))
                        .on_node(&node.name)
                        .suggest(list_known("parameters", &known)),
                    );
                }
                continue;
            };
            let Binding::Literal(value) = binding else { continue };
            let Some(kind) = parameter.kind.as_deref().and_then(ValueType::parse) else {
                // A parameter without a type takes what the literal reads as in JSON.
                if parameter.kind.is_none() && !parameter.is_connection {
                    *value = coerce(value, ValueType::Object).unwrap_or_else(|_| value.clone());
                }
                continue;
            };
            match coerce(value, kind) {
                Ok(converted) => *value = converted,
                Err(error) => {
                    let pointer = format!("{}/inputs/{}", node.pointer, pointer_key(name));
                    self.findings.push(
                        Finding::error(
                            "wrong-literal",
                            format!("node `{}`, input `{name}`: {error}", node.name),
                        )
                        .at(self.draft.places.of(&pointer))
                        .on_node(&node.name),
                    );
                }
            }
        }
    }

    fn check_connection(&mut self, node: &NodeDraft, checked: &CheckedNode) {
        let at = self.place(&format!("{}/connection", node.pointer));
        if let NodeKind::Llm { connection: None, .. } = checked.kind {
            self.findings.push(
                Finding::warning("missing-connection", format!("node `{}` names no connection", node.name))
                    .at(at)
                    .on_node(&node.name)
                    .suggest("write `connection: NAME`, or `connection: builtin` for the stand-ins"),
            );
            return;
        }
        let Some(known) = &self.facts.connections else { return };
        let mut named: Vec<&str> = node.connection.as_deref().into_iter().collect();
        for parameter in &checked.connection_parameters {
            if let Some(Binding::Literal(Value::String(name))) = checked.inputs.get(parameter) {
                named.push(name);
            }
        }
        for name in named {
            if name != "local" && name != "builtin" && !known.iter().any(|other| other == name) {
                self.findings.push(
                    Finding::warning(
                        "missing-connection",
                        format!("node `{}`: connection `{name}` is not configured", node.name),
                    )
                    .at(at.clone())
                    .on_node(&node.name)
                    .suggest("add it to `connections.yaml`, or give a file with `--connections`"),
                );
            }
        }
    }

    /// Kahn's algorithm, in file order among the ready ones, so that the order is the same every time.
    fn order(&mut self, nodes: &[CheckedNode]) -> Vec<usize> {
        let mut waiting: Vec<usize> = nodes.iter().map(|node| node.dependencies.len()).collect();
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            for dependency in &node.dependencies {
                dependents[*dependency].push(index);
            }
        }
        let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|index| waiting[*index] == 0).collect();
        let mut order = Vec::with_capacity(nodes.len());
        while let Some(index) = ready.pop_first() {
            order.push(index);
            for dependent in &dependents[index] {
                waiting[*dependent] -= 1;
                if waiting[*dependent] == 0 {
                    ready.insert(*dependent);
                }
            }
        }
        if order.len() < nodes.len() {
            let cycle = find_cycle(nodes, &waiting);
            let first = cycle.first().copied().unwrap_or(0);
            let names: Vec<String> = cycle.iter().map(|index| format!("`{}`", nodes[*index].id)).collect();
            self.findings.push(
                Finding::error(
                    "cycle",
                    format!("nodes wait for each other: {} → {}", names.join(" → "), names[0]),
                )
                .at(nodes[first].place.clone())
                .on_node(nodes[first].id.as_str())
                .suggest("remove one of these references"),
            );
        }
        order
    }

    fn check_aggregation(&mut self, nodes: &[CheckedNode]) {
        for node in nodes.iter().filter(|node| !node.is_aggregation) {
            for dependency in &node.dependencies {
                let target = &nodes[*dependency];
                if target.is_aggregation {
                    self.findings.push(
                        Finding::error(
                            "aggregation-reference",
                            format!("node `{}` refers to aggregation node `{}`", node.id, target.id),
                        )
                        .at(node.place.clone())
                        .on_node(node.id.as_str())
                        .suggest("an aggregation node runs after all lines; only aggregation nodes can use its result"),
                    );
                }
            }
        }
    }

    fn outputs(&mut self, nodes: &[CheckedNode]) -> IndexMap<String, CheckedOutput> {
        let draft = self.draft;
        let mut outputs = IndexMap::new();
        for (name, output) in &draft.outputs {
            let pointer = format!("/outputs/{}/reference", pointer_key(name));
            let what = format!("output `{name}`");
            if !output.has_reference || output.reference.as_str() == Some("") {
                self.findings.push(
                    Finding::error("missing-reference", format!("{what} has no reference"))
                        .at(self.place(&format!("/outputs/{}", pointer_key(name))))
                        .suggest("write `reference: ${NODE.output}`"),
                );
                continue;
            }
            let reference = self.lenient_section(&output.reference);
            let Some(binding) = self.binding(&reference, &what, &pointer, None) else { continue };
            if let Binding::Node { node, path } = &binding
                && nodes[*node].is_aggregation
            {
                let reference = Reference::Node { node: nodes[*node].id.0.clone(), path: path.clone() };
                self.findings.push(
                    Finding::warning(
                        "aggregation-output",
                        format!(
                            "output `{name}` points at aggregation node `{}` and is left out",
                            nodes[*node].id
                        ),
                    )
                    .at(self.place(&pointer))
                    .suggest(format!("log it as a metric instead of `{}`", write_reference(&reference))),
                );
                continue;
            }
            outputs.insert(
                name.clone(),
                CheckedOutput {
                    kind: output.kind.as_deref().and_then(ValueType::parse),
                    binding,
                    is_chat_output: output.is_chat_output,
                    is_evaluation_only: output.is_evaluation_only,
                },
            );
        }
        outputs
    }

    /// Prompt flow does not look at the word after the node's name in an output; files in the wild have `.outputs` there.
    fn lenient_section(&self, reference: &Value) -> Value {
        let Err(ReferenceError::Section { text, node, .. }) = parse_value(reference) else {
            return reference.clone();
        };
        let rest = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).unwrap_or(&text);
        let path = rest.splitn(3, '.').nth(2).map(|path| format!(".{path}")).unwrap_or_default();
        match self.indexes.contains_key(node.as_str()) {
            true => Value::String(format!("${{{node}.output{path}}}")),
            false => reference.clone(),
        }
    }

    fn check_chat(&mut self) {
        let draft = self.draft;
        let inputs: Vec<&str> =
            draft.inputs.iter().filter(|(_, i)| i.is_chat_input).map(|(n, _)| n.as_str()).collect();
        let histories: Vec<&str> =
            draft.inputs.iter().filter(|(_, i)| i.is_chat_history).map(|(n, _)| n.as_str()).collect();
        let outputs: Vec<&str> =
            draft.outputs.iter().filter(|(_, o)| o.is_chat_output).map(|(n, _)| n.as_str()).collect();
        for (what, names) in
            [("chat input", &inputs), ("chat history", &histories), ("chat output", &outputs)]
        {
            if names.len() > 1 {
                self.findings.push(
                    Finding::error(
                        "chat-shape",
                        format!("a flow has one {what}, and here are {}", names.len()),
                    )
                    .at(self.place("/inputs"))
                    .suggest(format!("keep the flag on one of {}", names.join(", "))),
                );
            }
        }
        if inputs.len() == 1 && outputs.is_empty() {
            self.findings.push(
                Finding::warning(
                    "chat-shape",
                    format!("input `{}` is a chat input, and no output is a chat output", inputs[0]),
                )
                .at(self.place("/outputs"))
                .suggest("mark the answer with `is_chat_output: true`"),
            );
        }
        if let [history] = histories.as_slice()
            && draft.inputs[*history].kind.as_deref() != Some("list")
        {
            self.findings.push(
                Finding::error("chat-shape", format!("chat history `{history}` must be of type `list`"))
                    .at(self.place(&format!("/inputs/{}", pointer_key(history)))),
            );
        }
    }
}

/// Names in an llm node's `tools`: each entry is a name, `{node: NAME}` or `{flow: PATH}`.
pub fn tool_names(tools: Option<&Value>) -> Vec<&str> {
    let Some(Value::Array(entries)) = tools else { return Vec::new() };
    entries
        .iter()
        .filter_map(|entry| match entry {
            Value::String(name) => Some(name.as_str()),
            Value::Object(map) => map.get("node").or_else(|| map.get("flow")).and_then(Value::as_str),
            _ => None,
        })
        .collect()
}

fn depend(dependencies: &mut Vec<usize>, binding: &Binding) {
    if let Binding::Node { node, .. } = binding
        && !dependencies.contains(node)
    {
        dependencies.push(*node);
    }
}

/// Walks back along waiting nodes until one repeats.
fn find_cycle(nodes: &[CheckedNode], waiting: &[usize]) -> Vec<usize> {
    let Some(start) = waiting.iter().position(|count| *count > 0) else { return vec![0] };
    let mut path = vec![start];
    let mut position: HashMap<usize, usize> = HashMap::from([(start, 0)]);
    let mut current = start;
    while let Some(next) = nodes[current].dependencies.iter().copied().find(|index| waiting[*index] > 0) {
        if let Some(at) = position.get(&next) {
            let mut cycle = path[*at..].to_vec();
            cycle.reverse();
            return cycle;
        }
        position.insert(next, path.len());
        path.push(next);
        current = next;
    }
    path
}

/// The name closest to a misspelt one, within two edits.
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    known
        .iter()
        .map(|other| (distance(name, other), *other))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
