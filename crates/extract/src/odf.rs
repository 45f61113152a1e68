//! OpenDocument: texts, slides and spreadsheets share one frame, so they share one reader.

use crate::archive::Archive;
use crate::builder::{Builder, one_line};
use crate::dates;
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::table;
use crate::xml::{El, Tree};

mod sheets;

/// Most blanks that one mark may stand for.
const MAX_BLANKS: usize = 64;

/// Reads an OpenDocument file of a kind.
pub(crate) fn read(bytes: &[u8], kind: Kind, limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut archive = Archive::open(bytes, limits)?;
    if let Some(manifest) = archive.read("META-INF/manifest.xml")? {
        let manifest = Tree::parse(&manifest, "META-INF/manifest.xml", limits).ok();
        if manifest.is_some_and(|tree| tree.document().all("encryption-data").next().is_some()) {
            return Err(ExtractError::NeedsPassword);
        }
    }
    let mut builder = Builder::new(kind, limits);
    let bytes = archive.read("content.xml")?;
    let bytes = bytes
        .ok_or_else(|| ExtractError::Damaged { reason: "its part `content.xml` is missing".to_owned() })?;
    let content = Tree::parse(&bytes, "content.xml", limits)?;
    drop(bytes);
    if let Some(problem) = &content.problem {
        builder.note("repaired", format!("a part was read as far as it goes: {problem}"), None);
    }
    // Damage of these two costs metadata and page headers only.
    let mut side = |part: &str| -> Result<Option<Tree>, ExtractError> {
        match archive.read(part) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| Tree::parse(&bytes, part, limits).ok())),
            Err(error @ ExtractError::TooLarge { .. }) => Err(error),
            Err(_) => Ok(None),
        }
    };
    let meta = side("meta.xml")?;
    let styles = side("styles.xml")?;
    if let Some(meta) = &meta {
        metadata(meta, &mut builder);
    }
    let body = content.document().child("body").unwrap_or(content.document());
    let mut writer = Writer { builder: &mut builder, list: String::new(), notes: Vec::new() };
    writer.furniture(styles.as_ref(), "header");
    match kind {
        Kind::Spreadsheet => sheets::write(body, writer.builder, limits),
        Kind::Odp => writer.slides(body),
        _ => writer.blocks(body),
    }
    writer.flush();
    writer.furniture(styles.as_ref(), "footer");
    Ok(builder.finish())
}

fn metadata(tree: &Tree, builder: &mut Builder) {
    let all =
        |name: &'static str| tree.document().all(name).map(El::text).find(|text| !text.trim().is_empty());
    let mut set = |key: &str, value: Option<String>| builder.meta(key, &value.unwrap_or_default());
    set("title", all("title"));
    set("author", all("initial-creator").or_else(|| all("creator")));
    set("date", all("creation-date").or_else(|| all("date")).and_then(|date| dates::iso(&date)));
    set("modified", all("date").and_then(|date| dates::iso(&date)));
    set("language", all("language"));
    set("subject", all("subject"));
    set("description", all("description"));
    let keywords: Vec<String> = tree.document().all("keyword").map(El::text).collect();
    builder.meta("keywords", &keywords.join(", "));
}

struct Writer<'b> {
    builder: &'b mut Builder,
    /// Items of the list that is being read.
    list: String,
    /// Notes of the paragraph that is being read.
    notes: Vec<String>,
}

