//! Takes a byte stream apart into server-sent events or lines, whatever the pieces it arrives in.
//!
//! A read may end inside a character or between `\r` and `\n`, so bytes are kept until their line is whole.

/// One event: its name, where it has one, and its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub name: String,
    pub data: String,
}

/// How events are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events.
    Events,
    /// One JSON object a line.
    Lines,
}

/// The decoder.
#[derive(Debug)]
pub(crate) struct Decoder {
    framing: Framing,
    line: Vec<u8>,
    after_return: bool,
    is_first_line: bool,
    open: Event,
    has_data: bool,
}

impl Decoder {
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            line: Vec::new(),
            after_return: false,
            is_first_line: true,
            open: Event::default(),
            has_data: false,
        }
    }

    /// The events that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let mut rest = bytes;
        if self.after_return && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        if !bytes.is_empty() {
            self.after_return = false;
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.extend_from_slice(&rest[..end]);
            let is_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_return {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
            events.extend(self.end_line());
        }
        self.line.extend_from_slice(rest);
        events
    }

    /// The event that was still open: servers forget the last blank line.
    pub fn finish(&mut self) -> Option<Event> {
        let last_line = if self.line.is_empty() { None } else { self.end_line() };
        last_line.or_else(|| self.dispatch())
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let text = match std::mem::replace(&mut self.is_first_line, false) {
            true => text.strip_prefix('\u{feff}').unwrap_or(&text),
            false => &text,
        };
        match self.framing {
            Framing::Lines => {
                let text = text.trim();
                (!text.is_empty()).then(|| Event { name: String::new(), data: text.to_owned() })
            }
            Framing::Events if text.is_empty() => self.dispatch(),
            Framing::Events => {
                let (field, value) = text.split_once(':').unwrap_or((text, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => self.open.name = value.to_owned(),
                    "data" => {
                        if self.has_data {
                            self.open.data.push('\n');
                        }
                        self.open.data.push_str(value);
                        self.has_data = true;
                    }
                    // Comments (empty name), `id`, `retry` and what may come.
                    _ => {}
                }
                None
            }
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.open);
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to cut the text in two, and byte by byte, gives the same events.
    #[track_caller]
    fn check(framing: Framing, text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<Event> = expected
            .iter()
            .map(|(name, data)| Event { name: (*name).to_owned(), data: (*data).to_owned() })
            .collect();
        let bytes = text.as_bytes();
        let mut cuts: Vec<Vec<&[u8]>> =
            (0..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]).collect();
        cuts.push(bytes.chunks(1).collect());
        for pieces in cuts {
            let mut decoder = Decoder::new(framing);
            let mut events: Vec<Event> = pieces.iter().flat_map(|piece| decoder.push(piece)).collect();
            events.extend(decoder.finish());
            assert_eq!(events, expected, "cut as {pieces:?}");
        }
    }

    #[test]
    fn events_survive_any_cut() {
        check(
            Framing::Events,
            "\u{feff}data: å\r\n\r\nevent: ping\rdata:one\rdata: two\r\r: keep alive\nid: 7\n\ndata\n\ndata: end",
            &[("", "å"), ("ping", "one\ntwo"), ("", ""), ("", "end")],
        );
    }

    #[test]
    fn lines_survive_any_cut() {
        check(
            Framing::Lines,
            "{\"a\": \"ö\"}\n\r\n{\"b\": 1}",
            &[("", "{\"a\": \"ö\"}"), ("", "{\"b\": 1}")],
        );
    }
}
