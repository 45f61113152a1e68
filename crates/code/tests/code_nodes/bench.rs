//! A flow folder in a temporary place, and a host that records what it is asked.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flowbench_code::CodeNodes;
use flowbench_code::python::PythonSettings;
use flowbench_code::script::ScriptLimits;
use flowbench_core::connection::{Connection, ConnectionKind, Secret};
use flowbench_core::ports::{CodeCall, CodeError, CodeHost, CodeResult, CodeRunner, CodeSource};
use serde_json::{Map, Value, json};

/// A flow folder and the nodes that run in it.
pub struct Bench {
    folder: tempfile::TempDir,
    pub nodes: Arc<CodeNodes>,
    pub host: Arc<EchoHost>,
}

/// Answers `chat` with what it was asked and refuses `forbidden`.
#[derive(Default)]
pub struct EchoHost {
    pub asked: Mutex<Vec<(String, Value)>>,
}

#[async_trait]
impl CodeHost for EchoHost {
    async fn host_call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        self.asked.lock().unwrap().push((method.to_owned(), parameters.clone()));
        match method {
            "chat" | "complete" | "run_prompty" => Ok(json!("an answer")),
            "embed" => Ok(json!([0.5, 0.25])),
            "render_template" => Ok(parameters["template"].clone()),
            "parse_chat" => Ok(json!([{"role": "user", "content": parameters["text"]}])),
            "connection" => Ok(json!({
                "name": parameters["name"], "kind": "open_ai", "fields": {"base_url": "http://host"}, "secrets": {"api_key": "k"}
            })),
            _ => Err(format!("`{method}` is not allowed here")),
        }
    }
}

impl Bench {
    pub fn new() -> Self {
        Self::with(PythonSettings { max_workers: 2, ..PythonSettings::default() })
    }

    pub fn with(settings: PythonSettings) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            nodes: Arc::new(CodeNodes::new(settings, ScriptLimits::default())),
            host: Arc::default(),
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a source; `from promptflow.core import tool` is put before it.
    pub fn tool(&self, path: &str, body: &str) -> &Self {
        self.write(path, &format!("from promptflow.core import tool\n{body}"))
    }

    pub fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub fn call(&self, source: CodeSource, inputs: Value) -> CodeCall {
        CodeCall {
            node: "probe".to_owned(),
            flow_folder: self.folder().to_owned(),
            source,
            inputs: inputs.as_object().cloned().unwrap_or_default(),
            connections: Vec::new(),
            is_aggregation: false,
            environment: Vec::new(),
            timeout: Some(Duration::from_secs(60)),
            sink: None,
        }
    }

    pub fn file_call(&self, path: &str, inputs: Value) -> CodeCall {
        self.call(CodeSource::PythonFile { path: path.to_owned() }, inputs)
    }

    pub async fn run(&self, call: CodeCall) -> Result<CodeResult, CodeError> {
        self.nodes.call(call, self.host.clone()).await
    }

    pub async fn run_file(&self, path: &str, inputs: Value) -> Result<CodeResult, CodeError> {
        self.run(self.file_call(path, inputs)).await
    }

    /// Runs a tool given as source and returns its value.
    pub async fn value_of(&self, body: &str, inputs: Value) -> Value {
        self.tool("node.py", body);
        self.run_file("node.py", inputs).await.unwrap_or_else(|error| panic!("{error:#?}")).value
    }
}

pub fn connection(name: &str, kind: ConnectionKind, fields: Value, secret: &str) -> Connection {
    Connection {
        name: name.to_owned(),
        kind,
        fields: fields.as_object().cloned().unwrap_or_else(Map::new),
        secrets: vec![("api_key".to_owned(), Secret::new(secret))],
        is_approved: true,
    }
}

/// Waits until none of the processes is left; a killed one takes a moment to go.
pub async fn gone(pids: &[u64]) {
    let wait = async {
        while pids.iter().any(|pid| is_alive(*pid)) {
            tokio::task::yield_now().await;
        }
    };
    let left = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(
        left.is_ok(),
        "still running: {:?}",
        pids.iter().filter(|pid| is_alive(**pid)).collect::<Vec<_>>()
    );
}

/// True while a process exists and is no zombie.
pub fn is_alive(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}
