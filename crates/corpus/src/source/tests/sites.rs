//! Web sources against a server on the loopback.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flowbench_core::ports::Clock;
use flowbench_net::{Outbound, Policy, Proxies};

use super::*;

struct StoppedClock;

impl Clock for StoppedClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

#[derive(Clone, Debug)]
struct Asked {
    path: String,
    headers: HashMap<String, String>,
}

/// One answer: status, headers, body.
#[derive(Clone)]
struct Reply(u16, Vec<(&'static str, String)>, Vec<u8>);

impl Reply {
    fn html(body: &str) -> Self {
        Self(200, vec![("content-type", "text/html".to_owned())], format!("<html><body>{body}").into_bytes())
    }

    fn text(body: impl Into<Vec<u8>>) -> Self {
        Self(200, vec![("content-type", "text/plain".to_owned())], body.into())
    }

    fn status(status: u16) -> Self {
        Self(status, Vec::new(), Vec::new())
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.1.push((name, value.to_owned()));
        self
    }
}

/// Listens until the test's process ends; answers with what the function says, 404 for none.
struct Site {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Site {
    fn start(answer: impl Fn(&Asked) -> Option<Reply> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some((request, mut stream)) = stream.ok().and_then(read) else { continue };
                log.lock().unwrap().push(request.clone());
                let Reply(status, headers, body) = answer(&request).unwrap_or(Reply::status(404));
                let mut head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                // A client that hangs up in the middle is its own affair.
                let _ =
                    stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Self { address, asked }
    }

    /// Serves these pages, by path.
    fn of(pages: &[(&str, Reply)]) -> Self {
        let pages: HashMap<String, Reply> =
            pages.iter().map(|(path, reply)| ((*path).to_owned(), reply.clone())).collect();
        Self::start(move |asked| pages.get(&asked.path).cloned())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.path.clone()).collect()
    }

    fn source(&self, settings: serde_json::Value) -> Source {
        Source::open(&self.spec(settings), &approved()).unwrap()
    }

    /// Addresses in settings start with `/`; the rate is beyond noticing.
    fn spec(&self, settings: serde_json::Value) -> SourceSpec {
        let mut spec = spec(settings);
        spec.sitemap = spec.sitemap.map(|path| self.url(&path));
        spec.site = spec.site.iter().map(|path| self.url(path)).collect();
        spec.rate.get_or_insert(10_000.0);
        spec.name.get_or_insert("site".to_owned());
        spec
    }

    /// Names without the server's address.
    fn names(&self, listing: &Listing) -> Vec<String> {
        listing.entries.iter().map(|entry| entry.name.replace(&self.address, "")).collect()
    }

    fn told(&self, problems: &[Problem]) -> Vec<String> {
        told(problems).iter().map(|text| text.replace(&self.address, "")).collect()
    }
}

fn read(stream: TcpStream) -> Option<(Asked, TcpStream)> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.trim().to_lowercase(), value.trim().to_owned());
    }
    Some((Asked { path, headers }, stream))
}

fn outbound(policy: Policy) -> Outbound {
    Outbound::new(policy, Arc::new(StoppedClock)).with_proxies(Proxies::default())
}

fn approved() -> SourceContext {
    SourceContext {
        web: Some(outbound(Policy::closed())),
        is_web_approved: true,
        ..SourceContext::local(".")
    }
}

