//! Use case: run a flow on every line of its data, with a journal that survives being killed.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowbench_core::chat::Usage;
use flowbench_core::event::{Cost, Failure, RunEvent, Status};
use flowbench_core::finding::{Finding, Severity};
use flowbench_core::ids::RunId;
use flowbench_core::plan::PlanOptions;
use flowbench_core::ports::{Clock, IdSource};
use flowbench_core::value::python_text;
use flowbench_format::data::{BatchInputs, DataError, DataSource, FlowInput, Row};
use flowbench_format::env_file::parse_env_file;
use flowbench_format::run_file::{MapOrPath, parse_run_file};
use flowbench_run::batch::{BatchEnd, BatchLine, BatchOptions, FinishedLine, run_batch};
use flowbench_run::events::{EventHub, EventSink};
use flowbench_run::line::{AggregationLists, LineContext, aggregation_references, run_aggregation};
use flowbench_store::{
    JournalEnd, JournalHeader, JournalReader, LineRecord, NodeRecord, ResumePolicy, RunJournal, RunKind,
    RunRecord, RunState, line_from_events,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::{SystemClock, TimeIds};
use crate::error::{ApiError, exit};
use crate::files::read_source;
use crate::history::{History, journal_error, variants};
use crate::run::{Ready, Spent, make_ready, shared};
use crate::settings::RunSettings;
use crate::workspace::Workspace;

/// What to run.
#[derive(Clone, Debug)]
pub struct BatchRequest {
    /// Flow folder or file.
    pub flow: PathBuf,
    /// Data file or folder; taken from the run that is resumed where absent.
    pub data: Option<PathBuf>,
    /// Column mapping: input and `${data.COLUMN}`, `${run.outputs.NAME}` or a literal.
    pub mapping: Map<String, Value>,
    /// Earlier run whose inputs and outputs the mapping may use.
    pub earlier_run: Option<String>,
    /// Everything that runs and batches share.
    pub settings: RunSettings,
    /// Lines in flight; the workspace's setting where absent.
    pub parallel: Option<usize>,
    /// Longest time for one line; prompt flow's 600 s where absent.
    pub line_timeout: Option<Duration>,
    /// Run to go on with.
    pub resume: Option<String>,
    /// When resuming, run failed lines again.
    pub retries_failed: bool,
    /// Only the first lines.
    pub limit: Option<u64>,
    /// Name of the run.
    pub name: Option<String>,
}

/// Takes what a prompt flow run file says for everything that the request leaves open; paths are relative to the file.
pub fn apply_run_file(request: &mut BatchRequest, file: &Path) -> Result<Vec<Finding>, ApiError> {
    let read = parse_run_file(&read_source(file)?, Some(&file.display().to_string()));
    if let Some(error) = read.findings.iter().find(|finding| finding.severity == Severity::Error) {
        let mut told = ApiError::wrong_use("run_file/invalid", error.message.clone());
        told.place = Some(error.place.clone());
        told.hints.extend(error.suggestion.clone());
        return Err(told);
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    if request.flow.as_os_str().is_empty() {
        let Some(flow) = &read.flow else {
            return Err(ApiError::wrong_use(
                "run_file/invalid",
                format!("`{}` names no `flow`", file.display()),
            )
            .hint("write `flow: FOLDER`, or name the flow on the command line"));
        };
        request.flow = folder.join(flow);
    }
    if request.data.is_none() {
        request.data = read.data.as_ref().map(|data| folder.join(data));
    }
    if request.mapping.is_empty() {
        request.mapping = read.column_mapping;
    }
    request.earlier_run = request.earlier_run.take().or(read.run);
    request.name = request.name.take().or(read.name);
    if request.settings.variants.is_empty() {
        request.settings.variants.extend(read.variant);
    }
    for (node, settings) in &read.connections {
        for (key, value) in settings.as_object().into_iter().flatten() {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // What the command line sets comes later and wins.
            request.settings.overrides.insert(0, (format!("{node}.{key}"), text));
        }
    }
    let variables: Vec<(String, String)> = match read.environment_variables {
        None => Vec::new(),
        Some(MapOrPath::Map(map)) => {
            map.into_iter().map(|(name, value)| (name, python_text(&value))).collect()
        }
        Some(MapOrPath::Path(path)) => {
            let path = folder.join(path);
            let read = parse_env_file(&read_source(&path)?, Some(&path.display().to_string()));
            read.variables.into_iter().map(|variable| (variable.name, variable.value)).collect()
        }
    };
    for (name, value) in variables {
        if !request.settings.environment.iter().any(|(other, _)| *other == name) {
            request.settings.environment.push((name, value));
        }
    }
    Ok(read.findings)
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Lines finished, earlier ones of a resumed run included.
    pub finished: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Lines in all.
    pub total: u64,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct BatchOutcome {
    /// The run.
    pub run_id: RunId,
    /// Lines finished.
    pub finished: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Lines in all.
    pub total: u64,
    /// Metrics of aggregation nodes.
    pub metrics: Map<String, Value>,
    /// Tokens, where told.
    pub tokens: Option<Usage>,
    /// Cost, where known.
    pub cost: Option<Cost>,
    /// Why it ended early, or why aggregation failed.
    pub error: Option<ApiError>,
    /// What is doubtful about data and mapping.
    pub findings: Vec<Finding>,
    /// Where the results are.
    #[serde(skip)]
    pub journal: PathBuf,
    /// How long.
    pub duration_ms: u64,
}

/// Reads progress.
pub type ProgressReader<'a> = &'a mut (dyn FnMut(Progress) + Send);

impl BatchOutcome {
    /// Exit code of a command that ends with this, when so many failed lines are allowed.
    pub fn exit(&self, max_failed: u64) -> u8 {
        match &self.error {
            Some(error) => error.exit,
            None if self.failed > max_failed => exit::COULD_NOT,
            None => exit::DONE,
        }
    }

    /// Writes one JSON object a line, in the order of the data: `{line_number, status, outputs, error}`, with `variants`
    /// before them where several combinations are written to one place.
    pub fn write_outputs(
        &self,
        writer: &mut dyn Write,
        combination: &[(String, String)],
    ) -> Result<(), ApiError> {
        let variants: Map<String, Value> =
            combination.iter().map(|(node, id)| (node.clone(), Value::String(id.clone()))).collect();
        let lead = match variants.is_empty() {
            true => "{".to_owned(),
            false => format!("{{\"variants\":{},", Value::Object(variants)),
        };
        let writer = &mut LeadWriter { inner: writer, lead: lead.into_bytes(), is_at_start: true };
        JournalReader::open(&self.journal)
            .and_then(|journal| journal.write_outputs_in_order(writer))
            .map_err(journal_error)
    }
}

/// Puts a lead in place of the opening brace of every line.
struct LeadWriter<'w> {
    inner: &'w mut dyn Write,
    lead: Vec<u8>,
    is_at_start: bool,
}

impl Write for LeadWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece {
                [b'{', rest @ ..] if self.is_at_start => {
                    self.inner.write_all(&self.lead)?;
                    self.inner.write_all(rest)?;
                }
                _ => self.inner.write_all(piece)?,
            }
            self.is_at_start = piece.ends_with(b"\n");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Data of a batch as the format reads it.
fn sources(
    workspace: &Workspace,
    data: Option<&Path>,
    earlier: Option<&str>,
) -> Result<Vec<DataSource>, ApiError> {
    let mut sources: Vec<DataSource> =
        data.map(|path| DataSource::from_path("data", path)).into_iter().collect();
    if let Some(name) = earlier {
        let history = History::open(workspace)?;
        let run = history.find(name)?;
        let path = history.state().journal(&run.id).map_err(crate::history::store_error)?;
        // Opened once here, so that a run without a journal is refused with its own words.
        JournalReader::open(&path).map_err(journal_error)?;
        for (source, is_inputs) in [("run.inputs", true), ("run.outputs", false)] {
            let open_path = path.clone();
            sources.push(DataSource::from_numbered_rows(source, &path, move || {
                earlier_rows(&open_path, is_inputs)
            }));
        }
    }
    Ok(sources)
}

fn earlier_rows(
    path: &Path,
    is_inputs: bool,
) -> Result<impl Iterator<Item = Result<Row, DataError>> + Send + use<>, DataError> {
    let broken = |path: &Path, error: &dyn std::fmt::Display| DataError::Read {
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    };
    let reader = JournalReader::open(path).map_err(|error| broken(path, &error))?;
    let records = reader.records().map_err(|error| broken(path, &error))?;
    let path = path.to_owned();
    Ok(records.filter_map(move |record| match record {
        Ok(record) if record.status == Status::Completed => Some(Ok(Row {
            line_number: record.line_number,
            values: if is_inputs { record.inputs } else { record.outputs },
        })),
        Ok(_) => None,
        Err(error) => Some(Err(broken(&path, &error))),
    }))
}

fn data_error(error: &DataError) -> ApiError {
    let told = ApiError::wrong_use("data", error.to_string());
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Runs a batch. An error is returned where nothing was run; what went wrong later is in the outcome.
pub async fn batch(
    workspace: &Workspace,
    request: &BatchRequest,
    progress: ProgressReader<'_>,
) -> Result<BatchOutcome, ApiError> {
    let settings = &request.settings;
    let ready = make_ready(workspace, &request.flow, settings, &PlanOptions::default()).await?;
    let flow = Arc::clone(&ready.flow);
    let history = History::open(workspace)?.with_redactor(ready.wiring.secrets());
    let resumed = request.resume.as_deref().map(|name| history.find(name)).transpose()?;
    let described = resumed.as_ref().map(|run| &run.inputs);
    let data = match (&request.data, described.and_then(|inputs| inputs.get("data")).and_then(Value::as_str))
    {
        (Some(data), _) => Some(data.clone()),
        (None, Some(data)) => Some(PathBuf::from(data)),
        (None, None) => None,
    };
    let mapping = match described.and_then(|inputs| inputs.get("mapping")) {
        Some(Value::Object(mapping)) if request.mapping.is_empty() => mapping.clone(),
        _ => request.mapping.clone(),
    };
    let earlier = match (
        &request.earlier_run,
        described.and_then(|inputs| inputs.get("run")).and_then(Value::as_str),
    ) {
        (Some(run), _) => Some(run.clone()),
        (None, run) => run.map(str::to_owned),
    };
    let flow_inputs: Vec<FlowInput> = flow
        .plan
        .flow
        .inputs
        .iter()
        .map(|(name, input)| FlowInput { name: name.clone(), has_default: input.default.is_some() })
        .collect();
    let rows =
        BatchInputs::open(sources(workspace, data.as_deref(), earlier.as_deref())?, &mapping, &flow_inputs)
            .map_err(|error| data_error(&error))?;
    // A resumed batch has the lines that it began with.
    let begun_with = resumed.as_ref().and_then(|run| run.lines_total);
    let total = request.limit.or(begun_with).map_or(rows.count(), |limit| limit.min(rows.count()));
    if request.name.as_deref() == Some("last") {
        return Err(ApiError::wrong_use("run/name", "`last` names the latest run, whatever its name")
            .hint("choose another name"));
    }
    let run_id = match &resumed {
        Some(run) => run.id.clone(),
        None => RunId(request.name.clone().unwrap_or_else(|| TimeIds.new_id())),
    };
    let header = JournalHeader {
        flow_path: ready.gathered.loaded.folder.to_string_lossy().into_owned(),
        flow_digest: flow.digest.clone(),
        data_path: data.as_deref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        data_digest: rows.digest().to_owned(),
        mapping: mapping.clone(),
        variants: variants(settings),
        line_count: total,
        started_ms: SystemClock.now_ms(),
        ..JournalHeader::new(run_id.as_str(), &flow.plan.flow.name)
    };
    let path = history.state().journal(&run_id).map_err(crate::history::store_error)?;
    if resumed.is_none() && path.exists() {
        return Err(ApiError::wrong_use("run/exists", format!("there is a run `{run_id}` already"))
            .hint(format!("go on with it by `--resume {run_id}`, or choose another `--name`")));
    }
    let mut record = RunRecord::started(
        run_id.clone(),
        RunKind::Batch,
        &flow.plan.flow.name,
        &ready.gathered.loaded.shown(),
        resumed.as_ref().map_or(header.started_ms, |run| run.started_ms),
    );
    record.flow_digest.clone_from(&flow.digest);
    record.inputs =
        json!({"data": data, "mapping": mapping, "run": earlier}).as_object().cloned().unwrap_or_default();
    record.variants = variants(settings);
    record.lines_total = Some(total);
    let journal = match &resumed {
        Some(_) if path.is_file() => {
            let journal = RunJournal::resume(&path, &header).map_err(journal_error)?;
            history.put(&record)?;
            journal
        }
        _ => {
            // The record comes first: killed between the two, the run is still found by its name and resumed.
            history.put(&record)?;
            RunJournal::create(&path, &header).map_err(journal_error)?
        }
    }
    .with_redactor(ready.wiring.secrets());
    ready.wiring.open_recording(settings, resumed.is_some())?;
    let within = tokio::time::Instant::now();
    let work = Work { workspace, request, ready: &ready, journal: &journal, total, run_id: &run_id };
    let ended = work.run_lines(&rows, progress).await?;
    let aggregated = work.aggregate(&ended).await?;
    let error = ended.error.clone().or(aggregated.error.clone());
    let status = if error.is_some() { Status::Failed } else { Status::Completed };
    let end = JournalEnd {
        status,
        finished_ms: SystemClock.now_ms(),
        metrics: aggregated.metrics.clone(),
        nodes: aggregated.nodes,
        error: error.clone(),
    };
    // A batch that was cut short has no end yet: it can be resumed.
    let is_whole = ended.error.is_none();
    journal.finish(is_whole.then_some(&end)).map_err(journal_error)?;
    ready.wiring.finish_recording()?;
    record.status = if error.is_some() { RunState::Failed } else { RunState::Completed };
    record.finished_ms = Some(end.finished_ms);
    record.error.clone_from(&error);
    record.usage = ended.spent.tokens;
    record.cost.clone_from(&ended.spent.cost);
    record.lines_failed = Some(ended.progress.failed);
    record.metrics.clone_from(&aggregated.metrics);
    history.put(&record)?;
    let told = error.as_ref().map(|failure| {
        let error = ApiError::failed_run(failure);
        match is_whole {
            true => error,
            false => error.hint(format!(
                "`flowbench batch {} --resume {run_id}` goes on with it",
                ready.gathered.loaded.shown()
            )),
        }
    });
    Ok(BatchOutcome {
        run_id,
        finished: ended.progress.finished,
        failed: ended.progress.failed,
        total,
        metrics: aggregated.metrics,
        tokens: ended.spent.tokens,
        cost: ended.spent.cost,
        error: told,
        findings: rows.findings().to_vec(),
        journal: path,
        duration_ms: flowbench_run::line::millis(within),
    })
}

/// A batch at work.
struct Work<'a> {
    workspace: &'a Workspace,
    request: &'a BatchRequest,
    ready: &'a Ready,
    journal: &'a RunJournal,
    total: u64,
    run_id: &'a RunId,
}

/// Events of the lines in flight, until each becomes part of its line's record.
#[derive(Clone, Default)]
struct OpenLines(Arc<Mutex<HashMap<u64, Vec<RunEvent>>>>);

impl OpenLines {
    fn sink(&self) -> EventSink {
        let lines = Arc::clone(&self.0);
        Arc::new(move |event: &RunEvent| {
            if let Some(line) = event.line {
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(line)
                    .or_default()
                    .push(event.clone());
            }
        })
    }

    /// What the nodes of a finished line did.
    fn close(&self, line: u64) -> Vec<NodeRecord> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&line).unwrap_or_default();
        line_from_events(line, &events).nodes
    }
}

