//! Lossless readers and writers of the files a workspace holds. Knows nothing of how anything runs.
//!
//! Bytes become values with places and findings ([`yaml`]), values become the typed view of each format (one
//! module each), and edits go back into the bytes ([`flow_document`], [`layout`]). Reading never fails on what a
//! file says: what is wrong are findings, and what could be understood comes with them.
//!
//! ```
//! use flowbench_core::edit::EditOperation;
//! use flowbench_format::flow_document::FlowDocument;
//!
//! let file = b"nodes:\n- name: ask  # the model\n  type: llm\noutputs:\n  a: {reference: \"${ask.output}\"}\n";
//! let mut flow = FlowDocument::parse(file, Some("flow.dag.yaml"));
//! let rename = EditOperation::RenameNode { from: "ask".into(), to: "answer".into() };
//! let applied = flow.apply(&rename)?;
//! assert!(flow.text().contains("- name: answer  # the model"));
//! assert!(flow.text().contains("${answer.output}"));
//! flow.apply(&applied.inverse)?;
//! assert_eq!(flow.bytes(), file);
//! # Ok::<(), flowbench_core::edit::EditError>(())
//! ```

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
