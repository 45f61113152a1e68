//! The one store of model files: content under its digest, and a note a model that says which of it is its own.
//!
//! ```text
//! models/blobs/DIGEST         a file, complete and checked
//! models/installed/NAME.json  which files a model has, and where they came from
//! models/partial/             what is still coming; survives an interruption
//! models/locks/               so that two processes do not write the same file
//! ```
//!
//! Whatever is in `blobs` or `installed` was moved there in one step, so a reader never sees half of it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::digest::{Measured, copy_measured, measure, sha256_of};
use crate::error::{CatalogError, disk};
use crate::record::{Licence, ModelFormat, Task, is_inner_path, is_model_name};
use crate::shipped::{self, ShippedModel};

/// How often a lock that another process holds is tried again; short beside any download.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Folders inside a model's folder that are looked into: `1_Pooling` and `onnx` are one deep.
const MOST_FOLDERS_DEEP: usize = 4;

/// Files in a model's folder; more is some other kind of folder.
const MOST_FILES: usize = 2_000;

/// One file of an installed model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    /// Path within the model.
    pub path: String,
    /// Digest, and its name in the store.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// A model whose files are here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledModel {
    /// Name.
    pub name: String,
    /// What it is for, where somebody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// How it is written.
    pub format: ModelFormat,
    /// What its owner allows.
    #[serde(default)]
    pub licence: Licence,
    /// Where it came from.
    pub source: String,
    /// What it consists of.
    pub files: Vec<InstalledFile>,
}

impl InstalledModel {
    /// Size of everything.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// One digest for the whole model: of its only file, or of all paths and digests in order.
    pub fn digest(&self) -> String {
        match self.files.as_slice() {
            [only] => only.sha256.clone(),
            files => {
                let lines: BTreeMap<_, _> = files.iter().map(|file| (&file.path, &file.sha256)).collect();
                let text: String = lines.iter().map(|(path, sha256)| format!("{sha256}  {path}\n")).collect();
                sha256_of(&text)
            }
        }
    }
}

/// A file to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Path within the model, such as `tokenizer.json`.
    pub path: String,
    /// Where it lies on disk, under another name.
    pub location: PathBuf,
}

/// The files of one model, ready to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// Catalog name, or the path as the user wrote it.
    pub name: String,
    /// How it is written.
    pub format: ModelFormat,
    /// Every file.
    pub files: Vec<ModelFile>,
    /// Digest of the model, where its files were checked against one; absent for paths.
    pub digest: Option<String>,
    /// The model itself where it is part of the program; then `files` is empty.
    pub shipped: Option<&'static ShippedModel>,
}

impl ModelFiles {
    /// Where the file `path` of the model lies.
    pub fn file(&self, path: &str) -> Option<&Path> {
        self.files.iter().find(|file| file.path == path).map(|file| file.location.as_path())
    }

    /// The weights: the one GGUF file, or `model.safetensors`.
    pub fn weights(&self) -> Option<&Path> {
        match self.format {
            ModelFormat::Gguf => {
                self.files.iter().find(|file| has_extension(&file.path, "gguf")).map(|file| &*file.location)
            }
            ModelFormat::Safetensors => self.file("model.safetensors"),
        }
    }
}

/// What verification found of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum FileState {
    /// As promised.
    Sound,
    /// Not there.
    Missing,
    /// Other bytes.
    Wrong {
        /// Digest of what is there.
        found: String,
    },
}

/// One file and what verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileCheck {
    /// Path within the model.
    pub path: String,
    /// Digest it should have.
    pub sha256: String,
    /// What was found.
    #[serde(flatten)]
    pub state: FileState,
}

/// The models of one state folder.
#[derive(Clone, Debug)]
pub struct ModelStore {
    root: PathBuf,
}

impl ModelStore {
    /// The store below a state folder. Creates nothing until something is kept.
    pub fn new(state: &Path) -> Self {
        Self { root: state.join("models") }
    }

