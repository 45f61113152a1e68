//! `flowbench completions` and `flowbench man`.

use std::path::Path;

use clap::CommandFactory;
use flowbench_api::error::{ApiError, exit};

use crate::arguments::Arguments;
use crate::printer::Printer;

pub fn completions(shell: clap_complete::Shell) -> Result<u8, ApiError> {
    clap_complete::generate(shell, &mut Arguments::command(), "flowbench", &mut std::io::stdout().lock());
    Ok(exit::DONE)
}

pub fn man(folder: &Path, printer: &Printer) -> Result<u8, ApiError> {
    std::fs::create_dir_all(folder).map_err(|error| ApiError::file("create", folder, &error))?;
    clap_mangen::generate_to(Arguments::command(), folder)
        .map_err(|error| ApiError::file("write", folder, &error))?;
    printer.note(&format!("man pages are in `{}`", folder.display()));
    Ok(exit::DONE)
}
