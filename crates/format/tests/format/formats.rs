//! One sample of every format version: opens without errors, is valid against the published schema, and is
//! saved unchanged. And the schemas know the keys that the readers know, no more and no fewer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flowbench_core::edit::{EditOperation, EditStep};
use flowbench_core::finding::{Finding, Severity};
use flowbench_core::flow::{Comparison, FlowDraft, Places};
use flowbench_core::reference::PathStep;
use flowbench_format::connections::parse_connections;
use flowbench_format::flex::{FLEX_KEYS, parse_flex};
use flowbench_format::flow_document::FlowDocument;
use flowbench_format::layout::LayoutDocument;
use flowbench_format::prompty::parse_prompty;
use flowbench_format::run_file::parse_run_file;
use flowbench_format::schemas::{SCHEMAS, schema};
use flowbench_format::workspace::{WORKSPACE_KEYS, parse_workspace};
use flowbench_format::yaml::YamlDocument;
use serde_json::{Value, json};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files of a folder below `fixtures/formats` with that ending.
fn samples(folder: &str, ending: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = repository().join("fixtures/formats").join(folder);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files.sort();
    assert!(!files.is_empty());
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

#[track_caller]
fn assert_valid(name: &str, value: &Value, what: &Path) {
    let validator = jsonschema::validator_for(&schema(name).unwrap().value()).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", what.display());
}

#[track_caller]
fn assert_no_errors(findings: &[Finding], what: &Path) {
    let errors: Vec<&Finding> =
        findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{}: {errors:?}", what.display());
}

#[test]
fn every_flow_sample_opens_is_valid_and_stays_as_it_is() {
    let mut files = samples("flow", ".yaml");
    for entry in std::fs::read_dir(repository().join("flows")).unwrap() {
        let file = entry.unwrap().path().join("flow.dag.yaml");
        files.push((file.clone(), std::fs::read(file).unwrap()));
    }
    for (file, bytes) in files {
        let mut document = FlowDocument::parse(&bytes, None);
        assert!(document.findings().is_empty(), "{}: {:?}", file.display(), document.findings());
        assert!(document.draft().unknown.is_empty(), "{}", file.display());
        assert!(document.draft().nodes.iter().all(|node| node.unknown.is_empty()), "{}", file.display());
        assert_valid("flow.dag", document.value(), &file);
        let name = document.draft().nodes[0].name.clone();
        let nothing =
            document.apply(&EditOperation::RenameNode { from: name.clone(), to: name.clone() }).unwrap();
        assert!(nothing.changes.is_empty());
        assert_eq!(document.bytes(), bytes, "{}", file.display());
        let there = document.apply(&EditOperation::RenameNode { from: name, to: "renamed".into() }).unwrap();
        assert!(!there.changes.is_empty());
        document.apply(&there.inverse).unwrap();
        assert_eq!(document.bytes(), bytes, "{}", file.display());
    }
}

#[test]
fn every_other_sample_opens_and_is_valid() {
    for (file, bytes) in samples("prompty", ".prompty") {
        let prompty = parse_prompty(&bytes, None);
        assert_no_errors(&prompty.findings, &file);
        assert_valid("prompty", &prompty.front, &file);
    }
    for (file, bytes) in samples("flex", ".yaml") {
        assert!(parse_flex(&bytes, None).findings.is_empty(), "{}", file.display());
        assert_valid("flow.flex", YamlDocument::parse(&bytes, None).value(), &file);
    }
    for (file, bytes) in samples("connections", ".yaml") {
        let connections = parse_connections(&bytes, None);
        assert_no_errors(&connections.findings, &file);
        assert!(!connections.entries.is_empty());
        assert_valid("connections", YamlDocument::parse(&bytes, None).value(), &file);
    }
    for (file, bytes) in samples("connections", ".env") {
        let connections = parse_connections(&bytes, file.to_str());
        assert_eq!(connections.entries[0].name, "tools");
        assert_no_errors(&connections.findings, &file);
    }
    for (file, bytes) in samples("run", ".yaml") {
        let run = parse_run_file(&bytes, None);
        assert!(run.findings.is_empty(), "{}: {:?}", file.display(), run.findings);
        assert_valid("run", YamlDocument::parse(&bytes, None).value(), &file);
    }
    for (file, bytes) in samples("workspace", ".yaml") {
        assert!(parse_workspace(&bytes, None).findings.is_empty(), "{}", file.display());
        assert_valid("flowbench", YamlDocument::parse(&bytes, None).value(), &file);
    }
    for (file, bytes) in samples("layout", ".json") {
        let layout = LayoutDocument::parse(&bytes, None);
        assert!(layout.findings().is_empty());
        assert_eq!(layout.bytes(), bytes);
        assert_valid("flow.layout", &Value::Object(layout.value().clone()), &file);
    }
    let shipped = [("connections", "connections.yaml"), ("flowbench", "flowbench.yaml")];
    for (name, file) in shipped {
        let file = repository().join(file);
        let bytes = std::fs::read(&file).unwrap();
        assert_valid(name, YamlDocument::parse(&bytes, None).value(), &file);
    }
}

fn keys_at(name: &str, pointer: &str) -> BTreeSet<String> {
    let schema = schema(name).unwrap().value();
    let properties = schema.pointer(pointer).and_then(Value::as_object);
    properties.unwrap_or_else(|| panic!("{name} has {pointer}")).keys().cloned().collect()
}

/// Texts of the constant arrays of that name in a source file, in the order they stand there.
fn constants(source: &str, name: &str) -> Vec<BTreeSet<String>> {
    source
        .split("const ")
        .skip(1)
        .filter(|text| text.starts_with(&format!("{name}:")))
        .map(|text| {
            let list = &text[text.find('=').unwrap()..];
            let list = &list[list.find('[').unwrap()..list.find(']').unwrap()];
            list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn the_schema_of_flows_has_the_keys_that_the_reader_knows() {
    let source = include_str!("../../../core/src/flow.rs");
    let known = constants(source, "KNOWN");
    let [top, node] = known.as_slice() else { panic!("two lists of keys: {known:?}") };
    let ignored = &constants(source, "TOP_LEVEL_IGNORED")[0];
    assert_eq!(keys_at("flow.dag", "/properties"), top | ignored);
    assert_eq!(keys_at("flow.dag", "/definitions/node/properties"), *node);
    let mut body = node.clone();
    body.remove("name");
    assert_eq!(keys_at("flow.dag", "/definitions/body/properties"), body);
    let comparisons: BTreeSet<String> =
        Comparison::ALL.iter().map(|(key, _)| (*key).to_owned()).chain(["when".to_owned()]).collect();
    assert_eq!(keys_at("flow.dag", "/definitions/activate/anyOf/1/properties"), comparisons);
}

#[test]
fn the_other_schemas_have_the_keys_that_their_readers_know() {
    let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(keys_at("flow.flex", "/properties"), set(&FLEX_KEYS));
    for (pointer, keys) in WORKSPACE_KEYS {
        let pointer = format!("{}/properties", pointer.replace('/', "/properties/"));
        assert_eq!(keys_at("flowbench", &pointer), set(keys), "{pointer}");
    }
    let run = include_str!("../../src/run_file.rs");
    assert_eq!(keys_at("run", "/properties"), &constants(run, "KNOWN")[0] | &constants(run, "CLOUD")[0]);
    let prompty = &constants(include_str!("../../src/prompty.rs"), "INFORMATIONAL")[0];
    let read = set(&["name", "description", "model", "inputs", "outputs", "sample", "template"]);
    assert_eq!(keys_at("prompty", "/properties"), prompty | &read);
    let connections = &constants(include_str!("../../src/connections.rs"), "INFORMATIONAL")[0];
    assert!(connections.is_subset(&keys_at("connections", "/definitions/connection/properties")));
}

#[test]
fn what_the_schema_refuses_is_refused_by_the_reader() {
    let validator = jsonschema::validator_for(&schema("flow.dag").unwrap().value()).unwrap();
    let flow = |node: Value| json!({"nodes": [node]});
    for node in [
        json!({"type": "prompt"}),
        json!({"name": "a", "for_each": {"items": [], "on_error": "stop"}}),
        json!({"name": "a", "for_each": {"max_parallel": 2}}),
        json!({"name": "a", "activate": {"when": 1, "is": 1, "gt": 0}}),
        json!({"name": "a", "activate": {"is": 1}}),
        json!({"name": "a", "retry": "often"}),
        json!({"name": "a", "timeout": "soon"}),
        json!({"name": "a", "cache": "sometimes"}),
        json!({"name": "a", "max_steps": "many"}),
        json!({"name": "a", "inputs": [1]}),
    ] {
        let flow = flow(node);
        assert!(!validator.is_valid(&flow), "{flow}");
        let (_, findings) = FlowDraft::read(&flow, Places::default());
        assert!(!findings.is_empty(), "{flow}");
    }
}

#[test]
fn schemas_are_published_under_their_names() {
    for schema in SCHEMAS {
        let value = schema.value();
        jsonschema::validator_for(&value).unwrap();
        assert_eq!(value["$id"], format!("urn:flowbench:schema:{}", schema.name));
        assert!(repository().join(format!("schemas/{}.schema.json", schema.name)).is_file());
    }
}

#[test]
fn any_yaml_file_can_be_edited_by_steps() {
    let document = YamlDocument::parse(b"# c\nconnections:\n- {name: a, type: open_ai}\n", None);
    let path =
        vec![PathStep::Key("connections".into()), PathStep::Index(0), PathStep::Key("base_url".into())];
    let step = EditStep::Set { path, value: json!("http://127.0.0.1/v1") };
    let (after, _) = document.edit(&[step]).unwrap();
    assert_eq!(
        after.text(),
        "# c\nconnections:\n- {name: a, type: open_ai, base_url: \"http://127.0.0.1/v1\"}\n"
    );
}
