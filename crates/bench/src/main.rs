//! Benchmarks of the real binary. `flowbench-bench engine [--binary PATH] [--format json]`.
//!
//! Everything is measured on the outside, as a user would: processes, wall time, peak memory. The last line on stdout
//! is one JSON object with all figures; with `--format json` it is the only one. Nothing here fails on a slow machine:
//! figures are reported, with the target beside them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports to a terminal")]

mod engine;
mod process;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value_of = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let is_json = value_of("--format").as_deref() == Some("json");
    let binary = value_of("--binary").map_or_else(beside_this, PathBuf::from);
    if !binary.is_file() {
        eprintln!("error: `{}` does not exist", binary.display());
        eprintln!("hint: cargo build --release -p flowbench-cli");
        return ExitCode::from(2);
    }
    match arguments.first().map(String::as_str) {
        Some("engine") => match engine::run(&binary, is_json) {
            Ok(figures) => {
                println!("{figures}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        other => {
            eprintln!("error: there is no benchmark `{}`", other.unwrap_or_default());
            eprintln!("hint: known benchmarks: engine");
            ExitCode::from(2)
        }
    }
}

/// The command line that was built together with this program.
fn beside_this() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    this.with_file_name(format!("flowbench{}", std::env::consts::EXE_SUFFIX))
}
