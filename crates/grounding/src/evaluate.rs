//! How well an index answers labelled queries: figures with intervals, the worst queries first with the reason, two answer
//! sets compared query by query, and what each source is worth.
//!
//! A set passes through it as [`LabelledQuery`]s → answers of [`retrieve`] → [`Evaluation`]. Labels are chunk ids or
//! document names; a ranking of chunks is read as documents where the label is a document, each counted where it is first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use flowbench_core::metrics::interval::{Interval, SEED, bootstrap, paired_difference};
use flowbench_core::metrics::ranking::{Gain, Judgements, RankingMetric};
use flowbench_core::ports::Hit;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::engine::{Condition, Scored, Test};
use crate::retrieve::{LabelledLists, Mode, RetrieveError, SearchRequest, Settings, Surroundings, retrieve};

/// Probability of the intervals.
const LEVEL: f64 = 0.95;
/// Chunks asked for each query: recall@100 is the longest ranking that is scored.
pub const DEPTH: usize = 100;
/// The metric by which queries are sorted and settings compared.
pub const MAIN: RankingMetric = RankingMetric::Ndcg { at: Some(10), gain: Gain::Linear };

/// A question with what should be found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelledQuery {
    /// Name; of its line where the file gives none.
    #[serde(default)]
    pub id: String,
    /// What is asked.
    pub query: String,
    /// Chunk ids or document names with their labels; 1 or more is relevant.
    #[serde(default)]
    pub judged: Judgements,
}

/// What is scored of every query.
pub fn metrics() -> Vec<RankingMetric> {
    vec![
        MAIN,
        RankingMetric::Recall { at: Some(10) },
        RankingMetric::Recall { at: Some(DEPTH) },
        RankingMetric::ReciprocalRank { at: Some(10) },
        RankingMetric::AveragePrecision { at: Some(DEPTH) },
        RankingMetric::Success { at: 1 },
        RankingMetric::Judged { at: 10 },
    ]
}

/// Figures of one set of answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Number of queries.
    pub queries: usize,
    /// Mean by metric, with its interval where there are two queries at least.
    pub means: BTreeMap<String, Figure>,
    /// Every query, worst first by nDCG@10, then by recall@100, then by id.
    pub by_query: Vec<QueryResult>,
}

/// A mean, and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The mean.
    pub mean: f64,
    /// Its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// One query's answer, scored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryResult {
    /// Its id.
    pub id: String,
    /// What was asked.
    pub query: String,
    /// Score by metric.
    pub scores: BTreeMap<String, f64>,
    /// Rank of the first relevant one; absent where none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_rank: Option<usize>,
    /// Labels that were not found among the first hundred.
    pub missed: Vec<String>,
    /// What went wrong, in words; empty where nothing did.
    pub reason: String,
    /// Chunk ids and documents, best first.
    #[serde(skip)]
    pub ranking: Vec<(String, String)>,
}

/// Two answer sets over the same queries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Queries that both have.
    pub queries: usize,
    /// Mean of second − first by metric.
    pub differences: BTreeMap<String, Figure>,
    /// Queries that gained, most first, with their change of nDCG@10.
    pub gained: Vec<(String, f64)>,
    /// Queries that lost, most first.
    pub lost: Vec<(String, f64)>,
    /// Queries that are as they were.
    pub unchanged: usize,
}

/// What a source is worth: the figures without it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceValue {
    /// Its name.
    pub source: String,
    /// Mean nDCG@10 with all sources, less that without it. Negative where it is in the way.
    pub value: Figure,
    /// Queries that are worse without it.
    pub needed_by: usize,
    /// Queries that are better without it.
    pub disturbed: usize,
}

/// A set of queries that cannot be used.
#[derive(Debug, Error)]
pub enum EvaluateError {
    /// A file cannot be read.
    #[error("`{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line that is no labelled query.
    #[error("`{}`, line {line}: {message}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Nothing to ask.
    #[error("`{}` holds no labelled query", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// The index cannot answer.
    #[error("query `{id}`: {source}")]
    Retrieve {
        /// Which query.
        id: String,
        /// Why.
        source: RetrieveError,
    },
}

/// Reads labelled queries: a JSON lines file of `{query, expect: [document or chunk, …]}` (also `id`, and
/// `judged: {NAME: label}` in place of `expect`), or a folder with `queries.jsonl` and `qrels/test.tsv` as BEIR has them.
pub fn load_queries(path: &Path) -> Result<Vec<LabelledQuery>, EvaluateError> {
    let queries = match path.is_dir() {
        true => load_folder(path)?,
        false => load_lines(path)?,
    };
    match queries.is_empty() {
        true => Err(EvaluateError::Empty { path: path.to_owned() }),
        false => Ok(queries),
    }
}

