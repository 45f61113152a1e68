//! What the wires share about messages: parts, images, instructions, parameters that cannot be sent.

use flowbench_core::chat::{ChatParameters, Content, ContentPart, Message, ModelInput, Role};
use flowbench_core::ports::ModelError;
use serde_json::Value;

use super::openai::needs_messages;

/// Text parts and images of a message, in order; empty texts are left out, as providers refuse them.
pub(crate) fn parts(message: &Message) -> Vec<ContentPart> {
    let parts = match &message.content {
        None => Vec::new(),
        Some(Content::Text(text)) => vec![ContentPart::Text { text: text.clone() }],
        Some(Content::Parts(parts)) => parts.clone(),
    };
    parts.into_iter().filter(|part| !matches!(part, ContentPart::Text { text } if text.is_empty())).collect()
}

/// Type and base64 data of a `data:` address.
pub(crate) fn inline_data(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,")
}

/// Type of an image by the ending of its address.
pub(crate) fn image_type(url: &str) -> &'static str {
    let path = url.split(['?', '#']).next().unwrap_or(url).to_lowercase();
    match path.rsplit('.').next() {
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        _ => "image/jpeg",
    }
}

/// The messages; providers without text completion refuse a text.
pub(crate) fn messages<'a>(input: &'a ModelInput, model: &str) -> Result<&'a [Message], ModelError> {
    match input {
        ModelInput::Messages(messages) => Ok(messages),
        ModelInput::Text(_) => Err(needs_messages(model)),
    }
}

/// Instructions joined, and the talk, for providers that keep them apart.
pub(crate) fn split_instructions(messages: &[Message]) -> (Option<String>, Vec<&Message>) {
    let (instructions, talk): (Vec<&Message>, Vec<&Message>) =
        messages.iter().partition(|message| matches!(message.role, Role::System | Role::Developer));
    let texts: Vec<String> =
        instructions.iter().map(|message| message.content_text()).filter(|text| !text.is_empty()).collect();
    ((!texts.is_empty()).then(|| texts.join("\n\n")), talk)
}

/// Name of the function that a tool message answers, found by its call.
pub(crate) fn tool_name(message: &Message, earlier: &[&Message]) -> String {
    let called = earlier
        .iter()
        .rev()
        .flat_map(|message| message.tool_calls.iter())
        .find(|call| Some(&call.id) == message.tool_call_id.as_ref());
    called.map(|call| call.name.clone()).or_else(|| message.name.clone()).unwrap_or_default()
}

/// Arguments of a call as an object; what cannot be read is passed under `arguments`.
pub(crate) fn arguments(text: &str) -> Value {
    if text.trim().is_empty() {
        return Value::Object(serde_json::Map::new());
    }
    match serde_json::from_str::<Value>(text) {
        Ok(object @ Value::Object(_)) => object,
        _ => serde_json::json!({"arguments": text}),
    }
}

/// Names every set parameter of the list as left out.
pub(crate) fn drop_set(parameters: &ChatParameters, names: &[&str], reason: &str, dropped: &mut Vec<String>) {
    let is_set = |name: &str| match name {
        "temperature" => parameters.temperature.is_some(),
        "top_p" => parameters.top_p.is_some(),
        "top_k" => parameters.top_k.is_some(),
        "min_p" => parameters.min_p.is_some(),
        "stop" => !parameters.stop.is_empty(),
        "presence_penalty" => parameters.presence_penalty.is_some(),
        "frequency_penalty" => parameters.frequency_penalty.is_some(),
        "repeat_penalty" => parameters.repeat_penalty.is_some(),
        "seed" => parameters.seed.is_some(),
        "logit_bias" => parameters.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()),
        "user" => parameters.user.as_ref().is_some_and(|user| !user.is_empty()),
        "n" => parameters.n.is_some_and(|count| count > 1),
        _ => false,
    };
    dropped.extend(names.iter().filter(|name| is_set(name)).map(|name| format!("`{name}`: {reason}")));
}
