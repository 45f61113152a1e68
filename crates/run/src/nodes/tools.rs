//! Tools of an llm node: python nodes of the same flow and other flows, called by the model in a loop.

use std::time::Duration;

use flowbench_core::chat::{Content, Message, ModelInput, Role, ToolCall, ToolDefinition};
use flowbench_core::check::{Binding, CheckedInput, CheckedNode, NodeKind, tool_names};
use flowbench_core::facts::{ParameterFacts, SourceFacts};
use flowbench_core::value::{ValueType, coerce, python_text};
use futures_util::future::join_all;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::{NodeContext, code, flow, llm};
use crate::failure::{BUDGET_SPENT, NodeFailure};
use crate::prepared::PreparedFlow;

/// Time a python tool has for one call.
const TOOL_TIMEOUT: Duration = Duration::from_secs(120);

enum Tool<'a> {
    /// A python node; its wired literals are fixed arguments.
    Node(&'a CheckedNode),
    /// A flow, by path as written.
    Flow(&'a str),
}

/// Asks the model, runs the tools it calls, tells it their results, until it answers or `max_steps` rounds are over.
pub(super) async fn run_loop(
    context: &NodeContext<'_>,
    call: &llm::LlmCall<'_>,
    inputs: Map<String, Value>,
    tools: &Value,
    max_steps: u32,
) -> Result<Value, NodeFailure> {
    let (mut definitions, mut by_name) = (Vec::new(), IndexMap::new());
    for name in tool_names(Some(tools)) {
        let (definition, tool) = define(context, name)?;
        by_name.insert(definition.name.clone(), tool);
        definitions.push(definition);
    }
    let llm::Prepared { connection, choice, mut request, .. } = llm::prepare(context, call, inputs)?;
    request.tools.extend(definitions);
    for step in 0..max_steps.max(1) {
        let reply = context
            .line
            .shared
            .calls
            .chat(&context.scope, &connection, &choice, &request, context.sink())
            .await?;
        if reply.message.tool_calls.is_empty() {
            llm::warn_of_ending(context, &reply);
            return Ok(Value::String(reply.message.content_text()));
        }
        let calls = reply.message.tool_calls.clone();
        let results = join_all((0..calls.len()).map(|index| {
            let tool_call = &calls[index];
            let context =
                NodeContext { scope: context.scope.item(step as usize * 1000 + index), ..context.clone() };
            let tool = by_name.get(&tool_call.name);
            let future: futures_util::future::BoxFuture<'_, _> =
                Box::pin(async move { run_tool(&context, tool, tool_call).await });
            future
        }))
        .await;
        let ModelInput::Messages(messages) = &mut request.input else {
            return Err(NodeFailure::new("llm/tools", "tools need `api: chat`"));
        };
        messages.push(reply.message);
        for (tool_call, result) in calls.iter().zip(results) {
            messages.push(Message {
                role: Role::Tool,
                content: Some(Content::Text(result?)),
                name: None,
                tool_calls: Vec::new(),
                tool_call_id: Some(tool_call.id.clone()),
            });
        }
    }
    Err(NodeFailure::new("llm/max_steps", format!("the model still calls tools after {max_steps} rounds"))
        .hint("raise `max_steps`, or tell the model in the prompt when to stop"))
}

fn define<'a>(context: &NodeContext<'a>, name: &'a str) -> Result<(ToolDefinition, Tool<'a>), NodeFailure> {
    let flow: &'a PreparedFlow = &context.line.flow;
    if let Some(index) = flow.plan.flow.node_index(name) {
        let node = &flow.plan.flow.nodes[index];
        let parameters = match node.kind.source_path().and_then(|path| flow.facts.sources.get(path)) {
            Some(SourceFacts::Python { parameters, .. }) => parameters.as_slice(),
            _ => &[],
        };
        let open: Vec<&ParameterFacts> = parameters
            .iter()
            .filter(|parameter| !node.inputs.contains_key(&parameter.name) && !parameter.is_connection)
            .collect();
        let definition = ToolDefinition {
            name: function_name(name),
            description: None,
            parameters: object_schema(open.iter().map(|parameter| {
                let kind = parameter.kind.as_deref().and_then(ValueType::parse);
                (parameter.name.as_str(), kind, None, !parameter.has_default)
            })),
            strict: None,
        };
        return Ok((definition, Tool::Node(node)));
    }
    let Some(target) = flow.flows.get(name) else {
        return Err(NodeFailure::new(
            "llm/tools",
            format!("tool `{name}` is neither a node of this flow nor a flow"),
        )
        .hint("write `{node: NAME}` or `{flow: ../FOLDER}`"));
    };
    let inputs = target.plan.flow.inputs.iter().map(|(input, definition): (&String, &CheckedInput)| {
        (input.as_str(), Some(definition.kind), definition.default.as_ref(), definition.default.is_none())
    });
    let definition = ToolDefinition {
        name: function_name(&target.plan.flow.name),
        description: None,
        parameters: object_schema(inputs),
        strict: None,
    };
    Ok((definition, Tool::Flow(name)))
}

