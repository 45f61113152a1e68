//! Servers that refuse, stall, lie and break off.

use std::time::Duration;

use flowbench_core::connection::Connection;
use flowbench_core::ports::{ModelError, ModelErrorKind};
use flowbench_testkit::{ModelServer, Script};
use serde_json::{Value, json};

use super::{KEY, ask, chat, connection, stream};

fn quick(server: &ModelServer) -> Connection {
    connection("open_ai", json!({"base_url": server.base_url(), "idle_timeout": 0.05}))
}

async fn whole_error(server: &ModelServer, model: &str) -> ModelError {
    chat(&quick(server), model, &ask("hello there")).await.unwrap_err()
}

async fn stream_error(server: &ModelServer, model: &str) -> ModelError {
    stream(&quick(server), model, &ask("hello there")).await.0.unwrap_err()
}

#[tokio::test]
async fn refusals_carry_what_the_engine_needs_to_decide() {
    let server = ModelServer::start();
    let body = json!({"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}).to_string();
    let headers = [
        "retry-after: Wed, 21 Oct 2015 07:28:20 GMT",
        "x-should-retry: false",
        "x-ratelimit-remaining-requests: 0",
        "x-ratelimit-reset-requests: 6m0s",
    ];
    server.script(Script::answer(429, &headers, &body));
    let error = whole_error(&server, "gpt").await;
    assert_eq!(error.to_string(), "`mine/gpt` answered 429: Slow down");
    assert_eq!((error.kind, error.status), (ModelErrorKind::RateLimited, Some(429)));
    assert_eq!(error.retry_after, Some(Duration::from_secs(20)));
    assert_eq!(error.should_retry, Some(false));
    assert!(!error.is_worth_repeating(), "the server's word counts most");
    assert_eq!(
        (error.limits.remaining_requests, error.limits.reset),
        (Some(0), Some(Duration::from_secs(360)))
    );
    assert_eq!(error.raw.as_deref(), Some(body.as_str()));

    let error = whole_error(&server, "rate-limited-after-30ms").await;
    assert_eq!(error.retry_after, Some(Duration::from_millis(30)));
    assert_eq!(whole_error(&server, "rate-limited").await.retry_after, None);
    assert_eq!(whole_error(&server, "server-error").await.kind, ModelErrorKind::Unavailable);
    let error = whole_error(&server, "nobody").await;
    assert_eq!(error.kind, ModelErrorKind::NotFound);
    assert_eq!(
        error.hint.as_deref(),
        Some("check the model or deployment name, and the address of connection `mine`")
    );
}

#[tokio::test]
async fn keys_are_never_told() {
    let server = ModelServer::start();
    let echoed = json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}});
    server.script(Script::json(401, &echoed));
    let error = whole_error(&server, "gpt").await;
    assert_eq!(error.kind, ModelErrorKind::Authentication);
    assert_eq!(error.to_string(), "`mine/gpt` answered 401: Incorrect API key provided: ••••");
    assert!(!format!("{error:?}").contains(KEY));

    server.script(Script::json(200, &json!({"choices": [{"message": {"content": format!("I saw {KEY}")}}]})));
    let reply = chat(&quick(&server), "gpt", &ask("hello")).await.unwrap();
    assert!(!format!("{reply:?}").contains(KEY), "{reply:?}");
    assert!(!format!("{:?}", quick(&server)).contains(KEY));
}

#[tokio::test]
async fn web_pages_are_recognised() {
    let server = ModelServer::start();
    for error in [whole_error(&server, "html").await, stream_error(&server, "html").await] {
        assert_eq!(error.kind, ModelErrorKind::BadReply);
        assert_eq!(error.to_string(), "`mine/html` answered with a web page instead of JSON");
        assert!(error.raw.is_some_and(|raw| raw.contains("502 Bad Gateway")));
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.starts_with("check the address of connection `mine`: http://127"))
        );
    }
    server.script(Script::stream("text/event-stream", "<html>proxy</html>"));
    assert_eq!(stream_error(&server, "x").await.kind, ModelErrorKind::BadReply);
}

#[tokio::test]
async fn silence_is_a_time_out() {
    let server = ModelServer::start();
    server.script(Script::stall_after(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"cho",
    ));
    let error = whole_error(&server, "x").await;
    assert_eq!(error.kind, ModelErrorKind::Timeout);
    assert!(error.to_string().ends_with("sent nothing more within 0.05 s"), "{error}");

    let half = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"Half\"}}]}\n\n";
    server.script(Script::stall_after(half));
    let error = stream_error(&server, "x").await;
    assert_eq!((error.kind, error.partial.as_deref()), (ModelErrorKind::Timeout, Some("Half")));
}

