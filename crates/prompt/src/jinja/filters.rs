//! Jinja2's filters on texts, numbers and single values; those on lists are in
//! [`filters_list`](super::filters_list).

use super::eval::{CallArgs, Interp};
use super::text::{Origin, Text, TextBuilder, is_blank, split_lines};
use super::value::{Dict, Val};
use super::{Res, fault, filters_list, format, json, methods, methods_str, ops};

const NAMES: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
];

/// Characters that a text may be too long before `truncate` cuts it (policy `truncate.leeway` of Jinja2).
const TRUNCATE_LEEWAY: usize = 5;

/// True if there is such a filter.
pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// `value | name(args)`.
pub(crate) fn apply(interp: &mut Interp<'_>, name: &str, value: Val, args: CallArgs) -> Res<Val> {
    match name {
        "batch" | "count" | "dictsort" | "first" | "groupby" | "items" | "join" | "last" | "length"
        | "list" | "map" | "max" | "min" | "random" | "reject" | "rejectattr" | "reverse" | "select"
        | "selectattr" | "slice" | "sort" | "sum" | "unique" => {
            filters_list::apply(interp, name, value, args)
        }
        "abs" | "int" | "float" | "round" | "filesizeformat" => number(interp, name, value, args),
        "default" | "d" => default(value, args),
        "attr" => attr(&value, args),
        "tojson" => to_json(interp, &value, args),
        "pprint" => {
            let mut out = TextBuilder::default();
            json::pretty(&value, 0, 0, &mut out)?;
            Ok(Val::Str(out.finish()))
        }
        "urlencode" => url_encode(interp, &value),
        "xmlattr" => xml_attributes(interp, &value, args),
        _ => text(interp, name, value, args),
    }
}

fn default(value: Val, mut args: CallArgs) -> Res<Val> {
    args.check("default", &["default_value", "boolean"])?;
    let other = args.take(0, "default_value").unwrap_or_else(|| Val::template_str(""));
    let boolean = args.take(1, "boolean").is_some_and(|value| value.truth());
    Ok(if value.is_undefined() || boolean && !value.truth() { other } else { value })
}

/// `attr` looks at attributes only, never at items.
fn attr(value: &Val, mut args: CallArgs) -> Res<Val> {
    let Some(name) = args.take(0, "name") else {
        return fault("`attr` asks for a name");
    };
    let name = name.to_text()?;
    if let Val::Dict(_) = value
        && !methods::shadows_nothing(value, name.as_str())
    {
        return Ok(Val::undefined(format!("`dict object` has no attribute `{}`", name.as_str())));
    }
    methods::attribute(value, name.as_str())
}

