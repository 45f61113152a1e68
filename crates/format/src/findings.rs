//! Findings as text for people and as SARIF 2.1.0 for code scanning, and what each rule means.
//!
//! User material ends up in messages, so control characters are shown, never sent to a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use flowbench_core::finding::{Finding, Place, Severity};
use serde_json::{Map, Value, json};

/// Every rule with one line that says what is wrong and why it matters.
pub const RULES: &[(&str, &str)] = &[
    // The flow as a whole.
    ("broken-layout", "The file with the positions of nodes cannot be read; nodes are laid out anew."),
    ("empty-flow", "The file of a flow says nothing: it has no inputs, outputs or nodes."),
    ("wrong-shape", "A part of the file has a shape that it cannot have, such as text where a map belongs."),
    ("unknown-key", "A key is not known here; it is kept in the file and has no effect."),
    ("unknown-type", "The type of an input or a node is missing or not one of the known words."),
    ("unsupported-language", "The flow is written in a language that cannot be run here."),
    ("duplicate-node", "Two nodes share a name, so a reference to it is ambiguous."),
    ("wrong-default", "The default of a flow input does not fit the input's type."),
    ("chat-shape", "A chat flow needs one chat input, at most one history, and one chat output."),
    // References.
    ("unknown-input", "A reference or a mapping names a flow input that is not defined."),
    ("unknown-node", "A reference names a node that does not exist."),
    ("broken-reference", "A text starts like a reference and cannot be read as one."),
    ("nested-reference", "References inside lists and maps are not resolved; they stay text."),
    ("missing-reference", "An output of the flow refers to nothing and is always null."),
    ("cycle", "Nodes wait for each other in a circle and none of them can start."),
    ("aggregation-reference", "A node that runs for each line refers to one that runs after all lines."),
    (
        "aggregation-output",
        "An output refers to a node that runs after all lines; it is dropped, as prompt flow does.",
    ),
    // Nodes and their sources.
    ("wrong-source", "The source of a node does not fit its type."),
    ("missing-source", "The file that a node names is not there or out of the flow's reach."),
    ("broken-source", "The file that a node names cannot be read as what it should be."),
    ("no-flow", "The file has none of the parts of a flow."),
    (
        "outside-path",
        "The flow names a file or folder outside the workspace; running it needs the user's word.",
    ),
    ("unsupported-response", "A prompty asks for the raw response, which is given as text."),
    ("missing-entry", "A flex flow does not name the function or class it starts."),
    ("missing-include", "A path in `additional_includes` is not there."),
    ("include-overwrites", "An included file replaces one of the same name in the flow folder."),
    ("unreadable-file", "A file beside the flow cannot be read."),
    ("unknown-api", "An llm node asks for an api other than `chat` or `completion`."),
    ("unknown-variant", "A chosen or default variant is not among those of its node."),
    ("wrong-tool", "A tool of an llm node is neither a python node of this flow nor another flow."),
    ("missing-parameter", "The function of a node needs a parameter that no input gives."),
    ("unknown-parameter", "An input is no parameter of the node's function and never reaches it."),
    ("wrong-literal", "A literal input does not fit the type of its parameter."),
    // Templates.
    ("no-role", "A chat template has no role line of its own, so the model cannot be asked."),
    ("unset-variable", "A template reads a variable that no input sets; it renders as nothing."),
    ("role-from-value", "A role line of a template takes its role from a value."),
    ("role-not-from-value", "A value that looks like a role line is kept as text and starts no message."),
    // Connections.
    ("missing-connection", "A node names no connection, or one that is not configured."),
    ("missing-name", "A connection or another named part has no name."),
    ("missing-type", "A connection has no type, so nothing can be asked through it."),
    ("duplicate-connection", "Two connections in one file share a name; the first is used."),
    (
        "unknown-connection-type",
        "The type of a connection is not known here; no model can be asked through it.",
    ),
    ("reserved-name", "The name belongs to a built-in connection, and this entry is never used."),
    ("literal-secret", "A secret stands in the file; whoever reads the file or its history has it."),
    ("placeholder-value", "A value is still the placeholder of a template and must be filled in."),
    ("custom-field", "A field of a custom connection stands outside `configs` and `secrets`."),
    // `.env` files.
    ("env-encoding", "The `.env` file is not UTF-8, and some characters are lost."),
    ("env-line", "A line of the `.env` file sets nothing and is ignored."),
    ("env-expansion", "A value of the `.env` file names another variable, which is not replaced here."),
    ("env-too-many", "The `.env` file holds more names than are read."),
    // Data and runs.
    ("column-missing-in-rows", "Some rows lack a column that an input is mapped to."),
    (
        "default-beats-data",
        "An input with a default takes the data column of its name, where prompt flow takes the default.",
    ),
    ("mapping-is-literal", "A mapping is no reference to data or a run, so every row gets its text."),
    ("run-incomplete", "A run file names no flow, or neither data nor an earlier run."),
    ("cloud-only", "A key means something in the cloud service only and has no effect here."),
    ("history-damaged", "The local history could not be read in full."),
    // Prompty files.
    ("no-front-matter", "A prompty file does not begin with YAML between two `---` lines."),
    ("prompty-model", "The `model` part of a prompty file cannot be used as it stands."),
    ("prompty-template", "The prompty file asks for a template engine other than jinja2."),
    ("unresolved-reference", "A `${env:…}` or `${file:…}` leads nowhere; it stays as written."),
    // Model records.
    ("catalog-record", "A model record lacks something it needs or has it in the wrong shape."),
    ("record-name", "The name in a model record is not that of its file."),
    ("record-licence", "The licence of a model record is not named or not allowed."),
    // YAML.
    ("yaml-syntax", "The text is not YAML."),
    ("yaml-encoding", "The file is not UTF-8."),
    ("yaml-control-character", "The file holds a control character that YAML does not allow."),
    ("yaml-duplicate-key", "A map has the same key twice; only one of them counts."),
    ("yaml-key", "A key of a map is not text."),
    ("yaml-merge", "`<<` merges something that is no map."),
    ("yaml-many-documents", "The file holds more than one YAML document; only the first is read."),
    ("yaml-recursive-alias", "An alias stands inside the part it stands for."),
    ("yaml-alias-bomb", "Aliases multiply to more values than are read."),
    ("yaml-number-range", "A number is too large to be kept exactly."),
    ("yaml-tag", "A YAML tag has no meaning here and is ignored."),
    ("yaml-too-deep", "Lists and maps are nested deeper than is read."),
    ("yaml-too-large", "The file is larger than is read."),
    ("yaml-too-many-parts", "The file has more parts than are read."),
    ("yaml-internal", "The YAML reader stopped on this file, which is a bug to report."),
];

