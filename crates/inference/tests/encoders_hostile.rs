//! Broken and hostile model folders: each is refused with a message that names the file and the key or tensor, and
//! nothing large is allocated on the way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use flowbench_core::ports::EmbeddingPurpose;
use flowbench_inference::{CrossEncoder, EncoderOptions, LocalEncoder, RerankerOptions};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/encoders").join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// Changes some bytes of the weights, which begin behind the header.
fn patch_weights(folder: &Path, offset_in_data: usize, bytes: &[u8]) {
    let path = folder.join("model.safetensors");
    let mut content = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(content[..8].try_into().unwrap()) as usize;
    let start = 8 + header + offset_in_data;
    content[start..start + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, content).unwrap();
}

#[track_caller]
fn check_of(name: &str, spoil: impl FnOnce(&Path), expected: &str) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    copy(&fixture(name), &folder);
    spoil(&folder);
    let error = match LocalEncoder::load(&folder, EncoderOptions::default()) {
        Ok(_) => panic!("it was loaded, where this was expected: {expected}"),
        Err(error) => error.to_string().replace(&folder.display().to_string(), "M").replace('\\', "/"),
    };
    assert!(error.contains(expected), "unexpected message: {error}");
}

#[track_caller]
fn check(spoil: impl FnOnce(&Path), expected: &str) {
    check_of("bert", spoil, expected);
}

fn config(key: &'static str, value: Value) -> impl FnOnce(&Path) {
    move |folder| edit(folder, "config.json", |config| config[key] = value)
}

#[test]
fn missing_files_are_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        check(
            |folder| std::fs::remove_file(folder.join(file)).unwrap(),
            &format!("model file `M/{file}` cannot be read"),
        );
    }
    check_of(
        "bert-dense",
        |folder| std::fs::remove_file(folder.join("2_Dense/model.safetensors")).unwrap(),
        "model file `M/2_Dense/model.safetensors` cannot be read",
    );
}

#[test]
fn settings_that_are_no_json_are_named() {
    for file in ["config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"] {
        check(
            |folder| std::fs::write(folder.join(file), "{").unwrap(),
            &format!("model file `M/{file}` is not valid JSON"),
        );
    }
    check(
        |folder| std::fs::write(folder.join("tokenizer.json"), "{}").unwrap(),
        "model file `M/tokenizer.json` cannot be used as a tokenizer",
    );
}

#[test]
fn absurd_numbers_are_refused_before_anything_is_allocated() {
    check(
        config("hidden_size", json!(0)),
        "model file `M/config.json` `hidden_size` must be a whole number from 1",
    );
    check(config("hidden_size", json!(1e15)), "`hidden_size` must be a whole number");
    check(
        config("hidden_size", json!("wide")),
        "`hidden_size` must be a whole number from 1 to 65536, not \"wide\"",
    );
    check(config("num_hidden_layers", json!(4_000_000_000u64)), "`num_hidden_layers` must be a whole number");
    check(config("num_attention_heads", json!(-4)), "`num_attention_heads` must be a whole number");
    check(
        config("num_attention_heads", json!(5)),
        "`num_attention_heads` must divide the hidden size 32, not be 5",
    );
    check(config("vocab_size", json!(1u64 << 60)), "`vocab_size` must be a whole number");
    check(config("max_position_embeddings", json!(1u64 << 40)), "`max_position_embeddings` must be");
    check(config("layer_norm_eps", json!(-1)), "`layer_norm_eps` must be above zero, not -1");
    check(config("hidden_size", Value::Null), "has no `hidden_size`");
    check(
        |folder| edit(folder, "sentence_bert_config.json", |settings| settings["max_seq_length"] = json!(0)),
        "model file `M/sentence_bert_config.json` `max_seq_length` must be a whole number",
    );
}

#[test]
fn numbers_within_limits_that_do_not_fit_the_weights_are_refused_by_the_tensor() {
    check(
        config("vocab_size", json!(4_000_000)),
        "model file `M/model.safetensors` tensor `embeddings.word_embeddings.weight` has the dimensions",
    );
    check(
        config("intermediate_size", json!(500_000)),
        "`encoder.layer.0.intermediate.dense.weight` has the dimensions",
    );
    check(config("num_hidden_layers", json!(3)), "has no tensor `encoder.layer.2.");
    check_of(
        "modernbert",
        |folder| edit(folder, "config.json", |config| config["num_hidden_layers"] = json!(500)),
        "`layer_types` must say",
    );
    check_of("qwen3", config("head_dim", json!(65536)), "`layers.0.");
    check_of("qwen3", config("num_key_value_heads", json!(3)), "`num_key_value_heads` must divide");
    check_of("qwen3", config("head_dim", json!(7)), "`head_dim` must be even");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    check(
        config("model_type", json!("t5")),
        "model file `M/config.json`: encoders of type `t5` are not supported",
    );
    check(
        config("position_embedding_type", json!("relative_key")),
        "`position_embedding_type` is `relative_key`",
    );
    check(config("hidden_act", json!("mystery")), "`hidden_act` is `mystery`, which is not known");
    check_of("nomic", config("num_experts", json!(8)), "`num_experts` is set, which is not supported");
    check_of("qwen3", config("use_sliding_window", json!(true)), "`use_sliding_window` is set");
    check(
        |folder| edit(folder, "modules.json", |modules| modules[1]["type"] = json!("custom.Attention")),
        "model file `M/modules.json` lists a module of type `Attention`, which is not supported",
    );
    check(
        |folder| {
            edit(folder, "1_Pooling/config.json", |settings| settings["pooling_mode"] = json!("median"));
        },
        "model file `M/1_Pooling/config.json` `pooling_mode` is \"median\", which is not known",
    );
}

