//! Addresses of pages: one spelling for each, and none of those that sites make without end.

use std::collections::BTreeMap;

use url::Url;

use crate::source::SourceError;

/// Parameters that say who came from where, not what is shown.
const IDLE_PARAMETERS: [&str; 9] =
    ["fbclid", "gclid", "msclkid", "phpsessid", "jsessionid", "sessionid", "session_id", "sid", "ref_src"];
/// Endings that are never documents, so that they are not even asked for.
const NEVER_DOCUMENTS: [&str; 38] = [
    "7z", "apk", "avi", "avif", "bin", "bmp", "bz2", "css", "deb", "dmg", "eot", "exe", "flac", "gif", "gz",
    "ico", "iso", "jpeg", "jpg", "js", "m4a", "mjs", "mov", "mp3", "mp4", "mpg", "msi", "ogg", "png", "rar",
    "svg", "tar", "tif", "tiff", "ttf", "wav", "webm", "webp",
];
/// Longer addresses, more parameters, deeper or more repetitive paths are made by programs that never end.
const LONGEST: usize = 2_000;
const MOST_PARAMETERS: usize = 4;
const DEEPEST: usize = 20;
/// Different queries of one path: a calendar has thousands.
const MOST_QUERIES: usize = 50;

/// Reads an address of the spec.
pub(super) fn parse(address: &str) -> Result<Url, SourceError> {
    let refused = |reason: String| SourceError::Address {
        address: address.split(['?', '#']).next().unwrap_or_default().to_owned(),
        reason,
    };
    let url = Url::parse(address).map_err(|error| refused(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refused("only http and https are spoken".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it holds a user name or password".to_owned()));
    }
    Ok(tidied(url))
}

/// The usual spelling: no fragment, no idle parameters, the others in order.
pub(super) fn tidied(mut url: Url) -> Url {
    url.set_fragment(None);
    let mut pairs: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !name.starts_with("utm_") && !IDLE_PARAMETERS.contains(&name.as_str())
        })
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    if pairs.is_empty() {
        url.set_query(None);
    } else {
        pairs.sort();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url
}

/// Host and port, the name under which rules of a site are kept.
pub(super) fn site_of(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// True for two addresses of one site; encryption may come on the way.
pub(super) fn is_same_site(one: &Url, other: &Url) -> bool {
    let is_usual = |url: &Url| url.port().is_none();
    one.host_str() == other.host_str()
        && (site_of(one) == site_of(other) || (is_usual(one) && is_usual(other)))
}

/// Why an address that a page links to is not visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another site, or no page at all.
    Elsewhere,
    /// Picture, program and the like.
    NoDocument,
    /// One of those that have no end.
    Endless,
}

/// Chooses among links.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// Different queries by path.
    queries: BTreeMap<String, usize>,
}

impl Sieve {
    /// The address to visit for a link on a page, or why there is none.
    pub fn sift(&mut self, page: &Url, link: &str) -> Result<Url, Refusal> {
        let url = page.join(link.trim()).map_err(|_| Refusal::Elsewhere)?;
        if !matches!(url.scheme(), "http" | "https")
            || !is_same_site(page, &url)
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(Refusal::Elsewhere);
        }
        let mut url = tidied(url);
        if page.scheme() == "https" && url.scheme() == "http" && url.set_scheme("https").is_err() {
            return Err(Refusal::Elsewhere);
        }
        let last = url.path().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        if last.rsplit_once('.').is_some_and(|(_, ending)| NEVER_DOCUMENTS.contains(&ending)) {
            return Err(Refusal::NoDocument);
        }
        if is_endless(&url) {
            return Err(Refusal::Endless);
        }
        Ok(url)
    }

    /// Counts a new address; false where its path has too many queries already.
    pub fn count(&mut self, url: &Url) -> bool {
        if url.query().is_none() {
            return true;
        }
        let count = self.queries.entry(format!("{}{}", site_of(url), url.path())).or_default();
        *count += 1;
        *count <= MOST_QUERIES
    }
}

fn is_endless(url: &Url) -> bool {
    let segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let repeats = segments.iter().any(|one| segments.iter().filter(|other| other == &one).count() > 2);
    url.as_str().len() > LONGEST
        || url.query_pairs().count() > MOST_PARAMETERS
        || segments.len() > DEEPEST
        || repeats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(link: &str, expected: Result<&str, Refusal>) {
        let page = parse("https://example.com/docs/start.html?b=2").unwrap();
        let found = Sieve::default().sift(&page, link).map(String::from);
        assert_eq!(found, expected.map(str::to_owned), "of `{link}`");
    }

    #[test]
    fn links_get_one_spelling() {
        check("next.html#part", Ok("https://example.com/docs/next.html"));
        check("/a/../b//", Ok("https://example.com/b//"));
        check("?z=1&a=2&utm_source=x&PHPSESSID=9", Ok("https://example.com/docs/start.html?a=2&z=1"));
        check("HTTP://EXAMPLE.com:80/x", Ok("https://example.com/x"));
        check("  //example.com/ü ", Ok("https://example.com/%C3%BC"));
        check("/v1.2", Ok("https://example.com/v1.2"));
    }

    #[test]
    fn links_that_lead_elsewhere_or_nowhere_are_left() {
        for link in
            ["https://example.org/", "mailto:a@b.c", "javascript:x()", "//sub.example.com/", "http://["]
        {
            check(link, Err(Refusal::Elsewhere));
        }
        check("https://me:secret@example.com/", Err(Refusal::Elsewhere));
        check("https://example.com:8443/", Err(Refusal::Elsewhere));
        check("/logo.PNG?x=1", Err(Refusal::NoDocument));
        check("/a/b/a/b/a/b", Err(Refusal::Endless));
        check("?a=1&b=2&c=3&d=4&e=5", Err(Refusal::Endless));
        check(&"x/".repeat(1_500), Err(Refusal::Endless));
    }

    #[test]
    fn a_calendar_ends() {
        let mut sieve = Sieve::default();
        let taken = (0..1_000)
            .filter(|day| {
                sieve.count(&Url::parse(&format!("http://example.com/calendar?day={day}")).unwrap())
            })
            .count();
        assert_eq!(taken, MOST_QUERIES);
    }

    #[test]
    fn addresses_of_other_kinds_are_refused() {
        let error = |address| parse(address).unwrap_err().to_string();
        assert_eq!(
            error("ftp://example.com/a?key=secret"),
            "address `ftp://example.com/a` cannot be used: only http and https are spoken"
        );
        assert_eq!(error("example.com"), "address `example.com` cannot be used: relative URL without a base");
        assert!(error("http://a:b@example.com/").ends_with("it holds a user name or password"));
    }
}
