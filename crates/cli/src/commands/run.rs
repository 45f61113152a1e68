//! `flowbench run`.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use flowbench_api::error::{ApiError, exit};
use flowbench_api::run::{RunOutcome, RunRequest, run as run_flow, streamed_output};
use flowbench_api::settings::parse_pair;
use flowbench_core::event::{RunEvent, RunEventKind};
use serde_json::{Map, Value, json};

use super::{pairs, settings, workspace};
use crate::arguments::{Global, Run};
use crate::printer::{Printer, money, readable};

pub async fn run(global: &Global, arguments: &Run, printer: &Printer) -> Result<u8, ApiError> {
    let inputs = inputs(arguments)?;
    let workspace = workspace(global, &arguments.flow)?;
    let request = RunRequest {
        flow: arguments.flow.clone(),
        inputs,
        settings: settings(&arguments.settings, arguments.stream || arguments.interactive, printer)?,
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        pins: pairs("--pin", &arguments.pin)?,
    };
    if arguments.interactive {
        return chat(&workspace, request, arguments, printer).await;
    }
    let answer = match arguments.stream {
        true => streamed_output(&workspace, &request)?,
        false => None,
    };
    let streamed = Arc::new(Mutex::new(false));
    let node = answer.as_ref().map(|(_, node)| node.clone());
    let outcome =
        run_flow(&workspace, &request, sink(arguments, printer, node, Arc::clone(&streamed))).await?;
    if let Some(error) = &outcome.error {
        return Ok(printer.error(error));
    }
    let was_streamed = *streamed.lock().unwrap_or_else(PoisonError::into_inner);
    tell(&outcome, printer, answer.filter(|_| was_streamed).map(|(output, _)| output).as_deref());
    Ok(exit::DONE)
}

/// Pieces of the answer as they come, the trace where asked, warnings always.
fn sink(
    arguments: &Run,
    printer: &Printer,
    answer: Option<String>,
    streamed: Arc<Mutex<bool>>,
) -> flowbench_api::run::EventReader {
    let (printer, is_streaming, is_tracing) =
        (printer.clone(), arguments.stream || arguments.interactive, arguments.trace || printer.is_verbose());
    Arc::new(move |event: &RunEvent| match &event.kind {
        RunEventKind::NodeChunk { node, text, is_reasoning: false }
            if is_streaming && (printer.is_json() || answer.as_deref() == Some(node.as_str())) =>
        {
            if printer.is_json() {
                printer.json(&json!(event));
            } else {
                printer.raw(text);
                *streamed.lock().unwrap_or_else(PoisonError::into_inner) = true;
            }
        }
        RunEventKind::Warning { .. } if !is_tracing => {
            if let Some(line) = printer.trace_line(event) {
                printer.note(line.trim_start());
            }
        }
        _ if is_tracing => {
            if let Some(line) = printer.trace_line(event) {
                printer.note(&line);
            }
        }
        _ => {}
    })
}

/// `streamed` is the output whose text was printed as it came.
fn tell(outcome: &RunOutcome, printer: &Printer, streamed: Option<&str>) {
    let metrics: Map<String, Value> = outcome.metrics.iter().cloned().collect();
    if printer.is_json() {
        let mut told = json!({
            "run_id": outcome.run_id,
            "status": outcome.status,
            "outputs": outcome.outputs,
            "tokens": outcome.tokens,
            "cost": outcome.cost,
        });
        if !metrics.is_empty() {
            told["metrics"] = Value::Object(metrics);
        }
        printer.json(&told);
        return;
    }
    if streamed.is_some() {
        printer.raw("\n");
    }
    let open: Vec<(&String, &Value)> =
        outcome.outputs.iter().filter(|(name, _)| streamed != Some(name.as_str())).collect();
    match open.as_slice() {
        [(_, only)] if streamed.is_none() => printer.line(&readable(only)),
        outputs => {
            for (name, value) in outputs {
                let text = readable(value);
                match text.contains('\n') {
                    true => printer.line(&format!("{name}:\n{text}")),
                    false => printer.line(&format!("{name}: {text}")),
                }
            }
        }
    }
    for (name, value) in &metrics {
        printer.note(&format!("metric {name} = {value}"));
    }
    let tokens = outcome.tokens.map(|usage| format!(", {} tokens", usage.total())).unwrap_or_default();
    let cost = outcome.cost.as_ref().map(|cost| format!(", {}", money(cost))).unwrap_or_default();
    printer.note(&format!("run {} in {} ms{tokens}{cost}", outcome.run_id, outcome.duration_ms));
}

