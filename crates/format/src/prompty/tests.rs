//! Tests of this module.

use std::path::Path;

use serde_json::json;

use super::*;

const HEAD: &str = "---\nname: a\nmodel:\n  configuration: {connection: c, model: m}\n  parameters: {}\n";

fn no_env(_: &str) -> Option<String> {
    None
}

fn no_file(path: &str) -> Result<String, String> {
    Err(format!("there is no file `{path}`"))
}

#[track_caller]
fn check(text: &str, expected: &[&str]) -> PromptyFile {
    let read = parse_prompty(text.as_bytes(), Some("a.prompty"));
    let found: Vec<String> = read
        .findings
        .iter()
        .map(|finding| format!("{} {}: {}", finding.place.line.unwrap_or(0), finding.rule, finding.message))
        .collect();
    assert_eq!(found, expected, "{text}");
    read
}

#[track_caller]
fn check_model(configuration: &str, expected: &[&str]) -> PromptyFile {
    check(
        &format!("---\nmodel:\n  configuration: {configuration}\n  parameters: {{}}\n---\nuser:\nx"),
        expected,
    )
}

#[test]
fn front_matter_and_template_are_cut_at_the_first_two_lines_of_dashes() {
    let read = check(&format!("{HEAD}---\nsystem:\n---\nuser:\n{{{{q}}}}"), &[]);
    assert_eq!(read.template, "system:\n---\nuser:\n{{q}}");
    assert_eq!(read.template_line, 7);
    assert_eq!(read.places.of("/model/parameters").line, Some(5));
    let read = check(&format!("\u{feff}\n{}-----  \r\nuser:\r\nx\r\n", HEAD.replace('\n', "\r\n")), &[]);
    assert_eq!((read.template.as_str(), read.template_line), ("user:\nx\n", 8));
    assert_eq!(read.places.of("/name").line, Some(3));
    let read = check(
        &format!("words\n{HEAD}---"),
        &["1 no-front-matter: what stands before the first `---` line is ignored"],
    );
    assert_eq!((read.template.as_str(), read.prompty.name.as_deref()), ("", Some("a")));
}

#[test]
fn a_file_without_front_matter_opens_with_a_finding() {
    for text in ["", "user:\nhello", "---\nname: a\n", "--\na\n--\n"] {
        let read =
            check(text, &["1 no-front-matter: the file does not begin with YAML between two `---` lines"]);
        assert_eq!(read.template, text, "nothing is lost");
    }
    check("---\n---\nx", &["2 prompty-model: the front matter says nothing"]);
    check("---\n- a\n---\nx", &["2 wrong-shape: the front matter must be a map, and is a list"]);
    let broken = parse_prompty(b"---\nname: [\n---\nx", None);
    assert!(broken.findings.iter().any(|finding| finding.rule == "yaml-syntax"), "{:?}", broken.findings);
    assert_eq!(broken.template, "x");
    let bytes = parse_prompty(b"---\nname: \xff\n---\nx", None);
    assert_eq!(bytes.findings[0].rule, "yaml-encoding");
    let large = parse_prompty(&vec![b'-'; MAX_YAML_BYTES + 1], None);
    assert_eq!(large.findings[0].rule, "yaml-too-large");
}

#[test]
fn inputs_are_declared_or_those_of_the_sample() {
    let read = check(
        &format!(
            "{HEAD}inputs:\n  a: {{type: string, default: null}}\n  b:\n    type: int\n  c: list\nsample: {{a: 1}}\n---\n"
        ),
        &[],
    );
    let inputs = &read.prompty.inputs;
    assert_eq!(inputs["a"].default, Some(Value::Null), "a default of null is a default");
    assert_eq!((inputs["b"].kind.as_deref(), &inputs["b"].default), (Some("int"), &None));
    assert_eq!(inputs["c"].kind.as_deref(), Some("list"));
    let read =
        check(&format!("{HEAD}sample: {{t: x, i: 1, d: 1.5, b: true, l: [], o: {{}}, n: null}}\n---\n"), &[]);
    let kinds: Vec<_> = read
        .prompty
        .inputs
        .iter()
        .map(|(name, input)| format!("{name}:{}", input.kind.as_deref().unwrap()))
        .collect();
    assert_eq!(kinds, ["t:string", "i:int", "d:double", "b:bool", "l:list", "o:object", "n:object"]);
    check(
        &format!("{HEAD}inputs: {{a: 3}}\nsample: [1]\n---\n"),
        &[
            "6 wrong-shape: input `a` must be a map with `type` and `default`, and is a number",
            "7 wrong-shape: `sample` must be a map or `${file:PATH}` of a JSON file, and is a list",
        ],
    );
}

