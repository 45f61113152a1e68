//! Bytes put aside between listing and fetching: in memory while they are few, then in an unnamed file.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tempfile::SpooledTempFile;

/// Up to here nothing touches the disk.
const MEMORY_BYTES: usize = 32 << 20;

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    start: u64,
    length: usize,
}

/// The pieces of one listing.
#[derive(Debug)]
pub(super) struct Spool {
    file: Mutex<(SpooledTempFile, u64)>,
}

impl Spool {
    /// Opens an empty one; its file, should there be one, is in `folder` or where the system keeps such.
    pub fn new(folder: Option<&Path>) -> Self {
        let file = match folder {
            Some(folder) => SpooledTempFile::new_in(MEMORY_BYTES, folder),
            None => SpooledTempFile::new(MEMORY_BYTES),
        };
        Self { file: Mutex::new((file, 0)) }
    }

    pub fn put(&self, bytes: &[u8]) -> io::Result<Piece> {
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, end) = &mut *held;
        file.seek(SeekFrom::Start(*end))?;
        file.write_all(bytes)?;
        let piece = Piece { start: *end, length: bytes.len() };
        *end += bytes.len() as u64;
        Ok(piece)
    }

    pub fn get(&self, piece: Piece) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; piece.length];
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        held.0.seek(SeekFrom::Start(piece.start))?;
        held.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_from_memory_and_from_the_disk() {
        let spool = Spool::new(None);
        let first = spool.put(b"first").unwrap();
        assert_eq!(spool.get(first).unwrap(), b"first");
        let large = vec![3; MEMORY_BYTES];
        let second = spool.put(&large).unwrap();
        let third = spool.put(b"third").unwrap();
        assert_eq!(spool.get(second).unwrap(), large);
        assert_eq!(spool.get(first).unwrap(), b"first");
        assert_eq!(spool.get(third).unwrap(), b"third");
    }
}
