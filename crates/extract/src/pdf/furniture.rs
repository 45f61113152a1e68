//! Running headers, footers and page numbers: lines at the edge of pages that come back on other pages.

use std::collections::HashMap;

use super::fragments::{Fragment, Frame};
use super::paragraphs::rows;
use super::tables::Row;

/// Part of a page's height at either end where furniture stands.
const ZONE: f32 = 0.12;
/// The same for the lines that stand first or last on their page.
const WIDE_ZONE: f32 = 0.2;
/// The same for documents of two pages, where a heading may come back by chance.
const NARROW_ZONE: f32 = 0.08;
/// How far the same line may move between pages, as a part of the height.
const DRIFT: f32 = 0.02;

/// A page's text and height.
pub(super) struct Sheet<'f> {
    /// Height of the page.
    pub height: f32,
    /// Its upright text.
    pub frame: Option<&'f mut Frame>,
}

/// Marks the fragments that are furniture.
pub(super) fn mark(sheets: &mut [Sheet<'_>]) {
    let pages = sheets.len();
    let zone = if pages > 2 { ZONE } else { NARROW_ZONE };
    let mut seen: HashMap<String, Vec<(usize, f32)>> = HashMap::new();
    for (page, sheet) in sheets.iter().enumerate() {
        for (key, place) in edge_lines(sheet, zone) {
            seen.entry(key).or_default().push((page, place));
        }
    }
    for (page, sheet) in sheets.iter_mut().enumerate() {
        let repeated: Vec<f32> = edge_lines(sheet, zone)
            .into_iter()
            .filter(|(key, place)| {
                let mut others: Vec<usize> = seen[key]
                    .iter()
                    .filter(|(_, other)| (other - place).abs() <= DRIFT)
                    .map(|(page, _)| *page)
                    .collect();
                others.dedup();
                others.contains(&page) && others.len() >= pages.min(3) && others.len() >= 2
            })
            .map(|(_, place)| place)
            .collect();
        let height = sheet.height;
        for fragment in sheet.frame.iter_mut().flat_map(|frame| &mut frame.fragments) {
            let place = fragment.baseline / height;
            fragment.furniture |= repeated.iter().any(|line| (line - place).abs() < 0.004);
        }
    }
}

/// Lines at the edges of a page: what they say with digits blotted out, and where they stand.
fn edge_lines(sheet: &Sheet<'_>, zone: f32) -> Vec<(String, f32)> {
    let Some(frame) = &sheet.frame else { return Vec::new() };
    let in_zone = |baseline: f32, zone: f32| {
        let place = baseline / sheet.height;
        place < zone || place > 1.0 - zone
    };
    let near = |fragment: &&Fragment| in_zone(fragment.baseline, WIDE_ZONE);
    let rows = rows(frame.fragments.iter().filter(near).cloned().collect());
    let wide = if zone > NARROW_ZONE { WIDE_ZONE } else { zone };
    let last = rows.len().saturating_sub(1);
    let at_edge = |(at, row): &(usize, Row)| {
        let zone = if *at == 0 || *at == last { wide } else { zone };
        row.first().is_some_and(|cell| in_zone(cell.baseline, zone))
    };
    rows.into_iter()
        .enumerate()
        .filter(at_edge)
        .map(|(_, row)| row)
        .filter_map(|row| {
            let text = row.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join(" ");
            Some((key(&text), row.first()?.baseline / sheet.height))
        })
        .collect()
}

/// A line without what changes from page to page.
fn key(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| b"ivxlcIVXLC".contains(&byte)) {
        return "#".to_owned();
    }
    let mut key = String::new();
    for char in text.chars() {
        match char {
            char if char.is_numeric() => {
                if !key.ends_with('#') {
                    key.push('#');
                }
            }
            char => key.extend(char.to_lowercase()),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lines: &[(&str, f32)]) -> Frame {
        let fragments = lines
            .iter()
            .map(|(text, baseline)| Fragment {
                text: (*text).to_owned(),
                start: 50.0,
                end: 100.0,
                baseline: *baseline,
                size: 10.0,
                bold: false,
                furniture: false,
                order: 0,
            })
            .collect();
        Frame { angle: 0, fragments }
    }

    #[test]
    fn lines_that_come_back_at_the_edge_are_furniture() {
        let mut frames = [
            page(&[("The Book", 20.0), ("one", 400.0), ("1", 780.0)]),
            page(&[("The Book", 20.0), ("two", 400.0), ("2", 780.0)]),
            page(&[("The Book", 20.0), ("two", 400.0), ("iii", 780.0)]),
        ];
        let mut sheets: Vec<Sheet<'_>> =
            frames.iter_mut().map(|frame| Sheet { height: 800.0, frame: Some(frame) }).collect();
        mark(&mut sheets);
        for frame in &frames {
            let marked: Vec<bool> = frame.fragments.iter().map(|fragment| fragment.furniture).collect();
            assert_eq!(marked, [true, false, true], "the text in the middle is no furniture");
        }
    }

    #[test]
    fn one_page_has_no_furniture() {
        let mut frame = page(&[("The Book", 20.0)]);
        mark(&mut [Sheet { height: 800.0, frame: Some(&mut frame) }]);
        assert!(!frame.fragments[0].furniture);
    }
}
