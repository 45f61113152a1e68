//! One line of the tensor directory.

use candle_core::quantized::GgmlDType;

use super::GgufError;

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorKind(pub(super) GgmlDType);

impl TensorKind {
    /// The kind of a type number, or its name if we cannot compute with it.
    pub(super) fn of_number(number: u32) -> Result<Self, String> {
        Ok(Self(match number {
            0 => GgmlDType::F32,
            1 => GgmlDType::F16,
            2 => GgmlDType::Q4_0,
            3 => GgmlDType::Q4_1,
            6 => GgmlDType::Q5_0,
            7 => GgmlDType::Q5_1,
            8 => GgmlDType::Q8_0,
            10 => GgmlDType::Q2K,
            11 => GgmlDType::Q3K,
            12 => GgmlDType::Q4K,
            13 => GgmlDType::Q5K,
            14 => GgmlDType::Q6K,
            30 => GgmlDType::BF16,
            other => {
                let name = match other {
                    9 => "Q8_1",
                    15 => "Q8_K",
                    16 => "IQ2_XXS",
                    17 => "IQ2_XS",
                    18 => "IQ3_XXS",
                    19 => "IQ1_S",
                    20 => "IQ4_NL",
                    21 => "IQ3_S",
                    22 => "IQ2_S",
                    23 => "IQ4_XS",
                    24 => "I8",
                    25 => "I16",
                    26 => "I32",
                    27 => "I64",
                    28 => "F64",
                    29 => "IQ1_M",
                    34 => "TQ1_0",
                    35 => "TQ2_0",
                    39 => "MXFP4",
                    _ => return Err(format!("number {other}")),
                };
                return Err(format!("`{name}`"));
            }
        }))
    }

    /// Numbers in one block.
    pub fn block_len(self) -> usize {
        self.0.block_size()
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.0.type_size()
    }
}

/// One tensor of the directory, checked to lie inside the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorEntry {
    /// Dimensions, rows first (the reverse of the file's order).
    pub dims: Vec<usize>,
    /// How its numbers are stored.
    pub kind: TensorKind,
    /// First byte, from the start of the file.
    pub start: u64,
    /// Length in bytes.
    pub byte_len: usize,
}

impl TensorEntry {
    /// Numbers in the tensor.
    pub fn element_count(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Number of bytes of a tensor, or an error where the dimensions cannot be.
pub(super) fn checked_byte_len(name: &str, dims: &[u64], kind: TensorKind) -> Result<u64, GgufError> {
    let bad = || GgufError::BadDimensions { name: name.to_owned(), dims: dims.to_vec() };
    let row_len = *dims.first().ok_or_else(bad)?;
    let count = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim)).ok_or_else(bad)?;
    if count == 0 || count > isize::MAX as u64 || row_len % kind.block_len() as u64 != 0 {
        return Err(bad());
    }
    (count / kind.block_len() as u64).checked_mul(kind.block_bytes() as u64).ok_or_else(bad)
}
