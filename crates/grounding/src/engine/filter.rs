//! Filters on metadata, the same for every engine: [`Filter::parse`] reads what users write, [`Filter::holds`] says what
//! it means, and every engine is checked against that.
//!
//! ```
//! use flowbench_grounding::engine::Filter;
//! use serde_json::{Map, json};
//!
//! let written: Map<_, _> = [("team".to_owned(), json!(["ops", "dev"]))].into_iter().collect();
//! let filter = Filter::parse(&written)?;
//! assert_eq!(filter.conditions[0].field, "team");
//! # Ok::<(), flowbench_grounding::engine::FilterError>(())
//! ```

use flowbench_corpus::chunk::Chunk;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

/// Conditions that all must hold. Fields are `document`, `source`, `language`, `page`, `heading`, or a key of the
/// document's metadata (`author`, `team`, nested ones with dots).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// One field and what it must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Field.
    pub field: String,
    /// What it must be.
    pub test: Test,
}

/// What a field must be. A list in the metadata holds a test if one of its items does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// This text, number or truth value.
    Is(Value),
    /// One of these.
    AnyOf(Vec<Value>),
    /// None of these (a chunk without the field holds).
    NoneOf(Vec<Value>),
    /// Numbers (and dates as text `2026-01-31…`, compared as such) in these bounds.
    Within {
        /// At least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<Value>,
        /// At most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<Value>,
    },
    /// Text that begins so; for `document`, a folder.
    StartsWith(String),
    /// Present, or absent.
    Exists(bool),
}

/// Operators that users write, as the error message lists them.
const OPERATORS: &[&str] = &["is", "any_of", "none_of", "at_least", "at_most", "starts_with", "exists"];

/// A filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FilterError {
    /// Not an operator.
    #[error("the filter on `{field}` has the unknown operator `{operator}`; known are {}", known_operators())]
    Operator {
        /// Field.
        field: String,
        /// What was written.
        operator: String,
    },
    /// An operator with something that it cannot use.
    #[error("the filter on `{field}`: `{operator}` needs {needed}")]
    Operand {
        /// Field.
        field: String,
        /// Operator.
        operator: String,
        /// What it needs.
        needed: &'static str,
    },
    /// Nothing to compare with.
    #[error("the filter on `{field}` says nothing; absent fields are asked for with `exists: false`")]
    Nothing {
        /// Field.
        field: String,
    },
}

