//! Web sites: what sitemaps list, and pages with what they link to.
//!
//! Listing visits every page, since only the server knows what changed: a page of an earlier build is asked for with
//! its stamp, and costs one short answer when it is the same. What came is put aside for fetching. All requests of a
//! source go out one after the other, at its rate, and as `robots.txt` allows.

mod address;
mod links;
mod robots;
mod sitemap;
mod visit;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use self::address::{Refusal, Sieve};
use self::links::PageLinks;
use self::visit::{Refused, Visited, Visitor};
use super::metadata::Given;
use super::open::{Common, Earlier, Listing};
use super::patterns::Patterns;
use super::spool::{Piece, Spool};
use super::{Entry, Fetched, Problem, SourceContext, SourceError, SourceSpec};
use crate::layers::Digest;

/// Pages where the spec does not say: a handbook, not the web.
const PAGES: usize = 1_000;
/// Requests a second where the spec does not say.
const RATE: f64 = 1.0;
/// Sitemaps of one source; an index lists more only for sites beyond any index on a laptop.
const MOST_SITEMAPS: usize = 200;

/// A web source.
pub(super) struct Web {
    visitor: Visitor,
    sitemap: Option<Url>,
    site: Vec<Url>,
    depth: u32,
    max_pages: usize,
    patterns: Patterns,
    given: Given,
    scratch: Option<PathBuf>,
    earlier: Option<Arc<dyn Earlier>>,
    snapshot: Mutex<Option<Snapshot>>,
}

/// What a crawl brought.
struct Snapshot {
    spool: Spool,
    pages: HashMap<String, Page>,
}

#[derive(Clone)]
struct Page {
    piece: Piece,
    stamp: String,
    media_type: Option<String>,
    modified_ms: Option<u64>,
}

impl Web {
    pub fn open(spec: &SourceSpec, context: &SourceContext, common: &Common) -> Result<Self, SourceError> {
        let Some(web) = &context.web else {
            return Err(SourceError::NoNetwork { name: common.name.clone() });
        };
        let rate = spec.rate.unwrap_or(RATE);
        if !rate.is_finite() || rate <= 0.0 {
            let reason = "it is no number of requests a second".to_owned();
            return Err(SourceError::Setting { key: "rate", reason });
        }
        let sitemap = spec.sitemap.as_deref().map(address::parse).transpose()?;
        let site: Vec<Url> = spec.site.iter().map(|page| address::parse(page)).collect::<Result<_, _>>()?;
        let named: Vec<Url> = sitemap.iter().chain(&site).cloned().collect();
        let approved = context.is_web_approved.then_some(named.as_slice());
        Ok(Self {
            visitor: Visitor::new(web, approved, rate, common.max_bytes),
            sitemap,
            site,
            depth: spec.depth.unwrap_or(0),
            max_pages: spec.max_pages.unwrap_or(PAGES),
            patterns: Patterns::new(&spec.include, &spec.exclude)?,
            given: Given::read(spec.metadata.as_ref(), false)?,
            scratch: context.scratch.clone(),
            earlier: context.earlier.clone(),
            snapshot: Mutex::new(None),
        })
    }

    pub async fn list(&self, common: &Common) -> Result<Listing, SourceError> {
        let mut crawl = Crawl {
            web: self,
            common,
            listing: Listing::default(),
            snapshot: Snapshot { spool: Spool::new(self.scratch.as_deref()), pages: HashMap::new() },
            queue: VecDeque::new(),
            seen: HashSet::new(),
            sieve: Sieve::default(),
            left: BTreeMap::new(),
        };
        if let Some(sitemap) = &self.sitemap {
            Box::pin(crawl.read_sitemaps(sitemap)).await?;
        }
        for page in &self.site {
            crawl.enqueue(page.clone(), 0, true);
        }
        Box::pin(crawl.visit_all()).await?;
        let (listing, snapshot) = crawl.finish();
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
        Ok(listing)
    }

