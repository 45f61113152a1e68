//! A value that fits a JSON Schema: what `json` answers and what `tool-caller` passes.

use serde_json::{Map, Value, json};

/// Deepest nesting made; schemas may refer to themselves.
const DEEPEST: usize = 8;

/// An instance of `schema`; texts say `text` where the schema does not say what they must be.
pub(super) fn instance(schema: &Value, text: &str) -> Value {
    Maker { root: schema, text }.make(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    text: &'a str,
}

impl Maker<'_> {
    fn make(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Null;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return found.map_or(Value::Null, |found| self.make(found, depth + 1));
        }
        if let Some(value) = schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
            return value.clone();
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = schema.get(choice).and_then(|choices| choices.get(0)) {
                return self.make(first, depth + 1);
            }
        }
        match type_of(schema) {
            "object" => self.object(schema, depth),
            "array" => {
                let item =
                    schema.get("items").map_or_else(|| json!(self.text), |items| self.make(items, depth + 1));
                let fewest = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 100);
                Value::Array((0..fewest).map(|_| item.clone()).collect())
            }
            "integer" => json!(bound(schema).map_or(1, |bound| bound.ceil() as i64)),
            "number" => bound(schema).map_or_else(|| json!(1), |bound| json!(bound)),
            "boolean" => json!(true),
            "null" => Value::Null,
            _ => json!(self.string(schema)),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return json!({}) };
        let made: Map<String, Value> =
            properties.iter().map(|(name, schema)| (name.clone(), self.make(schema, depth + 1))).collect();
        Value::Object(made)
    }

    fn string(&self, schema: &Value) -> String {
        match schema.get("format").and_then(Value::as_str) {
            Some("date") => return "2026-01-31".to_owned(),
            Some("date-time") => return "2026-01-31T12:00:00Z".to_owned(),
            Some("email") => return "someone@example.com".to_owned(),
            Some("uri") => return "https://example.com/".to_owned(),
            _ => {}
        }
        let limit = |name: &str| {
            schema.get(name).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok())
        };
        let mut text: String = self.text.chars().take(limit("maxLength").unwrap_or(usize::MAX)).collect();
        let length = text.chars().count();
        text.extend(std::iter::repeat_n(
            'x',
            limit("minLength").unwrap_or(0).min(1000).saturating_sub(length),
        ));
        text
    }
}

fn type_of(schema: &Value) -> &str {
    let named = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        other => other.and_then(Value::as_str),
    };
    named.unwrap_or(if schema.get("properties").is_some() { "object" } else { "string" })
}

/// The nearest allowed number to 1.
fn bound(schema: &Value) -> Option<f64> {
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    let least = number("minimum").or_else(|| number("exclusiveMinimum").map(|bound| bound + 1.0));
    let most = number("maximum").or_else(|| number("exclusiveMaximum").map(|bound| bound - 1.0));
    match (least, most) {
        (Some(least), _) if least > 1.0 => Some(least),
        (_, Some(most)) if most < 1.0 => Some(most),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: Value, expected: Value) {
        assert_eq!(instance(&schema, "hello"), expected);
    }

    #[test]
    fn instances_fit_their_schema() {
        check(
            json!({"type": "object", "properties": {
                "label": {"enum": ["good", "bad"]},
                "score": {"type": "number", "minimum": 5},
                "names": {"type": "array", "items": {"type": "string", "maxLength": 2}},
                "sure": {"type": ["null", "boolean"]},
                "place": {"$ref": "#/$defs/place"}},
                "$defs": {"place": {"properties": {"city": {"type": "string"}}}}}),
            json!({"label": "good", "score": 5.0, "names": ["he"], "sure": true, "place": {"city": "hello"}}),
        );
        check(json!({}), json!("hello"));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let made = instance(&json!({"properties": {"next": {"$ref": "#"}}}), "x");
        assert!(made.to_string().ends_with("null}}}}}}}}}") || made.to_string().contains("null"));
    }
}
