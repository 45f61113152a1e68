//! Opens a PDF, with its password where it has one.

use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

use super::owner;
use crate::error::ExtractError;

/// Opens a document. One that opens without a password opens, whatever password was given.
pub(super) fn open(bytes: Vec<u8>, password: Option<&str>) -> Result<Pdf, ExtractError> {
    let password = password.filter(|password| !password.is_empty());
    let data = std::sync::Arc::new(bytes);
    let owner = password.and_then(|password| owner::user_password(&data, password));
    let attempts = password.into_iter().chain([""]).chain(owner.as_deref());
    let mut reason = LoadPdfError::Invalid;
    for attempt in attempts {
        match Pdf::new_with_password(data.clone(), attempt) {
            Ok(pdf) => return Ok(pdf),
            Err(error) => reason = error,
        }
    }
    Err(match reason {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) if password.is_some() => {
            ExtractError::WrongPassword
        }
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => ExtractError::NeedsPassword,
        LoadPdfError::Decryption(DecryptionError::UnsupportedAlgorithm) => {
            ExtractError::Unsupported { found: "a PDF with an encryption of its own".to_owned() }
        }
        LoadPdfError::Decryption(_) => {
            ExtractError::Damaged { reason: "its encryption cannot be read".to_owned() }
        }
        LoadPdfError::Invalid => ExtractError::Damaged { reason: "no pages can be found in it".to_owned() },
    })
}

/// Whether the table that says where things are is not where the document says, so that it was rebuilt.
pub(super) fn was_repaired(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(2048)..];
    let Some(at) = find_last(tail, b"startxref") else { return true };
    let rest = tail[at + b"startxref".len()..].trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(place) = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse::<usize>().ok())
    else {
        return true;
    };
    // Places count from the header, which some mailers move.
    let header = bytes.windows(5).take(1024).position(|window| window == b"%PDF-").unwrap_or(0);
    ![place, place.saturating_add(header)].iter().any(|place| {
        let there = bytes.get(*place..).unwrap_or_default().trim_ascii_start();
        let there = &there[..there.len().min(32)];
        there.starts_with(b"xref")
            || (there.first().is_some_and(u8::is_ascii_digit) && find_last(there, b"obj").is_some())
    })
}

fn find_last(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).rposition(|window| window == wanted)
}
