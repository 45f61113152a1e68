//! Attributes and methods of values: Python's, as far as a sandbox lets templates reach them.

use std::cmp::Ordering;

use super::eval::{CallArgs, Interp};
use super::text::{Origin, Text};
use super::value::{Key, Object, Val, ViewKind};
use super::{Res, fault, methods_str, ops, undefined_fault};

const LIST: &[&str] =
    &["append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"];
const TUPLE: &[&str] = &["count", "index"];
const DICT: &[&str] = &[
    "clear",
    "copy",
    "fromkeys",
    "get",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];
const INT: &[&str] = &["bit_count", "bit_length", "conjugate", "is_integer"];
const FLOAT: &[&str] = &["conjugate", "hex", "is_integer"];

fn methods_of(value: &Val) -> &'static [&'static str] {
    match value {
        Val::Str(_) => methods_str::NAMES,
        Val::Bytes(_) => &["decode", "hex"],
        Val::List(_) => LIST,
        Val::Tuple(_) | Val::Group(_) | Val::Range(_) => TUPLE,
        Val::Dict(_) => DICT,
        Val::Bool(_) | Val::Int(_) => INT,
        Val::Float(_) => FLOAT,
        Val::Object(object) => match &**object {
            Object::Loop(_) => &["cycle", "changed"],
            Object::Cycler { .. } => &["next", "reset"],
            _ => &[],
        },
        _ => &[],
    }
}

/// How messages call a value without a better name.
pub(crate) fn a_type(value: &Val) -> String {
    match value {
        Val::None => "`None`".to_owned(),
        other => format!("`{} object`", other.type_name()),
    }
}

/// True where calling `value.name(...)` surely means the method.
pub(crate) fn shadows_nothing(value: &Val, name: &str) -> bool {
    methods_of(value).contains(&name)
}

/// `value.name`: the attribute, else the item, else undefined.
pub(crate) fn attribute(value: &Val, name: &str) -> Res<Val> {
    value.defined()?;
    if methods_of(value).contains(&name) {
        return Ok(Val::object(Object::Method(value.clone(), name.into())));
    }
    let found = match value {
        Val::Dict(dict) => dict.get_str(name),
        Val::Group(pair) => match name {
            "grouper" => Some(pair.0.clone()),
            "list" => Some(pair.1.clone()),
            _ => None,
        },
        Val::Bool(_) | Val::Int(_) => match name {
            "real" | "numerator" => Some(value.clone()),
            "imag" => Some(Val::Int(0)),
            "denominator" => Some(Val::Int(1)),
            _ => None,
        },
        Val::Float(_) if name == "real" => Some(value.clone()),
        Val::Range(range) => match name {
            "start" => Some(Val::Int(range.start)),
            "stop" => Some(Val::Int(range.stop)),
            "step" => Some(Val::Int(range.step)),
            _ => None,
        },
        Val::Namespace(fields) => {
            fields.borrow().iter().find(|(known, _)| &**known == name).map(|(_, value)| value.clone())
        }
        Val::Object(object) => object_attribute(object, name),
        _ => None,
    };
    Ok(match found {
        Some(value) => value,
        None if name.starts_with('_') => {
            Val::undefined(format!("access to attribute `{name}` of {} is not allowed", a_type(value)))
        }
        None => Val::undefined(format!("{} has no attribute `{name}`", a_type(value))),
    })
}

