//! Many lines: data and mapping, failed lines, killing and going on, budgets, chained runs.

use std::collections::BTreeSet;

use flowbench_testkit::{ModelServer, Output, Sandbox};
use flowbench_tests::lines::{finished_lines, write_jsonl, write_questions};
use flowbench_tests::{KEY, write_connection, write_question_flow};
use serde_json::{Value, json};

/// A flow whose script fails where it is told to, and its data.
fn write_double_flow(sandbox: &Sandbox) {
    sandbox.write(
        "double/flow.dag.yaml",
        "inputs:\n  number: {type: int}\n  label: {type: string, default: none}\n\
         outputs:\n  double: {type: int, reference: '${double.output}'}\n  label: {type: string, reference: '${inputs.label}'}\n\
         nodes:\n- name: double\n  type: script\n  source: {type: code, path: double.js}\n  inputs: {number: '${inputs.number}'}\n",
    );
    sandbox.write(
        "double/double.js",
        "export default function ({ number }) {\n  if (number < 0) throw new Error(`negative: ${number}`);\n  return number * 2;\n}\n",
    );
}

fn doubles(output: &Output) -> Vec<Value> {
    output.json_lines().iter().map(|line| line["outputs"]["double"].clone()).collect()
}

#[test]
fn lines_come_in_the_order_of_the_data() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    let data: Vec<Value> = (0..50).map(|number| json!({"number": number})).collect();
    write_jsonl(&sandbox, "data.jsonl", &data);
    let output =
        sandbox.flowbench(["batch", "double", "--data", "data.jsonl", "--parallel", "8"]).run().succeeds();
    let lines = output.json_lines();
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line["line_number"].as_u64()).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    assert_eq!(doubles(&output), (0..50).map(|number| json!(number * 2)).collect::<Vec<_>>());
    let keys: Vec<&str> =
        lines[0].as_object().map(|line| line.keys().map(String::as_str).collect()).unwrap_or_default();
    assert_eq!(keys, ["line_number", "status", "outputs", "error"]);
    assert!(output.stderr.contains("50 of 50 lines in "), "{}", output.told());
}

#[test]
fn columns_of_csv_are_mapped_and_converted() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    sandbox.write("data.csv", "n,colour\n1,red\n2,\"deep, blue\"\n");
    let arguments = [
        "batch",
        "double",
        "--data",
        "data.csv",
        "--map",
        "number=${data.n}",
        "--map",
        "label=${data.colour}",
    ];
    let output = sandbox.flowbench(arguments).run().succeeds();
    assert_eq!(doubles(&output), [2, 4], "text of a cell becomes the declared type");
    let labels: Vec<Value> =
        output.json_lines().iter().map(|line| line["outputs"]["label"].clone()).collect();
    assert_eq!(labels, ["red", "deep, blue"]);
}

#[test]
fn a_data_column_beats_a_default_and_says_so() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    write_jsonl(&sandbox, "data.jsonl", &[json!({"number": 1, "label": "mine"})]);
    let output = sandbox.flowbench(["batch", "double", "--data", "data.jsonl"]).run().succeeds();
    assert_eq!(output.json_lines()[0]["outputs"]["label"], "mine", "the data was given for this");
    assert!(output.stderr.contains("warning: ") && output.stderr.contains("label"), "{}", output.told());
}

#[test]
fn wrong_data_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    write_jsonl(&sandbox, "data.jsonl", &[json!({"number": 1})]);
    let batch = |more: &[&str]| sandbox.flowbench(["batch", "double"].iter().chain(more).copied()).run();
    let _ = batch(&["--data", "gone.jsonl"]).exits(2).tells("gone.jsonl");
    let _ = batch(&["--data", "data.jsonl", "--map", "number=${data.gone}"]).exits(2).tells("gone");
    let _ = batch(&["--data", "data.jsonl", "--map", "colour=${data.number}"]).succeeds().tells("`colour`");
    let _ =
        batch(&["--data", "data.jsonl", "--map", "number"]).exits(2).tells("is not of the form INPUT=VALUE");
    sandbox.write("broken.jsonl", "{\"number\": 1}\n{\"number\": \n");
    let _ = batch(&["--data", "broken.jsonl"]).exits(2).tells("broken.jsonl").tells("2");
    sandbox.write("empty.jsonl", "");
    let output = batch(&["--data", "empty.jsonl"]);
    assert!(matches!(output.code, Some(0 | 2)) && output.stdout.is_empty(), "{}", output.told());
}

