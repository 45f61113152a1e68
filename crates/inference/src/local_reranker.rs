//! A cross-encoder behind the engine's [`Reranker`] port: one thread owns the model, callers wait for it.

use std::path::Path;

use async_trait::async_trait;
use flowbench_core::chat::ModelIdentity;
use flowbench_core::ports::{ModelError, Reranker};

use crate::InferenceError;
use crate::owner::Owner;
use crate::rerank::{CrossEncoder, RerankerOptions};

/// A local reranker that answers the engine's requests. Dropping a request's future ends its work.
#[derive(Clone)]
pub struct LocalReranker {
    encoder: CrossEncoder,
    identity: ModelIdentity,
    owner: Owner<(String, Vec<String>), Vec<f32>>,
}

impl LocalReranker {
    /// Loads a model's folder under the name that the user knows. Blocks until it is ready.
    pub fn load(
        folder: &Path,
        name: impl Into<String>,
        options: RerankerOptions,
    ) -> Result<Self, InferenceError> {
        Self::new(CrossEncoder::load(folder, options)?, name)
    }

    /// A loaded reranker under a name. Fails if the system gives no thread.
    pub fn new(encoder: CrossEncoder, name: impl Into<String>) -> Result<Self, InferenceError> {
        let name = name.into();
        let served = encoder.clone();
        let owner = Owner::start(&name, move |(query, passages): (String, Vec<String>), is_unwanted| {
            served.score_while_wanted(&query, &passages, is_unwanted)
        })?;
        let identity = ModelIdentity {
            provider: "candle".to_owned(),
            connection: "local".to_owned(),
            model: name,
            version: Some(encoder.digest().to_owned()),
            endpoint: "local".to_owned(),
        };
        Ok(Self { encoder, identity, owner })
    }

    /// The model itself.
    pub fn encoder(&self) -> &CrossEncoder {
        &self.encoder
    }
}

#[async_trait]
impl Reranker for LocalReranker {
    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    async fn rerank(&self, query: &str, passages: &[String]) -> Result<Vec<f32>, ModelError> {
        Ok(self.owner.ask((query.to_owned(), passages.to_vec())).await?)
    }
}
