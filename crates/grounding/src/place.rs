//! Where an index lies on disk, and how a new generation takes the place of the last.
//!
//! ```text
//! indexes/NAME/
//!   layers/                what builds keep between them
//!   generations/NAME/      index.json, documents.jsonl, engine/
//!   building/              the generation that is being made; whatever is left of it is thrown away
//!   current                name of the generation that answers
//!   openlineage.jsonl      what every build did
//!   lock                   held by the one process that builds
//! ```
//!
//! A generation is written aside, renamed into `generations/`, and then `current` is replaced in one step: a reader sees
//! the old one or the new one. The one before the current is kept for readers that are just opening it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::IndexError;
use crate::manifest::{DocumentRecord, FORMAT, Manifest};

/// Length of a generation's folder name; the start of its digest.
const NAME_DIGITS: usize = 32;

/// The folder of one index.
#[derive(Clone, Debug)]
pub struct IndexPlace {
    name: String,
    folder: PathBuf,
}

/// Held while building; the lock goes with it.
pub struct BuildLock {
    _file: File,
}

/// A generation on disk.
#[derive(Clone, Debug)]
pub struct StoredGeneration {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is.
    pub manifest: Manifest,
}

impl StoredGeneration {
    /// Folder of the engine's files.
    pub fn engine(&self) -> PathBuf {
        self.folder.join("engine")
    }
}

