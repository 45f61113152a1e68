//! Methods of texts. Parts of a text keep the origins of their characters.

use super::eval::{CallArgs, Interp};
use super::text::{Origin, Text, TextBuilder, is_blank, split_lines};
use super::value::Val;
use super::{Res, fault, format, ops, undefined_fault};

pub(crate) const NAMES: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

fn text_of(value: Option<Val>, what: &str) -> Res<Text> {
    match value {
        Some(Val::Str(text)) => Ok(text),
        Some(other) => {
            other.defined()?;
            fault(format!("`{what}` asks for a text, not `{}`", other.type_name()))
        }
        None => fault(format!("`{what}` is missing an argument")),
    }
}

pub(crate) fn upper(text: &Text) -> Text {
    text.map_chars(|c, out| out.extend(c.to_uppercase()))
}

pub(crate) fn lower(text: &Text) -> Text {
    // Whole runs, because a final sigma depends on its neighbours.
    let mut out = TextBuilder::default();
    for (range, origin) in text.runs() {
        out.push_str(&text.as_str()[range].to_lowercase(), origin);
    }
    out.finish()
}

pub(crate) fn capitalize(text: &Text) -> Text {
    let mut is_first = true;
    text.map_chars(|c, out| {
        if std::mem::take(&mut is_first) {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
    })
}

fn title(text: &Text) -> Text {
    let mut after_letter = false;
    text.map_chars(|c, out| {
        if after_letter {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        after_letter = c.is_alphabetic();
    })
}

/// `strip`, `lstrip` and `rstrip`; blanks unless characters are given.
pub(crate) fn strip(text: &Text, chars: Option<&Text>, left: bool, right: bool) -> Text {
    let goes = |c: char| chars.map_or_else(|| is_blank(c), |chars| chars.as_str().contains(c));
    let mut part = text.as_str();
    if left {
        part = part.trim_start_matches(goes);
    }
    if right {
        part = part.trim_end_matches(goes);
    }
    text.slice_of(part)
}

/// `replace`, at most `count` times.
pub(crate) fn replace(
    interp: &mut Interp<'_>,
    text: &Text,
    from: &Text,
    to: &Text,
    count: Option<usize>,
) -> Res<Text> {
    let mut out = TextBuilder::default();
    let mut copied = 0;
    for (start, part) in text.as_str().match_indices(from.as_str()).take(count.unwrap_or(usize::MAX)) {
        interp.charge(1)?;
        interp.charge_bytes(out.len() + to.as_str().len())?;
        out.push_part(text, copied..start);
        out.push(to);
        copied = start + part.len();
    }
    out.push_part(text, copied..text.as_str().len());
    Ok(out.finish())
}

/// Pads to a width in characters.
pub(crate) fn pad(interp: &mut Interp<'_>, text: &Text, width: usize, fill: &Text, left: f64) -> Res<Text> {
    let length = text.as_str().chars().count();
    let missing = width.saturating_sub(length);
    interp.charge_bytes(missing * fill.as_str().len())?;
    let before = if left == 0.5 {
        // CPython puts the odd blank to the left only when width is odd too.
        missing / 2 + (missing & width & 1)
    } else {
        (missing as f64 * left) as usize
    };
    let mut out = TextBuilder::default();
    for _ in 0..before {
        out.push(fill);
    }
    out.push(text);
    for _ in before..missing {
        out.push(fill);
    }
    Ok(out.finish())
}

fn texts(text: &Text, parts: Vec<&str>) -> Val {
    Val::list(parts.into_iter().map(|part| Val::Str(text.slice_of(part))).collect())
}

fn split_blanks(text: &str, limit: Option<usize>, from_right: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        rest = if from_right { rest.trim_end_matches(is_blank) } else { rest.trim_start_matches(is_blank) };
        if rest.is_empty() {
            break;
        }
        if limit.is_some_and(|limit| parts.len() >= limit) {
            parts.push(rest);
            break;
        }
        if from_right {
            let start =
                rest.rfind(is_blank).map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
            parts.push(&rest[start..]);
            rest = &rest[..start];
        } else {
            let end = rest.find(is_blank).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    if from_right {
        parts.reverse();
    }
    parts
}

/// Start and end of a search, in bytes, from optional character positions.
fn bounds(text: &str, args: &mut CallArgs) -> Res<Option<(usize, usize)>> {
    let length = text.chars().count() as i128;
    let mut ends = [0, length];
    for (index, end) in ends.iter_mut().enumerate() {
        match args.take(index + 1, if index == 0 { "start" } else { "end" }) {
            None | Some(Val::None) => {}
            Some(value) => {
                let at = ops::int(&value, "a position")?;
                *end = (if at < 0 { at + length } else { at }).clamp(0, length.max(0));
                if index == 0 && at > length {
                    return Ok(None);
                }
            }
        }
    }
    let byte = |chars: i128| text.char_indices().nth(chars as usize).map_or(text.len(), |(at, _)| at);
    let (start, end) = (byte(ends[0]), byte(ends[1]));
    Ok((start <= end).then_some((start, end)))
}

fn is_all(text: &str, test: impl Fn(char) -> bool) -> Val {
    Val::Bool(!text.is_empty() && text.chars().all(test))
}

pub(crate) fn call(interp: &mut Interp<'_>, text: &Text, name: &str, mut args: CallArgs) -> Res<Val> {
    let string = text.as_str();
    interp.charge(1 + string.len() / 16)?;
    Ok(match name {
        "upper" => Val::Str(upper(text)),
        "lower" | "casefold" => Val::Str(lower(text)),
        "capitalize" => Val::Str(capitalize(text)),
        "title" => Val::Str(title(text)),
        "swapcase" => Val::Str(text.map_chars(|c, out| {
            if c.is_uppercase() { out.extend(c.to_lowercase()) } else { out.extend(c.to_uppercase()) }
        })),
        "strip" | "lstrip" | "rstrip" => {
            let chars = match args.take(0, "chars") {
                None | Some(Val::None) => None,
                other => Some(text_of(other, name)?),
            };
            Val::Str(strip(text, chars.as_ref(), name != "rstrip", name != "lstrip"))
        }
        "split" | "rsplit" => {
            let separator = match args.take(0, "sep") {
                None | Some(Val::None) => None,
                other => Some(text_of(other, name)?),
            };
            let limit = match args.take(1, "maxsplit") {
                None => None,
                Some(value) => usize::try_from(ops::int(&value, "`maxsplit`")?).ok(),
            };
            let parts = match &separator {
                None => split_blanks(string, limit, name == "rsplit"),
                Some(separator) if separator.as_str().is_empty() => return fault("empty separator"),
                Some(separator) => match (limit, name) {
                    (None, _) => string.split(separator.as_str()).collect(),
                    (Some(limit), "split") => string.splitn(limit + 1, separator.as_str()).collect(),
                    (Some(limit), _) => {
                        let mut parts: Vec<&str> = string.rsplitn(limit + 1, separator.as_str()).collect();
                        parts.reverse();
                        parts
                    }
                },
            };
            interp.charge(parts.len())?;
            texts(text, parts)
        }
        "splitlines" => {
            let keep = args.take(0, "keepends").is_some_and(|value| value.truth());
            texts(text, split_lines(string, keep))
        }
        "partition" | "rpartition" => {
            let separator = text_of(args.take(0, "sep"), name)?;
            let at = if name == "partition" {
                string.find(separator.as_str())
            } else {
                string.rfind(separator.as_str())
            };
            let parts = match at {
                Some(at) => {
                    let end = at + separator.as_str().len();
                    vec![text.slice(0..at), separator, text.slice(end..string.len())]
                }
                None if name == "partition" => vec![text.clone(), Text::template(""), Text::template("")],
                None => vec![Text::template(""), Text::template(""), text.clone()],
            };
            Val::tuple(parts.into_iter().map(Val::Str).collect())
        }
        "replace" => {
            let from = text_of(args.take(0, "old"), name)?;
            let to = text_of(args.take(1, "new"), name)?;
            let count = match args.take(2, "count") {
                None => None,
                Some(value) => usize::try_from(ops::int(&value, "`count`")?).ok(),
            };
            Val::Str(replace(interp, text, &from, &to, count)?)
        }
        "startswith" | "endswith" => {
            let wanted = match args.take(0, "prefix") {
                Some(tuple @ Val::Tuple(_)) => tuple.iterate()?,
                Some(one) => vec![one],
                None => return fault(format!("`{name}` is missing an argument")),
            };
            let Some((start, end)) = bounds(string, &mut args)? else {
                return Ok(Val::Bool(false));
            };
            let part = &string[start..end];
            let mut found = false;
            for wanted in wanted {
                let wanted = text_of(Some(wanted), name)?;
                found |= if name == "startswith" {
                    part.starts_with(wanted.as_str())
                } else {
                    part.ends_with(wanted.as_str())
                };
            }
            Val::Bool(found)
        }
        "find" | "rfind" | "index" | "rindex" => {
            let wanted = text_of(args.take(0, "sub"), name)?;
            let found = bounds(string, &mut args)?.and_then(|(start, end)| {
                let part = &string[start..end];
                let at = if name.starts_with('r') {
                    part.rfind(wanted.as_str())
                } else {
                    part.find(wanted.as_str())
                }?;
                Some(string[..start + at].chars().count() as i128)
            });
            match found {
                Some(at) => Val::Int(at),
                None if name.ends_with("find") => Val::Int(-1),
                None => return fault("the text was not found"),
            }
        }
        "count" => {
            let wanted = text_of(args.take(0, "sub"), name)?;
            let count = bounds(string, &mut args)?
                .map_or(0, |(start, end)| string[start..end].matches(wanted.as_str()).count());
            Val::Int(count as i128)
        }
        "join" => {
            let Some(items) = args.take(0, "iterable") else {
                return fault("`join` is missing an argument");
            };
            let items = items.iterate()?;
            let mut out = TextBuilder::default();
            for (index, item) in items.iter().enumerate() {
                let Val::Str(item) = item else {
                    return fault(format!(
                        "`join` asks for texts, but item {index} is `{}`: use the filter `join`",
                        item.type_name()
                    ));
                };
                interp.charge(1)?;
                interp.charge_bytes(out.len() + item.as_str().len() + string.len())?;
                if index > 0 {
                    out.push(text);
                }
                out.push(item);
            }
            Val::Str(out.finish())
        }
        "center" | "ljust" | "rjust" => {
            let width = ops::width(&args.take(0, "width").unwrap_or(Val::Int(0)), "a width")?;
            let fill = match args.take(1, "fillchar") {
                None => Text::template(" "),
                other => text_of(other, name)?,
            };
            if fill.as_str().chars().count() != 1 {
                return fault("the fill must be one character");
            }
            let left = match name {
                "center" => 0.5,
                "rjust" => 1.0,
                _ => 0.0,
            };
            Val::Str(pad(interp, text, width, &fill, left)?)
        }
        "zfill" => {
            let width = ops::width(&args.take(0, "width").unwrap_or(Val::Int(0)), "a width")?;
            let sign = usize::from(string.starts_with(['+', '-']));
            let missing = width.saturating_sub(string.chars().count());
            interp.charge_bytes(missing)?;
            let mut out = TextBuilder::default();
            out.push_part(text, 0..sign);
            out.push_str(&"0".repeat(missing), Origin::Template);
            out.push_part(text, sign..string.len());
            Val::Str(out.finish())
        }
        "removeprefix" => {
            let part = text_of(args.take(0, "prefix"), name)?;
            Val::Str(text.slice_of(string.strip_prefix(part.as_str()).unwrap_or(string)))
        }
        "removesuffix" => {
            let part = text_of(args.take(0, "suffix"), name)?;
            Val::Str(text.slice_of(string.strip_suffix(part.as_str()).unwrap_or(string)))
        }
        "expandtabs" => {
            let size = ops::width(&args.take(0, "tabsize").unwrap_or(Val::Int(8)), "a tab size")?;
            interp.charge_bytes(string.matches('\t').count().saturating_mul(size))?;
            let mut column = 0;
            Val::Str(text.map_chars(|c, out| match c {
                '\t' if size > 0 => {
                    let blanks = size - column % size;
                    out.extend(std::iter::repeat_n(' ', blanks));
                    column += blanks;
                }
                '\t' => {}
                '\n' | '\r' => {
                    column = 0;
                    out.push(c);
                }
                c => {
                    column += 1;
                    out.push(c);
                }
            }))
        }
        "format" => Val::Str(format::braces(interp, text, args)?),
        "format_map" => {
            let mut named = Vec::new();
            if let Some(Val::Dict(dict)) = args.take(0, "mapping") {
                for (key, (_, value)) in dict.items.borrow().iter() {
                    if let super::value::Key::Str(name) = key {
                        named.push((name.clone(), value.clone()));
                    }
                }
            }
            Val::Str(format::braces(interp, text, CallArgs { positional: Vec::new(), named })?)
        }
        "encode" => Val::Bytes(string.as_bytes().into()),
        "isdigit" | "isdecimal" | "isnumeric" => is_all(string, char::is_numeric),
        "isalpha" => is_all(string, char::is_alphabetic),
        "isalnum" => is_all(string, char::is_alphanumeric),
        "isspace" => is_all(string, is_blank),
        "isascii" => Val::Bool(string.is_ascii()),
        "isprintable" => Val::Bool(!string.chars().any(|c| c.is_control() || is_blank(c) && c != ' ')),
        "isidentifier" => Val::Bool(
            string.starts_with(|c: char| c == '_' || c.is_alphabetic())
                && string.chars().all(|c| c == '_' || c.is_alphanumeric()),
        ),
        "islower" => {
            Val::Bool(string.chars().any(char::is_lowercase) && !string.chars().any(char::is_uppercase))
        }
        "isupper" => {
            Val::Bool(string.chars().any(char::is_uppercase) && !string.chars().any(char::is_lowercase))
        }
        "istitle" => Val::Bool(string.chars().any(char::is_alphabetic) && title(text).as_str() == string),
        _ => return undefined_fault(format!("`str object` has no attribute `{name}`")),
    })
}
