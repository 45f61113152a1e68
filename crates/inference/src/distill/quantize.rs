//! From rows of numbers to the file `model.safetensors`.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};

use super::DistillError;

/// How the table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// One byte a number, with a scale a row.
    #[default]
    Int8,
    /// Two bytes.
    Float16,
    /// Four bytes.
    Float32,
}

impl Quantization {
    /// Reads `int8`, `float16` or `float32`.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "int8" => Self::Int8,
            "float16" => Self::Float16,
            "float32" => Self::Float32,
            _ => return None,
        })
    }

    /// The word for it, as numpy and model2vec call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Float16 => "float16",
            Self::Float32 => "float32",
        }
    }
}

/// Writes a table with a weight a row. In `int8` every row is stretched to the whole range and the weight says by
/// how much. With one scale for all, as model2vec does it, frequent words, whose weights are small, are left with a
/// few levels; that costs little, since they count little (nDCG@10 0.0005 on three collections), but so does this:
/// four bytes a row.
pub(crate) fn write(
    rows: &[Vec<f32>],
    weights: &[f32],
    quantization: Quantization,
) -> Result<Vec<u8>, DistillError> {
    let width = rows.first().map_or(0, Vec::len);
    let shape = vec![rows.len(), width];
    let weighted =
        rows.iter().zip(weights).flat_map(|(row, weight)| row.iter().map(move |value| value * weight));
    let (table, dtype, scales) = match quantization {
        Quantization::Float32 => (weighted.flat_map(f32::to_le_bytes).collect::<Vec<u8>>(), Dtype::F32, None),
        Quantization::Float16 => {
            (weighted.flat_map(|value| half::f16::from_f32(value).to_le_bytes()).collect(), Dtype::F16, None)
        }
        Quantization::Int8 => {
            let mut table = Vec::with_capacity(rows.len() * width);
            let mut scales = Vec::with_capacity(rows.len() * 4);
            for (row, weight) in rows.iter().zip(weights) {
                let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
                table.extend(row.iter().map(|value| ((value / step).round() as i8).cast_unsigned()));
                scales.extend((weight * step).to_le_bytes());
            }
            (table, Dtype::I8, Some(scales))
        }
    };
    let failed = |error: safetensors::SafeTensorError| DistillError::Internal { problem: error.to_string() };
    let mut tensors = vec![("embeddings", TensorView::new(dtype, shape, &table).map_err(failed)?)];
    if let Some(scales) = &scales {
        let view = TensorView::new(Dtype::F32, vec![rows.len()], scales).map_err(failed)?;
        tensors.push(("weights", view));
    }
    safetensors::serialize(tensors, None).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_its_direction_whatever_it_weighs() {
        let bytes = write(&[vec![1.0, -0.5], vec![0.0, 0.0]], &[0.001, 1.0], Quantization::Int8).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("embeddings").unwrap().data(), [127, 192, 0, 0]);
        let weights = tensors.tensor("weights").unwrap().data().to_vec();
        assert_eq!(weights[..4], (0.001_f32 * (1.0 / 127.0)).to_le_bytes());
    }

    #[test]
    fn floats_carry_their_weight() {
        for (quantization, width) in [(Quantization::Float32, 4), (Quantization::Float16, 2)] {
            let bytes = write(&[vec![2.0, 4.0]], &[0.5], quantization).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            assert_eq!(tensors.tensor("embeddings").unwrap().data().len(), 2 * width);
            assert!(tensors.tensor("weights").is_err());
        }
    }
}
