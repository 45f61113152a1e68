//! The few operations a transformer encoder is made of, on tensors of `[tokens, features]` where the texts of a
//! batch stand one behind the other without padding.
//!
//! On the processor each is one pass of our own over plain slices (candle's general operations make a copy of
//! everything for each step); on other devices they are candle's. Both ways are
//! held against each other in the tests.

mod attention;
mod product;
#[cfg(test)]
mod tests;
mod vector;

use candle_core::{Device, Storage, Tensor};
use candle_nn::ops as nn;
use rayon::prelude::*;

pub(crate) use attention::{Attention, Bias, Rope};

use crate::InferenceError;

/// How the work of one batch is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// This thread alone: others have batches of their own.
    One,
    /// All of the pool's.
    All,
}

/// What is done to a linear layer's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// With the error function.
    Gelu,
    /// With the hyperbolic tangent.
    GeluTanh,
    Relu,
    Silu,
    Tanh,
    Sigmoid,
    Identity,
}

impl Activation {
    /// By the name that configuration files use.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" | "geglu" => Self::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_fast" => Self::GeluTanh,
            "relu" | "reglu" => Self::Relu,
            "silu" | "swish" | "swiglu" => Self::Silu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "linear" | "identity" => Self::Identity,
            _ => return None,
        })
    }

    /// Applied to each number.
    pub(crate) fn apply(self, row: &mut [f32]) {
        vector::wide(
            #[inline(always)]
            || match self {
                Self::Gelu => vector::map(row, vector::gelu),
                Self::GeluTanh => vector::map(row, vector::gelu_tanh),
                Self::Relu => vector::map(row, |x| if x < 0.0 { 0.0 } else { x }),
                Self::Silu => vector::map(row, |x| x * vector::sigmoid(x)),
                Self::Tanh => vector::map(row, vector::tanh),
                Self::Sigmoid => vector::map(row, vector::sigmoid),
                Self::Identity => {}
            },
        );
    }

    fn apply_tensor(self, x: &Tensor) -> Result<Tensor, InferenceError> {
        Ok(match self {
            Self::Gelu => x.gelu_erf()?,
            Self::GeluTanh => x.gelu()?,
            Self::Relu => x.relu()?,
            Self::Silu => x.silu()?,
            Self::Tanh => x.tanh()?,
            Self::Sigmoid => nn::sigmoid(x)?,
            Self::Identity => x.clone(),
        })
    }
}

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// An activation.
    Activation(Activation),
    /// The first half of each row, activated, times the second half.
    Gate(Activation),
}

/// A linear layer: weights and perhaps a bias.
#[derive(Debug)]
pub(crate) struct Linear {
    /// `[in, out]`, the other way round than files have them: so products need no copy of the weights in another
    /// order each time.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// A layer from weights as files have them, a row of `depth` for each number that comes out.
    pub(crate) fn new(
        weight: &[f32],
        depth: usize,
        bias: Option<Vec<f32>>,
        device: &Device,
    ) -> Result<Self, InferenceError> {
        let rows = weight.len() / depth;
        let bias = bias.map(|bias| Tensor::from_vec(bias, rows, device)).transpose()?;
        let weight = Tensor::from_vec(turned(weight, rows, depth), (depth, rows), device)?;
        Ok(Self { weight, bias })
    }

