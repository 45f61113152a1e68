//! Chat completions, as OpenAI, Azure OpenAI and everything compatible speak them.

use flowbench_core::chat::{
    ChatChunk, ChatParameters, ChatReply, ChatRequest, Content, FinishReason, Message, ModelInput,
    ResponseFormat, ToolCall, ToolChoice, ToolDefinition, Usage,
};
use flowbench_core::ports::{ModelError, ModelErrorKind};
use serde_json::{Map, Value, json};

use super::{Step, StreamReader, Wire, Written};
use crate::json::{as_json_text, count, items, some_text, text};
use crate::stream::Event;

/// Chat completions of one model.
#[derive(Clone, Debug)]
pub(crate) struct ChatCompletions {
    /// Path of the route, query included.
    pub path: String,
    pub model: String,
    pub dialect: Dialect,
}

/// What a server takes beyond the common ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Refuses parameters it does not know (OpenAI's and Azure's own services).
    pub is_strict: bool,
    /// Takes `stream_options`.
    pub tells_usage_in_streams: bool,
}

impl Wire for ChatCompletions {
    fn write(&self, request: &ChatRequest, is_streamed: bool) -> Result<Written, ModelError> {
        let ModelInput::Messages(messages) = &request.input else {
            return Err(needs_messages(&self.model));
        };
        let mut dropped = Vec::new();
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(self.model));
        body.insert("messages".to_owned(), messages.iter().map(message).collect());
        parameters(&mut body, &request.parameters, &self.model, self.dialect, &mut dropped);
        if let Some(count) = request.parameters.n {
            // Without tools only the first choice is used; asking for more would only cost more.
            match count == 1 || !request.tools.is_empty() {
                true => drop(body.insert("n".to_owned(), json!(count))),
                false => dropped.push("`n`: only the first answer is used".to_owned()),
            }
        }
        if !request.tools.is_empty() {
            body.insert("tools".to_owned(), request.tools.iter().map(tool).collect());
        }
        if let (Some(choice), false) = (&request.tool_choice, request.tools.is_empty()) {
            body.insert("tool_choice".to_owned(), tool_choice(choice));
        }
        if let Some(format) = &request.response_format {
            body.insert("response_format".to_owned(), response_format(format));
        }
        stream_fields(&mut body, is_streamed, self.dialect);
        extra(&mut body, &request.parameters, &mut dropped);
        Ok(Written { path: self.path.clone(), body: Value::Object(body), dropped })
    }

    fn read(&self, body: &Value) -> Result<ChatReply, &'static str> {
        let choice = items(body, "choices").first().ok_or("has no `choices`")?;
        let said = choice.get("message").ok_or("has no `message`")?;
        let mut reply = ChatReply::text("", FinishReason::Stop);
        reply.message.content = content_text(said).map(Content::Text);
        reply.message.tool_calls = tool_calls(said);
        reply.refusal = some_text(said, "refusal");
        reply.reasoning = some_text(said, "reasoning_content").or_else(|| some_text(said, "reasoning"));
        reply.raw_finish = some_text(choice, "finish_reason");
        reply.finish = finish(&reply);
        reply.usage = body.get("usage").and_then(usage);
        reply.model = some_text(body, "model");
        reply.id = some_text(body, "id");
        Ok(reply)
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(ChunkReader::default())
    }
}

pub(crate) fn needs_messages(model: &str) -> ModelError {
    ModelError::new(
        ModelErrorKind::InvalidRequest,
        format!("model `{model}` takes messages here, not a text to go on from"),
    )
    .with_hint("use `api: chat`")
}

/// Parameters that chat and completion share. `n`, `extra` and tools are not here.
pub(crate) fn parameters(
    body: &mut Map<String, Value>,
    parameters: &ChatParameters,
    model: &str,
    dialect: Dialect,
    dropped: &mut Vec<String>,
) {
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    put("temperature", parameters.temperature.map(Value::from));
    put("top_p", parameters.top_p.map(Value::from));
    let length = if counts_reasoning(model) { "max_completion_tokens" } else { "max_tokens" };
    put(length, parameters.max_tokens.map(Value::from));
    put("stop", (!parameters.stop.is_empty()).then(|| json!(parameters.stop)));
    put("presence_penalty", parameters.presence_penalty.map(Value::from));
    put("frequency_penalty", parameters.frequency_penalty.map(Value::from));
    put("seed", parameters.seed.map(Value::from));
    put("logit_bias", parameters.logit_bias.clone().map(Value::Object));
    put("user", parameters.user.clone().map(Value::from));
    let local = [
        ("top_k", parameters.top_k.map(Value::from)),
        ("min_p", parameters.min_p.map(Value::from)),
        ("repeat_penalty", parameters.repeat_penalty.map(Value::from)),
    ];
    for (key, value) in local {
        match dialect.is_strict {
            true if value.is_some() => dropped.push(format!("`{key}`: this service refuses it")),
            true => {}
            false => put(key, value),
        }
    }
}

