//! Links between our own documents: file and heading must exist. Addresses on the web are not asked.

use crate::tidy::{Source, exists};

/// Every link of a Markdown file that leads nowhere.
pub fn broken(source: &Source, all: &[Source]) -> Vec<String> {
    if !source.path.ends_with(".md") || source.path.starts_with("fixtures/") {
        return Vec::new();
    }
    let mut broken = Vec::new();
    for (number, target) in targets(&source.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() { source.path.clone() } else { join(&source.path, file) };
        let place = format!("{}:{number}", source.path);
        if !exists(&path) {
            broken.push(format!("{place}: link to `{target}`: there is no `{path}`"));
        } else if !anchor.is_empty() {
            let document = all.iter().find(|other| other.path == path);
            if document.is_some_and(|document| !headings(&document.text).any(|heading| heading == anchor)) {
                broken.push(format!("{place}: link to `{target}`: `{path}` has no such heading"));
            }
        }
    }
    broken
}

/// `](target)` outside code, with its line.
fn targets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(number, line)| {
        line.match_indices("](").filter_map(move |(at, _)| {
            let rest = &line[at + 2..];
            let target = rest[..rest.find(')')?].split_whitespace().next()?;
            let is_code = line[..at].matches('`').count() % 2 == 1;
            (!is_code).then_some((number, target))
        })
    })
}

/// Lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// Headings as their anchors: lower case, spaces to hyphens, other punctuation gone.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// `target` as seen from the file `from`, with `..` resolved.
fn join(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_from_where_they_stand() {
        assert_eq!(join("docs/a.md", "../README.md"), "README.md");
        assert_eq!(join("docs/a.md", "b.md"), "docs/b.md");
        assert_eq!(join("README.md", "./docs/"), "docs");
    }

    #[test]
    fn code_holds_no_links() {
        let text = "[a](b.md) and `[c](d.md)`\n```\n[e](f.md)\n```\n";
        assert_eq!(targets(text).collect::<Vec<_>>(), [(1, "b.md")]);
    }

    #[test]
    fn headings_become_anchors() {
        let anchors: Vec<_> = headings("# One & two\n## `flowbench` run\n").collect();
        assert_eq!(anchors, ["one--two", "flowbench-run"]);
    }
}
