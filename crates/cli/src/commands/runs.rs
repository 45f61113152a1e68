//! `flowbench runs`.

use std::path::Path;

use flowbench_api::error::{ApiError, exit};
use flowbench_api::runs::{Trace, export_promptflow, list, show, trace};
use serde_json::{Value, json};

use super::workspace;
use crate::arguments::{ExportLayout, Global, Runs};
use crate::printer::{Printer, money, readable, shorten, status_word};

pub fn run(global: &Global, arguments: &Runs, printer: &Printer) -> Result<u8, ApiError> {
    let workspace = workspace(global, Path::new("."))?;
    match arguments {
        Runs::List { limit } => {
            let runs = list(&workspace, *limit)?;
            if printer.is_json() {
                printer.json(&json!({"runs": runs}));
                return Ok(exit::DONE);
            }
            for run in &runs {
                let lines = match (run.lines, run.failed) {
                    (Some(lines), Some(failed)) if failed > 0 => format!("  {lines} lines, {failed} failed"),
                    (Some(lines), _) => format!("  {lines} lines"),
                    _ => String::new(),
                };
                let duration = run.duration_ms.map(|ms| format!("  {ms} ms")).unwrap_or_default();
                let tokens = run.tokens.map(|tokens| format!("  {tokens} tokens")).unwrap_or_default();
                printer.line(&format!(
                    "{}  {:<9}  {}{lines}{duration}{tokens}",
                    run.run_id, run.status, run.flow
                ));
            }
            if runs.is_empty() {
                printer.note("there is no run yet; `flowbench run FLOW` makes one");
            }
        }
        Runs::Show { run } => {
            let run = show(&workspace, run)?;
            if printer.is_json() {
                printer.json(&json!(run));
                return Ok(exit::DONE);
            }
            printer.line(&format!("run     {}", run.id));
            printer.line(&format!("flow    {} ({})", run.flow, run.path));
            printer.line(&format!("status  {}", json!(run.status).as_str().unwrap_or_default()));
            for (title, map) in [
                ("inputs", &run.inputs),
                ("outputs", &run.outputs),
                ("metrics", &run.metrics),
                ("variants", &run.variants),
            ] {
                for (name, value) in map {
                    printer.line(&format!("{title}.{name}: {}", readable(value)));
                }
            }
            if let Some(lines) = run.lines_total {
                printer.line(&format!("lines   {lines}, {} failed", run.lines_failed.unwrap_or(0)));
            }
            if let Some(usage) = run.usage {
                printer.line(&format!("tokens  {} in, {} out", usage.input, usage.output));
            }
            if let Some(cost) = &run.cost {
                printer.line(&format!("cost    {} ({})", money(cost), cost.source));
            }
            if let Some(error) = &run.error {
                printer.line(&format!("error   {}", error.message));
            }
        }
        Runs::Trace { run, line } => {
            let (run, told) = trace(&workspace, run, *line)?;
            match told {
                Trace::Events(events) if printer.is_json() => {
                    for event in &events {
                        printer.json(&json!(event));
                    }
                }
                Trace::Events(events) => {
                    for event in &events {
                        if let Some(text) = printer.trace_line(event) {
                            printer.line(&text);
                        }
                    }
                }
                Trace::Lines(lines) if printer.is_json() => {
                    for line in &lines {
                        printer.json(&json!(line));
                    }
                }
                Trace::Lines(lines) => {
                    printer.line(&format!("batch `{}` as {}", run.flow, run.id));
                    for line in &lines {
                        let what = match &line.error {
                            Some(error) => error.message.clone(),
                            None => shorten(&Value::Object(line.outputs.clone())),
                        };
                        printer.line(&format!(
                            "line {}  {}  {} ms  {what}",
                            line.line_number,
                            status_word(line.status),
                            line.duration_ms
                        ));
                    }
                }
            }
        }
        Runs::Export { run, out, layout: ExportLayout::Promptflow } => {
            export_promptflow(&workspace, run, out)?;
            match printer.is_json() {
                true => printer.json(&json!({"folder": out})),
                false => printer.line(&out.display().to_string()),
            }
        }
    }
    Ok(exit::DONE)
}
