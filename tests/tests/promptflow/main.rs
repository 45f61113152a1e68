//! Folders made for prompt flow, run unchanged: the same outputs as the package gave.
//!
//! Where ours differs on purpose, [`departures`] says how and why.

mod departures;

use std::sync::Mutex;

use flowbench_testkit::Output;
use flowbench_tests::lines::write_jsonl;
use flowbench_tests::promptflow::{Room, expected, flow_folders, is_same, nodes_of};
use serde_json::{Map, Value, json};

use departures::{Departure, NODE_DEPARTURES, Ours, PROMPTY_DEPARTURES, SMALL_DEPARTURES, departure};

/// Parameters that an endpoint assumes where they are left out, as promptflow's client and ours may do.
fn is_endpoints_own(key: &str, value: &Value, is_completion: bool) -> bool {
    match key {
        "temperature" | "top_p" | "n" | "best_of" => value.as_f64() == Some(1.0),
        "presence_penalty" | "frequency_penalty" => value.as_f64() == Some(0.0),
        "echo" => *value == json!(false),
        "logit_bias" => *value == json!({}),
        "user" => *value == json!(""),
        "response_format" => *value == json!({"type": "text"}),
        "max_tokens" => is_completion && value.as_f64() == Some(16.0),
        _ => false,
    }
}

