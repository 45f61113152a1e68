//! The fast checks of the source tree: format, module docs, leftovers, crate invariants, links, licences.
//!
//! Everything here reads files that git tracks (or would, if added) and takes a second or two.

use std::fs;
use std::path::Path;

use crate::shell::{Call, root};
use crate::{Outcome, dependencies, licence, links};

/// A tracked text file.
pub struct Source {
    /// Path from the repository root, with `/`.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// Longer than this there is usually a concept waiting for a name. Told, not failed.
const LONG_FILE_LINES: usize = 800;

/// All rules; every break is told before failing.
pub fn run() -> Outcome {
    let sources = sources()?;
    let mut broken = Vec::new();
    broken.extend(Call::words("cargo fmt --all -- --check -l").run().err());
    for source in &sources {
        broken.extend(leftovers(source));
        broken.extend(machine_traces(source));
        broken.extend(module_doc(source));
        broken.extend(links::broken(source, &sources));
    }
    let manifests = dependencies::load()?;
    broken.extend(dependencies::check(&manifests, &sources));
    broken.extend(licence::check()?);
    for source in sources.iter().filter(|source| source.path.ends_with(".rs")) {
        let lines = source.text.lines().count();
        if lines > LONG_FILE_LINES {
            println!("note: {} has {lines} lines", source.path);
        }
    }
    if broken.is_empty() {
        println!("tidy: {} files in order", sources.len());
        return Ok(());
    }
    Err(format!("{} rules broken\n  {}", broken.len(), broken.join("\n  ")))
}

/// Every text file that git knows or would take.
fn sources() -> Outcome<Vec<Source>> {
    let list = Call::words("git ls-files --cached --others --exclude-standard").output()?;
    let mut sources: Vec<Source> = list
        .lines()
        .filter(|path| !path.starts_with('"'))
        .filter_map(|path| {
            let text = fs::read(root().join(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
            Some(Source { path: path.to_owned(), text })
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// Code and prose that we write, as opposed to sample data, which may say anything.
fn is_ours(path: &str) -> bool {
    let sample = ["fixtures/", "eval-sets/", "flows/"].iter().any(|folder| path.starts_with(folder));
    !sample && !path.contains("/fixtures/") && !path.ends_with("lock.json") && !path.ends_with(".lock")
}

fn leftovers(source: &Source) -> Vec<String> {
    // Put together here, so that this file does not break its own rule.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    if !is_ours(&source.path) {
        return Vec::new();
    }
    numbered(source)
        .filter(|(_, line)| words.iter().any(|word| has_word(line, word)))
        .map(|(number, line)| format!("{}:{number}: a leftover: {}", source.path, line.trim()))
        .collect()
}

/// Paths of the machine that this runs on, and addresses that a package client wrote down: both differ elsewhere.
fn machine_traces(source: &Source) -> Vec<String> {
    let mut traces = vec![concat!("\"resolved\": ", "\"http").to_owned()];
    let home = std::env::var("HOME").unwrap_or_default();
    for folder in [root().display().to_string(), home] {
        // A folder such as `/` would be found everywhere and say nothing.
        if folder.trim_end_matches('/').len() > 3 {
            traces.push(format!("{}/", folder.trim_end_matches('/')));
        }
    }
    numbered(source)
        .filter_map(|(number, line)| {
            let trace = traces.iter().find(|trace| line.contains(trace.as_str()))?;
            Some(format!("{}:{number}: names one machine's `{trace}`", source.path))
        })
        .collect()
}

fn module_doc(source: &Source) -> Option<String> {
    if !source.path.ends_with(".rs") || !is_ours(&source.path) || source.text.starts_with("//!") {
        return None;
    }
    Some(format!("{}: does not begin with a module doc (`//!`)", source.path))
}

fn numbered(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    source.text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// True if `line` has `word` with no letter or digit beside it.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_inner = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let goes_on = after.is_some_and(is_inner) && word.chars().all(is_inner);
        !before.is_some_and(is_inner) && !goes_on
    })
}

/// True if `path` exists below the repository root.
pub fn exists(path: &str) -> bool {
    root().join(Path::new(path)).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn leftovers_are_found_in_code_but_not_in_samples() {
        let text = concat!("fine\n// TO", "DO: later\n");
        assert_eq!(leftovers(&source("crates/a/src/lib.rs", text)).len(), 1);
        assert!(leftovers(&source("fixtures/handbook/a.md", text)).is_empty());
        assert!(leftovers(&source("a.rs", concat!("let TO", "DOS = 1;"))).is_empty(), "only the whole word");
    }

    #[test]
    fn machine_paths_are_found_anywhere() {
        let found = machine_traces(&source("flows/a/flow.dag.yaml", concat!("path: /ro", "ot/x\n")));
        assert_eq!(found, [concat!("flows/a/flow.dag.yaml:1: names one machine's `/ro", "ot/`")]);
    }

    #[test]
    fn every_rust_file_begins_with_its_doc() {
        assert!(module_doc(&source("crates/a/src/x.rs", "use std::fs;\n")).is_some());
        assert!(module_doc(&source("crates/a/src/x.rs", "//! What lives here.\n")).is_none());
    }
}
