//! Spreadsheets: a page a sheet, its cells as Markdown tables.
//!
//! `calamine` reads Excel's three formats cell by cell, so that a sheet with one cell in its last corner costs one cell.
//! OpenDocument sheets come from our own reader of that format, which keeps numbers as they are shown.

use std::collections::BTreeMap;
use std::io::Cursor;

use calamine::{Data, DataRef, DataType, ExcelDateTime, Reader, SheetType, Xls, XlsError, Xlsb, Xlsx};

use crate::archive::Archive;
use crate::builder::{Builder, one_line};
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::kind::Format;
use crate::ooxml::Package;
use crate::table;

/// Most cells of one sheet: 2 million of 30 bytes are the text limit.
const MAX_CELLS: usize = 2_000_000;
/// Rows of one block. A block repeats the head, so that every piece of a long table names its columns.
const ROWS_A_BLOCK: usize = 40;
/// Empty columns in a row after which a sheet is two tables side by side would be a guess; only the width is bounded.
const MAX_WIDTH: u32 = 1_024;

/// Cells of a sheet that have text.
pub(crate) struct Sheet {
    rows: BTreeMap<u32, BTreeMap<u32, String>>,
    left: usize,
    bytes_left: usize,
    /// Whether cells were left out.
    pub cut: bool,
}

impl Sheet {
    /// An empty sheet.
    pub fn new(limits: &Limits) -> Self {
        Self { rows: BTreeMap::new(), left: MAX_CELLS, bytes_left: limits.max_text_bytes, cut: false }
    }

    /// Puts a cell, unless it is blank or one too many. `false` when no more are wanted.
    pub fn put(&mut self, (row, column): (u32, u32), text: String) -> bool {
        if text.trim().is_empty() {
            return true;
        }
        if self.left == 0 || self.bytes_left < text.len() {
            self.cut = true;
            return false;
        }
        self.left -= 1;
        self.bytes_left -= text.len();
        self.rows.entry(row).or_default().insert(column, text);
        true
    }
}

/// Writes a sheet as tables: rows apart by an empty one are tables of their own.
///
/// The name stands above them as a heading, unless the program made it up.
pub(crate) fn write_sheet(sheet: &Sheet, name: &str, builder: &mut Builder) {
    if !sheet.rows.is_empty() && !is_default_name(name) {
        builder.heading(1, name);
    }
    let mut run: Vec<&BTreeMap<u32, String>> = Vec::new();
    let mut last = None;
    for (at, row) in &sheet.rows {
        if last.is_some_and(|last| at - last > 1) {
            write_run(&run, builder);
            run.clear();
        }
        last = Some(*at);
        run.push(row);
    }
    write_run(&run, builder);
    if sheet.cut {
        let page = builder.page_number();
        builder.note("cut", "a sheet has more cells than are read", page);
    }
}

/// `Sheet1` in the languages that programs are sold in most.
fn is_default_name(name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["sheet", "tabelle", "feuil", "hoja", "foglio", "planilha", "blad", "лист", "工作表"];
    let name = name.trim().to_lowercase();
    let word = name.trim_end_matches(|char: char| char.is_ascii_digit() || char == ' ');
    word.is_empty() || (word.len() < name.len() && WORDS.contains(&word))
}

fn write_run(run: &[&BTreeMap<u32, String>], builder: &mut Builder) {
    let columns: Vec<u32> = run.iter().flat_map(|row| row.keys().copied()).collect();
    let (Some(first), Some(last)) = (columns.iter().min(), columns.iter().max()) else { return };
    let last = (*last).min(first.saturating_add(MAX_WIDTH - 1));
    // Columns without any cell, as between a label and a far note, would only be bars.
    let used: Vec<u32> = {
        let mut used = columns.clone();
        used.sort_unstable();
        used.dedup();
        used.into_iter().filter(|column| *column <= last).collect()
    };
    let rows: Vec<Vec<String>> = run
        .iter()
        .map(|row| used.iter().map(|column| row.get(column).cloned().unwrap_or_default()).collect())
        .collect();
    write_rows(&rows, builder);
}

/// Writes rows whose first is the head: a lone column as a paragraph, long ones in blocks that repeat the head.
pub(crate) fn write_rows(rows: &[Vec<String>], builder: &mut Builder) {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    if width <= 1 || rows.len() == 1 {
        let lines: Vec<String> = rows.iter().map(|row| one_line(&row.join(" "))).collect();
        for lines in lines.chunks(ROWS_A_BLOCK) {
            builder.block(BlockKind::Paragraph, &lines.join("\n"));
        }
        return;
    }
    let Some((head, rest)) = rows.split_first() else { return };
    for rows in rest.chunks(ROWS_A_BLOCK) {
        if builder.is_full() {
            return;
        }
        let block: Vec<Vec<String>> = std::iter::once(head).chain(rows).cloned().collect();
        if let Some(text) = table::markdown(&block) {
            builder.block(BlockKind::Table, &text);
        }
    }
}

