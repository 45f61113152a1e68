//! What is kept of runs: rows in the run database, events and journals beside it.

use std::collections::HashMap;
use std::sync::Arc;

use flowbench_core::event::{Failure, RunEvent, RunEventKind, Status};
use flowbench_core::ids::RunId;
use flowbench_run::prepared::PreparedFlow;
use flowbench_store::{EventLog, Redactor, RunFilter, RunKind, RunRecord, RunState, RunStore, StateFolder};
use serde_json::{Map, Value};

use crate::clock::SystemClock;
use crate::error::ApiError;
use crate::load::LoadedFlow;
use crate::run::RunOutcome;
use crate::settings::RunSettings;
use crate::workspace::Workspace;
use flowbench_core::ports::Clock;

/// The history of a workspace's runs.
pub struct History {
    state: StateFolder,
    store: RunStore,
}

/// Row of a run.
pub struct RunRow(pub RunRecord);

impl RunRow {
    /// Row of a single run.
    pub fn single(
        loaded: &LoadedFlow,
        flow: &PreparedFlow,
        inputs: &Map<String, Value>,
        outcome: &RunOutcome,
        failure: Option<Failure>,
        started_ms: u64,
        settings: &RunSettings,
    ) -> Self {
        let mut row = RunRecord::started(
            outcome.run_id.clone(),
            RunKind::Single,
            &flow.plan.flow.name,
            &loaded.shown(),
            started_ms,
        );
        row.flow_digest.clone_from(&flow.digest);
        row.status = state_of(outcome.status);
        row.finished_ms = Some(SystemClock.now_ms());
        row.inputs.clone_from(inputs);
        row.outputs.clone_from(&outcome.outputs);
        row.error = failure;
        row.usage = outcome.tokens;
        row.cost.clone_from(&outcome.cost);
        row.variants = variants(settings);
        row.metrics = outcome.metrics.iter().cloned().collect();
        Self(row)
    }
}

/// Chosen variants as a map.
pub fn variants(settings: &RunSettings) -> Map<String, Value> {
    settings.variants.iter().map(|(node, id)| (node.clone(), Value::String(id.clone()))).collect()
}

/// How a run that ended like this stands.
pub fn state_of(status: Status) -> RunState {
    match status {
        Status::Completed | Status::Bypassed => RunState::Completed,
        Status::Failed => RunState::Failed,
        Status::Canceled => RunState::Canceled,
    }
}

impl History {
    /// Opens the history, creating it where there is none.
    pub fn open(workspace: &Workspace) -> Result<Self, ApiError> {
        let state = StateFolder::new(workspace.state()?);
        let store = RunStore::open(&state).map_err(store_error)?;
        Ok(Self { state, store })
    }

    /// Takes these secrets out of the records it keeps.
    #[must_use]
    pub fn with_redactor(self, redactor: Arc<Redactor>) -> Self {
        Self { store: self.store.with_redactor(redactor), ..self }
    }

    /// Where things are.
    pub fn state(&self) -> &StateFolder {
        &self.state
    }

    /// Keeps a single run with its events, secrets taken out.
    pub fn keep_single(
        &self,
        row: &RunRow,
        events: &[RunEvent],
        redactor: Arc<Redactor>,
    ) -> Result<(), ApiError> {
        let path = self.state.events(&row.0.id).map_err(store_error)?;
        let mut log = EventLog::create(&path).map_err(store_error)?.with_redactor(redactor);
        for event in events {
            // Pieces of an answer are in the answer; keeping them too would only repeat it.
            if !matches!(event.kind, RunEventKind::NodeChunk { .. }) {
                log.append(event).map_err(store_error)?;
            }
        }
        log.finish().map_err(store_error)?;
        self.put(&row.0)
    }

    /// Keeps a row.
    pub fn put(&self, row: &RunRecord) -> Result<(), ApiError> {
        self.store.put(row).map_err(store_error)
    }

    /// Latest runs first.
    pub fn list(&self, limit: usize) -> Result<Vec<RunRecord>, ApiError> {
        self.store.list(&RunFilter::default(), limit).map_err(store_error)
    }

    /// A run by its id, a unique beginning of it, or `last`.
    pub fn find(&self, name: &str) -> Result<RunRecord, ApiError> {
        if name == "last" {
            return self.list(1)?.pop().ok_or_else(|| {
                ApiError::wrong_use("run/unknown", "there is no run yet")
                    .hint("`flowbench run FLOW` makes one")
            });
        }
        let ids = self.store.find(name, 3).map_err(store_error)?;
        match ids.as_slice() {
            [] => {
                Err(ApiError::wrong_use("run/unknown", format!("there is no run `{name}` in this workspace"))
                    .hint("`flowbench runs list` shows them"))
            }
            [id] => self.get(id),
            many => {
                if let Some(exact) = many.iter().find(|id| id.as_str() == name) {
                    return self.get(exact);
                }
                let names: Vec<&str> = many.iter().map(RunId::as_str).collect();
                Err(ApiError::wrong_use(
                    "run/ambiguous",
                    format!("`{name}` begins more than one run: {}, …", names.join(", ")),
                )
                .hint("write more of the id"))
            }
        }
    }

    fn get(&self, id: &RunId) -> Result<RunRecord, ApiError> {
        self.store
            .get(id)
            .map_err(store_error)?
            .ok_or_else(|| ApiError::wrong_use("run/unknown", format!("there is no run `{id}`")))
    }

    /// Events of a single run.
    pub fn events(&self, id: &RunId) -> Result<Vec<RunEvent>, ApiError> {
        self.store.trace(id, 0, usize::MAX).map_err(store_error)
    }

    /// Results of the nodes of a flow's latest single run that has any.
    pub fn latest_results(&self, flow: &str) -> Result<HashMap<String, Value>, ApiError> {
        let filter =
            RunFilter { flow: Some(flow.to_owned()), kind: Some(RunKind::Single), ..RunFilter::default() };
        let mut results = HashMap::new();
        let Some(latest) = self.store.list(&filter, 1).map_err(store_error)?.pop() else {
            return Ok(results);
        };
        for event in self.events(&latest.id)? {
            if let RunEventKind::NodeFinished { node, status: Status::Completed, output, .. } = event.kind {
                results.insert(node.0, output);
            }
        }
        Ok(results)
    }
}

/// A store's error as the engine tells it.
pub fn store_error(error: flowbench_store::StoreError) -> ApiError {
    let hint = error.hint();
    let told = ApiError::could_not("store", error.to_string());
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// A journal's error as the engine tells it.
pub fn journal_error(error: flowbench_store::JournalError) -> ApiError {
    let hint = error.hint();
    let told = match error {
        flowbench_store::JournalError::Changed { .. } => {
            ApiError::wrong_use("journal/changed", error.to_string())
        }
        _ => ApiError::could_not("journal", error.to_string()),
    };
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}
