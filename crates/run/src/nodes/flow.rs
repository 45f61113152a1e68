//! `flow`: calls another flow; its outputs are the result.

use std::sync::Arc;

use flowbench_core::event::Status;
use serde_json::{Map, Value};

use super::NodeContext;
use crate::failure::NodeFailure;
use crate::line::{LineContext, MAX_DEPTH, complete_inputs, run_line};

pub(super) async fn run(
    context: &NodeContext<'_>,
    path: &str,
    inputs: Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let line = context.line;
    let Some(flow) = line.flow.flows.get(path) else {
        return Err(NodeFailure::new("source/missing", format!("flow `{path}` was not read"))
            .hint("correct the path; it is relative to the flow's folder"));
    };
    if line.depth + 1 >= MAX_DEPTH {
        return Err(NodeFailure::new(
            "flow/too_deep",
            format!("flows call flows more than {MAX_DEPTH} deep"),
        )
        .hint("look for a flow that calls itself"));
    }
    // The item's part of the scope keeps the calls of several items apart.
    let outer = context.scope.path.rsplit('/').next().unwrap_or_default();
    let inner = LineContext {
        shared: Arc::clone(&line.shared),
        flow: Arc::clone(flow),
        line: line.line,
        prefix: format!("{outer}."),
        depth: line.depth + 1,
        totals: Arc::clone(&line.totals),
        marks: Arc::default(),
    };
    let complete = complete_inputs(flow, &inputs).map_err(|failure| NodeFailure {
        message: format!("flow `{path}`: {}", failure.message),
        ..failure
    })?;
    let result = run_line(&inner, &complete).await;
    match (result.status, result.error) {
        (Status::Completed, _) => Ok(Value::Object(result.outputs)),
        (_, error) => {
            let (code, message, hints, details) = match error {
                Some(error) => (error.code, error.message, error.hints, error.details),
                None => ("flow/failed".to_owned(), "did not complete".to_owned(), Vec::new(), None),
            };
            Err(NodeFailure {
                message: format!("flow `{path}`: {message}"),
                hints,
                details,
                ..NodeFailure::new(&code, "")
            })
        }
    }
}
