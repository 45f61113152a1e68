//! Word documents.

use std::collections::HashMap;

use super::numbering::Numbering;
use super::{Links, Package, alternate};
use crate::builder::{Builder, one_line};
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::table;
use crate::xml::{El, Tree};

mod styles;

use styles::Styles;

/// Reads a Word document.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut package = Package::open(bytes, limits)?;
    let mut builder = Builder::new(Kind::Docx, limits);
    let main = package.main("word/document.xml")?;
    let document = package.need(&main)?;
    let links = package.links(&main)?;
    let mut linked = |kind: &str| -> Result<Vec<Tree>, ExtractError> {
        let mut parts: Vec<&String> =
            links.values().filter(|(of, _)| of == kind).map(|(_, part)| part).collect();
        parts.sort();
        parts.dedup();
        let mut trees = Vec::new();
        for part in parts {
            trees.extend(package.want(part)?);
        }
        Ok(trees)
    };
    let styles = Styles::new(linked("styles")?.first());
    let numbering = Numbering::new(linked("numbering")?.first());
    let mut notes = HashMap::new();
    for kind in ["footnotes", "endnotes"] {
        for tree in linked(kind)? {
            gather_notes(&tree, kind, &mut notes);
        }
    }
    let headers = linked("header")?;
    let footers = linked("footer")?;
    package.properties(&mut builder)?;
    let mut reader = Reader {
        builder: &mut builder,
        package: &mut package,
        links: &links,
        styles,
        numbering,
        notes,
        list: String::new(),
        failed: None,
    };
    reader.furniture(&headers);
    let body = document.document().child("body").unwrap_or(document.document());
    reader.blocks(body);
    reader.flush_list();
    reader.furniture(&footers);
    if let Some(error) = reader.failed {
        return Err(error);
    }
    package.note(&mut builder);
    Ok(builder.finish())
}

/// Texts of foot- and endnotes by kind and id.
fn gather_notes(tree: &Tree, kind: &str, notes: &mut HashMap<(String, String), String>) {
    for note in tree.document().children() {
        // Separators carry a type.
        let (Some(id), None) = (note.attr("id"), note.attr("type").filter(|kind| *kind != "normal")) else {
            continue;
        };
        let mut pieces = Vec::new();
        for paragraph in note.all("p") {
            let mut text = Inline::default();
            text.take(paragraph);
            pieces.push(text.text);
        }
        notes.insert((kind.to_owned(), id.to_owned()), one_line(&pieces.join(" ")));
    }
}

struct Reader<'r, 'a, 'l> {
    builder: &'r mut Builder,
    package: &'r mut Package<'a, 'l>,
    links: &'r Links,
    styles: Styles,
    numbering: Numbering,
    notes: HashMap<(String, String), String>,
    /// Items of the list that is being read.
    list: String,
    failed: Option<ExtractError>,
}

