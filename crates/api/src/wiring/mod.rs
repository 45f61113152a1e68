//! The only place where adapters meet ports: which connection leads to which provider, where local models come
//! from, who runs code, where results are kept.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flowbench_code::python::PythonSettings;
use flowbench_code::script::ScriptLimits;
use flowbench_code::{CodeNodes, environment};
use flowbench_core::chat::{ModelIdentity, Usage};
use flowbench_core::connection::{Connection, ConnectionKind};
use flowbench_core::event::Cost;
use flowbench_core::ports::{ChatModel, Clock, Embedder, ModelError, ModelErrorKind, ModelSource, Reranker};
use flowbench_inference::{LocalChatModel, LocalModel, ModelOptions};
use flowbench_net::{Outbound, Policy};
use flowbench_providers::builtin::Builtin;
use flowbench_providers::{PriceTable, ProviderSet};
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

use crate::approval::{Approval, is_host_allowed};
use crate::clock::SystemClock;
use crate::error::ApiError;
use crate::files::read_source;
use crate::load::{Gathered, LoadOptions, LoadedFlow, gather, load_flow, prepare};
use crate::models::ModelStore;
use crate::recording::{FileRecorder, FileReplayer, recording_error};
use crate::settings::RunSettings;
use crate::workspace::{KnownConnection, OpenOptions, Workspace};

