//! Which inputs of an llm node are parameters of the API, and which are the template's.
//!
//! The names are prompt flow's. A template variable called like one of them is refused, as there: it could never
//! get a value. Names that only we know (`top_k`, `min_p`, `repeat_penalty`), and `n`, which prompt flow drops,
//! give way to the template. Null and empty values count as not given.

use flowbench_core::chat::{ChatParameters, ResponseFormat, ToolChoice, ToolDefinition};
use flowbench_core::check::Api;
use flowbench_core::value::{ValueType, coerce, python_text};
use flowbench_core::{Map, Value};
use thiserror::Error;

const SHARED: &[&str] = &[
    "model",
    "deployment_name",
    "temperature",
    "top_p",
    "stream",
    "stop",
    "max_tokens",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "user",
];
const CHAT: &[&str] = &["function_call", "functions", "tool_choice", "tools", "response_format", "seed"];
const COMPLETION: &[&str] = &["suffix", "n", "logprobs", "echo", "best_of"];
/// Parameters only where the template does not read a variable of that name.
const YIELDING: &[&str] = &["n", "seed", "top_k", "min_p", "repeat_penalty"];

/// What the completion API stops at in prompt flow when a node does not say.
const COMPLETION_MAX_TOKENS: u32 = 16;

/// Inputs of an llm node, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LlmInputs {
    /// Values for the template.
    pub values: Map<String, Value>,
    /// Sampling and length.
    pub parameters: ChatParameters,
    /// Functions the model may call.
    pub tools: Vec<ToolDefinition>,
    /// Which of them it must use.
    pub tool_choice: Option<ToolChoice>,
    /// Form of the answer.
    pub response_format: Option<ResponseFormat>,
    /// True if the functions came as `functions`: results are then expected under `function_call`.
    pub has_legacy_functions: bool,
}

/// An input that cannot be a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// Template variables called like parameters.
    #[error("template variable {} has the name of a parameter of the {api} API", listed(.names))]
    Clash {
        /// The variables.
        names: Vec<String>,
        /// `chat` or `completion`.
        api: &'static str,
    },
    /// A value of the wrong type.
    #[error("parameter `{name}`: `{value}` is no {expected}")]
    WrongType {
        /// The parameter.
        name: String,
        /// The value, shortened.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A tool or function that is not described properly.
    #[error("parameter `{name}`, entry {number}: {reason}")]
    BadTool {
        /// `tools` or `functions`.
        name: &'static str,
        /// One-based.
        number: usize,
        /// What is wrong.
        reason: String,
    },
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl ParameterError {
    /// What to do, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Clash { names, .. } => {
                let name = names.first()?;
                Some(format!(
                    "rename the variable in the template and the node's inputs, such as `{name}_text`"
                ))
            }
            Self::WrongType { name, value, .. } if name == "max_tokens" && value == "inf" => {
                Some("leave `max_tokens` out for no limit".to_owned())
            }
            Self::WrongType { .. } => None,
            Self::BadTool { name: "tools", .. } => Some(
                "write `{type: function, function: {name: …, description: …, parameters: {type: object, \
                 properties: {…}}}}`"
                    .to_owned(),
            ),
            Self::BadTool { .. } => Some(
                "write `{name: …, description: …, parameters: {type: object, properties: {…}}}`".to_owned(),
            ),
        }
    }
}

