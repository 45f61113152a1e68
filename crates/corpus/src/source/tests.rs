//! Local sources against what file systems and files of rows can hold.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;

mod folders;
mod rows;
mod sites;
mod working_trees;

/// A folder with these files.
fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        write(folder.path(), name, content);
    }
    folder
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn spec(yaml: serde_json::Value) -> SourceSpec {
    serde_json::from_value(yaml).unwrap()
}

fn open(folder: &Path, settings: serde_json::Value) -> Result<Source, SourceError> {
    Source::open(&spec(settings), &SourceContext::local(folder))
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn list(folder: &Path, settings: serde_json::Value) -> Listing {
    wait(open(folder, settings).unwrap().list()).unwrap()
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.entries.iter().map(|entry| entry.name.as_str()).collect()
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.place, problem.message)).collect()
}

/// All texts by name.
fn texts(folder: &Path, settings: serde_json::Value) -> Vec<(String, String)> {
    wait(async {
        let source = open(folder, settings).unwrap();
        let mut texts = Vec::new();
        for entry in source.list().await.unwrap().entries {
            let fetched = source.fetch(&entry).await.unwrap();
            assert_eq!(fetched.entry, entry);
            texts.push((entry.name, String::from_utf8(fetched.bytes).unwrap()));
        }
        texts
    })
}

#[track_caller]
fn check_refused(settings: serde_json::Value, expected: &str) {
    let folder = folder_of(&[("a.md", "a"), ("a.jsonl", "{}")]);
    let error = open(folder.path(), settings).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string().replace(&folder.path().display().to_string(), "HERE"), expected);
}

#[test]
fn settings_that_mean_nothing_are_told() {
    check_refused(json!({}), "a source has no place; give it one of `path`, `rows`, `sitemap` and `site`");
    check_refused(json!({"path": ".", "rows": "a.jsonl"}), "a source has several places: `path`, `rows`");
    check_refused(json!({"path": ".", "text": "{{a}}"}), "`text` means nothing for a source with `path`");
    check_refused(
        json!({"rows": "a.jsonl", "include": ["*"]}),
        "`include` means nothing for a source with `rows`",
    );
    check_refused(
        json!({"path": "none"}),
        "`HERE/none` cannot be read: No such file or directory (os error 2)",
    );
    check_refused(
        json!({"path": ".", "max_age": "soon"}),
        "`max_age` of a source cannot be used: `soon` is no age; write a number with `w`, `d`, `h`, `m` or `s` behind \
         it, such as `7d`",
    );
    check_refused(
        json!({"path": ".", "git": "all"}),
        "`git` of a source cannot be used: `all` is not known; there is `tracked`",
    );
    check_refused(
        json!({"path": ".", "metadata": ["author"]}),
        "`metadata` of a source cannot be used: only rows have columns; write names with fixed values, such as `team: \
         legal`",
    );
    check_refused(
        json!({"rows": "a.jsonl", "text": "{{a}} {{b"}),
        "`text` of a source cannot be used: `{{b` has no closing `}}`",
    );
    check_refused(
        json!({"rows": "a.md"}),
        "`HERE/a.md` has no format of rows (`.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`, each also with `.gz`)",
    );
}

#[test]
fn a_password_comes_from_a_variable_and_is_never_told() {
    let folder = folder_of(&[("a.pdf", "%PDF")]);
    let mut context = SourceContext::local(folder.path());
    context.variable = std::sync::Arc::new(|name| (name == "DOCUMENTS").then(|| "hunter2".to_owned()));
    let with = |password: &str| spec(json!({"path": ".", "password": password}));
    let fetched = wait(async {
        let source = Source::open(&with("${env:DOCUMENTS}"), &context).unwrap();
        assert!(!format!("{source:?}").contains("hunter2"));
        source.fetch(&source.list().await.unwrap().entries[0]).await.unwrap()
    });
    assert_eq!(fetched.password.as_deref(), Some("hunter2"));
    let error = Source::open(&with("${env:OTHER}"), &context).unwrap_err();
    assert_eq!(error.to_string(), "the password of a source is in the variable `OTHER`, which is not set");
    let error = Source::open(&with("hunter2"), &context).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`password` of a source cannot be used: write `${env:NAME}`, and the password into that variable"
    );
}

#[test]
fn a_place_outside_the_workspace_is_told() {
    let outer = folder_of(&[("inner/a.md", "a"), ("b.md", "b"), ("b.jsonl", "{}")]);
    let root = outer.path().join("inner");
    let real = outer.path().canonicalize().unwrap();
    let outside = |settings| open(&root, settings).unwrap().outside(&root);
    assert_eq!(outside(json!({"path": "."})), None);
    assert_eq!(outside(json!({"path": "a.md"})), None);
    assert_eq!(outside(json!({"path": ".."})), Some(real.clone()));
    assert_eq!(outside(json!({"path": "../b.md"})), Some(real.join("b.md")));
    assert_eq!(outside(json!({"rows": "../b.jsonl"})), Some(real.join("b.jsonl")));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        assert_eq!(outside(json!({"path": "up"})), Some(real), "links count as where they lead");
    }
}
