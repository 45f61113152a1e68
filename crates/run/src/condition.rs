//! Conditions of `activate`: prompt flow's equality, and ours beyond it.

use flowbench_core::flow::Comparison;
use flowbench_core::value::{python_equal, python_text, python_truth};
use regex::RegexBuilder;
use serde_json::Value;

use crate::failure::NodeFailure;

/// Largest compiled expression; a pattern that needs more is a mistake or an attack.
const PATTERN_LIMIT_BYTES: usize = 1 << 20;

/// Compares a value as a condition says.
pub fn holds(value: &Value, comparison: Comparison, with: &Value) -> Result<bool, NodeFailure> {
    Ok(match comparison {
        Comparison::Is => python_equal(value, with),
        Comparison::IsNot => !python_equal(value, with),
        Comparison::In => contains(with, value),
        Comparison::NotIn => !contains(with, value),
        Comparison::Gt => order(value, with)?.is_gt(),
        Comparison::Ge => order(value, with)?.is_ge(),
        Comparison::Lt => order(value, with)?.is_lt(),
        Comparison::Le => order(value, with)?.is_le(),
        Comparison::Contains => contains(value, with),
        Comparison::Matches => {
            let pattern = python_text(with);
            RegexBuilder::new(&pattern)
                .size_limit(PATTERN_LIMIT_BYTES)
                .build()
                .map_err(|error| {
                    NodeFailure::new("activate/pattern", format!("`activate.matches`: {error}"))
                })?
                .is_match(&python_text(value))
        }
        Comparison::Exists => python_truth(value) == python_truth(with),
    })
}

fn contains(whole: &Value, part: &Value) -> bool {
    match whole {
        Value::Array(items) => items.iter().any(|item| python_equal(item, part)),
        Value::Object(map) => part.as_str().is_some_and(|key| map.contains_key(key)),
        Value::String(text) => part.as_str().is_some_and(|part| text.contains(part)),
        _ => false,
    }
}

fn order(a: &Value, b: &Value) -> Result<std::cmp::Ordering, NodeFailure> {
    let compared = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    compared.ok_or_else(|| {
        NodeFailure::new(
            "activate/order",
            format!("`activate` cannot order `{}` and `{}`", python_text(a), python_text(b)),
        )
        .hint("compare two numbers or two texts")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_compare_as_written() {
        let cases = [
            (json!(true), Comparison::Is, json!(1), true),
            (json!("true"), Comparison::Is, json!(true), false),
            (json!("b"), Comparison::In, json!(["a", "b"]), true),
            (json!(0.7), Comparison::Ge, json!(0.5), true),
            (json!("2 apples"), Comparison::Matches, json!(r"^\d+ "), true),
            (json!([1, 2]), Comparison::Contains, json!(2.0), true),
            (json!(""), Comparison::Exists, json!(true), false),
        ];
        for (value, comparison, with, expected) in cases {
            assert_eq!(holds(&value, comparison, &with).unwrap(), expected, "{value} {comparison:?} {with}");
        }
        assert!(holds(&json!("a"), Comparison::Gt, &json!(1)).is_err());
    }
}
