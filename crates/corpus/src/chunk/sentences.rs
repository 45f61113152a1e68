//! Sentences: by Unicode's rules (UAX #29), which know `。！？` and `।` and numbers, mended for abbreviations, hard-wrapped
//! lines, and Thai and Lao, which end no sentence with a sign.

use std::borrow::Cow;
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Words whose full stop seldom ends a sentence. Joining two sentences too many does less harm than cutting one in half.
const ABBREVIATIONS: &[&str] = &[
    "abb", "abs", "abt", "al", "anm", "approx", "apr", "aug", "av", "bd", "bl", "bsp", "bzw", "ca", "cap",
    "capt", "cf", "chap", "co", "col", "corp", "dec", "dept", "dez", "dipl", "dr", "dra", "ed", "eds", "ej",
    "eq", "eqs", "est", "etc", "evtl", "ex", "feb", "fig", "figs", "geb", "gen", "ggf", "gov", "hon", "hr",
    "inc", "incl", "ing", "inkl", "jan", "jr", "jul", "jun", "kap", "kl", "lt", "ltd", "mio", "mlle", "mme",
    "mr", "mrd", "mrs", "ms", "mt", "nos", "nov", "nr", "nº", "núm", "oct", "okt", "op", "osv", "pp", "prof",
    "pág", "ref", "resp", "rev", "s.k", "sec", "sect", "sen", "sep", "sept", "sgt", "sog", "sr", "sra",
    "srta", "st", "str", "tel", "ud", "uds", "univ", "usw", "vgl", "vol", "vols", "vs", "zzgl", "г", "гг",
    "др", "им", "рис", "см", "стр", "табл", "ул",
];

/// Words that are abbreviations before a number only: `no. 5`, `p. 12`.
const BEFORE_NUMBERS: &[&str] = &["no", "p", "s", "n", "№", "art", "ch", "tab"];

/// Sentences of a stretch of text, one after the other without gaps: each keeps the blanks that follow it.
pub(super) fn sentences(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let slice = unwrapped(&text[range.clone()]);
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, sentence) in slice.split_sentence_bound_indices() {
        let place = range.start + at..range.start + at + sentence.len();
        match found.last_mut() {
            Some(last) if goes_on(&slice[last.start - range.start..last.end - range.start], sentence) => {
                last.end = place.end;
            }
            _ => found.push(place),
        }
    }
    if !slice.chars().any(ends_without_sign) {
        return found;
    }
    found.into_iter().flat_map(|sentence| at_blanks(text, sentence)).collect()
}

/// Line feeds within a paragraph are blanks of a narrow page, not ends of sentences. Of the same length.
fn unwrapped(text: &str) -> Cow<'_, str> {
    if !text.trim_end().contains('\n') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let is_blank_line = |at: usize| {
        bytes[at + 1..].iter().find(|byte| !matches!(byte, b' ' | b'\t')).is_none_or(|byte| *byte == b'\n')
            || bytes[..at]
                .iter()
                .rev()
                .find(|byte| !matches!(byte, b' ' | b'\t'))
                .is_none_or(|byte| *byte == b'\n')
    };
    let mut joined = String::with_capacity(text.len());
    let mut copied = 0;
    for at in memchr_lines(bytes) {
        if !is_blank_line(at) {
            joined.push_str(&text[copied..at]);
            joined.push(' ');
            copied = at + 1;
        }
    }
    joined.push_str(&text[copied..]);
    Cow::Owned(joined)
}

fn memchr_lines(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at)
}

