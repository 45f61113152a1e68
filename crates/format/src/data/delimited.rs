//! CSV and TSV with a header line. Values stay text, and an empty cell is empty text.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::{DataError, Meter, Metered, Row, TextReader, open_text};

pub(super) fn open(path: &Path, delimiter: u8) -> Result<DelimitedRows, DataError> {
    let meter = Arc::<Meter>::default();
    let metered = Metered { inner: open_text(path)?, meter: meter.clone() };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(metered);
    let header = match reader.headers() {
        Ok(header) => unique_names(header),
        Err(error) => return Err(explain(path, 1, error)),
    };
    Ok(DelimitedRows {
        path: path.to_owned(),
        reader,
        meter,
        header,
        record: StringRecord::new(),
        next_row: 0,
        open_since: None,
        is_lost: false,
    })
}

pub(super) struct DelimitedRows {
    path: PathBuf,
    reader: Reader<Metered<TextReader>>,
    meter: Arc<Meter>,
    header: Vec<String>,
    record: StringRecord,
    next_row: u64,
    /// Line of the latest row, if its last cell goes over several lines.
    open_since: Option<u64>,
    /// True when where the next row begins is not known.
    is_lost: bool,
}

impl DelimitedRows {
    /// A quote that is never closed takes the rest of the file into one cell, and the parser does not mind. A quote
    /// too many in a file that ends within a cell of several lines is such a one.
    fn unclosed_quote(&self) -> Option<DataError> {
        let line = self.open_since?;
        let is_odd = self.meter.quotes.load(Ordering::Relaxed) % 2 == 1;
        let message = "a quoted cell is never closed".to_owned();
        is_odd.then(|| DataError::Broken { path: self.path.clone(), line, message })
    }
}

/// Column names; a name that comes again gets `.1`, `.2` and so on, as pandas and so prompt flow names them.
fn unique_names(header: &StringRecord) -> Vec<String> {
    let mut taken: HashSet<String> = header.iter().map(str::to_owned).collect();
    let mut seen = HashSet::new();
    header
        .iter()
        .map(|name| {
            if seen.insert(name) {
                return name.to_owned();
            }
            (1..)
                .map(|number| format!("{name}.{number}"))
                .find(|candidate| taken.insert(candidate.clone()))
                .unwrap_or_default()
        })
        .collect()
}

fn explain(path: &Path, line: u64, error: csv::Error) -> DataError {
    let line = error.position().map_or(line, csv::Position::line).max(1);
    let message = match error.into_kind() {
        ErrorKind::Io(source) if source.kind() != std::io::ErrorKind::InvalidData => {
            return DataError::read(path, source);
        }
        ErrorKind::Io(source) => source.to_string(),
        ErrorKind::Utf8 { err, .. } => format!("cell {} is not UTF-8", err.field() + 1),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row has {len} cells, and the header has {expected_len}")
        }
        other => format!("cannot be read ({other:?})"),
    };
    DataError::Broken { path: path.to_owned(), line, message }
}

impl Iterator for DelimitedRows {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_lost {
            return None;
        }
        self.meter.bytes.store(0, Ordering::Relaxed);
        match self.reader.read_record(&mut self.record) {
            Ok(false) => {
                self.is_lost = true;
                self.unclosed_quote().map(Err)
            }
            Ok(true) => {
                let cells = self.record.iter().map(|cell| Value::String(cell.to_owned()));
                let values: Map<String, Value> = self.header.iter().cloned().zip(cells).collect();
                let is_long = self.record.iter().next_back().is_some_and(|cell| cell.contains('\n'));
                self.open_since = self.record.position().filter(|_| is_long).map(csv::Position::line);
                let line_number = self.next_row;
                self.next_row += 1;
                Some(Ok(Row { line_number, values }))
            }
            Err(error) => {
                // Told as well where only its cells are wrong, and counted as a row then.
                self.is_lost = matches!(error.kind(), ErrorKind::Io(_));
                self.next_row += 1;
                Some(Err(explain(&self.path, self.reader.position().line(), error)))
            }
        }
    }
}
