//! The package index: from a package and a version to the address and digest of its wheel.
//!
//! Speaks the simple API, in JSON where the index can, else in HTML. The index is of the user's own choosing and decides
//! where its files lie; what it says is read as hostile input all the same.

use base64::Engine;
use flowbench_net::{Limits, Outbound, Request};
use serde::Deserialize;
use std::time::Duration;
use url::Url;

use crate::digest::is_sha256;
use crate::error::CatalogError;
use crate::fetch::{Trust, host_of, send};

/// Pages of packages with thousands of releases are some megabytes.
const MOST_PAGE_BYTES: u64 = 32 << 20;

const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// A package index and what it asks to be shown.
pub(crate) struct PackageIndex {
    base: Url,
    authorization: Option<String>,
}

/// A wheel to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wheel {
    pub filename: String,
    pub url: String,
    pub sha256: Option<String>,
    pub bytes: Option<u64>,
    pub headers: Vec<(String, String)>,
}

/// One file as the index lists it.
#[derive(Debug, PartialEq, Deserialize)]
struct Listed {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: Hashes,
    #[serde(default)]
    size: Option<u64>,
    /// `false`, or the reason.
    #[serde(default)]
    yanked: serde_json::Value,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Hashes {
    #[serde(default)]
    sha256: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    files: Vec<Listed>,
}

impl PackageIndex {
    /// An index by its address, which may hold credentials as pip writes them.
    pub fn new(address: &str) -> Result<Self, CatalogError> {
        let unusable = || CatalogError::NoIndex { reason: "its address is not one".to_owned() };
        let mut base = Url::parse(address).map_err(|_| unusable())?;
        let authorization = (!base.username().is_empty() || base.password().is_some()).then(|| {
            let plain = |text: &str| percent_decoded(text);
            let pair = format!("{}:{}", plain(base.username()), plain(base.password().unwrap_or_default()));
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        });
        base.set_username("").and_then(|()| base.set_password(None)).map_err(|()| unusable())?;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        Ok(Self { base, authorization })
    }

    /// The wheel of a version that runs everywhere, or else the first one of that version.
    pub async fn wheel(&self, net: &Outbound, package: &str, version: &str) -> Result<Wheel, CatalogError> {
        let package = normalised(package);
        let broken = |reason: String| CatalogError::Index { package: package.clone(), reason };
        let page = self.base.join(&format!("{package}/")).map_err(|error| broken(error.to_string()))?;
        let limits = Limits {
            headers: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(300),
            body_bytes: MOST_PAGE_BYTES,
        };
        let mut request = Request::get(page.as_str()).header("accept", ACCEPT).limits(limits);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let failed = |source| CatalogError::Net { file: package.clone(), source };
        let answer = send(net, request, Trust::Configured).await.map_err(failed)?;
        if answer.status == 404 {
            return Err(CatalogError::NoWheel { package, version: version.to_owned() });
        }
        if !answer.is_success() {
            let (host, status) = (host_of(&answer.url), answer.status);
            return Err(CatalogError::Answer { host, status, file: package });
        }
        let base = Url::parse(&answer.url).map_err(|error| broken(error.to_string()))?;
        let is_json = answer.header("content-type").is_some_and(|kind| kind.contains("json"));
        let body = answer.body.read().await.map_err(failed)?;
        let listed = match is_json {
            true => serde_json::from_slice::<Page>(&body).map_err(|error| broken(error.to_string()))?.files,
            false => listed_in_html(&String::from_utf8_lossy(&body)),
        };
        let found = choose(&listed, &package, version);
        let found = found
            .ok_or_else(|| CatalogError::NoWheel { package: package.clone(), version: version.to_owned() })?;
        let url = base.join(&found.url).map_err(|error| broken(error.to_string()))?;
        Ok(self.wheel_at(found, url))
    }

