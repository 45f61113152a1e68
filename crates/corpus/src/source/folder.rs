//! Folders, single files and git working trees.

use std::collections::BTreeMap;
use std::fs::FileType;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use super::file::{self, Look, ReadError};
use super::git::{self, Tracked};
use super::metadata::Given;
use super::open::{Common, Listing};
use super::patterns::Patterns;
use super::{Entry, Fetched, Problem, SourceError, SourceSpec, names};

/// Local state of ours and of git, which no pattern takes.
const NEVER: [&str; 2] = [".git", ".flowbench"];

/// A folder or a single file.
#[derive(Debug)]
pub(super) struct Folder {
    /// Without links.
    root: PathBuf,
    /// The only file, where the source is one.
    only: Option<PathBuf>,
    /// As the spec writes it; begins every `uri`.
    written: String,
    patterns: Patterns,
    honours_ignore_files: bool,
    is_tracked: bool,
    given: Given,
}

impl Folder {
    pub fn open(spec: &SourceSpec, base: &Path, written: &str) -> Result<Self, SourceError> {
        let place = base.join(written);
        let real = place.canonicalize();
        let real = real.map_err(|source| SourceError::Unread { path: place.clone(), source })?;
        let is_tracked = match spec.git.as_deref() {
            None => false,
            Some("tracked") => true,
            Some(other) => {
                let reason = format!("`{other}` is not known; there is `tracked`");
                return Err(SourceError::Setting { key: "git", reason });
            }
        };
        let metadata = real.metadata();
        let metadata = metadata.map_err(|source| SourceError::Unread { path: place.clone(), source })?;
        let (root, only) = if metadata.is_dir() {
            (real, None)
        } else if metadata.is_file() {
            let root = real.parent().map(Path::to_owned).unwrap_or_default();
            let only = real.file_name().map(PathBuf::from);
            (root, only)
        } else {
            return Err(SourceError::NoFile { path: place });
        };
        Ok(Self {
            root,
            only,
            written: written.trim_end_matches('/').to_owned(),
            patterns: Patterns::new(&spec.include, &spec.exclude)?,
            honours_ignore_files: spec.ignore_files.unwrap_or(true),
            is_tracked,
            given: Given::read(spec.metadata.as_ref(), false)?,
        })
    }

    /// The file or folder, without links.
    pub fn place(&self) -> PathBuf {
        self.only.as_ref().map_or_else(|| self.root.clone(), |only| self.root.join(only))
    }

    pub fn list(&self, common: &Common) -> Result<Listing, SourceError> {
        let mut found = Found::new(self, common);
        if let Some(only) = &self.only {
            found.take(only, &self.root.join(only));
        } else if self.is_tracked {
            let tracked = git::tracked(&self.root)?;
            found.take_tracked(&tracked);
        } else {
            found.walk();
        }
        Ok(found.finish())
    }

    pub fn fetch(&self, entry: &Entry, common: &Common) -> Result<Fetched, Problem> {
        let gone = || ReadError::NoFile.told(&entry.name);
        let relative = names::path_of(&entry.name).ok_or_else(gone)?;
        let read = file::read(&self.root, &self.root.join(relative), common.max_bytes);
        let (bytes, look) = read.map_err(|error| error.told(&entry.name))?;
        Ok(Fetched {
            entry: Entry { stamp: look.stamp(), ..entry.clone() },
            bytes,
            media_type: None,
            password: common.password.clone(),
            language: common.language.clone(),
            modified_ms: look.modified_ms(),
        })
    }

    fn uri(&self, name: &str) -> String {
        match self.only {
            Some(_) => self.written.clone(),
            None => format!("{}/{name}", self.written),
        }
    }
}

/// A listing in the making.
struct Found<'a> {
    folder: &'a Folder,
    common: &'a Common,
    listing: Listing,
    given: serde_json::Map<String, serde_json::Value>,
    /// Which patterns of `include` took something.
    used: Vec<bool>,
    /// Files of no kind that is read, by ending.
    unknown: BTreeMap<String, usize>,
}

