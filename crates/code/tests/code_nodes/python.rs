//! Calls, values, output, exceptions and reuse of workers.

use std::sync::{Arc, Mutex};

use flowbench_code::python::PIECES_KEY;
use flowbench_core::chat::ChatChunk;
use flowbench_core::connection::ConnectionKind;
use flowbench_core::ports::{CodeErrorKind, CodeSource};
use serde_json::json;

use crate::bench::{Bench, connection};

#[tokio::test]
async fn a_function_gets_its_inputs_and_gives_its_result() {
    let bench = Bench::new();
    let body = "@tool\ndef greet(name: str, times: int = 2) -> dict:\n    return {'text': 'Hej ' + name, 'n': times + 1}\n";
    assert_eq!(bench.value_of(body, json!({"name": "Åsa 🌊"})).await, json!({"text": "Hej Åsa 🌊", "n": 3}));
}

#[tokio::test]
async fn kwargs_take_the_inputs_that_are_no_parameters() {
    let bench = Bench::new();
    let body = "@tool()\ndef rest(first, **others):\n    return [first, sorted(others)]\n";
    assert_eq!(bench.value_of(body, json!({"first": 1, "b": 2, "a": 3})).await, json!([1, ["a", "b"]]));
}

#[tokio::test]
async fn an_async_function_keeps_its_event_loop_between_calls() {
    let bench = Bench::new();
    let body = "import asyncio\nseen = []\n@tool\nasync def ask():\n    await asyncio.sleep(0)\n    seen.append(asyncio.get_running_loop())\n    return len({id(loop) for loop in seen})\n";
    bench.tool("node.py", body);
    bench.run_file("node.py", json!({})).await.unwrap();
    assert_eq!(bench.run_file("node.py", json!({})).await.unwrap().value, json!(1));
}

#[tokio::test]
async fn a_generator_is_streamed_and_joined() {
    let bench = Bench::new();
    bench.tool("plain.py", "@tool\ndef words():\n    yield 'one '\n    yield 'two'\n");
    bench.tool("later.py", "@tool\nasync def words():\n    yield 'one '\n    yield 'two'\n");
    for path in ["plain.py", "later.py"] {
        let pieces = Arc::new(Mutex::new(Vec::new()));
        let mut call = bench.file_call(path, json!({}));
        let kept = pieces.clone();
        call.sink = Some(Arc::new(move |chunk| {
            if let ChatChunk::Text { text } = chunk {
                kept.lock().unwrap().push(text);
            }
        }));
        assert_eq!(bench.run(call).await.unwrap().value, json!("one two"), "{path}");
        assert_eq!(*pieces.lock().unwrap(), ["one ", "two"], "{path}");
    }
}

#[tokio::test]
async fn streamed_text_of_another_node_reads_as_text_and_iterates_in_pieces() {
    let bench = Bench::new();
    let body = "@tool\ndef after(pieces):\n    return ['+'.join(pieces), pieces.upper(), isinstance(pieces, str), pieces]\n";
    let value = bench.value_of(body, json!({"pieces": {(PIECES_KEY): ["a|", "b|"]}})).await;
    assert_eq!(value, json!(["a|+b|", "A|B|", true, "a|b|"]));
}

#[tokio::test]
async fn what_code_prints_is_kept_apart_from_the_result() {
    let bench = Bench::new();
    let body = "import os, sys\n@tool\ndef noisy():\n    print('through print')\n    os.write(1, b'through fd 1\\n')\n    os.system('echo through a child')\n    print('on stderr', file=sys.stderr)\n    os.close(1)\n    return 'value'\n";
    bench.tool("noisy.py", body);
    for round in 0..2 {
        let result = bench.run_file("noisy.py", json!({})).await.unwrap();
        assert_eq!(result.value, json!("value"));
        assert_eq!(
            result.stdout, "through print\nthrough fd 1\nthrough a child\n",
            "round {round}: a closed stream is opened again"
        );
        assert_eq!(result.stderr, "on stderr\n");
    }
}

