//! Python nodes: warm worker processes that import a flow's sources once and answer call after call.
//!
//! A worker belongs to one interpreter, flow folder and set of environment variables. It is replaced when
//! it dies, runs out of time, breaks a limit, or when a file it imported has changed. What a node prints
//! never meets the protocol: that runs over a socket of its own.

mod capture;
mod frames;
mod process;
mod shim;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use flowbench_core::ports::{CodeCall, CodeError, CodeErrorKind, CodeHost, CodeResult};
use tokio::sync::{OnceCell, Semaphore};

use crate::environment;
use crate::interpreter::{self, Interpreter};
use capture::Printed;
use frames::WorkerFailure;
use process::{Answer, Broken, Slot, Worker, WorkerKey};

/// The only key of an input that another node streamed, with the list of its pieces. The code gets text
/// that iterates over them, because prompt flow hands it the generator itself.
pub const PIECES_KEY: &str = "flowbench.pieces";

/// How Python nodes run.
#[derive(Clone, Debug)]
pub struct PythonSettings {
    /// Interpreter to use; absent means `FLOWBENCH_PYTHON`, the flow's own environment, `python3`, `python`.
    pub interpreter: Option<PathBuf>,
    /// Where environments made from `requirements.txt` live (`.flowbench`); absent means none is looked for.
    pub state_folder: Option<PathBuf>,
    /// Calls at a time, and so processes kept.
    pub max_workers: usize,
    /// Bytes kept of each of standard output and standard error of a call.
    pub max_output_bytes: usize,
    /// Bytes of JSON that a result may have.
    pub max_result_bytes: usize,
    /// Processes that one call may have running.
    pub max_processes: usize,
    /// Address space of a worker, where limited.
    pub memory_bytes: Option<u64>,
    /// True to import the real `promptflow` package instead of the stand-in.
    pub use_installed_promptflow: bool,
}

impl Default for PythonSettings {
    fn default() -> Self {
        Self {
            interpreter: None,
            state_folder: None,
            max_workers: std::thread::available_parallelism().map_or(4, |count| count.get().clamp(4, 16)),
            max_output_bytes: 1024 * 1024,
            max_result_bytes: 64 * 1024 * 1024,
            max_processes: 256,
            memory_bytes: None,
            use_installed_promptflow: false,
        }
    }
}

/// Warm workers, shared by all runs of a process.
pub struct PythonPool {
    settings: PythonSettings,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Worker>>,
    found: OnceCell<Interpreter>,
}

impl PythonPool {
    /// A pool without processes; they start with the first calls.
    pub fn new(settings: PythonSettings) -> Self {
        let slots = Arc::new(Semaphore::new(settings.max_workers.max(1)));
        Self { settings, slots, idle: Mutex::new(Vec::new()), found: OnceCell::new() }
    }

    /// Runs one Python call. Dropping the future ends the process that works on it.
    pub async fn call(&self, call: &CodeCall, host: &Arc<dyn CodeHost>) -> Result<CodeResult, CodeError> {
        let slot = Slot::take(&self.slots).await.ok_or_else(|| {
            CodeError::new(
                CodeErrorKind::Internal,
                format!("node `{}`: the worker pool is closed", call.node),
            )
        })?;
        let key = self.key(call).await?;
        // A worker that turns out stale or dead before it began is replaced; a new one is not retried.
        while let Some(mut worker) = self.take_idle(&key) {
            match worker.call(call, host, &slot).await {
                Err(Broken::Stale | Broken::Ended { has_started: false }) => worker.kill().await,
                ended => return self.conclude(call, worker, ended).await,
            }
        }
        let mut worker = Worker::boot(key, &self.settings).await.map_err(|reason| {
            let message = format!("node `{}`: no Python worker could be started: {reason}", call.node);
            CodeError::new(CodeErrorKind::Environment, message)
        })?;
        let ended = worker.call(call, host, &slot).await;
        self.conclude(call, worker, ended).await
    }

    /// Ends all idle workers, such as after an environment was made anew.
    pub fn clear(&self) {
        self.idle().clear();
    }

