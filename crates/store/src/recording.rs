//! Recordings (`--record FILE`, `--replay FILE`): every call of a run to the outside with its answer.
//!
//! A JSON-lines file: a header `{format, version}`, then one entry a call. Entries are found by the caller's key and
//! by how many calls with that key came before, so that repeated questions get their own answers back in order.
//! No secret reaches the file: values are masked before they are written.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::RecordingError;
use crate::redact::Redactor;

const FORMAT: &str = "flowbench-recording";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// One call and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedCall {
    /// `chat`, `embed`, `rerank`, `http`, `code` or `retrieve`.
    pub kind: String,
    /// Digest that the call is found by.
    pub key: String,
    /// How many calls of the same kind and key came before.
    #[serde(default)]
    pub ordinal: u64,
    /// Where in the run, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// What was asked.
    pub request: Value,
    /// What came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
    /// The error that came back instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// Just enough of an entry to index it.
#[derive(Deserialize)]
struct Glance {
    kind: String,
    key: String,
    #[serde(default)]
    ordinal: u64,
}

/// Writes a recording.
pub struct RecordingWriter {
    path: PathBuf,
    redactor: Arc<Redactor>,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    /// Calls so far by kind and key.
    counts: HashMap<(String, String), u64>,
}

impl RecordingWriter {
    /// Starts a recording. An earlier recording at this path is replaced; any other file is refused.
    pub fn create(path: &Path, redactor: Arc<Redactor>) -> Result<Self, RecordingError> {
        let create_failed = |source| RecordingError::io(path, "created", source);
        if path.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            check_header(path, &mut open(path)?)?;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(create_failed)?;
        }
        let mut file = File::create(path).map_err(create_failed)?;
        let header = Header { format: FORMAT.to_owned(), version: VERSION };
        let mut line = serde_json::to_vec(&header).map_err(|error| create_failed(error.into()))?;
        line.push(b'\n');
        file.write_all(&line).map_err(create_failed)?;
        Ok(Self {
            path: path.to_owned(),
            redactor,
            inner: Mutex::new(Inner { file, counts: HashMap::new() }),
        })
    }

    /// Goes on with a recording, as a resumed batch does. A torn last entry is taken off.
    pub fn append_to(path: &Path, redactor: Arc<Redactor>) -> Result<Self, RecordingError> {
        let write_failed = |source| RecordingError::io(path, "written", source);
        let (index, sound_bytes) = index(path)?;
        let mut file = OpenOptions::new().write(true).open(path).map_err(write_failed)?;
        file.set_len(sound_bytes).map_err(write_failed)?;
        file.seek(SeekFrom::End(0)).map_err(write_failed)?;
        let mut counts = HashMap::new();
        for (kind, key, ordinal) in index.into_keys() {
            let count = counts.entry((kind, key)).or_insert(0);
            *count = (*count).max(ordinal + 1);
        }
        Ok(Self { path: path.to_owned(), redactor, inner: Mutex::new(Inner { file, counts }) })
    }

    /// Keeps one call; `ordinal` is set here.
    pub fn record(&self, mut call: RecordedCall) -> Result<(), RecordingError> {
        let write_failed = |source| RecordingError::io(&self.path, "written", source);
        let mut inner = self.lock();
        let count = inner.counts.entry((call.kind.clone(), call.key.clone())).or_insert(0);
        call.ordinal = *count;
        *count += 1;
        let line = self.redactor.redact_line(&call).map_err(|error| write_failed(error.into()))?;
        let mut line = match line {
            Some(line) => line,
            None => serde_json::to_vec(&call).map_err(|error| write_failed(error.into()))?,
        };
        line.push(b'\n');
        inner.file.write_all(&line).map_err(write_failed)
    }

    /// Syncs to the disk.
    pub fn finish(self) -> Result<(), RecordingError> {
        self.lock().file.sync_data().map_err(|source| RecordingError::io(&self.path, "synced", source))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Index = HashMap<(String, String, u64), u64>;

/// Finds recorded calls. Answers stay in the file until they are asked for.
pub struct RecordingReader {
    path: PathBuf,
    index: Index,
    inner: Mutex<ReaderInner>,
}

struct ReaderInner {
    reader: BufReader<File>,
    /// Calls asked for so far by kind and key.
    asked: HashMap<(String, String), u64>,
}

impl RecordingReader {
    /// Opens a recording. A torn last entry is passed over.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let (index, _) = index(path)?;
        let inner = ReaderInner { reader: open(path)?, asked: HashMap::new() };
        Ok(Self { path: path.to_owned(), index, inner: Mutex::new(inner) })
    }

    /// Number of calls.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True if there is no call.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The next call with this key: the first time the first, and so on. `None` when there is no further one.
    pub fn next(&self, kind: &str, key: &str) -> Result<Option<RecordedCall>, RecordingError> {
        let mut inner = self.lock();
        let asked = inner.asked.entry((kind.to_owned(), key.to_owned())).or_insert(0);
        let ordinal = *asked;
        let place = self.index.get(&(kind.to_owned(), key.to_owned(), ordinal)).copied();
        if place.is_some() {
            *asked += 1;
        }
        place.map(|offset| self.read(&mut inner, offset)).transpose()
    }

    /// The call with this key and number.
    pub fn find(&self, kind: &str, key: &str, ordinal: u64) -> Result<Option<RecordedCall>, RecordingError> {
        let place = self.index.get(&(kind.to_owned(), key.to_owned(), ordinal)).copied();
        place.map(|offset| self.read(&mut self.lock(), offset)).transpose()
    }

    fn read(&self, inner: &mut ReaderInner, offset: u64) -> Result<RecordedCall, RecordingError> {
        let read_failed = |source| RecordingError::io(&self.path, "read", source);
        inner.reader.seek(SeekFrom::Start(offset)).map_err(read_failed)?;
        let mut line = Vec::new();
        inner.reader.read_until(b'\n', &mut line).map_err(read_failed)?;
        serde_json::from_slice(&line).map_err(|error| read_failed(error.into()))
    }

    fn lock(&self) -> MutexGuard<'_, ReaderInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> Result<BufReader<File>, RecordingError> {
    let file = File::open(path).map_err(|source| RecordingError::io(path, "read", source))?;
    Ok(BufReader::with_capacity(64 << 10, file))
}

