//! From glyphs to fragments: stretches of one line without a gap that could be a column's. Spaces, accents and reading
//! direction are settled here; what lies beside or below a fragment is not.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::characters::{combining, is_spaceless};
use super::direction;
use super::page::{Glyph, Rule};

/// Widest gap inside one shown text, in font sizes; justified lines stretch spaces this far.
const MAX_GAP_IN_RUN: f32 = 0.9;
/// Widest gap between two shown texts of one line: below the narrowest gutter between columns, above a word space.
const MAX_GAP_BETWEEN_RUNS: f32 = 0.65;
/// Narrowest gap that is a space where the font has no space glyphs; the gap between letters comes on top.
const SPACE: f32 = 0.16;
/// The same where the text has spaces of its own.
const SPACE_BESIDE_SPACES: f32 = 0.3;

/// A stretch of one line.
#[derive(Clone, Debug)]
pub(super) struct Fragment {
    /// Its text in reading order.
    pub text: String,
    /// Where it starts and ends along its line.
    pub start: f32,
    /// See `start`.
    pub end: f32,
    /// How far down its baseline lies.
    pub baseline: f32,
    /// Size of most of its glyphs.
    pub size: f32,
    /// Whether most of its glyphs are bold.
    pub bold: bool,
    /// Whether it is a running header, footer or page number.
    pub furniture: bool,
    /// Its place in the page's own order.
    pub order: usize,
}

impl Fragment {
    /// Top of its letters.
    pub fn top(&self) -> f32 {
        self.baseline - 0.8 * self.size
    }

    /// Bottom of its letters.
    pub fn bottom(&self) -> f32 {
        self.baseline + 0.25 * self.size
    }
}

/// Text of one direction on a page.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// Direction in degrees, clockwise.
    pub angle: i16,
    /// Its fragments.
    pub fragments: Vec<Fragment>,
}

/// Glyphs that follow each other on one baseline.
struct Piece {
    glyphs: Vec<Glyph>,
    start: f32,
    end: f32,
    baseline: f32,
    size: f32,
    order: usize,
}

/// Puts glyphs together, one frame for each direction of text, the one with most text first.
pub(super) fn frames(glyphs: Vec<Glyph>, rules: &[Rule]) -> Vec<Frame> {
    let mut by_angle: Vec<(i16, Vec<(usize, Glyph)>)> = Vec::new();
    for (order, glyph) in without_doubles(glyphs).into_iter().enumerate() {
        match by_angle.iter_mut().find(|(angle, _)| *angle == glyph.angle) {
            Some((_, glyphs)) => glyphs.push((order, glyph)),
            None => by_angle.push((glyph.angle, vec![(order, glyph)])),
        }
    }
    by_angle.sort_by_key(|(angle, glyphs)| (std::cmp::Reverse(glyphs.len()), *angle));
    by_angle
        .into_iter()
        .map(|(angle, glyphs)| {
            let dividers: Vec<Rule> = if angle == 0 {
                rules.iter().filter(|rule| !rule.horizontal).copied().collect()
            } else {
                Vec::new()
            };
            let pieces = pieces(glyphs, &dividers);
            Frame { angle, fragments: join(pieces, &dividers) }
        })
        .filter(|frame| !frame.fragments.is_empty())
        .collect()
}

/// Leaves out glyphs drawn twice on the same spot, which is how some programs print bold or shadows.
fn without_doubles(glyphs: Vec<Glyph>) -> Vec<Glyph> {
    let cell = |glyph: &Glyph| {
        let step = (glyph.size * 0.3).max(0.1);
        ((glyph.start / step) as i32, (glyph.baseline / step) as i32)
    };
    let mut seen: HashMap<(i32, i32), Vec<usize>> = HashMap::new();
    let mut kept: Vec<Glyph> = Vec::with_capacity(glyphs.len());
    for glyph in glyphs {
        let (column, row) = cell(&glyph);
        let near =
            (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (column.wrapping_add(dx), row.wrapping_add(dy))));
        let is_double = near.filter_map(|cell| seen.get(&cell)).flatten().any(|other| {
            let other = &kept[*other];
            let tolerance = 0.12 * glyph.size;
            other.text == glyph.text
                && other.angle == glyph.angle
                && (other.start - glyph.start).abs() < tolerance
                && (other.baseline - glyph.baseline).abs() < tolerance
        });
        if !is_double {
            let place = seen.entry((column, row)).or_default();
            // A hostile page may pile glyphs up; the first ones are enough to find doubles.
            if place.len() < 16 {
                place.push(kept.len());
            }
            kept.push(glyph);
        }
    }
    kept
}

