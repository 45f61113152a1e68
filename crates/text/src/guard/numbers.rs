//! Finds numbers that stand for a person: cards, accounts, identity numbers, telephones.
//!
//! The text is cut into words of letters and digits. From each word that may begin a number, runs of up to
//! [`MOST_WORDS`] words are put together as long as nothing but separators stands between them, and every kind says
//! what it thinks of the run. A kind that is weak on its own (nine digits with a check digit are common) stays below
//! [`SURE_ENOUGH`] unless a word nearby names it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::{Action, Category, Hit, contact, national};

/// Below this a finding would be wrong more often than right.
const SURE_ENOUGH: f64 = 0.5;

/// What a word nearby that names the kind adds.
const NAMED_NEARBY: f64 = 0.4;

/// An IBAN in groups of four has nine words.
const MOST_WORDS: usize = 9;

/// An IBAN has at most 34 letters and digits, and nothing here has more.
const LONGEST: usize = 34;

/// Bytes before a number in which a naming word counts.
const BEFORE: usize = 60;

/// Bytes after it: `… office`, `… (fax)`.
const AFTER: usize = 12;

/// One kind of number.
pub(super) struct NumberKind {
    pub(super) name: &'static str,
    /// How sure, without regard to the words nearby; none if it is not of this kind.
    pub(super) score: fn(&Run<'_>) -> Option<f64>,
    /// Words nearby that make it surer, lower case.
    pub(super) named: &'static [&'static str],
    pub(super) reason: &'static str,
}

/// All kinds of personal data that are looked for.
pub fn personal_kinds() -> impl Iterator<Item = &'static str> {
    national::KINDS.iter().map(|kind| kind.name).chain(contact::KINDS)
}

/// Some words in a row with nothing but separators between them.
pub(super) struct Run<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Letters (upper case) and digits only.
    pub(super) compact: &'a str,
    /// The run with `9` for each digit and `A` for each letter.
    pub(super) shape: &'a str,
}

impl Run<'_> {
    /// The digits, if there is nothing else but separators.
    pub(super) fn digits(&self) -> Option<Vec<u32>> {
        self.compact.chars().map(|letter| letter.to_digit(10)).collect()
    }

    /// The separators in order.
    pub(super) fn separators(&self) -> impl Iterator<Item = char> {
        self.shape.chars().filter(|letter| !matches!(letter, '9' | 'A'))
    }

    /// There is no separator, or always the same one.
    pub(super) fn is_evenly_separated(&self) -> bool {
        let mut separators = self.separators();
        match separators.next() {
            Some(first @ (' ' | '-')) => separators.all(|next| next == first),
            Some(_) => false,
            None => true,
        }
    }

    /// A part of something longer: `4111-…` within `9-4111-…`, or digits after a decimal point.
    fn is_cut(&self) -> bool {
        let joins = |letter: char| matches!(letter, '-' | '.' | '/' | ',' | '_' | ':');
        let mut before = self.text[..self.start].chars().rev();
        let mut after = self.text[self.end..].chars();
        let cut_before =
            before.next().is_some_and(joins) && before.next().is_some_and(|next| next.is_ascii_digit());
        let cut_after =
            after.next().is_some_and(joins) && after.next().is_some_and(|next| next.is_ascii_digit());
        cut_before || cut_after
    }
}

/// Where in a text the words stand that name a kind; looked up at the first number that needs them.
struct Names<'a> {
    text: &'a str,
    places: Vec<OnceCell<Vec<usize>>>,
}

impl Names<'_> {
    /// One of the kind's words stands before or right after the run.
    fn are_near(&self, kind: usize, run: &Run<'_>) -> bool {
        let places = self.places[kind]
            .get_or_init(|| NAMES[kind].find_iter(self.text).map(|name| name.start()).collect());
        let first = places.partition_point(|place| *place < run.start.saturating_sub(BEFORE));
        places.get(first).is_some_and(|place| *place < run.end + AFTER)
    }
}

/// The words of each kind in one pattern; each begins where a word begins, so that `tel` is not in `hotel`.
static NAMES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let pattern = |kind: &NumberKind| format!(r"(?i)\b(?:{})", kind.named.join("|").replace('.', r"\."));
    national::KINDS
        .iter()
        .map(|kind| Regex::new(&pattern(kind)).expect("plain words, which the tests compile"))
        .collect()
});

