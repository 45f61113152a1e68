//! How documents are read: in worker processes of this same program, so that a crash costs one document.

use std::process::ExitCode;
use std::sync::Arc;

use flowbench_extract::isolated::{self, InProcess, IsolatedExtractor, WorkerCommand};
use flowbench_extract::{Extractor, Limits};

/// The hidden command of a worker.
const COMMAND: &str = "__extract";

/// Serves as a worker until the parent closes our input.
pub fn serve() -> ExitCode {
    match isolated::serve(std::io::stdin(), std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Workers of this program; where it cannot find itself, documents are read in this process.
pub fn extractor() -> Arc<dyn Extractor> {
    let limits = Limits::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    match std::env::current_exe() {
        Ok(program) => {
            let command = WorkerCommand { program, args: vec![COMMAND.into()] };
            Arc::new(IsolatedExtractor::new(command, limits, workers))
        }
        Err(_) => Arc::new(InProcess { limits }),
    }
}
