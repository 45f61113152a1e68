//! Which attempt of a request this is, so that a stand-in can misbehave on some attempts, the same ones in
//! every run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use flowbench_core::chat::ChatRequest;

/// Attempts so far by request. A request that was answered is forgotten, so a long batch does not grow this.
#[derive(Debug)]
pub(super) struct Attempts {
    seed: u64,
    open: Mutex<HashMap<u64, u32>>,
}

impl Attempts {
    pub fn new(seed: u64) -> Self {
        Self { seed, open: Mutex::default() }
    }

    /// Counts this attempt and asks `misbehaves` (attempt from 0, hash of seed, request and attempt) about it.
    pub fn pick(&self, model: &str, request: &ChatRequest, misbehaves: impl Fn(u32, u64) -> bool) -> bool {
        let key = hash(
            hash(self.seed ^ OFFSET, model.as_bytes()),
            &serde_json::to_vec(request).unwrap_or_default(),
        );
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = open.get(&key).copied().unwrap_or(0);
        let is_bad = misbehaves(attempt, mix(key ^ u64::from(attempt)));
        if is_bad {
            open.insert(key, attempt + 1);
        } else {
            open.remove(&key);
        }
        is_bad
    }
}

/// FNV-1a: the same on every machine and in every version, unlike the standard library's hasher.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a over `bytes`, going on from `state`.
pub(super) fn hash(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// Hash of a text alone.
pub(super) fn hash_text(text: &str) -> u64 {
    mix(hash(OFFSET, text.as_bytes()))
}

/// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): FNV's low bits are too regular to draw shares from.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
