//! What a PDF says beside its pages: title and author, outline, files inside it.

use std::collections::HashSet;

use hayro_interpret::hayro_syntax::Pdf;
use hayro_interpret::hayro_syntax::object::{
    Array, DateTime, Dict, Name, ObjectIdentifier, Stream, String as PdfString,
};

use crate::builder::Builder;
use crate::document::{Attachment, Limits};

/// Deepest tree of names and of outline entries.
const MAX_DEPTH: usize = 32;
/// Most entries of an outline.
const MAX_OUTLINE: usize = 10_000;

/// A text of the document outside of its pages: UTF-16, UTF-8 or PDF's own encoding.
pub(super) fn text_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => encoding_rs::UTF_16BE.decode_without_bom_handling(rest).0.into_owned(),
        [0xff, 0xfe, rest @ ..] => encoding_rs::UTF_16LE.decode_without_bom_handling(rest).0.into_owned(),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => bytes.iter().map(|byte| pdf_doc_char(*byte)).collect(),
    }
}

/// PDFDocEncoding (ISO 32000, annex D): Latin-1 but for two ranges.
fn pdf_doc_char(byte: u8) -> char {
    const LOW: [char; 8] = ['˘', 'ˇ', 'ˆ', '˙', '˝', '˛', '˚', '˜'];
    const HIGH: [char; 33] = [
        '•', '†', '‡', '…', '—', '–', 'ƒ', '⁄', '‹', '›', '−', '‰', '„', '“', '”', '‘', '’', '‚', '™', 'ﬁ',
        'ﬂ', 'Ł', 'Œ', 'Š', 'Ÿ', 'Ž', 'ı', 'ł', 'œ', 'š', 'ž', ' ', '€',
    ];
    match byte {
        0x18..=0x1f => LOW[usize::from(byte - 0x18)],
        0x80..=0xa0 => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// The catalogue of a document.
fn catalog(pdf: &Pdf) -> Option<Dict<'_>> {
    pdf.xref().get::<Dict<'_>>(pdf.xref().root_id())
}

/// Writes title, author and the like.
pub(super) fn metadata(pdf: &Pdf, builder: &mut Builder) {
    let known = pdf.metadata();
    for (key, value) in [
        ("title", &known.title),
        ("author", &known.author),
        ("subject", &known.subject),
        ("keywords", &known.keywords),
        ("creator", &known.creator),
        ("producer", &known.producer),
    ] {
        if let Some(value) = value {
            builder.meta(key, &text_string(value));
        }
    }
    if let Some(date) = known.creation_date.or(known.modification_date) {
        builder.meta("date", &iso(&date));
    }
    if let Some(date) = known.modification_date {
        builder.meta("modified", &iso(&date));
    }
    if let Some(language) = catalog(pdf).and_then(|catalog| catalog.get::<PdfString<'_>>("Lang")) {
        builder.meta("language", &text_string(&language));
    }
}

fn iso(date: &DateTime) -> String {
    let DateTime { year, month, day, hour, minute, second, .. } = date;
    let zone = match (date.utc_offset_hour, date.utc_offset_minute) {
        (0, 0) => "Z".to_owned(),
        (hours, minutes) => format!("{hours:+03}:{minutes:02}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
}

/// Titles of the outline with their levels.
pub(super) fn outline(pdf: &Pdf) -> Vec<(u8, String)> {
    let mut entries = Vec::new();
    let mut seen = HashSet::new();
    if let Some(outlines) = catalog(pdf).and_then(|catalog| catalog.get::<Dict<'_>>("Outlines")) {
        walk_outline(&outlines, 1, &mut entries, &mut seen);
    }
    entries
}

fn walk_outline(
    parent: &Dict<'_>,
    level: u8,
    entries: &mut Vec<(u8, String)>,
    seen: &mut HashSet<ObjectIdentifier>,
) {
    let mut next = parent.get::<Dict<'_>>("First");
    while let Some(entry) = next {
        // Outlines in a circle.
        if entry.obj_id().is_none_or(|id| !seen.insert(id)) || entries.len() >= MAX_OUTLINE {
            return;
        }
        if let Some(title) = entry.get::<PdfString<'_>>("Title") {
            entries.push((level, text_string(&title)));
        }
        if usize::from(level) < MAX_DEPTH {
            walk_outline(&entry, level + 1, entries, seen);
        }
        next = entry.get::<Dict<'_>>("Next");
    }
}

/// Takes out the files that lie inside the document.
pub(super) fn attachments(pdf: &Pdf, limits: &Limits, builder: &mut Builder) {
    let mut files = Files { left: limits.max_unpacked_bytes, seen: HashSet::new(), builder };
    let names = catalog(pdf).and_then(|catalog| catalog.get::<Dict<'_>>("Names"));
    if let Some(tree) = names.and_then(|names| names.get::<Dict<'_>>("EmbeddedFiles")) {
        files.walk(&tree, 0);
    }
    for page in pdf.pages().iter().take(limits.max_parts) {
        let Some(annotations) = page.raw().get::<Array<'_>>("Annots") else { continue };
        for annotation in annotations.iter::<Dict<'_>>() {
            let is_file =
                annotation.get::<Name<'_>>("Subtype").is_some_and(|kind| &*kind == b"FileAttachment");
            if let Some(file) = annotation.get::<Dict<'_>>("FS").filter(|_| is_file) {
                files.take(&file, None);
            }
        }
    }
}

struct Files<'b> {
    left: u64,
    seen: HashSet<ObjectIdentifier>,
    builder: &'b mut Builder,
}

