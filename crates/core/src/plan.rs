//! The order in which a checked flow runs.
