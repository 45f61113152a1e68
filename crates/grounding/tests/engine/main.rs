//! Engines of indexes: what they answer, that they answer the same, and what they do with what is broken.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails the test that called it")]

mod corpus;
mod embedded;
mod filters;
mod server;
mod stand_in;
