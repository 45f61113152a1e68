//! One generation in a collection of a Qdrant server or cluster.
//!
//! Keywords are sparse vectors: a chunk has BM25's part for each of its words, a question each word's weight, and their
//! product is the same BM25 as in the embedded engine, length steps included. The server's own weighing of words is not
//! used: on a cluster each shard would weigh by what it has.
//!
//! A generation is a collection `NAME-DIGEST`, filled by a [`Writer`] and read by [`Opened`]; the alias `NAME` says which
//! one is published, and changes in one step. Beside the chunks lie points that no search finds: the vocabulary, the
//! tables that filters are answered with, and a summary, which comes last: a collection without it is not finished.

mod client;
mod payload;
mod vocabulary;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use flowbench_core::connection::Secret;
use flowbench_corpus::chunk::Chunk;
use qdrant_client::qdrant::{
    Condition, CountPoints, Filter as ServerFilter, PointId, Query, QueryPoints, Range, RetrievedPoint,
    ScoredPoint, ScrollPoints, SearchParams, VectorInput, VectorsOutput, vector_output, vectors_output,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::client::Client;
use self::payload::{Asked, CHUNK, KIND, ORDINAL, ROWS};
use self::vocabulary::{VOCABULARY, Word, place_of, side_point};
pub use self::writer::Writer;
use super::bm25::{self, Bm25, MARGIN};
use super::embedded::{check_dimensions, is_zero};
use super::filter::{self, Part};
use super::{Engine, EngineError, Filter, Quantization, Scored, VectorSettings};

/// Names of the two vectors of a point.
const DENSE: &str = "dense";
const KEYWORDS: &str = "keywords";
/// Kinds of points beside chunks.
const SUMMARY: &str = "summary";
const DOCUMENTS: &str = "documents";
const HEADINGS: &str = "headings";
/// Layout of a collection.
const FORMAT: u32 = 1;
/// Digits of a generation's digest in the name of its collection.
const DIGEST_DIGITS: usize = 12;
/// Results asked for beyond the limit, so that ties at the cut are seen.
const SPARE: usize = 16;
/// Points of a page.
const PAGE: u32 = 1_000;
/// Words whose numbers are kept.
const MAX_KEPT_WORDS: usize = 100_000;
/// Conditions whose answers by table are kept.
const MAX_KEPT_CONDITIONS: usize = 64;
/// As in the embedded engine.
const OVERSAMPLING: f64 = 2.0;

/// Where generations of an index lie.
#[derive(Clone, Debug)]
pub struct QdrantPlace {
    /// `http://host:6334` or `https://…`, the port for gRPC.
    pub url: String,
    /// Key, if the server wants one.
    pub api_key: Option<Secret>,
    /// Name of the index on the server, which is the published alias.
    pub collection: String,
}

impl QdrantPlace {
    /// Makes a finished generation the one that the alias stands for, in one step.
    pub async fn publish(&self, generation: &str) -> Result<(), EngineError> {
        let client = Client::new(self)?;
        client.point_alias(&self.collection, &collection_of(&self.collection, generation)).await
    }

    /// The collection that the alias stands for.
    pub async fn published(&self) -> Result<Option<String>, EngineError> {
        Client::new(self)?.behind(&self.collection).await
    }

    /// Drops collections of other generations; the published one stays in any case. Gives the names of what went.
    pub async fn sweep(&self, keep: &[String]) -> Result<Vec<String>, EngineError> {
        let client = Client::new(self)?;
        let published = client.behind(&self.collection).await?;
        let kept: BTreeSet<String> = keep
            .iter()
            .map(|generation| collection_of(&self.collection, generation))
            .chain(published)
            .collect();
        let mut dropped = Vec::new();
        for name in client.collection_names().await? {
            let digest = name.strip_prefix(&self.collection).and_then(|rest| rest.strip_prefix('-'));
            let is_generation = digest.is_some_and(|digest| {
                digest.len() == DIGEST_DIGITS && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            if is_generation && !kept.contains(&name) {
                client.drop_collection(&name).await?;
                dropped.push(name);
            }
        }
        dropped.sort();
        Ok(dropped)
    }
}

/// Name of a generation's collection.
fn collection_of(index: &str, generation: &str) -> String {
    let digest: String = generation.chars().filter(char::is_ascii_hexdigit).take(DIGEST_DIGITS).collect();
    format!("{index}-{}", digest.to_lowercase())
}

/// What a collection comes to; written last.
#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    format: u32,
    searched: u64,
    words: u64,
    vectors: Option<VectorSettings>,
    vector_count: u64,
    /// Points without this one.
    points: u64,
    /// Points that hold the vocabulary.
    word_points: u64,
    sum: Sum,
}

/// Digest of many texts in no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sum(u64, u64);

impl Sum {
    fn of(text: &str) -> Self {
        let digest = blake3::hash(text.as_bytes());
        let (mut left, mut right) = ([0; 8], [0; 8]);
        left.copy_from_slice(&digest.as_bytes()[..8]);
        right.copy_from_slice(&digest.as_bytes()[8..16]);
        Self(u64::from_le_bytes(left), u64::from_le_bytes(right))
    }

    fn add(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
        self.1 = self.1.wrapping_add(other.1);
    }
}

/// A finished generation on a server, open for reading.
pub struct Opened {
    client: Client,
    collection: String,
    summary: Summary,
    bm25: Bm25,
    words: Mutex<HashMap<String, Option<Word>>>,
    conditions: Mutex<Vec<(filter::Condition, Vec<String>)>>,
}

/// A document's facts as the tables have them.
#[derive(Deserialize)]
struct Facts {
    document: String,
    origin: String,
    language: String,
    metadata: Map<String, Value>,
}

impl Opened {
    /// Opens a generation. Fails if it was not written to its end.
    pub async fn open(place: &QdrantPlace, generation: &str) -> Result<Self, EngineError> {
        let client = Client::new(place)?;
        let collection = collection_of(&place.collection, generation);
        let found = client.get(&collection, vec![side_point(SUMMARY, 0)], true.into(), false.into()).await?;
        let damaged = |reason: String| EngineError::Damaged { path: PathBuf::from(&collection), reason };
        let rows = found.first().and_then(|point| payload::text(&point.payload, ROWS));
        let rows = rows.ok_or_else(|| damaged("it was not written to its end".to_owned()))?;
        let summary: Summary = serde_json::from_str(rows)
            .map_err(|error| damaged(format!("its summary cannot be read: {error}")))?;
        if summary.format != FORMAT {
            return Err(damaged(format!("its format is {}, and known is {FORMAT}", summary.format)));
        }
        Ok(Self {
            bm25: Bm25::new(summary.searched, summary.words),
            client,
            collection,
            summary,
            words: Mutex::default(),
            conditions: Mutex::default(),
        })
    }

    /// Settings of its vectors, if it has any.
    pub fn vector_settings(&self) -> Option<&VectorSettings> {
        self.summary.vectors.as_ref()
    }

    fn damaged(&self, reason: impl Into<String>) -> EngineError {
        EngineError::Damaged { path: PathBuf::from(&self.collection), reason: reason.into() }
    }

    /// Words of a question that the vocabulary has, in order.
    async fn known(&self, terms: &[(String, f32)]) -> Result<Vec<Asking>, EngineError> {
        let terms = bm25::merged(terms);
        let places: BTreeSet<u64> = {
            let kept = self.words.lock().unwrap_or_else(PoisonError::into_inner);
            let unknown = terms.iter().filter(|(word, _)| !kept.contains_key(word));
            unknown.map(|(word, _)| place_of(word, self.summary.word_points)).collect()
        };
        let ids: Vec<PointId> = places.iter().map(|place| side_point(VOCABULARY, *place)).collect();
        let found = self.client.get(&self.collection, ids, vec![ROWS].into(), false.into()).await?;
        let mut kept = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() > MAX_KEPT_WORDS {
            kept.clear();
        }
        for point in found {
            let rows = payload::text(&point.payload, ROWS).unwrap_or("{}");
            let rows: HashMap<String, Word> = serde_json::from_str(rows)
                .map_err(|error| self.damaged(format!("its vocabulary cannot be read: {error}")))?;
            kept.extend(rows.into_iter().map(|(word, number)| (word, Some(number))));
        }
        let mut asking = Vec::new();
        for (word, weight) in terms {
            match kept.get(&word) {
                Some(Some(known)) => asking.push(Asking {
                    number: known.number,
                    idf: self.bm25.idf(known.chunks),
                    weight,
                    word,
                }),
                Some(None) => {}
                None => {
                    kept.insert(word, None);
                }
            }
        }
        Ok(asking)
    }

    /// A filter as the server can answer it.
    async fn asked(&self, filter: &Filter) -> Result<Option<ServerFilter>, EngineError> {
        if filter.is_empty() {
            return Ok(None);
        }
        let mut whole = ServerFilter::default();
        for condition in &filter.conditions {
            match payload::asked(condition) {
                Asked::Plain { must, must_not } => {
                    whole.must.extend(must);
                    whole.must_not.extend(must_not);
                }
                Asked::ByTable => whole.must.push(self.by_table(condition).await?),
            }
        }
        Ok(Some(whole))
    }

    /// A condition as the list of documents or headings for which it holds.
    async fn by_table(&self, condition: &filter::Condition) -> Result<Condition, EngineError> {
        let (kind, field) = match Part::of(&condition.field) {
            Part::Document => (DOCUMENTS, "document"),
            Part::Heading => (HEADINGS, "heading"),
            // Numbers neither begin with text nor lie between texts.
            Part::Page => return Ok(payload::one_of("page", &[])),
        };
        {
            let kept = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, texts)) = kept.iter().find(|(kept, _)| kept == condition) {
                return Ok(payload::one_of(field, texts));
            }
        }
        let mut texts = BTreeSet::new();
        let request = ScrollPoints {
            collection_name: self.collection.clone(),
            filter: Some(payload::of_kind(kind)),
            limit: Some(64),
            with_payload: Some(vec![ROWS].into()),
            with_vectors: Some(false.into()),
            ..ScrollPoints::default()
        };
        let broken =
            |error: serde_json::Error| self.damaged(format!("its table of {kind} cannot be read: {error}"));
        self.client
            .scroll(request, |point| {
                let rows = payload::text(&point.payload, ROWS).unwrap_or("[]");
                if kind == HEADINGS {
                    let rows: Vec<String> = serde_json::from_str(rows).map_err(broken)?;
                    texts.extend(rows.into_iter().filter(|row| condition.test.holds_for_text(Some(row))));
                } else {
                    let rows: Vec<Facts> = serde_json::from_str(rows).map_err(broken)?;
                    let held = rows.into_iter().filter(|row| {
                        condition.holds_for_document(&row.document, &row.origin, &row.language, &row.metadata)
                    });
                    texts.extend(held.map(|row| row.document));
                }
                Ok(())
            })
            .await?;
        let texts: Vec<String> = texts.into_iter().collect();
        let asked = payload::one_of(field, &texts);
        let mut kept = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT_CONDITIONS {
            kept.remove(0);
        }
        kept.push((condition.clone(), texts));
        Ok(asked)
    }

    async fn query(&self, request: QueryPoints) -> Result<Vec<ScoredPoint>, EngineError> {
        let answer = self.client.points().query(request).await;
        Ok(answer.map_err(|status| self.client.failed(&status))?.into_inner().result)
    }

    fn points_of(ids: &[String]) -> Vec<PointId> {
        ids.iter().filter_map(|id| bm25::id_number(id)).map(payload::point).collect()
    }

    fn chunk_of(&self, point: &RetrievedPoint) -> Result<Chunk, EngineError> {
        let json = payload::text(&point.payload, CHUNK);
        serde_json::from_str(json.unwrap_or_default())
            .map_err(|error| self.damaged(format!("a chunk cannot be read: {error}")))
    }
}

