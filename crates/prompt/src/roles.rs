//! Splits chat text into messages at its role lines, by prompt flow's rules.
//!
//! Only text that the template wrote can be a role line or a `## name:` header; see [`chat`](crate::chat) for
//! how origins get here. Text without known origins ([`split_roles`]) counts as the template's.

use std::ops::Range;
use std::sync::LazyLock;

use flowbench_core::Value;
use flowbench_core::chat::{Content, ContentPart, ImageUrl, Message, Role, ToolCall};
use regex::Regex;
use thiserror::Error;

use crate::jinja::text::{Origin, Text, is_blank, strip};
use crate::literal::parse_literal;

/// Words that open a message. `developer` is none of prompt flow's and stays text.
const ROLES: [(&str, Role); 5] = [
    ("system", Role::System),
    ("user", Role::User),
    ("assistant", Role::Assistant),
    ("function", Role::Function),
    ("tool", Role::Tool),
];

/// Chat text that cannot be split.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RoleError {
    /// Text before the first role line, or no role line at all.
    #[error(
        "chat text must start with a role line such as `system:` or `# user:`, but starts with `{found}`"
    )]
    NoRole {
        /// How it starts.
        found: String,
    },
    /// `function:` without `## name:` and `## content:`.
    #[error(
        "the message of role `function` needs `## name:` and `## content:`, each followed by its own lines"
    )]
    FunctionWithoutName,
    /// `tool:` without `## tool_call_id:` and `## content:`.
    #[error(
        "the message of role `tool` needs `## tool_call_id:` and `## content:`, each followed by its own lines"
    )]
    ToolWithoutId,
    /// An entry of `## tool_calls:` that names no function.
    #[error("entry {number} under `## tool_calls:` has no `{key}`")]
    IncompleteToolCall {
        /// One-based.
        number: usize,
        /// What is missing.
        key: &'static str,
    },
}

impl RoleError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoRole { .. } => {
                "put `# user:` on a line of its own above the text, or set `api: completion` for plain text"
            }
            Self::FunctionWithoutName => {
                "write `## name:`, the function's name, `## content:` and the result"
            }
            Self::ToolWithoutId => "write `## tool_call_id:`, the call's id, `## content:` and the result",
            Self::IncompleteToolCall { .. } => {
                "each entry is `{'id': …, 'type': 'function', 'function': {'name': …, 'arguments': …}}`"
            }
        }
    }
}

/// True if the text is just a role word, in any case.
pub(crate) fn is_role_word(text: &str) -> bool {
    ROLES.iter().any(|(word, _)| text.eq_ignore_ascii_case(word))
}

/// Splits chat text that has no known origins.
pub fn split_roles(text: &str) -> Result<Vec<Message>, RoleError> {
    split(&Text::template(text), &mut |_| None)
}

struct RoleLine {
    range: Range<usize>,
    role: Role,
}

fn skip_blanks(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start_matches(is_blank).len()
}

