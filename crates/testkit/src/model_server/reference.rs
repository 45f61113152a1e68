//! Answers as `fixtures/promptflow/server.py` does: every answer is a pure function of the request, most often
//! the request itself in a canonical form, so that what an engine sends can be compared.

use std::collections::BTreeMap;
use std::io::Result;

use serde_json::{Value, json};

use super::http::Wire;
use super::{Received, Shared, lock};

/// Characters of a streamed piece.
const PIECE: usize = 7;
/// 2024-01-01.
const CREATED: u64 = 1_704_067_200;

pub(super) async fn answer(wire: &mut Wire, shared: &Shared, request: &Received) -> Result<()> {
    let path = request.path.split('?').next().unwrap_or_default();
    let route = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    if request.method == "GET" {
        return get(wire, shared, route).await;
    }
    let body = &request.body;
    let model = body["model"].as_str().unwrap_or_default();
    if let Some(status) = model.strip_prefix("fail-").and_then(|status| status.parse().ok()) {
        return wire.send_error(status, &format!("asked to fail with {status}"), "asked_to_fail").await;
    }
    let is_streamed = body["stream"] == true;
    match route {
        "/chat/completions" if is_streamed => stream(wire, chat_chunks(body)).await,
        "/chat/completions" => wire.send_json(200, &chat(body)).await,
        "/completions" if is_streamed => stream(wire, completion_chunks(body)).await,
        "/completions" => wire.send_json(200, &completion(body)).await,
        "/embeddings" => wire.send_json(200, &embeddings(body)).await,
        _ => wire.send_error(404, "no such route", "not_found").await,
    }
}

async fn get(wire: &mut Wire, shared: &Shared, route: &str) -> Result<()> {
    match route {
        "/models" => {
            let models =
                ["last", "numbered", "object", "echo"].map(|name| json!({"id": name, "object": "model"}));
            wire.send_json(200, &json!({"object": "list", "data": models})).await
        }
        "/log" => {
            let kept: Value = lock(&shared.received)
                .iter()
                .filter(|received| received.method == "POST")
                .map(|received| {
                    let path = received.path.strip_prefix("/v1").unwrap_or(&received.path);
                    json!({"path": path, "body": received.body})
                })
                .collect();
            wire.send_json(200, &kept).await
        }
        _ => wire.send_error(404, "no such route", "not_found").await,
    }
}

async fn stream(wire: &mut Wire, chunks: Vec<Value>) -> Result<()> {
    wire.begin_stream().await?;
    for chunk in chunks {
        wire.send_event(&chunk.to_string()).await?;
    }
    wire.end_stream().await
}

/// The request as compact JSON text: sorted keys, whole numbers as integers, no nulls at the top, no word of
/// streaming. Numbers beyond 1e15 or below 1e-4 are written as Rust does, not as Python does.
fn canonical(body: &Value) -> String {
    let mut kept = body.clone();
    if let Value::Object(map) = &mut kept {
        map.retain(|key, value| !value.is_null() && key != "stream" && key != "stream_options");
    }
    plain(&kept).to_string()
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            // Whole floats that fit are the same number as the integer.
            Some(float) if !number.is_i64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                json!(float as i64)
            }
            _ => value.clone(),
        },
        Value::Array(list) => list.iter().map(plain).collect(),
        Value::Object(map) => {
            let sorted: BTreeMap<&String, Value> =
                map.iter().map(|(key, value)| (key, plain(value))).collect();
            Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        _ => value.clone(),
    }
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<String> = parts
                .iter()
                .map(|part| match part["text"].as_str() {
                    Some(text) => text.to_owned(),
                    None => format!("[{}]", part["type"].as_str().unwrap_or("?")),
                })
                .collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn answer_text(body: &Value, last: &str, count: usize) -> String {
    match body["model"].as_str().unwrap_or_default() {
        "last" => last.to_owned(),
        "numbered" => format!("message {count}: {last}"),
        "object" => python_json(&[("answer", json!(last)), ("length", json!(last.chars().count()))]),
        _ => canonical(body),
    }
}

