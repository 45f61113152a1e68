//! OpenAI, Azure OpenAI, serverless endpoints and what is compatible with them.

use flowbench_core::chat::{
    ChatRequest, Content, ContentPart, FinishReason, ImageUrl, Message, ModelInput, ResponseFormat, Role,
    ToolCall, ToolChoice,
};
use flowbench_core::connection::Secret;
use flowbench_core::ports::{EmbeddingPurpose, ModelErrorKind};
use flowbench_testkit::{ModelServer, Script};
use serde_json::json;

use super::{KEY, ask, chat, connection, providers, stream, tool};

fn compatible(server: &ModelServer) -> flowbench_core::connection::Connection {
    connection("open_ai", json!({"base_url": server.base_url()}))
}

#[tokio::test]
async fn a_chat_goes_out_and_comes_back() {
    let server = ModelServer::start();
    let mut request = ask("hello there");
    request.parameters.temperature = Some(0.5);
    request.parameters.max_tokens = Some(128);
    request.parameters.stop = vec!["END".to_owned()];
    let reply = chat(&compatible(&server), "echo", &request).await.unwrap();
    assert_eq!((reply.message.content_text().as_str(), reply.finish), ("hello there", FinishReason::Stop));
    assert_eq!(reply.usage.map(|usage| (usage.input, usage.output)), Some((4, 2)));
    assert_eq!((reply.model.as_deref(), reply.raw_finish.as_deref()), (Some("echo"), Some("stop")));
    assert!(reply.raw.contains("chat.completion"), "the body is kept: {}", reply.raw);

    let sent = &server.received()[0];
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(
        sent.body,
        json!({"model": "echo", "messages": [{"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello there"}], "temperature": 0.5, "max_tokens": 128, "stop": ["END"]}),
        "nothing that the flow did not ask for"
    );
}

#[tokio::test]
async fn streams_give_the_same_as_whole_answers() {
    let server = ModelServer::start();
    let request = ask("tre röda  ord");
    let whole = chat(&compatible(&server), "echo", &request).await.unwrap();
    let (streamed, pieces) = stream(&compatible(&server), "echo", &request).await;
    let streamed = streamed.unwrap();
    assert!(pieces.len() > 2, "in pieces: {pieces:?}");
    assert_eq!(pieces.concat(), "tre röda  ord");
    assert_eq!(streamed.message, whole.message);
    assert_eq!((streamed.finish, streamed.usage, streamed.id), (whole.finish, whole.usage, whole.id));
    assert!(streamed.raw.starts_with("data: ") && streamed.raw.contains("[DONE]"));
    let sent = server.received();
    assert_eq!(sent[1].body["stream_options"], json!({"include_usage": true}));
}

