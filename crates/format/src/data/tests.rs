//! Tests of this module.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::*;

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// Rows as JSON, or the error with the folder's own path taken out.
fn read(path: &Path, root: &Path) -> Result<Vec<Value>, String> {
    let told = |error: DataError| error.to_string().replace(&format!("{}/", root.display()), "");
    DataRows::open(path)
        .map_err(told)?
        .enumerate()
        .map(|(position, row)| {
            let row = row.map_err(told)?;
            assert_eq!(row.line_number, position as u64);
            Ok(Value::Object(row.values))
        })
        .collect()
}

#[track_caller]
fn check(name: &str, content: impl AsRef<[u8]>, expected: Value) {
    let folder = folder(&[(name, content.as_ref())]);
    let rows = read(&folder.path().join(name), folder.path());
    assert_eq!(rows.map(Value::from), Ok(expected));
}

#[track_caller]
fn check_error(name: &str, content: impl AsRef<[u8]>, expected: &str) {
    let folder = folder(&[(name, content.as_ref())]);
    assert_eq!(read(&folder.path().join(name), folder.path()), Err(expected.to_owned()));
}

#[test]
fn json_lines_are_rows() {
    check("a.jsonl", "{\"a\": 1}\n{\"a\": 2}", json!([{"a": 1}, {"a": 2}]));
    check("a.jsonl", "\u{feff}{\"a\": \"é\"}\r\n\r\n  \n{\"b\": null}\r\n", json!([{"a": "é"}, {"b": null}]));
    check("a.NDJSON", "{\"a\": 1.5}\n", json!([{"a": 1.5}]));
    check("a.jsonl", "", json!([]));
}

#[test]
fn a_broken_line_is_named() {
    check_error(
        "a.jsonl",
        "{\"a\": 1}\n\n{\"a\": \n",
        "data `a.jsonl`, line 3: not valid JSON at column 0: EOF while parsing a value",
    );
    check_error("a.jsonl", "[1]\n", "data `a.jsonl`, line 1: a row must be an object, and this is a list");
    check_error(
        "a.jsonl",
        b"\xff\xfe{\x00}\x00",
        "data `a.jsonl`, line 1: the text is UTF-16, and only UTF-8 is read",
    );
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    check_error(
        "a.jsonl",
        deep,
        "data `a.jsonl`, line 1: not valid JSON at column 133: recursion limit exceeded",
    );
}

#[test]
fn a_row_without_end_takes_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (name, start) in [("a.jsonl", "{\"a\": \""), ("a.json", "[{\"a\": \""), ("a.csv", "a,b\n\"")] {
        let path = folder.path().join(name);
        let file = fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut &file, start.as_bytes()).unwrap();
        // A hole reads as zero bytes and takes no space on disk.
        file.set_len(MAX_ROW_BYTES as u64 * 4).unwrap();
        let error = read(&path, folder.path()).unwrap_err();
        assert!(error.ends_with("one row is longer than 64 MiB"), "{error}");
    }
}

#[test]
fn json_is_a_list_or_an_object_with_one_list() {
    check(
        "a.json",
        "[{\"a\": [1, \"],{\"]}, {\"a\": {\"b\": \"\\\"}\"}}]",
        json!([{"a": [1, "],{"]}, {"a": {"b": "\"}"}}]),
    );
    check("a.json", "\u{feff} [ ] ", json!([]));
    check("a.json", "", json!([]));
    check(
        "a.json",
        "{\"version\": \"1:[\", \"meta\": {\"x\": [1]}, \"rows\": [{\"a\": 1}\n, {\"a\": 2}], \"end\": 1}",
        json!([{"a": 1}, {"a": 2}]),
    );
}

