//! Tests of this module.

use super::*;
use serde_json::json;

#[track_caller]
fn value_of(text: &str) -> Value {
    let document = YamlDocument::parse(text.as_bytes(), None);
    assert!(document.findings().is_empty(), "{:?}", document.findings());
    assert_eq!(document.text(), text, "the text stays as it is");
    document.value().clone()
}

/// The rules found, each with line and column.
fn found(bytes: &[u8]) -> Vec<String> {
    YamlDocument::parse(bytes, Some("f.yaml"))
        .findings()
        .iter()
        .map(|finding| {
            assert!(finding.suggestion.is_some(), "{finding:?} says what to do");
            let place = &finding.place;
            format!("{}:{}:{}", finding.rule, place.line.unwrap_or(0), place.column.unwrap_or(0))
        })
        .collect()
}

#[test]
fn documents_become_values() {
    assert_eq!(value_of("a: 1\nb: [x, 'y', \"z\"]\n"), json!({"a": 1, "b": ["x", "y", "z"]}));
    assert_eq!(
        value_of("a: |\n  two\n  lines\nb: >-\n  one\n  line\n"),
        json!({"a": "two\nlines\n", "b": "one line"})
    );
    assert_eq!(value_of("1: a\ntrue: b\n~: c\n"), json!({"1": "a", "true": "b", "null": "c"}));
    assert_eq!(value_of("a: &x {k: 1}\nb: *x\n"), json!({"a": {"k": 1}, "b": {"k": 1}}));
    assert_eq!(
        value_of("base: &b {k: 1, l: 2}\nc:\n  <<: *b\n  k: 3\n"),
        json!({"base": {"k": 1, "l": 2}, "c": {"k": 3, "l": 2}})
    );
    assert_eq!(
        value_of("a: !!str 1\nb: !!int 2\nc: !!float 3\nd: ! 4\n"),
        json!({"a": "1", "b": 2, "c": 3.0, "d": "4"})
    );
    assert_eq!(value_of(""), json!(null));
    assert_eq!(value_of("# only a comment\n"), json!(null));
    assert_eq!(value_of("\u{feff}a: 1\r\nb:\r\n- x\r\n"), json!({"a": 1, "b": ["x"]}));
    assert_eq!(value_of("%YAML 1.1\n---\na: yes\n"), json!({"a": true}));
}

#[test]
fn too_little_indentation_inside_brackets_and_quotes_is_accepted() {
    assert_eq!(
        value_of("a:\n  b: [\n  1,\n{x: 2\n}, 'é'\n]\n  c: {\n}\nd: 1\n"),
        json!({"a": {"b": [1, {"x": 2}, "é"], "c": {}}, "d": 1})
    );
    assert_eq!(
        value_of("a:\n  b: \"one\ntwo\n  three\"\n  c: 1\n"),
        json!({"a": {"b": "one two three", "c": 1}})
    );
    assert_eq!(
        spans("a:\n  é: [\n1\n]\n  c: x\n"),
        ["a:\n  é: [\n1\n]\n  c: x", "a", "é: [\n1\n]\n  c: x", "é", "[\n1\n]", "1", "c", "x"]
    );
}

#[test]
fn every_part_has_its_place() {
    let text = "inputs:\n  question:\n    type: string\nnodes:\n- name: söka\n  inputs: {q: \"${inputs.question}\"}\n";
    let document = YamlDocument::parse(text.as_bytes(), Some("flow.dag.yaml"));
    let at = |pointer: &str| {
        let place = document.places().of(pointer);
        (place.line.unwrap_or(0), place.column.unwrap_or(0))
    };
    assert_eq!(at("/inputs"), (1, 1));
    assert_eq!(at("/inputs/question"), (2, 3));
    assert_eq!(at("/inputs/question/type"), (3, 11));
    assert_eq!(at("/nodes/0"), (5, 3));
    assert_eq!(at("/nodes/0/name"), (5, 9));
    assert_eq!(at("/nodes/0/inputs/q"), (6, 15));
    assert_eq!(document.places().of("/nodes/0/inputs/missing").line, Some(6), "the nearest part above");
}

