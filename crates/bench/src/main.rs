//! Benchmarks of the real binary, and comparisons with reference values.
//!
//! `engine`, `index`, `retrieval --collection DIR [--model M]`, `reference KIND FILE`; all take `[--binary PATH]
//! [--format json]`.
//!
//! Everything is measured on the outside, as a user would: processes, wall time, peak memory. The last line on stdout
//! is one JSON object with all figures; with `--format json` it is the only one. Nothing here fails on a slow machine:
//! figures are reported, with the target beside them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports to a terminal")]

mod engine;
mod process;
mod reference;
mod retrieval;
mod workspace;

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
    let outcome = match arguments.first().map(String::as_str) {
        Some("engine") => engine::run(&binary, is_json).map(|figures| (figures.to_string(), true)),
        Some("retrieval") => match value_of("--collection") {
            Some(collection) => {
                let model = value_of("--model");
                retrieval::run(&binary, collection.as_ref(), model.as_deref())
                    .map(|figures| (figures.to_string(), true))
            }
            None => return wrong_use("`retrieval` needs `--collection DIR`", "a folder in BEIR's layout"),
        },
        Some("reference") => match (arguments.get(1), arguments.get(2)) {
            (Some(kind), Some(file)) => {
                let model = value_of("--model");
                reference::run(&binary, kind, file.as_ref(), model.as_deref())
                    .map(|(figures, is_good)| (figures.to_string(), is_good))
            }
            _ => return wrong_use("`reference` needs KIND and FILE", "known kinds: embeddings"),
        },
        other => {
            let message = format!("there is no benchmark `{}`", other.unwrap_or_default());
            return wrong_use(&message, "known benchmarks: engine, index, retrieval");
        }
    };
    match outcome {
        Ok((figures, is_good)) => {
            println!("{figures}");
            if is_good { ExitCode::SUCCESS } else { ExitCode::from(GATE_FAILED) }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Exit code of values that are out of tolerance; the product's own for a gate that failed.
const GATE_FAILED: u8 = 3;

fn wrong_use(message: &str, hint: &str) -> ExitCode {
    eprintln!("error: {message}");
    eprintln!("hint: {hint}");
    ExitCode::from(2)
}

/// The command line that was built together with this program.
fn beside_this() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    this.with_file_name(format!("flowbench{}", std::env::consts::EXE_SUFFIX))
}
