//! Use cases: ask an index, learn why a chunk is not among the hits, measure answers with labelled queries.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use flowbench_core::ports::Hit;
use flowbench_grounding::build::BuildEvent;
use flowbench_grounding::engine::Filter;
use flowbench_grounding::error::IndexError;
use flowbench_grounding::evaluate::{self, Comparison, EvaluateError, Figure, QueryResult, SourceValue};
use flowbench_grounding::indexes::OpenIndex;
use flowbench_grounding::retrieve::learn::FEWEST_QUERIES;
use flowbench_grounding::retrieve::{LearnedWeight, Mode, SearchRequest, Settings, WhyNot, learn_weight};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::indexes::{BuildSink, open};
use crate::workspace::Workspace;

/// A question and how it is asked where the index's own settings do not suit.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// What is asked.
    pub query: String,
    /// `keyword`, `vector`, `hybrid` or `hybrid+rerank`.
    pub mode: Option<String>,
    /// Most hits.
    pub top_k: Option<usize>,
    /// Filters by field, as a retrieve node writes them.
    pub filters: Map<String, Value>,
    /// Share of vectors in hybrid search.
    pub weight: Option<f64>,
    /// Compare with every vector.
    pub is_exact: bool,
}

/// What a search may do.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions {
    /// Documents outside the workspace and hosts that only it names are allowed.
    pub is_trusted: bool,
    /// An index that was never built is built first.
    pub may_build: bool,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Best first.
    pub hits: Vec<Hit>,
    /// What the user should know of this answer.
    pub notes: Vec<String>,
}

impl Question {
    fn request(&self, index: &str) -> Result<SearchRequest, IndexError> {
        let question = |error| IndexError::question(index, error);
        Ok(SearchRequest {
            query: self.query.clone(),
            mode: self.mode.as_deref().map(str::parse).transpose().map_err(question)?,
            top_k: self.top_k,
            filter: Filter::parse(&self.filters).map_err(|error| IndexError::filter(index, &error))?,
        })
    }

    fn settings(&self, index: &OpenIndex) -> Result<Settings, IndexError> {
        let question = |error| IndexError::question(&index.spec.name, error);
        let mut settings = index.settings().map_err(question)?;
        if let Some(weight) = self.weight {
            settings.fusion.weight = weight;
        }
        settings.is_exact |= self.is_exact;
        Ok(settings)
    }
}

/// Asks an index.
pub async fn search(
    workspace: &Workspace,
    name: &str,
    question: &Question,
    options: SearchOptions,
    events: BuildSink<'_>,
) -> Result<Found, ApiError> {
    let indexes = open(workspace, options.is_trusted)?;
    let index = open_index(&indexes, name, options, events).await?;
    let request = question.request(name)?;
    let answer = index.answer(&request, &question.settings(&index)?).await?;
    Ok(Found { hits: answer.hits, notes: answer.notes })
}

/// An index that answers; one that was never built is built first, and the sink hears of it.
async fn open_index(
    indexes: &flowbench_grounding::indexes::Indexes,
    name: &str,
    options: SearchOptions,
    events: BuildSink<'_>,
) -> Result<std::sync::Arc<OpenIndex>, ApiError> {
    indexes.allow_builds(options.may_build);
    Box::pin(indexes.build_where_needed(name, events)).await?;
    Ok(Box::pin(indexes.open(name)).await?)
}

/// Why a chunk is not among the hits, and which setting would bring it in.
pub async fn why(
    workspace: &Workspace,
    name: &str,
    question: &Question,
    chunk: &str,
    options: SearchOptions,
) -> Result<WhyNot, ApiError> {
    let indexes = open(workspace, options.is_trusted)?;
    let index = open_index(&indexes, name, options, &|_: BuildEvent| {}).await?;
    let request = question.request(name)?;
    Ok(index.why(&request, &question.settings(&index)?, chunk).await?)
}

/// The reason of a hit in one line.
pub fn reason(hit: &Hit) -> String {
    hit.stages.get("why").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct EvalRequest {
    /// Labelled queries: JSON lines, or a folder with `queries.jsonl` and `qrels/test.tsv`.
    pub queries: PathBuf,
    /// Modes; empty means the index's own.
    pub modes: Vec<String>,
    /// Another index, asked the same queries.
    pub against: Option<String>,
    /// Learn the share of vectors.
    pub learns_weight: bool,
    /// Tell what each source adds.
    pub by_source: bool,
    /// Worst queries told for each mode.
    pub worst: usize,
    /// Filters and settings of all questions.
    pub question: Question,
    /// Documents outside the workspace and hosts that only it names are allowed.
    pub is_trusted: bool,
}

/// Figures of an index.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Index name.
    pub index: String,
    /// Generation that answered.
    pub generation: String,
    /// Labelled queries.
    pub queries: usize,
    /// By mode.
    pub modes: IndexMap<String, ModeFigures>,
    /// The other index less this one, by mode.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub against: IndexMap<String, Comparison>,
    /// The learned share of vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedWeight>,
    /// What each source adds, most valuable first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceValue>,
}

/// Figures of one mode.
#[derive(Clone, Debug, Serialize)]
pub struct ModeFigures {
    /// Mean by metric, with its interval.
    pub metrics: BTreeMap<String, Figure>,
    /// Worst queries first.
    pub worst: Vec<QueryResult>,
}