/// Providers allow letters, digits, `_` and `-`, at most 64.
fn function_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(64).collect()
}

fn object_schema<'p>(
    parameters: impl Iterator<Item = (&'p str, Option<ValueType>, Option<&'p Value>, bool)>,
) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, kind, default, is_required) in parameters {
        let mut schema = match kind {
            Some(ValueType::Int) => json!({"type": "integer"}),
            Some(ValueType::Double) => json!({"type": "number"}),
            Some(ValueType::Bool) => json!({"type": "boolean"}),
            Some(ValueType::List) => json!({"type": "array", "items": {}}),
            Some(ValueType::Object) => json!({"type": "object"}),
            Some(_) => json!({"type": "string"}),
            None => json!({}),
        };
        if let (Some(default), Value::Object(map)) = (default, &mut schema) {
            map.insert("default".to_owned(), default.clone());
        }
        properties.insert(name.to_owned(), schema);
        if is_required {
            required.push(json!(name));
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// Runs one call. What goes wrong in it is told to the model, which may do better; only a spent budget ends the node.
async fn run_tool(
    context: &NodeContext<'_>,
    tool: Option<&Tool<'_>>,
    call: &ToolCall,
) -> Result<String, NodeFailure> {
    let Some(tool) = tool else { return Ok(format!("error: there is no tool `{}`", call.name)) };
    let arguments = match call.arguments.trim() {
        "" => Map::new(),
        text => match serde_json::from_str(text) {
            Ok(Value::Object(arguments)) => arguments,
            Ok(_) => return Ok("error: the arguments are no JSON object".to_owned()),
            Err(error) => return Ok(format!("error: the arguments are no JSON: {error}")),
        },
    };
    let outcome = match tool {
        Tool::Node(node) => run_node_tool(context, node, arguments).await,
        Tool::Flow(path) => flow::run(context, path, arguments).await,
    };
    match outcome {
        Ok(value) => Ok(match value {
            Value::String(text) => text,
            other => other.to_string(),
        }),
        Err(failure) if failure.code == BUDGET_SPENT => Err(failure),
        Err(failure) => {
            context.warn("tool-failed", format!("tool `{}`: {}", call.name, failure.message));
            Ok(format!("error: {}", failure.message))
        }
    }
}

async fn run_node_tool(
    context: &NodeContext<'_>,
    node: &CheckedNode,
    arguments: Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let NodeKind::Python { source } = &node.kind else {
        return Err(NodeFailure::new("llm/tools", format!("tool `{}` is no python node", node.id)));
    };
    let facts = node.kind.source_path().and_then(|path| context.line.flow.facts.sources.get(path));
    let mut inputs = Map::new();
    for (name, value) in arguments {
        let kind = match facts {
            Some(SourceFacts::Python { parameters, .. }) => parameters
                .iter()
                .find(|parameter| parameter.name == name)
                .and_then(|parameter| parameter.kind.as_deref())
                .and_then(ValueType::parse),
            _ => None,
        };
        let value = match kind {
            Some(kind) => coerce(&value, kind)
                .map_err(|error| NodeFailure::new("input/type", format!("argument `{name}`: {error}")))?,
            None => value,
        };
        inputs.insert(name, value);
    }
    // What the flow wires is fixed: the model cannot override it.
    for (name, binding) in &node.inputs {
        match binding {
            Binding::Literal(value) => {
                inputs.insert(name.clone(), value.clone());
            }
            _ => {
                return Err(NodeFailure::new(
                    "llm/tools",
                    format!(
                        "tool `{}`: input `{name}` is wired to another value; only literals can be fixed in a tool",
                        node.id
                    ),
                ));
            }
        }
    }
    let tool_context = NodeContext { node, ..context.clone() };
    let result = code::call(&tool_context, source.clone(), inputs, TOOL_TIMEOUT).await?;
    Ok(match result.value {
        Value::String(text) => Value::String(text),
        other => Value::String(python_or_json(&other)),
    })
}

fn python_or_json(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => value.to_string(),
        other => python_text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_schema_comes_from_its_parameters() {
        let schema = object_schema(
            [("city", Some(ValueType::String), None, true), ("days", Some(ValueType::Int), None, false)]
                .into_iter(),
        );
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            })
        );
        assert_eq!(function_name("look up/x"), "look_up_x");
    }
}