fn known_operators() -> String {
    OPERATORS.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Filter {
    /// Reads the forms that users write: `{team: ops}`, `{team: [ops, dev]}`, `{year: {at_least: 2020}}`. Fails on
    /// operators that do not exist and on values that they cannot compare with.
    pub fn parse(written: &Map<String, Value>) -> Result<Self, FilterError> {
        let mut conditions = Vec::new();
        for (field, value) in written {
            match value {
                Value::Null => return Err(FilterError::Nothing { field: field.clone() }),
                Value::Array(items) => {
                    conditions.push(Condition {
                        field: field.clone(),
                        test: Test::AnyOf(scalars(field, "any_of", items)?),
                    });
                }
                Value::Object(operators) => parse_operators(field, operators, &mut conditions)?,
                scalar => conditions.push(Condition { field: field.clone(), test: Test::Is(scalar.clone()) }),
            }
        }
        Ok(Self { conditions })
    }

    /// True if all conditions hold for a chunk. This is what a filter means; engines only find the same faster.
    pub fn holds(&self, chunk: &Chunk) -> bool {
        self.conditions.iter().all(|condition| condition.holds(chunk))
    }

    /// True if there is no condition.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }
}

fn parse_operators(
    field: &str,
    operators: &Map<String, Value>,
    conditions: &mut Vec<Condition>,
) -> Result<(), FilterError> {
    if operators.is_empty() {
        return Err(FilterError::Nothing { field: field.to_owned() });
    }
    let (mut at_least, mut at_most) = (None, None);
    for (operator, operand) in operators {
        let refused =
            |needed| FilterError::Operand { field: field.to_owned(), operator: operator.clone(), needed };
        let list = || match operand {
            Value::Array(items) => scalars(field, operator, items),
            _ => Err(refused("a list")),
        };
        let bound = || match operand {
            Value::Number(_) | Value::String(_) => Ok(Some(operand.clone())),
            _ => Err(refused("a number or a date as text")),
        };
        let test = match operator.as_str() {
            "is" if scalar_key(operand).is_some() => Test::Is(operand.clone()),
            "is" => return Err(refused("text, a number or a truth value")),
            "any_of" => Test::AnyOf(list()?),
            "none_of" => Test::NoneOf(list()?),
            "at_least" => {
                at_least = bound()?;
                continue;
            }
            "at_most" => {
                at_most = bound()?;
                continue;
            }
            "starts_with" => match operand.as_str() {
                Some(start) => Test::StartsWith(start.to_owned()),
                None => return Err(refused("text")),
            },
            "exists" => match operand.as_bool() {
                Some(exists) => Test::Exists(exists),
                None => return Err(refused("`true` or `false`")),
            },
            _ => {
                return Err(FilterError::Operator { field: field.to_owned(), operator: operator.clone() });
            }
        };
        conditions.push(Condition { field: field.to_owned(), test });
    }
    if let (Some(low), Some(high)) = (&at_least, &at_most)
        && low.is_number() != high.is_number()
    {
        return Err(FilterError::Operand {
            field: field.to_owned(),
            operator: "at_most".to_owned(),
            needed: "the same kind of value as `at_least`",
        });
    }
    if at_least.is_some() || at_most.is_some() {
        conditions.push(Condition { field: field.to_owned(), test: Test::Within { at_least, at_most } });
    }
    Ok(())
}

fn scalars(field: &str, operator: &str, items: &[Value]) -> Result<Vec<Value>, FilterError> {
    match items.iter().all(|item| scalar_key(item).is_some()) {
        true => Ok(items.to_vec()),
        false => Err(FilterError::Operand {
            field: field.to_owned(),
            operator: operator.to_owned(),
            needed: "texts, numbers or truth values in its list",
        }),
    }
}

impl Condition {
    /// True if it holds for a chunk.
    pub fn holds(&self, chunk: &Chunk) -> bool {
        match Part::of(&self.field) {
            Part::Page => self.test.holds_for_page(chunk.source.page),
            Part::Heading => self.test.holds_for_text(chunk.source.heading.as_deref()),
            Part::Document => self.holds_for_document(
                &chunk.source.document,
                &chunk.origin,
                &chunk.language,
                &chunk.metadata,
            ),
        }
    }

    /// The same for fields that all chunks of a document share.
    pub(crate) fn holds_for_document(
        &self,
        document: &str,
        origin: &str,
        language: &str,
        metadata: &Map<String, Value>,
    ) -> bool {
        match self.field.as_str() {
            "document" => self.test.holds_for_text(Some(document)),
            "source" => self.test.holds_for_text(Some(origin)),
            "language" => self.test.holds_for_text(Some(language).filter(|language| !language.is_empty())),
            field => {
                let mut found = Found::default();
                found.walk(metadata, field);
                self.test.holds_for(found.is_present, &found.values)
            }
        }
    }
}

/// What a field is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The same for all chunks of a document.
    Document,
    /// Where a chunk stands.
    Page,
    /// What it stands below.
    Heading,
}

impl Part {
    pub(crate) fn of(field: &str) -> Self {
        match field {
            "page" => Self::Page,
            "heading" => Self::Heading,
            _ => Self::Document,
        }
    }
}

impl Test {
    pub(crate) fn holds_for_page(&self, page: Option<u32>) -> bool {
        match page.map(Value::from) {
            Some(page) => self.holds_for(true, &[&page]),
            None => self.holds_for(false, &[]),
        }
    }

    pub(crate) fn holds_for_text(&self, text: Option<&str>) -> bool {
        match text.map(Value::from) {
            Some(text) => self.holds_for(true, &[&text]),
            None => self.holds_for(false, &[]),
        }
    }

