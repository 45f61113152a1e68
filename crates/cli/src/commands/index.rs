//! `flowbench index`.

use std::path::Path;

use flowbench_api::error::{ApiError, exit};
use flowbench_api::indexes::{self, BuildEvent, BuildOptions, BuildReport, IndexFacts};
use flowbench_api::search::{self, EvalRequest, Question};
use flowbench_api::workspace::Workspace;
use serde_json::{Value, json};

use super::{pairs, workspace};
use crate::arguments::{Global, Index, IndexBuild, IndexEval, IndexQuestion, IndexSearch};
use crate::printer::{Printer, readable, shorten};

/// Failures listed one by one; the rest is counted.
const LISTED: usize = 10;

pub async fn run(global: &Global, arguments: &Index, printer: &Printer) -> Result<u8, ApiError> {
    let workspace = workspace(global, Path::new("."))?;
    match arguments {
        Index::List => list(&workspace, printer),
        Index::Build(build) => Box::pin(run_build(&workspace, build, printer)).await,
        Index::Search(search) => Box::pin(run_search(&workspace, search, printer)).await,
        Index::Inspect { name, document, chunk } => {
            let found = match (document, chunk) {
                (Some(document), _) => indexes::inspect_document(&workspace, name, document)?,
                (_, Some(chunk)) => indexes::inspect_chunk(&workspace, name, chunk)?,
                _ => {
                    let facts = indexes::inspect(&workspace, name)?;
                    match printer.is_json() {
                        true => printer.json(&json!(facts)),
                        false => tell_facts(&facts, printer),
                    }
                    return Ok(exit::DONE);
                }
            };
            match printer.is_json() {
                true => printer.json(&found),
                false => printer.line(&readable(&found)),
            }
            Ok(exit::DONE)
        }
        Index::Verify { name, trust } => {
            let check = Box::pin(indexes::verify(&workspace, name, *trust)).await?;
            if printer.is_json() {
                printer.json(&json!(check));
            } else {
                let cosine = check.least_cosine.map(|least| format!(", vectors agree to {least:.6}"));
                printer.line(&format!(
                    "{name}  {}: {} records, {} probes{}",
                    if check.is_whole { "whole" } else { "broken" },
                    check.records,
                    check.probes,
                    cosine.unwrap_or_default()
                ));
                for problem in &check.problems {
                    printer.line(&format!("  {}", problem.message));
                    for hint in &problem.hints {
                        printer.line(&format!("    hint: {hint}"));
                    }
                }
            }
            Ok(if check.is_whole { exit::DONE } else { exit::INTEGRITY })
        }
        Index::Refresh { name, all, trust } => {
            let progress = Progress::new(printer);
            let refreshed =
                Box::pin(indexes::refresh(&workspace, name, *all, *trust, &|event| progress.tell(&event)))
                    .await?;
            progress.end();
            if printer.is_json() {
                printer.json(&json!(refreshed));
                return Ok(exit::DONE);
            }
            for source in &refreshed.before.sources {
                let age = if source.is_stale { "was too old" } else { "was young enough" };
                printer.line(&format!("{}  {} documents, {age}", source.name, source.documents));
            }
            tell_build(&refreshed.build, printer);
            Ok(exit::DONE)
        }
        Index::Eval(eval) => Box::pin(run_eval(&workspace, eval, printer)).await,
    }
}

fn list(workspace: &Workspace, printer: &Printer) -> Result<u8, ApiError> {
    let rows = indexes::list(workspace)?;
    if printer.is_json() {
        printer.json(&json!({"indexes": rows}));
        return Ok(exit::DONE);
    }
    for row in rows {
        let state = match (&row.problem, &row.generation) {
            (Some(problem), _) => problem.clone(),
            (None, None) => "not built".to_owned(),
            (None, Some(_)) => format!(
                "{} documents, {} chunks, {}",
                row.documents,
                row.chunks,
                row.model.as_deref().unwrap_or("keywords only")
            ),
        };
        printer.line(&format!("{:<24} {state}", row.name));
    }
    Ok(exit::DONE)
}

