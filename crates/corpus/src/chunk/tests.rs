//! Tests of `chunk` in its own words: small cases, and properties over made-up input.

use flowbench_extract::{Block, BlockKind, Heading, Page};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clean::{Places, Stretch};

/// A document written as its blocks: `# Title` is a heading, `|` opens a table, four blanks open code, `- ` a list.
fn document(text: &str) -> Cleaned {
    let mut cleaned = Cleaned { document: "a.md".into(), text: text.to_owned(), ..Cleaned::default() };
    let mut at = 0;
    for part in text.split_inclusive("\n\n") {
        let range = at..at + part.trim_end().len();
        at += part.len();
        let kind = match part {
            _ if part.starts_with('#') => BlockKind::Heading,
            _ if part.starts_with('|') => BlockKind::Table,
            _ if part.starts_with("    ") => BlockKind::Code,
            _ if part.starts_with("- ") => BlockKind::List,
            _ => BlockKind::Paragraph,
        };
        if kind == BlockKind::Heading {
            let level = part.bytes().take_while(|byte| *byte == b'#').count() as u8;
            let title = part.trim_matches(['#', ' ', '\n']).to_owned();
            cleaned.headings.push(Heading { level, title, range: range.clone() });
        }
        if !range.is_empty() {
            cleaned.blocks.push(Block { kind, range });
        }
    }
    cleaned
}

fn spec(max_tokens: usize) -> ChunkSpec {
    ChunkSpec { max_tokens, overlap: 0, ..ChunkSpec::default() }
}

fn cut(text: &str, spec: &ChunkSpec) -> Vec<Chunk> {
    chunk_document(&document(text), spec, &WordTokens)
}

#[track_caller]
fn check(text: &str, spec: &ChunkSpec, expected: &[&str]) {
    let chunks = cut(text, spec);
    let shown: Vec<&str> = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    assert_eq!(shown, expected);
}

const SENTENCE: &str = "One two three four five six seven eight nine.";

#[test]
fn a_section_is_a_chunk_below_the_headings_above_it() {
    let body = [SENTENCE; 3].join(" ");
    let text = format!("# Tea\n\n{body}\n\n## Green\n\n{body}\n\n## Black\n\n{body}");
    let chunks = cut(&text, &spec(64));
    assert_eq!(chunks.len(), 3);
    assert!(chunks[1].text.starts_with("## Green\n\nOne"));
    assert_eq!(chunks[1].context, "Tea");
    assert_eq!(chunks[1].source.heading.as_deref(), Some("Tea > Green"));
    assert_eq!((chunks[0].context.as_str(), chunks[0].source.heading.as_deref()), ("", Some("Tea")));
    assert_eq!(chunks[2].tokens as usize, WordTokens.count(&chunks[2].searched_text()));
    let plain = cut(&text, &ChunkSpec { headings: false, ..spec(64) });
    assert!(plain.iter().all(|chunk| chunk.context.is_empty()));
}

#[test]
fn small_sections_go_with_their_siblings() {
    let text = "# Tea\n\n## Green\n\nMild.\n\n## Black\n\nStrong.\n\n# Coffee\n\nOther.";
    check(text, &spec(64), &["# Tea\n\n## Green\n\nMild.\n\n## Black\n\nStrong.\n\n# Coffee\n\nOther."]);
    let long = [SENTENCE; 4].join(" ");
    let text = format!("# Tea\n\n## Green\n\nMild.\n\n## Black\n\nStrong.\n\n# Coffee\n\n{long}");
    let chunks = cut(&text, &spec(48));
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[0].source.heading.as_deref(), Some("Tea"));
}

#[test]
fn long_sections_are_cut_between_paragraphs_then_sentences() {
    let two = [SENTENCE; 2].join(" ");
    check(&format!("{two}\n\n{two}\n\n{two}"), &spec(45), &[&format!("{two}\n\n{two}"), &two]);
    check(&[SENTENCE; 4].join(" "), &spec(25), &[two.as_str(), two.as_str()]);
    check("one two three four five six", &spec(2), &["one two", "three four", "five six"]);
    check("abcdefghijklmnopqrst", &spec(2), &["abcdefghijkl", "mnopqrst"]);
}

