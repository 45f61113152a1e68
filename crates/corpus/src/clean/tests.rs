//! Tests of `clean` in its own words: small cases, and properties over made-up input.

use flowbench_extract::{Block, BlockKind, Extracted, Heading, Page};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::source::Entry;

fn key() -> ProjectKey {
    ProjectKey::new([7; 32])
}

fn entry(name: &str) -> Entry {
    Entry { name: name.to_owned(), source: "docs".to_owned(), ..Entry::default() }
}

fn text(text: &str) -> Extracted {
    Extracted { text: text.to_owned(), ..Extracted::default() }
}

fn clean_as(name: &str, extracted: &Extracted, spec: &CleanSpec, facts: &DocumentFacts) -> CleanResult {
    let entry = entry(name);
    clean_document(
        &CleanInput { entry: &entry, bytes_digest: "d", language: None, extracted },
        spec,
        facts,
        &key(),
    )
}

#[track_caller]
fn kept(extracted: &Extracted, spec: &CleanSpec) -> Cleaned {
    match clean_as("a.txt", extracted, spec, &DocumentFacts::default()).outcome {
        CleanOutcome::Kept(cleaned) => *cleaned,
        CleanOutcome::LeftOut(left_out) => panic!("left out: {}", left_out.reason),
    }
}

#[track_caller]
fn left_out(extracted: &Extracted, spec: &CleanSpec) -> LeftOut {
    match clean_as("a.txt", extracted, spec, &DocumentFacts::default()).outcome {
        CleanOutcome::Kept(cleaned) => panic!("kept: {}", cleaned.text),
        CleanOutcome::LeftOut(left_out) => left_out,
    }
}

/// Every stretch that was not replaced says the same in both texts, and the map never goes back.
#[track_caller]
fn check_origin(cleaned: &Cleaned, extracted: &Extracted) {
    let mut at = Stretch::default();
    for stretch in &cleaned.origin {
        assert!(stretch.cleaned.start == at.cleaned.end && stretch.extracted.start >= at.extracted.end);
        assert!(stretch.characters.start >= at.characters.end);
        if !stretch.replaced {
            assert_eq!(cleaned.text[stretch.cleaned.clone()], extracted.text[stretch.extracted.clone()]);
        }
        let characters: String =
            extracted.text.chars().take(stretch.characters.end).skip(stretch.characters.start).collect();
        assert_eq!(characters, extracted.text[stretch.extracted.clone()]);
        at = stretch.clone();
    }
    assert_eq!(at.cleaned.end, cleaned.text.len());
}

#[test]
fn a_clean_text_stays_as_it_is() {
    let extracted = text("Grüße aus Köln.\n\nEs regnet.");
    let cleaned = kept(&extracted, &CleanSpec::default());
    assert_eq!(cleaned.text, extracted.text);
    assert_eq!(cleaned.origin.len(), 1);
    check_origin(&cleaned, &extracted);
}

#[test]
fn secrets_never_reach_an_index() {
    let secret = "password = hunter2x9";
    let extracted = text(&format!("Log in with {secret} please."));
    let cleaned = kept(&extracted, &CleanSpec::default());
    assert!(!cleaned.text.contains("hunter2x9"), "{}", cleaned.text);
    assert!(cleaned.text.contains("[secret:"), "{}", cleaned.text);
    check_origin(&cleaned, &extracted);
    let dropped = left_out(&extracted, &CleanSpec { secrets: Treatment::Drop, ..CleanSpec::default() });
    assert_eq!((dropped.rule.as_str(), dropped.reason.as_str()), ("secrets", "it holds secrets: password"));
    let spec = CleanSpec { secrets: Treatment::Keep, ..CleanSpec::default() };
    assert_eq!(kept(&extracted, &spec).text, extracted.text);
}

