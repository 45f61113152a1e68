//! Just enough HTTP/1.1: requests with a stated length, kept connections, whole and chunked answers.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{Answers, Received, Shared, lock, reference, stand_in};

/// Largest request taken; tests send no more.
const LARGEST_BODY: usize = 64 << 20;

/// Serves until told to stop.
pub(super) fn run(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made on this machine");
    runtime.block_on(async move {
        let listener =
            tokio::net::TcpListener::from_std(listener).expect("a listening socket can be watched");
        let accept = async {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    // Without this small answers wait for the client's acknowledgement.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(connection(stream, Arc::clone(&shared)));
                }
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

/// One connection: requests until the client goes, or until an answer ends it.
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut wire = Wire { stream: BufStream::new(stream) };
    // A client that hangs up is its own business.
    while let Ok(Some(request)) = wire.read_request().await {
        shared.count.fetch_add(1, Ordering::Relaxed);
        if shared.keeps_requests.load(Ordering::Relaxed) {
            lock(&shared.received).push(request.clone());
        }
        let script = lock(&shared.scripts).pop_front();
        if let Some(script) = script {
            let written = wire.write(&script.bytes).await;
            if script.stays && written.is_ok() {
                std::future::pending::<()>().await;
            }
            return;
        }
        let outcome = match &shared.answers {
            Answers::StandIns(builtin) => stand_in::answer(&mut wire, builtin, &request).await,
            Answers::Reference => reference::answer(&mut wire, &shared, &request).await,
        };
        if outcome.is_err() {
            return;
        }
    }
}

/// A connection's two directions.
pub(super) struct Wire {
    stream: BufStream<TcpStream>,
}

impl Wire {
    async fn read_request(&mut self) -> std::io::Result<Option<Received>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; std::cmp::min(length, LARGEST_BODY)];
        self.stream.read_exact(&mut body).await?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Some(Received { method, path, headers, body }))
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// A whole answer.
    pub async fn send(&mut self, status: u16, headers: &[(&str, String)], body: &str) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} {}\r\ncontent-length: {}\r\n", reason(status), body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(b"\r\n").await?;
        self.write(body.as_bytes()).await
    }

    /// A whole JSON answer.
    pub async fn send_json(&mut self, status: u16, body: &Value) -> std::io::Result<()> {
        self.send(status, &[("content-type", "application/json".to_owned())], &body.to_string()).await
    }

    /// An error as OpenAI writes it.
    pub async fn send_error(&mut self, status: u16, message: &str, code: &str) -> std::io::Result<()> {
        let body =
            json!({"error": {"message": message, "type": "stand_in_error", "param": null, "code": code}});
        self.send_json(status, &body).await
    }

    /// The head of a stream.
    pub async fn begin_stream(&mut self) -> std::io::Result<()> {
        self.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await
    }

    /// One event.
    pub async fn send_event(&mut self, data: &str) -> std::io::Result<()> {
        let event = format!("data: {data}\n\n");
        self.write(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await
    }

    /// The end of a stream.
    pub async fn end_stream(&mut self) -> std::io::Result<()> {
        self.send_event("[DONE]").await?;
        self.write(b"0\r\n\r\n").await
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        _ => "Told",
    }
}
