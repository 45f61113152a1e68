//! JSON Schema, without any fetching: a reference outside the schema makes it invalid.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::error::{MOST_PROBLEMS, SchemaError, SchemaProblem};

/// Steps that one `pattern` of a schema may go back; a hundredth of a second's work. Schemas use lookaheads, so
/// that the linear engine alone would refuse honest ones.
const BACKTRACK_LIMIT: usize = 200_000;

/// Compiled form of one `pattern`; far above what a person writes.
const PATTERN_BYTES: usize = 1 << 20;

/// A longer message quotes a whole value; the start tells which.
const LONGEST_MESSAGE: usize = 300;

/// Disagreements counted at all, so that a million wrong items cost no million messages.
const MOST_COUNTED: usize = 1000;

/// A schema ready for use.
#[derive(Debug)]
pub(super) struct Schema(Validator);

impl Schema {
    pub(super) fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let patterns =
            PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT).size_limit(PATTERN_BYTES);
        jsonschema::options().offline().with_pattern_options(patterns).build(schema).map(Self).map_err(
            |error| SchemaError::Invalid {
                pointer: error.instance_path().as_str().to_owned(),
                reason: shortened(&error.to_string()),
            },
        )
    }

    pub(super) fn check(&self, value: &Value) -> Result<(), SchemaError> {
        if self.0.is_valid(value) {
            return Ok(());
        }
        let mut problems = Vec::new();
        let mut more = 0;
        for error in self.0.iter_errors(value).take(MOST_COUNTED) {
            if problems.len() < MOST_PROBLEMS {
                problems.push(problem(&error));
            } else {
                more += 1;
            }
        }
        Err(SchemaError::Mismatch { problems, more })
    }
}

/// Checks a value against a JSON Schema. Fails also when the schema itself is invalid.
pub fn check_schema(value: &Value, schema: &Value) -> Result<(), SchemaError> {
    Schema::compile(schema)?.check(value)
}

fn problem(error: &ValidationError<'_>) -> SchemaProblem {
    SchemaProblem {
        pointer: error.instance_path().as_str().to_owned(),
        message: shortened(&error.to_string()),
    }
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