#[test]
fn broken_json_is_refused_with_its_line() {
    for (text, expected) in [
        (
            "[{\"a\": 1}\n{\"a\": 2}]",
            "data `a.json`, line 2: not valid JSON at column 1: trailing characters",
        ),
        ("[{\"a\": 1},\n{\"a\": }]", "data `a.json`, line 2: not valid JSON at column 7: expected value"),
        ("[{\"a\": 1}", "data `a.json`, line 1: the file ends where `,` was expected"),
        ("[{\"a\": 1", "data `a.json`, line 1: the file ends within a value"),
        ("[{\"a\": 1}] 2", "data `a.json`, line 1: there is more text after the data"),
        ("[1]", "data `a.json`, row 1: a row must be an object, and this is a number"),
        ("{\"a\": 1}", "data `a.json`, line 1: the object holds no list of rows"),
        ("\"a\"", "data `a.json`, line 1: expected a list of objects, or an object with a list"),
        (
            "{\"a\": [],\n\"b\": []}",
            "data `a.json`, line 2: there are two lists, `a` and `b`: which holds the rows is not clear",
        ),
        ("[,]", "data `a.json`, line 1: not valid JSON at column 0: EOF while parsing a value"),
    ] {
        check_error("a.json", text, expected);
    }
}

#[test]
fn cells_stay_text() {
    check(
        "a.csv",
        "\u{feff}id,text,empty\r\n007,\"a, \"\"b\"\"\nc\",\r\n\r\n1.0,NA,\"\"\r\n",
        json!([{"id": "007", "text": "a, \"b\"\nc", "empty": ""}, {"id": "1.0", "text": "NA", "empty": ""}]),
    );
    check("a.tsv", "a\tb\n1,5\t \n", json!([{"a": "1,5", "b": " "}]));
    check("a.csv", "a,a,a.1\n1,2,3\n", json!([{"a": "1", "a.2": "2", "a.1": "3"}]));
    check("a.csv", "a,b\n", json!([]));
    check("a.csv", "", json!([]));
}

#[test]
fn ragged_and_badly_encoded_rows_are_refused() {
    check_error("a.csv", "a,b\n1,2\n3\n", "data `a.csv`, line 3: the row has 1 cells, and the header has 2");
    check_error("a.csv", b"a,b\n1,\xe5\n", "data `a.csv`, line 2: cell 2 is not UTF-8");
    check_error("a.csv", "a,b\n1,2\n3,\"4\n5,6\n", "data `a.csv`, line 3: a quoted cell is never closed");
    check("a.csv", "a\n5\" pipe\n", json!([{"a": "5\" pipe"}]));
}

#[test]
fn a_folder_is_all_its_data_in_order() {
    let folder = folder(&[
        ("b.csv", b"q\nthree\n"),
        (
            "a.jsonl",
            b"{\"q\": \"one\", \"image\": {\"data:image/png;path\": \"cat.png\"}}\n{\"q\": \"two\"}\n",
        ),
        ("cat.png", b"\x89PNG"),
        ("sub/c.json", b"[{\"q\": [{\"type\": \"image_file\", \"image_file\": {\"path\": \"dog.png\"}}]}]"),
        (".hidden.jsonl", b"not read"),
    ]);
    let base = folder.path().to_str().unwrap();
    assert_eq!(
        read(folder.path(), folder.path()).unwrap(),
        [
            json!({"q": "one", "image": {"data:image/png;path": format!("{base}/cat.png")}}),
            json!({"q": "two"}),
            json!({"q": "three"}),
            json!({"q": [{"type": "image_file", "image_file": {"path": format!("{base}/sub/dog.png")}}]}),
        ]
    );
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(DataRows::open(empty.path()), Err(DataError::Empty { .. })));
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = folder(&[("a.xlsx", b"PK")]);
    let error = DataRows::open(&folder.path().join("a.xlsx")).err().unwrap();
    assert!(
        error
            .to_string()
            .ends_with("has no format that is read (jsonl, json, csv, tsv, parquet or a folder of these)")
    );
    assert_eq!(error.hint().unwrap(), "name the file by its format, for example `rows.jsonl`");
    let missing = DataRows::open(&folder.path().join("none.jsonl")).err().unwrap();
    assert!(missing.to_string().contains("none.jsonl` cannot be read: "), "{missing}");
}

