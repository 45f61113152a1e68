//! A folder of data: every data file below it, in order of their paths, one after the other. Other files (images
//! that rows point to) are passed over.

use std::path::{Path, PathBuf};

use super::{DataError, DataRows, Row, format_of};

/// Deeper folders than this are taken for a loop of links.
const MAX_DEPTH: usize = 32;

pub(super) fn open(path: &Path) -> Result<FolderRows, DataError> {
    let mut files = Vec::new();
    collect(path, 0, &mut files)?;
    if files.is_empty() {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    files.reverse();
    Ok(FolderRows { files, current: None, next_row: 0 })
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let read = |source| DataError::read(folder, source);
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(read)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(read)?;
    entries.sort();
    for entry in entries {
        let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden {
            continue;
        }
        if entry.is_dir() {
            if depth < MAX_DEPTH {
                collect(&entry, depth + 1, files)?;
            }
        } else if format_of(&entry).is_some() {
            files.push(entry);
        }
    }
    Ok(())
}

pub(super) struct FolderRows {
    /// Files to come, the next one last.
    files: Vec<PathBuf>,
    current: Option<DataRows>,
    next_row: u64,
}

impl Iterator for FolderRows {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.current.as_mut().and_then(Iterator::next) {
                return Some(row.map(|row| {
                    self.next_row += 1;
                    Row { line_number: self.next_row - 1, ..row }
                }));
            }
            let file = self.files.pop()?;
            match DataRows::open(&file) {
                Ok(rows) => self.current = Some(rows),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
