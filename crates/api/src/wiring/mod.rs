//! The only place where adapters meet ports: which connection leads to which provider, where local models come
//! from, who runs code, where results are kept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flowbench_code::python::PythonSettings;
use flowbench_code::script::ScriptLimits;
use flowbench_code::{CodeNodes, environment};
use flowbench_core::chat::{ModelIdentity, Usage};
use flowbench_core::connection::Connection;
use flowbench_core::event::Cost;
use flowbench_core::ports::{Clock, ModelError, ModelErrorKind, ModelSource};
use flowbench_corpus::clean::ProjectKey;
use flowbench_grounding::indexes::{Indexes, Outside};
use flowbench_net::{Outbound, Policy};
use flowbench_providers::PriceTable;
use flowbench_run::FlowLoader;
use flowbench_run::cache::{CacheAnswer, CacheParts, NodeCache};
use flowbench_run::calls::{Ports, Prices};
use flowbench_run::failure::NodeFailure;
use flowbench_run::limiter::Limiters;
use flowbench_run::prepared::PreparedFlow;
use flowbench_run::recording::{Recorder, Replayer};
use flowbench_store::{
    CacheStore, DEFAULT_CACHE_BYTES, RecordingReader, RecordingWriter, Redactor, StateFolder,
};
use serde_json::Value;

use crate::approval::Approval;
use crate::clock::{SystemClock, TimeIds};
use crate::error::ApiError;
use crate::extraction::extractor;
use crate::files::read_source;
use crate::load::{Gathered, LoadOptions, LoadedFlow, gather, load_flow, prepare};
use crate::recording::{FileRecorder, FileReplayer, recording_error};
use crate::settings::RunSettings;
use crate::workspace::{OpenOptions, Workspace, project_key};

mod models;

pub use models::{Models, encoder_options};

/// The outside of one run or batch.
pub struct Wiring {
    models: Arc<Models>,
    code: Arc<CodeNodes>,
    outbound: Arc<HttpUnderApproval>,
    limiters: Arc<Limiters>,
    recorder: OnceLock<Arc<FileRecorder>>,
    replayer: Option<Arc<dyn Replayer>>,
    prices: Arc<dyn Prices>,
    retriever: Arc<Indexes>,
    redactor: Arc<Redactor>,
    state: PathBuf,
    /// Where environments are, once one was asked for.
    code_folder: Option<PathBuf>,
}

impl Wiring {
    /// Wires a workspace for these settings; `inline` are connections that flow files write out. Starts and asks
    /// nothing.
    pub fn new(
        workspace: &Workspace,
        settings: &RunSettings,
        inline: &[Connection],
    ) -> Result<Self, ApiError> {
        let redactor = Arc::new(Redactor::new(secrets_of(workspace, inline)));
        let outbound = Outbound::new(Policy::closed(), Arc::new(SystemClock));
        let hosts = workspace.settings().hosts.clone();
        let models = Arc::new(Models::new(workspace, outbound.clone())?);
        models.hold(inline);
        let retriever = Arc::new(indexes_of(workspace, Arc::clone(&models), outbound.clone())?);
        retriever.allow_builds(settings.may_build);
        if let Some(on_build) = &settings.on_build {
            retriever.listen(Arc::clone(&on_build.0));
        }
        let replayer: Option<Arc<dyn Replayer>> = match &settings.replay {
            None => None,
            Some(path) => Some(Arc::new(FileReplayer(RecordingReader::open(path).map_err(recording_error)?))),
        };
        let state = workspace.state()?;
        let code_folder = workspace.code_folder(settings.installs_requirements)?;
        let python = PythonSettings { state_folder: code_folder.clone(), ..PythonSettings::default() };
        Ok(Self {
            models,
            code: Arc::new(CodeNodes::new(python, ScriptLimits::default())),
            outbound: Arc::new(HttpUnderApproval { outbound, hosts, approval: Mutex::new(false) }),
            limiters: Arc::new(Limiters::new(settings.endpoint_width)),
            recorder: OnceLock::new(),
            replayer,
            prices: Arc::new(WorkspacePrices::of(workspace)?),
            retriever,
            redactor,
            state,
            code_folder,
        })
    }

