//! `flowbench batch`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use flowbench_api::batch::{BatchOutcome, BatchRequest, Progress, apply_run_file, batch, matrix};
use flowbench_api::clock::TimeIds;
use flowbench_api::error::{ApiError, exit};
use flowbench_api::settings::parse_time;
use flowbench_core::ports::IdSource;
use serde_json::{Map, Value, json};

use super::{pairs, settings, workspace};
use crate::arguments::{Batch, Global};
use crate::printer::{Printer, money};

/// Milliseconds between two redraws of the progress line: more often is not seen and only costs.
const REDRAW_MS: u128 = 100;

pub async fn run(global: &Global, arguments: &Batch, printer: &Printer) -> Result<u8, ApiError> {
    let start = arguments.flow.as_deref().or(arguments.file.as_deref()).unwrap_or(Path::new("."));
    let workspace = workspace(global, start)?;
    let combinations = matrix(&pairs("--matrix", &arguments.matrix)?)?;
    let is_several = combinations.len() > 1;
    if combinations.len() > 1
        && (arguments.resume.is_some() || arguments.name.is_some() || arguments.settings.record.is_some())
    {
        return Err(ApiError::wrong_use(
            "usage",
            "`--matrix` makes several runs; `--resume`, `--name` and `--record` are about one",
        )
        .hint("go on with one of them by its own run id and `--variant`"));
    }
    let mut code = exit::DONE;
    for combination in &combinations {
        let mut request = request(arguments, combination, printer)?;
        if let Some(file) = &arguments.file {
            for finding in apply_run_file(&mut request, file)? {
                printer.warning(&finding.message);
            }
            if is_several {
                request.name = None;
            }
        }
        if combinations.len() > 1 {
            let named: Vec<String> = combination.iter().map(|(node, id)| format!("{node}={id}")).collect();
            printer.note(&format!("variants {}", named.join(" ")));
        }
        let told: &[(String, String)] = if is_several { combination } else { &[] };
        let outcome = one(&workspace, &request, arguments, told, printer).await?;
        let ended = outcome.exit(arguments.max_failed);
        if ended != exit::DONE && code == exit::DONE {
            code = ended;
        }
        if let Some(error) = &outcome.error {
            printer.error(error);
        }
    }
    Ok(code)
}

fn request(
    arguments: &Batch,
    combination: &[(String, String)],
    printer: &Printer,
) -> Result<BatchRequest, ApiError> {
    let mut settings = settings(&arguments.settings, false, printer)?;
    settings.variants.extend(combination.iter().cloned());
    Ok(BatchRequest {
        flow: arguments.flow.clone().unwrap_or_default(),
        data: arguments.data.clone(),
        mapping: mapping(&arguments.map)?,
        earlier_run: arguments.run.clone(),
        settings,
        parallel: arguments.parallel,
        line_timeout: arguments
            .line_timeout
            .as_deref()
            .map(|time| parse_time("--line-timeout", time))
            .transpose()?,
        resume: arguments.resume.clone(),
        retries_failed: arguments.retry_failed,
        limit: arguments.limit,
        name: arguments.name.clone(),
    })
}

/// `INPUT=VALUE`; the value may itself be a reference, so it is not read as prompt flow's `${NODE.ID}`.
fn mapping(written: &[String]) -> Result<Map<String, Value>, ApiError> {
    written
        .iter()
        .map(|text| match text.split_once('=') {
            Some((input, value)) if !input.is_empty() => {
                Ok((input.to_owned(), Value::String(value.to_owned())))
            }
            _ => Err(ApiError::wrong_use("usage", format!("`--map {text}` is not of the form INPUT=VALUE"))
                .hint("write `--map question='${data.question}'`")),
        })
        .collect()
}

/// Says how to go on when a batch is interrupted: its future is dropped then, and this with it.
struct WayOn<'a> {
    printer: &'a Printer,
    command: String,
    is_armed: AtomicBool,
}

impl Drop for WayOn<'_> {
    fn drop(&mut self) {
        if self.is_armed.load(Ordering::Relaxed) {
            self.printer.end_progress();
            self.printer.note(&format!("hint: `{}` goes on with the lines that are left", self.command));
        }
    }
}

