//! Every engine finds what `Filter::holds` says.

use flowbench_grounding::engine::{Condition, Engine, Filter, Passage, Test};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::corpus::{Dice, build, passage, settings, terms};

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..4_i64).prop_map(Value::from),
        (0..3_u8).prop_map(|half| json!(f64::from(half) * 0.5)),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec!["ops", "dev", "2020-01", "2020-02-03", "", "n:1"]).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![4 => scalar(), 1 => Just(Value::Null), 1 => Just(json!([]))];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            (key(), inner).prop_map(|(key, inner)| json!({key: inner})),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["team", "year", "a", "b", "a.b"]).prop_map(str::to_owned)
}

fn field() -> impl Strategy<Value = String> {
    let fields =
        vec!["team", "year", "a", "a.b", "a.team", "document", "source", "language", "page", "heading"];
    prop::sample::select(fields).prop_map(str::to_owned)
}

fn bounds() -> impl Strategy<Value = Test> {
    let bound = || prop::option::of(scalar().prop_filter("comparable", |value| !value.is_boolean()));
    (bound(), bound()).prop_map(|(at_least, at_most)| Test::Within { at_least, at_most })
}

fn test() -> impl Strategy<Value = Test> {
    let start = prop::sample::select(vec!["", "o", "2020", "guides/", "guides/a", "g", "Intro"]);
    prop_oneof![
        scalar().prop_map(Test::Is),
        prop::collection::vec(scalar(), 0..3).prop_map(Test::AnyOf),
        prop::collection::vec(scalar(), 0..3).prop_map(Test::NoneOf),
        bounds(),
        start.prop_map(|start| Test::StartsWith(start.to_owned())),
        any::<bool>().prop_map(Test::Exists),
    ]
}

pub fn filter() -> impl Strategy<Value = Filter> {
    prop::collection::vec((field(), test()), 1..3).prop_map(|conditions| Filter {
        conditions: conditions.into_iter().map(|(field, test)| Condition { field, test }).collect(),
    })
}

/// Chunks with all kinds of metadata, all of which have the word `word1`.
pub fn varied() -> Vec<Passage> {
    let mut runner = TestRunner::deterministic();
    let metadata = prop::collection::vec((key(), value()), 0..4);
    let mut dice = Dice::new(3);
    (0..120)
        .map(|number| {
            let document = format!("{}/{}.md", ["guides", "guides/a", "notes"][number % 3], number / 3);
            let mut passage = passage(number, &document, 0, "word1");
            let fields: Map<String, Value> =
                metadata.new_tree(&mut runner).unwrap().current().into_iter().collect();
            passage.chunk.metadata = fields;
            passage.chunk.language = ["en", "", "de"][number % 3].to_owned();
            passage.chunk.source.page = (number % 2 == 0).then_some((number % 5) as u32);
            passage.chunk.source.heading = (number % 4 == 0).then(|| format!("Intro > {}", number % 8));
            passage.vector = Some(dice.vector(4));
            passage
        })
        .collect()
}

/// Asks one engine with many filters.
pub async fn check(engine: &dyn Engine, passages: &[Passage], cases: usize) {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        prop::test_runner::TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
    );
    for _ in 0..cases {
        let filter = filter().new_tree(&mut runner).unwrap().current();
        let mut expected: Vec<String> = passages
            .iter()
            .filter(|passage| filter.holds(&passage.chunk))
            .map(|passage| passage.chunk.id.clone())
            .collect();
        expected.sort();
        let found = engine.keyword(&terms("word1"), &filter, 1000).await.unwrap();
        let found: Vec<String> = found.into_iter().map(|scored| scored.id).collect();
        assert_eq!(found, expected, "keywords with {filter:?}");
        for is_exact in [true, false] {
            let found = engine.vector(&[0.3, -0.1, 0.5, 0.2], &filter, 1000, is_exact).await.unwrap();
            let mut found: Vec<String> = found.into_iter().map(|scored| scored.id).collect();
            found.sort();
            assert_eq!(found, expected, "vectors with {filter:?}");
        }
    }
}

#[tokio::test]
async fn the_embedded_engine_filters_as_the_filter_says() {
    let folder = tempfile::tempdir().unwrap();
    let passages = varied();
    let engine = build(folder.path(), passages.clone(), settings(4)).await;
    check(&engine, &passages, 300).await;
}
