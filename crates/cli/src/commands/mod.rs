//! One file a command.

pub mod batch;
pub mod check;
pub mod connections;
pub mod doctor;
pub mod import;
pub mod index;
pub mod models;
pub mod new;
pub mod run;
pub mod runs;
pub mod shell;
pub mod trust;

use std::path::Path;
use std::sync::Arc;

use flowbench_api::error::ApiError;
use flowbench_api::indexes::BuildEvent;
use flowbench_api::settings::{OnBuild, RunSettings, parse_pair};
use flowbench_api::workspace::{OpenOptions, Workspace};

use crate::arguments::{Global, RunSettings as Flags};
use crate::printer::Printer;

/// Opens the workspace of a path.
pub fn workspace(global: &Global, start: &Path) -> Result<Workspace, ApiError> {
    Workspace::open(&OpenOptions {
        start: start.to_owned(),
        root: global.workspace.clone(),
        connections: global.connections.clone(),
    })
}

/// Settings of a run from the flags.
pub fn settings(flags: &Flags, is_streaming: bool, printer: &Printer) -> Result<RunSettings, ApiError> {
    let teller = printer.clone();
    let on_build =
        OnBuild(Arc::new(move |_: &str, event: BuildEvent| index::Progress::new(&teller).tell(&event)));
    Ok(RunSettings {
        variants: pairs("--variant", &flags.variant)?,
        is_trusted: flags.trust,
        record: flags.record.clone(),
        replay: flags.replay.clone(),
        uses_cache: !flags.no_cache,
        budget: flowbench_api::settings::budget(
            flags.budget,
            flags.budget_tokens,
            flags.budget_time.as_deref(),
        )?,
        endpoint_width: flags.endpoint_width,
        installs_requirements: flags.install,
        overrides: pairs("--set", &flags.set)?,
        environment: pairs("--env", &flags.environment)?,
        is_streaming,
        may_build: !flags.no_build,
        on_build: Some(on_build),
    })
}

/// `NAME=VALUE` arguments.
pub fn pairs(flag: &str, written: &[String]) -> Result<Vec<(String, String)>, ApiError> {
    written.iter().map(|text| parse_pair(flag, text)).collect()
}
