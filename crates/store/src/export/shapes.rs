//! Prompt flow's JSON shapes: what stands in each file of a run folder, field by field as it writes them.

use flowbench_core::chat::{ModelInput, Usage};
use flowbench_core::event::{Failure, ModelCall, Status};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::numbered_last;
use crate::record::{LineRecord, NodeRecord};

/// `Completed`, as prompt flow capitalises it.
fn word(status: Status) -> &'static str {
    match status {
        Status::Completed => "Completed",
        Status::Failed => "Failed",
        Status::Bypassed => "Bypassed",
        Status::Canceled => "Canceled",
    }
}

fn format_time(at_ms: u64, format: &str) -> String {
    // Times past the year 9999 do not happen; the epoch stands for them.
    let timestamp =
        i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    timestamp.strftime(format).to_string()
}

/// Python's `datetime.isoformat()` of a time in UTC without a zone.
fn time(at_ms: u64) -> String {
    format_time(at_ms, "%Y-%m-%dT%H:%M:%S%.6f")
}

/// The same within a `run_info`, where prompt flow appends the zone.
fn zoned_time(at_ms: u64) -> String {
    format!("{}Z", time(at_ms))
}

fn seconds(milliseconds: u64) -> Value {
    json!(milliseconds as f64 / 1000.0)
}

/// One line of a log file.
pub(super) fn log_line(at_ms: u64, message: &str) -> String {
    format!("{} execution          INFO     {message}", format_time(at_ms, "%Y-%m-%d %H:%M:%S +0000"))
}

/// What happened in one line, as log lines.
pub(super) fn line_log(line: &LineRecord) -> Vec<String> {
    let number = line.line_number;
    let mut log = Vec::new();
    for node in &line.nodes {
        let ended = node.started_ms + node.duration_ms;
        let reason = node.error.as_ref().map_or(String::new(), |failure| format!(": {}", failure.message));
        let message =
            format!("[line {number}] node {} {}{reason}", node.node, word(node.status).to_lowercase());
        log.push(log_line(ended, &message));
    }
    let reason = line.error.as_ref().map_or(String::new(), |failure| format!(": {}", failure.message));
    let message =
        format!("[line {number}] {} in {} ms{reason}", word(line.status).to_lowercase(), line.duration_ms);
    log.push(log_line(line.started_ms + line.duration_ms, &message));
    log
}

/// Tokens as prompt flow counts them; its readers expect numbers, so that what nobody measured is 0 here.
fn metrics(duration_ms: u64, usage: Option<Usage>) -> Value {
    let usage = usage.unwrap_or_default();
    json!({
        "duration": seconds(duration_ms),
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
    })
}

/// `flow_artifacts/…jsonl`.
pub(super) fn line_artifact(run: &str, line: &LineRecord) -> Value {
    let ended = line.started_ms + line.duration_ms;
    let inputs = Value::Object(numbered_last(&line.inputs, line.line_number));
    let output = match line.status {
        Status::Completed => Value::Object(line.outputs.clone()),
        _ => Value::Null,
    };
    let error = line.error.as_ref().map_or(Value::Null, error);
    let metrics = metrics(line.duration_ms, line.usage);
    json!({
        "line_number": line.line_number,
        "run_info": {
            "run_id": format!("{run}_{}", line.line_number),
            "status": word(line.status),
            "error": error,
            "inputs": inputs,
            "output": output,
            "metrics": null,
            "request": null,
            "parent_run_id": run,
            "root_run_id": run,
            "source_run_id": null,
            "flow_id": "default_flow_id",
            "start_time": zoned_time(line.started_ms),
            "end_time": zoned_time(ended),
            "index": line.line_number,
            "api_calls": [{
                "name": "flow",
                "node_name": "flow",
                "type": "Flow",
                "start_time": seconds(line.started_ms),
                "end_time": seconds(ended),
                "children": [],
                "system_metrics": metrics,
                "inputs": inputs,
                "output": output,
                "error": error,
            }],
            "name": "",
            "description": "",
            "tags": null,
            "system_metrics": metrics,
            "result": null,
            "upload_metrics": false,
            "otel_trace_id": null,
            "message_format": "basic",
        },
        "start_time": time(line.started_ms),
        "end_time": time(ended),
        "name": "",
        "description": "",
        "status": word(line.status),
        "tags": null,
    })
}