fn object_attribute(object: &Object, name: &str) -> Option<Val> {
    let number = |number: usize| Some(Val::Int(number as i128));
    match object {
        Object::Loop(state) => {
            let (index, length) = (state.index.get(), state.items.len());
            match name {
                "index" => number(index + 1),
                "index0" => number(index),
                "revindex" => number(length - index),
                "revindex0" => number(length - index - 1),
                "first" => Some(Val::Bool(index == 0)),
                "last" => Some(Val::Bool(index + 1 == length)),
                "length" => number(length),
                "depth" => number(state.depth + 1),
                "depth0" => number(state.depth),
                "previtem" => Some(match index.checked_sub(1) {
                    Some(previous) => state.items[previous].clone(),
                    None => Val::undefined("there is no previous item"),
                }),
                "nextitem" => Some(match state.items.get(index + 1) {
                    Some(next) => next.clone(),
                    None => Val::undefined("there is no next item"),
                }),
                _ => None,
            }
        }
        Object::Cycler { items, at } => match name {
            "current" => Some(items[at.get()].clone()),
            "items" => Some(Val::tuple(items.clone())),
            _ => None,
        },
        Object::Macro(value) => match name {
            "name" => Some(Val::template_str(&value.node.name)),
            "arguments" => {
                Some(Val::tuple(value.node.parameters.iter().map(|name| Val::template_str(name)).collect()))
            }
            "catch_kwargs" => Some(Val::Bool(value.node.takes_kwargs)),
            "catch_varargs" => Some(Val::Bool(value.node.takes_varargs)),
            "caller" => Some(Val::Bool(value.node.takes_caller)),
            _ => None,
        },
        _ => None,
    }
}

