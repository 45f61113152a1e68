//! PDFs as people meet them, written here by hand; locked ones come from `fixtures/pdf`.

use flowbench_extract::{BlockKind, ExtractError, ExtractRequest, Extracted, Limits, debug_check, extract};

/// A document with a content stream for each page, in Helvetica.
struct Written {
    objects: Vec<Vec<u8>>,
    trailer: String,
}

impl Written {
    fn new(pages: &[String]) -> Self {
        let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
        let mut objects = vec![
            b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
            format!("<</Type/Pages/Count {}/Kids[{}]>>", pages.len(), kids.join(" ")).into_bytes(),
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_vec(),
        ];
        for (page, content) in pages.iter().enumerate() {
            let stream = 5 + 2 * page;
            objects.push(
                format!(
                    "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {stream} 0 R\
                     /Resources<</Font<</F1 3 0 R>>>>>>"
                )
                .into_bytes(),
            );
            objects.push(stream_object("", content.as_bytes()));
        }
        Self { objects, trailer: String::new() }
    }

    /// Adds an object; its number.
    fn add(&mut self, object: Vec<u8>) -> usize {
        self.objects.push(object);
        self.objects.len()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = b"%PDF-1.5\n".to_vec();
        let mut places = Vec::new();
        for (at, object) in self.objects.iter().enumerate() {
            places.push(out.len());
            out.extend(format!("{} 0 obj\n", at + 1).into_bytes());
            out.extend(object);
            out.extend(b"\nendobj\n");
        }
        let start = out.len();
        out.extend(format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1).into_bytes());
        for place in &places {
            out.extend(format!("{place:010} 00000 n \n").into_bytes());
        }
        let size = places.len() + 1;
        out.extend(
            format!("trailer\n<</Size {size}/Root 1 0 R{}>>\nstartxref\n{start}\n%%EOF\n", self.trailer)
                .into_bytes(),
        );
        out
    }
}

fn stream_object(entries: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("<<{entries}/Length {}>>\nstream\n", bytes.len()).into_bytes();
    out.extend(bytes);
    out.extend(b"\nendstream");
    out
}

/// Shows a line of text; `up` counts from the bottom of a page of 600 by 800 points.
fn line(size: f32, x: f32, up: f32, text: &str) -> String {
    format!("BT /F1 {size} Tf {x} {up} Td ({text}) Tj ET\n")
}

#[track_caller]
fn read(bytes: Vec<u8>, password: Option<&str>) -> Result<Extracted, ExtractError> {
    let request = ExtractRequest {
        name: "a.pdf".to_owned(),
        password: password.map(str::to_owned),
        bytes,
        ..ExtractRequest::default()
    };
    let found = extract(&request, &Limits::default())?;
    assert_eq!(debug_check(&found, &Limits::default()), None);
    Ok(found)
}

#[track_caller]
fn read_pages(pages: &[String]) -> Extracted {
    read(Written::new(pages).bytes(), None).unwrap_or_else(|error| panic!("{error}"))
}

fn blocks(found: &Extracted) -> Vec<(BlockKind, &str)> {
    found.blocks.iter().map(|block| (block.kind, &found.text[block.range.clone()])).collect()
}

#[test]
fn columns_are_read_one_after_the_other_and_cut_words_made_whole() {
    let left = [
        "The left column begins the story and its lines are",
        "as full as lines of prose tend to be, with hyphen-",
        "ation where a word does not fit, and so it goes on",
        "until the column has come to its end.",
    ];
    let right = [
        "Only then does the right column go on with what",
        "the left one had to say, in lines that are quite as",
        "full as those were, and it closes the page when all",
        "has been told.",
    ];
    let mut page = line(20.0, 60.0, 740.0, "A Report on Columns");
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
        let up = 700.0 - 12.0 * at as f32;
        page += &line(10.0, 50.0, up, left);
        page += &line(10.0, 320.0, up, right);
    }
    let found = read_pages(&[page]);
    assert_eq!(
        blocks(&found),
        [
            (BlockKind::Heading, "A Report on Columns"),
            (
                BlockKind::Paragraph,
                "The left column begins the story and its lines are as full as lines of prose tend to be, with \
                 hyphenation where a word does not fit, and so it goes on until the column has come to its end."
            ),
            (
                BlockKind::Paragraph,
                "Only then does the right column go on with what the left one had to say, in lines that are quite as \
                 full as those were, and it closes the page when all has been told."
            ),
        ]
    );
    assert_eq!((found.headings[0].level, found.headings[0].title.as_str()), (1, "A Report on Columns"));
}

