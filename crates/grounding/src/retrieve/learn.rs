//! The weight of vectors, learned from labelled queries: a grid, cross-validated, so that the figure that comes with it is
//! that of queries which did not choose it.

use flowbench_core::metrics::interval::{Interval, SEED, bootstrap, paired_difference};
use flowbench_core::metrics::ranking::{Gain, Judgements, RankingMetric};
use serde::Serialize;

use crate::engine::Scored;

use super::fusion::{DEFAULT_WEIGHT, Fusion, fuse};
use super::settings::FusionBy;

/// Steps from 0 to 1: finer ones differ by less than a query's chance.
const STEPS: usize = 20;
/// Parts of the queries that are held out in turn.
const FOLDS: usize = 5;
/// Fewer queries choose by chance.
pub const FEWEST_QUERIES: usize = 2 * FOLDS;

/// One labelled query with what both lists gave for it.
#[derive(Clone, Debug)]
pub struct LabelledLists {
    /// Keyword hits.
    pub keyword: Vec<Scored>,
    /// Vector hits.
    pub vector: Vec<Scored>,
    /// Labels by chunk or document id, as the hits have them.
    pub judged: Judgements,
}

/// A learned weight, and what it is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LearnedWeight {
    /// Best weight over all queries; of equal ones that nearest to the default.
    pub weight: f64,
    /// Mean nDCG@10 by weight.
    pub curve: Vec<(f64, f64)>,
    /// nDCG@10 of queries with weights that the others chose.
    pub held_out: Interval,
    /// The same less nDCG@10 with the default weight: learning paid only if this leaves out 0.
    pub gain: Interval,
}

/// Learns a weight. Absent with fewer than [`FEWEST_QUERIES`] queries.
pub fn learn_weight(queries: &[LabelledLists], by: FusionBy) -> Option<LearnedWeight> {
    if queries.len() < FEWEST_QUERIES {
        return None;
    }
    let weights: Vec<f64> = (0..=STEPS).map(|step| step as f64 / STEPS as f64).collect();
    let metric = RankingMetric::Ndcg { at: Some(10), gain: Gain::Linear };
    // Scores by query, then by weight.
    let scores: Vec<Vec<f64>> = queries
        .iter()
        .map(|query| {
            let score = |weight: &f64| {
                let fused = fuse(&query.keyword, &query.vector, Fusion { by, weight: *weight }, &|_| true);
                let ids: Vec<String> = fused.into_iter().map(|one| one.id).collect();
                metric.score(&ids, &query.judged)
            };
            weights.iter().map(score).collect()
        })
        .collect();
    let best_of = |is_in: &dyn Fn(usize) -> bool| -> usize {
        let mean = |step: usize| {
            let part: Vec<f64> = scores
                .iter()
                .enumerate()
                .filter(|(query, _)| is_in(*query))
                .map(|(_, row)| row[step])
                .collect();
            part.iter().sum::<f64>() / part.len().max(1) as f64
        };
        let apart = |step: usize| (weights[step] - DEFAULT_WEIGHT).abs();
        (0..weights.len())
            .max_by(|a, b| mean(*a).total_cmp(&mean(*b)).then_with(|| apart(*b).total_cmp(&apart(*a))))
            .unwrap_or(STEPS / 2)
    };
    let chosen: Vec<usize> = (0..FOLDS).map(|fold| best_of(&|query| query % FOLDS != fold)).collect();
    let held_out: Vec<f64> =
        scores.iter().enumerate().map(|(query, row)| row[chosen[query % FOLDS]]).collect();
    let default: Vec<f64> = scores.iter().map(|row| row[STEPS / 2]).collect();
    let curve = weights
        .iter()
        .enumerate()
        .map(|(step, weight)| {
            (*weight, scores.iter().map(|row| row[step]).sum::<f64>() / scores.len() as f64)
        })
        .collect();
    Some(LearnedWeight {
        weight: weights[best_of(&|_| true)],
        curve,
        held_out: bootstrap(&held_out, 0.95, SEED)?,
        gain: paired_difference(&default, &held_out, 0.95, SEED)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(number: usize, is_words: bool) -> LabelledLists {
        let hit = |id: &str, score: f32| Scored { id: id.to_owned(), score };
        let good = format!("good{number}");
        let (right, wrong) =
            (vec![hit(&good, 3.0), hit("b", 1.0)], vec![hit("x", 3.0), hit(&good, 2.9), hit("b", 1.0)]);
        let (keyword, vector) = if is_words { (right, wrong) } else { (wrong, right) };
        LabelledLists { keyword, vector, judged: [(good, 1)].into_iter().collect() }
    }

    #[test]
    fn the_better_list_gets_the_weight() {
        let words: Vec<_> = (0..20).map(|number| query(number, true)).collect();
        let learned = learn_weight(&words, FusionBy::Score).unwrap();
        assert_eq!(learned.curve.len(), 21);
        // Everything from 0 to the default is equally good, and everything beyond loses.
        assert!(learned.weight <= 0.5 && learned.held_out.mean > 0.99, "{learned:?}");
        let meaning: Vec<_> = (0..20).map(|number| query(number, false)).collect();
        assert!(learn_weight(&meaning, FusionBy::Score).unwrap().weight >= 0.5);
    }

    #[test]
    fn few_queries_choose_nothing() {
        let few: Vec<_> = (0..FEWEST_QUERIES - 1).map(|number| query(number, true)).collect();
        assert_eq!(learn_weight(&few, FusionBy::Score), None);
    }
}
