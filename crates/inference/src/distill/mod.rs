//! Makes a static embedding model out of an encoder.
//!
//! Every token of the encoder's vocabulary goes through the encoder on its own and gives one vector; principal
//! components make the vectors shorter and even them out ([`pca`]); each is weighed by how rare the token is, after
//! Arora, Liang and Ma, "A simple but tough-to-beat baseline for sentence embeddings" (2017): a / (a + p). Without a
//! corpus p is Zipf's law by the token's place in the vocabulary, which is in order of frequency in all vocabularies
//! that were learnt from text. This is what the Python package model2vec does; evening out, weights that keep their
//! precision in `int8` and the corpus's share in them are ours and were measured (`docs/static-models.md`).
//!
//! The same encoder, options and corpus give the same bytes: nothing depends on threads, and every order is fixed.

mod eigen;
mod error;
mod pca;
mod quantize;
mod vocabulary;

use std::path::{Path, PathBuf};

use serde_json::json;

pub use error::DistillError;
pub use quantize::Quantization;

use crate::static_model::Cutter;
use crate::{InferenceError, LocalEncoder};
use vocabulary::Vocabulary;

/// Tokens that go through the encoder between two words of progress.
const TOKENS_A_TURN: usize = 2_048;

/// What makes the vectors of tokens: an encoder, in the tests also something smaller.
pub trait TokenEncoder {
    /// One vector a sequence of ids, in order.
    fn encode(&self, ids: &[&[u32]]) -> Result<Vec<Vec<f32>>, InferenceError>;
}

impl TokenEncoder for LocalEncoder {
    fn encode(&self, ids: &[&[u32]]) -> Result<Vec<Vec<f32>>, InferenceError> {
        self.embed_ids(ids)
    }
}

/// How a model is made.
#[derive(Clone, Debug, PartialEq)]
pub struct DistillOptions {
    /// Numbers in a vector; fewer where the encoder or the vocabulary has fewer.
    pub dimensions: usize,
    /// How the table is written.
    pub quantization: Quantization,
    /// The `a` of a / (a + p) for the frequency of a token in general.
    pub rarity: f64,
    /// The same for the frequency in the corpus, where there is one.
    pub corpus_rarity: f64,
    /// The power of a component's standard deviation that it is divided by: 0 to 1.
    pub evening: f64,
    /// Most words of the corpus that become tokens of their own.
    pub words: usize,
    /// Name of the encoder, for `config.json`.
    pub encoder_name: String,
    /// Languages of the model, for `config.json`.
    pub languages: Vec<String>,
}

impl Default for DistillOptions {
    fn default() -> Self {
        Self {
            dimensions: 256,
            quantization: Quantization::Int8,
            // Both measured on three English collections; half or twice as much changes nDCG by 0.01.
            rarity: 3e-5,
            corpus_rarity: 1e-2,
            evening: 1.0,
            words: 0,
            encoder_name: String::new(),
            languages: Vec::new(),
        }
    }
}

/// A static model, not yet on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Distilled {
    /// Path within the model, and content.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// Tokens with a vector.
    pub tokens: usize,
    /// How many of them are words of the corpus.
    pub words: usize,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Share of the variance of the encoder's vectors that is kept.
    pub variance: f64,
}

impl Distilled {
    /// Writes the files into a folder, which is made if need be. Gives their paths.
    pub fn save(&self, folder: &Path) -> Result<Vec<PathBuf>, DistillError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DistillError::Write { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let write = |(name, bytes): &(&'static str, Vec<u8>)| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(failed(&path))?;
            Ok(path)
        };
        self.files.iter().map(write).collect()
    }
}

