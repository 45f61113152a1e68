//! One generation in a folder: [`tantivy`] for keywords and chunks, Qdrant in this process for vectors.
//!
//! A [`Writer`] fills an empty folder, or starts from the files of an earlier generation and changes what differs.
//! After `finish` nothing in the folder changes: readers ([`Opened`]) of any number of processes share it.
//!
//! ```text
//! engine.json       written last: totals, settings, and the digest of every file
//! keywords/         one tantivy segment without deletions
//! documents.jsonl   what the chunks of a document share, for filters; headings.jsonl likewise
//! vectors/          a Qdrant shard
//! readers/          folders of open readers
//! ```

mod directory;
mod keywords;
mod manifest;
mod readers;
mod tables;
mod vectors;

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use flowbench_corpus::chunk::Chunk;

use self::keywords::{KeywordWriter, Keywords};
use self::manifest::{FILE, Manifest, READERS};
pub use self::vectors::GRAPH_FROM;
use self::vectors::{VectorWriter, Vectors};
pub(super) use self::vectors::{check_dimensions, is_zero};
use super::{Engine, EngineError, EngineWriter, Filter, Passage, Scored, VectorSettings, bm25};

/// Writes a generation into a folder. One that is dropped before `finish` leaves a folder that does not open.
pub struct Writer {
    /// Away while a blocking thread works with it, and gone after that thread failed.
    parts: Option<Parts>,
}

struct Parts {
    folder: PathBuf,
    keywords: KeywordWriter,
    settings: Option<VectorSettings>,
    vectors: Option<VectorWriter>,
}

impl Writer {
    /// Starts with nothing, in a folder that is empty or is not there. Blocks.
    pub fn create(folder: &Path, vectors: Option<VectorSettings>) -> Result<Self, EngineError> {
        std::fs::create_dir_all(folder).map_err(|error| file_error(folder, error))?;
        let writer = match &vectors {
            Some(settings) => Some(VectorWriter::create(folder, settings)?),
            None => None,
        };
        let parts = Parts {
            folder: folder.to_owned(),
            keywords: KeywordWriter::create(folder)?,
            settings: vectors,
            vectors: writer,
        };
        Ok(Self { parts: Some(parts) })
    }

    /// Starts with all that a finished generation holds; its folder stays as it is. Blocks.
    pub fn from_earlier(earlier: &Path, folder: &Path) -> Result<Self, EngineError> {
        let manifest = Manifest::open(earlier)?;
        for file in manifest::files_below(earlier)? {
            let name = file.strip_prefix(earlier).unwrap_or(&file);
            if name == Path::new(FILE) || name.starts_with(READERS) {
                continue;
            }
            let to = folder.join(name);
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(|error| file_error(parent, error))?;
            }
            // tantivy never changes a file of a segment; Qdrant changes what it has.
            let is_segment =
                name.starts_with(keywords::FOLDER) && name.extension().is_some_and(|ext| ext != "json");
            if is_segment && std::fs::hard_link(&file, &to).is_ok() {
                continue;
            }
            std::fs::copy(&file, &to).map_err(|error| file_error(&to, error))?;
        }
        let vectors = match &manifest.vectors {
            Some(settings) => Some(VectorWriter::from_earlier(folder, settings)?),
            None => None,
        };
        let parts = Parts {
            folder: folder.to_owned(),
            keywords: KeywordWriter::from_earlier(folder)?,
            settings: manifest.vectors,
            vectors,
        };
        Ok(Self { parts: Some(parts) })
    }

    async fn blocking(
        &mut self,
        work: impl FnOnce(&mut Parts) -> Result<(), EngineError> + Send + 'static,
    ) -> Result<(), EngineError> {
        let mut parts = self.parts.take().ok_or_else(broken)?;
        let (parts, result) = blocking(move || {
            let result = work(&mut parts);
            Ok((parts, result))
        })
        .await?;
        self.parts = Some(parts);
        result
    }
}

fn broken() -> EngineError {
    EngineError::Internal("the writer failed before".to_owned())
}

#[async_trait]
impl EngineWriter for Writer {
    async fn add(&mut self, passages: Vec<Passage>) -> Result<(), EngineError> {
        self.blocking(move |parts| parts.add(passages)).await
    }

    async fn remove_documents(&mut self, documents: &[String]) -> Result<(), EngineError> {
        let documents = documents.to_vec();
        self.blocking(move |parts| {
            let removed = parts.keywords.remove(&documents);
            match &mut parts.vectors {
                Some(vectors) => vectors.remove(&removed),
                None => Ok(()),
            }
        })
        .await
    }

    async fn finish(mut self: Box<Self>) -> Result<(), EngineError> {
        let parts = self.parts.take().ok_or_else(broken)?;
        blocking(move || parts.finish()).await
    }
}

