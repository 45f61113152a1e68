//! Static models against model2vec, the Python package whose layout this is. The models are random and tiny;
//! `fixtures/static/README.md` says how they were made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowbench_core::ports::{Embedder, EmbeddingPurpose, ModelErrorKind};
use flowbench_inference::{FileSet, StaticEmbedder, StaticModel, StaticModelError};
use serde_json::Value;

const FILES: [&str; 3] = ["model.safetensors", "tokenizer.json", "config.json"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/static").join(name)
}

fn expected(name: &str) -> Vec<(String, Vec<f32>)> {
    let rows: Vec<Value> =
        serde_json::from_slice(&std::fs::read(fixture(name).join("expected.json")).unwrap()).unwrap();
    let vector =
        |row: &Value| row["vector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    rows.iter().map(|row| (row["text"].as_str().unwrap().to_owned(), vector(row))).collect()
}

/// `tolerance`: model2vec rounds to 16 bits where the table has no more.
#[track_caller]
fn check(name: &str, tolerance: f32) {
    let model = StaticModel::load(&fixture(name)).unwrap();
    let (texts, vectors): (Vec<_>, Vec<_>) = expected(name).into_iter().unzip();
    let found = model.embed_all(&texts, None).unwrap();
    for ((text, expected), found) in texts.iter().zip(vectors).zip(found) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let limit = tolerance * expected.abs().max(1.0);
            assert!((found - expected).abs() <= limit, "{name}: `{text}`: {found} is not {expected}");
        }
    }
}

#[test]
fn vectors_are_those_of_model2vec() {
    check("wordpiece-f32", 1e-6);
    check("wordpiece-int8", 1e-6);
    check("wordpiece-rows", 1e-6);
    check("wordlevel-mapped", 1e-3);
    check("unigram-f16", 1e-3);
}

#[test]
fn a_text_without_known_tokens_gives_zeros() {
    let model = StaticModel::load(&fixture("wordpiece-int8")).unwrap();
    for text in ["", " \n", "zzz"] {
        assert_eq!(model.embed(text).unwrap(), [0.0; 8]);
    }
}

#[test]
fn a_model_is_the_same_from_memory_and_from_its_folder() {
    let folder = fixture("wordpiece-rows");
    let mut files = FileSet::default();
    for name in FILES {
        files.insert(name, std::fs::read(folder.join(name)).unwrap());
    }
    let from_memory = StaticModel::from_files(files).unwrap();
    let from_folder = StaticModel::load(&folder).unwrap();
    assert_eq!(from_memory.digest(), from_folder.digest());
    assert_eq!(from_memory.embed("the ferry").unwrap(), from_folder.embed("the ferry").unwrap());
    let other = StaticModel::load(&fixture("wordpiece-f32")).unwrap();
    assert_ne!(from_memory.digest(), other.digest());
}

#[test]
fn many_texts_are_embedded_in_order() {
    let model = StaticModel::load(&fixture("wordpiece-f32")).unwrap();
    let texts: Vec<String> = (0..3_000)
        .map(|at| format!("{} ferry at noon", ["the", "ein", "zwei", "a", "b"][at % 5].repeat(1 + at % 7)))
        .collect();
    let together = model.embed_all(&texts, None).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        assert_eq!(&model.embed(text).unwrap(), vector);
    }
}

#[test]
fn sentence_transformers_layout_loads_too() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("0_StaticEmbedding");
    std::fs::create_dir(&nested).unwrap();
    let source = fixture("wordpiece-f32");
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let table = tensors.tensor("embeddings").unwrap();
    let renamed = safetensors::serialize([("embedding.weight", table)], None).unwrap();
    std::fs::write(nested.join("model.safetensors"), renamed).unwrap();
    std::fs::copy(source.join("tokenizer.json"), nested.join("tokenizer.json")).unwrap();
    std::fs::write(folder.path().join("config_sentence_transformers.json"), "{}").unwrap();
    let model = StaticModel::load(folder.path()).unwrap();
    assert_eq!(model.max_tokens(), Some(512), "nothing is said, so model2vec's own limit holds");
    let (plain, normalized) =
        (model.embed("the ferry").unwrap(), StaticModel::load(&source).unwrap().embed("the ferry").unwrap());
    let length = plain.iter().map(|v| v * v).sum::<f32>().sqrt();
    for (plain, normalized) in plain.iter().zip(&normalized) {
        assert!((plain / length - normalized).abs() < 1e-6);
    }
}

