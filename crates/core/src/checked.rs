//! A flow whose names resolve: what a check makes of a draft, and a plan is made from.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::Value;

use crate::finding::Place;
use crate::flow::{Comparison, ForEach, MessageFormat, RetryPolicy};
use crate::ids::NodeId;
use crate::ports::CodeSource;
use crate::reference::PathStep;
use crate::value::ValueType;

/// Where an input's value comes from, names resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Binding {
    /// Written in the flow.
    Literal(Value),
    /// A flow input.
    Input(String),
    /// Result of a node (by index into [`CheckedFlow::nodes`]), or a part of it.
    Node {
        /// Index of the node.
        node: usize,
        /// Steps into its result.
        path: Vec<PathStep>,
    },
}

/// `chat` or `completion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Messages.
    Chat,
    /// Text.
    Completion,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Asks a model with a rendered template.
    Llm {
        /// Template path.
        template: String,
        /// Connection name; absent means that none was named.
        connection: Option<String>,
        /// Which API.
        api: Api,
        /// Tools as written (flows or Python nodes the model may call).
        tools: Option<Value>,
        /// Most rounds of calling tools.
        max_steps: u32,
    },
    /// Renders a template.
    Prompt {
        /// Template path.
        template: String,
    },
    /// Runs Python: a file or a package tool.
    Python {
        /// Where the code is.
        source: CodeSource,
    },
    /// A package tool that takes a template.
    CustomLlm {
        /// Package tool.
        tool: String,
        /// Template path.
        template: String,
    },
    /// Runs JavaScript.
    Script {
        /// Source path.
        path: String,
    },
    /// Asks an index.
    Retrieve,
    /// Vectors for texts.
    Embed {
        /// Connection name.
        connection: Option<String>,
    },
    /// Reorders passages.
    Rerank {
        /// Connection name.
        connection: Option<String>,
    },
    /// One request.
    Http,
    /// Checks text.
    Guard {
        /// Connection of a remote checker, where one is named.
        connection: Option<String>,
    },
    /// Calls another flow.
    Flow {
        /// Folder or file, relative to the flow folder.
        path: String,
    },
    /// Structured content from text.
    Extract {
        /// Connection for the repair try.
        connection: Option<String>,
    },
}

impl NodeKind {
    /// The type word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Llm { .. } => "llm",
            Self::Prompt { .. } => "prompt",
            Self::Python { .. } => "python",
            Self::CustomLlm { .. } => "custom_llm",
            Self::Script { .. } => "script",
            Self::Retrieve => "retrieve",
            Self::Embed { .. } => "embed",
            Self::Rerank { .. } => "rerank",
            Self::Http => "http",
            Self::Guard { .. } => "guard",
            Self::Flow { .. } => "flow",
            Self::Extract { .. } => "extract",
        }
    }

    /// Path of the node's own source file, where it has one.
    pub fn source_path(&self) -> Option<&str> {
        match self {
            Self::Llm { template, .. } | Self::Prompt { template } | Self::CustomLlm { template, .. } => {
                Some(template)
            }
            Self::Python { source: CodeSource::PythonFile { path } }
            | Self::Script { path }
            | Self::Flow { path } => Some(path),
            _ => None,
        }
    }
}

/// The type words a node may have.
pub const NODE_TYPES: [&str; 12] = [
    "llm",
    "prompt",
    "python",
    "custom_llm",
    "script",
    "retrieve",
    "embed",
    "rerank",
    "http",
    "guard",
    "flow",
    "extract",
];

/// Default of an llm node's `max_steps`: rounds of tool calls before the node gives up.
pub const DEFAULT_MAX_STEPS: u32 = 8;

/// Condition, names resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedActivate {
    /// What is compared.
    pub when: Binding,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub with: Value,
}

/// Map over a list, names resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedForEach {
    /// The list.
    pub items: Binding,
    /// Everything else as written.
    pub settings: ForEach,
}

/// A node whose names resolve.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedNode {
    /// Name.
    pub id: NodeId,
    /// What it does.
    pub kind: NodeKind,
    /// Inputs; null and empty-text literals are gone.
    pub inputs: IndexMap<String, Binding>,
    /// Parameters that have a default and may be left out when their source was bypassed.
    pub optional: BTreeSet<String>,
    /// Parameters that take a connection, whose value is its name.
    pub connection_parameters: BTreeSet<String>,
    /// Condition.
    pub activate: Option<CheckedActivate>,
    /// Map over a list.
    pub for_each: Option<CheckedForEach>,
    /// Runs once after all lines.
    pub is_aggregation: bool,
    /// Tries again.
    pub retry: Option<RetryPolicy>,
    /// Seconds.
    pub timeout: Option<f64>,
    /// Whether its result may be reused; absent means that the kind of node decides.
    pub cache: Option<bool>,
    /// True if an llm node calls it as a tool: it does not run by itself.
    pub is_tool: bool,
    /// Indexes of nodes it waits for, each once.
    pub dependencies: Vec<usize>,
    /// Where it stands.
    pub place: Place,
}

/// A flow input, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedInput {
    /// Type.
    pub kind: ValueType,
    /// Default.
    pub default: Option<Value>,
    /// The question of a chat.
    pub is_chat_input: bool,
    /// The history of a chat.
    pub is_chat_history: bool,
}

/// A flow output, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedOutput {
    /// Type, where one is written and known.
    pub kind: Option<ValueType>,
    /// Where its value comes from.
    pub binding: Binding,
    /// The answer of a chat.
    pub is_chat_output: bool,
    /// Only for evaluation: not served.
    pub is_evaluation_only: bool,
}

/// A flow that can be planned.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedFlow {
    /// Name.
    pub name: String,
    /// Inputs.
    pub inputs: IndexMap<String, CheckedInput>,
    /// Outputs; those that point at aggregation nodes are gone.
    pub outputs: IndexMap<String, CheckedOutput>,
    /// Nodes in file order.
    pub nodes: Vec<CheckedNode>,
    /// Indexes of `nodes`, each after all it waits for.
    pub order: Vec<usize>,
    /// Image wire form.
    pub message_format: MessageFormat,
    /// Set before the run.
    pub environment_variables: IndexMap<String, Value>,
}

impl CheckedFlow {
    /// Index of a node by name.
    pub fn node_index(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id.as_str() == name)
    }

    /// The input that takes the question of a chat.
    pub fn chat_input(&self) -> Option<&str> {
        self.inputs.iter().find(|(_, input)| input.is_chat_input).map(|(name, _)| name.as_str())
    }

    /// The input that takes the history of a chat.
    pub fn chat_history(&self) -> Option<&str> {
        self.inputs.iter().find(|(_, input)| input.is_chat_history).map(|(name, _)| name.as_str())
    }

    /// The output that holds the answer of a chat.
    pub fn chat_output(&self) -> Option<&str> {
        self.outputs.iter().find(|(_, output)| output.is_chat_output).map(|(name, _)| name.as_str())
    }
}
