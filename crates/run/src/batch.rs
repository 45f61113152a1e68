//! Many lines: a bounded number in flight, each told when it ends, in whatever order that happens.
//!
//! Memory does not grow with the number of lines: rows are read as places become free, and a finished line is
//! handed on at once. What aggregation needs is collected by the caller.

use std::sync::Arc;
use std::time::Duration;

use flowbench_core::chat::Usage;
use flowbench_core::event::{Cost, Failure, Status};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::failure::NodeFailure;
use crate::line::{
    LineContext, LineResult, NodeState, RunShared, aggregation_references, aggregation_row, complete_inputs,
    ends_run, run_line,
};
use crate::prepared::PreparedFlow;

/// One line to run.
#[derive(Clone, Debug)]
pub struct BatchLine {
    /// Its number in the data, from 0.
    pub number: u64,
    /// Its inputs, before defaults; or why it has none.
    pub inputs: Result<Map<String, Value>, Failure>,
}

/// How a batch runs.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// Lines in flight.
    pub parallel: usize,
    /// Longest time for one line; prompt flow's limit is 600 s.
    pub line_timeout: Duration,
    /// Stop after this many failed lines.
    pub stop_after_failed: Option<u64>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { parallel: 16, line_timeout: Duration::from_secs(600), stop_after_failed: None }
    }
}

/// A line that ended.
#[derive(Clone, Debug)]
pub struct FinishedLine {
    /// Its number.
    pub number: u64,
    /// Its inputs, defaults included.
    pub inputs: Map<String, Value>,
    /// How it ended.
    pub status: Status,
    /// Flow outputs.
    pub outputs: Map<String, Value>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// What it gives to aggregation, by reference text; empty when failed.
    pub aggregation: Map<String, Value>,
    /// Tokens.
    pub usage: Option<Usage>,
    /// Cost.
    pub cost: Option<Cost>,
    /// How long.
    pub duration_ms: u64,
}

/// Why a batch ended before its last line.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchEnd {
    /// It did not.
    Complete,
    /// The budget is spent; the lines that met this are not counted as finished.
    BudgetSpent(Failure),
    /// Too many lines failed.
    TooManyFailed,
    /// The reader of results could not keep one.
    Refused(String),
}

/// Runs lines until they end, the budget is spent or too many failed. `finished` is called once for each line in the
/// order of completion; when it refuses, the batch stops. When the budget is spent no more lines are begun, and those
/// in flight that still complete are told as well: their calls are paid. Dropping the future ends all lines in flight.
pub async fn run_batch<I, F>(
    shared: &Arc<RunShared>,
    flow: &Arc<PreparedFlow>,
    lines: I,
    options: BatchOptions,
    mut finished: F,
) -> BatchEnd
where
    I: IntoIterator<Item = BatchLine>,
    F: FnMut(FinishedLine) -> Result<(), String>,
{
    let references = Arc::new(aggregation_references(flow));
    let mut lines = lines.into_iter();
    let mut running: JoinSet<FinishedLine> = JoinSet::new();
    let mut failed = 0;
    let mut are_lines_left = true;
    let mut spent: Option<Failure> = None;
    loop {
        while spent.is_none() && are_lines_left && running.len() < options.parallel.max(1) {
            let Some(line) = lines.next() else {
                are_lines_left = false;
                break;
            };
            let (shared, flow, references) = (Arc::clone(shared), Arc::clone(flow), Arc::clone(&references));
            running.spawn(async move {
                let context = LineContext::new(shared, Arc::clone(&flow), Some(line.number));
                run_one(&context, line, options.line_timeout, &references).await
            });
        }
        let Some(joined) = running.join_next().await else {
            return spent.map_or(BatchEnd::Complete, BatchEnd::BudgetSpent);
        };
        let line = match joined {
            Ok(line) => line,
            Err(error) => {
                return BatchEnd::Refused(format!("a line ended abnormally: {error}; please report this"));
            }
        };
        if let Some(error) = line.error.as_ref().filter(|error| ends_run(error)) {
            spent.get_or_insert_with(|| error.clone());
            continue;
        }
        failed += u64::from(line.status == Status::Failed);
        if let Err(message) = finished(line) {
            return BatchEnd::Refused(message);
        }
        if spent.is_none() && options.stop_after_failed.is_some_and(|most| failed > most) {
            return BatchEnd::TooManyFailed;
        }
    }
}