fn number(interp: &mut Interp<'_>, name: &str, value: Val, mut args: CallArgs) -> Res<Val> {
    match name {
        "abs" => match value.defined()? {
            Val::Float(number) => Ok(Val::Float(number.abs())),
            other => Ok(Val::Int(ops::int(other, "the value of `abs`")?.saturating_abs())),
        },
        "float" => {
            value.defined()?;
            let default = args.take(0, "default").unwrap_or(Val::Float(0.0));
            let found = match &value {
                Val::Str(text) => parse_float(text.as_str()),
                other => ops::float(other),
            };
            Ok(found.map_or(default, Val::Float))
        }
        "int" => {
            value.defined()?;
            let default = args.take(0, "default").unwrap_or(Val::Int(0));
            let base = match args.take(1, "base") {
                Some(base) => ops::int(&base, "the base of `int`")?,
                None => 10,
            };
            let found = match &value {
                Val::Str(text) => parse_int(text.as_str(), base)
                    .or_else(|| parse_float(text.as_str()).filter(|f| f.abs() < 1e30).map(|f| f as i128)),
                Val::Float(number) if number.is_finite() && number.abs() < 1e30 => Some(*number as i128),
                other => ops::as_int(other),
            };
            Ok(found.map_or(default, Val::Int))
        }
        "round" => {
            args.check("round", &["precision", "method"])?;
            let precision = match args.take(0, "precision") {
                Some(value) => ops::int(&value, "the precision of `round`")?,
                None => 0,
            };
            let method = match args.take(1, "method") {
                Some(value) => value.to_text()?.as_str().to_owned(),
                None => "common".to_owned(),
            };
            let Some(number) = ops::float(value.defined()?) else {
                return fault(format!("`round` asks for a number, not `{}`", value.type_name()));
            };
            let factor = 10f64.powi(precision.clamp(-400, 400) as i32);
            Ok(match (method.as_str(), &value) {
                ("common", Val::Int(_) | Val::Bool(_)) => {
                    let whole = ops::int(&value, "the value of `round`")?;
                    if precision >= 0 {
                        Val::Int(whole)
                    } else {
                        Val::Int(round_half_even(number, precision) as i128)
                    }
                }
                ("common", _) => Val::Float(round_half_even(number, precision)),
                ("ceil", _) => Val::Float((number * factor).ceil() / factor),
                ("floor", _) => Val::Float((number * factor).floor() / factor),
                _ => return fault("the method of `round` must be `common`, `ceil` or `floor`"),
            })
        }
        _ => {
            let binary = args.take(0, "binary").is_some_and(|value| value.truth());
            let bytes = match value.defined()? {
                Val::Str(text) => parse_float(text.as_str()),
                other => ops::float(other),
            };
            let Some(bytes) = bytes else {
                return fault("`filesizeformat` asks for a number");
            };
            interp.charge(1)?;
            Ok(Val::template_str(&file_size(bytes, binary)))
        }
    }
}

fn file_size(bytes: f64, binary: bool) -> String {
    let base = if binary { 1024.0 } else { 1000.0 };
    let units = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    if bytes == 1.0 {
        return "1 Byte".to_owned();
    }
    if bytes < base {
        return format!("{} Bytes", bytes.trunc());
    }
    let mut unit = base;
    for (index, name) in units.iter().enumerate() {
        unit = base.powi(index as i32 + 2);
        if bytes < unit {
            return format!("{:.1} {name}", base * bytes / unit);
        }
    }
    format!("{:.1} {}", base * bytes / unit, units[7])
}

/// Python's `round(float, digits)`: correct decimal rounding, halves to even.
pub(crate) fn round_half_even(number: f64, digits: i128) -> f64 {
    if !number.is_finite() || digits > 300 {
        return number;
    }
    if digits < 0 {
        let factor = 10f64.powi((-digits).min(400) as i32);
        return (number / factor).round_ties_even() * factor;
    }
    // Rust formats the exact binary value and rounds ties to even, as CPython does.
    format!("{number:.*}", digits as usize).parse().unwrap_or(number)
}

pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let text = super::text::strip(text);
    let lower = text.to_ascii_lowercase();
    if text.contains("__") || text.starts_with('_') || text.ends_with('_') || lower.starts_with("0x") {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn parse_int(text: &str, base: i128) -> Option<i128> {
    let text = super::text::strip(text);
    if text.contains("__") || text.starts_with('_') || text.ends_with('_') {
        return None;
    }
    let text = text.replace('_', "");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let base = u32::try_from(base).ok()?;
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match (base, lower.get(..2)) {
        (0 | 16, Some("0x")) => (16, &digits[2..]),
        (0 | 8, Some("0o")) => (8, &digits[2..]),
        (0 | 2, Some("0b")) => (2, &digits[2..]),
        (0, _) => (10, digits),
        (2..=36, _) => (base, digits),
        _ => return None,
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i128::from_str_radix(digits, base).ok().map(|number| sign * number)
}

fn to_json(interp: &mut Interp<'_>, value: &Val, mut args: CallArgs) -> Res<Val> {
    let indent = match args.take(0, "indent") {
        None | Some(Val::None) => None,
        Some(value) => Some(ops::width(&value, "the indent of `tojson`")?),
    };
    let mut out = TextBuilder::default();
    json::write(interp, value, indent, 0, &mut out)?;
    Ok(Val::Str(out.finish().markup()))
}

fn quote_url(text: &Text, safe: &str, plus: bool) -> Text {
    text.map_chars(|c, out| {
        if c.is_ascii_alphanumeric() || "_.-~".contains(c) || safe.contains(c) {
            out.push(c);
        } else if plus && c == ' ' {
            out.push('+');
        } else {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    })
}

fn url_encode(interp: &mut Interp<'_>, value: &Val) -> Res<Val> {
    let pairs: Vec<(Val, Val)> = match value {
        Val::Dict(dict) => dict.items.borrow().values().cloned().collect(),
        Val::List(_) | Val::Tuple(_) | Val::View(..) => {
            let mut pairs = Vec::new();
            for pair in value.iterate()? {
                match pair.iterate()?.as_slice() {
                    [key, value] => pairs.push((key.clone(), value.clone())),
                    _ => return fault("`urlencode` of a list asks for pairs"),
                }
            }
            pairs
        }
        other => {
            let text = other.to_text()?;
            interp.charge_bytes(text.as_str().len() * 3)?;
            return Ok(Val::Str(quote_url(&text, "/", false)));
        }
    };
    let mut out = TextBuilder::default();
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push_str("&", Origin::Template);
        }
        out.push(&quote_url(&key.to_text()?, "", true));
        out.push_str("=", Origin::Template);
        out.push(&quote_url(&value.to_text()?, "", true));
    }
    interp.charge_bytes(out.len())?;
    Ok(Val::Str(out.finish()))
}

fn xml_attributes(interp: &mut Interp<'_>, value: &Val, mut args: CallArgs) -> Res<Val> {
    let autospace = args.take(0, "autospace").is_none_or(|value| value.truth());
    let Val::Dict(dict) = value else {
        value.defined()?;
        return fault("`xmlattr` asks for a map");
    };
    let mut out = TextBuilder::default();
    for (key, value) in dict.items.borrow().values() {
        if matches!(value, Val::None | Val::Undefined(_)) {
            continue;
        }
        let key = key.to_text()?;
        if key.as_str().contains(|c: char| is_blank(c) || matches!(c, '/' | '>' | '=')) {
            return fault(format!("`{}` is no attribute name", key.as_str()));
        }
        if out.len() > 0 || autospace {
            out.push_str(" ", Origin::Template);
        }
        out.push(&ops::escape(&key));
        out.push_str("=\"", Origin::Template);
        out.push(&ops::escape(&value.to_text()?));
        out.push_str("\"", Origin::Template);
    }
    interp.charge_bytes(out.len())?;
    Ok(Val::Str(out.finish().markup()))
}

fn take_text(args: &mut CallArgs, index: usize, name: &str, default: &str) -> Res<Text> {
    match args.take(index, name) {
        Some(value) => value.to_text(),
        None => Ok(Text::template(default)),
    }
}

fn text(interp: &mut Interp<'_>, name: &str, value: Val, mut args: CallArgs) -> Res<Val> {
    if matches!(name, "indent" | "wordwrap" | "truncate") && !matches!(value, Val::Str(_)) {
        // `truncate` gives anything with a short length back as it is, also what is undefined.
        if name == "truncate"
            && let Some(length) = value.len()
        {
            let most = ops::width(&args.take(0, "length").unwrap_or(Val::Int(255)), "a length")?;
            let leeway = match args.take(3, "leeway") {
                None | Some(Val::None) => TRUNCATE_LEEWAY,
                Some(value) => ops::width(&value, "a leeway")?,
            };
            if length <= most + leeway {
                return Ok(value);
            }
        }
        value.defined()?;
        return fault(format!("`{name}` asks for a text, not `{}`", value.type_name()));
    }
    let text = value.to_text()?;
    interp.charge(text.as_str().len() / 16)?;
    let flag = |value: Option<Val>, default: bool| value.map_or(default, |value| value.truth());
    Ok(Val::Str(match name {
        "upper" => methods_str::upper(&text),
        "lower" => methods_str::lower(&text),
        "capitalize" => methods_str::capitalize(&text),
        "title" => title(&text),
        "string" => text,
        "safe" => text.markup(),
        "escape" | "e" => ops::escape(&text),
        "forceescape" => {
            let mut plain = text;
            plain.is_markup = false;
            ops::escape(&plain)
        }
        "trim" => {
            let chars = match args.take(0, "chars") {
                None | Some(Val::None) => None,
                Some(value) => Some(value.to_text()?),
            };
            methods_str::strip(&text, chars.as_ref(), true, true)
        }
        "center" => {
            let width = ops::width(&args.take(0, "width").unwrap_or(Val::Int(80)), "a width")?;
            methods_str::pad(interp, &text, width, &Text::template(" "), 0.5)?
        }
        "replace" => {
            let (Some(from), Some(to)) = (args.take(0, "old"), args.take(1, "new")) else {
                return fault("`replace` asks for what to replace and with what");
            };
            let count = match args.take(2, "count") {
                None | Some(Val::None) => None,
                Some(value) => usize::try_from(ops::int(&value, "`count`")?).ok(),
            };
            methods_str::replace(interp, &text, &from.to_text()?, &to.to_text()?, count)?
        }
        "format" => {
            if !args.positional.is_empty() && !args.named.is_empty() {
                return fault("`format` takes values by place or by name, not both");
            }
            let values =
                if args.named.is_empty() { Val::tuple(args.positional) } else { Val::dict(args.named) };
            format::percent(interp, &text, &values)?
        }
        "indent" => {
            let width = match args.take(0, "width") {
                None => Text::template("    "),
                Some(text @ Val::Str(_)) => text.to_text()?,
                Some(value) => Text::template(" ".repeat(ops::width(&value, "a width")?)),
            };
            let first = flag(args.take(1, "first"), false);
            let blank = flag(args.take(2, "blank"), false);
            indent(interp, &text, &width, first, blank)?
        }
        "truncate" => truncate(&text, args)?,
        "wordcount" => {
            let count = words(text.as_str()).count();
            return Ok(Val::Int(count as i128));
        }
        "wordwrap" => {
            let width = ops::width(&args.take(0, "width").unwrap_or(Val::Int(79)), "a width")?;
            let break_long = flag(args.take(1, "break_long_words"), true);
            let wrapper = match args.take(2, "wrapstring") {
                None | Some(Val::None) => Text::template("\n"),
                Some(value) => value.to_text()?,
            };
            let on_hyphens = flag(args.take(3, "break_on_hyphens"), true);
            wrap(interp, &text, width.max(1), break_long, &wrapper, on_hyphens)?
        }
        "striptags" => strip_tags(&text),
        "urlize" => urlize(&text, &mut args)?,
        _ => return fault(format!("no filter named `{name}`")),
    }))
}

/// Jinja2's own title case: letters after blanks, dashes and brackets.
fn title(text: &Text) -> Text {
    let mut starts = true;
    text.map_chars(|c, out| {
        if starts {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        starts = is_blank(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c == '_' || c.is_alphanumeric())).filter(|word| !word.is_empty())
}

fn indent(interp: &mut Interp<'_>, text: &Text, width: &Text, first: bool, blank: bool) -> Res<Text> {
    let mut lines = split_lines(text.as_str(), false);
    if lines.is_empty() {
        lines.push(text.as_str());
    }
    interp.charge_bytes(text.as_str().len() + lines.len() * (width.as_str().len() + 1))?;
    let mut out = TextBuilder::default();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            out.push_str("\n", text.derived("").overall());
        }
        if (index > 0 && (blank || !line.is_empty())) || (index == 0 && first) {
            out.push(width);
        }
        out.push(&text.slice_of(line));
    }
    // The original adds a line feed before splitting, so a trailing one survives.
    if text.as_str().ends_with(super::text::is_line_end) {
        out.push_str("\n", text.derived("").overall());
        if blank {
            out.push(width);
        }
    }
    Ok(out.finish())
}

fn truncate(text: &Text, mut args: CallArgs) -> Res<Text> {
    args.check("truncate", &["length", "killwords", "end", "leeway"])?;
    let length = ops::width(&args.take(0, "length").unwrap_or(Val::Int(255)), "a length")?;
    let kill_words = args.take(1, "killwords").is_some_and(|value| value.truth());
    let end = take_text(&mut args, 2, "end", "...")?;
    let leeway = match args.take(3, "leeway") {
        None | Some(Val::None) => TRUNCATE_LEEWAY,
        Some(value) => ops::width(&value, "a leeway")?,
    };
    let end_length = end.as_str().chars().count();
    if length < end_length {
        return fault(format!(
            "`truncate` to {length} characters leaves no room for the end of {end_length}"
        ));
    }
    let string = text.as_str();
    if string.chars().count() <= length + leeway {
        return Ok(text.clone());
    }
    let cut = string.char_indices().nth(length - end_length).map_or(string.len(), |(at, _)| at);
    let kept = if kill_words {
        &string[..cut]
    } else {
        string[..cut].rsplit_once(' ').map_or(&string[..cut], |p| p.0)
    };
    let mut out = TextBuilder::default();
    out.push_part(text, 0..kept.len());
    out.push(&end);
    Ok(out.finish())
}

/// `textwrap.wrap` with tabs and line ends kept apart, as Jinja2 calls it.
fn wrap(
    interp: &mut Interp<'_>,
    text: &Text,
    width: usize,
    break_long: bool,
    wrapper: &Text,
    on_hyphens: bool,
) -> Res<Text> {
    let mut out = TextBuilder::default();
    for (index, line) in split_lines(text.as_str(), false).into_iter().enumerate() {
        if index > 0 {
            out.push(wrapper);
        }
        for (row_index, row) in wrap_line(line, width, break_long, on_hyphens).into_iter().enumerate() {
            if row_index > 0 {
                out.push(wrapper);
            }
            for piece in row {
                out.push(&text.slice_of(piece));
            }
            interp.charge_bytes(out.len())?;
        }
    }
    Ok(out.finish())
}

fn chunks(line: &str, on_hyphens: bool) -> Vec<&str> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let chars: Vec<(usize, char)> = line.char_indices().collect();
    for index in 1..chars.len() {
        let (at, c) = chars[index];
        let before = chars[index - 1].1;
        let changes = is_blank(c) != is_blank(before);
        // A word is split after a hyphen between letters.
        let hyphen = on_hyphens
            && before == '-'
            && index >= 2
            && chars[index - 2].1.is_alphabetic()
            && c.is_alphabetic()
            && (index < 3 || chars[index - 3].1.is_alphanumeric());
        if changes || hyphen {
            chunks.push(&line[start..at]);
            start = at;
        }
    }
    if start < line.len() {
        chunks.push(&line[start..]);
    }
    chunks
}

