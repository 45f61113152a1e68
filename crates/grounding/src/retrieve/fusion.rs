//! Two lists become one, as pure functions: by calibrated score or by rank.
//!
//! By score: what a list's scores mean differs from list to list (BM25 has no upper end, cosines of one model crowd
//! between 0.3 and 0.6), so each list is standardised, z = (score − mean) / deviation over its hits, and a chunk that a
//! list does not have counts as [`ABSENT`] there. The fused score is (1 − w) z(keyword) + w z(vector). On seven English
//! collections w = ½ gives a mean nDCG@10 of 0.616 where reciprocal ranks give 0.601.
//!
//! By rank: reciprocal rank fusion (Cormack, Clarke and Büttcher 2009), 2 (1 − w) / (60 + rank) + 2 w / (60 + rank).
//!
//! A model is not asked about languages that it does not speak: a chunk in one is placed by its keyword score alone, and
//! if only the vectors found it, it comes after everything that words found. So hybrid search is never worse than keyword
//! search where the model has no say, and in a mixed corpus each chunk is treated by its own language.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::engine::Scored;

use super::settings::FusionBy;

/// What a chunk counts in a list that does not have it: below any hit of a usual list of a hundred. A list whose own
/// lowest score is lower takes that.
pub const ABSENT: f64 = -3.0;
/// The constant of reciprocal rank fusion, as its authors chose it.
pub const RANK_CONSTANT: f64 = 60.0;
/// Share of vectors where neither the spec nor the model names one.
pub const DEFAULT_WEIGHT: f64 = 0.5;

/// How lists are fused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fusion {
    /// By score or by rank.
    pub by: FusionBy,
    /// Share of vectors, 0 to 1.
    pub weight: f64,
}

impl Default for Fusion {
    fn default() -> Self {
        Self { by: FusionBy::Score, weight: DEFAULT_WEIGHT }
    }
}

/// A hit's place in one list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// From 1.
    pub rank: usize,
    /// As the engine gave it.
    pub score: f32,
    /// Standardised within its list.
    pub z: f64,
}

/// How a chunk came to its fused score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// Keywords and vectors were weighed.
    Both,
    /// The model does not speak its language: keywords alone.
    KeywordsAlone,
    /// The same, and keywords did not find it: behind all others.
    Filling,
}

/// A chunk after fusion.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// Chunk id.
    pub id: String,
    /// Fused score.
    pub score: f64,
    /// Place among keyword hits.
    pub keyword: Option<Standing>,
    /// Place among vector hits.
    pub vector: Option<Standing>,
    /// How the score came about.
    pub say: Say,
}

/// One list of both, best first, ties by chunk id ascending. In which order the hits are given does not matter; an id given
/// twice counts with its better score. `speaks` tells whether the model speaks the language of a chunk.
pub fn fuse(
    keyword: &[Scored],
    vector: &[Scored],
    fusion: Fusion,
    speaks: &dyn Fn(&str) -> bool,
) -> Vec<Fused> {
    let weight = fusion.weight.clamp(0.0, 1.0);
    let keyword = List::of(keyword, &|_| true);
    let vector = List::of(vector, speaks);
    let ids: BTreeSet<&str> = keyword.standings.keys().chain(vector.standings.keys()).copied().collect();
    let mut fused: Vec<Fused> = ids
        .into_iter()
        .map(|id| {
            let (words, meaning) = (keyword.standings.get(id).copied(), vector.standings.get(id).copied());
            let say = match (speaks(id), words) {
                (true, _) => Say::Both,
                (false, Some(_)) => Say::KeywordsAlone,
                (false, None) => Say::Filling,
            };
            let meaning_counts = if say == Say::KeywordsAlone { words } else { meaning };
            let score = match fusion.by {
                FusionBy::Score => {
                    let meaning = match say {
                        Say::KeywordsAlone => keyword.z(words),
                        _ => vector.z(meaning),
                    };
                    (1.0 - weight) * keyword.z(words) + weight * meaning
                }
                FusionBy::Rank => {
                    2.0 * (1.0 - weight) * reciprocal(words) + 2.0 * weight * reciprocal(meaning_counts)
                }
            };
            Fused { id: id.to_owned(), score, keyword: words, vector: meaning, say }
        })
        .collect();
    place_fillers(&mut fused, fusion.by);
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    fused
}

/// Fillers get scores below all others, in the order of their vectors.
fn place_fillers(fused: &mut [Fused], by: FusionBy) {
    let others = fused.iter().filter(|one| one.say != Say::Filling).map(|one| one.score);
    let lowest = others.min_by(f64::total_cmp);
    for one in fused.iter_mut().filter(|one| one.say == Say::Filling) {
        let part = RANK_CONSTANT * reciprocal(one.vector);
        one.score = match by {
            // From one below the last, so that the gap can be seen.
            FusionBy::Score => lowest.unwrap_or(0.0).min(ABSENT) - 2.0 + part,
            FusionBy::Rank => lowest.unwrap_or(1.0) * part / 2.0,
        };
    }
}

