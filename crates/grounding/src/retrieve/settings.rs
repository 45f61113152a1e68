//! `retrieve` in `indexes/NAME.yaml`: how questions are answered where the question itself does not say.

use serde::{Deserialize, Serialize};

/// How an index answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetrieveSpec {
    /// `keyword`, `vector`, `hybrid` or `hybrid+rerank`; default `hybrid` with an embedding model, else `keyword`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Hits given; default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Candidates of each list; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// How both lists become one.
    pub fusion: FusionSpec,
    /// The reranker; needed for `hybrid+rerank`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankSpec>,
    /// Less of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diversify: Option<DiversifySpec>,
    /// Chunks before and after a hit that are read with it; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<u32>,
    /// Hits with a smaller final score are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// Compare with every vector instead of walking the graph.
    pub exact: bool,
    /// Let this chat model (`CONNECTION/MODEL`) write the question in other words first. Only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
}

/// `fusion`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FusionSpec {
    /// `score` (default) or `rank`.
    pub by: FusionBy,
    /// Share of vectors, 0 to 1; default: what suits the embedding model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// By what lists are fused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FusionBy {
    /// Standardised scores.
    #[default]
    Score,
    /// Reciprocal ranks.
    Rank,
}

/// `rerank`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RerankSpec {
    /// Catalog name or path, or `CONNECTION/MODEL`.
    pub model: String,
    /// How many of the best are scored again; default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
}

/// `diversify`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiversifySpec {
    /// Maximal marginal relevance: 1 looks at relevance alone, 0 at difference alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// Most hits of one document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_document: Option<usize>,
    /// Leave out hits that share this much of their words in threes with a better one; default 0.9, 1 only leaves out the
    /// same text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near_duplicates: Option<f64>,
}
