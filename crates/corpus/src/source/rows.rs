//! Rows as documents: JSON lines, CSV, TSV, JSON, Parquet.
//!
//! Listing reads the file once and puts the text of each row aside, so that what is fetched is what was listed, in
//! any order and for every format.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use flowbench_format::data::{DataError, DataRows, Row};
use serde_json::{Map, Value};

use super::file::Look;
use super::metadata::Given;
use super::open::{Common, Listing};
use super::spool::{Piece, Spool};
use super::{Entry, Fetched, Problem, SourceError, SourceSpec, names};

/// Problems told one by one; the rest is counted.
const MOST_PROBLEMS: usize = 100;
/// Longest id of a row, in bytes: what any file system takes for a name.
const LONGEST_ID: usize = 255;
/// Most that a gzipped Parquet file may unpack to.
const MOST_UNPACKED: u64 = 8 << 30;

/// A text with columns in it: `{{title}}: {{text}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    pub fn parse(key: &'static str, text: &str) -> Result<Self, SourceError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let Some(end) = rest[start..].find("}}") else {
                let reason = format!("`{}` has no closing `}}}}`", &rest[start..]);
                return Err(SourceError::Setting { key, reason });
            };
            let column = rest[start + 2..start + end].trim();
            if column.is_empty() || column.contains("{{") {
                let reason = format!("`{}` names no column", &rest[start..start + end + 2]);
                return Err(SourceError::Setting { key, reason });
            }
            parts.push(Part::Text(rest[..start].to_owned()));
            parts.push(Part::Column(column.to_owned()));
            rest = &rest[start + end + 2..];
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { parts })
    }

    /// With the row's values in their places; a column that the row lacks is empty.
    pub fn render(&self, row: &Map<String, Value>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Column(column) => push_value(&mut text, row.get(column)),
            }
        }
        text
    }

    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Column(column) => Some(column.as_str()),
            Part::Text(_) => None,
        })
    }
}

fn push_value(text: &mut String, value: Option<&Value>) {
    match value {
        None | Some(Value::Null) => {}
        Some(Value::String(value)) => text.push_str(value),
        Some(other) => text.push_str(&other.to_string()),
    }
}

/// A file of rows.
#[derive(Debug)]
pub(super) struct Rows {
    path: PathBuf,
    /// As the spec writes it.
    written: String,
    template: Option<Template>,
    id: Option<String>,
    given: Given,
    scratch: Option<PathBuf>,
    snapshot: Mutex<Option<Snapshot>>,
}

/// The rows as they were listed.
#[derive(Debug)]
struct Snapshot {
    spool: Spool,
    pieces: HashMap<String, Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    row: u64,
    piece: Piece,
    stamp: [u8; 16],
}

impl Rows {
    pub fn open(
        spec: &SourceSpec,
        base: &Path,
        written: &str,
        scratch: Option<PathBuf>,
    ) -> Result<Self, SourceError> {
        let place = base.join(written);
        let unread = |source| SourceError::Unread { path: place.clone(), source };
        let path = place.canonicalize().map_err(unread)?;
        if !path.metadata().map_err(unread)?.is_file() {
            return Err(SourceError::NoFile { path: place });
        }
        let is_packed_parquet = path.to_string_lossy().to_lowercase().ends_with(".parquet.gz");
        let opened = DataRows::open_with_broken_rows(&path);
        if !is_packed_parquet && matches!(opened, Err(DataError::Format { .. })) {
            return Err(SourceError::RowFormat { path: place });
        }
        let template = spec.text.as_deref().map(|text| Template::parse("text", text)).transpose()?;
        Ok(Self {
            path,
            written: written.to_owned(),
            template,
            id: spec.id.clone(),
            given: Given::read(spec.metadata.as_ref(), true)?,
            scratch,
            snapshot: Mutex::new(None),
        })
    }

    /// The file, without links.
    pub fn place(&self) -> PathBuf {
        self.path.clone()
    }

    pub fn list(&self, common: &Common) -> Result<Listing, SourceError> {
        let look = || {
            let metadata = self.path.metadata();
            let metadata =
                metadata.map_err(|source| SourceError::Unread { path: self.path.clone(), source })?;
            Ok::<Look, SourceError>(Look::of(&metadata))
        };
        for _ in 0..2 {
            let before = look()?;
            let (listing, snapshot) = self.read(common)?;
            if look()? == before {
                *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
                return Ok(listing);
            }
        }
        Err(SourceError::Restless { path: self.path.clone() })
    }

