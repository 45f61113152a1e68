//! What a `.prompty` file makes of a model's answer.

use flowbench_core::{Map, Value};
use thiserror::Error;

/// An answer without what the file's `outputs` promise.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutputError {
    /// The answer is no JSON object.
    #[error("the answer is no JSON object: {reason}")]
    NoObject {
        /// Why.
        reason: String,
    },
    /// A key is missing.
    #[error("the answer has no key `{key}`, only {}", listed(.found))]
    MissingKey {
        /// The key.
        key: String,
        /// Keys that are there.
        found: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "an empty object".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The answer of a prompty with `response_format: json_object`: the whole object, or just the `outputs` where
/// there are any, in their order.
pub fn select_outputs(answer: &str, outputs: &[String]) -> Result<Value, OutputError> {
    let parsed: Value =
        serde_json::from_str(answer).map_err(|error| OutputError::NoObject { reason: error.to_string() })?;
    let Value::Object(map) = parsed else {
        return Err(OutputError::NoObject { reason: "it is another kind of value".to_owned() });
    };
    if outputs.is_empty() {
        return Ok(Value::Object(map));
    }
    let mut selected = Map::new();
    for key in outputs {
        match map.get(key) {
            Some(value) => selected.insert(key.clone(), value.clone()),
            None => {
                return Err(OutputError::MissingKey {
                    key: key.clone(),
                    found: map.keys().cloned().collect(),
                });
            }
        };
    }
    Ok(Value::Object(selected))
}
