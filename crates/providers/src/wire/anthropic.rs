//! Anthropic's Messages, in both API versions.

use flowbench_core::chat::{
    ChatChunk, ChatReply, ChatRequest, Content, ContentPart, FinishReason, Message, ResponseFormat, Role,
    ToolCall, ToolChoice, Usage,
};
use flowbench_core::ports::ModelError;
use serde_json::{Map, Value, json};

use super::openai::extra;
use super::parts::{arguments, drop_set, inline_data, messages, parts, split_instructions};
use super::{Step, StreamReader, Wire, Written};
use crate::json::{count, some_text, text};
use crate::stream::Event;

/// Most tokens where the flow does not say; the interface wants a number, and this fits every model.
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// Messages of one model.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    pub model: String,
    /// The newer version refuses sampling parameters.
    pub takes_sampling: bool,
}

impl Wire for Messages {
    fn write(&self, request: &ChatRequest, is_streamed: bool) -> Result<Written, ModelError> {
        let messages = messages(&request.input, &self.model)?;
        let parameters = &request.parameters;
        let mut dropped = Vec::new();
        let mut body = Map::new();
        let (system, talk) = split_instructions(messages);
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        put("model", Some(json!(self.model)));
        put("max_tokens", Some(json!(parameters.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS))));
        put("system", system.map(Value::from));
        put("messages", Some(turns(&talk)));
        if self.takes_sampling {
            put("temperature", parameters.temperature.map(Value::from));
            put("top_p", parameters.top_p.map(Value::from));
            put("top_k", parameters.top_k.map(Value::from));
        } else {
            drop_set(
                parameters,
                &["temperature", "top_p", "top_k"],
                "this API version refuses it",
                &mut dropped,
            );
        }
        put("stop_sequences", (!parameters.stop.is_empty()).then(|| json!(parameters.stop)));
        put(
            "metadata",
            parameters.user.as_ref().filter(|user| !user.is_empty()).map(|user| json!({"user_id": user})),
        );
        if !request.tools.is_empty() {
            let tools = request.tools.iter().map(|tool| {
                let mut map = Map::new();
                map.insert("name".to_owned(), json!(tool.name));
                if let Some(description) = &tool.description {
                    map.insert("description".to_owned(), json!(description));
                }
                map.insert("input_schema".to_owned(), tool.parameters.clone());
                Value::Object(map)
            });
            put("tools", Some(tools.collect()));
            put("tool_choice", request.tool_choice.as_ref().map(tool_choice));
        }
        match &request.response_format {
            Some(ResponseFormat::JsonSchema { schema, .. }) => {
                put("output_config", Some(json!({"format": {"type": "json_schema", "schema": schema}})));
            }
            Some(ResponseFormat::JsonObject) => {
                dropped.push(
                    "`response_format`: JSON without a schema cannot be asked for; give a schema".to_owned(),
                );
            }
            None => {}
        }
        put("stream", is_streamed.then(|| json!(true)));
        let unknown =
            ["presence_penalty", "frequency_penalty", "seed", "logit_bias", "n", "min_p", "repeat_penalty"];
        drop_set(parameters, &unknown, "Anthropic has none", &mut dropped);
        extra(&mut body, parameters, &mut dropped);
        Ok(Written { path: "/v1/messages".to_owned(), body: Value::Object(body), dropped })
    }

    fn read(&self, body: &Value) -> Result<ChatReply, &'static str> {
        let blocks = body.get("content").and_then(Value::as_array).ok_or("has no `content`")?;
        let mut building = Building::default();
        for block in blocks {
            building.add_block(block);
        }
        building.take_message(body);
        building.stop(body);
        building.add_usage(body.get("usage"));
        Ok(building.reply())
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(Reader::default())
    }
}

/// Messages in turns: results of tools go back inside a user message, neighbours of one role are one message.
fn turns(talk: &[&Message]) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in talk {
        let role = if message.role == Role::Assistant { "assistant" } else { "user" };
        let blocks = blocks(message);
        if blocks.is_empty() {
            continue;
        }
        match turns.last_mut() {
            Some((last, open)) if *last == role => open.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, blocks)| json!({"role": role, "content": blocks})).collect()
}

