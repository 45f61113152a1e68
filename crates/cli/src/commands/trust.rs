//! `flowbench trust`.

use flowbench_api::error::{ApiError, exit};
use flowbench_api::trust::{revoke, trust};
use serde_json::json;

use super::workspace;
use crate::arguments::{Global, Trust};
use crate::printer::Printer;

pub fn run(global: &Global, arguments: &Trust, printer: &Printer) -> Result<u8, ApiError> {
    let path = &arguments.path;
    let told = if arguments.revoke {
        match revoke(path)? {
            true => format!("`{}` is no longer approved", path.display()),
            false => format!("`{}` was not approved", path.display()),
        }
    } else {
        format!(
            "`{}` is approved as it stands now; a change of its code needs a new approval",
            trust(&workspace(global, path)?, path)?.display()
        )
    };
    match printer.is_json() {
        true => printer.json(&json!({"path": path, "approved": !arguments.revoke})),
        false => printer.line(&told),
    }
    Ok(exit::DONE)
}
