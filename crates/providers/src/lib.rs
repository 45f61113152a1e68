//! Chat and embedding providers over the one outbound client, and the built-in stand-ins. Knows no flows.
//!
//! A [`ProviderSet`] makes a model out of a connection. A request is written and an answer is read by the
//! provider's wire module (pure: JSON in, JSON out), and one driver does the talking, whole or streamed. Nothing
//! here retries; errors carry what the engine needs to decide. Unknown fields and fields of a wrong type are
//! ignored, the body is kept as it came.

pub mod builtin;
mod endpoint;
mod failure;
mod json;
mod limits;
mod place;
mod prices;
mod remote;
mod set;
mod stream;
mod vectors;
mod wire;

pub use crate::prices::{PriceError, PriceTable};
pub use crate::set::ProviderSet;
