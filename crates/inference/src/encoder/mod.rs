//! Encoders: folders of safetensors that turn texts into vectors.
//!
//! [`families`] reads a folder's `config.json` and weights ([`weights`]) into one [`transformer`], made of [`ops`];
//! [`recipe`] reads what else the folder says: length, prefixes, [`pooling`], layers behind it; [`tokens`] is the
//! tokenizer and [`batch`] spreads texts over threads. [`LocalEncoder`] puts them together. It knows nothing of
//! queues and async callers: that is [`crate::LocalEmbedder`].

mod batch;
pub(crate) mod families;
pub(crate) mod files;
pub(crate) mod ops;
mod pooling;
pub(crate) mod recipe;
pub(crate) mod tokens;
pub(crate) mod transformer;
pub(crate) mod weights;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use flowbench_core::ports::{EmbedderProfile, EmbeddingPurpose, Tokens};
use rayon::prelude::*;

pub use families::FAMILIES;
pub use tokens::EncoderTokenizer;

use crate::InferenceError;
use crate::model::{DeviceKind, Turn};
use files::{Settings, bad_file};
use ops::Threads;
use recipe::{Recipe, normalize};
use tokens::Encoded;
use transformer::{Row, Transformer};
use weights::Weights;

/// What is known of an encoder beyond its files. Where the files say something themselves, they are believed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncoderOptions {
    /// What stands before a query, such as `query: `.
    pub query_prefix: Option<String>,
    /// What stands before a document, such as `passage: `.
    pub document_prefix: Option<String>,
    /// Languages it was trained for, as ISO 639-1 codes.
    pub languages: Vec<String>,
    /// Share of vectors in hybrid search that suits it.
    pub fusion_weight: Option<f64>,
    /// Tokens of a text, special ones included; never more than the model has positions for.
    pub max_tokens: Option<usize>,
    /// Whether vectors are made to have length 1; without it, what the files say.
    pub normalize: Option<bool>,
    /// Where it computes.
    pub device: DeviceKind,
}

/// An encoder in memory. Clones share it, and several threads may use it.
#[derive(Clone)]
pub struct LocalEncoder {
    inner: Arc<Inner>,
}

struct Inner {
    body: Body,
    recipe: Recipe,
    profile: EmbedderProfile,
}

/// A transformer with its tokenizer: what encoders and rerankers have in common.
pub(crate) struct Body {
    pub transformer: Transformer,
    pub tokenizer: EncoderTokenizer,
    /// Tokens of a text, special ones included.
    pub max_tokens: usize,
    /// The weights, for complaints.
    pub path: PathBuf,
}

/// Batches between two looks at whether the answer is still wanted, a thread.
const BATCHES_A_WAVE: usize = 4;

impl LocalEncoder {
    /// Loads a model's folder. Blocks until it is ready, so async callers give it a thread of its own.
    pub fn load(folder: &Path, options: EncoderOptions) -> Result<Self, InferenceError> {
        let device = options.device.open()?;
        let config = Settings::read(&folder.join("config.json"))?;
        let mut weights = Weights::open(folder)?;
        let mut tokenizer = EncoderTokenizer::load(folder)?;
        let hidden = families::hidden_size(&config)?;
        let recipe = Recipe::read(folder, hidden, &options, &device, &mut tokenizer)?;
        let wanted = options.max_tokens.or(recipe.max_tokens);
        let transformer = families::load(&config, &mut weights, wanted, &device)?;
        let max_tokens = wanted.unwrap_or(usize::MAX).min(transformer.max_positions);

        let mut files = weights::weight_files(folder)?;
        let path = files.first().cloned().unwrap_or_default();
        files.extend([config.path().to_owned(), folder.join("tokenizer.json")]);
        files.extend(recipe.files.iter().cloned());
        let said = format!(
            "{:?} {:?} {max_tokens} {:?}",
            recipe.query_prefix, recipe.document_prefix, options.normalize
        );
        let digest = digest_of(folder, files, &said)?;

        let body = Body { transformer, tokenizer, max_tokens, path };
        let mut profile = EmbedderProfile {
            dimensions: None,
            max_tokens: Some(max_tokens),
            languages: options.languages,
            fusion_weight: options.fusion_weight,
            digest: Some(digest),
        };
        // One text through the whole model tells the width and shows a broken model now rather than later.
        let probe = body.tokenizer.encode("probe", max_tokens)?;
        let pooled =
            body.run(&[probe], |_, hidden| recipe.pooling.pool(hidden, hidden_width(&body), 0), &|| false)?;
        let vectors = finish(&recipe, pooled.unwrap_or_default(), &body)?;
        profile.dimensions = vectors.first().map(Vec::len);
        tracing::debug!(folder = %folder.display(), dimensions = profile.dimensions, max_tokens, "encoder loaded");
        Ok(Self { inner: Arc::new(Inner { body, recipe, profile }) })
    }

