//! Use case: look at this machine and this workspace, and say what is missing for what.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::workspace::{Workspace, user_config_folder, user_state_folder};

/// How a part of the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Fine,
    /// Something will not work.
    Limited,
    /// Nothing will work.
    Broken,
}

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
pub struct DoctorRow {
    /// What.
    pub what: &'static str,
    /// How it stands.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

fn row(what: &'static str, health: Health, found: impl Into<String>) -> DoctorRow {
    DoctorRow { what, health, found: found.into(), hint: None }
}

/// Looks at everything. Starts only the Python interpreter, to ask its version.
pub fn doctor(workspace: &Workspace) -> Vec<DoctorRow> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut rows = vec![
        row("version", Health::Fine, env!("CARGO_PKG_VERSION")),
        row(
            "machine",
            Health::Fine,
            format!("{} on {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH),
        ),
        row("workspace", Health::Fine, workspace.root().display().to_string()),
        state(workspace),
        python(),
    ];
    let connections = workspace.connections().len();
    rows.push(row("connections", Health::Fine, format!("{connections} besides `local` and `builtin`")));
    for known in workspace.connections() {
        if let Err(error) = known.resolve() {
            rows.push(DoctorRow {
                hint: error.hints.first().cloned(),
                ..row("connection", Health::Limited, error.message)
            });
        }
    }
    for finding in workspace.findings() {
        rows.push(DoctorRow {
            hint: finding.suggestion.clone(),
            ..row("finding", Health::Limited, finding.message.clone())
        });
    }
    let accelerators: Vec<&str> = [("cuda", cfg!(feature = "cuda")), ("metal", cfg!(feature = "metal"))]
        .iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect();
    rows.push(row(
        "local models",
        Health::Fine,
        match accelerators.as_slice() {
            [] => "on the processor".to_owned(),
            some => format!("on the processor, built with {}", some.join(" and ")),
        },
    ));
    for variable in ["HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"] {
        if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
            rows.push(row("network", Health::Fine, format!("{variable} is set and honoured")));
        }
    }
    for (what, folder) in [("own settings", user_config_folder()), ("own state", user_state_folder().ok())] {
        rows.push(match folder {
            Some(folder) => row(what, Health::Fine, folder.display().to_string()),
            None => DoctorRow {
                hint: Some("set `HOME`".to_owned()),
                ..row(what, Health::Limited, "there is no home folder")
            },
        });
    }
    rows
}

fn state(workspace: &Workspace) -> DoctorRow {
    match workspace.state() {
        Ok(folder) if folder.starts_with(workspace.root()) => {
            row("state", Health::Fine, folder.display().to_string())
        }
        Ok(folder) => DoctorRow {
            hint: Some("the workspace cannot be written; its state lives with you".to_owned()),
            ..row("state", Health::Limited, folder.display().to_string())
        },
        Err(error) => {
            DoctorRow { hint: error.hints.first().cloned(), ..row("state", Health::Broken, error.message) }
        }
    }
}

fn python() -> DoctorRow {
    let named = std::env::var_os("FLOWBENCH_PYTHON");
    let candidates: Vec<std::ffi::OsString> = match &named {
        Some(path) => vec![path.clone()],
        None => vec!["python3".into(), "python".into()],
    };
    for candidate in candidates {
        let Ok(output) = Command::new(Path::new(&candidate)).arg("--version").output() else { continue };
        let told =
            String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout })
                .trim()
                .to_owned();
        if output.status.success() {
            return row("python", Health::Fine, told);
        }
    }
    DoctorRow {
        hint: Some("install Python 3.9 or later, or set `FLOWBENCH_PYTHON`; flows without Python nodes do not need it".to_owned()),
        ..row("python", Health::Limited, "no interpreter was found")
    }
}
