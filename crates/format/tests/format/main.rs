//! What the format crate promises of whole files.

mod corpus;
mod edit_properties;
mod edits;
mod formats;