#[track_caller]
fn refused(change: impl Fn(&mut FileSet), expected: &str) {
    let mut files = FileSet::read(&fixture("wordlevel-mapped"), &FILES).unwrap();
    change(&mut files);
    let error = StaticModel::from_files(files).err().expect("this model is broken");
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn broken_models_are_refused_with_what_is_wrong() {
    refused(
        |files| *files = FileSet::read(&fixture("wordpiece-f32"), &FILES[..2]).unwrap(),
        "a static model has a file `config.json`, and this one has none",
    );
    refused(
        |files| files.insert("model.safetensors", b"nonsense".as_slice()),
        "the model's `model.safetensors` is broken: ",
    );
    refused(
        |files| files.insert("tokenizer.json", b"{}".as_slice()),
        "the model's tokenizer cannot be read: ",
    );
    refused(
        |files| files.insert("config.json", b"[".as_slice()),
        "the model's `config.json` cannot be read: ",
    );
    let view = |dtype, shape, data| safetensors::tensor::TensorView::new(dtype, shape, data).unwrap();
    use safetensors::Dtype::{F32, I64, U8};
    let table = [0_u8; 4 * 2 * 3];
    let far = [9_i64.to_le_bytes(); 9].concat();
    let write = |tensors: Vec<(&str, safetensors::tensor::TensorView<'_>)>| {
        let bytes = safetensors::serialize(tensors, None).unwrap();
        move |files: &mut FileSet| files.insert("model.safetensors", bytes.clone())
    };
    refused(
        write(vec![("embeddings", view(F32, vec![2, 3], &table))]),
        "the model's `model.safetensors` has 2 rows for the 9 tokens of the tokenizer",
    );
    refused(
        write(vec![("embeddings", view(F32, vec![2, 3], &table)), ("mapping", view(I64, vec![9], &far))]),
        "the model's `model.safetensors` maps a token to a row that the table does not have",
    );
    refused(
        write(vec![("embeddings", view(F32, vec![6], &table))]),
        "the model's `model.safetensors` has a table of 1 dimensions instead of two",
    );
    refused(
        write(vec![("other", view(F32, vec![2, 3], &table))]),
        "the model's `model.safetensors` has no tensor `embeddings`",
    );
    refused(
        write(vec![("embeddings", view(U8, vec![4, 6], &table))]),
        "the model's `model.safetensors` holds numbers of type U8",
    );
}

#[tokio::test]
async fn the_engine_gets_vectors_facts_and_tokens() {
    let model = Arc::new(StaticModel::load(&fixture("wordpiece-f32")).unwrap());
    let embedder = StaticEmbedder::new(Arc::clone(&model), "tiny")
        .with_facts(&["en".to_owned()], Some(0.1))
        .with_prefixes("the ", "");
    let profile = embedder.profile();
    assert_eq!((profile.dimensions, profile.max_tokens, profile.fusion_weight), (Some(12), None, Some(0.1)));
    assert!(profile.speaks("en") && !profile.speaks("de"));
    assert_ne!(profile.digest.as_deref(), Some(model.digest()), "other prefixes make other vectors");
    let plain = StaticEmbedder::new(Arc::clone(&model), "tiny").with_prefixes("", "");
    assert_eq!(plain.profile().digest.as_deref(), Some(model.digest()));
    assert_eq!(embedder.identity().model, "tiny");
    assert_eq!(embedder.tokens().unwrap().spans("noonnoon at"), [0..4, 4..8, 9..11]);

    let texts = ["ferry".to_owned()];
    let query = embedder.embed(&texts, EmbeddingPurpose::Query, None).await.unwrap();
    assert_eq!(query.vectors, [model.embed("the ferry").unwrap()]);
    let document = embedder.embed(&texts, EmbeddingPurpose::Document, Some(4)).await.unwrap();
    assert_eq!(document.vectors[0].len(), 4);
    let length: f32 = document.vectors[0].iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-6, "what is left of a vector has length one again");

    let many = vec!["the ferry leaves at noon ".repeat(20); 500];
    let vectors = embedder.embed(&many, EmbeddingPurpose::Document, None).await.unwrap().vectors;
    assert!(vectors.len() == 500 && vectors.iter().all(|vector| *vector == vectors[0]));

    let error = embedder.embed(&texts, EmbeddingPurpose::Query, Some(13)).await.unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::InvalidRequest);
    assert_eq!(error.message, "vectors of 13 numbers were asked for, and the model makes 12");
    assert!(matches!(
        StaticModel::load(Path::new("no such folder")).err(),
        Some(StaticModelError::MissingFile { .. })
    ));
}
