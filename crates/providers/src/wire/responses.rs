//! OpenAI's Responses, for connections that say `api: responses`.

use flowbench_core::chat::{
    ChatChunk, ChatReply, ChatRequest, Content, ContentPart, FinishReason, Message, ResponseFormat, Role,
    ToolCall, ToolChoice, Usage,
};
use flowbench_core::ports::ModelError;
use serde_json::{Map, Value, json};

use super::openai::extra;
use super::parts::{drop_set, messages, parts};
use super::{Step, StreamReader, Wire, Written};
use crate::json::{as_json_text, count, items, some_text, text};
use crate::stream::Event;

/// Responses of one model.
#[derive(Clone, Debug)]
pub(crate) struct Responses {
    pub path: String,
    pub model: String,
}

impl Wire for Responses {
    fn write(&self, request: &ChatRequest, is_streamed: bool) -> Result<Written, ModelError> {
        let messages = messages(&request.input, &self.model)?;
        let parameters = &request.parameters;
        let mut dropped = Vec::new();
        let mut body = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        put("model", Some(json!(self.model)));
        put("input", Some(messages.iter().flat_map(input_items).collect()));
        // As with chat completions, nothing stays with the provider unless the flow asks for it.
        put("store", Some(json!(false)));
        put("temperature", parameters.temperature.map(Value::from));
        put("top_p", parameters.top_p.map(Value::from));
        put("max_output_tokens", parameters.max_tokens.map(Value::from));
        put("user", parameters.user.clone().map(Value::from));
        if !request.tools.is_empty() {
            let tools = request.tools.iter().map(|tool| {
                json!({"type": "function", "name": tool.name, "description": tool.description,
                    "parameters": tool.parameters, "strict": tool.strict.unwrap_or(false)})
            });
            put("tools", Some(tools.collect()));
            put("tool_choice", request.tool_choice.as_ref().map(tool_choice));
        }
        put("text", request.response_format.as_ref().map(|format| json!({"format": text_format(format)})));
        put("stream", is_streamed.then(|| json!(true)));
        let unknown = [
            "stop",
            "presence_penalty",
            "frequency_penalty",
            "seed",
            "logit_bias",
            "n",
            "top_k",
            "min_p",
            "repeat_penalty",
        ];
        drop_set(parameters, &unknown, "the Responses interface has none", &mut dropped);
        extra(&mut body, parameters, &mut dropped);
        Ok(Written { path: self.path.clone(), body: Value::Object(body), dropped })
    }

    fn read(&self, body: &Value) -> Result<ChatReply, &'static str> {
        if body.get("output").and_then(Value::as_array).is_none() {
            return Err("has no `output`");
        }
        Ok(read_response(body))
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(Reader::default())
    }
}

/// A message as items: calls and their results are items of their own.
fn input_items(message: &Message) -> Vec<Value> {
    if matches!(message.role, Role::Tool | Role::Function) {
        let id = message.tool_call_id.clone().or_else(|| message.name.clone()).unwrap_or_default();
        return vec![
            json!({"type": "function_call_output", "call_id": id, "output": message.content_text()}),
        ];
    }
    let mut found = Vec::new();
    let has_images = matches!(&message.content, Some(Content::Parts(_)));
    if has_images && message.role != Role::Assistant {
        let content: Value = parts(message).iter().map(input_part).collect();
        found.push(json!({"role": message.role.as_str(), "content": content}));
    } else if message.content.is_some() {
        found.push(json!({"role": message.role.as_str(), "content": message.content_text()}));
    }
    found.extend(message.tool_calls.iter().map(|call| {
        json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments})
    }));
    found
}

fn input_part(part: &ContentPart) -> Value {
    match part {
        ContentPart::Text { text } => json!({"type": "input_text", "text": text}),
        ContentPart::ImageUrl { image_url } => {
            let detail = image_url.detail.as_deref().unwrap_or("auto");
            json!({"type": "input_image", "image_url": image_url.url, "detail": detail})
        }
    }
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Function(name) => json!({"type": "function", "name": name}),
    }
}

