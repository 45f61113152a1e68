//! The events of a run, one JSON line each, written as they come: what is there after a crash is what happened.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowbench_core::event::RunEvent;

use crate::error::StoreError;
use crate::redact::Redactor;

/// Appends a run's events to a file.
pub struct EventLog {
    path: PathBuf,
    file: File,
    redactor: Option<Arc<Redactor>>,
    buffer: Vec<u8>,
}

impl EventLog {
    /// Starts a log; its folder is created.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let create_failed = |source| StoreError::io(path, "created", source);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(create_failed)?;
        }
        let file =
            OpenOptions::new().create(true).truncate(true).write(true).open(path).map_err(create_failed)?;
        Ok(Self { path: path.to_owned(), file, redactor: None, buffer: Vec::new() })
    }

    /// Takes secrets out of everything that is appended from now on.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Arc<Redactor>) -> Self {
        self.redactor = Some(redactor);
        self
    }

    /// Keeps one event.
    pub fn append(&mut self, event: &RunEvent) -> Result<(), StoreError> {
        let write_failed = |source| StoreError::io(&self.path, "written", source);
        let redacted = match &self.redactor {
            Some(redactor) => redactor.redact_line(event).map_err(|error| write_failed(error.into()))?,
            None => None,
        };
        self.buffer.clear();
        match redacted {
            Some(line) => self.buffer.extend_from_slice(&line),
            None => {
                serde_json::to_writer(&mut self.buffer, event).map_err(|error| write_failed(error.into()))?
            }
        }
        self.buffer.push(b'\n');
        self.file.write_all(&self.buffer).map_err(write_failed)
    }

    /// Syncs to the disk; afterwards a power failure loses nothing.
    pub fn finish(self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|source| StoreError::io(&self.path, "synced", source))
    }
}

/// Reads events with a number above `after`, at most `limit` of them. A torn last line is passed over; a missing log
/// has no events.
pub fn read_events(path: &Path, after: u64, limit: usize) -> Result<Vec<RunEvent>, StoreError> {
    let read_failed = |source| StoreError::io(path, "read", source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read_failed(error)),
    };
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut events = Vec::new();
    let mut buffer = Vec::new();
    let mut line = 0;
    while events.len() < limit {
        buffer.clear();
        line += 1;
        reader.read_until(b'\n', &mut buffer).map_err(read_failed)?;
        if !buffer.ends_with(b"\n") {
            break;
        }
        let event: RunEvent = serde_json::from_slice(&buffer).map_err(|error| StoreError::BadEvent {
            path: path.to_owned(),
            line,
            message: error.to_string(),
        })?;
        if event.sequence > after {
            events.push(event);
        }
    }
    Ok(events)
}