/// JSON with blanks after commas and colons, as Python writes it.
fn python_json(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
    format!("{{{}}}", fields.join(", "))
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn usage(prompt: usize, completion: usize) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

fn pieces(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(PIECE).map(|piece| piece.iter().collect()).collect()
}

fn messages(body: &Value) -> &[Value] {
    body["messages"].as_array().map_or(&[], Vec::as_slice)
}

/// The assistant's message and why it ended.
fn chat_message(body: &Value) -> (Value, &'static str) {
    let messages = messages(body);
    let last_message = messages.last().unwrap_or(&Value::Null);
    let last = text_of(&last_message["content"]);
    let arguments = python_json(&[("text", json!(last))]);
    if let (Some(name), true) =
        (body["tools"][0]["function"]["name"].as_str(), last_message["role"] != "tool")
    {
        let call =
            json!({"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}});
        return (json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls");
    }
    if let (Some(name), true) = (body["functions"][0]["name"].as_str(), last_message["role"] != "function") {
        let call = json!({"name": name, "arguments": arguments});
        return (json!({"role": "assistant", "content": null, "function_call": call}), "function_call");
    }
    (json!({"role": "assistant", "content": answer_text(body, &last, messages.len())}), "stop")
}

fn chat_usage(body: &Value, message: &Value) -> Value {
    let asked = messages(body).iter().map(|message| words(&text_of(&message["content"]))).sum();
    usage(asked, words(message["content"].as_str().unwrap_or_default()))
}

fn chat(body: &Value) -> Value {
    let (message, reason) = chat_message(body);
    let counts = chat_usage(body, &message);
    json!({"id": "chatcmpl-1", "created": CREATED, "model": body["model"], "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": counts})
}

fn chat_chunks(body: &Value) -> Vec<Value> {
    let (message, reason) = chat_message(body);
    let chunk = |choices: Value| {
        json!({"id": "chatcmpl-1", "created": CREATED, "model": body["model"],
            "object": "chat.completion.chunk", "choices": choices})
    };
    let open = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]));
    let mut chunks = vec![open(json!({"role": "assistant", "content": ""}))];
    chunks.extend(
        pieces(message["content"].as_str().unwrap_or_default())
            .iter()
            .map(|piece| open(json!({"content": piece}))),
    );
    if let Some(call) = message["tool_calls"].get(0) {
        let mut call = call.clone();
        call["index"] = json!(0);
        chunks.push(open(json!({"tool_calls": [call]})));
    }
    chunks.push(chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason}])));
    if body["stream_options"]["include_usage"] == true {
        let mut last = chunk(json!([]));
        last["usage"] = chat_usage(body, &message);
        chunks.push(last);
    }
    chunks
}

fn prompt_of(body: &Value) -> String {
    body["prompt"].as_str().map_or_else(|| body["prompt"].to_string(), str::to_owned)
}

fn completion(body: &Value) -> Value {
    let prompt = prompt_of(body);
    let text = answer_text(body, &prompt, 1);
    let counts = usage(words(&prompt), words(&text));
    json!({"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": body["model"],
        "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": "stop"}], "usage": counts})
}

fn completion_chunks(body: &Value) -> Vec<Value> {
    let text = answer_text(body, &prompt_of(body), 1);
    let chunk = |text: &str, reason: Value| {
        json!({"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": body["model"],
            "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": reason}]})
    };
    let mut chunks: Vec<Value> = pieces(&text).iter().map(|piece| chunk(piece, Value::Null)).collect();
    chunks.push(chunk("", json!("stop")));
    chunks
}

/// Eight numbers from a text, all exact in 32 bits: length and letters a to g, over eight.
fn embeddings(body: &Value) -> Value {
    let texts: Vec<String> = match &body["input"] {
        Value::String(text) => vec![text.clone()],
        input => {
            input.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        }
    };
    let vector = |text: &str| {
        let lower = text.to_lowercase();
        let letters = "abcdefg".chars().map(|letter| lower.chars().filter(|found| *found == letter).count());
        std::iter::once(text.chars().count())
            .chain(letters)
            .map(|count| count as f64 / 8.0)
            .collect::<Vec<f64>>()
    };
    let rows: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector(text)}))
        .collect();
    let count: usize = texts.iter().map(|text| words(text)).sum();
    json!({"object": "list", "data": rows, "model": body["model"],
        "usage": {"prompt_tokens": count, "total_tokens": count}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_that_of_the_python_server() {
        let body = json!({"top_p": 1.0, "temperature": 0.25, "model": "echo", "stream": true, "seed": null,
            "messages": [{"role": "user", "content": "ö \"a\""}], "logit_bias": {"9": -100.0, "10": null}});
        let expected = r#"{"logit_bias":{"10":null,"9":-100},"messages":[{"content":"ö \"a\"","role":"user"}],"model":"echo","temperature":0.25,"top_p":1}"#;
        assert_eq!(canonical(&body), expected);
    }
}
