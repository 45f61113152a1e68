//! A local model behind the engine's [`ChatModel`] port.

mod tool_calls;

use async_trait::async_trait;
use flowbench_core::chat::{
    ChatChunk, ChatParameters, ChatReply, ChatRequest, FinishReason, ModelIdentity, ModelInput,
    ResponseFormat, ToolChoice, Usage,
};
use flowbench_core::ports::{ChatModel, ChunkSink, ModelError, ModelErrorKind};
use serde_json::Value;

use crate::generation::{Finish, GenerateRequest, GenerationEvent, Prompt, Reply, ReplyFormat};
use crate::model::LocalModel;
use crate::sampling::Sampling;
use crate::{InferenceError, gguf::GgufError};

/// A local model that answers the engine's requests. Dropping a request's future ends its work.
#[derive(Clone)]
pub struct LocalChatModel {
    model: LocalModel,
    identity: ModelIdentity,
}

impl LocalChatModel {
    /// A model under the name the flow used. `digest` is that of its file, where known.
    pub fn new(model: LocalModel, name: impl Into<String>, digest: Option<String>) -> Self {
        let identity = ModelIdentity {
            provider: "candle".to_owned(),
            connection: "local".to_owned(),
            model: name.into(),
            version: digest,
            endpoint: "local".to_owned(),
        };
        Self { model, identity }
    }

    /// The model itself.
    pub fn model(&self) -> &LocalModel {
        &self.model
    }
}

/// What a completion without `max_tokens` gets, as with the completion API that flows were written for.
const COMPLETION_MAX_TOKENS: usize = 16;

#[async_trait]
impl ChatModel for LocalChatModel {
    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    async fn chat(&self, request: &ChatRequest, sink: Option<ChunkSink>) -> Result<ChatReply, ModelError> {
        let mut dropped = Vec::new();
        let generate = to_generate(request, &mut dropped)?;
        let expects_calls = !generate.tools.is_empty();
        let mut generation = self.model.generate(generate)?;
        let mut reasoning = ReasoningSplit::default();
        let mut partial = String::new();
        let reply = loop {
            match generation.next().await {
                Some(Ok(GenerationEvent::Text(text))) => {
                    partial.push_str(&text);
                    // A reply that may turn out to be a call is not shown before it is known.
                    if let (Some(sink), false) = (&sink, expects_calls) {
                        reasoning.push(&text).into_iter().for_each(|chunk| sink(chunk));
                    }
                }
                Some(Ok(GenerationEvent::Finished(reply))) => break reply,
                Some(Err(error)) => {
                    let mut error = ModelError::from(error);
                    error.partial = (!partial.is_empty()).then_some(partial);
                    return Err(error);
                }
                None => return Err(InferenceError::ThreadGone.into()),
            }
        };
        let reply = to_chat_reply(reply, expects_calls, &self.identity.model, dropped);
        if let Some(sink) = &sink {
            if expects_calls {
                if let Some(text) = &reply.reasoning {
                    sink(ChatChunk::Reasoning { text: text.clone() });
                }
                let text = reply.message.content_text();
                if !text.is_empty() {
                    sink(ChatChunk::Text { text });
                }
            } else {
                reasoning.finish().into_iter().for_each(|chunk| sink(chunk));
            }
        }
        Ok(reply)
    }
}

fn to_generate(request: &ChatRequest, dropped: &mut Vec<String>) -> Result<GenerateRequest, InferenceError> {
    let parameters = &request.parameters;
    let (prompt, default_max_tokens) = match &request.input {
        ModelInput::Messages(messages) => (Prompt::Messages(messages.clone()), None),
        ModelInput::Text(text) => (Prompt::Text(text.clone()), Some(COMPLETION_MAX_TOKENS)),
    };
    let mut generate = GenerateRequest::new(prompt);
    generate.sampling = sampling(parameters)?;
    generate.stop.clone_from(&parameters.stop);
    generate.max_tokens = parameters.max_tokens.map(|count| count as usize).or(default_max_tokens);
    generate.format = match &request.response_format {
        None => ReplyFormat::Text,
        Some(ResponseFormat::JsonObject) => ReplyFormat::JsonObject,
        Some(ResponseFormat::JsonSchema { schema, .. }) => ReplyFormat::JsonSchema(schema.clone()),
    };
    match &request.tool_choice {
        Some(ToolChoice::None) => {}
        Some(ToolChoice::Function(name)) => {
            generate.tools = request.tools.iter().filter(|tool| tool.name == *name).cloned().collect();
            dropped.push("tool_choice: only that tool is offered, but the model may still answer".to_owned());
        }
        Some(ToolChoice::Required) => {
            generate.tools.clone_from(&request.tools);
            dropped.push("tool_choice: a local model cannot be made to call a tool".to_owned());
        }
        Some(ToolChoice::Auto) | None => generate.tools.clone_from(&request.tools),
    }
    generate.show_control = !generate.tools.is_empty();
    if parameters.n.is_some_and(|count| count > 1) {
        dropped.push("n: a local model gives one reply".to_owned());
    }
    for (name, value) in &parameters.extra {
        match (name.as_str(), value) {
            ("chat_template_kwargs", Value::Object(variables)) => {
                generate.template_variables.clone_from(variables);
            }
            _ => dropped.push(format!("{name}: unknown to local models")),
        }
    }
    Ok(generate)
}

