//! An author's own rules: a pattern, and what to do where it matches.

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::config::GuardError;
use super::{Action, Category, Hit};
use crate::extract::last_line;

/// Compiled form of one pattern, in bytes; two hundred of them still fit anywhere.
const PATTERN_BYTES: usize = 1 << 20;

/// More rules are a program, which a script node is for.
const MOST_RULES: usize = 200;

const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];

#[derive(Debug)]
pub(super) struct Rule {
    name: String,
    pattern: Regex,
    action: Action,
    severity: String,
}

impl Rule {
    pub(super) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Hit> + 'a {
        self.pattern.find_iter(text).filter(|found| !found.is_empty()).map(|found| Hit {
            category: Category::Rule,
            kind: self.name.clone().into(),
            start: found.start(),
            end: found.end(),
            score: 1.0,
            reason: format!("rule `{}` matches", self.name).into(),
            action: self.action,
            severity: Some(self.severity.clone()),
        })
    }
}

pub(super) fn read_rules(value: &Value) -> Result<Vec<Rule>, GuardError> {
    let Value::Array(rules) = value else {
        return Err(GuardError::Input {
            name: "rules",
            expected: "a list of maps with `name` and `pattern`",
        });
    };
    if rules.len() > MOST_RULES {
        return Err(GuardError::TooManyRules { count: rules.len(), most: MOST_RULES });
    }
    rules.iter().enumerate().map(|(index, rule)| read_rule(index, rule)).collect()
}

fn read_rule(index: usize, value: &Value) -> Result<Rule, GuardError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    let name = field("name").map_or_else(|| (index + 1).to_string(), str::to_owned);
    let fail = |reason: String| GuardError::Rule { rule: name.clone(), reason };
    if let Some(key) = value.as_object().and_then(|rule| {
        rule.keys().find(|key| !["name", "pattern", "action", "severity"].contains(&key.as_str()))
    }) {
        return Err(fail(format!(
            "`{key}` is no key of a rule; there are `name`, `pattern`, `action`, `severity`"
        )));
    }
    if field("name").is_none_or(|name| name.trim().is_empty()) {
        return Err(fail("`name` is missing".to_owned()));
    }
    let Some(pattern) = field("pattern") else {
        return Err(fail("`pattern` is missing".to_owned()));
    };
    let action = match value.get("action") {
        None | Some(Value::Null) => Action::Block,
        Some(word) => match word.as_str() {
            Some("annotate" | "allow") => Action::Annotate,
            Some("redact") => Action::Redact,
            Some("block") => Action::Block,
            _ => return Err(fail(format!("action `{}` is not one of annotate, redact, block", shown(word)))),
        },
    };
    let severity = match value.get("severity") {
        None | Some(Value::Null) => "medium",
        Some(word) => match word.as_str().filter(|word| SEVERITIES.contains(word)) {
            Some(word) => word,
            None => {
                return Err(fail(format!(
                    "severity `{}` is not one of {}",
                    shown(word),
                    SEVERITIES.join(", ")
                )));
            }
        },
    };
    let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build().map_err(|error| {
        fail(format!("pattern `{pattern}` is no regular expression: {}", last_line(&error)))
    })?;
    Ok(Rule { name, pattern: compiled, action, severity: severity.to_owned() })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