    async fn key(&self, call: &CodeCall) -> Result<WorkerKey, CodeError> {
        let on_node = |message: String| CodeError::new(CodeErrorKind::Environment, message);
        let flow_folder = tokio::fs::canonicalize(&call.flow_folder).await.map_err(|error| {
            let folder = call.flow_folder.display();
            on_node(format!("node `{}`: flow folder `{folder}` cannot be opened: {error}", call.node))
        })?;
        let find = || interpreter::find(self.settings.interpreter.as_deref());
        let found = self.found.get_or_try_init(find).await.map_err(|error| {
            let hint = error.hint();
            on_node(format!("node `{}`: {error}", call.node)).with_hint(hint)
        })?;
        let own = match &self.settings.state_folder {
            Some(state) => environment::ready_interpreter(state, &flow_folder, found).await,
            None => None,
        };
        let mut environment = call.environment.clone();
        environment.sort();
        Ok(WorkerKey { interpreter: own.unwrap_or_else(|| found.path.clone()), flow_folder, environment })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker used last: its memory is warm and the others may be trimmed. Makes room for a new one.
    fn take_idle(&self, key: &WorkerKey) -> Option<Worker> {
        let mut idle = self.idle();
        if let Some(at) = idle.iter().rposition(|worker| worker.key == *key) {
            return Some(idle.remove(at));
        }
        let busy = self.settings.max_workers.saturating_sub(self.slots.available_permits());
        let room = self.settings.max_workers.saturating_sub(busy);
        let surplus = idle.len().saturating_sub(room);
        idle.drain(..surplus);
        None
    }

    async fn conclude(
        &self,
        call: &CodeCall,
        mut worker: Worker,
        ended: Result<Answer, Broken>,
    ) -> Result<CodeResult, CodeError> {
        let node = &call.node;
        let broken = match ended {
            Ok(answer) => {
                let printed = worker.printed().await;
                self.idle().push(worker);
                return settle(node, answer, printed);
            }
            Err(broken) => broken,
        };
        let error = match broken {
            Broken::Ended { .. } | Broken::Stale => {
                let ending = worker.end().await;
                let message = format!("node `{node}`: the Python process {ending} while it ran");
                CodeError::new(CodeErrorKind::Died, message)
                    .with_hint("look for `os._exit`, native code that crashes, or too little memory")
            }
            Broken::Limit(what) => {
                worker.kill().await;
                CodeError::new(CodeErrorKind::Limit, format!("node `{node}`: {what}"))
            }
            Broken::TimedOut(limit) => {
                worker.kill().await;
                let message = format!("node `{node}` gave no result within {limit:?}; its process was ended");
                CodeError::new(CodeErrorKind::Timeout, message)
                    .with_hint("give the node a longer `timeout`, or find out what it waits for")
            }
        };
        let (stdout, stderr) = worker.printed().await;
        Err(CodeError { stdout: stdout.text, stderr: stderr.text, ..error })
    }
}

fn settle(node: &str, answer: Answer, printed: (Printed, Printed)) -> Result<CodeResult, CodeError> {
    let (stdout, stderr) = printed;
    match answer {
        Answer::Value { value, metrics, mut warnings } => {
            for (name, stream) in [("standard output", &stdout), ("standard error", &stderr)] {
                if let Some(total) = stream.cut_from {
                    warnings.push(format!("{name} had {total} bytes and was cut"));
                }
            }
            Ok(CodeResult { value, stdout: stdout.text, stderr: stderr.text, metrics, warnings })
        }
        Answer::Failure(failure) => {
            Err(CodeError { stdout: stdout.text, stderr: stderr.text, ..raised(node, failure) })
        }
    }
}

fn raised(node: &str, failure: WorkerFailure) -> CodeError {
    let kind = match failure.kind.as_str() {
        "load" => CodeErrorKind::Load,
        "limit" => CodeErrorKind::Limit,
        _ => CodeErrorKind::Raised,
    };
    let mut message = format!("node `{node}`: ");
    if !failure.own {
        message.push_str(&failure.exception);
        if !failure.message.is_empty() {
            message.push_str(": ");
        }
    }
    message.push_str(&failure.message);
    if let (Some(file), false) = (&failure.file, failure.own) {
        message.push_str(&format!(" (`{file}`"));
        if let Some(line) = failure.line {
            message.push_str(&format!(", line {line}"));
        }
        message.push(')');
    }
    let mut error = CodeError::new(kind, message);
    error.traceback = (!failure.own).then_some(failure.traceback);
    error.hint = failure.missing_module.map(|module| missing_module_hint(&module));
    if !failure.warnings.is_empty() {
        tracing::debug!(node, warnings = ?failure.warnings, "warnings of a failed call");
    }
    error
}

fn missing_module_hint(module: &str) -> String {
    if module == "promptflow" || module.starts_with("promptflow.") {
        return format!(
            "the stand-in for prompt flow's package has no `{module}`; install the real package and choose it \
             with `use_installed_promptflow`"
        );
    }
    let package = module.split('.').next().unwrap_or(module);
    format!("name the package of `{package}` in the flow's `requirements.txt` and make its environment")
}
