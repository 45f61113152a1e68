//! Model records, downloads and verification. Knows no flows.
