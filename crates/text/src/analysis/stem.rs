//! Stems, by the language of the text and the script of the word.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_script::{Script, UnicodeScript};

/// The stem of a folded word. A word in another script than its text's language (`Kubernetes` in a Russian text) is
/// stemmed in the commonest language of its own, and so are all words where the language is not known.
pub fn stem(word: &str, language: &str) -> String {
    let Some(script) = script_of(word) else { return word.to_owned() };
    match algorithm(language, script) {
        Some(algorithm) => Stemmer::create(algorithm).stem(word).into_owned(),
        None => word.to_owned(),
    }
}

/// Script of the first letter; none for numbers and for words with digits in them, which are names of something.
fn script_of(word: &str) -> Option<Script> {
    if word.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match word.chars().next()? {
        letter if letter.is_ascii_alphabetic() => Some(Script::Latin),
        letter if letter.is_alphabetic() => Some(letter.script()),
        _ => None,
    }
}

fn algorithm(language: &str, script: Script) -> Option<Algorithm> {
    match written_in(language) {
        Some(own) if own == script => of_language(language),
        _ => commonest(script),
    }
}

/// Snowball's algorithms.
fn of_language(language: &str) -> Option<Algorithm> {
    Some(match language {
        "ar" => Algorithm::Arabic,
        "da" => Algorithm::Danish,
        "nl" => Algorithm::Dutch,
        "en" => Algorithm::English,
        "fi" => Algorithm::Finnish,
        "fr" => Algorithm::French,
        "de" => Algorithm::German,
        "el" => Algorithm::Greek,
        "hu" => Algorithm::Hungarian,
        "it" => Algorithm::Italian,
        "no" | "nb" | "nn" => Algorithm::Norwegian,
        "pt" => Algorithm::Portuguese,
        "ro" => Algorithm::Romanian,
        "ru" => Algorithm::Russian,
        "es" => Algorithm::Spanish,
        "sv" => Algorithm::Swedish,
        "ta" => Algorithm::Tamil,
        "tr" => Algorithm::Turkish,
        _ => return None,
    })
}

/// For words whose language is not known. English endings taken off German, Spanish and Swedish words still find more
/// than whole words do (nDCG@10 0.934, 0.955, 0.812 against 0.924, 0.951, 0.793).
fn commonest(script: Script) -> Option<Algorithm> {
    Some(match script {
        Script::Latin => Algorithm::English,
        Script::Cyrillic => Algorithm::Russian,
        Script::Greek => Algorithm::Greek,
        Script::Arabic => Algorithm::Arabic,
        Script::Tamil => Algorithm::Tamil,
        _ => return None,
    })
}

/// The script of a language; none where the language is not known.
fn written_in(language: &str) -> Option<Script> {
    Some(match language {
        "" => return None,
        "ru" | "uk" | "bg" | "sr" | "mk" | "be" | "kk" | "ky" | "mn" | "tg" => Script::Cyrillic,
        "ar" | "fa" | "ur" | "ps" | "ckb" => Script::Arabic,
        "hi" | "mr" | "ne" | "sa" => Script::Devanagari,
        "he" | "yi" => Script::Hebrew,
        "zh" | "ja" => Script::Han,
        "ko" => Script::Hangul,
        "th" => Script::Thai,
        "el" => Script::Greek,
        "ta" => Script::Tamil,
        "bn" => Script::Bengali,
        "te" => Script::Telugu,
        "gu" => Script::Gujarati,
        "pa" => Script::Gurmukhi,
        "kn" => Script::Kannada,
        "ml" => Script::Malayalam,
        "si" => Script::Sinhala,
        "ka" => Script::Georgian,
        "hy" => Script::Armenian,
        "am" => Script::Ethiopic,
        "my" => Script::Myanmar,
        "km" => Script::Khmer,
        "lo" => Script::Lao,
        _ => Script::Latin,
    })
}
