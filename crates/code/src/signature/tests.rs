//! Sources as people write them, as future Pythons allow them, and as nobody should write them.

use flowbench_core::facts::SourceFacts;
use flowbench_core::value::ValueType;
use serde_json::{Value, json};

use super::*;

fn tool(source: &str) -> FunctionSignature {
    read_tool(source.as_bytes()).unwrap_or_else(|error| panic!("{error}: {source}"))
}

fn value(kind: ValueType) -> ParameterType {
    ParameterType::Value(kind)
}

fn connection(classes: &[&str]) -> ParameterType {
    ParameterType::Connection { classes: classes.iter().map(|class| (*class).to_owned()).collect() }
}

#[test]
fn annotations_map_to_prompt_flows_types() {
    let source = "
from typing import List, Optional, Union, Any
from promptflow.core import tool
from promptflow.connections import AzureOpenAIConnection, OpenAIConnection, CustomConnection
from promptflow.contracts.multimedia import Image
from promptflow.contracts.types import Secret, FilePath as Path
import promptflow.contracts.types as kinds
class Image2: pass
@tool
def f(a: int, b: float, c: bool, d: str, e: list, f: List[str], g: dict, h: Image, i: Secret, j: Path,
      k: kinds.PromptTemplate, l: Optional[int], m: Union[int, str], n: Any, o, p: 'int', q: int | None, r: Image2,
      c1: OpenAIConnection, c2: Union[AzureOpenAIConnection, OpenAIConnection], c3: Optional[CustomConnection],
      c4: AzureOpenAIConnection | OpenAIConnection, c5: \"MyOwnConnection\", c6: 'Union[OpenAIConnection, None]'):
    pass
";
    use ValueType::*;
    let expected = [
        ("a", value(Int)),
        ("b", value(Double)),
        ("c", value(Bool)),
        ("d", value(String)),
        ("e", value(List)),
        ("f", value(Object)),
        ("g", value(Object)),
        ("h", value(Image)),
        ("i", value(Secret)),
        ("j", value(FilePath)),
        ("k", value(PromptTemplate)),
        ("l", value(Int)),
        ("m", value(Object)),
        ("n", value(Object)),
        ("o", value(Object)),
        ("p", value(Int)),
        ("q", value(Int)),
        ("r", value(Object)),
        ("c1", connection(&["OpenAIConnection"])),
        ("c2", connection(&["AzureOpenAIConnection", "OpenAIConnection"])),
        ("c3", connection(&["CustomConnection"])),
        ("c4", connection(&["AzureOpenAIConnection", "OpenAIConnection"])),
        ("c5", connection(&["MyOwnConnection"])),
        ("c6", connection(&["OpenAIConnection"])),
    ];
    let found: Vec<_> = tool(source).parameters.into_iter().map(|found| (found.name, found.takes)).collect();
    assert_eq!(found, expected.map(|(name, takes)| (name.to_owned(), takes)));
}

#[test]
fn defaults_are_read_where_they_are_literals() {
    let cases = [
        ("1_000", Some(json!(1000)), ValueType::Int),
        ("-0x10", Some(json!(-16)), ValueType::Int),
        ("1.5e3", Some(json!(1500.0)), ValueType::Double),
        ("True", Some(json!(true)), ValueType::Bool),
        ("None", Some(Value::Null), ValueType::Object),
        ("'it\\'s \\u00e5\\n'", Some(json!("it's å\n")), ValueType::String),
        ("r'\\d'", Some(json!("\\d")), ValueType::String),
        ("'''a\nb'''", Some(json!("a\nb")), ValueType::String),
        ("'a' \"b\"", Some(json!("ab")), ValueType::String),
        ("[1, 'x', None]", Some(json!([1, "x", null])), ValueType::List),
        ("{'a': (1, 2)}", Some(json!({"a": [1, 2]})), ValueType::Object),
        ("f'{x}'", None, ValueType::Object),
        ("make()", None, ValueType::Object),
        ("{}", Some(json!({})), ValueType::Object),
    ];
    for (text, default, kind) in cases {
        let source = format!("from promptflow import tool\n@tool\ndef f(x={text}): pass\n");
        let found = tool(&source).parameters.remove(0);
        assert!(found.has_default, "{text}");
        assert_eq!((found.default, found.takes), (default, value(kind)), "{text}");
    }
}

#[test]
fn the_decorator_is_known_by_any_of_its_names() {
    for (import, decorator) in [
        ("from promptflow import tool", "@tool"),
        ("from promptflow.core import tool", "@tool()"),
        ("from promptflow.core import tool as t", "@t(name='x', description=\"y\")"),
        ("import promptflow", "@promptflow.tool"),
        ("import promptflow.core as core", "@core.tool"),
        ("from promptflow import core", "@core.tool"),
        ("from promptflow.core import *", "@tool"),
        ("from promptflow._core.tool import tool", "@tool"),
        (
            "try:\n    from promptflow.core import tool\nexcept ImportError:\n    from promptflow import tool",
            "@tool",
        ),
        ("from my_helpers import tool", "@tool"),
    ] {
        let source = format!("{import}\n{decorator}\ndef marked(): pass\n\ndef other(): pass\n");
        assert_eq!(tool(&source).name, "marked", "{import}; {decorator}");
    }
    let source = "from promptflow.core import tool\nfrom crew import tool as theirs\n@theirs\ndef a(): pass\n@tool\ndef b(): pass\n";
    assert_eq!(tool(source).name, "b", "another library's decorator of that name does not count");
}

#[test]
fn kinds_of_functions_are_told_apart() {
    for (body, kind) in [
        ("def f():\n    return 1", FunctionKind::Plain),
        ("async def f():\n    return 1", FunctionKind::Async),
        ("def f():\n    for x in y:\n        yield x", FunctionKind::Generator),
        ("async def f():\n    yield 1", FunctionKind::AsyncGenerator),
        ("def f() -> Generator[str, None, None]:\n    return g()", FunctionKind::Generator),
        ("def f():\n    def inner():\n        yield 1\n    return list(inner())", FunctionKind::Plain),
        ("def f():\n    return (lambda: (yield))", FunctionKind::Plain),
    ] {
        let source = format!("from promptflow.core import tool\n@tool\n{body}\n");
        assert_eq!(tool(&source).kind, kind, "{body}");
    }
}

#[test]
fn rest_arguments_and_markers_are_no_parameters() {
    let found = tool("from promptflow.core import tool\n@tool\ndef f(a, /, b=1, *rest, c, **others): pass\n");
    assert!(found.takes_rest);
    let names: Vec<_> = found.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let found =
        tool("from promptflow.core import tool\n@tool\ndef f(*, # why\n    a: int,\n    **kw: dict): pass\n");
    assert_eq!((found.parameters.len(), found.takes_rest), (1, true));
}

#[test]
fn a_method_brings_the_parameters_of_its_class() {
    let source = "
from promptflow.core import ToolProvider, tool
class Asker(ToolProvider):
    def __init__(self, connection: OpenAIConnection, size: int = 3):
        super().__init__()
    @tool
    def ask(self, question: str) -> str:
        return question
";
    let found = tool(source);
    assert_eq!((found.name.as_str(), found.class.as_deref(), found.line), ("ask", Some("Asker"), 7));
    let parts: Vec<_> = found.parameters.iter().map(|part| (part.name.as_str(), part.is_of_init)).collect();
    assert_eq!(parts, [("connection", true), ("size", true), ("question", false)]);
    assert_eq!(found.returns.as_deref(), Some("str"));
}

#[test]
fn an_enumeration_gives_choices() {
    let source = "
from enum import Enum
from promptflow.core import tool
class Mode(str, Enum):
    FAST = 'fast'
    SLOW = 'slow'
@tool
def f(mode: Mode = Mode.FAST): pass
";
    let found = tool(source).parameters.remove(0);
    assert_eq!(
        (found.takes, found.choices),
        (value(ValueType::String), vec!["fast".to_owned(), "slow".to_owned()])
    );
    assert!(found.has_default && found.default.is_none());
}

#[test]
fn no_tool_and_several_tools_are_errors() {
    assert_eq!(read_tool(b"def f(): pass"), Err(SignatureError::NoTool));
    assert_eq!(read_tool(b""), Err(SignatureError::NoTool));
    let source = b"from promptflow import tool\n@tool\ndef a(): pass\n@tool\ndef b(): pass\n";
    let error = read_tool(source).unwrap_err();
    assert_eq!(error.to_string(), "2 functions are marked with `@tool` (`a`, `b`); exactly one is needed");
    assert_eq!(error.place(), (Some(5), None));
    let source = "from promptflow import tool\nif x:\n    @tool\n    def a(p): pass\nelse:\n    @tool\n    def a(q): pass\n";
    assert_eq!(tool(source).parameters[0].name, "q", "one name defined twice is one tool");
}

#[test]
fn syntax_errors_have_a_place() {
    for (source, line, column) in [
        ("x = 1\ndef f(:\n    pass\n", 2, 7),
        ("def f()\n    pass\n", 1, 1),
        ("print 'old'\n", 1, 1),
        ("å = (1, 2\n", 1, 1),
    ] {
        let error = read_tool(source.as_bytes()).unwrap_err();
        let SignatureError::Syntax { line: found_line, column: found_column, .. } = &error else {
            panic!("{source}: {error}")
        };
        assert_eq!((*found_line, *found_column), (line, column), "{source}: {error}");
    }
}

#[test]
fn syntax_of_every_living_python_is_read() {
    let source = r#"
from __future__ import annotations
from promptflow.core import tool
type Alias[T] = list[T]
class Box[T: int = int]:
    pass
@tool
def f[T](x: T, /, *, y: int = 1) -> Alias[T]:
    if (n := len(str(x))) > 1:
        match x:
            case {"a": [first, *rest], **others} if rest:
                return first
            case Box(value=1) | None:
                pass
    with (open("a") as a, open("b") as b):
        pass
    try:
        pass
    except* ValueError as group:
        raise
    return f"{x!r:>{n}} {'nested' + "quotes"}"
"#;
    assert_eq!(tool(source).parameters.len(), 2);
}

#[test]
fn hostile_sources_end_soon() {
    let deep = format!("x = {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(read_tool(deep.as_bytes()), Err(SignatureError::NoTool));
    assert!(read_tool("(".repeat(500_000).as_bytes()).is_err());
    let blocks: String = (0..2_000).map(|depth| format!("{}if x:\n", " ".repeat(depth))).collect();
    assert!(read_tool(blocks.as_bytes()).is_err());
    let annotation = format!(
        "from promptflow import tool\n@tool\ndef f(x: {}int{}): pass\n",
        "List[".repeat(5_000),
        "]".repeat(5_000)
    );
    assert_eq!(tool(&annotation).parameters[0].takes, value(ValueType::Object));
    assert!(matches!(read_tool(&vec![b'#'; 3 << 20]), Err(SignatureError::TooLarge { .. })));
    assert_eq!(read_tool(b"\xff\xfe"), Err(SignatureError::NotText));
}

#[test]
fn flex_entries_are_read() {
    let source = b"
class Flow:
    def __init__(self, model: AzureOpenAIModelConfiguration, size: int = 1): pass
    async def __call__(self, question: str, history: list = None) -> dict: pass
    def __aggregate__(self, line_results): pass
class Dull: pass
def plain(text: str): pass
";
    let found = read_entry(source, "Flow").unwrap();
    let init = found.init.unwrap();
    let class = "AzureOpenAIModelConfiguration".to_owned();
    assert_eq!(init[0].takes, ParameterType::ModelConfiguration { class });
    assert_eq!((init.len(), found.call.parameters.len(), found.has_aggregate), (2, 2, true));
    assert_eq!(found.call.kind, FunctionKind::Async);
    let found = read_entry(source, "plain").unwrap();
    assert_eq!((found.init, found.has_aggregate), (None, false));
    assert_eq!(read_entry(source, "Dull").unwrap_err().to_string(), "class `Dull` has no `__call__`");
    assert_eq!(read_entry(source, "None").unwrap_err().to_string(), "there is no function or class `None`");
    let (files, name) = entry_files("pack.flow:Main").unwrap();
    assert_eq!((files, name), (["pack/flow.py".to_owned(), "pack/flow/__init__.py".to_owned()], "Main"));
    for text in ["pack.flow", "../x:y", "a..b:c", ":x", "a:"] {
        assert_eq!(entry_files(text), None, "{text}");
    }
}

#[test]
fn facts_say_what_a_check_needs() {
    let source = b"from promptflow.core import tool\n@tool\ndef f(c: OpenAIConnection, n: int = 3, **kw):\n    yield 1\n";
    let SourceFacts::Python { function, parameters, takes_rest, is_generator } = read_facts(source) else {
        panic!("the source is fine")
    };
    assert_eq!((function.as_str(), takes_rest, is_generator), ("f", true, true));
    assert_eq!(
        (parameters[0].kind.as_deref(), parameters[0].is_connection),
        (Some("OpenAIConnection"), true)
    );
    assert_eq!((parameters[1].kind.as_deref(), parameters[1].default.clone()), (Some("int"), Some(json!(3))));
    let broken = SourceFacts::Broken {
        message: "no function is marked with `@tool`".to_owned(),
        line: None,
        column: None,
    };
    assert_eq!(read_facts(b"x = 1"), broken);
}