#[test]
fn a_configuration_names_a_connection_or_describes_one() {
    check_model("{connection: c, model: m, type: openai}", &[]);
    check_model(
        "{connection: c, api_key: \"${env:K}\"}",
        &["3 prompty-model: the configuration names a connection and also gives `api_key`"],
    );
    check_model("{connection: c, api_key: \"\"}", &[]);
    check_model("{model: m}", &["3 prompty-model: the configuration has neither `connection` nor `type`"]);
    check_model("{type: serp}", &["3 prompty-model: a model of type `serp` cannot be asked"]);
    check_model("{}", &["3 prompty-model: the model has no `configuration`"]);
    let read = check_model(
        "{type: azure_openai, azure_deployment: d, azure_endpoint: \"${env:E}\", api_key: sk-hidden}",
        &["3 literal-secret: the secret `api_key` is written out in the file"],
    );
    assert_eq!(read.prompty.model(), Some("d"));
    let entry = read.prompty.connection_entry("a", Place::default(), &|_| false).unwrap();
    assert_eq!(entry.kind, ConnectionKind::AzureOpenAi);
    assert_eq!(Value::Object(entry.fields), json!({"api_base": "${env:E}"}));
    assert_eq!(entry.secrets, [("api_key".to_owned(), SecretValue::Literal("sk-hidden".to_owned()))]);
}

#[test]
fn an_empty_configuration_means_the_providers_standard_variables() {
    let read = check_model("{type: openai, model: m, api_key: \"\", base_url: null}", &[]);
    let entry =
        read.prompty.connection_entry("a", Place::default(), &|name| name == "OPENAI_BASE_URL").unwrap();
    assert_eq!(
        entry.secrets,
        [("api_key".to_owned(), SecretValue::Environment("OPENAI_API_KEY".to_owned()))]
    );
    assert_eq!(Value::Object(entry.fields), json!({"base_url": "${env:OPENAI_BASE_URL}"}));
    let read = check_model("{type: azure_openai, azure_deployment: d}", &[]);
    let entry = read.prompty.connection_entry("a", Place::default(), &|_| false).unwrap();
    assert_eq!(Value::Object(entry.fields), json!({"api_base": "${env:AZURE_OPENAI_ENDPOINT}"}));
    let read = check_model("{connection: c}", &[]);
    assert!(read.prompty.connection_entry("a", Place::default(), &|_| false).is_none());
}

#[test]
fn references_are_resolved_as_whole_texts() {
    let mut value = json!({
        "a": "${env:A}", "list": ["${env:NONE}", "x ${env:A}", "${env:A}/v1", "${other:A}"],
        "json": "${file:x.json}", "yaml": "${file:x.YML}", "text": "${file:x.txt}", "gone": "${file:gone.json}",
        "bad": "${file:bad.json}",
    });
    let env = |name: &str| (name == "A").then(|| "1".to_owned());
    let file = |path: &str| match path {
        "x.json" => Ok("{\"k\": \"${env:A}\"}".to_owned()),
        "x.YML" => Ok("k: [1, 2]\n".to_owned()),
        "x.txt" => Ok("k: 1".to_owned()),
        "bad.json" => Ok("{".to_owned()),
        _ => Err("there is no such file".to_owned()),
    };
    let unresolved = resolve_references(&mut value, &env, &file);
    assert_eq!(
        value,
        json!({
            "a": "1", "list": ["${env:NONE}", "x ${env:A}", "${env:A}/v1", "${other:A}"],
            "json": {"k": "${env:A}"}, "yaml": {"k": [1, 2]}, "text": "k: 1", "gone": "${file:gone.json}",
            "bad": "${file:bad.json}",
        })
    );
    let told: Vec<(&str, bool)> =
        unresolved.iter().map(|reference| (reference.pointer.as_str(), reference.is_error)).collect();
    assert_eq!(told, [("/list/0", false), ("/list/2", false), ("/gone", true), ("/bad", true)]);
}

