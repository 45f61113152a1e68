//! From a path to a flow that can be checked and run: finds its file, reads it and what its nodes name.
//!
//! Reading runs nothing. Sources outside the workspace are not opened.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use flowbench_core::check::{CheckedFlow, check_flow, tool_names};
use flowbench_core::connection::Connection;
use flowbench_core::facts::{FlowFacts, SourceFacts};
use flowbench_core::finding::{Finding, Place};
use flowbench_core::flow::{FlowDraft, NodeDraft};
use flowbench_core::plan::{Plan, PlanOptions};
use flowbench_prompt::{ImageReader, Template, role_findings};
use flowbench_run::digest::{digest_bytes, digest_value};
use flowbench_run::line::MAX_DEPTH;
use flowbench_run::prepared::PreparedFlow;
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::files::read_source;
use crate::includes::SourceFolder;
use crate::workspace::Workspace;
use crate::{flex, prompty};

/// What kind of file a flow is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKind {
    /// `flow.dag.yaml`.
    Dag,
    /// `.prompty`.
    Prompty,
    /// `flow.flex.yaml`.
    Flex,
}

/// A flow that was read and checked.
pub struct LoadedFlow {
    /// Its file.
    pub file: PathBuf,
    /// Its folder.
    pub folder: PathBuf,
    /// Which kind of file.
    pub kind: FlowKind,
    /// As written, variants in place.
    pub draft: FlowDraft,
    /// Everything found.
    pub findings: Vec<Finding>,
    /// What its sources declare.
    pub facts: Arc<FlowFacts>,
    /// Its sources, includes merged.
    pub sources: SourceFolder,
    /// The flow, if nothing found is an error.
    pub checked: Option<Arc<CheckedFlow>>,
    /// Templates by path.
    templates: HashMap<String, Arc<Template>>,
    /// Texts by path.
    scripts: HashMap<String, Arc<str>>,
    /// Digests by path.
    digests: HashMap<String, String>,
    /// A prompty's only output is its result.
    has_single_output: bool,
    /// A flex flow's map is its outputs.
    spreads_output: bool,
    /// Inputs to take when none are given.
    sample: Option<Map<String, Value>>,
    /// A connection that the file itself writes out.
    pub inline: Option<Connection>,
}

/// What is changed in a flow as it is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Chosen variants.
    pub variants: Vec<(String, String)>,
    /// `NODE.KEY` and value.
    pub overrides: Vec<(String, String)>,
    /// Replaces parts of a prompty's model section.
    pub prompty_model: Option<Value>,
}

/// The flow file that a path means.
pub fn find_flow_file(path: &Path) -> Result<(PathBuf, FlowKind), ApiError> {
    let kind_of = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".prompty") {
            Some(FlowKind::Prompty)
        } else if name == "flow.flex.yaml" || name.ends_with(".flex.yaml") {
            Some(FlowKind::Flex)
        } else if name.ends_with(".yaml") || name.ends_with(".yml") {
            Some(FlowKind::Dag)
        } else {
            None
        }
    };
    let metadata = std::fs::metadata(path).map_err(|error| ApiError::file("open", path, &error))?;
    if !metadata.is_dir() {
        return match kind_of(path) {
            Some(kind) => Ok((path.to_owned(), kind)),
            None => Err(ApiError::wrong_use("flow/unknown", format!("`{}` is no flow file", path.display()))
                .hint("a flow is a folder with `flow.dag.yaml`, or a `.prompty` or `flow.flex.yaml` file")),
        };
    }
    for (name, kind) in [("flow.dag.yaml", FlowKind::Dag), ("flow.flex.yaml", FlowKind::Flex)] {
        let file = path.join(name);
        if file.is_file() {
            return Ok((file, kind));
        }
    }
    Err(ApiError::wrong_use("flow/unknown", format!("`{}` holds no `flow.dag.yaml`", path.display()))
        .hint("name the flow's folder or its file"))
}

