//! `.prompty` files: YAML between two `---` lines, then a template. The file as written, and a typed view of what
//! prompt flow reads from it.
//!
//! Nothing is looked up while reading: `${env:NAME}` and `${file:path}` stay text until
//! [`PromptyFile::resolve`] is given ways to look them up, and keys stay references for good
//! ([`Prompty::connection_entry`]).

use flowbench_core::check::Api;
use flowbench_core::connection::ConnectionKind;
use flowbench_core::finding::{Finding, Place};
use flowbench_core::flow::{InputDefinition, Places, pointer_key};
use flowbench_core::value::ValueType;
use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::connections::{ConnectionEntry, SecretValue, is_secret_field, parse_reference};
use crate::yaml::{MAX_YAML_BYTES, YamlDocument};

/// Most bytes that all `${file:path}` of one prompty may bring in: as many as one YAML file may have.
pub const MAX_REFERENCED_BYTES: usize = MAX_YAML_BYTES;

/// A `.prompty` file.
#[derive(Clone, Debug)]
pub struct PromptyFile {
    /// Front matter as written, references unresolved.
    pub front: Value,
    /// Places of its parts in the file.
    pub places: Places,
    /// What stands after the front matter; line ends are `\n`.
    pub template: String,
    /// Line of the file that the template begins on.
    pub template_line: u32,
    /// The front matter as prompt flow understands it, references unresolved.
    pub prompty: Prompty,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What of the answer is the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromptyResponse {
    /// The first choice.
    #[default]
    First,
    /// The raw response.
    All,
}

/// Front matter as prompt flow understands it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompty {
    /// Name, if written.
    pub name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Chat unless said.
    pub api: Api,
    /// `model.configuration`: type, model name and, without a connection, address and key.
    pub configuration: Map<String, Value>,
    /// Name of a connection.
    pub connection: Option<String>,
    /// Passed to the model as they are.
    pub parameters: Map<String, Value>,
    /// First choice or all.
    pub response: PromptyResponse,
    /// Declared, or derived from the sample.
    pub inputs: IndexMap<String, InputDefinition>,
    /// Keys to take out of a JSON answer; absent when none are named.
    pub outputs: Option<Map<String, Value>>,
    /// Inputs when none are given.
    pub sample: Option<Value>,
}

impl Default for Prompty {
    fn default() -> Self {
        Self {
            name: None,
            description: None,
            api: Api::Chat,
            configuration: Map::new(),
            connection: None,
            parameters: Map::new(),
            response: PromptyResponse::First,
            inputs: IndexMap::new(),
            outputs: None,
            sample: None,
        }
    }
}

/// Reads a prompty from bytes; never fails.
pub fn parse_prompty(bytes: &[u8], file: Option<&str>) -> PromptyFile {
    let mut out = PromptyFile {
        front: Value::Null,
        places: Places { file: file.map(str::to_owned), ..Places::default() },
        template: String::new(),
        template_line: 1,
        prompty: Prompty::default(),
        findings: Vec::new(),
    };
    if bytes.len() > MAX_YAML_BYTES {
        out.findings.push(crate::yaml::too_large(file, bytes.len() as u64));
        return out;
    }
    let place = |line| Place { file: file.map(str::to_owned), line: Some(line), column: Some(1), node: None };
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        out.findings.push(
            Finding::error("yaml-encoding", "the file is not UTF-8")
                .at(place(1))
                .suggest("save the file as UTF-8"),
        );
    }
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let Some(parts) = split(&text) else {
        out.findings.push(
            Finding::error("no-front-matter", "the file does not begin with YAML between two `---` lines")
                .at(place(1))
                .suggest("write `---`, then `name:` and `model:`, then `---`, then the template"),
        );
        out.template = text;
        return out;
    };
    if parts.has_text_before {
        out.findings.push(
            Finding::warning("no-front-matter", "what stands before the first `---` line is ignored")
                .at(place(1)),
        );
    }
    // As many empty lines as stand before it, so that places are those of the file.
    let front = "\n".repeat(parts.front_line as usize - 1) + parts.front;
    let (_, value, mut places, findings) = YamlDocument::parse(front.as_bytes(), file).into_parts();
    places.by_pointer.entry(String::new()).or_insert((parts.front_line, 1));
    out.findings.extend(findings);
    out.template = parts.template.to_owned();
    out.template_line = parts.template_line;
    let (prompty, findings) = Prompty::read(&value, &places);
    out.findings.extend(findings);
    out.findings.extend(find_literal_secrets(&prompty.configuration, &places));
    (out.front, out.places, out.prompty) = (value, places, prompty);
    out
}

