//! What can go wrong with an extraction: in the node's inputs, or in the text.

use std::fmt::Write;

use thiserror::Error;

/// How many disagreements with a schema are told at once; a model or a person repairs a handful at a time.
pub(super) const MOST_PROBLEMS: usize = 8;

/// Why nothing was extracted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExtractError {
    /// The node says nowhere how to extract.
    #[error("give one of `schema`, `pattern` and `path`")]
    NoMethod,
    /// The node says it twice.
    #[error("`{first}` and `{second}` are both given; give only one of `schema`, `pattern` and `path`")]
    SeveralMethods {
        /// One of them.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// An input of the wrong type.
    #[error("input `{name}` must be {expected}")]
    Input {
        /// Its name.
        name: &'static str,
        /// What is expected, as words.
        expected: &'static str,
    },
    /// A regular expression that does not compile.
    #[error("pattern `{pattern}` is no regular expression: {reason}")]
    Pattern {
        /// As written.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A JSON path that cannot be read.
    #[error("`{path}` is no JSON path: {reason} (position {position})")]
    Path {
        /// As written.
        path: String,
        /// Why.
        reason: String,
        /// Where in it, counted in bytes from 1.
        position: usize,
    },
    /// A bad schema, or a value that does not fit it.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The text holds no JSON.
    #[error("the text holds no JSON{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    NoJson {
        /// What is wrong with the part that comes closest.
        reason: Option<String>,
    },
    /// The pattern is nowhere in the text.
    #[error("pattern `{pattern}` matches nothing in the text")]
    PatternFoundNothing {
        /// As written.
        pattern: String,
    },
    /// The path leads nowhere in the value.
    #[error("path `{path}` finds nothing")]
    PathFoundNothing {
        /// As written.
        path: String,
    },
    /// The path leads to several values and one was asked for.
    #[error("path `{path}` finds {count} values; set `all: true` to get them as a list")]
    PathFoundSeveral {
        /// As written.
        path: String,
        /// How many.
        count: usize,
    },
}

impl ExtractError {
    /// What to tell a model so that it can write its answer anew; none where the flow's author must act, because
    /// no other answer would help.
    pub fn repair_message(&self) -> Option<String> {
        match self {
            Self::NoJson { reason } => {
                let mut message = "Your answer holds no valid JSON".to_owned();
                if let Some(reason) = reason {
                    let _ = write!(message, ": {reason}");
                }
                message.push_str(". Answer again with the JSON value only, without any other text.");
                Some(message)
            }
            Self::Schema(SchemaError::Mismatch { problems, more }) => {
                let mut message = "The JSON in your answer does not fit the schema:\n".to_owned();
                for problem in problems {
                    let _ = writeln!(message, "- {problem}");
                }
                if *more > 0 {
                    let _ = writeln!(message, "- and {more} more");
                }
                message.push_str(
                    "Answer again with the whole corrected JSON value only, without any other text.",
                );
                Some(message)
            }
            Self::PatternFoundNothing { pattern } => Some(format!(
                "Your answer must contain text that matches the regular expression `{pattern}`, and nothing in it does. \
                 Answer again in that form."
            )),
            Self::PathFoundNothing { path } => Some(format!(
                "The JSON in your answer has no value at the path `{path}`. Answer again with JSON that has one."
            )),
            Self::PathFoundSeveral { path, count } => Some(format!(
                "The JSON in your answer has {count} values at the path `{path}`, and exactly one is expected. \
                 Answer again with JSON that has one."
            )),
            Self::NoMethod
            | Self::SeveralMethods { .. }
            | Self::Input { .. }
            | Self::Pattern { .. }
            | Self::Path { .. }
            | Self::Schema(SchemaError::Invalid { .. }) => None,
        }
    }
}

/// A schema that cannot be used, or a value that does not fit it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// The schema itself is wrong, or refers to a schema elsewhere (which is never fetched).
    #[error("the schema is invalid{}: {reason}", at(pointer))]
    Invalid {
        /// Where in the schema, as JSON pointer.
        pointer: String,
        /// Why.
        reason: String,
    },
    /// The value does not fit.
    #[error("the value does not fit the schema: {}", listed(problems, *more))]
    Mismatch {
        /// What does not, at most eight of them.
        problems: Vec<SchemaProblem>,
        /// How many are not told.
        more: usize,
    },
}

/// One disagreement between a value and its schema.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{message}", if pointer.is_empty() { String::new() } else { format!("at `{pointer}`: ") })]
pub struct SchemaProblem {
    /// Where in the value, as JSON pointer; empty for the whole of it.
    pub pointer: String,
    /// What is expected there.
    pub message: String,
}

fn at(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" at `{pointer}`") }
}

fn listed(problems: &[SchemaProblem], more: usize) -> String {
    let mut text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if more > 0 {
        let _ = write!(text, "; and {more} more");
    }
    text
}
