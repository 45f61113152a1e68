//! The host's side of one worker process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::frames::{self, Answer, Hello};
use crate::document::{ExtractRequest, Limits};
use crate::error::ExtractError;

/// How long a worker may take to start; a cold disk under load takes seconds.
const START: Duration = Duration::from_secs(20);
/// How long a dead worker's last words are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a pipe takes without anybody reading, with room for the header (Linux: 64 KiB).
const FITS_PIPE: usize = 32 << 10;
/// Longest last words that are kept.
const MAX_LAST_WORDS: usize = 400;
/// What the standard library says before it aborts for want of memory.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// How a worker is started: our own program with a hidden command that calls [`serve`](super::serve).
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// Program.
    pub program: PathBuf,
    /// Arguments.
    pub args: Vec<OsString>,
}

/// A running worker.
pub(super) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<Answer>,
    last_words: Receiver<String>,
    limits: Limits,
    /// Documents it has read.
    pub documents: usize,
    /// Their bytes, all together.
    pub bytes: u64,
}

/// How asking a worker ended.
pub(super) enum Outcome {
    /// With an answer; the worker can be asked again.
    Answered(Answer),
    /// The worker has to be replaced.
    Lost(ExtractError),
}

impl Worker {
    /// Starts a worker and waits for its hello.
    pub fn start(command: &WorkerCommand, limits: &Limits) -> Result<Self, ExtractError> {
        let failed = |reason: String| ExtractError::NoReader { reason };
        let name = command.program.display();
        let mut start = Command::new(&command.program);
        start.args(&command.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Keys and passwords of the host are none of a document's business.
        start.env_clear();
        for name in ["PATH", "LANG", "SystemRoot"] {
            if let Some(value) = std::env::var_os(name) {
                start.env(name, value);
            }
        }
        let mut child = start.spawn().map_err(|error| failed(format!("`{name}`: {error}")))?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(mut output), Some(errors)) = (input, output, errors) else {
            return Err(failed(format!("`{name}` has no pipes")));
        };
        let (send_hello, hello) = mpsc::sync_channel(1);
        let (send_answer, answers) = mpsc::sync_channel(1);
        let limit = answer_limit(limits);
        thread::spawn(move || {
            let said = frames::read_value::<Hello>(&mut output, frames::MAX_HEADER);
            let _ = send_hello.send(said.ok().flatten());
            while let Ok(Some(answer)) = frames::read_answer(&mut output, limit) {
                if send_answer.send(answer).is_err() {
                    return;
                }
            }
        });
        let (send_words, last_words) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let _ = send_words.send(last_line(errors));
        });
        let greeted = frames::write_value(&mut input, limits);
        let worker =
            Self { child, input: Some(input), answers, last_words, limits: *limits, documents: 0, bytes: 0 };
        match hello.recv_timeout(START) {
            Ok(Some(said)) if said == Hello::ours() => Ok(worker),
            Ok(Some(said)) => Err(failed(format!("`{name}` is another version ({})", said.version))),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                let words = worker.last_words.recv_timeout(LAST_WORDS).unwrap_or_default();
                let said = if words.is_empty() { "it said nothing".to_owned() } else { words };
                Err(failed(format!("`{name}` is no worker: {said}")))
            }
            Err(RecvTimeoutError::Timeout) => {
                let error = greeted.err().map_or(String::new(), |error| format!(" ({error})"));
                Err(failed(format!("`{name}` did not answer within {} s{error}", START.as_secs())))
            }
        }
    }

    /// Has a document read.
    pub fn ask(&mut self, request: &ExtractRequest) -> Outcome {
        self.documents += 1;
        self.bytes += request.bytes.len() as u64;
        let end = Instant::now() + Duration::from_millis(self.limits.max_millis);
        let Some(mut input) = self.input.take() else { return Outcome::Lost(self.died()) };
        if request.bytes.len() <= FITS_PIPE {
            let sent = frames::write_request(&mut input, request);
            self.input = sent.is_ok().then_some(input);
            return self.wait(end);
        }
        // A worker that does not read would block the writing for ever, so that somebody else has to wait.
        thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let sent = frames::write_request(&mut input, request);
                sent.is_ok().then_some(input)
            });
            let outcome = self.wait(end);
            self.input = writing.join().ok().flatten();
            outcome
        })
    }

    fn wait(&mut self, end: Instant) -> Outcome {
        match self.answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(answer) => Outcome::Answered(answer),
            Err(RecvTimeoutError::Disconnected) => Outcome::Lost(self.died()),
            Err(RecvTimeoutError::Timeout) => {
                self.end();
                Outcome::Lost(ExtractError::TimedOut { seconds: self.limits.max_millis.div_ceil(1000) })
            }
        }
    }

    /// What to say of a worker that is gone.
    fn died(&mut self) -> ExtractError {
        self.input = None;
        // Its error output ends with it; a worker that only closed its answers is ended.
        let words = self.last_words.recv_timeout(LAST_WORDS).unwrap_or_else(|_| {
            let _ = self.child.kill();
            String::new()
        });
        let status = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if words.starts_with(OUT_OF_MEMORY) {
            return ExtractError::TooLarge {
                what: "the memory that reading it takes".to_owned(),
                limit: format!("{} MiB", self.limits.max_memory_bytes >> 20),
            };
        }
        let reason = if words.is_empty() { status } else { format!("{status}: {words}") };
        ExtractError::Crashed { reason }
    }

    fn end(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Most bytes of an answer: text in JSON can take six bytes for one, attachments are unpacked parts.
fn answer_limit(limits: &Limits) -> u64 {
    (limits.max_text_bytes as u64)
        .saturating_mul(8)
        .saturating_add(limits.max_unpacked_bytes)
        .saturating_add(64 << 20)
}

/// The last line that is not blank. Reads on to the end, so that nobody is blocked by a full pipe.
fn last_line(errors: impl std::io::Read) -> String {
    let mut errors = BufReader::new(errors);
    let mut last = String::new();
    let mut line = Vec::new();
    loop {
        let chunk = match errors.fill_buf() {
            Ok([]) | Err(_) => break,
            Ok(chunk) => chunk,
        };
        let taken = chunk.iter().position(|byte| *byte == b'\n').map_or(chunk.len(), |at| at + 1);
        let ended = chunk[taken - 1] == b'\n';
        let room = MAX_LAST_WORDS.saturating_sub(line.len());
        line.extend_from_slice(&chunk[..taken.min(room)]);
        errors.consume(taken);
        if ended {
            keep(&mut last, &mut line);
        }
    }
    keep(&mut last, &mut line);
    last
}

fn keep(last: &mut String, line: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line).trim().to_owned();
    // Advice on backtraces comes after the words that count, and nothing that counts comes after want of memory.
    if !text.is_empty() && !text.starts_with("note: ") && !last.starts_with(OUT_OF_MEMORY) {
        *last = text;
    }
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_with_words_is_kept() {
        assert_eq!(last_line(b"one\ntwo\n\n".as_slice()), "two");
        assert_eq!(last_line(b"said\nnote: see elsewhere".as_slice()), "said");
        assert_eq!(last_line(b"".as_slice()), "");
        let long = "x".repeat(10_000);
        assert_eq!(last_line(long.as_bytes()).len(), MAX_LAST_WORDS);
    }
}
