//! Edits of a flow's text: what changes, what stays, and that everything can be taken back.

use flowbench_core::edit::{EditError, EditOperation, EditStep};
use flowbench_core::reference::PathStep;
use flowbench_format::flow_document::FlowDocument;
use serde_json::{Map, Value, json};

pub const FLOW: &str = "\
# Answers questions.
$schema: https://example.test/flow.json
inputs:
  question:
    type: string   # what the user asks
    default: \"who?\"
  top: {type: int, default: 3}

outputs:
  answer:
    type: string
    reference: ${ask.output}
nodes:
# finds passages
- name: find
  type: python
  source: {type: code, path: find.py}
  inputs:
    # the question as it is
    question: ${inputs.question}
    top: ${inputs.top}

# writes the answer
- name: ask
  type: llm
  source:
    type: code
    path: ask.jinja2
  inputs:
    model: 'small'
    context: \"${find.output.hits}\"
    prompt: |
      # system:
      Be short.
  x-team: search
- name: check
  use_variants: true
node_variants:
  check:
    default_variant_id: strict
    variants:
      strict:
        node:
          type: python
          inputs: {text: \"${ask.output}\", when: \"${find.output}\"}
";

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Makes the edit, checks undo and redo byte for byte, and gives the lines that changed: `-old` and `+new`.
#[track_caller]
fn changed(text: &str, operation: &EditOperation) -> Vec<String> {
    let mut document = FlowDocument::parse(text.as_bytes(), None);
    let steps = operation.steps(document.value()).unwrap();
    let mut expected = document.value().clone();
    for step in &steps {
        step.apply(&mut expected).unwrap();
    }
    let applied = document.apply(operation).unwrap();
    assert_eq!(document.value(), &expected, "the text says what the edit means:\n{}", document.text());
    let after = document.text().to_owned();
    let undone = document.apply(&applied.inverse).unwrap();
    assert_eq!(document.bytes(), text.as_bytes(), "undo gives the bytes of before");
    document.apply(&undone.inverse).unwrap();
    assert_eq!(document.text(), after, "redo gives the bytes of after");
    difference(text, &after)
}

/// Lines that only one of the texts has, by a longest common subsequence.
fn difference(before: &str, after: &str) -> Vec<String> {
    let a: Vec<&str> = before.split_inclusive('\n').collect();
    let b: Vec<&str> = after.split_inclusive('\n').collect();
    let mut lengths = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i][j] = if a[i] == b[j] {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            i += 1;
            j += 1;
        } else if i < a.len() && (j == b.len() || lengths[i + 1][j] >= lengths[i][j + 1]) {
            out.push(format!("-{}", a[i].trim_end_matches('\n')));
            i += 1;
        } else {
            out.push(format!("+{}", b[j].trim_end_matches('\n')));
            j += 1;
        }
    }
    out
}

fn set_input(node: &str, input: &str, value: Value) -> EditOperation {
    EditOperation::SetNodeInput { node: node.into(), variant: None, input: input.into(), value }
}

fn keys(keys: &[&str]) -> Vec<PathStep> {
    keys.iter().map(|key| PathStep::Key((*key).to_owned())).collect()
}

#[test]
fn one_edited_value_is_one_changed_line() {
    assert_eq!(
        changed(FLOW, &set_input("ask", "model", json!("it's big"))),
        ["-    model: 'small'", "+    model: 'it''s big'"]
    );
    assert_eq!(
        changed(FLOW, &set_input("find", "top", json!(5))),
        ["-    top: ${inputs.top}", "+    top: 5"]
    );
    assert_eq!(
        changed(
            FLOW,
            &EditOperation::SetInputKey { name: "question".into(), key: "type".into(), value: json!("list") }
        ),
        ["-    type: string   # what the user asks", "+    type: list   # what the user asks"]
    );
    assert_eq!(
        changed(
            FLOW,
            &EditOperation::SetInputKey { name: "top".into(), key: "default".into(), value: json!(null) }
        ),
        ["-  top: {type: int, default: 3}", "+  top: {type: int, default: null}"]
    );
    assert_eq!(
        changed(FLOW, &set_input("ask", "prompt", json!("# system:\nBe kind.\n"))),
        ["-      Be short.", "+      Be kind."]
    );
}

#[test]
fn setting_what_is_already_there_changes_nothing() {
    for operation in [
        set_input("ask", "model", json!("small")),
        EditOperation::RenameNode { from: "ask".into(), to: "ask".into() },
        EditOperation::MoveNode { name: "check".into(), position: 99 },
        EditOperation::SetKey { path: keys(&["inputs", "top"]), value: json!({"default": 3, "type": "int"}) },
    ] {
        let mut document = FlowDocument::parse(FLOW.as_bytes(), None);
        let applied = document.apply(&operation).unwrap();
        assert!(applied.changes.is_empty(), "{operation:?}");
        assert_eq!(document.bytes(), FLOW.as_bytes());
    }
}

