//! The ports: what the engine asks of the outside, implemented by adapters and wired in `api`.
//!
//! Cancellation is dropping the future: an implementation must stop its work when that happens. No port
//! retries by itself; the engine does, and asks the error what is worth repeating.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::chat::{ChatChunk, ChatReply, ChatRequest, ModelIdentity, RateLimits, Usage};
use crate::connection::Connection;

/// Takes pieces of a streamed answer as they come; must not block.
pub type ChunkSink = Arc<dyn Fn(ChatChunk) + Send + Sync>;

/// A model that chats or completes text.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// Who answers.
    fn identity(&self) -> ModelIdentity;

    /// Answers one request. With a sink the answer is streamed into it as well; the whole reply is
    /// returned all the same.
    async fn chat(&self, request: &ChatRequest, sink: Option<ChunkSink>) -> Result<ChatReply, ModelError>;
}

/// Vectors, and the tokens they cost where the provider says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embeddings {
    /// One vector a text, in order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What the answer's headers said of limits.
    #[serde(skip)]
    pub limits: RateLimits,
}

/// What a text is to the search: many models encode both sides differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingPurpose {
    /// A passage to be found.
    Document,
    /// What is asked.
    Query,
}

/// What is known of an embedding model beyond its name; everything absent is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbedderProfile {
    /// Numbers in a vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Most tokens of a text, special tokens included; the rest is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Languages it was trained for, as ISO 639-1 codes. Empty where nobody said: then no language is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Share of vectors in hybrid search that suits this model, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fusion_weight: Option<f64>,
    /// Digest of weights, tokenizer and settings. Absent where a provider may change the model in silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl EmbedderProfile {
    /// True if the model was trained for this language, or nobody said for which.
    pub fn speaks(&self, language: &str) -> bool {
        self.languages.is_empty() || self.languages.iter().any(|known| known == language)
    }
}

/// Cuts texts as a model does. Pure.
pub trait Tokens: Send + Sync {
    /// Digest or name that changes when the cuts do.
    fn digest(&self) -> String;
    /// Byte ranges of the tokens of this text, in order, special tokens left out. Ranges lie on character
    /// boundaries; text that makes no token (blanks) is in none.
    fn spans(&self, text: &str) -> Vec<std::ops::Range<usize>>;
    /// Number of tokens, special tokens left out.
    fn count(&self, text: &str) -> usize {
        self.spans(text).len()
    }
}

/// A model that turns texts into vectors.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Who answers.
    fn identity(&self) -> ModelIdentity;
    /// What is known of it.
    fn profile(&self) -> EmbedderProfile {
        EmbedderProfile::default()
    }
    /// Its tokenizer, where it is on this machine.
    fn tokens(&self) -> Option<Arc<dyn Tokens>> {
        None
    }
    /// One vector a text, in order.
    async fn embed(
        &self,
        texts: &[String],
        purpose: EmbeddingPurpose,
        dimensions: Option<u32>,
    ) -> Result<Embeddings, ModelError>;
}

/// A model that scores passages for a query.
#[async_trait]
pub trait Reranker: Send + Sync {
    /// Who answers.
    fn identity(&self) -> ModelIdentity;
    /// One score a passage, in order; higher is better.
    async fn rerank(&self, query: &str, passages: &[String]) -> Result<Vec<f32>, ModelError>;
}

/// Finds models by connection and name. Errors name what is missing and what to do.
pub trait ModelSource: Send + Sync {
    /// A chat model. `connection` may be `local`, `builtin` or a name from the connections file.
    fn chat_model(&self, connection: &str, model: &str) -> Result<Arc<dyn ChatModel>, ModelError>;
    /// An embedder.
    fn embedder(&self, connection: &str, model: &str) -> Result<Arc<dyn Embedder>, ModelError>;
    /// A reranker.
    fn reranker(&self, connection: &str, model: &str) -> Result<Arc<dyn Reranker>, ModelError>;
    /// A connection by name, secrets resolved, for tools and Python nodes.
    fn connection(&self, name: &str) -> Result<Connection, ModelError>;
    /// Takes a connection that code made at run time; gives the name it can be used by from now on.
    fn adopt(&self, connection: Connection) -> String;
}

/// Why a model gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelErrorKind {
    /// 429 or the like; worth waiting for.
    RateLimited,
    /// The paid quota is used up; final.
    QuotaExhausted,
    /// 5xx, connection refused or reset; may pass.
    Unavailable,
    /// No bytes for too long, or too long in all.
    Timeout,
    /// The answer ended before its terminal marker.
    StreamTruncated,
    /// Key refused.
    Authentication,
    /// Model, deployment or connection does not exist.
    NotFound,
    /// The request is wrong; repeating does not help.
    InvalidRequest,
    /// Prompt longer than the model takes.
    ContextLength,
    /// Prompt blocked by the provider's filter.
    ContentFilter,
    /// The answer cannot be read.
    BadReply,
    /// The host is not allowed by policy or trust.
    Forbidden,
    /// A replay holds no answer to this request.
    NotRecorded,
    /// Money, tokens or time are spent.
    BudgetSpent,
    /// Anything else.
    Internal,
}

/// A model call that failed.
#[derive(Clone, Debug, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ModelError {
    /// Why.
    pub kind: ModelErrorKind,
    /// What, on which thing.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// HTTP status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body as it came (capped), for records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Text that had already arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// How long the server asked to wait (`Retry-After`, `retry-after-ms`, `RetryInfo`).
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// The server's own word on repeating (`x-should-retry`); obeyed above all.
    #[serde(skip)]
    pub should_retry: Option<bool>,
    /// What the headers said of limits.
    #[serde(skip)]
    pub limits: RateLimits,
}