/// How the lines ended.
struct LinesEnd {
    progress: Progress,
    spent: Spent,
    error: Option<Failure>,
}

/// How aggregation ended.
#[derive(Default)]
struct AggregationEnd {
    metrics: Map<String, Value>,
    nodes: Vec<NodeRecord>,
    error: Option<Failure>,
}

impl Work<'_> {
    fn policy(&self) -> ResumePolicy {
        match self.request.retries_failed {
            true => ResumePolicy::RedoFailed,
            false => ResumePolicy::KeepFailed,
        }
    }

    async fn run_lines(
        &self,
        rows: &BatchInputs,
        progress: ProgressReader<'_>,
    ) -> Result<LinesEnd, ApiError> {
        let flow = Arc::clone(&self.ready.flow);
        let open_lines = OpenLines::default();
        let hub = EventHub::new(self.run_id.clone(), Arc::new(SystemClock), vec![open_lines.sink()]);
        let settings = RunSettings { is_streaming: false, ..self.request.settings.clone() };
        let shared = shared(self.ready, &settings, hub);
        let mut at = Progress { total: self.total, ..Progress::default() };
        let before = self.journal.before();
        let policy = self.policy();
        at.finished = before.finished_lines(policy).count() as u64;
        at.failed = match self.request.retries_failed {
            true => 0,
            false => before.count(Status::Failed),
        };
        progress(at);
        let mut broken_row = None;
        let lines = rows
            .rows()
            .map_err(|error| data_error(&error))?
            .map_while(|row| match row {
                Ok(row) => Some(row),
                Err(error) => {
                    broken_row = Some(data_error(&error));
                    None
                }
            })
            .take(usize::try_from(self.total).unwrap_or(usize::MAX))
            .filter(|row| !self.journal.is_finished(row.line_number, policy))
            .map(|row| BatchLine { number: row.line_number, inputs: Ok(row.inputs) });
        let usual = BatchOptions::default();
        let limits = self.workspace.settings();
        let parallel = limits.max_parallel.and_then(|most| usize::try_from(most).ok());
        let options = BatchOptions {
            parallel: self.request.parallel.or(parallel).unwrap_or(usual.parallel),
            line_timeout: self.request.line_timeout.unwrap_or(usual.line_timeout),
            ..usual
        };
        let mut spent = Spent::default();
        let end = run_batch(&shared, &flow, lines, options, |line: FinishedLine| {
            let record = LineRecord {
                inputs: line.inputs,
                outputs: line.outputs,
                error: line.error,
                aggregation: line.aggregation,
                started_ms: SystemClock.now_ms().saturating_sub(line.duration_ms),
                duration_ms: line.duration_ms,
                usage: line.usage,
                cost: line.cost,
                nodes: open_lines.close(line.number),
                ..LineRecord::new(line.number, line.status)
            };
            // Written before it is counted: what the user saw as finished is finished after any crash.
            self.journal.append(&record).map_err(|error| error.to_string())?;
            spent.add(record.usage.as_ref(), record.cost.as_ref());
            at.finished += 1;
            at.failed += u64::from(line.status == Status::Failed);
            progress(at);
            Ok(())
        })
        .await;
        let error = match end {
            BatchEnd::Complete | BatchEnd::TooManyFailed => None,
            BatchEnd::BudgetSpent(failure) => Some(failure),
            BatchEnd::Refused(message) => Some(Failure {
                code: "journal".to_owned(),
                message,
                hints: Vec::new(),
                node: None,
                details: None,
            }),
        };
        if before.line_count() > 0 {
            // What earlier parts of a resumed batch spent is in their records.
            for record in before.records().map_err(journal_error)? {
                let record = record.map_err(journal_error)?;
                spent.add(record.usage.as_ref(), record.cost.as_ref());
            }
        }
        match broken_row {
            Some(error) => Err(error),
            None => Ok(LinesEnd { progress: at, spent, error }),
        }
    }

    async fn aggregate(&self, ended: &LinesEnd) -> Result<AggregationEnd, ApiError> {
        let flow = &self.ready.flow;
        if ended.error.is_some() || flow.plan.aggregation_order.is_empty() {
            return Ok(AggregationEnd::default());
        }
        let mut lists = AggregationLists::default();
        for (reference, _) in aggregation_references(flow) {
            lists.by_reference.insert(reference, Vec::new());
        }
        // From the journal, so that lines of before and after a resumption are treated alike, in line order.
        self.journal.sync().map_err(journal_error)?;
        for record in self.journal.reader(None).records().map_err(journal_error)? {
            let record = record.map_err(journal_error)?;
            if record.status != Status::Completed {
                continue;
            }
            for (reference, list) in &mut lists.by_reference {
                list.push(record.aggregation.get(reference).cloned().unwrap_or(Value::Null));
            }
        }
        let told: Arc<Mutex<Vec<RunEvent>>> = Arc::default();
        let keeper: EventSink = {
            let told = Arc::clone(&told);
            Arc::new(move |event: &RunEvent| {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone())
            })
        };
        let hub = EventHub::new(self.run_id.clone(), Arc::new(SystemClock), vec![keeper]);
        let shared = shared(self.ready, &self.request.settings, hub);
        let context = LineContext::new(shared, Arc::clone(flow), None);
        let (_, metrics, error) = run_aggregation(&context, &lists).await;
        let events = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
        let nodes = line_from_events(0, &events).nodes;
        Ok(AggregationEnd { metrics: metrics.into_iter().collect(), nodes, error })
    }
}

