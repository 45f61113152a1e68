//! The machine's clock and identifiers: the only place that reads either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use flowbench_core::ports::{Clock, IdSource};

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Identifiers that sort by time: twelve hex digits of milliseconds, then eight that differ between processes and calls.
pub struct TimeIds;

static NEXT: AtomicU64 = AtomicU64::new(0);

impl IdSource for TimeIds {
    fn new_id(&self) -> String {
        let now = SystemClock.now_ms();
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&std::process::id().to_le_bytes());
        hasher.update(&now.to_le_bytes());
        hasher.update(&count.to_le_bytes());
        let digest = hasher.finalize();
        format!("{now:012x}{}", &digest.to_hex()[..8])
    }
}
