//! The real Gemma 3 270M, where its file is at hand: `FLOWBENCH_GEMMA_GGUF=/path/to/gemma-3-270m-q4_k_m.gguf`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells what it measured"
)]

use std::path::PathBuf;
use std::time::Instant;

use flowbench_inference::{
    Finish, GenerateRequest, InferenceError, LocalModel, ModelOptions, Prompt, ReplyFormat, Sampling,
};

const PROMPT: &str = "The capital of France is Paris. The capital of Sweden is";

/// The model's file, or `None` after saying that the test did not run.
fn gemma() -> Option<LocalModel> {
    let Some(path) = std::env::var_os("FLOWBENCH_GEMMA_GGUF") else {
        eprintln!("did not run: FLOWBENCH_GEMMA_GGUF is not set");
        return None;
    };
    let started = Instant::now();
    let model = LocalModel::load(&PathBuf::from(path), ModelOptions::default()).unwrap();
    eprintln!("loaded in {:?}", started.elapsed());
    Some(model)
}

fn greedy(text: &str, max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        sampling: Sampling::greedy(),
        max_tokens: Some(max_tokens),
        ..GenerateRequest::new(Prompt::Text(text.to_owned()))
    }
}

#[test]
fn it_knows_two_capitals() {
    let Some(model) = gemma() else { return };
    let ids = [2, 818, 5279, 529, 7001, 563, 9079, 236761, 669, 5279, 529, 27556, 563];
    assert_eq!(model.tokenize(PROMPT), ids);
    let reply = model.generate(greedy(PROMPT, 32)).unwrap().wait().unwrap();
    assert!(
        reply.text.starts_with(" Stockholm. The capital of the United States is Washington"),
        "llama.cpp goes on so, ours: {:?}",
        reply.text
    );
}

#[test]
fn it_is_not_absurdly_slow() {
    let Some(model) = gemma() else { return };
    model.generate(greedy(PROMPT, 4)).unwrap().wait().unwrap();
    let started = Instant::now();
    let reply = model.generate(greedy(PROMPT, 64)).unwrap().wait().unwrap();
    let decode = reply.generated_tokens as f64 / started.elapsed().as_secs_f64();
    let long = "It was a dark and stormy night. ".repeat(64);
    let started = Instant::now();
    let reply = model.generate(greedy(&long, 1)).unwrap().wait().unwrap();
    let prefill = reply.prompt_tokens as f64 / started.elapsed().as_secs_f64();
    eprintln!("decode {decode:.1} tokens/s, prefill {prefill:.1} tokens/s ({} tokens)", reply.prompt_tokens);
    // Two idle cores make about 46; far below, because candle's threads wait for each other spinning, which costs
    // most of that when other work wants the cores.
    assert!(decode > 0.5, "decoding made {decode:.1} tokens/s");
}

#[test]
fn its_base_version_has_no_chat_template_and_says_what_to_do() {
    let Some(model) = gemma() else { return };
    let message = flowbench_core::chat::Message::text(flowbench_core::chat::Role::User, "Hi");
    let error = model.generate(GenerateRequest::new(Prompt::Messages(vec![message]))).unwrap_err();
    assert!(matches!(error, InferenceError::NoChatTemplate { .. }));
    assert!(error.hint().unwrap().contains("api: completion"), "{error}");
}

#[test]
fn its_reply_can_be_held_to_a_schema() {
    let Some(model) = gemma() else { return };
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "capital": { "type": "string", "maxLength": 20 }, "population": { "type": "integer", "minimum": 0, "maximum": 99999999 } },
        "required": ["capital", "population"],
        "additionalProperties": false,
    });
    let request = GenerateRequest {
        format: ReplyFormat::JsonSchema(schema),
        ..greedy("Facts about Sweden as JSON: ", 80)
    };
    let started = Instant::now();
    let reply = model.generate(request).unwrap().wait().unwrap();
    eprintln!("{} in {:?}", reply.text, started.elapsed());
    assert_eq!(reply.finish, Finish::End);
    let value: serde_json::Value = serde_json::from_str(&reply.text).unwrap();
    assert!(value["capital"].is_string() && value["population"].is_i64(), "{value}");
}

#[test]
fn its_ids_of_odd_texts_equal_llama_cpp_s() {
    let Some(model) = gemma() else { return };
    let answer = include_str!("../../../fixtures/gguf/gemma-3-270m.texts.json");
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    for case in answer["texts"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        // To Gemma `</s>` is a piece of HTML like any other; llama.cpp takes it for an end token in every model.
        if text.contains("</s>") {
            continue;
        }
        let expected: Vec<u32> =
            case["plain"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(model.tokenize(text), expected, "{text:?}");
        assert_eq!(model.detokenize(&expected), text);
    }
}
