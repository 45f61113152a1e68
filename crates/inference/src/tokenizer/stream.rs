//! Text from tokens as they come, never half a character.

/// Collects bytes and gives out whole characters.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    pending: Vec<u8>,
}

impl TextStream {
    /// Takes bytes in and gives out what they complete. Bytes that cannot become UTF-8 turn into U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    match error.error_len() {
                        Some(len) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &rest[len..];
                        }
                        None => break,
                    }
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    /// Ends the text: an unfinished character turns into U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::TextStream;

    #[test]
    fn a_character_is_held_back_until_it_is_whole() {
        let mut stream = TextStream::default();
        let bytes = "å😀".as_bytes();
        let pieces: Vec<String> = bytes.iter().map(|byte| stream.push(&[*byte])).collect();
        assert_eq!(pieces, ["", "å", "", "", "", "😀"]);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn broken_bytes_become_replacement_characters() {
        let mut stream = TextStream::default();
        assert_eq!(stream.push(b"a\xFFb"), "a\u{FFFD}b");
        assert_eq!(stream.push(&[0xF0, 0x9F]), "");
        assert_eq!(stream.finish(), "\u{FFFD}");
    }

    #[test]
    fn pieces_together_are_the_text() {
        let text = "naïve café — 日本語 🇸🇪";
        for size in 1..8 {
            let mut stream = TextStream::default();
            let mut joined: String = text.as_bytes().chunks(size).map(|chunk| stream.push(chunk)).collect();
            joined.push_str(&stream.finish());
            assert_eq!(joined, text, "in chunks of {size} bytes");
        }
    }
}
