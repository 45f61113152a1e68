//! `robots.txt`, as RFC 9309 reads it, and the `Crawl-delay` that many sites add.

use std::time::Duration;

/// Our name in `robots.txt`, in lower case.
const NAME: &str = "flowbench";
/// Longest delay that is honoured; who wants more should say `Disallow`.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// What is read of the file, at least what the RFC demands (500 KiB).
pub(super) const MOST_BYTES: usize = 512 << 10;

/// What a site allows us.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Robots {
    rules: Vec<Rule>,
    /// Least time between two requests.
    pub delay: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    pattern: String,
    allows: bool,
}

#[derive(Default)]
struct Group {
    agents: Vec<String>,
    robots: Robots,
    /// Names come before rules; a name after rules begins another group.
    has_rules: bool,
}

impl Robots {
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_BYTES)]);
        let text = text.trim_start_matches('\u{feff}');
        let mut groups: Vec<Group> = Vec::new();
        for line in text.split(['\n', '\r']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            if key == "user-agent" {
                if groups.last().is_none_or(|group| group.has_rules) {
                    groups.push(Group::default());
                }
                if let Some(group) = groups.last_mut() {
                    // `flowbench/1.0` is written as well; the product counts.
                    let agent = value.split('/').next().unwrap_or_default().trim().to_ascii_lowercase();
                    group.agents.push(agent);
                }
                continue;
            }
            let Some(group) = groups.last_mut() else { continue };
            match key.as_str() {
                "allow" | "disallow" => {
                    group.has_rules = true;
                    if !value.is_empty() {
                        let rule = Rule { pattern: encoded(value), allows: key == "allow" };
                        group.robots.rules.push(rule);
                    }
                }
                "crawl-delay" => {
                    group.has_rules = true;
                    let seconds = value.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0);
                    let delay = seconds.map(|seconds| {
                        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_DELAY).min(LONGEST_DELAY)
                    });
                    group.robots.delay = group.robots.delay.max(delay);
                }
                _ => {}
            }
        }
        let of = |name: &str| {
            let mut found = None;
            for group in groups.iter().filter(|group| group.agents.iter().any(|agent| agent == name)) {
                let robots: &mut Self = found.get_or_insert_default();
                robots.rules.extend(group.robots.rules.iter().cloned());
                robots.delay = robots.delay.max(group.robots.delay);
            }
            found
        };
        of(NAME).or_else(|| of("*")).unwrap_or_default()
    }

    /// Whether a path (with its query) may be visited: the longest rule that fits decides, `Allow` among equals.
    pub fn allows(&self, path: &str) -> bool {
        let path = encoded(path);
        if path == "/robots.txt" {
            return true;
        }
        let fitting = self.rules.iter().filter(|rule| fits(&rule.pattern, &path));
        fitting.max_by_key(|rule| (rule.pattern.len(), rule.allows)).is_none_or(|rule| rule.allows)
    }
}

/// One spelling for what may be written with and without percent signs.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let code = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        let code = code.and_then(|two| std::str::from_utf8(two).ok());
        let code = code.and_then(|two| u8::from_str_radix(two, 16).ok());
        match code {
            // Letters, digits and a few marks mean the same either way.
            Some(plain) if plain.is_ascii_alphanumeric() || b"-._~".contains(&plain) => {
                text.push(char::from(plain));
                at += 3;
            }
            Some(other) => {
                text.push_str(&format!("%{other:02X}"));
                at += 3;
            }
            None if byte.is_ascii_graphic() => {
                text.push(char::from(byte));
                at += 1;
            }
            None => {
                text.push_str(&format!("%{byte:02X}"));
                at += 1;
            }
        }
    }
    text
}

/// `*` stands for anything, `$` at the end for the end. In time of the product of the lengths, whatever the pattern.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, is_anchored) = match pattern.strip_suffix('$') {
        Some(start) => (start, true),
        None => (pattern, false),
    };
    let mut pieces = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    let mut is_open = false;
    while let Some(piece) = pieces.next() {
        is_open = true;
        if pieces.peek().is_none() && is_anchored {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    is_open || !is_anchored || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(robots: &str, allowed: &[&str], closed: &[&str]) {
        let robots = Robots::parse(robots.as_bytes());
        for path in allowed {
            assert!(robots.allows(path), "`{path}` should be open");
        }
        for path in closed {
            assert!(!robots.allows(path), "`{path}` should be closed");
        }
    }

    #[test]
    fn the_longest_rule_decides() {
        check(
            "User-agent: *\nDisallow: /a\nAllow: /a/b\nDisallow: /a/b/c # deep\n",
            &["/", "/b", "/a/b", "/a/b/d"],
            &["/a", "/a/x", "/abc", "/a/b/c/d"],
        );
        check("User-agent: *\nAllow: /p\nDisallow: /p\n", &["/p", "/page"], &[]);
        check("User-agent: *\nDisallow:\n", &["/", "/x"], &[]);
        check("User-agent: *\nDisallow: /\n", &["/robots.txt"], &["/", "/x"]);
        check("", &["/"], &[]);
        check("Disallow: /\n", &["/"], &[]);
    }

    #[test]
    fn patterns_have_wildcards_and_ends() {
        check(
            "User-agent: *\nDisallow: /*.pdf$\nDisallow: /private*/x\nDisallow: /end$\nDisallow: *?q=\n",
            &["/a.pdf?x", "/private", "/end/", "/endless"],
            &["/a.pdf", "/b/c.pdf", "/private/a/x", "/private1/x/y", "/end", "/s?q=1"],
        );
        check(
            "User-agent: *\nDisallow: /%7Ejoe/\nDisallow: /ü\n",
            &["/joe"],
            &["/~joe/a", "/%7ejoe/", "/%c3%bc"],
        );
    }

    #[test]
    fn our_own_group_goes_before_the_one_for_all() {
        let robots = "User-agent: other\nDisallow: /\n\nUser-agent: Flowbench/9\nUser-agent: x\nDisallow: /a\n\n\
                      User-agent: *\nDisallow: /b\n\nUser-agent: FLOWBENCH\r\nDisallow: /c\n";
        check(robots, &["/b"], &["/a", "/c"]);
        check("User-agent: other\nDisallow: /a\nUser-agent: *\nDisallow: /b\n", &["/a"], &["/b"]);
    }

    #[test]
    fn delays_are_read_within_reason() {
        let delay =
            |text: &str| Robots::parse(format!("User-agent: *\nCrawl-delay: {text}").as_bytes()).delay;
        assert_eq!(delay("2.5"), Some(Duration::from_millis(2_500)));
        assert_eq!(delay("86400"), Some(LONGEST_DELAY));
        assert_eq!(delay("1e300"), Some(LONGEST_DELAY));
        assert_eq!(delay("-1"), None);
        assert_eq!(delay("NaN"), None);
        assert_eq!(delay("soon"), None);
    }

    #[test]
    fn hostile_patterns_take_no_time() {
        let pattern = format!("User-agent: *\nDisallow: /{}x$", "*a".repeat(5_000));
        check(&pattern, &[&format!("/{}", "a".repeat(5_000))], &[]);
        Robots::parse(&[0xff; 4096]);
    }
}
