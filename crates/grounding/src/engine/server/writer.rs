//! Fills a collection: chunks with their vectors as they come; words, whose weights depend on all chunks, at the end.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use qdrant_client::qdrant::quantization_config::Quantization as QuantizationKind;
use qdrant_client::qdrant::{
    CollectionStatus, CountPoints, CreateCollection, CreateFieldIndexCollection, DeletePoints, Distance,
    FieldType, Filter, GetCollectionInfoRequest, NamedVectors, PointStruct, PointVectors, PointsSelector,
    QuantizationConfig, QuantizationType, ScalarQuantization, SparseVectorConfig, SparseVectorParams,
    UpdatePointVectors, UpsertPoints, Value, Vector, VectorParams, VectorParamsMap, VectorsConfig,
    points_selector::PointsSelectorOneOf, vectors_config,
};
use serde_json::json;

use super::client::Client;
use super::payload::{self, CHUNK, DOCUMENT, FACETS, KIND, ORDINAL};
use super::vocabulary::{VOCABULARY, Words, side_struct};
use super::{
    DENSE, DOCUMENTS, FORMAT, HEADINGS, KEYWORDS, QdrantPlace, SUMMARY, Sum, Summary, collection_of,
};
use crate::engine::bm25::{self, Bm25};
use crate::engine::embedded::{check_dimensions, is_zero};
use crate::engine::{EngineError, EngineWriter, Passage, Quantization, VectorSettings, terms};

/// Points of a request: with 1,024 numbers and a page of text each it stays below the 32 MB that servers take.
const BATCH: usize = 256;
/// Words and rows of side points in a request.
const SIDE_BATCH: usize = 64;
/// Bytes of a row of the tables of documents and headings, about.
const ROW_BYTES: usize = 64 << 10;
/// How long a server may take to build its graph; after that, searching is slow and right.
const INDEXING: Duration = Duration::from_secs(600);
/// How often it is asked whether it has.
const INDEXING_STEP: Duration = Duration::from_millis(250);

/// Writes a generation into a collection of its own. Nobody sees it before it is published.
pub struct Writer {
    client: Client,
    collection: String,
    settings: Option<VectorSettings>,
    chunks: HashMap<u128, Kept>,
    words: Words,
}

/// What is kept of a chunk until all are there.
struct Kept {
    document: String,
    /// Facts of its document as JSON, and its heading: rows of the tables.
    facts: String,
    heading: Option<String>,
    is_parent: bool,
    has_vector: bool,
    sum: Sum,
    length: usize,
    /// Numbers of words and how often each stands there.
    words: Vec<(u32, u32)>,
}

impl Writer {
    /// Makes a collection for a generation. One that an interrupted build left is dropped; one that is published is
    /// refused.
    pub async fn create(
        place: &QdrantPlace,
        generation: &str,
        vectors: Option<VectorSettings>,
    ) -> Result<Self, EngineError> {
        let client = Client::new(place)?;
        let collection = collection_of(&place.collection, generation);
        if client.behind(&place.collection).await?.as_deref() == Some(&collection) {
            return Err(client.refused(format!("the collection `{collection}` is in use")));
        }
        if client.exists(&collection).await? {
            client.drop_collection(&collection).await?;
        }
        let request = create_request(&collection, vectors.as_ref());
        let answer = client.collections().create(request).await;
        answer.map_err(|status| client.failed(&status))?;
        let writer =
            Self { client, collection, settings: vectors, chunks: HashMap::new(), words: Words::default() };
        for (field, kind) in [
            (FACETS, FieldType::Keyword),
            (DOCUMENT, FieldType::Keyword),
            (KIND, FieldType::Keyword),
            (ORDINAL, FieldType::Integer),
        ] {
            let request = CreateFieldIndexCollection {
                collection_name: writer.collection.clone(),
                wait: Some(true),
                field_name: field.to_owned(),
                field_type: Some(kind as i32),
                ..CreateFieldIndexCollection::default()
            };
            let answer = writer.client.points().create_field_index(request).await;
            answer.map_err(|status| writer.client.failed(&status))?;
        }
        Ok(writer)
    }

    async fn upsert(&self, points: Vec<PointStruct>) -> Result<(), EngineError> {
        let request = UpsertPoints {
            collection_name: self.collection.clone(),
            wait: Some(true),
            points,
            ..UpsertPoints::default()
        };
        let answer = self.client.points().upsert(request).await;
        answer.map(|_| ()).map_err(|status| self.client.failed(&status))
    }

    /// Looks at a batch before anything of it is sent.
    fn prepare(&mut self, passages: Vec<Passage>) -> Result<Vec<PointStruct>, EngineError> {
        for passage in &passages {
            bm25::checked_id(&passage.chunk.id)?;
            if let (Some(vector), false) = (&passage.vector, passage.chunk.is_parent) {
                let settings = self.settings.as_ref().ok_or(EngineError::NoVectors)?;
                check_dimensions(vector, settings.dimensions)?;
            }
        }
        passages.into_iter().map(|passage| self.prepared(passage)).collect()
    }

