//! Models behind an endpoint: asking, streaming, tools, what goes wrong, secrets, recordings.

use std::time::Duration;

use flowbench_testkit::{Invocation, ModelServer, Output, Sandbox, Script};
use flowbench_tests::lines::write_questions;
use flowbench_tests::{KEY, write_connection, write_question_flow};
use serde_json::{Value, json};

struct Desk {
    sandbox: Sandbox,
    server: ModelServer,
    connections: String,
}

impl Desk {
    fn new(model: &str) -> Self {
        let sandbox = Sandbox::new().variable("OPENAI_API_KEY", KEY);
        let server = ModelServer::start();
        let connections = write_connection(&sandbox, &server);
        write_question_flow(&sandbox, "ask", "open_ai_connection", model);
        Self { sandbox, server, connections }
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command("run", more).run()
    }

    fn command(&self, command: &str, more: &[&str]) -> Invocation {
        let common = [command, "ask", "--no-cache", "--connections", &self.connections];
        self.sandbox.flowbench(common.iter().chain(more).copied())
    }

    /// Asserts that the key was used, and can be found nowhere afterwards.
    #[track_caller]
    fn assert_secret_kept(&self, outputs: &[&Output]) {
        let received = self.server.received();
        let bearer = format!("Bearer {KEY}");
        assert!(
            received.iter().any(|request| request.header("authorization") == Some(&bearer)),
            "the key was not even used"
        );
        for output in outputs {
            assert!(
                !output.stdout.contains(KEY) && !output.stderr.contains(KEY),
                "the key was printed\n{}",
                output.told()
            );
        }
        for (path, content) in self.sandbox.files() {
            assert!(!content.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "the key is in `{path}`");
        }
    }
}

#[test]
fn an_endpoint_of_the_users_own_is_asked_with_its_key() {
    let desk = Desk::new("echo");
    let output = desk.run(&["--input", "question=Hej", "--format", "json"]).succeeds();
    let told = output.json();
    assert_eq!(told["outputs"]["answer"], "Hej");
    assert!(told["tokens"]["input"].as_u64().is_some_and(|tokens| tokens > 0), "{told}");
    let received = desk.server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].path, "/v1/chat/completions");
    assert_eq!(received[0].body["model"], "echo");
    let wanted = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hej"}]);
    assert_eq!(received[0].body["messages"], wanted);
    let trace = desk.sandbox.flowbench(["runs", "trace", "last", "--format", "json"]).run().succeeds();
    desk.assert_secret_kept(&[&output, &trace]);
}

#[test]
fn an_answer_is_printed_as_it_comes() {
    let desk = Desk::new("stream-slowly");
    let running = desk
        .command("run", &["--stream", "--format", "json", "--input", "question=one two three four five six"])
        .spawn();
    // The first piece is there while the answer is still being written.
    let first = running.wait_for_stdout("node_chunk");
    assert!(first.contains("one"), "{first}");
    let output = running.finish().succeeds();
    let lines = output.json_lines();
    let pieces: String = lines
        .iter()
        .filter(|line| line["event"] == "node_chunk")
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert_eq!(pieces, "one two three four five six");
    assert_eq!(
        lines.last().map(|line| line["outputs"]["answer"].clone()),
        Some(json!("one two three four five six"))
    );
    assert_eq!(desk.server.received()[0].body["stream"], true);
    let text = desk.run(&["--stream", "--input", "question=a b c"]).succeeds();
    assert_eq!(text.stdout, "a b c\n");
}

#[test]
fn tools_are_python_nodes_called_until_the_model_answers() {
    let desk = Desk::new("tool-caller");
    let flow = desk.sandbox.read("ask/flow.dag.yaml");
    desk.sandbox.write(
        "ask/flow.dag.yaml",
        format!("{flow}  tools: [{{node: look_up}}]\n  max_steps: 4\n- name: look_up\n  type: python\n  source: {{type: code, path: look_up.py}}\n  inputs: {{unit: degrees}}\n"),
    );
    desk.sandbox.write(
        "ask/look_up.py",
        "from promptflow.core import tool\n\n\n@tool\ndef look_up(question: str, unit: str) -> str:\n    return f\"12 {unit} for {question}\"\n",
    );
    let output = desk.run(&["--trust", "--input", "question=Lund"]).succeeds();
    assert!(output.stdout.contains("12 degrees for"), "{}", output.told());
    let received = desk.server.received();
    assert_eq!(received.len(), 2, "asked, and asked again with the tool's result");
    let function = &received[0].body["tools"][0]["function"];
    assert_eq!(function["name"], "look_up");
    assert_eq!(
        function["parameters"]["required"],
        json!(["question"]),
        "what the flow sets is not the model's to choose"
    );
    let last = received[1].body["messages"]
        .as_array()
        .and_then(|messages| messages.last().cloned())
        .unwrap_or_default();
    assert_eq!(last["role"], "tool", "{last}");
}

