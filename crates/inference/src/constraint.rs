//! Replies that must be JSON: a mask over the vocabulary lets only tokens through that keep the text on a path to
//! a valid value.
//!
//! The grammar work is `llguidance`'s. White space is fixed (`{"a": 1, "b": [2, 3]}`), which keeps small models
//! from looping in blanks. A keyword that cannot be enforced is an error before the first token, not a surprise
//! after the last.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use crate::InferenceError;
use crate::tokenizer::{TokenType, Tokenizer};

/// Makes constraints for one model's vocabulary.
pub struct Constraints {
    factory: ParserFactory,
}

impl Constraints {
    /// Prepares the vocabulary; takes a moment for large ones, so once a model.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, InferenceError> {
        let vocabulary = tokenizer.vocabulary();
        let words: Vec<Vec<u8>> = (0..vocabulary.len() as u32)
            .map(|id| match vocabulary.kind(id) {
                Some(TokenType::Control | TokenType::Unknown | TokenType::Unused) => {
                    let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
                    word.extend(vocabulary.text(id).bytes());
                    word
                }
                _ => tokenizer.token_bytes(id, false),
            })
            .collect();
        let mut ends: Vec<u32> = vocabulary.ends().collect();
        ends.sort_unstable();
        let Some(&end) = ends.first() else {
            return Err(InferenceError::UnsupportedFeature {
                what: "a constrained reply without a token that ends it".to_owned(),
            });
        };
        let about = TokRxInfo::new(vocabulary.len() as u32, end);
        let trie = TokTrie::from(&about, &words).with_eos_tokens(&ends);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new(
            &environment,
            InferenceCapabilities::default(),
            &llguidance::earley::SlicedBiasComputer::json_slices(),
        )
        .map_err(|error| schema_error(&error))?;
        factory.quiet();
        Ok(Self { factory })
    }

    /// A constraint to JSON after a schema.
    pub fn json_schema(&self, schema: &Value) -> Result<Constraint, InferenceError> {
        let mut schema = match schema {
            Value::Object(entries) => entries.clone(),
            Value::Bool(true) => serde_json::Map::new(),
            _ => {
                return Err(InferenceError::Schema { problem: "it is not an object".to_owned() });
            }
        };
        schema.insert(
            "x-guidance".to_owned(),
            json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " }),
        );
        let grammar = TopLevelGrammar::from_json_schema(Value::Object(schema));
        let parser = self.factory.create_parser(grammar).map_err(|error| schema_error(&error))?;
        Ok(Constraint { matcher: Matcher::new(Ok(parser)) })
    }

    /// A constraint to any JSON object.
    pub fn json_object(&self) -> Result<Constraint, InferenceError> {
        self.json_schema(&json!({ "type": "object" }))
    }
}

/// Follows one reply.
pub struct Constraint {
    matcher: Matcher,
}

impl Constraint {
    /// Which tokens may come next.
    pub fn allowed(&mut self) -> Result<SimpleVob, InferenceError> {
        self.matcher.compute_mask_or_eos().map_err(|error| schema_error(&error))
    }

    /// Takes note of the token that was chosen; true if the value is complete and nothing can follow.
    pub fn accept(&mut self, id: u32) -> Result<bool, InferenceError> {
        self.matcher.consume_token(id).map_err(|error| schema_error(&error))?;
        Ok(self.matcher.is_stopped())
    }
}

/// The library's messages span lines and name its internals after the first.
fn schema_error(error: &impl ToString) -> InferenceError {
    let text = error.to_string();
    let problem = text.lines().next().unwrap_or_default().trim().trim_end_matches('.').to_owned();
    InferenceError::Schema { problem }
}
