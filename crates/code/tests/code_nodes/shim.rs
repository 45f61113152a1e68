//! The stand-in for prompt flow's package.

use std::sync::Arc;

use flowbench_code::python::PythonSettings;
use flowbench_core::ports::{CodeHost, CodeRunner};
use serde_json::{Value, json};

use crate::bench::Bench;

#[tokio::test]
async fn model_calls_of_code_go_through_the_host() {
    let bench = Bench::new();
    let body = r##"
from promptflow.connections import OpenAIConnection
from promptflow.tools.aoai import chat as aoai_chat
from promptflow.tools.openai import chat, completion
from promptflow.tools.embedding import embedding
from promptflow.tools.common import parse_chat, render_jinja_template
@tool
def ask(question: str):
    connection = OpenAIConnection(api_key="sk", base_url="http://u", name="c")
    return [
        chat(connection, "# user:\n{{question}}", model="m", max_tokens=5, temperature=0.0, question=question),
        "".join(completion(connection, "once", model="m", stream=True)),
        embedding(connection, question, model="e"),
        parse_chat(render_jinja_template("user:\nhi")),
        aoai_chat(connection=connection, prompt="p", deployment_name="d", tools=[{"t": 1}]),
    ]
"##;
    let value = bench.value_of(body, json!({"question": "why?"})).await;
    assert_eq!(
        value,
        json!(["an answer", "an answer", [0.5, 0.25], [{"role": "user", "content": "user:\nhi"}], "an answer"])
    );
    let asked = bench.host.asked.lock().unwrap();
    let expected = json!({
        "connection": {"name": "c", "kind": "open_ai", "fields": {"base_url": "http://u"}, "secrets": {"api_key": "sk"}},
        "model": "m", "prompt": "# user:\n{{question}}", "variables": {"question": "why?"},
        "parameters": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 5}
    });
    assert_eq!(asked[0], ("chat".to_owned(), expected));
    assert_eq!(asked[5].1["parameters"]["tools"], json!([{"t": 1}]));
}

#[tokio::test]
async fn a_refusal_of_the_host_is_an_exception_that_code_can_catch() {
    let bench = Bench::new();
    let body = "from promptflow.core import Flow\n@tool\ndef ask():\n    try:\n        return Flow.load('other')(x=1)\n    except RuntimeError as error:\n        return str(error)\n";
    assert_eq!(bench.value_of(body, json!({})).await, json!("`run_flow` is not allowed here"));
}

#[tokio::test]
async fn host_calls_of_several_threads_are_answered_each() {
    let bench = Bench::new();
    let body = "from concurrent.futures import ThreadPoolExecutor\nfrom promptflow.tools.common import render_jinja_template\n@tool\ndef many():\n    with ThreadPoolExecutor(8) as pool:\n        return list(pool.map(lambda n: render_jinja_template(str(n)), range(40)))\n";
    let expected: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(bench.value_of(body, json!({})).await, json!(expected));
}

/// A host that answers `run_flow` by running another Python node on the same workers.
struct Nested {
    bench: Bench,
}

#[async_trait::async_trait]
impl CodeHost for Nested {
    async fn host_call(&self, _method: &str, parameters: Value) -> Result<Value, String> {
        let inner = self.bench.run_file("inner.py", parameters["inputs"].clone()).await;
        inner.map(|result| result.value).map_err(|error| error.message)
    }
}

#[tokio::test]
async fn a_flow_called_by_code_may_use_python_itself() {
    // One worker at a time: the caller has to lend its place.
    let bench = Bench::with(PythonSettings { max_workers: 1, ..PythonSettings::default() });
    bench.tool("inner.py", "@tool\ndef inner(x):\n    return x + 1\n");
    bench.tool(
        "outer.py",
        "from promptflow.core import Flow\n@tool\ndef outer():\n    return Flow.load('.')(x=41)\n",
    );
    let (nodes, call) = (bench.nodes.clone(), bench.file_call("outer.py", json!({})));
    let result = nodes.call(call, Arc::new(Nested { bench })).await.unwrap();
    assert_eq!(result.value, json!(42));
}

#[tokio::test]
async fn a_prompty_is_called_like_a_function() {
    let bench = Bench::new();
    bench.write("ask.prompty", "---\n---\n");
    let body = r#"
from promptflow.core import AzureOpenAIModelConfiguration, Prompty
@tool
def ask():
    configuration = AzureOpenAIModelConfiguration(azure_deployment="d", connection="c")
    return Prompty.load("ask.prompty", model={"configuration": configuration})(question="q")
"#;
    assert_eq!(bench.value_of(body, json!({})).await, json!("an answer"));
    let asked = bench.host.asked.lock().unwrap();
    let (method, parameters) = &asked[0];
    assert_eq!(method, "run_prompty");
    assert!(parameters["path"].as_str().unwrap().ends_with("/ask.prompty"));
    assert_eq!(parameters["inputs"], json!({"question": "q"}));
    let model =
        json!({"configuration": {"type": "azure_openai", "azure_deployment": "d", "connection": "c"}});
    assert_eq!(parameters["model"], model);
}

#[tokio::test]
async fn every_module_of_the_stand_in_can_be_imported() {
    let bench = Bench::new();
    let body = r#"
import importlib, promptflow
from promptflow import tool as old_tool, log_metric, ToolProvider
from promptflow.client import PFClient, load_flow
from promptflow.contracts.types import FilePath, PromptTemplate, Secret
from promptflow.entities import FlowContext, InputSetting, DynamicList
from promptflow.exceptions import SystemErrorException, UserErrorException
from promptflow.tracing import start_trace, trace
from promptflow._core.tool import InputSetting
from promptflow._internal import ErrorResponse, ExceptionPresenter
from promptflow._utils.logger_utils import get_logger
from promptflow.core._flow import AsyncPrompty
@trace
def traced(x):
    return x
@old_tool
def all_there():
    start_trace()
    get_logger("a").info("logged")
    return [traced(1), PFClient().connections.get("named").api_key]
"#;
    bench.tool("node.py", body);
    let result = bench.run_file("node.py", json!({})).await.unwrap();
    assert_eq!(result.value, json!([1, "k"]));
    assert_eq!(result.stdout, "logged\n");
}

#[tokio::test]
async fn what_the_stand_in_lacks_is_said_with_a_hint() {
    let bench = Bench::new();
    bench.tool("node.py", "import promptflow.azure\n@tool\ndef f():\n    pass\n");
    let error = bench.run_file("node.py", json!({})).await.unwrap_err();
    assert!(error.message.contains("No module named 'promptflow.azure'"), "{}", error.message);
    assert!(
        error.hint.unwrap().starts_with("the stand-in for prompt flow's package has no `promptflow.azure`")
    );
}
