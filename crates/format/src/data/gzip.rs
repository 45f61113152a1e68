//! Gzipped text, unpacked as it is read, within reason.

use std::fs::File;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// Text shrinks to a tenth, repetitive logs to a fiftieth; deflate's own bound, which bombs come close to, is 1,032.
const MOST_TIMES: u64 = 250;
/// Up to here the ratio does not matter.
const HARMLESS_BYTES: u64 = 64 << 20;

/// A reader that gives up on files that unpack to much more than any text does.
pub(super) struct Unpacked {
    inner: MultiGzDecoder<File>,
    limit: u64,
    bytes: u64,
}

impl Unpacked {
    pub fn new(file: File) -> Self {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let limit = size.saturating_mul(MOST_TIMES).max(HARMLESS_BYTES);
        Self { inner: MultiGzDecoder::new(file), limit, bytes: 0 }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        if self.bytes > self.limit {
            let message = format!("it unpacks to more than {MOST_TIMES} times its size");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(count)
    }
}
