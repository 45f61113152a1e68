//! Code nodes: what their sources declare.

pub mod signature;
