//! Connections: endpoints and the secrets they need, secrets in a type that prints as dots.

use std::fmt;

use serde_json::{Map, Value};

/// A value that never shows itself in logs, errors or debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("••••")
    }
}

/// Kinds of connection, by the word in a connection file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionKind {
    /// OpenAI and everything compatible.
    OpenAi,
    /// Azure OpenAI.
    AzureOpenAi,
    /// Serverless endpoint (OpenAI-compatible under `/v1`).
    Serverless,
    /// Anthropic.
    Anthropic,
    /// Gemini.
    Gemini,
    /// Ollama, native protocol.
    Ollama,
    /// Azure AI search.
    CognitiveSearch,
    /// Azure AI services.
    AzureAiServices,
    /// Azure content safety.
    AzureContentSafety,
    /// Form recogniser.
    FormRecognizer,
    /// SerpAPI.
    Serp,
    /// Qdrant.
    Qdrant,
    /// Weaviate.
    Weaviate,
    /// Own keys (`configs` and `secrets`).
    Custom,
    /// A kind this version does not know; kept as written.
    Other(String),
}

impl ConnectionKind {
    /// Reads the word of a connection file; case and `_`/`-` do not matter.
    pub fn parse(word: &str) -> Self {
        let plain: String =
            word.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
        match plain.as_str() {
            "openai" => Self::OpenAi,
            "azureopenai" => Self::AzureOpenAi,
            "serverless" => Self::Serverless,
            "anthropic" => Self::Anthropic,
            "gemini" => Self::Gemini,
            "ollama" => Self::Ollama,
            "cognitivesearch" => Self::CognitiveSearch,
            "azureaiservices" => Self::AzureAiServices,
            "azurecontentsafety" => Self::AzureContentSafety,
            "formrecognizer" => Self::FormRecognizer,
            "serp" => Self::Serp,
            "qdrant" => Self::Qdrant,
            "weaviate" => Self::Weaviate,
            "custom" => Self::Custom,
            _ => Self::Other(word.to_owned()),
        }
    }

    /// The word as connection files write it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::OpenAi => "open_ai",
            Self::AzureOpenAi => "azure_open_ai",
            Self::Serverless => "serverless",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
            Self::CognitiveSearch => "cognitive_search",
            Self::AzureAiServices => "azure_ai_services",
            Self::AzureContentSafety => "azure_content_safety",
            Self::FormRecognizer => "form_recognizer",
            Self::Serp => "serp",
            Self::Qdrant => "qdrant",
            Self::Weaviate => "weaviate",
            Self::Custom => "custom",
            Self::Other(word) => word,
        }
    }

    /// True if an llm node can use it.
    pub fn can_chat(&self) -> bool {
        matches!(
            self,
            Self::OpenAi
                | Self::AzureOpenAi
                | Self::Serverless
                | Self::Anthropic
                | Self::Gemini
                | Self::Ollama
        )
    }
}

/// A connection with its secrets resolved. Never written to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: ConnectionKind,
    /// Plain fields (`base_url`, `api_version`, …); for `custom` the `configs`.
    pub fields: Map<String, Value>,
    /// Secret fields (`api_key`, …); for `custom` the `secrets`.
    pub secrets: Vec<(String, Secret)>,
    /// True if the user vouched for its host: it comes from their own file or from `--connections`.
    pub is_approved: bool,
}

impl Connection {
    /// A plain field as text; empty text counts as absent.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A secret field; an empty one counts as absent.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.iter().find(|(key, value)| key == name && !value.0.is_empty()).map(|(_, value)| value)
    }
}
