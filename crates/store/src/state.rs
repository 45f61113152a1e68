//! Where things lie in the state folder (`.flowbench/`, or the user's own where that cannot be written).

use std::path::{Path, PathBuf};

use flowbench_core::ids::RunId;

use crate::error::StoreError;

/// Paths below one state folder. Nothing is created by asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFolder {
    root: PathBuf,
}

impl StateFolder {
    /// The folder at this path.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the folder and keeps it out of version control, whatever the workspace's own rules are.
    pub fn prepare(&self) -> Result<(), StoreError> {
        let rules = self.root.join(".gitignore");
        if rules.exists() {
            return Ok(());
        }
        let created = std::fs::create_dir_all(&self.root).and_then(|()| std::fs::write(&rules, "*\n"));
        created.map_err(|source| StoreError::io(&self.root, "created", source))
    }

    /// Database of run records.
    pub fn runs_database(&self) -> PathBuf {
        self.root.join("flowbench.db")
    }

    /// Database of node results; may be deleted at any time.
    pub fn cache_database(&self) -> PathBuf {
        self.root.join("cache.db")
    }

    /// Folder of one run. Refuses ids that could lead elsewhere.
    pub fn run_folder(&self, run: &RunId) -> Result<PathBuf, StoreError> {
        let id = run.as_str();
        let is_plain = id.len() <= 128
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            && id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !is_plain {
            return Err(StoreError::BadId { id: id.chars().take(80).collect() });
        }
        Ok(self.root.join("runs").join(id))
    }

    /// Journal of a batch.
    pub fn journal(&self, run: &RunId) -> Result<PathBuf, StoreError> {
        Ok(self.run_folder(run)?.join("journal.jsonl"))
    }

    /// Event log of a single run.
    pub fn events(&self, run: &RunId) -> Result<PathBuf, StoreError> {
        Ok(self.run_folder(run)?.join("events.jsonl"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_cannot_leave_the_folder() {
        let state = StateFolder::new("/state");
        assert_eq!(
            state.journal(&RunId::from("a-1_b.2")).unwrap(),
            Path::new("/state/runs/a-1_b.2/journal.jsonl")
        );
        for id in ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\0", "ü", ".hidden", "c:x"] {
            assert!(state.run_folder(&RunId::from(id)).is_err(), "{id:?}");
        }
    }
}