impl Writer<'_> {
    /// Writes what stands in a body, section, text box. Depth is bounded by the tree's.
    fn blocks(&mut self, parent: El<'_>) {
        for el in parent.children() {
            if self.builder.is_full() {
                return;
            }
            match el.name() {
                "h" => {
                    self.flush();
                    let level = el.attr("outline-level").and_then(|level| level.parse().ok()).unwrap_or(1);
                    let mut boxes = Vec::new();
                    let title = self.inline(el, &mut boxes);
                    self.builder.heading(level, &title);
                    self.aside(boxes);
                }
                "p" => {
                    self.flush();
                    let mut boxes = Vec::new();
                    let text = self.inline(el, &mut boxes);
                    self.builder.block(BlockKind::Paragraph, &text);
                    self.aside(boxes);
                }
                "list" => {
                    self.items(el, 0);
                    self.flush();
                }
                "table" => {
                    self.flush();
                    self.table(el);
                }
                // Indexes repeat the headings; the rest is no text of the document.
                "table-of-content" | "tracked-changes" | "annotation" | "forms" | "sequence-decls"
                | "variable-decls" | "user-field-decls" | "object" | "object-ole" | "image" | "title"
                | "desc" | "notes" => {}
                _ => self.blocks(el),
            }
        }
    }

    fn flush(&mut self) {
        let list = std::mem::take(&mut self.list);
        self.builder.block(BlockKind::List, &list);
        for note in std::mem::take(&mut self.notes) {
            self.builder.block(BlockKind::Paragraph, &note);
        }
    }

    fn aside(&mut self, boxes: Vec<El<'_>>) {
        self.flush();
        for text_box in boxes {
            self.blocks(text_box);
        }
    }

    fn items(&mut self, list: El<'_>, depth: usize) {
        for item in list.children().filter(|el| matches!(el.name(), "list-item" | "list-header")) {
            let mut is_first = true;
            for el in item.children() {
                match el.name() {
                    "list" => self.items(el, depth + 1),
                    "h" if depth == 0 => {
                        // Numbered headings are items to writers of this format.
                        let mut boxes = Vec::new();
                        let level =
                            el.attr("outline-level").and_then(|level| level.parse().ok()).unwrap_or(1);
                        let title = self.inline(el, &mut boxes);
                        self.flush();
                        self.builder.heading(level, &title);
                        self.aside(boxes);
                    }
                    "p" | "h" => {
                        let mut boxes = Vec::new();
                        let text = self.inline(el, &mut boxes);
                        if !text.trim().is_empty() {
                            let indent = "  ".repeat(depth.min(8));
                            let mark = if is_first { "- " } else { "  " };
                            self.list.push_str(if self.list.is_empty() { "" } else { "\n" });
                            self.list.push_str(&format!("{indent}{mark}{}", one_line(&text)));
                            is_first = false;
                        }
                        if !boxes.is_empty() {
                            self.aside(boxes);
                        }
                    }
                    _ => {
                        self.flush();
                        self.blocks(el);
                    }
                }
            }
        }
    }

    fn table(&mut self, el: El<'_>) {
        let mut rows = Vec::new();
        self.rows(el, &mut rows);
        if let Some(text) = table::markdown(&rows) {
            let is_frame = rows.iter().map(Vec::len).max() == Some(1) && rows.len() == 1;
            let kind = if is_frame { BlockKind::Paragraph } else { BlockKind::Table };
            let cell = || rows.concat().join(" ");
            self.builder.block(kind, &if is_frame { cell() } else { text });
        }
        self.flush();
    }

    fn rows(&mut self, parent: El<'_>, rows: &mut Vec<Vec<String>>) {
        for el in parent.children() {
            match el.name() {
                "table-row" => {
                    let mut row = Vec::new();
                    for cell in
                        el.children().filter(|el| matches!(el.name(), "table-cell" | "covered-table-cell"))
                    {
                        let repeated = sheets::repeats(cell, "number-columns-repeated");
                        let text = self.cell(cell);
                        let room = table::MAX_COLUMNS.saturating_sub(row.len());
                        row.extend(std::iter::repeat_n(text, repeated.min(room)));
                    }
                    rows.push(row);
                }
                "table-header-rows" | "table-rows" | "table-row-group" => self.rows(el, rows),
                _ => {}
            }
        }
    }

    /// Text of a cell, with tables and lists in it on one line.
    fn cell(&mut self, cell: El<'_>) -> String {
        let mut pieces = Vec::new();
        let mut open = vec![cell];
        while let Some(el) = open.pop() {
            match el.name() {
                "p" | "h" => {
                    let mut boxes = Vec::new();
                    let text = one_line(&self.inline(el, &mut boxes));
                    if !text.is_empty() {
                        pieces.push(text);
                    }
                    open.extend(boxes);
                }
                "annotation" | "image" | "object" | "title" | "desc" => {}
                _ => open.extend(el.children().collect::<Vec<_>>().into_iter().rev()),
            }
        }
        pieces.join(" ")
    }

    /// Text of a paragraph; text boxes in it are handed back.
    fn inline<'t>(&mut self, parent: El<'t>, boxes: &mut Vec<El<'t>>) -> String {
        let mut out = String::new();
        self.inline_into(parent, &mut out, boxes);
        out
    }

    fn inline_into<'t>(&mut self, parent: El<'t>, out: &mut String, boxes: &mut Vec<El<'t>>) {
        for el in parent.content() {
            if let Some(text) = el.as_text() {
                push_collapsed(out, text);
                continue;
            }
            match el.name() {
                "s" => {
                    let count = el.attr("c").and_then(|count| count.parse::<usize>().ok()).unwrap_or(1);
                    out.push_str(&" ".repeat(count.min(MAX_BLANKS)));
                }
                "tab" => out.push('\t'),
                "line-break" => out.push('\n'),
                "note" => {
                    let mark = el.child("note-citation").map(El::text).unwrap_or_default();
                    let mut text = String::new();
                    for paragraph in el.child("note-body").into_iter().flat_map(|body| body.all("p")) {
                        text.push_str(if text.is_empty() { "" } else { " " });
                        self.inline_into(paragraph, &mut text, boxes);
                    }
                    out.push_str(&format!("[{mark}]"));
                    self.notes.push(format!("[{mark}] {}", one_line(&text)));
                }
                "text-box" => boxes.push(el),
                "annotation" | "annotation-end" | "ruby-text" | "image" | "object" | "object-ole"
                | "title" | "desc" | "tracked-changes" | "bookmark" => {}
                _ => self.inline_into(el, out, boxes),
            }
        }
    }

    fn slides(&mut self, body: El<'_>) {
        for page in body.all("page") {
            let is_title = |frame: &El<'_>| matches!(frame.attr("class"), Some("title"));
            let frames: Vec<El<'_>> = page.children().filter(|el| !el.is("notes")).collect();
            let title = frames.iter().find(|frame| is_title(frame)).map(|frame| self.cell(*frame));
            let title = title.filter(|title| !title.is_empty());
            if self.builder.is_full() || !self.builder.begin_page(title.clone()) {
                return;
            }
            if let Some(title) = title {
                self.builder.heading(1, &title);
            }
            for frame in frames.iter().filter(|frame| !is_title(frame)) {
                match frame.name() {
                    "p" | "list" | "table" => {}
                    "g" | "frame" | "custom-shape" | "rect" | "ellipse" | "polygon" | "path" | "line"
                    | "connector" => {
                        self.blocks(*frame);
                        self.flush();
                    }
                    _ => {}
                }
            }
            let notes = page.child("notes").map(|notes| self.cell(notes)).unwrap_or_default();
            if !notes.trim().is_empty() {
                self.builder.block(BlockKind::Paragraph, &format!("Notes: {notes}"));
            }
            if self.builder.page_is_empty() {
                let page = self.builder.page_number();
                self.builder.note("no-text", "a slide without text", page);
            }
            self.builder.end_page();
        }
    }

    /// Headers or footers of pages, each text once.
    fn furniture(&mut self, styles: Option<&Tree>, name: &'static str) {
        let mut seen = Vec::new();
        for el in styles.into_iter().flat_map(|tree| tree.document().all(name)) {
            let text = self.cell(el);
            if !text.is_empty() && !seen.contains(&text) {
                self.builder.block(BlockKind::Furniture, &text);
                seen.push(text);
            }
        }
        self.notes.clear();
    }
}

