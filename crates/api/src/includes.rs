//! A flow's folder with its `additional_includes` merged in: first as a map of names, and as a real folder only
//! when Python must import from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flowbench_core::finding::Finding;
use flowbench_core::flow::Places;

use crate::error::ApiError;
use crate::load::normalise;
use crate::workspace::Workspace;

/// Most files that includes may bring; more is a mistake such as including a home folder.
const MAX_INCLUDED: usize = 10_000;
/// Folders that hold state, caches or version control and are never merged.
const LEFT_OUT: [&str; 5] = [".flowbench", ".promptflow", ".git", "__pycache__", ".runs"];

/// Where a flow's sources are.
#[derive(Clone, Debug)]
pub struct SourceFolder {
    folder: PathBuf,
    /// Canonical folder that sources must not leave.
    boundary: PathBuf,
    /// Merged name to real file, for what includes bring.
    included: BTreeMap<String, PathBuf>,
    /// Name of an archive to its files, for includes that ask to zip a folder.
    zipped: BTreeMap<String, Vec<(String, PathBuf)>>,
    /// Files and folders outside the boundary that the flow names: running it needs the user's word.
    outside: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl SourceFolder {
    /// Looks at the includes; what is wrong with them are findings.
    pub fn new(
        workspace: &Workspace,
        folder: &Path,
        includes: &[String],
        places: &Places,
        findings: &mut Vec<Finding>,
    ) -> Result<Self, ApiError> {
        let boundary = workspace.root().canonicalize().unwrap_or_else(|_| workspace.root().to_owned());
        let mut merged = Self {
            folder: folder.to_owned(),
            boundary,
            included: BTreeMap::new(),
            zipped: BTreeMap::new(),
            outside: Arc::default(),
        };
        for (index, include) in includes.iter().enumerate() {
            let place = places.of(&format!("/additional_includes/{index}"));
            match merged.include(include) {
                Ok(overwritten) => findings.extend(overwritten.into_iter().map(|name| {
                    Finding::warning(
                        "include-overwrites",
                        format!("include `{include}` takes the place of `{name}`"),
                    )
                    .at(place.clone())
                    .suggest("rename one of the two files")
                })),
                Err(reason) => findings.push(
                    Finding::error("missing-include", format!("include `{include}` {reason}"))
                        .at(place)
                        .suggest("correct the path; it is relative to the flow's folder"),
                ),
            }
        }
        Ok(merged)
    }

    /// Adds one include under its base name; gives the names that were there before.
    fn include(&mut self, include: &str) -> Result<Vec<String>, String> {
        let path = self.folder.join(include.trim());
        let (path, is_zip) = match path.exists() {
            true => (path, false),
            // `x.zip` where only folder `x` exists means "zip that folder".
            false
                if path.extension().is_some_and(|ending| ending == "zip")
                    && path.with_extension("").is_dir() =>
            {
                (path.with_extension(""), true)
            }
            false => return Err("does not exist".to_owned()),
        };
        self.note_if_outside(&path)?;
        let canonical = path.canonicalize().map_err(|error| format!("cannot be read: {error}"))?;
        let Some(name) = canonical.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            return Err("has no name".to_owned());
        };
        let mut overwritten = Vec::new();
        if is_zip {
            let mut files = Vec::new();
            collect(&canonical, &canonical, &mut files).map_err(|error| error.message)?;
            files.sort();
            let archive = format!("{name}.zip");
            if self.folder.join(&archive).exists() {
                overwritten.push(archive.clone());
            }
            let inner = files.into_iter().map(|(inner, path)| (format!("{name}/{inner}"), path));
            self.zipped.insert(archive, inner.collect());
            return Ok(overwritten);
        }
        self.add(&name, &canonical, &mut overwritten)?;
        Ok(overwritten)
    }

