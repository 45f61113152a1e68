//! What a plain scalar means: the rules of the loader that prompt flow uses (YAML 1.2 unless the file says 1.1).

use serde_json::{Number, Value};

/// What a plain scalar is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    Value(Value),
    /// A number that JSON cannot hold; kept as text.
    BeyondJson,
    /// `<<`.
    Merge,
}

/// Resolves a plain scalar. Timestamps stay text.
pub(crate) fn resolve_plain(text: &str, is_yaml_1_1: bool) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Value(Value::Null),
        "true" | "True" | "TRUE" => return Meaning::Value(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Meaning::Value(Value::Bool(false)),
        "<<" => return Meaning::Merge,
        _ => {}
    }
    if is_yaml_1_1 && let Some(flag) = yaml_1_1_bool(text) {
        return Meaning::Value(Value::Bool(flag));
    }
    // Every number starts with one of these; most texts end here.
    if !text.starts_with(|c: char| matches!(c, '-' | '+' | '.' | '0'..='9')) {
        return Meaning::Value(Value::String(text.to_owned()));
    }
    if let Some(meaning) = int(text, is_yaml_1_1) {
        return meaning;
    }
    if is_float(text, is_yaml_1_1) {
        return float(text);
    }
    if is_yaml_1_1 && let Some(number) = sexagesimal(text) {
        return Meaning::Value(Value::Number(number));
    }
    Meaning::Value(Value::String(text.to_owned()))
}

/// True if any reader, of YAML 1.1 or 1.2, could take the plain text for something else than text.
pub(crate) fn is_doubtful_plain(text: &str) -> bool {
    // YAML 1.1 names these as truth values; its readers never followed, and inputs are often called so.
    if matches!(text, "y" | "n" | "Y" | "N") {
        return false;
    }
    let is_text = |version_1_1| matches!(resolve_plain(text, version_1_1), Meaning::Value(Value::String(_)));
    !is_text(false)
        || !is_text(true)
        || text == "="
        || text.starts_with(|c: char| c.is_ascii_digit()) && looks_like_timestamp(text)
        || looks_like_exponent(text)
}

/// `.5e3` and the like are text to one reader and numbers to another.
fn looks_like_exponent(text: &str) -> bool {
    text.starts_with(|c: char| matches!(c, '-' | '+' | '.' | '0'..='9')) && text.parse::<f64>().is_ok()
}

fn looks_like_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

fn yaml_1_1_bool(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn int(text: &str, is_yaml_1_1: bool) -> Option<Meaning> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_negative = text.starts_with('-');
    let with_radix = |digits: &str, radix: u32| -> Option<Meaning> {
        let plain: String = digits.chars().filter(|c| *c != '_').collect();
        if plain.is_empty() || !digits.chars().all(|c| c == '_' || c.is_digit(radix)) {
            return None;
        }
        Some(integer(&plain, radix, is_negative))
    };
    if let Some(digits) = unsigned.strip_prefix("0b") {
        return with_radix(digits, 2);
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return with_radix(digits, 16);
    }
    if let Some(digits) = unsigned.strip_prefix("0o") {
        return if is_yaml_1_1 { None } else { with_radix(digits, 8) };
    }
    if !unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        return None;
    }
    // The loader takes `0123` for 123 in YAML 1.2, and for octal in 1.1.
    if is_yaml_1_1 && unsigned.len() > 1 && unsigned.starts_with('0') {
        return with_radix(unsigned, 8);
    }
    with_radix(unsigned, 10)
}

fn integer(digits: &str, radix: u32, is_negative: bool) -> Meaning {
    match i128::from_str_radix(digits, radix) {
        Ok(number) => {
            let number = if is_negative { -number } else { number };
            if let Ok(number) = i64::try_from(number) {
                return Meaning::Value(Value::from(number));
            }
            if let Ok(number) = u64::try_from(number) {
                return Meaning::Value(Value::from(number));
            }
            Meaning::BeyondJson
        }
        Err(_) => Meaning::BeyondJson,
    }
}

