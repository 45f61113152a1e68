//! Indexes of documents and retrieval with reasons. Knows no flows.
//!
//! One index passes through it as [`spec::IndexSpec`] (what `indexes/NAME.yaml` says) → [`chunk::Chunk`]s of its
//! documents → [`keyword::KeywordIndex`], which answers with scores and the words that made them. For now an index is
//! built in memory when it is first asked, from Markdown and text files, and answers in keyword mode only; the other
//! modes are refused with their names.

pub mod chunk;
pub mod engine;
pub mod keyword;
pub mod spec;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use flowbench_core::ports::{Hit, ModelError, ModelErrorKind, RetrievalQuery, Retriever};
use serde_json::json;

use crate::keyword::KeywordIndex;
use crate::spec::{IndexError, IndexSpec};

/// An index that answers: what its spec says, and its words.
pub type OpenIndex = Arc<(IndexSpec, KeywordIndex)>;

/// The indexes of one workspace, each built when first asked.
pub struct Indexes {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    may_leave: AtomicBool,
    /// A lock for each name, so that building one index does not hold up another.
    slots: Mutex<HashMap<String, Arc<Mutex<Option<Built>>>>>,
}

struct Built {
    index: OpenIndex,
    /// The first source outside the workspace, if any.
    outside: Option<PathBuf>,
}

impl Indexes {
    /// The indexes below a workspace's folder. Reads nothing yet.
    pub fn new(root: &Path) -> Self {
        let inner =
            Inner { root: root.to_owned(), may_leave: AtomicBool::new(false), slots: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Says whether indexes may read documents outside the workspace. Not until somebody approved it.
    pub fn allow_outside(&self, is_allowed: bool) {
        self.inner.may_leave.store(is_allowed, Ordering::Relaxed);
    }

    /// An index, built if it has not been. Reads files; not for the threads of an async runtime.
    pub fn open(&self, name: &str) -> Result<OpenIndex, IndexError> {
        self.inner.open(name)
    }
}

impl Inner {
    fn open(&self, name: &str) -> Result<OpenIndex, IndexError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            match slots.get(name) {
                Some(slot) => Arc::clone(slot),
                None => Arc::clone(slots.entry(name.to_owned()).or_default()),
            }
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = slot.as_ref() {
            self.check_place(name, built.outside.as_deref())?;
            return Ok(Arc::clone(&built.index));
        }
        let spec = IndexSpec::load(&self.root, name)?;
        let outside = spec.outside(&self.root).into_iter().next();
        self.check_place(name, outside.as_deref())?;
        let words = KeywordIndex::build(spec.read_chunks()?);
        let index = Arc::new((spec, words));
        *slot = Some(Built { index: Arc::clone(&index), outside });
        Ok(index)
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

fn refused(error: &IndexError) -> ModelError {
    let kind = match error {
        IndexError::Missing { .. } | IndexError::Spec { .. } | IndexError::Document { .. } => {
            ModelErrorKind::NotFound
        }
        IndexError::Outside { .. } => ModelErrorKind::Forbidden,
        IndexError::TooLarge { .. } | IndexError::Mode { .. } | IndexError::Filters { .. } => {
            ModelErrorKind::InvalidRequest
        }
    };
    ModelError::new(kind, error.to_string()).with_hint(error.hint())
}

#[async_trait]
impl Retriever for Indexes {
    async fn search(&self, query: RetrievalQuery) -> Result<Vec<Hit>, ModelError> {
        let inner = Arc::clone(&self.inner);
        // Reading and cutting documents takes its time, and others want to go on.
        tokio::task::spawn_blocking(move || answer(&inner, query))
            .await
            .map_err(|error| ModelError::new(ModelErrorKind::Internal, error.to_string()))?
            .map_err(|error| refused(&error))
    }
}

fn answer(inner: &Inner, query: RetrievalQuery) -> Result<Vec<Hit>, IndexError> {
    let index = inner.open(&query.index)?;
    let (spec, keywords) = index.as_ref();
    let mode = query.mode.as_deref().unwrap_or(&spec.mode);
    if mode != "keyword" {
        return Err(IndexError::Mode { index: query.index, mode: mode.to_owned() });
    }
    if !query.filters.is_empty() {
        return Err(IndexError::Filters { index: query.index });
    }
    let found = keywords.search(&query.query, query.top_k.unwrap_or(spec.top_k));
    Ok(found
        .into_iter()
        .enumerate()
        .map(|(rank, found)| {
            let mut stages = serde_json::Map::new();
            let words: serde_json::Map<String, serde_json::Value> =
                found.words.into_iter().map(|(word, score)| (word, json!(score))).collect();
            stages.insert(
                "keyword".to_owned(),
                json!({"rank": rank + 1, "score": found.score, "words": words}),
            );
            Hit {
                id: found.chunk.id.clone(),
                text: found.chunk.text.clone(),
                score: found.score,
                source: found.chunk.source.clone(),
                stages,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn documents_outside_the_workspace_need_approval() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("workspace");
        std::fs::create_dir_all(root.join("indexes")).unwrap();
        std::fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
        std::fs::write(folder.path().join("elsewhere/a.md"), "# A\nalpha").unwrap();
        std::fs::write(root.join("indexes/far.yaml"), "sources: [{path: ../../elsewhere}]\n").unwrap();
        let indexes = Indexes::new(&root);
        let query = RetrievalQuery {
            index: "far".to_owned(),
            query: "alpha".to_owned(),
            ..RetrievalQuery::default()
        };
        let error = indexes.search(query.clone()).await.unwrap_err();
        assert_eq!(error.kind, ModelErrorKind::Forbidden);
        assert_eq!(error.hint.as_deref(), Some("allow it with `--trust`"));
        assert!(error.message.starts_with("index `far` reads `"), "{error}");
        indexes.allow_outside(true);
        assert_eq!(indexes.search(query.clone()).await.unwrap().len(), 1);
        indexes.allow_outside(false);
        assert!(indexes.search(query).await.is_err(), "an index that is built is refused as well");
    }
}