#[test]
fn nothing_follows_an_error() {
    let folder = folder(&[("a.jsonl", b"{\"a\": 1}\nx\n{\"a\": 2}\n")]);
    let mut rows = DataRows::open(&folder.path().join("a.jsonl")).unwrap();
    assert!(rows.next().unwrap().is_ok());
    assert!(rows.next().unwrap().is_err());
    assert!(rows.next().is_none());
}

// Mapping.

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not a map: {other}"),
    }
}

#[test]
fn the_shortest_source_name_that_fits_wins() {
    let data = map(json!({"q": 1, "a.b": 2, "n": {"x": 3}, "outputs.q": 9}));
    let outputs = map(json!({"q": 4}));
    let sources = [("data", &data), ("run.outputs", &outputs)];
    let mapping = map(json!({
        "plain": "${data.q}", "dotted": "${data.a.b}", "chained": "${run.outputs.q}",
        "text": "a ${data.q}", "number": 7, "line_number": "${data.q}",
    }));
    let inputs = map_row(&mapping, &sources).unwrap();
    assert_eq!(
        Value::Object(inputs),
        json!({"plain": 1, "dotted": 2, "chained": 4, "text": "a ${data.q}", "number": 7})
    );
    let mapping = map(json!({"a": "${data.n.x}", "b": "${q}", "c": "${other.q}"}));
    assert_eq!(map_row(&mapping, &sources).unwrap_err(), ["${data.n.x}", "${q}", "${other.q}"]);
}

#[test]
fn mappings_give_what_prompt_flow_gave() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/promptflow/expected/mappings.json");
    let rows: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(rows.len() > 20);
    for row in rows {
        let sources = row["sources"].as_object().unwrap();
        let sources: Vec<(&str, &Map<String, Value>)> =
            sources.iter().map(|(name, values)| (name.as_str(), values.as_object().unwrap())).collect();
        let mapping = row["mapping"].as_object().unwrap();
        match map_row(mapping, &sources) {
            Ok(inputs) => assert_eq!(Value::Object(inputs), row["inputs"], "{}", row["mapping"]),
            Err(unresolved) => {
                let message = row["error"]["message"].as_str().unwrap_or_default();
                let listed = format!("relations: {}. ", unresolved.join(", "));
                assert!(message.contains(&listed), "{}: {unresolved:?}", row["mapping"]);
            }
        }
    }
}

fn inputs(names: &[(&str, bool)]) -> Vec<FlowInput> {
    names
        .iter()
        .map(|(name, has_default)| FlowInput { name: (*name).to_owned(), has_default: *has_default })
        .collect()
}

fn batch(
    files: &[(&str, &str, &str)],
    mapping: Value,
    flow: &[(&str, bool)],
) -> Result<(Value, Vec<String>), DataError> {
    let folder = tempfile::tempdir().unwrap();
    let sources = files
        .iter()
        .map(|(source, file, content)| {
            let path = folder.path().join(file);
            fs::write(&path, content).unwrap();
            DataSource::from_path(source, &path)
        })
        .collect();
    let batch = BatchInputs::open(sources, &map(mapping), &inputs(flow))?;
    let rows: Vec<Value> = batch
        .rows()?
        .map(|row| row.map(|row| json!([row.line_number, row.inputs])))
        .collect::<Result<_, _>>()?;
    assert_eq!(rows.len() as u64, batch.count());
    Ok((Value::from(rows), batch.findings().iter().map(|finding| finding.rule.clone()).collect()))
}

#[test]
fn without_a_mapping_columns_go_to_inputs_of_the_same_name() {
    let (rows, findings) = batch(&[("data", "d.csv", "q,other\na,b\n")], json!({}), &[("q", false)]).unwrap();
    assert_eq!(rows, json!([[0, {"q": "a"}]]));
    assert!(findings.is_empty());
}