async fn run_build(workspace: &Workspace, arguments: &IndexBuild, printer: &Printer) -> Result<u8, ApiError> {
    let progress = Progress::new(printer);
    let events = |event: BuildEvent| progress.tell(&event);
    if arguments.preview {
        let preview = indexes::preview(workspace, &arguments.name, arguments.trust, &events).await?;
        progress.end();
        match printer.is_json() {
            true => printer.json(&json!(preview)),
            false => printer.line(&preview.to_string()),
        }
        return Ok(exit::DONE);
    }
    let options = BuildOptions { is_fresh: arguments.fresh, ..BuildOptions::default() };
    let report = indexes::build(workspace, &arguments.name, options, arguments.trust, &events).await?;
    progress.end();
    match printer.is_json() {
        true => printer.json(&json!(report)),
        false => tell_build(&report, printer),
    }
    Ok(exit::DONE)
}

fn tell_build(report: &BuildReport, printer: &Printer) {
    let state = if report.is_unchanged { "unchanged" } else { "built" };
    printer.line(&format!(
        "{}  {state}: {} documents, {} chunks, {} vectors",
        report.index, report.documents, report.chunks, report.vectors
    ));
    printer.line(&format!(
        "  {} added, {} changed, {} removed; {} read, {} extracted, {} texts embedded",
        report.added, report.changed, report.removed, report.fetched, report.extracted, report.embedded
    ));
    for rule in report.cleaning.iter().filter(|rule| rule.found > 0) {
        printer.line(&format!(
            "  cleaned {}: {} found in {} documents, {} characters before, {} after",
            rule.rule, rule.found, rule.documents, rule.characters_before, rule.characters_after
        ));
    }
    for failed in report.failed.iter().take(LISTED) {
        printer.warning(&format!("`{}` ({}): {}", failed.place, failed.stage, failed.message));
        if let Some(hint) = &failed.hint {
            printer.note(&format!("  hint: {hint}"));
        }
    }
    let more = report.failed.len().saturating_sub(LISTED) + report.untold;
    if more > 0 {
        printer.warning(&format!(
            "{more} more could not be had; `flowbench index inspect {} --format json` lists what is known",
            report.index
        ));
    }
    if printer.is_verbose() {
        for (stage, millis) in &report.millis {
            printer.note(&format!("  {:<18} {millis} ms", stage.doing()));
        }
    }
    printer.note(&format!("  generation {}", report.generation.get(..16).unwrap_or(&report.generation)));
}

fn tell_facts(facts: &IndexFacts, printer: &Printer) {
    let manifest = &facts.manifest;
    printer.line(&format!(
        "{}  {} documents, {} chunks, {} vectors, {:.1} MB on disk",
        manifest.name,
        manifest.documents,
        manifest.chunks,
        manifest.vectors,
        facts.bytes as f64 / 1e6
    ));
    printer.line(&format!("  generation  {}", manifest.digest));
    if let Some(model) = &manifest.model {
        printer.line(&format!(
            "  model       {}/{}, {} dimensions, {}",
            model.connection,
            model.model,
            model.dimensions,
            model.digest.as_deref().map_or("no digest", |digest| digest.get(..16).unwrap_or(digest))
        ));
    }
    let languages: Vec<String> = manifest
        .languages
        .iter()
        .map(|share| {
            let name = if share.language.is_empty() { "unknown" } else { &share.language };
            format!("{name} {:.0} %", share.share * 100.0)
        })
        .collect();
    printer.line(&format!("  languages   {}", languages.join(", ")));
    for source in &facts.freshness.sources {
        let age = match (source.is_stale, source.max_age_s) {
            (true, _) => "older than it may be",
            (false, Some(_)) => "young enough",
            (false, None) => "may get as old as it likes",
        };
        printer.line(&format!(
            "  source      {}: {} documents, {} chunks, listed {} s ago, {age}",
            source.name, source.documents, source.chunks, source.age_s
        ));
    }
    for rule in manifest.cleaning.iter().filter(|rule| rule.found > 0) {
        printer.line(&format!(
            "  cleaned     {}: {} found in {} documents",
            rule.rule, rule.found, rule.documents
        ));
    }
    for result in &manifest.quality {
        printer.line(&format!("  quality     {}", shorten(result)));
    }
    printer.line(&format!("  probes      {}", manifest.probes.len()));
    for (document, reason) in facts.left_out.iter().take(LISTED) {
        printer.line(&format!("  left out    {document}: {reason}"));
    }
    for failed in manifest.failed.iter().take(LISTED) {
        printer.line(&format!("  failed      {} ({}): {}", failed.place, failed.stage, failed.message));
    }
    let more = manifest.failed.len().saturating_sub(LISTED) + facts.left_out.len().saturating_sub(LISTED);
    if more > 0 {
        printer.line(&format!("  … and {more} more; `--format json` lists them all"));
    }
}

