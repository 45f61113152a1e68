//! Vectors, in a Qdrant shard of this process. Points are chunk ids without payload: which of them a filter leaves is
//! known to the keyword side.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use qdrant_edge::external::uuid::Uuid;
use qdrant_edge::{
    Condition, DEFAULT_VECTOR_NAME, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeVectorParams,
    Filter, HasIdCondition, HnswIndexConfig, NamedQuery, OperationError, PointId, PointInsertOperations,
    PointOperations, PointStructPersisted, QuantizationConfig, QuantizationSearchParams, QueryEnum,
    ScalarQuantizationConfig, ScalarType, SearchParams, SearchRequest, UpdateOperation, VectorInternal,
    VectorStructInternal, VectorStructPersisted, WalOptions, WithPayloadInterface, WithVector,
};

use super::file_error;
use super::manifest::damaged;
use super::readers::ReaderFolder;
use crate::engine::bm25;
use crate::engine::{EngineError, Quantization, Scored, VectorSettings};

/// Name of the folder.
pub(super) const FOLDER: &str = "vectors";
/// What Qdrant writes ahead; of no use once everything is written.
const AHEAD: &str = "wal";
/// From this many vectors on a graph is built; below, comparing with all of them takes a few milliseconds and is right.
pub const GRAPH_FROM: usize = 20_000;
/// Edges of a node in the graph; Qdrant's value.
const GRAPH_EDGES: usize = 16;
/// Neighbours looked at while the graph is built; Qdrant's value.
const GRAPH_CARE: usize = 100;
/// Below this many vectors left by a filter they are compared one by one.
const SCAN_BELOW: usize = 10_000;
/// Candidates in 8 bits for each result, which are scored again with the full numbers. Two bring the loss of recall
/// below what the graph itself loses.
const OVERSAMPLING: f64 = 2.0;
/// Filters whose sets of ids are kept.
const MAX_KEPT_FILTERS: usize = 16;
/// Vectors handed over at once.
const BATCH: usize = 1_000;
/// Results asked for beyond the limit, so that ties at the cut are seen.
const TIES: usize = 16;
/// What a reader's shard may write ahead: nothing, but it wants a file.
const READER_AHEAD_BYTES: usize = 64 << 10;
/// Disk left free at least, and room for what Qdrant writes ahead: its files are mapped, and a full disk would end the
/// process instead of failing a write.
const SPARE_BYTES: u64 = 128 << 20;

fn config(settings: &VectorSettings) -> EdgeConfig {
    let kilobytes = |vectors: usize| vectors.saturating_mul(settings.dimensions * 4) / 1024;
    let hnsw = HnswIndexConfig {
        m: GRAPH_EDGES,
        ef_construct: GRAPH_CARE,
        full_scan_threshold: kilobytes(SCAN_BELOW).max(1),
        max_indexing_threads: 0,
        on_disk: Some(true),
        payload_m: None,
        inline_storage: None,
    };
    let params = EdgeVectorParams::builder(settings.dimensions, Distance::Cosine).on_disk(true).build();
    let mut builder = EdgeConfig::builder().vector(DEFAULT_VECTOR_NAME, params).hnsw_config(hnsw).optimizers(
        EdgeOptimizersConfig {
            indexing_threshold: Some(kilobytes(GRAPH_FROM).max(1)),
            ..EdgeOptimizersConfig::default()
        },
    );
    if settings.quantization == Quantization::Int8 {
        let scalar = ScalarQuantizationConfig {
            r#type: ScalarType::Int8,
            quantile: Some(0.99),
            always_ram: Some(true),
        };
        builder = builder.quantization_config(QuantizationConfig::from(scalar));
    }
    builder.build()
}

pub(super) struct VectorWriter {
    folder: PathBuf,
    dimensions: usize,
    shard: EdgeShard,
}

impl VectorWriter {
    pub(super) fn create(folder: &Path, settings: &VectorSettings) -> Result<Self, EngineError> {
        let place = folder.join(FOLDER);
        std::fs::create_dir_all(&place).map_err(|error| file_error(&place, error))?;
        let shard = EdgeShard::new(&place, config(settings)).map_err(|error| vector_error(folder, &error))?;
        Ok(Self { folder: folder.to_owned(), dimensions: settings.dimensions, shard })
    }

    /// Goes on from files that were copied from an earlier generation.
    pub(super) fn from_earlier(folder: &Path, settings: &VectorSettings) -> Result<Self, EngineError> {
        let shard = EdgeShard::load(&folder.join(FOLDER), Some(config(settings)))
            .map_err(|error| vector_error(folder, &error))?;
        Ok(Self { folder: folder.to_owned(), dimensions: settings.dimensions, shard })
    }

