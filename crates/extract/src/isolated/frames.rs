//! What host and worker say to each other: frames of a length (eight bytes, little end first) and as many bytes.
//!
//! The host says hello with the limits, the worker with its version. Then for each document the host sends a header
//! and the bytes, the worker an answer and the bytes of every attachment: bytes travel as they are, not as base64.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::document::{ExtractRequest, Extracted};
use crate::error::ExtractError;

/// Most that is read ahead of what really arrives, whatever length a frame claims.
const STEP: u64 = 1 << 20;
/// Longest header or hello.
pub(super) const MAX_HEADER: u64 = 1 << 20;

/// The worker's hello.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Name of the conversation, so that a program that is no worker is known as such.
    pub protocol: String,
    /// Version of the readers.
    pub version: u32,
}

impl Hello {
    /// What this version of the program says.
    pub fn ours() -> Self {
        Self { protocol: "flowbench-extract-1".to_owned(), version: crate::VERSION }
    }
}

/// What is known of a document beside its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    name: String,
    media_type: Option<String>,
    password: Option<String>,
}

/// What a worker found.
pub(super) type Answer = Result<Extracted, ExtractError>;

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn write_frame(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&(bytes.len() as u64).to_le_bytes())?;
    output.write_all(bytes)
}

/// One frame; `None` when the other side has gone.
fn read_frame(input: &mut impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    let mut filled = 0;
    while filled < length.len() {
        match input.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u64::from_le_bytes(length);
    if length > limit {
        return Err(invalid(format!("a frame of {length} bytes, {limit} are allowed")));
    }
    let mut bytes = Vec::with_capacity(length.min(STEP) as usize);
    input.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}

/// Sends a value.
pub(super) fn write_value(output: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    write_frame(output, &serde_json::to_vec(value).map_err(invalid)?)?;
    output.flush()
}

/// Receives a value; `None` when the other side has gone.
pub(super) fn read_value<T: DeserializeOwned>(input: &mut impl Read, limit: u64) -> io::Result<Option<T>> {
    let Some(bytes) = read_frame(input, limit)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(invalid)
}

/// Sends a document.
pub(super) fn write_request(output: &mut impl Write, request: &ExtractRequest) -> io::Result<()> {
    let header = Header {
        name: request.name.clone(),
        media_type: request.media_type.clone(),
        password: request.password.clone(),
    };
    write_value(output, &header)?;
    write_frame(output, &request.bytes)?;
    output.flush()
}

/// Receives a document; `None` when the host has gone.
pub(super) fn read_request(input: &mut impl Read, limit: u64) -> io::Result<Option<ExtractRequest>> {
    let Some(Header { name, media_type, password }) = read_value(input, MAX_HEADER)? else { return Ok(None) };
    let bytes = read_frame(input, limit)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some(ExtractRequest { name, media_type, password, bytes }))
}

/// Sends what was found.
pub(super) fn write_answer(output: &mut impl Write, mut answer: Answer) -> io::Result<()> {
    let attachments: Vec<Vec<u8>> = match &mut answer {
        Ok(found) => found.attachments.iter_mut().map(|inside| std::mem::take(&mut inside.bytes)).collect(),
        Err(_) => Vec::new(),
    };
    write_value(output, &answer)?;
    for bytes in attachments {
        write_frame(output, &bytes)?;
    }
    output.flush()
}

/// Receives what was found; `None` when the worker has gone.
pub(super) fn read_answer(input: &mut impl Read, limit: u64) -> io::Result<Option<Answer>> {
    let Some(mut answer): Option<Answer> = read_value(input, limit)? else { return Ok(None) };
    if let Ok(found) = &mut answer {
        for inside in &mut found.attachments {
            inside.bytes = read_frame(input, limit)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        }
    }
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Attachment;

    #[test]
    fn documents_and_answers_arrive_as_they_were_sent() {
        let request = ExtractRequest {
            name: "a.eml".to_owned(),
            media_type: None,
            password: Some("secret".to_owned()),
            bytes: vec![0, 255, 10],
        };
        let mut wire = Vec::new();
        write_request(&mut wire, &request).unwrap();
        let arrived = read_request(&mut wire.as_slice(), 100).unwrap().unwrap();
        assert_eq!(
            (arrived.name, arrived.password, arrived.bytes),
            (request.name, request.password, request.bytes)
        );

        let attachment = Attachment { name: "b".to_owned(), media_type: None, bytes: vec![1, 2, 3] };
        let found =
            Extracted { text: "text".to_owned(), attachments: vec![attachment], ..Extracted::default() };
        let mut wire = Vec::new();
        write_answer(&mut wire, Ok(found.clone())).unwrap();
        assert_eq!(read_answer(&mut wire.as_slice(), 1000).unwrap(), Some(Ok(found)));
        assert_eq!(read_answer(&mut [].as_slice(), 1000).unwrap(), None);
    }

    #[test]
    fn frames_that_lie_about_their_length_are_refused() {
        let mut wire = u64::MAX.to_le_bytes().to_vec();
        assert!(read_frame(&mut wire.as_slice(), 100).is_err());
        wire = 50_u64.to_le_bytes().to_vec();
        assert!(read_frame(&mut wire.as_slice(), 100).is_err(), "the bytes never come");
    }
}
