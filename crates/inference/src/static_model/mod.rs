//! Static embedding models in model2vec's layout: a table with one vector a token, and nothing to compute but means.
//!
//! A text is cut ([`Cutter`]) without special tokens, unknown ones are left out, and the vectors of the others, each
//! times its weight, are averaged and brought to length one where the model says so. A text without a known token
//! gives a vector of zeros: callers must not index it, and as a query it finds nothing.
//!
//! The table stays as it lies in the file where it is `int8`; a model that is part of the program is never copied.

mod cutter;
mod embedder;
mod error;
mod files;
mod table;
mod word_piece;

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

pub use cutter::Cutter;
pub use embedder::StaticEmbedder;
pub use error::StaticModelError;
pub use files::FileSet;
use table::Table;

/// Tokens that count where the model does not say: model2vec's own.
const MAX_LENGTH: usize = 512;

/// Texts that a thread takes at a time: enough to forget the lock, few enough to end together.
const TEXTS_A_TURN: usize = 32;

/// Bytes of text below which more threads cost more than they bring: about a millisecond's work.
const BYTES_WORTH_THREADS: usize = 64 << 10;

/// Where the three files lie: model2vec's own layout, and both of sentence-transformers.
const LAYOUTS: [[&str; 3]; 3] = [
    ["model.safetensors", "tokenizer.json", "config.json"],
    ["model.safetensors", "tokenizer.json", "config_sentence_transformers.json"],
    [
        "0_StaticEmbedding/model.safetensors",
        "0_StaticEmbedding/tokenizer.json",
        "config_sentence_transformers.json",
    ],
];

/// A loaded static model. Cheap to share, never changed.
pub struct StaticModel {
    table: Table,
    cutter: Arc<Cutter>,
    normalizes: bool,
    max_length: Option<usize>,
    languages: Vec<String>,
    digest: String,
}

/// What is read of `config.json`; the rest tells how the model was made.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    normalize: Option<bool>,
    /// Absent means model2vec's own, null means no limit.
    #[serde(default, deserialize_with = "told")]
    max_length: Option<Option<usize>>,
    /// Ours: the languages, where whoever made the model wrote them down.
    #[serde(default)]
    languages: Vec<String>,
}

