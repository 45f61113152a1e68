//! Embeddings and reranking over the routes of OpenAI-compatible servers.

use async_trait::async_trait;
use flowbench_core::chat::{ModelIdentity, RateLimits, Usage};
use flowbench_core::ports::{Embedder, EmbeddingPurpose, Embeddings, ModelError, ModelErrorKind, Reranker};
use serde_json::{Map, Value, json};

use crate::endpoint::Endpoint;
use crate::json::{count, items, vector};
use crate::wire::openai::usage;

/// Most texts a request: what OpenAI and Azure take.
const MOST_TEXTS: usize = 2048;

/// `POST /embeddings`.
pub(crate) struct OpenAiEmbedder {
    pub endpoint: Endpoint,
    pub identity: ModelIdentity,
    pub path: String,
}

#[async_trait]
impl Embedder for OpenAiEmbedder {
    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    async fn embed(
        &self,
        texts: &[String],
        _purpose: EmbeddingPurpose,
        dimensions: Option<u32>,
    ) -> Result<Embeddings, ModelError> {
        let mut all = Embeddings {
            vectors: Vec::with_capacity(texts.len()),
            usage: None,
            limits: RateLimits::default(),
        };
        for batch in texts.chunks(MOST_TEXTS) {
            let mut body = Map::new();
            body.insert("model".to_owned(), json!(self.identity.model));
            body.insert("input".to_owned(), json!(batch));
            body.insert("encoding_format".to_owned(), json!("float"));
            if let Some(dimensions) = dimensions {
                body.insert("dimensions".to_owned(), json!(dimensions));
            }
            let (value, answer) =
                self.endpoint.ask(&self.path, &Value::Object(body), &self.identity.model).await?;
            let vectors = in_order(&value, batch.len())
                .map_err(|lack| self.endpoint.bad_reply(&lack, &self.identity.model, &answer.text))?;
            all.vectors.extend(vectors);
            add_usage(&mut all.usage, value.get("usage").and_then(usage));
            all.limits = answer.limits;
        }
        Ok(all)
    }
}

pub(crate) fn add_usage(total: &mut Option<Usage>, more: Option<Usage>) {
    if let Some(more) = more {
        total.get_or_insert_default().add(&more);
    }
}

/// The vectors by `index`; servers may answer in any order.
fn in_order(value: &Value, expected: usize) -> Result<Vec<Vec<f32>>, String> {
    let rows = items(value, "data");
    let mut placed: Vec<Option<Vec<f32>>> = vec![None; expected];
    for (place, row) in rows.iter().enumerate() {
        let index = count(row, "index").map_or(place, |index| usize::try_from(index).unwrap_or(usize::MAX));
        let found = row.get("embedding").and_then(|numbers| match numbers {
            Value::String(packed) => unpack(packed),
            numbers => vector(numbers),
        });
        match (placed.get_mut(index), found) {
            (Some(place), Some(found)) => *place = Some(found),
            (None, _) => {
                return Err(format!("has an embedding for text {index}, but {expected} were asked for"));
            }
            (_, None) => return Err(format!("has no numbers for text {index}")),
        }
    }
    let vectors: Option<Vec<Vec<f32>>> = placed.into_iter().collect();
    vectors.ok_or_else(|| format!("has {} embeddings for {expected} texts", rows.len()))
}

/// base64 of little-endian 32-bit floats.
fn unpack(packed: &str) -> Option<Vec<f32>> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).ok()?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// Gemini's `batchEmbedContents`.
pub(crate) struct GeminiEmbedder {
    pub endpoint: Endpoint,
    pub identity: ModelIdentity,
    /// Path of the model.
    pub path: String,
}

/// Most texts of one request to Gemini.
const MOST_GEMINI_TEXTS: usize = 100;

