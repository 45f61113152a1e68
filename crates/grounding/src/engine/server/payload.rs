//! How chunks and filters look on a server. Every value that a filter can ask for is one text in `facets`, so that one
//! keyword index answers all equalities; numbers are there once more, for ranges. What a server cannot compare (text
//! with bounds, beginnings) is first answered on the tables of documents and headings, and asked as equalities.

use std::collections::{BTreeSet, HashMap};

use flowbench_corpus::chunk::Chunk;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{Condition, Filter, ListValue, PointId, Range, Struct, Value};

use crate::engine::bm25;
use crate::engine::filter::{self, Test, fields_of, scalar_key};

/// What a point is.
pub(super) const KIND: &str = "kind";
pub(super) const CHUNK: &str = "chunk";
pub(super) const PARENT: &str = "parent";
pub(super) const DOCUMENT: &str = "document";
pub(super) const ORDINAL: &str = "ordinal";
pub(super) const FACETS: &str = "facets";
const NUMBERS: &str = "numbers";
/// What points other than chunks carry.
pub(super) const ROWS: &str = "rows";
/// Between a field and its value.
const SEPARATOR: char = '\u{1f}';
/// Longer values are asked for by digest: an index of texts is no place for essays.
const MAX_VALUE_BYTES: usize = 128;

/// The payload of a chunk.
pub(super) fn of(chunk: &Chunk, json: String) -> HashMap<String, Value> {
    let mut facets = BTreeSet::new();
    let mut numbers: HashMap<String, Vec<Value>> = HashMap::new();
    let mut put = |field: &str, value: Option<&serde_json::Value>| {
        facets.insert(present(field));
        if let Some(value) = value {
            facets.extend(facet(field, value));
            if let Some(number) = value.as_f64() {
                numbers.entry(field_key(field)).or_default().push(number.into());
            }
        }
    };
    // What every chunk has comes first: a key of the metadata with the same name is hidden behind it.
    const OWN: [&str; 5] = ["document", "source", "language", "page", "heading"];
    fields_of(&chunk.metadata, "", &mut |field, value| {
        if !OWN.contains(&field) {
            put(field, value);
        }
    });
    put("document", Some(&chunk.source.document.as_str().into()));
    put("source", Some(&chunk.origin.as_str().into()));
    if !chunk.language.is_empty() {
        put("language", Some(&chunk.language.as_str().into()));
    }
    if let Some(page) = chunk.source.page {
        put("page", Some(&page.into()));
    }
    if let Some(heading) = &chunk.source.heading {
        put("heading", Some(&heading.as_str().into()));
    }
    let list = |values: Vec<Value>| Value { kind: Some(Kind::ListValue(ListValue { values })) };
    let numbers = numbers.into_iter().map(|(field, values)| (field, list(values))).collect();
    HashMap::from([
        (KIND.to_owned(), if chunk.is_parent { PARENT } else { CHUNK }.into()),
        (CHUNK.to_owned(), json.into()),
        (DOCUMENT.to_owned(), chunk.source.document.as_str().into()),
        (ORDINAL.to_owned(), i64::from(chunk.ordinal).into()),
        (FACETS.to_owned(), list(facets.into_iter().map(Value::from).collect())),
        (NUMBERS.to_owned(), Value { kind: Some(Kind::StructValue(Struct { fields: numbers })) }),
    ])
}

/// A text of a payload.
pub(super) fn text<'a>(payload: &'a HashMap<String, Value>, key: &str) -> Option<&'a str> {
    match payload.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

fn present(field: &str) -> String {
    format!("{field}{SEPARATOR}")
}

fn facet(field: &str, value: &serde_json::Value) -> Option<String> {
    let mut key = scalar_key(value)?;
    if key.len() > MAX_VALUE_BYTES {
        key = format!("d:{}", blake3::hash(key.as_bytes()).to_hex());
    }
    Some(format!("{field}{SEPARATOR}{key}"))
}

/// A field in a path of Qdrant, where dots and brackets have a meaning.
fn field_key(field: &str) -> String {
    let mut key = String::with_capacity(field.len());
    for letter in field.chars() {
        match letter.is_ascii_alphanumeric() {
            true => key.push(letter),
            false => key.push_str(&format!("_{:x}_", u32::from(letter))),
        }
    }
    key
}

/// A condition as a server can answer it.
pub(super) enum Asked {
    /// All these and none of those.
    Plain { must: Vec<Condition>, must_not: Vec<Condition> },
    /// To be answered on the tables of documents or headings.
    ByTable,
}

/// How a server is asked for a condition.
pub(super) fn asked(condition: &filter::Condition) -> Asked {
    let field = condition.field.as_str();
    let any = |values: &[serde_json::Value]| -> Vec<String> {
        values.iter().filter_map(|value| facet(field, value)).collect()
    };
    let must = |condition| Asked::Plain { must: vec![condition], must_not: Vec::new() };
    match &condition.test {
        Test::Is(value) => must(any_of(any(std::slice::from_ref(value)))),
        Test::AnyOf(values) => must(any_of(any(values))),
        Test::NoneOf(values) => Asked::Plain { must: Vec::new(), must_not: vec![any_of(any(values))] },
        Test::Exists(true) => must(any_of(vec![present(field)])),
        Test::Exists(false) => {
            Asked::Plain { must: Vec::new(), must_not: vec![any_of(vec![present(field)])] }
        }
        Test::Within { at_least, at_most } => {
            let number = |bound: &Option<serde_json::Value>| match bound {
                None => Some(None),
                Some(bound) => bound.as_f64().map(Some),
            };
            match (number(at_least), number(at_most)) {
                (Some(None), Some(None)) => must(nothing()),
                (Some(at_least), Some(at_most)) => must(Condition::range(
                    format!("{NUMBERS}.{}", field_key(field)),
                    Range { gte: at_least, lte: at_most, ..Range::default() },
                )),
                _ => Asked::ByTable,
            }
        }
        Test::StartsWith(_) => Asked::ByTable,
    }
}

/// Any of some facets; nothing where there is none.
fn any_of(facets: Vec<String>) -> Condition {
    match facets.is_empty() {
        true => nothing(),
        false => Condition::matches(FACETS, facets),
    }
}

fn nothing() -> Condition {
    Condition::matches(FACETS, vec![SEPARATOR.to_string()])
}

/// One of these texts in a field.
pub(super) fn one_of(field: &str, texts: &[String]) -> Condition {
    any_of(texts.iter().filter_map(|text| facet(field, &text.as_str().into())).collect())
}

/// Points of a document.
pub(super) fn of_document(document: &str) -> Filter {
    Filter::must([exactly(DOCUMENT, document)])
}

/// Points that are of a kind.
pub(super) fn of_kind(kind: &str) -> Filter {
    Filter::must([exactly(KIND, kind)])
}

/// A whole text: a single one with blanks in it would be matched word by word.
pub(super) fn exactly(field: &str, text: &str) -> Condition {
    Condition::matches(field, vec![text.to_owned()])
}

pub(super) fn point(id: u128) -> PointId {
    let hex = bm25::id_text(id);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    PointId::from(parts.join("-"))
}

/// The number of a point.
pub(super) fn number(id: Option<&PointId>) -> Option<u128> {
    use qdrant_client::qdrant::point_id::PointIdOptions;
    match id?.point_id_options.as_ref()? {
        PointIdOptions::Uuid(uuid) => bm25::id_number(&uuid.replace('-', "").to_lowercase()),
        PointIdOptions::Num(_) => None,
    }
}
