//! The command line itself: help, completions, errors and exit codes, earlier runs.

use flowbench_testkit::Sandbox;
use flowbench_tests::write_question_flow;
use serde_json::Value;

const COMMANDS: [&str; 11] = [
    "check",
    "run",
    "batch",
    "runs",
    "import",
    "new",
    "models",
    "connections",
    "trust",
    "doctor",
    "completions",
];

fn room() -> Sandbox {
    let sandbox = Sandbox::new();
    write_question_flow(&sandbox, "ask", "builtin", "echo");
    sandbox
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let sandbox = room();
    let output = sandbox.flowbench(["--help"]).run().succeeds();
    for command in COMMANDS {
        assert!(output.stdout.contains(&format!("  {command} ")), "{command}: {}", output.told());
        let own = sandbox.flowbench([command, "--help"]).run().succeeds();
        assert!(own.stdout.contains("Usage: flowbench "), "{}", own.told());
    }
    for code in ["0 done", "2 wrong use", "6 budget spent", "130 interrupted"] {
        assert!(output.stdout.contains(code), "{code}: {}", output.told());
    }
    let _ = sandbox.flowbench(["--version"]).run().succeeds().prints("flowbench 0.");
}

#[test]
fn wrong_use_is_exit_2_with_a_usage_line() {
    let sandbox = room();
    for arguments in [
        &[][..],
        &["fly"],
        &["run"],
        &["run", "ask", "--fly"],
        &["batch", "ask"],
        &["run", "ask", "--format", "xml"],
    ] {
        let output = sandbox.flowbench(arguments).run().exits(2);
        assert!(output.stderr.contains("Usage: ") || output.stderr.contains("error: "), "{}", output.told());
        assert_eq!(output.stdout, "", "errors are not results");
    }
    let _ = sandbox
        .flowbench(["run", "ask", "--record", "a", "--replay", "b"])
        .run()
        .exits(2)
        .tells("cannot be used with");
}

#[test]
fn completions_are_printed_for_every_shell() {
    let sandbox = room();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = sandbox.flowbench(["completions", shell]).run().succeeds();
        assert!(output.stdout.contains("flowbench") && output.stdout.contains("batch"), "{shell}");
    }
    let _ = sandbox.flowbench(["completions", "tcsh"]).run().exits(2);
}

#[test]
fn man_pages_are_written_where_told() {
    let sandbox = room();
    let _ = sandbox.flowbench(["man", "pages"]).run().succeeds().tells("man pages are in `pages`");
    let page = sandbox.read("pages/flowbench-batch.1");
    assert!(page.contains(".TH") && page.contains("resume"), "{page}");
    assert!(sandbox.path("pages/flowbench.1").is_file());
}

#[test]
fn the_doctor_says_what_is_there() {
    let sandbox = room();
    let _ = sandbox.flowbench(["doctor"]).run().succeeds().prints("python").prints("workspace");
    let rows = sandbox.flowbench(["doctor", "--format", "json"]).run().succeeds().json();
    let rows = rows["rows"].as_array().cloned().unwrap_or_default();
    assert!(rows.iter().any(|row| row["what"] == "python" && row["health"] == "fine"), "{rows:?}");
    let output =
        sandbox.flowbench(["doctor", "--format", "json"]).variable("PATH", "/nowhere").run().succeeds();
    let rows = output.json();
    let python = rows["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|row| row["what"] == "python")
        .cloned()
        .unwrap_or_default();
    assert_eq!(python["health"], "limited", "{rows}");
    assert!(python["hint"].as_str().is_some_and(|hint| hint.contains("FLOWBENCH_PYTHON")), "{rows}");
}

#[test]
fn a_new_flow_runs_at_once() {
    let sandbox = Sandbox::new();
    for sample in ["chat", "classify-ticket", "extract-contact", "screen-comments"] {
        let name = format!("my-{sample}");
        let output = sandbox.flowbench(["new", "flow", &name, "--from", sample]).run().succeeds();
        assert!(output.stdout.contains(&format!("flows/{name}")), "{}", output.told());
        let _ = sandbox.flowbench(["check", &format!("flows/{name}")]).run().succeeds().tells("0 errors");
        let _ = sandbox.flowbench(["run", &format!("flows/{name}")]).run().succeeds();
    }
    let again = sandbox.flowbench(["new", "flow", "my-chat"]).run().exits(2);
    assert!(again.stderr.contains("is there already"), "{}", again.told());
    let _ = sandbox
        .flowbench(["new", "flow", "../outside"])
        .run()
        .exits(2)
        .tells("`../outside` is no name for a flow");
    let _ = sandbox
        .flowbench(["new", "flow", "x", "--from", "gone"])
        .run()
        .exits(2)
        .tells("there is no sample `gone`")
        .tells("chat");
}

#[test]
fn runs_are_listed_shown_and_traced() {
    let sandbox = room();
    let _ = sandbox.flowbench(["runs", "list"]).run().succeeds().tells("there is no run yet");
    let first = sandbox.flowbench(["run", "ask", "--input", "question=one"]).run().succeeds().run_id();
    let second = sandbox.flowbench(["run", "ask", "--input", "question=two"]).run().succeeds().run_id();
    let list = sandbox.flowbench(["runs", "list", "--format", "json"]).run().succeeds().json();
    let ids: Vec<&str> =
        list["runs"].as_array().into_iter().flatten().filter_map(|run| run["run_id"].as_str()).collect();
    assert_eq!(ids, [second.as_str(), first.as_str()], "latest first");
    let limited = sandbox.flowbench(["runs", "list", "--limit", "1"]).run().succeeds();
    assert_eq!(limited.stdout.lines().count(), 1, "{}", limited.told());
    let _ = sandbox
        .flowbench(["runs", "show", &first])
        .run()
        .succeeds()
        .prints("inputs.question: one")
        .prints("outputs.answer: one")
        .prints("status  completed");
    let last = sandbox.flowbench(["runs", "show", "last", "--format", "json"]).run().succeeds().json();
    assert_eq!(last["id"], second.as_str(), "{last}");
    let trace =
        sandbox.flowbench(["runs", "trace", &first, "--format", "json"]).run().succeeds().json_lines();
    let events: Vec<&str> = trace.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(events, ["run_started", "node_started", "model_called", "node_finished", "run_finished"]);
    let sequence: Vec<u64> = trace.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequence, [1, 2, 3, 4, 5], "one numbered stream");
    let _ =
        sandbox.flowbench(["runs", "trace", &first]).run().succeeds().prints("answer").prints("completed in");
    let _ = sandbox
        .flowbench(["runs", "show", "gone"])
        .run()
        .exits(2)
        .tells("there is no run `gone` in this workspace")
        .tells("hint: `flowbench runs list`");
}