/// A value in the form in which both sides are compared: requests told by the server without what the endpoint
/// assumes, streams joined, images by their kind (theirs are files beside the flow, ours stand in the value), messages
/// without the null fields of a vendor's library.
fn comparable(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with('{') && text.contains("\"model\":") => {
            match serde_json::from_str::<Value>(text) {
                Ok(request @ Value::Object(_)) => comparable(&request),
                _ => value.clone(),
            }
        }
        Value::Object(map)
            if map.contains_key("model") && (map.contains_key("messages") || map.contains_key("prompt")) =>
        {
            let is_completion = map.contains_key("prompt");
            map.iter()
                .filter(|(key, value)| !is_endpoints_own(key, value, is_completion))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        }
        Value::Object(map) if map.contains_key("image") && map.contains_key("base64") => {
            json!({"data": map["image"], "base64": map["base64"]})
        }
        Value::Object(map) if map.len() == 1 && map.contains_key("pieces") => map["pieces"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect::<String>()
            .into(),
        Value::Object(map) if map.get("type") == Some(&json!("image_file")) => json!("an image"),
        Value::Object(map) if map.len() == 1 && map.keys().all(|key| key.starts_with("data:image/")) => {
            json!("an image")
        }
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| {
                let is_vendors = ["refusal", "annotations", "audio", "function_call", "tool_calls"]
                    .contains(&key.as_str());
                !(is_vendors && value.is_null() && map.contains_key("role"))
            })
            .map(|(key, value)| (key.clone(), comparable(value)))
            .collect(),
        Value::Array(items) => items.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

/// Outputs as ours are called: a bare result is `output`.
fn as_ours(outputs: &Value) -> Value {
    match outputs {
        Value::Object(_) => outputs.clone(),
        other => json!({"output": other}),
    }
}

/// Equal in what both mean.
fn agree(ours: &Value, theirs: &Value) -> bool {
    is_same(&comparable(ours), &comparable(theirs))
}

/// Exit code that a failure of the package corresponds to: 2 where the flow or its inputs are wrong, 1 where it ran.
fn exit_of(error: &Value) -> i32 {
    let codes: Vec<&str> =
        error["codes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let has_run =
        ["ToolExecutionError", "OpenAIError", "ScriptExecutionError"].iter().any(|code| codes.contains(code));
    if has_run { 1 } else { 2 }
}

/// What a tool's own exception says, which ours must say too.
fn said_by_code(error: &Value) -> Option<&str> {
    let message = error["message"].as_str()?;
    message.strip_prefix("Execution failure in ")?.split_once(") ").map(|(_, said)| said)
}

fn arguments(room: &Room, command: &str, flow: &str, case: &Value) -> Vec<String> {
    let mut arguments: Vec<String> =
        [command, flow, "--trust", "--no-cache", "--format", "json", "--connections", &room.connections]
            .map(str::to_owned)
            .to_vec();
    if let Some(variant) = case["variant"].as_str() {
        arguments.extend(["--variant".to_owned(), variant.to_owned()]);
    }
    for (name, value) in case["init"].as_object().into_iter().flatten() {
        arguments.extend(["--set".to_owned(), format!("entry.{name}={value}")]);
    }
    arguments
}

/// Runs the single runs and batches recorded for a flow folder; tells all that differ.
#[track_caller]
fn check(flow: &str) {
    let kept = expected(flow);
    let mut problems = Vec::new();
    for case in kept["tests"].as_array().into_iter().flatten() {
        problems.extend(single(flow, case));
    }
    for case in kept["batches"].as_array().into_iter().flatten() {
        problems.extend(batch(flow, case));
    }
    assert!(problems.is_empty(), "{flow}: {} differ\n\n{}", problems.len(), problems.join("\n\n"));
}

fn single(flow: &str, case: &Value) -> Vec<String> {
    let room = Room::with_flow(flow);
    let name = case["name"].as_str().unwrap_or_default();
    let path = format!("flows/{flow}");
    let mut arguments = arguments(&room, "run", &path, case);
    room.sandbox.write("inputs.json", case["inputs"].to_string());
    arguments.extend(["--inputs".to_owned(), "inputs.json".to_owned()]);
    let output = room.sandbox.flowbench(arguments).run();
    let mut problems = compare_single(flow, name, case, &output);
    if let (Some(nodes), Some(0)) = (case["nodes"].as_object(), output.code) {
        problems.extend(compare_nodes(&room, flow, &output, nodes));
    }
    problems.into_iter().map(|problem| format!("test `{name}`: {problem}")).collect()
}

fn compare_single(flow: &str, name: &str, case: &Value, output: &Output) -> Vec<String> {
    let departure = departure(flow, name);
    let error = case.get("error");
    let theirs = case.get("outputs").map(as_ours);
    let works = |ours: &Value| -> Vec<String> {
        match output.code {
            Some(0) if agree(&output.json()["outputs"], ours) => Vec::new(),
            _ => vec![format!("expected outputs {ours}\n{}", output.told())],
        }
    };
    match departure.map(|departure| (departure.why, &departure.ours)) {
        Some((_, Ours::Outputs(changed))) => {
            let mut ours = theirs.clone().unwrap_or_default();
            for (key, value) in changed().as_object().into_iter().flatten() {
                ours[key.as_str()] = value.clone();
            }
            assert!(
                !ours.is_null() && theirs.as_ref() != Some(&ours),
                "departure `{flow}` `{name}` departs from nothing"
            );
            works(&ours)
        }
        Some((_, Ours::Changed(change))) => {
            let theirs = theirs.clone().unwrap_or_default();
            let ours = change(theirs.clone());
            assert!(!agree(&ours, &theirs), "departure `{flow}` `{name}` departs from nothing");
            works(&ours)
        }
        Some((_, Ours::Works(ours))) => {
            assert!(error.is_some(), "departure `{flow}` `{name}`: the package works too");
            works(&ours())
        }
        Some((_, Ours::Fails(code, words))) => {
            assert!(error.is_none(), "departure `{flow}` `{name}`: the package fails too");
            match output.code == Some(*code) && output.stdout.contains(words) {
                true => Vec::new(),
                false => vec![format!("expected exit {code} and `{words}`\n{}", output.told())],
            }
        }
        Some((_, Ours::FailsElse(code, words))) => {
            let theirs = error.map(exit_of);
            assert!(
                theirs.is_some() && theirs != Some(*code),
                "departure `{flow}` `{name}` departs from nothing"
            );
            match output.code == Some(*code) && output.stdout.contains(words) {
                true => Vec::new(),
                false => vec![format!("expected exit {code} and `{words}`\n{}", output.told())],
            }
        }
        Some((_, Ours::Lines(_))) => vec!["a departure of lines belongs to a batch".to_owned()],
        None => match (theirs, error) {
            (Some(ours), _) => works(&ours),
            (None, Some(error)) => {
                let mut problems = Vec::new();
                if output.code != Some(exit_of(error)) {
                    problems.push(format!(
                        "expected exit {} as for {error}\n{}",
                        exit_of(error),
                        output.told()
                    ));
                }
                if let Some(said) = said_by_code(error).filter(|said| !output.stdout.contains(*said)) {
                    problems.push(format!("expected `{said}` in the error\n{}", output.told()));
                }
                problems
            }
            (None, None) => vec!["the fixture holds neither outputs nor an error".to_owned()],
        },
    }
}

fn compare_nodes(room: &Room, flow: &str, output: &Output, expected: &Map<String, Value>) -> Vec<String> {
    let found = nodes_of(&room.sandbox, &output.run_id());
    let mut problems = Vec::new();
    for (name, theirs) in expected {
        if NODE_DEPARTURES.iter().any(|(of, node, _)| *of == flow && node == name) {
            continue;
        }
        let Some(ours) = found.get(name) else {
            problems.push(format!("node `{name}` has no event"));
            continue;
        };
        let status = theirs["status"].as_str().unwrap_or_default().to_lowercase();
        if ours["status"] != status.as_str() {
            problems.push(format!("node `{name}` is {}, expected {status}", ours["status"]));
        } else if status == "completed" && !agree(&ours["output"], &theirs["output"]) {
            problems.push(format!("node `{name}` gives {}, expected {}", ours["output"], theirs["output"]));
        }
    }
    problems
}

fn batch(flow: &str, case: &Value) -> Vec<String> {
    let room = Room::with_flow(flow);
    let name = case["name"].as_str().unwrap_or_default();
    write_jsonl(&room.sandbox, "data.jsonl", case["data"].as_array().map_or(&[], Vec::as_slice));
    let mut arguments = arguments(&room, "batch", &format!("flows/{flow}"), case);
    arguments.extend(["--data".to_owned(), "data.jsonl".to_owned()]);
    for (input, value) in case["column_mapping"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        arguments.extend(["--map".to_owned(), format!("{input}={value}")]);
    }
    let output = room.sandbox.flowbench(arguments).run();
    compare_batch(flow, name, case, &output)
        .into_iter()
        .map(|problem| format!("batch `{name}`: {problem}"))
        .collect()
}

/// Metrics in the summary that a batch leaves on stderr.
fn metrics(output: &Output) -> Value {
    let summary = output.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let metrics = summary.filter_map(|line| line.pointer("/summary/metrics").cloned()).next_back();
    metrics.unwrap_or(Value::Null)
}

fn compare_batch(flow: &str, name: &str, case: &Value, output: &Output) -> Vec<String> {
    let departure = departure(flow, name);
    if let Some(Departure { ours: Ours::Fails(code, words), .. }) = departure {
        return match output.code == Some(*code) && output.told().contains(words) {
            true => Vec::new(),
            false => vec![format!("expected exit {code} and `{words}`\n{}", output.told())],
        };
    }
    let other: Vec<(u64, Value)> = match departure {
        Some(Departure { ours: Ours::Lines(lines), .. }) => lines(),
        _ => Vec::new(),
    };
    let theirs = case["lines"].as_array().cloned().unwrap_or_default();
    if (case.get("error").is_some() || theirs.is_empty()) && other.is_empty() {
        // Refused as a whole.
        return match output.code {
            Some(2) => Vec::new(),
            _ => vec![format!("the package refuses: {}\n{}", case["error"], output.told())],
        };
    }
    let ours: Vec<Value> = match output.code {
        Some(0 | 1) => output.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(),
        _ => return vec![format!("it did not run\n{}", output.told())],
    };
    let mut problems = Vec::new();
    let mut wanted: Vec<(u64, Value)> = other.clone();
    for line in &theirs {
        let number = line["line_number"].as_u64().unwrap_or_default();
        if !other.iter().any(|(other, _)| *other == number) {
            wanted.push((number, line.get("outputs").cloned().unwrap_or_else(|| line["error"].clone())));
        }
    }
    wanted.sort_by_key(|(number, _)| *number);
    let numbers: Vec<u64> = ours.iter().filter_map(|line| line["line_number"].as_u64()).collect();
    let expected_numbers: Vec<u64> = wanted.iter().map(|(number, _)| *number).collect();
    if numbers != expected_numbers {
        problems.push(format!("lines {numbers:?}, expected {expected_numbers:?}\n{}", output.told()));
        return problems;
    }
    let mut has_failed = false;
    for (line, (number, wanted)) in ours.iter().zip(&wanted) {
        let failed = line["status"] == "failed";
        has_failed |= failed;
        let is_error = wanted.get("codes").is_some() || wanted.is_string();
        let is_right = match is_error {
            true => {
                let message = line.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
                let words = said_by_code(wanted).or(wanted.as_str()).unwrap_or_default();
                failed && message.contains(words)
            }
            false => !failed && agree(&line["outputs"], wanted),
        };
        if !is_right {
            problems.push(format!("line {number} is {line}, expected {wanted}"));
        }
    }
    // A failed line is not success, whatever the package says.
    let code = i32::from(has_failed);
    if output.code != Some(code) {
        problems.push(format!("expected exit {code}\n{}", output.told()));
    }
    if let Some(expected) = case["metrics"].as_object().filter(|_| other.is_empty()) {
        let found = metrics(output);
        if !is_same(&found, &Value::Object(expected.clone())) {
            problems.push(format!("metrics {found}, expected {}", case["metrics"]));
        }
    }
    problems
}

macro_rules! flows {
    ($($test:ident = $flow:literal,)*) => {
        $(#[test] fn $test() { check($flow); })*

        #[test]
        fn every_folder_of_the_fixtures_is_tested() {
            let mut tested = vec![$($flow),*];
            // Files of their own kind, and tested below.
            tested.push("prompty");
            tested.sort_unstable();
            assert_eq!(flow_folders(), tested);
        }
    };
}

flows! {
    branches = "branches",
    chat_basic = "chat-basic",
    chat_history = "chat-history",
    chat_literals = "chat-literals",
    completion_basic = "completion-basic",
    custom_llm = "custom-llm",
    defaults = "defaults",
    embedding = "embedding",
    environment = "environment",
    evaluation = "evaluation",
    flex_bare = "flex-bare",
    flex_class = "flex-class",
    flex_dict = "flex-dict",
    flex_function = "flex-function",
    images_basic = "images-basic",
    images_openai_vision = "images-openai-vision",
    includes = "includes",
    mixed_lines = "mixed-lines",
    name_clash = "name-clash",
    prompt_chain = "prompt-chain",
    prompt_templates = "prompt-templates",
    provider_fails = "provider-fails",
    python_kinds = "python-kinds",
    reference_forms = "reference-forms",
    role_forging = "role-forging",
    tool_calls = "tool-calls",
    variants = "variants",
}

#[test]
fn prompty_files_give_what_the_package_gives() {
    let kept = expected("prompty");
    let room = Room::with_flow("prompty");
    let mut problems = Vec::new();
    for row in kept.as_array().into_iter().flatten() {
        let (file, name) =
            (row["file"].as_str().unwrap_or_default(), row["name"].as_str().unwrap_or_default());
        room.sandbox.write("inputs.json", row["inputs"].to_string());
        let path = format!("flows/prompty/{file}");
        let mut arguments = arguments(&room, "run", &path, row);
        arguments.extend(["--inputs".to_owned(), "inputs.json".to_owned()]);
        let output = room.sandbox.flowbench(arguments).run();
        let departure = PROMPTY_DEPARTURES.iter().find(|(of, case, ..)| *of == file && *case == name);
        let wanted = match departure {
            Some((_, _, ours, _)) => serde_json::from_str(ours).ok(),
            None => row.get("result").cloned(),
        };
        let is_right = match &wanted {
            Some(result) if output.code == Some(0) => {
                let outputs = output.json()["outputs"].clone();
                agree(&outputs["output"], result) || agree(&outputs, result)
            }
            Some(_) => false,
            None => matches!(output.code, Some(1 | 2)),
        };
        if !is_right {
            let theirs = row.get("result").or(row.get("error")).cloned().unwrap_or_default();
            problems.push(format!("{file} `{name}`: expected {theirs}\n{}", output.told()));
        }
    }
    assert!(problems.is_empty(), "{} differ\n\n{}", problems.len(), problems.join("\n\n"));
}

#[test]
fn an_evaluation_over_an_earlier_run_gives_what_the_package_gives() {
    let case = expected("chained-run");
    let room = Room::with_flow("mixed-lines");
    room.sandbox.copy("fixtures/promptflow/flows/evaluation", "flows/evaluation");
    write_jsonl(&room.sandbox, "data.jsonl", case["data"].as_array().map_or(&[], Vec::as_slice));
    let first =
        ["batch", "flows/mixed-lines", "--data", "data.jsonl", "--trust", "--name", "first", "--connections"];
    let first = room.sandbox.flowbench(first.iter().copied().chain([room.connections.as_str()])).run();
    assert_eq!(first.code, Some(1), "line 1 fails\n{}", first.told());
    let second = [
        "batch",
        "flows/evaluation",
        "--data",
        "data.jsonl",
        "--run",
        "first",
        "--trust",
        "--format",
        "json",
        "--map",
        "answer=${run.outputs.answer}",
        "--map",
        "truth=${data.truth}",
    ];
    let second = room.sandbox.flowbench(second).run();
    let problems = compare_batch("chained-run", "chained", &case, &second);
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn small_flows_give_what_the_package_gives() {
    let kept = expected("small-flows");
    let rows = kept["rows"].as_array().expect("a list of rows");
    let files = kept["files"].as_object().expect("a map of files");
    let next = Mutex::new(0..rows.len());
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let room = Room::new();
                loop {
                    let Some(index) = next.lock().expect("no thread panics").next() else { return };
                    if let Some(problem) = small(&room, index, &rows[index], files) {
                        problems.lock().expect("no thread panics").push((index, problem));
                    }
                }
            });
        }
    });
    let mut problems = problems.into_inner().expect("no thread panics");
    problems.sort();
    let told: Vec<String> = problems.iter().map(|(_, problem)| problem.clone()).collect();
    assert!(told.is_empty(), "{} of {} differ\n\n{}", told.len(), rows.len(), told.join("\n\n"));
}

