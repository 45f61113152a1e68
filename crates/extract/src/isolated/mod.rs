//! Reading documents in other processes: one that crashes, hangs or eats memory costs that document and nothing else.
//!
//! [`IsolatedExtractor`] keeps a few warm workers and hands each one document at a time. A worker is our own program
//! started with a hidden command that calls [`serve`]. It confines itself before it reads anything (memory, no new
//! files, no network), starts without the environment of its parent, and ends with it.

mod frames;
mod in_process;
mod platform;
mod pool;
mod serve;
mod worker;

pub use in_process::InProcess;
pub use pool::IsolatedExtractor;
pub use serve::{serve, serve_with};
pub use worker::WorkerCommand;
