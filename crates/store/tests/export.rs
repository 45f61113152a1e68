//! A batch written as prompt flow's run folder, compared with one that prompt flow itself has written.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowbench_core::event::{Failure, Status};
use flowbench_core::ids::NodeId;
use flowbench_store::export::{ExportError, FlowSnapshot, export_promptflow};
use flowbench_store::{JournalEnd, JournalHeader, JournalReader, LineRecord, NodeRecord, RunJournal};
use serde_json::{Map, Value, json};

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not a map: {other}"),
    }
}

fn reference() -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/promptflow/expected/run-folder.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Start of the run: 2026-04-20 12:00:00 UTC.
const START: u64 = 1_776_686_400_000;

fn node(name: &str, inputs: Value, output: Value) -> NodeRecord {
    NodeRecord {
        inputs: map(inputs),
        output,
        started_ms: START,
        duration_ms: 12,
        ..NodeRecord::new(NodeId::from(name), Status::Completed)
    }
}

fn line(number: u64, text: &str, value: i64) -> LineRecord {
    let inputs = map(json!({"text": text, "number": value}));
    let mut line = LineRecord {
        inputs,
        started_ms: START,
        duration_ms: 34,
        ..LineRecord::new(number, Status::Completed)
    };
    let mut double = node("double", json!({"number": value}), json!(value * 2));
    double.stdout = format!("doubling {value}\n");
    if value < 0 {
        let failure = Failure {
            code: "code/raised".to_owned(),
            message: format!("Execution failure in 'double': (ValueError) negative: {value}"),
            hints: Vec::new(),
            node: Some(NodeId::from("double")),
            details: Some(
                json!({"type": "ValueError", "message": format!("negative: {value}"), "traceback": "TRACEBACK",
                                 "filename": "ROOM/flows/mixed-lines/double.py", "lineno": 8, "name": "double"}),
            ),
        };
        double.status = Status::Failed;
        double.output = Value::Null;
        double.error = Some(failure.clone());
        line.status = Status::Failed;
        line.error = Some(failure);
        line.nodes = vec![double];
        return line;
    }
    let answer = format!("{text} and {}", value * 2);
    line.outputs = map(json!({"answer": answer, "doubled": value * 2, "text": text}));
    let inputs = json!({"model": "last", "text": text, "doubled": value * 2, "_inputs_to_escape": ["text"]});
    line.nodes = vec![double, node("ask", inputs, json!(answer))];
    line
}

/// The run that the reference was made from.
fn journal(folder: &Path) -> JournalReader {
    let header = JournalHeader { started_ms: START, ..JournalHeader::new("RUN", "mixed-lines") };
    let journal = RunJournal::create(&folder.join("journal.jsonl"), &header).unwrap();
    for (number, text, value) in [(2, "three", 3), (0, "one", 1), (1, "two", -2)] {
        journal.append(&line(number, text, value)).unwrap();
    }
    let total = node("total", json!({"values": [2, 6], "texts": ["one", "three"]}), json!(8));
    let end = JournalEnd {
        status: Status::Completed,
        finished_ms: START + 100,
        metrics: map(json!({"total": 8, "lines": 2})),
        nodes: vec![total],
        error: None,
    };
    journal.finish(Some(&end)).unwrap()
}

fn flow_folder(folder: &Path, files: &Value) -> PathBuf {
    let flow = folder.join("flow");
    for (name, content) in files.as_object().unwrap() {
        if let Some(name) = name.strip_prefix("snapshot/") {
            fs::create_dir_all(&flow).unwrap();
            fs::write(flow.join(name), content["text"].as_str().unwrap()).unwrap();
        }
    }
    flow
}

fn files(root: &Path, folder: &Path, found: &mut BTreeMap<String, Value>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(root, &path, found);
            continue;
        }
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let content = match name.rsplit_once('.').unwrap().1 {
            _ if name == "logs.txt" => json!({"log": true}),
            "log" => json!({"log": true}),
            "jsonl" => {
                let lines: Vec<Value> =
                    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                json!({"lines": lines})
            }
            "json" => json!({"json": serde_json::from_str::<Value>(&text).unwrap()}),
            _ => json!({"text": text}),
        };
        found.insert(name, content);
    }
}

