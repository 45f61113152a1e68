//! What `indexes/NAME.yaml` says, and the documents it names.

use std::path::{Path, PathBuf};

use flowbench_format::yaml::YamlDocument;
use serde_json::Value;
use thiserror::Error;

use crate::chunk::{Chunk, by_headings};

/// Largest file read as a document; more text than a person writes by hand.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;
/// Most documents of one index in memory.
const MAX_DOCUMENTS: usize = 50_000;
/// Most text of one index in memory.
const MAX_INDEX_BYTES: u64 = 256 << 20;
/// Words of a chunk where the spec names tokens: three tokens are about two English words.
const WORDS_PER_TOKEN: f64 = 2.0 / 3.0;

/// An index that cannot be opened or asked.
#[derive(Debug, Error)]
pub enum IndexError {
    /// There is no such spec.
    #[error("index `{name}` does not exist: `{}` is not there", path.display())]
    Missing {
        /// Index name.
        name: String,
        /// Where its spec would be.
        path: PathBuf,
    },
    /// The spec is wrong.
    #[error("index `{name}`: {message}")]
    Spec {
        /// Index name.
        name: String,
        /// What.
        message: String,
    },
    /// A document cannot be read.
    #[error("index `{name}`: `{}` cannot be read: {source}", path.display())]
    Document {
        /// Index name.
        name: String,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Documents outside the workspace, which nobody has approved.
    #[error("index `{name}` reads `{}`, which is outside the workspace", path.display())]
    Outside {
        /// Index name.
        name: String,
        /// Which source.
        path: PathBuf,
    },
    /// More text than is held in memory.
    #[error("index `{name}` holds more than {limit} bytes of text")]
    TooLarge {
        /// Index name.
        name: String,
        /// Most bytes.
        limit: u64,
    },
    /// A mode that is not there yet.
    #[error("index `{index}` cannot be asked in mode `{mode}`")]
    Mode {
        /// Index name.
        index: String,
        /// Mode.
        mode: String,
    },
    /// Filters are not there yet.
    #[error("index `{index}` cannot filter")]
    Filters {
        /// Index name.
        index: String,
    },
}

impl IndexError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => {
                "write its spec with `sources`, or correct the node's input `index`".to_owned()
            }
            Self::Spec { .. } => "write `sources: [{path: FOLDER, include: [\"**/*.md\"]}]`".to_owned(),
            Self::Document { .. } => "check the path and the permissions".to_owned(),
            Self::Outside { .. } => "allow it with `--trust`".to_owned(),
            Self::TooLarge { .. } => "name fewer documents, or split the index".to_owned(),
            Self::Mode { .. } => "this version answers in mode `keyword`".to_owned(),
            Self::Filters { .. } => "remove the node's input `filters`".to_owned(),
        }
    }
}

/// Where documents come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Folder or file, absolute or relative to the spec.
    pub path: PathBuf,
    /// Endings taken, from patterns such as `**/*.md`; empty means Markdown and text.
    pub endings: Vec<String>,
}

/// What an index is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexSpec {
    /// Name.
    pub name: String,
    /// Where documents come from.
    pub sources: Vec<Source>,
    /// Most words of a chunk.
    pub max_words: usize,
    /// Mode used where a question names none.
    pub mode: String,
    /// Hits given where a question names no number.
    pub top_k: usize,
}

impl IndexSpec {
    /// Reads `indexes/NAME.yaml` of a workspace.
    pub fn load(root: &Path, name: &str) -> Result<Self, IndexError> {
        let is_plain = !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
            && !name.starts_with('.');
        let folder = root.join("indexes");
        let path = folder.join(format!("{name}.yaml"));
        if !is_plain || !path.is_file() {
            return Err(IndexError::Missing { name: name.to_owned(), path });
        }
        let bytes = std::fs::read(&path).map_err(|source| IndexError::Document {
            name: name.to_owned(),
            path: path.clone(),
            source,
        })?;
        let document = YamlDocument::parse(&bytes, None);
        if let Some(finding) = document
            .findings()
            .iter()
            .find(|finding| finding.severity == flowbench_core::finding::Severity::Error)
        {
            return Err(IndexError::Spec { name: name.to_owned(), message: finding.message.clone() });
        }
        Self::read(name, &folder, document.value())
    }

    fn read(name: &str, folder: &Path, value: &Value) -> Result<Self, IndexError> {
        let wrong = |message: &str| IndexError::Spec { name: name.to_owned(), message: message.to_owned() };
        let sources = value
            .get("sources")
            .and_then(Value::as_array)
            .ok_or_else(|| wrong("`sources` must be a list"))?;
        let sources = sources
            .iter()
            .map(|source| {
                let path = source
                    .get("path")
                    .and_then(Value::as_str)
                    .ok_or_else(|| wrong("a source has no `path`"))?;
                let endings = source
                    .get("include")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(|pattern| {
                        pattern
                            .rsplit_once("*.")
                            .map(|(_, ending)| ending.to_ascii_lowercase())
                            .filter(|ending| ["md", "markdown", "txt"].contains(&ending.as_str()))
                            .ok_or_else(|| {
                                wrong("this version includes `**/*.md`, `**/*.markdown` and `**/*.txt`")
                            })
                    })
                    .collect::<Result<_, _>>()?;
                Ok(Source { path: folder.join(path), endings })
            })
            .collect::<Result<_, IndexError>>()?;
        let number = |pointer: &str, fallback: usize| {
            value
                .pointer(pointer)
                .and_then(Value::as_u64)
                .map_or(fallback, |number| usize::try_from(number).unwrap_or(fallback))
        };
        let max_tokens = number("/chunk/max_tokens", 256);
        Ok(Self {
            name: name.to_owned(),
            sources,
            max_words: (max_tokens as f64 * WORDS_PER_TOKEN) as usize,
            mode: value.pointer("/retrieve/mode").and_then(Value::as_str).unwrap_or("keyword").to_owned(),
            top_k: number("/retrieve/top_k", 5),
        })
    }

