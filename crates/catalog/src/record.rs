//! One record of the catalog: what a model is, where it can be had, which bytes it consists of.
//!
//! Reading returns findings beside the record; a record with an error is not returned, because half a promise about
//! bytes is none. Keys that are not known here are left to those who know them.

use std::collections::BTreeSet;

use flowbench_core::finding::{Finding, has_errors};
use flowbench_core::flow::Places;
use flowbench_format::yaml::YamlDocument;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::is_sha256;

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Converses.
    Chat,
    /// Continues text.
    Completion,
    /// Turns texts into vectors.
    Embed,
    /// Scores passages for a query.
    Rerank,
}

/// How its weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelFormat {
    /// One file with weights, tokenizer and settings.
    Gguf,
    /// Weights, with tokenizer and settings beside them.
    Safetensors,
}

/// What its owner allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// SPDX identifier, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spdx: Option<String>,
    /// Name of terms that have no identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the terms can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Path within the model, with `/`.
    pub path: String,
    /// Digest; absent only for files that the user asked for by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Where the files can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A repository of the model hub.
    Hub {
        /// `owner/name`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
    },
    /// Python packages. One holds the files; of several, each holds one part, `PATH.partNN`, in this order.
    Python {
        /// Names.
        packages: Vec<String>,
        /// Version of each.
        version: String,
    },
    /// An address: of the one file, or of a folder when it ends with `/`.
    Url {
        /// Address.
        url: String,
    },
    /// The program itself: the files are part of it.
    Shipped {
        /// Name under which they are.
        model: String,
    },
}

/// The kinds of source, for choosing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The model hub.
    Hub,
    /// The configured Python package index.
    Python,
    /// An address.
    Url,
    /// The program itself.
    Shipped,
}

impl SourceKind {
    /// Reads `hub`, `python`, `url` or `shipped`.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "hub" => Self::Hub,
            "python" => Self::Python,
            "url" => Self::Url,
            "shipped" => Self::Shipped,
            _ => return None,
        })
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Python => "python",
            Self::Url => "url",
            Self::Shipped => "shipped",
        }
    }
}

impl Source {
    /// Which kind it is.
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Hub { .. } => SourceKind::Hub,
            Self::Python { .. } => SourceKind::Python,
            Self::Url { .. } => SourceKind::Url,
            Self::Shipped { .. } => SourceKind::Shipped,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hub { repository, revision } => write!(f, "hub {repository}@{revision}"),
            Self::Python { packages, version } => match packages.as_slice() {
                [one] => write!(f, "python {one}=={version}"),
                [first, .., last] => write!(f, "python {first} to {last}=={version}"),
                [] => write!(f, "python"),
            },
            // A query may hold a key.
            Self::Url { url } => write!(f, "url {}", url.split(['?', '#']).next().unwrap_or_default()),
            Self::Shipped { model } => write!(f, "shipped {model}"),
        }
    }
}

/// What is known of a model that embeds or reranks, beyond its files. Everything absent is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingFacts {
    /// Languages it was trained for, as ISO 639-1 codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Share of vectors in hybrid search that suits it, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fusion_weight: Option<f64>,
    /// What stands before a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_prefix: Option<String>,
    /// What stands before a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_prefix: Option<String>,
    /// Numbers in a vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Most tokens of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

/// Who vouches for a record; decides which hosts its addresses may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Came with the program.
    Shipped,
    /// Lies in the opened folder, which may be anybody's.
    Workspace,
    /// The user named it just now.
    Asked,
}

/// One model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRecord {
    /// Name in the catalog.
    pub name: String,
    /// One sentence.
    pub description: Option<String>,
    /// What it is for.
    pub task: Task,
    /// How it is written.
    pub format: ModelFormat,
    /// What its owner allows.
    pub licence: Licence,
    /// Where it can be had, best first.
    pub sources: Vec<Source>,
    /// What it consists of.
    pub files: Vec<FileRecord>,
    /// For models that embed or rerank.
    pub facts: EmbeddingFacts,
    /// Who vouches for this.
    pub origin: Origin,
}

