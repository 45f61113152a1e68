//! What goes in and what comes out.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The bytes of one document and what is known of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExtractRequest {
    /// File name or the last part of an address; a hint only, content decides.
    pub name: String,
    /// Media type that a server or an e-mail claimed; a hint only.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Password to open it with.
    #[serde(default)]
    pub password: Option<String>,
    /// Bytes.
    #[serde(with = "bytes_as_text")]
    pub bytes: Vec<u8>,
}

/// What a document is, as its content says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Plain text.
    Text,
    /// Markdown.
    Markdown,
    /// HTML.
    Html,
    /// PDF.
    Pdf,
    /// Word processing: `.docx`.
    Docx,
    /// Slides: `.pptx`.
    Pptx,
    /// Spreadsheets: `.xlsx`, `.xls`, `.xlsb`, `.ods`.
    Spreadsheet,
    /// OpenDocument text.
    Odt,
    /// OpenDocument slides.
    Odp,
    /// E-book.
    Epub,
    /// Rich text.
    Rtf,
    /// E-mail: `.eml`, `.mbox`, `.msg`.
    Email,
    /// Rows of text: `.csv`, `.tsv`.
    Csv,
    /// JSON or lines of it.
    Json,
    /// XML of no known kind.
    Xml,
    /// Jupyter notebook.
    Notebook,
    /// Source code.
    Code,
}

/// Bounds for one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest document.
    pub max_input_bytes: u64,
    /// Most bytes out of archives inside it (zip parts, streams), all together.
    pub max_unpacked_bytes: u64,
    /// Most text that comes out; the rest is cut with a note.
    pub max_text_bytes: usize,
    /// Deepest nesting of anything.
    pub max_depth: usize,
    /// Most pages, sheets, slides or parts.
    pub max_parts: usize,
    /// Longest time in milliseconds; held by extractors in another process.
    pub max_millis: u64,
    /// Most memory; held by extractors in another process.
    pub max_memory_bytes: u64,
}

impl Default for Limits {
    /// What a person's own documents stay below: a scanned book of 256 MB, a text of 64 MB (fifty times War and Peace).
    fn default() -> Self {
        Self {
            max_input_bytes: 256 << 20,
            max_unpacked_bytes: 1 << 30,
            max_text_bytes: 64 << 20,
            max_depth: 256,
            max_parts: 20_000,
            max_millis: 60_000,
            max_memory_bytes: 2 << 30,
        }
    }
}

/// The text of one document. All ranges are bytes of `text`, on character boundaries, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Extracted {
    /// What it was.
    pub kind: Option<Kind>,
    /// Its text: UTF-8, lines end with a line feed, blocks are apart by a blank line, tables are Markdown tables,
    /// headings are lines of their own without marks (except in Markdown, whose text is kept as it is).
    pub text: String,
    /// Pages, slides or sheets, where it has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<Page>,
    /// Headings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headings: Vec<Heading>,
    /// Blocks; text outside all of them is separators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// `title`, `author`, `date` (ISO 8601), `language`, `subject`, `from`, `to` …, where the document says.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Documents inside it, which are extracted on their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// What the reader of the text should know: pages without text, damage that was repaired, text that was cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// A page, slide or sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// One-based.
    pub number: u32,
    /// Name of a sheet, title of a slide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its text.
    pub range: Range<usize>,
}

/// A heading; its section goes on until the next of the same or a higher level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// 1 is the highest.
    pub level: u8,
    /// Its words, without marks.
    pub title: String,
    /// Its line in the text.
    pub range: Range<usize>,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Heading line.
    Heading,
    /// Running text.
    Paragraph,
    /// List.
    List,
    /// Table.
    Table,
    /// Source code or preformatted text.
    Code,
    /// Quotation.
    Quote,
    /// Repeated header, footer or page number that the document marks as such.
    Furniture,
}

/// A block of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Where.
    pub range: Range<usize>,
}

/// A document inside a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// Name.
    pub name: String,
    /// Media type, where told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Bytes.
    #[serde(with = "bytes_as_text")]
    pub bytes: Vec<u8>,
}

/// Something the reader of the text should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Stable word: `no-text` (a scanned page), `repaired`, `cut`, `encoding`, `skipped-part`, `mismatch` (the name says another kind).
    pub code: String,
    /// One sentence.
    pub message: String,
    /// One-based page, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
}

/// Bytes in JSON as base64.
mod bytes_as_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
