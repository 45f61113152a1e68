//! What the lists gave for one question, gathered once, and decided on as often as settings are tried.

use std::collections::{HashMap, HashSet};

use flowbench_core::chat::Usage;
use flowbench_core::ports::{EmbedderProfile, EmbeddingPurpose};
use flowbench_corpus::chunk::Chunk;
use flowbench_text::analysis::Analyzer;
use flowbench_text::language::detect;

use crate::engine::{Filter, Scored};

use super::candidate::{Candidate, Left, Place, ordinal};
use super::fusion::{fuse, fuse_wordings};
use super::request::{Diversify, Mode, RetrieveError, SearchRequest, Settings, Surroundings};
use super::select::{Item, select};

/// Most different words that are looked up; more are a pasted document, of which the first say enough.
const MOST_TERMS: usize = 1_024;
/// Most other wordings of a question.
const MOST_WORDINGS: usize = 8;
/// Candidates looked at when less of the same is wanted, at least, and by hit.
const DIVERSIFY_REACH: (usize, usize) = (50, 4);

/// The lists of one question.
pub(super) struct Pool<'s> {
    around: Surroundings<'s>,
    query: String,
    pub terms: Vec<(String, f32)>,
    pub notes: Vec<String>,
    pub usage: Option<Usage>,
    keyword: Vec<Scored>,
    vector: Vec<Scored>,
    profile: EmbedderProfile,
    /// The question itself is in a language that the model does not speak.
    is_query_unspoken: bool,
    chunks: HashMap<String, Chunk>,
    vectors: HashMap<String, Option<Vec<f32>>>,
    reranked: HashMap<String, f64>,
}

/// How much is gathered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub has_keywords: bool,
    pub has_vectors: bool,
    pub depth: usize,
    pub is_exact: bool,
}

impl<'s> Pool<'s> {
    /// Asks the lists, keywords and vectors side by side.
    pub async fn gather(
        around: Surroundings<'s>,
        request: &SearchRequest,
        reach: Reach,
    ) -> Result<Self, RetrieveError> {
        let query = request.query.trim().to_owned();
        if query.is_empty() {
            return Err(RetrieveError::EmptyQuery);
        }
        let mut notes = Vec::new();
        let mut wordings = vec![query.clone()];
        if let Some(rewriter) = around.rewriter {
            for wording in rewriter.rewrite(&query).await?.into_iter().take(MOST_WORDINGS) {
                let wording = wording.trim();
                if !wording.is_empty() && !wordings.iter().any(|known| known == wording) {
                    wordings.push(wording.to_owned());
                }
            }
            if wordings.len() > 1 {
                notes.push(format!("also asked as {}", quoted(&wordings[1..])));
            }
        }
        let mut terms: Vec<Vec<(String, f32)>> =
            wordings.iter().map(|wording| Analyzer::new().query_terms(wording, around.languages)).collect();
        for terms in terms.iter_mut().filter(|terms| terms.len() > MOST_TERMS) {
            notes.push(format!(
                "only the first {MOST_TERMS} of its {} different words are looked up",
                terms.len()
            ));
            terms.truncate(MOST_TERMS);
        }
        if reach.has_keywords && terms[0].is_empty() {
            notes.push("it has no words to look up".to_owned());
        }
        let profile = around.embedder.map(|embedder| embedder.profile()).unwrap_or_default();
        let is_query_unspoken =
            reach.has_vectors && detect(&query).is_some_and(|found| !profile.speaks(found.code));
        let mut pool = Self {
            around,
            query,
            terms: merged(&terms),
            notes,
            usage: None,
            keyword: Vec::new(),
            vector: Vec::new(),
            profile,
            is_query_unspoken,
            chunks: HashMap::new(),
            vectors: HashMap::new(),
            reranked: HashMap::new(),
        };
        let (keyword, vector) = tokio::join!(
            async {
                match reach.has_keywords {
                    true => keyword_list(around, &terms, &request.filter, reach.depth).await,
                    false => Ok(Vec::new()),
                }
            },
            async {
                match reach.has_vectors {
                    true => vector_list(around, &wordings, &request.filter, reach).await,
                    false => Ok(VectorList::default()),
                }
            }
        );
        pool.keyword = keyword?;
        let vector = vector?;
        pool.usage = vector.usage;
        pool.notes.extend(vector.notes);
        pool.vector = vector.hits;
        if vector.is_blank && !reach.has_keywords {
            pool.keyword = keyword_list(around, &terms, &request.filter, reach.depth).await?;
        }
        Ok(pool)
    }

