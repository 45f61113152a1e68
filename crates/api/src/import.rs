//! Use case: bring a prompt flow folder here. Its format is ours; the report says what of it runs and what does not.

use std::path::{Path, PathBuf};

use flowbench_core::finding::Finding;
use flowbench_format::import::promptflow::{ImportReport, import_report};

use crate::error::ApiError;
use crate::load::{LoadOptions, load_flow};
use crate::workspace::Workspace;

/// What of a folder runs here.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Import {
    /// By node.
    #[serde(flatten)]
    pub report: ImportReport,
    /// What a check finds.
    pub findings: Vec<Finding>,
    /// Where the flow was copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_to: Option<PathBuf>,
}

/// Folders of a flow that are caches or state.
const LEFT_OUT: [&str; 5] = [".promptflow", ".runs", ".flowbench", "__pycache__", ".git"];

/// Reports on a folder, and copies it where asked. The source is not touched.
pub fn import_promptflow(workspace: &Workspace, path: &Path, out: Option<&Path>) -> Result<Import, ApiError> {
    let loaded = load_flow(workspace, path, &LoadOptions::default())?;
    let has_requirements = loaded.folder.join("requirements.txt").is_file();
    let report = import_report(&loaded.draft, &loaded.findings, has_requirements);
    let copied_to = match out {
        None => None,
        Some(target) => {
            if target.exists() {
                return Err(ApiError::wrong_use(
                    "file/exists",
                    format!("`{}` is there already", target.display()),
                )
                .hint("name a folder that does not exist yet"));
            }
            copy(&loaded.folder, target, 0)?;
            Some(target.to_owned())
        }
    };
    Ok(Import { report, findings: loaded.findings, copied_to })
}

/// Deepest folder copied; a flow is not deeper.
const MAX_DEPTH: usize = 16;

fn copy(from: &Path, to: &Path, depth: usize) -> Result<(), ApiError> {
    if depth > MAX_DEPTH {
        return Err(ApiError::wrong_use(
            "flow/too_large",
            format!("`{}` is more than {MAX_DEPTH} folders deep", from.display()),
        ));
    }
    std::fs::create_dir_all(to).map_err(|error| ApiError::file("create", to, &error))?;
    for entry in std::fs::read_dir(from).map_err(|error| ApiError::file("read", from, &error))? {
        let entry = entry.map_err(|error| ApiError::file("read", from, &error))?;
        let kind = entry.file_type().map_err(|error| ApiError::file("read", &entry.path(), &error))?;
        let name = entry.file_name();
        if LEFT_OUT.contains(&name.to_string_lossy().as_ref()) || kind.is_symlink() {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        if kind.is_dir() {
            copy(&source, &target, depth + 1)?;
        } else {
            std::fs::copy(&source, &target).map_err(|error| ApiError::file("copy", &source, &error))?;
        }
    }
    Ok(())
}

impl Import {
    /// The report as lines for people.
    pub fn text(&self) -> String {
        flowbench_format::import::promptflow::render_text(&self.report)
    }
}
