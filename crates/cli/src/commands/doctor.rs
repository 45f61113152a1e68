//! `flowbench doctor`.

use std::path::Path;

use flowbench_api::doctor::{Health, doctor};
use flowbench_api::error::{ApiError, exit};
use serde_json::json;

use super::workspace;
use crate::arguments::Global;
use crate::printer::Printer;

pub fn run(global: &Global, printer: &Printer) -> Result<u8, ApiError> {
    let rows = doctor(&workspace(global, Path::new("."))?);
    let is_broken = rows.iter().any(|row| row.health == Health::Broken);
    if printer.is_json() {
        printer.json(&json!({"rows": rows}));
    } else {
        for row in &rows {
            let mark = match row.health {
                Health::Fine => "ok     ",
                Health::Limited => "limited",
                Health::Broken => "broken ",
            };
            printer.line(&format!("{mark}  {:<13} {}", row.what, row.found));
            if let Some(hint) = &row.hint {
                printer.line(&format!("         hint: {hint}"));
            }
        }
    }
    Ok(if is_broken { exit::COULD_NOT } else { exit::DONE })
}
