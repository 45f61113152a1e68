//! Extraction in the words of the product: one table for each way to extract, then hostile texts.

use serde_json::{Map, json};

use super::*;

fn config(inputs: Value) -> Result<ExtractConfig, ExtractError> {
    let Value::Object(inputs) = inputs else { panic!("inputs are a map") };
    ExtractConfig::from_inputs(&inputs)
}

#[track_caller]
fn check(inputs: Value, text: impl Into<Value>, expected: Value) {
    let config = config(inputs).expect("the inputs are good");
    assert_eq!(extract(&config, &text.into()), Ok(expected));
}

#[track_caller]
fn check_error(inputs: Value, text: impl Into<Value>, expected: &str) {
    let error = match config(inputs) {
        Ok(config) => extract(&config, &text.into()).expect_err("nothing should be extracted"),
        Err(error) => error,
    };
    assert_eq!(error.to_string(), expected);
}

fn person() -> Value {
    json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}})
}

#[test]
fn json_is_found_where_models_put_it() {
    let kim = json!({"name": "Kim"});
    for text in [
        r#"{"name": "Kim"}"#,
        "\n  {\"name\": \"Kim\"}  \n",
        "Here you are:\n```json\n{\"name\": \"Kim\"}\n```\nAnything else?",
        "```\n{\"name\": \"Kim\"}",
        "~~~json\n{\"name\": \"Kim\"}\n~~~",
        r#"The record [1] is {"name": "Kim"} as {asked}."#,
        r#"Not {"age": 3} but {"name": "Kim"}"#,
        r#"<think>maybe {"name": "Robin"}</think>{"name": "Kim"}"#,
        r#"{"broken": {"name": "Kim"}"#,
    ] {
        check(json!({"schema": person()}), text, kim.clone());
    }
    check(json!({"schema": person().to_string()}), json!({"name": "Kim"}), kim);
    check(json!({"schema": true}), "17", json!(17));
    check(json!({"schema": person(), "optional": true}), "no record", Value::Null);
}

#[test]
fn disagreements_with_the_schema_name_place_and_expectation() {
    let schema = json!({"schema": person()});
    check_error(
        schema.clone(),
        r#"{"name": "Kim", "age": "old"}"#,
        "the value does not fit the schema: at `/age`: \"old\" is not of type \"integer\"",
    );
    check_error(
        schema.clone(),
        r#"[1] is wrong, {"age": 3} as well"#,
        "the value does not fit the schema: \"name\" is a required property",
    );
    check_error(schema.clone(), "I cannot say", "the text holds no JSON");
    check_error(
        schema.clone(),
        r#"{"name": "Kim",}"#,
        "the text holds no JSON: trailing comma at line 1 column 16",
    );
    let error = extract(&config(schema).expect("good"), &json!({"age": "old"})).expect_err("does not fit");
    assert_eq!(
        error.repair_message().expect("a model can repair this"),
        "The JSON in your answer does not fit the schema:\n- \"name\" is a required property\n- at `/age`: \"old\" is \
         not of type \"integer\"\nAnswer again with the whole corrected JSON value only, without any other text."
    );
}

#[test]
fn many_disagreements_are_told_in_part() {
    let error = check_schema(&json!(vec!["x"; 50_000]), &json!({"items": {"type": "integer"}}))
        .expect_err("none fits");
    let SchemaError::Mismatch { problems, more } = error else { panic!("{error}") };
    assert_eq!((problems.len(), more), (8, 992), "counting ends at a thousand");
    assert_eq!(problems[3].to_string(), "at `/3`: \"x\" is not of type \"integer\"");
}

#[test]
fn bad_schemas_say_where() {
    check_error(
        json!({"schema": {"type": "text"}}),
        "{}",
        "the schema is invalid at `/type`: \"text\" is not valid under any of the schemas listed in the 'anyOf' keyword",
    );
    for reference in ["https://example.com/schema.json", "file:///etc/passwd", "other.json"] {
        let error = check_schema(&json!({}), &json!({"$ref": reference})).expect_err("nothing is fetched");
        assert!(matches!(error, SchemaError::Invalid { .. }), "{error}");
    }
    check_error(
        json!({"schema": "text"}),
        "{}",
        "input `schema` must be a JSON Schema: a map, or its JSON text",
    );
    assert_eq!(config(json!({"schema": {"type": "text"}})).expect_err("bad").repair_message(), None);
}

#[test]
fn references_within_a_schema_work() {
    let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "additionalProperties": {"$ref": "#/$defs/node"}}}});
    check(json!({"schema": tree}), r#"{"a": {"b": {}}}"#, json!({"a": {"b": {}}}));
    assert!(matches!(
        check_schema(&json!({"a": {"b": 1}}), &tree),
        Err(SchemaError::Mismatch { problems, .. }) if problems[0].pointer == "/a/b"
    ));
}

