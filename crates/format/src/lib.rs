//! Lossless readers and writers of the files a workspace holds. Knows nothing of how anything runs.

pub mod connections;
pub mod data;
pub mod env_file;
pub mod findings;
pub mod flex;
pub mod flow_document;
pub mod flow_file;
pub mod import;
pub mod layout;
pub mod prompty;
pub mod read;
pub mod run_file;
pub mod schemas;
pub mod workspace;
pub mod yaml;

pub use flow_file::{FlowFile, load_flow, parse_flow};
