//! Findings with their places, and hostile files: told in bounded time, with nothing run and nothing written.

use std::io::Write;
use std::time::Duration;

use flowbench_testkit::{Output, Sandbox};
use serde_json::Value;

/// Longest time for a file however it is made; a debug build on a busy machine included.
const BOUND: Duration = Duration::from_secs(30);

const CYCLE: &str = "inputs: {q: {type: string}}
outputs: {out: {type: string, reference: '${a.output}'}}
nodes:
- {name: a, type: prompt, source: {type: code, path: t.jinja2}, inputs: {text: '${b.output}'}}
- {name: b, type: prompt, source: {type: code, path: t.jinja2}, inputs: {text: '${a.output}'}}
";

/// Checks a flow file in a folder of its own; asserts that only the report came of it.
#[track_caller]
fn check_file(content: impl AsRef<[u8]>) -> Output {
    check_files(&[("flow.dag.yaml", content.as_ref())])
}

#[track_caller]
fn check_files(files: &[(&str, &[u8])]) -> Output {
    let sandbox = Sandbox::new();
    sandbox.write("flow/t.jinja2", "{{ text }}\n");
    for (name, content) in files {
        sandbox.write(&format!("flow/{name}"), content);
    }
    let before = sandbox.files();
    let output = sandbox.flowbench(["check", "flow"]).at_most(BOUND).run();
    let after = sandbox.files();
    assert!(
        before == after,
        "checking wrote files: {:?}",
        after.keys().filter(|path| !before.contains_key(*path)).collect::<Vec<_>>()
    );
    output
}

fn one_prompt_node(name: &str, text: &str) -> String {
    format!(
        "inputs: {{q: {{type: string, default: x}}}}\noutputs: {{out: {{type: string, reference: '${{{name}.output}}'}}}}\n\
         nodes:\n- {{name: {name}, type: prompt, source: {{type: code, path: t.jinja2}}, inputs: {{text: '{text}'}}}}\n"
    )
}

#[test]
fn a_sound_flow_has_no_findings() {
    let output =
        check_file(one_prompt_node("a", "${inputs.q}")).succeeds().tells("1 flow, 0 errors, 0 warnings");
    assert_eq!(output.stdout, "");
}

#[test]
fn a_finding_says_file_line_and_column() {
    let output = check_file(one_prompt_node("a", "${inputs.gone}"))
        .exits(2)
        .prints("flow/flow.dag.yaml:4:")
        .prints("gone");
    let place =
        output.stdout.lines().find_map(|line| line.strip_prefix("flow/flow.dag.yaml:4:")).unwrap_or_default();
    let column = place.split(':').next().and_then(|column| column.parse::<u32>().ok());
    assert!(column.is_some_and(|column| column > 60), "the column of the value: {}", output.told());
}

#[test]
fn findings_are_sarif_for_code_scanning() {
    let sandbox = Sandbox::new();
    sandbox.write("flow/flow.dag.yaml", CYCLE);
    sandbox.write("flow/t.jinja2", "{{ text }}\n");
    let report = sandbox.flowbench(["check", "flow", "--output", "sarif"]).run().exits(2).json();
    assert_eq!(report["version"], "2.1.0");
    let result = &report["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "cycle", "{report}");
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "flow/flow.dag.yaml", "{report}");
    assert!(place["region"]["startLine"].as_u64().is_some_and(|line| line >= 4), "{report}");
    assert!(place["region"]["startColumn"].as_u64().is_some(), "{report}");
    let rules = report["runs"][0]["tool"]["driver"]["rules"].as_array().map(Vec::len).unwrap_or_default();
    assert!(rules >= 1, "the rule is described: {report}");
}

