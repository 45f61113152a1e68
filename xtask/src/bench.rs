//! `cargo xtask bench NAME`: a release build of the bench program, with its arguments passed through.

use std::process::ExitCode;

use crate::Outcome;
use crate::shell::{Call, target_dir};

/// `cargo xtask reference KIND FILE`: ends with the code of the bench program, 3 for values out of tolerance.
pub fn reference(args: &[String]) -> ExitCode {
    let build = Call::words("cargo build --quiet --release -p flowbench-cli -p flowbench-bench").run();
    if let Err(message) = build {
        eprintln!("error: {message}");
        return ExitCode::FAILURE;
    }
    let program =
        target_dir().join("release").join(format!("flowbench-bench{}", std::env::consts::EXE_SUFFIX));
    match std::process::Command::new(&program).arg("reference").args(args).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: `{}`: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}

/// Runs one measurement; without a name the program says which it knows.
pub fn run(args: &[String]) -> Outcome {
    let mut line = vec!["run", "--quiet", "--release", "-p", "flowbench-bench", "--"];
    line.extend(args.iter().map(String::as_str));
    // The product's own binary is measured too, in new processes.
    Call::words("cargo build --quiet --release -p flowbench-cli").run()?;
    Call::cargo(line).run()
}
