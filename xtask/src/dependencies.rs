//! Dependencies between crates: which room may know which, what is declared and not used.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Outcome;
use crate::shell::{Call, root};
use crate::tidy::{Source, has_word};

/// Which of our rooms a room may use in what it ships. Arrows point down only; `docs/ARCHITECTURE.md` draws them.
const ROOMS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("text", &["core"]),
    ("format", &["core"]),
    ("prompt", &["core"]),
    ("net", &["core"]),
    ("store", &["core"]),
    ("code", &["core"]),
    ("inference", &["core", "prompt"]),
    ("providers", &["core", "format", "net", "prompt", "text"]),
    ("extract", &[]),
    ("corpus", &["core", "extract", "format", "net", "text"]),
    ("grounding", &["core", "corpus", "extract", "format", "net", "text"]),
    ("catalog", &["core", "format", "net"]),
    ("run", &["core", "prompt", "text"]),
    ("api", &[ANY_BUT_FRONTS]),
    ("cli", &["api", "core"]),
    ("app", &["api", "core"]),
];

/// What only wires may know.
const ANY_BUT_FRONTS: &str = "*";

/// A member of the workspace and what it declares.
pub struct Member {
    name: String,
    folder: String,
    described: bool,
    dependencies: Vec<Dependency>,
    /// Declared for a reason that no source shows, such as switching on a feature.
    accepted: BTreeSet<String>,
}

struct Dependency {
    name: String,
    ident: String,
    is_dev: bool,
}

/// The members, from cargo itself.
pub fn load() -> Outcome<Vec<Member>> {
    Ok(packages()?.iter().map(member).collect())
}

/// Names of a member's test programs.
pub fn test_targets(member: &str) -> Outcome<Vec<String>> {
    let packages = packages()?;
    let package = packages.iter().find(|package| package["name"] == member);
    let targets = package.and_then(|package| package["targets"].as_array()).cloned().unwrap_or_default();
    let names = targets
        .iter()
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str());
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() { Err(format!("`{member}` has no test programs")) } else { Ok(names) }
}

fn packages() -> Outcome<Vec<Value>> {
    let text = Call::words("cargo metadata --format-version 1 --no-deps").output()?;
    let metadata: Value = serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    metadata["packages"].as_array().cloned().ok_or_else(|| "cargo metadata lists no packages".to_owned())
}

fn member(package: &Value) -> Member {
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let manifest = string(&package["manifest_path"]);
    let base = format!("{}/", root().display());
    let folder = manifest.trim_start_matches(&base).trim_end_matches("Cargo.toml").to_owned();
    let dependencies = list(&package["dependencies"]).into_iter().map(|dependency| {
        let name = string(&dependency["name"]);
        let ident = dependency["rename"].as_str().unwrap_or(&name).replace('-', "_");
        Dependency { name, ident, is_dev: dependency["kind"] == "dev" }
    });
    Member {
        name: string(&package["name"]),
        folder,
        described: package["description"].is_string(),
        dependencies: dependencies.collect(),
        accepted: list(&package["metadata"]["tidy"]["accepted"]).iter().map(string).collect(),
    }
}

/// Every rule that a member breaks.
pub fn check(members: &[Member], sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for member in members {
        if member.folder.starts_with("crates/") && !member.described {
            broken.push(format!("{}Cargo.toml: says nothing in `description`", member.folder));
        }
        if member.folder.starts_with("crates/") {
            let manifest =
                sources.iter().find(|source| source.path == format!("{}Cargo.toml", member.folder));
            if manifest.is_some_and(|manifest| !manifest.text.contains("[lints]\nworkspace = true")) {
                broken.push(format!("{}Cargo.toml: does not take the workspace's lints", member.folder));
            }
        }
        broken.extend(wrong_arrows(member));
        broken.extend(unused(member, sources));
    }
    broken.extend(never_taken(members, sources));
    broken
}

fn wrong_arrows(member: &Member) -> Vec<String> {
    let Some(room) = member.name.strip_prefix("flowbench-") else { return Vec::new() };
    let Some((_, below)) = ROOMS.iter().find(|(name, _)| *name == room) else { return Vec::new() };
    let used = member.dependencies.iter().filter(|dependency| !dependency.is_dev);
    used.filter_map(|dependency| dependency.name.strip_prefix("flowbench-"))
        .filter(|used| !below.contains(used))
        .filter(|used| !below.contains(&ANY_BUT_FRONTS) || matches!(*used, "cli" | "app" | "testkit"))
        .map(|used| format!("{}Cargo.toml: room `{room}` must not know `{used}`", member.folder))
        .collect()
}

/// Declared, but named nowhere in the member's sources.
fn unused(member: &Member, sources: &[Source]) -> Vec<String> {
    let own: Vec<&Source> = sources
        .iter()
        .filter(|source| source.path.starts_with(&member.folder) && source.path.ends_with(".rs"))
        .collect();
    let is_named = |ident: &str| own.iter().any(|source| has_word(&source.text, ident));
    member
        .dependencies
        .iter()
        .filter(|dependency| !is_named(&dependency.ident) && !member.accepted.contains(&dependency.name))
        .map(|dependency| format!("{}Cargo.toml: `{}` is not used", member.folder, dependency.name))
        .collect()
}

/// Stated once for all in the root manifest, but taken by no member.
fn never_taken(members: &[Member], sources: &[Source]) -> Vec<String> {
    let Some(manifest) = sources.iter().find(|source| source.path == "Cargo.toml") else { return Vec::new() };
    let taken: BTreeSet<&str> = members
        .iter()
        .flat_map(|member| &member.dependencies)
        .flat_map(|dependency| [dependency.name.as_str(), dependency.ident.as_str()])
        .collect();
    let mut inside = false;
    let mut broken = Vec::new();
    for line in manifest.text.lines() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if let (true, Some((name, _))) = (inside, line.split_once('=')) {
            let name = name.trim();
            if !name.starts_with('#')
                && !taken.contains(name)
                && !taken.contains(name.replace('-', "_").as_str())
            {
                broken
                    .push(format!("Cargo.toml: no member takes `{name}` from the workspace's dependencies"));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dependencies: &[&str]) -> Member {
        let dependencies = dependencies.iter().map(|name| Dependency {
            name: name.to_string(),
            ident: name.replace('-', "_"),
            is_dev: false,
        });
        Member {
            name: name.to_owned(),
            folder: format!("crates/{}/", name.trim_start_matches("flowbench-")),
            described: true,
            dependencies: dependencies.collect(),
            accepted: BTreeSet::new(),
        }
    }

    #[test]
    fn arrows_point_down_only() {
        assert!(wrong_arrows(&member("flowbench-run", &["flowbench-core", "tokio"])).is_empty());
        assert_eq!(
            wrong_arrows(&member("flowbench-core", &["flowbench-run"])),
            ["crates/core/Cargo.toml: room `core` must not know `run`"]
        );
    }

    #[test]
    fn a_dependency_is_used_when_its_name_appears() {
        let source = |text: &str| Source { path: "crates/run/src/lib.rs".into(), text: text.into() };
        let run = member("flowbench-run", &["tokio-util"]);
        assert!(unused(&run, &[source("use tokio_util::sync;")]).is_empty());
        assert_eq!(
            unused(&run, &[source("use tokio;")]),
            ["crates/run/Cargo.toml: `tokio-util` is not used"]
        );
    }
}
