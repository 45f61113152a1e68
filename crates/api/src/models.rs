//! Use case: models on this machine: the catalog, what is here, bringing and checking them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flowbench_catalog::{Catalog, CatalogError, FileState, PullEvent, PullOptions};
use flowbench_core::ports::{ModelError, ModelErrorKind};
use flowbench_net::{Outbound, Policy};
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::SystemClock;
use crate::error::ApiError;
use crate::workspace::Workspace;

/// The catalog and the store of a workspace.
#[derive(Clone)]
pub struct ModelStore {
    store: flowbench_catalog::ModelStore,
    catalog_folder: PathBuf,
    state: PathBuf,
}

/// An encoder, reranker or static model that can be loaded.
pub enum FoundEncoder {
    /// It came with this program.
    Shipped {
        /// Paths and bytes.
        files: &'static [(&'static str, &'static [u8])],
        /// What the catalog says of it.
        facts: EncoderFacts,
    },
    /// A folder in the model's own layout.
    Folder {
        /// Where.
        path: PathBuf,
        /// What the catalog says of it.
        facts: EncoderFacts,
    },
}

/// What the catalog says of an encoder beyond its own files.
pub type EncoderFacts = flowbench_catalog::EmbeddingFacts;

/// Weights of a model that can be loaded.
pub struct FoundModel {
    /// File.
    pub path: PathBuf,
    /// Digest, where the file was checked against one.
    pub digest: Option<String>,
}

impl ModelStore {
    /// Of a workspace, with its state folder. Reads nothing yet.
    pub fn new(workspace: &Workspace, state: &Path) -> Self {
        Self {
            store: flowbench_catalog::ModelStore::new(state),
            catalog_folder: workspace.root().join("catalog"),
            state: state.to_owned(),
        }
    }

    fn catalog(&self) -> Catalog {
        Catalog::load(&self.catalog_folder).0
    }

    /// An embedding model or reranker by catalog name or path.
    pub fn find_encoder(&self, name: &str, root: &Path) -> Result<FoundEncoder, ModelError> {
        let catalog = self.catalog();
        let facts = catalog.embedding_facts(name).cloned().unwrap_or_default();
        let files = match self.store.resolve(name, root, &catalog) {
            Err(_) if Path::new(name).is_dir() => self.store.resolve(name, Path::new(""), &catalog),
            other => other,
        };
        let told = |message: String| ModelError::new(ModelErrorKind::NotFound, message);
        let files = files.map_err(|error| match error.hint() {
            Some(hint) => told(error.to_string()).with_hint(hint),
            None => told(error.to_string()),
        })?;
        if let Some(shipped) = files.shipped {
            return Ok(FoundEncoder::Shipped { files: shipped.files, facts });
        }
        let path = match &files.digest {
            Some(digest) => {
                let folder = self.state.join("models").join("folders").join(&digest[..32.min(digest.len())]);
                lay_out(&files, &folder).map_err(|error| told(format!("`{}`: {error}", folder.display())))?;
                folder
            }
            None => root.join(name),
        };
        let path = if path.is_dir() { path } else { PathBuf::from(name) };
        Ok(FoundEncoder::Folder { path, facts })
    }

    /// A chat model by catalog name or path; paths are looked up from the workspace, then from where the user is.
    pub fn find_chat(&self, name: &str, root: &Path) -> Result<FoundModel, ModelError> {
        let catalog = self.catalog();
        let files = match self.store.resolve(name, root, &catalog) {
            Err(_) if Path::new(name).is_file() => self.store.resolve(name, Path::new(""), &catalog),
            other => other,
        };
        let files = files.map_err(|error| {
            let told = ModelError::new(ModelErrorKind::NotFound, error.to_string());
            match error.hint() {
                Some(hint) => told.with_hint(hint),
                None => told,
            }
        })?;
        match files.weights() {
            Some(path) => Ok(FoundModel { path: path.to_owned(), digest: files.digest.clone() }),
            None => Err(ModelError::new(
                ModelErrorKind::NotFound,
                format!("model `{name}` has no weights that can chat"),
            )
            .with_hint("chat models are GGUF files")),
        }
    }
}

