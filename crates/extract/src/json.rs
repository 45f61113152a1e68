//! JSON and lines of it, as `path: value` lines: a value is found by its words and by the names above it.
//!
//! The reader is strict (RFC 8259) and keeps numbers as they are written. It holds only the path, so that neither
//! nesting nor size costs memory.

use crate::builder::Builder;
use crate::decode::Decoded;
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;

mod reader;

pub(crate) use reader::{Problem, walk};

/// Lines of one block: a record that is longer becomes several.
const LINES_A_BLOCK: usize = 60;
/// Bytes of one block.
const BLOCK_BYTES: usize = 4_000;

/// Reads a JSON document.
pub(crate) fn read(decoded: Decoded, limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut builder = Builder::new(Kind::Json, limits);
    decoded.note(&mut builder);
    let text = decoded.text.trim_start_matches('\u{feff}');
    match document(text, &mut builder, limits) {
        Ok(()) => Ok(builder.finish()),
        Err(Problem::TooDeep) => Err(too_deep(limits)),
        Err(Problem::Syntax { line, column, what }) => {
            // One document a line, under the name of a single one.
            let mut lines = text.lines().filter(|line| !line.trim().is_empty());
            let is_lines = lines.clone().count() > 1
                && lines.all(|line| walk(line, limits.max_depth, &mut |_, _, _| true).is_ok());
            if is_lines {
                return read_lines(decoded, limits);
            }
            Err(ExtractError::Damaged {
                reason: format!("it is no JSON: {what} in line {line}, column {column}"),
            })
        }
    }
}

/// Reads lines of JSON. Lines that are none are left out with a note; a text without any good line is damaged.
pub(crate) fn read_lines(decoded: Decoded, limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut builder = Builder::new(Kind::Json, limits);
    decoded.note(&mut builder);
    let (mut good, mut bad, mut first_bad) = (0usize, 0usize, None);
    for (at, line) in decoded.text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        if builder.is_full() {
            break;
        }
        match document(line, &mut builder, limits) {
            Ok(()) => good += 1,
            Err(_) => {
                bad += 1;
                first_bad = first_bad.or(Some(at + 1));
            }
        }
    }
    if let Some(first) = first_bad {
        if good == 0 {
            return Err(ExtractError::Damaged {
                reason: format!("no line is JSON, beginning with line {first}"),
            });
        }
        builder.note("skipped-part", format!("{bad} lines are no JSON, the first is line {first}"), None);
    }
    Ok(builder.finish())
}

pub(crate) fn too_deep(limits: &Limits) -> ExtractError {
    ExtractError::TooLarge {
        what: "the nesting of its values".to_owned(),
        limit: format!("{} levels", limits.max_depth),
    }
}

/// Writes one value: members of an outer list are blocks of their own, so are long members of an outer object.
fn document(text: &str, builder: &mut Builder, limits: &Limits) -> Result<(), Problem> {
    // Nothing of a broken document is kept, so it is read once before.
    walk(text, limits.max_depth, &mut |_, _, _| true)?;
    let mut block = String::new();
    let mut lines = 0;
    let mut record = 0;
    walk(text, limits.max_depth, &mut |path, value, at| {
        if at != record || lines >= LINES_A_BLOCK || block.len() > BLOCK_BYTES {
            builder.block(BlockKind::Paragraph, &block);
            block.clear();
            lines = 0;
            record = at;
        }
        if !value.trim().is_empty() {
            if !block.is_empty() {
                block.push('\n');
            }
            if !path.is_empty() {
                block.push_str(path);
                block.push_str(": ");
            }
            // An empty line would part the record.
            block.push_str(&value.replace("\r\n", "\n").replace("\n\n", "\n"));
            lines += 1;
        }
        !builder.is_full()
    })?;
    builder.block(BlockKind::Paragraph, &block);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::debug_check;
    use crate::decode::decode;

    fn read_text(text: &str) -> Result<Extracted, ExtractError> {
        let limits = Limits::default();
        let out = read(decode(text.as_bytes(), None).unwrap(), &limits)?;
        assert_eq!(debug_check(&out, &limits), None);
        Ok(out)
    }

    #[test]
    fn values_come_with_their_paths() {
        let out = read_text(
            r#"{"a": {"b c": [1.50, {"d": "x\u00e9\ud83d\ude00"}]}, "e": null, "f": true, "g": {}}"#,
        )
        .unwrap();
        assert_eq!(out.text, "a[\"b c\"][0]: 1.50\na[\"b c\"][1].d: xé😀\ne: null\nf: true");
    }

    #[test]
    fn records_of_a_list_are_blocks() {
        let out = read_text(r#"[{"id": 1, "t": "one"}, {"id": 2}, "three"]"#).unwrap();
        assert_eq!(out.text, "[0].id: 1\n[0].t: one\n\n[1].id: 2\n\n[2]: three");
    }

    #[test]
    fn lines_are_records() {
        let lines = decode(b"{\"a\": 1}\nbroken\n{\"a\": 2}\n", None).unwrap();
        let out = read_lines(lines, &Limits::default()).unwrap();
        assert_eq!(out.text, "a: 1\n\na: 2");
        assert!(out.notes[0].message.contains("line 2"));
        assert_eq!(read_text("{\"a\": 1}\n{\"a\": 2}\n").unwrap().text, "a: 1\n\na: 2");
    }

    #[test]
    fn what_is_no_json_is_named_with_its_place() {
        let error = read_text("{\"a\": 1,\n \"b\": tru}").unwrap_err().to_string();
        assert!(error.contains("line 2, column 7"), "{error}");
        let deep = "[".repeat(100_000);
        assert!(matches!(read_text(&deep), Err(ExtractError::TooLarge { .. })));
    }

    proptest::proptest! {
        #[test]
        fn it_agrees_with_another_reader(text in r#"[\[\]{}",:0-9.eE\-+ truefalsn\\u]{0,24}"#) {
            let ours = walk(&text, 100, &mut |_, _, _| true).is_ok();
            let theirs = serde_json::from_str::<Box<serde_json::value::RawValue>>(&text).is_ok();
            proptest::prop_assert_eq!(ours, theirs, "{}", text);
        }
    }
}
