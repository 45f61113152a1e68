//! Executes a plan: scheduling, cache, retries, limits, budget, cancellation, recordings, one event stream.
//!
//! Meets models, code, requests and indexes only through the ports of the core; never prints and never stores.
//! A line goes through [`line::run_line`]: each node starts when all it waits for is done, its calls go through
//! [`calls::Calls`] (limiter, retries, budget, cost, recording), and every step is told on one numbered stream
//! ([`events::EventHub`]). Many lines go through [`batch::run_batch`]. Cancelling is dropping the future.

pub mod batch;
pub mod budget;
pub mod cache;
pub mod calls;
pub mod condition;
pub mod digest;
pub mod events;
pub mod failure;
#[cfg(test)]
mod fakes;
pub mod limiter;
pub mod line;
mod nodes;
pub mod prepared;
pub mod recording;

pub use nodes::{FlowLoader, is_native_tool};