/// A word of a question.
struct Asking {
    word: String,
    number: u32,
    idf: f32,
    weight: f32,
}

/// What each word brings to a chunk.
fn parts(asking: &[Asking], sparse: &[(u32, f32)]) -> Vec<(usize, f64)> {
    let found: HashMap<u32, f32> = sparse.iter().copied().collect();
    let parts = asking.iter().enumerate().filter_map(|(place, asking)| {
        let in_chunk = found.get(&asking.number)?;
        Some((place, bm25::part(asking.weight, asking.idf, *in_chunk)))
    });
    parts.collect()
}

fn named(vectors: Option<VectorsOutput>, name: &str) -> Option<vector_output::Vector> {
    match vectors?.vectors_options? {
        vectors_output::VectorsOptions::Vectors(mut named) => Some(named.vectors.remove(name)?.into_vector()),
        vectors_output::VectorsOptions::Vector(_) => None,
    }
}

fn sparse(vectors: Option<VectorsOutput>) -> Vec<(u32, f32)> {
    match named(vectors, KEYWORDS) {
        Some(vector_output::Vector::Sparse(sparse)) => {
            sparse.indices.into_iter().zip(sparse.values).collect()
        }
        _ => Vec::new(),
    }
}

#[async_trait]
impl Engine for Opened {
    async fn keyword(
        &self,
        terms: &[(String, f32)],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Scored>, EngineError> {
        let asking = self.known(terms).await?;
        if asking.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let filter = self.asked(filter).await?;
        let weights: Vec<(u32, f32)> =
            asking.iter().map(|asking| (asking.number, asking.weight * asking.idf)).collect();
        let (indices, values): (Vec<u32>, Vec<f32>) = weights.into_iter().unzip();
        let mut asked = limit.saturating_add(SPARE);
        loop {
            let found = self
                .query(QueryPoints {
                    collection_name: self.collection.clone(),
                    query: Some(Query::new_nearest(VectorInput::new_sparse(indices.clone(), values.clone()))),
                    using: Some(KEYWORDS.to_owned()),
                    filter: filter.clone(),
                    limit: Some(asked as u64),
                    with_payload: Some(false.into()),
                    with_vectors: Some(vec![KEYWORDS].into()),
                    ..QueryPoints::default()
                })
                .await?;
            let count = found.len();
            // What was not sent cannot be better than the last that was.
            let least = found.last().map_or(0.0, |point| point.score);
            let scored = found
                .into_iter()
                .filter_map(|point| {
                    let id = payload::number(point.id.as_ref())?;
                    let parts = parts(&asking, &sparse(point.vectors));
                    let score: f64 = parts.iter().map(|(_, part)| part).sum();
                    Some((score as f32, id))
                })
                .collect();
            let ranked = bm25::rank(scored, limit);
            let cut = ranked.get(limit - 1).map_or(0.0, |scored| scored.score);
            if count < asked || least < cut * (1.0 - MARGIN) {
                return Ok(ranked);
            }
            asked = asked.saturating_mul(4);
        }
    }

    async fn vector(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
        is_exact: bool,
    ) -> Result<Vec<Scored>, EngineError> {
        let settings = self.summary.vectors.as_ref().ok_or(EngineError::NoVectors)?;
        check_dimensions(vector, settings.dimensions)?;
        if limit == 0 || is_zero(vector) {
            return Ok(Vec::new());
        }
        let filter = self.asked(filter).await?;
        let quantization = qdrant_client::qdrant::QuantizationSearchParams {
            ignore: Some(is_exact),
            rescore: Some(true),
            oversampling: Some(OVERSAMPLING),
        };
        let mut asked = limit.saturating_add(SPARE);
        loop {
            let found = self
                .query(QueryPoints {
                    collection_name: self.collection.clone(),
                    query: Some(Query::new_nearest(vector.to_vec())),
                    using: Some(DENSE.to_owned()),
                    filter: filter.clone(),
                    params: Some(SearchParams {
                        exact: Some(is_exact),
                        quantization: (settings.quantization == Quantization::Int8).then_some(quantization),
                        ..SearchParams::default()
                    }),
                    limit: Some(asked as u64),
                    with_payload: Some(false.into()),
                    with_vectors: Some(false.into()),
                    ..QueryPoints::default()
                })
                .await?;
            let found: Vec<(f32, u128)> = found
                .into_iter()
                .filter_map(|point| Some((point.score, payload::number(point.id.as_ref())?)))
                .collect();
            let cut = found.get(limit - 1).map(|(score, _)| *score);
            let is_tied = cut.is_some() && found.last().map(|(score, _)| *score) == cut;
            if found.len() < asked || !is_tied {
                return Ok(bm25::rank(found, limit));
            }
            asked = asked.saturating_mul(4);
        }
    }

    async fn keyword_parts(
        &self,
        terms: &[(String, f32)],
        ids: &[String],
    ) -> Result<Vec<Vec<(String, f32)>>, EngineError> {
        let asking = self.known(terms).await?;
        let found = self
            .client
            .get(&self.collection, Self::points_of(ids), false.into(), vec![KEYWORDS].into())
            .await?;
        let found: HashMap<u128, Vec<(String, f32)>> = found
            .into_iter()
            .filter_map(|point| {
                let parts = parts(&asking, &sparse(point.vectors)).into_iter();
                let parts = parts.map(|(place, part)| (asking[place].word.clone(), part as f32));
                Some((payload::number(point.id.as_ref())?, parts.collect()))
            })
            .collect();
        let of = |id: &String| found.get(&bm25::id_number(id)?).cloned();
        Ok(ids.iter().map(|id| of(id).unwrap_or_default()).collect())
    }

    async fn chunks(&self, ids: &[String]) -> Result<Vec<Option<Chunk>>, EngineError> {
        let points =
            self.client.get(&self.collection, Self::points_of(ids), vec![CHUNK].into(), false.into()).await?;
        let mut found: HashMap<u128, Chunk> = HashMap::new();
        for point in points {
            if let Some(id) = payload::number(point.id.as_ref()) {
                found.insert(id, self.chunk_of(&point)?);
            }
        }
        Ok(ids.iter().map(|id| found.get(&bm25::id_number(id)?).cloned()).collect())
    }

    async fn neighbours(
        &self,
        document: &str,
        ordinals: RangeInclusive<u32>,
    ) -> Result<Vec<Chunk>, EngineError> {
        let mut filter = payload::of_document(document);
        filter.must.push(payload::exactly(KIND, CHUNK));
        filter.must.push(Condition::range(
            ORDINAL,
            Range {
                gte: Some(f64::from(*ordinals.start())),
                lte: Some(f64::from(*ordinals.end())),
                ..Range::default()
            },
        ));
        let request = ScrollPoints {
            collection_name: self.collection.clone(),
            filter: Some(filter),
            limit: Some(PAGE),
            with_payload: Some(vec![CHUNK].into()),
            with_vectors: Some(false.into()),
            ..ScrollPoints::default()
        };
        let mut found = Vec::new();
        self.client
            .scroll(request, |point| {
                found.push(self.chunk_of(&point)?);
                Ok(())
            })
            .await?;
        found.sort_by(|left, right| (left.ordinal, &left.id).cmp(&(right.ordinal, &right.id)));
        Ok(found)
    }

    async fn vectors_of(&self, ids: &[String]) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
        if self.summary.vectors.is_none() {
            return Err(EngineError::NoVectors);
        }
        let points =
            self.client.get(&self.collection, Self::points_of(ids), false.into(), vec![DENSE].into()).await?;
        let found: HashMap<u128, Vec<f32>> = points
            .into_iter()
            .filter_map(|point| match named(point.vectors, DENSE)? {
                vector_output::Vector::Dense(dense) => {
                    Some((payload::number(point.id.as_ref())?, dense.data))
                }
                _ => None,
            })
            .collect();
        Ok(ids.iter().map(|id| found.get(&bm25::id_number(id)?).cloned()).collect())
    }

