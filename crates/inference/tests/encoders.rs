//! Every family of encoders and rerankers against sentence-transformers and transformers: ids equal, vectors and
//! scores close.
//!
//! The models are tiny and random; `fixtures/encoders/README.md` tells how they and the answers were made.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells what it measured"
)]

use std::path::{Path, PathBuf};

use flowbench_core::ports::{Embedder, EmbeddingPurpose, Reranker};
use flowbench_inference::{
    CrossEncoder, EncoderOptions, LocalEmbedder, LocalEncoder, LocalReranker, RerankerOptions,
};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/encoders").join(name)
}

fn expected(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder(name).join("expected.json")).unwrap()).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn prefix(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[track_caller]
fn check_encoder(name: &str) {
    let expected = expected(name);
    let options = EncoderOptions {
        query_prefix: prefix(&expected["query_prefix"]),
        document_prefix: prefix(&expected["document_prefix"]),
        ..EncoderOptions::default()
    };
    // What the reference would not do either is switched off: it leaves vectors as they are.
    let encoder = LocalEncoder::load(&folder(name), options).unwrap();
    assert_eq!(
        encoder.profile().max_tokens.unwrap() as u64,
        expected["max_tokens"].as_u64().unwrap(),
        "{name}"
    );
    let inputs = texts(&expected["texts"]);
    for (purpose, key) in [(EmbeddingPurpose::Query, "query"), (EmbeddingPurpose::Document, "document")] {
        let vectors = encoder.embed_batch(&inputs, purpose).unwrap();
        let (mut least, mut largest) = (1f64, 0f64);
        for (index, (text, vector)) in inputs.iter().zip(&vectors).enumerate() {
            let ids: Vec<u64> = encoder.ids(text, purpose).unwrap().into_iter().map(u64::from).collect();
            let expected_ids: Vec<u64> = expected[format!("{key}_ids")][index]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_u64().unwrap())
                .collect();
            assert_eq!(ids, expected_ids, "{name}: ids of {text:?} as {key}");
            let expected = numbers(&expected[key][index]);
            let vector: Vec<f64> = vector.iter().map(|x| f64::from(*x)).collect();
            assert_eq!(vector.len(), expected.len(), "{name}: dimensions");
            let dot: f64 = vector.iter().zip(&expected).map(|(a, b)| a * b).sum();
            let cosine = dot / norm(&vector) / norm(&expected);
            least = least.min(cosine);
            let difference = vector.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            largest = largest.max(difference / norm(&expected));
            assert!(cosine >= 0.999_999, "{name}: cosine of {text:?} as {key} is {cosine}");
            assert!(
                (norm(&vector) / norm(&expected) - 1.0).abs() <= 1e-5,
                "{name}: length of {text:?} as {key} is {}, not {}",
                norm(&vector),
                norm(&expected)
            );
            // One by one as in a batch.
            let alone = encoder.embed_batch(std::slice::from_ref(text), purpose).unwrap();
            let apart = alone[0].iter().zip(&vectors[index]).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(apart <= 2e-6 * norm(&expected) as f32, "{name}: {text:?} alone differs by {apart}");
        }
        eprintln!("{name}, {key}: least cosine {least:.9}, largest relative difference {largest:.1e}");
    }
}

#[test]
fn bert_takes_its_length_from_its_own_file_and_not_from_the_tokenizers() {
    check_encoder("bert");
}

#[test]
fn e5_gets_its_prefixes_from_the_options() {
    check_encoder("e5");
}

#[test]
fn dense_layers_behind_the_pooling_are_applied() {
    check_encoder("bert-dense");
}

#[test]
fn xlm_roberta_counts_places_from_behind_padding() {
    check_encoder("xlm-roberta");
}

#[test]
fn roberta_leaves_its_prefix_out_of_the_mean() {
    check_encoder("roberta");
}

#[test]
fn mpnet_sees_distances() {
    check_encoder("mpnet");
}

#[test]
fn modernbert_sees_near_and_far() {
    check_encoder("modernbert");
}

#[test]
fn nomic_turns_and_gates() {
    check_encoder("nomic");
}

#[test]
fn jina_sees_less_of_what_is_far() {
    check_encoder("jina2");
}

#[test]
fn qwen3_takes_the_last_token_and_an_instruction() {
    check_encoder("qwen3");
}

#[track_caller]
fn check_reranker(name: &str) {
    let expected = expected(name);
    let reranker = CrossEncoder::load(&folder(name), RerankerOptions::default()).unwrap();
    let passages = texts(&expected["passages"]);
    for (query, key) in [("query", "scores"), ("long_query", "long_scores")] {
        let query_text = expected[query].as_str().unwrap();
        let scores = reranker.score(query_text, &passages).unwrap();
        let expected_scores = numbers(&expected[key]);
        let mut largest = 0f64;
        for (index, (passage, score)) in passages.iter().zip(&scores).enumerate() {
            if query == "query" {
                let ids: Vec<u64> =
                    reranker.ids(query_text, passage).unwrap().into_iter().map(u64::from).collect();
                let expected_ids: Vec<u64> = expected["ids"][index]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|id| id.as_u64().unwrap())
                    .collect();
                assert_eq!(ids, expected_ids, "{name}: ids of {passage:?}");
            }
            let difference = (f64::from(*score) - expected_scores[index]).abs();
            largest = largest.max(difference);
            assert!(
                difference <= 1e-5 * expected_scores[index].abs().max(1.0),
                "{name}: score of {passage:?} for the {query} is {score}, not {}",
                expected_scores[index]
            );
        }
        eprintln!("{name}, {query}: largest difference {largest:.1e}");
    }
}

