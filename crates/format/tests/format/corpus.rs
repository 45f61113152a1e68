//! A check against a folder of YAML files with reference values, for people who have one: every `X` is read,
//! and must equal the JSON in `X.json` that another reader wrote. Runs if `FLOWBENCH_YAML_CORPUS` names a folder.

use std::path::{Path, PathBuf};

use flowbench_core::finding::Severity;
use flowbench_format::yaml::YamlDocument;
use serde_json::Value;

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_none_or(|ending| ending != "json") {
            out.push(path);
        }
    }
}

#[test]
fn a_corpus_reads_as_another_reader_does() {
    let Some(folder) = std::env::var_os("FLOWBENCH_YAML_CORPUS") else { return };
    let mut paths = Vec::new();
    files(Path::new(&folder), &mut paths);
    paths.sort();
    let mut compared = 0;
    let mut refused = 0;
    let mut failures = Vec::new();
    for path in &paths {
        let bytes = std::fs::read(path).unwrap();
        let document = YamlDocument::parse(&bytes, path.to_str());
        let errors: Vec<_> =
            document.findings().iter().filter(|finding| finding.severity == Severity::Error).collect();
        let reference = PathBuf::from(format!("{}.json", path.display()));
        if std::str::from_utf8(&bytes).is_ok() && document.text().as_bytes() != bytes {
            failures.push(format!("{}: the text changed", path.display()));
        }
        match std::fs::read(&reference) {
            Ok(json) => {
                let expected: Value = serde_json::from_slice(&json).unwrap();
                compared += 1;
                if !errors.is_empty() {
                    failures.push(format!("{}: {errors:?}", path.display()));
                } else if document.value() != &expected {
                    failures.push(format!(
                        "{}\n  ours:  {}\n  other: {expected}",
                        path.display(),
                        document.value()
                    ));
                }
            }
            Err(_) => {
                refused += 1;
                if errors.is_empty() {
                    failures.push(format!("{}: the other reader refuses it", path.display()));
                }
            }
        }
    }
    println!("{compared} compared, {refused} refused by the other reader, {} differ", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