fn wrap_line(line: &str, width: usize, break_long: bool, on_hyphens: bool) -> Vec<Vec<&str>> {
    let mut pieces: Vec<&str> = chunks(line, on_hyphens);
    pieces.reverse();
    let mut rows: Vec<Vec<&str>> = Vec::new();
    while !pieces.is_empty() {
        if !rows.is_empty() && pieces.last().is_some_and(|piece| super::text::strip(piece).is_empty()) {
            pieces.pop();
        }
        let mut row: Vec<&str> = Vec::new();
        let mut length = 0;
        while let Some(piece) = pieces.last() {
            let size = piece.chars().count();
            if length + size > width {
                break;
            }
            row.push(piece);
            length += size;
            pieces.pop();
        }
        if let Some(piece) = pieces.last().copied()
            && piece.chars().count() > width
        {
            if break_long {
                let room = (width - length).max(1);
                let cut = piece.char_indices().nth(room).map_or(piece.len(), |(at, _)| at);
                row.push(&piece[..cut]);
                pieces.pop();
                pieces.push(&piece[cut..]);
            } else if row.is_empty() {
                row.push(piece);
                pieces.pop();
            }
        }
        if row.last().is_some_and(|piece| super::text::strip(piece).is_empty()) {
            row.pop();
        }
        if !row.is_empty() {
            rows.push(row);
        }
    }
    rows
}

