//! Ollama's own protocol: lines of JSON, and context lengths that can be set.

use flowbench_core::chat::{
    ChatChunk, ChatReply, ChatRequest, Content, ContentPart, FinishReason, Message, ModelInput,
    ResponseFormat, Role, ToolCall, ToolChoice, Usage,
};
use flowbench_core::ports::{ModelError, ModelErrorKind};
use serde_json::{Map, Value, json};

use super::parts::{arguments, drop_set, inline_data, parts, tool_name};
use super::{Step, StreamReader, Wire, Written};
use crate::json::{count, items, some_text, text};
use crate::stream::{Event, Framing};

/// Extra parameters that stand beside `options`, not in it.
const TOP_LEVEL: [&str; 6] = ["keep_alive", "think", "logprobs", "top_logprobs", "truncate", "shift"];

/// Chat and text of one model.
#[derive(Clone, Debug)]
pub(crate) struct OllamaChat {
    pub model: String,
    /// Context length to ask for. The server's own default is small, and prompts are cut silently.
    pub context_length: u64,
}

impl Wire for OllamaChat {
    fn write(&self, request: &ChatRequest, is_streamed: bool) -> Result<Written, ModelError> {
        let mut dropped = Vec::new();
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(self.model));
        let path = match &request.input {
            ModelInput::Messages(messages) => {
                let refs: Vec<&Message> = messages.iter().collect();
                let written: Result<Value, ModelError> =
                    refs.iter().enumerate().map(|(at, it)| message(it, &refs[..at], &self.model)).collect();
                body.insert("messages".to_owned(), written?);
                "/api/chat"
            }
            ModelInput::Text(prompt) => {
                body.insert("prompt".to_owned(), json!(prompt));
                // No template: the model goes on from just this text.
                body.insert("raw".to_owned(), json!(true));
                "/api/generate"
            }
        };
        self.tools(request, &mut body, &mut dropped);
        match &request.response_format {
            Some(ResponseFormat::JsonObject) => drop(body.insert("format".to_owned(), json!("json"))),
            Some(ResponseFormat::JsonSchema { schema, .. }) => {
                drop(body.insert("format".to_owned(), schema.clone()))
            }
            None => {}
        }
        let mut options = options(request);
        options.insert("num_ctx".to_owned(), json!(self.context_length));
        for (key, value) in &request.parameters.extra {
            match TOP_LEVEL.contains(&key.as_str()) {
                true => drop(body.insert(key.clone(), value.clone())),
                false => drop(options.insert(key.clone(), value.clone())),
            }
        }
        body.insert("options".to_owned(), Value::Object(options));
        // Streaming is the default there.
        body.insert("stream".to_owned(), json!(is_streamed));
        drop_set(&request.parameters, &["logit_bias", "user", "n"], "Ollama has none", &mut dropped);
        Ok(Written { path: path.to_owned(), body: Value::Object(body), dropped })
    }

    fn read(&self, body: &Value) -> Result<ChatReply, &'static str> {
        if body.get("message").is_none() && body.get("response").is_none() {
            return Err("has no `message`");
        }
        let mut building = Building::default();
        building.add(body, &mut |_| {});
        Ok(building.reply())
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(Building::default())
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }
}

impl OllamaChat {
    fn tools(&self, request: &ChatRequest, body: &mut Map<String, Value>, dropped: &mut Vec<String>) {
        match &request.tool_choice {
            Some(ToolChoice::None) => return,
            Some(ToolChoice::Required | ToolChoice::Function(_)) => {
                dropped.push("`tool_choice`: Ollama leaves the choice to the model".to_owned());
            }
            Some(ToolChoice::Auto) | None => {}
        }
        if !request.tools.is_empty() {
            let tools = request.tools.iter().map(|tool| {
                json!({"type": "function", "function": {"name": tool.name,
                    "description": tool.description.as_deref().unwrap_or_default(), "parameters": tool.parameters}})
            });
            body.insert("tools".to_owned(), tools.collect());
        }
    }
}

