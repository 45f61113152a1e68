//! `python` and `script`: code, run by the code port with the engine as its host.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flowbench_core::connection::{Connection, ConnectionKind};
use flowbench_core::ports::{CodeCall, CodeResult, CodeSource};
use serde_json::{Map, Value};

use super::NodeContext;
use super::host::EngineHost;
use crate::failure::NodeFailure;

/// Time a code node has when neither it nor the flow says otherwise; prompt flow gives a line 600 s.
const CODE_TIMEOUT: Duration = Duration::from_secs(600);
/// Time a script has: it cannot wait for anything, so that more is a loop.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn run_python(
    context: &NodeContext<'_>,
    source: &CodeSource,
    inputs: Map<String, Value>,
) -> Result<(Value, Vec<(String, Value)>), NodeFailure> {
    let result = call(context, source.clone(), inputs, CODE_TIMEOUT).await?;
    Ok((result.value, result.metrics))
}

pub(super) async fn run_script(
    context: &NodeContext<'_>,
    path: &str,
    inputs: Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let Some(code) = context.line.flow.scripts.get(path) else {
        return Err(NodeFailure::new("source/missing", format!("script `{path}` was not read")));
    };
    let source = CodeSource::Script { code: code.to_string(), name: path.to_owned() };
    Ok(call(context, source, inputs, SCRIPT_TIMEOUT).await?.value)
}

/// Calls code: inputs that are connections are resolved, what it printed and warned is told.
pub(super) async fn call(
    context: &NodeContext<'_>,
    source: CodeSource,
    mut inputs: Map<String, Value>,
    timeout: Duration,
) -> Result<CodeResult, NodeFailure> {
    let calls = &context.line.shared.calls;
    let mut connections = Vec::new();
    for parameter in &context.node.connection_parameters {
        let Some(Value::String(name)) = inputs.get(parameter) else { continue };
        let connection = match &calls.replayer {
            None => calls.ports.models.connection(name)?,
            // A replay needs no connection; only its name is part of the question.
            Some(_) => Connection {
                name: name.clone(),
                kind: ConnectionKind::Other("replayed".to_owned()),
                fields: Map::new(),
                secrets: Vec::new(),
                is_approved: false,
            },
        };
        connections.push((parameter.clone(), connection));
        inputs.remove(parameter);
    }
    let call = CodeCall {
        node: context.scope.node.0.clone(),
        flow_folder: context.line.flow.folder.clone(),
        source,
        inputs,
        connections,
        is_aggregation: context.node.is_aggregation,
        environment: context.line.flow.environment.clone(),
        timeout: Some(context.node.timeout.map_or(timeout, Duration::from_secs_f64)),
        sink: context.sink(),
    };
    let host = Arc::new(EngineHost {
        line: context.line.clone(),
        scope: context.scope.clone(),
        spent: OnceLock::new(),
    });
    let outcome = calls.code(&context.scope, call, Arc::clone(&host) as _).await;
    let result = outcome.map_err(|failure| host.spent.get().cloned().unwrap_or(failure))?;
    context.log("stdout", &result.stdout);
    context.log("stderr", &result.stderr);
    for warning in &result.warnings {
        context.warn("code", warning.clone());
    }
    Ok(result)
}
