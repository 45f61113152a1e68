//! Use case: look at earlier runs.

use std::path::Path;

use flowbench_core::event::RunEvent;
use flowbench_store::export::{FlowSnapshot, export_promptflow as export_to};
use flowbench_store::{JournalReader, LineRecord, RunKind, RunRecord};
use serde::Serialize;

use crate::error::ApiError;
use crate::history::{History, journal_error, store_error};
use crate::workspace::Workspace;

/// A run in a list.
#[derive(Clone, Debug, Serialize)]
pub struct RunEntry {
    /// Run id.
    pub run_id: String,
    /// `single` or `batch`.
    pub kind: String,
    /// Flow name.
    pub flow: String,
    /// How it stands.
    pub status: String,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// How long, where it ended.
    pub duration_ms: Option<u64>,
    /// Lines of a batch.
    pub lines: Option<u64>,
    /// Failed lines of a batch.
    pub failed: Option<u64>,
    /// Tokens, where told.
    pub tokens: Option<u64>,
}

/// What happened in a run.
#[derive(Clone, Debug)]
pub enum Trace {
    /// Events of a single run.
    Events(Vec<RunEvent>),
    /// Lines of a batch.
    Lines(Vec<LineRecord>),
}

fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Latest runs first.
pub fn list(workspace: &Workspace, limit: usize) -> Result<Vec<RunEntry>, ApiError> {
    let runs = History::open(workspace)?.list(limit)?;
    Ok(runs
        .into_iter()
        .map(|run| RunEntry {
            kind: word(run.kind),
            status: word(run.status),
            duration_ms: run.finished_ms.map(|finished| finished.saturating_sub(run.started_ms)),
            tokens: run.usage.map(|usage| usage.total()),
            lines: run.lines_total,
            failed: run.lines_failed,
            started_ms: run.started_ms,
            flow: run.flow,
            run_id: run.id.0,
        })
        .collect())
}

/// One run, whole.
pub fn show(workspace: &Workspace, name: &str) -> Result<RunRecord, ApiError> {
    History::open(workspace)?.find(name)
}

/// What happened in a run; of a batch all lines, or one.
pub fn trace(workspace: &Workspace, name: &str, line: Option<u64>) -> Result<(RunRecord, Trace), ApiError> {
    let history = History::open(workspace)?;
    let run = history.find(name)?;
    if run.kind == RunKind::Single {
        let events = history.events(&run.id)?;
        return Ok((run, Trace::Events(events)));
    }
    let path = history.state().journal(&run.id).map_err(store_error)?;
    let journal = JournalReader::open(&path).map_err(journal_error)?;
    let lines = match line {
        Some(number) => {
            let record = journal.record(number).map_err(journal_error)?;
            vec![record.ok_or_else(|| {
                ApiError::wrong_use("run/unknown", format!("run `{}` has no line {number}", run.id))
            })?]
        }
        None => {
            journal.records().map_err(journal_error)?.collect::<Result<Vec<_>, _>>().map_err(journal_error)?
        }
    };
    Ok((run, Trace::Lines(lines)))
}

/// Writes a batch run in prompt flow's folder layout.
pub fn export_promptflow(workspace: &Workspace, name: &str, target: &Path) -> Result<(), ApiError> {
    let history = History::open(workspace)?;
    let run = history.find(name)?;
    if run.kind != RunKind::Batch {
        return Err(ApiError::wrong_use(
            "run/kind",
            format!("run `{}` is no batch, and prompt flow's layout is one of batches", run.id),
        )
        .hint("`flowbench runs trace` shows a single run"));
    }
    let path = history.state().journal(&run.id).map_err(store_error)?;
    let journal = JournalReader::open(&path).map_err(journal_error)?;
    let folder = Path::new(&journal.header().flow_path).to_owned();
    let snapshot = FlowSnapshot::new(folder);
    export_to(&journal, Some(&snapshot), target).map_err(|error| {
        ApiError::could_not("export", error.to_string()).hint("choose a new or empty folder")
    })
}