pub(super) fn find(text: &str, kinds: &BTreeSet<&'static str>, action: Action) -> Vec<Hit> {
    let wanted: Vec<(usize, &NumberKind)> =
        national::KINDS.iter().enumerate().filter(|(_, kind)| kinds.contains(kind.name)).collect();
    let names = Names { text, places: vec![OnceCell::new(); national::KINDS.len()] };
    let mut hits = Vec::new();
    if wanted.is_empty() {
        return hits;
    }
    let words = words(text);
    let (mut compact, mut shape) = (String::new(), String::new());
    for (index, first) in words.iter().enumerate() {
        if !(first.has_digit || first.end - first.start <= 2) {
            continue;
        }
        compact.clear();
        shape.clear();
        let mut end = first.start;
        for word in words[index..].iter().take(MOST_WORDS) {
            if compact.len() + (word.end - word.start) > LONGEST
                || !push_gap(&text[end..word.start], &mut shape)
            {
                break;
            }
            for letter in text[word.start..word.end].chars() {
                compact.push(letter.to_ascii_uppercase());
                shape.push(if letter.is_ascii_digit() { '9' } else { 'A' });
            }
            end = word.end;
            if compact.len() < SHORTEST {
                continue;
            }
            let run = Run { text, start: first.start, end, compact: &compact, shape: &shape };
            hits.extend(wanted.iter().filter_map(|(index, kind)| judge(&run, &names, *index, kind, action)));
        }
    }
    hits
}

/// Seven digits are a local telephone number; nothing here is shorter.
const SHORTEST: usize = 7;

fn judge(run: &Run<'_>, names: &Names<'_>, index: usize, kind: &NumberKind, action: Action) -> Option<Hit> {
    let mut score = (kind.score)(run)?;
    if run.is_cut() {
        return None;
    }
    if score < SURE_ENOUGH && names.are_near(index, run) {
        score = (score + NAMED_NEARBY).min(0.99);
    }
    if score < SURE_ENOUGH {
        return None;
    }
    let (start, end) = if kind.name == "phone" { national::whole_phone(run) } else { (run.start, run.end) };
    Some(Hit {
        category: Category::PersonalData,
        kind: kind.name.into(),
        start,
        end,
        score,
        reason: kind.reason.into(),
        action,
        severity: None,
    })
}

/// Adds what stands between two words, or says that they do not belong together.
fn push_gap(gap: &str, shape: &mut String) -> bool {
    if gap.len() > 4 || gap.chars().count() > 3 {
        return false;
    }
    for letter in gap.chars() {
        shape.push(match letter {
            '-' | '.' | '/' | '(' | ')' | '+' | ' ' => letter,
            '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
            '\u{2010}'..='\u{2013}' => '-',
            _ => return false,
        });
    }
    true
}

struct Word {
    start: usize,
    end: usize,
    has_digit: bool,
}

/// Words of ASCII letters and digits that may be part of a number: those with a digit, and short ones in capitals.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut letters = text.char_indices().peekable();
    while let Some((start, first)) = letters.next() {
        if !first.is_alphanumeric() {
            continue;
        }
        let (mut last, mut end) = (first, start + first.len_utf8());
        let mut has_digit = first.is_ascii_digit();
        let (mut is_ascii, mut is_upper) = (first.is_ascii(), first.is_ascii_uppercase());
        while let Some((at, letter)) = letters.next_if(|(_, letter)| letter.is_alphanumeric()) {
            // `555-123-4567x89`: an extension begins a word of its own.
            if letter == 'x'
                && last.is_ascii_digit()
                && letters.peek().is_some_and(|(_, next)| next.is_ascii_digit())
            {
                break;
            }
            has_digit |= letter.is_ascii_digit();
            is_ascii &= letter.is_ascii();
            is_upper &= letter.is_ascii_uppercase();
            last = letter;
            end = at + letter.len_utf8();
        }
        let length = end - start;
        if is_ascii && length <= LONGEST && (has_digit || (is_upper && length <= 4)) {
            words.push(Word { start, end, has_digit });
        }
    }
    words
}