#[test]
fn a_person_has_one_pseudonym_in_the_whole_project() {
    let spec = CleanSpec { personal_data: Treatment::Mask, ..CleanSpec::default() };
    let mut extracted = text("Ask kim@example.com or KIM@example.com, not lee@example.com.\n\nBye");
    extracted.headings.push(Heading { level: 1, title: "kim@example.com".into(), range: 4..19 });
    extracted.metadata.insert("from".into(), json!(["kim@example.com"]));
    let cleaned = kept(&extracted, &spec);
    assert!(!cleaned.text.contains('@') && cleaned.text.ends_with(".\n\nBye"), "{}", cleaned.text);
    let masks: Vec<&str> = cleaned.text.split(['[', ']']).filter(|part| part.starts_with("email-")).collect();
    assert_eq!(masks.len(), 3);
    assert!(masks[0] == masks[1] && masks[1] != masks[2]);
    let mask = format!("[{}]", masks[0]);
    assert_eq!(cleaned.headings[0].title, mask);
    assert_eq!(cleaned.text[cleaned.headings[0].range.clone()], mask);
    assert_eq!(cleaned.metadata["from"], json!([mask]));
    check_origin(&cleaned, &extracted);
    let bye = cleaned.text.len() - 3..cleaned.text.len();
    assert_eq!(extracted.text[cleaned.extracted_range(&bye)], *"Bye");
    let other = clean_document(
        &CleanInput { entry: &entry("b"), bytes_digest: "", language: None, extracted: &extracted },
        &spec,
        &DocumentFacts::default(),
        &ProjectKey::new([8; 32]),
    );
    assert!(
        !serde_json::to_string(&other).unwrap().contains(masks[0]),
        "another project has other pseudonyms"
    );
}

#[test]
fn repairs_move_headings_pages_and_blocks() {
    let mut extracted = text("Page 1\n\nCafÃ©s\u{a0}und\u{ad}er BÃ¤ume\n\nText");
    let start = extracted.text.find("Caf").unwrap();
    let end = extracted.text.find("\n\nText").unwrap();
    extracted.blocks.push(Block { kind: BlockKind::Furniture, range: 0..6 });
    extracted.blocks.push(Block { kind: BlockKind::Heading, range: start..end });
    extracted.headings.push(Heading { level: 1, title: "CafÃ©s".into(), range: start..end });
    extracted.pages.push(Page { number: 1, name: None, range: 0..extracted.text.len() });
    let cleaned = kept(&extracted, &CleanSpec::default());
    assert_eq!(cleaned.text, "Cafés under Bäume\n\nText");
    assert_eq!(cleaned.text[cleaned.headings[0].range.clone()], *"Cafés under Bäume");
    assert_eq!(cleaned.blocks.len(), 1);
    assert_eq!(cleaned.pages[0].range, 0..cleaned.text.len());
    check_origin(&cleaned, &extracted);
    let places = Places::new(&cleaned);
    let text = cleaned.text.find("Text").unwrap();
    let characters = places.characters(&(text..text + 4));
    assert_eq!(extracted.text.chars().skip(characters.start).collect::<String>(), "Text");
}

#[test]
fn lines_that_most_documents_share_go_and_headings_stay() {
    let mut survey = Survey::default();
    let documents: Vec<Extracted> = (0..6)
        .map(|number| {
            let mut one = text(&format!(
                "Acme handbook\n\nSee also\n\nA text about topic {number} and how it is done.\n\nPage {number} of 99"
            ));
            let heading = one.text.find("See also").unwrap();
            one.blocks.push(Block { kind: BlockKind::Heading, range: heading..heading + 8 });
            one
        })
        .collect();
    for (number, document) in documents.iter().enumerate() {
        survey.add(&format!("{number}.txt"), "docs", document);
    }
    let facts = survey.finish(None, |name| documents.get(name[..1].parse::<usize>().unwrap()).cloned());
    let result = clean_as("3.txt", &documents[3], &CleanSpec::default(), &facts.of("3.txt"));
    let CleanOutcome::Kept(cleaned) = &result.outcome else { panic!("left out") };
    assert!(cleaned.text.starts_with("See also\n\nA text about topic"), "{}", cleaned.text);
    assert!(!cleaned.text.contains("Page"), "{}", cleaned.text);
    let report = result.reports.iter().find(|report| report.rule == "boilerplate").unwrap();
    assert_eq!((report.documents, report.found), (1, 2));
    assert!(report.characters_after < report.characters_before);
    let alone = Survey::default().finish(None, |_| None);
    assert!(alone.of("3.txt").boilerplate.is_empty());
}

