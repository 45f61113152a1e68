//! Gemini's `generateContent`.

use flowbench_core::chat::{
    ChatChunk, ChatReply, ChatRequest, Content, ContentPart, FinishReason, Message, ResponseFormat, Role,
    ToolCall, ToolChoice, Usage,
};
use flowbench_core::ports::ModelError;
use serde_json::{Map, Value, json};

use super::openai::extra;
use super::parts::{
    arguments, drop_set, image_type, inline_data, messages, parts, split_instructions, tool_name,
};
use super::{Step, StreamReader, Wire, Written};
use crate::json::{count, items, some_text, text};
use crate::stream::Event;

/// Content of one model.
#[derive(Clone, Debug)]
pub(crate) struct GenerateContent {
    /// Path of the model: `/v1/models/NAME`.
    pub path: String,
    pub model: String,
}

impl Wire for GenerateContent {
    fn write(&self, request: &ChatRequest, is_streamed: bool) -> Result<Written, ModelError> {
        let messages = messages(&request.input, &self.model)?;
        let mut dropped = Vec::new();
        let (system, talk) = split_instructions(messages);
        let mut body = Map::new();
        body.insert("contents".to_owned(), contents(&talk));
        if let Some(system) = system {
            body.insert("systemInstruction".to_owned(), json!({"parts": [{"text": system}]}));
        }
        let config = generation_config(request);
        if !config.is_empty() {
            body.insert("generationConfig".to_owned(), Value::Object(config));
        }
        if !request.tools.is_empty() {
            let declarations: Value = request
                .tools
                .iter()
                .map(|tool| {
                    json!({"name": tool.name, "description": tool.description.as_deref().unwrap_or_default(),
                        "parametersJsonSchema": tool.parameters})
                })
                .collect();
            body.insert("tools".to_owned(), json!([{"functionDeclarations": declarations}]));
            if let Some(choice) = &request.tool_choice {
                body.insert("toolConfig".to_owned(), json!({"functionCallingConfig": calling(choice)}));
            }
        }
        drop_set(
            &request.parameters,
            &["min_p", "repeat_penalty", "logit_bias", "user", "n"],
            "Gemini has none",
            &mut dropped,
        );
        extra(&mut body, &request.parameters, &mut dropped);
        // Without `alt=sse` the stream is one JSON list in pieces.
        let method = if is_streamed { ":streamGenerateContent?alt=sse" } else { ":generateContent" };
        Ok(Written { path: format!("{}{method}", self.path), body: Value::Object(body), dropped })
    }

    fn read(&self, body: &Value) -> Result<ChatReply, &'static str> {
        let mut building = Building::default();
        building.add(body, &mut |_| {});
        match building.has_ended() {
            true => Ok(building.reply()),
            false => Err("has no `candidates`"),
        }
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(Building::default())
    }
}

fn generation_config(request: &ChatRequest) -> Map<String, Value> {
    let parameters = &request.parameters;
    let mut config = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    };
    put("temperature", parameters.temperature.map(Value::from));
    put("topP", parameters.top_p.map(Value::from));
    put("topK", parameters.top_k.map(Value::from));
    put("maxOutputTokens", parameters.max_tokens.map(Value::from));
    put("stopSequences", (!parameters.stop.is_empty()).then(|| json!(parameters.stop)));
    put("seed", parameters.seed.map(Value::from));
    put("presencePenalty", parameters.presence_penalty.map(Value::from));
    put("frequencyPenalty", parameters.frequency_penalty.map(Value::from));
    if let Some(format) = &request.response_format {
        put("responseMimeType", Some(json!("application/json")));
        if let ResponseFormat::JsonSchema { schema, .. } = format {
            put("responseJsonSchema", Some(schema.clone()));
        }
    }
    config
}

fn calling(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Function(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    }
}

/// Turns of user and model; neighbours of one role are one turn.
fn contents(talk: &[&Message]) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for (at, message) in talk.iter().enumerate() {
        let role = if message.role == Role::Assistant { "model" } else { "user" };
        let parts = match message.role {
            Role::Tool | Role::Function => vec![function_response(message, &talk[..at])],
            _ => message_parts(message),
        };
        match turns.last_mut() {
            Some((last, open)) if *last == role => open.extend(parts),
            _ if parts.is_empty() => {}
            _ => turns.push((role, parts)),
        }
    }
    turns.into_iter().map(|(role, parts)| json!({"role": role, "parts": parts})).collect()
}

fn function_response(message: &Message, earlier: &[&Message]) -> Value {
    let result = message.content_text();
    let response = match serde_json::from_str::<Value>(&result) {
        Ok(object @ Value::Object(_)) => object,
        _ => json!({"result": result}),
    };
    json!({"functionResponse": {"name": tool_name(message, earlier), "response": response}})
}

