//! Tests of `docx` in its own words: small cases, and properties over made-up input.

use crate::archive::tests::pack;
use crate::builder::debug_check;
use crate::document::{BlockKind, Extracted, Limits};

const RELS: &str = "<Relationships><Relationship Id='r1' Type='x/officeDocument' Target='word/document.xml'/></Relationships>";

fn read_body(body: &str, more: &[(&str, &str)]) -> Extracted {
    let document = format!("<w:document><w:body>{body}</w:body></w:document>");
    let mut parts = vec![("_rels/.rels", RELS), ("word/document.xml", document.as_str())];
    parts.extend_from_slice(more);
    let limits = Limits::default();
    let out = super::read(&pack(&parts), &limits).unwrap();
    assert_eq!(debug_check(&out, &limits), None);
    out
}

fn blocks(out: &Extracted) -> Vec<(BlockKind, &str)> {
    out.blocks.iter().map(|block| (block.kind, &out.text[block.range.clone()])).collect()
}

#[test]
fn headings_come_from_styles_and_outline_levels() {
    let styles = "<w:styles><w:style w:styleId='b1'><w:name w:val='heading 2'/></w:style>\
        <w:style w:styleId='mine'><w:basedOn w:val='b1'/></w:style></w:styles>";
    let rels = "<Relationships><Relationship Id='r1' Type='x/styles' Target='styles.xml'/></Relationships>";
    let out = read_body(
        "<w:p><w:pPr><w:pStyle w:val='mine'/></w:pPr><w:r><w:t>Two</w:t></w:r></w:p>\
         <w:p><w:pPr><w:outlineLvl w:val='0'/></w:pPr><w:r><w:t>One</w:t></w:r></w:p>\
         <w:p><w:r><w:t xml:space='preserve'>Just </w:t></w:r><w:r><w:t>text</w:t></w:r></w:p>",
        &[("word/styles.xml", styles), ("word/_rels/document.xml.rels", rels)],
    );
    let headings: Vec<_> = out.headings.iter().map(|it| (it.level, it.title.as_str())).collect();
    assert_eq!(headings, [(2, "Two"), (1, "One")]);
    assert_eq!(out.text, "Two\n\nOne\n\nJust text");
}

#[test]
fn merged_cells_keep_their_columns() {
    let cell = |properties: &str, text: &str| {
        format!("<w:tc><w:tcPr>{properties}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>")
    };
    let body = format!(
        "<w:tbl><w:tr>{}{}</w:tr><w:tr>{}{}{}</w:tr></w:tbl>",
        cell("<w:vMerge w:val='restart'/>", "a"),
        cell("<w:gridSpan w:val='2'/>", "b"),
        cell("<w:vMerge/>", ""),
        cell("", "c"),
        cell("", "d"),
    );
    assert_eq!(
        blocks(&read_body(&body, &[])),
        [(BlockKind::Table, "| a | b | |\n| --- | --- | --- |\n| | c | d |")]
    );
}

#[test]
fn deletions_are_left_out_and_alternates_come_once() {
    let text_box = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>";
    let out = read_body(
        &format!(
            "<w:p><w:r><w:t>kept</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>\
             <w:ins><w:r><w:t> new</w:t></w:r></w:ins><w:r><mc:AlternateContent><mc:Choice>{text_box}</mc:Choice>\
             <mc:Fallback>{text_box}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
        ),
        &[],
    );
    assert_eq!(out.text, "kept new\n\nboxed");
}

#[test]
fn lists_notes_and_headers_are_read() {
    let rels = "<Relationships><Relationship Id='r1' Type='x/numbering' Target='numbering.xml'/>\
        <Relationship Id='r2' Type='x/footnotes' Target='footnotes.xml'/>\
        <Relationship Id='r3' Type='x/header' Target='header1.xml'/></Relationships>";
    let numbering = "<w:numbering><w:abstractNum w:abstractNumId='0'><w:lvl w:ilvl='0'><w:start w:val='1'/>\
        <w:numFmt w:val='decimal'/><w:lvlText w:val='%1.'/></w:lvl></w:abstractNum>\
        <w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:numbering>";
    let item = |text: &str| {
        format!(
            "<w:p><w:pPr><w:numPr><w:ilvl w:val='0'/><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
        )
    };
    let out = read_body(
        &format!(
            "{}{}<w:p><w:r><w:t>See</w:t><w:footnoteReference w:id='2'/></w:r></w:p>",
            item("one"),
            item("two")
        ),
        &[
            ("word/_rels/document.xml.rels", rels),
            ("word/numbering.xml", numbering),
            (
                "word/footnotes.xml",
                "<w:footnotes><w:footnote w:id='2'><w:p><w:r><w:t>the note</w:t></w:r></w:p></w:footnote></w:footnotes>",
            ),
            ("word/header1.xml", "<w:hdr><w:p><w:r><w:t>Secret plan</w:t></w:r></w:p></w:hdr>"),
        ],
    );
    assert_eq!(
        blocks(&out),
        [
            (BlockKind::Furniture, "Secret plan"),
            (BlockKind::List, "1. one\n2. two"),
            (BlockKind::Paragraph, "See[2]"),
            (BlockKind::Paragraph, "[2] the note"),
        ]
    );
}
