//! Builds a generation: list → fetch and extract → clean → cut → embed → write aside → probe → swap.
//!
//! The result of every step is kept in the layers under the digest of all that decides it. A build that was killed
//! therefore goes on where it was when it is started again, a document that did not change costs a look at its stamp, and
//! the digest of the generation is the same on every way there.

mod corpus;
mod embed;
mod preview;
pub mod probe;
mod report;
mod write;

use std::sync::Arc;
use std::time::Instant;

use flowbench_core::chat::ModelIdentity;
use flowbench_core::ports::{Clock, Embedder, Tokens};
use flowbench_corpus::chunk::WordTokens;
use flowbench_corpus::clean::ProjectKey;
use flowbench_corpus::layers::{LayerError, Layers};
use flowbench_corpus::quality::check_quality;
use flowbench_corpus::source::Source;
use flowbench_extract::Extractor;
use flowbench_text::analysis::ANALYSIS_VERSION;

pub use preview::{Preview, preview};
pub use report::{BuildEvent, BuildReader, BuildReport, Stage};

use crate::error::IndexError;
use crate::lineage::{BuildLineage, Ended, digest_of};
use crate::manifest::{EngineRecord, FORMAT, Failed, Manifest, ModelRecord};
use crate::place::{IndexPlace, StoredGeneration};
use crate::spec::IndexSpec;
use crate::store::Store;
pub(crate) use corpus::source_place;
use corpus::{Corpus, Cut};
use embed::{EmbedFailure, Wanted, embed, vector_key};
use write::write_generation;

/// The embedding model of a build.
#[derive(Clone)]
pub struct BuildModel {
    /// Connection.
    pub connection: String,
    /// Model.
    pub model: String,
    /// The model itself.
    pub embedder: Arc<dyn Embedder>,
}

impl BuildModel {
    /// What tells one model from another: its digest, else its names and version.
    pub fn identity(&self) -> String {
        let identity = self.embedder.identity();
        self.embedder.profile().digest.unwrap_or_else(|| {
            let version = identity.version.unwrap_or_default();
            let ModelIdentity { provider, model, connection, endpoint, .. } = identity;
            format!("{provider}/{model}@{version} {connection} {endpoint}")
        })
    }
}

/// Everything a build needs from the outside.
pub struct BuildSetup {
    /// What to build.
    pub spec: IndexSpec,
    /// Where it lies.
    pub place: IndexPlace,
    /// Its sources, opened.
    pub sources: Vec<Source>,
    /// Which engine takes it.
    pub store: Store,
    /// Turns bytes into text.
    pub extractor: Arc<dyn Extractor>,
    /// The embedding model, where the spec names one.
    pub model: Option<BuildModel>,
    /// Key of the project's pseudonyms.
    pub project_key: ProjectKey,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Id of this build.
    pub build_id: String,
}

/// What is asked of a build.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuildOptions {
    /// Forget what earlier builds kept.
    pub is_fresh: bool,
    /// List and fetch only sources that are older than they may be; take the others as they were.
    pub only_stale: bool,
}

/// Longest time between two events of one stage that only count.
const PROGRESS_STEP: usize = 64;

impl BuildSetup {
    fn failed_layer(&self, error: LayerError) -> IndexError {
        let reason = error.to_string();
        match error {
            LayerError::Io { path, source, .. } => {
                IndexError::File { name: self.spec.name.clone(), path, source }
            }
            LayerError::Busy { .. } => IndexError::Busy { name: self.spec.name.clone() },
            _ => IndexError::Damaged { name: self.spec.name.clone(), reason },
        }
    }

    fn failed_model(&self, failure: EmbedFailure) -> IndexError {
        match failure {
            EmbedFailure::Layer(error) => self.failed_layer(error),
            EmbedFailure::Model(error) => IndexError::model(&self.spec.name, error),
        }
    }

    /// How chunks are counted: the model's own tokenizer, where it is here.
    fn tokens(&self) -> Arc<dyn Tokens> {
        let own = self.model.as_ref().and_then(|model| model.embedder.tokens());
        own.unwrap_or_else(|| Arc::new(WordTokens))
    }