    fn prepared(&mut self, passage: Passage) -> Result<PointStruct, EngineError> {
        let Passage { chunk, vector } = passage;
        let id = bm25::checked_id(&chunk.id)?;
        let to_json = |error: serde_json::Error| EngineError::Internal(error.to_string());
        let json = serde_json::to_string(&chunk).map_err(to_json)?;
        let facts = json!({
            "document": chunk.source.document, "origin": chunk.origin, "language": chunk.language,
            "metadata": chunk.metadata,
        });
        let words = terms::terms_of(&chunk);
        let length = words.len();
        let mut times: HashMap<u32, u32> = HashMap::new();
        for word in words {
            *times.entry(self.words.number(word)).or_default() += 1;
        }
        let mut words: Vec<(u32, u32)> = times.into_iter().collect();
        words.sort_unstable();
        let vector = vector.filter(|vector| !chunk.is_parent && !is_zero(vector));
        self.chunks.insert(
            id,
            Kept {
                document: chunk.source.document.clone(),
                facts: serde_json::to_string(&facts).map_err(to_json)?,
                heading: chunk.source.heading.clone(),
                is_parent: chunk.is_parent,
                has_vector: vector.is_some(),
                sum: Sum::of(&json),
                length,
                words,
            },
        );
        let mut vectors = NamedVectors::default();
        if let Some(vector) = vector {
            vectors.vectors.insert(DENSE.to_owned(), Vector::from(vector));
        }
        Ok(PointStruct {
            id: Some(payload::point(id)),
            payload: payload::of(&chunk, json),
            vectors: Some(vectors.into()),
        })
    }

    /// Sends the weights of all words.
    async fn send_words(&self, bm25: &Bm25) -> Result<(), EngineError> {
        let mut batch = Vec::with_capacity(BATCH);
        for (id, kept) in &self.chunks {
            if kept.words.is_empty() {
                continue;
            }
            let length = bm25::length_step(kept.length);
            let (indices, values): (Vec<u32>, Vec<f32>) =
                kept.words.iter().map(|(number, times)| (*number, bm25.in_chunk(length, *times))).unzip();
            let sparse = Vector::new_sparse(indices, values);
            let vectors = NamedVectors { vectors: HashMap::from([(KEYWORDS.to_owned(), sparse)]) };
            batch.push(PointVectors { id: Some(payload::point(*id)), vectors: Some(vectors.into()) });
            if batch.len() == BATCH {
                self.update(std::mem::take(&mut batch)).await?;
            }
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.update(batch).await,
        }
    }

    async fn update(&self, points: Vec<PointVectors>) -> Result<(), EngineError> {
        let request = UpdatePointVectors {
            collection_name: self.collection.clone(),
            wait: Some(true),
            points,
            ..UpdatePointVectors::default()
        };
        let answer = self.client.points().update_vectors(request).await;
        answer.map(|_| ()).map_err(|status| self.client.failed(&status))
    }

    /// Waits until the server has built what it builds; a slow one is left to itself.
    async fn wait_until_indexed(&self) -> Result<(), EngineError> {
        let until = tokio::time::Instant::now() + INDEXING;
        loop {
            let request = GetCollectionInfoRequest { collection_name: self.collection.clone() };
            let answer = self.client.collections().get(request).await;
            let answer = answer.map_err(|status| self.client.failed(&status))?.into_inner();
            let is_done = answer.result.is_none_or(|info| info.status != CollectionStatus::Yellow as i32);
            if is_done || tokio::time::Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(INDEXING_STEP).await;
        }
    }
}

#[async_trait]
impl EngineWriter for Writer {
    async fn add(&mut self, passages: Vec<Passage>) -> Result<(), EngineError> {
        let mut points = self.prepare(passages)?;
        while !points.is_empty() {
            let rest = points.split_off(points.len().min(BATCH));
            self.upsert(points).await?;
            points = rest;
        }
        Ok(())
    }

