//! The header as a whole, and the tensor bytes behind it.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};

use super::reader::HeaderReader;
use super::tensor::{TensorEntry, TensorKind, checked_byte_len, widen_q5_0};
use super::{GgufError, Value};
use crate::InferenceError;

/// The longest header we read. The largest vocabularies (256 thousand tokens with scores and merges) need about
/// 16 MB. A byte of a header becomes at most eight in memory (an array of small numbers), so that a hostile file
/// cannot take more than half a gigabyte, and must itself be that long to try.
pub const MAX_HEADER_BYTES: u64 = 64 << 20;

/// Entries of metadata, at most. Real files have about forty.
const MAX_METADATA_ENTRIES: u64 = 65_536;
/// Tensors, at most. A model of 126 layers with experts has about two thousand.
const MAX_TENSORS: u64 = 1 << 20;
/// Dimensions of a tensor, at most; the format's own limit.
const MAX_DIMENSIONS: u32 = 4;

/// A GGUF file's header: metadata and where each tensor lies.
#[derive(Debug)]
pub struct GgufFile {
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, TensorEntry>,
}

impl GgufFile {
    /// Reads the header from the start of `source`. Fails without panicking and with bounded memory on any bytes.
    pub fn read<R: Read + Seek>(source: &mut R) -> Result<Self, GgufError> {
        let size = source.seek(SeekFrom::End(0))?;
        source.seek(SeekFrom::Start(0))?;
        let mut reader = HeaderReader::new(source, size);
        check_version(&mut reader)?;
        let tensor_count = reader.u64("the tensor count")?;
        let metadata_count = reader.u64("the metadata count")?;
        // The smallest entry: name length, type, one byte; or name length, dimension count, type, offset.
        reader.expect(metadata_count.saturating_mul(13), || format!("{metadata_count} metadata entries"))?;
        reader.expect(tensor_count.saturating_mul(24), || format!("{tensor_count} tensor entries"))?;
        for (count, limit, place) in [
            (metadata_count, MAX_METADATA_ENTRIES, "metadata entries"),
            (tensor_count, MAX_TENSORS, "tensors"),
        ] {
            if count > limit {
                return Err(GgufError::TooMany { what: place, count, limit });
            }
        }

        let metadata = read_metadata(&mut reader, metadata_count)?;
        if let Some(count) = metadata.get("split.count").and_then(Value::as_u64).filter(|&count| count > 1) {
            return Err(GgufError::Split { count });
        }
        let alignment = alignment(&metadata)?;
        let raw = read_tensor_entries(&mut reader, tensor_count)?;
        let data_start = reader.position().next_multiple_of(alignment);
        let mut tensors = HashMap::new();
        let mut total = 0u64;
        for tensor in raw {
            let name = tensor.name.clone();
            let entry = tensor.place(data_start, alignment, size)?;
            // Tensors that share bytes would let a small file fill a large memory.
            total = total.saturating_add(entry.byte_len as u64);
            if total > size {
                return Err(GgufError::Overlap { name, size });
            }
            if tensors.insert(name.clone(), entry).is_some() {
                return Err(GgufError::Duplicate { what: "tensor", name });
            }
        }
        Ok(Self { metadata, tensors })
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// Takes a metadata value out, to save a copy of a long one.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.metadata.remove(key)
    }

    /// A tensor of the directory.
    pub fn tensor(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name)
    }

    /// Numbers in all tensors together.
    pub fn parameter_count(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.element_count() as u64).sum()
    }

    /// Reads one tensor onto a device. `dims` is what the caller expects, rows first.
    pub fn load_tensor<R: Read + Seek>(
        &self,
        source: &mut R,
        name: &str,
        dims: &[usize],
        device: &Device,
    ) -> Result<QTensor, InferenceError> {
        let entry =
            self.tensors.get(name).ok_or_else(|| InferenceError::MissingTensor { name: name.to_owned() })?;
        if entry.dims != dims {
            return Err(InferenceError::TensorShape {
                name: name.to_owned(),
                found: entry.dims.clone(),
                expected: dims.to_vec(),
            });
        }
        let bytes = AlignedBytes::read(source, entry).map_err(candle_core::Error::from)?;
        let storage = if entry.kind.0 == GgmlDType::Q5_0 && device.is_cpu() {
            QStorage::from_data(widen_q5_0(bytes.as_slice()).into(), device, GgmlDType::Q8_0)?
        } else {
            QStorage::from_data(bytes.as_slice().into(), device, entry.kind.0)?
        };
        Ok(QTensor::new(storage, dims)?)
    }
}