/// Reads the header; returns its length.
fn check_header(path: &Path, reader: &mut BufReader<File>) -> Result<u64, RecordingError> {
    let mut line = Vec::new();
    // A header is short; a large binary file must not be read whole to find that it is none.
    let mut limited = std::io::Read::take(reader, 4096);
    let length =
        limited.read_until(b'\n', &mut line).map_err(|source| RecordingError::io(path, "read", source))?;
    match serde_json::from_slice::<Header>(&line) {
        Ok(header) if header.format == FORMAT && header.version > VERSION => {
            Err(RecordingError::Newer { path: path.to_owned(), found: header.version, known: VERSION })
        }
        Ok(header) if header.format == FORMAT => Ok(length as u64),
        _ => Err(RecordingError::NotARecording { path: path.to_owned() }),
    }
}

fn index(path: &Path) -> Result<(Index, u64), RecordingError> {
    let mut reader = open(path)?;
    let mut offset = check_header(path, &mut reader)?;
    let mut index = Index::new();
    let mut line = Vec::new();
    let mut number = 1;
    loop {
        line.clear();
        number += 1;
        let count =
            reader.read_until(b'\n', &mut line).map_err(|source| RecordingError::io(path, "read", source))?;
        if !line.ends_with(b"\n") {
            return Ok((index, offset));
        }
        let glance: Glance = serde_json::from_slice(&line).map_err(|error| RecordingError::BadEntry {
            path: path.to_owned(),
            line: number,
            message: error.to_string(),
        })?;
        index.insert((glance.kind, glance.key, glance.ordinal), offset);
        offset += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(kind: &str, key: &str, response: &str) -> RecordedCall {
        RecordedCall {
            kind: kind.to_owned(),
            key: key.to_owned(),
            ordinal: 0,
            scope: "line 0, answer".to_owned(),
            request: json!({"headers": [["api-key", "abc"]], "text": "with sk-secret-123 in it"}),
            response: Some(json!({"text": response, "raw": "{\"echo\": \"sk-secret-123\"}"})),
            error: None,
        }
    }

    fn response(found: Option<RecordedCall>) -> Option<String> {
        Some(found?.response?["text"].as_str()?.to_owned())
    }

    #[test]
    fn the_same_question_twice_gets_both_answers_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/r.jsonl");
        let writer = RecordingWriter::create(&path, Arc::default()).unwrap();
        for (kind, key, text) in [("chat", "k", "one"), ("chat", "k", "two"), ("embed", "k", "three")] {
            writer.record(call(kind, key, text)).unwrap();
        }
        writer.finish().unwrap();
        let reader = RecordingReader::open(&path).unwrap();
        assert_eq!(reader.len(), 3);
        assert_eq!(response(reader.next("chat", "k").unwrap()).as_deref(), Some("one"));
        assert_eq!(response(reader.next("embed", "k").unwrap()).as_deref(), Some("three"));
        assert_eq!(response(reader.next("chat", "k").unwrap()).as_deref(), Some("two"));
        assert_eq!(reader.next("chat", "k").unwrap(), None, "a third call was not made");
        assert_eq!(reader.next("chat", "other").unwrap(), None);
        assert_eq!(response(reader.find("chat", "k", 0).unwrap()).as_deref(), Some("one"));
    }

    #[test]
    fn a_recording_holds_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let writer = RecordingWriter::create(&path, Arc::new(Redactor::new(["sk-secret-123"]))).unwrap();
        writer.record(call("http", "k", "fine")).unwrap();
        writer.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("sk-secret-123") && !text.contains("\"abc\""), "{text}");
        assert!(text.starts_with("{\"format\":\"flowbench-recording\",\"version\":1}\n"), "{text}");
    }

    #[test]
    fn a_cut_recording_goes_on_after_its_last_whole_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let writer = RecordingWriter::create(&path, Arc::default()).unwrap();
        writer.record(call("chat", "k", "one")).unwrap();
        writer.record(call("chat", "k", "two")).unwrap();
        writer.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let writer = RecordingWriter::append_to(&path, Arc::default()).unwrap();
        writer.record(call("chat", "k", "new two")).unwrap();
        let reader = RecordingReader::open(&path).unwrap();
        assert_eq!(response(reader.find("chat", "k", 1).unwrap()).as_deref(), Some("new two"));
    }

    #[test]
    fn other_files_are_neither_read_nor_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thesis.txt");
        std::fs::write(&path, "chapter one").unwrap();
        let expected = format!("`{}` is no recording", path.display());
        assert_eq!(RecordingWriter::create(&path, Arc::default()).err().unwrap().to_string(), expected);
        assert_eq!(RecordingReader::open(&path).err().unwrap().to_string(), expected);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "chapter one");
        std::fs::write(&path, "{\"format\":\"flowbench-recording\",\"version\":9}\n").unwrap();
        let error = RecordingReader::open(&path).err().unwrap().to_string();
        assert!(error.ends_with("has version 9, and this program reads up to 1"), "{error}");
    }
}
