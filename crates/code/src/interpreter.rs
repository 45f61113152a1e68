//! Finding a Python that can run nodes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;

/// The oldest version that nodes run on.
pub const OLDEST: (u32, u32) = (3, 9);
/// The variable that names the interpreter to use.
pub const VARIABLE: &str = "FLOWBENCH_PYTHON";
const PROBE: &str = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)";
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// A Python that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Its own path, behind any launcher.
    pub path: PathBuf,
    /// Major and minor version.
    pub version: (u32, u32),
}

/// No Python to run nodes with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InterpreterError {
    /// The one that was asked for does not do.
    #[error("Python `{path}` cannot be used: {reason}")]
    Unusable {
        /// As it was named.
        path: String,
        /// Why.
        reason: String,
    },
    /// None was found.
    #[error("no Python {}.{} or newer was found (tried {tried})", OLDEST.0, OLDEST.1)]
    NotFound {
        /// What was tried.
        tried: String,
    },
}

impl InterpreterError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Unusable { .. } => format!("name a working interpreter in `{VARIABLE}`, or leave it unset"),
            Self::NotFound { .. } => {
                format!("install Python (`apt-get install python3 python3-venv`) or name one in `{VARIABLE}`")
            }
        }
    }
}

/// Finds an interpreter: the one asked for, else that of `FLOWBENCH_PYTHON`, else `python3`, else `python`.
pub async fn find(asked_for: Option<&Path>) -> Result<Interpreter, InterpreterError> {
    let from_variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let named = asked_for.map(|path| path.as_os_str().to_owned()).or(from_variable);
    if let Some(path) = named {
        return probe(&path).await.map_err(|reason| InterpreterError::Unusable {
            path: path.to_string_lossy().into_owned(),
            reason,
        });
    }
    for name in ["python3", "python"] {
        if let Ok(found) = probe(&OsString::from(name)).await {
            return Ok(found);
        }
    }
    Err(InterpreterError::NotFound { tried: "`python3`, `python`".to_owned() })
}

async fn probe(program: &OsString) -> Result<Interpreter, String> {
    let mut command = Command::new(program);
    command.args(["-c", PROBE]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PROBE_TIMEOUT, command.output())
        .await
        .map_err(|_| "it does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut fields = text.trim().splitn(3, ' ');
    let (Some(Ok(major)), Some(Ok(minor))) = (fields.next().map(str::parse), fields.next().map(str::parse))
    else {
        return Err("it is no Python".to_owned());
    };
    let version = (major, minor);
    if version < OLDEST {
        return Err(format!("version {major}.{minor} is older than {}.{}", OLDEST.0, OLDEST.1));
    }
    let path = fields.next().filter(|path| !path.is_empty());
    Ok(Interpreter { path: path.map_or_else(|| PathBuf::from(program), PathBuf::from), version })
}
