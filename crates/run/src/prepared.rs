//! A plan with its sources read: templates parsed once, scripts at hand, sub-flows prepared as well.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use flowbench_core::facts::FlowFacts;
use flowbench_core::plan::Plan;
use flowbench_prompt::{ImageReader, Template};
use serde_json::{Map, Value};

/// A flow that can be run.
#[derive(Clone)]
pub struct PreparedFlow {
    /// What to do.
    pub plan: Arc<Plan>,
    /// Where Python runs: the flow's folder, or the merged one where the flow includes other files.
    pub folder: PathBuf,
    /// By path.
    pub templates: HashMap<String, Arc<Template>>,
    /// Source text by path.
    pub scripts: HashMap<String, Arc<str>>,
    /// Digest of each source file, for cache keys.
    pub source_digests: HashMap<String, String>,
    /// Flows that nodes or tools call, by path as written.
    pub flows: HashMap<String, Arc<PreparedFlow>>,
    /// What the Python sources declare.
    pub facts: Arc<FlowFacts>,
    /// Digest of definition and sources.
    pub digest: String,
    /// Reads image files that values name.
    pub images: Arc<dyn ImageReader>,
    /// Inputs to take when none are given.
    pub sample: Option<Map<String, Value>>,
    /// True for a prompty: its one output is its result.
    pub has_single_output: bool,
    /// True for a flex flow without declared outputs: a map that its function gives is the outputs.
    pub spreads_output: bool,
    /// Set in workers.
    pub environment: Vec<(String, String)>,
}
