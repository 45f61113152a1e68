//! A static model behind the engine's [`Embedder`] port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use flowbench_core::chat::ModelIdentity;
use flowbench_core::ports::{Embedder, EmbedderProfile, EmbeddingPurpose, Embeddings, ModelError, Tokens};

use super::{StaticModel, StaticModelError};

/// Bytes of text that are embedded at once on the caller's own thread: some hundred microseconds.
const BYTES_INLINE: usize = 16 << 10;

/// A static model as an embedder. Cheap to clone.
#[derive(Clone)]
pub struct StaticEmbedder {
    model: Arc<StaticModel>,
    name: String,
    profile: EmbedderProfile,
    prefixes: (String, String),
}

impl StaticEmbedder {
    /// A model under the name that the user gave it.
    pub fn new(model: Arc<StaticModel>, name: impl Into<String>) -> Self {
        let profile = EmbedderProfile {
            dimensions: Some(model.dimensions()),
            max_tokens: model.max_tokens(),
            languages: model.languages().to_vec(),
            fusion_weight: None,
            digest: Some(model.digest().to_owned()),
        };
        Self { model, name: name.into(), profile, prefixes: Default::default() }
    }

    /// Adds what the catalog knows and the files do not say.
    #[must_use]
    pub fn with_facts(mut self, languages: &[String], fusion_weight: Option<f64>) -> Self {
        if !languages.is_empty() {
            self.profile.languages = languages.to_vec();
        }
        self.profile.fusion_weight = fusion_weight.or(self.profile.fusion_weight);
        self
    }

    /// Puts these before every query and every document.
    #[must_use]
    pub fn with_prefixes(mut self, query: impl Into<String>, document: impl Into<String>) -> Self {
        let (query, document) = (query.into(), document.into());
        if !(query.is_empty() && document.is_empty()) {
            // Other prefixes make other vectors.
            let with = |digest: String| blake3::hash(format!("{digest}\0{query}\0{document}").as_bytes());
            self.profile.digest = self.profile.digest.take().map(|digest| with(digest).to_hex().to_string());
        }
        self.prefixes = (query, document);
        self
    }

    /// The model itself.
    pub fn model(&self) -> &Arc<StaticModel> {
        &self.model
    }
}

/// Ends work whose result nobody waits for any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Embedder for StaticEmbedder {
    fn identity(&self) -> ModelIdentity {
        ModelIdentity {
            provider: "static".to_owned(),
            connection: "local".to_owned(),
            model: self.name.clone(),
            version: self.profile.digest.clone(),
            endpoint: "local".to_owned(),
        }
    }

    fn profile(&self) -> EmbedderProfile {
        self.profile.clone()
    }

    fn tokens(&self) -> Option<Arc<dyn Tokens>> {
        Some(Arc::clone(self.model.cutter()) as _)
    }

    async fn embed(
        &self,
        texts: &[String],
        purpose: EmbeddingPurpose,
        dimensions: Option<u32>,
    ) -> Result<Embeddings, ModelError> {
        let dimensions = dimensions.map(|dimensions| dimensions as usize);
        let prefix = match purpose {
            EmbeddingPurpose::Query => &self.prefixes.0,
            EmbeddingPurpose::Document => &self.prefixes.1,
        };
        let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let bytes: usize = texts.iter().map(String::len).sum();
        let vectors = if bytes <= BYTES_INLINE {
            self.model.embed_all(&texts, dimensions)?
        } else {
            let is_cancelled = Arc::new(AtomicBool::new(false));
            let _cancel = CancelOnDrop(Arc::clone(&is_cancelled));
            let model = Arc::clone(&self.model);
            let work = move || model.embed_until(&texts, dimensions, &is_cancelled);
            tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| StaticModelError::Internal { problem: error.to_string() })??
        };
        Ok(Embeddings { vectors, usage: None, limits: Default::default() })
    }
}
