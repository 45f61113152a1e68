//! The order in which the parts of a page are read: columns are found by the white gutter between them, and cut the
//! page into parts until no gutter is left (a form of the XY cut).
//!
//! A gutter between columns of prose looks like the one between columns of a table. Length of lines and the page's own
//! order tell them apart: prose fills its column and is drawn column by column, tables are short cells drawn row by
//! row and have to be read across.

use super::direction::is_mostly_right_to_left;
use super::fragments::Fragment;

/// Narrowest gutter, in font sizes.
const MIN_GUTTER: f32 = 0.6;
/// Fewest lines on either side of a gutter.
const MIN_LINES: usize = 3;
/// Mean characters of a line of prose in a narrow column.
const PROSE_LINE: f32 = 22.0;
/// Part of its column that a line of prose fills on the average.
const PROSE_FILL: f32 = 0.6;
/// Most parts a page is cut into; a newspaper page has thirty.
const MAX_CUTS: usize = 200;
/// Most fragments that are searched for gutters; plots with more labels are read from top to bottom.
const MAX_FRAGMENTS: usize = 6_000;

/// Something that has a place in the reading order.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Text.
    Text(Fragment),
    /// A table with the box it fills.
    Table {
        /// Its rows.
        rows: Vec<Vec<String>>,
        /// Left, top, right, bottom.
        bounds: [f32; 4],
        /// Its place in the page's own order.
        order: usize,
    },
}

impl Item {
    fn start(&self) -> f32 {
        match self {
            Self::Text(fragment) => fragment.start,
            Self::Table { bounds, .. } => bounds[0],
        }
    }

    fn end(&self) -> f32 {
        match self {
            Self::Text(fragment) => fragment.end,
            Self::Table { bounds, .. } => bounds[2],
        }
    }

    fn top(&self) -> f32 {
        match self {
            Self::Text(fragment) => fragment.top(),
            Self::Table { bounds, .. } => bounds[1],
        }
    }

    fn bottom(&self) -> f32 {
        match self {
            Self::Text(fragment) => fragment.bottom(),
            Self::Table { bounds, .. } => bounds[3],
        }
    }

    fn baseline(&self) -> f32 {
        match self {
            Self::Text(fragment) => fragment.baseline,
            Self::Table { bounds, .. } => bounds[3],
        }
    }

    fn order(&self) -> usize {
        match self {
            Self::Text(fragment) => fragment.order,
            Self::Table { order, .. } => *order,
        }
    }

    fn chars(&self) -> usize {
        match self {
            Self::Text(fragment) => fragment.text.chars().count(),
            Self::Table { .. } => PROSE_LINE as usize,
        }
    }
}

/// Cuts a page into parts without columns, in reading order.
pub(super) fn parts(items: Vec<Item>) -> Vec<Vec<Item>> {
    let right_to_left = is_mostly_right_to_left(items.iter().filter_map(|item| match item {
        Item::Text(fragment) => Some(fragment.text.as_str()),
        Item::Table { .. } => None,
    }));
    let mut sizes: Vec<f32> = items
        .iter()
        .filter_map(|item| match item {
            Item::Text(fragment) => Some(fragment.size),
            Item::Table { .. } => None,
        })
        .collect();
    sizes.sort_by(f32::total_cmp);
    let size = sizes.get(sizes.len() / 2).copied().unwrap_or(10.0);
    let mut done = Vec::new();
    let mut waiting = vec![items];
    let mut cuts = 0;
    // The last one waiting is the next to be read.
    while let Some(mut part) = waiting.pop() {
        part.sort_by(|a, b| a.top().total_cmp(&b.top()));
        match (cuts < MAX_CUTS).then(|| best_gutter(&part, size)).flatten() {
            Some(gutter) => {
                cuts += 1;
                let [above, left, right, below] = split(part, &gutter);
                let (first, second) = if right_to_left { (right, left) } else { (left, right) };
                waiting.extend([below, second, first, above].into_iter().filter(|part| !part.is_empty()));
            }
            None if part.is_empty() => {}
            None => done.push(part),
        }
    }
    done
}

/// A white strip between columns.
#[derive(Clone, Copy, Debug)]
struct Gutter {
    at: f32,
    top: f32,
    bottom: f32,
    score: f32,
}

fn split(part: Vec<Item>, gutter: &Gutter) -> [Vec<Item>; 4] {
    let mut parts: [Vec<Item>; 4] = Default::default();
    for item in part {
        let middle = (item.top() + item.bottom()) / 2.0;
        let at = if middle < gutter.top {
            0
        } else if middle > gutter.bottom {
            3
        } else {
            1 + usize::from(item.start() >= gutter.at)
        };
        parts[at].push(item);
    }
    parts
}

/// The gutter with most lines beside it; `items` come from top to bottom.
fn best_gutter(items: &[Item], size: f32) -> Option<Gutter> {
    if items.len() < 2 * MIN_LINES || items.len() > MAX_FRAGMENTS {
        return None;
    }
    let mut places: Vec<i32> = items.iter().map(|item| item.end().ceil() as i32).collect();
    places.sort_unstable();
    places.dedup();
    let mut best: Option<Gutter> = None;
    for place in places {
        let (from, to) = (place as f32, place as f32 + MIN_GUTTER * size);
        let mut band: Vec<&Item> = Vec::new();
        let mut top = f32::MIN;
        for item in items {
            if item.start() < to - 0.01 && item.end() > from {
                consider(&mut best, &band, from, top, item.top());
                band.clear();
                top = item.bottom().max(top);
            } else {
                band.push(item);
            }
        }
        consider(&mut best, &band, from, top, f32::MAX);
    }
    best
}