fn blocks(message: &Message) -> Vec<Value> {
    if let (Role::Tool, Some(id)) = (message.role, &message.tool_call_id) {
        return vec![json!({"type": "tool_result", "tool_use_id": id, "content": message.content_text()})];
    }
    // Thinking that led to a call must stand before it, unchanged.
    let thinking = message.tool_calls.iter().filter_map(|call| call.signature.as_deref());
    let thinking = thinking.flat_map(|kept| serde_json::from_str::<Vec<Value>>(kept).unwrap_or_default());
    let said = parts(message).into_iter().map(|part| match part {
        ContentPart::Text { text } => json!({"type": "text", "text": text}),
        ContentPart::ImageUrl { image_url } => {
            let source = match inline_data(&image_url.url) {
                Some((kind, data)) => json!({"type": "base64", "media_type": kind, "data": data}),
                None => json!({"type": "url", "url": image_url.url}),
            };
            json!({"type": "image", "source": source})
        }
    });
    let calls = message.tool_calls.iter().map(|call| {
        json!({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments(&call.arguments)})
    });
    thinking.chain(said).chain(calls).collect()
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::None => json!({"type": "none"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Function(name) => json!({"type": "tool", "name": name}),
    }
}

/// An answer in the making, whole or streamed.
#[derive(Debug, Default)]
struct Building {
    text: Option<String>,
    reasoning: String,
    thinking: Vec<Value>,
    calls: Vec<ToolCall>,
    stop_reason: Option<String>,
    explanation: Option<String>,
    counts: Counts,
    model: Option<String>,
    id: Option<String>,
}

/// Anthropic's own counts; each is kept until a newer one replaces it.
#[derive(Debug, Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
}

impl Building {
    fn add_block(&mut self, block: &Value) {
        match text(block, "type") {
            Some("text") => {
                self.text.get_or_insert_default().push_str(text(block, "text").unwrap_or_default())
            }
            Some("thinking") => {
                self.reasoning.push_str(text(block, "thinking").unwrap_or_default());
                self.thinking.push(block.clone());
            }
            Some("redacted_thinking") => self.thinking.push(block.clone()),
            Some("tool_use") => self.calls.push(ToolCall {
                id: some_text(block, "id").unwrap_or_default(),
                name: some_text(block, "name").unwrap_or_default(),
                arguments: block.get("input").map_or_else(|| "{}".to_owned(), Value::to_string),
                signature: None,
            }),
            _ => {}
        }
    }

    fn take_message(&mut self, message: &Value) {
        self.model = some_text(message, "model").or(self.model.take());
        self.id = some_text(message, "id").or(self.id.take());
    }

    fn stop(&mut self, holder: &Value) {
        self.stop_reason = some_text(holder, "stop_reason").or(self.stop_reason.take());
        let told = holder.get("stop_details");
        let told = told.and_then(|it| some_text(it, "explanation").or_else(|| some_text(it, "category")));
        self.explanation = told.or(self.explanation.take());
    }

    fn add_usage(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage else { return };
        let counts = &mut self.counts;
        counts.input = count(usage, "input_tokens").or(counts.input);
        counts.output = count(usage, "output_tokens").or(counts.output);
        counts.cache_read = count(usage, "cache_read_input_tokens").or(counts.cache_read);
        counts.cache_write = count(usage, "cache_creation_input_tokens").or(counts.cache_write);
        let thought =
            usage.get("output_tokens_details").and_then(|details| count(details, "thinking_tokens"));
        counts.reasoning = thought.or(counts.reasoning);
    }

