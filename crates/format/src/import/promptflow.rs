//! What each node of a prompt flow folder does here: exactly the same, changed, or not at all.
//!
//! The format is ours, so that an import changes no file; this is the account of where behaviour or surroundings
//! differ. It reads a draft and its findings, and neither files nor the network.

use std::fmt::Write as _;

use flowbench_core::finding::{Finding, Severity};
use flowbench_core::flow::{FlowDraft, NodeDraft};
use flowbench_core::reference::{Reference, parse_value};
use serde::Serialize;
use serde_json::Value;

use crate::yaml::YamlDocument;

/// How a node fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Does what it did.
    Exact,
    /// Runs, with something to do or to know first.
    Changed,
    /// Does not run as it stands.
    Unsupported,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Changed => "changed",
            Self::Unsupported => "unsupported",
        }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeImport {
    /// Its name.
    pub node: String,
    /// Its type, and the tool of a package.
    pub kind: String,
    /// How it fares; of its variants the worst.
    pub verdict: Verdict,
    /// Why, and what to do.
    pub notes: Vec<String>,
}

/// A whole flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Its name, or that of its folder.
    pub flow: String,
    /// In file order.
    pub nodes: Vec<NodeImport>,
    /// What is not about one node.
    pub notes: Vec<String>,
}

/// Reports on a flow. `has_requirements` says that `requirements.txt` stands beside it.
pub fn import_report(draft: &FlowDraft, findings: &[Finding], has_requirements: bool) -> ImportReport {
    let nodes = draft.nodes.iter().map(|node| node_import(draft, node, findings, has_requirements)).collect();
    ImportReport { flow: flow_name(draft), nodes, notes: flow_notes(draft, findings, has_requirements) }
}

/// The report as lines for people.
pub fn render_text(report: &ImportReport) -> String {
    let count = |verdict| report.nodes.iter().filter(|node| node.verdict == verdict).count();
    let mut out = format!(
        "flow `{}`: {} nodes: {} exact, {} changed, {} unsupported\n",
        plain(&report.flow),
        report.nodes.len(),
        count(Verdict::Exact),
        count(Verdict::Changed),
        count(Verdict::Unsupported),
    );
    for node in &report.nodes {
        let _ = writeln!(out, "{:<11}  {} ({})", node.verdict.as_str(), plain(&node.node), plain(&node.kind));
        for note in &node.notes {
            let _ = writeln!(out, "             - {}", plain(note));
        }
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {}", plain(note));
    }
    out
}

/// Text of the user's files on one line and without control characters.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

fn flow_name(draft: &FlowDraft) -> String {
    let of_folder = || {
        let file = draft.places.file.as_deref()?.replace('\\', "/");
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", &file));
        let name = match (name.strip_suffix(".prompty"), folder.rsplit('/').next()) {
            (Some(stem), _) => stem,
            (None, Some(folder)) if !folder.is_empty() => folder,
            _ => name,
        };
        Some(name.to_owned())
    };
    draft.name.clone().or_else(of_folder).unwrap_or_else(|| "flow".to_owned())
}

fn flow_notes(draft: &FlowDraft, findings: &[Finding], has_requirements: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(language) = draft.language.as_deref().filter(|language| *language != "python") {
        notes.push(format!("the flow is written in `{language}`, and only python flows run here"));
    }
    let with_default: Vec<&str> = draft
        .inputs
        .iter()
        .filter(|(_, input)| input.default.is_some() && !input.is_chat_history)
        .map(|(name, _)| name.as_str())
        .collect();
    if let Some(first) = with_default.first() {
        notes.push(format!(
            "{} of its inputs have a default (`{}`): in a batch without a mapping they take the data column of their name \
             here, where prompt flow takes the default; `--map {first}='${{data.{first}}}'` does the same in both",
            with_default.len(),
            with_default.join("`, `"),
        ));
    }
    let runs_python = draft.nodes.iter().any(|node| node.kind.as_deref() == Some("python"));
    if has_requirements {
        notes.push(
            "`requirements.txt` beside the flow is not installed unasked; `--install` makes an environment for the flow from it"
                .to_owned(),
        );
    } else if runs_python {
        notes.push(
            "python nodes run on the standard library and a small stand-in for prompt flow's own modules; what else they \
             import belongs in `requirements.txt` beside the flow"
                .to_owned(),
        );
    }
    for finding in
        findings.iter().filter(|finding| finding.severity == Severity::Error && finding.place.node.is_none())
    {
        notes.push(format!("the flow is refused as it stands: {}", finding.message));
    }
    notes
}

