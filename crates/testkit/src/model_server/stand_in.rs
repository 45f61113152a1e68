//! Answers with the stand-ins of connection `builtin`, in OpenAI's shapes.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use flowbench_core::chat::{
    ChatChunk, ChatReply, ChatRequest, Content, FinishReason, Message, ModelInput, ResponseFormat, Role,
    ToolCall, ToolChoice, ToolDefinition,
};
use flowbench_core::ports::{EmbeddingPurpose, ModelError, ModelErrorKind};
use flowbench_providers::builtin::{Builtin, STAND_INS};
use serde_json::{Value, json};

use super::Received;
use super::http::Wire;

/// A fixed moment (2024-01-01), since answers carry a creation time.
const CREATED: u64 = 1_704_067_200;

pub(super) async fn answer(wire: &mut Wire, builtin: &Builtin, request: &Received) -> Result<()> {
    let path = request.path.split('?').next().unwrap_or_default();
    match path.rsplit_once('/').map_or("", |(_, last)| last) {
        "completions" => chat(wire, builtin, request, path.ends_with("/chat/completions")).await,
        "embeddings" => embeddings(wire, builtin, &request.body).await,
        "rerank" => rerank(wire, builtin, &request.body).await,
        "models" => {
            let models = STAND_INS.iter().map(|(name, _)| json!({"id": name, "object": "model"}));
            wire.send_json(200, &json!({"object": "list", "data": models.collect::<Value>()})).await
        }
        _ => wire.send_error(404, "no such route", "not_found").await,
    }
}

async fn chat(wire: &mut Wire, builtin: &Builtin, received: &Received, is_chat: bool) -> Result<()> {
    let body = &received.body;
    let name = body["model"].as_str().unwrap_or_default();
    let model = match builtin.chat_model(name) {
        Ok(model) => model,
        Err(error) => return wire.send_error(404, &error.to_string(), "model_not_found").await,
    };
    let request = read_request(body, is_chat);
    let is_streamed = body["stream"] == true;
    let tells_usage = body["stream_options"]["include_usage"] == true;
    if !is_streamed {
        return match model.chat(&request, None).await {
            Ok(reply) => wire.send_json(200, &whole(&reply, name, is_chat)).await,
            Err(error) => fail(wire, &error).await,
        };
    }
    let (sender, mut pieces) = tokio::sync::mpsc::unbounded_channel();
    let sink = Arc::new(move |chunk: ChatChunk| {
        if let ChatChunk::Text { text } = chunk {
            // The receiver goes only when the client has gone.
            let _ = sender.send(text);
        }
    });
    let answering = tokio::spawn(async move { model.chat(&request, Some(sink)).await });
    let mut has_begun = false;
    while let Some(piece) = pieces.recv().await {
        if !has_begun {
            begin(wire, name, is_chat).await?;
            has_begun = true;
        }
        wire.send_event(&piece_of(&piece, name, is_chat).to_string()).await?;
    }
    let outcome = answering.await.map_err(|error| Error::other(error.to_string()))?;
    let reply = match outcome {
        Ok(reply) => reply,
        Err(error) if has_begun => return Err(Error::new(ErrorKind::ConnectionAborted, error.to_string())),
        Err(error) => return fail(wire, &error).await,
    };
    if !has_begun {
        begin(wire, name, is_chat).await?;
    }
    for (index, call) in reply.message.tool_calls.iter().enumerate() {
        // In two pieces, as real servers do.
        let (head, tail) = call.arguments.split_at(call.arguments.len() / 2);
        let function = json!({"name": call.name, "arguments": head});
        let first = json!([{"index": index, "id": call.id, "type": "function", "function": function}]);
        let second = json!([{"index": index, "function": {"arguments": tail}}]);
        for calls in [first, second] {
            wire.send_event(&chunk(name, json!({"tool_calls": calls}), Value::Null).to_string()).await?;
        }
    }
    if let Some(refusal) = &reply.refusal {
        wire.send_event(&chunk(name, json!({"refusal": refusal}), Value::Null).to_string()).await?;
    }
    let last = match is_chat {
        true => chunk(name, json!({}), json!(finish_word(&reply))),
        false => text_chunk("", name, json!(finish_word(&reply))),
    };
    wire.send_event(&last.to_string()).await?;
    if tells_usage {
        let mut last = chunk(name, json!({}), Value::Null);
        last["choices"] = json!([]);
        last["usage"] = usage(&reply);
        wire.send_event(&last.to_string()).await?;
    }
    wire.end_stream().await
}

