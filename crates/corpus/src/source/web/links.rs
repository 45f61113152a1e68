//! Links of a page, and what it says to visitors like us. Only tags are looked at, so that no page is too deep.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer};

/// Links of one page that are looked at; pages with more are lists made by programs.
const MOST_LINKS: usize = 5_000;

/// What a page says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PageLinks {
    /// Links as they are written, without those marked `nofollow`.
    pub links: Vec<String>,
    /// Where relative links start, if not at the page.
    pub base: Option<String>,
    /// It wants to be in no index.
    pub is_noindex: bool,
    /// Its links are not to be followed.
    pub is_nofollow: bool,
}

impl PageLinks {
    pub fn of(html: &[u8]) -> Self {
        let text = String::from_utf8_lossy(html);
        let input = BufferQueue::default();
        input.push_back(StrTendril::from_slice(&text));
        let tokenizer = Tokenizer::new(Sink::default(), Default::default());
        while !input.is_empty() {
            // Returns early at the end of a script.
            let _ = tokenizer.feed(&input);
        }
        tokenizer.end();
        tokenizer.sink.page.into_inner()
    }

    /// Takes in what a header or a `meta` tag says to robots.
    pub fn obey(&mut self, directives: &str) {
        for word in directives.to_ascii_lowercase().split([',', ' ', ';']).map(str::trim) {
            self.is_noindex |= matches!(word, "noindex" | "none");
            self.is_nofollow |= matches!(word, "nofollow" | "none");
        }
    }
}

#[derive(Default)]
struct Sink {
    page: RefCell<PageLinks>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else { return TokenSinkResult::Continue };
        if tag.kind != TagKind::StartTag {
            return TokenSinkResult::Continue;
        }
        self.take(&tag);
        // What looks like tags in here is none.
        match &*tag.name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(RawKind::Rawtext),
            "textarea" | "title" => TokenSinkResult::RawData(RawKind::Rcdata),
            _ => TokenSinkResult::Continue,
        }
    }
}

impl Sink {
    fn take(&self, tag: &Tag) {
        let value = |name: &str| {
            let found = tag.attrs.iter().find(|attribute| &*attribute.name.local == name);
            found.map(|attribute| attribute.value.to_string())
        };
        let mut page = self.page.borrow_mut();
        match &*tag.name {
            "a" | "area" => {
                let relation = value("rel").unwrap_or_default().to_ascii_lowercase();
                let is_followed = !relation.split_ascii_whitespace().any(|word| word == "nofollow");
                if let Some(link) = value("href").filter(|_| is_followed && page.links.len() < MOST_LINKS) {
                    page.links.push(link);
                }
            }
            "base" if page.base.is_none() => page.base = value("href"),
            "meta" => {
                let name = value("name").unwrap_or_default().to_ascii_lowercase();
                if matches!(name.as_str(), "robots" | "flowbench") {
                    page.obey(&value("content").unwrap_or_default());
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_where_a_browser_sees_them() {
        let page = PageLinks::of(
            b"<!doctype html><title><a href=no1></title><base href='/docs/'><script>x = '<a href=no2>'</script>\
              <!-- <a href=no3> --><A HREF=one>1</A><a href=\"two?a=1&amp;b=2\">2</a><a rel='noopener NoFollow' href=no4>\
              <textarea><a href=no5></textarea><area href='three'><a name=x>no</a><style><a href=no6></style>",
        );
        assert_eq!(page.links, ["one", "two?a=1&b=2", "three"]);
        assert_eq!(page.base.as_deref(), Some("/docs/"));
        assert!(!page.is_noindex && !page.is_nofollow);
    }

    #[test]
    fn pages_say_what_they_want() {
        let robots = |content: &str| {
            let page = PageLinks::of(format!("<meta name=ROBOTS content='{content}'><a href=x>").as_bytes());
            (page.is_noindex, page.is_nofollow)
        };
        assert_eq!(robots("index, follow"), (false, false));
        assert_eq!(robots("NOINDEX"), (true, false));
        assert_eq!(robots("max-snippet:-1,nofollow"), (false, true));
        assert_eq!(robots("none"), (true, true));
    }

    #[test]
    fn hostile_pages_end() {
        PageLinks::of("<div>".repeat(200_000).as_bytes());
        PageLinks::of(&[0xff, 0xfe, b'<', b'a', 0]);
        PageLinks::of(b"<script><!--<script></script>");
        let many = PageLinks::of("<a href=x>".repeat(MOST_LINKS + 9).as_bytes());
        assert_eq!(many.links.len(), MOST_LINKS);
    }
}
