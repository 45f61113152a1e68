//! Environments made from `requirements.txt`, with a package that comes as a file: no network.

use std::process::Command;
use std::sync::Mutex;

use flowbench_code::environment::{EnvironmentError, make_environment};
use flowbench_code::interpreter;
use flowbench_code::python::PythonSettings;
use serde_json::json;

use crate::bench::Bench;

const WHEEL: &str = r#"
import sys, zipfile
info = "tiny_demo-1.0.dist-info"
with zipfile.ZipFile(sys.argv[1] + "/tiny_demo-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("tiny_demo.py", "NUMBER = 7\n")
    wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\nName: tiny-demo\nVersion: 1.0\n")
    wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "/RECORD", "".join(n + ",,\n" for n in ["tiny_demo.py", info + "/METADATA", info + "/WHEEL", info + "/RECORD"]))
"#;

#[tokio::test]
async fn a_flow_runs_in_the_environment_made_for_it() {
    let state = tempfile::tempdir().unwrap();
    let settings =
        PythonSettings { state_folder: Some(state.path().to_owned()), ..PythonSettings::default() };
    let bench = Bench::with(settings);
    let base = interpreter::find(None).await.unwrap();
    assert!(Command::new(&base.path).args(["-c", WHEEL]).arg(bench.folder()).status().unwrap().success());
    bench.write("requirements.txt", "--no-index\n./tiny_demo-1.0-py3-none-any.whl\npromptflow[azure]\n");
    bench.tool("node.py", "import tiny_demo\n@tool\ndef number():\n    return tiny_demo.NUMBER\n");
    assert!(bench.run_file("node.py", json!({})).await.is_err(), "not made before it is asked for");

    let lines = Mutex::new(Vec::new());
    let note = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let made = make_environment(state.path(), bench.folder(), &base, &note).await.unwrap();
    assert!(!made.is_reused);
    assert_eq!(made.left_out, ["promptflow[azure]"]);
    assert!(
        lines.lock().unwrap().iter().any(|line| line.contains("Successfully installed tiny-demo-1.0")),
        "{lines:?}"
    );
    assert_eq!(bench.run_file("node.py", json!({})).await.unwrap().value, json!(7));
    assert!(make_environment(state.path(), bench.folder(), &base, &note).await.unwrap().is_reused);

    bench.write("requirements.txt", "--no-index\nno-such-package-here\n");
    let error = make_environment(state.path(), bench.folder(), &base, &note).await.unwrap_err();
    assert!(
        matches!(&error, EnvironmentError::Failed { step: "installing the packages", tail, .. } if tail.contains("no-such-package-here")),
        "{error}"
    );
    assert!(bench.run_file("node.py", json!({})).await.is_err(), "a half-made environment does not count");
}

#[tokio::test]
async fn a_flow_without_requirements_says_so() {
    let (state, bench) = (tempfile::tempdir().unwrap(), Bench::new());
    let base = interpreter::find(None).await.unwrap();
    let error = make_environment(state.path(), bench.folder(), &base, &|_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), format!("flow `{}` has no `requirements.txt`", bench.folder().display()));
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0, "nothing was written");
}