/// The role line that starts at this line start: blanks, at most one `#`, blanks, word, blanks, colon, blanks
/// with a line feed. With it, where its first character, word and colon stand and where the blanks end; if there
/// is none, where to go on looking.
fn role_line(text: &str, start: usize) -> Result<(RoleLine, [usize; 4]), usize> {
    let first = skip_blanks(text, start);
    let word = match text[first..].strip_prefix('#') {
        Some(_) => skip_blanks(text, first + 1),
        None => first,
    };
    let found = ROLES.iter().find(|(name, _)| {
        text.get(word..word + name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    });
    let next = || text[first..].find('\n').map_or(text.len(), |at| first + at + 1);
    let Some((name, role)) = found else { return Err(next()) };
    let colon = skip_blanks(text, word + name.len());
    if !text[colon..].starts_with(':') {
        return Err(next());
    }
    let blanks_end = skip_blanks(text, colon + 1);
    match text[colon + 1..blanks_end].rfind('\n') {
        Some(at) => {
            let end = colon + 1 + at + 1;
            Ok((RoleLine { range: start..end, role: *role }, [first, word, colon, blanks_end]))
        }
        None => Err(next()),
    }
}

/// Which bytes the template wrote.
struct Authored(Vec<Range<usize>>);

impl Authored {
    fn of(text: &Text) -> Self {
        Self(
            text.runs()
                .into_iter()
                .filter(|(_, origin)| *origin == Origin::Template)
                .map(|(range, _)| range)
                .collect(),
        )
    }

    fn has(&self, at: usize) -> bool {
        let index = self.0.partition_point(|range| range.end <= at);
        self.0.get(index).is_some_and(|range| range.contains(&at))
    }
}

/// True if the template wrote the line: every character that is no blank, every line feed inside, the one
/// before it and one after the colon.
fn is_authored(text: &str, authored: &Authored, [first, _, colon, blanks_end]: [usize; 4]) -> bool {
    let bytes = text.as_bytes();
    let before = text[..first].rfind('\n');
    let line_begins = match before {
        Some(at) => authored.has(at),
        None => true,
    };
    let inside = (first..=colon).all(|at| {
        let blank = bytes[at] != b'\n' && bytes[at].is_ascii_whitespace();
        blank || authored.has(at)
    });
    let ends = (colon + 1..blanks_end).any(|at| bytes[at] == b'\n' && authored.has(at));
    line_begins && inside && ends
}

fn role_lines(text: &Text) -> Vec<RoleLine> {
    let string = text.as_str();
    let authored = Authored::of(text);
    let mut lines = Vec::new();
    let mut at = 0;
    while at < string.len() {
        match role_line(string, at) {
            Err(next) => at = next,
            Ok((line, places)) => {
                if is_authored(string, &authored, places) {
                    at = line.range.end;
                    lines.push(line);
                } else {
                    // The next line may still be one.
                    at = string[places[1]..].find('\n').map_or(string.len(), |next| places[1] + next + 1);
                }
            }
        }
    }
    lines
}

/// Splits text into messages; `image` gives the part for an image by its number.
pub(crate) fn split(
    text: &Text,
    image: &mut dyn FnMut(u32) -> Option<ImageUrl>,
) -> Result<Vec<Message>, RoleError> {
    let string = text.as_str();
    let lines = role_lines(text);
    let preamble = strip(&string[..lines.first().map_or(string.len(), |line| line.range.start)]);
    if !preamble.is_empty() {
        let mut found: String = preamble.lines().next().unwrap_or_default().chars().take(60).collect();
        if found.len() < preamble.len() {
            found.push('…');
        }
        return Err(RoleError::NoRole { found });
    }
    let mut messages = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let end = lines.get(index + 1).map_or(string.len(), |next| next.range.start);
        messages.push(message(line.role, &text.slice(line.range.end..end), image)?);
    }
    Ok(messages)
}

fn pattern(text: &str) -> Regex {
    // Python's `\s` also takes the four separators.
    Regex::new(&text.replace(r"\s", r"[\s\x1c-\x1f]").replace(r"\S", r"[^\s\x1c-\x1f]"))
        .expect("the pattern is a constant")
}

static NAMED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)\n*#{0,2}\s*name\s*:\s*\n+\s*(\S+)\s*\n*#{0,2}\s*content\s*:\s*\n?(.*)"));
static TOOL_RESULT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?s)\n*#{0,2}\s*tool_call_id\s*:\s*\n+\s*(\S+)\s*\n*#{0,2}\s*content\s*:\s*\n?(.*)")
});
static TOOL_CALLS: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)\n*#{0,2}\s*tool_calls\s*:\s*\n+\s*"));

/// The text with everything that values wrote made harmless, byte for byte: blanks stay blanks (line feeds
/// become plain ones), the rest becomes a character that no pattern names.
fn mask(text: &Text) -> String {
    let mut out = String::with_capacity(text.as_str().len());
    for (range, origin) in text.runs() {
        let part = &text.as_str()[range];
        if origin == Origin::Template {
            out.push_str(part);
            continue;
        }
        for c in part.chars() {
            let stand_in = if is_blank(c) { ' ' } else { '\u{1}' };
            out.extend(std::iter::repeat_n(stand_in, c.len_utf8()));
        }
    }
    out
}