#[test]
fn a_column_beats_the_inputs_default_and_says_so() {
    let data = "{\"q\": \"a\", \"k\": 3}\n{\"q\": \"b\"}\n";
    let flow = [("q", false), ("k", true), ("unused", true)];
    let (rows, findings) = batch(&[("data", "d.jsonl", data)], json!({}), &flow).unwrap();
    assert_eq!(
        rows,
        json!([[0, {"q": "a", "k": 3}], [1, {"q": "b"}]]),
        "the engine fills the default of line 1"
    );
    assert_eq!(findings, ["default-beats-data"]);
    let (_, findings) = batch(&[("data", "d.jsonl", data)], json!({"k": "${data.k}"}), &flow).unwrap();
    assert_eq!(
        findings,
        ["column-missing-in-rows"],
        "mapped by name there is nothing to warn of but the gap"
    );
}

#[test]
fn all_missing_columns_are_told_at_once() {
    let error = batch(
        &[("data", "d.csv", "q,x.y\na,b\n")],
        json!({"a": "${data.q.z}", "b": "${run.outputs.c}", "d": "${data.x.y}"}),
        &[("a", false), ("b", true), ("d", false), ("e", false)],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "these columns are not in the data: `${data.q.z}` for input `a`, `${run.outputs.c}` for input `b`, \
         `${data.e}` for input `e`"
    );
    assert!(error.hint().unwrap().starts_with("columns there are: `${data.q}`, `${data.x.y}`"));
}

#[test]
fn doubtful_mappings_are_told() {
    let (rows, findings) = batch(
        &[("data", "d.csv", "q\na\n")],
        json!({"q": "${data.q}!", "typo": "${data.q}"}),
        &[("q", false)],
    )
    .unwrap();
    assert_eq!(rows, json!([[0, {"q": "${data.q}!"}]]));
    assert_eq!(findings, ["mapping-is-literal", "unknown-input"]);
}

#[test]
fn sources_are_joined_by_line_number() {
    let outputs = "{\"line_number\": 2, \"a\": \"two\"}\n{\"line_number\": 0, \"a\": \"zero\"}\n";
    let (rows, _) = batch(
        &[("data", "d.csv", "q\nq0\nq1\nq2\n"), ("run.outputs", "o.jsonl", outputs)],
        json!({"a": "${run.outputs.a}"}),
        &[("q", false), ("a", false)],
    )
    .unwrap();
    assert_eq!(
        rows,
        json!([[0, {"q": "q0", "a": "zero"}], [2, {"q": "q2", "a": "two"}]]),
        "failed line 1 drops out"
    );
}

#[test]
fn sources_without_line_numbers_must_be_equally_long() {
    let two = |second: &str| {
        batch(
            &[("data", "d.csv", "q\na\nb\n"), ("labels", "l.csv", second)],
            json!({"label": "${labels.label}"}),
            &[("q", false), ("label", false)],
        )
    };
    assert_eq!(
        two("label\nx\ny\n").unwrap().0,
        json!([[0, {"q": "a", "label": "x"}], [1, {"q": "b", "label": "y"}]])
    );
    assert_eq!(
        two("label\nx\n").unwrap_err().to_string(),
        "sources without a `line_number` column must be equally long, but `data` has 2 rows and `labels` has 1 rows"
    );
    assert_eq!(
        two("label,line_number\nx,7\n").unwrap_err().to_string(),
        "no `line_number` is in every source"
    );
}

#[test]
fn line_numbers_must_be_whole_and_single() {
    let error = |content| batch(&[("data", "d.jsonl", content)], json!({}), &[]).unwrap_err().to_string();
    let text = error("{\"line_number\": 1}\n{\"line_number\": 0}\n{\"line_number\": 1}\n");
    assert!(text.ends_with("row 3: `line_number` 1 comes twice"), "{text}");
    let text = error("{\"line_number\": -1}\n");
    assert!(text.ends_with("row 1: `line_number` must be a whole number from 0, and is `-1`"), "{text}");
    let text = error("{\"line_number\": 1}\n{\"a\": 0}\n");
    assert!(text.ends_with("row 2: either every row has a `line_number` or none"), "{text}");
    let text = error("\n");
    assert!(text.ends_with("d.jsonl` has no rows"), "{text}");
}

