//! `quality` in `indexes/NAME.yaml`: what a corpus must be before a new generation is built from it.
//!
//! ```yaml
//! quality:
//!   - { expect: documents, at_least: 100 }
//!   - { expect: failed_share, at_most: 0.02 }
//!   - { expect: language_share, language: de, at_least: 0.9, severity: warning }
//! ```
//!
//! A build fills [`CorpusFacts`] through a [`FactsCollector`]; [`check_quality`] holds them against the list. What was
//! not measured is an outcome of its own and never passes.

mod facts;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use facts::{CorpusFacts, FactsCollector, Span};

use crate::source::parse_age;

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Expectation {
    /// What is measured.
    pub expect: Measure,
    /// Smallest value that is good; an age in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Largest value that is good; an age in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// What it means when it does not hold.
    pub severity: Severity,
    /// For [`Measure::LanguageShare`]: which language (ISO 639-1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// For [`Measure::FieldShare`]: which field of the metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// For [`Measure::ChunkTokens`]: which percentile; default 95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// For [`Measure::ShortChunkShare`]: chunks of fewer tokens are short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<u32>,
}

/// What can be expected of a corpus. Shares are between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Documents that gave text.
    Documents,
    /// Share of documents that could not be had or read.
    FailedShare,
    /// Share of documents without any text.
    EmptyShare,
    /// Share of documents that are word for word the same as another.
    DuplicateShare,
    /// Share of documents in `language`.
    LanguageShare,
    /// Tokens of chunks at `percentile`.
    ChunkTokens,
    /// Share of chunks with fewer tokens than `below`.
    ShortChunkShare,
    /// Documents whose characters could not be told with certainty.
    EncodingErrors,
    /// Personal data that cleaning found.
    PersonalDataFound,
    /// Share of documents that have `field`.
    FieldShare,
    /// Characters of each document: `at_least` is for the shortest, `at_most` for the longest.
    Characters,
    /// Age of the oldest document, such as `90d`.
    Age,
}

impl Measure {
    /// Name in the list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::FailedShare => "failed_share",
            Self::EmptyShare => "empty_share",
            Self::DuplicateShare => "duplicate_share",
            Self::LanguageShare => "language_share",
            Self::ChunkTokens => "chunk_tokens",
            Self::ShortChunkShare => "short_chunk_share",
            Self::EncodingErrors => "encoding_errors",
            Self::PersonalDataFound => "personal_data_found",
            Self::FieldShare => "field_share",
            Self::Characters => "characters",
            Self::Age => "age",
        }
    }

    fn is_share(self) -> bool {
        self.name().ends_with("_share")
    }
}

/// What a broken expectation means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No new generation is built.
    #[default]
    Error,
    /// It is told.
    Warning,
}

/// An expectation as the file writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    expect: Measure,
    at_least: Option<Bound>,
    at_most: Option<Bound>,
    #[serde(default)]
    severity: Severity,
    language: Option<String>,
    field: Option<String>,
    percentile: Option<f64>,
    below: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Bound {
    Number(f64),
    Text(String),
}

/// An expectation that says nothing sensible.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expectation `{name}`: {reason}")]
pub struct ExpectationError {
    name: &'static str,
    reason: String,
}

impl TryFrom<Written> for Expectation {
    type Error = ExpectationError;

    fn try_from(written: Written) -> Result<Self, ExpectationError> {
        let measure = written.expect;
        let wrong = |reason: &str| ExpectationError { name: measure.name(), reason: reason.to_owned() };
        let bound = |bound: Option<Bound>| match (bound, measure) {
            (None, _) => Ok(None),
            (Some(Bound::Text(text)), Measure::Age) => match parse_age(&text) {
                Ok(age) => Ok(Some(age.as_secs_f64())),
                Err(error) => Err(wrong(&error.to_string())),
            },
            (Some(Bound::Number(_)), Measure::Age) => Err(wrong("write its bound as an age, such as `90d`")),
            (Some(Bound::Text(text)), _) => Err(wrong(&format!("`{text}` is no number"))),
            (Some(Bound::Number(number)), measure) => match number {
                _ if !number.is_finite() || number < 0.0 => Err(wrong("its bound is no number of things")),
                _ if measure.is_share() && number > 1.0 => {
                    Err(wrong("a share is between 0 and 1: write 5 % as `0.05`"))
                }
                number => Ok(Some(number)),
            },
        };
        let (at_least, at_most) = (bound(written.at_least)?, bound(written.at_most)?);
        if at_least.is_none() && at_most.is_none() {
            return Err(wrong("it has no bound; give it `at_least` or `at_most`"));
        }
        let extras = [
            ("language", written.language.is_some(), Measure::LanguageShare, true),
            ("field", written.field.is_some(), Measure::FieldShare, true),
            ("below", written.below.is_some(), Measure::ShortChunkShare, true),
            ("percentile", written.percentile.is_some(), Measure::ChunkTokens, false),
        ];
        for (key, is_given, owner, is_needed) in extras {
            if is_given && owner != measure {
                return Err(wrong(&format!("`{key}` belongs to `{}`", owner.name())));
            }
            if !is_given && is_needed && owner == measure {
                return Err(wrong(&format!("it needs `{key}`")));
            }
        }
        if written.percentile.is_some_and(|percentile| !(0.0..=100.0).contains(&percentile)) {
            return Err(wrong("`percentile` is between 0 and 100"));
        }
        Ok(Self {
            expect: measure,
            at_least,
            at_most,
            severity: written.severity,
            language: written.language,
            field: written.field,
            percentile: written.percentile,
            below: written.below,
        })
    }
}