    pub(super) fn add(&mut self, vectors: Vec<(u128, Vec<f32>)>) -> Result<(), EngineError> {
        // Once in the files that are mapped, once ahead of them.
        let bytes = vectors.len() as u64 * (self.dimensions as u64 * 8 + 256);
        check_room(&self.folder.join(FOLDER), bytes)?;
        let mut points = Vec::with_capacity(vectors.len().min(BATCH));
        for (id, vector) in vectors {
            points.push(PointStructPersisted {
                id: point(id),
                vector: VectorStructPersisted::Single(vector),
                payload: None,
            });
            if points.len() == BATCH {
                self.upsert(std::mem::take(&mut points))?;
            }
        }
        match points.is_empty() {
            true => Ok(()),
            false => self.upsert(points),
        }
    }

    fn upsert(&self, points: Vec<PointStructPersisted>) -> Result<(), EngineError> {
        self.update(PointOperations::UpsertPoints(PointInsertOperations::PointsList(points)))
    }

    pub(super) fn remove(&mut self, ids: &[u128]) -> Result<(), EngineError> {
        for ids in ids.chunks(BATCH) {
            let ids = ids.iter().map(|id| point(*id)).collect();
            self.update(PointOperations::DeletePoints { ids })?;
        }
        Ok(())
    }

    fn update(&self, operation: PointOperations) -> Result<(), EngineError> {
        self.shard
            .update(UpdateOperation::PointOperation(operation))
            .map_err(|error| vector_error(&self.folder, &error))
    }

    /// Builds the graph where there are enough vectors; gives their number.
    pub(super) fn finish(self) -> Result<u64, EngineError> {
        let failed = |error| vector_error(&self.folder, &error);
        let count = |shard: &EdgeShard| {
            shard.count(qdrant_edge::CountRequest { filter: None, exact: true }).map_err(failed)
        };
        let vectors = count(&self.shard)?;
        // A graph's segment is written anew beside the old one.
        check_room(&self.folder.join(FOLDER), vectors as u64 * (self.dimensions as u64 * 6 + 512))?;
        self.shard.optimize().map_err(failed)?;
        drop(self.shard);
        let ahead = self.folder.join(FOLDER).join(AHEAD);
        std::fs::remove_dir_all(&ahead).map_err(|error| file_error(&ahead, error))?;
        Ok(vectors as u64)
    }
}

#[cfg(unix)]
pub(super) fn check_room(folder: &Path, bytes: u64) -> Result<(), EngineError> {
    let system = rustix::fs::statvfs(folder).map_err(|error| file_error(folder, error.into()))?;
    match system.f_bavail.saturating_mul(system.f_frsize) < bytes.saturating_add(SPARE_BYTES) {
        true => Err(file_error(folder, std::io::Error::from(std::io::ErrorKind::StorageFull))),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
pub(super) fn check_room(_folder: &Path, _bytes: u64) -> Result<(), EngineError> {
    Ok(())
}

/// Vectors of a generation. The shard lies in a folder of this reader alone, whose files are links to the generation's.
pub(super) struct Vectors {
    folder: PathBuf,
    settings: VectorSettings,
    count: u64,
    filters: Mutex<Vec<(crate::engine::Filter, Filter)>>,
    // Before its folder, which goes when the shard is closed.
    shard: EdgeShard,
    _reader: ReaderFolder,
}

impl Vectors {
    pub(super) fn open(folder: &Path, settings: VectorSettings, count: u64) -> Result<Self, EngineError> {
        let reader = ReaderFolder::of(folder, FOLDER)?;
        let mut config = config(&settings);
        config.wal_options =
            Some(WalOptions { segment_capacity: READER_AHEAD_BYTES, ..WalOptions::default() });
        let shard = EdgeShard::load(reader.path(), Some(config))
            .map_err(|error| damaged(folder, &format!("its vectors cannot be read: {error}")))?;
        Ok(Self {
            folder: folder.to_owned(),
            settings,
            count,
            filters: Mutex::default(),
            shard,
            _reader: reader,
        })
    }

    /// Best vectors by cosine; `chosen` are the ids that the filter leaves.
    pub(super) fn search(
        &self,
        vector: &[f32],
        filter: &crate::engine::Filter,
        chosen: impl FnOnce() -> Result<Vec<u128>, EngineError>,
        limit: usize,
        is_exact: bool,
    ) -> Result<Vec<Scored>, EngineError> {
        check_dimensions(vector, self.settings.dimensions)?;
        if limit == 0 || is_zero(vector) {
            return Ok(Vec::new());
        }
        let filter = match filter.is_empty() {
            true => None,
            false => Some(self.asked(filter, chosen)?),
        };
        let all = usize::try_from(self.count).unwrap_or(usize::MAX);
        let mut asked = limit.saturating_add(TIES).min(all.max(1));
        loop {
            let found = self.nearest(vector, filter.clone(), asked, is_exact)?;
            let cut = found.get(limit - 1).map(|(score, _)| *score);
            let is_tied = cut.is_some() && found.last().map(|(score, _)| *score) == cut;
            if found.len() < asked || !is_tied || asked >= all {
                return Ok(bm25::rank(found, limit));
            }
            asked = asked.saturating_mul(4).min(all);
        }
    }

    /// A filter as Qdrant knows it; a set of many ids takes longer to make than to search with.
    fn asked(
        &self,
        filter: &crate::engine::Filter,
        chosen: impl FnOnce() -> Result<Vec<u128>, EngineError>,
    ) -> Result<Filter, EngineError> {
        {
            let kept = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, asked)) = kept.iter().find(|(kept, _)| kept == filter) {
                return Ok(asked.clone());
            }
        }
        let ids: HasIdCondition = chosen()?.into_iter().map(point).collect();
        let asked = Filter::new_must(Condition::HasId(ids));
        let mut kept = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT_FILTERS {
            kept.remove(0);
        }
        kept.push((filter.clone(), asked.clone()));
        Ok(asked)
    }

    fn nearest(
        &self,
        vector: &[f32],
        filter: Option<Filter>,
        limit: usize,
        is_exact: bool,
    ) -> Result<Vec<(f32, u128)>, EngineError> {
        let quantization = QuantizationSearchParams {
            ignore: is_exact,
            rescore: Some(true),
            oversampling: Some(OVERSAMPLING),
        };
        let request = SearchRequest {
            query: QueryEnum::Nearest(NamedQuery {
                query: VectorInternal::Dense(vector.to_vec()),
                using: None,
            }),
            filter,
            params: Some(SearchParams {
                exact: is_exact,
                quantization: (self.settings.quantization == Quantization::Int8).then_some(quantization),
                ..SearchParams::default()
            }),
            limit,
            offset: 0,
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: Some(WithVector::Bool(false)),
            score_threshold: None,
        };
        let found = self.shard.search(request).map_err(|error| vector_error(&self.folder, &error))?;
        Ok(found.into_iter().filter_map(|found| Some((found.score, number(found.id)?))).collect())
    }

    pub(super) fn of(&self, ids: &[String]) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
        let points: Vec<PointId> = ids.iter().filter_map(|id| bm25::id_number(id)).map(point).collect();
        let records = self
            .shard
            .retrieve(&points, Some(WithPayloadInterface::Bool(false)), Some(WithVector::Bool(true)))
            .map_err(|error| vector_error(&self.folder, &error))?;
        let found: std::collections::HashMap<u128, Vec<f32>> = records
            .into_iter()
            .filter_map(|record| Some((number(record.id)?, dense(record.vector?)?)))
            .collect();
        Ok(ids.iter().map(|id| found.get(&bm25::id_number(id)?).cloned()).collect())
    }
}