#[test]
fn a_busy_endpoint_is_asked_again() {
    let desk = Desk::new("rate-limited-once");
    let output = desk.run(&["--input", "question=Hej", "--trace"]).succeeds();
    assert_eq!(output.stdout, "Hej\n");
    assert_eq!(desk.server.count(), 2);
    assert!(output.stderr.contains("attempt 1 failed"), "the trace tells of it: {}", output.told());
}

#[test]
fn a_told_waiting_time_is_kept() {
    let desk = Desk::new("rate-limited-once-after-300ms");
    let output = desk.run(&["--input", "question=Hej"]).succeeds();
    assert_eq!(desk.server.count(), 2);
    assert!(output.took >= Duration::from_millis(300), "asked again before the time that the server told");
}

#[test]
fn a_web_page_is_no_answer() {
    let desk = Desk::new("html");
    let output = desk.run(&[]).exits(1).tells("`answer`");
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains("HTML") || output.stderr.contains("web page"), "{}", output.told());
    assert!(output.stderr.contains("hint: "), "{}", output.told());
}

#[test]
fn an_answer_that_ends_early_is_no_answer() {
    for (model, more) in [("truncated", &[][..]), ("truncated", &["--stream"][..])] {
        let desk = Desk::new(model);
        let output = desk.run(&[&["--input", "question=one two three four five six seven"], more].concat());
        assert_eq!(output.code, Some(1), "{}", output.told());
        assert!(output.stderr.contains("error: "), "{}", output.told());
    }
}

