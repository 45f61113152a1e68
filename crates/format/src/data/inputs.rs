//! From data to the inputs of a batch: sources are joined line by line and columns mapped onto flow inputs.
//!
//! [`BatchInputs::open`] reads everything once, so that a batch is refused before its first model call and not
//! after its thousandth: it counts, digests, checks line numbers and finds every column that is missing.
//! [`BatchInputs::rows`] then streams the same lines again for the run.
//!
//! One rule differs from prompt flow on purpose. There an input's default silently beats a column of the same
//! name; here the column wins, and a finding says what prompt flow would have done.

use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowbench_core::finding::Finding;
use serde_json::{Map, Value};

use super::mapping::{MappedRow, look_up, reference};
use super::{DataError, DataRows, LINE_NUMBER, Row, RowIterator};

type Opener = Arc<dyn Fn() -> Result<RowIterator, DataError> + Send + Sync>;

/// Where columns come from: `data`, or the inputs or outputs of an earlier run.
#[derive(Clone)]
pub struct DataSource {
    name: String,
    /// For messages.
    path: PathBuf,
    open: Opener,
    /// True where `Row::line_number` is the number of the line and not a mere position.
    is_numbered: bool,
}

impl DataSource {
    /// A file or folder under a source name such as `data`.
    pub fn from_path(name: &str, path: &Path) -> Self {
        let owned = path.to_owned();
        let open: Opener = Arc::new(move || Ok(Box::new(DataRows::open(&owned)?) as RowIterator));
        Self { name: name.to_owned(), path: path.to_owned(), open, is_numbered: false }
    }

    /// Rows from elsewhere, an earlier run's journal for instance, that know their line numbers. `open` must
    /// give the same rows each time it is called.
    pub fn from_numbered_rows<F, I>(name: &str, label: &Path, open: F) -> Self
    where
        F: Fn() -> Result<I, DataError> + Send + Sync + 'static,
        I: Iterator<Item = Result<Row, DataError>> + Send + 'static,
    {
        let open: Opener = Arc::new(move || Ok(Box::new(open()?) as RowIterator));
        Self { name: name.to_owned(), path: label.to_owned(), open, is_numbered: true }
    }
}

/// What the mapping must know of a flow input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowInput {
    /// Name.
    pub name: String,
    /// True if the flow gives it a default.
    pub has_default: bool,
}

/// How an input gets its value.
enum Rule {
    Literal(Value),
    /// A column that the mapping names.
    Mapped(String),
    /// The column of the same name; the reference is what the mapping could have said.
    SameName {
        reference: String,
        has_default: bool,
    },
}

/// The inputs of a batch, checked and ready to be streamed.
pub struct BatchInputs {
    sources: Vec<PreparedSource>,
    rules: Arc<Vec<(String, Rule)>>,
    count: u64,
    digest: String,
    findings: Vec<Finding>,
}

impl BatchInputs {
    /// Reads all sources once and checks them against the mapping and the flow's inputs. Fails with every
    /// unresolved column at once when a reference fits no row at all.
    pub fn open(
        sources: Vec<DataSource>,
        mapping: &Map<String, Value>,
        flow_inputs: &[FlowInput],
    ) -> Result<Self, DataError> {
        let mut findings = Vec::new();
        let rules = Arc::new(plan_rules(mapping, flow_inputs, &mut findings));
        let mut survey = Survey::new(&rules);
        let mut hasher = blake3::Hasher::new();
        let is_single = sources.len() == 1;
        let mut prepared = Vec::new();
        for source in sources {
            hasher.update(source.name.as_bytes());
            let name = source.name.clone();
            let source = PreparedSource::scan(source, &mut hasher, |row| {
                // One source needs no join, so that one pass does.
                if is_single {
                    survey.note(&rules, &[(&name, &row.values)]);
                }
            })?;
            prepared.push(source);
        }
        check_lengths(&prepared)?;
        let mut inputs = Self {
            sources: prepared,
            rules,
            count: 0,
            digest: hasher.finalize().to_hex().to_string(),
            findings,
        };
        if !is_single {
            let rules = inputs.rules.clone();
            for line in inputs.joined()? {
                let (_, rows) = line?;
                survey.note(&rules, &inputs.named(&rows));
            }
        }
        inputs.count = survey.count;
        if survey.count == 0 {
            return Err(match inputs.sources.first() {
                Some(source) if is_single => DataError::Empty { path: source.path.clone() },
                _ => DataError::NoCommonLine,
            });
        }
        survey.finish(&inputs.rules, &mut inputs.findings)?;
        Ok(inputs)
    }