#[test]
fn links_are_followed_as_deep_as_asked_on_the_same_site() {
    let other = Site::of(&[("/", Reply::html("other"))]);
    let start = format!(
        "<a href=a.html>a</a><a href='/b?utm_source=x#part'>b</a><a href={}>other</a><a href=logo.png></a>\
         <a href=picture>p</a><a href=secret rel=nofollow>s</a><a href=/start>again</a><a href=gone>g</a>",
        other.url("/")
    );
    let site = Site::of(&[
        ("/start", Reply::html(&start)),
        ("/a.html", Reply::html("<a href=/deep>d</a>")),
        ("/b", Reply::text("plain <a href=/no>")),
        ("/picture", Reply(200, vec![("content-type", "image/png".to_owned())], b"\x89PNG".to_vec())),
        ("/deep", Reply::html("deep")),
    ]);
    let source = site.source(json!({"site": ["/start"], "depth": 1}));
    assert!(!source.is_local());
    let listing = wait(source.list()).unwrap();
    assert_eq!(site.names(&listing), ["/a.html", "/b", "/start"]);
    assert_eq!(site.paths(), ["/robots.txt", "/start", "/a.html", "/b", "/picture", "/gone"]);
    assert_eq!(listing.problems, []);
    assert_eq!(
        site.told(&listing.notes),
        [
            "site: 1 address leading nowhere was left out",
            "site: 1 address of kinds that are not read was left out"
        ]
    );
    assert_eq!(other.paths(), [""; 0]);
    let fetched = wait(source.fetch(&listing.entries[1])).unwrap();
    assert_eq!(fetched.bytes, b"plain <a href=/no>");
    assert_eq!(fetched.media_type.as_deref(), Some("text/plain"));
    assert_eq!(site.paths().len(), 6, "what was listed is not asked for again");
    assert_eq!(site.names(&wait(site.source(json!({"site": ["/start"]})).list()).unwrap()), ["/start"]);
}

#[test]
fn we_say_who_we_are_and_obey() {
    let robots = "User-agent: flowbench\nDisallow: /closed\nAllow: /closed/but-open\n";
    let site = Site::of(&[
        ("/robots.txt", Reply::text(robots)),
        (
            "/",
            Reply::html(
                "<a href=/closed/x>1</a><a href=/closed/but-open>2</a><a href=/quiet>3</a><a href=/shy>4</a>",
            ),
        ),
        ("/closed/x", Reply::html("x")),
        ("/closed/but-open", Reply::html("y")),
        ("/quiet", Reply::html("<meta name=robots content=noindex><a href=/behind>b</a>")),
        ("/shy", Reply::html("<a href=/hidden>h</a>").with("x-robots-tag", "nofollow")),
        ("/behind", Reply::html("behind")),
        ("/hidden", Reply::html("hidden")),
    ]);
    let listing = wait(site.source(json!({"site": ["/", "/closed/y"], "depth": 3})).list()).unwrap();
    assert_eq!(site.names(&listing), ["/", "/behind", "/closed/but-open", "/shy"]);
    assert_eq!(site.told(&listing.problems), ["/closed/y: `robots.txt` of the site closes it to us"]);
    assert_eq!(
        site.told(&listing.notes),
        [
            "site: 1 address closed by `robots.txt` was left out",
            "site: 1 address marked as not to be indexed was left out"
        ]
    );
    assert!(
        site.asked.lock().unwrap().iter().all(|asked| asked.headers["user-agent"].starts_with("flowbench/"))
    );
    assert!(!site.paths().contains(&"/closed/x".to_owned()) && !site.paths().contains(&"/hidden".to_owned()));
}

#[test]
fn a_site_whose_robots_cannot_be_read_is_closed() {
    let site = Site::of(&[("/robots.txt", Reply::status(500)), ("/", Reply::html("open?"))]);
    let listing = wait(site.source(json!({"site": ["/"]})).list()).unwrap();
    assert_eq!(
        site.told(&listing.problems),
        ["/: `robots.txt` of the site cannot be had, so it counts as closed: the server answers 500"]
    );
    assert_eq!(site.paths(), ["/robots.txt"]);
}