    /// Digest of all that decides chunks and vectors but the documents.
    fn recipe_digest(&self) -> String {
        let parts = [
            self.spec.recipe().to_string(),
            self.model.as_ref().map(BuildModel::identity).unwrap_or_default(),
            self.tokens().digest(),
            flowbench_extract::VERSION.to_string(),
            ANALYSIS_VERSION.to_string(),
        ];
        crate::lineage::digest_of(parts.iter().map(String::as_str))
    }
}

/// Builds a new generation and puts it where readers look. Fails without harm to the one that answers now.
pub async fn build(
    setup: &BuildSetup,
    options: BuildOptions,
    events: BuildReader<'_>,
) -> Result<BuildReport, IndexError> {
    let _lock = setup.place.lock()?;
    let lineage =
        BuildLineage { index: &setup.spec.name, build: &setup.build_id, started_ms: setup.clock.now_ms() };
    let sources: Vec<(String, String)> =
        setup.sources.iter().map(|source| (source.name().to_owned(), source_place(source.spec()))).collect();
    setup.place.tell_lineage(&[lineage.start(&sources)])?;
    match run(setup, options, events, &lineage).await {
        Ok(report) => Ok(report),
        Err(error) => {
            let event = lineage.ended(Ended::Fail(&error.to_string()), setup.clock.now_ms());
            // The error of the build is what the user needs to see.
            let _ = setup.place.tell_lineage(&[event]);
            Err(error)
        }
    }
}

