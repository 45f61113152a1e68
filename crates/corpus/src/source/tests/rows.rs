//! Rows as documents.

use std::io::Write;

use super::*;

fn gzipped(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_ref()).unwrap();
    packer.finish().unwrap()
}

#[track_caller]
fn check(file: &str, content: impl AsRef<[u8]>, settings: serde_json::Value, expected: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), file, content);
    let mut all = json!({"rows": file});
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let found = texts(folder.path(), all);
    let found: Vec<(&str, &str)> = found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn each_row_is_a_document() {
    let lines = "{\"_id\": \"d2\", \"title\": \"T\", \"text\": \"second\"}\n{\"_id\": \"d1\", \"title\": \"\", \"text\": \"first\"}\n";
    let expected = [("d1", "first"), ("d2", "T\n\nsecond")];
    check("a.jsonl", lines, json!({}), &expected);
    check("a.jsonl.gz", gzipped(lines), json!({}), &expected);
    check("a.csv", "id,title,text\nd2,T,second\nd1,,first\n", json!({}), &expected);
    check("a.tsv.gz", gzipped("id\ttitle\ttext\nd2\tT\tsecond\nd1\t\tfirst\n"), json!({}), &expected);
    check("a.json", "[{\"id\": 7, \"text\": null}]", json!({}), &[("7", "")]);
}

#[test]
fn templates_and_columns_are_chosen() {
    check(
        "a.csv",
        "q,a,nr\nWhy?,Because.,7\nHow?,So.,8\n",
        json!({"text": "Q: {{ q }}\nA: {{a}}", "id": "nr"}),
        &[("7", "Q: Why?\nA: Because."), ("8", "Q: How?\nA: So.")],
    );
    check("a.csv", "q\nWhy?\nHow?\n", json!({"text": "{{q}}"}), &[("1", "Why?"), ("2", "How?")]);
    check(
        "a.jsonl",
        "{\"a\": {\"b\": [1]}, \"c\": true, \"e\": 1.5}",
        json!({"text": "{{a}} {{c}} {{d}} {{e}}"}),
        &[("1", "{\"b\":[1]} true  1.5")],
    );
}

#[test]
fn columns_and_fixed_values_become_metadata() {
    let folder = folder_of(&[("a.jsonl", "{\"text\": \"t\", \"year\": 1999, \"by\": null}\n")]);
    let entry = |metadata: serde_json::Value| {
        let listing = list(folder.path(), json!({"rows": "a.jsonl", "metadata": metadata}));
        (serde_json::Value::Object(listing.entries[0].metadata.clone()), told(&listing.notes))
    };
    assert_eq!(entry(json!(["year", "by"])), (json!({"year": 1999}), vec![]));
    assert_eq!(
        entry(json!({"team": "legal", "when": "in {{year}}", "level": 3})).0,
        json!({"team": "legal", "when": "in 1999", "level": 3})
    );
    assert_eq!(entry(json!(["jear"])), (json!({}), vec!["a.jsonl: no row has the column `jear`".to_owned()]));
}

#[test]
fn a_bad_row_costs_itself() {
    let lines = "{\"id\": \"a\", \"text\": \"1\"}\n{\"id\": \n{\"id\": \"\", \"text\": \"2\"}\n{\"id\": \"c\"}\n\
                 {\"id\": \"a\", \"text\": \"3\"}\n[]\n{\"id\": \"d\", \"text\": \"4\"}\n";
    let folder = folder_of(&[("a.jsonl", lines)]);
    let listing = list(folder.path(), json!({"rows": "a.jsonl"}));
    assert_eq!(names(&listing), ["a", "d"]);
    assert_eq!(
        told(&listing.problems),
        [
            "a.jsonl, line 2: not valid JSON at column 0: EOF while parsing a value",
            "a.jsonl#3: it has no id in `id`",
            "a.jsonl#4: it has no `text`, and the source names no other column",
            "a.jsonl#5: its id `a` is already that of row 1",
            "a.jsonl, line 6: a row must be an object, and this is a list",
        ]
    );
    assert_eq!(
        listing.problems[2].hint.as_deref(),
        Some("give the source a `text` such as `{{COLUMN}}`; columns there are: `id`, `text`")
    );
}

