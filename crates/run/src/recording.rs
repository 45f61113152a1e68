//! What is recorded of a run's calls to the outside, and found again in a replay.
//!
//! A call is recognised by where in the run it is made (line, node, item, step) and by what it asks, not by
//! who answers: a replay needs no connection, no key and no model file.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::digest_value;

/// Kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// A chat or a completion.
    Chat,
    /// Vectors for texts.
    Embed,
    /// Scores for passages.
    Rerank,
    /// A request of an http node or tool.
    Http,
    /// A code node's result.
    Code,
    /// Hits of an index.
    Retrieve,
}

/// One recorded call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Kind.
    pub kind: CallKind,
    /// What it is found by.
    pub key: String,
    /// Where in the run, for people.
    pub scope: String,
    /// What was asked.
    pub request: Value,
    /// What came back, or the error.
    pub response: Result<Value, Value>,
}

/// Keeps calls; redacts secrets before it writes.
pub trait Recorder: Send + Sync {
    /// Keeps one call.
    fn record(&self, call: CallRecord);
}

/// Finds recorded calls.
pub trait Replayer: Send + Sync {
    /// The call with this key.
    fn find(&self, kind: CallKind, key: &str) -> Option<CallRecord>;
}

/// Key of a call.
pub fn call_key(kind: CallKind, scope: &str, request: &Value) -> String {
    digest_value(&serde_json::json!({"kind": kind, "scope": scope, "request": request}))
}
