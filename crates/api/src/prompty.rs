//! `.prompty` as a flow with one llm node, and a second one that reads the answer where JSON is asked for.

use std::path::Path;
use std::sync::Arc;

use flowbench_core::check::Api;
use flowbench_core::connection::{Connection, ConnectionKind, Secret};
use flowbench_core::facts::SourceFacts;
use flowbench_core::finding::Finding;
use flowbench_core::flow::FlowDraft;
use flowbench_format::prompty::{Prompty, PromptyResponse, parse_prompty, resolve_references};
use flowbench_prompt::Template;
use serde_json::{Map, Value, json};

use crate::files::read_source;
use crate::load::ReadFlow;

/// Name of the node that asks the model.
const NODE: &str = "prompt";

/// Reads a prompty; `model` replaces parts of its model section.
pub fn read(bytes: &[u8], file: &Path, shown: &str, model: Option<&Value>) -> ReadFlow {
    let parsed = parse_prompty(bytes, Some(shown));
    let mut findings = parsed.findings;
    let mut front = parsed.front;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let read_file = |name: &str| {
        let path = folder.join(name);
        // `${file:…}` names something beside the prompty, not anywhere on the disk.
        let inside = path
            .canonicalize()
            .ok()
            .zip(folder.canonicalize().ok())
            .is_some_and(|(path, folder)| path.starts_with(folder));
        match inside {
            true => read_source(&path)
                .map_err(|error| error.message)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            false => Err("it is not beside the prompty".to_owned()),
        }
    };
    for unresolved in resolve_references(&mut front, &|name| std::env::var(name).ok(), &read_file) {
        findings.push(
            Finding::warning("unresolved-reference", format!("`{}`: {}", unresolved.text, unresolved.reason))
                .at(parsed.places.of(&unresolved.pointer)),
        );
    }
    if let Some(model) = model {
        merge(&mut front, &json!({"model": model}));
    }
    let (prompty, found) = Prompty::read(&front, &parsed.places);
    // Those of the file itself were told when it was parsed; a merged model section may bring new ones.
    findings.extend(found.into_iter().filter(|_| model.is_some()));
    if prompty.response == PromptyResponse::All {
        findings.push(
            Finding::warning(
                "unsupported-response",
                "`response: all` gives the text of the first choice here",
            )
            .at(parsed.places.of("/model/response"))
            .suggest("remove it, or use `flowbench runs trace` for the raw reply"),
        );
    }
    let (connection, inline) = connection_of(&prompty, shown);
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let flow = flow_of(&prompty, &name, &connection);
    let places = flowbench_core::flow::Places { file: Some(shown.to_owned()), ..Default::default() };
    let (draft, found) = FlowDraft::read(&flow, places);
    findings.extend(found);
    let mut read = ReadFlow { draft, findings, inline, ..ReadFlow::default() };
    match Template::parse(&parsed.template, &name) {
        Ok(template) => {
            let facts = SourceFacts::Template { variables: template.variables().to_vec(), has_roles: true };
            read.facts.insert(name.clone(), facts);
            read.templates.insert(name, Arc::new(template));
        }
        Err(error) => {
            let message = error.message.clone();
            let line = Some(error.line + parsed.template_line.saturating_sub(1));
            read.facts.insert(name, SourceFacts::Broken { message, line, column: None });
        }
    }
    read.sample = prompty.sample.as_ref().and_then(Value::as_object).cloned();
    read
}

fn merge(target: &mut Value, with: &Value) {
    match (target, with) {
        (Value::Object(target), Value::Object(with)) => {
            for (key, value) in with {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, with) => *target = with.clone(),
    }
}

fn flow_of(prompty: &Prompty, template: &str, connection: &str) -> Value {
    let mut inputs: Map<String, Value> = prompty.parameters.clone();
    inputs.remove("stream");
    let model = ["azure_deployment", "model"].iter().find_map(|key| prompty.configuration.get(*key)).cloned();
    inputs.insert("model".to_owned(), model.unwrap_or_else(|| json!("gpt-3.5-turbo")));
    let mut declared = Map::new();
    for (name, input) in &prompty.inputs {
        inputs.insert(name.clone(), json!(format!("${{inputs.{name}}}")));
        let mut definition = Map::new();
        definition.insert("type".to_owned(), json!(input.kind.as_deref().unwrap_or("string")));
        if let Some(default) = &input.default {
            definition.insert("default".to_owned(), default.clone());
        }
        declared.insert(name.clone(), Value::Object(definition));
    }
    let format = prompty.parameters.get("response_format").and_then(|format| format.get("type"));
    let wants_json = format.and_then(Value::as_str) == Some("json_object");
    let mut nodes = vec![json!({
        "name": NODE,
        "type": "llm",
        "source": {"type": "code", "path": template},
        "inputs": inputs,
        "connection": connection,
        "api": match prompty.api { Api::Chat => "chat", Api::Completion => "completion" },
    })];
    let mut outputs = Map::new();
    if wants_json {
        nodes.push(json!({
            "name": "json",
            "type": "extract",
            "inputs": {"text": format!("${{{NODE}.output}}"), "schema": {"type": "object"}},
        }));
        match &prompty.outputs {
            Some(keys) => {
                for key in keys.keys() {
                    outputs.insert(
                        key.clone(),
                        json!({"type": "object", "reference": format!("${{json.output.['{key}']}}")}),
                    );
                }
            }
            None => {
                outputs.insert("output".to_owned(), json!({"type": "object", "reference": "${json.output}"}));
            }
        }
    } else {
        outputs.insert(
            "output".to_owned(),
            json!({"type": "string", "reference": format!("${{{NODE}.output}}")}),
        );
    }
    json!({
        "name": prompty.name,
        "description": prompty.description,
        "inputs": declared,
        "outputs": outputs,
        "nodes": nodes,
    })
}

/// Name of the connection, and the connection itself where the prompty writes it out. Without either the usual
/// environment variables count, as with the providers' own clients.
fn connection_of(prompty: &Prompty, shown: &str) -> (String, Option<Connection>) {
    if let Some(name) = &prompty.connection {
        return (name.clone(), None);
    }
    let given =
        |key: &str| prompty.configuration.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_azure = match given("type") {
        Some("azure_openai") => true,
        Some(_) => false,
        None => variable("OPENAI_API_KEY").is_none() && variable("AZURE_OPENAI_ENDPOINT").is_some(),
    };
    let mut fields = Map::new();
    let mut put = |field: &str, value: Option<String>| {
        if let Some(value) = value {
            fields.insert(field.to_owned(), json!(value));
        }
    };
    let owned = |key: &str| given(key).map(str::to_owned);
    let (kind, key) = match is_azure {
        true => {
            put("api_base", owned("azure_endpoint").or_else(|| variable("AZURE_OPENAI_ENDPOINT")));
            put("api_version", owned("api_version").or_else(|| variable("OPENAI_API_VERSION")));
            (ConnectionKind::AzureOpenAi, owned("api_key").or_else(|| variable("AZURE_OPENAI_API_KEY")))
        }
        false => {
            put("base_url", owned("base_url").or_else(|| variable("OPENAI_BASE_URL")));
            put("organization", owned("organization").or_else(|| variable("OPENAI_ORG_ID")));
            (ConnectionKind::OpenAi, owned("api_key").or_else(|| variable("OPENAI_API_KEY")))
        }
    };
    let name = format!("configuration of {shown}");
    let secrets = key.map(|key| ("api_key".to_owned(), Secret::new(key))).into_iter().collect();
    let connection = Connection { name: name.clone(), kind, fields, secrets, is_approved: false };
    (name, Some(connection))
}
