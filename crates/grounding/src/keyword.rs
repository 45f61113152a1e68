//! Keyword search in memory: BM25 (Robertson and Zaragoza 2009) with the score of every word.

use std::collections::{BTreeMap, HashMap};

use crate::chunk::Chunk;

/// Saturation of repeated words; the usual value of the literature and of most engines.
const K1: f64 = 1.2;
/// How much length counts; the usual value.
const B: f64 = 0.75;

/// An index of chunks by word.
pub struct KeywordIndex {
    chunks: Vec<Chunk>,
    /// Word to chunk and count.
    postings: HashMap<String, Vec<(usize, f64)>>,
    lengths: Vec<f64>,
    average: f64,
}

/// A chunk that was found.
pub struct Found<'i> {
    /// The chunk.
    pub chunk: &'i Chunk,
    /// Its score: the sum over the words.
    pub score: f64,
    /// Score by word of the query.
    pub words: BTreeMap<String, f64>,
}

impl KeywordIndex {
    /// Indexes chunks.
    pub fn build(chunks: Vec<Chunk>) -> Self {
        let mut postings: HashMap<String, Vec<(usize, f64)>> = HashMap::new();
        let mut lengths = Vec::with_capacity(chunks.len());
        for (index, chunk) in chunks.iter().enumerate() {
            let words = words(&chunk.searched_text());
            lengths.push(words.len() as f64);
            let mut counts: HashMap<String, f64> = HashMap::new();
            for word in words {
                *counts.entry(word).or_insert(0.0) += 1.0;
            }
            for (word, count) in counts {
                postings.entry(word).or_default().push((index, count));
            }
        }
        let average = lengths.iter().sum::<f64>() / lengths.len().max(1) as f64;
        Self { chunks, postings, lengths, average }
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// True without chunks.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The best chunks, best first; ties by id. A word that the query repeats counts as often as it is there.
    pub fn search(&self, query: &str, top_k: usize) -> Vec<Found<'_>> {
        let mut found: HashMap<usize, (f64, BTreeMap<String, f64>)> = HashMap::new();
        for word in words(query) {
            let Some(postings) = self.postings.get(&word) else { continue };
            let (all, having) = (self.chunks.len() as f64, postings.len() as f64);
            let rarity = (1.0 + (all - having + 0.5) / (having + 0.5)).ln();
            for (index, count) in postings {
                let length = 1.0 - B + B * self.lengths[*index] / self.average;
                let score = rarity * count * (K1 + 1.0) / (count + K1 * length);
                let entry = found.entry(*index).or_default();
                entry.0 += score;
                *entry.1.entry(word.clone()).or_insert(0.0) += score;
            }
        }
        let mut ranked: Vec<Found<'_>> = found
            .into_iter()
            .map(|(index, (score, words))| Found { chunk: &self.chunks[index], score, words })
            .collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.chunk.id.cmp(&b.chunk.id)));
        ranked.truncate(top_k);
        ranked
    }
}

/// Words in lower case; combining marks stay with their word, and an English plural meets its singular.
pub fn words(text: &str) -> Vec<String> {
    let is_inside = |c: char| {
        c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c) || ('\u{900}'..='\u{dff}').contains(&c)
    };
    text.split(|c: char| !is_inside(c))
        .filter(|word| !word.is_empty())
        .map(|word| {
            let word = word.to_lowercase();
            match word.strip_suffix('s') {
                Some(stem) if word.is_ascii() && stem.len() > 3 && !stem.ends_with('s') => stem.to_owned(),
                _ => word,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::by_headings;

    fn index(texts: &[&str]) -> KeywordIndex {
        KeywordIndex::build(
            texts
                .iter()
                .enumerate()
                .flat_map(|(n, text)| by_headings(&format!("{n}.md"), text, 100))
                .collect(),
        )
    }

    #[test]
    fn rare_words_decide_and_the_reasons_add_up() {
        let index = index(&["the cat and the dog", "the dog barks", "a zebra and the dog"]);
        let found = index.search("the zebra", 2);
        assert_eq!(found[0].chunk.source.document, "2.md");
        for hit in &found {
            assert!((hit.words.values().sum::<f64>() - hit.score).abs() < 1e-12);
        }
        assert!(index.search("unheard", 5).is_empty());
        assert_eq!(index.search("the", 2).len(), 2);
    }

    #[test]
    fn order_of_documents_does_not_change_ranks() {
        let texts = ["budget codes", "exit codes and the budget", "other things"];
        let forward: Vec<String> =
            index(&texts).search("budget exit", 3).iter().map(|hit| hit.chunk.text.clone()).collect();
        let mut turned = texts;
        turned.reverse();
        let backward: Vec<String> =
            index(&turned).search("budget exit", 3).iter().map(|hit| hit.chunk.text.clone()).collect();
        assert_eq!(forward, backward);
    }

    #[test]
    fn marks_stay_with_their_words() {
        assert_eq!(words("हिन्दी Exit-codes, naïve"), ["हिन्दी", "exit", "code", "naïve"]);
    }
}
