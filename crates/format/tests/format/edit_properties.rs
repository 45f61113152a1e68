//! Whatever is edited in whatever order: the text says what the edit means, can be taken back byte for byte, and
//! lines that the edit is not about stay.

use flowbench_core::edit::{EditError, EditOperation};
use flowbench_core::reference::{PathStep, Reference};
use flowbench_format::flow_document::FlowDocument;
use flowbench_format::yaml::YamlDocument;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::edits::{FLOW, model};

const FLOW_STYLE: &str = "{inputs: {question: {type: string}, top: {type: int}}, # one\n outputs: {answer: {reference: \"${ask.output}\"}},\n nodes: [\n  {name: find, inputs: {question: \"${inputs.question}\"}}, # two\n  {name: ask, inputs: {context: \"${find.output}\",},},\n  {name: check, use_variants: true}],\n node_variants: {check: {variants: {strict: {node: {type: python}}}}}}";

const COMPACT: &str = "nodes:\n  -   name: find\n      inputs: { }\n\n  # a\n  -\n    name: ask\n    # b\n    inputs:\n      'k': >-\n        folded\n        text\n\n      l:\n      - - 1\n        - 2\n      -\n  - {name: check}\ninputs:\n  question:\n  top: {}";

const SHARED: &str = "inputs: &in\n  question: &q {type: string}\n  top: *q\nnodes:\n- name: find\n  inputs: &id001\n    question: ${inputs.question}\n    top: &t [1, 2]\n- name: ask\n  inputs: *id001\n- name: check\n  use_variants: true\nnode_variants:\n  check:\n    default_variant_id: a\n    variants:\n      a:\n        node:\n          inputs: *id001\n      b: {node: {inputs: {x: *t, y: \"${find.output}\"}}}\nx-own: *in # last\n";

/// The same flow in different hands.
fn texts() -> impl Strategy<Value = String> {
    let windows = format!("\u{feff}{}", FLOW.replace('\n', "\r\n"));
    let cut = FLOW.trim_end().to_owned();
    prop_oneof![
        Just(FLOW.to_owned()),
        Just(windows),
        Just(cut),
        Just(FLOW_STYLE.to_owned()),
        Just(COMPACT.to_owned()),
        Just(SHARED.to_owned()),
        Just(format!("%YAML 1.2\n--- # start\n{FLOW}...\n# end")),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,8}",
        "[-a-c:{}\\[\\]&*!|>'\"%#,?\\\\ \n\t~0-2.é]{0,10}",
        Just("${find.output.x}".to_owned()),
        Just("line one\nline two\n".to_owned()),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..3)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<String, Value>>())),
        ]
    })
}

fn node() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["find", "ask", "check", "new", "new two"]).prop_map(str::to_owned)
}

fn port() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["question", "top", "context", "model", "k", "l", "extra one"])
        .prop_map(str::to_owned)
}

fn operation() -> impl Strategy<Value = EditOperation> {
    let definition = any_value().prop_map(|value| match value {
        Value::Object(map) => map,
        other => Map::from_iter([("default".to_owned(), other)]),
    });
    let step = prop::sample::select(vec!["nodes", "inputs", "name", "find", "question", "outputs", "x-own"]);
    let step = prop_oneof![
        step.prop_map(|key| PathStep::Key(key.to_owned())),
        (0..3usize).prop_map(PathStep::Index)
    ];
    let path = prop::collection::vec(step, 1..4);
    prop_oneof![
        (node(), any_value(), prop::option::of(0..4usize)).prop_map(|(name, text, position)| {
            let node = json!({"name": name, "type": "python", "inputs": {"a": text}});
            EditOperation::AddNode { node: node.as_object().cloned().unwrap_or_default(), position }
        }),
        node().prop_map(|name| EditOperation::RemoveNode { name }),
        (node(), node()).prop_map(|(from, to)| EditOperation::RenameNode { from, to }),
        (node(), node()).prop_map(|(name, copy)| EditOperation::DuplicateNode { name, copy }),
        (node(), 0..4usize).prop_map(|(name, position)| EditOperation::MoveNode { name, position }),
        (node(), port(), any_value()).prop_map(|(node, input, value)| EditOperation::SetNodeInput {
            node,
            variant: None,
            input,
            value
        }),
        (node(), port()).prop_map(|(node, input)| EditOperation::RemoveNodeInput {
            node,
            variant: None,
            input
        }),
        (node(), port(), node()).prop_map(|(node, input, source)| EditOperation::Connect {
            node,
            variant: None,
            input,
            source: Reference::Node { node: source, path: vec![PathStep::Index(0)] },
        }),
        (port(), definition).prop_map(|(name, definition)| EditOperation::AddInput { name, definition }),
        port().prop_map(|name| EditOperation::RemoveInput { name }),
        (port(), port()).prop_map(|(from, to)| EditOperation::RenameInput { from, to }),
        (port(), any_value()).prop_map(|(name, value)| EditOperation::SetInputKey {
            name,
            key: "default".to_owned(),
            value
        }),
        (path.clone(), any_value()).prop_map(|(path, value)| EditOperation::SetKey { path, value }),
        path.clone().prop_map(|path| EditOperation::RemoveKey { path }),
        (path, prop::option::of("[a-z#: \n]{0,9}"))
            .prop_map(|(path, comment)| EditOperation::SetComment { path, comment }),
    ]
}