#[test]
fn rows_of_an_earlier_run_keep_their_numbers() {
    let rows = [(4, "a"), (7, "b")];
    let source = DataSource::from_numbered_rows("run.outputs", Path::new("run-1"), move || {
        Ok(rows
            .into_iter()
            .map(|(line_number, text)| Ok(Row { line_number, values: map(json!({"a": text})) })))
    });
    let batch =
        BatchInputs::open(vec![source], &map(json!({"a": "${run.outputs.a}"})), &inputs(&[("a", false)]))
            .unwrap();
    let numbers: Vec<u64> = batch.rows().unwrap().map(|row| row.unwrap().line_number).collect();
    assert_eq!(numbers, [4, 7]);
}

#[test]
fn the_digest_tells_data_apart() {
    let digest = |content: &str| {
        let folder = folder(&[("d.jsonl", content.as_bytes())]);
        let source = DataSource::from_path("data", &folder.path().join("d.jsonl"));
        BatchInputs::open(vec![source], &Map::new(), &[]).unwrap().digest().to_owned()
    };
    assert_eq!(digest("{\"a\":1}\n"), digest("{\"a\": 1}\n\n"), "blanks between tokens mean nothing");
    assert_ne!(digest("{\"a\":1}\n"), digest("{\"a\":\"1\"}\n"));
    assert_ne!(digest("{\"a\":1}\n{\"a\":2}\n"), digest("{\"a\":2}\n{\"a\":1}\n"));
}

proptest::proptest! {
    #[test]
    fn every_layout_of_the_same_rows_reads_the_same(
        rows in proptest::collection::vec(
            proptest::collection::btree_map("[a-c]{1,2}", "[\\PC\"\\\\,\\[\\]{}:\n]{0,12}", 0..4), 0..6)
    ) {
        let rows: Vec<Value> = rows.into_iter().map(|row| json!(row)).collect();
        let lines: String = rows.iter().map(|row| format!("{row}\r\n")).collect();
        check("a.jsonl", lines, json!(rows));
        check("a.json", serde_json::to_string_pretty(&rows).unwrap(), json!(rows));
        check("a.json", json!({"n": 1, "rows": rows}).to_string(), json!(rows));
    }
}

#[cfg(feature = "parquet")]
mod parquet_files {
    use std::sync::Arc;

    use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    use super::*;