struct Parts<'t> {
    has_text_before: bool,
    front: &'t str,
    front_line: u32,
    template: &'t str,
    template_line: u32,
}

/// Cuts at the first two lines of three or more dashes. (Prompt flow cuts at the *last* such line, so that a rule
/// in the template breaks its front matter; nobody can rely on that.)
fn split(text: &str) -> Option<Parts<'_>> {
    let mut open: Option<(usize, usize, u32)> = None;
    let mut at = 0;
    for (line, number) in text.split_inclusive('\n').zip(1_u32..) {
        let end = at + line.len();
        let plain = line.trim_end();
        if plain.len() >= 3 && plain.bytes().all(|byte| byte == b'-') {
            match open {
                None => open = Some((at, end, number)),
                Some((before, start, front_number)) => {
                    return Some(Parts {
                        has_text_before: !text[..before].trim().is_empty(),
                        front: &text[start..at],
                        front_line: front_number + 1,
                        template: &text[end..],
                        template_line: number + 1,
                    });
                }
            }
        }
        at = end;
    }
    None
}

/// Keys that say nothing about how it runs.
const INFORMATIONAL: [&str; 9] = [
    "$schema",
    "authors",
    "tags",
    "version",
    "display_name",
    "id",
    "base",
    "comment",
    "environment_variables",
];

impl Prompty {
    /// Reads front matter, resolved or not. Parts of the wrong shape are left out and found.
    pub fn read(front: &Value, places: &Places) -> (Self, Vec<Finding>) {
        let mut reader = Reader { places, findings: Vec::new() };
        let prompty = match front {
            Value::Object(front) => reader.front(front),
            Value::Null => {
                reader.found(
                    "",
                    Finding::error("prompty-model", "the front matter says nothing").suggest(MODEL_HINT),
                );
                Self::default()
            }
            other => {
                reader.wrong("", "the front matter", "a map", other);
                Self::default()
            }
        };
        (prompty, reader.findings)
    }

    /// Name of the model: `azure_deployment`, else `model`.
    pub fn model(&self) -> Option<&str> {
        ["azure_deployment", "model"].iter().find_map(|key| text_of(&self.configuration, key))
    }

    /// The connection that the configuration itself describes; none if it names one. References stay references,
    /// so take it from a prompty that was not resolved. A configuration that gives neither address nor key means
    /// the standard variables of the provider, of which optional ones count only where `is_set` says so.
    pub fn connection_entry(
        &self,
        name: &str,
        place: Place,
        is_set: &dyn Fn(&str) -> bool,
    ) -> Option<ConnectionEntry> {
        if self.connection.is_some() {
            return None;
        }
        let kind = ConnectionKind::parse(text_of(&self.configuration, "type")?);
        let is_azure = kind == ConnectionKind::AzureOpenAi;
        let mut entry =
            ConnectionEntry { name: name.to_owned(), kind, fields: Map::new(), secrets: Vec::new(), place };
        for (key, value) in self.configuration.iter().filter(|(_, value)| !is_empty(value)) {
            match key.as_str() {
                "type" | "connection" | "model" | "azure_deployment" => {}
                "azure_endpoint" if is_azure => {
                    entry.fields.entry("api_base").or_insert_with(|| value.clone());
                }
                "api_base" => {
                    entry.fields.insert(key.clone(), value.clone());
                }
                key if is_secret_field(key) => {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    entry.secrets.push((key.to_owned(), SecretValue::parse(&text)));
                }
                key => {
                    entry.fields.insert(key.to_owned(), value.clone());
                }
            }
        }
        if entry.fields.is_empty() && entry.secrets.is_empty() {
            standard_variables(&mut entry, is_set);
        }
        Some(entry)
    }
}

