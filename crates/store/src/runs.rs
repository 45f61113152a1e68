//! Run records: one row a run in SQLite; events and journals are files in the run's own folder beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowbench_core::chat::Usage;
use flowbench_core::event::{Cost, Failure, RunEvent, Status};
use flowbench_core::finding::Finding;
use flowbench_core::ids::RunId;
use rusqlite::types::Value as Cell;
use rusqlite::{OptionalExtension, Row, params_from_iter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::database::{Database, Migration, set_aside};
use crate::error::StoreError;
use crate::event_log::read_events;
use crate::journal::RunJournal;
use crate::redact::Redactor;
use crate::state::StateFolder;

const MIGRATIONS: &[Migration] = &["
    CREATE TABLE runs (
        id TEXT PRIMARY KEY NOT NULL,
        kind TEXT NOT NULL,
        flow TEXT NOT NULL,
        path TEXT NOT NULL,
        flow_digest TEXT NOT NULL,
        status TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        finished_ms INTEGER,
        inputs TEXT NOT NULL,
        outputs TEXT NOT NULL,
        error TEXT,
        usage TEXT,
        cost TEXT,
        variants TEXT NOT NULL,
        tags TEXT NOT NULL,
        lines_total INTEGER,
        lines_failed INTEGER,
        metrics TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX runs_by_start ON runs (started_ms DESC, id);
"];

/// One execution of a flow, or one over many lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// One set of inputs.
    Single,
    /// Many lines.
    Batch,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Begun, and not over.
    Running,
    /// A batch whose process is gone without having ended it; it can be resumed. Never kept: found when a record is
    /// read.
    Interrupted,
    /// Done.
    Completed,
    /// Could not.
    Failed,
    /// Stopped by the user.
    Canceled,
}

impl From<Status> for RunState {
    fn from(status: Status) -> Self {
        match status {
            Status::Completed | Status::Bypassed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Canceled => Self::Canceled,
        }
    }
}

/// What is kept of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Identifier.
    pub id: RunId,
    /// Single or batch.
    pub kind: RunKind,
    /// Flow name.
    pub flow: String,
    /// The flow's path as given.
    pub path: String,
    /// Digest of the flow's definition and sources.
    pub flow_digest: String,
    /// How it stands.
    pub status: RunState,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970.
    pub finished_ms: Option<u64>,
    /// Flow inputs of a single run; data and mapping of a batch.
    pub inputs: Map<String, Value>,
    /// Flow outputs of a single run.
    pub outputs: Map<String, Value>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// Tokens, where told.
    pub usage: Option<Usage>,
    /// Cost, where known.
    pub cost: Option<Cost>,
    /// Variant chosen by node.
    pub variants: Map<String, Value>,
    /// The user's own words about it.
    pub tags: Map<String, Value>,
    /// Lines of a batch.
    pub lines_total: Option<u64>,
    /// Failed lines of a batch.
    pub lines_failed: Option<u64>,
    /// Metrics of aggregation nodes.
    pub metrics: Map<String, Value>,
}

impl RunRecord {
    /// A run that has just begun.
    pub fn started(id: RunId, kind: RunKind, flow: &str, path: &str, started_ms: u64) -> Self {
        Self {
            id,
            kind,
            flow: flow.to_owned(),
            path: path.to_owned(),
            flow_digest: String::new(),
            status: RunState::Running,
            started_ms,
            finished_ms: None,
            inputs: Map::new(),
            outputs: Map::new(),
            error: None,
            usage: None,
            cost: None,
            variants: Map::new(),
            tags: Map::new(),
            lines_total: None,
            lines_failed: None,
            metrics: Map::new(),
        }
    }
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// Only of this flow.
    pub flow: Option<String>,
    /// Only of this kind.
    pub kind: Option<RunKind>,
    /// Only with this state.
    pub status: Option<RunState>,
    /// Only runs begun before this time, to turn pages.
    pub before_ms: Option<u64>,
}

/// The history of runs in one state folder.
pub struct RunStore {
    state: StateFolder,
    database: Database,
    redactor: Option<Arc<Redactor>>,
}

impl RunStore {
    /// Opens the history, creating it if it is not there.
    pub fn open(state: &StateFolder) -> Result<Self, StoreError> {
        state.prepare()?;
        let database = Database::open(&state.runs_database(), MIGRATIONS)?;
        Ok(Self { state: state.clone(), database, redactor: None })
    }

    /// Opens the history if there is one, without writing anything where there is none.
    pub fn open_existing(state: &StateFolder) -> Result<Option<Self>, StoreError> {
        if !state.runs_database().exists() {
            return Ok(None);
        }
        Self::open(state).map(Some)
    }

    /// Like [`RunStore::open`], but moves a damaged database aside and starts an empty one, so that a run need not
    /// fail for its history. The finding names where the old one is; nothing of it is lost.
    pub fn open_or_set_aside(state: &StateFolder) -> Result<(Self, Option<Finding>), StoreError> {
        match Self::open(state) {
            Err(StoreError::Corrupt { path, message }) => {
                let moved = set_aside(&path, MIGRATIONS)?;
                Ok((Self::open(state)?, moved.map(|target| broken_history(&path, &target, &message))))
            }
            opened => opened.map(|store| (store, None)),
        }
    }

    /// Takes secrets out of everything that is kept from now on.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Arc<Redactor>) -> Self {
        self.redactor = Some(redactor);
        self
    }

    /// Keeps a run: a new one, or a new state of one that is there.
    pub fn put(&self, run: &RunRecord) -> Result<(), StoreError> {
        let redacted = match &self.redactor {
            // A masked record is of the same shape; only texts have changed.
            Some(redactor) => redactor
                .redact_line(run)
                .and_then(|line| line.map(|line| serde_json::from_slice(&line)).transpose())
                .map_err(|error| StoreError::io(&self.state.runs_database(), "written", error.into()))?,
            None => None,
        };
        self.insert(redacted.as_ref().unwrap_or(run))
    }

    fn insert(&self, run: &RunRecord) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO runs (id, kind, flow, path, flow_digest, status, started_ms, finished_ms, \
                   inputs, outputs, error, usage, cost, variants, tags, lines_total, lines_failed, metrics) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";
        let values = [
            text(run.id.as_str()),
            text(&word(&run.kind)),
            text(&run.flow),
            text(&run.path),
            text(&run.flow_digest),
            text(&word(&run.status)),
            number(Some(run.started_ms)),
            number(run.finished_ms),
            json(&run.inputs),
            json(&run.outputs),
            run.error.as_ref().map_or(Cell::Null, json),
            run.usage.as_ref().map_or(Cell::Null, json),
            run.cost.as_ref().map_or(Cell::Null, json),
            json(&run.variants),
            json(&run.tags),
            number(run.lines_total),
            number(run.lines_failed),
            json(&run.metrics),
        ];
        self.database
            .connection
            .execute(sql, params_from_iter(values))
            .map(|_| ())
            .map_err(|error| self.database.explain(error))
    }

    /// One run by its whole id.
    pub fn get(&self, id: &RunId) -> Result<Option<RunRecord>, StoreError> {
        self.database
            .connection
            .query_row("SELECT * FROM runs WHERE id = ?1", [id.as_str()], read_run)
            .optional()
            .map(|run| run.map(|run| self.settle(run)))
            .map_err(|error| self.database.explain(error))
    }

    /// A batch that is kept as running while nobody holds its journal was interrupted.
    fn settle(&self, mut run: RunRecord) -> RunRecord {
        if run.kind == RunKind::Batch
            && run.status == RunState::Running
            && self.state.journal(&run.id).is_ok_and(|path| !RunJournal::is_running(&path))
        {
            run.status = RunState::Interrupted;
        }
        run
    }

    /// Ids that begin so, newest first: people copy the first few letters. An id that is no more than that comes
    /// before all longer ones.
    pub fn find(&self, prefix: &str, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let sql = "SELECT id FROM runs WHERE substr(id, 1, length(?1)) = ?1 \
             ORDER BY id = ?1 DESC, started_ms DESC, id LIMIT ?2";
        let values = [text(prefix), number(Some(limit as u64))];
        self.query(sql, values.into(), |row| row.get::<_, String>(0).map(RunId::from))
    }

    /// Runs, newest first.
    pub fn list(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        // Whether a run that was begun still runs is not in the database.
        let (kept, limit_kept) = match filter.status {
            Some(RunState::Running | RunState::Interrupted) => (Some(RunState::Running), usize::MAX),
            status => (status, limit),
        };
        let conditions = [
            ("flow = ?", filter.flow.as_deref().map(text)),
            ("kind = ?", filter.kind.map(|kind| text(&word(&kind)))),
            ("status = ?", kept.map(|status| text(&word(&status)))),
            ("started_ms < ?", filter.before_ms.map(|time| number(Some(time)))),
        ];
        let mut sql = "SELECT * FROM runs WHERE TRUE".to_owned();
        let mut values = Vec::new();
        for (condition, value) in conditions {
            if let Some(value) = value {
                sql.push_str(" AND ");
                sql.push_str(condition);
                values.push(value);
            }
        }
        sql.push_str(" ORDER BY started_ms DESC, id LIMIT ?");
        values.push(number(Some(limit_kept as u64)));
        let runs = self.query(&sql, values, read_run)?.into_iter().map(|run| self.settle(run));
        Ok(runs.filter(|run| filter.status.is_none_or(|status| run.status == status)).take(limit).collect())
    }

    /// Events of a run with a number above `after`, at most `limit`; of a batch there is the journal instead.
    pub fn trace(&self, id: &RunId, after: u64, limit: usize) -> Result<Vec<RunEvent>, StoreError> {
        read_events(&self.state.events(id)?, after, limit)
    }

    /// Folder with the run's events or journal.
    pub fn folder(&self, id: &RunId) -> Result<PathBuf, StoreError> {
        self.state.run_folder(id)
    }

    /// Deletes a run and its folder. False if there was none.
    pub fn delete(&self, id: &RunId) -> Result<bool, StoreError> {
        let folder = self.state.run_folder(id)?;
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io(&folder, "deleted", error));
            }
            _ => {}
        }
        self.database
            .connection
            .execute("DELETE FROM runs WHERE id = ?1", [id.as_str()])
            .map(|count| count > 0)
            .map_err(|error| self.database.explain(error))
    }

    fn query<T>(
        &self,
        sql: &str,
        values: Vec<Cell>,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = || {
            let mut statement = self.database.connection.prepare(sql)?;
            statement.query_map(params_from_iter(values), read)?.collect()
        };
        let rows: rusqlite::Result<Vec<T>> = rows();
        rows.map_err(|error| self.database.explain(error))
    }
}

