//! Reading a journal: where each line's record stands, and what a crash has left at the end.
//!
//! A record is one line of the file and is written by one call, so a killed process leaves whole lines and at most
//! one cut last line. A power failure can leave zero bytes there instead. Both are taken off when a batch is
//! resumed; anything else that is no record is damage, and is reported instead of guessed at.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flowbench_core::event::Status;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::JournalError;
use crate::record::{JOURNAL_VERSION, JournalEnd, JournalHeader, LineRecord};

/// Which lines a resumed batch runs again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResumePolicy {
    /// Lines without a record, canceled lines and failed ones: what went wrong may go right now.
    #[default]
    RedoFailed,
    /// Lines without a record and canceled ones only.
    KeepFailed,
}

/// Where a line's record stands. 16 bytes a line is all the memory that a long batch costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) line_number: u64,
    /// Offset of the record, shifted by two, and the status below.
    place: u64,
}

impl Entry {
    pub(crate) fn new(line_number: u64, offset: u64, status: Status) -> Self {
        let code = match status {
            Status::Completed => 0,
            Status::Failed => 1,
            Status::Bypassed => 2,
            Status::Canceled => 3,
        };
        Self { line_number, place: offset << 2 | code }
    }

    fn offset(self) -> u64 {
        self.place >> 2
    }

    fn status(self) -> Status {
        match self.place & 3 {
            0 => Status::Completed,
            1 => Status::Failed,
            2 => Status::Bypassed,
            _ => Status::Canceled,
        }
    }
}

/// What a journal holds, found in one pass.
pub(crate) struct Scan {
    pub(crate) header: JournalHeader,
    pub(crate) entries: Vec<Entry>,
    pub(crate) end: Option<JournalEnd>,
    /// Length of the whole records; what follows is torn.
    pub(crate) sound_bytes: u64,
    /// Length of the file.
    pub(crate) file_bytes: u64,
}

/// The few fields that a scan looks at; the rest is checked to be JSON and passed over.
#[derive(Deserialize)]
struct Glance {
    line_number: Option<u64>,
    status: Option<Status>,
    journal_version: Option<u32>,
    end: Option<Box<RawValue>>,
}

pub(crate) fn scan(path: &Path) -> Result<Scan, JournalError> {
    let io = |source| JournalError::io(path, "read", source);
    let file = File::open(path).map_err(io)?;
    let file_bytes = file.metadata().map_err(io)?.len();
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut buffer = Vec::new();
    let mut header = None;
    let mut entries = Vec::new();
    let mut end = None;
    let mut offset = 0u64;
    loop {
        buffer.clear();
        let count = reader.read_until(b'\n', &mut buffer).map_err(io)? as u64;
        if count == 0 {
            break;
        }
        let is_torn = !buffer.ends_with(b"\n");
        if is_torn || is_zero_tail(&buffer, &mut reader).map_err(io)? {
            break;
        }
        let damaged = |reason: String| JournalError::Damaged { path: path.to_owned(), offset, reason };
        let glance: Glance = serde_json::from_slice(&buffer).map_err(|error| damaged(short(&error)))?;
        match (&header, glance) {
            (None, Glance { journal_version: Some(found), .. }) => {
                if found > JOURNAL_VERSION {
                    return Err(JournalError::Newer { path: path.to_owned(), found, known: JOURNAL_VERSION });
                }
                header = Some(serde_json::from_slice(&buffer).map_err(|error| damaged(short(&error)))?);
            }
            (None, _) => return Err(damaged("the first line is no journal header".to_owned())),
            (Some(_), Glance { line_number: Some(line), status: Some(status), .. }) => {
                entries.push(Entry::new(line, offset, status));
            }
            (Some(_), Glance { end: Some(raw), .. }) => {
                end = Some(serde_json::from_str(raw.get()).map_err(|error| damaged(short(&error)))?);
            }
            (Some(_), _) => return Err(damaged("neither a line's record nor the end of a batch".to_owned())),
        }
        offset += count;
    }
    let header = header.ok_or_else(|| JournalError::NoHeader { path: path.to_owned() })?;
    Ok(Scan { header, entries, end, sound_bytes: offset, file_bytes })
}

