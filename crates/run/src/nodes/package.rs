//! Package tools that people's flows name most, done by the engine itself: no package has to be installed for them.
//!
//! Models through the engine's calls (limits, budget, records), searches and safety checks through its requests. All
//! other package tools run in the Python worker, where their package is in the flow's environment.

use flowbench_core::check::Api;
use flowbench_core::ports::{CodeSource, EmbeddingPurpose, HttpRequest};
use flowbench_core::value::python_text;
use serde_json::{Map, Value, json};

use super::{NodeContext, code, count, http, llm, missing, need_text, text};
use crate::failure::NodeFailure;

const LLM: &str = "promptflow.tools.llm.llm";
const VISION: [&str; 3] = [
    "promptflow.tools.llm_vision.llm_vision",
    "promptflow.tools.aoai_gpt4v.AzureOpenAI.chat",
    "promptflow.tools.openai_gpt4v.OpenAI.chat",
];
const OPEN_MODEL: &str = "promptflow.tools.open_model_llm.OpenModelLLM.call";
const EMBEDDING: &str = "promptflow.tools.embedding.embedding";
const SERP: &str = "promptflow.tools.serpapi.SerpAPI.search";
const SAFETY: [&str; 2] = [
    "promptflow.tools.azure_content_safety.analyze_text",
    "content_safety_text.tools.content_safety_text_tool.analyze_text",
];
/// Lookups of the vector packages: they need an index, and cannot run outside the cloud even in prompt flow.
const LOOKUP_PREFIX: &str = "promptflow_vectordb.";

/// True if the engine does this tool itself.
pub fn is_native(tool: &str) -> bool {
    tool == LLM
        || tool == OPEN_MODEL
        || tool == EMBEDDING
        || tool == SERP
        || VISION.contains(&tool)
        || SAFETY.contains(&tool)
        || tool.starts_with(LOOKUP_PREFIX)
}

pub(super) async fn run(
    context: &NodeContext<'_>,
    tool: &str,
    template: Option<&str>,
    mut inputs: Map<String, Value>,
) -> Result<Value, NodeFailure> {
    if tool.starts_with(LOOKUP_PREFIX) {
        return Err(NodeFailure::new(
            "tool/unsupported",
            format!("tool `{tool}` needs the cloud it was made for"),
        )
        .hint("replace the node by a `retrieve` node on a local index"));
    }
    let is_vision = VISION.contains(&tool);
    match (tool, template) {
        (EMBEDDING, _) => embedding(context, &inputs).await,
        (SERP, _) => search(context, &inputs).await,
        _ if SAFETY.contains(&tool) => analyze_text(context, &inputs).await,
        (LLM | OPEN_MODEL, Some(template)) | (_, Some(template)) if is_native(tool) => {
            let api = match inputs.remove("api").as_ref().and_then(Value::as_str) {
                Some("completion") => Api::Completion,
                _ => Api::Chat,
            };
            let mut style = llm::ChatStyle::default();
            if is_vision {
                style.lists_as_lines = true;
                style.image_detail =
                    inputs.remove("detail").as_ref().and_then(Value::as_str).map(str::to_owned);
            }
            if tool == OPEN_MODEL {
                open_model_inputs(&mut inputs)?;
            }
            let connection = inputs.remove("connection");
            let connection =
                connection.as_ref().and_then(Value::as_str).ok_or_else(|| missing("connection"))?;
            let call = llm::LlmCall { template, connection: Some(connection), api, style };
            llm::run(context, &call, inputs).await
        }
        _ => {
            // Templates of other packages' tools are theirs to render: they get the text.
            if let Some(template) = template {
                let source =
                    context.line.flow.scripts.get(template).cloned().ok_or_else(|| missing("prompt"))?;
                inputs.insert("prompt".to_owned(), Value::String(source.to_string()));
            }
            let source = CodeSource::PythonPackage { tool: tool.to_owned() };
            code::run_python(context, &source, inputs).await.map(|(value, _)| value)
        }
    }
}