async fn begin(wire: &mut Wire, name: &str, is_chat: bool) -> Result<()> {
    wire.begin_stream().await?;
    if is_chat {
        let first = chunk(name, json!({"role": "assistant", "content": ""}), Value::Null);
        wire.send_event(&first.to_string()).await?;
    }
    Ok(())
}

/// A stand-in's failure, acted out.
async fn fail(wire: &mut Wire, error: &ModelError) -> Result<()> {
    match (error.kind, error.status) {
        (ModelErrorKind::Timeout, _) => {
            std::future::pending::<()>().await;
            Ok(())
        }
        (ModelErrorKind::StreamTruncated, _) => {
            let partial = error.partial.clone().unwrap_or_default();
            let begun = format!("{{\"choices\": [{{\"message\": {{\"content\": {}", json!(partial));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n";
            wire.write(format!("{head}{begun}").as_bytes()).await?;
            Err(ErrorKind::ConnectionAborted.into())
        }
        (ModelErrorKind::BadReply, _) => {
            let page = error.raw.clone().unwrap_or_default();
            wire.send(200, &[("content-type", "text/html".to_owned())], &page).await
        }
        (_, status) => {
            let status = status.unwrap_or(500);
            let code = if status == 429 { "rate_limit_exceeded" } else { "server_error" };
            let body =
                json!({"error": {"message": error.to_string(), "type": "stand_in_error", "code": code}});
            let mut headers = vec![("content-type", "application/json".to_owned())];
            if let Some(wait) = error.retry_after {
                match wait.subsec_millis() {
                    0 => headers.push(("retry-after", wait.as_secs().to_string())),
                    _ => headers.push(("retry-after-ms", wait.as_millis().to_string())),
                }
            }
            wire.send(status, &headers, &body.to_string()).await
        }
    }
}

async fn embeddings(wire: &mut Wire, builtin: &Builtin, body: &Value) -> Result<()> {
    let name = body["model"].as_str().unwrap_or_default();
    let embedder = match builtin.embedder(name) {
        Ok(embedder) => embedder,
        Err(error) => return wire.send_error(404, &error.to_string(), "model_not_found").await,
    };
    let texts: Vec<String> = match &body["input"] {
        Value::String(text) => vec![text.clone()],
        input => {
            input.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        }
    };
    let dimensions = body["dimensions"].as_u64().and_then(|dimensions| u32::try_from(dimensions).ok());
    let found = match embedder.embed(&texts, EmbeddingPurpose::Document, dimensions).await {
        Ok(found) => found,
        Err(error) => return fail(wire, &error).await,
    };
    let tokens = found.usage.map_or(0, |usage| usage.input);
    let rows = found.vectors.iter().enumerate();
    // Last one first: a client must go by `index`.
    let rows: Value = rows
        .rev()
        .map(|(index, row)| json!({"object": "embedding", "index": index, "embedding": row}))
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    wire.send_json(200, &json!({"object": "list", "data": rows, "model": name, "usage": usage})).await
}

async fn rerank(wire: &mut Wire, builtin: &Builtin, body: &Value) -> Result<()> {
    let name = body["model"].as_str().unwrap_or_default();
    let reranker = match builtin.reranker(name) {
        Ok(reranker) => reranker,
        Err(error) => return wire.send_error(404, &error.to_string(), "model_not_found").await,
    };
    let documents = body["documents"].as_array().into_iter().flatten();
    let passages: Vec<String> = documents.filter_map(Value::as_str).map(str::to_owned).collect();
    match reranker.rerank(body["query"].as_str().unwrap_or_default(), &passages).await {
        Ok(scores) => {
            let mut rows: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
            rows.sort_by(|a, b| b.1.total_cmp(&a.1));
            let rows: Value =
                rows.iter().map(|(index, score)| json!({"index": index, "relevance_score": score})).collect();
            wire.send_json(200, &json!({"model": name, "results": rows})).await
        }
        Err(error) => fail(wire, &error).await,
    }
}