    fn reply(self) -> ChatReply {
        let mut reply = ChatReply::text("", FinishReason::Stop);
        reply.message.content = self.text.map(Content::Text);
        reply.message.tool_calls = self.calls;
        if let (Some(first), false) = (reply.message.tool_calls.first_mut(), self.thinking.is_empty()) {
            first.signature = Some(Value::Array(self.thinking).to_string());
        }
        reply.finish = match self.stop_reason.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
            Some("tool_use") => FinishReason::ToolCall,
            Some("refusal") => FinishReason::ContentFilter,
            _ => FinishReason::Stop,
        };
        if reply.finish == FinishReason::ContentFilter {
            reply.refusal = self.explanation.or_else(|| Some("refused".to_owned()));
        }
        reply.raw_finish = self.stop_reason;
        reply.reasoning = Some(self.reasoning).filter(|text| !text.is_empty());
        reply.usage = self.counts.input.map(|input| Usage {
            // The provider counts what went through its cache apart.
            input: input + self.counts.cache_read.unwrap_or(0) + self.counts.cache_write.unwrap_or(0),
            output: self.counts.output.unwrap_or(0),
            cache_read: self.counts.cache_read,
            cache_write: self.counts.cache_write,
            reasoning: self.counts.reasoning,
        });
        reply.model = self.model;
        reply.id = self.id;
        reply
    }
}

/// Puts events together, block by block.
#[derive(Debug, Default)]
struct Reader {
    building: Building,
    open: Option<Value>,
    arguments: String,
}

impl StreamReader for Reader {
    fn take(&mut self, event: &Event, pass: &mut dyn FnMut(ChatChunk)) -> Step {
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else { return Step::More };
        let kind = text(&data, "type").unwrap_or(&event.name);
        match kind {
            "message_start" => {
                if let Some(message) = data.get("message") {
                    self.building.take_message(message);
                    self.building.add_usage(message.get("usage"));
                }
            }
            "content_block_start" => {
                self.close_block();
                self.open = data.get("content_block").cloned();
            }
            "content_block_delta" => {
                if let Some(delta) = data.get("delta") {
                    self.take_delta(delta, pass);
                }
            }
            "content_block_stop" => self.close_block(),
            "message_delta" => {
                if let Some(delta) = data.get("delta") {
                    self.building.stop(delta);
                }
                self.building.add_usage(data.get("usage"));
            }
            "message_stop" => return Step::Done,
            "error" => return Step::Failed(data),
            // `ping` and what may come.
            _ => {}
        }
        Step::More
    }

    fn reply(&mut self) -> ChatReply {
        self.close_block();
        std::mem::take(&mut self.building).reply()
    }
}

impl Reader {
    fn take_delta(&mut self, delta: &Value, pass: &mut dyn FnMut(ChatChunk)) {
        let Some(open) = &mut self.open else { return };
        match text(delta, "type") {
            Some("text_delta") => {
                if let Some(piece) = append(open, "text", delta, "text") {
                    pass(ChatChunk::Text { text: piece });
                }
            }
            Some("thinking_delta") => {
                if let Some(piece) = append(open, "thinking", delta, "thinking") {
                    pass(ChatChunk::Reasoning { text: piece });
                }
            }
            Some("signature_delta") => drop(append(open, "signature", delta, "signature")),
            Some("input_json_delta") => {
                self.arguments.push_str(text(delta, "partial_json").unwrap_or_default())
            }
            _ => {}
        }
    }

    fn close_block(&mut self) {
        let arguments = std::mem::take(&mut self.arguments);
        let Some(block) = self.open.take() else { return };
        self.building.add_block(&block);
        // The start of a call holds an empty input; no pieces at all mean just that.
        if let (Some("tool_use"), false, Some(call)) =
            (text(&block, "type"), arguments.is_empty(), self.building.calls.last_mut())
        {
            call.arguments = arguments;
        }
    }
}

/// Appends a piece to a text of the open block and gives it back, if there is one.
fn append(open: &mut Value, field: &str, delta: &Value, key: &str) -> Option<String> {
    let piece = some_text(delta, key)?;
    match open.as_object_mut()?.entry(field).or_insert_with(|| json!("")) {
        Value::String(so_far) => so_far.push_str(&piece),
        other => *other = json!(piece),
    }
    Some(piece)
}
