//! Pulling a model: source by source until its files are in the store, each checked against its record.
//!
//! A file that is there and sound is not brought again; one that is there and damaged is. A pull that was interrupted
//! goes on where it stopped. Cancellation is dropping the future.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use flowbench_core::connection::Secret;
use flowbench_net::Outbound;

use crate::digest::{Measured, measure, sha256_of};
use crate::error::{CatalogError, disk};
use crate::fetch::{Trust, Wanted, blocking, discard, fetch};
use crate::index::{PackageIndex, Wheel};
use crate::pip;
use crate::record::{FileRecord, ModelRecord, Origin, Source, SourceKind, is_inner_path, is_model_name};
use crate::store::{Held, InstalledFile, InstalledModel, ModelStore};
use crate::wheel::Archive;

/// Where the model hub is, unless `HF_ENDPOINT` or a setting says otherwise.
const DEFAULT_HUB: &str = "https://huggingface.co";

/// Most bytes of a file whose size nobody states; the largest single-file models are about this.
const MOST_UNSTATED_BYTES: u64 = 256 << 30;

/// What a wheel may be larger than the files that it holds: code, terms, the archive's own list.
const WHEEL_EXTRA_BYTES: u64 = 64 << 20;

/// First pause after a broken connection; doubles.
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Only from sources of this kind.
    pub from: Option<SourceKind>,
    /// Address of the model hub.
    pub hub_endpoint: String,
    /// What the hub asks to be shown for models behind a licence.
    pub hub_token: Option<Secret>,
    /// Address of the package index; otherwise what pip is configured with.
    pub index_url: Option<String>,
    /// First pause after a broken connection; doubles with each failure in a row.
    pub retry_wait: Duration,
}

impl PullOptions {
    /// What the environment says: `HF_ENDPOINT` and `HF_TOKEN`. pip's settings are read when they are needed.
    pub fn from_env(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
        let hub = variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_HUB.to_owned());
        Self {
            from: None,
            hub_endpoint: hub.trim().trim_end_matches('/').to_owned(),
            hub_token: variable("HF_TOKEN").map(Secret::new),
            index_url: None,
            retry_wait: RETRY_WAIT,
        }
    }
}

/// What happens while a model is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullEvent {
    /// Somebody else is bringing it; we wait.
    Waiting {
        /// Model.
        model: String,
    },
    /// A source is tried.
    Trying {
        /// Which.
        source: String,
    },
    /// It failed, and the next one is tried.
    Failed {
        /// Which.
        source: String,
        /// Why.
        reason: String,
    },
    /// More of a file has come.
    Coming {
        /// File, or the wheel that holds it.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where that is known.
        total: Option<u64>,
    },
    /// A file is complete and sound.
    Here {
        /// File.
        file: String,
    },
}

/// A pulled model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The model as installed.
    pub model: InstalledModel,
    /// True if everything was here already.
    pub was_here: bool,
}

/// Takes events; must not block.
type Listener<'a> = &'a (dyn Fn(PullEvent) + Send + Sync);