#[test]
fn sitemaps_and_their_indexes_are_read() {
    let site = Site::start(|asked| {
        let host = format!("http://{}", asked.headers["host"]);
        let page = |path: &str| format!("<url><loc>{host}{path}</loc></url>");
        Some(match asked.path.as_str() {
            "/index.xml" => Reply::text(format!(
                "<sitemapindex><sitemap><loc>{host}/one.xml</loc></sitemap><sitemap><loc>{host}/two.txt</loc></sitemap>\
                 <sitemap><loc>{host}/index.xml</loc></sitemap><sitemap><loc>{host}/gone.xml</loc></sitemap>\
                 <sitemap><loc>http://example.com/three.xml</loc></sitemap></sitemapindex>"
            )),
            "/one.xml" => Reply::text(format!(
                "<urlset>{}{}<url><loc>https://example.com/x</loc></url></urlset>",
                page("/a"),
                page("/missing")
            )),
            "/two.txt" => Reply::text(format!("{host}/b\n{host}/a\n")),
            "/a" | "/b" => Reply::html("page"),
            _ => return None,
        })
    });
    let listing =
        wait(site.source(json!({"sitemap": "/index.xml", "metadata": {"kind": "web"}})).list()).unwrap();
    assert_eq!(site.names(&listing), ["/a", "/b"]);
    assert_eq!(listing.entries[0].metadata["kind"], "web");
    assert_eq!(
        site.told(&listing.problems),
        [
            "http://example.com/three.xml: this sitemap is on another host",
            "/gone.xml: the server answers 404",
            "/missing: the server answers 404",
        ]
    );
    assert_eq!(site.told(&listing.notes), ["site: 1 address on other hosts was left out"]);
    let error = wait(site.source(json!({"sitemap": "/a"})).list()).unwrap_err();
    assert!(error.to_string().contains("no sitemap"), "{error}");
    let error = wait(site.source(json!({"sitemap": "/none"})).list()).unwrap_err();
    assert_eq!(error.to_string().replace(&site.address, ""), "`/none`: the server answers 404");
}

#[test]
fn redirects_stay_on_the_site() {
    let other = Site::of(&[("/x", Reply::html("other"))]);
    let site = Site::of(&[
        ("/old", Reply::status(301).with("location", "/new")),
        ("/new", Reply::html("new")),
        ("/away", Reply::status(302).with("location", &other.url("/x"))),
    ]);
    let listing = wait(site.source(json!({"site": ["/old", "/new", "/away"]})).list()).unwrap();
    assert_eq!(site.names(&listing), ["/new"]);
    let host = other.address.trim_start_matches("http://");
    assert_eq!(site.told(&listing.problems), [format!("/away: it leads to another host, `{host}`")]);
    assert_eq!(other.paths(), [""; 0], "the other host was never asked");
}

struct Kept(HashMap<String, (String, Vec<u8>)>);

impl Earlier for Kept {
    fn stamp(&self, _: &str, name: &str) -> Option<String> {
        self.0.get(name).map(|(stamp, _)| stamp.clone())
    }

    fn bytes(&self, _: &str, name: &str) -> Option<Vec<u8>> {
        self.0.get(name).map(|(_, bytes)| bytes.clone())
    }
}