    /// `x` times the weights, plus the bias, and what comes after.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        after: After,
        threads: Threads,
    ) -> Result<Tensor, InferenceError> {
        let (rows, depth) = x.dims2()?;
        let columns = self.weight.dim(1)?;
        if !x.device().is_cpu() {
            return self.forward_stock(x, after);
        }
        let mut out = vec![0f32; rows * columns];
        with_slice(x, |x| {
            with_slice(&self.weight, |weight| {
                product::multiply(
                    &mut out,
                    columns,
                    (rows, depth, columns),
                    product::View::rows(x, depth),
                    product::View::rows(weight, columns),
                    1.0,
                    threads == Threads::All,
                );
            })
        })??;
        let bias = match &self.bias {
            Some(bias) => bias.to_vec1::<f32>()?,
            None => Vec::new(),
        };
        if let After::Gate(activation) = after {
            let half = columns / 2;
            let mut gated = vec![0f32; rows * half];
            each_row_pair(&mut gated, half, &mut out, columns, threads, |gated, row| {
                vector::wide(
                    #[inline(always)]
                    || vector::add(row, &bias),
                );
                let (gate, value) = row.split_at_mut(half);
                activation.apply(gate);
                vector::wide(
                    #[inline(always)]
                    || {
                        for ((x, gate), value) in gated.iter_mut().zip(gate.iter()).zip(value.iter()) {
                            *x = gate * value;
                        }
                    },
                );
            });
            return Ok(Tensor::from_vec(gated, (rows, half), x.device())?);
        }
        if !bias.is_empty() || after != After::Nothing {
            each_row(&mut out, columns, threads, |row| {
                vector::wide(
                    #[inline(always)]
                    || vector::add(row, &bias),
                );
                if let After::Activation(activation) = after {
                    activation.apply(row);
                }
            });
        }
        Ok(Tensor::from_vec(out, (rows, columns), x.device())?)
    }

    fn forward_stock(&self, x: &Tensor, after: After) -> Result<Tensor, InferenceError> {
        let mut y = x.matmul(&self.weight)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(bias)?;
        }
        match after {
            After::Nothing => Ok(y),
            After::Activation(activation) => activation.apply_tensor(&y),
            After::Gate(activation) => {
                let half = y.dim(1)? / 2;
                let gate = activation.apply_tensor(&y.narrow(1, 0, half)?.contiguous()?)?;
                Ok((gate * y.narrow(1, half, half)?)?)
            }
        }
    }
}

/// A matrix with rows and columns exchanged, in blocks that a cache holds.
fn turned(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let mut out = vec![0f32; rows * columns];
    for first_row in (0..rows).step_by(BLOCK) {
        for first_column in (0..columns).step_by(BLOCK) {
            for row in first_row..rows.min(first_row + BLOCK) {
                for column in first_column..columns.min(first_column + BLOCK) {
                    out[column * rows + row] = matrix[row * columns + column];
                }
            }
        }
    }
    out
}

/// What is taken out of each row before it goes on.
#[derive(Debug)]
pub(crate) struct Norm {
    pub kind: NormKind,
    pub scale: Tensor,
    pub shift: Option<Tensor>,
    pub eps: f32,
}

/// The two kinds of norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormKind {
    /// Mean and variance.
    Layer,
    /// The root of the mean square.
    Rms,
}

impl Norm {
    /// The norm of each row of `x`, or of `x + residual`.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        residual: Option<&Tensor>,
        threads: Threads,
    ) -> Result<Tensor, InferenceError> {
        let (rows, width) = x.dims2()?;
        if !x.device().is_cpu() {
            return self.forward_stock(&x, residual);
        }
        let device = x.device().clone();
        let mut out = into_vec(x)?;
        if let Some(residual) = residual {
            add_rows(&mut out, residual, width, threads)?;
        }
        let scale = self.scale.to_vec1::<f32>()?;
        let shift = self.shift.as_ref().map(Tensor::to_vec1::<f32>).transpose()?;
        each_row(&mut out, width, threads, |row| {
            vector::wide(
                #[inline(always)]
                || match self.kind {
                    NormKind::Layer => vector::layer_norm(row, &scale, shift.as_deref(), self.eps),
                    NormKind::Rms => vector::rms_norm(row, &scale, self.eps),
                },
            );
        });
        Ok(Tensor::from_vec(out, (rows, width), &device)?)
    }

    fn forward_stock(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor, InferenceError> {
        let x = match residual {
            Some(residual) => (x + residual)?,
            None => x.clone(),
        };
        let x = match self.kind {
            NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(1)?)?,
            NormKind::Rms => x,
        };
        let spread = (x.sqr()?.mean_keepdim(1)? + f64::from(self.eps))?.sqrt()?;
        let x = x.broadcast_div(&spread)?.broadcast_mul(&self.scale)?;
        Ok(match &self.shift {
            Some(shift) => x.broadcast_add(shift)?,
            None => x,
        })
    }
}