/// One line on a rule.
pub fn help(rule: &str) -> Option<&'static str> {
    RULES.iter().find(|(name, _)| *name == rule).map(|(_, help)| *help)
}

/// Findings as lines: `file:line:column: error[rule]: message`, then a hint, and the node where the message does
/// not name it.
pub fn render_text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        render_finding(finding, &mut out);
    }
    out
}

fn render_finding(finding: &Finding, out: &mut String) {
    let prefix = place_text(&finding.place);
    if !prefix.is_empty() {
        write_plain(&prefix, out);
        out.push_str(": ");
    }
    let _ = write!(out, "{}[", level(finding.severity));
    write_plain(&finding.rule, out);
    out.push_str("]: ");
    write_plain(&finding.message, out);
    out.push('\n');
    if let Some(node) =
        finding.place.node.as_ref().filter(|node| !finding.message.contains(&format!("`{node}`")))
    {
        out.push_str("  node: ");
        write_plain(node, out);
        out.push('\n');
    }
    if let Some(suggestion) = &finding.suggestion {
        out.push_str("  hint: ");
        write_plain(suggestion, out);
        out.push('\n');
    }
}

fn place_text(place: &Place) -> String {
    let parts =
        [place.file.clone(), place.line.map(|line| line.to_string()), place.column.map(|at| at.to_string())];
    let shown = if place.line.is_some() { 3 } else { 1 };
    parts.into_iter().take(shown).flatten().collect::<Vec<_>>().join(":")
}

/// Writes text so that it can neither move the cursor, nor turn the writing direction, nor start a line that looks
/// like a finding.
fn write_plain(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\n    "),
            '\t' => out.push(' '),
            '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{2028}'
            | '\u{2029}' => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c if c.is_control() => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c => out.push(c),
        }
    }
}

/// The word in text and in SARIF.
fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Findings as a SARIF 2.1.0 log with one run. Addresses of files are relative to the folder that paths were
/// relative to; columns count characters.
pub fn render_sarif(findings: &[Finding]) -> Value {
    let mut indexes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rules: Vec<Value> = Vec::new();
    for finding in findings {
        indexes.entry(&finding.rule).or_insert_with(|| {
            rules.push(sarif_rule(finding));
            rules.len() - 1
        });
    }
    let results: Vec<Value> =
        findings.iter().map(|finding| sarif_result(finding, indexes[finding.rule.as_str()])).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "flowbench",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {"SRCROOT": {"description": {"text": "the folder that the check was started in"}}},
            "results": results,
        }],
    })
}