fn dense(vector: VectorStructInternal) -> Option<Vec<f32>> {
    match vector {
        VectorStructInternal::Single(vector) => Some(vector),
        VectorStructInternal::Named(mut named) => match named.remove(DEFAULT_VECTOR_NAME)? {
            VectorInternal::Dense(vector) => Some(vector),
            VectorInternal::Sparse(_) | VectorInternal::MultiDense(_) => None,
        },
        VectorStructInternal::MultiDense(_) => None,
    }
}

pub(in crate::engine) fn check_dimensions(vector: &[f32], expected: usize) -> Result<(), EngineError> {
    match vector.len() == expected {
        true => Ok(()),
        false => Err(EngineError::Dimensions { found: vector.len(), expected }),
    }
}

/// A vector that points nowhere: nothing is like it.
pub(in crate::engine) fn is_zero(vector: &[f32]) -> bool {
    vector.iter().all(|number| *number == 0.0)
}

fn point(id: u128) -> PointId {
    PointId::Uuid(Uuid::from_u128(id))
}

fn number(point: PointId) -> Option<u128> {
    match point {
        PointId::Uuid(uuid) => Some(uuid.as_u128()),
        PointId::NumId(_) => None,
    }
}

/// What went wrong. Qdrant says it in text only; the system's number of an error is the one part that does not change.
fn vector_error(folder: &Path, error: &OperationError) -> EngineError {
    let text = error.to_string();
    let code = text
        .rsplit_once("(os error ")
        .and_then(|(_, rest)| rest.split(')').next())
        .and_then(|code| code.parse().ok());
    match code {
        Some(code) => file_error(&folder.join(FOLDER), std::io::Error::from_raw_os_error(code)),
        None => EngineError::Internal(text),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_an_error_that_names_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        check_room(folder.path(), 0).unwrap();
        match check_room(folder.path(), u64::MAX / 2).unwrap_err() {
            EngineError::File { path, source } => {
                assert_eq!(path, folder.path());
                assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_systems_errors_are_told_from_qdrants() {
        let error = OperationError::service_error("cannot write (os error 28)");
        let EngineError::File { source, .. } = vector_error(Path::new("index"), &error) else {
            panic!("a file's error");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    }
}
