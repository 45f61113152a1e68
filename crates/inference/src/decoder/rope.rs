//! Rotary position embedding. The tables grow as sequences do and are shared by all layers of one kind, so that
//! a long trained context costs nothing until it is used.

use std::f64::consts::PI;

use candle_core::{Device, Tensor};
use candle_nn::rotary_emb;

use super::config::{RopeScaling, RopeSpec, RopeStyle};
use crate::InferenceError;

/// Sines and cosines by position.
pub(super) struct Rope {
    /// Turn per position of each pair.
    frequencies: Vec<f64>,
    magnitude: f64,
    style: RopeStyle,
    dims: usize,
    tables: Option<(Tensor, Tensor)>,
    len: usize,
}

/// Rows of the first table; enough for a short chat.
const FIRST_ROWS: usize = 512;

impl Rope {
    /// `factors` divides each pair's frequency (Llama 3.1 and Phi-3 bring such tables).
    pub(super) fn new(spec: &RopeSpec, factors: Option<&[f32]>) -> Self {
        let dims = spec.dims as f64;
        let mut magnitude = spec.magnitude;
        let frequencies = (0..spec.dims / 2)
            .map(|pair| {
                let plain = spec.base.powf(-2.0 * pair as f64 / dims);
                let plain = match factors {
                    Some(factors) => plain / f64::from(factors[pair]),
                    None => plain,
                };
                match spec.scaling {
                    RopeScaling::None => plain,
                    RopeScaling::Linear { factor } => plain / factor,
                    RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow } => {
                        let context = original_context as f64;
                        let bound =
                            |beta: f64| dims * (context / (beta * 2.0 * PI)).ln() / (2.0 * spec.base.ln());
                        let low = bound(beta_fast).floor().max(0.0);
                        let high = bound(beta_slow).ceil().min(dims - 1.0);
                        let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                        // Below `low` the frequency is kept, above `high` it is stretched.
                        plain * (1.0 - ramp) + plain / factor * ramp
                    }
                }
            })
            .collect();
        if let RopeScaling::Yarn { factor, .. } = spec.scaling {
            magnitude *= 1.0 + 0.1 * factor.ln();
        }
        Self { frequencies, magnitude, style: spec.style, dims: spec.dims, tables: None, len: 0 }
    }

    /// Makes sure that positions below `end` can be rotated.
    pub(super) fn grow(&mut self, end: usize, device: &Device) -> Result<(), InferenceError> {
        if end <= self.len {
            return Ok(());
        }
        let rows = end.next_power_of_two().max(FIRST_ROWS);
        let angles = (0..rows)
            .flat_map(|position| self.frequencies.iter().map(move |frequency| position as f64 * frequency));
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for angle in angles {
            cos.push((angle.cos() * self.magnitude) as f32);
            sin.push((angle.sin() * self.magnitude) as f32);
        }
        let shape = (rows, self.frequencies.len());
        self.tables = Some((Tensor::from_vec(cos, shape, device)?, Tensor::from_vec(sin, shape, device)?));
        self.len = rows;
        Ok(())
    }

    /// Rotates `[heads, tokens, head]` whose first token is at position `start`.
    pub(super) fn rotate(&self, heads: &Tensor, start: usize) -> Result<Tensor, InferenceError> {
        let (_, count, head_len) = heads.dims3()?;
        let Some((cos, sin)) = &self.tables else {
            return Err(InferenceError::ThreadGone);
        };
        let (cos, sin) = (cos.narrow(0, start, count)?, sin.narrow(0, start, count)?);
        let turn = |part: &Tensor| match self.style {
            RopeStyle::Interleaved => rotary_emb::rope_i(part, &cos, &sin),
            RopeStyle::Halves => rotary_emb::rope(part, &cos, &sin),
        };
        let heads = heads.unsqueeze(0)?;
        let rotated = if self.dims == head_len {
            turn(&heads)?
        } else {
            let turned = turn(&heads.narrow(3, 0, self.dims)?.contiguous()?)?;
            let kept = heads.narrow(3, self.dims, head_len - self.dims)?;
            Tensor::cat(&[&turned, &kept], 3)?
        };
        Ok(rotated.squeeze(0)?)
    }
}