impl ModelError {
    /// An error without status or body.
    pub fn new(kind: ModelErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            status: None,
            raw: None,
            partial: None,
            retry_after: None,
            should_retry: None,
            limits: RateLimits::default(),
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// True if the same request may well succeed later.
    pub fn is_worth_repeating(&self) -> bool {
        if let Some(told) = self.should_retry {
            return told;
        }
        matches!(
            self.kind,
            ModelErrorKind::RateLimited
                | ModelErrorKind::Unavailable
                | ModelErrorKind::Timeout
                | ModelErrorKind::StreamTruncated
        )
    }
}

/// Where a code node's code is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CodeSource {
    /// A Python file with one function marked as tool; path relative to the flow folder.
    PythonFile {
        /// Relative path.
        path: String,
    },
    /// A tool of an installed package, such as `my_package.module.function`.
    PythonPackage {
        /// Dotted name of module and function.
        tool: String,
    },
    /// A flex flow's entry, `module:function` or `module:Class`.
    FlexEntry {
        /// Entry text.
        entry: String,
        /// Arguments of the class, where it is one.
        init: Map<String, Value>,
        /// Aggregate the results of all lines instead of running one.
        aggregate: bool,
    },
    /// JavaScript, already read.
    Script {
        /// The source text.
        code: String,
        /// Name for error messages.
        name: String,
    },
}

/// One call of a code node.
#[derive(Clone)]
pub struct CodeCall {
    /// Node name, for error messages.
    pub node: String,
    /// The flow's folder: module path and working directory.
    pub flow_folder: PathBuf,
    /// Where the code is.
    pub source: CodeSource,
    /// Arguments by parameter name.
    pub inputs: Map<String, Value>,
    /// Arguments that are connections, by parameter name.
    pub connections: Vec<(String, Connection)>,
    /// True in an aggregation node, where metrics may be logged.
    pub is_aggregation: bool,
    /// Environment variables for the code.
    pub environment: Vec<(String, String)>,
    /// When to end the work.
    pub timeout: Option<Duration>,
    /// Takes pieces of a generator's result.
    pub sink: Option<ChunkSink>,
}

/// What a code node gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CodeResult {
    /// The result.
    pub value: Value,
    /// What it printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// What it printed as errors.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// Metrics it logged, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<(String, Value)>,
    /// What the user should know of this call (output cut, result converted).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Why a code node gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeErrorKind {
    /// The code raised or threw.
    Raised,
    /// It ran out of time.
    Timeout,
    /// It broke a limit (memory, output, steps).
    Limit,
    /// Its process died.
    Died,
    /// The source cannot be loaded (syntax, import, no tool).
    Load,
    /// No interpreter, no environment.
    Environment,
    /// Running it has not been approved.
    Forbidden,
    /// Anything else.
    Internal,
}

/// A code call that failed.
#[derive(Clone, Debug, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct CodeError {
    /// Why.
    pub kind: CodeErrorKind,
    /// What, on which thing.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Traceback, the user's frames only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// What it had printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// What it had printed as errors.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

impl CodeError {
    /// An error without traceback or output.
    pub fn new(kind: CodeErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            traceback: None,
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What code may ask of its host while it runs: model calls and templates go through the engine's
/// limits and records. Methods: `chat`, `complete`, `embed`, `render_template`, `parse_chat`, `run_prompty`,
/// `render_prompty`, `run_flow`, `fetch`.
#[async_trait]
pub trait CodeHost: Send + Sync {
    /// Answers one request of the code.
    async fn host_call(&self, method: &str, parameters: Value) -> Result<Value, String>;
}

/// Runs code nodes.
#[async_trait]
pub trait CodeRunner: Send + Sync {
    /// Runs one call. Dropping the future ends the work.
    async fn call(&self, call: CodeCall, host: Arc<dyn CodeHost>) -> Result<CodeResult, CodeError>;
}

/// A request of an `http` node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Address.
    pub url: String,
    /// Headers in order.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// When to give up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// The user vouched for the host: it is that of an approved connection, and may be private.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_approved: bool,
}

/// What an `http` node got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body as text (lossy where it is not).
    pub body: String,
}

/// Makes requests under the outbound policy.
#[async_trait]
pub trait HttpCaller: Send + Sync {
    /// One request; redirects are followed and re-checked.
    async fn request(&self, request: HttpRequest) -> Result<HttpResponse, ModelError>;
}

/// What an index is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RetrievalQuery {
    /// Index name.
    pub index: String,
    /// What is asked.
    pub query: String,
    /// `keyword`, `vector`, `hybrid` or `hybrid+rerank`; absent means the index's own.
    pub mode: Option<String>,
    /// Most hits; absent means the index's own.
    pub top_k: Option<usize>,
    /// Filters by field.
    pub filters: Map<String, Value>,
}

/// Where a hit's text stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HitSource {
    /// Document, as its source names it.
    pub document: String,
    /// One-based page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Headings above it, joined by ` > `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<String>,
    /// First character in the extracted text.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
}

/// A retrieved chunk with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Stable id of the chunk.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Final score.
    pub score: f64,
    /// Where it stands.
    pub source: HitSource,
    /// Rank and score of every stage.
    pub stages: Map<String, Value>,
}

/// Asks indexes.
#[async_trait]
pub trait Retriever: Send + Sync {
    /// The best chunks, best first; ties by chunk id.
    async fn search(&self, query: RetrievalQuery) -> Result<Vec<Hit>, ModelError>;
}

/// Wall clock, passed in so that runs can be repeated.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// Makes identifiers.
pub trait IdSource: Send + Sync {
    /// A new identifier, unique and sortable by time.
    fn new_id(&self) -> String;
}
