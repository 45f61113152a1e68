//! One append-only file of records by digest, with large ones in files of their own.
//!
//! ```text
//! pack    "FBPACK01" epoch:u64 record*
//! record  mark:4 length:u32 digest:32 check of payload:16 check of header:4 payload
//! object  check of payload:16 payload            objects/LAYER/2 digits/62 digits
//! ```
//!
//! Headers check themselves, so a scan walks from header to header without reading payloads, and finds the next
//! sound header behind a damaged one by its mark.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use super::places::{self, Place, Places};
use super::{Digest, Layer, LayerError, platform};

const MAGIC: [u8; 8] = *b"FBPACK01";
/// Magic and epoch.
const START: u64 = 16;
/// Begins every record; unlikely in text.
const MARK: [u8; 4] = [0xf1, 0x0b, 0xe4, 0xc4];
const HEADER: usize = 60;
const CHECK: usize = 16;
/// Larger payloads get files of their own, so that sweeping never copies them.
const OBJECT_BYTES: usize = 1 << 20;
/// Records are gathered up to here before they go to the file: fewer, larger writes.
const BUFFER_BYTES: usize = 1 << 20;
/// The side file is written anew when so many bytes are not in it: what a scan reads in a fraction of a second.
const UNTOLD_BYTES: u64 = 64 << 20;

/// One layer. Values never change: the first one put under a key stays.
#[derive(Debug)]
pub struct Pack {
    layer: Layer,
    dir: PathBuf,
    can_write: bool,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    /// `None` where there is nothing to read yet.
    file: Option<File>,
    epoch: u64,
    places: Places,
    /// Records that are not in the file yet.
    buffer: Vec<u8>,
    /// Length of the file.
    flushed: u64,
    /// Bytes that the side file tells of.
    told: u64,
    /// Objects that are not synced yet.
    unsynced: Vec<PathBuf>,
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Records.
    pub records: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

impl AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl Pack {
    pub(super) fn open(dir: &Path, layer: Layer, can_write: bool) -> Result<Self, LayerError> {
        let path = dir.join(format!("{layer}.pack"));
        let opened =
            File::options().read(true).write(can_write).create(can_write).truncate(false).open(&path);
        let file = match opened {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !can_write => None,
            Err(error) => return Err(LayerError::io(&path, "opened")(error)),
        };
        let state = State {
            file,
            epoch: 0,
            places: Places::default(),
            buffer: Vec::new(),
            flushed: 0,
            told: 0,
            unsynced: Vec::new(),
        };
        let mut pack = Self { layer, dir: dir.to_owned(), can_write, state: RwLock::new(state) };
        pack.find_records()?;
        pack.find_objects()?;
        Ok(pack)
    }

    /// The value of a key, `None` where there is none. Fails with [`LayerError::Corrupt`] where it is damaged.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LayerError> {
        let state = self.read();
        let Some(place) = state.places.get(digest).copied() else { return Ok(None) };
        let found = match place.is_damaged {
            true => None,
            false => self.read_record(&state, digest, place)?,
        };
        if found.is_some() {
            return Ok(found);
        }
        drop(state);
        if let Some(now) = self.write().places.get_mut(digest).filter(|now| **now == place) {
            now.is_damaged = true;
        }
        Err(LayerError::Corrupt { layer: self.layer, digest: *digest })
    }

    /// As [`Pack::get`], where a damaged value is as good as none; putting it again mends it.
    pub fn get_or_absent(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LayerError> {
        match self.get(digest) {
            Err(LayerError::Corrupt { .. }) => Ok(None),
            other => other,
        }
    }

    /// True where there is a value that was not found damaged. Reads nothing.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.read().places.get(digest).is_some_and(|place| !place.is_damaged)
    }

