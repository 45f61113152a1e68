//! A flow's own Python environment, made on request from its `requirements.txt` and kept in local state.
//!
//! An environment's folder is named by a digest of the requirements and the interpreter's version, so a
//! changed file gets a new one and flows with equal files share one. It counts only once its marker is
//! there; a half-made folder is removed and made again. Nothing is ever made without being asked for.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use crate::interpreter::Interpreter;

/// The file in a flow folder that names its packages.
pub const REQUIREMENTS: &str = "requirements.txt";
const MARKER: &str = "flowbench-complete";
const TAIL_LINES: usize = 30;
const MAX_REQUIREMENTS: u64 = 1024 * 1024;
/// Packages that the stand-in replaces; together they would bring 400 MB.
const REPLACED: &[&str] =
    &["promptflow", "promptflow-tools", "promptflow-core", "promptflow-tracing", "promptflow-devkit"];

/// An environment that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonEnvironment {
    /// Its interpreter.
    pub interpreter: PathBuf,
    /// True if it was there already.
    pub is_reused: bool,
    /// Requirement lines left out because the stand-in replaces them.
    pub left_out: Vec<String>,
}

/// Why there is no environment.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// The flow names no packages.
    #[error("flow `{folder}` has no `requirements.txt`")]
    NoRequirements {
        /// Flow folder.
        folder: PathBuf,
    },
    /// A file or folder cannot be used.
    #[error("`{path}` cannot be used: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A step failed.
    #[error("{step} failed for `{folder}`:\n{tail}")]
    Failed {
        /// What was being done.
        step: &'static str,
        /// Flow folder.
        folder: PathBuf,
        /// The last lines it printed.
        tail: String,
    },
}

impl EnvironmentError {
    /// What to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRequirements { .. } => Some("write one package a line into `requirements.txt`"),
            Self::Io { .. } => None,
            Self::Failed { step: CREATE, .. } => {
                Some("install Python's `venv` module (`apt-get install python3-venv`)")
            }
            Self::Failed { .. } => {
                Some("check the names and versions in `requirements.txt`, and the network")
            }
        }
    }
}

const CREATE: &str = "making the environment";
const INSTALL: &str = "installing the packages";

/// The interpreter of a flow's environment, if that has been made.
pub(crate) async fn ready_interpreter(
    state_folder: &Path,
    flow_folder: &Path,
    base: &Interpreter,
) -> Option<PathBuf> {
    let wanted = read_requirements(flow_folder).await.ok()?;
    let folder = folder_for(state_folder, &wanted, base);
    tokio::fs::try_exists(folder.join(MARKER)).await.ok()?.then(|| python_in(&folder))
}

/// Makes the environment of a flow, or finds it made. `progress` gets one line at a time.
pub async fn make_environment(
    state_folder: &Path,
    flow_folder: &Path,
    base: &Interpreter,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<PythonEnvironment, EnvironmentError> {
    let wanted = read_requirements(flow_folder).await?;
    let folder = folder_for(state_folder, &wanted, base);
    let (kept, left_out) = without_replaced(&wanted);
    let ready = |is_reused| PythonEnvironment {
        interpreter: python_in(&folder),
        is_reused,
        left_out: left_out.clone(),
    };
    let parent = state_folder.join("environments");
    tokio::fs::create_dir_all(&parent)
        .await
        .map_err(|source| EnvironmentError::Io { path: parent, source })?;
    // Another process may be making the same one: the second waits and then finds it ready.
    let _lock = lock(folder.with_extension("lock")).await?;
    let marker = folder.join(MARKER);
    if marker.exists() {
        return Ok(ready(true));
    }
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| EnvironmentError::Io { path, source }
    };
    if folder.exists() {
        tokio::fs::remove_dir_all(&folder).await.map_err(io_error(&folder))?;
    }
    progress(&format!("making an environment with Python {}.{}", base.version.0, base.version.1));
    let mut create = Command::new(&base.path);
    create.args(["-m", "venv"]).arg(&folder);
    run(create, CREATE, flow_folder, progress).await?;
    for line in &left_out {
        progress(&format!("left out `{line}`: Flowbench stands in for it"));
    }
    let list = folder.join(REQUIREMENTS);
    tokio::fs::write(&list, kept).await.map_err(io_error(&list))?;
    let mut install = Command::new(python_in(&folder));
    install
        .args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar",
            "off",
            "-r",
        ])
        .arg(&list)
        .current_dir(flow_folder);
    run(install, INSTALL, flow_folder, progress).await?;
    tokio::fs::write(&marker, b"").await.map_err(io_error(&marker))?;
    Ok(ready(false))
}