fn read(path: &Path) -> Result<String, EvaluateError> {
    std::fs::read_to_string(path).map_err(|source| EvaluateError::File { path: path.to_owned(), source })
}

fn objects(path: &Path) -> Result<Vec<(usize, Value)>, EvaluateError> {
    let text = read(path)?;
    let lines = text.trim_start_matches('\u{FEFF}').lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let value = serde_json::from_str(line).map_err(|error| EvaluateError::Line {
                path: path.to_owned(),
                line: number + 1,
                message: error.to_string(),
            })?;
            Ok((number + 1, value))
        })
        .collect()
}

fn load_lines(path: &Path) -> Result<Vec<LabelledQuery>, EvaluateError> {
    let mut queries = Vec::new();
    let mut names = HashSet::new();
    for (line, value) in objects(path)? {
        let wrong =
            |message: &str| EvaluateError::Line { path: path.to_owned(), line, message: message.to_owned() };
        let query =
            value.get("query").and_then(Value::as_str).ok_or_else(|| wrong("`query` must be text"))?;
        let judged: Judgements = match (value.get("judged"), value.get("expect")) {
            (Some(judged), _) => serde_json::from_value(judged.clone())
                .map_err(|_| wrong("`judged` must be a map of names and whole numbers"))?,
            (None, Some(Value::Array(expected))) => expected
                .iter()
                .map(|name| name.as_str().map(|name| (name.to_owned(), 1)))
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("`expect` must be a list of documents or chunk ids"))?,
            _ => return Err(wrong("`expect` must be a list of documents or chunk ids")),
        };
        let id = match value.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => line.to_string(),
        };
        if !names.insert(id.clone()) {
            return Err(wrong(&format!("the id `{id}` is given twice")));
        }
        queries.push(LabelledQuery { id, query: query.to_owned(), judged });
    }
    Ok(queries)
}

fn load_folder(folder: &Path) -> Result<Vec<LabelledQuery>, EvaluateError> {
    let labels = folder.join("qrels").join("test.tsv");
    let mut judged: HashMap<String, Judgements> = HashMap::new();
    for (number, line) in read(&labels)?.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let parts: Vec<&str> = line.split('\t').map(str::trim).collect();
        let label = parts.get(2).and_then(|label| label.parse::<i64>().ok());
        match (parts.as_slice(), label) {
            ([query, document, _], Some(label)) => {
                judged.entry((*query).to_owned()).or_default().insert((*document).to_owned(), label);
            }
            // The header.
            _ if number == 0 => {}
            _ => {
                let message = "a line is query, document and a whole number, with tabs between".to_owned();
                return Err(EvaluateError::Line { path: labels, line: number + 1, message });
            }
        }
    }
    let path = folder.join("queries.jsonl");
    let mut queries = Vec::new();
    for (line, value) in objects(&path)? {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let (Some(id), Some(query)) = (text("_id"), text("text")) else {
            let message = "`_id` and `text` must be texts".to_owned();
            return Err(EvaluateError::Line { path, line, message });
        };
        if let Some(judged) = judged.remove(&id) {
            queries.push(LabelledQuery { id, query, judged });
        }
    }
    Ok(queries)
}

/// Asks all queries and scores the answers.
pub async fn evaluate(
    around: Surroundings<'_>,
    queries: &[LabelledQuery],
    settings: &Settings,
) -> Result<Evaluation, EvaluateError> {
    evaluate_with(around, queries, settings, &[]).await
}

async fn evaluate_with(
    around: Surroundings<'_>,
    queries: &[LabelledQuery],
    settings: &Settings,
    conditions: &[Condition],
) -> Result<Evaluation, EvaluateError> {
    // Figures look at a hundred hits, whatever the index gives; nothing is read around them.
    let settings = Settings { top_k: DEPTH.max(settings.top_k), neighbours: 0, ..settings.clone() };
    let mut results = Vec::with_capacity(queries.len());
    for query in queries {
        let mut request = SearchRequest { query: query.query.clone(), ..SearchRequest::default() };
        request.filter.conditions.extend(conditions.iter().cloned());
        let answer = retrieve(around, &request, &settings)
            .await
            .map_err(|source| EvaluateError::Retrieve { id: query.id.clone(), source })?;
        let ranking = answer.hits.into_iter().map(|hit| (hit.id, hit.source.document)).collect();
        results.push(score(query, ranking));
    }
    Ok(summarise(results))
}

