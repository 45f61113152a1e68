//! Prices from a dated table that people can edit: `prices.yaml`.
//!
//! A table that ships with the program stands behind the workspace's own. Where a model has no price, its cost
//! is unknown, never zero.

use std::collections::HashMap;
use std::sync::Arc;

use flowbench_core::chat::{ModelIdentity, Usage};
use flowbench_core::connection::Connection;
use flowbench_core::event::Cost;
use flowbench_core::finding::{Finding, has_errors};
use flowbench_format::yaml::YamlDocument;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// The table that ships with the program.
const SHIPPED: &str = include_str!("../../../prices.yaml");
/// What the shipped table is called in costs.
const SHIPPED_NAME: &str = "prices.yaml";

/// A price table that cannot be used.
#[derive(Debug, Error)]
pub enum PriceError {
    /// Broken YAML.
    #[error("price table `{name}`: {}", finding.message)]
    Yaml {
        /// Name of the table.
        name: String,
        /// What is wrong, with its place.
        finding: Box<Finding>,
    },
    /// An entry that makes no sense.
    #[error("price table `{name}`: {reason}")]
    Entry {
        /// Name of the table.
        name: String,
        /// Which entry, and why.
        reason: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    currency: String,
    prices: Vec<Entry>,
}

/// One line of the table; prices are for a million tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    provider: OneOrMore,
    model: String,
    input: f64,
    #[serde(default)]
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    currency: Option<String>,
    as_of: String,
    #[serde(rename = "source")]
    _source: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug)]
struct Table {
    name: String,
    currency: String,
    entries: Vec<Entry>,
}

/// Prices of models; cheap to clone.
#[derive(Clone, Debug)]
pub struct PriceTable {
    /// The first that knows a model counts.
    tables: Vec<Arc<Table>>,
    /// Model behind a connection's deployment.
    deployments: HashMap<(String, String), String>,
    /// Model behind all of a connection's deployments.
    connections: HashMap<String, String>,
}

impl PriceTable {
    /// The table that ships with the program.
    pub fn shipped() -> Self {
        static TABLE: std::sync::OnceLock<PriceTable> = std::sync::OnceLock::new();
        TABLE
            .get_or_init(|| {
                Self::parse(SHIPPED.as_bytes(), SHIPPED_NAME).expect("a test reads the shipped table")
            })
            .clone()
    }

    /// Reads a table. `name` is told with every cost that comes from it.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, PriceError> {
        let document = YamlDocument::parse(bytes, Some(name));
        if has_errors(document.findings())
            && let Some(finding) = document.findings().first()
        {
            return Err(PriceError::Yaml { name: name.to_owned(), finding: Box::new(finding.clone()) });
        }
        let entry_error = |reason: String| PriceError::Entry { name: name.to_owned(), reason };
        let written: Written = serde_json::from_value(document.value().clone())
            .map_err(|error| entry_error(error.to_string()))?;
        for entry in &written.prices {
            let prices = [Some(entry.input), Some(entry.output), entry.cache_read, entry.cache_write];
            if prices.into_iter().flatten().any(|price| !price.is_finite() || price < 0.0) {
                return Err(entry_error(format!(
                    "model `{}` has a price below zero or without end",
                    entry.model
                )));
            }
            if entry.as_of.parse::<jiff::civil::Date>().is_err() {
                return Err(entry_error(format!("model `{}`: `as_of` is no date", entry.model)));
            }
        }
        let table = Table { name: name.to_owned(), currency: written.currency, entries: written.prices };
        Ok(Self { tables: vec![Arc::new(table)], deployments: HashMap::new(), connections: HashMap::new() })
    }

    /// This table, and behind it another for models that this one does not know.
    #[must_use]
    pub fn over(mut self, other: &Self) -> Self {
        self.tables.extend(other.tables.iter().cloned());
        self
    }

    /// Learns which models stand behind a connection's deployments: its field `model` (for all of them) or
    /// `models` (by deployment name).
    pub fn learn(&mut self, connection: &Connection) {
        if let Some(model) = connection.field("model") {
            self.connections.insert(connection.name.clone(), model.to_owned());
        }
        for (deployment, model) in
            connection.fields.get("models").and_then(Value::as_object).into_iter().flatten()
        {
            if let Some(model) = model.as_str() {
                self.deployments.insert((connection.name.clone(), deployment.clone()), model.to_owned());
            }
        }
    }

    /// What a call cost; `None` where the model has no known price.
    pub fn cost(&self, model: &ModelIdentity, usage: &Usage) -> Option<Cost> {
        let deployment = (model.connection.clone(), model.model.clone());
        let name = self
            .deployments
            .get(&deployment)
            .or_else(|| self.connections.get(&model.connection))
            .unwrap_or(&model.model);
        self.tables.iter().find_map(|table| {
            let entry = table.find(&model.provider, name)?;
            let currency = entry.currency.as_ref().unwrap_or(&table.currency);
            Some(Cost {
                micros: entry.micros(usage),
                currency: currency.clone(),
                source: format!("{}, {}", table.name, entry.as_of),
            })
        })
    }
}

