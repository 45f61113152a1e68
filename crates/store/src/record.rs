//! What is kept of a batch: its header, one record a line, and its end.

use flowbench_core::chat::Usage;
use flowbench_core::event::{Cost, Failure, ModelCall, Reuse, RunEvent, RunEventKind, Status};
use flowbench_core::ids::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::JournalError;

/// Version of the journal's lines.
pub(crate) const JOURNAL_VERSION: u32 = 1;

/// What a batch is made of. A resumed batch must agree in digests, mapping and variants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalHeader {
    /// Version of the format; set when written.
    pub journal_version: u32,
    /// Run id.
    pub run_id: String,
    /// Flow name, or its path as given.
    pub flow: String,
    /// The flow's folder.
    pub flow_path: String,
    /// Digest of the flow's definition and sources.
    pub flow_digest: String,
    /// Path of the data as given.
    pub data_path: String,
    /// Digest of the data's rows.
    pub data_digest: String,
    /// Column mapping.
    pub mapping: Map<String, Value>,
    /// Variant chosen by node, and other choices that change results.
    pub variants: Map<String, Value>,
    /// Number of lines to run.
    pub line_count: u64,
    /// Milliseconds since 1970.
    pub started_ms: u64,
}

impl JournalHeader {
    /// A header with nothing but names.
    pub fn new(run_id: &str, flow: &str) -> Self {
        Self {
            journal_version: JOURNAL_VERSION,
            run_id: run_id.to_owned(),
            flow: flow.to_owned(),
            ..Self::default()
        }
    }

    /// Says whether a batch described by `now` may go on with what this header began.
    pub fn check_resumable(&self, now: &Self) -> Result<(), JournalError> {
        let changed: Vec<&'static str> = [
            ("the flow", self.flow_digest == now.flow_digest),
            ("the data", self.data_digest == now.data_digest),
            ("the mapping", self.mapping == now.mapping),
            ("the choice of variants", self.variants == now.variants),
        ]
        .into_iter()
        .filter_map(|(name, is_same)| (!is_same).then_some(name))
        .collect();
        if changed.is_empty() {
            return Ok(());
        }
        Err(JournalError::Changed { run: self.run_id.clone(), changed })
    }
}

fn is_empty(map: &Map<String, Value>) -> bool {
    map.is_empty()
}

/// One finished line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineRecord {
    /// Its number in the data.
    pub line_number: u64,
    /// How it ended.
    pub status: Status,
    /// Its inputs, defaults included.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub inputs: Map<String, Value>,
    /// Flow outputs.
    #[serde(default)]
    pub outputs: Map<String, Value>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Failure>,
    /// What it gives to aggregation nodes, by reference.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub aggregation: Map<String, Value>,
    /// When it began, in milliseconds since 1970; 0 where nobody said.
    #[serde(default)]
    pub started_ms: u64,
    /// How long it took.
    #[serde(default)]
    pub duration_ms: u64,
    /// Tokens, where told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Cost, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What its nodes did; kept only where asked for, since it can be much.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeRecord>,
}

impl LineRecord {
    /// A record with nothing but number and status.
    pub fn new(line_number: u64, status: Status) -> Self {
        Self {
            line_number,
            status,
            inputs: Map::new(),
            outputs: Map::new(),
            error: None,
            aggregation: Map::new(),
            started_ms: 0,
            duration_ms: 0,
            usage: None,
            cost: None,
            nodes: Vec::new(),
        }
    }
}

/// What one node did in one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Which.
    pub node: NodeId,
    /// How it ended.
    pub status: Status,
    /// Its resolved inputs.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub inputs: Map<String, Value>,
    /// Its result; null when bypassed or failed.
    #[serde(default)]
    pub output: Value,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// When it began, in milliseconds since 1970.
    #[serde(default)]
    pub started_ms: u64,
    /// How long it took.
    #[serde(default)]
    pub duration_ms: u64,
    /// What it printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// What it printed as errors.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// What it asked of models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ModelCall>,
    /// Whether its result was reused, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
}

impl NodeRecord {
    /// A record with nothing but name and status.
    pub fn new(node: NodeId, status: Status) -> Self {
        Self {
            node,
            status,
            inputs: Map::new(),
            output: Value::Null,
            error: None,
            started_ms: 0,
            duration_ms: 0,
            stdout: String::new(),
            stderr: String::new(),
            calls: Vec::new(),
            reuse: None,
        }
    }
}

/// How a batch ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEnd {
    /// How.
    pub status: Status,
    /// Milliseconds since 1970.
    pub finished_ms: u64,
    /// Metrics of aggregation nodes.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub metrics: Map<String, Value>,
    /// What the aggregation nodes did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeRecord>,
    /// Why it ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// Folds the events of one line into its record, nodes in the order in which they began. What the events do not
/// tell (a line that never ended, say) is told as canceled.
pub fn line_from_events(line_number: u64, events: &[RunEvent]) -> LineRecord {
    let mut line = LineRecord::new(line_number, Status::Canceled);
    for event in events {
        match &event.kind {
            RunEventKind::RunStarted { inputs, .. } => {
                line.inputs = inputs.clone();
                line.started_ms = event.at_ms;
            }
            RunEventKind::RunFinished { status, outputs, error, usage, cost, duration_ms } => {
                line.status = *status;
                line.outputs = outputs.clone();
                line.error = error.clone();
                line.usage = *usage;
                line.cost = cost.clone();
                line.duration_ms = *duration_ms;
            }
            RunEventKind::NodeStarted { node, inputs } => {
                let record = entry(&mut line.nodes, node);
                record.inputs = inputs.clone();
                record.started_ms = event.at_ms;
            }
            RunEventKind::NodeLog { node, stream, text } => {
                let record = entry(&mut line.nodes, node);
                let log = if stream == "stderr" { &mut record.stderr } else { &mut record.stdout };
                log.push_str(text);
            }
            RunEventKind::ModelCalled { node, call } => {
                entry(&mut line.nodes, node).calls.push(call.as_ref().clone());
            }
            RunEventKind::NodeFinished { node, status, output, error, duration_ms, reuse } => {
                let record = entry(&mut line.nodes, node);
                record.status = *status;
                record.output = output.clone();
                record.error = error.clone();
                record.duration_ms = *duration_ms;
                record.reuse = reuse.clone();
                if record.started_ms == 0 {
                    record.started_ms = event.at_ms.saturating_sub(*duration_ms);
                }
            }
            RunEventKind::NodeChunk { .. }
            | RunEventKind::NodeRetried { .. }
            | RunEventKind::Metric { .. }
            | RunEventKind::Warning { .. } => {}
        }
    }
    line
}

fn entry<'n>(nodes: &'n mut Vec<NodeRecord>, node: &NodeId) -> &'n mut NodeRecord {
    let position = match nodes.iter().position(|record| record.node == *node) {
        Some(position) => position,
        None => {
            nodes.push(NodeRecord::new(node.clone(), Status::Canceled));
            nodes.len() - 1
        }
    };
    &mut nodes[position]
}