/// Measures answers with labelled queries.
pub async fn evaluate(
    workspace: &Workspace,
    name: &str,
    request: &EvalRequest,
    events: BuildSink<'_>,
) -> Result<Measured, ApiError> {
    let queries = evaluate::load_queries(&request.queries).map_err(|error| told(name, error))?;
    let indexes = open(workspace, request.is_trusted)?;
    let options = SearchOptions { is_trusted: request.is_trusted, may_build: true };
    let index = open_index(&indexes, name, options, events).await?;
    let other = match &request.against {
        Some(other) => Some(open_index(&indexes, other, options, events).await?),
        None => None,
    };
    let mut measured = Measured {
        index: name.to_owned(),
        generation: index.generation.manifest.digest.clone(),
        queries: queries.len(),
        modes: IndexMap::new(),
        against: IndexMap::new(),
        learned: None,
        sources: Vec::new(),
    };
    let own = request.question.settings(&index)?;
    let modes: Vec<Mode> = match request.modes.is_empty() {
        true => vec![own.mode],
        false => request
            .modes
            .iter()
            .map(|mode| mode.parse().map_err(|error| IndexError::question(name, error)))
            .collect::<Result<_, _>>()?,
    };
    for mode in modes {
        let settings = Settings { mode, ..own.clone() };
        let languages = index.languages();
        let evaluation = evaluate::evaluate(index.around(&languages), &queries, &settings)
            .await
            .map_err(|error| told(name, error))?;
        if let (Some(other), Some(other_name)) = (&other, &request.against) {
            let settings = Settings { mode, ..request.question.settings(other)? };
            let languages = other.languages();
            let second = evaluate::evaluate(other.around(&languages), &queries, &settings)
                .await
                .map_err(|error| told(other_name, error))?;
            measured.against.insert(mode.to_string(), evaluate::compare(&evaluation, &second));
        }
        let worst = evaluation.by_query.into_iter().take(request.worst).collect();
        measured.modes.insert(mode.to_string(), ModeFigures { metrics: evaluation.means, worst });
    }
    let languages = index.languages();
    if request.learns_weight {
        let lists = evaluate::lists(index.around(&languages), &queries, &own)
            .await
            .map_err(|error| told(name, error))?;
        measured.learned = learn_weight(&lists, own.fusion.by);
        if measured.learned.is_none() {
            return Err(ApiError::wrong_use(
                "index/queries",
                format!("{} labelled queries are too few to learn from", queries.len()),
            )
            .hint(format!("give at least {FEWEST_QUERIES}")));
        }
    }
    if request.by_source {
        let sources: Vec<String> =
            index.generation.manifest.sources.iter().map(|source| source.name.clone()).collect();
        measured.sources = evaluate::source_values(index.around(&languages), &queries, &own, &sources)
            .await
            .map_err(|error| told(name, error))?;
    }
    Ok(measured)
}

fn told(name: &str, error: EvaluateError) -> ApiError {
    match error {
        EvaluateError::Retrieve { source, .. } => IndexError::question(name, source).into(),
        EvaluateError::File { path, source } => ApiError::file("read", &path, &source),
        other => ApiError::wrong_use("index/queries", other.to_string())
            .hint("write JSON lines such as {\"query\": \"…\", \"expect\": [\"guide.md\"]}"),
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {} labelled queries", self.index, self.queries)?;
        for (mode, figures) in &self.modes {
            writeln!(f, "{mode}")?;
            for (metric, figure) in &figures.metrics {
                writeln!(f, "  {metric:<14} {}", figure_text(figure))?;
            }
            for query in figures.worst.iter().filter(|query| !query.reason.is_empty()) {
                writeln!(f, "  worst          `{}`: {}", query.query, query.reason)?;
            }
        }
        for (mode, comparison) in &self.against {
            writeln!(f, "{mode}, the other index less this one")?;
            for (metric, figure) in &comparison.differences {
                writeln!(f, "  {metric:<14} {}", figure_text(figure))?;
            }
            writeln!(
                f,
                "  {} queries gained, {} lost, {} as they were",
                comparison.gained.len(),
                comparison.lost.len(),
                comparison.unchanged
            )?;
        }
        if let Some(learned) = &self.learned {
            writeln!(
                f,
                "weight  {:.2} of vectors; on queries that did not choose it nDCG@10 {:.4}, against the default {:+.4} \
                 ({:+.4} to {:+.4})",
                learned.weight, learned.held_out.mean, learned.gain.mean, learned.gain.low, learned.gain.high
            )?;
        }
        for source in &self.sources {
            writeln!(
                f,
                "source  {}: nDCG@10 {} with it; {} queries need it, {} are better without",
                source.source,
                figure_text(&source.value),
                source.needed_by,
                source.disturbed
            )?;
        }
        Ok(())
    }
}

fn figure_text(figure: &Figure) -> String {
    match &figure.interval {
        Some(interval) => format!("{:.4}  ({:.4} to {:.4})", figure.mean, interval.low, interval.high),
        None => format!("{:.4}", figure.mean),
    }
}

/// What became of a chunk, in words.
pub fn why_text(why: &WhyNot) -> String {
    let mut text = format!("{}  {}\n  {}\n", why.id, why.source.document, why.reason);
    for (name, place) in [("keyword", &why.keyword), ("vector", &why.vector)] {
        if let Some(place) = place {
            text.push_str(&format!("  {name:<10} rank {} with score {:.4}\n", place.rank, place.score));
        }
    }
    for remedy in &why.remedies {
        text.push_str(&format!("  {}  (then rank {})\n", remedy.text, remedy.rank));
    }
    for note in &why.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    text.trim_end().to_owned()
}
