//! Use case: start a flow from a sample, or an index from a folder.

use std::path::{Path, PathBuf};

use crate::error::ApiError;
use crate::workspace::Workspace;

/// A sample: its name, what it teaches, and its files. They are the ones in `flows/` of the repository.
pub struct Sample {
    /// Name.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! sample {
    ($name:literal, $about:literal, [$($file:literal),* $(,)?]) => {
        Sample {
            name: $name,
            about: $about,
            files: &[$(($file, include_str!(concat!("../../../flows/", $name, "/", $file)))),*],
        }
    };
}

/// All samples.
pub const SAMPLES: [Sample; 6] = [
    sample!("chat", "a conversation with its history", ["flow.dag.yaml", "reply.jinja2"]),
    sample!("ask-docs", "answers from documents, with citations", ["flow.dag.yaml", "answer.jinja2"]),
    sample!(
        "classify-ticket",
        "variants of one node",
        ["flow.dag.yaml", "classify.jinja2", "rules.js", "tidy.js"]
    ),
    sample!("extract-contact", "structured content checked by a schema", ["flow.dag.yaml", "build.js"]),
    sample!("screen-comments", "a map over a list, with a guard", ["flow.dag.yaml", "report.jinja2"]),
    sample!(
        "grade-answers",
        "an evaluation flow with aggregation",
        ["flow.dag.yaml", "grade.py", "summary.py"]
    ),
];

/// Copies a sample into `flows/NAME`; gives the new folder.
pub fn new_flow(workspace: &Workspace, name: &str, from: &str) -> Result<PathBuf, ApiError> {
    let Some(sample) = SAMPLES.iter().find(|sample| sample.name == from) else {
        let known: Vec<&str> = SAMPLES.iter().map(|sample| sample.name).collect();
        return Err(ApiError::wrong_use("sample/unknown", format!("there is no sample `{from}`"))
            .hint(flowbench_core::flow::list_known("samples", &known)));
    };
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
    if !is_plain {
        return Err(ApiError::wrong_use("flow/name", format!("`{name}` is no name for a flow"))
            .hint("use letters, digits, `-` and `_`"));
    }
    let folder = workspace.root().join("flows").join(name);
    if folder.exists() {
        return Err(ApiError::wrong_use("flow/exists", format!("`{}` is there already", folder.display()))
            .hint("choose another name"));
    }
    std::fs::create_dir_all(&folder).map_err(|error| ApiError::file("create", &folder, &error))?;
    for (file, content) in sample.files {
        let path = folder.join(Path::new(file));
        std::fs::write(&path, content).map_err(|error| ApiError::file("write", &path, &error))?;
    }
    Ok(folder)
}

/// Writes `indexes/NAME.yaml` for documents at `path` (from where the user is, or absolute); gives the new file.
pub fn new_index(workspace: &Workspace, name: &str, path: &str) -> Result<PathBuf, ApiError> {
    if !flowbench_grounding::spec::is_plain_name(name) {
        return Err(ApiError::wrong_use("index/name", format!("`{name}` is no name for an index"))
            .hint("use letters, digits, `-`, `_` and `.`"));
    }
    let file = workspace.root().join("indexes").join(format!("{name}.yaml"));
    if file.exists() {
        return Err(ApiError::wrong_use("index/exists", format!("`{}` is there already", file.display()))
            .hint("choose another name"));
    }
    let documents = Path::new(path);
    if !documents.exists() {
        return Err(ApiError::wrong_use("file", format!("there are no documents at `{path}`"))
            .hint("name a folder or a file with `--path`"));
    }
    // Within the workspace the path is written relative, so that the file means the same on another machine.
    let canonical = documents.canonicalize().map_err(|error| ApiError::file("open", documents, &error))?;
    let root = workspace.root().canonicalize().unwrap_or_else(|_| workspace.root().to_owned());
    let written = match canonical.strip_prefix(&root) {
        Ok(inside) => format!("../{}", inside.to_string_lossy().replace('\\', "/")),
        Err(_) => canonical.to_string_lossy().into_owned(),
    };
    let text = include_str!("../assets/index.yaml").replace("PATH", &serde_json::json!(written).to_string());
    let folder = workspace.root().join("indexes");
    std::fs::create_dir_all(&folder).map_err(|error| ApiError::file("create", &folder, &error))?;
    crate::files::write_atomically(&file, text.as_bytes())?;
    Ok(file)
}
