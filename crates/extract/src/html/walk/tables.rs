//! Tables of data; tables that lay out a page are told apart.

use dom_query::NodeRef;

use super::{MAX_CELL_BYTES, each_below, element_name, is_hidden, is_skipped, text_of};
use crate::table::MAX_COLUMNS;

/// Rows of a table of data; `None` for one that lays out a page.
pub(super) fn rows(table: &NodeRef<'_>) -> Option<Vec<Vec<String>>> {
    if table.attr("role").is_some_and(|role| matches!(role.trim(), "presentation" | "none")) {
        return None;
    }
    let mut rows = Vec::new();
    let mut is_layout = false;
    let mut has_head = false;
    // Columns that a cell above still fills, with the number of rows left.
    let mut filled: Vec<usize> = Vec::new();
    each_below(table, |node, entering| {
        let Some(name) = element_name(node) else { return false };
        if !entering {
            return true;
        }
        match name.as_str() {
            "table" | "h1" | "h2" | "h3" | "form" => is_layout = true,
            "caption" => return false,
            "tr" => {
                let (row, head, inner) = cells(node, &mut filled);
                has_head |= head;
                is_layout |= inner || row.iter().any(|cell| cell.len() > MAX_CELL_BYTES);
                rows.push(row);
                return false;
            }
            _ => {}
        }
        !is_layout
    });
    rows.retain(|row: &Vec<String>| row.iter().any(|cell| !cell.is_empty()));
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let is_data = !is_layout && columns >= 2 && (rows.len() >= 2 || has_head);
    is_data.then_some(rows)
}

/// Cells of a row, whether one is a head, and whether one holds another table.
fn cells(row: &NodeRef<'_>, filled: &mut Vec<usize>) -> (Vec<String>, bool, bool) {
    let mut cells = Vec::new();
    let (mut has_head, mut has_table) = (false, false);
    let mut next = row.first_child();
    while let Some(cell) = next {
        next = cell.next_sibling();
        let Some(name) = element_name(&cell) else { continue };
        if is_skipped(&name) || is_hidden(&cell) {
            continue;
        }
        has_head |= name == "th";
        each_below(&cell, |node, _| {
            has_table |= node.has_name("table");
            !has_table
        });
        skip_filled(&mut cells, filled);
        let span = |name: &str| {
            cell.attr(name).and_then(|value| value.trim().parse::<usize>().ok()).unwrap_or(1).max(1)
        };
        let (wide, high) = (span("colspan").min(MAX_COLUMNS), span("rowspan").min(65_534));
        if cells.len() + wide > MAX_COLUMNS {
            break;
        }
        let at = cells.len();
        cells.push(text_of(&cell).replace('\n', " "));
        cells.resize(at + wide, String::new());
        filled.resize(filled.len().max(cells.len()), 0);
        filled[at..at + wide].fill(high - 1);
    }
    skip_filled(&mut cells, filled);
    (cells, has_head, has_table)
}

/// Leaves columns empty that a cell above fills.
fn skip_filled(cells: &mut Vec<String>, filled: &mut [usize]) {
    while let Some(left) = filled.get_mut(cells.len()).filter(|left| **left > 0) {
        *left -= 1;
        cells.push(String::new());
    }
}
