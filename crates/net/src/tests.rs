//! The client against servers of a few scripted bytes on the loopback.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowbench_core::ports::{Clock, HttpCaller, HttpRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{Limits, NetEntry, NetError, NetLog, Outbound, Policy, Proxies, Request};

struct StoppedClock;

impl Clock for StoppedClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<NetEntry>>);

impl NetLog for Kept {
    fn record(&self, entry: NetEntry) {
        self.0.lock().unwrap().push(entry);
    }
}

fn outbound(policy: Policy) -> Outbound {
    Outbound::new(policy, Arc::new(StoppedClock)).with_proxies(Proxies::default())
}

/// What a scripted server does with one connection after it has read the head of the request.
#[derive(Clone)]
enum Then {
    Close,
    Stay,
}

/// Serves one scripted answer a connection, in order; gives its address and the heads it read.
async fn serve(answers: Vec<(Vec<u8>, Then)>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        let mut open = Vec::new();
        for (answer, then) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            kept.lock().unwrap().push(String::from_utf8(head).unwrap());
            stream.write_all(&answer).await.unwrap();
            match then {
                Then::Close => stream.shutdown().await.unwrap(),
                Then::Stay => open.push(stream),
            }
        }
        // Streams that stay are kept until the test ends.
        std::future::pending::<()>().await;
    });
    (address, heads)
}

fn ok(body: &str) -> (Vec<u8>, Then) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    ([head.as_bytes(), body.as_bytes()].concat(), Then::Close)
}

fn redirect(status: u16, to: &str) -> (Vec<u8>, Then) {
    let head = format!(
        "HTTP/1.1 {status} Moved\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    (head.into_bytes(), Then::Close)
}

fn short() -> Limits {
    let moment = Duration::from_millis(60);
    Limits { headers: moment, idle: moment, total: Duration::from_secs(5), body_bytes: 1000 }
}

#[tokio::test]
async fn an_approved_host_is_called_and_told_to_the_log() {
    let (address, heads) = serve(vec![ok("hello")]).await;
    let log = Arc::new(Kept::default());
    let client = outbound(Policy::closed()).with_log(log.clone());
    let request = Request::get(format!("{address}/v1?api-version=1&key=s3cret"))
        .header("x-key", "s3cret")
        .approved(true);
    let response = client.send(request).await.unwrap();
    assert_eq!((response.status, response.header("content-length")), (200, Some("5")));
    assert_eq!(response.body.read().await.unwrap(), b"hello");
    assert!(heads.lock().unwrap()[0].contains("x-key: s3cret"));
    let entries = log.0.lock().unwrap();
    let entry = &entries[0];
    assert_eq!((entry.method.as_str(), entry.status, entry.received_bytes), ("GET", Some(200), 5));
    assert_eq!(entry.path, "/v1?api-version=…&key=…");
    assert_eq!(entry.at_ms, 1_700_000_000_000);
    assert!(!format!("{entry:?}").contains("s3cret"), "keys stay out of the log");
}

#[tokio::test]
async fn unlisted_and_private_hosts_are_refused_with_what_to_do() {
    let client = outbound(Policy::closed());
    let error = client.send(Request::get("https://api.example.com/v1")).await.err().unwrap();
    assert_eq!(error.to_string(), "host `api.example.com` is not allowed");
    assert!(error.is_refusal());
    assert_eq!(
        error.hint().as_deref(),
        Some("trust the folder that names it, or put `api.example.com` in a connection of your own")
    );
    // A name is looked up when the connection is made, so the refusal comes from there.
    let client = outbound(Policy::any_public());
    let error = client.send(Request::get("http://localhost:9/")).await.err().unwrap();
    assert_eq!(error, NetError::PrivateAddress { host: "localhost".to_owned() });
}

#[tokio::test]
async fn redirects_are_checked_again_and_keys_stay_behind() {
    let (second, second_heads) = serve(vec![ok("there")]).await;
    let (first, _) =
        serve(vec![redirect(307, &format!("{second}/b")), redirect(302, &format!("{second}/b"))]).await;
    let request = |policy| {
        let request = Request::get(format!("{first}/a"))
            .header("authorization", "Bearer s3cret")
            .header("accept", "a/b");
        let client = outbound(policy);
        async move { client.send(request.approved(true)).await }
    };
    let error = request(Policy::any_public()).await.err().unwrap();
    assert!(
        matches!(error, NetError::PrivateAddress { .. }),
        "approval is for the first host only, but {error}"
    );

    let response = request(Policy::closed().approve(second.trim_start_matches("http://"))).await.unwrap();
    assert_eq!(response.body.read().await.unwrap(), b"there");
    let heads = second_heads.lock().unwrap();
    assert!(heads[0].contains("accept: a/b") && !heads[0].contains("s3cret"), "{}", heads[0]);
}

#[tokio::test]
async fn redirects_without_end_are_given_up() {
    let (address, heads) = serve((0..10).map(|_| redirect(308, "/again")).collect()).await;
    let error = outbound(Policy::closed()).send(Request::get(address).approved(true)).await.err().unwrap();
    assert!(matches!(error, NetError::TooManyRedirects { limit: 5, .. }), "{error}");
    assert_eq!(heads.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn silence_ends_in_a_time_out() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart".to_vec();
    let (address, _) = serve(vec![(Vec::new(), Then::Stay), (head, Then::Stay)]).await;
    let client = outbound(Policy::closed());
    let request = Request::get(&address).limits(short()).approved(true);
    let error = client.send(request.clone()).await.err().unwrap();
    assert!(error.to_string().ends_with("gave no answer within 0.06 s"), "{error}");

    let mut response = client.send(request).await.unwrap();
    let mut read = Vec::new();
    let error = response.body.read_into(&mut read).await.err().unwrap();
    assert!(error.to_string().ends_with("sent nothing more within 0.06 s"), "{error}");
    assert_eq!(read, b"part", "what came is kept");
}

#[tokio::test]
async fn a_drip_of_bytes_cannot_outlast_the_total() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart".to_vec();
    let (address, _) = serve(vec![(head, Then::Stay)]).await;
    let limits = Limits { idle: Duration::from_secs(60), total: Duration::from_millis(60), ..short() };
    let response =
        outbound(Policy::closed()).send(Request::get(address).limits(limits).approved(true)).await.unwrap();
    let error = response.body.read().await.err().unwrap();
    assert!(error.to_string().ends_with("did not finish its answer within 0.06 s"), "{error}");
}

#[tokio::test]
async fn lies_about_length_are_noticed() {
    let more = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_vec();
    let huge = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nshort".to_vec();
    let endless = [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), vec![b'x'; 5000]].concat();
    let (address, _) = serve(vec![(more, Then::Close), (huge, Then::Close), (endless, Then::Close)]).await;
    let client = outbound(Policy::closed());
    let request = Request::get(&address).limits(short()).approved(true);
    let error = client.send(request.clone()).await.unwrap().body.read().await.err().unwrap();
    assert!(matches!(error, NetError::Broken { .. }), "ended early: {error}");
    let error = client.send(request.clone()).await.err().unwrap();
    assert!(matches!(error, NetError::TooLarge { limit: 1000, .. }), "stated: {error}");
    let error = client.send(request).await.unwrap().body.read().await.err().unwrap();
    assert!(matches!(error, NetError::TooLarge { limit: 1000, .. }), "counted: {error}");
}

