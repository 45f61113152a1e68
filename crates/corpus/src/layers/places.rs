//! Where the records of a pack stand, and the side file that tells it quickly at opening.
//!
//! The side file is a hint that is checked: its own digest, the pack's epoch, and the last record it names must
//! agree with the pack. Where it does not, or is missing, or ends early, the pack itself is read.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, Write};
use std::path::Path;

use super::Digest;

/// First bytes of a side file; the digits are its version.
const MAGIC: [u8; 8] = *b"FBPLAC01";
/// Magic, epoch, covered bytes, count.
const HEAD: usize = 32;
/// Digest, offset, length.
const ENTRY: usize = 44;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset of its header, or [`Place::OBJECT`].
    pub offset: u64,
    /// Length of its payload.
    pub length: u32,
    /// Found damaged; counts as absent.
    pub is_damaged: bool,
}

impl Place {
    /// The record has a file of its own.
    pub const OBJECT: u64 = u64::MAX;
}

/// Digests are random already, so eight of their bytes are their hash.
#[derive(Default)]
pub(super) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length of the array in front of it.
    fn write_usize(&mut self, _: usize) {}
}

pub(super) type Places = HashMap<Digest, Place, BuildHasherDefault<FirstBytes>>;

/// A side file as read.
pub(super) struct SideFile {
    pub places: Places,
    /// Bytes of the pack that it tells of.
    pub covered: u64,
    /// The record that ends there.
    pub last: Option<(Digest, Place)>,
}

/// Reads a side file; `None` where it is missing, damaged, or of another pack.
pub(super) fn load(path: &Path, epoch: u64) -> Option<SideFile> {
    let bytes = std::fs::read(path).ok()?;
    let (body, check) = bytes.split_last_chunk::<32>()?;
    let head = body.first_chunk::<HEAD>()?;
    let number = |at: usize| head[at..at + 8].first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    let (found_epoch, covered, count) = (number(8)?, number(16)?, number(24)?);
    let entries = &body[HEAD..];
    let is_whole = entries.len() % ENTRY == 0 && (entries.len() / ENTRY) as u64 == count;
    if head[..8] != MAGIC || found_epoch != epoch || !is_whole || blake3::hash(body).as_bytes() != check {
        return None;
    }
    let mut places = Places::with_capacity_and_hasher(entries.len() / ENTRY, BuildHasherDefault::default());
    let mut last: Option<(Digest, Place)> = None;
    for entry in entries.chunks_exact(ENTRY) {
        let digest = Digest(*entry.first_chunk::<32>()?);
        let offset = u64::from_le_bytes(*entry[32..].first_chunk::<8>()?);
        let length = u32::from_le_bytes(*entry[40..].first_chunk::<4>()?);
        let place = Place { offset, length, is_damaged: false };
        if last.is_none_or(|(_, last)| last.offset < offset) {
            last = Some((digest, place));
        }
        places.insert(digest, place);
    }
    Some(SideFile { places, covered, last })
}

/// Writes a side file for the first `covered` bytes of a pack, all or nothing.
pub(super) fn save(path: &Path, epoch: u64, covered: u64, places: &Places) -> io::Result<()> {
    let in_pack = || places.iter().filter(|(_, place)| place.offset < covered && !place.is_damaged);
    let count = in_pack().count();
    let mut bytes = Vec::with_capacity(HEAD + count * ENTRY + 32);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&epoch.to_le_bytes());
    bytes.extend_from_slice(&covered.to_le_bytes());
    bytes.extend_from_slice(&(count as u64).to_le_bytes());
    for (digest, place) in in_pack() {
        bytes.extend_from_slice(&digest.0);
        bytes.extend_from_slice(&place.offset.to_le_bytes());
        bytes.extend_from_slice(&place.length.to_le_bytes());
    }
    let check = blake3::hash(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    let aside = path.with_extension("aside");
    let mut file = File::create(&aside)?;
    file.write_all(&bytes)?;
    drop(file);
    std::fs::rename(&aside, path)
}