    fn len(&self) -> usize {
        usize::try_from(self.summary.searched).unwrap_or(usize::MAX)
    }

    async fn verify(&self) -> Result<(), EngineError> {
        let request = ScrollPoints {
            collection_name: self.collection.clone(),
            limit: Some(PAGE),
            with_payload: Some(vec![KIND, CHUNK, ROWS].into()),
            with_vectors: Some(false.into()),
            ..ScrollPoints::default()
        };
        let (mut points, mut sum) = (0, Sum::default());
        self.client
            .scroll(request, |point| {
                if payload::text(&point.payload, KIND) != Some(SUMMARY) {
                    points += 1;
                    let text =
                        writer::chunk_json(&point.payload).or_else(|| payload::text(&point.payload, ROWS));
                    sum.add(Sum::of(text.unwrap_or_default()));
                }
                Ok(())
            })
            .await?;
        if points != self.summary.points {
            let reason = format!("it has {points} points instead of {}", self.summary.points);
            return Err(self.damaged(reason));
        }
        if sum != self.summary.sum {
            return Err(self.damaged("its texts are not what was written"));
        }
        if self.summary.vectors.is_some() {
            let request = CountPoints {
                collection_name: self.collection.clone(),
                filter: Some(ServerFilter::must([Condition::has_vector(DENSE)])),
                exact: Some(true),
                ..CountPoints::default()
            };
            let answer = self.client.points().count(request).await;
            let answer = answer.map_err(|status| self.client.failed(&status))?.into_inner();
            let vectors = answer.result.map_or(0, |result| result.count);
            if vectors != self.summary.vector_count {
                let expected = self.summary.vector_count;
                return Err(self.damaged(format!("it has {vectors} vectors instead of {expected}")));
            }
        }
        Ok(())
    }
}
