//! An encoder behind the engine's [`Embedder`] port: one thread owns the model, callers wait for it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use flowbench_core::chat::{ModelIdentity, RateLimits};
use flowbench_core::ports::{Embedder, EmbedderProfile, EmbeddingPurpose, Embeddings, ModelError, Tokens};

use crate::InferenceError;
use crate::encoder::{EncoderOptions, LocalEncoder, shorten};
use crate::owner::Owner;

/// A local encoder that answers the engine's requests. Dropping a request's future ends its work.
#[derive(Clone)]
pub struct LocalEmbedder {
    encoder: LocalEncoder,
    identity: ModelIdentity,
    owner: Owner<(Vec<String>, EmbeddingPurpose), Vec<Vec<f32>>>,
}

impl LocalEmbedder {
    /// Loads a model's folder under the name that the user knows. Blocks until it is ready.
    pub fn load(
        folder: &Path,
        name: impl Into<String>,
        options: EncoderOptions,
    ) -> Result<Self, InferenceError> {
        Self::new(LocalEncoder::load(folder, options)?, name)
    }

    /// A loaded encoder under a name. Fails if the system gives no thread.
    pub fn new(encoder: LocalEncoder, name: impl Into<String>) -> Result<Self, InferenceError> {
        let name = name.into();
        let served = encoder.clone();
        let owner = Owner::start(&name, move |(texts, purpose): (Vec<String>, _), is_unwanted| {
            served.embed_while_wanted(&texts, purpose, is_unwanted)
        })?;
        let identity = ModelIdentity {
            provider: "candle".to_owned(),
            connection: "local".to_owned(),
            model: name,
            version: encoder.profile().digest,
            endpoint: "local".to_owned(),
        };
        Ok(Self { encoder, identity, owner })
    }

    /// The encoder itself.
    pub fn encoder(&self) -> &LocalEncoder {
        &self.encoder
    }
}

#[async_trait]
impl Embedder for LocalEmbedder {
    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    fn profile(&self) -> EmbedderProfile {
        self.encoder.profile()
    }

    fn tokens(&self) -> Option<Arc<dyn Tokens>> {
        Some(self.encoder.tokens())
    }

    async fn embed(
        &self,
        texts: &[String],
        purpose: EmbeddingPurpose,
        dimensions: Option<u32>,
    ) -> Result<Embeddings, ModelError> {
        let available = self.encoder.profile().dimensions.unwrap_or(0);
        let asked = dimensions.map_or(available, |asked| asked as usize);
        if asked == 0 || asked > available {
            let model = self.identity.model.clone();
            return Err(InferenceError::Dimensions { model, available, asked }.into());
        }
        let mut vectors = self.owner.ask((texts.to_vec(), purpose)).await?;
        vectors.iter_mut().for_each(|vector| shorten(vector, asked));
        Ok(Embeddings { vectors, usage: None, limits: RateLimits::default() })
    }
}