impl Parts {
    fn add(&mut self, passages: Vec<Passage>) -> Result<(), EngineError> {
        // Everything is looked at before anything is written.
        let mut ids = Vec::with_capacity(passages.len());
        for passage in &passages {
            ids.push(bm25::checked_id(&passage.chunk.id)?);
            if let (Some(vector), false) = (&passage.vector, passage.chunk.is_parent) {
                let settings = self.settings.as_ref().ok_or(EngineError::NoVectors)?;
                check_dimensions(vector, settings.dimensions)?;
            }
        }
        let mut added = Vec::new();
        for (passage, id) in passages.into_iter().zip(ids) {
            self.keywords.add(&passage.chunk, id)?;
            if let Some(vector) = passage.vector.filter(|_| !passage.chunk.is_parent)
                && !is_zero(&vector)
            {
                added.push((id, vector));
            }
        }
        match &mut self.vectors {
            Some(vectors) if !added.is_empty() => vectors.add(added),
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<(), EngineError> {
        let totals = self.keywords.finish()?;
        let count = match self.vectors {
            Some(vectors) => vectors.finish()?,
            None => 0,
        };
        Manifest::write(&self.folder, totals.searched, totals.words, self.settings, count)
    }
}

/// A finished generation, open for reading.
pub struct Opened {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    manifest: Manifest,
    keywords: Keywords,
    vectors: Option<Vectors>,
}

impl Opened {
    /// Opens a generation. Fails if it is not finished, or a file is missing or has another size. Blocks.
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        let manifest = Manifest::open(folder)?;
        let keywords = Keywords::open(folder, &manifest)?;
        let vectors = match &manifest.vectors {
            Some(settings) => Some(Vectors::open(folder, settings.clone(), manifest.vector_count)?),
            None => None,
        };
        Ok(Self { inner: Arc::new(Inner { folder: folder.to_owned(), manifest, keywords, vectors }) })
    }

    /// Settings of its vectors, if it has any.
    pub fn vector_settings(&self) -> Option<&VectorSettings> {
        self.inner.manifest.vectors.as_ref()
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner)).await
    }
}

#[async_trait]
impl Engine for Opened {
    async fn keyword(
        &self,
        terms: &[(String, f32)],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Scored>, EngineError> {
        let (terms, filter) = (terms.to_vec(), filter.clone());
        self.with(move |inner| inner.keywords.search(&terms, &filter, limit)).await
    }

    async fn vector(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
        is_exact: bool,
    ) -> Result<Vec<Scored>, EngineError> {
        let (vector, filter) = (vector.to_vec(), filter.clone());
        self.with(move |inner| {
            let vectors = inner.vectors.as_ref().ok_or(EngineError::NoVectors)?;
            let chosen = || {
                let chosen = inner.keywords.chosen(&filter)?;
                Ok(chosen.map(|chosen| inner.keywords.ids_of(&chosen)).unwrap_or_default())
            };
            vectors.search(&vector, &filter, chosen, limit, is_exact)
        })
        .await
    }

    async fn keyword_parts(
        &self,
        terms: &[(String, f32)],
        ids: &[String],
    ) -> Result<Vec<Vec<(String, f32)>>, EngineError> {
        let (terms, ids) = (terms.to_vec(), ids.to_vec());
        self.with(move |inner| inner.keywords.parts_of(&terms, &ids)).await
    }

    async fn chunks(&self, ids: &[String]) -> Result<Vec<Option<Chunk>>, EngineError> {
        let ids = ids.to_vec();
        self.with(move |inner| inner.keywords.chunks(&ids)).await
    }

    async fn neighbours(
        &self,
        document: &str,
        ordinals: RangeInclusive<u32>,
    ) -> Result<Vec<Chunk>, EngineError> {
        let document = document.to_owned();
        self.with(move |inner| inner.keywords.neighbours(&document, &ordinals)).await
    }

    async fn vectors_of(&self, ids: &[String]) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
        let ids = ids.to_vec();
        self.with(move |inner| inner.vectors.as_ref().ok_or(EngineError::NoVectors)?.of(&ids)).await
    }

    fn len(&self) -> usize {
        usize::try_from(self.inner.manifest.searched).unwrap_or(usize::MAX)
    }

    async fn verify(&self) -> Result<(), EngineError> {
        self.with(|inner| inner.manifest.verify(&inner.folder)).await
    }
}

/// Runs work that blocks; a panic of an engine is an error here.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EngineError::Internal(error.to_string())),
    }
}

fn file_error(path: &Path, source: std::io::Error) -> EngineError {
    EngineError::File { path: path.to_owned(), source }
}

/// Writes a file under another name first: it is there as a whole or not at all.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let aside = path.with_extension("new");
    let failed = |error| file_error(path, error);
    let mut file = std::fs::File::create(&aside).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&aside, path).map_err(failed)
}