#[tokio::test]
async fn answers_that_end_early_are_never_taken_for_whole() {
    let server = ModelServer::start();
    let error = stream_error(&server, "truncated").await;
    assert_eq!(error.kind, ModelErrorKind::StreamTruncated);
    assert_eq!(error.partial.as_deref(), Some("hello "));

    let chunk = |delta: Value, reason: Value| json!({"choices": [{"delta": delta, "finish_reason": reason}]});
    let said = chunk(json!({"content": "Hej"}), Value::Null);
    let ended = chunk(json!({}), json!("stop"));
    server.script(Script::stream("text/event-stream", &format!("data: {said}\n\ndata: {ended}\n\n")));
    let error = stream_error(&server, "x").await;
    assert_eq!(error.to_string(), "answer of `mine/x` ended early: the end mark is missing");
    assert_eq!((error.kind, error.partial.as_deref()), (ModelErrorKind::StreamTruncated, Some("Hej")));
    assert!(error.raw.is_some_and(|raw| raw.contains("Hej")), "what came is kept");

    // A whole answer whose stated length does not come.
    let error = whole_error(&server, "truncated").await;
    assert_eq!(error.kind, ModelErrorKind::Unavailable);
    assert!(error.is_worth_repeating());
}

#[tokio::test]
async fn errors_within_a_success_are_errors() {
    let server = ModelServer::start();
    let event = json!({"error": {"message": "Overloaded", "type": "server_error"}});
    let said = json!({"choices": [{"delta": {"content": "Par"}}]});
    server.script(Script::stream("text/event-stream", &format!("data: {said}\n\ndata: {event}\n\n")));
    let error = stream_error(&server, "x").await;
    assert_eq!(error.to_string(), "`mine/x` answered with an error: Overloaded");
    assert_eq!((error.kind, error.partial.as_deref()), (ModelErrorKind::Unavailable, Some("Par")));
    server.script(Script::json(200, &json!({"error": {"message": "No", "code": "insufficient_quota"}})));
    assert_eq!(whole_error(&server, "x").await.kind, ModelErrorKind::QuotaExhausted);
}

#[tokio::test]
async fn unreadable_answers_say_what_is_wrong() {
    let server = ModelServer::start();
    for (body, expected) in [
        ("{\"choices\": []}", "answer of `mine/x` has no `choices`"),
        ("[]", "answer of `mine/x` has no `choices`"),
        ("{\"choices\": [{}]}", "answer of `mine/x` has no `message`"),
        ("", "answer of `mine/x` is not JSON: EOF while parsing a value at line 1 column 0"),
    ] {
        server.script(Script::answer(200, &["content-type: application/json"], body));
        let error = whole_error(&server, "x").await;
        assert_eq!((error.kind, error.to_string().as_str()), (ModelErrorKind::BadReply, expected));
    }
    // Nesting that would exhaust the stack of a careless parser.
    let deep = "[".repeat(100_000);
    server.script(Script::answer(200, &["content-type: application/json"], &deep));
    let error = whole_error(&server, "x").await;
    assert_eq!(error.kind, ModelErrorKind::BadReply);
    assert!(error.raw.is_some_and(|raw| raw.len() < 20_000), "what is kept of it is bounded");
}

#[tokio::test]
async fn a_server_that_ignores_streaming_is_read_all_the_same() {
    let server = ModelServer::start();
    server.script(Script::json(
        200,
        &json!({"choices": [{"message": {"content": "Whole"}, "finish_reason": "stop"}]}),
    ));
    let (outcome, pieces) = stream(&quick(&server), "x", &ask("hello")).await;
    assert_eq!(outcome.unwrap().message.content_text(), "Whole");
    assert_eq!(pieces, ["Whole"]);
}

#[tokio::test]
async fn hosts_that_nobody_vouched_for_are_refused() {
    let server = ModelServer::start();
    let unapproved = Connection { is_approved: false, ..quick(&server) };
    let error = chat(&unapproved, "echo", &ask("hello")).await.unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::Forbidden);
    assert_eq!(error.to_string(), format!("host `{}` is not allowed", server.host()));
    assert_eq!(server.count(), 0);
}
