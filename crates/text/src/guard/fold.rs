//! Brings a text into the form in which injections are looked for: small letters without accents, look-alikes of other
//! scripts as Latin letters, digits for letters undone, invisible characters gone. Remembers where everything stood.

use unicode_normalization::UnicodeNormalization;

/// A folded text and the way back.
pub(super) struct Folded {
    pub(super) text: String,
    /// Sorted by `folded`; each holds until the next.
    pieces: Vec<Piece>,
    /// Length of the original.
    original_bytes: usize,
}

struct Piece {
    folded: usize,
    original: usize,
    /// Original bytes of one character; none for a run in which both count alike.
    character_bytes: Option<usize>,
}

impl Folded {
    /// The original's bytes for a stretch of the folded text.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        let first = match self.piece(start) {
            Some(Piece { original, character_bytes: Some(_), .. }) => *original,
            Some(piece) => piece.original + (start - piece.folded),
            None => 0,
        };
        let last = end.saturating_sub(1).max(start);
        let after = match self.piece(last) {
            Some(Piece { original, character_bytes: Some(bytes), .. }) => original + bytes,
            Some(piece) => piece.original + (last - piece.folded) + 1,
            None => self.original_bytes,
        };
        (first, after.min(self.original_bytes))
    }

    fn piece(&self, folded: usize) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.folded <= folded);
        self.pieces.get(after.checked_sub(1)?)
    }
}

/// Folds a text. `tags` counts the invisible tag characters that spell hidden ASCII.
pub(super) fn fold(text: &str) -> Folded {
    let mut folded =
        Folded { text: String::with_capacity(text.len()), pieces: Vec::new(), original_bytes: text.len() };
    let mut in_run = false;
    let mut word_start = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let before = folded.text.len();
        if letter.is_ascii() {
            if letter.is_ascii_whitespace() || letter.is_ascii_control() {
                undo_digits(&mut folded.text, word_start);
                // Runs of white space become one; a line's end wins.
                let mut is_line_end = letter == '\n';
                let mut end = at + 1;
                while let Some((next, space)) = letters.next_if(|(_, next)| next.is_whitespace()) {
                    is_line_end |= space == '\n';
                    end = next + space.len_utf8();
                }
                folded.text.push(if is_line_end { '\n' } else { ' ' });
                word_start = folded.text.len();
                let is_single = end == at + 1;
                if !is_single || !in_run {
                    let character_bytes = (!is_single).then_some(end - at);
                    folded.pieces.push(Piece { folded: before, original: at, character_bytes });
                    in_run = is_single;
                }
                continue;
            }
            folded.text.push(letter.to_ascii_lowercase());
            if !in_run {
                folded.pieces.push(Piece { folded: before, original: at, character_bytes: None });
                in_run = true;
            }
            continue;
        }
        fold_letter(letter, &mut folded.text);
        in_run = false;
        if folded.text.len() > before {
            folded.pieces.push(Piece {
                folded: before,
                original: at,
                character_bytes: Some(letter.len_utf8()),
            });
        }
        if letter.is_whitespace() {
            word_start = folded.text.len();
        }
    }
    undo_digits(&mut folded.text, word_start);
    folded
}

/// Folds the words of a pattern, so that it meets folded text. Signs of the pattern language are left alone.
pub(super) fn fold_words(words: &str) -> String {
    let mut folded = String::with_capacity(words.len());
    for letter in words.chars() {
        if letter.is_ascii() { folded.push(letter) } else { fold_letter(letter, &mut folded) }
    }
    folded
}

fn fold_letter(letter: char, folded: &mut String) {
    match letter {
        // Tag characters spell ASCII that nobody sees.
        '\u{e0020}'..='\u{e007e}' => {
            if let Some(hidden) = char::from_u32(u32::from(letter) - 0xe0000) {
                folded.push(hidden.to_ascii_lowercase());
            }
            return;
        }
        _ if is_invisible(letter) => return,
        // Boxed and circled capitals of the emoji blocks.
        '\u{1f130}'..='\u{1f149}' => return push_nth(folded, u32::from(letter) - 0x1f130),
        '\u{1f150}'..='\u{1f169}' => return push_nth(folded, u32::from(letter) - 0x1f150),
        '\u{1f170}'..='\u{1f189}' => return push_nth(folded, u32::from(letter) - 0x1f170),
        '\u{1f1e6}'..='\u{1f1ff}' => return push_nth(folded, u32::from(letter) - 0x1f1e6),
        _ => {}
    }
    for part in std::iter::once(letter).nfkd() {
        if unicode_normalization::char::is_combining_mark(part) {
            continue;
        }
        for small in part.to_lowercase() {
            match look_alike(small) {
                Some(latin) => folded.push_str(latin),
                None if unicode_normalization::char::is_combining_mark(small) => {}
                None => folded.push(small),
            }
        }
    }
}

fn push_nth(folded: &mut String, place: u32) {
    folded.extend(char::from_u32(u32::from('a') + place));
}