    /// Number of lines.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Digest (BLAKE3, hexadecimal) of all rows of all sources: a resumed batch must find the same.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What is doubtful about data and mapping; all warnings.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The lines, in order of their numbers.
    pub fn rows(
        &self,
    ) -> Result<impl Iterator<Item = Result<MappedRow, DataError>> + Send + use<>, DataError> {
        let rules = self.rules.clone();
        let names: Vec<String> = self.sources.iter().map(|source| source.name.clone()).collect();
        Ok(self.joined()?.map(move |line| {
            let (line_number, rows) = line?;
            let named: Vec<(&str, &Map<String, Value>)> =
                names.iter().map(String::as_str).zip(&rows).collect();
            Ok(MappedRow { line_number, inputs: apply(&rules, &named) })
        }))
    }

    fn named<'r>(&'r self, rows: &'r [Map<String, Value>]) -> Vec<(&'r str, &'r Map<String, Value>)> {
        self.sources.iter().map(|source| source.name.as_str()).zip(rows).collect()
    }

    fn joined(&self) -> Result<Joined, DataError> {
        let streams = self
            .sources
            .iter()
            .map(|source| Ok(source.stream()?.peekable()))
            .collect::<Result<_, DataError>>()?;
        Ok(Joined { streams })
    }
}

fn plan_rules(
    mapping: &Map<String, Value>,
    flow_inputs: &[FlowInput],
    findings: &mut Vec<Finding>,
) -> Vec<(String, Rule)> {
    for (input, value) in mapping {
        if input != LINE_NUMBER && !flow_inputs.iter().any(|known| known.name == *input) {
            findings.push(
                Finding::warning(
                    "unknown-input",
                    format!("the mapping names `{input}`, which is no input of the flow"),
                )
                .suggest("take it out, or write the input's name as the flow has it"),
            );
        }
        if let Some(text) = value.as_str()
            && reference(value).is_none()
            && text.contains("${")
        {
            findings.push(
                Finding::warning(
                    "mapping-is-literal",
                    format!("the mapping of `{input}` is taken as the plain text `{text}`"),
                )
                .suggest("a reference must be the whole value, such as `${data.question}`"),
            );
        }
    }
    flow_inputs
        .iter()
        .map(|input| {
            let rule = match mapping.get(&input.name) {
                Some(value) => match reference(value) {
                    Some(inside) => Rule::Mapped(inside.to_owned()),
                    None => Rule::Literal(value.clone()),
                },
                None => Rule::SameName {
                    reference: format!("data.{}", input.name),
                    has_default: input.has_default,
                },
            };
            (input.name.clone(), rule)
        })
        .collect()
}

/// A column that other rows have and this one has not is null, unless the flow has a default for it.
fn apply(rules: &[(String, Rule)], sources: &[(&str, &Map<String, Value>)]) -> Map<String, Value> {
    let mut inputs = Map::new();
    for (input, rule) in rules {
        let value = match rule {
            Rule::Literal(value) => value.clone(),
            Rule::Mapped(inside) => look_up(inside, sources).cloned().unwrap_or_default(),
            Rule::SameName { reference, has_default } => match look_up(reference, sources) {
                Some(value) => value.clone(),
                None if *has_default => continue,
                None => Value::Null,
            },
        };
        inputs.insert(input.clone(), value);
    }
    inputs
}

