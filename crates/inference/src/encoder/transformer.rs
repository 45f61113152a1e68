//! One transformer for all families of encoders. What tells them apart is data: which tables make a token's first
//! vector, where norms stand, how tokens look at each other, what the feed-forward layer is. [`super::families`]
//! fills it in from a model's files; the forward pass here never asks for a family's name.

use candle_core::{Device, Tensor};

use super::ops::{self, After, Attention, Bias, Linear, Norm, Rope, Threads};
use crate::InferenceError;

/// A loaded encoder.
#[derive(Debug)]
pub(crate) struct Transformer {
    pub embeddings: Embeddings,
    pub layers: Vec<Layer>,
    /// Where norms stand.
    pub placement: Placement,
    /// The norm after the last layer, where there is one.
    pub final_norm: Option<Norm>,
    /// Rotations; layers name theirs by index.
    pub ropes: Vec<Rope>,
    pub bias: Option<Bias>,
    pub after_up: After,
    pub hidden: usize,
    /// Most tokens of a text.
    pub max_positions: usize,
    pub device: Device,
}

/// How a token's first vector is made.
#[derive(Debug)]
pub(crate) struct Embeddings {
    pub words: Tensor,
    /// Vectors of positions, and how many of them stand before the first.
    pub positions: Option<(Tensor, usize)>,
    /// Vectors of token types.
    pub types: Option<Tensor>,
    pub norm: Option<Norm>,
}

/// Where a layer's norms stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Behind the sum of input and result, as in the first transformers.
    After,
    /// Before attention and feed-forward.
    Before,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Absent where the first layer has none.
    pub attention_norm: Option<Norm>,
    /// Queries, keys and values in one.
    pub qkv: Linear,
    pub attention: Attention,
    /// Which rotation, if any.
    pub rope: Option<usize>,
    pub attention_out: Linear,
    pub mlp_norm: Norm,
    /// With a gate: the gate's half first.
    pub up: Linear,
    pub down: Linear,
}

/// A text as the encoder takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub ids: &'a [u32],
    /// As long as `ids`, or empty where all are 0.
    pub types: &'a [u32],
}

impl Transformer {
    /// Rows in the table of words.
    pub(crate) fn vocabulary_len(&self) -> usize {
        self.embeddings.words.dim(0).unwrap_or(0)
    }

    /// The last hidden state of every token, texts one behind the other. Every text must have a token, none more
    /// than `max_positions`, and none an id outside the vocabulary.
    pub(crate) fn forward(&self, rows: &[Row<'_>], threads: Threads) -> Result<Tensor, InferenceError> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        let mut hidden = self.embed(rows, threads)?;
        for layer in &self.layers {
            hidden = match self.placement {
                Placement::After => {
                    let attended = self.attend(layer, &hidden, &lengths, threads)?;
                    let hidden = match &layer.attention_norm {
                        Some(norm) => norm.forward(attended, Some(&hidden), threads)?,
                        None => ops::add(attended, &hidden, threads)?,
                    };
                    let fed = self.feed(layer, &hidden, threads)?;
                    layer.mlp_norm.forward(fed, Some(&hidden), threads)?
                }
                Placement::Before => {
                    let attended = match &layer.attention_norm {
                        Some(norm) => {
                            let normed = norm.forward(hidden.clone(), None, threads)?;
                            self.attend(layer, &normed, &lengths, threads)?
                        }
                        None => self.attend(layer, &hidden, &lengths, threads)?,
                    };
                    let hidden = ops::add(attended, &hidden, threads)?;
                    let normed = layer.mlp_norm.forward(hidden.clone(), None, threads)?;
                    ops::add(self.feed(layer, &normed, threads)?, &hidden, threads)?
                }
            };
        }
        match &self.final_norm {
            Some(norm) => norm.forward(hidden, None, threads),
            None => Ok(hidden),
        }
    }

    fn embed(&self, rows: &[Row<'_>], threads: Threads) -> Result<Tensor, InferenceError> {
        let ids: Vec<u32> = rows.iter().flat_map(|row| row.ids).copied().collect();
        let mut hidden = ops::look_up(&self.embeddings.words, &ids)?;
        if let Some((table, offset)) = &self.embeddings.positions {
            let positions: Vec<u32> =
                rows.iter().flat_map(|row| (0..row.ids.len()).map(|place| (place + offset) as u32)).collect();
            hidden = ops::add(hidden, &ops::look_up(table, &positions)?, threads)?;
        }
        if let Some(table) = &self.embeddings.types {
            let last = table.dim(0)?.saturating_sub(1) as u32;
            // A tokenizer may tell more types than the model knows.
            let types: Vec<u32> = rows
                .iter()
                .flat_map(|row| {
                    (0..row.ids.len()).map(|place| row.types.get(place).copied().unwrap_or(0).min(last))
                })
                .collect();
            hidden = ops::add(hidden, &ops::look_up(table, &types)?, threads)?;
        }
        match &self.embeddings.norm {
            Some(norm) => norm.forward(hidden, None, threads),
            None => Ok(hidden),
        }
    }

    fn attend(
        &self,
        layer: &Layer,
        hidden: &Tensor,
        lengths: &[usize],
        threads: Threads,
    ) -> Result<Tensor, InferenceError> {
        let qkv = layer.qkv.forward(hidden, After::Nothing, threads)?;
        let rope = layer.rope.and_then(|index| self.ropes.get(index));
        let attended = layer.attention.forward(&qkv, lengths, rope, self.bias.as_ref(), threads)?;
        layer.attention_out.forward(&attended, After::Nothing, threads)
    }

    fn feed(&self, layer: &Layer, hidden: &Tensor, threads: Threads) -> Result<Tensor, InferenceError> {
        let up = layer.up.forward(hidden, self.after_up, threads)?;
        layer.down.forward(&up, After::Nothing, threads)
    }
}
