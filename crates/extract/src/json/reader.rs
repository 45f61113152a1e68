//! A strict reader of JSON that calls back with each scalar and its path.

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It nests deeper than allowed.
    TooDeep,
    /// It is no JSON.
    Syntax {
        /// One-based line.
        line: usize,
        /// One-based column in characters.
        column: usize,
        /// What was met.
        what: &'static str,
    },
}

/// An open list or object: where its part of the path begins, and in a list which member is read.
struct Open {
    path_length: usize,
    index: Option<usize>,
}

/// Calls back with `path`, value and the number of the outermost list's member. A callback that returns `false` ends
/// the walk early.
pub(crate) fn walk(
    text: &str,
    max_depth: usize,
    each: &mut dyn FnMut(&str, &str, usize) -> bool,
) -> Result<(), Problem> {
    let mut cursor = Cursor { text, bytes: text.as_bytes(), at: 0 };
    let mut path = String::new();
    let mut open: Vec<Open> = Vec::new();
    cursor.space();
    loop {
        // A value begins here.
        let record = open.first().and_then(|outer| outer.index).unwrap_or(0);
        let mut is_value = true;
        match cursor.peek() {
            Some(b'{') => {
                cursor.at += 1;
                open.push(Open { path_length: path.len(), index: None });
                cursor.space();
                if cursor.eat(b'}') {
                    open.pop();
                } else {
                    cursor.key(&mut path)?;
                    is_value = false;
                }
            }
            Some(b'[') => {
                cursor.at += 1;
                open.push(Open { path_length: path.len(), index: Some(0) });
                cursor.space();
                if cursor.eat(b']') {
                    open.pop();
                } else {
                    path.push_str("[0]");
                    is_value = false;
                }
            }
            Some(b'"') => {
                let value = cursor.string()?;
                if !each(&path, &value, record) {
                    return Ok(());
                }
            }
            Some(_) => {
                let value = cursor.scalar()?;
                if !each(&path, value, record) {
                    return Ok(());
                }
            }
            None => return Err(cursor.problem("it ends too early")),
        }
        if open.len() > max_depth {
            return Err(Problem::TooDeep);
        }
        if !is_value {
            continue;
        }
        // A value ended; so do the lists and objects that it closes.
        loop {
            cursor.space();
            let Some(inner) = open.last_mut() else {
                return if cursor.at == cursor.bytes.len() {
                    Ok(())
                } else {
                    Err(cursor.problem("something follows the value"))
                };
            };
            path.truncate(inner.path_length);
            let close = if inner.index.is_some() { b']' } else { b'}' };
            if cursor.eat(close) {
                open.pop();
                continue;
            }
            if !cursor.eat(b',') {
                return Err(cursor.problem("no comma or closing bracket"));
            }
            cursor.space();
            match &mut inner.index {
                Some(index) => {
                    *index += 1;
                    path.push_str(&format!("[{index}]"));
                }
                None => cursor.key(&mut path)?,
            }
            break;
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn problem(&self, what: &'static str) -> Problem {
        let before = &self.text[..crate::builder::floor_boundary(self.text, self.at)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        Problem::Syntax { line, column, what }
    }

    /// A key, its colon, and the path with it.
    fn key(&mut self, path: &mut String) -> Result<(), Problem> {
        if self.peek() != Some(b'"') {
            return Err(self.problem("no name of a member"));
        }
        let key = self.string()?;
        self.space();
        if !self.eat(b':') {
            return Err(self.problem("no colon after a name"));
        }
        self.space();
        let is_plain = !key.is_empty()
            && key.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '$' | '@'));
        if !is_plain {
            path.push_str(&format!("[\"{key}\"]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(&key);
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, Problem> {
        self.at += 1;
        let mut out = String::new();
        let mut high = None;
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            if self.at > start {
                out.push_str(if high.take().is_some() { "\u{fffd}" } else { "" });
                out.push_str(&self.text[start..self.at]);
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    out.push_str(if high.is_some() { "\u{fffd}" } else { "" });
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut out, &mut high)?;
                }
                Some(_) => return Err(self.problem("a control character in a string")),
                None => return Err(self.problem("a string without end")),
            }
        }
    }

    fn escape(&mut self, out: &mut String, high: &mut Option<u16>) -> Result<(), Problem> {
        let char = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let hex = self
                    .bytes
                    .get(self.at + 1..self.at + 5)
                    .filter(|four| four.iter().all(u8::is_ascii_hexdigit));
                let unit = hex
                    .and_then(|four| std::str::from_utf8(four).ok())
                    .and_then(|four| u16::from_str_radix(four, 16).ok());
                let Some(unit) = unit else { return Err(self.problem("a broken escape")) };
                self.at += 5;
                // Halves of a pair that stand alone are what some programs cut; the text goes on.
                match (high.take(), unit) {
                    (Some(first), 0xdc00..0xe000) => {
                        out.extend(char::decode_utf16([first, unit]).map(|char| char.unwrap_or('\u{fffd}')));
                    }
                    (before, unit) => {
                        out.push_str(if before.is_some() { "\u{fffd}" } else { "" });
                        match unit {
                            0xd800..0xdc00 => *high = Some(unit),
                            unit => out.push(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}')),
                        }
                    }
                }
                return Ok(());
            }
            _ => return Err(self.problem("a broken escape")),
        };
        self.at += 1;
        out.push_str(if high.take().is_some() { "\u{fffd}" } else { "" });
        out.push(char);
        Ok(())
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<&'a str, Problem> {
        let start = self.at;
        for word in ["true", "false", "null"] {
            if self.text[start..].starts_with(word) {
                self.at += word.len();
                return Ok(&self.text[start..self.at]);
            }
        }
        self.eat(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.problem("no value")),
        }
        if self.eat(b'.') {
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn some_digits(&mut self) -> Result<(), Problem> {
        let start = self.at;
        self.digits();
        if self.at > start { Ok(()) } else { Err(self.problem("a number without digits")) }
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }
}