    /// Takes the user's word on hosts.
    pub fn allow(&self, approval: &Approval) {
        self.models.allow(approval);
        *self.outbound.approval.lock().unwrap_or_else(PoisonError::into_inner) = approval.allows_folder_hosts;
        self.retriever.allow_outside(approval.allows_folder_hosts);
    }

    /// Makes the flow's virtual environment from its `requirements.txt`, where asked; tells each step.
    pub async fn install(
        &self,
        gathered: &Gathered,
        settings: &RunSettings,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), ApiError> {
        let Some(code_folder) = self.code_folder.as_ref().filter(|_| settings.installs_requirements) else {
            return Ok(());
        };
        if !gathered.runs_python() {
            return Ok(());
        }
        let base = flowbench_code::interpreter::find(None).await.map_err(|error| {
            let hint = error.hint();
            ApiError::could_not("environment", error.to_string()).hint(hint)
        })?;
        let made = environment::make_environment(code_folder, &gathered.loaded.folder, &base, progress).await;
        made.map_err(|error| {
            let hint = error.hint();
            let told = ApiError::could_not("environment", error.to_string());
            match hint {
                Some(hint) => told.hint(hint),
                None => told,
            }
        })?;
        self.code.python().clear();
        Ok(())
    }

    /// Variables for the flow's code: those of the flow, connection fields put in, then the user's own.
    pub fn environment(
        &self,
        loaded: &LoadedFlow,
        settings: &RunSettings,
    ) -> Result<Vec<(String, String)>, ApiError> {
        let mut variables: Vec<(String, String)> = Vec::new();
        for (name, value) in &loaded.draft.environment_variables {
            let text = match value {
                Value::String(text) => self.connection_field(text)?.unwrap_or_else(|| text.clone()),
                Value::Array(_) | Value::Object(_) => python_json(value),
                other => flowbench_core::value::python_text(other),
            };
            variables.push((name.clone(), text));
        }
        for (name, value) in &settings.environment {
            variables.retain(|(other, _)| other != name);
            variables.push((name.clone(), value.clone()));
        }
        Ok(variables)
    }

    /// `${connection.key}` of a flow's environment variable.
    fn connection_field(&self, text: &str) -> Result<Option<String>, ApiError> {
        let Some((connection, key)) = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .and_then(|rest| rest.split_once('.'))
        else {
            return Ok(None);
        };
        if self.replayer.is_some() {
            return Ok(Some(String::new()));
        }
        let connection = self.models.connection(connection)?;
        let secret = connection.secret(key).map(|secret| secret.reveal().to_owned());
        Ok(secret.or_else(|| connection.field(key).map(str::to_owned)))
    }

    /// The outside as the engine meets it.
    pub fn ports(&self) -> Ports {
        Ports {
            models: Arc::clone(&self.models) as Arc<dyn ModelSource>,
            code: Arc::clone(&self.code) as _,
            http: Arc::clone(&self.outbound) as _,
            retriever: Arc::clone(&self.retriever) as _,
            prices: Arc::clone(&self.prices),
        }
    }

    /// One limiter an endpoint, shared by all lines.
    pub fn limiters(&self) -> Arc<Limiters> {
        Arc::clone(&self.limiters)
    }

    /// Opens the recording, where one is asked for: an earlier one is replaced, or gone on with when a batch is resumed.
    /// Comes after everything that may refuse the run.
    pub fn open_recording(&self, settings: &RunSettings, is_resumed: bool) -> Result<(), ApiError> {
        let Some(path) = &settings.record else { return Ok(()) };
        let redactor = Arc::clone(&self.redactor);
        let writer = match is_resumed && path.is_file() {
            true => RecordingWriter::append_to(path, redactor),
            false => RecordingWriter::create(path, redactor),
        };
        let _ = self.recorder.set(FileRecorder::new(writer.map_err(recording_error)?));
        Ok(())
    }

    /// Keeps calls, where asked.
    pub fn recorder(&self) -> Option<Arc<dyn Recorder>> {
        self.recorder.get().map(|recorder| Arc::clone(recorder) as Arc<dyn Recorder>)
    }

    /// Answers calls, where asked.
    pub fn replayer(&self) -> Option<Arc<dyn Replayer>> {
        self.replayer.clone()
    }

