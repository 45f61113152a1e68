//! Jinja2's filters on lists and maps.

use super::eval::{CallArgs, Interp};
use super::text::TextBuilder;
use super::value::{Key, Val};
use super::{Res, fault, filters, methods, methods_str, ops, tests};

/// `value | name(args)` for the filters of this module.
pub(crate) fn apply(interp: &mut Interp<'_>, name: &str, value: Val, mut args: CallArgs) -> Res<Val> {
    match name {
        "length" | "count" => match value.len() {
            Some(length) => Ok(Val::Int(length as i128)),
            None => fault(format!("`{}` has no length", value.type_name())),
        },
        "items" => match &value {
            Val::Undefined(_) => Ok(Val::stream("do_items", Vec::new())),
            Val::Dict(_) => {
                let view = methods::call(interp, &value, "items", CallArgs::default())?;
                Ok(Val::stream("do_items", view.iterate()?))
            }
            other => fault(format!("`items` asks for a map, not `{}`", other.type_name())),
        },
        "dictsort" => dict_sort(interp, &value, args),
        "first" => Ok(value
            .iterate()?
            .into_iter()
            .next()
            .unwrap_or_else(|| Val::undefined("no first item, the sequence was empty"))),
        "last" => Ok(value
            .iterate()?
            .pop()
            .unwrap_or_else(|| Val::undefined("no last item, the sequence was empty"))),
        "random" => {
            let items = value.iterate()?;
            if items.is_empty() {
                return Ok(Val::undefined("no random item, the sequence was empty"));
            }
            let index = super::globals::random_below(interp, items.len());
            Ok(items[index].clone())
        }
        "reverse" => match &value {
            Val::Str(text) => {
                let mut out = TextBuilder::default();
                for (start, c) in text.as_str().char_indices().rev() {
                    out.push_part(text, start..start + c.len_utf8());
                }
                Ok(Val::Str(out.finish()))
            }
            other => {
                let mut items = paid(interp, other)?;
                items.reverse();
                Ok(Val::stream("list_reverseiterator", items))
            }
        },
        "list" => Ok(Val::list(paid(interp, &value)?)),
        "join" => join(interp, &value, args),
        "sort" => {
            args.check("sort", &["reverse", "case_sensitive", "attribute"])?;
            let reverse = args.take(0, "reverse").is_some_and(|value| value.truth());
            let case = args.take(1, "case_sensitive").is_some_and(|value| value.truth());
            let attribute = args.take(2, "attribute").filter(|value| !matches!(value, Val::None));
            let mut pairs = Vec::new();
            for item in paid(interp, &value)? {
                pairs.push((multi_key(&item, attribute.as_ref(), !case)?, item));
            }
            methods::sort_pairs(interp, &mut pairs, reverse)?;
            Ok(Val::list(pairs.into_iter().map(|(_, item)| item).collect()))
        }
        "unique" | "min" | "max" => {
            let case = args.take(0, "case_sensitive").is_some_and(|value| value.truth());
            let attribute = args.take(1, "attribute").filter(|value| !matches!(value, Val::None));
            let items = paid(interp, &value)?;
            if name == "unique" {
                unique(items, attribute.as_ref(), !case)
            } else {
                extreme(items, attribute.as_ref(), !case, name == "max")
            }
        }
        "groupby" => group_by(interp, &value, args),
        "map" => map(interp, &value, args),
        "select" | "reject" | "selectattr" | "rejectattr" => select(interp, name, &value, args),
        "sum" => {
            let attribute = args.take(0, "attribute").filter(|value| !matches!(value, Val::None));
            let mut total = args.take(1, "start").unwrap_or(Val::Int(0));
            for item in paid(interp, &value)? {
                let item = get_path(&item, attribute.as_ref(), None)?;
                total = ops::binary(interp, super::ast::Operator::Add, &total, &item)?;
            }
            Ok(total)
        }
        "batch" => {
            let size = match args.take(0, "linecount") {
                Some(size) => ops::width(&size, "the size of `batch`")?.max(1),
                None => return fault("`batch` asks for a size"),
            };
            let fill = args.take(1, "fill_with").filter(|value| !matches!(value, Val::None));
            let mut rows = Vec::new();
            for row in paid(interp, &value)?.chunks(size) {
                let mut row = row.to_vec();
                if let Some(fill) = &fill {
                    interp.charge(size - row.len())?;
                    row.resize_with(size, || fill.clone());
                }
                rows.push(Val::list(row));
            }
            Ok(Val::stream("do_batch", rows))
        }
        "slice" => {
            let slices = match args.take(0, "slices") {
                Some(slices) => ops::width(&slices, "the number of `slice`")?.max(1),
                None => return fault("`slice` asks for a number of slices"),
            };
            let fill = args.take(1, "fill_with").filter(|value| !matches!(value, Val::None));
            let items = paid(interp, &value)?;
            interp.charge(slices)?;
            let (size, longer) = (items.len() / slices, items.len() % slices);
            let mut rows = Vec::new();
            let mut offset = 0;
            for index in 0..slices {
                let end = offset + size + usize::from(index < longer);
                let mut row = items[offset..end].to_vec();
                offset = end;
                if let Some(fill) = fill.as_ref().filter(|_| index >= longer) {
                    row.push(fill.clone());
                }
                rows.push(Val::list(row));
            }
            Ok(Val::stream("do_slice", rows))
        }
        _ => fault(format!("no filter named `{name}`")),
    }
}