/// Reasoning models of OpenAI refuse `max_tokens`.
fn counts_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["o1", "o3", "o4", "gpt-5"].iter().any(|family| {
        name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '_']))
    })
}

pub(crate) fn stream_fields(body: &mut Map<String, Value>, is_streamed: bool, dialect: Dialect) {
    if is_streamed {
        body.insert("stream".to_owned(), json!(true));
        if dialect.tells_usage_in_streams {
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
    }
}

/// Whatever else is to be sent, save what would break the exchange.
pub(crate) fn extra(body: &mut Map<String, Value>, parameters: &ChatParameters, dropped: &mut Vec<String>) {
    for (key, value) in &parameters.extra {
        match key.as_str() {
            "stream" | "stream_options" | "messages" | "prompt" | "input" | "contents" => {
                dropped.push(format!("`{key}`: set by Flowbench itself"));
            }
            _ => drop(body.insert(key.clone(), value.clone())),
        }
    }
}

fn message(message: &Message) -> Value {
    let mut map = Map::new();
    map.insert("role".to_owned(), json!(message.role.as_str()));
    if let Some(content) = &message.content {
        map.insert("content".to_owned(), json!(content));
    }
    if let Some(name) = &message.name {
        map.insert("name".to_owned(), json!(name));
    }
    match message.tool_calls.as_slice() {
        [] => {}
        // The form before tools: one call, no id.
        [call] if call.id.is_empty() => {
            map.insert("function_call".to_owned(), json!({"name": call.name, "arguments": call.arguments}));
        }
        calls => {
            let calls = calls.iter().map(|call| {
                json!({"id": call.id, "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments}})
            });
            map.insert("tool_calls".to_owned(), calls.collect());
        }
    }
    if let Some(id) = &message.tool_call_id {
        map.insert("tool_call_id".to_owned(), json!(id));
    }
    Value::Object(map)
}

fn tool(tool: &ToolDefinition) -> Value {
    let mut function = Map::new();
    function.insert("name".to_owned(), json!(tool.name));
    if let Some(description) = &tool.description {
        function.insert("description".to_owned(), json!(description));
    }
    function.insert("parameters".to_owned(), tool.parameters.clone());
    if let Some(strict) = tool.strict {
        function.insert("strict".to_owned(), json!(strict));
    }
    json!({"type": "function", "function": function})
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Function(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

fn response_format(format: &ResponseFormat) -> Value {
    match format {
        ResponseFormat::JsonObject => json!({"type": "json_object"}),
        ResponseFormat::JsonSchema { name, schema, strict } => {
            json!({"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}})
        }
    }
}

/// Content as text; some servers answer in parts.
fn content_text(said: &Value) -> Option<String> {
    match said.get("content")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| text(part, "text")).collect();
            Some(texts.concat())
        }
        _ => None,
    }
}

fn tool_calls(said: &Value) -> Vec<ToolCall> {
    let calls = items(said, "tool_calls").iter().filter_map(|call| {
        let function = call.get("function")?;
        Some(ToolCall {
            id: some_text(call, "id").unwrap_or_default(),
            name: some_text(function, "name")?,
            arguments: function.get("arguments").map(as_json_text).unwrap_or_default(),
            signature: None,
        })
    });
    let legacy = said.get("function_call").and_then(|call| {
        let arguments = call.get("arguments").map(as_json_text).unwrap_or_default();
        Some(ToolCall { id: String::new(), name: some_text(call, "name")?, arguments, signature: None })
    });
    calls.chain(legacy).collect()
}

/// The common name of an ending, from the provider's word and from what was said.
fn finish(reply: &ChatReply) -> FinishReason {
    if reply.refusal.is_some() {
        return FinishReason::ContentFilter;
    }
    match reply.raw_finish.as_deref() {
        Some("length" | "max_tokens") => FinishReason::Length,
        Some("content_filter") => FinishReason::ContentFilter,
        Some("tool_calls" | "function_call") => FinishReason::ToolCall,
        // Some servers say `stop` after a tool call.
        Some("stop") | None if !reply.message.tool_calls.is_empty() => FinishReason::ToolCall,
        Some("error") => FinishReason::Error,
        _ => FinishReason::Stop,
    }
}

/// Token counts of chat, completion and embeddings.
pub(crate) fn usage(usage: &Value) -> Option<Usage> {
    let input = count(usage, "prompt_tokens")?;
    let detail = |of: &str, key: &str| usage.get(of).and_then(|details| count(details, key));
    Some(Usage {
        input,
        output: count(usage, "completion_tokens").unwrap_or(0),
        cache_read: detail("prompt_tokens_details", "cached_tokens"),
        cache_write: detail("prompt_tokens_details", "cache_write_tokens"),
        reasoning: detail("completion_tokens_details", "reasoning_tokens"),
    })
}

/// Puts chunks together.
#[derive(Debug, Default)]
struct ChunkReader {
    content: Option<String>,
    refusal: String,
    reasoning: String,
    calls: Vec<(u64, ToolCall)>,
    raw_finish: Option<String>,
    usage: Option<Usage>,
    model: Option<String>,
    id: Option<String>,
}

impl StreamReader for ChunkReader {
    fn take(&mut self, event: &Event, pass: &mut dyn FnMut(ChatChunk)) -> Step {
        if event.data.trim() == "[DONE]" {
            return Step::Done;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(&event.data) else { return Step::More };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Step::Failed(chunk);
        }
        self.model = self.model.take().or_else(|| some_text(&chunk, "model"));
        self.id = self.id.take().or_else(|| some_text(&chunk, "id"));
        if let Some(told) = chunk.get("usage").and_then(usage) {
            self.usage = Some(told);
        }
        // Azure sends chunks without choices, and choices without delta that only carry filter annotations.
        let first = items(&chunk, "choices").iter().find(|choice| count(choice, "index").unwrap_or(0) == 0);
        let Some(choice) = first else { return Step::More };
        if let Some(reason) = some_text(choice, "finish_reason") {
            self.raw_finish = Some(reason);
        }
        if let Some(delta) = choice.get("delta") {
            self.take_delta(delta, pass);
        }
        Step::More
    }

    fn reply(&mut self) -> ChatReply {
        let mut reply = ChatReply::text("", FinishReason::Stop);
        reply.message.tool_calls =
            std::mem::take(&mut self.calls).into_iter().map(|(_, call)| call).collect();
        let said_nothing = self.content.as_ref().is_none_or(String::is_empty);
        let has_other = !reply.message.tool_calls.is_empty() || !self.refusal.is_empty();
        // Streams begin with an empty text even where the whole answer has none.
        reply.message.content =
            self.content.take().filter(|_| !(said_nothing && has_other)).map(Content::Text);
        reply.refusal = Some(std::mem::take(&mut self.refusal)).filter(|text| !text.is_empty());
        reply.reasoning = Some(std::mem::take(&mut self.reasoning)).filter(|text| !text.is_empty());
        reply.raw_finish = self.raw_finish.take();
        reply.finish = finish(&reply);
        reply.usage = self.usage;
        reply.model = self.model.take();
        reply.id = self.id.take();
        reply
    }
}

impl ChunkReader {
    fn take_delta(&mut self, delta: &Value, pass: &mut dyn FnMut(ChatChunk)) {
        if let Some(piece) = content_text(delta) {
            self.content.get_or_insert_default().push_str(&piece);
            if !piece.is_empty() {
                pass(ChatChunk::Text { text: piece });
            }
        }
        if let Some(piece) = some_text(delta, "reasoning_content").or_else(|| some_text(delta, "reasoning")) {
            self.reasoning.push_str(&piece);
            pass(ChatChunk::Reasoning { text: piece });
        }
        if let Some(piece) = text(delta, "refusal") {
            self.refusal.push_str(piece);
        }
        for (place, call) in items(delta, "tool_calls").iter().enumerate() {
            let index = count(call, "index").unwrap_or(place as u64);
            let function = call.get("function").unwrap_or(&Value::Null);
            let open = self.call_at(index);
            if let Some(id) = some_text(call, "id") {
                open.id = id;
            }
            if let Some(name) = some_text(function, "name") {
                open.name = name;
            }
            open.arguments.push_str(&function.get("arguments").map(as_json_text).unwrap_or_default());
        }
        if let Some(function) = delta.get("function_call") {
            let open = self.call_at(0);
            open.name.push_str(text(function, "name").unwrap_or_default());
            open.arguments.push_str(text(function, "arguments").unwrap_or_default());
        }
    }

    fn call_at(&mut self, index: u64) -> &mut ToolCall {
        let at = match self.calls.iter().position(|(known, _)| *known == index) {
            Some(at) => at,
            None => {
                let empty = ToolCall {
                    id: String::new(),
                    name: String::new(),
                    arguments: String::new(),
                    signature: None,
                };
                self.calls.push((index, empty));
                self.calls.len() - 1
            }
        };
        &mut self.calls[at].1
    }
}
