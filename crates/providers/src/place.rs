//! Where a model of a connection is found: address, headers and name, by kind of connection.

use flowbench_core::chat::ModelIdentity;
use flowbench_core::connection::{Connection, ConnectionKind};
use flowbench_core::ports::{ModelError, ModelErrorKind};
use flowbench_net::Outbound;

use crate::endpoint::Endpoint;
use crate::vectors::has_none;
use crate::wire::openai::Dialect;

/// OpenAI's own address.
const OPENAI_BASE: &str = "https://api.openai.com/v1";
/// Anthropic's own address.
const ANTHROPIC_BASE: &str = "https://api.anthropic.com";
/// The Anthropic version that gateways and older models speak, and that takes sampling parameters.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// The first Anthropic version that refuses sampling parameters and takes the key as a bearer token.
const ANTHROPIC_WITHOUT_SAMPLING: &str = "2026-10-21";
/// Gemini's own address.
const GEMINI_BASE: &str = "https://generativelanguage.googleapis.com";
/// What Gemini's current client sends; preview features live in `v1beta`.
const GEMINI_VERSION: &str = "v1";
/// Where Ollama listens.
const OLLAMA_BASE: &str = "http://127.0.0.1:11434";

/// Where a model of an OpenAI-like connection is found.
pub(crate) struct Place {
    pub endpoint: Endpoint,
    pub identity: ModelIdentity,
    pub dialect: Dialect,
    /// Between base and route.
    prefix: String,
    /// After the route.
    query: String,
}

impl Place {
    pub fn path(&self, route: &str) -> String {
        format!("{}/{route}{}", self.prefix, self.query)
    }

    pub fn of(outbound: &Outbound, connection: &Connection, model: &str) -> Result<Self, ModelError> {
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

/// Endpoint and name of an Anthropic model, and whether its API version takes sampling parameters.
pub(crate) fn anthropic(
    outbound: &Outbound,
    connection: &Connection,
    model: &str,
) -> Result<(Endpoint, ModelIdentity, bool), ModelError> {
    let base =
        connection.field("base_url").or_else(|| connection.field("api_base")).unwrap_or(ANTHROPIC_BASE);
    let version = connection.field("api_version").unwrap_or(ANTHROPIC_VERSION);
    // Versions are dates, so they compare as texts.
    let takes_sampling = version < ANTHROPIC_WITHOUT_SAMPLING;
    let mut endpoint =
        Endpoint::new(outbound, connection, base.trim_end_matches('/').trim_end_matches("/v1"))
            .header("anthropic-version", version);
    let is_anthropic = endpoint.host() == "api.anthropic.com";
    match connection.secret("api_key") {
        Some(key) if takes_sampling && connection.field("auth_mode") != Some("bearer") => {
            endpoint = endpoint.header("x-api-key", key.reveal());
        }
        Some(key) => endpoint = endpoint.header("authorization", format!("Bearer {}", key.reveal())),
        None if is_anthropic => return Err(keyless(connection, "api_key")),
        None => {}
    }
    if let Some(beta) = connection.field("beta") {
        endpoint = endpoint.header("anthropic-beta", beta);
    }
    let identity = identity("anthropic", connection, model, Some(version), &endpoint);
    Ok((endpoint, identity, takes_sampling))
}

/// Endpoint and name of a Gemini model, and the path of the model.
pub(crate) fn gemini(
    outbound: &Outbound,
    connection: &Connection,
    model: &str,
) -> Result<(Endpoint, ModelIdentity, String), ModelError> {
    let base = connection.field("base_url").or_else(|| connection.field("api_base")).unwrap_or(GEMINI_BASE);
    let version = connection.field("api_version").unwrap_or(GEMINI_VERSION);
    let mut endpoint = Endpoint::new(outbound, connection, base);
    let is_google = endpoint.host() == "generativelanguage.googleapis.com";
    match (connection.secret("access_token"), connection.secret("api_key")) {
        // Vertex: same bodies, and a version that holds project and place.
        (Some(token), _) => endpoint = endpoint.header("authorization", format!("Bearer {}", token.reveal())),
        (None, Some(key)) => endpoint = endpoint.header("x-goog-api-key", key.reveal()),
        (None, None) if is_google => return Err(keyless(connection, "api_key")),
        (None, None) => {}
    }
    let name = model.split('/').map(escape).collect::<Vec<_>>().join("/");
    let path = match name.contains('/') {
        true => format!("/{version}/{name}"),
        false => format!("/{version}/models/{name}"),
    };
    let identity = identity("gcp.gemini", connection, model, Some(version), &endpoint);
    Ok((endpoint, identity, path))
}

/// Endpoint and name of an Ollama model.
pub(crate) fn ollama(outbound: &Outbound, connection: &Connection, model: &str) -> (Endpoint, ModelIdentity) {
    let base = connection.field("base_url").or_else(|| connection.field("api_base")).unwrap_or(OLLAMA_BASE);
    let mut endpoint = Endpoint::new(outbound, connection, base);
    if let Some(key) = connection.secret("api_key") {
        endpoint = endpoint.header("authorization", format!("Bearer {}", key.reveal()));
    }
    let identity = identity("ollama", connection, model, None, &endpoint);
    (endpoint, identity)
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

fn identity(
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

fn required<'a>(connection: &'a Connection, field: &str) -> Result<&'a str, ModelError> {
    connection.field(field).ok_or_else(|| {
        let told = format!("connection `{}` has no `{field}`", connection.name);
        ModelError::new(ModelErrorKind::InvalidRequest, told)
            .with_hint(format!("add `{field}` to the connection"))
    })
}

fn keyless(connection: &Connection, secret: &str) -> ModelError {
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