/// Takes out what cannot be equal: moments, durations, traces of another interpreter, and the time stamps that
/// prompt flow puts before each printed piece.
fn still(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, item)| still(item, &key.clone())),
        Value::Array(items) => items.iter_mut().for_each(|item| still(item, key)),
        _ => {}
    }
    match key {
        "start_time" | "end_time" if !value.is_null() => *value = json!("TIME"),
        "duration" => *value = json!(0),
        "stackTrace" | "traceback" => *value = json!("TRACEBACK"),
        "stdout" => *value = json!(value.as_str().unwrap_or_default().replace("[TIME] ", "")),
        "innerException" => *value = Value::Null,
        _ => {}
    }
}

#[test]
fn a_run_folder_is_the_one_that_prompt_flow_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = reference()["files"].take();
    let snapshot = FlowSnapshot::new(flow_folder(folder.path(), &expected));
    let target = folder.path().join("run");
    export_promptflow(&journal(folder.path()), Some(&snapshot), &target).unwrap();
    let mut found = BTreeMap::new();
    files(&target, &target, &mut found);
    let expected_names: Vec<String> = expected.as_object().unwrap().keys().cloned().collect();
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), expected_names, "the same files");
    for (name, mut content) in found {
        let expected = &mut expected[&name];
        still(&mut content, "");
        still(expected, "");
        assert_eq!(content, *expected, "{name}");
        assert_eq!(content.to_string(), expected.to_string(), "{name}: fields in the same order");
    }
}

#[test]
fn times_are_written_as_python_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("run");
    export_promptflow(&journal(folder.path()), None, &target).unwrap();
    let text = fs::read_to_string(target.join("flow_artifacts/000000000_000000000.jsonl")).unwrap();
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["start_time"], "2026-04-20T12:00:00.000000");
    assert_eq!(line["run_info"]["end_time"], "2026-04-20T12:00:00.034000Z");
    let log = fs::read_to_string(target.join("logs.txt")).unwrap();
    assert!(
        log.contains("2026-04-20 12:00:00 +0000 execution          INFO     [line 1] failed in 34 ms: "),
        "{log}"
    );
}

#[test]
fn an_export_stays_within_its_target_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let header = JournalHeader::new("RUN", "f");
    let journal = RunJournal::create(&folder.path().join("journal.jsonl"), &header).unwrap();
    let mut record = line(0, "one", 1);
    record.nodes[0].node = NodeId::from("../../evil");
    journal.append(&record).unwrap();
    let reader = journal.finish(None).unwrap();

    let flow = folder.path().join("flow");
    fs::create_dir_all(flow.join(".git")).unwrap();
    fs::write(flow.join(".git/config"), "x").unwrap();
    fs::write(folder.path().join("secret"), "x").unwrap();
    fs::write(flow.join("flow.dag.yaml"), "old").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("secret"), flow.join("link")).unwrap();
    let snapshot = FlowSnapshot {
        folder: flow,
        replaced: vec![("flow.dag.yaml".into(), "new".to_owned()), ("../../outside".into(), "x".to_owned())],
    };
    let target = folder.path().join("out/run");
    export_promptflow(&reader, Some(&snapshot), &target).unwrap();
    let mut found = BTreeMap::new();
    files(&target, &target, &mut found);
    let names: Vec<&String> =
        found.keys().filter(|name| name.starts_with("snapshot") || name.contains("evil")).collect();
    assert_eq!(names, ["node_artifacts/%2E%2E%2F%2E%2E%2Fevil/000000000.jsonl", "snapshot/flow.dag.yaml"]);
    assert_eq!(found["snapshot/flow.dag.yaml"]["text"], "new");
    assert!(!folder.path().join("outside").exists() && !folder.path().join("out/outside").exists());
    assert!(!found.contains_key("error.json"), "nothing failed");
    let error = export_promptflow(&reader, None, &target).unwrap_err();
    assert!(matches!(error, ExportError::NotEmpty { .. }), "{error}");
}