fn short(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// True if only zero bytes are left. Sectors of a grown file that were not yet written read so after a power failure.
fn is_zero_tail(line: &[u8], reader: &mut impl BufRead) -> io::Result<bool> {
    if line.first() != Some(&0) || line[..line.len() - 1].iter().any(|byte| *byte != 0) {
        return Ok(false);
    }
    loop {
        let rest = reader.fill_buf()?;
        if rest.is_empty() {
            return Ok(true);
        }
        if rest.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        let count = rest.len();
        reader.consume(count);
    }
}

/// Sorts by line and keeps the latest record of each: a line that was run again counts as it ended last.
fn keep_latest(entries: &mut Vec<Entry>) {
    entries.sort_by_key(|entry| entry.line_number);
    // `dedup_by` drops its first argument, which is the later one; so the earlier takes over its place.
    entries.dedup_by(|later, earlier| {
        let is_same = later.line_number == earlier.line_number;
        if is_same {
            earlier.place = later.place;
        }
        is_same
    });
}

/// A journal that is only read. Looks at a batch that still runs as well: what is there when it is opened.
pub struct JournalReader {
    path: PathBuf,
    header: JournalHeader,
    /// By line number, latest record only.
    entries: Vec<Entry>,
    end: Option<JournalEnd>,
    torn_bytes: u64,
}

impl JournalReader {
    /// Opens a journal without locking or changing it; a torn last line is passed over.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self::from_scan(path, scan(path)?))
    }

    pub(crate) fn from_scan(path: &Path, scan: Scan) -> Self {
        let mut entries = scan.entries;
        keep_latest(&mut entries);
        Self {
            path: path.to_owned(),
            header: scan.header,
            entries,
            end: scan.end,
            torn_bytes: scan.file_bytes - scan.sound_bytes,
        }
    }

    pub(crate) fn with_added(&self, added: &[Entry], end: Option<&JournalEnd>) -> Self {
        let mut entries = self.entries.clone();
        entries.extend_from_slice(added);
        keep_latest(&mut entries);
        Self {
            path: self.path.clone(),
            header: self.header.clone(),
            entries,
            end: end.or(self.end.as_ref()).cloned(),
            torn_bytes: self.torn_bytes,
        }
    }

    /// What the batch is made of.
    pub fn header(&self) -> &JournalHeader {
        &self.header
    }

    /// How it ended, if it did.
    pub fn end(&self) -> Option<&JournalEnd> {
        self.end.as_ref()
    }

    /// Bytes of a record that was cut off by a crash; nobody had counted it.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Number of lines that have a record.
    pub fn line_count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Number of lines whose latest record has this status.
    pub fn count(&self, status: Status) -> u64 {
        self.entries.iter().filter(|entry| entry.status() == status).count() as u64
    }

    /// True if a resumed batch need not run the line.
    pub fn is_finished(&self, line_number: u64, policy: ResumePolicy) -> bool {
        let Ok(index) = self.entries.binary_search_by_key(&line_number, |entry| entry.line_number) else {
            return false;
        };
        match self.entries[index].status() {
            Status::Completed | Status::Bypassed => true,
            Status::Failed => policy == ResumePolicy::KeepFailed,
            Status::Canceled => false,
        }
    }

    /// Numbers of the lines that need not be run, ascending.
    pub fn finished_lines(&self, policy: ResumePolicy) -> impl Iterator<Item = u64> + '_ {
        let is_finished = move |entry: &&Entry| self.is_finished(entry.line_number, policy);
        self.entries.iter().filter(is_finished).map(|entry| entry.line_number)
    }

    /// All latest records in line order, read from the file one at a time.
    pub fn records(
        &self,
    ) -> Result<impl Iterator<Item = Result<LineRecord, JournalError>> + Send + use<>, JournalError> {
        let mut lines = self.raw_lines()?;
        let path = self.path.clone();
        Ok(std::iter::from_fn(move || {
            let next = lines.next()?;
            Some(next.and_then(|(offset, bytes)| parse(&path, offset, &bytes)))
        }))
    }

    /// The latest record of one line.
    pub fn record(&self, line_number: u64) -> Result<Option<LineRecord>, JournalError> {
        let Ok(index) = self.entries.binary_search_by_key(&line_number, |entry| entry.line_number) else {
            return Ok(None);
        };
        let mut lines = RawLines::open(&self.path, vec![self.entries[index]])?;
        lines.next().transpose()?.map(|(offset, bytes)| parse(&self.path, offset, &bytes)).transpose()
    }

    /// Writes `{line_number, status, outputs, error}`, one line each, in line order: the same bytes whatever
    /// order the lines ended in, and however often the batch was interrupted.
    pub fn write_outputs_in_order(&self, writer: &mut dyn Write) -> Result<(), JournalError> {
        let write_failed = |source| JournalError::io(&self.path, "copied to the output", source);
        let mut lines = self.raw_lines()?;
        while let Some((offset, bytes)) = lines.next().transpose()? {
            let line: OutputLine = parse_borrowed(&self.path, offset, &bytes)?;
            serde_json::to_writer(&mut *writer, &line).map_err(|error| write_failed(error.into()))?;
            writer.write_all(b"\n").map_err(write_failed)?;
        }
        writer.flush().map_err(write_failed)
    }

    fn raw_lines(&self) -> Result<RawLines, JournalError> {
        RawLines::open(&self.path, self.entries.clone())
    }
}