fn node_import(
    draft: &FlowDraft,
    node: &NodeDraft,
    findings: &[Finding],
    has_requirements: bool,
) -> NodeImport {
    let mut account = Account { verdict: Verdict::Exact, notes: Vec::new() };
    let variants = draft.node_variants.get(&node.name).filter(|_| node.uses_variants);
    let kind = match variants {
        Some(variants) => {
            for (id, body) in &variants.variants {
                let mut of_variant = Account { verdict: Verdict::Exact, notes: Vec::new() };
                of_variant.node(draft, body, has_requirements);
                account.verdict = account.verdict.max(of_variant.verdict);
                account
                    .notes
                    .extend(of_variant.notes.into_iter().map(|note| format!("variant `{id}`: {note}")));
            }
            let default = variants.default_variant_id.as_ref().and_then(|id| variants.variants.get(id));
            default
                .or_else(|| variants.variants.values().next())
                .map_or_else(|| "variants".to_owned(), kind_of)
        }
        None => {
            account.node(draft, node, has_requirements);
            kind_of(node)
        }
    };
    for finding in findings {
        if finding.severity == Severity::Error && finding.place.node.as_deref() == Some(&node.name) {
            account.unsupported(format!("it is refused as it stands: {}", finding.message));
        }
    }
    NodeImport { node: node.name.clone(), kind, verdict: account.verdict, notes: account.notes }
}

fn kind_of(node: &NodeDraft) -> String {
    let kind = node.kind.as_deref().unwrap_or("no type");
    match node.source.as_ref().and_then(|source| source.tool.as_deref()) {
        Some(tool) => format!("{kind}, {tool}"),
        None => kind.to_owned(),
    }
}

/// Package tools that the engine does itself.
const NATIVE: [&str; 8] = [
    "promptflow.tools.llm.llm",
    "promptflow.tools.llm_vision.llm_vision",
    "promptflow.tools.aoai_gpt4v.AzureOpenAI.chat",
    "promptflow.tools.openai_gpt4v.OpenAI.chat",
    "promptflow.tools.embedding.embedding",
    "promptflow.tools.serpapi.SerpAPI.search",
    "promptflow.tools.azure_content_safety.analyze_text",
    "content_safety_text.tools.content_safety_text_tool.analyze_text",
];
/// Native only where its endpoint is a connection.
const OPEN_MODEL: &str = "promptflow.tools.open_model_llm.OpenModelLLM.call";
/// Lookups and reranking of the vector package: made for the cloud's indexes.
const VECTOR_PACKAGE: &str = "promptflow_vectordb.";
/// Types of nodes that prompt flow does not have.
const OURS: [&str; 8] = ["script", "retrieve", "embed", "rerank", "http", "guard", "flow", "extract"];

struct Account {
    verdict: Verdict,
    notes: Vec<String>,
}

impl Account {
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn changed(&mut self, note: impl Into<String>) {
        self.verdict = self.verdict.max(Verdict::Changed);
        self.notes.push(note.into());
    }

    fn unsupported(&mut self, note: impl Into<String>) {
        self.verdict = Verdict::Unsupported;
        self.notes.push(note.into());
    }

    fn node(&mut self, draft: &FlowDraft, node: &NodeDraft, has_requirements: bool) {
        self.legacy_keys(draft, node);
        if draft.language.as_deref().is_some_and(|language| language != "python") {
            return self.unsupported("flows of its language do not run here; only python does");
        }
        let source = node.source.as_ref();
        let tool = source.and_then(|source| source.tool.as_deref());
        match (node.kind.as_deref().unwrap_or(""), source.map(|source| source.kind.as_str())) {
            ("csharp", _) => {
                self.unsupported("C# does not run here; rewrite it as a python or a script node")
            }
            ("llm", _) => {
                self.roles(draft, node);
            }
            ("prompt", _) => {}
            ("python", Some("package")) | ("custom_llm", _) => match tool {
                Some(tool) => self.package(draft, node, tool, has_requirements),
                None => self.unsupported("its source names no tool"),
            },
            ("python", Some("flex")) => {
                self.note("a flex flow is one python node here, built once and called for each line")
            }
            ("python", _) => {}
            (kind, _) if OURS.contains(&kind) => {
                self.note("this type of node is not prompt flow's, and runs only here")
            }
            ("", _) => self.unsupported("it has no type"),
            (kind, _) => self.unsupported(format!("type `{kind}` is not known")),
        }
    }

    /// Keys that are read by nobody, here or there.
    fn legacy_keys(&mut self, draft: &FlowDraft, node: &NodeDraft) {
        if let Some(provider) = &node.provider {
            self.note(format!(
                "`provider: {provider}` has no effect, there as here: the type of the connection decides"
            ));
        }
        let written = ["module", "enable_cache", "tool"]
            .into_iter()
            .filter(|key| draft.places.by_pointer.contains_key(&format!("{}/{key}", node.pointer)));
        let written: Vec<String> = written.map(|key| format!("`{key}`")).collect();
        if !written.is_empty() {
            self.note(format!("{} of older versions: kept in the file, without effect", written.join(", ")));
        }
    }

