//! Which hosts may be called: a list of allowed public hosts, and hosts that somebody vouched for, which may
//! also be on this machine or in a private network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use url::Host;

use crate::error::NetError;

/// A pattern for hosts: `host`, `host:port`, `*.suffix`, `*.suffix:port` or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    name: String,
    port: Option<u16>,
}

impl HostRule {
    /// Reads a pattern; case does not matter.
    pub fn parse(text: &str) -> Self {
        let text = text.trim().trim_end_matches('.').to_lowercase();
        let (name, port) = match text.rsplit_once(':') {
            // A bare IPv6 address has colons but no port.
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
                Ok(port) => (name.to_owned(), Some(port)),
                Err(_) => (text.clone(), None),
            },
            _ => (text.clone(), None),
        };
        Self { name: name.trim_matches(['[', ']']).to_owned(), port }
    }

    /// The rule for exactly the host and port of an address; `None` if it has no host.
    pub fn of_url(address: &str) -> Option<Self> {
        let url = Url::parse(address).ok()?;
        Some(Self { name: plain_host(&url)?, port: url.port_or_known_default() })
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        match self.name.strip_prefix('*') {
            Some("") => true,
            Some(suffix) => suffix.starts_with('.') && host.len() > suffix.len() && host.ends_with(suffix),
            None => self.name == host,
        }
    }
}

/// What may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    allowed: Vec<HostRule>,
    approved: Vec<HostRule>,
}

impl Policy {
    /// Nothing but requests whose sender vouches for the host.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Every public host.
    pub fn any_public() -> Self {
        Self::closed().allow("*")
    }

    /// Allows public hosts of this pattern.
    #[must_use]
    pub fn allow(mut self, rule: &str) -> Self {
        self.allowed.push(HostRule::parse(rule));
        self
    }

    /// Vouches for hosts of this pattern: allowed, private addresses included.
    #[must_use]
    pub fn approve(mut self, rule: &str) -> Self {
        self.approved.push(HostRule::parse(rule));
        self
    }

    /// Says how far an address is trusted, or refuses it. `vouched` is the sender's word for this address.
    pub(crate) fn check(&self, url: &Url, vouched: bool) -> Result<Trust, NetError> {
        let refuse = |reason: &str| Err(NetError::Address { address: shown(url), reason: reason.to_owned() });
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("only http and https are spoken");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it holds a user name or password; send them as a header instead");
        }
        let Some(host) = plain_host(url) else { return refuse("it has no host") };
        let port = url.port_or_known_default();
        if vouched || self.approved.iter().any(|rule| rule.matches(&host, port)) {
            return Ok(Trust::Approved);
        }
        if !self.allowed.iter().any(|rule| rule.matches(&host, port)) {
            return Err(NetError::HostNotAllowed { host: shown_host(url) });
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        if literal.is_some_and(is_private) {
            return Err(NetError::PrivateAddress { host: shown_host(url) });
        }
        Ok(Trust::Public)
    }
}

/// How far an address is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// May be anywhere.
    Approved,
    /// Must not turn out to be private.
    Public,
}

/// Host without brackets and trailing dot, lower case.
fn plain_host(url: &Url) -> Option<String> {
    let host = url.host_str()?.trim_matches(['[', ']']).trim_end_matches('.');
    (!host.is_empty()).then(|| host.to_lowercase())
}

/// Host and, where it is not the usual one, port.
pub(crate) fn shown_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Scheme, host and path: never the query, which may hold a key.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), shown_host(url), url.path())
}

/// True for addresses that are not on the public internet: this machine, private and carrier networks, link-local
/// (clouds keep their metadata there), documentation, multicast, reserved, and IPv6 forms that wrap such an IPv4.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
        // Azure's host service, public by number only.
        || [a, b, c, d] == [168, 63, 129, 16]
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let wrapped = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Unspecified, loopback, IPv4-compatible; IPv4-mapped; IPv4-translated.
        [0, 0, 0, 0, 0, 0, high, low] => wrapped(high, low) || high == 0,
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => wrapped(high, low),
        // NAT64, well-known and local.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => wrapped(high, low),
        [0x64, 0xff9b, 1, ..] => true,
        // 6to4.
        [0x2002, high, low, ..] => wrapped(high, low),
        // Teredo, documentation (two ranges), discard.
        [0x2001, 0, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] | [0x100, 0, 0, 0, ..] => true,
        // Unique local, link-local, site-local, multicast.
        [first, ..] => (first & 0xfe00) == 0xfc00 || (first & 0xff80) == 0xfe80 || (first & 0xff00) == 0xff00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policy: &Policy, address: &str, expected: Result<Trust, &str>) {
        let found = policy.check(&Url::parse(address).unwrap(), false).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "for `{address}`");
    }

    #[test]
    fn only_listed_hosts_may_be_called() {
        let policy = Policy::closed()
            .allow("api.example.com")
            .allow("*.cdn.example.com:443")
            .approve("127.0.0.1:8080");
        check(&policy, "https://API.example.com./v1", Ok(Trust::Public));
        check(&policy, "https://a.cdn.example.com/x", Ok(Trust::Public));
        check(&policy, "https://cdn.example.com/x", Err("host `cdn.example.com` is not allowed"));
        check(&policy, "http://a.cdn.example.com/x", Err("host `a.cdn.example.com` is not allowed"));
        check(
            &policy,
            "https://api.example.com.evil.test/",
            Err("host `api.example.com.evil.test` is not allowed"),
        );
        check(&policy, "https://notapi.example.com/", Err("host `notapi.example.com` is not allowed"));
        check(&policy, "http://127.0.0.1:8080/v1", Ok(Trust::Approved));
        check(&policy, "http://127.0.0.1:8081/v1", Err("host `127.0.0.1:8081` is not allowed"));
    }

    #[test]
    fn private_numbers_are_refused_in_every_spelling() {
        let policy = Policy::any_public();
        for address in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://10.1.2.3/",
            "http://172.31.0.1/",
            "http://192.168.1.1/",
            "http://169.254.169.254/latest",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://168.63.129.16/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://[fe80::1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:a00:1::1]/",
            "http://[::127.0.0.1]/",
        ] {
            let error = policy.check(&Url::parse(address).unwrap(), false).unwrap_err();
            assert!(matches!(error, NetError::PrivateAddress { .. }), "`{address}` gave {error}");
        }
        for address in ["http://1.1.1.1/", "http://[2606:4700::1111]/", "http://172.32.0.1/"] {
            check(&policy, address, Ok(Trust::Public));
        }
    }

    #[test]
    fn other_schemes_and_credentials_are_refused() {
        let policy = Policy::any_public();
        check(
            &policy,
            "ftp://example.com/a",
            Err("address `ftp://example.com/a` cannot be used: only http and https are spoken"),
        );
        let error = policy.check(&Url::parse("https://me:secret@example.com/").unwrap(), true).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn ipv6_rules_are_read() {
        assert_eq!(HostRule::parse("[::1]:8080"), HostRule { name: "::1".to_owned(), port: Some(8080) });
        assert_eq!(HostRule::parse("::1"), HostRule { name: "::1".to_owned(), port: None });
        assert_eq!(HostRule::of_url("http://[::1]:8080/v1"), Some(HostRule::parse("[::1]:8080")));
    }
}