/// Brings a model into the store. Fails with what every source said, when none of them could bring it.
pub async fn pull(
    store: &ModelStore,
    record: &ModelRecord,
    net: &Outbound,
    options: &PullOptions,
    listener: Listener<'_>,
) -> Result<Pulled, CatalogError> {
    if !is_model_name(&record.name) || !record.files.iter().all(|file| is_inner_path(&file.path)) {
        return Err(CatalogError::BadName { name: record.name.clone() });
    }
    if let Some(model) = crate::shipped::meant_by(record).and_then(|shipped| shipped.installed()) {
        return Ok(Pulled { model, was_here: true });
    }
    let waiting = || listener(PullEvent::Waiting { model: record.name.clone() });
    let _held = store.lock(&format!("model-{}", record.name), waiting).await?;
    let mut pull = Pull { store, record, net, options, listener, measured: vec![None; record.files.len()] };
    pull.find_what_is_here().await?;
    if pull.is_done() {
        let source = store.installed_model(&record.name).ok().flatten().map(|model| model.source);
        let model = pull.install(source.unwrap_or_else(|| "already here".to_owned()))?;
        return Ok(Pulled { model, was_here: true });
    }
    let is_asked = |source: &&Source| options.from.is_none_or(|kind| kind == source.kind());
    let mut attempts = Vec::new();
    let mut is_integrity = false;
    for source in record.sources.iter().filter(is_asked) {
        listener(PullEvent::Trying { source: source.to_string() });
        match pull.from(source).await {
            Ok(()) => {
                let model = pull.install(source.to_string())?;
                return Ok(Pulled { model, was_here: false });
            }
            // A full disk is full for every source.
            Err(error @ CatalogError::Disk { .. }) => return Err(error),
            Err(error) => {
                is_integrity |= error.is_integrity();
                let reason = error.to_string();
                attempts.push(format!("{source}: {reason}"));
                listener(PullEvent::Failed { source: source.to_string(), reason });
            }
        }
    }
    let name = record.name.clone();
    if attempts.is_empty() {
        let asked = options.from.map_or("anywhere", SourceKind::as_str).to_owned();
        return Err(CatalogError::NoSuchSource { name, asked });
    }
    Err(CatalogError::AllFailed { name, attempts, is_integrity })
}

struct Pull<'a> {
    store: &'a ModelStore,
    record: &'a ModelRecord,
    net: &'a Outbound,
    options: &'a PullOptions,
    listener: Listener<'a>,
    /// For each file of the record what is in the store, if it is.
    measured: Vec<Option<Measured>>,
}

