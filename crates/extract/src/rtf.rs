//! Rich text. Our own small reader: the crates that exist lose code pages or tables, or recurse by nesting.
//!
//! A group saves and restores its state on a stack of bounded depth; destinations that hold no text of the document
//! are skipped as a whole.

use std::collections::HashMap;

use encoding_rs::{Encoding, WINDOWS_1252};

use crate::builder::{Builder, one_line};
use crate::dates;
use crate::decode::code_page;
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::table;

mod tokens;

use tokens::{Token, Tokens};

/// Where text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Body,
    /// The mark of an item, as old readers show it.
    Mark,
    Note,
    Furniture,
    Fonts,
    Styles,
    Info,
    Skip,
}

#[derive(Clone)]
struct State {
    target: Target,
    /// Bytes that stand for one `\u` character in readers without Unicode.
    fallback: usize,
    encoding: &'static Encoding,
    hidden: bool,
    /// Which piece of information a group in `\info` holds.
    key: Option<&'static str>,
}

/// Reads rich text.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut builder = Builder::new(Kind::Rtf, limits);
    let state = State { target: Target::Body, fallback: 1, encoding: WINDOWS_1252, hidden: false, key: None };
    let mut reader = Reader {
        builder: &mut builder,
        state,
        stack: Vec::new(),
        base: WINDOWS_1252,
        pending: Vec::new(),
        high: None,
        skip: 0,
        star: false,
        text: String::new(),
        mark: String::new(),
        note: String::new(),
        notes: Vec::new(),
        furniture: String::new(),
        scratch: String::new(),
        fonts: HashMap::new(),
        font: 0,
        styles: HashMap::new(),
        style: 0,
        outline: None,
        depth: 0,
        list: String::new(),
        in_table: false,
        cells: Vec::new(),
        rows: Vec::new(),
        date: [0; 5],
    };
    let mut tokens = Tokens::new(bytes);
    while let Some(token) = tokens.next() {
        reader.take(token, &mut tokens);
        if reader.stack.len() > limits.max_depth {
            return Err(ExtractError::TooLarge {
                what: "the nesting of its groups".to_owned(),
                limit: format!("{} levels", limits.max_depth),
            });
        }
        if reader.builder.is_full() {
            break;
        }
    }
    let is_cut = !reader.stack.is_empty();
    reader.paragraph();
    reader.end_table();
    reader.end_list();
    if is_cut && !builder.is_full() {
        builder.note("repaired", "the document ends inside of a group", None);
    }
    Ok(builder.finish())
}

struct Reader<'b> {
    builder: &'b mut Builder,
    state: State,
    stack: Vec<State>,
    /// The document's own code page.
    base: &'static Encoding,
    /// Bytes that are to be decoded together: characters of two bytes come in two escapes.
    pending: Vec<u8>,
    high: Option<u16>,
    /// Fallback bytes that are still to be left out.
    skip: usize,
    /// Whether the next word names a destination that readers may not know.
    star: bool,
    text: String,
    mark: String,
    note: String,
    notes: Vec<String>,
    furniture: String,
    scratch: String,
    fonts: HashMap<i64, &'static Encoding>,
    font: i64,
    styles: HashMap<i64, u8>,
    style: i64,
    outline: Option<u8>,
    depth: usize,
    list: String,
    in_table: bool,
    cells: Vec<String>,
    rows: Vec<Vec<String>>,
    date: [u16; 5],
}

