//! Distilling against numpy: `fixtures/static/make.py` works the same models out again. The encoder is a table whose
//! rows are averaged, so that the numbers can be followed by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use flowbench_inference::distill::{
    DistillError, DistillOptions, Distilled, Quantization, TokenEncoder, distill,
};
use flowbench_inference::{EncoderOptions, FileSet, InferenceError, LocalEncoder, StaticModel};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/static").join(name)
}

/// BERT's tokenizer with its special tokens around every text.
fn tokenizer() -> Vec<u8> {
    let text = std::fs::read(fixture("wordpiece-f32/tokenizer.json")).unwrap();
    let mut value: Value = serde_json::from_slice(&text).unwrap();
    let special = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let ids = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    value["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": ids("[CLS]", 2), "[SEP]": ids("[SEP]", 3)},
    });
    value["truncation"] =
        json!({"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    value.to_string().into_bytes()
}

struct Mean {
    rows: Vec<Vec<f32>>,
}

impl Mean {
    fn new() -> Self {
        let bytes = std::fs::read(fixture("wordpiece-f32/model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let table = tensors.tensor("embeddings").unwrap();
        let (numbers, _) = table.data().as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Self { rows: numbers.chunks(table.shape()[1]).map(<[f32]>::to_vec).collect() }
    }
}

impl TokenEncoder for Mean {
    fn encode(&self, ids: &[&[u32]]) -> Result<Vec<Vec<f32>>, InferenceError> {
        let mean = |ids: &&[u32]| -> Vec<f32> {
            let sum = |at: usize| ids.iter().map(|id| self.rows[*id as usize][at]).sum::<f32>();
            (0..self.rows[0].len()).map(|at| sum(at) / ids.len() as f32).collect()
        };
        Ok(ids.iter().map(mean).collect())
    }
}

fn corpus() -> Vec<String> {
    vec!["Schiffe ferries, Ferries!".replace(',', ""); 3]
}

fn options(quantization: Quantization) -> DistillOptions {
    DistillOptions {
        dimensions: 8,
        quantization,
        rarity: 1e-2,
        corpus_rarity: 1e-1,
        evening: 0.5,
        words: 2,
        languages: vec!["en".to_owned()],
        ..DistillOptions::default()
    }
}

fn made(options: &DistillOptions) -> Distilled {
    distill(&Mean::new(), &tokenizer(), Some(&corpus()), options, &mut |_, _| true).unwrap()
}

fn load(distilled: &Distilled) -> StaticModel {
    let mut files = FileSet::default();
    for (name, bytes) in &distilled.files {
        files.insert(*name, bytes.clone());
    }
    StaticModel::from_files(files).unwrap()
}

#[track_caller]
fn check(distilled: &Distilled, expected: &str, tolerance: f32) {
    let model = load(distilled);
    let expected: Vec<Value> = serde_json::from_slice(&std::fs::read(fixture(expected)).unwrap()).unwrap();
    for row in expected {
        let text = row["text"].as_str().unwrap();
        let vector = model.embed(text).unwrap();
        for (found, expected) in vector.iter().zip(row["vector"].as_array().unwrap()) {
            let expected = expected.as_f64().unwrap() as f32;
            assert!((found - expected).abs() < tolerance, "`{text}`: {found} is not {expected}");
        }
    }
}

#[test]
fn vectors_are_those_that_numpy_finds() {
    for (quantization, tolerance) in
        [(Quantization::Float32, 1e-5), (Quantization::Float16, 1e-3), (Quantization::Int8, 1e-2)]
    {
        let distilled = made(&options(quantization));
        assert_eq!((distilled.words, distilled.dimensions), (2, 8));
        check(&distilled, "distilled-corpus.json", tolerance);
    }
}

#[test]
fn without_a_corpus_only_the_place_in_the_vocabulary_counts() {
    let plain = DistillOptions { words: 0, ..options(Quantization::Float32) };
    let plain = distill(&Mean::new(), &tokenizer(), None, &plain, &mut |_, _| true).unwrap();
    assert_eq!(plain.words, 0);
    check(&plain, "distilled-plain.json", 1e-5);
    let model = load(&plain);
    assert_eq!(model.languages(), ["en"]);
    assert_eq!(model.max_tokens(), None, "a text of any length counts as a whole");
    assert_eq!(model.embed("zzz qqq").unwrap(), [0.0; 8], "unknown words say nothing");
    let similar = |a: &str, b: &str| {
        let (a, b) = (model.embed(a).unwrap(), model.embed(b).unwrap());
        a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>()
    };
    assert!(similar("the ferry leaves", "ferry leaves") > similar("the ferry leaves", "ein boot"));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let options = options(Quantization::Int8);
    assert_eq!(made(&options), made(&options));
    let folder = tempfile::tempdir().unwrap();
    let paths = made(&options).save(&folder.path().join("new/model")).unwrap();
    assert_eq!(paths.len(), 3);
    assert_eq!(
        StaticModel::load(&folder.path().join("new/model")).unwrap().digest(),
        load(&made(&options)).digest()
    );
}

#[test]
fn a_real_encoder_is_distilled_as_numpy_does_it() {
    let folder = fixture("../encoders/bert");
    let encoder = LocalEncoder::load(&folder, EncoderOptions::default()).unwrap();
    let tokenizer = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let made = |quantization| {
        let options = DistillOptions { dimensions: 10, quantization, ..DistillOptions::default() };
        distill(&encoder, &tokenizer, None, &options, &mut |_, _| true).unwrap()
    };
    check(&made(Quantization::Float32), "distilled-bert.json", 1e-3);
    check(&made(Quantization::Int8), "distilled-bert.json", 2e-2);
    assert_eq!(made(Quantization::Int8), made(Quantization::Int8), "byte for byte");
}

#[test]
fn progress_is_told_and_can_end_the_work() {
    let mut told = Vec::new();
    let options = options(Quantization::Int8);
    distill(&Mean::new(), &tokenizer(), Some(&corpus()), &options, &mut |done, of| {
        told.push((done, of));
        true
    })
    .unwrap();
    let all = told.last().unwrap().1;
    assert_eq!(told, [(0, all), (all, all)]);
    let ended = distill(&Mean::new(), &tokenizer(), Some(&corpus()), &options, &mut |_, _| false);
    assert!(matches!(ended, Err(DistillError::Cancelled)));
}

#[test]
fn impossible_settings_are_refused() {
    let refused = |options: DistillOptions, expected: &str| {
        let error = distill(&Mean::new(), &tokenizer(), None, &options, &mut |_, _| true).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let plain = DistillOptions::default;
    refused(DistillOptions { dimensions: 0, ..plain() }, "`dimensions` must be at least 1, not 0");
    refused(DistillOptions { rarity: 0.0, ..plain() }, "`rarity` must be above 0 and at most 1, not 0");
    refused(DistillOptions { evening: 2.0, ..plain() }, "`evening` must be from 0 to 1, not 2");
    refused(DistillOptions { words: 5, ..plain() }, "`words` must be 0 without a corpus, not 5");
}
