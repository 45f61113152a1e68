//! Whether a flow may run as it stands: Python and foreign hosts need the user's word.

use flowbench_core::connection::Connection;

use crate::error::ApiError;
use crate::load::{LoadedFlow, Prepared};
use crate::settings::RunSettings;
use crate::trust::{Approval as Word, approval};
use crate::workspace::Workspace;

/// What the user allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Hosts that only the folder names may be asked.
    pub allows_folder_hosts: bool,
}

/// Looks whether the flow is approved, and refuses where it needs to be and is not.
pub fn approve(
    workspace: &Workspace,
    loaded: &LoadedFlow,
    prepared: &Prepared,
    settings: &RunSettings,
) -> Result<Approval, ApiError> {
    if prepared.runs_python && workspace.settings().refuses_code {
        return Err(ApiError::wrong_use(
            "code/forbidden",
            format!("flow `{}` runs Python, and this workspace refuses code", loaded.shown()),
        )
        .hint("its `flowbench.yaml` says `trust: refuse`"));
    }
    if settings.is_trusted {
        return Ok(Approval { allows_folder_hosts: true });
    }
    // A replay of recorded results starts no process and asks no host.
    if settings.replay.is_some() && prepared.outside.is_empty() {
        return Ok(Approval { allows_folder_hosts: false });
    }
    let mut is_approved = true;
    let mut outdated = None;
    for folder in &prepared.folders {
        match approval(folder)? {
            Word::Given => {}
            Word::Outdated => {
                is_approved = false;
                outdated = Some(folder.clone());
            }
            Word::Missing => is_approved = false,
        }
    }
    if prepared.runs_python && !is_approved {
        let flow = loaded.shown();
        let message = match outdated {
            Some(folder) => {
                format!("flow `{flow}` runs Python, and `{}` changed since it was approved", folder.display())
            }
            None => format!("flow `{flow}` runs Python, and its folder is not approved"),
        };
        return Err(ApiError::wrong_use("code/forbidden", message)
            .hint("look at its code; then allow it for this call with `--trust`")
            .hint(format!(
                "or for good: flowbench trust {}",
                shell_word(&loaded.folder.display().to_string())
            )));
    }
    if let Some(path) = prepared.outside.first().filter(|_| !is_approved) {
        let flow = loaded.shown();
        return Err(ApiError::wrong_use(
            "path/forbidden",
            format!("flow `{flow}` reads `{}`, which is outside the workspace, and its folder is not approved", path.display()),
        )
        .hint("allow it for this call with `--trust`, or make the common folder a workspace with a `flowbench.yaml`")
        .hint(format!("or for good: flowbench trust {}", shell_word(&loaded.folder.display().to_string()))));
    }
    Ok(Approval { allows_folder_hosts: is_approved })
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
