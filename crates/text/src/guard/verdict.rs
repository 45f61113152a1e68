//! What a guard says about a text, in the form that flows read.

use serde::Serialize;

use super::{Hit, redact};

/// Where the text is on its way to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a person.
    #[default]
    Input,
    /// Retrieved or attached; may not give orders.
    Context,
    /// Arguments that a model gives to a tool.
    ToolInput,
    /// What a tool answered; may not give orders.
    ToolOutput,
    /// From a model to a person.
    Output,
}

impl Direction {
    /// All words, in order.
    pub const WORDS: [&str; 5] = ["input", "context", "tool_input", "tool_output", "output"];

    /// Reads the word for it.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "input" => Self::Input,
            "context" => Self::Context,
            "tool_input" => Self::ToolInput,
            "tool_output" => Self::ToolOutput,
            "output" => Self::Output,
            _ => return None,
        })
    }

    /// The text is material, in which any order to a model is out of place.
    pub(super) fn is_material(self) -> bool {
        matches!(self, Self::Context | Self::ToolOutput)
    }
}

/// What becomes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Passes unchanged.
    Allow,
    /// Passes with placeholders.
    Redact,
    /// Does not pass.
    Block,
}

/// What a finding asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Only to be told.
    Annotate,
    /// A placeholder in its place.
    Redact,
    /// The text must not pass.
    Block,
}

/// Kind of concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// An attempt to give a model other orders.
    Injection,
    /// Data about a person.
    PersonalData,
    /// A key, password or token.
    Secret,
    /// The author's own rule.
    Rule,
}

/// Something found in the text. The text found is not repeated here, so that findings can be logged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Kind of concern.
    pub category: Category,
    /// Which of that kind: `email`, `override`, a rule's name.
    pub kind: String,
    /// First character in the original text, counted from 0.
    pub start: usize,
    /// Character after the last.
    pub end: usize,
    /// How sure, from 0 to 1.
    pub score: f64,
    /// Why, for people.
    pub reason: String,
    /// What it asks for.
    pub action: Action,
    /// A rule's own word for how bad it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
}

/// What a guard says about a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardVerdict {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The text to go on with: unchanged, with placeholders, or empty when it is blocked.
    pub text: String,
    /// As configured.
    pub direction: Direction,
    /// Which kinds of concern there are.
    pub categories: Vec<Category>,
    /// All that was found, in the order of the text, also where it changes nothing.
    pub findings: Vec<Finding>,
}

/// Makes the verdict from hits in the order of the text.
pub(super) fn judge(text: &str, direction: Direction, hits: &[Hit]) -> GuardVerdict {
    let outcome = match hits.iter().map(|hit| hit.action).max() {
        None | Some(Action::Annotate) => Outcome::Allow,
        Some(Action::Redact) => Outcome::Redact,
        Some(Action::Block) => Outcome::Block,
    };
    let passed = match outcome {
        Outcome::Allow => text.to_owned(),
        Outcome::Redact => redact::redact(text, hits),
        Outcome::Block => String::new(),
    };
    let mut categories: Vec<Category> = hits.iter().map(|hit| hit.category).collect();
    categories.sort_unstable();
    categories.dedup();
    GuardVerdict { outcome, text: passed, direction, categories, findings: findings(text, hits) }
}

fn findings(text: &str, hits: &[Hit]) -> Vec<Finding> {
    let mut edges: Vec<usize> = hits.iter().flat_map(|hit| [hit.start, hit.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut characters = Vec::with_capacity(edges.len());
    let (mut counted, mut at) = (0, 0);
    for edge in &edges {
        counted += text[at..*edge].chars().count();
        at = *edge;
        characters.push(counted);
    }
    let character = |byte: usize| edges.binary_search(&byte).map_or(0, |index| characters[index]);
    hits.iter()
        .map(|hit| Finding {
            category: hit.category,
            kind: hit.kind.to_string(),
            start: character(hit.start),
            end: character(hit.end),
            score: hit.score,
            reason: hit.reason.to_string(),
            action: hit.action,
            severity: hit.severity.clone(),
        })
        .collect()
}
