//! An OpenAI-compatible server on the loopback, for tests and benches.
//!
//! A model's *name* picks what it does, as with the stand-ins of connection `builtin` (it answers with the same
//! code): `echo`, `slow-50ms`, `rate-limited-10pct-200ms`, `truncated`, `html`, `stalls` and so on, whole or
//! streamed, and `embed` for embeddings. A [`Script`] replaces the next answer by bytes of one's own, for servers
//! that stall, lie about lengths or end early. [`ModelServer::start_reference`] answers as
//! `fixtures/promptflow/server.py` does, which the reference answers of prompt flow were made with.

mod http;
mod reference;
mod stand_in;

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flowbench_providers::builtin::Builtin;
use serde_json::Value;
use tokio::sync::oneshot;

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body as JSON; null where it is none.
    pub body: Value,
}

impl Received {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// An answer in raw bytes, head included.
#[derive(Clone, Debug)]
pub struct Script {
    bytes: Vec<u8>,
    stays: bool,
}

impl Script {
    /// These bytes, then the connection is closed.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), stays: false }
    }

    /// These bytes, then silence.
    pub fn stall_after(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), stays: true }
    }

    /// A whole answer with these headers (`name: value` lines without line end).
    pub fn answer(status: u16, headers: &[&str], body: &str) -> Self {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Scripted\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        Self::bytes(head + body)
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::answer(status, &["content-type: application/json"], &body.to_string())
    }

    /// A stream of this text, which ends where the text ends.
    pub fn stream(kind: &str, text: &str) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
        Self::bytes(head + text)
    }
}

/// Who answers.
enum Answers {
    StandIns(Builtin),
    Reference,
}

/// What the connections share.
struct Shared {
    answers: Answers,
    scripts: Mutex<VecDeque<Script>>,
    received: Mutex<Vec<Received>>,
    count: AtomicU64,
    keeps_requests: AtomicBool,
}

/// A running server; stops when dropped.
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ModelServer {
    /// Starts on a free port, on a thread of its own.
    ///
    /// # Panics
    /// If the loopback has no free port or no thread can be made: a test cannot go on then.
    pub fn start() -> Self {
        Self::start_with_seed(0)
    }

    /// Starts with stand-ins that draw their failures from this seed.
    pub fn start_with_seed(seed: u64) -> Self {
        Self::serve(Answers::StandIns(Builtin::new(seed)))
    }

    /// Starts with the answers of `fixtures/promptflow/server.py`.
    pub fn start_reference() -> Self {
        Self::serve(Answers::Reference)
    }

    fn serve(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        listener.set_nonblocking(true).expect("a fresh socket can be set up");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            answers,
            scripts: Mutex::default(),
            received: Mutex::default(),
            count: AtomicU64::new(0),
            keeps_requests: AtomicBool::new(true),
        });
        let (stop, stopped) = oneshot::channel();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || http::run(listener, for_thread, stopped));
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What goes into `base_url`: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.origin())
    }

    /// Answers the next request with this; may be called several times.
    pub fn script(&self, script: Script) {
        lock(&self.shared.scripts).push_back(script);
    }

    /// Requests so far.
    pub fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Requests kept so far, in order.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Takes the requests kept so far away.
    pub fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.shared.received))
    }

    /// Stops keeping requests, so that a bench of many does not grow.
    pub fn forget_requests(&self) {
        self.shared.keeps_requests.store(false, Ordering::Relaxed);
        lock(&self.shared.received).clear();
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was already printed, and the test that needed the answer has failed.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
