//! Why a node failed, on its way to the account of the run.

use flowbench_core::event::Failure;
use flowbench_core::ids::NodeId;
use flowbench_core::ports::{CodeError, ModelError, ModelErrorKind};
use serde_json::{Value, json};

/// A node that could not.
#[derive(Clone, Debug)]
pub struct NodeFailure {
    /// Stable code.
    pub code: String,
    /// What, on which thing.
    pub message: String,
    /// What to do.
    pub hints: Vec<String>,
    /// Traceback, raw body and the like.
    pub details: Option<Value>,
    /// What the node printed before.
    pub logs: Vec<(&'static str, String)>,
}

impl NodeFailure {
    /// A failure without hints or details.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hints: Vec::new(),
            details: None,
            logs: Vec::new(),
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The failure as it is told.
    pub fn told(&self, node: Option<&NodeId>) -> Failure {
        let message = match node {
            Some(node) => format!("node `{node}`: {}", self.message),
            None => self.message.clone(),
        };
        Failure {
            code: self.code.clone(),
            message,
            hints: self.hints.clone(),
            node: node.cloned(),
            details: self.details.clone(),
        }
    }
}

/// Code of a failure that ends the whole run, not only its line.
pub const BUDGET_SPENT: &str = "model/budget_spent";

/// The word of a kind as it is serialised, for codes.
fn word(kind: impl serde::Serialize) -> String {
    match json!(kind) {
        Value::String(word) => word,
        other => other.to_string(),
    }
}

impl From<ModelError> for NodeFailure {
    fn from(error: ModelError) -> Self {
        let mut details = serde_json::Map::new();
        if let Some(status) = error.status {
            details.insert("status".to_owned(), json!(status));
        }
        for (key, text) in [("raw", &error.raw), ("partial", &error.partial)] {
            if let Some(text) = text {
                details.insert(key.to_owned(), json!(text));
            }
        }
        let mut hints: Vec<String> = error.hint.into_iter().collect();
        if hints.is_empty() && error.kind == ModelErrorKind::Authentication {
            hints.push("check the key that the connection names".to_owned());
        }
        Self {
            code: format!("model/{}", word(error.kind)),
            message: error.message,
            hints,
            details: (!details.is_empty()).then(|| Value::Object(details)),
            logs: Vec::new(),
        }
    }
}

impl From<CodeError> for NodeFailure {
    fn from(error: CodeError) -> Self {
        let logs = [("stdout", error.stdout), ("stderr", error.stderr)];
        Self {
            code: format!("code/{}", word(error.kind)),
            message: error.message,
            hints: error.hint.into_iter().collect(),
            details: error.traceback.map(|traceback| json!({"traceback": traceback})),
            logs: logs.into_iter().filter(|(_, text)| !text.is_empty()).collect(),
        }
    }
}
