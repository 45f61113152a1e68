//! What `indexes/NAME.yaml` says.

use std::path::{Path, PathBuf};

use flowbench_core::finding::{Finding, Severity};
use flowbench_corpus::chunk::ChunkSpec;
use flowbench_corpus::clean::CleanSpec;
use flowbench_corpus::quality::Expectation;
use flowbench_corpus::source::SourceSpec;
use flowbench_format::yaml::YamlDocument;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::Quantization;
use crate::error::IndexError;
use crate::retrieve::RetrieveSpec;

/// Keys of an index, in the order in which they are written.
const KEYS: &[&str] =
    &["sources", "clean", "quality", "chunk", "embed", "store", "retrieve", "freshness", "probes"];

/// What an index is made of and how it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexSpec {
    /// Name: the file's stem.
    pub name: String,
    /// Folder that paths start from.
    pub folder: PathBuf,
    /// Where documents come from.
    pub sources: Vec<SourceSpec>,
    /// What is done to their text.
    pub clean: CleanSpec,
    /// What a corpus must be.
    pub quality: Vec<Expectation>,
    /// How documents are cut.
    pub chunk: ChunkSpec,
    /// The embedding model; absent for keywords alone.
    pub embed: Option<EmbedSpec>,
    /// Where the index is kept.
    pub store: StoreSpec,
    /// How questions are answered.
    pub retrieve: RetrieveSpec,
    /// How old it may get.
    pub freshness: FreshnessSpec,
    /// Questions that must find their documents after every build.
    pub probes: Vec<ProbeSpec>,
    /// What is odd about the file; none of these is an error.
    pub findings: Vec<Finding>,
}

/// `embed`: the model that turns texts into vectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmbedSpec {
    /// Catalog name or path of a local model, or `CONNECTION/MODEL`.
    pub model: String,
    /// Connection, where `model` does not name it; default `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Numbers in a vector, for models that let one choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
    /// How vectors are held for searching.
    pub quantization: Quantization,
    /// Texts sent at once; default 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
}

impl EmbedSpec {
    /// Connection and model: `model: CONNECTION/MODEL` where `is_connection` knows the first part.
    pub fn reference(&self, is_connection: &dyn Fn(&str) -> bool) -> (String, String) {
        if let Some(connection) = &self.connection {
            return (connection.clone(), self.model.clone());
        }
        match self.model.split_once('/') {
            Some((connection, model)) if is_connection(connection) => {
                (connection.to_owned(), model.to_owned())
            }
            _ => ("local".to_owned(), self.model.clone()),
        }
    }
}

/// `store`: where the index is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreSpec {
    /// In this process: tantivy and Qdrant's embedded engine, below the state folder.
    #[default]
    Embedded,
    /// On a Qdrant server or cluster.
    Qdrant {
        /// Address of its gRPC port.
        url: String,
        /// Name that searches use; generations get names of their own behind it. Default: the index's name.
        collection: Option<String>,
        /// `${env:NAME}`. Never a key itself.
        api_key: Option<String>,
    },
}

/// `freshness`: how old the index may get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FreshnessSpec {
    /// Oldest that a source may be, such as `7d`; a source's own `max_age` goes before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
}

/// A question and the documents that must be among the first hits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeSpec {
    /// Question.
    pub query: String,
    /// Documents or chunk ids of which one must be found.
    pub expect: Vec<String>,
    /// Among the first so many; default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<usize>,
}

impl IndexSpec {
    /// Reads `indexes/NAME.yaml` of a workspace.
    pub fn load(root: &Path, name: &str) -> Result<Self, IndexError> {
        let folder = root.join("indexes");
        let path = folder.join(format!("{name}.yaml"));
        if !is_plain_name(name) || !path.is_file() {
            return Err(IndexError::Missing { name: name.to_owned(), path, known: names(root) });
        }
        let bytes = std::fs::read(&path).map_err(|source| IndexError::File {
            name: name.to_owned(),
            path: path.clone(),
            source,
        })?;
        Self::parse(name, &folder, &bytes)
    }

