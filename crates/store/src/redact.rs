//! Takes secrets out of what is written: by value wherever they stand, and by name in HTTP headers.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::Value;

/// What stands in a secret's place.
const MASK: &str = "••••";

/// Shorter values are only masked where a credential's field holds them: servers without keys are given words such as
/// `ollama`, which must not tear holes into results. No key that protects anything is that short.
const SHORTEST_WITHIN_TEXT: usize = 12;

/// Fields in which a short secret is one. Compared in lower case, with `-` for `_`.
const SECRET_FIELDS: [&str; 8] =
    ["api-key", "apikey", "authorization", "token", "access-token", "password", "secret", "client-secret"];

/// Texts by which a record is read again, wherever a record of ours has them.
const STRUCTURE: [&str; 14] = [
    "code",
    "data_digest",
    "event",
    "flow",
    "flow_digest",
    "id",
    "key",
    "kind",
    "node",
    "path",
    "rule",
    "run",
    "status",
    "stream",
];

/// What a record keeps of users, models and code: below these keys nothing is structure.
const PAYLOAD: [&str; 12] = [
    "aggregation",
    "details",
    "inputs",
    "metrics",
    "output",
    "outputs",
    "reply",
    "request",
    "response",
    "tags",
    "value",
    "variants",
];

/// Headers whose values are credentials, whatever they are.
const SECRET_HEADERS: [&str; 12] = [
    "authorization",
    "proxy-authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "x-auth-token",
    "x-amz-security-token",
    "ocp-apim-subscription-key",
    "cookie",
    "set-cookie",
    "openai-organization",
    "x-functions-key",
];

/// Key under which requests and answers keep their headers. Only there are values masked by their name: an output that
/// happens to be called `cookie` is the user's.
const HEADERS: &str = "headers";

/// Masks known secrets in JSON values, also where they stand JSON-escaped, percent-encoded or in base64, and the
/// credential headers of requests.
#[derive(Default)]
pub struct Redactor {
    /// Masked anywhere in a text, longest first, so that a secret within a secret leaves no rest.
    within: Vec<String>,
    /// Masked where a credential's field holds nothing else.
    whole: Vec<String>,
}

impl Redactor {
    /// Masks these values; empty ones are passed over.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets {
            let secret = secret.as_ref().trim();
            if secret.is_empty() {
                continue;
            }
            if secret.chars().count() < SHORTEST_WITHIN_TEXT {
                redactor.whole.push(secret.to_owned());
                continue;
            }
            redactor.within.extend(disguises(secret));
        }
        redactor.within.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        redactor.within.dedup();
        redactor
    }

    /// A text without secrets.
    pub fn redact_text(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.within {
            if clean.contains(secret.as_str()) {
                clean = clean.replace(secret.as_str(), MASK);
            }
        }
        clean
    }

    /// Takes secrets out of every text of a value, and the values of credentials below a key `headers`. Keys of maps
    /// stay as they are: whoever reads the value looks for them.
    pub fn redact(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if self.within.iter().any(|secret| text.contains(secret.as_str())) {
                    *text = self.redact_text(text);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    self.redact_field(key, item);
                    self.redact(item);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Like [`Redactor::redact`] for a record of ours: the words by which it is read again stay.
    fn redact_record(&self, record: &mut Value) {
        match record {
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    match item {
                        Value::String(_) if STRUCTURE.contains(&key.as_str()) => {}
                        Value::Object(_) | Value::Array(_)
                            if !PAYLOAD.contains(&key.as_str()) && key != HEADERS =>
                        {
                            self.redact_record(item);
                        }
                        _ => {
                            self.redact_field(key, item);
                            self.redact(item);
                        }
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_record(item)),
            _ => self.redact(record),
        }
    }

    /// Masks what a field's name says is a credential.
    fn redact_field(&self, key: &str, item: &mut Value) {
        if key == HEADERS {
            mask_credentials(item);
        } else if let Value::String(text) = item
            && is_secret_field(key)
            // A scheme such as `Bearer` may stand before.
            && text.rsplit(' ').next().is_some_and(|last| self.whole.iter().any(|secret| secret == last))
        {
            *text = MASK.to_owned();
        }
    }

    /// One record of ours as a JSON line without secrets, or `None` where there is nothing to take out, which is the usual case and
    /// costs one search.
    pub(crate) fn redact_line(&self, value: &impl Serialize) -> serde_json::Result<Option<Vec<u8>>> {
        let text = serde_json::to_string(value)?;
        let has_secret = self.within.iter().any(|secret| text.contains(secret.as_str()))
            || self.whole.iter().any(|secret| text.contains(secret.as_str()))
            || text.contains("\"headers\"");
        if !has_secret {
            return Ok(None);
        }
        let mut value: Value = serde_json::from_str(&text)?;
        self.redact_record(&mut value);
        serde_json::to_vec(&value).map(Some)
    }
}

/// Headers as a map, or as a list of pairs.
fn mask_credentials(headers: &mut Value) {
    match headers {
        Value::Object(map) => {
            for (_, content) in map.iter_mut().filter(|(name, _)| is_secret_header(name)) {
                *content = Value::String(MASK.to_owned());
            }
        }
        Value::Array(pairs) => {
            for pair in pairs {
                if let Value::Array(pair) = pair
                    && let [Value::String(name), content] = pair.as_mut_slice()
                    && is_secret_header(name)
                {
                    *content = Value::String(MASK.to_owned());
                }
            }
        }
        _ => {}
    }
}

fn is_secret_header(name: &str) -> bool {
    SECRET_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header))
}

