//! Python's literals, as `ast.literal_eval` reads them: lists, tuples, maps, texts, numbers, `True`, `None`.

use flowbench_core::{Map, Value};
use thiserror::Error;

/// Deepest nesting.
const MAX_DEPTH: u32 = 100;

/// Text that is no Python literal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no Python literal at character {at}: {message}")]
pub struct LiteralError {
    /// Character at which reading failed.
    pub at: usize,
    /// Why.
    pub message: String,
}

/// Reads the literal at the start of `text`; also gives how many bytes it took.
pub fn parse_literal(text: &str) -> Result<(Value, usize), LiteralError> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    Ok((value, reader.at))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, LiteralError> {
        Err(LiteralError { at: self.text[..self.at].chars().count(), message: message.into() })
    }

    fn peek(&mut self) -> Option<char> {
        let blanks =
            self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).len();
        self.at += blanks;
        self.rest().chars().next()
    }

    fn skip(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn value(&mut self, depth: u32) -> Result<Value, LiteralError> {
        if depth > MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        match self.peek() {
            Some('[') => {
                self.at += 1;
                self.items(']', depth).map(Value::Array)
            }
            Some('(') => {
                self.at += 1;
                self.items(')', depth).map(Value::Array)
            }
            Some('{') => {
                self.at += 1;
                self.map(depth)
            }
            Some('\'' | '"') => {
                let mut text = self.string()?;
                while matches!(self.peek(), Some('\'' | '"')) {
                    text.push_str(&self.string()?);
                }
                Ok(Value::String(text))
            }
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            Some(c) if c.is_alphabetic() => {
                let length = self.rest().find(|c: char| !c.is_alphanumeric()).unwrap_or(self.rest().len());
                let value = match &self.rest()[..length] {
                    "True" => Value::Bool(true),
                    "False" => Value::Bool(false),
                    "None" => Value::Null,
                    other => return self.fail(format!("`{other}` is no value")),
                };
                self.at += length;
                Ok(value)
            }
            Some(c) => self.fail(format!("`{c}` starts no value")),
            None => self.fail("the text ends"),
        }
    }

    fn items(&mut self, close: char, depth: u32) -> Result<Vec<Value>, LiteralError> {
        let mut items = Vec::new();
        loop {
            if self.skip(close) {
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            if !self.skip(',') && self.peek() != Some(close) {
                return self.fail(format!("expected `,` or `{close}`"));
            }
        }
    }

    fn map(&mut self, depth: u32) -> Result<Value, LiteralError> {
        let mut map = Map::new();
        loop {
            if self.skip('}') {
                return Ok(Value::Object(map));
            }
            let Value::String(key) = self.value(depth + 1)? else {
                return self.fail("a key must be a text");
            };
            if !self.skip(':') {
                return self.fail("expected `:`");
            }
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            if !self.skip(',') && self.peek() != Some('}') {
                return self.fail("expected `,` or `}`");
            }
        }
    }

    fn number(&mut self) -> Result<Value, LiteralError> {
        let length = self
            .rest()
            .char_indices()
            .find(|(at, c)| {
                let after_exponent = *at > 0 && self.rest()[..*at].ends_with(['e', 'E']);
                !(c.is_ascii_digit()
                    || matches!(c, '.' | '_' | 'e' | 'E')
                    || matches!(c, '+' | '-') && (*at == 0 || after_exponent))
            })
            .map_or(self.rest().len(), |(at, _)| at);
        let text = self.rest()[..length].replace('_', "");
        let value = match text.trim_start_matches('+').parse::<i64>() {
            Ok(int) => Some(Value::from(int)),
            Err(_) => text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number),
        };
        match value {
            Some(value) => {
                self.at += length;
                Ok(value)
            }
            None => self.fail("no number"),
        }
    }

    fn string(&mut self) -> Result<String, LiteralError> {
        let quote = self.rest().chars().next().unwrap_or('\'');
        let triple: String = std::iter::repeat_n(quote, 3).collect();
        let (open, is_triple) = if self.rest().starts_with(&triple) { (3, true) } else { (1, false) };
        self.at += open;
        let mut out = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                return self.fail("a text is not closed");
            };
            if is_triple && self.rest().starts_with(&triple) {
                self.at += 3;
                return Ok(out);
            }
            self.at += c.len_utf8();
            match c {
                c if c == quote && !is_triple => return Ok(out),
                '\n' if !is_triple => return self.fail("a text is not closed on its line"),
                '\\' => self.escape(&mut out)?,
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), LiteralError> {
        let Some(c) = self.rest().chars().next() else {
            return self.fail("a text ends in a backslash");
        };
        self.at += c.len_utf8();
        let simple = match c {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'v' => Some('\u{b}'),
            '\\' | '\'' | '"' => Some(c),
            _ => None,
        };
        if let Some(simple) = simple {
            out.push(simple);
            return Ok(());
        }
        let digits = match c {
            '\n' => return Ok(()),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.rest().chars().next().and_then(|c| c.to_digit(8)) else { break };
                    self.at += 1;
                    code = code * 8 + digit;
                }
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                return Ok(());
            }
            other => {
                out.push('\\');
                out.push(other);
                return Ok(());
            }
        };
        let code = self.rest().get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.at += digits;
                out.push(c);
                Ok(())
            }
            None => self.fail("an escape is no character"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn python_lists_are_read() {
        let (value, length) = parse_literal(
            "[{'id': 'a', 'x': None, 'l': [1, 2.5, -3], 't': (True,), 's': \"it's\" 'x'}] tail",
        )
        .unwrap();
        assert_eq!(value, json!([{"id": "a", "x": null, "l": [1, 2.5, -3], "t": [true], "s": "it'sx"}]));
        assert_eq!(length, 74);
        assert_eq!(parse_literal(r"'\x41\u00e5\n\q'").unwrap().0, json!("Aå\n\\q"));
    }

    #[test]
    fn other_text_is_refused_with_its_place() {
        for (text, message) in [
            ("[true]", "no Python literal at character 1: `true` is no value"),
            ("[1", "no Python literal at character 2: expected `,` or `]`"),
            ("{1: 2}", "no Python literal at character 2: a key must be a text"),
            ("'open", "no Python literal at character 5: a text is not closed"),
            ("__import__('os')", "no Python literal at character 0: `_` starts no value"),
        ] {
            assert_eq!(parse_literal(text).unwrap_err().to_string(), message);
        }
        assert!(parse_literal(&"[".repeat(10_000)).is_err());
    }
}
