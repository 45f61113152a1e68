//! Column mapping: which column of which source an input takes. A value that is exactly `${SOURCE.COLUMN}` is a
//! reference, anything else a literal. Everything after the source's name is the column's name, dots included;
//! where more than one split fits, the shortest source name wins, as in prompt flow.

use serde_json::{Map, Value};

use super::LINE_NUMBER;

/// The inputs of one line.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedRow {
    /// Line of the batch.
    pub line_number: u64,
    /// Flow inputs by name; an input with a default may be absent.
    pub inputs: Map<String, Value>,
}

/// Inside of a mapping reference, or `None` for a literal.
pub(super) fn reference(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    // YAML block texts end in a line feed, which prompt flow's pattern lets pass.
    let inside = text.strip_suffix('\n').unwrap_or(text).strip_prefix("${")?.strip_suffix('}')?;
    (!inside.is_empty() && !inside.contains(['{', '}'])).then_some(inside)
}

/// Looks a reference up in the sources of one line.
pub(super) fn look_up<'v>(inside: &str, sources: &[(&str, &'v Map<String, Value>)]) -> Option<&'v Value> {
    inside.match_indices('.').find_map(|(dot, _)| {
        let (source, column) = (&inside[..dot], &inside[dot + 1..]);
        sources.iter().filter(|(name, _)| *name == source).find_map(|(_, values)| values.get(column))
    })
}

/// Applies a mapping to the sources of one line, prompt flow's way: `Err` lists every reference that leads
/// nowhere. [`BatchInputs`](super::BatchInputs) does this for whole data with defaults and findings.
pub fn map_row(
    mapping: &Map<String, Value>,
    sources: &[(&str, &Map<String, Value>)],
) -> Result<Map<String, Value>, Vec<String>> {
    let mut inputs = Map::new();
    let mut unresolved = Vec::new();
    for (input, value) in mapping {
        if input == LINE_NUMBER {
            continue;
        }
        let Some(inside) = reference(value) else {
            inputs.insert(input.clone(), value.clone());
            continue;
        };
        match look_up(inside, sources) {
            Some(found) => {
                inputs.insert(input.clone(), found.clone());
            }
            None => unresolved.push(format!("${{{inside}}}")),
        }
    }
    if unresolved.is_empty() { Ok(inputs) } else { Err(unresolved) }
}