#[tokio::test]
async fn values_that_json_does_not_know_become_plain_ones() {
    let bench = Bench::new();
    let body = r#"
import dataclasses, datetime, enum, decimal, typing
class Colour(enum.Enum):
    RED = "red"
@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date
class Pair(typing.NamedTuple):
    a: int
@tool
def mixed():
    return {"point": Point(1, datetime.date(2026, 1, 2)), "set": {2, 1}, "tuple": (1, Pair(3)), "enum": Colour.RED, 5: "five", "big": 2**60}
"#;
    let expected = json!({
        "point": {"x": 1, "when": "2026-01-02"}, "set": [1, 2], "tuple": [1, [3]], "enum": "red", "5": "five", "big": 1u64 << 60
    });
    assert_eq!(bench.value_of(body, json!({})).await, expected);
}

#[tokio::test]
async fn a_result_that_cannot_be_json_is_stored_as_text_with_a_warning() {
    let bench = Bench::new();
    let body = "class Odd:\n    def __repr__(self): return '<odd>'\n@tool\ndef odd():\n    return [Odd(), float('nan'), float('inf'), '\\ud800x', {(1, 2): 3}]\n";
    bench.tool("odd.py", body);
    let result = bench.run_file("odd.py", json!({})).await.unwrap();
    assert_eq!(result.value, json!(["<odd>", null, null, "?x", {"(1, 2)": 3}]));
    let told = result.warnings.join("\n");
    for part in [
        "odd.Odd",
        "`nan` is no JSON number",
        "`inf` is no JSON number",
        "lone surrogates",
        "a key of type `tuple`",
    ] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
}

#[tokio::test]
async fn a_result_that_holds_itself_is_a_limit() {
    let bench = Bench::new();
    bench.tool("loop.py", "@tool\ndef loop():\n    value = []\n    value.append(value)\n    return value\n");
    let error = bench.run_file("loop.py", json!({})).await.unwrap_err();
    assert_eq!(error.kind, CodeErrorKind::Limit);
    assert_eq!(
        error.message,
        "node `probe`: the result is nested more than 100 levels deep, or holds itself"
    );
}

#[tokio::test]
async fn values_of_megabytes_go_both_ways() {
    let bench = Bench::new();
    let text = "å".repeat(4 * 1024 * 1024);
    let value = bench.value_of("@tool\ndef echo(text):\n    return text\n", json!({"text": text})).await;
    assert_eq!(value.as_str().map(str::len), Some(8 * 1024 * 1024));
}

#[tokio::test]
async fn an_exception_names_the_place_in_the_users_file() {
    let bench = Bench::new();
    bench.write("helper.py", "def deep():\n    raise ValueError('no good')\n");
    bench.tool(
        "tools/fails.py",
        "import helper\n@tool\ndef fails():\n    print('before')\n    helper.deep()\n",
    );
    let error = bench.run_file("tools/fails.py", json!({})).await.unwrap_err();
    assert_eq!(error.kind, CodeErrorKind::Raised);
    assert_eq!(error.message, "node `probe`: ValueError: no good (`helper.py`, line 2)");
    assert_eq!(error.stdout, "before\n");
    let traceback = error.traceback.unwrap();
    assert!(
        traceback.contains("File \"tools/fails.py\", line 6, in fails\n    helper.deep()"),
        "{traceback}"
    );
    assert!(!traceback.contains("flowbench"), "our own frames are left out: {traceback}");
}

#[tokio::test]
async fn a_source_that_cannot_be_loaded_says_where_and_why() {
    let bench = Bench::new();
    bench.tool("syntax.py", "def broken(:\n    pass\n");
    bench.tool("missing.py", "import no_such_package\n");
    bench.tool("none.py", "def plain(): pass\n");
    bench.tool("two.py", "@tool\ndef a(): pass\n@tool\ndef b(): pass\n");
    for (path, message) in [
        ("syntax.py", "node `probe`: SyntaxError: invalid syntax (`syntax.py`, line 2)"),
        (
            "missing.py",
            "node `probe`: ModuleNotFoundError: No module named 'no_such_package' (`missing.py`, line 2)",
        ),
        ("none.py", "node `probe`: `none.py` has no function marked with `@tool`"),
        (
            "two.py",
            "node `probe`: `two.py` has 2 functions marked with `@tool` (`a`, `b`); exactly one is needed",
        ),
        ("absent.py", "node `probe`: FileNotFoundError: [Errno 2] No such file or directory"),
    ] {
        let error = bench.run_file(path, json!({})).await.unwrap_err();
        assert_eq!(error.kind, CodeErrorKind::Load, "{path}");
        assert!(error.message.starts_with(message), "{path}: {}", error.message);
        let hint =
            "name the package of `no_such_package` in the flow's `requirements.txt` and make its environment";
        assert_eq!(error.hint.as_deref(), (path == "missing.py").then_some(hint));
    }
}

