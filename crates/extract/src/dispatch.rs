//! Chooses the reader of a document.

use crate::decode;
use crate::document::{ExtractRequest, Extracted, Limits, Note};
use crate::error::ExtractError;
use crate::kind::{self, Format, Seen};
use crate::ooxml::{docx, pptx};
use crate::{code, email, epub, html, json, markdown, notebook, odf, pdf, rows, rtf, sheet, text, xml_text};

/// Extracts one document in this process. A reader may still hang or eat memory here; [`Limits::max_millis`] and
/// [`Limits::max_memory_bytes`] are held only by an extractor in another process.
pub fn extract(request: &ExtractRequest, limits: &Limits) -> Result<Extracted, ExtractError> {
    let bytes = &request.bytes;
    if bytes.len() as u64 > limits.max_input_bytes {
        return Err(ExtractError::TooLarge {
            what: format!("the document ({} bytes)", bytes.len()),
            limit: format!("{} bytes", limits.max_input_bytes),
        });
    }
    // The readers come from many hands; one that panics costs one document here as well.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look_and_read(request, limits)));
    result.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(ExtractError::Crashed { reason: said.unwrap_or_else(|| "it panicked".to_owned()) })
    })
}

fn look_and_read(request: &ExtractRequest, limits: &Limits) -> Result<Extracted, ExtractError> {
    let format = match kind::look(&request.name, request.media_type.as_deref(), &request.bytes, limits) {
        Seen::Format(format) => format,
        Seen::Locked => return Err(ExtractError::NeedsPassword),
        Seen::Unsupported(found) => return Err(ExtractError::Unsupported { found }),
        Seen::Failed(error) => return Err(error),
    };
    let mut out = read(format, request, limits)?;
    if out.text.is_empty() && !out.notes.iter().any(|note| note.code == "no-text") {
        let message = "the document has no text".to_owned();
        out.notes.push(Note { code: "no-text".to_owned(), message, page: None });
    }
    if let Some(message) = kind::mismatch(&request.name, format) {
        out.notes.push(Note { code: "mismatch".to_owned(), message, page: None });
    }
    Ok(out)
}

fn read(format: Format, request: &ExtractRequest, limits: &Limits) -> Result<Extracted, ExtractError> {
    let bytes = &request.bytes;
    let media_type = request.media_type.as_deref();
    let decoded = || {
        let label = media_type.and_then(html::charset_of);
        decode::decode(bytes, label.as_deref())
            .ok_or_else(|| ExtractError::Damaged { reason: "its bytes are no text".to_owned() })
    };
    match format {
        Format::Text => Ok(text::read(decoded()?, limits)),
        Format::Markdown => Ok(markdown::read(decoded()?, limits)),
        Format::Html => html::read(bytes, media_type, limits),
        Format::Docx => docx::read(bytes, limits),
        Format::Pptx => pptx::read(bytes, limits),
        Format::Pdf => pdf::extract(request, limits),
        Format::Xlsx | Format::Xlsb | Format::Xls => sheet::read(bytes, format, limits),
        Format::Ods | Format::Odt | Format::Odp => odf::read(bytes, format.kind(), limits),
        Format::Epub => epub::read(bytes, limits),
        Format::Rtf => rtf::read(bytes, limits),
        Format::Eml => email::read(bytes, limits),
        Format::Mbox => email::read_mailbox(bytes, limits),
        Format::Msg => email::msg::read(bytes, limits),
        Format::Csv => rows::read(decoded()?, limits),
        Format::Json => json::read(decoded()?, limits),
        Format::JsonLines => json::read_lines(decoded()?, limits),
        Format::Notebook => notebook::read(decoded()?, limits),
        Format::Code(language) => Ok(code::read(decoded()?, language, limits)),
        Format::Xml => xml_text::read(bytes, limits),
    }
}
