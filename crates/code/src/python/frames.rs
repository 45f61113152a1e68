//! The protocol with a worker: length-framed JSON over a socket, and the messages of both sides.

use bytes::{Buf, BytesMut};
use flowbench_core::ports::CodeSource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What the host says.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToWorker<'a> {
    Call(CallMessage<'a>),
    Reply(ReplyMessage),
}

/// One call.
#[derive(Serialize)]
pub(crate) struct CallMessage<'a> {
    pub source: &'a CodeSource,
    pub inputs: &'a Map<String, Value>,
    pub connections: Vec<(&'a str, ConnectionMessage<'a>)>,
    pub is_aggregation: bool,
    pub marker: &'a str,
}

/// A connection with its secrets in the clear: the code is about to use them.
#[derive(Serialize)]
pub(crate) struct ConnectionMessage<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub fields: &'a Map<String, Value>,
    pub secrets: Map<String, Value>,
}

/// The answer to a host call.
#[derive(Serialize)]
pub(crate) struct ReplyMessage {
    pub id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a worker says.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromWorker {
    /// Booted.
    Ready { version: String },
    /// A file it imported has changed; it ends without having started the call.
    Stale,
    /// The call reached it.
    Started,
    /// A piece of a streamed result.
    Chunk { text: String },
    /// The code asks the host.
    Host { id: u64, method: String, parameters: Value },
    /// Done.
    Result { value: Value, metrics: Vec<(String, Value)>, warnings: Vec<String> },
    /// Failed.
    Error(WorkerFailure),
}

/// How a call failed inside the worker.
#[derive(Deserialize)]
pub(crate) struct WorkerFailure {
    pub kind: String,
    /// True if the message is the worker's own and needs no exception name.
    pub own: bool,
    pub exception: String,
    pub message: String,
    pub traceback: String,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub missing_module: Option<String>,
    pub warnings: Vec<String>,
}

/// Why a frame could not be read or written.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("the connection to the worker ended")]
    Ended,
    #[error("a message of {size} bytes is larger than the {limit} allowed")]
    TooLarge { size: usize, limit: usize },
    #[error("a message cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the connection to the worker broke: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads frames. Dropping a half-finished `next` loses nothing.
pub(crate) struct FrameReader<R> {
    source: R,
    buffer: BytesMut,
    limit: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(source: R, limit: usize) -> Self {
        Self { source, buffer: BytesMut::with_capacity(8 * 1024), limit }
    }

    pub(crate) async fn next(&mut self) -> Result<FromWorker, FrameError> {
        loop {
            if self.buffer.len() >= 4 {
                let size = self.buffer[..4].iter().fold(0usize, |size, byte| size << 8 | usize::from(*byte));
                if size > self.limit {
                    return Err(FrameError::TooLarge { size, limit: self.limit });
                }
                if self.buffer.len() >= 4 + size {
                    self.buffer.advance(4);
                    let frame = self.buffer.split_to(size);
                    return Ok(serde_json::from_slice(&frame)?);
                }
                self.buffer.reserve(4 + size - self.buffer.len());
            }
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Err(FrameError::Ended);
            }
        }
    }
}

/// Writes one frame.
pub(crate) async fn write_frame(
    target: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> Result<(), FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let size = frame.len() - 4;
    let header = u32::try_from(size)
        .map_err(|_| FrameError::TooLarge { size, limit: u32::MAX as usize })?
        .to_be_bytes();
    frame[..4].copy_from_slice(&header);
    target.write_all(&frame).await?;
    Ok(())
}