impl Reader<'_> {
    fn take(&mut self, token: Token<'_>, tokens: &mut Tokens<'_>) {
        match token {
            Token::Byte(byte) => {
                if self.skip > 0 {
                    self.skip -= 1;
                } else {
                    self.byte(byte);
                }
                return;
            }
            Token::Hex(byte) => {
                if self.skip > 0 {
                    self.skip -= 1;
                } else {
                    self.byte(byte);
                }
                return;
            }
            _ => {}
        }
        self.decode_pending();
        match token {
            Token::Open => {
                self.skip = 0;
                self.stack.push(self.state.clone());
            }
            Token::Close => {
                self.skip = 0;
                self.close();
            }
            Token::Star => self.star = true,
            Token::Symbol(byte) => self.symbol(byte),
            Token::Word(word, number) => {
                let star = std::mem::take(&mut self.star);
                if word == "bin" {
                    tokens.skip(usize::try_from(number.unwrap_or(0)).unwrap_or(0));
                } else {
                    self.word(word, number, star);
                }
            }
            Token::Byte(_) | Token::Hex(_) => {}
        }
    }

    fn byte(&mut self, byte: u8) {
        self.high = None;
        if self.state.target != Target::Skip {
            self.pending.push(byte);
        }
    }

    fn decode_pending(&mut self) {
        if !self.pending.is_empty() {
            let bytes = std::mem::take(&mut self.pending);
            let (text, _) = self.state.encoding.decode_without_bom_handling(&bytes);
            self.push(&text);
        }
    }

    fn push(&mut self, text: &str) {
        if self.state.hidden {
            return;
        }
        match self.state.target {
            Target::Body => self.text.push_str(text),
            Target::Mark => self.mark.push_str(text),
            Target::Note => self.note.push_str(text),
            Target::Furniture => self.furniture.push_str(text),
            Target::Fonts | Target::Styles | Target::Info => self.scratch.push_str(text),
            Target::Skip => {}
        }
    }

    fn close(&mut self) {
        let Some(outer) = self.stack.pop() else { return };
        let inner = std::mem::replace(&mut self.state, outer);
        if inner.target == Target::Styles {
            self.end_style();
        }
        if inner.target == Target::Info
            && let Some(key) = inner.key
        {
            let text = std::mem::take(&mut self.scratch);
            let [year, month, day, hour, minute] = std::mem::take(&mut self.date);
            let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00");
            let value = if key == "date" && year > 0 { dates::iso(&date).unwrap_or_default() } else { text };
            self.builder.meta(key, &value);
        }
        if inner.target != self.state.target {
            match inner.target {
                // What the list of styles spoke of is no style of a paragraph.
                Target::Styles => self.style = 0,
                Target::Note => {
                    let note = one_line(&std::mem::take(&mut self.note));
                    if !note.is_empty() {
                        self.notes.push(note);
                    }
                }
                Target::Furniture => {
                    let text = std::mem::take(&mut self.furniture);
                    self.builder.block(BlockKind::Furniture, &text);
                }
                _ => self.scratch.clear(),
            }
        }
        self.skip = 0;
    }

    /// `Heading 2;` in the list of styles.
    fn end_style(&mut self) {
        let name = std::mem::take(&mut self.scratch).to_lowercase();
        let level =
            name.trim().trim_end_matches(';').strip_prefix("heading").and_then(|it| it.trim().parse().ok());
        if let Some(level) = level.filter(|level| (1..=9).contains(level)) {
            self.styles.insert(self.style, level);
        }
    }

    fn symbol(&mut self, byte: u8) {
        match byte {
            b'~' => self.push("\u{a0}"),
            b'_' => self.push("-"),
            b'\\' | b'{' | b'}' => self.push(char::from(byte).encode_utf8(&mut [0; 4])),
            b'\n' | b'\r' => self.word("par", None, false),
            b'\t' => self.push("\t"),
            _ => {}
        }
    }

    fn word(&mut self, word: &str, number: Option<i64>, star: bool) {
        let value = number.unwrap_or(0);
        if self.destination(word, star) {
            return;
        }
        match word {
            "u" => self.unicode(value),
            "uc" => self.state.fallback = usize::try_from(value).unwrap_or(1).min(16),
            "ansicpg" | "cpg" if self.state.target != Target::Fonts => {
                if let Some(encoding) = u32::try_from(value).ok().and_then(code_page) {
                    self.base = encoding;
                    self.state.encoding = encoding;
                }
            }
            "mac" => self.base_is(encoding_rs::MACINTOSH),
            "fcharset" => {
                if let Some(encoding) = charset(value) {
                    self.fonts.insert(self.font, encoding);
                }
            }
            "f" if self.state.target == Target::Fonts => self.font = value,
            "f" => self.state.encoding = self.fonts.get(&value).copied().unwrap_or(self.base),
            "plain" => self.state.hidden = false,
            "v" => self.state.hidden = number != Some(0),
            "s" => self.style = value,
            "outlinelevel" => {
                self.outline = u8::try_from(value + 1).ok().filter(|level| (1..=9).contains(level))
            }
            "ilvl" => self.depth = usize::try_from(value).unwrap_or(0).min(8),
            "pard" => {
                self.style = 0;
                self.outline = None;
                self.depth = 0;
                self.in_table = false;
            }
            "intbl" => self.in_table = true,
            "par" | "sect" | "page" => self.end_paragraph(),
            "line" | "lbr" => self.push("\n"),
            "tab" => self.push("\t"),
            "cell" => self.end_cell(),
            "nestcell" => self.push(" "),
            "row" => self.end_row(),
            "emdash" => self.push("—"),
            "endash" => self.push("–"),
            "lquote" => self.push("‘"),
            "rquote" => self.push("’"),
            "ldblquote" => self.push("“"),
            "rdblquote" => self.push("”"),
            "bullet" => self.push("•"),
            "emspace" | "enspace" | "qmspace" => self.push(" "),
            "yr" | "mo" | "dy" | "hr" | "min" => {
                let at = ["yr", "mo", "dy", "hr", "min"].iter().position(|name| *name == word).unwrap_or(0);
                self.date[at] = u16::try_from(value).unwrap_or(0).min(9_999);
            }
            "chftn" => {}
            _ => {}
        }
    }

    fn base_is(&mut self, encoding: &'static Encoding) {
        self.base = encoding;
        self.state.encoding = encoding;
    }

    /// Whether the word begins a destination.
    fn destination(&mut self, word: &str, star: bool) -> bool {
        let info = |key| (Target::Info, Some(key));
        let (target, key) = match word {
            "fonttbl" => (Target::Fonts, None),
            "stylesheet" => (Target::Styles, None),
            "info" => (Target::Info, None),
            "title" if self.state.target == Target::Info => info("title"),
            "author" if self.state.target == Target::Info => info("author"),
            "subject" if self.state.target == Target::Info => info("subject"),
            "keywords" if self.state.target == Target::Info => info("keywords"),
            "creatim" if self.state.target == Target::Info => info("date"),
            "listtext" | "pntext" => (Target::Mark, None),
            "footnote" => (Target::Note, None),
            "header" | "headerl" | "headerr" | "headerf" | "footer" | "footerl" | "footerr" | "footerf" => {
                (Target::Furniture, None)
            }
            "shptxt" | "fldrslt" | "result" | "ud" if self.state.target == Target::Skip || star => {
                let target = self.stack.iter().rev().map(|state| state.target).find(|it| *it != Target::Skip);
                (target.unwrap_or(Target::Body), None)
            }
            "shpinst" | "shptxt" | "fldrslt" | "result" | "cs" | "ts" | "ds" => return false,
            // The words that old readers get in place of the ones in `\ud`, pictures, field codes and tables.
            "upr" | "pict" | "nonshppict" | "fldinst" | "colortbl" | "object" | "objdata" | "annotation"
            | "atnid" | "atnauthor" | "bkmkstart" | "bkmkend" | "xe" | "tc" | "tcn" | "rxe" | "template"
            | "themedata" | "datastore" | "generator" | "listtable" | "listoverridetable" | "revtbl"
            | "rsidtbl" | "filetbl" | "ftnsep" | "ftnsepc" | "aftnsep" | "sp" | "pnseclvl"
            | "nesttableprops" | "nonesttables" | "deleted" | "doccomm" | "operator" | "revtim"
            | "printim" | "buptim" | "company" | "category" | "comment" | "manager" | "hlinkbase"
            | "private" | "xmlnstbl" | "mmathPr" | "picprop" => (Target::Skip, None),
            _ if star => (Target::Skip, None),
            _ => return false,
        };
        // A run that was deleted is no group.
        if word == "deleted" {
            self.state.hidden = true;
            return true;
        }
        self.state.target = target;
        if target == Target::Info || key.is_some() {
            self.state.key = key;
            self.scratch.clear();
            self.date = [0; 5];
        }
        true
    }

    fn unicode(&mut self, value: i64) {
        self.skip = self.state.fallback;
        // Numbers above 32767 are written as negative ones; some programs write them as they are.
        let unit = u16::try_from(if value < 0 { value + 65_536 } else { value });
        let Ok(unit) = unit else {
            if let Some(char) = u32::try_from(value).ok().and_then(char::from_u32) {
                self.push(char.encode_utf8(&mut [0; 4]));
            }
            return;
        };
        if (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return;
        }
        let units = [self.high.take().unwrap_or(unit), unit];
        let units = if units[0] == unit { &units[1..] } else { &units[..] };
        let text: String = char::decode_utf16(units.iter().copied()).filter_map(Result::ok).collect();
        // Symbol fonts live in the private area at F000, where their first half mirrors ASCII bullets and arrows.
        let text: String = text
            .chars()
            .map(|char| if matches!(char, '\u{f0b7}' | '\u{f0a7}') { '•' } else { char })
            .collect();
        self.push(&text);
    }

    fn end_paragraph(&mut self) {
        match self.state.target {
            Target::Body if self.in_table => self.text.push('\n'),
            Target::Body => {
                self.end_table();
                self.paragraph();
            }
            Target::Note => self.note.push(' '),
            Target::Furniture => self.furniture.push('\n'),
            _ => {}
        }
    }

    fn paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        let mark = one_line(&std::mem::take(&mut self.mark));
        let level = self.outline.or_else(|| self.styles.get(&self.style).copied());
        if text.trim().is_empty() {
        } else if let Some(level) = level {
            self.end_list();
            self.builder.heading(level, &if mark.is_empty() { text } else { format!("{mark} {text}") });
        } else if !mark.is_empty() {
            let mark = if mark.chars().any(char::is_alphanumeric) { mark } else { "-".to_owned() };
            let indent = "  ".repeat(self.depth);
            self.list.push_str(if self.list.is_empty() { "" } else { "\n" });
            self.list.push_str(&format!("{indent}{mark} {}", one_line(&text)));
        } else {
            self.end_list();
            self.builder.block(BlockKind::Paragraph, text.trim_matches(['\n', ' ']));
        }
        let notes = std::mem::take(&mut self.notes);
        if !notes.is_empty() {
            self.end_list();
        }
        for note in notes {
            self.builder.block(BlockKind::Paragraph, &note);
        }
    }

    fn end_list(&mut self) {
        let list = std::mem::take(&mut self.list);
        self.builder.block(BlockKind::List, &list);
    }

    fn end_cell(&mut self) {
        if self.state.target == Target::Body && self.cells.len() < table::MAX_COLUMNS {
            let mark = std::mem::take(&mut self.mark);
            let text = std::mem::take(&mut self.text);
            self.cells.push(one_line(&format!("{mark} {text}")));
        }
    }

    fn end_row(&mut self) {
        if self.state.target == Target::Body && !self.cells.is_empty() {
            self.end_list();
            self.rows.push(std::mem::take(&mut self.cells));
        }
    }

    fn end_table(&mut self) {
        if !self.cells.is_empty() {
            self.rows.push(std::mem::take(&mut self.cells));
        }
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return;
        }
        self.end_list();
        let is_frame = rows.iter().all(|row| row.len() == 1);
        if is_frame {
            for row in rows {
                self.builder.block(BlockKind::Paragraph, &row.concat());
            }
        } else if let Some(text) = table::markdown(&rows) {
            self.builder.block(BlockKind::Table, &text);
        }
    }
}

