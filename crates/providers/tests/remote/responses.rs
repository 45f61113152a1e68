//! OpenAI's Responses.

use flowbench_core::chat::{FinishReason, Message, ModelInput, Role, ToolCall, Usage};
use flowbench_core::connection::Connection;
use flowbench_core::ports::ModelErrorKind;
use flowbench_testkit::{ModelServer, Script};
use serde_json::{Value, json};

use super::{ask, chat, connection, stream, tool};

fn responses(server: &ModelServer) -> Connection {
    connection("open_ai", json!({"base_url": server.base_url(), "api": "responses"}))
}

fn response(status: &str, incomplete: Value) -> Value {
    json!({"id": "resp_1", "object": "response", "status": status, "model": "gpt-x", "error": null,
        "incomplete_details": incomplete,
        "output": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hej", "annotations": []}]}],
        "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 16}})
}

#[tokio::test]
async fn calls_and_results_are_items_of_their_own() {
    let server = ModelServer::start();
    server.script(Script::json(200, &response("completed", Value::Null)));
    let mut request = ask("Lund");
    let call = ToolCall {
        id: "c1".to_owned(),
        name: "weather".to_owned(),
        arguments: "{}".to_owned(),
        signature: None,
    };
    let ModelInput::Messages(messages) = &mut request.input else { panic!("asked with messages") };
    messages.push(Message { content: None, tool_calls: vec![call], ..Message::text(Role::Assistant, "") });
    messages.push(Message { tool_call_id: Some("c1".to_owned()), ..Message::text(Role::Tool, "Sunny.") });
    request.tools = vec![tool()];
    request.parameters.max_tokens = Some(50);
    request.parameters.stop = vec!["END".to_owned()];
    let reply = chat(&responses(&server), "gpt-x", &request).await.unwrap();
    let sent = &server.received()[0];
    assert_eq!(sent.path, "/v1/responses");
    assert_eq!(
        sent.body,
        json!({"model": "gpt-x", "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Lund"},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "Sunny."}],
        "store": false, "max_output_tokens": 50,
        "tools": [{"type": "function", "name": "weather", "description": "Tells the weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}, "strict": false}]})
    );
    assert_eq!(reply.dropped, ["`stop`: the Responses interface has none"]);
    assert_eq!((reply.message.content_text().as_str(), reply.reasoning.as_deref()), ("Hej", Some("hm")));
    assert_eq!(
        reply.usage,
        Some(Usage { input: 9, output: 7, cache_read: Some(4), cache_write: None, reasoning: Some(5) })
    );
}

fn events(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn streams_end_in_one_of_three_ways() {
    let server = ModelServer::start();
    let begun = [
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}}),
        json!({"type": "response.output_text.delta", "sequence_number": 1, "delta": "He"}),
        json!({"type": "response.output_text.delta", "sequence_number": 2, "delta": "j"}),
    ];
    let with_end = |end: Value| Script::stream("text/event-stream", &(events(&begun) + &events(&[end])));
    server.script(with_end(
        json!({"type": "response.completed", "response": response("completed", Value::Null)}),
    ));
    let (reply, pieces) = stream(&responses(&server), "gpt-x", &ask("hello")).await;
    assert_eq!((reply.unwrap().finish, pieces.concat().as_str()), (FinishReason::Stop, "Hej"));

    let cut = response("incomplete", json!({"reason": "max_output_tokens"}));
    server.script(with_end(json!({"type": "response.incomplete", "response": cut})));
    let reply = stream(&responses(&server), "gpt-x", &ask("hello")).await.0.unwrap();
    assert_eq!(
        (reply.finish, reply.raw_finish.as_deref()),
        (FinishReason::Length, Some("max_output_tokens"))
    );

    let failed = json!({"error": {"code": "rate_limit_exceeded", "message": "Slow down"}});
    server.script(with_end(json!({"type": "response.failed", "response": failed})));
    let error = stream(&responses(&server), "gpt-x", &ask("hello")).await.0.unwrap_err();
    assert_eq!((error.kind, error.partial.as_deref()), (ModelErrorKind::RateLimited, Some("Hej")));
    server
        .script(with_end(json!({"type": "error", "code": "server_error", "message": "Oops", "param": null})));
    let error = stream(&responses(&server), "gpt-x", &ask("hello")).await.0.unwrap_err();
    assert_eq!(error.to_string(), "`mine/gpt-x` answered with an error: Oops");
    server.script(Script::stream("text/event-stream", &events(&begun)));
    let error = stream(&responses(&server), "gpt-x", &ask("hello")).await.0.unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::StreamTruncated);
}
