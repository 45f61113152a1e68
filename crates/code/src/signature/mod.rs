//! What a Python source declares, read from its syntax and never by importing it.
//!
//! Opening or checking a flow must run nothing, yet the types of a tool's parameters and which of them are
//! connections are known only to its source. The grammar is tree-sitter's: it parses without recursion, so hostile nesting
//! costs no stack; it goes on after errors and gives their places; it can be stopped half-way; and it is two
//! small C files, where the parser of the ruff linter brings two dozen crates. What it accepts beyond today's
//! Python (statements of Python 2) is refused here.
//!
//! The mapping to types is prompt flow's: `int`, `float`, `bool`, `str` and `list` as they are, `List[str]`
//! and everything unknown `object`, the type of the default where there is no annotation. It is more
//! generous in two places, which prompt flow reads as `object`: quoted annotations and `A | B`.

mod annotation;
mod literal;
mod names;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use flowbench_core::facts::{ParameterFacts, SourceFacts};
use flowbench_core::value::ValueType;
use serde_json::Value;
use thiserror::Error;
use tree_sitter::{Node, ParseOptions, Parser, Tree};

use annotation::Annotation;
use names::Names;

const MAX_SOURCE_BYTES: usize = 2 * 1024 * 1024;
const MAX_PARSE_TIME: Duration = Duration::from_secs(5);
/// Statements inside statements that are still looked into for definitions.
const MAX_BLOCK_DEPTH: usize = 8;

/// How a function gives its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// Returns it.
    Plain,
    /// A coroutine.
    Async,
    /// Yields pieces.
    Generator,
    /// Yields pieces, asynchronously.
    AsyncGenerator,
}

/// What a parameter takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// A value.
    Value(ValueType),
    /// A connection of one of these classes.
    Connection {
        /// Class names as written, without their module.
        classes: Vec<String>,
    },
    /// Where a model is (`OpenAIModelConfiguration`, `AzureOpenAIModelConfiguration`).
    ModelConfiguration {
        /// Class name.
        class: String,
    },
}

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// Annotation as written.
    pub annotation: Option<String>,
    /// What it takes.
    pub takes: ParameterType,
    /// Allowed values, where the annotation is an enumeration of this file.
    pub choices: Vec<String>,
    /// True if it has a default.
    pub has_default: bool,
    /// The default, where it is a literal.
    pub default: Option<Value>,
    /// True if it belongs to the `__init__` of the tool's class.
    pub is_of_init: bool,
}

/// One function or method that a node can call.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionSignature {
    /// Name.
    pub name: String,
    /// Class that it is a method of.
    pub class: Option<String>,
    /// How it gives its result.
    pub kind: FunctionKind,
    /// Parameters in order; those of a class's `__init__` first.
    pub parameters: Vec<Parameter>,
    /// True if it takes `**kwargs`.
    pub takes_rest: bool,
    /// Annotation of the result.
    pub returns: Option<String>,
    /// One-based line of its name.
    pub line: u32,
}

/// A flex flow's entry.
#[derive(Clone, Debug, PartialEq)]
pub struct EntrySignature {
    /// The function, or the class's `__call__`.
    pub call: FunctionSignature,
    /// Parameters of the class's `__init__`; `None` for a function.
    pub init: Option<Vec<Parameter>>,
    /// True if the class has `__aggregate__`.
    pub has_aggregate: bool,
}

/// Why a source declares nothing that can be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignatureError {
    /// The file is larger than any source.
    #[error("the file has {size} bytes; sources up to {MAX_SOURCE_BYTES} are read")]
    TooLarge {
        /// Bytes.
        size: usize,
    },
    /// No UTF-8.
    #[error("the file is no UTF-8 text")]
    NotText,
    /// The parser was stopped.
    #[error("the file takes too long to read")]
    TooSlow,
    /// Not Python.
    #[error("syntax error near `{near}`")]
    Syntax {
        /// One-based line.
        line: u32,
        /// One-based column in characters.
        column: u32,
        /// The text there.
        near: String,
    },
    /// No tool.
    #[error("no function is marked with `@tool`")]
    NoTool,
    /// Too many.
    #[error("{} functions are marked with `@tool` ({}); exactly one is needed", .names.len(), quoted(.names))]
    SeveralTools {
        /// Their names.
        names: Vec<String>,
        /// One-based line of the second.
        line: u32,
    },
    /// The entry names something that is not there.
    #[error("there is no function or class `{name}`")]
    NoEntry {
        /// Its name.
        name: String,
    },
    /// The class cannot be called.
    #[error("class `{class}` has no `__call__`")]
    NotCallable {
        /// Its name.
        class: String,
    },
}