#[test]
fn findings_are_json_with_stable_names() {
    let sandbox = Sandbox::new();
    sandbox.write("flow/flow.dag.yaml", CYCLE);
    sandbox.write("flow/t.jinja2", "{{ text }}\n");
    let report = sandbox.flowbench(["check", "flow", "--format", "json"]).run().exits(2).json();
    assert_eq!(report["errors"], 1, "{report}");
    let finding = &report["flows"][0]["findings"][0];
    assert_eq!(
        (finding["rule"].as_str(), finding["severity"].as_str()),
        (Some("cycle"), Some("error")),
        "{report}"
    );
}

#[test]
fn warnings_alone_are_no_failure() {
    let flow = one_prompt_node("a", "${inputs.q}")
        .replace("t.jinja2", "llm.jinja2")
        .replace("type: prompt", "type: llm, connection: gone_connection, api: completion");
    let output = check_files(&[("flow.dag.yaml", flow.as_bytes()), ("llm.jinja2", b"{{ text }}")]).succeeds();
    assert!(
        output.stdout.contains("warning") && output.stdout.contains("gone_connection"),
        "{}",
        output.told()
    );
}

#[test]
fn a_folder_without_flows_is_wrong_use() {
    let sandbox = Sandbox::new();
    sandbox.write("empty/readme.txt", "nothing");
    let _ = sandbox
        .flowbench(["check", "empty"])
        .run()
        .exits(2)
        .tells("there is no flow in `empty`")
        .tells("hint: ");
    let _ =
        sandbox.flowbench(["check", "gone"]).run().exits(2).tells("cannot open `gone`: it does not exist");
}

#[test]
fn graphs_that_cannot_run_are_found() {
    let _ = check_file(CYCLE).exits(2).prints("cycle");
    let _ = check_file(one_prompt_node("a", "${gone.output}")).exits(2).prints("`gone`");
    let _ = check_file(one_prompt_node("a", "${inputs.gone}")).exits(2).prints("`gone`");
    let twice = one_prompt_node("a", "x");
    let node = twice.lines().last().unwrap_or_default().to_owned();
    let _ = check_file(format!("{twice}{node}\n")).exits(2).prints("duplicate-node").prints("`a`");
    let _ = check_file(one_prompt_node("a", "x").replace("t.jinja2", "gone.jinja2"))
        .exits(2)
        .prints("gone.jinja2");
    let _ = check_file(one_prompt_node("a", "x").replace("type: prompt", "type: spaceship"))
        .exits(2)
        .prints("spaceship");
}

#[test]
fn sources_outside_the_workspace_are_not_opened() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.home("secret.jinja2"), "{% broken secret").expect("a file can be written");
    let outside = sandbox.home("secret.jinja2");
    for path in ["../../home/secret.jinja2", &outside.to_string_lossy()] {
        sandbox.write("flow/flow.dag.yaml", one_prompt_node("a", "x").replace("t.jinja2", path));
        let output = sandbox.flowbench(["check", "flow"]).run().exits(2);
        assert!(!output.stdout.contains("syntax"), "the outside file was read: {}", output.told());
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_outside_are_not_followed() {
    let sandbox = Sandbox::new();
    sandbox.write("flow/flow.dag.yaml", one_prompt_node("a", "x"));
    std::fs::write(sandbox.home("secret.jinja2"), "{% broken secret").expect("a file can be written");
    std::os::unix::fs::symlink(sandbox.home("secret.jinja2"), sandbox.path("flow/t.jinja2"))
        .expect("a link can be made");
    let output = sandbox.flowbench(["check", "flow"]).run().exits(2);
    assert!(output.stdout.contains("t.jinja2") && !output.stdout.contains("syntax"), "{}", output.told());
}

#[cfg(unix)]
#[test]
fn endless_files_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("flow/t.jinja2", "");
    std::os::unix::fs::symlink("/dev/zero", sandbox.path("flow/endless.dag.yaml"))
        .expect("a link can be made");
    let _ = sandbox.flowbench(["check", "flow/endless.dag.yaml"]).at_most(BOUND).run().exits(2);
    sandbox.write("flow/flow.dag.yaml", one_prompt_node("a", "x").replace("t.jinja2", "zero.jinja2"));
    std::os::unix::fs::symlink("/dev/zero", sandbox.path("flow/zero.jinja2")).expect("a link can be made");
    let _ = sandbox.flowbench(["check", "flow"]).at_most(BOUND).run().exits(2).prints("zero.jinja2");
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    let _ = check_file("inputs: {q: {type: string}\nnodes: [").exits(2).prints("flow/flow.dag.yaml:");
    let _ = check_file("nodes:\n  - name: a\n   type: b\n").exits(2).prints("flow/flow.dag.yaml:3:");
    let _ = check_file("").exits(2).prints("error[no-flow]");
    let _ = check_file("- just\n- a list\n").exits(2);
    let _ = check_file("just text").exits(2);
}

