//! Requests of `http` nodes.

use std::time::Duration;

use async_trait::async_trait;
use flowbench_core::ports::{HttpCaller, HttpRequest, HttpResponse, ModelError};

use crate::Outbound;
use crate::message::{Limits, Request};

/// Most bytes of an answer: it becomes a value that the flow carries around.
const BODY_BYTES: u64 = 16 << 20;
/// How long a node waits where it does not say.
const TIMEOUT: Duration = Duration::from_secs(60);

#[async_trait]
impl HttpCaller for Outbound {
    async fn request(&self, request: HttpRequest) -> Result<HttpResponse, ModelError> {
        let total = request.timeout.unwrap_or(TIMEOUT);
        let limits = Limits { headers: total, idle: total, total, body_bytes: BODY_BYTES };
        let mut call =
            Request::new(&request.method, request.url)?.limits(limits).approved(request.is_approved);
        for (name, value) in request.headers {
            call = call.header(name, value);
        }
        if let Some(body) = request.body {
            call = call.body(body);
        }
        let response = self.send(call).await?;
        let (status, headers) = (response.status, response.headers);
        let body = response.body.read().await?;
        let body = String::from_utf8(body)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(HttpResponse { status, headers, body })
    }
}