/// Reads and checks a flow. Fails only where its file cannot be read; what is wrong with it are findings.
pub fn load_flow(workspace: &Workspace, path: &Path, options: &LoadOptions) -> Result<LoadedFlow, ApiError> {
    let (file, kind) = find_flow_file(path)?;
    let folder =
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let bytes = read_source(&file)?;
    let shown = workspace.shown(&file);
    let mut read = match kind {
        FlowKind::Dag => {
            let parsed = flowbench_format::parse_flow(&bytes, Some(&shown));
            ReadFlow { draft: parsed.draft, findings: parsed.findings, ..ReadFlow::default() }
        }
        FlowKind::Prompty => prompty::read(&bytes, &file, &shown, options.prompty_model.as_ref()),
        FlowKind::Flex => flex::read(&bytes, &folder, &shown),
    };
    let (mut draft, found) = read.draft.with_variants(&options.variants);
    read.findings.extend(found);
    fill_defaults(&mut draft, workspace);
    override_nodes(&mut draft, &options.overrides)?;
    let sources =
        SourceFolder::new(workspace, &folder, &draft.additional_includes, &draft.places, &mut read.findings)?;
    let mut loaded = LoadedFlow {
        file,
        folder,
        kind,
        findings: read.findings,
        facts: Arc::new(FlowFacts::default()),
        sources,
        checked: None,
        templates: read.templates,
        scripts: HashMap::new(),
        digests: read.digests,
        has_single_output: kind == FlowKind::Prompty,
        spreads_output: read.spreads_output,
        sample: read.sample,
        inline: read.inline,
        draft,
    };
    loaded.digests.insert(String::new(), digest_bytes(&bytes));
    let mut facts = FlowFacts {
        sources: read.facts,
        connections: Some(known_connections(workspace, loaded.inline.as_ref())),
    };
    let nodes: Vec<NodeDraft> = loaded.draft.nodes.clone();
    for node in &nodes {
        if let Some(path) = node.source.as_ref().and_then(|source| source.path.clone())
            && !facts.sources.contains_key(&path)
            && !loaded.templates.contains_key(&path)
        {
            let found = loaded.read_node_source(workspace, node, &path);
            facts.sources.insert(path, found);
        }
    }
    let fallback = loaded.name();
    let outcome = check_flow(&loaded.draft, &fallback, &facts);
    loaded.findings.extend(outcome.findings);
    for path in loaded.sources.outside() {
        loaded.findings.push(
            Finding::warning("outside-path", format!("`{}` is outside the workspace", loaded.sources.shown(&path)))
                .at(loaded.draft.places.of(""))
                .suggest("running the flow needs `--trust` or `flowbench trust`; or make the common folder a workspace with `flowbench.yaml`"),
        );
    }
    loaded.facts = Arc::new(facts);
    if !flowbench_core::finding::has_errors(&loaded.findings) {
        loaded.checked = outcome.flow.map(Arc::new);
    }
    Ok(loaded)
}

/// What a reader of one kind of file gives.
#[derive(Default)]
pub struct ReadFlow {
    /// The flow.
    pub draft: FlowDraft,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Templates that stand in the file itself.
    pub templates: HashMap<String, Arc<Template>>,
    /// Facts already known.
    pub facts: BTreeMap<String, SourceFacts>,
    /// Digests of sources already read.
    pub digests: HashMap<String, String>,
    /// Inputs to take when none are given.
    pub sample: Option<Map<String, Value>>,
    /// A connection that the file itself writes out.
    pub inline: Option<Connection>,
    /// See [`PreparedFlow::spreads_output`].
    pub spreads_output: bool,
}

