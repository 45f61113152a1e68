//! Ranking metrics by the conventions of trec_eval, so that figures can be compared with published ones.
//!
//! A run passes through it as scores by document → [`trec_order`] (or any order that the caller has) → a
//! [`RankingMetric`] for each query → a mean over all *judged* queries: one that is missing from the run counts 0, so that
//! nothing is gained by not answering. Relevant means a label of 1 or more.
//!
//! ```
//! use flowbench_core::metrics::ranking::{Judgements, RankingMetric};
//! let judged: Judgements = [("a".to_owned(), 1), ("b".to_owned(), 1)].into_iter().collect();
//! let metric: RankingMetric = "recall@2".parse()?;
//! assert_eq!(metric.score(&["x", "a", "b"], &judged), 0.5);
//! # Ok::<(), flowbench_core::metrics::ranking::UnknownMetric>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Labels by document of one query. A document without one was not judged.
pub type Judgements = BTreeMap<String, i64>;

/// What a label is worth in nDCG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gain {
    /// The label itself, as trec_eval has it.
    #[default]
    Linear,
    /// 2^label − 1, as web search and azure-ai-evaluation have it.
    Exp2,
}

/// A number for the ranking of one query. `None` as cut-off takes the whole ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RankingMetric {
    /// Σ gain / log2(rank + 1) over the same of the best order of all judged documents.
    Ndcg {
        /// Cut-off.
        at: Option<usize>,
        /// What a label is worth.
        gain: Gain,
    },
    /// Relevant ones found by all relevant ones.
    Recall {
        /// Cut-off.
        at: Option<usize>,
    },
    /// Relevant ones by k, also where fewer were found.
    Precision {
        /// Cut-off.
        at: usize,
    },
    /// 1 by the rank of the first relevant one, 0 beyond the cut-off. Its mean is MRR.
    ReciprocalRank {
        /// Cut-off.
        at: Option<usize>,
    },
    /// Mean over all relevant ones of the precision where each is found. Its mean is MAP.
    AveragePrecision {
        /// Cut-off.
        at: Option<usize>,
    },
    /// 1 if any relevant one is found.
    Success {
        /// Cut-off.
        at: usize,
    },
    /// Precision at as many as there are relevant ones.
    RPrecision,
    /// Share of the found ones that were judged.
    Judged {
        /// Cut-off.
        at: usize,
    },
    /// Share of the found ones that nobody judged: what makes the other numbers too low.
    Holes {
        /// Cut-off.
        at: usize,
    },
}

/// A name that is no metric.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "`{name}` is no ranking metric; known are `ndcg@k`, `recall@k`, `precision@k`, `mrr@k`, `map@k`, `success@k`, \
     `judged@k`, `holes@k`, `r-precision` and `ndcg-exp2@k`"
)]
pub struct UnknownMetric {
    /// What was asked.
    pub name: String,
}

impl RankingMetric {
    /// The metric for a ranking, best first. A document that is named twice counts where it is first; 0 where there is
    /// nothing relevant to find.
    pub fn score<S: AsRef<str>>(&self, ranking: &[S], judged: &Judgements) -> f64 {
        let labels = Labels::of(ranking, judged);
        match *self {
            Self::Ndcg { at, gain } => labels.ndcg(at, gain),
            Self::Recall { at } => by(labels.hits(at) as f64, labels.relevant as f64),
            Self::Precision { at } => by(labels.hits(Some(at)) as f64, at as f64),
            Self::ReciprocalRank { at } => labels.reciprocal_rank(at),
            Self::AveragePrecision { at } => labels.average_precision(at),
            Self::Success { at } => f64::from(u8::from(labels.hits(Some(at)) > 0)),
            Self::RPrecision => by(labels.hits(Some(labels.relevant)) as f64, labels.relevant as f64),
            Self::Judged { at } => labels.judged(at),
            Self::Holes { at } => match labels.ranked.is_empty() {
                true => 0.0,
                false => 1.0 - labels.judged(at),
            },
        }
    }
}

/// A ranking as its labels.
struct Labels {
    /// By rank; `None` was not judged.
    ranked: Vec<Option<i64>>,
    /// Of all judged documents.
    all: Vec<i64>,
    relevant: usize,
}

impl Labels {
    fn of<S: AsRef<str>>(ranking: &[S], judged: &Judgements) -> Self {
        let mut seen = std::collections::HashSet::with_capacity(ranking.len());
        let ranked = ranking
            .iter()
            .map(AsRef::as_ref)
            .filter(|document| seen.insert(*document))
            .map(|document| judged.get(document).copied())
            .collect();
        let all: Vec<i64> = judged.values().copied().collect();
        let relevant = all.iter().filter(|label| **label >= 1).count();
        Self { ranked, all, relevant }
    }

    fn top(&self, at: Option<usize>) -> &[Option<i64>] {
        &self.ranked[..at.unwrap_or(self.ranked.len()).min(self.ranked.len())]
    }