/// Combinations of variants, in the order written: `NODE=ID,ID` for each node.
pub fn matrix(written: &[(String, String)]) -> Result<Vec<Vec<(String, String)>>, ApiError> {
    let mut combinations: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for (node, ids) in written {
        let ids: Vec<&str> = ids.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
        if ids.is_empty() {
            return Err(ApiError::wrong_use("usage", format!("`--matrix {node}=` names no variant"))
                .hint("write `--matrix NODE=ID,ID`"));
        }
        combinations = combinations
            .iter()
            .flat_map(|before| ids.iter().map(move |id| (before, id)))
            .map(|(before, id)| before.iter().cloned().chain([(node.clone(), (*id).to_owned())]).collect())
            .collect();
    }
    Ok(combinations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_variants_comes_once() {
        let pair = |node: &str, ids: &str| (node.to_owned(), ids.to_owned());
        let told = matrix(&[pair("a", "1, 2"), pair("b", "x,y")]).unwrap();
        let told: Vec<String> = told
            .iter()
            .map(|row| row.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>().join(""))
            .collect();
        assert_eq!(told, ["1x", "1y", "2x", "2y"]);
        assert_eq!(matrix(&[]).unwrap(), [Vec::new()]);
        assert_eq!(matrix(&[pair("a", "")]).unwrap_err().message, "`--matrix a=` names no variant");
    }

    #[test]
    fn lines_get_their_lead_however_they_are_cut() {
        let mut out = Vec::new();
        let mut writer = LeadWriter { inner: &mut out, lead: b"{\"v\":1,".to_vec(), is_at_start: true };
        for piece in ["{\"a\":", "{}}\n{", "\"b\":2}\n"] {
            writer.write_all(piece.as_bytes()).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "{\"v\":1,\"a\":{}}\n{\"v\":1,\"b\":2}\n");
    }
}
