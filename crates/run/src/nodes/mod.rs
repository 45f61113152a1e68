//! What each kind of node does, and what surrounds all kinds: reuse, maps, retries, time-outs and their events.

mod code;
mod embed;
mod extract;
mod flow;
mod guard;
mod host;
mod http;
mod llm;
mod package;
mod prompt;
mod retrieve;
mod tools;

pub use host::FlowLoader;
pub use package::is_native as is_native_tool;

use std::sync::Arc;
use std::time::Duration;

use flowbench_core::chat::ChatChunk;
use flowbench_core::check::{CheckedNode, NodeKind};
use flowbench_core::event::{Reuse, RunEventKind, Status};
use flowbench_core::flow::OnError;
use flowbench_core::ports::{ChunkSink, CodeSource};
use flowbench_core::value::python_text;
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::cache::{self, CacheAnswer, CacheParts};
use crate::calls::Scope;
use crate::digest::digest_value;
use crate::failure::{BUDGET_SPENT, NodeFailure};
use crate::line::{LineContext, millis, tell_finished};

/// A node at work: the line it belongs to, the node, and where its calls are made.
#[derive(Clone)]
pub(crate) struct NodeContext<'a> {
    pub line: &'a LineContext,
    pub node: &'a CheckedNode,
    pub scope: Scope,
}

impl NodeContext<'_> {
    /// Takes pieces of a streamed answer to the event stream, if this run streams.
    fn sink(&self) -> Option<ChunkSink> {
        if !self.line.shared.is_streaming {
            return None;
        }
        let hub = Arc::clone(&self.line.shared.calls.hub);
        let (line, node) = (self.scope.line, self.scope.node.clone());
        Some(Arc::new(move |chunk| {
            let (text, is_reasoning) = match chunk {
                ChatChunk::Text { text } => (text, false),
                ChatChunk::Reasoning { text } => (text, true),
            };
            hub.emit(line, RunEventKind::NodeChunk { node: node.clone(), text, is_reasoning });
        }))
    }

    fn log(&self, stream: &str, text: &str) {
        if !text.is_empty() {
            self.line.emit(RunEventKind::NodeLog {
                node: self.scope.node.clone(),
                stream: stream.to_owned(),
                text: text.to_owned(),
            });
        }
    }

    fn warn(&self, rule: &str, message: impl Into<String>) {
        self.line.emit(RunEventKind::Warning {
            rule: rule.to_owned(),
            message: message.into(),
            node: Some(self.scope.node.clone()),
        });
    }
}

/// Runs a node with everything around it, and tells its beginning and end.
pub async fn run_node(
    line: &LineContext,
    node: &CheckedNode,
    inputs: Map<String, Value>,
    items: Option<Vec<Value>>,
    scope: Scope,
) -> Result<Value, NodeFailure> {
    let started = Instant::now();
    let context = NodeContext { line, node, scope };
    if line.shared.calls.hub.is_read() {
        line.emit(RunEventKind::NodeStarted { node: context.scope.node.clone(), inputs: inputs.clone() });
    }
    let outcome = run_or_reuse(&context, &inputs, items.as_deref()).await;
    match &outcome {
        Ok((value, reuse)) => {
            tell_finished(line, node, Status::Completed, value, None, millis(started), reuse.clone());
        }
        Err(failure) => {
            for (stream, text) in &failure.logs {
                context.log(stream, text);
            }
            let told = failure.told(Some(&context.scope.node));
            tell_finished(line, node, Status::Failed, &Value::Null, Some(told), millis(started), None);
        }
    }
    outcome.map(|(value, _)| value)
}

/// Runs an aggregation node; what it logged as metrics comes with its result.
pub async fn run_aggregation_node(
    line: &LineContext,
    node: &CheckedNode,
    inputs: Map<String, Value>,
    scope: Scope,
) -> Result<(Value, Vec<(String, Value)>), NodeFailure> {
    let started = Instant::now();
    let context = NodeContext { line, node, scope };
    line.emit(RunEventKind::NodeStarted { node: context.scope.node.clone(), inputs: inputs.clone() });
    let outcome = match &node.kind {
        NodeKind::Python { source } => code::run_python(&context, source, inputs).await,
        _ => attempt_within_time(&context, inputs).await.map(|value| (value, Vec::new())),
    };
    match &outcome {
        Ok((value, _)) => tell_finished(line, node, Status::Completed, value, None, millis(started), None),
        Err(failure) => {
            for (stream, text) in &failure.logs {
                context.log(stream, text);
            }
            let told = failure.told(Some(&context.scope.node));
            tell_finished(line, node, Status::Failed, &Value::Null, Some(told), millis(started), None);
        }
    }
    outcome
}

