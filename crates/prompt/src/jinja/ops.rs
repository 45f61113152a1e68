//! Python's operators.

use std::cmp::Ordering;
use std::rc::Rc;

use super::ast::{Comparison, Operator};
use super::eval::{Interp, MAX_TEXT_BYTES};
use super::text::{Text, TextBuilder};
use super::value::{MAX_DEPTH, RangeValue, Val};
use super::{Res, fault, format, limit_fault};

/// A number as Python's arithmetic takes it.
#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

fn number(value: &Val) -> Option<Number> {
    match value {
        Val::Bool(flag) => Some(Number::Int(i128::from(*flag))),
        Val::Int(number) => Some(Number::Int(*number)),
        Val::Float(number) => Some(Number::Float(*number)),
        _ => None,
    }
}

impl Number {
    fn float(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

fn whole(result: Option<i128>) -> Res<Val> {
    match result {
        Some(number) => Ok(Val::Int(number)),
        None => limit_fault("a number became too large"),
    }
}

fn refuse<T>(symbol: &str, left: &Val, right: &Val) -> Res<T> {
    fault(format!("`{symbol}` does not work between `{}` and `{}`", left.type_name(), right.type_name()))
}

/// `left operator right`.
pub(crate) fn binary(interp: &mut Interp<'_>, operator: Operator, left: &Val, right: &Val) -> Res<Val> {
    if operator == Operator::Mod
        && let Val::Str(template) = left
    {
        return format::percent(interp, template, right).map(Val::Str);
    }
    left.defined()?;
    right.defined()?;
    if let (Some(a), Some(b)) = (number(left), number(right)) {
        return arithmetic(operator, a, b);
    }
    match operator {
        Operator::Add => add(interp, left, right),
        Operator::Mul => match (left, right) {
            (Val::Int(_) | Val::Bool(_), sequence) => repeat(interp, sequence, left, right),
            (sequence, _) => repeat(interp, sequence, right, left),
        },
        _ => refuse(symbol(operator), left, right),
    }
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Sub => "-",
        Operator::Mul => "*",
        Operator::Div => "/",
        Operator::FloorDiv => "//",
        Operator::Mod => "%",
        Operator::Pow => "**",
    }
}

fn arithmetic(operator: Operator, a: Number, b: Number) -> Res<Val> {
    let zero = match b {
        Number::Int(number) => number == 0,
        Number::Float(number) => number == 0.0,
    };
    if zero && matches!(operator, Operator::Div | Operator::FloorDiv | Operator::Mod) {
        return fault("division by zero");
    }
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        return match operator {
            Operator::Add => whole(a.checked_add(b)),
            Operator::Sub => whole(a.checked_sub(b)),
            Operator::Mul => whole(a.checked_mul(b)),
            Operator::Div => Ok(Val::Float(a as f64 / b as f64)),
            Operator::FloorDiv => {
                whole(
                    a.checked_div(b).map(|quotient| {
                        if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
                    }),
                )
            }
            Operator::Mod => whole(
                a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }),
            ),
            Operator::Pow if b >= 0 => match u32::try_from(b) {
                Ok(exponent) => whole(a.checked_pow(exponent)),
                Err(_) => match a {
                    0 | 1 => Ok(Val::Int(a)),
                    -1 => Ok(Val::Int(if b % 2 == 0 { 1 } else { -1 })),
                    _ => whole(None),
                },
            },
            Operator::Pow if a == 0 => fault("zero cannot be raised to a negative power"),
            Operator::Pow => Ok(Val::Float((a as f64).powf(b as f64))),
        };
    }
    let (a, b) = (a.float(), b.float());
    Ok(Val::Float(match operator {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::FloorDiv => (a / b).floor(),
        Operator::Mod => {
            let rest = a % b;
            match rest {
                0.0 => 0f64.copysign(b),
                rest if (rest < 0.0) != (b < 0.0) => rest + b,
                rest => rest,
            }
        }
        Operator::Pow => {
            let power = a.powf(b);
            if power.is_nan() && !a.is_nan() && !b.is_nan() {
                return fault("a negative number raised to a fraction is no real number");
            }
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return fault("a number became too large");
            }
            power
        }
    }))
}