    /// Every model that is here, shipped ones included, by name. A damaged note is an error that names it.
    pub fn installed(&self) -> Result<Vec<InstalledModel>, CatalogError> {
        let folder = self.root.join("installed");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(disk(folder)(error)),
        };
        let mut names: Vec<String> =
            shipped::installed_models().iter().map(|model| model.name.clone()).collect();
        for entry in entries.into_iter().flatten() {
            let name = entry.map_err(disk(&folder))?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
        }
        names.sort();
        names.dedup();
        names.iter().filter_map(|name| self.installed_model(name).transpose()).collect()
    }

    /// A model that is here, by name: pulled or added, else shipped.
    pub fn installed_model(&self, name: &str) -> Result<Option<InstalledModel>, CatalogError> {
        let shipped = || shipped::shipped(name).and_then(ShippedModel::installed);
        Ok(self.noted_model(name)?.or_else(shipped))
    }

    /// A model that was pulled or added.
    fn noted_model(&self, name: &str) -> Result<Option<InstalledModel>, CatalogError> {
        if !is_model_name(name) {
            return Ok(None);
        }
        let path = self.note(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk(path)(error)),
        };
        let model: InstalledModel = serde_json::from_str(&text)
            .map_err(|error| CatalogError::Note { path: path.clone(), reason: error.to_string() })?;
        let is_sound =
            |file: &InstalledFile| is_inner_path(&file.path) && crate::digest::is_sha256(&file.sha256);
        if !model.files.iter().all(is_sound) {
            return Err(CatalogError::Note { path, reason: "a path or digest in it is none".to_owned() });
        }
        Ok(Some(model))
    }

    /// The files behind a reference: the name of an installed or shipped model, else a path from `base` to a GGUF file or
    /// to a folder with `model.safetensors`.
    pub fn resolve(
        &self,
        reference: &str,
        base: &Path,
        catalog: &Catalog,
    ) -> Result<ModelFiles, CatalogError> {
        if let Some(model) = self.noted_model(reference)? {
            let files = model.files.iter().map(|file| (file, self.blob(&file.sha256)));
            let files: Vec<_> =
                files.map(|(file, location)| ModelFile { path: file.path.clone(), location }).collect();
            // A lost file is the same to the user as one that never came.
            if !files.iter().all(|file| file.location.is_file()) {
                return Err(CatalogError::NotPulled { name: reference.to_owned() });
            }
            let digest = Some(model.digest());
            let (name, format) = (reference.to_owned(), model.format);
            return Ok(ModelFiles { name, format, files, digest, shipped: None });
        }
        if let Some(record) = catalog.get(reference) {
            if let Some(shipped) = shipped::meant_by(record) {
                let (name, format) = (reference.to_owned(), record.format);
                let digest = shipped.installed().map(|model| model.digest());
                return Ok(ModelFiles { name, format, files: Vec::new(), digest, shipped: Some(shipped) });
            }
            return Err(CatalogError::NotPulled { name: reference.to_owned() });
        }
        let path = base.join(reference);
        let looks_like_path = reference.contains(['/', '\\']) || has_extension(reference, "gguf");
        if !path.exists() && !looks_like_path {
            let similar = catalog.similar(reference).map(str::to_owned);
            return Err(CatalogError::UnknownModel { name: reference.to_owned(), similar });
        }
        let (format, files) = model_at(&path)?;
        Ok(ModelFiles { name: reference.to_owned(), format, files, digest: None, shipped: None })
    }

    /// Reads every file of a model again and compares digests. Takes as long as reading does.
    pub fn verify(&self, model: &InstalledModel) -> Result<Vec<FileCheck>, CatalogError> {
        let check = |file: &InstalledFile| {
            let path = self.blob(&file.sha256);
            let shipped = shipped::shipped(&model.name).and_then(|shipped| shipped.file(&file.path));
            let measured = match shipped.filter(|_| !path.exists()) {
                Some(mut bytes) => copy_measured(&mut bytes, &mut io::sink(), u64::MAX),
                None => measure(&path),
            };
            let state = match measured {
                Ok(found) if found.sha256 == file.sha256 => FileState::Sound,
                Ok(found) => FileState::Wrong { found: found.sha256 },
                Err(error) if error.kind() == io::ErrorKind::NotFound => FileState::Missing,
                Err(error) => return Err(disk(path)(error)),
            };
            Ok(FileCheck { path: file.path.clone(), sha256: file.sha256.clone(), state })
        };
        model.files.iter().map(check).collect()
    }

    /// Copies a GGUF file, or a folder with `model.safetensors`, into the store under `name`.
    pub fn add(&self, name: &str, path: &Path, task: Option<Task>) -> Result<InstalledModel, CatalogError> {
        if !is_model_name(name) {
            return Err(CatalogError::BadName { name: name.to_owned() });
        }
        let (format, found) = model_at(path)?;
        let mut files = Vec::new();
        for file in found {
            let temporary = self.partial(&format!("add-{name}-{}", files.len()))?;
            let copied = copy(&file.location, &temporary)?;
            self.keep(&temporary, &copied.sha256)?;
            files.push(InstalledFile { path: file.path, sha256: copied.sha256, bytes: copied.bytes });
        }
        let source = "added".to_owned();
        let model = InstalledModel {
            name: name.to_owned(),
            task,
            format,
            licence: Licence::default(),
            source,
            files,
        };
        self.install(&model)?;
        Ok(model)
    }

    /// Where the content with this digest lies or would lie.
    pub(crate) fn blob(&self, sha256: &str) -> PathBuf {
        self.root.join("blobs").join(sha256)
    }

    /// A place for content that is still coming; its folder exists.
    pub(crate) fn partial(&self, key: &str) -> Result<PathBuf, CatalogError> {
        Ok(self.folder("partial")?.join(key))
    }

    /// Moves complete and checked content to where it belongs.
    pub(crate) fn keep(&self, from: &Path, sha256: &str) -> Result<(), CatalogError> {
        let to = self.folder("blobs")?.join(sha256);
        OpenOptions::new().write(true).open(from).and_then(|file| file.sync_all()).map_err(disk(from))?;
        fs::rename(from, &to).map_err(disk(to))
    }

    /// Notes that a model is here.
    pub(crate) fn install(&self, model: &InstalledModel) -> Result<(), CatalogError> {
        self.folder("installed")?;
        let temporary = self.partial(&format!("note-{}", model.name))?;
        let text = serde_json::to_string_pretty(model)
            .map_err(|error| CatalogError::Internal { reason: error.to_string() })?;
        fs::write(&temporary, text + "\n").map_err(disk(&temporary))?;
        let note = self.note(&model.name);
        fs::rename(&temporary, &note).map_err(disk(note))
    }

    /// Waits until nobody else works on `key`; `waiting` is told once if that takes a while.
    pub(crate) async fn lock(&self, key: &str, waiting: impl Fn()) -> Result<Held, CatalogError> {
        let path = self.folder("locks")?.join(key);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(disk(&path))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Held(file)),
                Err(TryLockError::Error(error)) => return Err(disk(path)(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if !told {
                waiting();
                told = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    fn note(&self, name: &str) -> PathBuf {
        self.root.join("installed").join(format!("{name}.json"))
    }

    fn folder(&self, name: &str) -> Result<PathBuf, CatalogError> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).map_err(disk(&folder))?;
        Ok(folder)
    }
}