/// Takes up no room: zero-width, direction, variation and soft-hyphen characters.
pub(super) fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Letters of other scripts, or Latin ones that no decomposition reaches, which look like these.
fn look_alike(letter: char) -> Option<&'static str> {
    Some(match letter {
        'а' | 'α' | 'ɑ' | 'ᴀ' | 'ა' => "a",
        'в' | 'β' | 'ʙ' => "b",
        'с' | 'ϲ' | 'ᴄ' | 'ⅽ' => "c",
        'ԁ' | 'ᴅ' | 'đ' | 'ð' => "d",
        'е' | 'ε' | 'є' | 'ᴇ' | 'ə' | 'ɛ' => "e",
        'ғ' | 'ꜰ' | 'ƒ' => "f",
        'ɡ' | 'ɢ' | 'ց' => "g",
        'н' | 'һ' | 'ʜ' | 'հ' => "h",
        'і' | 'ι' | 'ı' | 'ɪ' | 'ӏ' => "i",
        'ј' | 'ᴊ' => "j",
        'к' | 'κ' | 'ᴋ' => "k",
        'ʟ' | 'ł' | 'ⅼ' => "l",
        'м' | 'ᴍ' | 'μ' => "m",
        'ո' | 'ɴ' | 'η' | 'п' => "n",
        'о' | 'ο' | 'σ' | 'օ' | 'ᴏ' | 'ø' => "o",
        'р' | 'ρ' | 'ᴘ' => "p",
        'ԛ' => "q",
        'г' | 'ʀ' => "r",
        'ѕ' | 'ꜱ' => "s",
        'т' | 'τ' | 'ᴛ' => "t",
        'υ' | 'ս' | 'ᴜ' => "u",
        'ν' | 'ѵ' | 'ᴠ' => "v",
        'ω' | 'ԝ' | 'ᴡ' | 'ш' => "w",
        'х' | 'χ' => "x",
        'у' | 'γ' | 'ʏ' | 'ү' => "y",
        'ᴢ' => "z",
        'æ' => "ae",
        'œ' => "oe",
        'ß' => "ss",
        'þ' => "th",
        '’' | '‘' | 'ʼ' | '′' => "'",
        '‐'..='―' => "-",
        '“' | '”' | '„' | '«' | '»' => "\"",
        '。' => ".",
        _ => return None,
    })
}

/// `1gn0r3` means `ignore`: digits and signs become the letters they look like. Those that only end a word (`step2`)
/// stay.
fn undo_digits(text: &mut String, word_start: usize) {
    let word = &text.as_bytes()[word_start..];
    let letters = word.iter().filter(|byte| byte.is_ascii_lowercase()).count();
    if letters == 0 || !word.iter().any(|byte| letter_for(*byte).is_some()) {
        return;
    }
    let last_letter = word.iter().rposition(u8::is_ascii_lowercase).unwrap_or(0);
    let all_end_it = !word[..last_letter].iter().any(|byte| letter_for(*byte).is_some());
    let is_address = word.contains(&b'.') || word.contains(&b'/');
    if all_end_it || (is_address && word.len() > 24) {
        return;
    }
    let undone: String = text[word_start..]
        .chars()
        .map(|letter| match u8::try_from(letter).ok().and_then(letter_for) {
            Some(meant) => meant,
            None => letter,
        })
        .collect();
    text.truncate(word_start);
    text.push_str(&undone);
}

fn letter_for(byte: u8) -> Option<char> {
    Some(match byte {
        b'0' => 'o',
        b'1' => 'i',
        b'3' => 'e',
        b'4' => 'a',
        b'5' => 's',
        b'7' => 't',
        b'@' => 'a',
        b'$' => 's',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(fold(text).text, expected);
    }

    #[test]
    fn disguises_fall() {
        check("IGNORE\u{200b} All", "ignore all");
        check("ｉｇｎｏｒｅ 𝐚𝐥𝐥 𝓅rompts", "ignore all prompts");
        check("іgnоrе аll", "ignore all");
        check("1gn0r3 4ll pr3vious step2", "ignore all previous step2");
        check("Übergröße, förra", "ubergrosse, forra");
        check("a \t b \n\n c", "a b\nc");
        check("\u{e0049}\u{e0067}nore", "ignore");
        check("🅸🅶🅽🅾🆁🅴", "ignore");
    }

    #[test]
    fn the_way_back_leads_to_the_same_words() {
        let text = "så: ｉｇ\u{200b}nöre   ßx 😀 end";
        let folded = fold(text);
        for (word, original) in [("ignore", "ｉｇ\u{200b}nöre"), ("ssx", "ßx"), ("end", "end"), ("sa", "så")]
        {
            let at = folded.text.find(word).expect("the word is there");
            let (start, end) = folded.original(at, at + word.len());
            assert_eq!(&text[start..end], original);
        }
    }

    proptest::proptest! {
        #[test]
        fn the_way_back_always_ends_between_characters(text in r"[\PC\u{200b}\u{202e}\u{e0041} \n1é]{0,60}") {
            let folded = fold(&text);
            for (at, letter) in folded.text.char_indices() {
                let (start, end) = folded.original(at, at + letter.len_utf8());
                proptest::prop_assert!(text.is_char_boundary(start) && text.is_char_boundary(end) && start < end);
            }
        }
    }
}
