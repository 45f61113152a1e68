//! `RunEvent`: the only account of what a run did.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::{ChatReply, ChatRequest, ModelIdentity, Usage};
use crate::ids::{NodeId, RunId};

/// What became of a node, a line or a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Done.
    Completed,
    /// Could not.
    Failed,
    /// Not needed on this path.
    Bypassed,
    /// Stopped by the user, or because something else failed.
    Canceled,
}

/// A failure as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable code, such as `model/rate_limited` or `code/raised`.
    pub code: String,
    /// What, on which thing.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Node it happened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Traceback, raw body and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// Cost in millionths of a currency unit, and where the price came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Millionths of the currency.
    pub micros: u64,
    /// Currency, such as `USD`.
    pub currency: String,
    /// Which price table and date.
    pub source: String,
}

/// One call of a model within a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCall {
    /// Who answered.
    pub model: ModelIdentity,
    /// What was asked.
    pub request: ChatRequest,
    /// What came back, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ChatReply>,
    /// Why nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it cost; absent when the price or the tokens are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// How long it took, waiting for limits included.
    pub duration_ms: u64,
    /// Attempts made, the last included.
    pub attempts: u32,
}

/// Why a node's result was reused, or why it was not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reuse {
    /// True if the result was taken over.
    pub is_reused: bool,
    /// In words: which parts of the key agreed, or which one changed.
    pub reason: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEventKind {
    /// The run began.
    RunStarted {
        /// Flow name.
        flow: String,
        /// Digest of the flow's definition and sources.
        flow_digest: String,
        /// Flow inputs, defaults included.
        inputs: Map<String, Value>,
    },
    /// A node began.
    NodeStarted {
        /// Which.
        node: NodeId,
        /// Its resolved inputs.
        inputs: Map<String, Value>,
    },
    /// A piece of a streamed result.
    NodeChunk {
        /// Which node.
        node: NodeId,
        /// The piece.
        text: String,
        /// True for reasoning rather than answer text.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_reasoning: bool,
    },
    /// What a node printed.
    NodeLog {
        /// Which node.
        node: NodeId,
        /// `stdout` or `stderr`.
        stream: String,
        /// The text.
        text: String,
    },
    /// A node asked a model.
    ModelCalled {
        /// Which node.
        node: NodeId,
        /// The call.
        call: Box<ModelCall>,
    },
    /// A failed attempt that is tried again.
    NodeRetried {
        /// Which node.
        node: NodeId,
        /// Attempt that failed, from 1.
        attempt: u32,
        /// Why.
        reason: String,
        /// Wait before the next.
        wait_ms: u64,
    },
    /// A node ended.
    NodeFinished {
        /// Which.
        node: NodeId,
        /// How.
        status: Status,
        /// Result; null when bypassed.
        output: Value,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Failure>,
        /// How long.
        duration_ms: u64,
        /// Whether the result was reused, and why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reuse: Option<Reuse>,
    },
    /// A metric of an aggregation node.
    Metric {
        /// Which node.
        node: NodeId,
        /// Name.
        name: String,
        /// Value, any JSON.
        value: Value,
    },
    /// Something the user should know.
    Warning {
        /// Rule name.
        rule: String,
        /// What.
        message: String,
        /// Node, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
    },
    /// The run ended.
    RunFinished {
        /// How.
        status: Status,
        /// Flow outputs.
        outputs: Map<String, Value>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Failure>,
        /// Tokens of all calls, where told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// Cost of all calls, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Cost>,
        /// How long.
        duration_ms: u64,
    },
}

/// One event; numbered from 1 within its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Number within the run.
    pub sequence: u64,
    /// Which run.
    pub run: RunId,
    /// Line of a batch, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: RunEventKind,
}