/// Lays the files of a model out as a folder: links to where they are kept, copies where links are not possible. The
/// folder is made aside and renamed, so that two processes may do it at once.
fn lay_out(files: &flowbench_catalog::ModelFiles, folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(parent)?;
    let aside = parent.join(format!(
        ".{}-{}",
        std::process::id(),
        folder.file_name().unwrap_or_default().to_string_lossy()
    ));
    for file in &files.files {
        let path = aside.join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap_or(&aside))?;
        if std::fs::hard_link(&file.location, &path).is_err() && !path.exists() {
            std::fs::copy(&file.location, &path)?;
        }
    }
    match std::fs::rename(&aside, folder) {
        Err(_) if folder.is_dir() => std::fs::remove_dir_all(&aside),
        other => other,
    }
}

/// A model in a list.
#[derive(Clone, Debug, Serialize)]
pub struct ModelRow {
    /// Name.
    pub name: String,
    /// `chat`, `completion`, `embed` or `rerank`.
    pub task: String,
    /// True if its files are here.
    pub is_here: bool,
    /// Size, where known.
    pub bytes: Option<u64>,
    /// Licence in short.
    pub licence: String,
}

/// What a check of a model's files found.
#[derive(Clone, Debug, Serialize)]
pub struct ModelCheck {
    /// Name.
    pub name: String,
    /// True if every file is as its record says.
    pub is_whole: bool,
    /// What is wrong.
    pub problems: Vec<String>,
}

