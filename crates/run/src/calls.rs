//! Calls to the outside, all through one place: limiter, retries, budget, cost, records, replay and events.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowbench_core::chat::{ChatChunk, ChatReply, ChatRequest, ModelIdentity, RateLimits, Usage};
use flowbench_core::connection::ConnectionKind;
use flowbench_core::event::{Cost, ModelCall, RunEventKind};
use flowbench_core::ids::NodeId;
use flowbench_core::ports::{
    ChatModel, ChunkSink, CodeCall, CodeError, CodeErrorKind, CodeHost, CodeResult, CodeRunner,
    EmbeddingPurpose, Embeddings, Hit, HttpCaller, HttpRequest, HttpResponse, ModelError, ModelErrorKind,
    ModelSource, RetrievalQuery, Retriever,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::budget::Budget;
use crate::events::EventHub;
use crate::failure::NodeFailure;
use crate::limiter::{Backoff, LONGEST_PAUSE, Limiters};
use crate::recording::{CallKind, CallRecord, Recorder, Replayer, call_key};

/// Most attempts while the server says "not now": with the waits of [`Backoff`] about a minute.
const RATE_LIMIT_ATTEMPTS: u32 = 14;
/// Most attempts for other passing failures.
const FAILURE_ATTEMPTS: u32 = 5;

/// Prices of model calls.
pub trait Prices: Send + Sync {
    /// What a call cost; `None` where the model has no known price.
    fn cost(&self, model: &ModelIdentity, usage: &Usage) -> Option<Cost>;
}

/// The outside, as the engine meets it.
#[derive(Clone)]
pub struct Ports {
    /// Models by connection and name.
    pub models: Arc<dyn ModelSource>,
    /// Code nodes.
    pub code: Arc<dyn CodeRunner>,
    /// Requests of http nodes.
    pub http: Arc<dyn HttpCaller>,
    /// Indexes.
    pub retriever: Arc<dyn Retriever>,
    /// Prices.
    pub prices: Arc<dyn Prices>,
}

/// Where in a run a call is made.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Line of a batch.
    pub line: Option<u64>,
    /// The node, for events.
    pub node: NodeId,
    /// Line, flow, node, item and step, for keys: `3/answer[2]#1`.
    pub path: String,
    totals: Arc<Totals>,
    step: Arc<AtomicU64>,
}

/// Tokens and cost of one line.
#[derive(Debug, Default)]
pub struct Totals(Mutex<(Option<Usage>, Option<Cost>)>);

impl Totals {
    /// What has been spent; absent where nobody said.
    pub fn spent(&self) -> (Option<Usage>, Option<Cost>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, usage: Option<&Usage>, cost: Option<&Cost>) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = usage {
            totals.0.get_or_insert_default().add(usage);
        }
        add_cost(&mut totals.1, cost);
    }
}

/// Adds a cost; different currencies cannot be added, and the first one stays.
pub fn add_cost(total: &mut Option<Cost>, cost: Option<&Cost>) {
    match (total, cost) {
        (Some(total), Some(cost)) if total.currency == cost.currency => total.micros += cost.micros,
        (total @ None, Some(cost)) => *total = Some(cost.clone()),
        _ => {}
    }
}

/// Names of a model as a node gives them: files made for prompt flow often carry both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelChoice {
    /// For everything but Azure.
    pub model: Option<String>,
    /// For Azure.
    pub deployment_name: Option<String>,
}

impl ModelChoice {
    /// One name for any connection.
    pub fn named(model: &str) -> Self {
        Self { model: Some(model.to_owned()), deployment_name: None }
    }
}

fn budget_spent(words: &str) -> ModelError {
    ModelError::new(ModelErrorKind::BudgetSpent, format!("the budget of this run is spent: {words}"))
        .with_hint("raise the budget, or resume the run with a new one")
}

impl Scope {
    /// Scope of a node; `totals` are those of its line.
    pub fn new(line: Option<u64>, prefix: &str, node: &NodeId, totals: Arc<Totals>) -> Self {
        let line_text = line.map(|line| line.to_string()).unwrap_or_default();
        let path = format!("{line_text}/{prefix}{node}");
        Self { line, node: node.clone(), path, totals, step: Arc::new(AtomicU64::new(0)) }
    }

