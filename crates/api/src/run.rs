//! Use case: run a flow once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flowbench_core::chat::Usage;
use flowbench_core::check::Binding;
use flowbench_core::event::{Cost, RunEvent, RunEventKind, Status};
use flowbench_core::ids::RunId;
use flowbench_core::plan::PlanOptions;
use flowbench_core::ports::{Clock, IdSource};
use flowbench_run::budget::{Budget, BudgetLimits};
use flowbench_run::calls::{Calls, Totals, add_cost};
use flowbench_run::events::{EventHub, EventSink};
use flowbench_run::line::{
    AggregationLists, LineContext, RunShared, aggregation_references, aggregation_row, complete_inputs,
    run_aggregation, run_line,
};
use flowbench_run::prepared::PreparedFlow;
use serde_json::{Map, Value};

use crate::approval::approve;
use crate::clock::{SystemClock, TimeIds};
use crate::error::ApiError;
use crate::history::{History, RunRow};
use crate::load::{Gathered, LoadOptions, LoadedFlow, gather, load_flow, prepare};
use crate::settings::RunSettings;
use crate::wiring::Wiring;
use crate::workspace::Workspace;

/// Reads the events of a run as they happen.
pub type EventReader = EventSink;

/// What to run.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Flow folder or file.
    pub flow: PathBuf,
    /// Flow inputs; texts are converted to the declared types.
    pub inputs: Map<String, Value>,
    /// Everything that runs and batches share.
    pub settings: RunSettings,
    /// Run this node and what follows.
    pub from: Option<String>,
    /// Run only this node and what it needs.
    pub to: Option<String>,
    /// Results from files: node and file.
    pub pins: Vec<(String, String)>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The run.
    pub run_id: RunId,
    /// How it ended.
    pub status: Status,
    /// Flow outputs; with `to`, the result of that node.
    pub outputs: Map<String, Value>,
    /// Metrics of aggregation nodes.
    pub metrics: Vec<(String, Value)>,
    /// Tokens, where told.
    pub tokens: Option<Usage>,
    /// Cost, where known.
    pub cost: Option<Cost>,
    /// Why it failed.
    pub error: Option<ApiError>,
    /// How long.
    pub duration_ms: u64,
}

/// Names of a chat flow's parts.
#[derive(Clone, Debug)]
pub struct ChatShape {
    /// Input that takes the question.
    pub input: String,
    /// Input that takes the history.
    pub history: Option<String>,
    /// Output that holds the answer.
    pub output: String,
}

/// The parts of a chat flow, or why it is none.
pub fn chat_shape(workspace: &Workspace, request: &RunRequest) -> Result<ChatShape, ApiError> {
    let options = load_options(&request.settings);
    let loaded = load_flow(workspace, &request.flow, &options)?;
    let flow = loaded.need_checked()?;
    match (flow.chat_input(), flow.chat_output()) {
        (Some(input), Some(output)) => Ok(ChatShape {
            input: input.to_owned(),
            history: flow.chat_history().map(str::to_owned),
            output: output.to_owned(),
        }),
        _ => Err(ApiError::wrong_use("flow/no_chat", format!("flow `{}` is no chat flow", loaded.shown()))
            .hint("mark an input with `is_chat_input: true` and an output with `is_chat_output: true`")),
    }
}

/// How a flow is loaded for these settings.
pub fn load_options(settings: &RunSettings) -> LoadOptions {
    LoadOptions {
        variants: settings.variants.clone(),
        overrides: settings.overrides.clone(),
        prompty_model: None,
    }
}

/// A flow that was loaded, approved and prepared, with the outside wired to it.
pub struct Ready {
    /// As loaded, with the flows it calls.
    pub gathered: Gathered,
    /// As prepared.
    pub flow: Arc<PreparedFlow>,
    /// The outside.
    pub wiring: Wiring,
    /// What may be spent: as asked, else as the workspace says.
    pub budget: BudgetLimits,
}

