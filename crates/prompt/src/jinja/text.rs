//! Text that knows where each stretch of it came from.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Who wrote a stretch of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The template's author.
    Template,
    /// A value given to the template.
    Value,
    /// An image's key, by the image's number.
    Image(u32),
}

#[derive(Clone, Debug)]
enum Origins {
    All(Origin),
    /// End offset and origin of each run, in order.
    Runs(Rc<[(usize, Origin)]>),
}

/// Immutable text with origins; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    text: Arc<str>,
    origins: Origins,
    /// Jinja2's `Markup`: already escaped.
    pub is_markup: bool,
}

impl Text {
    pub fn new(text: impl Into<Arc<str>>, origin: Origin) -> Self {
        Self { text: text.into(), origins: Origins::All(origin), is_markup: false }
    }

    pub fn template(text: impl Into<Arc<str>>) -> Self {
        Self::new(text, Origin::Template)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn arc(&self) -> Arc<str> {
        self.text.clone()
    }

    pub fn markup(mut self) -> Self {
        self.is_markup = true;
        self
    }

    /// One origin for a text made from this one in a way that does not keep positions: a value's as soon as
    /// any part was.
    pub fn overall(&self) -> Origin {
        match &self.origins {
            Origins::All(origin) => *origin,
            Origins::Runs(_) => Origin::Value,
        }
    }

    /// A new text made from this one without keeping positions.
    pub fn derived(&self, text: impl Into<Arc<str>>) -> Self {
        let origin = match self.overall() {
            Origin::Image(_) => Origin::Value,
            other => other,
        };
        Self { text: text.into(), origins: Origins::All(origin), is_markup: self.is_markup }
    }

    /// Runs as byte ranges with origins, in order, without gaps.
    pub fn runs(&self) -> Vec<(Range<usize>, Origin)> {
        match &self.origins {
            Origins::All(_) if self.text.is_empty() => Vec::new(),
            Origins::All(origin) => vec![(0..self.text.len(), *origin)],
            Origins::Runs(runs) => {
                let mut start = 0;
                runs.iter()
                    .map(|(end, origin)| {
                        let range = start..*end;
                        start = *end;
                        (range, *origin)
                    })
                    .collect()
            }
        }
    }

    /// The part at these byte offsets.
    pub fn slice(&self, range: Range<usize>) -> Self {
        if range == (0..self.text.len()) {
            return self.clone();
        }
        let mut builder = TextBuilder::default();
        builder.push_part(self, range);
        let mut part = builder.finish();
        part.is_markup = self.is_markup;
        part
    }

    /// Each character replaced by what `change` makes of it; origins are kept.
    pub fn map_chars(&self, mut change: impl FnMut(char, &mut String)) -> Self {
        let mut builder = TextBuilder::default();
        let mut piece = String::new();
        for (range, origin) in self.runs() {
            piece.clear();
            for c in self.text[range].chars() {
                change(c, &mut piece);
            }
            builder.push_str(&piece, origin);
        }
        let mut text = builder.finish();
        text.is_markup = self.is_markup;
        text
    }

    /// Offset of the part of this text that `part`, a subslice of it, stands at.
    pub fn slice_of(&self, part: &str) -> Self {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        self.slice(start..start + part.len())
    }
}

/// Builds text run by run.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextBuilder {
    text: String,
    runs: Vec<(usize, Origin)>,
}

impl TextBuilder {
    pub fn len(&self) -> usize {
        self.text.len()
    }

    pub fn push_str(&mut self, text: &str, origin: Origin) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(text);
        let end = self.text.len();
        match self.runs.last_mut() {
            Some((last, known)) if *known == origin => *last = end,
            _ => self.runs.push((end, origin)),
        }
    }

    pub fn push(&mut self, text: &Text) {
        match &text.origins {
            Origins::All(origin) => self.push_str(&text.text, *origin),
            Origins::Runs(_) => self.push_part(text, 0..text.text.len()),
        }
    }

    pub fn push_part(&mut self, text: &Text, range: Range<usize>) {
        match &text.origins {
            Origins::All(origin) => self.push_str(&text.text[range], *origin),
            Origins::Runs(runs) => {
                let mut start = 0;
                for (end, origin) in runs.iter() {
                    let (from, to) = (start.max(range.start), (*end).min(range.end));
                    if from < to {
                        self.push_str(&text.text[from..to], *origin);
                    }
                    start = *end;
                    if start >= range.end {
                        break;
                    }
                }
            }
        }
    }

    pub fn finish(self) -> Text {
        let origins = match self.runs.as_slice() {
            [] => Origins::All(Origin::Template),
            [(_, origin)] => Origins::All(*origin),
            runs => Origins::Runs(Rc::from(runs)),
        };
        Text { text: Arc::from(self.text), origins, is_markup: false }
    }
}

/// Python's idea of a blank character (`str.isspace`, `\s`): Rust's, and the four separators.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Python's `str.strip()` of blanks.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// Ends of lines as `str.splitlines` sees them.
pub(crate) fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}' | '\u{1d}' | '\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Python's `str.splitlines(keepends)` as subslices.
pub(crate) fn split_lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some((at, c)) = rest.char_indices().find(|(_, c)| is_line_end(*c)) else {
            lines.push(rest);
            break;
        };
        let mut end = at + c.len_utf8();
        if c == '\r' && rest[end..].starts_with('\n') {
            end += 1;
        }
        lines.push(if keep_ends { &rest[..end] } else { &rest[..at] });
        rest = &rest[end..];
    }
    lines
}