    /// Keeps a value, unless there is one already. It is found at once, and survives this process after the next
    /// megabyte or [`Pack::sync`].
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), LayerError> {
        if !self.can_write {
            return Err(LayerError::ReadOnly { dir: self.dir.clone() });
        }
        if self.contains(digest) {
            return Ok(());
        }
        let check = check_of(digest, bytes);
        if bytes.len() > OBJECT_BYTES {
            return self.put_object(digest, &check, bytes);
        }
        let header = header(digest, &check, bytes.len());
        let mut state = self.write();
        if state.places.get(digest).is_some_and(|place| !place.is_damaged) {
            return Ok(());
        }
        if state.buffer.len() >= BUFFER_BYTES {
            self.flush(&mut state)?;
        }
        let offset = state.flushed + state.buffer.len() as u64;
        state.buffer.extend_from_slice(&header);
        state.buffer.extend_from_slice(bytes);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        state.places.insert(*digest, Place { offset, length, is_damaged: false });
        Ok(())
    }

    /// Number of values, damaged ones left out.
    pub fn len(&self) -> usize {
        self.read().places.values().filter(|place| !place.is_damaged).count()
    }

    /// True for no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All keys, in the order in which they stand on the disk.
    pub fn digests(&self) -> Vec<Digest> {
        let mut found: Vec<(u64, Digest)> =
            self.read().places.iter().map(|(digest, place)| (place.offset, *digest)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, digest)| digest).collect()
    }

    /// Makes everything that was put survive a power cut.
    pub fn sync(&self) -> Result<(), LayerError> {
        if !self.can_write {
            return Ok(());
        }
        let mut state = self.write();
        self.flush(&mut state)?;
        for path in std::mem::take(&mut state.unsynced) {
            let synced = File::open(&path).and_then(|file| file.sync_data());
            synced.map_err(LayerError::io(&path, "synced"))?;
        }
        if let Some(file) = &state.file {
            file.sync_data().map_err(LayerError::io(&self.path(), "synced"))?;
        }
        if state.flushed - state.told > UNTOLD_BYTES {
            self.tell(&mut state);
        }
        Ok(())
    }

    /// Rewrites the pack without what is not kept and without damaged records. Readers that have it open keep the
    /// old one.
    pub(super) fn sweep(&self, keep: impl Fn(&Digest) -> bool) -> Result<Swept, LayerError> {
        if !self.can_write {
            return Err(LayerError::ReadOnly { dir: self.dir.clone() });
        }
        let mut state = self.write();
        self.flush(&mut state)?;
        let mut swept = Swept::default();
        let mut kept = Vec::new();
        for (digest, place) in std::mem::take(&mut state.places) {
            let is_kept = keep(&digest) && !place.is_damaged;
            match (is_kept, place.offset == Place::OBJECT) {
                (true, true) => {
                    state.places.insert(digest, place);
                }
                (true, false) => kept.push((place.offset, digest, place)),
                (false, true) => {
                    // What cannot be removed now is there for the next sweep.
                    if std::fs::remove_file(self.object_path(&digest)).is_ok() {
                        swept += Swept { records: 1, bytes: u64::from(place.length) };
                    } else {
                        state.places.insert(digest, place);
                    }
                }
                (false, false) => swept.records += 1,
            }
        }
        kept.sort_unstable_by_key(|(offset, ..)| *offset);
        let size: u64 = kept.iter().map(|(_, _, place)| HEADER as u64 + u64::from(place.length)).sum();
        if START + size == state.flushed {
            state.places.extend(kept.into_iter().map(|(_, digest, place)| (digest, place)));
            return Ok(swept);
        }
        swept.bytes += self.rewrite(&mut state, &kept)?;
        Ok(swept)
    }

    /// Writes the kept records aside and puts the new file in the old one's place; gives the bytes saved.
    fn rewrite(&self, state: &mut State, kept: &[(u64, Digest, Place)]) -> Result<u64, LayerError> {
        let (path, aside) = (self.path(), self.path().with_extension("aside"));
        let epoch = state.epoch + 1;
        let mut places = Places::default();
        let written = (|| {
            let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, File::create(&aside)?);
            out.write_all(&start(epoch))?;
            let mut offset = START;
            let mut record = Vec::new();
            for (_, digest, place) in kept {
                record.resize(HEADER + place.length as usize, 0);
                if let Some(file) = &state.file {
                    platform::read_at(file, &mut record, place.offset)?;
                }
                out.write_all(&record)?;
                places.insert(*digest, Place { offset, ..*place });
                offset += record.len() as u64;
            }
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_data()?;
            Ok(offset)
        })();
        let restore = |state: &mut State| {
            state.places.extend(kept.iter().map(|(_, digest, place)| (*digest, *place)));
        };
        let size = match written {
            Ok(size) => size,
            Err(error) => {
                restore(state);
                return Err(LayerError::io(&aside, "written")(error));
            }
        };
        // The side file goes first: it must never be taken for one of the new pack.
        let _ = std::fs::remove_file(self.side_path());
        let swapped =
            std::fs::rename(&aside, &path).and_then(|()| File::options().read(true).write(true).open(&path));
        match swapped {
            Ok(file) => state.file = Some(file),
            Err(error) => {
                restore(state);
                return Err(LayerError::io(&path, "replaced")(error));
            }
        }
        let saved = state.flushed.saturating_sub(size);
        state.places.extend(places);
        (state.epoch, state.flushed, state.told) = (epoch, size, 0);
        self.tell(state);
        Ok(saved)
    }

    /// Takes the side file's word where it holds, reads on from there, and drops a torn end.
    fn find_records(&mut self) -> Result<(), LayerError> {
        let path = self.path();
        let side_path = self.side_path();
        let can_write = self.can_write;
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &mut state.file else { return Ok(()) };
        let read_failed = |error| LayerError::io(&path, "read")(error);
        let length = file.metadata().map_err(read_failed)?.len();
        if length < START {
            if can_write {
                let begun =
                    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&start(0)));
                begun.map_err(LayerError::io(&path, "written"))?;
                state.flushed = START;
            } else {
                state.file = None;
            }
            return Ok(());
        }
        let mut head = [0; START as usize];
        platform::read_at(file, &mut head, 0).map_err(read_failed)?;
        if head[..8] != MAGIC {
            return Err(LayerError::Format { path });
        }
        state.epoch = head[8..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut from = START;
        if let Some(side) = places::load(&side_path, state.epoch).filter(|side| agrees(side, file, length)) {
            (state.places, from, state.told) = (side.places, side.covered, side.covered);
        }
        let end = scan(file, from, length, &mut state.places).map_err(read_failed)?;
        if end < length && can_write {
            file.set_len(end).map_err(LayerError::io(&path, "cut"))?;
        }
        state.flushed = end;
        Ok(())
    }

    fn find_objects(&mut self) -> Result<(), LayerError> {
        let root = self.dir.join("objects").join(self.layer.name());
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let shelves = match std::fs::read_dir(&root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(LayerError::io(&root, "read"))?,
        };
        for shelf in shelves {
            let shelf = shelf.map_err(LayerError::io(&root, "read"))?;
            let Ok(files) = std::fs::read_dir(shelf.path()) else { continue };
            for file in files {
                let file = file.map_err(LayerError::io(&root, "read"))?;
                let name =
                    format!("{}{}", shelf.file_name().to_string_lossy(), file.file_name().to_string_lossy());
                let Ok(digest) = name.parse::<Digest>() else {
                    // Left by a process that was killed while it wrote it.
                    if self.can_write && name.ends_with(".aside") {
                        let _ = std::fs::remove_file(file.path());
                    }
                    continue;
                };
                let length = file.metadata().map_err(LayerError::io(&root, "read"))?.len();
                let payload = u32::try_from(length.saturating_sub(CHECK as u64)).unwrap_or(u32::MAX);
                let place = Place { offset: Place::OBJECT, length: payload, is_damaged: false };
                state.places.insert(digest, place);
            }
        }
        Ok(())
    }

    fn put_object(&self, digest: &Digest, check: &[u8; CHECK], bytes: &[u8]) -> Result<(), LayerError> {
        let path = self.object_path(digest);
        let aside = path.with_extension("aside");
        let shelf = path.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(shelf).map_err(LayerError::io(shelf, "made"))?;
        let mut state = self.write();
        let written = (|| {
            let mut file = File::create(&aside)?;
            file.write_all(check)?;
            file.write_all(bytes)?;
            std::fs::rename(&aside, &path)
        })();
        if let Err(error) = written {
            let _ = std::fs::remove_file(&aside);
            return Err(LayerError::io(&path, "written")(error));
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        state.places.insert(*digest, Place { offset: Place::OBJECT, length, is_damaged: false });
        state.unsynced.push(path);
        Ok(())
    }

    /// The payload of a record; `None` where it is not what was written.
    fn read_record(
        &self,
        state: &State,
        digest: &Digest,
        place: Place,
    ) -> Result<Option<Vec<u8>>, LayerError> {
        if place.offset == Place::OBJECT {
            let path = self.object_path(digest);
            return match std::fs::read(&path) {
                Ok(mut bytes) if bytes.len() >= CHECK => {
                    let payload = bytes.split_off(CHECK);
                    Ok((bytes == check_of(digest, &payload)).then_some(payload))
                }
                Ok(_) => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(LayerError::io(&path, "read")(error)),
            };
        }
        let size = HEADER + place.length as usize;
        let mut record = vec![0; size];
        if place.offset >= state.flushed {
            let at = usize::try_from(place.offset - state.flushed).unwrap_or(usize::MAX);
            let Some(found) = state.buffer.get(at..at.saturating_add(size)) else { return Ok(None) };
            record.copy_from_slice(found);
        } else if let Some(file) = &state.file {
            match platform::read_at(file, &mut record, place.offset) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(LayerError::io(&self.path(), "read")(error)),
            }
        }
        let payload = record.split_off(HEADER);
        let check = check_of(digest, &payload);
        Ok((record == header(digest, &check, payload.len())).then_some(payload))
    }

    /// Moves the buffer to the file. On failure (a full disk) the file is as long as before and nothing is lost.
    fn flush(&self, state: &mut State) -> Result<(), LayerError> {
        let State { file: Some(file), buffer, flushed, .. } = state else { return Ok(()) };
        if buffer.is_empty() {
            return Ok(());
        }
        let written = file.seek(SeekFrom::Start(*flushed)).and_then(|_| file.write_all(buffer));
        if let Err(error) = written {
            let _ = file.set_len(*flushed);
            return Err(LayerError::io(&self.path(), "written")(error));
        }
        *flushed += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }

    /// Writes the side file. It only saves time, so failing to is no failure.
    fn tell(&self, state: &mut State) {
        if places::save(&self.side_path(), state.epoch, state.flushed, &state.places).is_ok() {
            state.told = state.flushed;
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.pack", self.layer))
    }

    fn side_path(&self) -> PathBuf {
        self.dir.join(format!("{}.places", self.layer))
    }

    fn object_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        let (shelf, rest) = name.split_at(2);
        self.dir.join("objects").join(self.layer.name()).join(shelf).join(rest)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        if !self.can_write {
            return;
        }
        let mut state = self.write();
        if self.flush(&mut state).is_ok() && state.flushed > state.told.max(START) {
            self.tell(&mut state);
        }
    }
}

