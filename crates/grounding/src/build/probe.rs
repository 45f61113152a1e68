//! Questions whose answers must be found in every generation: those that the spec writes, and some made from the
//! documents, so that a generation that lost its text or its terms is seen before anybody asks it.

use flowbench_corpus::chunk::Chunk;
use flowbench_corpus::layers::Layers;
use flowbench_text::analysis::Analyzer;
use serde::Serialize;

use super::BuildSetup;
use super::corpus::Cut;
use crate::engine::{Engine, Filter};
use crate::error::IndexError;
use crate::manifest::{Manifest, Probe};
use crate::spec::IndexSpec;

/// Probes made from documents: enough to see damage, few enough to cost nothing.
const MADE: usize = 20;
/// Words of a made probe.
const WORDS: usize = 12;
/// Where a probe must find its chunk.
const WITHIN: usize = 10;

/// How a probe turned out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeResult {
    /// The probe.
    pub probe: Probe,
    /// Rank of the first expected chunk or document; absent where none was found in time.
    pub rank: Option<usize>,
}

/// The probes of a new generation. Written ones must hold; those of the last generation must as well, where their chunk
/// is still there; new ones are made until there are enough, and only such that hold now.
pub(super) async fn choose(
    setup: &BuildSetup,
    cut: &Cut,
    layers: &Layers,
    engine: &dyn Engine,
    manifest: &Manifest,
    earlier: Vec<Probe>,
) -> Result<Vec<Probe>, IndexError> {
    let mut probes = written(&setup.spec);
    let made: Vec<Probe> = earlier.into_iter().filter(|probe| !probe.is_written).collect();
    let ids: Vec<String> = made.iter().filter_map(|probe| probe.expect.first().cloned()).collect();
    let failed = |source| IndexError::Engine { name: setup.spec.name.clone(), source };
    let present = engine.chunks(&ids).await.map_err(failed)?;
    let kept = made.into_iter().zip(present).filter(|(_, chunk)| chunk.is_some()).map(|(probe, _)| probe);
    probes.extend(kept);
    let results = ask(engine, manifest, &probes).await.map_err(failed)?;
    let missed: Vec<&ProbeResult> = results.iter().filter(|result| result.rank.is_none()).collect();
    let must_hold = |result: &&&ProbeResult| result.probe.is_written;
    if let Some(first) = missed.iter().find(must_hold) {
        return Err(IndexError::Probes {
            name: setup.spec.name.clone(),
            failed: missed.iter().filter(must_hold).count(),
            probes: probes.iter().filter(|probe| probe.is_written).count(),
            first: first.probe.query.clone(),
        });
    }
    // A made probe may lose against newer documents that fit better; it is replaced.
    let mut probes: Vec<Probe> =
        results.into_iter().filter(|result| result.rank.is_some()).map(|result| result.probe).collect();
    let missing = MADE.saturating_sub(probes.iter().filter(|probe| !probe.is_written).count());
    if missing > 0 {
        let known: Vec<&str> = probes.iter().flat_map(|probe| &probe.expect).map(String::as_str).collect();
        let candidates: Vec<Probe> = cut
            .sample(layers, setup, missing * 2)?
            .iter()
            .filter(|chunk| !known.contains(&chunk.id.as_str()))
            .filter_map(made_from)
            .collect();
        let results = ask(engine, manifest, &candidates).await.map_err(failed)?;
        let holding = results.into_iter().filter(|result| result.rank.is_some());
        probes.extend(holding.take(missing).map(|result| result.probe));
    }
    Ok(probes)
}

/// The written probes of a spec.
fn written(spec: &IndexSpec) -> Vec<Probe> {
    let probe = |probe: &crate::spec::ProbeSpec| Probe {
        query: probe.query.clone(),
        expect: probe.expect.clone(),
        within: probe.within.unwrap_or(WITHIN),
        is_written: true,
    };
    spec.probes.iter().map(probe).collect()
}

/// A question from a chunk's own words.
fn made_from(chunk: &Chunk) -> Option<Probe> {
    let words: Vec<&str> =
        chunk.text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).collect();
    let query = words.into_iter().take(WORDS).collect::<Vec<_>>().join(" ");
    let query: String = query.chars().take(200).collect();
    (!query.is_empty()).then(|| Probe {
        query,
        expect: vec![chunk.id.clone()],
        within: WITHIN,
        is_written: false,
    })
}

/// Asks an engine its probes, by keyword: what is probed is the index, not the model.
pub async fn ask(
    engine: &dyn Engine,
    manifest: &Manifest,
    probes: &[Probe],
) -> Result<Vec<ProbeResult>, crate::engine::EngineError> {
    let languages: Vec<(String, f64)> =
        manifest.languages.iter().map(|share| (share.language.clone(), share.share)).collect();
    let analyzer = Analyzer::new();
    let mut results = Vec::with_capacity(probes.len());
    for probe in probes {
        let terms = analyzer.query_terms(&probe.query, &languages);
        let hits = engine.keyword(&terms, &Filter::default(), probe.within).await?;
        let ids: Vec<String> = hits.into_iter().map(|hit| hit.id).collect();
        let chunks = engine.chunks(&ids).await?;
        let rank = ids.iter().zip(&chunks).position(|(id, chunk)| {
            let document = chunk.as_ref().map(|chunk| chunk.source.document.as_str());
            probe.expect.iter().any(|expected| expected == id || Some(expected.as_str()) == document)
        });
        results.push(ProbeResult { probe: probe.clone(), rank: rank.map(|rank| rank + 1) });
    }
    Ok(results)
}