/// Reads an Excel workbook.
pub(crate) fn read(bytes: &[u8], format: Format, limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut builder = Builder::new(Kind::Spreadsheet, limits);
    match format {
        Format::Xls => {
            let workbook = Xls::new(Cursor::new(bytes)).map_err(|error| match error {
                XlsError::Password => ExtractError::NeedsPassword,
                error => damaged(&error),
            })?;
            dense(workbook, &mut builder, limits)?;
        }
        _ => {
            Archive::open(bytes, limits)?.check_sizes()?;
            let mut package = Package::open(bytes, limits)?;
            package.properties(&mut builder)?;
            if format == Format::Xlsb {
                let mut workbook = Xlsb::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
                each_sheet(sheets(&workbook), &mut builder, limits, |name, sheet| {
                    let mut cells =
                        workbook.worksheet_cells_reader(name).map_err(|error| error.to_string())?;
                    while let Some(cell) = cells.next_cell().map_err(|error| error.to_string())? {
                        if !sheet.put(cell.get_position(), shown_ref(cell.get_value())) {
                            break;
                        }
                    }
                    Ok(())
                });
            } else {
                let mut workbook = Xlsx::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
                each_sheet(sheets(&workbook), &mut builder, limits, |name, sheet| {
                    let mut cells =
                        workbook.worksheet_cells_reader(name).map_err(|error| error.to_string())?;
                    while let Some(cell) = cells.next_cell().map_err(|error| error.to_string())? {
                        if !sheet.put(cell.get_position(), shown_ref(cell.get_value())) {
                            break;
                        }
                    }
                    Ok(())
                });
            }
            package.note(&mut builder);
        }
    }
    Ok(builder.finish())
}

fn sheets<R: Reader<Cursor<T>>, T>(workbook: &R) -> Vec<String>
where
    Cursor<T>: std::io::Read + std::io::Seek,
{
    let is_table = |kind: &SheetType| matches!(kind, SheetType::WorkSheet | SheetType::DialogSheet);
    workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| is_table(&sheet.typ))
        .map(|sheet| sheet.name.clone())
        .collect()
}

/// A page a sheet. `fill` reads the cells of one; what it fails on ends that sheet only.
fn each_sheet(
    names: Vec<String>,
    builder: &mut Builder,
    limits: &Limits,
    mut fill: impl FnMut(&str, &mut Sheet) -> Result<(), String>,
) {
    for name in names {
        if !builder.begin_page(Some(name.clone())) {
            break;
        }
        let mut sheet = Sheet::new(limits);
        let problem = fill(&name, &mut sheet).err();
        end_sheet(&sheet, problem, &name, builder);
    }
}

fn end_sheet(sheet: &Sheet, problem: Option<String>, name: &str, builder: &mut Builder) {
    write_sheet(sheet, name, builder);
    let page = builder.page_number();
    if let Some(problem) = problem {
        builder.note("repaired", format!("the sheet `{name}` was read as far as it goes: {problem}"), page);
    }
    builder.end_page();
}