#[tokio::test]
async fn a_small_archive_of_a_huge_text_is_cut_off() {
    // gzip of 200,000 zero bytes in a stored-size of about two hundred.
    let packed = gzip_of_zeros();
    assert!(packed.len() < 1000, "smaller than the limit");
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
    let (address, _) = serve(vec![([head.into_bytes(), packed].concat(), Then::Close)]).await;
    let response =
        outbound(Policy::closed()).send(Request::get(address).limits(short()).approved(true)).await.unwrap();
    let error = response.body.read().await.err().unwrap();
    assert!(matches!(error, NetError::TooLarge { .. }), "{error}");
}

/// One fixed-Huffman block: a zero byte, then copies of 258 bytes at distance 1, then the end mark. Fixed codes:
/// literal 0 is 00110000, length 258 is 11000101, distance 1 is 00000, the end is 0000000.
fn gzip_of_zeros() -> Vec<u8> {
    let mut bits = String::from("110");
    bits.push_str("00110000");
    for _ in 0..500 {
        bits.push_str("1100010100000");
    }
    bits.push_str("0000000");
    let bits: Vec<char> = bits.chars().collect();
    let packed = bits
        .chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0_u8, |sum, (at, bit)| sum | (u8::from(*bit == '1') << at)));
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].into_iter().chain(packed).chain([0; 8]).collect()
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let request = Request::get(format!("http://{address}/?key=s3cret")).approved(true);
    let error = outbound(Policy::closed()).send(request).await.err().unwrap();
    assert!(matches!(error, NetError::Connect { .. }), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_proxy_is_used_save_for_exceptions_and_this_machine() {
    let (proxy, heads) = serve(vec![ok("through the proxy")]).await;
    let (direct, _) = serve(vec![ok("direct")]).await;
    let proxies = Proxies { http: Some(proxy), https: None, except: "skipped.invalid".to_owned() };
    let client = outbound(Policy::any_public()).with_proxies(proxies);
    let response = client.send(Request::get("http://somewhere.invalid/a")).await.unwrap();
    assert_eq!(response.body.read().await.unwrap(), b"through the proxy");
    assert!(heads.lock().unwrap()[0].starts_with("GET http://somewhere.invalid/a"));
    let response = client.send(Request::get(direct).approved(true)).await.unwrap();
    assert_eq!(response.body.read().await.unwrap(), b"direct");
    let error = client.send(Request::get("http://10.0.0.1/")).await.err().unwrap();
    assert!(
        matches!(error, NetError::PrivateAddress { .. }),
        "numbers are checked before the proxy: {error}"
    );
}

#[tokio::test]
async fn http_nodes_get_status_headers_and_text() {
    let (address, heads) = serve(vec![ok("{\"a\": 1}")]).await;
    let client = outbound(Policy::closed().approve(address.trim_start_matches("http://")));
    let request = HttpRequest {
        method: "put".to_owned(),
        url: format!("{address}/items"),
        headers: vec![("x-one".to_owned(), "1".to_owned())],
        body: None,
        timeout: None,
        is_approved: false,
    };
    let response = client.request(request.clone()).await.unwrap();
    assert_eq!((response.status, response.body.as_str()), (200, "{\"a\": 1}"));
    assert!(heads.lock().unwrap()[0].starts_with("PUT /items HTTP/1.1\r\nx-one: 1\r\n"));

    let error = outbound(Policy::closed()).request(request.clone()).await.unwrap_err();
    assert_eq!(error.kind, flowbench_core::ports::ModelErrorKind::Forbidden);

    let (url, _) = serve(vec![ok("{}")]).await;
    let vouched = HttpRequest { url, is_approved: true, ..request };
    assert_eq!(outbound(Policy::closed()).request(vouched).await.unwrap().status, 200);
}