#[test]
fn broken_yaml_is_found_and_keeps_what_stands_before() {
    let text = b"inputs:\n  a: {type: string}\nnodes:\n- name: x\n  inputs: {q: 'open\n";
    let document = YamlDocument::parse(text, Some("f.yaml"));
    assert!(!document.is_whole());
    assert_eq!(document.findings().len(), 1);
    assert_eq!(document.findings()[0].place.line, Some(5));
    assert_eq!(
        document.value(),
        &json!({"inputs": {"a": {"type": "string"}}, "nodes": [{"name": "x", "inputs": {"q": null}}]})
    );
    assert_eq!(found(b"a: b: c\n"), ["yaml-syntax:1:5"]);
    assert_eq!(found(b"a:\n\t- b\n"), ["yaml-syntax:2:2"]);
    assert_eq!(found(b"a: *nowhere\n"), ["yaml-syntax:1:4"]);
    assert_eq!(found(b"a: [1, 2\n"), ["yaml-syntax:2:1"]);
}

#[test]
fn doubtful_yaml_is_found_with_its_place() {
    assert_eq!(found(b"a: 1\nb: 2\na: 3\n"), ["yaml-duplicate-key:3:1"]);
    assert_eq!(found(b"a: 1\n---\nb: 2\n"), ["yaml-many-documents:2:1"]);
    assert_eq!(found(b"? [a, b]\n: 1\n"), ["yaml-key:1:1"]);
    assert_eq!(found(b"a: .nan\n"), ["yaml-number-range:1:4"]);
    assert_eq!(found(b"a: !thing x\n"), ["yaml-tag:1:4"]);
    assert_eq!(found(b"a: &x [*x]\n"), ["yaml-recursive-alias:1:8"]);
    assert_eq!(found(b"a: 1\nb: \xff\n"), ["yaml-encoding:2:4"]);
    assert_eq!(found(b"\xff\xfea\0:\0"), ["yaml-encoding:1:1", "yaml-control-character:1:4"]);
    assert_eq!(found(b"a: x\0y\nb: 1\n"), ["yaml-control-character:1:5"]);
    assert_eq!(YamlDocument::parse(b"a: x\0y\nb: 1\n", None).value()["b"], json!(1), "nothing is cut off");
}