async fn one(
    workspace: &flowbench_api::workspace::Workspace,
    request: &BatchRequest,
    arguments: &Batch,
    combination: &[(String, String)],
    printer: &Printer,
) -> Result<BatchOutcome, ApiError> {
    let mut request = request.clone();
    if request.name.is_none() && request.resume.is_none() {
        // Known before the run begins, so that an interrupted one can be named.
        request.name = Some(TimeIds.new_id());
    }
    let run = request.resume.as_ref().or(request.name.as_ref()).cloned().unwrap_or_default();
    let way_on = WayOn {
        printer,
        command: format!("flowbench batch {} --resume {run}", request.flow.display()),
        is_armed: AtomicBool::new(false),
    };
    let started = Instant::now();
    let mut drawn: Option<Instant> = None;
    let mut first: Option<u64> = None;
    let mut show = |progress: Progress| {
        way_on.is_armed.store(true, Ordering::Relaxed);
        let done_before = *first.get_or_insert(progress.finished);
        let is_due = drawn.is_none_or(|drawn| drawn.elapsed().as_millis() >= REDRAW_MS);
        if !printer.is_terminal() || !is_due {
            return;
        }
        drawn = Some(Instant::now());
        let seconds = started.elapsed().as_secs_f64();
        let rate = (progress.finished - done_before) as f64 / seconds.max(0.001);
        let left = match rate > 0.0 {
            true => format!(", about {:.0} s left", (progress.total - progress.finished) as f64 / rate),
            false => String::new(),
        };
        let failed =
            if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
        printer.progress(&format!(
            "{} of {} lines{failed}, {rate:.1} a second{left}",
            progress.finished, progress.total
        ));
    };
    let outcome = batch(workspace, &request, &mut show).await;
    way_on.is_armed.store(false, Ordering::Relaxed);
    let outcome = outcome?;
    printer.end_progress();
    for finding in &outcome.findings {
        printer.warning(&finding.message);
        if let Some(suggestion) = &finding.suggestion {
            printer.note(&format!("hint: {suggestion}"));
        }
    }
    write(&outcome, arguments, combination, printer)?;
    let metrics: Vec<String> =
        outcome.metrics.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if !metrics.is_empty() {
        printer.note(&format!("metrics: {}", metrics.join(", ")));
    }
    let failed = if outcome.failed > 0 { format!(", {} failed", outcome.failed) } else { String::new() };
    let tokens = outcome.tokens.map(|usage| format!(", {} tokens", usage.total())).unwrap_or_default();
    let cost = outcome.cost.as_ref().map(|cost| format!(", {}", money(cost))).unwrap_or_default();
    printer.note(&format!(
        "run {}: {} of {} lines{failed} in {:.1} s{tokens}{cost}",
        outcome.run_id,
        outcome.finished,
        outcome.total,
        outcome.duration_ms as f64 / 1000.0
    ));
    if outcome.failed > arguments.max_failed && outcome.error.is_none() {
        printer.note(&format!(
            "hint: `flowbench runs trace {0}` shows why; `flowbench batch {1} --resume {0} --retry-failed` runs the failed lines again",
            outcome.run_id,
            request.flow.display()
        ));
    }
    Ok(outcome)
}

fn write(
    outcome: &BatchOutcome,
    arguments: &Batch,
    combination: &[(String, String)],
    printer: &Printer,
) -> Result<(), ApiError> {
    match &arguments.out {
        None => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            outcome.write_outputs(&mut out, combination)?;
            // A reader that went away (`| head`) is no error.
            let _ = out.flush();
        }
        Some(path) => {
            let path = named_after(path, combination);
            let file =
                std::fs::File::create(&path).map_err(|error| ApiError::file("write", &path, &error))?;
            let mut out = std::io::BufWriter::new(file);
            outcome.write_outputs(&mut out, &[])?;
            out.flush().map_err(|error| ApiError::file("write", &path, &error))?;
        }
    }
    if printer.is_json() {
        printer.note(&json!({"summary": outcome}).to_string());
    }
    Ok(())
}

/// `out.jsonl` becomes `out.node=id.jsonl` where several combinations write.
fn named_after(path: &std::path::Path, combination: &[(String, String)]) -> PathBuf {
    if combination.is_empty() {
        return path.to_owned();
    }
    let named: Vec<String> = combination.iter().map(|(node, id)| format!("{node}={id}")).collect();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}.{}{ending}", named.join(",")))
}
