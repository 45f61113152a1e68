//! Text completions (`api: completion`), the older form.

use flowbench_core::chat::{ChatChunk, ChatReply, ChatRequest, Content, FinishReason, ModelInput};
use flowbench_core::ports::{ModelError, ModelErrorKind};
use serde_json::{Map, Value, json};

use super::openai::{Dialect, extra, parameters, stream_fields, usage};
use super::{Step, StreamReader, Wire, Written};
use crate::json::{items, some_text, text};
use crate::stream::Event;

/// What prompt flow asks for where a flow does not say.
const DEFAULT_MAX_TOKENS: u32 = 16;

/// Text completions of one model.
#[derive(Clone, Debug)]
pub(crate) struct Completions {
    pub path: String,
    pub model: String,
    pub dialect: Dialect,
}

impl Wire for Completions {
    fn write(&self, request: &ChatRequest, is_streamed: bool) -> Result<Written, ModelError> {
        let ModelInput::Text(prompt) = &request.input else {
            let told = format!("model `{}` takes a text to go on from here, not messages", self.model);
            return Err(
                ModelError::new(ModelErrorKind::InvalidRequest, told).with_hint("use `api: completion`")
            );
        };
        let mut dropped = Vec::new();
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(self.model));
        body.insert("prompt".to_owned(), json!(prompt));
        let mut settings = request.parameters.clone();
        settings.max_tokens = settings.max_tokens.or(Some(DEFAULT_MAX_TOKENS));
        parameters(&mut body, &settings, "", self.dialect, &mut dropped);
        if let Some(count) = settings.n {
            body.insert("n".to_owned(), json!(count));
        }
        if !request.tools.is_empty() {
            dropped.push("`tools`: completions have none".to_owned());
        }
        if request.response_format.is_some() {
            dropped.push("`response_format`: completions have none".to_owned());
        }
        stream_fields(&mut body, is_streamed, self.dialect);
        extra(&mut body, &settings, &mut dropped);
        Ok(Written { path: self.path.clone(), body: Value::Object(body), dropped })
    }

    fn read(&self, body: &Value) -> Result<ChatReply, &'static str> {
        let choice = items(body, "choices").first().ok_or("has no `choices`")?;
        let said = text(choice, "text").ok_or("has no `text`")?;
        let mut reply = reply_of(said.to_owned(), some_text(choice, "finish_reason"));
        reply.usage = body.get("usage").and_then(usage);
        reply.model = some_text(body, "model");
        reply.id = some_text(body, "id");
        Ok(reply)
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(TextReader::default())
    }
}

fn reply_of(text: String, raw_finish: Option<String>) -> ChatReply {
    let finish = match raw_finish.as_deref() {
        Some("length") => FinishReason::Length,
        Some("content_filter") => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    };
    let mut reply = ChatReply::text(text, finish);
    reply.raw_finish = raw_finish;
    reply
}

#[derive(Debug, Default)]
struct TextReader {
    text: String,
    so_far: ChatReplyFacts,
}

#[derive(Debug, Default)]
struct ChatReplyFacts {
    raw_finish: Option<String>,
    usage: Option<flowbench_core::chat::Usage>,
    model: Option<String>,
    id: Option<String>,
}

impl StreamReader for TextReader {
    fn take(&mut self, event: &Event, pass: &mut dyn FnMut(ChatChunk)) -> Step {
        if event.data.trim() == "[DONE]" {
            return Step::Done;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(&event.data) else { return Step::More };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Step::Failed(chunk);
        }
        let facts = &mut self.so_far;
        facts.model = facts.model.take().or_else(|| some_text(&chunk, "model"));
        facts.id = facts.id.take().or_else(|| some_text(&chunk, "id"));
        facts.usage = chunk.get("usage").and_then(usage).or(facts.usage);
        if let Some(choice) = items(&chunk, "choices").first() {
            facts.raw_finish = some_text(choice, "finish_reason").or(facts.raw_finish.take());
            if let Some(piece) = some_text(choice, "text") {
                self.text.push_str(&piece);
                pass(ChatChunk::Text { text: piece });
            }
        }
        Step::More
    }

    fn reply(&mut self) -> ChatReply {
        let facts = std::mem::take(&mut self.so_far);
        let mut reply = reply_of(std::mem::take(&mut self.text), facts.raw_finish);
        reply.usage = facts.usage;
        reply.model = facts.model;
        reply.id = facts.id;
        debug_assert!(matches!(reply.message.content, Some(Content::Text(_))), "completions are text");
        reply
    }
}
