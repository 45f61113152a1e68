//! `flowbench check`.

use std::path::Path;

use flowbench_api::check::check;
use flowbench_api::error::{ApiError, exit};
use flowbench_core::finding::Severity;
use serde_json::json;

use super::{pairs, workspace};
use crate::arguments::{Check, FindingFormat, Global};
use crate::printer::Printer;

pub fn run(global: &Global, arguments: &Check, printer: &Printer) -> Result<u8, ApiError> {
    let path = arguments.path.as_deref().unwrap_or(Path::new("."));
    let workspace = workspace(global, path)?;
    let report = check(&workspace, path, &pairs("--variant", &arguments.variant)?)?;
    let count = |severity| report.findings().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match arguments.output {
        FindingFormat::Sarif => {
            printer.line(&serde_json::to_string_pretty(&report.sarif()).unwrap_or_default())
        }
        FindingFormat::Text if !printer.is_json() => {
            printer.raw(&report.text());
            let flows = report.flows.len();
            printer.note(&format!(
                "{flows} {}, {errors} errors, {warnings} warnings",
                if flows == 1 { "flow" } else { "flows" }
            ));
        }
        _ => printer.json(&json!({"flows": report.flows, "errors": errors, "warnings": warnings})),
    }
    Ok(if errors > 0 { exit::WRONG_USE } else { exit::DONE })
}