/// What the providers' own libraries read: key, address, and what is optional.
fn standard_variables(entry: &mut ConnectionEntry, is_set: &dyn Fn(&str) -> bool) {
    let (key, fields): (&str, &[(&str, &str, bool)]) = match entry.kind {
        ConnectionKind::OpenAi => (
            "OPENAI_API_KEY",
            &[("base_url", "OPENAI_BASE_URL", true), ("organization", "OPENAI_ORG_ID", true)],
        ),
        ConnectionKind::AzureOpenAi => (
            "AZURE_OPENAI_API_KEY",
            &[("api_base", "AZURE_OPENAI_ENDPOINT", false), ("api_version", "OPENAI_API_VERSION", true)],
        ),
        _ => return,
    };
    entry.secrets.push(("api_key".to_owned(), SecretValue::Environment(key.to_owned())));
    for (field, variable, is_optional) in fields {
        if !is_optional || is_set(variable) {
            entry.fields.insert((*field).to_owned(), Value::String(format!("${{env:{variable}}}")));
        }
    }
}

impl PromptyFile {
    /// The prompty with its references resolved, and what was found besides [`PromptyFile::findings`].
    pub fn resolve(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
        file: &dyn Fn(&str) -> Result<String, String>,
    ) -> (Prompty, Vec<Finding>) {
        let mut front = self.front.clone();
        if let Some(Value::String(text)) = front.get_mut("sample")
            && let Some(path) = sample_path(text)
        {
            *text = format!("${{file:{path}}}");
        }
        let mut findings: Vec<Finding> = resolve_references(&mut front, env, file)
            .into_iter()
            .map(|unresolved| unresolved.finding().at(self.places.of(&unresolved.pointer)))
            .collect();
        let (prompty, found) = Prompty::read(&front, &self.places);
        findings.extend(found.into_iter().filter(|finding| !self.findings.contains(finding)));
        (prompty, findings)
    }
}

/// A reference that leads nowhere and stays as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnresolvedReference {
    /// JSON pointer of the text.
    pub pointer: String,
    /// The text.
    pub text: String,
    /// Why.
    pub reason: String,
    /// True if prompt flow stops here; it leaves an unset variable as it is.
    pub is_error: bool,
}

impl UnresolvedReference {
    fn finding(&self) -> Finding {
        let message = format!("`{}` stays as written: {}", self.text, self.reason);
        match self.is_error {
            true => Finding::error("unresolved-reference", message),
            false => Finding::warning("unresolved-reference", message),
        }
    }
}

/// Replaces every text that is `${env:NAME}` or `${file:path}` as a whole. A file ending in `.json`, `.yaml` or
/// `.yml` becomes what it holds, another its text; what it brings in is not resolved again.
pub fn resolve_references(
    value: &mut Value,
    env: &dyn Fn(&str) -> Option<String>,
    file: &dyn Fn(&str) -> Result<String, String>,
) -> Vec<UnresolvedReference> {
    let mut resolver = Resolver { env, file, bytes: 0, unresolved: Vec::new() };
    resolver.value(value, String::new());
    resolver.unresolved
}

struct Resolver<'r> {
    env: &'r dyn Fn(&str) -> Option<String>,
    file: &'r dyn Fn(&str) -> Result<String, String>,
    bytes: usize,
    unresolved: Vec<UnresolvedReference>,
}