/// `endpoint_name` is `connection/NAME`, or names an endpoint of the cloud, which is not reached from here.
fn open_model_inputs(inputs: &mut Map<String, Value>) -> Result<(), NodeFailure> {
    let endpoint = need_text(inputs, "endpoint_name")?;
    let Some(name) = endpoint.strip_prefix("connection/") else {
        return Err(NodeFailure::new(
            "tool/unsupported",
            format!("endpoint `{endpoint}` is looked up in the cloud"),
        )
        .hint("make a `serverless` connection for it and write `endpoint_name: connection/NAME`"));
    };
    let name = name.to_owned();
    inputs.remove("endpoint_name");
    inputs.insert("connection".to_owned(), Value::String(name));
    if let Some(most) = inputs.remove("max_new_tokens") {
        inputs.insert("max_tokens".to_owned(), most);
    } else {
        inputs.insert("max_tokens".to_owned(), json!(500));
    }
    if let Some(Value::Object(more)) = inputs.remove("model_kwargs") {
        for (key, value) in more {
            inputs.entry(key).or_insert(value);
        }
    }
    inputs.entry("model").or_insert(json!("default"));
    Ok(())
}

async fn embedding(context: &NodeContext<'_>, inputs: &Map<String, Value>) -> Result<Value, NodeFailure> {
    let calls = &context.line.shared.calls;
    let connection = need_text(inputs, "connection")?;
    let choice = llm::model_choice(inputs);
    let texts = vec![need_text(inputs, "input")?];
    let embeddings =
        calls.embed(&context.scope, &connection, &choice, &texts, EmbeddingPurpose::Document, None).await?;
    Ok(json!(embeddings.vectors.first()))
}

async fn search(context: &NodeContext<'_>, inputs: &Map<String, Value>) -> Result<Value, NodeFailure> {
    let query = need_text(inputs, "query")?;
    let engine = text(inputs, "engine").unwrap_or("google");
    let mut parameters = vec![
        ("engine", engine.to_owned()),
        ("q", query),
        ("num", count(inputs, "num")?.unwrap_or(10).to_string()),
    ];
    for (name, parameter) in [("location", "location"), ("safe", "safe")] {
        if let Some(value) = text(inputs, name).filter(|value| !value.is_empty()) {
            parameters.push((parameter, value.to_owned()));
        }
    }
    // Recorded, and found again, without the key and whatever address the connection has.
    let asked = json!({"tool": SERP, "parameters": parameters});
    let service = service_of(context, &need_text(inputs, "connection")?, "https://serpapi.com")?;
    let Service { base, key, is_approved } = service;
    parameters.push(("api_key", key));
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", http::encode(value))).collect();
    let url = format!("{}/search.json?{}", base.trim_end_matches('/'), pairs.join("&"));
    let request = HttpRequest { is_approved, ..super::host::get(url) };
    let response = context.line.shared.calls.http(&context.scope, asked, request).await?;
    json_answer("the search", response.status, &response.body)
}

/// Harm categories of the tool's inputs, and the service's names for them.
const CATEGORIES: [(&str, &str); 4] = [
    ("hate_category", "Hate"),
    ("self_harm_category", "SelfHarm"),
    ("sexual_category", "Sexual"),
    ("violence_category", "Violence"),
];

/// Severity from which each sensitivity rejects: the more sensitive, the lower.
fn threshold(sensitivity: &str) -> Option<u64> {
    match sensitivity {
        "low_sensitivity" => Some(6),
        "high_sensitivity" => Some(2),
        "disable" => None,
        _ => Some(4),
    }
}

async fn analyze_text(context: &NodeContext<'_>, inputs: &Map<String, Value>) -> Result<Value, NodeFailure> {
    let severities =
        harm_severities(context, &need_text(inputs, "connection")?, &need_text(inputs, "text")?).await?;
    let mut by_category = Map::new();
    let mut is_rejected = false;
    for (input, category) in CATEGORIES {
        let Some(limit) = threshold(text(inputs, input).unwrap_or("medium_sensitivity")) else { continue };
        let rejects = severities.get(category).is_some_and(|severity| *severity >= limit);
        is_rejected |= rejects;
        by_category.insert(category.to_owned(), json!(if rejects { "Reject" } else { "Accept" }));
    }
    Ok(json!({
        "suggested_action": if is_rejected { "Reject" } else { "Accept" },
        "action_by_category": by_category,
    }))
}

/// Most characters the service takes at once.
const SAFETY_TEXT_LIMIT: usize = 10_000;

