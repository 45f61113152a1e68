//! Attention over texts that stand one behind the other: each token sees its own text only.
//!
//! On the processor queries go through in blocks, so that the scores of a long text never need more than a block's
//! rows, and a window skips the keys that it hides. On other devices the texts are padded to the longest.

use candle_core::{D, Device, Tensor};
use candle_nn::ops as nn;
use rayon::prelude::*;

use super::product::{View, multiply};
use super::{Norm, NormKind, Threads, vector, with_slice};
use crate::InferenceError;

/// Queries whose scores are held at a time.
const QUERY_BLOCK: usize = 128;

/// How the tokens of a text look at each other.
#[derive(Debug)]
pub(crate) struct Attention {
    pub heads: usize,
    /// Heads of keys and values; several heads of queries may share one.
    pub kv_heads: usize,
    pub head_dim: usize,
    pub scale: f32,
    /// True if nobody looks ahead.
    pub is_causal: bool,
    /// The farthest token that is seen.
    pub window: Option<usize>,
    /// Norms of each head's queries and keys.
    pub query_norm: Option<Norm>,
    pub key_norm: Option<Norm>,
}

/// What is added to a score by how far apart two tokens are: each head's values for distances from -reach to reach.
#[derive(Debug)]
pub(crate) struct Bias {
    by_distance: Vec<Vec<f32>>,
    reach: usize,
}

impl Bias {
    /// One list a head, of `2 * reach + 1` values.
    pub(crate) fn new(reach: usize, heads: usize, value: impl Fn(usize, isize) -> f32) -> Self {
        let distances = -(reach as isize)..=reach as isize;
        let by_distance = (0..heads)
            .map(|head| distances.clone().map(|distance| value(head, distance)).collect())
            .collect();
        Self { by_distance, reach }
    }

    /// The values for the query at `from` and the keys of `range`, which lie side by side.
    fn row(&self, head: usize, from: usize, range: std::ops::Range<usize>) -> &[f32] {
        let zero = self.reach - from;
        &self.by_distance[head][zero + range.start..zero + range.end]
    }
}

/// Rotations by position.
#[derive(Debug)]
pub(crate) struct Rope {
    /// `[positions, pairs]`.
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
    stock: Option<(Tensor, Tensor)>,
}

impl Rope {
    /// Rotations of `pairs` pairs of numbers for `positions` positions.
    pub(crate) fn new(
        theta: f64,
        pairs: usize,
        positions: usize,
        device: &Device,
    ) -> Result<Self, InferenceError> {
        let frequencies: Vec<f32> =
            (0..pairs).map(|pair| 1.0 / (theta as f32).powf(pair as f32 / pairs as f32)).collect();
        let angles = |f: fn(f32) -> f32| -> Vec<f32> {
            (0..positions)
                .flat_map(|position| frequencies.iter().map(move |frequency| f(position as f32 * frequency)))
                .collect()
        };
        let (cos, sin) = (angles(f32::cos), angles(f32::sin));
        let stock = if device.is_cpu() {
            None
        } else {
            let shape = (positions, pairs);
            Some((Tensor::from_slice(&cos, shape, device)?, Tensor::from_slice(&sin, shape, device)?))
        };
        Ok(Self { cos, sin, pairs, stock })
    }

    #[inline(always)]
    fn turn(&self, head: &mut [f32], position: usize) {
        let range = position * self.pairs..(position + 1) * self.pairs;
        let (first, second) = head[..2 * self.pairs].split_at_mut(self.pairs);
        let turns = self.cos[range.clone()].iter().zip(&self.sin[range]);
        for ((x, y), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
            (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
        }
    }

    fn turn_stock(&self, x: &Tensor, len: usize) -> Result<Tensor, InferenceError> {
        let Some((cos, sin)) = &self.stock else {
            let shape = (self.cos.len() / self.pairs, self.pairs);
            let stock = (
                Tensor::from_slice(&self.cos, shape, x.device())?,
                Tensor::from_slice(&self.sin, shape, x.device())?,
            );
            let copy = Self { cos: Vec::new(), sin: Vec::new(), pairs: self.pairs, stock: Some(stock) };
            return copy.turn_stock(x, len);
        };
        let (cos, sin) = (cos.narrow(0, 0, len)?, sin.narrow(0, 0, len)?);
        let width = x.dim(D::Minus1)?;
        let first = x.narrow(D::Minus1, 0, self.pairs)?;
        let second = x.narrow(D::Minus1, self.pairs, self.pairs)?;
        let turned_first = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
        let turned_second = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
        let rest = width - 2 * self.pairs;
        Ok(if rest == 0 {
            Tensor::cat(&[turned_first, turned_second], D::Minus1)?
        } else {
            let rest = x.narrow(D::Minus1, 2 * self.pairs, rest)?;
            Tensor::cat(&[turned_first, turned_second, rest], D::Minus1)?
        })
    }
}

/// What a head's queries and keys go through before they meet.
struct HeadNorm {
    kind: NormKind,
    scale: Vec<f32>,
    shift: Option<Vec<f32>>,
    eps: f32,
}

impl HeadNorm {
    fn of(norm: Option<&Norm>) -> Result<Option<Self>, InferenceError> {
        norm.map(|norm| {
            Ok(Self {
                kind: norm.kind,
                scale: norm.scale.to_vec1()?,
                shift: norm.shift.as_ref().map(Tensor::to_vec1).transpose()?,
                eps: norm.eps,
            })
        })
        .transpose()
    }
}

impl Attention {
    /// Heads that each have their own keys and values, where everybody sees everybody.
    pub(crate) fn of_heads(heads: usize, head_dim: usize) -> Self {
        Self {
            heads,
            kv_heads: heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            is_causal: false,
            window: None,
            query_norm: None,
            key_norm: None,
        }
    }