#[tokio::test]
async fn a_second_call_meets_the_same_process() {
    let bench = Bench::new();
    bench.tool("pid.py", "import os\n@tool\ndef pid():\n    return os.getpid()\n");
    let first = bench.run_file("pid.py", json!({})).await.unwrap().value;
    assert_eq!(bench.run_file("pid.py", json!({})).await.unwrap().value, first);
}

#[tokio::test]
async fn a_changed_source_is_used_at_once() {
    let bench = Bench::new();
    bench.write("helper.py", "NUMBER = 1\n");
    bench.tool("number.py", "import helper\n@tool\ndef number():\n    return helper.NUMBER\n");
    assert_eq!(bench.run_file("number.py", json!({})).await.unwrap().value, json!(1));
    bench.write("helper.py", "NUMBER = 1000\n");
    assert_eq!(bench.run_file("number.py", json!({})).await.unwrap().value, json!(1000));
}

#[tokio::test]
async fn the_flow_folder_is_home_and_nothing_is_written_into_it() {
    let bench = Bench::new();
    bench.write("data.txt", "from the folder").write("json.py", "raise RuntimeError('not the real json')\n");
    bench
        .write("pack/__init__.py", "")
        .write("pack/part.py", "def read():\n    return open('data.txt').read()\n");
    let value =
        bench.value_of("from pack.part import read\n@tool\ndef get():\n    return read()\n", json!({})).await;
    assert_eq!(value, json!("from the folder"));
    let mut names: Vec<_> =
        std::fs::read_dir(bench.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["data.txt", "json.py", "node.py", "pack"]);
    assert_eq!(std::fs::read_dir(bench.folder().join("pack")).unwrap().count(), 2, "no `__pycache__`");
}

#[tokio::test]
async fn a_flows_variables_are_those_of_its_own_process() {
    let bench = Bench::new();
    bench.tool("env.py", "import os\n@tool\ndef env():\n    return os.environ.get('FLOW_SETTING')\n");
    let mut call = bench.file_call("env.py", json!({}));
    call.environment = vec![("FLOW_SETTING".to_owned(), "on".to_owned())];
    assert_eq!(bench.run(call).await.unwrap().value, json!("on"));
    assert_eq!(bench.run_file("env.py", json!({})).await.unwrap().value, json!(null));
}

#[tokio::test]
async fn a_package_tool_is_found_by_its_dotted_name() {
    let bench = Bench::new();
    let source = CodeSource::PythonPackage { tool: "posixpath.basename".to_owned() };
    assert_eq!(bench.run(bench.call(source, json!({"p": "/a/b"}))).await.unwrap().value, json!("b"));
    bench.write("own/__init__.py", "").write(
        "own/tools.py",
        "from promptflow.core import ToolProvider, tool\nclass Adder(ToolProvider):\n    def __init__(self, base: int):\n        super().__init__()\n        self.base = base\n    @tool\n    def add(self, more: int):\n        return self.base + more\n",
    );
    let source = CodeSource::PythonPackage { tool: "own.tools.Adder.add".to_owned() };
    assert_eq!(bench.run(bench.call(source, json!({"base": 40, "more": 2}))).await.unwrap().value, json!(42));
    let source = CodeSource::PythonPackage { tool: "own.tools.nothing".to_owned() };
    let error = bench.run(bench.call(source, json!({}))).await.unwrap_err();
    assert_eq!(error.message, "node `probe`: module `own.tools` has no `nothing`");
}

#[tokio::test]
async fn a_flex_class_is_built_once_and_may_aggregate() {
    let bench = Bench::new();
    let body = r#"
from promptflow.core import OpenAIModelConfiguration
built = []
class Flow:
    def __init__(self, factor: int, model: OpenAIModelConfiguration = None):
        built.append(self)
        self.factor, self.model = factor, model
    def __call__(self, x: int):
        return x * self.factor if x < 10 else {"many": x, "model": self.model.model, "built": len(built)}
    def __aggregate__(self, line_results: list):
        return {"sum": sum(line_results)}
def plain(x: int):
    return x
"#;
    bench.write("pack/flex.py", body);
    let call = |entry: &str, aggregate, inputs| {
        let init = json!({"factor": 3, "model": {"model": "m"}}).as_object().cloned().unwrap();
        bench.call(CodeSource::FlexEntry { entry: entry.to_owned(), init, aggregate }, inputs)
    };
    let run = async |entry, aggregate, inputs| bench.run(call(entry, aggregate, inputs)).await.unwrap().value;
    assert_eq!(run("pack.flex:Flow", false, json!({"x": 2})).await, json!({"output": 6}));
    assert_eq!(
        run("pack.flex:Flow", false, json!({"x": 10})).await,
        json!({"many": 10, "model": "m", "built": 1})
    );
    assert_eq!(run("pack.flex:Flow", true, json!({"line_results": [1, 2]})).await, json!({"sum": 3}));
    assert_eq!(run("pack.flex:plain", false, json!({"x": 1})).await, json!({"output": 1}));
}

