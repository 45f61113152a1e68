//! Tests of the whole product: the real binary in a sandbox, told in the words of its users.
//!
//! Each file in `tests/` is one area. What several areas need is here.

pub mod lines;
pub mod promptflow;

use flowbench_testkit::{ModelServer, Sandbox};

/// A key that must never be seen anywhere.
pub const KEY: &str = "sk-test-4f9d1c7eb2a84d6e";

/// Writes a flow with one llm node `answer` that asks this connection and model with `question`.
pub fn write_question_flow(sandbox: &Sandbox, name: &str, connection: &str, model: &str) {
    let flow = format!(
        r#"inputs:
  question:
    type: string
    default: Hello there
outputs:
  answer:
    type: string
    reference: ${{answer.output}}
nodes:
- name: answer
  type: llm
  source: {{type: code, path: ask.jinja2}}
  inputs:
    model: {model}
    question: ${{inputs.question}}
  connection: {connection}
  api: chat
"#
    );
    sandbox.write(&format!("{name}/flow.dag.yaml"), flow);
    sandbox.write(&format!("{name}/ask.jinja2"), "# system:\nBe brief.\n\n# user:\n{{ question }}\n");
}

/// Writes a connections file of the user's own that leads to a server; gives its path. Its key is in `OPENAI_API_KEY`.
pub fn write_connection(sandbox: &Sandbox, server: &ModelServer) -> String {
    let text = format!(
        "connections:\n  - {{name: open_ai_connection, type: open_ai, base_url: \"{}\", api_key: \"${{env:OPENAI_API_KEY}}\"}}\n",
        server.base_url()
    );
    let path = sandbox.home("connections.yaml");
    std::fs::write(&path, text).expect("a file of the sandbox can be written");
    path.to_string_lossy().into_owned()
}
