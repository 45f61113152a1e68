//! Finds keys, passwords and tokens: those of known vendors by their form, others by what they are assigned to and how
//! random they look.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::{Action, Category, Hit};

/// Vendors' forms: kind, pattern, reason. A group marks the secret within what is matched.
const FORMS: &[(&str, &str, &str)] = &[
    ("aws_access_key", r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z2-7]{16}\b", "AWS access key"),
    ("github_token", r"\bgh[pousr]_[A-Za-z0-9]{36,251}\b|\bgithub_pat_[A-Za-z0-9_]{60,90}\b", "GitHub token"),
    ("gitlab_token", r"\bglpat-[A-Za-z0-9_-]{20,60}", "GitLab token"),
    ("anthropic_key", r"\bsk-ant-[A-Za-z0-9_-]{20,200}", "Anthropic API key"),
    ("openai_key", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}", "OpenAI API key"),
    ("google_api_key", r"\bAIza[A-Za-z0-9_-]{35}", "Google API key"),
    ("slack_token", r"\bxox[abposr]-[A-Za-z0-9-]{10,250}", "Slack token"),
    ("slack_webhook", r"hooks\.slack\.com/services/([A-Za-z0-9_/]{20,100})", "Slack webhook address"),
    ("stripe_key", r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}", "Stripe key"),
    ("huggingface_token", r"\bhf_[A-Za-z0-9]{30,60}\b", "Hugging Face token"),
    ("npm_token", r"\bnpm_[A-Za-z0-9]{36}\b", "npm token"),
    ("pypi_token", r"\bpypi-[A-Za-z0-9_-]{50,250}", "PyPI token"),
    ("sendgrid_key", r"\bSG\.[A-Za-z0-9_-]{16,40}\.[A-Za-z0-9_-]{16,60}", "SendGrid key"),
    ("twilio_key", r"\bSK[0-9a-f]{32}\b", "Twilio key"),
    ("telegram_token", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", "Telegram bot token"),
    ("azure_key", r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,90}={0,2})", "Azure account key"),
    (
        "jwt",
        r"\beyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{16,2000}",
        "signed web token",
    ),
    ("bearer_token", r"\b[Bb]earer +([A-Za-z0-9._~+/-]{20,2000}=*)", "bearer token"),
    (
        "url_credentials",
        r"\b[a-z][a-z0-9+.-]{1,20}://([^\s/@:\x22'<>]{1,100}:[^\s/@\x22'<>]{1,200})@",
        "name and password in an address",
    ),
];

/// `password = …`, `"api_key": "…"`. The value is judged by [`looks_random`] or, for passwords, by not being a word.
const ASSIGNMENT: &str = r#"(?i)(passw(?:or)?d|passwd|passphrase|pwd|lösenord|passwort|secret|token|api[_ -]?key|access[_ -]?key|auth[_ -]?key|client[_ -]?secret|private[_ -]?key|credentials?)["']?(?: is| är| ist)?\s{0,3}(?::=|=>|[=:]|\s)\s{0,3}["'`]?([^\s"'`<>,;]{6,200})"#;

/// An RSA key of 16,384 bits takes about 12,500 letters.
const LONGEST_KEY: usize = 16 << 10;

static COMPILED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    FORMS.iter().map(|(_, form, _)| Regex::new(form).expect("a constant that the tests compile")).collect()
});

static ASSIGNMENTS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(ASSIGNMENT).expect("a constant that the tests compile"));

