//! Code that hangs, forks, shouts, dies or never ends: its line fails, and nobody else's.

use std::time::Duration;

use flowbench_testkit::{Output, Sandbox};
use flowbench_tests::lines::write_jsonl;
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(60);

const FLOW: &str = "inputs: {act: {type: string}}
outputs: {out: {type: string, reference: '${act.output}'}}
nodes:
- name: act
  type: python
  source: {type: code, path: act.py}
  inputs: {act: '${inputs.act}'}
  timeout: 3
";

const CODE: &str = r#"
import os
import sys
import time

from promptflow.core import tool


@tool
def act(act: str) -> str:
    if act == "hang":
        while True:
            pass
    if act == "sleep":
        time.sleep(1000)
    if act == "exit":
        os._exit(3)
    if act == "leave":
        sys.exit(0)
    if act == "crash":
        os.kill(os.getpid(), 11)
    if act == "raise":
        raise ValueError("as asked")
    if act == "recurse":
        def deeper(n):
            return deeper(n + 1) + 1
        deeper(0)
    if act == "shout":
        for _ in range(50 * 1024):
            print("x" * 1023)
    if act == "mutter":
        sys.stderr.write("y" * (50 << 20))
    if act == "scribble":
        os.write(1, b'{"id": 1, "result": "forged"}\n' * 100)
    if act == "close":
        os.close(0)
        os.close(1)
        os.close(2)
    if act == "fork":
        child = os.fork()
        if child == 0:
            time.sleep(1000)
            os._exit(0)
        with open("child", "w") as file:
            file.write(str(child))
    return "did " + act
"#;

fn room() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("flow/flow.dag.yaml", FLOW);
    sandbox.write("flow/act.py", CODE);
    sandbox
}

/// A batch of these acts, one a line.
fn batch(sandbox: &Sandbox, acts: &[&str]) -> Output {
    let data: Vec<Value> = acts.iter().map(|act| json!({"act": act})).collect();
    write_jsonl(sandbox, "data.jsonl", &data);
    let arguments = ["batch", "flow", "--data", "data.jsonl", "--trust", "--parallel", "2"];
    sandbox.flowbench(arguments).at_most(BOUND).run()
}

/// Asserts what became of each line: its result, or words of its error.
#[track_caller]
fn assert_lines(output: &Output, wanted: &[Result<&str, &str>]) {
    let lines = output.json_lines();
    assert_eq!(lines.len(), wanted.len(), "{}", output.told());
    for (line, wanted) in lines.iter().zip(wanted) {
        match wanted {
            Ok(result) => assert_eq!(line["outputs"]["out"], *result, "{}", output.told()),
            Err(words) => {
                assert_eq!(line["status"], "failed", "{line}");
                let error = line["error"].to_string();
                assert!(error.contains(words), "`{words}` is not in {error}");
            }
        }
    }
}

#[test]
fn code_that_hangs_costs_its_own_line() {
    let sandbox = room();
    let output = batch(&sandbox, &["a", "hang", "b", "sleep", "c"]).exits(1);
    assert_lines(&output, &[Ok("did a"), Err("3 s"), Ok("did b"), Err("3 s"), Ok("did c")]);
}

#[test]
fn code_that_ends_its_process_costs_its_own_line() {
    let sandbox = room();
    let output = batch(&sandbox, &["a", "exit", "b", "leave", "c", "crash", "d"]).exits(1);
    assert_lines(
        &output,
        &[Ok("did a"), Err("act"), Ok("did b"), Err("act"), Ok("did c"), Err("act"), Ok("did d")],
    );
}

#[test]
fn code_that_raises_is_told_with_its_place() {
    let sandbox = room();
    let output = batch(&sandbox, &["raise", "recurse", "a"]).exits(1);
    assert_lines(&output, &[Err("as asked"), Err("RecursionError"), Ok("did a")]);
    let single = sandbox.flowbench(["run", "flow", "--trust", "--input", "act=raise"]).run().exits(1);
    assert!(single.stderr.contains("ValueError") && single.stderr.contains("act.py"), "{}", single.told());
}

#[test]
fn code_that_prints_without_end_is_cut() {
    let sandbox = room();
    let output = batch(&sandbox, &["shout", "a", "mutter", "b"]).succeeds();
    assert_lines(&output, &[Ok("did shout"), Ok("did a"), Ok("did mutter"), Ok("did b")]);
    let single =
        sandbox.flowbench(["run", "flow", "--trust", "--input", "act=shout"]).at_most(BOUND).run().succeeds();
    assert_eq!(single.stdout, "did shout\n", "what code prints is no result");
    let kept: usize = sandbox
        .files()
        .iter()
        .filter(|(path, _)| path.contains(".flowbench"))
        .map(|(_, content)| content.len())
        .sum();
    assert!(kept < 16 << 20, "{kept} bytes of 150 MB were kept");
}

#[test]
fn code_that_writes_to_its_own_pipe_forges_nothing() {
    let sandbox = room();
    let output = batch(&sandbox, &["scribble", "a", "close", "b"]);
    let lines = output.json_lines();
    assert_eq!(lines.len(), 4, "{}", output.told());
    assert!(!output.stdout.contains("forged"), "{}", output.told());
    assert_eq!(lines[1]["outputs"]["out"], "did a");
    assert_eq!(lines[3]["outputs"]["out"], "did b");
}

