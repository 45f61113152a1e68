//! Reads JSON as models and people write it: trailing commas, single quotes, comments, bare keys, Python's words for
//! constants, line breaks within text. Everything that is valid JSON gives the same value as with the strict reader.

use serde_json::{Map, Number, Value};
use thiserror::Error;

/// The strict reader's limit as well.
const DEEPEST: usize = 127;

/// Where and why even the tolerant reader gave up.
#[derive(Debug, Error)]
#[error("{expected} at character {}", position + 1)]
pub(super) struct TolerantError {
    expected: &'static str,
    /// In bytes, from 0.
    pub(super) position: usize,
}

/// Reads the value that the text begins with; gives it with the number of bytes it takes.
pub(super) fn parse_start(text: &str) -> Result<(Value, usize), TolerantError> {
    let mut reader = Reader { text, bytes: text.as_bytes(), position: 0 };
    let value = reader.value(0)?;
    Ok((value, reader.position))
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, expected: &'static str) -> Result<T, TolerantError> {
        Err(TolerantError { expected, position: self.position })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.position += usize::from(taken);
        taken
    }

    /// Passes over white space and comments.
    fn space(&mut self) -> Result<(), TolerantError> {
        loop {
            let rest = &self.bytes[self.position..];
            match rest {
                [b' ' | b'\t' | b'\r' | b'\n', ..] => self.position += 1,
                [b'#', ..] | [b'/', b'/', ..] => {
                    self.position += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                [b'/', b'*', ..] => match self.text[self.position..].find("*/") {
                    Some(length) => self.position += length + 2,
                    None => {
                        // All of the rest was read to know it, which the caller counts.
                        self.position = self.bytes.len();
                        return self.fail("the comment has no end");
                    }
                },
                _ => return Ok(()),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, TolerantError> {
        if depth > DEEPEST {
            return self.fail("nested too deeply");
        }
        self.space()?;
        match self.peek() {
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote).map(Value::String),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(_) => self.constant(),
            None => self.fail("a value is missing"),
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, TolerantError> {
        self.position += 1;
        let mut map = Map::new();
        loop {
            self.space()?;
            if self.take(b'}') {
                return Ok(Value::Object(map));
            }
            let key = match self.peek() {
                Some(quote @ (b'"' | b'\'')) => self.quoted(quote)?,
                _ => self.bare_word("a key or `}` is missing")?.to_owned(),
            };
            self.space()?;
            if !self.take(b':') {
                return self.fail("`:` is missing");
            }
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.space()?;
            if !self.take(b',') && self.peek() != Some(b'}') {
                return self.fail("`,` or `}` is missing");
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, TolerantError> {
        self.position += 1;
        let mut list = Vec::new();
        loop {
            self.space()?;
            if self.take(b']') {
                return Ok(Value::Array(list));
            }
            list.push(self.value(depth + 1)?);
            self.space()?;
            if !self.take(b',') && self.peek() != Some(b']') {
                return self.fail("`,` or `]` is missing");
            }
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<String, TolerantError> {
        self.position += 1;
        let mut value = String::new();
        loop {
            let rest = &self.bytes[self.position..];
            let Some(length) = rest.iter().position(|byte| *byte == quote || *byte == b'\\') else {
                self.position = self.bytes.len();
                return self.fail("the text has no closing quote");
            };
            value.push_str(&self.text[self.position..self.position + length]);
            self.position += length + 1;
            if rest[length] == quote {
                return Ok(value);
            }
            self.escape(&mut value)?;
        }
    }

    fn escape(&mut self, value: &mut String) -> Result<(), TolerantError> {
        let Some(letter) = self.text[self.position..].chars().next() else {
            return self.fail("the text has no closing quote");
        };
        self.position += letter.len_utf8();
        value.push(match letter {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => return self.unicode_escape(value),
            other => other,
        });
        Ok(())
    }

    fn unicode_escape(&mut self, value: &mut String) -> Result<(), TolerantError> {
        let first = self.four_digits()?;
        if (0xD800..0xDC00).contains(&first) && self.text[self.position..].starts_with("\\u") {
            let before = self.position;
            self.position += 2;
            let second = self.four_digits()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                value.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            self.position = before;
        }
        value.push(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32, TolerantError> {
        let digits = self.text.get(self.position..self.position + 4);
        match digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            Some(digits) => {
                self.position += 4;
                u32::from_str_radix(digits, 16).or_else(|_| self.fail("`\\u` needs four hexadecimal digits"))
            }
            None => self.fail("`\\u` needs four hexadecimal digits"),
        }
    }

    fn number(&mut self) -> Result<Value, TolerantError> {
        let start = self.position;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.position += 1;
        }
        let written = &self.text[start..self.position];
        let plain = written.strip_prefix('+').unwrap_or(written);
        if let Ok(number) = serde_json::from_str::<Number>(plain) {
            return Ok(Value::Number(number));
        }
        // `.5` and `5.` are numbers to people.
        match plain.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Ok(Value::Number(number)),
            None => {
                self.position = start;
                self.fail("no number")
            }
        }
    }

    fn constant(&mut self) -> Result<Value, TolerantError> {
        let start = self.position;
        match self.bare_word("a value is missing")? {
            "true" | "True" => Ok(Value::Bool(true)),
            "false" | "False" => Ok(Value::Bool(false)),
            "null" | "None" => Ok(Value::Null),
            _ => {
                self.position = start;
                self.fail("a text without quotes")
            }
        }
    }

    fn bare_word(&mut self, missing: &'static str) -> Result<&'a str, TolerantError> {
        let text = self.text;
        let rest = &text[self.position..];
        let length = rest
            .find(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '-' | '$')))
            .unwrap_or(rest.len());
        if length == 0 {
            return self.fail(missing);
        }
        self.position += length;
        Ok(&rest[..length])
    }
}
