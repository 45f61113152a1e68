//! The way back from cleaned text to extracted text.

use std::ops::Range;

use super::{Cleaned, Stretch};

impl Cleaned {
    /// The bytes of the extracted text that a range of the cleaned text came from. Parts that were removed at its edges
    /// are left out, those within it are in.
    pub fn extracted_range(&self, range: &Range<usize>) -> Range<usize> {
        let place = |stretch: &Stretch, at: usize| stretch.extracted.start + (at - stretch.cleaned.start);
        let start = match self.origin.get(self.stretch_after(range.start)) {
            Some(stretch) if stretch.replaced || stretch.cleaned.start >= range.start => {
                stretch.extracted.start
            }
            Some(stretch) => place(stretch, range.start),
            None => self.end_of_origin(range.start).0,
        };
        let end = match self.origin.get(self.stretch_before(range.end)) {
            Some(stretch) if stretch.replaced || stretch.cleaned.end <= range.end => stretch.extracted.end,
            Some(stretch) => place(stretch, range.end),
            None => self.end_of_origin(range.end).0,
        };
        start..if range.is_empty() { start } else { end.max(start) }
    }

    /// First stretch that ends past a place of the cleaned text.
    fn stretch_after(&self, place: usize) -> usize {
        self.origin.partition_point(|stretch| stretch.cleaned.end <= place)
    }

    /// Last stretch that begins before a place of the cleaned text; past all of them for none.
    fn stretch_before(&self, place: usize) -> usize {
        self.origin
            .partition_point(|stretch| stretch.cleaned.start < place)
            .checked_sub(1)
            .unwrap_or(self.origin.len())
    }

    /// Byte and character past all stretches. A document that was made by hand, without stretches, is its own origin.
    fn end_of_origin(&self, place: usize) -> (usize, Option<usize>) {
        match self.origin.last() {
            Some(last) => (last.extracted.end, Some(last.characters.end)),
            None => (place, None),
        }
    }
}

/// Counts characters of the extracted text for ranges of a cleaned document.
#[derive(Debug)]
pub struct Places<'a> {
    cleaned: &'a Cleaned,
    /// Characters of the cleaned text before every [`STEP`]th byte, roughly: before the last boundary up to it.
    counts: Vec<usize>,
}

/// A range costs at most twice so many bytes of counting.
const STEP: usize = 1024;

impl<'a> Places<'a> {
    /// Reads the cleaned text once.
    pub fn new(cleaned: &'a Cleaned) -> Self {
        let text = &cleaned.text;
        let mut counts = Vec::with_capacity(text.len() / STEP + 1);
        let (mut counted, mut at) = (0, 0);
        for step in (0..=text.len()).step_by(STEP) {
            let place = text.floor_char_boundary(step);
            counted += text[at..place].chars().count();
            at = place;
            counts.push(counted);
        }
        Self { cleaned, counts }
    }

    /// Characters of the extracted text that a range of the cleaned text came from.
    pub fn characters(&self, range: &Range<usize>) -> Range<usize> {
        let cleaned = self.cleaned;
        let place = |stretch: &Stretch, at: usize| {
            stretch.characters.start + self.before(at) - self.before(stretch.cleaned.start)
        };
        let start = match cleaned.origin.get(cleaned.stretch_after(range.start)) {
            Some(stretch) if stretch.replaced || stretch.cleaned.start >= range.start => {
                stretch.characters.start
            }
            Some(stretch) => place(stretch, range.start),
            None => cleaned.end_of_origin(range.start).1.unwrap_or_else(|| self.before(range.start)),
        };
        let end = match cleaned.origin.get(cleaned.stretch_before(range.end)) {
            Some(stretch) if stretch.replaced || stretch.cleaned.end <= range.end => stretch.characters.end,
            Some(stretch) => place(stretch, range.end),
            None => cleaned.end_of_origin(range.end).1.unwrap_or_else(|| self.before(range.end)),
        };
        start..if range.is_empty() { start } else { end.max(start) }
    }

    /// Characters of the cleaned text before a place.
    fn before(&self, place: usize) -> usize {
        let text = &self.cleaned.text;
        let place = place.min(text.len());
        let step = place / STEP;
        let from = text.floor_char_boundary(step * STEP);
        self.counts.get(step).copied().unwrap_or_default() + text[from..place].chars().count()
    }
}

/// Where a range of the extracted text is in the cleaned text: what is left of it.
pub(super) fn cleaned_range(stretches: &[Stretch], range: &Range<usize>) -> Range<usize> {
    let first = stretches.partition_point(|stretch| stretch.extracted.end <= range.start);
    let end = stretches.partition_point(|stretch| stretch.extracted.start < range.end);
    if first >= end {
        // Nothing is left; it would be where the next stretch begins.
        let at = stretches
            .get(first)
            .map_or_else(|| stretches.last().map_or(0, |last| last.cleaned.end), |next| next.cleaned.start);
        return at..at;
    }
    let (first, last) = (&stretches[first], &stretches[end - 1]);
    let start = match first.replaced {
        true => first.cleaned.start,
        false => first.cleaned.start + range.start.saturating_sub(first.extracted.start),
    };
    let end = match last.replaced {
        true => last.cleaned.end,
        false => last.cleaned.end - last.extracted.end.saturating_sub(range.end),
    };
    start..end.max(start)
}