/// The loader's pattern for floats.
fn is_float(text: &str, is_yaml_1_1: bool) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return true,
        ".nan" | ".NaN" | ".NAN" => return unsigned.len() == text.len(),
        _ => {}
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let whole_exponent = |exponent: &str, needs_sign: bool| {
        let bare = exponent.strip_prefix(['-', '+']);
        let number = bare.unwrap_or(exponent);
        (!needs_sign || bare.is_some()) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    if mantissa.starts_with(|c: char| c.is_ascii_digit()) {
        return match (mantissa.split_once('.'), exponent) {
            (Some((whole, part)), None) => digits(whole) && digits(part),
            (Some((whole, part)), Some(exponent)) => {
                digits(whole) && digits(part) && whole_exponent(exponent, false)
            }
            (None, Some(exponent)) => digits(mantissa) && whole_exponent(exponent, false),
            (None, None) => false,
        };
    }
    // `.5`; in YAML 1.1 without a sign, and its exponent always with one.
    let Some(part) = mantissa.strip_prefix('.') else { return false };
    let has_sign = unsigned.len() != text.len();
    if is_yaml_1_1 && has_sign {
        return false;
    }
    digits(part)
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && exponent.is_none_or(|exponent| whole_exponent(exponent, true))
}

fn float(text: &str) -> Meaning {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    match plain.parse::<f64>().ok().and_then(Number::from_f64) {
        Some(number) => Meaning::Value(Value::Number(number)),
        None => Meaning::BeyondJson,
    }
}

/// `1:30` and `1:30.5` of YAML 1.1.
fn sexagesimal(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let parts: Vec<&str> = unsigned.split(':').collect();
    if parts.len() < 2 || !parts[0].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (last, middle) = parts[1..].split_last()?;
    let is_sixtieth =
        |part: &str| matches!(part.len(), 1 | 2) && part.parse::<u8>().is_ok_and(|number| number < 60);
    let (whole, fraction) = match last.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (*last, None),
    };
    if !middle.iter().all(|part| is_sixtieth(part)) || !is_sixtieth(whole) {
        return None;
    }
    let plain: String = parts[0].chars().filter(|c| *c != '_').collect();
    if fraction.is_none() && (plain.starts_with('0') || parts[0].starts_with('0')) {
        return None;
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let mut total: i64 = plain.parse().ok()?;
    for part in middle.iter().copied().chain([whole]) {
        total = total.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    match fraction {
        None => Some(Number::from(sign * total)),
        Some(fraction) => {
            let digits: String = fraction.chars().filter(|c| *c != '_').collect();
            let part: f64 = format!("0.{digits}0").parse().ok()?;
            #[expect(clippy::cast_precision_loss, reason = "YAML 1.1 says so")]
            Number::from_f64(sign as f64 * (total as f64 + part))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(resolve_plain(text, false), Meaning::Value(expected), "{text}");
    }

    #[test]
    fn plain_texts_mean_what_the_loader_of_prompt_flow_says() {
        check("yes", json!("yes"));
        check("off", json!("off"));
        check("True", json!(true));
        check("tRUE", json!("tRUE"));
        check("~", json!(null));
        check("0123", json!(123));
        check("0o17", json!(15));
        check("0x1F", json!(31));
        check("0b101", json!(5));
        check("1_000", json!(1000));
        check("-7", json!(-7));
        check("1.", json!(1.0));
        check(".5", json!(0.5));
        check(".5e3", json!(".5e3"));
        check("1e3", json!(1000.0));
        check("1.5E-3", json!(0.0015));
        check("2024-01-31", json!("2024-01-31"));
        check("1:30", json!("1:30"));
        check("+", json!("+"));
        check("-_", json!("-_"));
        check("18446744073709551615", json!(u64::MAX));
        assert_eq!(resolve_plain("18446744073709551616", false), Meaning::BeyondJson);
        assert_eq!(resolve_plain(".inf", false), Meaning::BeyondJson);
    }

    #[test]
    fn a_file_that_says_yaml_1_1_gets_its_rules() {
        let meaning = |text| resolve_plain(text, true);
        assert_eq!(meaning("yes"), Meaning::Value(json!(true)));
        assert_eq!(meaning("0123"), Meaning::Value(json!(83)));
        assert_eq!(meaning("1:30"), Meaning::Value(json!(90)));
        assert_eq!(meaning("1:30.5"), Meaning::Value(json!(90.5)));
    }
}
