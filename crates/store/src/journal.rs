//! The journal of a batch: an append-only file with one JSON record a line.
//!
//! A record is handed to the operating system before [`RunJournal::append`] returns, so that killing the process
//! loses no line that was counted. A background thread syncs the file to the disk every [`SYNC_INTERVAL`], so that
//! a power failure costs at most that much. A lock beside the journal keeps two resumes apart; it goes with
//! the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flowbench_core::event::Status;
use serde::Serialize;

use crate::error::JournalError;
use crate::journal_scan::{JournalReader, ResumePolicy, scan};
use crate::places::{Place, Places};
use crate::record::{JournalEnd, JournalHeader, LineRecord};
use crate::redact::Redactor;

/// How often appended records are synced to the disk: often enough to lose little, seldom enough that a slow disk
/// does not slow the batch.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(250);

/// Somebody who only asks whether the batch is running holds the lock for microseconds; a tenth of a second of tries
/// tells that from a batch that runs.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The file as the journal uses it; tests put a failing one in its place.
pub(crate) trait Sink: Send {
    /// Appends all bytes, or fails with any part of them written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to this length.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// A batch's journal, open for appending by this process alone.
pub struct RunJournal {
    path: PathBuf,
    header: JournalHeader,
    tail: Mutex<Tail>,
    syncer: Syncer,
    redactor: Option<Arc<Redactor>>,
    /// Lines that were finished when the journal was opened.
    before: JournalReader,
    _lock: Lock,
}

/// The lock that keeps others from the batch, while this lives.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, because closing alone does not do it while a process just being started still shares the handle.
        let _ = self.0.unlock();
    }
}

struct Tail {
    sink: Box<dyn Sink>,
    length: u64,
    buffer: Vec<u8>,
    /// Every line's record so far, those of earlier processes included.
    places: Places,
    /// Set where a failed write could not be taken back: a further record would follow half a one.
    is_stuck: bool,
}

