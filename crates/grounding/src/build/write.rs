//! Writes a generation aside, asks it its probes, and puts it where readers look.

use std::collections::HashMap;

use flowbench_corpus::layers::Layers;

use super::corpus::Cut;
use super::embed::{read_vector, vector_key};
use super::{BuildSetup, Stage, Timer, probe};
use crate::engine::{EngineWriter, Passage, VectorSettings};
use crate::error::IndexError;
use crate::manifest::{DocumentRecord, Manifest};
use crate::place::StoredGeneration;

/// Passages handed to the engine at once.
const BATCH: usize = 512;
/// Share of changed documents up to which a generation starts from the last one: beyond it, writing everything anew is
/// quicker than taking out and putting in.
const MOST_CHANGED: f64 = 0.3;

pub(super) async fn write_generation(
    setup: &BuildSetup,
    layers: &Layers,
    cut: &Cut,
    earlier: Option<&StoredGeneration>,
    mut manifest: Manifest,
    documents: &[DocumentRecord],
    timer: &mut Timer<'_>,
) -> Result<StoredGeneration, IndexError> {
    let failed = |source| IndexError::Engine { name: setup.spec.name.clone(), source };
    let building = setup.place.begin()?;
    let engine_folder = building.join("engine");
    let source = Vectors::of(setup);
    let dimensions = source.dimensions(documents, layers, setup)?;
    if let (Some(model), Some(dimensions)) = (&mut manifest.model, dimensions) {
        model.dimensions = dimensions;
    }
    let settings = dimensions.map(|dimensions| VectorSettings {
        dimensions,
        quantization: setup.spec.embed.as_ref().map(|embed| embed.quantization).unwrap_or_default(),
    });
    let delta = Delta::between(setup, earlier, &manifest, documents);
    let start = delta.as_ref().map(|delta| delta.from.engine());
    let mut writer = setup
        .store
        .write(&engine_folder, start.as_deref(), &manifest.stored, settings)
        .await
        .map_err(failed)?;
    let todo: Vec<&DocumentRecord> = match &delta {
        Some(delta) => {
            writer.remove_documents(&delta.gone).await.map_err(failed)?;
            delta.new.clone()
        }
        None => documents.iter().collect(),
    };
    let total = todo.len();
    let mut passages: Vec<Passage> = Vec::with_capacity(BATCH);
    for (done, record) in todo.into_iter().enumerate() {
        for chunk in Cut::chunks_of(record, layers, setup)? {
            let vector = match chunk.is_parent {
                true => None,
                false => source.read(&chunk.searched_text(), layers, setup)?,
            };
            passages.push(Passage { chunk, vector });
            if passages.len() == BATCH {
                hand_over(&mut writer, &mut passages).await.map_err(failed)?;
            }
        }
        timer.progress(Stage::Write, done + 1, total);
    }
    hand_over(&mut writer, &mut passages).await.map_err(failed)?;
    writer.finish().await.map_err(failed)?;

    timer.begin(Stage::Probe, None);
    let engine = setup.store.open(&engine_folder, &manifest.stored).await.map_err(failed)?;
    let kept = earlier.map(|generation| generation.manifest.probes.clone()).unwrap_or_default();
    manifest.probes = probe::choose(setup, cut, layers, engine.as_ref(), &manifest, kept).await?;
    drop(engine);
    setup.place.describe(&building, &manifest, documents)?;
    setup.store.publish(&manifest.stored).await.map_err(failed)?;
    setup.place.publish(&manifest)
}

async fn hand_over(
    writer: &mut Box<dyn EngineWriter>,
    passages: &mut Vec<Passage>,
) -> Result<(), crate::engine::EngineError> {
    if passages.is_empty() {
        return Ok(());
    }
    writer.add(std::mem::replace(passages, Vec::with_capacity(BATCH))).await
}

/// What changed since the generation that a new one may start from.
struct Delta<'d> {
    from: &'d StoredGeneration,
    /// Documents to take out: changed and removed ones.
    gone: Vec<String>,
    /// Documents to put in.
    new: Vec<&'d DocumentRecord>,
}

impl<'d> Delta<'d> {
    /// Absent where everything is to be written anew.
    fn between(
        setup: &BuildSetup,
        earlier: Option<&'d StoredGeneration>,
        manifest: &Manifest,
        documents: &'d [DocumentRecord],
    ) -> Option<Self> {
        let from = earlier?;
        let is_alike = from.manifest.recipe_digest == manifest.recipe_digest
            && from.manifest.engine == manifest.engine
            && setup.store.kind() == "embedded"
            && from.manifest.vectors == from.manifest.chunks * usize::from(setup.model.is_some());
        if !is_alike {
            return None;
        }
        let before = setup.place.documents(from).ok()?;
        let old: HashMap<&str, &DocumentRecord> =
            before.iter().map(|record| (record.entry.name.as_str(), record)).collect();
        let names: HashMap<&str, &DocumentRecord> =
            documents.iter().map(|record| (record.entry.name.as_str(), record)).collect();
        let new: Vec<&DocumentRecord> = documents
            .iter()
            .filter(|record| {
                old.get(record.entry.name.as_str()).is_none_or(|old| old.chunks != record.chunks)
            })
            .collect();
        let gone: Vec<String> = before
            .iter()
            .filter(|record| {
                names.get(record.entry.name.as_str()).is_none_or(|now| now.chunks != record.chunks)
            })
            .map(|record| record.entry.name.clone())
            .collect();
        let share = (new.len() + gone.len()) as f64 / documents.len().max(1) as f64;
        (share <= MOST_CHANGED).then_some(Self { from, gone, new })
    }
}

/// Where the vectors of a generation are kept.
struct Vectors {
    /// Identity of the model and dimensions asked for; absent for keywords alone.
    model: Option<(String, Option<u32>)>,
}

impl Vectors {
    fn of(setup: &BuildSetup) -> Self {
        let dimensions = setup.spec.embed.as_ref().and_then(|embed| embed.dimensions);
        Self { model: setup.model.as_ref().map(|model| (model.identity(), dimensions)) }
    }

    fn read(&self, text: &str, layers: &Layers, setup: &BuildSetup) -> Result<Option<Vec<f32>>, IndexError> {
        let Some((identity, dimensions)) = &self.model else { return Ok(None) };
        let key = vector_key(identity, *dimensions, text);
        let bytes = layers.vectors().get_or_absent(&key).map_err(|error| setup.failed_layer(error))?;
        Ok(bytes.map(|bytes| read_vector(&bytes)))
    }

    /// The length of the vectors: that of the first one.
    fn dimensions(
        &self,
        documents: &[DocumentRecord],
        layers: &Layers,
        setup: &BuildSetup,
    ) -> Result<Option<usize>, IndexError> {
        if self.model.is_none() {
            return Ok(None);
        }
        for record in documents {
            for chunk in Cut::chunks_of(record, layers, setup)?.iter().filter(|chunk| !chunk.is_parent) {
                if let Some(vector) = self.read(&chunk.searched_text(), layers, setup)? {
                    return Ok(Some(vector.len()));
                }
            }
        }
        Ok(None)
    }
}