#[test]
fn a_batch_is_traced_line_by_line_and_exported_as_prompt_flow_writes_it() {
    let sandbox = room();
    sandbox.write("data.jsonl", "{\"question\": \"one\"}\n{\"question\": \"two\"}\n");
    let _ = sandbox.flowbench(["batch", "ask", "--data", "data.jsonl", "--name", "it"]).run().succeeds();
    let _ = sandbox.flowbench(["runs", "trace", "it"]).run().succeeds().prints("line 0").prints("line 1");
    let one = sandbox
        .flowbench(["runs", "trace", "it", "--line", "1", "--format", "json"])
        .run()
        .succeeds()
        .json_lines();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["outputs"]["answer"], "two");
    let _ = sandbox.flowbench(["runs", "export", "it", "--out", "exported"]).run().succeeds();
    let outputs: Vec<Value> = sandbox
        .read("exported/flow_outputs/output.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert_eq!(outputs.len(), 2);
    assert_eq!((outputs[1]["line_number"].as_u64(), outputs[1]["answer"].as_str()), (Some(1), Some("two")));
}

#[test]
fn unknown_names_are_told_with_those_that_are_known() {
    let sandbox = room();
    let _ = sandbox
        .flowbench(["run", "gone"])
        .run()
        .exits(2)
        .tells("error: cannot open `gone`: it does not exist");
    sandbox.write("folder/readme.txt", "");
    let _ = sandbox
        .flowbench(["run", "folder"])
        .run()
        .exits(2)
        .tells("error: `folder` holds no `flow.dag.yaml`")
        .tells("hint: ");
    let _ = sandbox
        .flowbench(["run", "ask", "--input", "colour=red"])
        .run()
        .exits(2)
        .tells("error: flow `ask` has no input `colour`")
        .tells("question");
    let _ = sandbox
        .flowbench(["run", "ask", "--input", "question"])
        .run()
        .exits(2)
        .tells("error: `--input question` is not of the form NAME=VALUE");
    let _ = sandbox.flowbench(["run", "ask", "--variant", "gone=a"]).run().exits(2).tells("`gone`");
    let _ = sandbox.flowbench(["run", "ask", "--to", "gone"]).run().exits(2).tells("`gone`");
    let _ = sandbox.flowbench(["run", "ask", "--from", "gone"]).run().exits(2).tells("`gone`");
    let _ = sandbox
        .flowbench(["run", "ask", "--set", "gone.model=x"])
        .run()
        .exits(2)
        .tells("there is no node `gone`");
    let _ =
        sandbox.flowbench(["run", "ask", "--interactive"]).run().exits(2).tells("flow `ask` is no chat flow");
}

#[test]
fn errors_are_json_where_asked() {
    let sandbox = room();
    let output =
        sandbox.flowbench(["run", "ask", "--input", "colour=red", "--format", "json"]).run().exits(2);
    let error = &output.json()["error"];
    assert_eq!(error["code"], "input/unknown");
    assert_eq!(error["message"], "flow `ask` has no input `colour`");
    assert!(error["hints"].as_array().is_some_and(|hints| !hints.is_empty()), "{error}");
}