/// Asks Azure Content Safety: severity by category, the worst of all pieces of a long text.
pub(super) async fn harm_severities(
    context: &NodeContext<'_>,
    connection: &str,
    whole: &str,
) -> Result<std::collections::BTreeMap<String, u64>, NodeFailure> {
    let Service { base, key, is_approved } = service_of(context, connection, "")?;
    let version = match context.line.shared.calls.replayer {
        Some(_) => None,
        None => context
            .line
            .shared
            .calls
            .ports
            .models
            .connection(connection)?
            .field("api_version")
            .map(str::to_owned),
    };
    let version = version.unwrap_or_else(|| "2023-10-01".to_owned());
    let url = format!("{}/contentsafety/text:analyze?api-version={version}", base.trim_end_matches('/'));
    let categories = CATEGORIES.map(|(_, name)| name);
    let characters: Vec<char> = whole.chars().collect();
    let mut worst = std::collections::BTreeMap::new();
    for piece in characters.chunks(SAFETY_TEXT_LIMIT) {
        let piece: String = piece.iter().collect();
        let asked = json!({"tool": SAFETY[0], "text": piece, "categories": categories});
        let request = HttpRequest {
            method: "POST".to_owned(),
            url: url.clone(),
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("ocp-apim-subscription-key".to_owned(), key.clone()),
            ],
            body: Some(json!({"text": piece, "categories": categories}).to_string()),
            timeout: None,
            is_approved,
        };
        let response = context.line.shared.calls.http(&context.scope, asked, request).await?;
        let answer = json_answer("content safety", response.status, &response.body)?;
        // A guard that cannot read its checker's answer must not let the text pass.
        let Some(analysis) = answer.get("categoriesAnalysis").and_then(Value::as_array) else {
            return Err(NodeFailure::new(
                "model/bad_reply",
                "content safety answered without `categoriesAnalysis`",
            ));
        };
        for entry in analysis {
            let (Some(category), Some(severity)) = (
                entry.get("category").and_then(Value::as_str),
                entry.get("severity").and_then(Value::as_u64),
            ) else {
                return Err(NodeFailure::new(
                    "model/bad_reply",
                    "content safety answered with an unreadable category",
                ));
            };
            let slot = worst.entry(category.to_owned()).or_insert(0);
            *slot = severity.max(*slot);
        }
    }
    Ok(worst)
}

/// How a connection's service is reached.
struct Service {
    base: String,
    key: String,
    /// The user vouched for the connection's host.
    is_approved: bool,
}

/// Address and key of a connection; on replay neither is needed.
fn service_of(context: &NodeContext<'_>, connection: &str, fallback: &str) -> Result<Service, NodeFailure> {
    if context.line.shared.calls.replayer.is_some() {
        return Ok(Service { base: fallback.to_owned(), key: String::new(), is_approved: false });
    }
    let connection = context.line.shared.calls.ports.models.connection(connection)?;
    let base = ["endpoint", "api_base", "base_url"]
        .iter()
        .find_map(|field| connection.field(field))
        .unwrap_or(fallback);
    if base.is_empty() {
        return Err(NodeFailure::new(
            "connection",
            format!("connection `{}` has no `endpoint`", connection.name),
        ));
    }
    let key = connection.secret("api_key").ok_or_else(|| {
        NodeFailure::new("connection", format!("connection `{}` has no `api_key`", connection.name))
            .hint("write `api_key: \"${env:NAME}\"` in its entry")
    })?;
    let (base, key) = (base.to_owned(), key.reveal().to_owned());
    Ok(Service { base, key, is_approved: connection.is_approved })
}

fn json_answer(who: &str, status: u16, body: &str) -> Result<Value, NodeFailure> {
    let short: String = body.chars().take(500).collect();
    if !(200..300).contains(&status) {
        let mut failure = NodeFailure::new("http/status", format!("{who} answered with status {status}"));
        failure.details = Some(json!({"status": status, "body": short}));
        return Err(failure);
    }
    serde_json::from_str(body).map_err(|error| {
        NodeFailure::new(
            "model/bad_reply",
            format!("{who} answered with something that is no JSON: {error}: {}", python_text(&json!(short))),
        )
    })
}