    /// Numbers in a row of queries, keys and values.
    fn width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// `qkv` has a token's queries, keys and values in a row, and the texts' rows in order of `lengths`.
    pub(crate) fn forward(
        &self,
        qkv: &Tensor,
        lengths: &[usize],
        rope: Option<&Rope>,
        bias: Option<&Bias>,
        threads: Threads,
    ) -> Result<Tensor, InferenceError> {
        if !qkv.device().is_cpu() {
            return self.forward_stock(qkv, lengths, rope, bias);
        }
        let (rows, _) = qkv.dims2()?;
        let out_width = self.heads * self.head_dim;
        let norms = (HeadNorm::of(self.query_norm.as_ref())?, HeadNorm::of(self.key_norm.as_ref())?);
        let mut out = vec![0f32; rows * out_width];
        with_slice(qkv, |qkv| {
            let (mut qkv, mut out) = (qkv, out.as_mut_slice());
            for &len in lengths {
                let (text, rest) = qkv.split_at(len * self.width());
                let (text_out, rest_out) = out.split_at_mut(len * out_width);
                (qkv, out) = (rest, rest_out);
                let one = |head: usize| self.head(text, len, head, &norms, rope, bias);
                let mut place = |head: usize, result: Vec<f32>| {
                    for (row, result) in
                        text_out.chunks_exact_mut(out_width).zip(result.chunks_exact(self.head_dim))
                    {
                        row[head * self.head_dim..][..self.head_dim].copy_from_slice(result);
                    }
                };
                match threads {
                    Threads::One => (0..self.heads).for_each(|head| place(head, one(head))),
                    Threads::All => {
                        let results: Vec<Vec<f32>> = (0..self.heads).into_par_iter().map(one).collect();
                        results.into_iter().enumerate().for_each(|(head, result)| place(head, result));
                    }
                }
            }
        })?;
        Ok(Tensor::from_vec(out, (rows, out_width), qkv.device())?)
    }

    /// One head of one text: `[tokens, head_dim]`.
    fn head(
        &self,
        text: &[f32],
        len: usize,
        head: usize,
        norms: &(Option<HeadNorm>, Option<HeadNorm>),
        rope: Option<&Rope>,
        bias: Option<&Bias>,
    ) -> Vec<f32> {
        let (width, dim) = (self.width(), self.head_dim);
        let kv_head = head / (self.heads / self.kv_heads);
        let queries = self.gather(text, head * dim, norms.0.as_ref(), rope);
        let keys = self.gather(text, (self.heads + kv_head) * dim, norms.1.as_ref(), rope);
        let values_start = (self.heads + self.kv_heads + kv_head) * dim;
        let mut out = vec![0f32; len * dim];
        let mut scores = Vec::new();
        for first in (0..len).step_by(QUERY_BLOCK) {
            let rows = QUERY_BLOCK.min(len - first);
            let range = self.seen(first, len).start..self.seen(first + rows - 1, len).end;
            let columns = range.len();
            scores.resize(rows * columns, 0f32);
            multiply(
                &mut scores,
                columns,
                (rows, dim, columns),
                View::rows(&queries[first * dim..], dim),
                View::rows(&keys[range.start * dim..], dim).transposed(),
                self.scale,
                false,
            );
            for (row, scores) in scores.chunks_exact_mut(columns).enumerate() {
                let query = first + row;
                let seen = self.seen(query, len);
                let seen = seen.start - range.start..seen.end - range.start;
                scores[..seen.start].fill(0.0);
                scores[seen.end..].fill(0.0);
                vector::wide(
                    #[inline(always)]
                    || {
                        if let Some(bias) = bias {
                            vector::add(scores, bias.row(head, query, range.clone()));
                        }
                        vector::softmax(&mut scores[seen.clone()]);
                    },
                );
                if bias.is_some() {
                    scores[..seen.start].fill(0.0);
                    scores[seen.end..].fill(0.0);
                }
            }
            let values =
                View { data: &text[range.start * width + values_start..], row_step: width, column_step: 1 };
            multiply(
                &mut out[first * dim..],
                dim,
                (rows, columns, dim),
                View::rows(&scores, columns),
                values,
                1.0,
                false,
            );
        }
        out
    }

