//! The step both tokenizer kinds share: join the best pair of neighbours until no pair is left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A run of the text; empty once it has been joined to its left neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    /// First byte.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
    /// The token, where the run is one.
    pub id: Option<u32>,
    before: usize,
    after: usize,
}

const NONE: usize = usize::MAX;

/// Joins neighbours, best first and leftmost among equals. `judge` gives the worth of a pair and the token it
/// becomes. Runs in `n log n`, so that a megabyte without a space is no trap.
pub(super) fn merge<P: Ord + Copy>(
    pieces: impl Iterator<Item = (usize, usize, Option<u32>)>,
    judge: impl Fn(&Symbol, &Symbol) -> Option<(P, u32)>,
) -> impl Iterator<Item = Symbol> {
    let mut symbols: Vec<Symbol> = pieces
        .enumerate()
        .map(|(index, (start, len, id))| Symbol {
            start,
            len,
            id,
            before: index.wrapping_sub(1),
            after: index + 1,
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.after = NONE;
    }

    let mut queue = BinaryHeap::new();
    let offer = |queue: &mut BinaryHeap<_>, symbols: &[Symbol], left: usize, right: usize| {
        if left == NONE || right == NONE {
            return;
        }
        if let Some((worth, id)) = judge(&symbols[left], &symbols[right]) {
            let len = symbols[left].len + symbols[right].len;
            queue.push((worth, Reverse(left), right, len, id));
        }
    };
    for right in 1..symbols.len() {
        offer(&mut queue, &symbols, right - 1, right);
    }
    while let Some((_, Reverse(left), right, len, id)) = queue.pop() {
        // Runs only grow, so an unchanged total length means that neither side has changed since.
        let is_stale = symbols[left].len == 0
            || symbols[right].len == 0
            || symbols[left].len + symbols[right].len != len;
        if is_stale {
            continue;
        }
        let after = symbols[right].after;
        symbols[right].len = 0;
        symbols[left].len = len;
        symbols[left].id = Some(id);
        symbols[left].after = after;
        if after != NONE {
            symbols[after].before = left;
        }
        let before = symbols[left].before;
        offer(&mut queue, &symbols, before, left);
        offer(&mut queue, &symbols, left, after);
    }
    symbols.into_iter().filter(|symbol| symbol.len > 0)
}
