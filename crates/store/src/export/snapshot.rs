//! The copy of the flow that a run folder holds.

use std::path::{Path, PathBuf};

use super::ExportError;

/// Folders that are no part of a flow: history, caches, local state.
const LEFT_OUT: [&str; 6] = [".git", ".flowbench", ".promptflow", ".runs", "__pycache__", "node_modules"];

/// More files than this are no flow folder but somebody's home.
const MOST_FILES: usize = 10_000;

/// A flow folder, and files of it that a variant or an include has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowSnapshot {
    /// The flow's folder.
    pub folder: PathBuf,
    /// Texts to stand in place of files, by their name relative to the folder: the flow file with its variant applied.
    pub replaced: Vec<(PathBuf, String)>,
}

impl FlowSnapshot {
    /// The folder as it is.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), replaced: Vec::new() }
    }

    pub(super) fn copy_to(&self, target: &Path) -> Result<(), ExportError> {
        let root =
            self.folder.canonicalize().map_err(|source| ExportError::io(&self.folder, "read", source))?;
        let mut count = 0;
        copy(&root, &root, target, &mut count)?;
        for (name, text) in &self.replaced {
            let path = target.join(name);
            // A name with `..` or a root in it would leave the target.
            let is_inside = name.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !is_inside {
                continue;
            }
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|source| ExportError::io(folder, "created", source))?;
            }
            std::fs::write(&path, text).map_err(|source| ExportError::io(&path, "written", source))?;
        }
        Ok(())
    }
}

fn copy(root: &Path, folder: &Path, target: &Path, count: &mut usize) -> Result<(), ExportError> {
    let read = |source| ExportError::io(folder, "read", source);
    std::fs::create_dir_all(target).map_err(|source| ExportError::io(target, "created", source))?;
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let path = entry.path();
        // A link may not carry files from outside the flow into something that is handed on.
        let Ok(real) = path.canonicalize() else { continue };
        if !real.starts_with(root) {
            continue;
        }
        let is_link = entry.file_type().map_err(read)?.is_symlink();
        if real.is_dir() {
            // Linked folders could lead round in a circle; their files are copied where they really are.
            if !is_link {
                copy(root, &real, &target.join(&name), count)?;
            }
        } else if real.is_file() {
            *count += 1;
            if *count > MOST_FILES {
                return Err(ExportError::TooManyFiles { path: root.to_owned(), limit: MOST_FILES });
            }
            let to = target.join(&name);
            std::fs::copy(&real, &to).map_err(|source| ExportError::io(&to, "written", source))?;
        }
    }
    Ok(())
}
