//! Finds where a stretch of text is cut so that no piece holds more tokens than it may.

use std::ops::Range;

use super::outline::{Form, Piece};
use super::sentences::sentences;
use super::tokens::TokenMap;

/// A paragraph that ends in a colon and is no longer than this stays with the list, table or code it announces.
const ANNOUNCEMENT_TOKENS: usize = 40;

/// What is sought for the end of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Ends of blocks, chunks of similar length.
    Blocks,
    /// Ends of sentences, as many as fit.
    Sentences,
    /// Blanks near the last token that fits.
    Tokens,
}

/// Where a chunk ends, and what was torn for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub at: usize,
    /// `table`, `row`, `list`, `code`, `sentence` or `word`: something that would have been kept whole.
    pub torn: Option<&'static str>,
}

impl End {
    fn clean(at: usize) -> Self {
        Self { at, torn: None }
    }
}

/// A document's text with its tokens and pieces.
pub(super) struct Cutter<'a> {
    pub text: &'a str,
    pub pieces: Vec<Piece>,
    pub map: TokenMap,
    /// Ends of the sentences of the piece last asked for; a document may be one endless paragraph.
    kept: Option<(usize, Vec<usize>)>,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(text: &'a str, pieces: Vec<Piece>, map: TokenMap) -> Self {
        Self { text, pieces, map, kept: None }
    }

    /// End of a chunk that begins at `from`, lies within `end`, and holds at most `most` tokens.
    pub(super) fn next_end(&mut self, from: usize, end: usize, most: usize, style: Style) -> End {
        let limit = self.map.reach(from, end, most);
        if limit >= end {
            return End::clean(end);
        }
        let end = match style {
            Style::Tokens => self.at_blank_or(self.map.reach(from, end, most - most / 10), limit),
            Style::Blocks => {
                let rest = self.map.count(from..end);
                let chunks = rest.div_ceil(most.max(1));
                let ideal = self.map.reach(from, end, rest.div_ceil(chunks.max(1)));
                self.at_block(from, end, most, limit, ideal)
            }
            Style::Sentences => self.at_block(from, end, most, limit, limit),
        };
        // Whatever was sought, a chunk holds something that the one before it does not.
        match self.text[from..end.at.max(from)].trim().is_empty() {
            true => End { at: limit, torn: Some("word") },
            false => end,
        }
    }

    /// `ideal` is where chunks of equal length would end; the nearest end of a block is taken.
    fn at_block(&mut self, from: usize, end: usize, most: usize, limit: usize, ideal: usize) -> End {
        let mut best: Option<usize> = None;
        let mut breaker = None;
        for index in self.piece_after(from)..self.pieces.len() {
            let piece = &self.pieces[index];
            if piece.range.start >= end {
                break;
            }
            let stop = piece.range.end.min(end);
            if stop > limit {
                breaker = Some(index);
                break;
            }
            if self.stays_with_next(index, end) {
                continue;
            }
            match best {
                Some(before) if stop > ideal => {
                    if before < ideal && stop - ideal < ideal - before {
                        best = Some(stop);
                    }
                    return End::clean(best.unwrap_or(stop));
                }
                _ => best = Some(stop),
            }
        }
        let Some(index) = breaker else { return End::clean(best.unwrap_or(limit)) };
        let piece = self.pieces[index].clone();
        let stop = piece.range.end.min(end);
        let start = piece.range.start.max(from);
        let is_unit = matches!(piece.form, Form::Table | Form::Code | Form::List);
        if is_unit && start > from && self.map.count(start..stop) <= most {
            return End::clean(best.unwrap_or(start));
        }
        // A third full is full enough to leave a paragraph whole, and an overlong table its beginning.
        if let Some(best) = best
            && self.map.count(from..best) * 3 >= most
            && ideal != limit
        {
            return End::clean(best);
        }
        match self.within(index, start, limit, ideal) {
            Some(end) => end,
            None => match best {
                Some(best) => End::clean(best),
                None => self.at_blank_or(start, limit),
            },
        }
    }

    /// A good place within a piece, past `start` and not past `limit`.
    fn within(&mut self, index: usize, start: usize, limit: usize, ideal: usize) -> Option<End> {
        let range = self.pieces[index].range.clone();
        let torn = |at: Option<usize>, torn| at.map(|at| End { at, torn: Some(torn) });
        match self.pieces[index].form {
            Form::Heading | Form::Prose => {
                let ends = self.sentence_ends(index);
                nearest(ends, start, limit, ideal).map(End::clean)
            }
            Form::List => torn(self.line_start(start, limit, ideal), "list").or_else(|| {
                let ends = self.sentence_ends(index);
                nearest(ends, start, limit, ideal).map(|at| End { at, torn: Some("list") })
            }),
            Form::Table => torn(self.line_start(start, limit, limit), "table").or_else(|| {
                let row = &self.text[start..limit];
                torn(row.rfind('|').filter(|at| *at > 0).map(|at| start + at), "row")
            }),
            Form::Code => {
                let low = start.max(range.start);
                torn(self.code_line(low, limit).or_else(|| self.line_start(low, limit, limit)), "code")
            }
        }
    }

    fn sentence_ends(&mut self, index: usize) -> &[usize] {
        if self.kept.as_ref().is_none_or(|(kept, _)| *kept != index) {
            let range = self.pieces[index].range.clone();
            let ends = sentences(self.text, range).into_iter().map(|sentence| sentence.end).collect();
            self.kept = Some((index, ends));
        }
        self.kept.as_ref().map_or(&[], |(_, ends)| ends)
    }

    /// Start of the line nearest to `ideal`.
    fn line_start(&self, start: usize, limit: usize, ideal: usize) -> Option<usize> {
        let middle = ideal.clamp(start, limit);
        let before = self.text[start..middle].rfind('\n').map(|at| start + at + 1).filter(|at| *at > start);
        let after = self.text[middle..limit].find('\n').map(|at| middle + at + 1);
        match (before, after) {
            (Some(before), Some(after)) if after - middle < middle - before => Some(after),
            (before, after) => before.or(after),
        }
    }

    /// In the second half of what fits: the line after a blank one that is indented least, the last of such.
    fn code_line(&self, start: usize, limit: usize) -> Option<usize> {
        let half = self.text.floor_char_boundary(start + (limit - start) / 2);
        let mut best: Option<(usize, usize)> = None;
        let mut at = half;
        let mut after_blank = false;
        for line in self.text[half..limit].split_inclusive('\n') {
            let words = line.trim_start();
            if at > half && after_blank && !words.is_empty() {
                let indent = line.len() - words.len();
                if best.is_none_or(|(least, _)| indent <= least) {
                    best = Some((indent, at));
                }
            }
            after_blank = line.trim().is_empty();
            at += line.len();
        }
        best.map(|(_, at)| at)
    }

    /// Last blank in a stretch, else its end.
    fn at_blank_or(&self, start: usize, limit: usize) -> End {
        if self.text[limit..].starts_with(char::is_whitespace)
            || self.text[..limit].ends_with(char::is_whitespace)
        {
            return End { at: limit, torn: Some("sentence") };
        }
        match self.text[start..limit].rfind(char::is_whitespace).filter(|at| *at > 0) {
            Some(at) => End { at: start + at, torn: Some("sentence") },
            None => End { at: limit, torn: Some("word") },
        }
    }

    fn piece_after(&self, place: usize) -> usize {
        self.pieces.partition_point(|piece| piece.range.end <= place)
    }

    /// Headings, and lines that announce what follows.
    fn stays_with_next(&self, index: usize, end: usize) -> bool {
        let piece = &self.pieces[index];
        if self.pieces.get(index + 1).is_none_or(|next| next.range.start >= end) {
            return false;
        }
        match piece.form {
            Form::Heading => true,
            Form::Prose => {
                self.text[piece.range.clone()].trim_end().ends_with([':', '：'])
                    && self.map.count(piece.range.clone()) <= ANNOUNCEMENT_TOKENS
            }
            _ => false,
        }
    }

    /// Start of the whole sentences before `place` that hold at most `most` tokens, and are no heading, table or code.
    pub(super) fn sentences_before(&mut self, floor: usize, place: usize, most: usize) -> usize {
        let mut start = place;
        let mut index = self.pieces.partition_point(|piece| piece.range.start < place);
        while index > 0 && most > 0 {
            index -= 1;
            let piece = self.pieces[index].clone();
            let by_lines = match piece.form {
                Form::Prose => false,
                Form::List => true,
                Form::Heading | Form::Table | Form::Code => break,
            };
            if by_lines {
                // Up to the line that would be one too many.
                loop {
                    let line = self.text[piece.range.start..start].trim_end().rfind('\n');
                    let line = line.map_or(piece.range.start, |at| piece.range.start + at + 1);
                    if line >= start || line <= floor || self.map.count(line..place) > most {
                        break;
                    }
                    start = line;
                }
            } else {
                let ends = self.sentence_ends(index);
                let mut starts: Vec<usize> = vec![piece.range.start];
                starts.extend(ends.iter().copied().filter(|end| *end < start.min(piece.range.end)));
                for sentence in starts.into_iter().rev() {
                    if sentence <= floor || self.map.count(sentence..place) > most {
                        break;
                    }
                    start = sentence;
                }
            }
            if start > piece.range.start {
                break;
            }
        }
        start
    }

    /// Start of the words before `place` that hold at most `most` tokens.
    pub(super) fn tokens_before(&self, floor: usize, place: usize, most: usize) -> usize {
        let start = self.map.back(place, most).max(floor);
        if start >= place || self.text[..start].ends_with(char::is_whitespace) {
            return start.min(place);
        }
        // Whole words, where there are any.
        match self.text[start..place].find(char::is_whitespace) {
            Some(at) => {
                start + at + self.text[start + at..place].len()
                    - self.text[start + at..place].trim_start().len()
            }
            None => start,
        }
    }
}