impl RunJournal {
    /// Starts a journal. The header is complete on the disk, or the file is not there.
    pub fn create(path: &Path, header: &JournalHeader) -> Result<Self, JournalError> {
        let create_failed = |source| JournalError::io(path, "created", source);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(create_failed)?;
        }
        let lock = lock(path)?;
        if path.exists() {
            return Err(JournalError::Exists { path: path.to_owned() });
        }
        let header = JournalHeader { journal_version: crate::record::JOURNAL_VERSION, ..header.clone() };
        let draft = path.with_extension("new");
        let mut file = File::create(&draft).map_err(create_failed)?;
        let mut line = serde_json::to_vec(&header).map_err(|error| create_failed(error.into()))?;
        line.push(b'\n');
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(create_failed)?;
        drop(file);
        std::fs::rename(&draft, path).map_err(create_failed)?;
        sync_folder(path);
        Self::open(path, lock)
    }

    /// Goes on with a journal. Takes a torn last line off, and refuses when the batch is being run or what it is
    /// made of has changed.
    pub fn resume(path: &Path, now: &JournalHeader) -> Result<Self, JournalError> {
        let journal = Self::resume_unchecked(path)?;
        journal.header.check_resumable(now)?;
        Ok(journal)
    }

    /// Like [`RunJournal::resume`], without comparing what the batch is made of.
    pub fn resume_unchecked(path: &Path) -> Result<Self, JournalError> {
        // Reading first: a path that is no journal must not get a lock file beside it.
        if !path.is_file() {
            let missing = io::Error::new(ErrorKind::NotFound, "there is no such file");
            return Err(JournalError::io(path, "read", missing));
        }
        let lock = lock(path)?;
        Self::open(path, lock)
    }

    fn open(path: &Path, lock: Lock) -> Result<Self, JournalError> {
        let write_failed = |source| JournalError::io(path, "written", source);
        let scan = scan(path)?;
        let length = scan.sound_bytes;
        let file = OpenOptions::new().append(true).open(path).map_err(write_failed)?;
        if scan.file_bytes > length {
            file.set_len(length).and_then(|()| file.sync_data()).map_err(write_failed)?;
        }
        let syncer = Syncer::start(file.try_clone().map_err(write_failed)?).map_err(write_failed)?;
        let before = JournalReader::from_scan(path, scan);
        Ok(Self {
            path: path.to_owned(),
            header: before.header().clone(),
            tail: Mutex::new(Tail {
                sink: Box::new(file),
                length,
                buffer: Vec::new(),
                places: before.places().clone(),
                is_stuck: false,
            }),
            syncer,
            redactor: None,
            before,
            _lock: lock,
        })
    }

    /// True while some process runs the batch; a batch without an end that nobody runs was interrupted.
    pub fn is_running(path: &Path) -> bool {
        let lock = File::open(path.with_extension("lock")).map(Lock);
        lock.is_ok_and(|lock| matches!(lock.0.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Takes secrets out of everything that is appended from now on.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Arc<Redactor>) -> Self {
        self.redactor = Some(redactor);
        self
    }

    /// What the batch is made of.
    pub fn header(&self) -> &JournalHeader {
        &self.header
    }

    /// The journal as it was when it was opened: which lines are done.
    pub fn before(&self) -> &JournalReader {
        &self.before
    }

    /// True if the line was done before this process opened the journal.
    pub fn is_finished(&self, line_number: u64, policy: ResumePolicy) -> bool {
        self.before.is_finished(line_number, policy)
    }

    /// Keeps one finished line. When this returns, killing the process does not lose it; when it fails, the
    /// journal is as it was before.
    pub fn append(&self, record: &LineRecord) -> Result<(), JournalError> {
        self.write(record, record.line_number, Some(record.status))
    }

    /// Says how the batch ended, syncs, and gives the journal back for reading. Without an end the journal stays
    /// open to be resumed.
    pub fn finish(self, end: Option<&JournalEnd>) -> Result<JournalReader, JournalError> {
        if let Some(end) = end {
            #[derive(Serialize)]
            struct End<'e> {
                end: &'e JournalEnd,
            }
            self.write(&End { end }, 0, None)?;
        }
        self.sync()?;
        Ok(self.reader(end))
    }

    /// Everything so far, this process's records included, without reading the file again.
    pub fn reader(&self, end: Option<&JournalEnd>) -> JournalReader {
        let places = self.tail().places.clone();
        self.before.with_places(places, end)
    }

    /// Syncs to the disk now.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.syncer.sync_now().map_err(|message| JournalError::Sync { path: self.path.clone(), message })
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, value: &impl Serialize, line: u64, status: Option<Status>) -> Result<(), JournalError> {
        if let Some(message) = self.syncer.failure() {
            return Err(JournalError::Sync { path: self.path.clone(), message });
        }
        let write_failed = |source: io::Error| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                JournalError::DiskFull { path: self.path.clone(), line }
            }
            _ => JournalError::io(&self.path, "written", source),
        };
        let redacted = match &self.redactor {
            Some(redactor) => redactor.redact_line(value).map_err(|error| write_failed(error.into()))?,
            None => None,
        };
        let mut tail = self.tail();
        let tail = &mut *tail;
        if tail.is_stuck {
            return Err(write_failed(io::Error::other("an earlier record could not be taken back")));
        }
        tail.buffer.clear();
        match redacted {
            Some(bytes) => tail.buffer.extend_from_slice(&bytes),
            None => {
                serde_json::to_writer(&mut tail.buffer, value).map_err(|error| write_failed(error.into()))?
            }
        }
        tail.buffer.push(b'\n');
        if let Err(error) = tail.sink.append(&tail.buffer) {
            // What was written of it would run into the next record.
            tail.is_stuck = tail.sink.cut(tail.length).is_err();
            return Err(write_failed(error));
        }
        if let Some(status) = status {
            tail.places.insert(line, Place::new(tail.length, status));
        }
        tail.length += tail.buffer.len() as u64;
        // One enormous record must not hold its memory for the rest of the batch.
        if tail.buffer.capacity() > 1 << 20 {
            tail.buffer = Vec::new();
        }
        self.syncer.note_written();
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn replace_sink(&self, wrap: impl FnOnce(Box<dyn Sink>) -> Box<dyn Sink>) {
        struct Gone;
        impl Sink for Gone {
            fn append(&mut self, _: &[u8]) -> io::Result<()> {
                Err(io::Error::other("gone"))
            }
            fn cut(&mut self, _: u64) -> io::Result<()> {
                Err(io::Error::other("gone"))
            }
        }
        let mut tail = self.tail();
        let old = std::mem::replace(&mut tail.sink, Box::new(Gone));
        tail.sink = wrap(old);
    }
}

/// Locks the batch for this process. The lock file stays; the lock goes with the process, however that ends.
fn lock(path: &Path) -> Result<Lock, JournalError> {
    let lock_path = path.with_extension("lock");
    let lock_failed = |source| JournalError::io(&lock_path, "created", source);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(lock_failed)?;
    let file = Lock(file);
    for _ in 0..LOCK_TRIES {
        match file.0.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(JournalError::io(&lock_path, "locked", source)),
        }
    }
    Err(JournalError::Locked { path: path.to_owned() })
}

/// Makes a new file's name durable, where folders can be opened for that.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        // Where the system cannot sync a folder there is nothing else to do.
        let _ = folder.sync_all();
    }
}

/// Syncs a file in the background, at most every [`SYNC_INTERVAL`], and at the end.
struct Syncer {
    shared: Arc<SyncShared>,
    thread: Option<JoinHandle<()>>,
}

