//! Sheets of OpenDocument, as they are shown: cells keep the text that the program formatted.

use crate::builder::{Builder, one_line};
use crate::document::Limits;
use crate::sheet::{Sheet, write_sheet};
use crate::xml::El;

/// Most copies of a row that has text; programs repeat empty rows to the end of a sheet.
const MAX_COPIES: usize = 100;

pub(super) fn write(body: El<'_>, builder: &mut Builder, limits: &Limits) {
    for table in body.path(&["spreadsheet"]).unwrap_or(body).children().filter(|el| el.is("table")) {
        if builder.is_full() || !builder.begin_page(table.attr("name").map(str::to_owned)) {
            return;
        }
        let mut sheet = Sheet::new(limits);
        rows(table, &mut sheet, &mut 0);
        write_sheet(&sheet, table.attr("name").unwrap_or_default(), builder);
        builder.end_page();
    }
}

/// How often something is repeated.
pub(super) fn repeats(el: El<'_>, name: &str) -> usize {
    el.attr(name).and_then(|count| count.parse().ok()).unwrap_or(1).max(1)
}

fn rows(parent: El<'_>, sheet: &mut Sheet, at: &mut u32) {
    for el in parent.children() {
        match el.name() {
            "table-row" => {
                let cells = cells(el);
                let copies = repeats(el, "number-rows-repeated");
                let written = if cells.is_empty() { 0 } else { copies.min(MAX_COPIES) };
                if written < copies && !cells.is_empty() {
                    sheet.cut = true;
                }
                for copy in 0..written {
                    let row = at.saturating_add(u32::try_from(copy).unwrap_or(u32::MAX));
                    for (column, text) in &cells {
                        sheet.put((row, *column), text.clone());
                    }
                }
                *at = at.saturating_add(u32::try_from(copies).unwrap_or(u32::MAX));
            }
            "table-header-rows" | "table-rows" | "table-row-group" => rows(el, sheet, at),
            _ => {}
        }
    }
}

/// Cells of a row that have text, with their columns.
fn cells(row: El<'_>) -> Vec<(u32, String)> {
    let mut out = Vec::new();
    let mut column = 0u32;
    for cell in row.children().filter(|el| matches!(el.name(), "table-cell" | "covered-table-cell")) {
        let lines = cell.children().filter(|el| el.is("p")).map(paragraph);
        let text = one_line(&lines.collect::<Vec<_>>().join(" "));
        let copies = repeats(cell, "number-columns-repeated");
        if !text.is_empty() {
            for copy in 0..copies.min(MAX_COPIES) {
                out.push((column.saturating_add(u32::try_from(copy).unwrap_or(u32::MAX)), text.clone()));
            }
        }
        column = column.saturating_add(u32::try_from(copies).unwrap_or(u32::MAX));
    }
    out
}

/// Text of a paragraph of a cell, without comments on it.
fn paragraph(el: El<'_>) -> String {
    let mut out = String::new();
    for el in el.below() {
        match (el.as_text(), el.name()) {
            (Some(text), _) => out.push_str(text),
            (None, "s" | "tab" | "line-break") => out.push(' '),
            _ => {}
        }
    }
    out
}
