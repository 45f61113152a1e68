//! Tests of this module.

use super::*;
use crate::flow_file::parse_flow;
use std::path::Path;

/// The report of one node, as `verdict: note; note`.
#[track_caller]
fn check(node: &str, verdict: Verdict, notes: &[&str]) {
    let text = format!(
        "nodes:\n- name: helper\n  type: python\n  source: {{type: code, path: h.py}}\n- name: n\n{node}\n"
    );
    let read = parse_flow(text.as_bytes(), Some("flows/demo/flow.dag.yaml"));
    assert!(read.findings.is_empty(), "{text}\n{:?}", read.findings);
    let report = import_report(&read.draft, &read.findings, false);
    let of_node = &report.nodes[1];
    assert_eq!(of_node.verdict, verdict, "{node}: {:?}", of_node.notes);
    assert_eq!(of_node.notes.len(), notes.len(), "{node}: {:?}", of_node.notes);
    for (note, expected) in of_node.notes.iter().zip(notes) {
        assert!(note.contains(expected), "{note:?} should say {expected:?}");
    }
}

fn lookup(inputs: &str) -> String {
    format!(
        "  type: python\n  source: {{type: package, tool: promptflow_vectordb.tool.common_index_lookup.search}}\n  inputs: {inputs}"
    )
}

#[test]
fn nodes_of_code_run_exactly_as_they_did() {
    check("  type: llm\n  source: {type: code, path: a.jinja2}", Verdict::Exact, &[]);
    check("  type: prompt\n  source: {type: code, path: a.jinja2}", Verdict::Exact, &[]);
    check("  type: python\n  source: {type: code, path: a.py}", Verdict::Exact, &[]);
    check(
        "  type: llm\n  provider: AzureOpenAI\n  module: promptflow.tools.aoai\n  enable_cache: true\n  source: {type: code, path: a}",
        Verdict::Exact,
        &["`provider: AzureOpenAI` has no effect", "`module`, `enable_cache` of older versions"],
    );
    check(
        "  type: llm\n  source: {type: code, path: a}\n  inputs: {context: \"${helper.output}\", q: \"${inputs.q}\"}",
        Verdict::Exact,
        &["a line like `system:` in `context` stays text here"],
    );
    check(
        "  type: llm\n  api: completion\n  source: {type: code, path: a}\n  inputs: {c: \"${helper.output}\"}",
        Verdict::Exact,
        &[],
    );
    check("  type: retrieve\n  inputs: {index: i}", Verdict::Exact, &["is not prompt flow's"]);
}

#[test]
fn common_package_tools_are_built_in() {
    for tool in NATIVE {
        check(
            &format!("  type: python\n  source: {{type: package, tool: {tool}}}"),
            Verdict::Exact,
            &["built in here"],
        );
    }
    check(
        "  type: custom_llm\n  source: {type: package_with_prompt, tool: promptflow.tools.llm.llm, path: a}\n  inputs: {c: \"${helper.output}\"}",
        Verdict::Exact,
        &["built in here", "a line like `system:` in `c`"],
    );
    let open = |endpoint: &str| {
        format!(
            "  type: custom_llm\n  source: {{type: package_with_prompt, tool: {OPEN_MODEL}, path: a}}\n  inputs: {{endpoint_name: \"{endpoint}\"}}"
        )
    };
    check(&open("connection/llama"), Verdict::Exact, &["built in here"]);
    check(
        &open("onlineEndpoint/llama"),
        Verdict::Unsupported,
        &["endpoint `onlineEndpoint/llama` is found through the cloud"],
    );
    check(&open("${inputs.endpoint}"), Verdict::Changed, &["turns out as `connection/NAME`"]);
}

#[test]
fn other_packages_need_their_package() {
    let node = "  type: python\n  source: {type: package, tool: my_tools.search.find}";
    check(
        node,
        Verdict::Changed,
        &["(module `my_tools`) in the flow's environment: name it in `requirements.txt`"],
    );
    let read = parse_flow(format!("nodes:\n- name: n\n{node}\n").as_bytes(), None);
    let report = import_report(&read.draft, &[], true);
    assert!(report.nodes[0].notes[0].contains("`--install` takes it from `requirements.txt`"));
    assert!(report.notes[0].contains("not installed unasked"));
}

