//! What a page draws, in the page's own order: glyphs with their characters and places, ruling lines, images. Knows
//! nothing of lines and columns.
//!
//! Places are points from the upper left corner of the page as it is shown, rotation applied.

use hayro_interpret::font::{Glyph as DrawnGlyph, GlyphRun};
use hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro_interpret::hayro_syntax::object::{Dict, Name, String as PdfString};
use hayro_interpret::hayro_syntax::page::Page;
use hayro_interpret::kurbo::{Affine, BezPath, PathEl, Point, Rect};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, interpret_page,
};

use super::characters::{self, FontCharacters};
use super::details::text_string;

/// Most glyphs of a page; a page of a telephone book has thirty thousand.
const MAX_GLYPHS: usize = 1_000_000;
/// Most ruling lines of a page; maps and plots draw more, and none of them is a table.
const MAX_RULES: usize = 20_000;
/// Thickest filled box that is meant as a line, in points.
const MAX_RULE_WIDTH: f64 = 2.5;
/// Shortest line that can be the edge of a cell, in points.
const MIN_RULE_LENGTH: f64 = 5.0;

/// One glyph, measured along its own baseline.
#[derive(Clone, Debug)]
pub(super) struct Glyph {
    /// Its characters; one for most, more for a ligature.
    pub text: String,
    /// Where it starts and ends along the baseline.
    pub start: f32,
    /// See `start`.
    pub end: f32,
    /// How far down its baseline lies.
    pub baseline: f32,
    /// Size of the font.
    pub size: f32,
    /// Direction of the baseline in whole degrees, clockwise.
    pub angle: i16,
    /// Whether the font is a bold one.
    pub bold: bool,
    /// Whether the document marks it as a running header, footer or page number.
    pub furniture: bool,
}

/// A horizontal or vertical line, `from` not above `to`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    /// Whether it runs from left to right.
    pub horizontal: bool,
    /// Its place across: y of a horizontal line.
    pub at: f32,
    /// Where it starts along.
    pub from: f32,
    /// Where it ends along.
    pub to: f32,
}

/// What one page draws.
#[derive(Debug, Default)]
pub(super) struct PageContent {
    /// Width and height as shown.
    pub width: f32,
    /// See `width`.
    pub height: f32,
    /// Glyphs, in the page's own order.
    pub glyphs: Vec<Glyph>,
    /// Ruling lines.
    pub rules: Vec<Rule>,
    /// Part of the page that images cover, 0 to 1 (overlaps count twice).
    pub image_share: f32,
    /// Glyphs of which nobody can say what character they are.
    pub unmapped: usize,
}

/// Reads what a page draws.
pub(super) fn read<'a>(page: &'a Page<'a>, cache: &InterpreterCache<'a>) -> PageContent {
    let (width, height) = page.render_dimensions();
    let initial = Affine::new(page.initial_transform(true).as_coeffs());
    let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let mut context = Context::new(initial, area, cache, page.xref(), InterpreterSettings::default());
    let content = PageContent { width, height, ..PageContent::default() };
    let mut reader = Reader { content, marks: Vec::new(), fonts: FontCharacters::default() };
    interpret_page(page, &mut context, &mut reader);
    reader.content
}

/// An open marked-content sequence.
struct Mark {
    /// Glyphs drawn before it.
    glyphs_before: usize,
    furniture: bool,
    /// What its glyphs stand for, where the document says.
    actual: Option<String>,
}

struct Reader {
    content: PageContent,
    marks: Vec<Mark>,
    fonts: FontCharacters,
}

impl Reader {
    fn add_glyph(&mut self, drawn: &DrawnGlyph<'_>, transform: Affine, vertical: bool, bold: bool) {
        if self.content.glyphs.len() >= MAX_GLYPHS {
            return;
        }
        let Some(text) = self.fonts.text_of(drawn) else {
            self.content.unmapped += 1;
            return;
        };
        let origin = transform * Point::ZERO;
        let along = transform * Point::new(1.0, 0.0) - origin;
        let up = transform * Point::new(0.0, 1000.0) - origin;
        let width = match drawn {
            DrawnGlyph::Outline(outline) => outline.advance_width(),
            DrawnGlyph::Type3(glyph) => glyph.advance_width(),
        };
        let width = f64::from(width.unwrap_or(500.0));
        // Type 3 fonts have units of their own, so that only the width tells how large they look.
        let size = match drawn {
            DrawnGlyph::Outline(_) => up.hypot(),
            DrawnGlyph::Type3(_) => up.hypot().max(along.hypot() * width * 1.6),
        };
        if !(size.is_finite() && origin.is_finite() && size > 0.0) {
            return;
        }
        let (direction, width) = if vertical { (-up, size) } else { (along, along.hypot() * width) };
        let degrees = snap(direction.y.atan2(direction.x).to_degrees());
        let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
        let place = |point: Point| (point.x * cos + point.y * sin, point.y * cos - point.x * sin);
        let (mut start, baseline) = place(origin);
        if vertical {
            // The origin of an upright glyph in vertical text is its lower left corner.
            start -= size * 0.88;
        }
        self.content.glyphs.push(Glyph {
            text,
            start: start as f32,
            end: (start + width.max(0.0)) as f32,
            baseline: baseline as f32,
            size: size as f32,
            angle: degrees,
            bold,
            furniture: self.marks.iter().any(|mark| mark.furniture),
        });
    }

