//! Words and sentences of any language, for the stand-ins that search: no models, no tables beyond a few
//! hundred function words.

use unicode_segmentation::UnicodeSegmentation;

/// Words that carry no content, by language; without them every question would match every text.
const FUNCTION_WORDS: &str = "
a an the and or but if of at by for with about into through from to in on as is are was were be been being am
do does did done have has had having will would can could shall should may might must not no nor so than then that
this these those there here it its he she they them their his her him you your we our us i me my
what which who whom whose when where why how much many does's whats
en ett och eller men om av på i för med till från som är var vara varit blir blev har hade kan kunde ska skulle
inte det den de dem detta denna dessa han hon dess sin sitt sina man vi ni du jag
vad vilken vilket vilka vem vems när hur varför många mycket finns
der die das den dem des ein eine einen einem einer eines und oder aber wenn von am im in zu zum zur auf für mit
aus bei nach als ist sind war waren wird werden wurde wurden sein hat haben hatte nicht es er sie ihr ihre sich
was welche welcher welches welchen wer wem wann wo warum wie viel viele
le la les un une des du de et ou mais si au aux en dans par pour avec sur est sont était étaient être a ont avait
ne pas ce cette ces il elle ils elles se sa son ses leur que qui quoi quel quelle quels quelles quand où comment combien
el los las una unos unas y o pero del al por para con sobre es son era eran fue fueron ser ha han había no
lo su sus se este esta estos estas qué quién quiénes cuál cuáles cuándo dónde cómo cuánto cuántos cuántas
il lo gli uno e ma di da nel nella con su per sono era erano essere che chi cosa quale quali quando dove come quanto
het een van op te met voor aan bij uit zijn was waren wordt werd worden niet dat dit wat welke wie wanneer waar waarom hoe
og eller til fra som er blev ikke hvad hvem hvor hvornår hvorfor hvordan
в на и или но с со к ко у о об от до из за по для не что это как кто где когда почему какой какая какое какие
каком какую каких сколько чем был была было были быть его ее её их он она они
في من إلى على عن مع هو هي هذا هذه ذلك التي الذي ما ماذا من متى أين كيف لماذا كم هل كان كانت أو و
的 了 是 在 和 与 有 什 么 谁 哪 何 吗 呢 几 多 少 为 被 这 那 他 她 它 们 以 及 或 个";

/// Abbreviations after which a full stop ends no sentence.
const ABBREVIATIONS: [&str; 46] = [
    "dr", "mr", "mrs", "ms", "prof", "st", "no", "nr", "vs", "etc", "e.g", "i.e", "cf", "fig", "jr", "sr",
    "vol", "approx", "ca", "u.s", "u.k", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sept", "sep",
    "oct", "nov", "dec", "t.ex", "bl.a", "d.v.s", "s.k", "f.d", "m.m", "kl", "z.b", "d.h", "u.a", "bzw",
    "inc", "p",
];

/// Endings taken off, the first that fits: English ones and those of the Scandinavian languages and German.
const ENDINGS: [&str; 24] = [
    "ings", "ing", "edly", "ed", "ies", "ied", "arna", "erna", "orna", "ers", "ors", "ars", "ern", "es", "s",
    "ly", "en", "et", "er", "or", "ar", "na", "n", "t",
];

/// Longest stem. Languages with many endings (Russian, Arabic) match best on word beginnings; on XQuAD six letters
/// find 10 points more answers than nine in Russian and cost English nothing.
const LONGEST_STEM: usize = 6;
/// Article and conjunctions that Arabic writes together with the word, longest first.
const ARABIC_PREFIXES: [&str; 6] = ["وال", "بال", "كال", "فال", "لل", "ال"];

