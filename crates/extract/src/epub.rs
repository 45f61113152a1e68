//! E-books: chapters in reading order. The table of contents is left out, because the headings say the same.

use std::collections::HashMap;

use crate::archive::{Archive, resolve};
use crate::builder::Builder;
use crate::dates;
use crate::decode;
use crate::document::{Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::html;
use crate::xml::{El, Tree, declared_encoding};

/// Reads an e-book.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut archive = Archive::open(bytes, limits)?;
    let mut builder = Builder::new(Kind::Epub, limits);
    let package = package_name(&mut archive, limits)?;
    let missing = || ExtractError::Damaged { reason: format!("its part `{package}` is missing") };
    let tree = Tree::parse(&archive.read(&package)?.ok_or_else(missing)?, &package, limits)?;
    let locked = locked_parts(&mut archive, limits)?;
    let root = tree.document();
    metadata(root, &mut builder);
    let mut items = HashMap::new();
    for item in root.all("item") {
        if let (Some(id), Some(href)) = (item.attr("id"), item.attr("href")) {
            let is_nav =
                item.attr("properties").is_some_and(|it| it.split_whitespace().any(|it| it == "nav"));
            items.insert(id, (resolve(&package, href), is_nav, item.attr("media-type").unwrap_or_default()));
        }
    }
    let contents =
        root.all("reference").filter(|it| it.attr("type") == Some("toc")).filter_map(|it| it.attr("href"));
    let contents: Vec<String> = contents.map(|href| resolve(&package, href)).collect();
    let spine = root.child("spine");
    let labels = labels(spine, &items, &mut archive, limits)?;
    let mut unreadable = 0;
    for entry in spine.into_iter().flat_map(El::children) {
        let Some((part, is_nav, media_type)) = entry.attr("idref").and_then(|id| items.get(id)) else {
            continue;
        };
        if builder.is_full() {
            break;
        }
        if *is_nav || contents.contains(part) || !media_type.contains("html") && !media_type.is_empty() {
            continue;
        }
        if locked.contains(&part.to_lowercase()) {
            unreadable += 1;
            continue;
        }
        match archive.read(part) {
            Ok(Some(bytes)) => chapter(&bytes, labels.get(part), &mut builder, limits),
            Ok(None) => builder.note("skipped-part", format!("the chapter `{part}` is missing"), None),
            Err(error @ ExtractError::Damaged { .. }) => {
                builder.note("skipped-part", error.to_string(), None)
            }
            Err(error) => return Err(error),
        }
    }
    if unreadable > 0 && builder.is_empty() {
        return Err(ExtractError::Unsupported { found: "e-book with digital rights management".to_owned() });
    }
    if unreadable > 0 {
        builder.note("skipped-part", format!("{unreadable} chapters are encrypted"), None);
    }
    Ok(builder.finish())
}

fn package_name(archive: &mut Archive<'_>, limits: &Limits) -> Result<String, ExtractError> {
    if let Some(container) = archive.read("META-INF/container.xml")? {
        let tree = Tree::parse(&container, "META-INF/container.xml", limits)?;
        let named =
            tree.document().all("rootfile").find_map(|file| file.attr("full-path")).map(str::to_owned);
        if let Some(name) = named.filter(|name| archive.has(name)) {
            return Ok(name);
        }
    }
    let any = archive.names().into_iter().find(|name| name.ends_with(".opf"));
    any.ok_or_else(|| ExtractError::Damaged { reason: "it names no package of chapters".to_owned() })
}

/// Chapters that are encrypted; fonts are by custom, which harms nobody.
fn locked_parts(archive: &mut Archive<'_>, limits: &Limits) -> Result<Vec<String>, ExtractError> {
    let Some(bytes) = archive.read("META-INF/encryption.xml")? else { return Ok(Vec::new()) };
    let Ok(tree) = Tree::parse(&bytes, "META-INF/encryption.xml", limits) else { return Ok(Vec::new()) };
    let parts = tree.document().all("CipherReference").filter_map(|it| it.attr("URI"));
    Ok(parts.map(|part| resolve("", part).to_lowercase()).collect())
}

