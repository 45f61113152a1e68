//! Image references in rows: relative paths are meant relative to the file they stand in.

use std::path::Path;

use serde_json::{Map, Value};

/// Makes image paths absolute, in both of prompt flow's forms: `{"data:image/png;path": "a.png"}` and
/// `{"type": "image_file", "image_file": {"path": "a.png"}}`, at any depth.
pub(super) fn resolve_paths(values: &mut Map<String, Value>, base: &Path) {
    for value in values.values_mut() {
        resolve(value, base);
    }
}

fn resolve(value: &mut Value, base: &Path) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, base)),
        Value::Object(map) => {
            let is_file = map.get("type").and_then(Value::as_str) == Some("image_file");
            if is_file && let Some(path) = map.get_mut("image_file").and_then(|file| file.get_mut("path")) {
                absolute(path, base);
                return;
            }
            if map.len() == 1
                && let Some((key, path)) = map.iter_mut().next()
                && key.starts_with("data:image/")
                && key.ends_with(";path")
            {
                absolute(path, base);
                return;
            }
            map.values_mut().for_each(|item| resolve(item, base));
        }
        _ => {}
    }
}

fn absolute(path: &mut Value, base: &Path) {
    if let Value::String(text) = path
        && !Path::new(text.as_str()).is_absolute()
    {
        *text = base.join(text.as_str()).to_string_lossy().into_owned();
    }
}