#[test]
fn renaming_a_node_touches_its_key_and_its_references_only() {
    assert_eq!(
        changed(FLOW, &EditOperation::RenameNode { from: "find".into(), to: "search".into() }),
        [
            "-- name: find",
            "+- name: search",
            "-    context: \"${find.output.hits}\"",
            "+    context: \"${search.output.hits}\"",
            "-          inputs: {text: \"${ask.output}\", when: \"${find.output}\"}",
            "+          inputs: {text: \"${ask.output}\", when: \"${search.output}\"}",
        ]
    );
    assert_eq!(
        changed(FLOW, &EditOperation::RenameNode { from: "check".into(), to: "judge".into() }),
        ["-- name: check", "+- name: judge", "-  check:", "+  judge:"]
    );
    assert_eq!(
        changed(FLOW, &EditOperation::RenameInput { from: "top".into(), to: "how many".into() }),
        [
            "-  top: {type: int, default: 3}",
            "+  how many: {type: int, default: 3}",
            "-    top: ${inputs.top}",
            "+    top: ${inputs.how many}",
        ]
    );
}

#[test]
fn new_parts_look_like_their_neighbours() {
    let node =
        map(json!({"name": "last", "type": "prompt", "inputs": {"a": "${check.output}", "b": "x\ny\n"}}));
    assert_eq!(
        changed(FLOW, &EditOperation::AddNode { node: node.clone(), position: None }),
        [
            "+- name: last",
            "+  type: prompt",
            "+  inputs:",
            "+    a: ${check.output}",
            "+    b: |",
            "+      x",
            "+      y"
        ]
    );
    let first = changed(FLOW, &EditOperation::AddNode { node, position: Some(0) });
    assert!(first.iter().all(|line| line.starts_with('+')), "{first:?}");
    assert_eq!(
        changed(
            FLOW,
            &EditOperation::AddInput { name: "extra".into(), definition: map(json!({"type": "bool"})) }
        ),
        ["+  extra:", "+    type: bool"]
    );
    assert_eq!(
        changed(
            FLOW,
            &EditOperation::SetInputKey {
                name: "top".into(),
                key: "description".into(),
                value: json!("a: b")
            }
        ),
        ["-  top: {type: int, default: 3}", "+  top: {type: int, default: 3, description: \"a: b\"}"]
    );
    assert_eq!(
        changed(FLOW, &set_input("check", "extra", json!([1, {"a": "b"}]))),
        ["+  inputs:", "+    extra:", "+    - 1", "+    - a: b"]
    );
    assert_eq!(
        changed(
            FLOW,
            &EditOperation::AddVariant {
                node: "check".into(),
                id: "loose".into(),
                body: map(json!({"type": "python"}))
            }
        ),
        ["+      loose:", "+        node:", "+          type: python"]
    );
    assert_eq!(
        changed(
            "",
            &EditOperation::AddInput { name: "q".into(), definition: map(json!({"type": "string"})) }
        ),
        ["+inputs:", "+  q:", "+    type: string"]
    );
    assert_eq!(
        changed("# only this", &EditOperation::SetKey { path: keys(&["a"]), value: json!(1) }),
        ["-# only this", "+# only this", "+a: 1"]
    );
    assert_eq!(
        changed(
            "inputs: {}\nnodes: []\n",
            &EditOperation::AddInput { name: "q".into(), definition: map(json!({"type": "string"})) }
        ),
        ["-inputs: {}", "+inputs:", "+  q:", "+    type: string"]
    );
    assert_eq!(
        changed(
            "nodes:  # none yet\n",
            &EditOperation::AddNode { node: map(json!({"name": "a"})), position: None }
        ),
        ["-nodes:  # none yet", "+nodes:  # none yet", "+- name: a"][2..].to_vec()
    );
}

