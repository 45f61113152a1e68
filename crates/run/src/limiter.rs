//! One limiter per endpoint: a window of requests in flight, pauses that the server asked for, and a breaker.
//!
//! The window starts at the configured width. An isolated refusal is a matter for the one request that met it;
//! the window halves only when more than 30 % of the last 50 answers were refusals or when a limit header says so,
//! and grows again by one for each window of successes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowbench_core::chat::RateLimits;
use flowbench_core::ports::{ModelError, ModelErrorKind};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Answers looked at for the share of refusals.
const HISTORY: usize = 50;
/// Share of refusals above which the window halves.
const REFUSED_SHARE: f64 = 0.3;
/// Failures in a row, with no success between, after which the endpoint is left alone for a while.
const BREAKER_FAILURES: u32 = 10;
/// How long it is left alone: long enough for a restart, short enough to wait for.
const BREAKER_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause taken from a server's word; the official clients obey up to two minutes.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// All limiters of an engine, by endpoint.
#[derive(Debug)]
pub struct Limiters {
    width: usize,
    endpoints: Mutex<HashMap<String, Arc<Limiter>>>,
}

impl Limiters {
    /// Limiters that start at this width.
    pub fn new(width: usize) -> Self {
        Self { width: width.max(1), endpoints: Mutex::new(HashMap::new()) }
    }

    /// The limiter of an endpoint.
    pub fn of(&self, endpoint: &str) -> Arc<Limiter> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limiter) = endpoints.get(endpoint) {
            return Arc::clone(limiter);
        }
        let limiter = Arc::new(Limiter::new(endpoint, self.width));
        endpoints.insert(endpoint.to_owned(), Arc::clone(&limiter));
        limiter
    }
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    window: usize,
    successes: usize,
    history: VecDeque<bool>,
    paused_until: Option<Instant>,
    failures: u32,
    open_until: Option<Instant>,
    is_probing: bool,
}

/// Limits the requests to one endpoint.
#[derive(Debug)]
pub struct Limiter {
    endpoint: String,
    width: usize,
    state: Mutex<State>,
    freed: Notify,
}

/// A place in the window; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    is_probe: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.in_flight -= 1;
        if self.is_probe {
            state.is_probing = false;
        }
        drop(state);
        self.limiter.freed.notify_one();
    }
}

enum Turn {
    Go { is_probe: bool },
    WaitUntil(Instant),
    WaitForPlace,
    Refused(ModelError),
}