#[async_trait]
impl Embedder for GeminiEmbedder {
    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    async fn embed(
        &self,
        texts: &[String],
        purpose: EmbeddingPurpose,
        dimensions: Option<u32>,
    ) -> Result<Embeddings, ModelError> {
        let model = &self.identity.model;
        let full_name = if model.contains('/') { model.clone() } else { format!("models/{model}") };
        let task = match purpose {
            EmbeddingPurpose::Document => "RETRIEVAL_DOCUMENT",
            EmbeddingPurpose::Query => "RETRIEVAL_QUERY",
        };
        let mut all = Embeddings {
            vectors: Vec::with_capacity(texts.len()),
            usage: None,
            limits: RateLimits::default(),
        };
        for batch in texts.chunks(MOST_GEMINI_TEXTS) {
            let requests = batch.iter().map(|text| {
                let content = json!({"parts": [{"text": text}]});
                let mut request = json!({"model": full_name, "content": content, "taskType": task});
                if let Some(dimensions) = dimensions {
                    request["outputDimensionality"] = json!(dimensions);
                }
                request
            });
            let body = json!({"requests": requests.collect::<Value>()});
            let path = format!("{}:batchEmbedContents", self.path);
            let (value, answer) = self.endpoint.ask(&path, &body, model).await?;
            let rows = items(&value, "embeddings").iter().map(|row| row.get("values").and_then(vector));
            let mut vectors = all_of(rows, batch.len())
                .map_err(|lack| self.endpoint.bad_reply(&lack, model, &answer.text))?;
            if dimensions.is_some() {
                // Shortened vectors are not of unit length there.
                vectors.iter_mut().for_each(|vector| normalise(vector));
            }
            all.vectors.extend(vectors);
            all.limits = answer.limits;
        }
        Ok(all)
    }
}

/// Ollama's `/api/embed`.
pub(crate) struct OllamaEmbedder {
    pub endpoint: Endpoint,
    pub identity: ModelIdentity,
}

#[async_trait]
impl Embedder for OllamaEmbedder {
    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    async fn embed(
        &self,
        texts: &[String],
        _purpose: EmbeddingPurpose,
        dimensions: Option<u32>,
    ) -> Result<Embeddings, ModelError> {
        let model = &self.identity.model;
        let mut body = json!({"model": model, "input": texts});
        if let Some(dimensions) = dimensions {
            body["dimensions"] = json!(dimensions);
        }
        let (value, answer) = self.endpoint.ask("/api/embed", &body, model).await?;
        let vectors = all_of(items(&value, "embeddings").iter().map(vector), texts.len())
            .map_err(|lack| self.endpoint.bad_reply(&lack, model, &answer.text))?;
        let usage = count(&value, "prompt_eval_count").map(|input| Usage { input, ..Usage::default() });
        Ok(Embeddings { vectors, usage, limits: answer.limits })
    }
}

fn all_of(rows: impl Iterator<Item = Option<Vec<f32>>>, expected: usize) -> Result<Vec<Vec<f32>>, String> {
    let found: Option<Vec<Vec<f32>>> = rows.collect();
    match found {
        Some(found) if found.len() == expected => Ok(found),
        Some(found) => Err(format!("has {} embeddings for {expected} texts", found.len())),
        None => Err("has an embedding that is no list of numbers".to_owned()),
    }
}

fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

/// `POST /rerank`, as Cohere, Jina, llama.cpp's server and vLLM have it.
pub(crate) struct RerankRoute {
    pub endpoint: Endpoint,
    pub identity: ModelIdentity,
    pub path: String,
}

#[async_trait]
impl Reranker for RerankRoute {
    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    async fn rerank(&self, query: &str, passages: &[String]) -> Result<Vec<f32>, ModelError> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let model = &self.identity.model;
        let body = json!({"model": model, "query": query, "documents": passages, "top_n": passages.len()});
        let (value, answer) = self.endpoint.ask(&self.path, &body, model).await?;
        let mut scores = vec![None; passages.len()];
        // Some servers answer with a bare list, and call the score `score`.
        let rows = value.as_array().map_or_else(|| items(&value, "results"), Vec::as_slice);
        for row in rows {
            let score = row.get("relevance_score").or_else(|| row.get("score")).and_then(Value::as_f64);
            let index = count(row, "index").and_then(|index| usize::try_from(index).ok());
            if let (Some(score), Some(place)) = (score, index.and_then(|index| scores.get_mut(index))) {
                *place = Some(score as f32);
            }
        }
        let scored: Option<Vec<f32>> = scores.into_iter().collect();
        scored.ok_or_else(|| {
            let what = format!("has {} scores for {} passages", rows.len(), passages.len());
            self.endpoint.bad_reply(&what, model, &answer.text)
        })
    }
}

/// A model of a kind of connection that has no such route.
pub(crate) fn has_none(connection: &str, what: &str) -> ModelError {
    ModelError::new(ModelErrorKind::InvalidRequest, format!("connection `{connection}` offers no {what}"))
}
