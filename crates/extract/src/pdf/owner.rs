//! Owner passwords of encryptions up to AES-128 (revisions 2 to 4 of the standard security handler), which hayro does
//! not take: the document holds the user password encrypted with the owner's (ISO 32000-1, algorithm 7).

use hayro_interpret::hayro_syntax::object::{Dict, FromBytes, String as PdfString};
use md5::{Digest, Md5};

/// What fills a password up to 32 bytes.
const PADDING: [u8; 32] = [
    0x28, 0xbf, 0x4e, 0x5e, 0x4e, 0x75, 0x8a, 0x41, 0x64, 0x00, 0x4e, 0x56, 0xff, 0xfa, 0x01, 0x08, 0x2e,
    0x2e, 0x00, 0xb6, 0xd0, 0x68, 0x3e, 0x80, 0x2f, 0x0c, 0xa9, 0xfe, 0x64, 0x53, 0x69, 0x7a,
];

/// The user password of a document whose owner password is given.
pub(super) fn user_password(document: &[u8], owner_password: &str) -> Option<String> {
    let dictionary = encryption(document)?;
    let revision = dictionary.get::<u8>("R").filter(|revision| (2..=4).contains(revision))?;
    let bits = if revision == 2 { 40 } else { dictionary.get::<u16>("Length").unwrap_or(128) };
    let key_length = usize::from(bits / 8).clamp(5, 16);
    let owner = dictionary.get::<PdfString<'_>>("O")?;
    let mut key = Md5::digest(padded(owner_password.as_bytes())).to_vec();
    if revision >= 3 {
        for _ in 0..50 {
            key = Md5::digest(&key[..key_length]).to_vec();
        }
    }
    key.truncate(key_length);
    let mut password = owner.get(..32)?.to_vec();
    let rounds = if revision == 2 { 1 } else { 20 };
    for round in (0..rounds).rev() {
        let key: Vec<u8> = key.iter().map(|byte| byte ^ round).collect();
        password = rc4(&key, &password);
    }
    let length = (0..=32).find(|at| password[*at..] == PADDING[..32 - at])?;
    password.truncate(length);
    String::from_utf8(password).ok()
}

fn padded(password: &[u8]) -> [u8; 32] {
    let mut padded = [0; 32];
    for (place, byte) in padded.iter_mut().zip(password.iter().chain(&PADDING)) {
        *place = *byte;
    }
    padded
}

/// The encryption dictionary; it is never encrypted itself, and no compressed object.
fn encryption(document: &[u8]) -> Option<Dict<'_>> {
    let name = b"/Encrypt";
    let places = document.windows(name.len()).enumerate().filter(|(_, window)| *window == name);
    // The last one counts; `/EncryptMetadata` is another name.
    places.map(|(at, _)| at).collect::<Vec<_>>().into_iter().rev().find_map(|at| {
        let value = document[at + name.len()..].trim_ascii_start();
        if value.starts_with(b"<<") {
            return Dict::from_bytes(value);
        }
        let number: String =
            value.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
        if number.is_empty() {
            return None;
        }
        let object = [format!("\n{number} 0 obj"), format!("\r{number} 0 obj")];
        let at = object.iter().find_map(|object| {
            document
                .windows(object.len())
                .position(|window| window == object.as_bytes())
                .map(|at| at + object.len())
        })?;
        Dict::from_bytes(document[at..].trim_ascii_start())
    })
}

/// The cipher, which is its own inverse.
fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut state: [u8; 256] = std::array::from_fn(|at| at as u8);
    let mut other = 0_u8;
    for at in 0..256 {
        other = other.wrapping_add(state[at]).wrapping_add(key[at % key.len()]);
        state.swap(at, usize::from(other));
    }
    let (mut first, mut second) = (0_u8, 0_u8);
    data.iter()
        .map(|byte| {
            first = first.wrapping_add(1);
            second = second.wrapping_add(state[usize::from(first)]);
            state.swap(usize::from(first), usize::from(second));
            byte ^ state[usize::from(state[usize::from(first)].wrapping_add(state[usize::from(second)]))]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_the_one_of_the_books() {
        assert_eq!(rc4(b"Key", b"Plaintext"), [0xbb, 0xf3, 0x16, 0xe8, 0xd9, 0x40, 0xaf, 0x0a, 0xd3]);
    }

    #[test]
    fn documents_without_encryption_have_no_owner() {
        assert_eq!(user_password(b"%PDF-1.4 /Encrypt 9 0 R", "word"), None);
    }
}
