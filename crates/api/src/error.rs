//! Errors as they leave the engine: code, message, hints, place and details, and the exit code they stand for.

use flowbench_core::event::Failure;
use flowbench_core::finding::{Finding, Place};
use flowbench_core::ports::{ModelError, ModelErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

/// Exit codes of the command line; the same everywhere.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// Could not: provider, environment, internal.
    pub const COULD_NOT: u8 = 1;
    /// Wrong use or invalid file.
    pub const WRONG_USE: u8 = 2;
    /// A gate failed.
    pub const GATE: u8 = 3;
    /// Integrity, digest or signature broken.
    pub const INTEGRITY: u8 = 5;
    /// Budget spent.
    pub const BUDGET: u8 = 6;
    /// Interrupted.
    pub const INTERRUPTED: u8 = 130;
}

/// What was asked cannot be done.
#[derive(Clone, Debug, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ApiError {
    /// Stable code, such as `flow/invalid`.
    pub code: String,
    /// What, on which thing.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Exit code of a command that ends with this.
    #[serde(skip)]
    pub exit: u8,
}

impl ApiError {
    fn new(code: &str, message: impl Into<String>, exit: u8) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hints: Vec::new(),
            place: None,
            details: None,
            exit,
        }
    }

    /// Wrong use or invalid file (exit 2).
    pub fn wrong_use(code: &str, message: impl Into<String>) -> Self {
        Self::new(code, message, exit::WRONG_USE)
    }

    /// Could not (exit 1).
    pub fn could_not(code: &str, message: impl Into<String>) -> Self {
        Self::new(code, message, exit::COULD_NOT)
    }

    /// A gate that failed (exit 3).
    pub fn gate(code: &str, message: impl Into<String>) -> Self {
        Self::new(code, message, exit::GATE)
    }

    /// Broken digest (exit 5).
    pub fn integrity(code: &str, message: impl Into<String>) -> Self {
        Self::new(code, message, exit::INTEGRITY)
    }

    /// A file that cannot be read or written.
    pub fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let message = format!("cannot {what} `{}`: {}", path.display(), reason(error));
        let is_users =
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory);
        match is_users {
            true => Self::wrong_use("file", message),
            false => Self::could_not("file", message),
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// A flow with findings that are errors.
    pub fn invalid_flow(flow: &str, findings: &[Finding]) -> Self {
        let errors: Vec<&Finding> = findings
            .iter()
            .filter(|finding| finding.severity == flowbench_core::finding::Severity::Error)
            .collect();
        let first = errors.first();
        let message = match (first, errors.len()) {
            (Some(first), 1) => format!("flow `{flow}`: {}", first.message),
            (Some(first), count) => {
                format!("flow `{flow}`: {} (and {} more errors)", first.message, count - 1)
            }
            (None, _) => format!("flow `{flow}` cannot be run"),
        };
        let mut error = Self::wrong_use("flow/invalid", message);
        error.place = first.map(|finding| finding.place.clone());
        error.hints.extend(first.and_then(|finding| finding.suggestion.clone()));
        if errors.len() > 1 {
            error.hints.push(format!("`flowbench check {flow}` lists them all"));
        }
        error.details = Some(json!({"findings": findings}));
        error
    }

    /// A run that failed.
    pub fn failed_run(failure: &Failure) -> Self {
        let exit = match failure.code.as_str() {
            "model/budget_spent" => exit::BUDGET,
            "input/missing" | "input/type" if failure.node.is_none() => exit::WRONG_USE,
            "model/forbidden" | "code/forbidden" => exit::WRONG_USE,
            _ => exit::COULD_NOT,
        };
        Self {
            code: failure.code.clone(),
            message: failure.message.clone(),
            hints: failure.hints.clone(),
            place: failure.node.as_ref().map(|node| Place { node: Some(node.0.clone()), ..Place::default() }),
            details: failure.details.clone(),
            exit,
        }
    }
}

/// The reason of an I/O error in plain words.
pub fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        _ => error.to_string(),
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        let exit = match error.kind {
            ModelErrorKind::Forbidden => exit::WRONG_USE,
            ModelErrorKind::BudgetSpent => exit::BUDGET,
            _ => exit::COULD_NOT,
        };
        let kind = json!(error.kind).as_str().unwrap_or("internal").to_owned();
        Self {
            hints: error.hint.into_iter().collect(),
            ..Self::new(&format!("model/{kind}"), error.message, exit)
        }
    }
}