    /// Fails if the recording has gaps.
    pub fn finish_recording(&self) -> Result<(), ApiError> {
        self.recorder.get().map_or(Ok(()), |recorder| recorder.check())
    }

    /// Takes secrets out of what is kept.
    pub fn secrets(&self) -> Arc<Redactor> {
        Arc::clone(&self.redactor)
    }

    /// Node results kept between runs.
    pub fn cache(&self) -> Arc<dyn NodeCache> {
        Arc::new(LazyCache {
            state: self.state.clone(),
            redactor: Arc::clone(&self.redactor),
            opened: OnceLock::new(),
        })
    }

    /// Reads flows that code names.
    pub fn loader(&self) -> Arc<dyn FlowLoader> {
        Arc::new(PathLoader { models: Arc::clone(&self.models) })
    }

    /// A chat model, for `connections test`.
    pub fn models(&self) -> Arc<dyn ModelSource> {
        Arc::clone(&self.models) as _
    }
}

/// The indexes of a workspace with models of their own, for commands that run no flow.
pub fn wire_indexes(workspace: &Workspace, approval: &Approval) -> Result<Indexes, ApiError> {
    let outbound = Outbound::new(Policy::closed(), Arc::new(SystemClock));
    let models = Arc::new(Models::new(workspace, outbound.clone())?);
    models.allow(approval);
    let indexes = indexes_of(workspace, models, outbound)?;
    indexes.allow_outside(approval.allows_folder_hosts);
    Ok(indexes)
}

fn indexes_of(workspace: &Workspace, models: Arc<Models>, outbound: Outbound) -> Result<Indexes, ApiError> {
    let known = Arc::clone(&models);
    let root = workspace.root().to_owned();
    Ok(Indexes::new(Outside {
        root: workspace.root().to_owned(),
        state: workspace.state()?,
        models,
        is_connection: Arc::new(move |name| known.is_connection(name)),
        extractor: extractor(),
        outbound,
        variables: Arc::new(|name| std::env::var(name).ok()),
        project_key: Arc::new(move || project_key(&root).map(ProjectKey::new).map_err(|error| error.message)),
        clock: Arc::new(SystemClock),
        ids: Arc::new(TimeIds),
    }))
}

/// JSON as Python's `json.dumps` writes it: what code that compares texts may rely on.
fn python_json(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Array(items) => format!("[{}]", list(items.iter().map(python_json).collect())),
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| {
                format!("{}: {}", python_json(&Value::String(key.clone())), python_json(value))
            };
            format!("{{{}}}", list(map.iter().map(pair).collect()))
        }
        Value::String(text) => {
            let mut ascii = String::new();
            for c in Value::String(text.clone()).to_string().chars() {
                match c.is_ascii() {
                    true => ascii.push(c),
                    false => {
                        let mut units = [0; 2];
                        for unit in c.encode_utf16(&mut units) {
                            ascii.push_str(&format!("\\u{unit:04x}"));
                        }
                    }
                }
            }
            ascii
        }
        other => other.to_string(),
    }
}

/// Values that must never be written: all secrets of all connections that resolve.
fn secrets_of(workspace: &Workspace, inline: &[Connection]) -> Vec<String> {
    workspace
        .connections()
        .iter()
        .filter_map(|known| known.resolve().ok())
        .chain(inline.iter().cloned())
        .flat_map(|connection| connection.secrets)
        .map(|(_, secret)| secret.reveal().to_owned())
        .filter(|secret| !secret.is_empty())
        .collect()
}

/// Requests of http nodes: only to hosts that the workspace's policies name, and only when the user approved them.
struct HttpUnderApproval {
    outbound: Outbound,
    hosts: Vec<String>,
    approval: Mutex<bool>,
}

