//! Connection files: ours (`connections:` and a list), prompt flow's (one connection a file) and `.env` files,
//! which prompt flow takes as custom connections.
//!
//! Reading never fails and resolves nothing: secrets stay references until [`ConnectionEntry::resolve`] is given
//! a way to look them up. A secret that is written out is kept, found, and shown nowhere.

use std::collections::HashMap;
use std::fmt;

use flowbench_core::connection::{Connection, ConnectionKind, Secret};
use flowbench_core::finding::{Finding, Place};
use flowbench_core::flow::{Places, pointer_key};
use flowbench_core::value::python_text;
use serde_json::{Map, Value};

use crate::env_file::parse_env_file;
use crate::yaml::YamlDocument;

/// What a connection file says.
#[derive(Clone, Debug, Default)]
pub struct ConnectionsFile {
    /// Connections in file order; of two with one name the first.
    pub entries: Vec<ConnectionEntry>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// A connection as written.
#[derive(Clone, Debug)]
pub struct ConnectionEntry {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: ConnectionKind,
    /// Plain fields; for `custom` the `configs`. May hold references.
    pub fields: Map<String, Value>,
    /// Secret fields; for `custom` the `secrets`.
    pub secrets: Vec<(String, SecretValue)>,
    /// Where it is written.
    pub place: Place,
}

/// Where a secret's value comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// An environment variable.
    Environment(String),
    /// A secret kept by this program.
    Stored(String),
    /// Written out in the file.
    Literal(String),
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
            Self::Stored(name) => f.debug_tuple("Stored").field(name).finish(),
            Self::Literal(_) => f.write_str("Literal(••••)"),
        }
    }
}

impl SecretValue {
    /// Reads a value: `${env:NAME}`, `${secret:NAME}`, or else the secret itself.
    pub fn parse(text: &str) -> Self {
        match parse_reference(text) {
            Some(ValueReference::Environment(name)) => Self::Environment(name.to_owned()),
            Some(ValueReference::Stored(name)) => Self::Stored(name.to_owned()),
            None => Self::Literal(text.to_owned()),
        }
    }
}

/// What a value in a connection file can refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueReference<'a> {
    /// `${env:NAME}`.
    Environment(&'a str),
    /// `${secret:NAME}`.
    Stored(&'a str),
}

impl fmt::Display for ValueReference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment variable `{name}`"),
            Self::Stored(name) => write!(f, "stored secret `{name}`"),
        }
    }
}

/// A field whose reference leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingValue {
    /// The field.
    pub field: String,
    /// What it refers to, in words.
    pub reference: String,
}