async fn run(
    setup: &BuildSetup,
    options: BuildOptions,
    events: BuildReader<'_>,
    lineage: &BuildLineage<'_>,
) -> Result<BuildReport, IndexError> {
    let name = &setup.spec.name;
    if options.is_fresh {
        setup.place.forget()?;
    }
    let layers = Layers::open(&setup.place.layers()).map_err(|error| setup.failed_layer(error))?;
    let earlier = match setup.place.current() {
        // A damaged generation is what a build puts right.
        Err(IndexError::Damaged { reason, .. }) => {
            events(BuildEvent::Note {
                message: format!("the last generation is damaged ({reason}); building anew"),
            });
            None
        }
        other => other?,
    };
    let known = match &earlier {
        Some(generation) => setup.place.documents(generation).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut report = BuildReport { index: name.clone(), ..BuildReport::default() };
    let mut timer = Timer::new(events);

    let corpus = Corpus { setup, layers: &layers, known: &known, earlier: earlier.as_ref() };
    timer.begin(Stage::List, Some(setup.sources.len()));
    let listed = corpus.list(options.only_stale).await?;
    report.failed.extend(listed.failed.iter().cloned());
    report.untold = listed.untold;
    timer.begin(Stage::Extract, Some(listed.entries.len()));
    let read = corpus.read(listed, &|done, total| timer.progress(Stage::Extract, done, total)).await?;
    report.fetched = read.fetched;
    report.extracted = read.extracted;
    report.failed.extend(read.failed.iter().cloned());
    layers.sync().map_err(|error| setup.failed_layer(error))?;
    timer.begin(Stage::Clean, Some(read.documents.len()));
    let cleaned = corpus.clean(read, &|done, total| timer.progress(Stage::Clean, done, total))?;
    report.cleaning = cleaned.reports.clone();
    timer.begin(Stage::Chunk, Some(cleaned.documents.len()));
    let cut = corpus.cut(cleaned, &|done, total| timer.progress(Stage::Chunk, done, total))?;
    layers.sync().map_err(|error| setup.failed_layer(error))?;
    if cut.chunks() == 0 {
        report.failed.truncate(1);
        return Err(IndexError::Empty { name: name.clone(), first: report.failed.into_iter().next() });
    }

    let results = check_quality(&setup.spec.quality, &cut.facts, setup.clock.now_ms());
    report.quality = results.iter().filter_map(|result| serde_json::to_value(result).ok()).collect();
    let below: Vec<String> = results
        .iter()
        .filter(|result| result.blocks())
        .map(|result| format!("`{}` is {}, and should be {}", result.name, result.actual, result.expected))
        .collect();
    if !below.is_empty() {
        return Err(IndexError::Quality { name: name.clone(), failed: below.join("; ") });
    }

    let lacking = embed_all(setup, &layers, &cut, &mut report, &mut timer).await?;
    timer.begin(Stage::Write, Some(cut.chunks()));
    let manifest = describe(setup, &cut, &report, &lacking);
    let documents = cut.records();
    (report.added, report.changed, report.removed) = compare(&known, &documents);
    report.generation = manifest.digest.clone();
    report.documents = manifest.documents;
    report.chunks = manifest.chunks;
    report.vectors = manifest.vectors;
    // A fresh build trusts nothing that is there, the engine of an equal generation included.
    let reusable = earlier.as_ref().filter(|_| !options.is_fresh);
    let same = reusable.filter(|generation| {
        generation.manifest.digest == manifest.digest && generation.manifest.contents == manifest.contents
    });
    report.is_unchanged = earlier.as_ref().is_some_and(|generation| {
        generation.manifest.digest == manifest.digest && generation.manifest.contents == manifest.contents
    });
    let published = match same {
        Some(generation) => {
            // The same chunks: only what is told of them can be new.
            let failed = |source| IndexError::Engine { name: name.clone(), source };
            let before = &generation.manifest;
            let mut manifest = Manifest { stored: before.stored.clone(), ..manifest };
            if let (Some(now), Some(was)) = (&mut manifest.model, &before.model) {
                now.dimensions = was.dimensions;
            }
            let engine = setup.store.open(&generation.engine(), &manifest.stored).await.map_err(failed)?;
            let kept = before.probes.clone();
            manifest.probes = probe::choose(setup, &cut, &layers, engine.as_ref(), &manifest, kept).await?;
            setup.place.describe(&generation.folder, &manifest, &documents)?;
            StoredGeneration { folder: generation.folder.clone(), manifest }
        }
        None => write_generation(setup, &layers, &cut, reusable, manifest, &documents, &mut timer).await?,
    };
    let ended = lineage.complete(&published.manifest, &documents, setup.clock.now_ms());
    setup.place.tell_lineage(&ended)?;
    let mut keep = vec![published.folder.as_path()];
    keep.extend(earlier.as_ref().map(|generation| generation.folder.as_path()));
    setup.place.sweep(&keep);
    setup.store.sweep(&published.manifest, earlier.as_ref().map(|generation| &generation.manifest)).await;
    report.millis = timer.end();
    Ok(report)
}

/// Embeds what has no vector yet; gives the chunks that still have none, in order.
async fn embed_all(
    setup: &BuildSetup,
    layers: &Layers,
    cut: &Cut,
    report: &mut BuildReport,
    timer: &mut Timer<'_>,
) -> Result<Vec<String>, IndexError> {
    let (Some(model), Some(spec)) = (&setup.model, &setup.spec.embed) else { return Ok(Vec::new()) };
    let identity = model.identity();
    let mut wanted = Vec::new();
    let mut have = 0;
    for chunk in cut.searched(layers, setup)? {
        let text = chunk.searched_text();
        let key = vector_key(&identity, spec.dimensions, &text);
        match layers.vectors().contains(&key) {
            true => have += 1,
            false => wanted.push(Wanted { id: chunk.id, document: chunk.source.document, text, key }),
        }
    }
    let total = wanted.len();
    timer.begin(Stage::Embed, Some(total));
    let embedded = embed(&model.embedder, wanted, spec.dimensions, spec.batch, layers, &|done| {
        timer.progress(Stage::Embed, done, total);
    })
    .await
    .map_err(|failure| setup.failed_model(failure))?;
    layers.sync().map_err(|error| setup.failed_layer(error))?;
    report.embedded = embedded.count;
    report.embedded_documents = embedded.documents.len();
    report.embedding_tokens = embedded.tokens;
    let mut lacking: Vec<String> = embedded.failed.iter().map(|failure| failure.chunk.clone()).collect();
    lacking.sort_unstable();
    if let Some(failure) = embedded.failed.iter().find(|failure| !failure.is_unknown)
        && have == 0
        && lacking.len() == total
    {
        // Not one text has a vector: it is the model or the spec, and no reason to give up what answers now.
        return Err(IndexError::Model {
            name: setup.spec.name.clone(),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
            is_forbidden: false,
        });
    }
    report.failed.extend(embedded.failed.into_iter().map(|failure| Failed {
        stage: "embed".to_owned(),
        place: failure.chunk,
        message: failure.message,
        hint: failure.hint,
    }));
    Ok(lacking)
}

/// The manifest of what will be written.
fn describe(setup: &BuildSetup, cut: &Cut, report: &BuildReport, lacking: &[String]) -> Manifest {
    let recipe_digest = setup.recipe_digest();
    let kept = cut.contents(&recipe_digest);
    let contents = digest_of(std::iter::once(kept.as_str()).chain(lacking.iter().map(String::as_str)));
    let vectors = if setup.model.is_some() { cut.chunks() - lacking.len() } else { 0 };
    let model = setup.model.as_ref().map(|model| {
        let profile = model.embedder.profile();
        ModelRecord {
            connection: model.connection.clone(),
            model: model.model.clone(),
            digest: Some(model.identity()),
            dimensions: 0,
            metric: "cosine".to_owned(),
            quantization: setup.spec.embed.as_ref().map(|embed| embed.quantization).unwrap_or_default(),
            fusion_weight: profile.fusion_weight,
            languages: profile.languages,
        }
    });
    Manifest {
        format: FORMAT,
        name: setup.spec.name.clone(),
        digest: cut.digest(&recipe_digest),
        contents: contents.clone(),
        stored: digest_of([contents.as_str(), setup.build_id.as_str()].into_iter()),
        recipe: setup.spec.recipe(),
        recipe_digest,
        corpus_digest: cut.corpus_digest(),
        documents: cut.documents_with_chunks(),
        chunks: cut.chunks(),
        vectors,
        sources: cut.sources.clone(),
        model,
        engine: EngineRecord {
            kind: setup.store.kind().to_owned(),
            analysis: ANALYSIS_VERSION.to_owned(),
            place: setup.store.shown(),
        },
        languages: cut.languages(),
        built_ms: setup.clock.now_ms(),
        build: setup.build_id.clone(),
        probes: Vec::new(),
        cleaning: report.cleaning.clone(),
        quality: report.quality.clone(),
        failed: report.failed.clone(),
    }
}

/// Documents added, changed and removed.
fn compare(
    before: &[crate::manifest::DocumentRecord],
    now: &[crate::manifest::DocumentRecord],
) -> (usize, usize, usize) {
    let old: std::collections::HashMap<&str, &Option<String>> =
        before.iter().map(|document| (document.entry.name.as_str(), &document.chunks)).collect();
    let added = now.iter().filter(|document| !old.contains_key(document.entry.name.as_str())).count();
    let changed = now
        .iter()
        .filter(|document| {
            old.get(document.entry.name.as_str()).is_some_and(|chunks| **chunks != document.chunks)
        })
        .count();
    let names: std::collections::HashSet<&str> =
        now.iter().map(|document| document.entry.name.as_str()).collect();
    let removed = before.iter().filter(|document| !names.contains(document.entry.name.as_str())).count();
    (added, changed, removed)
}

/// Times of stages, and their events.
struct Timer<'e> {
    events: BuildReader<'e>,
    stages: Vec<(Stage, Instant)>,
}

impl<'e> Timer<'e> {
    fn new(events: BuildReader<'e>) -> Self {
        Self { events, stages: Vec::new() }
    }

    fn begin(&mut self, stage: Stage, total: Option<usize>) {
        self.stages.push((stage, Instant::now()));
        (self.events)(BuildEvent::Stage { stage, total });
    }

    fn progress(&self, stage: Stage, done: usize, total: usize) {
        if done == total || done.is_multiple_of(PROGRESS_STEP) {
            (self.events)(BuildEvent::Progress { stage, done, total });
        }
    }

    fn end(self) -> Vec<(Stage, u64)> {
        let ends = self.stages.iter().skip(1).map(|(_, begin)| *begin).chain([Instant::now()]);
        let millis = |from: Instant, to: Instant| u64::try_from((to - from).as_millis()).unwrap_or(u64::MAX);
        self.stages.iter().zip(ends).map(|((stage, begin), end)| (*stage, millis(*begin, end))).collect()
    }
}
