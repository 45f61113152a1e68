//! Script nodes: JavaScript in QuickJS, under limits, with no file, network or process in reach.
//!
//! The source is a module with a default export, a function of the inputs:
//! `export default function (inputs) { return inputs.text.length }`. It may be `async`. Values go in and come out as JSON;
//! `console.log` and its kin are captured. The engine has no imports, timers or host objects.
//!
//! Each call has an engine and a thread of its own. Steps, time and memory are limited inside the engine; a
//! thread that hangs in native code beyond that is given up on and counted, and when too many have been
//! given up on, scripts are refused.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowbench_core::ports::{CodeCall, CodeError, CodeErrorKind, CodeResult};
use rquickjs::context::{EvalOptions, intrinsic};
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Module, Runtime};
use serde_json::Value;
use tokio::sync::oneshot;

/// What a script may use.
#[derive(Clone, Debug)]
pub struct ScriptLimits {
    /// Time, where the node sets no `timeout` of its own.
    pub max_time: Duration,
    /// Steps of the engine (calls and backward jumps), counted in ten thousands.
    pub max_steps: u64,
    /// Bytes of the engine's heap.
    pub max_memory_bytes: usize,
    /// Bytes of captured output.
    pub max_output_bytes: usize,
    /// Bytes of the result as JSON.
    pub max_result_bytes: usize,
    /// Bytes of source text.
    pub max_source_bytes: usize,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            max_time: Duration::from_secs(10),
            max_steps: 2_000_000_000,
            max_memory_bytes: 64 * 1024 * 1024,
            max_output_bytes: 1024 * 1024,
            max_result_bytes: 16 * 1024 * 1024,
            max_source_bytes: 1024 * 1024,
        }
    }
}

const ENGINE_STACK: usize = 1024 * 1024;
const THREAD_STACK: usize = 8 * 1024 * 1024;
/// Steps between two looks of the engine at its limits.
const STEPS_A_LOOK: u64 = 10_000;
/// How much longer than its limit a script may take before its thread is given up on.
const GRACE: Duration = Duration::from_secs(1);
const MAX_GIVEN_UP: usize = 8;
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);

const PRELUDE: &str = r#"
(emit => {
  const show = value => {
    if (typeof value === 'string') return value;
    if (value instanceof Error) return String(value);
    try { const text = JSON.stringify(value); return text === undefined ? String(value) : text } catch { return String(value) }
  };
  const put = (...values) => emit(values.map(show).join(' ').toWellFormed());
  globalThis.console = { log: put, info: put, debug: put, warn: put, error: put };
})
"#;

/// Why the engine was told to stop.
#[derive(Default)]
struct Stop {
    is_cancelled: AtomicBool,
    reason: AtomicU8,
    /// `RUNNING`, then whichever comes first: `DONE`, or `ABANDONED` by the caller.
    phase: AtomicU8,
}

const RUNNING: u8 = 0;
const DONE: u8 = 1;
const ABANDONED: u8 = 2;

const BY_TIME: u8 = 1;
const BY_STEPS: u8 = 2;