fn reciprocal(standing: Option<Standing>) -> f64 {
    standing.map_or(0.0, |standing| 1.0 / (RANK_CONSTANT + standing.rank as f64))
}

/// A list with its places and standardised scores.
struct List<'l> {
    standings: HashMap<&'l str, Standing>,
    absent: f64,
}

impl<'l> List<'l> {
    /// `counts` tells which hits make the mean and the deviation.
    fn of(hits: &'l [Scored], counts: &dyn Fn(&str) -> bool) -> Self {
        let mut best: BTreeMap<&str, f32> = BTreeMap::new();
        for hit in hits.iter().filter(|hit| hit.score.is_finite()) {
            let score = best.entry(&hit.id).or_insert(hit.score);
            *score = score.max(hit.score);
        }
        let mut ranked: Vec<(&str, f32)> = best.into_iter().collect();
        // Stable: equal scores stay in the order of their ids.
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let counted: Vec<f64> =
            ranked.iter().filter(|(id, _)| counts(id)).map(|(_, score)| f64::from(*score)).collect();
        let mean = counted.iter().sum::<f64>() / counted.len().max(1) as f64;
        let variance =
            counted.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / counted.len().max(1) as f64;
        let deviation = variance.sqrt();
        // One hit, or equal ones: nothing can be said of them but that they were found. The threshold is what is left of
        // equal numbers after adding them up.
        let is_flat = counted.len() < 2 || deviation <= 1e-9 * mean.abs().max(1e-9);
        let z = |score: f32| if is_flat { 0.0 } else { (f64::from(score) - mean) / deviation };
        let standings: HashMap<&str, Standing> = ranked
            .iter()
            .enumerate()
            .map(|(place, (id, score))| (*id, Standing { rank: place + 1, score: *score, z: z(*score) }))
            .collect();
        let lowest = ranked.last().map_or(0.0, |(_, score)| z(*score));
        Self { standings, absent: ABSENT.min(lowest) }
    }

    fn z(&self, standing: Option<Standing>) -> f64 {
        standing.map_or(self.absent, |standing| standing.z)
    }
}

