//! One chunk on its way through the stages of a question.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::fusion::{Fused, Say, Standing};
use super::request::Settings;

/// A chunk that a list had, with its place at every stage it came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Candidate {
    /// Chunk id.
    pub id: String,
    /// Place among keyword hits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyword: Option<Place>,
    /// Place among vector hits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Place>,
    /// Place after fusion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fusion: Option<FusedPlace>,
    /// Place after reranking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<Place>,
    /// Place after taking out more of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diversify: Option<Place>,
    /// Final score.
    pub score: f64,
    /// Final rank, from 1; absent where it is no hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Where and why it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

/// Rank and score at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Place {
    /// From 1.
    pub rank: usize,
    /// Raw score of that stage; stages are not on one scale.
    pub score: f64,
}

/// A place after fusion, and what it was made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FusedPlace {
    /// From 1.
    pub rank: usize,
    /// Fused score.
    pub score: f64,
    /// `score` or `rank`.
    pub method: &'static str,
    /// Share of vectors.
    pub weight: f64,
    /// Standardised keyword score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyword_z: Option<f64>,
    /// Standardised vector score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_z: Option<f64>,
    /// True if the model does not speak the chunk's language: keywords alone decide.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_unspoken: bool,
}

/// Where and why a candidate left.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Left {
    /// `candidates`, `min_score`, `diversify`, `parent` or `top_k`.
    pub stage: &'static str,
    /// In words.
    pub why: String,
}

impl From<Standing> for Place {
    fn from(standing: Standing) -> Self {
        Self { rank: standing.rank, score: f64::from(standing.score) }
    }
}

impl Candidate {
    /// A chunk after fusion, at this place (from 0).
    pub(super) fn fused(fused: Fused, place: usize, settings: &Settings) -> Self {
        Self {
            keyword: fused.keyword.map(Place::from),
            vector: fused.vector.map(Place::from),
            fusion: Some(FusedPlace {
                rank: place + 1,
                score: fused.score,
                method: settings.method(),
                weight: settings.fusion.weight,
                keyword_z: fused.keyword.map(|standing| standing.z),
                vector_z: fused.vector.map(|standing| standing.z),
                is_unspoken: fused.say != Say::Both,
            }),
            score: fused.score,
            id: fused.id,
            ..Self::default()
        }
    }

    /// Rank and score of every stage, as hits carry them.
    pub fn stages(&self) -> Map<String, Value> {
        let mut stages = Map::new();
        let place = |place: &Place| json!({"rank": place.rank, "score": place.score});
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                stages.insert(name.to_owned(), value);
            }
        };
        put("keyword", self.keyword.as_ref().map(place));
        put("vector", self.vector.as_ref().map(place));
        put("fusion", self.fusion.as_ref().and_then(|fused| serde_json::to_value(fused).ok()));
        put("rerank", self.rerank.as_ref().map(place));
        put("diversify", self.diversify.as_ref().map(place));
        stages
    }

    /// Why it stands where it stands, in a sentence.
    pub(super) fn why(&self, words: &[(String, f32)]) -> String {
        let mut parts = Vec::new();
        match (&self.keyword, words) {
            (Some(place), []) => parts.push(format!("{} by keywords", ordinal(place.rank))),
            (Some(place), words) => {
                let named: Vec<String> = words.iter().take(3).map(|(word, _)| format!("`{word}`")).collect();
                parts.push(format!("{} by keywords (most for {})", ordinal(place.rank), named.join(", ")));
            }
            (None, _) if self.fusion.is_some() => parts.push("not among the keyword candidates".to_owned()),
            (None, _) => {}
        }
        match &self.vector {
            Some(place) => {
                parts.push(format!("{} by meaning (cosine {:.3})", ordinal(place.rank), place.score))
            }
            None if self.fusion.is_some() => parts.push("not among the vector candidates".to_owned()),
            None => {}
        }
        if let Some(fused) = &self.fusion {
            let how = match fused.is_unspoken {
                true => ", by keywords alone as the model does not speak its language".to_owned(),
                false => format!(" with {:.0} % vectors", fused.weight * 100.0),
            };
            parts.push(format!("{} after fusion by {}{how}", ordinal(fused.rank), fused.method));
        }
        if let Some(place) = &self.rerank {
            parts.push(format!("{} after reranking", ordinal(place.rank)));
        }
        if let Some(place) = &self.diversify {
            parts.push(format!("{} after taking out more of the same", ordinal(place.rank)));
        }
        parts.join("; ")
    }
}

/// `1st`, `22nd`, `113th`.
pub(super) fn ordinal(rank: usize) -> String {
    let ending = match (rank % 10, rank % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{rank}{ending}")
}
