//! Literals of Python, for defaults.

use flowbench_core::value::ValueType;
use serde_json::{Map, Value};
use tree_sitter::Node;

const MAX_DEPTH: usize = 16;

/// The value of a literal; `None` for anything that would have to be run.
pub(super) fn read(node: Node<'_>, source: &str) -> Option<Value> {
    read_at(node, source, 0)
}

fn read_at(node: Node<'_>, source: &str, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let text = source.get(node.byte_range())?;
    let mut cursor = node.walk();
    let mut inner = node.named_children(&mut cursor).filter(|child| child.kind() != "comment");
    match node.kind() {
        "none" => Some(Value::Null),
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        "integer" => integer(&text.replace('_', "")).map(Value::from),
        "float" => serde_json::Number::from_f64(text.replace('_', "").parse().ok()?).map(Value::Number),
        "string" => string(text).map(Value::from),
        "concatenated_string" => {
            let parts: Option<String> = inner.map(|part| string(source.get(part.byte_range())?)).collect();
            parts.map(Value::from)
        }
        "unary_operator" if text.starts_with('-') => match read_at(inner.next()?, source, depth + 1)? {
            Value::Number(number) if number.is_i64() => Some(Value::from(number.as_i64()?.checked_neg()?)),
            Value::Number(number) => Some(Value::from(-number.as_f64()?)),
            _ => None,
        },
        "parenthesized_expression" => read_at(inner.next()?, source, depth + 1),
        "list" | "tuple" => {
            inner.map(|item| read_at(item, source, depth + 1)).collect::<Option<_>>().map(Value::Array)
        }
        "dictionary" => {
            let mut map = Map::new();
            for pair in inner {
                let key = read_at(pair.child_by_field_name("key")?, source, depth + 1)?;
                let value = read_at(pair.child_by_field_name("value")?, source, depth + 1)?;
                map.insert(key.as_str()?.to_owned(), value);
            }
            Some(Value::Object(map))
        }
        _ => None,
    }
}

/// The type of a parameter that has only a default.
pub(super) fn type_of(default: Option<&Value>) -> ValueType {
    match default {
        Some(Value::Bool(_)) => ValueType::Bool,
        Some(Value::Number(number)) if number.is_f64() => ValueType::Double,
        Some(Value::Number(_)) => ValueType::Int,
        Some(Value::String(_)) => ValueType::String,
        Some(Value::Array(_)) => ValueType::List,
        Some(Value::Null | Value::Object(_)) | None => ValueType::Object,
    }
}

fn integer(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            return i64::from_str_radix(digits, radix).ok();
        }
    }
    lower.parse().ok()
}

/// A string literal's text; `None` for formatted and byte strings and for escapes by name.
fn string(text: &str) -> Option<String> {
    let quote_at = text.find(['"', '\''])?;
    let prefix = text[..quote_at].to_ascii_lowercase();
    if !matches!(prefix.as_str(), "" | "r" | "u") {
        return None;
    }
    let body = &text[quote_at..];
    let quote =
        if body.len() >= 6 && (body.starts_with("\"\"\"") || body.starts_with("'''")) { 3 } else { 1 };
    let body = body.get(quote..body.len().checked_sub(quote)?)?;
    if prefix == "r" {
        return Some(body.to_owned());
    }
    let mut result = String::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match rest.next()? {
            'x' => result.push(take_code(&mut rest, 2)?),
            'u' => result.push(take_code(&mut rest, 4)?),
            'U' => result.push(take_code(&mut rest, 8)?),
            'N' | '0'..='7' => return None,
            '\n' => {}
            'n' => result.push('\n'),
            't' => result.push('\t'),
            'r' => result.push('\r'),
            plain @ ('\\' | '\'' | '"') => result.push(plain),
            other => result.extend(['\\', other]),
        }
    }
    Some(result)
}

fn take_code(rest: &mut std::str::Chars<'_>, count: usize) -> Option<char> {
    let digits: String = rest.by_ref().take(count).collect();
    u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == count).and_then(char::from_u32)
}
