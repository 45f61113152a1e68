//! `flowbench connections`.

use std::path::Path;

use flowbench_api::connections::{list, test};
use flowbench_api::error::{ApiError, exit};
use serde_json::json;

use super::workspace;
use crate::arguments::{Connections, Global};
use crate::printer::Printer;

pub async fn run(global: &Global, arguments: &Connections, printer: &Printer) -> Result<u8, ApiError> {
    let workspace = workspace(global, Path::new("."))?;
    match arguments {
        Connections::List => {
            let rows = list(&workspace);
            if printer.is_json() {
                printer.json(&json!({"connections": rows}));
                return Ok(exit::DONE);
            }
            printer.line("builtin  stand-ins and `extractive`; needs no entry");
            printer.line("local    models on this machine; needs no entry");
            for row in rows {
                printer.line(&format!("{}  {}  {}", row.name, row.kind, row.file));
                for (field, from) in row.secrets {
                    printer.line(&format!("  {field}: {from}"));
                }
            }
        }
        Connections::Test { name, model } => {
            let Some(model) = model else {
                return Err(ApiError::wrong_use(
                    "usage",
                    format!("which model is `{name}` to be asked for?"),
                )
                .hint("name one with `--model`"));
            };
            let answer = test(&workspace, name, model).await?;
            match printer.is_json() {
                true => printer.json(&json!(answer)),
                false => {
                    printer.line(&format!("{name} answers in {} ms: {}", answer.duration_ms, answer.answer))
                }
            }
        }
    }
    Ok(exit::DONE)
}
