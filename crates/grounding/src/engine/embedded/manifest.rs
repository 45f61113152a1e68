//! `engine.json`: what an embedded engine holds and which files it is made of. Written last; a folder without it was
//! not finished.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{file_error, write_atomically};
use crate::engine::{EngineError, VectorSettings};

/// Its name in the engine's folder.
pub(super) const FILE: &str = "engine.json";
/// Format of the folder.
const FORMAT: u32 = 1;
/// Readers' own folders, no part of what was written.
pub(super) const READERS: &str = "readers";

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Of the folder.
    format: u32,
    /// Chunks that are searched.
    pub searched: u64,
    /// Words in all of them.
    pub words: u64,
    /// Settings of the vectors, if there are any.
    pub vectors: Option<VectorSettings>,
    /// How many vectors there are.
    pub vector_count: u64,
    /// Files with `/` between folders.
    files: BTreeMap<String, FileRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileRecord {
    bytes: u64,
    blake3: String,
}

impl Manifest {
    /// Digests all that a finished engine's folder holds, and writes the manifest.
    pub(super) fn write(
        folder: &Path,
        searched: u64,
        words: u64,
        vectors: Option<VectorSettings>,
        vector_count: u64,
    ) -> Result<(), EngineError> {
        let mut files = BTreeMap::new();
        for path in files_below(folder)? {
            let name = name_in(folder, &path);
            if name != FILE && !name.starts_with(READERS) {
                files.insert(name, record(&path)?);
            }
        }
        let manifest = Self { format: FORMAT, searched, words, vectors, vector_count, files };
        let json = serde_json::to_vec(&manifest).map_err(|error| EngineError::Internal(error.to_string()))?;
        write_atomically(&folder.join(FILE), &json)
    }

    /// Reads it, and looks whether all files are there in their sizes.
    pub(super) fn open(folder: &Path) -> Result<Self, EngineError> {
        let path = folder.join(FILE);
        let json = match std::fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => {
                return Err(damaged(folder, "it was not written to its end"));
            }
            Err(error) => return Err(file_error(&path, error)),
        };
        let manifest: Self = serde_json::from_slice(&json)
            .map_err(|error| damaged(folder, &format!("`{FILE}` cannot be read: {error}")))?;
        if manifest.format != FORMAT {
            let reason = format!("its format is {}, and known is {FORMAT}", manifest.format);
            return Err(damaged(folder, &reason));
        }
        for (name, expected) in &manifest.files {
            let found = match std::fs::metadata(folder.join(name)) {
                Ok(found) => found.len(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(damaged(folder, &format!("`{name}` is missing")));
                }
                Err(error) => return Err(file_error(&folder.join(name), error)),
            };
            if found != expected.bytes {
                let reason = format!("`{name}` has {found} bytes instead of {}", expected.bytes);
                return Err(damaged(folder, &reason));
            }
        }
        Ok(manifest)
    }

    /// Reads every byte and compares it with what was written.
    pub(super) fn verify(&self, folder: &Path) -> Result<(), EngineError> {
        for (name, expected) in &self.files {
            let path = folder.join(name);
            if !path.exists() {
                return Err(damaged(folder, &format!("`{name}` is missing")));
            }
            let found = record(&path)?;
            if found.blake3 != expected.blake3 {
                return Err(damaged(folder, &format!("`{name}` is not what was written")));
            }
        }
        Ok(())
    }
}

pub(super) fn damaged(folder: &Path, reason: &str) -> EngineError {
    EngineError::Damaged { path: folder.to_owned(), reason: reason.to_owned() }
}

fn record(path: &Path) -> Result<FileRecord, EngineError> {
    let mut file = std::fs::File::open(path).map_err(|error| file_error(path, error))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(|error| file_error(path, error))?;
        if read == 0 {
            return Ok(FileRecord { bytes, blake3: hasher.finalize().to_hex().to_string() });
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// All files below a folder, sorted.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| file_error(&folder, error))? {
            let entry = entry.map_err(|error| file_error(&folder, error))?;
            let kind = entry.file_type().map_err(|error| file_error(&entry.path(), error))?;
            match kind.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    Ok(files)
}

fn name_in(folder: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(folder).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
