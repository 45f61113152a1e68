//! Results of nodes by key, in a database of their own that may be deleted at any time.
//!
//! Writes are gathered and stored together, because a batch makes thousands of them; a killed process loses the
//! last few, which costs a repetition and nothing else. What was used longest ago goes first when the size limit is met.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use crate::database::{Database, Migration, set_aside};
use crate::error::StoreError;
use crate::state::StateFolder;

/// Size limit unless the user sets another: a day of experiments, on a laptop's disk.
pub const DEFAULT_CACHE_BYTES: u64 = 1 << 30;

/// Pending results are stored when there are this many, or
const PENDING_COUNT: usize = 256;
/// when they take this much memory.
const PENDING_BYTES: usize = 4 << 20;

const MIGRATIONS: &[Migration] = &["
    CREATE TABLE results (
        key TEXT PRIMARY KEY NOT NULL,
        value TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        used_ms INTEGER NOT NULL
    );
    CREATE INDEX results_by_use ON results (used_ms, bytes);
    CREATE TABLE latest (
        flow TEXT NOT NULL,
        node TEXT NOT NULL,
        parts TEXT NOT NULL,
        PRIMARY KEY (flow, node)
    ) WITHOUT ROWID;
"];

/// Results of nodes, shared by all processes on the same state folder.
pub struct CacheStore {
    inner: Mutex<Inner>,
}

struct Inner {
    database: Database,
    limit_bytes: u64,
    pending: HashMap<String, Pending>,
    pending_bytes: usize,
    latest: HashMap<(String, String), String>,
    used: HashSet<String>,
    now_ms: u64,
    /// Bytes stored since the limit was last looked at.
    unchecked_bytes: u64,
}

struct Pending {
    value: String,
    created_ms: u64,
}

impl CacheStore {
    /// Opens the cache with a size limit. A damaged cache is moved aside: it holds nothing that cannot be made again.
    pub fn open(state: &StateFolder, limit_bytes: u64) -> Result<Self, StoreError> {
        state.prepare()?;
        let path = state.cache_database();
        let database = match Database::open(&path, MIGRATIONS) {
            Err(StoreError::Corrupt { .. }) => {
                set_aside(&path, MIGRATIONS)?;
                Database::open(&path, MIGRATIONS)?
            }
            opened => opened?,
        };
        Ok(Self {
            inner: Mutex::new(Inner {
                database,
                limit_bytes,
                pending: HashMap::new(),
                pending_bytes: 0,
                latest: HashMap::new(),
                used: HashSet::new(),
                now_ms: 0,
                // The first flush looks at the limit: it may have been lowered.
                unchecked_bytes: u64::MAX,
            }),
        })
    }

    /// The result with this key.
    pub fn get(&self, key: &str, now_ms: u64) -> Result<Option<Value>, StoreError> {
        let mut inner = self.lock();
        inner.now_ms = inner.now_ms.max(now_ms);
        if let Some(pending) = inner.pending.get(key) {
            return Ok(serde_json::from_str(&pending.value).ok());
        }
        let found: Option<String> = {
            let mut statement = inner.prepare("SELECT value FROM results WHERE key = ?1")?;
            statement
                .query_row([key], |row| row.get(0))
                .optional()
                .map_err(|error| inner.database.explain(error))?
        };
        // A value that cannot be read is as good as none.
        let value = found.and_then(|text| serde_json::from_str(&text).ok());
        if value.is_some() {
            inner.used.insert(key.to_owned());
        }
        Ok(value)
    }

    /// The parts of the key that this node's latest kept result had, to say what has changed since.
    pub fn latest_parts(&self, flow: &str, node: &str) -> Result<Option<Value>, StoreError> {
        let inner = self.lock();
        if let Some(parts) = inner.latest.get(&(flow.to_owned(), node.to_owned())) {
            return Ok(serde_json::from_str(parts).ok());
        }
        let mut statement = inner.prepare("SELECT parts FROM latest WHERE flow = ?1 AND node = ?2")?;
        let found: Option<String> = statement
            .query_row([flow, node], |row| row.get(0))
            .optional()
            .map_err(|error| inner.database.explain(error))?;
        Ok(found.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Keeps a result. One that would take more than an eighth of the limit is not kept: it would push out everything else.
    pub fn put(
        &self,
        flow: &str,
        node: &str,
        key: &str,
        parts: &Value,
        value: &Value,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let text = value.to_string();
        let mut inner = self.lock();
        inner.now_ms = inner.now_ms.max(now_ms);
        inner.latest.insert((flow.to_owned(), node.to_owned()), parts.to_string());
        if text.len() as u64 > inner.limit_bytes / 8 {
            return Ok(());
        }
        inner.pending_bytes += text.len() + key.len();
        inner.pending.insert(key.to_owned(), Pending { value: text, created_ms: now_ms });
        if inner.pending.len() >= PENDING_COUNT || inner.pending_bytes >= PENDING_BYTES {
            inner.flush()?;
        }
        Ok(())
    }

    /// Stores what is pending; also done when the cache is dropped.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.lock().flush()
    }

    /// Deletes everything.
    pub fn clear(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.forget_pending();
        let sql = "DELETE FROM results; DELETE FROM latest; PRAGMA incremental_vacuum;";
        inner.database.connection.execute_batch(sql).map_err(|error| inner.database.explain(error))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CacheStore {
    fn drop(&mut self) {
        // Nothing depends on it, and there is nobody left to tell.
        let _ = self.flush();
    }
}

impl Inner {
    fn prepare(&self, sql: &str) -> Result<rusqlite::Statement<'_>, StoreError> {
        self.database.connection.prepare(sql).map_err(|error| self.database.explain(error))
    }

    fn forget_pending(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
        self.latest.clear();
        self.used.clear();
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() && self.latest.is_empty() && self.used.is_empty() {
            return Ok(());
        }
        self.store().map_err(|error| self.database.explain(error))?;
        self.unchecked_bytes = self.unchecked_bytes.saturating_add(self.pending_bytes as u64);
        self.forget_pending();
        if self.unchecked_bytes > self.limit_bytes / 16 {
            self.unchecked_bytes = 0;
            self.evict().map_err(|error| self.database.explain(error))?;
        }
        Ok(())
    }

    fn store(&mut self) -> rusqlite::Result<()> {
        let now = signed(self.now_ms);
        let transaction =
            self.database.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare(
                "INSERT OR REPLACE INTO results (key, value, bytes, created_ms, used_ms) VALUES (?1, ?2, ?3, ?4, ?4)",
            )?;
            for (key, pending) in &self.pending {
                let bytes = (pending.value.len() + key.len()) as i64;
                insert.execute(params![key, pending.value, bytes, signed(pending.created_ms)])?;
            }
            let mut use_again =
                transaction.prepare("UPDATE results SET used_ms = max(used_ms, ?2) WHERE key = ?1")?;
            for key in &self.used {
                use_again.execute(params![key, now])?;
            }
            let mut latest = transaction
                .prepare("INSERT OR REPLACE INTO latest (flow, node, parts) VALUES (?1, ?2, ?3)")?;
            for ((flow, node), parts) in &self.latest {
                latest.execute(params![flow, node, parts])?;
            }
        }
        transaction.commit()
    }

    /// Down to nine tenths of the limit, so that not every flush has to.
    fn evict(&mut self) -> rusqlite::Result<()> {
        let connection = &self.database.connection;
        let total: i64 =
            connection.query_row("SELECT coalesce(sum(bytes), 0) FROM results", [], |row| row.get(0))?;
        let limit = signed(self.limit_bytes);
        if total <= limit {
            return Ok(());
        }
        let excess = total - limit / 10 * 9;
        connection.execute(
            "DELETE FROM results WHERE rowid IN (SELECT rowid FROM (
                SELECT rowid, sum(bytes) OVER (ORDER BY used_ms, rowid) - bytes AS before FROM results
             ) WHERE before < ?1)",
            [excess],
        )?;
        connection.execute_batch("PRAGMA incremental_vacuum")
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
