//! Every family against llama.cpp: token ids equal, scores close, greedy continuations equal.
//!
//! The models are tiny and random; `fixtures/gguf/README.md` tells how they and llama.cpp's answers were made.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells what it measured"
)]

use std::path::{Path, PathBuf};

use flowbench_inference::gguf::GgufFile;
use flowbench_inference::tokenizer::{Encoding, Tokenizer};
use flowbench_inference::{GenerateRequest, LocalModel, ModelOptions, Prompt, Sampling};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf")
}

fn answer(name: &str) -> Value {
    let text = std::fs::read_to_string(fixtures().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// `tolerance` is the largest difference of a score, as a part of the range of all scores.
#[track_caller]
fn check_model(name: &str, tolerance: f32) {
    let answer = answer(name);
    let context_length = answer["context_length"].as_u64().map(|length| length as usize);
    let options = ModelOptions { context_length, ..ModelOptions::default() };
    let model = LocalModel::load(&fixtures().join(format!("{name}.gguf")), options).unwrap();
    for prompt in answer["prompts"].as_array().unwrap() {
        let text = prompt["text"].as_str().unwrap();
        let prompt_ids = ids(&prompt["ids"]);
        assert_eq!(model.tokenize(text), prompt_ids, "{name}: ids of {text:?}");

        let expected: Vec<f32> =
            prompt["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap() as f32).collect();
        let scores = model.logits(&prompt_ids).unwrap();
        assert_eq!(scores.len(), expected.len());
        let (low, high) =
            expected.iter().fold((f32::MAX, f32::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
        let difference =
            scores.iter().zip(&expected).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
        let relative = difference / (high - low);
        eprintln!("{name}: largest difference of scores {relative:.6} of their range");
        assert!(relative <= tolerance, "{name}: scores after {text:?} differ by {relative} of their range");

        let request = GenerateRequest {
            sampling: Sampling::greedy(),
            max_tokens: Some(16),
            ..GenerateRequest::new(Prompt::Text(text.to_owned()))
        };
        let reply = model.generate(request).unwrap().wait().unwrap();
        let expected = ids(&prompt["greedy"]);
        assert_eq!(reply.text, continuation(&model, &expected), "{name}: continuation of {text:?}");
        assert_eq!(reply.generated_tokens, expected.len());
    }
}

/// Text that follows a prompt: a whole text's decoding would lose its first space.
fn continuation(model: &LocalModel, ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| model.tokenizer().token_bytes(*id, false)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

// llama.cpp rounds activations to 16 bits before it multiplies them with 16-bit weights, and to 8 bits before
// quantised ones (where we do as well); hence the different tolerances.
const FLOAT: f32 = 0.003;
const QUANTISED: f32 = 0.02;

#[test]
fn llama_answers_as_in_llama_cpp() {
    check_model("llama-f32", FLOAT);
}

#[test]
fn llama_3_with_stretched_frequencies_answers_as_in_llama_cpp() {
    check_model("llama3-bpe", QUANTISED);
}

#[test]
fn mistral_in_k_quants_answers_as_in_llama_cpp() {
    check_model("mistral-q4k", QUANTISED);
}

#[test]
fn qwen_2_with_biases_answers_as_in_llama_cpp() {
    check_model("qwen2-bias", QUANTISED);
}

#[test]
fn qwen_3_with_yarn_answers_as_in_llama_cpp() {
    check_model("qwen3-yarn", FLOAT);
}

#[test]
fn gemma_3_with_a_short_window_answers_as_in_llama_cpp() {
    check_model("gemma3-window", QUANTISED);
}

#[test]
fn phi_3_within_its_original_context_answers_as_in_llama_cpp() {
    check_model("phi3-short", FLOAT);
}

#[test]
fn phi_3_beyond_its_original_context_answers_as_in_llama_cpp() {
    check_model("phi3-long", FLOAT);
}

#[test]
fn phi_3_that_turns_part_of_a_head_answers_as_in_llama_cpp() {
    check_model("phi3-partial", FLOAT);
}

#[track_caller]
fn check_vocabulary(name: &str) {
    let mut file = std::fs::File::open(fixtures().join(format!("{name}.gguf"))).unwrap();
    let mut file = GgufFile::read(&mut file).unwrap();
    let tokenizer = Tokenizer::load(&mut file).unwrap();
    let answer = answer(name);
    let mut wrong = Vec::new();
    for case in answer["texts"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        for (key, add_special, parse_special) in [("plain", true, false), ("special", false, true)] {
            let ours = tokenizer.encode(text, Encoding { add_special, parse_special });
            let theirs = ids(&case[key]);
            // Here llama.cpp joins plain text to a control token; we never do (tested below).
            let spells_control = name.starts_with("vocab-spm") && key == "plain" && text.contains("[INST]");
            if ours != theirs && !spells_control {
                wrong.push(format!("{key} {text:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
            }
        }
        // Back again, byte for byte; save that SentencePiece puts its space behind every special token, and this
        // vocabulary has some for white space.
        if name == "vocab-spm" && ["    ", "\n\n"].iter().any(|special| text.contains(special)) {
            continue;
        }
        let ids = tokenizer.encode(text, Encoding { add_special: true, parse_special: false });
        assert_eq!(tokenizer.decode(&ids, false), text, "{name}: round trip");
    }
    assert!(wrong.is_empty(), "{name}: {} texts differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn byte_level_ids_equal_llama_cpp_s_for_every_rule() {
    for pre in ["llama-bpe", "qwen2", "gpt-2", "tekken", "default", "smollm", "gpt-4o"] {
        check_vocabulary(&format!("vocab-{pre}"));
    }
}

#[test]
fn sentencepiece_ids_equal_llama_cpp_s_with_and_without_a_first_space() {
    check_vocabulary("vocab-spm");
    check_vocabulary("vocab-spm-no-prefix");
}

#[test]
fn plain_text_cannot_spell_a_control_token() {
    let mut file = std::fs::File::open(fixtures().join("vocab-spm.gguf")).unwrap();
    let mut file = GgufFile::read(&mut file).unwrap();
    let tokenizer = Tokenizer::load(&mut file).unwrap();
    let marker = tokenizer.vocabulary().id_of("[INST]").unwrap();
    let text = "<s>[INST] hi [/INST]</s>";
    let encode = |parse_special| tokenizer.encode(text, Encoding { add_special: false, parse_special });
    assert!(encode(true).contains(&marker));
    assert!(!encode(false).contains(&marker), "its pieces join to it in this vocabulary");
    assert_eq!(tokenizer.decode(&encode(false), false), text);
}
