//! A workspace that lasts between measurements, so that a model is pulled once and vectors are made once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The folder, with the binary that works in it.
pub struct BenchWorkspace {
    binary: PathBuf,
    root: PathBuf,
}

impl BenchWorkspace {
    /// A workspace beside the built programs.
    pub fn open(binary: &Path, name: &str) -> Result<Self, String> {
        let target = std::env::current_exe().map_err(|error| error.to_string())?;
        let target = target.parent().and_then(Path::parent).ok_or("this program lies nowhere")?;
        let root = target.join("bench").join(name);
        let workspace = Self { binary: binary.to_owned(), root };
        workspace.write("flowbench.yaml", &format!("name: bench-{name}\n"))?;
        Ok(workspace)
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file in it.
    pub fn write(&self, path: &str, text: &str) -> Result<(), String> {
        let path = self.root.join(path);
        let folder = path.parent().ok_or("a file needs a folder")?;
        std::fs::create_dir_all(folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
        std::fs::write(&path, text).map_err(|error| format!("`{}`: {error}", path.display()))
    }

    /// Runs the command line; what it says on stderr is passed on.
    pub fn call(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = Command::new(&self.binary)
            .args(["--workspace", &self.root.to_string_lossy(), "--format", "json"])
            .args(arguments)
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("`{}`: {error}", self.binary.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let value: Value = match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|error| format!("{arguments:?}: {error}: {text}"))?,
        };
        match output.status.success() {
            true => Ok(value),
            false => {
                let told =
                    value.pointer("/error/message").and_then(Value::as_str).unwrap_or(&text).to_owned();
                Err(format!("`flowbench {}`: {told}", arguments.join(" ")))
            }
        }
    }

    /// Brings a model of the catalog, where it is not here.
    pub fn need_model(&self, name: &str) -> Result<(), String> {
        // A path, a connection's model and the shipped model need no bringing.
        let known = self.call(&["models", "list"])?;
        let row = known["models"].as_array().and_then(|rows| rows.iter().find(|row| row["name"] == name));
        match row {
            Some(row) if row["is_here"] == false => self.call(&["models", "pull", name]).map(|_| ()),
            _ => Ok(()),
        }
    }
}

/// A path as YAML takes it whatever is in it.
pub fn quoted(path: &Path) -> String {
    Value::from(path.to_string_lossy().into_owned()).to_string()
}