/// `x + other`.
pub(crate) fn add(x: Tensor, other: &Tensor, threads: Threads) -> Result<Tensor, InferenceError> {
    if !x.device().is_cpu() {
        return Ok((x + other)?);
    }
    let (rows, width) = x.dims2()?;
    let device = x.device().clone();
    let mut out = into_vec(x)?;
    add_rows(&mut out, other, width, threads)?;
    Ok(Tensor::from_vec(out, (rows, width), &device)?)
}

/// The rows of a table that `ids` name, times a factor.
pub(crate) fn look_up(table: &Tensor, ids: &[u32]) -> Result<Tensor, InferenceError> {
    if !table.device().is_cpu() {
        return Ok(table.index_select(&Tensor::new(ids, table.device())?, 0)?);
    }
    let (rows, width) = table.dims2()?;
    if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
        return Err(InferenceError::Compute(candle_core::Error::Msg(format!(
            "id {id} is outside a table of {rows} rows"
        ))));
    }
    let mut out = Vec::with_capacity(ids.len() * width);
    with_slice(table, |table| {
        for id in ids {
            let start = *id as usize * width;
            out.extend_from_slice(&table[start..start + width]);
        }
    })?;
    Ok(Tensor::from_vec(out, (ids.len(), width), table.device())?)
}

fn add_rows(out: &mut [f32], other: &Tensor, width: usize, threads: Threads) -> Result<(), InferenceError> {
    with_slice(other, |other| {
        let mut rows = other;
        match threads {
            Threads::One => vector::wide(
                #[inline(always)]
                || vector::add(out, rows),
            ),
            Threads::All => {
                rows = &rows[..out.len()];
                out.par_chunks_mut(width * 32).zip(rows.par_chunks(width * 32)).for_each(|(out, other)| {
                    vector::wide(
                        #[inline(always)]
                        || vector::add(out, other),
                    );
                });
            }
        }
    })
}

/// Rows that one task takes where all threads share the work.
const ROWS_A_TASK: usize = 16;

fn each_row(out: &mut [f32], width: usize, threads: Threads, work: impl Fn(&mut [f32]) + Sync) {
    match threads {
        Threads::One => out.chunks_exact_mut(width).for_each(work),
        Threads::All => out
            .par_chunks_mut(width * ROWS_A_TASK)
            .for_each(|rows| rows.chunks_exact_mut(width).for_each(&work)),
    }
}

fn each_row_pair(
    out: &mut [f32],
    width: usize,
    from: &mut [f32],
    from_width: usize,
    threads: Threads,
    work: impl Fn(&mut [f32], &mut [f32]) + Sync,
) {
    match threads {
        Threads::One => {
            out.chunks_exact_mut(width).zip(from.chunks_exact_mut(from_width)).for_each(|(a, b)| work(a, b));
        }
        Threads::All => out
            .par_chunks_mut(width * ROWS_A_TASK)
            .zip(from.par_chunks_mut(from_width * ROWS_A_TASK))
            .for_each(|(out, from)| {
                out.chunks_exact_mut(width)
                    .zip(from.chunks_exact_mut(from_width))
                    .for_each(|(a, b)| work(a, b));
            }),
    }
}

/// The numbers of a tensor that lies in main memory without gaps.
pub(crate) fn with_slice<R>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> R) -> Result<R, InferenceError> {
    let (storage, layout) = tensor.storage_and_layout();
    let not_plain = || candle_core::Error::Msg("a tensor has gaps, or is not in main memory".to_owned());
    let Storage::Cpu(storage) = &*storage else { return Err(not_plain().into()) };
    let (start, end) = layout.contiguous_offsets().ok_or_else(not_plain)?;
    Ok(read(&storage.as_slice::<f32>()?[start..end]))
}

/// The numbers of a tensor that nobody else needs; without a copy where it is the only owner.
fn into_vec(tensor: Tensor) -> Result<Vec<f32>, InferenceError> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?)
}
