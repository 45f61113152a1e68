//! Reads the JSON files of a model folder. Every value is held against a limit before anybody allocates by it,
//! and every complaint names the file and the key.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::InferenceError;

/// Longest settings file that is read: real ones have some kilobytes, label lists some hundreds.
const MAX_SETTINGS_BYTES: u64 = 16 << 20;

/// One settings file.
#[derive(Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    value: Value,
}

impl Settings {
    /// Reads a file that must be there.
    pub(crate) fn read(path: &Path) -> Result<Self, InferenceError> {
        let bytes = read_bounded(path, MAX_SETTINGS_BYTES)?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| bad_file(path, format!("is not valid JSON: {error}")))?;
        Ok(Self { path: path.to_owned(), value })
    }

    /// Reads a file that may be absent.
    pub(crate) fn read_if_there(path: &Path) -> Result<Option<Self>, InferenceError> {
        if path.is_file() { Self::read(path).map(Some) } else { Ok(None) }
    }

    /// Where it was read from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole content.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// An object inside, with the same name for complaints.
    pub(crate) fn inner(&self, key: &str) -> Option<Self> {
        let value = self.get(key).filter(|value| value.is_object())?.clone();
        Some(Self { path: self.path.clone(), value })
    }

    /// A value; `null` is absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    /// The first of several spellings that is there.
    fn first<'k>(&self, keys: &[&'k str]) -> Option<(&'k str, &Value)> {
        keys.iter().find_map(|key| Some((*key, self.get(key)?)))
    }

    /// A count from `range`, if any of the spellings is there.
    pub(crate) fn size(
        &self,
        keys: &[&str],
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, InferenceError> {
        let Some((key, value)) = self.first(keys) else { return Ok(None) };
        // Some files write counts as floats.
        let whole = value.as_u64().or_else(|| {
            value
                .as_f64()
                .filter(|number| number.fract() == 0.0 && *number >= 0.0)
                .map(|number| number as u64)
        });
        match whole.and_then(|size| usize::try_from(size).ok()).filter(|size| range.contains(size)) {
            Some(size) => Ok(Some(size)),
            None => Err(self.bad(
                key,
                &format!("must be a whole number from {} to {}, not {value}", range.start(), range.end()),
            )),
        }
    }

    /// A count that must be there.
    pub(crate) fn need_size(
        &self,
        keys: &[&str],
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize, InferenceError> {
        self.size(keys, range)?.ok_or_else(|| self.missing(keys[0]))
    }

    /// A finite number.
    pub(crate) fn number(&self, keys: &[&str]) -> Result<Option<f64>, InferenceError> {
        let Some((key, value)) = self.first(keys) else { return Ok(None) };
        match value.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.bad(key, &format!("must be a number, not {value}"))),
        }
    }

    /// A number above zero.
    pub(crate) fn positive(&self, keys: &[&str]) -> Result<Option<f64>, InferenceError> {
        match self.number(keys)? {
            Some(number) if number <= 0.0 => {
                Err(self.bad(keys[0], &format!("must be above zero, not {number}")))
            }
            other => Ok(other),
        }
    }

    /// True, false or absent.
    pub(crate) fn flag(&self, keys: &[&str]) -> Result<Option<bool>, InferenceError> {
        let Some((key, value)) = self.first(keys) else { return Ok(None) };
        match value.as_bool() {
            Some(flag) => Ok(Some(flag)),
            None => Err(self.bad(key, &format!("must be true or false, not {value}"))),
        }
    }

    /// A text.
    pub(crate) fn text(&self, keys: &[&str]) -> Result<Option<&str>, InferenceError> {
        let Some((key, value)) = self.first(keys) else { return Ok(None) };
        match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => Err(self.bad(key, &format!("must be a text, not {value}"))),
        }
    }

    /// The error for a key with an impossible value.
    pub(crate) fn bad(&self, key: &str, problem: &str) -> InferenceError {
        bad_file(&self.path, format!("`{key}` {problem}"))
    }

    /// The error for a key that is not there.
    pub(crate) fn missing(&self, key: &str) -> InferenceError {
        bad_file(&self.path, format!("has no `{key}`"))
    }
}

/// The error for a file that cannot be used.
pub(crate) fn bad_file(path: &Path, problem: impl Into<String>) -> InferenceError {
    InferenceError::BadFile { path: path.to_owned(), problem: problem.into() }
}

/// A whole file, unless it is longer than `limit`.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, InferenceError> {
    let open = |source| InferenceError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(open)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(open)?;
    if bytes.len() as u64 > limit {
        return Err(bad_file(path, format!("is longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// A path inside the model's folder, as another file names it. What leads out of the folder is refused.
pub(crate) fn inside(folder: &Path, named_in: &Path, name: &str) -> Result<PathBuf, InferenceError> {
    let relative = Path::new(name);
    if relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        Ok(folder.join(relative))
    } else {
        Err(bad_file(named_in, format!("names `{name}`, which is outside the model's folder")))
    }
}
