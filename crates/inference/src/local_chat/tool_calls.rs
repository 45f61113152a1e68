//! Finds calls in a model's reply, in the forms the supported families were trained to write.

use flowbench_core::chat::ToolCall;
use serde_json::{Deserializer, Value};

/// Text and calls of a reply. What cannot be read as a call stays text.
pub(super) fn parse(reply: &str) -> (String, Vec<ToolCall>) {
    let mut found = Found::default();
    if reply.contains("<tool_call>") {
        // Qwen: `<tool_call>{...}</tool_call>`, any number of them, text around.
        let mut rest = reply;
        while let Some((before, after)) = rest.split_once("<tool_call>") {
            let (body, behind) = after.split_once("</tool_call>").unwrap_or((after, ""));
            found.text.push_str(before);
            if !found.take(body) {
                found.text.push_str(body);
            }
            rest = behind;
        }
        found.text.push_str(rest);
    } else if let Some((before, after)) = reply.split_once("[TOOL_CALLS]") {
        // Mistral: `[TOOL_CALLS][{...}, {...}]`.
        found.text.push_str(before);
        if !found.take(after) {
            found.text.push_str(after);
        }
    } else {
        // Llama 3: a bare object, behind `<|python_tag|>` in some versions, `; ` between several.
        let body = reply.trim().trim_start_matches("<|python_tag|>");
        if !(body.starts_with('{') && found.take(body)) {
            found.text.push_str(reply);
        }
    }
    let text = if found.calls.is_empty() { reply.to_owned() } else { found.text.trim().to_owned() };
    (text, found.calls)
}

#[derive(Default)]
struct Found {
    text: String,
    calls: Vec<ToolCall>,
}

impl Found {
    /// Takes all calls of a JSON text, or none if any of it is something else.
    fn take(&mut self, body: &str) -> bool {
        let mut values = Vec::new();
        for part in split_objects(body) {
            match part {
                Some(Value::Array(items)) => values.extend(items),
                Some(value) => values.push(value),
                None => return false,
            }
        }
        let first = self.calls.len();
        let calls: Option<Vec<ToolCall>> =
            values.iter().enumerate().map(|(index, value)| call(value, first + index)).collect();
        match calls {
            Some(calls) if !calls.is_empty() => {
                self.calls.extend(calls);
                true
            }
            _ => false,
        }
    }
}

/// JSON values one after the other, perhaps with semicolons between; `None` where something else follows.
fn split_objects(body: &str) -> Vec<Option<Value>> {
    let mut values = Vec::new();
    let mut rest = body.trim();
    while !rest.is_empty() {
        let mut stream = Deserializer::from_str(rest).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => values.push(Some(value)),
            _ => {
                values.push(None);
                break;
            }
        }
        rest = rest[stream.byte_offset()..].trim_start_matches(|c: char| c == ';' || c.is_whitespace());
    }
    values
}

fn call(value: &Value, index: usize) -> Option<ToolCall> {
    let name = value.get("name")?.as_str()?.to_owned();
    let arguments = value.get("arguments").or_else(|| value.get("parameters"))?;
    let arguments = match arguments {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let id = value.get("id").and_then(Value::as_str).map_or_else(|| format!("call_{index}"), str::to_owned);
    Some(ToolCall { id, name, arguments, signature: None })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(reply: &str, text: &str, calls: &[(&str, &str)]) {
        let (found, parsed) = parse(reply);
        let parsed: Vec<(&str, &str)> =
            parsed.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
        assert_eq!((found.as_str(), parsed.as_slice()), (text, calls));
    }

    #[test]
    fn each_family_s_form_is_read() {
        check(
            "Let me see.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>",
            "Let me see.",
            &[("add", "{\"a\":1}")],
        );
        check("[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}}]", "", &[("now", "{}")]);
        check(
            "{\"name\": \"a\", \"parameters\": {}}; {\"name\": \"b\", \"parameters\": {}}",
            "",
            &[("a", "{}"), ("b", "{}")],
        );
    }

    #[test]
    fn what_is_no_call_stays_text() {
        check("{\"answer\": 42}", "{\"answer\": 42}", &[]);
        check("<tool_call>broken", "<tool_call>broken", &[]);
        check("plain words", "plain words", &[]);
    }
}