#[test]
fn pages_have_ranges_and_what_comes_back_on_them_is_furniture() {
    let pages: Vec<String> = ["first", "second", "third"]
        .iter()
        .zip(1..)
        .map(|(word, number)| {
            line(9.0, 60.0, 780.0, "Annual Report")
                + &line(10.0, 60.0, 500.0, &format!("What the {word} page says stands here."))
                + &line(9.0, 300.0, 20.0, &number.to_string())
        })
        .collect();
    let found = read_pages(&pages);
    let kinds: Vec<BlockKind> = found.blocks.iter().map(|block| block.kind).collect();
    let page = [BlockKind::Furniture, BlockKind::Paragraph, BlockKind::Furniture];
    assert_eq!(kinds, [page, page, page].concat());
    assert_eq!(
        &found.text[found.pages[1].range.clone()],
        "Annual Report\n\nWhat the second page says stands here.\n\n2"
    );
}

#[test]
fn scanned_pages_are_reported_by_their_number() {
    let image = "q 600 0 0 800 0 0 cm BI /W 2 /H 2 /CS /G /BPC 8 ID abcd EI Q\n".to_owned();
    let found = read_pages(&[line(10.0, 60.0, 500.0, "A page with words."), image, String::new()]);
    let notes: Vec<_> =
        found.notes.iter().map(|note| (note.code.as_str(), note.page, note.message.as_str())).collect();
    assert_eq!(
        notes,
        [
            ("no-text", Some(2), "this page is an image without text"),
            ("no-text", Some(3), "this page has no text")
        ]
    );
    assert_eq!(found.pages.len(), 3);
}

#[test]
fn cells_between_lines_are_a_table() {
    let mut page = String::new();
    for up in [700, 680, 660] {
        page += &format!("50 {up} m 450 {up} l S\n");
    }
    for x in [50, 250, 450] {
        page += &format!("{x} 660 m {x} 700 l S\n");
    }
    for (x, up, text) in
        [(55.0, 685.0, "Part"), (255.0, 685.0, "Price"), (55.0, 665.0, "Wing nut"), (255.0, 665.0, "2.00")]
    {
        page += &line(10.0, x, up, text);
    }
    assert_eq!(
        blocks(&read_pages(&[page])),
        [(BlockKind::Table, "| Part | Price |\n| --- | --- |\n| Wing nut | 2.00 |")]
    );
}

#[test]
fn hebrew_is_read_from_the_right() {
    // Codes 1 to 4 are the letters of a word, drawn from left to right as they are seen.
    let map = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def \
               1 begincodespacerange <00> <ff> endcodespacerange \
               4 beginbfchar <01> <05dd> <02> <05d5> <03> <05dc> <04> <05e9> endbfchar endcmap end end";
    let mut written = Written::new(&["BT /F1 20 Tf 100 400 Td <01020304> Tj ET".to_owned()]);
    let map = written.add(stream_object("", map.as_bytes()));
    written.objects[2] = format!(
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/FirstChar 1/LastChar 4/Widths[500 500 500 500]/ToUnicode {map} 0 R>>"
    )
    .into_bytes();
    assert_eq!(read(written.bytes(), None).unwrap().text, "שלום");
}

