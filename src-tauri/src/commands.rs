//! The commands that the page may call: a thin shape over the use cases of `api`.
//!
//! Mirrored by hand in `ui/platform/platform.ts` until one declaration generates both.

use std::path::{Path, PathBuf};

use flowbench_api::check::{check, find_flows};
use flowbench_api::error::ApiError;
use flowbench_api::workspace::{OpenOptions, Workspace};
use flowbench_core::finding::Finding;
use serde::Serialize;
use tauri::State;

/// The folder that this window shows.
#[derive(Debug)]
pub struct OpenFolder {
    path: PathBuf,
}

/// One flow of the workspace and what its check found.
#[derive(Debug, Serialize)]
pub struct FlowEntry {
    name: String,
    path: String,
    findings: Vec<Finding>,
}

/// Every flow of the workspace, by path.
#[derive(Debug, Serialize)]
pub struct FlowList {
    workspace: String,
    /// About the workspace's own files.
    findings: Vec<Finding>,
    flows: Vec<FlowEntry>,
}

impl OpenFolder {
    /// A window on `path`, which need not exist: then every command says so.
    pub fn new(path: PathBuf) -> Self {
        Self { path: path.canonicalize().unwrap_or(path) }
    }
}

/// The flows of the open folder. Runs nothing of them.
#[tauri::command]
pub async fn list_flows(folder: State<'_, OpenFolder>) -> Result<FlowList, ApiError> {
    let path = folder.path.clone();
    let listed = tauri::async_runtime::spawn_blocking(move || flows_of(&path)).await;
    listed.unwrap_or_else(|error| Err(ApiError::could_not("internal", error.to_string())))
}

fn flows_of(folder: &Path) -> Result<FlowList, ApiError> {
    let options = OpenOptions { start: folder.to_owned(), root: Some(folder.to_owned()), connections: None };
    let workspace = Workspace::open(&options)?;
    let mut flows = Vec::new();
    for flow in find_flows(workspace.root())? {
        let path = below(workspace.root(), &flow.to_string_lossy());
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let mut findings: Vec<Finding> =
            check(&workspace, &flow, &[])?.flows.into_iter().flat_map(|checked| checked.findings).collect();
        for finding in &mut findings {
            finding.place.file = finding.place.file.take().map(|file| below(workspace.root(), &file));
        }
        flows.push(FlowEntry { name, path, findings });
    }
    let root = workspace.root();
    let name = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
    Ok(FlowList { workspace: name, findings: workspace.findings().to_vec(), flows })
}

/// A path as seen from the workspace, with `/`: the window was not opened from any folder of the user's.
fn below(root: &Path, path: &str) -> String {
    let path = Path::new(path);
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = "inputs:\n  question: {type: string}\noutputs:\n  answer: {type: string, reference: \"${NODE.output}\"}\nnodes:\n- {name: reply, type: prompt, source: {type: code, path: reply.jinja2}, inputs: {}}\n";

    #[test]
    fn each_flow_is_listed_with_its_findings() {
        let root = tempfile::tempdir().unwrap();
        for (name, node) in [("sound", "reply"), ("broken", "nobody")] {
            let folder = root.path().join("flows").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("flow.dag.yaml"), FLOW.replace("NODE", node)).unwrap();
            std::fs::write(folder.join("reply.jinja2"), "hello\n").unwrap();
        }
        let list = flows_of(root.path()).unwrap();
        let told: Vec<_> = list
            .flows
            .iter()
            .map(|flow| {
                (flow.name.as_str(), flow.path.as_str(), flowbench_core::finding::has_errors(&flow.findings))
            })
            .collect();
        assert_eq!(told, [("broken", "flows/broken", true), ("sound", "flows/sound", false)]);
    }

    #[test]
    fn a_folder_without_flows_is_empty_and_a_missing_one_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(flows_of(root.path()).unwrap().flows.is_empty());
        let error = serde_json::to_value(flows_of(&root.path().join("gone")).unwrap_err()).unwrap();
        assert!(error["message"].as_str().is_some_and(|message| message.contains("gone")), "{error}");
    }
}
