//! Product-level tests.
