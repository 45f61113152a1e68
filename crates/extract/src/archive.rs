//! Zip packages: office documents and e-books. Every byte that comes out is counted, whatever the package claims.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::document::Limits;
use crate::error::ExtractError;

/// Unpacked bytes per packed byte above which a part is no document. Deflate reaches 1032; the most repetitive sheets
/// that we met reach 90.
const MAX_RATIO: u64 = 400;
/// Below this many unpacked bytes the ratio does not matter.
const RATIO_FROM_BYTES: u64 = 32 << 20;

/// A zip package that is open.
pub(crate) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Names in lower case with forward slashes to where they are.
    names: HashMap<String, usize>,
    left: u64,
    limit: u64,
}

impl<'a> Archive<'a> {
    /// Opens a package and reads its list of parts.
    pub fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, ExtractError> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| ExtractError::Damaged {
            reason: format!("its zip package cannot be opened ({})", reason(&error)),
        })?;
        if zip.len() > limits.max_parts {
            return Err(ExtractError::TooLarge {
                what: "the number of parts in its zip package".to_owned(),
                limit: limits.max_parts.to_string(),
            });
        }
        let mut names = HashMap::new();
        for at in 0..zip.len() {
            if let Some(Ok(name)) = zip.name_for_index(at) {
                names.entry(normal(&name)).or_insert(at);
            }
        }
        Ok(Self { zip, names, left: limits.max_unpacked_bytes, limit: limits.max_unpacked_bytes })
    }

    /// Whether a part exists.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(&normal(name))
    }

    /// Whether a part with this ending exists.
    pub fn has_ending(&self, ending: &str) -> bool {
        self.names.keys().any(|name| name.ends_with(ending))
    }

    /// Names of all parts, sorted; lower case with forward slashes.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.keys().cloned().collect();
        names.sort();
        names
    }

    /// Unpacks a part; `None` when there is none of this name.
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, ExtractError> {
        let Some(at) = self.names.get(&normal(name)).copied() else { return Ok(None) };
        let damaged =
            |reason: String| ExtractError::Damaged { reason: format!("its part `{name}` {reason}") };
        let part = match self.zip.by_index(at) {
            Ok(part) => part,
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED)) => {
                return Err(ExtractError::NeedsPassword);
            }
            Err(error) => return Err(damaged(format!("cannot be unpacked ({})", reason(&error)))),
        };
        let packed = part.compressed_size().max(1);
        let allowed = self.left.min((packed.saturating_mul(MAX_RATIO)).max(RATIO_FROM_BYTES));
        let mut bytes = Vec::new();
        let read = part.take(allowed + 1).read_to_end(&mut bytes);
        let count = bytes.len() as u64;
        if count > allowed {
            let (what, limit) = if allowed == self.left {
                ("what its zip package unpacks to".to_owned(), format!("{} bytes", self.limit))
            } else {
                (format!("the compression of its part `{name}`"), format!("{MAX_RATIO} to 1"))
            };
            return Err(ExtractError::TooLarge { what, limit });
        }
        self.left -= count;
        read.map_err(|error| damaged(format!("cannot be unpacked ({error})")))?;
        Ok(Some(bytes))
    }

    /// Unpacks every part once, only to know that all of it stays within the limits: for readers that unpack by
    /// themselves. Parts that cannot be unpacked are theirs to report.
    pub fn check_sizes(&mut self) -> Result<(), ExtractError> {
        for name in self.names() {
            if let Err(error @ (ExtractError::TooLarge { .. } | ExtractError::NeedsPassword)) =
                self.read(&name)
            {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// A name as it is looked up: producers differ in case, slashes and a leading slash.
fn normal(name: &str) -> String {
    name.replace('\\', "/").trim_start_matches('/').to_ascii_lowercase()
}

fn reason(error: &ZipError) -> String {
    let text = error.to_string();
    text.trim_end_matches('.').to_owned()
}

/// `target` of a link in part `base`, as a part name: `..` and `.` resolved, never above the root.
pub(crate) fn resolve(base: &str, target: &str) -> String {
    let target = target.split(['#', '?']).next().unwrap_or(target);
    let mut parts: Vec<&str> = Vec::new();
    if !target.starts_with('/') {
        parts.extend(base.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev());
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    percent_decoded(&parts.join("/"))
}

/// `%20` and the like decoded, where that gives UTF-8.
fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    /// A package of parts, for tests of all readers.
    pub(crate) fn pack(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in parts {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn parts_are_found_however_they_are_written() {
        let bytes = pack(&[("Word\\Document.xml", "<a/>")]);
        let mut archive = Archive::open(&bytes, &Limits::default()).unwrap();
        assert_eq!(archive.read("/word/document.xml").unwrap().unwrap(), b"<a/>");
        assert_eq!(archive.read("word/other.xml").unwrap(), None);
    }

    #[test]
    fn a_bomb_is_refused_by_what_comes_out() {
        let zeros = "0".repeat(40 << 20);
        let bytes = pack(&[("a.xml", &zeros)]);
        let mut archive = Archive::open(&bytes, &Limits::default()).unwrap();
        let error = archive.read("a.xml").unwrap_err();
        assert!(matches!(error, ExtractError::TooLarge { .. }), "{error}");

        let limits = Limits { max_unpacked_bytes: 1000, ..Limits::default() };
        let bytes = pack(&[("a", &"ab".repeat(300)), ("b", &"cd".repeat(300))]);
        let mut archive = Archive::open(&bytes, &limits).unwrap();
        archive.read("a").unwrap();
        assert!(matches!(archive.read("b").unwrap_err(), ExtractError::TooLarge { .. }));
    }

    #[test]
    fn too_many_parts_are_refused() {
        let bytes = pack(&[("a", ""), ("b", ""), ("c", "")]);
        let limits = Limits { max_parts: 2, ..Limits::default() };
        assert!(matches!(Archive::open(&bytes, &limits), Err(ExtractError::TooLarge { .. })));
    }

    #[test]
    fn a_wrong_checksum_is_damage() {
        let mut bytes = pack(&[("a.xml", "hello hello hello")]);
        // The checksum stands at byte 14 of the local header and at byte 16 of the entry in the list of parts.
        let list = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        bytes[14] ^= 1;
        bytes[list + 16] ^= 1;
        let mut archive = Archive::open(&bytes, &Limits::default()).unwrap();
        assert!(matches!(archive.read("a.xml").unwrap_err(), ExtractError::Damaged { .. }));
    }

    #[test]
    fn links_stay_inside() {
        assert_eq!(resolve("ppt/slides/slide1.xml", "../media/a.png"), "ppt/media/a.png");
        assert_eq!(resolve("a/b.xml", "../../../../etc/passwd"), "etc/passwd");
        assert_eq!(resolve("a/b.xml", "/c/d.xml#x"), "c/d.xml");
        assert_eq!(resolve("OEBPS/a.opf", "one%20two.xhtml"), "OEBPS/one two.xhtml");
    }
}
