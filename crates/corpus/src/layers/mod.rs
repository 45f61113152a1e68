//! What is kept between builds, by digest: documents as fetched, their cleaned text, their chunks, their vectors.
//!
//! [`Layers`] is a folder with one append-only [`Pack`] for each layer. The first is content-addressed; in the others
//! the key is a [`key`] over everything the value depends on (digest of the input, settings, versions), so a value is
//! never changed, only added. A pack survives a kill at any moment: a torn end is dropped at opening, every record
//! is checksummed, and a damaged one is named and counts as absent, so that it is made again. What is not here: what
//! the bytes mean.

mod digest;
mod pack;
mod places;
mod platform;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use digest::{Digest, DigestError, key};
pub use pack::{Pack, Swept};

/// Which layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Documents as fetched, by the digest of their bytes.
    Fetched,
    /// Extracted and cleaned text.
    Texts,
    /// Chunks.
    Chunks,
    /// Vectors.
    Vectors,
}

impl Layer {
    /// All layers, first to last.
    pub const ALL: [Self; 4] = [Self::Fetched, Self::Texts, Self::Chunks, Self::Vectors];

    /// Name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Texts => "texts",
            Self::Chunks => "chunks",
            Self::Vectors => "vectors",
        }
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that cannot be kept or found again.
#[derive(Debug, Error)]
pub enum LayerError {
    /// A file cannot be read or written.
    #[error("`{}` cannot be {doing}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// `read`, `written` and the like.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Another process writes here.
    #[error("`{}` is being written by another build", dir.display())]
    Busy {
        /// Which folder.
        dir: PathBuf,
    },
    /// A record is not what was written.
    #[error("a kept record is damaged: `{digest}` in layer `{layer}`")]
    Corrupt {
        /// Layer.
        layer: Layer,
        /// Key of the record.
        digest: Digest,
    },
    /// A file is not ours, or of a version that this program does not know.
    #[error("`{}` is no pack that this version reads", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
    },
    /// The layers were opened for reading only.
    #[error("`{}` was opened for reading only", dir.display())]
    ReadOnly {
        /// Which folder.
        dir: PathBuf,
    },
}

impl LayerError {
    /// What to do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Busy { .. } => "wait for it to end, or stop it",
            Self::Corrupt { .. } => "build again: what is damaged is made anew",
            Self::Format { .. } => "update, or remove the folder: the next build fills it again",
            Self::Io { .. } | Self::ReadOnly { .. } => return None,
        })
    }

    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), doing, source }
    }
}

/// The four layers of one index. Shared by reference: reading and adding take `&self`, from any thread.
#[derive(Debug)]
pub struct Layers {
    packs: [Pack; 4],
    /// Held as long as we may write; the system lets go of it when the process dies.
    _lock: Option<File>,
}

impl Layers {
    /// Opens for reading and writing, and makes the folder where there is none. Drops what a killed process left
    /// half-written. Fails with [`LayerError::Busy`] while another process (or another value of this type) writes.
    pub fn open(dir: &Path) -> Result<Self, LayerError> {
        std::fs::create_dir_all(dir).map_err(LayerError::io(dir, "made"))?;
        // A folder from elsewhere could bring links that lead our writing to what is not ours.
        for entry in std::fs::read_dir(dir).map_err(LayerError::io(dir, "read"))?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                return Err(LayerError::Format { path: entry.path() });
            }
        }
        let path = dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(LayerError::io(&path, "opened"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LayerError::Busy { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(LayerError::io(&path, "locked")(source)),
        }
        Ok(Self { packs: open_packs(dir, true)?, _lock: Some(lock) })
    }

    /// Opens what there is now, for reading; others may write meanwhile, which is not seen.
    pub fn open_to_read(dir: &Path) -> Result<Self, LayerError> {
        Ok(Self { packs: open_packs(dir, false)?, _lock: None })
    }

    /// One layer.
    pub fn pack(&self, layer: Layer) -> &Pack {
        &self.packs[layer as usize]
    }

    /// Keeps a document as fetched and gives its digest, which is BLAKE3 of its bytes.
    pub fn put_fetched(&self, bytes: &[u8]) -> Result<Digest, LayerError> {
        let digest = Digest::of(bytes);
        self.fetched().put(&digest, bytes)?;
        Ok(digest)
    }

    /// Documents as fetched; see [`Layers::put_fetched`].
    pub fn fetched(&self) -> &Pack {
        self.pack(Layer::Fetched)
    }

    /// Extracted and cleaned text.
    pub fn texts(&self) -> &Pack {
        self.pack(Layer::Texts)
    }

    /// Chunks.
    pub fn chunks(&self) -> &Pack {
        self.pack(Layer::Chunks)
    }

    /// Vectors.
    pub fn vectors(&self) -> &Pack {
        self.pack(Layer::Vectors)
    }

    /// Makes everything that was put survive a power cut.
    pub fn sync(&self) -> Result<(), LayerError> {
        self.packs.iter().try_for_each(Pack::sync)
    }

    /// Rewrites the packs without what `keep` does not want, and says what went.
    pub fn sweep(&self, keep: impl Fn(Layer, &Digest) -> bool) -> Result<Swept, LayerError> {
        let mut total = Swept::default();
        for layer in Layer::ALL {
            total += self.pack(layer).sweep(|digest| keep(layer, digest))?;
        }
        Ok(total)
    }

    /// Reads every record, and says how many there are and which are damaged.
    pub fn verify(&self) -> Result<Verified, LayerError> {
        let mut verified = Verified::default();
        for layer in Layer::ALL {
            let pack = self.pack(layer);
            for digest in pack.digests() {
                match pack.get(&digest) {
                    Ok(Some(bytes)) => {
                        verified.records += 1;
                        verified.bytes += bytes.len() as u64;
                    }
                    Ok(None) => {}
                    Err(LayerError::Corrupt { .. }) => verified.damaged.push((layer, digest)),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(verified)
    }
}

fn open_packs(dir: &Path, can_write: bool) -> Result<[Pack; 4], LayerError> {
    let [fetched, texts, chunks, vectors] = Layer::ALL.map(|layer| Pack::open(dir, layer, can_write));
    Ok([fetched?, texts?, chunks?, vectors?])
}

/// What [`Layers::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Sound records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged records.
    pub damaged: Vec<(Layer, Digest)>,
}

#[cfg(test)]
mod tests;
