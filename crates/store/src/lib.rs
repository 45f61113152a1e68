//! What outlives a process: the journal of a batch, run records and node results in SQLite, event logs and
//! recordings. Knows not what the rows mean to a person, reads no clock, and blocks: asynchronous callers use
//! their runtime's blocking pool.
//!
//! One batch passes through it as [`RunJournal::create`] → [`RunJournal::append`] for each finished line, before
//! the line is counted → [`RunJournal::finish`]; after a crash [`RunJournal::resume`] says which lines are done. A
//! single run is an [`EventLog`] while it runs and one row of the [`RunStore`] when it has ended.
//!
//! ```
//! use flowbench_store::{JournalHeader, LineRecord, RunJournal};
//! use flowbench_core::event::Status;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("journal.jsonl");
//! let journal = RunJournal::create(&path, &JournalHeader::new("run-1", "flows/ask-docs"))?;
//! journal.append(&LineRecord::new(1, Status::Completed))?;
//! journal.append(&LineRecord::new(0, Status::Completed))?;
//! let mut outputs = Vec::new();
//! journal.finish(None)?.write_outputs_in_order(&mut outputs)?;
//! assert!(outputs.starts_with(br#"{"line_number":0,"#), "in line order, whatever ended first");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod database;
mod error;
mod event_log;
pub mod export;
mod journal;
mod journal_scan;
mod places;
mod record;
mod recording;
mod redact;
mod runs;
mod state;

pub use cache::{CacheStore, DEFAULT_CACHE_BYTES};
pub use error::{JournalError, RecordingError, StoreError};
pub use event_log::{EventLog, read_events};
pub use journal::{RunJournal, SYNC_INTERVAL};
pub use journal_scan::{JournalReader, ResumePolicy};
pub use record::{JournalEnd, JournalHeader, LineRecord, NodeRecord, line_from_events};
pub use recording::{RecordedCall, RecordingReader, RecordingWriter};
pub use redact::Redactor;
pub use runs::{RunFilter, RunKind, RunRecord, RunState, RunStore};
pub use state::StateFolder;
