//! Expectations against small corpora.

use flowbench_extract::Note;
use serde_json::{Map, Value, json};

use super::*;
use crate::chunk::Chunk;
use crate::clean::{Cleaned, RuleReport};

const DAY_MS: u64 = 86_400_000;
const NOW_MS: u64 = 20_000 * DAY_MS;

/// Four documents, one of them empty, two the same, one in English; a hundred chunks; one document failed.
fn corpus() -> CorpusFacts {
    let mut collector = FactsCollector::default();
    let texts = [("Guten Tag.", "de"), ("Guten Tag. ", "de"), ("Good morning.", "en"), ("  ", "")];
    for (number, (text, language)) in texts.into_iter().enumerate() {
        let mut metadata = Map::new();
        metadata.insert("author".to_owned(), if number < 2 { json!("A. Nonym") } else { json!("") });
        let document = Cleaned {
            text: text.to_owned(),
            language: (!language.is_empty()).then(|| language.to_owned()),
            metadata,
            notes: match number {
                2 => vec![Note { code: "encoding".to_owned(), message: String::new(), page: None }],
                _ => Vec::new(),
            },
            ..Cleaned::default()
        };
        collector.document(&document, (number > 0).then(|| NOW_MS - number as u64 * DAY_MS));
    }
    for tokens in 1..=100 {
        collector.chunk(&Chunk { tokens, ..Chunk::default() });
    }
    collector.chunk(&Chunk { tokens: 9_000, is_parent: true, ..Chunk::default() });
    collector.failed(1);
    let report = RuleReport { rule: "personal_data".to_owned(), found: 3, ..RuleReport::default() };
    collector.rules(&[report]);
    collector.finish()
}

fn result(expectation: Value, facts: &CorpusFacts) -> QualityResult {
    let expectation: Expectation = serde_json::from_value(expectation).unwrap();
    check_quality(&[expectation], facts, NOW_MS).remove(0)
}

#[track_caller]
fn check(expectation: Value, expected: &str) {
    let result = result(expectation, &corpus());
    let outcome = match result.outcome {
        Outcome::Holds => "holds",
        Outcome::Broken => "broken",
        Outcome::NotMeasured => "not measured",
    };
    assert_eq!(format!("{}: {}, is {}: {outcome}", result.name, result.expected, result.actual), expected);
}

#[test]
fn expectations_are_held_against_facts() {
    check(json!({"expect": "documents", "at_least": 4}), "documents: at least 4, is 4: holds");
    check(json!({"expect": "documents", "at_least": 5}), "documents: at least 5, is 4: broken");
    check(
        json!({"expect": "documents", "at_least": 1, "at_most": 3}),
        "documents: at least 1 and at most 3, is 4: broken",
    );
    check(json!({"expect": "failed_share", "at_most": 0.2}), "failed_share: at most 0.2, is 0.2: holds");
    check(json!({"expect": "failed_share", "at_most": 0.1}), "failed_share: at most 0.1, is 0.2: broken");
    check(json!({"expect": "empty_share", "at_most": 0}), "empty_share: at most 0, is 0.25: broken");
    check(
        json!({"expect": "duplicate_share", "at_most": 0.25}),
        "duplicate_share: at most 0.25, is 0.25: holds",
    );
    check(
        json!({"expect": "language_share", "language": "de", "at_least": 0.9}),
        "language_share (de): at least 0.9, is 0.5: broken",
    );
    check(
        json!({"expect": "language_share", "language": "fr", "at_most": 0}),
        "language_share (fr): at most 0, is 0: holds",
    );
    check(json!({"expect": "chunk_tokens", "at_most": 95}), "chunk_tokens (p95): at most 95, is 95: holds");
    check(
        json!({"expect": "chunk_tokens", "percentile": 100, "at_most": 99}),
        "chunk_tokens (p100): at most 99, is 100: broken",
    );
    check(
        json!({"expect": "short_chunk_share", "below": 11, "at_most": 0.1}),
        "short_chunk_share (below 11): at most 0.1, is 0.1: holds",
    );
    check(json!({"expect": "encoding_errors", "at_most": 0}), "encoding_errors: at most 0, is 1: broken");
    check(
        json!({"expect": "personal_data_found", "at_most": 3}),
        "personal_data_found: at most 3, is 3: holds",
    );
    check(
        json!({"expect": "field_share", "field": "author", "at_least": 0.6}),
        "field_share (author): at least 0.6, is 0.5: broken",
    );
    check(json!({"expect": "characters", "at_least": 3}), "characters: at least 3, is 2: broken");
    check(
        json!({"expect": "characters", "at_least": 2, "at_most": 12}),
        "characters: at least 2 and at most 12, is 13: broken",
    );
    check(json!({"expect": "age", "at_most": "3d"}), "age: at most 3.0d, is 3.0d: holds");
    check(json!({"expect": "age", "at_most": "36h"}), "age: at most 36.0h, is 3.0d: broken");
}

