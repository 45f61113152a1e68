//! From bytes to characters: byte order marks, UTF-16 and UTF-32 without one, labels that a document claims, EBCDIC,
//! and a guess by `chardetng` for everything else. Text that was already decoded wrongly before it was saved is the
//! cleaner's work.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    Encoding, MACINTOSH, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_MAC_CYRILLIC,
};

use crate::builder::Builder;

/// How much is looked at to tell text from other bytes.
const SAMPLE_BYTES: usize = 64 << 10;
/// How much of a text without label is shown to the detector.
const GUESS_BYTES: usize = 4 << 20;

/// IBM code page 500, the EBCDIC that Western mainframes exchange; `\0` is no character of a text.
const CP500: &str = "\0\0\0\0\0\t\0\0\0\0\0\0\0\r\0\0\0\0\0\0\0\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0  âäàáãåçñ[.<(+!&éêëèíîïìß]$*);^-/ÂÄÀÁÃÅÇÑ¦,%_>?øÉÊËÈÍÎÏÌ`:#@'=\"Øabcdefghi«»ðýþ±°jklmnopqrªºæ¸Æ¤µ~stuvwxyz¡¿ÐÝÞ®¢£¥·©§¶¼½¾¬|¯¨´×{ABCDEFGHI\u{ad}ôöòóõ}JKLMNOPQR¹ûüùúÿ\\÷STUVWXYZ²ÔÖÒÓÕ0123456789³ÛÜÙÚ\0";

/// A decoded text.
pub(crate) struct Decoded {
    /// Its characters.
    pub text: String,
    /// Name of the encoding.
    pub encoding: &'static str,
    /// Whether bytes said so or it was a guess.
    pub guessed: bool,
    /// Whether bytes had no meaning in it and became replacement characters.
    pub damaged: bool,
}

impl Decoded {
    fn sure(text: String, encoding: &'static str) -> Self {
        let damaged = text.contains('\u{fffd}');
        Self { text, encoding, guessed: false, damaged }
    }

    /// Says in notes what the reader should know of the encoding.
    pub fn note(&self, builder: &mut Builder) {
        if self.encoding != "UTF-8" {
            let how = if self.guessed { ", guessed from its bytes" } else { "" };
            builder.note("encoding", format!("read as `{}`{how}", self.encoding), None);
        }
        if self.damaged {
            let message =
                format!("some bytes mean nothing in `{}` and were replaced by `\u{fffd}`", self.encoding);
            builder.note("repaired", message, None);
        }
    }
}

/// Decodes a text; `None` when the bytes are no text. `label` is an encoding that the document or its sender claims,
/// which is believed as far as the bytes agree.
pub(crate) fn decode(bytes: &[u8], label: Option<&str>) -> Option<Decoded> {
    if let Some(text) = by_mark(bytes).or_else(|| without_mark(bytes)) {
        return Some(text);
    }
    if looks_binary(bytes) {
        return ebcdic(bytes);
    }
    let labelled = label.and_then(|label| Encoding::for_label(label.trim().as_bytes()));
    let labelled = labelled.filter(|encoding| *encoding != REPLACEMENT && !is_utf16(encoding));
    if let Some(encoding) = labelled.filter(|encoding| *encoding != UTF_8)
        && let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(bytes)
    {
        // Pages and mails often claim Latin-1 and are UTF-8; no other text of some length is valid UTF-8 by chance.
        let is_utf8 = encoding.is_single_byte() && !bytes.is_ascii() && std::str::from_utf8(bytes).is_ok();
        if !is_utf8 {
            return Some(Decoded::sure(text.into_owned(), encoding.name()));
        }
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !has_japanese_escapes(bytes) => Some(Decoded::sure(text.to_owned(), UTF_8.name())),
        Err(error) if error.error_len().is_none() || mostly_utf8(bytes) => {
            Some(Decoded::sure(String::from_utf8_lossy(bytes).into_owned(), UTF_8.name()))
        }
        _ => ebcdic(bytes).or_else(|| Some(guess(bytes))),
    }
}

