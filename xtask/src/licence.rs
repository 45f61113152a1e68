//! Licences of everything we build on, Rust and npm alike, against the one list in `deny.toml`.
//!
//! `deny.toml` has cargo-deny's shape, so that tool can be run over it as well; it is not needed here, because
//! building it takes longer than all our own tests.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::Outcome;
use crate::shell::{Call, root};

/// Permissive as well, but only met in tools that run here and reach no user: attribution for data, Python's own.
const TOOLS_ONLY: [&str; 3] = ["BlueOak-1.0.0", "CC-BY-4.0", "Python-2.0"];

/// A package and what it says of its licence.
struct Package {
    id: String,
    licence: Option<String>,
    /// Used here only, never shipped.
    is_tool: bool,
}

/// Every package whose licence is missing or not on the list.
pub fn check() -> Outcome<Vec<String>> {
    let text = fs::read_to_string(root().join("deny.toml")).map_err(|error| format!("deny.toml: {error}"))?;
    let allowed = strings_of(&text, "allow");
    let clarified = clarifications(&text);
    let for_tools: BTreeSet<String> = allowed.iter().cloned().chain(TOOLS_ONLY.map(str::to_owned)).collect();
    let mut broken = Vec::new();
    for package in rust_packages()?.into_iter().chain(npm_packages()?) {
        let name = package.id.split('@').next().unwrap_or(&package.id);
        let licence = package.licence.or_else(|| {
            clarified.iter().find(|(known, _)| known == name).map(|(_, expression)| expression.clone())
        });
        let id = &package.id;
        match licence {
            None => broken.push(format!("package {id} names no licence (deny.toml, [[licenses.clarify]])")),
            Some(licence) if !is_allowed(&licence, if package.is_tool { &for_tools } else { &allowed }) => {
                broken.push(format!("package {id} has licence `{licence}`, which deny.toml does not allow"));
            }
            Some(_) => {}
        }
    }
    Ok(broken)
}

/// What can reach a user on any platform: normal and build dependencies of our members, resolved by the lock file.
fn rust_packages() -> Outcome<Vec<Package>> {
    let text = Call::words("cargo metadata --format-version 1").output()?;
    let metadata: Value = serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    Ok(packages
        .iter()
        .filter(|package| !package["source"].is_null())
        .map(|package| {
            let id = format!("{}@{}", text_of(&package["name"]), text_of(&package["version"]));
            Package { id, licence: package["license"].as_str().map(str::to_owned), is_tool: false }
        })
        .collect())
}

fn npm_packages() -> Outcome<Vec<Package>> {
    let Ok(text) = fs::read_to_string(root().join("ui/package-lock.json")) else { return Ok(Vec::new()) };
    let lock: Value =
        serde_json::from_str(&text).map_err(|error| format!("ui/package-lock.json: {error}"))?;
    let packages = lock["packages"].as_object().ok_or("ui/package-lock.json lists no packages")?;
    Ok(packages
        .iter()
        .filter_map(|(path, package)| {
            let (_, name) = path.rsplit_once("node_modules/")?;
            let id = format!("npm:{name}@{}", text_of(&package["version"]));
            let is_tool = package["dev"] == true;
            Some(Package { id, licence: package["license"].as_str().map(str::to_owned), is_tool })
        })
        .collect())
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The strings of `key = [...]`, over one or many lines; comments are skipped.
fn strings_of(text: &str, key: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
        inside |= line.split_once('=').is_some_and(|(name, _)| name.trim() == key);
        if inside {
            found.extend(quoted(line));
            inside = !line.contains(']');
        }
    }
    found
}

/// `crate` and `expression` of each `[[licenses.clarify]]`.
fn clarifications(text: &str) -> Vec<(String, String)> {
    let sections = text.split("[[licenses.clarify]]").skip(1);
    sections
        .filter_map(|section| {
            let value = |key: &str| {
                let line = section.lines().find(|line| line.split('=').next().map(str::trim) == Some(key))?;
                quoted(line).next()
            };
            Some((value("crate")?, value("expression")?))
        })
        .collect()
}

fn quoted(line: &str) -> impl Iterator<Item = String> {
    line.split('"').skip(1).step_by(2).map(str::to_owned)
}

/// Whether an SPDX expression can be met with allowed licences alone. `/` is the old way of writing `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0, allowed };
    let outcome = reader.any();
    outcome && reader.at == words.len()
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
    allowed: &'a BTreeSet<String>,
}

impl Reader<'_> {
    fn takes(&mut self, word: &str) -> bool {
        let matches = self.words.get(self.at).is_some_and(|found| found.eq_ignore_ascii_case(word));
        self.at += usize::from(matches);
        matches
    }

    fn any(&mut self) -> bool {
        let mut met = self.all();
        while self.takes("OR") {
            met |= self.all();
        }
        met
    }

    fn all(&mut self) -> bool {
        let mut met = self.one();
        while self.takes("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.takes("(") {
            return self.any() & self.takes(")");
        }
        let Some(name) = self.words.get(self.at) else { return false };
        self.at += 1;
        if !self.takes("WITH") {
            return self.allowed.contains(*name);
        }
        let exception = self.words.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        // An exception only ever permits more than the licence it stands on.
        self.allowed.contains(&format!("{name} WITH {exception}")) || self.allowed.contains(*name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, expected: bool) {
        let allowed = ["MIT", "Apache-2.0", "ISC"].map(str::to_owned).into();
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }

    #[test]
    fn expressions_are_read_as_written() {
        check("MIT", true);
        check("GPL-3.0-only", false);
        check("MIT OR GPL-3.0-only", true);
        check("MIT AND GPL-3.0-only", false);
        check("(MIT OR GPL-2.0-only) AND ISC", true);
        check("(MIT OR ISC) AND GPL-2.0-only", false);
        check("Apache-2.0 WITH LLVM-exception", true);
        check("GPL-2.0-only WITH Classpath-exception-2.0", false);
        check("Unlicense/MIT", true);
        check("MIT )", false);
        check("", false);
    }

    #[test]
    fn the_list_is_read_from_deny_toml() {
        let text = "[licenses]\nallow = [\n  \"MIT\", # fine\n  \"ISC\",\n]\nother = [\"GPL-3.0\"]\n";
        assert_eq!(strings_of(text, "allow"), ["ISC", "MIT"].map(str::to_owned).into());
        let text = "[[licenses.clarify]]\ncrate = \"ring\"\nexpression = \"ISC\"\n";
        assert_eq!(clarifications(text), [("ring".to_owned(), "ISC".to_owned())]);
    }
}
