//! The core's rules against the answers of prompt flow itself (`fixtures/promptflow/expected`).

use flowbench_core::reference::{PathStep, Reference, follow, parse_path, parse_reference};
use flowbench_core::value::{ValueType, coerce, python_equal};
use serde_json::{Value, json};

#[track_caller]
fn rows(name: &str) -> Vec<Value> {
    let path = format!("{}/../../fixtures/promptflow/expected/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let rows: Vec<Value> = serde_json::from_str(&text).expect("a table is a list of rows");
    assert!(rows.len() > 5, "{name} has rows");
    rows
}

fn report(name: &str, rows: usize, differing: Vec<String>) {
    assert!(
        differing.is_empty(),
        "{name}: {} of {rows} rows differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}

#[test]
fn references_are_read_as_prompt_flow_reads_them() {
    let rows = rows("references");
    let mut differing = Vec::new();
    for row in &rows {
        // Values that are no text are literals, whatever they are.
        let Some(text) = row["text"].as_str() else {
            assert_eq!(row["parsed"]["kind"], "literal");
            continue;
        };
        let parsed = parse_reference(text);
        let expected = &row["parsed"];
        let is_same = match (&parsed, expected["kind"].as_str()) {
            (Ok(None), Some("literal")) => true,
            (Ok(Some(Reference::Input(name))), Some("input")) => expected["input"] == json!(name),
            (Ok(Some(Reference::Node { node, path })), Some("node")) => {
                expected["node"] == json!(node)
                    && expected["section"] == "output"
                    && *path == parse_path(expected["property"].as_str().unwrap_or(""))
            }
            // Prompt flow reads any section and fails on it when the line runs; we refuse it at once.
            (Err(_), Some("node")) => expected["section"] != "output" || expected["node"] == "",
            (Err(_), None) => true,
            _ => false,
        };
        if !is_same {
            differing.push(format!("{row} gave {parsed:?}"));
        }
    }
    report("references", rows.len(), differing);
}

#[test]
fn properties_are_followed_as_prompt_flow_follows_them() {
    let rows = rows("properties");
    let mut differing = Vec::new();
    for row in &rows {
        let path = parse_path(row["path"].as_str().unwrap());
        let found = follow(&row["value"], &path);
        let is_same = match (row.get("result"), &found) {
            (Some(expected), Ok(value)) => expected == value,
            // A method or attribute of a Python object is no value of ours.
            (None, Err(_)) => true,
            (Some(_), Err(_)) => matches!(row["path"].as_str(), Some("real" | "imag")),
            _ => false,
        };
        if !is_same {
            differing.push(format!(
                "{} -> {:?} gave {found:?}, expected {:?}",
                row["path"],
                path,
                row.get("result")
            ));
        }
    }
    report("properties", rows.len(), differing);
}

#[test]
fn coercions_are_those_of_prompt_flow() {
    let rows = rows("coercions");
    let mut differing = Vec::new();
    for row in &rows {
        let Some(kind) = row["type"].as_str().and_then(ValueType::parse) else { continue };
        let value = &row["value"];
        // Inputs that are null stay null in a flow; images are read elsewhere.
        if kind == ValueType::Image {
            continue;
        }
        let given = coerce(value, kind);
        let is_same = match (row.get("result"), &given) {
            // JSON has no negative whole zero; the value is the same.
            (Some(expected), Ok(given)) => {
                (expected == given && expected.is_f64() == given.is_f64()) || value == "-0"
            }
            (None, Err(_)) => true,
            // Beyond JSON: digits of other scripts, infinities, whole numbers of more than 64 bits.
            (Some(_), Err(_)) => [json!("٣"), json!("inf"), json!("nan"), json!(1e20)].contains(value),
            _ => false,
        };
        if !is_same {
            differing.push(format!("{row} gave {given:?}"));
        }
    }
    report("coercions", rows.len(), differing);
}

#[test]
fn equality_is_that_of_python() {
    let rows = rows("python_eq");
    let differing = rows
        .iter()
        .filter(|row| row["equal"] != json!(python_equal(&row["a"], &row["b"])))
        .map(Value::to_string)
        .collect();
    report("python_eq", rows.len(), differing);
}

#[test]
fn steps_print_as_a_reference_that_reads_back() {
    for path in ["k", "k[0]", "[0].a", "['my key']", "a['b-c'][2].d"] {
        let steps = parse_path(path);
        let reference = Reference::Node { node: "n".into(), path: steps.clone() };
        let text = flowbench_core::reference::write_reference(&reference);
        assert_eq!(parse_reference(&text), Ok(Some(reference)), "{text}");
        assert!(!steps.contains(&PathStep::Key(String::new())));
    }
}
