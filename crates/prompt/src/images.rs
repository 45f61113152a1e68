//! Images in values: the two wire forms of prompt flow, and how they become addresses for a model.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flowbench_core::Value;
use serde_json::json;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Largest image: what the common providers take at most.
pub const MAX_IMAGE_BYTES: usize = 20 << 20;

/// How images are written in values (`message_format` of a flow).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageFormat {
    /// `{"data:image/png;path": …}`.
    #[default]
    Basic,
    /// `{"type": "image_url", …}`; `{"type": "text", "text": …}` is text there.
    OpenAiVision,
}

/// Reads image files for a render.
pub trait ImageReader: Send + Sync {
    /// The bytes of the file that a value names, relative to the flow folder. Must refuse paths that are not
    /// allowed and files above [`MAX_IMAGE_BYTES`]. The error says why, without naming the path again.
    fn read_image(&self, path: &str) -> Result<Vec<u8>, String>;
}

/// An image that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// A file that cannot be read.
    #[error("image `{path}`: {reason}")]
    Unreadable {
        /// The path as the value has it.
        path: String,
        /// Why.
        reason: String,
    },
    /// Base64 text that is none.
    #[error("image is no valid base64 text: {reason}")]
    BadBase64 {
        /// Why.
        reason: String,
    },
    /// An address that is neither `http:`, `https:` nor `data:`.
    #[error("image address `{url}` is neither http, https nor data")]
    BadAddress {
        /// The address, shortened.
        url: String,
    },
    /// Too large.
    #[error("image of {bytes} bytes is larger than {MAX_IMAGE_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Where an image's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageSource {
    Path(String),
    Base64 { mime: String, data: String },
    Url(String),
}

/// Reads either wire form.
pub(crate) fn image_source(value: &Value) -> Option<ImageSource> {
    let map = value.as_object()?;
    if let Some(kind) = map.get("type").and_then(Value::as_str) {
        return match kind {
            "image_url" => {
                let url = map.get("image_url")?.get("url")?.as_str()?;
                Some(ImageSource::Url(url.to_owned()))
            }
            "image_file" => {
                let path = map.get("image_file")?.get("path")?.as_str()?;
                Some(ImageSource::Path(path.to_owned()))
            }
            _ => None,
        };
    }
    let (key, value) = map.iter().next().filter(|_| map.len() == 1)?;
    let (mime, form) = key.strip_prefix("data:")?.split_once(';')?;
    if !mime.starts_with("image/") {
        return None;
    }
    let value = value.as_str()?.to_owned();
    match form {
        "path" => Some(ImageSource::Path(value)),
        "base64" => Some(ImageSource::Base64 { mime: mime.to_owned(), data: value }),
        "url" => Some(ImageSource::Url(value)),
        _ => None,
    }
}

/// Text of the form `data:image/png;path:red.png`, as prompty files take it for a variable in an image mark.
pub(crate) fn image_from_text(text: &str) -> Option<ImageSource> {
    let (mime, rest) = text.strip_prefix("data:")?.split_once(';')?;
    let (form, value) = rest.split_once(':')?;
    if !mime.starts_with("image/") {
        return None;
    }
    image_source(&json!({format!("data:{mime};{form}"): value}))
}

/// Text given to an input of type `image` as a map: an address, base64 data or a path. Maps stay as they are.
pub fn normalize_image(value: &Value) -> Value {
    let Value::String(text) = value else {
        return value.clone();
    };
    if let (Some(_), Some((head, value))) = (image_from_text(text), text.split_once(";path:")) {
        return json!({format!("{head};path"): value});
    }
    if text.starts_with("http://") || text.starts_with("https://") || text.starts_with("data:image/") {
        return json!({"data:image/*;url": text});
    }
    // Paths can look like base64; only long texts without a dot are taken for data, as prompt flow's pattern does.
    let is_data = text.len() >= 64
        && text.len().is_multiple_of(4)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
    if is_data {
        return json!({"data:image/*;base64": text});
    }
    json!({"data:image/*;path": text})
}

fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'B', b'M', ..] => Some("image/bmp"),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some("image/tiff"),
        _ => None,
    }
}

impl ImageSource {
    /// What the image is called in text: eight digits of its digest.
    pub fn key(&self) -> String {
        let text = match self {
            Self::Path(text) | Self::Url(text) | Self::Base64 { data: text, .. } => text,
        };
        let digest = Sha256::digest(text.as_bytes());
        format!("Image({:02x}{:02x}{:02x}{:02x})", digest[0], digest[1], digest[2], digest[3])
    }

    /// An address a model can take; files become `data:` addresses.
    pub fn address(&self, reader: Option<&dyn ImageReader>) -> Result<String, ImageError> {
        match self {
            Self::Url(url) => {
                let known = ["http://", "https://", "data:image/"].iter().any(|start| url.starts_with(start));
                if !known {
                    return Err(ImageError::BadAddress { url: url.chars().take(80).collect() });
                }
                if url.len() > MAX_IMAGE_BYTES / 3 * 4 + 64 {
                    return Err(ImageError::TooLarge { bytes: url.len() });
                }
                Ok(url.clone())
            }
            Self::Base64 { mime, data } => {
                if data.len() > MAX_IMAGE_BYTES / 3 * 4 + 4 {
                    return Err(ImageError::TooLarge { bytes: data.len() / 4 * 3 });
                }
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|error| ImageError::BadBase64 { reason: error.to_string() })?;
                let mime = if mime.ends_with("/*") { sniff(&bytes).unwrap_or(mime) } else { mime };
                Ok(format!("data:{mime};base64,{data}"))
            }
            Self::Path(path) => {
                let unreadable = |reason: String| ImageError::Unreadable { path: path.clone(), reason };
                let reader =
                    reader.ok_or_else(|| unreadable("files are not read in this place".to_owned()))?;
                let bytes = reader.read_image(path).map_err(unreadable)?;
                if bytes.len() > MAX_IMAGE_BYTES {
                    return Err(ImageError::TooLarge { bytes: bytes.len() });
                }
                let Some(mime) = sniff(&bytes) else {
                    return Err(unreadable("the file is no image of a known kind".to_owned()));
                };
                Ok(format!("data:{mime};base64,{}", STANDARD.encode(&bytes)))
            }
        }
    }
}
