//! Fakes of the outside for tests: http nodes get what their address says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flowbench_core::chat::{ModelIdentity, Usage};
use flowbench_core::check::check_flow;
use flowbench_core::connection::Connection;
use flowbench_core::event::Cost;
use flowbench_core::facts::FlowFacts;
use flowbench_core::flow::{FlowDraft, Places};
use flowbench_core::ids::RunId;
use flowbench_core::plan::{Plan, PlanOptions};
use flowbench_core::ports::{
    ChatModel, Clock, CodeCall, CodeError, CodeErrorKind, CodeHost, CodeResult, CodeRunner, Embedder, Hit,
    HttpCaller, HttpRequest, HttpResponse, ModelError, ModelErrorKind, ModelSource, Reranker, RetrievalQuery,
    Retriever,
};
use flowbench_prompt::{ImageReader, Template};
use serde_json::{Map, Value};

use crate::budget::{Budget, BudgetLimits};
use crate::calls::{Calls, Ports, Prices};
use crate::events::EventHub;
use crate::failure::NodeFailure;
use crate::limiter::Limiters;
use crate::line::RunShared;
use crate::nodes::FlowLoader;
use crate::prepared::PreparedFlow;

struct Outside;

fn absent() -> ModelError {
    ModelError::new(ModelErrorKind::NotFound, "not part of this test")
}

impl ModelSource for Outside {
    fn chat_model(&self, _: &str, _: &str) -> Result<Arc<dyn ChatModel>, ModelError> {
        Err(absent())
    }
    fn embedder(&self, _: &str, _: &str) -> Result<Arc<dyn Embedder>, ModelError> {
        Err(absent())
    }
    fn reranker(&self, _: &str, _: &str) -> Result<Arc<dyn Reranker>, ModelError> {
        Err(absent())
    }
    fn connection(&self, _: &str) -> Result<Connection, ModelError> {
        Err(absent())
    }
    fn adopt(&self, connection: Connection) -> String {
        connection.name
    }
}

#[async_trait]
impl CodeRunner for Outside {
    async fn call(&self, _: CodeCall, _: Arc<dyn CodeHost>) -> Result<CodeResult, CodeError> {
        Err(CodeError::new(CodeErrorKind::Environment, "not part of this test"))
    }
}

#[async_trait]
impl Retriever for Outside {
    async fn search(&self, _: RetrievalQuery) -> Result<Vec<Hit>, ModelError> {
        Err(absent())
    }
}

#[async_trait]
impl HttpCaller for Outside {
    /// `after:N` answers after so many seconds; `spent` fails as a spent budget does.
    async fn request(&self, request: HttpRequest) -> Result<HttpResponse, ModelError> {
        match request.url.strip_prefix("after:").and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None if request.url == "spent" => {
                return Err(ModelError::new(ModelErrorKind::BudgetSpent, "spent"));
            }
            None => return Err(absent()),
        }
        Ok(HttpResponse { status: 200, headers: Vec::new(), body: "\"done\"".to_owned() })
    }
}

impl Prices for Outside {
    fn cost(&self, _: &ModelIdentity, _: &Usage) -> Option<Cost> {
        None
    }
}

impl Clock for Outside {
    fn now_ms(&self) -> u64 {
        0
    }
}

impl ImageReader for Outside {
    fn read_image(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("not part of this test".to_owned())
    }
}

impl FlowLoader for Outside {
    fn load(&self, _: &Path, _: Option<&Value>) -> Result<Arc<PreparedFlow>, NodeFailure> {
        Err(absent().into())
    }
}

/// What the lines of a run share, over the fakes.
pub(crate) fn shared(limits: BudgetLimits) -> Arc<RunShared> {
    let outside = Arc::new(Outside);
    let ports = Ports {
        models: Arc::clone(&outside) as _,
        code: Arc::clone(&outside) as _,
        http: Arc::clone(&outside) as _,
        retriever: Arc::clone(&outside) as _,
        prices: Arc::clone(&outside) as _,
    };
    let calls = Calls {
        ports,
        limiters: Arc::new(Limiters::new(4)),
        budget: Arc::new(Budget::new(limits)),
        hub: EventHub::new(RunId("test".to_owned()), Arc::clone(&outside) as _, Vec::new()),
        recorder: None,
        replayer: None,
        seed: 0,
    };
    Arc::new(RunShared {
        calls: Arc::new(calls),
        cache: None,
        repeat: 0,
        is_streaming: false,
        loader: outside,
    })
}

/// A flow from its definition, with its templates by path.
pub(crate) fn flow(
    definition: &Value,
    templates: &[(&str, &str)],
    options: &PlanOptions,
) -> Arc<PreparedFlow> {
    let (draft, _) = FlowDraft::read(definition, Places::default());
    let outcome = check_flow(&draft, "test", &FlowFacts::default());
    let checked = outcome.flow.unwrap_or_else(|| panic!("{:?}", outcome.findings));
    let templates = templates
        .iter()
        .map(|(path, text)| ((*path).to_owned(), Arc::new(Template::parse(text, path).unwrap())))
        .collect();
    Arc::new(PreparedFlow {
        plan: Arc::new(Plan::new(Arc::new(checked), options).unwrap()),
        folder: PathBuf::new(),
        templates,
        scripts: HashMap::new(),
        source_digests: HashMap::new(),
        flows: HashMap::new(),
        facts: Arc::default(),
        digest: String::new(),
        images: Arc::new(Outside),
        sample: None,
        has_single_output: false,
        spreads_output: false,
        environment: Vec::new(),
    })
}

/// Inputs of a line.
pub(crate) fn inputs(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}
