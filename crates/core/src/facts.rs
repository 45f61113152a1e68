//! Facts about the files that nodes name, gathered by `api` before a check: the core opens no file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A parameter of a code node's function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterFacts {
    /// Name.
    pub name: String,
    /// Type word of prompt flow (`int`, `double`, `string`, `list`, …), a connection class name, or absent.
    pub kind: Option<String>,
    /// True if the annotation names a connection class.
    pub is_connection: bool,
    /// True if it has a default.
    pub has_default: bool,
    /// The default, where it is a literal.
    pub default: Option<Value>,
}

/// What a source file declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceFacts {
    /// The file is not there, or outside the flow's reach.
    Missing {
        /// Why.
        reason: String,
    },
    /// The file is there and cannot be read as what it is.
    Broken {
        /// Why.
        message: String,
        /// One-based line.
        line: Option<u32>,
        /// One-based column.
        column: Option<u32>,
    },
    /// A template.
    Template {
        /// Variables it reads and does not set itself.
        variables: Vec<String>,
        /// True if the source has a role line, as a chat template must.
        has_roles: bool,
    },
    /// Python with one tool.
    Python {
        /// Function name.
        function: String,
        /// Its parameters in order.
        parameters: Vec<ParameterFacts>,
        /// True if it takes `**kwargs`.
        takes_rest: bool,
        /// True if its result is streamed.
        is_generator: bool,
    },
    /// Anything else that is there (scripts, prompty files, flows).
    Present,
}

/// Facts by the path that a node names, relative to the flow folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowFacts {
    /// By path.
    pub sources: BTreeMap<String, SourceFacts>,
    /// Names of known connections; `None` when nobody looked.
    pub connections: Option<Vec<String>>,
}
