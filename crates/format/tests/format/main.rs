//! What the format crate promises of whole files.

mod corpus;
