//! The engine as host of code: what a Python node asks through prompt flow's libraries goes through the same limits,
//! budget and records as a node's own calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use flowbench_core::chat::{ChatRequest, ModelInput};
use flowbench_core::check::Api;
use flowbench_core::connection::{Connection, ConnectionKind, Secret};
use flowbench_core::event::Status;
use flowbench_core::ports::{CodeHost, EmbeddingPurpose, HttpRequest};
use flowbench_core::value::python_text;
use flowbench_prompt::Template;
use serde_json::{Map, Value, json};

use super::llm::{ChatStyle, message_map};
use super::text;
use crate::calls::{ModelChoice, Scope};
use crate::failure::{BUDGET_SPENT, NodeFailure};
use crate::line::{LineContext, MAX_DEPTH, complete_inputs, run_line};

/// Answers what the code of one node asks.
pub(super) struct EngineHost {
    pub line: LineContext,
    pub scope: Scope,
    /// The budget was spent by a call of the code: a failure of the code that follows ends the run.
    pub spent: OnceLock<NodeFailure>,
}

#[async_trait]
impl CodeHost for EngineHost {
    async fn host_call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        let Value::Object(parameters) = parameters else { return Err("parameters must be a map".to_owned()) };
        let answer = match method {
            "chat" => self.chat(Api::Chat, parameters).await,
            "complete" => self.chat(Api::Completion, parameters).await,
            "embed" => self.embed(&parameters).await,
            "render_template" => render(&parameters),
            "parse_chat" => parse_chat(&parameters),
            "run_prompty" | "run_flow" => self.run_flow(&parameters).await,
            "render_prompty" => self.render_prompty(&parameters),
            "fetch" => self.fetch(&parameters).await,
            "connection" => self.named_connection(&parameters),
            other => Err(NodeFailure::new("code/host", format!("the host does not know `{other}`"))),
        };
        answer.map_err(|failure| {
            let words = match failure.hints.first() {
                Some(hint) => format!("{} ({hint})", failure.message),
                None => failure.message.clone(),
            };
            if failure.code == BUDGET_SPENT {
                self.spent.get_or_init(|| failure);
            }
            words
        })
    }
}

impl EngineHost {
    /// A connection by name, or one that the code made, given whole.
    fn connection(&self, parameters: &Map<String, Value>) -> Result<String, NodeFailure> {
        match parameters.get("connection") {
            Some(Value::String(name)) => Ok(name.clone()),
            Some(Value::Object(given)) => {
                let models = &self.line.shared.calls.ports.models;
                let name = text(given, "name").unwrap_or_default().to_owned();
                // A replay asks nobody, and needs the name only.
                if self.line.shared.calls.replayer.is_some()
                    || (!name.is_empty() && models.connection(&name).is_ok())
                {
                    return Ok(name);
                }
                let secrets = given.get("secrets").and_then(Value::as_object).cloned().unwrap_or_default();
                Ok(models.adopt(Connection {
                    name,
                    kind: ConnectionKind::parse(text(given, "kind").unwrap_or("custom")),
                    fields: given.get("fields").and_then(Value::as_object).cloned().unwrap_or_default(),
                    secrets: secrets
                        .into_iter()
                        .map(|(key, value)| (key, Secret::new(python_text(&value))))
                        .collect(),
                    // Code runs only when it was approved, and so are the hosts it names.
                    is_approved: true,
                }))
            }
            _ => Err(NodeFailure::new("input/missing", "no connection was given")),
        }
    }

    async fn chat(&self, api: Api, parameters: Map<String, Value>) -> Result<Value, NodeFailure> {
        let connection = self.connection(&parameters)?;
        let source = text(&parameters, "prompt").unwrap_or_default();
        let template = Template::parse(source, "prompt")
            .map_err(|error| NodeFailure::new("template", error.to_string()))?;
        let variables = parameters.get("variables").and_then(Value::as_object).cloned().unwrap_or_default();
        let given = parameters.get("parameters").and_then(Value::as_object).cloned().unwrap_or_default();
        let wants_message = given.contains_key("tools") || given.contains_key("functions");
        let split = super::llm::split(api, given, &[])?;
        let input = match api {
            Api::Chat => ModelInput::Messages(super::llm::render_messages(
                &self.line,
                &template,
                &variables,
                BTreeMap::new(),
                ChatStyle::default(),
            )?),
            Api::Completion => ModelInput::Text(
                template
                    .render(&variables)
                    .map_err(|error| NodeFailure::new("template", error.to_string()))?,
            ),
        };
        let request = ChatRequest {
            input,
            parameters: split.parameters,
            tools: split.tools,
            tool_choice: split.tool_choice,
            response_format: split.response_format,
        };
        let choice = ModelChoice::named(text(&parameters, "model").unwrap_or_default());
        let reply = self.line.shared.calls.chat(&self.scope, &connection, &choice, &request, None).await?;
        Ok(match wants_message {
            true => message_map(&reply.message, split.has_legacy_functions),
            false => Value::String(reply.message.content_text()),
        })
    }

