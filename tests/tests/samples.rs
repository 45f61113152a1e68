//! The flows that ship: each runs on a fresh clone, without a build step first, and does what it teaches.

use flowbench_testkit::Sandbox;
use flowbench_testkit::binary::repository;
use serde_json::{Value, json};

const EXIT_CODE_QUESTION: &str = "question=Which exit code tells that the budget was spent?";

#[test]
fn every_sample_is_checked_without_findings() {
    let output = Sandbox::samples().flowbench(["check"]).run().succeeds();
    let flows = std::fs::read_dir(repository().join("flows")).expect("samples ship").count();
    assert!(flows >= 6, "at least six samples teach, and there are {flows}");
    let output = output.tells(&format!("{flows} flows, 0 errors"));
    assert_eq!(output.stdout, "", "a sample with findings teaches the wrong thing");
}

#[test]
fn ask_docs_answers_from_the_handbook_and_cites_it() {
    let sandbox = Sandbox::samples();
    let output = sandbox.flowbench(["run", "flows/ask-docs", "--input", EXIT_CODE_QUESTION]).run().succeeds();
    let answer = output.stdout.lines().next().unwrap_or_default().to_owned();
    assert!(answer.contains('6'), "budget spent is exit code 6: {}", output.told());
    assert!(
        answer.contains("[1]") || answer.contains("[2]") || answer.contains("[3]") || answer.contains("[4]"),
        "{}",
        output.told()
    );
}

#[test]
fn the_json_of_a_run_has_the_documented_keys() {
    let sandbox = Sandbox::samples();
    let output =
        sandbox.flowbench(["run", "flows/ask-docs", "--input", EXIT_CODE_QUESTION, "--format", "json"]).run();
    let told = output.succeeds().json();
    let keys: Vec<&str> =
        told.as_object().map(|told| told.keys().map(String::as_str).collect()).unwrap_or_default();
    assert_eq!(keys, ["run_id", "status", "outputs", "tokens", "cost"]);
    assert_eq!(told["status"], "completed");
    assert!(told["outputs"]["answer"].as_str().is_some_and(|answer| answer.contains('6')), "{told}");
}

#[test]
fn ask_docs_answers_its_evaluation_set() {
    let sandbox = Sandbox::samples();
    let arguments = [
        "batch",
        "flows/ask-docs",
        "--data",
        "eval-sets/ask-docs.jsonl",
        "--map",
        "question=${data.question}",
    ];
    let lines = sandbox.flowbench(arguments).run().succeeds().json_lines();
    let cases = sandbox.read("eval-sets/ask-docs.jsonl");
    let cases: Vec<Value> =
        cases.lines().map(|line| serde_json::from_str(line).expect("a case is JSON")).collect();
    assert_eq!(lines.len(), cases.len());
    for (line, case) in lines.iter().zip(&cases) {
        let answer = line["outputs"]["answer"].as_str().unwrap_or_default();
        let wanted: Vec<&str> =
            case["answers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert!(
            wanted.iter().any(|wanted| answer.contains(wanted)),
            "{} should hold one of {wanted:?}: {answer}",
            case["question"]
        );
    }
}

#[test]
fn a_conversation_keeps_its_history() {
    let sandbox = Sandbox::samples();
    let arguments = ["run", "flows/chat", "--interactive", "--set", "reply.model=counts"];
    let output = sandbox.flowbench(arguments).stdin("Hello\nAnd again\n").run().succeeds();
    let answers: Vec<&str> = output.stdout.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(answers.len(), 2, "{}", output.told());
    // System and question; then both of those, the first answer and the second question.
    assert!(answers[0].contains("\"messages\":2"), "{}", output.told());
    assert!(answers[1].contains("\"messages\":4"), "{}", output.told());
}

#[test]
fn a_conversation_ends_with_an_empty_line() {
    let sandbox = Sandbox::samples();
    let output = sandbox
        .flowbench(["run", "flows/chat", "--interactive"])
        .stdin("Hello\n\nNot asked\n")
        .run()
        .succeeds();
    assert_eq!(output.stdout, "Hello\n", "the stand-in echoes the only question");
}

#[test]
fn a_ticket_is_classified_by_the_chosen_variant() {
    let sandbox = Sandbox::samples();
    let label = |arguments: &[&str]| {
        let all = ["run", "flows/classify-ticket"].iter().chain(arguments).copied();
        sandbox.flowbench(all).run().succeeds().stdout
    };
    assert_eq!(label(&[]), "billing\n");
    assert_eq!(label(&["--variant", "classify=rules", "--input", "text=The site is down"]), "outage\n");
    // The stand-in echoes the ticket, and the label it holds is found.
    assert_eq!(label(&["--variant", "classify=model", "--input", "text=My account please"]), "account\n");
    // As prompt flow writes it.
    assert_eq!(label(&["--variant", "${classify.model}", "--input", "text=Hello"]), "other\n");
}

