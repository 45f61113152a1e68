//! PDF: from the bytes of a document to its text in reading order.
//!
//! hayro reads the file and draws its pages into [`page`], which keeps glyphs and ruling lines. What stands where is
//! ours: [`fragments`] puts glyphs together, [`furniture`] finds what comes back on every page, [`tables`] takes out
//! cells, [`columns`] cuts the page, [`paragraphs`] makes blocks, [`headings`] and [`words`] look at the whole document.

mod characters;
mod columns;
mod details;
mod direction;
mod fragments;
mod furniture;
mod headings;
mod open;
mod owner;
mod page;
mod paragraphs;
mod tables;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};

use hayro_interpret::InterpreterCache;
use hayro_interpret::hayro_syntax::Pdf;

use crate::builder::Builder;
use crate::document::{BlockKind, ExtractRequest, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::table;
use columns::Item;
use fragments::Frame;
use furniture::Sheet;
use headings::Headings;
use page::{PageContent, Rule};
use paragraphs::{PageBlock, Shape};
use words::Vocabulary;

/// Part of a page that an image has to cover to be a scan.
const SCAN_SHARE: f32 = 0.5;
/// A scan with fewer letters than this has no text that was recognised, only a stamp or a page number.
const SCAN_LETTERS: usize = 20;
/// From this part of unknown glyphs on, the reader of the text is told.
const MANY_UNMAPPED: usize = 20;

/// Reads a PDF.
pub(crate) fn extract(request: &ExtractRequest, limits: &Limits) -> Result<Extracted, ExtractError> {
    let pdf = open::open(request.bytes.clone(), request.password.as_deref())?;
    if pdf.pages().is_empty() {
        return Err(ExtractError::Damaged { reason: "it has no pages".to_owned() });
    }
    let mut builder = Builder::new(Kind::Pdf, limits);
    if open::was_repaired(&request.bytes) {
        builder.note("repaired", "its table of contents was damaged and has been rebuilt", None);
    }
    details::metadata(&pdf, &mut builder);
    details::attachments(&pdf, limits, &mut builder);
    let mut sketches = sketch(&pdf, limits, &mut builder);
    mark_furniture(&mut sketches);
    let pages: Vec<Vec<PageBlock>> = sketches.into_iter().map(lay_out).collect();
    write(&pages, &details::outline(&pdf), &mut builder);
    Ok(builder.finish())
}

/// A page as fragments.
#[derive(Default)]
struct Sketch {
    height: f32,
    frames: Vec<Frame>,
    rules: Vec<Rule>,
}

/// Reads the fragments of all pages; a page that breaks its reader costs that page.
fn sketch(pdf: &Pdf, limits: &Limits, builder: &mut Builder) -> Vec<Sketch> {
    let mut cache = InterpreterCache::new();
    let mut sketches = Vec::new();
    let mut bytes = 0;
    for (at, page) in pdf.pages().iter().enumerate() {
        let number = u32::try_from(at + 1).ok();
        if at >= limits.max_parts {
            builder.note("cut", format!("only the first {} pages were read", limits.max_parts), number);
            break;
        }
        // One page beyond the limit, so that the text is seen to be cut.
        if bytes > limits.max_text_bytes {
            break;
        }
        let read = catch_unwind(AssertUnwindSafe(|| {
            let content = page::read(page, &cache);
            tell(&content, number, builder);
            let frames = fragments::frames(content.glyphs, &content.rules);
            (content.image_share, Sketch { height: content.height, frames, rules: content.rules })
        }));
        match read {
            Ok((image_share, sketch)) => {
                tell_scan(&sketch, image_share, number, builder);
                bytes += fragments(&sketch).map(str::len).sum::<usize>();
                sketches.push(sketch);
            }
            Err(_) => {
                builder.note("skipped-part", "this page could not be read", number);
                sketches.push(Sketch::default());
                // What it left behind may be half done.
                cache = InterpreterCache::new();
            }
        }
    }
    sketches
}

fn fragments(sketch: &Sketch) -> impl Iterator<Item = &str> {
    sketch.frames.iter().flat_map(|frame| &frame.fragments).map(|fragment| fragment.text.as_str())
}

fn tell(content: &PageContent, number: Option<u32>, builder: &mut Builder) {
    let known = content.glyphs.len();
    if content.unmapped * MANY_UNMAPPED > known + content.unmapped {
        let message = format!(
            "{} of {} characters of this page are in a font that does not say which letters they are",
            content.unmapped,
            known + content.unmapped
        );
        builder.note("encoding", message, number);
    }
}

fn tell_scan(sketch: &Sketch, image_share: f32, number: Option<u32>, builder: &mut Builder) {
    let letters = fragments(sketch).flat_map(str::chars).filter(|char| char.is_alphanumeric()).count();
    if letters == 0 {
        let what =
            if image_share > 0.0 { "this page is an image without text" } else { "this page has no text" };
        builder.note("no-text", what, number);
    } else if letters < SCAN_LETTERS && image_share >= SCAN_SHARE {
        builder.note("no-text", "this page is an image with hardly any text", number);
    }
}

fn mark_furniture(sketches: &mut [Sketch]) {
    let mut sheets: Vec<Sheet<'_>> = sketches
        .iter_mut()
        .map(|sketch| Sheet {
            height: sketch.height.max(1.0),
            frame: sketch.frames.iter_mut().find(|frame| frame.angle == 0),
        })
        .collect();
    furniture::mark(&mut sheets);
}

/// Puts a page into blocks in reading order.
fn lay_out(sketch: Sketch) -> Vec<PageBlock> {
    let mut blocks = Vec::new();
    let mut foot = Vec::new();
    for frame in sketch.frames {
        let (furniture, mut text): (Vec<_>, Vec<_>) =
            frame.fragments.into_iter().partition(|fragment| fragment.furniture);
        let (head, tail): (Vec<_>, Vec<_>) =
            furniture.into_iter().partition(|fragment| fragment.baseline < sketch.height / 2.0);
        blocks.extend(paragraphs::furniture(head));
        foot.extend(paragraphs::furniture(tail));
        let mut items = Vec::new();
        if frame.angle == 0 {
            let tables = tables::take_ruled(&mut text, &sketch.rules);
            items.extend(tables.into_iter().map(|table| Item::Table {
                rows: table.rows,
                bounds: table.bounds,
                order: table.order,
            }));
        }
        items.extend(text.into_iter().map(Item::Text));
        blocks.extend(columns::parts(items).into_iter().flat_map(paragraphs::blocks));
    }
    blocks.extend(foot);
    blocks
}

/// Writes the pages out.
fn write(pages: &[Vec<PageBlock>], outline: &[(u8, String)], builder: &mut Builder) {
    let headings = Headings::new(pages.iter().flatten(), outline);
    let mut vocabulary = Vocabulary::default();
    for block in pages.iter().flatten() {
        if let PageBlock::Text { lines, .. } = block {
            lines.iter().for_each(|line| vocabulary.learn(&line.text));
        }
    }
    for page in pages {
        if builder.is_full() || !builder.begin_page(None) {
            break;
        }
        for block in page {
            write_block(block, &headings, &vocabulary, builder);
        }
    }
}

fn write_block(block: &PageBlock, headings: &Headings, vocabulary: &Vocabulary, builder: &mut Builder) {
    match block {
        PageBlock::Table(rows) => {
            if let Some(table) = table::markdown(rows) {
                builder.block(BlockKind::Table, &table);
            }
        }
        PageBlock::Text { shape, lines, .. } => {
            let text = vocabulary.join(lines);
            let kind = match shape {
                Shape::Paragraph => BlockKind::Paragraph,
                Shape::List => BlockKind::List,
                Shape::Furniture => BlockKind::Furniture,
            };
            match headings.level(block) {
                Some(level) => builder.heading(level, &text),
                None => {
                    builder.block(kind, &text);
                }
            }
        }
    }
}