/// A lock; dropping it lets the next one in, and so does the end of the process.
pub(crate) struct Held(#[expect(dead_code, reason = "held, not used")] File);

fn copy(from: &Path, to: &Path) -> Result<Measured, CatalogError> {
    let mut source = File::open(from).map_err(disk(from))?;
    let mut target = File::create(to).map_err(disk(to))?;
    copy_measured(&mut source, &mut target, u64::MAX).map_err(disk(to))
}

/// The model that a path leads to.
fn model_at(path: &Path) -> Result<(ModelFormat, Vec<ModelFile>), CatalogError> {
    let none = |reason: &str| CatalogError::NoModelAt { path: path.to_owned(), reason: reason.to_owned() };
    let metadata = fs::metadata(path).map_err(disk(path))?;
    if metadata.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !has_extension(&name, "gguf") {
            return Err(none("a single file must be a `.gguf`"));
        }
        return Ok((ModelFormat::Gguf, vec![ModelFile { path: name, location: path.to_owned() }]));
    }
    let mut files = Vec::new();
    collect(path, "", 0, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if files.iter().any(|file| file.path == "model.safetensors") {
        return Ok((ModelFormat::Safetensors, files));
    }
    files.retain(|file| has_extension(&file.path, "gguf"));
    match files.len() {
        0 => Err(none("it holds neither `model.safetensors` nor a `.gguf` file")),
        1 => Ok((ModelFormat::Gguf, files)),
        _ => Err(none("it holds several `.gguf` files; name one")),
    }
}

/// Every file below a folder; hidden ones, such as a clone's `.git`, are no part of a model.
fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<ModelFile>,
) -> Result<(), CatalogError> {
    for entry in fs::read_dir(folder).map_err(disk(folder))? {
        let entry = entry.map_err(disk(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let location = entry.path();
        let path = format!("{prefix}{name}");
        if name.starts_with('.') || !is_inner_path(&path) {
            continue;
        }
        if location.is_dir() && depth < MOST_FOLDERS_DEEP {
            collect(&location, &format!("{path}/"), depth + 1, files)?;
        } else if location.is_file() {
            files.push(ModelFile { path, location });
        }
        if files.len() > MOST_FILES {
            let reason = format!("it holds more than {MOST_FILES} files");
            return Err(CatalogError::NoModelAt { path: folder.to_owned(), reason });
        }
    }
    Ok(())
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// Adds files from a folder under the name `own` and tells what the model consists of, or the error.
    #[track_caller]
    fn check(files: &[(&str, &str)], from: &str, expected: Result<&[&str], &str>) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), files);
        let store = ModelStore::new(&folder.path().join("state"));
        let added = store.add("own", &folder.path().join(from), None);
        let added =
            added.map_err(|error| error.to_string().replace(&*folder.path().to_string_lossy(), "DIR"));
        let paths = added.map(|model| model.files.into_iter().map(|file| file.path).collect::<Vec<_>>());
        let expected = expected.map(|paths| paths.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(paths, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_file_or_a_folder_can_be_added() {
        check(&[("a/m.gguf", "x")], "a/m.gguf", Ok(&["m.gguf"]));
        check(&[("a/m.gguf", "x"), ("a/README.md", "y")], "a", Ok(&["m.gguf"]));
        let folder = [("a/model.safetensors", "x"), ("a/1_Pooling/config.json", "y"), ("a/.git/config", "z")];
        check(&folder, "a", Ok(&["1_Pooling/config.json", "model.safetensors"]));
        check(
            &[("a/m.bin", "x")],
            "a/m.bin",
            Err("`DIR/a/m.bin` is not a model: a single file must be a `.gguf`"),
        );
        check(
            &[("a/notes.txt", "x")],
            "a",
            Err("`DIR/a` is not a model: it holds neither `model.safetensors` nor a `.gguf` file"),
        );
        check(
            &[("a/1.gguf", ""), ("a/2.gguf", "")],
            "a",
            Err("`DIR/a` is not a model: it holds several `.gguf` files; name one"),
        );
    }

    #[test]
    fn a_reference_is_a_name_first_and_a_path_else() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("here/m.gguf", "here"), ("other.gguf", "other")]);
        let store = ModelStore::new(&folder.path().join("state"));
        let catalog = Catalog::shipped();
        let resolve = |reference: &str| store.resolve(reference, folder.path(), &catalog);
        store.add("own", &folder.path().join("here/m.gguf"), Some(Task::Chat)).unwrap();
        let own = resolve("own").unwrap();
        assert_eq!(fs::read_to_string(own.weights().unwrap()).unwrap(), "here");
        assert_eq!(own.digest.as_deref(), Some(sha256_of("here").as_str()), "one file: its own digest");
        let path = resolve("other.gguf").unwrap();
        assert_eq!(path.weights(), Some(folder.path().join("other.gguf").as_path()));
        assert_eq!(path.digest, None);
        let text = |reference: &str| {
            let error = resolve(reference).unwrap_err();
            (error.to_string(), error.hint().unwrap_or_default())
        };
        assert_eq!(text("all-minilm-l6-v2").0, "model `all-minilm-l6-v2` is not on this machine");
        assert_eq!(text("all-minilm-l6-v2").1, "flowbench models pull all-minilm-l6-v2");
        let (error, hint) = text("all-minilm-l6");
        assert_eq!(
            (error.as_str(), hint.as_str()),
            ("there is no model `all-minilm-l6`", "did you mean `all-minilm-l6-v2`?")
        );
    }

    #[test]
    fn a_damaged_note_is_named_and_a_forged_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::new(folder.path());
        let shipped = shipped::installed_models();
        assert_eq!(store.installed().unwrap(), shipped, "a store that does not exist yet holds nothing else");
        write(folder.path(), &[("models/installed/a.json", "{")]);
        let error = store.installed().unwrap_err();
        assert!(error.to_string().contains("a.json` is not a note of an installed model"), "{error}");
        let forged = r#"{"name": "a", "format": "gguf", "source": "x", "files": [{"path": "m.gguf", "sha256": "../../secret", "bytes": 1}]}"#;
        write(folder.path(), &[("models/installed/a.json", forged)]);
        assert!(matches!(store.installed_model("a"), Err(CatalogError::Note { .. })));
        assert_eq!(store.installed_model("../a").unwrap(), None, "no name leads out of the store");
    }
}