impl SignatureError {
    /// One-based line and column, where there is one place.
    pub fn place(&self) -> (Option<u32>, Option<u32>) {
        match self {
            Self::Syntax { line, column, .. } => (Some(*line), Some(*column)),
            Self::SeveralTools { line, .. } => (Some(*line), None),
            _ => (None, None),
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The one tool of a source.
pub fn read_tool(source: &[u8]) -> Result<FunctionSignature, SignatureError> {
    let source = Source::parse(source)?;
    let mut tools = source.tools();
    match tools.len() {
        0 => Err(SignatureError::NoTool),
        1 => Ok(tools.remove(0)),
        _ => {
            let line = tools[1].line;
            Err(SignatureError::SeveralTools {
                names: tools.into_iter().map(|tool| tool.name).collect(),
                line,
            })
        }
    }
}

/// The function or class that a flex flow's entry names after its colon.
pub fn read_entry(source: &[u8], name: &str) -> Result<EntrySignature, SignatureError> {
    Source::parse(source)?.entry(name)
}

/// What a check wants to know of a Python source.
pub fn read_facts(source: &[u8]) -> SourceFacts {
    match read_tool(source) {
        Ok(tool) => SourceFacts::Python {
            function: tool.name,
            is_generator: matches!(tool.kind, FunctionKind::Generator | FunctionKind::AsyncGenerator),
            takes_rest: tool.takes_rest,
            parameters: tool.parameters.into_iter().map(parameter_facts).collect(),
        },
        Err(error) => {
            let (line, column) = error.place();
            SourceFacts::Broken { message: error.to_string(), line, column }
        }
    }
}

/// A parameter as a check sees it.
pub fn parameter_facts(parameter: Parameter) -> ParameterFacts {
    let (kind, is_connection) = match parameter.takes {
        ParameterType::Value(value) => (value.as_str().to_owned(), false),
        ParameterType::Connection { classes } => (classes.join(" | "), true),
        ParameterType::ModelConfiguration { class } => (class, false),
    };
    ParameterFacts {
        name: parameter.name,
        kind: Some(kind),
        is_connection,
        has_default: parameter.has_default,
        default: parameter.default,
    }
}

/// The files, relative to the flow folder, that an entry such as `pack.flow:Main` may mean, and the name
/// after the colon. `None` if the text is no entry.
pub fn entry_files(entry: &str) -> Option<([String; 2], &str)> {
    let (module, name) = entry.split_once(':')?;
    let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !module.split('.').all(is_word) || !is_word(name) {
        return None;
    }
    let path = module.replace('.', "/");
    Some(([format!("{path}.py"), format!("{path}/__init__.py")], name))
}

/// A parsed source.
struct Source<'a> {
    text: &'a str,
    tree: Tree,
    names: Names,
}

/// A definition with its decorators.
struct Definition<'t> {
    node: Node<'t>,
    decorators: Vec<Node<'t>>,
}

impl<'a> Source<'a> {
    fn parse(source: &'a [u8]) -> Result<Self, SignatureError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(SignatureError::TooLarge { size: source.len() });
        }
        let text = std::str::from_utf8(source).map_err(|_| SignatureError::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parser = Parser::new();
        parser
            .set_language(&tree_sitter_python::LANGUAGE.into())
            .expect("the grammar is of a version that the parser knows");
        let started = Instant::now();
        let mut watch = |_: &tree_sitter::ParseState| {
            if started.elapsed() > MAX_PARSE_TIME {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let options = ParseOptions::new().progress_callback(&mut watch);
        let bytes = text.as_bytes();
        let tree = parser
            .parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options))
            .ok_or(SignatureError::TooSlow)?;
        let mut source = Self { text, tree, names: Names::default() };
        source.check_syntax()?;
        let mut names = Names::default();
        for statement in source.statements() {
            names.note(statement, text);
        }
        source.names = names;
        Ok(source)
    }

