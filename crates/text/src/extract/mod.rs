//! Takes a value out of text, in one of three ways: JSON that fits a schema, a regular expression, or a JSON path.
//!
//! A node's inputs become an [`ExtractConfig`] once, which finds all mistakes of the flow's author; then
//! [`extract`] answers for each text, with errors worded so that a model can repair what it wrote
//! ([`ExtractError::repair_message`]). Asking the model is not done here.

mod error;
mod find;
mod inputs;
mod pattern;
mod schema;
mod tolerant;

pub use error::{ExtractError, SchemaError, SchemaProblem};
pub use inputs::{ExtractConfig, INPUT_NAMES};
pub use schema::check_schema;

use inputs::Method;
pub(crate) use inputs::last_line;
use serde_json::Value;
use serde_json_path::JsonPath;

/// Extracts from a text, or from a value that is structured already.
///
/// Fails when nothing is found (unless `optional`), when what is found does not fit the schema, or when a path
/// matches several values although one was asked for. Time grows with the length of the text, not faster.
pub fn extract(config: &ExtractConfig, value: &Value) -> Result<Value, ExtractError> {
    match &config.method {
        Method::Schema(schema) => match value {
            Value::String(text) => {
                match find::find_fitting(text, config.tolerant, |found| schema.check(found)) {
                    Err(ExtractError::NoJson { .. }) if config.optional => Ok(Value::Null),
                    found => found,
                }
            }
            structured => match schema.check(structured) {
                Ok(()) => Ok(structured.clone()),
                Err(error) => Err(ExtractError::Schema(error)),
            },
        },
        Method::Pattern(regex) => match value {
            Value::String(text) => pattern::extract_by_pattern(config, regex, text),
            structured => pattern::extract_by_pattern(config, regex, &structured.to_string()),
        },
        Method::Path(path, written) => match value {
            Value::String(text) => match find::find_fitting(text, config.tolerant, |_| Ok(())) {
                Ok(found) => extract_by_path(config, path, written, &found),
                Err(ExtractError::NoJson { .. }) if config.optional => Ok(config.nothing()),
                Err(error) => Err(error),
            },
            structured => extract_by_path(config, path, written, structured),
        },
    }
}

fn extract_by_path(
    config: &ExtractConfig,
    path: &JsonPath,
    written: &str,
    value: &Value,
) -> Result<Value, ExtractError> {
    let mut found = path.query(value).all();
    match (found.len(), config.all) {
        (0, _) if config.optional => Ok(config.nothing()),
        (0, _) => Err(ExtractError::PathFoundNothing { path: written.to_owned() }),
        (_, true) => Ok(found.into_iter().cloned().collect()),
        (1, false) => Ok(found.remove(0).clone()),
        (count, false) => Err(ExtractError::PathFoundSeveral { path: written.to_owned(), count }),
    }
}

#[cfg(test)]
mod tests;