async fn read_requirements(flow_folder: &Path) -> Result<String, EnvironmentError> {
    let path = flow_folder.join(REQUIREMENTS);
    let io_error = |source| EnvironmentError::Io { path: path.clone(), source };
    match tokio::fs::metadata(&path).await {
        Ok(status) if status.len() > MAX_REQUIREMENTS => Err(io_error(io::Error::other("it is too large"))),
        Ok(_) => tokio::fs::read_to_string(&path).await.map_err(io_error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(EnvironmentError::NoRequirements { folder: flow_folder.to_owned() })
        }
        Err(error) => Err(io_error(error)),
    }
}

fn folder_for(state_folder: &Path, requirements: &str, base: &Interpreter) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{}.{}\0{}\0", base.version.0, base.version.1, base.path.display()).as_bytes());
    hasher.update(requirements.as_bytes());
    let digest = hasher.finalize().to_hex();
    state_folder.join("environments").join(&digest.as_str()[..16])
}

fn python_in(folder: &Path) -> PathBuf {
    if cfg!(windows) { folder.join("Scripts").join("python.exe") } else { folder.join("bin").join("python") }
}

/// The requirements without the packages that the stand-in replaces, and the lines left out.
fn without_replaced(requirements: &str) -> (String, Vec<String>) {
    let (left_out, kept): (Vec<&str>, Vec<&str>) = requirements.lines().partition(|line| {
        let name: String = line
            .trim()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            .map(|c| if matches!(c, '_' | '.') { '-' } else { c.to_ascii_lowercase() })
            .collect();
        REPLACED.contains(&name.as_str())
    });
    (kept.join("\n") + "\n", left_out.into_iter().map(|line| line.trim().to_owned()).collect())
}

async fn lock(path: PathBuf) -> Result<File, EnvironmentError> {
    let taken = tokio::task::spawn_blocking({
        let path = path.clone();
        move || {
            let file = File::create(&path)?;
            file.lock()?;
            Ok(file)
        }
    });
    let result = taken.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(|source| EnvironmentError::Io { path, source })
}

/// Runs one step, passing its lines on and keeping the last of them for an error.
async fn run(
    mut command: Command,
    step: &'static str,
    flow_folder: &Path,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), EnvironmentError> {
    let failed = |tail: String| EnvironmentError::Failed { step, folder: flow_folder.to_owned(), tail };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let tail = std::sync::Mutex::new(std::collections::VecDeque::with_capacity(TAIL_LINES));
    let report = |line: &str| {
        progress(line);
        let mut tail = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    };
    tokio::join!(pass_on(child.stdout.take(), &report), pass_on(child.stderr.take(), &report));
    let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let tail = tail.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Err(failed(Vec::from(tail).join("\n")))
}

async fn pass_on(stream: Option<impl AsyncRead + Unpin>, report: &impl Fn(&str)) {
    let Some(stream) = stream else { return };
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        report(line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_the_stand_in_replaces_are_left_out() {
        let (kept, left_out) = without_replaced(
            "promptflow[azure]>=1.8\nPromptflow_Tools==1\nnumpy\npromptflow-vectordb\n# promptflow\n",
        );
        assert_eq!(kept, "numpy\npromptflow-vectordb\n# promptflow\n");
        assert_eq!(left_out, ["promptflow[azure]>=1.8", "Promptflow_Tools==1"]);
    }

    #[test]
    fn another_list_of_packages_gets_another_folder() {
        let base = Interpreter { path: "/usr/bin/python3".into(), version: (3, 11) };
        let newer = Interpreter { version: (3, 12), ..base.clone() };
        let state = Path::new("state");
        assert_eq!(folder_for(state, "numpy\n", &base), folder_for(state, "numpy\n", &base));
        assert_ne!(folder_for(state, "numpy\n", &base), folder_for(state, "scipy\n", &base));
        assert_ne!(folder_for(state, "numpy\n", &base), folder_for(state, "numpy\n", &newer));
    }
}
