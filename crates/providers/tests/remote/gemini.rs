//! Gemini.

use flowbench_core::chat::{
    ChatParameters, ChatRequest, Content, ContentPart, FinishReason, ImageUrl, Message, ModelInput,
    ResponseFormat, Role, ToolCall, ToolChoice, Usage,
};
use flowbench_core::connection::Connection;
use flowbench_core::ports::{EmbeddingPurpose, ModelErrorKind};
use flowbench_testkit::{ModelServer, Script};
use serde_json::json;

use super::{KEY, ask, chat, connection, providers, stream, tool};

fn gemini(server: &ModelServer) -> Connection {
    connection("gemini", json!({"base_url": server.origin()}))
}

#[tokio::test]
async fn a_conversation_is_sent_in_geminis_form() {
    let server = ModelServer::start();
    let body = json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [
            {"text": "hm", "thought": true}, {"text": "Hej"},
            {"functionCall": {"name": "weather", "args": {"city": "Lund"}}, "thoughtSignature": "sig"}]},
            "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 3,
            "thoughtsTokenCount": 2, "totalTokenCount": 15}, "modelVersion": "gemini-x-001", "responseId": "r1"});
    server.script(Script::json(200, &body));
    let image =
        |url: &str| ContentPart::ImageUrl { image_url: ImageUrl { url: url.to_owned(), detail: None } };
    let messages = vec![
        Message::text(Role::System, "Be brief."),
        Message {
            content: Some(Content::Parts(vec![
                ContentPart::Text { text: "Where?".to_owned() },
                image("data:image/png;base64,AAAA"),
                image("https://example.com/a.webp?x=1"),
            ])),
            ..Message::text(Role::User, "")
        },
        Message {
            content: None,
            tool_calls: vec![ToolCall {
                id: "c1".to_owned(),
                name: "weather".to_owned(),
                arguments: "{\"city\":\"Lund\"}".to_owned(),
                signature: Some("sig".to_owned()),
            }],
            ..Message::text(Role::Assistant, "")
        },
        Message { tool_call_id: Some("c1".to_owned()), ..Message::text(Role::Tool, "Sunny.") },
    ];
    let request = ChatRequest {
        input: ModelInput::Messages(messages),
        parameters: ChatParameters {
            temperature: Some(0.5),
            top_k: Some(40),
            max_tokens: Some(100),
            user: Some("me".to_owned()),
            ..ChatParameters::default()
        },
        tools: vec![tool()],
        tool_choice: Some(ToolChoice::Function("weather".to_owned())),
        response_format: Some(ResponseFormat::JsonSchema {
            name: "x".to_owned(),
            schema: json!({"type": "object"}),
            strict: true,
        }),
    };
    let reply = chat(&gemini(&server), "gemini-x", &request).await.unwrap();
    let sent = &server.received()[0];
    assert_eq!(sent.path, "/v1/models/gemini-x:generateContent");
    assert_eq!(sent.header("x-goog-api-key"), Some(KEY));
    assert_eq!(
        sent.body,
        json!({"contents": [
            {"role": "user", "parts": [{"text": "Where?"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/a.webp?x=1"}}]},
            {"role": "model", "parts": [
                {"functionCall": {"name": "weather", "args": {"city": "Lund"}}, "thoughtSignature": "sig"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "Sunny."}}}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"temperature": 0.5, "topK": 40, "maxOutputTokens": 100,
            "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
        "tools": [{"functionDeclarations": [{"name": "weather", "description": "Tells the weather",
            "parametersJsonSchema": {"type": "object", "properties": {"city": {"type": "string"}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}}})
    );
    assert_eq!(reply.dropped, ["`user`: Gemini has none"]);
    assert_eq!((reply.message.content_text().as_str(), reply.reasoning.as_deref()), ("Hej", Some("hm")));
    assert_eq!((reply.finish, reply.model.as_deref()), (FinishReason::ToolCall, Some("gemini-x-001")));
    let call = &reply.message.tool_calls[0];
    assert_eq!(
        (call.id.as_str(), call.arguments.as_str(), call.signature.as_deref()),
        ("call_1", "{\"city\":\"Lund\"}", Some("sig"))
    );
    assert_eq!(
        reply.usage,
        Some(Usage { input: 10, output: 5, cache_read: Some(4), cache_write: None, reasoning: Some(2) }),
        "thinking is output"
    );
}

#[tokio::test]
async fn streams_end_with_the_body() {
    let server = ModelServer::start();
    let piece = |text: &str| json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1}});
    let last = json!({"candidates": [{"content": {"parts": [{"text": "!"}]}, "finishReason": "MAX_TOKENS"}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}});
    let whole = format!("data: {}\r\n\r\ndata: {}\r\n\r\ndata: {last}\r\n\r\n", piece("He"), piece("j"));
    server.script(Script::stream("text/event-stream", &whole));
    let (reply, pieces) = stream(&gemini(&server), "gemini-x", &ask("hello")).await;
    let reply = reply.unwrap();
    assert_eq!((pieces.concat().as_str(), reply.finish), ("Hej!", FinishReason::Length));
    assert_eq!(reply.usage.map(|usage| usage.output), Some(4), "the last count is the one");
    assert_eq!(server.received()[0].path, "/v1/models/gemini-x:streamGenerateContent?alt=sse");

    server.script(Script::stream("text/event-stream", &format!("data: {}\n\n", piece("He"))));
    let error = stream(&gemini(&server), "gemini-x", &ask("hello")).await.0.unwrap_err();
    assert_eq!((error.kind, error.partial.as_deref()), (ModelErrorKind::StreamTruncated, Some("He")));
}

#[tokio::test]
async fn blocked_prompts_and_odd_endings_have_their_common_names() {
    let server = ModelServer::start();
    server.script(Script::json(
        200,
        &json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 2}}),
    ));
    let reply = chat(&gemini(&server), "gemini-x", &ask("hello")).await.unwrap();
    assert_eq!(
        (reply.finish, reply.refusal.as_deref()),
        (FinishReason::ContentFilter, Some("the prompt was blocked: SAFETY"))
    );
    for (word, expected) in [
        ("RECITATION", FinishReason::ContentFilter),
        ("MALFORMED_FUNCTION_CALL", FinishReason::Error),
        ("BRAND_NEW", FinishReason::Error),
    ] {
        server.script(Script::json(200, &json!({"candidates": [{"finishReason": word}]})));
        let reply = chat(&gemini(&server), "gemini-x", &ask("hello")).await.unwrap();
        assert_eq!((reply.finish, reply.raw_finish.as_deref()), (expected, Some(word)));
    }
    server.script(Script::json(200, &json!({})));
    let error = chat(&gemini(&server), "gemini-x", &ask("hello")).await.unwrap_err();
    assert_eq!(error.to_string(), "answer of `mine/gemini-x` has no `candidates`");
}

#[tokio::test]
async fn waits_are_read_from_the_body() {
    let server = ModelServer::start();
    let body = json!({"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}]}});
    server.script(Script::json(429, &body));
    let error = chat(&gemini(&server), "gemini-x", &ask("hello")).await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry_after.map(|wait| wait.as_secs())),
        (ModelErrorKind::RateLimited, Some(17))
    );
}

#[tokio::test]
async fn the_version_is_a_setting_and_vertex_takes_a_token() {
    let server = ModelServer::start();
    let version = "v1/projects/p/locations/l/publishers/google";
    let mut vertex = connection("gemini", json!({"base_url": server.origin(), "api_version": version}));
    vertex.secrets =
        vec![("access_token".to_owned(), flowbench_core::connection::Secret::new("token-token"))];
    server.script(Script::json(200, &json!({"candidates": [{"finishReason": "STOP"}]})));
    chat(&vertex, "gemini-x", &ask("hello")).await.unwrap();
    let sent = &server.received()[0];
    assert_eq!(sent.path, format!("/{version}/models/gemini-x:generateContent"));
    assert_eq!(
        (sent.header("authorization"), sent.header("x-goog-api-key")),
        (Some("Bearer token-token"), None)
    );
}

#[tokio::test]
async fn embeddings_say_what_they_are_for() {
    let server = ModelServer::start();
    let embedder = providers().embedder(&gemini(&server), "embed-x").unwrap();
    server.script(Script::json(200, &json!({"embeddings": [{"values": [3.0, 4.0]}]})));
    let texts = ["a".to_owned()];
    let found = embedder.embed(&texts, EmbeddingPurpose::Query, Some(2)).await.unwrap();
    assert_eq!(found.vectors, [[0.6, 0.8]], "shortened vectors are brought to unit length");
    let sent = &server.received()[0];
    assert_eq!(sent.path, "/v1/models/embed-x:batchEmbedContents");
    assert_eq!(
        sent.body,
        json!({"requests": [{"model": "models/embed-x", "content": {"parts": [{"text": "a"}]},
            "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 2}]})
    );
}
