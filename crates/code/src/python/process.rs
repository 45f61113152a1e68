//! One worker process: booting it, one call at a time, and ending it with everything it started.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowbench_core::chat::ChatChunk;
use flowbench_core::ports::{CodeCall, CodeHost};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PythonSettings;
use super::capture::{Capture, Printed};
use super::frames::{
    CallMessage, ConnectionMessage, FrameError, FrameReader, FromWorker, ReplyMessage, ToWorker,
    WorkerFailure, write_frame,
};
use super::shim;
use crate::platform;

const BOOT: &str = include_str!("boot.py");
const WORKER: &str = include_str!("worker.py");
const BOOT_TIMEOUT: Duration = Duration::from_secs(30);
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// How long the rest of the output may take once a call or a process has ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What tells workers apart: one is only reused for a call that agrees on all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerKey {
    pub interpreter: PathBuf,
    pub flow_folder: PathBuf,
    pub environment: Vec<(String, String)>,
}

/// A call's share of the pool. While its code waits for another flow, the share is lent out: that flow may
/// need workers too, and would otherwise wait for its caller for ever.
#[derive(Clone)]
pub(crate) struct Slot {
    all: Arc<Semaphore>,
    held: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Slot {
    /// Waits for a free share; `None` if the pool is closed.
    pub(crate) async fn take(all: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(all).acquire_owned().await.ok()?;
        Some(Self { all: Arc::clone(all), held: Arc::new(Mutex::new(Some(permit))) })
    }

    /// Does without the share until the work is done.
    async fn lend<T>(self, work: impl Future<Output = T>) -> T {
        drop(self.hold(None));
        let result = work.await;
        // A closed pool hands out nothing; the call then ends without its share.
        let permit = Arc::clone(&self.all).acquire_owned().await.ok();
        drop(self.hold(permit));
        result
    }

    fn hold(&self, permit: Option<OwnedSemaphorePermit>) -> Option<OwnedSemaphorePermit> {
        std::mem::replace(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner), permit)
    }
}

/// A running worker. Dropping it ends the process and all its descendants.
pub(crate) struct Worker {
    pub key: WorkerKey,
    child: Child,
    leader: u32,
    tag: String,
    reader: FrameReader<platform::Incoming>,
    writer: platform::Outgoing,
    stdout: Capture,
    stderr: Capture,
    max_processes: usize,
}

/// How a call ended with the worker still in order.
pub(crate) enum Answer {
    Value { value: Value, metrics: Vec<(String, Value)>, warnings: Vec<String> },
    Failure(WorkerFailure),
}

/// How a call ended with the worker no longer of use.
pub(crate) enum Broken {
    /// A source file changed; the call had not begun.
    Stale,
    /// The process ended.
    Ended { has_started: bool },
    /// A limit was passed.
    Limit(String),
    /// Time ran out.
    TimedOut(Duration),
}

