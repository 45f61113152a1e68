//! An extract node's inputs, read once.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use serde_json_path::JsonPath;

use super::error::ExtractError;
use super::schema::Schema;

/// Inputs of an extract node, `text` first.
pub const INPUT_NAMES: [&str; 7] = ["text", "schema", "pattern", "path", "all", "optional", "tolerant"];

/// Compiled form of a pattern, in bytes; far above what a person writes and below what hurts.
const PATTERN_BYTES: usize = 4 << 20;

/// How a node extracts.
#[derive(Debug)]
pub struct ExtractConfig {
    pub(super) method: Method,
    pub(super) all: bool,
    pub(super) optional: bool,
    pub(super) tolerant: bool,
}

#[derive(Debug)]
pub(super) enum Method {
    Schema(Box<Schema>),
    Pattern(Regex),
    /// The path and how it was written, which it does not keep.
    Path(JsonPath, String),
}

impl ExtractConfig {
    /// Reads the node's inputs: exactly one of `schema` (a JSON Schema, or its JSON text), `pattern` and `path`;
    /// `all`, `optional` and `tolerant` as truth values. Other inputs, `text` among them, are not looked at.
    ///
    /// Fails when a method is missing, given twice or cannot be compiled, and when an input has the wrong type.
    pub fn from_inputs(inputs: &Map<String, Value>) -> Result<Self, ExtractError> {
        let given =
            |name: &'static str| inputs.get(name).filter(|value| !value.is_null()).map(|value| (name, value));
        let mut methods = ["schema", "pattern", "path"].into_iter().filter_map(given);
        let (name, value) = methods.next().ok_or(ExtractError::NoMethod)?;
        if let Some((second, _)) = methods.next() {
            return Err(ExtractError::SeveralMethods { first: name, second });
        }
        let method = match name {
            "schema" => Method::Schema(Box::new(Schema::compile(&read_schema(value)?)?)),
            "pattern" => Method::Pattern(read_pattern(value)?),
            _ => read_path(value)?,
        };
        let flag = |name: &'static str| match inputs.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(ExtractError::Input { name, expected: "true or false" }),
        };
        Ok(Self { method, all: flag("all")?, optional: flag("optional")?, tolerant: flag("tolerant")? })
    }

    /// What `optional` gives where nothing is found.
    pub(super) fn nothing(&self) -> Value {
        if self.all { Value::Array(Vec::new()) } else { Value::Null }
    }
}

fn read_schema(value: &Value) -> Result<Value, ExtractError> {
    let expected = ExtractError::Input { name: "schema", expected: "a JSON Schema: a map, or its JSON text" };
    match value {
        Value::Object(_) | Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(schema),
            _ => Err(expected),
        },
        _ => Err(expected),
    }
}

fn read_pattern(value: &Value) -> Result<Regex, ExtractError> {
    let Value::String(pattern) = value else {
        return Err(ExtractError::Input { name: "pattern", expected: "a regular expression as text" });
    };
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| ExtractError::Pattern { pattern: pattern.clone(), reason: last_line(&error) })
}

/// The regex crate draws its messages over several lines and says what is wrong in the last.
pub(crate) fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).trim_end_matches('.').to_owned()
}

fn read_path(value: &Value) -> Result<Method, ExtractError> {
    let Value::String(path) = value else {
        return Err(ExtractError::Input { name: "path", expected: "a JSON path as text" });
    };
    match JsonPath::parse(path) {
        Ok(parsed) => Ok(Method::Path(parsed, path.clone())),
        Err(error) => Err(ExtractError::Path {
            path: path.clone(),
            reason: error.message().to_owned(),
            position: error.position() + 1,
        }),
    }
}
