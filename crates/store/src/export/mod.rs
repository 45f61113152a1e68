//! A batch written as prompt flow's run folder (`~/.promptflow/.runs/<name>/`), so that notebooks and scripts that read
//! those keep working. Four small files a line, as there; the journal stays the account.
//!
//! What prompt flow does not tell stays out, and two things differ: errors carry our codes, and token counts are
//! the providers' own where prompt flow writes 0 unless tracing was switched on.

mod shapes;
mod snapshot;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flowbench_core::event::{Failure, Status};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::error::JournalError;
use crate::journal_scan::JournalReader;
use crate::record::{LineRecord, NodeRecord};

pub use snapshot::FlowSnapshot;

/// An export that could not be written.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The file system refused.
    #[error("`{}` cannot be {action}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is something there already.
    #[error("the folder `{}` is not empty", path.display())]
    NotEmpty {
        /// Which folder.
        path: PathBuf,
    },
    /// A flow folder too large to be one.
    #[error("the flow folder `{}` holds more than {limit} files", path.display())]
    TooManyFiles {
        /// Which folder.
        path: PathBuf,
        /// How many are copied at most.
        limit: usize,
    },
}

impl ExportError {
    fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}

/// Writes the run folder. The target must be absent or empty. Memory does not grow with the number of lines.
pub fn export_promptflow(
    journal: &JournalReader,
    snapshot: Option<&FlowSnapshot>,
    target: &Path,
) -> Result<(), ExportError> {
    let folder = RunFolder::create(target)?;
    if let Some(snapshot) = snapshot {
        snapshot.copy_to(&folder.path("snapshot"))?;
    }
    folder.write_json("meta.json", &json!({"batch_size": 1}))?;
    let run = journal.header().run_id.as_str();
    let mut inputs = folder.lines("inputs.jsonl")?;
    let mut outputs = folder.lines("outputs.jsonl")?;
    let mut flow_outputs = folder.lines("flow_outputs/output.jsonl")?;
    let mut log = folder.lines("logs.txt")?;
    let mut failures = Failures::default();
    log.text(&shapes::log_line(
        journal.header().started_ms,
        &format!("run {run} of {} started", journal.header().flow),
    ))?;
    for line in journal.records()? {
        let line = line?;
        let number = line.line_number;
        inputs.json(&Value::Object(numbered_last(&line.inputs, number)))?;
        if line.status == Status::Completed {
            outputs.json(&Value::Object(numbered_last(&line.outputs, number)))?;
            flow_outputs.json(&Value::Object(numbered_first(&line.outputs, number)))?;
        }
        failures.note(&line);
        folder.write_json(
            &format!("flow_artifacts/{number:09}_{number:09}.jsonl"),
            &shapes::line_artifact(run, &line),
        )?;
        for node in &line.nodes {
            folder.write_node(node, number, &shapes::node_artifact(run, Some(number), node))?;
        }
        let mut line_log = folder.lines(&format!("flow_logs/{number:09}.log"))?;
        for text in shapes::line_log(&line) {
            line_log.text(&text)?;
            log.text(&text)?;
        }
        line_log.finish()?;
    }
    for file in [inputs, outputs, flow_outputs, log] {
        file.finish()?;
    }
    let mut metrics = Map::new();
    if let Some(end) = journal.end() {
        metrics = end.metrics.clone();
        for node in &end.nodes {
            // Aggregation nodes have one record; prompt flow keeps it where line 0 of a plain node would be.
            folder.write_node(node, 0, &shapes::node_artifact(run, None, node))?;
            failures.note_aggregation(node);
        }
        failures.early_end = end.error.clone();
    }
    folder.write_json("metrics.json", &Value::Object(metrics))?;
    match failures.told() {
        Some(error) => folder.write_json("error.json", &error),
        None => Ok(()),
    }
}

fn numbered_last(values: &Map<String, Value>, number: u64) -> Map<String, Value> {
    let mut values = values.clone();
    values.shift_remove("line_number");
    values.insert("line_number".to_owned(), json!(number));
    values
}

