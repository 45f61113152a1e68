//! Why a chunk is no hit, and which setting would make it one. Nothing is said that was not tried: every remedy is the
//! outcome of asking again.

use flowbench_core::ports::HitSource;
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::Filter;

use super::candidate::{Candidate, Place, ordinal};
use super::fusion::Fusion;
use super::pool::{Pool, Reach};
use super::request::{
    Diversify, MOST_CANDIDATES, Mode, RetrieveError, SearchRequest, Settings, Surroundings,
};
use super::settings::FusionBy;
use super::{check_models, retrieve};

/// Most hits that are tried as a remedy: more is no answer but a dump.
const MOST_HITS: usize = 1_000;
/// Weights that are tried.
const WEIGHT_STEPS: usize = 20;

/// A chunk and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WhyNot {
    /// Chunk id.
    pub id: String,
    /// Where it stands.
    pub source: HitSource,
    /// Its rank among the hits; absent where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Its place among all chunks by keywords, however far down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyword: Option<Place>,
    /// Its place among all chunks by meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Place>,
    /// Its way through the stages, as far as it came with the settings that were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// What cut it, in words.
    pub reason: String,
    /// What would make it a hit, each tried alone.
    pub remedies: Vec<Remedy>,
    /// What should be known of the question.
    pub notes: Vec<String>,
}

/// One change that makes a chunk a hit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remedy {
    /// Setting, as the spec or the command line calls it.
    pub setting: &'static str,
    /// Its value.
    pub value: Value,
    /// Rank that the chunk then has.
    pub rank: usize,
    /// The change in words.
    pub text: String,
}

/// Says what became of a chunk under these settings, and what would make it a hit.
pub async fn explain(
    around: Surroundings<'_>,
    request: &SearchRequest,
    settings: &Settings,
    id: &str,
) -> Result<WhyNot, RetrieveError> {
    let settings = settings.asked(request)?;
    check_models(around, settings.mode)?;
    let wanted = [id.to_owned()];
    let found = around.engine.chunks(&wanted).await?.into_iter().flatten().next();
    let chunk = found.ok_or_else(|| RetrieveError::NoChunk { id: id.to_owned() })?;
    let mut told = WhyNot {
        id: id.to_owned(),
        source: chunk.source.clone(),
        rank: None,
        keyword: None,
        vector: None,
        candidate: None,
        reason: String::new(),
        remedies: Vec::new(),
        notes: Vec::new(),
    };
    if chunk.is_parent {
        told.reason =
            "it is a larger piece, which is read in place of its parts and never searched".to_owned();
        return Ok(told);
    }
    let (holding, excluding): (Vec<_>, Vec<_>) =
        request.filter.conditions.iter().cloned().partition(|condition| condition.holds(&chunk));
    let fields: Vec<&str> = excluding.iter().map(|condition| condition.field.as_str()).collect();
    let without = SearchRequest { filter: Filter { conditions: holding }, ..request.clone() };
    let reach = Reach {
        has_keywords: true,
        has_vectors: around.embedder.is_some(),
        depth: around.engine.len().clamp(settings.depth(), MOST_CANDIDATES.max(settings.depth())),
        is_exact: settings.is_exact,
    };
    let mut trial = Trial {
        around,
        pool: Pool::gather(around, &without, reach).await?,
        request: without,
        id,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        remedies: Vec::new(),
    };
    (told.keyword, told.vector) = trial.pool.places(id);
    told.notes = trial.pool.notes.clone();
    let candidate = trial.decide(&settings).await?;
    let is_hit = candidate.as_ref().is_some_and(|one| one.rank.is_some());
    if excluding.is_empty() {
        told.rank = candidate.as_ref().and_then(|one| one.rank);
        told.candidate.clone_from(&candidate);
    }
    told.reason = match (excluding.is_empty(), &candidate) {
        (false, _) => format!("the filter on {} leaves it out", named(&fields)),
        (true, Some(Candidate { rank: Some(rank), .. })) => format!("it is the {} hit", ordinal(*rank)),
        (true, Some(one)) => one.left.as_ref().map(|left| left.why.clone()).unwrap_or_default(),
        (true, None) => beyond(&told, &settings),
    };
    if is_hit {
        if !excluding.is_empty() {
            trial.prove(&settings, "filters", Value::Null, "without the filter".to_owned()).await?;
        }
    } else {
        trial.remedies(&settings, candidate.as_ref(), (told.keyword, told.vector)).await?;
    }
    told.remedies = trial.remedies;
    Ok(told)
}

