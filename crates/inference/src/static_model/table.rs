//! The table of token vectors: one row a token, bytes left as they are in the file where they can be.

use std::borrow::Cow;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::StaticModelError;

/// Names that the table goes by: model2vec's, and that of sentence-transformers' `StaticEmbedding`.
const TABLE_NAMES: [&str; 2] = ["embeddings", "embedding.weight"];

/// Rows of numbers, and which row and weight a token has.
#[derive(Debug)]
pub(super) struct Table {
    rows: Rows,
    row_count: usize,
    dimensions: usize,
    /// By token id. Absent: every token weighs one.
    weights: Option<Vec<f32>>,
    /// Row by token id. Absent: its own.
    mapping: Option<Vec<u32>>,
}

#[derive(Debug)]
enum Rows {
    /// The file's own bytes, the table beginning at `start`.
    Int8 {
        file: Cow<'static, [u8]>,
        start: usize,
    },
    Float(Vec<f32>),
}

impl Table {
    /// Reads the weights of a file. `file` is its path within the model.
    pub fn parse(bytes: Cow<'static, [u8]>, file: &str) -> Result<Self, StaticModelError> {
        let bad = |problem: String| StaticModelError::BadWeights { file: file.to_owned(), problem };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| bad(format!("is broken: {error}")))?;
        let table = TABLE_NAMES
            .iter()
            .find_map(|name| tensors.tensor(name).ok())
            .ok_or_else(|| bad(format!("has no tensor `{}`", TABLE_NAMES[0])))?;
        let &[row_count, dimensions] = table.shape() else {
            return Err(bad(format!("has a table of {} dimensions instead of two", table.shape().len())));
        };
        if row_count == 0 || dimensions == 0 || row_count > u32::MAX as usize {
            return Err(bad(format!("has a table of {row_count} rows and {dimensions} columns")));
        }
        let optional = |name: &str| tensors.tensor(name).ok();
        let weights = optional("weights").map(|view| floats(&view)).transpose().map_err(&bad)?;
        let mapping = optional("mapping").map(|view| indices(&view)).transpose().map_err(&bad)?;
        let is_known = |row: &u32| (*row as usize) < row_count;
        if mapping.as_ref().is_some_and(|mapping| !mapping.iter().all(is_known)) {
            return Err(bad("maps a token to a row that the table does not have".to_owned()));
        }
        let start = match table.dtype() {
            Dtype::I8 => Some(table.data().as_ptr() as usize - bytes.as_ptr() as usize),
            _ => None,
        };
        let rows = match start {
            None => Rows::Float(floats(&table).map_err(&bad)?),
            Some(start) => Rows::Int8 { file: bytes, start },
        };
        Ok(Self { rows, row_count, dimensions, weights, mapping })
    }

    /// Numbers in a row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Fails unless every id below `tokens` has a row and a weight.
    pub fn check_covers(&self, tokens: usize, file: &str) -> Result<(), StaticModelError> {
        let rows = self.mapping.as_ref().map_or(self.row_count, Vec::len);
        let weights = self.weights.as_ref().map_or(usize::MAX, Vec::len);
        for (count, what) in [(rows, "rows"), (weights, "weights")] {
            if count < tokens {
                let problem = format!("has {count} {what} for the {tokens} tokens of the tokenizer");
                return Err(StaticModelError::BadWeights { file: file.to_owned(), problem });
            }
        }
        Ok(())
    }

    /// Adds a token's weighted vector to `sum` as often as `times`, as far as that is long. The token must be covered.
    pub fn add(&self, token: u32, times: f32, sum: &mut [f32]) {
        let token = token as usize;
        let weight = times * self.weights.as_ref().map_or(1.0, |weights| weights[token]);
        let row = self.mapping.as_ref().map_or(token, |mapping| mapping[token] as usize);
        let first = row * self.dimensions;
        match &self.rows {
            Rows::Int8 { file, start } => {
                let row = &file[start + first..start + first + self.dimensions];
                for (sum, byte) in sum.iter_mut().zip(row) {
                    *sum += weight * f32::from(byte.cast_signed());
                }
            }
            Rows::Float(values) => {
                for (sum, value) in sum.iter_mut().zip(&values[first..first + self.dimensions]) {
                    *sum += weight * value;
                }
            }
        }
    }
}

fn floats(view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::BF16 => {
            data.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        Dtype::F64 => eights(data).map(|b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::I8 => data.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
        other => return Err(format!("holds numbers of type {other:?}, which static models do not have")),
    })
}

fn indices(view: &TensorView<'_>) -> Result<Vec<u32>, String> {
    let data = view.data();
    let wide: Vec<i64> = match view.dtype() {
        Dtype::I64 => eights(data).map(i64::from_le_bytes).collect(),
        Dtype::I32 => {
            data.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect()
        }
        Dtype::U32 => {
            data.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect()
        }
        other => return Err(format!("maps tokens with numbers of type {other:?}")),
    };
    wide.into_iter().map(|row| u32::try_from(row).map_err(|_| format!("maps a token to row {row}"))).collect()
}

fn eights(data: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    data.as_chunks::<8>().0.iter().copied()
}