impl LoadedFlow {
    /// Name of the flow where its file says none: that of its folder, or of a prompty's file.
    pub fn name(&self) -> String {
        let path = match self.kind {
            FlowKind::Prompty => self.file.with_extension(""),
            _ => self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone()),
        };
        path.file_name().map_or_else(|| "flow".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// The flow as the user would name it.
    pub fn shown(&self) -> String {
        match self.kind {
            FlowKind::Prompty => self.file.display().to_string(),
            _ => self.folder.display().to_string(),
        }
    }

    fn read_node_source(&mut self, workspace: &Workspace, node: &NodeDraft, path: &str) -> SourceFacts {
        let file = match self.sources.find(path) {
            Ok(file) => file,
            Err(reason) => return SourceFacts::Missing { reason },
        };
        let shown = workspace.shown(&file);
        if node.kind.as_deref() == Some("flow") {
            return match find_flow_file(&file) {
                Ok(_) => SourceFacts::Present,
                Err(error) => SourceFacts::Broken { message: error.message, line: None, column: None },
            };
        }
        let bytes = match read_source(&file) {
            Ok(bytes) => bytes,
            Err(error) => return SourceFacts::Broken { message: error.message, line: None, column: None },
        };
        self.digests.insert(path.to_owned(), digest_bytes(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        match node.kind.as_deref() {
            Some("python") => flowbench_code::signature::read_facts(&bytes),
            Some("script") => {
                self.scripts.insert(path.to_owned(), Arc::from(text));
                SourceFacts::Present
            }
            Some("llm" | "prompt" | "custom_llm") => {
                self.scripts.insert(path.to_owned(), Arc::from(text));
                match Template::parse(text, path) {
                    Ok(template) => {
                        let facts = SourceFacts::Template {
                            variables: template.variables().to_vec(),
                            has_roles: has_role_line(text),
                        };
                        if node.kind.as_deref() == Some("llm") && node.api.as_deref() != Some("completion") {
                            self.findings.extend(role_findings(&template).into_iter().map(|finding| {
                                let place = Place { file: Some(shown.clone()), ..finding.place.clone() };
                                finding.at(place).on_node(&node.name)
                            }));
                        }
                        self.templates.insert(path.to_owned(), Arc::new(template));
                        facts
                    }
                    Err(error) => SourceFacts::Broken {
                        message: error.to_string(),
                        line: Some(error.line),
                        column: None,
                    },
                }
            }
            _ => SourceFacts::Present,
        }
    }

    /// The checked flow, or the error that says why there is none.
    pub fn need_checked(&self) -> Result<Arc<CheckedFlow>, ApiError> {
        self.checked.clone().ok_or_else(|| ApiError::invalid_flow(&self.shown(), &self.findings))
    }

    /// True if a run would start Python.
    pub fn runs_python(&self) -> bool {
        self.draft.nodes.iter().any(|node| {
            node.kind.as_deref() == Some("python")
                && node.source.as_ref().is_none_or(|source| {
                    source.tool.as_deref().is_none_or(|tool| !flowbench_run::is_native_tool(tool))
                })
                || node.kind.as_deref() == Some("custom_llm")
                    && node
                        .source
                        .as_ref()
                        .and_then(|source| source.tool.as_deref())
                        .is_none_or(|tool| !flowbench_run::is_native_tool(tool))
        })
    }
}

/// A flow and the flows it calls, all read and checked; nothing is run or written yet.
pub struct Gathered {
    /// The flow.
    pub loaded: LoadedFlow,
    /// Flows that its nodes or tools call, by path as written.
    called: BTreeMap<String, Gathered>,
}

impl Gathered {
    /// The flow and all it calls, outermost first.
    pub fn all(&self) -> Vec<&LoadedFlow> {
        let mut found = vec![&self.loaded];
        found.extend(self.called.values().flat_map(Gathered::all));
        found
    }

    /// True if running it would start Python.
    pub fn runs_python(&self) -> bool {
        self.all().iter().any(|loaded| loaded.runs_python())
    }

    /// Connections that the files write out themselves.
    pub fn inline_connections(&self) -> Vec<Connection> {
        self.all().iter().filter_map(|loaded| loaded.inline.clone()).collect()
    }
}

/// Reads the flows that a flow calls.
pub fn gather(workspace: &Workspace, loaded: LoadedFlow) -> Result<Gathered, ApiError> {
    gather_at(workspace, loaded, 0)
}

fn gather_at(workspace: &Workspace, loaded: LoadedFlow, depth: usize) -> Result<Gathered, ApiError> {
    loaded.need_checked()?;
    if depth >= MAX_DEPTH {
        return Err(ApiError::wrong_use(
            "flow/too_deep",
            format!("flow `{}`: flows call flows more than {MAX_DEPTH} deep", loaded.shown()),
        )
        .hint("look for a flow that calls itself"));
    }
    let is_node = |name: &str| loaded.draft.nodes.iter().any(|node| node.name == name);
    let mut called = BTreeMap::new();
    for node in &loaded.draft.nodes {
        let mut paths: Vec<String> = Vec::new();
        if node.kind.as_deref() == Some("flow") {
            paths.extend(node.source.as_ref().and_then(|source| source.path.clone()));
        }
        paths.extend(
            tool_names(node.tools.as_ref()).into_iter().filter(|name| !is_node(name)).map(str::to_owned),
        );
        for path in paths {
            if called.contains_key(&path) {
                continue;
            }
            let file = loaded.sources.find(&path).map_err(|reason| {
                ApiError::wrong_use("flow/unknown", format!("node `{}`: flow `{path}` {reason}", node.name))
            })?;
            let inner = load_flow(workspace, &file, &LoadOptions::default())?;
            called.insert(path, gather_at(workspace, inner, depth + 1)?);
        }
    }
    Ok(Gathered { loaded, called })
}

/// Variables for the code of one flow.
pub type Environment<'a> = &'a dyn Fn(&LoadedFlow) -> Result<Vec<(String, String)>, ApiError>;

/// Prepares a gathered flow. Where Python runs with includes this writes the merged folder, so it comes after approval.
pub fn prepare(
    workspace: &Workspace,
    gathered: &Gathered,
    options: &PlanOptions,
    environment: Environment<'_>,
) -> Result<Arc<PreparedFlow>, ApiError> {
    let loaded = &gathered.loaded;
    let mut flows = HashMap::new();
    for (path, inner) in &gathered.called {
        flows.insert(path.clone(), prepare(workspace, inner, &PlanOptions::default(), environment)?);
    }
    let plan = Plan::new(loaded.need_checked()?, options)
        .map_err(|error| ApiError::wrong_use("flow/unknown_node", error.to_string()).hint(error.hint))?;
    let mut parts: BTreeMap<&str, &str> =
        loaded.digests.iter().map(|(path, digest)| (path.as_str(), digest.as_str())).collect();
    for (path, flow) in &flows {
        parts.insert(path, &flow.digest);
    }
    let digest = digest_value(&json!({"sources": parts, "nodes": loaded.draft.nodes}));
    let flow = PreparedFlow {
        plan: Arc::new(plan),
        folder: loaded.sources.run_folder(workspace, loaded.runs_python())?,
        templates: loaded.templates.clone(),
        scripts: loaded.scripts.clone(),
        source_digests: loaded.digests.clone(),
        flows,
        facts: Arc::clone(&loaded.facts),
        digest,
        images: Arc::new(FlowImages(loaded.sources.clone())),
        has_single_output: loaded.has_single_output,
        spreads_output: loaded.spreads_output,
        sample: loaded.sample.clone(),
        environment: environment(loaded)?,
    };
    Ok(Arc::new(flow))
}

fn known_connections(workspace: &Workspace, inline: Option<&Connection>) -> Vec<String> {
    let mut names = workspace.connection_names();
    names.extend(inline.map(|connection| connection.name.clone()));
    names
}

/// Reads images beside the flow, within the workspace.
struct FlowImages(SourceFolder);

impl ImageReader for FlowImages {
    fn read_image(&self, path: &str) -> Result<Vec<u8>, String> {
        let file = self.0.find_inside(path)?;
        let size = std::fs::metadata(&file).map_err(|error| crate::error::reason(&error))?.len();
        if size > flowbench_prompt::images::MAX_IMAGE_BYTES as u64 {
            return Err(format!("it has {size} bytes, which is too many"));
        }
        std::fs::read(&file).map_err(|error| crate::error::reason(&error))
    }
}

/// True if a template writes a role line itself, or makes one from a value.
fn has_role_line(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim().trim_start_matches('#').trim().to_ascii_lowercase();
        line.strip_suffix(':').is_some_and(|word| {
            let word = word.trim();
            ["system", "user", "assistant", "function", "tool"].contains(&word) || word.contains("role")
        })
    })
}

/// The workspace's defaults: a time-out for every node, a connection and a model for llm nodes that name none.
fn fill_defaults(draft: &mut FlowDraft, workspace: &Workspace) {
    let settings = workspace.settings();
    for node in &mut draft.nodes {
        node.timeout = node.timeout.or(settings.timeout);
    }
    for node in draft.nodes.iter_mut().filter(|node| node.kind.as_deref() == Some("llm")) {
        if node.connection.is_none() {
            node.connection.clone_from(&settings.default_connection);
        }
        if let Some(model) = &settings.default_model
            && !node.inputs.contains_key("model")
            && !node.inputs.contains_key("deployment_name")
        {
            node.inputs.insert("model".to_owned(), Value::String(model.clone()));
        }
    }
}

/// `--set NODE.KEY=VALUE`: `connection` and `api` are the node's own, everything else is an input, or, for a flex
/// flow, an argument its class is made with.
fn override_nodes(draft: &mut FlowDraft, overrides: &[(String, String)]) -> Result<(), ApiError> {
    for (target, value) in overrides {
        let Some((name, key)) = target.split_once('.') else {
            return Err(ApiError::wrong_use("usage", format!("`--set {target}={value}` names no key"))
                .hint("write `--set NODE.KEY=VALUE`"));
        };
        let known: Vec<String> = draft.nodes.iter().map(|node| node.name.clone()).collect();
        let Some(node) = draft.nodes.iter_mut().find(|node| node.name == name) else {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(ApiError::wrong_use(
                "flow/unknown_node",
                format!("`--set {target}`: there is no node `{name}`"),
            )
            .hint(flowbench_core::flow::list_known("nodes", &known)));
        };
        let is_llm = matches!(node.kind.as_deref(), Some("llm" | "embed" | "rerank" | "guard" | "extract"));
        match key {
            "connection" if is_llm => node.connection = Some(value.clone()),
            "api" if is_llm => node.api = Some(value.clone()),
            _ => {
                // JSON where it reads as JSON, so that numbers and lists can be set; else text.
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone()));
                let is_flex = node.source.as_ref().is_some_and(|source| source.kind == "flex");
                if !is_flex || node.inputs.contains_key(key) {
                    node.inputs.insert(key.to_owned(), value);
                    continue;
                }
                // What is no input of a flex flow is meant for its class, which all of its nodes share.
                for source in draft.nodes.iter_mut().filter_map(|node| node.source.as_mut()) {
                    source.init.insert(key.to_owned(), value.clone());
                }
            }
        }
    }
    Ok(())
}

/// Joins and removes `.` and `..` without looking at the disk.
pub fn normalise(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !plain.pop() {
                    plain.push("..");
                }
            }
            other => plain.push(other),
        }
    }
    plain
}
