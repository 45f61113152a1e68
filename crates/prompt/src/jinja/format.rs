//! Python's two ways of formatting text: `'%s' % values` and `'{}'.format(values)`.

use flowbench_core::value::python_float;

use super::eval::{CallArgs, Interp, MAX_TEXT_BYTES};
use super::text::{Origin, Text, TextBuilder};
use super::value::Val;
use super::{Res, fault, limit_fault, methods, ops};

/// How one value is to look.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn size(digits: &str) -> Res<usize> {
    match digits.parse::<usize>() {
        Ok(size) if size <= MAX_TEXT_BYTES => Ok(size),
        _ => limit_fault(format!("a width of {digits} is too large")),
    }
}

fn pad(body: Text, spec: &Spec, default_align: char, out: &mut TextBuilder) {
    let missing = spec.width.saturating_sub(body.as_str().chars().count());
    let align = spec.align.unwrap_or(default_align);
    let (before, after) = match align {
        '<' => (0, missing),
        '^' => (missing / 2, missing - missing / 2),
        _ => (missing, 0),
    };
    let fill = spec.fill.unwrap_or(' ').to_string();
    // Zeros and `=` go between the sign and the digits.
    if align == '=' {
        let sign = usize::from(body.as_str().starts_with(['+', '-', ' ']));
        out.push_part(&body, 0..sign);
        out.push_str(&fill.repeat(missing), Origin::Template);
        out.push_part(&body, sign..body.as_str().len());
        return;
    }
    out.push_str(&fill.repeat(before), Origin::Template);
    out.push(&body);
    out.push_str(&fill.repeat(after), Origin::Template);
}

fn signed(negative: bool, digits: String, sign: Option<char>) -> String {
    match (negative, sign) {
        (true, _) => format!("-{digits}"),
        (false, Some('+')) => format!("+{digits}"),
        (false, Some(' ')) => format!(" {digits}"),
        _ => digits,
    }
}

fn grouped(digits: &str, separator: char, every: usize) -> String {
    let (whole, rest) = digits.split_at(digits.find(['.', 'e']).unwrap_or(digits.len()));
    let mut out = String::new();
    for (index, c) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % every == 0 {
            out.push(separator);
        }
        out.push(c);
    }
    out + rest
}

fn exponent(number: f64, precision: usize, upper: bool) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match power.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', power),
    };
    let text = format!("{mantissa}e{sign}{digits:0>2}");
    if upper { text.to_uppercase() } else { text }
}

