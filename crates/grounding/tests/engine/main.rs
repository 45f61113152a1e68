//! Engines of indexes: what they answer, that they answer the same, and what they do with what is broken.

mod corpus;
mod embedded;
mod filters;
mod server;
mod stand_in;
