//! Sitemaps: XML, text, and indexes of sitemaps; gzipped or not.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};

/// The protocol's own bound for one sitemap, unpacked.
pub(super) const MOST_BYTES: u64 = 50 << 20;

/// What a sitemap lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sitemap {
    /// Addresses of pages.
    pub pages: Vec<String>,
    /// Addresses of further sitemaps.
    pub sitemaps: Vec<String>,
}

/// Reads a sitemap of either form. Fails with a reason.
pub(super) fn parse(bytes: &[u8]) -> Result<Sitemap, String> {
    let unpacked = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => Some(unpack(bytes)?),
        false => None,
    };
    let text = String::from_utf8_lossy(unpacked.as_deref().unwrap_or(bytes));
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('<') {
        return parse_xml(text);
    }
    let pages: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    match pages.iter().all(|page| page.starts_with("http://") || page.starts_with("https://")) {
        true => Ok(Sitemap { pages, sitemaps: Vec::new() }),
        false => Err("it is no sitemap: neither XML nor one address a line".to_owned()),
    }
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let mut reader = MultiGzDecoder::new(bytes).take(MOST_BYTES + 1);
    reader.read_to_end(&mut plain).map_err(|error| format!("it cannot be unpacked: {error}"))?;
    if plain.len() as u64 > MOST_BYTES {
        return Err("it unpacks to more than 50 MiB".to_owned());
    }
    Ok(plain)
}

fn parse_xml(text: &str) -> Result<Sitemap, String> {
    let broken = |error: &dyn std::fmt::Display| format!("it is no sitemap: {error}");
    let mut reader = Reader::from_str(text);
    let mut sitemap = Sitemap::default();
    // Names of the elements that we are in.
    let mut within: Vec<String> = Vec::new();
    let mut address = String::new();
    let mut is_sitemap = false;
    loop {
        match reader.read_event().map_err(|error| broken(&error))? {
            Event::Eof => break,
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_ascii_lowercase();
                if within.is_empty() {
                    is_sitemap = matches!(name.as_str(), "urlset" | "sitemapindex");
                }
                if within.len() > 64 {
                    return Err("it is no sitemap: it is nested too deeply".to_owned());
                }
                address.clear();
                within.push(name);
            }
            Event::Text(text) => address.push_str(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::CData(text) => address.push_str(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => address.push(character),
                _ => address.push_str(match &*reference.xml_content(XmlVersion::Implicit1_0) {
                    "amp" => "&",
                    "lt" => "<",
                    "gt" => ">",
                    "quot" => "\"",
                    "apos" => "'",
                    _ => "",
                }),
            },
            Event::End(_) => {
                let name = within.pop().unwrap_or_default();
                let parent = within.last().map(String::as_str).unwrap_or_default();
                let found = address.trim();
                if name == "loc" && !found.is_empty() {
                    match parent {
                        "url" => sitemap.pages.push(found.to_owned()),
                        "sitemap" => sitemap.sitemaps.push(found.to_owned()),
                        _ => {}
                    }
                }
                address.clear();
            }
            _ => {}
        }
    }
    match is_sitemap {
        true => Ok(sitemap),
        false => Err("it is XML and no sitemap".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    const PAGES: &str = "<?xml version=\"1.0\"?>\n<urlset xmlns=\"x\" xmlns:image=\"y\"><url><loc> http://e/a?x=1&amp;y=2 </loc>\
        <lastmod>2024-01-01</lastmod><image:image><image:loc>http://e/pic.png</image:loc></image:image></url>\
        <url><loc><![CDATA[http://e/b]]></loc></url><url><loc>http://e/&#252;</loc></url></urlset>";

    #[test]
    fn sitemaps_of_all_forms_are_read() {
        let pages = ["http://e/a?x=1&y=2", "http://e/b", "http://e/ü"].map(str::to_owned).to_vec();
        let expected = Sitemap { pages, sitemaps: Vec::new() };
        assert_eq!(parse(PAGES.as_bytes()), Ok(Sitemap { ..expected }));
        assert_eq!(parse(&gzipped(PAGES.as_bytes())).unwrap().pages.len(), 3);
        let text = parse(b"\xef\xbb\xbfhttp://e/a\r\n\r\nhttps://e/b\n").unwrap();
        assert_eq!(text.pages, ["http://e/a", "https://e/b"]);
        let index = "<sitemapindex><sitemap><loc>http://e/1.xml.gz</loc></sitemap></sitemapindex>";
        assert_eq!(parse(index.as_bytes()).unwrap().sitemaps, ["http://e/1.xml.gz"]);
        assert_eq!(parse(b"<urlset/>"), Err("it is XML and no sitemap".to_owned()));
        assert_eq!(parse(b"<urlset></urlset>"), Ok(Sitemap::default()));
    }

    #[test]
    fn what_is_no_sitemap_is_told() {
        let error = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert_eq!(error(b"not found"), "it is no sitemap: neither XML nor one address a line");
        assert_eq!(error(b"<html><body></body></html>"), "it is XML and no sitemap");
        assert!(error(b"<urlset><url></urlset>").starts_with("it is no sitemap: "));
        assert_eq!(error("<a>".repeat(100).as_bytes()), "it is no sitemap: it is nested too deeply");
        assert_eq!(error(&gzipped(&vec![b' '; 51 << 20])), "it unpacks to more than 50 MiB");
        assert!(error(&gzipped(PAGES.as_bytes())[..20]).starts_with("it cannot be unpacked: "));
        let entities = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><urlset><url><loc>http://e/&b;</loc></url></urlset>";
        assert_eq!(parse(entities.as_bytes()).unwrap().pages, ["http://e/"], "entities are not expanded");
    }
}