#[test]
fn bert_scores_pairs() {
    check_reranker("rerank-bert");
}

#[test]
fn xlm_roberta_scores_pairs() {
    check_reranker("rerank-xlm-roberta");
}

#[test]
fn modernbert_scores_pairs() {
    check_reranker("rerank-modernbert");
}

#[test]
fn qwen3_answers_whether_a_passage_fits() {
    check_reranker("rerank-qwen3");
}

#[tokio::test]
async fn the_engine_gets_the_same_vectors_in_order() {
    let embedder = LocalEmbedder::load(&folder("bert"), "tiny", EncoderOptions::default()).unwrap();
    assert_eq!(embedder.identity().model, "tiny");
    assert_eq!(embedder.profile().dimensions, Some(32));
    let inputs: Vec<String> = (0..100).map(|i| "source code ".repeat(i * 7 % 13) + "x").collect();
    let found = embedder.embed(&inputs, EmbeddingPurpose::Document, None).await.unwrap();
    for (input, vector) in inputs.iter().zip(&found.vectors) {
        let alone =
            embedder.encoder().embed_batch(std::slice::from_ref(input), EmbeddingPurpose::Document).unwrap();
        let apart = alone[0].iter().zip(vector).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(apart <= 2e-6, "{input:?}");
    }
    let none = embedder.embed(&[], EmbeddingPurpose::Query, None).await.unwrap();
    assert!(none.vectors.is_empty());
}

#[tokio::test]
async fn vectors_can_be_cut_but_not_lengthened() {
    let embedder = LocalEmbedder::load(&folder("bert"), "tiny", EncoderOptions::default()).unwrap();
    let input = ["the license".to_owned()];
    let whole = embedder.embed(&input, EmbeddingPurpose::Document, None).await.unwrap();
    let short = embedder.embed(&input, EmbeddingPurpose::Document, Some(8)).await.unwrap();
    assert_eq!(short.vectors[0].len(), 8);
    assert!((short.vectors[0].iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    assert!(
        (short.vectors[0][0] / short.vectors[0][1] - whole.vectors[0][0] / whole.vectors[0][1]).abs() < 1e-4
    );
    let error = embedder.embed(&input, EmbeddingPurpose::Document, Some(64)).await.unwrap_err();
    assert_eq!(error.message, "vectors of `tiny` have 32 dimensions, not 64");
}

#[tokio::test]
async fn the_engine_gets_the_same_scores_in_order() {
    let reranker = LocalReranker::load(&folder("rerank-bert"), "tiny", RerankerOptions::default()).unwrap();
    let passages = texts(&expected("rerank-bert")["passages"]);
    let found = reranker.rerank("the license", &passages).await.unwrap();
    assert_eq!(found, reranker.encoder().score("the license", &passages).unwrap());
}

#[test]
fn ids_give_the_pooled_states_without_what_comes_behind() {
    let encoder = LocalEncoder::load(&folder("bert"), EncoderOptions::default()).unwrap();
    let text = "the license".to_owned();
    let ids = encoder.ids(&text, EmbeddingPurpose::Document).unwrap();
    let raw = encoder.embed_ids(&[&ids]).unwrap().remove(0);
    let finished = encoder.embed_batch(&[text], EmbeddingPurpose::Document).unwrap().remove(0);
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() > 0.01, "no norm was applied");
    assert!(raw.iter().zip(&finished).all(|(raw, done)| (raw / length - done).abs() < 1e-5));
}

#[test]
fn the_digest_changes_with_what_changes_vectors() {
    let load = |options| LocalEncoder::load(&folder("bert"), options).unwrap().profile().digest.unwrap();
    let plain = load(EncoderOptions::default());
    assert_eq!(plain, load(EncoderOptions { fusion_weight: Some(0.3), ..EncoderOptions::default() }));
    assert_ne!(
        plain,
        load(EncoderOptions { query_prefix: Some("q: ".to_owned()), ..EncoderOptions::default() })
    );
    assert_ne!(plain, load(EncoderOptions { max_tokens: Some(10), ..EncoderOptions::default() }));
}

#[test]
fn tokens_lie_in_the_text_on_character_boundaries() {
    for name in ["bert", "xlm-roberta", "roberta", "modernbert", "qwen3"] {
        let encoder = LocalEncoder::load(&folder(name), EncoderOptions::default()).unwrap();
        let tokens = encoder.tokens();
        for text in texts(&expected(name)["texts"]) {
            let spans = tokens.spans(&text);
            assert!(
                spans.iter().all(|span| text.get(span.clone()).is_some_and(|cut| !cut.is_empty())),
                "{name}"
            );
            assert!(spans.is_sorted_by_key(|span| span.start), "{name}: {spans:?} of {text:?}");
        }
        assert_eq!(tokens.count("the license"), tokens.spans("the license").len(), "{name}");
    }
}
