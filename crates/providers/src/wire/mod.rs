//! How each provider writes requests and answers. Pure: JSON in, JSON out; [`crate::remote`] does the talking.

pub(crate) mod anthropic;
pub(crate) mod completion;
pub(crate) mod gemini;
pub(crate) mod ollama;
pub(crate) mod openai;
mod parts;
pub(crate) mod responses;

use flowbench_core::chat::{ChatChunk, ChatReply, ChatRequest};
use flowbench_core::ports::ModelError;
use serde_json::Value;

use crate::stream::{Event, Framing};

/// A request, written for one provider.
#[derive(Debug)]
pub(crate) struct Written {
    /// Path after the base address, query included.
    pub path: String,
    pub body: Value,
    /// Parameters left out, each with the reason.
    pub dropped: Vec<String>,
}

/// One provider's way of chatting.
pub(crate) trait Wire: Send + Sync {
    /// Writes a request; fails if it cannot be said in this provider's terms.
    fn write(&self, request: &ChatRequest, is_streamed: bool) -> Result<Written, ModelError>;
    /// Reads a whole answer; the error is what the answer lacks, such as "has no `choices`".
    fn read(&self, body: &Value) -> Result<ChatReply, &'static str>;
    /// Reads a streamed answer.
    fn reader(&self) -> Box<dyn StreamReader>;
    /// How the stream is framed.
    fn framing(&self) -> Framing {
        Framing::Events
    }
}

/// What an event meant.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// There is more to come.
    More,
    /// The terminal marker.
    Done,
    /// An error object within the stream.
    Failed(Value),
}

/// Puts a streamed answer together.
pub(crate) trait StreamReader: Send {
    /// Takes one event and passes text on. Unknown events are nothing.
    fn take(&mut self, event: &Event, pass: &mut dyn FnMut(ChatChunk)) -> Step;
    /// The end of the stream: true if this provider ends without a marker and the answer is whole.
    fn is_whole_at_end(&self) -> bool {
        false
    }
    /// The answer as far as it came.
    fn reply(&mut self) -> ChatReply;
}