fn paid(interp: &mut Interp<'_>, value: &Val) -> Res<Vec<Val>> {
    let items = value.iterate()?;
    interp.charge(items.len())?;
    Ok(items)
}

/// An attribute path such as `address.city` or `0.name`, or a number.
fn get_path(item: &Val, path: Option<&Val>, default: Option<&Val>) -> Res<Val> {
    let mut current = item.clone();
    let steps: Vec<Val> = match path {
        None => return Ok(current),
        Some(Val::Str(path)) => path
            .as_str()
            .split('.')
            .map(|step| match step.parse::<i128>() {
                Ok(index) if step.bytes().all(|b| b.is_ascii_digit()) => Val::Int(index),
                _ => Val::Str(path.slice_of(step)),
            })
            .collect(),
        Some(other) => vec![other.clone()],
    };
    for step in steps {
        current = match ops::item(&current, &step)? {
            Some(value) => value,
            None => match &step {
                Val::Str(name) => methods::attribute(&current, name.as_str())?,
                other => Val::undefined(format!(
                    "{} has no element `{}`",
                    methods::a_type(&current),
                    other.repr()?.as_str()
                )),
            },
        };
        if let (Val::Undefined(_), Some(default)) = (&current, default) {
            current = default.clone();
        }
    }
    Ok(current)
}

fn fold_case(value: Val, ignore_case: bool) -> Val {
    match value {
        Val::Str(text) if ignore_case => Val::Str(methods_str::lower(&text)),
        other => other,
    }
}

fn sort_key(item: &Val, attribute: Option<&Val>, ignore_case: bool) -> Res<Val> {
    Ok(fold_case(get_path(item, attribute, None)?, ignore_case))
}

/// `sort` takes several attributes with commas.
fn multi_key(item: &Val, attribute: Option<&Val>, ignore_case: bool) -> Res<Val> {
    match attribute {
        Some(Val::Str(names)) if names.as_str().contains(',') => {
            let keys = names
                .as_str()
                .split(',')
                .map(|name| sort_key(item, Some(&Val::Str(names.slice_of(name))), ignore_case))
                .collect::<Res<_>>()?;
            Ok(Val::list(keys))
        }
        other => sort_key(item, other, ignore_case),
    }
}

fn join(interp: &mut Interp<'_>, value: &Val, mut args: CallArgs) -> Res<Val> {
    args.check("join", &["d", "attribute"])?;
    let separator = match args.take(0, "d") {
        Some(separator) => separator.to_text()?,
        None => super::text::Text::template(""),
    };
    let attribute = args.take(1, "attribute").filter(|value| !matches!(value, Val::None));
    let mut out = TextBuilder::default();
    for (index, item) in paid(interp, value)?.iter().enumerate() {
        let text = get_path(item, attribute.as_ref(), None)?.to_text()?;
        interp.charge(text.as_str().len() / 32)?;
        if out.len() + text.as_str().len() > super::eval::MAX_TEXT_BYTES {
            interp.charge_bytes(usize::MAX)?;
        }
        if index > 0 {
            out.push(&separator);
        }
        out.push(&text);
    }
    Ok(Val::Str(out.finish()))
}

fn unique(items: Vec<Val>, attribute: Option<&Val>, ignore_case: bool) -> Res<Val> {
    let mut seen = std::collections::HashSet::new();
    let mut kept = Vec::new();
    for item in items {
        if seen.insert(sort_key(&item, attribute, ignore_case)?.key()?) {
            kept.push(item);
        }
    }
    Ok(Val::stream("do_unique", kept))
}

