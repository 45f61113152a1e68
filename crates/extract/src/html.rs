//! Web pages: the main content as a reader view shows it, or the whole body where a page has no article.
//!
//! `dom_smoothie` (Mozilla's Readability in Rust) chooses the content, [`walk`] turns it into blocks. E-books and
//! e-mails use the second half alone.

use dom_query::{Document, NodeRef};
use dom_smoothie::{Config, Metadata, Readability};

use crate::builder::{Builder, one_line};
use crate::dates;
use crate::decode;
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;

mod walk;

/// Where a page may declare its encoding.
const PRESCAN_BYTES: usize = 4 << 10;
/// Most elements whose scores are worth computing; a page with more is a listing.
const MAX_ELEMENTS: usize = 200_000;
/// An article is kept when it has this share of the page's text in percent …
const MIN_ARTICLE_PERCENT: usize = 25;
/// … or this many bytes, of which most pages have several times as much around the article.
const MIN_ARTICLE_BYTES: usize = 1_500;

/// Reads a page.
pub(crate) fn read(
    bytes: &[u8],
    media_type: Option<&str>,
    limits: &Limits,
) -> Result<Extracted, ExtractError> {
    let label = media_type.and_then(charset_of).or_else(|| declared_charset(bytes));
    let decoded = decode::decode(bytes, label.as_deref())
        .ok_or_else(|| ExtractError::Damaged { reason: "its bytes are no text".to_owned() })?;
    let mut whole = Builder::new(Kind::Html, limits);
    decoded.note(&mut whole);
    let document = Document::from(decoded.text);
    let depth = walk::depth(&document.root());
    let language = language(&document);
    whole_body(&document, &mut whole, limits);
    let whole = whole.finish();

    let mut article = Builder::new(Kind::Html, limits);
    for note in &whole.notes {
        article.note(&note.code, note.message.clone(), note.page);
    }
    let mut chosen = None;
    if depth <= limits.max_depth {
        let config = Config { max_elements_to_parse: MAX_ELEMENTS, ..Config::default() };
        if let Ok(mut view) = Readability::with_document(document, None, Some(config)) {
            let structured = view.parse_json_ld();
            let metadata = view.get_article_metadata(structured);
            let readable = view.is_probably_readable();
            let found = view.parse();
            let title = metadata.title.clone();
            metadata_into(&mut article, metadata, language.as_deref());
            if let Ok(found) = found {
                let content = Document::fragment(found.content);
                let mut only = Builder::new(Kind::Html, limits);
                walk::walk(&content.root(), &mut only, limits, false);
                let only = only.finish();
                if is_article(&only, &whole, readable) {
                    title_into(&mut article, &only, first_heading(&whole, &title));
                    chosen = Some(only);
                }
            }
        }
    } else {
        let message =
            format!("elements lie deeper than {} levels; the whole page was taken", limits.max_depth);
        article.note("repaired", message, None);
        if let Some(language) = &language {
            article.meta("language", language);
        }
    }
    replay(chosen.unwrap_or(whole), &mut article);
    Ok(article.finish())
}

/// Writes the blocks of another result.
pub(crate) fn replay(from: Extracted, to: &mut Builder) {
    let mut headings = from.headings.iter().peekable();
    for block in &from.blocks {
        let text = &from.text[block.range.clone()];
        match headings.next_if(|heading| heading.range == block.range) {
            Some(heading) => to.heading(heading.level, text),
            None => drop(to.block(block.kind, text)),
        }
    }
    for note in from.notes {
        to.note(&note.code, note.message, note.page);
    }
}

/// Whether the chosen part is the page's content rather than a teaser of a listing.
fn is_article(article: &Extracted, whole: &Extracted, readable: bool) -> bool {
    let all: usize = whole
        .blocks
        .iter()
        .filter(|block| block.kind != BlockKind::Furniture)
        .map(|block| block.range.len())
        .sum();
    let share = article.text.len() * 100;
    !article.text.is_empty()
        && (share >= all * MIN_ARTICLE_PERCENT || (readable && article.text.len() >= MIN_ARTICLE_BYTES))
}

/// The page's title as its first heading, where the article does not begin with it.
fn title_into(builder: &mut Builder, article: &Extracted, title: &str) {
    let title = one_line(title);
    let same = |other: &str| other.to_lowercase() == title.to_lowercase();
    if !title.is_empty() && !article.headings.first().is_some_and(|heading| same(&heading.title)) {
        builder.heading(1, &title);
    }
}

/// The page's own heading where the title repeats it with the site's name around, else the title.
fn first_heading<'a>(whole: &'a Extracted, title: &'a str) -> &'a str {
    let headings = whole.headings.iter().filter(|heading| heading.level == 1);
    let mut titles = headings.map(|heading| heading.title.as_str());
    titles.find(|heading| title.contains(heading)).unwrap_or(title)
}

fn metadata_into(builder: &mut Builder, metadata: Metadata, language: Option<&str>) {
    builder.meta("title", &metadata.title);
    let mut set = |key: &str, value: Option<String>| builder.meta(key, value.as_deref().unwrap_or_default());
    set("author", metadata.byline);
    set("date", metadata.published_time.as_deref().and_then(dates::iso));
    set("modified", metadata.modified_time.as_deref().and_then(dates::iso));
    set("language", language.map(str::to_owned).or(metadata.lang));
    set("description", metadata.excerpt);
    set("site", metadata.site_name);
}