/// The outside of one run or batch.
pub struct Wiring {
    models: Arc<Models>,
    code: Arc<CodeNodes>,
    outbound: Arc<HttpUnderApproval>,
    limiters: Arc<Limiters>,
    recorder: OnceLock<Arc<FileRecorder>>,
    replayer: Option<Arc<dyn Replayer>>,
    prices: Arc<dyn Prices>,
    retriever: Arc<flowbench_grounding::Indexes>,
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
        let models = Arc::new(Models {
            connections: workspace.connections().to_vec(),
            builtin: Builtin::default(),
            providers: ProviderSet::new(outbound.clone()),
            approval: Mutex::new(Approval { allows_folder_hosts: false }),
            local: Mutex::new(HashMap::new()),
            adopted: Mutex::new(HashMap::new()),
            store: ModelStore::new(workspace, &workspace.state()?),
            root: workspace.root().to_owned(),
        });
        models.hold(inline);
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
            retriever: Arc::new(flowbench_grounding::Indexes::new(workspace.root())),
            redactor,
            state,
            code_folder,
        })
    }

    /// Takes the user's word on hosts.
    pub fn allow(&self, approval: &Approval) {
        *self.models.approval.lock().unwrap_or_else(PoisonError::into_inner) = *approval;
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

struct Models {
    connections: Vec<KnownConnection>,
    builtin: Builtin,
    providers: ProviderSet,
    approval: Mutex<Approval>,
    local: Mutex<HashMap<PathBuf, LocalChatModel>>,
    adopted: Mutex<HashMap<String, Connection>>,
    store: ModelStore,
    root: PathBuf,
}

impl Models {
    fn hold(&self, connections: &[Connection]) {
        for connection in connections {
            let mut adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
            adopted.insert(connection.name.clone(), connection.clone());
        }
    }

    fn allowed(&self, name: &str) -> Result<Connection, ModelError> {
        let connection = ModelSource::connection(self, name)?;
        let approval = *self.approval.lock().unwrap_or_else(PoisonError::into_inner);
        if is_host_allowed(&connection, approval) {
            return Ok(Connection { is_approved: true, ..connection });
        }
        Err(ModelError::new(
            ModelErrorKind::Forbidden,
            format!("connection `{name}` is named by this folder only, and its host is not approved"),
        )
        .with_hint("allow it for this call with `--trust`, or give your own file with `--connections`"))
    }

    /// A local model; loaded once, used by all.
    fn local(&self, name: &str) -> Result<LocalChatModel, ModelError> {
        let found = self.store.find_chat(name, &self.root)?;
        let mut loaded = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = loaded.get(&found.path) {
            return Ok(model.clone());
        }
        let model = LocalModel::load(&found.path, ModelOptions::default())?;
        let model = LocalChatModel::new(model, name, found.digest);
        loaded.insert(found.path, model.clone());
        Ok(model)
    }
}

impl ModelSource for Models {
    fn chat_model(&self, connection: &str, model: &str) -> Result<Arc<dyn ChatModel>, ModelError> {
        match connection {
            "builtin" => self.builtin.chat_model(model),
            "local" => Ok(Arc::new(self.local(model)?)),
            name => {
                let connection = self.allowed(name)?;
                if !connection.kind.can_chat() {
                    return Err(cannot_chat(&connection));
                }
                self.providers.chat_model(&connection, model)
            }
        }
    }

    fn embedder(&self, connection: &str, model: &str) -> Result<Arc<dyn Embedder>, ModelError> {
        match connection {
            "builtin" => self.builtin.embedder(model),
            "local" => Err(ModelError::new(
                ModelErrorKind::NotFound,
                format!("local embedding models cannot be run yet, and `{model}` is asked for"),
            )
            .with_hint("use a connection whose endpoint embeds")),
            name => self.providers.embedder(&self.allowed(name)?, model),
        }
    }

    fn reranker(&self, connection: &str, model: &str) -> Result<Arc<dyn Reranker>, ModelError> {
        match connection {
            "builtin" => self.builtin.reranker(model),
            "local" => Err(ModelError::new(
                ModelErrorKind::NotFound,
                format!("local rerankers cannot be run yet, and `{model}` is asked for"),
            )
            .with_hint("use a connection whose endpoint reranks")),
            name => self.providers.reranker(&self.allowed(name)?, model),
        }
    }

    fn connection(&self, name: &str) -> Result<Connection, ModelError> {
        if let Some(adopted) = self.adopted.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(adopted.clone());
        }
        let Some(known) = self.connections.iter().find(|known| known.entry.name == name) else {
            let known: Vec<&str> = self.connections.iter().map(|known| known.entry.name.as_str()).collect();
            return Err(ModelError::new(
                ModelErrorKind::NotFound,
                format!("connection `{name}` is not configured"),
            )
            .with_hint(format!(
                "add it to `connections.yaml` or give a file with `--connections`; {}",
                flowbench_core::flow::list_known("connections", &known)
            )));
        };
        let approval = *self.approval.lock().unwrap_or_else(PoisonError::into_inner);
        let resolved = known.resolve().map(|connection| {
            let is_approved = is_host_allowed(&connection, approval);
            Connection { is_approved, ..connection }
        });
        resolved.map_err(|error| {
            let failed = ModelError::new(ModelErrorKind::Authentication, error.message);
            match error.hints.into_iter().next() {
                Some(hint) => failed.with_hint(hint),
                None => failed,
            }
        })
    }

    fn adopt(&self, connection: Connection) -> String {
        let mut adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match connection.name.as_str() {
            "" => format!("made-by-code-{}", adopted.len() + 1),
            name => format!("{name}-made-by-code"),
        };
        adopted.insert(name.clone(), Connection { name: name.clone(), ..connection });
        name
    }
}

fn cannot_chat(connection: &Connection) -> ModelError {
    let kind = match &connection.kind {
        ConnectionKind::Other(word) => word.as_str(),
        kind => kind.as_str(),
    };
    ModelError::new(
        ModelErrorKind::InvalidRequest,
        format!(
            "connection `{}` is of type `{kind}`, and a model cannot be asked through it",
            connection.name
        ),
    )
    .with_hint("use a connection of type open_ai, azure_open_ai, serverless, anthropic, gemini or ollama")
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
        let options =
            OpenOptions { start: path.to_owned(), root: Some(self.models.root.clone()), connections: None };
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
