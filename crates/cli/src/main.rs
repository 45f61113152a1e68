//! The command line of Flowbench.
fn main() {}
