//! Ages as people write them: `7d`, `12h`, `30m`, `1d12h`.

use std::time::Duration;

use thiserror::Error;

/// A text that is no age.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no age; write a number with `w`, `d`, `h`, `m` or `s` behind it, such as `7d`")]
pub struct AgeError {
    /// The text.
    pub text: String,
}

/// Reads an age: whole numbers with a unit (weeks, days, hours, minutes, seconds), one or several in a row.
///
/// ```
/// use std::time::Duration;
/// use flowbench_corpus::source::parse_age;
///
/// assert_eq!(parse_age("12h"), Ok(Duration::from_secs(12 * 3600)));
/// assert_eq!(parse_age("1d12h"), Ok(Duration::from_secs(36 * 3600)));
/// assert!(parse_age("soon").is_err());
/// ```
pub fn parse_age(text: &str) -> Result<Duration, AgeError> {
    let wrong = || AgeError { text: text.to_owned() };
    let mut rest = text.trim();
    let mut seconds = 0u64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
        let factor = match unit {
            'w' => 7 * 86_400,
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(factor).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        rest = rest[digits + 1..].trim_start();
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        let found = parse_age(text).ok().map(|age| age.as_secs());
        assert_eq!(found, expected, "of `{text}`");
    }

    #[test]
    fn ages_are_read() {
        check("7d", Some(604_800));
        check("12h", Some(43_200));
        check("30m", Some(1_800));
        check(" 45s ", Some(45));
        check("2w 1d", Some(1_296_000));
        check("0m", Some(0));
    }

    #[test]
    fn what_is_no_age_is_told() {
        for text in
            ["", " ", "7", "d", "7 d", "-1d", "1.5h", "7y", "7dd", "99999999999999999999d", "１d", "7ｄ"]
        {
            check(text, None);
        }
        assert_eq!(
            parse_age("a week").unwrap_err().to_string(),
            "`a week` is no age; write a number with `w`, `d`, `h`, `m` or `s` behind it, such as `7d`"
        );
    }
}
