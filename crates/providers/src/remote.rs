//! Asks a remote chat model: one request, the whole answer or a stream of it.

use std::time::Duration;

use async_trait::async_trait;
use flowbench_core::chat::{ChatChunk, ChatReply, ChatRequest, ModelIdentity, ModelInput};
use flowbench_core::ports::{ChatModel, ChunkSink, ModelError, ModelErrorKind};
use flowbench_net::Response;

use crate::endpoint::{Endpoint, is_page};
use crate::failure::with_raw;
use crate::stream::Decoder;
use crate::wire::{Step, StreamReader, Wire};

/// How long to wait for the connection's end after the terminal marker. A server that ends properly gives the
/// connection back for the next request; one that does not loses only the connection.
const GOODBYE: Duration = Duration::from_millis(50);

/// A model of a provider.
pub(crate) struct Remote {
    pub endpoint: Endpoint,
    pub identity: ModelIdentity,
    pub chat: Box<dyn Wire>,
    /// Text completion, where it has a route of its own.
    pub text: Option<Box<dyn Wire>>,
}

#[async_trait]
impl ChatModel for Remote {
    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    async fn chat(&self, request: &ChatRequest, sink: Option<ChunkSink>) -> Result<ChatReply, ModelError> {
        let wire = match (&request.input, &self.text) {
            (ModelInput::Text(_), Some(text)) => &**text,
            _ => &*self.chat,
        };
        let written = wire.write(request, sink.is_some())?;
        let model = &self.identity.model;
        let (response, limits) = self.endpoint.post(&written.path, &written.body, model).await?;
        let status = response.status;
        let outcome = match &sink {
            Some(sink) if is_stream(&response) => self.stream(wire, response, sink).await,
            sink => self.whole(wire, response, sink.as_ref()).await,
        };
        match outcome {
            Ok(mut reply) => {
                reply.limits = limits;
                reply.dropped = written.dropped;
                Ok(reply)
            }
            Err(mut error) => {
                error.limits = limits;
                error.status = error.status.or(Some(status));
                Err(error)
            }
        }
    }
}

/// A server that ignores `stream` answers with plain JSON.
fn is_stream(response: &Response) -> bool {
    let kind = response.header("content-type").unwrap_or_default();
    !kind.starts_with("application/json") && !kind.starts_with("text/html")
}

impl Remote {
    async fn whole(
        &self,
        wire: &dyn Wire,
        response: Response,
        sink: Option<&ChunkSink>,
    ) -> Result<ChatReply, ModelError> {
        let is_page = is_page(&response);
        let text = self.endpoint.read(response.body).await?;
        let model = &self.identity.model;
        let body = self.endpoint.parse(&text, is_page, model)?;
        let mut reply = wire.read(&body).map_err(|lack| self.endpoint.bad_reply(lack, model, &text))?;
        reply.raw = text;
        let whole = reply.message.content_text();
        if let (Some(sink), false) = (sink, whole.is_empty()) {
            sink(ChatChunk::Text { text: whole });
        }
        Ok(reply)
    }

    async fn stream(
        &self,
        wire: &dyn Wire,
        response: Response,
        sink: &ChunkSink,
    ) -> Result<ChatReply, ModelError> {
        let mut body = response.body;
        let mut decoder = Decoder::new(wire.framing());
        let mut reader = wire.reader();
        let mut raw = Vec::new();
        let mut pass = |chunk| sink(chunk);
        loop {
            let piece = match body.next().await {
                Ok(piece) => piece,
                Err(error) => {
                    let broken = match error {
                        flowbench_net::NetError::Broken { .. } => self.cut_short(&error.to_string()),
                        other => other.into(),
                    };
                    return Err(self.with_partial(broken, reader, raw));
                }
            };
            let is_end = piece.is_none();
            let events = match &piece {
                Some(piece) => {
                    raw.extend_from_slice(piece);
                    decoder.push(piece)
                }
                None => decoder.finish().into_iter().collect(),
            };
            for event in events {
                match reader.take(&event, &mut pass) {
                    Step::More => {}
                    Step::Done => {
                        let _ = tokio::time::timeout(GOODBYE, async {
                            while let Ok(Some(piece)) = body.next().await {
                                raw.extend_from_slice(&piece);
                            }
                        })
                        .await;
                        return Ok(self.finished(reader, raw));
                    }
                    Step::Failed(value) => {
                        let error = self.endpoint.error_within(&value, &self.identity.model);
                        return Err(self.with_partial(error, reader, raw));
                    }
                }
            }
            if is_end {
                if reader.is_whole_at_end() {
                    return Ok(self.finished(reader, raw));
                }
                let is_page = raw.trim_ascii_start().starts_with(b"<");
                let error = match is_page {
                    true => self.endpoint.page(&self.identity.model),
                    false => self.cut_short("the end mark is missing"),
                };
                return Err(self.with_partial(error, reader, raw));
            }
        }
    }

    fn finished(&self, mut reader: Box<dyn StreamReader>, raw: Vec<u8>) -> ChatReply {
        let mut reply = reader.reply();
        reply.raw = self.endpoint.hide_secrets(String::from_utf8_lossy(&raw).into_owned());
        reply
    }

    fn cut_short(&self, why: &str) -> ModelError {
        let told = format!("answer of `{}` ended early: {why}", self.identity);
        ModelError::new(ModelErrorKind::StreamTruncated, told)
    }

    fn with_partial(&self, error: ModelError, mut reader: Box<dyn StreamReader>, raw: Vec<u8>) -> ModelError {
        let raw = self.endpoint.hide_secrets(String::from_utf8_lossy(&raw).into_owned());
        let mut error = with_raw(error, &raw);
        error.partial = Some(reader.reply().message.content_text()).filter(|text| !text.is_empty());
        error
    }
}