fn extreme(items: Vec<Val>, attribute: Option<&Val>, ignore_case: bool, largest: bool) -> Res<Val> {
    let mut best: Option<(Val, Val)> = None;
    for item in items {
        let key = sort_key(&item, attribute, ignore_case)?;
        let better = match &best {
            None => true,
            Some((known, _)) => {
                let order = ops::order(&key, known, if largest { ">" } else { "<" })?;
                order == Some(if largest { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less })
            }
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(|| Val::undefined("no aggregated item, the sequence was empty"), |(_, item)| item))
}

fn group_by(interp: &mut Interp<'_>, value: &Val, mut args: CallArgs) -> Res<Val> {
    let Some(attribute) = args.take(0, "attribute") else {
        return fault("`groupby` asks for an attribute");
    };
    let default = args.take(1, "default").filter(|value| !matches!(value, Val::None));
    let case = args.take(2, "case_sensitive").is_some_and(|value| value.truth());
    let mut pairs = Vec::new();
    for item in paid(interp, value)? {
        let key = get_path(&item, Some(&attribute), default.as_ref())?;
        pairs.push((fold_case(key.clone(), !case), Val::tuple(vec![key, item])));
    }
    methods::sort_pairs(interp, &mut pairs, false)?;
    let mut groups: Vec<(Val, Val, Vec<Val>)> = Vec::new();
    for (key, pair) in pairs {
        let Val::Tuple(pair) = &pair else { continue };
        let (shown, item) = (pair.items[0].clone(), pair.items[1].clone());
        match groups.last_mut() {
            Some((known, _, items)) if ops::equal(known, &key)? => items.push(item),
            _ => groups.push((key, shown, vec![item])),
        }
    }
    let groups = groups
        .into_iter()
        .map(|(_, shown, items)| Val::Group(std::rc::Rc::new((shown, Val::list(items)))))
        .collect();
    Ok(Val::list(groups))
}

fn map(interp: &mut Interp<'_>, value: &Val, mut args: CallArgs) -> Res<Val> {
    let items = if value.truth() { paid(interp, value)? } else { Vec::new() };
    let mut mapped = Vec::with_capacity(items.len());
    if args.positional.is_empty() {
        let Some(attribute) = args.take(usize::MAX, "attribute") else {
            return fault("`map` asks for a filter or an attribute");
        };
        let default = args.take(usize::MAX, "default");
        for item in items {
            mapped.push(get_path(&item, Some(&attribute), default.as_ref())?);
        }
    } else {
        let name = args.positional.remove(0).to_text()?;
        if !filters::exists(name.as_str()) {
            return fault(format!("no filter named `{}`", name.as_str()));
        }
        for item in items {
            let call = CallArgs { positional: args.positional.clone(), named: args.named.clone() };
            mapped.push(filters::apply(interp, name.as_str(), item, call)?);
        }
    }
    Ok(Val::stream("sync_do_map", mapped))
}

fn select(interp: &mut Interp<'_>, name: &str, value: &Val, mut args: CallArgs) -> Res<Val> {
    let by_attribute = name.ends_with("attr");
    let wanted = name.starts_with("select");
    let attribute = if by_attribute {
        if args.positional.is_empty() {
            return fault(format!("`{name}` asks for an attribute"));
        }
        Some(args.positional.remove(0))
    } else {
        None
    };
    let test = if args.positional.is_empty() { None } else { Some(args.positional.remove(0).to_text()?) };
    let mut kept = Vec::new();
    // Zero and `None` count as empty here, unlike in a loop.
    let items = if value.truth() { paid(interp, value)? } else { Vec::new() };
    for item in items {
        let subject = get_path(&item, attribute.as_ref(), None)?;
        let passes = match &test {
            None => subject.truth(),
            Some(test) => {
                let call = CallArgs { positional: args.positional.clone(), named: args.named.clone() };
                tests::apply(interp, test.as_str(), &subject, call)?
            }
        };
        if passes == wanted {
            kept.push(item);
        }
    }
    Ok(Val::stream("select_or_reject", kept))
}

fn dict_sort(interp: &mut Interp<'_>, value: &Val, mut args: CallArgs) -> Res<Val> {
    args.check("dictsort", &["case_sensitive", "by", "reverse"])?;
    let Some(dict) = filters::dict_of(value.defined()?) else {
        return fault(format!("`dictsort` asks for a map, not `{}`", value.type_name()));
    };
    let case = args.take(0, "case_sensitive").is_some_and(|value| value.truth());
    let by_value = match args.take(1, "by") {
        None => false,
        Some(by) => match by.key()? {
            Key::Str(by) if &*by == "value" => true,
            Key::Str(by) if &*by == "key" => false,
            _ => return fault("`dictsort` sorts by `key` or `value`"),
        },
    };
    let reverse = args.take(2, "reverse").is_some_and(|value| value.truth());
    let mut pairs: Vec<(Val, Val)> = dict
        .items
        .borrow()
        .values()
        .map(|(key, value)| {
            let by = if by_value { value } else { key };
            (fold_case(by.clone(), !case), Val::tuple(vec![key.clone(), value.clone()]))
        })
        .collect();
    methods::sort_pairs(interp, &mut pairs, reverse)?;
    Ok(Val::list(pairs.into_iter().map(|(_, pair)| pair).collect()))
}