    fn holds_for(&self, is_present: bool, values: &[&Value]) -> bool {
        match self {
            Self::Is(wanted) => values.iter().any(|value| is_same(value, wanted)),
            Self::AnyOf(wanted) => {
                values.iter().any(|value| wanted.iter().any(|wanted| is_same(value, wanted)))
            }
            Self::NoneOf(unwanted) => {
                !values.iter().any(|value| unwanted.iter().any(|unwanted| is_same(value, unwanted)))
            }
            Self::Within { at_least, at_most } => {
                values.iter().any(|value| is_within(value, at_least.as_ref(), at_most.as_ref()))
            }
            Self::StartsWith(start) => {
                values.iter().any(|value| value.as_str().is_some_and(|text| text.starts_with(start)))
            }
            Self::Exists(wanted) => is_present == *wanted,
        }
    }
}

/// Values of a field in metadata. `a.b` is both the key `a.b` and the key `b` of what is below `a`; lists are walked
/// through on every level.
#[derive(Default)]
struct Found<'a> {
    /// Something is there; no value, an empty list and a list of these are nothing.
    is_present: bool,
    /// Texts, numbers and truth values.
    values: Vec<&'a Value>,
}

impl<'a> Found<'a> {
    fn walk(&mut self, object: &'a Map<String, Value>, path: &str) {
        if let Some(value) = object.get(path) {
            self.take(value);
        }
        for (at, _) in path.match_indices('.') {
            if let Some(value) = object.get(&path[..at]) {
                self.below(value, &path[at + 1..]);
            }
        }
    }

    fn below(&mut self, value: &'a Value, path: &str) {
        match value {
            Value::Object(object) => self.walk(object, path),
            Value::Array(items) => items.iter().for_each(|item| self.below(item, path)),
            _ => {}
        }
    }

    fn take(&mut self, value: &'a Value) {
        match value {
            Value::Null => {}
            Value::Array(items) => items.iter().for_each(|item| self.take(item)),
            Value::Object(_) => self.is_present = true,
            scalar => {
                self.is_present = true;
                self.values.push(scalar);
            }
        }
    }
}

/// Every field of a metadata object with its values, as [`Condition::holds`] would find them; for engines that are
/// given values instead of asking for them. A field without a value (an object) comes with `None`.
pub(crate) fn fields_of<'a>(
    metadata: &'a Map<String, Value>,
    prefix: &str,
    put: &mut dyn FnMut(&str, Option<&'a Value>),
) {
    for (key, value) in metadata {
        let path = match prefix.is_empty() {
            true => key.clone(),
            false => format!("{prefix}.{key}"),
        };
        field_values(value, &path, put);
    }
}

fn field_values<'a>(value: &'a Value, path: &str, put: &mut dyn FnMut(&str, Option<&'a Value>)) {
    match value {
        Value::Null => {}
        Value::Array(items) => items.iter().for_each(|item| field_values(item, path, put)),
        Value::Object(object) => {
            put(path, None);
            fields_of(object, path, put);
        }
        scalar => put(path, Some(scalar)),
    }
}

/// A text, number or truth value as text that is equal exactly where the values are; `None` for others.
pub(crate) fn scalar_key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(format!("s:{text}")),
        Value::Bool(truth) => Some(format!("b:{truth}")),
        Value::Number(number) => Some(match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => format!("n:{whole}"),
            (_, Some(whole), _) => format!("n:{whole}"),
            // Below 2^53 a number without a fraction is a whole one, however it was written.
            (_, _, Some(number)) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
                format!("n:{}", number as i64)
            }
            (_, _, number) => format!("n:{:?}", number.unwrap_or(f64::NAN)),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_same(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::String(value), Value::String(wanted)) => value == wanted,
        (Value::Bool(value), Value::Bool(wanted)) => value == wanted,
        (Value::Number(_), Value::Number(_)) => scalar_key(value) == scalar_key(wanted),
        _ => false,
    }
}