fn small(room: &Room, index: usize, row: &Value, files: &Map<String, Value>) -> Option<String> {
    let (group, name) = (row["group"].as_str().unwrap_or_default(), row["name"].as_str().unwrap_or_default());
    let folder = format!("row-{index}");
    for (file, text) in files {
        room.sandbox.write(&format!("{folder}/{file}"), text.as_str().unwrap_or_default());
    }
    room.sandbox.write(&format!("{folder}/flow.dag.yaml"), row["flow"].as_str().unwrap_or_default());
    let inputs = format!("{folder}.json");
    room.sandbox.write(&inputs, row["inputs"].to_string());
    let mut arguments = arguments(room, "run", &folder, row);
    arguments.extend(["--inputs".to_owned(), inputs]);
    let output = room.sandbox.flowbench(arguments).run();
    let departure = SMALL_DEPARTURES.iter().find(|(of, case, ..)| *of == group && *case == name);
    let found = summary(&output);
    let theirs = match (row.get("outputs"), row["stage"].as_str()) {
        (Some(outputs), _) => outputs.clone(),
        (None, Some(stage)) => Value::String(stage.to_owned()),
        (None, None) => Value::Null,
    };
    let wanted = departure.map_or_else(
        || theirs.clone(),
        |(_, _, ours, _)| serde_json::from_str(ours).unwrap_or_else(|_| Value::String((*ours).to_owned())),
    );
    let mut problem = None;
    if departure.is_some() && agree(&wanted, &theirs) {
        problem = Some("this departure departs from nothing".to_owned());
    } else if !agree(&found, &wanted) {
        problem = Some(format!("is {found}, expected {wanted}"));
    } else if let (Some(nodes), Some(0), None) = (row["nodes"].as_object(), output.code, departure) {
        let aggregation = row["aggregation"].as_object().cloned().unwrap_or_default();
        let nodes: Map<String, Value> = nodes.clone().into_iter().chain(aggregation).collect();
        let problems = compare_nodes(room, "", &output, &nodes);
        problem = (!problems.is_empty()).then(|| problems.join("; "));
    }
    problem.map(|problem| {
        let error = row.get("error").map(|error| format!("\npackage: {error}")).unwrap_or_default();
        format!(
            "#{index} {group} `{name}` {problem}{error}\n{}\ninputs: {}\n{}",
            row["flow"].as_str().unwrap_or_default(),
            row["inputs"],
            output.told()
        )
    })
}

/// Outputs, or the stage at which a run failed: `load` before any node, `run` in one.
fn summary(output: &Output) -> Value {
    match output.code {
        Some(0) => output.json()["outputs"].clone(),
        Some(2)
            if output
                .json()
                .pointer("/error/code")
                .and_then(Value::as_str)
                .is_some_and(|code| code.starts_with("input/")) =>
        {
            "run".into()
        }
        Some(2) => "load".into(),
        Some(1) => "run".into(),
        other => format!("ended with {other:?}").into(),
    }
}
