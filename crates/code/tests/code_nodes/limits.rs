//! Code that hangs, forks, floods, crashes or leaves.

use std::time::Duration;

use flowbench_code::python::PythonSettings;
use flowbench_core::ports::{CodeErrorKind, CodeRunner};
use serde_json::json;

use crate::bench::{Bench, gone, is_alive};

const PIDS: &str = "import os, subprocess, sys, threading\ndef note(*pids):\n    with open('pids.tmp', 'w') as file:\n        file.write(' '.join(map(str, pids)))\n    os.rename('pids.tmp', 'pids')\n";

fn noted(bench: &Bench) -> Vec<u64> {
    let text = std::fs::read_to_string(bench.folder().join("pids")).unwrap();
    text.split(' ').map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_time_out_ends_the_process_and_all_it_started() {
    let bench = Bench::new();
    // One child in the group, one that made a session of its own, and a grandchild of that.
    let body = format!(
        "{PIDS}@tool\ndef hang(now: bool):\n    if not now:\n        return\n    wait = 'import threading; threading.Event().wait()'\n    child = subprocess.Popen([sys.executable, '-c', wait])\n    away = subprocess.Popen([sys.executable, '-c', wait], start_new_session=True)\n    note(os.getpid(), child.pid, away.pid)\n    print('waiting')\n    threading.Event().wait()\n"
    );
    bench.tool("hang.py", &body);
    // The first call warms the process, so that the time below is for starting the children only.
    bench.run_file("hang.py", json!({"now": false})).await.unwrap();
    let mut call = bench.file_call("hang.py", json!({"now": true}));
    call.timeout = Some(Duration::from_millis(1500));
    let error = bench.run(call).await.unwrap_err();
    assert_eq!(error.kind, CodeErrorKind::Timeout);
    assert_eq!(error.message, "node `probe` gave no result within 1.5s; its process was ended");
    assert_eq!(error.stdout, "waiting\n");
    gone(&noted(&bench)).await;
}

#[tokio::test]
async fn a_busy_loop_is_ended_and_the_next_call_gets_a_new_process() {
    let bench = Bench::new();
    bench.tool("node.py", "import os\n@tool\ndef spin(forever: bool):\n    while forever:\n        pass\n    return os.getpid()\n");
    let before = bench.run_file("node.py", json!({"forever": false})).await.unwrap().value;
    let mut call = bench.file_call("node.py", json!({"forever": true}));
    call.timeout = Some(Duration::from_millis(300));
    assert_eq!(bench.run(call).await.unwrap_err().kind, CodeErrorKind::Timeout);
    let after = bench.run_file("node.py", json!({"forever": false})).await.unwrap().value;
    assert_ne!(before, after);
}

#[tokio::test]
async fn dropping_the_call_ends_the_process() {
    let bench = Bench::new();
    bench.tool("hang.py", &format!("{PIDS}@tool\ndef hang():\n    note(os.getpid())\n    yield 'begun'\n    threading.Event().wait()\n"));
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let mut call = bench.file_call("hang.py", json!({}));
    call.timeout = None;
    call.sink = Some(std::sync::Arc::new(move |_| begun.send(()).unwrap()));
    let (nodes, host) = (bench.nodes.clone(), bench.host.clone());
    let running = tokio::spawn(async move { nodes.call(call, host).await });
    has_begun.recv().await.unwrap();
    let pid = noted(&bench)[0];
    assert!(is_alive(pid));
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    gone(&[pid]).await;
}

/// Runs itself as a second process, the host that is killed.
#[tokio::test]
async fn a_killed_host_takes_its_workers_with_it() {
    const FOLDER: &str = "FLOWBENCH_TEST_KILLED_HOST";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let bench = Bench::new();
        let mut call = bench.file_call("hang.py", json!({}));
        call.flow_folder = folder.into();
        let ended = bench.run(call).await;
        panic!("the call was not to end: {ended:?}");
    }
    let bench = Bench::new();
    let body = format!(
        "{PIDS}@tool\ndef hang():\n    child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n    note(os.getpid(), child.pid)\n    while True:\n        pass\n"
    );
    bench.tool("hang.py", &body);
    let name = "limits::a_killed_host_takes_its_workers_with_it";
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(FOLDER, bench.folder())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = bench.folder().join("pids");
    while !begun.exists() {
        assert!(host.try_wait().unwrap().is_none(), "the host ended before its worker began");
        tokio::task::yield_now().await;
    }
    let pids = noted(&bench);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    host.kill().unwrap();
    host.wait().unwrap();
    gone(&pids).await;
}

#[tokio::test]
async fn a_fork_bomb_is_stopped_before_its_time_is_up() {
    let bench = Bench::with(PythonSettings { max_processes: 8, ..PythonSettings::default() });
    // Bounded, in case nothing stops it: 24 children that wait.
    let body = format!(
        "{PIDS}@tool\ndef bomb():\n    pids = []\n    for _ in range(24):\n        pid = os.fork()\n        if pid == 0:\n            threading.Event().wait()\n        pids.append(pid)\n    note(*pids)\n    threading.Event().wait()\n"
    );
    bench.tool("bomb.py", &body);
    let error = bench.run_file("bomb.py", json!({})).await.unwrap_err();
    assert_eq!(error.kind, CodeErrorKind::Limit);
    assert_eq!(error.message, "node `probe`: it started 25 processes; 8 are allowed");
    gone(&noted(&bench)).await;
}

