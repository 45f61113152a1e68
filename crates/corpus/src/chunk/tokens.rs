//! Tokens of a document: cut once, then counted by arithmetic. And a tokenizer for models whose own is elsewhere.

use std::ops::Range;

use flowbench_core::ports::Tokens;
use unicode_normalization::char::is_combining_mark;

/// Most bytes given to a tokenizer at once; its memory is a multiple of it (a hundred times and more for some).
const PIECE_BYTES: usize = 32 << 10;

/// Counts tokens as word pieces of a usual vocabulary would, for models whose tokenizer is not on this machine.
///
/// About three tokens for two English words: words are cut after every sixth letter, numbers after every third digit, and
/// every sign and every Chinese, Japanese or Korean character is a token.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordTokens;

/// Letters of a word that make one token.
const LETTERS: usize = 6;

/// Digits of a number that make one token.
const DIGITS: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Letter,
    Digit,
    /// Is a token by itself.
    Alone,
    /// Belongs to what is before it.
    Mark,
    Blank,
}

fn sort_of(letter: char) -> Sort {
    match letter {
        'a'..='z' | 'A'..='Z' => Sort::Letter,
        '0'..='9' => Sort::Digit,
        _ if letter.is_ascii() && !letter.is_ascii_graphic() => Sort::Blank,
        _ if letter.is_ascii() => Sort::Alone,
        _ if letter.is_whitespace() || letter.is_control() => Sort::Blank,
        _ if is_wide(letter) => Sort::Alone,
        '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => Sort::Mark,
        _ if is_combining_mark(letter) => Sort::Mark,
        _ if letter.is_numeric() => Sort::Digit,
        _ if letter.is_alphabetic() => Sort::Letter,
        _ => Sort::Alone,
    }
}

/// Scripts that write no blanks between words and of which vocabularies know characters rather than words; Hangul too.
pub(super) fn is_wide(letter: char) -> bool {
    matches!(letter,
        '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
}

impl Tokens for WordTokens {
    fn digest(&self) -> String {
        "words-1".to_owned()
    }

    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::with_capacity(text.len() / 4);
        // Sort and number of characters of the token that can still grow.
        let mut open: Option<(Sort, usize)> = None;
        for (at, letter) in text.char_indices() {
            let end = at + letter.len_utf8();
            let sort = sort_of(letter);
            match (sort, open) {
                (Sort::Blank, _) => open = None,
                (Sort::Mark, _) => match spans.last_mut().filter(|last| last.end == at) {
                    Some(last) => last.end = end,
                    None => spans.push(at..end),
                },
                (Sort::Letter | Sort::Digit, Some((before, count)))
                    if before == sort && count < if sort == Sort::Letter { LETTERS } else { DIGITS } =>
                {
                    if let Some(last) = spans.last_mut() {
                        last.end = end;
                    }
                    open = Some((sort, count + 1));
                }
                _ => {
                    spans.push(at..end);
                    open = (sort != Sort::Alone).then_some((sort, 1));
                }
            }
        }
        spans
    }
}

/// Where the tokens of a text stand.
#[derive(Debug)]
pub(super) struct TokenMap {
    starts: Vec<u32>,
    ends: Vec<u32>,
}

impl TokenMap {
    pub(super) fn new(text: &str, tokens: &dyn Tokens) -> Self {
        let mut map = Self { starts: Vec::new(), ends: Vec::new() };
        let mut at = 0;
        while at < text.len() {
            let end = piece_end(text, at);
            for span in tokens.spans(&text[at..end]) {
                map.starts.push(narrow(at + span.start));
                map.ends.push(narrow(at + span.end));
            }
            at = end;
        }
        map
    }

    /// Tokens that lie in the range, wholly or in part.
    pub(super) fn count(&self, range: Range<usize>) -> usize {
        let first = self.first_after(range.start);
        let end = self.starts.partition_point(|start| (*start as usize) < range.end);
        end.saturating_sub(first)
    }

    /// Farthest place up to `end` so that at most `most` tokens lie between `from` and it; always past the first token.
    pub(super) fn reach(&self, from: usize, end: usize, most: usize) -> usize {
        let first = self.first_after(from);
        let mut next = first + most.max(1);
        while let Some(start) = self.starts.get(next) {
            let start = *start as usize;
            if start >= end {
                return end;
            }
            // Several tokens of one character share its place.
            if start > from && start >= self.ends.get(first).map_or(0, |end| *end as usize) {
                return start;
            }
            next += 1;
        }
        end
    }

    /// Start of the last `most` tokens before a place.
    pub(super) fn back(&self, place: usize, most: usize) -> usize {
        let end = self.starts.partition_point(|start| (*start as usize) < place);
        match most.min(end) {
            0 => place,
            taken => self.starts[end - taken] as usize,
        }
    }

    fn first_after(&self, place: usize) -> usize {
        self.ends.partition_point(|end| *end as usize <= place)
    }
}

/// A text of 4 GiB is past every limit of extraction.
fn narrow(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// End of a piece that a tokenizer may see alone: a line's end, else a blank, else anywhere between characters.
fn piece_end(text: &str, at: usize) -> usize {
    if text.len() - at <= PIECE_BYTES {
        return text.len();
    }
    let most = text.floor_char_boundary(at + PIECE_BYTES);
    let piece = &text[at..most];
    piece
        .rfind('\n')
        .map(|found| found + 1)
        .or_else(|| piece.rfind(' '))
        .filter(|length| *length > 0)
        .map_or(most, |length| at + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let spans = WordTokens.spans(text);
        let cut: Vec<&str> = spans.iter().map(|span| &text[span.clone()]).collect();
        assert_eq!(cut, expected);
    }

    #[test]
    fn words_numbers_signs_and_characters_are_tokens() {
        check("Water boils at 100000 K.", &["Water", "boils", "at", "100", "000", "K", "."]);
        check("embeddings", &["embedd", "ings"]);
        check("水が沸く。", &["水", "が", "沸", "く", "。"]);
        check("नमस्ते", &["नमस्ते"]);
        check(" \n\t", &[]);
        check("\u{301}x", &["\u{301}", "x"]);
    }

    #[test]
    fn ranges_are_counted_without_cutting_again() {
        let text = "one two three four";
        let map = TokenMap::new(text, &WordTokens);
        assert_eq!(map.count(0..text.len()), 4);
        assert_eq!(map.count(4..13), 2);
        assert_eq!(map.count(5..6), 1, "a word that is cut counts");
        assert_eq!(map.reach(0, text.len(), 2), 8);
        assert_eq!(map.reach(0, text.len(), 9), text.len());
        assert_eq!(map.reach(14, text.len(), 0), text.len(), "there is always progress");
    }

    #[test]
    fn long_texts_reach_the_tokenizer_in_pieces() {
        let text = "word ".repeat(40_000);
        assert_eq!(TokenMap::new(&text, &WordTokens).count(0..text.len()), 40_000);
        let glued = "ü".repeat(40_000);
        assert!(TokenMap::new(&glued, &WordTokens).count(0..glued.len()) >= 6_666);
    }
}
