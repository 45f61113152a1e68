//! Reuse of node results: the parts of a key, so that an answer can name what agreed or what changed.

use flowbench_core::event::Reuse;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::digest_value;

/// The parts that decide a node's result, each as a digest or a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheParts {
    /// The node's definition and the content of its sources.
    pub definition: String,
    /// Resolved inputs, parameters included.
    pub inputs: String,
    /// Who answers: provider, model and API version or digest of the weights.
    pub model: String,
    /// Which repetition of the same question.
    pub repeat: u32,
    /// Engine version.
    pub engine: String,
}

impl CacheParts {
    /// The key.
    pub fn key(&self) -> String {
        digest_value(&serde_json::json!(self))
    }

    /// Names of the parts that differ from an earlier key.
    pub fn changed_since(&self, earlier: &Self) -> Vec<&'static str> {
        let mut changed = Vec::new();
        for (name, is_same) in [
            ("the node's definition", self.definition == earlier.definition),
            ("its inputs", self.inputs == earlier.inputs),
            ("the model", self.model == earlier.model),
            ("the repeat index", self.repeat == earlier.repeat),
            ("the engine version", self.engine == earlier.engine),
        ] {
            if !is_same {
                changed.push(name);
            }
        }
        changed
    }
}

/// A result found, or the latest key that the same node had.
pub enum CacheAnswer {
    /// The result.
    Found(Value),
    /// None; the parts of the node's latest result, where there is one.
    Missing(Option<CacheParts>),
}

/// Keeps node results by key.
pub trait NodeCache: Send + Sync {
    /// Looks a result up.
    fn find(&self, flow: &str, node: &str, parts: &CacheParts) -> CacheAnswer;
    /// Keeps a result.
    fn keep(&self, flow: &str, node: &str, parts: &CacheParts, value: &Value);
}

/// In words, why a result was reused or not.
pub fn reason(parts: &CacheParts, answer: &CacheAnswer) -> Reuse {
    match answer {
        CacheAnswer::Found(_) => Reuse {
            is_reused: true,
            reason:
                "definition, inputs, model, repeat index and engine version are those of an earlier result"
                    .to_owned(),
        },
        CacheAnswer::Missing(None) => {
            Reuse { is_reused: false, reason: "no earlier result of this node".to_owned() }
        }
        CacheAnswer::Missing(Some(earlier)) => {
            let changed = parts.changed_since(earlier);
            let reason = match changed.as_slice() {
                [] => "the earlier result is no longer kept".to_owned(),
                [one] => format!("{one} changed since the latest result"),
                more => format!("{} changed since the latest result", more.join(", ")),
            };
            Reuse { is_reused: false, reason }
        }
    }
}
