//! What tests share: a sandbox workspace, a loopback model server, the real binary.

pub mod binary;
pub mod model_server;
pub mod sandbox;

pub use crate::model_server::{ModelServer, Received, Script};
pub use crate::sandbox::{Invocation, Output, Running, Sandbox};