fn message_parts(message: &Message) -> Vec<Value> {
    let said = parts(message).into_iter().map(|part| match part {
        ContentPart::Text { text } => json!({"text": text}),
        ContentPart::ImageUrl { image_url } => match inline_data(&image_url.url) {
            Some((kind, data)) => json!({"inlineData": {"mimeType": kind, "data": data}}),
            None => json!({"fileData": {"mimeType": image_type(&image_url.url), "fileUri": image_url.url}}),
        },
    });
    let calls = message.tool_calls.iter().map(|call| {
        let mut part = json!({"functionCall": {"name": call.name, "args": arguments(&call.arguments)}});
        if let Some(signature) = &call.signature {
            part["thoughtSignature"] = json!(signature);
        }
        part
    });
    said.chain(calls).collect()
}

/// An answer in the making: a whole answer is one event, a stream several, their parts appended.
#[derive(Debug, Default)]
struct Building {
    text: Option<String>,
    reasoning: String,
    calls: Vec<ToolCall>,
    raw_finish: Option<String>,
    finish_message: Option<String>,
    block: Option<String>,
    usage: Option<Usage>,
    model: Option<String>,
    id: Option<String>,
}

impl Building {
    fn add(&mut self, body: &Value, pass: &mut dyn FnMut(ChatChunk)) {
        self.model = some_text(body, "modelVersion").or(self.model.take());
        self.id = some_text(body, "responseId").or(self.id.take());
        // The last one counts.
        self.usage = body.get("usageMetadata").and_then(usage).or(self.usage.take());
        let feedback = body.get("promptFeedback");
        self.block = feedback.and_then(|feedback| some_text(feedback, "blockReason")).or(self.block.take());
        let Some(candidate) = items(body, "candidates").first() else { return };
        self.raw_finish = some_text(candidate, "finishReason").or(self.raw_finish.take());
        self.finish_message = some_text(candidate, "finishMessage").or(self.finish_message.take());
        let Some(content) = candidate.get("content") else { return };
        for part in items(content, "parts") {
            if let Some(call) = part.get("functionCall") {
                let number = self.calls.len() + 1;
                self.calls.push(ToolCall {
                    id: some_text(call, "id").unwrap_or_else(|| format!("call_{number}")),
                    name: some_text(call, "name").unwrap_or_default(),
                    arguments: call.get("args").map_or_else(|| "{}".to_owned(), Value::to_string),
                    signature: some_text(part, "thoughtSignature"),
                });
            } else if let Some(piece) = text(part, "text") {
                if part.get("thought").and_then(Value::as_bool) == Some(true) {
                    self.reasoning.push_str(piece);
                    pass(ChatChunk::Reasoning { text: piece.to_owned() });
                } else {
                    self.text.get_or_insert_default().push_str(piece);
                    if !piece.is_empty() {
                        pass(ChatChunk::Text { text: piece.to_owned() });
                    }
                }
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.raw_finish.is_some() || self.block.is_some()
    }

    fn finish(&self) -> FinishReason {
        if self.block.is_some() {
            return FinishReason::ContentFilter;
        }
        match self.raw_finish.as_deref() {
            Some("STOP") | None if !self.calls.is_empty() => FinishReason::ToolCall,
            Some("STOP" | "FINISH_REASON_UNSPECIFIED") | None => FinishReason::Stop,
            Some("MAX_TOKENS") => FinishReason::Length,
            Some("SAFETY" | "PROHIBITED_CONTENT" | "BLOCKLIST" | "SPII" | "RECITATION") => {
                FinishReason::ContentFilter
            }
            Some(word) if word.starts_with("IMAGE_") => FinishReason::ContentFilter,
            Some(_) => FinishReason::Error,
        }
    }
}

impl StreamReader for Building {
    fn take(&mut self, event: &Event, pass: &mut dyn FnMut(ChatChunk)) -> Step {
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else { return Step::More };
        if data.get("error").is_some() {
            return Step::Failed(data);
        }
        self.add(&data, pass);
        Step::More
    }

    fn is_whole_at_end(&self) -> bool {
        self.has_ended()
    }

    fn reply(&mut self) -> ChatReply {
        let building = std::mem::take(self);
        let mut reply = ChatReply::text("", building.finish());
        reply.message.content = building.text.map(Content::Text);
        reply.message.tool_calls = building.calls;
        if let Some(block) = &building.block {
            reply.refusal = Some(format!("the prompt was blocked: {block}"));
        } else if reply.finish == FinishReason::ContentFilter {
            reply.refusal = building.finish_message;
        }
        reply.raw_finish = building.raw_finish.or(building.block);
        reply.reasoning = Some(building.reasoning).filter(|text| !text.is_empty());
        reply.usage = building.usage;
        reply.model = building.model;
        reply.id = building.id;
        reply
    }
}

fn usage(usage: &Value) -> Option<Usage> {
    let thoughts = count(usage, "thoughtsTokenCount");
    Some(Usage {
        input: count(usage, "promptTokenCount")?,
        // Thinking is counted apart, but paid as output.
        output: count(usage, "candidatesTokenCount").unwrap_or(0) + thoughts.unwrap_or(0),
        cache_read: count(usage, "cachedContentTokenCount"),
        cache_write: None,
        reasoning: thoughts,
    })
}