/// What `batch` prints of a line. The values are copied as they stand, not parsed and written anew.
#[derive(Serialize, Deserialize)]
struct OutputLine<'r> {
    line_number: u64,
    status: Status,
    #[serde(borrow)]
    outputs: &'r RawValue,
    #[serde(borrow)]
    error: Option<&'r RawValue>,
}

fn parse(path: &Path, offset: u64, bytes: &[u8]) -> Result<LineRecord, JournalError> {
    parse_borrowed(path, offset, bytes)
}

fn parse_borrowed<'r, T: Deserialize<'r>>(
    path: &Path,
    offset: u64,
    bytes: &'r [u8],
) -> Result<T, JournalError> {
    serde_json::from_slice(bytes).map_err(|error| JournalError::Damaged {
        path: path.to_owned(),
        offset,
        reason: short(&error),
    })
}

/// Raw records by entry. Lines end nearly in order, so most steps stay within the reader's buffer.
struct RawLines {
    path: PathBuf,
    reader: BufReader<File>,
    position: u64,
    entries: std::vec::IntoIter<Entry>,
}

impl RawLines {
    fn open(path: &Path, entries: Vec<Entry>) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|source| JournalError::io(path, "read", source))?;
        let reader = BufReader::with_capacity(64 << 10, file);
        Ok(Self { path: path.to_owned(), reader, position: 0, entries: entries.into_iter() })
    }

    fn read(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        match i64::try_from(i128::from(offset) - i128::from(self.position)) {
            Ok(step) => self.reader.seek_relative(step)?,
            Err(_) => {
                self.reader.seek(SeekFrom::Start(offset))?;
            }
        }
        self.position = offset;
        let mut bytes = Vec::new();
        self.position += self.reader.read_until(b'\n', &mut bytes)? as u64;
        Ok(bytes)
    }
}

impl Iterator for RawLines {
    type Item = Result<(u64, Vec<u8>), JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.entries.next()?.offset();
        let bytes = self.read(offset).map_err(|source| JournalError::io(&self.path, "read", source));
        Some(bytes.map(|bytes| (offset, bytes)))
    }
}