/// What reading everything once has shown.
struct Survey {
    count: u64,
    /// Rows in which a rule found its column, by rule.
    found: Vec<u64>,
    /// Columns of the first line, for hints.
    present: Vec<String>,
}

impl Survey {
    fn new(rules: &[(String, Rule)]) -> Self {
        Self { count: 0, found: vec![0; rules.len()], present: Vec::new() }
    }

    fn note(&mut self, rules: &[(String, Rule)], sources: &[(&str, &Map<String, Value>)]) {
        if self.count == 0 {
            self.present = sources
                .iter()
                .flat_map(|(name, values)| values.keys().map(move |column| format!("${{{name}.{column}}}")))
                .collect();
        }
        self.count += 1;
        for (found, (_, rule)) in self.found.iter_mut().zip(rules) {
            let is_found = match rule {
                Rule::Literal(_) => true,
                Rule::Mapped(reference) | Rule::SameName { reference, .. } => {
                    look_up(reference, sources).is_some()
                }
            };
            *found += u64::from(is_found);
        }
    }

    fn finish(self, rules: &[(String, Rule)], findings: &mut Vec<Finding>) -> Result<(), DataError> {
        let mut unresolved = Vec::new();
        for (found, (input, rule)) in self.found.into_iter().zip(rules) {
            let (reference, has_default) = match rule {
                Rule::Literal(_) => continue,
                Rule::Mapped(reference) => (reference, false),
                Rule::SameName { reference, has_default } => (reference, *has_default),
            };
            if found == 0 {
                if !has_default {
                    unresolved.push(format!("`${{{reference}}}` for input `{input}`"));
                }
                continue;
            }
            if has_default {
                findings.push(default_and_column(input, reference));
            } else if found < self.count {
                let missing = self.count - found;
                findings.push(
                    Finding::warning(
                        "column-missing-in-rows",
                        format!(
                            "`${{{reference}}}` is missing in {missing} of {} rows, where input `{input}` is null",
                            self.count
                        ),
                    )
                    .suggest("give the input a default, or the rows the column"),
                );
            }
        }
        if unresolved.is_empty() {
            return Ok(());
        }
        Err(DataError::Unresolved { columns: unresolved, present: self.present })
    }
}

fn default_and_column(input: &str, reference: &str) -> Finding {
    Finding::warning(
        "default-beats-data",
        format!(
            "input `{input}` takes its values from the data's column of the same name; \
             prompt flow would take the input's default on every line"
        ),
    )
    .suggest(format!("map it by name, `{input}=${{{reference}}}`, and both do the same"))
}

/// A source after its first reading.
struct PreparedSource {
    name: String,
    path: PathBuf,
    open: Opener,
    is_numbered: bool,
    has_column: bool,
    count: u64,
    /// All rows by line number, held only where the file has them out of order.
    sorted: Option<Arc<Vec<Row>>>,
}

impl PreparedSource {
    fn scan(
        source: DataSource,
        hasher: &mut blake3::Hasher,
        mut each: impl FnMut(&Row),
    ) -> Result<Self, DataError> {
        let mut has_column = false;
        let mut count = 0u64;
        let mut last: Option<u64> = None;
        let mut is_ascending = true;
        let mut buffer = Vec::new();
        for row in (source.open)()? {
            let row = row?;
            if !source.is_numbered {
                let has = row.values.contains_key(LINE_NUMBER);
                if count == 0 {
                    has_column = has;
                } else if has != has_column {
                    return Err(DataError::LineNumber {
                        path: source.path,
                        row: count + 1,
                        message: "either every row has a `line_number` or none".to_owned(),
                    });
                }
            }
            count += 1;
            let number = if has_column { number_of(&row, &source.path, count)? } else { row.line_number };
            is_ascending &= last.is_none_or(|last| last < number);
            last = Some(number);
            each(&row);
            buffer.clear();
            // Writing JSON to memory cannot fail.
            if serde_json::to_writer(&mut buffer, &row.values).is_ok() {
                hasher.update(&number.to_le_bytes());
                hasher.update(&(buffer.len() as u64).to_le_bytes());
                hasher.update(&buffer);
            }
        }
        let DataSource { name, path, open, is_numbered } = source;
        let mut prepared = Self { name, path, open, is_numbered, has_column, count, sorted: None };
        if !is_ascending {
            prepared.sort()?;
        }
        Ok(prepared)
    }

