//! SHA-256 over streams: what every file of a model is known by.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Large enough that system calls do not show, small enough for any machine.
const BUFFER_BYTES: usize = 256 << 10;

/// Length and digest of bytes, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    pub bytes: u64,
    pub sha256: String,
}

/// Copies everything, at most `limit` bytes and one more, and tells what passed through.
pub(crate) fn copy_measured(from: &mut dyn Read, to: &mut dyn Write, limit: u64) -> io::Result<Measured> {
    let mut hasher = Sha256::new();
    let mut bytes = 0_u64;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut from = from.take(limit.saturating_add(1));
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(Measured { bytes, sha256: hex(&hasher.finalize()) });
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        bytes += count as u64;
    }
}

/// Measures a file.
pub(crate) fn measure(path: &Path) -> io::Result<Measured> {
    copy_measured(&mut File::open(path)?, &mut io::sink(), u64::MAX)
}

/// Digest of a text.
pub(crate) fn sha256_of(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// True for 64 lower-case hexadecimal digits.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_text_has_its_known_digest() {
        let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_of(""), known);
        assert!(is_sha256(known));
        assert!(!is_sha256(&known.to_uppercase()), "records write digests in lower case");
    }

    #[test]
    fn copying_stops_one_byte_past_the_limit() {
        let mut copied = Vec::new();
        let measured = copy_measured(&mut &b"0123456789"[..], &mut copied, 4).unwrap();
        assert_eq!((measured.bytes, copied.as_slice()), (5, &b"01234"[..]));
    }
}
