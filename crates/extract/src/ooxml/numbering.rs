//! Numbers of lists and headings in Word: definitions, counters and how they are written.

use std::collections::HashMap;

use crate::xml::{El, Tree};

/// Levels of a list.
const LEVELS: usize = 9;

#[derive(Clone, Default)]
struct Level {
    format: String,
    text: String,
    start: u64,
}

/// All lists of a document with their counters.
#[derive(Default)]
pub(super) struct Numbering {
    /// Number id to abstract id and levels that start over.
    lists: HashMap<String, (String, HashMap<usize, u64>)>,
    levels: HashMap<String, Vec<Level>>,
    counters: HashMap<String, [Option<u64>; LEVELS]>,
    /// Lists whose own starts were used.
    started: HashMap<String, [bool; LEVELS]>,
}

impl Numbering {
    pub fn new(tree: Option<&Tree>) -> Self {
        let mut numbering = Self::default();
        let Some(root) = tree.map(Tree::document) else { return numbering };
        for el in root.children() {
            match el.name() {
                "abstractNum" => {
                    let Some(id) = el.attr("abstractNumId") else { continue };
                    let mut levels = vec![Level::default(); LEVELS];
                    for level in el.children().filter(|el| el.is("lvl")) {
                        let Some(at) = level_of(level).filter(|at| *at < LEVELS) else { continue };
                        levels[at] = Level {
                            format: value(level, "numFmt").unwrap_or("decimal").to_owned(),
                            text: value(level, "lvlText").unwrap_or_default().to_owned(),
                            start: value(level, "start").and_then(|start| start.parse().ok()).unwrap_or(1),
                        };
                    }
                    numbering.levels.insert(id.to_owned(), levels);
                }
                "num" => {
                    let (Some(id), Some(of)) = (el.attr("numId"), value(el, "abstractNumId")) else {
                        continue;
                    };
                    let starts = el.children().filter(|el| el.is("lvlOverride")).filter_map(|level| {
                        Some((level_of(level)?, value(level, "startOverride")?.parse().ok()?))
                    });
                    numbering.lists.insert(id.to_owned(), (of.to_owned(), starts.collect()));
                }
                _ => {}
            }
        }
        numbering
    }

    /// Counts an item and gives its mark: `-` for bullets, a number as it is printed; `None` for a level that shows
    /// nothing.
    pub fn mark(&mut self, list: &str, level: usize) -> Option<String> {
        let Some((of, starts)) = self.lists.get(list) else { return Some("-".to_owned()) };
        let Some(levels) = self.levels.get(of) else { return Some("-".to_owned()) };
        let at = level.min(LEVELS - 1);
        let this = &levels[at];
        let counters = self.counters.entry(of.clone()).or_default();
        let started = self.started.entry(list.to_owned()).or_default();
        let restart = starts.get(&at).filter(|_| !std::mem::replace(&mut started[at], true));
        counters[at] = Some(match (restart, counters[at]) {
            (Some(start), _) => *start,
            (None, Some(count)) => count.saturating_add(1),
            (None, None) => this.start,
        });
        counters[at + 1..].fill(None);
        match this.format.as_str() {
            "bullet" => return Some("-".to_owned()),
            "none" => return None,
            _ => {}
        }
        let mut out = String::new();
        let mut chars = this.text.chars().peekable();
        while let Some(char) = chars.next() {
            let digit = chars.peek().and_then(|char| char.to_digit(10)).filter(|_| char == '%');
            match digit.and_then(|digit| (digit as usize).checked_sub(1)).filter(|at| *at < LEVELS) {
                Some(other) => {
                    chars.next();
                    let count = counters[other].unwrap_or(levels[other].start);
                    out.push_str(&written(count, &levels[other].format));
                }
                None => out.push(char),
            }
        }
        let out = out.trim().to_owned();
        (!out.is_empty()).then_some(out)
    }
}

fn value<'t>(el: El<'t>, name: &str) -> Option<&'t str> {
    el.child(name)?.attr("val")
}

fn level_of(el: El<'_>) -> Option<usize> {
    el.attr("ilvl")?.parse().ok()
}

/// A number as a list writes it.
fn written(count: u64, format: &str) -> String {
    match format {
        "lowerLetter" => letters(count).to_ascii_lowercase(),
        "upperLetter" => letters(count),
        "lowerRoman" => roman(count).to_ascii_lowercase(),
        "upperRoman" => roman(count),
        "decimalZero" => format!("{count:02}"),
        _ => count.to_string(),
    }
}

/// 1 is A, 26 is Z, 27 is AA as Word writes it.
fn letters(count: u64) -> String {
    let Some(count) = count.checked_sub(1) else { return "0".to_owned() };
    let letter = char::from(b'A' + u8::try_from(count % 26).unwrap_or(0));
    std::iter::repeat_n(letter, usize::try_from(count / 26).unwrap_or(0).min(8) + 1).collect()
}

fn roman(count: u64) -> String {
    const SIGNS: [(u64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if count == 0 || count > 4_999 {
        return count.to_string();
    }
    let mut left = count;
    let mut out = String::new();
    for (value, sign) in SIGNS {
        while left >= value {
            out.push_str(sign);
            left -= value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Limits;

    #[test]
    fn numbers_are_written_as_word_does() {
        assert_eq!([1, 26, 27].map(letters), ["A", "Z", "AA"]);
        assert_eq!([4, 9, 1994].map(roman), ["IV", "IX", "MCMXCIV"]);
    }

    #[test]
    fn levels_count_and_start_over() {
        let xml = "<numbering><abstractNum abstractNumId='0'>\
            <lvl ilvl='0'><start val='1'/><numFmt val='decimal'/><lvlText val='%1.'/></lvl>\
            <lvl ilvl='1'><start val='1'/><numFmt val='lowerLetter'/><lvlText val='%1.%2)'/></lvl></abstractNum>\
            <num numId='7'><abstractNumId val='0'/></num>\
            <num numId='8'><abstractNumId val='0'/><lvlOverride ilvl='0'><startOverride val='5'/></lvlOverride></num>\
            </numbering>";
        let tree = Tree::parse(xml.as_bytes(), "numbering.xml", &Limits::default()).unwrap();
        let mut numbering = Numbering::new(Some(&tree));
        let marks: Vec<_> = [("7", 0), ("7", 1), ("7", 1), ("7", 0), ("7", 1), ("8", 0), ("8", 0)]
            .iter()
            .map(|(list, level)| numbering.mark(list, *level).unwrap())
            .collect();
        assert_eq!(marks, ["1.", "1.a)", "1.b)", "2.", "2.a)", "5.", "6."]);
    }
}