#[test]
fn unchanged_pages_are_not_sent_again() {
    let site = Site::start(|asked| {
        let condition = |name: &str| asked.headers.get(name).cloned();
        Some(match asked.path.as_str() {
            "/" if condition("if-none-match").as_deref() == Some("\"v1\"") => Reply::status(304),
            "/" => Reply::html("<a href=/dated>d</a><a href=/bare>b</a>").with("etag", "\"v1\""),
            "/dated" if condition("if-modified-since").is_some() => Reply::status(304),
            "/dated" => Reply::html("dated").with("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
            "/bare" => Reply::html("bare"),
            _ => return None,
        })
    });
    let settings = json!({"site": ["/"], "depth": 1});
    let source = site.source(settings.clone());
    let first = wait(source.list()).unwrap();
    assert_eq!(site.names(&first), ["/", "/bare", "/dated"]);
    assert_eq!(first.entries[0].stamp, "etag:\"v1\"");
    assert!(first.entries[1].stamp.starts_with("digest:"));
    let kept: HashMap<_, _> = first
        .entries
        .iter()
        .map(|entry| {
            let fetched = wait(source.fetch(entry)).unwrap();
            if entry.name.ends_with("/dated") {
                assert_eq!(fetched.modified_ms, Some(1_445_412_480_000));
            }
            (entry.name.clone(), (entry.stamp.clone(), fetched.bytes))
        })
        .collect();

    site.asked.lock().unwrap().clear();
    let mut context = approved();
    context.earlier = Some(Arc::new(Kept(kept)));
    let source = Source::open(&site.spec(settings), &context).unwrap();
    let second = wait(source.list()).unwrap();
    assert_eq!(second.entries, first.entries, "links of an unchanged page are followed");
    assert_eq!(site.paths(), ["/robots.txt", "/", "/dated", "/bare"]);
    let fetched = wait(source.fetch(&second.entries[0])).unwrap();
    assert!(fetched.bytes.starts_with(b"<html>"), "asked for after all, it is sent whole");
}

#[test]
fn a_site_without_end_is_left_after_so_many_pages() {
    let site = Site::start(|asked| {
        let number: usize = asked.path.trim_start_matches("/page").parse().ok()?;
        Some(Reply::html(&format!(
            "<a href=/page{}>next</a><a href=/page{}>more</a>",
            number * 2,
            number * 2 + 1
        )))
    });
    let listing =
        wait(site.source(json!({"site": ["/page1"], "depth": 100, "max_pages": 10})).list()).unwrap();
    assert_eq!(listing.entries.len(), 10);
    assert_eq!(site.told(&listing.notes), ["site: 11 pages were not visited: `max_pages` is 10"]);
}

#[test]
fn too_large_and_broken_answers_cost_one_page() {
    let site = Site::of(&[
        ("/", Reply::html("<a href=/large>l</a><a href=/busy>b</a><a href=/fine>f</a>")),
        ("/large", Reply::text(vec![b'x'; 5_000])),
        ("/busy", Reply::status(500)),
        ("/fine", Reply::html("fine")),
    ]);
    let listing = wait(site.source(json!({"site": ["/"], "depth": 1, "max_bytes": 1_000})).list()).unwrap();
    assert_eq!(site.names(&listing), ["/", "/fine"]);
    let host = site.address.trim_start_matches("http://");
    assert_eq!(
        site.told(&listing.problems),
        [
            format!("/large: answer of `{host}` is larger than 1000 bytes"),
            "/busy: the server answers 500".to_owned()
        ]
    );
}

#[test]
fn nobody_is_called_without_leave() {
    let site = Site::of(&[("/", Reply::html("x"))]);
    let spec = site.spec(json!({"site": ["/"]}));
    let error = Source::open(&spec, &SourceContext::local(".")).unwrap_err();
    assert_eq!(error.to_string(), "the source `site` is on the web, and the network is not to be used here");
    let mut context = approved();
    context.is_web_approved = false;
    let listing = wait(Source::open(&spec, &context).unwrap().list()).unwrap();
    assert_eq!(listing.entries, []);
    let host = site.address.trim_start_matches("http://");
    assert!(listing.problems[0].message.contains(&format!("host `{host}` is not allowed")), "{listing:?}");
    context.web = Some(outbound(Policy::any_public()));
    let listing = wait(Source::open(&spec, &context).unwrap().list()).unwrap();
    assert!(listing.problems[0].message.contains("is a private address and was not approved"), "{listing:?}");
    assert_eq!(site.paths(), [""; 0]);
}

#[test]
fn include_and_exclude_go_by_the_path() {
    let site = Site::of(&[
        ("/docs/", Reply::html("<a href=a>a</a><a href=draft/x>x</a><a href=/blog/y>y</a>")),
        ("/docs/a", Reply::html("a")),
        ("/docs/draft/x", Reply::html("x")),
        ("/blog/y", Reply::html("y")),
    ]);
    let settings = json!({"site": ["/docs/"], "depth": 1, "include": ["docs"], "exclude": ["docs/draft"]});
    assert_eq!(site.names(&wait(site.source(settings).list()).unwrap()), ["/docs/", "/docs/a"]);
    assert_eq!(site.paths(), ["/robots.txt", "/docs/", "/docs/a", "/blog/y"]);
}
