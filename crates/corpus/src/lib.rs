//! From sources to chunks: fetching, cleaning, quality, cutting, in content-addressed layers. Knows no index.
//!
//! One document passes through it as [`source::Entry`] (a source lists it) → [`source::Fetched`] (its bytes, layer one)
//! → [`flowbench_extract::Extracted`] → [`clean::Cleaned`] (layer two) → [`chunk::Chunk`]s (layer three, where their
//! vectors are kept too). Every step is a pure function of digests and settings, so its result is kept in
//! [`layers::Layers`] and found again after a crash, an edit of another document, or a change of a later setting.

pub mod chunk;
pub mod clean;
pub mod layers;
pub mod quality;
pub mod source;
