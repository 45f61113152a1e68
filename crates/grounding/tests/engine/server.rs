//! The engine on a Qdrant server: on a stand-in always, on a real server when `QDRANT_URL` says where one is.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use flowbench_core::connection::Secret;
use flowbench_grounding::engine::server::{Opened, QdrantPlace, Writer};
use flowbench_grounding::engine::{Engine, EngineError, EngineWriter, Filter, Quantization, VectorSettings};

use crate::corpus::{answers, build, fill, id, passage, passages, questions, settings, terms};
use crate::filters;
use crate::stand_in::StandIn;

const GENERATION: &str = "0123456789abcdef0123456789abcdef";
const NEXT: &str = "fedcba9876543210";

/// Where a real server is; says so when there is none.
fn real(test: &str) -> Option<QdrantPlace> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Ok(url) = std::env::var("QDRANT_URL") else {
        // Not with a macro, whose words a passing test keeps to itself.
        let _ = writeln!(std::io::stderr(), "{test}: not run against a real server, QDRANT_URL is not set");
        return None;
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Some(QdrantPlace {
        url,
        api_key: std::env::var("QDRANT_API_KEY").ok().map(Secret::new),
        collection: format!("flowbench-test-{}-{number}", std::process::id()),
    })
}

async fn fill_server(
    place: &QdrantPlace,
    generation: &str,
    count: usize,
    settings: VectorSettings,
) -> Opened {
    let added = passages(count, settings.dimensions);
    fill(Writer::create(place, generation, Some(settings)).await.unwrap(), added).await;
    Opened::open(place, generation).await.unwrap()
}

async fn clear(place: &QdrantPlace) {
    place.sweep(&[]).await.unwrap();
}

/// The same ids in the same order, and the same scores up to what vectors are rounded by.
async fn check_same(place: &QdrantPlace) {
    let folder = tempfile::tempdir().unwrap();
    let embedded = build(folder.path(), passages(600, 8), settings(8)).await;
    let server = fill_server(place, GENERATION, 600, settings(8)).await;
    assert_eq!(server.len(), embedded.len());
    let (there, here) = (answers(&server, 8).await, answers(&embedded, 8).await);
    for (there, here) in there.iter().zip(&here) {
        let ids = |found: &[flowbench_grounding::engine::Scored]| -> Vec<String> {
            found.iter().map(|scored| scored.id.clone()).collect()
        };
        assert_eq!(ids(there), ids(here));
        for (there, here) in there.iter().zip(here) {
            assert!((there.score - here.score).abs() < 1e-5, "{there:?} {here:?}");
        }
    }
    let everything = Filter::default();
    for question in questions() {
        let there = server.keyword(&question, &everything, 50).await.unwrap();
        assert_eq!(
            there,
            embedded.keyword(&question, &everything, 50).await.unwrap(),
            "BM25 to the last bit"
        );
        let ids: Vec<String> = there.into_iter().map(|scored| scored.id).chain([id(90_000)]).collect();
        assert_eq!(
            server.keyword_parts(&question, &ids).await.unwrap(),
            embedded.keyword_parts(&question, &ids).await.unwrap()
        );
        assert_eq!(server.chunks(&ids).await.unwrap(), embedded.chunks(&ids).await.unwrap());
    }
    let document = "guides/part2/page21.md";
    assert_eq!(
        server.neighbours(document, 1..=2).await.unwrap(),
        embedded.neighbours(document, 1..=2).await.unwrap()
    );
    let ids = [id(3), id(90_000), id(5)];
    let (there, here) = (server.vectors_of(&ids).await.unwrap(), embedded.vectors_of(&ids).await.unwrap());
    for (there, here) in there.iter().zip(&here) {
        assert_eq!(there.is_some(), here.is_some());
        for (there, here) in there.iter().flatten().zip(here.iter().flatten()) {
            assert!((there - here).abs() < 1e-6);
        }
    }
    server.verify().await.unwrap();
    clear(place).await;
}

#[tokio::test]
async fn a_server_gives_the_same_answers_as_the_embedded_engine() {
    check_same(&StandIn::start(None).place).await;
    if let Some(place) = real("a_server_gives_the_same_answers_as_the_embedded_engine") {
        check_same(&place).await;
    }
}

async fn check_filters(place: &QdrantPlace) {
    let passages = filters::varied();
    fill(Writer::create(place, GENERATION, Some(settings(4))).await.unwrap(), passages.clone()).await;
    filters::check(&Opened::open(place, GENERATION).await.unwrap(), &passages, 150).await;
    clear(place).await;
}

#[tokio::test]
async fn a_server_filters_as_the_filter_says() {
    check_filters(&StandIn::start(None).place).await;
    if let Some(place) = real("a_server_filters_as_the_filter_says") {
        check_filters(&place).await;
    }
}

