//! What a local model is asked, and what comes back while it answers.

use flowbench_core::chat::{Message, ToolDefinition};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::InferenceError;
use crate::sampling::Sampling;

/// What the model goes on from.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// Text as it is. Markers in it are words, not control tokens.
    Text(String),
    /// A conversation, put into the model's own chat template.
    Messages(Vec<Message>),
}

/// Form that the reply must have.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ReplyFormat {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON after a schema.
    JsonSchema(Value),
}

/// One question to a local model.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// What to go on from.
    pub prompt: Prompt,
    /// Functions the model may call; only chat templates know what to do with them.
    pub tools: Vec<ToolDefinition>,
    /// More variables for the chat template, such as `enable_thinking`.
    pub template_variables: Map<String, Value>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the reply; not part of it.
    pub stop: Vec<String>,
    /// Most tokens of the reply; without it, what the context has room for.
    pub max_tokens: Option<usize>,
    /// Form of the reply.
    pub format: ReplyFormat,
    /// Give out control tokens as text, for callers that parse tool calls.
    pub show_control: bool,
}

impl GenerateRequest {
    /// A request with everything else at its default.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            tools: Vec::new(),
            template_variables: Map::new(),
            sampling: Sampling::default(),
            stop: Vec::new(),
            max_tokens: None,
            format: ReplyFormat::Text,
            show_control: false,
        }
    }
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model said it was done.
    End,
    /// A stop string was met.
    StopString,
    /// `max_tokens` were generated.
    Length,
    /// The context is full.
    ContextFull,
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, tokens that had been computed for an earlier request.
    pub reused_tokens: usize,
    /// Tokens generated, an end token not counted.
    pub generated_tokens: usize,
}

/// What happens while a model answers.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerationEvent {
    /// More text: whole characters, never part of a stop string.
    Text(String),
    /// The end; nothing follows.
    Finished(Reply),
}

/// A reply on its way. Dropping it ends the work within one token.
#[derive(Debug)]
pub struct Generation {
    pub(crate) events: mpsc::UnboundedReceiver<Result<GenerationEvent, InferenceError>>,
}

impl Generation {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<GenerationEvent, InferenceError>> {
        self.events.recv().await
    }

    /// The next event, for callers outside an async runtime.
    pub fn next_blocking(&mut self) -> Option<Result<GenerationEvent, InferenceError>> {
        self.events.blocking_recv()
    }

    /// Waits for the whole reply, outside an async runtime.
    pub fn wait(mut self) -> Result<Reply, InferenceError> {
        while let Some(event) = self.next_blocking() {
            if let GenerationEvent::Finished(reply) = event? {
                return Ok(reply);
            }
        }
        Err(InferenceError::ThreadGone)
    }
}
