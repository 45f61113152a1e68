//! Which connection leads to which model: providers, stand-ins, and models on this machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flowbench_core::connection::{Connection, ConnectionKind};
use flowbench_core::ports::{ChatModel, Embedder, ModelError, ModelErrorKind, ModelSource, Reranker};
use flowbench_inference::{
    EncoderOptions, FileSet, LocalChatModel, LocalEmbedder, LocalEncoder, LocalModel, LocalReranker,
    ModelOptions, RerankerOptions, StaticEmbedder, StaticModel, StaticModelError,
};
use flowbench_net::Outbound;
use flowbench_providers::ProviderSet;
use flowbench_providers::builtin::Builtin;

use crate::approval::{Approval, is_host_allowed};
use crate::error::ApiError;
use crate::models::{EncoderFacts, FoundEncoder, ModelStore};
use crate::workspace::{KnownConnection, Workspace};

/// All models of a workspace. Each local one is loaded when first asked for, and then shared.
pub struct Models {
    connections: Vec<KnownConnection>,
    builtin: Builtin,
    providers: ProviderSet,
    approval: Mutex<Approval>,
    chat: Mutex<HashMap<PathBuf, LocalChatModel>>,
    embedders: Mutex<HashMap<String, Arc<dyn Embedder>>>,
    rerankers: Mutex<HashMap<String, Arc<dyn Reranker>>>,
    adopted: Mutex<HashMap<String, Connection>>,
    store: ModelStore,
    root: PathBuf,
}

impl Models {
    /// The models of a workspace. Loads and asks nothing.
    pub fn new(workspace: &Workspace, outbound: Outbound) -> Result<Self, ApiError> {
        Ok(Self {
            connections: workspace.connections().to_vec(),
            builtin: Builtin::default(),
            providers: ProviderSet::new(outbound),
            approval: Mutex::new(Approval { allows_folder_hosts: false }),
            chat: Mutex::default(),
            embedders: Mutex::default(),
            rerankers: Mutex::default(),
            adopted: Mutex::default(),
            store: ModelStore::new(workspace, &workspace.state()?),
            root: workspace.root().to_owned(),
        })
    }

    /// Takes the user's word on hosts.
    pub fn allow(&self, approval: &Approval) {
        *self.approval.lock().unwrap_or_else(PoisonError::into_inner) = *approval;
    }

    /// True if this is the name of a connection, built-in ones included.
    pub fn is_connection(&self, name: &str) -> bool {
        ["local", "builtin"].contains(&name) || self.connections.iter().any(|known| known.entry.name == name)
    }

    /// Folder that local models are named from.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes connections that flow files write out.
    pub fn hold(&self, connections: &[Connection]) {
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
        let mut loaded = self.chat.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = loaded.get(&found.path) {
            return Ok(model.clone());
        }
        let model = LocalModel::load(&found.path, ModelOptions::default())?;
        let model = LocalChatModel::new(model, name, found.digest);
        loaded.insert(found.path, model.clone());
        Ok(model)
    }
}

impl Models {
    /// An embedding model on this machine; loaded once, used by all.
    fn local_embedder(&self, name: &str) -> Result<Arc<dyn Embedder>, ModelError> {
        let mut loaded = self.embedders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(embedder) = loaded.get(name) {
            return Ok(Arc::clone(embedder));
        }
        let embedder: Arc<dyn Embedder> = match self.store.find_encoder(name, &self.root)? {
            FoundEncoder::Shipped { files, facts } => {
                static_embedder(StaticModel::from_files(FileSet::from_static(files)), name, &facts)?
            }
            FoundEncoder::Folder { path, facts } if is_static(&path) => {
                static_embedder(StaticModel::load(&path), name, &facts)?
            }
            FoundEncoder::Folder { path, facts } => {
                let encoder = LocalEncoder::load(&path, encoder_options(facts))?;
                Arc::new(LocalEmbedder::new(encoder, name)?)
            }
        };
        loaded.insert(name.to_owned(), Arc::clone(&embedder));
        Ok(embedder)
    }

    /// A reranker on this machine; loaded once, used by all.
    fn local_reranker(&self, name: &str) -> Result<Arc<dyn Reranker>, ModelError> {
        let mut loaded = self.rerankers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reranker) = loaded.get(name) {
            return Ok(Arc::clone(reranker));
        }
        let reranker: Arc<dyn Reranker> = match self.store.find_encoder(name, &self.root)? {
            FoundEncoder::Shipped { .. } => {
                return Err(ModelError::new(
                    ModelErrorKind::InvalidRequest,
                    format!("model `{name}` makes vectors and does not rerank"),
                )
                .with_hint("name a cross-encoder, or use mode `hybrid`"));
            }
            FoundEncoder::Folder { path, facts } => {
                let options = RerankerOptions { max_tokens: facts.max_tokens, ..RerankerOptions::default() };
                Arc::new(LocalReranker::load(&path, name, options)?)
            }
        };
        loaded.insert(name.to_owned(), Arc::clone(&reranker));
        Ok(reranker)
    }
}

/// True for folders in the layout of static models: a table of token vectors and no transformer.
fn is_static(folder: &Path) -> bool {
    let config = std::fs::read(folder.join("config.json")).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    config["model_type"] == "model2vec" || config["model_type"] == "static"
}

fn static_embedder(
    model: Result<StaticModel, StaticModelError>,
    name: &str,
    facts: &EncoderFacts,
) -> Result<Arc<dyn Embedder>, ModelError> {
    let model = model.map_err(|error| {
        let told = ModelError::new(ModelErrorKind::InvalidRequest, format!("model `{name}`: {error}"));
        match error.hint() {
            Some(hint) => told.with_hint(hint),
            None => told,
        }
    })?;
    let embedder =
        StaticEmbedder::new(Arc::new(model), name).with_facts(&facts.languages, facts.fusion_weight);
    let prefix = |prefix: &Option<String>| prefix.clone().unwrap_or_default();
    Ok(Arc::new(embedder.with_prefixes(prefix(&facts.query_prefix), prefix(&facts.document_prefix))))
}

/// Options of an encoder as the catalog knows them.
pub fn encoder_options(facts: EncoderFacts) -> EncoderOptions {
    EncoderOptions {
        languages: facts.languages,
        fusion_weight: facts.fusion_weight,
        query_prefix: facts.query_prefix,
        document_prefix: facts.document_prefix,
        max_tokens: facts.max_tokens,
        ..EncoderOptions::default()
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
            "local" => self.local_embedder(model),
            name => self.providers.embedder(&self.allowed(name)?, model),
        }
    }

    fn reranker(&self, connection: &str, model: &str) -> Result<Arc<dyn Reranker>, ModelError> {
        match connection {
            "builtin" => self.builtin.reranker(model),
            "local" => self.local_reranker(model),
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