impl ConnectionEntry {
    /// The connection with its references replaced. A secret that leads nowhere is left out, a plain field stays
    /// as written (a base address left out would send the request to the provider's default host); both are told.
    pub fn resolve(
        &self,
        is_approved: bool,
        look_up: &dyn Fn(ValueReference<'_>) -> Option<String>,
    ) -> (Connection, Vec<MissingValue>) {
        let mut missing = Vec::new();
        let mut secrets = Vec::new();
        for (field, value) in &self.secrets {
            let reference = match value {
                SecretValue::Literal(value) => {
                    secrets.push((field.clone(), Secret::new(value.clone())));
                    continue;
                }
                SecretValue::Environment(name) => ValueReference::Environment(name),
                SecretValue::Stored(name) => ValueReference::Stored(name),
            };
            match look_up(reference) {
                Some(value) => secrets.push((field.clone(), Secret::new(value))),
                None => missing.push(MissingValue { field: field.clone(), reference: reference.to_string() }),
            }
        }
        let mut fields = self.fields.clone();
        for (field, value) in &mut fields {
            resolve_value(field, value, look_up, &mut missing);
        }
        let connection =
            Connection { name: self.name.clone(), kind: self.kind.clone(), fields, secrets, is_approved };
        (connection, missing)
    }
}

/// Replaces whole-text references in a value and in what it holds.
pub fn resolve_value(
    field: &str,
    value: &mut Value,
    look_up: &dyn Fn(ValueReference<'_>) -> Option<String>,
    missing: &mut Vec<MissingValue>,
) {
    match value {
        Value::String(text) => {
            let Some(reference) = parse_reference(text) else { return };
            match look_up(reference) {
                Some(found) => *text = found,
                None => {
                    missing.push(MissingValue { field: field.to_owned(), reference: reference.to_string() })
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                resolve_value(field, item, look_up, missing);
            }
        }
        Value::Object(map) => {
            for inner in map.values_mut() {
                resolve_value(field, inner, look_up, missing);
            }
        }
        _ => {}
    }
}

/// `${env:NAME}` or `${secret:NAME}`, if that is the whole text.
pub fn parse_reference(text: &str) -> Option<ValueReference<'_>> {
    let inside = text.trim().strip_prefix("${")?.strip_suffix('}')?;
    let (scheme, name) = inside.split_once(':')?;
    let name = name.trim();
    if name.is_empty() || name.contains(['{', '}', '=', '\0']) {
        return None;
    }
    match scheme.trim() {
        "env" => Some(ValueReference::Environment(name)),
        "secret" => Some(ValueReference::Stored(name)),
        _ => None,
    }
}

/// The environment variable that prompt flow's built bundles read a connection's secret from:
/// `<CONNECTION>_<FIELD>` in capitals.
pub fn environment_name(connection: &str, field: &str) -> String {
    format!("{connection}_{field}")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}

/// Reads connections from bytes; never fails. A file whose name ends in `.env` is read as [`parse_env`] does,
/// named by what stands before.
pub fn parse_connections(bytes: &[u8], file: Option<&str>) -> ConnectionsFile {
    if let Some(name) =
        file.and_then(|file| file.rsplit(['/', '\\']).next()).and_then(|name| name.strip_suffix(".env"))
    {
        return parse_env(bytes, if name.is_empty() { "env" } else { name }, file);
    }
    let document = YamlDocument::parse(bytes, file);
    let (_, value, places, findings) = document.into_parts();
    let mut reader =
        Reader { places, out: ConnectionsFile { entries: Vec::new(), findings }, lines: HashMap::new() };
    match &value {
        Value::Null => {}
        Value::Object(map) if map.contains_key("connections") => reader.list(map),
        Value::Object(map) if map.contains_key("name") || map.contains_key("type") => reader.entry(map, ""),
        other => {
            reader.wrong("", "the file", "a map with a list under `connections`, or one connection", other)
        }
    }
    reader.out
}

/// Reads a `.env` file as the custom connection that prompt flow makes of it: every value is a secret.
pub fn parse_env(bytes: &[u8], name: &str, file: Option<&str>) -> ConnectionsFile {
    let read = parse_env_file(bytes, file);
    let mut findings = read.findings;
    let place = |line| Place { file: file.map(str::to_owned), line: Some(line), column: Some(1), node: None };
    let mut secrets = Vec::new();
    for variable in read.variables {
        if is_placeholder(&variable.value) {
            findings.push(placeholder(name, &variable.name, true).at(place(variable.line)));
            secrets.push((variable.name.clone(), SecretValue::Environment(variable.name)));
        } else if !variable.value.is_empty() {
            secrets.push((variable.name, SecretValue::parse(&variable.value)));
        }
    }
    let entry = ConnectionEntry {
        name: name.to_owned(),
        kind: ConnectionKind::Custom,
        fields: Map::new(),
        secrets,
        place: place(1),
    };
    ConnectionsFile { entries: vec![entry], findings }
}

/// Keys of a connection that say nothing about how to reach it.
const INFORMATIONAL: [&str; 7] =
    ["$schema", "name", "type", "expiry_time", "created_date", "last_modified_date", "class_name"];
/// Keys of a strong custom connection, and where prompt flow keeps them in its configs.
const STRONG: [(&str, &str); 4] = [
    ("custom_type", "promptflow.connection.custom_type"),
    ("module", "promptflow.connection.module"),
    ("package", "promptflow.connection.package"),
    ("package_version", "promptflow.connection.package_version"),
];
/// Connections that are always there; an entry of that name would never be asked.
const BUILT_IN: [&str; 2] = ["local", "builtin"];

/// True for the names of secret fields: `api_key` on every kind, tokens on Azure's, and on all kinds what sounds
/// like a secret, because hiding too much costs nothing.
pub fn is_secret_field(field: &str) -> bool {
    let plain = field.to_ascii_lowercase().replace('-', "_");
    let words =
        ["key", "token", "secret", "password", "authorization", "credential", "sas", "connection_string"];
    words
        .iter()
        .any(|word| plain == *word || plain.strip_suffix(word).is_some_and(|rest| rest.ends_with('_')))
        || ["apikey", "accesskey", "accesstoken"].contains(&plain.as_str())
}

/// Values that stand for one to be filled in: prompt flow's own (`<user-input>`, `******`, `to_replace_with_…`)
/// and other words between angle brackets.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    (text.len() >= 3 && text.chars().all(|c| c == '*'))
        || text.starts_with("to_replace_with_")
        || (text.len() > 2
            && text.starts_with('<')
            && text.ends_with('>')
            && !text[1..text.len() - 1].contains(['<', '>']))
}

fn placeholder(connection: &str, field: &str, is_secret: bool) -> Finding {
    let variable = environment_name(connection, field);
    let finding = Finding::warning(
        "placeholder-value",
        format!("connection `{connection}`: `{field}` is a placeholder and needs a value"),
    );
    match is_secret {
        true => finding.suggest(format!("write `{field}: \"${{env:{variable}}}\"` and set that variable")),
        false => finding.suggest(format!("write the value of `{field}`, or `\"${{env:NAME}}\"`")),
    }
}

struct Reader {
    places: Places,
    out: ConnectionsFile,
    /// Line of every name so far.
    lines: HashMap<String, u32>,
}

impl Reader {
    fn found(&mut self, pointer: &str, finding: Finding) {
        let place = self.places.of(pointer);
        self.out.findings.push(finding.at(place));
    }

