//! One file, read whole while it holds still.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::Problem;

/// What a file looks like from outside; another look means that it may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub size: u64,
    /// Nanoseconds since 1970, negative before.
    modified: Option<i128>,
}

impl Look {
    pub fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().map(|time| match time.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_nanos().cast_signed(),
            Err(before) => -before.duration().as_nanos().cast_signed(),
        });
        Self { size: metadata.len(), modified }
    }

    /// As a stamp of an entry.
    pub fn stamp(self) -> String {
        match self.modified {
            Some(nanoseconds) => format!("{}-{nanoseconds}", self.size),
            None => self.size.to_string(),
        }
    }

    pub fn modified_ms(self) -> Option<u64> {
        self.modified.and_then(|nanoseconds| u64::try_from(nanoseconds / 1_000_000).ok())
    }
}

/// Why a file could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The system says no.
    Io(io::Error),
    /// It is a device, a pipe or the like.
    NoFile,
    /// It is too large.
    TooLarge {
        /// Its size, as far as known.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// It changed each time it was read.
    Restless,
}

impl ReadError {
    /// As a problem of the file of this name.
    pub fn told(self, place: &str) -> Problem {
        let (message, hint) = match self {
            Self::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => ("it is not there any more".to_owned(), None),
                io::ErrorKind::PermissionDenied => (
                    "there is no permission to read it".to_owned(),
                    Some("give yourself the permission, or leave it out with `exclude`"),
                ),
                _ => (format!("it cannot be read: {error}"), None),
            },
            Self::NoFile => ("it is no ordinary file".to_owned(), None),
            Self::TooLarge { size, limit } => (
                format!("it is larger than allowed: {}, and at most {} are read", bytes(size), bytes(limit)),
                Some("split it, or raise `max_bytes` of its source"),
            ),
            Self::Restless => (
                "it changed while it was read, twice".to_owned(),
                Some("build again when nothing writes to it, or leave it out with `exclude`"),
            ),
        };
        Problem { place: place.to_owned(), message, hint: hint.map(str::to_owned) }
    }
}

/// A size in words.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// Reads a file that must be within `root` (links on the way do not lead out of it), whole and unchanged.
pub(super) fn read(root: &Path, path: &Path, limit: u64) -> Result<(Vec<u8>, Look), ReadError> {
    // A pipe would keep us waiting at opening, so look first.
    let metadata = path.symlink_metadata().map_err(ReadError::Io)?;
    let real = path.canonicalize().map_err(ReadError::Io)?;
    if !metadata.is_file() || !real.starts_with(root) {
        return Err(ReadError::NoFile);
    }
    let look = || {
        let metadata = path.symlink_metadata()?;
        Ok(Look::of(&metadata))
    };
    read_steadily(look, |expected| read_once(path, expected, limit), limit)
}

fn read_once(path: &Path, expected: u64, limit: u64) -> Result<Vec<u8>, ReadError> {
    let file = File::open(path).map_err(ReadError::Io)?;
    if !file.metadata().map_err(ReadError::Io)?.is_file() {
        return Err(ReadError::NoFile);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(expected.min(limit)).unwrap_or(0));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { size: bytes.len() as u64, limit });
    }
    Ok(bytes)
}

/// Looks, reads, looks again, and reads once more where the two looks differ.
fn read_steadily(
    mut look: impl FnMut() -> io::Result<Look>,
    mut read: impl FnMut(u64) -> Result<Vec<u8>, ReadError>,
    limit: u64,
) -> Result<(Vec<u8>, Look), ReadError> {
    for _ in 0..2 {
        let before = look().map_err(ReadError::Io)?;
        if before.size > limit {
            return Err(ReadError::TooLarge { size: before.size, limit });
        }
        let bytes = read(before.size)?;
        if look().map_err(ReadError::Io)? == before && bytes.len() as u64 == before.size {
            return Ok((bytes, before));
        }
    }
    Err(ReadError::Restless)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;

    /// Reads a file that is written to during its first `changes` readings.
    fn read_while_written(changes: usize) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "start").unwrap();
        let readings = Cell::new(0);
        let look = || Ok(Look::of(&fs::metadata(&path)?));
        let read = |_| {
            let bytes = fs::read(&path).unwrap();
            readings.set(readings.get() + 1);
            if readings.get() <= changes {
                fs::write(&path, format!("start{}", " and more".repeat(readings.get()))).unwrap();
            }
            Ok(bytes)
        };
        let found = read_steadily(look, read, 1000);
        found.map(|(bytes, _)| bytes).map_err(|error| error.told("a.txt").message)
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_read_again_once() {
        assert_eq!(read_while_written(0).unwrap(), b"start");
        assert_eq!(read_while_written(1).unwrap(), b"start and more");
        assert_eq!(read_while_written(2).unwrap_err(), "it changed while it was read, twice");
    }

    #[test]
    fn what_the_system_refuses_is_told_in_words() {
        let denied = ReadError::Io(io::ErrorKind::PermissionDenied.into()).told("a.txt");
        assert_eq!(denied.message, "there is no permission to read it");
        assert_eq!(
            denied.hint.as_deref(),
            Some("give yourself the permission, or leave it out with `exclude`")
        );
        let gone = ReadError::Io(io::ErrorKind::NotFound.into()).told("a.txt");
        assert_eq!(gone.message, "it is not there any more");
        let large = ReadError::TooLarge { size: 3 << 30, limit: 256 << 20 }.told("a.txt");
        assert_eq!(large.message, "it is larger than allowed: 3.0 GiB, and at most 256.0 MiB are read");
    }
}