impl Pull<'_> {
    fn is_done(&self) -> bool {
        self.measured.iter().all(Option::is_some)
    }

    fn missing(&self) -> Vec<(usize, FileRecord)> {
        let files = self.record.files.iter().cloned().enumerate();
        files.filter(|(index, _)| self.measured[*index].is_none()).collect()
    }

    /// Measures what the store has; damaged content is removed, so that it is brought again.
    async fn find_what_is_here(&mut self) -> Result<(), CatalogError> {
        for (index, file) in self.missing() {
            let Some(sha256) = file.sha256 else { continue };
            let path = self.store.blob(&sha256);
            let found = blocking(move || {
                if !path.is_file() {
                    return Ok(None);
                }
                let found = measure(&path).map_err(disk(&path))?;
                if found.sha256 == sha256 {
                    return Ok(Some(found));
                }
                std::fs::remove_file(&path).map_err(disk(&path))?;
                Ok(None)
            });
            self.measured[index] = found.await?;
        }
        Ok(())
    }

    fn install(&self, source: String) -> Result<InstalledModel, CatalogError> {
        let files = self.record.files.iter().zip(&self.measured).filter_map(|(file, measured)| {
            let Measured { bytes, sha256 } = measured.clone()?;
            Some(InstalledFile { path: file.path.clone(), sha256, bytes })
        });
        let model = InstalledModel {
            name: self.record.name.clone(),
            task: Some(self.record.task),
            format: self.record.format,
            licence: self.record.licence.clone(),
            source,
            files: files.collect(),
        };
        self.store.install(&model)?;
        Ok(model)
    }

    async fn from(&mut self, source: &Source) -> Result<(), CatalogError> {
        match source {
            Source::Hub { repository, revision } => {
                let base = format!("{}/{repository}/resolve/{revision}/", self.options.hub_endpoint);
                let token = self.options.hub_token.iter();
                let headers: Vec<_> = token
                    .map(|token| ("authorization".to_owned(), format!("Bearer {}", token.reveal())))
                    .collect();
                self.files_below(&base, &headers, Trust::Configured).await
            }
            Source::Url { url } => {
                let trust = match self.record.origin {
                    Origin::Asked => Trust::Configured,
                    Origin::Shipped => Trust::Public,
                    Origin::Workspace => Trust::Policy,
                };
                self.files_below(url, &[], trust).await
            }
            Source::Python { packages, version } => self.files_in_wheels(packages, version).await,
            Source::Shipped { .. } => Err(CatalogError::NoSuchSource {
                name: self.record.name.clone(),
                asked: "this version of the program".to_owned(),
            }),
        }
    }

    /// Every missing file from `base`: a folder if it ends with `/`, else the one file itself.
    async fn files_below(
        &mut self,
        base: &str,
        headers: &[(String, String)],
        trust: Trust,
    ) -> Result<(), CatalogError> {
        for (index, file) in self.missing() {
            let url = match base.ends_with('/') {
                true => format!("{base}{}", file.path),
                false => base.to_owned(),
            };
            let key = file.sha256.clone().unwrap_or_else(|| format!("url-{}", sha256_of(&url)));
            let wanted = Wanted {
                file: file.path.clone(),
                url,
                sha256: file.sha256.clone(),
                bytes: file.bytes,
                limit: MOST_UNSTATED_BYTES,
                headers: headers.to_vec(),
                trust,
            };
            let (partial, _held) = self.partial(&key).await?;
            let measured = self.fetch(&wanted, &partial).await?;
            self.store.keep(&partial, &measured.sha256)?;
            self.here(index, &file, measured);
        }
        Ok(())
    }

    async fn files_in_wheels(&mut self, packages: &[String], version: &str) -> Result<(), CatalogError> {
        let address = match &self.options.index_url {
            Some(url) => url.clone(),
            None => pip::index_url(&|name| std::env::var(name).ok()).await?,
        };
        let index = PackageIndex::new(&address)?;
        let mut wheels = Vec::new();
        for package in packages {
            let wheel = index.wheel(self.net, package, version).await?;
            wheels.push(self.bring_wheel(wheel).await?);
        }
        let outcome = match wheels.as_slice() {
            [_only] => self.unpack(&wheels).await,
            _ => self.join(&wheels).await,
        };
        // Unpacked or unusable: either way it is of no more use.
        for wheel in &wheels {
            discard(&wheel.path).await?;
        }
        outcome
    }

    async fn bring_wheel(&self, wheel: Wheel) -> Result<Brought, CatalogError> {
        let promised: u64 = self.record.files.iter().filter_map(|file| file.bytes).sum();
        let limit = promised + WHEEL_EXTRA_BYTES;
        if let Some(found) = wheel.bytes.filter(|bytes| *bytes > limit) {
            return Err(CatalogError::Size { file: wheel.filename, expected: limit, found });
        }
        let key = wheel.sha256.clone().unwrap_or_else(|| sha256_of(&wheel.url));
        let wanted = Wanted {
            file: wheel.filename.clone(),
            url: wheel.url,
            sha256: wheel.sha256,
            bytes: wheel.bytes,
            limit,
            headers: wheel.headers,
            trust: Trust::Configured,
        };
        let (path, held) = self.partial(&format!("wheel-{key}")).await?;
        self.fetch(&wanted, &path).await?;
        Ok(Brought { name: wheel.filename, path, _held: held })
    }

    /// One wheel that holds the files.
    async fn unpack(&mut self, wheels: &[Brought]) -> Result<(), CatalogError> {
        let missing = self.missing();
        let paths: Vec<String> = self.record.files.iter().map(|file| file.path.clone()).collect();
        for (index, file) in missing {
            let (partial, _held) = self.partial(&unpacking_key(&file)).await?;
            let (wheel, name, target) = (wheels[0].path.clone(), wheels[0].name.clone(), partial.clone());
            let (wanted, paths) = (file.clone(), paths.clone());
            let measured = blocking(move || {
                let mut archive = Archive::open(&wheel, &name)?;
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                let entry = format!("{}{}", archive.folder_with(&paths)?, wanted.path);
                let mut output = File::create(&target).map_err(disk(&target))?;
                archive.copy(&entry, &mut output, wanted.bytes.unwrap_or(MOST_UNSTATED_BYTES))
            });
            let measured = measured.await;
            self.keep_unpacked(index, &file, &partial, measured).await?;
        }
        Ok(())
    }

    /// Several wheels that hold a part each.
    async fn join(&mut self, wheels: &[Brought]) -> Result<(), CatalogError> {
        for (index, file) in self.missing() {
            let (partial, _held) = self.partial(&unpacking_key(&file)).await?;
            let archives: Vec<_> =
                wheels.iter().map(|wheel| (wheel.path.clone(), wheel.name.clone())).collect();
            let (wanted, target) = (file.clone(), partial.clone());
            let measured = blocking(move || {
                let mut output = File::create(&target).map_err(disk(&target))?;
                let mut left = wanted.bytes.unwrap_or(MOST_UNSTATED_BYTES);
                for (path, name) in archives {
                    let mut archive = Archive::open(&path, &name)?;
                    let entry = archive.part_of(&wanted.path)?;
                    left -= archive.copy(&entry, &mut output, left)?.bytes;
                }
                output.flush().map_err(disk(&target))?;
                measure(&target).map_err(disk(&target))
            });
            let measured = measured.await;
            self.keep_unpacked(index, &file, &partial, measured).await?;
        }
        Ok(())
    }

    /// Keeps what was unpacked if it is what the record promises, and removes it if not.
    async fn keep_unpacked(
        &mut self,
        index: usize,
        file: &FileRecord,
        partial: &std::path::Path,
        measured: Result<Measured, CatalogError>,
    ) -> Result<(), CatalogError> {
        let checked = measured.and_then(|measured| {
            let name = || file.path.clone();
            match (&file.bytes, &file.sha256) {
                (Some(expected), _) if *expected != measured.bytes => {
                    Err(CatalogError::Size { file: name(), expected: *expected, found: measured.bytes })
                }
                (_, Some(expected)) if *expected != measured.sha256 => Err(CatalogError::Digest {
                    file: name(),
                    expected: expected.clone(),
                    found: measured.sha256,
                }),
                _ => Ok(measured),
            }
        });
        match checked {
            Ok(measured) => {
                self.store.keep(partial, &measured.sha256)?;
                self.here(index, file, measured);
                Ok(())
            }
            Err(error) => {
                discard(partial).await?;
                Err(error)
            }
        }
    }

    fn here(&mut self, index: usize, file: &FileRecord, measured: Measured) {
        self.measured[index] = Some(measured);
        (self.listener)(PullEvent::Here { file: file.path.clone() });
    }

    async fn fetch(&self, wanted: &Wanted, partial: &std::path::Path) -> Result<Measured, CatalogError> {
        let told = |done: u64| {
            (self.listener)(PullEvent::Coming { file: wanted.file.clone(), done, total: wanted.bytes });
        };
        fetch(self.net, wanted, partial, self.options.retry_wait, &told).await
    }

    /// A place for what is coming, for us alone: another model may share the file.
    async fn partial(&self, key: &str) -> Result<(PathBuf, Held), CatalogError> {
        let waiting = || (self.listener)(PullEvent::Waiting { model: self.record.name.clone() });
        let held = self.store.lock(key, waiting).await?;
        Ok((self.store.partial(key)?, held))
    }
}

/// A wheel on disk, and the lock that keeps it ours.
struct Brought {
    name: String,
    path: PathBuf,
    _held: Held,
}

/// Not the key of a download: what is unpacked is never resumed.
fn unpacking_key(file: &FileRecord) -> String {
    format!("unpacking-{}", file.sha256.clone().unwrap_or_else(|| sha256_of(&file.path)))
}
