//! Tables that chunks point into by line number: what a document's chunks share, and headings. A filter is answered
//! once for each line instead of once for each chunk, without any bound on the length of a line.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use flowbench_corpus::chunk::Chunk;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::file_error;
use super::manifest::damaged;
use crate::engine::{EngineError, filter::Condition};

/// Name of the table of documents.
pub(super) const DOCUMENTS: &str = "documents.jsonl";
/// Name of the table of headings.
pub(super) const HEADINGS: &str = "headings.jsonl";

/// What the chunks of a document share.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DocumentFacts {
    pub document: String,
    origin: String,
    language: String,
    metadata: Map<String, Value>,
}

impl DocumentFacts {
    pub(super) fn of(chunk: &Chunk) -> Self {
        Self {
            document: chunk.source.document.clone(),
            origin: chunk.origin.clone(),
            language: chunk.language.clone(),
            metadata: chunk.metadata.clone(),
        }
    }

    pub(super) fn hold(&self, condition: &Condition) -> bool {
        condition.holds_for_document(&self.document, &self.origin, &self.language, &self.metadata)
    }
}

/// Lines on their way to a file.
#[derive(Debug, Default)]
pub(super) struct TableWriter {
    lines: HashMap<String, u64>,
    count: u64,
}

impl TableWriter {
    /// Goes on from a file. Lines that were taken out keep their numbers.
    pub(super) fn from_earlier(path: &Path) -> Result<Self, EngineError> {
        let mut table = Self::default();
        read_lines(path, |number, line| {
            if !line.is_empty() {
                table.lines.insert(line.to_owned(), number);
            }
            table.count = number + 1;
            Ok(())
        })?;
        Ok(table)
    }

    /// Number of a line that holds this value.
    pub(super) fn number<T: Serialize>(&mut self, value: &T) -> Result<u64, EngineError> {
        let line = serde_json::to_string(value).map_err(|error| EngineError::Internal(error.to_string()))?;
        let next = self.count;
        let number = *self.lines.entry(line).or_insert(next);
        if number == next {
            self.count += 1;
        }
        Ok(number)
    }

    /// Writes the lines that are still pointed to; others become empty, so that nothing is kept of what was deleted.
    pub(super) fn write(self, path: &Path, is_used: impl Fn(u64) -> bool) -> Result<(), EngineError> {
        let mut lines: Vec<Option<String>> = Vec::new();
        lines.resize_with(usize::try_from(self.count).unwrap_or(0), || None);
        for (line, number) in self.lines {
            let place = usize::try_from(number).ok().and_then(|number| lines.get_mut(number));
            if let Some(place) = place.filter(|_| is_used(number)) {
                *place = Some(line);
            }
        }
        let failed = |error| file_error(path, error);
        // An earlier generation may share the file.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = BufWriter::new(std::fs::File::create_new(path).map_err(failed)?);
        for line in lines {
            file.write_all(line.as_deref().unwrap_or_default().as_bytes()).map_err(failed)?;
            file.write_all(b"\n").map_err(failed)?;
        }
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)
    }
}

/// A table that is read when a filter asks for it.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
}

impl Table {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self { path: folder.join(name) }
    }

    /// For each line whether something holds for its value.
    pub(super) fn evaluate<T: serde::de::DeserializeOwned>(
        &self,
        mut holds: impl FnMut(T) -> bool,
    ) -> Result<Vec<bool>, EngineError> {
        let mut answers = Vec::new();
        read_lines(&self.path, |_, line| {
            answers.push(match line.is_empty() {
                true => false,
                false => holds(self.value(line)?),
            });
            Ok(())
        })?;
        Ok(answers)
    }

    fn value<T: serde::de::DeserializeOwned>(&self, line: &str) -> Result<T, EngineError> {
        serde_json::from_str(line).map_err(|error| {
            let folder = self.path.parent().unwrap_or(&self.path);
            damaged(folder, &format!("`{}` cannot be read: {error}", self.path.display()))
        })
    }
}

/// Reads lines with their numbers.
pub(super) fn read_lines(
    path: &Path,
    mut each: impl FnMut(u64, &str) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let file = std::fs::File::open(path).map_err(|error| file_error(path, error))?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        each(number as u64, &line.map_err(|error| file_error(path, error))?)?;
    }
    Ok(())
}
