//! Rows for a batch, read as a stream: JSON lines, JSON, CSV, TSV (each may be gzipped), Parquet, or a folder of such
//! files.
//!
//! A row goes [`DataRows`] (one file or folder, nothing but reading) → [`BatchInputs`] (several sources joined
//! line by line, columns mapped onto flow inputs). Memory is bounded by the largest single row, whatever the
//! size of the file. What is not here: coercion to input types and defaults, which the engine applies.

mod delimited;
mod folder;
mod gzip;
mod images;
mod inputs;
mod json;
mod lines;
mod mapping;
#[cfg(feature = "parquet")]
mod parquet;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};
use thiserror::Error;

pub use inputs::{BatchInputs, DataSource, FlowInput};
pub use mapping::{MappedRow, map_row};

/// Largest single row that is read. A row is held in memory whole, so a file without line ends would otherwise
/// take all of it; prompts with inline images stay well below.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// Column that ties rows of several sources together.
pub const LINE_NUMBER: &str = "line_number";

/// One row: its position and its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Position within the data, from 0; blank lines do not count.
    pub line_number: u64,
    /// Columns in file order.
    pub values: Map<String, Value>,
}

/// Data that cannot be read or does not fit the flow.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("data `{}` cannot be read: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The ending names no format that is read.
    #[error("data `{}` has no format that is read (jsonl, json, csv, tsv, parquet or a folder of these)", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
    },
    /// The file is not what its ending says.
    #[error("data `{}`, line {line}: {message}", path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Line of the file, from 1.
        line: u64,
        /// What is wrong there.
        message: String,
    },
    /// A row of a format without lines is not usable.
    #[error("data `{}`, row {row}: {message}", path.display())]
    BrokenRow {
        /// Which file.
        path: PathBuf,
        /// Row, from 1.
        row: u64,
        /// What is wrong there.
        message: String,
    },
    /// There is nothing to run.
    #[error("data `{}` has no rows", path.display())]
    Empty {
        /// Which file or folder.
        path: PathBuf,
    },
    /// Mapping entries that lead nowhere.
    #[error("{} not in the data: {}", if columns.len() == 1 { "this column is" } else { "these columns are" }, columns.join(", "))]
    Unresolved {
        /// Each with the input it is for.
        columns: Vec<String>,
        /// Columns that there are, for a hint.
        present: Vec<String>,
    },
    /// Sources without line numbers differ in length.
    #[error("sources without a `line_number` column must be equally long, but {}", lengths.join(" and "))]
    Lengths {
        /// `NAME` has N rows, each.
        lengths: Vec<String>,
    },
    /// No line is in every source.
    #[error("no `line_number` is in every source")]
    NoCommonLine,
    /// A line number that cannot be one, or comes twice.
    #[error("data `{}`, row {row}: {message}", path.display())]
    LineNumber {
        /// Which file.
        path: PathBuf,
        /// Row, from 1.
        row: u64,
        /// What is wrong with it.
        message: String,
    },
}

impl DataError {
    /// What to do, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Format { .. } => "name the file by its format, for example `rows.jsonl`".to_owned(),
            Self::Unresolved { present, .. } if !present.is_empty() => format!(
                "columns there are: {}; dots belong to the column's name, there is no access into a value",
                present.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
            Self::Lengths { .. } => "give every source a `line_number` column, or the same rows".to_owned(),
            _ => return None,
        })
    }

    fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }
}

type RowIterator = Box<dyn Iterator<Item = Result<Row, DataError>> + Send>;

/// Rows of one file or folder, one at a time. After the first error there are no further rows, except with
/// [`DataRows::open_with_broken_rows`].
pub struct DataRows {
    rows: RowIterator,
    count_hint: Option<u64>,
    has_failed: bool,
    goes_on: bool,
}

