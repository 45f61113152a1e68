//! `flowbench import`.

use flowbench_api::error::{ApiError, exit};
use flowbench_api::import::import_promptflow;
use serde_json::json;

use super::workspace;
use crate::arguments::{Global, Import};
use crate::printer::Printer;

pub fn run(global: &Global, arguments: &Import, printer: &Printer) -> Result<u8, ApiError> {
    let Import::Promptflow { path, out } = arguments;
    let imported = import_promptflow(&workspace(global, path)?, path, out.as_deref())?;
    if printer.is_json() {
        printer.json(&json!(imported));
        return Ok(exit::DONE);
    }
    printer.line(imported.text().trim_end());
    match &imported.copied_to {
        Some(folder) => printer.note(&format!("copied to `{}`", folder.display())),
        None => printer.note("nothing was copied: the folder runs where it is, or name a place with `--out`"),
    }
    Ok(exit::DONE)
}