    /// The tokens that the token at `position` sees.
    fn seen(&self, position: usize, len: usize) -> std::ops::Range<usize> {
        let reach = self.window.unwrap_or(len);
        let end = if self.is_causal { position + 1 } else { (position + reach + 1).min(len) };
        position.saturating_sub(reach)..end
    }

    /// One head's queries or keys, normed and turned.
    fn gather(&self, text: &[f32], start: usize, norm: Option<&HeadNorm>, rope: Option<&Rope>) -> Vec<f32> {
        let dim = self.head_dim;
        let mut out = Vec::with_capacity(text.len() / self.width() * dim);
        for row in text.chunks_exact(self.width()) {
            out.extend_from_slice(&row[start..start + dim]);
        }
        if norm.is_some() || rope.is_some() {
            vector::wide(
                #[inline(always)]
                || {
                    for (position, row) in out.chunks_exact_mut(dim).enumerate() {
                        if let Some(norm) = norm {
                            match norm.kind {
                                NormKind::Rms => vector::rms_norm(row, &norm.scale, norm.eps),
                                NormKind::Layer => {
                                    vector::layer_norm(row, &norm.scale, norm.shift.as_deref(), norm.eps);
                                }
                            }
                        }
                        if let Some(rope) = rope {
                            rope.turn(row, position);
                        }
                    }
                },
            );
        }
        out
    }

    pub(super) fn forward_stock(
        &self,
        qkv: &Tensor,
        lengths: &[usize],
        rope: Option<&Rope>,
        bias: Option<&Bias>,
    ) -> Result<Tensor, InferenceError> {
        let device = qkv.device();
        let (count, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let (dim, total) = (self.head_dim, lengths.iter().sum::<usize>());
        // Padded places repeat the first row; nobody looks at them.
        let mut spread = vec![0u32; count * longest];
        let mut collect = Vec::with_capacity(total);
        let mut start = 0;
        for (text, &len) in lengths.iter().enumerate() {
            for position in 0..len {
                spread[text * longest + position] = (start + position) as u32;
                collect.push((text * longest + position) as u32);
            }
            start += len;
        }
        let padded = qkv.index_select(&Tensor::new(spread, device)?, 0)?;
        let part = |start: usize, heads: usize| -> Result<Tensor, InferenceError> {
            Ok(padded
                .narrow(1, start * dim, heads * dim)?
                .reshape((count, longest, heads, dim))?
                .transpose(1, 2)?
                .contiguous()?)
        };
        let prepare = |x: Tensor, norm: Option<&Norm>| -> Result<Tensor, InferenceError> {
            let x = match norm {
                Some(norm) => {
                    let dims = x.dims().to_vec();
                    norm.forward_stock(&x.reshape(((), dim))?, None)?.reshape(dims)?
                }
                None => x,
            };
            match rope {
                Some(rope) => rope.turn_stock(&x, longest),
                None => Ok(x),
            }
        };
        let shared = |x: Tensor| -> Result<Tensor, InferenceError> {
            let times = self.heads / self.kv_heads;
            Ok(if times == 1 {
                x
            } else {
                let shape = (count, self.kv_heads, times, longest, dim);
                x.unsqueeze(2)?.expand(shape)?.reshape((count, self.heads, longest, dim))?
            })
        };
        let queries = prepare(part(0, self.heads)?, self.query_norm.as_ref())?.contiguous()?;
        let keys = shared(prepare(part(self.heads, self.kv_heads)?, self.key_norm.as_ref())?)?;
        let values = shared(part(self.heads + self.kv_heads, self.kv_heads)?)?.contiguous()?;
        let scores = (queries.matmul(&keys.transpose(2, 3)?.contiguous()?)? * f64::from(self.scale))?;
        let mask_heads = if bias.is_some() { self.heads } else { 1 };
        let mut mask = vec![f32::NEG_INFINITY; count * mask_heads * longest * longest];
        for (plane, mask) in mask.chunks_exact_mut(longest * longest).enumerate() {
            let (len, head) = (lengths[plane / mask_heads], plane % mask_heads);
            for (query, row) in mask.chunks_exact_mut(longest).enumerate() {
                if query >= len {
                    row.fill(0.0);
                    continue;
                }
                let seen = self.seen(query, len);
                match bias {
                    Some(bias) => row[seen.clone()].copy_from_slice(bias.row(head, query, seen)),
                    None => row[seen].fill(0.0),
                }
            }
        }
        let mask = Tensor::from_vec(mask, (count, mask_heads, longest, longest), device)?;
        let shares = nn::softmax_last_dim(&scores.broadcast_add(&mask)?)?;
        let out = shares.matmul(&values)?.transpose(1, 2)?.contiguous()?;
        let out = out.reshape((count * longest, self.heads * dim))?;
        Ok(out.index_select(&Tensor::new(collect, device)?, 0)?)
    }
}