    async fn remove_documents(&mut self, documents: &[String]) -> Result<(), EngineError> {
        self.chunks.retain(|_, kept| !documents.contains(&kept.document));
        for documents in documents.chunks(BATCH) {
            let condition = qdrant_client::qdrant::Condition::matches(DOCUMENT, documents.to_vec());
            let selector = PointsSelectorOneOf::Filter(Filter::must([condition]));
            let request = DeletePoints {
                collection_name: self.collection.clone(),
                wait: Some(true),
                points: Some(PointsSelector { points_selector_one_of: Some(selector) }),
                ..DeletePoints::default()
            };
            let answer = self.client.points().delete(request).await;
            answer.map_err(|status| self.client.failed(&status))?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), EngineError> {
        let searched = self.chunks.values().filter(|kept| !kept.is_parent);
        let (mut count, mut words) = (0, 0);
        for kept in searched {
            count += 1;
            words += kept.length as u64;
        }
        self.send_words(&Bm25::new(count, words)).await?;

        let mut chunks_with: HashMap<u32, u64> = HashMap::new();
        for (number, _) in self.chunks.values().flat_map(|kept| &kept.words) {
            *chunks_with.entry(*number).or_default() += 1;
        }
        let vocabulary = std::mem::take(&mut self.words);
        let word_points = vocabulary.points();
        let mut side: Vec<(&str, u64, String)> = vocabulary
            .into_points(&chunks_with)
            .into_iter()
            .map(|(place, rows)| (VOCABULARY, place, rows))
            .collect();
        let documents: BTreeSet<String> = self.chunks.values().map(|kept| kept.facts.clone()).collect();
        let headings: BTreeSet<String> = self
            .chunks
            .values()
            .filter_map(|kept| serde_json::to_string(kept.heading.as_ref()?).ok())
            .collect();
        for (kind, rows) in [(DOCUMENTS, documents), (HEADINGS, headings)] {
            let rows = table_rows(rows).into_iter().enumerate();
            side.extend(rows.map(|(place, rows)| (kind, place as u64, rows)));
        }
        let mut sum = Sum::default();
        self.chunks.values().for_each(|kept| sum.add(kept.sum));
        side.iter().for_each(|(_, _, rows)| sum.add(Sum::of(rows)));
        let summary = Summary {
            format: FORMAT,
            searched: count,
            words,
            vectors: self.settings.clone(),
            vector_count: self.chunks.values().filter(|kept| kept.has_vector).count() as u64,
            points: (self.chunks.len() + side.len()) as u64,
            word_points,
            sum,
        };
        while !side.is_empty() {
            let rest = side.split_off(side.len().min(SIDE_BATCH));
            let points = side.into_iter().map(|(kind, place, rows)| side_struct(kind, place, rows));
            self.upsert(points.collect()).await?;
            side = rest;
        }
        self.wait_until_indexed().await?;
        // What the server has must be what was sent: an earlier point under the same id would be missing now.
        let request = CountPoints {
            collection_name: self.collection.clone(),
            exact: Some(true),
            ..CountPoints::default()
        };
        let counted = self.client.points().count(request).await;
        let counted = counted.map_err(|status| self.client.failed(&status))?.into_inner();
        let counted = counted.result.map_or(0, |result| result.count);
        if counted != summary.points {
            let reason = format!("it holds {counted} points instead of {}", summary.points);
            return Err(self.client.refused(reason));
        }
        let rows =
            serde_json::to_string(&summary).map_err(|error| EngineError::Internal(error.to_string()))?;
        self.upsert(vec![side_struct(SUMMARY, 0, rows)]).await
    }
}

/// Rows as JSON lists of about [`ROW_BYTES`].
fn table_rows(rows: BTreeSet<String>) -> Vec<String> {
    let mut tables = Vec::new();
    let mut table = String::new();
    for row in rows {
        table.push(if table.is_empty() { '[' } else { ',' });
        table.push_str(&row);
        if table.len() >= ROW_BYTES {
            table.push(']');
            tables.push(std::mem::take(&mut table));
        }
    }
    if !table.is_empty() {
        table.push(']');
        tables.push(table);
    }
    tables
}

fn create_request(collection: &str, vectors: Option<&VectorSettings>) -> CreateCollection {
    let dense = vectors.map(|settings| {
        let quantization = (settings.quantization == Quantization::Int8).then(|| QuantizationConfig {
            quantization: Some(QuantizationKind::Scalar(ScalarQuantization {
                r#type: QuantizationType::Int8 as i32,
                quantile: Some(0.99),
                ..ScalarQuantization::default()
            })),
        });
        VectorParams {
            size: settings.dimensions as u64,
            distance: Distance::Cosine as i32,
            quantization_config: quantization,
            ..VectorParams::default()
        }
    });
    let map = VectorParamsMap { map: dense.map(|dense| (DENSE.to_owned(), dense)).into_iter().collect() };
    let sparse =
        SparseVectorConfig { map: HashMap::from([(KEYWORDS.to_owned(), SparseVectorParams::default())]) };
    CreateCollection {
        collection_name: collection.to_owned(),
        vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::ParamsMap(map)) }),
        sparse_vectors_config: Some(sparse),
        ..CreateCollection::default()
    }
}

/// The text of a chunk point's payload, for digests.
pub(super) fn chunk_json(payload: &HashMap<String, Value>) -> Option<&str> {
    payload::text(payload, CHUNK)
}