fn inputs(arguments: &Run) -> Result<Map<String, Value>, ApiError> {
    let mut inputs = match &arguments.inputs {
        None => Map::new(),
        Some(path) => {
            let mut text = String::new();
            if path.as_os_str() == "-" {
                std::io::stdin()
                    .lock()
                    .read_to_string(&mut text)
                    .map_err(|error| ApiError::file("read", path, &error))?;
            } else {
                text = std::fs::read_to_string(path).map_err(|error| ApiError::file("read", path, &error))?;
            }
            match serde_json::from_str(&text) {
                Ok(Value::Object(inputs)) => inputs,
                Ok(_) => {
                    return Err(ApiError::wrong_use(
                        "input/shape",
                        format!("`{}` holds no JSON object", path.display()),
                    )
                    .hint("write one object with a key for each input"));
                }
                Err(error) => {
                    return Err(ApiError::wrong_use("input/shape", format!("`{}`: {error}", path.display())));
                }
            }
        }
    };
    for written in &arguments.input {
        let (name, value) = parse_pair("--input", written)?;
        let value = match value.strip_prefix('@') {
            None => value,
            Some(file) => {
                let path = std::path::Path::new(file);
                std::fs::read_to_string(path).map_err(|error| ApiError::file("read", path, &error))?
            }
        };
        inputs.insert(name, Value::String(value));
    }
    Ok(inputs)
}

/// A conversation: each line of stdin is a question; the history goes along.
async fn chat(
    workspace: &flowbench_api::workspace::Workspace,
    mut request: RunRequest,
    arguments: &Run,
    printer: &Printer,
) -> Result<u8, ApiError> {
    let shape = flowbench_api::run::chat_shape(workspace, &request)?;
    let answer = streamed_output(workspace, &request)?;
    let mut history: Vec<Value> = Vec::new();
    let is_terminal = std::io::stdin().is_terminal();
    printer.note("an empty line or end of input ends the conversation");
    loop {
        if is_terminal {
            printer.note_inline("> ");
        }
        // On a thread of its own, so that Ctrl-C is heard while the terminal waits.
        let read = tokio::task::spawn_blocking(|| {
            let mut question = String::new();
            std::io::stdin().lock().read_line(&mut question).map(|bytes| (bytes, question))
        })
        .await;
        let question = match read {
            Ok(Ok((0, _))) => break,
            Ok(Ok((_, question))) => question.trim().to_owned(),
            Ok(Err(error)) => {
                return Err(ApiError::could_not("input", format!("cannot read the question: {error}")));
            }
            Err(error) => {
                return Err(ApiError::could_not("internal", format!("reading the question ended: {error}")));
            }
        };
        if question.is_empty() {
            break;
        }
        let mut inputs = request.inputs.clone();
        inputs.insert(shape.input.clone(), Value::String(question));
        if let Some(name) = &shape.history {
            inputs.insert(name.clone(), Value::Array(history.clone()));
        }
        let asked = RunRequest { inputs: inputs.clone(), ..request.clone() };
        let streamed = Arc::new(Mutex::new(false));
        let node = answer.as_ref().map(|(_, node)| node.clone());
        let outcome =
            run_flow(workspace, &asked, sink(arguments, printer, node, Arc::clone(&streamed))).await?;
        if let Some(error) = &outcome.error {
            // The conversation goes on; the failed turn is not part of the history.
            printer.error(error);
            continue;
        }
        let was_streamed = *streamed.lock().unwrap_or_else(PoisonError::into_inner);
        if printer.is_json() || !was_streamed {
            match (printer.is_json(), outcome.outputs.get(&shape.output)) {
                (false, Some(answer)) => printer.line(&readable(answer)),
                _ => tell(&outcome, printer, None),
            }
        } else {
            printer.raw("\n");
        }
        if let Some(name) = &shape.history {
            inputs.remove(name);
        }
        history.push(json!({"inputs": inputs, "outputs": outcome.outputs}));
        // What was pinned for the first turn would repeat its answer in every other.
        request.pins.clear();
    }
    let _ = std::io::stdout().flush();
    Ok(exit::DONE)
}
