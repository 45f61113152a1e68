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
/// How long requests wait for an endpoint to come back: about five probes. After that it counts as dead, and
/// requests fail at once between probes.
const BREAKER_PATIENCE: Duration = Duration::from_secs(25);
/// Refusals this close to a halving belong to the same crowd, even when the server asks for a shorter pause.
const SHORTEST_HALVING: Duration = Duration::from_secs(1);
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
    /// The window was halved for the crowd of refusals that ends here.
    halved_until: Option<Instant>,
    failures: u32,
    open_since: Option<Instant>,
    open_until: Option<Instant>,
    is_probing: bool,
}

impl State {
    /// The endpoint answered: it is alive.
    fn close_breaker(&mut self) {
        self.failures = 0;
        self.open_since = None;
        self.open_until = None;
    }
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
        // All waiters look again: one that was told alone might be gone, or have to wait for something else.
        self.limiter.freed.notify_waiters();
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
            halved_until: None,
            failures: 0,
            open_since: None,
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

    /// Waits for a place. While the breaker is open it waits as well, and one request at a time tries the endpoint;
    /// fails when the endpoint has been away for too long.
    pub async fn acquire(self: &Arc<Self>) -> Result<Permit, ModelError> {
        loop {
            // Made before looking: it is woken by every change from here on, also before it is first polled.
            let freed = self.freed.notified();
            match self.turn() {
                Turn::Go { is_probe } => return Ok(Permit { limiter: Arc::clone(self), is_probe }),
                Turn::Refused(error) => return Err(error),
                Turn::WaitForPlace => freed.await,
                // A change before that time may have ended the wait; it is not an error if there is none.
                Turn::WaitUntil(until) => drop(tokio::time::timeout_at(until, freed).await),
            }
        }
    }

    fn turn(&self) -> Turn {
        let mut state = self.lock();
        let now = Instant::now();
        if let Some(until) = state.open_until {
            let patience_ends = state.open_since.unwrap_or(now) + BREAKER_PATIENCE;
            let must_wait = now < until || state.is_probing;
            if must_wait && now < patience_ends {
                let next = if state.is_probing { patience_ends } else { until };
                return Turn::WaitUntil(next.min(patience_ends));
            }
            if must_wait {
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
        Turn::Go { is_probe: false }
    }

    /// Learns from a success.
    pub fn succeeded(&self, limits: &RateLimits) {
        let mut state = self.lock();
        if state.open_until.is_some() {
            self.freed.notify_waiters();
        }
        state.close_breaker();
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
        let is_away = matches!(error.kind, ModelErrorKind::Unavailable | ModelErrorKind::Timeout);
        if !is_away {
            // The server answered, if only to refuse; who waits for it can go on.
            if state.open_until.is_some() {
                self.freed.notify_waiters();
            }
            state.close_breaker();
        }
        match error.kind {
            ModelErrorKind::RateLimited => {
                remember(&mut state, true);
                let refused = state.history.iter().filter(|was_refused| **was_refused).count();
                let is_common =
                    state.history.len() == HISTORY && refused as f64 > REFUSED_SHARE * HISTORY as f64;
                if is_common || error.retry_after.is_some() {
                    halve(&mut state, error.retry_after.unwrap_or_default());
                }
                if let Some(wait) = error.retry_after {
                    pause(&mut state, wait);
                }
            }
            _ if is_away => {
                state.failures += 1;
                if state.failures >= BREAKER_FAILURES {
                    let now = Instant::now();
                    state.open_since.get_or_insert(now);
                    state.open_until = Some(now + BREAKER_PAUSE);
                }
                if let Some(wait) = error.retry_after {
                    pause(&mut state, wait);
                }
            }
            _ => {}
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

/// Halves the window, once for all refusals of the requests that were in flight together.
fn halve(state: &mut State, wait: Duration) {
    let now = Instant::now();
    if state.halved_until.is_some_and(|until| now < until) {
        return;
    }
    state.halved_until = Some(now + wait.clamp(SHORTEST_HALVING, LONGEST_PAUSE));
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
        halve(state, reset);
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

    fn away() -> ModelError {
        ModelError::new(ModelErrorKind::Unavailable, "refused")
    }

    fn open_breaker(limiter: &Limiter) {
        for _ in 0..BREAKER_FAILURES {
            limiter.failed(&away());
        }
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
    async fn a_short_outage_is_waited_for_with_one_probe_at_a_time() {
        let limiter = Limiters::new(4).of("host");
        open_breaker(&limiter);
        let before = Instant::now();
        let probe = limiter.acquire().await.unwrap();
        assert_eq!(before.elapsed(), BREAKER_PAUSE);
        let second = tokio::time::timeout(Duration::from_secs(3), limiter.acquire()).await;
        assert!(second.is_err(), "one probe at a time");
        limiter.succeeded(&RateLimits::default());
        drop(probe);
        assert!(limiter.acquire().await.is_ok());
        assert_eq!(before.elapsed().as_secs(), 8, "nobody waits once it is back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer_and_closes_the_breaker() {
        let limiter = Limiters::new(4).of("host");
        open_breaker(&limiter);
        let before = Instant::now();
        limiter.failed(&ModelError::new(ModelErrorKind::Authentication, "401"));
        assert!(limiter.acquire().await.is_ok());
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_for_a_dead_endpoint_are_told_in_bounded_time() {
        let limiter = Limiters::new(2).of("host");
        let held = (limiter.acquire().await.unwrap(), limiter.acquire().await.unwrap());
        let before = Instant::now();
        let mut waiters = tokio::task::JoinSet::new();
        for _ in 0..30 {
            let limiter = Arc::clone(&limiter);
            waiters.spawn(async move {
                loop {
                    let permit = limiter.acquire().await?;
                    limiter.failed(&away());
                    drop(permit);
                }
            });
        }
        tokio::task::yield_now().await;
        open_breaker(&limiter);
        drop(held);
        let ended: Vec<Result<(), ModelError>> =
            tokio::time::timeout(Duration::from_secs(60), waiters.join_all()).await.unwrap();
        assert_eq!(ended.len(), 30);
        for outcome in ended {
            let error = outcome.unwrap_err();
            assert!(error.message.contains("times in a row and is left alone"), "{error}");
        }
        assert_eq!(before.elapsed(), BREAKER_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_not_lost_with_a_waiter_that_went_away() {
        let limiter = Limiters::new(1).of("host");
        let held = limiter.acquire().await.unwrap();
        let spawn = || {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move { limiter.acquire().await.is_ok() })
        };
        let (gone, waiting) = (spawn(), spawn());
        tokio::task::yield_now().await;
        drop(held);
        // Woken, and ended before it could look.
        gone.abort();
        let second = tokio::time::timeout(Duration::from_secs(1), waiting).await;
        assert!(second.unwrap().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_come_together_halve_the_window_once() {
        let limiter = Limiters::new(16).of("host");
        for _ in 0..16 {
            limiter.failed(&refused(Some(Duration::from_secs(2))));
        }
        assert_eq!(limiter.window(), 8);
        tokio::time::advance(Duration::from_secs(2)).await;
        limiter.failed(&refused(Some(Duration::from_secs(2))));
        assert_eq!(limiter.window(), 4);
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
