//! PowerPoint slides.

use super::{Links, Package, alternate, drawing_text};
use crate::builder::{Builder, one_line};
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::table;
use crate::xml::El;

/// Reads slides in the order of the presentation.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut package = Package::open(bytes, limits)?;
    let mut builder = Builder::new(Kind::Pptx, limits);
    let main = package.main("ppt/presentation.xml")?;
    let presentation = package.need(&main)?;
    let links = package.links(&main)?;
    package.properties(&mut builder)?;
    let ids = presentation.document().child("sldIdLst");
    for slide in ids.into_iter().flat_map(El::children) {
        // A slide has two ids: a number and the link, which programs write with a prefix that is dropped here.
        let Some((_, part)) = links_of(slide).find_map(|id| links.get(id)) else { continue };
        if builder.is_full() || !slide_into(part, &mut package, &mut builder)? {
            break;
        }
    }
    package.note(&mut builder);
    Ok(builder.finish())
}

/// Values of both ids of a slide.
fn links_of<'t>(el: El<'t>) -> impl Iterator<Item = &'t str> {
    el.attrs("id")
}

/// Writes a slide; `false` when no more are wanted.
fn slide_into(
    part: &str,
    package: &mut Package<'_, '_>,
    builder: &mut Builder,
) -> Result<bool, ExtractError> {
    let Some(tree) = package.want(part)? else { return Ok(true) };
    let links = package.links(part)?;
    let shapes = tree.document().path(&["cSld", "spTree"]);
    let mut title = None;
    if let Some(shapes) = shapes {
        title = shapes.all("sp").find(|shape| is_title(*shape)).map(|shape| shape_text(shape));
    }
    let title = title.map(|title| one_line(&title)).filter(|title| !title.is_empty());
    if !builder.begin_page(title.clone()) {
        return Ok(false);
    }
    let page = builder.page_number();
    if let Some(title) = title {
        builder.heading(1, &title);
    }
    if let Some(shapes) = shapes {
        let mut slide = Slide { builder, package, links: &links };
        slide.shapes(shapes)?;
    }
    if let Some((_, notes)) = links.values().find(|(kind, _)| kind == "notesSlide")
        && let Some(tree) = package.want(notes)?
    {
        let body = tree.document().all("sp").filter(|shape| placeholder(*shape) == Some("body"));
        let text: Vec<String> = body.map(shape_text).filter(|text| !text.trim().is_empty()).collect();
        if !text.is_empty() {
            builder.block(BlockKind::Paragraph, &format!("Notes: {}", text.join("\n").trim()));
        }
    }
    if builder.page_is_empty() {
        builder.note("no-text", "a slide without text", page);
    }
    Ok(true)
}

struct Slide<'r, 'a, 'l> {
    builder: &'r mut Builder,
    package: &'r mut Package<'a, 'l>,
    links: &'r Links,
}