impl Resolver<'_> {
    fn value(&mut self, value: &mut Value, pointer: String) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, format!("{pointer}/{index}"));
                }
            }
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    self.value(item, format!("{pointer}/{}", pointer_key(key)));
                }
            }
            Value::String(text) => match self.text(text) {
                Ok(Some(resolved)) => *value = resolved,
                Ok(None) => {}
                Err((reason, is_error)) => {
                    self.unresolved.push(UnresolvedReference {
                        pointer,
                        text: text.clone(),
                        reason,
                        is_error,
                    });
                }
            },
            _ => {}
        }
    }

    fn text(&mut self, text: &str) -> Result<Option<Value>, (String, bool)> {
        let Some((scheme, rest)) = text.strip_prefix("${").and_then(|rest| rest.split_once(':')) else {
            return Ok(None);
        };
        if !["env", "file"].contains(&scheme) {
            return Ok(None);
        }
        let Some(name) = rest.strip_suffix('}') else {
            return Err(("only a text that is a reference as a whole is replaced".to_owned(), false));
        };
        if scheme == "env" {
            return match (self.env)(name) {
                Some(found) => Ok(Some(Value::String(found))),
                None => Err((format!("environment variable `{name}` is not set"), false)),
            };
        }
        let content = (self.file)(name).map_err(|reason| (reason, true))?;
        self.bytes = self.bytes.saturating_add(content.len());
        if self.bytes > MAX_REFERENCED_BYTES {
            return Err((format!("more than {} MiB of files are named", MAX_REFERENCED_BYTES >> 20), true));
        }
        read_referenced(name, content).map(Some).map_err(|reason| (reason, true))
    }
}

fn read_referenced(name: &str, content: String) -> Result<Value, String> {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".json") {
        return serde_json::from_str(content.trim_start_matches('\u{feff}'))
            .map_err(|error| format!("it is no JSON: {error}"));
    }
    if lower.ends_with(".yaml") || lower.ends_with(".yml") {
        let document = YamlDocument::parse(content.as_bytes(), Some(name));
        let (_, value, _, findings) = document.into_parts();
        let error =
            findings.iter().find(|finding| finding.severity == flowbench_core::finding::Severity::Error);
        return match error {
            Some(error) => Err(format!("it is no YAML: {}", error.message)),
            None => Ok(value),
        };
    }
    Ok(Value::String(content))
}

const MODEL_HINT: &str = "write `model: {configuration: {connection: NAME, model: MODEL}, parameters: {}}`";

