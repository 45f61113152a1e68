//! Which language a text is in, as far as that can be told. A short text gives none rather than a guess: a wrong
//! language costs more than a missing one, because it picks the wrong stems and lets a model speak that does not
//! know the text.
//!
//! Scripts that one language uses (Thai, Greek, Hangul, …) decide by themselves; Latin, Cyrillic, Arabic, Devanagari and
//! Hebrew letters are told apart by their trigrams (whatlang), and where the text is short its commonest words must
//! agree. Of a long text only samples are read.

mod words;

use unicode_script::{Script, UnicodeScript};
use whatlang::{Detector, Lang};

/// Characters read of a longer text, in [`SAMPLES`] equal pieces: trigram counts no longer change with more.
const SAMPLE_CHARS: usize = 2_400;
/// Pieces from the start, the middle and the end, so that a foreign abstract or a licence text does not decide alone.
const SAMPLES: usize = 3;
/// Fewest letters of a script that several languages share.
const FEWEST_LETTERS: usize = 12;
/// From here on trigrams are trusted without common words, if they are sure.
const ENOUGH_LETTERS: usize = 160;
/// How sure trigrams must be by themselves.
const SURE: f64 = 0.9;
/// How sure they must be where common words do not decide.
const RATHER_SURE: f64 = 0.35;
/// Letters and forms that Persian and Urdu have and Arabic has not; no sentence of theirs is without.
const PERSIAN_LETTERS: &[char] = &['پ', 'چ', 'ژ', 'گ', 'ک', 'ی', 'ے', 'ں', 'ہ', 'ٹ', 'ڈ'];
/// A Han or Hangul character says about as much as this many letters.
const LETTERS_PER_IDEOGRAPH: usize = 3;
/// Japanese is told from Chinese by this share of kana: titles and names have few, running text about half.
const KANA_SHARE: f64 = 0.05;

/// A language, and how sure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detected {
    /// ISO 639-1.
    pub code: &'static str,
    /// From 0 to 1.
    pub confidence: f64,
}

/// The language of a text; absent where it is too short, too mixed, or of no language.
///
/// ```
/// use flowbench_text::language::detect;
/// let code = |text| detect(text).map(|detected| detected.code);
/// assert_eq!(code("Die Rechnung kommt mit der ersten Lieferung zu Ihnen"), Some("de"));
/// assert_eq!(code("東京は日本の首都です"), Some("ja"));
/// assert_eq!(code("ok 42"), None);
/// ```
pub fn detect(text: &str) -> Option<Detected> {
    let sample = sample(text);
    let counts = Counts::of(&sample);
    let (script, letters) = counts.main()?;
    match script {
        Script::Han => {
            let kana = counts.kana as f64 / (counts.kana + counts.han).max(1) as f64;
            let is_japanese = kana >= KANA_SHARE && counts.kana >= 2;
            (counts.kana + counts.han >= 4)
                .then_some(Detected { code: if is_japanese { "ja" } else { "zh" }, confidence: 1.0 })
        }
        Script::Latin | Script::Cyrillic | Script::Arabic | Script::Devanagari | Script::Hebrew => {
            match letters < FEWEST_LETTERS {
                true => None,
                false => by_trigrams(&only(&sample, script), script, letters),
            }
        }
        script => {
            let code = language_of(script)?;
            (letters >= 4).then_some(Detected { code, confidence: 1.0 })
        }
    }
}