    fn hits(&self, at: Option<usize>) -> usize {
        self.top(at).iter().filter(|label| is_relevant(**label)).count()
    }

    fn reciprocal_rank(&self, at: Option<usize>) -> f64 {
        let first = self.top(at).iter().position(|label| is_relevant(*label));
        first.map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
    }

    fn average_precision(&self, at: Option<usize>) -> f64 {
        let (mut hits, mut sum) = (0_usize, 0.0);
        for (place, label) in self.top(at).iter().enumerate() {
            if is_relevant(*label) {
                hits += 1;
                sum += hits as f64 / (place as f64 + 1.0);
            }
        }
        by(sum, self.relevant as f64)
    }

    fn ndcg(&self, at: Option<usize>, gain: Gain) -> f64 {
        let worth = |label: i64| match gain {
            _ if label <= 0 => 0.0,
            Gain::Linear => label as f64,
            Gain::Exp2 => (label as f64).exp2() - 1.0,
        };
        let sum = |labels: &mut dyn Iterator<Item = i64>| -> f64 {
            let at = at.unwrap_or(usize::MAX);
            labels.take(at).enumerate().map(|(place, label)| worth(label) / (place as f64 + 2.0).log2()).sum()
        };
        let mut best = self.all.clone();
        best.sort_unstable_by(|a, b| b.cmp(a));
        by(sum(&mut self.ranked.iter().map(|label| label.unwrap_or(0))), sum(&mut best.into_iter()))
    }

    fn judged(&self, at: usize) -> f64 {
        let top = self.top(Some(at));
        by(top.iter().filter(|label| label.is_some()).count() as f64, top.len() as f64)
    }
}

fn is_relevant(label: Option<i64>) -> bool {
    label.is_some_and(|label| label >= 1)
}

/// 0 where there is nothing to divide by: trec_eval's convention. Never −0, which an empty sum is.
fn by(part: f64, whole: f64) -> f64 {
    if part > 0.0 && whole > 0.0 { part / whole } else { 0.0 }
}

/// Documents as trec_eval orders them, whatever order they come in: by score at single precision, highest first, and
/// equal ones by id in byte order, last first.
pub fn trec_order<S: AsRef<str>>(run: &[(S, f64)]) -> Vec<&str> {
    let mut order: Vec<(&str, f32)> = run.iter().map(|(id, score)| (id.as_ref(), *score as f32)).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| b.0.cmp(a.0)));
    order.into_iter().map(|(id, _)| id).collect()
}

/// A metric for every judged query, in the order of their ids. A judged query that the run does not have counts 0; one
/// that was not judged is left out.
pub fn score_queries<S: AsRef<str>>(
    metric: RankingMetric,
    rankings: &BTreeMap<String, Vec<S>>,
    judged: &BTreeMap<String, Judgements>,
) -> BTreeMap<String, f64> {
    judged
        .iter()
        .map(|(query, judged)| {
            let score = rankings.get(query).map_or(0.0, |ranking| metric.score(ranking, judged));
            (query.clone(), score)
        })
        .collect()
}

impl fmt::Display for RankingMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |f: &mut fmt::Formatter<'_>, name: &str, at: Option<usize>| match at {
            Some(at) => write!(f, "{name}@{at}"),
            None => f.write_str(name),
        };
        match *self {
            Self::Ndcg { at, gain: Gain::Linear } => cut(f, "ndcg", at),
            Self::Ndcg { at, gain: Gain::Exp2 } => cut(f, "ndcg-exp2", at),
            Self::Recall { at } => cut(f, "recall", at),
            Self::Precision { at } => cut(f, "precision", Some(at)),
            Self::ReciprocalRank { at } => cut(f, "mrr", at),
            Self::AveragePrecision { at } => cut(f, "map", at),
            Self::Success { at } => cut(f, "success", Some(at)),
            Self::RPrecision => f.write_str("r-precision"),
            Self::Judged { at } => cut(f, "judged", Some(at)),
            Self::Holes { at } => cut(f, "holes", Some(at)),
        }
    }
}