    fn sample() -> Vec<u8> {
        let schema = "message rows {
            required int64 id;
            optional binary text (UTF8);
            optional double score;
            optional int64 at (TIMESTAMP_MILLIS);
        }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties =
            WriterProperties::builder().set_compression(::parquet::basic::Compression::SNAPPY).build();
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[1, 2], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[ByteArray::from("é")], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[0.5, f64::NAN], Some(&[1, 1]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[0], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn columns_keep_their_types() {
        check(
            "a.parquet",
            sample(),
            json!([
                {"id": 1, "text": "é", "score": 0.5, "at": "1970-01-01 00:00:00.000 +00:00"},
                {"id": 2, "text": null, "score": null, "at": null},
            ]),
        );
        let folder = folder(&[("a.parquet", &sample())]);
        assert_eq!(DataRows::open(&folder.path().join("a.parquet")).unwrap().count_hint(), Some(2));
    }

    #[test]
    fn a_cut_or_bent_file_is_an_error_and_no_panic() {
        let whole = sample();
        for cut in [0, 4, whole.len() / 2, whole.len() - 1] {
            let folder = folder(&[("a.parquet", &whole[..cut])]);
            assert!(read(&folder.path().join("a.parquet"), folder.path()).is_err(), "cut at {cut}");
        }
        for position in 0..whole.len() {
            let mut bent = whole.clone();
            bent[position] ^= 0x5a;
            let folder = folder(&[("a.parquet", &bent)]);
            // Some bytes do not matter; none may take the process down.
            let _ = read(&folder.path().join("a.parquet"), folder.path());
        }
    }
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

#[test]
fn gzipped_text_is_unpacked() {
    check("a.jsonl.gz", gzipped(b"{\"a\": 1}\n"), json!([{"a": 1}]));
    check("a.csv.gz", gzipped(b"a,b\n1,2\n"), json!([{"a": "1", "b": "2"}]));
    check("a.TSV.GZ", gzipped(b"a\tb\n1\t2\n"), json!([{"a": "1", "b": "2"}]));
    check("a.json.gz", gzipped(b"[{\"a\": 1}]"), json!([{"a": 1}]));
    let two = [gzipped(b"{\"a\": 1}\n"), gzipped(b"{\"a\": 2}\n")].concat();
    check("a.jsonl.gz", two, json!([{"a": 1}, {"a": 2}]));
    let packed = gzipped(b"{\"a\": 1}\n");
    for cut in [3, packed.len() - 3] {
        let folder = folder(&[("a.jsonl.gz", &packed[..cut])]);
        let error = read(&folder.path().join("a.jsonl.gz"), folder.path()).unwrap_err();
        assert!(error.starts_with("data `a.jsonl.gz` cannot be read: "), "{error}");
    }
    check_error(
        "a.parquet.gz",
        gzipped(b"PAR1"),
        "data `a.parquet.gz` has no format that is read (jsonl, json, csv, tsv, parquet or a folder of these)",
    );
}

#[test]
fn a_gzip_bomb_is_refused() {
    let rows = "{\"a\": \"                                                \"}\n".repeat(1_300_000);
    let folder = folder(&[("a.jsonl.gz", &gzipped(rows.as_bytes()))]);
    let path = folder.path().join("a.jsonl.gz");
    let error = DataRows::open(&path).unwrap().find_map(Result::err).unwrap();
    assert!(error.to_string().ends_with("it unpacks to more than 250 times its size"), "{error}");
}

#[track_caller]
fn check_with_broken_rows(name: &str, content: impl AsRef<[u8]>, expected: &[&str]) {
    let folder = folder(&[(name, content.as_ref())]);
    let rows = DataRows::open_with_broken_rows(&folder.path().join(name)).unwrap().map(|row| match row {
        Ok(row) => format!("{} {}", row.line_number, Value::Object(row.values)),
        Err(error) => error.to_string().replace(&format!("{}/", folder.path().display()), ""),
    });
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

#[test]
fn rows_behind_a_broken_one_are_read_when_asked_for() {
    check_with_broken_rows(
        "a.jsonl",
        "{\"a\": 1}\n{\"a\":\n[]\n{\"a\": 4}\n",
        &[
            "0 {\"a\":1}",
            "data `a.jsonl`, line 2: not valid JSON at column 0: EOF while parsing a value",
            "data `a.jsonl`, line 3: a row must be an object, and this is a list",
            "3 {\"a\":4}",
        ],
    );
    check_with_broken_rows(
        "a.csv",
        b"a,b\n1,2\n3\n\xff,5\n6,7\n",
        &[
            "0 {\"a\":\"1\",\"b\":\"2\"}",
            "data `a.csv`, line 3: the row has 1 cells, and the header has 2",
            "data `a.csv`, line 4: cell 1 is not UTF-8",
            "3 {\"a\":\"6\",\"b\":\"7\"}",
        ],
    );
    check_with_broken_rows(
        "a.json",
        "[{\"a\": 1}, 2, {\"a\": 3}, {\"a\" 4}, {\"a\": 5}]",
        &[
            "0 {\"a\":1}",
            "data `a.json`, row 2: a row must be an object, and this is a number",
            "2 {\"a\":3}",
            "data `a.json`, line 1: not valid JSON at column 6: expected `:`",
        ],
    );
}
