//! Makes models out of connections.

use std::sync::Arc;

use flowbench_core::chat::{ChatReply, ChatRequest, ModelIdentity, ModelInput};
use flowbench_core::connection::{Connection, ConnectionKind};
use flowbench_core::ports::{ChatModel, ChunkSink, Embedder, ModelError, ModelErrorKind, Reranker};
use flowbench_net::Outbound;

use crate::builtin::Builtin;
use crate::endpoint::Endpoint;
use crate::vectors::{OpenAiEmbedder, RerankRoute, has_none};
use crate::wire::completion::Completions;
use crate::wire::openai::{ChatCompletions, Dialect};
use crate::wire::{Remote, Wire};

/// OpenAI's own address.
const OPENAI_BASE: &str = "https://api.openai.com/v1";

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
        let place = Place::of(&self.outbound, connection, model)?;
        let chat: Box<dyn Wire> = Box::new(ChatCompletions {
            path: place.path("chat/completions"),
            model: model.to_owned(),
            dialect: place.dialect,
        });
        let text: Box<dyn Wire> = Box::new(Completions {
            path: place.path("completions"),
            model: model.to_owned(),
            dialect: place.dialect,
        });
        let remote =
            |wire| Remote { endpoint: place.endpoint.clone(), identity: place.identity.clone(), wire };
        Ok(Arc::new(ChatAndText { chat: remote(chat), text: remote(text) }))
    }

    /// An embedder of a connection.
    pub fn embedder(&self, connection: &Connection, model: &str) -> Result<Arc<dyn Embedder>, ModelError> {
        if model.is_empty() {
            return Err(nameless(connection));
        }
        let place = Place::of(&self.outbound, connection, model)?;
        let path = place.path("embeddings");
        Ok(Arc::new(OpenAiEmbedder { endpoint: place.endpoint, identity: place.identity, path }))
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

/// Chat and completion have routes of their own.
struct ChatAndText {
    chat: Remote,
    text: Remote,
}

#[async_trait::async_trait]
impl ChatModel for ChatAndText {
    fn identity(&self) -> ModelIdentity {
        self.chat.identity.clone()
    }

    async fn chat(&self, request: &ChatRequest, sink: Option<ChunkSink>) -> Result<ChatReply, ModelError> {
        match request.input {
            ModelInput::Messages(_) => self.chat.chat(request, sink).await,
            ModelInput::Text(_) => self.text.chat(request, sink).await,
        }
    }
}

/// Where a model of an OpenAI-like connection is found.
struct Place {
    endpoint: Endpoint,
    identity: ModelIdentity,
    dialect: Dialect,
    /// Between base and route.
    prefix: String,
    /// After the route.
    query: String,
}

impl Place {
    fn path(&self, route: &str) -> String {
        format!("{}/{route}{}", self.prefix, self.query)
    }

    fn of(outbound: &Outbound, connection: &Connection, model: &str) -> Result<Self, ModelError> {
        match connection.kind {
            ConnectionKind::OpenAi => Self::open_ai(outbound, connection, model),
            ConnectionKind::Serverless => Self::serverless(outbound, connection, model),
            ConnectionKind::AzureOpenAi => Self::azure(outbound, connection, model),
            _ => Err(has_none(&connection.name, "chat").with_hint(format!(
                "its type is `{}`; use one of open_ai, azure_open_ai, serverless, anthropic, gemini, ollama",
                connection.kind.as_str()
            ))),
        }
    }

    fn open_ai(outbound: &Outbound, connection: &Connection, model: &str) -> Result<Self, ModelError> {
        let base =
            connection.field("base_url").or_else(|| connection.field("api_base")).unwrap_or(OPENAI_BASE);
        let mut endpoint = Endpoint::new(outbound, connection, base);
        let is_openai = endpoint.host() == "api.openai.com";
        match connection.secret("api_key") {
            Some(key) => endpoint = endpoint.header("authorization", format!("Bearer {}", key.reveal())),
            None if is_openai => return Err(keyless(connection, "api_key")),
            // Servers of one's own often want none.
            None => {}
        }
        for (field, header) in [("organization", "OpenAI-Organization"), ("project", "OpenAI-Project")] {
            if let Some(value) = connection.field(field) {
                endpoint = endpoint.header(header, value);
            }
        }
        let provider =
            connection.field("provider").unwrap_or_else(|| provider_of_host(&endpoint.host())).to_owned();
        Ok(Self {
            identity: identity(&provider, connection, model, None, &endpoint),
            dialect: Dialect { is_strict: is_openai, tells_usage_in_streams: true },
            endpoint,
            prefix: String::new(),
            query: String::new(),
        })
    }

    fn serverless(outbound: &Outbound, connection: &Connection, model: &str) -> Result<Self, ModelError> {
        let base = required(connection, "api_base")?.trim_end_matches('/').to_owned();
        let base = if base.ends_with("/v1") { base } else { format!("{base}/v1") };
        let mut endpoint = Endpoint::new(outbound, connection, &base);
        if let Some(key) = connection.secret("api_key") {
            endpoint = endpoint.header("authorization", format!("Bearer {}", key.reveal()));
        }
        Ok(Self {
            identity: identity("azure.ai.inference", connection, model, None, &endpoint),
            dialect: Dialect { is_strict: false, tells_usage_in_streams: true },
            endpoint,
            prefix: String::new(),
            query: String::new(),
        })
    }

    fn azure(outbound: &Outbound, connection: &Connection, model: &str) -> Result<Self, ModelError> {
        let base = required(connection, "api_base")?.trim_end_matches('/').to_owned();
        let version = connection.field("api_version");
        let dated = version.filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
        let mut endpoint = Endpoint::new(outbound, connection, base.trim_end_matches("/openai/v1"));
        endpoint = azure_auth(endpoint, connection)?;
        let (prefix, query) = match (dated, version) {
            (Some(date), _) if !base.ends_with("/openai/v1") => {
                (format!("/openai/deployments/{}", escape(model)), format!("?api-version={}", escape(date)))
            }
            (_, Some("preview")) => ("/openai/v1".to_owned(), "?api-version=preview".to_owned()),
            _ => ("/openai/v1".to_owned(), String::new()),
        };
        // `stream_options` came with the 2024-09 versions; older ones answer 400.
        let tells_usage_in_streams = dated.is_none_or(|date| date >= "2024-09");
        Ok(Self {
            identity: identity("azure.ai.openai", connection, model, version, &endpoint),
            dialect: Dialect { is_strict: true, tells_usage_in_streams },
            endpoint,
            prefix,
            query,
        })
    }
}

/// Key or Entra token, never both.
fn azure_auth(endpoint: Endpoint, connection: &Connection) -> Result<Endpoint, ModelError> {
    let token = ["azure_ad_token", "token", "access_token"].iter().find_map(|name| connection.secret(name));
    let wants_token =
        connection.field("auth_mode").is_some_and(|mode| mode.eq_ignore_ascii_case("meid_token"));
    match (token, connection.secret("api_key")) {
        (Some(token), key) if wants_token || key.is_none() => {
            Ok(endpoint.header("authorization", format!("Bearer {}", token.reveal())))
        }
        (_, Some(key)) if !wants_token => Ok(endpoint.header("api-key", key.reveal())),
        _ => Err(keyless(connection, if wants_token { "azure_ad_token" } else { "api_key" })),
    }
}

pub(crate) fn identity(
    provider: &str,
    connection: &Connection,
    model: &str,
    version: Option<&str>,
    endpoint: &Endpoint,
) -> ModelIdentity {
    ModelIdentity {
        provider: provider.to_owned(),
        connection: connection.name.clone(),
        model: model.to_owned(),
        version: version.map(str::to_owned),
        endpoint: endpoint.origin(),
    }
}

/// Who is behind an OpenAI-like address, by the names of the telemetry conventions.
fn provider_of_host(host: &str) -> &'static str {
    match host {
        "api.openai.com" => "openai",
        "api.mistral.ai" => "mistral_ai",
        "api.deepseek.com" => "deepseek",
        "api.groq.com" => "groq",
        "api.x.ai" => "x_ai",
        "api.perplexity.ai" => "perplexity",
        "api.moonshot.ai" | "api.moonshot.cn" => "moonshot_ai",
        "api.cohere.ai" | "api.cohere.com" => "cohere",
        _ => "openai_compatible",
    }
}

pub(crate) fn required<'a>(connection: &'a Connection, field: &str) -> Result<&'a str, ModelError> {
    connection.field(field).ok_or_else(|| {
        let told = format!("connection `{}` has no `{field}`", connection.name);
        ModelError::new(ModelErrorKind::InvalidRequest, told)
            .with_hint(format!("add `{field}` to the connection"))
    })
}

pub(crate) fn keyless(connection: &Connection, secret: &str) -> ModelError {
    let told = format!("connection `{}` has no `{secret}`", connection.name);
    ModelError::new(ModelErrorKind::Authentication, told)
        .with_hint(format!("set it, or the environment variable that `{secret}` refers to"))
}

/// Percent-encodes a path segment or a query value.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