fn sampling(parameters: &ChatParameters) -> Result<Sampling, InferenceError> {
    let default = Sampling::default();
    let mut logit_bias = Vec::new();
    for (key, value) in parameters.logit_bias.iter().flatten() {
        let (Ok(id), Some(bias)) = (key.parse(), value.as_f64()) else {
            return Err(InferenceError::Sampling {
                name: "logit_bias",
                expected: "token ids with a number each",
                found: format!("`{key}: {value}`"),
            });
        };
        logit_bias.push((id, bias as f32));
    }
    Ok(Sampling {
        temperature: parameters.temperature.unwrap_or(default.temperature),
        top_k: parameters.top_k.map_or(default.top_k, |k| k as usize),
        top_p: parameters.top_p.unwrap_or(default.top_p),
        min_p: parameters.min_p.unwrap_or(default.min_p),
        repeat_penalty: parameters.repeat_penalty.unwrap_or(default.repeat_penalty),
        presence_penalty: parameters.presence_penalty.unwrap_or(default.presence_penalty),
        frequency_penalty: parameters.frequency_penalty.unwrap_or(default.frequency_penalty),
        logit_bias,
        seed: parameters.seed.unwrap_or(default.seed),
    })
}

fn to_chat_reply(reply: Reply, expects_calls: bool, model: &str, dropped: Vec<String>) -> ChatReply {
    let (reasoning, answer) = split_reasoning(&reply.text);
    let (text, calls) =
        if expects_calls { tool_calls::parse(answer) } else { (answer.to_owned(), Vec::new()) };
    let finish = match reply.finish {
        _ if !calls.is_empty() => FinishReason::ToolCall,
        Finish::End | Finish::StopString => FinishReason::Stop,
        Finish::Length | Finish::ContextFull => FinishReason::Length,
    };
    let mut chat = ChatReply::text(text, finish);
    if !calls.is_empty() && chat.message.content_text().is_empty() {
        chat.message.content = None;
    }
    chat.message.tool_calls = calls;
    chat.reasoning = reasoning.map(str::to_owned);
    chat.raw_finish = Some(
        match reply.finish {
            Finish::End => "end",
            Finish::StopString => "stop_string",
            Finish::Length => "length",
            Finish::ContextFull => "context_full",
        }
        .to_owned(),
    );
    chat.usage = Some(Usage {
        input: reply.prompt_tokens as u64,
        output: reply.generated_tokens as u64,
        cache_read: Some(reply.reused_tokens as u64),
        ..Usage::default()
    });
    chat.model = Some(model.to_owned());
    chat.raw = reply.text;
    chat.dropped = dropped;
    chat
}

const THINK: &str = "<think>";
const THOUGHT: &str = "</think>";

/// Reasoning (Qwen 3 writes it first, in `<think>`) and answer.
fn split_reasoning(text: &str) -> (Option<&str>, &str) {
    let Some(rest) = text.trim_start().strip_prefix(THINK) else {
        return (None, text);
    };
    match rest.split_once(THOUGHT) {
        Some((reasoning, answer)) => (Some(reasoning.trim()), answer.trim_start()),
        None => (Some(rest.trim()), ""),
    }
}

/// The same split while the text comes in.
#[derive(Default)]
struct ReasoningSplit {
    state: SplitState,
    held: String,
}

#[derive(Default, PartialEq)]
enum SplitState {
    #[default]
    Start,
    Reasoning,
    AfterReasoning,
    Answer,
}