pub(super) fn find(text: &str, action: Action) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut hit = |kind: &'static str, start, end, score, reason: &'static str| {
        hits.push(Hit {
            category: Category::Secret,
            kind: kind.into(),
            start,
            end,
            score,
            reason: reason.into(),
            action,
            severity: None,
        });
    };
    for ((kind, _, reason), form) in FORMS.iter().zip(COMPILED.iter()) {
        for captures in form.captures_iter(text) {
            if let Some(found) = captures.get(1).or(captures.get(0)) {
                // More specific forms come first and are surer by a hair.
                let score = match *kind {
                    "openai_key" | "bearer_token" => 0.93,
                    // `name:password@host` looks like an e-mail address from the middle on.
                    "url_credentials" => 0.97,
                    _ => 0.95,
                };
                if *kind != "openai_key" || looks_random(found.as_str()) {
                    hit(kind, found.start(), found.end(), score, reason);
                }
            }
        }
    }
    for (start, end) in private_keys(text) {
        hit("private_key", start, end, 0.99, "private key");
    }
    for captures in ASSIGNMENTS.captures_iter(text) {
        if let (Some(name), Some(value)) = (captures.get(1), captures.get(2)) {
            let is_password = name.as_str().to_lowercase().starts_with("pass")
                || ["pwd", "lösenord"].contains(&name.as_str().to_lowercase().as_str());
            let trimmed = value.as_str().trim_end_matches(['.', ')', ']', '}', '!', '?']);
            if is_reference(value.as_str()) || trimmed.len() < 6 {
                continue;
            }
            if looks_random(trimmed) {
                hit(
                    "assigned_secret",
                    value.start(),
                    value.start() + trimmed.len(),
                    0.8,
                    "random value assigned to a secret's name",
                );
            } else if is_password && is_no_word(trimmed) {
                hit(
                    "password",
                    value.start(),
                    value.start() + trimmed.len(),
                    0.7,
                    "value given as a password",
                );
            }
        }
    }
    hits
}

/// `${connection.key}`, `{{ secret }}`, `os.environ[…]`, `****`: the name of a secret, not the secret.
fn is_reference(value: &str) -> bool {
    value.starts_with(['$', '{', '%', '[', '('])
        || value.contains("environ")
        || value.contains("getenv")
        || value.chars().all(|letter| matches!(letter, '*' | '•' | 'x' | 'X' | '.'))
}

/// Letters of at least two sorts and a digit, spread so evenly that no language does it (3 bits a letter and more).
fn looks_random(value: &str) -> bool {
    let has_digit = value.contains(|letter: char| letter.is_ascii_digit());
    let has_letter = value.contains(|letter: char| letter.is_ascii_alphabetic());
    value.len() >= 12 && has_digit && has_letter && entropy(value) >= 3.0
}

/// Shannon's entropy of the letters, in bits for each.
fn entropy(value: &str) -> f64 {
    let mut counts: BTreeMap<char, f64> = BTreeMap::new();
    for letter in value.chars() {
        *counts.entry(letter).or_default() += 1.0;
    }
    let length = value.chars().count() as f64;
    counts.values().map(|count| -(count / length) * (count / length).log2()).sum()
}

/// A digit or sign within: `hunter2`, `s3cret!x`, and not `is` `required`.
fn is_no_word(value: &str) -> bool {
    value.contains(|letter: char| letter.is_ascii_digit()) && value.contains(char::is_alphabetic)
        || value.contains(['!', '@', '#', '%', '&', '*'])
}

/// `-----BEGIN … PRIVATE KEY-----` to its end, or to the end of what looks like its lines.
fn private_keys(text: &str) -> Vec<(usize, usize)> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "PRIVATE KEY-----";
    let mut keys = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(BEGIN).map(|found| at + found) {
        let body = start + BEGIN.len();
        at = body;
        let mut line_end = (body + 60).min(text.len());
        while !text.is_char_boundary(line_end) {
            line_end -= 1;
        }
        let line = text[body..line_end].lines().next().unwrap_or_default();
        let Some(head) = line.find("PRIVATE KEY") else { continue };
        let inside = body + head + END.len().min(line.len() - head);
        let mut longest = (inside + LONGEST_KEY).min(text.len());
        while !text.is_char_boundary(longest) {
            longest -= 1;
        }
        let length = text[inside..longest]
            .find(|letter: char| {
                !(letter.is_ascii_alphanumeric()
                    || letter.is_ascii_whitespace()
                    || "+/=:,-\\".contains(letter))
            })
            .unwrap_or(longest - inside);
        let block = &text[inside..inside + length];
        let end = block.find(END).map_or(inside + block.trim_end().len(), |found| inside + found + END.len());
        keys.push((start, end));
        at = end;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_compiles() {
        assert_eq!(COMPILED.len(), FORMS.len());
        assert!(ASSIGNMENTS.is_match("password: hunter22"));
    }
}
