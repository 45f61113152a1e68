//! `include` and `exclude`: which files of a folder are taken.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::SourceError;

/// Globs over paths relative to the folder. `*` stays within a folder, `**` does not, case does not matter, and a
/// pattern that names a folder takes everything below it.
#[derive(Clone, Debug)]
pub(super) struct Patterns {
    include: Vec<(String, GlobSet)>,
    exclude: GlobSet,
    /// True where a pattern names hidden files.
    pub takes_hidden: bool,
}

impl Patterns {
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, SourceError> {
        let takes_hidden =
            include.iter().any(|glob| glob.split('/').any(|part| part.starts_with('.') && part.len() > 1));
        let include = include.iter().map(|glob| Ok((glob.clone(), set(&[glob])?)));
        Ok(Self {
            include: include.collect::<Result<_, SourceError>>()?,
            exclude: set(&exclude.iter().collect::<Vec<_>>())?,
            takes_hidden,
        })
    }

    /// True where `include` says which files are taken, whatever their kind.
    pub fn is_choosy(&self) -> bool {
        !self.include.is_empty()
    }

    /// Places in `include` of the patterns that take this file.
    pub fn takers<'a>(&'a self, relative: &'a Path) -> impl Iterator<Item = usize> + 'a {
        let matches = move |(at, (_, set)): (usize, &(String, GlobSet))| set.is_match(relative).then_some(at);
        self.include.iter().enumerate().filter_map(matches)
    }

    /// True for a file or folder that is left out.
    pub fn leaves_out(&self, relative: &Path) -> bool {
        self.exclude.is_match(relative)
    }

    /// The pattern at a place in `include`.
    pub fn text(&self, at: usize) -> &str {
        &self.include[at].0
    }

    /// Number of patterns in `include`.
    pub fn len(&self) -> usize {
        self.include.len()
    }
}

fn set(globs: &[&String]) -> Result<GlobSet, SourceError> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        let told = |error: globset::Error| SourceError::Glob {
            pattern: (*glob).clone(),
            reason: error.kind().to_string(),
        };
        let plain = glob.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/');
        for variant in [plain.to_owned(), format!("{plain}/**")] {
            let mut one = GlobBuilder::new(&variant);
            builder.add(one.case_insensitive(true).literal_separator(true).build().map_err(told)?);
        }
    }
    builder.build().map_err(|error| SourceError::Glob {
        pattern: globs.iter().map(|glob| glob.as_str()).collect::<Vec<_>>().join("`, `"),
        reason: error.kind().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(include: &str, path: &str, expected: bool) {
        let patterns = Patterns::new(&[include.to_owned()], &[]).unwrap();
        assert_eq!(patterns.takers(Path::new(path)).next().is_some(), expected, "`{include}` on `{path}`");
    }

    #[test]
    fn patterns_take_files() {
        check("**/*.md", "a.md", true);
        check("**/*.md", "a/b/README.MD", true);
        check("*.md", "a.md", true);
        check("*.md", "a/b.md", false);
        check("./docs/*.txt", "docs/a.txt", true);
        check("docs", "docs/a/b.txt", true);
        check("docs/", "docs/a.txt", true);
        check("docs/", "docs2/a.txt", false);
        check("**/*.{md,txt}", "x/y.txt", true);
        check("[ab].md", "b.md", true);
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let error = Patterns::new(&["a/[b".to_owned()], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the pattern `a/[b` cannot be read: unclosed character class; missing ']'"
        );
    }
}