/// Makes a static model out of an encoder and its `tokenizer.json`. `progress` is told how many of how many tokens
/// went through the encoder, and ends the work by saying false.
pub fn distill(
    encoder: &dyn TokenEncoder,
    tokenizer: &[u8],
    corpus: Option<&[String]>,
    options: &DistillOptions,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Distilled, DistillError> {
    check(options, corpus)?;
    let words = vocabulary::words_of(tokenizer, corpus.unwrap_or_default(), options.words)?;
    let vocabulary = Vocabulary::plan(tokenizer, &words)?;
    let vectors = vectors_of(encoder, &vocabulary.sequences, progress)?;
    let turned = pca::turn(&vectors, options.dimensions, options.evening)?;
    let mut weights = by_place(vectors.len(), vocabulary.added, options.rarity);
    if let Some(corpus) = corpus {
        by_corpus(&vocabulary.json, corpus, options.corpus_rarity, &mut weights)?;
    }
    if let Some(unknown) = vocabulary.unknown {
        weights[unknown as usize] = 0.0;
    }
    let weights: Vec<f32> = weights.into_iter().map(|weight| weight as f32).collect();
    let dimensions = turned.rows.first().map_or(0, Vec::len);
    let table = quantize::write(&turned.rows, &weights, options.quantization)?;
    let config = json!({
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": options.encoder_name,
        "apply_pca": dimensions,
        "sif_coefficient": options.rarity,
        "evening": options.evening,
        "corpus_sif_coefficient": corpus.map(|_| options.corpus_rarity),
        "corpus_words": vocabulary.added,
        "hidden_dim": dimensions,
        "seq_length": 1_000_000,
        "max_length": null,
        "normalize": true,
        "embedding_dtype": options.quantization.as_str(),
        "languages": options.languages,
    });
    let config = serde_json::to_string_pretty(&config)
        .map_err(|error| DistillError::Internal { problem: error.to_string() })?;
    Ok(Distilled {
        files: vec![
            ("config.json", (config + "\n").into_bytes()),
            ("model.safetensors", table),
            ("tokenizer.json", vocabulary.json),
        ],
        tokens: vectors.len(),
        words: vocabulary.added,
        dimensions,
        variance: turned.kept,
    })
}

fn check(options: &DistillOptions, corpus: Option<&[String]>) -> Result<(), DistillError> {
    let bad = |name, expected: &str, found: String| {
        Err(DistillError::Option { name, expected: expected.to_owned(), found })
    };
    if options.dimensions == 0 {
        return bad("dimensions", "at least 1", "0".to_owned());
    }
    for (name, value) in [("rarity", options.rarity), ("corpus rarity", options.corpus_rarity)] {
        if !(value > 0.0 && value <= 1.0) {
            return bad(name, "above 0 and at most 1", value.to_string());
        }
    }
    if !(0.0..=1.0).contains(&options.evening) {
        return bad("evening", "from 0 to 1", options.evening.to_string());
    }
    if options.words > 0 && corpus.is_none() {
        return bad("words", "0 without a corpus", options.words.to_string());
    }
    Ok(())
}

/// Shortest first, so that a batch has texts of one length; put back in order afterwards.
fn vectors_of(
    encoder: &dyn TokenEncoder,
    sequences: &[Vec<u32>],
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Vec<Vec<f32>>, DistillError> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|at| (sequences[*at].len(), *at));
    let mut vectors = vec![Vec::new(); sequences.len()];
    let mut done = 0;
    for turn in order.chunks(TOKENS_A_TURN) {
        if !progress(done, sequences.len()) {
            return Err(DistillError::Cancelled);
        }
        let ids: Vec<&[u32]> = turn.iter().map(|at| sequences[*at].as_slice()).collect();
        let made = encoder.encode(&ids)?;
        if made.len() != turn.len() {
            return Err(DistillError::Internal { problem: "the encoder lost a token".to_owned() });
        }
        for (at, vector) in turn.iter().zip(made) {
            vectors[*at] = vector;
        }
        done += turn.len();
    }
    progress(done, sequences.len());
    let width = vectors.first().map_or(0, Vec::len);
    if width == 0 || vectors.iter().any(|vector| vector.len() != width) {
        return Err(DistillError::Internal { problem: "the encoder's vectors differ in length".to_owned() });
    }
    Ok(vectors)
}

/// a / (a + p) with p after Zipf by place; the second place is the first that counts, as in model2vec. Words that
/// were added are as rare as the rarest token.
fn by_place(count: usize, added: usize, rarity: f64) -> Vec<f64> {
    let ranked = count - added;
    let share = |place: usize| 1.0 / (place.min(ranked.saturating_sub(1)) + 2) as f64;
    let all: f64 = (0..ranked).map(share).sum();
    (0..count).map(|place| rarity / (rarity + share(place) / all)).collect()
}

/// Lessens the weights of tokens that are frequent in the corpus, in the same way.
fn by_corpus(json: &[u8], corpus: &[String], rarity: f64, weights: &mut [f64]) -> Result<(), DistillError> {
    let tokenizer = |error: crate::StaticModelError| DistillError::Tokenizer { problem: error.to_string() };
    let cutter = Cutter::parse(json).map_err(tokenizer)?;
    let mut counts = vec![0_u64; weights.len()];
    let mut ids = Vec::new();
    for text in corpus {
        cutter.ids(text, None, &mut ids).map_err(tokenizer)?;
        for id in &ids {
            counts[*id as usize] += 1;
        }
    }
    let all = counts.iter().sum::<u64>().max(1) as f64;
    for (weight, count) in weights.iter_mut().zip(counts) {
        *weight *= rarity / (rarity + count as f64 / all);
    }
    Ok(())
}
