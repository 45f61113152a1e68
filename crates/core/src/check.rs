//! From a draft to a flow whose names resolve, whose pairs of type and source are legal and which has no cycle.
//!
//! [`check_flow`] returns as many findings as it can; a [`CheckedFlow`] comes out only when none is an error.
//! What the named files hold comes in as [`FlowFacts`]; without facts about a file only the flow itself is checked.

mod sources;

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexMap;
use serde_json::Value;

pub use crate::checked::{
    Api, Binding, CheckedActivate, CheckedFlow, CheckedForEach, CheckedInput, CheckedNode, CheckedOutput,
    DEFAULT_MAX_STEPS, NODE_TYPES, NodeKind,
};
use crate::facts::FlowFacts;
use crate::finding::{Finding, Place, has_errors};
use crate::flow::{Activate, FlowDraft, NodeDraft, list_known, pointer_key};
use crate::ids::NodeId;
use crate::ports::CodeSource;
use crate::reference::{Reference, ReferenceError, parse_value, write_reference};
use crate::value::{ValueType, coerce};

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
