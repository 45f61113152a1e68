//! Use case: which connections there are, and whether one answers.

use std::time::Instant;

use flowbench_core::chat::{ChatParameters, ChatRequest, Message, ModelInput, Role};
use flowbench_format::connections::SecretValue;
use serde::Serialize;

use crate::approval::Approval;
use crate::error::ApiError;
use crate::settings::RunSettings;
use crate::wiring::Wiring;
use crate::workspace::{ConnectionOrigin, Workspace};

/// A connection in a list.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionRow {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// Where it is written.
    pub origin: ConnectionOrigin,
    /// File.
    pub file: String,
    /// Secrets it needs: field and where the value comes from, never the value.
    pub secrets: Vec<(String, String)>,
}

/// All connections, the built-in ones first.
pub fn list(workspace: &Workspace) -> Vec<ConnectionRow> {
    workspace
        .connections()
        .iter()
        .map(|known| ConnectionRow {
            name: known.entry.name.clone(),
            kind: known.entry.kind.as_str().to_owned(),
            origin: known.origin,
            file: workspace.shown(&known.file),
            secrets: known
                .entry
                .secrets
                .iter()
                .map(|(key, value)| {
                    let from = match value {
                        SecretValue::Environment(name) => match std::env::var_os(name) {
                            Some(_) => format!("environment variable {name}, set"),
                            None => format!("environment variable {name}, not set"),
                        },
                        SecretValue::Stored(name) => format!("stored secret {name}"),
                        SecretValue::Literal(_) => "written in the file".to_owned(),
                    };
                    (key.clone(), from)
                })
                .collect(),
        })
        .collect()
}

/// What an endpoint answered.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionTest {
    /// Connection name.
    pub connection: String,
    /// Model asked.
    pub model: String,
    /// How long the answer took.
    pub duration_ms: u64,
    /// The answer, cut.
    pub answer: String,
}

/// Asks a model one short question. The user names the connection, so its host counts as approved.
pub async fn test(workspace: &Workspace, name: &str, model: &str) -> Result<ConnectionTest, ApiError> {
    let wiring = Wiring::new(workspace, &RunSettings::default(), &[])?;
    wiring.allow(&Approval { allows_folder_hosts: true });
    let chat_model = wiring.models().chat_model(name, model)?;
    let request = ChatRequest {
        input: ModelInput::Messages(vec![Message::text(Role::User, "Answer with the word: ready")]),
        parameters: ChatParameters { max_tokens: Some(16), ..ChatParameters::default() },
        tools: Vec::new(),
        tool_choice: None,
        response_format: None,
    };
    let started = Instant::now();
    let reply = chat_model.chat(&request, None).await?;
    Ok(ConnectionTest {
        connection: name.to_owned(),
        model: model.to_owned(),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        answer: reply.message.content_text().chars().take(200).collect(),
    })
}