impl ReasoningSplit {
    fn push(&mut self, text: &str) -> Vec<ChatChunk> {
        self.held.push_str(text);
        let mut chunks = Vec::new();
        if self.state == SplitState::Start {
            let begin = self.held.trim_start();
            if let Some(rest) = begin.strip_prefix(THINK) {
                self.held = rest.to_owned();
                self.state = SplitState::Reasoning;
            } else if THINK.starts_with(begin) {
                return chunks;
            } else {
                self.state = SplitState::Answer;
            }
        }
        if self.state == SplitState::Reasoning {
            if let Some((reasoning, answer)) = self.held.split_once(THOUGHT) {
                if !reasoning.is_empty() {
                    chunks.push(ChatChunk::Reasoning { text: reasoning.to_owned() });
                }
                self.held = answer.to_owned();
                self.state = SplitState::AfterReasoning;
            } else {
                // The end marker may come in pieces.
                let certain = self.held.rfind('<').unwrap_or(self.held.len());
                let rest = self.held.split_off(certain);
                let text = std::mem::replace(&mut self.held, rest);
                if !text.is_empty() {
                    chunks.push(ChatChunk::Reasoning { text });
                }
                return chunks;
            }
        }
        if self.state == SplitState::AfterReasoning {
            self.held = self.held.trim_start().to_owned();
            if self.held.is_empty() {
                return chunks;
            }
            self.state = SplitState::Answer;
        }
        if !self.held.is_empty() {
            chunks.push(ChatChunk::Text { text: std::mem::take(&mut self.held) });
        }
        chunks
    }

    fn finish(&mut self) -> Option<ChatChunk> {
        let text = std::mem::take(&mut self.held);
        (!text.is_empty()).then_some(match self.state {
            SplitState::Reasoning => ChatChunk::Reasoning { text },
            _ => ChatChunk::Text { text },
        })
    }
}

impl From<InferenceError> for ModelError {
    fn from(error: InferenceError) -> Self {
        let kind = match &error {
            InferenceError::Open { .. } => ModelErrorKind::NotFound,
            InferenceError::ContextExceeded { .. } => ModelErrorKind::ContextLength,
            InferenceError::Busy { .. } => ModelErrorKind::RateLimited,
            InferenceError::NoChatTemplate { .. }
            | InferenceError::Template { .. }
            | InferenceError::EmptyPrompt
            | InferenceError::Sampling { .. }
            | InferenceError::Schema { .. }
            | InferenceError::UnsupportedFeature { .. } => ModelErrorKind::InvalidRequest,
            InferenceError::Gguf { source: GgufError::Io(_), .. } => ModelErrorKind::Unavailable,
            InferenceError::Compute(_) | InferenceError::ThreadGone => ModelErrorKind::Internal,
            _ => ModelErrorKind::InvalidRequest,
        };
        let hint = error.hint();
        let error = ModelError::new(kind, error.to_string());
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pieces: &[&str]) -> Vec<ChatChunk> {
        let mut split = ReasoningSplit::default();
        let mut chunks: Vec<ChatChunk> = pieces.iter().flat_map(|piece| split.push(piece)).collect();
        chunks.extend(split.finish());
        chunks
    }

    fn joined(chunks: &[ChatChunk]) -> (String, String) {
        let mut both = (String::new(), String::new());
        for chunk in chunks {
            match chunk {
                ChatChunk::Reasoning { text } => both.0.push_str(text),
                ChatChunk::Text { text } => both.1.push_str(text),
            }
        }
        both
    }

    #[test]
    fn reasoning_is_told_apart_from_the_answer() {
        assert_eq!(split_reasoning("<think>\nhm\n</think>\n\nYes"), (Some("hm"), "Yes"));
        assert_eq!(split_reasoning("<think>hm"), (Some("hm"), ""));
        assert_eq!(split_reasoning("a < b"), (None, "a < b"));
    }

    #[test]
    fn a_stream_is_split_the_same_way_however_it_is_cut() {
        let text = "<think>a<b</think>\n\nYes, a<b";
        for size in 1..text.len() {
            let pieces: Vec<&str> =
                text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            assert_eq!(joined(&stream(&pieces)), ("a<b".to_owned(), "Yes, a<b".to_owned()), "size {size}");
        }
        assert_eq!(joined(&stream(&["<thin"])), (String::new(), "<thin".to_owned()));
    }
}
