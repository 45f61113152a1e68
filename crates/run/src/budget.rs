//! Budget of a run in money, tokens and time: checked before each model call, charged after it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowbench_core::chat::Usage;
use flowbench_core::event::Cost;
use tokio::time::Instant;

/// What a run may spend. Absent means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BudgetLimits {
    /// Millionths of a currency unit.
    pub micros: Option<u64>,
    /// Tokens, input and output together.
    pub tokens: Option<u64>,
    /// Time from the start of the run.
    pub time: Option<Duration>,
}

/// What has been spent so far, and the limits.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    micros: AtomicU64,
    tokens: AtomicU64,
    deadline: Option<Instant>,
}

impl Budget {
    /// A budget that starts now.
    pub fn new(limits: BudgetLimits) -> Self {
        let deadline = limits.time.map(|time| Instant::now() + time);
        Self { limits, micros: AtomicU64::new(0), tokens: AtomicU64::new(0), deadline }
    }

    /// Says in words what is spent, if anything is.
    pub fn spent(&self) -> Option<String> {
        if let Some(limit) = self.limits.micros {
            let used = self.micros.load(Ordering::Relaxed);
            if used >= limit {
                return Some(format!(
                    "{:.4} of {:.4} currency units are spent",
                    used as f64 / 1e6,
                    limit as f64 / 1e6
                ));
            }
        }
        if let Some(limit) = self.limits.tokens {
            let used = self.tokens.load(Ordering::Relaxed);
            if used >= limit {
                return Some(format!("{used} of {limit} tokens are spent"));
            }
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let seconds = self.limits.time.unwrap_or_default().as_secs_f64();
            return Some(format!("the {seconds} s of this run are over"));
        }
        None
    }

    /// When the time is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Charges one call.
    pub fn charge(&self, usage: Option<&Usage>, cost: Option<&Cost>) {
        if let Some(usage) = usage {
            self.tokens.fetch_add(usage.total(), Ordering::Relaxed);
        }
        if let Some(cost) = cost {
            self.micros.fetch_add(cost.micros, Ordering::Relaxed);
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BudgetLimits::default())
    }
}