    fn text_of(&self, node: Node<'_>) -> &'a str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// Finds the first place that is no Python.
    fn check_syntax(&self) -> Result<(), SignatureError> {
        let is_old = |node: &Node<'_>| matches!(node.kind(), "print_statement" | "exec_statement");
        let mut cursor = self.tree.walk();
        loop {
            let node = cursor.node();
            let is_wrong = node.is_error() || node.is_missing() || is_old(&node);
            // An error node's own first error is the better place.
            let mut inner = node.walk();
            let has_inner = node.is_error() && node.children(&mut inner).any(|child| child.has_error());
            // The grammar does not know defaults of type parameters yet (Python 3.13).
            let is_newer = node.is_error()
                && self.text_of(node).starts_with('=')
                && node.parent().is_some_and(|parent| parent.kind() == "type_parameter");
            if is_wrong && !has_inner && !is_newer {
                return Err(self.syntax_error(node));
            }
            let may_go_in = node.has_error() || node.child_count() > 0;
            if may_go_in && cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return Ok(());
                }
            }
        }
    }

    fn syntax_error(&self, node: Node<'_>) -> SignatureError {
        let start = node.start_position();
        let line_start = node.start_byte() - start.column;
        let before = self.text.get(line_start..node.start_byte()).unwrap_or_default();
        let rest = self.text.get(node.start_byte()..).unwrap_or_default();
        let near: String = rest.lines().next().unwrap_or_default().trim().chars().take(30).collect();
        SignatureError::Syntax {
            line: one_based(start.row),
            column: one_based(before.chars().count()),
            near: if near.is_empty() { "end of line".to_owned() } else { near },
        }
    }