    /// Scope of one item of a map.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), step: Arc::new(AtomicU64::new(0)), ..self.clone() }
    }

    /// Number of the next flow that code calls from here.
    pub(crate) fn next_inner(&self) -> u64 {
        self.step.fetch_add(1, Ordering::Relaxed)
    }

    /// Name of the next call made here.
    fn next_call(&self) -> String {
        format!("{}#{}", self.path, self.step.fetch_add(1, Ordering::Relaxed))
    }
}

/// What all calls of one run share.
pub struct Calls {
    /// The outside.
    pub ports: Ports,
    /// Limiters, shared by all runs of an engine.
    pub limiters: Arc<Limiters>,
    /// Budget of the run.
    pub budget: Arc<Budget>,
    /// Events of the run.
    pub hub: Arc<EventHub>,
    /// Keeps calls, where asked.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Answers calls instead of the outside, where asked.
    pub replayer: Option<Arc<dyn Replayer>>,
    /// Spreads waits of different runs apart.
    pub seed: u64,
}

impl Calls {
    /// Asks a model.
    pub async fn chat(
        &self,
        scope: &Scope,
        connection: &str,
        choice: &ModelChoice,
        request: &ChatRequest,
        sink: Option<ChunkSink>,
    ) -> Result<ChatReply, ModelError> {
        let started = Instant::now();
        let asked = match (&self.recorder, &self.replayer) {
            (None, None) => Value::Null,
            _ => json!({"connection": connection, "model": choice, "request": request}),
        };
        let call_name = scope.next_call();
        if let Some(answer) =
            self.replayed::<(ModelIdentity, ChatReply)>(CallKind::Chat, &call_name, &asked)?
        {
            let (identity, reply) = answer?;
            if let Some(sink) = sink {
                sink(ChatChunk::Text { text: reply.message.content_text() });
            }
            let usage_cost = reply.usage.as_ref().and_then(|usage| self.ports.prices.cost(&identity, usage));
            scope.totals.add(reply.usage.as_ref(), usage_cost.as_ref());
            self.tell_call(scope, identity, request, &Ok(reply.clone()), usage_cost, started, 1);
            return Ok(reply);
        }
        let chat_model = self.chat_model(connection, self.model_name(connection, choice)?).await?;
        let identity = chat_model.identity();
        let delivered = Arc::new(AtomicBool::new(false));
        let mut attempts = 0;
        let outcome = self
            .with_retries(scope, &identity.endpoint, &delivered, |attempt| {
                attempts = attempt;
                let chat_model = Arc::clone(&chat_model);
                let sink = sink.clone().map(|sink| {
                    let delivered = Arc::clone(&delivered);
                    let watched: ChunkSink = Arc::new(move |chunk| {
                        delivered.store(true, Ordering::Relaxed);
                        sink(chunk);
                    });
                    watched
                });
                async move {
                    let reply = chat_model.chat(request, sink).await?;
                    let limits = reply.limits;
                    Ok((reply, limits))
                }
            })
            .await;
        let cost = match &outcome {
            Ok(reply) => reply.usage.as_ref().and_then(|usage| self.ports.prices.cost(&identity, usage)),
            Err(_) => None,
        };
        if let Ok(reply) = &outcome {
            self.budget.charge(reply.usage.as_ref(), cost.as_ref());
            scope.totals.add(reply.usage.as_ref(), cost.as_ref());
        }
        self.keep(CallKind::Chat, &call_name, asked, outcome.as_ref().map(|reply| (&identity, reply)));
        self.tell_call(scope, identity, request, &outcome, cost, started, attempts);
        outcome
    }