/// The old binary format holds 65,536 rows of 256 columns at most, so its sheets may be read as a whole.
fn dense(
    mut workbook: Xls<Cursor<&[u8]>>,
    builder: &mut Builder,
    limits: &Limits,
) -> Result<(), ExtractError> {
    for name in sheets(&workbook) {
        if builder.is_full() || !builder.begin_page(Some(name.clone())) {
            break;
        }
        let mut sheet = Sheet::new(limits);
        let problem = match workbook.worksheet_range(&name) {
            Ok(range) => {
                let (top, left) = range.start().unwrap_or_default();
                for (row, column, value) in range.used_cells() {
                    let at = |first: u32, more: usize| {
                        first.saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
                    };
                    if !sheet.put((at(top, row), at(left, column)), shown(value)) {
                        break;
                    }
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        end_sheet(&sheet, problem, &name, builder);
    }
    Ok(())
}

fn damaged(error: &dyn std::fmt::Display) -> ExtractError {
    ExtractError::Damaged { reason: format!("its workbook cannot be read ({error})") }
}

fn shown(value: &Data) -> String {
    match value {
        Data::DateTime(date) => shown_date(date),
        Data::Float(number) => shown_number(*number),
        Data::Error(_) | Data::Empty => String::new(),
        value => value.to_string(),
    }
}

fn shown_ref(value: &DataRef<'_>) -> String {
    match value {
        DataRef::DateTime(date) => shown_date(date),
        DataRef::Float(number) => shown_number(*number),
        DataRef::Int(number) => number.to_string(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::Error(_) | DataRef::Empty => String::new(),
        value => value.get_string().map(str::to_owned).or_else(|| value.as_string()).unwrap_or_default(),
    }
}

/// A number as people write it: fifteen digits are what a sheet knows, the rest is binary dust.
fn shown_number(number: f64) -> String {
    if !number.is_finite() {
        return String::new();
    }
    if number == number.trunc() && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    rounded.to_string()
}

fn shown_date(date: &ExcelDateTime) -> String {
    if date.is_duration() {
        let seconds = (date.as_f64() * 86_400.0).round();
        let sign = if seconds < 0.0 { "-" } else { "" };
        let seconds = seconds.abs() as u64;
        return format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
    let is_time_only = date.as_f64() < 1.0 && date.as_f64() >= 0.0;
    let has_time = (hour, minute, second) != (0, 0, 0);
    match (is_time_only, has_time) {
        (true, _) => format!("{hour:02}:{minute:02}:{second:02}"),
        (false, true) => format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
        (false, false) => format!("{year:04}-{month:02}-{day:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::pack;
    use crate::builder::debug_check;

    fn workbook(sheet: &str) -> Vec<u8> {
        let sheet = format!(
            "<worksheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'>{sheet}</worksheet>"
        );
        pack(&[
            ("[Content_Types].xml", "<Types/>"),
            (
                "_rels/.rels",
                "<Relationships><Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' Target='xl/workbook.xml'/></Relationships>",
            ),
            (
                "xl/workbook.xml",
                "<workbook xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'><sheets><sheet name='Plan' sheetId='1' r:id='rId1'/></sheets></workbook>",
            ),
            (
                "xl/_rels/workbook.xml.rels",
                "<Relationships><Relationship Id='rId1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' Target='worksheets/sheet1.xml'/><Relationship Id='rId2' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles' Target='styles.xml'/></Relationships>",
            ),
            (
                "xl/styles.xml",
                "<styleSheet><cellXfs count='2'><xf numFmtId='0'/><xf numFmtId='14'/></cellXfs></styleSheet>",
            ),
            ("xl/worksheets/sheet1.xml", &sheet),
        ])
    }

    fn read_sheet(sheet: &str) -> Extracted {
        let limits = Limits::default();
        let out = read(&workbook(sheet), Format::Xlsx, &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        out
    }

    #[test]
    fn dates_and_numbers_are_readable() {
        let out = read_sheet(
            "<sheetData><row r='1'><c r='A1' t='inlineStr'><is><t>when</t></is></c><c r='B1' t='inlineStr'><is><t>much</t></is></c></row>\
             <row r='2'><c r='A2' s='1'><v>45413</v></c><c r='B2'><v>0.1</v></c></row></sheetData>",
        );
        assert_eq!(out.text, "Plan\n\n| when | much |\n| --- | --- |\n| 2024-05-01 | 0.1 |");
        assert_eq!(out.pages[0].name.as_deref(), Some("Plan"));
        assert_eq!(
            (shown_number(0.1 + 0.2), shown_number(1e20)),
            ("0.3".to_owned(), "100000000000000000000".to_owned())
        );
    }

    #[test]
    fn far_apart_cells_cost_nothing() {
        let out = read_sheet(
            "<dimension ref='A1:XFD1048576'/><sheetData><row r='1'><c r='A1'><v>1</v></c></row>\
             <row r='1048576'><c r='XFD1048576'><v>2</v></c></row></sheetData>",
        );
        assert_eq!(out.text, "Plan\n\n1\n\n2");
        assert!(is_default_name("Sheet 12") && is_default_name("Лист1") && !is_default_name("Sheet of 2024"));
    }

    #[test]
    fn long_tables_repeat_their_head() {
        let rows: Vec<Vec<String>> = (0..100).map(|at| vec![format!("a{at}"), format!("b{at}")]).collect();
        let mut builder = Builder::new(Kind::Csv, &Limits::default());
        write_rows(&rows, &mut builder);
        let out = builder.finish();
        assert_eq!(out.blocks.len(), 3);
        assert_eq!(out.text.matches("| a0 | b0 |").count(), 3);
        assert_eq!(out.text.matches("| a99 | b99 |").count(), 1);
    }
}