impl Worker {
    /// Starts a process and waits until it listens. The error says what it printed.
    pub(crate) async fn boot(key: WorkerKey, settings: &PythonSettings) -> Result<Self, String> {
        let (socket, stdin) = platform::socket_pair().map_err(|error| error.to_string())?;
        let tag = format!("{:032x}", rand::random::<u128>());
        let mut command = Command::new(&key.interpreter);
        command
            .args(["-B", "-c", BOOT])
            .current_dir(&key.flow_folder)
            .envs(key.environment.iter().map(|(name, value)| (name, value)))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env(platform::TAG_VARIABLE, &tag)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        platform::own_group(&mut command);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        drop(command);
        let (Some(leader), Some(stdout), Some(stderr)) =
            (child.id(), child.stdout.take(), child.stderr.take())
        else {
            return Err("the process ended at once".to_owned());
        };
        let (reader, writer) = socket.into_split();
        let cap = settings.max_output_bytes;
        let mut worker = Self {
            child,
            leader,
            tag,
            reader: FrameReader::new(reader, settings.max_result_bytes.saturating_add(1024 * 1024)),
            writer,
            stdout: Capture::start(stdout, cap),
            stderr: Capture::start(stderr, cap),
            max_processes: settings.max_processes,
            key,
        };
        let folder = worker.key.flow_folder.to_str().ok_or("the path of the flow folder is no UTF-8 text")?;
        let hello = hello(folder, settings);
        let ready = async {
            write_frame(&mut worker.writer, &hello).await?;
            worker.reader.next().await
        };
        match tokio::time::timeout(BOOT_TIMEOUT, ready).await {
            Ok(Ok(FromWorker::Ready { version })) => {
                tracing::debug!(version, pid = leader, "python worker ready");
                Ok(worker)
            }
            Ok(Ok(_)) => Err("the process spoke out of turn".to_owned()),
            Ok(Err(error)) => {
                let ending = worker.end().await;
                let printed = worker.printed().await.1.text;
                let last = printed.trim().lines().last().unwrap_or_default();
                Err(if last.is_empty() { format!("{error}; the process {ending}") } else { last.to_owned() })
            }
            Err(_) => Err(format!("no answer within {} s", BOOT_TIMEOUT.as_secs())),
        }
    }

    /// Runs one call.
    pub(crate) async fn call(
        &mut self,
        call: &CodeCall,
        host: &Arc<dyn CodeHost>,
        slot: &Slot,
    ) -> Result<Answer, Broken> {
        let marker = format!("\u{1}flowbench-end-{:032x}\u{1}\n", rand::random::<u128>());
        self.stdout.begin(&marker);
        self.stderr.begin(&marker);
        let answer = match call.timeout {
            None => self.drive(call, host, slot, &marker).await,
            Some(limit) => match tokio::time::timeout(limit, self.drive(call, host, slot, &marker)).await {
                Ok(answer) => answer,
                Err(_) => Err(Broken::TimedOut(limit)),
            },
        }?;
        let drained = async { tokio::join!(self.stdout.finished(), self.stderr.finished()) };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::warn!(node = call.node, "the end of the node's output did not come");
        }
        Ok(answer)
    }

    async fn drive(
        &mut self,
        call: &CodeCall,
        host: &Arc<dyn CodeHost>,
        slot: &Slot,
        marker: &str,
    ) -> Result<Answer, Broken> {
        let message = CallMessage {
            source: &call.source,
            inputs: &call.inputs,
            connections: connections(call),
            is_aggregation: call.is_aggregation,
            marker,
        };
        let mut has_started = false;
        let sent = write_frame(&mut self.writer, &ToWorker::Call(message)).await;
        sent.map_err(|error| broken(error, has_started))?;
        let mut asked: FuturesUnordered<BoxFuture<'_, ReplyMessage>> = FuturesUnordered::new();
        let mut watch = tokio::time::interval(WATCH_EVERY);
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        watch.tick().await;
        loop {
            tokio::select! {
                frame = self.reader.next() => match frame.map_err(|error| broken(error, has_started))? {
                    FromWorker::Started => has_started = true,
                    FromWorker::Stale => return Err(Broken::Stale),
                    FromWorker::Ready { .. } => {}
                    FromWorker::Chunk { text } => {
                        if let Some(sink) = &call.sink {
                            sink(ChatChunk::Text { text });
                        }
                    }
                    FromWorker::Host { id, method, parameters } => {
                        let host = Arc::clone(host);
                        let runs_flow = matches!(method.as_str(), "run_flow" | "run_prompty");
                        let slot = runs_flow.then(|| slot.clone());
                        asked.push(Box::pin(async move {
                            let answer = host.host_call(&method, parameters);
                            let answer = match slot {
                                Some(slot) => slot.lend(answer).await,
                                None => answer.await,
                            };
                            match answer {
                                Ok(value) => ReplyMessage { id, value: Some(value), error: None },
                                Err(error) => ReplyMessage { id, value: None, error: Some(error) },
                            }
                        }));
                    }
                    FromWorker::Result { value, metrics, warnings } => {
                        return Ok(Answer::Value { value, metrics, warnings });
                    }
                    FromWorker::Error(failure) => return Ok(Answer::Failure(failure)),
                },
                Some(reply) = asked.next(), if !asked.is_empty() => {
                    let sent = write_frame(&mut self.writer, &ToWorker::Reply(reply)).await;
                    sent.map_err(|error| broken(error, has_started))?;
                }
                _ = watch.tick() => self.check_processes().await?,
            }
        }
    }

    /// Stops a fork bomb before it stops the machine.
    async fn check_processes(&self) -> Result<(), Broken> {
        let leader = self.leader;
        let size = tokio::task::spawn_blocking(move || platform::group_size(leader)).await.unwrap_or(0);
        if size <= self.max_processes {
            return Ok(());
        }
        Err(Broken::Limit(format!("it started {size} processes; {} are allowed", self.max_processes)))
    }

    /// Ends the process, its group and whatever left the group; says how the process ended.
    pub(crate) async fn end(&mut self) -> String {
        // A process that is about to die by itself should be seen to: its own ending is the news.
        let own = tokio::time::timeout(Duration::from_millis(200), self.child.wait()).await;
        platform::kill_group(self.leader);
        let tag = self.tag.clone();
        // A failed join only means that the sweep panicked; the group is dead already.
        let _ = tokio::task::spawn_blocking(move || platform::kill_tagged(&tag)).await;
        let status = match own {
            Ok(status) => status,
            Err(_) => self.child.wait().await,
        };
        match status {
            Ok(status) => platform::ending(status),
            Err(error) => format!("ended: {error}"),
        }
    }

    /// Ends at once, without waiting for the process to go by itself.
    pub(crate) async fn kill(&mut self) {
        platform::kill_group(self.leader);
        self.end().await;
    }

    /// What the last call printed on both streams.
    pub(crate) async fn printed(&self) -> (Printed, Printed) {
        let drained = async { tokio::join!(self.stdout.finished(), self.stderr.finished()) };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
        (self.stdout.take(), self.stderr.take())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        platform::kill_group(self.leader);
        let tag = std::mem::take(&mut self.tag);
        // Only escaped children are left; looking for them must not hold up whoever cancelled.
        let sweep = std::thread::Builder::new().name("flowbench-sweep".to_owned());
        if let Err(error) = sweep.spawn(move || platform::kill_tagged(&tag)) {
            tracing::warn!(%error, "no thread to look for processes that a worker left behind");
        }
    }
}

