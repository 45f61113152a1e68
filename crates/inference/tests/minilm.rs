//! MiniLM against sentence-transformers, with the real weights: runs where `FLOWBENCH_MINILM` names the model's
//! folder and `FLOWBENCH_MINILM_REFERENCE` a file of texts, ids and vectors, one JSON object a line.

use std::path::Path;

use flowbench_core::ports::EmbeddingPurpose;
use flowbench_inference::{EncoderOptions, LocalEncoder};
use serde_json::Value;

#[test]
fn minilm_gives_the_vectors_of_sentence_transformers() {
    let (Ok(folder), Ok(reference)) =
        (std::env::var("FLOWBENCH_MINILM"), std::env::var("FLOWBENCH_MINILM_REFERENCE"))
    else {
        eprintln!("not run: FLOWBENCH_MINILM and FLOWBENCH_MINILM_REFERENCE are not set");
        return;
    };
    let encoder = LocalEncoder::load(Path::new(&folder), EncoderOptions::default()).unwrap();
    let rows: Vec<Value> = std::fs::read_to_string(reference)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!rows.is_empty());
    let texts: Vec<String> = rows.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    let vectors = encoder.embed_batch(&texts, EmbeddingPurpose::Document).unwrap();
    let (mut least_cosine, mut largest_difference) = (1f64, 0f64);
    for ((row, text), vector) in rows.iter().zip(&texts).zip(&vectors) {
        let id = &row["id"];
        let expected: Vec<u64> =
            row["input_ids"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
        let ids = encoder.ids(text, EmbeddingPurpose::Document).unwrap();
        assert_eq!(ids.into_iter().map(u64::from).collect::<Vec<_>>(), expected, "ids of {id}");
        let expected: Vec<f64> =
            row["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        let vector: Vec<f64> = vector.iter().map(|x| f64::from(*x)).collect();
        let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let dot: f64 = vector.iter().zip(&expected).map(|(a, b)| a * b).sum();
        let cosine = dot / norm(&vector) / norm(&expected);
        assert!(cosine >= 0.99999, "cosine of {id} is {cosine}");
        assert!((norm(&vector) - 1.0).abs() <= 1e-5, "norm of {id} is {}", norm(&vector));
        least_cosine = least_cosine.min(cosine);
        let difference = vector.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        largest_difference = largest_difference.max(difference);
    }
    eprintln!(
        "{} texts: least cosine {least_cosine:.9}, largest difference {largest_difference:.2e}",
        rows.len()
    );
}