impl Reader<'_, '_, '_> {
    /// Writes the paragraphs and tables of a body, cell or text box. Depth is bounded by the tree's.
    fn blocks(&mut self, parent: El<'_>) {
        for el in parent.children() {
            if self.builder.is_full() || self.failed.is_some() {
                return;
            }
            match el.name() {
                "p" => self.paragraph(el),
                "tbl" => self.table(el),
                "sdt" => {
                    // A table of contents repeats the headings.
                    let gallery =
                        el.path(&["sdtPr", "docPartObj", "docPartGallery"]).and_then(|el| el.attr("val"));
                    if gallery != Some("Table of Contents")
                        && let Some(content) = el.child("sdtContent")
                    {
                        self.blocks(content);
                    }
                }
                "AlternateContent" => {
                    if let Some(el) = alternate(el) {
                        self.blocks(el);
                    }
                }
                "del" | "moveFrom" | "sectPr" | "tcPr" => {}
                _ => self.blocks(el),
            }
        }
    }

    fn paragraph(&mut self, paragraph: El<'_>) {
        let mut inline = Inline::default();
        inline.take(paragraph);
        let properties = paragraph.child("pPr");
        let style = properties.and_then(|it| it.child("pStyle")).and_then(|it| it.attr("val"));
        if !inline.text.trim().is_empty() {
            let level = self.styles.level(style, properties);
            let item = self.styles.item(style, properties);
            let mark = item.and_then(|(list, depth)| Some((self.numbering.mark(&list, depth)?, depth)));
            match (level, mark) {
                (Some(level), mark) => {
                    self.flush_list();
                    let number = mark.filter(|(mark, _)| mark != "-").map(|(mark, _)| mark + " ");
                    self.builder.heading(level, &(number.unwrap_or_default() + &inline.text));
                }
                (None, Some((mark, depth))) => self.item(&mark, depth, &inline.text),
                (None, None) => {
                    self.flush_list();
                    let kind = self.styles.kind(style);
                    self.builder.block(kind, &inline.text);
                }
            }
        }
        self.aside(inline);
    }

    fn item(&mut self, mark: &str, depth: usize, text: &str) {
        if !self.list.is_empty() {
            self.list.push('\n');
        }
        let indent = "  ".repeat(depth.min(8));
        let more = format!("\n{indent}  ");
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        self.list.push_str(&format!("{indent}{mark} {}", lines.join(&more)));
    }

    fn flush_list(&mut self) {
        let list = std::mem::take(&mut self.list);
        self.builder.block(BlockKind::List, &list);
    }

    /// Writes what hangs on a paragraph: text boxes, diagrams, charts, notes.
    fn aside(&mut self, inline: Inline<'_>) {
        if inline.boxes.is_empty() && inline.parts.is_empty() && inline.notes.is_empty() {
            return;
        }
        self.flush_list();
        for text_box in inline.boxes {
            self.blocks(text_box);
            self.flush_list();
        }
        for id in inline.parts {
            self.linked(id);
        }
        for (kind, id) in inline.notes {
            if let Some(text) =
                self.notes.remove(&(kind.to_owned(), id.to_owned())).filter(|text| !text.is_empty())
            {
                self.builder.block(BlockKind::Paragraph, &format!("[{id}] {text}"));
            }
        }
    }

    /// Writes a diagram or chart.
    fn linked(&mut self, id: &str) {
        let Some((kind, part)) = self.links.get(id) else { return };
        let result = match kind.as_str() {
            "diagramData" => self.package.diagram(part).map(|text| {
                self.builder.block(BlockKind::List, &text);
            }),
            "chart" => self.package.chart(part).map(|(title, table)| {
                self.builder.block(BlockKind::Paragraph, &title);
                self.builder.block(BlockKind::Table, &table.unwrap_or_default());
            }),
            _ => Ok(()),
        };
        if let Err(error) = result {
            self.failed = Some(error);
        }
    }

    fn table(&mut self, el: El<'_>) {
        self.flush_list();
        let mut rows = Vec::new();
        gather_rows(el, &mut rows);
        let cells: Vec<Vec<Cell<'_>>> = rows.into_iter().map(cells_of).collect();
        let width = cells.iter().map(Vec::len).max().unwrap_or(0);
        // A single cell is a frame around text.
        if let (1, [row]) = (width, cells.as_slice()) {
            for cell in row {
                self.blocks(cell.el);
            }
            self.flush_list();
            return;
        }
        let mut asides = Vec::new();
        let mut texts = Vec::with_capacity(cells.len());
        for row in cells {
            let mut line = Vec::new();
            for cell in row {
                if line.len() >= table::MAX_COLUMNS {
                    break;
                }
                let text = if cell.goes_on { String::new() } else { self.cell(cell.el, &mut asides) };
                line.push(text);
                let wide = cell.span.min(table::MAX_COLUMNS);
                line.extend(std::iter::repeat_n(String::new(), wide - 1));
            }
            texts.push(line);
        }
        if let Some(text) = table::markdown(&texts) {
            self.builder.block(BlockKind::Table, &text);
        }
        for inline in asides {
            self.aside(inline);
        }
    }

    /// Text of a cell on one line: paragraphs apart by blanks, items with their marks, tables in it row by row.
    fn cell<'t>(&mut self, el: El<'t>, asides: &mut Vec<Inline<'t>>) -> String {
        let mut pieces: Vec<String> = Vec::new();
        for paragraph in cell_paragraphs(el) {
            let mut inline = Inline::default();
            inline.take(paragraph);
            let properties = paragraph.child("pPr");
            let style = properties.and_then(|it| it.child("pStyle")).and_then(|it| it.attr("val"));
            let item = self.styles.item(style, properties).filter(|_| !inline.text.trim().is_empty());
            let mark = item.and_then(|(list, depth)| self.numbering.mark(&list, depth));
            let text = one_line(&inline.text);
            if !text.is_empty() {
                pieces.push(mark.map_or(text.clone(), |mark| format!("{mark} {text}")));
            }
            inline.text.clear();
            asides.push(inline);
        }
        pieces.join(" ")
    }

    /// Headers or footers, each text once.
    fn furniture(&mut self, parts: &[Tree]) {
        let mut seen: Vec<String> = Vec::new();
        for tree in parts {
            let mut lines = Vec::new();
            for paragraph in tree.document().all("p") {
                // Paragraphs of text boxes are reached on their own.
                let mut inline = Inline::default();
                inline.take(paragraph);
                let line = one_line(&inline.text);
                if !line.is_empty() && !lines.contains(&line) {
                    lines.push(line);
                }
            }
            let text = lines.join("\n");
            if !seen.contains(&text) {
                self.builder.block(BlockKind::Furniture, &text);
                seen.push(text);
            }
        }
    }
}

