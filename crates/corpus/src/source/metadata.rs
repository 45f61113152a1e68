//! `metadata` of a source: columns that are taken over, and fixed values.

use serde_json::{Map, Value};

use super::SourceError;
use super::rows::Template;

/// What every document of a source gets.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// Columns that become metadata under their own name.
    pub columns: Vec<String>,
    /// Fixed values, and texts with columns in them.
    values: Vec<(String, Fixed)>,
}

#[derive(Clone, Debug)]
enum Fixed {
    Value(Value),
    Text(Template),
}

impl Given {
    pub fn read(metadata: Option<&Value>, has_columns: bool) -> Result<Self, SourceError> {
        let wrong = |reason: &str| SourceError::Setting { key: "metadata", reason: reason.to_owned() };
        let mut given = Self::default();
        match metadata {
            None | Some(Value::Null) => {}
            Some(Value::String(column)) if has_columns => given.columns.push(column.clone()),
            Some(Value::Array(columns)) if has_columns => {
                for column in columns {
                    let name =
                        column.as_str().ok_or_else(|| wrong("its list holds something that is no name"))?;
                    given.columns.push(name.to_owned());
                }
            }
            Some(Value::Object(values)) => {
                for (name, value) in values {
                    let fixed = match value {
                        Value::String(text) if has_columns && text.contains("{{") => {
                            Fixed::Text(Template::parse("metadata", text)?)
                        }
                        other => Fixed::Value(other.clone()),
                    };
                    given.values.push((name.clone(), fixed));
                }
            }
            Some(Value::Array(_) | Value::String(_)) => {
                return Err(wrong(
                    "only rows have columns; write names with fixed values, such as `team: legal`",
                ));
            }
            Some(_) => return Err(wrong("it is neither a list of columns nor names with values")),
        }
        Ok(given)
    }

    /// Metadata of a document without columns.
    pub fn fixed(&self) -> Map<String, Value> {
        self.of_row(&Map::new())
    }

    /// Metadata of a row. Columns that it lacks, and nulls, are left out.
    pub fn of_row(&self, row: &Map<String, Value>) -> Map<String, Value> {
        let mut metadata = Map::new();
        for column in &self.columns {
            if let Some(value) = row.get(column).filter(|value| !value.is_null()) {
                metadata.insert(column.clone(), value.clone());
            }
        }
        for (name, fixed) in &self.values {
            let value = match fixed {
                Fixed::Value(value) => value.clone(),
                Fixed::Text(template) => Value::String(template.render(row)),
            };
            metadata.insert(name.clone(), value);
        }
        metadata
    }

    /// Columns that are named.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let in_texts = self.values.iter().filter_map(|(_, fixed)| match fixed {
            Fixed::Text(template) => Some(template.columns()),
            Fixed::Value(_) => None,
        });
        self.columns.iter().map(String::as_str).chain(in_texts.flatten())
    }
}