/// The question as the flags ask it.
fn question(query: &str, flags: &IndexQuestion) -> Result<Question, ApiError> {
    let mut filters = serde_json::Map::new();
    for (field, value) in pairs("--filter", &flags.filters)? {
        let value: Value = serde_json::from_str(&value).unwrap_or(Value::String(value));
        match filters.get_mut(&field) {
            // The same field twice means one of both.
            Some(Value::Array(values)) => values.push(value),
            Some(first) => {
                let both = json!([first.take(), value]);
                *first = both;
            }
            None => {
                filters.insert(field, value);
            }
        }
    }
    Ok(Question {
        query: query.to_owned(),
        mode: flags.mode.clone(),
        top_k: flags.top_k,
        filters,
        weight: flags.weight,
        is_exact: flags.exact,
    })
}

async fn run_search(
    workspace: &Workspace,
    arguments: &IndexSearch,
    printer: &Printer,
) -> Result<u8, ApiError> {
    let progress = Progress::new(printer);
    let question = question(&arguments.query, &arguments.question)?;
    let options = search::SearchOptions { is_trusted: arguments.trust, may_build: !arguments.no_build };
    if let Some(chunk) = &arguments.why {
        let why = search::why(workspace, &arguments.name, &question, chunk, options).await?;
        match printer.is_json() {
            true => printer.json(&json!(why)),
            false => printer.line(&search::why_text(&why)),
        }
        return Ok(exit::DONE);
    }
    let found =
        search::search(workspace, &arguments.name, &question, options, &|event| progress.tell(&event))
            .await?;
    progress.end();
    for note in &found.notes {
        printer.note(&format!("note: {note}"));
    }
    if printer.is_json() {
        printer.json(&json!({"hits": found.hits, "notes": found.notes}));
        return Ok(exit::DONE);
    }
    if found.hits.is_empty() {
        printer.note("nothing fits");
    }
    for (rank, hit) in found.hits.iter().enumerate() {
        let page = hit.source.page.map(|page| format!(", page {page}")).unwrap_or_default();
        let heading = hit.source.heading.as_ref().map(|heading| format!("  {heading}")).unwrap_or_default();
        printer.line(&format!("{:>2}. {:.3}  {}{page}{heading}", rank + 1, hit.score, hit.source.document));
        printer.line(&format!("    {}", shorten(&Value::String(hit.text.clone()))));
        printer.line(&format!("    {}  {}", hit.id, search::reason(hit)));
    }
    Ok(exit::DONE)
}

async fn run_eval(workspace: &Workspace, arguments: &IndexEval, printer: &Printer) -> Result<u8, ApiError> {
    let request = EvalRequest {
        queries: arguments.queries.clone(),
        modes: arguments.modes.clone(),
        against: arguments.against.clone(),
        learns_weight: arguments.learn_weight,
        by_source: arguments.sources,
        worst: arguments.worst,
        question: question("", &arguments.question)?,
        is_trusted: arguments.trust,
    };
    let progress = Progress::new(printer);
    let measured =
        search::evaluate(workspace, &arguments.name, &request, &|event| progress.tell(&event)).await?;
    progress.end();
    match printer.is_json() {
        true => printer.json(&json!(measured)),
        false => printer.raw(&measured.to_string()),
    }
    Ok(exit::DONE)
}

/// Shows events of a build: redrawn on a terminal, as lines with `-v`.
pub struct Progress<'p> {
    printer: &'p Printer,
}

impl<'p> Progress<'p> {
    /// Shows them on this printer.
    pub fn new(printer: &'p Printer) -> Self {
        Self { printer }
    }

    /// Shows one event.
    pub fn tell(&self, event: &BuildEvent) {
        match event {
            BuildEvent::Stage { stage, .. } => match self.printer.is_terminal() {
                true => self.printer.progress(stage.doing()),
                false if self.printer.is_verbose() => self.printer.note(stage.doing()),
                false => {}
            },
            BuildEvent::Progress { stage, done, total } => {
                let text = format!("{}  {done} of {total}", stage.doing());
                match self.printer.is_terminal() {
                    true => self.printer.progress(&text),
                    false if self.printer.is_verbose() => self.printer.note(&text),
                    false => {}
                }
            }
            BuildEvent::Note { message } => {
                self.printer.end_progress();
                self.printer.note(message);
            }
        }
    }

    fn end(&self) {
        self.printer.end_progress();
    }
}