    /// Prompt flow escapes role words only in values from flow inputs and prompt nodes.
    fn roles(&mut self, draft: &FlowDraft, node: &NodeDraft) {
        if node.api.as_deref() == Some("completion") {
            return;
        }
        let is_escaped_there = |name: &str| {
            draft.nodes.iter().any(|other| other.name == name && other.kind.as_deref() == Some("prompt"))
        };
        let sources: Vec<String> = node
            .inputs
            .iter()
            .filter_map(|(input, value)| match parse_value(value) {
                Ok(Some(Reference::Node { node, .. })) if !is_escaped_there(&node) => {
                    Some(format!("`{input}`"))
                }
                _ => None,
            })
            .collect();
        if !sources.is_empty() {
            self.note(format!(
                "a line like `system:` in {} stays text here; in prompt flow it would begin a message of its own",
                sources.join(", ")
            ));
        }
    }

    fn package(&mut self, draft: &FlowDraft, node: &NodeDraft, tool: &str, has_requirements: bool) {
        if tool.starts_with(VECTOR_PACKAGE) {
            return self.vector(node, tool);
        }
        if tool == OPEN_MODEL {
            return match node.inputs.get("endpoint_name").and_then(Value::as_str) {
                Some(endpoint) if endpoint.starts_with("connection/") => self.native(draft, node),
                Some(endpoint) if endpoint.starts_with("${") => {
                    self.changed("it works where `endpoint_name` turns out as `connection/NAME`; other endpoints are of the cloud");
                }
                endpoint => self.unsupported(format!(
                    "endpoint `{}` is found through the cloud; make a connection of type serverless for it and write \
                     `endpoint_name: connection/NAME`",
                    endpoint.unwrap_or("")
                )),
            };
        }
        if NATIVE.contains(&tool) {
            return self.native(draft, node);
        }
        let package = tool.split('.').next().unwrap_or(tool);
        self.changed(match has_requirements {
            true => format!("tool `{tool}` needs its package in the flow's environment: `--install` takes it from `requirements.txt`, if it is named there"),
            false => format!("tool `{tool}` needs its package (module `{package}`) in the flow's environment: name it in `requirements.txt` beside the flow and run with `--install`"),
        });
    }

    fn native(&mut self, draft: &FlowDraft, node: &NodeDraft) {
        self.note("built in here; its package is not needed");
        if node.kind.as_deref() == Some("custom_llm") {
            self.roles(draft, node);
        }
    }

    fn vector(&mut self, node: &NodeDraft, tool: &str) {
        if tool.contains(".rerank") {
            return self.unsupported(format!(
                "tool `{tool}` reranks through the cloud; use a `rerank` node, or `mode: hybrid+rerank` of the `retrieve` node before it"
            ));
        }
        let top_k = node.inputs.get("top_k").and_then(top_k_of).unwrap_or(3);
        let query =
            ["queries", "query"].iter().find_map(|name| node.inputs.get(*name)).and_then(Value::as_str);
        let is_lookup = tool.contains("common_index_lookup");
        let mode = node.inputs.get("query_type").and_then(Value::as_str);
        let (mode, was) = match mode {
            Some(word) => (mode_of(word), format!("`query_type: {word}`")),
            None if is_lookup => ("hybrid", "no `query_type`".to_owned()),
            None => ("vector", "a search by vector".to_owned()),
        };
        let index = node.inputs.get("mlindex_content").and_then(Value::as_str).and_then(index_of);
        let what = match index {
            Some(index) => format!("the index {index} is out of reach: the tool runs in the cloud only"),
            None => format!("tool `{tool}` asks an index of the cloud and runs only there"),
        };
        let query = query.unwrap_or("${inputs.QUESTION}");
        self.unsupported(format!(
            "{what}; build a local index from the same documents, and write `type: retrieve` with `inputs: {{index: NAME, \
             query: \"{query}\", mode: {mode}, top_k: {top_k}}}` ({was} becomes `mode: {mode}`)"
        ));
        if !is_lookup {
            self.note("a `retrieve` node takes the question as text and makes the vector itself: the node that embeds it can go");
        }
        self.note(
            "hits have `text` and `score` as before, and `id`, `source` and `stages` in place of `metadata`",
        );
    }
}

fn top_k_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|count| *count > 0)
}

/// Our mode for a `query_type`.
fn mode_of(word: &str) -> &'static str {
    let word = word.to_ascii_lowercase();
    match () {
        () if word.contains("semantic") => "hybrid+rerank",
        () if word.contains("hybrid") => "hybrid",
        () if word.contains("keyword") => "keyword",
        () if word.contains("vector") => "vector",
        () => "hybrid",
    }
}

/// Kind and name of the index that an `mlindex_content` describes.
fn index_of(content: &str) -> Option<String> {
    let document = YamlDocument::parse(content.as_bytes(), None);
    let index = document.value().get("index")?;
    let text = |key: &str| index.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text("kind").unwrap_or("of unknown kind");
    let name = ["index", "collection", "table", "path"].iter().find_map(|key| text(key));
    Some(match name {
        Some(name) => format!("`{name}` ({kind})"),
        None => format!("({kind})"),
    })
}

#[cfg(test)]
mod tests;