#[test]
fn whole_sentences_are_repeated_and_headings_end_the_repetition() {
    let sentences = "Aa bb cc dd. Ee ff gg hh. Ii jj kk ll. Mm nn oo pp.";
    let with_overlap = ChunkSpec { overlap: 6, ..spec(12) };
    check(
        sentences,
        &with_overlap,
        &["Aa bb cc dd. Ee ff gg hh.", "Ee ff gg hh. Ii jj kk ll.", "Ii jj kk ll. Mm nn oo pp."],
    );
    let text = format!("# Aa\n\n{sentences}\n\n# Bb\n\n{sentences}");
    let chunks = cut(&text, &ChunkSpec { headings: false, ..with_overlap });
    assert!(chunks.iter().any(|chunk| chunk.text.starts_with("# Bb")));
    check(
        "Aa bb cc. Dd ee ff.",
        &ChunkSpec { by: ChunkBy::Sentences, ..spec(4) },
        &["Aa bb cc.", "Dd ee ff."],
    );
}

#[test]
fn tables_are_cut_between_rows_with_their_columns_repeated() {
    let rows: Vec<String> = (10..30).map(|number| format!("| {number} | row |")).collect();
    let text = format!("{}\n\n| id | what |\n|---|---|\n{}", SENTENCE, rows.join("\n"));
    let chunks = cut(&text, &spec(60));
    assert!(chunks.len() > 2);
    for chunk in chunks.iter().filter(|chunk| !chunk.text.contains("id")).skip(1) {
        assert_eq!(chunk.context, "| id | what |\n|---|---|");
        assert!(
            chunk.text.lines().all(|line| line.starts_with("| ") && line.ends_with('|')),
            "{}",
            chunk.text
        );
    }
    let whole = format!("{}\n\n| id | what |\n|---|---|\n{}", [SENTENCE; 4].join(" "), rows[..8].join("\n"));
    let chunks = cut(&whole, &spec(64));
    assert!(
        chunks.iter().any(|chunk| chunk.text.starts_with("| id") && chunk.text.ends_with("| 17 | row |"))
    );
    let report = chunk_with_report(&document(&text), &spec(60), &WordTokens);
    assert!(report.torn.iter().all(|torn| torn.what == "table") && !report.torn.is_empty());
}

#[test]
fn code_and_lists_stay_whole_with_what_announces_them() {
    let text =
        format!("{SENTENCE} {SENTENCE}\n\nRun this:\n\n    let a = 1;\n\n    let b = 2;\n\n- one\n- two");
    let chunks = cut(&text, &spec(35));
    assert!(chunks[1].text.starts_with("Run this:\n\n    let a = 1;"), "{}", chunks[1].text);
    assert!(chunks.iter().any(|chunk| chunk.text.contains("- one\n- two")));
}

#[test]
fn titles_stand_above_chunks_that_do_not_begin_with_them() {
    let mut cleaned = document(&format!("Hot tea\n\n{}", [SENTENCE; 8].join(" ")));
    cleaned.metadata.insert("title".into(), json!("Hot Tea"));
    let chunks = chunk_document(&cleaned, &spec(40), &WordTokens);
    assert_eq!(chunks[0].context, "");
    assert!(chunks[1..].iter().all(|chunk| chunk.context == "Hot Tea"));
    assert_eq!(chunks[1].metadata["title"], json!("Hot Tea"));
}

#[test]
fn long_headings_lose_their_upper_parts_first() {
    let text = format!("# {SENTENCE}\n\nIntro.\n\n## {SENTENCE}\n\n### Tea\n\n{}", [SENTENCE; 12].join(" "));
    let chunks = cut(&text, &spec(48));
    let last = chunks.last().unwrap();
    assert!(last.context.ends_with("> Tea") || last.context == "Tea", "{}", last.context);
    assert!(chunks.iter().all(|chunk| chunk.tokens <= 48));
}

