//! What a document is. Content decides before the name; the name only tells texts apart that look the same (Markdown,
//! source code, rows), and a name that says something else is worth a note.

use crate::archive::Archive;
use crate::decode;
use crate::document::{Kind, Limits};
use crate::error::ExtractError;

mod languages;
mod signatures;
mod texts;

/// How a document is to be read: finer than its [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Markdown,
    Html,
    Pdf,
    Docx,
    Pptx,
    Xlsx,
    Xlsb,
    Xls,
    Ods,
    Odt,
    Odp,
    Epub,
    Rtf,
    Eml,
    Mbox,
    Msg,
    /// Rows; tabs rather than commas where the name says so.
    Csv,
    Json,
    JsonLines,
    Xml,
    Notebook,
    /// Source code in a language.
    Code(&'static str),
}

impl Format {
    /// The kind that users see.
    pub fn kind(self) -> Kind {
        match self {
            Self::Text => Kind::Text,
            Self::Markdown => Kind::Markdown,
            Self::Html => Kind::Html,
            Self::Pdf => Kind::Pdf,
            Self::Docx => Kind::Docx,
            Self::Pptx => Kind::Pptx,
            Self::Xlsx | Self::Xlsb | Self::Xls | Self::Ods => Kind::Spreadsheet,
            Self::Odt => Kind::Odt,
            Self::Odp => Kind::Odp,
            Self::Epub => Kind::Epub,
            Self::Rtf => Kind::Rtf,
            Self::Eml | Self::Mbox | Self::Msg => Kind::Email,
            Self::Csv => Kind::Csv,
            Self::Json | Self::JsonLines => Kind::Json,
            Self::Xml => Kind::Xml,
            Self::Notebook => Kind::Notebook,
            Self::Code(_) => Kind::Code,
        }
    }

    /// Whether it is plain characters, so that a name may decide which of the textual kinds it is.
    fn is_textual(self) -> bool {
        matches!(
            self,
            Self::Text
                | Self::Markdown
                | Self::Html
                | Self::Eml
                | Self::Mbox
                | Self::Csv
                | Self::Json
                | Self::JsonLines
                | Self::Xml
                | Self::Notebook
                | Self::Code(_)
        )
    }
}

/// What a look at the bytes shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It can be read.
    Format(Format),
    /// An office document that is locked as a whole.
    Locked,
    /// Nothing here reads it; what it looks like.
    Unsupported(String),
    /// Its frame cannot be opened.
    Failed(ExtractError),
}

/// The kind of a document as its content says, with its name and claimed media type as hints where content leaves a
/// choice. `None` when nothing here reads it.
pub fn detect_kind(name: &str, media_type: Option<&str>, bytes: &[u8]) -> Option<Kind> {
    match look(name, media_type, bytes, &Limits::default()) {
        Seen::Format(format) => Some(format.kind()),
        Seen::Locked | Seen::Unsupported(_) | Seen::Failed(_) => None,
    }
}

/// The kind that a name promises, by its ending or as a whole; `None` where it says nothing that is read here. Tells
/// which files of a folder are worth opening.
pub fn kind_by_name(name: &str) -> Option<Kind> {
    by_name(name).map(Format::kind)
}

/// Looks at a document.
pub(crate) fn look(name: &str, media_type: Option<&str>, bytes: &[u8], limits: &Limits) -> Seen {
    let start = skip_mark(bytes);
    if start.starts_with(b"PK\x03\x04")
        || start.starts_with(b"PK\x05\x06")
        || start.starts_with(b"PK\x07\x08")
    {
        return look_at_zip(bytes, limits);
    }
    if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return look_at_compound_file(bytes);
    }
    // Viewers accept a PDF whose header stands within its first kilobyte; plain text that quotes one has no binary.
    let has_pdf_header = |bytes: &[u8]| bytes.windows(5).take(1024).any(|five| five == b"%PDF-");
    if start.trim_ascii_start().starts_with(b"%PDF")
        || (bytes.len() > 1024 && has_pdf_header(bytes) && is_pdf_name(name))
    {
        return Seen::Format(Format::Pdf);
    }
    if start.trim_ascii_start().starts_with(b"{\\rtf") {
        return Seen::Format(Format::Rtf);
    }
    if let Some(found) = signatures::find(bytes) {
        return Seen::Unsupported(found.to_owned());
    }
    let Some(text) = decode::decode(&bytes[..bytes.len().min(texts::SAMPLE_BYTES)], None) else {
        if has_pdf_header(bytes) {
            return Seen::Format(Format::Pdf);
        }
        return Seen::Unsupported(signatures::describe(bytes));
    };
    let hint = by_name(name).or_else(|| media_type.and_then(by_media_type));
    Seen::Format(texts::decide(&text.text, hint, is_known_ending(name)))
}

