//! The first pass over a corpus: what only many documents together show.

use std::collections::{BTreeMap, HashMap, HashSet};

use flowbench_extract::Extracted;
use serde::{Deserialize, Serialize};

use super::boilerplate::{edge_lines, edits};
use super::draft::Draft;
use super::shingles::{Signature, bands, estimate, overlap, shingles, signature};

/// Fewer documents of a source do not show what they share.
const LEAST_DOCUMENTS: usize = 5;

/// Copies are told from here on where `near_duplicates` leaves none out.
const TOLD_FROM: f64 = 0.9;

/// What the survey keeps of a document: at most a kibibyte. A pure function of the extracted document, so that a build
/// may keep it by digest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    /// Digests of the lines at its edges, sorted.
    lines: Vec<u64>,
    /// Signature of its shingles.
    signature: Signature,
}

/// Sketches a document.
pub fn sketch(extracted: &Extracted) -> Sketch {
    let mut lines: Vec<u64> = edge_lines(extracted).iter().map(|line| line.digest).collect();
    lines.sort_unstable();
    lines.dedup();
    Sketch { lines, signature: signature(&shingles(&extracted.text)) }
}

/// Gathers sketches.
#[derive(Debug, Default)]
pub struct Survey {
    /// By document: its source and sketch.
    documents: BTreeMap<String, (String, Sketch)>,
}

/// Facts of every document.
#[derive(Debug, Default)]
pub struct Facts {
    documents: HashMap<String, DocumentFacts>,
}

/// What other documents say about one: with the extracted document and `clean` all that its cleaning depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DocumentFacts {
    /// Digests of its lines that most documents of its source share, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boilerplate: Vec<u64>,
    /// An earlier document that it is nearly the same as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<CopyOf>,
}

/// An earlier document and how much of it another repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopyOf {
    /// Its name.
    pub document: String,
    /// Share of equal word 5-shingles, rounded to thousandths.
    pub share: f64,
}

impl DocumentFacts {
    /// Changes when any fact does.
    pub fn digest(&self) -> String {
        let mut digest = blake3::Hasher::new();
        for line in &self.boilerplate {
            digest.update(&line.to_le_bytes());
        }
        if let Some(copy) = &self.copy_of {
            digest.update(&[1]).update(copy.document.as_bytes()).update(&copy.share.to_le_bytes());
        }
        digest.finalize().to_hex().to_string()
    }
}

impl Facts {
    /// Facts of a document; none are known of one that was not surveyed.
    pub fn of(&self, document: &str) -> DocumentFacts {
        self.documents.get(document).cloned().unwrap_or_default()
    }
}

impl Survey {
    /// Adds a document, in any order.
    pub fn add(&mut self, document: &str, source: &str, extracted: &Extracted) {
        self.add_sketch(document, source, sketch(extracted));
    }

    /// Adds a document whose sketch was kept.
    pub fn add_sketch(&mut self, document: &str, source: &str, sketch: Sketch) {
        self.documents.insert(document.to_owned(), (source.to_owned(), sketch));
    }

    /// Finds what documents share. `near_duplicates` is that of `clean`; `extracted_of` gives a document again where
    /// two look the same and have to be compared, and may be called often for the same one. Where it has none, the
    /// sketches decide.
    pub fn finish(
        &self,
        near_duplicates: Option<f64>,
        mut extracted_of: impl FnMut(&str) -> Option<Extracted>,
    ) -> Facts {
        let shared = self.shared_lines();
        let mut documents: HashMap<String, DocumentFacts> = self
            .documents
            .iter()
            .map(|(name, (source, sketch))| {
                let shared = shared.get(source.as_str());
                let of_source = |line: &u64| shared.is_some_and(|shared| shared.contains(line));
                let boilerplate = sketch.lines.iter().copied().filter(of_source).collect();
                (name.clone(), DocumentFacts { boilerplate, copy_of: None })
            })
            .collect();
        let copies = self.copies(near_duplicates.unwrap_or(TOLD_FROM), |name| {
            let lines = documents.get(name).map(|facts| facts.boilerplate.as_slice()).unwrap_or_default();
            extracted_of(name).map(|extracted| {
                let mut draft = Draft::new(&extracted.text);
                draft.apply(&edits(&extracted, lines));
                shingles(&draft.text)
            })
        });
        for (name, copy) in copies {
            if let Some(facts) = documents.get_mut(&name) {
                facts.copy_of = Some(copy);
            }
        }
        Facts { documents }
    }

    /// By source: lines that at least half of its documents have near their edges.
    fn shared_lines(&self) -> HashMap<&str, HashSet<u64>> {
        let mut counts: HashMap<&str, (usize, HashMap<u64, usize>)> = HashMap::new();
        for (source, sketch) in self.documents.values() {
            let (documents, lines) = counts.entry(source).or_default();
            *documents += 1;
            for line in &sketch.lines {
                *lines.entry(*line).or_default() += 1;
            }
        }
        counts
            .into_iter()
            .filter(|(_, (documents, _))| *documents >= LEAST_DOCUMENTS)
            .map(|(source, (documents, lines))| {
                let is_shared = |count: usize| count * 2 >= documents;
                (
                    source,
                    lines.into_iter().filter(|(_, count)| is_shared(*count)).map(|(line, _)| line).collect(),
                )
            })
            .collect()
    }

    /// In order of names, every document against those before it that are no copies themselves.
    fn copies(
        &self,
        least: f64,
        mut shingles_of: impl FnMut(&str) -> Option<HashSet<u64>>,
    ) -> Vec<(String, CopyOf)> {
        // With 8 rows a pair of 0.9 is proposed with a chance of 0.9999 (16 bands); with 4 one of 0.7 with 0.9998 (32);
        // with 2 one of 0.4 with 0.99999 (64).
        let rows = match least {
            _ if least >= 0.85 => 8,
            _ if least >= 0.6 => 4,
            _ => 2,
        };
        let mut buckets: HashMap<(usize, u64), Vec<&str>> = HashMap::new();
        let mut copies = Vec::new();
        for (name, (_, sketch)) in &self.documents {
            if sketch.signature.is_empty() {
                continue;
            }
            let mut like: Vec<&str> = bands(&sketch.signature, rows)
                .filter_map(|band| buckets.get(&band))
                .flatten()
                .copied()
                .collect();
            like.sort_unstable();
            like.dedup();
            let mut own = None;
            let mut best: Option<CopyOf> = None;
            for other in like {
                let share = match (own.get_or_insert_with(|| shingles_of(name)).as_ref(), shingles_of(other))
                {
                    (Some(one), Some(other)) => overlap(one, &other),
                    _ => estimate(&sketch.signature, &self.documents[other].1.signature),
                };
                if share >= least && best.as_ref().is_none_or(|best| share > best.share) {
                    best = Some(CopyOf { document: other.to_owned(), share });
                }
            }
            match best {
                Some(copy) => {
                    let share = (copy.share * 1000.0).round() / 1000.0;
                    copies.push((name.clone(), CopyOf { share, ..copy }));
                }
                None => bands(&sketch.signature, rows)
                    .for_each(|band| buckets.entry(band).or_default().push(name)),
            }
        }
        copies
    }
}