impl<'a> Found<'a> {
    fn new(folder: &'a Folder, common: &'a Common) -> Self {
        Self {
            folder,
            common,
            listing: Listing::default(),
            given: folder.given.fixed(),
            used: vec![false; folder.patterns.len()],
            unknown: BTreeMap::new(),
        }
    }

    fn problem(&mut self, place: &str, message: impl Into<String>, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        self.listing.problems.push(Problem { place: place.to_owned(), message: message.into(), hint });
    }

    fn walk(&mut self) {
        let folder = self.folder;
        let honours = folder.honours_ignore_files;
        let is_in_git = folder.root.ancestors().any(|ancestor| ancestor.join(".git").exists());
        let mut builder = WalkBuilder::new(&folder.root);
        builder
            .standard_filters(false)
            .hidden(!folder.patterns.takes_hidden)
            .ignore(honours)
            .git_ignore(honours)
            .git_exclude(honours)
            // A person's own rules would make the index differ between machines.
            .git_global(false)
            // Rules above the folder hold up to the top of its repository, and nowhere else.
            .parents(honours && is_in_git)
            .require_git(is_in_git)
            .follow_links(false);
        let (root, patterns) = (folder.root.clone(), folder.patterns.clone());
        builder.filter_entry(move |entry| {
            let relative = entry.path().strip_prefix(&root).unwrap_or(entry.path());
            let is_ours = entry.file_name().to_str().is_some_and(|name| NEVER.contains(&name));
            entry.depth() == 0 || !(is_ours || patterns.leaves_out(relative))
        });
        for entry in builder.build() {
            match entry {
                Err(error) => {
                    let (place, message) = told(&error, &folder.root);
                    self.problem(&place, message, None);
                }
                Ok(entry) => {
                    if let Some(error) = entry.error() {
                        let (place, message) = told(error, &folder.root);
                        self.listing.notes.push(Problem { place, message, hint: None });
                    }
                    let relative = entry.path().strip_prefix(&folder.root).unwrap_or(entry.path());
                    if entry.file_type().is_some_and(|kind| !kind.is_dir()) {
                        self.take(relative, entry.path());
                    }
                }
            }
        }
    }

    fn take_tracked(&mut self, tracked: &Tracked) {
        if let Some(commit) = &tracked.commit {
            self.given.insert("commit".to_owned(), serde_json::Value::String(commit.clone()));
        }
        for relative in &tracked.files {
            let is_hidden = relative.components().any(|part| part.as_os_str().as_encoded_bytes()[0] == b'.');
            let is_wanted = (self.folder.patterns.takes_hidden || !is_hidden)
                && !relative.ancestors().any(|part| self.folder.patterns.leaves_out(part));
            // Deleted and not committed yet, or beyond a sparse checkout.
            let path = self.folder.root.join(relative);
            if is_wanted && path.symlink_metadata().is_ok() {
                self.take(relative, &path);
            }
        }
        if tracked.submodules > 0 {
            let message = format!("{} submodules are not followed", tracked.submodules);
            let hint = Some("make each a source of its own".to_owned());
            self.listing.notes.push(Problem { place: self.folder.written.clone(), message, hint });
        }
    }

