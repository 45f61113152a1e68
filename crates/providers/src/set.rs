//! Makes models out of connections.

use std::sync::Arc;

use flowbench_core::connection::{Connection, ConnectionKind};
use flowbench_core::ports::{ChatModel, Embedder, ModelError, ModelErrorKind, Reranker};
use flowbench_net::Outbound;

use crate::builtin::Builtin;
use crate::place::{self, Place};
use crate::remote::Remote;
use crate::vectors::{GeminiEmbedder, OllamaEmbedder, OpenAiEmbedder, RerankRoute, has_none};
use crate::wire::Wire;
use crate::wire::anthropic::Messages;
use crate::wire::completion::Completions;
use crate::wire::gemini::GenerateContent;
use crate::wire::ollama::OllamaChat;
use crate::wire::openai::ChatCompletions;
use crate::wire::responses::Responses;

/// All providers over one outbound client.
#[derive(Clone)]
pub struct ProviderSet {
    outbound: Outbound,
    builtin: Builtin,
}

impl ProviderSet {
    /// Providers that call out through this client.
    pub fn new(outbound: Outbound) -> Self {
        Self { outbound, builtin: Builtin::default() }
    }

    /// The same, with stand-ins that draw from this seed.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { builtin: Builtin::new(seed), ..self }
    }

    /// The stand-ins of connection `builtin`.
    pub fn builtin(&self) -> &Builtin {
        &self.builtin
    }

    /// A chat model of a connection. Asks nothing of the server yet; fails if the connection lacks what its kind
    /// needs.
    pub fn chat_model(&self, connection: &Connection, model: &str) -> Result<Arc<dyn ChatModel>, ModelError> {
        if model.is_empty() {
            return Err(nameless(connection));
        }
        let outbound = &self.outbound;
        let model_name = model.to_owned();
        let mut text: Option<Box<dyn Wire>> = None;
        let (endpoint, identity, chat): (_, _, Box<dyn Wire>) = match connection.kind {
            ConnectionKind::Anthropic => {
                let (endpoint, identity, takes_sampling) = place::anthropic(outbound, connection, model)?;
                (endpoint, identity, Box::new(Messages { model: model_name, takes_sampling }))
            }
            ConnectionKind::Gemini => {
                let (endpoint, identity, path) = place::gemini(outbound, connection, model)?;
                (endpoint, identity, Box::new(GenerateContent { path, model: model_name }))
            }
            ConnectionKind::Ollama => {
                let (endpoint, identity) = place::ollama(outbound, connection, model);
                let context_length = context_length(connection);
                (endpoint, identity, Box::new(OllamaChat { model: model_name, context_length }))
            }
            _ => {
                let place = Place::of(outbound, connection, model)?;
                let dialect = place.dialect;
                let chat: Box<dyn Wire> = match connection.field("api") {
                    Some("responses") => {
                        Box::new(Responses { path: place.path("responses"), model: model.to_owned() })
                    }
                    _ => Box::new(ChatCompletions {
                        path: place.path("chat/completions"),
                        model: model.to_owned(),
                        dialect,
                    }),
                };
                text = Some(Box::new(Completions {
                    path: place.path("completions"),
                    model: model_name,
                    dialect,
                }));
                (place.endpoint, place.identity, chat)
            }
        };
        Ok(Arc::new(Remote { endpoint, identity, chat, text }))
    }

    /// An embedder of a connection.
    pub fn embedder(&self, connection: &Connection, model: &str) -> Result<Arc<dyn Embedder>, ModelError> {
        if model.is_empty() {
            return Err(nameless(connection));
        }
        let outbound = &self.outbound;
        match connection.kind {
            ConnectionKind::Anthropic => Err(has_none(&connection.name, "embeddings")),
            ConnectionKind::Gemini => {
                let (endpoint, identity, path) = place::gemini(outbound, connection, model)?;
                Ok(Arc::new(GeminiEmbedder { endpoint, identity, path }))
            }
            ConnectionKind::Ollama => {
                let (endpoint, identity) = place::ollama(outbound, connection, model);
                Ok(Arc::new(OllamaEmbedder { endpoint, identity }))
            }
            _ => {
                let place = Place::of(outbound, connection, model)?;
                let path = place.path("embeddings");
                Ok(Arc::new(OpenAiEmbedder { endpoint: place.endpoint, identity: place.identity, path }))
            }
        }
    }

    /// A reranker of a connection.
    pub fn reranker(&self, connection: &Connection, model: &str) -> Result<Arc<dyn Reranker>, ModelError> {
        match connection.kind {
            ConnectionKind::OpenAi | ConnectionKind::Serverless => {
                let place = Place::of(&self.outbound, connection, model)?;
                let path = place.path("rerank");
                Ok(Arc::new(RerankRoute { endpoint: place.endpoint, identity: place.identity, path }))
            }
            _ => Err(has_none(&connection.name, "reranking")),
        }
    }
}

fn nameless(connection: &Connection) -> ModelError {
    let wanted = if connection.kind == ConnectionKind::AzureOpenAi { "deployment_name" } else { "model" };
    ModelError::new(
        ModelErrorKind::InvalidRequest,
        format!("no model is named for connection `{}`", connection.name),
    )
    .with_hint(format!("set `{wanted}`"))
}

/// Context length asked of Ollama: the connection's `num_ctx`, else enough for a page of passages and an answer.
fn context_length(connection: &Connection) -> u64 {
    const PAGES: u64 = 8192;
    let field = connection.fields.get("num_ctx");
    field.and_then(|length| length.as_u64().or_else(|| length.as_str()?.parse().ok())).unwrap_or(PAGES)
}