    /// Asks for vectors.
    pub async fn embed(
        &self,
        scope: &Scope,
        connection: &str,
        choice: &ModelChoice,
        texts: &[String],
        purpose: EmbeddingPurpose,
        dimensions: Option<u32>,
    ) -> Result<Embeddings, ModelError> {
        let asked = json!({
            "connection": connection, "model": choice, "texts": texts, "purpose": purpose, "dimensions": dimensions,
        });
        let call_name = scope.next_call();
        if let Some(answer) = self.replayed::<Embeddings>(CallKind::Embed, &call_name, &asked)? {
            return answer;
        }
        let embedder = self.ports.models.embedder(connection, &self.model_name(connection, choice)?)?;
        let identity = embedder.identity();
        let delivered = AtomicBool::new(false);
        let outcome = self
            .with_retries(scope, &identity.endpoint, &delivered, |_| {
                let embedder = Arc::clone(&embedder);
                async move {
                    let embeddings = embedder.embed(texts, purpose, dimensions).await?;
                    let limits = embeddings.limits;
                    Ok((embeddings, limits))
                }
            })
            .await;
        if let Ok(embeddings) = &outcome {
            let cost = embeddings.usage.as_ref().and_then(|usage| self.ports.prices.cost(&identity, usage));
            self.budget.charge(embeddings.usage.as_ref(), cost.as_ref());
            scope.totals.add(embeddings.usage.as_ref(), cost.as_ref());
        }
        self.keep(CallKind::Embed, &call_name, asked, outcome.as_ref());
        outcome
    }

    /// Asks for scores.
    pub async fn rerank(
        &self,
        scope: &Scope,
        connection: &str,
        choice: &ModelChoice,
        query: &str,
        passages: &[String],
    ) -> Result<Vec<f32>, ModelError> {
        let asked = json!({"connection": connection, "model": choice, "query": query, "passages": passages});
        let call_name = scope.next_call();
        if let Some(answer) = self.replayed::<Vec<f32>>(CallKind::Rerank, &call_name, &asked)? {
            return answer;
        }
        let reranker = self.ports.models.reranker(connection, &self.model_name(connection, choice)?)?;
        let delivered = AtomicBool::new(false);
        let outcome = self
            .with_retries(scope, &reranker.identity().endpoint, &delivered, |_| {
                let reranker = Arc::clone(&reranker);
                async move { Ok((reranker.rerank(query, passages).await?, RateLimits::default())) }
            })
            .await;
        self.keep(CallKind::Rerank, &call_name, asked, outcome.as_ref());
        outcome
    }

    /// Makes one request. `asked` is what is recorded, and found again, in its place: it holds no secret, and no
    /// address that only a connection knows.
    pub async fn http(
        &self,
        scope: &Scope,
        asked: Value,
        request: HttpRequest,
    ) -> Result<HttpResponse, ModelError> {
        let call_name = scope.next_call();
        if let Some(answer) = self.replayed::<HttpResponse>(CallKind::Http, &call_name, &asked)? {
            return answer;
        }
        self.check_budget()?;
        let outcome = self.within_budget(self.ports.http.request(request)).await?;
        self.keep(CallKind::Http, &call_name, asked, outcome.as_ref());
        outcome
    }

    /// Asks an index.
    pub async fn retrieve(&self, scope: &Scope, query: RetrievalQuery) -> Result<Vec<Hit>, ModelError> {
        let asked = json!(&query);
        let call_name = scope.next_call();
        if let Some(answer) = self.replayed::<Vec<Hit>>(CallKind::Retrieve, &call_name, &asked)? {
            return answer;
        }
        self.check_budget()?;
        let outcome = self.within_budget(self.ports.retriever.search(query)).await?;
        self.keep(CallKind::Retrieve, &call_name, asked, outcome.as_ref());
        outcome
    }

    /// Runs code.
    pub async fn code(
        &self,
        scope: &Scope,
        call: CodeCall,
        host: Arc<dyn CodeHost>,
    ) -> Result<CodeResult, NodeFailure> {
        let connections: Vec<&str> =
            call.connections.iter().map(|(_, connection)| connection.name.as_str()).collect();
        let asked = json!({"source": call.source, "inputs": call.inputs, "connections": connections});
        let call_name = scope.next_call();
        let replayed = self.replayed_raw(CallKind::Code, &call_name, &asked);
        if let Some(found) =
            replayed.map_err(|error| CodeError::new(CodeErrorKind::Internal, error.message))?
        {
            let unreadable = |error: serde_json::Error| {
                CodeError::new(
                    CodeErrorKind::Internal,
                    format!("the recording of `{call_name}` cannot be read: {error}"),
                )
            };
            return match found {
                Ok(value) => serde_json::from_value(value).map_err(unreadable),
                Err(value) => Err(serde_json::from_value(value).map_err(unreadable)?),
            }
            .map_err(|error: CodeError| error.into());
        }
        self.check_budget()?;
        let outcome = self.within_budget(self.ports.code.call(call, host)).await?;
        self.keep(CallKind::Code, &call_name, asked, outcome.as_ref());
        Ok(outcome?)
    }

