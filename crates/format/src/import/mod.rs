//! Importers: what a foreign project does here, told as a report. Nothing is executed and nothing written.

pub mod promptflow;