fn pieces(glyphs: Vec<(usize, Glyph)>, dividers: &[Rule]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut spaces: Vec<Glyph> = Vec::new();
    for (order, glyph) in glyphs {
        if glyph.text.trim().is_empty() {
            spaces.push(glyph);
            continue;
        }
        match pieces.last_mut().filter(|piece| follows(piece, &glyph, dividers)) {
            Some(piece) => {
                piece.start = piece.start.min(glyph.start);
                piece.end = piece.end.max(glyph.end);
                take_spaces(piece, &mut spaces);
                piece.glyphs.push(glyph);
            }
            None => {
                if let Some(piece) = pieces.last_mut() {
                    take_spaces(piece, &mut spaces);
                }
                spaces.clear();
                let (start, end, baseline, size) = (glyph.start, glyph.end, glyph.baseline, glyph.size);
                pieces.push(Piece { glyphs: vec![glyph], start, end, baseline, size, order });
            }
        }
    }
    pieces
}

/// Gives a piece the spaces on its line; programs leave others anywhere.
fn take_spaces(piece: &mut Piece, spaces: &mut Vec<Glyph>) {
    let (baseline, reach) = (piece.baseline, 0.3 * piece.size);
    piece.glyphs.extend(spaces.drain(..).filter(|space| (space.baseline - baseline).abs() < reach));
}

/// Whether a glyph goes on where a piece ends, on either side.
fn follows(piece: &Piece, glyph: &Glyph, dividers: &[Rule]) -> bool {
    let Some(last) = piece.glyphs.iter().rev().find(|glyph| !glyph.text.trim().is_empty()) else {
        return false;
    };
    let size = last.size.max(glyph.size);
    if (glyph.baseline - last.baseline).abs() > 0.12 * size || glyph.size.min(last.size) < 0.7 * size {
        return false;
    }
    if is_mark(&glyph.text) && glyph.start > piece.start - size && glyph.end < piece.end + size {
        return true;
    }
    let after = glyph.start - last.end;
    let before = last.start - glyph.end;
    let fits = |gap: f32| gap > -0.5 * size && gap < MAX_GAP_IN_RUN * size;
    let right_to_left = glyph.text.chars().any(direction::is_right_to_left)
        || last.text.chars().any(direction::is_right_to_left);
    let near = (fits(after) && glyph.start >= last.start) || (right_to_left && fits(before));
    near && !divided(last.end.min(glyph.end), last.start.max(glyph.start), glyph.baseline, dividers)
}

/// Whether a ruling line stands between two places of a line.
fn divided(from: f32, to: f32, baseline: f32, dividers: &[Rule]) -> bool {
    to > from
        && dividers.iter().any(|rule| {
            rule.at >= from && rule.at <= to && rule.from < baseline - 1.0 && rule.to > baseline - 2.0
        })
}

fn is_mark(text: &str) -> bool {
    text.chars().all(is_combining_mark)
}

/// Joins pieces that stand beside each other on a line into fragments.
fn join(mut pieces: Vec<Piece>, dividers: &[Rule]) -> Vec<Fragment> {
    pieces.sort_by(|a, b| a.baseline.total_cmp(&b.baseline).then(a.start.total_cmp(&b.start)));
    let largest = pieces.iter().fold(0.0_f32, |size, piece| size.max(piece.size));
    let mut group: Vec<usize> = (0..pieces.len()).collect();
    for first in 0..pieces.len() {
        let reach = 0.6 * largest.min(4.0 * pieces[first].size);
        for second in first + 1..pieces.len() {
            if pieces[second].baseline - pieces[first].baseline > reach {
                break;
            }
            if beside(&pieces[first], &pieces[second], dividers) {
                let (a, b) = (root(&mut group, first), root(&mut group, second));
                group[a.max(b)] = a.min(b);
            }
        }
    }
    let mut members: Vec<Vec<Piece>> = pieces.iter().map(|_| Vec::new()).collect();
    for (at, piece) in pieces.into_iter().enumerate() {
        members[root(&mut group, at)].push(piece);
    }
    members.into_iter().filter(|members| !members.is_empty()).filter_map(fragment).collect()
}

fn root(group: &mut [usize], mut at: usize) -> usize {
    while group[at] != at {
        group[at] = group[group[at]];
        at = group[at];
    }
    at
}

fn beside(a: &Piece, b: &Piece, dividers: &[Rule]) -> bool {
    let (small, large) = (a.size.min(b.size), a.size.max(b.size));
    let apart = (a.baseline - b.baseline).abs();
    let same_line = apart <= 0.12 * large;
    // Raised and lowered figures stand beside letters of at most twice their size.
    let shifted = small >= 0.45 * large && small <= 0.85 * large && apart <= 0.55 * large;
    if !(same_line || shifted) {
        return false;
    }
    let gap = a.start.max(b.start) - a.end.min(b.end);
    let widest = if same_line { MAX_GAP_BETWEEN_RUNS } else { 0.3 };
    let overlap = if same_line { 0.6 } else { 0.3 };
    let marks = |piece: &Piece| {
        piece.glyphs.iter().all(|glyph| is_mark(&glyph.text) || combining(&glyph.text).is_some())
    };
    gap < widest * large
        && (gap > -overlap * large || marks(a) || marks(b))
        && !divided(a.end.min(b.end), a.start.max(b.start), a.baseline, dividers)
}

