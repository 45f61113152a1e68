//! What a stand-in's name asks for: `<behaviour>[-<settings>]`, read once when the model is looked up.

use std::time::Duration;

/// What a stand-in does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Echo,
    Slow,
    BadJson,
    Refuses,
    RateLimited,
    Truncated,
    ToolCaller,
    Json,
    StreamSlowly,
    Counts,
    Html,
    Stalls,
    ServerError,
    Extractive,
    Fixed(String),
}

/// Every stand-in and what it does, for error texts, `doctor` and the guide.
pub const STAND_INS: [(&str, &str); 15] = [
    ("echo", "answers the last user message, or the prompt"),
    ("slow", "echo after 200 ms"),
    ("bad-json", "answers JSON that is cut short"),
    ("refuses", "refuses"),
    ("rate-limited", "answers 429 without saying how long to wait"),
    ("truncated", "ends the answer half-way"),
    ("tool-caller", "calls the first tool offered, then answers its result"),
    ("json", "answers JSON that fits the schema asked for"),
    ("stream-slowly", "echo, 20 ms between words"),
    ("counts", "counts messages, words and characters"),
    ("html", "answers a web page instead of JSON"),
    ("stalls", "gives no answer for 60 s, then times out"),
    ("server-error", "answers 500"),
    ("extractive", "answers with the best sentences of its context and cites them"),
    ("fixed:TEXT", "answers TEXT"),
];

/// Which attempts of a misbehaving stand-in misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misbehaves {
    Always,
    /// This share of attempts, picked by seed, request and attempt.
    Percent(u32),
    /// The first attempts of each request.
    First(u32),
}

/// A stand-in's name, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    pub behaviour: Behaviour,
    /// `-<N>ms`: how long the answer takes, or the pause between words of `stream-slowly`.
    pub latency: Option<Duration>,
    /// `-<N>pct`, `-once`, `-twice`, `-<N>times`.
    pub misbehaves: Misbehaves,
    /// `-after-<N>ms`: the wait that a refusal asks for.
    pub retry_after: Option<Duration>,
}

impl StandIn {
    /// Reads a name; `None` if no stand-in is called that.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(text) = name.strip_prefix("fixed:") {
            return Some(Self::plain(Behaviour::Fixed(text.to_owned())));
        }
        let (behaviour, settings) = STAND_INS
            .iter()
            .filter_map(|(known, _)| {
                let rest = name.strip_prefix(known)?;
                (rest.is_empty() || rest.starts_with('-')).then(|| Some((behaviour_of(known)?, rest)))?
            })
            .max_by_key(|(_, rest)| std::cmp::Reverse(rest.len()))?;
        let mut stand_in = Self::plain(behaviour);
        let mut words = settings.split('-').skip(1);
        while let Some(word) = words.next() {
            match word {
                "once" => stand_in.misbehaves = Misbehaves::First(1),
                "twice" => stand_in.misbehaves = Misbehaves::First(2),
                "after" => stand_in.retry_after = Some(duration(words.next()?)?),
                _ => {
                    if let Some(latency) = duration(word) {
                        stand_in.latency = Some(latency);
                    } else if let Some(percent) = number(word, "pct") {
                        stand_in.misbehaves = Misbehaves::Percent(percent.min(100));
                    } else {
                        stand_in.misbehaves = Misbehaves::First(number(word, "times")?);
                    }
                }
            }
        }
        Some(stand_in)
    }

    fn plain(behaviour: Behaviour) -> Self {
        Self { behaviour, latency: None, misbehaves: Misbehaves::Always, retry_after: None }
    }
}

fn behaviour_of(word: &str) -> Option<Behaviour> {
    Some(match word {
        "echo" => Behaviour::Echo,
        "slow" => Behaviour::Slow,
        "bad-json" => Behaviour::BadJson,
        "refuses" => Behaviour::Refuses,
        "rate-limited" => Behaviour::RateLimited,
        "truncated" => Behaviour::Truncated,
        "tool-caller" => Behaviour::ToolCaller,
        "json" => Behaviour::Json,
        "stream-slowly" => Behaviour::StreamSlowly,
        "counts" => Behaviour::Counts,
        "html" => Behaviour::Html,
        "stalls" => Behaviour::Stalls,
        "server-error" => Behaviour::ServerError,
        "extractive" => Behaviour::Extractive,
        _ => return None,
    })
}

fn number(word: &str, unit: &str) -> Option<u32> {
    word.strip_suffix(unit)?.parse().ok()
}

fn duration(word: &str) -> Option<Duration> {
    match number(word, "ms") {
        Some(milliseconds) => Some(Duration::from_millis(milliseconds.into())),
        None => number(word, "s").map(|seconds| Duration::from_secs(seconds.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, latency: Option<u64>, misbehaves: Misbehaves, after: Option<u64>) {
        let stand_in = StandIn::parse(name).unwrap_or_else(|| panic!("`{name}` should be known"));
        assert_eq!(stand_in.latency, latency.map(Duration::from_millis), "latency of `{name}`");
        assert_eq!(stand_in.misbehaves, misbehaves, "share of `{name}`");
        assert_eq!(stand_in.retry_after, after.map(Duration::from_millis), "wait of `{name}`");
    }

    #[test]
    fn settings_are_read_from_the_name() {
        check("echo", None, Misbehaves::Always, None);
        check("slow-350ms", Some(350), Misbehaves::Always, None);
        check("rate-limited-10pct-200ms", Some(200), Misbehaves::Percent(10), None);
        check("rate-limited-twice", None, Misbehaves::First(2), None);
        check("rate-limited-after-1s-once", None, Misbehaves::First(1), Some(1000));
        check("truncated-3times", None, Misbehaves::First(3), None);
    }

    #[test]
    fn unknown_names_and_settings_are_nobody() {
        for name in ["", "ech", "echoes", "echo-fast", "slow-ms", "rate-limited-after", "fixed"] {
            assert_eq!(StandIn::parse(name), None, "`{name}` should not be known");
        }
    }

    #[test]
    fn every_listed_stand_in_exists() {
        for (name, _) in STAND_INS {
            assert!(StandIn::parse(name).is_some(), "`{name}` is listed");
        }
    }
}
