//! One decoder for all families: Llama and Mistral, Qwen 2, 2.5 and 3, Gemma 3, Phi 3.
//!
//! [`config`] turns a file's metadata into the few ways in which the families differ, [`weights`] names and
//! loads their tensors, [`rope`] turns positions into rotations, [`cache`] keeps what a sequence has seen. The
//! forward pass in this file asks the configuration and never the family's name.
//!
//! Activations are `[tokens, features]` in 32-bit floats; weights stay quantised as the file has them.

mod cache;
mod config;
mod rope;
mod weights;

use std::io::{Read, Seek};

use candle_core::{D, DType, Device, Module, Tensor};
use candle_nn::ops;

pub use cache::Cache;
pub use config::{Architecture, Config};

use crate::InferenceError;
use crate::gguf::GgufFile;
use config::Activation;
use rope::Rope;
use weights::{Layer, Linear, Weights};

/// Tokens of a prompt that go through the model at once. Prompts are always cut at multiples of this, whether
/// or not their beginning is already in a cache, so that a reused prefix gives exactly the same numbers.
pub const PREFILL_CHUNK: usize = 128;

/// A loaded model: give it tokens and a cache, get scores for the next token.
pub struct Decoder {
    config: Config,
    weights: Weights,
    rope: Rope,
    local_rope: Option<Rope>,
    device: Device,
}

impl Decoder {
    /// Loads all tensors onto the device. `context_length` is what the model will be used with.
    pub fn load<R: Read + Seek>(
        file: &GgufFile,
        source: &mut R,
        context_length: Option<usize>,
        device: &Device,
    ) -> Result<Self, InferenceError> {
        let config = Config::of_file(file, context_length)?;
        let weights = Weights::load(file, source, &config, device)?;
        let factors = weights::rope_factors(file, source, &config, device)?;
        let rope = Rope::new(&config.rope, factors.as_deref());
        let local_rope = config.local_rope.as_ref().map(|spec| Rope::new(spec, None));
        Ok(Self { config, weights, rope, local_rope, device: device.clone() })
    }

    /// What the file says of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// True if the processor does the work.
    pub fn is_on_cpu(&self) -> bool {
        self.device.is_cpu()
    }

    /// An empty cache for one sequence.
    pub fn new_cache(&self) -> Cache {
        Cache::new(self.config.layer_count)
    }

    /// Number of scores that [`forward`](Self::forward) gives.
    pub fn vocabulary_len(&self) -> usize {
        self.weights.vocabulary_len()
    }

    /// Runs `ids` behind what the cache holds, and gives the scores after the last of them.
    pub fn forward(&mut self, ids: &[u32], cache: &mut Cache) -> Result<Vec<f32>, InferenceError> {
        let hidden = self.hidden(ids, cache)?;
        let last = hidden.narrow(0, ids.len() - 1, 1)?;
        let normed = self.weights.output_norm.forward(&last, self.config.norm_eps)?;
        let scores = self.weights.output.forward(&normed)?;
        Ok(scores.squeeze(0)?.to_vec1::<f32>()?)
    }

    /// Runs `ids` into the cache without asking for scores.
    pub fn prefill(&mut self, ids: &[u32], cache: &mut Cache) -> Result<(), InferenceError> {
        self.hidden(ids, cache).map(drop)
    }

    fn hidden(&mut self, ids: &[u32], cache: &mut Cache) -> Result<Tensor, InferenceError> {
        let start = cache.len();
        let end = start + ids.len();
        self.rope.grow(end, &self.device)?;
        if let Some(rope) = &mut self.local_rope {
            rope.grow(end, &self.device)?;
        }
        let mut masks = Masks::new(start, ids.len(), &self.device);
        let ids = Tensor::new(ids, &self.device)?;
        let mut hidden = self.weights.embedding.embedding(&ids)?;
        if let Some(scale) = self.config.embedding_scale {
            hidden = (hidden * scale)?;
        }
        for (index, layer) in self.weights.layers.iter().enumerate() {
            hidden = self.layer(index, layer, hidden, start, &mut masks, cache)?;
        }
        cache.advance(end);
        Ok(hidden)
    }