impl ModelRecord {
    /// A record for one file behind an address that the user named. Without a digest the file's own is kept.
    pub fn from_url(name: &str, url: &str, sha256: Option<&str>, task: Task, format: ModelFormat) -> Self {
        let last = url.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let path = if is_inner_path(last) { last.to_owned() } else { name.to_owned() };
        Self {
            name: name.to_owned(),
            description: None,
            task,
            format,
            licence: Licence::default(),
            sources: vec![Source::Url { url: url.to_owned() }],
            files: vec![FileRecord { path, sha256: sha256.map(str::to_lowercase), bytes: None }],
            facts: EmbeddingFacts::default(),
            origin: Origin::Asked,
        }
    }

    /// Reads a record. `file` is the name for findings; its stem should be the model's name.
    pub fn parse(bytes: &[u8], file: &str, origin: Origin) -> (Option<Self>, Vec<Finding>) {
        let document = YamlDocument::parse(bytes, Some(file));
        let is_whole = document.is_whole();
        let (_, value, places, findings) = document.into_parts();
        let mut reader = Reader { value: &value, places: &places, findings };
        let record = reader.record(file, origin);
        let findings = reader.findings;
        (record.filter(|_| is_whole && !has_errors(&findings)), findings)
    }

    /// Size of everything, where the record says it.
    pub fn bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// True for names that are safe as file names everywhere.
pub(crate) fn is_model_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(inner)
}

/// True for a relative path that stays below where it starts, on every system.
pub(crate) fn is_inner_path(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.len() <= 300 && !path.contains(['\\', ':', '\0']) && path.split('/').all(part)
}

fn key_of(at: &str) -> &str {
    at.rsplit('/').next().unwrap_or_default()
}