impl FromStr for RankingMetric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        let unknown = || UnknownMetric { name: name.to_owned() };
        let lower = name.trim().to_ascii_lowercase();
        let (word, at) = match lower.split_once('@') {
            None => (lower.as_str(), None),
            Some((word, at)) => {
                (word, Some(at.parse::<usize>().ok().filter(|at| *at > 0).ok_or_else(unknown)?))
            }
        };
        let needed = || at.ok_or_else(unknown);
        Ok(match word {
            "ndcg" => Self::Ndcg { at, gain: Gain::Linear },
            "ndcg-exp2" => Self::Ndcg { at, gain: Gain::Exp2 },
            "recall" | "r" => Self::Recall { at },
            "precision" | "p" => Self::Precision { at: needed()? },
            "mrr" | "rr" => Self::ReciprocalRank { at },
            "map" | "ap" => Self::AveragePrecision { at },
            "success" | "hit" => Self::Success { at: needed()? },
            "judged" => Self::Judged { at: needed()? },
            "holes" => Self::Holes { at: needed()? },
            "r-precision" | "rprec" if at.is_none() => Self::RPrecision,
            _ => return Err(unknown()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn metric(name: &str) -> RankingMetric {
        name.parse().unwrap()
    }

    fn reference() -> Vec<Value> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/ranking-metrics.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn judgements(value: &Value) -> BTreeMap<String, Judgements> {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn run(value: &Value) -> BTreeMap<String, Vec<(String, f64)>> {
        let run: BTreeMap<String, BTreeMap<String, f64>> = serde_json::from_value(value.clone()).unwrap();
        run.into_iter().map(|(query, scores)| (query, scores.into_iter().collect())).collect()
    }

    #[test]
    fn values_are_those_of_trec_eval() {
        let names = [
            ("map", "map"),
            ("Rprec", "r-precision"),
            ("recip_rank", "mrr"),
            ("P_1", "precision@1"),
            ("P_5", "precision@5"),
            ("P_10", "precision@10"),
            ("recall_1", "recall@1"),
            ("recall_5", "recall@5"),
            ("recall_10", "recall@10"),
            ("ndcg", "ndcg"),
            ("ndcg_cut_3", "ndcg@3"),
            ("ndcg_cut_10", "ndcg@10"),
            ("exp2_ndcg", "ndcg-exp2"),
            ("exp2_ndcg_cut_3", "ndcg-exp2@3"),
            ("exp2_ndcg_cut_10", "ndcg-exp2@10"),
            ("map_cut_10", "map@10"),
            ("success_1", "success@1"),
            ("success_5", "success@5"),
            ("Judged@5", "judged@5"),
            ("Judged@10", "judged@10"),
        ];
        let mut compared = 0;
        for case in reference() {
            let (judged, run) = (judgements(&case["qrels"]), run(&case["run"]));
            for (query, values) in case["values"].as_object().unwrap() {
                let order = trec_order(&run[query]);
                let expected: Vec<&str> =
                    case["order"][query].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                assert_eq!(order, expected, "{} {query}", case["id"]);
                // ir-measures breaks ties the other way round in what it computes by itself.
                let mut scores: Vec<f64> = run[query].iter().map(|(_, score)| *score).collect();
                scores.sort_by(f64::total_cmp);
                let has_ties = scores.windows(2).any(|pair| pair[0] == pair[1]);
                for (theirs, ours) in names {
                    if has_ties && theirs.starts_with("Judged") {
                        continue;
                    }
                    let Some(expected) = values[theirs].as_f64() else { continue };
                    let score = metric(ours).score(&order, &judged[query]);
                    assert!(
                        (score - expected).abs() < 1e-9,
                        "{} {query} {ours}: {score}, not {expected}",
                        case["id"]
                    );
                    compared += 1;
                }
            }
        }
        assert!(compared > 1_500, "{compared} values");
    }

    #[test]
    fn judged_queries_that_are_missing_count_nothing() {
        for case in reference() {
            let judged = judgements(&case["qrels"]);
            let run = run(&case["run"]);
            let rankings = run.iter().map(|(query, run)| (query.clone(), trec_order(run))).collect();
            for (theirs, ours) in
                [("AP", "map"), ("nDCG@10", "ndcg@10"), ("R@10", "recall@10"), ("RR", "mrr")]
            {
                let Some(expected) = case["mean_with_missing"][theirs].as_f64() else { continue };
                let scores = score_queries(metric(ours), &rankings, &judged);
                let mean = scores.values().sum::<f64>() / scores.len() as f64;
                assert!((mean - expected).abs() < 1e-9, "{} {ours}: {mean}, not {expected}", case["id"]);
            }
        }
    }

    #[test]
    fn holes_are_what_nobody_judged() {
        let judged: Judgements = [("a".to_owned(), 0), ("b".to_owned(), 2)].into_iter().collect();
        assert_eq!(metric("holes@4").score(&["a", "x", "b", "y"], &judged), 0.5);
        assert_eq!(metric("holes@4").score::<&str>(&[], &judged), 0.0);
        // A document named twice is one answer.
        assert_eq!(metric("recall@2").score(&["x", "x", "b"], &judged), 1.0);
    }

    #[test]
    fn names_are_read_and_written() {
        for name in [
            "ndcg@10",
            "ndcg-exp2@3",
            "recall@100",
            "precision@5",
            "mrr@10",
            "map",
            "success@1",
            "r-precision",
        ] {
            assert_eq!(metric(name).to_string(), name);
        }
        let error = "precision".parse::<RankingMetric>().unwrap_err();
        assert!(
            error.to_string().starts_with("`precision` is no ranking metric; known are `ndcg@k`"),
            "{error}"
        );
        assert!("ndcg@0".parse::<RankingMetric>().is_err());
    }
}
