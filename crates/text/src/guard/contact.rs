//! Finds addresses of the network: e-mail, IP, MAC.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Action, Category, Hit};

pub(super) const KINDS: [&str; 3] = ["email", "ip_address", "mac_address"];

/// Longest local part that a mail server takes (RFC 5321).
const LOCAL_BYTES: usize = 64;

/// Longest name of a host.
const HOST_BYTES: usize = 255;

/// Longest way to write an IPv6 address.
const IPV6_BYTES: usize = 45;

pub(super) fn find(text: &str, kinds: &BTreeSet<&'static str>, action: Action) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut hit = |kind: &'static str, start, end, score, reason: &'static str| {
        hits.push(Hit {
            category: Category::PersonalData,
            kind: kind.into(),
            start,
            end,
            score,
            reason: reason.into(),
            action,
            severity: None,
        });
    };
    if kinds.contains("email") {
        for (at, _) in text.match_indices(['@', '＠']) {
            if let Some((start, end)) = email_around(text, at) {
                hit("email", start, end, 0.95, "e-mail address");
            }
        }
    }
    if kinds.contains("ip_address") {
        for (start, end) in runs(text, |byte| byte.is_ascii_digit() || byte == b'.') {
            let written = text[start..end].trim_end_matches('.');
            let glued = text[start + written.len()..].starts_with(|next: char| next.is_alphanumeric());
            if let Ok(address) = written.parse::<Ipv4Addr>()
                && !glued
                && !text[..start].ends_with(|before: char| before.is_alphanumeric() || before == '-')
                && !is_nobody(address)
                && !is_version(&text[..start])
            {
                hit("ip_address", start, start + written.len(), 0.7, "IP address");
            }
        }
        for (start, end) in runs(text, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.') {
            let written = text[start..end].trim_end_matches('.');
            let written = if written.ends_with("::") { written } else { written.trim_end_matches(':') };
            let colons = written.bytes().filter(|byte| *byte == b':').count();
            if colons >= 2
                && written.len() <= IPV6_BYTES
                && written.len() > 4
                && let Ok(address) = written.parse::<Ipv6Addr>()
                && !address.is_loopback()
                && !text[..start].ends_with(char::is_alphanumeric)
            {
                hit("ip_address", start, start + written.len(), 0.85, "IP address");
            }
        }
    }
    if kinds.contains("mac_address") {
        for (start, end) in runs(text, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'-') {
            if is_mac(&text[start..end]) {
                hit("mac_address", start, end, 0.85, "hardware address of a network card");
            }
        }
    }
    hits
}

/// Longest stretches of bytes that fit.
fn runs(text: &str, fits: impl Fn(u8) -> bool) -> impl Iterator<Item = (usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        at += bytes[at..].iter().position(|byte| fits(*byte))?;
        let start = at;
        at += bytes[at..].iter().position(|byte| !fits(*byte)).unwrap_or(bytes.len() - at);
        Some((start, at))
    })
}

fn email_around(text: &str, at: usize) -> Option<(usize, usize)> {
    let (before, sign) = text.split_at(at);
    let after = &sign[sign.chars().next()?.len_utf8()..];
    let local_start = before
        .char_indices()
        .rev()
        .take(LOCAL_BYTES)
        .take_while(|(_, letter)| letter.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(*letter))
        .last()?
        .0;
    // `(see 'kim@…')`, `mailto=kim@…`: signs that may stand in an address rarely begin one.
    let local =
        before[local_start..].trim_start_matches(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let host = after
        .char_indices()
        .take(HOST_BYTES)
        .find(|(_, letter)| !(letter.is_alphanumeric() || matches!(letter, '.' | '-')))
        .map_or(after.len().min(HOST_BYTES), |(end, _)| end);
    let mut host_end = host;
    while !after.is_char_boundary(host_end) {
        host_end -= 1;
    }
    let host = after[..host_end].trim_end_matches(['.', '-']);
    let (name, top) = host.rsplit_once('.')?;
    let named = !name.is_empty() && !name.starts_with(['.', '-']) && !host.contains("..");
    let top_fits =
        top.chars().count() >= 2 && top.chars().all(char::is_alphabetic) || top.starts_with("xn--");
    (!local.is_empty() && !local.ends_with('.') && named && top_fits)
        .then(|| (at - local.len(), text.len() - after.len() + host.len()))
}

/// Addresses that every machine has.
fn is_nobody(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_unspecified() || address.is_broadcast()
}

/// `version 1.2.3.4` and `v1.2.3.4` are no addresses.
fn is_version(before: &str) -> bool {
    let word = before.trim_end_matches([' ', ':']).rsplit(|letter: char| !letter.is_alphabetic()).next();
    word.is_some_and(|word| ["version", "release", "build", "v"].contains(&word.to_lowercase().as_str()))
}

fn is_mac(run: &str) -> bool {
    let bytes = run.as_bytes();
    let sign = match bytes.get(2) {
        Some(sign @ (b':' | b'-')) if bytes.len() == 17 => *sign,
        _ => return false,
    };
    bytes
        .iter()
        .enumerate()
        .all(|(place, byte)| if place % 3 == 2 { *byte == sign } else { byte.is_ascii_hexdigit() })
        && bytes.iter().any(|byte| !matches!(byte, b'0' | b':' | b'-'))
}