    /// Everything that any list had, in its final order under these settings.
    pub async fn decide(&mut self, settings: &Settings) -> Result<Vec<Candidate>, RetrieveError> {
        let depth = settings.depth();
        let mut candidates = self.fused(settings, depth).await?;
        let mut cut = Vec::new();
        if settings.mode == Mode::HybridRerank {
            cut.extend(self.rerank(&mut candidates, settings.rerank_top.max(settings.top_k)).await?);
        }
        if let Some(least) = settings.min_score {
            let (kept, below): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|one| one.score >= least);
            candidates = kept;
            cut.extend(below.into_iter().map(|mut one| {
                let why = format!("its score is {:.4}, and `min_score` is {least}", one.score);
                one.left = Some(Left { stage: "min_score", why });
                one
            }));
        }
        let items = self.items(&candidates, settings).await?;
        let mut decided = select(candidates, &items, settings.diversify, settings.top_k);
        decided.extend(cut);
        Ok(decided)
    }

    /// One list out of those that the mode has.
    async fn fused(&mut self, settings: &Settings, depth: usize) -> Result<Vec<Candidate>, RetrieveError> {
        let top = |list: &[Scored]| list[..depth.min(list.len())].to_vec();
        let (keyword, vector) = (top(&self.keyword), top(&self.vector));
        if !settings.mode.is_fused() {
            // A blank vector leaves keywords even where vectors alone were asked.
            let is_keyword = settings.mode == Mode::Keyword || vector.is_empty();
            let list = if is_keyword { keyword } else { vector };
            return Ok(list
                .into_iter()
                .enumerate()
                .map(|(place, hit)| {
                    let score = f64::from(hit.score);
                    let place = Some(Place { rank: place + 1, score });
                    let (keyword, vector) = if is_keyword { (place, None) } else { (None, place) };
                    Candidate { id: hit.id, keyword, vector, score, ..Candidate::default() }
                })
                .collect());
        }
        let unspoken = self.unspoken(&keyword, &vector).await?;
        let speaks = |id: &str| !self.is_query_unspoken && !unspoken.contains(id);
        let fused = fuse(&keyword, &vector, settings.fusion, &speaks);
        Ok(fused.into_iter().enumerate().map(|(place, one)| Candidate::fused(one, place, settings)).collect())
    }

    /// Chunks in languages that the model does not speak. Chunks are only read if the index has any such.
    async fn unspoken(
        &mut self,
        keyword: &[Scored],
        vector: &[Scored],
    ) -> Result<HashSet<String>, RetrieveError> {
        // A chunk whose language cannot be told is taken to be in that of most others.
        let known = self.around.languages.iter().filter(|(code, _)| !code.is_empty());
        let main = known.max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
        let is_main_spoken = main.is_none_or(|(code, _)| self.profile.speaks(code));
        let speaks = |profile: &EmbedderProfile, code: &str| match code {
            "" => is_main_spoken,
            code => profile.speaks(code),
        };
        let is_all_spoken =
            self.around.languages.iter().all(|(code, share)| *share <= 0.0 || speaks(&self.profile, code));
        if is_all_spoken {
            return Ok(HashSet::new());
        }
        let ids: Vec<String> = keyword.iter().chain(vector).map(|hit| hit.id.clone()).collect();
        self.read(&ids).await?;
        let is_unspoken =
            |id: &String| self.chunks.get(id).is_some_and(|chunk| !speaks(&self.profile, &chunk.language));
        Ok(ids.into_iter().filter(is_unspoken).collect())
    }

    /// Scores the first `top` again and puts them in their new order; gives those that were not scored.
    async fn rerank(
        &mut self,
        candidates: &mut Vec<Candidate>,
        top: usize,
    ) -> Result<Vec<Candidate>, RetrieveError> {
        let reranker = self.around.reranker.ok_or(RetrieveError::NoReranker)?;
        let mut behind = candidates.split_off(top.min(candidates.len()));
        for one in &mut behind {
            let rank = one.fusion.as_ref().map_or(0, |fused| fused.rank);
            let why =
                format!("it is {} after fusion, and only the first {top} are scored again", ordinal(rank));
            one.left = Some(Left { stage: "rerank", why });
        }
        let missing: Vec<String> = candidates
            .iter()
            .map(|one| one.id.clone())
            .filter(|id| !self.reranked.contains_key(id))
            .collect();
        if !missing.is_empty() {
            self.read(&missing).await?;
            let text = |id: &String| self.chunks.get(id).map(Chunk::searched_text).unwrap_or_default();
            let passages: Vec<String> = missing.iter().map(text).collect();
            let scores = reranker.rerank(&self.query, &passages).await?;
            if scores.len() != passages.len() || scores.iter().any(|score| score.is_nan()) {
                let found = scores.iter().filter(|score| !score.is_nan()).count();
                let model = format!("reranker `{}`", reranker.identity());
                return Err(RetrieveError::Count { model, what: "scores", found, expected: passages.len() });
            }
            self.reranked.extend(missing.into_iter().zip(scores.into_iter().map(f64::from)));
        }
        for one in candidates.iter_mut() {
            one.score = self.reranked.get(&one.id).copied().unwrap_or(f64::MIN);
        }
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        for (place, one) in candidates.iter_mut().enumerate() {
            one.rerank = Some(Place { rank: place + 1, score: one.score });
        }
        Ok(behind)
    }

    /// What selection must know of those candidates that can become hits.
    async fn items(
        &mut self,
        candidates: &[Candidate],
        settings: &Settings,
    ) -> Result<HashMap<String, Item>, RetrieveError> {
        let is_diverse = settings.diversify != Diversify::default();
        let (least, by_hit) = DIVERSIFY_REACH;
        let mut reach = match is_diverse {
            true => least.max(by_hit * settings.top_k),
            false => settings.top_k,
        };
        loop {
            let ids: Vec<String> = candidates.iter().take(reach).map(|one| one.id.clone()).collect();
            self.read(&ids).await?;
            // Where hits share larger pieces, more are needed than there are places.
            let mut parents = HashSet::new();
            let places = ids
                .iter()
                .filter_map(|id| self.chunks.get(id))
                .filter(|chunk| chunk.parent.as_ref().is_none_or(|parent| parents.insert(parent.clone())))
                .count();
            let is_enough = is_diverse || places >= settings.top_k || ids.len() < reach;
            if !is_enough {
                reach *= 2;
                continue;
            }
            if settings.diversify.lambda.is_some() {
                self.read_vectors(&ids).await?;
            }
            return Ok(ids
                .into_iter()
                .filter_map(|id| {
                    let chunk = self.chunks.get(&id)?;
                    let item = Item {
                        document: chunk.source.document.clone(),
                        parent: chunk.parent.clone(),
                        text: if is_diverse { chunk.text.clone() } else { String::new() },
                        vector: self.vectors.get(&id).cloned().flatten(),
                    };
                    Some((id, item))
                })
                .collect());
        }
    }

    /// Chunks that were read so far, with these.
    pub async fn read(&mut self, ids: &[String]) -> Result<&HashMap<String, Chunk>, RetrieveError> {
        let mut missing: Vec<String> =
            ids.iter().filter(|id| !self.chunks.contains_key(*id)).cloned().collect();
        missing.sort();
        missing.dedup();
        if !missing.is_empty() {
            let chunks = self.around.engine.chunks(&missing).await?;
            let found = missing.into_iter().zip(chunks).filter_map(|(id, chunk)| Some((id, chunk?)));
            self.chunks.extend(found);
        }
        Ok(&self.chunks)
    }

    async fn read_vectors(&mut self, ids: &[String]) -> Result<(), RetrieveError> {
        let missing: Vec<String> = ids.iter().filter(|id| !self.vectors.contains_key(*id)).cloned().collect();
        if missing.is_empty() || self.around.embedder.is_none() {
            return Ok(());
        }
        let vectors = self.around.engine.vectors_of(&missing).await?;
        self.vectors.extend(missing.into_iter().zip(vectors));
        Ok(())
    }

    /// Place and score of a chunk in both lists, as far as they reach.
    pub fn places(&self, id: &str) -> (Option<Place>, Option<Place>) {
        let place = |list: &[Scored]| {
            let at = list.iter().position(|hit| hit.id == id)?;
            Some(Place { rank: at + 1, score: f64::from(list[at].score) })
        };
        (place(&self.keyword), place(&self.vector))
    }
}