    fn layer(
        &self,
        index: usize,
        layer: &Layer,
        hidden: Tensor,
        start: usize,
        masks: &mut Masks,
        cache: &mut Cache,
    ) -> Result<Tensor, InferenceError> {
        let eps = self.config.norm_eps;
        let normed = layer.attention_norm.forward(&hidden, eps)?;
        let mut attended = self.attention(index, layer, &normed, start, masks, cache)?;
        if let Some(norm) = &layer.post_attention_norm {
            attended = norm.forward(&attended, eps)?;
        }
        let hidden = (hidden + attended)?;
        let normed = layer.feed_forward_norm.forward(&hidden, eps)?;
        let mut fed = self.feed_forward(layer, &normed)?;
        if let Some(norm) = &layer.post_feed_forward_norm {
            fed = norm.forward(&fed, eps)?;
        }
        Ok((hidden + fed)?)
    }

    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        normed: &Tensor,
        start: usize,
        masks: &mut Masks,
        cache: &mut Cache,
    ) -> Result<Tensor, InferenceError> {
        let config = &self.config;
        let (heads, kv_heads, head_len) = (config.head_count, config.kv_head_count, config.head_len);
        let count = normed.dim(0)?;
        let (q, k, v) = layer.project(normed, config)?;
        let by_head = |tensor: Tensor, heads: usize| tensor.reshape((count, heads, head_len));
        let (mut q, mut k) = (by_head(q, heads)?, by_head(k, kv_heads)?);
        let v = by_head(v, kv_heads)?.transpose(0, 1)?.contiguous()?;
        if let Some(norm) = &layer.q_norm {
            q = norm.forward(&q, config.norm_eps)?;
        }
        if let Some(norm) = &layer.k_norm {
            k = norm.forward(&k, config.norm_eps)?;
        }
        let is_local = config.is_local(index);
        let rope = match &self.local_rope {
            Some(rope) if is_local => rope,
            _ => &self.rope,
        };
        let q = rope.rotate(&q.transpose(0, 1)?.contiguous()?, start)?;
        let k = rope.rotate(&k.transpose(0, 1)?.contiguous()?, start)?;
        let q = (q * config.attention_scale)?;
        let (k, v) = cache.append(index, start, &rounded(&k)?, &rounded(&v)?)?;

        // A layer with a window never looks further back, so older keys are not even read.
        let window = config.sliding_window.filter(|_| is_local);
        let first = window.map_or(0, |window| (start + 1).saturating_sub(window));
        let seen = start + count - first;
        let (k, v) = (k.narrow(1, first, seen)?, v.narrow(1, first, seen)?);

        // Heads that share a key/value head sit side by side, so one product per shared head serves its group.
        let group = heads / kv_heads;
        let q = q.reshape((kv_heads, group * count, head_len))?;
        let mut scores = q.matmul(&k.t()?)?;
        if let Some(mask) = masks.get(first, window)? {
            scores = scores.reshape((kv_heads * group, count, seen))?.broadcast_add(&mask)?.reshape((
                kv_heads,
                group * count,
                seen,
            ))?;
        }
        let weights = ops::softmax_last_dim(&scores)?;
        let mixed = weights
            .matmul(&v)?
            .reshape((heads, count, head_len))?
            .transpose(0, 1)?
            .reshape((count, heads * head_len))?;
        Ok(layer.output.forward(&mixed)?)
    }

    fn feed_forward(&self, layer: &Layer, normed: &Tensor) -> Result<Tensor, InferenceError> {
        let (gate, up) = match &layer.gate {
            Some(gate) => (gate.forward(normed)?, layer.up.forward(normed)?),
            None => {
                // Phi-3 keeps both in one matrix, the gate first.
                let both = layer.up.forward(normed)?;
                let len = both.dim(D::Minus1)? / 2;
                (both.narrow(1, 0, len)?.contiguous()?, both.narrow(1, len, len)?.contiguous()?)
            }
        };
        let active = match self.config.activation {
            Activation::Silu => ops::silu(&gate)?,
            Activation::GeluTanh => gate.gelu()?,
        };
        Ok(layer.down.forward(&(active * up)?)?)
    }
}

impl Module for Linear {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let output = self.weight.forward(input)?;
        match &self.bias {
            Some(bias) => output.broadcast_add(bias),
            None => Ok(output),
        }
    }
}

/// The masks of one forward pass; layers of one kind share theirs.
struct Masks {
    start: usize,
    count: usize,
    device: Device,
    made: Vec<((usize, Option<usize>), Tensor)>,
}

impl Masks {
    fn new(start: usize, count: usize, device: &Device) -> Self {
        Self { start, count, device: device.clone(), made: Vec::new() }
    }

    /// Adds minus infinity where a token must not look: ahead of itself, or behind its window. A single token
    /// needs no mask, because the keys are cut to its window already.
    fn get(&mut self, first: usize, window: Option<usize>) -> Result<Option<Tensor>, InferenceError> {
        if self.count == 1 {
            return Ok(None);
        }
        if let Some((_, mask)) = self.made.iter().find(|(key, _)| *key == (first, window)) {
            return Ok(Some(mask.clone()));
        }
        let seen = self.start + self.count - first;
        let mut values = vec![0f32; self.count * seen];
        for row in 0..self.count {
            let query = self.start + row;
            for (column, value) in values[row * seen..(row + 1) * seen].iter_mut().enumerate() {
                let key = first + column;
                if key > query || window.is_some_and(|window| key + window <= query) {
                    *value = f32::NEG_INFINITY;
                }
            }
        }
        let mask = Tensor::from_vec(values, (1, self.count, seen), &self.device)?;
        self.made.push(((first, window), mask.clone()));
        Ok(Some(mask))
    }
}

/// Rounds to what a 16-bit float holds, as llama.cpp's cache does, so that answers can be compared with its. The
/// cache keeps 32 bits all the same: widening all keys at every token would cost more than it saves.
fn rounded(tensor: &Tensor) -> candle_core::Result<Tensor> {
    tensor.to_dtype(DType::F16)?.to_dtype(DType::F32)
}