fn is_secret_field(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SECRET_FIELDS.contains(&name.as_str()) || SECRET_HEADERS.contains(&name.as_str())
}

/// The forms in which a secret may stand in a text: plain, within JSON text, in an address, in base64.
fn disguises(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    if let Ok(quoted) = serde_json::to_string(secret) {
        let inner = quoted[1..quoted.len() - 1].to_owned();
        // A raw body kept as a text within a record is escaped once more.
        if let Ok(twice) = serde_json::to_string(&inner) {
            forms.push(twice[1..twice.len() - 1].to_owned());
        }
        forms.push(inner);
    }
    forms.push(percent_encoded(secret));
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(secret));
    }
    forms
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(secrets: &[&str], value: Value, expected: Value) {
        let redactor = Redactor::new(secrets);
        let mut plain = value.clone();
        redactor.redact(&mut plain);
        assert_eq!(plain, expected);
        let record = json!({"outputs": value});
        let line = redactor.redact_line(&record).unwrap().map(|line| serde_json::from_slice(&line).unwrap());
        assert_eq!(line.unwrap_or(record), json!({"outputs": expected}));
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let secret = "sk-\"live\"/+1234";
        let raw = json!({"echo": secret}).to_string();
        check(
            &[secret],
            json!({"a": format!("key {secret}!"), "list": [secret], "raw": raw,
                   "url": "https://x/?k=sk-%22live%22%2F%2B1234", "basic": STANDARD.encode(secret)}),
            json!({"a": "key ••••!", "list": ["••••"], "raw": "{\"echo\":\"••••\"}",
                   "url": "https://x/?k=••••", "basic": "••••"}),
        );
    }

    #[test]
    fn credential_headers_are_masked_without_being_known() {
        check(
            &[],
            json!({"headers": [["Authorization", "Bearer abc"], ["accept", "text/plain"]],
                   "request": {"headers": {"X-Api-Key": "abc", "x": "def"}},
                   "cookie": "chocolate"}),
            json!({"headers": [["Authorization", "••••"], ["accept", "text/plain"]],
                   "request": {"headers": {"X-Api-Key": "••••", "x": "def"}},
                   "cookie": "chocolate"}),
        );
    }

    #[test]
    fn a_short_key_is_masked_only_in_a_credentials_field() {
        check(
            &["ollama", "on", ""],
            json!({"answer": "ollama", "text": "ollama runs on it", "api_key": "ollama",
                   "Authorization": "Bearer ollama", "token": "another", "nested": [{"x-api-key": "on"}]}),
            json!({"answer": "ollama", "text": "ollama runs on it", "api_key": "••••",
                   "Authorization": "••••", "token": "another", "nested": [{"x-api-key": "••••"}]}),
        );
    }

    #[test]
    fn overlapping_secrets_leave_no_rest() {
        check(
            &["abcdefghijkl", "abcdefghijklmnop"],
            json!("abcdefghijklmnop abcdefghijkl"),
            json!("•••• ••••"),
        );
    }

    #[test]
    fn keys_and_the_words_of_a_record_stay() {
        let words = ["classify-ticket", "node_finished", "line_number_x"];
        let redactor = Redactor::new(words);
        let record = json!({
            "event": "node_finished", "node": "classify-ticket", "line_number_x": 3,
            "error": {"code": "node_finished", "message": "classify-ticket failed",
                      "details": {"code": "node_finished"}},
            "output": {"node": "classify-ticket", "line_number_x": "line_number_x"},
        });
        let line = redactor.redact_line(&record).unwrap().unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&line).unwrap(),
            json!({
                "event": "node_finished", "node": "classify-ticket", "line_number_x": 3,
                "error": {"code": "node_finished", "message": "•••• failed", "details": {"code": "••••"}},
                "output": {"node": "••••", "line_number_x": "••••"},
            })
        );
    }
}
