//! Requests and responses.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use tokio::time::{Instant, timeout_at};

use crate::client::failure_of;
use crate::error::NetError;
use crate::log::OpenEntry;

/// How long to wait and how much to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until the headers are here. Whole answers of language models come with their headers, so this is long.
    pub headers: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// For all of it.
    pub total: Duration,
    /// Bytes of the body, after decompression.
    pub body_bytes: u64,
}

impl Default for Limits {
    /// Ten minutes in all is what the official clients wait; 64 MiB is a thousand times a long answer.
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(300),
            idle: Duration::from_secs(120),
            total: Duration::from_secs(600),
            body_bytes: 64 << 20,
        }
    }
}

/// A request to be made.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Bytes>,
    pub(crate) limits: Limits,
    pub(crate) is_approved: bool,
    pub(crate) takes_compressed: bool,
}

impl Request {
    /// A request by method name; fails if that is no token.
    pub fn new(method: &str, url: impl Into<String>) -> Result<Self, NetError> {
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| NetError::Request { reason: format!("`{method}` is no method") })?;
        Ok(Self::with_method(method, url.into()))
    }

    /// `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::with_method(Method::GET, url.into())
    }

    /// `HEAD`.
    pub fn head(url: impl Into<String>) -> Self {
        Self::with_method(Method::HEAD, url.into())
    }

    /// `POST` of JSON text.
    pub fn post_json(url: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::with_method(Method::POST, url.into()).header("content-type", "application/json").body(body)
    }

    fn with_method(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: None,
            limits: Limits::default(),
            is_approved: false,
            takes_compressed: true,
        }
    }

    /// Adds a header. When a redirect leaves the origin, only harmless ones (`accept`, `content-type`, `range`
    /// and the like) go along.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Vouches for the host of this address (not for hosts it redirects to): somebody approved it, private or not.
    #[must_use]
    pub fn approved(mut self, is_approved: bool) -> Self {
        self.is_approved = is_approved;
        self
    }

    /// Asks for the bytes as they are, for downloads that are resumed and digested.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.takes_compressed = false;
        self
    }

    /// Asks for the bytes from `start` on.
    #[must_use]
    pub fn range_from(self, start: u64) -> Self {
        self.uncompressed().header("range", format!("bytes={start}-"))
    }
}

/// An answer whose body is still to be read.
pub struct Response {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Address that answered, after redirects.
    pub url: String,
    /// The body.
    pub body: Body,
}

impl Response {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// True for 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A body that arrives in pieces. Dropping it closes the connection.
pub struct Body {
    pub(crate) inner: reqwest::Response,
    pub(crate) host: String,
    pub(crate) limits: Limits,
    pub(crate) deadline: Instant,
    pub(crate) entry: OpenEntry,
}

impl Body {
    /// The next piece; `None` at the end. Fails when the answer stalls, breaks off before its stated length or
    /// grows past the limit.
    pub async fn next(&mut self) -> Result<Option<Bytes>, NetError> {
        let outcome = self.read_piece().await;
        if let Err(error) = &outcome {
            self.entry.entry.error = Some(error.to_string());
        }
        outcome
    }

    async fn read_piece(&mut self) -> Result<Option<Bytes>, NetError> {
        let idle_end = Instant::now() + self.limits.idle;
        let (end, what, after) = match idle_end < self.deadline {
            true => (idle_end, "sent nothing more", self.limits.idle),
            false => (self.deadline, "did not finish its answer", self.limits.total),
        };
        let piece = match timeout_at(end, self.inner.chunk()).await {
            Err(_) => return Err(NetError::Timeout { host: self.host.clone(), what, after }),
            Ok(Err(error)) => return Err(failure_of(&error, &self.host)),
            Ok(Ok(piece)) => piece,
        };
        if let Some(piece) = &piece {
            self.entry.entry.received_bytes += piece.len() as u64;
            if self.entry.entry.received_bytes > self.limits.body_bytes {
                return Err(NetError::TooLarge { host: self.host.clone(), limit: self.limits.body_bytes });
            }
        }
        Ok(piece)
    }

    /// Reads on into `into`, to the end; what came before a failure stays there.
    pub async fn read_into(&mut self, into: &mut Vec<u8>) -> Result<(), NetError> {
        while let Some(piece) = self.next().await? {
            into.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// The whole body.
    pub async fn read(mut self) -> Result<Vec<u8>, NetError> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes).await?;
        Ok(bytes)
    }
}
