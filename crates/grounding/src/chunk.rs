//! Pieces of documents: by headings, long sections cut at paragraphs.

use std::collections::HashMap;

use flowbench_core::ports::HitSource;

/// A piece of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Stable: from the document's name, the content and how often the same content came before.
    pub id: String,
    /// Its text, without the headings above it (those are in `source`).
    pub text: String,
    /// Where it stands.
    pub source: HitSource,
}

impl Chunk {
    /// What it is searched by: its text under its headings.
    pub fn searched_text(&self) -> String {
        match &self.source.heading {
            Some(heading) => format!("{heading}\n{}", self.text),
            None => self.text.clone(),
        }
    }
}

/// A section of a Markdown text: the headings above it and the range of its body in characters.
struct Section<'t> {
    headings: Vec<String>,
    body: &'t str,
    start: usize,
}

/// Cuts a document at its headings, and sections of more than `max_words` words at paragraphs.
pub fn by_headings(document: &str, text: &str, max_words: usize) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for section in sections(text) {
        for (piece, start) in paragraphs_up_to(section.body, section.start, max_words.max(1)) {
            let content = piece.trim();
            if content.is_empty() {
                continue;
            }
            let lead = piece.chars().take_while(|c| c.is_whitespace()).count();
            let start = start + lead;
            let heading = section.headings.join(" > ");
            let full = format!("{heading}\n{content}");
            let repeats = *seen.entry(full.clone()).and_modify(|count| *count += 1).or_insert(0);
            let digest = blake3::hash(format!("{document}\0{full}\0{repeats}").as_bytes());
            chunks.push(Chunk {
                id: digest.to_hex()[..16].to_owned(),
                text: content.to_owned(),
                source: HitSource {
                    document: document.to_owned(),
                    page: None,
                    heading: (!heading.is_empty()).then_some(heading),
                    start,
                    end: start + content.chars().count(),
                },
            });
        }
    }
    chunks
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = Vec::new();
    let mut headings: Vec<(usize, String)> = Vec::new();
    let (mut begin_byte, mut begin_char) = (0, 0);
    let (mut at_byte, mut at_char) = (0, 0);
    let mut is_code = false;
    for line in text.split_inclusive('\n') {
        let (next_byte, next_char) = (at_byte + line.len(), at_char + line.chars().count());
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let level = line.chars().take_while(|c| *c == '#').count();
        let is_heading = !is_code && (1..=6).contains(&level) && line[level..].starts_with([' ', '\t']);
        if is_heading {
            let above = headings.iter().map(|(_, text)| text.clone()).collect();
            sections.push(Section { headings: above, body: &text[begin_byte..at_byte], start: begin_char });
            headings.retain(|(other, _)| *other < level);
            headings.push((level, line[level..].trim().trim_end_matches('#').trim().to_owned()));
            (begin_byte, begin_char) = (next_byte, next_char);
        }
        (at_byte, at_char) = (next_byte, next_char);
    }
    let above = headings.into_iter().map(|(_, text)| text).collect();
    sections.push(Section { headings: above, body: &text[begin_byte..], start: begin_char });
    sections
}

/// Joins paragraphs until `max_words` would be passed; a longer paragraph stays whole.
fn paragraphs_up_to(body: &str, start: usize, max_words: usize) -> Vec<(String, usize)> {
    let mut pieces: Vec<(String, usize)> = Vec::new();
    let mut at = start;
    let mut words = 0;
    for paragraph in body.split_inclusive("\n\n") {
        let count = paragraph.split_whitespace().count();
        match pieces.last_mut() {
            Some((piece, _)) if words + count <= max_words => {
                piece.push_str(paragraph);
                words += count;
            }
            _ => {
                pieces.push((paragraph.to_owned(), at));
                words = count;
            }
        }
        at += paragraph.chars().count();
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_know_their_headings_and_their_place() {
        let text = "# Top\n\nIntro å.\n\n## Part\n\nBody one.\n\n```\n# no heading\n```\n\n# Other\nLast.\n";
        let chunks = by_headings("doc.md", text, 100);
        let told: Vec<_> =
            chunks.iter().map(|chunk| (chunk.source.heading.as_deref(), chunk.text.as_str())).collect();
        assert_eq!(told[0], (Some("Top"), "Intro å."));
        assert_eq!(told[1].0, Some("Top > Part"));
        assert!(told[1].1.contains("# no heading"), "code is no heading: {:?}", told[1]);
        assert_eq!(told[2], (Some("Other"), "Last."));
        for chunk in &chunks {
            let characters: Vec<char> = text.chars().collect();
            let slice: String = characters[chunk.source.start..chunk.source.end].iter().collect();
            assert_eq!(chunk.text, slice);
        }
    }

    #[test]
    fn long_sections_are_cut_at_paragraphs_and_ids_stay() {
        let text = "one two three\n\nfour five\n\nsix";
        let chunks = by_headings("d", text, 4);
        assert_eq!(
            chunks.iter().map(|chunk| chunk.text.as_str()).collect::<Vec<_>>(),
            ["one two three", "four five\n\nsix"]
        );
        assert_eq!(by_headings("d", text, 4), chunks, "the same text gives the same ids");
        assert_ne!(by_headings("e", text, 4)[0].id, chunks[0].id);
    }
}