async fn run_or_reuse(
    context: &NodeContext<'_>,
    inputs: &Map<String, Value>,
    items: Option<&[Value]>,
) -> Result<(Value, Option<Reuse>), NodeFailure> {
    let shared = &context.line.shared;
    let Some(cache) = &shared.cache else {
        return Ok((run_items(context, inputs, items).await?.value, None));
    };
    let Some(parts) = cache_parts(context, inputs, items).await else {
        return Ok((run_items(context, inputs, items).await?.value, None));
    };
    let flow_name = &context.line.flow.plan.flow.name;
    let answer = cache.find(flow_name, context.scope.node.as_str(), &parts);
    let reuse = cache::reason(&parts, &answer);
    if let CacheAnswer::Found(value) = answer {
        return Ok((value, Some(reuse)));
    }
    let result = run_items(context, inputs, items).await?;
    // An item that failed may succeed next time.
    if !result.had_failures {
        cache.keep(flow_name, context.scope.node.as_str(), &parts, &result.value);
    }
    Ok((result.value, Some(reuse)))
}

/// Parts of the node's cache key; `None` where its result is not to be reused.
///
/// Model calls are reused unless `cache: off` says otherwise: they are slow and cost money. Code is only where
/// `cache: on` says so: it may read a clock or the world. Stand-ins never are: they cost nothing. Neither are calls
/// that name an image file: the file may change.
async fn cache_parts(
    context: &NodeContext<'_>,
    inputs: &Map<String, Value>,
    items: Option<&[Value]>,
) -> Option<CacheParts> {
    let node = context.node;
    let connection = match &node.kind {
        NodeKind::Llm { connection, tools: None, .. }
        | NodeKind::Embed { connection }
        | NodeKind::Rerank { connection } => {
            connection.clone().or_else(|| inputs.get("connection").and_then(Value::as_str).map(str::to_owned))
        }
        NodeKind::Python { .. } if node.cache == Some(true) => None,
        _ => return None,
    };
    if node.cache == Some(false)
        || connection.as_deref() == Some("builtin")
        || context.line.shared.calls.replayer.is_some()
        || inputs.values().chain(items.unwrap_or_default()).any(names_image_file)
    {
        return None;
    }
    let model = match &connection {
        None => String::new(),
        Some(connection) => {
            let calls = &context.line.shared.calls;
            let choice = llm::model_choice(inputs);
            let name = calls.model_name(connection, &choice).ok()?;
            // Which weights or which API version answers is part of the question.
            let identity = match &node.kind {
                NodeKind::Embed { .. } => calls.ports.models.embedder(connection, &name).ok()?.identity(),
                NodeKind::Rerank { .. } => calls.ports.models.reranker(connection, &name).ok()?.identity(),
                _ => calls.chat_model(connection, name).await.ok()?.identity(),
            };
            json!(identity).to_string()
        }
    };
    let source = node.kind.source_path().and_then(|path| context.line.flow.source_digests.get(path));
    let flow = &context.line.flow;
    // Code may import any file of its flow, and read what is set in its worker.
    let surroundings = match &node.kind {
        NodeKind::Python { .. } => json!({"flow": flow.digest, "environment": flow.environment}),
        _ => Value::Null,
    };
    // Equal texts make different messages where other parts of them came from values.
    let from_values: Map<String, Value> = prompt::prompt_results(context)
        .into_iter()
        .map(|(input, marked)| {
            let ranges: Vec<[usize; 2]> =
                marked.value_ranges.iter().map(|range| [range.start, range.end]).collect();
            (input, json!(ranges))
        })
        .collect();
    let definition = json!({
        "kind": node.kind.as_str(),
        "source": source,
        "api": format!("{:?}", node.kind),
        "for_each": node.for_each.as_ref().map(|for_each| &for_each.settings),
        "message_format": flow.plan.flow.message_format,
        "surroundings": surroundings,
        "from_values": from_values,
    });
    Some(CacheParts {
        definition: digest_value(&definition),
        inputs: digest_value(&json!({"inputs": inputs, "items": items})),
        model,
        repeat: context.line.shared.repeat,
        engine: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// True if a value holds an image by the path of its file: `{"data:image/png;path": …}`, `{type: image_file, …}` or
/// the first of these as text.
fn names_image_file(value: &Value) -> bool {
    match value {
        Value::String(text) => text.split_once("data:image/").is_some_and(|(_, rest)| rest.contains(";path")),
        Value::Array(items) => items.iter().any(names_image_file),
        Value::Object(map) => {
            map.get("type").and_then(Value::as_str) == Some("image_file")
                || map.keys().any(|key| key.starts_with("data:image/") && key.ends_with(";path"))
                || map.values().any(names_image_file)
        }
        _ => false,
    }
}

/// What a node gave.
struct ItemsResult {
    value: Value,
    /// Items of a map failed, and the map went on without them.
    had_failures: bool,
}

async fn run_items(
    context: &NodeContext<'_>,
    inputs: &Map<String, Value>,
    items: Option<&[Value]>,
) -> Result<ItemsResult, NodeFailure> {
    let (Some(items), Some(for_each)) = (items, &context.node.for_each) else {
        let value = run_with_retries(context, inputs).await?;
        return Ok(ItemsResult { value, had_failures: false });
    };
    let settings = &for_each.settings;
    if items.len() > settings.max_items {
        return Err(NodeFailure::new(
            "for_each/too_many",
            format!("`for_each` has {} items, and at most {} are taken", items.len(), settings.max_items),
        )
        .hint("raise `max_items`, or cut the list"));
    }
    let mut results: Vec<Option<Value>> = vec![None; items.len()];
    let mut had_failures = false;
    let mut running = stream::iter((0..items.len()).map(|index| {
        let mut inputs = inputs.clone();
        inputs.insert(settings.input.clone(), items[index].clone());
        let context = NodeContext { scope: context.scope.item(index), ..context.clone() };
        let future: futures_util::future::BoxFuture<'_, _> =
            Box::pin(async move { (index, run_with_retries(&context, &inputs).await) });
        future
    }))
    .buffer_unordered(settings.max_parallel);
    while let Some((index, outcome)) = running.next().await {
        match (outcome, settings.on_error) {
            (Ok(value), _) => results[index] = Some(value),
            (Err(failure), _) if failure.code == BUDGET_SPENT => return Err(failure),
            (Err(failure), OnError::Fail) => {
                return Err(NodeFailure { message: format!("item {index}: {}", failure.message), ..failure });
            }
            (Err(failure), on_error) => {
                had_failures = true;
                context.warn("for-each-item", format!("item {index} failed: {}", failure.message));
                if on_error == OnError::Null {
                    results[index] = Some(Value::Null);
                }
            }
        }
    }
    drop(running);
    Ok(ItemsResult { value: Value::Array(results.into_iter().flatten().collect()), had_failures })
}

/// Longest wait between the attempts of a node's own `retry`.
const LONGEST_RETRY_WAIT: f64 = 60.0;

async fn run_with_retries(
    context: &NodeContext<'_>,
    inputs: &Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let policy = context.node.retry.as_ref();
    let attempts = policy.map_or(1, |policy| policy.attempts);
    let mut wait = policy.map_or(0.0, |policy| policy.wait).min(LONGEST_RETRY_WAIT);
    for attempt in 1.. {
        let failure = match attempt_within_time(context, inputs.clone()).await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if attempt >= attempts || failure.code == BUDGET_SPENT {
            return Err(failure);
        }
        context.line.emit(RunEventKind::NodeRetried {
            node: context.scope.node.clone(),
            attempt,
            reason: failure.message,
            wait_ms: (wait * 1000.0) as u64,
        });
        context.line.shared.calls.sleep_within_budget(Duration::from_secs_f64(wait)).await?;
        wait = (wait * 2.0).min(LONGEST_RETRY_WAIT);
    }
    Err(NodeFailure::new("internal", "a retry loop ended without a result"))
}

async fn attempt_within_time(
    context: &NodeContext<'_>,
    inputs: Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let Some(seconds) = context.node.timeout else { return attempt(context, inputs).await };
    // Dropping the attempt ends its work: that is the contract of all ports.
    match tokio::time::timeout(Duration::from_secs_f64(seconds), attempt(context, inputs)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(NodeFailure::new("node/timeout", format!("took longer than its `timeout` of {seconds} s"))
                .hint("raise `timeout`, or look at what the node waits for"))
        }
    }
}

async fn attempt(context: &NodeContext<'_>, inputs: Map<String, Value>) -> Result<Value, NodeFailure> {
    match &context.node.kind {
        NodeKind::Llm { template, connection, api, tools, max_steps } => {
            let call = llm::LlmCall {
                template,
                connection: connection.as_deref(),
                api: *api,
                style: llm::ChatStyle::default(),
            };
            match tools {
                None => llm::run(context, &call, inputs).await,
                Some(tools) => tools::run_loop(context, &call, inputs, tools, *max_steps).await,
            }
        }
        NodeKind::Prompt { template } => prompt::run(context, template, &inputs),
        NodeKind::Python { source: CodeSource::PythonPackage { tool } } if package::is_native(tool) => {
            package::run(context, tool, None, inputs).await
        }
        NodeKind::Python { source } => {
            code::run_python(context, source, inputs).await.map(|(value, _)| value)
        }
        NodeKind::CustomLlm { tool, template } => package::run(context, tool, Some(template), inputs).await,
        NodeKind::Script { path } => code::run_script(context, path, inputs).await,
        NodeKind::Retrieve => retrieve::run(context, &inputs).await,
        NodeKind::Embed { connection } => embed::run_embed(context, connection.as_deref(), &inputs).await,
        NodeKind::Rerank { connection } => embed::run_rerank(context, connection.as_deref(), &inputs).await,
        NodeKind::Http => http::run(context, &inputs).await,
        NodeKind::Guard { connection } => guard::run(context, connection.as_deref(), &inputs).await,
        NodeKind::Flow { path } => flow::run(context, path, inputs).await,
        NodeKind::Extract { connection } => extract::run(context, connection.as_deref(), &inputs).await,
    }
}

/// An input that must be there, as text.
pub(crate) fn need_text(inputs: &Map<String, Value>, name: &str) -> Result<String, NodeFailure> {
    match inputs.get(name) {
        None | Some(Value::Null) => Err(missing(name)),
        Some(value) => Ok(python_text(value)),
    }
}

/// An input as text, where it is there.
pub(crate) fn text<'i>(inputs: &'i Map<String, Value>, name: &str) -> Option<&'i str> {
    inputs.get(name).and_then(Value::as_str)
}

