//! Data and journals of batches.

use std::path::Path;

use flowbench_testkit::Sandbox;
use serde_json::{Value, json};

/// Writes `count` lines `{"question": "line N"}` as `data.jsonl`.
pub fn write_questions(sandbox: &Sandbox, count: usize) {
    let lines: Vec<Value> = (0..count).map(|line| json!({"question": format!("line {line}")})).collect();
    write_jsonl(sandbox, "data.jsonl", &lines);
}

/// Writes one JSON value a line.
pub fn write_jsonl(sandbox: &Sandbox, path: &str, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    sandbox.write(path, text);
}

/// Line numbers that a batch's journal holds, in the order they were written; a half line at its end counts not.
pub fn finished_lines(journal: &Path) -> Vec<u64> {
    let Ok(text) = std::fs::read(journal) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text);
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|record| {
            record.get("line_number").or_else(|| record.pointer("/line/line_number"))?.as_u64()
        })
        .collect()
}
