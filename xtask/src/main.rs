//! Developer commands: `cargo xtask COMMAND`.
//!
//! Each command does its own set-up, so that a fresh clone on a bare machine needs nothing but Rust and Node.
//! The list printed by `cargo xtask` is the documentation. Nothing here is part of the product.

mod app;
mod bench;
mod demo;
mod dependencies;
mod licence;
mod links;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

/// What went wrong, already in words for the person at the terminal.
pub type Outcome<T = ()> = Result<T, String>;

const HELP: &str = "\
cargo xtask COMMAND

  demo                                      build the command line, ask a flow about real documents
  test [--only unit|product|ui|window]      everything that CI checks, or one part of it
  bench NAME [--format json]                measure; without NAME: list what can be measured
  reference embeddings FILE                 compare with reference values; 3 when one is out of tolerance
  app                                       build and open the desktop workbench
  tidy                                      only the fast checks of the source tree
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let outcome = match args.first().map(String::as_str) {
        Some("demo") => demo::run(rest),
        Some("test") => test::run(rest),
        Some("bench") => bench::run(rest),
        Some("reference") => return bench::reference(rest),
        Some("app") => app::run(rest),
        Some("tidy") => tidy::run(),
        None | Some("help" | "-h" | "--help") => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("error: there is no developer command `{other}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
