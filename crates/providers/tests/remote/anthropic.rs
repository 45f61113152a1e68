//! Anthropic, both API versions.

use flowbench_core::chat::{
    ChatParameters, ChatRequest, Content, ContentPart, FinishReason, ImageUrl, Message, ModelInput,
    ResponseFormat, Role, ToolCall, ToolChoice, Usage,
};
use flowbench_core::connection::Connection;
use flowbench_core::ports::ModelErrorKind;
use flowbench_testkit::{ModelServer, Script};
use serde_json::json;

use super::{KEY, ask, chat, connection, providers, stream, tool};

fn claude(server: &ModelServer, version: &str) -> Connection {
    connection("anthropic", json!({"base_url": server.origin(), "api_version": version}))
}

fn answer() -> serde_json::Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": "Hej"},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Lund"}}],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
            "output_tokens_details": {"thinking_tokens": 2}}})
}

#[tokio::test]
async fn a_conversation_with_tools_and_images_is_sent_in_turns() {
    let server = ModelServer::start();
    server.script(Script::json(200, &answer()));
    let call = |id: &str| ToolCall {
        id: id.to_owned(),
        name: "weather".to_owned(),
        arguments: "{\"city\":\"Lund\"}".to_owned(),
        signature: Some("[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sig\"}]".to_owned()),
    };
    let image = ImageUrl { url: "data:image/png;base64,AAAA".to_owned(), detail: None };
    let messages = vec![
        Message::text(Role::System, "Be brief."),
        Message {
            content: Some(Content::Parts(vec![
                ContentPart::ImageUrl { image_url: image },
                ContentPart::Text { text: "Where?".to_owned() },
            ])),
            ..Message::text(Role::User, "")
        },
        Message { content: None, tool_calls: vec![call("t1")], ..Message::text(Role::Assistant, "") },
        Message { tool_call_id: Some("t1".to_owned()), ..Message::text(Role::Tool, "Sunny.") },
        Message::text(Role::User, "So?"),
    ];
    let request = ChatRequest {
        input: ModelInput::Messages(messages),
        parameters: ChatParameters {
            temperature: Some(0.5),
            max_tokens: Some(100),
            stop: vec!["END".to_owned()],
            seed: Some(1),
            ..ChatParameters::default()
        },
        tools: vec![tool()],
        tool_choice: Some(ToolChoice::Required),
        response_format: Some(ResponseFormat::JsonSchema {
            name: "x".to_owned(),
            schema: json!({"type": "object"}),
            strict: true,
        }),
    };
    let reply = chat(&claude(&server, "2023-06-01"), "claude-x", &request).await.unwrap();
    let sent = &server.received()[0];
    assert_eq!(sent.path, "/v1/messages");
    assert_eq!((sent.header("x-api-key"), sent.header("authorization")), (Some(KEY), None));
    assert_eq!(sent.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(
        sent.body,
        json!({"model": "claude-x", "max_tokens": 100, "system": "Be brief.",
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "text", "text": "Where?"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Lund"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "Sunny."},
                {"type": "text", "text": "So?"}]}],
        "temperature": 0.5, "stop_sequences": ["END"],
        "tools": [{"name": "weather", "description": "Tells the weather",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}],
        "tool_choice": {"type": "any"},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}})
    );
    assert_eq!(reply.dropped, ["`seed`: Anthropic has none"]);
    assert_eq!(reply.message.content_text(), "Hej");
    assert_eq!((reply.finish, reply.raw_finish.as_deref()), (FinishReason::ToolCall, Some("tool_use")));
    assert_eq!(reply.reasoning.as_deref(), Some("hm"));
    assert_eq!(reply.message.tool_calls[0].id, "toolu_1");
    assert_eq!(
        reply.usage,
        Some(Usage { input: 60, output: 5, cache_read: Some(30), cache_write: Some(20), reasoning: Some(2) }),
        "cached input is counted apart there, but is input all the same"
    );
}