/// Numbers with numbers, text with text, both bounds on the same value. Without any bound nothing is within.
pub(crate) fn is_within(value: &Value, at_least: Option<&Value>, at_most: Option<&Value>) -> bool {
    let is_held = |bound: &Value, is_low: bool| match (value, bound) {
        (Value::Number(value), Value::Number(bound)) => match (value.as_f64(), bound.as_f64()) {
            (Some(value), Some(bound)) => (is_low && value >= bound) || (!is_low && value <= bound),
            _ => false,
        },
        (Value::String(value), Value::String(bound)) => {
            (is_low && value >= bound) || (!is_low && value <= bound)
        }
        _ => false,
    };
    (at_least.is_some() || at_most.is_some())
        && at_least.is_none_or(|bound| is_held(bound, true))
        && at_most.is_none_or(|bound| is_held(bound, false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chunk() -> Chunk {
        let Value::Object(metadata) = json!({
            "team": ["ops", "dev"], "year": 2021, "draft": false, "author": {"name": "Ada"}, "gone": null,
            "tags": [], "reviewers": [{"name": "Bo"}, {"name": "Cy"}], "date": "2026-01-31", "a.b": 1, "a": {"b": 2}
        }) else {
            unreachable!("an object")
        };
        let mut chunk = Chunk { language: "en".to_owned(), metadata, ..Chunk::default() };
        chunk.source.document = "guides/start.md".to_owned();
        chunk.source.page = Some(3);
        chunk
    }

    #[track_caller]
    fn check(written: Value, expected: bool) {
        let filter = Filter::parse(written.as_object().unwrap()).unwrap();
        assert_eq!(filter.holds(&chunk()), expected, "{written}");
    }

    #[test]
    fn filters_mean_what_they_say() {
        check(json!({}), true);
        check(json!({"team": "ops"}), true);
        check(json!({"team": "Ops"}), false);
        check(json!({"team": ["x", "dev"]}), true);
        check(json!({"team": {"none_of": ["x"]}}), true);
        check(json!({"team": {"none_of": ["dev"]}}), false);
        check(json!({"missing": {"none_of": ["dev"]}}), true);
        check(json!({"year": 2021}), true);
        check(json!({"year": 2021.0}), true);
        check(json!({"year": "2021"}), false);
        check(json!({"year": {"at_least": 2020, "at_most": 2021}}), true);
        check(json!({"year": {"at_least": 2022}}), false);
        check(json!({"date": {"at_least": "2026-01", "at_most": "2026-02"}}), true);
        check(json!({"date": {"at_least": 1}}), false);
        check(json!({"draft": false}), true);
        check(json!({"document": {"starts_with": "guides/"}}), true);
        check(json!({"document": {"starts_with": "other/"}}), false);
        check(json!({"page": 3, "language": "en"}), true);
        check(json!({"heading": {"exists": false}}), true);
        check(json!({"gone": {"exists": true}}), false);
        check(json!({"tags": {"exists": true}}), false);
        check(json!({"author": {"exists": true}}), true);
        check(json!({"author.name": "Ada"}), true);
        check(json!({"reviewers.name": "Cy"}), true);
        check(json!({"a.b": 1}), true);
        check(json!({"a.b": 2}), true);
    }

    #[track_caller]
    fn check_refused(written: Value, expected: &str) {
        let error = Filter::parse(written.as_object().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn filters_that_say_nothing_sensible_are_refused() {
        check_refused(
            json!({"team": {"like": "o"}}),
            "the filter on `team` has the unknown operator `like`; known are `is`, `any_of`, `none_of`, `at_least`, \
             `at_most`, `starts_with`, `exists`",
        );
        check_refused(json!({"team": {"any_of": "ops"}}), "the filter on `team`: `any_of` needs a list");
        check_refused(
            json!({"team": null}),
            "the filter on `team` says nothing; absent fields are asked for with `exists: false`",
        );
        check_refused(
            json!({"year": {"at_least": 1, "at_most": "x"}}),
            "the filter on `year`: `at_most` needs the same kind of value as `at_least`",
        );
        check_refused(
            json!({"team": [["ops"]]}),
            "the filter on `team`: `any_of` needs texts, numbers or truth values in its list",
        );
    }
}