fn is_utf16(encoding: &'static Encoding) -> bool {
    encoding == UTF_16LE || encoding == UTF_16BE
}

fn guess(bytes: &[u8]) -> Decoded {
    // The detector learns from what is not ASCII; a long English preface would use up its share.
    let first = bytes.iter().position(|byte| !byte.is_ascii() || *byte == 0x1b).unwrap_or(0);
    let from = first.saturating_sub(64);
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(&bytes[from..(from + GUESS_BYTES).min(bytes.len())], true);
    let encoding = detector.guess(None, Utf8Detection::Allow);
    let encoding =
        if encoding == WINDOWS_1252 { of_old_macintosh(bytes).unwrap_or(encoding) } else { encoding };
    let (text, damaged) = encoding.decode_without_bom_handling(bytes);
    Decoded { text: text.into_owned(), encoding: encoding.name(), guessed: true, damaged }
}

/// The detector knows what browsers meet, which leaves out the Macintosh of the nineties; its texts look like
/// windows-1252 full of signs. Judged by which decoding gives letters that stand in words.
fn of_old_macintosh(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let share = |encoding: &'static Encoding, is_usual: fn(char) -> bool| {
        let (text, damaged) = encoding.decode_without_bom_handling(sample);
        let others: Vec<char> = text.chars().filter(|char| !char.is_ascii()).collect();
        let usual = others.iter().filter(|char| is_usual(**char)).count();
        if damaged || others.is_empty() { 0 } else { usual * 100 / others.len() }
    };
    let is_western =
        |char: char| "àâäáãåæçéèêëíìîïñóòôöõøœúùûüßÀÂÄÁÅÆÇÉÈÊÍÎÑÓÔÖØÚÛÜ’‘“”«»–—…€°·¿¡º\u{a0}".contains(char);
    let is_russian = |char: char| matches!(char, 'а'..='я' | 'А'..='Я' | 'ё' | 'Ё' | '«' | '»' | '—' | '–' | '…' | '№' | '“' | '”');
    let letters = sample.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let others = sample.iter().filter(|byte| !byte.is_ascii()).count();
    if others > letters && share(X_MAC_CYRILLIC, is_russian) >= 95 {
        return Some(X_MAC_CYRILLIC);
    }
    let mac = share(MACINTOSH, is_western);
    (others >= 5 && mac >= 90 && share(WINDOWS_1252, is_western) + 30 < mac).then_some(MACINTOSH)
}

fn by_mark(bytes: &[u8]) -> Option<Decoded> {
    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe, 0, 0]).filter(|rest| rest.len().is_multiple_of(4)) {
        return Some(utf32(rest, u32::from_le_bytes, "UTF-32LE"));
    }
    if let Some(rest) = bytes.strip_prefix(&[0, 0, 0xfe, 0xff]) {
        return Some(utf32(rest, u32::from_be_bytes, "UTF-32BE"));
    }
    let (encoding, length) = Encoding::for_bom(bytes)?;
    let (text, _) = encoding.decode_without_bom_handling(&bytes[length..]);
    Some(Decoded::sure(text.into_owned(), encoding.name()))
}

fn utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32, name: &'static str) -> Decoded {
    let chars = bytes.chunks(4).map(|four| {
        <[u8; 4]>::try_from(four).ok().and_then(|four| char::from_u32(unit(four))).unwrap_or('\u{fffd}')
    });
    Decoded::sure(chars.collect(), name)
}

