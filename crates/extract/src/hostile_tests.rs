//! Every reader against broken, hostile and random input: an error by name or a result that keeps its promises.

use proptest::prelude::*;

use crate::archive::tests::pack;
use crate::document::{ExtractRequest, Limits};
use crate::{ExtractError, debug_check, extract};

fn request(name: &str, bytes: &[u8]) -> ExtractRequest {
    ExtractRequest { name: name.to_owned(), bytes: bytes.to_vec(), ..ExtractRequest::default() }
}

/// Small documents of every kind.
fn documents() -> Vec<(&'static str, Vec<u8>)> {
    let docx = pack(&[
        (
            "[Content_Types].xml",
            "<Types><Override ContentType='application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml'/></Types>",
        ),
        (
            "word/document.xml",
            "<w:document><w:body><w:p><w:pPr><w:outlineLvl w:val='0'/></w:pPr><w:r><w:t>Head</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p/></w:tc></w:tr></w:tbl></w:body></w:document>",
        ),
    ]);
    let pptx = pack(&[
        ("ppt/presentation.xml", "<p><sldIdLst><sldId r:id='r1'/></sldIdLst></p>"),
        ("ppt/_rels/presentation.xml.rels", "<R><Relationship Id='r1' Type='x/slide' Target='s.xml'/></R>"),
        (
            "ppt/s.xml",
            "<s><cSld><spTree><sp><txBody><p><r><t>slide</t></r></p></txBody></sp></spTree></cSld></s>",
        ),
    ]);
    let odt = pack(&[
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("content.xml", "<c><body><text><h>Head</h><p>text</p></text></body></c>"),
    ]);
    let epub = pack(&[
        ("mimetype", "application/epub+zip"),
        (
            "b.opf",
            "<p><manifest><item id='a' href='a.html' media-type='application/xhtml+xml'/></manifest><spine><itemref idref='a'/></spine></p>",
        ),
        ("a.html", "<html><body><h1>One</h1><p>text</p></body></html>"),
    ]);
    vec![
        ("a.docx", docx),
        ("a.pptx", pptx),
        ("a.odt", odt),
        ("a.epub", epub),
        ("a.html", b"<title>t</title><p>one<table><tr><th>a<th>b<tr><td>1<td>2</table><ul><li>x<ul><li>y</ul></ul>".to_vec()),
        ("a.md", b"---\ntitle: t\n---\n# H\n\n- a\n  - b\n\n```\ncode\n```\n\n|a|b|\n|-|-|\n|1|2|\n".to_vec()),
        ("a.rtf", b"{\\rtf1\\ansi{\\fonttbl{\\f0\\fcharset128 A;}}\\f0 \\'93\\'fa\\u8364?{\\*\\x y}\\par\\intbl a\\cell b\\cell\\row}".to_vec()),
        ("a.eml", b"From: a@x.org\nSubject: =?utf-8?q?a=C3=A9?=\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n> quote\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\nx\n--b--\n".to_vec()),
        ("a.csv", b"a,b\n1,\"x\ny\"\n".to_vec()),
        ("a.json", b"{\"a\": [1, {\"b\": \"\\u00e9\"}]}".to_vec()),
        ("a.jsonl", b"{\"a\": 1}\n{\"a\": 2}\n".to_vec()),
        ("a.ipynb", b"{\"nbformat\": 4, \"cells\": [{\"cell_type\": \"code\", \"source\": \"1\", \"outputs\": []}]}".to_vec()),
        ("a.xml", b"<a><b>t</b><c>u<d/>v</c></a>".to_vec()),
        ("a.rs", b"fn main() {}\n".to_vec()),
        ("a.txt", "Съешь же ещё\r\n\r\nfin\u{c}".as_bytes().to_vec()),
    ]
}

#[track_caller]
fn check(name: &str, bytes: &[u8], limits: &Limits) {
    match extract(&request(name, bytes), limits) {
        Ok(out) => assert_eq!(debug_check(&out, limits), None, "{name}"),
        Err(ExtractError::Crashed { reason }) => panic!("{name}: {reason}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[test]
fn every_kind_gives_text_and_keeps_its_promises() {
    for (name, bytes) in documents() {
        let out = extract(&request(name, &bytes), &Limits::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(debug_check(&out, &Limits::default()), None, "{name}");
        assert!(!out.text.is_empty(), "{name}");
        assert!(out.notes.iter().all(|note| note.code != "mismatch"), "{name}: {:?}", out.notes);
    }
}

#[test]
fn every_text_is_cut_at_the_limit() {
    for (name, bytes) in documents() {
        for max_text_bytes in 0..12 {
            check(name, &bytes, &Limits { max_text_bytes, ..Limits::default() });
        }
    }
}

#[test]
fn every_cut_document_is_an_error_or_a_shorter_text() {
    for (name, bytes) in documents() {
        for end in (0..bytes.len()).step_by(7) {
            check(name, &bytes[..end], &Limits::default());
        }
    }
}

#[test]
fn a_document_above_the_limit_is_refused_before_it_is_read() {
    let limits = Limits { max_input_bytes: 3, ..Limits::default() };
    let error = extract(&request("a.txt", b"four"), &limits).unwrap_err();
    assert_eq!(error.to_string(), "it is larger than allowed: the document (4 bytes) is above 3 bytes");
}

#[test]
fn deep_nesting_ends_in_every_kind() {
    let deep = 50_000;
    let word = format!("<w:document><w:body>{}", "<w:tbl><w:tr><w:tc>".repeat(deep));
    let docx = pack(&[("word/document.xml", &word)]);
    check("a.docx", &docx, &Limits::default());
    for (name, open) in [
        ("a.html", "<div>"),
        ("a.html", "<ul><li>"),
        ("a.html", "<table><tr><td>"),
        ("a.html", "<b>"),
        ("a.xml", "<a>"),
        ("a.json", "[{\"a\":"),
        ("a.rtf", "{\\rtf1 {"),
        ("a.md", "> - "),
        ("a.ipynb", "{\"cells\":["),
    ] {
        check(name, open.repeat(if name == "a.html" { 2_000 } else { deep }).as_bytes(), &Limits::default());
    }
}

#[test]
fn a_wrong_name_is_noted() {
    let (_, bytes) = documents().remove(0);
    let out = extract(&request("notes.txt", &bytes), &Limits::default()).unwrap();
    assert_eq!(out.notes[0].code, "mismatch");
    assert!(out.notes[0].message.contains("Word document"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_break_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400), which in 0usize..15) {
        let (name, _) = documents().swap_remove(which);
        check(name, &bytes, &Limits::default());
    }

    #[test]
    fn mutated_documents_break_nothing(which in 0usize..15, edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (name, mut bytes) = documents().swap_remove(which);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(name, &bytes, &Limits::default());
    }

    #[test]
    fn random_marks_break_nothing(text in "[<>/a-c{}\\\\\"'&;:|#=\\-*`> \n\t\u{e9}\u{ad}\u{0}]{0,200}", which in 4usize..15) {
        let (name, _) = documents().swap_remove(which);
        check(name, text.as_bytes(), &Limits::default());
    }
}