/// Tells a null from a missing key.
fn told<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl StaticModel {
    /// Loads a model's folder.
    pub fn load(folder: &Path) -> Result<Self, StaticModelError> {
        let mut paths = LAYOUTS.concat();
        paths.sort_unstable();
        paths.dedup();
        Self::from_files(FileSet::read(folder, &paths)?)
    }

    /// True for the paths of files that [`from_files`](Self::from_files) looks at.
    pub fn needs(path: &str) -> bool {
        LAYOUTS.iter().flatten().any(|known| *known == path)
    }

    /// Loads a model from its files in memory.
    pub fn from_files(mut files: FileSet) -> Result<Self, StaticModelError> {
        let is_whole = |layout: &&[&str; 3]| layout.iter().all(|path| files.get(path).is_some());
        let Some([weights, tokenizer, config]) = LAYOUTS.iter().find(is_whole).copied() else {
            let missing = LAYOUTS[0].iter().find(|path| files.get(path).is_none());
            let name = (*missing.unwrap_or(&LAYOUTS[0][0])).to_owned();
            return Err(StaticModelError::MissingFile { name });
        };
        let mut take = |path: &str| files.take(path).unwrap_or(Cow::Borrowed(&[]));
        let (weights_bytes, tokenizer_bytes, config_bytes) = (take(weights), take(tokenizer), take(config));
        let mut hasher = blake3::Hasher::new();
        for bytes in [&weights_bytes, &tokenizer_bytes, &config_bytes] {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
        let told: Config = serde_json::from_slice(&config_bytes).map_err(|error| {
            StaticModelError::BadConfig { file: config.to_owned(), problem: error.to_string() }
        })?;
        let cutter = Arc::new(Cutter::parse(&tokenizer_bytes)?);
        let table = Table::parse(weights_bytes, weights)?;
        table.check_covers(cutter.token_count(), weights)?;
        Ok(Self {
            table,
            cutter,
            normalizes: told.normalize.unwrap_or(false),
            max_length: told.max_length.unwrap_or(Some(MAX_LENGTH)),
            languages: told.languages,
            digest: hasher.finalize().to_hex().to_string(),
        })
    }

    /// Numbers in a vector.
    pub fn dimensions(&self) -> usize {
        self.table.dimensions()
    }

    /// Tokens of a text that count; absent if all do.
    pub fn max_tokens(&self) -> Option<usize> {
        self.max_length
    }

    /// Languages, where the model's own settings say them.
    pub fn languages(&self) -> &[String] {
        &self.languages
    }

    /// Digest of weights, tokenizer and settings; the same wherever they came from.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its tokenizer.
    pub fn cutter(&self) -> &Arc<Cutter> {
        &self.cutter
    }

    /// One vector; of zeros if no token of the text is known.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, StaticModelError> {
        self.embed_one(text, self.dimensions(), &mut Vec::new())
    }

    /// One vector a text, in order, on all cores where that is worth it. `dimensions` keeps that many of the first
    /// numbers, which are those that tell most in a model made with PCA.
    pub fn embed_all<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        dimensions: Option<usize>,
    ) -> Result<Vec<Vec<f32>>, StaticModelError> {
        self.embed_until(texts, dimensions, &AtomicBool::new(false))
    }

    /// As [`embed_all`](Self::embed_all), but ends early, with vectors missing, once `is_cancelled`.
    pub(crate) fn embed_until<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        dimensions: Option<usize>,
        is_cancelled: &AtomicBool,
    ) -> Result<Vec<Vec<f32>>, StaticModelError> {
        let most = self.dimensions();
        let dimensions = dimensions.unwrap_or(most);
        if dimensions == 0 || dimensions > most {
            return Err(StaticModelError::Dimensions { asked: dimensions, most });
        }
        let mut vectors = vec![Vec::new(); texts.len()];
        let turns = Mutex::new(texts.chunks(TEXTS_A_TURN).zip(vectors.chunks_mut(TEXTS_A_TURN)));
        let failure = Mutex::new(None);
        let work = || {
            let mut ids = Vec::new();
            while !is_cancelled.load(Ordering::Relaxed) {
                let turn = turns.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((texts, vectors)) = turn else { return };
                for (text, vector) in texts.iter().zip(vectors) {
                    match self.embed_one(text.as_ref(), dimensions, &mut ids) {
                        Ok(made) => *vector = made,
                        Err(error) => {
                            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            return;
                        }
                    }
                }
            }
        };
        match threads_for(texts) {
            0 | 1 => work(),
            threads => std::thread::scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(work);
                }
                work();
            }),
        }
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(vectors),
        }
    }

    fn embed_one(
        &self,
        text: &str,
        dimensions: usize,
        ids: &mut Vec<u32>,
    ) -> Result<Vec<f32>, StaticModelError> {
        self.cutter.ids(text, self.max_length, ids)?;
        let mut vector = vec![0.0_f32; dimensions];
        // A text says "the" and "." often: each row is read once, which halves the work.
        ids.sort_unstable();
        for same in ids.chunk_by(|a, b| a == b) {
            self.table.add(same[0], same.len() as f32, &mut vector);
        }
        let count = ids.len().max(1) as f32;
        vector.iter_mut().for_each(|value| *value /= count);
        if self.normalizes {
            // In 64 bits, so that the sum's order is not seen in the result.
            let squares: f64 = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
            if squares > 0.0 {
                let scale = 1.0 / squares.sqrt();
                vector.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
            }
        }
        Ok(vector)
    }
}

fn threads_for<T: AsRef<str>>(texts: &[T]) -> usize {
    let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
    if bytes < BYTES_WORTH_THREADS {
        return 1;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(texts.len().div_ceil(TEXTS_A_TURN))
}