/// Takes the strip from `top` to `bottom` right of `at` when columns stand beside it, and more of them than beside the best.
fn consider(best: &mut Option<Gutter>, band: &[&Item], at: f32, top: f32, bottom: f32) {
    if band.len() < 2 * MIN_LINES {
        return;
    }
    let inside = |item: &&&Item| {
        (item.top() + item.bottom()) / 2.0 > top && (item.top() + item.bottom()) / 2.0 < bottom
    };
    let (left, right): (Vec<&Item>, Vec<&Item>) =
        band.iter().filter(inside).copied().partition(|item| item.start() < at);
    let (left, right) = (Side::new(left), Side::new(right));
    let lines = left.lines.min(right.lines);
    let score = lines as f32;
    if lines < MIN_LINES || best.is_some_and(|best| best.score >= score) {
        return;
    }
    if are_columns(&left, &right) {
        *best = Some(Gutter { at, top, bottom, score });
    }
}

/// What stands on one side of a gutter.
struct Side {
    lines: usize,
    /// Mean characters of a line.
    chars: f32,
    /// Mean width of a line as part of the widest.
    fill: f32,
    /// Baselines, from top to bottom.
    baselines: Vec<f32>,
    orders: Vec<usize>,
}

impl Side {
    fn new(items: Vec<&Item>) -> Self {
        let mut rows: Vec<(f32, usize, f32, f32)> = Vec::new();
        for item in &items {
            let height = (item.bottom() - item.top()).max(1.0);
            match rows.last_mut().filter(|row| (row.0 - item.baseline()).abs() < 0.4 * height) {
                Some(row) => {
                    *row = (row.0, row.1 + item.chars(), row.2.min(item.start()), row.3.max(item.end()));
                }
                None => rows.push((item.baseline(), item.chars(), item.start(), item.end())),
            }
        }
        let count = rows.len().max(1) as f32;
        let (from, to) =
            rows.iter().fold((f32::MAX, f32::MIN), |(from, to), row| (from.min(row.2), to.max(row.3)));
        let width = (to - from).max(1.0);
        Self {
            lines: rows.len(),
            chars: rows.iter().map(|row| row.1 as f32).sum::<f32>() / count,
            fill: rows.iter().map(|row| row.3 - row.2).sum::<f32>() / count / width,
            baselines: rows.iter().map(|row| row.0).collect(),
            orders: items.iter().map(|item| item.order()).collect(),
        }
    }

    fn is_prose(&self) -> bool {
        self.chars >= PROSE_LINE && self.fill >= PROSE_FILL
    }
}

fn are_columns(left: &Side, right: &Side) -> bool {
    let fewest = left.lines.min(right.lines);
    // How often the page changes sides while it is drawn.
    let mut drawn: Vec<(usize, bool)> = left.orders.iter().map(|order| (*order, false)).collect();
    drawn.extend(right.orders.iter().map(|order| (*order, true)));
    drawn.sort_unstable();
    let changes = drawn.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    let by_column = changes * 4 <= fewest + 4;
    let by_row = changes >= fewest;
    let aligned = left
        .baselines
        .iter()
        .filter(|at| right.baselines.iter().any(|other| (**at - other).abs() < 1.0))
        .count();
    let aligned = aligned * 10 >= fewest * 8;
    if left.is_prose() && right.is_prose() {
        let clearly = left.chars.min(right.chars) >= 1.4 * PROSE_LINE;
        return clearly || !(by_row && aligned);
    }
    by_column && (!aligned || changes <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, start: f32, baseline: f32, order: usize) -> Item {
        let end = start + 5.0 * text.chars().count() as f32;
        Item::Text(Fragment {
            text: text.to_owned(),
            start,
            end,
            baseline,
            size: 10.0,
            bold: false,
            furniture: false,
            order,
        })
    }

    fn read(items: Vec<Item>) -> Vec<Vec<String>> {
        let texts = |part: Vec<Item>| {
            part.into_iter()
                .filter_map(|item| match item {
                    Item::Text(fragment) => Some(fragment.text),
                    Item::Table { .. } => None,
                })
                .collect()
        };
        parts(items).into_iter().map(texts).collect()
    }

    #[test]
    fn prose_columns_are_read_one_after_the_other() {
        let mut items = vec![text("a title that stands across both of the two columns", 20.0, 20.0, 0)];
        for line in 0..4 {
            let down = 40.0 + 12.0 * line as f32;
            items.push(text(
                &format!("left column, rather long line number {line}"),
                0.0,
                down,
                1 + 2 * line,
            ));
            items.push(text(
                &format!("right column, rather long line number {line}"),
                240.0,
                down,
                2 + 2 * line,
            ));
        }
        let parts = read(items);
        assert_eq!(parts.len(), 3);
        assert!(parts[1].iter().all(|line| line.starts_with("left")), "{parts:?}");
        assert!(parts[2].iter().all(|line| line.starts_with("right")), "{parts:?}");
    }

    #[test]
    fn cells_drawn_row_by_row_are_read_across() {
        let items = (0..5)
            .flat_map(|line| {
                let down = 12.0 * line as f32;
                [text("screw", 0.0, down, 2 * line), text("1.20", 100.0, down, 2 * line + 1)]
            })
            .collect();
        assert_eq!(read(items).len(), 1);
    }

    #[test]
    fn short_lines_drawn_side_by_side_are_columns_when_drawn_so() {
        let items = (0..8)
            .map(|at| {
                let (side, line) = (at / 4, at % 4);
                text("address", 200.0 * side as f32, 12.0 * line as f32, at)
            })
            .collect();
        assert_eq!(read(items).len(), 2);
    }
}
