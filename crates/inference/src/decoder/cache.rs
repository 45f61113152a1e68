//! Keys and values of one sequence, so that no token is computed twice.

use candle_core::{DType, Tensor};

use crate::InferenceError;

/// What one sequence has seen so far.
pub struct Cache {
    layers: Vec<Option<(Tensor, Tensor)>>,
    len: usize,
}

/// Tokens a new cache has room for; it doubles from there.
const FIRST_ROOM: usize = 256;

impl Cache {
    pub(super) fn new(layer_count: usize) -> Self {
        Self { layers: (0..layer_count).map(|_| None).collect(), len: 0 }
    }

    /// Tokens seen.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(super) fn advance(&mut self, len: usize) {
        self.len = len;
    }

    /// Writes `[heads, tokens, head]` behind the first `start` tokens of a layer; gives all room, written or not.
    pub(super) fn append(
        &mut self,
        layer: usize,
        start: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor), InferenceError> {
        let (heads, count, head_len) = k.dims3()?;
        let end = start + count;
        let room = match &self.layers[layer] {
            Some((k, _)) => k.dim(1)?,
            None => 0,
        };
        if end > room {
            let shape = (heads, end.next_power_of_two().max(FIRST_ROOM), head_len);
            let make = |old: Option<&Tensor>| -> candle_core::Result<Tensor> {
                let new = Tensor::zeros(shape, DType::F32, k.device())?;
                if let (Some(old), true) = (old, start > 0) {
                    new.slice_set(&old.narrow(1, 0, start)?.contiguous()?, 1, 0)?;
                }
                Ok(new)
            };
            let old = self.layers[layer].take();
            let grown = (make(old.as_ref().map(|old| &old.0))?, make(old.as_ref().map(|old| &old.1))?);
            self.layers[layer] = Some(grown);
        }
        let Some((keys, values)) = &self.layers[layer] else {
            return Err(InferenceError::ThreadGone);
        };
        keys.slice_set(k, 1, start)?;
        values.slice_set(v, 1, start)?;
        Ok((keys.clone(), values.clone()))
    }
}
