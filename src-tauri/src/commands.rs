//! The commands that the page may call, and the shape of their answers.
//!
//! Mirrored by hand in `ui/platform/platform.ts` until one declaration generates both.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tauri::State;
use thiserror::Error;

/// The folder that this window shows.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
}

/// One flow of the workspace.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FlowEntry {
    /// Folder name.
    name: String,
    /// Path from the workspace root, with `/`.
    path: String,
}

/// Every flow of the workspace, by name.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FlowList {
    /// The folder, as the user would name it.
    workspace: String,
    /// Its flows.
    flows: Vec<FlowEntry>,
}

/// Why a command has no answer, in the shape that every front gives: the page shows code, message and hint.
#[derive(Debug, Error, Serialize)]
#[error("{message}")]
pub struct CommandError {
    code: &'static str,
    message: String,
    hints: Vec<String>,
}

impl Workspace {
    /// A window on `root`, which need not exist: then every command says so.
    pub fn new(root: PathBuf) -> Self {
        Self { root: root.canonicalize().unwrap_or(root) }
    }
}

/// The flows of the open workspace.
#[tauri::command]
pub async fn list_flows(workspace: State<'_, Workspace>) -> Result<FlowList, CommandError> {
    flows_of(&workspace.root)
}

fn flows_of(root: &Path) -> Result<FlowList, CommandError> {
    let unreadable = |error: std::io::Error| CommandError {
        code: "unreadable_workspace",
        message: format!("`{}` cannot be read: {error}", root.display()),
        hints: vec!["open a folder that exists and that you may read".to_owned()],
    };
    fs::read_dir(root).map_err(unreadable)?;
    let folder = root.join("flows");
    let mut flows = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.path().join("flow.dag.yaml").is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                flows.push(FlowEntry { path: format!("flows/{name}"), name });
            }
        }
    }
    flows.sort_by(|a, b| a.name.cmp(&b.name));
    let workspace = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
    Ok(FlowList { workspace, flows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_listed_by_name_and_other_folders_are_not() {
        let root = tempfile::tempdir().unwrap();
        for (folder, file) in [("b", "flow.dag.yaml"), ("a", "flow.dag.yaml"), ("notes", "readme.md")] {
            let folder = root.path().join("flows").join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), "").unwrap();
        }
        let list = flows_of(root.path()).unwrap();
        let names: Vec<_> = list.flows.iter().map(|flow| (flow.name.as_str(), flow.path.as_str())).collect();
        assert_eq!(names, [("a", "flows/a"), ("b", "flows/b")]);
    }

    #[test]
    fn a_workspace_without_flows_is_empty_and_a_missing_one_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(flows_of(root.path()).unwrap().flows, []);
        let error = serde_json::to_value(flows_of(&root.path().join("gone")).unwrap_err()).unwrap();
        assert_eq!(error["code"], "unreadable_workspace");
        assert_eq!(error["hints"][0], "open a folder that exists and that you may read");
    }
}
