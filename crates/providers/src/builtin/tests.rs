//! Stand-ins as a flow meets them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowbench_core::chat::{
    ChatChunk, ChatReply, ChatRequest, FinishReason, Message, ModelInput, ResponseFormat, Role,
    ToolDefinition,
};
use flowbench_core::ports::{EmbeddingPurpose, ModelError, ModelErrorKind};
use serde_json::{Value, json};

use super::Builtin;

fn ask(text: &str) -> ChatRequest {
    ChatRequest {
        input: ModelInput::Messages(vec![Message::text(Role::User, text)]),
        parameters: Default::default(),
        tools: Vec::new(),
        tool_choice: None,
        response_format: None,
    }
}

async fn answer(name: &str, request: &ChatRequest) -> Result<ChatReply, ModelError> {
    Builtin::default().chat_model(name).unwrap().chat(request, None).await
}

#[tokio::test]
async fn echo_answers_the_last_user_message() {
    let mut request = ask("one two three");
    let reply = answer("echo", &request).await.unwrap();
    assert_eq!(reply.message.content_text(), "one two three");
    assert_eq!(reply.usage.map(|usage| (usage.input, usage.output)), Some((3, 3)));

    request.parameters.max_tokens = Some(2);
    let reply = answer("echo", &request).await.unwrap();
    assert_eq!((reply.message.content_text().as_str(), reply.finish), ("one two", FinishReason::Length));

    request.parameters.max_tokens = Some(3);
    request.parameters.stop = vec![" three".to_owned()];
    let reply = answer("echo", &request).await.unwrap();
    assert_eq!((reply.message.content_text().as_str(), reply.finish), ("one two", FinishReason::Stop));
}

#[tokio::test(start_paused = true)]
async fn slow_takes_its_time() {
    for (name, expected) in [("slow", 200), ("slow-350ms", 350), ("echo", 0), ("echo-5ms", 5)] {
        let started = tokio::time::Instant::now();
        answer(name, &ask("hello")).await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_millis(expected), "`{name}`");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_say_what_a_provider_would() {
    for (name, kind, status) in [
        ("rate-limited", ModelErrorKind::RateLimited, Some(429)),
        ("server-error", ModelErrorKind::Unavailable, Some(500)),
        ("html", ModelErrorKind::BadReply, Some(200)),
        ("truncated", ModelErrorKind::StreamTruncated, Some(200)),
        ("stalls", ModelErrorKind::Timeout, None),
    ] {
        let error = answer(name, &ask("hello there")).await.unwrap_err();
        assert_eq!((error.kind, error.status), (kind, status), "`{name}`: {error}");
        assert_eq!(error.retry_after, None);
    }
    let error = answer("rate-limited-after-30ms", &ask("hello")).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_millis(30)));
    let error = answer("truncated", &ask("hello there")).await.unwrap_err();
    assert_eq!(error.partial.as_deref(), Some("hello "));
}

#[tokio::test]
async fn rate_limits_can_pass() {
    let builtin = Builtin::default();
    let request = ask("hello");
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        // A new model each time, as the engine asks for one at each call.
        outcomes.push(builtin.chat_model("rate-limited-twice").unwrap().chat(&request, None).await.is_ok());
    }
    assert_eq!(outcomes, [false, false, true, false], "the count starts again after an answer");
}

#[tokio::test]
async fn a_share_of_attempts_is_refused_and_the_same_ones_every_time() {
    async fn refused(seed: u64) -> Vec<usize> {
        let model = Builtin::new(seed).chat_model("rate-limited-10pct").unwrap();
        let mut refused = Vec::new();
        for line in 0..1000 {
            if model.chat(&ask(&format!("line {line}")), None).await.is_err() {
                refused.push(line);
            }
        }
        refused
    }
    let first = refused(1).await;
    assert!((70..130).contains(&first.len()), "about a tenth of 1000, but {} were refused", first.len());
    assert_eq!(first, refused(1).await);
    assert_ne!(first, refused(2).await);
}

#[tokio::test]
async fn refusals_have_no_text() {
    let reply = answer("refuses", &ask("hello")).await.unwrap();
    assert_eq!(reply.finish, FinishReason::ContentFilter);
    assert!(reply.refusal.is_some());
    assert_eq!(reply.message.content, None);
}

