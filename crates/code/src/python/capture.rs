//! What a node prints: drained at all times, kept up to a cap, told apart call by call with markers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// One drained stream.
pub(crate) struct Capture {
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    text: Mutex<Text>,
    ended: Notify,
}

#[derive(Default)]
struct Text {
    kept: Vec<u8>,
    total: u64,
    cap: usize,
    /// What ends the current call's output.
    marker: Option<Vec<u8>>,
    /// The last bytes seen, which may be the beginning of a marker.
    tail: Vec<u8>,
    is_over: bool,
}

/// What one call printed.
pub(crate) struct Printed {
    pub text: String,
    /// Bytes printed in all, where some were dropped.
    pub cut_from: Option<u64>,
}

impl Text {
    fn keep(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.cap.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn feed(&mut self, chunk: &[u8]) -> bool {
        let Some(marker) = self.marker.clone() else {
            self.keep(chunk);
            return false;
        };
        let mut window = std::mem::take(&mut self.tail);
        window.extend_from_slice(chunk);
        if let Some(at) = memchr::memmem::find(&window, &marker) {
            self.keep(&window[..at]);
            self.marker = None;
            self.is_over = true;
            return true;
        }
        // Keep back only what may be a marker's beginning.
        let back = window.len().min(marker.len() - 1);
        let (sure, unsure) = window.split_at(window.len() - back);
        self.keep(sure);
        self.tail = unsure.to_vec();
        false
    }

    fn end(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        self.keep(&tail);
        self.is_over = true;
    }
}

impl Capture {
    /// Starts draining; until the first call everything up to the cap is kept, for errors while booting.
    pub(crate) fn start(mut source: impl AsyncRead + Unpin + Send + 'static, cap: usize) -> Self {
        let state = Arc::new(State::default());
        state.lock().cap = cap;
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(size @ 1..) = source.read(&mut chunk).await {
                if shared.lock().feed(&chunk[..size]) {
                    shared.ended.notify_one();
                }
            }
            shared.lock().end();
            shared.ended.notify_one();
        });
        Self { state, task }
    }

    /// Forgets what came before and collects until the marker.
    pub(crate) fn begin(&self, marker: &str) {
        let mut text = self.state.lock();
        let cap = text.cap;
        *text = Text { cap, marker: Some(marker.as_bytes().to_vec()), ..Text::default() };
    }

    /// Waits for the marker, or for the end of the stream.
    pub(crate) async fn finished(&self) {
        while !self.state.lock().is_over {
            self.state.ended.notified().await;
        }
    }

    /// Takes what was collected.
    pub(crate) fn take(&self) -> Printed {
        let mut text = self.state.lock();
        let kept = std::mem::take(&mut text.kept);
        let cut_from = (text.total > kept.len() as u64).then_some(text.total);
        let mut printed = String::from_utf8_lossy(&kept).into_owned();
        if let Some(total) = cut_from {
            printed.push_str(&format!("\n[output cut: {} of {total} bytes kept]\n", kept.len()));
        }
        Printed { text: printed, cut_from }
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Text> {
        // The text stays usable whatever a panicking holder left behind.
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collecting(cap: usize) -> Text {
        Text { cap, marker: Some(b"<<end>>".to_vec()), ..Text::default() }
    }

    #[test]
    fn a_marker_split_over_chunks_ends_the_call() {
        let mut text = collecting(100);
        assert!(!text.feed(b"hello <<e"));
        assert!(!text.feed(b"n"));
        assert!(text.feed(b"d>> later"));
        assert_eq!(text.kept, b"hello ");
    }

    #[test]
    fn what_only_looks_like_a_marker_is_output() {
        let mut text = collecting(100);
        assert!(!text.feed(b"a <<en"));
        assert!(text.feed(b"x>><<end>>"));
        assert_eq!(text.kept, b"a <<enx>>");
    }

    #[test]
    fn output_beyond_the_cap_is_counted_and_dropped() {
        let mut text = collecting(4);
        text.feed(&[b'x'; 1000]);
        text.feed(b"<<end>>");
        assert_eq!((text.kept.as_slice(), text.total), (b"xxxx".as_slice(), 1000));
    }
}
