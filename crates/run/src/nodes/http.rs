//! `http`: one request to an allowed host; the result can be checked against a schema.
//!
//! Inputs: `url`, `method` (GET), `headers` and `query` (maps), `body` (text, or anything else as JSON), `expect`
//! (status codes; any 2xx when absent), `schema` (JSON Schema of the body). Result: `{status, headers, body}` with the
//! body parsed where it is JSON.

use flowbench_core::ports::HttpRequest;
use flowbench_core::value::python_text;
use serde_json::{Map, Value, json};

use super::{NodeContext, need_text, text};
use crate::failure::NodeFailure;

pub(super) async fn run(
    context: &NodeContext<'_>,
    inputs: &Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let request = HttpRequest {
        method: text(inputs, "method").unwrap_or("GET").to_ascii_uppercase(),
        url: with_query(&need_text(inputs, "url")?, inputs.get("query"))?,
        headers: headers(inputs)?,
        body: match inputs.get("body") {
            None | Some(Value::Null) => None,
            Some(Value::String(body)) => Some(body.clone()),
            Some(other) => Some(other.to_string()),
        },
        timeout: None,
        is_approved: false,
    };
    let host = request.url.clone();
    let response = context.line.shared.calls.http(&context.scope, json!(&request), request).await?;
    let is_expected = match inputs.get("expect") {
        None | Some(Value::Null) => (200..300).contains(&response.status),
        Some(Value::Array(codes)) => {
            codes.iter().any(|code| code.as_u64() == Some(u64::from(response.status)))
        }
        Some(code) => code.as_u64() == Some(u64::from(response.status)),
    };
    if !is_expected {
        let short: String = response.body.chars().take(2000).collect();
        let mut failure =
            NodeFailure::new("http/status", format!("`{host}` answered with status {}", response.status))
                .hint("look at the body in the details; other codes can be allowed with `expect`");
        failure.details = Some(json!({"status": response.status, "body": short}));
        return Err(failure);
    }
    let body = serde_json::from_str(&response.body).unwrap_or(Value::String(response.body));
    if let Some(schema) = inputs.get("schema").filter(|schema| !schema.is_null()) {
        flowbench_text::extract::check_schema(&body, schema)
            .map_err(|error| NodeFailure::new("http/schema", format!("answer of `{host}`: {error}")))?;
    }
    let headers: Map<String, Value> =
        response.headers.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    Ok(json!({"status": response.status, "headers": headers, "body": body}))
}

fn headers(inputs: &Map<String, Value>) -> Result<Vec<(String, String)>, NodeFailure> {
    let mut headers: Vec<(String, String)> = match inputs.get("headers") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(map)) => {
            map.iter().map(|(name, value)| (name.clone(), python_text(value))).collect()
        }
        Some(_) => return Err(NodeFailure::new("input/type", "input `headers` must be a map")),
    };
    let is_json = inputs.get("body").is_some_and(|body| !body.is_null() && !body.is_string());
    if is_json && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    Ok(headers)
}

fn with_query(url: &str, query: Option<&Value>) -> Result<String, NodeFailure> {
    let Some(query) = query.filter(|query| !query.is_null()) else { return Ok(url.to_owned()) };
    let Value::Object(map) = query else {
        return Err(NodeFailure::new("input/type", "input `query` must be a map"));
    };
    let pairs: Vec<String> =
        map.iter().map(|(name, value)| format!("{}={}", encode(name), encode(&python_text(value)))).collect();
    let separator = if url.contains('?') { '&' } else { '?' };
    Ok(if pairs.is_empty() { url.to_owned() } else { format!("{url}{separator}{}", pairs.join("&")) })
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_encoded_and_appended() {
        let query = json!({"q": "a b&c", "n": 3});
        assert_eq!(with_query("http://h/x?y=1", Some(&query)).unwrap(), "http://h/x?y=1&q=a%20b%26c&n=3");
    }
}
