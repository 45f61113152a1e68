//! Tables: those whose ruling lines make a grid, and those whose cells stand in columns without lines. Only what is
//! certain is called a table; everything else stays text that is read across.

use std::collections::BTreeMap;

use super::fragments::Fragment;
use super::page::Rule;

/// How far apart ruling lines may be and still touch, in points.
const TOUCH: f32 = 3.0;
/// Most cells of a ruled table; beyond it, it is a drawing.
const MAX_CELLS: usize = 20_000;
/// Longest mean text of a cell; boxes around whole paragraphs are page design.
const MAX_MEAN_CELL: usize = 160;
/// Fewest rows and columns of a table without lines.
const MIN_ALIGNED_ROWS: usize = 3;
/// See above.
const MIN_ALIGNED_COLUMNS: usize = 3;
/// Part of the cells of a table without lines that has text.
const MIN_ALIGNED_FILL: f32 = 0.6;

/// A grid of ruling lines.
#[derive(Clone, Debug, Default)]
struct Grid {
    /// Edges of columns from left to right.
    columns: Vec<f32>,
    /// Edges of rows from top to bottom.
    rows: Vec<f32>,
}

/// A table that was found.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Its cells.
    pub rows: Vec<Vec<String>>,
    /// Left, top, right, bottom.
    pub bounds: [f32; 4],
    /// Where its first fragment stands in the page's own order.
    pub order: usize,
}

/// Takes the fragments of ruled tables out of a page.
pub(super) fn take_ruled(fragments: &mut Vec<Fragment>, rules: &[Rule]) -> Vec<Table> {
    let mut tables = Vec::new();
    for grid in grids(rules) {
        if let Some(table) = fill(&grid, fragments) {
            tables.push(table);
        }
    }
    tables
}

/// Groups of lines that touch each other and cut out at least two by two cells.
fn grids(rules: &[Rule]) -> Vec<Grid> {
    let mut group: Vec<usize> = (0..rules.len()).collect();
    let root = |group: &mut Vec<usize>, mut at: usize| {
        while group[at] != at {
            group[at] = group[group[at]];
            at = group[at];
        }
        at
    };
    let mut upright: Vec<usize> = (0..rules.len()).filter(|at| !rules[*at].horizontal).collect();
    upright.sort_by(|a, b| rules[*a].at.total_cmp(&rules[*b].at));
    for level in (0..rules.len()).filter(|at| rules[*at].horizontal) {
        let line = rules[level];
        let from = upright.partition_point(|at| rules[*at].at < line.from - TOUCH);
        for other in upright[from..].iter().take_while(|at| rules[**at].at <= line.to + TOUCH) {
            let crossing = rules[*other];
            if crossing.from <= line.at + TOUCH && crossing.to >= line.at - TOUCH {
                let (a, b) = (root(&mut group, level), root(&mut group, *other));
                group[a] = b;
            }
        }
    }
    let mut grids: BTreeMap<usize, Grid> = BTreeMap::new();
    for (at, rule) in rules.iter().enumerate() {
        let root = root(&mut group, at);
        let grid = grids.entry(root).or_default();
        if rule.horizontal { &mut grid.rows } else { &mut grid.columns }.push(rule.at);
    }
    let mut grids: Vec<Grid> = grids
        .into_values()
        .map(|grid| Grid { columns: edges(grid.columns), rows: edges(grid.rows) })
        .filter(|grid| grid.columns.len() >= 3 && grid.rows.len() >= 3)
        .filter(|grid| grid.columns.len() * grid.rows.len() <= MAX_CELLS)
        .collect();
    grids.sort_by(|a, b| a.rows[0].total_cmp(&b.rows[0]));
    grids
}

/// Places without near doubles.
fn edges(mut places: Vec<f32>) -> Vec<f32> {
    places.sort_by(f32::total_cmp);
    places.dedup_by(|a, b| (*a - *b).abs() <= TOUCH);
    places
}

fn fill(grid: &Grid, fragments: &mut Vec<Fragment>) -> Option<Table> {
    let cell_of = |fragment: &Fragment| {
        let (x, y) = ((fragment.start + fragment.end) / 2.0, fragment.baseline - 0.3 * fragment.size);
        let column = grid.columns.partition_point(|edge| *edge <= x).checked_sub(1)?;
        let row = grid.rows.partition_point(|edge| *edge <= y).checked_sub(1)?;
        (column + 1 < grid.columns.len() && row + 1 < grid.rows.len()).then_some((row, column))
    };
    let mut cells = vec![vec![Vec::<&Fragment>::new(); grid.columns.len() - 1]; grid.rows.len() - 1];
    let mut order = usize::MAX;
    for fragment in fragments.iter() {
        if let Some((row, column)) = cell_of(fragment) {
            cells[row][column].push(fragment);
            order = order.min(fragment.order);
        }
    }
    let filled: Vec<&Vec<&Fragment>> = cells.iter().flatten().filter(|cell| !cell.is_empty()).collect();
    let chars: usize = filled.iter().flat_map(|cell| cell.iter()).map(|part| part.text.chars().count()).sum();
    let filled_rows =
        cells.iter().filter(|row| row.iter().filter(|cell| !cell.is_empty()).count() >= 2).count();
    let filled_columns =
        (0..grid.columns.len() - 1).filter(|at| cells.iter().any(|row| !row[*at].is_empty())).count();
    let solid = filled.len() >= 4
        && filled_rows >= 2
        && filled_columns >= 2
        && chars <= MAX_MEAN_CELL * filled.len()
        && filled.len() * 3 >= cells.len() * filled_columns;
    if !solid {
        return None;
    }
    let rows = cells.into_iter().map(|row| row.into_iter().map(cell_text).collect()).collect();
    let bounds = [grid.columns[0], grid.rows[0], *grid.columns.last()?, *grid.rows.last()?];
    let table = Table { rows, bounds, order };
    fragments.retain(|fragment| cell_of(fragment).is_none());
    Some(table)
}

