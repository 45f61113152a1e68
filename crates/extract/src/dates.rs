//! Dates as documents write them, to ISO 8601.

use mail_parser::DateTime;

/// A date that already is ISO 8601, or one as mails write it; `None` for anything else, which no one could sort by.
pub(crate) fn iso(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    if digits(0..4)
        && bytes.get(4) == Some(&b'-')
        && digits(5..7)
        && bytes.get(7) == Some(&b'-')
        && digits(8..10)
    {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TZ ".contains(&byte));
        return Some(if plain && text.len() <= 40 { text.to_owned() } else { text[..10].to_owned() });
    }
    let date = DateTime::parse_rfc822(text).filter(DateTime::is_valid)?;
    (date.year > 0).then(|| date.to_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        assert_eq!(iso("2024-05-01T10:00:00Z").as_deref(), Some("2024-05-01T10:00:00Z"));
        assert_eq!(iso("Mon, 1 Jan 2024 10:20:30 +0100").as_deref(), Some("2024-01-01T10:20:30+01:00"));
        assert_eq!(iso("2024-05-01 (Wednesday)").as_deref(), Some("2024-05-01"));
        assert_eq!(iso("soon"), None);
    }
}
