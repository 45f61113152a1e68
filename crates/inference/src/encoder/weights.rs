//! Reads tensors from safetensors files, one file or several with an index, into 32-bit floats.
//!
//! The header is checked against the file's length before anything is read by it, so memory is bounded by the
//! size of the files. Tensors are read one at a time, straight to where they stay; the file is never mapped, so
//! that a file changed underneath cannot change a loaded model.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::files::{Settings, bad_file, inside};
use crate::InferenceError;

/// Longest header that is read; the format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Most files of one model.
const MAX_SHARDS: usize = 256;

/// The tensors of a model's folder.
pub(crate) struct Weights {
    files: Vec<WeightFile>,
    tensors: HashMap<String, (usize, TensorInfo)>,
    prefix: String,
}

struct WeightFile {
    path: PathBuf,
    /// The file and where its data begins.
    source: Mutex<File>,
    data_start: u64,
}

impl Weights {
    /// Opens `model.safetensors`, or the files that `model.safetensors.index.json` names.
    pub(crate) fn open(folder: &Path) -> Result<Self, InferenceError> {
        let mut weights = Self { files: Vec::new(), tensors: HashMap::new(), prefix: String::new() };
        for path in weight_files(folder)? {
            weights.add(path)?;
        }
        Ok(weights)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), InferenceError> {
        let open = |source| InferenceError::Open { path: path.clone(), source };
        let mut source = File::open(&path).map_err(open)?;
        let size = source.metadata().map_err(open)?.len();
        let mut length = [0; 8];
        if size < 8 {
            return Err(bad_file(&path, format!("is cut short: it has {size} bytes")));
        }
        source.read_exact(&mut length).map_err(open)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER_BYTES || length > size - 8 {
            return Err(bad_file(
                &path,
                format!("is no safetensors file, or cut short: its header should have {length} bytes"),
            ));
        }
        let mut header = vec![0; length as usize];
        source.read_exact(&mut header).map_err(open)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| bad_file(&path, format!("has a header that cannot be read: {error}")))?;
        let data_start = 8 + length;
        let (promised, there) = (metadata.data_len() as u64, size - data_start);
        if promised != there {
            return Err(bad_file(
                &path,
                format!("is cut short or too long: its tensors have {promised} bytes, {there} are there"),
            ));
        }
        let index = self.files.len();
        for (name, info) in metadata.tensors() {
            if self.tensors.insert(name.clone(), (index, info.clone())).is_some() {
                return Err(bad_file(&path, format!("has tensor `{name}`, which another file has as well")));
            }
        }
        self.files.push(WeightFile { path, source: Mutex::new(source), data_start });
        Ok(())
    }

    /// Chooses the first of the prefixes under which `probe` is found; every later name is looked up under it.
    pub(crate) fn find_prefix(&mut self, prefixes: &[&str], probe: &str) -> Result<(), InferenceError> {
        for prefix in prefixes {
            if self.tensors.contains_key(&format!("{prefix}{probe}")) {
                self.prefix = (*prefix).to_owned();
                return Ok(());
            }
        }
        Err(self.no_tensor(probe))
    }

    /// Looks names up as they are, for what stands outside the model proper.
    pub(crate) fn without_prefix(&mut self) {
        self.prefix.clear();
    }

    /// True if there is such a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&self.full(name))
    }

    /// A tensor's dimensions.
    pub(crate) fn shape(&self, name: &str) -> Result<&[usize], InferenceError> {
        match self.tensors.get(&self.full(name)) {
            Some((_, info)) => Ok(&info.shape),
            None => Err(self.no_tensor(name)),
        }
    }

    /// A tensor of exactly this shape, as 32-bit floats.
    pub(crate) fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, InferenceError> {
        let full = self.full(name);
        let Some((index, info)) = self.tensors.get(&full) else { return Err(self.no_tensor(name)) };
        let file = &self.files[*index];
        let problem = |problem: String| bad_file(&file.path, format!("tensor `{full}` {problem}"));
        if info.shape != shape {
            return Err(problem(format!(
                "has the dimensions {:?} where {shape:?} were expected",
                info.shape
            )));
        }
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        {
            let mut source = file.source.lock().unwrap_or_else(PoisonError::into_inner);
            source
                .seek(SeekFrom::Start(file.data_start + start as u64))
                .and_then(|_| source.read_exact(&mut bytes))
                .map_err(|source| InferenceError::Open { path: file.path.clone(), source })?;
        }
        let floats = to_floats(&bytes, info.dtype)
            .ok_or_else(|| problem(format!("has the type {:?}, which is not supported", info.dtype)))?;
        if let Some(value) = floats.iter().find(|value| !value.is_finite()) {
            return Err(problem(format!("has the value {value}; the model is broken")));
        }
        Ok(floats)
    }

    /// The same as a tensor on the device.
    pub(crate) fn tensor(
        &self,
        name: &str,
        shape: &[usize],
        device: &Device,
    ) -> Result<Tensor, InferenceError> {
        Ok(Tensor::from_vec(self.floats(name, shape)?, shape, device)?)
    }

    /// Complains of a tensor that is not there.
    fn no_tensor(&self, name: &str) -> InferenceError {
        let path = self.files.first().map(|file| file.path.clone()).unwrap_or_default();
        bad_file(&path, format!("has no tensor `{}`", self.full(name)))
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// The weight files of a folder, in the order of their names.
pub(crate) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, InferenceError> {
    let single = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    if single.is_file() || !index.is_file() {
        return Ok(vec![single]);
    }
    let index = Settings::read(&index)?;
    let map =
        index.get("weight_map").and_then(|map| map.as_object()).ok_or_else(|| index.missing("weight_map"))?;
    let mut names: Vec<&str> = Vec::new();
    for value in map.values() {
        match value.as_str() {
            Some(name) if !names.contains(&name) => names.push(name),
            Some(_) => {}
            None => return Err(index.bad("weight_map", "must name a file for each tensor")),
        }
        if names.len() > MAX_SHARDS {
            return Err(index.bad("weight_map", &format!("names more than {MAX_SHARDS} files")));
        }
    }
    names.sort_unstable();
    names.into_iter().map(|name| inside(folder, index.path(), name)).collect()
}

fn to_floats(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], to_float: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| to_float(*chunk)).collect()
    }
    Some(match dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |chunk| f64::from_le_bytes(chunk) as f32),
        Dtype::F16 => each(bytes, |chunk| half::f16::from_le_bytes(chunk).to_f32()),
        Dtype::BF16 => each(bytes, |chunk| half::bf16::from_le_bytes(chunk).to_f32()),
        _ => return None,
    })
}