    fn sort(&mut self) -> Result<(), DataError> {
        let mut rows: Vec<Row> = self.stream()?.collect::<Result<_, _>>()?;
        rows.sort_by_key(|row| row.line_number);
        if let Some(twice) = rows.windows(2).find(|pair| pair[0].line_number == pair[1].line_number) {
            let number = twice[0].line_number;
            let row = self
                .stream()?
                .flatten()
                .enumerate()
                .filter(|(_, row)| row.line_number == number)
                .nth(1)
                .map_or(0, |(position, _)| position as u64 + 1);
            return Err(DataError::LineNumber {
                path: self.path.clone(),
                row,
                message: format!("`line_number` {number} comes twice"),
            });
        }
        self.sorted = Some(Arc::new(rows));
        Ok(())
    }

    /// Rows by ascending line number.
    fn stream(&self) -> Result<RowIterator, DataError> {
        if let Some(rows) = self.sorted.clone() {
            return Ok(Box::new((0..rows.len()).map(move |index| Ok(rows[index].clone()))));
        }
        let rows = (self.open)()?;
        if !self.has_column {
            return Ok(rows);
        }
        let path = self.path.clone();
        let mut count = 0;
        Ok(Box::new(rows.map(move |row| {
            let row = row?;
            count += 1;
            Ok(Row { line_number: number_of(&row, &path, count)?, values: row.values })
        })))
    }

    fn is_joined_by_position(&self) -> bool {
        !self.is_numbered && !self.has_column
    }
}

fn number_of(row: &Row, path: &Path, position: u64) -> Result<u64, DataError> {
    let value = row.values.get(LINE_NUMBER);
    let number = match value {
        Some(Value::Number(number)) => number.as_u64(),
        // Cells of CSV files are text.
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| DataError::LineNumber {
        path: path.to_owned(),
        row: position,
        message: match value {
            Some(value) => format!("`line_number` must be a whole number from 0, and is `{value}`"),
            None => "either every row has a `line_number` or none".to_owned(),
        },
    })
}

fn check_lengths(sources: &[PreparedSource]) -> Result<(), DataError> {
    let by_position: Vec<_> = sources.iter().filter(|source| source.is_joined_by_position()).collect();
    if by_position.windows(2).all(|pair| pair[0].count == pair[1].count) {
        return Ok(());
    }
    let lengths =
        by_position.iter().map(|source| format!("`{}` has {} rows", source.name, source.count)).collect();
    Err(DataError::Lengths { lengths })
}

/// Rows of all sources with the same line number; lines that one of them lacks drop out.
struct Joined {
    streams: Vec<Peekable<RowIterator>>,
}

impl Iterator for Joined {
    type Item = Result<(u64, Vec<Map<String, Value>>), DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut furthest = 0;
            for stream in &mut self.streams {
                match stream.peek()? {
                    Ok(row) => furthest = furthest.max(row.line_number),
                    Err(_) => {
                        return stream.next().map(|error| error.map(|row| (row.line_number, Vec::new())));
                    }
                }
            }
            let is_behind = |stream: &mut Peekable<RowIterator>| {
                stream.peek().is_some_and(|row| row.as_ref().is_ok_and(|row| row.line_number < furthest))
            };
            let mut is_aligned = true;
            for stream in &mut self.streams {
                if is_behind(stream) {
                    is_aligned = false;
                    stream.next();
                }
            }
            if is_aligned {
                let rows: Result<Vec<_>, _> = self
                    .streams
                    .iter_mut()
                    .filter_map(Iterator::next)
                    .map(|row| row.map(|row| row.values))
                    .collect();
                return Some(rows.map(|rows| (furthest, rows)));
            }
        }
    }
}
