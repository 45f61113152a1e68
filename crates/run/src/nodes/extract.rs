//! `extract`: structured content from text; a model may be asked once to repair what does not fit.

use flowbench_core::chat::{ChatParameters, ChatRequest, Message, ModelInput, ResponseFormat, Role};
use flowbench_core::value::python_text;
use flowbench_text::extract::{ExtractConfig, ExtractError, extract};
use serde_json::{Map, Value};

use super::{NodeContext, llm, missing};
use crate::failure::NodeFailure;

pub(super) async fn run(
    context: &NodeContext<'_>,
    connection: Option<&str>,
    inputs: &Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let value = inputs.get("text").filter(|value| !value.is_null()).ok_or_else(|| missing("text"))?;
    let config = ExtractConfig::from_inputs(inputs).map_err(|error| failure(&error))?;
    let error = match extract(&config, value) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let wants_repair = inputs.get("repair") == Some(&Value::Bool(true));
    let (Some(connection), Some(complaint), true) = (connection, error.repair_message(), wants_repair) else {
        return Err(failure(&error));
    };
    context
        .warn("extract-repair", format!("the text did not fit, and a model is asked to repair it: {error}"));
    let schema = inputs.get("schema").cloned();
    let mut question = format!("{complaint}\n\nThis is the text:\n\n{}", python_text(value));
    if let Some(schema) = &schema {
        question.push_str(&format!("\n\nAnswer with JSON after this schema and nothing else:\n\n{schema}"));
    }
    let request = ChatRequest {
        input: ModelInput::Messages(vec![Message::text(Role::User, question)]),
        parameters: ChatParameters { temperature: Some(0.0), ..ChatParameters::default() },
        tools: Vec::new(),
        tool_choice: None,
        response_format: schema.map(|schema| ResponseFormat::JsonSchema {
            name: "extract".to_owned(),
            schema,
            strict: false,
        }),
    };
    let calls = &context.line.shared.calls;
    let reply = calls.chat(&context.scope, connection, &llm::model_choice(inputs), &request, None).await?;
    extract(&config, &Value::String(reply.message.content_text())).map_err(|error| {
        let told = failure(&error);
        NodeFailure { message: format!("{} (after one repair)", told.message), ..told }
    })
}

fn failure(error: &ExtractError) -> NodeFailure {
    NodeFailure::new("extract", error.to_string())
}