#[test]
fn copies_are_told_and_left_out_when_asked() {
    let words: Vec<String> = (0..300).map(|number| format!("w{number}")).collect();
    let one = text(&words.join(" "));
    let near = text(&format!("{} ending", words[..295].join(" ")));
    let far = text(&words[150..].join(" "));
    let all = [("a", &one), ("b", &near), ("c", &far), ("d", &one)];
    let find = |name: &str| all.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).clone());
    let facts_of = |order: &[usize]| {
        let mut survey = Survey::default();
        order.iter().for_each(|index| survey.add(all[*index].0, "docs", all[*index].1));
        survey.finish(Some(0.9), find)
    };
    let facts = facts_of(&[3, 1, 0, 2]);
    assert_eq!(facts.of("a"), DocumentFacts::default());
    assert_eq!(facts.of("c"), DocumentFacts::default());
    let copy = facts.of("b").copy_of.unwrap();
    assert!(copy.document == "a" && copy.share > 0.9 && copy.share < 1.0);
    assert_eq!(facts.of("d").copy_of.unwrap(), CopyOf { document: "a".into(), share: 1.0 });
    assert_eq!(facts.of("b").digest(), facts_of(&[0, 1, 2, 3]).of("b").digest(), "order does not matter");
    let told = clean_as("d", &one, &CleanSpec::default(), &facts.of("d"));
    assert!(matches!(told.outcome, CleanOutcome::Kept(_)));
    let report = told.reports.iter().find(|report| report.rule == "near_duplicates").unwrap();
    assert_eq!((report.documents, report.found), (0, 1));
    let spec = CleanSpec { near_duplicates: Some(0.9), ..CleanSpec::default() };
    let CleanOutcome::LeftOut(left_out) = clean_as("d", &one, &spec, &facts.of("d")).outcome else {
        panic!("kept")
    };
    assert_eq!(left_out.reason, "100 % of it is in `a`");
}

#[test]
fn only_the_languages_asked_for_are_taken() {
    let german =
        text("Der Hund läuft über die Straße und die Katze schläft unter dem Tisch, weil es regnet.");
    let spec = CleanSpec { languages: vec!["en".into()], ..CleanSpec::default() };
    assert_eq!(left_out(&german, &spec).reason, "its language is `de`");
    let spec = CleanSpec { languages: vec!["de-AT".into()], ..CleanSpec::default() };
    assert_eq!(kept(&german, &spec).language.as_deref(), Some("de"));
    assert_eq!(left_out(&text(" \n"), &spec).rule, "text");
}

#[test]
fn reports_of_documents_add_up() {
    let mut total = Vec::new();
    for (name, words) in [("a", "x\u{a0}y"), ("b", "x y"), ("c", "x\u{ad}y")] {
        add_reports(
            &mut total,
            &clean_as(name, &text(words), &CleanSpec::default(), &DocumentFacts::default()).reports,
        );
    }
    let encoding = total.iter().find(|report| report.rule == "encoding").unwrap();
    assert_eq!((encoding.documents, encoding.found), (2, 2));
    assert_eq!((encoding.characters_before, encoding.characters_after), (9, 8));
    assert_eq!(encoding.examples[1], "c: U+00AD removed or made a blank");
}

/// Parts of texts with something to clean.
fn dirt() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zä ]{0,12}",
        Just("Ã¤ Ã¶".to_owned()),
        Just("\u{a0}\u{2009}".to_owned()),
        Just("a\u{ad}b\u{200b}\u{fb01}".to_owned()),
        Just("kim@exam\u{ad}ple.com".to_owned()),
        Just("password = hunter2x9".to_owned()),
        Just("क्\u{200d}ष\u{301}".to_owned()),
        Just("\n\n".to_owned()),
        Just("Footer of all\n".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
    ]
}

proptest! {
    #[test]
    fn every_stretch_leads_back(parts in prop::collection::vec(dirt(), 0..16), furniture: bool) {
        let mut extracted = text(&parts.concat());
        let length = extracted.text.find('\n').unwrap_or(extracted.text.len());
        if furniture && length > 0 {
            extracted.blocks.push(Block { kind: BlockKind::Furniture, range: 0..length });
        }
        let spec = CleanSpec { personal_data: Treatment::Mask, ..CleanSpec::default() };
        if let CleanOutcome::Kept(cleaned) = clean_as("a", &extracted, &spec, &DocumentFacts::default()).outcome {
            check_origin(&cleaned, &extracted);
            let places = Places::new(&cleaned);
            let edges: Vec<usize> = cleaned.text.char_indices().map(|(at, _)| at).chain([cleaned.text.len()]).collect();
            let mut last = 0;
            for pair in edges.windows(2) {
                let bytes = cleaned.extracted_range(&(pair[0]..pair[1]));
                let characters = places.characters(&(pair[0]..pair[1]));
                prop_assert!(bytes.end <= extracted.text.len());
                prop_assert_eq!(extracted.text[..bytes.start].chars().count(), characters.start);
                prop_assert_eq!(extracted.text[..bytes.end].chars().count(), characters.end);
                prop_assert!(bytes.start >= last);
                last = bytes.start;
            }
        }
    }
}