/// Encoding of a font's character set.
fn charset(number: i64) -> Option<&'static Encoding> {
    let page = match number {
        0 | 1 => return None,
        77 => return Some(encoding_rs::MACINTOSH),
        128 => 932,
        129 => 949,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178..=180 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        _ => return None,
    };
    code_page(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::debug_check;

    #[track_caller]
    fn read_text(text: &str) -> Extracted {
        let limits = Limits::default();
        let out = read(text.as_bytes(), &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        out
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(read_text(&format!("{{\\rtf1\\ansi {text}}}")).text, expected);
    }

    #[test]
    fn characters_come_from_code_pages_and_unicode() {
        check("caf\\'e9 \\u8364?\\u-10179?\\u-8704? \\uc2\\u233ab.", "café €😀 é.");
        check(
            "{\\fonttbl{\\f1\\fcharset204 A;}{\\f2\\fcharset128 B;}}\\f1 \\'cf\\'f0 \\f2 \\'93\\'fa",
            "Пр 日",
        );
        check("a\\emdash b\\~c\\_d\\-e \\{x\\}", "a—b\u{a0}c-de {x}");
    }

    #[test]
    fn destinations_without_text_are_skipped() {
        check(
            "{\\*\\generator X;}{\\pict 0011}a{\\field{\\*\\fldinst HYPERLINK x}{\\fldrslt link}}{\\*\\unknown y}b{\\v hidden}",
            "alinkb",
        );
        check("a{\\bin4 }}}}b}c", "abc");
    }

    #[test]
    fn structure_is_kept() {
        let out = read_text(
            "{\\rtf1{\\stylesheet{\\s0 Normal;}{\\s3 heading 2;}}{\\info{\\title Plan}{\\creatim\\yr2024\\mo5\\dy1\\hr9\\min30}}\
             {\\header Top\\par}\\pard\\s3 Head\\par\\pard text{\\footnote the note}\\par\
             {\\listtext\\'b7\\tab}one\\par{\\listtext\\'b7\\tab}two\\par\
             \\pard\\intbl a\\cell b\\cell\\row\\pard\\intbl 1\\cell 2\\cell\\row\\pard end\\par}",
        );
        assert_eq!(
            out.text,
            "Top\n\nHead\n\ntext\n\nthe note\n\n- one\n- two\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nend"
        );
        assert_eq!((out.headings[0].level, &out.metadata["title"]), (2, &"Plan".into()));
        assert_eq!(out.metadata["date"], "2024-05-01T09:30:00");
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("{{\\rtf1 {}", "{".repeat(100_000));
        assert!(matches!(read(text.as_bytes(), &Limits::default()), Err(ExtractError::TooLarge { .. })));
    }
}