#[test]
fn an_anchor_bomb_is_refused_in_bounded_time() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..40 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let _ = check_file(bomb).exits(2);
}

#[test]
fn deep_nesting_is_refused_without_overflow() {
    let _ = check_file(format!("inputs: {}{}", "[".repeat(10_000), "]".repeat(10_000))).exits(2);
    let _ = check_file(format!("inputs: {}{}", "{a: ".repeat(10_000), "}".repeat(10_000))).exits(2);
    let mut block = String::new();
    for depth in 0..10_000 {
        block.push_str(&" ".repeat(depth.min(200)));
        block.push_str("- \n");
    }
    let _ = check_file(block);
    let dashes = "- ".repeat(10_000);
    let _ = check_file(format!("nodes:\n{dashes}x\n")).exits(2);
}

#[test]
fn a_file_of_100_megabytes_is_refused() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("flow/flow.dag.yaml", "");
    let mut file = std::fs::File::create(path).expect("a file can be made");
    let line = format!("# {}\n", "x".repeat(1021));
    for _ in 0..100 {
        file.write_all(line.repeat(1024).as_bytes()).expect("the disk has room");
    }
    let _ = sandbox.flowbench(["check", "flow"]).at_most(BOUND).run().exits(2).tells("bytes");
    let _ = sandbox.flowbench(["run", "flow"]).at_most(BOUND).run().exits(2).tells("bytes");
}

#[test]
fn binary_rubbish_is_refused() {
    let rubbish: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let _ = check_file(&rubbish).exits(2);
    let _ = check_file([0u8; 4096]).exits(2);
    let flow = one_prompt_node("a", "x");
    let output = check_files(&[("flow.dag.yaml", flow.as_bytes()), ("t.jinja2", &rubbish)]);
    assert!(matches!(output.code, Some(0 | 2)), "{}", output.told());
    assert!(!output.stdout.contains('\u{1b}'), "no control character reaches the terminal");
}

#[test]
fn a_template_that_never_ends_is_stopped_when_it_runs() {
    let sandbox = Sandbox::new();
    sandbox.write("flow/flow.dag.yaml", one_prompt_node("a", "x"));
    let endless = "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}.{% endfor %}{% endfor %}{% endfor %}";
    sandbox.write("flow/t.jinja2", endless);
    let _ = sandbox.flowbench(["check", "flow"]).at_most(BOUND).run().succeeds();
    let output = sandbox.flowbench(["run", "flow"]).at_most(BOUND).run().exits(1);
    assert!(output.stderr.contains("`a`"), "the node is named: {}", output.told());
    sandbox.write("flow/t.jinja2", "{% set x = namespace(t='xxxxxxxxxxxxxxxx') %}{% for a in range(60) %}{% set x.t = x.t ~ x.t %}{% endfor %}{{ x.t }}");
    let _ = sandbox.flowbench(["run", "flow"]).at_most(BOUND).run().exits(1);
    sandbox.write("flow/t.jinja2", "{{ 'x' * 10000000000 }}");
    let _ = sandbox.flowbench(["run", "flow"]).at_most(BOUND).run().exits(1);
}

