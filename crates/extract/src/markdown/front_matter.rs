//! Front matter: lines of `key: value` (or `key = value` between `+++`) ahead of a Markdown text.
//!
//! Only what metadata needs is understood: scalars and lists of scalars. Anything deeper is left out, never an error.

use crate::builder::Builder;

/// Longest front matter in lines; a thematic break far below is no end of one.
const MAX_LINES: usize = 400;

/// Sets the metadata; the text after the front matter.
pub(super) fn take<'a>(text: &'a str, builder: &mut Builder) -> &'a str {
    let Some((inside, separator, after)) = split(text) else { return text };
    let mut key = String::new();
    let mut list: Vec<String> = Vec::new();
    let mut found: Vec<(String, String)> = Vec::new();
    for line in inside.lines() {
        let item = line.trim_start().strip_prefix("- ");
        if let Some(item) = item.filter(|_| !key.is_empty()) {
            list.push(scalar(item));
            continue;
        }
        if line.starts_with([' ', '\t', '#']) || line.trim().is_empty() {
            continue;
        }
        if !list.is_empty() {
            found.push((key.clone(), std::mem::take(&mut list).join(", ")));
        }
        let Some((name, value)) = line.split_once(separator) else { continue };
        key = name.trim().trim_matches(['"', '\'']).to_owned();
        let value = value.trim();
        match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
            Some(items) => {
                let items: Vec<String> = items.split(',').map(scalar).collect();
                found.push((key.clone(), items.join(", ")));
            }
            None if matches!(value, "" | "|" | ">" | "|-" | ">-") => {}
            None => found.push((key.clone(), scalar(value))),
        }
    }
    if !list.is_empty() {
        found.push((key, list.join(", ")));
    }
    for (key, value) in found {
        let known = match key.to_ascii_lowercase().as_str() {
            "authors" | "author" => "author".to_owned(),
            "lang" | "language" | "locale" => "language".to_owned(),
            "date" | "ms.date" | "published" => "date".to_owned(),
            other => other.to_owned(),
        };
        builder.meta(&known, &value);
    }
    after
}

fn split(text: &str) -> Option<(&str, char, &str)> {
    let (first, rest) = text.split_once('\n')?;
    let separator = match first.trim_end() {
        "---" => ':',
        "+++" => '=',
        _ => return None,
    };
    let mut at = 0;
    for line in rest.split_inclusive('\n').take(MAX_LINES) {
        let body = line.trim_end();
        if body == first.trim_end() || (separator == ':' && body == "...") {
            let inside = &rest[..at];
            return inside.contains(separator).then(|| (inside, separator, &rest[at + line.len()..]));
        }
        let fits = body.is_empty()
            || body.starts_with([' ', '\t', '#', '-', ']', '}', '['])
            || body.contains(separator);
        if !fits {
            return None;
        }
        at += line.len();
    }
    None
}

fn scalar(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inside) = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)) {
            return inside.replace("\\\"", "\"").replace("''", "'");
        }
    }
    value.split(" #").next().unwrap_or(value).trim().to_owned()
}