fn general(number: f64, precision: usize, alternate: bool, upper: bool) -> String {
    let precision = precision.max(1);
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = exponent(number, precision - 1, false);
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let text = if power < -4 || power >= precision as i32 {
        let (mantissa, tail) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
        let mantissa = if alternate { mantissa } else { trim_zeros(mantissa) };
        format!("{mantissa}e{tail}")
    } else {
        let text = format!("{number:.*}", (precision as i32 - 1 - power).max(0) as usize);
        if alternate { text } else { trim_zeros(&text).to_owned() }
    };
    if upper { text.to_uppercase() } else { text }
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn float_digits(number: f64, kind: char, precision: Option<usize>, alternate: bool) -> String {
    let upper = kind.is_uppercase();
    if !number.is_finite() {
        let text = if number.is_nan() { "nan" } else { "inf" };
        return if upper { text.to_uppercase() } else { text.to_owned() };
    }
    let precision = precision.unwrap_or(6).min(1000);
    match kind.to_ascii_lowercase() {
        'e' => exponent(number, precision, upper),
        'g' | 'n' => general(number, precision, alternate, upper),
        _ => format!("{number:.precision$}"),
    }
}

fn radix_digits(number: u128, kind: char, alternate: bool) -> String {
    match (kind, alternate) {
        ('x', false) => format!("{number:x}"),
        ('x', true) => format!("{number:#x}"),
        ('X', false) => format!("{number:X}"),
        ('X', true) => format!("0X{number:X}"),
        ('o', false) => format!("{number:o}"),
        ('o', true) => format!("{number:#o}"),
        ('b', false) => format!("{number:b}"),
        ('b', true) => format!("{number:#b}"),
        _ => number.to_string(),
    }
}

/// `template % values`.
pub(crate) fn percent(interp: &mut Interp<'_>, template: &Text, values: &Val) -> Res<Text> {
    let positional = match values {
        Val::Tuple(tuple) => tuple.items.clone(),
        other => vec![other.clone()],
    };
    let mut used = 0;
    let string = template.as_str();
    let mut out = TextBuilder::default();
    let mut at = 0;
    while let Some(found) = string[at..].find('%') {
        interp.charge(1)?;
        out.push_part(template, at..at + found);
        at += found + 1;
        let mut chars = string[at..].char_indices().peekable();
        let mut spec = Spec::default();
        let mut name = None;
        if chars.next_if(|(_, c)| *c == '(').is_some() {
            let Some(close) = string[at..].find(')') else {
                return fault("`%(` is not closed");
            };
            name = Some(&string[at + 1..at + close]);
            chars = string[at..].char_indices().peekable();
            while chars.next_if(|(index, _)| *index <= close).is_some() {}
        }
        while let Some((_, c)) = chars.next_if(|(_, c)| "-+ 0#".contains(*c)) {
            match c {
                '-' => spec.align = Some('<'),
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                c => spec.sign = if spec.sign == Some('+') { Some('+') } else { Some(c) },
            }
        }
        let next_value = |used: &mut usize| -> Res<Val> {
            *used += 1;
            match positional.get(*used - 1) {
                Some(value) => Ok(value.clone()),
                None => fault("not enough values for the format"),
            }
        };
        if chars.next_if(|(_, c)| *c == '*').is_some() {
            spec.width = ops::width(&next_value(&mut used)?, "a width")?;
        } else {
            let digits: String =
                std::iter::from_fn(|| chars.next_if(|(_, c)| c.is_ascii_digit()).map(|(_, c)| c)).collect();
            if !digits.is_empty() {
                spec.width = size(&digits)?;
            }
        }
        if chars.next_if(|(_, c)| *c == '.').is_some() {
            if chars.next_if(|(_, c)| *c == '*').is_some() {
                spec.precision = Some(ops::width(&next_value(&mut used)?, "a precision")?);
            } else {
                let digits: String =
                    std::iter::from_fn(|| chars.next_if(|(_, c)| c.is_ascii_digit()).map(|(_, c)| c))
                        .collect();
                spec.precision = Some(if digits.is_empty() { 0 } else { size(&digits)? });
            }
        }
        while chars.next_if(|(_, c)| "hlL".contains(*c)).is_some() {}
        let Some((index, kind)) = chars.next() else {
            return fault("the format ends after `%`");
        };
        at += index + kind.len_utf8();
        if kind == '%' {
            out.push_str("%", Origin::Template);
            continue;
        }
        let value = match name {
            Some(name) => {
                used = positional.len();
                match values {
                    Val::Dict(dict) => match dict.get_str(name) {
                        Some(value) => value,
                        None => return fault(format!("there is no value `{name}` for the format")),
                    },
                    _ => return fault(format!("`%({name})` asks for a map")),
                }
            }
            None => next_value(&mut used)?,
        };
        percent_one(&value, kind, &mut spec, &mut out)?;
        interp.charge_bytes(out.len())?;
    }
    out.push_part(template, at..string.len());
    if used < positional.len() && !matches!(values, Val::Dict(_) | Val::List(_) | Val::Undefined(_)) {
        return fault("not all values were used by the format");
    }
    Ok(out.finish())
}

fn percent_one(value: &Val, kind: char, spec: &mut Spec, out: &mut TextBuilder) -> Res<()> {
    let default_align = if spec.align.is_none() { '>' } else { '<' };
    match kind {
        's' | 'r' | 'a' => {
            let text = if kind == 's' { value.to_text()? } else { value.repr()? };
            let text = match spec.precision {
                Some(limit) => {
                    let end =
                        text.as_str().char_indices().nth(limit).map_or(text.as_str().len(), |(at, _)| at);
                    text.slice(0..end)
                }
                None => text,
            };
            pad(text, spec, default_align, out);
        }
        'c' => {
            let text = match value {
                Val::Str(text) if text.as_str().chars().count() == 1 => text.clone(),
                other => {
                    let code = ops::int(other, "a character code")?;
                    match u32::try_from(code).ok().and_then(char::from_u32) {
                        // A value's number chose the character, so it counts as the value's.
                        Some(c) => Text::new(c.to_string(), Origin::Value),
                        None => return fault(format!("{code} is no character")),
                    }
                }
            };
            pad(text, spec, default_align, out);
        }
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            value.defined()?;
            let number = match value {
                Val::Float(number) if matches!(kind, 'd' | 'i' | 'u') && number.is_finite() => {
                    *number as i128
                }
                other => match ops::as_int(other) {
                    Some(number) => number,
                    None => {
                        return fault(format!("`%{kind}` asks for a number, not `{}`", other.type_name()));
                    }
                },
            };
            let mut digits = radix_digits(number.unsigned_abs(), kind, spec.alternate);
            if let Some(precision) = spec.precision {
                digits = format!("{digits:0>precision$}");
            }
            let body = signed(number < 0, digits, spec.sign);
            zero_align(spec);
            pad(Text::template(body), spec, default_align, out);
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let Some(number) = ops::float(value.defined()?) else {
                return fault(format!("`%{kind}` asks for a number, not `{}`", value.type_name()));
            };
            let digits = float_digits(number.abs(), kind, spec.precision, spec.alternate);
            let body = signed(number.is_sign_negative(), digits, spec.sign);
            zero_align(spec);
            pad(Text::template(body), spec, default_align, out);
        }
        other => return fault(format!("`%{other}` is no format")),
    }
    Ok(())
}

