//! Use case: find what is wrong with flows. Runs nothing.

use std::path::{Path, PathBuf};

use flowbench_core::finding::Finding;
use serde::Serialize;
use serde_json::Value;

use crate::error::ApiError;
use crate::load::{LoadOptions, find_flow_file, load_flow};
use crate::workspace::Workspace;

/// Folders looked into for flows; deeper ones are other things.
const MAX_FOLDER_DEPTH: usize = 4;

/// What was found in one flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowCheck {
    /// The flow, as the user would name it.
    pub flow: String,
    /// Findings in file order.
    pub findings: Vec<Finding>,
}

/// What was found in all flows looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CheckReport {
    /// By flow.
    pub flows: Vec<FlowCheck>,
    /// About the workspace's own files: connections, settings.
    pub workspace: Vec<Finding>,
}

impl CheckReport {
    /// All findings.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.workspace.iter().chain(self.flows.iter().flat_map(|flow| &flow.findings))
    }

    /// As lines for people.
    pub fn text(&self) -> String {
        flowbench_format::findings::render_text(&self.findings().cloned().collect::<Vec<_>>())
    }

    /// As SARIF 2.1.0.
    pub fn sarif(&self) -> Value {
        flowbench_format::findings::render_sarif(&self.findings().cloned().collect::<Vec<_>>())
    }
}

/// Checks one flow, or all flows below a folder.
pub fn check(
    workspace: &Workspace,
    path: &Path,
    variants: &[(String, String)],
) -> Result<CheckReport, ApiError> {
    let mut report = CheckReport { flows: Vec::new(), workspace: workspace.findings().to_vec() };
    for flow in find_flows(path)? {
        let options = LoadOptions { variants: variants.to_vec(), ..LoadOptions::default() };
        let loaded = load_flow(workspace, &flow, &options)?;
        report.flows.push(FlowCheck { flow: workspace.shown(&flow), findings: loaded.findings });
    }
    if report.flows.is_empty() {
        return Err(ApiError::wrong_use("flow/unknown", format!("there is no flow in `{}`", path.display()))
            .hint("a flow is a folder with `flow.dag.yaml`, or a `.prompty` or `flow.flex.yaml` file"));
    }
    Ok(report)
}

/// The flows that a path means: itself, or all below it, sorted.
pub fn find_flows(path: &Path) -> Result<Vec<PathBuf>, ApiError> {
    if path.is_file() || find_flow_file(path).is_ok() {
        find_flow_file(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    search(path, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), ApiError> {
    let entries = std::fs::read_dir(folder).map_err(|error| ApiError::file("open", folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| ApiError::file("read", folder, &error))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder
            && !name.starts_with('.')
            && !["target", "node_modules", "fixtures", "__pycache__"].contains(&name.as_str())
        {
            match find_flow_file(&path).is_ok() {
                true => found.push(path.clone()),
                false if depth < MAX_FOLDER_DEPTH => search(&path, depth + 1, found)?,
                false => {}
            }
        } else if name.ends_with(".prompty") {
            found.push(path);
        }
    }
    Ok(())
}