struct SyncShared {
    file: File,
    state: Mutex<SyncState>,
    wake: Condvar,
}

#[derive(Default)]
struct SyncState {
    is_dirty: bool,
    is_over: bool,
    failure: Option<String>,
}

impl Syncer {
    fn start(file: File) -> io::Result<Self> {
        let shared = Arc::new(SyncShared { file, state: Mutex::default(), wake: Condvar::new() });
        let worker = shared.clone();
        let thread =
            std::thread::Builder::new().name("journal-sync".to_owned()).spawn(move || worker.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    fn note_written(&self) {
        let mut state = self.shared.state();
        if !state.is_dirty {
            state.is_dirty = true;
            self.shared.wake.notify_one();
        }
    }

    fn failure(&self) -> Option<String> {
        self.shared.state().failure.clone()
    }

    fn sync_now(&self) -> Result<(), String> {
        self.shared.state().is_dirty = false;
        self.shared.sync();
        self.failure().map_or(Ok(()), Err)
    }
}

impl SyncShared {
    fn state(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without holding the state, so that a slow disk does not hold up appending.
    fn sync(&self) {
        if let Err(error) = self.file.sync_data() {
            self.state().failure.get_or_insert(error.to_string());
        }
    }

    fn run(&self) {
        let mut state = self.state();
        loop {
            while !state.is_dirty && !state.is_over {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_over {
                let is_dirty = state.is_dirty;
                drop(state);
                if is_dirty {
                    self.sync();
                }
                return;
            }
            // Written now; gather more until the interval is over, or the end comes.
            let (mut waited, _) = self
                .wake
                .wait_timeout_while(state, SYNC_INTERVAL, |state| !state.is_over)
                .unwrap_or_else(PoisonError::into_inner);
            waited.is_dirty = false;
            drop(waited);
            self.sync();
            state = self.state();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in there has nothing to add: what was written is written.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A disk with room for so many bytes; writes what fits, as a real one does.
    struct FullDisk {
        inner: Box<dyn Sink>,
        room: Arc<AtomicUsize>,
        can_cut: bool,
    }

    impl Sink for FullDisk {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let room = self.room.load(Ordering::Relaxed);
            if bytes.len() <= room {
                self.room.store(room - bytes.len(), Ordering::Relaxed);
                return self.inner.append(bytes);
            }
            self.inner.append(&bytes[..room])?;
            Err(io::Error::from(ErrorKind::StorageFull))
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            if self.can_cut { self.inner.cut(length) } else { Err(io::Error::other("cannot")) }
        }
    }

    fn journal_on_full_disk(folder: &Path, can_cut: bool) -> (RunJournal, Arc<AtomicUsize>) {
        let journal = RunJournal::create(&folder.join("journal.jsonl"), &JournalHeader::new("r", "f"))
            .expect("created");
        let room = Arc::new(AtomicUsize::new(200));
        let shared = room.clone();
        journal.replace_sink(|inner| Box::new(FullDisk { inner, room: shared, can_cut }));
        (journal, room)
    }

    fn fill(journal: &RunJournal) -> (u64, JournalError) {
        for number in 0.. {
            if let Err(error) = journal.append(&LineRecord::new(number, Status::Completed)) {
                return (number, error);
            }
        }
        unreachable!("200 bytes are full soon")
    }

    #[test]
    fn a_full_disk_loses_nothing_and_may_be_freed() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, room) = journal_on_full_disk(folder.path(), true);
        let (number, error) = fill(&journal);
        let path = folder.path().join("journal.jsonl");
        assert_eq!(
            error.to_string(),
            format!(
                "the disk is full: journal `{}` keeps every finished line so far, and line {number} is not among them",
                path.display()
            )
        );
        let kept: Vec<u64> =
            JournalReader::open(&path).unwrap().finished_lines(ResumePolicy::RedoFailed).collect();
        assert!(kept.iter().copied().eq(0..number));
        room.store(10_000, Ordering::Relaxed);
        journal.append(&LineRecord::new(number, Status::Completed)).expect("there is room again");
        assert_eq!(journal.finish(None).unwrap().line_count(), number + 1);
        assert_eq!(JournalReader::open(&path).unwrap().line_count(), number + 1);
    }

    #[test]
    fn nothing_follows_half_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, room) = journal_on_full_disk(folder.path(), false);
        let (number, _) = fill(&journal);
        room.store(10_000, Ordering::Relaxed);
        let error = journal.append(&LineRecord::new(number, Status::Completed)).unwrap_err();
        assert!(error.to_string().ends_with("an earlier record could not be taken back"), "{error}");
        drop(journal);
        let path = folder.path().join("journal.jsonl");
        assert_eq!(RunJournal::resume_unchecked(&path).unwrap().before().line_count(), number);
    }
}
