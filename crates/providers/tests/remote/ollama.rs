//! Ollama's own protocol.

use flowbench_core::chat::{
    ChatRequest, Content, ContentPart, FinishReason, ImageUrl, Message, ModelInput, ResponseFormat, Role,
    ToolChoice,
};
use flowbench_core::connection::Connection;
use flowbench_core::ports::{EmbeddingPurpose, ModelErrorKind};
use flowbench_testkit::{ModelServer, Script};
use serde_json::json;

use super::{ask, chat, connection, providers, stream, tool};

fn ollama(server: &ModelServer) -> Connection {
    let mut connection = connection("ollama", json!({"base_url": server.origin()}));
    connection.secrets.clear();
    connection
}

#[tokio::test]
async fn a_chat_goes_out_with_a_context_length() {
    let server = ModelServer::start();
    let body = json!({"model": "m", "created_at": "x", "message": {"role": "assistant", "content": "Hej", "thinking": "hm"},
        "done": true, "done_reason": "length", "prompt_eval_count": 12, "eval_count": 3, "total_duration": 5});
    server.script(Script::json(200, &body));
    let mut request = ask("hello");
    let image = ImageUrl { url: "data:image/png;base64,AAAA".to_owned(), detail: None };
    let parts =
        vec![ContentPart::Text { text: "What?".to_owned() }, ContentPart::ImageUrl { image_url: image }];
    request.input = ModelInput::Messages(vec![Message {
        content: Some(Content::Parts(parts)),
        ..Message::text(Role::User, "")
    }]);
    request.parameters.max_tokens = Some(3);
    request.parameters.seed = Some(7);
    request.parameters.extra = json!({"keep_alive": "5m", "mirostat": 1}).as_object().unwrap().clone();
    request.tools = vec![tool()];
    request.tool_choice = Some(ToolChoice::Required);
    request.response_format = Some(ResponseFormat::JsonSchema {
        name: "x".to_owned(),
        schema: json!({"type": "object"}),
        strict: true,
    });
    let reply = chat(&ollama(&server), "m", &request).await.unwrap();
    let sent = &server.received()[0];
    assert_eq!((sent.path.as_str(), sent.header("authorization")), ("/api/chat", None));
    assert_eq!(
        sent.body,
        json!({"model": "m", "messages": [{"role": "user", "content": "What?", "images": ["AAAA"]}],
            "tools": [{"type": "function", "function": {"name": "weather", "description": "Tells the weather",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}],
            "format": {"type": "object"}, "keep_alive": "5m",
            "options": {"seed": 7, "num_predict": 3, "num_ctx": 8192, "mirostat": 1}, "stream": false})
    );
    assert_eq!(reply.dropped, ["`tool_choice`: Ollama leaves the choice to the model"]);
    assert_eq!((reply.message.content_text().as_str(), reply.finish), ("Hej", FinishReason::Length));
    assert_eq!((reply.reasoning.as_deref(), reply.usage.map(|usage| usage.total())), (Some("hm"), Some(15)));
}

#[tokio::test]
async fn streams_are_lines() {
    let server = ModelServer::start();
    let lines = [
        json!({"model": "m", "message": {"role": "assistant", "content": "He"}, "done": false}),
        json!({"model": "m", "message": {"role": "assistant", "content": "j"}, "done": false}),
        json!({"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": "weather", "arguments": {"city": "Lund"}}}]}, "done": false}),
        json!({"model": "m", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop", "eval_count": 4}),
    ];
    let text: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    server.script(Script::stream("application/x-ndjson", &text.concat()));
    let (reply, pieces) = stream(&ollama(&server), "m", &ask("hello")).await;
    let reply = reply.unwrap();
    assert_eq!((pieces.concat().as_str(), reply.finish), ("Hej", FinishReason::ToolCall));
    let call = &reply.message.tool_calls[0];
    assert_eq!(
        (call.id.as_str(), call.name.as_str(), call.arguments.as_str()),
        ("call_1", "weather", "{\"city\":\"Lund\"}")
    );
    assert_eq!(
        reply.usage.map(|usage| (usage.input, usage.output)),
        Some((0, 4)),
        "a cached prompt is not counted"
    );

    server.script(Script::stream("application/x-ndjson", &text[..2].concat()));
    let error = stream(&ollama(&server), "m", &ask("hello")).await.0.unwrap_err();
    assert_eq!((error.kind, error.partial.as_deref()), (ModelErrorKind::StreamTruncated, Some("Hej")));
    server.script(Script::stream(
        "application/x-ndjson",
        &format!("{}{{\"error\": \"out of memory\"}}\n", text[0]),
    ));
    let error = stream(&ollama(&server), "m", &ask("hello")).await.0.unwrap_err();
    assert_eq!(error.to_string(), "`mine/m` answered with an error: out of memory");
}

#[tokio::test]
async fn texts_go_on_without_a_template() {
    let server = ModelServer::start();
    server.script(Script::json(
        200,
        &json!({"model": "m", "response": " there", "done": true, "done_reason": "stop"}),
    ));
    let request = ChatRequest { input: ModelInput::Text("hello".to_owned()), ..ask("") };
    let reply = chat(&ollama(&server), "m", &request).await.unwrap();
    assert_eq!(reply.message.content_text(), " there");
    let sent = &server.received()[0];
    assert_eq!(
        (sent.path.as_str(), &sent.body["raw"], &sent.body["prompt"]),
        ("/api/generate", &json!(true), &json!("hello"))
    );
}

#[tokio::test]
async fn missing_models_and_images_by_address_are_told() {
    let server = ModelServer::start();
    server.script(Script::json(404, &json!({"error": "model 'm' not found"})));
    let error = chat(&ollama(&server), "m", &ask("hello")).await.unwrap_err();
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (ModelErrorKind::NotFound, "`mine/m` answered 404: model 'm' not found")
    );
    let mut request = ask("");
    let image = ImageUrl { url: "https://example.com/a.png".to_owned(), detail: None };
    let parts = vec![ContentPart::ImageUrl { image_url: image }];
    request.input = ModelInput::Messages(vec![Message {
        content: Some(Content::Parts(parts)),
        ..Message::text(Role::User, "")
    }]);
    let error = chat(&ollama(&server), "m", &request).await.unwrap_err();
    assert_eq!((error.kind, server.count()), (ModelErrorKind::InvalidRequest, 1));
}

#[tokio::test]
async fn embeddings_are_read() {
    let server = ModelServer::start();
    let embedder = providers().embedder(&ollama(&server), "m").unwrap();
    server
        .script(Script::json(200, &json!({"embeddings": [[0.6, 0.8], [1.0, 0.0]], "prompt_eval_count": 5})));
    let texts = ["a".to_owned(), "b".to_owned()];
    let found = embedder.embed(&texts, EmbeddingPurpose::Document, None).await.unwrap();
    assert_eq!((found.vectors.len(), found.usage.map(|usage| usage.input)), (2, Some(5)));
    assert_eq!(server.received()[0].body, json!({"model": "m", "input": ["a", "b"]}));
}
