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
use crate::places::{Place, Places};
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

/// What a journal holds, found in one pass.
pub(crate) struct Scan {
    pub(crate) header: JournalHeader,
    pub(crate) places: Places,
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
    let mut places = Places::default();
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
                places.insert(line, Place::new(offset, status));
            }
            (Some(_), Glance { end: Some(raw), .. }) => {
                end = Some(serde_json::from_str(raw.get()).map_err(|error| damaged(short(&error)))?);
            }
            (Some(_), _) => return Err(damaged("neither a line's record nor the end of a batch".to_owned())),
        }
        offset += count;
    }
    let header = header.ok_or_else(|| JournalError::NoHeader { path: path.to_owned() })?;
    Ok(Scan { header, places, end, sound_bytes: offset, file_bytes })
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

/// A journal that is only read. Looks at a batch that still runs as well: what is there when it is opened.
pub struct JournalReader {
    path: PathBuf,
    header: JournalHeader,
    places: Places,
    end: Option<JournalEnd>,
    torn_bytes: u64,
}

impl JournalReader {
    /// Opens a journal without locking or changing it; a torn last line is passed over.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self::from_scan(path, scan(path)?))
    }

    pub(crate) fn from_scan(path: &Path, scan: Scan) -> Self {
        Self {
            path: path.to_owned(),
            header: scan.header,
            places: scan.places,
            end: scan.end,
            torn_bytes: scan.file_bytes - scan.sound_bytes,
        }
    }

    /// This journal with more records; places are shared, not copied.
    pub(crate) fn with_places(&self, places: Places, end: Option<&JournalEnd>) -> Self {
        Self {
            path: self.path.clone(),
            header: self.header.clone(),
            places,
            end: end.or(self.end.as_ref()).cloned(),
            torn_bytes: self.torn_bytes,
        }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
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
        self.places.len()
    }

    /// Number of lines whose latest record has this status.
    pub fn count(&self, status: Status) -> u64 {
        self.places.iter().filter(|(_, place)| place.status() == status).count() as u64
    }

    /// True if a resumed batch need not run the line.
    pub fn is_finished(&self, line_number: u64, policy: ResumePolicy) -> bool {
        self.places.get(line_number).is_some_and(|place| is_final(place, policy))
    }

    /// Numbers of the lines that need not be run, ascending.
    pub fn finished_lines(&self, policy: ResumePolicy) -> impl Iterator<Item = u64> + '_ {
        self.places.iter().filter(move |(_, place)| is_final(*place, policy)).map(|(line, _)| line)
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
        let Some(place) = self.places.get(line_number) else { return Ok(None) };
        let (offset, bytes) = RawLines::open(&self.path, Places::default())?.read(place)?;
        parse(&self.path, offset, &bytes).map(Some)
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
        RawLines::open(&self.path, self.places.clone())
    }
}

fn is_final(place: Place, policy: ResumePolicy) -> bool {
    match place.status() {
        Status::Completed | Status::Bypassed => true,
        Status::Failed => policy == ResumePolicy::KeepFailed,
        Status::Canceled => false,
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

/// Raw records in line order. Lines end nearly in order, so most steps stay within the reader's buffer.
struct RawLines {
    path: PathBuf,
    reader: BufReader<File>,
    position: u64,
    places: Places,
    /// Where to look for the next line; `None` at the end.
    cursor: Option<u64>,
}

impl RawLines {
    fn open(path: &Path, places: Places) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|source| JournalError::io(path, "read", source))?;
        let reader = BufReader::with_capacity(64 << 10, file);
        Ok(Self { path: path.to_owned(), reader, position: 0, places, cursor: Some(0) })
    }

    /// The record at a place, with its offset.
    fn read(&mut self, place: Place) -> Result<(u64, Vec<u8>), JournalError> {
        let offset = place.offset();
        match self.read_at(offset) {
            Ok(bytes) => Ok((offset, bytes)),
            Err(source) => Err(JournalError::io(&self.path, "read", source)),
        }
    }

    fn read_at(&mut self, offset: u64) -> io::Result<Vec<u8>> {
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
        let (line, place) = self.places.next_from(self.cursor?)?;
        self.cursor = line.checked_add(1);
        Some(self.read(place))
    }
}
