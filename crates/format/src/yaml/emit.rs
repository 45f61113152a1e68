//! Values to YAML text, in the style of what stands around.

use serde_json::{Number, Value};

use super::scalar::is_doubtful_plain;
use super::tree::Style;

/// Where a text is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// A value in block layout.
    Block,
    /// Inside brackets or braces.
    Flow,
}

/// How new text is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Blanks that a map in a map is indented by.
    pub(crate) indent: usize,
    /// Blanks that a list in a map is indented by.
    pub(crate) list_indent: usize,
    /// Quote every text.
    pub(crate) is_careful: bool,
}

/// A value on one line: scalars as they are, lists and maps in brackets.
pub(crate) fn inline(value: &Value, context: Context, manner: Manner) -> String {
    let mut out = String::new();
    write_inline(value, context, manner, &mut out);
    out
}

fn write_inline(value: &Value, context: Context, manner: Manner, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&write_number(number)),
        Value::String(text) => out.push_str(&write_text(text, Style::Plain, context, manner)),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_inline(item, Context::Flow, manner, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&write_key(key, Style::Plain, Context::Flow, manner));
                out.push_str(": ");
                write_inline(item, Context::Flow, manner, out);
            }
            out.push('}');
        }
    }
}

/// True for values that block layout puts on lines of their own.
pub(crate) fn takes_lines(value: &Value, manner: Manner) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !manner.is_careful && literal(text).is_some(),
        _ => false,
    }
}

/// A value as lines without indentation of their own.
pub(crate) fn block(value: &Value, manner: Manner) -> Vec<String> {
    let mut lines = Vec::new();
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, item) in map {
                lines.extend(entry(&write_key(key, Style::Plain, Context::Block, manner), item, manner));
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for value in items {
                lines.extend(item(value, manner));
            }
        }
        other => lines.push(inline(other, Context::Block, manner)),
    }
    lines
}

/// An entry of a block map; the key is written already.
pub(crate) fn entry(key: &str, value: &Value, manner: Manner) -> Vec<String> {
    if !takes_lines(value, manner) {
        return vec![format!("{key}: {}", inline(value, Context::Block, manner))];
    }
    let (header, body, indent) = match value {
        Value::String(text) => match literal(text) {
            Some((header, body)) => (format!("{key}: {header}"), body, manner.indent),
            None => return vec![format!("{key}: {}", inline(value, Context::Block, manner))],
        },
        Value::Array(_) => (format!("{key}:"), block(value, manner), manner.list_indent),
        _ => (format!("{key}:"), block(value, manner), manner.indent),
    };
    let mut lines = vec![header];
    lines.extend(body.into_iter().map(|line| indented(&line, indent)));
    lines
}

/// An item of a block list, its dash included.
pub(crate) fn item(value: &Value, manner: Manner) -> Vec<String> {
    if !takes_lines(value, manner) {
        return vec![format!("- {}", inline(value, Context::Block, manner))];
    }
    let body = match value {
        Value::String(text) => match literal(text) {
            Some((header, body)) => {
                let mut lines = vec![format!("- {header}")];
                lines.extend(body.into_iter().map(|line| indented(&line, 2)));
                return lines;
            }
            None => return vec![format!("- {}", inline(value, Context::Block, manner))],
        },
        _ => block(value, manner),
    };
    body.into_iter()
        .enumerate()
        .map(|(index, line)| if index == 0 { format!("- {line}") } else { indented(&line, 2) })
        .collect()
}

/// A line moved to the right; empty lines stay empty.
pub(crate) fn indented(line: &str, blanks: usize) -> String {
    if line.is_empty() { String::new() } else { format!("{}{line}", " ".repeat(blanks)) }
}

/// Header and lines of a literal block, for texts of several lines that it can hold exactly.
pub(crate) fn literal(text: &str) -> Option<(&'static str, Vec<String>)> {
    let (body, header) = match text.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (text, "|-"),
    };
    let first = body.chars().next()?;
    let is_one_line = !text.contains('\n');
    if is_one_line || first.is_whitespace() || body.ends_with('\n') || !body.chars().all(is_literal_char) {
        return None;
    }
    let lines: Vec<String> = body.split('\n').map(str::to_owned).collect();
    // Lines of blanks only would be taken for empty ones, or for indentation.
    lines.iter().all(|line| line.is_empty() || !line.trim().is_empty()).then_some((header, lines))
}