/// White space counts once, as in HTML.
fn push_collapsed(out: &mut String, text: &str) {
    for char in text.chars() {
        if !matches!(char, ' ' | '\t' | '\n' | '\r') {
            out.push(char);
        } else if !out.ends_with([' ', '\n', '\t']) {
            out.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::pack;
    use crate::builder::debug_check;

    fn read_body(kind: Kind, body: &str, more: &[(&str, &str)]) -> Extracted {
        let content = format!("<o:document-content><o:body>{body}</o:body></o:document-content>");
        let mut parts = vec![("content.xml", content.as_str())];
        parts.extend_from_slice(more);
        let limits = Limits::default();
        let out = read(&pack(&parts), kind, &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        out
    }

    #[test]
    fn a_text_gives_headings_lists_tables_and_notes() {
        let out = read_body(
            Kind::Odt,
            "<o:text><t:h t:outline-level='2'>Head</t:h><t:p>a<t:s t:c='2'/>b<t:note><t:note-citation>1</t:note-citation>\
             <t:note-body><t:p>below</t:p></t:note-body></t:note></t:p>\
             <t:list><t:list-item><t:p>one</t:p><t:list><t:list-item><t:p>inner</t:p></t:list-item></t:list></t:list-item></t:list>\
             <table:table><table:table-row><table:table-cell><t:p>x</t:p></table:table-cell>\
             <table:table-cell table:number-columns-repeated='2'><t:p>y</t:p></table:table-cell></table:table-row></table:table></o:text>",
            &[
                ("meta.xml", "<m><dc:title>Plan</dc:title></m>"),
                ("styles.xml", "<s><style:header><t:p>Top</t:p></style:header></s>"),
            ],
        );
        assert_eq!(
            out.text,
            "Top\n\nHead\n\na  b[1]\n\n[1] below\n\n- one\n  - inner\n\n| x | y | y |\n| --- | --- | --- |"
        );
        assert_eq!((out.headings[0].level, &out.metadata["title"]), (2, &"Plan".into()));
    }

    #[test]
    fn slides_have_titles_and_notes() {
        let out = read_body(
            Kind::Odp,
            "<d:page><d:frame p:class='outline'><d:text-box><t:p>body</t:p></d:text-box></d:frame>\
             <d:frame p:class='title'><d:text-box><t:p>Title</t:p></d:text-box></d:frame>\
             <p:notes><d:frame><d:text-box><t:p>say</t:p></d:text-box></d:frame></p:notes></d:page>",
            &[],
        );
        assert_eq!(out.text, "Title\n\nbody\n\nNotes: say");
        assert_eq!(out.pages[0].name.as_deref(), Some("Title"));
    }

    #[test]
    fn a_locked_document_needs_its_password() {
        let manifest = "<m:manifest><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>";
        let bytes = pack(&[("content.xml", "x"), ("META-INF/manifest.xml", manifest)]);
        assert_eq!(read(&bytes, Kind::Odt, &Limits::default()), Err(ExtractError::NeedsPassword));
    }

    #[test]
    fn endless_repetitions_of_a_sheet_are_bounded() {
        let out = read_body(
            Kind::Spreadsheet,
            "<o:spreadsheet><t:table t:name='S'><t:table-row><t:table-cell><t:p>a</t:p></t:table-cell>\
             <t:table-cell t:number-columns-repeated='1000000000'/><t:table-cell><t:p>far</t:p></t:table-cell></t:table-row>\
             <t:table-row t:number-rows-repeated='1048576'><t:table-cell/></t:table-row>\
             <t:table-row t:number-rows-repeated='4000000000'><t:table-cell><t:p>x</t:p></t:table-cell></t:table-row>\
             </t:table></o:spreadsheet>",
            &[],
        );
        assert!(out.text.len() < 100_000);
        assert_eq!(out.pages[0].name.as_deref(), Some("S"));
        assert!(out.notes.iter().any(|note| note.code == "cut"));
    }
}