fn broken_history(path: &Path, target: &Path, message: &str) -> Finding {
    Finding::warning(
        "history-damaged",
        format!("the history of runs `{}` is damaged ({message}) and was moved aside", path.display()),
    )
    .suggest(format!("it is kept as `{}`; runs keep their own folders", target.display()))
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// SQLite's numbers are signed; what exceeds them (no time or count does) becomes the largest.
fn number(number: Option<u64>) -> Cell {
    number.map_or(Cell::Null, |number| Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn json(value: &impl Serialize) -> Cell {
    // Maps with text keys always serialize.
    Cell::Text(serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()))
}

/// The lower-case word that serde has for a unit variant.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn read_run(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        id: RunId(row.get("id")?),
        kind: from_word(row, "kind")?,
        flow: row.get("flow")?,
        path: row.get("path")?,
        flow_digest: row.get("flow_digest")?,
        status: from_word(row, "status")?,
        started_ms: from_number(row, "started_ms")?.unwrap_or(0),
        finished_ms: from_number(row, "finished_ms")?,
        inputs: from_json(row, "inputs")?.unwrap_or_default(),
        outputs: from_json(row, "outputs")?.unwrap_or_default(),
        error: from_json(row, "error")?,
        usage: from_json(row, "usage")?,
        cost: from_json(row, "cost")?,
        variants: from_json(row, "variants")?.unwrap_or_default(),
        tags: from_json(row, "tags")?.unwrap_or_default(),
        lines_total: from_number(row, "lines_total")?,
        lines_failed: from_number(row, "lines_failed")?,
        metrics: from_json(row, "metrics")?.unwrap_or_default(),
    })
}

fn from_number(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|number| u64::try_from(number).ok()))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| unreadable(row, column, error))
}

fn from_word<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let word: String = row.get(column)?;
    serde_json::from_value(Value::String(word)).map_err(|error| unreadable(row, column, error))
}

fn unreadable(row: &Row<'_>, column: &str, error: serde_json::Error) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or(0);
    rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
}