fn by_trigrams(text: &str, script: Script, letters: usize) -> Option<Detected> {
    let info = Detector::new().detect(text)?;
    let mut guessed = code_of(info.lang());
    if matches!(guessed, "fa" | "ur") && !text.contains(PERSIAN_LETTERS) {
        guessed = "ar";
    }
    if script != Script::Latin && script != Script::Cyrillic {
        // Few languages share these scripts, and the smaller ones have letters of their own.
        let is_enough = letters >= 2 * FEWEST_LETTERS || info.confidence() >= 0.5;
        return is_enough.then_some(Detected { code: guessed, confidence: info.confidence() });
    }
    let votes = words::vote(text);
    let best = votes.first().copied();
    let support = votes.iter().find(|vote| vote.code == guessed).map_or(0, |vote| vote.words);
    let confidence = info.confidence();
    let Some(best) = best else {
        // No common word of any language known: a language without a list, or no running text at all.
        let is_trusted = letters >= ENOUGH_LETTERS && confidence >= SURE && !words::has_list(guessed);
        return is_trusted.then_some(Detected { code: guessed, confidence });
    };
    let next = votes.iter().find(|vote| vote.code != best.code).map_or(0, |vote| vote.words);
    if best.words == support {
        // Trigrams and common words name the same language; where another has as many, trigrams must be sure.
        let rival =
            votes.iter().filter(|vote| vote.code != guessed).map(|vote| vote.words).max().unwrap_or(0);
        let is_told = rival < support || confidence >= RATHER_SURE;
        return is_told.then_some(Detected { code: guessed, confidence: confidence.max(0.5) });
    }
    // Common words name another language: believed if they are clearly more than any other language has.
    let is_clear = best.words > next && best.words >= 2 && 4 * best.words >= 5 * support;
    if is_clear {
        return Some(Detected { code: best.code, confidence: 0.5 });
    }
    let is_trusted = letters >= ENOUGH_LETTERS && confidence >= SURE && 4 * support >= 3 * best.words;
    is_trusted.then_some(Detected { code: guessed, confidence: 0.5 })
}

/// Letters by script, with Han and kana apart.
#[derive(Default)]
struct Counts {
    scripts: Vec<(Script, usize)>,
    han: usize,
    kana: usize,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self::default();
        for character in text.chars() {
            if character.is_ascii() {
                if character.is_ascii_alphabetic() {
                    counts.add(Script::Latin);
                }
                continue;
            }
            match character.script() {
                Script::Common | Script::Inherited | Script::Unknown => {}
                Script::Han => counts.han += 1,
                Script::Hiragana | Script::Katakana => counts.kana += 1,
                script if character.is_alphabetic() => counts.add(script),
                _ => {}
            }
        }
        counts
    }

    fn add(&mut self, script: Script) {
        match self.scripts.iter_mut().find(|(known, _)| *known == script) {
            Some((_, count)) => *count += 1,
            None => self.scripts.push((script, 1)),
        }
    }

    /// The script of most letters, and how many it has. A half is needed: less is a mixture.
    fn main(&self) -> Option<(Script, usize)> {
        let weigh = |script: Script, count: usize| match script {
            Script::Hangul => count * LETTERS_PER_IDEOGRAPH,
            _ => count,
        };
        let east = (self.han + self.kana) * LETTERS_PER_IDEOGRAPH;
        let all: usize =
            east + self.scripts.iter().map(|(script, count)| weigh(*script, *count)).sum::<usize>();
        let others = self.scripts.iter().map(|(script, count)| (*script, *count));
        let (script, count, weight) = others
            .map(|(script, count)| (script, count, weigh(script, count)))
            .chain([(Script::Han, self.han + self.kana, east)])
            .max_by_key(|(_, _, weight)| *weight)?;
        (count > 0 && weight * 2 > all).then_some((script, count))
    }
}

/// Pieces of a long text, cut at characters.
fn sample(text: &str) -> std::borrow::Cow<'_, str> {
    // Bytes first: a text this short needs no counting.
    if text.len() <= SAMPLE_CHARS {
        return text.into();
    }
    let piece = SAMPLE_CHARS / SAMPLES;
    let mut sampled = String::with_capacity(SAMPLE_CHARS * 2);
    for part in 0..SAMPLES {
        // Bytes of the whole text per part; a piece never reaches into the next part.
        let start = text.floor_char_boundary(text.len() / SAMPLES * part);
        let end = text.floor_char_boundary(text.len() / SAMPLES * (part + 1));
        sampled.extend(text[start..end].chars().take(piece));
        sampled.push(' ');
    }
    sampled.into()
}