struct Reader<'r> {
    places: &'r Places,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn found(&mut self, pointer: &str, finding: Finding) {
        self.findings.push(finding.at(self.places.of(pointer)));
    }

    fn wrong(&mut self, pointer: &str, what: &str, expected: &str, found: &Value) {
        let message = format!("{what} must be {expected}, and is {}", crate::connections::shape(found));
        self.found(pointer, Finding::error("wrong-shape", message));
    }

    fn unknown(&mut self, map: &Map<String, Value>, pointer: &str, known: &[&str], ignored: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str()) && !ignored.contains(&key.as_str()))
        {
            let message = format!("key `{key}` is not known and has no effect");
            let finding = Finding::warning("unknown-key", message);
            let finding = match (pointer, key.as_str()) {
                ("/model", "options") => {
                    finding.suggest("write `parameters`; `options` is of the newer Prompty project")
                }
                ("/model", "id") => {
                    finding.suggest("write `configuration: {model: …}`; `id` is of the newer Prompty project")
                }
                _ => finding,
            };
            self.found(&format!("{pointer}/{}", pointer_key(key)), finding);
        }
    }

    /// A part that must be a map; absent and empty parts are empty maps.
    fn map(&mut self, map: &Map<String, Value>, key: &str, pointer: &str) -> Map<String, Value> {
        match map.get(key) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(inner)) => inner.clone(),
            Some(other) => {
                self.wrong(&format!("{pointer}/{key}"), &format!("`{key}`"), "a map", other);
                Map::new()
            }
        }
    }

    fn front(&mut self, front: &Map<String, Value>) -> Prompty {
        self.unknown(
            front,
            "",
            &["name", "description", "model", "inputs", "outputs", "sample", "template"],
            &INFORMATIONAL,
        );
        let mut prompty = Prompty {
            name: text_of(front, "name").map(str::to_owned),
            description: text_of(front, "description").map(str::to_owned),
            outputs: Some(self.map(front, "outputs", "")).filter(|outputs| !outputs.is_empty()),
            sample: front.get("sample").filter(|sample| !is_empty(sample)).cloned(),
            ..Prompty::default()
        };
        self.template(front.get("template"));
        self.model(front, &mut prompty);
        prompty.inputs = self.inputs(front);
        self.sample(&mut prompty);
        prompty
    }

    fn template(&mut self, template: Option<&Value>) {
        let engine = match template {
            None | Some(Value::Null) => return,
            Some(Value::Object(map)) => map.get("type").or_else(|| map.get("format")).cloned(),
            Some(other) => Some(other.clone()),
        };
        match engine.as_ref().and_then(Value::as_str) {
            Some("jinja2" | "jinja") => {}
            engine => {
                let message = format!("template engine `{}` is not known", engine.unwrap_or("?"));
                let finding =
                    Finding::warning("prompty-template", message).suggest("templates are read as jinja2");
                self.found("/template", finding);
            }
        }
    }

    fn model(&mut self, front: &Map<String, Value>, prompty: &mut Prompty) {
        let model = self.map(front, "model", "");
        self.unknown(&model, "/model", &["api", "configuration", "parameters", "response"], &[]);
        match model.get("api").and_then(Value::as_str) {
            Some("completion") => prompty.api = Api::Completion,
            Some("chat") => {}
            None if model.get("api").is_none_or(Value::is_null) => {}
            other => {
                let message = format!("api `{}` is not known, and chat is used", other.unwrap_or("?"));
                let finding = Finding::warning("prompty-model", message)
                    .suggest("write `api: chat` or `api: completion`");
                self.found("/model/api", finding);
            }
        }
        if model.get("response").and_then(Value::as_str) == Some("all") {
            prompty.response = PromptyResponse::All;
        }
        prompty.parameters = self.map(&model, "parameters", "/model");
        prompty.configuration = self.map(&model, "configuration", "/model");
        match model.get("parameters") {
            Some(Value::Object(_)) => {}
            _ if model.is_empty() => {}
            _ => {
                let message = "the model has no `parameters`, which prompt flow refuses";
                let finding = Finding::new("prompty-model", flowbench_core::finding::Severity::Note, message);
                self.found("/model", finding.suggest("write `parameters: {}`"));
            }
        }
        self.configuration(prompty);
    }

    fn configuration(&mut self, prompty: &mut Prompty) {
        let at = "/model/configuration";
        let configuration = &prompty.configuration;
        prompty.connection = text_of(configuration, "connection").map(str::to_owned);
        if let Some(other) =
            configuration.get("connection").filter(|value| !value.is_string() && !value.is_null())
        {
            self.wrong("/model/configuration/connection", "`connection`", "the name of a connection", other);
        }
        if prompty.connection.is_some() {
            let other = configuration.iter().find(|(key, value)| {
                !["type", "connection", "model", "azure_deployment"].contains(&key.as_str())
                    && !is_empty(value)
            });
            if let Some((key, _)) = other {
                let message = format!("the configuration names a connection and also gives `{key}`");
                let finding = Finding::error("prompty-model", message).suggest("keep one of them");
                self.found(&format!("{at}/{}", pointer_key(key)), finding);
            }
            return;
        }
        match text_of(configuration, "type") {
            None if configuration.is_empty() => {
                let finding =
                    Finding::error("prompty-model", "the model has no `configuration`").suggest(MODEL_HINT);
                self.found(at, finding);
            }
            None => {
                let message = "the configuration has neither `connection` nor `type`";
                let hint =
                    "write `connection: NAME`, or `type: azure_openai` or `openai` with address and key";
                self.found(at, Finding::error("prompty-model", message).suggest(hint));
            }
            Some(word) if parse_reference(word).is_none() && !ConnectionKind::parse(word).can_chat() => {
                let message = format!("a model of type `{word}` cannot be asked");
                let finding = Finding::error("prompty-model", message);
                self.found(
                    "/model/configuration/type",
                    finding.suggest("write azure_openai, openai, serverless, anthropic, gemini or ollama"),
                );
            }
            Some(_) => {}
        }
    }

    fn inputs(&mut self, front: &Map<String, Value>) -> IndexMap<String, InputDefinition> {
        let mut inputs = IndexMap::new();
        for (name, written) in self.map(front, "inputs", "") {
            let at = format!("/inputs/{}", pointer_key(&name));
            let mut input = InputDefinition::default();
            match &written {
                Value::Object(map) => {
                    input.kind = text_of(map, "type").map(str::to_owned);
                    input.default = map.get("default").cloned();
                    input.description = text_of(map, "description").map(str::to_owned);
                    input.is_chat_input = map.get("is_chat_input") == Some(&Value::Bool(true));
                    input.is_chat_history = map.get("is_chat_history") == Some(&Value::Bool(true));
                }
                Value::Null => {}
                Value::String(word) if ValueType::parse(word).is_some() => input.kind = Some(word.clone()),
                other => {
                    self.wrong(&at, &format!("input `{name}`"), "a map with `type` and `default`", other)
                }
            }
            inputs.insert(name, input);
        }
        inputs
    }

    /// Inputs that are not declared have the names and types of the sample's.
    fn sample(&mut self, prompty: &mut Prompty) {
        match &prompty.sample {
            None => {}
            Some(Value::Object(_)) if !prompty.inputs.is_empty() => {}
            Some(Value::Object(sample)) => {
                prompty.inputs = sample
                    .iter()
                    .map(|(name, value)| {
                        let kind = Some(type_of(value).as_str().to_owned());
                        (name.clone(), InputDefinition { kind, ..InputDefinition::default() })
                    })
                    .collect();
            }
            // Still to be resolved.
            Some(Value::String(text)) if text.starts_with("${") || sample_path(text).is_some() => {}
            Some(other) => {
                let other = other.clone();
                self.wrong("/sample", "`sample`", "a map or `${file:PATH}` of a JSON file", &other);
                prompty.sample = None;
            }
        }
    }
}

