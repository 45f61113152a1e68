//! `cargo xtask bench NAME`: a release build of the bench program, with its arguments passed through.

use crate::Outcome;
use crate::shell::{Call, root};

/// Runs one measurement; without a name the program says which it knows.
pub fn run(args: &[String]) -> Outcome {
    if !root().join("crates/bench/Cargo.toml").is_file() {
        return Err("there is nothing to measure yet: `crates/bench` does not exist".into());
    }
    let mut line = vec!["run", "--quiet", "--release", "-p", "flowbench-bench", "--"];
    line.extend(args.iter().map(String::as_str));
    // The product's own binary is measured too, in new processes.
    Call::words("cargo build --quiet --release -p flowbench-cli").run()?;
    Call::cargo(line).run()
}