/// Sorts a node's inputs. `variables` are those of the template.
pub fn split_inputs(
    api: Api,
    inputs: Map<String, Value>,
    variables: &[String],
) -> Result<LlmInputs, ParameterError> {
    let own = match api {
        Api::Chat => CHAT,
        Api::Completion => COMPLETION,
    };
    let reads = |name: &str| variables.iter().any(|variable| variable == name);
    let yields = |name: &str| YIELDING.contains(&name) && !own.contains(&name);
    let names: Vec<String> = variables
        .iter()
        .filter(|name| SHARED.contains(&name.as_str()) || own.contains(&name.as_str()))
        .cloned()
        .collect();
    if !names.is_empty() {
        return Err(ParameterError::Clash {
            names,
            api: if api == Api::Chat { "chat" } else { "completion" },
        });
    }
    let mut taken = Map::new();
    let mut split = LlmInputs::default();
    for (name, value) in inputs {
        let is_parameter =
            SHARED.contains(&name.as_str()) || own.contains(&name.as_str()) || yields(&name) && !reads(&name);
        if !is_parameter {
            split.values.insert(name, value);
        } else if !(value.is_null() || value == "") {
            taken.insert(name, value);
        }
    }
    let mut given = Given(taken);
    split.parameters = ChatParameters {
        temperature: Some(given.double("temperature")?.unwrap_or(1.0)),
        top_p: Some(given.double("top_p")?.unwrap_or(1.0)),
        top_k: given.whole("top_k")?,
        min_p: given.double("min_p")?,
        max_tokens: given.whole("max_tokens")?,
        stop: given.stop()?,
        presence_penalty: given.double("presence_penalty")?,
        frequency_penalty: given.double("frequency_penalty")?,
        repeat_penalty: given.double("repeat_penalty")?,
        seed: given.seed()?,
        logit_bias: given.object("logit_bias")?.filter(|map| !map.is_empty()),
        user: given.0.shift_remove("user").map(|value| python_text(&value)),
        n: given.whole("n")?,
        extra: Map::new(),
    };
    match api {
        Api::Chat => {
            given.tools(&mut split)?;
            split.response_format = given.response_format()?;
            // Prompt flow gives one text back, so more choices would only cost.
            if split.tools.is_empty() {
                split.parameters.n = None;
            }
        }
        Api::Completion => {
            split.parameters.max_tokens.get_or_insert(COMPLETION_MAX_TOKENS);
            let extra = &mut split.parameters.extra;
            if let Some(suffix) = given.0.shift_remove("suffix") {
                extra.insert("suffix".to_owned(), Value::String(python_text(&suffix)));
            }
            for name in ["logprobs", "best_of"] {
                if let Some(number) = given.whole::<u32>(name)? {
                    extra.insert(name.to_owned(), Value::from(number));
                }
            }
            if let Some(echo) = given.coerced("echo", ValueType::Bool, "bool")? {
                extra.insert("echo".to_owned(), echo);
            }
        }
    }
    Ok(split)
}

/// Parameters that were given, taken out one by one.
struct Given(Map<String, Value>);