    fn wrong(&mut self, pointer: &str, what: &str, expected: &str, found: &Value) {
        let message = format!("{what} must be {expected}, and is {}", shape(found));
        self.found(pointer, Finding::error("wrong-shape", message));
    }

    fn list(&mut self, map: &Map<String, Value>) {
        for key in map.keys().filter(|key| !["connections", "$schema"].contains(&key.as_str())) {
            let message = format!("key `{key}` is not known and has no effect");
            self.found(&format!("/{}", pointer_key(key)), Finding::warning("unknown-key", message));
        }
        match map.get("connections") {
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let pointer = format!("/connections/{index}");
                    match item {
                        Value::Object(entry) => self.entry(entry, &pointer),
                        other => self.wrong(&pointer, "a connection", "a map", other),
                    }
                }
            }
            None | Some(Value::Null) => {}
            Some(other) => self.wrong("/connections", "`connections`", "a list", other),
        }
    }

    fn entry(&mut self, map: &Map<String, Value>, pointer: &str) {
        let name = match map.get("name") {
            Some(Value::String(name)) if !name.trim().is_empty() => name.trim().to_owned(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            _ => {
                let finding =
                    Finding::error("missing-name", "a connection has no name").suggest("write `name: NAME`");
                return self.found(pointer, finding);
            }
        };
        let word = match map.get("type") {
            Some(Value::String(word)) if !word.trim().is_empty() => word.trim(),
            _ => {
                let finding = Finding::error("missing-type", format!("connection `{name}` has no type"))
                    .suggest("write `type: open_ai`, or azure_open_ai, serverless, anthropic, gemini, ollama, custom");
                return self.found(pointer, finding);
            }
        };
        let place = self.places.of(pointer);
        if let Some(line) = self.lines.get(&name) {
            let finding =
                Finding::error("duplicate-connection", format!("two connections are named `{name}`"))
                    .suggest(format!("rename one; the other is on line {line}"));
            return self.found(pointer, finding);
        }
        self.lines.insert(name.clone(), place.line.unwrap_or(0));
        if BUILT_IN.contains(&name.as_str()) {
            let message = format!("connection `{name}` is built in, and this entry is never used");
            self.found(pointer, Finding::warning("reserved-name", message).suggest("give it another name"));
        }
        let kind = ConnectionKind::parse(
            word.strip_suffix("Connection").filter(|rest| !rest.is_empty()).unwrap_or(word),
        );
        if matches!(kind, ConnectionKind::Other(_)) {
            let finding = Finding::warning(
                "unknown-connection-type",
                format!("connection `{name}` has the unknown type `{word}`"),
            )
            .suggest("write `type: custom` with `configs` and `secrets` if code reads it");
            self.found(&format!("{pointer}/type"), finding);
        }
        let mut entry = ConnectionEntry { name, kind, fields: Map::new(), secrets: Vec::new(), place };
        if entry.kind == ConnectionKind::Custom {
            self.custom(map, pointer, &mut entry);
        } else {
            for (key, value) in map.iter().filter(|(key, _)| !INFORMATIONAL.contains(&key.as_str())) {
                let at = format!("{pointer}/{}", pointer_key(key));
                // Prompt flow writes the module of its own classes too.
                if key == "module" {
                    continue;
                }
                self.field(&mut entry, key, value, &at, is_secret_field(key));
            }
        }
        self.out.entries.push(entry);
    }

    fn custom(&mut self, map: &Map<String, Value>, pointer: &str, entry: &mut ConnectionEntry) {
        for (key, value) in map.iter().filter(|(key, _)| !INFORMATIONAL.contains(&key.as_str())) {
            let at = format!("{pointer}/{}", pointer_key(key));
            let is_secret = match key.as_str() {
                "configs" => false,
                "secrets" => true,
                _ => {
                    if let Some((_, kept)) = STRONG.iter().find(|(written, _)| written == key) {
                        entry.fields.insert((*kept).to_owned(), value.clone());
                        continue;
                    }
                    let finding = Finding::warning(
                        "custom-field",
                        format!(
                            "connection `{}`: `{key}` stands outside `configs` and `secrets`",
                            entry.name
                        ),
                    )
                    .suggest(format!(
                        "move it into `{}`",
                        if is_secret_field(key) { "secrets" } else { "configs" }
                    ));
                    self.found(&at, finding);
                    self.field(entry, key, value, &at, is_secret_field(key));
                    continue;
                }
            };
            match value {
                Value::Object(inner) => {
                    for (key, value) in inner {
                        self.field(entry, key, value, &format!("{at}/{}", pointer_key(key)), is_secret);
                    }
                }
                Value::Null => {}
                other => {
                    let what = format!("connection `{}`: `{key}`", entry.name);
                    self.wrong(&at, &what, "a map", other);
                }
            }
        }
    }

    /// Takes one field over; a secret one as a reference or, with a finding, as it is.
    fn field(
        &mut self,
        entry: &mut ConnectionEntry,
        key: &str,
        value: &Value,
        pointer: &str,
        is_secret: bool,
    ) {
        let name = entry.name.clone();
        if !is_secret {
            if value.as_str().is_some_and(is_placeholder) {
                self.found(pointer, placeholder(&name, key, false));
            }
            if holds_literal_secret(value) {
                self.found(pointer, literal(&name, key));
            }
            entry.fields.insert(key.to_owned(), value.clone());
            return;
        }
        let text = match value {
            Value::Null => return,
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => python_text(value),
            other => {
                let what = format!("connection `{name}`: `{key}`");
                return self.wrong(pointer, &what, "text", other);
            }
        };
        if text.is_empty() {
            return;
        }
        let secret = if is_placeholder(&text) {
            self.found(pointer, placeholder(&name, key, true));
            SecretValue::Environment(environment_name(&name, key))
        } else {
            SecretValue::parse(&text)
        };
        if matches!(secret, SecretValue::Literal(_)) {
            self.found(pointer, literal(&name, key));
        }
        entry.secrets.push((key.to_owned(), secret));
    }
}

fn literal(connection: &str, field: &str) -> Finding {
    Finding::warning(
        "literal-secret",
        format!("connection `{connection}`: the secret `{field}` is written out in the file"),
    )
    .suggest(format!("write `\"${{env:{}}}\"` and set that variable", environment_name(connection, field)))
}

/// A secret inside a plain field: user and password in an address, or a header that authorises.
fn holds_literal_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => text.split_once("://").is_some_and(|(_, rest)| {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            authority.split_once('@').is_some_and(|(user, _)| user.contains(':'))
        }),
        Value::Object(map) => map.iter().any(|(key, value)| {
            let is_written = value.as_str().is_some_and(|text| {
                !text.is_empty() && parse_reference(text).is_none() && !is_placeholder(text)
            });
            (is_secret_field(key) && is_written) || holds_literal_secret(value)
        }),
        Value::Array(items) => items.iter().any(holds_literal_secret),
        _ => false,
    }
}

pub(crate) fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests;
