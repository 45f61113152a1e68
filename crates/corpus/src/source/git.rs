//! What git tracks, read from its index file.
//!
//! Read here and not by calling `git`, which runs programs that a repository's own configuration names, and may not be
//! installed. Versions 2 to 4 of the index, working trees made by `git worktree`, SHA-1 and SHA-256.

use std::io;
use std::path::{Path, PathBuf};

use super::SourceError;

/// Index files beyond this are none of a working tree of documents (a million files take a hundred megabytes).
const MOST_BYTES: u64 = 1 << 30;

/// What is tracked below a folder.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    /// Files, relative to the folder.
    pub files: Vec<PathBuf>,
    /// Commit that is checked out.
    pub commit: Option<String>,
    /// Submodules, which have an index of their own.
    pub submodules: usize,
}

/// Where git keeps what.
struct Repository {
    /// Top of the working tree.
    top: PathBuf,
    /// Of this working tree: `HEAD` and `index`.
    own: PathBuf,
    /// Of all working trees: references and configuration.
    common: PathBuf,
}

/// Lists what is tracked below a folder (without links in its path).
pub(super) fn tracked(folder: &Path) -> Result<Tracked, SourceError> {
    let repository = find(folder)?;
    let path = repository.own.join("index");
    let broken = |reason: &str| SourceError::Git { path: path.clone(), reason: reason.to_owned() };
    let bytes = match path.metadata() {
        Ok(metadata) if metadata.len() > MOST_BYTES => return Err(broken("it is larger than 1 GiB")),
        Ok(_) => std::fs::read(&path).map_err(|error| broken(&error.to_string()))?,
        // Nothing was ever added.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(broken(&error.to_string())),
    };
    let mut tracked = Tracked { commit: commit_of(&repository), ..Tracked::default() };
    if bytes.is_empty() {
        return Ok(tracked);
    }
    let prefix = folder.strip_prefix(&repository.top).unwrap_or(Path::new(""));
    let digest_bytes = if uses_sha256(&repository) { 32 } else { 20 };
    let mut last = PathBuf::new();
    for entry in read_index(&bytes, digest_bytes).map_err(broken)? {
        let path = path_of(&entry.path);
        let Ok(relative) = path.strip_prefix(prefix) else { continue };
        // During a merge a path stands there up to three times.
        if relative == last || relative.as_os_str().is_empty() {
            continue;
        }
        match entry.mode & 0o170_000 {
            // Symbolic links are files here: the listing tells them.
            0o100_000 | 0o120_000 => tracked.files.push(relative.to_owned()),
            0o160_000 => tracked.submodules += 1,
            _ => {}
        }
        last = relative.to_owned();
    }
    Ok(tracked)
}

fn find(folder: &Path) -> Result<Repository, SourceError> {
    let top = folder.ancestors().find(|ancestor| ancestor.join(".git").exists());
    let Some(top) = top else { return Err(SourceError::NoRepository { path: folder.to_owned() }) };
    let dot_git = top.join(".git");
    let own = if dot_git.is_dir() {
        dot_git
    } else {
        let text = small_text(&dot_git).unwrap_or_default();
        let target = text.strip_prefix("gitdir:").map(str::trim).filter(|target| !target.is_empty());
        match target {
            Some(target) => top.join(target),
            None => {
                let reason = "it names no git folder".to_owned();
                return Err(SourceError::Git { path: dot_git, reason });
            }
        }
    };
    let common = match small_text(&own.join("commondir")) {
        Some(text) => own.join(text.trim()),
        None => own.clone(),
    };
    Ok(Repository { top: top.to_owned(), own, common })
}

/// A text of at most a megabyte.
fn small_text(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok()?;
    (metadata.is_file() && metadata.len() <= 1 << 20).then(|| std::fs::read_to_string(path).ok())?
}