fn zero_align(spec: &mut Spec) {
    if spec.zero && spec.align.is_none() {
        spec.fill = Some('0');
        spec.align = Some('=');
    }
}

/// `template.format(...)`.
pub(crate) fn braces(interp: &mut Interp<'_>, template: &Text, args: CallArgs) -> Res<Text> {
    let mut automatic = 0;
    braces_at(interp, template, &args, &mut automatic, 0)
}

fn braces_at(
    interp: &mut Interp<'_>,
    template: &Text,
    args: &CallArgs,
    automatic: &mut usize,
    depth: u32,
) -> Res<Text> {
    if depth > 2 {
        return fault("formats are nested too deeply");
    }
    let string = template.as_str();
    let mut out = TextBuilder::default();
    let mut at = 0;
    while let Some(found) = string[at..].find(['{', '}']) {
        interp.charge(1)?;
        out.push_part(template, at..at + found);
        at += found;
        let brace = &string[at..at + 1];
        if string[at + 1..].starts_with(brace) {
            out.push_part(template, at..at + 1);
            at += 2;
            continue;
        }
        if brace == "}" {
            return fault("a single `}` in the format");
        }
        let mut level = 0;
        let Some(length) = string[at..].char_indices().find_map(|(index, c)| {
            match c {
                '{' => level += 1,
                '}' => level -= 1,
                _ => {}
            }
            (level == 0).then_some(index)
        }) else {
            return fault("a `{` in the format is not closed");
        };
        let field = &string[at + 1..at + length];
        at += length + 1;
        let (head, spec) = match field.find(':') {
            Some(colon) => (&field[..colon], &field[colon + 1..]),
            None => (field, ""),
        };
        let (head, conversion) = match head.split_once('!') {
            Some((head, conversion)) => (head, Some(conversion)),
            None => (head, None),
        };
        let mut value = look_up(head, args, automatic)?;
        value = match conversion {
            None => value,
            Some("s") => Val::Str(value.to_text()?),
            Some("r" | "a") => Val::Str(value.repr()?),
            Some(other) => return fault(format!("`!{other}` is no conversion")),
        };
        let spec = if spec.contains('{') {
            braces_at(interp, &template.slice_of(spec), args, automatic, depth + 1)?.as_str().to_owned()
        } else {
            spec.to_owned()
        };
        format_value(&value, &spec, &mut out)?;
        interp.charge_bytes(out.len())?;
    }
    out.push_part(template, at..string.len());
    Ok(out.finish())
}

fn look_up(path: &str, args: &CallArgs, automatic: &mut usize) -> Res<Val> {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (first, mut rest) = path.split_at(end);
    let found = if first.is_empty() {
        *automatic += 1;
        args.positional.get(*automatic - 1)
    } else if let Ok(index) = first.parse::<usize>() {
        args.positional.get(index)
    } else {
        args.named.iter().find(|(name, _)| &**name == first).map(|(_, value)| value)
    };
    let Some(mut value) = found.cloned() else {
        return fault(format!("there is no value `{first}` for the format"));
    };
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            value = methods::attribute(&value, &tail[..end])?;
            rest = &tail[end..];
        } else {
            let Some(close) = rest.find(']') else {
                return fault("a `[` in the format is not closed");
            };
            let key = &rest[1..close];
            let key = key.parse::<i128>().map_or_else(|_| Val::template_str(key), Val::Int);
            value = match (ops::item(&value, &key)?, &key) {
                (Some(value), _) => value,
                (None, Val::Str(name)) => methods::attribute(&value, name.as_str())?,
                (None, _) => Val::undefined(format!("there is no element `{}`", key.repr()?.as_str())),
            };
            rest = &rest[close + 1..];
        }
    }
    Ok(value)
}

