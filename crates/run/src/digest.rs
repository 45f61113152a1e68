//! Digests of values: equal for equal JSON, whatever the order of keys.

use serde_json::Value;

/// Hex digest of a value.
pub fn digest_value(value: &Value) -> String {
    let mut hasher = blake3::Hasher::new();
    feed(value, &mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// Hex digest of bytes.
pub fn digest_bytes(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Every part is fed with its kind and length, so that no two different values feed the same bytes.
fn feed(value: &Value, hasher: &mut blake3::Hasher) {
    fn text(kind: u8, text: &str, hasher: &mut blake3::Hasher) {
        hasher.update(&[kind]);
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    match value {
        Value::Null => {
            hasher.update(b"n");
        }
        Value::Bool(flag) => {
            hasher.update(if *flag { b"t" } else { b"f" });
        }
        Value::Number(number) => text(b'd', &number.to_string(), hasher),
        Value::String(string) => text(b's', string, hasher),
        Value::Array(items) => {
            hasher.update(b"a");
            hasher.update(&(items.len() as u64).to_le_bytes());
            for item in items {
                feed(item, hasher);
            }
        }
        Value::Object(map) => {
            hasher.update(b"o");
            hasher.update(&(map.len() as u64).to_le_bytes());
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            for key in keys {
                text(b'k', key, hasher);
                feed(&map[key], hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_of_keys_does_not_matter_and_everything_else_does() {
        assert_eq!(digest_value(&json!({"a": 1, "b": 2})), digest_value(&json!({"b": 2, "a": 1})));
        assert_ne!(digest_value(&json!(["ab", "c"])), digest_value(&json!(["a", "bc"])));
        assert_ne!(digest_value(&json!(1)), digest_value(&json!(1.0)));
        assert_ne!(digest_value(&json!(null)), digest_value(&json!("")));
    }
}