/// `value.name(args)`.
pub(crate) fn call(interp: &mut Interp<'_>, value: &Val, name: &str, args: CallArgs) -> Res<Val> {
    match value {
        Val::Str(text) => methods_str::call(interp, text, name, args),
        Val::List(_) => list(interp, value, name, args),
        Val::Tuple(_) | Val::Group(_) | Val::Range(_) => sequence(interp, value, name, args),
        Val::Dict(_) => dict(interp, value, name, args),
        Val::Bool(_) | Val::Int(_) | Val::Float(_) => numeric(value, name),
        Val::Bytes(bytes) => match name {
            "hex" => {
                Ok(Val::template_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
            }
            _ => Ok(Val::Str(Text::new(String::from_utf8_lossy(bytes).into_owned(), Origin::Value))),
        },
        Val::Object(object) => match (&**object, name) {
            (Object::Loop(state), "cycle") => {
                if args.positional.is_empty() {
                    return fault("`loop.cycle` asks for values to cycle through");
                }
                Ok(args.positional[state.index.get() % args.positional.len()].clone())
            }
            (Object::Loop(state), _) => {
                let mut last = state.last_changed.borrow_mut();
                let same = match &*last {
                    Some(before) if before.len() == args.positional.len() => {
                        let mut same = true;
                        for (a, b) in before.iter().zip(&args.positional) {
                            same &= ops::equal(a, b)?;
                        }
                        same
                    }
                    _ => false,
                };
                if !same {
                    *last = Some(args.positional);
                }
                Ok(Val::Bool(!same))
            }
            (Object::Cycler { items, at }, "next") => {
                let current = items[at.get()].clone();
                at.set((at.get() + 1) % items.len());
                Ok(current)
            }
            (Object::Cycler { at, .. }, _) => {
                at.set(0);
                Ok(Val::None)
            }
            _ => no_method(value, name),
        },
        other => no_method(other, name),
    }
}

fn no_method<T>(value: &Val, name: &str) -> Res<T> {
    undefined_fault(format!("{} has no attribute `{name}`", a_type(value)))
}

fn need(args: &mut CallArgs, index: usize, name: &str, what: &str) -> Res<Val> {
    match args.take(index, name) {
        Some(value) => Ok(value),
        None => fault(format!("`{what}` is missing an argument")),
    }
}

fn numeric(value: &Val, name: &str) -> Res<Val> {
    Ok(match (value, name) {
        (_, "conjugate") => value.clone(),
        (Val::Float(number), "is_integer") => Val::Bool(number.fract() == 0.0 && number.is_finite()),
        (_, "is_integer") => Val::Bool(true),
        (_, "bit_length") => {
            let number = ops::as_int(value).unwrap_or(0).unsigned_abs();
            Val::Int(i128::from(128 - number.leading_zeros()))
        }
        (_, "bit_count") => Val::Int(i128::from(ops::as_int(value).unwrap_or(0).unsigned_abs().count_ones())),
        _ => return no_method(value, name),
    })
}

fn position(items: &[Val], wanted: &Val) -> Res<Option<usize>> {
    for (index, item) in items.iter().enumerate() {
        if ops::equal(item, wanted)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

fn sequence(interp: &mut Interp<'_>, value: &Val, name: &str, mut args: CallArgs) -> Res<Val> {
    let items = value.iterate()?;
    interp.charge(items.len())?;
    let wanted = need(&mut args, 0, "value", name)?;
    match name {
        "count" => {
            let mut count = 0;
            for item in &items {
                count += i128::from(ops::equal(item, &wanted)?);
            }
            Ok(Val::Int(count))
        }
        _ => match position(&items, &wanted)? {
            Some(index) => Ok(Val::Int(index as i128)),
            None => fault(format!("`{}` is not in the {}", wanted.repr()?.as_str(), value.type_name())),
        },
    }
}

fn list(interp: &mut Interp<'_>, value: &Val, name: &str, mut args: CallArgs) -> Res<Val> {
    let Val::List(cell) = value else {
        return no_method(value, name);
    };
    interp.charge(1)?;
    let at = |index: i128, length: usize| -> Option<usize> {
        let index = if index < 0 { index + length as i128 } else { index };
        usize::try_from(index).ok().filter(|index| *index < length)
    };
    match name {
        "append" => {
            let item = need(&mut args, 0, "object", name)?;
            interp.note_changed(value);
            cell.items.borrow_mut().push(item);
        }
        "extend" => {
            let more = need(&mut args, 0, "iterable", name)?;
            more.defined()?;
            let items = more.iterate()?;
            interp.charge(items.len())?;
            interp.note_changed(value);
            cell.items.borrow_mut().extend(items);
        }
        "insert" => {
            let index = ops::int(&need(&mut args, 0, "index", name)?, "the index of `insert`")?;
            let item = need(&mut args, 1, "object", name)?;
            interp.note_changed(value);
            let mut items = cell.items.borrow_mut();
            interp.charge(items.len() / 8)?;
            let length = items.len() as i128;
            let index = if index < 0 { (index + length).max(0) } else { index.min(length) };
            items.insert(index as usize, item);
        }
        "pop" => {
            let index = match args.take(0, "index") {
                Some(index) => ops::int(&index, "the index of `pop`")?,
                None => -1,
            };
            let mut items = cell.items.borrow_mut();
            return match at(index, items.len()) {
                Some(index) => Ok(items.remove(index)),
                None => fault("`pop` from a list that has no such item"),
            };
        }
        "remove" => {
            let wanted = need(&mut args, 0, "value", name)?;
            let found = position(&cell.items.borrow(), &wanted)?;
            match found {
                Some(index) => drop(cell.items.borrow_mut().remove(index)),
                None => return fault(format!("`{}` is not in the list", wanted.repr()?.as_str())),
            }
        }
        "clear" => {
            let old = std::mem::take(&mut *cell.items.borrow_mut());
            drop(old);
        }
        "copy" => {
            let items = cell.items.borrow().clone();
            interp.charge(items.len())?;
            return Ok(Val::list(items));
        }
        "reverse" => cell.items.borrow_mut().reverse(),
        "sort" => {
            let reverse = args.take(usize::MAX, "reverse").is_some_and(|value| value.truth());
            let mut items = cell.items.borrow().clone();
            sort_values(interp, &mut items, reverse)?;
            *cell.items.borrow_mut() = items;
        }
        _ => return sequence(interp, value, name, args),
    }
    Ok(Val::None)
}

/// Sorts by Python's order; stable, also when reversed.
pub(crate) fn sort_values(interp: &mut Interp<'_>, items: &mut [Val], reverse: bool) -> Res<()> {
    let mut pairs: Vec<(Val, Val)> = items.iter().map(|item| (item.clone(), item.clone())).collect();
    sort_pairs(interp, &mut pairs, reverse)?;
    for (slot, (_, item)) in items.iter_mut().zip(pairs) {
        *slot = item;
    }
    Ok(())
}

/// Sorts items by keys (first of each pair).
pub(crate) fn sort_pairs(interp: &mut Interp<'_>, pairs: &mut [(Val, Val)], reverse: bool) -> Res<()> {
    let length = pairs.len();
    interp.charge(length * (usize::BITS - length.leading_zeros()) as usize)?;
    let mut failure = None;
    pairs.sort_by(|(a, _), (b, _)| {
        if failure.is_some() {
            return Ordering::Equal;
        }
        match ops::order(a, b, "<") {
            Ok(order) => {
                let order = order.unwrap_or(Ordering::Equal);
                if reverse { order.reverse() } else { order }
            }
            Err(fault) => {
                failure = Some(fault);
                Ordering::Equal
            }
        }
    });
    failure.map_or(Ok(()), Err)
}

fn dict(interp: &mut Interp<'_>, value: &Val, name: &str, mut args: CallArgs) -> Res<Val> {
    let Val::Dict(cell) = value else {
        return no_method(value, name);
    };
    interp.charge(1)?;
    match name {
        "keys" => Ok(Val::View(ViewKind::Keys, cell.clone())),
        "values" => Ok(Val::View(ViewKind::Values, cell.clone())),
        "items" => Ok(Val::View(ViewKind::Items, cell.clone())),
        "get" => {
            let key = need(&mut args, 0, "key", name)?.key()?;
            let found = cell.items.borrow().get(&key).map(|(_, value)| value.clone());
            Ok(found.or_else(|| args.take(1, "default")).unwrap_or(Val::None))
        }
        "copy" => {
            let copy = super::value::Dict::default();
            *copy.items.borrow_mut() = cell.items.borrow().clone();
            interp.charge(copy.items.borrow().len())?;
            Ok(Val::Dict(std::rc::Rc::new(copy)))
        }
        "pop" => {
            let key = need(&mut args, 0, "key", name)?;
            let found = cell.items.borrow_mut().shift_remove(&key.key()?);
            match found.map(|(_, value)| value).or_else(|| args.take(1, "default")) {
                Some(value) => Ok(value),
                None => fault(format!("there is no key `{}`", key.repr()?.as_str())),
            }
        }
        "popitem" => match cell.items.borrow_mut().pop() {
            Some((_, (key, value))) => Ok(Val::tuple(vec![key, value])),
            None => fault("`popitem` from an empty map"),
        },
        "setdefault" => {
            let key = need(&mut args, 0, "key", name)?;
            let hashed = key.key()?;
            let default = args.take(1, "default").unwrap_or(Val::None);
            interp.note_changed(value);
            let mut items = cell.items.borrow_mut();
            Ok(items.entry(hashed).or_insert_with(|| (key, default)).1.clone())
        }
        "update" => {
            let mut entries = Vec::new();
            if let Some(other) = args.take(0, "") {
                entries = dict_entries(&other)?;
            }
            for (name, value) in std::mem::take(&mut args.named) {
                let key = Val::Str(Text::new(name.clone(), Origin::Value));
                entries.push((Key::Str(name), key, value));
            }
            interp.charge(entries.len())?;
            interp.note_changed(value);
            put_all(cell, entries);
            Ok(Val::None)
        }
        "clear" => {
            let old = std::mem::take(&mut *cell.items.borrow_mut());
            drop(old);
            Ok(Val::None)
        }
        _ => no_method(value, name),
    }
}

/// Key, key as written and value of each entry of a map or of a list of pairs.
pub(crate) fn dict_entries(source: &Val) -> Res<Vec<(Key, Val, Val)>> {
    source.defined()?;
    if let Val::Dict(dict) = source {
        return Ok(dict
            .items
            .borrow()
            .iter()
            .map(|(hashed, (key, value))| (hashed.clone(), key.clone(), value.clone()))
            .collect());
    }
    let mut entries = Vec::new();
    for pair in source.iterate()? {
        let pair = pair.iterate()?;
        let [key, value] = pair.as_slice() else {
            return fault("a map is made from pairs of a key and a value");
        };
        entries.push((key.key()?, key.clone(), value.clone()));
    }
    Ok(entries)
}

/// Puts entries into a map; an equal key keeps its first spelling.
pub(crate) fn put_all(dict: &super::value::Dict, entries: Vec<(Key, Val, Val)>) {
    let mut items = dict.items.borrow_mut();
    for (hashed, key, value) in entries {
        let written = items.get(&hashed).map(|(written, _)| written.clone()).unwrap_or(key);
        items.insert(hashed, (written, value));
    }
}
