//! From a draft to a flow whose names resolve.