/// Of the places past `start` and not past `limit` the one nearest to `ideal`.
fn nearest(places: &[usize], start: usize, limit: usize, ideal: usize) -> Option<usize> {
    let first = places.partition_point(|place| *place <= start);
    let end = places.partition_point(|place| *place <= limit);
    let middle = places.partition_point(|place| *place <= ideal).clamp(first, end.max(first));
    let after = places.get(middle).copied().filter(|_| middle < end);
    let before = middle.checked_sub(1).filter(|index| *index >= first).map(|index| places[index]);
    match (before, after) {
        (Some(before), Some(after)) if after - ideal.min(after) < ideal.saturating_sub(before) => Some(after),
        (before, after) => before.or(after),
    }
}

/// Without blanks at both ends. A line's indentation is kept where the stretch begins with the whole line.
pub(super) fn trimmed(text: &str, range: Range<usize>, keep_indent: bool) -> Range<usize> {
    let slice = &text[range.clone()];
    let end = range.start + slice.trim_end().len();
    let first = range.start + (slice.len() - slice.trim_start().len());
    if first >= end {
        return end..end;
    }
    if !keep_indent {
        return first..end;
    }
    match text[range.start..first].rfind('\n') {
        Some(at) => range.start + at + 1..end,
        None if range.start == 0 || text[..range.start].ends_with('\n') => range.start..end,
        None => first..end,
    }
}