#[tokio::test]
async fn tools_are_called_then_their_result_told() {
    let mut request = ask("what is 2 + 2");
    request.tools = vec![ToolDefinition {
        name: "calculate".to_owned(),
        description: None,
        parameters: json!({"type": "object", "properties": {"expression": {"type": "string"}}}),
        strict: None,
    }];
    let reply = answer("tool-caller", &request).await.unwrap();
    assert_eq!(reply.finish, FinishReason::ToolCall);
    let call = reply.message.tool_calls[0].clone();
    assert_eq!(call.name, "calculate");
    assert_eq!(
        serde_json::from_str::<Value>(&call.arguments).unwrap(),
        json!({"expression": "what is 2 + 2"})
    );

    let ModelInput::Messages(messages) = &mut request.input else { panic!("asked with messages") };
    messages.push(reply.message);
    let mut result = Message::text(Role::Tool, "4");
    result.tool_call_id = Some(call.id);
    messages.push(result);
    let reply = answer("tool-caller", &request).await.unwrap();
    assert_eq!((reply.message.content_text().as_str(), reply.finish), ("4", FinishReason::Stop));
}

#[tokio::test]
async fn json_fits_its_schema_and_bad_json_does_not_parse() {
    let mut request = ask("hello");
    request.response_format = Some(ResponseFormat::JsonSchema {
        name: "reply".to_owned(),
        schema: json!({"type": "object", "properties": {"score": {"type": "integer"}, "text": {"type": "string"}}}),
        strict: true,
    });
    let reply = answer("json", &request).await.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&reply.message.content_text()).unwrap(),
        json!({"score": 1, "text": "hello"})
    );
    let reply = answer("bad-json", &request).await.unwrap();
    assert!(serde_json::from_str::<Value>(&reply.message.content_text()).is_err());
}

#[tokio::test(start_paused = true)]
async fn streams_arrive_in_pieces_that_make_the_whole() {
    for name in ["echo", "stream-slowly", "fixed:one  two\nthree"] {
        let pieces = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let pieces = Arc::clone(&pieces);
            Arc::new(move |chunk: ChatChunk| {
                if let ChatChunk::Text { text } = chunk {
                    pieces.lock().unwrap().push(text);
                }
            })
        };
        let model = Builtin::default().chat_model(name).unwrap();
        let reply = model.chat(&ask("one  two\nthree"), Some(sink)).await.unwrap();
        let pieces = pieces.lock().unwrap().clone();
        assert!(pieces.len() >= 3, "`{name}` streamed {pieces:?}");
        assert_eq!(pieces.concat(), reply.message.content_text());
    }
}

#[test]
fn an_unknown_name_gets_the_list() {
    let Err(error) = Builtin::default().chat_model("ekko") else { panic!("no such stand-in") };
    assert_eq!(error.kind, ModelErrorKind::NotFound);
    assert_eq!(error.to_string(), "connection `builtin` has no model `ekko`");
    assert!(error.hint.is_some_and(|hint| hint.contains("echo, slow, bad-json, refuses, rate-limited")));
}

#[tokio::test]
async fn vectors_of_like_texts_lie_close() {
    let texts: Vec<String> = ["the red house", "red houses", "annual leave policy", ""]
        .iter()
        .map(|text| (*text).to_owned())
        .collect();
    let embedder = Builtin::default().embedder("embed").unwrap();
    let vectors = embedder.embed(&texts, EmbeddingPurpose::Document, None).await.unwrap().vectors;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    assert!((dot(&vectors[0], &vectors[0]) - 1.0).abs() < 1e-5, "unit length");
    assert!(dot(&vectors[0], &vectors[1]) > 0.5 && dot(&vectors[0], &vectors[2]) < 0.2);
    assert!(vectors[3].iter().all(|value| *value == 0.0), "nothing to hash");
    let short = embedder.embed(&texts[..1], EmbeddingPurpose::Query, Some(8)).await.unwrap();
    assert_eq!(short.vectors[0].len(), 8);
}

#[tokio::test]
async fn the_passage_with_the_rare_words_ranks_first() {
    let passages = ["Dogs are welcome on Fridays.".to_owned(), "The office opens at seven.".to_owned()];
    let scores = Builtin::default()
        .reranker("overlap")
        .unwrap()
        .rerank("When may dogs come?", &passages)
        .await
        .unwrap();
    assert!(scores[0] > scores[1]);
}

#[tokio::test]
async fn extractive_cites_the_context() {
    let request = ask(
        "Context:\n[leave] Everyone has 25 days of leave.\n[dogs] Dogs may come on Fridays.\n\nQuestion: When may dogs come?",
    );
    let reply = answer("extractive", &request).await.unwrap();
    assert_eq!(reply.message.content_text(), "Dogs may come on Fridays. [dogs]");
}
