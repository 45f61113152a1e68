//! The indexes of one workspace: built when first asked or when told to, opened once, shared by all who ask.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use flowbench_core::connection::Secret;
use flowbench_core::ports::{
    Clock, Embedder, Hit, IdSource, ModelError, ModelErrorKind, ModelSource, Reranker, RetrievalQuery,
    Retriever,
};
use flowbench_corpus::chunk::{Chunk, Chunked};
use flowbench_corpus::clean::{ProjectKey, Treatment};
use flowbench_corpus::layers::{Digest, Layers};
use flowbench_corpus::source::{Earlier, Source, SourceContext, SourceSpec};
use flowbench_extract::Extractor;
use flowbench_net::Outbound;

use crate::build::probe::{self, ProbeResult};
use crate::build::{
    BuildEvent, BuildModel, BuildOptions, BuildReader, BuildReport, BuildSetup, Preview, build, preview,
    source_place,
};
use crate::engine::server::QdrantPlace;
use crate::engine::{Engine, EngineError, Filter};
use crate::error::IndexError;
use crate::manifest::DocumentRecord;
use crate::place::{IndexPlace, StoredGeneration};
use crate::retrieve::{
    Answer, RetrieveError, Rewriter, SearchRequest, Settings, Surroundings, WhyNot, explain, retrieve,
};
use crate::rewrite::ChatRewriter;
use crate::spec::{IndexSpec, StoreSpec};
use crate::store::Store;

/// Gives the value of an environment variable.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;
/// Gives the key of the project's pseudonyms, or says why there is none.
pub type ProjectKeySource = Arc<dyn Fn() -> Result<ProjectKey, String> + Send + Sync>;
/// Takes events of builds that a question started: index name and event.
pub type BuildListener = Arc<dyn Fn(&str, BuildEvent) + Send + Sync>;

/// The outside of a workspace's indexes.
#[derive(Clone)]
pub struct Outside {
    /// The workspace's folder; `indexes/` is in it.
    pub root: PathBuf,
    /// The workspace's state folder.
    pub state: PathBuf,
    /// Embedding models and rerankers.
    pub models: Arc<dyn ModelSource>,
    /// True for names of connections.
    pub is_connection: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Turns bytes into text.
    pub extractor: Arc<dyn Extractor>,
    /// The way out, for web sources.
    pub outbound: Outbound,
    /// Environment variables, in which passwords and keys are.
    pub variables: Variables,
    /// Key of the project's pseudonyms; asked for, and made, only where personal data is masked.
    pub project_key: ProjectKeySource,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Ids of builds.
    pub ids: Arc<dyn IdSource>,
}

/// The indexes of one workspace.
#[derive(Clone)]
pub struct Indexes {
    inner: Arc<Inner>,
}

