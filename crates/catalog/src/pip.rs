//! Where Python packages come from on this machine: what pip is configured with, read as pip reads it.
//!
//! The address of the public index is not known here. Where nothing is configured, Python's own pip is asked for it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::error::CatalogError;

/// Looks up an environment variable.
pub(crate) type Environment<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// pip prints its default in a second; a hanging interpreter should not hang us.
const PYTHON_TIMEOUT: Duration = Duration::from_secs(30);

const ASK_PIP: &str = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";

/// The address of the package index's simple pages.
pub(crate) async fn index_url(environment: Environment<'_>) -> Result<String, CatalogError> {
    if let Some(url) = configured(environment, &|path| std::fs::read_to_string(path).ok())? {
        return Ok(url);
    }
    let mut reason = "there is no Python".to_owned();
    for python in ["python3", "python"] {
        match ask(python).await {
            Ok(url) => return Ok(url),
            Err(error) => reason = error,
        }
    }
    Err(CatalogError::NoIndex { reason })
}

/// What the environment and pip's files say: the environment first, then the file that it names, the user's, the
/// machine's.
fn configured(
    environment: Environment<'_>,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Result<Option<String>, CatalogError> {
    let variable = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
    let setting = |variable_name: &str, key: &str| {
        variable(variable_name).or_else(|| {
            files(environment).iter().filter_map(|path| read(path)).find_map(|text| value_of(&text, key))
        })
    };
    let is_off = setting("PIP_NO_INDEX", "no-index");
    if is_off.is_some_and(|value| !matches!(value.to_lowercase().as_str(), "0" | "false" | "no" | "off")) {
        return Err(CatalogError::NoIndex { reason: "pip is configured with `no-index`".to_owned() });
    }
    Ok(setting("PIP_INDEX_URL", "index-url").map(|url| url.trim().to_owned()))
}

/// pip's configuration files, the one that wins first.
fn files(environment: Environment<'_>) -> Vec<PathBuf> {
    let named = environment("PIP_CONFIG_FILE").filter(|path| !path.is_empty());
    // The null device is pip's way of saying: no file at all.
    if named.as_deref().is_some_and(|path| matches!(path, "/dev/null" | "nul" | "NUL")) {
        return Vec::new();
    }
    let mut files: Vec<PathBuf> = named.map(PathBuf::from).into_iter().collect();
    let mut add = |folder: Option<String>, below: &[&str]| {
        if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
            files.push(below.iter().fold(PathBuf::from(folder), |path, part| path.join(part)));
        }
    };
    let home = || environment("HOME");
    let file = if cfg!(windows) { "pip.ini" } else { "pip.conf" };
    add(environment("VIRTUAL_ENV"), &[file]);
    if cfg!(windows) {
        add(environment("APPDATA"), &["pip", file]);
        add(environment("USERPROFILE"), &["pip", file]);
        add(environment("PROGRAMDATA"), &["pip", file]);
        return files;
    }
    if cfg!(target_os = "macos") {
        add(home(), &["Library", "Application Support", "pip", file]);
    }
    add(environment("XDG_CONFIG_HOME"), &["pip", file]);
    add(home(), &[".config", "pip", file]);
    add(home(), &[".pip", file]);
    add(Some("/etc/xdg".to_owned()), &["pip", file]);
    add(Some("/etc".to_owned()), &[file]);
    files
}

/// A key of an INI file; `[download]` and `[install]` win over `[global]`, as they do for those commands.
fn value_of(text: &str, key: &str) -> Option<String> {
    let mut section = String::new();
    let mut found: [Option<String>; 3] = [None, None, None];
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim().to_lowercase();
            continue;
        }
        if line.starts_with(['#', ';']) {
            continue;
        }
        let Some((name, value)) = line.split_once(['=', ':']) else { continue };
        let rank = ["download", "install", "global"].iter().position(|known| *known == section);
        if let Some(rank) = rank.filter(|_| name.trim().replace('_', "-").eq_ignore_ascii_case(key)) {
            found[rank] = Some(value.trim().trim_matches(['"', '\'']).to_owned());
        }
    }
    found.into_iter().flatten().find(|value| !value.is_empty())
}

async fn ask(python: &str) -> Result<String, String> {
    // `-I`: neither the working directory nor the user's variables decide what is imported.
    let mut command = Command::new(python);
    command.args(["-I", "-c", ASK_PIP]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PYTHON_TIMEOUT, command.output())
        .await
        .map_err(|_| format!("`{python}` did not answer within {} s", PYTHON_TIMEOUT.as_secs()))?
        .map_err(|error| format!("`{python}` cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || !text.starts_with("http") {
        return Err(format!("`{python}` has no pip that could be asked"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], files: &[(&str, &str)], expected: Result<Option<&str>, &str>) {
        let look_up = |list: &[(&str, &str)], name: &str| {
            list.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let environment = |name: &str| look_up(variables, name);
        let found = configured(&environment, &|path| look_up(files, &path.to_string_lossy()));
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map(|url| url.map(str::to_owned)).map_err(str::to_owned));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_environment_wins_over_files_and_the_users_file_over_the_machines() {
        let home = ("HOME", "/home/me");
        let machine = ("/etc/pip.conf", "[global]\nindex-url = https://machine.test/simple\n");
        let user = ("/home/me/.config/pip/pip.conf", "[global]\nindex_url: https://user.test/simple\n");
        check(&[], &[], Ok(None));
        check(&[home], &[machine], Ok(Some("https://machine.test/simple")));
        check(&[home], &[machine, user], Ok(Some("https://user.test/simple")));
        let variable = ("PIP_INDEX_URL", "https://env.test/simple");
        check(&[home, variable], &[machine, user], Ok(Some("https://env.test/simple")));
        check(&[home, ("PIP_CONFIG_FILE", "/dev/null")], &[machine, user], Ok(None));
        let own = ("/own.conf", "[global]\nindex-url = https://own.test/simple\n");
        check(&[home, ("PIP_CONFIG_FILE", "/own.conf")], &[user, own], Ok(Some("https://own.test/simple")));
    }

    #[test]
    fn an_index_that_is_switched_off_is_not_asked() {
        let reason = "no Python package index is configured, and Python could not be asked for its own: \
                      pip is configured with `no-index`";
        check(&[("PIP_NO_INDEX", "1"), ("PIP_INDEX_URL", "https://env.test")], &[], Err(reason));
        check(
            &[("PIP_NO_INDEX", "false"), ("PIP_INDEX_URL", "https://env.test")],
            &[],
            Ok(Some("https://env.test")),
        );
    }

    #[test]
    fn sections_of_commands_win_over_the_global_one() {
        let text =
            "; a comment = x\n[global]\nindex-url = a\n[install]\nindex-url = \"b\"\n[list]\nindex-url = c\n";
        assert_eq!(value_of(text, "index-url").as_deref(), Some("b"));
        assert_eq!(value_of("index-url = a\n", "index-url"), None, "outside any section");
    }
}
