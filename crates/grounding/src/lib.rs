//! Indexes of documents and retrieval with reasons. Knows no flows.
//!
//! One index passes through it as [`spec::IndexSpec`] (what `indexes/NAME.yaml` says) → [`chunk::Chunk`]s of its
//! documents → [`keyword::KeywordIndex`], which answers with scores and the words that made them. For now an index is
//! built in memory when it is first asked, from Markdown and text files, and answers in keyword mode only; the other
//! modes are refused with their names.

pub mod chunk;
pub mod keyword;
pub mod spec;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use flowbench_core::ports::{Hit, ModelError, ModelErrorKind, RetrievalQuery, Retriever};
use serde_json::json;

use crate::keyword::KeywordIndex;
use crate::spec::{IndexError, IndexSpec};

/// The indexes of one workspace, each built when first asked.
pub struct Indexes {
    root: PathBuf,
    built: Mutex<HashMap<String, Arc<(IndexSpec, KeywordIndex)>>>,
}

impl Indexes {
    /// The indexes below a workspace's folder. Reads nothing yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), built: Mutex::new(HashMap::new()) }
    }

    /// An index, built if it has not been.
    pub fn open(&self, name: &str) -> Result<Arc<(IndexSpec, KeywordIndex)>, IndexError> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = built.get(name) {
            return Ok(Arc::clone(index));
        }
        let spec = IndexSpec::load(&self.root, name)?;
        let index = Arc::new((spec.clone(), KeywordIndex::build(spec.read_chunks()?)));
        built.insert(name.to_owned(), Arc::clone(&index));
        Ok(index)
    }
}

#[async_trait]
impl Retriever for Indexes {
    async fn search(&self, query: RetrievalQuery) -> Result<Vec<Hit>, ModelError> {
        let refused = |kind, error: IndexError| {
            let hint = error.hint();
            ModelError::new(kind, error.to_string()).with_hint(hint)
        };
        let index = self.open(&query.index).map_err(|error| refused(ModelErrorKind::NotFound, error))?;
        let (spec, keywords) = index.as_ref();
        let mode = query.mode.as_deref().unwrap_or(&spec.mode);
        if mode != "keyword" {
            let error = IndexError::Mode { index: query.index, mode: mode.to_owned() };
            return Err(refused(ModelErrorKind::InvalidRequest, error));
        }
        if !query.filters.is_empty() {
            let error = IndexError::Filters { index: query.index };
            return Err(refused(ModelErrorKind::InvalidRequest, error));
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
}