fn add(interp: &mut Interp<'_>, left: &Val, right: &Val) -> Res<Val> {
    match (left, right) {
        (Val::Str(a), Val::Str(b)) => {
            interp.charge_bytes(a.as_str().len() + b.as_str().len())?;
            let mut out = TextBuilder::default();
            // `Markup` escapes what it is joined with.
            let is_markup = a.is_markup || b.is_markup;
            for part in [a, b] {
                out.push(&if is_markup && !part.is_markup { escape(part) } else { part.clone() });
            }
            let text = out.finish();
            Ok(Val::Str(if is_markup { text.markup() } else { text }))
        }
        (Val::List(a), Val::List(b)) => {
            let mut items = a.items.borrow().clone();
            items.extend(b.items.borrow().iter().cloned());
            interp.charge(items.len())?;
            Ok(Val::list(items))
        }
        (Val::Tuple(_) | Val::Group(_), Val::Tuple(_) | Val::Group(_)) => {
            let mut items = left.iterate()?;
            items.extend(right.iterate()?);
            interp.charge(items.len())?;
            Ok(Val::tuple(items))
        }
        _ => refuse("+", left, right),
    }
}

fn repeat(interp: &mut Interp<'_>, sequence: &Val, times: &Val, other: &Val) -> Res<Val> {
    let (Some(Number::Int(times)), false) = (number(times), number(sequence).is_some()) else {
        return refuse("*", sequence, times);
    };
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    match sequence {
        Val::Str(text) => {
            let times = if text.as_str().is_empty() { 0 } else { times };
            interp.charge_bytes(text.as_str().len().saturating_mul(times))?;
            let mut out = TextBuilder::default();
            for _ in 0..times {
                out.push(text);
            }
            Ok(Val::Str(out.finish()))
        }
        Val::List(_) | Val::Tuple(_) => {
            let items = sequence.iterate()?;
            let times = if items.is_empty() { 0 } else { times };
            interp.charge(items.len().saturating_mul(times))?;
            let mut all = Vec::with_capacity(items.len() * times);
            for _ in 0..times {
                all.extend(items.iter().cloned());
            }
            Ok(if matches!(sequence, Val::List(_)) { Val::list(all) } else { Val::tuple(all) })
        }
        _ => refuse("*", sequence, other),
    }
}

/// `-value`, or `+value`.
pub(crate) fn negate(value: &Val, negative: bool) -> Res<Val> {
    match number(value.defined()?) {
        Some(Number::Int(number)) => whole(if negative { number.checked_neg() } else { Some(number) }),
        Some(Number::Float(number)) => Ok(Val::Float(if negative { -number } else { number })),
        None => fault(format!("`{}` has no sign", value.type_name())),
    }
}

/// HTML's five characters, as `markupsafe` escapes them.
pub(crate) fn escape(text: &Text) -> Text {
    if text.is_markup {
        return text.clone();
    }
    text.map_chars(|c, out| match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '\'' => out.push_str("&#39;"),
        '"' => out.push_str("&#34;"),
        c => out.push(c),
    })
    .markup()
}

/// Python's `==`.
pub(crate) fn equal(left: &Val, right: &Val) -> Res<bool> {
    equal_at(left, right, 0)
}

