//! Requests, one after the other and not too quickly.

use std::collections::HashMap;
use std::time::Duration;

use flowbench_net::{Limits, NetError, Outbound, Policy, Request, Response};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::address::{is_same_site, site_of};
use super::robots::{self, Robots};

/// Longest wait that a server may ask for by `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Who visits.
pub(super) struct Visitor {
    web: Outbound,
    /// Least time between two requests.
    interval: Duration,
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pace: Pace,
    /// What each site allows; an error where it could not be asked.
    sites: HashMap<String, Result<Robots, String>>,
}

/// An answer, read whole.
pub(super) struct Visited {
    pub url: Url,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

impl Visited {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// By `robots.txt`.
    Robots,
    /// The site's `robots.txt` cannot be had, so nothing is allowed.
    NoRobots(String),
    /// It is nothing that can be read; the media type.
    NoDocument(String),
    /// It leads to another site.
    Elsewhere(String),
    /// The server says no.
    Status(u16),
    /// The way there failed.
    Net(NetError),
}

impl Visitor {
    /// `approved` are the addresses that somebody approved: then these sites are called and no other.
    pub fn new(web: &Outbound, approved: Option<&[Url]>, rate: f64, max_bytes: u64) -> Self {
        let web = match approved {
            Some(addresses) => {
                let mut policy = Policy::closed();
                for address in addresses {
                    policy = policy.approve(&site_of(address));
                    if address.port().is_none() && address.scheme() == "http" {
                        policy = policy.approve(&format!("{}:443", address.host_str().unwrap_or_default()));
                    }
                }
                web.with_policy(policy)
            }
            None => web.clone(),
        };
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(LONGEST_WAIT);
        Self { web, interval, max_bytes, state: Mutex::default() }
    }

    /// Visits a page, as `robots.txt` allows, and reads it if it looks like a document. An answer to a conditional
    /// request may be 304 and empty.
    pub async fn page(&self, url: &Url, condition: Option<(&str, &str)>) -> Result<Visited, Refused> {
        let mut state = self.state.lock().await;
        let delay = self.permission(&mut state, url).await?;
        let limits = limits(self.max_bytes);
        let response = self.polite(&mut state, url, condition, limits, delay).await?;
        let target = self.arrived(url, &response)?;
        if target.path() != url.path() {
            self.permission(&mut state, &target).await?;
        }
        if response.status == 304 && condition.is_some() {
            return read(response, target).await;
        }
        if !response.is_success() {
            return Err(Refused::Status(response.status));
        }
        match response.header("content-type").filter(|kind| !may_be_document(kind)) {
            Some(kind) => Err(Refused::NoDocument(kind.to_owned())),
            None => read(response, target).await,
        }
    }

    /// Reads a list of pages, of at most so many bytes.
    pub async fn list(&self, url: &Url, max_bytes: u64) -> Result<Visited, Refused> {
        let mut state = self.state.lock().await;
        let delay = self.permission(&mut state, url).await?;
        let response = self.polite(&mut state, url, None, limits(max_bytes), delay).await?;
        let target = self.arrived(url, &response)?;
        match response.is_success() {
            true => read(response, target).await,
            false => Err(Refused::Status(response.status)),
        }
    }

    /// What a site asks us to wait between requests, if it lets us in at all.
    async fn permission(&self, state: &mut State, url: &Url) -> Result<Option<Duration>, Refused> {
        let site = site_of(url);
        if !state.sites.contains_key(&site) {
            let robots = self.robots(state, url).await;
            if let Ok(Robots { delay: Some(delay), .. }) = &robots {
                state.pace.pause(*delay);
            }
            state.sites.insert(site.clone(), robots);
        }
        match state.sites.get(&site) {
            Some(Ok(robots)) => {
                let path = match url.query() {
                    Some(query) => format!("{}?{query}", url.path()),
                    None => url.path().to_owned(),
                };
                robots.allows(&path).then_some(robots.delay).ok_or(Refused::Robots)
            }
            Some(Err(reason)) => Err(Refused::NoRobots(reason.clone())),
            None => Ok(None),
        }
    }

