//! One line of a flow: nodes start as soon as what they wait for is done, and the first failure ends the line.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use flowbench_core::check::{Binding, CheckedNode, NodeKind};
use flowbench_core::event::{Cost, Failure, Reuse, RunEventKind, Status};
use flowbench_core::plan::Step;
use flowbench_core::reference::{PathStep, Reference, follow, write_reference};
use flowbench_core::value::{ValueType, coerce};
use flowbench_prompt::{MarkedText, normalize_image};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::cache::NodeCache;
use crate::calls::{Calls, Scope, Totals};
use crate::condition::holds;
use crate::failure::{BUDGET_SPENT, NodeFailure};
use crate::nodes::{self, FlowLoader};
use crate::prepared::PreparedFlow;

/// Flows may call flows this deep; more is a circle or a mistake.
pub const MAX_DEPTH: usize = 8;

/// What all lines of a run share.
pub struct RunShared {
    /// Calls to the outside.
    pub calls: Arc<Calls>,
    /// Node results kept between runs.
    pub cache: Option<Arc<dyn NodeCache>>,
    /// Which repetition of the same questions this run is.
    pub repeat: u32,
    /// Ask models for streamed answers and tell the pieces.
    pub is_streaming: bool,
    /// Reads flows that code names at run time.
    pub loader: Arc<dyn FlowLoader>,
}

/// What became of a node in a line.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeState {
    /// Waiting or running.
    Pending,
    /// Done.
    Done(Arc<Value>),
    /// Not needed on this path.
    Bypassed,
    /// Left out of the plan.
    Skipped,
}

/// What became of a line.
#[derive(Clone, Debug)]
pub struct LineResult {
    /// How it ended.
    pub status: Status,
    /// Flow outputs; empty when failed.
    pub outputs: Map<String, Value>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// By node index.
    pub nodes: Vec<NodeState>,
    /// Tokens, where told.
    pub usage: Option<flowbench_core::chat::Usage>,
    /// Cost, where known.
    pub cost: Option<Cost>,
    /// How long.
    pub duration_ms: u64,
}

/// Where a line stands: which flow, which line, how deep in flows that call flows.
#[derive(Clone)]
pub struct LineContext {
    /// What all lines share.
    pub shared: Arc<RunShared>,
    /// The flow.
    pub flow: Arc<PreparedFlow>,
    /// Line of a batch.
    pub line: Option<u64>,
    /// `outer.inner.` for nodes of flows that were called by nodes.
    pub prefix: String,
    /// How deep.
    pub depth: usize,
    /// Tokens and cost of the line.
    pub totals: Arc<Totals>,
    /// Texts of prompt nodes with the origin of their parts, by node index.
    pub marks: Arc<Mutex<HashMap<usize, MarkedText>>>,
}

impl LineContext {
    /// A line of the outermost flow.
    pub fn new(shared: Arc<RunShared>, flow: Arc<PreparedFlow>, line: Option<u64>) -> Self {
        Self {
            shared,
            flow,
            line,
            prefix: String::new(),
            depth: 0,
            totals: Arc::default(),
            marks: Arc::default(),
        }
    }

    /// Tells an event of this line.
    pub fn emit(&self, kind: RunEventKind) {
        self.shared.calls.hub.emit(self.line, kind);
    }

    /// A node's name in events: inner flows' nodes carry the outer node's name before theirs.
    pub fn told_name(&self, node: &CheckedNode) -> flowbench_core::ids::NodeId {
        match self.prefix.is_empty() {
            true => node.id.clone(),
            false => flowbench_core::ids::NodeId(format!("{}{}", self.prefix, node.id)),
        }
    }
}