fn is_literal_char(c: char) -> bool {
    matches!(c, '\n' | '\t' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// A scalar value in the style of the one that it replaces.
pub(crate) fn scalar_like(style: Style, value: &Value, context: Context, manner: Manner) -> String {
    match value {
        Value::String(text) => write_text(text, style, context, manner),
        other => inline(other, context, manner),
    }
}

/// A key in the style of the one that it replaces.
pub(crate) fn write_key(key: &str, style: Style, context: Context, manner: Manner) -> String {
    // A plain key of a great length is no simple key; quotes do not change that, but nobody writes those.
    write_text(key, style, context, manner)
}

fn write_text(text: &str, style: Style, context: Context, manner: Manner) -> String {
    let style = if manner.is_careful { Style::Double } else { style };
    match style {
        Style::Single if text.chars().all(|c| is_literal_char(c) && c != '\n' && c != '\t') => {
            format!("'{}'", text.replace('\'', "''"))
        }
        Style::Double | Style::Single => double_quoted(text),
        _ if is_safe_plain(text, context) => text.to_owned(),
        _ => double_quoted(text),
    }
}

/// Double quotes, with escapes for what cannot stand as it is.
fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_literal_char(c) => out.push(c),
            c if u32::from(c) <= 0xff => out.push_str(&format!("\\x{:02X}", u32::from(c))),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// True if the text can stand without quotes and every reader takes it for that text.
fn is_safe_plain(text: &str, context: Context) -> bool {
    let Some(first) = text.chars().next() else { return false };
    if matches!(
        first,
        '-' | '?'
            | ':'
            | ','
            | '['
            | ']'
            | '{'
            | '}'
            | '#'
            | '&'
            | '*'
            | '!'
            | '|'
            | '>'
            | '\''
            | '"'
            | '%'
            | '@'
            | '`'
    ) && !(first == '-' && text.chars().nth(1).is_some_and(|c| c.is_alphanumeric()))
    {
        return false;
    }
    if text.trim() != text
        || text.starts_with("---")
        || text.starts_with("...")
        || text.ends_with(':')
        || text.contains(": ")
        || text.contains(" #")
        || !text.chars().all(|c| is_literal_char(c) && c != '\n' && c != '\t')
    {
        return false;
    }
    if context == Context::Flow && text.contains([',', '[', ']', '{', '}', ':', '"', '\'']) {
        return false;
    }
    !is_doubtful_plain(text)
}

/// A number that YAML 1.1 and 1.2 readers take for the same number.
fn write_number(number: &Number) -> String {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return text };
    let mantissa = if mantissa.contains('.') { mantissa.to_owned() } else { format!("{mantissa}.0") };
    let exponent =
        if exponent.starts_with(['-', '+']) { exponent.to_owned() } else { format!("+{exponent}") };
    format!("{mantissa}e{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::YamlDocument;
    use proptest::prelude::*;
    use serde_json::json;

    const MANNER: Manner = Manner { indent: 2, list_indent: 0, is_careful: false };

    #[test]
    fn texts_are_quoted_only_where_a_reader_could_err() {
        let plain = |text: &str| inline(&json!(text), Context::Block, MANNER);
        assert_eq!(plain("${inputs.question}"), "${inputs.question}");
        assert_eq!(plain("a b, c"), "a b, c");
        for text in [
            "yes",
            "no",
            "1",
            "1.5",
            "0x1",
            "2024-01-31",
            "",
            " a",
            "a: b",
            "a #b",
            "null",
            "~",
            "- a",
            "1e3",
            ".5e3",
            "=",
            "<<",
            "{a",
            "é\u{7f}",
        ] {
            assert!(plain(text).starts_with('"'), "{text}: {}", plain(text));
        }
        assert_eq!(inline(&json!("${a}"), Context::Flow, MANNER), "\"${a}\"");
        assert_eq!(plain("a\tb\u{1}"), "\"a\\tb\\x01\"");
        assert_eq!(scalar_like(Style::Single, &json!("it's"), Context::Block, MANNER), "'it''s'");
    }

    #[test]
    fn values_become_lines_as_people_write_them() {
        let value = json!({"inputs": {"q": {"type": "string", "default": []}}, "nodes": [{"name": "a", "text": "x\ny\n"}, [1, "b\nc"]], "none": null, "tiny": 1e-9});
        assert_eq!(
            block(&value, MANNER).join("\n"),
            "inputs:\n  q:\n    type: string\n    default: []\nnodes:\n- name: a\n  text: |\n    x\n    y\n- - 1\n  - |-\n    b\n    c\nnone: null\ntiny: 1.0e-9"
        );
    }

    /// Any value, texts full of characters that matter to YAML.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("JSON has no such number", |number| number.is_finite())
                .prop_map(Value::from),
            "[-a-c:{}\\[\\]&*!|>'\"%#,?\\\\ \n\r\t~0-2.é\u{85}\u{2028}]{0,12}".prop_map(Value::from),
            "(yes|no|on|null|1_0|0o7|1e5|<<|=|---|[.]{3}|[$][{]a[.]output[}])".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c: #'\n]{0,4}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(value in any_value(), is_careful: bool, list_indent in 0..3usize) {
            let manner = Manner { is_careful, list_indent, ..MANNER };
            for text in [block(&value, manner).join("\n") + "\n", format!("{}\n", inline(&value, Context::Flow, manner))] {
                let document = YamlDocument::parse(text.as_bytes(), None);
                prop_assert!(document.findings().is_empty(), "{text:?} {:?}", document.findings());
                prop_assert_eq!(document.value(), &value, "{:?}", text);
            }
        }
    }
}
