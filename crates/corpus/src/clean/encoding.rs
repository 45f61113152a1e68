//! Repairs what a wrong decoder, a typesetter or a hidden hand left in a text.
//!
//! UTF-8 that was read as Windows-1252 is put right where nothing else can be meant. Blanks of odd widths become blanks,
//! typographic ligatures and Arabic presentation forms become letters; soft hyphens, invisible marks and control
//! characters go. Combining marks are never touched, and joiners stay in the scripts that are written with them.

use unicode_normalization::UnicodeNormalization;

use super::draft::Edit;

/// What Windows-1252 reads in the bytes 0x80 to 0x9F; the five that it does not know stay control characters.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The byte that Windows-1252 reads as this character.
fn byte_of(letter: char) -> Option<u8> {
    match letter {
        '\u{80}'..='\u{ff}' => u8::try_from(u32::from(letter)).ok(),
        _ => WINDOWS_1252
            .iter()
            .position(|known| *known == letter)
            .and_then(|index| u8::try_from(index + 0x80).ok()),
    }
}

/// A run of characters that are the bytes of one other character.
struct Garbled {
    at: usize,
    length: usize,
    lead: char,
    meant: char,
}

/// Edits that undo UTF-8 read as Windows-1252.
pub(super) fn mojibake(text: &str) -> Vec<Edit> {
    if text.is_ascii() {
        return Vec::new();
    }
    let mut found: Vec<Garbled> = Vec::new();
    // Lead characters that also stand where they lead nothing: in this text they are letters.
    let mut letters: Vec<char> = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let at = text.len() - rest.len();
        let length = letter.len_utf8();
        if ('\u{c2}'..='\u{f4}').contains(&letter) {
            match sequence(rest) {
                Some((length, meant)) => {
                    found.push(Garbled { at, length, lead: letter, meant });
                    rest = &rest[length..];
                    continue;
                }
                None if !letters.contains(&letter) => letters.push(letter),
                None => {}
            }
        }
        rest = &rest[length..];
    }
    // `â€™` and emoji are nothing else; `É®`, and the `é»…` of a French quotation, may be meant once. Twice, and never as a
    // letter elsewhere, they are not.
    let sure = |garbled: &&Garbled| matches!(garbled.lead, '\u{e2}' | '\u{f0}');
    let enough = found.iter().filter(|garbled| !sure(garbled)).count() >= 2
        || found.iter().any(|garbled| sure(&garbled));
    found
        .iter()
        .filter(|garbled| sure(garbled) || enough && !letters.contains(&garbled.lead))
        .map(|garbled| Edit {
            range: garbled.at..garbled.at + garbled.length,
            with: garbled.meant.to_string(),
        })
        .collect()
}

/// The character whose UTF-8 bytes stand at the start of a text as Windows-1252, if people write it.
fn sequence(text: &str) -> Option<(usize, char)> {
    let mut bytes = [0u8; 4];
    let mut letters = text.chars();
    let lead = letters.next()?;
    bytes[0] = byte_of(lead)?;
    let wanted = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let mut length = lead.len_utf8();
    for byte in &mut bytes[1..wanted] {
        let letter = letters.next()?;
        *byte = byte_of(letter).filter(|byte| (0x80..0xc0).contains(byte))?;
        length += letter.len_utf8();
    }
    let meant = std::str::from_utf8(&bytes[..wanted]).ok()?.chars().next()?;
    let written = matches!(meant,
        '\u{a0}'..='\u{17f}' | '\u{218}'..='\u{21b}' | '\u{370}'..='\u{52f}' | '\u{590}'..='\u{6ff}' | '\u{900}'..='\u{e7f}'
        | '\u{1e00}'..='\u{1eff}' | '\u{2010}'..='\u{203a}' | '\u{20ac}' | '\u{2122}' | '\u{2190}'..='\u{2193}' | '\u{2212}'
        | '\u{3000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{feff}' | '\u{1f300}'..='\u{1f9ff}');
    written.then_some((length, meant))
}

