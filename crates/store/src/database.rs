//! Opening an SQLite file so that several processes can share it, an older one is brought up to date, and a
//! broken or newer one is told apart from one that is merely busy.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::StoreError;

/// How long to wait for other processes. They hold the database for milliseconds; half a minute means that one hangs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// One step of the schema; its place in the list is the version that it leads to.
pub(crate) type Migration = &'static str;

/// An open database and where it is.
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    pub(crate) connection: Connection,
}

impl Database {
    /// Opens or creates the database and brings its schema up to date.
    pub(crate) fn open(path: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::io(folder, "created", source))?;
        }
        let explain = |error| explain(path, error);
        let mut connection = Connection::open(path).map_err(explain)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(explain)?;
        // With a write-ahead log, NORMAL loses at most the last commits in a power failure, and never the file.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(explain)?;
        let known = migrations.len() as i64;
        let found = version(&connection).map_err(explain)?;
        if found > known {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
        if found < known {
            migrate(path, &mut connection, migrations)?;
        }
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Turns SQLite's words into ours.
    pub(crate) fn explain(&self, error: rusqlite::Error) -> StoreError {
        explain(&self.path, error)
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// One process at a time, by a lock of our own: SQLite reports "busy" at once instead of waiting when two switch on
/// the write-ahead log together.
fn migrate(path: &Path, connection: &mut Connection, migrations: &[Migration]) -> Result<(), StoreError> {
    let explain = |error| explain(path, error);
    let _lock = exclusive(path)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(explain)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).map_err(explain)?;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
    let found = usize::try_from(version(&transaction).map_err(explain)?).unwrap_or(0);
    for migration in migrations.iter().skip(found) {
        transaction.execute_batch(migration).map_err(explain)?;
    }
    transaction.pragma_update(None, "user_version", migrations.len() as i64).map_err(explain)?;
    transaction.commit().map_err(explain)
}

/// Waits for the lock beside the database.
fn exclusive(path: &Path) -> Result<File, StoreError> {
    let lock_path = suffixed(path, "-lock");
    let locked = || -> io::Result<File> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path)?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|source| StoreError::io(&lock_path, "locked", source))
}

fn explain(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    let message = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, message },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
        Some(ErrorCode::DiskFull) => {
            StoreError::Io { path, action: "written", source: io::Error::from(io::ErrorKind::StorageFull) }
        }
        // A database of somebody else, or ours with a table missing: SQLite calls that a mere error.
        Some(ErrorCode::Unknown)
            if message.contains("no such table") || message.contains("no such column") =>
        {
            StoreError::Corrupt { path, message }
        }
        _ => StoreError::Database { path, message },
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Moves a broken database out of the way, together with its write-ahead log; nothing is deleted. Returns the new
/// name, or `None` if another process has done it meanwhile.
pub(crate) fn set_aside(path: &Path, migrations: &[Migration]) -> Result<Option<PathBuf>, StoreError> {
    let _lock = exclusive(path)?;
    // Only what is still broken under the lock: another process may have put a good one in its place.
    let probe = Connection::open(path).and_then(|connection| {
        version(&connection)?;
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
    });
    if probe.is_ok_and(|answer| answer == "ok") && !migrations.is_empty() && !lacks_tables(path) {
        return Ok(None);
    }
    let target = (1..u32::MAX)
        .map(|number| suffixed(path, &format!(".broken-{number}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| suffixed(path, ".broken"));
    let rename = |from: &Path, to: &Path| match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io(from, "moved aside", error))
        }
        _ => Ok(()),
    };
    rename(path, &target)?;
    for suffix in ["-wal", "-shm"] {
        rename(&suffixed(path, suffix), &suffixed(&target, suffix))?;
    }
    Ok(Some(target))
}

/// True for a file that claims our version and has none of our tables.
fn lacks_tables(path: &Path) -> bool {
    Connection::open(path)
        .and_then(|connection| {
            connection.query_row(
                "SELECT (SELECT user_version FROM pragma_user_version) > 0 \
                 AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table')",
                [],
                |row| row.get(0),
            )
        })
        .unwrap_or(true)
}
