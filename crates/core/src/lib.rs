//! Flows, values, checks, plans, events, metrics and the ports that adapters implement.
//!
//! The bottom room: everything else speaks in its words. It knows no files, network, async runtime or UI,
//! and reads no clock and no random source. A flow passes through it as
//! [`FlowDraft`](flow::FlowDraft) (what a file says, may be broken) →
//! [`CheckedFlow`](check::CheckedFlow) (names resolved, no cycles) → [`Plan`](plan::Plan) (order and inputs);
//! only a `Plan` can be run.

pub mod chat;
pub mod check;
pub mod checked;
pub mod connection;
pub mod edit;
pub mod event;
pub mod facts;
pub mod finding;
pub mod flow;
pub mod ids;
pub mod metrics;
pub mod plan;
pub mod ports;
pub mod reference;
pub mod value;

pub use serde_json::{Map, Value};