/// A base letter with the marks on it.
struct Cluster {
    text: String,
    start: f32,
    end: f32,
}

fn fragment(pieces: Vec<Piece>) -> Option<Fragment> {
    let order = pieces.iter().map(|piece| piece.order).min()?;
    let start = pieces.iter().fold(f32::MAX, |start, piece| start.min(piece.start));
    let end = pieces.iter().fold(f32::MIN, |end, piece| end.max(piece.end));
    let main = pieces.iter().max_by_key(|piece| piece.glyphs.len())?;
    let baseline = main.baseline;
    let size = usual_size(&pieces);
    let glyphs: Vec<Glyph> = pieces.into_iter().flat_map(|piece| piece.glyphs).collect();
    let shown = glyphs.iter().filter(|glyph| !glyph.text.trim().is_empty());
    let (mut count, mut bold, mut furniture) = (0, 0, 0);
    for glyph in shown {
        count += 1;
        bold += usize::from(glyph.bold);
        furniture += usize::from(glyph.furniture);
    }
    let text = text(&glyphs, size);
    if text.is_empty() {
        return None;
    }
    let (bold, furniture) = (bold * 2 > count, furniture * 2 > count);
    Some(Fragment { text, start, end, baseline, size, bold, furniture, order })
}

/// The size of most glyphs.
fn usual_size(pieces: &[Piece]) -> f32 {
    let mut counts: Vec<(f32, usize)> = Vec::new();
    for piece in pieces {
        match counts.iter_mut().find(|(size, _)| (size - piece.size).abs() < 0.05 * piece.size) {
            Some((_, count)) => *count += piece.glyphs.len(),
            None => counts.push((piece.size, piece.glyphs.len())),
        }
    }
    counts.iter().max_by_key(|(_, count)| *count).map_or(10.0, |(size, _)| *size)
}

fn text(glyphs: &[Glyph], size: f32) -> String {
    let mut clusters = clusters(glyphs, size);
    clusters.sort_by(|a, b| a.start.total_cmp(&b.start));
    let limit = space_limit(&clusters, size);
    let mut pieces: Vec<String> = Vec::with_capacity(clusters.len() + clusters.len() / 4);
    let mut end: Option<f32> = None;
    let mut composed = false;
    for cluster in clusters {
        if cluster.text.trim().is_empty() {
            push_space(&mut pieces);
            continue;
        }
        if let Some(end) = end {
            let spaceless = pieces.last().and_then(|piece| piece.chars().last()).is_some_and(is_spaceless)
                && cluster.text.chars().next().is_some_and(is_spaceless);
            if cluster.start - end > if spaceless { 0.6 * size } else { limit } {
                push_space(&mut pieces);
            }
        }
        end = Some(end.map_or(cluster.end, |end| end.max(cluster.end)));
        composed |= cluster.text.chars().any(is_combining_mark);
        pieces.push(cluster.text);
    }
    direction::logical(&mut pieces);
    let text = pieces.concat();
    let text = text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if composed { text.nfc().collect() } else { text }
}

fn push_space(pieces: &mut Vec<String>) {
    if pieces.last().is_some_and(|piece| piece != " ") {
        pieces.push(" ".to_owned());
    }
}

/// The gap from which on a space is meant.
fn space_limit(clusters: &[Cluster], size: f32) -> f32 {
    let has_spaces = clusters.iter().any(|cluster| cluster.text.trim().is_empty());
    let mut gaps: Vec<f32> = clusters
        .windows(2)
        .filter(|pair| pair.iter().all(|cluster| !cluster.text.trim().is_empty()))
        .map(|pair| pair[1].start - pair[0].end)
        .collect();
    gaps.sort_by(f32::total_cmp);
    // Letters that are spaced out have a gap everywhere; a few gaps tell nothing.
    let usual = if gaps.len() >= 4 { gaps[gaps.len() / 2].clamp(0.0, 0.5 * size) } else { 0.0 };
    usual + size * if has_spaces { SPACE_BESIDE_SPACES } else { SPACE }
}