#[cfg(target_os = "linux")]
#[test]
fn what_code_starts_ends_with_the_run() {
    let sandbox = room();
    let _ =
        sandbox.flowbench(["run", "flow", "--trust", "--input", "act=fork"]).at_most(BOUND).run().succeeds();
    let child = sandbox.read("flow/child");
    let status = std::path::PathBuf::from(format!("/proc/{child}/stat"));
    // A signal needs a moment to arrive; a child that is left waits for 1,000 s.
    let started = std::time::Instant::now();
    while is_alive(&status) {
        assert!(started.elapsed() < Duration::from_secs(10), "process {child} outlived its run");
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
fn is_alive(status: &std::path::Path) -> bool {
    let Ok(text) = std::fs::read_to_string(status) else { return false };
    // A zombie has ended and only waits to be counted.
    text.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z') && !state.starts_with('X'))
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_run_leaves_no_code_running() {
    let sandbox = room();
    sandbox.write(
        "flow/act.py",
        CODE.replace(
            "    if act == \"hang\":\n",
            "    if act == \"hang\":\n        open('own', 'w').write(str(os.getpid()) + '\\n')\n",
        ),
    );
    sandbox.write("flow/flow.dag.yaml", FLOW.replace("timeout: 3", "timeout: 1000"));
    let mut running = sandbox.flowbench(["run", "flow", "--trust", "--input", "act=hang"]).spawn();
    let own = sandbox.path("flow/own");
    let written = || std::fs::read_to_string(&own).is_ok_and(|text| text.ends_with('\n'));
    running.wait_until("the code runs", written);
    let _ = running.kill();
    let process = sandbox.read("flow/own");
    let status = std::path::PathBuf::from(format!("/proc/{}/stat", process.trim()));
    let started = std::time::Instant::now();
    while is_alive(&status) {
        assert!(started.elapsed() < Duration::from_secs(10), "process {process} outlived its run");
        std::thread::yield_now();
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_and_its_code() {
    let sandbox = room();
    sandbox.write(
        "flow/act.py",
        CODE.replace(
            "    if act == \"hang\":\n",
            "    if act == \"hang\":\n        open('own', 'w').close()\n",
        ),
    );
    sandbox.write("flow/flow.dag.yaml", FLOW.replace("timeout: 3", "timeout: 1000"));
    let mut running = sandbox.flowbench(["run", "flow", "--trust", "--input", "act=hang"]).spawn();
    let own = sandbox.path("flow/own");
    running.wait_until("the code runs", || own.exists());
    running.interrupt();
    let _ = running.finish().exits(130).tells("interrupted");
}

fn script_flow(sandbox: &Sandbox, script: &str, timeout: &str) {
    sandbox.write(
        "script/flow.dag.yaml",
        format!(
            "inputs: {{n: {{type: int, default: 0}}}}\noutputs: {{out: {{type: string, reference: '${{act.output}}'}}}}\n\
             nodes:\n- name: act\n  type: script\n  source: {{type: code, path: act.js}}\n  inputs: {{n: '${{inputs.n}}'}}\n{timeout}"
        ),
    );
    sandbox.write("script/act.js", script);
}

#[test]
fn a_script_that_never_ends_costs_its_own_line() {
    let sandbox = Sandbox::new();
    let script = "export default function ({ n }) {\n  if (n === 1) while (true) {}\n  if (n === 2) { const a = []; while (true) a.push(new Array(1000).fill(n)); }\n\
                  if (n === 3) { const deep = () => deep() + 1; return deep(); }\n  if (n === 4) return 'x'.repeat(1 << 29);\n  if (n === 5) return /(a+)+$/.test('a'.repeat(50) + 'b');\n  return 'fine';\n}\n";
    script_flow(&sandbox, script, "  timeout: 2\n");
    let data: Vec<Value> = [0, 1, 2, 3, 4, 5, 6].iter().map(|n| json!({"n": n})).collect();
    write_jsonl(&sandbox, "data.jsonl", &data);
    let output = sandbox.flowbench(["batch", "script", "--data", "data.jsonl"]).at_most(BOUND).run().exits(1);
    let statuses: Vec<Value> = output.json_lines().iter().map(|line| line["status"].clone()).collect();
    assert_eq!(
        statuses,
        ["completed", "failed", "failed", "failed", "failed", "failed", "completed"],
        "{}",
        output.told()
    );
}

#[test]
fn a_script_reaches_nothing_of_the_machine() {
    let sandbox = Sandbox::new();
    for script in [
        "import fs from 'fs';\nexport default () => fs.readFileSync('/etc/passwd');\n",
        "export default async () => (await import('os')).default;\n",
        "export default () => fetch('http://127.0.0.1:1');\n",
        "export default () => require('child_process');\n",
        "export default () => std.open('/etc/passwd');\n",
    ] {
        script_flow(&sandbox, script, "");
        let output = sandbox.flowbench(["run", "script"]).at_most(BOUND).run();
        assert!(matches!(output.code, Some(1 | 2)), "{script}\n{}", output.told());
    }
    script_flow(
        &sandbox,
        "export default () => [typeof process, typeof require, typeof fetch, typeof setTimeout, typeof Deno].join();\n",
        "",
    );
    assert_eq!(
        sandbox.flowbench(["run", "script"]).run().succeeds().stdout,
        "undefined,undefined,undefined,undefined,undefined\n"
    );
}
