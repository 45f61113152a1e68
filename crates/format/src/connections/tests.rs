//! Tests of this module.

use serde_json::json;

use super::*;

#[track_caller]
fn check(text: &str, expected: &[&str]) -> ConnectionsFile {
    let read = parse_connections(text.as_bytes(), Some("connections.yaml"));
    let found: Vec<String> = read
        .findings
        .iter()
        .map(|finding| format!("{} {}: {}", finding.place.line.unwrap_or(0), finding.rule, finding.message))
        .collect();
    assert_eq!(found, expected, "{text}");
    read
}

#[test]
fn our_files_hold_a_list() {
    let read = check(
        "connections:\n- {name: a, type: open_ai, base_url: \"${env:BASE}\", api_key: \"${env:KEY}\"}\n\
         - {name: b, type: anthropic, api_key: \"${secret:claude}\", timeout: 5}\n",
        &[],
    );
    assert_eq!(read.entries[0].kind, ConnectionKind::OpenAi);
    assert_eq!(read.entries[0].fields["base_url"], "${env:BASE}");
    assert_eq!(read.entries[0].secrets, [("api_key".to_owned(), SecretValue::Environment("KEY".to_owned()))]);
    assert_eq!(read.entries[1].secrets, [("api_key".to_owned(), SecretValue::Stored("claude".to_owned()))]);
    assert_eq!(read.entries[1].fields["timeout"], 5);
    assert_eq!(read.entries[1].place.line, Some(3));
    check("", &[]);
    check("connections:\n", &[]);
}

#[test]
fn prompt_flow_files_hold_one() {
    let read = check(
        "$schema: x\nname: c\ntype: azure_open_ai\napi_key: \"<user-input>\"\napi_base: https://a.example\n\
         api_version: \"2024-02-01\"\nauth_mode: key\nazure_ad_token: ${env:T}\n",
        &["4 placeholder-value: connection `c`: `api_key` is a placeholder and needs a value"],
    );
    let entry = &read.entries[0];
    assert_eq!(entry.kind, ConnectionKind::AzureOpenAi);
    assert_eq!(entry.fields.keys().collect::<Vec<_>>(), ["api_base", "api_version", "auth_mode"]);
    assert_eq!(entry.secrets[0].1, SecretValue::Environment("C_API_KEY".to_owned()));
    assert_eq!(entry.secrets[1].1, SecretValue::Environment("T".to_owned()));
    for word in ["OpenAI", "open_ai", "OpenAIConnection", "open-ai"] {
        let read = check(&format!("name: c\ntype: {word}\n"), &[]);
        assert_eq!(read.entries[0].kind, ConnectionKind::OpenAi, "{word}");
    }
}

#[test]
fn custom_connections_say_themselves_what_is_secret() {
    let read = check(
        "name: bag\ntype: custom\nconfigs: {region: north, retries: \"3\", key1: plain}\n\
         secrets: {token: \"${env:T}\", other: to_replace_with_other}\ncustom_type: MyConnection\nmodule: my.tools\n\
         package: my-tools\npackage_version: 0.0.1\n",
        &["4 placeholder-value: connection `bag`: `other` is a placeholder and needs a value"],
    );
    let entry = &read.entries[0];
    assert_eq!(entry.fields["key1"], "plain");
    assert_eq!(entry.fields["promptflow.connection.custom_type"], "MyConnection");
    assert_eq!(entry.secrets.len(), 2);
    check(
        "name: bag\ntype: custom\nsecrets: [a]\napi_key: ${env:K}\n",
        &[
            "3 wrong-shape: connection `bag`: `secrets` must be a map, and is a list",
            "4 custom-field: connection `bag`: `api_key` stands outside `configs` and `secrets`",
        ],
    );
}

#[test]
fn a_secret_written_out_is_found_and_never_shown() {
    let text = "connections:\n- name: a\n  type: gemini\n  api_key: sk-very-hidden\n\
                - name: b\n  type: custom\n  secrets: {pin: 4711}\n\
                - name: c\n  type: open_ai\n  base_url: http://me:pass-hidden@h/v1\n\
                - name: d\n  type: open_ai\n  headers: {Authorization: Bearer hidden}\n";
    let read = check(
        text,
        &[
            "4 literal-secret: connection `a`: the secret `api_key` is written out in the file",
            "7 literal-secret: connection `b`: the secret `pin` is written out in the file",
            "10 literal-secret: connection `c`: the secret `base_url` is written out in the file",
            "13 literal-secret: connection `d`: the secret `headers` is written out in the file",
        ],
    );
    let secrets: Vec<_> = read.entries.iter().map(|entry| &entry.secrets).collect();
    let shown = format!("{secrets:?} {:?}", read.findings);
    assert!(!shown.contains("hidden") && !shown.contains("4711"), "{shown}");
    let (connection, missing) = read.entries[0].resolve(false, &|_| None);
    assert_eq!(connection.secret("api_key").unwrap().reveal(), "sk-very-hidden");
    assert!(missing.is_empty());
}