    /// Sources outside this folder, with links and `..` followed. A source that is not there is in none.
    pub fn outside(&self, root: &Path) -> Vec<PathBuf> {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        self.sources
            .iter()
            .filter_map(|source| source.path.canonicalize().ok())
            .filter(|path| !path.starts_with(&root))
            .collect()
    }

    /// Reads and cuts all documents, in the order of their names.
    pub fn read_chunks(&self) -> Result<Vec<Chunk>, IndexError> {
        self.read_at_most(MAX_INDEX_BYTES)
    }

    fn read_at_most(&self, limit: u64) -> Result<Vec<Chunk>, IndexError> {
        let mut chunks = Vec::new();
        let mut total = 0;
        for source in &self.sources {
            let mut files = Vec::new();
            self.collect(&source.path, source, &mut files)?;
            files.sort();
            for path in files {
                let bytes = std::fs::read(&path).map_err(|error| self.unreadable(&path, error))?;
                total += bytes.len() as u64;
                if total > limit {
                    return Err(IndexError::TooLarge { name: self.name.clone(), limit });
                }
                let name = path
                    .strip_prefix(&source.path)
                    .ok()
                    .filter(|name| !name.as_os_str().is_empty())
                    .unwrap_or(&path);
                let text = String::from_utf8_lossy(&bytes);
                chunks.extend(by_headings(&name.to_string_lossy().replace('\\', "/"), &text, self.max_words));
            }
        }
        Ok(chunks)
    }

    fn unreadable(&self, path: &Path, source: std::io::Error) -> IndexError {
        IndexError::Document { name: self.name.clone(), path: path.to_owned(), source }
    }

    fn collect(&self, path: &Path, source: &Source, files: &mut Vec<PathBuf>) -> Result<(), IndexError> {
        let metadata = std::fs::symlink_metadata(path).map_err(|error| self.unreadable(path, error))?;
        if metadata.is_dir() {
            for entry in std::fs::read_dir(path).map_err(|error| self.unreadable(path, error))? {
                let entry = entry.map_err(|error| self.unreadable(path, error))?;
                if !entry.file_name().to_string_lossy().starts_with('.') {
                    self.collect(&entry.path(), source, files)?;
                }
            }
            return Ok(());
        }
        let ending =
            path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let is_wanted = match source.endings.as_slice() {
            [] => ["md", "markdown", "txt"].contains(&ending.as_str()),
            endings => endings.contains(&ending),
        };
        // Links are not followed: they may lead out of the source, or in a circle.
        if metadata.is_file() && is_wanted && metadata.len() <= MAX_DOCUMENT_BYTES {
            files.push(path.to_owned());
        }
        match files.len() > MAX_DOCUMENTS {
            true => Err(IndexError::Spec {
                name: self.name.clone(),
                message: format!("its sources hold more than {MAX_DOCUMENTS} documents"),
            }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read_or_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("indexes")).unwrap();
        std::fs::create_dir_all(root.join("docs/.git")).unwrap();
        std::fs::write(root.join("docs/a.md"), "# A\nalpha").unwrap();
        std::fs::write(root.join("docs/b.pdf"), "no").unwrap();
        std::fs::write(root.join("docs/.git/c.md"), "hidden").unwrap();
        std::fs::write(root.join("indexes/h.yaml"), "sources: [{path: ../docs}]\nretrieve: {top_k: 3}\n")
            .unwrap();
        let spec = IndexSpec::load(root, "h").unwrap();
        assert_eq!(spec.top_k, 3);
        assert_eq!(spec.read_chunks().unwrap().len(), 1);
        let error = IndexSpec::load(root, "../h").unwrap_err();
        assert!(error.to_string().starts_with("index `../h` does not exist"), "{error}");
        std::fs::write(root.join("indexes/bad.yaml"), "sources: 3\n").unwrap();
        assert_eq!(
            IndexSpec::load(root, "bad").unwrap_err().to_string(),
            "index `bad`: `sources` must be a list"
        );
    }

    #[test]
    fn an_index_has_a_largest_size() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("indexes")).unwrap();
        std::fs::create_dir_all(root.join("docs")).unwrap();
        std::fs::write(root.join("indexes/h.yaml"), "sources: [{path: ../docs}]\n").unwrap();
        std::fs::write(root.join("docs/a.md"), "alpha").unwrap();
        std::fs::write(root.join("docs/b.md"), "bravo").unwrap();
        let spec = IndexSpec::load(root, "h").unwrap();
        assert_eq!(spec.read_at_most(10).unwrap().len(), 2);
        let error = spec.read_at_most(9).unwrap_err();
        assert_eq!(error.to_string(), "index `h` holds more than 9 bytes of text");
    }
}