#[test]
fn lookups_in_cloud_indexes_name_what_to_use() {
    check(
        &lookup(
            "{mlindex_content: \"index:\\n  kind: acs\\n  index: handbook\\n\", queries: \"${inputs.q}\", query_type: \"Hybrid (vector + keyword)\", top_k: 7}",
        ),
        Verdict::Unsupported,
        &[
            "index `handbook` (acs) is out of reach: the tool runs in the cloud only; build a local index from the same documents, and write `type: retrieve` with `inputs: {index: NAME, query: \"${inputs.q}\", mode: hybrid, top_k: 7}`",
            "hits have `text` and `score`",
        ],
    );
    for (word, mode) in [
        ("Keyword", "keyword"),
        ("Vector", "vector"),
        ("Semantic", "hybrid+rerank"),
        ("Hybrid (vector + keyword)", "hybrid"),
        ("Hybrid + semantic", "hybrid+rerank"),
    ] {
        let becomes = format!("(`query_type: {word}` becomes `mode: {mode}`)");
        check(&lookup(&format!("{{query_type: \"{word}\"}}")), Verdict::Unsupported, &[&becomes, "hits"]);
    }
    check(
        "  type: python\n  source: {type: package, tool: promptflow_vectordb.tool.faiss_index_lookup.FaissIndexLookup.search}\n  inputs: {vector: \"${helper.output}\", top_k: \"2\"}",
        Verdict::Unsupported,
        &["mode: vector, top_k: 2}", "the node that embeds it can go", "hits"],
    );
    check(
        "  type: python\n  source: {type: package, tool: promptflow_vectordb.tool.rerank.rerank}",
        Verdict::Unsupported,
        &["use a `rerank` node"],
    );
    // What stands in a flow is anyone's: text that is no YAML, numbers that count nothing.
    check(
        &lookup("{mlindex_content: \"{[\", top_k: -1, queries: [a]}"),
        Verdict::Unsupported,
        &["top_k: 3", "hits"],
    );
}

#[test]
fn of_variants_the_worst_counts() {
    let text = "nodes:\n- {name: n, use_variants: true}\nnode_variants:\n  n:\n    default_variant_id: a\n    variants:\n\
                \x20     a: {node: {type: llm, source: {type: code, path: a}}}\n\
                \x20     b: {node: {type: python, source: {type: package, tool: x.y}}}\n";
    let read = parse_flow(text.as_bytes(), None);
    let report = import_report(&read.draft, &read.findings, false);
    assert_eq!((report.nodes[0].kind.as_str(), report.nodes[0].verdict), ("llm", Verdict::Changed));
    assert!(report.nodes[0].notes[0].starts_with("variant `b`: tool `x.y`"));
    assert_eq!(report.flow, "flow");
}

#[test]
fn refused_nodes_and_flows_are_unsupported() {
    let read = parse_flow(
        b"nodes:\n- {name: n, type: csharp}\n- {name: m, type: odd}\n- {name: o}\n",
        Some("x/flow.dag.yaml"),
    );
    let findings = [
        Finding::error("cycle", "nodes wait for each other"),
        Finding::error("missing-source", "node `m`: file `a` is missing").on_node("m"),
        Finding::warning("unset-variable", "w").on_node("m"),
    ];
    let report = import_report(&read.draft, &findings, false);
    assert!(report.nodes.iter().all(|node| node.verdict == Verdict::Unsupported));
    assert_eq!(
        report.nodes[1].notes,
        ["type `odd` is not known", "it is refused as it stands: node `m`: file `a` is missing"]
    );
    assert_eq!(report.notes, ["the flow is refused as it stands: nodes wait for each other"]);
    let read = parse_flow(
        b"language: csharp\nnodes:\n- {name: n, type: python, source: {type: code, path: a}}\n",
        None,
    );
    let report = import_report(&read.draft, &[], false);
    assert_eq!(report.nodes[0].verdict, Verdict::Unsupported);
    assert!(report.notes[0].contains("`csharp`"));
}

#[test]
fn the_text_is_what_a_person_reads() {
    let text = "inputs:\n  k: {type: int, default: 3}\n  history: {type: list, default: [], is_chat_history: true}\n\
                nodes:\n- {name: \"a\\e[31m\\nb\", type: prompt, source: {type: code, path: p}}\n\
                - {name: s, type: python, source: {type: package, tool: x.y}}\n";
    let read = parse_flow(text.as_bytes(), Some("flows/demo/flow.dag.yaml"));
    let shown = render_text(&import_report(&read.draft, &[], true));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "flow `demo`: 2 nodes: 1 exact, 1 changed, 0 unsupported",
            "exact        a\\u{1b}[31m b (prompt)",
            "changed      s (python, x.y)",
            "             - tool `x.y` needs its package in the flow's environment: `--install` takes it from `requirements.txt`, if it is named there",
        ]
    );
    assert!(
        lines[4].starts_with(
            "note: 1 of its inputs have a default (`k`): in a batch without a mapping they take"
        ),
        "{}",
        lines[4]
    );
}

#[test]
fn the_stored_folders_of_prompt_flow_are_reported() {
    let flows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/promptflow/flows");
    let mut count = 0;
    for entry in std::fs::read_dir(flows).unwrap() {
        let path = entry.unwrap().path().join("flow.dag.yaml");
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let read = parse_flow(&bytes, None);
        let report = import_report(&read.draft, &read.findings, false);
        assert_eq!(report.nodes.len(), read.draft.nodes.len());
        for node in &report.nodes {
            assert_eq!(node.verdict, Verdict::Exact, "{}: {node:?}", path.display());
        }
        count += 1;
    }
    assert!(count >= 20, "{count} flows");
}