/// Fills in defaults and converts inputs to their declared types.
pub fn complete_inputs(
    flow: &PreparedFlow,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, NodeFailure> {
    let given = match &flow.sample {
        Some(sample) if given.is_empty() => sample,
        _ => given,
    };
    let mut inputs = Map::new();
    for (name, input) in &flow.plan.flow.inputs {
        let value = match (given.get(name), &input.default) {
            (Some(value), _) => value,
            (None, Some(default)) => default,
            (None, None) => {
                return Err(NodeFailure::new(
                    "input/missing",
                    format!("flow input `{name}` has no value and no default"),
                )
                .hint(format!("give it with `--input {name}=VALUE`, or in the data")));
            }
        };
        let value = match value {
            // Null stays null where the type has room for it; a number, a truth or a list is not nothing.
            Value::Null
                if !matches!(
                    input.kind,
                    ValueType::Int | ValueType::Double | ValueType::Bool | ValueType::List
                ) =>
            {
                Value::Null
            }
            value if input.kind == ValueType::Image => normalize_image(value),
            value => coerce(value, input.kind)
                .map_err(|error| NodeFailure::new("input/type", format!("flow input `{name}`: {error}")))?,
        };
        inputs.insert(name.clone(), value);
    }
    Ok(inputs)
}

/// Runs one line. `inputs` are complete (see [`complete_inputs`]).
///
/// Boxed, because a node may be a flow with lines of its own.
pub fn run_line<'a>(context: &'a LineContext, inputs: &'a Map<String, Value>) -> BoxFuture<'a, LineResult> {
    Box::pin(run_this_line(context, inputs))
}

async fn run_this_line(context: &LineContext, inputs: &Map<String, Value>) -> LineResult {
    let started = Instant::now();
    let plan = Arc::clone(&context.flow.plan);
    let mut states = vec![NodeState::Pending; plan.flow.nodes.len()];
    let outcome = run_nodes(context, inputs, &plan.line_order, &mut states).await;
    let outcome = outcome.and_then(|()| match plan.is_partial {
        true => Ok(Map::new()),
        false => collect_outputs(context, inputs, &states),
    });
    let (usage, cost) = context.totals.spent();
    let duration_ms = millis(started);
    match outcome {
        Ok(outputs) => LineResult {
            status: Status::Completed,
            outputs,
            error: None,
            nodes: states,
            usage,
            cost,
            duration_ms,
        },
        Err(error) => LineResult {
            status: Status::Failed,
            outputs: Map::new(),
            error: Some(error),
            nodes: states,
            usage,
            cost,
            duration_ms,
        },
    }
}

/// Milliseconds since an instant.
pub fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

type NodeFuture<'a> = Pin<Box<dyn Future<Output = (usize, Result<Value, NodeFailure>)> + Send + 'a>>;

/// Runs the nodes of `order`, which is topological, as soon as each is ready.
async fn run_nodes(
    context: &LineContext,
    inputs: &Map<String, Value>,
    order: &[usize],
    states: &mut [NodeState],
) -> Result<(), Failure> {
    let plan = &context.flow.plan;
    let mut waiting: HashMap<usize, usize> = HashMap::with_capacity(order.len());
    let mut ready: VecDeque<usize> = VecDeque::new();
    for index in order {
        let open = plan.flow.nodes[*index].dependencies.len();
        match open {
            0 => ready.push_back(*index),
            _ => {
                waiting.insert(*index, open);
            }
        }
    }
    let mut running: FuturesUnordered<NodeFuture<'_>> = FuturesUnordered::new();
    let mut in_work: Vec<usize> = Vec::new();
    let finish = |index: usize, waiting: &mut HashMap<usize, usize>, ready: &mut VecDeque<usize>| {
        for dependent in &plan.dependents[index] {
            if let Some(open) = waiting.get_mut(dependent) {
                *open -= 1;
                if *open == 0 {
                    waiting.remove(dependent);
                    ready.push_back(*dependent);
                }
            }
        }
    };
    loop {
        while let Some(index) = ready.pop_front() {
            let node = &plan.flow.nodes[index];
            let next = match &plan.steps[index] {
                Step::Skip => Next::State(NodeState::Skipped),
                Step::Take { value, why, is_pinned } if *is_pinned || !is_prompt(node) => {
                    mark_as_template(context, index, value);
                    tell_finished(context, node, Status::Completed, value, None, 0, Some(taken(why)));
                    Next::State(NodeState::Done(Arc::new(value.clone())))
                }
                // An earlier text of a prompt node does not tell which of its parts came from values. Rendering it
                // again costs nothing and does.
                Step::Take { .. } | Step::Run => match decide(context, node, inputs, states) {
                    Ok(next) => next,
                    Err(failure) => {
                        return Err(fail(context, node, &failure, 0, &in_work));
                    }
                },
            };
            match next {
                Next::State(state) => {
                    if state == NodeState::Bypassed {
                        tell_finished(context, node, Status::Bypassed, &Value::Null, None, 0, None);
                    }
                    states[index] = state;
                    finish(index, &mut waiting, &mut ready);
                }
                Next::Run(node_inputs, items) => {
                    in_work.push(index);
                    let context = context.clone();
                    let scope = Scope::new(
                        context.line,
                        &context.prefix,
                        &context.told_name(node),
                        Arc::clone(&context.totals),
                    );
                    running.push(Box::pin(async move {
                        let node = &context.flow.plan.flow.nodes[index];
                        (index, nodes::run_node(&context, node, node_inputs, items, scope).await)
                    }));
                }
            }
        }
        let Some((index, outcome)) = running.next().await else { return Ok(()) };
        in_work.retain(|other| *other != index);
        match outcome {
            Ok(value) => {
                states[index] = NodeState::Done(Arc::new(value));
                finish(index, &mut waiting, &mut ready);
            }
            // Dropping `running` ends the other nodes' work.
            Err(failure) => {
                let node = &plan.flow.nodes[index];
                cancel_others(context, &in_work);
                return Err(failure.told(Some(&context.told_name(node))));
            }
        }
    }
}

enum Next {
    State(NodeState),
    /// Inputs, and the items where the node maps over a list.
    Run(Map<String, Value>, Option<Vec<Value>>),
}

fn is_prompt(node: &CheckedNode) -> bool {
    matches!(node.kind, NodeKind::Prompt { .. })
}

/// The text that a user gave in place of a prompt node's is the user's, roles included.
fn mark_as_template(context: &LineContext, index: usize, value: &Value) {
    let node = &context.flow.plan.flow.nodes[index];
    if let (true, None, Value::String(text)) = (is_prompt(node), &node.for_each, value) {
        let marked = MarkedText { text: text.clone(), value_ranges: Vec::new() };
        context.marks.lock().unwrap_or_else(PoisonError::into_inner).insert(index, marked);
    }
}

fn taken(why: &str) -> Reuse {
    Reuse { is_reused: true, reason: why.to_owned() }
}

fn fail(
    context: &LineContext,
    node: &CheckedNode,
    failure: &NodeFailure,
    duration_ms: u64,
    in_work: &[usize],
) -> Failure {
    let told = failure.told(Some(&context.told_name(node)));
    tell_finished(context, node, Status::Failed, &Value::Null, Some(told.clone()), duration_ms, None);
    cancel_others(context, in_work);
    told
}

fn cancel_others(context: &LineContext, in_work: &[usize]) {
    for index in in_work {
        tell_finished(
            context,
            &context.flow.plan.flow.nodes[*index],
            Status::Canceled,
            &Value::Null,
            None,
            0,
            None,
        );
    }
}

/// Tells the end of a node.
pub fn tell_finished(
    context: &LineContext,
    node: &CheckedNode,
    status: Status,
    output: &Value,
    error: Option<Failure>,
    duration_ms: u64,
    reuse: Option<Reuse>,
) {
    if !context.shared.calls.hub.is_read() {
        return;
    }
    context.emit(RunEventKind::NodeFinished {
        node: context.told_name(node),
        status,
        output: output.clone(),
        error,
        duration_ms,
        reuse,
    });
}

/// A resolved binding; `None` when its node was bypassed.
fn resolve(
    context: &LineContext,
    binding: &Binding,
    inputs: &Map<String, Value>,
    states: &[NodeState],
) -> Result<Option<Value>, NodeFailure> {
    match binding {
        Binding::Literal(value) => Ok(Some(value.clone())),
        Binding::Input(name) => Ok(Some(inputs.get(name).cloned().unwrap_or(Value::Null))),
        Binding::Node { node, path } => match &states[*node] {
            NodeState::Done(value) => follow(value, path).map(Some).map_err(|error| {
                NodeFailure::new(
                    "reference/missing",
                    format!("`{}`: {error}", reference_text(context, *node, path)),
                )
                .hint("look at the node's result in the trace, and correct the reference")
            }),
            _ => Ok(None),
        },
    }
}

fn reference_text(context: &LineContext, node: usize, path: &[PathStep]) -> String {
    let node = context.flow.plan.flow.nodes[node].id.0.clone();
    write_reference(&Reference::Node { node, path: path.to_vec() })
}

/// Prompt flow's rules of activation and bypass, in its order.
fn decide(
    context: &LineContext,
    node: &CheckedNode,
    inputs: &Map<String, Value>,
    states: &[NodeState],
) -> Result<Next, NodeFailure> {
    match &node.activate {
        Some(activate) => match resolve(context, &activate.when, inputs, states)? {
            None => return Ok(Next::State(NodeState::Bypassed)),
            Some(value) => {
                if !holds(&value, activate.comparison, &activate.with)? {
                    return Ok(Next::State(NodeState::Bypassed));
                }
            }
        },
        None => {
            let mut sources = node
                .inputs
                .values()
                .chain(node.for_each.as_ref().map(|for_each| &for_each.items))
                .filter_map(|binding| match binding {
                    Binding::Node { node, .. } => Some(*node),
                    _ => None,
                })
                .peekable();
            if sources.peek().is_some() && sources.all(|source| states[source] == NodeState::Bypassed) {
                return Ok(Next::State(NodeState::Bypassed));
            }
        }
    }
    let mut node_inputs = Map::with_capacity(node.inputs.len());
    for (name, binding) in &node.inputs {
        match resolve(context, binding, inputs, states)? {
            Some(value) => {
                node_inputs.insert(name.clone(), value);
            }
            None if node.optional.contains(name) => {}
            None => {
                context.emit(RunEventKind::Warning {
                    rule: "bypassed-input".to_owned(),
                    message: format!("input `{name}` comes from a bypassed node and is null"),
                    node: Some(context.told_name(node)),
                });
                node_inputs.insert(name.clone(), Value::Null);
            }
        }
    }
    let items = match &node.for_each {
        None => None,
        Some(for_each) => match resolve(context, &for_each.items, inputs, states)? {
            Some(Value::Array(items)) => Some(items),
            None => Some(Vec::new()),
            Some(other) => {
                return Err(NodeFailure::new(
                    "for_each/shape",
                    format!(
                        "`for_each.items` is {}, and must be a list",
                        flowbench_core::flow::shape(&other)
                    ),
                ));
            }
        },
    };
    Ok(Next::Run(node_inputs, items))
}

fn collect_outputs(
    context: &LineContext,
    inputs: &Map<String, Value>,
    states: &[NodeState],
) -> Result<Map<String, Value>, Failure> {
    let mut outputs = Map::new();
    for (name, output) in &context.flow.plan.flow.outputs {
        if let Binding::Node { node, path } = &output.binding
            && states[*node] == NodeState::Bypassed
            && !path.is_empty()
        {
            let failure = NodeFailure::new(
                "reference/missing",
                format!("output `{name}`: `{}` is a part of a bypassed node", reference_text(context, *node, path)),
            )
            .hint("point the output at the whole node, which is null when bypassed, or at a node that always runs");
            return Err(failure.told(None));
        }
        let value = resolve(context, &output.binding, inputs, states).map_err(|failure| {
            let failure = NodeFailure { message: format!("output `{name}`: {}", failure.message), ..failure };
            failure.told(None)
        })?;
        outputs.insert(name.clone(), value.unwrap_or(Value::Null));
    }
    // A flex flow's function names its outputs itself when its result is a map.
    if context.flow.spreads_output
        && let [(_, Value::Object(map))] = outputs.iter().collect::<Vec<_>>().as_slice()
    {
        return Ok((*map).clone());
    }
    Ok(outputs)
}

/// True if a failure is about the whole run and not only its line.
pub fn ends_run(failure: &Failure) -> bool {
    failure.code == BUDGET_SPENT
}

/// Runs the aggregation nodes over the collected lists.
pub async fn run_aggregation(
    context: &LineContext,
    lists: &AggregationLists,
) -> (Vec<NodeState>, Vec<(String, Value)>, Option<Failure>) {
    let plan = Arc::clone(&context.flow.plan);
    let mut states = vec![NodeState::Skipped; plan.flow.nodes.len()];
    let mut metrics = Vec::new();
    for index in &plan.aggregation_order {
        let node = &plan.flow.nodes[*index];
        match &plan.steps[*index] {
            Step::Skip => continue,
            Step::Take { value, why, .. } => {
                tell_finished(context, node, Status::Completed, value, None, 0, Some(taken(why)));
                states[*index] = NodeState::Done(Arc::new(value.clone()));
                continue;
            }
            Step::Run => {}
        }
        let scope =
            Scope::new(context.line, &context.prefix, &context.told_name(node), Arc::clone(&context.totals));
        match aggregation_is_wanted(context, node, lists, &states) {
            Ok(true) => {}
            Ok(false) => {
                tell_finished(context, node, Status::Bypassed, &Value::Null, None, 0, None);
                states[*index] = NodeState::Bypassed;
                continue;
            }
            Err(failure) => return (states, metrics, Some(fail(context, node, &failure, 0, &[]))),
        }
        let outcome = match aggregation_inputs(context, node, lists, &states) {
            Ok(inputs) => nodes::run_aggregation_node(context, node, inputs, scope).await,
            Err(failure) => {
                return (states, metrics, Some(fail(context, node, &failure, 0, &[])));
            }
        };
        match outcome {
            Ok((value, logged)) => {
                for (name, value) in &logged {
                    context.emit(RunEventKind::Metric {
                        node: context.told_name(node),
                        name: name.clone(),
                        value: value.clone(),
                    });
                }
                metrics.extend(logged);
                states[*index] = NodeState::Done(Arc::new(value));
            }
            Err(failure) => return (states, metrics, Some(failure.told(Some(&context.told_name(node))))),
        }
    }
    (states, metrics, None)
}

/// What aggregation nodes need of the lines: one list for each reference they make, in line order.
#[derive(Clone, Debug, Default)]
pub struct AggregationLists {
    /// By reference text.
    pub by_reference: HashMap<String, Vec<Value>>,
}

/// The references that aggregation nodes make to lines, as text and binding.
pub fn aggregation_references(flow: &PreparedFlow) -> Vec<(String, Binding)> {
    let mut found: Vec<(String, Binding)> = Vec::new();
    for index in &flow.plan.aggregation_order {
        let node = &flow.plan.flow.nodes[*index];
        for binding in node.inputs.values().chain(node.activate.as_ref().map(|activate| &activate.when)) {
            let Some(text) = binding_text(flow, binding) else { continue };
            if !found.iter().any(|(other, _)| other == &text) {
                found.push((text, binding.clone()));
            }
        }
    }
    found
}

/// Text of a binding that becomes a list; `None` for literals and other aggregation nodes.
fn binding_text(flow: &PreparedFlow, binding: &Binding) -> Option<String> {
    match binding {
        Binding::Literal(_) => None,
        Binding::Input(name) => Some(write_reference(&Reference::Input(name.clone()))),
        Binding::Node { node, path } => {
            let target = &flow.plan.flow.nodes[*node];
            (!target.is_aggregation)
                .then(|| write_reference(&Reference::Node { node: target.id.0.clone(), path: path.clone() }))
        }
    }
}

/// What one successful line gives to the lists. A bypassed node, and a part that is not there, give null.
pub fn aggregation_row(
    references: &[(String, Binding)],
    inputs: &Map<String, Value>,
    states: &[NodeState],
) -> Map<String, Value> {
    references
        .iter()
        .map(|(text, binding)| {
            let value = match binding {
                Binding::Literal(value) => value.clone(),
                Binding::Input(name) => inputs.get(name).cloned().unwrap_or(Value::Null),
                Binding::Node { node, path } => match &states[*node] {
                    NodeState::Done(value) => follow(value, path).unwrap_or(Value::Null),
                    _ => Value::Null,
                },
            };
            (text.clone(), value)
        })
        .collect()
}

/// An aggregation node is bypassed by its own condition only.
fn aggregation_is_wanted(
    context: &LineContext,
    node: &CheckedNode,
    lists: &AggregationLists,
    states: &[NodeState],
) -> Result<bool, NodeFailure> {
    let Some(activate) = &node.activate else { return Ok(true) };
    let value = match binding_text(&context.flow, &activate.when) {
        Some(text) => Value::Array(lists.by_reference.get(&text).cloned().unwrap_or_default()),
        None => match resolve(context, &activate.when, &Map::new(), states)? {
            Some(value) => value,
            None => return Ok(false),
        },
    };
    holds(&value, activate.comparison, &activate.with)
}

fn aggregation_inputs(
    context: &LineContext,
    node: &CheckedNode,
    lists: &AggregationLists,
    states: &[NodeState],
) -> Result<Map<String, Value>, NodeFailure> {
    let mut inputs = Map::new();
    for (name, binding) in &node.inputs {
        let value = match binding_text(&context.flow, binding) {
            Some(text) => Value::Array(lists.by_reference.get(&text).cloned().unwrap_or_default()),
            None => resolve(context, binding, &Map::new(), states)?.unwrap_or(Value::Null),
        };
        inputs.insert(name.clone(), value);
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::BudgetLimits;
    use crate::fakes::{flow, inputs, shared};
    use flowbench_core::plan::PlanOptions;
    use serde_json::json;

    /// Runs `first`, a prompt node, and `second`, which takes its text; gives the text and marks of `first`.
    async fn first_prompt(options: &PlanOptions) -> MarkedText {
        let definition = json!({
            "inputs": {"word": {"type": "string"}},
            "nodes": [
                {"name": "first", "type": "prompt", "source": {"type": "code", "path": "first.jinja2"},
                 "inputs": {"word": "${inputs.word}"}},
                {"name": "second", "type": "prompt", "source": {"type": "code", "path": "second.jinja2"},
                 "inputs": {"text": "${first.output}"}},
            ],
            "outputs": {"text": {"type": "string", "reference": "${second.output}"}},
        });
        let templates = [("first.jinja2", "say {{ word }}"), ("second.jinja2", "{{ text }}")];
        let flow = flow(&definition, &templates, options);
        let context = LineContext::new(shared(BudgetLimits::default()), flow, None);
        let result = run_line(&context, &inputs(&[("word", "hello")])).await;
        let marked = context.marks.lock().unwrap().get(&0).cloned().unwrap();
        assert_eq!(result.outputs.get("text"), Some(&json!(marked.text)), "{result:?}");
        marked
    }

    #[tokio::test]
    async fn prompts_of_an_earlier_run_are_rendered_again_with_their_origins() {
        let options = PlanOptions {
            from: Some("second".to_owned()),
            earlier: HashMap::from([("first".to_owned(), json!("say hello"))]),
            ..PlanOptions::default()
        };
        let marked = first_prompt(&options).await;
        assert_eq!(marked.text, "say hello");
        let ranges: Vec<(usize, usize)> =
            marked.value_ranges.iter().map(|range| (range.start, range.end)).collect();
        assert_eq!(ranges, [(4, 9)]);
    }

    #[tokio::test]
    async fn a_pinned_prompt_is_the_users_text() {
        let pins = HashMap::from([("first".to_owned(), json!("user:\nown words"))]);
        let marked = first_prompt(&PlanOptions { pins, ..PlanOptions::default() }).await;
        assert_eq!((marked.text.as_str(), marked.value_ranges), ("user:\nown words", vec![]));
    }
}