/// UTF-16 and UTF-32 by the zero bytes of their spaces and line feeds.
fn without_mark(bytes: &[u8]) -> Option<Decoded> {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES) & !3];
    if !bytes.contains(&0) || sample.len() < 4 {
        // A single character of UTF-16 is shorter, and no text that anybody looks for.
        return None;
    }
    for (unit, name) in
        [(u32::from_le_bytes as fn([u8; 4]) -> u32, "UTF-32LE"), (u32::from_be_bytes, "UTF-32BE")]
    {
        let is_char = |four: &[u8]| {
            let value = <[u8; 4]>::try_from(four).map_or(0, unit);
            char::from_u32(value).is_some_and(|char| !char.is_control() || char.is_whitespace())
        };
        if bytes.len().is_multiple_of(4) && sample.chunks_exact(4).all(is_char) {
            return Some(utf32(bytes, unit, name));
        }
    }
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let best = [UTF_16LE, UTF_16BE].map(|encoding| {
        let (text, damaged) = encoding.decode_without_bom_handling(sample);
        let total = text.chars().count().max(1);
        let bad = |char: char| {
            (char.is_control() && !char.is_whitespace())
                || matches!(char, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
        };
        let strange = text.chars().filter(|char| bad(*char)).count();
        let plain =
            text.chars().filter(|char| matches!(char, ' ' | '\n' | '\r' | '。' | '、' | '，')).count();
        let good = !damaged && strange * 50 <= total && (plain * 100 >= total || total < 50);
        (good, plain, strange, encoding)
    });
    let [little, big] = best;
    let chosen = match (little.0, big.0) {
        (true, true) if (little.1, big.2) >= (big.1, little.2) => little.3,
        (_, true) => big.3,
        (true, false) => little.3,
        (false, false) => return None,
    };
    let (text, damaged) = chosen.decode_without_bom_handling(bytes);
    Some(Decoded { text: text.into_owned(), encoding: chosen.name(), guessed: true, damaged })
}

/// Whether bytes are no text in any encoding that leaves ASCII in place.
fn looks_binary(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let zeros = sample.iter().filter(|byte| **byte == 0).count();
    let is_odd = |byte: &u8| matches!(byte, 1..=7 | 0xe..=0x1a | 0x1c..=0x1f | 0x7f);
    let odd = sample.iter().filter(|byte| is_odd(byte)).count();
    zeros * 500 > sample.len() || (odd > 2 && odd * 30 > sample.len())
}

fn has_japanese_escapes(bytes: &[u8]) -> bool {
    let at = |start: &[u8]| bytes.windows(3).any(|three| three == start);
    bytes.contains(&0x1b) && (at(b"\x1b$B") || at(b"\x1b$@"))
}

/// Whether a text is UTF-8 with a few broken places rather than something else.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut valid, mut broken) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        valid += chunk.valid().chars().filter(|char| !char.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    valid >= 5 && valid >= broken * 10
}

fn ebcdic(bytes: &[u8]) -> Option<Decoded> {
    let table: Vec<char> = CP500.chars().collect();
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let decoded = |byte: &u8| table.get(usize::from(*byte)).copied().unwrap_or('\0');
    let common = sample.iter().filter(|byte| {
        let char = decoded(byte);
        char.is_ascii_alphanumeric() || matches!(char, ' ' | '\n' | '\r' | '.' | ',')
    });
    let spaces = sample.iter().filter(|byte| **byte == 0x40).count();
    let is_text = common.count() * 10 > sample.len() * 9 && spaces * 20 > sample.len() && sample.len() >= 32;
    is_text.then(|| {
        let text = bytes.iter().map(decoded).filter(|char| *char != '\0').collect();
        Decoded { text, encoding: "IBM500", guessed: true, damaged: false }
    })
}

