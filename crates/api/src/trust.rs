//! Which folders' code and hosts the user has approved, bound to a digest of what was approved.
//!
//! Kept in the user's own state folder, never in the workspace: a folder must not be able to vouch for itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check::find_flows;
use crate::error::ApiError;
use crate::load::{LoadOptions, load_flow};
use crate::workspace::{Workspace, user_state_folder};

/// Most files looked at for a digest; a folder with more is not one flow.
const MAX_FILES: usize = 20_000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Approvals {
    /// Canonical folder to digest of its code.
    folders: BTreeMap<String, String>,
}

/// Whether a folder is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// As it stands now.
    Given,
    /// It was, and its code changed since.
    Outdated,
    /// Never.
    Missing,
}

fn approvals_file() -> Result<PathBuf, ApiError> {
    Ok(user_state_folder()?.join("trust.json"))
}

fn load() -> Result<Approvals, ApiError> {
    let path = approvals_file()?;
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::could_not("trust/broken", format!("`{}` cannot be read: {error}", path.display()))
                .hint("remove the file and approve the folders again")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Approvals::default()),
        Err(error) => Err(ApiError::file("read", &path, &error)),
    }
}

fn save(approvals: &Approvals) -> Result<(), ApiError> {
    let path = approvals_file()?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| ApiError::file("create", folder, &error))?;
    }
    let text = serde_json::to_string_pretty(approvals).unwrap_or_default();
    crate::files::write_atomically(&path, text.as_bytes())
}

/// Digest over all that decides what a folder's flows run: every file in it, what its flows take from elsewhere, and
/// the workspace's own settings, connections and indexes.
fn digest_folder(workspace: &Workspace, folder: &Path) -> Result<String, ApiError> {
    let mut files = BTreeMap::new();
    collect(folder, folder, 0, &mut files)?;
    for name in ["flowbench.yaml", "connections.yaml"] {
        let path = workspace.root().join(name);
        if path.is_file() {
            files.insert(format!("workspace:{name}"), path);
        }
    }
    // An approved flow's indexes may read and ask what their files name.
    for name in flowbench_grounding::spec::names(workspace.root()) {
        let path = workspace.root().join("indexes").join(format!("{name}.yaml"));
        files.insert(format!("workspace:indexes/{name}.yaml"), path);
    }
    for flow in find_flows(folder)? {
        // A flow that cannot be read runs nothing; what is wrong with it is told when it is run.
        let Ok(loaded) = load_flow(workspace, &flow, &LoadOptions::default()) else { continue };
        for path in loaded.sources.brought() {
            files.insert(format!("brought:{}", path.display()), path);
        }
    }
    let mut hasher = blake3::Hasher::new();
    for (name, path) in files {
        let mut content = blake3::Hasher::new();
        let file = std::fs::File::open(&path).map_err(|error| ApiError::file("read", &path, &error))?;
        content.update_reader(file).map_err(|error| ApiError::file("read", &path, &error))?;
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(content.finalize().as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Deepest folder looked into: deeper is a circle of links.
const MAX_FOLDER_DEPTH: usize = 32;

fn collect(
    folder: &Path,
    base: &Path,
    depth: usize,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), ApiError> {
    let entries = std::fs::read_dir(folder).map_err(|error| ApiError::file("read", folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| ApiError::file("read", folder, &error))?;
        let path = entry.path();
        // State and version control are no part of what a flow imports.
        if [".flowbench", ".git"].contains(&entry.file_name().to_string_lossy().as_ref()) {
            continue;
        }
        // Links are followed: what runs is what they lead to.
        let Ok(kind) = std::fs::metadata(&path) else { continue };
        if kind.is_dir() && depth < MAX_FOLDER_DEPTH {
            collect(&path, base, depth + 1, files)?;
        } else if kind.is_file() {
            let name = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
            files.insert(name, path);
        }
        if files.len() > MAX_FILES {
            return Err(ApiError::wrong_use(
                "trust/too_large",
                format!("`{}` holds more than {MAX_FILES} files", base.display()),
            )
            .hint("approve the flow's own folder"));
        }
    }
    Ok(())
}

fn canonical(path: &Path) -> Result<PathBuf, ApiError> {
    path.canonicalize().map_err(|error| ApiError::file("open", path, &error))
}

/// Approves a folder as it stands now; gives the folder.
pub fn trust(workspace: &Workspace, path: &Path) -> Result<PathBuf, ApiError> {
    let folder = canonical(path)?;
    let folder = if folder.is_dir() { folder } else { folder.parent().unwrap_or(&folder).to_owned() };
    let mut approvals = load()?;
    approvals.folders.insert(folder.to_string_lossy().into_owned(), digest_folder(workspace, &folder)?);
    save(&approvals)?;
    Ok(folder)
}

/// Takes an approval back; true if there was one.
pub fn revoke(path: &Path) -> Result<bool, ApiError> {
    let folder = canonical(path)?;
    let mut approvals = load()?;
    let had = approvals.folders.remove(folder.to_string_lossy().as_ref()).is_some();
    save(&approvals)?;
    Ok(had)
}

/// Looks whether a flow's folder, or one above it, is approved.
pub fn approval(workspace: &Workspace, folder: &Path) -> Result<Approval, ApiError> {
    let approvals = load()?;
    if approvals.folders.is_empty() {
        return Ok(Approval::Missing);
    }
    let folder = canonical(folder)?;
    let mut answer = Approval::Missing;
    for above in folder.ancestors() {
        if let Some(digest) = approvals.folders.get(above.to_string_lossy().as_ref()) {
            if *digest == digest_folder(workspace, above)? {
                return Ok(Approval::Given);
            }
            answer = Approval::Outdated;
        }
    }
    Ok(answer)
}
