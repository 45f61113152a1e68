//! How old an index is, and what it costs to keep it younger.

use serde::Serialize;

use crate::manifest::{DocumentRecord, Manifest};

/// How old the sources of an index are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FreshnessReport {
    /// By source, in the order of the spec.
    pub sources: Vec<SourceFreshness>,
    /// True if any source is older than it may be.
    pub is_stale: bool,
}

/// How old one source is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceFreshness {
    /// Name.
    pub name: String,
    /// Documents of it that have chunks.
    pub documents: usize,
    /// Chunks of it: what a full refresh would embed.
    pub chunks: usize,
    /// Seconds since it was last listed.
    pub age_s: u64,
    /// Oldest allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
    /// True if it is older than that.
    pub is_stale: bool,
    /// Seconds since its newest document changed, where documents tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_s: Option<u64>,
    /// Seconds since its oldest document changed, where documents tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_s: Option<u64>,
    /// Listings a month that the policy asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listings_a_month: Option<u64>,
}

/// Seconds of thirty days.
const MONTH_S: u64 = 30 * 24 * 60 * 60;

/// Looks at a generation at a point in time.
pub fn freshness(manifest: &Manifest, documents: &[DocumentRecord], now_ms: u64) -> FreshnessReport {
    let since = |ms: u64| now_ms.saturating_sub(ms) / 1000;
    let sources: Vec<SourceFreshness> = manifest
        .sources
        .iter()
        .map(|source| {
            let own = || documents.iter().filter(|document| document.entry.source == source.name);
            let age_s = since(source.listed_ms);
            SourceFreshness {
                name: source.name.clone(),
                documents: own().filter(|document| document.count > 0).count(),
                chunks: own().map(|document| document.count).sum(),
                age_s,
                max_age_s: source.max_age_s,
                is_stale: source.max_age_s.is_some_and(|allowed| age_s > allowed),
                newest_s: own().filter_map(|document| document.modified_ms).max().map(since),
                oldest_s: own().filter_map(|document| document.modified_ms).min().map(since),
                listings_a_month: source.max_age_s.map(|allowed| MONTH_S.div_ceil(allowed.max(1))),
            }
        })
        .collect();
    FreshnessReport { is_stale: sources.iter().any(|source| source.is_stale), sources }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowbench_corpus::source::Entry;

    use crate::manifest::SourceRecord;

    #[test]
    fn a_source_older_than_its_policy_is_stale() {
        let source = |name: &str, max_age_s| SourceRecord {
            name: name.to_owned(),
            listed_ms: 1_000_000,
            max_age_s,
            ..SourceRecord::default()
        };
        let manifest =
            Manifest { sources: vec![source("a", Some(60)), source("b", None)], ..Manifest::default() };
        let document = DocumentRecord {
            entry: Entry { source: "a".to_owned(), ..Entry::default() },
            count: 4,
            modified_ms: Some(900_000),
            ..DocumentRecord::default()
        };
        let report = freshness(&manifest, &[document], 1_061_000);
        assert!(report.is_stale);
        let [a, b] = report.sources.as_slice() else { panic!("two sources") };
        assert_eq!((a.age_s, a.is_stale, a.chunks, a.newest_s), (61, true, 4, Some(161)));
        assert_eq!(a.listings_a_month, Some(43_200));
        assert_eq!((b.is_stale, b.newest_s, b.listings_a_month), (false, None, None));
    }
}