fn sarif_rule(finding: &Finding) -> Value {
    let mut rule = Map::new();
    rule.insert("id".to_owned(), json!(finding.rule));
    rule.insert("name".to_owned(), json!(pascal_case(&finding.rule)));
    if let Some(help) = help(&finding.rule) {
        rule.insert("shortDescription".to_owned(), json!({"text": help}));
        rule.insert("fullDescription".to_owned(), json!({"text": help}));
        rule.insert("help".to_owned(), json!({"text": help}));
    }
    rule.insert("defaultConfiguration".to_owned(), json!({"level": level(finding.severity)}));
    Value::Object(rule)
}

fn pascal_case(rule: &str) -> String {
    rule.split('-')
        .map(|word| {
            let mut chars = word.chars();
            chars
                .next()
                .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
                .unwrap_or_default()
        })
        .collect()
}

fn sarif_result(finding: &Finding, rule_index: usize) -> Value {
    let mut text = finding.message.clone();
    if let Some(suggestion) = &finding.suggestion {
        let _ = write!(text, "\nhint: {suggestion}");
    }
    let mut location = Map::new();
    if let Some(file) = &finding.place.file {
        let mut physical = Map::new();
        physical.insert("artifactLocation".to_owned(), artifact_location(file));
        if let Some(line) = finding.place.line.filter(|line| *line > 0) {
            let mut region = Map::new();
            region.insert("startLine".to_owned(), json!(line));
            if let Some(column) = finding.place.column.filter(|column| *column > 0) {
                region.insert("startColumn".to_owned(), json!(column));
            }
            physical.insert("region".to_owned(), Value::Object(region));
        }
        location.insert("physicalLocation".to_owned(), Value::Object(physical));
    }
    if let Some(node) = &finding.place.node {
        let logical =
            json!([{"name": node, "fullyQualifiedName": format!("nodes/{node}"), "kind": "object"}]);
        location.insert("logicalLocations".to_owned(), logical);
    }
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), json!(finding.rule));
    result.insert("ruleIndex".to_owned(), json!(rule_index));
    result.insert("level".to_owned(), json!(level(finding.severity)));
    result.insert("message".to_owned(), json!({"text": text}));
    if !location.is_empty() {
        result.insert("locations".to_owned(), json!([location]));
    }
    Value::Object(result)
}

/// A path as an address: relative ones by their base, absolute ones with the `file` scheme.
fn artifact_location(path: &str) -> Value {
    let path = path.replace('\\', "/");
    let has_drive = path.get(1..3) == Some(":/") && path.as_bytes()[0].is_ascii_alphabetic();
    if path.starts_with('/') {
        return json!({"uri": format!("file://{}", percent_encode(&path))});
    }
    if has_drive {
        return json!({"uri": format!("file:///{}:{}", &path[..1], percent_encode(&path[2..]))});
    }
    let path = path.strip_prefix("./").unwrap_or(&path);
    if path.starts_with("../") {
        // A base with `..` after it is no address below the base.
        return json!({"uri": percent_encode(path)});
    }
    json!({"uri": percent_encode(path), "uriBaseId": "SRCROOT"})
}