    /// One vector a text, in order. Blocks.
    pub fn embed_batch(
        &self,
        texts: &[String],
        purpose: EmbeddingPurpose,
    ) -> Result<Vec<Vec<f32>>, InferenceError> {
        Ok(self.embed_while_wanted(texts, purpose, &|| false)?.unwrap_or_default())
    }

    /// The same, given up between two waves of batches once `is_unwanted` says so; then there is no answer.
    pub(crate) fn embed_while_wanted(
        &self,
        texts: &[String],
        purpose: EmbeddingPurpose,
        is_unwanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<Vec<f32>>>, InferenceError> {
        let Inner { body, recipe, .. } = &*self.inner;
        let prefix = match purpose {
            EmbeddingPurpose::Document => recipe.document_prefix.as_deref(),
            EmbeddingPurpose::Query => recipe.query_prefix.as_deref(),
        };
        let encoded: Vec<Encoded> = texts
            .par_iter()
            .map(|text| match prefix {
                Some(prefix) => body.tokenizer.encode(&format!("{prefix}{text}"), body.max_tokens),
                None => body.tokenizer.encode(text, body.max_tokens),
            })
            .collect::<Result<_, _>>()?;
        let prompt = match prefix {
            Some(prefix) if !recipe.pooling.includes_prompt => body.tokenizer.prefix_len(prefix)?,
            _ => 0,
        };
        let width = hidden_width(body);
        match body.run(&encoded, |_, hidden| recipe.pooling.pool(hidden, width, prompt), is_unwanted)? {
            Some(pooled) => finish(recipe, pooled, body).map(Some),
            None => Ok(None),
        }
    }

    /// Token ids, special ones included, through the encoder: pooled as the model does, but without what comes
    /// behind the pooling (layers, norm). For those who make other models out of this one. Blocks.
    pub fn embed_ids(&self, ids: &[&[u32]]) -> Result<Vec<Vec<f32>>, InferenceError> {
        let Inner { body, recipe, .. } = &*self.inner;
        let encoded: Vec<Encoded> =
            ids.iter().map(|ids| Encoded { ids: ids.to_vec(), types: Vec::new() }).collect();
        let width = hidden_width(body);
        let pooled = body.run(&encoded, |_, hidden| recipe.pooling.pool(hidden, width, 0), &|| false)?;
        Ok(pooled.unwrap_or_default())
    }

    /// Ids of a text as [`embed_batch`](Self::embed_batch) makes them: with prefix and special tokens, cut.
    pub fn ids(&self, text: &str, purpose: EmbeddingPurpose) -> Result<Vec<u32>, InferenceError> {
        let Inner { body, recipe, .. } = &*self.inner;
        let prefix = match purpose {
            EmbeddingPurpose::Document => recipe.document_prefix.as_deref(),
            EmbeddingPurpose::Query => recipe.query_prefix.as_deref(),
        };
        body.tokenizer.ids(&format!("{}{text}", prefix.unwrap_or_default()), body.max_tokens)
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &EncoderTokenizer {
        &self.inner.body.tokenizer
    }

    /// The same for those who cut texts.
    pub fn tokens(&self) -> Arc<dyn Tokens> {
        Arc::new(self.inner.body.tokenizer.clone())
    }

    /// What is known of the model.
    pub fn profile(&self) -> EmbedderProfile {
        self.inner.profile.clone()
    }

    /// Rows in the table of words.
    pub fn vocabulary_len(&self) -> usize {
        self.inner.body.transformer.vocabulary_len()
    }
}

fn hidden_width(body: &Body) -> usize {
    body.transformer.hidden
}

/// What follows the pooling.
fn finish(recipe: &Recipe, mut vectors: Vec<Vec<f32>>, body: &Body) -> Result<Vec<Vec<f32>>, InferenceError> {
    for step in &recipe.steps {
        vectors = step.apply(vectors, &body.transformer.device)?;
    }
    if let Some(dimensions) = recipe.dimensions {
        vectors.iter_mut().for_each(|vector| shorten(vector, dimensions));
    }
    if vectors.iter().flatten().any(|x| !x.is_finite()) {
        return Err(bad_file(&body.path, "gives vectors that are not numbers; the model is broken"));
    }
    Ok(vectors)
}

/// Keeps the first `dimensions` numbers of a vector and its length.
pub(crate) fn shorten(vector: &mut Vec<f32>, dimensions: usize) {
    if dimensions < vector.len() {
        let had_unit_length = (vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-3;
        vector.truncate(dimensions);
        if had_unit_length {
            normalize(vector);
        }
    }
}

impl Body {
    /// Takes texts through the transformer and gives what `read` makes of each one's hidden states, in order.
    /// Nothing once `is_unwanted` says so.
    pub(crate) fn run<R: Send>(
        &self,
        texts: &[Encoded],
        read: impl Fn(usize, &[f32]) -> R + Sync,
        is_unwanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<R>>, InferenceError> {
        self.check(texts)?;
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let is_on_cpu = self.transformer.device.is_cpu();
        let threads = if is_on_cpu { rayon::current_num_threads() } else { 1 };
        let batches = batch::plan(&lengths, threads, is_on_cpu);
        let mut results: Vec<Option<R>> = texts.iter().map(|_| None).collect();
        for wave in batches.chunks(threads * BATCHES_A_WAVE) {
            if is_unwanted() {
                return Ok(None);
            }
            let turn = is_on_cpu.then(Turn::wait);
            let done: Vec<Vec<R>> = if wave.len() < threads || !is_on_cpu {
                wave.iter()
                    .map(|batch| self.one(texts, batch, &read, Threads::All))
                    .collect::<Result<_, _>>()?
            } else {
                wave.par_iter()
                    .with_max_len(1)
                    .map(|batch| self.one(texts, batch, &read, Threads::One))
                    .collect::<Result<_, _>>()?
            };
            drop(turn);
            for (batch, done) in wave.iter().zip(done) {
                for (index, result) in batch.iter().zip(done) {
                    results[*index] = Some(result);
                }
            }
        }
        Ok(results.into_iter().collect())
    }

    fn one<R>(
        &self,
        texts: &[Encoded],
        batch: &[usize],
        read: impl Fn(usize, &[f32]) -> R,
        threads: Threads,
    ) -> Result<Vec<R>, InferenceError> {
        let rows: Vec<Row<'_>> =
            batch.iter().map(|index| Row { ids: &texts[*index].ids, types: &texts[*index].types }).collect();
        let hidden = self.transformer.forward(&rows, threads)?;
        let hidden = if hidden.device().is_cpu() { hidden } else { hidden.to_device(&Device::Cpu)? };
        let width = self.transformer.hidden;
        ops::with_slice(&hidden, |mut hidden| {
            let mut results = Vec::with_capacity(batch.len());
            for index in batch {
                let (text, rest) = hidden.split_at(texts[*index].ids.len() * width);
                hidden = rest;
                results.push(read(*index, text));
            }
            results
        })
    }

    fn check(&self, texts: &[Encoded]) -> Result<(), InferenceError> {
        let vocabulary = self.transformer.vocabulary_len();
        for (index, text) in texts.iter().enumerate() {
            if text.ids.is_empty() {
                return Err(InferenceError::NoTokens { index });
            }
            if text.ids.len() > self.transformer.max_positions {
                return Err(InferenceError::Tokenizer {
                    problem: format!(
                        "gave {} tokens, but the model has {} positions",
                        text.ids.len(),
                        self.transformer.max_positions
                    ),
                });
            }
            if let Some(id) = text.ids.iter().find(|id| **id as usize >= vocabulary) {
                return Err(InferenceError::Tokenizer {
                    problem: format!("gave the token {id}, but the embedding has only {vocabulary} rows"),
                });
            }
        }
        Ok(())
    }
}

/// Digest of files (name and content, in the order of names) and of what was said beside them.
pub(crate) fn digest_of(
    folder: &Path,
    mut files: Vec<PathBuf>,
    said: &str,
) -> Result<String, InferenceError> {
    files.sort();
    files.dedup();
    let mut hasher = blake3::Hasher::new();
    for path in files {
        let open = |source| InferenceError::Open { path: path.clone(), source };
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        hasher.update(name.as_bytes()).update(&[0]);
        let file = File::open(&path).map_err(open)?;
        let size = file.metadata().map_err(open)?.len();
        hasher.update(&size.to_le_bytes());
        hasher.update_reader(file).map_err(open)?;
    }
    hasher.update(said.as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}
