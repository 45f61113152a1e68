//! Tests of `analysis` in its own words: small cases, and properties over made-up input.

use proptest::prelude::*;

use super::*;

fn words(text: &str, language: &str) -> Vec<String> {
    Analyzer::new().document_terms(text, language).into_iter().map(|term| term.text).collect()
}

#[track_caller]
fn check(text: &str, language: &str, expected: &[&str]) {
    assert_eq!(words(text, language), expected, "{text}");
}

fn asked(query: &str, languages: &[(&str, f64)]) -> Vec<(String, f32)> {
    let languages: Vec<_> = languages.iter().map(|(code, share)| ((*code).to_owned(), *share)).collect();
    Analyzer::new().query_terms(query, &languages)
}

#[test]
fn words_are_stemmed_in_the_language_of_the_text() {
    check("The running deliveries", "en", &["the", "run", "deliveri"]);
    check("Rechnungen und Häuser", "de", &["rechnung", "und", "haus"]);
    check("книги о программировании", "ru", &["книг", "о", "программирован"]);
    // Polish has no stemmer here: its words stay whole.
    check("książki", "pl", &["książki"]);
    // A word in another script is stemmed in the commonest language of its own.
    check("контейнеры containers", "ru", &["контейнер", "contain"]);
    check("使用 containers", "zh", &["使用", "contain"]);
    check("containers книги", "", &["contain", "книг"]);
}

#[test]
fn scripts_without_blanks_give_bigrams() {
    check("北京大学", "zh", &["北京", "京大", "大学"]);
    check("猫 が", "ja", &["猫", "が"]);
    check("データベース", "ja", &["デー", "ータ", "タベ", "ベー", "ース"]);
    check("ﾃﾞｰﾀ", "ja", &["デー", "ータ"]);
    check("2016年举行Super Bowl", "zh", &["2016", "年举", "举行", "super", "bowl"]);
    check("서울대학교 도서관", "ko", &["서울", "울대", "대학", "학교", "도서", "서관"]);
    // The vowel am is a mark and a letter in its compatibility form.
    check("น้ำใส", "th", &["น\u{E49}", "\u{E49}\u{E4D}", "\u{E4D}า", "าใ", "ใส"]);
}

#[test]
fn combining_marks_are_kept() {
    check("हिन्दी में", "hi", &["हिन्दी", "में"]);
    // Composed and decomposed spellings are one.
    assert_eq!(words("cafe\u{301}", "fr"), words("café", "fr"));
    assert_ne!(words("año", "es"), words("ano", "es"));
    assert_ne!(words("की", "hi"), words("को", "hi"));
}

#[test]
fn width_and_case_do_not_matter() {
    check("ＡＢＣ １２", "", &["abc", "12"]);
    check("İstanbul", "tr", &["istanbul"]);
    check("STRASSE", "de", &["strass"]);
    check("co\u{AD}operate", "en", &["cooper"]);
    check("می\u{200C}شود", "fa", &["میشود"]);
}

#[test]
fn identifiers_are_kept_whole_and_in_parts() {
    check("max_retry_count", "en", &["max_retry_count", "max", "retri", "count"]);
    check("parseConfig", "en", &["parseconfig", "pars", "config"]);
    check("v1.2.3", "en", &["v1.2.3", "v1", "2", "3"]);
    check(
        "https://docs.example.com/api",
        "en",
        &["https", "docs.example.com", "doc", "exampl", "com", "api"],
    );
    check("mRNA BRCA1 pH", "en", &["mrna", "brca1", "ph"]);
    check("don't l'eau O’Brien", "en", &["don", "t", "l", "eau", "o", "brien"]);
}

#[test]
fn an_identifier_shares_its_place_with_its_first_part() {
    let terms = Analyzer::new().document_terms("see max_count now", "en");
    let places: Vec<_> = terms.iter().map(|term| (term.text.as_str(), term.position)).collect();
    assert_eq!(places, [("see", 0), ("max_count", 1), ("max", 1), ("count", 2), ("now", 3)]);
}

#[test]
fn repeated_words_of_a_question_count() {
    assert_eq!(asked("new new york", &[("en", 1.0)]), [("new".to_owned(), 2.0), ("york".to_owned(), 1.0)]);
}

#[test]
fn questions_are_stemmed_in_every_language_with_a_real_share() {
    let both = asked("Häuser houses", &[("de", 0.5), ("en", 0.49), ("fr", 0.01)]);
    let words: Vec<_> = both.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(words, ["haus", "häuser", "hous"]);
    // The same stem in two languages is asked once.
    assert_eq!(asked("haus", &[("de", 0.5), ("sv", 0.5)]), [("haus".to_owned(), 1.0)]);
    // An index without languages is asked like a text of no known language.
    assert_eq!(asked("houses", &[]), [("hous".to_owned(), 1.0)]);
}

#[test]
fn long_words_are_cut_on_both_sides_alike() {
    let long = "ab".repeat(500);
    assert_eq!(words(&long, "en").concat().len(), MAX_TERM_CHARS);
    assert_eq!(words(&long, "en")[0], asked(&long, &[("en", 1.0)])[0].0);
}

#[test]
fn nothing_to_read_gives_no_words() {
    for text in ["", "  \n\t", "?!…", "😀", "—", "\u{200D}", "\u{301}"] {
        check(text, "en", &[]);
        assert!(asked(text, &[("en", 1.0)]).is_empty(), "{text:?}");
    }
}

proptest! {
    /// A question in the words of a document finds it, whatever the text.
    #[test]
    fn documents_and_questions_meet(text in "\\PC{0,60}", language in "en|de|ru|ar|zh|hi|th|") {
        let asked = asked(&text, &[(&language, 1.0)]);
        let mut counts = std::collections::HashMap::new();
        for word in words(&text, &language) {
            prop_assert!(!word.is_empty());
            prop_assert!(word.chars().count() <= MAX_TERM_CHARS);
            *counts.entry(word).or_insert(0.0_f32) += 1.0;
        }
        prop_assert_eq!(counts.len(), asked.len());
        for (word, weight) in asked {
            prop_assert_eq!(counts.get(&word), Some(&weight));
        }
    }
}