/// Bytes that start on a 16-byte boundary, which candle's block types need and `Vec<u8>` does not promise.
struct AlignedBytes {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    const ALIGNMENT: usize = 16;

    fn read<R: Read + Seek>(source: &mut R, entry: &TensorEntry) -> std::io::Result<Self> {
        let mut bytes = vec![0; entry.byte_len + Self::ALIGNMENT];
        let start = bytes.as_ptr().align_offset(Self::ALIGNMENT).min(Self::ALIGNMENT);
        source.seek(SeekFrom::Start(entry.start))?;
        source.read_exact(&mut bytes[start..start + entry.byte_len])?;
        Ok(Self { bytes, start, len: entry.byte_len })
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

fn check_version<R: Read>(reader: &mut HeaderReader<R>) -> Result<(), GgufError> {
    let found = reader.magic()?;
    if &found != b"GGUF" {
        return Err(GgufError::BadMagic { found });
    }
    let version = reader.u32("the version")?;
    match version {
        2 | 3 => Ok(()),
        _ if matches!(version.swap_bytes(), 1..=3) => Err(GgufError::BigEndian),
        found => Err(GgufError::UnsupportedVersion { found }),
    }
}

fn read_metadata<R: Read>(
    reader: &mut HeaderReader<R>,
    count: u64,
) -> Result<HashMap<String, Value>, GgufError> {
    let mut metadata = HashMap::new();
    for _ in 0..count {
        let key = reader.text("a metadata key")?;
        let place = format!("metadata `{}`", shorten(&key));
        let kind = reader.u32(&place)?;
        let value = reader.value(kind, &place, 0)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(GgufError::Duplicate { what: "metadata", name: shorten(&key).to_owned() });
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &HashMap<String, Value>) -> Result<u64, GgufError> {
    let Some(value) = metadata.get("general.alignment") else {
        return Ok(32);
    };
    match value.as_u64() {
        Some(alignment) if alignment.is_power_of_two() && (8..=65_536).contains(&alignment) => Ok(alignment),
        Some(other) => Err(GgufError::BadAlignment { found: other.to_string() }),
        None => Err(GgufError::BadAlignment { found: "something else than a number".to_owned() }),
    }
}

struct RawTensor {
    name: String,
    dims: Vec<u64>,
    kind: TensorKind,
    offset: u64,
}

fn read_tensor_entries<R: Read>(
    reader: &mut HeaderReader<R>,
    count: u64,
) -> Result<Vec<RawTensor>, GgufError> {
    let mut entries = Vec::new();
    for _ in 0..count {
        let name = reader.text("a tensor's name")?;
        let name = shorten(&name).to_owned();
        let place = format!("the entry of tensor `{name}`");
        let rank = reader.u32(&place)?;
        if rank == 0 || rank > MAX_DIMENSIONS {
            return Err(GgufError::BadDimensions { name, dims: vec![u64::from(rank)] });
        }
        let mut dims = Vec::new();
        for _ in 0..rank {
            dims.push(reader.u64(&place)?);
        }
        let number = reader.u32(&place)?;
        let kind = TensorKind::of_number(number)
            .map_err(|found| GgufError::UnsupportedTensorType { name: name.clone(), found })?;
        let offset = reader.u64(&place)?;
        entries.push(RawTensor { name, dims, kind, offset });
    }
    Ok(entries)
}

impl RawTensor {
    fn place(self, data_start: u64, alignment: u64, size: u64) -> Result<TensorEntry, GgufError> {
        let byte_len = checked_byte_len(&self.name, &self.dims, self.kind)?;
        if !self.offset.is_multiple_of(alignment) {
            return Err(GgufError::Misaligned { name: self.name, offset: self.offset, alignment });
        }
        let start = data_start.saturating_add(self.offset);
        let end = start.saturating_add(byte_len);
        if end > size {
            return Err(GgufError::OutsideFile { name: self.name, start, end, size });
        }
        Ok(TensorEntry {
            dims: self.dims.iter().rev().map(|&dim| dim as usize).collect(),
            kind: self.kind,
            start,
            byte_len: byte_len as usize,
        })
    }
}

/// Names go into error texts; a hostile one is not printed in full.
fn shorten(name: &str) -> &str {
    match name.char_indices().nth(128) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}
