//! JSON lines: one object a line, blank lines skipped, either line end.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{DataError, MAX_ROW_BYTES, Row, TextReader, kind_of, open_text, row_too_long};

pub(super) fn open(path: &Path) -> Result<JsonLines, DataError> {
    Ok(JsonLines {
        path: path.to_owned(),
        reader: open_text(path)?,
        line: 0,
        next_row: 0,
        buffer: Vec::new(),
        is_lost: false,
    })
}

pub(super) struct JsonLines {
    path: PathBuf,
    reader: TextReader,
    /// Line read last, from 1.
    line: u64,
    next_row: u64,
    buffer: Vec<u8>,
    /// True when where the next row begins is not known.
    is_lost: bool,
}

impl JsonLines {
    fn broken(&self, message: String) -> DataError {
        DataError::Broken { path: self.path.clone(), line: self.line, message }
    }

    /// Fills the buffer with the next line; false at the end.
    fn read_line(&mut self) -> Result<bool, DataError> {
        self.buffer.clear();
        self.line += 1;
        // One byte over the limit tells a row that just fits from one that does not.
        let mut limited = (&mut self.reader).take(MAX_ROW_BYTES as u64 + 1);
        let count = limited
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| DataError::Read { path: self.path.clone(), source })?;
        if count > MAX_ROW_BYTES {
            return Err(self.broken(row_too_long()));
        }
        Ok(count > 0)
    }
}

impl Iterator for JsonLines {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_lost {
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.is_lost = true;
                    return Some(Err(error));
                }
            }
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let row = match serde_json::from_slice(&self.buffer) {
                Ok(Value::Object(values)) => Ok(Row { line_number: self.next_row, values }),
                Ok(other) => {
                    Err(self.broken(format!("a row must be an object, and this is {}", kind_of(&other))))
                }
                Err(error) => Err(self.broken(json_message(&error))),
            };
            self.next_row += 1;
            return Some(row);
        }
        None
    }
}

/// The parser's words without its own line number, which is always 1 here.
pub(super) fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    format!("not valid JSON at column {}: {reason}", error.column())
}
