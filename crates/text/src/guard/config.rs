//! A guard node's inputs, read once.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use thiserror::Error;

use super::numbers::personal_kinds;
use super::rules::{Rule, read_rules};
use super::{Action, Direction};

/// Inputs of a guard node, `text` first.
pub const INPUT_NAMES: [&str; 7] =
    ["text", "direction", "injection", "personal_data", "secrets", "kinds", "rules"];

/// What to look for and what to do about it.
#[derive(Debug)]
pub struct GuardConfig {
    pub(super) direction: Direction,
    pub(super) injection: Option<Action>,
    pub(super) personal_data: Option<Action>,
    pub(super) secrets: Option<Action>,
    /// Kinds of personal data to look for.
    pub(super) kinds: BTreeSet<&'static str>,
    pub(super) rules: Vec<Rule>,
}

/// A guard node's inputs that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GuardError {
    /// An input of the wrong type.
    #[error("input `{name}` must be {expected}")]
    Input {
        /// Its name.
        name: &'static str,
        /// What is expected, as words.
        expected: &'static str,
    },
    /// A word that is not among the known ones.
    #[error("input `{name}`: `{word}` is not one of {}", known.join(", "))]
    Word {
        /// Name of the input.
        name: &'static str,
        /// As written.
        word: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A rule that cannot be used.
    #[error("rule `{rule}`: {reason}")]
    Rule {
        /// Its name, or its position from 1.
        rule: String,
        /// Why.
        reason: String,
    },
    /// More rules than fit.
    #[error("{count} rules are too many; {most} may be given")]
    TooManyRules {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
}

impl Default for GuardConfig {
    /// Blocks injections and redacts personal data of all kinds and secrets.
    fn default() -> Self {
        Self {
            direction: Direction::Input,
            injection: Some(Action::Block),
            personal_data: Some(Action::Redact),
            secrets: Some(Action::Redact),
            kinds: personal_kinds().collect(),
            rules: Vec::new(),
        }
    }
}

impl GuardConfig {
    /// Reads the node's inputs `direction`, `injection`, `personal_data`, `secrets`, `kinds` and `rules`, each of them
    /// optional. Other inputs, `text` among them, are not looked at.
    ///
    /// Fails at an unknown word, an input of the wrong type and a rule that cannot be compiled.
    pub fn from_inputs(inputs: &Map<String, Value>) -> Result<Self, GuardError> {
        let given = |name: &str| inputs.get(name).filter(|value| !value.is_null());
        let mut config = Self::default();
        if let Some(value) = given("direction") {
            let word = value.as_str().ok_or(GuardError::Input { name: "direction", expected: "a word" })?;
            config.direction = Direction::parse(word).ok_or_else(|| GuardError::Word {
                name: "direction",
                word: word.to_owned(),
                known: Direction::WORDS.to_vec(),
            })?;
        }
        if let Some(value) = given("injection") {
            config.injection = read_action("injection", value, &["off", "allow", "block"], Action::Block)?;
        }
        for (name, action) in [("personal_data", &mut config.personal_data), ("secrets", &mut config.secrets)]
        {
            if let Some(value) = given(name) {
                *action = read_action(name, value, &["off", "annotate", "redact", "block"], Action::Redact)?;
            }
        }
        if let Some(value) = given("kinds") {
            config.kinds = read_kinds(value)?;
        }
        if let Some(value) = given("rules") {
            config.rules = read_rules(value)?;
        }
        Ok(config)
    }
}

/// YAML reads a bare `off` as false and `on` as true.
fn read_action(
    name: &'static str,
    value: &Value,
    known: &[&'static str],
    usual: Action,
) -> Result<Option<Action>, GuardError> {
    let unknown = |word: &str| GuardError::Word { name, word: word.to_owned(), known: known.to_vec() };
    match value {
        Value::Bool(false) => Ok(None),
        Value::Bool(true) => Ok(Some(usual)),
        Value::String(word) => match word.as_str() {
            "off" => Ok(None),
            "on" => Ok(Some(usual)),
            "allow" | "annotate" => Ok(Some(Action::Annotate)),
            "redact" if known.contains(&"redact") => Ok(Some(Action::Redact)),
            "block" => Ok(Some(Action::Block)),
            other => Err(unknown(other)),
        },
        _ => Err(GuardError::Input { name, expected: "a word" }),
    }
}

fn read_kinds(value: &Value) -> Result<BTreeSet<&'static str>, GuardError> {
    let wrong = GuardError::Input { name: "kinds", expected: "a list of words" };
    let words: Vec<&str> = match value {
        Value::String(words) => words.split(',').map(str::trim).filter(|word| !word.is_empty()).collect(),
        Value::Array(words) => words.iter().map(Value::as_str).collect::<Option<_>>().ok_or(wrong)?,
        _ => return Err(wrong),
    };
    words
        .into_iter()
        .map(|word| {
            personal_kinds().find(|kind| *kind == word).ok_or_else(|| GuardError::Word {
                name: "kinds",
                word: word.to_owned(),
                known: personal_kinds().collect(),
            })
        })
        .collect()
}
