//! One numbered stream of events for a run, fanned out to its readers.

use std::sync::{Arc, Mutex, PoisonError};

use flowbench_core::event::{RunEvent, RunEventKind};
use flowbench_core::ids::RunId;
use flowbench_core::ports::Clock;

/// Reads events in order. Must be quick: hand the event on, do not work on it here.
pub type EventSink = Arc<dyn Fn(&RunEvent) + Send + Sync>;

/// Numbers the events of one run and hands each to every sink, in order.
pub struct EventHub {
    run: RunId,
    clock: Arc<dyn Clock>,
    state: Mutex<u64>,
    sinks: Vec<EventSink>,
}

impl EventHub {
    /// A hub for one run.
    pub fn new(run: RunId, clock: Arc<dyn Clock>, sinks: Vec<EventSink>) -> Arc<Self> {
        Arc::new(Self { run, clock, state: Mutex::new(0), sinks })
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// True if anybody reads; where not, callers may save themselves the work.
    pub fn is_read(&self) -> bool {
        !self.sinks.is_empty()
    }

    /// Numbers and delivers one event.
    pub fn emit(&self, line: Option<u64>, kind: RunEventKind) {
        if self.sinks.is_empty() {
            return;
        }
        // Delivered under the lock, so that every sink sees the numbers in order.
        let mut sequence = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *sequence += 1;
        let event =
            RunEvent { sequence: *sequence, run: self.run.clone(), line, at_ms: self.clock.now_ms(), kind };
        for sink in &self.sinks {
            sink(&event);
        }
    }
}