/// Words of one script; everything else is a blank.
fn only(text: &str, script: Script) -> String {
    let is_kept = |c: char| {
        c == '\'' || c == '’' || matches!(c.script(), found if found == script || found == Script::Inherited)
    };
    text.chars().map(|c| if is_kept(c) { c } else { ' ' }).collect()
}

/// Scripts that stand for one language.
fn language_of(script: Script) -> Option<&'static str> {
    Some(match script {
        Script::Greek => "el",
        Script::Thai => "th",
        Script::Lao => "lo",
        Script::Khmer => "km",
        Script::Myanmar => "my",
        Script::Hangul => "ko",
        Script::Bengali => "bn",
        Script::Tamil => "ta",
        Script::Telugu => "te",
        Script::Gujarati => "gu",
        Script::Gurmukhi => "pa",
        Script::Kannada => "kn",
        Script::Malayalam => "ml",
        Script::Oriya => "or",
        Script::Sinhala => "si",
        Script::Georgian => "ka",
        Script::Armenian => "hy",
        Script::Ethiopic => "am",
        Script::Tibetan => "bo",
        Script::Mongolian => "mn",
        _ => return None,
    })
}

/// ISO 639-1 for ISO 639-3.
fn code_of(language: Lang) -> &'static str {
    match language {
        Lang::Epo => "eo",
        Lang::Eng => "en",
        Lang::Rus => "ru",
        Lang::Cmn => "zh",
        Lang::Spa => "es",
        Lang::Por => "pt",
        Lang::Ita => "it",
        Lang::Ben => "bn",
        Lang::Fra => "fr",
        Lang::Deu => "de",
        Lang::Ukr => "uk",
        Lang::Kat => "ka",
        Lang::Ara => "ar",
        Lang::Hin => "hi",
        Lang::Jpn => "ja",
        Lang::Heb => "he",
        Lang::Yid => "yi",
        Lang::Pol => "pl",
        Lang::Amh => "am",
        Lang::Jav => "jv",
        Lang::Kor => "ko",
        Lang::Nob => "no",
        Lang::Dan => "da",
        Lang::Swe => "sv",
        Lang::Fin => "fi",
        Lang::Tur => "tr",
        Lang::Nld => "nl",
        Lang::Hun => "hu",
        Lang::Ces => "cs",
        Lang::Ell => "el",
        Lang::Bul => "bg",
        Lang::Bel => "be",
        Lang::Mar => "mr",
        Lang::Kan => "kn",
        Lang::Ron => "ro",
        Lang::Slv => "sl",
        Lang::Hrv => "hr",
        Lang::Srp => "sr",
        Lang::Mkd => "mk",
        Lang::Lit => "lt",
        Lang::Lav => "lv",
        Lang::Est => "et",
        Lang::Tam => "ta",
        Lang::Vie => "vi",
        Lang::Urd => "ur",
        Lang::Tha => "th",
        Lang::Guj => "gu",
        Lang::Uzb => "uz",
        Lang::Pan => "pa",
        Lang::Aze => "az",
        Lang::Ind => "id",
        Lang::Tel => "te",
        Lang::Pes => "fa",
        Lang::Mal => "ml",
        Lang::Ori => "or",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Sin => "si",
        Lang::Khm => "km",
        Lang::Tuk => "tk",
        Lang::Aka => "ak",
        Lang::Zul => "zu",
        Lang::Sna => "sn",
        Lang::Afr => "af",
        Lang::Lat => "la",
        Lang::Slk => "sk",
        Lang::Cat => "ca",
        Lang::Tgl => "tl",
        Lang::Hye => "hy",
        Lang::Cym => "cy",
    }
}

#[cfg(test)]
mod tests;