fn broken(error: FrameError, has_started: bool) -> Broken {
    match error {
        FrameError::Ended | FrameError::Io(_) => Broken::Ended { has_started },
        FrameError::TooLarge { size, limit } => {
            Broken::Limit(format!("a result of {size} bytes is larger than the {limit} allowed"))
        }
        FrameError::Malformed(error) => {
            Broken::Limit(format!("its result is nested too deeply or is no JSON: {error}"))
        }
    }
}

fn connections(call: &CodeCall) -> Vec<(&str, ConnectionMessage<'_>)> {
    let message = |connection: &'_ flowbench_core::connection::Connection| {
        let secrets: Map<String, Value> = connection
            .secrets
            .iter()
            .map(|(key, secret)| (key.clone(), Value::from(secret.reveal())))
            .collect();
        secrets
    };
    call.connections
        .iter()
        .map(|(parameter, connection)| {
            let wire = ConnectionMessage {
                name: &connection.name,
                kind: connection.kind.as_str(),
                fields: &connection.fields,
                secrets: message(connection),
            };
            (parameter.as_str(), wire)
        })
        .collect()
}

fn hello(folder: &str, settings: &PythonSettings) -> Value {
    json!({
        "worker": WORKER,
        "modules": if settings.use_installed_promptflow { Value::Null } else { shim::modules() },
        "folder": folder,
        "max_result_bytes": settings.max_result_bytes,
        "memory_bytes": settings.memory_bytes,
    })
}
