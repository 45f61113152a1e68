//! What is asked, how it is answered, and why it cannot be.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use flowbench_core::chat::Usage;
use flowbench_core::ports::{Embedder, Hit, ModelError, Reranker};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::engine::{Engine, EngineError, Filter};

use super::candidate::Candidate;
use super::fusion::{DEFAULT_WEIGHT, Fusion};
use super::settings::{FusionBy, RetrieveSpec};

/// Hits given where nobody says how many.
pub const TOP_K: usize = 5;
/// Candidates of each list: what fusion was measured with.
pub const CANDIDATES: usize = 100;
/// Candidates that are scored again by a reranker: a cross-encoder on a laptop takes about a second for so many.
pub const RERANK_TOP: usize = 30;
/// Most candidates that can be asked for.
pub const MOST_CANDIDATES: usize = 10_000;

/// Which lists answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Words.
    #[serde(rename = "keyword")]
    Keyword,
    /// Meaning.
    #[serde(rename = "vector")]
    Vector,
    /// Both, fused.
    #[default]
    #[serde(rename = "hybrid")]
    Hybrid,
    /// Both, fused, the best scored again by a reranker.
    #[serde(rename = "hybrid+rerank")]
    HybridRerank,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Keyword, Self::Vector, Self::Hybrid, Self::HybridRerank];

    /// True if words are looked up.
    pub fn has_keywords(self) -> bool {
        self != Self::Vector
    }

    /// True if a vector of the question is needed.
    pub fn has_vectors(self) -> bool {
        self != Self::Keyword
    }

    /// True if both lists are fused.
    pub fn is_fused(self) -> bool {
        self.has_keywords() && self.has_vectors()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyword => "keyword",
            Self::Vector => "vector",
            Self::Hybrid => "hybrid",
            Self::HybridRerank => "hybrid+rerank",
        })
    }
}

impl FromStr for Mode {
    type Err = RetrieveError;

    fn from_str(name: &str) -> Result<Self, RetrieveError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.to_string() == name)
            .ok_or_else(|| RetrieveError::Mode { name: name.to_owned() })
    }
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchRequest {
    /// What is asked.
    pub query: String,
    /// Which lists answer; absent means as the settings say.
    pub mode: Option<Mode>,
    /// Most hits; absent means as the settings say.
    pub top_k: Option<usize>,
    /// Conditions on chunks.
    pub filter: Filter,
}

/// What surrounds a question: the generation that is asked and the models that help.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    /// One generation.
    pub engine: &'s dyn Engine,
    /// The model that its vectors came from.
    pub embedder: Option<&'s dyn Embedder>,
    /// Dimensions asked of the model, where it lets one choose.
    pub dimensions: Option<u32>,
    /// Scores candidates again.
    pub reranker: Option<&'s dyn Reranker>,
    /// Writes the question in other words; given only where somebody asked for it.
    pub rewriter: Option<&'s dyn Rewriter>,
    /// Languages of the generation's chunks with their shares (0 to 1); empty code for chunks of no known language.
    pub languages: &'s [(String, f64)],
}

/// Writes a question in other words.
#[async_trait]
pub trait Rewriter: Send + Sync {
    /// Other wordings, the question itself left out. Each is asked, and the lists are averaged.
    async fn rewrite(&self, query: &str) -> Result<Vec<String>, ModelError>;
}

/// How a question is answered, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which lists answer.
    pub mode: Mode,
    /// Most hits.
    pub top_k: usize,
    /// Candidates of each list.
    pub candidates: usize,
    /// How lists are fused.
    pub fusion: Fusion,
    /// Candidates that are scored again.
    pub rerank_top: usize,
    /// Less of the same.
    pub diversify: Diversify,
    /// Chunks before and after a hit that are read with it.
    pub neighbours: u32,
    /// Least final score.
    pub min_score: Option<f64>,
    /// Compare with every vector.
    pub is_exact: bool,
}

/// Less of the same; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Diversify {
    /// Maximal marginal relevance: 1 looks at relevance alone, 0 at difference alone.
    pub lambda: Option<f64>,
    /// Most hits of one document.
    pub per_document: Option<usize>,
    /// Smallest share of equal words in threes that makes a near-duplicate.
    pub near_duplicates: Option<f64>,
}

/// Share of words in threes that makes a near-duplicate where `diversify` does not say.
const NEAR_DUPLICATES: f64 = 0.9;

