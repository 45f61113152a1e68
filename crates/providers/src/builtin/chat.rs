//! The chat stand-ins.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flowbench_core::chat::{
    ChatChunk, ChatReply, ChatRequest, Content, FinishReason, Message, ModelIdentity, ModelInput,
    ResponseFormat, Role, ToolCall, ToolChoice, Usage,
};
use flowbench_core::ports::{ChatModel, ChunkSink, ModelError, ModelErrorKind};
use serde_json::{Value, json};

use super::attempts::Attempts;
use super::behaviour::{Behaviour, Misbehaves, StandIn};
use super::{extractive, identity, schema};

/// What `slow` waits where its name does not say.
const SLOW: Duration = Duration::from_millis(200);
/// Pause between the words of `stream-slowly`: quick enough to wait for, slow enough to see.
const WORD_PAUSE: Duration = Duration::from_millis(20);
/// How long `stalls` keeps silent: the idle time-out of the outbound client.
const STALL: Duration = Duration::from_secs(60);
/// What `html` answers, as gateways do.
const PAGE: &str =
    "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>";
/// What `refuses` answers.
const REFUSAL: &str = "I can't help with that.";

pub(super) struct StandInChat {
    pub name: String,
    pub stand_in: StandIn,
    pub attempts: Arc<Attempts>,
}

#[async_trait]
impl ChatModel for StandInChat {
    fn identity(&self) -> ModelIdentity {
        identity(&self.name)
    }

    async fn chat(&self, request: &ChatRequest, sink: Option<ChunkSink>) -> Result<ChatReply, ModelError> {
        let wait = match self.stand_in.behaviour {
            Behaviour::Slow => Some(self.stand_in.latency.unwrap_or(SLOW)),
            Behaviour::StreamSlowly | Behaviour::Stalls => None,
            _ => self.stand_in.latency,
        };
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            tokio::time::sleep(wait).await;
        }
        let misbehaves = self.misbehaves_now(request);
        if misbehaves && let Some(error) = self.misbehave(request, sink.as_ref()).await {
            return Err(error);
        }
        let mut reply = self.answer(request, misbehaves);
        self.cut_short(request, &mut reply);
        let text = reply.message.content_text();
        reply.usage =
            Some(Usage { input: input_tokens(request), output: count_words(&text), ..Usage::default() });
        reply.model = Some(self.name.clone());
        if let Some(sink) = sink {
            self.stream(&text, &sink).await;
        }
        Ok(reply)
    }
}

impl StandInChat {
    fn misbehaves_now(&self, request: &ChatRequest) -> bool {
        match self.stand_in.misbehaves {
            Misbehaves::Always => true,
            Misbehaves::Percent(percent) => {
                self.attempts.pick(&self.name, request, |_, hash| hash % 100 < u64::from(percent))
            }
            Misbehaves::First(count) => self.attempts.pick(&self.name, request, |attempt, _| attempt < count),
        }
    }

    /// The error of a behaviour that has one.
    async fn misbehave(&self, request: &ChatRequest, sink: Option<&ChunkSink>) -> Option<ModelError> {
        let name = &self.name;
        let failure = |kind, status: Option<u16>, text: &str| {
            let mut error = ModelError::new(kind, format!("model `builtin/{name}` {text}"));
            error.status = status;
            error
        };
        match self.stand_in.behaviour {
            Behaviour::RateLimited => {
                let mut error =
                    failure(ModelErrorKind::RateLimited, Some(429), "answered 429: too many requests");
                error.retry_after = self.stand_in.retry_after;
                Some(error)
            }
            Behaviour::ServerError => {
                Some(failure(ModelErrorKind::Unavailable, Some(500), "answered 500: internal server error"))
            }
            Behaviour::Html => {
                let mut error =
                    failure(ModelErrorKind::BadReply, Some(200), "answered with a web page instead of JSON");
                error.raw = Some(PAGE.to_owned());
                Some(error)
            }
            Behaviour::Truncated => {
                let whole = last_user_text(request);
                let half: String = whole.chars().take(whole.chars().count().div_ceil(2)).collect();
                if let Some(sink) = sink {
                    sink(ChatChunk::Text { text: half.clone() });
                }
                let mut error = failure(
                    ModelErrorKind::StreamTruncated,
                    Some(200),
                    "ended its answer before the end mark",
                );
                error.partial = Some(half);
                Some(error)
            }
            Behaviour::Stalls => {
                let silence = self.stand_in.latency.unwrap_or(STALL);
                tokio::time::sleep(silence).await;
                let text = format!("gave no answer within {} s", silence.as_secs_f64());
                Some(failure(ModelErrorKind::Timeout, None, &text))
            }
            _ => None,
        }
    }

