//! Tables as Markdown: one line a row, so that a chunker can cut between rows and repeat the head.

use crate::builder::one_line;

/// Most columns of a table; what lies beyond is spreadsheet art.
pub(crate) const MAX_COLUMNS: usize = 1_024;

/// A table as Markdown, its first row as the head. Rows are filled to the same width; empty rows and empty columns at
/// the right are dropped. `None` when nothing is in it.
pub(crate) fn markdown(rows: &[Vec<String>]) -> Option<String> {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().take(MAX_COLUMNS).map(|cell| cell_text(cell)).collect::<Vec<_>>())
        .filter(|row| row.iter().any(|cell| !cell.is_empty()))
        .collect();
    let filled = |row: &Vec<String>| row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |at| at + 1);
    let width = rows.iter().map(filled).max()?;
    let mut out = String::new();
    for (at, row) in rows.iter().enumerate() {
        push_row(&mut out, row, width);
        if at == 0 {
            out.push_str("\n|");
            out.push_str(&" --- |".repeat(width));
        }
        if at + 1 < rows.len() {
            out.push('\n');
        }
    }
    Some(out)
}

/// Appends one row of a Markdown table.
pub(crate) fn push_row(out: &mut String, row: &[String], width: usize) {
    out.push('|');
    for column in 0..width {
        let cell = row.get(column).map_or("", String::as_str);
        out.push(' ');
        out.push_str(cell);
        if !cell.is_empty() {
            out.push(' ');
        }
        out.push('|');
    }
}

/// Text of a cell on one line, with its bars escaped.
pub(crate) fn cell_text(cell: &str) -> String {
    let line = one_line(cell);
    if line.contains('|') { line.replace('|', "\\|") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_filled_and_bars_escaped() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [row(&["a", "b|c", ""]), row(&["", ""]), row(&["two\nlines"])];
        assert_eq!(markdown(&rows).unwrap(), "| a | b\\|c |\n| --- | --- |\n| two lines | |");
        assert_eq!(markdown(&[row(&["", " "])]), None);
    }
}