#[tokio::test]
async fn the_newer_version_takes_a_bearer_and_no_temperature() {
    let server = ModelServer::start();
    server.script(Script::json(200, &answer()));
    let mut request = ask("hello");
    request.parameters.temperature = Some(0.0);
    request.parameters.top_p = Some(0.9);
    let reply = chat(&claude(&server, "2026-10-21"), "claude-x", &request).await.unwrap();
    let sent = &server.received()[0];
    assert_eq!(
        (sent.header("x-api-key"), sent.header("authorization")),
        (None, Some(format!("Bearer {KEY}").as_str()))
    );
    assert_eq!((sent.body.get("temperature"), &sent.body["max_tokens"]), (None, &json!(4096)));
    assert_eq!(
        reply.dropped,
        ["`temperature`: this API version refuses it", "`top_p`: this API version refuses it"],
        "what is left out is told"
    );
}

fn events(events: &[serde_json::Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn streams_are_put_together_block_by_block() {
    let server = ModelServer::start();
    let stream_text = events(&[
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": [],
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "He"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "j"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"city\": "}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "\"Lund\"}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "t2", "name": "now", "input": {}}}),
        json!({"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}}),
        json!({"type": "message_stop"}),
    ]);
    server.script(Script::stream("text/event-stream", &stream_text));
    let (reply, pieces) = stream(&claude(&server, "2023-06-01"), "claude-x", &ask("hello")).await;
    let reply = reply.unwrap();
    assert_eq!(pieces, ["He", "j"]);
    assert_eq!((reply.message.content_text().as_str(), reply.reasoning.as_deref()), ("Hej", Some("hm")));
    let calls: Vec<(&str, &str)> =
        reply.message.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("weather", "{\"city\": \"Lund\"}"), ("now", "{}")]);
    let kept = "[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sig\"}]";
    assert_eq!(reply.message.tool_calls[0].signature.as_deref(), Some(kept));
    assert_eq!(
        reply.usage.map(|usage| (usage.input, usage.output)),
        Some((40, 20)),
        "the last count replaces"
    );
}

#[tokio::test]
async fn streams_that_fail_keep_what_came() {
    let server = ModelServer::start();
    let begun = [
        json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Par"}}),
    ];
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let failed = events(&begun) + &events(&[overloaded]);
    server.script(Script::stream("text/event-stream", &failed));
    let error = stream(&claude(&server, "2023-06-01"), "claude-x", &ask("hello")).await.0.unwrap_err();
    assert_eq!((error.kind, error.partial.as_deref()), (ModelErrorKind::Unavailable, Some("Par")));
    server.script(Script::stream("text/event-stream", &events(&begun)));
    let error = stream(&claude(&server, "2023-06-01"), "claude-x", &ask("hello")).await.0.unwrap_err();
    assert_eq!((error.kind, error.partial.as_deref()), (ModelErrorKind::StreamTruncated, Some("Par")));
}

#[tokio::test]
async fn refusals_and_full_contexts_have_their_common_names() {
    let server = ModelServer::start();
    for (reason, expected) in [
        ("refusal", FinishReason::ContentFilter),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("stop_sequence", FinishReason::Stop),
        ("something_new", FinishReason::Stop),
    ] {
        let details = json!({"category": "bio", "explanation": "No."});
        let body = json!({"content": [], "stop_reason": reason, "stop_details": details});
        server.script(Script::json(200, &body));
        let reply = chat(&claude(&server, "2023-06-01"), "claude-x", &ask("hello")).await.unwrap();
        assert_eq!((reply.finish, reply.usage), (expected, None), "`{reason}`");
        assert_eq!(reply.refusal.is_some(), expected == FinishReason::ContentFilter);
    }
}

#[tokio::test]
async fn limits_and_waits_are_read_from_anthropics_headers() {
    let server = ModelServer::start();
    let body = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}});
    let headers = [
        "retry-after: 3",
        "anthropic-ratelimit-requests-remaining: 0",
        "anthropic-ratelimit-requests-reset: 2015-10-21T07:28:04Z",
    ];
    server.script(Script::answer(429, &headers, &body.to_string()));
    let error = chat(&claude(&server, "2023-06-01"), "claude-x", &ask("hello")).await.unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::RateLimited);
    assert_eq!(error.retry_after.map(|wait| wait.as_secs()), Some(3));
    assert_eq!(error.limits.reset.map(|wait| wait.as_secs()), Some(4));
}

#[test]
fn there_are_no_embeddings() {
    let error = providers().embedder(&connection("anthropic", json!({})), "x").err().unwrap();
    assert_eq!(error.to_string(), "connection `mine` offers no embeddings");
}