#[test]
fn parents_are_read_and_children_point_at_them() {
    let text = [SENTENCE; 12].join(" ");
    let chunks = cut(&text, &ChunkSpec { parent: Some(70), ..spec(25) });
    let (parents, children): (Vec<_>, Vec<_>) = chunks.iter().partition(|chunk| chunk.is_parent);
    assert_eq!(parents.len(), 2);
    assert_eq!(children.iter().map(|chunk| chunk.ordinal).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    for child in &children {
        let parent = parents.iter().find(|parent| child.parent.as_ref() == Some(&parent.id)).unwrap();
        assert!(parent.text.contains(&child.text));
        assert!(parent.source.start <= child.source.start && child.source.end <= parent.source.end);
    }
    let without = cut(&text, &spec(25));
    assert_eq!(children[0].id, without[0].id, "ids do not hang on parents");
    assert!(
        cut("Short.", &ChunkSpec { parent: Some(70), ..spec(25) }).iter().all(|chunk| chunk.parent.is_none())
    );
}

#[test]
fn pages_and_whole_documents_can_be_chunks() {
    let mut cleaned = document("First page.\n\nSecond page.");
    cleaned.pages = vec![
        Page { number: 1, name: None, range: 0..11 },
        Page { number: 2, name: None, range: 13..cleaned.text.len() },
    ];
    let by = |by| chunk_document(&cleaned, &ChunkSpec { by, ..spec(3) }, &WordTokens);
    let pages = by(ChunkBy::Page);
    assert_eq!(
        pages.iter().map(|chunk| (chunk.text.as_str(), chunk.source.page)).collect::<Vec<_>>(),
        [("First page.", Some(1)), ("Second page.", Some(2)),]
    );
    let whole = by(ChunkBy::Document);
    assert_eq!((whole.len(), whole[0].text.as_str()), (1, cleaned.text.as_str()));
}

#[test]
fn windows_of_tokens_repeat_whole_words() {
    let spec = ChunkSpec { by: ChunkBy::Tokens, overlap: 2, ..spec(5) };
    check("aa bb cc dd ee ff gg hh", &spec, &["aa bb cc dd ee", "dd ee ff gg hh"]);
}

#[test]
fn equal_texts_have_their_own_ids_that_last() {
    let text = format!(
        "# Aa\n\n{SENTENCE} {SENTENCE} {SENTENCE}\n\n# Bb\n\nOther words that are enough for a chunk here."
    );
    let before = cut(&text, &spec(12));
    assert_eq!(before[1].text, before[2].text);
    assert_ne!(before[1].id, before[2].id);
    let after = cut(&text.replace("Other", "Fresh"), &spec(12));
    assert_eq!(before[2].id, after[2].id, "ids of what did not change last");
    assert!(before[0].id.len() == 32 && before[0].id.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn places_are_characters_of_the_extracted_text() {
    let mut cleaned = document("Grün [mask] blau.");
    // `x` went in front, and the mask stands for two characters.
    cleaned.origin = vec![
        Stretch { cleaned: 0..6, extracted: 1..7, characters: 1..6, replaced: false },
        Stretch { cleaned: 6..12, extracted: 7..9, characters: 6..8, replaced: true },
        Stretch { cleaned: 12..18, extracted: 9..15, characters: 8..14, replaced: false },
    ];
    let chunks = chunk_document(&cleaned, &spec(64), &WordTokens);
    assert_eq!((chunks[0].source.start, chunks[0].source.end), (1, 14));
    assert_eq!(Places::new(&cleaned).characters(&(8..9)), 6..8, "a part of a mask is all of what it hides");
}

#[test]
fn a_preview_tells_sizes_cuts_and_empty_sections() {
    let mut preview = Preview::default();
    let text = format!("# Empty\n\n# Full\n\n{}", [SENTENCE; 8].join(" "));
    preview.add(&chunk_with_report(&document(&text), &spec(30), &WordTokens));
    preview.add(&chunk_with_report(&document(""), &spec(30), &WordTokens));
    preview.add(&chunk_with_report(&document(&"word ".repeat(50)), &spec(30), &WordTokens));
    let told = preview.finish();
    assert_eq!(told.count, told.documents.iter().map(|document| document.chunks).sum::<usize>());
    assert_eq!(told.count, told.histogram.iter().map(|bar| bar.count).sum::<usize>());
    assert!(told.min <= told.median && told.median <= told.p95 && told.p95 <= told.max && told.max <= 30);
    assert_eq!(told.without_chunks, 1);
    assert_eq!(told.empty_sections[0].what.heading, "Empty");
    assert_eq!((told.torn_count["sentence"], told.torn[0].what.what.as_str()), (1, "sentence"));
}

/// Parts of documents that are hard to cut.
fn parts() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-z]{1,9}",
        Just("Überlänge".to_owned()),
        Just("水が沸く。".to_owned()),
        Just("น้ำเดือด".to_owned()),
        Just("Dr.".to_owned()),
        Just("👩\u{200d}💻".to_owned()),
        Just("e\u{301}".to_owned()),
        "[a-z]{40,60}",
    ];
    let words = prop::collection::vec(word, 1..30);
    (words, 0..7u8, 1..4usize).prop_map(|(words, form, level)| match form {
        0 => format!("{} {}", "#".repeat(level), words[..words.len().min(3)].join(" ")),
        1 => words.iter().map(|word| format!("| {word} | x |")).collect::<Vec<_>>().join("\n"),
        2 => words.iter().map(|word| format!("    {word}")).collect::<Vec<_>>().join("\n"),
        3 => words.iter().map(|word| format!("- {word}")).collect::<Vec<_>>().join("\n"),
        4 => words.join(" "),
        _ => format!("{}.", words.join(". ")),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn chunks_cover_the_text_and_keep_within_their_bounds(
        parts in prop::collection::vec(parts(), 0..12),
        by in prop_oneof![Just(ChunkBy::Headings), Just(ChunkBy::Sentences), Just(ChunkBy::Tokens), Just(ChunkBy::Code), Just(ChunkBy::Page)],
        max_tokens in prop_oneof![1..20usize, 20..200usize],
        overlap in 0..20usize,
        parent in prop::option::of(100..300usize),
        is_code: bool,
    ) {
        let mut cleaned = document(&parts.join("\n\n"));
        cleaned.is_code = is_code;
        cleaned.metadata.insert("title".into(), json!("A title of some words"));
        let characters: Vec<char> = cleaned.text.chars().collect();
        let chunks = chunk_document(&cleaned, &ChunkSpec { by, max_tokens, overlap, parent, headings: true }, &WordTokens);
        let mut covered = vec![false; characters.len()];
        let mut ids = std::collections::HashSet::new();
        let mut last = 0;
        for chunk in &chunks {
            let (start, end) = (chunk.source.start, chunk.source.end);
            prop_assert_eq!(characters[start..end].iter().collect::<String>(), chunk.text.clone());
            prop_assert!(ids.insert(chunk.id.clone()));
            prop_assert_eq!(chunk.tokens as usize, WordTokens.count(&chunk.searched_text()));
            prop_assert!(!chunk.text.trim().is_empty());
            if chunk.is_parent {
                continue;
            }
            prop_assert!(chunk.tokens as usize <= max_tokens, "{} of {max_tokens}: {:?}", chunk.tokens, chunk);
            prop_assert!(end > last, "every chunk has something new");
            last = end;
            covered[start..end].iter_mut().for_each(|covered| *covered = true);
        }
        for (at, letter) in characters.iter().enumerate() {
            prop_assert!(covered[at] || letter.is_whitespace(), "{letter} at {at} is in no chunk");
        }
    }
}