/// Why no list had it.
fn beyond(told: &WhyNot, settings: &Settings) -> String {
    let mut parts = Vec::new();
    if settings.mode.has_keywords() {
        parts.push(match told.keyword {
            Some(place) => format!("{} by keywords", ordinal(place.rank)),
            None => "not found by keywords (it has none of them)".to_owned(),
        });
    }
    if settings.mode.has_vectors() {
        parts.push(match told.vector {
            Some(place) => format!("{} by meaning", ordinal(place.rank)),
            None => "not found by meaning".to_owned(),
        });
    }
    format!("it is {}, and the first {} of each list are candidates", parts.join(" and "), settings.depth())
}

fn named(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
}

/// Tries settings on one question.
struct Trial<'s, 'i> {
    around: Surroundings<'s>,
    pool: Pool<'s>,
    /// The question, without conditions that leave the chunk out.
    request: SearchRequest,
    id: &'i str,
    /// Fields of those conditions.
    fields: Vec<String>,
    remedies: Vec<Remedy>,
}

impl Trial<'_, '_> {
    /// What becomes of the chunk under these settings, from what was gathered.
    async fn decide(&mut self, settings: &Settings) -> Result<Option<Candidate>, RetrieveError> {
        let decided = self.pool.decide(settings).await?;
        Ok(decided.into_iter().find(|one| one.id == self.id))
    }

    async fn rank(&mut self, settings: &Settings) -> Result<Option<usize>, RetrieveError> {
        Ok(self.decide(settings).await?.and_then(|one| one.rank))
    }

    /// Asks again as a user would, and keeps the remedy if the chunk is among the hits.
    async fn prove(
        &mut self,
        settings: &Settings,
        setting: &'static str,
        value: Value,
        text: String,
    ) -> Result<bool, RetrieveError> {
        let request = SearchRequest { mode: None, top_k: None, ..self.request.clone() };
        let answer = retrieve(self.around, &request, settings).await?;
        let Some(place) = answer.hits.iter().position(|hit| hit.id == self.id) else { return Ok(false) };
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        let text = match (fields.is_empty(), setting) {
            (true, _) => format!("{text} it is the {} hit", ordinal(place + 1)),
            (false, "filters") => {
                format!("{text} on {} it is the {} hit", named(&fields), ordinal(place + 1))
            }
            (false, _) => {
                format!(
                    "{text} and without the filter on {} it is the {} hit",
                    named(&fields),
                    ordinal(place + 1)
                )
            }
        };
        self.remedies.push(Remedy { setting, value, rank: place + 1, text });
        Ok(true)
    }

    async fn remedies(
        &mut self,
        settings: &Settings,
        candidate: Option<&Candidate>,
        places: (Option<Place>, Option<Place>),
    ) -> Result<(), RetrieveError> {
        match candidate.and_then(|one| one.left.as_ref()).map(|left| left.stage) {
            Some("top_k") => self.try_hits(settings).await?,
            Some("rerank") => self.try_rerank(settings, candidate).await?,
            Some("min_score") => self.try_score(settings, candidate).await?,
            Some("diversify") => self.try_diversify(settings).await?,
            None => self.try_candidates(settings, places).await?,
            Some(_) => {}
        }
        if settings.mode.is_fused() {
            self.try_weights(settings).await?;
            self.try_rule(settings).await?;
        }
        self.try_modes(settings).await
    }

