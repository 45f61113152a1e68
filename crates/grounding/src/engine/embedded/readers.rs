//! Folders of readers. Qdrant opens a folder for one process and for writing; so each reader has a folder of its own,
//! where the large files of the generation are links and the small ones, which Qdrant may touch, are copies.
//!
//! A lock file beside the folder is held as long as the reader lives. What a dead process left is swept by the next
//! one that opens the generation.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::file_error;
use super::manifest::{READERS, files_below};
use crate::engine::EngineError;

/// Files from this size on are linked. Smaller ones take no time to copy, and all that Qdrant rewrites is among them.
const LINK_FROM_BYTES: u64 = 256 << 10;
/// Numbers the readers of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A folder that is removed when its reader is.
#[derive(Debug)]
pub(super) struct ReaderFolder {
    folder: PathBuf,
    lock_path: PathBuf,
    /// Held, then given up after the folder is gone.
    lock: Option<File>,
}

impl ReaderFolder {
    /// Links a part of a generation, below the generation, or in the system's temporary folder where nothing may be
    /// written there.
    pub(super) fn of(generation: &Path, part: &str) -> Result<Self, EngineError> {
        let near = generation.join(READERS);
        let reader = match std::fs::create_dir_all(&near) {
            Ok(()) => {
                sweep(&near);
                Self::claim(&near)
            }
            Err(error) => Err(file_error(&near, error)),
        };
        let reader = match reader {
            Ok(reader) => reader,
            Err(EngineError::File { source, .. })
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                let far = std::env::temp_dir().join("flowbench-index-readers");
                std::fs::create_dir_all(&far).map_err(|error| file_error(&far, error))?;
                sweep(&far);
                Self::claim(&far)?
            }
            Err(error) => return Err(error),
        };
        reader.fill(&generation.join(part))?;
        Ok(reader)
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    fn claim(parent: &Path) -> Result<Self, EngineError> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            let (folder, lock_path) = (parent.join(&name), parent.join(format!("{name}.lock")));
            let lock = File::create(&lock_path).map_err(|error| file_error(&lock_path, error))?;
            // Somebody sweeps it, or a process of another machine has the same number.
            if lock.try_lock().is_err() || !lock_path.exists() || folder.exists() {
                continue;
            }
            std::fs::create_dir(&folder).map_err(|error| file_error(&folder, error))?;
            return Ok(Self { folder, lock_path, lock: Some(lock) });
        }
    }

    fn fill(&self, from: &Path) -> Result<(), EngineError> {
        for file in files_below(from)? {
            let to = self.folder.join(file.strip_prefix(from).unwrap_or(&file));
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(|error| file_error(parent, error))?;
            }
            let size = std::fs::metadata(&file).map_err(|error| file_error(&file, error))?.len();
            if size >= LINK_FROM_BYTES && std::fs::hard_link(&file, &to).is_ok() {
                continue;
            }
            std::fs::copy(&file, &to).map_err(|error| file_error(&to, error))?;
        }
        Ok(())
    }
}

impl Drop for ReaderFolder {
    fn drop(&mut self) {
        // What stays is swept by the next reader.
        if std::fs::remove_dir_all(&self.folder).is_ok() {
            drop(self.lock.take());
            let _ = std::fs::remove_file(&self.lock_path);
        }
    }
}

/// Removes what dead processes left. Best effort: a reader works beside leftovers.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(lock) = File::options().write(true).open(&path) else { continue };
        if lock.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(path.with_extension(""));
            let _ = std::fs::remove_file(&path);
        }
    }
}
