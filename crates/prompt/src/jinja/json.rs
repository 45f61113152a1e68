//! `tojson` and `pprint`: Python's `json.dumps` (keys sorted, ASCII only, safe inside HTML) and `pprint`.

use flowbench_core::value::python_float;

use super::eval::Interp;
use super::text::{Origin, Text, TextBuilder};
use super::value::{MAX_DEPTH, Val};
use super::{Res, fault, limit_fault, methods};

const WIDTH: usize = 80;

/// Writes a value as JSON text.
pub(crate) fn write(
    interp: &mut Interp<'_>,
    value: &Val,
    indent: Option<usize>,
    depth: u32,
    out: &mut TextBuilder,
) -> Res<()> {
    interp.charge(1)?;
    if depth > MAX_DEPTH {
        return limit_fault(format!("a value nests lists or maps more than {MAX_DEPTH} deep"));
    }
    let template = Origin::Template;
    let newline = |depth: u32, out: &mut TextBuilder| {
        if let Some(indent) = indent {
            out.push_str("\n", template);
            out.push_str(&" ".repeat(indent * depth as usize), template);
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    match value {
        Val::None => out.push_str("null", template),
        Val::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }, template),
        Val::Int(number) => out.push_str(&number.to_string(), template),
        Val::Float(number) => out.push_str(&float(*number), template),
        Val::Str(text) => write_text(text, out),
        Val::List(_) | Val::Tuple(_) | Val::Group(_) => {
            let items = value.iterate()?;
            out.push_str("[", template);
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(comma, template);
                }
                newline(depth + 1, out);
                write(interp, item, indent, depth + 1, out)?;
            }
            if !items.is_empty() {
                newline(depth, out);
            }
            out.push_str("]", template);
        }
        Val::Dict(dict) => {
            let mut pairs: Vec<(Val, Val)> = dict
                .items
                .borrow()
                .values()
                .map(|(key, value)| (key.clone(), Val::tuple(vec![key.clone(), value.clone()])))
                .collect();
            methods::sort_pairs(interp, &mut pairs, false)?;
            out.push_str("{", template);
            for (index, (key, pair)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.push_str(comma, template);
                }
                newline(depth + 1, out);
                let name = match key {
                    Val::Str(text) => text.clone(),
                    Val::None => Text::template("null"),
                    Val::Bool(flag) => Text::template(if *flag { "true" } else { "false" }),
                    Val::Int(number) => Text::template(number.to_string()),
                    Val::Float(number) => Text::template(float(*number)),
                    other => return fault(format!("`{}` cannot be a key in JSON", other.type_name())),
                };
                write_text(&name, out);
                out.push_str(": ", template);
                let Val::Tuple(pair) = pair else { continue };
                write(interp, &pair.items[1], indent, depth + 1, out)?;
            }
            if !pairs.is_empty() {
                newline(depth, out);
            }
            out.push_str("}", template);
        }
        Val::Undefined(message) => {
            return super::undefined_fault(format!("{message}, so it cannot be written as JSON"));
        }
        other => return fault(format!("`{}` cannot be written as JSON", other.type_name())),
    }
    interp.charge_bytes(0)?;
    if out.len() > super::eval::MAX_TEXT_BYTES {
        return limit_fault(format!("a text is longer than {} bytes", super::eval::MAX_TEXT_BYTES));
    }
    Ok(())
}

fn float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        python_float(number)
    }
}

fn write_text(text: &Text, out: &mut TextBuilder) {
    out.push_str("\"", Origin::Template);
    let escaped = text.map_chars(|c, out| match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '<' | '>' | '&' | '\'' => out.push_str(&format!("\\u{:04x}", c as u32)),
        c if (' '..='~').contains(&c) => out.push(c),
        c => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    });
    out.push(&escaped);
    out.push_str("\"", Origin::Template);
}

/// Writes a value as `pprint` does: on one line where it fits, else an item a line; maps sorted by key. Long
/// texts are not broken into pieces.
pub(crate) fn pretty(value: &Val, indent: usize, allowance: usize, out: &mut TextBuilder) -> Res<()> {
    let sorted = sort_maps(value, 0)?;
    pretty_sorted(&sorted, indent, allowance, out, 0)
}

fn sort_maps(value: &Val, depth: u32) -> Res<Val> {
    if depth > MAX_DEPTH {
        return limit_fault(format!("a value nests lists or maps more than {MAX_DEPTH} deep"));
    }
    Ok(match value {
        Val::Dict(dict) => {
            let mut entries: Vec<_> =
                dict.items.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            entries.sort_by(|(_, (a, _)), (_, (b, _))| {
                super::ops::order(a, b, "<").ok().flatten().unwrap_or(std::cmp::Ordering::Equal)
            });
            let sorted = super::value::Dict::default();
            for (hashed, (key, value)) in entries {
                sorted.items.borrow_mut().insert(hashed, (key, sort_maps(&value, depth + 1)?));
            }
            Val::Dict(std::rc::Rc::new(sorted))
        }
        Val::List(list) => {
            Val::list(list.items.borrow().iter().map(|item| sort_maps(item, depth + 1)).collect::<Res<_>>()?)
        }
        other => other.clone(),
    })
}

fn pretty_sorted(value: &Val, indent: usize, allowance: usize, out: &mut TextBuilder, depth: u32) -> Res<()> {
    let flat = value.repr()?;
    if flat.as_str().chars().count() <= WIDTH.saturating_sub(indent + allowance) || depth > MAX_DEPTH {
        out.push(&flat);
        return Ok(());
    }
    let template = Origin::Template;
    let blanks = format!(",\n{}", " ".repeat(indent + 1));
    match value {
        Val::List(_) | Val::Tuple(_) => {
            let (open, close) = if matches!(value, Val::List(_)) { ("[", "]") } else { ("(", ")") };
            out.push_str(open, template);
            let items = value.iterate()?;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(&blanks, template);
                }
                let room = if index + 1 == items.len() { allowance + 1 } else { 1 };
                pretty_sorted(item, indent + 1, room, out, depth + 1)?;
            }
            out.push_str(close, template);
        }
        Val::Dict(dict) => {
            out.push_str("{", template);
            let items = dict.items.borrow();
            for (index, (key, item)) in items.values().enumerate() {
                if index > 0 {
                    out.push_str(&blanks, template);
                }
                let key = key.repr()?;
                out.push(&key);
                out.push_str(": ", template);
                let room = if index + 1 == items.len() { allowance + 1 } else { 1 };
                pretty_sorted(item, indent + key.as_str().chars().count() + 3, room, out, depth + 1)?;
            }
            out.push_str("}", template);
        }
        _ => out.push(&flat),
    }
    Ok(())
}