fn options(request: &ChatRequest) -> Map<String, Value> {
    let parameters = &request.parameters;
    let pairs = [
        ("temperature", parameters.temperature.map(Value::from)),
        ("top_p", parameters.top_p.map(Value::from)),
        ("top_k", parameters.top_k.map(Value::from)),
        ("min_p", parameters.min_p.map(Value::from)),
        ("seed", parameters.seed.map(Value::from)),
        ("num_predict", parameters.max_tokens.map(Value::from)),
        ("stop", (!parameters.stop.is_empty()).then(|| json!(parameters.stop))),
        ("presence_penalty", parameters.presence_penalty.map(Value::from)),
        ("frequency_penalty", parameters.frequency_penalty.map(Value::from)),
        ("repeat_penalty", parameters.repeat_penalty.map(Value::from)),
    ];
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn message(message: &Message, earlier: &[&Message], model: &str) -> Result<Value, ModelError> {
    let mut images = Vec::new();
    for part in parts(message) {
        if let ContentPart::ImageUrl { image_url } = part {
            let Some((_, data)) = inline_data(&image_url.url) else {
                let told = format!("model `{model}` of Ollama takes images as data, not by address");
                return Err(ModelError::new(ModelErrorKind::InvalidRequest, told)
                    .with_hint("give the image as a file or as a `data:` address"));
            };
            images.push(json!(data));
        }
    }
    let role = match message.role {
        Role::Developer => "system",
        Role::Function => "tool",
        role => role.as_str(),
    };
    let mut map = Map::new();
    map.insert("role".to_owned(), json!(role));
    map.insert("content".to_owned(), json!(message.content_text()));
    if !images.is_empty() {
        map.insert("images".to_owned(), Value::Array(images));
    }
    if !message.tool_calls.is_empty() {
        let calls = message
            .tool_calls
            .iter()
            .map(|call| json!({"function": {"name": call.name, "arguments": arguments(&call.arguments)}}));
        map.insert("tool_calls".to_owned(), calls.collect());
    }
    if role == "tool" {
        map.insert("tool_name".to_owned(), json!(tool_name(message, earlier)));
    }
    Ok(Value::Object(map))
}

/// An answer in the making; a whole answer is one line.
#[derive(Debug, Default)]
struct Building {
    text: String,
    reasoning: String,
    calls: Vec<ToolCall>,
    raw_finish: Option<String>,
    usage: Option<Usage>,
    model: Option<String>,
}

impl Building {
    fn add(&mut self, line: &Value, pass: &mut dyn FnMut(ChatChunk)) {
        self.model = some_text(line, "model").or(self.model.take());
        self.raw_finish = some_text(line, "done_reason").or(self.raw_finish.take());
        let said = line.get("message").unwrap_or(line);
        if let Some(piece) = some_text(said, "content").or_else(|| some_text(said, "response")) {
            self.text.push_str(&piece);
            pass(ChatChunk::Text { text: piece });
        }
        if let Some(piece) = some_text(said, "thinking") {
            self.reasoning.push_str(&piece);
            pass(ChatChunk::Reasoning { text: piece });
        }
        for call in items(said, "tool_calls") {
            let function = call.get("function").unwrap_or(call);
            let number = self.calls.len() + 1;
            self.calls.push(ToolCall {
                id: some_text(call, "id").unwrap_or_else(|| format!("call_{number}")),
                name: text(function, "name").unwrap_or_default().to_owned(),
                arguments: function
                    .get("arguments")
                    .map_or_else(|| "{}".to_owned(), crate::json::as_json_text),
                signature: None,
            });
        }
        if let Some(output) = count(line, "eval_count") {
            // A prompt that was wholly in the cache is not counted.
            let input = count(line, "prompt_eval_count").unwrap_or(0);
            self.usage = Some(Usage { input, output, ..Usage::default() });
        }
    }
}

impl StreamReader for Building {
    fn take(&mut self, event: &Event, pass: &mut dyn FnMut(ChatChunk)) -> Step {
        let Ok(line) = serde_json::from_str::<Value>(&event.data) else { return Step::More };
        if line.get("error").is_some() {
            return Step::Failed(line);
        }
        self.add(&line, pass);
        match line.get("done").and_then(Value::as_bool) {
            Some(true) => Step::Done,
            _ => Step::More,
        }
    }

    fn reply(&mut self) -> ChatReply {
        let building = std::mem::take(self);
        let finish = match building.raw_finish.as_deref() {
            Some("length") => FinishReason::Length,
            _ if !building.calls.is_empty() => FinishReason::ToolCall,
            _ => FinishReason::Stop,
        };
        let mut reply = ChatReply::text("", finish);
        let is_call_only = building.text.is_empty() && !building.calls.is_empty();
        reply.message.content = (!is_call_only).then_some(Content::Text(building.text));
        reply.message.tool_calls = building.calls;
        reply.reasoning = Some(building.reasoning).filter(|text| !text.is_empty());
        reply.raw_finish = building.raw_finish;
        reply.usage = building.usage;
        reply.model = building.model;
        reply
    }
}