#[test]
fn comments_survive_when_their_neighbours_go() {
    assert_eq!(
        changed(FLOW, &EditOperation::RemoveNode { name: "check".into() }),
        [
            "-- name: check",
            "-  use_variants: true",
            "-node_variants:",
            "-  check:",
            "-    default_variant_id: strict",
            "-    variants:",
            "-      strict:",
            "-        node:",
            "-          type: python",
            "-          inputs: {text: \"${ask.output}\", when: \"${find.output}\"}",
            "+node_variants: {}",
        ]
    );
    let find = changed(FLOW, &EditOperation::RemoveNode { name: "find".into() });
    assert_eq!(find.len(), 7, "{find:?}");
    assert!(!find.contains(&"-# finds passages".to_owned()) && find.iter().all(|line| line.starts_with('-')));
    assert_eq!(
        changed(
            FLOW,
            &EditOperation::RemoveNodeInput { node: "find".into(), variant: None, input: "question".into() }
        ),
        ["-    question: ${inputs.question}"]
    );
    assert_eq!(
        changed(
            FLOW,
            &EditOperation::RemoveNodeKey { node: "find".into(), variant: None, path: keys(&["name"]) }
        ),
        ["-- name: find", "-  type: python", "+- type: python"]
    );
    assert_eq!(
        changed(
            FLOW,
            &EditOperation::Disconnect {
                node: "check".into(),
                variant: Some("strict".into()),
                input: "text".into()
            }
        ),
        [
            "-          inputs: {text: \"${ask.output}\", when: \"${find.output}\"}",
            "+          inputs: {when: \"${find.output}\"}"
        ]
    );
    assert_eq!(
        changed(FLOW, &EditOperation::RemoveKey { path: keys(&["outputs", "answer"]) }),
        ["-outputs:", "-  answer:", "-    type: string", "-    reference: ${ask.output}", "+outputs: {}"]
    );
}

#[test]
fn a_node_moves_with_the_comment_above_it() {
    let text = "nodes:\n# one\n- name: a\n\n- name: b # two\n\n# three\n- name: c";
    let after = |name: &str, position| {
        let mut document = FlowDocument::parse(text.as_bytes(), None);
        document.apply(&EditOperation::MoveNode { name: name.into(), position }).unwrap();
        document.text().to_owned()
    };
    assert_eq!(after("c", 0), "nodes:\n# three\n- name: c\n\n# one\n- name: a\n\n- name: b # two");
    assert_eq!(after("a", 1), "nodes:\n- name: b # two\n\n# one\n- name: a\n\n# three\n- name: c");
    assert_eq!(
        changed(FLOW, &EditOperation::MoveNode { name: "check".into(), position: 1 }).len(),
        4,
        "the two lines of the node leave and arrive"
    );
}

#[test]
fn a_copy_keeps_quotes_and_comments() {
    let lines = changed(FLOW, &EditOperation::DuplicateNode { name: "ask".into(), copy: "ask again".into() });
    assert_eq!(
        lines,
        [
            "+- name: ask again",
            "+  type: llm",
            "+  source:",
            "+    type: code",
            "+    path: ask.jinja2",
            "+  inputs:",
            "+    model: 'small'",
            "+    context: \"${find.output.hits}\"",
            "+    prompt: |",
            "+      # system:",
            "+      Be short.",
            "+  x-team: search",
        ]
    );
}

#[test]
fn comments_are_set_and_removed() {
    let at = |comment: Option<&str>| EditOperation::SetComment {
        path: vec![PathStep::Key("nodes".into()), PathStep::Index(1)],
        comment: comment.map(str::to_owned),
    };
    assert_eq!(changed(FLOW, &at(None)), ["-# writes the answer"]);
    assert_eq!(
        changed(FLOW, &at(Some("asks\n\nthe model"))),
        ["-# writes the answer", "+# asks", "+#", "+# the model"]
    );
    assert!(changed(FLOW, &at(Some("writes the answer"))).is_empty());
    let content =
        EditOperation::SetComment { path: keys(&["node_variants"]), comment: Some("other ways".into()) };
    assert_eq!(changed(FLOW, &content), ["+# other ways"]);
    // What looks like a comment above is the text of a prompt.
    let text = "a: |\n  text\n  # not a comment\nb: 1\n";
    let b = EditOperation::SetComment { path: keys(&["b"]), comment: Some("c".into()) };
    assert_eq!(changed(text, &b), ["+# c"]);
}