fn equal_at(left: &Val, right: &Val, depth: u32) -> Res<bool> {
    if depth > MAX_DEPTH {
        return limit_fault(format!("a value nests lists or maps more than {MAX_DEPTH} deep"));
    }
    if let (Some(a), Some(b)) = (number(left), number(right)) {
        return Ok(match (a, b) {
            (Number::Int(a), Number::Int(b)) => a == b,
            (a, b) => a.float() == b.float(),
        });
    }
    Ok(match (left, right) {
        (Val::Undefined(_), Val::Undefined(_)) | (Val::None, Val::None) => true,
        (Val::Str(a), Val::Str(b)) => a.as_str() == b.as_str(),
        (Val::Bytes(a), Val::Bytes(b)) => a == b,
        (Val::List(a), Val::List(b)) => {
            Rc::ptr_eq(a, b) || all_equal(&a.items.borrow(), &b.items.borrow(), depth)?
        }
        (Val::Tuple(_) | Val::Group(_), Val::Tuple(_) | Val::Group(_)) => {
            all_equal(&left.iterate()?, &right.iterate()?, depth)?
        }
        (Val::Dict(a), Val::Dict(b)) => {
            if Rc::ptr_eq(a, b) {
                return Ok(true);
            }
            let (a, b) = (a.items.borrow(), b.items.borrow());
            if a.len() != b.len() {
                return Ok(false);
            }
            for (key, (_, value)) in a.iter() {
                match b.get(key) {
                    Some((_, other)) if equal_at(value, other, depth + 1)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Val::Range(_), Val::Range(_)) => all_equal(&left.iterate()?, &right.iterate()?, depth)?,
        (Val::Object(a), Val::Object(b)) => Rc::ptr_eq(a, b),
        (Val::Stream(a), Val::Stream(b)) => Rc::ptr_eq(a, b),
        _ => false,
    })
}

fn all_equal(a: &[Val], b: &[Val], depth: u32) -> Res<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        if !equal_at(a, b, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Python's order; `None` for a float that is no number.
pub(crate) fn order(left: &Val, right: &Val, symbol: &str) -> Res<Option<Ordering>> {
    order_at(left, right, symbol, 0)
}

fn order_at(left: &Val, right: &Val, symbol: &str, depth: u32) -> Res<Option<Ordering>> {
    if depth > MAX_DEPTH {
        return limit_fault(format!("a value nests lists or maps more than {MAX_DEPTH} deep"));
    }
    left.defined()?;
    right.defined()?;
    if let (Some(a), Some(b)) = (number(left), number(right)) {
        return Ok(match (a, b) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        });
    }
    match (left, right) {
        (Val::Str(a), Val::Str(b)) => Ok(Some(a.as_str().cmp(b.as_str()))),
        (Val::List(_), Val::List(_)) | (Val::Tuple(_) | Val::Group(_), Val::Tuple(_) | Val::Group(_)) => {
            let (a, b) = (left.iterate()?, right.iterate()?);
            for (a, b) in a.iter().zip(&b) {
                if !equal_at(a, b, depth + 1)? {
                    return order_at(a, b, symbol, depth + 1);
                }
            }
            Ok(Some(a.len().cmp(&b.len())))
        }
        _ => refuse(symbol, left, right),
    }
}

/// `item in container`.
pub(crate) fn contains(interp: &mut Interp<'_>, container: &Val, item: &Val) -> Res<bool> {
    match container {
        Val::Str(text) => match item {
            Val::Str(part) => Ok(text.as_str().contains(part.as_str())),
            other => {
                other.defined()?;
                fault(format!("`in` a text asks for a text, not `{}`", other.type_name()))
            }
        },
        Val::Dict(dict) => Ok(dict.items.borrow().contains_key(&item.key()?)),
        Val::View(super::value::ViewKind::Keys, dict) => Ok(dict.items.borrow().contains_key(&item.key()?)),
        Val::None | Val::Bool(_) | Val::Int(_) | Val::Float(_) => {
            fault(format!("`in` does not work on `{}`", container.type_name()))
        }
        other => {
            let items = other.iterate()?;
            interp.charge(items.len())?;
            for candidate in &items {
                if equal(candidate, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// One comparison.
pub(crate) fn compare(interp: &mut Interp<'_>, comparison: Comparison, left: &Val, right: &Val) -> Res<bool> {
    Ok(match comparison {
        Comparison::Equal => equal(left, right)?,
        Comparison::NotEqual => !equal(left, right)?,
        Comparison::Less => order(left, right, "<")? == Some(Ordering::Less),
        Comparison::Greater => order(left, right, ">")? == Some(Ordering::Greater),
        Comparison::LessOrEqual => {
            matches!(order(left, right, "<=")?, Some(Ordering::Less | Ordering::Equal))
        }
        Comparison::GreaterOrEqual => {
            matches!(order(left, right, ">=")?, Some(Ordering::Greater | Ordering::Equal))
        }
        Comparison::In => contains(interp, right, left)?,
        Comparison::NotIn => !contains(interp, right, left)?,
    })
}

/// Joins the text forms of values.
pub(crate) fn concat(interp: &mut Interp<'_>, items: &[Val]) -> Res<Val> {
    let mut out = TextBuilder::default();
    for item in items {
        let text = item.to_text()?;
        interp.charge_bytes(text.as_str().len())?;
        out.push(&text);
    }
    Ok(Val::Str(out.finish()))
}

fn index_of(value: &Val) -> Option<i128> {
    match number(value)? {
        Number::Int(number) => Some(number),
        Number::Float(_) => None,
    }
}

/// `base[key]`, without attributes; `None` where there is no such item.
pub(crate) fn item(base: &Val, key: &Val) -> Res<Option<Val>> {
    let at = |length: usize| -> Option<usize> {
        let index = index_of(key)?;
        let index = if index < 0 { index + length as i128 } else { index };
        usize::try_from(index).ok().filter(|index| *index < length)
    };
    Ok(match base {
        Val::Undefined(_) => {
            base.defined()?;
            None
        }
        Val::Dict(dict) => match key.key() {
            Ok(key) => dict.items.borrow().get(&key).map(|(_, value)| value.clone()),
            Err(_) => None,
        },
        Val::List(list) => {
            let items = list.items.borrow();
            at(items.len()).map(|index| items[index].clone())
        }
        Val::Tuple(tuple) => at(tuple.items.len()).map(|index| tuple.items[index].clone()),
        Val::Group(pair) => at(2).map(|index| if index == 0 { pair.0.clone() } else { pair.1.clone() }),
        Val::Range(range) => at(range.len()).map(|index| range.get(index)),
        Val::Str(text) => {
            let length = text.as_str().chars().count();
            at(length).and_then(|index| {
                let (start, c) = text.as_str().char_indices().nth(index)?;
                Some(Val::Str(text.slice(start..start + c.len_utf8())))
            })
        }
        Val::Bytes(bytes) => at(bytes.len()).map(|index| Val::Int(i128::from(bytes[index]))),
        _ => None,
    })
}

/// `base[start:stop:step]`.
pub(crate) fn slice(interp: &mut Interp<'_>, base: &Val, bounds: [Val; 3]) -> Res<Val> {
    base.defined()?;
    let bound = |value: &Val| -> Res<Option<i128>> {
        match value {
            Val::None => Ok(None),
            other => match index_of(other) {
                Some(index) => Ok(Some(index)),
                None => fault(format!("a slice asks for whole numbers, not `{}`", other.type_name())),
            },
        }
    };
    let step = bound(&bounds[2])?.unwrap_or(1);
    if step == 0 {
        return fault("the step of a slice cannot be zero");
    }
    let Some(length) = base.len().filter(|_| !matches!(base, Val::Dict(_) | Val::View(..) | Val::Object(_)))
    else {
        return fault(format!("`{}` cannot be sliced", base.type_name()));
    };
    interp.charge(length / 8)?;
    let length = length as i128;
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |value: Option<i128>, default: i128| match value {
        None => default,
        Some(value) => (if value < 0 { value + length } else { value }).clamp(low, high),
    };
    let start = clamp(bound(&bounds[0])?, if step > 0 { 0 } else { length - 1 });
    let stop = clamp(bound(&bounds[1])?, if step > 0 { length } else { -1 });
    let mut picked = Vec::new();
    let mut at = start;
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        picked.push(at as usize);
        at = at.saturating_add(step);
    }
    if let Val::Range(range) = base {
        let at = |index: i128| range.start + range.step * index;
        let sliced = RangeValue { start: at(start), stop: at(stop), step: range.step * step };
        return Ok(Val::Range(Rc::new(sliced)));
    }
    if let Val::Str(text) = base {
        let offsets: Vec<(usize, char)> = text.as_str().char_indices().collect();
        if step == 1 {
            let (Some(first), Some(last)) = (picked.first(), picked.last()) else {
                return Ok(Val::template_str(""));
            };
            let end = offsets[*last].0 + offsets[*last].1.len_utf8();
            return Ok(Val::Str(text.slice(offsets[*first].0..end)));
        }
        let mut out = TextBuilder::default();
        for index in picked {
            let (start, c) = offsets[index];
            out.push_part(text, start..start + c.len_utf8());
        }
        return Ok(Val::Str(out.finish()));
    }
    let items = base.iterate()?;
    let picked = picked.into_iter().map(|index| items[index].clone()).collect();
    Ok(if matches!(base, Val::Tuple(_) | Val::Group(_)) { Val::tuple(picked) } else { Val::list(picked) })
}

/// A whole number argument.
pub(crate) fn int(value: &Val, what: &str) -> Res<i128> {
    value.defined()?;
    match index_of(value) {
        Some(number) => Ok(number),
        None => fault(format!("{what} must be a whole number, not `{}`", value.type_name())),
    }
}

/// A length argument: negative is zero, absurd is refused.
pub(crate) fn width(value: &Val, what: &str) -> Res<usize> {
    let number = int(value, what)?.max(0);
    match usize::try_from(number) {
        Ok(width) if width <= MAX_TEXT_BYTES => Ok(width),
        _ => limit_fault(format!("{what} of {number} is too large")),
    }
}

/// A floating-point argument.
pub(crate) fn float(value: &Val) -> Option<f64> {
    number(value).map(Number::float)
}

/// One whole number, if it is one (truth values are).
pub(crate) fn as_int(value: &Val) -> Option<i128> {
    index_of(value)
}
