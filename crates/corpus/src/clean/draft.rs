//! A text that is being cleaned, with the way back to where every part of it came from.

use std::ops::Range;

use super::Stretch;

/// A part of the current text and what comes in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub range: Range<usize>,
    pub with: String,
}

#[derive(Debug)]
pub(super) struct Draft {
    pub text: String,
    stretches: Vec<Stretch>,
}

impl Draft {
    /// Starts with the extracted text.
    pub(super) fn new(text: &str) -> Self {
        let stretches = match text.len() {
            0 => Vec::new(),
            length => vec![Stretch { cleaned: 0..length, extracted: 0..length, ..Stretch::default() }],
        };
        Self { text: text.to_owned(), stretches }
    }

    /// Makes all edits. They are in order; one that begins within the one before it is left out.
    pub(super) fn apply(&mut self, edits: &[Edit]) {
        if edits.is_empty() {
            return;
        }
        let mut next = Writer { text: String::with_capacity(self.text.len()), stretches: Vec::new() };
        let (mut cursor, mut at) = (0, 0);
        for edit in edits {
            if edit.range.start < at || edit.range.is_empty() {
                continue;
            }
            self.copy(&mut cursor, at..edit.range.start, &mut next);
            let extracted = self.origin(&mut cursor, &edit.range);
            next.replace(&edit.with, extracted);
            at = edit.range.end;
        }
        self.copy(&mut cursor, at..self.text.len(), &mut next);
        self.text = next.text;
        self.stretches = next.stretches;
    }

    fn copy(&self, cursor: &mut usize, range: Range<usize>, next: &mut Writer) {
        self.seek(cursor, range.start);
        for stretch in &self.stretches[*cursor..] {
            if stretch.cleaned.start >= range.end {
                break;
            }
            let part = stretch.cleaned.start.max(range.start)..stretch.cleaned.end.min(range.end);
            if part.is_empty() {
                continue;
            }
            let extracted = match stretch.replaced {
                true => stretch.extracted.clone(),
                false => {
                    let from = stretch.extracted.start + (part.start - stretch.cleaned.start);
                    from..from + part.len()
                }
            };
            next.push(&self.text[part], extracted, stretch.replaced);
        }
    }

    /// The extracted bytes that a range of the current text came from.
    fn origin(&self, cursor: &mut usize, range: &Range<usize>) -> Range<usize> {
        self.seek(cursor, range.start);
        let mut found: Option<Range<usize>> = None;
        for stretch in &self.stretches[*cursor..] {
            if stretch.cleaned.start >= range.end {
                break;
            }
            let part = match stretch.replaced {
                true => stretch.extracted.clone(),
                false => {
                    let place = |at: usize| stretch.extracted.start + at - stretch.cleaned.start;
                    place(stretch.cleaned.start.max(range.start))..place(stretch.cleaned.end.min(range.end))
                }
            };
            found = Some(found.map_or(part.clone(), |found| found.start..part.end));
        }
        found.unwrap_or(0..0)
    }

    fn seek(&self, cursor: &mut usize, place: usize) {
        while self.stretches.get(*cursor).is_some_and(|stretch| stretch.cleaned.end <= place) {
            *cursor += 1;
        }
    }

    /// The text and its stretches, with characters of the extracted text counted.
    pub(super) fn finish(self, extracted: &str) -> (String, Vec<Stretch>) {
        let mut stretches = self.stretches;
        let (mut counted, mut at) = (0, 0);
        let mut character = |place: usize| {
            counted += extracted[at..place].chars().count();
            at = place;
            counted
        };
        for stretch in &mut stretches {
            let start = character(stretch.extracted.start);
            stretch.characters = start..character(stretch.extracted.end);
        }
        (self.text, stretches)
    }
}

struct Writer {
    text: String,
    stretches: Vec<Stretch>,
}

impl Writer {
    fn push(&mut self, text: &str, extracted: Range<usize>, replaced: bool) {
        let cleaned = self.text.len()..self.text.len() + text.len();
        self.text.push_str(text);
        if let Some(last) = self.stretches.last_mut()
            && !replaced
            && !last.replaced
            && last.extracted.end == extracted.start
        {
            last.cleaned.end = cleaned.end;
            last.extracted.end = extracted.end;
            return;
        }
        // A mask that is cut in two came from one place; the map must not go back.
        let floor = self.stretches.last().map_or(0, |last| last.extracted.end);
        let extracted = extracted.start.max(floor)..extracted.end.max(floor);
        self.stretches.push(Stretch { cleaned, extracted, replaced, ..Stretch::default() });
    }

    fn replace(&mut self, with: &str, extracted: Range<usize>) {
        if !with.is_empty() {
            self.push(with, extracted, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(range: Range<usize>, with: &str) -> Edit {
        Edit { range, with: with.to_owned() }
    }

    #[test]
    fn edits_of_edited_text_lead_back_to_the_first_text() {
        let extracted = "aé bbb ccc ddd";
        let mut draft = Draft::new(extracted);
        draft.apply(&[edit(3..4, ""), edit(8..11, "[mask]")]);
        assert_eq!(draft.text, "aébbb [mask] ddd");
        draft.apply(&[edit(3..4, "B"), edit(8..15, "X")]);
        assert_eq!(draft.text, "aéBbb [Xdd");
        let (text, stretches) = draft.finish(extracted);
        for stretch in &stretches {
            if !stretch.replaced {
                assert_eq!(text[stretch.cleaned.clone()], extracted[stretch.extracted.clone()]);
            }
        }
        let last = stretches.last().unwrap();
        assert_eq!((&text[last.cleaned.clone()], last.characters.clone()), ("dd", 12..14));
        assert!(stretches.windows(2).all(|pair| pair[0].extracted.end <= pair[1].extracted.start));
    }
}
