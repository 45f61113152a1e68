//! `flowbench models`.

use std::io::{BufRead, BufReader};
use std::path::Path;

use flowbench_api::embedding::{DistillRequest, EmbedRequest, EmbeddingPurpose, distill, embed};
use flowbench_api::error::{ApiError, exit};
use flowbench_api::models::{add, list, pull, show, verify};
use serde_json::json;

use super::workspace;
use crate::arguments::{Global, Models};
use crate::printer::{Printer, readable};

pub async fn run(global: &Global, arguments: &Models, printer: &Printer) -> Result<u8, ApiError> {
    let workspace = workspace(global, Path::new("."))?;
    match arguments {
        Models::List => {
            let models = list(&workspace)?;
            if printer.is_json() {
                printer.json(&json!({"models": models}));
                return Ok(exit::DONE);
            }
            for model in models {
                let state = if model.is_here { "here" } else { "not here" };
                let size =
                    model.bytes.map(|bytes| format!("{:.0} MB", bytes as f64 / 1e6)).unwrap_or_default();
                printer.line(&format!(
                    "{:<24} {:<8} {:<9} {size:>8}  {}",
                    model.name, model.task, state, model.licence
                ));
            }
        }
        Models::Show { name } => printer.line(&readable(&show(&workspace, name)?)),
        Models::Pull { name } => {
            let files = pull(&workspace, name, &mut |text| match printer.is_terminal() {
                true => printer.progress(text),
                false if printer.is_verbose() => printer.note(text),
                false => {}
            })
            .await?;
            printer.end_progress();
            tell_files(name, &files, printer);
        }
        Models::Add { name, path } => tell_files(name, &add(&workspace, name, path)?, printer),
        Models::Verify { name } => {
            let checked = verify(&workspace, name.as_deref())?;
            if printer.is_json() {
                printer.json(&json!({"models": checked}));
            } else {
                for model in &checked {
                    printer.line(&format!(
                        "{}  {}",
                        model.name,
                        if model.is_whole { "whole" } else { "broken" }
                    ));
                    for problem in &model.problems {
                        printer.line(&format!("  {problem}"));
                    }
                }
            }
            if checked.iter().any(|model| !model.is_whole) {
                return Ok(exit::INTEGRITY);
            }
        }
        Models::Embed { model, file, query, dimensions, trust } => {
            let request = EmbedRequest {
                model: model.clone(),
                purpose: if *query { EmbeddingPurpose::Query } else { EmbeddingPurpose::Document },
                dimensions: *dimensions,
                is_trusted: *trust,
            };
            let mut lines: Box<dyn BufRead + Send> = match file.as_os_str() == "-" {
                true => Box::new(BufReader::new(std::io::stdin())),
                false => {
                    let opened =
                        std::fs::File::open(file).map_err(|error| ApiError::file("read", file, &error))?;
                    Box::new(BufReader::new(opened))
                }
            };
            embed(&workspace, &request, &mut lines, &mut |row| printer.json(&row)).await?;
        }
        Models::Distill { model, out, dimensions, corpus, words, full } => {
            let request = DistillRequest {
                model: model.clone(),
                out: out.clone(),
                dimensions: *dimensions,
                corpus: corpus.clone(),
                words: *words,
                is_quantized: !full,
            };
            let made = distill(&workspace, &request, &|text| printer.progress(text)).await?;
            printer.end_progress();
            match printer.is_json() {
                true => printer.json(&json!(made)),
                false => printer.line(&format!(
                    "{}  {} tokens, {} dimensions, {:.1} MB",
                    out.display(),
                    made.tokens,
                    made.dimensions,
                    made.bytes as f64 / 1e6
                )),
            }
        }
    }
    Ok(exit::DONE)
}

fn tell_files(name: &str, files: &[std::path::PathBuf], printer: &Printer) {
    match printer.is_json() {
        true => printer.json(&json!({"name": name, "files": files})),
        false => {
            for file in files {
                printer.line(&file.display().to_string());
            }
        }
    }
}