#[test]
fn paths_that_lead_out_of_the_folder_are_refused() {
    check(
        |folder| edit(folder, "modules.json", |modules| modules[1]["path"] = json!("../../elsewhere")),
        "model file `M/modules.json` names `../../elsewhere`, which is outside the model's folder",
    );
    check(
        |folder| {
            std::fs::remove_file(folder.join("model.safetensors")).unwrap();
            let index = json!({"weight_map": {"a": "/etc/passwd"}});
            std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
        },
        "names `/etc/passwd`, which is outside the model's folder",
    );
}

#[test]
fn weights_that_are_cut_or_lie_are_refused() {
    let weights = |folder: &Path| folder.join("model.safetensors");
    check(
        |folder| {
            let bytes = std::fs::read(weights(folder)).unwrap();
            std::fs::write(weights(folder), &bytes[..bytes.len() - 10]).unwrap();
        },
        "model file `M/model.safetensors` is cut short or too long",
    );
    check(|folder| std::fs::write(weights(folder), [1, 2, 3]).unwrap(), "is cut short: it has 3 bytes");
    check(
        |folder| std::fs::write(weights(folder), [0xff; 64]).unwrap(),
        "is no safetensors file, or cut short",
    );
    check(
        |folder| {
            let header = br#"{"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,4]}}"#;
            let mut file = (header.len() as u64).to_le_bytes().to_vec();
            file.extend(header);
            file.extend([0; 4]);
            std::fs::write(weights(folder), file).unwrap();
        },
        "has a header that cannot be read",
    );
}

#[test]
fn broken_weights_are_found() {
    check(
        |folder| patch_weights(folder, 0, &f32::NAN.to_le_bytes()),
        "has the value NaN; the model is broken",
    );
    check(
        |folder| patch_weights(folder, 4, &f32::INFINITY.to_le_bytes()),
        "has the value inf; the model is broken",
    );
}

#[test]
fn more_tokens_than_positions_are_never_given_to_the_model() {
    for name in ["bert", "xlm-roberta", "modernbert", "qwen3", "jina2"] {
        let options = EncoderOptions { max_tokens: Some(1_000_000), ..EncoderOptions::default() };
        let encoder = LocalEncoder::load(&fixture(name), options).unwrap();
        let limit = encoder.profile().max_tokens.unwrap();
        assert!(limit <= 256, "{name}: {limit}");
        let vectors =
            encoder.embed_batch(&["source code ".repeat(2000)], EmbeddingPurpose::Document).unwrap();
        assert!(vectors[0].iter().all(|x| x.is_finite()), "{name}");
        let too_long = vec![5; limit + 1];
        let error = encoder.embed_ids(&[&too_long]).unwrap_err().to_string();
        assert!(error.contains(&format!("the model has {limit} positions")), "{error}");
    }
}

#[test]
fn ids_outside_the_vocabulary_and_empty_texts_are_refused() {
    let encoder = LocalEncoder::load(&fixture("bert"), EncoderOptions::default()).unwrap();
    let error = encoder.embed_ids(&[&[1_000_000]]).unwrap_err();
    assert!(error.to_string().contains("gave the token 1000000"), "{error}");
    let error = encoder.embed_ids(&[&[1], &[]]).unwrap_err();
    assert_eq!(error.to_string(), "text 1 comes to no tokens");
}

#[test]
fn rerankers_are_refused_the_same_way() {
    let load = |name: &str, spoil: &dyn Fn(&Path)| {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("model");
        copy(&fixture(name), &folder);
        spoil(&folder);
        match CrossEncoder::load(&folder, RerankerOptions::default()) {
            Ok(_) => panic!("it was loaded"),
            Err(error) => error.to_string().replace(&folder.display().to_string(), "M"),
        }
    };
    let error = load("bert", &|_| {});
    assert!(error.contains("has no tensor `pooler.dense.weight`"), "an encoder is no reranker: {error}");
    let error = load("nomic", &|_| {});
    assert!(error.contains("encoders of type `nomic_bert` are not supported"), "{error}");
    let error = load("rerank-bert", &|folder| {
        edit(folder, "config.json", |config| {
            config["sentence_transformers"] = json!({"activation_fn": "evil.Code"});
        });
    });
    assert!(error.contains("`activation_fn` is `evil.Code`, which is not known"), "{error}");
    let error = load("rerank-qwen3", &|folder| {
        edit(folder, "tokenizer.json", |tokenizer| {
            let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
            let id = vocabulary.remove("yes").unwrap();
            vocabulary.insert("yep".to_owned(), id);
            let merges = tokenizer["model"]["merges"].as_array_mut().unwrap();
            merges.retain(|merge| merge != &json!(["ye", "s"]));
        });
    });
    assert!(error.contains("has no token `yes`"), "{error}");
}