#[test]
fn what_was_not_measured_never_passes() {
    for expectation in [
        json!({"expect": "failed_share", "at_most": 1}),
        json!({"expect": "empty_share", "at_most": 1}),
        json!({"expect": "chunk_tokens", "at_most": 1000}),
        json!({"expect": "short_chunk_share", "below": 5, "at_most": 1}),
        json!({"expect": "encoding_errors", "at_most": 9}),
        json!({"expect": "personal_data_found", "at_most": 9}),
        json!({"expect": "characters", "at_most": 9}),
        json!({"expect": "age", "at_most": "9d"}),
    ] {
        let result = result(expectation, &CorpusFacts::default());
        assert_eq!(
            (result.outcome, result.actual.as_str()),
            (Outcome::NotMeasured, "not measured"),
            "{result:?}"
        );
        assert!(!result.holds() && result.blocks());
    }
    let none = result(json!({"expect": "documents", "at_least": 1}), &CorpusFacts::default());
    assert_eq!(none.outcome, Outcome::Broken, "no documents is a number of documents");
}

#[test]
fn only_errors_block() {
    let broken = |severity: &str| {
        result(json!({"expect": "documents", "at_least": 9, "severity": severity}), &corpus())
    };
    assert!(broken("error").blocks());
    assert!(!broken("warning").blocks() && !broken("warning").holds());
    assert!(result(json!({"expect": "documents", "at_least": 9}), &corpus()).blocks(), "the default");
}

#[track_caller]
fn check_refused(expectation: Value, expected: &str) {
    let error = serde_json::from_value::<Expectation>(expectation).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn expectations_that_say_nothing_are_refused() {
    check_refused(
        json!({"expect": "documnets", "at_least": 1}),
        "unknown variant `documnets`, expected one of `documents`, `failed_share`, `empty_share`, `duplicate_share`, \
         `language_share`, `chunk_tokens`, `short_chunk_share`, `encoding_errors`, `personal_data_found`, \
         `field_share`, `characters`, `age`",
    );
    check_refused(
        json!({"expect": "documents"}),
        "expectation `documents`: it has no bound; give it `at_least` or `at_most`",
    );
    check_refused(
        json!({"expect": "failed_share", "at_most": 5}),
        "expectation `failed_share`: a share is between 0 and 1: write 5 % as `0.05`",
    );
    check_refused(
        json!({"expect": "language_share", "at_least": 0.5}),
        "expectation `language_share`: it needs `language`",
    );
    check_refused(
        json!({"expect": "documents", "at_least": 1, "field": "a"}),
        "expectation `documents`: `field` belongs to `field_share`",
    );
    check_refused(
        json!({"expect": "age", "at_most": 30}),
        "expectation `age`: write its bound as an age, such as `90d`",
    );
    check_refused(
        json!({"expect": "documents", "at_lest": 1}),
        "unknown field `at_lest`, expected one of `expect`, `at_least`, `at_most`, `severity`, `language`, `field`, \
         `percentile`, `below`",
    );
}

#[test]
fn facts_can_be_kept() {
    let facts = corpus();
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<CorpusFacts>(&text).unwrap(), facts);
    let expectation =
        json!({"expect": "language_share", "language": "de", "at_least": 0.9, "severity": "error"});
    let read: Expectation = serde_json::from_value(expectation.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), expectation);
}