    fn add(&mut self, name: &str, path: &Path, overwritten: &mut Vec<String>) -> Result<(), String> {
        if self.included.len() >= MAX_INCLUDED {
            return Err(format!("brings more than {MAX_INCLUDED} files"));
        }
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|error| format!("cannot be read: {error}"))?;
            for entry in entries {
                let entry = entry.map_err(|error| format!("cannot be read: {error}"))?;
                let inner = entry.file_name().to_string_lossy().into_owned();
                let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                if LEFT_OUT.contains(&inner.as_str()) || is_link {
                    continue;
                }
                self.add(&format!("{name}/{inner}"), &entry.path(), overwritten)?;
            }
            return Ok(());
        }
        if !path.is_file() {
            return Err(format!("holds `{}`, which is no ordinary file", path.display()));
        }
        if self.folder.join(name).exists() || self.included.contains_key(name) {
            overwritten.push(name.to_owned());
        }
        self.included.insert(name.to_owned(), path.to_owned());
        Ok(())
    }

    /// True if a path that exists is within the workspace.
    fn is_inside(&self, path: &Path) -> Result<bool, String> {
        let canonical = path.canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "does not exist".to_owned(),
            _ => format!("cannot be read: {error}"),
        })?;
        Ok(canonical.starts_with(&self.boundary))
    }

    /// Notes a path outside the workspace: it may be looked at, and what runs with it needs the user's word.
    fn note_if_outside(&self, path: &Path) -> Result<(), String> {
        if !self.is_inside(path)? {
            self.outside.lock().unwrap_or_else(PoisonError::into_inner).insert(normalise(path));
        }
        Ok(())
    }

    /// Files that the flow takes from outside its own folder.
    pub fn brought(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = self.included.values().cloned().collect();
        found.extend(self.zipped.values().flatten().map(|(_, path)| path.clone()));
        found.extend(self.outside().into_iter().filter(|path| path.is_file()));
        found
    }

    /// Paths outside the workspace that the flow names.
    pub fn outside(&self) -> Vec<PathBuf> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A path as the flow's folder sees it, without this machine's folders above it where that can be.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).to_string_lossy().replace('\\', "/")
    }

    /// The real file of a path that a node names; else why there is none.
    pub fn find(&self, path: &str) -> Result<PathBuf, String> {
        let real = self.locate(path)?;
        self.note_if_outside(&real)?;
        Ok(real)
    }

    /// The same for a path that a *value* names: it must be within the workspace or among the includes.
    pub fn find_inside(&self, path: &str) -> Result<PathBuf, String> {
        let real = self.locate(path)?;
        match self.is_inside(&real)? || self.included.values().any(|included| *included == real) {
            true => Ok(real),
            false => Err("is outside the workspace".to_owned()),
        }
    }

    fn locate(&self, path: &str) -> Result<PathBuf, String> {
        if path.is_empty() {
            return Err("has no name".to_owned());
        }
        let plain = normalise(Path::new(path));
        let included = self.included.get(plain.to_string_lossy().replace('\\', "/").as_str());
        Ok(included.cloned().unwrap_or_else(|| self.folder.join(&plain)))
    }

    /// Folder in which Python runs: the flow's own, or a merged copy where there are includes.
    pub fn run_folder(&self, workspace: &Workspace, runs_python: bool) -> Result<PathBuf, ApiError> {
        let own = self.folder.canonicalize().map_err(|error| ApiError::file("open", &self.folder, &error))?;
        if (self.included.is_empty() && self.zipped.is_empty()) || !runs_python {
            return Ok(own);
        }
        let mut files = Vec::new();
        collect(&own, &own, &mut files)?;
        let mut by_name: BTreeMap<String, PathBuf> = files.into_iter().collect();
        by_name.extend(self.included.clone());
        let mut hasher = blake3::Hasher::new();
        let zipped = self.zipped.iter().flat_map(|(archive, files)| {
            files.iter().map(move |(inner, path)| (format!("{archive}/{inner}"), path.clone()))
        });
        let everything = by_name.clone().into_iter().chain(zipped);
        for (name, path) in everything {
            let path = path.as_path();
            let mut content = blake3::Hasher::new();
            let file = std::fs::File::open(path).map_err(|error| ApiError::file("read", path, &error))?;
            content.update_reader(file).map_err(|error| ApiError::file("read", path, &error))?;
            hasher.update(name.as_bytes());
            hasher.update(&[0]);
            hasher.update(content.finalize().as_bytes());
        }
        let Some(code) = workspace.code_folder(true)? else { return Ok(own) };
        let merged = code.join("merged").join(&hasher.finalize().to_hex()[..24]);
        if merged.is_dir() {
            return Ok(merged);
        }
        // Built beside and renamed, so that nobody runs in a half-copied folder.
        let building = merged.with_extension(format!("{}.tmp", std::process::id()));
        for (name, path) in &by_name {
            let target = building.join(name);
            if let Some(folder) = target.parent() {
                std::fs::create_dir_all(folder).map_err(|error| ApiError::file("create", folder, &error))?;
            }
            std::fs::copy(path, &target).map_err(|error| ApiError::file("copy", path, &error))?;
        }
        for (archive, files) in &self.zipped {
            let target = building.join(archive);
            write_zip(&target, files).map_err(|error| ApiError::file("write", &target, &error))?;
        }
        match std::fs::rename(&building, &merged) {
            Ok(()) => {}
            // Another process built the same folder meanwhile.
            Err(_) if merged.is_dir() => {
                let _ = std::fs::remove_dir_all(&building);
            }
            Err(error) => return Err(ApiError::file("write", &merged, &error)),
        }
        Ok(merged)
    }
}

fn collect(folder: &Path, base: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<(), ApiError> {
    let entries = std::fs::read_dir(folder).map_err(|error| ApiError::file("read", folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| ApiError::file("read", folder, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(|error| ApiError::file("read", &entry.path(), &error))?;
        if LEFT_OUT.contains(&name.as_str()) || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), base, files)?;
        } else {
            let path = entry.path();
            let relative = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.push((relative, path));
        }
        if files.len() > MAX_INCLUDED {
            return Err(ApiError::wrong_use(
                "flow/too_large",
                format!("`{}` holds more than {MAX_INCLUDED} files", base.display()),
            ));
        }
    }
    Ok(())
}

/// Writes an archive; the same files give the same bytes.
fn write_zip(target: &Path, files: &[(String, PathBuf)]) -> std::io::Result<()> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut archive = zip::ZipWriter::new(std::fs::File::create(target)?);
    for (name, path) in files {
        archive.start_file(name.as_str(), zip::write::SimpleFileOptions::default())?;
        std::io::copy(&mut std::fs::File::open(path)?, &mut archive)?;
    }
    archive.finish()?;
    Ok(())
}