impl Given {
    fn coerced(
        &mut self,
        name: &str,
        to: ValueType,
        expected: &'static str,
    ) -> Result<Option<Value>, ParameterError> {
        let Some(value) = self.0.shift_remove(name) else { return Ok(None) };
        match coerce(&value, to) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(wrong(name, &value, expected)),
        }
    }

    fn double(&mut self, name: &str) -> Result<Option<f64>, ParameterError> {
        let value = self.coerced(name, ValueType::Double, "number")?;
        Ok(value.and_then(|value| value.as_f64()))
    }

    fn whole<T: TryFrom<i64>>(&mut self, name: &str) -> Result<Option<T>, ParameterError> {
        let Some(value) = self.coerced(name, ValueType::Int, "whole number")? else { return Ok(None) };
        match value.as_i64().and_then(|number| T::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(name, &value, "whole number in range")),
        }
    }

    fn seed(&mut self) -> Result<Option<u64>, ParameterError> {
        match self.0.get("seed").and_then(Value::as_u64) {
            // Above what the common conversion holds.
            Some(seed) => {
                self.0.shift_remove("seed");
                Ok(Some(seed))
            }
            None => self.whole("seed"),
        }
    }

    fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, ParameterError> {
        match self.coerced(name, ValueType::Object, "map")? {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(wrong(name, &other, "map")),
        }
    }

    fn stop(&mut self) -> Result<Vec<String>, ParameterError> {
        let Some(value) = self.0.shift_remove("stop") else { return Ok(Vec::new()) };
        let items = match coerce(&value, ValueType::List) {
            Ok(Value::Array(items)) => items,
            // Prompt flow refuses a bare text; one text to stop at is what it must mean.
            _ if value.is_string() => vec![value],
            _ => return Err(wrong("stop", &value, "list of texts")),
        };
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        match texts.collect::<Option<Vec<String>>>() {
            Some(texts) => Ok(texts.into_iter().filter(|text| !text.is_empty()).collect()),
            None => Err(wrong("stop", &Value::Array(items), "list of texts")),
        }
    }

    fn tools(&mut self, split: &mut LlmInputs) -> Result<(), ParameterError> {
        let tools = self.list("tools")?;
        let functions = self.list("functions")?;
        let tool_choice = self.0.shift_remove("tool_choice");
        let function_call = self.0.shift_remove("function_call");
        if !tools.is_empty() {
            for (index, tool) in tools.iter().enumerate() {
                let bad =
                    |reason: String| ParameterError::BadTool { name: "tools", number: index + 1, reason };
                let function = tool.get("function").ok_or_else(|| bad("`function` is missing".to_owned()))?;
                split.tools.push(definition(function).map_err(bad)?);
            }
            split.tool_choice = tool_choice.as_ref().map(|value| choice("tool_choice", value)).transpose()?;
        } else if !functions.is_empty() {
            for (index, function) in functions.iter().enumerate() {
                split.tools.push(definition(function).map_err(|reason| ParameterError::BadTool {
                    name: "functions",
                    number: index + 1,
                    reason,
                })?);
            }
            split.tool_choice =
                function_call.as_ref().map(|value| choice("function_call", value)).transpose()?;
            split.has_legacy_functions = true;
        }
        Ok(())
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value>, ParameterError> {
        match self.coerced(name, ValueType::List, "list")? {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    fn response_format(&mut self) -> Result<Option<ResponseFormat>, ParameterError> {
        let Some(value) = self.coerced("response_format", ValueType::Object, "map")? else { return Ok(None) };
        let refuse =
            || wrong("response_format", &value, "response format (text, json_object or json_schema)");
        let kind = value.get("type").unwrap_or(&value).as_str().ok_or_else(refuse)?;
        match kind {
            "text" => Ok(None),
            "json_object" => Ok(Some(ResponseFormat::JsonObject)),
            "json_schema" => {
                let described = value.get("json_schema").ok_or_else(refuse)?;
                let schema =
                    described.get("schema").filter(|schema| schema.is_object()).ok_or_else(refuse)?;
                Ok(Some(ResponseFormat::JsonSchema {
                    name: described.get("name").and_then(Value::as_str).unwrap_or("answer").to_owned(),
                    schema: schema.clone(),
                    strict: described.get("strict").and_then(Value::as_bool).unwrap_or(false),
                }))
            }
            _ => Err(refuse()),
        }
    }
}

fn wrong(name: &str, value: &Value, expected: &'static str) -> ParameterError {
    let value = python_text(value).chars().take(80).collect();
    ParameterError::WrongType { name: name.to_owned(), value, expected }
}

/// A function's description, as providers want it.
fn definition(function: &Value) -> Result<ToolDefinition, String> {
    let map = function.as_object().ok_or_else(|| "it is no map".to_owned())?;
    let name = match map.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        _ => return Err("`name` is missing".to_owned()),
    };
    let parameters = map.get("parameters").ok_or_else(|| format!("`{name}` has no `parameters`"))?;
    let is_schema = parameters.get("type").and_then(Value::as_str) == Some("object")
        && parameters.get("properties").is_some_and(Value::is_object);
    if !is_schema {
        return Err(format!("`parameters` of `{name}` is no JSON Schema of type `object` with `properties`"));
    }
    Ok(ToolDefinition {
        name,
        description: map.get("description").and_then(Value::as_str).map(str::to_owned),
        parameters: parameters.clone(),
        strict: map.get("strict").and_then(Value::as_bool),
    })
}

fn choice(name: &'static str, value: &Value) -> Result<ToolChoice, ParameterError> {
    match value {
        Value::String(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            text => match serde_json::from_str::<Value>(text) {
                Ok(map @ Value::Object(_)) => choice(name, &map),
                _ => Err(wrong(name, value, "tool choice (auto, none, required or a function)")),
            },
        },
        map => {
            let function = map.get("function").unwrap_or(map);
            match function.get("name").and_then(Value::as_str) {
                Some(function) => Ok(ToolChoice::Function(function.to_owned())),
                None => Err(wrong(name, value, "tool choice (auto, none, required or a function)")),
            }
        }
    }
}
