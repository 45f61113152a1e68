//! Code nodes from the outside: real Python processes and the real script engine, no network, no sleeps.

#![expect(clippy::unwrap_used, reason = "a helper that fails shall fail its test")]

mod bench;
mod environment;
mod limits;
mod python;
mod script;
mod shim;