    /// Statements of the module, those inside `if`, `try`, `with` and loops included.
    fn statements(&self) -> Vec<Node<'_>> {
        let mut found = Vec::new();
        let mut waiting = vec![(self.tree.root_node(), 0)];
        while let Some((node, depth)) = waiting.pop() {
            let mut cursor = node.walk();
            let mut inner: Vec<_> = Vec::new();
            for child in node.named_children(&mut cursor) {
                let is_block = matches!(
                    child.kind(),
                    "if_statement"
                        | "elif_clause"
                        | "else_clause"
                        | "try_statement"
                        | "except_clause"
                        | "except_group_clause"
                        | "finally_clause"
                        | "with_statement"
                        | "for_statement"
                        | "while_statement"
                        | "block"
                );
                if is_block && depth < MAX_BLOCK_DEPTH * 2 {
                    inner.push((child, depth + 1));
                } else {
                    found.push(child);
                }
            }
            waiting.extend(inner.into_iter().rev());
        }
        found.sort_by_key(Node::start_byte);
        found
    }

    /// The last definition of each name, as Python would have it after the import.
    fn definitions(&self) -> Vec<Definition<'_>> {
        let mut found: Vec<Definition<'_>> = Vec::new();
        for node in self.statements() {
            let Some(definition) = definition(node) else { continue };
            let name = self.name_of(definition.node);
            found.retain(|earlier| self.name_of(earlier.node) != name);
            found.push(definition);
        }
        found
    }

    fn name_of(&self, definition: Node<'_>) -> &'a str {
        definition.child_by_field_name("name").map_or("", |name| self.text_of(name))
    }

    fn methods<'t>(&self, class: Node<'t>) -> Vec<Definition<'t>> {
        let Some(body) = class.child_by_field_name("body") else { return Vec::new() };
        let mut cursor = body.walk();
        body.named_children(&mut cursor).filter_map(definition).collect()
    }

    fn method<'t>(&self, class: Node<'t>, name: &str) -> Option<Node<'t>> {
        self.methods(class)
            .into_iter()
            .map(|method| method.node)
            .rfind(|method| self.name_of(*method) == name)
    }

    fn tools(&self) -> Vec<FunctionSignature> {
        let definitions = self.definitions();
        let certain = self.tools_by(&definitions, |path| self.names.is_tool(path));
        if !certain.is_empty() {
            return certain;
        }
        // A decorator that only shares the name may still be prompt flow's, through a module of the flow.
        self.tools_by(&definitions, |path| path == "tool" || path.ends_with(".tool"))
    }

    fn tools_by(
        &self,
        definitions: &[Definition<'_>],
        is_tool: impl Fn(&str) -> bool,
    ) -> Vec<FunctionSignature> {
        let is_marked = |definition: &Definition<'_>| {
            definition.decorators.iter().any(|decorator| is_tool(self.decorator_path(*decorator)))
        };
        let mut found = Vec::new();
        for definition in definitions {
            if definition.node.kind() == "function_definition" {
                if is_marked(definition) {
                    found.push(self.function(definition.node, None));
                }
                continue;
            }
            for method in self.methods(definition.node) {
                if method.node.kind() == "function_definition" && is_marked(&method) {
                    found.push(self.function(method.node, Some(definition.node)));
                }
            }
        }
        found
    }

    /// `core.tool` of `@core.tool(name="x")`.
    fn decorator_path(&self, decorator: Node<'_>) -> &'a str {
        let Some(mut expression) = decorator.named_child(0) else { return "" };
        if expression.kind() == "call" {
            match expression.child_by_field_name("function") {
                Some(function) => expression = function,
                None => return "",
            }
        }
        self.text_of(expression).trim()
    }

    fn function(&self, node: Node<'_>, class: Option<Node<'_>>) -> FunctionSignature {
        let (own, takes_rest) = self.parameters(node, class.is_some());
        let init = class.and_then(|class| self.method(class, "__init__"));
        let mut parameters = init.map_or_else(Vec::new, |init| self.parameters(init, true).0);
        for parameter in &mut parameters {
            parameter.is_of_init = true;
        }
        parameters.extend(own);
        let returns = node.child_by_field_name("return_type").map(|returns| self.text_of(returns).to_owned());
        let is_async = node.child(0).is_some_and(|first| first.kind() == "async");
        let yields = self.yields(node) || returns.as_deref().is_some_and(annotation::is_iterator);
        let name = node.child_by_field_name("name").unwrap_or(node);
        FunctionSignature {
            name: self.text_of(name).to_owned(),
            class: class.map(|class| self.name_of(class).to_owned()),
            kind: match (is_async, yields) {
                (false, false) => FunctionKind::Plain,
                (true, false) => FunctionKind::Async,
                (false, true) => FunctionKind::Generator,
                (true, true) => FunctionKind::AsyncGenerator,
            },
            parameters,
            takes_rest,
            returns,
            line: one_based(name.start_position().row),
        }
    }

    /// True if the body yields itself, not only a function inside it.
    fn yields(&self, function: Node<'_>) -> bool {
        let mut waiting: Vec<Node<'_>> = function.child_by_field_name("body").into_iter().collect();
        while let Some(node) = waiting.pop() {
            match node.kind() {
                "yield" => return true,
                "function_definition" | "class_definition" | "lambda" | "generator_expression" => {}
                _ => {
                    let mut cursor = node.walk();
                    waiting.extend(node.named_children(&mut cursor));
                }
            }
        }
        false
    }

    /// The parameters of a function, and whether it takes `**kwargs`. Of a method the first is left out.
    fn parameters(&self, function: Node<'_>, is_method: bool) -> (Vec<Parameter>, bool) {
        let Some(list) = function.child_by_field_name("parameters") else { return (Vec::new(), false) };
        let mut found = Vec::new();
        let mut takes_rest = false;
        let mut cursor = list.walk();
        for (at, node) in list.named_children(&mut cursor).filter(|node| node.kind() != "comment").enumerate()
        {
            let kind = node.kind();
            if self.text_of(node).starts_with("**") {
                takes_rest = true;
                continue;
            }
            if (at == 0 && is_method) || self.text_of(node).starts_with('*') || kind.ends_with("_separator") {
                continue;
            }
            let name = match kind {
                "identifier" => Some(node),
                "typed_parameter" => node.named_child(0),
                _ => node.child_by_field_name("name"),
            };
            let Some(name) = name else { continue };
            let annotation = node.child_by_field_name("type").map(|node| self.text_of(node));
            let value = node.child_by_field_name("value");
            let default = value.and_then(|value| literal::read(value, self.text));
            let (takes, choices) = self.takes(annotation, value.is_some(), default.as_ref());
            found.push(Parameter {
                name: self.text_of(name).to_owned(),
                annotation: annotation.map(str::to_owned),
                takes,
                choices,
                has_default: value.is_some(),
                default,
                is_of_init: false,
            });
        }
        (found, takes_rest)
    }

    fn takes(
        &self,
        annotation: Option<&str>,
        has_default: bool,
        default: Option<&Value>,
    ) -> (ParameterType, Vec<String>) {
        let Some(annotation) = annotation else {
            let of_default = if has_default { literal::type_of(default) } else { ValueType::Object };
            return (ParameterType::Value(of_default), Vec::new());
        };
        let resolved = self.names.resolve_all(Annotation::parse(annotation));
        let choices = match resolved.single_name() {
            Some(name) => self.choices(name),
            None => Vec::new(),
        };
        if !choices.is_empty() {
            return (ParameterType::Value(ValueType::String), choices);
        }
        (resolved.takes(), Vec::new())
    }

    /// Values of an enumeration defined in this file.
    fn choices(&self, class: &str) -> Vec<String> {
        let is_wanted = |definition: &Definition<'_>| {
            definition.node.kind() == "class_definition" && self.name_of(definition.node) == class
        };
        let Some(class) = self.definitions().into_iter().find(is_wanted).map(|found| found.node) else {
            return Vec::new();
        };
        let bases = class.child_by_field_name("superclasses").map_or("", |bases| self.text_of(bases));
        let is_enum = bases
            .trim_matches(['(', ')'])
            .split(',')
            .any(|base| matches!(base.trim().rsplit('.').next(), Some("Enum" | "StrEnum" | "IntEnum")));
        let Some(body) = class.child_by_field_name("body").filter(|_| is_enum) else { return Vec::new() };
        let mut cursor = body.walk();
        body.named_children(&mut cursor)
            .filter(|statement| statement.kind() == "expression_statement")
            .filter_map(|statement| statement.named_child(0))
            .filter(|assignment| assignment.kind() == "assignment")
            .filter_map(|assignment| assignment.child_by_field_name("right"))
            .filter_map(|value| literal::read(value, self.text))
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect()
    }

    fn entry(&self, name: &str) -> Result<EntrySignature, SignatureError> {
        let definitions = self.definitions();
        let found = definitions.iter().find(|definition| self.name_of(definition.node) == name);
        let node =
            found.map(|found| found.node).ok_or_else(|| SignatureError::NoEntry { name: name.to_owned() })?;
        if node.kind() == "function_definition" {
            return Ok(EntrySignature { call: self.function(node, None), init: None, has_aggregate: false });
        }
        let call = self
            .method(node, "__call__")
            .ok_or_else(|| SignatureError::NotCallable { class: name.to_owned() })?;
        let mut call = self.function(call, Some(node));
        call.parameters.retain(|parameter| !parameter.is_of_init);
        let init = self.method(node, "__init__").map_or_else(Vec::new, |init| self.parameters(init, true).0);
        Ok(EntrySignature {
            call,
            init: Some(init),
            has_aggregate: self.method(node, "__aggregate__").is_some(),
        })
    }
}

fn definition(node: Node<'_>) -> Option<Definition<'_>> {
    match node.kind() {
        "function_definition" | "class_definition" => Some(Definition { node, decorators: Vec::new() }),
        "decorated_definition" => {
            let mut cursor = node.walk();
            let decorators =
                node.named_children(&mut cursor).filter(|child| child.kind() == "decorator").collect();
            Some(Definition { node: node.child_by_field_name("definition")?, decorators })
        }
        _ => None,
    }
}

fn one_based(zero_based: usize) -> u32 {
    u32::try_from(zero_based).unwrap_or(u32::MAX).saturating_add(1)
}