impl Stop {
    /// True if nobody came first.
    fn leave_running(&self, to: u8) -> bool {
        self.phase.compare_exchange(RUNNING, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Stops the engine when nobody waits for the result any more.
struct CancelOnDrop(Arc<Stop>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }
}

/// Runs a script node. Dropping the future stops the engine.
pub async fn run_script(
    call: &CodeCall,
    code: &str,
    name: &str,
    limits: &ScriptLimits,
) -> Result<CodeResult, CodeError> {
    let node = call.node.clone();
    let on_node = |kind, what: String| CodeError::new(kind, format!("node `{node}`: {what}"));
    if code.len() > limits.max_source_bytes {
        let what = format!("`{name}` has {} bytes; {} are allowed", code.len(), limits.max_source_bytes);
        return Err(on_node(CodeErrorKind::Limit, what));
    }
    if GIVEN_UP.load(Ordering::Relaxed) >= MAX_GIVEN_UP {
        let what = "too many scripts have hung in this process".to_owned();
        return Err(on_node(CodeErrorKind::Limit, what).with_hint("start `flowbench` again"));
    }
    let time = call.timeout.unwrap_or(limits.max_time);
    let stop = Arc::new(Stop::default());
    let cancel = CancelOnDrop(Arc::clone(&stop));
    let (send, receive) = oneshot::channel();
    let job = Job {
        node: node.clone(),
        name: name.to_owned(),
        code: code.to_owned(),
        inputs: Value::Object(call.inputs.clone()),
        limits: limits.clone(),
        deadline: Instant::now() + time,
        time,
        stop,
    };
    // Not a pool thread: one that hangs must not keep the runtime from shutting down.
    let thread = std::thread::Builder::new().name("flowbench-script".to_owned()).stack_size(THREAD_STACK);
    let phase = Arc::clone(&job.stop);
    let spawned = thread.spawn(move || {
        let result = job.run();
        if !phase.leave_running(DONE) {
            // It came back after all.
            GIVEN_UP.fetch_sub(1, Ordering::Relaxed);
        }
        // Nobody listening means that the call was cancelled.
        let _ = send.send(result);
    });
    spawned
        .map_err(|error| on_node(CodeErrorKind::Internal, format!("no thread for the script: {error}")))?;
    match tokio::time::timeout(time + GRACE, receive).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(on_node(CodeErrorKind::Internal, "the script engine failed".to_owned())),
        Err(_) => {
            GIVEN_UP.fetch_add(1, Ordering::Relaxed);
            if !cancel.0.leave_running(ABANDONED) {
                GIVEN_UP.fetch_sub(1, Ordering::Relaxed);
            }
            Err(out_of_time(&node, time))
        }
    }
}

fn out_of_time(node: &str, time: Duration) -> CodeError {
    CodeError::new(CodeErrorKind::Timeout, format!("node `{node}` gave no result within {time:?}"))
        .with_hint("give the node a longer `timeout`, or look for a loop that does not end")
}

/// Everything one run needs, on its own thread.
struct Job {
    node: String,
    name: String,
    code: String,
    inputs: Value,
    limits: ScriptLimits,
    deadline: Instant,
    time: Duration,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Console {
    text: String,
    total: usize,
    cap: usize,
}

impl Console {
    fn put(&mut self, line: &str) {
        self.total += line.len() + 1;
        let room = self.cap.saturating_sub(self.text.len());
        if line.len() < room {
            self.text.push_str(line);
            self.text.push('\n');
        } else {
            let end = (0..=room.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            self.text.push_str(&line[..end]);
            self.cap = self.text.len();
        }
    }
}

impl Job {
    fn run(self) -> Result<CodeResult, CodeError> {
        let console =
            Rc::new(RefCell::new(Console { cap: self.limits.max_output_bytes, ..Console::default() }));
        let outcome = self.evaluate(&console);
        let mut console = console.borrow_mut();
        let mut stdout = std::mem::take(&mut console.text);
        let mut warnings = Vec::new();
        if console.total > stdout.len() {
            stdout.push_str(&format!("\n[output cut: {} of {} bytes kept]\n", stdout.len(), console.total));
            warnings.push(format!("standard output had {} bytes and was cut", console.total));
        }
        match outcome {
            Ok(value) => Ok(CodeResult { value, stdout, warnings, ..CodeResult::default() }),
            Err(error) => Err(CodeError { stdout, ..error }),
        }
    }

    fn error(&self, kind: CodeErrorKind, what: impl std::fmt::Display) -> CodeError {
        CodeError::new(kind, format!("node `{}`: {what}", self.node))
    }

    fn evaluate(&self, console: &Rc<RefCell<Console>>) -> Result<Value, CodeError> {
        let no_engine = |error: rquickjs::Error| {
            self.error(CodeErrorKind::Limit, format_args!("the script engine cannot start: {error}"))
        };
        let runtime = Runtime::new().map_err(no_engine)?;
        runtime.set_memory_limit(self.limits.max_memory_bytes);
        runtime.set_max_stack_size(ENGINE_STACK);
        runtime.set_interrupt_handler(Some(self.watcher()));
        let context = Context::custom::<intrinsic::All>(&runtime).map_err(no_engine)?;
        let text = context.with(|ctx| self.evaluate_in(&ctx, console))?;
        if text.len() > self.limits.max_result_bytes {
            let allowed = self.limits.max_result_bytes;
            let what = format!("the result has {} bytes; {allowed} are allowed", text.len());
            return Err(self.error(CodeErrorKind::Limit, what));
        }
        serde_json::from_str(&text).map_err(|error| {
            self.error(CodeErrorKind::Limit, format_args!("the result cannot be read: {error}"))
        })
    }

