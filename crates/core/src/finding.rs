//! Findings: what is wrong or doubtful in the user's material, as ordinary values.

use serde::{Deserialize, Serialize};

/// How much a finding matters. Errors stop a flow from being planned; warnings do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, perhaps not as meant.
    Warning,
    /// Cannot be run as it stands.
    Error,
}

/// Where in a file: one-based line and column (in characters), and which file and node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// File, relative to the workspace or as the user named it; absent for text without a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// One-based line; absent when the place is the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// One-based column in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Node the finding is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// One finding about user material.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable rule name, such as `unknown-reference`; also the SARIF rule id.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// What, on which thing.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl Finding {
    /// A finding without a place; see [`Finding::at`] and [`Finding::on_node`].
    pub fn new(rule: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            rule: rule.to_owned(),
            severity,
            message: message.into(),
            place: Place::default(),
            suggestion: None,
        }
    }

    /// An error.
    pub fn error(rule: &str, message: impl Into<String>) -> Self {
        Self::new(rule, Severity::Error, message)
    }

    /// A warning.
    pub fn warning(rule: &str, message: impl Into<String>) -> Self {
        Self::new(rule, Severity::Warning, message)
    }

    /// Sets line and column (and file, if known); a node named before stays.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        let node = place.node.clone().or(self.place.node.take());
        self.place = Place { node, ..place };
        self
    }

    /// Says which node it is about.
    #[must_use]
    pub fn on_node(mut self, node: impl Into<String>) -> Self {
        self.place.node = Some(node.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

/// True if any finding is an error.
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