#[test]
fn countless_bad_rows_are_counted() {
    let folder = folder_of(&[("a.jsonl", &"{\n".repeat(1_000))]);
    let listing = list(folder.path(), json!({"rows": "a.jsonl"}));
    assert_eq!((listing.problems.len(), listing.untold), (100, 900));
}

#[test]
fn what_was_listed_is_fetched_even_if_the_file_changes() {
    let folder = folder_of(&[("a.jsonl", "{\"id\": 1, \"text\": \"old\"}\n")]);
    let source = open(folder.path(), json!({"rows": "a.jsonl"})).unwrap();
    let entry = wait(source.list()).unwrap().entries.remove(0);
    write(folder.path(), "a.jsonl", "{\"id\": 1, \"text\": \"new\"}\n");
    assert_eq!(wait(source.fetch(&entry)).unwrap().bytes, b"old");
    let later = open(folder.path(), json!({"rows": "a.jsonl"})).unwrap();
    let fetched = wait(later.fetch(&entry)).unwrap();
    assert_eq!(fetched.bytes, b"new");
    assert_ne!(fetched.entry.stamp, entry.stamp);
    write(folder.path(), "a.jsonl", "");
    let later = open(folder.path(), json!({"rows": "a.jsonl"})).unwrap();
    assert_eq!(wait(later.fetch(&entry)).unwrap_err().message, "the row is not there any more");
}

#[test]
fn the_stamp_of_a_row_is_of_its_text_and_metadata() {
    let stamps = |line: &str| {
        let folder = folder_of(&[("a.jsonl", line)]);
        list(folder.path(), json!({"rows": "a.jsonl", "metadata": ["year"]})).entries[0].stamp.clone()
    };
    let first = stamps("{\"text\": \"t\", \"year\": 1, \"other\": 1}");
    assert_eq!(stamps("{\"other\": 2, \"year\": 1, \"text\": \"t\"}"), first);
    assert_ne!(stamps("{\"text\": \"t\", \"year\": 2}"), first);
    assert_ne!(stamps("{\"text\": \"u\", \"year\": 1}"), first);
}

#[test]
fn a_damaged_file_is_named() {
    let folder = folder_of(&[("a.parquet", "PAR1 and then nothing of the kind PAR1")]);
    write(folder.path(), "b.parquet.gz", gzipped("no Parquet"));
    let error = |file: &str| {
        let source = open(folder.path(), json!({"rows": file})).unwrap();
        let told = wait(source.list()).unwrap_err().to_string();
        told.replace(&folder.path().canonicalize().unwrap().display().to_string(), "HERE")
    };
    assert!(
        error("a.parquet").starts_with("rows of `HERE/a.parquet`: row 1: not readable as Parquet"),
        "{}",
        error("a.parquet")
    );
    assert!(
        error("b.parquet.gz").starts_with("rows of `HERE/b.parquet.gz`: row 1: "),
        "{}",
        error("b.parquet.gz")
    );
    let packed = gzipped("{\"text\": \"a\"}\n{\"text\": \"b\"}\n".repeat(1000));
    write(folder.path(), "c.jsonl.gz", &packed[..packed.len() / 2]);
    let listing = list(folder.path(), json!({"rows": "c.jsonl.gz"}));
    assert_eq!(listing.problems.len(), 1);
    assert!(listing.problems[0].message.starts_with("it cannot be read on: "), "{:?}", listing.problems);
}

#[test]
fn a_gzip_bomb_costs_its_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.jsonl.gz", gzipped(vec![b' '; 80 << 20]));
    let listing = list(folder.path(), json!({"rows": "a.jsonl.gz"}));
    assert_eq!(listing.entries, []);
    let told = told(&listing.problems);
    assert!(told[0].contains("longer than 64 MiB") || told[0].contains("250 times"), "{told:?}");
}
