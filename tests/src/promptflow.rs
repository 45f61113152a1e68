//! The reference answers of prompt flow in `fixtures/promptflow`, and the loopback server they were made with.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use flowbench_testkit::Sandbox;
use flowbench_testkit::binary::repository;
use serde_json::{Map, Value};

/// Folder of the fixtures.
pub fn fixtures() -> PathBuf {
    repository().join("fixtures/promptflow")
}

/// The answers kept under this name.
///
/// # Panics
/// If there are none.
pub fn expected(name: &str) -> Value {
    let path = fixtures().join("expected").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

struct Server {
    port: u16,
    // It serves until its input closes, which the end of this process does.
    _child: Mutex<Child>,
    _input: ChildStdin,
}

/// Port of `fixtures/promptflow/server.py`, started once for all tests of a process.
///
/// # Panics
/// If Python is missing.
pub fn server_port() -> u16 {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let start = || {
        let mut child = Command::new("python3")
            .arg(fixtures().join("server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs the reference server");
        let input = child.stdin.take().expect("stdin is piped");
        let mut line = String::new();
        let output = child.stdout.take().expect("stdout is piped");
        BufReader::new(output).read_line(&mut line).expect("the server says where it listens");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("the server said `{line}`"));
        Server { port, _child: Mutex::new(child), _input: input }
    };
    SERVER.get_or_init(start).port
}

/// A sandbox with the shared files and the connections of the reference runs.
pub struct Room {
    /// Where things are.
    pub sandbox: Sandbox,
    /// `--connections` of every command.
    pub connections: String,
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Room {
    /// An empty room.
    ///
    /// # Panics
    /// If the fixtures cannot be read.
    pub fn new() -> Self {
        let port = server_port();
        let sandbox = Sandbox::new()
            .variable("STAND_IN_URL", format!("http://127.0.0.1:{port}/v1"))
            .variable("STAND_IN_KEY", "key-for-tests");
        sandbox.copy("fixtures/promptflow/shared", "shared");
        // Ours is one file with a list; prompt flow has one connection a file.
        let mut text = "connections:\n".to_owned();
        for name in ["stand_in", "bag"] {
            let path = fixtures().join(format!("connections/{name}.yaml"));
            let one = std::fs::read_to_string(path)
                .expect("the fixture is there")
                .replace("PORT", &port.to_string());
            let mut lead = "  - ";
            for line in one.lines().filter(|line| !line.starts_with('$')) {
                text.push_str(&format!("{lead}{line}\n"));
                lead = "    ";
            }
        }
        let path = sandbox.home("connections.yaml");
        std::fs::write(&path, text).expect("a file of the sandbox can be written");
        let connections = path.to_string_lossy().into_owned();
        Self { sandbox, connections }
    }

    /// A room with one of the flow folders.
    pub fn with_flow(name: &str) -> Self {
        let room = Self::new();
        room.sandbox.copy(&format!("fixtures/promptflow/flows/{name}"), &format!("flows/{name}"));
        room
    }
}

/// What became of a node, from a run's event log: status, and output where it completed.
pub fn nodes_of(sandbox: &Sandbox, run: &str) -> Map<String, Value> {
    let text = sandbox.read(&format!(".flowbench/runs/{run}/events.jsonl"));
    let mut nodes = Map::new();
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if event["event"] == "node_finished" {
            let name = event["node"].as_str().unwrap_or_default().to_owned();
            nodes.insert(name, event);
        }
    }
    nodes
}

/// Names of the folders with flows.
///
/// # Panics
/// If the fixtures cannot be read.
pub fn flow_folders() -> Vec<String> {
    let entries = std::fs::read_dir(fixtures().join("flows")).expect("the fixtures are there");
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| Path::is_dir(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Equal as JSON means it: `1` and `1.0` are the same number.
pub fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        _ => a == b,
    }
}
