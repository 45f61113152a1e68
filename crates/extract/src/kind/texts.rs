//! Which textual kind a text is, by its beginning and the hint of its name.

use super::Format;

/// How much of a text is looked at.
pub(super) const SAMPLE_BYTES: usize = 64 << 10;

/// Decides. The hint wins among kinds that share one look; a text that plainly is HTML, XML, a mail or a notebook wins
/// over names that say plain text or something binary.
pub(super) fn decide(text: &str, hint: Option<Format>, has_name: bool) -> Format {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    match hint {
        // Mark-up may stand at the start of these.
        Some(hint @ (Format::Markdown | Format::Code(_))) => return hint,
        Some(hint @ (Format::Html | Format::Csv | Format::JsonLines | Format::Notebook | Format::Mbox)) => {
            return hint;
        }
        Some(Format::Json) => return if is_notebook(start) { Format::Notebook } else { Format::Json },
        Some(Format::Eml) => return if is_mailbox(start) { Format::Mbox } else { Format::Eml },
        _ => {}
    }
    if is_html(start) {
        return Format::Html;
    }
    if start.starts_with("<?xml") || (hint == Some(Format::Xml) && start.starts_with('<')) {
        return Format::Xml;
    }
    if hint == Some(Format::Xml) {
        return Format::Xml;
    }
    if is_mailbox(start) {
        return Format::Mbox;
    }
    if is_mail(start) {
        return Format::Eml;
    }
    if hint == Some(Format::Text) || (has_name && hint.is_some()) {
        return Format::Text;
    }
    if start.starts_with('{') || start.starts_with('[') {
        if is_notebook(start) {
            return Format::Notebook;
        }
        if looks_like_json(start) {
            return if is_json_lines(start) { Format::JsonLines } else { Format::Json };
        }
    }
    Format::Text
}

fn is_html(start: &str) -> bool {
    let mut rest = start;
    // Comments and processing instructions may come first.
    for _ in 0..8 {
        let end = match () {
            () if rest.starts_with("<!--") => rest.find("-->").map(|at| at + 3),
            () if rest.starts_with("<?xml") => rest.find("?>").map(|at| at + 2),
            () => break,
        };
        let Some(end) = end else { return false };
        rest = rest[end..].trim_start();
    }
    let head: String = rest.chars().take(64).collect::<String>().to_ascii_lowercase();
    if head.starts_with("<!doctype html") || is_tag(&head, "html") {
        return true;
    }
    let tags = [
        "head", "body", "title", "meta", "script", "table", "div", "p", "h1", "h2", "span", "br", "font",
        "center", "article",
    ];
    tags.iter().any(|tag| is_tag(&head, tag)) && {
        let lower = rest.get(..rest.len().min(4096)).unwrap_or_default().to_ascii_lowercase();
        ["</p>", "</div>", "</body>", "</table>", "</a>", "<br", "</title>", "</h1>", "</span>", "</li>"]
            .iter()
            .any(|close| lower.contains(close))
    }
}

fn is_tag(head: &str, tag: &str) -> bool {
    head.strip_prefix('<')
        .and_then(|head| head.strip_prefix(tag))
        .is_some_and(|rest| rest.starts_with(|char: char| char == '>' || char == '/' || char.is_whitespace()))
}

/// `From sender date` and a header line after it.
fn is_mailbox(start: &str) -> bool {
    let mut lines = start.lines();
    let Some(first) = lines.next().and_then(|line| line.strip_prefix("From ")) else { return false };
    let has_time = first.split_whitespace().any(|word| {
        word.split(':').count() >= 2
            && word.split(':').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    });
    has_time && lines.next().is_some_and(|line| header_name(line).is_some() || line.starts_with('>'))
}

fn header_name(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(':')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some(name)
}

/// A block of header lines with a route or three of what every mail has.
fn is_mail(start: &str) -> bool {
    let (mut common, mut sure) = (0, false);
    for line in start.lines() {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some(name) = header_name(line) else { return false };
        match name.to_ascii_lowercase().as_str() {
            "received" | "message-id" | "return-path" | "mime-version" | "delivered-to" | "x-mailer" => {
                sure = true
            }
            "from" | "to" | "subject" | "date" | "cc" | "reply-to" | "sender" => common += 1,
            _ => {}
        }
    }
    common >= 4 || (sure && common >= 1)
}

fn is_notebook(start: &str) -> bool {
    let sample = start.get(..start.len().min(4096)).unwrap_or(start);
    start.starts_with('{')
        && (start.contains("\"nbformat\"")
            || (sample.contains("\"cells\"") && sample.contains("\"cell_type\"")))
        && start.contains("\"cells\"")
}

/// Whether the first token after the bracket may stand there.
fn looks_like_json(start: &str) -> bool {
    let rest = start[1..].trim_start();
    let first = rest.chars().next();
    match start.as_bytes()[0] {
        b'{' => matches!(first, Some('"' | '}')) && (first == Some('}') || rest.contains(':')),
        _ => {
            let is_word = ["true", "false", "null"].iter().any(|word| rest.starts_with(word));
            let is_number = matches!(first, Some('-' | '0'..='9'))
                && rest
                    .trim_start_matches(|char: char| char.is_ascii_digit() || "-+.eE".contains(char))
                    .trim_start()
                    .starts_with([',', ']']);
            is_word || is_number || matches!(first, Some('"' | '{' | '[' | ']') if !rest.starts_with("]("))
        }
    }
}

fn is_json_lines(start: &str) -> bool {
    let mut lines = start.lines();
    let closes = |line: &str| line.trim_end().ends_with('}') && line.starts_with('{');
    lines.next().is_some_and(closes) && lines.next().is_some_and(|line| line.starts_with('{'))
}
