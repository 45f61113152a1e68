//! The catalog: the records that ship with the program, and those of the workspace, which win.

use std::collections::BTreeMap;
use std::path::Path;

use flowbench_core::finding::Finding;
use flowbench_format::read::read_limited;

use crate::record::{EmbeddingFacts, ModelRecord, Origin};

/// A record is some kilobytes; one with thousands of files still fits.
const MOST_RECORD_BYTES: usize = 4 << 20;

/// The records that ship, from the repository's own `catalog` folder.
const SHIPPED: [(&str, &str); 3] = [
    ("all-minilm-l6-v2.yaml", include_str!("../../../catalog/all-minilm-l6-v2.yaml")),
    ("gemma-3-270m-q4_k_m.yaml", include_str!("../../../catalog/gemma-3-270m-q4_k_m.yaml")),
    ("static-minilm.yaml", include_str!("../../../catalog/static-minilm.yaml")),
];

/// Known models by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    records: BTreeMap<String, ModelRecord>,
}

impl Catalog {
    /// What ships with the program.
    pub fn shipped() -> Self {
        let parsed =
            SHIPPED.iter().map(|(file, text)| ModelRecord::parse(text.as_bytes(), file, Origin::Shipped).0);
        let records = parsed.flatten().map(|record| (record.name.clone(), record)).collect();
        Self { records }
    }

    /// What ships, and the records in `folder` (which need not exist). A record of the folder replaces a shipped one
    /// of its name; broken ones are told as findings and leave out nothing else.
    pub fn load(folder: &Path) -> (Self, Vec<Finding>) {
        let mut catalog = Self::shipped();
        let mut findings = Vec::new();
        let Ok(entries) = std::fs::read_dir(folder) else { return (catalog, findings) };
        let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let file = format!("catalog/{name}");
            let bytes = match read_limited(&path, MOST_RECORD_BYTES) {
                Ok(bytes) => bytes,
                Err(error) => {
                    findings.push(Finding::error("unreadable-file", error.to_string()));
                    continue;
                }
            };
            let (record, told) = ModelRecord::parse(&bytes, &file, Origin::Workspace);
            findings.extend(told);
            if let Some(mut record) = record {
                // The same promise word for word, as in our own repository: still ours to vouch for.
                if let Some(shipped) = catalog.records.get(&record.name) {
                    let same = ModelRecord { origin: shipped.origin, ..record.clone() };
                    if same == *shipped {
                        record = same;
                    }
                }
                catalog.records.insert(record.name.clone(), record);
            }
        }
        (catalog, findings)
    }

    /// A record by name.
    pub fn get(&self, name: &str) -> Option<&ModelRecord> {
        self.records.get(name)
    }

    /// What a record says of a model that embeds or reranks.
    pub fn embedding_facts(&self, name: &str) -> Option<&EmbeddingFacts> {
        self.get(name).map(|record| &record.facts)
    }

    /// Every record, by name.
    pub fn records(&self) -> impl Iterator<Item = &ModelRecord> {
        self.records.values()
    }

    /// The name that was probably meant: the one that shares the longest beginning, if that is half of it.
    pub fn similar(&self, name: &str) -> Option<&str> {
        let shared = |known: &str| {
            known.chars().zip(name.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
        };
        let best = self.records.keys().max_by_key(|known| shared(known))?;
        (shared(best) * 2 >= name.chars().count()).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_record_is_sound() {
        for (file, text) in SHIPPED {
            let (record, findings) = ModelRecord::parse(text.as_bytes(), file, Origin::Shipped);
            assert_eq!(findings, [], "{file}");
            assert!(record.is_some_and(|record| record.bytes().is_some()), "{file}");
        }
    }

    #[test]
    fn the_workspace_adds_and_replaces_records() {
        let folder = tempfile::tempdir().unwrap();
        let (_, shipped) = SHIPPED[0];
        let own = shipped.replace("version: 0.1.0", "version: 9.9.9");
        std::fs::write(folder.path().join("all-minilm-l6-v2.yaml"), own).unwrap();
        std::fs::write(folder.path().join("broken.yaml"), "name: [").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "not a record").unwrap();
        let (catalog, findings) = Catalog::load(folder.path());
        assert_eq!(catalog.get("all-minilm-l6-v2").unwrap().origin, Origin::Workspace);
        assert_eq!(catalog.get("gemma-3-270m-q4_k_m").unwrap().origin, Origin::Shipped);
        assert_eq!(findings[0].place.file.as_deref(), Some("catalog/broken.yaml"));
        assert_eq!(catalog.similar("all-minilm-l12"), Some("all-minilm-l6-v2"));
        assert_eq!(catalog.similar("zephyr"), None);
    }
}
