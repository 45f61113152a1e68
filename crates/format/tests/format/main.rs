//! What the format crate promises of whole files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod corpus;
mod edit_properties;
mod edits;
mod formats;