#[test]
fn failed_lines_are_told_and_the_others_are_done() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    let data = [1, -2, 3, -4].map(|number| json!({"number": number}));
    write_jsonl(&sandbox, "data.jsonl", &data);
    let batch = |more: &[&str]| {
        sandbox.flowbench(["batch", "double", "--data", "data.jsonl"].iter().chain(more).copied()).run()
    };
    let output = batch(&[]).exits(1).tells("4 of 4 lines, 2 failed").tells("--retry-failed");
    let lines = output.json_lines();
    let statuses: Vec<&str> = lines.iter().filter_map(|line| line["status"].as_str()).collect();
    assert_eq!(statuses, ["completed", "failed", "completed", "failed"]);
    let error = &lines[1]["error"];
    assert!(error["message"].as_str().is_some_and(|message| message.contains("negative: -2")), "{error}");
    assert_eq!(error["node"], "double", "{error}");
    let _ = batch(&["--max-failed", "1"]).exits(1);
    let _ = batch(&["--max-failed", "2"]).succeeds();
}

#[test]
fn a_line_that_does_not_fit_its_type_fails_alone() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    write_jsonl(
        &sandbox,
        "data.jsonl",
        &[json!({"number": 1}), json!({"number": "x"}), json!({"number": "3"})],
    );
    let output = sandbox.flowbench(["batch", "double", "--data", "data.jsonl"]).run().exits(1);
    assert_eq!(doubles(&output), [json!(2), Value::Null, json!(6)], "prompt flow loses the whole batch here");
}

#[test]
fn failed_lines_are_run_again_on_request() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    sandbox.write("double/double.js", "export default function () { throw new Error('not yet') }\n");
    write_question_flow(&sandbox, "ask", "builtin", "echo");
    let server = ModelServer::start();
    let connections = write_connection(&sandbox, &server);
    write_question_flow(&sandbox, "ask", "open_ai_connection", "echo");
    write_questions(&sandbox, 3);
    for _ in 0..3 {
        server.script(flowbench_testkit::Script::json(400, &json!({"error": {"message": "not today"}})));
    }
    let batch = |more: &[&str]| {
        let common = ["batch", "ask", "--connections", &connections, "--no-cache"];
        sandbox.flowbench(common.iter().chain(more).copied()).variable("OPENAI_API_KEY", KEY).run()
    };
    let _ = batch(&["--data", "data.jsonl", "--name", "again"]).exits(1).tells("3 failed");
    let _ = batch(&["--resume", "again"]).exits(1).tells("3 failed");
    assert_eq!(server.count(), 3, "a failed line is finished, and is not asked again unless told so");
    let output = batch(&["--resume", "again", "--retry-failed"]).succeeds();
    assert_eq!(server.count(), 6);
    let answers: Vec<Value> =
        output.json_lines().iter().map(|line| line["outputs"]["answer"].clone()).collect();
    assert_eq!(answers, ["line 0", "line 1", "line 2"]);
}

#[test]
fn only_the_first_lines_run_on_request() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    write_jsonl(&sandbox, "data.jsonl", &[json!({"number": 1}), json!({"number": 2}), json!({"number": -3})]);
    let output =
        sandbox.flowbench(["batch", "double", "--data", "data.jsonl", "--limit", "2"]).run().succeeds();
    assert_eq!(doubles(&output), [2, 4]);
}

#[test]
fn results_go_to_a_file_on_request() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    write_jsonl(&sandbox, "data.jsonl", &[json!({"number": 1})]);
    let arguments = ["batch", "double", "--data", "data.jsonl", "--out", "out.jsonl"];
    let output = sandbox.flowbench(arguments).run().succeeds();
    assert_eq!(output.stdout, "");
    assert_eq!(
        sandbox.read("out.jsonl"),
        "{\"line_number\":0,\"status\":\"completed\",\"outputs\":{\"double\":2,\"label\":\"none\"},\"error\":null}\n"
    );
}

