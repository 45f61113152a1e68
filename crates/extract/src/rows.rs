//! Rows of text: CSV and its relatives.
//!
//! Short rows become Markdown tables in blocks that repeat the head, so that any piece of them names its columns. Rows
//! with long cells become records of `column: value` lines: such a row fills a passage by itself, and a passage that
//! carries its column names beside the values is found by both, where a table cut in the middle of a row by neither.

use crate::builder::Builder;
use crate::decode::Decoded;
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::sheet::write_rows;
use crate::table::MAX_COLUMNS;

/// Bytes of a mean row above which rows become records: about a tenth of a passage.
const RECORD_BYTES: usize = 200;
/// How much of a text the delimiter is guessed from.
const SAMPLE_BYTES: usize = 64 << 10;
/// Rows of a sample.
const SAMPLE_ROWS: usize = 50;
/// Rows kept before writing starts, which the choice between table and records is made from.
const CHOICE_ROWS: usize = 200;

/// Reads rows.
pub(crate) fn read(decoded: Decoded, limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut builder = Builder::new(Kind::Csv, limits);
    decoded.note(&mut builder);
    let text = decoded.text.trim_start_matches('\u{feff}');
    // Excel's own way to name the delimiter.
    let (said, text) = match text.strip_prefix("sep=").and_then(|rest| rest.split_once('\n')) {
        Some((mark, rest)) => (mark.trim_end().bytes().next(), rest),
        None => (None, text),
    };
    let delimiter = said.unwrap_or_else(|| sniff(text));
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut head: Vec<String> = Vec::new();
    let mut as_records = None;
    for record in reader(text, delimiter).records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                builder.note("repaired", format!("rows were read as far as they go: {error}"), None);
                break;
            }
        };
        if builder.is_full() {
            break;
        }
        let row: Vec<String> = record.iter().take(MAX_COLUMNS).map(|cell| cell.trim().to_owned()).collect();
        if row.iter().all(String::is_empty) {
            continue;
        }
        rows.push(row);
        if rows.len() >= CHOICE_ROWS {
            flush(&mut rows, &mut head, &mut as_records, &mut builder);
        }
    }
    flush(&mut rows, &mut head, &mut as_records, &mut builder);
    let mark = char::from(delimiter).to_string();
    builder.meta("delimiter", if delimiter == b'\t' { "tab" } else { &mark });
    Ok(builder.finish())
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes())
}

/// Writes the rows that were gathered; the first ones decide how.
fn flush(
    rows: &mut Vec<Vec<String>>,
    head: &mut Vec<String>,
    as_records: &mut Option<bool>,
    builder: &mut Builder,
) {
    if rows.is_empty() {
        return;
    }
    let as_records = *as_records.get_or_insert_with(|| {
        let bytes: usize = rows.iter().flatten().map(String::len).sum();
        rows.len() > 1 && rows[0].len() > 1 && bytes / rows.len() > RECORD_BYTES
    });
    let is_first = head.is_empty();
    if is_first {
        head.clone_from(&rows[0]);
    }
    if as_records {
        for row in rows.iter().skip(usize::from(is_first)) {
            record(head, row, builder);
        }
    } else {
        if !is_first {
            rows.insert(0, head.clone());
        }
        write_rows(rows, builder);
    }
    rows.clear();
}

fn record(head: &[String], row: &[String], builder: &mut Builder) {
    let lines: Vec<String> = row
        .iter()
        .enumerate()
        .filter(|(_, value)| !value.is_empty())
        .map(|(at, value)| match head.get(at).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name}: {}", value.replace("\r\n", "\n").replace("\n\n", "\n")),
            None => value.clone(),
        })
        .collect();
    builder.block(BlockKind::Paragraph, &lines.join("\n"));
}

/// The delimiter that gives the most rows the same number of columns, above one.
fn sniff(text: &str) -> u8 {
    let sample = &text[..crate::builder::floor_boundary(text, SAMPLE_BYTES)];
    let score = |delimiter: u8| {
        let counts: Vec<usize> =
            reader(sample, delimiter).records().flatten().take(SAMPLE_ROWS).map(|row| row.len()).collect();
        let widest = counts
            .iter()
            .copied()
            .filter(|count| *count > 1)
            .max_by_key(|width| (counts.iter().filter(|count| *count == width).count(), *width));
        let width = widest.unwrap_or(1);
        let agree = counts.iter().filter(|count| **count == width).count();
        if width > 1 { (agree * 100 / counts.len().max(1), width) } else { (0, 0) }
    };
    let best = [b',', b'\t', b';', b'|'].into_iter().rev().max_by_key(|delimiter| score(*delimiter));
    best.filter(|delimiter| score(*delimiter).1 > 1).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::debug_check;
    use crate::decode::decode;

    fn read_text(text: &str) -> Extracted {
        let limits = Limits::default();
        let out = read(decode(text.as_bytes(), None).unwrap(), &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        out
    }

    #[test]
    fn delimiters_are_found() {
        for (text, delimiter) in [
            ("a,b\n1,2", b','),
            ("a;b\n1,5;2", b';'),
            ("a\tb c, d\n1\t2", b'\t'),
            ("a|b\n1|2", b'|'),
            ("a\nb", b','),
        ] {
            assert_eq!(sniff(text), delimiter, "{text}");
        }
        assert_eq!(read_text("sep=;\na;b\n1;2").text, "| a | b |\n| --- | --- |\n| 1 | 2 |");
    }

    #[test]
    fn short_rows_become_tables_and_long_ones_records() {
        assert_eq!(
            read_text("a,b\n1,\"two\nlines | bar\"").text,
            "| a | b |\n| --- | --- |\n| 1 | two lines \\| bar |"
        );
        let long = "word ".repeat(100);
        let out = read_text(&format!("id,text,none\n1,{long},\n2,{long},\n"));
        assert_eq!(out.blocks.len(), 2);
        assert!(out.text.starts_with("id: 1\ntext: word word") && !out.text.contains("none"));
    }

    #[test]
    fn many_rows_keep_their_head() {
        let rows: String = (0..1_000).map(|at| format!("{at},x\n")).collect();
        let out = read_text(&format!("id,name\n{rows}"));
        assert!(out.blocks.iter().all(|block| out.text[block.range.clone()].starts_with("| id | name |")));
        assert_eq!(out.text.matches("| 999 | x |").count(), 1);
        assert_eq!(out.text.matches("| 200 | x |").count(), 1);
    }
}
