//! Values and their types: Python's view of JSON, because flows were written against Python.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use thiserror::Error;

/// Type of a flow input or a tool parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Whole number.
    Int,
    /// Floating-point number.
    Double,
    /// Truth value.
    Bool,
    /// Text.
    String,
    /// List.
    List,
    /// Map.
    Object,
    /// Image.
    Image,
    /// Text not to be shown (tool level).
    Secret,
    /// Template text (tool level).
    PromptTemplate,
    /// Path (tool level).
    FilePath,
    /// Assistant definition (tool level).
    AssistantDefinition,
}

impl ValueType {
    /// Reads prompt flow's word for it.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "int" => Self::Int,
            "double" => Self::Double,
            "bool" => Self::Bool,
            "string" => Self::String,
            "list" => Self::List,
            "object" => Self::Object,
            "image" => Self::Image,
            "secret" => Self::Secret,
            "prompt_template" => Self::PromptTemplate,
            "file_path" => Self::FilePath,
            "assistant_definition" => Self::AssistantDefinition,
            _ => return None,
        })
    }

    /// Prompt flow's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Double => "double",
            Self::Bool => "bool",
            Self::String => "string",
            Self::List => "list",
            Self::Object => "object",
            Self::Image => "image",
            Self::Secret => "secret",
            Self::PromptTemplate => "prompt_template",
            Self::FilePath => "file_path",
            Self::AssistantDefinition => "assistant_definition",
        }
    }
}

/// A value that does not fit its declared type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{value}` is no {expected}")]
pub struct CoercionError {
    /// The value, shortened.
    pub value: String,
    /// The type's word.
    pub expected: &'static str,
}

/// Converts a value to a declared type by prompt flow's rules: int from text and whole numbers, double from
/// text, bool only from bool or the words true and false, list from JSON text, object from JSON text with
/// other text left as it is, string from anything.
pub fn coerce(value: &Value, to: ValueType) -> Result<Value, CoercionError> {
    let refuse = || {
        let text = python_text(value);
        let short: String = text.chars().take(80).collect();
        CoercionError { value: short, expected: to.as_str() }
    };
    match to {
        ValueType::Int => match value {
            Value::Number(number) if number.is_i64() || number.is_u64() => Ok(value.clone()),
            // Python's `int(3.7)` cuts the fraction off.
            Value::Number(number) => number
                .as_f64()
                .filter(|float| float.is_finite() && float.abs() < 9.2e18)
                .map(|float| Value::from(float.trunc() as i64))
                .ok_or_else(refuse),
            Value::Bool(flag) => Ok(Value::from(i64::from(*flag))),
            Value::String(text) => parse_python_int(text).ok_or_else(refuse),
            _ => Err(refuse()),
        },
        ValueType::Double => match value {
            Value::Number(number) => {
                number.as_f64().and_then(Number::from_f64).map(Value::Number).ok_or_else(refuse)
            }
            Value::Bool(flag) => Ok(Value::from(if *flag { 1.0 } else { 0.0 })),
            Value::String(text) => text
                .trim()
                .replace('_', "")
                .parse::<f64>()
                .ok()
                .and_then(Number::from_f64)
                .map(Value::Number)
                .ok_or_else(refuse),
            _ => Err(refuse()),
        },
        ValueType::Bool => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            _ => Err(refuse()),
        },
        ValueType::String => Ok(match value {
            Value::String(_) => value.clone(),
            other => Value::String(python_text(other)),
        }),
        ValueType::List => match value {
            Value::Array(_) => Ok(value.clone()),
            Value::String(text) => match serde_json::from_str::<Value>(text) {
                Ok(list @ Value::Array(_)) => Ok(list),
                _ => Err(refuse()),
            },
            _ => Err(refuse()),
        },
        ValueType::Object => match value {
            Value::String(text) => match serde_json::from_str::<Value>(text) {
                Ok(parsed) => Ok(parsed),
                Err(_) => Ok(value.clone()),
            },
            other => Ok(other.clone()),
        },
        ValueType::Image
        | ValueType::Secret
        | ValueType::PromptTemplate
        | ValueType::FilePath
        | ValueType::AssistantDefinition => Ok(value.clone()),
    }
}

fn parse_python_int(text: &str) -> Option<Value> {
    let text = text.trim();
    // Python allows single underscores between digits.
    if text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return None;
    }
    let digits = text.replace('_', "");
    digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from)).ok()
}

/// Python's `==` on JSON values: `true == 1`, `1 == 1.0`, text never equals a number.
pub fn python_equal(a: &Value, b: &Value) -> bool {
    fn number(value: &Value) -> Option<f64> {
        match value {
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::Number(number) => number.as_f64(),
            _ => None,
        }
    }
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| python_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| python_equal(value, other)))
        }
        (Value::Number(x), Value::Number(y)) => match (x.is_f64(), y.is_f64()) {
            (true, false) => whole_equals_float(y, x),
            (false, true) => whole_equals_float(x, y),
            _ => x == y,
        },
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
    }
}

