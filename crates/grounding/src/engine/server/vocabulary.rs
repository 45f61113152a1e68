//! Words as numbers. Every word has the next free number, so that none share one; which word has which, and how many
//! chunks have it, lies in points beside the chunks, a few hundred words in each, found by the word's digest.

use std::collections::{BTreeMap, HashMap};

use qdrant_client::qdrant::{PointId, PointStruct, Value};
use serde::{Deserialize, Serialize};

use super::payload::{self, KIND, ROWS};

/// Kind of these points.
pub(super) const VOCABULARY: &str = "vocabulary";
/// Words of a point, about: a question's words are then a few kilobytes away.
const WORDS_OF_A_POINT: usize = 256;

/// A word's number, and the chunks that have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Word {
    pub number: u32,
    pub chunks: u64,
}

/// The words of a collection on their way.
#[derive(Debug, Default)]
pub(super) struct Words {
    numbers: HashMap<String, u32>,
}

impl Words {
    /// A word's number, a new one for a new word.
    pub(super) fn number(&mut self, word: String) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(word).or_insert(next)
    }

    /// How many points hold them.
    pub(super) fn points(&self) -> u64 {
        (self.numbers.len() / WORDS_OF_A_POINT + 1) as u64
    }

    /// The points; `chunks` says how many have each word.
    pub(super) fn into_points(self, chunks: &HashMap<u32, u64>) -> Vec<(u64, String)> {
        let points = self.points();
        let mut rows: BTreeMap<u64, BTreeMap<String, Word>> = BTreeMap::new();
        for (word, number) in self.numbers {
            if let Some(chunks) = chunks.get(&number) {
                let place = place_of(&word, points);
                rows.entry(place).or_default().insert(word, Word { number, chunks: *chunks });
            }
        }
        rows.into_iter()
            .filter_map(|(place, words)| Some((place, serde_json::to_string(&words).ok()?)))
            .collect()
    }
}

/// Which of so many points holds a word.
pub(super) fn place_of(word: &str, points: u64) -> u64 {
    let digest = blake3::hash(word.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_le_bytes(bytes) % points.max(1)
}

/// A point that is no chunk, by kind and place.
pub(super) fn side_point(kind: &str, place: u64) -> PointId {
    let digest = blake3::hash(format!("flowbench {kind} {place}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    payload::point(u128::from_be_bytes(bytes))
}

/// The same with what it carries.
pub(super) fn side_struct(kind: &str, place: u64, rows: String) -> PointStruct {
    let payload: HashMap<String, Value> =
        HashMap::from([(KIND.to_owned(), kind.into()), (ROWS.to_owned(), rows.into())]);
    PointStruct {
        id: Some(side_point(kind, place)),
        payload,
        vectors: Some(qdrant_client::qdrant::NamedVectors::default().into()),
    }
}