#[test]
fn exit_codes_are_those_of_the_table() {
    let sandbox = room();
    let run = |model: &str, more: &[&str]| {
        let set = format!("answer.model={model}");
        let all = ["run", "ask", "--no-cache", "--set", &set];
        sandbox.flowbench(all.iter().chain(more).copied()).run()
    };
    let _ = run("echo", &[]).exits(0);
    let _ = run("server-error", &["--budget-time", "100s"]).exits(1);
    let _ = run("gone", &[]).tells("gone");
    let _ = run("echo", &["--input", "gone=1"]).exits(2);
    let _ = run("echo", &["--budget-tokens", "0"]).exits(6);
    let _ = run("slow-5s", &["--budget-time", "100ms"]).exits(6);
}

#[test]
fn a_value_is_read_from_a_file_or_stdin() {
    let sandbox = room();
    sandbox.write("question.txt", "from a file");
    assert_eq!(
        sandbox.flowbench(["run", "ask", "--input", "question=@question.txt"]).run().succeeds().stdout,
        "from a file\n"
    );
    let output = sandbox
        .flowbench(["run", "ask", "--inputs", "-"])
        .stdin("{\"question\": \"from stdin\"}")
        .run()
        .succeeds();
    assert_eq!(output.stdout, "from stdin\n");
    let _ = sandbox
        .flowbench(["run", "ask", "--inputs", "-"])
        .stdin("[1]")
        .run()
        .exits(2)
        .tells("holds no JSON object");
    let _ = sandbox.flowbench(["run", "ask", "--inputs", "gone.json"]).run().exits(2).tells("gone.json");
}

#[test]
fn a_node_can_be_pinned_and_a_part_of_a_flow_run() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "two/flow.dag.yaml",
        "inputs: {n: {type: int, default: 1}}\noutputs: {out: {type: int, reference: '${b.output}'}}\n\
         nodes:\n- {name: a, type: script, source: {type: code, path: a.js}, inputs: {n: '${inputs.n}'}}\n\
         - {name: b, type: script, source: {type: code, path: b.js}, inputs: {n: '${a.output}'}}\n",
    );
    sandbox.write("two/a.js", "export default ({ n }) => n + 10;\n");
    sandbox.write("two/b.js", "export default ({ n }) => n * 2;\n");
    let run = |more: &[&str]| sandbox.flowbench(["run", "two"].iter().chain(more).copied()).run();
    assert_eq!(run(&[]).succeeds().stdout, "22\n");
    assert_eq!(run(&["--to", "a", "--input", "n=5"]).succeeds().stdout, "15\n");
    sandbox.write("a.json", "100");
    assert_eq!(run(&["--pin", "a=a.json"]).succeeds().stdout, "200\n");
    sandbox.write("two/b.js", "export default ({ n }) => n * 3;\n");
    assert_eq!(run(&["--from", "b", "--pin", "a=a.json"]).succeeds().stdout, "300\n");
}

#[test]
fn quiet_prints_results_only() {
    let sandbox = room();
    let output = sandbox.flowbench(["run", "ask", "--quiet"]).run().succeeds();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("Hello there\n", ""));
}

#[test]
fn a_folder_that_cannot_be_written_still_runs() {
    let sandbox = room();
    // A file where the state folder should be: whoever runs the tests, it cannot be created.
    sandbox.write(".flowbench", "in the way");
    let output = sandbox.flowbench(["run", "ask"]).run().succeeds();
    assert_eq!(output.stdout, "Hello there\n");
    assert_eq!(sandbox.read(".flowbench"), "in the way");
    assert!(sandbox.home(".local/state/flowbench").is_dir(), "its state lives with the user");
}

#[test]
fn connections_are_listed_without_their_secrets() {
    let sandbox = Sandbox::new().variable("OPENAI_API_KEY", flowbench_tests::KEY);
    sandbox.write(
        "connections.yaml",
        "connections:\n  - {name: mine, type: open_ai, base_url: 'http://127.0.0.1:9/v1', api_key: '${env:OPENAI_API_KEY}'}\n\
         \u{20}\u{20}- {name: careless, type: open_ai, api_key: sk-written-out-in-the-file}\n",
    );
    let text = sandbox.flowbench(["connections", "list"]).run().succeeds();
    let json = sandbox.flowbench(["connections", "list", "--format", "json"]).run().succeeds();
    for output in [&text, &json] {
        assert!(
            output.stdout.contains("mine") && output.stdout.contains("OPENAI_API_KEY"),
            "{}",
            output.told()
        );
        assert!(
            !output.stdout.contains(flowbench_tests::KEY) && !output.stdout.contains("sk-written"),
            "{}",
            output.told()
        );
    }
    let _ = sandbox.flowbench(["connections", "test", "mine", "--model", "x"]).run().exits(1);
}