    pub fn fetch(&self, entry: &Entry, common: &Common) -> Result<Fetched, Problem> {
        let problem = |message: String| Problem { place: entry.uri.clone(), message, hint: None };
        let is_listed = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !is_listed {
            // An entry of an earlier process: its rows are read again.
            self.list(common).map_err(|error| problem(error.to_string()))?;
        }
        let held = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.as_ref().and_then(|snapshot| Some((snapshot, snapshot.pieces.get(&entry.name)?)));
        let Some((snapshot, kept)) = found else {
            return Err(problem("the row is not there any more".to_owned()));
        };
        let bytes = snapshot.spool.get(kept.piece);
        let bytes = bytes.map_err(|error| problem(format!("its text cannot be read back: {error}")))?;
        Ok(Fetched {
            entry: Entry { stamp: hex(&kept.stamp), ..entry.clone() },
            bytes,
            media_type: Some("text/plain; charset=utf-8".to_owned()),
            password: None,
            language: common.language.clone(),
            modified_ms: None,
        })
    }

    fn read(&self, common: &Common) -> Result<(Listing, Snapshot), SourceError> {
        let unpacked = self.unpacked()?;
        let path = unpacked.as_ref().map_or(self.path.as_path(), |file| file.path());
        let rows = DataRows::open_with_broken_rows(path).map_err(|error| self.renamed(error))?;
        let mut reading = Reading {
            rows: self,
            common,
            listing: Listing::default(),
            snapshot: Snapshot { spool: Spool::new(self.scratch.as_deref()), pieces: HashMap::new() },
            id: self.id.clone(),
            is_first: true,
            seen: Map::new(),
        };
        for row in rows {
            match row {
                Ok(row) => reading.take(row)?,
                Err(error) => reading.lose(error),
            }
        }
        Ok(reading.finish())
    }

    /// A gzipped Parquet file unpacked: it is read from its end.
    fn unpacked(&self) -> Result<Option<tempfile::NamedTempFile>, SourceError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if !name.ends_with(".parquet.gz") {
            return Ok(None);
        }
        let failed = |source| SourceError::Unread { path: self.path.clone(), source };
        let mut builder = tempfile::Builder::new();
        builder.suffix(".parquet");
        let mut file = match &self.scratch {
            Some(folder) => builder.tempfile_in(folder),
            None => builder.tempfile(),
        }
        .map_err(failed)?;
        let packed = std::fs::File::open(&self.path).map_err(failed)?;
        let mut plain = io::Read::take(flate2::read::MultiGzDecoder::new(packed), MOST_UNPACKED + 1);
        let size = io::copy(&mut plain, &mut file).map_err(failed)?;
        if size > MOST_UNPACKED {
            let reason = format!("it unpacks to more than {} GiB", MOST_UNPACKED >> 30);
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        Ok(Some(file))
    }

    /// The same error, of the file that the user named.
    fn renamed(&self, error: DataError) -> SourceError {
        match error {
            DataError::Format { .. } => SourceError::RowFormat { path: self.path.clone() },
            DataError::Read { source, .. } => SourceError::Unread { path: self.path.clone(), source },
            other => {
                let (place, message) = told(&other);
                let reason = place.map_or(message.clone(), |place| format!("{place}: {message}"));
                SourceError::Rows { path: self.path.clone(), reason }
            }
        }
    }
}

/// Line or row, and what is wrong there.
fn told(error: &DataError) -> (Option<String>, String) {
    match error {
        DataError::Broken { line, message, .. } => (Some(format!("line {line}")), message.clone()),
        DataError::BrokenRow { row, message, .. } => (Some(format!("row {row}")), message.clone()),
        DataError::Read { source, .. } => (None, format!("it cannot be read on: {source}")),
        other => (None, other.to_string()),
    }
}

/// A file being listed.
struct Reading<'a> {
    rows: &'a Rows,
    common: &'a Common,
    listing: Listing,
    snapshot: Snapshot,
    /// Column of the id, once known.
    id: Option<String>,
    is_first: bool,
    /// Columns of the first rows and of those that are named, for hints.
    seen: Map<String, Value>,
}

