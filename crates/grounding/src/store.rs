//! Which engine takes an index.

use std::path::Path;
use std::sync::Arc;

use crate::engine::{Engine, EngineError, EngineWriter, VectorSettings, embedded, server};
use crate::manifest::Manifest;

/// Where an index is kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process, in the generation's folder.
    Embedded,
    /// On a Qdrant server.
    Server(server::QdrantPlace),
}

impl Store {
    /// `embedded` or `qdrant`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Server(_) => "qdrant",
        }
    }

    /// The server's address without key.
    pub fn shown(&self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::Server(place) => Some(format!("{} {}", place.url, place.collection)),
        }
    }

    /// Starts a generation; with `earlier` it starts from that generation's files.
    pub async fn write(
        &self,
        folder: &Path,
        earlier: Option<&Path>,
        generation: &str,
        vectors: Option<VectorSettings>,
    ) -> Result<Box<dyn EngineWriter>, EngineError> {
        Ok(match self {
            Self::Embedded => Box::new(match earlier {
                Some(earlier) => embedded::Writer::from_earlier(earlier, folder)?,
                None => embedded::Writer::create(folder, vectors)?,
            }),
            Self::Server(place) => Box::new(server::Writer::create(place, generation, vectors).await?),
        })
    }

    /// Opens a generation for reading.
    pub async fn open(&self, folder: &Path, generation: &str) -> Result<Arc<dyn Engine>, EngineError> {
        Ok(match self {
            Self::Embedded => Arc::new(embedded::Opened::open(folder)?),
            Self::Server(place) => Arc::new(server::Opened::open(place, generation).await?),
        })
    }

    /// Lets the server's alias name this generation.
    pub async fn publish(&self, generation: &str) -> Result<(), EngineError> {
        match self {
            Self::Embedded => Ok(()),
            Self::Server(place) => place.publish(generation).await,
        }
    }

    /// Removes generations of the server that nobody reads any more. What fails is tried again after the next build.
    pub async fn sweep(&self, current: &Manifest, earlier: Option<&Manifest>) {
        if let Self::Server(place) = self {
            let mut keep = vec![current.stored.clone()];
            keep.extend(earlier.map(|manifest| manifest.stored.clone()));
            let _ = place.sweep(&keep).await;
        }
    }
}