/// An input as a whole number, where it is there; text that reads as one counts.
pub(crate) fn count(inputs: &Map<String, Value>, name: &str) -> Result<Option<usize>, NodeFailure> {
    match inputs.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => flowbench_core::value::coerce(value, flowbench_core::value::ValueType::Int)
            .ok()
            .and_then(|value| value.as_u64())
            .and_then(|number| usize::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| {
                NodeFailure::new(
                    "input/type",
                    format!("input `{name}` must be a whole number, and is `{}`", python_text(value)),
                )
            }),
    }
}

/// The failure of an input that is not there.
pub(crate) fn missing(name: &str) -> NodeFailure {
    NodeFailure::new("input/missing", format!("input `{name}` is empty"))
        .hint(format!("connect `{name}` or give it a value"))
}

/// Texts of a list input: texts, or maps with a `text`.
pub(crate) fn passages(inputs: &Map<String, Value>, name: &str) -> Result<Vec<String>, NodeFailure> {
    match inputs.get(name) {
        Some(Value::Array(items)) => Ok(items
            .iter()
            .map(|item| match item.get("text") {
                Some(text) => python_text(text),
                None => python_text(item),
            })
            .collect()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        None | Some(Value::Null) => Err(missing(name)),
        Some(other) => Err(NodeFailure::new(
            "input/type",
            format!("input `{name}` must be a list of texts, and is {}", flowbench_core::flow::shape(other)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_files_are_found_wherever_they_are_named() {
        for value in [
            json!({"data:image/png;path": "a.png"}),
            json!(["see", {"data:image/*;path": "a.png"}]),
            json!({"content": [{"type": "image_file", "image_file": {"path": "a.png"}}]}),
            json!("![image](data:image/png;path: a.png)"),
        ] {
            assert!(names_image_file(&value), "{value}");
        }
        for value in [
            json!({"data:image/png;base64": "aGk="}),
            json!({"data:image/png;url": "http://host/a.png"}),
            json!("the ;path of a picture"),
            json!({"type": "text", "path": "a.png"}),
        ] {
            assert!(!names_image_file(&value), "{value}");
        }
    }
}
