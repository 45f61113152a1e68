//! Looks for injections, personal data, secrets and an author's own rules in a text, and decides what becomes of it.
//!
//! A node's inputs become a [`GuardConfig`] once; [`GuardConfig::check`] then gives a [`GuardVerdict`] for each text.
//! All of it is patterns, words and check digits: no model is asked, names and street addresses are not found, and
//! harm categories are somebody else's work. Time grows in proportion to the text.
//!
//! ```
//! use flowbench_text::guard::{GuardConfig, Outcome};
//!
//! let verdict = GuardConfig::default().check("write to kim@example.com, and again to kim@example.com");
//! assert_eq!(verdict.outcome, Outcome::Redact);
//! assert_eq!(verdict.text, "write to [EMAIL_1], and again to [EMAIL_1]");
//! ```

mod config;
mod contact;
mod fold;
mod injection;
mod national;
mod numbers;
mod redact;
mod rules;
mod secrets;
mod verdict;
mod words;

pub use config::{GuardConfig, GuardError, INPUT_NAMES};
pub use numbers::personal_kinds;
pub use verdict::{Action, Category, Direction, Finding, GuardVerdict, Outcome};

use std::borrow::Cow;

/// Something found, in bytes of the original text.
#[derive(Clone, Debug)]
struct Hit {
    category: Category,
    kind: Cow<'static, str>,
    start: usize,
    end: usize,
    score: f64,
    reason: Cow<'static, str>,
    action: Action,
    severity: Option<String>,
}

impl GuardConfig {
    /// Looks through a text and says what becomes of it.
    pub fn check(&self, text: &str) -> GuardVerdict {
        let mut hits = Vec::new();
        if let Some(action) = self.personal_data {
            hits.extend(numbers::find(text, &self.kinds, action));
            hits.extend(contact::find(text, &self.kinds, action));
        }
        if let Some(action) = self.secrets {
            hits.extend(secrets::find(text, action));
        }
        let mut hits = without_overlaps(hits);
        if let Some(action) = self.injection {
            hits.extend(injection::find(text, self.direction, action));
        }
        for rule in &self.rules {
            hits.extend(rule.find(text));
        }
        hits.sort_by(|a, b| (a.start, a.end, &a.kind).cmp(&(b.start, b.end, &b.kind)));
        verdict::judge(text, self.direction, &hits)
    }
}

/// Of hits that overlap, the surest stays, then the longest: the digits of a card number may also pass for a telephone
/// number.
fn without_overlaps(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then((b.end - b.start).cmp(&(a.end - a.start)))
            .then(a.start.cmp(&b.start))
    });
    let mut taken = std::collections::BTreeMap::new();
    hits.retain(|hit| {
        let free = taken.range(..hit.end).next_back().is_none_or(|(_, end)| *end <= hit.start);
        if free {
            taken.insert(hit.start, hit.end);
        }
        free
    });
    hits
}

#[cfg(test)]
mod tests;
