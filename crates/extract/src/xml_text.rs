//! XML of no known kind: its texts, a block for each element that holds some.

use crate::builder::{Builder, one_line};
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::xml::{El, Tree};

/// Reads XML.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let tree = Tree::parse(bytes, "document", limits)?;
    let mut builder = Builder::new(Kind::Xml, limits);
    if let Some(problem) = &tree.problem {
        builder.note("repaired", format!("it was read as far as it goes: {problem}"), None);
    }
    let root = tree.document();
    builder.meta("root", root.name());
    let title = root.child("title").or_else(|| root.path(&["channel", "title"]));
    builder.meta("title", &title.map(El::text).unwrap_or_default());
    texts(root, &mut builder);
    Ok(builder.finish())
}

/// Writes the texts below an element. One that mixes text and elements is a paragraph; leaves that follow each other
/// are lines of `name: text`. Depth is bounded by the tree's.
fn texts(el: El<'_>, builder: &mut Builder) {
    if builder.is_full() {
        return;
    }
    let mut leaves: Vec<String> = Vec::new();
    for child in el.children() {
        let is_leaf = child.children().next().is_none();
        if is_leaf {
            let text = one_line(&child.text());
            if !text.is_empty() {
                leaves.push(format!("{}: {text}", child.name()));
            }
            continue;
        }
        builder.block(BlockKind::Paragraph, &std::mem::take(&mut leaves).join("\n"));
        let is_mixed = child.content().any(|part| part.as_text().is_some_and(|text| !text.trim().is_empty()));
        if is_mixed {
            builder.block(BlockKind::Paragraph, &one_line(&child.text()));
        } else {
            texts(child, builder);
        }
    }
    if el.children().next().is_none() {
        leaves.push(one_line(&el.text()));
    }
    builder.block(BlockKind::Paragraph, &leaves.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::debug_check;

    #[test]
    fn texts_are_found() {
        let limits = Limits::default();
        let xml =
            "<feed><title>News</title><item><name>A</name><body>some <b>bold</b> words</body></item></feed>";
        let out = read(xml.as_bytes(), &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        assert_eq!(out.text, "title: News\n\nname: A\n\nsome bold words");
        assert_eq!(out.metadata["title"], "News");
    }

    #[test]
    fn a_billion_laughs_are_none() {
        let xml = "<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'><!ENTITY c '&b;&b;'>]><l>&c; end</l>";
        assert_eq!(read(xml.as_bytes(), &Limits::default()).unwrap().text, "end");
    }
}