impl Files<'_> {
    fn walk(&mut self, node: &Dict<'_>, depth: usize) {
        if depth > MAX_DEPTH || node.obj_id().is_some_and(|id| !self.seen.insert(id)) {
            return;
        }
        if let Some(names) = node.get::<Array<'_>>("Names") {
            let mut items = names.flex_iter();
            // Pairs of a name and a file specification.
            while let Some(name) = items.next::<PdfString<'_>>() {
                let Some(file) = items.next::<Dict<'_>>() else { break };
                self.take(&file, Some(text_string(&name)));
            }
        }
        for kid in node.get::<Array<'_>>("Kids").iter().flat_map(|kids| kids.iter::<Dict<'_>>()) {
            self.walk(&kid, depth + 1);
        }
    }

    fn take(&mut self, file: &Dict<'_>, key: Option<String>) {
        let told = ["UF", "F"].iter().find_map(|name| file.get::<PdfString<'_>>(*name));
        let told = told.map(|name| text_string(&name)).or(key).filter(|name| !name.trim().is_empty());
        let name = told.unwrap_or_else(|| "attachment".to_owned());
        let Some(embedded) = file.get::<Dict<'_>>("EF") else { return };
        let Some(stream) = ["UF", "F"].iter().find_map(|name| embedded.get::<Stream<'_>>(*name)) else {
            return;
        };
        if !self.seen.insert(stream.obj_id()) {
            return;
        }
        let Ok(bytes) = stream.decoded() else {
            self.builder.note(
                "skipped-part",
                format!("the file `{name}` inside it could not be unpacked"),
                None,
            );
            return;
        };
        let length = bytes.len() as u64;
        if length > self.left {
            let message = format!("the file `{name}` inside it is larger than allowed");
            self.builder.note("skipped-part", message, None);
            return;
        }
        self.left -= length;
        let media_type = stream.dict().get::<Name<'_>>("Subtype").map(|kind| kind.as_str().to_owned());
        self.builder.attach(Attachment { name, media_type, bytes: bytes.into_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_in_their_encodings() {
        assert_eq!(text_string(b"\xfe\xff\x00\xe9\x20\xac"), "é€");
        assert_eq!(text_string(b"\xef\xbb\xbf\xc3\xa9"), "é");
        assert_eq!(text_string(b"\xe9 \x85"), "é –");
    }

    #[test]
    fn dates_are_iso() {
        let date = DateTime {
            year: 2024,
            month: 2,
            day: 3,
            hour: 4,
            minute: 5,
            second: 6,
            utc_offset_hour: -7,
            utc_offset_minute: 30,
        };
        assert_eq!(iso(&date), "2024-02-03T04:05:06-07:30");
    }
}