#[test]
fn line_endings_marks_and_odd_layouts_stay() {
    let crlf = format!("\u{feff}{}", FLOW.replace('\n', "\r\n"));
    let mut document = FlowDocument::parse(crlf.as_bytes(), None);
    assert_eq!(document.bytes(), crlf.as_bytes());
    for operation in [
        EditOperation::AddNode { node: map(json!({"name": "x", "text": "a\nb"})), position: Some(1) },
        EditOperation::RenameNode { from: "find".into(), to: "search".into() },
        EditOperation::MoveNode { name: "ask".into(), position: 0 },
        set_input("ask", "model", json!({"a": [1]})),
    ] {
        document.apply(&operation).unwrap();
        assert!(document.text().starts_with('\u{feff}'));
        assert_eq!(document.text().matches('\n').count(), document.text().matches("\r\n").count());
    }
    let flow = "{inputs: {q: {type: string}}, nodes: [{name: a, inputs: {x: \"${inputs.q}\"}}, {name: b}]}";
    assert_eq!(
        changed(flow, &EditOperation::RemoveNode { name: "a".into() }),
        [format!("-{flow}"), "+{inputs: {q: {type: string}}, nodes: [{name: b}]}".to_owned()]
    );
    assert_eq!(
        changed(flow, &EditOperation::MoveNode { name: "b".into(), position: 0 })[1],
        "+{inputs: {q: {type: string}}, nodes: [{name: b}, {name: a, inputs: {x: \"${inputs.q}\"}}]}"
    );
    let lines = "nodes: [\n  {name: a},\n  {name: b}\n]\n";
    assert_eq!(
        changed(lines, &EditOperation::AddNode { node: map(json!({"name": "c"})), position: None }),
        ["-  {name: b}", "+  {name: b},", "+  {name: c}"]
    );
    let deep = "nodes:\n    - name: a\n      inputs:\n          x: 1\n";
    assert_eq!(
        changed(deep, &set_input("a", "y", json!({"k": ["v"]}))),
        ["+          y:", "+              k:", "+                  - v"]
    );
}

#[test]
fn edits_that_cannot_be_made_leave_everything_as_it_was() {
    let refusal = |text: &str, operation: &EditOperation| {
        let mut document = FlowDocument::parse(text.as_bytes(), None);
        let error = document.apply(operation).unwrap_err();
        assert_eq!(document.bytes(), text.as_bytes());
        assert!(!error.hint().is_empty());
        error
    };
    let set = EditOperation::SetKey { path: keys(&["b", "x"]), value: json!(2) };
    let merged = EditOperation::RemoveKey { path: keys(&["b", "x"]) };
    assert_eq!(
        refusal("a: &m {x: 1}\nb:\n  <<: *m\n  y: 1\n", &merged),
        EditError::Shared { pointer: "/b/x".into() }
    );
    assert_eq!(refusal("a: 'open\n", &set), EditError::BrokenText);
    assert_eq!(refusal("a: 1\na: 2\n", &set), EditError::BrokenText);
    let stale = EditOperation::ReplaceText {
        changes: vec![flowbench_core::edit::TextChange {
            start: 1,
            removed: "zz".into(),
            inserted: String::new(),
        }],
    };
    assert_eq!(refusal("a: 1\n", &stale), EditError::Stale { at: 1 });
    let inner = EditOperation::SetKey { path: keys(&["a", "b"]), value: json!(2) };
    assert!(matches!(refusal("a: 1\n", &inner), EditError::WrongShape { .. }));
}

#[test]
fn a_part_behind_an_alias_is_written_out_when_it_is_to_differ() {
    let text = "a: &m {x: 1, y: 2} # one\nb: *m # two\nc:\n- *m\n";
    let set = |key: &str, value: i32| EditOperation::SetKey { path: keys(&[key, "x"]), value: json!(value) };
    assert_eq!(
        changed(text, &set("b", 3)),
        ["-b: *m # two", "+b: # two", "+  x: 3", "+  y: 2", "-- *m", "+- x: 1", "+  y: 2"]
    );
    assert_eq!(changed(text, &set("a", 1)), Vec::<String>::new());
    // A rename means the same in all places, and keeps them shared.
    let shared = "nodes:\n- name: a\n- name: b\n  inputs: &i {x: \"${a.output}\"}\nnode_variants:\n  b:\n    variants:\n      v:\n        node:\n          inputs: *i\n";
    assert_eq!(
        changed(shared, &EditOperation::RenameNode { from: "a".into(), to: "first".into() }),
        [
            "-- name: a",
            "+- name: first",
            "-  inputs: &i {x: \"${a.output}\"}",
            "+  inputs: &i {x: \"${first.output}\"}"
        ]
    );
}

#[test]
fn a_merge_key_is_overridden_not_changed() {
    let text = "base: &b {x: 1}\nc:\n  <<: *b\n  y: 2\n";
    let lines = {
        let mut document = FlowDocument::parse(text.as_bytes(), None);
        let set = EditOperation::SetKey { path: keys(&["c", "z"]), value: json!(3) };
        document.apply(&set).unwrap();
        difference(text, document.text())
    };
    assert_eq!(lines, ["+  z: 3"]);
}

/// The model: what the steps mean for the value.
pub fn model(document: &Value, operation: &EditOperation) -> Option<Value> {
    let mut value = if document.is_null() { json!({}) } else { document.clone() };
    let steps: Vec<EditStep> = operation.steps(&value).ok()?;
    for step in &steps {
        step.apply(&mut value).ok()?;
    }
    Some(value)
}
