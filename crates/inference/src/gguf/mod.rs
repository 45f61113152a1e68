//! Reads GGUF files: header, metadata, tensor directory, tensor bytes.
//!
//! The file may be hostile. Every count and length is held against the bytes that are left in the file before
//! anything is allocated, so memory is bounded by the file's size (headers by [`MAX_HEADER_BYTES`]); arrays
//! nest at most [`MAX_ARRAY_DEPTH`] deep; dimensions multiply checked; a tensor must lie inside the file.
//! What the numbers mean to a model is not known here.

mod header;
mod reader;
mod tensor;
mod value;

use thiserror::Error;

pub use header::{GgufFile, MAX_HEADER_BYTES};
pub use tensor::{TensorEntry, TensorKind};
pub use value::{MAX_ARRAY_DEPTH, Value};

/// What is wrong with a GGUF file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GgufError {
    /// Not a GGUF file at all.
    #[error("this is not a GGUF file (it begins with {found:02x?})")]
    BadMagic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A version nobody writes any more, or not yet.
    #[error("GGUF version {found} is not supported (2 and 3 are)")]
    UnsupportedVersion {
        /// What the file says.
        found: u32,
    },
    /// Written on a machine with the other byte order.
    #[error("the file was written in big-endian byte order, which is not supported")]
    BigEndian,
    /// The file ends too early.
    #[error("the file ends within {place}: {needed} bytes are needed, {left} are left")]
    CutShort {
        /// Where.
        place: String,
        /// What the file promised.
        needed: u64,
        /// What is there.
        left: u64,
    },
    /// The header itself is too long to be true.
    #[error("the header is longer than {limit} bytes")]
    HeaderTooLong {
        /// The most we read.
        limit: u64,
    },
    /// More entries than any real file has.
    #[error("the file promises {count} {what}, but at most {limit} are read")]
    TooMany {
        /// Metadata entries or tensors.
        what: &'static str,
        /// What the file promises.
        count: u64,
        /// The most we read.
        limit: u64,
    },
    /// Tensors that together are longer than the file.
    #[error("up to tensor `{name}`, the tensors are longer than the file ({size} bytes), so they overlap")]
    Overlap {
        /// The tensor that was too much.
        name: String,
        /// The file's size.
        size: u64,
    },
    /// A type number that does not exist.
    #[error("{place} has the unknown value type {found}")]
    UnknownValueType {
        /// Where.
        place: String,
        /// The number.
        found: u32,
    },
    /// A tensor type that candle cannot compute with.
    #[error("tensor `{name}` has the type {found}, which is not supported")]
    UnsupportedTensorType {
        /// Which tensor.
        name: String,
        /// Its type's name or number.
        found: String,
    },
    /// Text that is not UTF-8.
    #[error("{place} is not valid UTF-8")]
    NotUtf8 {
        /// Where.
        place: String,
    },
    /// Arrays in arrays in arrays.
    #[error("{place} nests arrays more than {limit} deep")]
    TooDeep {
        /// Where.
        place: String,
        /// The most we read.
        limit: usize,
    },
    /// Two entries of one name.
    #[error("{what} `{name}` occurs twice")]
    Duplicate {
        /// Metadata key or tensor.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Dimensions that cannot be.
    #[error("tensor `{name}` has impossible dimensions {dims:?}")]
    BadDimensions {
        /// Which tensor.
        name: String,
        /// As in the file.
        dims: Vec<u64>,
    },
    /// A tensor outside the file.
    #[error("tensor `{name}` lies outside the file (bytes {start} to {end} of {size})")]
    OutsideFile {
        /// Which tensor.
        name: String,
        /// First byte.
        start: u64,
        /// One past its last byte.
        end: u64,
        /// The file's size.
        size: u64,
    },
    /// A tensor that does not start where the alignment says.
    #[error(
        "tensor `{name}` starts at offset {offset}, which is not a multiple of the alignment {alignment}"
    )]
    Misaligned {
        /// Which tensor.
        name: String,
        /// Where it starts.
        offset: u64,
        /// What the file promised.
        alignment: u64,
    },
    /// An alignment that cannot be.
    #[error("`general.alignment` must be a power of two from 8 to 65536, not {found}")]
    BadAlignment {
        /// What the file says.
        found: String,
    },
    /// One part of a model split over several files.
    #[error("this is one of {count} parts of a split model")]
    Split {
        /// How many there are.
        count: u64,
    },
    /// The system could not read on.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}

impl GgufError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CutShort { .. } | Self::OutsideFile { .. } => {
                "the download may be incomplete: pull the model again".to_owned()
            }
            Self::BadMagic { .. } => "give the path of a `.gguf` file".to_owned(),
            Self::UnsupportedVersion { .. } | Self::BigEndian => {
                "convert the model again with a current llama.cpp".to_owned()
            }
            Self::Split { .. } => "join the parts with `llama-gguf-split --merge` first".to_owned(),
            Self::UnsupportedTensorType { .. } => {
                "choose a file quantised as Q4_K_M, Q5_K_M, Q6_K, Q8_0 or F16".to_owned()
            }
            _ => return None,
        })
    }
}
