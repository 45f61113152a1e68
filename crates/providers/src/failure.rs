//! Tells a provider's failures in one vocabulary.

use std::time::Duration;

use flowbench_core::ports::{ModelError, ModelErrorKind};
use serde_json::Value;

use crate::json::{items, text};
use crate::limits::parse_duration;

/// Most characters of a raw body kept with an error.
const RAW_CHARACTERS: usize = 16_000;
/// Most characters of a provider's message shown.
const MESSAGE_CHARACTERS: usize = 600;

/// What a body says went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub message: Option<String>,
    /// `code`, `type` and `status`, whichever the provider writes.
    pub words: Vec<String>,
    pub retry_after: Option<Duration>,
}

impl Told {
    /// Reads an error body of any provider.
    pub fn read(body: &str) -> Self {
        let Ok(value) = serde_json::from_str::<Value>(body) else { return Self::default() };
        // Gemini wraps errors of streams in a list.
        Self::of(value.get(0).unwrap_or(&value))
    }

    /// Reads an error object, or an object that holds one under `error`.
    pub fn of(value: &Value) -> Self {
        let error = value.get("error").unwrap_or(value);
        let message = error
            .as_str()
            .or_else(|| text(error, "message"))
            .or_else(|| text(value, "message"))
            .or_else(|| text(value, "detail"))
            .map(|message| shorten(message, MESSAGE_CHARACTERS));
        let mut words: Vec<String> =
            ["code", "type", "status"].iter().filter_map(|key| text(error, key)).map(str::to_owned).collect();
        words.extend(error.get("innererror").and_then(|inner| text(inner, "code")).map(str::to_owned));
        let retry_after = items(error, "details")
            .iter()
            .find(|detail| text(detail, "@type").is_some_and(|name| name.ends_with("RetryInfo")))
            .and_then(|detail| parse_duration(text(detail, "retryDelay")?));
        Self { message, words, retry_after }
    }

    fn says(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.contains(&word.as_str()))
    }

    /// Which failure this is, for a status (or for none, where the error came within an answer).
    pub fn kind(&self, status: Option<u16>) -> ModelErrorKind {
        if self.says(&["insufficient_quota", "billing_hard_limit_reached", "billing_error"]) {
            return ModelErrorKind::QuotaExhausted;
        }
        if self.says(&["context_length_exceeded", "exceed_context_size_error"]) || self.is_about_length() {
            return ModelErrorKind::ContextLength;
        }
        if self.says(&["content_filter", "ResponsibleAIPolicyViolation", "content_policy_violation"]) {
            return ModelErrorKind::ContentFilter;
        }
        match status {
            Some(401 | 403) => ModelErrorKind::Authentication,
            Some(402) => ModelErrorKind::QuotaExhausted,
            Some(404) => ModelErrorKind::NotFound,
            Some(408) => ModelErrorKind::Timeout,
            Some(429) => ModelErrorKind::RateLimited,
            Some(409 | 425 | 500..) => ModelErrorKind::Unavailable,
            Some(400..=499) => ModelErrorKind::InvalidRequest,
            Some(_) => ModelErrorKind::BadReply,
            None if self.says(&["rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"]) => {
                ModelErrorKind::RateLimited
            }
            None if self.says(&["authentication_error", "permission_error"]) => {
                ModelErrorKind::Authentication
            }
            None if self.says(&["invalid_request_error", "invalid_prompt", "INVALID_ARGUMENT"]) => {
                ModelErrorKind::InvalidRequest
            }
            None => ModelErrorKind::Unavailable,
        }
    }

    /// Anthropic and vLLM have no code for a prompt that is too long, only these words.
    fn is_about_length(&self) -> bool {
        let Some(message) = &self.message else { return false };
        let message = message.to_lowercase();
        [
            "prompt is too long",
            "maximum context length",
            "exceeds the available context size",
            "input token count",
        ]
        .iter()
        .any(|words| message.contains(words))
    }
}

/// An error with the answer's body beside it.
pub(crate) fn with_raw(mut error: ModelError, raw: &str) -> ModelError {
    if !raw.is_empty() {
        error.raw = Some(shorten(raw, RAW_CHARACTERS));
    }
    error
}

/// The first characters, with a mark if there were more.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, kind: ModelErrorKind, message: Option<&str>) {
        let told = Told::read(body);
        assert_eq!(
            (told.kind(Some(status)), told.message.as_deref()),
            (kind, message),
            "for {status} {body}"
        );
    }

    #[test]
    fn every_vendors_errors_are_read() {
        use ModelErrorKind::*;
        check(
            429,
            r#"{"error":{"message":"Slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
            RateLimited,
            Some("Slow down"),
        );
        check(
            429,
            r#"{"error":{"message":"Pay","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            QuotaExhausted,
            Some("Pay"),
        );
        check(
            400,
            r#"{"error":{"message":"m","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
            ContentFilter,
            Some("m"),
        );
        check(
            400,
            r#"{"error":{"message":"Too long","code":"context_length_exceeded"}}"#,
            ContextLength,
            Some("Too long"),
        );
        check(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
            ContextLength,
            Some("prompt is too long: 9 tokens > 8 maximum"),
        );
        check(
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            Unavailable,
            Some("Overloaded"),
        );
        check(404, r#"{"error":"model 'x' not found"}"#, NotFound, Some("model 'x' not found"));
        check(422, r#"{"detail":"no"}"#, InvalidRequest, Some("no"));
        check(502, "<html>", Unavailable, None);
        check(401, "", Authentication, None);
    }

    #[test]
    fn gemini_says_how_long_to_wait() {
        let body = r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"17s"}]}}]"#;
        let told = Told::read(body);
        assert_eq!(told.retry_after, Some(Duration::from_secs(17)));
        assert_eq!(told.kind(Some(429)), ModelErrorKind::RateLimited);
        assert_eq!(told.kind(None), ModelErrorKind::RateLimited);
    }
}
