//! Runs of a text: words where a script puts blanks between them, character bigrams where it does not.

use unicode_normalization::UnicodeNormalization;
use unicode_script::{Script, UnicodeScript};
use unicode_segmentation::UnicodeSegmentation;

/// What a run gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A word; identifiers come whole and in parts.
    Word {
        /// The identifier as it is written, lower-cased.
        whole: Option<String>,
        /// Its parts, or the word itself.
        parts: Vec<String>,
    },
    /// Two characters next to each other, or one that stands alone.
    Gram(String),
}

/// Pieces of a text in order.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_gapless = rest.chars().next().is_some_and(is_gapless);
        let end = rest
            .char_indices()
            .find(|(_, c)| !continues(*c) && self::is_gapless(*c) != is_gapless)
            .map_or(rest.len(), |(at, _)| at);
        let (run, after) = rest.split_at(end);
        match is_gapless {
            true => grams(run, &mut pieces),
            false => words(run, &mut pieces),
        }
        rest = after;
    }
    pieces
}

/// Scripts whose words are not parted by blanks, and Hangul, whose words carry their particles.
fn is_gapless(c: char) -> bool {
    if (c as u32) < 0x0E00 {
        return false;
    }
    matches!(
        c.script(),
        Script::Han
            | Script::Hiragana
            | Script::Katakana
            | Script::Bopomofo
            | Script::Hangul
            | Script::Thai
            | Script::Lao
            | Script::Khmer
            | Script::Myanmar
            | Script::Tibetan
    ) || matches!(c, 'ー' | 'ｰ' | 'ﾞ' | 'ﾟ')
}

/// Marks belong to what they stand on, whichever that is.
fn continues(c: char) -> bool {
    (c as u32) >= 0x0300 && c.script() == Script::Inherited
}

fn grams(run: &str, pieces: &mut Vec<Piece>) {
    let folded: Vec<char> = run.nfkc().filter(|c| is_gapless(*c) || continues(*c)).collect();
    // Tibetan and Khmer have marks of their own for the end of a sentence; letters between two of them are a run.
    for run in folded.split(|c| !c.is_alphanumeric() && !is_mark(*c)) {
        match run {
            [] => {}
            [one] => pieces.push(Piece::Gram(one.to_string())),
            run => pieces.extend(run.windows(2).map(|pair| Piece::Gram(pair.iter().collect()))),
        }
    }
}

/// Vowel signs and tones of the scripts above, which are no letters to the standard library where they stand apart.
fn is_mark(c: char) -> bool {
    matches!(c as u32,
        0x0E31..=0x0E3A | 0x0E47..=0x0E4E | 0x0EB1..=0x0EBC | 0x0EC8..=0x0ECE | 0x0F18..=0x0F39 | 0x0F71..=0x0F84
        | 0x0F90..=0x0FBC | 0x102B..=0x103E | 0x1056..=0x109D | 0x17B4..=0x17D3 | 0x17DD)
        || continues(c)
        || c == 'ー'
}

fn words(run: &str, pieces: &mut Vec<Piece>) {
    for word in run.unicode_words() {
        let (separated, is_name) = split(word);
        let mut parts: Vec<String> = Vec::with_capacity(separated.len());
        parts.extend(separated.into_iter().map(fold).filter(|part| !part.is_empty()));
        if parts.is_empty() {
            continue;
        }
        let whole = (is_name && parts.len() > 1).then(|| fold(word));
        pieces.push(Piece::Word { whole, parts });
    }
}

/// Parts of a word as the standard's rules leave it (`don't`, `example.com`, `snake_case`, `1.2.3`), and whether it is a
/// name of something that is also looked for as a whole.
fn split(word: &str) -> (Vec<&str>, bool) {
    let is_joint = |c: char| {
        matches!(c, '.' | '_' | ':' | '·' | ',' | ';' | '\'' | '’' | '‘' | '＇' | '\u{2024}' | '\u{203F}')
    };
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return (vec![word], false);
    }
    let mut parts = Vec::new();
    let mut is_name = false;
    for part in word.split(is_joint) {
        let humps = humps(part);
        is_name |= humps.len() > 1;
        parts.extend(humps);
    }
    is_name |= word.contains(['.', '_', ':']);
    (parts, is_name)
}

/// `camelCase` at its humps: a small letter before a capital one, if what is before and after has two letters at least
/// (`mRNA`, `pH` and `iPhone` are words).
fn humps(word: &str) -> Vec<&str> {
    let mut humps = Vec::new();
    let mut start = 0;
    let mut before: Option<char> = None;
    for (at, c) in word.char_indices() {
        let is_hump = c.is_uppercase() && before.is_some_and(char::is_lowercase);
        let after = word[at..].chars().nth(1).is_some();
        if is_hump && after && word[start..at].chars().nth(1).is_some() {
            humps.push(&word[start..at]);
            start = at;
        }
        before = Some(c);
    }
    humps.push(&word[start..]);
    humps
}

/// One spelling: compatibility forms (`ﬁ`, `Ａ`, `①`), lower case, nothing that cannot be seen.
fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let folded: String = word.nfkc().filter(|c| !is_unseen(*c)).collect();
    let lower = folded.to_lowercase();
    // The Turkish capital İ becomes an i with a second dot, which nobody types.
    let lower = if lower.contains("i\u{307}") { lower.replace("i\u{307}", "i") } else { lower };
    // Lower case can take letters apart again (`ΐ`); stems are looked up composed.
    lower.nfc().collect()
}

/// Soft hyphens, joiners, direction marks, the elongation of Arabic.
fn is_unseen(c: char) -> bool {
    matches!(c as u32, 0x00AD | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x2069 | 0xFE00..=0xFE0F | 0xFEFF | 0x0640)
}