async fn keyword_list(
    around: Surroundings<'_>,
    terms: &[Vec<(String, f32)>],
    filter: &Filter,
    depth: usize,
) -> Result<Vec<Scored>, RetrieveError> {
    let mut lists = Vec::with_capacity(terms.len());
    for terms in terms.iter().filter(|terms| !terms.is_empty()) {
        lists.push(around.engine.keyword(terms, filter, depth).await?);
    }
    Ok(fuse_wordings(&lists))
}

#[derive(Default)]
struct VectorList {
    hits: Vec<Scored>,
    usage: Option<Usage>,
    notes: Vec<String>,
    /// The model had nothing to say of the question.
    is_blank: bool,
}

async fn vector_list(
    around: Surroundings<'_>,
    wordings: &[String],
    filter: &Filter,
    reach: Reach,
) -> Result<VectorList, RetrieveError> {
    let embedder = around.embedder.ok_or(RetrieveError::NoEmbedder { mode: Mode::Vector })?;
    let mut list = VectorList::default();
    if let (Some(most), Some(tokens)) = (embedder.profile().max_tokens, embedder.tokens()) {
        let count = tokens.count(&wordings[0]);
        if count > most {
            list.notes
                .push(format!("it has {count} tokens, and `{}` reads {most} of them", embedder.identity()));
        }
    }
    let answer = embedder.embed(wordings, EmbeddingPurpose::Query, around.dimensions).await?;
    if answer.vectors.len() != wordings.len() {
        return Err(RetrieveError::Count {
            model: format!("model `{}`", embedder.identity()),
            what: "vectors",
            found: answer.vectors.len(),
            expected: wordings.len(),
        });
    }
    list.usage = answer.usage;
    let mut lists = Vec::with_capacity(wordings.len());
    for vector in &answer.vectors {
        let is_usable =
            vector.iter().all(|number| number.is_finite()) && vector.iter().any(|number| *number != 0.0);
        if is_usable {
            lists.push(around.engine.vector(vector, filter, reach.depth, reach.is_exact).await?);
        }
    }
    if lists.is_empty() {
        list.is_blank = true;
        list.notes.push(format!("`{}` gives no vector for it; keywords alone answer", embedder.identity()));
    }
    list.hits = fuse_wordings(&lists);
    Ok(list)
}

/// Words of all wordings, each with its greatest weight.
fn merged(terms: &[Vec<(String, f32)>]) -> Vec<(String, f32)> {
    let mut merged: Vec<(String, f32)> = Vec::new();
    for (word, weight) in terms.iter().flatten() {
        match merged.iter_mut().find(|(known, _)| known == word) {
            Some((_, known)) => *known = known.max(*weight),
            None => merged.push((word.clone(), *weight)),
        }
    }
    merged
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
}
