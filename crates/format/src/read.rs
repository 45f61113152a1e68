//! Reading files of a workspace with a bound on their size.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be opened or read.
    #[error("file `{}` cannot be read: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than what is read of its kind.
    #[error("file `{}` has {} MiB, and at most {} MiB are read", path.display(), bytes >> 20, limit >> 20)]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
}

impl ReadError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the path and the permissions",
            Self::TooLarge { .. } => "move data out of it into a file of rows",
        }
    }
}

/// Reads a whole file of at most `limit` bytes. The size is looked at before anything is read, and held to
/// while reading, so that a growing file or a device cannot take all memory.
pub fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")));
    }
    let limit_bytes = limit as u64;
    let too_large = |bytes| ReadError::TooLarge { path: path.to_owned(), bytes, limit: limit_bytes };
    if metadata.len() > limit_bytes {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_limit_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.yaml");
        let file = File::create(&path).unwrap();
        file.set_len(100 << 20).unwrap();
        let error = read_limited(&path, 16 << 20).unwrap_err().to_string();
        assert!(error.ends_with("has 100 MiB, and at most 16 MiB are read"), "{error}");
        file.set_len(3).unwrap();
        assert_eq!(read_limited(&path, 3).unwrap(), [0, 0, 0]);
    }
}
