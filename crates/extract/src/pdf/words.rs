//! Joins the lines of a block: words cut at line ends are made whole.

use std::collections::HashSet;

use super::characters::is_spaceless;
use super::paragraphs::Line;

/// Most words that are remembered; what a hyphen means is decided by chance beyond it.
const MAX_WORDS: usize = 500_000;

/// The words of a document, which tell whether `well-` and `known` are one word or two.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    words: HashSet<String>,
}

impl Vocabulary {
    /// Learns the words of a line, but not those at its ends: they may be cut.
    pub fn learn(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for word in words.iter().skip(1).take(words.len().saturating_sub(2)) {
            let word = bare(word);
            if word.len() >= 3 && self.words.len() < MAX_WORDS {
                self.words.insert(word.to_lowercase());
            }
        }
    }

    fn knows(&self, word: &str) -> bool {
        self.words.contains(&bare(word).to_lowercase())
    }

    /// The text of lines, joined.
    pub fn join(&self, lines: &[Line]) -> String {
        let mut out = String::new();
        for (at, line) in lines.iter().enumerate() {
            if at == 0 {
                out.push_str(&line.text);
            } else {
                self.append(&mut out, &line.text, lines[at - 1].runs_on);
            }
        }
        out
    }

    fn append(&self, out: &mut String, line: &str, runs_on: bool) {
        if out.ends_with('\u{ad}') {
            out.pop();
            out.push_str(line);
            return;
        }
        if let Some(keep) = self.hyphen(out, line) {
            if !keep {
                out.pop();
            }
            out.push_str(line);
            return;
        }
        if runs_on && ends_inside_a_word(out) {
            out.push_str(line);
            return;
        }
        let spaceless = out.chars().next_back().is_some_and(is_spaceless)
            && line.chars().next().is_some_and(is_spaceless);
        if !runs_on {
            out.push('\n');
        } else if !spaceless {
            out.push(' ');
        }
        out.push_str(line);
    }

    /// Whether a line ends in a cut word, and if so, whether its hyphen is part of the word.
    fn hyphen(&self, out: &str, line: &str) -> Option<bool> {
        let start = out.strip_suffix(['-', '\u{2010}'])?;
        let next = line.chars().next()?;
        if !start.chars().next_back()?.is_alphabetic() || !next.is_lowercase() {
            return None;
        }
        let first = start.rsplit(|char: char| char.is_whitespace()).next().unwrap_or(start);
        let second = line.split_whitespace().next().unwrap_or(line);
        let whole = format!("{first}{second}");
        let with_hyphen = format!("{first}-{second}");
        // `state-of-the-` goes on with hyphens.
        let chained = first.trim_matches(|char: char| !char.is_alphanumeric()).contains('-');
        Some((self.knows(&with_hyphen) || chained) && !self.knows(&whole))
    }
}

/// Whether a text ends in a dash or a slash that belongs to what follows: `Soekarno-`, `2018–`, `https://`.
fn ends_inside_a_word(text: &str) -> bool {
    let last = text.rsplit(char::is_whitespace).next().unwrap_or(text);
    if last.ends_with('/') {
        return last.contains("://") || last.starts_with("www.");
    }
    let start = last.strip_suffix(['-', '\u{2010}', '–']);
    start.is_some_and(|start| start.chars().next_back().is_some_and(char::is_alphanumeric))
}

fn bare(word: &str) -> &str {
    word.trim_matches(|char: char| !char.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(known: &str, lines: &[(&str, bool)], joined: &str) {
        let mut vocabulary = Vocabulary::default();
        vocabulary.learn(known);
        let lines: Vec<Line> = lines
            .iter()
            .map(|(text, runs_on)| Line { text: (*text).to_owned(), runs_on: *runs_on })
            .collect();
        assert_eq!(vocabulary.join(&lines), joined);
    }

    #[test]
    fn words_cut_at_line_ends_are_made_whole() {
        check("", &[("a hyphen-", true), ("ated word", false)], "a hyphenated word");
        check("", &[("a hyphen\u{ad}", true), ("ated word", false)], "a hyphenated word");
        check("", &[("1914–", true), ("1918", false)], "1914–1918");
        check("", &[("Soekarno-", true), ("Hatta", false)], "Soekarno-Hatta");
    }

    #[test]
    fn hyphens_that_the_document_writes_elsewhere_stay() {
        check("the well-known author", &[("a well-", true), ("known fact", false)], "a well-known fact");
        check("", &[("state-of-the-", true), ("art", false)], "state-of-the-art");
    }

    #[test]
    fn lines_that_their_writer_ended_stay_lines() {
        check("", &[("12 High Street", false), ("Leeds", false)], "12 High Street\nLeeds");
        check("", &[("中文", true), ("文字", false)], "中文文字");
    }
}