#[test]
fn a_server_that_lies_is_told() {
    let good =
        json!({"choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]})
            .to_string();
    let cases: [(&str, Script); 6] = [
        ("nothing at all", Script::bytes("")),
        ("half a head", Script::bytes("HTTP/1.1 200 OK\r\ncontent-le")),
        (
            "a length too long",
            Script::bytes(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n{good}"
            )),
        ),
        ("no JSON", Script::answer(200, &["content-type: application/json"], "{\"choices\": [")),
        ("other JSON", Script::json(200, &json!({"hello": "world"}))),
        ("rubbish", Script::bytes([0u8, 159, 146, 150].repeat(100))),
    ];
    for (what, script) in cases {
        let desk = Desk::new("echo");
        // However often it asks.
        for _ in 0..12 {
            desk.server.script(script.clone());
        }
        let output = desk.run(&["--budget-time", "60s"]);
        assert!(matches!(output.code, Some(1 | 6)), "{what}: {}", output.told());
        assert!(
            output.stderr.contains("error: ") && !output.stderr.contains("panicked"),
            "{what}: {}",
            output.told()
        );
    }
}

#[test]
fn a_server_that_stalls_costs_no_more_than_the_nodes_timeout() {
    let desk = Desk::new("stalls");
    let flow = desk.sandbox.read("ask/flow.dag.yaml");
    desk.sandbox.write("ask/flow.dag.yaml", format!("{flow}  timeout: 1\n"));
    let output = desk.run(&[]).exits(1);
    assert!(output.took < Duration::from_secs(20), "{:?}", output.took);
    assert!(output.stderr.contains("1 s") || output.stderr.contains("timeout"), "{}", output.told());
}

#[test]
fn a_key_in_an_answer_or_error_is_masked() {
    let desk = Desk::new("echo");
    desk.server.script(Script::json(401, &json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"}})));
    let refused = desk.run(&["--trace"]).exits(1);
    assert!(
        refused.stderr.contains("401") || refused.stderr.contains("Incorrect API key"),
        "{}",
        refused.told()
    );
    let question = format!("question=repeat {KEY}");
    let echoed = desk.run(&["--format", "json", "--trace", "-v"]).succeeds();
    // What the user types is the user's, and is still not kept.
    let typed = desk.run(&["--input", &question]).succeeds();
    desk.assert_secret_kept(&[&refused, &echoed]);
    assert!(typed.stdout.contains("repeat"), "{}", typed.told());
}

#[test]
fn a_host_that_only_the_folder_names_needs_the_users_word() {
    let desk = Desk::new("echo");
    let text = std::fs::read_to_string(&desk.connections).expect("it was just written");
    desk.sandbox.write("connections.yaml", text);
    let run = |more: &[&str]| {
        desk.sandbox.flowbench(["run", "ask", "--input", "question=Hej"].iter().chain(more).copied()).run()
    };
    let _ = run(&[]).exits(2).tells("`open_ai_connection`").tells("hint: ").tells("--trust");
    assert_eq!(desk.server.count(), 0, "nothing was asked");
    assert_eq!(run(&["--trust"]).succeeds().stdout, "Hej\n");
    let _ = desk.sandbox.flowbench(["trust", "ask"]).run().succeeds();
    assert_eq!(run(&[]).succeeds().stdout, "Hej\n");
}

#[test]
fn a_host_in_the_users_own_settings_needs_no_word() {
    let desk = Desk::new("echo");
    let own = desk.sandbox.home(".config/flowbench");
    std::fs::create_dir_all(&own).expect("a folder can be made");
    std::fs::copy(&desk.connections, own.join("connections.yaml")).expect("a file can be copied");
    assert_eq!(
        desk.sandbox.flowbench(["run", "ask", "--input", "question=Hej"]).run().succeeds().stdout,
        "Hej\n"
    );
}

#[test]
fn a_missing_connection_is_told_with_what_is_known() {
    let sandbox = Sandbox::new();
    write_question_flow(&sandbox, "ask", "gone", "echo");
    let output = sandbox.flowbench(["run", "ask"]).run();
    assert!(matches!(output.code, Some(1 | 2)), "{}", output.told());
    let _ = output.tells("connection `gone` is not configured").tells("--connections");
}

#[test]
fn a_recorded_run_is_replayed_without_its_server() {
    let desk = Desk::new("counts");
    let inputs = ["--input", "question=How many words are these", "--format", "json"];
    let recorded = desk.run(&[&inputs[..], &["--record", "calls.jsonl"]].concat()).succeeds();
    let batch = write_and_record_batch(&desk);
    let recording = desk.sandbox.read("calls.jsonl");
    assert!(!recording.is_empty() && !recording.contains(KEY));
    desk.assert_secret_kept(&[&recorded, &batch]);
    let Desk { sandbox, server, connections } = desk;
    let asked = server.count();
    drop(server);
    let replay = |arguments: &[&str]| {
        sandbox.flowbench(arguments.iter().copied()).variable("OPENAI_API_KEY", "").run()
    };
    let common = ["run", "ask", "--no-cache", "--replay", "calls.jsonl", "--connections", &connections];
    let replayed = replay(&[&common[..], &inputs[..]].concat()).succeeds();
    let without_id = |output: &Output| {
        let mut told = output.json();
        told["run_id"] = Value::Null;
        told.to_string()
    };
    assert_eq!(without_id(&replayed), without_id(&recorded), "byte for byte, but for the run's id");
    let text = replay(&[&common[..], &inputs[..2]].concat()).succeeds();
    assert_eq!(Some(text.stdout.trim_end()), recorded.json()["outputs"]["answer"].as_str());
    let replayed =
        replay(&["batch", "ask", "--no-cache", "--data", "data.jsonl", "--replay", "batch.jsonl"]).succeeds();
    assert_eq!(replayed.stdout, batch.stdout);
    assert_eq!(asked, 1 + 12);
    let other = replay(&[
        "run",
        "ask",
        "--no-cache",
        "--replay",
        "calls.jsonl",
        "--input",
        "question=Something else",
    ]);
    assert!(matches!(other.code, Some(1 | 2)), "what was not recorded is not made up: {}", other.told());
    let _ = replay(&["run", "ask", "--replay", "gone.jsonl"]).exits(2).tells("gone.jsonl");
}

fn write_and_record_batch(desk: &Desk) -> Output {
    write_questions(&desk.sandbox, 12);
    desk.command("batch", &["--data", "data.jsonl", "--record", "batch.jsonl"]).run().succeeds()
}

#[test]
fn results_are_reused_and_the_reason_is_told() {
    let desk = Desk::new("echo");
    let run = |more: &[&str]| {
        let common = [
            "run",
            "ask",
            "--trace",
            "-v",
            "--connections",
            &desk.connections,
            "--set",
            "answer.temperature=0",
        ];
        desk.sandbox.flowbench(common.iter().chain(more).copied()).run().succeeds()
    };
    let first = run(&["--input", "question=Hej"]);
    let again = run(&["--input", "question=Hej"]);
    assert_eq!(
        desk.server.count(),
        1,
        "the same question is not asked twice\n{}\n{}",
        first.told(),
        again.told()
    );
    assert_eq!(again.stdout, first.stdout);
    assert!(again.stderr.contains("reused"), "{}", again.told());
    let other = run(&["--input", "question=Hallo"]);
    assert_eq!(desk.server.count(), 2);
    assert!(other.stderr.contains("not reused: "), "{}", other.told());
}

#[test]
fn an_embedding_endpoint_gives_vectors() {
    let desk = Desk::new("echo");
    desk.sandbox.write(
        "embed/flow.dag.yaml",
        "inputs: {text: {type: string, default: Hej}}\noutputs: {vector: {type: list, reference: '${vector.output}'}}\n\
         nodes:\n- {name: vector, type: embed, connection: open_ai_connection, inputs: {model: embed, text: '${inputs.text}'}}\n",
    );
    let arguments = ["run", "embed", "--format", "json", "--connections", &desk.connections];
    let output = desk.sandbox.flowbench(arguments).run().succeeds();
    let vector = output.json()["outputs"]["vector"].clone();
    assert!(
        vector.as_array().is_some_and(|vector| vector.len() > 1 && vector.iter().all(Value::is_number)),
        "{vector}"
    );
    assert_eq!(desk.server.received()[0].path, "/v1/embeddings");
}
