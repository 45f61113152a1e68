//! Rerankers: models that read a query and a passage together and say how well they fit.
//!
//! The body is an encoder's ([`crate::encoder`]); [`head`] turns its hidden states into a score. Qwen 3 is asked in
//! words instead and scored by what it would answer ([`question`]).

mod head;
mod question;

use std::path::Path;
use std::sync::Arc;

use flowbench_core::ports::Tokens;
use rayon::prelude::*;

use crate::InferenceError;
use crate::encoder::files::{Settings, bad_file};
use crate::encoder::ops::Activation;
use crate::encoder::recipe::{activation_of_class, file_max_tokens};
use crate::encoder::tokens::Encoded;
use crate::encoder::weights::{Weights, weight_files};
use crate::encoder::{Body, EncoderTokenizer, digest_of, families};
use crate::model::DeviceKind;
use head::Head;
use question::Question;

pub use question::DEFAULT_INSTRUCTION;

/// What `model_type` may be.
pub const FAMILIES: &[&str] =
    &["bert", "roberta", "xlm-roberta", "camembert", "mpnet", "modernbert", "qwen3"];

/// What is known of a reranker beyond its files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RerankerOptions {
    /// Tokens of query and passage together, special ones included; never more than there are positions for.
    pub max_tokens: Option<usize>,
    /// What a passage is to be judged by, for models that are told; without it [`DEFAULT_INSTRUCTION`].
    pub instruction: Option<String>,
    /// Where it computes.
    pub device: DeviceKind,
}

/// A reranker in memory. Clones share it, and several threads may use it.
#[derive(Clone)]
pub struct CrossEncoder {
    inner: Arc<Inner>,
}

struct Inner {
    body: Body,
    form: Form,
    activation: Activation,
    digest: String,
}

/// How query and passage are put to the model.
enum Form {
    /// As a pair, scored by a layer of its own.
    Pair(Head),
    /// As a question, answered yes or no.
    Question(Question),
}

impl CrossEncoder {
    /// Loads a model's folder. Blocks until it is ready, so async callers give it a thread of its own.
    pub fn load(folder: &Path, options: RerankerOptions) -> Result<Self, InferenceError> {
        let device = options.device.open()?;
        let config = Settings::read(&folder.join("config.json"))?;
        let family = config.text(&["model_type"])?.ok_or_else(|| config.missing("model_type"))?.to_owned();
        if !FAMILIES.contains(&family.as_str()) {
            return Err(InferenceError::UnsupportedEncoder { path: config.path().to_owned(), found: family });
        }
        let mut weights = Weights::open(folder)?;
        let mut tokenizer = EncoderTokenizer::load(folder)?;
        let read = |name: &str| Settings::read_if_there(&folder.join(name));
        let bert = read("sentence_bert_config.json")?;
        let tokenizer_config = read("tokenizer_config.json")?;
        let sentence = read("config_sentence_transformers.json")?;

        let file_max = file_max_tokens(bert.as_ref(), tokenizer_config.as_ref())?;
        let default_max = if family == "qwen3" { Some(question::MAX_TOKENS) } else { None };
        let wanted = match (options.max_tokens, file_max, default_max) {
            (Some(asked), _, _) => Some(asked),
            // The tokenizer of Qwen 3 allows 131,072; its authors score with 8,192.
            (None, Some(file), Some(limit)) => Some(file.min(limit)),
            (None, file, default) => file.or(default),
        };
        let transformer = families::load(&config, &mut weights, wanted, &device)?;
        tokenizer.obey(tokenizer_config.as_ref(), bert.as_ref())?;
        let max_tokens = wanted.unwrap_or(usize::MAX).min(transformer.max_positions);
        let hidden = transformer.hidden;
        weights.without_prefix();
        let form = if family == "qwen3" {
            Form::Question(Question::load(folder, &config, &weights, &tokenizer, &transformer, &options)?)
        } else {
            Form::Pair(Head::load(&family, &config, &mut weights, hidden)?)
        };
        let activation = score_activation(&config, sentence.as_ref())?;

        let mut files = weight_files(folder)?;
        let path = files.first().cloned().unwrap_or_default();
        files.extend([config.path().to_owned(), folder.join("tokenizer.json")]);
        files.extend([bert, tokenizer_config, sentence].iter().flatten().map(|file| file.path().to_owned()));
        let said = format!("{max_tokens} {:?}", options.instruction);
        let digest = digest_of(folder, files, &said)?;
        let body = Body { transformer, tokenizer, max_tokens, path };
        tracing::debug!(folder = %folder.display(), max_tokens, "reranker loaded");
        Ok(Self { inner: Arc::new(Inner { body, form, activation, digest }) })
    }

    /// One score a passage, in order; higher is better. Blocks.
    pub fn score(&self, query: &str, passages: &[String]) -> Result<Vec<f32>, InferenceError> {
        Ok(self.score_while_wanted(query, passages, &|| false)?.unwrap_or_default())
    }

    /// The same, given up between two waves of batches once `is_unwanted` says so; then there is no answer.
    pub(crate) fn score_while_wanted(
        &self,
        query: &str,
        passages: &[String],
        is_unwanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<f32>>, InferenceError> {
        let Inner { body, form, activation, .. } = &*self.inner;
        let encoded: Vec<Encoded> = passages
            .par_iter()
            .map(|passage| match form {
                Form::Pair(_) => body.tokenizer.encode_pair(query, passage, body.max_tokens),
                Form::Question(question) => question.encode(&body.tokenizer, query, passage, body.max_tokens),
            })
            .collect::<Result<_, _>>()?;
        let width = body.transformer.hidden;
        let read = |_: usize, hidden: &[f32]| match form {
            Form::Pair(head) => head.score(hidden, width),
            Form::Question(question) => question.score(hidden, width),
        };
        let Some(mut scores) = body.run(&encoded, read, is_unwanted)? else { return Ok(None) };
        activation.apply(&mut scores);
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(bad_file(&body.path, "gives scores that are not numbers; the model is broken"));
        }
        Ok(Some(scores))
    }

    /// Ids of a query and a passage as the model is given them.
    pub fn ids(&self, query: &str, passage: &str) -> Result<Vec<u32>, InferenceError> {
        let Inner { body, form, .. } = &*self.inner;
        let encoded = match form {
            Form::Pair(_) => body.tokenizer.encode_pair(query, passage, body.max_tokens)?,
            Form::Question(question) => question.encode(&body.tokenizer, query, passage, body.max_tokens)?,
        };
        Ok(encoded.ids)
    }

    /// Tokens of query and passage together.
    pub fn max_tokens(&self) -> usize {
        self.inner.body.max_tokens
    }

    /// Digest of the files and options that decide a score.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Its tokenizer, for those who cut texts.
    pub fn tokens(&self) -> Arc<dyn Tokens> {
        Arc::new(self.inner.body.tokenizer.clone())
    }
}

/// What a score goes through: as the files say, in any of the places where sentence-transformers has kept it; else
/// the logistic function, as there.
fn score_activation(config: &Settings, sentence: Option<&Settings>) -> Result<Activation, InferenceError> {
    let nested = config.inner("sentence_transformers");
    let places = [
        (nested.as_ref(), "activation_fn"),
        (Some(config), "sbert_ce_default_activation_function"),
        (sentence, "activation_fn"),
    ];
    for (settings, key) in places {
        let Some(settings) = settings else { continue };
        if let Some(name) = settings.text(&[key])? {
            return activation_of_class(name)
                .ok_or_else(|| settings.bad(key, &format!("is `{name}`, which is not known")));
        }
    }
    Ok(Activation::Sigmoid)
}