/// A sentence when the name says another kind than the content.
pub(crate) fn mismatch(name: &str, format: Format) -> Option<String> {
    let said = by_name(name)?;
    if said.kind() == format.kind() || (format == Format::Text && said.is_textual()) {
        return None;
    }
    Some(format!("the name `{}` says {}, the content is {}", ending(name)?, word(said), word(format)))
}

fn is_pdf_name(name: &str) -> bool {
    ending(name).as_deref() == Some("pdf")
}

/// A kind in words.
fn word(format: Format) -> &'static str {
    match format {
        Format::Text => "plain text",
        Format::Markdown => "Markdown",
        Format::Html => "HTML",
        Format::Pdf => "PDF",
        Format::Docx => "a Word document",
        Format::Pptx => "PowerPoint slides",
        Format::Xlsx | Format::Xlsb | Format::Xls => "an Excel workbook",
        Format::Ods => "an OpenDocument spreadsheet",
        Format::Odt => "an OpenDocument text",
        Format::Odp => "OpenDocument slides",
        Format::Epub => "an e-book",
        Format::Rtf => "rich text",
        Format::Eml | Format::Msg => "an e-mail",
        Format::Mbox => "a mailbox",
        Format::Csv => "rows of text",
        Format::Json | Format::JsonLines => "JSON",
        Format::Xml => "XML",
        Format::Notebook => "a notebook",
        Format::Code(_) => "source code",
    }
}

fn skip_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The part of a name after its last dot, in lower case.
fn ending(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next()?;
    let (stem, ending) = last.rsplit_once('.')?;
    (!stem.is_empty() && !ending.is_empty() && ending.len() <= 12).then(|| ending.to_ascii_lowercase())
}

fn is_known_ending(name: &str) -> bool {
    by_name(name).is_some()
}

/// What a name says.
fn by_name(name: &str) -> Option<Format> {
    if let Some(language) = languages::by_whole_name(name) {
        return Some(Format::Code(language));
    }
    let ending = ending(name)?;
    Some(match ending.as_str() {
        "txt" | "text" | "log" | "asc" | "rst" | "adoc" | "asciidoc" | "org" | "srt" | "vtt" => Format::Text,
        "md" | "markdown" | "mdown" | "mkd" | "mdx" | "qmd" | "rmd" => Format::Markdown,
        "html" | "htm" | "xhtml" | "shtml" => Format::Html,
        "pdf" => Format::Pdf,
        "docx" | "docm" | "dotx" | "dotm" => Format::Docx,
        "pptx" | "pptm" | "ppsx" | "ppsm" | "potx" | "potm" => Format::Pptx,
        "xlsx" | "xlsm" | "xltx" | "xltm" => Format::Xlsx,
        "xlsb" => Format::Xlsb,
        "xls" | "xlt" => Format::Xls,
        "ods" | "ots" => Format::Ods,
        "odt" | "ott" | "odm" => Format::Odt,
        "odp" | "otp" => Format::Odp,
        "epub" => Format::Epub,
        "rtf" => Format::Rtf,
        "eml" => Format::Eml,
        "mbox" | "mbx" => Format::Mbox,
        "msg" => Format::Msg,
        "csv" | "tsv" | "tab" | "psv" => Format::Csv,
        "json" | "geojson" | "jsonld" | "webmanifest" => Format::Json,
        "jsonl" | "ndjson" => Format::JsonLines,
        "ipynb" => Format::Notebook,
        "xml" | "xsd" | "rss" | "atom" | "xsl" | "xslt" | "svg" | "opml" | "dita" | "docbook" => Format::Xml,
        other => Format::Code(languages::by_ending(other)?),
    })
}