struct Reader<'a> {
    value: &'a Value,
    places: &'a Places,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn record(&mut self, file: &str, origin: Origin) -> Option<ModelRecord> {
        if !self.value.is_object() {
            self.error(
                "",
                "a catalog record is a mapping with `name`, `task`, `format`, `sources` and `files`",
            );
            return None;
        }
        let name = self.text("/name");
        if let Some(name) = &name {
            let stem = file.rsplit(['/', '\\']).next().unwrap_or(file).trim_end_matches(".yaml");
            if !is_model_name(name) {
                self.error("/name", &format!("`{name}` cannot be a model's name"));
            } else if stem != name {
                let text = format!("record `{name}` lies in a file of another name");
                let finding = Finding::warning("record-name", text).at(self.places.of("/name"));
                self.findings.push(finding.suggest(format!("rename the file to `{name}.yaml`")));
            }
        }
        let task = self.word("/task", &["chat", "completion", "embed", "rerank"]);
        let format = self.word("/format", &["gguf", "safetensors"]);
        let licence = self.licence();
        let sources = self.sources();
        let files = self.files();
        let facts = self.facts();
        Some(ModelRecord {
            name: name?,
            description: self.value["description"].as_str().map(str::to_owned),
            task: task?,
            format: format?,
            licence,
            sources,
            files,
            facts,
            origin,
        })
    }

    fn facts(&mut self) -> EmbeddingFacts {
        EmbeddingFacts {
            languages: self.languages(),
            fusion_weight: self.share("/fusion_weight"),
            query_prefix: self.prefix("/query_prefix"),
            document_prefix: self.prefix("/document_prefix"),
            dimensions: self.count("/dimensions"),
            max_tokens: self.count("/max_tokens"),
        }
    }

    fn languages(&mut self) -> Vec<String> {
        let at = "/languages";
        let Some(value) = self.value.pointer(at).filter(|value| !value.is_null()) else { return Vec::new() };
        let is_code = |code: &&str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase());
        let codes: Option<Vec<String>> = value.as_array().and_then(|codes| {
            codes.iter().map(|code| code.as_str().filter(is_code).map(str::to_owned)).collect()
        });
        if codes.is_none() {
            self.error(at, "`languages` is a list of two-letter codes such as `[en, de]`");
        }
        codes.unwrap_or_default()
    }

    fn share(&mut self, at: &str) -> Option<f64> {
        let value = self.value.pointer(at).filter(|value| !value.is_null())?;
        let share = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            self.error(at, &format!("`{}` is a number from 0 to 1", key_of(at)));
        }
        share
    }

    fn count(&mut self, at: &str) -> Option<usize> {
        let value = self.value.pointer(at).filter(|value| !value.is_null())?;
        let count = value.as_u64().filter(|count| *count > 0).and_then(|count| usize::try_from(count).ok());
        if count.is_none() {
            self.error(at, &format!("`{}` is a whole number above 0", key_of(at)));
        }
        count
    }

    fn prefix(&mut self, at: &str) -> Option<String> {
        let value = self.value.pointer(at).filter(|value| !value.is_null())?;
        let prefix = value.as_str().map(str::to_owned);
        if prefix.is_none() {
            self.error(at, &format!("`{}` is not a text", key_of(at)));
        }
        prefix
    }

    fn licence(&mut self) -> Licence {
        let licence: Licence = serde_json::from_value(self.value["licence"].clone()).unwrap_or_default();
        if licence.spdx.is_none() && licence.name.is_none() {
            let text = "the record does not say under which licence the model is given";
            let finding = Finding::warning("record-licence", text).at(self.places.of("/licence"));
            self.findings
                .push(finding.suggest("add `licence: {spdx: ...}`, or `name` and `url` of its terms"));
        }
        licence
    }

    fn sources(&mut self) -> Vec<Source> {
        let count = self.list("/sources").len();
        (0..count).filter_map(|index| self.source(&format!("/sources/{index}"))).collect()
    }

    fn source(&mut self, at: &str) -> Option<Source> {
        let has = |key: &str| self.value.pointer(&format!("{at}/{key}")).is_some();
        if has("hub") {
            let repository = self.text(&format!("{at}/hub"));
            let revision = self.text(&format!("{at}/revision"));
            return Some(Source::Hub { repository: repository?, revision: revision? });
        }
        if has("python") {
            let packages = match self.value.pointer(&format!("{at}/python")) {
                Some(Value::Array(names)) => {
                    names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                }
                _ => self.text(&format!("{at}/python")).into_iter().collect::<Vec<_>>(),
            };
            let version = self.text(&format!("{at}/version"));
            let is_name = |name: &String| is_model_name(name);
            if packages.is_empty() || !packages.iter().all(is_name) {
                self.error(at, "`python` names one package, or several that hold a part each");
                return None;
            }
            return Some(Source::Python { packages, version: version? });
        }
        if has("url") {
            return Some(Source::Url { url: self.text(&format!("{at}/url"))? });
        }
        if has("shipped") {
            return Some(Source::Shipped { model: self.text(&format!("{at}/shipped"))? });
        }
        self.error(at, "a source is `hub` with `revision`, `python` with `version`, `url`, or `shipped`");
        None
    }

    fn files(&mut self) -> Vec<FileRecord> {
        let count = self.list("/files").len();
        let mut seen = BTreeSet::new();
        let mut files = Vec::new();
        for index in 0..count {
            let at = |key: &str| format!("/files/{index}/{key}");
            let (path, sha256) = (self.text(&at("path")), self.text(&at("sha256")));
            let bytes = self.value.pointer(&at("bytes")).and_then(Value::as_u64);
            let (Some(path), Some(sha256)) = (path, sha256) else { continue };
            if !is_inner_path(&path) {
                self.error(&at("path"), &format!("`{path}` does not stay within the model's folder"));
            }
            if !seen.insert(path.clone()) {
                self.error(&at("path"), &format!("file `{path}` is listed twice"));
            }
            if !is_sha256(&sha256) {
                self.error(&at("sha256"), "a digest is 64 lower-case hexadecimal digits");
            }
            if bytes.is_none() {
                self.error(&at("bytes"), &format!("the size of `{path}` is missing"));
            }
            files.push(FileRecord { path, sha256: Some(sha256), bytes });
        }
        files
    }

    fn list(&mut self, at: &str) -> Vec<Value> {
        let list = self.value.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default();
        if list.is_empty() {
            self.error(at, &format!("`{}` lists nothing", at.trim_start_matches('/')));
        }
        list
    }

    fn word<T: for<'de> Deserialize<'de>>(&mut self, at: &str, words: &[&str]) -> Option<T> {
        let text = self.text(at)?;
        let word = serde_json::from_value(Value::String(text.clone())).ok();
        if word.is_none() {
            let known = words.join("`, `");
            self.error(at, &format!("`{text}` is none of `{known}`"));
        }
        word
    }

    fn text(&mut self, at: &str) -> Option<String> {
        match self.value.pointer(at) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => {
                let key = key_of(at);
                self.error(at, &format!("`{key}` is missing or not a text"));
                None
            }
        }
    }

    fn error(&mut self, at: &str, text: &str) {
        self.findings.push(Finding::error("catalog-record", text).at(self.places.of(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "\
name: tiny
task: embed
format: safetensors
licence: {spdx: MIT}
sources:
  - {hub: owner/tiny, revision: abc}
  - {python: [tiny-1, tiny-2], version: 1.0.0}
files:
  - {path: model.safetensors, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, bytes: 0}
";

    #[track_caller]
    fn check(change: (&str, &str), expected: &[&str]) {
        let text = SOUND.replace(change.0, change.1);
        let (record, findings) = ModelRecord::parse(text.as_bytes(), "catalog/tiny.yaml", Origin::Workspace);
        let told: Vec<_> = findings
            .iter()
            .map(|finding| format!("{}: {}", finding.place.line.unwrap_or(0), finding.message))
            .collect();
        assert_eq!(told, expected);
        assert_eq!(record.is_some(), !has_errors(&findings), "a record with an error is not returned");
    }

    #[test]
    fn a_sound_record_is_read_without_findings() {
        check(("", ""), &[]);
        let (record, _) = ModelRecord::parse(SOUND.as_bytes(), "tiny.yaml", Origin::Workspace);
        let record = record.unwrap();
        assert_eq!(record.sources[0].to_string(), "hub owner/tiny@abc");
        assert_eq!(record.sources[1].to_string(), "python tiny-1 to tiny-2==1.0.0");
        assert_eq!(record.bytes(), Some(0));
    }

    #[test]
    fn findings_name_the_line() {
        check(
            ("task: embed", "task: sing"),
            &["2: `sing` is none of `chat`, `completion`, `embed`, `rerank`"],
        );
        check(
            ("licence: {spdx: MIT}\n", ""),
            &["1: the record does not say under which licence the model is given"],
        );
        check(
            ("{hub: owner/tiny, revision: abc}", "{ftp: x}"),
            &["6: a source is `hub` with `revision`, `python` with `version`, `url`, or `shipped`"],
        );
        check(("sha256: e3b0", "sha256: E3B0"), &["9: a digest is 64 lower-case hexadecimal digits"]);
    }

    #[test]
    fn facts_for_search_are_read_and_checked() {
        let told = "task: embed\nlanguages: [en, sv]\nfusion_weight: 0.25\nquery_prefix: \"query: \"\ndimensions: 8\n";
        let text = SOUND.replace("task: embed\n", told);
        let (record, findings) = ModelRecord::parse(text.as_bytes(), "tiny.yaml", Origin::Workspace);
        assert_eq!(findings, []);
        let facts = EmbeddingFacts {
            languages: vec!["en".to_owned(), "sv".to_owned()],
            fusion_weight: Some(0.25),
            query_prefix: Some("query: ".to_owned()),
            dimensions: Some(8),
            ..EmbeddingFacts::default()
        };
        assert_eq!(record.unwrap().facts, facts);
        for (wrong, finding) in [
            ("languages: english", "3: `languages` is a list of two-letter codes such as `[en, de]`"),
            ("languages: [eng]", "3: `languages` is a list of two-letter codes such as `[en, de]`"),
            ("fusion_weight: 2", "3: `fusion_weight` is a number from 0 to 1"),
            ("document_prefix: [a]", "3: `document_prefix` is not a text"),
            ("dimensions: 0", "3: `dimensions` is a whole number above 0"),
            ("max_tokens: many", "3: `max_tokens` is a whole number above 0"),
        ] {
            check(("task: embed\n", &format!("task: embed\n{wrong}\n")), &[finding]);
        }
    }

    #[test]
    fn paths_that_lead_outside_are_refused() {
        for path in ["../x", "/etc/passwd", "a//b", "C:x", "a\\\\b"] {
            let text = SOUND.replace("path: model.safetensors", &format!("path: \"{path}\""));
            let (record, findings) = ModelRecord::parse(text.as_bytes(), "tiny.yaml", Origin::Workspace);
            assert!(record.is_none() && has_errors(&findings), "{path}");
        }
    }

    #[test]
    fn a_broken_file_gives_findings() {
        let (record, findings) = ModelRecord::parse(b"name: [", "tiny.yaml", Origin::Workspace);
        assert!(record.is_none());
        assert!(has_errors(&findings));
        let (record, findings) = ModelRecord::parse(b"- a\n", "tiny.yaml", Origin::Workspace);
        assert!(record.is_none());
        assert!(has_errors(&findings));
    }
}
