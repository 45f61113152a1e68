//! The command line of Flowbench: arguments, printing and exit codes over the use cases of `api`.
//!
//! Data goes to stdout and everything else to stderr. No decision that a user would call a feature is made here.

mod arguments;
mod commands;
mod printer;

use std::process::ExitCode;

use clap::Parser;
use flowbench_api::error::{ApiError, exit};

use arguments::{Arguments, Command};
use printer::Printer;

fn main() -> ExitCode {
    // Clap prints its own errors and ends with 2, the code of wrong use.
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Extract) {
        // A reader of documents serves its parent and knows nothing else of this program.
        return flowbench_api::extraction::serve();
    }
    let printer = Printer::new(&arguments.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = ApiError::could_not("internal", format!("cannot start the runtime: {error}"));
            return ExitCode::from(printer.error(&error));
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            biased;
            outcome = dispatch(&arguments, &printer) => match outcome {
                Ok(code) => code,
                Err(error) => printer.error(&error),
            },
            _ = tokio::signal::ctrl_c() => {
                printer.interrupted();
                exit::INTERRUPTED
            }
        }
    });
    // Blocking work that was abandoned must not keep the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn dispatch(arguments: &Arguments, printer: &Printer) -> Result<u8, ApiError> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Check(check) => commands::check::run(global, check, printer),
        Command::Run(run) => Box::pin(commands::run::run(global, run, printer)).await,
        Command::Batch(batch) => Box::pin(commands::batch::run(global, batch, printer)).await,
        Command::Runs(runs) => commands::runs::run(global, runs, printer),
        Command::Import(import) => commands::import::run(global, import, printer),
        Command::New(new) => commands::new::run(global, new, printer),
        Command::Index(index) => Box::pin(commands::index::run(global, index, printer)).await,
        Command::Models(models) => Box::pin(commands::models::run(global, models, printer)).await,
        Command::Connections(connections) => {
            Box::pin(commands::connections::run(global, connections, printer)).await
        }
        Command::Trust(trust) => commands::trust::run(global, trust, printer),
        Command::Doctor => commands::doctor::run(global, printer),
        // Answered before anything else was started.
        Command::Extract => Ok(exit::DONE),
        Command::Completions { shell } => commands::shell::completions(*shell),
        Command::Man { folder } => commands::shell::man(folder, printer),
    }
}
