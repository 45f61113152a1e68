//! Wheels: zip archives of strangers, from which named files are copied out.
//!
//! Nothing is written under a name that the archive gives, so there is no path to escape by; nothing is copied beyond
//! the size that the record promises, so there is no bomb to go off.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use zip::ZipArchive;

use crate::digest::{Measured, copy_measured};
use crate::error::CatalogError;

/// Entries of an archive that is looked through; the largest wheels have some ten thousand.
const MOST_ENTRIES: usize = 100_000;

/// An opened wheel.
pub(crate) struct Archive {
    name: String,
    zip: ZipArchive<BufReader<File>>,
    entries: Vec<String>,
}

impl Archive {
    /// Opens an archive and reads its list.
    pub fn open(path: &Path, name: &str) -> Result<Self, CatalogError> {
        let broken = |reason: String| CatalogError::Archive { archive: name.to_owned(), reason };
        let file = File::open(path).map_err(crate::error::disk(path))?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| broken(error.to_string()))?;
        if zip.len() > MOST_ENTRIES {
            return Err(broken(format!("it has more than {MOST_ENTRIES} entries")));
        }
        // A name that is no text is none of those we look for.
        let entries =
            zip.file_names().filter_map(|entry| entry.ok().map(|entry| entry.into_owned())).collect();
        Ok(Self { name: name.to_owned(), zip, entries })
    }

    /// The folder of the archive that holds every one of `paths`, as a prefix.
    pub fn folder_with(&self, paths: &[&str]) -> Result<String, CatalogError> {
        let Some(first) = paths.first() else { return Ok(String::new()) };
        let prefixes = self.entries.iter().filter_map(|entry| {
            let prefix = entry.strip_suffix(first)?;
            (prefix.is_empty() || prefix.ends_with('/')).then_some(prefix)
        });
        let holds = |prefix: &str, path: &str| {
            self.entries.iter().any(|entry| entry.strip_prefix(prefix) == Some(path))
        };
        let mut found: Vec<&str> =
            prefixes.filter(|prefix| paths.iter().all(|path| holds(prefix, path))).collect();
        found.sort_by_key(|prefix| prefix.len());
        match found.as_slice() {
            [] => Err(self.broken(format!("it does not hold `{}`", paths.join("`, `")))),
            [shortest, ..] => Ok((*shortest).to_owned()),
        }
    }

    /// The one entry that is a part of `path`: `PATH.partNN`, in any folder.
    pub fn part_of(&self, path: &str) -> Result<String, CatalogError> {
        let is_part = |entry: &&String| {
            let name = entry.rsplit('/').next().unwrap_or(entry);
            let Some(number) = name.strip_prefix(path).and_then(|rest| rest.strip_prefix(".part")) else {
                return false;
            };
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        };
        let mut parts = self.entries.iter().filter(is_part);
        match (parts.next(), parts.next()) {
            (Some(part), None) => Ok(part.clone()),
            (None, _) => Err(self.broken(format!("it holds no part of `{path}`"))),
            _ => Err(self.broken(format!("it holds several parts of `{path}`"))),
        }
    }

    /// Copies an entry, at most `limit` bytes of it.
    pub fn copy(&mut self, entry: &str, to: &mut dyn Write, limit: u64) -> Result<Measured, CatalogError> {
        let name = self.name.clone();
        let broken = |reason: String| CatalogError::Archive { archive: name.clone(), reason };
        let mut file = self.zip.by_name(entry).map_err(|error| broken(error.to_string()))?;
        if file.encrypted() || !file.is_file() {
            return Err(broken(format!("entry `{entry}` is not a plain file")));
        }
        let measured = copy_measured(&mut file, to, limit).map_err(|error| broken(error.to_string()))?;
        if measured.bytes > limit {
            return Err(CatalogError::TooLarge { file: entry.to_owned(), limit });
        }
        Ok(measured)
    }

    fn broken(&self, reason: String) -> CatalogError {
        CatalogError::Archive { archive: self.name.clone(), reason }
    }
}
