//! Chooses the reader of a document.

use crate::decode;
use crate::document::{ExtractRequest, Extracted, Limits};
use crate::error::ExtractError;
use crate::kind::{self, Format, Seen};
use crate::ooxml::{docx, pptx};
use crate::{epub, html, markdown, odf, pdf, sheet, text};

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
    let format = match kind::look(&request.name, request.media_type.as_deref(), bytes, limits) {
        Seen::Format(format) => format,
        Seen::Locked => return Err(ExtractError::NeedsPassword),
        Seen::Unsupported(found) => return Err(ExtractError::Unsupported { found }),
        Seen::Damaged(reason) => return Err(ExtractError::Damaged { reason }),
    };
    let mut out = read(format, request, limits)?;
    if let Some(message) = kind::mismatch(&request.name, format) {
        out.notes.push(crate::Note { code: "mismatch".to_owned(), message, page: None });
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
        other => Err(ExtractError::Unsupported { found: format!("{:?}", other.kind()) }),
    }
}
