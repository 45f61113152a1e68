//! Indexes of documents and retrieval with reasons. Knows no flows.
//!
//! One index passes through it as [`spec::IndexSpec`] (what `indexes/NAME.yaml` says) → chunks with vectors, which
//! `flowbench-corpus` makes → a generation in an [`engine::Engine`], built aside and swapped in whole → answers of
//! [`retrieve`].

pub mod build;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod freshness;
pub mod indexes;
pub mod lineage;
pub mod manifest;
pub mod place;
pub mod retrieve;
pub mod rewrite;
pub mod spec;
pub mod store;