    pub async fn fetch(&self, entry: &Entry, common: &Common) -> Result<Fetched, Problem> {
        if let Some(fetched) = self.put_aside(entry, common)? {
            return Ok(fetched);
        }
        // Unchanged when it was listed, or listed by an earlier process.
        let url = address::parse(&entry.uri).map_err(|error| problem(&entry.uri, error.to_string()))?;
        let visited = Box::pin(self.visitor.page(&url, None)).await;
        let visited = visited.map_err(|refused| told(&entry.uri, &refused))?;
        let (page, bytes) = (self.describe(&visited), visited.bytes);
        Ok(fetched(entry, page, bytes, common))
    }

    fn put_aside(&self, entry: &Entry, common: &Common) -> Result<Option<Fetched>, Problem> {
        let held = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.as_ref().and_then(|snapshot| Some((snapshot, snapshot.pages.get(&entry.name)?)));
        let Some((snapshot, page)) = found else { return Ok(None) };
        let bytes = snapshot.spool.get(page.piece);
        let bytes =
            bytes.map_err(|error| problem(&entry.uri, format!("its text cannot be read back: {error}")))?;
        let description = (page.stamp.clone(), page.media_type.clone(), page.modified_ms);
        Ok(Some(fetched(entry, description, bytes, common)))
    }

    /// Stamp, media type and time of a page.
    fn describe(&self, visited: &Visited) -> (String, Option<String>, Option<u64>) {
        let modified = visited.header("last-modified").map(str::trim);
        let stamp = match (visited.header("etag").map(str::trim), modified) {
            (Some(tag), _) if !tag.is_empty() => format!("etag:{tag}"),
            (_, Some(modified)) if !modified.is_empty() => format!("modified:{modified}"),
            _ => format!("digest:{}", Digest::of(&visited.bytes)),
        };
        let modified_ms = modified
            .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
            .and_then(|time| u64::try_from(time.timestamp().as_millisecond()).ok());
        (stamp, visited.header("content-type").map(str::to_owned), modified_ms)
    }
}

fn fetched(
    entry: &Entry,
    (stamp, media_type, modified_ms): (String, Option<String>, Option<u64>),
    bytes: Vec<u8>,
    common: &Common,
) -> Fetched {
    Fetched {
        entry: Entry { stamp, ..entry.clone() },
        bytes,
        media_type,
        password: common.password.clone(),
        language: common.language.clone(),
        modified_ms,
    }
}

fn problem(place: &str, message: impl Into<String>) -> Problem {
    Problem { place: place.to_owned(), message: message.into(), hint: None }
}

/// A refusal as a problem of an address.
fn told(place: &str, refused: &Refused) -> Problem {
    let (message, hint) = match refused {
        Refused::Robots => ("`robots.txt` of the site closes it to us".to_owned(), None),
        Refused::NoRobots(reason) => (
            format!("`robots.txt` of the site cannot be had, so it counts as closed: {reason}"),
            Some("try again later".to_owned()),
        ),
        Refused::NoDocument(kind) => (format!("it is no document but `{kind}`"), None),
        Refused::Elsewhere(host) => (
            format!("it leads to another host, `{host}`"),
            Some(format!("name the address on `{host}` itself in the source")),
        ),
        Refused::Status(status) => (format!("the server answers {status}"), None),
        Refused::Net(error) => (error.to_string(), error.hint()),
    };
    Problem { place: place.to_owned(), message, hint }
}

/// An address to visit.
struct Waiting {
    url: Url,
    depth: u32,
    /// Named by the spec or a sitemap, and not just linked: when it fails, that is told.
    is_named: bool,
}

/// A crawl in the making.
struct Crawl<'a> {
    web: &'a Web,
    common: &'a Common,
    listing: Listing,
    snapshot: Snapshot,
    queue: VecDeque<Waiting>,
    /// Addresses that were taken into the queue, or that redirects led to.
    seen: HashSet<String>,
    sieve: Sieve,
    /// Pages that were left out, by reason.
    left: BTreeMap<&'static str, usize>,
}

