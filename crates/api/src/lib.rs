//! The use cases, and the only place that wires adapters to ports. Knows no Tauri, clap or HTTP framework.
//!
//! Both fronts call these functions and add only what is theirs. One run passes through [`run::run`]: the workspace is
//! opened ([`workspace::Workspace`]), the flow is read and checked ([`load`]), approved ([`approval`]), wired to the
//! outside ([`wiring`]), run by the engine, and kept in the history ([`history`]).

pub mod approval;
pub mod batch;
pub mod check;
pub mod clock;
pub mod connections;
pub mod doctor;
pub mod embedding;
pub mod error;
pub mod extraction;
pub mod files;
pub mod flex;
pub mod history;
pub mod import;
pub mod includes;
pub mod indexes;
pub mod load;
pub mod models;
pub mod new;
pub mod prompty;
pub mod recording;
pub mod run;
pub mod runs;
pub mod search;
pub mod settings;
pub mod trust;
pub mod wiring;
pub mod workspace;
