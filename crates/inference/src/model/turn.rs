//! Who may compute on the processor: one model at a time.
//!
//! All of candle's CPU work shares one pool whose threads spin while they wait for each other. Two models at once
//! would keep each other's threads from the cores (measured on two cores: 2 tokens/s instead of 46), so their
//! threads take turns, a token each, in the order in which they asked.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Queue {
    next_ticket: u64,
    now_serving: u64,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { next_ticket: 0, now_serving: 0 });
static CHANGED: Condvar = Condvar::new();

/// The right to compute, given up when dropped.
#[derive(Debug)]
pub(crate) struct Turn(());

impl Turn {
    /// Waits until it is this thread's turn.
    pub(crate) fn wait() -> Self {
        let mut queue = lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        while queue.now_serving != ticket {
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock().now_serving += 1;
        CHANGED.notify_all();
    }
}

/// The two numbers are always consistent, so a thread that panicked elsewhere spoils nothing.
fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::Turn;

    #[test]
    fn only_one_computes_at_a_time_and_none_is_left_out() {
        let inside = Mutex::new(());
        let rounds: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..200)
                            .filter(|_| {
                                let _turn = Turn::wait();
                                inside.try_lock().is_ok()
                            })
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(rounds, [200; 4]);
    }
}