fn text_format(format: &ResponseFormat) -> Value {
    match format {
        ResponseFormat::JsonObject => json!({"type": "json_object"}),
        ResponseFormat::JsonSchema { name, schema, strict } => {
            json!({"type": "json_schema", "name": name, "schema": schema, "strict": strict})
        }
    }
}

fn read_response(body: &Value) -> ChatReply {
    let mut reply = ChatReply::text("", FinishReason::Stop);
    let (mut said, mut refusal, mut reasoning) = (None::<String>, String::new(), String::new());
    for item in items(body, "output") {
        match text(item, "type") {
            Some("message") => {
                for part in items(item, "content") {
                    if let Some(piece) = text(part, "text") {
                        said.get_or_insert_default().push_str(piece);
                    }
                    refusal.push_str(text(part, "refusal").unwrap_or_default());
                }
            }
            Some("function_call") => reply.message.tool_calls.push(ToolCall {
                id: some_text(item, "call_id").or_else(|| some_text(item, "id")).unwrap_or_default(),
                name: some_text(item, "name").unwrap_or_default(),
                arguments: item.get("arguments").map(as_json_text).unwrap_or_default(),
                signature: None,
            }),
            Some("reasoning") => {
                let pieces: Vec<&str> =
                    items(item, "summary").iter().filter_map(|part| text(part, "text")).collect();
                reasoning.push_str(&pieces.join("\n"));
            }
            _ => {}
        }
    }
    reply.message.content = said.map(Content::Text);
    let incomplete = body.get("incomplete_details").and_then(|details| some_text(details, "reason"));
    reply.finish = match incomplete.as_deref() {
        Some("max_output_tokens") => FinishReason::Length,
        Some("content_filter") => FinishReason::ContentFilter,
        _ if !refusal.is_empty() => FinishReason::ContentFilter,
        _ if !reply.message.tool_calls.is_empty() => FinishReason::ToolCall,
        _ => FinishReason::Stop,
    };
    reply.raw_finish = incomplete.or_else(|| some_text(body, "status"));
    reply.refusal = Some(refusal).filter(|text| !text.is_empty());
    reply.reasoning = Some(reasoning).filter(|text| !text.is_empty());
    reply.usage = body.get("usage").and_then(usage);
    reply.model = some_text(body, "model");
    reply.id = some_text(body, "id");
    reply
}

fn usage(usage: &Value) -> Option<Usage> {
    let detail = |of: &str, key: &str| usage.get(of).and_then(|details| count(details, key));
    Some(Usage {
        input: count(usage, "input_tokens")?,
        output: count(usage, "output_tokens").unwrap_or(0),
        cache_read: detail("input_tokens_details", "cached_tokens"),
        cache_write: detail("input_tokens_details", "cache_write_tokens"),
        reasoning: detail("output_tokens_details", "reasoning_tokens"),
    })
}

/// The last event holds the whole response; the pieces only matter until then.
#[derive(Debug, Default)]
struct Reader {
    text: String,
    whole: Option<ChatReply>,
}

impl StreamReader for Reader {
    fn take(&mut self, event: &Event, pass: &mut dyn FnMut(ChatChunk)) -> Step {
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else { return Step::More };
        let kind = text(&data, "type").unwrap_or(&event.name);
        match kind {
            "response.output_text.delta" => {
                if let Some(piece) = some_text(&data, "delta") {
                    self.text.push_str(&piece);
                    pass(ChatChunk::Text { text: piece });
                }
            }
            "response.reasoning_summary_text.delta" => {
                if let Some(piece) = some_text(&data, "delta") {
                    pass(ChatChunk::Reasoning { text: piece });
                }
            }
            "response.completed" | "response.incomplete" => {
                self.whole = data.get("response").map(read_response);
                return Step::Done;
            }
            "response.failed" => return Step::Failed(data.get("response").cloned().unwrap_or(data)),
            "error" => return Step::Failed(data),
            _ => {}
        }
        Step::More
    }

    fn reply(&mut self) -> ChatReply {
        let text = std::mem::take(&mut self.text);
        let mut reply = self.whole.take().unwrap_or_else(|| ChatReply::text("", FinishReason::Stop));
        if reply.message.content_text().is_empty() && !text.is_empty() {
            reply.message.content = Some(Content::Text(text));
        }
        reply
    }
}