#[test]
fn a_matrix_runs_every_variant_over_every_ticket() {
    let sandbox = Sandbox::samples();
    let arguments = [
        "batch",
        "flows/classify-ticket",
        "--data",
        "eval-sets/tickets.jsonl",
        "--matrix",
        "classify=rules,model",
        "--out",
        "labels.jsonl",
    ];
    let _ = sandbox
        .flowbench(arguments)
        .run()
        .succeeds()
        .tells("variants classify=rules")
        .tells("variants classify=model");
    let labels = |file: &str| -> Vec<Value> {
        let text = sandbox.read(file);
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
        lines.map(|line| line["outputs"]["label"].clone()).collect()
    };
    let right: Vec<Value> = sandbox
        .read("eval-sets/tickets.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a case is JSON")["label"].clone())
        .collect();
    assert_eq!(labels("labels.classify=rules.jsonl"), right, "the rules get every ticket of the set right");
    let echoed = labels("labels.classify=model.jsonl");
    assert_eq!(echoed.len(), right.len());
    assert_eq!(echoed[2], "account", "the stand-in echoes a ticket that holds the label's word");
    assert_eq!(echoed[0], "other", "and one that does not");
    let runs = sandbox.flowbench(["runs", "list", "--format", "json"]).run().succeeds().json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2), "{runs}");
}

#[test]
fn a_contact_is_extracted_and_checked_by_its_schema() {
    let sandbox = Sandbox::samples();
    let output = sandbox.flowbench(["run", "flows/extract-contact", "--format", "json"]).run().succeeds();
    let wanted = json!({"email": "orders@example.com", "article": "B-40", "count": 12});
    assert_eq!(output.json()["outputs"]["record"], wanted);
    let text = "text=Nothing to order, write to me at a@b.se";
    let output = sandbox.flowbench(["run", "flows/extract-contact", "--input", text]).run().exits(1);
    assert!(output.stderr.contains("`order`"), "the failing node is named: {}", output.told());
}

#[test]
fn comments_are_screened_one_by_one() {
    let sandbox = Sandbox::samples();
    let output = sandbox.flowbench(["run", "flows/screen-comments", "--format", "json"]).run().succeeds();
    let screened = output.json()["outputs"]["screened"].clone();
    let outcomes: Vec<&str> =
        screened.as_array().into_iter().flatten().filter_map(|item| item["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["allow", "redact", "block"], "{screened}");
    assert!(!output.stdout.contains("4111"), "the card number is masked: {}", output.told());
    assert!(!output.stdout.contains("kim@example.com"), "the address is masked: {}", output.told());
}

#[test]
fn python_runs_only_with_the_users_word() {
    let sandbox = Sandbox::samples();
    let run = ["run", "flows/grade-answers"];
    let trusted = ["run", "flows/grade-answers", "--trust"];
    let _ = sandbox
        .flowbench(run)
        .run()
        .exits(2)
        .tells("error: flow `flows/grade-answers` runs Python, and its folder is not approved")
        .tells("hint: look at it; then allow it for this call with `--trust`")
        .tells("flowbench trust flows/grade-answers");
    assert_eq!(sandbox.flowbench(trusted).run().succeeds().stdout, "right\n");
    let _ = sandbox.flowbench(run).run().exits(2);
    let _ = sandbox.flowbench(["trust", "flows/grade-answers"]).run().succeeds();
    assert_eq!(sandbox.flowbench(run).run().succeeds().stdout, "right\n");
    let code = sandbox.read("flows/grade-answers/grade.py");
    sandbox.write("flows/grade-answers/grade.py", format!("{code}\n\nprint('changed')\n"));
    let _ = sandbox.flowbench(run).run().exits(2).tells("changed since it was approved");
    sandbox.write("flows/grade-answers/grade.py", code);
    let _ = sandbox.flowbench(run).run().succeeds();
    let _ = sandbox.flowbench(["trust", "flows/grade-answers", "--revoke"]).run().succeeds();
    let _ = sandbox.flowbench(run).run().exits(2);
}

#[test]
fn an_evaluation_grades_each_line_and_sums_up() {
    let sandbox = Sandbox::samples();
    let arguments =
        ["batch", "flows/grade-answers", "--data", "eval-sets/answers.jsonl", "--trust", "--format", "json"];
    let output = sandbox.flowbench(arguments).run().succeeds();
    let grades: Vec<Value> =
        output.json_lines().iter().map(|line| line["outputs"]["grade"].clone()).collect();
    assert_eq!(grades, ["right", "wrong", "right", "right"]);
    let summary: Value = output
        .stderr
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| panic!("no summary: {}", output.told()));
    let metrics = &summary["summary"]["metrics"];
    assert_eq!(metrics["right"], 3, "{summary}");
    assert_eq!(metrics["lines"], 4, "{summary}");
    let share = metrics["share_right"].as_f64().unwrap_or_default();
    assert!((share - 0.75).abs() < 1e-9, "{summary}");
}

#[test]
fn running_a_sample_changes_no_file_of_the_workspace() {
    let sandbox = Sandbox::samples();
    let before = sandbox.tree();
    let _ = sandbox.flowbench(["run", "flows/ask-docs"]).run().succeeds();
    let _ = sandbox.flowbench(["run", "flows/grade-answers", "--trust"]).run().succeeds();
    let after = sandbox.tree();
    let new: Vec<&String> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert!(new.is_empty(), "new files: {new:?}");
    assert!(before == after, "a file changed");
}