/// Letters with their marks: combining ones, and accents drawn over a letter.
fn clusters(glyphs: &[Glyph], size: f32) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::with_capacity(glyphs.len());
    let mut waiting: Vec<&Glyph> = Vec::new();
    for glyph in glyphs {
        if is_mark(&glyph.text) && !glyph.text.is_empty() {
            match clusters.last_mut().filter(|cluster| is_over(glyph, cluster, size)) {
                Some(cluster) => cluster.text.push_str(&glyph.text),
                None => waiting.push(glyph),
            }
            continue;
        }
        if let Some(mark) = combining(&glyph.text) {
            let on = clusters.last_mut().filter(|cluster| is_drawn_over(glyph, cluster));
            match on {
                Some(cluster) => {
                    cluster.text.push(mark);
                    continue;
                }
                None => {
                    clusters.push(Cluster { text: glyph.text.clone(), start: glyph.start, end: glyph.end });
                    continue;
                }
            }
        }
        let mut cluster = Cluster { text: glyph.text.clone(), start: glyph.start, end: glyph.end };
        // An accent that was drawn first.
        if let Some(mark) = clusters.last().and_then(|accent| {
            let accent_glyph = Glyph { start: accent.start, end: accent.end, ..glyph.clone() };
            combining(&accent.text).filter(|_| is_drawn_over(&accent_glyph, &cluster))
        }) {
            clusters.pop();
            cluster.text.push(mark);
        }
        for mark in waiting.drain(..) {
            cluster.text.push_str(&mark.text);
        }
        clusters.push(cluster);
    }
    match clusters.last_mut() {
        Some(cluster) => waiting.iter().for_each(|mark| cluster.text.push_str(&mark.text)),
        None => clusters.extend(waiting.iter().map(|mark| Cluster {
            text: mark.text.clone(),
            start: mark.start,
            end: mark.end,
        })),
    }
    clusters
}

fn is_over(mark: &Glyph, cluster: &Cluster, size: f32) -> bool {
    let middle = (mark.start + mark.end) / 2.0;
    let slack = 0.1 * size;
    !cluster.text.trim().is_empty() && middle > cluster.start - slack && middle < cluster.end + slack
}

fn is_drawn_over(accent: &Glyph, cluster: &Cluster) -> bool {
    let shared = accent.end.min(cluster.end) - accent.start.max(cluster.start);
    let narrow = (accent.end - accent.start).min(cluster.end - cluster.start);
    cluster.text.chars().next().is_some_and(char::is_alphabetic) && narrow > 0.0 && shared > 0.5 * narrow
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Glyphs of half a size each from `start` on; a blank leaves a gap, not a glyph.
    fn row(text: &str, start: f32, baseline: f32) -> Vec<Glyph> {
        text.chars()
            .enumerate()
            .filter(|(_, char)| *char != ' ')
            .map(|(at, char)| Glyph {
                text: char.to_string(),
                start: start + 5.0 * at as f32,
                end: start + 5.0 * at as f32 + 5.0,
                baseline,
                size: 10.0,
                angle: 0,
                bold: false,
                furniture: false,
            })
            .collect()
    }

    fn texts(glyphs: Vec<Glyph>, rules: &[Rule]) -> Vec<String> {
        frames(glyphs, rules).into_iter().flat_map(|frame| frame.fragments).map(|found| found.text).collect()
    }

    #[test]
    fn gaps_become_spaces_and_wide_gaps_end_a_fragment() {
        assert_eq!(texts(row("two words", 0.0, 10.0), &[]), ["two words"]);
        assert_eq!(texts(row("left   right", 0.0, 10.0), &[]), ["left", "right"]);
    }

    #[test]
    fn a_ruling_line_keeps_cells_apart() {
        let rule = Rule { horizontal: false, at: 17.5, from: 0.0, to: 20.0 };
        assert_eq!(texts(row("one two", 0.0, 10.0), &[rule]), ["one", "two"]);
    }

    #[test]
    fn text_printed_twice_for_boldness_is_read_once() {
        let mut glyphs = row("bold", 0.0, 10.0);
        glyphs.extend(row("bold", 0.4, 10.0));
        assert_eq!(texts(glyphs, &[]), ["bold"]);
    }

    #[test]
    fn accents_drawn_over_letters_are_composed() {
        let mut glyphs = row("caf´", 0.0, 10.0);
        glyphs.extend(row("e", 15.0, 10.0));
        assert_eq!(texts(glyphs, &[]), ["café"]);
    }

    #[test]
    fn glyphs_drawn_from_the_right_are_read_from_the_right() {
        let mut glyphs = row("םולש", 0.0, 10.0);
        assert_eq!(texts(glyphs.clone(), &[]), ["שלום"]);
        glyphs.reverse();
        assert_eq!(texts(glyphs, &[]), ["שלום"]);
    }

    #[test]
    fn raised_figures_stay_in_their_line() {
        let mut glyphs = row("note", 0.0, 10.0);
        let raised = Glyph { size: 6.0, end: 23.0, ..row("1", 20.0, 6.5).remove(0) };
        glyphs.push(raised);
        assert_eq!(texts(glyphs, &[]), ["note1"]);
    }
}