fn headed<'t>(pattern: &Regex, masked: &str, text: &'t Text) -> Option<(&'t str, Text)> {
    let captures = pattern.captures(masked)?;
    let (name, content) = (captures.get(1)?, captures.get(2)?);
    Some((strip(&text.as_str()[name.range()]), text.slice(content.range())))
}

fn message(
    role: Role,
    chunk: &Text,
    image: &mut dyn FnMut(u32) -> Option<ImageUrl>,
) -> Result<Message, RoleError> {
    let mut message = Message { role, content: None, name: None, tool_calls: Vec::new(), tool_call_id: None };
    let masked = mask(chunk);
    if role == Role::Tool {
        let (id, text) = headed(&TOOL_RESULT, &masked, chunk).ok_or(RoleError::ToolWithoutId)?;
        message.tool_call_id = Some(id.to_owned());
        message.content = Some(content(&text, image));
        return Ok(message);
    }
    if role == Role::Assistant
        && let Some(calls) = tool_calls(&masked, chunk.as_str())?
    {
        message.tool_calls = calls;
        return Ok(message);
    }
    match headed(&NAMED, &masked, chunk) {
        Some((name, text)) => {
            message.name = Some(name.to_owned());
            message.content = Some(content(&text, image));
        }
        None if role == Role::Function => return Err(RoleError::FunctionWithoutName),
        None => message.content = Some(content(chunk, image)),
    }
    Ok(message)
}

/// The list under `## tool_calls:`, if there is one that can be read.
fn tool_calls(masked: &str, text: &str) -> Result<Option<Vec<ToolCall>>, RoleError> {
    for header in TOOL_CALLS.find_iter(masked) {
        let rest = &text[header.end()..];
        if !rest.starts_with('[') {
            continue;
        }
        let Ok((Value::Array(entries), _)) = parse_literal(rest) else {
            return Ok(None);
        };
        let calls = entries.iter().enumerate().map(|(index, entry)| tool_call(index + 1, entry));
        return calls.collect::<Result<_, _>>().map(Some);
    }
    Ok(None)
}

fn tool_call(number: usize, entry: &Value) -> Result<ToolCall, RoleError> {
    let missing = |key| RoleError::IncompleteToolCall { number, key };
    let text = |value: &Value, key: &'static str| {
        value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| missing(key))
    };
    let function = entry.get("function").ok_or_else(|| missing("function"))?;
    let arguments = match function.get("arguments") {
        Some(Value::String(arguments)) => arguments.clone(),
        Some(other) => other.to_string(),
        None => return Err(missing("arguments")),
    };
    Ok(ToolCall { id: text(entry, "id")?, name: text(function, "name")?, arguments, signature: None })
}

/// Content: plain text, or parts by line when a line is an image.
fn content(text: &Text, image: &mut dyn FnMut(u32) -> Option<ImageUrl>) -> Content {
    let stripped = text.slice_of(strip(text.as_str()));
    let has_image = stripped.runs().iter().any(|(_, origin)| matches!(origin, Origin::Image(_)));
    if !has_image {
        return Content::Text(stripped.as_str().to_owned());
    }
    let mut parts = Vec::new();
    let mut found = false;
    for line in stripped.as_str().split('\n') {
        let bare = strip(line);
        if bare.is_empty() {
            continue;
        }
        let part = stripped.slice_of(bare);
        let number = match part.runs().as_slice() {
            [(_, Origin::Image(number))] => Some(*number),
            _ => None,
        };
        match number.and_then(&mut *image) {
            Some(image_url) => {
                found = true;
                parts.push(ContentPart::ImageUrl { image_url });
            }
            None => parts.push(ContentPart::Text { text: line.to_owned() }),
        }
    }
    if found { Content::Parts(parts) } else { Content::Text(stripped.as_str().to_owned()) }
}