/// How an expectation came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It does not.
    Broken,
    /// There was nothing to measure it on.
    NotMeasured,
}

/// One expectation held against a corpus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityResult {
    /// What was measured, such as `language_share (de)`.
    pub name: String,
    /// What was expected, such as `at least 0.9`.
    pub expected: String,
    /// What was found, in words; `not measured` where nothing was.
    pub actual: String,
    /// What was found, as a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What it means when it does not hold.
    pub severity: Severity,
    /// How it came out.
    pub outcome: Outcome,
}

impl QualityResult {
    /// True where it was measured and is as expected.
    pub fn holds(&self) -> bool {
        self.outcome == Outcome::Holds
    }

    /// True where no new generation may be built.
    pub fn blocks(&self) -> bool {
        !self.holds() && self.severity == Severity::Error
    }
}

/// Holds expectations against what a corpus is, at a time in milliseconds since 1970.
pub fn check_quality(expectations: &[Expectation], facts: &CorpusFacts, now_ms: u64) -> Vec<QualityResult> {
    expectations.iter().map(|expectation| check_one(expectation, facts, now_ms)).collect()
}

fn check_one(expectation: &Expectation, facts: &CorpusFacts, now_ms: u64) -> QualityResult {
    // Only characters have two values: each bound has its own.
    let (low, high) = measured(expectation, facts, now_ms).unzip();
    let too_low = low.zip(expectation.at_least).map(|(value, bound)| value < bound);
    let too_high = high.zip(expectation.at_most).map(|(value, bound)| value > bound);
    let value = if too_high == Some(true) || expectation.at_least.is_none() { high } else { low };
    let outcome = match value {
        None => Outcome::NotMeasured,
        Some(_) if too_low == Some(true) || too_high == Some(true) => Outcome::Broken,
        Some(_) => Outcome::Holds,
    };
    let shown = |number: f64| shown(expectation.expect, number);
    let expected = match (expectation.at_least, expectation.at_most) {
        (Some(low), Some(high)) => format!("at least {} and at most {}", shown(low), shown(high)),
        (Some(low), None) => format!("at least {}", shown(low)),
        (None, high) => format!("at most {}", shown(high.unwrap_or_default())),
    };
    QualityResult {
        name: name_of(expectation),
        expected,
        actual: value.map_or_else(|| "not measured".to_owned(), shown),
        value,
        severity: expectation.severity,
        outcome,
    }
}

fn name_of(expectation: &Expectation) -> String {
    let name = expectation.expect.name();
    match (&expectation.language, &expectation.field, expectation.below, expectation.expect) {
        (Some(language), ..) => format!("{name} ({language})"),
        (_, Some(field), ..) => format!("{name} ({field})"),
        (_, _, Some(below), _) => format!("{name} (below {below})"),
        (.., Measure::ChunkTokens) => format!("{name} (p{})", expectation.percentile.unwrap_or(95.0)),
        _ => name.to_owned(),
    }
}

fn shown(measure: Measure, number: f64) -> String {
    match measure {
        Measure::Age if number < 2.0 * 86_400.0 => format!("{:.1}h", number / 3_600.0),
        Measure::Age => format!("{:.1}d", number / 86_400.0),
        measure if measure.is_share() => format!("{}", (number * 1e4).round() / 1e4),
        _ => format!("{number}"),
    }
}

/// What a measure gives, against the lower and against the upper bound; `None` where there is nothing to measure.
fn measured(expectation: &Expectation, facts: &CorpusFacts, now_ms: u64) -> Option<(f64, f64)> {
    let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
    let documents = facts.documents;
    let value = match expectation.expect {
        Measure::Documents => Some(documents as f64),
        Measure::FailedShare => share(facts.failed, documents + facts.failed),
        Measure::EmptyShare => share(facts.empty, documents),
        Measure::DuplicateShare => share(facts.duplicates, documents),
        Measure::LanguageShare => {
            let language = expectation.language.as_deref().unwrap_or_default();
            share(facts.languages.get(language).copied().unwrap_or(0), documents)
        }
        Measure::ChunkTokens => facts.tokens_at(expectation.percentile.unwrap_or(95.0)).map(f64::from),
        Measure::ShortChunkShare => {
            let below = expectation.below.unwrap_or(0);
            let short = facts.chunk_tokens.range(..below).map(|(_, count)| count).sum();
            share(short, facts.chunk_tokens.values().sum())
        }
        Measure::EncodingErrors => (documents > 0).then_some(facts.encoding_errors as f64),
        Measure::PersonalDataFound => facts.personal_data_found.map(|found| found as f64),
        Measure::FieldShare => {
            let field = expectation.field.as_deref().unwrap_or_default();
            share(facts.fields.get(field).copied().unwrap_or(0), documents)
        }
        Measure::Characters => {
            let span = facts.characters?;
            return Some((span.min as f64, span.max as f64));
        }
        Measure::Age => {
            let (oldest, newest) = facts.modified_ms.map(|span| (span.min, span.max))?;
            let age = |modified: u64| now_ms.saturating_sub(modified) as f64 / 1_000.0;
            return Some((age(newest), age(oldest)));
        }
    };
    value.map(|value| (value, value))
}

#[cfg(test)]
mod tests;
