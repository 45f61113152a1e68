//! Lists as lines with marks.

use dom_query::NodeRef;

use super::{each_below, element_name, is_hidden, is_skipped, push_text, text_of};

/// Whether a list holds what a line cannot: it is page layout then.
pub(super) fn has_blocks(list: &NodeRef<'_>) -> bool {
    let mut found = false;
    each_below(list, |node, _| {
        if let Some(name) = element_name(node) {
            found |= matches!(
                name.as_str(),
                "table"
                    | "pre"
                    | "h1"
                    | "h2"
                    | "h3"
                    | "h4"
                    | "h5"
                    | "h6"
                    | "blockquote"
                    | "article"
                    | "section"
            );
        }
        !found
    });
    found
}

/// Appends one line an item, nested lists indented below theirs.
pub(super) fn lines(list: &NodeRef<'_>, level: usize, levels_left: usize, out: &mut String) {
    let is_ordered = list.has_name("ol");
    let first = list.attr("start").and_then(|start| start.trim().parse::<i64>().ok()).unwrap_or(1);
    let mut number = first;
    let mut next = list.first_child();
    while let Some(item) = next {
        next = item.next_sibling();
        let Some(name) = element_name(&item) else { continue };
        if is_skipped(&name) || is_hidden(&item) {
            continue;
        }
        if is_list(&name) {
            // A list as the child of a list, as many pages write nested ones.
            if levels_left > 0 {
                lines(&item, level + 1, levels_left - 1, out);
            }
            continue;
        }
        let (text, inner) = split_item(&item);
        if text.trim().is_empty() && inner.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let indent = "  ".repeat(level.min(16));
        let mark = if is_ordered { format!("{number}. ") } else { "- ".to_owned() };
        out.push_str(&indent);
        out.push_str(&mark);
        let more = format!("\n{indent}{}", " ".repeat(mark.len()));
        let item_lines: Vec<&str> = text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect();
        out.push_str(&item_lines.join(&more));
        number = number.saturating_add(1);
        for inner in inner {
            if levels_left > 0 {
                lines(&inner, level + 1, levels_left - 1, out);
            } else {
                out.push(' ');
                out.push_str(&text_of(&inner));
            }
        }
    }
}

/// Text of an item and the lists in it.
fn split_item<'a>(item: &NodeRef<'a>) -> (String, Vec<NodeRef<'a>>) {
    let mut inner = Vec::new();
    let mut text = String::new();
    each_below(item, |node, entering| {
        if node.is_text() {
            push_text(&mut text, &node.text());
            return true;
        }
        let Some(name) = element_name(node) else { return true };
        if !entering {
            if super::is_block(&name) {
                push_text(&mut text, " ");
            }
            return true;
        }
        if is_list(&name) {
            inner.push(NodeRef::new(node.id, item.tree));
            return false;
        }
        if is_skipped(&name) || is_hidden(node) {
            return false;
        }
        if name == "br" {
            text.push('\n');
        } else if super::is_block(&name) {
            push_text(&mut text, " ");
        }
        true
    });
    (text, inner)
}

fn is_list(name: &str) -> bool {
    matches!(name, "ul" | "ol" | "menu")
}

/// Terms and what they mean, one line each.
pub(super) fn definitions(list: &NodeRef<'_>) -> String {
    let mut out = String::new();
    let mut after_term = false;
    each_below(list, |node, entering| {
        let Some(name) = element_name(node) else { return true };
        let is_term = name == "dt";
        if !entering || !(is_term || name == "dd") {
            return true;
        }
        let text = text_of(node).replace('\n', " ");
        if !text.is_empty() {
            if after_term && !is_term {
                out.push_str(": ");
            } else {
                out.push_str(if out.is_empty() { "" } else { "\n" });
                out.push_str(if is_term { "- " } else { "  " });
            }
            out.push_str(&text);
            after_term = is_term;
        }
        false
    });
    out
}