/// The older way to name a sample's file: its path, with or without `file:`.
fn sample_path(text: &str) -> Option<&str> {
    let path = text.strip_prefix("file:").unwrap_or(text);
    (path.ends_with(".json") && !path.starts_with("${")).then_some(path)
}

/// Prompt flow's type of a value; null and maps are objects.
fn type_of(value: &Value) -> ValueType {
    match value {
        Value::Bool(_) => ValueType::Bool,
        Value::Number(number) if number.is_f64() => ValueType::Double,
        Value::Number(_) => ValueType::Int,
        Value::String(_) => ValueType::String,
        Value::Array(_) => ValueType::List,
        Value::Null | Value::Object(_) => ValueType::Object,
    }
}

fn text_of<'m>(map: &'m Map<String, Value>, key: &str) -> Option<&'m str> {
    map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Values that prompt flow takes as not given.
fn is_empty(value: &Value) -> bool {
    !flowbench_core::value::python_truth(value)
}

fn find_literal_secrets(configuration: &Map<String, Value>, places: &Places) -> Vec<Finding> {
    let is_written = |value: &Value| {
        value.as_str().is_some_and(|text| !text.is_empty() && parse_reference(text).is_none())
    };
    configuration
        .iter()
        .filter(|(key, value)| is_secret_field(key) && is_written(value))
        .map(|(key, _)| {
            Finding::warning("literal-secret", format!("the secret `{key}` is written out in the file"))
                .at(places.of(&format!("/model/configuration/{}", pointer_key(key))))
                .suggest("write `${env:NAME}` and set that variable, or name a connection")
        })
        .collect()
}

#[cfg(test)]
mod tests;