#[tokio::test]
async fn a_fork_that_returns_does_not_answer_for_its_parent() {
    let bench = Bench::new();
    bench.tool("fork.py", "import os\n@tool\ndef fork():\n    pid = os.fork()\n    if pid:\n        os.waitpid(pid, 0)\n        return 'parent'\n    return 'child'\n");
    for _ in 0..2 {
        assert_eq!(bench.run_file("fork.py", json!({})).await.unwrap().value, json!("parent"));
    }
}

#[tokio::test]
async fn fifty_megabytes_of_output_are_cut_and_counted() {
    let bench = Bench::new();
    bench.tool("flood.py", "import os\n@tool\ndef flood():\n    block = b'x' * 65536\n    for _ in range(800):\n        os.write(1, block)\n    return 'done'\n");
    let result = bench.run_file("flood.py", json!({})).await.unwrap();
    assert_eq!(result.value, json!("done"));
    assert!(result.stdout.len() < 1024 * 1024 + 100, "{} bytes kept", result.stdout.len());
    assert!(result.stdout.ends_with("\n[output cut: 1048576 of 52428800 bytes kept]\n"));
    assert_eq!(result.warnings, ["standard output had 52428800 bytes and was cut"]);
}

#[tokio::test]
async fn leaving_and_crashing_are_told_apart_and_healed() {
    let bench = Bench::new();
    let body = "import os, sys, ctypes\n@tool\ndef leave(how: str):\n    print('leaving')\n    if how == 'exit':\n        sys.exit(3)\n    if how == '_exit':\n        os._exit(4)\n    if how == 'segfault':\n        ctypes.string_at(0)\n    return os.getpid()\n";
    bench.tool("leave.py", body);
    let cases = [
        (
            "exit",
            CodeErrorKind::Raised,
            "node `probe`: SystemExit: the code called `sys.exit(3)` (`leave.py`, line 7)",
        ),
        ("_exit", CodeErrorKind::Died, "node `probe`: the Python process exited with code 4 while it ran"),
        (
            "segfault",
            CodeErrorKind::Died,
            "node `probe`: the Python process was ended by signal 11 (SIGSEGV) while it ran",
        ),
    ];
    for (how, kind, message) in cases {
        let error = bench.run_file("leave.py", json!({"how": how})).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
        assert_eq!(error.stdout, "leaving\n", "{how}");
        assert!(
            bench.run_file("leave.py", json!({"how": "no"})).await.is_ok(),
            "the next call works after `{how}`"
        );
    }
}

#[tokio::test]
async fn memory_beyond_the_limit_is_an_error_of_the_node() {
    let settings = PythonSettings { memory_bytes: Some(512 * 1024 * 1024), ..PythonSettings::default() };
    let bench = Bench::with(settings);
    bench.tool("eat.py", "@tool\ndef eat():\n    return len(bytearray(1 << 30))\n");
    let error = bench.run_file("eat.py", json!({})).await.unwrap_err();
    assert_eq!(error.kind, CodeErrorKind::Limit);
    assert_eq!(error.message, "node `probe`: MemoryError (`eat.py`, line 4)");
}

#[tokio::test]
async fn a_result_beyond_the_limit_is_refused() {
    let bench = Bench::with(PythonSettings { max_result_bytes: 1000, ..PythonSettings::default() });
    bench.tool("long.py", "@tool\ndef long():\n    return 'x' * 1000\n");
    bench.tool("endless.py", "@tool\ndef endless():\n    while True:\n        yield 'x' * 100\n");
    let error = bench.run_file("long.py", json!({})).await.unwrap_err();
    assert_eq!(error.message, "node `probe`: the result has 1002 bytes; 1000 are allowed");
    let error = bench.run_file("endless.py", json!({})).await.unwrap_err();
    assert_eq!(error.message, "node `probe`: the streamed result is longer than 1000 characters");
}

#[tokio::test]
async fn a_result_nested_too_deeply_is_refused() {
    let bench = Bench::new();
    bench.tool("deep.py", "@tool\ndef deep():\n    value = 1\n    for _ in range(200):\n        value = [value]\n    return value\n");
    let error = bench.run_file("deep.py", json!({})).await.unwrap_err();
    assert_eq!(error.kind, CodeErrorKind::Limit);
    assert!(error.message.starts_with("node `probe`: its result is nested too deeply"), "{}", error.message);
}

#[tokio::test]
async fn an_interpreter_that_is_none_is_named() {
    let bench =
        Bench::with(PythonSettings { interpreter: Some("/bin/true".into()), ..PythonSettings::default() });
    bench.tool("node.py", "@tool\ndef f():\n    return 1\n");
    let error = bench.run_file("node.py", json!({})).await.unwrap_err();
    assert_eq!(error.kind, CodeErrorKind::Environment);
    assert_eq!(error.message, "node `probe`: Python `/bin/true` cannot be used: it is no Python");
    assert_eq!(
        error.hint.as_deref(),
        Some("name a working interpreter in `FLOWBENCH_PYTHON`, or leave it unset")
    );
}