/// Scores one answer: chunk ids with their documents, best first.
pub fn score(query: &LabelledQuery, ranking: Vec<(String, String)>) -> QueryResult {
    let named = named(&query.judged, &ranking);
    let scores = metrics()
        .into_iter()
        .map(|metric| (metric.to_string(), metric.score(&named, &query.judged)))
        .collect();
    let relevant = |name: &str| query.judged.get(name).is_some_and(|label| *label >= 1);
    let first_rank = named.iter().position(|name| relevant(name)).map(|place| place + 1);
    let found: HashSet<&str> = named.iter().take(DEPTH).copied().collect();
    let missed: Vec<String> = query
        .judged
        .keys()
        .filter(|name| relevant(name) && !found.contains(name.as_str()))
        .cloned()
        .collect();
    let wanted = query.judged.values().filter(|label| **label >= 1).count();
    let reason = match (first_rank, missed.len()) {
        _ if wanted == 0 => "none of its labels is relevant".to_owned(),
        _ if ranking.is_empty() => "nothing was found".to_owned(),
        (None, _) => format!("none of its {wanted} relevant is among the first {DEPTH}"),
        (Some(1), 0) => String::new(),
        (Some(rank), 0) => format!("the first relevant is at rank {rank}"),
        (Some(rank), missed) => {
            format!("the first relevant is at rank {rank}, and {missed} of {wanted} are beyond {DEPTH}")
        }
    };
    QueryResult {
        id: query.id.clone(),
        query: query.query.clone(),
        scores,
        first_rank,
        missed,
        reason,
        ranking,
    }
}

/// A ranking in the names that labels use: a chunk's id where it is labelled, else its document, each once.
fn named<'r>(judged: &Judgements, ranking: &'r [(String, String)]) -> Vec<&'r str> {
    let mut seen = HashSet::new();
    ranking
        .iter()
        .map(|(chunk, document)| if judged.contains_key(chunk) { chunk.as_str() } else { document.as_str() })
        .filter(|name| seen.insert(*name))
        .collect()
}

/// Means over queries, and the queries worst first.
pub fn summarise(mut by_query: Vec<QueryResult>) -> Evaluation {
    let means = metrics()
        .into_iter()
        .map(|metric| {
            let name = metric.to_string();
            let scores: Vec<f64> = by_query.iter().map(|result| score_of(result, &name)).collect();
            (name, figure(&scores))
        })
        .collect();
    let recall = RankingMetric::Recall { at: Some(DEPTH) }.to_string();
    let main = MAIN.to_string();
    by_query.sort_by(|a, b| {
        let by = |name: &str| score_of(a, name).total_cmp(&score_of(b, name));
        by(&main).then_with(|| by(&recall)).then_with(|| a.id.cmp(&b.id))
    });
    Evaluation { queries: by_query.len(), means, by_query }
}

fn score_of(result: &QueryResult, name: &str) -> f64 {
    result.scores.get(name).copied().unwrap_or(0.0)
}

fn figure(scores: &[f64]) -> Figure {
    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    Figure { mean, interval: bootstrap(scores, LEVEL, SEED) }
}

/// Compares two evaluations over the queries that both have.
pub fn compare(first: &Evaluation, second: &Evaluation) -> Comparison {
    let firsts: BTreeMap<&str, &QueryResult> = by_id(first);
    let seconds: BTreeMap<&str, &QueryResult> = by_id(second);
    let shared: BTreeSet<&str> = firsts.keys().filter(|id| seconds.contains_key(*id)).copied().collect();
    let scores = |results: &BTreeMap<&str, &QueryResult>, name: &str| -> Vec<f64> {
        shared.iter().filter_map(|id| results.get(id)).map(|result| score_of(result, name)).collect()
    };
    let differences = metrics()
        .into_iter()
        .map(|metric| {
            let name = metric.to_string();
            let (before, after) = (scores(&firsts, &name), scores(&seconds, &name));
            let mean = before.iter().zip(&after).map(|(before, after)| after - before).sum::<f64>()
                / before.len().max(1) as f64;
            (name, Figure { mean, interval: paired_difference(&before, &after, LEVEL, SEED) })
        })
        .collect();
    let main = MAIN.to_string();
    let changes: Vec<(String, f64)> = shared
        .iter()
        .filter_map(|id| {
            let change = score_of(seconds.get(id)?, &main) - score_of(firsts.get(id)?, &main);
            Some(((*id).to_owned(), change))
        })
        .collect();
    let sorted = |is_gain: bool| {
        let mut part: Vec<(String, f64)> = changes
            .iter()
            .filter(|(_, change)| if is_gain { *change > 0.0 } else { *change < 0.0 })
            .cloned()
            .collect();
        part.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(&b.0)));
        part
    };
    let (gained, lost) = (sorted(true), sorted(false));
    let unchanged = changes.len() - gained.len() - lost.len();
    Comparison { queries: shared.len(), differences, gained, lost, unchanged }
}

