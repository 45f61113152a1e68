//! Questions and their answers, with the reason of every hit.
//!
//! A question passes through it as words and a vector → one list of candidates from each ([`pool`]) → one list of both
//! ([`fusion`]) → scored again → less of the same ([`select`]) → read with what surrounds it ([`read`]). What a list gave
//! and why a candidate left is kept ([`candidate`]), so that [`explain`] can say what would have to change. Which engine
//! holds the chunks and which models help is not known here.

pub mod candidate;
pub mod explain;
pub mod fusion;
pub mod learn;
mod pool;
pub mod read;
pub mod request;
pub mod select;
pub mod settings;

pub use candidate::Candidate;
pub use explain::{Remedy, WhyNot, explain};
pub use fusion::{Fused, Fusion, fuse};
pub use learn::{LabelledLists, LearnedWeight, learn_weight};
pub use request::{Answer, Diversify, Mode, RetrieveError, Rewriter, SearchRequest, Settings, Surroundings};
pub use settings::RetrieveSpec;

use flowbench_core::ports::Hit;
use flowbench_corpus::chunk::Chunk;
use serde_json::{Value, json};

use pool::{Pool, Reach};

/// Answers a question. Fails on an empty one, on modes that lack their model, and where engine or models fail; never
/// because nothing was found.
pub async fn retrieve(
    around: Surroundings<'_>,
    request: &SearchRequest,
    settings: &Settings,
) -> Result<Answer, RetrieveError> {
    let settings = settings.asked(request)?;
    check_models(around, settings.mode)?;
    let reach = Reach {
        has_keywords: settings.mode.has_keywords(),
        has_vectors: settings.mode.has_vectors(),
        depth: settings.depth(),
        is_exact: settings.is_exact,
    };
    let mut pool = Pool::gather(around, request, reach).await?;
    let candidates = pool.decide(&settings).await?;
    let hits = read_hits(around, &mut pool, &candidates, &settings).await?;
    Ok(Answer { hits, candidates, terms: pool.terms, notes: pool.notes, usage: pool.usage })
}

fn check_models(around: Surroundings<'_>, mode: Mode) -> Result<(), RetrieveError> {
    if mode.has_vectors() && around.embedder.is_none() {
        return Err(RetrieveError::NoEmbedder { mode });
    }
    if mode == Mode::HybridRerank && around.reranker.is_none() {
        return Err(RetrieveError::NoReranker);
    }
    Ok(())
}

async fn read_hits(
    around: Surroundings<'_>,
    pool: &mut Pool<'_>,
    candidates: &[Candidate],
    settings: &Settings,
) -> Result<Vec<Hit>, RetrieveError> {
    let chosen: Vec<&Candidate> = candidates.iter().filter(|one| one.rank.is_some()).collect();
    let ids: Vec<String> = chosen.iter().map(|one| one.id.clone()).collect();
    let parts = match settings.mode.has_keywords() && !pool.terms.is_empty() && !ids.is_empty() {
        true => around.engine.keyword_parts(&pool.terms, &ids).await?,
        false => vec![Vec::new(); ids.len()],
    };
    let chunks = pool.read(&ids).await?;
    let found: Vec<&Chunk> = ids.iter().filter_map(|id| chunks.get(id)).collect();
    let mut reader = read::Reader::new(around.engine, settings.neighbours, &found);
    let mut hits = Vec::with_capacity(chosen.len());
    for (candidate, mut words) in chosen.into_iter().zip(parts) {
        let Some(chunk) = chunks.get(&candidate.id) else { continue };
        words.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let reading = reader.read(chunk).await?;
        let mut stages = candidate.stages();
        if let Some(Value::Object(keyword)) = stages.get_mut("keyword") {
            let words: serde_json::Map<String, Value> =
                words.iter().map(|(word, score)| (word.clone(), json!(score))).collect();
            keyword.insert("words".to_owned(), Value::Object(words));
        }
        stages.insert("why".to_owned(), Value::String(candidate.why(&words)));
        let mut source = chunk.source.clone();
        (source.start, source.end) = (reading.start, reading.end);
        hits.push(Hit {
            id: candidate.id.clone(),
            text: reading.text,
            score: candidate.score,
            source,
            stages,
        });
    }
    Ok(hits)
}

#[cfg(test)]
mod tests;
