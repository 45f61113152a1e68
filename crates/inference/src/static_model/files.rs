//! The files of a model by their path within it, in memory: from a folder, from a store that keeps them under other
//! names, or from the program itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use super::StaticModelError;

/// Bytes of a model's files, by path within the model.
#[derive(Clone, Debug, Default)]
pub struct FileSet {
    files: BTreeMap<String, Cow<'static, [u8]>>,
}

impl FileSet {
    /// Files that are part of the program. Copies nothing.
    pub fn from_static(files: &[(&'static str, &'static [u8])]) -> Self {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), Cow::Borrowed(*bytes))).collect();
        Self { files }
    }

    /// Reads those of `paths` that `folder` has.
    pub fn read(folder: &Path, paths: &[&str]) -> Result<Self, StaticModelError> {
        let there = paths.iter().map(|path| (*path, folder.join(path)));
        Self::read_from(there.filter(|(_, location)| location.is_file()))
    }

    /// Reads files that lie anywhere: path within the model, and where it is.
    pub fn read_from<'a, L: AsRef<Path>>(
        files: impl IntoIterator<Item = (&'a str, L)>,
    ) -> Result<Self, StaticModelError> {
        let mut set = Self::default();
        for (path, location) in files {
            let bytes = std::fs::read(location.as_ref())
                .map_err(|source| StaticModelError::Read { path: location.as_ref().to_owned(), source })?;
            set.insert(path, bytes);
        }
        Ok(set)
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) {
        self.files.insert(path.into(), bytes.into());
    }

    /// A file's bytes.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(AsRef::as_ref)
    }

    /// Takes a file out.
    pub(super) fn take(&mut self, path: &str) -> Option<Cow<'static, [u8]>> {
        self.files.remove(path)
    }

    /// Paths and bytes, in order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_ref()))
    }
}
