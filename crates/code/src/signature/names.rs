//! What the names of a module stand for: its imports.

use std::collections::HashMap;

use tree_sitter::Node;

use super::annotation::Annotation;

/// Imported names with their full paths.
#[derive(Default)]
pub(super) struct Names {
    paths: HashMap<String, String>,
    /// Modules of which everything was imported.
    all_of: Vec<String>,
}

impl Names {
    /// Takes note of a statement if it is an import.
    pub(super) fn note(&mut self, statement: Node<'_>, source: &str) {
        let text =
            |node: Node<'_>| source.get(node.byte_range()).unwrap_or_default().replace([' ', '\t'], "");
        let mut cursor = statement.walk();
        let module = match statement.kind() {
            "import_statement" => None,
            "import_from_statement" => statement.child_by_field_name("module_name").map(text),
            _ => return,
        };
        if statement.named_children(&mut cursor).any(|child| child.kind() == "wildcard_import") {
            self.all_of.extend(module);
            return;
        }
        for child in statement.children_by_field_name("name", &mut cursor) {
            let (name, alias) = match child.kind() {
                "aliased_import" => (
                    child.child_by_field_name("name").map(text),
                    child.child_by_field_name("alias").map(text),
                ),
                _ => (Some(text(child)), None),
            };
            let Some(name) = name else { continue };
            match (&module, alias) {
                (Some(module), alias) => {
                    self.paths.insert(alias.unwrap_or_else(|| name.clone()), format!("{module}.{name}"));
                }
                (None, Some(alias)) => {
                    self.paths.insert(alias, name);
                }
                // `import a.b` binds `a`, which stands for itself.
                (None, None) => {}
            }
        }
    }

    /// The full path of a dotted name.
    pub(super) fn resolve(&self, name: &str) -> String {
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        match (self.paths.get(first), rest) {
            (Some(path), Some(rest)) => format!("{path}.{rest}"),
            (Some(path), None) => path.clone(),
            (None, _) => name.to_owned(),
        }
    }

    /// True if a decorator is prompt flow's `tool`.
    pub(super) fn is_tool(&self, name: &str) -> bool {
        let is_ours = |module: &str| module == "promptflow" || module.starts_with("promptflow.");
        let path = self.resolve(name);
        if path == "tool" {
            return self.all_of.iter().any(|module| is_ours(module));
        }
        path.strip_suffix(".tool").is_some_and(is_ours)
    }

    /// The annotation with its names in full.
    pub(super) fn resolve_all(&self, annotation: Annotation) -> Annotation {
        annotation.map_names(&|name| self.resolve(name))
    }
}