fn uses_sha256(repository: &Repository) -> bool {
    let config = small_text(&repository.common.join("config")).unwrap_or_default().to_lowercase();
    config.lines().any(|line| {
        line.split_once('=')
            .is_some_and(|(key, value)| key.trim() == "objectformat" && value.trim() == "sha256")
    })
}

/// The commit that `HEAD` stands for; `None` before the first one, and where references are kept in another form.
fn commit_of(repository: &Repository) -> Option<String> {
    let mut text = small_text(&repository.own.join("HEAD"))?;
    for _ in 0..5 {
        let Some(name) = text.trim().strip_prefix("ref:").map(str::trim) else { break };
        let is_plain = name.starts_with("refs/") && !name.split('/').any(|part| part == "..");
        if !is_plain {
            return None;
        }
        let loose = [&repository.own, &repository.common]
            .into_iter()
            .find_map(|folder| small_text(&folder.join(name)));
        text = match loose {
            Some(text) => text,
            None => packed(&repository.common, name)?,
        };
    }
    let commit = text.trim();
    let is_digest = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| commit.to_owned())
}

/// A reference in `packed-refs`, which may have tens of thousands of them.
fn packed(common: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(common.join("packed-refs")).ok()?;
    let line = text.lines().find(|line| line.split_once(' ').is_some_and(|(_, found)| found == name))?;
    line.split_once(' ').map(|(commit, _)| commit.to_owned())
}

struct IndexEntry {
    path: Vec<u8>,
    mode: u32,
}

/// Entries of an index file, as gitformat-index(5) lays them out.
fn read_index(bytes: &[u8], digest_bytes: usize) -> Result<Vec<IndexEntry>, &'static str> {
    const CUT: &str = "the index ends too early";
    let number = |at: usize| -> Result<u32, &'static str> {
        let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(CUT)?;
        Ok(u32::from_be_bytes(*four))
    };
    if !bytes.starts_with(b"DIRC") {
        return Err("it is no index of git");
    }
    let version = number(4)?;
    if !(2..=4).contains(&version) {
        return Err("it is an index of a version that is not read");
    }
    let count = number(8)? as usize;
    let mut entries: Vec<IndexEntry> = Vec::with_capacity(count.min(bytes.len() / 62));
    let mut at = 12;
    for _ in 0..count {
        let start = at;
        let mode = number(start + 24)?;
        // Ten numbers, the digest, the flags.
        at = start + 40 + digest_bytes;
        let flags = number(at)? >> 16;
        at += if flags & 0x4000 != 0 && version >= 3 { 4 } else { 2 };
        let mut path = Vec::new();
        if version == 4 {
            let (strip, used) = variable_number(bytes.get(at..).ok_or(CUT)?).ok_or(CUT)?;
            at += used;
            let previous = entries.last().map_or(&[][..], |entry| &entry.path);
            let kept =
                previous.len().checked_sub(strip).ok_or("a path in the index contradicts the one before")?;
            path.extend_from_slice(&previous[..kept]);
        }
        let rest = bytes.get(at..).ok_or(CUT)?;
        let length = rest.iter().position(|byte| *byte == 0).ok_or(CUT)?;
        path.extend_from_slice(&rest[..length]);
        at += length + 1;
        if version < 4 {
            // Padded with zeros to a multiple of eight.
            at = start + (at - start).next_multiple_of(8);
        }
        entries.push(IndexEntry { path, mode });
    }
    // Extensions, up to the digest of all; only a split index has its entries elsewhere.
    while at + 8 <= bytes.len().saturating_sub(digest_bytes) {
        if &bytes[at..at + 4] == b"link" {
            return Err("it is a split index; run `git update-index --no-split-index`");
        }
        at = at.saturating_add(8).saturating_add(number(at + 4)? as usize);
    }
    Ok(entries)
}

/// The number in front and how many bytes it takes, in the form that pack files use for offsets.
fn variable_number(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut used = 1;
    let mut byte = *bytes.first()?;
    let mut value = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = *bytes.get(used)?;
        used += 1;
        value = value.checked_add(1)?.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
    }
    Some((value, used))
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}