    fn answer(&self, request: &ChatRequest, misbehaves: bool) -> ChatReply {
        match &self.stand_in.behaviour {
            Behaviour::BadJson if misbehaves => {
                ChatReply::text("{\"answer\": \"this JSON is not", FinishReason::Stop)
            }
            Behaviour::Refuses if misbehaves => {
                let mut reply = ChatReply::text("", FinishReason::ContentFilter);
                reply.message.content = None;
                reply.refusal = Some(REFUSAL.to_owned());
                reply
            }
            Behaviour::ToolCaller => call_tool(request),
            Behaviour::Json => ChatReply::text(json_answer(request), FinishReason::Stop),
            Behaviour::Counts => ChatReply::text(counts(request), FinishReason::Stop),
            Behaviour::Extractive => ChatReply::text(extractive::answer_request(request), FinishReason::Stop),
            Behaviour::Fixed(text) => ChatReply::text(text.clone(), FinishReason::Stop),
            _ => ChatReply::text(last_user_text(request), FinishReason::Stop),
        }
    }

    /// Obeys `max_tokens` (words here) and `stop`.
    fn cut_short(&self, request: &ChatRequest, reply: &mut ChatReply) {
        let Some(Content::Text(text)) = &mut reply.message.content else { return };
        if let Some(end) =
            request.parameters.stop.iter().filter(|s| !s.is_empty()).filter_map(|s| text.find(s)).min()
        {
            text.truncate(end);
        }
        if let Some(most) = request.parameters.max_tokens
            && let Some(end) = end_of_word(text, most)
        {
            text.truncate(end);
            reply.finish = FinishReason::Length;
        }
    }

    async fn stream(&self, text: &str, sink: &ChunkSink) {
        let is_slow = self.stand_in.behaviour == Behaviour::StreamSlowly;
        let pause = self.stand_in.latency.unwrap_or(WORD_PAUSE);
        for (number, word) in text.split_inclusive(char::is_whitespace).enumerate() {
            if is_slow && number > 0 {
                tokio::time::sleep(pause).await;
            }
            sink(ChatChunk::Text { text: word.to_owned() });
        }
    }
}

/// Byte offset of the end of word `count`, if there are more words.
fn end_of_word(text: &str, count: u32) -> Option<usize> {
    let (mut seen, mut end, mut is_in_word) = (0, 0, false);
    for (offset, character) in text.char_indices() {
        if character.is_whitespace() {
            if is_in_word {
                end = offset;
            }
            is_in_word = false;
        } else if !is_in_word {
            if seen == count {
                return Some(end);
            }
            seen += 1;
            is_in_word = true;
        }
    }
    None
}

/// The last user message's text, or the prompt.
pub(super) fn last_user_text(request: &ChatRequest) -> String {
    match &request.input {
        ModelInput::Text(text) => text.clone(),
        ModelInput::Messages(messages) => messages
            .iter()
            .rev()
            .find(|message| message.role == Role::User)
            .or(messages.last())
            .map(Message::content_text)
            .unwrap_or_default(),
    }
}

fn call_tool(request: &ChatRequest) -> ChatReply {
    let ModelInput::Messages(messages) = &request.input else {
        return ChatReply::text(last_user_text(request), FinishReason::Stop);
    };
    let results: Vec<String> = messages
        .iter()
        .rev()
        .take_while(|message| matches!(message.role, Role::Tool | Role::Function))
        .map(Message::content_text)
        .collect();
    let tool = match &request.tool_choice {
        Some(ToolChoice::None) => None,
        Some(ToolChoice::Function(name)) => request.tools.iter().find(|tool| tool.name == *name),
        _ => request.tools.first(),
    };
    let (true, Some(tool)) = (results.is_empty(), tool) else {
        let text = match results.is_empty() {
            true => last_user_text(request),
            false => results.into_iter().rev().collect::<Vec<_>>().join("\n"),
        };
        return ChatReply::text(text, FinishReason::Stop);
    };
    let called: usize = messages.iter().map(|message| message.tool_calls.len()).sum();
    let arguments = match schema::instance(&tool.parameters, &last_user_text(request)) {
        arguments @ Value::Object(_) => arguments,
        _ => json!({}),
    };
    let mut reply = ChatReply::text("", FinishReason::ToolCall);
    reply.message.content = None;
    reply.message.tool_calls = vec![ToolCall {
        id: format!("call_{}", called + 1),
        name: tool.name.clone(),
        arguments: arguments.to_string(),
        signature: None,
    }];
    reply
}

fn json_answer(request: &ChatRequest) -> String {
    let text = last_user_text(request);
    match &request.response_format {
        Some(ResponseFormat::JsonSchema { schema, .. }) => schema::instance(schema, &text).to_string(),
        _ => json!({"answer": text}).to_string(),
    }
}

fn counts(request: &ChatRequest) -> String {
    let texts: Vec<String> = match &request.input {
        ModelInput::Text(text) => vec![text.clone()],
        ModelInput::Messages(messages) => messages.iter().map(Message::content_text).collect(),
    };
    let words: u64 = texts.iter().map(|text| count_words(text)).sum();
    let characters: usize = texts.iter().map(|text| text.chars().count()).sum();
    json!({"messages": texts.len(), "words": words, "characters": characters}).to_string()
}

/// Words between blanks: what the stand-ins call a token.
pub(super) fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn input_tokens(request: &ChatRequest) -> u64 {
    match &request.input {
        ModelInput::Text(text) => count_words(text),
        ModelInput::Messages(messages) => {
            messages.iter().map(|message| count_words(&message.content_text())).sum()
        }
    }
}
