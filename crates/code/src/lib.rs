//! Code nodes: Python in warm workers, JavaScript in QuickJS, and what their sources declare.
//!
//! Three ways in: [`signature`] reads what a Python source declares without importing it; [`CodeNodes`] runs
//! calls for the engine (the port [`CodeRunner`](flowbench_core::ports::CodeRunner)); [`environment`] makes
//! a flow's Python environment when asked to. This room knows nothing of how a flow is planned or of
//! providers: when code wants a model, it asks the host that came with the call. Whether code may run at
//! all is decided before a call reaches this room.

pub mod environment;
pub mod interpreter;
mod platform;
pub mod python;
pub mod runner;
pub mod script;
pub mod signature;

pub use runner::CodeNodes;