    fn watcher(&self) -> Box<dyn FnMut() -> bool + 'static> {
        let (stop, deadline) = (Arc::clone(&self.stop), self.deadline);
        let max_looks = self.limits.max_steps / STEPS_A_LOOK;
        let mut looks = 0;
        Box::new(move || {
            looks += 1;
            let reason = if looks > max_looks {
                BY_STEPS
            } else if Instant::now() >= deadline {
                BY_TIME
            } else {
                return stop.is_cancelled.load(Ordering::Relaxed);
            };
            stop.reason.store(reason, Ordering::Relaxed);
            true
        })
    }

    fn evaluate_in(&self, ctx: &Ctx<'_>, console: &Rc<RefCell<Console>>) -> Result<String, CodeError> {
        let internal = |error: CaughtError<'_>| self.thrown(CodeErrorKind::Internal, error);
        let load = |error: CaughtError<'_>| self.thrown(CodeErrorKind::Load, error);
        let raised = |error: CaughtError<'_>| self.thrown(CodeErrorKind::Raised, error);

        let sink = Rc::clone(console);
        let emit = Function::new(ctx.clone(), move |line: String| sink.borrow_mut().put(&line));
        let emit = emit.catch(ctx).map_err(internal)?;
        let install: Function =
            ctx.eval_with_options(PRELUDE, EvalOptions::default()).catch(ctx).map_err(internal)?;
        install.call::<_, ()>((emit,)).catch(ctx).map_err(internal)?;

        let declared =
            Module::declare(ctx.clone(), self.name.as_str(), self.code.as_str()).catch(ctx).map_err(load)?;
        let (module, loaded) = declared.eval().catch(ctx).map_err(load)?;
        loaded.finish::<()>().catch(ctx).map_err(load)?;
        let exported: rquickjs::Value = module.get("default").catch(ctx).map_err(|_| self.no_function())?;
        let function = exported.into_function().ok_or_else(|| self.no_function())?;

        let inputs = ctx.json_parse(self.inputs.to_string()).catch(ctx).map_err(internal)?;
        let returned: rquickjs::Value = function.call((inputs,)).catch(ctx).map_err(raised)?;
        let value = match returned.clone().into_promise() {
            Some(promise) => promise.finish::<rquickjs::Value>().catch(ctx).map_err(raised)?,
            None => returned,
        };
        let text = ctx.json_stringify(value).catch(ctx).map_err(raised)?;
        match text {
            // `undefined` and functions have no JSON.
            None => Ok("null".to_owned()),
            Some(text) => text.to_string().catch(ctx).map_err(raised),
        }
    }

    fn no_function(&self) -> CodeError {
        self.error(CodeErrorKind::Load, format_args!("`{}` exports no default function", self.name))
            .with_hint("write `export default function (inputs) { … }`")
    }

    fn thrown(&self, kind: CodeErrorKind, error: CaughtError<'_>) -> CodeError {
        match self.stop.reason.load(Ordering::Relaxed) {
            BY_TIME => return out_of_time(&self.node, self.time),
            BY_STEPS => {
                let what = format!("the script took more than {} steps", self.limits.max_steps);
                return self.error(CodeErrorKind::Limit, what);
            }
            _ => {}
        }
        match error {
            CaughtError::Exception(exception) => {
                let name: String = exception.as_object().get("name").unwrap_or_else(|_| "Error".to_owned());
                let message = exception.message().unwrap_or_default();
                let stack = exception.stack().filter(|stack| !stack.trim().is_empty());
                // The engine's own words; it has no other sign for this.
                if message == "out of memory" {
                    let what = format!("the script used more than {} bytes", self.limits.max_memory_bytes);
                    return self.error(CodeErrorKind::Limit, what);
                }
                let place = stack.as_deref().and_then(|stack| self.line_in(stack));
                let place = place.map_or(String::new(), |line| format!(" (`{}`, line {line})", self.name));
                let mut told = self.error(kind, format_args!("{name}: {message}{place}"));
                told.traceback = stack;
                told
            }
            CaughtError::Value(value) => {
                let shown = value.ctx().json_stringify(value.clone()).ok().flatten();
                let shown =
                    shown.and_then(|text| text.to_string().ok()).unwrap_or_else(|| "a value".to_owned());
                self.error(kind, format_args!("the script threw {shown}"))
            }
            CaughtError::Error(rquickjs::Error::WouldBlock) => {
                self.error(kind, "the promise that it returned is never settled")
            }
            CaughtError::Error(error) => self.error(kind, error),
        }
    }

    /// The first line of the source in a stack such as `at f (name.js:3:7)`.
    fn line_in(&self, stack: &str) -> Option<u32> {
        let mark = format!("{}:", self.name);
        stack.lines().find_map(|line| {
            let (_, rest) = line.split_once(mark.as_str())?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
    }
}
