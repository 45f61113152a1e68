//! Chat templates from a model file, rendered in a sandbox.
//!
//! Templates are code from a stranger: they run with a fuel limit (time and memory), a recursion limit, no
//! includes and no clock unless the caller gives one. Text from messages goes in guarded (see
//! [`GUARD`](crate::tokenizer::GUARD)), so that `<|im_start|>` in a user's words stays words.

use flowbench_core::chat::{ContentPart, Message, Role, ToolDefinition};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Serde, Value as TemplateValue};
use minijinja::{Environment, Error, ErrorKind};
use serde_json::{Map, Value, json};

use crate::InferenceError;
use crate::tokenizer::Tokenizer;

/// Fuel for one rendering: about as many steps, and 64 bytes of memory for each. The longest templates in use
/// take a few hundred steps for each message; this allows thousands of messages and at most 256 MB.
const FUEL: u64 = 4_000_000;
/// Nesting of macros and loops; templates in use need fewer than ten.
const RECURSION: usize = 100;

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
}

/// What a template is rendered with beside the messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct TemplateContext<'a> {
    /// Functions the model may call.
    pub tools: &'a [ToolDefinition],
    /// More variables by name, such as `enable_thinking`.
    pub variables: Option<&'a Map<String, Value>>,
    /// Milliseconds since 1970 for `strftime_now`; without it the template finds no such function.
    pub now_ms: Option<u64>,
}

/// The name under which the template is kept and complains.
const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles a template; renders nothing.
    pub fn compile(source: &str) -> Result<Self, InferenceError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| failed(&error))?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |message: String| -> Result<TemplateValue, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        // Marks what a training loss counts; means nothing here.
        let source = source.replace("{% generation %}", "").replace("{% endgeneration %}", "");
        environment.add_template_owned(NAME, source).map_err(|error| failed(&error))?;
        Ok(Self { environment })
    }

    /// Text of a conversation that ends where the assistant is to speak. Message texts come out guarded: give
    /// the result to [`Tokenizer::encode_guarded`].
    pub fn render(
        &self,
        messages: &[Message],
        context: TemplateContext<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<String, InferenceError> {
        let guard = Guard { tokenizer };
        let messages =
            messages.iter().map(|message| guard.message(message)).collect::<Result<Vec<_>, _>>()?;
        let vocabulary = tokenizer.vocabulary();
        let mut variables = Map::new();
        for (name, value) in context.variables.into_iter().flatten() {
            variables.insert(name.clone(), guard.value(value));
        }
        variables.insert("messages".to_owned(), Value::Array(messages));
        variables.insert("add_generation_prompt".to_owned(), Value::Bool(true));
        for (name, id) in [("bos_token", vocabulary.bos()), ("eos_token", vocabulary.eos())] {
            let text = id.map_or("", |id| vocabulary.text(id));
            variables.insert(name.to_owned(), Value::String(text.to_owned()));
        }
        if !context.tools.is_empty() {
            let tools = context.tools.iter().map(|tool| guard.tool(tool)).collect();
            variables.insert("tools".to_owned(), Value::Array(tools));
        }

        let mut environment = self.environment.clone();
        if let Some(now_ms) = context.now_ms {
            environment.add_function("strftime_now", move |format: String| format_time(now_ms, &format));
        }
        environment
            .get_template(NAME)
            .and_then(|template| template.render(TemplateValue::from(Serde(variables))))
            .map_err(|error| failed(&error))
    }
}

/// Makes messages safe to go through a template.
struct Guard<'a> {
    tokenizer: &'a Tokenizer,
}

impl Guard<'_> {
    fn text(&self, text: &str) -> String {
        self.tokenizer.guard(text, &[])
    }

    fn message(&self, message: &Message) -> Result<Value, InferenceError> {
        if let Some(flowbench_core::chat::Content::Parts(parts)) = &message.content
            && parts.iter().any(|part| matches!(part, ContentPart::ImageUrl { .. }))
        {
            return Err(InferenceError::UnsupportedFeature { what: "an image in a message".to_owned() });
        }
        let role = match message.role {
            Role::Developer => "system",
            Role::Function => "tool",
            other => other.as_str(),
        };
        // Templates take a model's earlier reasoning out of its answers, so these two stay readable to them.
        let keep: &[&str] = if message.role == Role::Assistant { &["<think>", "</think>"] } else { &[] };
        let mut value = json!({
            "role": role,
            "content": self.tokenizer.guard(&message.content_text(), keep),
        });
        if let Some(name) = &message.name {
            value["name"] = Value::String(self.text(name));
        }
        if let Some(id) = &message.tool_call_id {
            value["tool_call_id"] = Value::String(self.text(id));
        }
        if !message.tool_calls.is_empty() {
            let calls = message.tool_calls.iter().map(|call| {
                let arguments = serde_json::from_str(&call.arguments)
                    .unwrap_or_else(|_| Value::String(call.arguments.clone()));
                json!({
                    "id": self.text(&call.id),
                    "type": "function",
                    "function": { "name": self.text(&call.name), "arguments": self.value(&arguments) },
                })
            });
            value["tool_calls"] = Value::Array(calls.collect());
        }
        Ok(value)
    }

    fn tool(&self, tool: &ToolDefinition) -> Value {
        let mut function = Map::new();
        function.insert("name".to_owned(), Value::String(self.text(&tool.name)));
        if let Some(description) = &tool.description {
            function.insert("description".to_owned(), Value::String(self.text(description)));
        }
        function.insert("parameters".to_owned(), self.value(&tool.parameters));
        json!({ "type": "function", "function": function })
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            Value::Object(entries) => {
                Value::Object(entries.iter().map(|(key, item)| (self.text(key), self.value(item))).collect())
            }
            other => other.clone(),
        }
    }
}

/// JSON as Python's `json.dumps` writes it, which is what the models were trained on: `, ` and `: ` between
/// entries, no escapes for HTML.
fn to_json(value: TemplateValue, _: Rest<TemplateValue>, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // `ensure_ascii=false` and `sort_keys=false` are what we do anyway.
    let json = serde_json::to_value(&value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let mut text = String::new();
    write_json(&json, indent, 0, &mut text);
    Ok(text)
}

fn write_json(value: &Value, indent: Option<usize>, depth: usize, text: &mut String) {
    let line = |text: &mut String, depth: usize| {
        if let Some(indent) = indent {
            text.push('\n');
            text.push_str(&" ".repeat(indent.min(16) * depth));
        }
    };
    let between = if indent.is_some() { "," } else { ", " };
    match value {
        Value::Array(items) if !items.is_empty() => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { between } else { "" });
                line(text, depth + 1);
                write_json(item, indent, depth + 1, text);
            }
            line(text, depth);
            text.push(']');
        }
        Value::Object(entries) if !entries.is_empty() => {
            text.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                text.push_str(if index > 0 { between } else { "" });
                line(text, depth + 1);
                text.push_str(&Value::String(key.clone()).to_string());
                text.push_str(": ");
                write_json(item, indent, depth + 1, text);
            }
            line(text, depth);
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

fn format_time(now_ms: u64, format: &str) -> Result<String, Error> {
    let bad = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let moment = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let moment = jiff::Timestamp::from_millisecond(moment).map_err(bad)?;
    jiff::fmt::strtime::format(format, &moment.to_zoned(jiff::tz::TimeZone::UTC)).map_err(bad)
}

fn failed(error: &Error) -> InferenceError {
    let mut problem = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    if let Some(line) = error.line() {
        problem.push_str(&format!(" (line {line})"));
    }
    InferenceError::Template { problem }
}