fn word(value: impl Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

fn told(error: &CatalogError) -> ApiError {
    let told = match error.is_integrity() {
        true => ApiError::integrity("model/integrity", error.to_string()),
        false => match error {
            CatalogError::UnknownModel { .. } | CatalogError::BadName { .. } => {
                ApiError::wrong_use("model/unknown", error.to_string())
            }
            _ => ApiError::could_not("model", error.to_string()),
        },
    };
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

fn open(workspace: &Workspace) -> Result<(flowbench_catalog::ModelStore, Catalog), ApiError> {
    let store = flowbench_catalog::ModelStore::new(&workspace.state()?);
    Ok((store, Catalog::load(&workspace.root().join("catalog")).0))
}

/// The catalog and what was added by hand, by name.
pub fn list(workspace: &Workspace) -> Result<Vec<ModelRow>, ApiError> {
    let (store, catalog) = open(workspace)?;
    let installed = store.installed().map_err(|error| told(&error))?;
    let licence = |licence: &flowbench_catalog::Licence| {
        licence.spdx.clone().or_else(|| licence.name.clone()).unwrap_or_default()
    };
    let mut rows: Vec<ModelRow> = catalog
        .records()
        .map(|record| ModelRow {
            name: record.name.clone(),
            task: word(record.task),
            is_here: installed.iter().any(|model| model.name == record.name),
            bytes: record.bytes(),
            licence: licence(&record.licence),
        })
        .collect();
    for model in installed.iter().filter(|model| catalog.get(&model.name).is_none()) {
        rows.push(ModelRow {
            name: model.name.clone(),
            task: model.task.map(word).unwrap_or_default(),
            is_here: true,
            bytes: Some(model.bytes()),
            licence: licence(&model.licence),
        });
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

/// One model: its record and its files here.
pub fn show(workspace: &Workspace, name: &str) -> Result<Value, ApiError> {
    let (store, catalog) = open(workspace)?;
    let installed = store.installed_model(name).map_err(|error| told(&error))?;
    match (catalog.get(name), installed) {
        (None, None) => {
            let similar = catalog.similar(name).map(str::to_owned);
            Err(told(&CatalogError::UnknownModel { name: name.to_owned(), similar }))
        }
        (record, installed) => Ok(json!({
            "name": name,
            "description": record.and_then(|record| record.description.clone()),
            "task": record.map(|record| word(record.task)),
            "licence": record.map(|record| json!(record.licence)),
            "files": record.map(|record| json!(record.files)),
            "installed": installed,
        })),
    }
}

/// Brings a model into the store; `progress` takes a line at a time. Gives its files.
pub async fn pull(
    workspace: &Workspace,
    name: &str,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Vec<PathBuf>, ApiError> {
    let (store, catalog) = open(workspace)?;
    let Some(record) = catalog.get(name) else {
        let similar = catalog.similar(name).map(str::to_owned);
        return Err(told(&CatalogError::UnknownModel { name: name.to_owned(), similar }));
    };
    let options = PullOptions::from_env(&|name| std::env::var(name).ok());
    let net = Outbound::new(Policy::any_public(), Arc::new(SystemClock));
    let progress = Mutex::new(progress);
    let listener = |event: PullEvent| {
        let line = match event {
            PullEvent::Waiting { model } => format!("`{model}` is being brought by another process; waiting"),
            PullEvent::Trying { source } => format!("from {source}"),
            PullEvent::Failed { source, reason } => format!("{source}: {reason}"),
            PullEvent::Coming { file, done, total: Some(total) } => {
                format!("{file}  {:.1} of {:.1} MB", done as f64 / 1e6, total as f64 / 1e6)
            }
            PullEvent::Coming { file, done, total: None } => format!("{file}  {:.1} MB", done as f64 / 1e6),
            PullEvent::Here { file } => format!("{file} is here"),
        };
        (progress.lock().unwrap_or_else(PoisonError::into_inner))(&line);
    };
    flowbench_catalog::pull(&store, record, &net, &options, &listener).await.map_err(|error| told(&error))?;
    let files = store.resolve(name, workspace.root(), &catalog).map_err(|error| told(&error))?;
    Ok(files.files.into_iter().map(|file| file.location).collect())
}

/// Copies a local model into the store. Gives its files.
pub fn add(workspace: &Workspace, name: &str, path: &Path) -> Result<Vec<PathBuf>, ApiError> {
    let (store, catalog) = open(workspace)?;
    store.add(name, path, None).map_err(|error| told(&error))?;
    let files = store.resolve(name, workspace.root(), &catalog).map_err(|error| told(&error))?;
    Ok(files.files.into_iter().map(|file| file.location).collect())
}

/// Checks the digests of a model, or of all that are here.
pub fn verify(workspace: &Workspace, name: Option<&str>) -> Result<Vec<ModelCheck>, ApiError> {
    let (store, catalog) = open(workspace)?;
    let models = match name {
        None => store.installed().map_err(|error| told(&error))?,
        Some(name) => match store.installed_model(name).map_err(|error| told(&error))? {
            Some(model) => vec![model],
            None => {
                let error = match catalog.get(name) {
                    Some(_) => CatalogError::NotPulled { name: name.to_owned() },
                    None => CatalogError::UnknownModel {
                        name: name.to_owned(),
                        similar: catalog.similar(name).map(str::to_owned),
                    },
                };
                return Err(told(&error));
            }
        },
    };
    let mut checks = Vec::new();
    for model in models {
        let mut problems = Vec::new();
        for file in store.verify(&model).map_err(|error| told(&error))? {
            match file.state {
                FileState::Sound => {}
                FileState::Missing => problems.push(format!("`{}` is missing", file.path)),
                FileState::Wrong { found } => {
                    problems.push(format!(
                        "`{}` has digest {found}, and its record says {}",
                        file.path, file.sha256
                    ));
                }
            }
        }
        checks.push(ModelCheck { name: model.name, is_whole: problems.is_empty(), problems });
    }
    Ok(checks)
}