#[test]
fn titles_dates_and_files_inside_are_told() {
    let mut written = Written::new(&[line(10.0, 60.0, 500.0, "See the file inside.")]);
    let file = written.add(stream_object("/Type/EmbeddedFile/Subtype/text#2Fplain", b"inner words"));
    let told = written.add(format!("<</Type/Filespec/F(note.txt)/EF<</F {file} 0 R>>>>").into_bytes());
    written.objects[0] = format!(
        "<</Type/Catalog/Pages 2 0 R/Lang(en-GB)/Names<</EmbeddedFiles<</Names[(note.txt) {told} 0 R]>>>>>>"
    )
    .into_bytes();
    let about = written.add(
        b"<</Title<feff00dc0062006500720073>/Author(A. Writer)/CreationDate(D:20240203040506+01'00')>>"
            .to_vec(),
    );
    written.trailer = format!("/Info {about} 0 R");
    let found = read(written.bytes(), None).unwrap();
    let told = |key: &str| found.metadata[key].as_str().unwrap_or_default();
    assert_eq!(
        [told("title"), told("author"), told("date"), told("language")],
        ["Übers", "A. Writer", "2024-02-03T04:05:06+01:00", "en-GB"]
    );
    let inside = &found.attachments[0];
    assert_eq!((inside.name.as_str(), inside.media_type.as_deref()), ("note.txt", Some("text/plain")));
    assert_eq!(inside.bytes, b"inner words");
}

#[test]
fn a_page_tree_in_a_circle_ends() {
    let mut written = Written::new(&[line(10.0, 60.0, 500.0, "Still here.")]);
    written.objects[1] = b"<</Type/Pages/Count 2/Kids[4 0 R 2 0 R]>>".to_vec();
    assert_eq!(read(written.bytes(), None).unwrap().text, "Still here.");
}

#[test]
fn damage_is_repaired_or_named() {
    let whole = Written::new(&[line(10.0, 60.0, 500.0, "Words that survive.")]).bytes();
    // Without its table of places at the end.
    let cut = whole[..whole.windows(4).position(|window| window == b"xref").unwrap()].to_vec();
    let found = read(cut, None).unwrap();
    assert_eq!(found.text, "Words that survive.");
    assert_eq!(found.notes[0].code, "repaired");
    let error = read(b"%PDF-1.4\nnothing of use".to_vec(), None).unwrap_err();
    assert!(matches!(error, ExtractError::Damaged { .. }), "{error:?}");
}

macro_rules! locked {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/pdf/", $name, ".pdf")).to_vec()
    };
}

#[test]
fn locked_documents_open_with_either_password() {
    for (name, bytes) in [
        ("rc4-40", locked!("rc4-40")),
        ("rc4-128", locked!("rc4-128")),
        ("aes-128", locked!("aes-128")),
        ("aes-256-r5", locked!("aes-256-r5")),
        ("aes-256-r6", locked!("aes-256-r6")),
    ] {
        assert_eq!(read(bytes.clone(), None), Err(ExtractError::NeedsPassword), "{name}");
        assert_eq!(read(bytes.clone(), Some("guess")), Err(ExtractError::WrongPassword), "{name}");
        for password in ["user word", "owner word"] {
            let found = read(bytes.clone(), Some(password)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(found.text, "Behind a lock.", "{name} with the {password}");
            assert_eq!(found.metadata["title"], "Locked", "{name}");
        }
    }
}

#[test]
fn empty_passwords_are_not_asked_for() {
    for bytes in [locked!("rc4-128-open"), locked!("aes-256-r6-open")] {
        assert_eq!(read(bytes.clone(), None).unwrap().text, "Behind a lock.");
        assert_eq!(read(bytes, Some("not needed")).unwrap().text, "Behind a lock.");
    }
}

#[test]
fn flipped_bits_and_cut_ends_break_nothing() {
    let pages: Vec<String> =
        (0..3).map(|page| line(10.0, 60.0, 500.0, &format!("Page number {page} of a sound file."))).collect();
    let mut sound = vec![Written::new(&pages).bytes(), locked!("aes-256-r6-open")];
    sound.push(locked!("rc4-128-open"));
    // A fixed sequence (Knuth's), so that a failure can be repeated.
    let mut seed = 1_u64;
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for bytes in &sound {
        for _ in 0..150 {
            let mut damaged = bytes.clone();
            damaged.truncate(1 + next(bytes.len()));
            for _ in 0..next(8) {
                let at = next(damaged.len());
                damaged[at] ^= 1 << next(8);
            }
            // Either is fine; a panic is not.
            if let Err(error) = read(damaged, None) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