#[test]
fn files_are_brought_in_up_to_a_bound() {
    let mut value = json!(["${file:a}", "${file:a}", "${file:a}"]);
    let unresolved = resolve_references(&mut value, &no_env, &|_| Ok("x".repeat(MAX_REFERENCED_BYTES / 2)));
    assert_eq!(unresolved.len(), 1);
    assert_eq!(unresolved[0].pointer, "/2");
}

#[test]
fn resolving_tells_only_what_is_new() {
    let read = check(
        &format!("{HEAD}sample: ${{file:s.json}}\nextra: ${{env:X}}\n---\n"),
        &["7 unknown-key: key `extra` is not known and has no effect"],
    );
    assert!(read.prompty.inputs.is_empty());
    let (prompty, findings) = read.resolve(&no_env, &|_| Ok("{\"q\": 1}".to_owned()));
    assert_eq!(prompty.inputs["q"].kind.as_deref(), Some("int"));
    assert_eq!(prompty.sample, Some(json!({"q": 1})));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].message, "`${env:X}` stays as written: environment variable `X` is not set");
    assert_eq!(findings[0].place.line, Some(7));
    for sample in ["file:s.json", "s.json"] {
        let read = check(&format!("{HEAD}sample: {sample}\n---\n"), &[]);
        let (prompty, _) = read.resolve(&no_env, &|path| Ok(format!("{{\"{path}\": 1}}")));
        assert!(prompty.inputs.contains_key("s.json"), "{sample}");
    }
    let (_, findings) = read.resolve(&no_env, &no_file);
    assert!(flowbench_core::finding::has_errors(&findings), "{findings:?}");
}

#[test]
fn newer_schemas_and_engines_are_found() {
    check(
        "---\nmodel:\n  id: gpt\n  options: {a: 1}\n  api: talk\n  configuration: {type: openai}\nauthors: [x]\ntemplate: {type: mustache}\n---\n",
        &[
            "8 prompty-template: template engine `mustache` is not known",
            "3 unknown-key: key `id` is not known and has no effect",
            "4 unknown-key: key `options` is not known and has no effect",
            "5 prompty-model: api `talk` is not known, and chat is used",
            "2 prompty-model: the model has no `parameters`, which prompt flow refuses",
        ],
    );
}

#[test]
fn prompt_flows_own_files_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/promptflow/flows/prompty");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "prompty") {
            continue;
        }
        let read = parse_prompty(&std::fs::read(&path).unwrap(), None);
        let file = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string());
        let (prompty, findings) = read.resolve(&|_| Some("set".to_owned()), &file);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let all: Vec<&Finding> = read.findings.iter().chain(&findings).collect();
        assert_eq!(all.len(), usize::from(name == "no-parameters"), "{name}: {all:?}");
        assert!(
            prompty.model().is_some() && !prompty.inputs.is_empty() && !read.template.is_empty(),
            "{name}"
        );
        assert_eq!(prompty.api == Api::Completion, name == "completion");
        assert_eq!(prompty.outputs.is_some(), name == "json-keys" || name == "json-missing");
        assert_eq!(prompty.connection.is_none(), name == "sample-file");
        count += 1;
    }
    assert_eq!(count, 11);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::sample::select(b"-:\n aA={}[]\"'$\\#<>*\xff\0,".to_vec()), 0..200)) {
        let read = parse_prompty(&bytes, None);
        let _ = read.resolve(&no_env, &no_file);
    }
}