/// What a media type says.
fn by_media_type(media_type: &str) -> Option<Format> {
    let essence = media_type.split(';').next()?.trim().to_ascii_lowercase();
    Some(match essence.as_str() {
        "text/html" | "application/xhtml+xml" => Format::Html,
        "text/markdown" | "text/x-markdown" => Format::Markdown,
        "text/csv" | "text/tab-separated-values" | "application/csv" => Format::Csv,
        "application/json" | "text/json" => Format::Json,
        "application/jsonl" | "application/x-ndjson" | "application/jsonlines" => Format::JsonLines,
        "application/x-ipynb+json" => Format::Notebook,
        "application/xml" | "text/xml" => Format::Xml,
        "message/rfc822" => Format::Eml,
        "application/mbox" => Format::Mbox,
        other if other.ends_with("+xml") => Format::Xml,
        other if other.ends_with("+json") => Format::Json,
        _ => return None,
    })
}

fn look_at_zip(bytes: &[u8], limits: &Limits) -> Seen {
    let mut archive = match Archive::open(bytes, limits) {
        Ok(archive) => archive,
        Err(error) => return Seen::Failed(error),
    };
    let media_type = archive.read("mimetype").ok().flatten().unwrap_or_default();
    let media_type = String::from_utf8_lossy(&media_type[..media_type.len().min(200)]).trim().to_owned();
    let open_document = media_type
        .strip_prefix("application/vnd.oasis.opendocument.")
        .or_else(|| media_type.strip_prefix("application/vnd.sun.xml."));
    if let Some(rest) = open_document {
        return match rest.split('-').next().unwrap_or(rest) {
            "text" | "writer" => Seen::Format(Format::Odt),
            "spreadsheet" | "calc" => Seen::Format(Format::Ods),
            "presentation" | "impress" => Seen::Format(Format::Odp),
            other => Seen::Unsupported(format!("OpenDocument {other}")),
        };
    }
    if media_type == "application/epub+zip"
        || archive.has("META-INF/container.xml") && archive.has_ending(".opf")
    {
        return Seen::Format(Format::Epub);
    }
    if let Ok(Some(types)) = archive.read("[Content_Types].xml") {
        let types = decode::decode(&types, None).map(|decoded| decoded.text).unwrap_or_default();
        let says = |words: &[&str]| words.iter().any(|word| types.contains(word));
        if says(&[
            "wordprocessingml.document.main",
            "wordprocessingml.template.main",
            "ms-word.document.macro",
            "ms-word.template.macro",
        ]) {
            return Seen::Format(Format::Docx);
        }
        if says(&[
            "presentationml.presentation.main",
            "presentationml.slideshow.main",
            "presentationml.template.main",
            "ms-powerpoint.presentation.macro",
            "ms-powerpoint.slideshow.macro",
            "ms-powerpoint.template.macro",
        ]) {
            return Seen::Format(Format::Pptx);
        }
        if says(&["ms-excel.sheet.binary"]) {
            return Seen::Format(Format::Xlsb);
        }
        if says(&[
            "spreadsheetml.sheet.main",
            "spreadsheetml.template.main",
            "ms-excel.sheet.macro",
            "ms-excel.template.macro",
            "ms-excel.addin.macro",
        ]) {
            return Seen::Format(Format::Xlsx);
        }
        if says(&["ms-visio", "vnd.ms-visio"]) {
            return Seen::Unsupported("Visio drawing".to_owned());
        }
    }
    // Damaged or hand-made packages without their list of types.
    for (part, format) in [
        ("word/document.xml", Format::Docx),
        ("ppt/presentation.xml", Format::Pptx),
        ("xl/workbook.xml", Format::Xlsx),
        ("xl/workbook.bin", Format::Xlsb),
    ] {
        if archive.has(part) {
            return Seen::Format(format);
        }
    }
    if archive.has("content.xml") && (archive.has("META-INF/manifest.xml") || archive.has("meta.xml")) {
        return Seen::Format(Format::Odt);
    }
    if archive.has_ending(".iwa") {
        return Seen::Unsupported("iWork document".to_owned());
    }
    if archive.has("META-INF/MANIFEST.MF") {
        return Seen::Unsupported("Java archive".to_owned());
    }
    Seen::Unsupported("zip archive".to_owned())
}

