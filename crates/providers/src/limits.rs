//! What response headers say of limits and waits.

use std::time::Duration;

use flowbench_core::chat::RateLimits;
use jiff::Timestamp;

/// Headers, names in lower case.
pub(crate) type Headers<'a> = &'a [(String, String)];

fn find<'a>(headers: Headers<'a>, name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim())
}

/// Limits as OpenAI (and those who copy it) and Anthropic tell them.
pub(crate) fn rate_limits(headers: Headers<'_>, now_ms: u64) -> RateLimits {
    let count = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| find(headers, name)?.parse::<f64>().ok())
            .map(|count| count as u64)
            .min()
    };
    let wait =
        |names: &[&str]| names.iter().filter_map(|name| parse_reset(find(headers, name)?, now_ms)).max();
    let remaining_requests =
        count(&["x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining"]);
    let remaining_tokens = count(&[
        "x-ratelimit-remaining-tokens",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-output-tokens-remaining",
    ]);
    let requests_reset = wait(&["x-ratelimit-reset-requests", "anthropic-ratelimit-requests-reset"]);
    let tokens_reset = wait(&[
        "x-ratelimit-reset-tokens",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-input-tokens-reset",
        "anthropic-ratelimit-output-tokens-reset",
    ]);
    // What is used up decides when to come back; a window that still has room does not matter.
    let reset = match (remaining_requests, remaining_tokens) {
        (Some(0), Some(0)) => requests_reset.max(tokens_reset),
        (Some(0), _) => requests_reset,
        (_, Some(0)) => tokens_reset,
        _ => requests_reset.max(tokens_reset),
    };
    RateLimits { remaining_requests, remaining_tokens, reset }
}

/// The wait asked for: `retry-after-ms`, else `retry-after` in seconds or as a date.
pub(crate) fn retry_after(headers: Headers<'_>, now_ms: u64) -> Option<Duration> {
    let milliseconds =
        find(headers, "retry-after-ms").and_then(|text| seconds(text.parse::<f64>().ok()? / 1000.0));
    milliseconds.or_else(|| {
        let text = find(headers, "retry-after")?;
        match text.parse::<f64>() {
            Ok(number) => seconds(number),
            Err(_) => until(jiff::fmt::rfc2822::parse(text).ok()?.timestamp(), now_ms),
        }
    })
}

/// `x-should-retry`.
pub(crate) fn should_retry(headers: Headers<'_>) -> Option<bool> {
    match find(headers, "x-should-retry")? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// `1s`, `6m0s`, `1h2m3.5s`, `120ms`, bare seconds, or a moment in RFC 3339.
fn parse_reset(text: &str, now_ms: u64) -> Option<Duration> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return until(moment, now_ms);
    }
    parse_duration(text)
}

/// `17s`, `6m0s`, `1.5s`, `120ms`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        return seconds(number);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        let after = &rest[unit_at..];
        let number_at = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let scale = match &after[..number_at] {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        total += number * scale;
        rest = &after[number_at..];
    }
    seconds(total)
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// From now to a moment; a moment that has passed is no wait at all.
fn until(moment: Timestamp, now_ms: u64) -> Option<Duration> {
    let milliseconds = moment.as_millisecond().saturating_sub(i64::try_from(now_ms).ok()?);
    Some(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-10-21 07:28:00 UTC.
    const NOW_MS: u64 = 1_445_412_480_000;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[track_caller]
    fn check_wait(pairs: &[(&str, &str)], expected: Option<u64>) {
        let found = retry_after(&headers(pairs), NOW_MS);
        assert_eq!(found, expected.map(Duration::from_millis), "for {pairs:?}");
    }

    #[test]
    fn waits_are_read_in_every_form() {
        check_wait(&[("retry-after", "7")], Some(7000));
        check_wait(&[("retry-after", "0.5")], Some(500));
        check_wait(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")], Some(30_000));
        check_wait(&[("retry-after", "Wed, 21 Oct 2015 07:20:00 GMT")], Some(0));
        check_wait(&[("retry-after-ms", "250"), ("retry-after", "7")], Some(250));
        check_wait(&[("retry-after-ms", "soon"), ("retry-after", "7")], Some(7000));
        check_wait(&[("retry-after", "-1")], None);
        check_wait(&[("retry-after", "later")], None);
        check_wait(&[], None);
    }

    #[test]
    fn durations_are_read() {
        for (text, milliseconds) in
            [("1s", 1000), ("6m0s", 360_000), ("1h2m3.5s", 3_723_500), ("120ms", 120), ("17", 17_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "`{text}`");
        }
        for text in ["s", "1x", "1.2.3s", "-5s"] {
            assert_eq!(parse_duration(text), None, "`{text}`");
        }
    }

    #[test]
    fn both_vendors_limits_are_read() {
        let openai = [
            ("x-ratelimit-remaining-requests", "12"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        let limits = rate_limits(&headers(&openai), NOW_MS);
        assert_eq!((limits.remaining_requests, limits.remaining_tokens), (Some(12), Some(0)));
        assert_eq!(limits.reset, Some(Duration::from_secs(360)));
        let anthropic = [
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2015-10-21T07:28:09Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "900"),
            ("anthropic-ratelimit-output-tokens-remaining", "80"),
            ("anthropic-ratelimit-output-tokens-reset", "2015-10-21T07:29:00Z"),
        ];
        let limits = rate_limits(&headers(&anthropic), NOW_MS);
        assert_eq!((limits.remaining_requests, limits.remaining_tokens), (Some(0), Some(80)));
        assert_eq!(limits.reset, Some(Duration::from_secs(9)), "requests are used up, tokens are not");
        assert_eq!(rate_limits(&[], NOW_MS), RateLimits::default());
    }
}