fn language(document: &Document) -> Option<String> {
    let root = document.html_root();
    let said = root.attr("lang").or_else(|| root.attr("xml:lang")).map(|lang| lang.to_string());
    said.map(|lang| lang.trim().to_owned()).filter(|lang| !lang.is_empty())
}

fn whole_body(document: &Document, builder: &mut Builder, limits: &Limits) {
    let body = document.body().unwrap_or_else(|| document.root());
    walk::walk(&body, builder, limits, true);
}

/// Writes a page or fragment that is content as a whole: a chapter, the body of a mail. Its title, where it has one.
pub(crate) fn content_into(html: &str, builder: &mut Builder, limits: &Limits) -> Option<String> {
    let document = Document::from(html);
    let body: NodeRef<'_> = document.body().unwrap_or_else(|| document.root());
    walk::walk(&body, builder, limits, false);
    let title = document.head()?.find(&["title"]).first().map(|title| one_line(&title.text()));
    title.filter(|title| !title.is_empty())
}

/// `charset` of a media type.
pub(crate) fn charset_of(media_type: &str) -> Option<String> {
    let at = media_type.to_ascii_lowercase().find("charset=")?;
    let value = media_type[at + 8..].split([';', ',', ' ']).next()?.trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// What a page says its encoding is, in `<meta charset>`, `<meta http-equiv>` or an XML declaration.
fn declared_charset(bytes: &[u8]) -> Option<String> {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(PRESCAN_BYTES)]).to_ascii_lowercase();
    let declaration = start.strip_prefix("<?xml").and_then(|rest| rest.split("?>").next());
    let from_xml = declaration.and_then(|rest| rest.split("encoding=").nth(1));
    let from_meta = || {
        let meta = start
            .split("<meta")
            .skip(1)
            .find(|meta| meta.split('>').next().is_some_and(|tag| tag.contains("charset")))?;
        meta.split("charset").nth(1)?.trim_start().strip_prefix('=')
    };
    let value = from_xml.or_else(from_meta)?.trim_start().trim_start_matches(['"', '\'']);
    let end = value.find(|char: char| !(char.is_ascii_alphanumeric() || "-_:.".contains(char)))?;
    (end > 0).then(|| value[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::debug_check;

    fn read_page(html: &str) -> Extracted {
        let limits = Limits::default();
        let out = read(html.as_bytes(), None, &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        out
    }

    fn article() -> String {
        let sentence =
            "The harbour froze in early winter, and ships waited, sometimes for weeks, outside the bay. ";
        format!(
            "<html lang=en><head><title>Ice | The Paper</title><meta name=author content='Ada B.'>\
             <meta property='article:published_time' content='2024-02-03T04:05:06Z'></head><body>\
             <nav><ul><li><a href=/>Home</a><li><a href=/x>Sport</a></ul></nav>\
             <article><h1>Ice</h1><p>{0}{0}</p><h2>Ships</h2><p>{0}{0}</p>\
             <table><tr><th>Year<th>Days</tr><tr><td>1903<td>41</tr></table>\
             <ul><li>one<ul><li>inner</ul><li>two</ul><pre>a  b\n  c</pre></article>\
             <footer>All rights reserved, imprint, contact</footer><script>var a = '<p>no</p>';</script></body></html>",
            sentence
        )
    }

    #[test]
    fn a_page_gives_its_article() {
        let out = read_page(&article());
        assert!(
            !out.text.contains("Sport") && !out.text.contains("rights") && !out.text.contains("var a"),
            "{}",
            out.text
        );
        assert!(out.text.contains("| Year | Days |\n| --- | --- |\n| 1903 | 41 |"), "{}", out.text);
        assert!(out.text.contains("- one\n  - inner\n- two"), "{}", out.text);
        assert!(out.text.contains("a  b\n  c"), "{}", out.text);
        let headings: Vec<_> = out.headings.iter().map(|it| (it.level, it.title.as_str())).collect();
        assert_eq!(headings, [(1, "Ice"), (2, "Ships")]);
        assert_eq!(out.metadata["author"], "Ada B.");
        assert_eq!(out.metadata["date"], "2024-02-03T04:05:06Z");
        assert_eq!(out.metadata["language"], "en");
    }

    #[test]
    fn a_page_without_article_gives_its_body() {
        let out = read_page("<title>Menu</title><nav>Home</nav><div>Soup 3</div><div>Bread 1</div>");
        let body: Vec<_> = out.blocks.iter().map(|it| (it.kind, &out.text[it.range.clone()])).collect();
        assert!(
            body.contains(&(BlockKind::Paragraph, "Soup 3"))
                && body.contains(&(BlockKind::Paragraph, "Bread 1"))
        );
        assert_eq!(out.metadata["title"], "Menu");
    }

    #[test]
    fn deep_pages_come_out_flat() {
        let html = format!("{}deep{}", "<div>".repeat(3_000), "</div>".repeat(3_000));
        let out = read_page(&html);
        assert_eq!(out.text, "deep");
    }

    #[test]
    fn declared_encodings_are_found() {
        assert_eq!(declared_charset(b"<meta charset=\"KOI8-R\">").as_deref(), Some("koi8-r"));
        let older = b"<meta http-equiv=Content-Type content='text/html; charset=windows-1251'>";
        assert_eq!(declared_charset(older).as_deref(), Some("windows-1251"));
        assert_eq!(declared_charset(b"<?xml version='1.0' encoding='gbk'?>").as_deref(), Some("gbk"));
        assert_eq!(declared_charset(b"<p>charset=x</p>"), None);
    }
}