/// Comments of a text that are on lines of their own.
fn own_line_comments(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| line.starts_with('#')).collect()
}

proptest! {
    #[test]
    fn every_sequence_of_edits_means_what_it_says_and_can_be_taken_back(
        text in texts(),
        operations in prop::collection::vec(operation(), 1..6),
    ) {
        let mut document = FlowDocument::parse(text.as_bytes(), None);
        prop_assert_eq!(document.bytes(), text.as_bytes(), "an unchanged document saves its bytes");
        let mut inverses = Vec::new();
        for operation in &operations {
            let before = document.text().to_owned();
            let expected = model(document.value(), operation);
            match document.apply(operation) {
                Ok(applied) => {
                    prop_assert_eq!(Some(document.value()), expected.as_ref(), "{:?} on\n{}\ngives\n{}", operation, before, document.text());
                    let read = YamlDocument::parse(document.bytes(), None);
                    prop_assert_eq!(read.value(), document.value());
                    let touched = applied.changes.iter().all(|change| before.contains(&change.removed) || applied.changes.len() > 1);
                    prop_assert!(touched);
                    inverses.push((applied.inverse, before));
                }
                Err(error) => {
                    prop_assert_eq!(document.text(), before.as_str(), "a refused edit changes nothing");
                    let is_own_fault = matches!(error, EditError::NotPossible { .. })
                        && expected.is_some()
                        && !matches!(operation, EditOperation::SetComment { .. });
                    prop_assert_ne!(&error, &EditError::BrokenText, "{:?} on\n{}", operation, before);
                    prop_assert!(!is_own_fault, "{:?} on\n{}", operation, before);
                }
            }
        }
        for (inverse, before) in inverses.into_iter().rev() {
            document.apply(&inverse).unwrap();
            prop_assert_eq!(document.text(), before.as_str());
        }
        prop_assert_eq!(document.bytes(), text.as_bytes());
    }

    #[test]
    fn an_edit_of_one_input_keeps_every_other_line(value in any_value(), windows: bool) {
        let text = if windows { FLOW.replace('\n', "\r\n") } else { FLOW.to_owned() };
        let mut document = FlowDocument::parse(text.as_bytes(), None);
        let set = EditOperation::SetNodeInput { node: "ask".into(), variant: None, input: "model".into(), value };
        document.apply(&set).unwrap();
        let (before, after) = text.split_once("    model: 'small'").unwrap();
        prop_assert!(document.text().starts_with(before), "{}", document.text());
        prop_assert!(document.text().ends_with(after), "{}", document.text());
    }

    #[test]
    fn comments_survive_moves_renames_and_removals(
        name in prop::sample::select(vec!["find", "ask", "check"]),
        position in 0..3usize,
        kind in 0..3usize,
    ) {
        let name = name.to_owned();
        let operation = match kind {
            0 => EditOperation::MoveNode { name, position },
            1 => EditOperation::RenameNode { from: name, to: "other".into() },
            _ => EditOperation::SetNodeKey { node: name, variant: None, path: vec![PathStep::Key("x".into())], value: json!(1) },
        };
        let mut document = FlowDocument::parse(FLOW.as_bytes(), None);
        document.apply(&operation).unwrap();
        let mut before = own_line_comments(FLOW);
        let mut after = own_line_comments(document.text());
        before.sort_unstable();
        after.sort_unstable();
        prop_assert_eq!(before, after);
    }
}
