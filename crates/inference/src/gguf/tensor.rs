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

/// `Q5_0` blocks as `Q8_0` blocks of exactly the same numbers.
///
/// candle computes with `Q5_0` number by number (measured: five times slower than `Q8_0`, which has vector
/// code), and Q4_K_M files of models whose rows are no multiple of 256 are full of it. Five bits fit into eight
/// with the scale unchanged, so only memory is spent: 34 bytes for 22.
pub(super) fn widen_q5_0(blocks: &[u8]) -> Vec<u8> {
    const NARROW: usize = 22;
    let mut wide = Vec::with_capacity(blocks.len() / NARROW * 34);
    for block in blocks.chunks_exact(NARROW) {
        let (scale, rest) = block.split_at(2);
        let (high, low) = rest.split_at(4);
        let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
        let number = |nibble: u8, bit: usize| (nibble | (((high >> bit) as u8 & 1) << 4)).wrapping_sub(16);
        wide.extend_from_slice(scale);
        wide.extend(low.iter().enumerate().map(|(index, byte)| number(byte & 0x0F, index)));
        wide.extend(low.iter().enumerate().map(|(index, byte)| number(byte >> 4, index + 16)));
    }
    wide
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use candle_core::Device;
    use candle_core::quantized::{GgmlDType, QStorage, QTensor};

    use super::widen_q5_0;

    #[test]
    fn widened_blocks_hold_exactly_the_same_numbers() {
        // Four blocks of scale 0.5 (0x3800) with every pattern of bits somewhere.
        let mut blocks = Vec::new();
        for seed in 0..4u32 {
            blocks.extend([0x00, 0x38]);
            blocks.extend(seed.wrapping_mul(0x9E37_79B9).wrapping_add(0x1234_5678).to_le_bytes());
            blocks.extend((0..16).map(|byte: u32| (byte * 37 + seed * 101) as u8));
        }
        let numbers = |bytes: &[u8], kind| {
            let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, kind).unwrap();
            let tensor = QTensor::new(storage, 128).unwrap().dequantize(&Device::Cpu).unwrap();
            tensor.to_vec1::<f32>().unwrap()
        };
        assert_eq!(numbers(&blocks, GgmlDType::Q5_0), numbers(&widen_q5_0(&blocks), GgmlDType::Q8_0));
    }
}