impl Limiter {
    fn new(endpoint: &str, width: usize) -> Self {
        let state = State {
            in_flight: 0,
            window: width,
            successes: 0,
            history: VecDeque::with_capacity(HISTORY),
            paused_until: None,
            failures: 0,
            open_until: None,
            is_probing: false,
        };
        Self { endpoint: endpoint.to_owned(), width, state: Mutex::new(state), freed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that may be in flight now.
    pub fn window(&self) -> usize {
        self.lock().window
    }

    /// Waits for a place. Fails at once while the breaker is open.
    pub async fn acquire(self: &Arc<Self>) -> Result<Permit, ModelError> {
        loop {
            // Registered before looking, so that a place freed in between is not missed.
            let freed = self.freed.notified();
            match self.turn() {
                Turn::Go { is_probe } => return Ok(Permit { limiter: Arc::clone(self), is_probe }),
                Turn::Refused(error) => return Err(error),
                Turn::WaitForPlace => freed.await,
                Turn::WaitUntil(until) => tokio::time::sleep_until(until).await,
            }
        }
    }

    fn turn(&self) -> Turn {
        let mut state = self.lock();
        let now = Instant::now();
        if let Some(until) = state.open_until {
            if now < until || state.is_probing {
                let error = ModelError::new(
                    ModelErrorKind::Unavailable,
                    format!(
                        "endpoint `{}` failed {} times in a row and is left alone for now",
                        self.endpoint, state.failures
                    ),
                )
                .with_hint("check that it is running and reachable, then run again");
                // Decided here, not by the server: repeating within the pause cannot help.
                return Turn::Refused(ModelError { should_retry: Some(false), ..error });
            }
            state.is_probing = true;
            state.in_flight += 1;
            return Turn::Go { is_probe: true };
        }
        if let Some(until) = state.paused_until {
            if now < until {
                return Turn::WaitUntil(until);
            }
            state.paused_until = None;
        }
        if state.in_flight >= state.window {
            return Turn::WaitForPlace;
        }
        state.in_flight += 1;
        if state.in_flight < state.window {
            // A wake-up may stand for several places after the window grew.
            self.freed.notify_one();
        }
        Turn::Go { is_probe: false }
    }

    /// Learns from a success.
    pub fn succeeded(&self, limits: &RateLimits) {
        let mut state = self.lock();
        state.failures = 0;
        state.open_until = None;
        remember(&mut state, false);
        state.successes += 1;
        if state.successes >= state.window && state.window < self.width {
            state.window += 1;
            state.successes = 0;
        }
        obey_headers(&mut state, limits);
    }

    /// Learns from a failure.
    pub fn failed(&self, error: &ModelError) {
        let mut state = self.lock();
        match error.kind {
            ModelErrorKind::RateLimited => {
                state.failures = 0;
                remember(&mut state, true);
                let refused = state.history.iter().filter(|was_refused| **was_refused).count();
                let is_common =
                    state.history.len() == HISTORY && refused as f64 > REFUSED_SHARE * HISTORY as f64;
                if is_common || error.retry_after.is_some() {
                    halve(&mut state);
                }
                if let Some(wait) = error.retry_after {
                    pause(&mut state, wait);
                }
            }
            ModelErrorKind::Unavailable | ModelErrorKind::Timeout => {
                state.failures += 1;
                if state.failures >= BREAKER_FAILURES {
                    state.open_until = Some(Instant::now() + BREAKER_PAUSE);
                }
                if let Some(wait) = error.retry_after {
                    pause(&mut state, wait);
                }
            }
            // The server answered; it is alive.
            _ => state.failures = 0,
        }
        obey_headers(&mut state, &error.limits);
    }
}

fn remember(state: &mut State, was_refused: bool) {
    if state.history.len() == HISTORY {
        state.history.pop_front();
    }
    state.history.push_back(was_refused);
}

fn halve(state: &mut State) {
    state.window = (state.window / 2).max(1);
    state.successes = 0;
    // Counted anew, so that the same refusals do not halve it twice.
    state.history.clear();
}

fn pause(state: &mut State, wait: Duration) {
    let until = Instant::now() + wait.min(LONGEST_PAUSE);
    if state.paused_until.is_none_or(|already| until > already) {
        state.paused_until = Some(until);
    }
}

/// Nothing left in the server's own window: halve ours and wait for the server's to be new.
fn obey_headers(state: &mut State, limits: &RateLimits) {
    let is_empty = limits.remaining_requests == Some(0) || limits.remaining_tokens == Some(0);
    if let (true, Some(reset)) = (is_empty, limits.reset) {
        halve(state);
        pause(state, reset);
    }
}

/// Waits between attempts: full jitter under a cap that doubles from 0.1 s to 8 s.
#[derive(Debug)]
pub struct Backoff {
    attempt: u32,
    seed: u64,
}

impl Backoff {
    /// First and longest wait; the official clients use 0.5 to 8 s, and isolated refusals are over sooner.
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(8);

    /// A sequence of waits; the seed spreads several callers apart.
    pub fn new(seed: u64) -> Self {
        Self { attempt: 0, seed }
    }

    /// The next wait: between half of the step and the whole.
    pub fn next_wait(&mut self) -> Duration {
        let step = Self::FIRST.saturating_mul(1 << self.attempt.min(10)).min(Self::LONGEST);
        self.attempt += 1;
        // SplitMix64 (Steele et al. 2014): a good spread from any seed, without a generator to carry along.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let share = 0.5 + (mixed >> 11) as f64 / (1u64 << 53) as f64 / 2.0;
        step.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(retry_after: Option<Duration>) -> ModelError {
        ModelError { retry_after, ..ModelError::new(ModelErrorKind::RateLimited, "429") }
    }

    #[tokio::test(start_paused = true)]
    async fn isolated_refusals_leave_the_window_alone() {
        let limiter = Limiters::new(16).of("host");
        for _ in 0..10 {
            for _ in 0..7 {
                limiter.succeeded(&RateLimits::default());
            }
            limiter.failed(&refused(None));
        }
        assert_eq!(limiter.window(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn many_refusals_halve_it_and_successes_bring_it_back() {
        let limiter = Limiters::new(16).of("host");
        for _ in 0..33 {
            limiter.succeeded(&RateLimits::default());
        }
        for _ in 0..17 {
            limiter.failed(&refused(None));
        }
        assert_eq!(limiter.window(), 8);
        for _ in 0..8 {
            limiter.succeeded(&RateLimits::default());
        }
        assert_eq!(limiter.window(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_word_on_waiting_is_obeyed() {
        let limiter = Limiters::new(4).of("host");
        limiter.failed(&refused(Some(Duration::from_secs(7))));
        let before = Instant::now();
        let _permit = limiter.acquire().await.unwrap();
        assert_eq!(before.elapsed().as_secs(), 7);
        let limits = RateLimits {
            remaining_requests: Some(0),
            reset: Some(Duration::from_secs(3)),
            ..RateLimits::default()
        };
        limiter.succeeded(&limits);
        let before = Instant::now();
        drop(_permit);
        let _permit = limiter.acquire().await.unwrap();
        assert_eq!(before.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_endpoint_is_left_alone_then_probed() {
        let limiter = Limiters::new(4).of("host");
        for _ in 0..BREAKER_FAILURES {
            limiter.failed(&ModelError::new(ModelErrorKind::Unavailable, "refused"));
        }
        let error = limiter.acquire().await.unwrap_err();
        assert!(error.message.contains("failed 10 times in a row"), "{error}");
        tokio::time::advance(BREAKER_PAUSE).await;
        let probe = limiter.acquire().await.unwrap();
        assert!(limiter.acquire().await.is_err(), "one probe at a time");
        limiter.succeeded(&RateLimits::default());
        drop(probe);
        assert!(limiter.acquire().await.is_ok());
    }

    #[test]
    fn waits_double_from_a_tenth_to_eight_seconds() {
        let mut backoff = Backoff::new(7);
        let waits: Vec<f64> = (0..10).map(|_| backoff.next_wait().as_secs_f64()).collect();
        let mut step = 0.1;
        for wait in waits {
            assert!((step / 2.0..=step).contains(&wait), "{wait} of {step}");
            step = (step * 2.0f64).min(8.0);
        }
    }
}