/// Loads, approves, wires and prepares a flow. Nothing is written and nothing started before it is approved.
pub async fn make_ready(
    workspace: &Workspace,
    flow: &Path,
    settings: &RunSettings,
    plan: &PlanOptions,
) -> Result<Ready, ApiError> {
    let gathered = gather(workspace, load_flow(workspace, flow, &load_options(settings))?)?;
    let approval = approve(workspace, &gathered, settings)?;
    let wiring = Wiring::new(workspace, settings, &gathered.inline_connections())?;
    wiring.allow(&approval);
    let environment = |loaded: &LoadedFlow| wiring.environment(loaded, settings);
    let flow = prepare(workspace, &gathered, plan, &environment)?;
    wiring.install(&gathered, settings, &|_| {}).await?;
    let budget = settings.budget_within(workspace.settings());
    Ok(Ready { gathered, flow, wiring, budget })
}

/// The node whose answer a reader of the stream sees, and the output it becomes: the chat output, else the only
/// output, where it refers to a whole llm or python node. Pieces of other nodes are no part of the answer.
pub fn streamed_output(
    workspace: &Workspace,
    request: &RunRequest,
) -> Result<Option<(String, String)>, ApiError> {
    let loaded = load_flow(workspace, &request.flow, &load_options(&request.settings))?;
    let flow = loaded.need_checked()?;
    let output = match flow.chat_output() {
        Some(name) => flow.outputs.get_key_value(name),
        None if flow.outputs.len() == 1 => flow.outputs.iter().next(),
        None => None,
    };
    Ok(output.and_then(|(name, output)| match &output.binding {
        Binding::Node { node, path } if path.is_empty() && flow.nodes[*node].for_each.is_none() => {
            Some((name.clone(), flow.nodes[*node].id.0.clone()))
        }
        _ => None,
    }))
}

/// Runs a flow once. An error is returned where nothing was run; a run that failed is an outcome with its error.
pub async fn run(
    workspace: &Workspace,
    request: &RunRequest,
    reader: EventReader,
) -> Result<RunOutcome, ApiError> {
    let settings = &request.settings;
    let mut plan =
        PlanOptions { from: request.from.clone(), to: request.to.clone(), ..PlanOptions::default() };
    for (node, file) in &request.pins {
        plan.pins.insert(node.clone(), pinned(Path::new(file))?);
    }
    if request.from.is_some() {
        let history = History::open(workspace)?;
        let name = load_flow(workspace, &request.flow, &load_options(settings))?.name();
        plan.earlier = history.latest_results(&name)?;
    }
    let ready = make_ready(workspace, &request.flow, settings, &plan).await?;
    let flow = Arc::clone(&ready.flow);
    for name in request.inputs.keys() {
        if !flow.plan.flow.inputs.contains_key(name) && !flow.spreads_output {
            let known: Vec<&str> = flow.plan.flow.inputs.keys().map(String::as_str).collect();
            return Err(ApiError::wrong_use(
                "input/unknown",
                format!("flow `{}` has no input `{name}`", flow.plan.flow.name),
            )
            .hint(flowbench_core::flow::list_known("inputs", &known)));
        }
    }
    if let Some(to) = &request.to
        && flow.plan.flow.node_index(to).is_some_and(|index| flow.plan.flow.nodes[index].is_aggregation)
    {
        return Err(ApiError::wrong_use(
            "flow/aggregation",
            format!("node `{to}` sums up the lines of a whole run"),
        )
        .hint("run the flow without `--to`"));
    }
    let inputs = complete_inputs(&flow, &request.inputs)
        .map_err(|failure| ApiError::failed_run(&failure.told(None)))?;
    ready.wiring.open_recording(settings, false)?;
    let run_id = RunId(TimeIds.new_id());
    let started_ms = SystemClock.now_ms();
    let kept: Arc<Mutex<Vec<RunEvent>>> = Arc::default();
    let keeper: EventSink = {
        let kept = Arc::clone(&kept);
        Arc::new(move |event: &RunEvent| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone())
        })
    };
    let hub = EventHub::new(run_id.clone(), Arc::new(SystemClock), vec![keeper, reader]);
    let shared = shared(&ready, settings, Arc::clone(&hub));
    hub.emit(
        None,
        RunEventKind::RunStarted {
            flow: flow.plan.flow.name.clone(),
            flow_digest: flow.digest.clone(),
            inputs: inputs.clone(),
        },
    );
    let context = LineContext::new(Arc::clone(&shared), Arc::clone(&flow), None);
    let within = tokio::time::Instant::now();
    let mut result = run_line(&context, &inputs).await;
    let mut metrics = Vec::new();
    if result.status == Status::Completed && !flow.plan.aggregation_order.is_empty() && !flow.plan.is_partial
    {
        // A single run aggregates over its one line.
        let row = aggregation_row(&aggregation_references(&flow), &inputs, &result.nodes);
        let lists = AggregationLists {
            by_reference: row.into_iter().map(|(key, value)| (key, vec![value])).collect(),
        };
        let (_, logged, failure) = run_aggregation(&context, &lists).await;
        metrics = logged;
        if let Some(failure) = failure {
            result.status = Status::Failed;
            result.error = Some(failure);
        }
        let (usage, cost) = context.totals.spent();
        (result.usage, result.cost) = (usage, cost);
    }
    if let (Some(node), Status::Completed) = (&request.to, result.status) {
        let index = flow.plan.flow.node_index(node);
        if let Some(flowbench_run::line::NodeState::Done(value)) = index.map(|index| &result.nodes[index]) {
            result.outputs.insert(node.clone(), Value::clone(value));
        }
    }
    let duration_ms = flowbench_run::line::millis(within);
    hub.emit(
        None,
        RunEventKind::RunFinished {
            status: result.status,
            outputs: result.outputs.clone(),
            error: result.error.clone(),
            usage: result.usage,
            cost: result.cost.clone(),
            duration_ms,
        },
    );
    ready.wiring.finish_recording()?;
    let outcome = RunOutcome {
        run_id: run_id.clone(),
        status: result.status,
        outputs: result.outputs.clone(),
        metrics,
        tokens: result.usage,
        cost: result.cost.clone(),
        error: result.error.as_ref().map(ApiError::failed_run),
        duration_ms,
    };
    let events = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    let row =
        RunRow::single(&ready.gathered.loaded, &flow, &inputs, &outcome, result.error, started_ms, settings);
    // The answer is worth more than its record: where the record cannot be kept, the user is told and gets the answer.
    if let Err(error) = History::open(workspace)
        .map(|history| history.with_redactor(ready.wiring.secrets()))
        .and_then(|history| history.keep_single(&row, &events, ready.wiring.secrets()))
    {
        hub.emit(
            None,
            RunEventKind::Warning {
                rule: "history".to_owned(),
                message: format!("the run was not recorded: {error}"),
                node: None,
            },
        );
    }
    Ok(outcome)
}

