//! Source text to tokens, with Jinja2's whitespace rules (`trim_blocks` on, `lstrip_blocks` off, trailing
//! newline kept, line statements off).

use super::text::is_blank;
use super::{Fault, Res};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Text(String),
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    End,
}

impl Token {
    /// How messages call it, as Jinja2 does.
    pub fn describe(&self) -> String {
        match self {
            Self::Text(_) => "template data / text".to_owned(),
            Self::BlockBegin => "begin of statement block".to_owned(),
            Self::BlockEnd => "end of statement block".to_owned(),
            Self::VariableBegin => "begin of print statement".to_owned(),
            Self::VariableEnd => "end of print statement".to_owned(),
            Self::Name(name) => name.clone(),
            Self::Str(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Op(op) => (*op).to_owned(),
            Self::End => "end of template".to_owned(),
        }
    }
}

/// Longest first.
const OPERATORS: [&str; 29] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";", "!", "&", "^",
];

fn error<T>(line: u32, message: impl Into<String>) -> Res<T> {
    Err(Box::new(Fault { message: message.into(), line: Some(line), is_limit: false, undefined: false }))
}

/// Carriage returns alone or with line feeds become line feeds, as Jinja2's reader does.
pub(crate) fn normalize_newlines(source: &str) -> String {
    source.replace("\r\n", "\n").replace('\r', "\n")
}

/// Splits a template (newlines normalised) into tokens with their lines.
pub(crate) fn tokenize(source: &str) -> Res<Vec<(Token, u32)>> {
    let mut lexer = Lexer { source, at: 0, line: 1, tokens: Vec::new() };
    lexer.run()?;
    let line = lexer.line;
    lexer.tokens.push((Token::End, line));
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    tokens: Vec<(Token, u32)>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let newlines =
            self.source.as_bytes()[self.at..self.at + bytes].iter().filter(|b| **b == b'\n').count();
        self.line += newlines as u32;
        self.at += bytes;
    }

    fn push_text(&mut self, text: &str, line: u32) {
        if !text.is_empty() {
            self.tokens.push((Token::Text(text.to_owned()), line));
        }
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest().len() - self.rest().trim_start_matches(is_blank).len();
        self.advance(blanks);
    }

    fn run(&mut self) -> Res<()> {
        loop {
            let rest = self.rest();
            let Some(begin) = find_tag(rest) else {
                let line = self.line;
                self.push_text(rest, line);
                self.advance(rest.len());
                return Ok(());
            };
            let tag = &rest[begin..begin + 2];
            let sign = rest[begin + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let data = &rest[..begin];
            let kept = if sign == Some('-') { data.trim_end_matches(is_blank) } else { data };
            let line = self.line;
            self.push_text(kept, line);
            let raw = (tag == "{%").then(|| raw_begin(&rest[begin..])).flatten();
            if let Some(length) = raw {
                self.advance(begin + length);
                self.raw()?;
                continue;
            }
            self.advance(begin + 2 + usize::from(sign.is_some()));
            match tag {
                "{#" => self.comment()?,
                "{%" => {
                    self.tokens.push((Token::BlockBegin, self.line));
                    self.expression(true)?;
                }
                _ => {
                    self.tokens.push((Token::VariableBegin, self.line));
                    self.expression(false)?;
                }
            }
        }
    }

    fn comment(&mut self) -> Res<()> {
        let Some(end) = self.rest().find("#}") else {
            return error(self.line, "missing end of comment tag");
        };
        let sign = self.rest()[..end].chars().next_back();
        self.advance(end + 2);
        match sign {
            Some('-') => self.skip_blanks(),
            Some('+') => {}
            _ => self.skip_newline(),
        }
        Ok(())
    }

    fn skip_newline(&mut self) {
        if self.rest().starts_with('\n') {
            self.advance(1);
        }
    }

    fn raw(&mut self) -> Res<()> {
        let rest = self.rest();
        let mut from = 0;
        loop {
            let Some(begin) = rest[from..].find("{%").map(|at| at + from) else {
                return error(self.line, "missing end of raw directive");
            };
            if let Some((length, strip_left, sign)) = raw_end(&rest[begin..]) {
                let data = &rest[..begin];
                let kept = if strip_left { data.trim_end_matches(is_blank) } else { data };
                let line = self.line;
                self.push_text(kept, line);
                self.advance(begin + length);
                match sign {
                    Some('-') => self.skip_blanks(),
                    Some(_) => {}
                    None => self.skip_newline(),
                }
                return Ok(());
            }
            from = begin + 2;
        }
    }

    fn expression(&mut self, is_block: bool) -> Res<()> {
        let mut open: Vec<char> = Vec::new();
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return Ok(());
            };
            if open.is_empty() && self.tag_end(is_block) {
                return Ok(());
            }
            if is_blank(c) {
                self.skip_blanks();
                continue;
            }
            let line = self.line;
            if c.is_ascii_digit() {
                let previous_is_dot = self.source[..self.at].ends_with('.');
                let (token, length) = number(rest, !previous_is_dot, line)?;
                self.tokens.push((token, line));
                self.advance(length);
            } else if c == '_' || c.is_alphanumeric() {
                let length = rest.find(|c: char| !(c == '_' || c.is_alphanumeric())).unwrap_or(rest.len());
                self.tokens.push((Token::Name(rest[..length].to_owned()), line));
                self.advance(length);
            } else if c == '"' || c == '\'' {
                let Some(length) = string_length(rest, c) else {
                    return error(line, format!("unexpected char `{c}`: the text it opens is not closed"));
                };
                let text = unescape(&rest[1..length - 1], line)?;
                self.tokens.push((Token::Str(text), line));
                self.advance(length);
            } else if let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
                if matches!(*op, "!" | "&" | "^") {
                    return error(line, format!("unexpected char `{c}`"));
                }
                match *op {
                    "(" => open.push(')'),
                    "[" => open.push(']'),
                    "{" => open.push('}'),
                    ")" | "]" | "}" => match open.pop() {
                        None => return error(line, format!("unexpected `{op}`")),
                        Some(expected) if expected != c => {
                            return error(line, format!("unexpected `{op}`, expected `{expected}`"));
                        }
                        Some(_) => {}
                    },
                    _ => {}
                }
                self.tokens.push((Token::Op(op), line));
                self.advance(op.len());
            } else {
                return error(line, format!("unexpected char `{}`", c.escape_debug()));
            }
        }
    }

    /// Takes the end of the tag if it is here.
    fn tag_end(&mut self, is_block: bool) -> bool {
        let rest = self.rest();
        let line = self.line;
        let token = if is_block { Token::BlockEnd } else { Token::VariableEnd };
        let end = if is_block { "%}" } else { "}}" };
        if rest.starts_with('-') && rest[1..].starts_with(end) {
            self.tokens.push((token, line));
            self.advance(3);
            self.skip_blanks();
            return true;
        }
        if is_block && rest.starts_with("+%}") {
            self.tokens.push((token, line));
            self.advance(3);
            return true;
        }
        if rest.starts_with(end) {
            self.tokens.push((token, line));
            self.advance(2);
            if is_block {
                self.skip_newline();
            }
            return true;
        }
        false
    }
}