struct Inner {
    around: Outside,
    may_leave: AtomicBool,
    may_build: AtomicBool,
    listener: Mutex<Option<BuildListener>>,
    /// A lock for each name, so that building one index does not hold up another.
    slots: Mutex<HashMap<String, Slot>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Arc<OpenIndex>>>>;

/// An index that answers: one generation, open for reading.
pub struct OpenIndex {
    /// What the file says now.
    pub spec: IndexSpec,
    /// The generation.
    pub generation: StoredGeneration,
    /// Its engine.
    pub engine: Arc<dyn Engine>,
    /// The model that its vectors came from; absent for keywords alone.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The reranker of the spec.
    pub reranker: Option<Arc<dyn Reranker>>,
    /// Writes questions in other words, where the spec asks for it.
    pub rewriter: Option<Arc<dyn Rewriter>>,
    /// The first source outside the workspace, if any.
    outside: Option<PathBuf>,
    /// The spec's bytes, to see that it changed.
    spec_bytes: Vec<u8>,
}

impl Indexes {
    /// The indexes of a workspace. Reads nothing yet.
    pub fn new(around: Outside) -> Self {
        let inner = Inner {
            around,
            may_leave: AtomicBool::new(false),
            may_build: AtomicBool::new(true),
            listener: Mutex::default(),
            slots: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Says whether indexes may read documents outside the workspace and ask hosts that only it names. Not until somebody
    /// approved it.
    pub fn allow_outside(&self, is_allowed: bool) {
        self.inner.may_leave.store(is_allowed, Ordering::Relaxed);
    }

    /// Says whether an index that was never built is built when it is asked.
    pub fn allow_builds(&self, is_allowed: bool) {
        self.inner.may_build.store(is_allowed, Ordering::Relaxed);
    }

    /// Tells this listener of builds that questions start.
    pub fn listen(&self, listener: BuildListener) {
        *self.inner.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Where an index lies.
    pub fn place(&self, name: &str) -> IndexPlace {
        IndexPlace::new(&self.inner.around.state, name)
    }

    /// What the file of an index says.
    pub fn spec(&self, name: &str) -> Result<IndexSpec, IndexError> {
        IndexSpec::load(&self.inner.around.root, name)
    }

    /// Builds a new generation.
    pub async fn build(
        &self,
        name: &str,
        options: BuildOptions,
        events: BuildReader<'_>,
    ) -> Result<BuildReport, IndexError> {
        let spec = self.spec(name)?;
        self.inner.build(spec, options, events).await
    }

    /// Everything that a build of this index needs, checked and approved.
    pub fn setup(&self, name: &str) -> Result<BuildSetup, IndexError> {
        self.inner.setup(self.spec(name)?)
    }

    /// Builds an index that was never built, or by another recipe, as asking it would; the events go here.
    pub async fn build_where_needed(&self, name: &str, events: BuildReader<'_>) -> Result<(), IndexError> {
        let spec = self.spec(name)?;
        match self.inner.lack(&spec)? {
            Some(why) => self.inner.build_or_serve(&spec, why, events).await,
            None => Ok(()),
        }
    }

    /// Reads, cleans and cuts the documents, and tells what a build would make of them.
    pub async fn preview(&self, name: &str, events: BuildReader<'_>) -> Result<Preview, IndexError> {
        preview(&self.setup(name)?, events).await
    }

    /// The chunks of a document of the generation that answers, from layer three.
    pub fn chunks_of(&self, name: &str, record: &DocumentRecord) -> Result<Vec<Chunk>, IndexError> {
        let damaged = |reason: String| IndexError::Damaged { name: name.to_owned(), reason };
        let Some(key) = &record.chunks else { return Ok(Vec::new()) };
        let layers =
            Layers::open_to_read(&self.place(name).layers()).map_err(|error| damaged(error.to_string()))?;
        let key = Digest::from_str(key).map_err(|error| damaged(error.to_string()))?;
        let bytes = layers.chunks().get(&key).map_err(|error| damaged(error.to_string()))?;
        let bytes =
            bytes.ok_or_else(|| damaged(format!("the chunks of `{}` are gone", record.entry.name)))?;
        let chunked: Chunked = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        Ok(chunked.chunks)
    }

    /// An index that answers. One that was never built, or was built by another recipe, is built first where its sources
    /// are local.
    pub async fn open(&self, name: &str) -> Result<Arc<OpenIndex>, IndexError> {
        let slot = {
            let mut slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(name.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(open) = slot.as_ref()
            && self.inner.is_current(open)
        {
            self.inner.check_place(name, open.outside.as_deref())?;
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(self.inner.open(name).await?);
        *slot = Some(Arc::clone(&open));
        Ok(open)
    }
}

impl Inner {
    fn spec_path(&self, name: &str) -> PathBuf {
        self.around.root.join("indexes").join(format!("{name}.yaml"))
    }

    /// True if neither the file nor the generation changed since.
    fn is_current(&self, open: &OpenIndex) -> bool {
        let name = &open.spec.name;
        let place = IndexPlace::new(&self.around.state, name);
        std::fs::read(self.spec_path(name)).is_ok_and(|bytes| bytes == open.spec_bytes)
            && place.current_folder().is_some_and(|folder| folder == open.generation.folder)
    }

    async fn open(&self, name: &str) -> Result<OpenIndex, IndexError> {
        let spec = IndexSpec::load(&self.around.root, name)?;
        let spec_bytes = std::fs::read(self.spec_path(name)).unwrap_or_default();
        let sources = self.sources(&spec)?;
        let outside = sources.iter().find_map(|source| source.outside(&self.around.root));
        self.check_place(name, outside.as_deref())?;
        let place = IndexPlace::new(&self.around.state, name);
        if let Some(why) = self.lack(&spec)? {
            let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let events = |event: BuildEvent| {
                if let Some(listener) = &listener {
                    listener(name, event);
                }
            };
            self.build_or_serve(&spec, why, &events).await?;
        }
        let generation = place.current()?.ok_or_else(|| IndexError::NotBuilt {
            name: name.to_owned(),
            reason: "its build left nothing".to_owned(),
        })?;
        // The earlier generation may answer in place of one that an edited spec would keep elsewhere.
        let store = match generation.manifest.engine.kind == Store::Embedded.kind() {
            true => Store::Embedded,
            false => self.store(&spec)?,
        };
        let engine = store
            .open(&generation.engine(), &generation.manifest.stored)
            .await
            .map_err(|source| IndexError::Engine { name: name.to_owned(), source })?;
        let embedder = self.model(&spec)?.map(|model| model.embedder);
        let reranker = match &spec.retrieve.rerank {
            Some(rerank) => {
                let (connection, model) = self.reference(&rerank.model);
                let found = self.around.models.reranker(&connection, &model);
                Some(found.map_err(|error| IndexError::model(name, error))?)
            }
            None => None,
        };
        let rewriter = match &spec.retrieve.rewrite {
            Some(reference) => {
                let (connection, model) = self.reference(reference);
                let found = self.around.models.chat_model(&connection, &model);
                let model = found.map_err(|error| IndexError::model(name, error))?;
                Some(Arc::new(ChatRewriter::new(model)) as Arc<dyn Rewriter>)
            }
            None => None,
        };
        let open = OpenIndex { spec, generation, engine, embedder, reranker, rewriter, outside, spec_bytes };
        open.check_model()?;
        Ok(open)
    }

    /// Why an index must be built before it answers; absent where it need not.
    fn lack(&self, spec: &IndexSpec) -> Result<Option<&'static str>, IndexError> {
        let place = IndexPlace::new(&self.around.state, &spec.name);
        Ok(match place.current()? {
            None => Some("was never built"),
            Some(generation) if generation.manifest.recipe != spec.recipe() => {
                Some("was built by another recipe")
            }
            Some(_) => None,
        })
    }

    /// Builds an index because it is asked. Where that fails, the generation that there is answers: a spec that was edited
    /// does not take a good index away.
    async fn build_or_serve(
        &self,
        spec: &IndexSpec,
        why: &str,
        events: BuildReader<'_>,
    ) -> Result<(), IndexError> {
        let place = IndexPlace::new(&self.around.state, &spec.name);
        match Box::pin(self.build_first(spec, why, events)).await {
            Err(error) if place.current()?.is_some() => {
                events(BuildEvent::Note { message: format!("{error}; the earlier generation answers") });
                Ok(())
            }
            other => other,
        }
    }

    /// Builds an index because it is asked; refuses where that is not wanted or would leave this machine.
    async fn build_first(
        &self,
        spec: &IndexSpec,
        why: &str,
        events: BuildReader<'_>,
    ) -> Result<(), IndexError> {
        let name = &spec.name;
        let refused = |reason: &str| IndexError::NotBuilt {
            name: name.clone(),
            reason: format!("it {why}, and {reason}"),
        };
        if !self.may_build.load(Ordering::Relaxed) {
            return Err(refused("building is not wanted here"));
        }
        if !self.sources(spec)?.iter().all(Source::is_local) {
            return Err(refused("its sources are not all on this machine"));
        }
        events(BuildEvent::Note { message: format!("index `{name}` {why}; building it now") });
        self.build(spec.clone(), BuildOptions::default(), events).await?;
        Ok(())
    }

    async fn build(
        &self,
        spec: IndexSpec,
        options: BuildOptions,
        events: BuildReader<'_>,
    ) -> Result<BuildReport, IndexError> {
        let setup = self.setup(spec)?;
        build(&setup, options, events).await
    }

    fn setup(&self, spec: IndexSpec) -> Result<BuildSetup, IndexError> {
        let sources = self.sources(&spec)?;
        if let Some(path) = sources.iter().find_map(|source| source.outside(&self.around.root)) {
            self.check_place(&spec.name, Some(&path))?;
        }
        Ok(BuildSetup {
            place: IndexPlace::new(&self.around.state, &spec.name),
            store: self.store(&spec)?,
            model: self.model(&spec)?,
            sources,
            extractor: Arc::clone(&self.around.extractor),
            project_key: self.project_key(&spec)?,
            clock: Arc::clone(&self.around.clock),
            build_id: self.around.ids.new_id(),
            spec,
        })
    }

    fn project_key(&self, spec: &IndexSpec) -> Result<ProjectKey, IndexError> {
        if spec.clean.personal_data != Treatment::Mask {
            return Ok(ProjectKey::new([0; 32]));
        }
        (self.around.project_key)().map_err(|message| IndexError::Spec {
            name: spec.name.clone(),
            message: format!("`clean.personal_data` needs a key: {message}"),
        })
    }

    fn sources(&self, spec: &IndexSpec) -> Result<Vec<Source>, IndexError> {
        let may_leave = self.may_leave.load(Ordering::Relaxed);
        // Only the web asks what was there before, and a search should not read what builds keep.
        let is_web = |source: &SourceSpec| source.sitemap.is_some() || !source.site.is_empty();
        let place = IndexPlace::new(&self.around.state, &spec.name);
        let context = SourceContext {
            base: spec.folder.clone(),
            web: Some(self.around.outbound.clone()),
            is_web_approved: may_leave,
            variable: Arc::clone(&self.around.variables),
            scratch: Some(self.around.state.join("tmp")),
            earlier: spec.sources.iter().any(is_web).then(|| EarlierDocuments::open(&place)).flatten(),
        };
        let open = |source: &SourceSpec| {
            if let Some(host) = source.sitemap.as_ref().or(source.site.first()).filter(|_| !may_leave) {
                return Err(IndexError::Host { name: spec.name.clone(), host: host.clone() });
            }
            Source::open(source, &context).map_err(|error| IndexError::Source {
                name: spec.name.clone(),
                source_name: source.name.clone().unwrap_or_else(|| source_place(source)),
                hint: error.hint(),
                message: error.to_string(),
            })
        };
        spec.sources.iter().map(open).collect()
    }

    fn store(&self, spec: &IndexSpec) -> Result<Store, IndexError> {
        let StoreSpec::Qdrant { url, collection, api_key } = &spec.store else { return Ok(Store::Embedded) };
        if !self.may_leave.load(Ordering::Relaxed) {
            return Err(IndexError::Host { name: spec.name.clone(), host: url.clone() });
        }
        let api_key = match api_key {
            None => None,
            Some(reference) => Some(self.variable(reference).map_err(|message| IndexError::Spec {
                name: spec.name.clone(),
                message: format!("`store.api_key`: {message}"),
            })?),
        };
        let collection = collection.clone().unwrap_or_else(|| spec.name.clone());
        Ok(Store::Server(QdrantPlace { url: url.clone(), api_key: api_key.map(Secret::new), collection }))
    }

    /// The value of `${env:NAME}`.
    fn variable(&self, reference: &str) -> Result<String, String> {
        let name = reference.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}'));
        let name = name.ok_or("write it as `${env:NAME}`; keys do not belong into files")?;
        (self.around.variables)(name).ok_or_else(|| format!("the variable `{name}` is not set"))
    }

    fn reference(&self, model: &str) -> (String, String) {
        let spec = crate::spec::EmbedSpec { model: model.to_owned(), ..crate::spec::EmbedSpec::default() };
        spec.reference(self.around.is_connection.as_ref())
    }

    fn model(&self, spec: &IndexSpec) -> Result<Option<BuildModel>, IndexError> {
        let Some(embed) = &spec.embed else { return Ok(None) };
        let (connection, model) = embed.reference(self.around.is_connection.as_ref());
        let embedder = self
            .around
            .models
            .embedder(&connection, &model)
            .map_err(|error| IndexError::model(&spec.name, error))?;
        Ok(Some(BuildModel { connection, model, embedder }))
    }

    fn check_place(&self, name: &str, outside: Option<&Path>) -> Result<(), IndexError> {
        match outside {
            Some(path) if !self.may_leave.load(Ordering::Relaxed) => {
                Err(IndexError::Outside { name: name.to_owned(), path: path.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

impl OpenIndex {
    /// How this index answers where a question does not say.
    pub fn settings(&self) -> Result<Settings, RetrieveError> {
        Settings::of(&self.spec.retrieve, self.embedder.as_deref())
    }

    /// Languages of its chunks with their shares.
    pub fn languages(&self) -> Vec<(String, f64)> {
        let shares = self.generation.manifest.languages.iter();
        shares.map(|share| (share.language.clone(), share.share)).collect()
    }

    /// What surrounds a question to this index.
    pub fn around<'i>(&'i self, languages: &'i [(String, f64)]) -> Surroundings<'i> {
        Surroundings {
            engine: self.engine.as_ref(),
            embedder: self.embedder.as_deref(),
            dimensions: self.spec.embed.as_ref().and_then(|embed| embed.dimensions),
            reranker: self.reranker.as_deref(),
            rewriter: self.rewriter.as_deref(),
            languages,
        }
    }

    /// Answers a question.
    pub async fn answer(&self, request: &SearchRequest, settings: &Settings) -> Result<Answer, IndexError> {
        let languages = self.languages();
        let answer = retrieve(self.around(&languages), request, settings).await;
        answer.map_err(|error| IndexError::question(&self.spec.name, error))
    }

    /// Why a chunk is not among the hits, and which setting would bring it in.
    pub async fn why(
        &self,
        request: &SearchRequest,
        settings: &Settings,
        chunk: &str,
    ) -> Result<WhyNot, IndexError> {
        let languages = self.languages();
        let why = explain(self.around(&languages), request, settings, chunk).await;
        why.map_err(|error| IndexError::question(&self.spec.name, error))
    }

    /// Asks the probes of the generation.
    pub async fn ask_probes(&self) -> Result<Vec<ProbeResult>, IndexError> {
        let manifest = &self.generation.manifest;
        let results = probe::ask(self.engine.as_ref(), manifest, &manifest.probes).await;
        results.map_err(|source| IndexError::Engine { name: self.spec.name.clone(), source })
    }

    /// Refuses a generation whose vectors came from another model: their numbers mean something else.
    fn check_model(&self) -> Result<(), IndexError> {
        let (Some(built), Some(embedder)) = (&self.generation.manifest.model, &self.embedder) else {
            return Ok(());
        };
        let now = BuildModel {
            connection: built.connection.clone(),
            model: built.model.clone(),
            embedder: Arc::clone(embedder),
        };
        match built.digest.as_deref() {
            Some(digest) if digest != now.identity() => Err(IndexError::OtherModel {
                name: self.spec.name.clone(),
                built: format!("{}/{} ({})", built.connection, built.model, short(digest)),
                asked: format!("{} ({})", embedder.identity(), short(&now.identity())),
            }),
            _ => Ok(()),
        }
    }
}

/// What the last build kept of documents, for sources that ask whether something changed.
struct EarlierDocuments {
    records: HashMap<(String, String), (String, String)>,
    layers: Layers,
}

impl EarlierDocuments {
    /// Absent before the first build.
    fn open(place: &IndexPlace) -> Option<Arc<dyn Earlier>> {
        let generation = place.current().ok().flatten()?;
        let records = place.documents(&generation).ok()?;
        let layers = Layers::open_to_read(&place.layers()).ok()?;
        let records = records
            .into_iter()
            .map(|record| ((record.entry.source, record.entry.name), (record.entry.stamp, record.bytes)))
            .collect();
        Some(Arc::new(Self { records, layers }))
    }
}

impl Earlier for EarlierDocuments {
    fn stamp(&self, source: &str, name: &str) -> Option<String> {
        self.records.get(&(source.to_owned(), name.to_owned())).map(|(stamp, _)| stamp.clone())
    }

    fn bytes(&self, source: &str, name: &str) -> Option<Vec<u8>> {
        let (_, digest) = self.records.get(&(source.to_owned(), name.to_owned()))?;
        self.layers.fetched().get_or_absent(&Digest::from_str(digest).ok()?).ok().flatten()
    }
}

fn refused(error: &IndexError) -> ModelError {
    let kind = match error {
        IndexError::Missing { .. } | IndexError::Spec { .. } | IndexError::NotBuilt { .. } => {
            ModelErrorKind::NotFound
        }
        IndexError::Outside { .. }
        | IndexError::Host { .. }
        | IndexError::Model { is_forbidden: true, .. } => ModelErrorKind::Forbidden,
        IndexError::Question { .. } => ModelErrorKind::InvalidRequest,
        IndexError::Engine { source: EngineError::Unreachable { .. }, .. } | IndexError::Busy { .. } => {
            ModelErrorKind::Unavailable
        }
        _ => ModelErrorKind::Internal,
    };
    let told = ModelError::new(kind, error.to_string());
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

#[async_trait]
impl Retriever for Indexes {
    async fn search(&self, query: RetrievalQuery) -> Result<Vec<Hit>, ModelError> {
        let open = Box::pin(self.open(&query.index)).await.map_err(|error| refused(&error))?;
        let question = |error: RetrieveError| refused(&IndexError::question(&query.index, error));
        let request = SearchRequest {
            query: query.query.clone(),
            mode: query.mode.as_deref().map(str::parse).transpose().map_err(question)?,
            top_k: query.top_k,
            filter: Filter::parse(&query.filters)
                .map_err(|error| refused(&IndexError::filter(&query.index, &error)))?,
        };
        let settings = open.settings().map_err(question)?;
        let answer = open.answer(&request, &settings).await.map_err(|error| refused(&error))?;
        Ok(answer.hits)
    }
}

/// The beginning of a digest, enough to tell two apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