impl Reading<'_> {
    fn lose(&mut self, error: DataError) {
        let (place, message) = told(&error);
        let place =
            place.map_or(self.rows.written.clone(), |place| format!("{}, {place}", self.rows.written));
        self.problem(place, message);
    }

    fn problem(&mut self, place: String, message: String) {
        if self.listing.problems.len() < MOST_PROBLEMS {
            self.listing.problems.push(Problem { place, message, hint: None });
        } else {
            self.listing.untold += 1;
        }
    }

    fn take(&mut self, row: Row) -> Result<(), SourceError> {
        let number = row.line_number + 1;
        let values = row.values;
        if self.is_first {
            self.is_first = false;
            self.seen = values.iter().map(|(name, _)| (name.clone(), Value::Null)).collect();
            let usual = ["_id", "id"].into_iter().find(|name| values.contains_key(*name));
            self.id = self.id.take().or_else(|| usual.map(str::to_owned));
        } else {
            for column in self.named() {
                if values.contains_key(&column) {
                    self.seen.insert(column, Value::Null);
                }
            }
        }
        let uri = format!("{}#{number}", self.rows.written);
        let name = match self.name_of(&values, number) {
            Ok(name) => name,
            Err(message) => {
                self.problem(uri, message);
                return Ok(());
            }
        };
        let text = match self.text_of(&values) {
            Ok(text) => text,
            Err(message) => {
                self.problem(uri, message);
                return Ok(());
            }
        };
        if text.len() as u64 > self.common.max_bytes {
            let error =
                super::file::ReadError::TooLarge { size: text.len() as u64, limit: self.common.max_bytes };
            self.problem(uri, error.told("").message);
            return Ok(());
        }
        let metadata = self.rows.given.of_row(&values);
        let stamp = stamp_of(&text, &metadata);
        match self.snapshot.pieces.entry(name) {
            Slot::Occupied(first) => {
                let message = format!("its id `{}` is already that of row {}", first.key(), first.get().row);
                self.problem(uri, message);
            }
            Slot::Vacant(slot) => {
                let piece =
                    self.snapshot.spool.put(text.as_bytes()).map_err(|source| SourceError::Scratch {
                        path: self.rows.scratch.clone().unwrap_or_else(std::env::temp_dir),
                        source,
                    })?;
                self.listing.entries.push(Entry {
                    name: slot.key().clone(),
                    source: self.common.name.clone(),
                    uri,
                    stamp: hex(&stamp),
                    metadata,
                });
                slot.insert(Kept { row: number, piece, stamp });
            }
        }
        Ok(())
    }

    fn name_of(&self, values: &Map<String, Value>, number: u64) -> Result<String, String> {
        let Some(column) = &self.id else { return Ok(number.to_string()) };
        let mut id = String::new();
        push_value(&mut id, values.get(column));
        if id.trim().is_empty() {
            return Err(format!("it has no id in `{column}`"));
        }
        if id.len() > LONGEST_ID {
            return Err(format!("its id in `{column}` is longer than {LONGEST_ID} bytes"));
        }
        Ok(names::escape(id.as_bytes()))
    }

    fn text_of(&self, values: &Map<String, Value>) -> Result<String, String> {
        if let Some(template) = &self.rows.template {
            return Ok(template.render(values));
        }
        if !values.contains_key("text") {
            return Err("it has no `text`, and the source names no other column".to_owned());
        }
        let mut text = String::new();
        push_value(&mut text, values.get("title"));
        let mut body = String::new();
        push_value(&mut body, values.get("text"));
        if !text.is_empty() && !body.is_empty() {
            text.push_str("\n\n");
        }
        Ok(text + &body)
    }

    /// Columns that the spec names.
    fn named(&self) -> Vec<String> {
        let in_text = self.rows.template.iter().flat_map(Template::columns);
        in_text.chain(self.rows.given.named()).map(str::to_owned).collect()
    }

    fn finish(mut self) -> (Listing, Snapshot) {
        let mut missing = self.named();
        missing.retain(|column| !self.seen.contains_key(column));
        missing.sort_unstable();
        missing.dedup();
        for column in missing.into_iter().filter(|_| !self.is_first) {
            let columns: Vec<String> = self.seen.keys().take(20).map(|name| format!("`{name}`")).collect();
            self.listing.notes.push(Problem {
                place: self.rows.written.clone(),
                message: format!("no row has the column `{column}`"),
                hint: Some(format!("columns there are: {}", columns.join(", "))),
            });
        }
        if self.listing.problems.iter().any(|problem| problem.message.starts_with("it has no `text`")) {
            let columns: Vec<String> = self.seen.keys().take(20).map(|name| format!("`{name}`")).collect();
            let hint = format!(
                "give the source a `text` such as `{{{{COLUMN}}}}`; columns there are: {}",
                columns.join(", ")
            );
            let lacking = |problem: &&mut Problem| problem.message.starts_with("it has no `text`");
            if let Some(first) = self.listing.problems.iter_mut().find(lacking) {
                first.hint = Some(hint);
            }
        }
        self.listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
        (self.listing, self.snapshot)
    }
}

fn stamp_of(text: &str, metadata: &Map<String, Value>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    if !metadata.is_empty() {
        hasher.update(serde_json::to_string(metadata).unwrap_or_default().as_bytes());
    }
    let mut stamp = [0; 16];
    stamp.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    stamp
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