impl IndexPlace {
    /// The place of an index below the workspace's state folder. Touches nothing.
    pub fn new(state: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), folder: state.join("indexes").join(name) }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Folder of the layers.
    pub fn layers(&self) -> PathBuf {
        self.folder.join("layers")
    }

    /// Folder in which a generation is made.
    pub fn building(&self) -> PathBuf {
        self.folder.join("building")
    }

    fn failed(&self, path: &Path) -> impl FnOnce(io::Error) -> IndexError + use<> {
        let (name, path) = (self.name.clone(), path.to_owned());
        move |source| IndexError::File { name, path, source }
    }

    /// Becomes the one process that builds, or says that another is.
    pub fn lock(&self) -> Result<BuildLock, IndexError> {
        fs::create_dir_all(&self.folder).map_err(self.failed(&self.folder))?;
        self.check_links()?;
        let path = self.folder.join("lock");
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(self.failed(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(BuildLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(IndexError::Busy { name: self.name.clone() }),
            Err(fs::TryLockError::Error(error)) => Err(self.failed(&path)(error)),
        }
    }

    /// Refuses links in place of our own files: a folder from elsewhere could lead us to write or remove what is not ours.
    fn check_links(&self) -> Result<(), IndexError> {
        let above = [self.folder.parent().and_then(Path::parent), self.folder.parent(), Some(&*self.folder)];
        let own =
            ["lock", "layers", "generations", "building", "current", "current.new", "openlineage.jsonl"];
        let paths = above.into_iter().flatten().map(Path::to_owned);
        for path in paths.chain(own.iter().map(|name| self.folder.join(name))) {
            if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.file_type().is_symlink()) {
                return Err(self.damaged(format!("`{}` is a symbolic link", path.display())));
            }
        }
        Ok(())
    }

    /// Folder of the generation that answers, without a look inside.
    pub fn current_folder(&self) -> Option<PathBuf> {
        let name = fs::read_to_string(self.folder.join("current")).ok()?;
        Some(self.folder.join("generations").join(name.trim()))
    }

    /// The generation that answers; absent before the first build.
    pub fn current(&self) -> Result<Option<StoredGeneration>, IndexError> {
        let path = self.folder.join("current");
        // Between reading the name and opening the folder a build may have swept it: then there is a newer one.
        for _ in 0..3 {
            let digest = match fs::read_to_string(&path) {
                Ok(text) => text.trim().to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(self.failed(&path)(error)),
            };
            let is_plain = digest.len() == NAME_DIGITS && digest.chars().all(|c| c.is_ascii_hexdigit());
            if !is_plain {
                return Err(self.damaged(format!("`{}` names no generation", path.display())));
            }
            let folder = self.folder.join("generations").join(&digest);
            match self.read_manifest(&folder) {
                Ok(manifest) => return Ok(Some(StoredGeneration { folder, manifest })),
                Err(IndexError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.damaged("the generation that `current` names is not there".to_owned()))
    }

    fn damaged(&self, reason: String) -> IndexError {
        IndexError::Damaged { name: self.name.clone(), reason }
    }

    fn read_manifest(&self, folder: &Path) -> Result<Manifest, IndexError> {
        let path = folder.join("index.json");
        let bytes = fs::read(&path).map_err(self.failed(&path))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| self.damaged(format!("`{}`: {error}", path.display())))?;
        match manifest.format {
            FORMAT => Ok(manifest),
            newer if newer > FORMAT => {
                Err(self.damaged(format!("it was built by a newer version (format {newer}, here {FORMAT})")))
            }
            other => Err(self.damaged(format!("format {other} is not known"))),
        }
    }

    /// The documents of a generation.
    pub fn documents(&self, generation: &StoredGeneration) -> Result<Vec<DocumentRecord>, IndexError> {
        let path = generation.folder.join("documents.jsonl");
        let text = fs::read_to_string(&path).map_err(self.failed(&path))?;
        text.lines()
            .map(|line| {
                serde_json::from_str(line)
                    .map_err(|error| self.damaged(format!("`{}`: {error}", path.display())))
            })
            .collect()
    }

    /// Makes an empty folder for a new generation; an unfinished one is thrown away.
    pub fn begin(&self) -> Result<PathBuf, IndexError> {
        let building = self.building();
        match fs::remove_dir_all(&building) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed(&building)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&building).map_err(self.failed(&building))?;
        Ok(building)
    }

    /// Writes what a generation is beside its engine, in `folder`.
    pub fn describe(
        &self,
        folder: &Path,
        manifest: &Manifest,
        documents: &[DocumentRecord],
    ) -> Result<(), IndexError> {
        let mut lines = Vec::new();
        for document in documents {
            serde_json::to_writer(&mut lines, document)
                .map_err(|error| self.failed(folder)(io::Error::other(error)))?;
            lines.push(b'\n');
        }
        self.write(&folder.join("documents.jsonl"), &lines)?;
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(|error| self.failed(folder)(io::Error::other(error)))?;
        self.write(&folder.join("index.json"), &text)
    }

    /// Replaces a file in one step.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
        let aside = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&aside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&aside, path)
        };
        write().map_err(self.failed(path))
    }

    /// Folder of a generation by the name it is stored under.
    pub fn generation(&self, stored: &str) -> PathBuf {
        self.folder.join("generations").join(stored.get(..NAME_DIGITS).unwrap_or(stored))
    }

    /// Removes everything that builds keep, but not the generation that answers.
    pub fn forget(&self) -> Result<(), IndexError> {
        let layers = self.layers();
        match fs::remove_dir_all(&layers) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(&layers)(error)),
            _ => Ok(()),
        }
    }

    /// Appends OpenLineage events, one a line.
    pub fn tell_lineage(&self, events: &[serde_json::Value]) -> Result<(), IndexError> {
        let path = self.folder.join("openlineage.jsonl");
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let append = || File::options().create(true).append(true).open(&path)?.write_all(lines.as_bytes());
        append().map_err(self.failed(&path))
    }

    /// Puts the generation in `building` where readers look. From here on it answers.
    pub fn publish(&self, manifest: &Manifest) -> Result<StoredGeneration, IndexError> {
        let folder = self.generation(&manifest.stored);
        let building = self.building();
        if building.is_dir() {
            let parent = self.folder.join("generations");
            fs::create_dir_all(&parent).map_err(self.failed(&parent))?;
            fs::rename(&building, &folder).map_err(self.failed(&folder))?;
        }
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.write(&self.folder.join("current"), name.as_bytes())?;
        Ok(StoredGeneration { folder, manifest: manifest.clone() })
    }

    /// Removes all generations but these. What cannot be removed now is tried again next time.
    pub fn sweep(&self, keep: &[&Path]) {
        if self.check_links().is_err() {
            return;
        }
        let entries = fs::read_dir(self.folder.join("generations")).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.len() == NAME_DIGITS && name.chars().all(|c| c.is_ascii_hexdigit());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_ours && is_folder && !keep.contains(&entry.path().as_path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flowbench_corpus::source::Entry;

    use super::*;

    fn manifest(digit: char) -> Manifest {
        Manifest {
            format: FORMAT,
            digest: std::iter::repeat_n(digit, 64).collect(),
            stored: std::iter::repeat_n(digit, 64).collect(),
            ..Manifest::default()
        }
    }

    #[test]
    fn a_generation_takes_the_place_of_the_last_in_one_step() {
        let state = tempfile::tempdir().unwrap();
        let place = IndexPlace::new(state.path(), "docs");
        assert!(place.current().unwrap().is_none());
        let _lock = place.lock().unwrap();
        for digit in ['a', 'b'] {
            let building = place.begin().unwrap();
            let document = DocumentRecord {
                entry: Entry { name: "x.md".to_owned(), ..Entry::default() },
                ..DocumentRecord::default()
            };
            place.describe(&building, &manifest(digit), &[document]).unwrap();
            place.publish(&manifest(digit)).unwrap();
            let current = place.current().unwrap().unwrap();
            assert_eq!(current.manifest.digest, manifest(digit).digest);
            assert_eq!(place.documents(&current).unwrap()[0].entry.name, "x.md");
        }
        place.sweep(&[&place.generation(&manifest('b').stored)]);
        assert!(!place.generation(&manifest('a').stored).exists());
        assert!(place.current().unwrap().is_some());
    }

    #[test]
    fn one_process_builds_at_a_time() {
        let state = tempfile::tempdir().unwrap();
        let place = IndexPlace::new(state.path(), "docs");
        let lock = place.lock().unwrap();
        let error = place.lock().err().unwrap();
        assert_eq!(error.to_string(), "index `docs` is being built by another process");
        drop(lock);
        assert!(place.lock().is_ok());
    }

    #[test]
    fn a_damaged_place_is_named_and_not_guessed_at() {
        let state = tempfile::tempdir().unwrap();
        let place = IndexPlace::new(state.path(), "docs");
        fs::create_dir_all(place.folder()).unwrap();
        fs::write(place.folder().join("current"), "../../etc").unwrap();
        assert!(place.current().unwrap_err().to_string().starts_with("index `docs` is damaged: "));
        fs::write(place.folder().join("current"), "a".repeat(32)).unwrap();
        assert_eq!(
            place.current().unwrap_err().to_string(),
            "index `docs` is damaged: the generation that `current` names is not there"
        );
        let folder = place.generation(&"a".repeat(64));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.json"), "{").unwrap();
        assert!(place.current().unwrap_err().to_string().contains("index.json"));
        let newer = Manifest { format: 99, ..manifest('a') };
        fs::write(folder.join("index.json"), serde_json::to_vec(&newer).unwrap()).unwrap();
        assert_eq!(
            place.current().unwrap_err().to_string(),
            "index `docs` is damaged: it was built by a newer version (format 99, here 1)"
        );
    }
}