async fn check_generations(place: &QdrantPlace) {
    let quantized = VectorSettings { dimensions: 8, quantization: Quantization::Int8 };
    drop(fill_server(place, GENERATION, 40, quantized).await);
    assert_eq!(place.published().await.unwrap(), None);
    place.publish(GENERATION).await.unwrap();
    let first = format!("{}-0123456789ab", place.collection);
    assert_eq!(place.published().await.unwrap().as_ref(), Some(&first));

    // A document that goes away while the next one is written.
    let mut writer = Writer::create(place, NEXT, Some(settings(8))).await.unwrap();
    writer.add(passages(60, 8)).await.unwrap();
    writer.add(vec![passage(70, "gone.md", 0, "word1 gone")]).await.unwrap();
    writer.remove_documents(&["gone.md".to_owned()]).await.unwrap();
    Box::new(writer).finish().await.unwrap();
    let engine = Opened::open(place, NEXT).await.unwrap();
    assert_eq!(engine.len(), 60);
    assert!(engine.keyword(&terms("gone"), &Filter::default(), 5).await.unwrap().is_empty());
    assert_eq!(place.published().await.unwrap().as_ref(), Some(&first), "the earlier one serves until then");
    place.publish(NEXT).await.unwrap();
    assert_eq!(place.published().await.unwrap(), Some(format!("{}-fedcba987654", place.collection)));
    assert!(Opened::open(place, GENERATION).await.is_ok(), "who reads it still can");
    let error = Writer::create(place, NEXT, None).await.err().expect("it is in use");
    assert!(matches!(error, EngineError::Refused { .. }), "{error}");
    assert_eq!(place.sweep(&[GENERATION.to_owned()]).await.unwrap(), Vec::<String>::new());
    assert_eq!(place.sweep(&[]).await.unwrap(), [first]);
}

#[tokio::test]
async fn generations_are_swapped_in_one_step_and_old_ones_swept() {
    let server = StandIn::start(None);
    check_generations(&server.place).await;
    assert_eq!(server.alias_changes(), [1, 2], "the swap is one request");
    if let Some(place) = real("generations_are_swapped_in_one_step_and_old_ones_swept") {
        check_generations(&place).await;
    }
}

#[tokio::test]
async fn a_server_that_goes_away_is_named_and_what_it_had_does_not_open() {
    let mut server = StandIn::start(None);
    let mut writer = Writer::create(&server.place, GENERATION, Some(settings(8))).await.unwrap();
    writer.add(passages(50, 8)).await.unwrap();
    let error = Opened::open(&server.place, GENERATION).await.err().expect("half a generation");
    assert!(matches!(error, EngineError::Damaged { .. }), "{error}");
    let address = server.place.url.clone();
    server.stop();
    let error = writer.add(passages(50, 8)).await.unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("the Qdrant server at `{address}` does not answer: ")),
        "{error}"
    );
    let error = Opened::open(&server.place, GENERATION).await.err().expect("no server");
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn refusals_are_told_without_the_key() {
    let server = StandIn::start(Some("right-key"));
    fill_server(&server.place, GENERATION, 20, settings(8)).await;
    let wrong = QdrantPlace { api_key: Some(Secret::new("wrong-key")), ..server.place.clone() };
    assert!(!format!("{wrong:?}").contains("wrong-key"));
    let error = Opened::open(&wrong, GENERATION).await.err().expect("a wrong key");
    assert!(matches!(error, EngineError::Refused { .. }), "{error}");
    assert!(error.to_string().ends_with("Invalid API key ••••"), "{error}");
    let broken = QdrantPlace { api_key: Some(Secret::new("line\nbreak")), ..server.place.clone() };
    let error = Opened::open(&broken, GENERATION).await.err().expect("a key that is none");
    assert!(!error.to_string().contains("break"), "{error}");
    let odd = QdrantPlace { url: "ftp://somewhere".to_owned(), ..server.place.clone() };
    assert!(matches!(Opened::open(&odd, GENERATION).await, Err(EngineError::Refused { .. })));

    let mut writer = Writer::create(&server.place, NEXT, Some(settings(8))).await.unwrap();
    let mut added = passages(10, 8);
    added[9].vector = Some(vec![1.0; 3]);
    let error = writer.add(added).await.unwrap_err();
    assert_eq!(error.to_string(), "a vector has 3 dimensions, and the index has 8");
    server.fill_up_after(0);
    let error = writer.add(passages(10, 8)).await.unwrap_err();
    assert!(error.to_string().ends_with("refuses: No space left on device"), "{error}");
    assert_eq!(server.collections().len(), 2);
}

#[tokio::test]
async fn what_a_server_lost_is_found() {
    let server = StandIn::start(None);
    let engine = fill_server(&server.place, GENERATION, 40, settings(8)).await;
    engine.verify().await.unwrap();
    server.lose_a_vector("handbook-0123456789ab");
    let error = engine.verify().await.unwrap_err();
    assert!(error.to_string().ends_with("it has 39 vectors instead of 40"), "{error}");
    server.corrupt("handbook-0123456789ab");
    let error = engine.verify().await.unwrap_err();
    assert!(error.to_string().ends_with("its texts are not what was written"), "{error}");
}