fn by_id(evaluation: &Evaluation) -> BTreeMap<&str, &QueryResult> {
    evaluation.by_query.iter().map(|result| (result.id.as_str(), result)).collect()
}

/// What both lists give for every query, for learning a weight. Labels of documents become those of the document's first
/// chunk in either list: of one document only the best chunk counts.
pub async fn lists(
    around: Surroundings<'_>,
    queries: &[LabelledQuery],
    settings: &Settings,
) -> Result<Vec<LabelledLists>, EvaluateError> {
    let mut all = Vec::with_capacity(queries.len());
    for query in queries {
        let list = async |mode: Mode| {
            let settings =
                Settings { mode, top_k: DEPTH, neighbours: 0, min_score: None, ..settings.clone() };
            let request = SearchRequest { query: query.query.clone(), ..SearchRequest::default() };
            let answer = retrieve(around, &request, &settings).await;
            answer.map_err(|source| EvaluateError::Retrieve { id: query.id.clone(), source })
        };
        let (keyword, vector) = (list(Mode::Keyword).await?.hits, list(Mode::Vector).await?.hits);
        let mut judged = query.judged.clone();
        for hit in keyword.iter().chain(&vector) {
            if let Some(label) = query.judged.get(&hit.source.document)
                && judged.contains_key(&hit.source.document)
            {
                judged.remove(&hit.source.document);
                judged.insert(hit.id.clone(), *label);
            }
        }
        let scored = |hits: Vec<Hit>| {
            hits.into_iter().map(|hit| Scored { id: hit.id, score: hit.score as f32 }).collect()
        };
        all.push(LabelledLists { keyword: scored(keyword), vector: scored(vector), judged });
    }
    Ok(all)
}

