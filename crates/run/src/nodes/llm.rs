//! `llm`: renders a template, asks a model, gives the text of its answer.

use std::collections::BTreeMap;

use flowbench_core::chat::{ChatReply, ChatRequest, FinishReason, Message, ModelInput};
use flowbench_core::check::Api;
use flowbench_prompt::{ChatOptions, MarkedText, MessageFormat, Template, render_chat};
use flowbench_prompt::{LlmInputs, split_inputs};
use serde_json::{Map, Value, json};

use super::prompt::{prompt_results, template, template_failure};
use super::{NodeContext, missing, text};
use crate::calls::ModelChoice;
use crate::failure::NodeFailure;
use crate::line::LineContext;

/// What an llm node's definition says beside its inputs.
pub(super) struct LlmCall<'a> {
    pub template: &'a str,
    pub connection: Option<&'a str>,
    pub api: Api,
    pub style: ChatStyle,
}

/// How values are put into chat messages.
#[derive(Clone, Default)]
pub(super) struct ChatStyle {
    /// How closely a model looks at images.
    pub image_detail: Option<String>,
    /// Lists print one item a line, as in prompt flow's vision tools.
    pub lists_as_lines: bool,
}

/// The model names among a node's inputs.
pub(super) fn model_choice(inputs: &Map<String, Value>) -> ModelChoice {
    let named = |key: &str| text(inputs, key).filter(|name| !name.is_empty()).map(str::to_owned);
    ModelChoice { model: named("model"), deployment_name: named("deployment_name") }
}

pub(super) async fn run(
    context: &NodeContext<'_>,
    call: &LlmCall<'_>,
    inputs: Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let Prepared { connection, choice, request, has_legacy_functions } = prepare(context, call, inputs)?;
    let reply = context
        .line
        .shared
        .calls
        .chat(&context.scope, &connection, &choice, &request, context.sink())
        .await?;
    warn_of_ending(context, &reply);
    Ok(match request.tools.is_empty() {
        true => Value::String(reply.message.content_text()),
        // With tools of its own making the flow gets the whole message, as from prompt flow.
        false => message_map(&reply.message, has_legacy_functions),
    })
}

/// A node's call, ready to be made.
pub(super) struct Prepared {
    pub connection: String,
    pub choice: ModelChoice,
    pub request: ChatRequest,
    /// The flow gave `functions`, and expects `function_call`.
    pub has_legacy_functions: bool,
}

/// Connection, model and request of a node.
pub(super) fn prepare(
    context: &NodeContext<'_>,
    call: &LlmCall<'_>,
    mut inputs: Map<String, Value>,
) -> Result<Prepared, NodeFailure> {
    let connection = match (call.connection, inputs.remove("connection")) {
        (Some(named), _) => named.to_owned(),
        (None, Some(Value::String(named))) => named,
        _ => {
            return Err(missing("connection").hint("or `connection: builtin` for the stand-ins"));
        }
    };
    let choice = model_choice(&inputs);
    for key in ["model", "deployment_name"] {
        inputs.remove(key);
    }
    let template = template(context, call.template)?;
    let split = split(call.api, inputs, template.variables())?;
    let input = match call.api {
        Api::Chat => {
            let results = prompt_results(context);
            ModelInput::Messages(render_messages(
                context.line,
                &template,
                &split.values,
                results,
                call.style.clone(),
            )?)
        }
        Api::Completion => {
            ModelInput::Text(template.render(&split.values).map_err(|error| template_failure(&error))?)
        }
    };
    let mut parameters = split.parameters;
    if call.api == Api::Chat && split.tools.is_empty() && parameters.n == Some(1) {
        // One choice is what every API gives; more are dropped by the provider, visibly.
        parameters.n = None;
    }
    let request = ChatRequest {
        input,
        parameters,
        tools: split.tools,
        tool_choice: split.tool_choice,
        response_format: split.response_format,
    };
    Ok(Prepared { connection, choice, request, has_legacy_functions: split.has_legacy_functions })
}

/// Messages of a template with these values.
pub(super) fn render_messages(
    line: &LineContext,
    template: &Template,
    values: &Map<String, Value>,
    prompt_results: BTreeMap<String, MarkedText>,
    style: ChatStyle,
) -> Result<Vec<Message>, NodeFailure> {
    let options = ChatOptions {
        prompt_results,
        message_format: match line.flow.plan.flow.message_format {
            flowbench_core::flow::MessageFormat::Basic => MessageFormat::Basic,
            flowbench_core::flow::MessageFormat::OpenAiVision => MessageFormat::OpenAiVision,
        },
        images: Some(line.flow.images.as_ref()),
        image_detail: style.image_detail,
        lists_as_lines: style.lists_as_lines,
    };
    render_chat(template, values, &options).map_err(|error| {
        let failure = NodeFailure::new("template", error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Parameters of the API among a node's inputs, and what is left for the template.
pub(super) fn split(
    api: Api,
    inputs: Map<String, Value>,
    variables: &[String],
) -> Result<LlmInputs, NodeFailure> {
    split_inputs(api, inputs, variables).map_err(|error| {
        let failure = NodeFailure::new("llm/parameter", error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Says when an answer is not what it looks like.
pub(super) fn warn_of_ending(context: &NodeContext<'_>, reply: &ChatReply) {
    match reply.finish {
        FinishReason::Length => context.warn("cut-answer", "the answer was cut at the token limit"),
        FinishReason::ContentFilter => {
            let why = reply.refusal.clone().or_else(|| reply.raw_finish.clone()).unwrap_or_default();
            context.warn(
                "withheld-answer",
                format!("the provider withheld the answer, or the model refused: {why}"),
            );
        }
        _ => {}
    }
    for dropped in &reply.dropped {
        context.warn("dropped-parameter", dropped.clone());
    }
}

/// A message in the form in which OpenAI's API gives it.
pub(super) fn message_map(message: &Message, has_legacy_functions: bool) -> Value {
    let calls: Vec<Value> = message
        .tool_calls
        .iter()
        .map(|call| json!({"id": call.id, "function": {"arguments": call.arguments, "name": call.name}, "type": "function"}))
        .collect();
    let mut map = Map::new();
    map.insert(
        "content".to_owned(),
        message.content.as_ref().map_or(Value::Null, |content| json!(content.text())),
    );
    map.insert("role".to_owned(), json!(message.role.as_str()));
    if let (true, Some(call)) = (has_legacy_functions, message.tool_calls.first()) {
        map.insert("function_call".to_owned(), json!({"arguments": call.arguments, "name": call.name}));
    } else if !calls.is_empty() {
        map.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Value::Object(map)
}
