//! Chat and embedding providers over the one outbound client, and the built-in stand-ins. Knows no flows.

pub mod builtin;