fn cell_text(mut parts: Vec<&Fragment>) -> String {
    parts.sort_by(|a, b| {
        let same_line = (a.baseline - b.baseline).abs() < 0.4 * a.size.max(b.size);
        if same_line { a.start.total_cmp(&b.start) } else { a.baseline.total_cmp(&b.baseline) }
    });
    parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// A row of fragments on one baseline, from left to right.
pub(super) type Row = Vec<Fragment>;

/// How many rows from the first on make a table without lines, and its cells.
pub(super) fn aligned(rows: &[Row]) -> Option<(usize, Vec<Vec<String>>)> {
    let first = rows.first().filter(|row| row.len() >= MIN_ALIGNED_COLUMNS)?;
    let mut columns: Vec<(f32, f32)> = first.iter().map(|cell| (cell.start, cell.end)).collect();
    let mut taken: Vec<&Row> = vec![first];
    for pair in rows.windows(2) {
        let (before, row) = (&pair[0], &pair[1]);
        let size = row.first().map_or(10.0, |cell| cell.size);
        let too_far =
            row.first().zip(before.first()).is_none_or(|(a, b)| a.baseline - b.baseline > 3.5 * size);
        if row.len() < 2 || too_far {
            break;
        }
        let Some(wider) = widened(&columns, row) else { break };
        columns = wider;
        taken.push(row);
    }
    if taken.len() < MIN_ALIGNED_ROWS || columns.len() < MIN_ALIGNED_COLUMNS {
        return None;
    }
    let cells: Vec<Vec<String>> = taken
        .iter()
        .map(|row| {
            let mut cells = vec![String::new(); columns.len()];
            for fragment in *row {
                let middle = (fragment.start + fragment.end) / 2.0;
                if let Some(at) = columns.iter().position(|column| column.0 <= middle && middle <= column.1) {
                    cells[at].push_str(&fragment.text);
                }
            }
            cells
        })
        .collect();
    let filled = cells.iter().flatten().filter(|cell| !cell.is_empty()).count();
    let chars: usize = cells.iter().flatten().map(|cell| cell.chars().count()).sum();
    let solid =
        filled as f32 >= MIN_ALIGNED_FILL * (cells.len() * columns.len()) as f32 && chars <= 60 * filled;
    solid.then_some((taken.len(), cells))
}

/// The columns together with the cells of one more row; `None` when a cell would join two columns.
fn widened(columns: &[(f32, f32)], row: &Row) -> Option<Vec<(f32, f32)>> {
    let mut columns = columns.to_vec();
    for cell in row {
        let mut over = columns.iter_mut().filter(|column| column.0 < cell.end && cell.start < column.1);
        match (over.next(), over.next()) {
            (Some(column), None) => *column = (column.0.min(cell.start), column.1.max(cell.end)),
            (None, _) => columns.push((cell.start, cell.end)),
            (Some(_), Some(_)) => return None,
        }
    }
    columns.sort_by(|a, b| a.0.total_cmp(&b.0));
    let apart = columns.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    // Two cells of a row in one column are words, not cells.
    let single = columns
        .iter()
        .all(|column| row.iter().filter(|cell| column.0 < cell.end && cell.start < column.1).count() <= 1);
    (apart && single).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str, start: f32, baseline: f32) -> Fragment {
        let end = start + 5.0 * text.chars().count() as f32;
        Fragment {
            text: text.to_owned(),
            start,
            end,
            baseline,
            size: 10.0,
            bold: false,
            furniture: false,
            order: 0,
        }
    }

    #[test]
    fn a_grid_of_lines_with_text_is_a_table() {
        let level = |at: f32| Rule { horizontal: true, at, from: 0.0, to: 200.0 };
        let upright = |at: f32| Rule { horizontal: false, at, from: 0.0, to: 40.0 };
        let rules = [level(0.0), level(20.0), level(40.0), upright(0.0), upright(100.0), upright(200.0)];
        let mut fragments = vec![
            cell("part", 5.0, 15.0),
            cell("price", 105.0, 15.0),
            cell("wing", 5.0, 30.0),
            cell("nut", 5.0, 38.0),
            cell("2.00", 105.0, 35.0),
            cell("below", 5.0, 60.0),
        ];
        let tables = take_ruled(&mut fragments, &rules);
        assert_eq!(tables[0].rows, [["part", "price"], ["wing nut", "2.00"]]);
        assert_eq!(fragments.len(), 1, "text outside of the grid stays");
    }

    #[test]
    fn an_empty_grid_is_no_table() {
        let rules: Vec<Rule> = [0.0, 50.0, 100.0]
            .into_iter()
            .flat_map(|at| [true, false].map(|horizontal| Rule { horizontal, at, from: 0.0, to: 100.0 }))
            .collect();
        assert!(take_ruled(&mut vec![cell("axis", 10.0, 20.0)], &rules).is_empty());
    }

    #[test]
    fn cells_in_columns_are_a_table_without_lines() {
        let row = |baseline: f32, cells: [&str; 3]| -> Row {
            cells.iter().zip([0.0, 100.0, 200.0]).map(|(text, start)| cell(text, start, baseline)).collect()
        };
        let rows =
            [row(0.0, ["part", "each", "all"]), row(12.0, ["screw", "1", "9"]), row(24.0, ["nut", "2", "4"])];
        let (taken, cells) = aligned(&rows).unwrap();
        assert_eq!(taken, 3);
        assert_eq!(cells[1], ["screw", "1", "9"]);
        assert!(aligned(&rows[..2]).is_none(), "two rows may be chance");
    }
}