/// `node_artifacts/<node>/…jsonl`; an aggregation node has no line.
pub(super) fn node_artifact(run: &str, line: Option<u64>, node: &NodeRecord) -> Value {
    let ended = node.started_ms + node.duration_ms;
    let (suffix, parent) = match line {
        Some(number) => (number.to_string(), format!("{run}_{number}")),
        None => ("reduce".to_owned(), run.to_owned()),
    };
    let inputs = match node.status {
        Status::Bypassed => Value::Null,
        _ => Value::Object(node.inputs.clone()),
    };
    let calls: Vec<Value> = node.calls.iter().map(|call| api_call(node, call)).collect();
    let usage = node.calls.iter().filter_map(|call| call.reply.as_ref()?.usage).reduce(|mut sum, usage| {
        sum.add(&usage);
        sum
    });
    let metrics = match usage {
        Some(usage) => metrics(node.duration_ms, Some(usage)),
        None => json!({"duration": seconds(node.duration_ms)}),
    };
    json!({
        "NodeName": node.node,
        "line_number": line,
        "run_info": {
            "node": node.node,
            "flow_run_id": run,
            "run_id": format!("{run}_{}_{suffix}", node.node),
            "status": word(node.status),
            "inputs": inputs,
            "output": node.output,
            "metrics": null,
            "error": node.error.as_ref().map_or(Value::Null, error),
            "parent_run_id": parent,
            "start_time": zoned_time(node.started_ms),
            "end_time": zoned_time(ended),
            "index": line,
            "api_calls": calls,
            "cached_run_id": null,
            "cached_flow_run_id": null,
            "logs": {"stdout": node.stdout, "stderr": node.stderr},
            "system_metrics": metrics,
            "result": null,
            "message_format": "basic",
        },
        "start_time": time(node.started_ms),
        "end_time": time(ended),
        "status": word(node.status),
    })
}

/// One model call, as prompt flow's tracing has it.
fn api_call(node: &NodeRecord, call: &ModelCall) -> Value {
    let request = &call.request;
    let mut inputs = serde_json::to_value(&request.parameters).unwrap_or_default();
    if let Value::Object(inputs) = &mut inputs {
        inputs.insert("model".to_owned(), json!(call.model.model));
        match &request.input {
            ModelInput::Messages(messages) => inputs.insert("messages".to_owned(), json!(messages)),
            ModelInput::Text(text) => inputs.insert("prompt".to_owned(), json!(text)),
        };
    }
    // The provider's own reply where it is JSON, as prompt flow records the client's object.
    let output = call.reply.as_ref().map_or(Value::Null, |reply| {
        serde_json::from_str(&reply.raw).unwrap_or_else(|_| json!(reply.message))
    });
    json!({
        "name": call.model.provider,
        "node_name": node.node,
        "type": "LLM",
        "start_time": null,
        "end_time": null,
        "children": [],
        "system_metrics": metrics(call.duration_ms, call.reply.as_ref().and_then(|reply| reply.usage)),
        "inputs": inputs,
        "output": output,
        "error": call.error.as_ref().map(|message| json!({"message": message})),
    })
}

/// An error as prompt flow presents it; our code is the inner one.
pub(super) fn error(failure: &Failure) -> Value {
    let is_code = failure.code.starts_with("code/");
    let (format, parameters) = match &failure.node {
        Some(node) => ("Execution failure in '{node_name}'.", json!({"node_name": node})),
        None => ("", json!({})),
    };
    let inner = if is_code { "ToolExecutionError" } else { failure.code.as_str() };
    let trace = failure.details.as_ref().and_then(|details| details.get("traceback")).cloned();
    let mut error = json!({
        "message": failure.message,
        "messageFormat": format,
        "messageParameters": parameters,
        "referenceCode": if is_code { "Tool/__pf_main__" } else { "Runtime" },
        "code": "UserError",
        "innerError": {"code": inner, "innerError": null},
    });
    if let (Value::Object(error), Some(details)) = (&mut error, &failure.details) {
        let kind = if is_code { "ToolExecutionErrorDetails" } else { "FlowbenchDetails" };
        error.insert("additionalInfo".to_owned(), json!([{"type": kind, "info": details}]));
    }
    if let Value::Object(error) = &mut error {
        let debug = json!({
            "type": inner,
            "message": failure.message,
            "stackTrace": trace.unwrap_or_else(|| json!("")),
            "innerException": null,
        });
        error.insert("debugInfo".to_owned(), debug);
    }
    error
}

/// `error.json`.
pub(super) fn batch_error(message: &str, errors: Vec<Value>) -> Value {
    json!({
        "message": message,
        "messageFormat": "",
        "messageParameters": {},
        "referenceCode": "Runtime",
        "code": "UserError",
        "innerError": {
            "code": "SDKError",
            "innerError": {"code": "BulkRunException", "innerError": null},
        },
        "additionalInfo": [{"type": "BulkRunErrors", "info": {"errors": errors}}],
        "debugInfo": {
            "type": "BulkRunException",
            "message": message,
            "stackTrace": "",
            "innerException": null,
        },
    })
}