#[tokio::test]
async fn tools_are_offered_called_and_answered() {
    let server = ModelServer::start();
    let mut request = ask("Lund");
    request.tools = vec![tool()];
    request.tool_choice = Some(ToolChoice::Auto);
    let whole = chat(&compatible(&server), "tool-caller", &request).await.unwrap();
    let (streamed, pieces) = stream(&compatible(&server), "tool-caller", &request).await;
    let call = ToolCall {
        id: "call_1".to_owned(),
        name: "weather".to_owned(),
        arguments: "{\"city\":\"Lund\"}".to_owned(),
        signature: None,
    };
    for reply in [whole.clone(), streamed.unwrap()] {
        assert_eq!((reply.finish, &reply.message.content), (FinishReason::ToolCall, &None));
        assert_eq!(reply.message.tool_calls, std::slice::from_ref(&call));
    }
    assert_eq!(pieces, Vec::<String>::new(), "there is no text");

    let ModelInput::Messages(messages) = &mut request.input else { panic!("asked with messages") };
    messages.push(whole.message);
    messages.push(Message { tool_call_id: Some("call_1".to_owned()), ..Message::text(Role::Tool, "Sunny.") });
    let reply = chat(&compatible(&server), "tool-caller", &request).await.unwrap();
    assert_eq!(reply.message.content_text(), "Sunny.");
    let sent = server.received();
    assert_eq!(
        sent[0].body["tools"],
        json!([{"type": "function", "function": {"name": "weather", "description": "Tells the weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])
    );
    assert_eq!(
        sent[2].body["messages"].as_array().unwrap()[2..],
        [
            json!({"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function",
                "function": {"name": "weather", "arguments": "{\"city\":\"Lund\"}"}}]}),
            json!({"role": "tool", "content": "Sunny.", "tool_call_id": "call_1"}),
        ]
    );
}

#[tokio::test]
async fn images_and_schemas_are_sent_in_openais_form() {
    let server = ModelServer::start();
    let mut request = ask("");
    let image = ImageUrl { url: "data:image/png;base64,AAAA".to_owned(), detail: Some("low".to_owned()) };
    let parts =
        vec![ContentPart::Text { text: "What?".to_owned() }, ContentPart::ImageUrl { image_url: image }];
    let message = Message { content: Some(Content::Parts(parts)), ..Message::text(Role::User, "") };
    request.input = ModelInput::Messages(vec![message]);
    let schema = json!({"type": "object", "properties": {"seen": {"type": "boolean"}}});
    request.response_format =
        Some(ResponseFormat::JsonSchema { name: "seen".to_owned(), schema: schema.clone(), strict: true });
    let reply = chat(&compatible(&server), "json", &request).await.unwrap();
    assert_eq!(reply.message.content_text(), "{\"seen\":true}");
    let sent = &server.received()[0].body;
    assert_eq!(
        sent["messages"][0]["content"],
        json!([{"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}])
    );
    assert_eq!(
        sent["response_format"],
        json!({"type": "json_schema", "json_schema": {"name": "seen", "schema": schema, "strict": true}})
    );
}

#[tokio::test]
async fn completions_go_on_from_a_text() {
    let server = ModelServer::start();
    let request = ChatRequest { input: ModelInput::Text("Once upon a time".to_owned()), ..ask("") };
    let reply = chat(&compatible(&server), "echo", &request).await.unwrap();
    assert_eq!(reply.message.content_text(), "Once upon a time");
    let (streamed, pieces) = stream(&compatible(&server), "echo", &request).await;
    assert_eq!(streamed.unwrap().message.content_text(), pieces.concat());
    let sent = &server.received()[0];
    assert_eq!(sent.path, "/v1/completions");
    assert_eq!(sent.body, json!({"model": "echo", "prompt": "Once upon a time", "max_tokens": 16}));
}

#[tokio::test]
async fn parameters_that_a_service_refuses_are_left_out_and_told() {
    let server = ModelServer::start();
    let mut request = ask("hello");
    request.parameters.n = Some(3);
    request.parameters.top_k = Some(40);
    request.parameters.extra = json!({"stream": true, "store": false}).as_object().unwrap().clone();
    let reply = chat(&compatible(&server), "echo", &request).await.unwrap();
    let dropped = ["`n`: only the first answer is used", "`stream`: set by Flowbench itself"];
    assert_eq!(reply.dropped, dropped);
    let azure = connection("azure_open_ai", json!({"api_base": server.origin()}));
    let reply = chat(&azure, "echo", &request).await.unwrap();
    assert_eq!(reply.dropped[0], "`top_k`: this service refuses it");
    let sent = server.received();
    assert_eq!(
        (&sent[0].body["top_k"], &sent[0].body["store"], sent[0].body.get("n")),
        (&json!(40), &json!(false), None)
    );
    assert_eq!(sent[1].body.get("top_k"), None);
}

#[tokio::test]
async fn azure_has_two_addresses_and_two_kinds_of_key() {
    let server = ModelServer::start();
    let request = ask("hello");
    let dated =
        connection("azure_open_ai", json!({"api_base": server.origin(), "api_version": "2024-02-01"}));
    chat(&dated, "my echo", &request).await.unwrap_err();
    stream(&dated, "echo", &request).await.0.unwrap();
    let mut token = connection(
        "azure_open_ai",
        json!({"api_base": format!("{}/", server.origin()), "auth_mode": "meid_token"}),
    );
    token.secrets = vec![("azure_ad_token".to_owned(), Secret::new("entra-token"))];
    chat(&token, "echo", &request).await.unwrap();
    let sent = server.received();
    assert_eq!(sent[0].path, "/openai/deployments/my%20echo/chat/completions?api-version=2024-02-01");
    assert_eq!((sent[0].header("api-key"), sent[0].header("authorization")), (Some(KEY), None));
    assert_eq!(sent[1].body.get("stream_options"), None, "older versions refuse it");
    assert_eq!(sent[2].path, "/openai/v1/chat/completions");
    assert_eq!(
        (sent[2].header("api-key"), sent[2].header("authorization")),
        (None, Some("Bearer entra-token"))
    );
}

#[tokio::test]
async fn azures_annotation_chunks_are_survived() {
    let server = ModelServer::start();
    let chunks = [
        json!({"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        json!({"id": "c1", "model": "gpt", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
        json!({"id": "c1", "choices": [{"index": 0, "delta": {"content": "Hej"}, "finish_reason": null}], "obfuscation": "xx"}),
        json!({"id": "", "choices": [{"index": 0, "content_filter_results": {}, "content_filter_offsets": {"check_offset": 1}}]}),
        json!({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"id": "", "choices": [{"index": 0, "finish_reason": null, "content_filter_results": {}}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}}),
    ];
    let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
    server.script(Script::stream("text/event-stream", &format!(": hello\n\n{events}data: [DONE]\n\n")));
    let azure = connection("azure_open_ai", json!({"api_base": server.origin()}));
    let reply = stream(&azure, "gpt", &ask("hello")).await.0.unwrap();
    assert_eq!((reply.message.content_text().as_str(), reply.finish), ("Hej", FinishReason::Stop));
    assert_eq!((reply.id.as_deref(), reply.model.as_deref()), (Some("c1"), Some("gpt")));
    assert_eq!(reply.usage.and_then(|usage| usage.cache_read), Some(4));
}

#[tokio::test]
async fn odd_but_readable_answers_are_read() {
    let server = ModelServer::start();
    let body = json!({"id": 7, "choices": [{"message": {"content": [{"type": "text", "text": "Hi"}], "reasoning_content": "hm",
        "tool_calls": "none", "refusal": null}, "finish_reason": "eos"}], "usage": {"prompt_tokens": "many"}, "new": {}});
    server.script(Script::json(200, &body));
    let reply = chat(&compatible(&server), "x", &ask("hello")).await.unwrap();
    assert_eq!((reply.message.content_text().as_str(), reply.reasoning.as_deref()), ("Hi", Some("hm")));
    assert_eq!((reply.usage, reply.id, reply.finish), (None, None, FinishReason::Stop));
    assert_eq!(reply.raw_finish.as_deref(), Some("eos"));
}

#[tokio::test]
async fn refusals_are_told_apart_from_answers() {
    let server = ModelServer::start();
    let whole = chat(&compatible(&server), "refuses", &ask("hello")).await.unwrap();
    let streamed = stream(&compatible(&server), "refuses", &ask("hello")).await.0.unwrap();
    for reply in [whole, streamed] {
        assert_eq!(
            (reply.finish, reply.refusal.as_deref()),
            (FinishReason::ContentFilter, Some("I can't help with that."))
        );
    }
}

#[tokio::test]
async fn embeddings_come_back_in_order() {
    let server = ModelServer::start();
    let texts: Vec<String> = ["red house", "annual leave"].map(str::to_owned).to_vec();
    let embedder = providers().embedder(&compatible(&server), "embed").unwrap();
    let found = embedder.embed(&texts, EmbeddingPurpose::Document, Some(16)).await.unwrap();
    let direct = providers().builtin().embedder("embed").unwrap();
    let expected = direct.embed(&texts, EmbeddingPurpose::Document, Some(16)).await.unwrap();
    assert_eq!(found.vectors, expected.vectors, "the server sends the last one first");
    assert_eq!(found.usage.map(|usage| usage.input), Some(4));
    assert_eq!(
        server.received()[0].body,
        json!({"model": "embed", "input": texts, "encoding_format": "float", "dimensions": 16})
    );

    let packed = json!({"data": [{"index": 0, "embedding": "AACAPwAAAMA="}], "usage": {"prompt_tokens": 1}});
    server.script(Script::json(200, &packed));
    let found = embedder.embed(&texts[..1], EmbeddingPurpose::Query, None).await.unwrap();
    assert_eq!(found.vectors, [[1.0, -2.0]]);
    server.script(Script::json(200, &packed));
    let error = embedder.embed(&texts, EmbeddingPurpose::Query, None).await.unwrap_err();
    assert_eq!(error.to_string(), "answer of `mine/embed` has 1 embeddings for 2 texts");
    assert_eq!(error.kind, ModelErrorKind::BadReply);
}

#[tokio::test]
async fn passages_are_reranked() {
    let server = ModelServer::start();
    let reranker = providers().reranker(&compatible(&server), "overlap").unwrap();
    let passages = vec!["The office opens at seven.".to_owned(), "Dogs come on Fridays.".to_owned()];
    let scores = reranker.rerank("When do dogs come?", &passages).await.unwrap();
    assert!(scores[1] > scores[0], "{scores:?}");
    assert_eq!(server.received()[0].path, "/v1/rerank");
}

#[tokio::test]
async fn serverless_endpoints_get_v1_appended() {
    let server = ModelServer::start();
    let serverless = connection("serverless", json!({"api_base": server.origin()}));
    let reply = chat(&serverless, "echo", &ask("hello")).await.unwrap();
    assert_eq!(reply.message.content_text(), "hello");
    assert_eq!(server.received()[0].path, "/v1/chat/completions");
}

#[test]
fn identities_say_who_answers_and_where() {
    let local = connection("open_ai", json!({"base_url": "http://127.0.0.1:8080/v1/"}));
    let identity = providers().chat_model(&local, "m").unwrap().identity();
    assert_eq!(
        (identity.provider.as_str(), identity.endpoint.as_str()),
        ("openai_compatible", "http://127.0.0.1:8080")
    );
    let openai = connection("open_ai", json!({}));
    assert_eq!(providers().chat_model(&openai, "m").unwrap().identity().provider, "openai");
}

#[test]
fn what_a_connection_lacks_is_said() {
    let mut keyless = connection("open_ai", json!({}));
    keyless.secrets.clear();
    let error = providers().chat_model(&keyless, "m").err().unwrap();
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (ModelErrorKind::Authentication, "connection `mine` has no `api_key`")
    );
    let error = providers().chat_model(&connection("azure_open_ai", json!({})), "m").err().unwrap();
    assert_eq!(error.to_string(), "connection `mine` has no `api_base`");
    let error = providers().chat_model(&connection("serp", json!({})), "m").err().unwrap();
    assert_eq!(error.to_string(), "connection `mine` offers no chat");
    let error = providers().chat_model(&connection("open_ai", json!({})), "").err().unwrap();
    assert_eq!(error.hint.as_deref(), Some("set `model`"));
}
