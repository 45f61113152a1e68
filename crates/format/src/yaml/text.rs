//! A text with its positions: characters to bytes, bytes to lines and columns.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;

use flowbench_core::finding::Place;
use saphyr_parser::Marker;

/// Characters between two checkpoints of the character index; small enough to walk, large enough to cost little.
const STEP: usize = 64;

/// A text, with or without a byte order mark.
pub(crate) struct Text<'t> {
    all: &'t str,
    bom: usize,
    file: Option<&'t str>,
    /// Byte of every `STEP`th character; `None` if all characters are single bytes.
    checkpoints: Option<Vec<usize>>,
    /// Where the last place was asked for: byte, line, column. Places are asked for in order mostly, and lines
    /// can be long.
    last: Cell<(usize, u32, u32)>,
    /// Line starts (byte, character) that the parser sees with more blanks; see [`Text::pad`].
    pads: Vec<(usize, usize)>,
    /// How many more: more than any line is indented by.
    pad_width: usize,
}

/// Widest indentation that lines are padded for; deeper ones stay refused.
const MAX_PAD: usize = 512;

impl<'t> Text<'t> {
    pub(crate) fn new(all: &'t str, file: Option<&'t str>) -> Self {
        let bom = if all.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let body = &all[bom..];
        let checkpoints =
            (!body.is_ascii()).then(|| body.char_indices().step_by(STEP).map(|(at, _)| at + bom).collect());
        Self { all, bom, file, checkpoints, last: Cell::new((bom, 1, 1)), pads: Vec::new(), pad_width: 0 }
    }

    /// The whole text.
    pub(crate) fn all(&self) -> &'t str {
        self.all
    }

    /// The text without its byte order mark.
    pub(crate) fn body(&self) -> &'t str {
        &self.all[self.bom..]
    }

    /// Length of the byte order mark.
    pub(crate) fn bom(&self) -> usize {
        self.bom
    }

    /// Lets the parser see these lines (by the bytes they start with) indented. Inside brackets and quotes
    /// indentation means nothing, and the loader of prompt flow accepts too little of it; our parser does not.
    /// False if nothing new was added.
    pub(crate) fn pad(&mut self, line_starts: Vec<usize>) -> bool {
        if self.pad_width == 0 {
            let indentation = |line: &str| line.bytes().take_while(|byte| b" -?:".contains(byte)).count();
            let widest = self.body().lines().map(indentation).max().unwrap_or(0);
            self.pad_width = (widest + 2).min(MAX_PAD);
        }
        let known: HashSet<usize> = self.pads.iter().map(|(byte, _)| *byte).collect();
        let mut new: Vec<usize> = line_starts.into_iter().filter(|start| !known.contains(start)).collect();
        new.sort_unstable();
        new.dedup();
        let is_new = !new.is_empty();
        let (mut byte, mut character) = (self.bom, 0);
        for start in new {
            character += self.all[byte..start].chars().count();
            byte = start;
            self.pads.push((byte, character));
        }
        self.pads.sort_unstable();
        is_new
    }

    /// What the parser is to read.
    pub(crate) fn for_parser(&self) -> Cow<'t, str> {
        if self.pads.is_empty() {
            return Cow::Borrowed(self.body());
        }
        let mut out = String::with_capacity(self.all.len() + self.pad_width * self.pads.len());
        let mut from = self.bom;
        for (byte, _) in &self.pads {
            out.push_str(&self.all[from..*byte]);
            out.extend(std::iter::repeat_n(' ', self.pad_width));
            from = *byte;
        }
        out.push_str(&self.all[from..]);
        Cow::Owned(out)
    }

    /// Byte offset of the character that has that index for the parser.
    pub(crate) fn byte_of(&self, character: usize) -> usize {
        // Pads before it: the one numbered `i` starts at its own character plus the pads before.
        let count = {
            let (mut low, mut high) = (0, self.pads.len());
            while low < high {
                let middle = (low + high) / 2;
                if self.pads[middle].1 + middle * self.pad_width <= character {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            low
        };
        let character = match count.checked_sub(1) {
            None => character,
            Some(last) => character.saturating_sub(count * self.pad_width).max(self.pads[last].1),
        };
        let Some(checkpoints) = &self.checkpoints else {
            return (self.bom + character).min(self.all.len());
        };
        let Some(start) = checkpoints.get(character / STEP) else { return self.all.len() };
        self.all[*start..]
            .char_indices()
            .nth(character % STEP)
            .map_or(self.all.len(), |(offset, _)| start + offset)
    }

    /// One-based line and column (in characters) of a byte.
    pub(crate) fn line_and_column(&self, byte: usize) -> (u32, u32) {
        let byte = byte.min(self.all.len());
        let (mut at, mut line, mut column) = self.last.get();
        if byte < at {
            (at, line, column) = (self.bom, 1, 1);
        }
        let bytes = self.all.as_bytes();
        for (offset, c) in self.all[at..].char_indices() {
            let here = at + offset;
            if here >= byte {
                break;
            }
            let is_break = c == '\n' || (c == '\r' && bytes.get(here + 1) != Some(&b'\n'));
            if is_break {
                line = line.saturating_add(1);
                column = 1;
            } else {
                column = column.saturating_add(1);
            }
        }
        self.last.set((byte, line, column));
        (line, column)
    }

    /// Place of a byte.
    pub(crate) fn place(&self, byte: usize) -> Place {
        let (line, column) = self.line_and_column(byte);
        self.place_at(line, column)
    }

    /// Place of the parser's mark.
    pub(crate) fn place_of_mark(&self, mark: &Marker) -> Place {
        self.place(self.byte_of(mark.index()))
    }

    /// Place of a line and column.
    pub(crate) fn place_at(&self, line: u32, column: u32) -> Place {
        Place { file: self.file.map(str::to_owned), line: Some(line), column: Some(column), node: None }
    }
}
