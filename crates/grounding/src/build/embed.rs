//! Vectors of chunks: those that are kept from earlier builds, and the others from the model.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use flowbench_core::ports::{Embedder, EmbeddingPurpose, ModelError, ModelErrorKind};
use flowbench_corpus::layers::{Digest, Layers, key};
use futures_util::stream::{self, StreamExt};

/// Texts of one call where the spec names no number: what providers take and what keeps two cores busy.
const BATCH: usize = 32;
/// Calls under way at once. A local model has one thread of its own; providers answer several.
const CALLS: usize = 4;
/// Attempts at a call that may well succeed later.
const ATTEMPTS: u32 = 6;
/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A chunk on its way to its vector.
pub(super) struct Wanted {
    /// Chunk id.
    pub id: String,
    /// Its document.
    pub document: String,
    /// What is embedded.
    pub text: String,
    /// Where its vector is kept.
    pub key: Digest,
}

/// What became of the chunks.
#[derive(Default)]
pub(super) struct Embedded {
    /// Texts that the model embedded now.
    pub count: usize,
    /// Documents whose chunks the model embedded now.
    pub documents: BTreeSet<String>,
    /// Tokens, where told.
    pub tokens: Option<u64>,
    /// Chunks without a vector, and why.
    pub failed: Vec<Failure>,
}

/// A chunk without a vector.
#[derive(Clone)]
pub(super) struct Failure {
    /// Chunk id.
    pub chunk: String,
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The model works and knows no word of this text.
    pub is_unknown: bool,
}

/// Where the vector of a text is kept: everything that decides its numbers.
pub(super) fn vector_key(model: &str, dimensions: Option<u32>, text: &str) -> Digest {
    let dimensions = dimensions.map(u32::to_le_bytes).unwrap_or_default();
    key(&[b"vector", model.as_bytes(), &dimensions, text.as_bytes()])
}

