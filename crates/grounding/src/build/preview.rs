//! What a build would make of the documents, without embedding and without touching the generation that answers.

use std::fmt;

use flowbench_corpus::chunk::{self, Chunk, ChunkStatistics};
use flowbench_corpus::clean::RuleReport;
use flowbench_corpus::layers::Layers;
use flowbench_corpus::quality::{QualityResult, check_quality};
use serde::Serialize;

use super::corpus::Corpus;
use super::{BuildEvent, BuildReader, BuildSetup, Stage};
use crate::error::IndexError;
use crate::manifest::{Failed, LanguageShare};

/// Chunks shown.
const SHOWN: usize = 5;

/// What a build would make of the documents.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// Index name.
    pub index: String,
    /// Documents with text.
    pub documents: usize,
    /// What could not be had or read.
    pub failed: Vec<Failed>,
    /// Documents left out, and why.
    pub left_out: Vec<(String, String)>,
    /// What cleaning did.
    pub cleaning: Vec<RuleReport>,
    /// Expectations and how they turned out.
    pub quality: Vec<QualityResult>,
    /// What the chunks are like.
    pub chunks: ChunkStatistics,
    /// Languages of the chunks.
    pub languages: Vec<LanguageShare>,
    /// Some of the chunks.
    pub sample: Vec<Chunk>,
}

/// Reads, cleans and cuts; what was read is kept for the build that follows.
pub async fn preview(setup: &BuildSetup, events: BuildReader<'_>) -> Result<Preview, IndexError> {
    let _lock = setup.place.lock()?;
    let layers = Layers::open(&setup.place.layers()).map_err(|error| setup.failed_layer(error))?;
    let earlier = setup.place.current().ok().flatten();
    let known = match &earlier {
        Some(generation) => setup.place.documents(generation).unwrap_or_default(),
        None => Vec::new(),
    };
    let corpus = Corpus { setup, layers: &layers, known: &known, earlier: earlier.as_ref() };
    let progress = |stage: Stage| {
        move |done: usize, total: usize| {
            if done == total {
                events(BuildEvent::Progress { stage, done, total });
            }
        }
    };
    events(BuildEvent::Stage { stage: Stage::List, total: None });
    let listed = corpus.list(false).await?;
    let mut failed = listed.failed.clone();
    let read = corpus.read(listed, &progress(Stage::Extract)).await?;
    failed.extend(read.failed.iter().cloned());
    let cleaned = corpus.clean(read, &progress(Stage::Clean))?;
    let cleaning = cleaned.reports.clone();
    let cut = corpus.cut(cleaned, &progress(Stage::Chunk))?;
    layers.sync().map_err(|error| setup.failed_layer(error))?;
    let mut statistics = chunk::Preview::default();
    let mut left_out = Vec::new();
    for record in cut.records() {
        if let Some(chunked) = corpus.chunked_of(&record)? {
            statistics.add(&chunked);
        }
        if let Some(reason) = record.left_out {
            left_out.push((record.entry.name, reason));
        }
    }
    Ok(Preview {
        index: setup.spec.name.clone(),
        documents: cut.documents_with_chunks(),
        failed,
        left_out,
        cleaning,
        quality: check_quality(&setup.spec.quality, &cut.facts, setup.clock.now_ms()),
        chunks: statistics.finish(),
        languages: cut.languages(),
        sample: cut.sample(&layers, setup, SHOWN)?,
    })
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = &self.chunks;
        writeln!(f, "{}  {} documents would be {} chunks", self.index, self.documents, chunks.count)?;
        writeln!(
            f,
            "  tokens      {} to {}, half up to {}, 95 of 100 up to {}; {} in all",
            chunks.min, chunks.max, chunks.median, chunks.p95, chunks.total_tokens
        )?;
        let most = chunks.histogram.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
        for bar in &chunks.histogram {
            let width = (bar.count * 40).div_ceil(most);
            writeln!(f, "  {:>5}–{:<5} {:<40} {}", bar.from, bar.to, "▇".repeat(width), bar.count)?;
        }
        for rule in self.cleaning.iter().filter(|rule| rule.found > 0) {
            writeln!(f, "  cleaned     {}: {} found in {} documents", rule.rule, rule.found, rule.documents)?;
        }
        for result in self.quality.iter().filter(|result| !result.holds()) {
            writeln!(
                f,
                "  quality     `{}` is {}, and should be {}",
                result.name, result.actual, result.expected
            )?;
        }
        for torn in &chunks.torn {
            writeln!(
                f,
                "  cut         {} in {} at character {}",
                torn.what.what, torn.document, torn.what.place
            )?;
        }
        for (document, reason) in &self.left_out {
            writeln!(f, "  left out    {document}: {reason}")?;
        }
        for failed in &self.failed {
            writeln!(f, "  failed      {} ({}): {}", failed.place, failed.stage, failed.message)?;
        }
        for chunk in &self.sample {
            let heading = chunk.source.heading.as_deref().unwrap_or_default();
            writeln!(f, "\n  {}  {heading}  ({} tokens)", chunk.source.document, chunk.tokens)?;
            for line in chunk.text.lines().take(6) {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}
