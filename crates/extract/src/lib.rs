//! Text of documents: from the bytes of a file to its text with pages, headings and blocks. Knows neither where bytes
//! come from nor what becomes of the text.
//!
//! One document passes through it as [`ExtractRequest`] → its [`Kind`], found by content before name →
//! [`Extracted`]. Documents are hostile input: [`Limits`] bound size, depth, time and memory, and an
//! [`Extractor`] that works in another process turns a crash, a hang or hunger into an [`ExtractError`] of that one
//! document.

mod archive;
mod builder;
mod code;
mod dates;
mod decode;
mod dispatch;
pub mod document;
mod email;
mod epub;
pub mod error;
#[cfg(test)]
mod hostile_tests;
mod html;
pub mod isolated;
mod json;
mod kind;
mod markdown;
mod notebook;
mod odf;
mod ooxml;
mod pdf;
mod rows;
mod rtf;
mod sheet;
mod table;
mod text;
mod xml;
mod xml_text;

pub use builder::debug_check;
pub use dispatch::extract;
pub use document::{
    Attachment, Block, BlockKind, ExtractRequest, Extracted, Heading, Kind, Limits, Note, Page,
};
pub use error::ExtractError;
pub use kind::{detect_kind, kind_by_name};

/// Part of every key under which extracted text is kept: raise it when the same bytes give another text.
pub const VERSION: u32 = 1;

/// Turns the bytes of a document into text.
pub trait Extractor: Send + Sync {
    /// Extracts one document; blocks until it is done or broke a limit.
    fn extract(&self, request: &ExtractRequest) -> Result<Extracted, ExtractError>;
}