#[test]
fn looking_at_a_flow_runs_none_of_its_code() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "flow/flow.dag.yaml",
        "inputs: {}\noutputs: {out: {type: string, reference: '${a.output}'}}\n\
         nodes:\n- {name: a, type: python, source: {type: code, path: a.py}, inputs: {}}\n",
    );
    sandbox.write(
        "flow/a.py",
        "import pathlib\npathlib.Path(__file__).with_name('was-imported').write_text('x')\n\
         from promptflow.core import tool\n\n@tool\ndef a() -> str:\n    return 'x'\n",
    );
    // A folder's own `promptflow` or `sitecustomize` must not be imported either.
    sandbox.write("flow/sitecustomize.py", "open('was-imported', 'w')\n");
    sandbox.write("flow/promptflow.py", "open('was-imported', 'w')\n");
    let before = sandbox.files();
    let _ = sandbox.flowbench(["check", "flow"]).run().succeeds();
    let _ = sandbox.flowbench(["import", "promptflow", "flow"]).run().succeeds();
    assert!(before == sandbox.files(), "something was written");
    let _ = sandbox.flowbench(["run", "flow"]).run().exits(2);
    assert!(!sandbox.path("flow/was-imported").exists(), "an unapproved flow was imported");
    // The trap works: with the user's word the code does run.
    std::fs::remove_file(sandbox.path("flow/promptflow.py")).expect("a file can be removed");
    std::fs::remove_file(sandbox.path("flow/sitecustomize.py")).expect("a file can be removed");
    let _ = sandbox.flowbench(["run", "flow", "--trust"]).run().succeeds();
    assert!(sandbox.path("flow/was-imported").exists(), "the trap would not have noticed");
}

#[test]
fn importing_reports_each_node_and_leaves_the_source_alone() {
    let sandbox = Sandbox::new();
    sandbox.copy("fixtures/promptflow/flows/chat-basic", "theirs");
    let before = sandbox.tree();
    let report =
        sandbox.flowbench(["import", "promptflow", "theirs", "--format", "json"]).run().succeeds().json();
    let nodes: Vec<&str> = report["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| node["node"].as_str().or(node["name"].as_str()))
        .collect();
    assert_eq!(nodes, ["answer"], "{report}");
    assert!(before == sandbox.tree(), "the source was touched");
    let _ = sandbox.flowbench(["import", "promptflow", "theirs", "--out", "ours"]).run().succeeds();
    let theirs: Vec<Vec<u8>> = sandbox
        .tree()
        .into_iter()
        .filter(|(path, _)| path.starts_with("work/theirs/"))
        .map(|(_, content)| content)
        .collect();
    let ours: Vec<Vec<u8>> = sandbox
        .tree()
        .into_iter()
        .filter(|(path, _)| path.starts_with("work/ours/"))
        .map(|(_, content)| content)
        .collect();
    assert!(theirs == ours && !ours.is_empty(), "the copy has every byte");
    let _ = sandbox
        .flowbench(["import", "promptflow", "theirs", "--out", "ours"])
        .run()
        .exits(2)
        .tells("is there already");
}

#[test]
fn the_whole_workspace_is_checked_where_no_path_is_named() {
    let sandbox = Sandbox::new();
    for name in ["flows/one", "flows/two"] {
        sandbox.write(&format!("{name}/flow.dag.yaml"), one_prompt_node("a", "x"));
        sandbox.write(&format!("{name}/t.jinja2"), "{{ text }}");
    }
    sandbox.write("flows/two/t.jinja2", "{% if %}");
    let report: Value = sandbox.flowbench(["check", "--format", "json"]).run().exits(2).json();
    let flows: Vec<&str> =
        report["flows"].as_array().into_iter().flatten().filter_map(|flow| flow["flow"].as_str()).collect();
    assert_eq!(flows, ["flows/one", "flows/two"]);
    let _ = sandbox.flowbench(["check"]).run().exits(2).prints("flows/two/t.jinja2:1");
}