    /// More hits, as few more as are needed.
    async fn try_hits(&mut self, settings: &Settings) -> Result<(), RetrieveError> {
        let (mut low, mut high) = (settings.top_k, settings.top_k);
        loop {
            high = (high * 2).min(MOST_HITS);
            let more = Settings { top_k: high, ..settings.clone() };
            if self.rank(&more).await?.is_some() {
                break;
            }
            if high >= MOST_HITS {
                return Ok(());
            }
            low = high;
        }
        // More hits never lose one, so the least number is found by halving.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let more = Settings { top_k: middle, ..settings.clone() };
            if self.rank(&more).await?.is_some() { high = middle } else { low = middle }
        }
        let more = Settings { top_k: high, ..settings.clone() };
        self.prove(&more, "top_k", json!(high), format!("with `top_k` {high}")).await?;
        Ok(())
    }

    /// More candidates; where that is not enough, with more hits as well.
    async fn try_candidates(
        &mut self,
        settings: &Settings,
        (keyword, vector): (Option<Place>, Option<Place>),
    ) -> Result<(), RetrieveError> {
        let keyword = keyword.filter(|_| settings.mode.has_keywords());
        let vector = vector.filter(|_| settings.mode.has_vectors());
        let mut depths: Vec<usize> = keyword.into_iter().chain(vector).map(|place| place.rank).collect();
        depths.sort_unstable();
        for depth in &depths {
            let more = Settings { candidates: *depth, ..settings.clone() };
            if self.rank(&more).await?.is_some()
                && self.prove(&more, "candidates", json!(depth), format!("with `candidates` {depth}")).await?
            {
                return Ok(());
            }
        }
        let Some(depth) = depths.first() else { return Ok(()) };
        let more = Settings { candidates: *depth, top_k: MOST_HITS.min(*depth * 2), ..settings.clone() };
        if let Some(rank) = self.rank(&more).await? {
            let more = Settings { top_k: rank, ..more };
            let value = json!({"candidates": depth, "top_k": rank});
            let text = format!("with `candidates` {depth} and `top_k` {rank}");
            self.prove(&more, "candidates, top_k", value, text).await?;
        }
        Ok(())
    }

    async fn try_rerank(
        &mut self,
        settings: &Settings,
        candidate: Option<&Candidate>,
    ) -> Result<(), RetrieveError> {
        let Some(rank) = candidate.and_then(|one| one.fusion.as_ref()).map(|fused| fused.rank) else {
            return Ok(());
        };
        let more = Settings { rerank_top: rank, ..settings.clone() };
        if self.rank(&more).await?.is_some() {
            self.prove(&more, "rerank.top", json!(rank), format!("with `rerank.top` {rank}")).await?;
        }
        Ok(())
    }

    async fn try_score(
        &mut self,
        settings: &Settings,
        candidate: Option<&Candidate>,
    ) -> Result<(), RetrieveError> {
        let Some(score) = candidate.map(|one| one.score) else { return Ok(()) };
        let lower = Settings { min_score: Some(score), ..settings.clone() };
        if self.rank(&lower).await?.is_some() {
            self.prove(&lower, "min_score", json!(score), format!("with `min_score` {score:.4}")).await?;
        }
        Ok(())
    }

    async fn try_diversify(&mut self, settings: &Settings) -> Result<(), RetrieveError> {
        let given = settings.diversify;
        if let Some(most) = given.per_document {
            for more in most + 1..=settings.top_k.max(most + 1) {
                let wider = Diversify { per_document: Some(more), ..given };
                let wider = Settings { diversify: wider, ..settings.clone() };
                if self.rank(&wider).await?.is_some() {
                    let text = format!("with `diversify.per_document` {more}");
                    self.prove(&wider, "diversify.per_document", json!(more), text).await?;
                    break;
                }
            }
        }
        let plain = Settings { diversify: Diversify::default(), ..settings.clone() };
        if self.rank(&plain).await?.is_some() {
            self.prove(&plain, "diversify", Value::Null, "without `diversify`".to_owned()).await?;
        }
        Ok(())
    }

    /// The range of weights next to the one that was asked.
    async fn try_weights(&mut self, settings: &Settings) -> Result<(), RetrieveError> {
        let mut including = Vec::new();
        for step in 0..=WEIGHT_STEPS {
            let weight = step as f64 / WEIGHT_STEPS as f64;
            let other = Settings { fusion: Fusion { weight, ..settings.fusion }, ..settings.clone() };
            if self.rank(&other).await?.is_some() {
                including.push(step);
            }
        }
        let weight_of = |step: usize| step as f64 / WEIGHT_STEPS as f64;
        let apart = |step: &usize| (weight_of(*step) - settings.fusion.weight).abs();
        let Some(nearest) = including.iter().copied().min_by(|a, b| apart(a).total_cmp(&apart(b))) else {
            return Ok(());
        };
        let (mut first, mut last) = (nearest, nearest);
        while first > 0 && including.contains(&(first - 1)) {
            first -= 1;
        }
        while including.contains(&(last + 1)) {
            last += 1;
        }
        let fusion = Fusion { weight: weight_of(nearest), ..settings.fusion };
        let (low, high) = (weight_of(first), weight_of(last));
        let text = match first == last {
            true => format!("with `fusion.weight` {low}"),
            false => format!("with `fusion.weight` from {low} to {high} (tried {})", weight_of(nearest)),
        };
        let value = json!({"from": low, "to": high});
        self.prove(&Settings { fusion, ..settings.clone() }, "fusion.weight", value, text).await?;
        Ok(())
    }

    async fn try_rule(&mut self, settings: &Settings) -> Result<(), RetrieveError> {
        let (by, name) = match settings.fusion.by {
            FusionBy::Score => (FusionBy::Rank, "rank"),
            FusionBy::Rank => (FusionBy::Score, "score"),
        };
        let other = Settings { fusion: Fusion { by, ..settings.fusion }, ..settings.clone() };
        if self.rank(&other).await?.is_some() {
            self.prove(&other, "fusion.by", json!(name), format!("with `fusion.by` `{name}`")).await?;
        }
        Ok(())
    }

    async fn try_modes(&mut self, settings: &Settings) -> Result<(), RetrieveError> {
        for mode in Mode::ALL {
            if mode == settings.mode || check_models(self.around, mode).is_err() {
                continue;
            }
            let other = Settings { mode, ..settings.clone() };
            if self.rank(&other).await?.is_some() {
                self.prove(&other, "mode", json!(mode), format!("with `mode` `{mode}`")).await?;
            }
        }
        Ok(())
    }
}
