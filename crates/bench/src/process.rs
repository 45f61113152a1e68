//! A process with its wall time and peak memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often the peak is read. It only grows, so that the last reading before the end is nearly the peak.
const POLL: Duration = Duration::from_millis(10);

/// What a process took.
pub struct Taken {
    /// From start to end.
    pub wall: Duration,
    /// Peak resident memory in megabytes, where the system tells (Linux).
    pub peak_mb: Option<f64>,
    /// What it said on stderr.
    pub stderr: String,
    /// Exit code.
    pub code: i32,
}

/// Runs a program to its end; stdout goes nowhere.
pub fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<Taken, String> {
    let errors = folder.join("stderr.txt");
    let stderr = std::fs::File::create(&errors).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", folder)
        .env("XDG_STATE_HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("`{}`: {error}", program.display()))?;
    let mut peak_mb = None;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        peak_mb = peak_of(child.id()).or(peak_mb);
        std::thread::sleep(POLL.min(started.elapsed() / 4 + Duration::from_micros(200)));
    };
    let wall = started.elapsed();
    let stderr = std::fs::read_to_string(&errors).unwrap_or_default();
    Ok(Taken { wall, peak_mb, stderr, code: status.code().unwrap_or(-1) })
}

fn peak_of(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// Runs a program to its end and gives its stdout; stderr is passed on.
pub fn output(program: &Path, arguments: &[&str], folder: &Path) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("`{}`: {error}", program.display()))?;
    match output.status.success() {
        true => String::from_utf8(output.stdout).map_err(|error| error.to_string()),
        false => Err(format!("`{} {}` failed", program.display(), arguments.join(" "))),
    }
}