/// What all lines of a run share, for these settings.
pub fn shared(ready: &Ready, settings: &RunSettings, hub: Arc<EventHub>) -> Arc<RunShared> {
    let calls = Calls {
        ports: ready.wiring.ports(),
        limiters: ready.wiring.limiters(),
        budget: Arc::new(Budget::new(ready.budget)),
        hub,
        recorder: ready.wiring.recorder(),
        replayer: ready.wiring.replayer(),
        seed: SystemClock.now_ms(),
    };
    Arc::new(RunShared {
        calls: Arc::new(calls),
        cache: settings.uses_cache.then(|| ready.wiring.cache()),
        repeat: 0,
        is_streaming: settings.is_streaming,
        loader: ready.wiring.loader(),
    })
}

/// A node's result from a file: JSON where it reads as JSON, else text.
fn pinned(file: &Path) -> Result<Value, ApiError> {
    let text = std::fs::read_to_string(file).map_err(|error| ApiError::file("read", file, &error))?;
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Tokens and cost of several parts.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// Tokens.
    pub tokens: Option<Usage>,
    /// Cost.
    pub cost: Option<Cost>,
}

impl Spent {
    /// Adds a part.
    pub fn add(&mut self, tokens: Option<&Usage>, cost: Option<&Cost>) {
        if let Some(tokens) = tokens {
            self.tokens.get_or_insert_default().add(tokens);
        }
        add_cost(&mut self.cost, cost);
    }

    /// What a line's totals say.
    pub fn of(totals: &Totals) -> Self {
        let (tokens, cost) = totals.spent();
        Self { tokens, cost }
    }
}

/// Results of nodes by name, as a run left them.
pub type NodeResults = HashMap<String, Value>;
