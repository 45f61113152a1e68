//! The desktop workbench: opens one window on a workspace and answers the page's commands.
//!
//! The workspace is the folder given as first argument, else the working directory. What the page can ask for is
//! in `commands.rs`; nothing here decides anything that a user would call a feature.

#![cfg_attr(all(windows, not(debug_assertions)), windows_subsystem = "windows")]

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use commands::OpenFolder;

fn main() -> ExitCode {
    let root = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let opened = tauri::Builder::default()
        .manage(OpenFolder::new(root))
        .invoke_handler(tauri::generate_handler![commands::list_flows])
        .run(context());
    match opened {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A program for the desktop has no other place to say that it has no window.
            #[expect(clippy::print_stderr, reason = "the window that would show it could not be opened")]
            {
                eprintln!("error: the window could not be opened: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Page, policy and capabilities, as built into the program.
#[expect(
    clippy::disallowed_methods,
    reason = "the generated code leaves no other way out where a check of its own fails"
)]
fn context() -> tauri::Context {
    tauri::generate_context!()
}
