//! The one outbound HTTP client: host policy, limits and a visible log. Knows neither flows nor providers.
//!
//! A request passes the [`Policy`] (is the host allowed, is its address public or approved), goes through a
//! pooled connection that resolves names to public addresses only, and comes back as a [`Response`] whose
//! [`Body`] arrives in pieces under the request's [`Limits`]. Redirects are followed by hand, at most
//! [`MOST_REDIRECTS`], and every hop passes the policy again. Each hop is told to the [`NetLog`].
//!
//! `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and `SSL_CERT_FILE` are honoured. Behind a proxy the proxy resolves
//! names, so only addresses written as numbers can be checked here.
//!
//! ```
//! # use std::sync::Arc;
//! # struct SomeClock;
//! # impl flowbench_core::ports::Clock for SomeClock {
//! #     fn now_ms(&self) -> u64 { 0 }
//! # }
//! use flowbench_net::{NetError, Outbound, Policy, Request};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let client = Outbound::new(Policy::closed().allow("*.example.com"), Arc::new(SomeClock));
//! let refused = client.send(Request::get("https://example.org/")).await.err();
//! assert_eq!(refused, Some(NetError::HostNotAllowed { host: "example.org".to_owned() }));
//! # });
//! ```

mod caller;
mod client;
mod error;
mod log;
mod message;
mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use flowbench_core::ports::Clock;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use tokio::time::{Instant, timeout_at};

pub use crate::client::Proxies;
use crate::client::{Clients, failure_of};
pub use crate::error::NetError;
use crate::log::OpenEntry;
pub use crate::log::{NetEntry, NetLog};
pub use crate::message::{Body, Limits, Request, Response};
use crate::policy::shown_host;
pub use crate::policy::{HostRule, Policy, is_private};

/// Redirects followed; more is a loop.
pub const MOST_REDIRECTS: usize = 5;

/// Headers that go along to another origin: they say how to answer, not who asks.
const HARMLESS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "if-match",
    "if-none-match",
    "range",
    "user-agent",
];

/// Makes requests. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Outbound {
    clients: Arc<Clients>,
    policy: Arc<Policy>,
    clock: Arc<dyn Clock>,
    log: Option<Arc<dyn NetLog>>,
}

impl Outbound {
    /// A client under this policy, with the environment's proxies. Opens nothing yet.
    pub fn new(policy: Policy, clock: Arc<dyn Clock>) -> Self {
        Self {
            clients: Arc::new(Clients::new(Proxies::from_env())),
            policy: Arc::new(policy),
            clock,
            log: None,
        }
    }

    /// The same client under another policy.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self { policy: Arc::new(policy), ..self.clone() }
    }

    /// The same client, told to this log.
    #[must_use]
    pub fn with_log(&self, log: Arc<dyn NetLog>) -> Self {
        Self { log: Some(log), ..self.clone() }
    }

    /// The same policy over these proxies.
    #[must_use]
    pub fn with_proxies(&self, proxies: Proxies) -> Self {
        Self { clients: Arc::new(Clients::new(proxies)), ..self.clone() }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The clock that requests are told by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Makes a request and follows its redirects. Any status is a success here.
    pub async fn send(&self, request: Request) -> Result<Response, NetError> {
        let deadline = Instant::now() + request.limits.total;
        let mut url = parse(&request.url)?;
        let first_host = shown_host(&url);
        let mut is_vouched = request.is_approved;
        let mut method = request.method.clone();
        let mut body = request.body.clone();
        let mut headers = headers_of(&request)?;
        for _ in 0..=MOST_REDIRECTS {
            let trust = self.policy.check(&url, is_vouched)?;
            let client = self.clients.client(&url, trust)?;
            let mut call = client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(body) = &body {
                call = call.body(body.clone());
            }
            let sent_bytes = body.as_ref().map_or(0, |body| body.len() as u64);
            let mut entry =
                OpenEntry::begin(self.log.clone(), self.clock.now_ms(), method.as_str(), &url, sent_bytes);
            let answer = match answer_of(call, &url, &request.limits, deadline).await {
                Ok(answer) => answer,
                Err(error) => {
                    entry.entry.error = Some(error.to_string());
                    return Err(error);
                }
            };
            entry.entry.status = Some(answer.status().as_u16());
            let Some(next) = redirect_of(&answer, &url)? else {
                return response(answer, url, request.limits, deadline, entry);
            };
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(NetError::InsecureRedirect { host: shown_host(&url) });
            }
            let status = answer.status().as_u16();
            if status == 303 && method != Method::HEAD
                || matches!(status, 301 | 302) && method == Method::POST
            {
                method = Method::GET;
                body = None;
                headers.remove("content-type");
            }
            if next.origin() != url.origin() {
                is_vouched = false;
                keep_harmless(&mut headers);
            }
            url = next;
        }
        Err(NetError::TooManyRedirects { host: first_host, limit: MOST_REDIRECTS })
    }
}

