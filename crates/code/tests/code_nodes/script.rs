//! Scripts: values, errors and limits.

use std::sync::Arc;
use std::time::Duration;

use flowbench_code::CodeNodes;
use flowbench_code::python::PythonSettings;
use flowbench_code::script::ScriptLimits;
use flowbench_core::ports::{CodeError, CodeErrorKind, CodeResult, CodeRunner, CodeSource};
use serde_json::{Value, json};

use crate::bench::Bench;

async fn run(code: &str, inputs: Value) -> Result<CodeResult, CodeError> {
    run_within(ScriptLimits::default(), code, inputs).await
}

async fn run_within(limits: ScriptLimits, code: &str, inputs: Value) -> Result<CodeResult, CodeError> {
    let bench = Bench::new();
    let source = CodeSource::Script { code: code.to_owned(), name: "node.js".to_owned() };
    let mut call = bench.call(source, inputs);
    call.timeout = None;
    CodeNodes::new(PythonSettings::default(), limits).call(call, Arc::clone(&bench.host) as _).await
}

#[tokio::test]
async fn a_script_maps_inputs_to_a_result() {
    let code = "export default function ({ words }) { return { n: words.length, up: words.map(w => w.toUpperCase()), none: null } }";
    let result = run(code, json!({"words": ["å", "b\u{0}c"]})).await.unwrap();
    assert_eq!(result.value, json!({"n": 2, "up": ["Å", "B\u{0}C"], "none": null}));
}

#[tokio::test]
async fn promises_are_awaited_and_nothing_is_null() {
    let code = "export default async inputs => { const x = await Promise.resolve(inputs.x); return x + 1 }";
    assert_eq!(run(code, json!({"x": 1})).await.unwrap().value, json!(2));
    assert_eq!(run("export default () => {}", json!({})).await.unwrap().value, json!(null));
    let error = run("export default () => new Promise(() => {})", json!({})).await.unwrap_err();
    assert_eq!(error.message, "node `probe`: the promise that it returned is never settled");
}

#[tokio::test]
async fn console_output_is_captured_and_capped() {
    let code =
        "export default () => { console.log('a', 1, { b: [2] }); console.error(new Error('bad')); return 1 }";
    assert_eq!(run(code, json!({})).await.unwrap().stdout, "a 1 {\"b\":[2]}\nError: bad\n");
    let limits = ScriptLimits { max_output_bytes: 10, ..ScriptLimits::default() };
    let code = "export default () => { for (let i = 0; i < 1000; i++) console.log('ååå') }";
    let result = run_within(limits, code, json!({})).await.unwrap();
    assert_eq!(result.stdout, "ååå\nå\n[output cut: 9 of 7000 bytes kept]\n");
    assert_eq!(result.warnings, ["standard output had 7000 bytes and was cut"]);
}

#[tokio::test]
async fn errors_name_the_line() {
    for (code, kind, message) in [
        (
            "export default function (inputs) {\n  return inputs.missing.length\n}",
            CodeErrorKind::Raised,
            "TypeError: cannot read property 'length' of undefined (`node.js`, line 2)",
        ),
        ("\n\nexport default function ( {", CodeErrorKind::Load, "SyntaxError: "),
        ("export const x = 1", CodeErrorKind::Load, "`node.js` exports no default function"),
        ("throw new RangeError('at load')", CodeErrorKind::Load, "RangeError: at load (`node.js`, line 1)"),
        (
            "export default () => { throw { code: 7 } }",
            CodeErrorKind::Raised,
            "the script threw {\"code\":7}",
        ),
        (
            "export default async () => {\n\n throw new Error('later') }",
            CodeErrorKind::Raised,
            "Error: later (`node.js`, line 3)",
        ),
    ] {
        let error = run(code, json!({})).await.unwrap_err();
        assert_eq!(error.kind, kind, "{code}");
        assert!(error.message.starts_with(&format!("node `probe`: {message}")), "{code}: {}", error.message);
    }
}

#[tokio::test]
async fn a_script_reaches_nothing_outside() {
    for name in ["require", "process", "fetch", "std", "os", "setTimeout", "XMLHttpRequest", "Deno"] {
        let code = format!("export default () => typeof {name}");
        assert_eq!(run(&code, json!({})).await.unwrap().value, json!("undefined"), "{name}");
    }
    let error = run("import fs from 'fs'\nexport default () => 1", json!({})).await.unwrap_err();
    assert_eq!(error.kind, CodeErrorKind::Load);
}

#[tokio::test]
async fn loops_without_end_run_out_of_time_or_steps() {
    let limits = ScriptLimits { max_time: Duration::from_millis(200), ..ScriptLimits::default() };
    for code in [
        "export default () => { for (;;) {} }",
        "export default () => { try { for (;;) {} } catch { for (;;) {} } }",
        "for (;;) {}",
        "export default async () => { for (;;) await 0 }",
        "export default () => /(a+)+$/.test('a'.repeat(60) + 'b')",
        "export default () => ({ toJSON() { for (;;) {} } })",
    ] {
        let error = run_within(limits.clone(), code, json!({})).await.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (CodeErrorKind::Timeout, "node `probe` gave no result within 200ms"),
            "{code}"
        );
    }
    let limits = ScriptLimits { max_steps: 1_000_000, ..ScriptLimits::default() };
    let error = run_within(limits, "export default () => { for (;;) {} }", json!({})).await.unwrap_err();
    assert_eq!(error.message, "node `probe`: the script took more than 1000000 steps");
}

#[tokio::test]
async fn memory_and_stack_have_limits() {
    let grow = "export default () => { const all = []; for (;;) all.push(new Array(1000).fill(1)) }";
    let error = run(grow, json!({})).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (CodeErrorKind::Limit, "node `probe`: the script used more than 67108864 bytes")
    );
    let deep = "const f = () => f() + 1\nexport default () => f()";
    let error = run(deep, json!({})).await.unwrap_err();
    assert!(error.message.contains("Maximum call stack size exceeded"), "{}", error.message);
    let limits = ScriptLimits { max_result_bytes: 100, ..ScriptLimits::default() };
    let error = run_within(limits, "export default () => 'x'.repeat(200)", json!({})).await.unwrap_err();
    assert_eq!(error.message, "node `probe`: the result has 202 bytes; 100 are allowed");
}

#[tokio::test]
async fn dropping_the_call_stops_the_engine() {
    let bench = Bench::new();
    let source = CodeSource::Script {
        code: "export default () => { for (;;) {} }".to_owned(),
        name: "n.js".to_owned(),
    };
    let call = bench.call(source, json!({}));
    let running = tokio::time::timeout(Duration::from_millis(100), bench.run(call));
    assert!(running.await.is_err());
    // The engine's thread is named; it goes once it looks at its limits.
    let threads = || {
        let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        names
            .filter(|task| {
                std::fs::read_to_string(task.path().join("comm"))
                    .is_ok_and(|name| name.starts_with("flowbench-scrip"))
            })
            .count()
    };
    while threads() > 0 {
        tokio::task::yield_now().await;
    }
}