fn find_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = text[from..].find('{').map(|at| at + from) {
        if matches!(bytes.get(at + 1), Some(b'{' | b'%' | b'#')) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Length of `{% raw %}` with its signs (and the blanks that `-%}` eats) if the text starts with it.
fn raw_begin(text: &str) -> Option<usize> {
    let rest = &text[2..];
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let rest = rest.trim_start_matches(is_blank).strip_prefix("raw")?.trim_start_matches(is_blank);
    let rest = match rest.strip_prefix("-%}") {
        Some(rest) => rest.trim_start_matches(is_blank),
        None => rest.strip_prefix("%}")?,
    };
    Some(text.len() - rest.len())
}

/// Length of `{% endraw %}`, whether it strips to the left, and its closing sign.
fn raw_end(text: &str) -> Option<(usize, bool, Option<char>)> {
    let rest = &text[2..];
    let strip_left = rest.starts_with('-');
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let rest = rest.trim_start_matches(is_blank).strip_prefix("endraw")?.trim_start_matches(is_blank);
    let sign = rest.chars().next().filter(|c| matches!(c, '-' | '+'));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).strip_prefix("%}")?;
    Some((text.len() - rest.len(), strip_left, sign))
}

fn string_length(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return Some(at + 1);
        }
    }
    None
}

/// Python's escapes of a text literal; unknown ones keep their backslash.
fn unescape(text: &str, line: u32) -> Res<String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(next) = chars.next() else {
            return error(line, "a text ends in a backslash");
        };
        let mut hex = |digits: usize| -> Res<char> {
            let code: String = (0..digits).map_while(|_| chars.next_if(char::is_ascii_hexdigit)).collect();
            u32::from_str_radix(&code, 16)
                .ok()
                .filter(|_| code.len() == digits)
                .and_then(char::from_u32)
                .map_or_else(|| error(line, format!("`\\{next}{code}` is no character")), Ok)
        };
        match next {
            '\n' => {}
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            '\\' | '\'' | '"' => out.push(next),
            'x' => {
                let c = hex(2)?;
                out.push(c);
            }
            'u' => {
                let c = hex(4)?;
                out.push(c);
            }
            'U' => {
                let c = hex(8)?;
                out.push(c);
            }
            '0'..='7' => {
                let mut code = next.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = chars.next_if(|c| c.is_digit(8)) else { break };
                    code = code * 8 + digit.to_digit(8).unwrap_or(0);
                }
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    Ok(out)
}

/// A number and its length. Fractions are only read where no dot stands before (`v.tags.0.1`).
fn number(text: &str, may_be_float: bool, line: u32) -> Res<(Token, usize)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let mut at = from;
        while at < bytes.len()
            && (bytes[at].is_ascii_digit()
                || bytes[at] == b'_' && at > from && bytes.get(at + 1).is_some_and(u8::is_ascii_digit))
        {
            at += 1;
        }
        at
    };
    if bytes[0] == b'0'
        && let Some(radix) = match bytes.get(1) {
            Some(b'x' | b'X') => Some(16),
            Some(b'o' | b'O') => Some(8),
            Some(b'b' | b'B') => Some(2),
            _ => None,
        }
    {
        let length =
            text[2..].find(|c: char| !(c.is_digit(radix) || c == '_')).map_or(text.len(), |at| at + 2);
        return match i128::from_str_radix(&text[2..length].replace('_', ""), radix) {
            Ok(number) => Ok((Token::Int(number), length)),
            Err(_) => error(line, format!("`{}` is no number", &text[..length])),
        };
    }
    let whole = digits(0);
    if may_be_float {
        let mut end = whole;
        let mut is_float = false;
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1);
            is_float = true;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(end + 1 + signed).is_some_and(u8::is_ascii_digit) {
                end = digits(end + 1 + signed);
                is_float = true;
            }
        }
        if is_float {
            return match text[..end].replace('_', "").parse() {
                Ok(number) => Ok((Token::Float(number), end)),
                Err(_) => error(line, format!("`{}` is no number", &text[..end])),
            };
        }
    }
    match text[..whole].replace('_', "").parse() {
        Ok(number) => Ok((Token::Int(number), whole)),
        Err(_) => error(line, format!("number `{}` is too large", &text[..whole])),
    }
}