/// What each source is worth: all queries asked again without it, most valuable source first.
pub async fn source_values(
    around: Surroundings<'_>,
    queries: &[LabelledQuery],
    settings: &Settings,
    sources: &[String],
) -> Result<Vec<SourceValue>, EvaluateError> {
    let all = evaluate(around, queries, settings).await?;
    let main = MAIN.to_string();
    let mut values = Vec::with_capacity(sources.len());
    for source in sources {
        let without = Condition { field: "source".to_owned(), test: Test::NoneOf(vec![json!(source)]) };
        let rest = evaluate_with(around, queries, settings, &[without]).await?;
        let change = compare(&rest, &all);
        let value = change.differences.get(&main).copied().unwrap_or(Figure { mean: 0.0, interval: None });
        values.push(SourceValue {
            source: source.clone(),
            value,
            needed_by: change.gained.len(),
            disturbed: change.lost.len(),
        });
    }
    values.sort_by(|a, b| b.value.mean.total_cmp(&a.value.mean).then_with(|| a.source.cmp(&b.source)));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(id: &str, expect: &[&str]) -> LabelledQuery {
        let judged = expect.iter().map(|name| ((*name).to_owned(), 1)).collect();
        LabelledQuery { id: id.to_owned(), query: format!("question {id}"), judged }
    }

    /// `chunk@document` pairs.
    fn ranking(text: &str) -> Vec<(String, String)> {
        let pair = |hit: &str| {
            let (chunk, document) = hit.split_once('@').unwrap();
            (chunk.to_owned(), document.to_owned())
        };
        text.split_whitespace().map(pair).collect()
    }

    #[test]
    fn labels_are_chunks_or_documents() {
        let found = ranking("c1@a.md c2@a.md c3@b.md c4@c.md");
        let by_document = score(&query("1", &["b.md"]), found.clone());
        // Both chunks of `a.md` are one document.
        assert_eq!(by_document.first_rank, Some(2));
        let by_chunk = score(&query("2", &["c3"]), found);
        assert_eq!(by_chunk.first_rank, Some(2));
        assert_eq!(by_chunk.scores["mrr@10"], 0.5);
    }

    #[test]
    fn the_worst_queries_come_first_with_the_reason() {
        let found = ranking("c1@a.md c2@b.md");
        let all = summarise(vec![
            score(&query("good", &["a.md"]), found.clone()),
            score(&query("late", &["b.md"]), found.clone()),
            score(&query("half", &["b.md", "z.md"]), found.clone()),
            score(&query("lost", &["z.md"]), found),
            score(&query("none", &["a.md"]), Vec::new()),
        ]);
        let told: Vec<(&str, &str)> =
            all.by_query.iter().map(|result| (result.id.as_str(), result.reason.as_str())).collect();
        assert_eq!(
            told,
            [
                ("lost", "none of its 1 relevant is among the first 100"),
                ("none", "nothing was found"),
                ("half", "the first relevant is at rank 2, and 1 of 2 are beyond 100"),
                ("late", "the first relevant is at rank 2"),
                ("good", ""),
            ]
        );
        assert_eq!(all.by_query[2].missed, ["z.md"]);
        let figure = &all.means["success@1"];
        assert_eq!(figure.mean, 0.2);
        assert!(figure.interval.is_some_and(|interval| interval.low <= 0.2 && interval.high >= 0.2));
    }

    #[test]
    fn answer_sets_are_compared_query_by_query() {
        let (good, bad) = (ranking("c1@a.md c2@b.md"), ranking("c2@b.md c1@a.md"));
        let set = |first: &Vec<(String, String)>, second: &Vec<(String, String)>| {
            summarise(vec![
                score(&query("1", &["a.md"]), first.clone()),
                score(&query("2", &["a.md"]), second.clone()),
                score(&query("3", &["a.md"]), good.clone()),
            ])
        };
        let change = compare(&set(&bad, &bad), &set(&good, &bad));
        assert_eq!((change.queries, change.unchanged, change.lost.len()), (3, 2, 0));
        assert_eq!(change.gained[0].0, "1");
        assert!(change.differences["ndcg@10"].mean > 0.1);
        let back = compare(&set(&good, &bad), &set(&bad, &bad));
        assert_eq!(back.lost[0].0, "1");
        assert!((back.differences["ndcg@10"].mean + change.differences["ndcg@10"].mean).abs() < 1e-12);
    }

    #[test]
    fn queries_are_read_from_lines_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queries-of-ours.jsonl");
        std::fs::write(&path, "{\"query\": \"how\", \"expect\": [\"a.md\"]}\n\n{\"id\": \"x\", \"query\": \"why\", \"judged\": {\"b\": 2}}\n").unwrap();
        let queries = load_queries(&path).unwrap();
        assert_eq!((queries[0].id.as_str(), queries[1].id.as_str()), ("1", "x"));
        assert_eq!(queries[1].judged["b"], 2);
        std::fs::create_dir_all(folder.path().join("qrels")).unwrap();
        std::fs::write(
            folder.path().join("queries.jsonl"),
            "{\"_id\": \"q\", \"text\": \"how\"}\n{\"_id\": \"r\", \"text\": \"unjudged\"}\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("qrels/test.tsv"), "query-id\tcorpus-id\tscore\nq\td\t1\n")
            .unwrap();
        let queries = load_queries(folder.path()).unwrap();
        assert_eq!(queries.len(), 1);
        assert_eq!(queries[0].judged["d"], 1);
    }

    #[test]
    fn bad_sets_say_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.jsonl");
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = load_queries(&path).unwrap_err().to_string();
            error.replace(&path.display().to_string(), "q.jsonl")
        };
        assert_eq!(
            error("{\"query\": \"a\", \"expect\": [\"b\"]}\n{\"expect\": []}\n"),
            "`q.jsonl`, line 2: `query` must be text"
        );
        assert_eq!(
            error("{\"query\": \"a\"}\n"),
            "`q.jsonl`, line 1: `expect` must be a list of documents or chunk ids"
        );
        assert_eq!(
            error(
                "{\"id\": 1, \"query\": \"a\", \"expect\": []}\n{\"id\": 1, \"query\": \"a\", \"expect\": []}\n"
            ),
            "`q.jsonl`, line 2: the id `1` is given twice"
        );
        assert_eq!(error("\n"), "`q.jsonl` holds no labelled query");
    }
}