/// Edits that put blanks, ligatures and invisible characters right. Source code keeps its blanks and ligatures, which
/// mean something there.
pub(super) fn odd_characters(text: &str, is_code: bool) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut before = None;
    // Nobody writes the control characters that stand where Windows-1252 has quotation marks and dashes.
    let is_latin = text.contains(|letter| matches!(letter, '\u{80}'..='\u{84}' | '\u{86}'..='\u{9f}'));
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if matches!(letter, ' '..='~' | '\n' | '\t') {
            before = Some(letter);
            continue;
        }
        let after = letters.peek().map(|(_, after)| *after);
        let with = match letter {
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' if !is_code => Some(" ".to_owned()),
            '\u{fb00}'..='\u{fb06}' if !is_code => Some(letter.nfkc().collect()),
            // Ornate brackets and words written as one sign are left alone.
            '\u{fb50}'..='\u{fbb1}' | '\u{fbd3}'..='\u{fd3d}' | '\u{fe80}'..='\u{fefc}' if !is_code => {
                Some(letter.nfkc().collect())
            }
            '\r' if after == Some('\n') => Some(String::new()),
            '\u{80}'..='\u{9f}' if is_latin => {
                let meant = WINDOWS_1252[(u32::from(letter) - 0x80) as usize];
                Some(if meant.is_control() { String::new() } else { meant.to_string() })
            }
            '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' => Some("\n".to_owned()),
            '\u{2029}' => Some("\n\n".to_owned()),
            // A word parted at the end of a line is whole again.
            '\u{ad}' if after == Some('\n') && before.is_some_and(char::is_alphabetic) => {
                letters.next();
                edits.push(Edit { range: at..at + '\u{ad}'.len_utf8() + 1, with: String::new() });
                continue;
            }
            '\u{ad}' | '\u{2060}' | '\u{feff}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => Some(String::new()),
            // Direction marks hide what a text says to a model, and say nothing to a search.
            '\u{202a}'..='\u{202e}' | '\u{2061}'..='\u{2064}' | '\u{2066}'..='\u{206f}' => {
                Some(String::new())
            }
            '\u{200b}' if !(before.is_some_and(parts_words) || after.is_some_and(parts_words)) => {
                Some(String::new())
            }
            '\u{200c}' | '\u{200d}' if !(before.is_some_and(is_joined) || after.is_some_and(is_joined)) => {
                Some(String::new())
            }
            // Letters that nobody sees, save in flags of regions, which begin with a black flag.
            '\u{e0000}'..='\u{e007f}' if !matches!(before, Some('\u{1f3f4}' | '\u{e0000}'..='\u{e007f}')) => {
                Some(String::new())
            }
            _ if letter.is_control() => Some(String::new()),
            _ => None,
        };
        match with {
            Some(with) => edits.push(Edit { range: at..at + letter.len_utf8(), with }),
            None => before = Some(letter),
        }
    }
    edits
}

/// Thai, Lao, Myanmar and Khmer part words with a blank of no width.
fn parts_words(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// Scripts whose letters join, and emoji.
fn is_joined(letter: char) -> bool {
    matches!(letter,
        '\u{590}'..='\u{1cff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe0f}' | '\u{fe70}'..='\u{feff}' | '\u{2600}'..='\u{27bf}'
        | '\u{a800}'..='\u{abff}' | '\u{10a00}'..='\u{11fff}' | '\u{1e900}'..='\u{1e95f}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::super::draft::Draft;
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut draft = Draft::new(text);
        draft.apply(&mojibake(text));
        let edits = odd_characters(&draft.text, false);
        draft.apply(&edits);
        assert_eq!(draft.text, expected);
    }

    #[test]
    fn text_that_was_read_as_windows_1252_is_put_right() {
        check("Ã„rger mit KÃ¶ln", "Ärger mit Köln");
        check("Itâ€™s â€œfineâ€\u{9d} cafÃ©", "It’s “fine” café");
        check("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет");
        check("price: 5Â\u{a0}â‚¬", "price: 5 €");
        check("æ—¥æœ¬", "日本");
    }

    #[test]
    fn text_that_may_be_meant_is_left_alone() {
        for text in [
            "CAFÉ® only",
            "SÃO PAULO e CAFÃ© Ão",
            "Å®",
            "Ärger ö Ü",
            "façade â la carte",
            "Ã©",
            "«café»… déjà",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn blanks_ligatures_and_invisible_characters_are_put_right() {
        check("a\u{a0}b\u{2009}c", "a b c");
        check("e\u{fb03}cient \u{fb01}n", "efficient fin");
        check("Don\u{ad}au exam\u{ad}\nple", "Donau example");
        check("zero\u{200b}width \u{feff}mark\u{2060}", "zerowidth mark");
        check("\u{93}fine\u{94} \u{96} well\u{85}", "“fine” – well…");
        check("line\u{85}next", "line\nnext");
        check("page\u{c}next\r\nline\u{0}", "page\nnext\nline");
        check("\u{fefb}\u{fee1}", "\u{644}\u{627}\u{645}");
        check("hi\u{e0041}\u{e0042} \u{202e}evil", "hi evil");
    }

    #[test]
    fn marks_and_joiners_that_scripts_need_stay() {
        for text in [
            "क्\u{200d}ष नमस्ते",
            "می\u{200c}خواهم",
            "e\u{301}te\u{301}",
            "👩\u{200d}💻",
            "ไฟ\u{200b}ดับ",
            "日本\u{3000}語",
            "❤\u{fe0f}",
        ] {
            check(text, text);
        }
    }
}