impl DataRows {
    /// Opens a file by its ending, or a folder with all data files in it, deepest last, in order of their paths.
    /// Relative image paths in rows come back resolved against the file's folder.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let metadata = std::fs::metadata(path).map_err(|source| DataError::read(path, source))?;
        if metadata.is_dir() {
            let rows = Box::new(folder::open(path)?);
            return Ok(Self { rows, count_hint: None, has_failed: false, goes_on: false });
        }
        let (rows, count_hint) = open_file(path)?;
        let base = std::path::absolute(path)
            .map_err(|source| DataError::read(path, source))?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        let rows = rows.map(move |row| {
            row.map(|mut row| {
                images::resolve_paths(&mut row.values, &base);
                row
            })
        });
        Ok(Self { rows: Box::new(rows), count_hint, has_failed: false, goes_on: false })
    }

    /// Opens a file by its ending, as it is: a row that is broken by itself is an error in its place, and the rows
    /// behind it follow. Where the format does not tell where the next row begins, the error is the last item.
    pub fn open_with_broken_rows(path: &Path) -> Result<Self, DataError> {
        let (rows, count_hint) = open_file(path)?;
        Ok(Self { rows, count_hint, has_failed: false, goes_on: true })
    }

    /// Number of rows where the format tells it without reading (Parquet); `None` elsewhere.
    pub fn count_hint(&self) -> Option<u64> {
        self.count_hint
    }
}

impl Iterator for DataRows {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let row = self.rows.next();
        self.has_failed = !self.goes_on && matches!(row, Some(Err(_)));
        row
    }
}

/// What a file's ending says of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    JsonLines,
    Json,
    Delimited(u8),
    Parquet,
}

fn format_of(path: &Path) -> Option<Format> {
    let mut ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let is_packed = ending == "gz";
    if is_packed {
        ending = Path::new(path.file_stem()?).extension()?.to_str()?.to_ascii_lowercase();
    }
    Some(match ending.as_str() {
        "jsonl" | "ndjson" => Format::JsonLines,
        "json" => Format::Json,
        "csv" => Format::Delimited(b','),
        "tsv" => Format::Delimited(b'\t'),
        // Parquet is read from its end, and packed within.
        "parquet" if !is_packed => Format::Parquet,
        _ => return None,
    })
}

fn open_file(path: &Path) -> Result<(RowIterator, Option<u64>), DataError> {
    let format = format_of(path).ok_or_else(|| DataError::Format { path: path.to_owned() })?;
    Ok(match format {
        Format::JsonLines => (Box::new(lines::open(path)?), None),
        Format::Json => (Box::new(json::open(path)?), None),
        Format::Delimited(delimiter) => (Box::new(delimited::open(path, delimiter)?), None),
        #[cfg(feature = "parquet")]
        Format::Parquet => {
            let (rows, count) = parquet::open(path)?;
            (Box::new(rows), Some(count))
        }
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => return Err(DataError::Format { path: path.to_owned() }),
    })
}

/// Text of a file, unpacked where it is gzipped.
type TextReader = BufReader<Box<dyn Read + Send>>;

/// Opens text for reading: unpacks `.gz`, skips a UTF-8 byte order mark, refuses UTF-16 by name.
fn open_text(path: &Path) -> Result<TextReader, DataError> {
    let file = File::open(path).map_err(|source| DataError::read(path, source))?;
    let is_packed = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    let plain: Box<dyn Read + Send> = match is_packed {
        true => Box::new(gzip::Unpacked::new(file)),
        false => Box::new(file),
    };
    let mut reader = BufReader::with_capacity(64 << 10, plain);
    let start = reader.fill_buf().map_err(|source| DataError::read(path, source))?;
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err(DataError::Broken {
            path: path.to_owned(),
            line: 1,
            message: "the text is UTF-16, and only UTF-8 is read".to_owned(),
        });
    }
    if start.starts_with(&[0xef, 0xbb, 0xbf]) {
        reader.consume(3);
    }
    Ok(reader)
}

/// A reader that refuses to hand out more than [`MAX_ROW_BYTES`] between two rows; formats whose parser
/// buffers rows by itself are kept bounded by it.
struct Metered<R> {
    inner: R,
    meter: Arc<Meter>,
}

/// What a [`Metered`] reader has handed out.
#[derive(Default)]
struct Meter {
    /// Bytes since the latest row.
    bytes: AtomicUsize,
    /// Double quotes in all.
    quotes: AtomicUsize,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let quotes = buffer[..count].iter().filter(|byte| **byte == b'"').count();
        self.meter.quotes.fetch_add(quotes, Ordering::Relaxed);
        if self.meter.bytes.fetch_add(count, Ordering::Relaxed) + count > MAX_ROW_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, row_too_long()));
        }
        Ok(count)
    }
}

fn row_too_long() -> String {
    format!("one row is longer than {} MiB", MAX_ROW_BYTES >> 20)
}

/// Says in words what a JSON value is.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