    /// Takes a file that no rule leaves out, if it is wanted and can be.
    fn take(&mut self, relative: &Path, path: &Path) {
        let folder = self.folder;
        let name = names::name_of(relative);
        let is_wanted = if folder.only.is_some() {
            true
        } else if folder.patterns.is_choosy() {
            let mut is_taken = false;
            for taker in folder.patterns.takers(relative) {
                (self.used[taker], is_taken) = (true, true);
            }
            is_taken
        } else {
            flowbench_extract::kind_by_name(&name).is_some()
        };
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if is_wanted => {
                self.listing.problems.push(ReadError::Io(error).told(&name));
                return;
            }
            Err(_) => return,
        };
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let leads_to_folder = path.metadata().is_ok_and(|target| target.is_dir());
            if is_wanted || leads_to_folder {
                let hint = "make what it leads to a source of its own, or leave it out with `exclude`";
                self.problem(&name, "it is a symbolic link, and those are not followed", Some(hint));
            }
        } else if !kind.is_file() {
            if is_wanted {
                self.problem(&name, format!("it is {}, no file", special(kind)), None);
            }
        } else if !is_wanted {
            if !folder.patterns.is_choosy() {
                *self.unknown.entry(ending_of(&name)).or_default() += 1;
            }
        } else if metadata.len() > self.common.max_bytes {
            let error = ReadError::TooLarge { size: metadata.len(), limit: self.common.max_bytes };
            self.listing.problems.push(error.told(&name));
        } else {
            let look = Look::of(&metadata);
            self.listing.entries.push(Entry {
                uri: folder.uri(&name),
                name,
                source: self.common.name.clone(),
                stamp: look.stamp(),
                metadata: self.given.clone(),
            });
        }
    }

    fn finish(mut self) -> Listing {
        self.listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.listing.problems.sort_by(|a, b| a.place.cmp(&b.place));
        let place = &self.folder.written;
        for (at, _) in self.used.iter().enumerate().filter(|(_, is_used)| !**is_used) {
            let pattern = self.folder.patterns.text(at);
            let hint = (!pattern.contains("**")).then(|| format!("`**/{pattern}` also looks below"));
            let message = format!("nothing matches `{pattern}`");
            self.listing.notes.push(Problem { place: place.clone(), message, hint });
        }
        if !self.unknown.is_empty() {
            self.listing.notes.push(Problem {
                place: place.clone(),
                message: told_unknown(self.unknown),
                hint: Some("name them in `include` to have them tried".to_owned()),
            });
        }
        self.listing
    }
}

/// `12 files of kinds that are not read were left out: 8 `.png`, 4 without ending`.
fn told_unknown(unknown: BTreeMap<String, usize>) -> String {
    let total: usize = unknown.values().sum();
    let mut endings: Vec<(String, usize)> = unknown.into_iter().collect();
    endings.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others: usize = endings.iter().skip(5).map(|(_, count)| count).sum();
    let mut parts: Vec<String> = endings
        .into_iter()
        .take(5)
        .map(|(ending, count)| match ending.is_empty() {
            true => format!("{count} without ending"),
            false => format!("{count} `.{ending}`"),
        })
        .collect();
    if others > 0 {
        parts.push(format!("{others} others"));
    }
    let files = if total == 1 {
        "1 file of a kind that is not read was"
    } else {
        "files of kinds that are not read were"
    };
    match total {
        1 => format!("{files} left out: {}", parts.join(", ")),
        _ => format!("{total} {files} left out: {}", parts.join(", ")),
    }
}

fn ending_of(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.rsplit_once('.').map(|(_, ending)| ending.to_lowercase()).unwrap_or_default()
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn special(_: FileType) -> &'static str {
    "something special"
}

/// Place and message of what went wrong on the walk.
fn told(error: &ignore::Error, root: &Path) -> (String, String) {
    let mut place = String::from(".");
    let mut inner = error;
    let mut line = None;
    loop {
        inner = match inner {
            ignore::Error::WithPath { path, err } => {
                place = names::name_of(path.strip_prefix(root).unwrap_or(path));
                err
            }
            ignore::Error::WithDepth { err, .. } => err,
            ignore::Error::WithLineNumber { line: number, err } => {
                line = Some(*number);
                err
            }
            ignore::Error::Partial(errors) if !errors.is_empty() => &errors[0],
            _ => break,
        };
    }
    let message = match inner {
        ignore::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "there is no permission to read it".to_owned()
        }
        other => other.to_string(),
    };
    match line {
        Some(line) => (format!("{place}, line {line}"), message),
        None => (place, message),
    }
}
