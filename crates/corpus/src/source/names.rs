//! Names of documents from names of files, without loss: bytes that are no UTF-8 and control characters are written as
//! `%FF`, and so is a `%` that could be taken for one of these.

use std::path::{Component, Path, PathBuf};

/// The name of a file below a source, from its path relative to it.
pub(super) fn name_of(relative: &Path) -> String {
    let parts: Vec<String> = relative
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(escape(part.as_encoded_bytes())),
            _ => None,
        })
        .collect();
    parts.join("/")
}

/// Writes bytes as text, without loss.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            let looks_escaped = || {
                let next = valid.as_bytes().get(at + 1..at + 3);
                next.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
            };
            if character.is_control() || (character == '%' && looks_escaped()) {
                let mut buffer = [0; 4];
                push_escaped(&mut text, character.encode_utf8(&mut buffer).as_bytes());
            } else {
                text.push(character);
            }
        }
        push_escaped(&mut text, chunk.invalid());
    }
    text
}

fn push_escaped(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str(&format!("%{byte:02X}"));
    }
}

/// The path relative to its source that a name stands for; `None` for names that [`name_of`] does not make.
pub(super) fn path_of(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in name.split('/') {
        let part = unescaped(part)?;
        let is_plain = !matches!(part.as_os_str().as_encoded_bytes(), b"" | b"." | b"..");
        if !is_plain || part.components().count() != 1 || part.is_absolute() {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

fn unescaped(part: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..2).filter(|_| *first == b'%').and_then(|two| {
            let two =
                std::str::from_utf8(two).ok().filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(two, 16).ok()
        });
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(PathBuf::from(text)),
        Err(error) => from_bytes(error.into_bytes()),
    }
}

#[cfg(unix)]
fn from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// Other systems name files by characters.
#[cfg(not(unix))]
fn from_bytes(_: Vec<u8>) -> Option<PathBuf> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["a.md", "über/100%.txt", "50% off.md", "数据/说明.pdf", "a b/c%d.txt"] {
            assert_eq!(name_of(Path::new(name)), name);
            assert_eq!(path_of(name), Some(PathBuf::from(name)));
        }
    }

    #[cfg(unix)]
    #[test]
    fn every_name_comes_back() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
        for bytes in [&b"caf\xe9.txt"[..], b"a\nb.md", b"%41.md", b"%%41", b"\xe2\x82", &all] {
            let path = Path::new("folder").join(OsStr::from_bytes(bytes));
            assert_eq!(path_of(&name_of(&path)), Some(path));
        }
        assert_eq!(name_of(Path::new(OsStr::from_bytes(b"caf\xe9.txt"))), "caf%E9.txt");
        assert_eq!(name_of(Path::new("%41.md")), "%2541.md");
    }

    #[test]
    fn names_that_lead_out_are_no_names() {
        for name in ["../a", "a/../../b", "/etc/passwd", "", "a//b", "%2e%2e/a", "a%2fb", "./a"] {
            assert_eq!(path_of(name), None, "of `{name}`");
        }
    }
}