fn start(epoch: u64) -> [u8; START as usize] {
    let mut bytes = [0; START as usize];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(&epoch.to_le_bytes());
    bytes
}

fn check_of(digest: &Digest, payload: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&digest.0).update(payload);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
    check
}

fn header(digest: &Digest, check: &[u8; CHECK], length: usize) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&MARK);
    bytes[4..8].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    bytes[8..40].copy_from_slice(&digest.0);
    bytes[40..56].copy_from_slice(check);
    let own = blake3::hash(&bytes[..56]);
    bytes[56..].copy_from_slice(&own.as_bytes()[..4]);
    bytes
}

/// Digest and payload length of a sound header.
fn read_header(bytes: &[u8; HEADER]) -> Option<(Digest, u32)> {
    let is_sound = bytes[..4] == MARK && blake3::hash(&bytes[..56]).as_bytes()[..4] == bytes[56..];
    let length = bytes[4..].first_chunk().map(|length| u32::from_le_bytes(*length));
    let digest = bytes[8..].first_chunk().map(|digest| Digest(*digest));
    digest.zip(length).filter(|(_, length)| is_sound && *length as usize <= OBJECT_BYTES)
}

/// Whether a side file is of this pack: the last record it names ends where it says, and is there.
fn agrees(side: &places::SideFile, file: &File, length: u64) -> bool {
    let Some((digest, place)) = side.last else { return false };
    let mut bytes = [0; HEADER];
    side.covered <= length
        && place.offset.checked_add(HEADER as u64 + u64::from(place.length)) == Some(side.covered)
        && platform::read_at(file, &mut bytes, place.offset).is_ok()
        && read_header(&bytes) == Some((digest, place.length))
}

/// Walks over the records from `from` on; gives where the last whole one ends. Later records replace earlier ones.
fn scan(file: &File, from: u64, length: u64, places: &mut Places) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(256 << 10, file);
    reader.seek(SeekFrom::Start(from))?;
    let (mut offset, mut end) = (from, from);
    let mut bytes = [0; HEADER];
    while offset + HEADER as u64 <= length {
        reader.read_exact(&mut bytes)?;
        let found =
            read_header(&bytes).filter(|(_, payload)| offset + HEADER as u64 + u64::from(*payload) <= length);
        match found {
            Some((digest, payload)) => {
                places.insert(digest, Place { offset, length: payload, is_damaged: false });
                reader.seek_relative(i64::from(payload))?;
                offset += HEADER as u64 + u64::from(payload);
                end = offset;
            }
            None => {
                // Damaged, or torn: on to the next mark, if there is one.
                let skip = 1 + bytes[1..].iter().position(|byte| *byte == MARK[0]).unwrap_or(HEADER - 1);
                reader.seek_relative(skip as i64 - HEADER as i64)?;
                offset += skip as u64;
            }
        }
    }
    Ok(end)
}
