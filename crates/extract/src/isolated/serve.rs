//! The worker's side: reads documents from its input until that ends.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::{panic, thread};

use super::frames::{self, Hello};
use super::in_process::{STACK_BYTES, guarded};
use super::platform;
use crate::dispatch;
use crate::document::{ExtractRequest, Extracted, Limits};
use crate::error::ExtractError;

/// Works for an [`IsolatedExtractor`](super::IsolatedExtractor) until its host closes `input`. For the whole process
/// and for good it limits memory, takes away opening files and sockets, and replaces the panic hook: nothing but this
/// belongs into a worker. When the host goes away while a document is read, the process aborts.
pub fn serve(input: impl Read + Send + 'static, output: impl Write + Send) -> io::Result<()> {
    serve_with(input, output, dispatch::extract)
}

/// [`serve`] with a reader of one's own, for tests.
pub fn serve_with(
    mut input: impl Read + Send + 'static,
    mut output: impl Write + Send,
    extract: impl Fn(&ExtractRequest, &Limits) -> Result<Extracted, ExtractError> + Send + Sync,
) -> io::Result<()> {
    let Some(limits): Option<Limits> = frames::read_value(&mut input, frames::MAX_HEADER)? else {
        return Ok(());
    };
    panic::set_hook(Box::new(|panic| {
        // One line, because the host keeps the last one.
        let _ = writeln!(io::stderr(), "{}", panic.to_string().replace('\n', " "));
    }));
    platform::confine(limits.max_memory_bytes);
    frames::write_value(&mut output, &Hello::ours())?;
    let busy = Arc::new(AtomicBool::new(false));
    let requests = listen(input, limits, busy.clone())?;
    let stack = STACK_BYTES.min(limits.max_memory_bytes / 8) as usize;
    thread::scope(|scope| {
        let work = || -> io::Result<()> {
            for request in requests {
                let request = request?;
                let answer = guarded(|| extract(&request, &limits));
                drop(request);
                // Before the answer: the host may close our input as soon as it has it.
                busy.store(false, Ordering::SeqCst);
                frames::write_answer(&mut output, answer)?;
            }
            Ok(())
        };
        let worker = thread::Builder::new().stack_size(stack).spawn_scoped(scope, work)?;
        worker.join().unwrap_or_else(|_| Err(io::Error::other("the worker's loop panicked")))
    })
}

/// Receives documents on a thread of its own, which therefore sees the host go away while another document is read.
fn listen(
    mut input: impl Read + Send + 'static,
    limits: Limits,
    busy: Arc<AtomicBool>,
) -> io::Result<Receiver<io::Result<ExtractRequest>>> {
    let (send, requests) = mpsc::sync_channel(1);
    let read = move || {
        loop {
            let next = frames::read_request(&mut input, limits.max_input_bytes);
            match next {
                Ok(Some(request)) => {
                    busy.store(true, Ordering::SeqCst);
                    if send.send(Ok(request)).is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let _ = send.send(Err(error));
                    break;
                }
            }
        }
        // Nobody waits for the answer any more, and what is being read may never end.
        if busy.load(Ordering::SeqCst) {
            std::process::abort();
        }
    };
    thread::Builder::new().name("host".to_owned()).spawn(read)?;
    Ok(requests)
}
