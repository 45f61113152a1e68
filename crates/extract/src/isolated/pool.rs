//! A few warm workers.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::in_process::guarded;
use super::worker::{Outcome, Worker, WorkerCommand};
use crate::document::{ExtractRequest, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::{Extractor, dispatch, kind};

/// A worker is replaced after so many bytes of documents, because memory that one left in pieces is missed by the next.
const RETIRES_AFTER_BYTES: u64 = 256 << 20;
/// And after so many documents.
const RETIRES_AFTER_DOCUMENTS: usize = 5_000;
/// Plain texts up to this size are read here: they take less time than handing them over, and nothing that could break
/// reads them.
const SMALL: usize = 1 << 20;

/// Reads documents in worker processes, one at a time in each. It can be shared by threads; more of them than workers
/// wait for each other.
pub struct IsolatedExtractor {
    command: WorkerCommand,
    limits: Limits,
    workers: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Worker>,
    /// Workers that read, or are about to be started.
    busy: usize,
}

impl IsolatedExtractor {
    /// An extractor with at most `workers` processes; they start when they are needed.
    pub fn new(command: WorkerCommand, limits: Limits, workers: usize) -> Self {
        let state = Mutex::new(State::default());
        Self { command, limits, workers: workers.max(1), state, freed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn; with a warm worker, if there is one.
    fn take(&self) -> Turn<'_> {
        let mut state = self.lock();
        while state.busy >= self.workers {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy += 1;
        Turn { pool: self, worker: state.idle.pop() }
    }

    fn read(&self, request: &ExtractRequest) -> Result<Extracted, ExtractError> {
        let mut turn = self.take();
        loop {
            let mut worker = match turn.worker.take() {
                Some(worker) => worker,
                None => Worker::start(&self.command, &self.limits)?,
            };
            match worker.ask(request) {
                Outcome::Answered(answer) => {
                    let broken = matches!(answer, Err(ExtractError::Crashed { .. }));
                    let worn =
                        worker.documents >= RETIRES_AFTER_DOCUMENTS || worker.bytes >= RETIRES_AFTER_BYTES;
                    turn.worker = (!broken && !worn).then_some(worker);
                    return answer;
                }
                // It may be the fault of a document before this one, or somebody ended it while it was idle.
                Outcome::Lost(ExtractError::Crashed { .. } | ExtractError::TooLarge { .. })
                    if worker.documents > 1 => {}
                Outcome::Lost(error) => return Err(error),
            }
        }
    }
}

/// The right to one worker; gives it back however it ends.
struct Turn<'p> {
    pool: &'p IsolatedExtractor,
    worker: Option<Worker>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.busy -= 1;
        state.idle.extend(self.worker.take());
        drop(state);
        self.pool.freed.notify_one();
    }
}

impl Extractor for IsolatedExtractor {
    fn extract(&self, request: &ExtractRequest) -> Result<Extracted, ExtractError> {
        let length = request.bytes.len();
        if length as u64 > self.limits.max_input_bytes {
            return Err(ExtractError::TooLarge {
                what: format!("the document ({length} bytes)"),
                limit: format!("{} bytes", self.limits.max_input_bytes),
            });
        }
        if is_small_text(request) {
            return guarded(|| dispatch::extract(request, &self.limits));
        }
        self.read(request)
    }
}

/// Whether a document is a text that is read here.
fn is_small_text(request: &ExtractRequest) -> bool {
    let bytes = &request.bytes;
    // Only what has no zero byte gets as far as being looked at: archives and binary formats do not.
    if bytes.len() > SMALL || bytes.contains(&0) || bytes.starts_with(b"%PDF") {
        return false;
    }
    let kind = kind::detect_kind(&request.name, request.media_type.as_deref(), bytes);
    matches!(kind, Some(Kind::Text | Kind::Markdown | Kind::Json | Kind::Csv))
}
