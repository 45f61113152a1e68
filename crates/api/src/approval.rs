//! Whether a flow may run as it stands: Python, foreign hosts and paths outside the workspace need the user's word.

use std::path::PathBuf;

use flowbench_core::connection::Connection;
use serde_json::Value;

use crate::error::ApiError;
use crate::load::{Gathered, LoadedFlow};
use crate::settings::RunSettings;
use crate::trust::{Approval as Word, approval};
use crate::workspace::{ConnectionOrigin, Workspace};

/// What the user allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Hosts that only the folder names may be asked, and paths outside the workspace be read.
    pub allows_folder_hosts: bool,
}

/// Looks whether the flow is approved, and refuses where it needs to be and is not.
pub fn approve(
    workspace: &Workspace,
    gathered: &Gathered,
    settings: &RunSettings,
) -> Result<Approval, ApiError> {
    let flow = gathered.loaded.shown();
    if gathered.runs_python() && workspace.settings().refuses_code {
        return Err(ApiError::wrong_use(
            "code/forbidden",
            format!("flow `{flow}` runs Python, and this workspace refuses code"),
        )
        .hint("its `flowbench.yaml` says `trust: refuse`"));
    }
    if settings.is_trusted {
        return Ok(Approval { allows_folder_hosts: true });
    }
    let outside: Vec<PathBuf> = gathered.all().iter().flat_map(|loaded| loaded.sources.outside()).collect();
    // A replay of recorded results starts no process and asks no host.
    let is_replay = settings.replay.is_some();
    if is_replay && outside.is_empty() {
        return Ok(Approval { allows_folder_hosts: false });
    }
    let (mut is_approved, mut outdated) = (true, None);
    for loaded in gathered.all() {
        match approval(workspace, &loaded.folder)? {
            Word::Given => {}
            Word::Outdated => {
                is_approved = false;
                outdated = Some(loaded.folder.clone());
            }
            Word::Missing => is_approved = false,
        }
    }
    if is_approved {
        return Ok(Approval { allows_folder_hosts: true });
    }
    let needs = needs_of(workspace, gathered, &outside)
        .into_iter()
        .find(|(code, _)| !is_replay || *code == "path/forbidden");
    let Some((code, needs)) = needs else { return Ok(Approval { allows_folder_hosts: false }) };
    let message = match outdated {
        Some(folder) => {
            format!("flow `{flow}` {needs}, and `{}` changed since it was approved", folder.display())
        }
        None => format!("flow `{flow}` {needs}, and its folder is not approved"),
    };
    let folder = shell_word(&gathered.loaded.folder.display().to_string());
    Err(ApiError::wrong_use(code, message)
        .hint("look at it; then allow it for this call with `--trust`")
        .hint(format!("or for good: flowbench trust {folder}")))
}

/// What of a flow needs the user's word: code and words.
fn needs_of(workspace: &Workspace, gathered: &Gathered, outside: &[PathBuf]) -> Vec<(&'static str, String)> {
    let mut needs = Vec::new();
    if gathered.runs_python() {
        needs.push(("code/forbidden", "runs Python".to_owned()));
    }
    if let Some(path) = outside.first() {
        needs.push(("path/forbidden", format!("reads `{}`, which is outside the workspace", path.display())));
    }
    for loaded in gathered.all() {
        for name in connections_of(loaded) {
            let known = workspace.connection(&name);
            if known.is_some_and(|known| known.origin == ConnectionOrigin::Workspace) {
                needs.push((
                    "model/forbidden",
                    format!("asks connection `{name}`, which only this workspace names"),
                ));
            }
        }
    }
    needs
}

/// Names of connections that a flow's nodes write as literals.
fn connections_of(loaded: &LoadedFlow) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for node in &loaded.draft.nodes {
        names.extend(node.connection.clone());
        names.extend(node.inputs.get("connection").and_then(Value::as_str).map(str::to_owned));
    }
    names.retain(|name| name != "local" && name != "builtin");
    names
}

/// Whether a connection's host may be asked.
pub fn is_host_allowed(connection: &Connection, approval: Approval) -> bool {
    connection.is_approved || approval.allows_folder_hosts
}

/// A word as a shell reads it back.
fn shell_word(text: &str) -> String {
    match text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
