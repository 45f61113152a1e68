//! What a setting would do, told without embedding anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Chunked, EmptySection, TornPiece};

/// Most cuts and empty sections that are listed; all are counted.
const LISTED: usize = 100;

/// Bars of the histogram.
const BARS: usize = 16;

/// Gathers the chunks of documents.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    sizes: Vec<u32>,
    parents: usize,
    torn: Listed<TornPiece>,
    torn_count: BTreeMap<String, usize>,
    empty: Listed<EmptySection>,
    documents: Vec<DocumentStatistics>,
}

/// What the chunks of a corpus are like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChunkStatistics {
    /// Chunks that are searched.
    pub count: usize,
    /// Larger pieces that are read.
    pub parents: usize,
    /// Tokens of all chunks that are searched, context and overlap included.
    pub total_tokens: u64,
    /// Smallest chunk in tokens.
    pub min: u32,
    /// Half of the chunks are no larger.
    pub median: u32,
    /// 95 of 100 chunks are no larger.
    pub p95: u32,
    /// Largest chunk in tokens.
    pub max: u32,
    /// Chunks by size.
    pub histogram: Vec<Bar>,
    /// Cuts through what would have been kept whole, by what was torn.
    pub torn_count: BTreeMap<String, usize>,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub torn: Vec<InDocument<TornPiece>>,
    /// Headings that nothing stands under.
    pub empty_section_count: usize,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_sections: Vec<InDocument<EmptySection>>,
    /// Documents that gave no chunk.
    pub without_chunks: usize,
    /// Every document, in the order given.
    pub documents: Vec<DocumentStatistics>,
}

/// Chunks of a size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// Fewest tokens.
    pub from: u32,
    /// Most tokens.
    pub to: u32,
    /// How many chunks.
    pub count: usize,
}

/// Something in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InDocument<T> {
    /// Name of the document.
    pub document: String,
    /// What.
    #[serde(flatten)]
    pub what: T,
}

/// Chunks of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentStatistics {
    /// Name.
    pub document: String,
    /// Chunks that are searched.
    pub chunks: usize,
    /// Their tokens.
    pub tokens: u64,
    /// Tokens of the largest.
    pub max: u32,
}

#[derive(Clone, Debug)]
struct Listed<T> {
    count: usize,
    first: Vec<InDocument<T>>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { count: 0, first: Vec::new() }
    }
}

impl<T: Clone> Listed<T> {
    fn add(&mut self, document: &str, all: &[T]) {
        self.count += all.len();
        let room = LISTED.saturating_sub(self.first.len());
        let one = |what: &T| InDocument { document: document.to_owned(), what: what.clone() };
        self.first.extend(all.iter().take(room).map(one));
    }
}

impl Preview {
    /// Adds a document.
    pub fn add(&mut self, chunked: &Chunked) {
        let searched: Vec<u32> =
            chunked.chunks.iter().filter(|chunk| !chunk.is_parent).map(|chunk| chunk.tokens).collect();
        self.parents += chunked.chunks.len() - searched.len();
        self.torn.add(&chunked.document, &chunked.torn);
        for torn in &chunked.torn {
            *self.torn_count.entry(torn.what.clone()).or_default() += 1;
        }
        self.empty.add(&chunked.document, &chunked.empty_sections);
        self.documents.push(DocumentStatistics {
            document: chunked.document.clone(),
            chunks: searched.len(),
            tokens: searched.iter().copied().map(u64::from).sum(),
            max: searched.iter().copied().max().unwrap_or_default(),
        });
        self.sizes.extend(searched);
    }

    /// What all of them are like.
    pub fn finish(mut self) -> ChunkStatistics {
        self.sizes.sort_unstable();
        let sizes = &self.sizes;
        // Nearest rank.
        let at = |share: f64| {
            let rank = (share * sizes.len() as f64).ceil() as usize;
            sizes.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        ChunkStatistics {
            count: sizes.len(),
            parents: self.parents,
            total_tokens: sizes.iter().copied().map(u64::from).sum(),
            min: sizes.first().copied().unwrap_or_default(),
            median: at(0.5),
            p95: at(0.95),
            max: sizes.last().copied().unwrap_or_default(),
            histogram: histogram(sizes),
            torn_count: self.torn_count,
            torn: self.torn.first,
            empty_section_count: self.empty.count,
            empty_sections: self.empty.first,
            without_chunks: self.documents.iter().filter(|document| document.chunks == 0).count(),
            documents: self.documents,
        }
    }
}

/// Bars of equal width from 1 to the largest.
fn histogram(sizes: &[u32]) -> Vec<Bar> {
    let Some(largest) = sizes.last().copied().filter(|largest| *largest > 0) else { return Vec::new() };
    let width = largest.div_ceil(BARS as u32).max(1);
    let bars = largest.div_ceil(width);
    (0..bars)
        .map(|bar| {
            let (from, to) = (bar * width + 1, (bar + 1) * width);
            let count =
                sizes.partition_point(|size| *size <= to) - sizes.partition_point(|size| *size < from);
            Bar { from, to, count }
        })
        .collect()
}