async fn run_one(
    context: &LineContext,
    line: BatchLine,
    timeout: Duration,
    references: &[(String, flowbench_core::check::Binding)],
) -> FinishedLine {
    let prepared = line
        .inputs
        .and_then(|given| complete_inputs(&context.flow, &given).map_err(|failure| failure.told(None)));
    let inputs = match prepared {
        Ok(inputs) => inputs,
        Err(error) => {
            return FinishedLine {
                number: line.number,
                inputs: Map::new(),
                status: Status::Failed,
                outputs: Map::new(),
                error: Some(error),
                aggregation: Map::new(),
                usage: None,
                cost: None,
                duration_ms: 0,
            };
        }
    };
    let result = match tokio::time::timeout(timeout, run_line(context, &inputs)).await {
        Ok(result) => result,
        Err(_) => {
            let (usage, cost) = context.totals.spent();
            let failure = NodeFailure::new(
                "line/timeout",
                format!("line took longer than {} s", timeout.as_secs_f64()),
            )
            .hint("raise it with `--line-timeout`");
            LineResult {
                status: Status::Failed,
                outputs: Map::new(),
                error: Some(failure.told(None)),
                nodes: vec![NodeState::Pending; context.flow.plan.flow.nodes.len()],
                usage,
                cost,
                duration_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            }
        }
    };
    let aggregation = match result.status {
        Status::Completed => aggregation_row(references, &inputs, &result.nodes),
        _ => Map::new(),
    };
    FinishedLine {
        number: line.number,
        inputs,
        status: result.status,
        outputs: result.outputs,
        error: result.error,
        aggregation,
        usage: result.usage,
        cost: result.cost,
        duration_ms: result.duration_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::BudgetLimits;
    use crate::fakes::{flow, inputs, shared};
    use flowbench_core::plan::PlanOptions;
    use serde_json::json;

    /// Runs lines that each make one request; gives how it ended and the lines that were told.
    async fn run(limits: BudgetLimits, addresses: &[&str]) -> (BatchEnd, Vec<u64>) {
        let definition = json!({
            "inputs": {"url": {"type": "string"}},
            "nodes": [{"name": "ask", "type": "http", "inputs": {"url": "${inputs.url}"}}],
            "outputs": {"answer": {"type": "string", "reference": "${ask.output.body}"}},
        });
        let flow = flow(&definition, &[], &PlanOptions::default());
        let lines = addresses
            .iter()
            .enumerate()
            .map(|(number, url)| BatchLine { number: number as u64, inputs: Ok(inputs(&[("url", url)])) });
        let options = BatchOptions { parallel: 3, ..BatchOptions::default() };
        let mut told = Vec::new();
        let end = run_batch(&shared(limits), &flow, lines, options, |line| {
            told.push(line.number);
            Ok(())
        })
        .await;
        (end, told)
    }

    #[tokio::test(start_paused = true)]
    async fn lines_in_flight_are_kept_when_the_budget_is_spent() {
        let (end, told) =
            run(BudgetLimits::default(), &["after:3", "spent", "after:2", "after:1", "after:1"]).await;
        assert!(matches!(end, BatchEnd::BudgetSpent(_)), "{end:?}");
        assert_eq!(told, [2, 0], "those begun are told, no other is begun");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_ends_with_the_time_of_the_run() {
        let before = tokio::time::Instant::now();
        let limits = BudgetLimits { time: Some(Duration::from_secs(5)), ..BudgetLimits::default() };
        let (end, told) = run(limits, &["after:60", "after:1"]).await;
        let BatchEnd::BudgetSpent(failure) = end else { panic!("{end:?}") };
        assert!(failure.message.contains("the 5 s of this run are over"), "{failure:?}");
        assert_eq!((told, before.elapsed().as_secs()), (vec![1], 5));
    }
}