/// Reads an OpenAI request.
fn read_request(body: &Value, is_chat: bool) -> ChatRequest {
    let input = match is_chat {
        true => ModelInput::Messages(
            body["messages"].as_array().into_iter().flatten().map(read_message).collect(),
        ),
        false => ModelInput::Text(body["prompt"].as_str().unwrap_or_default().to_owned()),
    };
    let mut parameters = flowbench_core::chat::ChatParameters::default();
    let most = body.get("max_tokens").or_else(|| body.get("max_completion_tokens")).and_then(Value::as_u64);
    parameters.max_tokens = most.and_then(|most| u32::try_from(most).ok());
    parameters.stop = match &body["stop"] {
        Value::String(text) => vec![text.clone()],
        stop => stop.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
    };
    let tools = body["tools"].as_array().into_iter().flatten().map(|tool| ToolDefinition {
        name: tool["function"]["name"].as_str().unwrap_or_default().to_owned(),
        description: None,
        parameters: tool["function"]["parameters"].clone(),
        strict: None,
    });
    let tool_choice = match &body["tool_choice"] {
        Value::String(word) if word == "none" => Some(ToolChoice::None),
        Value::Object(choice) => choice
            .get("function")
            .and_then(|it| it["name"].as_str())
            .map(|name| ToolChoice::Function(name.to_owned())),
        _ => None,
    };
    let response_format = match body["response_format"]["type"].as_str() {
        Some("json_object") => Some(ResponseFormat::JsonObject),
        Some("json_schema") => Some(ResponseFormat::JsonSchema {
            name: String::new(),
            schema: body["response_format"]["json_schema"]["schema"].clone(),
            strict: true,
        }),
        _ => None,
    };
    ChatRequest { input, parameters, tools: tools.collect(), tool_choice, response_format }
}

fn read_message(message: &Value) -> Message {
    let role = serde_json::from_value(message["role"].clone()).unwrap_or(Role::User);
    let mut read = Message::text(role, "");
    read.content = serde_json::from_value::<Option<Content>>(message["content"].clone()).unwrap_or_default();
    read.tool_calls = message["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| ToolCall {
            id: call["id"].as_str().unwrap_or_default().to_owned(),
            name: call["function"]["name"].as_str().unwrap_or_default().to_owned(),
            arguments: call["function"]["arguments"].as_str().unwrap_or_default().to_owned(),
            signature: None,
        })
        .collect();
    read
}

fn whole(reply: &ChatReply, name: &str, is_chat: bool) -> Value {
    let text = reply.message.content_text();
    if !is_chat {
        let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish_word(reply)});
        return json!({"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": name,
            "choices": [choice], "usage": usage(reply)});
    }
    let mut message = json!({"role": "assistant", "content": reply.message.content.as_ref().map(|_| text),
        "refusal": reply.refusal});
    if !reply.message.tool_calls.is_empty() {
        message["tool_calls"] = reply
            .message
            .tool_calls
            .iter()
            .map(|call| {
                json!({"id": call.id, "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments}})
            })
            .collect();
    }
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_word(reply)}], "usage": usage(reply)})
}

fn chunk(name: &str, delta: Value, finish_reason: Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": name,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
}

fn text_chunk(text: &str, name: &str, finish_reason: Value) -> Value {
    json!({"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": name,
        "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish_reason}]})
}

fn piece_of(piece: &str, name: &str, is_chat: bool) -> Value {
    match is_chat {
        true => chunk(name, json!({"content": piece}), Value::Null),
        false => text_chunk(piece, name, Value::Null),
    }
}

fn finish_word(reply: &ChatReply) -> &'static str {
    match reply.finish {
        FinishReason::Length => "length",
        FinishReason::ToolCall => "tool_calls",
        // A refusal is told apart from the ending.
        FinishReason::ContentFilter if reply.refusal.is_none() => "content_filter",
        _ => "stop",
    }
}

fn usage(reply: &ChatReply) -> Value {
    let usage = reply.usage.unwrap_or_default();
    json!({"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.total()})
}
