//! `flowbench new`.

use std::path::Path;

use flowbench_api::error::{ApiError, exit};
use flowbench_api::new::new_flow;
use serde_json::json;

use super::workspace;
use crate::arguments::{Global, New};
use crate::printer::Printer;

pub fn run(global: &Global, arguments: &New, printer: &Printer) -> Result<u8, ApiError> {
    let New::Flow { name, from } = arguments;
    let folder = new_flow(&workspace(global, Path::new("."))?, name, from)?;
    match printer.is_json() {
        true => printer.json(&json!({"flow": folder})),
        false => {
            printer.line(&folder.display().to_string());
            printer.note(&format!("run it: flowbench run {}", folder.display()));
        }
    }
    Ok(exit::DONE)
}