fn strip_tags(text: &Text) -> Text {
    let string = text.as_str();
    let mut kept = String::new();
    let mut rest = string;
    while let Some(open) = rest.find('<') {
        kept.push_str(&rest[..open]);
        let (end, skip) = if rest[open..].starts_with("<!--") { ("-->", 3) } else { (">", 1) };
        match rest[open..].find(end) {
            Some(close) => rest = &rest[open + close + skip..],
            None => {
                kept.push_str(&rest[open..]);
                rest = "";
            }
        }
    }
    kept.push_str(rest);
    let joined = kept.split(is_blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let plain = joined
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&#34;", "\"")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    text.derived(plain)
}

fn urlize(text: &Text, args: &mut CallArgs) -> Res<Text> {
    let limit = match args.take(0, "trim_url_limit") {
        None | Some(Val::None) => None,
        Some(value) => Some(ops::width(&value, "a limit")?),
    };
    let nofollow = args.take(1, "nofollow").is_some_and(|value| value.truth());
    let target = match args.take(2, "target") {
        None | Some(Val::None) => None,
        Some(value) => Some(value.to_text()?.as_str().to_owned()),
    };
    let rel = if nofollow { "nofollow noopener" } else { "noopener" };
    let escaped = ops::escape(text);
    let mut out = String::new();
    for part in escaped.as_str().split_inclusive(is_blank) {
        let word = part.trim_end_matches(is_blank);
        let start = word.find(|c| !matches!(c, '(' | '<')).unwrap_or(word.len());
        let middle = word[start..].trim_end_matches(['.', ',', ')', '>']);
        let end = start + middle.len();
        let is_link = middle.starts_with("http://") || middle.starts_with("https://");
        let is_bare = middle.starts_with("www.") && middle.matches('.').count() >= 2;
        let is_mail =
            middle.contains('@') && middle.rsplit('@').next().is_some_and(|host| host.contains('.'));
        if is_link || is_bare || is_mail {
            let (address, rel_text) = match (is_link, is_bare) {
                (true, _) => (middle.to_owned(), format!(" rel=\"{rel}\"")),
                (_, true) => (format!("https://{middle}"), format!(" rel=\"{rel}\"")),
                _ => (format!("mailto:{middle}"), String::new()),
            };
            let target = target.as_ref().map(|t| format!(" target=\"{t}\"")).unwrap_or_default();
            let shown: String = match limit {
                Some(limit) if middle.chars().count() > limit => {
                    middle.chars().take(limit).chain("...".chars()).collect()
                }
                _ => middle.to_owned(),
            };
            out.push_str(&word[..start]);
            out.push_str(&format!("<a href=\"{address}\"{rel_text}{target}>{shown}</a>"));
            out.push_str(&part[end..]);
        } else {
            out.push_str(part);
        }
    }
    let mut text = text.derived(out);
    text.is_markup = false;
    Ok(text)
}

/// Entries of a map, for filters that take pairs.
pub(crate) fn dict_of(value: &Val) -> Option<&Dict> {
    match value {
        Val::Dict(dict) => Some(dict),
        _ => None,
    }
}
