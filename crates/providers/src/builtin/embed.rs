//! The embedding and reranking stand-ins.

use async_trait::async_trait;
use flowbench_core::chat::{ModelIdentity, RateLimits, Usage};
use flowbench_core::ports::{Embedder, EmbeddingPurpose, Embeddings, ModelError, Reranker};

use super::attempts::hash_text;
use super::chat::count_words;
use super::extractive::overlap_scores;
use super::identity;
use super::text::{stem, words};

/// Enough that a page of text has few collisions.
const DIMENSIONS: u32 = 256;
/// Letter triples count for less than whole words: they only help with endings and misspellings.
const TRIPLE_WEIGHT: f32 = 0.25;

/// Words and letter triples, hashed into a vector of unit length.
#[derive(Debug)]
pub(super) struct HashEmbedder {
    name: String,
}

impl HashEmbedder {
    pub fn named(name: &str) -> Option<Self> {
        (name == "embed").then(|| Self { name: name.to_owned() })
    }
}

#[async_trait]
impl Embedder for HashEmbedder {
    fn identity(&self) -> ModelIdentity {
        identity(&self.name)
    }

    async fn embed(
        &self,
        texts: &[String],
        _purpose: EmbeddingPurpose,
        dimensions: Option<u32>,
    ) -> Result<Embeddings, ModelError> {
        let dimensions = dimensions.unwrap_or(DIMENSIONS).clamp(1, 4096) as usize;
        let vectors = texts.iter().map(|text| vector(text, dimensions)).collect();
        let input = texts.iter().map(|text| count_words(text)).sum();
        Ok(Embeddings {
            vectors,
            usage: Some(Usage { input, ..Usage::default() }),
            limits: RateLimits::default(),
        })
    }
}

fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimensions];
    let mut add = |piece: &str, weight: f32| {
        let hash = hash_text(piece);
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        // The remainder is below `dimensions`, which fits.
        vector[(hash % dimensions as u64) as usize] += sign * weight;
    };
    for word in words(text) {
        add(&stem(&word), 1.0);
        let letters: Vec<char> = format!(" {word} ").chars().collect();
        for triple in letters.windows(3) {
            add(&triple.iter().collect::<String>(), TRIPLE_WEIGHT);
        }
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

/// BM25 overlap of words.
#[derive(Debug)]
pub(super) struct OverlapReranker;

#[async_trait]
impl Reranker for OverlapReranker {
    fn identity(&self) -> ModelIdentity {
        identity("overlap")
    }

    async fn rerank(&self, query: &str, passages: &[String]) -> Result<Vec<f32>, ModelError> {
        Ok(overlap_scores(query, passages))
    }
}