/// Function words, ready for look-up.
#[derive(Debug)]
pub(super) struct FunctionWords(std::collections::HashSet<&'static str>);

impl FunctionWords {
    pub fn new() -> Self {
        Self(FUNCTION_WORDS.split_whitespace().collect())
    }

    pub fn contains(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}

/// Words in lower case; every Han or kana character is a word, as those scripts write no blanks.
pub(super) fn words(text: &str) -> Vec<String> {
    text.unicode_words().map(|word| without_elision(word).to_lowercase()).collect()
}

/// `company's` is `company`, `l'homme` is `homme`.
fn without_elision(word: &str) -> &str {
    match word.split_once(['\'', '’']) {
        Some((before, after)) if before.len() >= after.len() => before,
        Some((_, after)) => after,
        None => word,
    }
}

/// What stays of a word when endings are taken off: light on purpose, the same for every language.
pub(super) fn stem(word: &str) -> String {
    let length = word.chars().count();
    if length < 4 || word.chars().any(|c| c.is_ascii_digit()) {
        return word.to_owned();
    }
    let word = ARABIC_PREFIXES
        .iter()
        .find_map(|prefix| word.strip_prefix(prefix).filter(|rest| rest.chars().count() >= 3))
        .unwrap_or(word);
    let mut stem = word;
    for ending in ENDINGS {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.chars().count() >= 3
        {
            stem = rest;
            break;
        }
    }
    let stem =
        stem.strip_suffix(['e', 'y', 'i', 'a', 'o']).filter(|rest| rest.chars().count() >= 3).unwrap_or(stem);
    stem.chars().take(LONGEST_STEM).collect()
}

/// Sentences of a text, in order, without the blanks around them. A line that ends a paragraph, a list item
/// or a heading ends a sentence too; a lone line feed does not.
pub(super) fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in blocks(text) {
        let mut open = String::new();
        for piece in block.split_sentence_bounds() {
            open.push_str(piece);
            if !ends_in_abbreviation(&open) {
                push_sentence(&mut found, &open);
                open.clear();
            }
        }
        push_sentence(&mut found, &open);
    }
    found
}

fn push_sentence(found: &mut Vec<String>, text: &str) {
    let text = text.trim();
    if text.chars().any(char::is_alphanumeric) {
        found.push(text.to_owned());
    }
}

/// Paragraphs, list items and headings, their inner line feeds as blanks.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        let line = line.trim();
        let item = list_item(line);
        if line.is_empty() {
            is_open = false;
        } else if line.starts_with('#') || line.starts_with('|') {
            blocks.push(line.trim_start_matches('#').trim().to_owned());
            is_open = false;
        } else if let (true, None, Some(last)) = (is_open, item, blocks.last_mut()) {
            last.push(' ');
            last.push_str(line);
        } else {
            blocks.push(item.unwrap_or(line).to_owned());
            is_open = true;
        }
    }
    blocks
}

fn list_item(line: &str) -> Option<&str> {
    ["- ", "* ", "• ", "+ "].iter().find_map(|bullet| line.strip_prefix(bullet))
}

fn ends_in_abbreviation(text: &str) -> bool {
    let Some(rest) = text.trim_end().strip_suffix('.') else { return false };
    let last =
        rest.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“')).next().unwrap_or(rest);
    let is_initial = last.chars().count() == 1 && last.chars().all(char::is_uppercase);
    is_initial || ABBREVIATIONS.contains(&last.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(sentences(text), expected);
    }

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        check("Dr. Ek lives in Umeå. He paints.", &["Dr. Ek lives in Umeå.", "He paints."]);
        check("Rent costs 3.50 kr. Pay by the 1st!", &["Rent costs 3.50 kr.", "Pay by the 1st!"]);
        check("Det finns frukt, t.ex. äpplen. Slut.", &["Det finns frukt, t.ex. äpplen.", "Slut."]);
        check("巴黎是首都。伦敦也是。", &["巴黎是首都。", "伦敦也是。"]);
        check("One line\nthat goes on.", &["One line that goes on."]);
        check("# Leave\n- 25 days\n- 5 more", &["Leave", "25 days", "5 more"]);
    }

    #[test]
    fn endings_do_not_separate_words() {
        for (a, b) in
            [("painted", "paints"), ("policies", "policy"), ("houses", "house"), ("flickorna", "flickor")]
        {
            assert_eq!(stem(a), stem(b), "`{a}` and `{b}`");
        }
        assert_ne!(stem("1990"), stem("1991"));
    }
}