fn numbered_first(values: &Map<String, Value>, number: u64) -> Map<String, Value> {
    let mut numbered = Map::from_iter([("line_number".to_owned(), json!(number))]);
    numbered.extend(
        values
            .iter()
            .filter(|(name, _)| *name != "line_number")
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    numbered
}

/// What `error.json` lists, bounded: a batch with a million failed lines needs no file with a million tracebacks,
/// they are in each line's own file.
const MOST_ERRORS: usize = 1000;

#[derive(Default)]
struct Failures {
    lines: u64,
    failed: u64,
    errors: Vec<Value>,
    first: Option<String>,
    early_end: Option<Failure>,
}

impl Failures {
    fn note(&mut self, line: &LineRecord) {
        self.lines += 1;
        if line.status == Status::Completed {
            return;
        }
        self.failed += 1;
        if let Some(failure) = &line.error {
            self.push(
                &failure.message,
                json!({"line_number": line.line_number, "error": shapes::error(failure)}),
            );
        }
    }

    fn note_aggregation(&mut self, node: &NodeRecord) {
        if let Some(failure) = &node.error {
            let error = json!({"error": shapes::error(failure), "aggregation_node_name": node.node});
            self.push(&failure.message, error);
        }
    }

    fn push(&mut self, message: &str, error: Value) {
        self.first.get_or_insert_with(|| message.to_owned());
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(error);
        }
    }

    fn told(self) -> Option<Value> {
        let first = self.first.or_else(|| self.early_end.map(|failure| failure.message))?;
        let message =
            format!("Failed to run {}/{} lines. First error message is: {first}", self.failed, self.lines);
        Some(shapes::batch_error(&message, self.errors))
    }
}

/// The target folder.
struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    fn create(target: &Path) -> Result<Self, ExportError> {
        let folder = Self { root: target.to_owned() };
        let is_taken = match std::fs::read_dir(target) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(ExportError::io(target, "read", error)),
        };
        if is_taken {
            return Err(ExportError::NotEmpty { path: target.to_owned() });
        }
        for name in ["snapshot", "flow_outputs", "flow_artifacts", "node_artifacts", "flow_logs"] {
            let path = folder.path(name);
            std::fs::create_dir_all(&path).map_err(|source| ExportError::io(&path, "created", source))?;
        }
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn lines(&self, name: &str) -> Result<LinesFile, ExportError> {
        let path = self.path(name);
        let file = File::create(&path).map_err(|source| ExportError::io(&path, "created", source))?;
        Ok(LinesFile { path, writer: BufWriter::new(file) })
    }

    fn write_json(&self, name: &str, value: &Value) -> Result<(), ExportError> {
        let path = self.path(name);
        std::fs::write(&path, value.to_string()).map_err(|source| ExportError::io(&path, "written", source))
    }

    fn write_node(&self, node: &NodeRecord, number: u64, value: &Value) -> Result<(), ExportError> {
        let folder = self.path("node_artifacts").join(folder_name(node.node.as_str()));
        std::fs::create_dir_all(&folder).map_err(|source| ExportError::io(&folder, "created", source))?;
        let path = folder.join(format!("{number:09}.jsonl"));
        std::fs::write(&path, value.to_string()).map_err(|source| ExportError::io(&path, "written", source))
    }
}

/// A node's name as a folder's: what could lead elsewhere or no file system takes is written as its number.
fn folder_name(node: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ');
    node.chars().map(|c| if is_plain(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) }).collect()
}

struct LinesFile {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl LinesFile {
    fn json(&mut self, value: &Value) -> Result<(), ExportError> {
        self.text(&value.to_string())
    }

    fn text(&mut self, text: &str) -> Result<(), ExportError> {
        let written = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.write_all(b"\n"));
        written.map_err(|source| ExportError::io(&self.path, "written", source))
    }

    fn finish(mut self) -> Result<(), ExportError> {
        self.writer.flush().map_err(|source| ExportError::io(&self.path, "written", source))
    }
}