impl Settings {
    /// What a spec says, completed by what suits the model. Fails on numbers that cannot be.
    pub fn of(spec: &RetrieveSpec, embedder: Option<&dyn Embedder>) -> Result<Self, RetrieveError> {
        let mode = match &spec.mode {
            Some(name) => name.parse()?,
            None if spec.rerank.is_some() && embedder.is_some() => Mode::HybridRerank,
            None if embedder.is_some() => Mode::Hybrid,
            None => Mode::Keyword,
        };
        let learned = embedder.and_then(|embedder| embedder.profile().fusion_weight);
        let diversify = spec.diversify.as_ref().map_or_else(Diversify::default, |diversify| Diversify {
            lambda: diversify.lambda,
            per_document: diversify.per_document,
            near_duplicates: Some(diversify.near_duplicates.unwrap_or(NEAR_DUPLICATES)),
        });
        let settings = Self {
            mode,
            top_k: spec.top_k.unwrap_or(TOP_K),
            candidates: spec.candidates.unwrap_or(CANDIDATES),
            fusion: Fusion {
                by: spec.fusion.by,
                weight: spec.fusion.weight.or(learned).unwrap_or(DEFAULT_WEIGHT),
            },
            rerank_top: spec.rerank.as_ref().and_then(|rerank| rerank.top).unwrap_or(RERANK_TOP),
            diversify,
            neighbours: spec.neighbours.unwrap_or(0),
            min_score: spec.min_score,
            is_exact: spec.exact,
        };
        settings.check()?;
        Ok(settings)
    }

    /// What a request says in addition.
    pub(super) fn asked(&self, request: &SearchRequest) -> Result<Self, RetrieveError> {
        let settings = Self {
            mode: request.mode.unwrap_or(self.mode),
            top_k: request.top_k.unwrap_or(self.top_k),
            ..self.clone()
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), RetrieveError> {
        let refuse = |setting: &'static str, needed: &'static str, found: String| {
            Err(RetrieveError::Setting { setting, needed, found })
        };
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let between = "a number from 0 to 1";
        if self.top_k == 0 || self.top_k > MOST_CANDIDATES {
            return refuse("top_k", "from 1 to 10000", self.top_k.to_string());
        }
        if self.candidates == 0 || self.candidates > MOST_CANDIDATES {
            return refuse("candidates", "from 1 to 10000", self.candidates.to_string());
        }
        if !share(self.fusion.weight) {
            return refuse("fusion.weight", between, self.fusion.weight.to_string());
        }
        if let Some(lambda) = self.diversify.lambda.filter(|lambda| !share(*lambda)) {
            return refuse("diversify.lambda", between, lambda.to_string());
        }
        if let Some(least) = self.diversify.near_duplicates.filter(|least| !share(*least)) {
            return refuse("diversify.near_duplicates", between, least.to_string());
        }
        if self.diversify.per_document == Some(0) {
            return refuse("diversify.per_document", "at least 1", "0".to_owned());
        }
        Ok(())
    }

    /// Candidates of each list: never fewer than hits are wanted.
    pub(super) fn depth(&self) -> usize {
        self.candidates.max(self.top_k)
    }

    /// By what lists are fused, in words.
    pub(super) fn method(&self) -> &'static str {
        match self.fusion.by {
            FusionBy::Score => "score",
            FusionBy::Rank => "rank",
        }
    }
}

/// An answer with everything that was considered for it.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Best first; equal scores by chunk id ascending.
    pub hits: Vec<Hit>,
    /// Every chunk that any list had, in the order in which they ended: hits, then the others with the reason.
    pub candidates: Vec<Candidate>,
    /// Words that were looked up, with their weights.
    pub terms: Vec<(String, f32)>,
    /// What the user should know of this answer.
    pub notes: Vec<String>,
    /// Tokens that models took, where they say.
    pub usage: Option<Usage>,
}

/// A question that cannot be answered.
#[derive(Debug, Error)]
pub enum RetrieveError {
    /// Nothing is asked.
    #[error("the query is empty")]
    EmptyQuery,
    /// No such mode.
    #[error("`{name}` is no mode of retrieval; known are `keyword`, `vector`, `hybrid` and `hybrid+rerank`")]
    Mode {
        /// What was asked.
        name: String,
    },
    /// The mode needs a model.
    #[error("mode `{mode}` needs an embedding model, and the index has none")]
    NoEmbedder {
        /// Mode.
        mode: Mode,
    },
    /// The mode needs a reranker.
    #[error("mode `hybrid+rerank` needs a reranker, and the index names none")]
    NoReranker,
    /// A number that cannot be.
    #[error("`{setting}` is {found}, and must be {needed}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What it must be.
        needed: &'static str,
        /// What it is.
        found: String,
    },
    /// The index does not have this chunk.
    #[error("the index has no chunk `{id}`")]
    NoChunk {
        /// Its id.
        id: String,
    },
    /// A model gave another number of answers than it was asked for.
    #[error("{model} gave {found} {what} for {expected}")]
    Count {
        /// Which model.
        model: String,
        /// Of what.
        what: &'static str,
        /// How many came.
        found: usize,
        /// How many were asked for.
        expected: usize,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl RetrieveError {
    /// What to do, where it is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::EmptyQuery => "ask with at least one word".to_owned(),
            Self::NoEmbedder { .. } => {
                "search with mode `keyword`, or write `embed: {model: static-minilm}` into the index and build it".to_owned()
            }
            Self::NoReranker => "write `rerank: {model: NAME}` below `retrieve`, or search with mode `hybrid`".to_owned(),
            Self::NoChunk { .. } => "ids are those of `index inspect`; a chunk gets another one when its text changes".to_owned(),
            Self::Model(error) => return error.hint.clone(),
            _ => return None,
        })
    }
}
