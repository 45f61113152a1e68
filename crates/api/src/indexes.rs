//! Use cases: indexes of documents: build, look into, check, keep fresh. What asks them is in [`crate::search`].

use std::sync::{Mutex, PoisonError};

use flowbench_core::event::Failure;
use flowbench_core::ports::{Clock, EmbeddingPurpose};
use flowbench_corpus::layers::Layers;
use flowbench_grounding::build::Preview;
pub use flowbench_grounding::build::{BuildEvent, BuildOptions, BuildReport};
use flowbench_grounding::error::IndexError;
use flowbench_grounding::freshness::{FreshnessReport, freshness};
use flowbench_grounding::indexes::Indexes;
use flowbench_grounding::lineage::ChunkLineage;
use flowbench_grounding::manifest::{DocumentRecord, Manifest};
use flowbench_grounding::spec::names;
use serde::Serialize;
use serde_json::{Value, json};

use crate::approval::Approval;
use crate::clock::SystemClock;
use crate::error::ApiError;
use crate::wiring::wire_indexes;
use crate::workspace::Workspace;

/// Takes events of a build.
pub type BuildSink<'s> = &'s (dyn Fn(BuildEvent) + Send + Sync);

impl From<IndexError> for ApiError {
    fn from(error: IndexError) -> Self {
        let message = error.to_string();
        let told = match &error {
            IndexError::Missing { .. } => Self::wrong_use("index/unknown", message),
            IndexError::Spec { .. } => Self::wrong_use("index/invalid", message),
            IndexError::Outside { .. } => Self::wrong_use("path/forbidden", message),
            IndexError::Host { .. } => Self::wrong_use("host/forbidden", message),
            IndexError::Model { is_forbidden: true, .. } => Self::wrong_use("model/forbidden", message),
            IndexError::Question { .. } => Self::wrong_use("index/question", message),
            IndexError::Source { .. } | IndexError::Empty { .. } => Self::wrong_use("index/source", message),
            IndexError::Quality { .. } => Self::gate("index/quality", message),
            IndexError::Probes { .. } => Self::gate("index/probes", message),
            IndexError::Damaged { .. } => Self::integrity("index/damaged", message),
            IndexError::Engine {
                source: flowbench_grounding::engine::EngineError::Damaged { .. }, ..
            } => Self::integrity("index/damaged", message),
            IndexError::NotBuilt { .. } => Self::could_not("index/not_built", message),
            IndexError::OtherModel { .. } => Self::could_not("index/other_model", message),
            IndexError::Busy { .. } => Self::could_not("index/busy", message),
            _ => Self::could_not("index", message),
        };
        match error.hint() {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}

/// The indexes of a workspace as this call may use them.
pub fn open(workspace: &Workspace, is_trusted: bool) -> Result<Indexes, ApiError> {
    wire_indexes(workspace, &Approval { allows_folder_hosts: is_trusted })
}

/// An index in a list.
#[derive(Clone, Debug, Serialize)]
pub struct IndexRow {
    /// Name.
    pub name: String,
    /// Digest of the generation that answers; absent before the first build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Documents.
    pub documents: usize,
    /// Chunks.
    pub chunks: usize,
    /// Embedding model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When it was built, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_ms: Option<u64>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// All indexes of a workspace, by name. One that cannot be read is a row with its problem.
pub fn list(workspace: &Workspace) -> Result<Vec<IndexRow>, ApiError> {
    let indexes = open(workspace, false)?;
    let row = |name: String| {
        let mut row = IndexRow {
            name: name.clone(),
            generation: None,
            documents: 0,
            chunks: 0,
            model: None,
            built_ms: None,
            problem: None,
        };
        if let Err(error) = indexes.spec(&name) {
            row.problem = Some(error.to_string());
        }
        match indexes.place(&name).current() {
            Ok(Some(generation)) => {
                let manifest = generation.manifest;
                row.generation = Some(manifest.digest);
                row.documents = manifest.documents;
                row.chunks = manifest.chunks;
                row.model = manifest.model.map(|model| model.model);
                row.built_ms = Some(manifest.built_ms);
            }
            Ok(None) => {}
            Err(error) => row.problem = row.problem.or(Some(error.to_string())),
        }
        row
    };
    Ok(names(workspace.root()).into_iter().map(row).collect())
}

/// Builds a new generation.
pub async fn build(
    workspace: &Workspace,
    name: &str,
    options: BuildOptions,
    is_trusted: bool,
    events: BuildSink<'_>,
) -> Result<BuildReport, ApiError> {
    Ok(Box::pin(open(workspace, is_trusted)?.build(name, options, events)).await?)
}

/// Reads, cleans and cuts the documents, and tells what a build would make of them.
pub async fn preview(
    workspace: &Workspace,
    name: &str,
    is_trusted: bool,
    events: BuildSink<'_>,
) -> Result<Preview, ApiError> {
    Ok(Box::pin(open(workspace, is_trusted)?.preview(name, events)).await?)
}

/// What a refresh did and cost.
#[derive(Clone, Debug, Serialize)]
pub struct RefreshReport {
    /// How old the sources were before.
    pub before: FreshnessReport,
    /// What was built.
    pub build: BuildReport,
}

/// Brings sources up to date that are older than they may be; with `all`, every source.
pub async fn refresh(
    workspace: &Workspace,
    name: &str,
    all: bool,
    is_trusted: bool,
    events: BuildSink<'_>,
) -> Result<RefreshReport, ApiError> {
    let indexes = open(workspace, is_trusted)?;
    let (manifest, documents) = stored(&indexes, name)?;
    let before = freshness(&manifest, &documents, SystemClock.now_ms());
    let options = BuildOptions { only_stale: !all, ..BuildOptions::default() };
    let build = Box::pin(indexes.build(name, options, events)).await?;
    Ok(RefreshReport { before, build })
}

/// The generation that answers, with its documents.
fn stored(indexes: &Indexes, name: &str) -> Result<(Manifest, Vec<DocumentRecord>), ApiError> {
    indexes.spec(name)?;
    let place = indexes.place(name);
    let Some(generation) = place.current()? else {
        return Err(IndexError::NotBuilt {
            name: name.to_owned(),
            reason: "there is nothing to look at".to_owned(),
        }
        .into());
    };
    let documents = place.documents(&generation)?;
    Ok((generation.manifest, documents))
}

/// What an index holds.
#[derive(Clone, Debug, Serialize)]
pub struct IndexFacts {
    /// The generation that answers.
    pub manifest: Manifest,
    /// How old its sources are.
    pub freshness: FreshnessReport,
    /// Documents without chunks, and why.
    pub left_out: Vec<(String, String)>,
    /// Largest documents by chunks.
    pub largest: Vec<(String, usize)>,
    /// Bytes of the layers and the generations on disk.
    pub bytes: u64,
}

/// Looks at an index.
pub fn inspect(workspace: &Workspace, name: &str) -> Result<IndexFacts, ApiError> {
    let indexes = open(workspace, false)?;
    let (manifest, documents) = stored(&indexes, name)?;
    let freshness = freshness(&manifest, &documents, SystemClock.now_ms());
    let left_out = documents
        .iter()
        .filter_map(|record| record.left_out.clone().map(|reason| (record.entry.name.clone(), reason)))
        .collect();
    let mut largest: Vec<(String, usize)> =
        documents.iter().map(|record| (record.entry.name.clone(), record.count)).collect();
    largest.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    largest.truncate(10);
    let bytes = bytes_below(indexes.place(name).folder(), 0);
    Ok(IndexFacts { manifest, freshness, left_out, largest, bytes })
}

/// One document of an index: its record and its chunks.
pub fn inspect_document(workspace: &Workspace, name: &str, document: &str) -> Result<Value, ApiError> {
    let indexes = open(workspace, true)?;
    let (_, documents) = stored(&indexes, name)?;
    let Some(record) = documents.iter().find(|record| record.entry.name == document) else {
        let known: Vec<&str> = documents.iter().map(|record| record.entry.name.as_str()).take(20).collect();
        return Err(ApiError::wrong_use(
            "index/document",
            format!("index `{name}` has no document `{document}`"),
        )
        .hint(flowbench_core::flow::list_known("documents", &known)));
    };
    let chunks = indexes.chunks_of(name, record)?;
    Ok(json!({"document": record, "chunks": chunks}))
}

/// One chunk and the way back to the bytes it came from.
pub fn inspect_chunk(workspace: &Workspace, name: &str, chunk: &str) -> Result<Value, ApiError> {
    let indexes = open(workspace, true)?;
    let (manifest, documents) = stored(&indexes, name)?;
    for record in &documents {
        if let Some(found) = indexes.chunks_of(name, record)?.into_iter().find(|own| own.id == chunk) {
            let lineage = ChunkLineage::of(chunk, record, &manifest);
            return Ok(json!({"chunk": found, "lineage": lineage}));
        }
    }
    Err(ApiError::wrong_use("index/chunk", format!("index `{name}` has no chunk `{chunk}`"))
        .hint("chunk ids are the `id` of hits"))
}

/// What a check of an index found.
#[derive(Clone, Debug, Serialize)]
pub struct IndexCheck {
    /// Name.
    pub name: String,
    /// True if nothing is wrong.
    pub is_whole: bool,
    /// Records read in the layers.
    pub records: u64,
    /// Probes asked.
    pub probes: usize,
    /// Cosine between stored vectors and what the model says now, smallest of the sample; absent without vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_cosine: Option<f64>,
    /// What is wrong.
    pub problems: Vec<Failure>,
}

/// Vectors compared with what the model says now.
const VECTOR_SAMPLE: usize = 16;
/// Smallest cosine of the same text by the same model: another batch moves a vector by far less.
const SAME_VECTOR: f64 = 0.9999;

/// Reads everything that is kept, asks the probes, and compares the model with the stored vectors.
pub async fn verify(workspace: &Workspace, name: &str, is_trusted: bool) -> Result<IndexCheck, ApiError> {
    let indexes = open(workspace, is_trusted)?;
    indexes.allow_builds(false);
    let (manifest, documents) = stored(&indexes, name)?;
    let problems = Mutex::new(Vec::new());
    let tell = |code: &str, message: String, hint: Option<String>| {
        problems.lock().unwrap_or_else(PoisonError::into_inner).push(Failure {
            code: code.to_owned(),
            message,
            hints: hint.into_iter().collect(),
            node: None,
            details: None,
        });
    };
    let mut check = IndexCheck {
        name: name.to_owned(),
        is_whole: true,
        records: 0,
        probes: 0,
        least_cosine: None,
        problems: Vec::new(),
    };
    match Layers::open_to_read(&indexes.place(name).layers()).and_then(|layers| layers.verify()) {
        Ok(verified) => {
            check.records = verified.records;
            for (layer, digest) in verified.damaged {
                let broken = format!("a record of layer `{layer}` is damaged: {digest}");
                let hint = format!("`flowbench index build {name}` makes it again");
                tell("index/layer", broken, Some(hint));
            }
        }
        Err(error) => tell("index/layer", error.to_string(), error.hint().map(str::to_owned)),
    }
    match indexes.open(name).await {
        Err(error) if !is_broken(&error) => return Err(error.into()),
        Err(error) => tell("index/open", error.to_string(), error.hint()),
        Ok(open) => {
            if let Err(error) = open.engine.verify().await {
                let error = IndexError::Engine { name: name.to_owned(), source: error };
                if !is_broken(&error) {
                    return Err(error.into());
                }
                tell("index/engine", error.to_string(), error.hint());
            }
            check.probes = manifest.probes.len();
            match open.ask_probes().await {
                Ok(results) => {
                    for missed in results.iter().filter(|result| result.rank.is_none()) {
                        let message = format!("probe `{}` does not find its document", missed.probe.query);
                        tell("index/probe", message, None);
                    }
                }
                Err(error) => tell("index/probe", error.to_string(), error.hint()),
            }
            if let Some(embedder) = &open.embedder {
                let mut sample = Vec::new();
                for record in documents.iter().filter(|record| record.count > 0).take(VECTOR_SAMPLE) {
                    let chunks = indexes.chunks_of(name, record)?;
                    sample.extend(chunks.into_iter().find(|chunk| !chunk.is_parent));
                }
                let ids: Vec<String> = sample.iter().map(|chunk| chunk.id.clone()).collect();
                let texts: Vec<String> = sample.iter().map(|chunk| chunk.searched_text()).collect();
                let dimensions = open.spec.embed.as_ref().and_then(|embed| embed.dimensions);
                let kept = open
                    .engine
                    .vectors_of(&ids)
                    .await
                    .map_err(|source| IndexError::Engine { name: name.to_owned(), source })?;
                let now = embedder.embed(&texts, EmbeddingPurpose::Document, dimensions).await?;
                for (kept, now) in kept.iter().zip(&now.vectors) {
                    let Some(kept) = kept else { continue };
                    let cosine = cosine(kept, now);
                    check.least_cosine = Some(check.least_cosine.map_or(cosine, |least| least.min(cosine)));
                }
                if check.least_cosine.is_some_and(|least| least < SAME_VECTOR) {
                    tell(
                        "index/model",
                        "the embedding model gives other vectors than those stored".to_owned(),
                        Some(format!("rebuild it with `flowbench index build {name} --fresh`")),
                    );
                }
            }
        }
    }
    check.problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    check.is_whole = check.problems.is_empty();
    Ok(check)
}

/// True for errors that say that what is kept is not right; the others say that it could not be looked at.
fn is_broken(error: &IndexError) -> bool {
    matches!(
        error,
        IndexError::Damaged { .. }
            | IndexError::OtherModel { .. }
            | IndexError::Engine { source: flowbench_grounding::engine::EngineError::Damaged { .. }, .. }
    )
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    dot / (norm(a) * norm(b)).max(f64::MIN_POSITIVE)
}

/// Bytes of all files below a folder.
fn bytes_below(folder: &std::path::Path, depth: usize) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < 8 => bytes_below(&entry.path(), depth + 1),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
            _ => 0,
        })
        .sum()
}