fn look_at_compound_file(bytes: &[u8]) -> Seen {
    let file = match cfb::CompoundFile::open(std::io::Cursor::new(bytes)) {
        Ok(file) => file,
        Err(error) => {
            let reason = format!("its compound file cannot be opened ({error})");
            return Seen::Failed(ExtractError::Damaged { reason });
        }
    };
    let has = |path: &str| file.exists(path);
    if has("/EncryptedPackage") {
        Seen::Locked
    } else if has("/__properties_version1.0") {
        Seen::Format(Format::Msg)
    } else if has("/Workbook") || has("/Book") {
        Seen::Format(Format::Xls)
    } else if has("/WordDocument") {
        Seen::Unsupported("Word 97-2003 document; save it as .docx".to_owned())
    } else if has("/PowerPoint Document") {
        Seen::Unsupported("PowerPoint 97-2003 slides; save them as .pptx".to_owned())
    } else if has("/VisioDocument") {
        Seen::Unsupported("Visio drawing".to_owned())
    } else {
        Seen::Unsupported("compound file of an unknown program".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, bytes: &[u8], kind: Option<Kind>) {
        assert_eq!(detect_kind(name, None, bytes), kind, "{name}");
    }

    #[test]
    fn content_decides_before_the_name() {
        check("a.txt", b"%PDF-1.7\n", Some(Kind::Pdf));
        check("a.docx", b"{\\rtf1 hello}", Some(Kind::Rtf));
        check("a.txt", b"<!DOCTYPE html><html><body>hi</body></html>", Some(Kind::Html));
        check("a", b"<?xml version=\"1.0\"?><a/>", Some(Kind::Xml));
        check("a.pdf", b"just words", Some(Kind::Text));
        check("a.txt", b"\x89PNG\r\n\x1a\n0000", None);
        check("a.xls", b"name\tsize\nx\t1\n", Some(Kind::Text));
    }

    #[test]
    fn names_tell_texts_apart() {
        check("README.md", b"<h1 align=center>Tool</h1>\n\nText", Some(Kind::Markdown));
        check("a.py", b"import os\n", Some(Kind::Code));
        check("Dockerfile", b"FROM scratch\n", Some(Kind::Code));
        check("page.php", b"<!DOCTYPE html>\n<?php echo 1; ?>", Some(Kind::Code));
        check("a.csv", b"a,b\n1,2\n", Some(Kind::Csv));
        check("a.json", b"{\"cells\": [], \"nbformat\": 4}", Some(Kind::Notebook));
        check("unknown", b"{\"a\": 1}", Some(Kind::Json));
    }

    #[test]
    fn mails_are_known_by_their_headers() {
        let mail = b"Received: by host\nFrom: a@example.org\nSubject: hi\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\nbody";
        check("message", mail, Some(Kind::Email));
        check("message.txt", mail, Some(Kind::Email));
        check(
            "box",
            b"From a@example.org Mon Jan  1 00:00:00 2024\nFrom: a@example.org\nSubject: hi\n\nbody",
            Some(Kind::Email),
        );
        check("note", b"From: the team\n\nWe met.", Some(Kind::Text));
    }

    #[test]
    fn a_name_that_says_another_kind_is_noted() {
        assert!(mismatch("a.docx", Format::Pdf).unwrap().contains("`docx`"));
        assert_eq!(mismatch("a.xlsm", Format::Xlsx), None);
        assert_eq!(mismatch("a", Format::Pdf), None);
    }

    #[test]
    fn media_types_help_where_no_name_does() {
        assert_eq!(detect_kind("export", Some("text/csv; charset=utf-8"), b"a,b\n1,2\n"), Some(Kind::Csv));
    }
}