#[test]
fn an_earlier_run_feeds_a_later_one() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    write_jsonl(&sandbox, "data.jsonl", &[json!({"number": 1}), json!({"number": -2}), json!({"number": 3})]);
    let _ = sandbox.flowbench(["batch", "double", "--data", "data.jsonl", "--name", "first"]).run().exits(1);
    let arguments = [
        "batch",
        "double",
        "--run",
        "first",
        "--data",
        "data.jsonl",
        "--map",
        "number=${run.outputs.double}",
    ];
    let output = sandbox.flowbench(arguments).run().succeeds();
    assert_eq!(doubles(&output), [4, 12], "the failed line drops out");
    let numbers: Vec<u64> =
        output.json_lines().iter().filter_map(|line| line["line_number"].as_u64()).collect();
    assert_eq!(numbers, [0, 2]);
    let _ = sandbox
        .flowbench(["batch", "double", "--run", "gone", "--data", "data.jsonl"])
        .run()
        .exits(2)
        .tells("there is no run `gone`");
}

/// A batch of questions to a server, slow enough to be interrupted.
struct Slow {
    sandbox: Sandbox,
    server: ModelServer,
    connections: String,
    count: usize,
}

impl Slow {
    fn new(count: usize) -> Self {
        let sandbox = Sandbox::new().variable("OPENAI_API_KEY", KEY);
        let server = ModelServer::start();
        let connections = write_connection(&sandbox, &server);
        write_question_flow(&sandbox, "ask", "open_ai_connection", "slow-20ms");
        write_questions(&sandbox, count);
        Self { sandbox, server, connections, count }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let common = ["batch", "ask", "--connections", &self.connections, "--no-cache", "--parallel", "4"];
        common.into_iter().chain(more.iter().copied()).collect()
    }

    fn journal(&self) -> std::path::PathBuf {
        self.sandbox.path(".flowbench/runs/it/journal.jsonl")
    }

    /// What an undisturbed run gives.
    fn expected(&self) -> String {
        let line = |line: usize| {
            format!(
                "{{\"line_number\":{line},\"status\":\"completed\",\"outputs\":{{\"answer\":\"line {line}\"}},\"error\":null}}\n"
            )
        };
        (0..self.count).map(line).collect()
    }

    /// Questions asked since the last time.
    fn asked(&self) -> Vec<u64> {
        let received = self.server.take_received();
        let question =
            |body: &Value| body.pointer("/messages/1/content")?.as_str()?.strip_prefix("line ")?.parse().ok();
        received.iter().filter_map(|request| question(&request.body)).collect()
    }

    /// Asserts that what the journal held before was not asked again.
    #[track_caller]
    fn assert_none_repeated(&self, before: &[u64], asked: &[u64]) {
        let before: BTreeSet<u64> = before.iter().copied().collect();
        let repeated: Vec<u64> = asked.iter().copied().filter(|line| before.contains(line)).collect();
        assert!(repeated.is_empty(), "finished lines were asked again: {repeated:?}");
    }
}