/// The encoding of a Windows code page, as rich text and Outlook name theirs.
pub(crate) fn code_page(number: u32) -> Option<&'static Encoding> {
    let label = match number {
        874 => "windows-874".to_owned(),
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        866 => "ibm866".to_owned(),
        1200 => "utf-16le".to_owned(),
        1250..=1258 => format!("windows-{number}"),
        10_000 => "macintosh".to_owned(),
        20_866 => "koi8-r".to_owned(),
        21_866 => "koi8-u".to_owned(),
        28_591..=28_606 => format!("iso-8859-{}", number - 28_590),
        50_220..=50_222 => "iso-2022-jp".to_owned(),
        51_932 => "euc-jp".to_owned(),
        54_936 => "gb18030".to_owned(),
        65_001 => "utf-8".to_owned(),
        _ => return None,
    };
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], encoding: &str, text: &str) {
        let decoded = decode(bytes, None).expect("it is text");
        assert_eq!((decoded.encoding, decoded.text.as_str()), (encoding, text));
    }

    #[test]
    fn marks_decide() {
        check(b"\xef\xbb\xbfh\xc3\xa9", "UTF-8", "hé");
        check(b"\xff\xfeh\0\xe9\0", "UTF-16LE", "hé");
        check(b"\xfe\xff\0h\0\xe9", "UTF-16BE", "hé");
        check(b"\xff\xfe\0\0h\0\0\0", "UTF-32LE", "h");
        check(b"\0\0\xfe\xff\0\0\0h", "UTF-32BE", "h");
    }

    #[test]
    fn wide_text_without_mark_is_seen() {
        for text in
            ["A line.\nAnother line.", "Одна строка.\nДругая строка, ещё одна.", "今日は晴れ。\n明日は雨。"]
        {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            let wide: Vec<u8> = text.chars().flat_map(|char| u32::from(char).to_be_bytes()).collect();
            check(&little, "UTF-16LE", text);
            check(&big, "UTF-16BE", text);
            check(&wide, "UTF-32BE", text);
        }
    }

    #[test]
    fn legacy_encodings_are_guessed() {
        let russian = "Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний.";
        let (bytes, ..) = encoding_rs::KOI8_R.encode(russian);
        check(&bytes, "KOI8-U", russian);
        let cyrillic: Vec<u8> = russian.chars().map(|char| macintosh_byte(X_MAC_CYRILLIC, char)).collect();
        check(&cyrillic, "x-mac-cyrillic", russian);
        let french = "L’élève a été très gêné : « ça va », dit-il à sa mère, où qu’elle fût déjà.";
        let western: Vec<u8> = french.chars().map(|char| macintosh_byte(MACINTOSH, char)).collect();
        check(&western, "macintosh", french);
        let japanese = "これは日本語の文章です。文字コードを調べます。";
        let (bytes, ..) = encoding_rs::SHIFT_JIS.encode(japanese);
        check(&bytes, "Shift_JIS", japanese);
        let (bytes, ..) = encoding_rs::ISO_2022_JP.encode(japanese);
        check(&bytes, "ISO-2022-JP", japanese);
        let english: Vec<u8> = "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG"
            .chars()
            .map(|char| CP500.chars().position(|other| other == char).unwrap() as u8)
            .collect();
        check(&english, "IBM500", "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG");
    }

    fn macintosh_byte(encoding: &'static Encoding, char: char) -> u8 {
        let is_it = |byte: &u8| encoding.decode_without_bom_handling(&[*byte]).0.starts_with(char);
        (0..=255).find(is_it).unwrap()
    }

    #[test]
    fn a_label_is_believed_where_the_bytes_agree() {
        assert_eq!(decode(b"caf\xe9", Some("iso-8859-1")).unwrap().text, "café");
        assert_eq!(decode("café".as_bytes(), Some("iso-8859-1")).unwrap().encoding, "UTF-8");
        assert_eq!(decode("café".as_bytes(), Some("no-such")).unwrap().text, "café");
    }

    #[test]
    fn broken_places_do_not_change_the_encoding() {
        let mut bytes = "Příliš žluťoučký kůň úpěl ďábelské ódy".as_bytes().to_vec();
        bytes.push(0xff);
        let decoded = decode(&bytes, None).unwrap();
        assert_eq!((decoded.encoding, decoded.damaged), ("UTF-8", true));
    }

    #[test]
    fn other_bytes_are_no_text() {
        let noise: Vec<u8> = (0..4096u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert!(decode(&noise, None).is_none());
    }
}