    /// `robots.txt` of a site. None there means that all is open; an answer that fails means that all is closed.
    async fn robots(&self, state: &mut State, page: &Url) -> Result<Robots, String> {
        let mut url = page.clone();
        url.set_path("/robots.txt");
        url.set_query(None);
        let told = |refused: Refused| match refused {
            Refused::Net(error) => error.to_string(),
            Refused::Elsewhere(host) => format!("it leads to another host, `{host}`"),
            Refused::Status(status) => format!("the server answers {status}"),
            _ => "it is closed".to_owned(),
        };
        let limits = limits(64 << 20);
        let response = self.polite(state, &url, None, limits, None).await.map_err(told)?;
        self.arrived(&url, &response).map_err(told)?;
        match response.status {
            200..300 => {}
            400..500 => return Ok(Robots::default()),
            status => return Err(format!("the server answers {status}")),
        }
        let mut body = response.body;
        let mut bytes = Vec::new();
        while bytes.len() < robots::MOST_BYTES {
            match body.next().await.map_err(|error| error.to_string())? {
                Some(piece) => bytes.extend_from_slice(&piece),
                None => break,
            }
        }
        Ok(Robots::parse(&bytes))
    }

    /// Waits for its turn and asks; asks once more when the server says that it was too quick.
    async fn polite(
        &self,
        state: &mut State,
        url: &Url,
        condition: Option<(&str, &str)>,
        limits: Limits,
        delay: Option<Duration>,
    ) -> Result<Response, Refused> {
        let interval = self.interval.max(delay.unwrap_or_default());
        for attempt in 0..2 {
            state.pace.wait(interval).await;
            let mut request = Request::get(url.as_str()).limits(limits);
            if let Some((name, value)) = condition {
                request = request.header(name, value);
            }
            let response = self.web.send(request).await.map_err(|error| match error {
                NetError::HostNotAllowed { host } if !url_is_of(url, &host) => Refused::Elsewhere(host),
                error => Refused::Net(error),
            })?;
            let wait = response.header("retry-after").and_then(|value| value.trim().parse::<u64>().ok());
            match (response.status, wait) {
                (429 | 503, Some(seconds)) if attempt == 0 => {
                    state.pace.pause(Duration::from_secs(seconds).min(LONGEST_WAIT));
                }
                _ => return Ok(response),
            }
        }
        Err(Refused::Status(429))
    }

    /// Where redirects led; refused if that is another site.
    fn arrived(&self, url: &Url, response: &Response) -> Result<Url, Refused> {
        let target = Url::parse(&response.url).unwrap_or_else(|_| url.clone());
        match is_same_site(url, &target) {
            true => Ok(target),
            false => Err(Refused::Elsewhere(target.host_str().unwrap_or_default().to_owned())),
        }
    }
}

/// Whether a refusal of the policy is about this address and not about one it redirects to.
fn url_is_of(url: &Url, shown_host: &str) -> bool {
    let own = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => shown_host == format!("{own}:{port}"),
        None => shown_host == own,
    }
}

async fn read(response: Response, url: Url) -> Result<Visited, Refused> {
    let Response { status, headers, body, .. } = response;
    let bytes = body.read().await.map_err(Refused::Net)?;
    Ok(Visited { url, status, headers, bytes })
}

/// A page that takes longer is not worth the wait.
fn limits(body_bytes: u64) -> Limits {
    let half_minute = Duration::from_secs(30);
    Limits { headers: half_minute, idle: half_minute, total: Duration::from_secs(300), body_bytes }
}

/// False for media types that hold no text.
fn may_be_document(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let family = essence.split('/').next().unwrap_or_default();
    let is_other = matches!(
        essence.as_str(),
        "text/css" | "text/javascript" | "application/javascript" | "application/zip" | "application/gzip"
    );
    !is_other && !matches!(family, "image" | "audio" | "video" | "font")
}

/// When the next request may go out.
#[derive(Debug, Default)]
struct Pace {
    next: Option<Instant>,
}

impl Pace {
    /// Waits until the latest request is so long ago, and takes the turn.
    async fn wait(&mut self, interval: Duration) {
        if let Some(next) = self.next {
            sleep_until(next).await;
        }
        self.next = Some(Instant::now() + interval);
    }

    /// Puts the next turn off.
    fn pause(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        self.next = Some(self.next.map_or(end, |next| next.max(end)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_keep_their_distance() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut times = Vec::new();
        for _ in 0..3 {
            pace.wait(Duration::from_millis(1_500)).await;
            times.push(start.elapsed().as_millis());
        }
        pace.pause(Duration::from_secs(10));
        pace.wait(Duration::from_millis(1_500)).await;
        times.push(start.elapsed().as_millis());
        assert_eq!(times, [0, 1_500, 3_000, 13_000]);
    }

    #[test]
    fn pictures_are_no_documents() {
        assert!(may_be_document("text/html; charset=utf-8"));
        assert!(may_be_document("application/pdf"));
        assert!(!may_be_document("IMAGE/png"));
        assert!(!may_be_document("text/css"));
    }
}