#[test]
fn an_undisturbed_batch_gives_every_line_once() {
    let slow = Slow::new(40);
    let output =
        slow.sandbox.flowbench(slow.arguments(&["--data", "data.jsonl", "--name", "it"])).run().succeeds();
    assert_eq!(output.stdout, slow.expected());
    let mut asked = slow.asked();
    asked.sort_unstable();
    assert_eq!(asked, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_killed_batch_goes_on_where_it_was() {
    let slow = Slow::new(40);
    let mut arguments = slow.arguments(&["--data", "data.jsonl", "--name", "it"]);
    let mut finished = Vec::new();
    // Killed again and again, the first time before anything was done.
    for until in [0, 1, 7, 20, 35] {
        let mut running = slow.sandbox.flowbench(&arguments).spawn();
        let journal = slow.journal();
        running.wait_until("the journal holds enough lines", || {
            journal.is_file() && finished_lines(&journal).len() >= until
        });
        let output = running.kill();
        assert_eq!(output.code, None, "killed before its end: {}", output.told());
        slow.assert_none_repeated(&finished, &slow.asked());
        finished = finished_lines(&slow.journal());
        arguments = slow.arguments(&["--resume", "it"]);
    }
    assert!(finished.len() >= 35);
    let output = slow.sandbox.flowbench(&arguments).run().succeeds().tells("40 of 40 lines");
    slow.assert_none_repeated(&finished, &slow.asked());
    assert_eq!(output.stdout, slow.expected(), "as if nothing had happened");
    let mut lines = finished_lines(&slow.journal());
    lines.sort_unstable();
    assert_eq!(lines, (0..40).collect::<Vec<_>>(), "each line is in the journal once");
    let again = slow.sandbox.flowbench(&arguments).run().succeeds();
    assert_eq!(again.stdout, slow.expected(), "a finished batch may be asked for again");
    assert_eq!(slow.asked(), [] as [u64; 0]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_batch_goes_on_where_it_was() {
    let slow = Slow::new(40);
    let mut running =
        slow.sandbox.flowbench(slow.arguments(&["--data", "data.jsonl", "--name", "it"])).spawn();
    let journal = slow.journal();
    running.wait_until("the journal holds five lines", || finished_lines(&journal).len() >= 5);
    running.interrupt();
    let output = running.finish().exits(130).tells("interrupted");
    assert!(output.stderr.contains("--resume it"), "the way on is told: {}", output.told());
    let finished = finished_lines(&journal);
    let _ = slow.asked();
    let output = slow.sandbox.flowbench(slow.arguments(&["--resume", "it"])).run().succeeds();
    slow.assert_none_repeated(&finished, &slow.asked());
    assert_eq!(output.stdout, slow.expected());
}

#[test]
fn a_batch_ends_when_its_budget_is_spent_and_goes_on_with_more() {
    let slow = Slow::new(30);
    // Each line costs a few tokens; the budget is for some of them.
    let arguments = slow.arguments(&["--data", "data.jsonl", "--name", "it", "--budget-tokens", "60"]);
    let output = slow.sandbox.flowbench(arguments).run().exits(6).tells("--resume it");
    let finished = finished_lines(&slow.journal());
    assert!(!finished.is_empty() && finished.len() < 30, "{} lines: {}", finished.len(), output.told());
    let _ = slow.asked();
    let output = slow.sandbox.flowbench(slow.arguments(&["--resume", "it"])).run().succeeds();
    slow.assert_none_repeated(&finished, &slow.asked());
    assert_eq!(output.stdout, slow.expected());
}

#[test]
fn a_batch_goes_on_only_with_what_it_began_with() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    write_jsonl(&sandbox, "data.jsonl", &[json!({"number": 1})]);
    let _ = sandbox.flowbench(["batch", "double", "--data", "data.jsonl", "--name", "it"]).run().succeeds();
    let _ = sandbox
        .flowbench(["batch", "double", "--data", "data.jsonl", "--name", "it"])
        .run()
        .exits(2)
        .tells("`it`");
    write_jsonl(&sandbox, "data.jsonl", &[json!({"number": 2})]);
    let _ = sandbox.flowbench(["batch", "double", "--resume", "it"]).run().exits(2).tells("the data");
    write_jsonl(&sandbox, "data.jsonl", &[json!({"number": 1})]);
    let script = sandbox.read("double/double.js");
    sandbox.write("double/double.js", script.replace("* 2", "* 3"));
    let _ = sandbox.flowbench(["batch", "double", "--resume", "it"]).run().exits(2).tells("the flow");
    let _ = sandbox
        .flowbench(["batch", "double", "--resume", "gone"])
        .run()
        .exits(2)
        .tells("there is no run `gone`");
}

#[test]
fn two_processes_cannot_run_one_batch() {
    let slow = Slow::new(40);
    let mut running =
        slow.sandbox.flowbench(slow.arguments(&["--data", "data.jsonl", "--name", "it"])).spawn();
    let journal = slow.journal();
    running.wait_until("the journal holds a line", || !finished_lines(&journal).is_empty());
    let second = slow.sandbox.flowbench(slow.arguments(&["--resume", "it"])).run();
    assert!(matches!(second.code, Some(1 | 2)), "{}", second.told());
    let output = running.finish().succeeds();
    assert_eq!(output.stdout, slow.expected());
}

#[test]
fn a_run_file_of_prompt_flow_says_everything() {
    let sandbox = Sandbox::new();
    write_double_flow(&sandbox);
    write_jsonl(&sandbox, "data.jsonl", &[json!({"n": 1}), json!({"n": 2})]);
    sandbox.write(
        "run.yaml",
        "flow: double\ndata: data.jsonl\ncolumn_mapping:\n  number: ${data.n}\n  label: fixed\n",
    );
    let output = sandbox.flowbench(["batch", "double", "--file", "run.yaml"]).run().succeeds();
    assert_eq!(doubles(&output), [2, 4]);
    assert_eq!(output.json_lines()[0]["outputs"]["label"], "fixed");
}