    /// Reads a spec. `folder` is where its paths start.
    pub fn parse(name: &str, folder: &Path, bytes: &[u8]) -> Result<Self, IndexError> {
        let wrong = |message: String| IndexError::Spec { name: name.to_owned(), message };
        let document = YamlDocument::parse(bytes, Some(&format!("indexes/{name}.yaml")));
        if let Some(finding) = document.findings().iter().find(|finding| finding.severity == Severity::Error)
        {
            return Err(wrong(finding.message.clone()));
        }
        let Some(map) = document.value().as_object() else {
            return Err(wrong("the file must be a map with `sources`".to_owned()));
        };
        let mut findings = document.findings().to_vec();
        let mut unknown = |key: String| {
            let message = format!("index `{name}`: key `{key}` is not known and has no effect");
            findings.push(Finding::warning("unknown-key", message));
        };
        for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            unknown(key.clone());
        }
        let listed = map.get("sources").and_then(Value::as_array);
        if listed.is_none_or(Vec::is_empty) {
            return Err(wrong("`sources` must be a list".to_owned()));
        }
        let sources = section(map, "sources", &mut unknown).map_err(wrong)?.unwrap_or_default();
        let spec = Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            sources,
            clean: section(map, "clean", &mut unknown).map_err(wrong)?.unwrap_or_default(),
            quality: section(map, "quality", &mut unknown).map_err(wrong)?.unwrap_or_default(),
            chunk: section(map, "chunk", &mut unknown).map_err(wrong)?.unwrap_or_default(),
            embed: section(map, "embed", &mut unknown).map_err(wrong)?,
            store: store(map, &mut unknown).map_err(wrong)?,
            retrieve: section(map, "retrieve", &mut unknown).map_err(wrong)?.unwrap_or_default(),
            freshness: section(map, "freshness", &mut unknown).map_err(wrong)?.unwrap_or_default(),
            probes: section(map, "probes", &mut unknown).map_err(wrong)?.unwrap_or_default(),
            findings,
        };
        spec.check().map_err(wrong)?;
        Ok(spec)
    }

    /// What no single key can tell.
    fn check(&self) -> Result<(), String> {
        let chunk = &self.chunk;
        if chunk.max_tokens == 0 {
            return Err("`chunk.max_tokens` must be at least 1".to_owned());
        }
        if chunk.overlap >= chunk.max_tokens {
            return Err(format!(
                "`chunk.overlap` is {}, and must be smaller than `max_tokens` ({})",
                chunk.overlap, chunk.max_tokens
            ));
        }
        if let Some(parent) = chunk.parent
            && parent < chunk.max_tokens
        {
            return Err(format!(
                "`chunk.parent` is {parent}, and must not be smaller than `max_tokens` ({})",
                chunk.max_tokens
            ));
        }
        if self.embed.as_ref().is_some_and(|embed| embed.model.is_empty()) {
            return Err("`embed` must name a `model`".to_owned());
        }
        let mode = self.retrieve.mode.as_deref();
        if self.embed.is_none() && mode.is_some_and(|mode| mode != "keyword") {
            return Err(format!(
                "`retrieve.mode` is `{}`, which needs an embedding model: write `embed: {{model: static-minilm}}`",
                mode.unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Everything that decides which chunks and vectors there are; the model's digest and the tokenizer's come on top.
    pub fn recipe(&self) -> Value {
        let mut recipe = Map::new();
        let put = |value: serde_json::Result<Value>| value.unwrap_or(Value::Null);
        // What says how often and how fast, or holds the name of a secret, decides no chunk.
        let sources: Vec<SourceSpec> = self
            .sources
            .iter()
            .map(|source| SourceSpec { max_age: None, rate: None, password: None, ..source.clone() })
            .collect();
        let embed = self.embed.as_ref().map(|embed| EmbedSpec { batch: None, ..embed.clone() });
        let store = match &self.store {
            StoreSpec::Embedded => StoreSpec::Embedded,
            StoreSpec::Qdrant { url, collection, .. } => {
                StoreSpec::Qdrant { url: url.clone(), collection: collection.clone(), api_key: None }
            }
        };
        recipe.insert("sources".to_owned(), put(serde_json::to_value(&sources)));
        recipe.insert("clean".to_owned(), put(serde_json::to_value(&self.clean)));
        recipe.insert("chunk".to_owned(), put(serde_json::to_value(&self.chunk)));
        recipe.insert("embed".to_owned(), put(serde_json::to_value(&embed)));
        recipe.insert("store".to_owned(), put(serde_json::to_value(&store)));
        Value::Object(recipe)
    }
}

/// True for names that are one plain part of a path.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
        && !name.starts_with('.')
}

/// Names of the indexes of a workspace, sorted.
pub fn names(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("indexes")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
        .filter(|name| is_plain_name(name))
        .collect();
    names.sort();
    names
}

/// One key of the spec, with the keys inside it that nobody knows.
fn section<T: DeserializeOwned>(
    map: &Map<String, Value>,
    key: &str,
    unknown: &mut dyn FnMut(String),
) -> Result<Option<T>, String> {
    let Some(value) = map.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let mut ignored = |path: serde_ignored::Path<'_>| unknown(format!("{key}.{}", path_text(&path)));
    let deserializer = serde_ignored::Deserializer::new(value, &mut ignored);
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    match T::deserialize(deserializer) {
        Ok(read) => Ok(Some(read)),
        Err(error) => {
            let path = track.path().to_string();
            let place = match path.as_str() {
                "." | "" => key.to_owned(),
                path => format!("{key}.{path}"),
            };
            Err(format!("`{place}`: {error}"))
        }
    }
}

/// A path as a person writes it; options and newtypes are not parts of it.
fn path_text(path: &serde_ignored::Path<'_>) -> String {
    path.to_string().split('.').filter(|part| *part != "?").collect::<Vec<_>>().join(".")
}

fn store(map: &Map<String, Value>, unknown: &mut dyn FnMut(String)) -> Result<StoreSpec, String> {
    #[derive(Deserialize)]
    struct Server {
        qdrant: String,
        collection: Option<String>,
        api_key: Option<String>,
    }
    match map.get("store") {
        None | Some(Value::Null) => Ok(StoreSpec::Embedded),
        Some(Value::String(word)) if word == "embedded" => Ok(StoreSpec::Embedded),
        Some(Value::Object(_)) => {
            let server: Server = section(map, "store", unknown)?.ok_or("`store` is empty")?;
            Ok(StoreSpec::Qdrant {
                url: server.qdrant,
                collection: server.collection,
                api_key: server.api_key,
            })
        }
        Some(_) => Err("`store` must be `embedded` or `{qdrant: URL, collection: NAME}`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<IndexSpec, String> {
        IndexSpec::parse("h", Path::new("/w/indexes"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_spec_says_everything_in_one_file() {
        let spec = parse(
            "sources: [{path: ../docs, include: [\"**/*.md\"]}]\nclean: {personal_data: mask}\n\
             chunk: {by: sentences, max_tokens: 128, overlap: 16}\nembed: {model: static-minilm}\n\
             store: {qdrant: \"http://127.0.0.1:6334\", collection: docs}\nretrieve: {mode: hybrid, top_k: 3}\n\
             probes: [{query: how, expect: [a.md]}]\n",
        )
        .unwrap();
        assert_eq!(spec.sources[0].include, ["**/*.md"]);
        assert_eq!(spec.chunk.max_tokens, 128);
        assert!(matches!(&spec.store, StoreSpec::Qdrant { collection: Some(name), .. } if name == "docs"));
        assert_eq!(spec.probes[0].expect, ["a.md"]);
        assert!(spec.findings.is_empty(), "{:?}", spec.findings);
    }

    #[test]
    fn wrong_specs_say_where_and_what() {
        for (text, expected) in [
            ("sources: 3\n", "index `h`: `sources` must be a list"),
            (
                "sources: [{path: a}]\nchunk: {max_tokens: many}\n",
                "index `h`: `chunk.max_tokens`: invalid type: string \"many\", expected usize",
            ),
            (
                "sources: [{path: a}]\nchunk: {by: pages}\n",
                "index `h`: `chunk.by`: unknown variant `pages`, expected one of `headings`, `sentences`, `tokens`, \
                 `code`, `page`, `document`",
            ),
            (
                "sources: [{path: a}]\nchunk: {max_tokens: 8, overlap: 8}\n",
                "index `h`: `chunk.overlap` is 8, and must be smaller than `max_tokens` (8)",
            ),
            (
                "sources: [{path: a}]\nretrieve: {mode: hybrid}\n",
                "index `h`: `retrieve.mode` is `hybrid`, which needs an embedding model: write \
                 `embed: {model: static-minilm}`",
            ),
            (
                "sources: [{path: a}]\nstore: 3\n",
                "index `h`: `store` must be `embedded` or `{qdrant: URL, collection: NAME}`",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn unknown_keys_are_told_and_change_nothing() {
        let spec = parse("sources: [{path: a, includes: [x]}]\nchunks: {}\nchunk: {size: 3}\n").unwrap();
        let told: Vec<&str> = spec.findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            told,
            [
                "index `h`: key `chunks` is not known and has no effect",
                "index `h`: key `sources.0.includes` is not known and has no effect",
                "index `h`: key `chunk.size` is not known and has no effect",
            ]
        );
    }

    #[test]
    fn a_model_may_be_named_with_its_connection() {
        let embed = EmbedSpec { model: "open_ai/text-embedding-3-small".to_owned(), ..EmbedSpec::default() };
        let known = |name: &str| name == "open_ai";
        assert_eq!(embed.reference(&known), ("open_ai".to_owned(), "text-embedding-3-small".to_owned()));
        let path = EmbedSpec { model: "models/mine".to_owned(), ..EmbedSpec::default() };
        assert_eq!(path.reference(&known), ("local".to_owned(), "models/mine".to_owned()));
    }
}