impl Table {
    /// The entry that says most about a model.
    fn find(&self, provider: &str, model: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.provider.has(provider))
            .filter_map(|entry| Some((closeness(&entry.model, model)?, entry)))
            .max_by_key(|(closeness, _)| *closeness)
            .map(|(_, entry)| entry)
    }
}

impl OneOrMore {
    fn has(&self, provider: &str) -> bool {
        match self {
            Self::One(name) => name == provider,
            Self::More(names) => names.iter().any(|name| name == provider),
        }
    }
}

/// How closely a pattern fits a model name: the same, the same before a date or `latest`, or up to a `*`.
fn closeness(pattern: &str, model: &str) -> Option<usize> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    if let Some(start) = pattern.strip_suffix('*') {
        return model.starts_with(start).then_some(start.len());
    }
    let rest = model.strip_prefix(pattern)?;
    let is_same = rest.is_empty()
        || rest.strip_prefix(['-', '@']).is_some_and(|version| {
            version == "latest"
                || (version.len() >= 3 && version.chars().all(|c| c.is_ascii_digit() || c == '-'))
        });
    // A name says more than any pattern of its length.
    is_same.then_some(pattern.len() + 1)
}

impl Entry {
    /// A price for a million tokens is a price in millionths for one.
    fn micros(&self, usage: &Usage) -> u64 {
        let read = usage.cache_read.unwrap_or(0).min(usage.input);
        let written = usage.cache_write.unwrap_or(0).min(usage.input - read);
        let plain = usage.input - read - written;
        let micros = plain as f64 * self.input
            + read as f64 * self.cache_read.unwrap_or(self.input)
            + written as f64 * self.cache_write.unwrap_or(self.input)
            + usage.output as f64 * self.output;
        micros.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use flowbench_core::connection::ConnectionKind;
    use serde_json::json;

    use super::*;

    const TABLE: &str = "
currency: USD
prices:
- {provider: [openai, azure.ai.openai], model: gpt-x, input: 2, output: 8, cache_read: 0.5, as_of: '2026-01-31', source: here}
- {provider: openai, model: gpt-x-mini, input: 0.5, output: 1, as_of: '2026-01-31', source: here}
- {provider: openai, model: gpt-*, input: 100, output: 100, as_of: '2025-01-31', source: there}
- {provider: mine, model: '*', input: 1, currency: SEK, as_of: '2026-01-31', source: here}
";

    fn identity(provider: &str, model: &str) -> ModelIdentity {
        ModelIdentity {
            provider: provider.to_owned(),
            connection: "c".to_owned(),
            model: model.to_owned(),
            version: None,
            endpoint: String::new(),
        }
    }

    #[track_caller]
    fn check(provider: &str, model: &str, expected: Option<(u64, &str)>) {
        let table = PriceTable::parse(TABLE.as_bytes(), "mine.yaml").unwrap();
        let usage = Usage { input: 1000, output: 100, ..Usage::default() };
        let cost = table.cost(&identity(provider, model), &usage);
        let found = cost.as_ref().map(|cost| (cost.micros, cost.source.as_str()));
        assert_eq!(found, expected, "for {provider}/{model}");
    }

    #[test]
    fn the_entry_that_says_most_counts() {
        check("openai", "gpt-x", Some((2800, "mine.yaml, 2026-01-31")));
        check("openai", "gpt-x-2026-01-01", Some((2800, "mine.yaml, 2026-01-31")));
        check("azure.ai.openai", "gpt-x", Some((2800, "mine.yaml, 2026-01-31")));
        check("openai", "gpt-x-mini", Some((600, "mine.yaml, 2026-01-31")));
        check("openai", "gpt-x-nano", Some((110_000, "mine.yaml, 2025-01-31")));
        check("mine", "anything", Some((1000, "mine.yaml, 2026-01-31")));
        check("openai", "other", None);
        check("openai_compatible", "gpt-x", None);
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let table = PriceTable::parse(TABLE.as_bytes(), "mine.yaml").unwrap();
        let usage =
            Usage { input: 1000, output: 0, cache_read: Some(400), cache_write: Some(100), reasoning: None };
        let cost = table.cost(&identity("openai", "gpt-x"), &usage).unwrap();
        assert_eq!(cost.micros, 600 * 2 + 400 / 2, "writing costs the plain price where no other is told");
    }

    #[test]
    fn deployments_are_priced_as_their_model() {
        let mut table = PriceTable::parse(TABLE.as_bytes(), "mine.yaml").unwrap();
        let azure = identity("azure.ai.openai", "our-deployment");
        let usage = Usage { input: 1000, ..Usage::default() };
        assert_eq!(table.cost(&azure, &usage), None);
        table.learn(&Connection {
            name: "c".to_owned(),
            kind: ConnectionKind::AzureOpenAi,
            fields: json!({"models": {"our-deployment": "gpt-x"}}).as_object().unwrap().clone(),
            secrets: Vec::new(),
            is_approved: true,
        });
        assert_eq!(table.cost(&azure, &usage).map(|cost| cost.micros), Some(2000));
    }

    #[test]
    fn ones_own_table_stands_before_the_shipped_one() {
        let own = "currency: EUR\nprices:\n- {provider: openai, model: gpt-x, input: 1, as_of: '2026-02-01', source: contract}\n";
        let own = PriceTable::parse(own.as_bytes(), "own").unwrap();
        let both = own.over(&PriceTable::parse(TABLE.as_bytes(), "mine.yaml").unwrap());
        let usage = Usage { input: 10, ..Usage::default() };
        assert_eq!(both.cost(&identity("openai", "gpt-x"), &usage).unwrap().currency, "EUR");
        assert_eq!(both.cost(&identity("openai", "gpt-x-mini"), &usage).unwrap().currency, "USD");
    }

    #[test]
    fn a_broken_table_says_where() {
        let error = |text: &str| PriceTable::parse(text.as_bytes(), "p.yaml").unwrap_err().to_string();
        assert!(error("currency: USD\nprices: {").starts_with("price table `p.yaml`: "));
        let entry =
            |rest: &str| format!("currency: USD\nprices:\n- {{provider: a, model: m, source: s, {rest}}}\n");
        assert_eq!(
            error(&entry("input: -1, as_of: '2026-01-01'")),
            "price table `p.yaml`: model `m` has a price below zero or without end"
        );
        assert_eq!(
            error(&entry("input: 1, as_of: soon")),
            "price table `p.yaml`: model `m`: `as_of` is no date"
        );
        assert!(error(&entry("input: 1, as_of: '2026-01-01', inptu: 2")).contains("unknown field `inptu`"));
    }

    #[test]
    fn the_shipped_table_can_be_read() {
        let usage = Usage { input: 1_000_000, output: 1_000_000, ..Usage::default() };
        let cost = PriceTable::shipped().cost(&identity("openai", "gpt-4o-mini-2024-07-18"), &usage).unwrap();
        assert_eq!((cost.micros, cost.currency.as_str()), (750_000, "USD"));
        let unknown = PriceTable::shipped().cost(&identity("builtin", "echo"), &usage);
        assert_eq!(unknown, None);
    }
}
