//! `flowbench new`.

use std::path::Path;

use flowbench_api::error::{ApiError, exit};
use flowbench_api::new::{new_flow, new_index};
use serde_json::json;

use super::workspace;
use crate::arguments::{Global, New};
use crate::printer::Printer;

pub fn run(global: &Global, arguments: &New, printer: &Printer) -> Result<u8, ApiError> {
    let workspace = workspace(global, Path::new("."))?;
    match arguments {
        New::Flow { name, from } => {
            let folder = new_flow(&workspace, name, from)?;
            match printer.is_json() {
                true => printer.json(&json!({"flow": folder})),
                false => {
                    printer.line(&folder.display().to_string());
                    printer.note(&format!("run it: flowbench run {}", folder.display()));
                }
            }
        }
        New::Index { name, path } => {
            let file = new_index(&workspace, name, path)?;
            match printer.is_json() {
                true => printer.json(&json!({"index": file})),
                false => {
                    printer.line(&file.display().to_string());
                    printer.note(&format!("build it: flowbench index build {name}"));
                }
            }
        }
    }
    Ok(exit::DONE)
}