#[test]
fn an_alias_bomb_ends_in_a_finding() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..10 {
        let above = level - 1;
        let items = vec![format!("*a{above}"); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let rules = found(text.as_bytes());
    assert_eq!(rules.len(), 1, "{rules:?}");
    assert!(rules[0].starts_with("yaml-alias-bomb:"), "{rules:?}");
}

#[test]
fn nesting_without_end_ends_in_a_finding() {
    let flow = "[".repeat(10_000);
    assert!(found(flow.as_bytes())[0].starts_with("yaml-too-deep:1:"));
    let block = "- ".repeat(10_000);
    assert!(found(block.as_bytes())[0].starts_with("yaml-too-deep:1:"));
    let mut lines = String::new();
    for depth in 0..2_000 {
        lines.push_str(&" ".repeat(depth));
        lines.push_str("a:\n");
    }
    assert!(found(lines.as_bytes())[0].starts_with("yaml-too-deep:101:"));
    let maps = "{a: ".repeat(10_000);
    assert!(found(maps.as_bytes())[0].starts_with("yaml-too-deep:1:"));
}

#[test]
fn huge_files_end_in_a_finding() {
    assert_eq!(found(&vec![b'a'; MAX_YAML_BYTES + 1]), ["yaml-too-large:0:0"]);
    let many = "- a\n".repeat(MAX_NODES + 1);
    assert_eq!(found(many.as_bytes()), [format!("yaml-too-many-parts:{MAX_NODES}:3")]);
    let brackets = format!("[{}]", "1,".repeat(MAX_MARKS));
    assert_eq!(found(brackets.as_bytes()), ["yaml-too-many-parts:0:0"]);
    assert_eq!(YamlDocument::parse(brackets.as_bytes(), None).text(), brackets, "nothing is lost");
    let twice = "a: 1\n".repeat(1000);
    let findings = YamlDocument::parse(twice.as_bytes(), None).findings().to_vec();
    assert_eq!(findings.len(), MAX_FINDINGS);
    assert!(findings[MAX_FINDINGS - 1].message.ends_with("(and 899 more of these)"), "{findings:?}");
}

#[test]
fn a_long_key_over_many_parts_takes_bounded_memory() {
    let text = format!("? {}\n: [{}]\n", "k".repeat(1 << 20), "1,".repeat(10_000));
    let document = YamlDocument::parse(text.as_bytes(), None);
    let bytes: usize = document.places().by_pointer.keys().map(String::len).sum();
    assert!(bytes <= MAX_PLACES_BYTES, "{bytes}");
}

/// Every node of the tree, with the text of its bytes.
fn spans(text: &str) -> Vec<String> {
    fn walk(node: &tree::Node, text: &str, out: &mut Vec<String>) {
        out.push(text[node.span.clone()].to_owned());
        match &node.content {
            tree::Content::List { items, .. } => items.iter().for_each(|item| walk(&item.node, text, out)),
            tree::Content::Map { entries, .. } => {
                for entry in entries {
                    walk(&entry.key, text, out);
                    walk(&entry.value, text, out);
                }
            }
            _ => {}
        }
    }
    let document = YamlDocument::parse(text.as_bytes(), None);
    assert!(document.tree.is_editable, "{text:?} {:?}", document.tree);
    let mut out = Vec::new();
    walk(document.tree.root.as_ref().expect("a root"), text, &mut out);
    out
}

#[test]
fn every_node_knows_its_bytes() {
    assert_eq!(
        spans("a: 1 # one\nb:\n  # two\n  - x\n  - |\n    t\n    u\n\n  -\n"),
        [
            "a: 1 # one\nb:\n  # two\n  - x\n  - |\n    t\n    u\n\n  -",
            "a",
            "1",
            "b",
            "- x\n  - |\n    t\n    u\n\n  -",
            "x",
            "|\n    t\n    u",
            ""
        ]
    );
    assert_eq!(
        spans("k: &x !!str 'v'\nl: {a: 1, \"b\":2, c, d: [x: y, ],}\nm:\nn: ö\r\no: &e\n"),
        [
            "k: &x !!str 'v'\nl: {a: 1, \"b\":2, c, d: [x: y, ],}\nm:\nn: ö\r\no: &e",
            "k",
            "'v'",
            "l",
            "{a: 1, \"b\":2, c, d: [x: y, ],}",
            "a",
            "1",
            "\"b\"",
            "2",
            "c",
            "",
            "d",
            "[x: y, ]",
            "x: y",
            "x",
            "y",
            "m",
            "",
            "n",
            "ö",
            "o",
            ""
        ]
    );
    assert_eq!(
        spans("\u{feff}--- # c\n- > # h\n  f\n- |+\n  k\n\n"),
        ["- > # h\n  f\n- |+\n  k\n", "> # h\n  f", "|+\n  k\n"]
    );
    assert_eq!(
        spans("- - a\n  - b\n- c: 1\n  d: 2\n"),
        ["- - a\n  - b\n- c: 1\n  d: 2", "- a\n  - b", "a", "b", "c: 1\n  d: 2", "c", "1", "d", "2"]
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_fail(text in "[-a:{}\\[\\]&*!|>'\"%#,? \n\r\t~0.é]{0,60}") {
        let document = YamlDocument::parse(text.as_bytes(), None);
        proptest::prop_assert_eq!(document.text(), text);
        proptest::prop_assert!(document.findings().iter().all(|finding| finding.rule != "yaml-internal"));
        proptest::prop_assert!(document.is_whole() || !document.findings().is_empty());
    }
}

#[test]
fn windows_line_endings_and_marks_keep_byte_ranges() {
    let text = "\u{feff}# c\r\na: b   # c\r\nc: {d: 1}\r\n\r\ne:\r\n- f: |\r\n    # x\r\n    y\r\n  g: z\r\n";
    assert_eq!(
        spans(text)[1..],
        [
            "a",
            "b",
            "c",
            "{d: 1}",
            "d",
            "1",
            "e",
            "- f: |\r\n    # x\r\n    y\r\n  g: z",
            "f: |\r\n    # x\r\n    y\r\n  g: z",
            "f",
            "|\r\n    # x\r\n    y",
            "g",
            "z"
        ]
    );
}