/// A kept vector.
pub(super) fn read_vector(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

fn write_vector(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Brings the vectors of these chunks into the layers. A call that fails for good is taken apart until the chunk that
/// it fails on is alone; only an error that concerns all chunks (no key, no model) ends the work.
pub(super) async fn embed(
    embedder: &Arc<dyn Embedder>,
    wanted: Vec<Wanted>,
    dimensions: Option<u32>,
    batch: Option<usize>,
    layers: &Layers,
    progress: &(dyn Fn(usize) + Send + Sync),
) -> Result<Embedded, EmbedFailure> {
    let mut result = Embedded::default();
    let mut by_text: HashMap<Digest, Vec<(String, String)>> = HashMap::new();
    let mut texts: Vec<(Digest, String)> = Vec::new();
    for chunk in wanted {
        let ids = by_text.entry(chunk.key).or_default();
        if ids.is_empty() {
            texts.push((chunk.key, chunk.text));
        }
        ids.push((chunk.id, chunk.document));
    }
    let size = batch.unwrap_or(BATCH).max(1);
    let batches: Vec<Vec<(Digest, String)>> = texts.chunks(size).map(<[_]>::to_vec).collect();
    let mut answers = stream::iter(batches)
        .map(|batch| async move {
            let outcome = embed_batch(embedder, &batch, dimensions).await;
            (batch, outcome)
        })
        .buffered(CALLS);
    let mut done = 0;
    while let Some((batch, outcome)) = answers.next().await {
        let outcome = outcome.map_err(EmbedFailure::Model)?;
        for ((key, _), vector) in batch.iter().zip(outcome.vectors) {
            let ids = by_text.remove(key).unwrap_or_default();
            match vector {
                Ok(vector) => {
                    layers.vectors().put(key, &write_vector(&vector)).map_err(EmbedFailure::Layer)?;
                    result.count += 1;
                    result.documents.extend(ids.into_iter().map(|(_, document)| document));
                }
                Err(failure) => {
                    let told = |(chunk, _)| Failure { chunk, ..failure.clone() };
                    result.failed.extend(ids.into_iter().map(told));
                }
            }
        }
        if let Some(tokens) = outcome.tokens {
            *result.tokens.get_or_insert(0) += tokens;
        }
        done += batch.len();
        progress(done);
    }
    Ok(result)
}

/// Why embedding ended.
pub(super) enum EmbedFailure {
    /// The model cannot be asked at all.
    Model(ModelError),
    /// Vectors cannot be kept.
    Layer(flowbench_corpus::layers::LayerError),
}

/// A vector, or why there is none.
type VectorOutcome = Result<Vec<f32>, Failure>;

struct BatchOutcome {
    /// One for each text.
    vectors: Vec<VectorOutcome>,
    tokens: Option<u64>,
}

async fn embed_batch(
    embedder: &Arc<dyn Embedder>,
    batch: &[(Digest, String)],
    dimensions: Option<u32>,
) -> Result<BatchOutcome, ModelError> {
    let texts: Vec<String> = batch.iter().map(|(_, text)| text.clone()).collect();
    let failed = match ask(embedder, &texts, dimensions).await {
        Ok(answer) => return Ok(answer),
        Err(error) if concerns_all(&error) => return Err(error),
        Err(error) => error,
    };
    let told = |error: ModelError| failure(error.message, error.hint);
    if texts.len() == 1 {
        return Ok(BatchOutcome { vectors: vec![Err(told(failed))], tokens: None });
    }
    let mut vectors = Vec::with_capacity(texts.len());
    let mut tokens = None;
    for text in texts {
        match ask(embedder, std::slice::from_ref(&text), dimensions).await {
            Ok(mut answer) => {
                vectors.append(&mut answer.vectors);
                tokens = tokens.max(answer.tokens).or(tokens);
            }
            Err(error) if concerns_all(&error) => return Err(error),
            Err(error) => vectors.push(Err(told(error))),
        }
    }
    Ok(BatchOutcome { vectors, tokens })
}

/// True for errors that the next chunk would meet as well.
fn concerns_all(error: &ModelError) -> bool {
    matches!(
        error.kind,
        ModelErrorKind::Authentication
            | ModelErrorKind::NotFound
            | ModelErrorKind::Forbidden
            | ModelErrorKind::QuotaExhausted
            | ModelErrorKind::BudgetSpent
            | ModelErrorKind::RateLimited
            | ModelErrorKind::Unavailable
    )
}

/// One call, repeated while that may help.
async fn ask(
    embedder: &Arc<dyn Embedder>,
    texts: &[String],
    dimensions: Option<u32>,
) -> Result<BatchOutcome, ModelError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match embedder.embed(texts, EmbeddingPurpose::Document, dimensions).await {
            Ok(answer) => {
                if answer.vectors.len() != texts.len() {
                    let message =
                        format!("the model gave {} vectors for {} texts", answer.vectors.len(), texts.len());
                    return Err(ModelError::new(ModelErrorKind::BadReply, message));
                }
                let vectors = answer.vectors.into_iter().map(check_vector).collect();
                return Ok(BatchOutcome { vectors, tokens: answer.usage.map(|usage| usage.input) });
            }
            Err(error) if attempt < ATTEMPTS && error.is_worth_repeating() => {
                let doubled = Duration::from_millis(500) * 2_u32.pow(attempt - 1);
                tokio::time::sleep(error.retry_after.unwrap_or(doubled).min(LONGEST_WAIT)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn failure(message: String, hint: Option<String>) -> Failure {
    Failure { chunk: String::new(), message, hint, is_unknown: false }
}

/// Refuses vectors that cannot be compared.
fn check_vector(vector: Vec<f32>) -> VectorOutcome {
    if vector.iter().any(|number| !number.is_finite()) {
        return Err(failure("its vector holds numbers that are not finite".to_owned(), None));
    }
    if vector.iter().all(|number| *number == 0.0) {
        let message = "the model knows none of its words, so it has no vector; keywords find it".to_owned();
        return Err(Failure { is_unknown: true, ..failure(message, None) });
    }
    Ok(vector)
}
