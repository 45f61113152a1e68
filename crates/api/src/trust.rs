//! Which folders' code and hosts the user has approved, bound to a digest of what was approved.
//!
//! Kept in the user's own state folder, never in the workspace: a folder must not be able to vouch for itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::workspace::user_state_folder;

/// Most files looked at for a digest; a folder with more is not one flow.
const MAX_FILES: usize = 20_000;
/// Files whose change could make other code run or other hosts be asked.
const CODE_ENDINGS: [&str; 12] =
    ["py", "js", "yaml", "yml", "toml", "txt", "pth", "so", "pyd", "prompty", "zip", "whl"];

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

/// Digest over names and contents of all files that can bring code or hosts, in name order.
fn digest_folder(folder: &Path) -> Result<String, ApiError> {
    let mut hasher = blake3::Hasher::new();
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    for file in files {
        let content = std::fs::read(&file).map_err(|error| ApiError::file("read", &file, &error))?;
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&(content.len() as u64).to_le_bytes());
        hasher.update(&content);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), ApiError> {
    let entries = std::fs::read_dir(folder).map_err(|error| ApiError::file("read", folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| ApiError::file("read", folder, &error))?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // State, caches and version control hold nothing that a flow runs.
        if [".flowbench", ".promptflow", ".git", "__pycache__", "node_modules", "target"]
            .contains(&name.as_ref())
        {
            continue;
        }
        let kind = entry.file_type().map_err(|error| ApiError::file("read", &path, &error))?;
        if kind.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|ending| CODE_ENDINGS.contains(&ending.to_string_lossy().as_ref()))
        {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(ApiError::wrong_use(
                "trust/too_large",
                format!("`{}` holds more than {MAX_FILES} files", folder.display()),
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
pub fn trust(path: &Path) -> Result<PathBuf, ApiError> {
    let folder = canonical(path)?;
    let folder = if folder.is_dir() { folder } else { folder.parent().unwrap_or(&folder).to_owned() };
    let mut approvals = load()?;
    approvals.folders.insert(folder.to_string_lossy().into_owned(), digest_folder(&folder)?);
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
pub fn approval(folder: &Path) -> Result<Approval, ApiError> {
    let approvals = load()?;
    if approvals.folders.is_empty() {
        return Ok(Approval::Missing);
    }
    let folder = canonical(folder)?;
    let mut answer = Approval::Missing;
    for above in folder.ancestors() {
        if let Some(digest) = approvals.folders.get(above.to_string_lossy().as_ref()) {
            if *digest == digest_folder(above)? {
                return Ok(Approval::Given);
            }
            answer = Approval::Outdated;
        }
    }
    Ok(answer)
}
