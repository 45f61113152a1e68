//! JSON data: a list of objects, or an object holding exactly one list. Read row by row: a scanner finds where
//! one element ends without understanding it, and only that piece is parsed.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lines::json_message;
use super::{DataError, MAX_ROW_BYTES, Row, TextReader, kind_of, open_text, row_too_long};

pub(super) fn open(path: &Path) -> Result<JsonRows, DataError> {
    let mut rows = JsonRows {
        path: path.to_owned(),
        reader: open_text(path)?,
        line: 1,
        next_row: 0,
        list: None,
        state: State::Ended,
        piece: Vec::new(),
    };
    rows.state = match rows.peek_token()? {
        Some(b'[') => {
            rows.consume(1);
            State::InList { is_nested: false, is_first: true }
        }
        Some(b'{') => {
            rows.consume(1);
            State::InObject { is_first: true }
        }
        // An empty file has no rows, as in prompt flow.
        None => State::Ended,
        Some(_) => return Err(rows.broken("expected a list of objects, or an object with a list".to_owned())),
    };
    Ok(rows)
}

#[derive(Clone, Copy)]
enum State {
    /// Among the keys of the outer object.
    InObject {
        is_first: bool,
    },
    /// Among the elements of the list of rows.
    InList {
        is_nested: bool,
        is_first: bool,
    },
    Ended,
}

pub(super) struct JsonRows {
    path: PathBuf,
    reader: TextReader,
    line: u64,
    next_row: u64,
    /// Key of the list that holds the rows, once found in an object.
    list: Option<String>,
    state: State,
    piece: Vec<u8>,
}

impl JsonRows {
    fn broken(&self, message: String) -> DataError {
        DataError::Broken { path: self.path.clone(), line: self.line, message }
    }

    fn fill(&mut self) -> Result<&[u8], DataError> {
        self.reader.fill_buf().map_err(|source| DataError::Read { path: self.path.clone(), source })
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
    }

    /// The next byte that is no blank, not consumed; `None` at the end.
    fn peek_token(&mut self) -> Result<Option<u8>, DataError> {
        loop {
            let buffer = self.fill()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let blanks = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let lines = buffer[..blanks].iter().filter(|byte| **byte == b'\n').count() as u64;
            let found = buffer.get(blanks).copied();
            self.consume(blanks);
            self.line += lines;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), DataError> {
        match self.peek_token()? {
            Some(byte) if byte == wanted => {
                self.consume(1);
                Ok(())
            }
            Some(byte) => {
                let found = char::from(byte);
                Err(self.broken(format!("expected `{}`, found `{found}`", char::from(wanted))))
            }
            None => Err(self.broken(format!("the file ends where `{}` was expected", char::from(wanted)))),
        }
    }

    /// Moves one whole value into the piece, ending before the `,`, `]`, `}` or `:` that follows it.
    fn take_value(&mut self) -> Result<(), DataError> {
        self.piece.clear();
        self.peek_token()?;
        let mut depth = 0usize;
        let mut in_text = false;
        let mut is_escaped = false;
        loop {
            let buffer = self.reader.fill_buf().map_err(|source| DataError::read(&self.path, source))?;
            if buffer.is_empty() {
                return if depth > 0 || in_text {
                    Err(self.broken("the file ends within a value".to_owned()))
                } else {
                    Ok(())
                };
            }
            let mut used = 0;
            let mut is_done = false;
            for byte in buffer {
                if in_text {
                    match byte {
                        _ if is_escaped => is_escaped = false,
                        b'\\' => is_escaped = true,
                        b'"' => in_text = false,
                        _ => {}
                    }
                } else {
                    match byte {
                        b'"' => in_text = true,
                        b'[' | b'{' => depth += 1,
                        b']' | b'}' if depth > 0 => depth -= 1,
                        b',' | b']' | b'}' | b':' if depth == 0 => {
                            is_done = true;
                            break;
                        }
                        b'\n' => self.line += 1,
                        _ => {}
                    }
                }
                used += 1;
            }
            self.piece.extend_from_slice(&buffer[..used]);
            self.reader.consume(used);
            if self.piece.len() > MAX_ROW_BYTES {
                return Err(self.broken(row_too_long()));
            }
            if is_done {
                return Ok(());
            }
        }
    }

    fn parse_piece(&self, line: u64) -> Result<Value, DataError> {
        serde_json::from_slice(&self.piece).map_err(|error| DataError::Broken {
            path: self.path.clone(),
            line: line + error.line().saturating_sub(1) as u64,
            message: json_message(&error),
        })
    }

    fn element(&mut self) -> Result<Row, DataError> {
        self.peek_token()?;
        let (line, row) = (self.line, self.next_row);
        self.take_value()?;
        self.next_row += 1;
        match self.parse_piece(line)? {
            Value::Object(values) => Ok(Row { line_number: row, values }),
            other => Err(DataError::BrokenRow {
                path: self.path.clone(),
                row: row + 1,
                message: format!("a row must be an object, and this is {}", kind_of(&other)),
            }),
        }
    }

    /// Goes on to the list within the outer object, or over what follows it.
    fn next_key(&mut self, is_first: bool) -> Result<State, DataError> {
        match self.peek_token()? {
            Some(b'}') => {
                self.consume(1);
                if self.list.is_none() {
                    return Err(self.broken("the object holds no list of rows".to_owned()));
                }
                return self.end();
            }
            Some(b',') if !is_first => self.consume(1),
            Some(_) if is_first => {}
            _ => return Err(self.broken("expected `,` or `}`".to_owned())),
        }
        self.take_value()?;
        let key = match self.parse_piece(self.line)? {
            Value::String(key) => key,
            _ => return Err(self.broken("a key must be a text".to_owned())),
        };
        self.expect(b':')?;
        if self.peek_token()? != Some(b'[') {
            self.take_value()?;
            self.parse_piece(self.line)?;
            return Ok(State::InObject { is_first: false });
        }
        if let Some(first) = &self.list {
            let message =
                format!("there are two lists, `{first}` and `{key}`: which holds the rows is not clear");
            return Err(self.broken(message));
        }
        self.list = Some(key);
        self.consume(1);
        Ok(State::InList { is_nested: true, is_first: true })
    }

    fn end(&mut self) -> Result<State, DataError> {
        match self.peek_token()? {
            None => Ok(State::Ended),
            Some(_) => Err(self.broken("there is more text after the data".to_owned())),
        }
    }

    fn advance(&mut self) -> Result<Option<Row>, DataError> {
        loop {
            match self.state {
                State::Ended => return Ok(None),
                State::InObject { is_first } => self.state = self.next_key(is_first)?,
                State::InList { is_nested, is_first } => {
                    let token = self.peek_token()?;
                    if token == Some(b']') {
                        self.consume(1);
                        self.state =
                            if is_nested { State::InObject { is_first: false } } else { self.end()? };
                        continue;
                    }
                    if !is_first {
                        self.expect(b',')?;
                    }
                    self.state = State::InList { is_nested, is_first: false };
                    return self.element().map(Some);
                }
            }
        }
    }
}

impl Iterator for JsonRows {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.advance();
        // An element of another kind is a row gone wrong; after anything else the next one cannot be found.
        if matches!(&row, Err(error) if !matches!(error, DataError::BrokenRow { .. })) {
            self.state = State::Ended;
        }
        row.transpose()
    }
}