/// Compares exactly: a large whole number equals only the float that is that number.
fn whole_equals_float(whole: &Number, float: &Number) -> bool {
    let Some(float) = float.as_f64() else { return false };
    let whole = whole.as_i64().map(i128::from).or_else(|| whole.as_u64().map(i128::from));
    float.fract() == 0.0 && float.abs() < 1e30 && whole == Some(float as i128)
}

/// Python's truth of a value: empty text, list and map, zero, false and null are false.
pub fn python_truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Python's `str(value)`: what templates print and what text inputs become.
pub fn python_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => python_repr(other),
    }
}

/// Python's `repr(value)`.
pub fn python_repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, &mut out);
    out
}

fn write_repr(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => out.push_str(&python_float(float)),
            _ => out.push_str(&number.to_string()),
        },
        Value::String(text) => out.push_str(&python_quote(text)),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&python_quote(key));
                out.push_str(": ");
                write_repr(item, out);
            }
            out.push('}');
        }
    }
}

/// Python's `repr(float)`: shortest digits that read back; exponent form below 1e-4 and from 1e16.
pub fn python_float(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        // Rust writes `1e-5`, Python writes `1e-05`: at least two exponent digits, with a sign.
        let text = format!("{float:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    let text = float.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// Python's quoting: single quotes unless the text has one and no double quote; escapes as Python writes them.
pub fn python_quote(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_unprintable(c) => out.push_str(&match c as u32 {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// Ranges of what Python's `str.isprintable` refuses beyond control characters: format characters, blanks other
/// than the plain one, private use (categories Cf, Zs, Zl, Zp, Co of Unicode 14). Unassigned ones are not listed.
const UNPRINTABLE: [(u32, u32); 26] = [
    (0xad, 0xad),
    (0x600, 0x605),
    (0x61c, 0x61c),
    (0x6dd, 0x6dd),
    (0x70f, 0x70f),
    (0x890, 0x891),
    (0x8e2, 0x8e2),
    (0x1680, 0x1680),
    (0x180e, 0x180e),
    (0x2000, 0x200f),
    (0x2028, 0x202f),
    (0x205f, 0x2064),
    (0x2066, 0x206f),
    (0x3000, 0x3000),
    (0xe000, 0xf8ff),
    (0xfeff, 0xfeff),
    (0xfff9, 0xfffb),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x13438),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0001, 0xe0001),
    (0xe0020, 0xe007f),
    (0xf0000, 0xffffd),
    (0x100000, 0x10fffd),
];

fn is_unprintable(c: char) -> bool {
    let code = c as u32;
    code < 0x20
        || (0x7f..0xa1).contains(&code)
        || UNPRINTABLE.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: Value, to: ValueType, expected: Option<Value>) {
        assert_eq!(coerce(&value, to).ok(), expected, "{value} to {to:?}");
    }

    #[test]
    fn inputs_are_coerced_as_prompt_flow_does() {
        check(json!("3"), ValueType::Int, Some(json!(3)));
        check(json!("3.5"), ValueType::Int, None);
        check(json!("2.5"), ValueType::Double, Some(json!(2.5)));
        check(json!("TRUE"), ValueType::Bool, Some(json!(true)));
        check(json!("yes"), ValueType::Bool, None);
        check(json!(1), ValueType::Bool, None);
        check(json!("[1]"), ValueType::List, Some(json!([1])));
        check(json!("a"), ValueType::List, None);
        check(json!("{\"a\":1}"), ValueType::Object, Some(json!({"a":1})));
        check(json!("text"), ValueType::Object, Some(json!("text")));
        check(json!(true), ValueType::String, Some(json!("True")));
        check(json!({"a": [1, "b", null]}), ValueType::String, Some(json!("{'a': [1, 'b', None]}")));
    }

    #[test]
    fn equality_and_text_are_those_of_python() {
        assert!(python_equal(&json!(true), &json!(1)));
        assert!(python_equal(&json!([1.0, {"a": false}]), &json!([1, {"a": 0}])));
        assert!(!python_equal(&json!("true"), &json!(true)));
        for (float, text) in [
            (1.0, "1.0"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (123456.789, "123456.789"),
        ] {
            assert_eq!(python_float(float), text);
        }
        assert_eq!(python_repr(&json!("it's")), "\"it's\"");
        assert_eq!(python_repr(&json!("a\u{7f}\n")), "'a\\x7f\\n'");
        assert_eq!(python_repr(&json!("\u{200b}\u{f0000}å")), "'\\u200b\\U000f0000å'");
    }
}