struct Cell<'t> {
    el: El<'t>,
    span: usize,
    /// Whether it belongs to the cell above.
    goes_on: bool,
}

/// Rows of a table, through wrappers; deleted ones are left out.
fn gather_rows<'t>(parent: El<'t>, rows: &mut Vec<El<'t>>) {
    for el in parent.children() {
        match el.name() {
            "tr" if el.path(&["trPr", "del"]).is_none() => rows.push(el),
            "sdt" | "sdtContent" | "customXml" | "ins" | "moveTo" => gather_rows(el, rows),
            _ => {}
        }
    }
}

fn cells_of(row: El<'_>) -> Vec<Cell<'_>> {
    let number = |el: Option<El<'_>>, name: &str| {
        el.and_then(|el| el.child(name))
            .and_then(|el| el.attr("val"))
            .and_then(|value| value.parse::<usize>().ok())
    };
    let mut out = Vec::new();
    let before = number(row.child("trPr"), "gridBefore").unwrap_or(0).min(table::MAX_COLUMNS);
    out.extend((0..before).map(|_| Cell { el: row, span: 1, goes_on: true }));
    gather_cells(row, &mut |el| {
        let properties = el.child("tcPr");
        let merge = properties.and_then(|it| it.child("vMerge"));
        let goes_on = merge.is_some_and(|merge| merge.attr("val") != Some("restart"));
        let span = number(properties, "gridSpan").unwrap_or(1).max(1);
        if properties.and_then(|it| it.child("cellDel")).is_none() {
            out.push(Cell { el, span, goes_on });
        }
    });
    out
}

fn gather_cells<'t>(parent: El<'t>, push: &mut dyn FnMut(El<'t>)) {
    for el in parent.children() {
        match el.name() {
            "tc" => push(el),
            "sdt" | "sdtContent" | "customXml" => gather_cells(el, push),
            _ => {}
        }
    }
}

/// Paragraphs of a cell and of tables in it, without those of text boxes.
fn cell_paragraphs(cell: El<'_>) -> Vec<El<'_>> {
    let mut out = Vec::new();
    let mut open: Vec<El<'_>> = vec![cell];
    while let Some(el) = open.pop() {
        match el.name() {
            "p" => out.push(el),
            "del" | "moveFrom" => {}
            "AlternateContent" => open.extend(alternate(el)),
            _ => open.extend(el.children().collect::<Vec<_>>().into_iter().rev()),
        }
    }
    out
}

/// The text of a paragraph and what hangs on it.
#[derive(Default)]
struct Inline<'t> {
    text: String,
    boxes: Vec<El<'t>>,
    /// Ids of links to diagrams and charts.
    parts: Vec<&'t str>,
    notes: Vec<(&'static str, &'t str)>,
}

impl<'t> Inline<'t> {
    fn take(&mut self, parent: El<'t>) {
        for el in parent.children() {
            match el.name() {
                "t" => self.text.push_str(&el.text()),
                "tab" | "ptab" => self.text.push('\t'),
                "br" if matches!(el.attr("type"), Some("page" | "column")) => self.text.push(' '),
                "br" | "cr" => self.text.push('\n'),
                "noBreakHyphen" => self.text.push('-'),
                "sym" => self.text.extend(symbol(el)),
                "footnoteReference" => self.note("footnotes", el),
                "endnoteReference" => self.note("endnotes", el),
                "txbxContent" => self.boxes.push(el),
                "relIds" => self.parts.extend(el.attr("dm")),
                "chart" => self.parts.extend(el.attr("id")),
                "AlternateContent" => {
                    if let Some(el) = alternate(el) {
                        self.take(el);
                    }
                }
                // Deleted text, properties, field codes, pronunciation, descriptions of pictures.
                "del" | "moveFrom" | "delText" | "pPr" | "rPr" | "instrText" | "rt" | "docPr" | "cNvPr" => {}
                "r" if is_hidden(el) => {}
                _ => self.take(el),
            }
        }
    }

    fn note(&mut self, kind: &'static str, el: El<'t>) {
        if let Some(id) = el.attr("id") {
            self.text.push_str(&format!("[{id}]"));
            self.notes.push((kind, id));
        }
    }
}

fn is_hidden(run: El<'_>) -> bool {
    let vanish = run.path(&["rPr", "vanish"]);
    vanish.is_some_and(|el| !matches!(el.attr("val"), Some("0" | "false" | "off")))
}

/// A character of a symbol font; those of private fonts have no meaning outside of them.
fn symbol(el: El<'_>) -> Option<char> {
    let code = u32::from_str_radix(el.attr("char")?, 16).ok()?;
    char::from_u32(code).filter(|char| !matches!(char, '\u{e000}'..='\u{f8ff}'))
}

#[cfg(test)]
mod tests;