fn parse(address: &str) -> Result<Url, NetError> {
    Url::parse(address).map_err(|error| NetError::Address {
        address: address.split(['?', '#']).next().unwrap_or_default().to_owned(),
        reason: error.to_string(),
    })
}

fn headers_of(request: &Request) -> Result<HeaderMap, NetError> {
    let mut headers = HeaderMap::new();
    if !request.takes_compressed {
        headers.insert("accept-encoding", HeaderValue::from_static("identity"));
    }
    for (name, value) in &request.headers {
        let refused =
            |what: &str| NetError::Request { reason: format!("header `{name}` has an unusable {what}") };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("name"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| refused("value"))?;
        value.set_sensitive(!HARMLESS.contains(&key.as_str()));
        headers.append(key, value);
    }
    Ok(headers)
}

fn keep_harmless(headers: &mut HeaderMap) {
    let secret: Vec<HeaderName> =
        headers.keys().filter(|name| !HARMLESS.contains(&name.as_str())).cloned().collect();
    for name in secret {
        headers.remove(name);
    }
}

async fn answer_of(
    call: reqwest::RequestBuilder,
    url: &Url,
    limits: &Limits,
    deadline: Instant,
) -> Result<reqwest::Response, NetError> {
    let headers_end = Instant::now() + limits.headers;
    let after = if headers_end < deadline { limits.headers } else { limits.total };
    match timeout_at(headers_end.min(deadline), Box::pin(call.send())).await {
        Err(_) => Err(NetError::Timeout { host: shown_host(url), what: "gave no answer", after }),
        Ok(Err(error)) => Err(failure_of(&error, &shown_host(url))),
        Ok(Ok(answer)) => Ok(answer),
    }
}

/// Where the answer sends us, if it does.
fn redirect_of(answer: &reqwest::Response, url: &Url) -> Result<Option<Url>, NetError> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = answer.headers().get("location") else { return Ok(None) };
    let next = location.to_str().ok().and_then(|location| url.join(location).ok());
    match next {
        Some(next) => Ok(Some(next)),
        None => Err(NetError::Broken {
            host: shown_host(url),
            reason: "it redirects to something that is no address".to_owned(),
        }),
    }
}

fn response(
    answer: reqwest::Response,
    url: Url,
    limits: Limits,
    deadline: Instant,
    mut entry: OpenEntry,
) -> Result<Response, NetError> {
    let host = shown_host(&url);
    let is_head = entry.entry.method == "HEAD";
    if !is_head && answer.content_length().is_some_and(|length| length > limits.body_bytes) {
        let error = NetError::TooLarge { host, limit: limits.body_bytes };
        entry.entry.error = Some(error.to_string());
        return Err(error);
    }
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let status = answer.status().as_u16();
    Ok(Response {
        status,
        headers,
        url: url.into(),
        body: Body { inner: answer, host, limits, deadline, entry },
    })
}