fn metadata(root: El<'_>, builder: &mut Builder) {
    let Some(metadata) = root.child("metadata") else { return };
    let authors: Vec<String> = metadata.all("creator").map(El::text).collect();
    builder.meta("author", &authors.join(", "));
    for el in metadata.below() {
        let value = || el.text();
        match el.name() {
            "title" => builder.meta("title", &value()),
            "language" => builder.meta("language", &value()),
            "publisher" => builder.meta("publisher", &value()),
            "description" => builder.meta("description", &value()),
            "subject" => builder.meta("subject", &value()),
            "identifier" => builder.meta("identifier", &value()),
            "date" => {
                let value = value();
                let is_year =
                    value.trim().len() == 4 && value.trim().bytes().all(|byte| byte.is_ascii_digit());
                let date = if is_year { Some(value) } else { dates::iso(&value) };
                builder.meta("date", &date.unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// Names of chapters in the table of contents, by part.
fn labels(
    spine: Option<El<'_>>,
    items: &HashMap<&str, (String, bool, &str)>,
    archive: &mut Archive<'_>,
    limits: &Limits,
) -> Result<HashMap<String, String>, ExtractError> {
    let mut labels = HashMap::new();
    let old = spine.and_then(|spine| spine.attr("toc")).and_then(|id| items.get(id));
    let new = items.values().find(|(_, is_nav, _)| *is_nav);
    for (part, is_nav, _) in old.into_iter().chain(new) {
        let Some(bytes) = archive.read(part).ok().flatten() else { continue };
        let Ok(tree) = Tree::parse(&bytes, part, limits) else { continue };
        let name = if *is_nav { "a" } else { "navPoint" };
        for el in tree.document().all(name) {
            let (label, target) = match is_nav {
                true => (Some(el.text()), el.attr("href")),
                false => {
                    (el.child("navLabel").map(El::text), el.child("content").and_then(|it| it.attr("src")))
                }
            };
            if let (Some(label), Some(target)) = (label, target) {
                labels.entry(resolve(part, target)).or_insert(label);
            }
        }
    }
    Ok(labels)
}

fn chapter(bytes: &[u8], label: Option<&String>, builder: &mut Builder, limits: &Limits) {
    let Some(decoded) = decode::decode(bytes, declared_encoding(bytes).as_deref()) else {
        builder.note("skipped-part", "a chapter is no text", None);
        return;
    };
    let mut chapter = Builder::new(Kind::Epub, limits);
    html::content_into(&for_html(&decoded.text), &mut chapter, limits);
    let chapter = chapter.finish();
    if let Some(label) = label.filter(|_| chapter.headings.is_empty() && !chapter.text.is_empty()) {
        builder.heading(1, label);
    }
    html::replay(chapter, builder);
}

/// XHTML as HTML: elements that XML lets close themselves would swallow what follows them.
fn for_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name: String = rest[1..].chars().take_while(char::is_ascii_alphanumeric).take(12).collect();
        let swallows = matches!(
            name.to_ascii_lowercase().as_str(),
            "title"
                | "script"
                | "style"
                | "iframe"
                | "textarea"
                | "noscript"
                | "a"
                | "span"
                | "div"
                | "p"
                | "i"
                | "b"
                | "em"
                | "td"
        );
        let end = rest.find('>').map_or(rest.len(), |end| end + 1);
        let tag = &rest[..end];
        match tag.strip_suffix("/>").filter(|_| swallows) {
            Some(open) => out.push_str(&format!("{open}></{name}>")),
            None => out.push_str(tag),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::pack;
    use crate::builder::debug_check;

    #[test]
    fn chapters_come_in_reading_order_without_the_contents() {
        let bytes = pack(&[
            ("mimetype", "application/epub+zip"),
            ("META-INF/container.xml", "<container><rootfile full-path='OEBPS/book.opf'/></container>"),
            (
                "OEBPS/book.opf",
                "<package><metadata><dc:title>Tales</dc:title><dc:creator>A</dc:creator><dc:creator>B</dc:creator>\
                 <dc:language>en</dc:language></metadata><manifest><item id='n' href='nav.xhtml' properties='nav' media-type='application/xhtml+xml'/>\
                 <item id='a' href='one.xhtml' media-type='application/xhtml+xml'/><item id='b' href='two%20.xhtml' media-type='application/xhtml+xml'/></manifest>\
                 <spine><itemref idref='n'/><itemref idref='b'/><itemref idref='a'/><itemref idref='gone'/></spine></package>",
            ),
            (
                "OEBPS/nav.xhtml",
                "<html><body><nav><ol><li><a href='two%20.xhtml'>Second tale</a></li></ol></nav></body></html>",
            ),
            (
                "OEBPS/one.xhtml",
                "<html><head><title/></head><body><h2>First</h2><p>one<a id='x'/></p></body></html>",
            ),
            ("OEBPS/two .xhtml", "<html><head><title>t</title></head><body><p>two</p></body></html>"),
        ]);
        let limits = Limits::default();
        let out = read(&bytes, &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        assert_eq!(out.text, "Second tale\n\ntwo\n\nFirst\n\none");
        assert_eq!((&out.metadata["title"], &out.metadata["author"]), (&"Tales".into(), &"A, B".into()));
    }
}