#[async_trait::async_trait]
impl flowbench_core::ports::HttpCaller for HttpUnderApproval {
    async fn request(
        &self,
        request: flowbench_core::ports::HttpRequest,
    ) -> Result<flowbench_core::ports::HttpResponse, ModelError> {
        let is_approved = *self.approval.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = match is_approved {
            true => self.hosts.iter().fold(Policy::closed(), |policy, host| policy.approve(host)),
            false => Policy::closed(),
        };
        let outcome =
            flowbench_core::ports::HttpCaller::request(&self.outbound.with_policy(policy), request).await;
        outcome.map_err(|error| match error.kind {
            ModelErrorKind::Forbidden if !is_approved => {
                error.with_hint("name the host under `policies: {network: {hosts: […]}}` in `flowbench.yaml`, and allow it with `--trust`")
            }
            ModelErrorKind::Forbidden => {
                error.with_hint("name the host under `policies: {network: {hosts: […]}}` in `flowbench.yaml`")
            }
            _ => error,
        })
    }
}

/// The price table that ships, or the workspace's own.
struct WorkspacePrices(PriceTable);

impl WorkspacePrices {
    fn of(workspace: &Workspace) -> Result<Self, ApiError> {
        let own = workspace.root().join("prices.yaml");
        let mut table = match own.is_file() {
            false => PriceTable::shipped(),
            true => PriceTable::parse(&read_source(&own)?, &workspace.shown(&own))
                .map_err(|error| ApiError::wrong_use("prices", error.to_string()))?
                .over(&PriceTable::shipped()),
        };
        for known in workspace.connections() {
            if let Ok(connection) = known.resolve() {
                table.learn(&connection);
            }
        }
        Ok(Self(table))
    }
}

impl Prices for WorkspacePrices {
    fn cost(&self, model: &ModelIdentity, usage: &Usage) -> Option<Cost> {
        self.0.cost(model, usage)
    }
}

/// The cache database, opened when a result is first looked up. A cache that fails is as good as an empty one.
struct LazyCache {
    state: PathBuf,
    redactor: Arc<Redactor>,
    opened: OnceLock<Option<CacheStore>>,
}

impl LazyCache {
    fn store(&self) -> Option<&CacheStore> {
        let open = || CacheStore::open(&StateFolder::new(&self.state), DEFAULT_CACHE_BYTES).ok();
        self.opened.get_or_init(open).as_ref()
    }
}

impl NodeCache for LazyCache {
    fn find(&self, flow: &str, node: &str, parts: &CacheParts) -> CacheAnswer {
        let Some(store) = self.store() else { return CacheAnswer::Missing(None) };
        match store.get(&parts.key(), SystemClock.now_ms()) {
            Ok(Some(value)) => CacheAnswer::Found(value),
            _ => {
                let latest = store.latest_parts(flow, node).ok().flatten();
                CacheAnswer::Missing(latest.and_then(|parts| serde_json::from_value(parts).ok()))
            }
        }
    }

    fn keep(&self, flow: &str, node: &str, parts: &CacheParts, value: &Value) {
        let mut masked = value.clone();
        self.redactor.redact(&mut masked);
        if masked != *value {
            // A masked result would be a wrong one, and a secret is not kept.
            return;
        }
        if let Some(store) = self.store() {
            // What cannot be kept is asked again next time.
            let _ =
                store.put(flow, node, &parts.key(), &serde_json::json!(parts), value, SystemClock.now_ms());
        }
    }
}

/// Loads flows by path for code that calls them.
struct PathLoader {
    models: Arc<Models>,
}

impl FlowLoader for PathLoader {
    fn load(&self, path: &Path, model: Option<&Value>) -> Result<Arc<PreparedFlow>, NodeFailure> {
        let failed = |error: ApiError| NodeFailure {
            hints: error.hints,
            ..NodeFailure::new(&error.code, error.message)
        };
        let options = OpenOptions {
            start: path.to_owned(),
            root: Some(self.models.root().to_owned()),
            connections: None,
        };
        let workspace = Workspace::open(&options).map_err(failed)?;
        let model = model.filter(|model| model.as_object().is_some_and(|model| !model.is_empty()));
        let options = LoadOptions { prompty_model: model.cloned(), ..LoadOptions::default() };
        let loaded = load_flow(&workspace, path, &options).map_err(failed)?;
        let gathered = gather(&workspace, loaded).map_err(failed)?;
        self.models.hold(&gathered.inline_connections());
        prepare(&workspace, &gathered, &flowbench_core::plan::PlanOptions::default(), &|_| Ok(Vec::new()))
            .map_err(failed)
    }
}