    /// A model by name. Loading a local one takes a while and happens off the async threads.
    pub(crate) async fn chat_model(
        &self,
        connection: &str,
        model: String,
    ) -> Result<Arc<dyn ChatModel>, ModelError> {
        if connection != "local" {
            return self.ports.models.chat_model(connection, &model);
        }
        let models = Arc::clone(&self.ports.models);
        let loading = tokio::task::spawn_blocking(move || models.chat_model("local", &model));
        loading.await.unwrap_or_else(|error| {
            Err(ModelError::new(
                ModelErrorKind::Internal,
                format!("loading the model ended abnormally: {error}"),
            ))
        })
    }

    /// The one of a node's model names that its connection goes by: Azure has deployments, all others models.
    pub fn model_name(&self, connection: &str, choice: &ModelChoice) -> Result<String, ModelError> {
        let missing = || {
            ModelError::new(
                ModelErrorKind::InvalidRequest,
                format!("no model is named for connection `{connection}`"),
            )
            .with_hint("give the node an input `model` (or `deployment_name` for Azure)")
        };
        match (&choice.model, &choice.deployment_name) {
            (None, None) => Err(missing()),
            (Some(model), None) => Ok(model.clone()),
            (None, Some(deployment)) => Ok(deployment.clone()),
            (Some(model), Some(deployment)) => {
                if connection == "local" || connection == "builtin" {
                    return Ok(model.clone());
                }
                match self.ports.models.connection(connection)?.kind {
                    ConnectionKind::AzureOpenAi => Ok(deployment.clone()),
                    _ => Ok(model.clone()),
                }
            }
        }
    }

    /// Stops before a call that the budget no longer covers.
    pub fn check_budget(&self) -> Result<(), ModelError> {
        match self.budget.spent() {
            None => Ok(()),
            Some(words) => Err(budget_spent(&words)),
        }
    }

    /// Waits for work until the time of the run is over; the work ends with it.
    async fn within_budget<T>(&self, work: impl Future<Output = T>) -> Result<T, ModelError> {
        let Some(deadline) = self.budget.deadline() else { return Ok(work.await) };
        tokio::time::timeout_at(deadline, work)
            .await
            .map_err(|_| budget_spent(&self.budget.spent().unwrap_or_else(|| "its time is over".to_owned())))
    }

    async fn with_retries<T, F, Fut>(
        &self,
        scope: &Scope,
        endpoint: &str,
        delivered: &AtomicBool,
        mut attempt: F,
    ) -> Result<T, ModelError>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<(T, RateLimits), ModelError>>,
    {
        let limiter = self.limiters.of(endpoint);
        let mut backoff: Option<Backoff> = None;
        let mut number = 1;
        loop {
            self.check_budget()?;
            let permit = self.within_budget(limiter.acquire()).await??;
            self.check_budget()?;
            let error = match self.within_budget(attempt(number)).await? {
                Ok((value, limits)) => {
                    limiter.succeeded(&limits);
                    return Ok(value);
                }
                Err(error) => error,
            };
            limiter.failed(&error);
            // The place is free for others while this request waits.
            drop(permit);
            let most = match error.kind {
                ModelErrorKind::RateLimited => RATE_LIMIT_ATTEMPTS,
                _ => FAILURE_ATTEMPTS,
            };
            // Text that a reader has seen cannot be taken back by asking again.
            if !error.is_worth_repeating() || number >= most || delivered.load(Ordering::Relaxed) {
                return Err(match number {
                    1 => error,
                    _ => ModelError {
                        message: format!("{} (after {number} attempts)", error.message),
                        ..error
                    },
                });
            }
            let own_wait = backoff
                .get_or_insert_with(|| {
                    let digest = blake3::hash(scope.path.as_bytes());
                    let mut bytes = [0; 8];
                    bytes.copy_from_slice(&digest.as_bytes()[..8]);
                    Backoff::new(self.seed ^ u64::from_le_bytes(bytes))
                })
                .next_wait();
            let wait = error.retry_after.map_or(own_wait, |told| told.min(LONGEST_PAUSE));
            self.hub.emit(
                scope.line,
                RunEventKind::NodeRetried {
                    node: scope.node.clone(),
                    attempt: number,
                    reason: error.message.clone(),
                    wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                },
            );
            self.sleep_within_budget(wait).await?;
            number += 1;
        }
    }

