//! `cargo xtask bench NAME`: a release build of the bench program, with its arguments passed through.

use crate::Outcome;
use crate::shell::Call;

/// Runs one measurement; without a name the program says which it knows.
pub fn run(args: &[String]) -> Outcome {
    let mut line = vec!["run", "--quiet", "--release", "-p", "flowbench-bench", "--"];
    line.extend(args.iter().map(String::as_str));
    // The product's own binary is measured too, in new processes.
    Call::words("cargo build --quiet --release -p flowbench-cli").run()?;
    Call::cargo(line).run()
}