fn parse_spec(text: &str) -> Res<Spec> {
    let mut spec = Spec::default();
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    if chars.len() >= 2 && "<>=^".contains(chars[1]) {
        spec.fill = Some(chars[0]);
        spec.align = Some(chars[1]);
        at = 2;
    } else if chars.first().is_some_and(|c| "<>=^".contains(*c)) {
        spec.align = Some(chars[0]);
        at = 1;
    }
    let take = |wanted: &str, at: &mut usize| -> Option<char> {
        let c = chars.get(*at).copied().filter(|c| wanted.contains(*c))?;
        *at += 1;
        Some(c)
    };
    spec.sign = take("+- ", &mut at);
    let _ = take("z", &mut at);
    spec.alternate = take("#", &mut at).is_some();
    spec.zero = take("0", &mut at).is_some();
    let mut digits = String::new();
    while let Some(c) = take("0123456789", &mut at) {
        digits.push(c);
    }
    if !digits.is_empty() {
        spec.width = size(&digits)?;
    }
    spec.group = take(",_", &mut at);
    if take(".", &mut at).is_some() {
        digits.clear();
        while let Some(c) = take("0123456789", &mut at) {
            digits.push(c);
        }
        spec.precision = Some(size(if digits.is_empty() { "?" } else { &digits })?);
    }
    spec.kind = take("bcdeEfFgGnosxX%", &mut at);
    if at < chars.len() {
        return fault(format!("`{text}` is no format"));
    }
    Ok(spec)
}

fn format_value(value: &Val, text: &str, out: &mut TextBuilder) -> Res<()> {
    let mut spec = parse_spec(text)?;
    let number = match value {
        Val::Int(_) | Val::Float(_) => true,
        Val::Bool(_) => !text.is_empty(),
        _ => false,
    };
    if !number {
        if spec.kind.is_some_and(|kind| kind != 's') || spec.group.is_some() || spec.sign.is_some() {
            return fault(format!("`{text}` does not format `{}`", value.type_name()));
        }
        if !matches!(value, Val::Str(_)) && !text.is_empty() {
            return fault(format!("`{text}` does not format `{}`", value.type_name()));
        }
        let body = value.to_text()?;
        let body = match spec.precision {
            Some(limit) => {
                let end = body.as_str().char_indices().nth(limit).map_or(body.as_str().len(), |(at, _)| at);
                body.slice(0..end)
            }
            None => body,
        };
        if spec.zero && spec.fill.is_none() {
            spec.fill = Some('0');
        }
        pad(body, &spec, '<', out);
        return Ok(());
    }
    zero_align(&mut spec);
    let kind = spec.kind;
    let takes_whole = matches!(kind, Some('d' | 'b' | 'o' | 'x' | 'X' | 'c'));
    if takes_whole && (matches!(value, Val::Float(_)) || spec.precision.is_some())
        || kind.is_none() && spec.precision.is_some() && !matches!(value, Val::Float(_))
    {
        return fault(format!("`{text}` does not format `{}`", value.type_name()));
    }
    let (negative, mut digits) = match (value, kind) {
        (Val::Int(_) | Val::Bool(_), None | Some('d' | 'b' | 'o' | 'x' | 'X' | 'n' | 'c')) => {
            let number = ops::as_int(value).unwrap_or(0);
            if kind == Some('c') {
                let Some(c) = u32::try_from(number).ok().and_then(char::from_u32) else {
                    return fault(format!("{number} is no character"));
                };
                pad(Text::new(c.to_string(), Origin::Value), &spec, '<', out);
                return Ok(());
            }
            (number < 0, radix_digits(number.unsigned_abs(), kind.unwrap_or('d'), spec.alternate))
        }
        _ => {
            let number = ops::float(value).unwrap_or(0.0);
            let digits = match (kind, spec.precision) {
                (Some('s'), _) => return fault(format!("`{text}` does not format `{}`", value.type_name())),
                (None, None) => python_float(number.abs()),
                (None, Some(precision)) => {
                    let text = general(number.abs(), precision, false, false);
                    if text.contains(['.', 'e', 'n']) { text } else { format!("{text}.0") }
                }
                (Some('%'), precision) => {
                    format!("{}%", float_digits(number.abs() * 100.0, 'f', precision, false))
                }
                (Some(kind), precision) => float_digits(number.abs(), kind, precision, spec.alternate),
            };
            (number.is_sign_negative(), digits)
        }
    };
    if let Some(separator) = spec.group {
        let every = if matches!(kind, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
        digits = grouped(&digits, separator, every);
    }
    pad(Text::template(signed(negative, digits, spec.sign)), &spec, '>', out);
    Ok(())
}
