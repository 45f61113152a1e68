//! What tests share: a sandbox workspace, a loopback model server, the real binary.

pub mod model_server;

pub use crate::model_server::{ModelServer, Received, Script};