/// Encodes all but the unreserved characters of RFC 3986 and the slash.
fn percent_encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn place(file: Option<&str>, line: Option<u32>) -> Place {
        Place { file: file.map(str::to_owned), line, column: line.map(|_| 5), node: None }
    }

    #[track_caller]
    fn check(finding: Finding, expected: &str) {
        assert_eq!(render_text(&[finding]), expected);
    }

    #[test]
    fn text_says_where_what_and_what_to_do() {
        check(
            Finding::error("unknown-node", "node `a`: node `b` does not exist")
                .at(place(Some("flows/x/flow.dag.yaml"), Some(3)))
                .on_node("a")
                .suggest("did you mean `${c.output}`?"),
            "flows/x/flow.dag.yaml:3:5: error[unknown-node]: node `a`: node `b` does not exist\n  hint: did you mean `${c.output}`?\n",
        );
        check(
            Finding::warning("unknown-key", "key `k` is not known")
                .at(place(Some("f.yaml"), None))
                .on_node("n"),
            "f.yaml: warning[unknown-key]: key `k` is not known\n  node: n\n",
        );
        check(Finding::new("x", Severity::Note, "m"), "note[x]: m\n");
        check(Finding::error("x", "m").at(place(None, Some(2))), "2:5: error[x]: m\n");
    }

    #[test]
    fn user_material_cannot_write_to_the_terminal_or_fake_a_finding() {
        check(
            Finding::error("x", "a\u{1b}[31m\u{202e}b\nother.yaml:1:1: error[y]: fake\r"),
            "error[x]: a\\u{1b}[31m\\u{202e}b\n    other.yaml:1:1: error[y]: fake\\u{d}\n",
        );
    }

    #[test]
    fn sarif_has_rules_levels_places_and_nodes() {
        let findings = [
            Finding::error("unknown-node", "m")
                .at(place(Some("flows/a b/flow.dag.yaml"), Some(3)))
                .on_node("n")
                .suggest("s"),
            Finding::warning("not-a-rule", "w").at(place(Some("../x.yaml"), None)),
            Finding::new("unknown-node", Severity::Note, "no place"),
        ];
        let log = render_sarif(&findings);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 2);
        assert_eq!(run["tool"]["driver"]["rules"][0]["help"]["text"], help("unknown-node").unwrap());
        let results = run["results"].as_array().unwrap();
        assert_eq!(
            results[0],
            json!({
                "ruleId": "unknown-node", "ruleIndex": 0, "level": "error", "message": {"text": "m\nhint: s"},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": "flows/a%20b/flow.dag.yaml", "uriBaseId": "SRCROOT"},
                        "region": {"startLine": 3, "startColumn": 5},
                    },
                    "logicalLocations": [{"name": "n", "fullyQualifiedName": "nodes/n", "kind": "object"}],
                }],
            })
        );
        assert_eq!(
            results[1]["locations"][0]["physicalLocation"],
            json!({"artifactLocation": {"uri": "../x.yaml"}})
        );
        assert_eq!((&results[2]["level"], results[2].get("locations")), (&json!("note"), None));
    }

    #[test]
    fn paths_become_addresses() {
        for (path, uri) in [
            ("./a.yaml", "a.yaml"),
            ("flows\\a.yaml", "flows/a.yaml"),
            ("/tmp/ä.yaml", "file:///tmp/%C3%A4.yaml"),
            ("C:\\x y.yaml", "file:///C:/x%20y.yaml"),
            ("a:b#c.yaml", "a%3Ab%23c.yaml"),
        ] {
            assert_eq!(artifact_location(path)["uri"], uri, "{path}");
        }
    }

    #[test]
    fn no_rule_is_told_twice_and_each_has_a_sentence() {
        let names: BTreeSet<&str> = RULES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), RULES.len());
        for (name, help) in RULES {
            assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
        }
    }

    /// Rule names that a source uses: the first text after the calls that make findings.
    fn rules_in(source: &str, rules: &mut BTreeSet<String>) {
        let source = source.split("#[cfg(test)]\nmod ").next().unwrap_or(source);
        for call in
            ["Finding::error(", "Finding::warning(", "Finding::new(", "refuse(", "finding(", "warn(", "note("]
        {
            for (at, _) in source.match_indices(call) {
                let mut rest = source[at + call.len()..].trim_start();
                for first in ["self,", "this,"] {
                    rest = rest.strip_prefix(first).unwrap_or(rest).trim_start();
                }
                // Other things than rules are noted and refused too; rules of several words are told by their hyphens.
                if let Some((rule, _)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'))
                    && (call.starts_with("Finding") || rule.contains('-'))
                    && rule.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                {
                    rules.insert(rule.to_owned());
                }
            }
        }
    }

    fn read_sources(folder: &Path, rules: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read_sources(&path, rules);
            } else if path.extension().is_some_and(|end| end == "rs")
                && path.file_name().is_none_or(|name| name != "tests.rs")
            {
                rules_in(&std::fs::read_to_string(&path).unwrap(), rules);
            }
        }
    }

    #[test]
    fn every_rule_of_core_and_format_has_help() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut rules = BTreeSet::new();
        read_sources(&crates.join("core/src"), &mut rules);
        read_sources(&crates.join("format/src"), &mut rules);
        assert!(
            rules.contains("unknown-node") && rules.contains("yaml-tag"),
            "the search sees rules: {rules:?}"
        );
        let without: Vec<&String> = rules.iter().filter(|rule| help(rule).is_none()).collect();
        assert!(without.is_empty(), "rules without help: {without:?}");
    }
}
