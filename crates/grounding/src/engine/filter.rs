//! Filters on metadata, the same for every engine.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Conditions that all must hold. Fields are `document`, `source`, `language`, `page`, `heading`, or a key of the
/// document's metadata (`author`, `team`, nested ones with dots).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// One field and what it must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Field.
    pub field: String,
    /// What it must be.
    pub test: Test,
}

/// What a field must be. A list in the metadata holds a test if one of its items does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// This text, number or truth value.
    Is(Value),
    /// One of these.
    AnyOf(Vec<Value>),
    /// None of these (a chunk without the field holds).
    NoneOf(Vec<Value>),
    /// Numbers (and dates as text `2026-01-31…`, compared as such) in these bounds.
    Within {
        /// At least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<Value>,
        /// At most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<Value>,
    },
    /// Text that begins so; for `document`, a folder.
    StartsWith(String),
    /// Present, or absent.
    Exists(bool),
}