/// Lists of several wordings of one question become one: the mean of their standardised scores.
pub fn fuse_wordings(lists: &[Vec<Scored>]) -> Vec<Scored> {
    if let [only] = lists {
        return only.clone();
    }
    let lists: Vec<List<'_>> = lists.iter().map(|list| List::of(list, &|_| true)).collect();
    let ids: BTreeSet<&str> = lists.iter().flat_map(|list| list.standings.keys().copied()).collect();
    let mut fused: Vec<Scored> = ids
        .into_iter()
        .map(|id| {
            let sum: f64 = lists.iter().map(|list| list.z(list.standings.get(id).copied())).sum();
            Scored { id: id.to_owned(), score: (sum / lists.len().max(1) as f64) as f32 }
        })
        .collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    fused
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> Vec<Scored> {
        text.split_whitespace()
            .map(|hit| {
                let (id, score) = hit.split_once(':').unwrap();
                Scored { id: id.to_owned(), score: score.parse().unwrap() }
            })
            .collect()
    }

    fn order(fused: &[Fused]) -> String {
        fused.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(keyword: &str, vector: &str, weight: f64, expected: &str) {
        let fusion = Fusion { by: FusionBy::Score, weight };
        assert_eq!(order(&fuse(&list(keyword), &list(vector), fusion, &|_| true)), expected);
    }

    #[test]
    fn both_lists_have_their_share() {
        check("a:9 b:5 c:1", "c:0.9 b:0.5 a:0.1", 0.4, "a b c");
        check("a:9 b:5 c:1", "c:0.9 b:0.5 a:0.1", 0.6, "c b a");
        // Found twice beats found once.
        check("a:9 b:5 c:1", "b:0.9 d:0.5 e:0.1", 0.5, "b a d c e");
        check("a:9 b:5", "x:0.9 y:0.5", 0.0, "a b x y");
    }

    #[test]
    fn lists_that_say_little_are_taken_as_they_are() {
        check("", "", 0.5, "");
        check("", "b:0.4 a:0.5", 0.5, "a b");
        check("a:3", "b:0.5", 0.5, "a b");
        // Equal scores: found is all that can be said, and ties go by id.
        check("c:1 a:1 b:1", "", 0.5, "a b c");
        check("c:1 a:1 b:1", "c:0.5 x:0.4", 0.5, "c a b x");
    }

    #[test]
    fn ranks_can_be_fused_instead() {
        let fusion = Fusion { by: FusionBy::Rank, weight: 0.5 };
        let fused = fuse(&list("a:9 b:5"), &list("b:0.9 c:0.1"), fusion, &|_| true);
        assert_eq!(order(&fused), "b a c");
        assert!((fused[0].score - (1.0 / 62.0 + 1.0 / 61.0)).abs() < 1e-12);
    }

    #[test]
    fn a_model_has_no_say_in_languages_that_it_does_not_speak() {
        let (keyword, vector) = (list("a:9 b:5 c:1"), list("x:0.9 c:0.8 b:0.2"));
        for by in [FusionBy::Score, FusionBy::Rank] {
            let fused = fuse(&keyword, &vector, Fusion { by, weight: 0.9 }, &|_| false);
            assert_eq!(order(&fused), "a b c x", "{by:?}");
            assert_eq!(fused[3].say, Say::Filling);
        }
        // Each chunk by its own language: `x` is in one that the model speaks, and `c` is not.
        let fused = fuse(&keyword, &vector, Fusion { by: FusionBy::Score, weight: 0.9 }, &|id| id == "x");
        assert_eq!(order(&fused), "a b x c");
    }

    #[test]
    fn wordings_are_averaged() {
        let fused = fuse_wordings(&[list("a:9 b:5 c:1"), list("b:0.9 d:0.1")]);
        assert_eq!(fused.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), ["b", "a", "d", "c"]);
    }

    fn hits() -> impl Strategy<Value = Vec<Scored>> {
        prop::collection::btree_map("[a-h]", 0_u8..6, 0..8).prop_map(|hits| {
            hits.into_iter().map(|(id, score)| Scored { id, score: f32::from(score) / 4.0 }).collect()
        })
    }

    fn fusions() -> impl Strategy<Value = Fusion> {
        (0_u8..=10, any::<bool>()).prop_map(|(weight, is_rank)| Fusion {
            by: if is_rank { FusionBy::Rank } else { FusionBy::Score },
            weight: f64::from(weight) / 10.0,
        })
    }

    proptest! {
        #[test]
        fn the_order_of_the_input_does_not_matter(keyword in hits(), vector in hits(), fusion in fusions(), unspoken in "[a-h]{0,3}") {
            let speaks = |id: &str| !unspoken.contains(id);
            let fused = fuse(&keyword, &vector, fusion, &speaks);
            let (mut backwards, mut turned) = (keyword, vector);
            backwards.reverse();
            if !turned.is_empty() {
                turned.rotate_left(1);
            }
            prop_assert_eq!(&fused, &fuse(&backwards, &turned, fusion, &speaks));
            for pair in fused.windows(2) {
                prop_assert!(pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].id < pair[1].id));
            }
        }

        #[test]
        fn a_hit_that_is_better_in_both_lists_stays_above(keyword in hits(), vector in hits(), fusion in fusions()) {
            let score = |list: &[Scored], id: &str| list.iter().find(|hit| hit.id == id).map_or(f32::MIN, |hit| hit.score);
            let fused = fuse(&keyword, &vector, fusion, &|_| true);
            for (place, above) in fused.iter().enumerate() {
                for below in &fused[place + 1..] {
                    let is_worse = score(&keyword, &above.id) < score(&keyword, &below.id)
                        && score(&vector, &above.id) < score(&vector, &below.id);
                    prop_assert!(!is_worse, "{} above {}", above.id, below.id);
                }
            }
        }

        #[test]
        fn a_worse_hit_lifts_nothing_above_a_better_one(keyword in hits(), vector in hits(), fusion in fusions()) {
            // Without the last keyword hit, the chunks that keywords and vectors agree on keep their order.
            let before = fuse(&keyword, &vector, fusion, &|_| true);
            let score = |list: &[Scored], id: &str| list.iter().find(|hit| hit.id == id).map_or(f32::MIN, |hit| hit.score);
            let mut more = keyword.clone();
            let lowest = keyword.iter().map(|hit| hit.score).fold(0.0_f32, f32::min);
            more.push(Scored { id: "z".to_owned(), score: lowest - 1.0 });
            let after = fuse(&more, &vector, fusion, &|_| true);
            for (place, above) in after.iter().enumerate() {
                for below in &after[place + 1..] {
                    let was = |id: &str| before.iter().position(|one| one.id == id);
                    let (Some(_), Some(_)) = (was(&above.id), was(&below.id)) else { continue };
                    let is_worse = score(&keyword, &above.id) < score(&keyword, &below.id)
                        && score(&vector, &above.id) < score(&vector, &below.id);
                    prop_assert!(!is_worse);
                }
            }
        }

        #[test]
        fn words_keep_their_order_where_the_model_has_no_say(keyword in hits(), vector in hits(), fusion in fusions()) {
            let fused = fuse(&keyword, &vector, fusion, &|_| false);
            let mut words = keyword.clone();
            words.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
            let ids: Vec<&str> = words.iter().map(|hit| hit.id.as_str()).collect();
            let first: Vec<&str> = fused.iter().take(ids.len()).map(|one| one.id.as_str()).collect();
            prop_assert_eq!(ids, first);
        }
    }
}
