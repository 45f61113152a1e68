//! The visible log: every request that leaves this machine, without what is secret about it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use crate::policy::shown_host;

/// One request, redirects counted apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetEntry {
    /// When it began, in milliseconds since 1970.
    pub at_ms: u64,
    /// Method.
    pub method: String,
    /// Host and, where it is not the usual one, port.
    pub host: String,
    /// Path, with the names of query parameters but not their values.
    pub path: String,
    /// Status, if there was an answer.
    pub status: Option<u16>,
    /// Bytes of the body sent.
    pub sent_bytes: u64,
    /// Bytes of the body received, after decompression.
    pub received_bytes: u64,
    /// From the start to the end of the body, or until the reader lost interest.
    pub duration: Duration,
    /// Why it failed.
    pub error: Option<String>,
}

/// Takes entries as requests end; must not block.
pub trait NetLog: Send + Sync {
    /// A request ended.
    fn record(&self, entry: NetEntry);
}

/// Path with the names of query parameters.
pub(crate) fn shown_path(url: &Url) -> String {
    let names: Vec<String> = url.query_pairs().map(|(name, _)| format!("{name}=…")).collect();
    match names.is_empty() {
        true => url.path().to_owned(),
        false => format!("{}?{}", url.path(), names.join("&")),
    }
}

/// An entry in the making; records itself when dropped, so that cancelled requests are told too.
pub(crate) struct OpenEntry {
    pub entry: NetEntry,
    started: Instant,
    log: Option<Arc<dyn NetLog>>,
}

impl OpenEntry {
    pub fn begin(log: Option<Arc<dyn NetLog>>, at_ms: u64, method: &str, url: &Url, sent_bytes: u64) -> Self {
        let entry = NetEntry {
            at_ms,
            method: method.to_owned(),
            host: shown_host(url),
            path: shown_path(url),
            status: None,
            sent_bytes,
            received_bytes: 0,
            duration: Duration::ZERO,
            error: None,
        };
        Self { entry, started: Instant::now(), log }
    }
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        if let Some(log) = &self.log {
            self.entry.duration = self.started.elapsed();
            log.record(self.entry.clone());
        }
    }
}