    pub(crate) async fn sleep_within_budget(&self, wait: Duration) -> Result<(), ModelError> {
        match self.budget.deadline() {
            Some(deadline) if Instant::now() + wait >= deadline => {
                tokio::time::sleep_until(deadline).await;
                self.check_budget()
            }
            _ => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
        }
    }

    fn replayed_raw(
        &self,
        kind: CallKind,
        call_name: &str,
        asked: &Value,
    ) -> Result<Option<Result<Value, Value>>, ModelError> {
        let Some(replayer) = &self.replayer else { return Ok(None) };
        match replayer.find(kind, &call_key(kind, call_name, asked)) {
            Some(record) => Ok(Some(record.response)),
            None => Err(ModelError::new(
                ModelErrorKind::NotRecorded,
                format!("the recording holds no answer for `{call_name}` with this question"),
            )
            .with_hint("the flow or its inputs changed since; record it again with `--record FILE`")),
        }
    }

    /// `None` when nothing is replayed; else the recorded result.
    fn replayed<T: DeserializeOwned>(
        &self,
        kind: CallKind,
        call_name: &str,
        asked: &Value,
    ) -> Result<Option<Result<T, ModelError>>, ModelError> {
        let Some(found) = self.replayed_raw(kind, call_name, asked)? else { return Ok(None) };
        let unreadable = |error: serde_json::Error| {
            ModelError::new(
                ModelErrorKind::NotRecorded,
                format!("the recording of `{call_name}` cannot be read: {error}"),
            )
        };
        match found {
            Ok(value) => serde_json::from_value(value).map(|value| Some(Ok(value))).map_err(unreadable),
            Err(value) => serde_json::from_value(value).map(|error| Some(Err(error))).map_err(unreadable),
        }
    }

    fn keep<T: Serialize, E: Serialize>(
        &self,
        kind: CallKind,
        call_name: &str,
        asked: Value,
        outcome: Result<T, E>,
    ) {
        let Some(recorder) = &self.recorder else { return };
        let response = match outcome {
            Ok(value) => Ok(json!(value)),
            Err(error) => Err(json!(error)),
        };
        if let Err(error) = &response
            && error.get("kind") == Some(&json!(ModelErrorKind::BudgetSpent))
        {
            // Nobody answered; a replay has no budget to spend.
            return;
        }
        recorder.record(CallRecord {
            kind,
            key: call_key(kind, call_name, &asked),
            scope: call_name.to_owned(),
            request: asked,
            response,
        });
    }

    #[expect(clippy::too_many_arguments, reason = "one event, told with all its parts")]
    fn tell_call(
        &self,
        scope: &Scope,
        model: ModelIdentity,
        request: &ChatRequest,
        outcome: &Result<ChatReply, ModelError>,
        cost: Option<Cost>,
        started: Instant,
        attempts: u32,
    ) {
        if !self.hub.is_read() {
            return;
        }
        let (reply, error) = match outcome {
            Ok(reply) => (Some(reply.clone()), None),
            Err(error) => (None, Some(error.message.clone())),
        };
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let call = ModelCall { model, request: request.clone(), reply, error, cost, duration_ms, attempts };
        self.hub
            .emit(scope.line, RunEventKind::ModelCalled { node: scope.node.clone(), call: Box::new(call) });
    }
}
