//! Files written whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::ApiError;

/// Writes beside the target and renames: a reader sees the old file or the new one, never a half.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ApiError> {
    let beside = beside(path);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|error| {
        // The half file is of no use; that it may stay does not matter more than the error itself.
        let _ = std::fs::remove_file(&beside);
        ApiError::file("write", path, &error)
    })
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Most bytes of a flow file or source; more is no text that a person wrote.
pub const MAX_SOURCE_BYTES: u64 = 16 << 20;

/// Reads a file that must not be larger than [`MAX_SOURCE_BYTES`].
pub fn read_source(path: &Path) -> Result<Vec<u8>, ApiError> {
    let size = std::fs::metadata(path).map_err(|error| ApiError::file("read", path, &error))?;
    if !size.is_dir() && !size.is_file() {
        // A device or pipe has no size, and may have no end.
        let message = format!("`{}` is a device or pipe, and a file is needed", path.display());
        return Err(ApiError::wrong_use("file", message));
    }
    if size.is_dir() {
        return Err(ApiError::wrong_use(
            "file",
            format!("`{}` is a folder, and a file is needed", path.display()),
        ));
    }
    if size.len() > MAX_SOURCE_BYTES {
        return Err(ApiError::wrong_use(
            "file/too_large",
            format!("`{}` has {} bytes, and at most {MAX_SOURCE_BYTES} are read", path.display(), size.len()),
        ));
    }
    std::fs::read(path).map_err(|error| ApiError::file("read", path, &error))
}