    fn add_line(&mut self, a: Point, b: Point) {
        let (dx, dy) = ((b.x - a.x).abs(), (b.y - a.y).abs());
        let horizontal = dy <= 0.5 && dx >= MIN_RULE_LENGTH;
        if self.content.rules.len() >= MAX_RULES || !(horizontal || (dx <= 0.5 && dy >= MIN_RULE_LENGTH)) {
            return;
        }
        let (at, from, to) = if horizontal { (a.y, a.x, b.x) } else { (a.x, a.y, b.y) };
        let rule = Rule { horizontal, at: at as f32, from: from.min(to) as f32, to: from.max(to) as f32 };
        self.content.rules.push(rule);
    }

    fn add_thin_box(&mut self, bounds: Rect) {
        let middle = bounds.center();
        if bounds.height() <= MAX_RULE_WIDTH {
            self.add_line(Point::new(bounds.x0, middle.y), Point::new(bounds.x1, middle.y));
        } else if bounds.width() <= MAX_RULE_WIDTH {
            self.add_line(Point::new(middle.x, bounds.y0), Point::new(middle.x, bounds.y1));
        }
    }
}

/// A direction in whole degrees; one within three degrees of upright or level is taken as such.
fn snap(degrees: f64) -> i16 {
    let quarter = (degrees / 90.0).round() * 90.0;
    let degrees = if (degrees - quarter).abs() <= 3.0 { quarter } else { degrees.round() };
    (degrees as i16).rem_euclid(360)
}

impl<'a> Device<'a> for Reader {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        let vertical = matches!(run.writing_mode(), WritingMode::Vertical);
        // All glyphs of a run share a font.
        let bold = run.glyphs().first().is_some_and(|glyph| characters::is_bold(glyph));
        for glyph in run.glyphs() {
            self.add_glyph(glyph, props.transform * glyph.transform(), vertical, bold);
        }
    }

    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, mode: &DrawMode) {
        let mut path = path.clone();
        path.apply_affine(props.transform);
        if matches!(mode, DrawMode::Fill(_)) {
            for part in subpaths(&path) {
                self.add_thin_box(part);
            }
            return;
        }
        let (mut first, mut last) = (Point::ZERO, Point::ZERO);
        for element in path.elements() {
            match *element {
                PathEl::MoveTo(point) => (first, last) = (point, point),
                PathEl::LineTo(point) => {
                    self.add_line(last, point);
                    last = point;
                }
                PathEl::QuadTo(_, point) | PathEl::CurveTo(_, _, point) => last = point,
                PathEl::ClosePath => {
                    self.add_line(last, first);
                    last = first;
                }
            }
        }
    }

    fn draw_image(&mut self, _: Image<'a, '_>, props: ImageDrawProps<'a>) {
        let page = Rect::new(0.0, 0.0, f64::from(self.content.width), f64::from(self.content.height));
        let shown = props.transform.transform_rect_bbox(Rect::new(0.0, 0.0, 1.0, 1.0)).intersect(page);
        let share = shown.area() / page.area().max(1.0);
        if share.is_finite() {
            self.content.image_share += share.max(0.0) as f32;
        }
    }

    fn begin_marked_content(&mut self, tag: &[u8], properties: Option<&Dict<'_>>) {
        let named = |key: &str| properties.and_then(|dict| dict.get::<Name<'_>>(key));
        let pagination = tag == b"Artifact" && named("Type").is_some_and(|kind| &*kind == b"Pagination");
        let actual = properties.and_then(|dict| dict.get::<PdfString<'_>>("ActualText"));
        self.marks.push(Mark {
            glyphs_before: self.content.glyphs.len(),
            furniture: pagination,
            actual: actual.map(|text| text_string(&text)),
        });
    }

    fn end_marked_content(&mut self) {
        let Some(mark) = self.marks.pop() else { return };
        let Some(actual) = mark.actual else { return };
        let drawn = self.content.glyphs.get_mut(mark.glyphs_before..).unwrap_or_default();
        let Some((first, others)) = drawn.split_first_mut() else { return };
        let on_one_line = others.iter().all(|glyph| {
            glyph.angle == first.angle && (glyph.baseline - first.baseline).abs() < first.size * 0.3
        });
        // What stands for several lines cannot be placed; their glyphs say enough.
        if on_one_line {
            first.text = characters::plain(&actual);
            first.start = others.iter().fold(first.start, |start, glyph| start.min(glyph.start));
            first.end = others.iter().fold(first.end, |end, glyph| end.max(glyph.end));
            self.content.glyphs.truncate(mark.glyphs_before + 1);
        }
    }

    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

/// Bounds of every closed part of a path.
fn subpaths(path: &BezPath) -> Vec<Rect> {
    let mut parts: Vec<Rect> = Vec::new();
    let mut current: Option<Rect> = None;
    for element in path.elements() {
        let point = match *element {
            PathEl::MoveTo(point) => {
                parts.extend(current.take());
                current = Some(Rect::from_points(point, point));
                continue;
            }
            PathEl::LineTo(point) | PathEl::QuadTo(_, point) | PathEl::CurveTo(_, _, point) => point,
            PathEl::ClosePath => continue,
        };
        current = Some(current.map_or(Rect::from_points(point, point), |bounds| bounds.union_pt(point)));
        if parts.len() >= MAX_RULES {
            break;
        }
    }
    parts.extend(current);
    parts
}

/// What a glyph's characters are called by the library.
pub(super) fn characters_of(text: BfString) -> String {
    match text {
        BfString::Char(char) => char.to_string(),
        BfString::String(text) => text,
    }
}