    fn wheel_at(&self, listed: &Listed, mut url: Url) -> Wheel {
        let of_fragment = url.fragment().and_then(|fragment| fragment.strip_prefix("sha256="));
        let sha256 = listed.hashes.sha256.as_deref().or(of_fragment).map(str::to_lowercase);
        let sha256 = sha256.filter(|sha256| is_sha256(sha256));
        url.set_fragment(None);
        // Indexes keep files on hosts of their own, in private networks too, and the user trusts this index with code;
        // but the user's credentials are for the index itself.
        let is_index = url.origin() == self.base.origin();
        let authorization = self.authorization.iter().filter(|_| is_index);
        Wheel {
            filename: listed.filename.clone(),
            url: url.into(),
            sha256,
            bytes: listed.size,
            headers: authorization.map(|value| ("authorization".to_owned(), value.clone())).collect(),
        }
    }
}

/// A package's name as indexes write it.
fn normalised(package: &str) -> String {
    let parts = package.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

fn choose<'a>(listed: &'a [Listed], package: &str, version: &str) -> Option<&'a Listed> {
    let fits = |file: &&Listed| {
        let Some(stem) = file.filename.strip_suffix(".whl") else { return false };
        let mut parts = stem.split('-');
        let name = parts.next().map(normalised);
        name.as_deref() == Some(package) && parts.next() == Some(version)
    };
    let any = |file: &&Listed| file.filename.ends_with("-none-any.whl");
    // A withdrawn release may still be named exactly, as pip has it, but only if there is no other.
    let is_yanked =
        |file: &&Listed| !matches!(file.yanked, serde_json::Value::Null | serde_json::Value::Bool(false));
    let mut fitting: Vec<&Listed> = listed.iter().filter(fits).collect();
    fitting.sort_by_key(|file| (is_yanked(file), !any(file)));
    fitting.first().copied()
}

/// The links of a simple page: `<a href="ADDRESS#sha256=...">FILENAME</a>`.
fn listed_in_html(page: &str) -> Vec<Listed> {
    let mut listed = Vec::new();
    for anchor in page.split("<a ").skip(1) {
        let Some((attributes, rest)) = anchor.split_once('>') else { continue };
        let Some(filename) = rest.split('<').next().map(|text| unescaped(text.trim())) else { continue };
        let Some(url) = attribute(attributes, "href") else { continue };
        let yanked = match attributes.contains("data-yanked") {
            true => serde_json::Value::Bool(true),
            false => serde_json::Value::Null,
        };
        listed.push(Listed { filename, url: unescaped(url), hashes: Hashes::default(), size: None, yanked });
    }
    listed
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let value = attributes.split_once(&format!("{name}="))?.1;
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split(quote).next()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (bytes[at], code.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 3;
            }
            (byte, _) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(filename: &str, yanked: bool) -> Listed {
        let yanked = serde_json::Value::Bool(yanked);
        let url = format!("../{filename}");
        Listed { filename: filename.to_owned(), url, hashes: Hashes::default(), size: None, yanked }
    }

    #[track_caller]
    fn check(files: &[(&str, bool)], expected: Option<&str>) {
        let files: Vec<_> = files.iter().map(|(name, yanked)| listed(name, *yanked)).collect();
        let found = choose(&files, "my-model", "1.0.0").map(|file| file.filename.as_str());
        assert_eq!(found, expected);
    }

    #[test]
    fn the_wheel_of_exactly_that_version_is_chosen() {
        check(
            &[("my_model-1.0.0.tar.gz", false), ("my_model-1.0.0-py3-none-any.whl", false)],
            Some("my_model-1.0.0-py3-none-any.whl"),
        );
        check(&[("My.Model-1.0.0-py3-none-any.whl", false)], Some("My.Model-1.0.0-py3-none-any.whl"));
        check(
            &[("my_model-1.0.0.1-py3-none-any.whl", false), ("my_model_2-1.0.0-py3-none-any.whl", false)],
            None,
        );
        check(
            &[
                ("my_model-1.0.0-cp312-cp312-linux_x86_64.whl", false),
                ("my_model-1.0.0-py3-none-any.whl", false),
            ],
            Some("my_model-1.0.0-py3-none-any.whl"),
        );
        check(
            &[("my_model-1.0.0-py3-none-any.whl", true), ("my_model-1.0.0-1-py3-none-any.whl", false)],
            Some("my_model-1.0.0-1-py3-none-any.whl"),
        );
    }

    #[test]
    fn html_pages_are_read_too() {
        let page = "<!DOCTYPE html><body><a class='x' href=\"../f/a-1-py3-none-any.whl?x=1&amp;y=2#sha256=ab\" data-yanked=\"\">a-1-py3-none-any.whl</a></body>";
        let files = listed_in_html(page);
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].filename, "a-1-py3-none-any.whl");
        assert_eq!(files[0].url, "../f/a-1-py3-none-any.whl?x=1&y=2#sha256=ab");
    }

    #[test]
    fn credentials_go_to_the_index_and_nowhere_else() {
        let index = PackageIndex::new("https://me:p%40ss@index.test/simple").unwrap();
        assert_eq!(index.base.as_str(), "https://index.test/simple/");
        let at = |url: &str| index.wheel_at(&listed("a-1-py3-none-any.whl", false), Url::parse(url).unwrap());
        let own = at("https://index.test/files/a.whl");
        assert_eq!(own.headers, [("authorization".to_owned(), "Basic bWU6cEBzcw==".to_owned())]);
        let other = at("https://files.test/a.whl");
        assert_eq!(other.headers, []);
    }
}
