//! Groups, words and bytes of rich text.

/// One piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Open,
    Close,
    /// `\*`
    Star,
    /// A control word with its number.
    Word(&'a str, Option<i64>),
    /// A control character.
    Symbol(u8),
    /// `\'hh`
    Hex(u8),
    /// A byte of text.
    Byte(u8),
}

/// Splits rich text.
pub(super) struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Leaves out binary data.
    pub fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.bytes.len());
    }

    /// The next piece.
    pub fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            return Some(match byte {
                b'{' => Token::Open,
                b'}' => Token::Close,
                b'\\' => self.control()?,
                // Line ends in the file are no line ends of the text.
                b'\r' | b'\n' | 0 => continue,
                byte => Token::Byte(byte),
            });
        }
    }

    fn control(&mut self) -> Option<Token<'a>> {
        let start = self.at;
        let letters =
            self.bytes[start..].iter().take(40).take_while(|byte| byte.is_ascii_alphabetic()).count();
        if letters == 0 {
            let byte = *self.bytes.get(start)?;
            self.at += 1;
            return Some(match byte {
                b'*' => Token::Star,
                b'\'' => {
                    let hex =
                        self.bytes.get(self.at..self.at + 2).and_then(|two| std::str::from_utf8(two).ok());
                    match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                        Some(byte) => {
                            self.at += 2;
                            Token::Hex(byte)
                        }
                        None => Token::Byte(b'?'),
                    }
                }
                byte => Token::Symbol(byte),
            });
        }
        self.at += letters;
        let word = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default();
        let rest = &self.bytes[self.at..];
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[sign..].iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
        let mut number = None;
        if digits > 0 {
            number = std::str::from_utf8(&rest[..sign + digits]).ok().and_then(|text| text.parse().ok());
            self.at += sign + digits;
        }
        if self.bytes.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        Some(Token::Word(word, number))
    }
}
