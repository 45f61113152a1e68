//! Qwen 3 as a reranker: it is asked whether a passage meets a query's needs, and the score is how much likelier
//! `yes` is than `no` as its next word.

use std::path::Path;

use serde_json::Value;

use super::RerankerOptions;
use crate::InferenceError;
use crate::encoder::EncoderTokenizer;
use crate::encoder::files::{Settings, inside};
use crate::encoder::ops::look_up;
use crate::encoder::tokens::Encoded;
use crate::encoder::transformer::Transformer;
use crate::encoder::weights::Weights;

/// What its authors ask where nothing else is said.
pub const DEFAULT_INSTRUCTION: &str =
    "Given a web search query, retrieve relevant passages that answer the query";
/// The length its authors score with.
pub(super) const MAX_TOKENS: usize = 8192;

/// The authors' words around every question.
const BEFORE: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and \
                      the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n\
                      <|im_start|>user\n";
const BEHIND: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

/// The question and how its answer is read.
pub(super) struct Question {
    instruction: String,
    before: Vec<u32>,
    behind: Vec<u32>,
    /// The output row of `yes` less that of `no`.
    direction: Vec<f32>,
}

impl Question {
    pub(super) fn load(
        folder: &Path,
        config: &Settings,
        weights: &Weights,
        tokenizer: &EncoderTokenizer,
        transformer: &Transformer,
        options: &RerankerOptions,
    ) -> Result<Self, InferenceError> {
        let (yes, no) = answer_ids(folder, tokenizer)?;
        let vocabulary = transformer.vocabulary_len();
        for id in [yes, no] {
            if id as usize >= vocabulary {
                return Err(InferenceError::Tokenizer {
                    problem: format!(
                        "gives an answer the id {id}, but the embedding has only {vocabulary} rows"
                    ),
                });
            }
        }
        let is_tied =
            config.flag(&["tie_word_embeddings"])?.unwrap_or(true) || !weights.has("lm_head.weight");
        let direction: Vec<f32> = if is_tied {
            let rows = look_up(&transformer.embeddings.words, &[yes, no])?.to_vec2::<f32>()?;
            rows[0].iter().zip(&rows[1]).map(|(yes, no)| yes - no).collect()
        } else {
            let width = transformer.hidden;
            let output = weights.floats("lm_head.weight", &[vocabulary, width])?;
            let row = |id: u32| &output[id as usize * width..][..width];
            row(yes).iter().zip(row(no)).map(|(yes, no)| yes - no).collect()
        };
        Ok(Self {
            instruction: options.instruction.clone().unwrap_or_else(|| DEFAULT_INSTRUCTION.to_owned()),
            before: tokenizer.bare_ids(BEFORE)?,
            behind: tokenizer.bare_ids(BEHIND)?,
            direction,
        })
    }

    /// The question about a passage. Only what stands between the fixed words is cut.
    pub(super) fn encode(
        &self,
        tokenizer: &EncoderTokenizer,
        query: &str,
        passage: &str,
        max_tokens: usize,
    ) -> Result<Encoded, InferenceError> {
        let room = max_tokens.saturating_sub(self.before.len() + self.behind.len());
        let text = format!("<Instruct>: {}\n<Query>: {query}\n<Document>: {passage}", self.instruction);
        let mut middle = tokenizer.bare_ids(&text)?;
        middle.truncate(room);
        let ids = [self.before.as_slice(), &middle, &self.behind].concat();
        Ok(Encoded { ids, types: Vec::new() })
    }

    /// The log-odds of `yes`.
    pub(super) fn score(&self, hidden: &[f32], width: usize) -> f32 {
        hidden[hidden.len() - width..].iter().zip(&self.direction).map(|(x, y)| x * y).sum()
    }
}

/// The ids of `yes` and `no`: from the file of the scoring module where there is one, else the tokenizer's.
fn answer_ids(folder: &Path, tokenizer: &EncoderTokenizer) -> Result<(u32, u32), InferenceError> {
    if let Some(modules) = Settings::read_if_there(&folder.join("modules.json"))? {
        let scoring = modules.value().as_array().into_iter().flatten().find(|module| {
            module.get("type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with(".LogitScore"))
        });
        if let Some(path) = scoring.and_then(|module| module.get("path")).and_then(Value::as_str) {
            let settings = Settings::read(&inside(folder, modules.path(), path)?.join("config.json"))?;
            let id = |key: &str| settings.need_size(&[key], 0..=u32::MAX as usize).map(|id| id as u32);
            return Ok((id("true_token_id")?, id("false_token_id")?));
        }
    }
    let id = |word: &str| {
        tokenizer.inner().token_to_id(word).ok_or_else(|| InferenceError::Tokenizer {
            problem: format!("has no token `{word}`, so its answers cannot be read"),
        })
    };
    Ok((id("yes")?, id("no")?))
}
