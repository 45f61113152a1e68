//! Models whose files are part of the program: there without network, store or workspace.

use std::sync::OnceLock;

use crate::catalog::Catalog;
use crate::record::{ModelRecord, Source};
use crate::store::{InstalledFile, InstalledModel};

/// A model inside the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShippedModel {
    /// Catalog name.
    pub name: &'static str,
    /// Path within the model, and content.
    pub files: &'static [(&'static str, &'static [u8])],
}

const MODELS: [ShippedModel; 1] = [ShippedModel {
    name: "static-minilm",
    files: &[
        ("config.json", include_bytes!("../../../catalog/static-minilm/config.json")),
        ("model.safetensors", include_bytes!("../../../catalog/static-minilm/model.safetensors")),
        ("tokenizer.json", include_bytes!("../../../catalog/static-minilm/tokenizer.json")),
    ],
}];

/// The model of this name, if it is part of the program.
pub fn shipped(name: &str) -> Option<&'static ShippedModel> {
    MODELS.iter().find(|model| model.name == name)
}

impl ShippedModel {
    /// Content of a file.
    pub fn file(&self, path: &str) -> Option<&'static [u8]> {
        self.files.iter().find(|(known, _)| *known == path).map(|(_, bytes)| *bytes)
    }

    /// The model as if it had been pulled. Digests are those that its record promises; `verify` reads the bytes.
    pub fn installed(&self) -> Option<InstalledModel> {
        installed_models().iter().find(|model| model.name == self.name).cloned()
    }
}

/// Every shipped model as if it had been pulled.
pub(crate) fn installed_models() -> &'static [InstalledModel] {
    static INSTALLED: OnceLock<Vec<InstalledModel>> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let catalog = Catalog::shipped();
        MODELS.iter().filter_map(|model| catalog.get(model.name).map(installed)).collect()
    })
}

/// The shipped model that a record means: it says so, and promises just these bytes.
pub(crate) fn meant_by(record: &ModelRecord) -> Option<&'static ShippedModel> {
    let names = record.sources.iter().filter_map(|source| match source {
        Source::Shipped { model } => Some(model.as_str()),
        _ => None,
    });
    let mut models = names.filter_map(shipped);
    models.find(|model| model.installed().is_some_and(|ours| ours.files == installed(record).files))
}

fn installed(record: &ModelRecord) -> InstalledModel {
    let file = |file: &crate::record::FileRecord| {
        let (path, sha256) = (file.path.clone(), file.sha256.clone()?);
        Some(InstalledFile { path, sha256, bytes: file.bytes? })
    };
    InstalledModel {
        name: record.name.clone(),
        task: Some(record.task),
        format: record.format,
        licence: record.licence.clone(),
        source: "shipped with this program".to_owned(),
        files: record.files.iter().filter_map(file).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CatalogError, FileState, ModelStore, Origin};

    /// The bound for the table and what belongs to it; the tokenizer apart.
    const MOST_BYTES: u64 = 8_000_000;

    #[test]
    fn shipped_models_are_here_without_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::new(folder.path());
        let catalog = Catalog::shipped();
        for model in MODELS {
            let here = store.installed_model(model.name).unwrap().unwrap();
            assert!(store.installed().unwrap().contains(&here));
            let checks = store.verify(&here).unwrap();
            assert_eq!(checks.len(), model.files.len());
            for check in checks {
                assert_eq!(check.state, FileState::Sound, "{} of {}", check.path, model.name);
            }
            let files = store.resolve(model.name, folder.path(), &catalog).unwrap();
            assert_eq!(files.shipped.map(|shipped| shipped.name), Some(model.name));
            assert_eq!(files.digest, Some(here.digest()));
            let table = here.files.iter().filter(|file| file.path != "tokenizer.json");
            assert!(table.map(|file| file.bytes).sum::<u64>() <= MOST_BYTES);
        }
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is written");
    }

    #[test]
    fn another_model_of_the_same_name_is_not_the_shipped_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Catalog::shipped().get("static-minilm").unwrap().clone();
        record.origin = Origin::Workspace;
        assert!(meant_by(&record).is_some(), "the same promise is the same model");
        record.files[0].sha256 = Some("0".repeat(64));
        assert!(meant_by(&record).is_none());
        let text = include_str!("../../../catalog/static-minilm.yaml").replace("bytes: 388", "bytes: 389");
        std::fs::write(folder.path().join("static-minilm.yaml"), text).unwrap();
        let (catalog, findings) = Catalog::load(folder.path());
        assert_eq!(findings, []);
        let error =
            ModelStore::new(folder.path()).resolve("static-minilm", folder.path(), &catalog).unwrap_err();
        assert!(matches!(error, CatalogError::NotPulled { .. }), "{error}");
    }

    #[test]
    fn a_model_of_ones_own_wins() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own.gguf");
        std::fs::write(&own, "own").unwrap();
        let store = ModelStore::new(&folder.path().join("state"));
        store.add("static-minilm", &own, None).unwrap();
        let files = store.resolve("static-minilm", folder.path(), &Catalog::shipped()).unwrap();
        assert!(files.shipped.is_none() && files.weights().is_some());
        assert_eq!(store.installed().unwrap().len(), MODELS.len());
    }
}