/// True where a sentence that seems to end does not.
fn goes_on(before: &str, after: &str) -> bool {
    let ended = before.trim_end();
    if ended.len() == before.len() && !ended.is_empty() && !ended.ends_with('.') {
        return false;
    }
    let Some(stem) = ended.strip_suffix('.') else { return ended.is_empty() };
    if before.ends_with('\n') {
        return false;
    }
    let word = stem.rsplit(|letter: char| letter.is_whitespace() || "([{\"'“‘«".contains(letter)).next();
    let Some(word) = word.filter(|word| !word.is_empty()) else { return false };
    let mut letters = word.chars();
    // Initials: `J. Smith`.
    if letters.next().is_some_and(char::is_uppercase) && letters.next().is_none() {
        return true;
    }
    // `e.g.`, `U.S.`, `z.B.`, and steps and dates: `3. Oktober`, `1. Open the lid`.
    if word.len() <= 8
        && word.contains('.')
        && word.split('.').all(|part| part.chars().count() <= 2 && part.chars().all(char::is_alphabetic))
    {
        return true;
    }
    if word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let word = word.to_lowercase();
    ABBREVIATIONS.binary_search(&word.as_str()).is_ok()
        || BEFORE_NUMBERS.contains(&word.as_str())
            && after.starts_with(|letter: char| letter.is_ascii_digit())
}

/// Thai and Lao.
fn ends_without_sign(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}')
}

/// Cuts after each run of blanks that stands behind a Thai or Lao letter: there they part clauses, not words.
fn at_blanks(text: &str, sentence: Range<usize>) -> Vec<Range<usize>> {
    let mut cut = Vec::new();
    let mut start = sentence.start;
    let (mut behind, mut in_blanks) = (false, false);
    for (at, letter) in text[sentence.clone()].char_indices() {
        let at = sentence.start + at;
        if letter.is_whitespace() {
            in_blanks = behind;
        } else {
            if in_blanks {
                cut.push(start..at);
                start = at;
                in_blanks = false;
            }
            behind = ends_without_sign(letter);
        }
    }
    cut.push(start..sentence.end);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let cut = sentences(text, 0..text.len());
        assert_eq!(cut.iter().map(|range| text[range.clone()].trim()).collect::<Vec<_>>(), expected);
        assert_eq!(cut.iter().map(|range| &text[range.clone()]).collect::<String>(), text, "nothing is lost");
    }

    #[test]
    fn the_list_can_be_searched() {
        assert!(ABBREVIATIONS.is_sorted());
    }

    #[test]
    fn signs_end_sentences_and_abbreviations_do_not() {
        check("It rained. We stayed!", &["It rained.", "We stayed!"]);
        check(
            "Dr. Smith met Mr. J. Doe in the U.S. Senate. He left.",
            &["Dr. Smith met Mr. J. Doe in the U.S. Senate.", "He left."],
        );
        check(
            "See Fig. 3 and no. 5 of it. It grew by 3.14 percent.",
            &["See Fig. 3 and no. 5 of it.", "It grew by 3.14 percent."],
        );
        check("We said no. Then we left.", &["We said no.", "Then we left."]);
        check(
            "Am 3. Oktober kam z.B. Frau Dr. Maier. Es regnete.",
            &["Am 3. Oktober kam z.B. Frau Dr. Maier.", "Es regnete."],
        );
        check(
            "Nils kom kl. 8. Det var bl.a. kallt. Han gick.",
            &["Nils kom kl. 8. Det var bl.a. kallt.", "Han gick."],
        );
    }

    #[test]
    fn narrow_lines_are_joined_and_paragraphs_are_not() {
        check("A line that\ngoes on. And\nends.", &["A line that\ngoes on.", "And\nends."]);
        check("A title\n\nA text.", &["A title", "A text."]);
    }

    #[test]
    fn every_language_has_its_own_ends() {
        check("水が沸く。火を消す！なぜ？", &["水が沸く。", "火を消す！", "なぜ？"]);
        check("यह पानी है। वह आग है।", &["यह पानी है।", "वह आग है।"]);
        check("น้ำเดือด ไฟดับ 3 ครั้ง", &["น้ำเดือด", "ไฟดับ", "3 ครั้ง"]);
        check("هل تعرف؟ نعم.", &["هل تعرف؟", "نعم."]);
    }
}
