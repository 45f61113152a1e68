//! Providers against a server on the loopback: what they send, what they read, how they fail.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod anthropic;
mod failures;
mod gemini;
mod ollama;
mod openai;
mod responses;

use std::sync::{Arc, Mutex};

use flowbench_core::chat::{ChatChunk, ChatReply, ChatRequest, Message, ModelInput, Role, ToolDefinition};
use flowbench_core::connection::{Connection, ConnectionKind, Secret};
use flowbench_core::ports::{ChunkSink, Clock, ModelError};
use flowbench_net::{Outbound, Policy, Proxies};
use flowbench_providers::ProviderSet;
use serde_json::{Value, json};

/// 2015-10-21 07:28:00 UTC, so that dates in headers mean the same in every run.
pub(crate) struct StoppedClock;

impl Clock for StoppedClock {
    fn now_ms(&self) -> u64 {
        1_445_412_480_000
    }
}

pub(crate) const KEY: &str = "sk-very-secret-key";

pub(crate) fn providers() -> ProviderSet {
    ProviderSet::new(Outbound::new(Policy::closed(), Arc::new(StoppedClock)).with_proxies(Proxies::default()))
}

/// A connection that its user vouched for, with a key.
pub(crate) fn connection(kind: &str, fields: Value) -> Connection {
    Connection {
        name: "mine".to_owned(),
        kind: ConnectionKind::parse(kind),
        fields: fields.as_object().unwrap().clone(),
        secrets: vec![("api_key".to_owned(), Secret::new(KEY))],
        is_approved: true,
    }
}

pub(crate) fn ask(text: &str) -> ChatRequest {
    ChatRequest {
        input: ModelInput::Messages(vec![
            Message::text(Role::System, "Be brief."),
            Message::text(Role::User, text),
        ]),
        parameters: Default::default(),
        tools: Vec::new(),
        tool_choice: None,
        response_format: None,
    }
}

pub(crate) fn tool() -> ToolDefinition {
    ToolDefinition {
        name: "weather".to_owned(),
        description: Some("Tells the weather".to_owned()),
        parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}}),
        strict: None,
    }
}

pub(crate) async fn chat(
    connection: &Connection,
    model: &str,
    request: &ChatRequest,
) -> Result<ChatReply, ModelError> {
    providers().chat_model(connection, model)?.chat(request, None).await
}

/// Streams and gives the pieces of text as well.
pub(crate) async fn stream(
    connection: &Connection,
    model: &str,
    request: &ChatRequest,
) -> (Result<ChatReply, ModelError>, Vec<String>) {
    let pieces = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&pieces);
    let sink: ChunkSink = Arc::new(move |chunk| {
        if let ChatChunk::Text { text } = chunk {
            kept.lock().unwrap().push(text);
        }
    });
    let outcome = providers().chat_model(connection, model).unwrap().chat(request, Some(sink)).await;
    let pieces = pieces.lock().unwrap().clone();
    (outcome, pieces)
}