    async fn embed(&self, parameters: &Map<String, Value>) -> Result<Value, NodeFailure> {
        let connection = self.connection(parameters)?;
        let choice = ModelChoice::named(text(parameters, "model").unwrap_or_default());
        let (texts, is_one) = match parameters.get("input") {
            Some(Value::Array(items)) => (items.iter().map(python_text).collect(), false),
            Some(one) => (vec![python_text(one)], true),
            None => (Vec::new(), false),
        };
        let calls = &self.line.shared.calls;
        let purpose = EmbeddingPurpose::Document;
        let embeddings = calls.embed(&self.scope, &connection, &choice, &texts, purpose, None).await?;
        Ok(match is_one {
            true => json!(embeddings.vectors.first()),
            false => json!(embeddings.vectors),
        })
    }

    /// A connection that code asks for by name. Its own code was approved, so it may see the secrets.
    fn named_connection(&self, parameters: &Map<String, Value>) -> Result<Value, NodeFailure> {
        let name = text(parameters, "name").unwrap_or_default();
        let connection = self.line.shared.calls.ports.models.connection(name)?;
        let secrets: Map<String, Value> =
            connection.secrets.iter().map(|(key, value)| (key.clone(), json!(value.reveal()))).collect();
        Ok(json!({
            "name": connection.name,
            "kind": connection.kind.as_str(),
            "fields": connection.fields,
            "secrets": secrets,
        }))
    }

    async fn fetch(&self, parameters: &Map<String, Value>) -> Result<Value, NodeFailure> {
        let url = text(parameters, "url").unwrap_or_default().to_owned();
        Err(NodeFailure::new(
            "code/host",
            format!("image `{url}` is an address; this version reads image files and data"),
        )
        .hint("download the image and pass its path"))
    }

    async fn run_flow(&self, parameters: &Map<String, Value>) -> Result<Value, NodeFailure> {
        let path = text(parameters, "path").unwrap_or_default();
        if self.line.depth + 1 >= MAX_DEPTH {
            return Err(NodeFailure::new(
                "flow/too_deep",
                format!("flows call flows more than {MAX_DEPTH} deep"),
            ));
        }
        let flow = self.line.shared.loader.load(Path::new(path), parameters.get("model"))?;
        let given = parameters.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
        let inputs = complete_inputs(&flow, &given)?;
        let outer = self.scope.path.rsplit('/').next().unwrap_or_default();
        let line = LineContext {
            flow,
            prefix: format!("{outer}#{}.", self.scope.next_inner()),
            depth: self.line.depth + 1,
            marks: Arc::default(),
            ..self.line.clone()
        };
        let result = run_line(&line, &inputs).await;
        match (result.status, result.error) {
            (Status::Completed, _) if line.flow.has_single_output => {
                Ok(result.outputs.into_iter().next().map_or(Value::Null, |(_, value)| value))
            }
            (Status::Completed, _) => Ok(Value::Object(result.outputs)),
            (_, Some(error)) => {
                Err(NodeFailure { hints: error.hints, ..NodeFailure::new(&error.code, error.message) })
            }
            (_, None) => Err(NodeFailure::new("flow/failed", format!("`{path}` did not complete"))),
        }
    }

    /// The messages that a prompty would send.
    fn render_prompty(&self, parameters: &Map<String, Value>) -> Result<Value, NodeFailure> {
        let path = text(parameters, "path").unwrap_or_default();
        let flow = self.line.shared.loader.load(Path::new(path), parameters.get("model"))?;
        let given = parameters.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
        let inputs = complete_inputs(&flow, &given)?;
        let Some(template) = flow.templates.values().next() else {
            return Err(NodeFailure::new("source/missing", format!("`{path}` has no template")));
        };
        let messages = super::llm::render_messages(
            &self.line,
            template,
            &inputs,
            BTreeMap::new(),
            ChatStyle::default(),
        )?;
        Ok(json!(messages))
    }
}

fn render(parameters: &Map<String, Value>) -> Result<Value, NodeFailure> {
    let source = text(parameters, "template").unwrap_or_default();
    let variables = parameters.get("variables").and_then(Value::as_object).cloned().unwrap_or_default();
    let failed = |error: flowbench_prompt::TemplateError| NodeFailure::new("template", error.to_string());
    Ok(Value::String(
        Template::parse(source, "template").map_err(failed)?.render(&variables).map_err(failed)?,
    ))
}

fn parse_chat(parameters: &Map<String, Value>) -> Result<Value, NodeFailure> {
    let source = text(parameters, "text").unwrap_or_default();
    let messages = flowbench_prompt::split_roles(source)
        .map_err(|error| NodeFailure::new("template/roles", error.to_string()))?;
    Ok(json!(messages))
}

/// Reads flows and prompty files that code names at run time.
pub trait FlowLoader: Send + Sync {
    /// Reads, checks and prepares; `model` overrides a prompty's model section.
    fn load(
        &self,
        path: &Path,
        model: Option<&Value>,
    ) -> Result<Arc<crate::prepared::PreparedFlow>, NodeFailure>;
}

impl std::fmt::Debug for dyn FlowLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowLoader")
    }
}

/// HTTP requests that a package tool needs.
pub(super) fn get(url: String) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url,
        headers: Vec::new(),
        body: None,
        timeout: None,
        is_approved: false,
    }
}