impl Slide<'_, '_, '_> {
    fn shapes(&mut self, parent: El<'_>) -> Result<(), ExtractError> {
        for el in parent.children() {
            match el.name() {
                "sp" if is_title(el) => {}
                "sp" => self.shape(el),
                "graphicFrame" => self.frame(el)?,
                "grpSp" => self.shapes(el)?,
                "AlternateContent" => {
                    if let Some(el) = alternate(el) {
                        self.shapes(el)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn shape(&mut self, shape: El<'_>) {
        let Some(body) = shape.child("txBody") else { return };
        match placeholder(shape) {
            Some("sldNum") => return,
            Some("dt" | "ftr" | "hdr") => {
                self.builder.block(BlockKind::Furniture, &shape_text(shape));
                return;
            }
            Some("subTitle") => {
                self.builder.block(BlockKind::Paragraph, &shape_text(shape));
                return;
            }
            _ => {}
        }
        let is_body = matches!(placeholder(shape), Some("body" | "obj" | ""));
        let paragraphs: Vec<El<'_>> = body.children().filter(|el| el.is("p")).collect();
        let mut list = String::new();
        for paragraph in paragraphs {
            let text = drawing_text(paragraph);
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let properties = paragraph.child("pPr");
            let has = |name: &str| properties.is_some_and(|it| it.child(name).is_some());
            let is_item = has("buChar") || has("buAutoNum") || (is_body && !has("buNone"));
            if !is_item {
                self.builder.block(BlockKind::List, &std::mem::take(&mut list));
                self.builder.block(BlockKind::Paragraph, text);
                continue;
            }
            let level =
                properties.and_then(|it| it.attr("lvl")).and_then(|level| level.parse::<usize>().ok());
            let indent = "  ".repeat(level.unwrap_or(0).min(8));
            if !list.is_empty() {
                list.push('\n');
            }
            list.push_str(&format!("{indent}- {}", text.replace('\n', &format!("\n{indent}  "))));
        }
        // One line in a body is a sentence rather than a list.
        match list.strip_prefix("- ").filter(|text| !text.contains('\n')) {
            Some(text) => self.builder.block(BlockKind::Paragraph, text),
            None => self.builder.block(BlockKind::List, &list),
        };
    }

    fn frame(&mut self, frame: El<'_>) -> Result<(), ExtractError> {
        for el in frame.below() {
            match el.name() {
                "tbl" => {
                    let rows: Vec<Vec<String>> = el.children().filter(|el| el.is("tr")).map(row_of).collect();
                    if let Some(text) = table::markdown(&rows) {
                        self.builder.block(BlockKind::Table, &text);
                    }
                }
                "chart" => {
                    if let Some((_, part)) = el.attr("id").and_then(|id| self.links.get(id)) {
                        let (title, table) = self.package.chart(part)?;
                        self.builder.block(BlockKind::Paragraph, &title);
                        self.builder.block(BlockKind::Table, &table.unwrap_or_default());
                    }
                }
                "relIds" => {
                    if let Some((_, part)) = el.attr("dm").and_then(|id| self.links.get(id)) {
                        let text = self.package.diagram(part)?;
                        self.builder.block(BlockKind::List, &text);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Cells of a row; those that belong to a merged one hold no text of their own.
fn row_of(row: El<'_>) -> Vec<String> {
    row.children()
        .filter(|el| el.is("tc"))
        .map(|cell| cell.all("p").map(drawing_text).collect::<Vec<_>>().join(" "))
        .collect()
}

/// Kind of a placeholder; empty where it has no special one.
fn placeholder(shape: El<'_>) -> Option<&str> {
    let holder = shape.children().find(|el| el.is("nvSpPr"))?.path(&["nvPr", "ph"])?;
    Some(holder.attr("type").unwrap_or(""))
}

fn is_title(shape: El<'_>) -> bool {
    matches!(placeholder(shape), Some("title" | "ctrTitle"))
}

fn shape_text(shape: El<'_>) -> String {
    let body = shape.child("txBody");
    let lines = body.into_iter().flat_map(El::children).filter(|el| el.is("p")).map(drawing_text);
    lines.filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::pack;
    use crate::builder::debug_check;

    fn shape(kind: &str, text: &str) -> String {
        let lines: String =
            text.lines().map(|line| format!("<a:p><a:r><a:t>{line}</a:t></a:r></a:p>")).collect();
        format!(
            "<p:sp><p:nvSpPr><p:nvPr><p:ph type='{kind}'/></p:nvPr></p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>"
        )
    }

    #[test]
    fn slides_come_in_order_with_titles_tables_and_notes() {
        let slide = |shapes: &str| format!("<p:sld><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>");
        let cell =
            |text: &str| format!("<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>");
        let table = format!(
            "<p:graphicFrame><a:tbl><a:tr>{}{}</a:tr><a:tr>{}{}</a:tr></a:tbl></p:graphicFrame>",
            cell("a"),
            cell("b"),
            cell("1"),
            cell("2")
        );
        let first =
            slide(&(shape("sldNum", "7") + &shape("body", "one\ntwo") + &shape("title", "First") + &table));
        let second = slide(&shape("title", "Second"));
        let bytes = pack(&[
            (
                "_rels/.rels",
                "<R><Relationship Id='r' Type='x/officeDocument' Target='ppt/presentation.xml'/></R>",
            ),
            (
                "ppt/presentation.xml",
                "<p:presentation><p:sldIdLst><p:sldId id='257' r:id='rB'/><p:sldId id='256' r:id='rA'/></p:sldIdLst></p:presentation>",
            ),
            (
                "ppt/_rels/presentation.xml.rels",
                "<R><Relationship Id='rA' Type='x/slide' Target='slides/slide1.xml'/><Relationship Id='rB' Type='x/slide' Target='slides/slide2.xml'/></R>",
            ),
            ("ppt/slides/slide1.xml", &second),
            ("ppt/slides/slide2.xml", &first),
            (
                "ppt/slides/_rels/slide2.xml.rels",
                "<R><Relationship Id='n' Type='x/notesSlide' Target='../notesSlides/n.xml'/></R>",
            ),
            ("ppt/notesSlides/n.xml", &format!("<p:notes>{}</p:notes>", shape("body", "say hello"))),
        ]);
        let limits = Limits::default();
        let out = read(&bytes, &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        assert_eq!(
            out.text,
            "First\n\n- one\n- two\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nNotes: say hello\n\nSecond"
        );
        let pages: Vec<_> =
            out.pages.iter().map(|page| (page.number, page.name.as_deref().unwrap())).collect();
        assert_eq!(pages, [(1, "First"), (2, "Second")]);
    }
}