#[test]
fn patterns_give_text_groups_or_maps() {
    let text = "12 boxes of B-40, 3 boxes of C-7";
    for (pattern, expected) in [
        (r"\d+ boxes", json!("12 boxes")),
        (r"of (\S+),", json!("B-40")),
        (r"(\d+) boxes of ([A-Z])", json!(["12", "B"])),
        (r"(?P<count>\d+) boxes of (?<article>[A-Z]-\d+)", json!({"count": "12", "article": "B-40"})),
        (r"(?P<count>\d+) (?:boxes|(?P<bags>bags))", json!({"count": "12", "bags": null})),
    ] {
        check(json!({"pattern": pattern}), text, expected);
    }
    check(json!({"pattern": r"[A-Z]-\d+", "all": true}), text, json!(["B-40", "C-7"]));
    check(json!({"pattern": "z+", "optional": true}), text, Value::Null);
    check(json!({"pattern": "z+", "optional": true, "all": true}), text, json!([]));
    check(json!({"pattern": r#""a":(\d)"#}), json!({"a": 1}), json!("1"));
    check_error(json!({"pattern": "z+"}), text, "pattern `z+` matches nothing in the text");
    check_error(json!({"pattern": "z+", "all": true}), text, "pattern `z+` matches nothing in the text");
    check_error(json!({"pattern": "(z"}), text, "pattern `(z` is no regular expression: unclosed group");
    check_error(
        json!({"pattern": r"\w{1000}{1000}"}),
        text,
        "pattern `\\w{1000}{1000}` is no regular expression: Compiled regex exceeds size limit of 4194304 bytes",
    );
}

#[test]
fn paths_give_a_value_or_a_list() {
    let orders = r#"{"orders": [{"id": 1, "total": 5}, {"id": 2, "total": 50}]}"#;
    check(json!({"path": "$.orders[0].id"}), orders, json!(1));
    check(json!({"path": "$.orders[?@.total > 10].id"}), orders, json!(2));
    check(json!({"path": "$..id", "all": true}), orders, json!([1, 2]));
    check(json!({"path": "$.id"}), json!({"id": [3]}), json!([3]));
    check(json!({"path": "$.id"}), "Result: {\"id\": 4}.", json!(4));
    check(json!({"path": "$.none", "optional": true}), orders, Value::Null);
    check(json!({"path": "$.none", "optional": true}), "no JSON", Value::Null);
    check_error(json!({"path": "$.none"}), orders, "path `$.none` finds nothing");
    check_error(
        json!({"path": "$..id"}),
        orders,
        "path `$..id` finds 2 values; set `all: true` to get them as a list",
    );
    let error = config(json!({"path": "orders["})).expect_err("no path");
    assert!(error.to_string().starts_with("`orders[` is no JSON path: "), "{error}");
}

#[test]
fn exactly_one_way_must_be_given() {
    check_error(json!({}), "", "give one of `schema`, `pattern` and `path`");
    check_error(json!({"schema": null}), "", "give one of `schema`, `pattern` and `path`");
    check_error(
        json!({"schema": true, "path": "$"}),
        "",
        "`schema` and `path` are both given; give only one of `schema`, `pattern` and `path`",
    );
    check_error(json!({"pattern": 3}), "", "input `pattern` must be a regular expression as text");
    check_error(json!({"pattern": "x", "all": "yes"}), "", "input `all` must be true or false");
}

#[test]
fn tolerant_repairs_what_people_write() {
    for (text, expected) in [
        (r#"{"a": [1, 2,],}"#, json!({"a": [1, 2]})),
        (r#"{'a': 'it\'s', b_c: None}"#, json!({"a": "it's", "b_c": null})),
        ("{\n// count\n\"a\": 1, # more\n/* and */ \"b\": .5}", json!({"a": 1, "b": 0.5})),
        ("so: {'ok': True, 'no': False} done", json!({"ok": true, "no": false})),
        ("{\"a\": \"two\nlines\"}", json!({"a": "two\nlines"})),
        (r#"{"a": "\u00e5\ud83d\ude00\/"}"#, json!({"a": "å😀/"})),
    ] {
        check(json!({"schema": true, "tolerant": true}), text, expected);
        assert!(
            extract(&config(json!({"schema": {"type": "object"}})).expect("good"), &text.into()).is_err()
                || text.contains("\\u")
        );
    }
    check_error(
        json!({"schema": true, "tolerant": true}),
        "{'a': 'open",
        "the text holds no JSON: the text has no closing quote at character 12",
    );
}

#[test]
fn hostile_texts_end_soon() {
    let nested = "[".repeat(300_000);
    let long = r#"["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","#.repeat(20_000);
    let comments = "[/*".repeat(200_000);
    let quotes = "{'".repeat(300_000);
    let fences = "```\n".repeat(100_000);
    let ones = "[1]".repeat(100_000);
    for text in [&nested, &long, &comments, &quotes, &fences, &ones] {
        for tolerant in [false, true] {
            let config = config(json!({"schema": {"type": "object"}, "tolerant": tolerant})).expect("good");
            assert!(extract(&config, &Value::String(text.clone())).is_err());
        }
    }
    check(json!({"pattern": "^(a+)+$", "optional": true}), format!("{}b", "a".repeat(100_000)), Value::Null);
    let backtracking = json!({"type": "string", "pattern": "^(?=(a+)+$)(a+)+$"});
    assert!(check_schema(&Value::String(format!("{}b", "a".repeat(200))), &backtracking).is_err());
}

proptest::proptest! {
    #[test]
    fn tolerant_reads_all_that_is_valid(text in r#"[\[\]{}:,"a1\\n ]{0,40}"#) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let read = tolerant::parse_start(&text).map(|(value, _)| value).expect("valid JSON is read");
            proptest::prop_assert_eq!(read, value);
        }
    }

    #[test]
    fn nothing_panics(text in r#"[\[\]{}:,"'a1é\\u#/*` \n]{0,60}"#) {
        for tolerant in [false, true] {
            let inputs: Map<String, Value> =
                [("schema".to_owned(), json!(true)), ("tolerant".to_owned(), json!(tolerant))].into_iter().collect();
            let config = ExtractConfig::from_inputs(&inputs).expect("good");
            let _ = extract(&config, &Value::String(text.clone()));
        }
    }
}