#[test]
fn broken_entries_are_found_and_the_others_kept() {
    let read = check(
        "connections:\n- {type: open_ai}\n- {name: a}\n- {name: b, type: open_ai}\n- {name: b, type: serp}\n- 7\n\
         - {name: c, type: martian, api_key: \"${env:K}\", other: 1}\n- {name: local, type: ollama}\nextra: 1\n",
        &[
            "9 unknown-key: key `extra` is not known and has no effect",
            "2 missing-name: a connection has no name",
            "3 missing-type: connection `a` has no type",
            "5 duplicate-connection: two connections are named `b`",
            "6 wrong-shape: a connection must be a map, and is a number",
            "7 unknown-connection-type: connection `c` has the unknown type `martian`",
            "8 reserved-name: connection `local` is built in, and this entry is never used",
        ],
    );
    let names: Vec<&str> = read.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["b", "c", "local"]);
    assert_eq!(read.entries[1].secrets.len(), 1, "a key is a secret whatever the type is");
}

#[test]
fn hostile_files_are_findings() {
    check(
        "- a\n",
        &[
            "1 wrong-shape: the file must be a map with a list under `connections`, or one connection, and is a list",
        ],
    );
    check("connections: {a: 1}\n", &["1 wrong-shape: `connections` must be a list, and is a map"]);
    check(
        "name: a\ntype: open_ai\napi_key: [x]\n",
        &["3 wrong-shape: connection `a`: `api_key` must be text, and is a list"],
    );
    assert!(!parse_connections(b"connections: [{name: a", None).findings.is_empty());
    assert!(!parse_connections(b"\xff\xfe\x00", None).findings.is_empty());
}

#[test]
fn references_are_resolved_only_when_asked() {
    let read = check(
        "name: a\ntype: open_ai\napi_key: ${env:KEY}\nbase_url: ${env:BASE}\nproject: ${env:NONE}\n\
         headers: {x: \"${env:BASE}\"}\nazure_ad_token: ${secret:t}\n",
        &[],
    );
    let look_up = |reference: ValueReference<'_>| match reference {
        ValueReference::Environment("KEY") => Some("k".to_owned()),
        ValueReference::Environment("BASE") => Some("http://h".to_owned()),
        _ => None,
    };
    let (connection, missing) = read.entries[0].resolve(true, &look_up);
    assert_eq!(connection.secret("api_key").unwrap().reveal(), "k");
    assert_eq!(connection.field("base_url"), Some("http://h"));
    assert_eq!(connection.fields["headers"], json!({"x": "http://h"}));
    assert_eq!(connection.field("project"), Some("${env:NONE}"), "an unset reference stays as written");
    let missing: Vec<String> =
        missing.iter().map(|value| format!("{}: {}", value.field, value.reference)).collect();
    assert_eq!(missing, ["azure_ad_token: stored secret `t`", "project: environment variable `NONE`"]);
    assert_eq!(parse_reference("${env:}"), None);
    assert_eq!(parse_reference("x ${env:A}"), None);
    assert_eq!(parse_reference("${ env : A }"), Some(ValueReference::Environment("A")));
}

#[test]
fn an_env_file_is_a_custom_connection() {
    let read = parse_connections(b"A=1\nB=<your_key>\nC=${env:X}\nD=\n", Some("folder/my.env"));
    let entry = &read.entries[0];
    assert_eq!((entry.name.as_str(), &entry.kind), ("my", &ConnectionKind::Custom));
    assert_eq!(
        entry.secrets,
        [
            ("A".to_owned(), SecretValue::Literal("1".to_owned())),
            ("B".to_owned(), SecretValue::Environment("B".to_owned())),
            ("C".to_owned(), SecretValue::Environment("X".to_owned())),
        ]
    );
    assert_eq!(read.findings.len(), 1);
    assert_eq!(read.findings[0].rule, "placeholder-value");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::sample::select(b"-:\n aA={}[]\"'$\\#<>*\xff\0,".to_vec()), 0..200)) {
        let _ = parse_connections(&bytes, Some("c.yaml"));
        let _ = parse_connections(&bytes, Some(".env"));
    }
}