#[tokio::test]
async fn a_connection_arrives_as_an_object_that_hides_its_secret() {
    let bench = Bench::new();
    let body = r#"
from typing import Union
from promptflow.connections import AzureOpenAIConnection, OpenAIConnection, CustomConnection, CustomStrongTypeConnection
from promptflow.contracts.types import Secret
class Mine(CustomStrongTypeConnection):
    api_key: Secret
    base: str = "default"
@tool
def look(ai: Union[OpenAIConnection, AzureOpenAIConnection], own: CustomConnection, mine: Mine):
    return [type(ai).__name__, ai.api_key, ai["base_url"], repr(ai), own.api_key, own.configs["base"], own.base, type(mine).__name__, mine.base, mine.api_key]
"#;
    bench.tool("look.py", body);
    let mut call = bench.file_call("look.py", json!({}));
    let custom = || connection("own", ConnectionKind::Custom, json!({"base": "b"}), "own-secret");
    call.connections = vec![
        ("ai".to_owned(), connection("ai", ConnectionKind::OpenAi, json!({"base_url": "http://u"}), "sk-1")),
        ("own".to_owned(), custom()),
        ("mine".to_owned(), custom()),
    ];
    let shown = "OpenAIConnection(name='ai', base_url='http://u', organization=None, api_key='••••')";
    let expected = json!([
        "OpenAIConnection",
        "sk-1",
        "http://u",
        shown,
        "own-secret",
        "b",
        "b",
        "Mine",
        "b",
        "own-secret"
    ]);
    assert_eq!(bench.run(call).await.unwrap().value, expected);
}

#[tokio::test]
async fn images_arrive_as_objects_and_leave_in_wire_form() {
    let bench = Bench::new();
    let png = b"\x89PNG\r\n\x1a\nrest";
    std::fs::write(bench.folder().join("dot.png"), png).unwrap();
    let body = r#"
from promptflow.contracts.multimedia import Image
@tool
def flip(picture: Image, parts: list):
    kinds = [type(picture).__name__, type(parts[1]).__name__, len(picture), str(picture) == str(parts[1])]
    return {"kinds": kinds, "image": Image(picture[::-1], mime_type="image/png"), "again": picture}
"#;
    bench.tool("flip.py", body);
    let wire = json!({"data:image/png;path": "dot.png"});
    let result =
        bench.run_file("flip.py", json!({"picture": "dot.png", "parts": ["text", wire]})).await.unwrap();
    assert_eq!(result.value["kinds"], json!(["Image", "Image", 12, true]));
    assert_eq!(result.value["again"], json!({"data:image/png;base64": "iVBORw0KGgpyZXN0"}));
    assert_eq!(result.value["image"], json!({"data:image/png;base64": "dHNlcgoaCg1HTlCJ"}));
}

#[tokio::test]
async fn metrics_are_collected_in_aggregation_nodes_only() {
    let bench = Bench::new();
    let body = "from promptflow.core import log_metric\n@tool\ndef score(values: list):\n    log_metric('mean', sum(values) / len(values))\n    log_metric(key='text', value={'a': 'b'})\n    return 'done'\n";
    bench.tool("score.py", body);
    let mut call = bench.file_call("score.py", json!({"values": [1, 2]}));
    let alone = bench.run(call.clone()).await.unwrap();
    assert!(alone.metrics.is_empty());
    assert_eq!(alone.warnings, ["`log_metric` does nothing outside an aggregation node"]);
    call.is_aggregation = true;
    let result = bench.run(call).await.unwrap();
    assert_eq!(result.metrics, [("mean".to_owned(), json!(1.5)), ("text".to_owned(), json!({"a": "b"}))]);
}
