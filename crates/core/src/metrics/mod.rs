//! Numbers that say how well something did, as pure functions: [`ranking`] scores rankings against judgements,
//! [`interval`] says how far a mean can be trusted. What is measured, and when, is not decided here.

pub mod interval;
pub mod ranking;
