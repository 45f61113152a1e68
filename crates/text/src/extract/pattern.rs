//! Extraction by regular expression, with the linear-time engine.

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use super::error::ExtractError;
use super::inputs::ExtractConfig;

pub(super) fn extract_by_pattern(
    config: &ExtractConfig,
    regex: &Regex,
    text: &str,
) -> Result<Value, ExtractError> {
    if config.all {
        let found: Vec<Value> =
            regex.captures_iter(text).map(|captures| value_of(regex, &captures)).collect();
        if !found.is_empty() || config.optional {
            return Ok(Value::Array(found));
        }
    } else {
        match regex.captures(text) {
            Some(captures) => return Ok(value_of(regex, &captures)),
            None if config.optional => return Ok(Value::Null),
            None => {}
        }
    }
    Err(ExtractError::PatternFoundNothing { pattern: regex.as_str().to_owned() })
}

/// Named groups make a map, one unnamed group its text, several a list, and none the whole match. A group that took
/// no part is null.
fn value_of(regex: &Regex, captures: &Captures<'_>) -> Value {
    let text_of = |group: usize| captures.get(group).map_or(Value::Null, |found| found.as_str().into());
    let named: Map<String, Value> = regex
        .capture_names()
        .enumerate()
        .filter_map(|(group, name)| name.map(|name| (name.to_owned(), text_of(group))))
        .collect();
    if !named.is_empty() {
        return Value::Object(named);
    }
    match captures.len() {
        1 => text_of(0),
        2 => text_of(1),
        groups => (1..groups).map(text_of).collect(),
    }
}