impl Crawl<'_> {
    fn leave(&mut self, reason: &'static str) {
        *self.left.entry(reason).or_default() += 1;
    }

    fn enqueue(&mut self, url: Url, depth: u32, is_named: bool) {
        let relative = url.path().trim_start_matches('/').to_owned();
        if self.seen.contains(url.as_str()) {
            return;
        }
        if self.web.patterns.leaves_out(relative.as_ref()) {
            self.seen.insert(url.into());
        } else if self.seen.len() >= self.web.max_pages.saturating_mul(20) {
            self.leave("beyond twenty times `max_pages`");
        } else if !is_named && !self.sieve.count(&url) {
            self.leave("with yet another query");
        } else {
            self.seen.insert(url.as_str().to_owned());
            self.queue.push_back(Waiting { url, depth, is_named });
        }
    }

    /// Takes the pages of a sitemap, and of those it lists, into the queue. Only the first one must be there.
    async fn read_sitemaps(&mut self, first: &Url) -> Result<(), SourceError> {
        let mut waiting = VecDeque::from([first.clone()]);
        let mut known = HashSet::from([first.to_string()]);
        while let Some(url) = waiting.pop_front() {
            let read = self.web.visitor.list(&url, sitemap::MOST_BYTES).await;
            let parsed = match read {
                Ok(visited) => sitemap::parse(&visited.bytes).map_err(|reason| problem(url.as_str(), reason)),
                Err(refused) => Err(told(url.as_str(), &refused)),
            };
            let listed = match parsed {
                Ok(listed) => listed,
                Err(Problem { place, message, hint }) if url == *first => {
                    return Err(SourceError::Web { address: place, reason: message, hint });
                }
                Err(problem) => {
                    self.listing.problems.push(problem);
                    continue;
                }
            };
            for page in listed.pages {
                match self.local(first, &page) {
                    Some(page) => self.enqueue(page, 0, true),
                    None => self.leave("on other hosts"),
                }
            }
            for further in listed.sitemaps {
                let Some(further) = self.local(first, &further) else {
                    self.listing.problems.push(problem(&further, "this sitemap is on another host"));
                    continue;
                };
                if known.len() >= MOST_SITEMAPS {
                    self.leave("in further sitemaps");
                } else if known.insert(further.to_string()) {
                    waiting.push_back(further);
                }
            }
        }
        Ok(())
    }

    /// An address of a sitemap, if it is on the sitemap's own site.
    fn local(&self, first: &Url, text: &str) -> Option<Url> {
        address::parse(text.trim()).ok().filter(|url| address::is_same_site(first, url))
    }

    async fn visit_all(&mut self) -> Result<(), SourceError> {
        let mut visits = 0;
        while let Some(waiting) = self.queue.pop_front() {
            if visits >= self.web.max_pages {
                let message =
                    format!("{} pages were not visited: `max_pages` is {visits}", self.queue.len() + 1);
                self.listing.notes.push(problem(&self.common.name, message));
                return Ok(());
            }
            visits += 1;
            self.visit(waiting).await?;
        }
        Ok(())
    }

    async fn visit(&mut self, waiting: Waiting) -> Result<(), SourceError> {
        let name = waiting.url.as_str().to_owned();
        let earlier = self.web.earlier.as_ref().and_then(|earlier| {
            let stamp = earlier.stamp(&self.common.name, &name)?;
            let condition = match stamp.split_once(':')? {
                ("etag", tag) => ("if-none-match", tag.to_owned()),
                ("modified", time) => ("if-modified-since", time.to_owned()),
                _ => return None,
            };
            Some((stamp, condition))
        });
        let needs_links = waiting.depth < self.web.depth;
        // Links of a page that did not change are those of its kept bytes.
        let kept = earlier.as_ref().filter(|_| needs_links);
        let kept = kept.and_then(|_| self.web.earlier.as_ref()?.bytes(&self.common.name, &name));
        let earlier = earlier.filter(|_| !needs_links || kept.is_some());
        let condition = earlier.as_ref().map(|(_, (header, value))| (*header, value.as_str()));
        let visited = match self.web.visitor.page(&waiting.url, condition).await {
            Ok(visited) => visited,
            Err(refused) => {
                self.refuse(&waiting, &refused);
                return Ok(());
            }
        };
        if visited.status == 304 {
            if let Some(bytes) = kept {
                self.follow(&waiting, &waiting.url, PageLinks::of(&bytes));
            }
            self.list(&name, earlier.map(|(stamp, _)| stamp).unwrap_or_default());
            return Ok(());
        }
        self.take(&waiting, visited)
    }

    fn refuse(&mut self, waiting: &Waiting, refused: &Refused) {
        match refused {
            _ if waiting.is_named => self.listing.problems.push(told(waiting.url.as_str(), refused)),
            Refused::Robots => self.leave("closed by `robots.txt`"),
            Refused::NoDocument(_) => self.leave("of kinds that are not read"),
            Refused::Elsewhere(_) => self.leave("on other hosts"),
            Refused::Status(404 | 410) => self.leave("leading nowhere"),
            _ => self.listing.problems.push(told(waiting.url.as_str(), refused)),
        }
    }

    /// Takes a page that came: its links, and itself if it is a document.
    fn take(&mut self, waiting: &Waiting, visited: Visited) -> Result<(), SourceError> {
        let url = address::tidied(visited.url.clone());
        let name = url.as_str().to_owned();
        if name != waiting.url.as_str() && !self.seen.insert(name.clone()) {
            // It redirects to a page that is visited on its own.
            return Ok(());
        }
        let kind = visited.header("content-type").unwrap_or_default().to_ascii_lowercase();
        let looks_like_html = visited.bytes.trim_ascii_start().starts_with(b"<");
        let is_html = kind.contains("html") || (kind.is_empty() && looks_like_html);
        let mut page = if is_html { PageLinks::of(&visited.bytes) } else { PageLinks::default() };
        page.obey(visited.header("x-robots-tag").unwrap_or_default());
        let is_noindex = page.is_noindex;
        self.follow(waiting, &url, page);
        let file_name = url.path().rsplit('/').next().unwrap_or_default();
        let media_type = Some(kind.as_str()).filter(|kind| !kind.is_empty());
        if is_noindex {
            self.leave("marked as not to be indexed");
        } else if flowbench_extract::detect_kind(file_name, media_type, &visited.bytes).is_none() {
            match waiting.is_named {
                true => self.listing.problems.push(told(&name, &Refused::NoDocument(kind))),
                false => self.leave("of kinds that are not read"),
            }
        } else {
            let (stamp, media_type, modified_ms) = self.web.describe(&visited);
            let piece = self.snapshot.spool.put(&visited.bytes).map_err(|source| SourceError::Scratch {
                path: self.web.scratch.clone().unwrap_or_else(std::env::temp_dir),
                source,
            })?;
            if self.list(&name, stamp.clone()) {
                self.snapshot.pages.insert(name, Page { piece, stamp, media_type, modified_ms });
            }
        }
        Ok(())
    }

    fn follow(&mut self, waiting: &Waiting, url: &Url, page: PageLinks) {
        if waiting.depth >= self.web.depth || page.is_nofollow {
            return;
        }
        let base = page.base.and_then(|base| url.join(&base).ok()).unwrap_or_else(|| url.clone());
        for link in page.links {
            let Ok(absolute) = base.join(link.trim()) else { continue };
            match self.sieve.sift(url, absolute.as_str()) {
                Ok(link) => self.enqueue(link, waiting.depth + 1, false),
                Err(Refusal::Endless) => self.leave("looking endless"),
                Err(Refusal::Elsewhere | Refusal::NoDocument) => {}
            }
        }
    }

    /// Lists a page, if the patterns take it.
    fn list(&mut self, name: &str, stamp: String) -> bool {
        let path = Url::parse(name).map(|url| url.path().trim_start_matches('/').to_owned());
        let path = path.unwrap_or_default();
        let patterns = &self.web.patterns;
        if patterns.is_choosy() && patterns.takers(path.as_ref()).next().is_none() {
            return false;
        }
        self.listing.entries.push(Entry {
            name: name.to_owned(),
            source: self.common.name.clone(),
            uri: name.to_owned(),
            stamp,
            metadata: self.web.given.fixed(),
        });
        true
    }

    fn finish(mut self) -> (Listing, Snapshot) {
        for (reason, count) in std::mem::take(&mut self.left) {
            let message = match count {
                1 => format!("1 address {reason} was left out"),
                _ => format!("{count} addresses {reason} were left out"),
            };
            self.listing.notes.push(problem(&self.common.name, message));
        }
        self.listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.listing.entries.dedup_by(|a, b| a.name == b.name);
        (self.listing, self.snapshot)
    }
}
