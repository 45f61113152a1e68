//! One connection's server: address, headers, secrets, and how its failures are told.

use flowbench_core::chat::RateLimits;
use flowbench_core::connection::{Connection, Secret};
use flowbench_core::ports::{ModelError, ModelErrorKind};
use flowbench_net::{Body, Limits, Outbound, Request, Response};
use serde_json::Value;

use crate::failure::{Told, with_raw};
use crate::limits::{rate_limits, retry_after, should_retry};

/// Shorter secrets are place-holders such as `x`; hiding them would garble texts.
const SHORTEST_HIDDEN: usize = 6;
/// Largest answer read: a thousand times a long one, embeddings of a large batch included.
const BODY_BYTES: u64 = 128 << 20;

/// A server as a connection describes it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub outbound: Outbound,
    /// Connection name, for texts.
    pub connection: String,
    /// Address without slash at the end.
    pub base: String,
    /// Headers of every request; values may be secret.
    pub headers: Vec<(String, Secret)>,
    /// Values that must not show up in texts.
    pub secrets: Vec<Secret>,
    pub is_approved: bool,
    pub limits: Limits,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub text: String,
    pub limits: RateLimits,
}

impl Endpoint {
    /// An endpoint of a connection, without headers of its own.
    pub fn new(outbound: &Outbound, connection: &Connection, base: &str) -> Self {
        let mut limits = Limits { body_bytes: BODY_BYTES, ..Limits::default() };
        let number = |name: &str| {
            let value = connection.fields.get(name)?;
            let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
            std::time::Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())
        };
        if let Some(total) = number("timeout") {
            limits.total = total;
            limits.headers = total;
            limits.idle = limits.idle.min(total);
        }
        if let Some(idle) = number("idle_timeout") {
            limits.idle = idle;
        }
        Self {
            outbound: outbound.clone(),
            connection: connection.name.clone(),
            base: base.trim().trim_end_matches('/').to_owned(),
            headers: Vec::new(),
            secrets: connection.secrets.iter().map(|(_, secret)| secret.clone()).collect(),
            is_approved: connection.is_approved,
            limits,
        }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), Secret::new(value)));
        self
    }

    /// Scheme, host and port: what shares limits.
    pub fn origin(&self) -> String {
        let (scheme, rest) = self.base.split_once("://").unwrap_or(("", &self.base));
        let host = rest.split(['/', '?']).next().unwrap_or(rest);
        format!("{scheme}://{host}")
    }

    /// Host without port.
    pub fn host(&self) -> String {
        let origin = self.origin();
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
        host.split(':').next().unwrap_or(host).to_lowercase()
    }

    /// Posts JSON and checks the status; the body is still to be read. `model` is for texts.
    pub async fn post(
        &self,
        path: &str,
        body: &Value,
        model: &str,
    ) -> Result<(Response, RateLimits), ModelError> {
        let mut request = Request::post_json(format!("{}{path}", self.base), body.to_string())
            .limits(self.limits)
            .approved(self.is_approved);
        for (name, value) in &self.headers {
            request = request.header(name, value.reveal());
        }
        let response = self.outbound.send(request).await?;
        let now_ms = self.outbound.clock().now_ms();
        let limits = rate_limits(&response.headers, now_ms);
        if response.is_success() {
            return Ok((response, limits));
        }
        let status = response.status;
        let waits = (retry_after(&response.headers, now_ms), should_retry(&response.headers));
        // The status says enough when the body of an error breaks off.
        let mut bytes = Vec::new();
        let mut body = response.body;
        let _ = body.read_into(&mut bytes).await;
        let text = self.hide_secrets(String::from_utf8_lossy(&bytes).into_owned());
        let mut error = self.refusal(status, &text, model);
        error.limits = limits;
        error.retry_after = waits.0.or(error.retry_after);
        error.should_retry = waits.1;
        Err(error)
    }

    /// Posts JSON and reads the answer.
    pub async fn ask(&self, path: &str, body: &Value, model: &str) -> Result<(Value, Answer), ModelError> {
        let (response, limits) = self.post(path, body, model).await?;
        let is_page = is_page(&response);
        let text = self.read(response.body).await?;
        Ok((self.parse(&text, is_page, model)?, Answer { text, limits }))
    }

    /// The whole body as text, secrets hidden.
    pub async fn read(&self, body: Body) -> Result<String, ModelError> {
        let bytes = body.read().await?;
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(self.hide_secrets(text))
    }

    /// The body as JSON; an error within a 200 is an error.
    pub fn parse(&self, text: &str, is_page: bool, model: &str) -> Result<Value, ModelError> {
        match serde_json::from_str::<Value>(text) {
            Ok(value) => match value.get("error").filter(|error| !error.is_null()) {
                Some(_) => Err(with_raw(self.error_within(&value, model), text)),
                None => Ok(value),
            },
            Err(_) if is_page || text.trim_start().starts_with('<') => Err(with_raw(self.page(model), text)),
            Err(error) => {
                let told = format!("answer of `{}/{model}` is not JSON: {error}", self.connection);
                Err(with_raw(ModelError::new(ModelErrorKind::BadReply, told), text))
            }
        }
    }

    /// An answer that is JSON but lacks what it must have.
    pub fn bad_reply(&self, what: &str, model: &str, raw: &str) -> ModelError {
        let told = format!("answer of `{}/{model}` {what}", self.connection);
        with_raw(ModelError::new(ModelErrorKind::BadReply, told), raw)
    }

    /// A web page where JSON was expected.
    pub fn page(&self, model: &str) -> ModelError {
        let told = format!("`{}/{model}` answered with a web page instead of JSON", self.connection);
        ModelError::new(ModelErrorKind::BadReply, told)
            .with_hint(format!("check the address of connection `{}`: {}", self.connection, self.base))
    }

    /// An error object within an answer of status 200.
    pub fn error_within(&self, value: &Value, model: &str) -> ModelError {
        let told = Told::of(value);
        let message = told.message.clone().unwrap_or_else(|| "no reason given".to_owned());
        let text =
            format!("`{}/{model}` answered with an error: {}", self.connection, self.hide_secrets(message));
        let mut error = ModelError::new(told.kind(None), text);
        error.retry_after = told.retry_after;
        error
    }

    fn refusal(&self, status: u16, body: &str, model: &str) -> ModelError {
        let told = Told::read(body);
        let kind = told.kind(Some(status));
        let reason = told.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        let connection = &self.connection;
        let mut error = ModelError::new(kind, format!("`{connection}/{model}` answered {status}{reason}"));
        error.hint = match kind {
            ModelErrorKind::Authentication => Some(format!("check the key of connection `{connection}`")),
            ModelErrorKind::NotFound => Some(format!(
                "check the model or deployment name, and the address of connection `{connection}`"
            )),
            ModelErrorKind::QuotaExhausted => {
                Some("the account has no quota left; waiting does not help".to_owned())
            }
            ModelErrorKind::ContextLength => {
                Some("shorten the prompt, or take a model with a longer context".to_owned())
            }
            _ => None,
        };
        error.status = Some(status);
        error.retry_after = told.retry_after;
        with_raw(error, body)
    }

    /// Replaces secret values: servers echo headers in error pages.
    pub fn hide_secrets(&self, text: String) -> String {
        let mut text = text;
        for secret in &self.secrets {
            let value = secret.reveal();
            if value.len() >= SHORTEST_HIDDEN && text.contains(value) {
                text = text.replace(value, "••••");
            }
        }
        text
    }
}

/// True if the answer calls itself a web page.
pub(crate) fn is_page(response: &Response) -> bool {
    response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
}
