//! Running other programs: always from the repository root, always without standard input, always shown first.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// The repository root: the folder above `xtask`.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder cargo builds into.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// One command line to run.
pub struct Call {
    command: Command,
    shown: String,
}

impl Call {
    /// `program` with `args`, in the repository root.
    pub fn new<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Self {
        let program = program.as_ref();
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut shown = program.to_string_lossy().into_owned();
        for arg in &args {
            let arg = arg.to_string_lossy();
            shown.push(' ');
            if arg.contains([' ', '"']) || arg.is_empty() {
                shown.push_str(&format!("'{arg}'"));
            } else {
                shown.push_str(&arg);
            }
        }
        let mut command = Command::new(program);
        command.args(&args).current_dir(root()).stdin(Stdio::null());
        // Cargo tells its children which package xtask is; a nested cargo must not believe it is that package.
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_MANIFEST_PATH"] {
            command.env_remove(name);
        }
        Self { command, shown }
    }

    /// The cargo that runs us.
    pub fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let mut call = Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args);
        if let Some(rest) = call.shown.split_once(' ').map(|(_, rest)| rest.to_owned()) {
            call.shown = format!("cargo {rest}");
        }
        call
    }

    /// A shell's worth of words, split at spaces.
    pub fn words(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default();
        match program {
            "cargo" => Self::cargo(words),
            _ => Self::new(program, words),
        }
    }

    /// Runs in a folder below the repository root.
    pub fn within(mut self, folder: &str) -> Self {
        self.command.current_dir(root().join(folder));
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives the person's terminal to the program, which otherwise has no standard input.
    pub fn interactive(mut self) -> Self {
        self.command.stdin(Stdio::inherit());
        self
    }

    /// Shows the command line, runs it with its output passed through, and fails if it does.
    pub fn run(mut self) -> Outcome {
        println!("$ {}", self.shown);
        let status =
            self.command.status().map_err(|error| format!("cannot run `{}`: {error}", self.shown))?;
        if status.success() {
            return Ok(());
        }
        Err(match status.code() {
            Some(code) => format!("`{}` ended with code {code}", self.shown),
            None => format!("`{}` was ended by a signal", self.shown),
        })
    }

    /// Runs it quietly and returns what it wrote to standard output; standard error is passed through.
    pub fn output(mut self) -> Outcome<String> {
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot run `{}`: {error}", self.shown))?;
        if !output.status.success() {
            return Err(format!("`{}` failed ({})", self.shown, output.status));
        }
        String::from_utf8(output.stdout)
            .map_err(|_| format!("`{}` wrote something that is not text", self.shown))
    }

    /// True if it can be started and ends well; says nothing.
    pub fn succeeds(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

/// The file that `name` would start, looked up in PATH.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
