//! Text from right to left: from the order in which it is seen to the order in which it is read.
//!
//! A simplified inverse of the Unicode bidirectional algorithm (UAX 9): two levels and numbers, as visual order keeps
//! no more.

/// What a piece of text does to the direction around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Left,
    Right,
    Number,
    /// Joins numbers when it stands between two of them: `1,000`, `3:45`.
    NumberJoiner,
    Neutral,
}

/// Whether a character is written from right to left.
pub(super) fn is_right_to_left(char: char) -> bool {
    matches!(char,
        '\u{590}'..='\u{5ff}' | '\u{600}'..='\u{65f}' | '\u{66e}'..='\u{6ef}' | '\u{6fa}'..='\u{8ff}'
        | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// Whether more letters run from right to left than from left to right.
pub(super) fn is_mostly_right_to_left<'t>(texts: impl Iterator<Item = &'t str>) -> bool {
    let (mut right, mut left) = (0_usize, 0_usize);
    for char in texts.flat_map(str::chars) {
        if is_right_to_left(char) {
            right += 1;
        } else if char.is_alphabetic() {
            left += 1;
        }
    }
    right > left
}

fn class(text: &str) -> Class {
    for char in text.chars() {
        if is_right_to_left(char) {
            return Class::Right;
        }
        if char.is_numeric() {
            return Class::Number;
        }
        if char.is_alphabetic() {
            return Class::Left;
        }
    }
    if matches!(text, "." | "," | ":" | "/" | "%" | "-" | "+" | "٫" | "٬") {
        Class::NumberJoiner
    } else {
        Class::Neutral
    }
}

/// Puts pieces that stand from left to right into the order in which they are read.
pub(super) fn logical(pieces: &mut [String]) {
    let classes: Vec<Class> = pieces.iter().map(|piece| class(piece)).collect();
    if !classes.contains(&Class::Right) {
        return;
    }
    let base_is_right = is_mostly_right_to_left(pieces.iter().map(String::as_str));
    let mut levels = levels(&classes, base_is_right);
    for (piece, level) in pieces.iter_mut().zip(&levels) {
        if level % 2 == 1 {
            *piece = piece.chars().map(mirrored).collect();
        }
    }
    let highest = levels.iter().copied().max().unwrap_or(0);
    for level in (1..=highest).rev() {
        reverse_runs(pieces, &mut levels, level);
    }
}

/// The level of every piece: even from left to right, odd from right to left.
fn levels(classes: &[Class], base_is_right: bool) -> Vec<u8> {
    let base = u8::from(base_is_right);
    let mut levels = vec![base; classes.len()];
    // Runs of letters in the other direction, from letter to letter.
    let (other, own) = if base_is_right { (Class::Left, Class::Right) } else { (Class::Right, Class::Left) };
    let mut at = 0;
    while at < classes.len() {
        if classes[at] != other {
            at += 1;
            continue;
        }
        let end = (at..classes.len()).take_while(|next| classes[*next] != own);
        // After a word from left to right a number belongs to it (rule W7).
        let inside =
            |next: &usize| classes[*next] == other || (base_is_right && classes[*next] == Class::Number);
        let last = end.filter(inside).last().unwrap_or(at);
        levels[at..=last].fill(base + 1);
        at = last + 1;
    }
    // Numbers run from left to right wherever they stand.
    let mut at = 0;
    while at < classes.len() {
        if classes[at] != Class::Number || levels[at].is_multiple_of(2) {
            at += 1;
            continue;
        }
        let run = (at..classes.len())
            .take_while(|next| matches!(classes[*next], Class::Number | Class::NumberJoiner));
        let last = run.filter(|next| classes[*next] == Class::Number).last().unwrap_or(at);
        for level in &mut levels[at..=last] {
            *level += 1;
        }
        at = last + 1;
    }
    levels
}

/// Reverses every run of pieces at or above a level.
fn reverse_runs(pieces: &mut [String], levels: &mut [u8], level: u8) {
    let mut at = 0;
    while at < levels.len() {
        let end = at + levels[at..].iter().take_while(|found| **found >= level).count();
        pieces[at..end].reverse();
        levels[at..end].reverse();
        at = end.max(at + 1);
    }
}

/// What a bracket seen in text from right to left is in reading order.
fn mirrored(char: char) -> char {
    match char {
        '(' => ')',
        ')' => '(',
        '[' => ']',
        ']' => '[',
        '{' => '}',
        '}' => '{',
        '<' => '>',
        '>' => '<',
        '«' => '»',
        '»' => '«',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seen: &str, read: &str) {
        let mut pieces: Vec<String> = seen.chars().map(String::from).collect();
        logical(&mut pieces);
        assert_eq!(pieces.concat(), read);
    }

    #[test]
    fn words_from_right_to_left_are_read_from_the_right() {
        check("םולש", "שלום");
        check("plain", "plain");
    }

    #[test]
    fn numbers_and_latin_words_keep_their_own_direction() {
        check("12.50 ריחמ", "מחיר 12.50");
        check("2024 5 תנש", "שנת 5 2024");
        check("Rust עוצקמ", "מקצוע Rust");
        check("iPhone 15 לש ריחמה", "המחיר של iPhone 15");
        check("the word םולש here", "the word שלום here");
    }

    #[test]
    fn brackets_turn_with_the_text() {
        check("(בא) גד", "דג (אב)");
    }
}
