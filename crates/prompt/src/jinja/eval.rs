//! Runs a compiled template: scopes, statements, expressions, calls and limits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ast::{Args, Comparison, Compiled, Const, Expr, ExprKind, For, Macro, Stmt, Target};
use super::text::{Text, TextBuilder};
use super::value::{Dict, Key, LoopValue, MacroValue, Object, Val};
use super::{Fault, Res, fault, filters, globals, limit_fault, methods, ops, tests, undefined_fault};

/// Longest text that a template may make: far past any model's context.
pub(crate) const MAX_TEXT_BYTES: usize = 16 << 20;

/// Steps before a template is stopped: some seconds of work, many times what the longest sane loop takes.
pub(crate) const MAX_FUEL: usize = 20_000_000;

/// Time before a template is stopped.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(10);

/// Deepest nesting of running blocks, calls and expressions; chosen so that a 2 MiB stack holds it in a build
/// without optimisation.
pub(crate) const MAX_DEPTH: u32 = 180;

/// Steps between looks at the clock.
const STEPS_A_LOOK: usize = 4096;

/// Names set in one block.
#[derive(Default)]
pub(crate) struct Scope {
    vars: RefCell<Vec<(Arc<str>, Val)>>,
    parent: Option<Rc<Scope>>,
}

impl Scope {
    fn inside(parent: &Rc<Scope>) -> Rc<Self> {
        Rc::new(Self { vars: RefCell::default(), parent: Some(parent.clone()) })
    }

    fn get(&self, name: &str) -> Option<Val> {
        let mut scope = self;
        loop {
            if let Some((_, value)) = scope.vars.borrow().iter().find(|(known, _)| &**known == name) {
                return Some(value.clone());
            }
            scope = scope.parent.as_deref()?;
        }
    }

    fn set(&self, name: Arc<str>, value: Val) {
        let mut vars = self.vars.borrow_mut();
        let old = match vars.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => std::mem::replace(slot, value),
            None => {
                vars.push((name, value));
                return;
            }
        };
        drop(vars);
        drop(old);
    }

    fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut scope = Some(self);
        while let Some(current) = scope {
            names.extend(current.vars.borrow().iter().map(|(name, _)| name.clone()));
            scope = current.parent.as_deref();
        }
        names
    }
}

/// Arguments of a call.
#[derive(Default)]
pub(crate) struct CallArgs {
    pub positional: Vec<Val>,
    pub named: Vec<(Arc<str>, Val)>,
}

impl CallArgs {
    /// The argument at this place or with this name.
    pub fn take(&mut self, index: usize, name: &str) -> Option<Val> {
        if index < self.positional.len() {
            return Some(std::mem::replace(&mut self.positional[index], Val::None));
        }
        let at = self.named.iter().position(|(known, _)| &**known == name)?;
        Some(self.named.remove(at).1)
    }

    /// Fails when something is left over that `names` does not take.
    pub fn check(&self, what: &str, names: &[&str]) -> Res<()> {
        if self.positional.len() > names.len() {
            return fault(format!(
                "`{what}` takes at most {} arguments, {} were given",
                names.len(),
                self.positional.len()
            ));
        }
        for (name, _) in &self.named {
            match names.iter().position(|known| *known == &**name) {
                None => return fault(format!("`{what}` takes no argument `{name}`")),
                Some(index) if index < self.positional.len() => {
                    return fault(format!("`{what}` got argument `{name}` twice"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Gives the values of names that the template does not set.
pub(crate) type Lookup<'a> = dyn FnMut(&str) -> Option<Val> + 'a;

/// One render.
pub(crate) struct Interp<'a> {
    lookup: &'a mut Lookup<'a>,
    given: HashMap<Arc<str>, Option<Val>>,
    pub root: Rc<Scope>,
    out: Vec<TextBuilder>,
    fuel: usize,
    next_look: usize,
    deadline: Instant,
    depth: u32,
    pub line: u32,
    pub autoescape: bool,
    blocks: &'a Compiled,
    /// Scopes that macros point back to, emptied at the end: the two hold each other.
    closed_over: Vec<Rc<Scope>>,
    /// Lists and maps that were changed, emptied at the end: they may hold themselves.
    changed: Vec<Val>,
    /// State of the choices of `random` and `lipsum`.
    pub random: u64,
    /// Fields of the scope where a fault happened.
    pub names_at_fault: Vec<Arc<str>>,
}

/// Renders a template; `seed` settles what `random` picks.
pub(crate) fn run<'a>(
    compiled: &'a Compiled,
    lookup: &'a mut Lookup<'a>,
    seed: u64,
) -> Result<Text, (Box<Fault>, Vec<Arc<str>>)> {
    let mut interp = Interp {
        lookup,
        given: HashMap::new(),
        root: Rc::new(Scope::default()),
        out: vec![TextBuilder::default()],
        fuel: MAX_FUEL,
        next_look: MAX_FUEL - STEPS_A_LOOK,
        deadline: Instant::now() + MAX_TIME,
        depth: 0,
        line: 1,
        autoescape: false,
        blocks: compiled,
        closed_over: Vec::new(),
        changed: Vec::new(),
        random: seed | 1,
        names_at_fault: Vec::new(),
    };
    let root = interp.root.clone();
    let result = interp.body(&compiled.body, &root);
    for scope in interp.closed_over.drain(..) {
        let vars = std::mem::take(&mut *scope.vars.borrow_mut());
        drop(vars);
    }
    for value in interp.changed.drain(..) {
        match &value {
            Val::List(list) => drop(std::mem::take(&mut *list.items.borrow_mut())),
            Val::Dict(dict) => drop(std::mem::take(&mut *dict.items.borrow_mut())),
            Val::Namespace(fields) => drop(std::mem::take(&mut *fields.borrow_mut())),
            _ => {}
        }
    }
    match result {
        Ok(()) => Ok(interp.out.pop().unwrap_or_default().finish()),
        Err(mut fault) => {
            fault.line.get_or_insert(interp.line);
            Err((fault, std::mem::take(&mut interp.names_at_fault)))
        }
    }
}

impl<'a> Interp<'a> {
    /// Pays for work.
    pub fn charge(&mut self, steps: usize) -> Res<()> {
        let Some(left) = self.fuel.checked_sub(steps) else {
            return limit_fault("the template does too much work: a loop is too long");
        };
        self.fuel = left;
        if left < self.next_look {
            self.next_look = left.saturating_sub(STEPS_A_LOOK);
            if Instant::now() > self.deadline {
                return limit_fault(format!("the template took longer than {} s", MAX_TIME.as_secs()));
            }
        }
        Ok(())
    }

    /// Pays for text of this size, and refuses absurd sizes before they are made.
    pub fn charge_bytes(&mut self, bytes: usize) -> Res<()> {
        if bytes > MAX_TEXT_BYTES {
            return limit_fault(format!("a text is longer than {MAX_TEXT_BYTES} bytes"));
        }
        self.charge(bytes / 32)
    }

    /// Notes that a list or map was changed.
    pub fn note_changed(&mut self, value: &Val) {
        self.changed.push(value.clone());
    }

    fn enter(&mut self) -> Res<()> {
        self.charge(1)?;
        if self.depth >= MAX_DEPTH {
            return limit_fault("macros, loops or blocks call each other too deeply");
        }
        self.depth += 1;
        Ok(())
    }

    /// A name: set by the template, given, or global.
    fn resolve(&mut self, name: &Arc<str>, scope: &Rc<Scope>) -> Val {
        if let Some(value) = scope.get(name) {
            return value;
        }
        let given = match self.given.get(name) {
            Some(known) => known.clone(),
            None => {
                let value = (self.lookup)(name);
                self.given.insert(name.clone(), value.clone());
                value
            }
        };
        if let Some(value) = given {
            return value;
        }
        if &**name == "self" {
            return Val::object(Object::Blocks);
        }
        match globals::get(name) {
            Some(value) => value,
            None => Val::undefined(format!("`{name}` is undefined")),
        }
    }

    fn write(&mut self, text: &Text) -> Res<()> {
        self.charge(text.as_str().len() / 32)?;
        if let Some(out) = self.out.last_mut() {
            if out.len() + text.as_str().len() > MAX_TEXT_BYTES {
                return limit_fault(format!("the text is longer than {MAX_TEXT_BYTES} bytes"));
            }
            out.push(text);
        }
        Ok(())
    }

    /// Runs `body` and gives what it wrote.
    fn capture(&mut self, body: &[Stmt], scope: &Rc<Scope>) -> Res<Text> {
        self.out.push(TextBuilder::default());
        let result = self.body(body, scope);
        let text = self.out.pop().unwrap_or_default().finish();
        result?;
        Ok(if self.autoescape { text.markup() } else { text })
    }

    pub fn body(&mut self, body: &[Stmt], scope: &Rc<Scope>) -> Res<()> {
        self.enter()?;
        let mut result = Ok(());
        for statement in body {
            result = self.statement(statement, scope);
            if result.is_err() {
                if self.names_at_fault.is_empty() {
                    self.names_at_fault = scope.names();
                }
                break;
            }
        }
        self.depth -= 1;
        result
    }

    fn statement(&mut self, statement: &Stmt, scope: &Rc<Scope>) -> Res<()> {
        match statement {
            Stmt::Text(text) => self.write(&Text::template(text.clone())),
            Stmt::Print(expr) => self.print(expr, scope),
            Stmt::For(node) => self.for_statement(node, scope),
            Stmt::If(branches, otherwise) => {
                for (test, body) in branches {
                    if self.eval(test, scope)?.truth() {
                        return self.body(body, scope);
                    }
                }
                self.body(otherwise, scope)
            }
            Stmt::Set(target, expr) => {
                let value = self.eval(expr, scope)?;
                self.assign(target, value, scope)
            }
            Stmt::SetBlock { target, filter, body } => {
                let text = self.capture(body, &Scope::inside(scope))?;
                let value = self.filter_block(filter.as_ref(), text, scope)?;
                self.assign(target, value, scope)
            }
            Stmt::Macro(node) => {
                let value = self.make_macro(node, scope);
                scope.set(node.name.clone(), value);
                Ok(())
            }
            Stmt::CallBlock { caller, call } => self.call_block(caller, call, scope),
            Stmt::FilterBlock { filter, body } => {
                let text = self.capture(body, &Scope::inside(scope))?;
                let value = self.filter_block(Some(filter), text, scope)?;
                let text = value.to_text()?;
                self.write(&text)
            }
            Stmt::With(targets, body) => {
                let inner = Scope::inside(scope);
                for (target, expr) in targets {
                    let value = self.eval(expr, scope)?;
                    self.assign(target, value, &inner)?;
                }
                self.body(body, &inner)
            }
            Stmt::Block(block) => {
                let outer = if block.is_scoped { scope.clone() } else { self.root.clone() };
                self.body(&block.body, &Scope::inside(&outer))
            }
            Stmt::Autoescape(on, body) => {
                let on = self.eval(on, scope)?.truth();
                let before = std::mem::replace(&mut self.autoescape, on);
                let result = self.body(body, scope);
                self.autoescape = before;
                result
            }
            Stmt::NeedsLoader { line, tag, .. } => {
                self.line = *line;
                fault(format!("`{tag}` cannot be used: templates of a flow do not load each other"))
            }
        }
    }

    fn print(&mut self, expr: &Expr, scope: &Rc<Scope>) -> Res<()> {
        let value = self.eval(expr, scope)?;
        let mut text = value.to_text()?;
        if self.autoescape {
            text = ops::escape(&text);
        }
        // A template that writes `{{ message.role }}:` means the value to be a role. Only the bare word counts.
        if expr.last_name() == Some("role") && crate::roles::is_role_word(text.as_str()) {
            text = Text::template(text.arc());
        }
        self.write(&text)
    }

    fn filter_block(&mut self, filter: Option<&Expr>, text: Text, scope: &Rc<Scope>) -> Res<Val> {
        match filter {
            None => Ok(Val::Str(text)),
            Some(filter) => self.filter_with_base(filter, Val::Str(text), scope),
        }
    }

    /// A filter chain whose innermost base is the captured block.
    fn filter_with_base(&mut self, filter: &Expr, text: Val, scope: &Rc<Scope>) -> Res<Val> {
        let ExprKind::Filter(base, name, args) = &filter.kind else {
            return self.eval(filter, scope);
        };
        let base = match base {
            None => text,
            Some(inner) => self.filter_with_base(inner, text, scope)?,
        };
        self.line = filter.line;
        let args = self.args(args, scope)?;
        filters::apply(self, name, base, args)
    }

    fn assign(&mut self, target: &Target, value: Val, scope: &Rc<Scope>) -> Res<()> {
        match target {
            Target::Name(name) => {
                scope.set(name.clone(), value);
                Ok(())
            }
            Target::Tuple(targets) => {
                value.defined()?;
                let items = value.iterate()?;
                if items.len() != targets.len() {
                    return fault(format!("{} values do not fit into {} names", items.len(), targets.len()));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, scope)?;
                }
                Ok(())
            }
            Target::Namespace(name, field) => match self.resolve(name, scope) {
                Val::Namespace(fields) => {
                    self.note_changed(&Val::Namespace(fields.clone()));
                    let mut fields = fields.borrow_mut();
                    let old = match fields.iter_mut().find(|(known, _)| known == field) {
                        Some((_, slot)) => std::mem::replace(slot, value),
                        None => {
                            fields.push((field.clone(), value));
                            return Ok(());
                        }
                    };
                    drop(fields);
                    drop(old);
                    Ok(())
                }
                _ => fault(format!("cannot set `{name}.{field}`: `{name}` is no namespace")),
            },
        }
    }

    fn make_macro(&mut self, node: &Arc<Macro>, scope: &Rc<Scope>) -> Val {
        if !self.closed_over.iter().any(|known| Rc::ptr_eq(known, scope)) {
            self.closed_over.push(scope.clone());
        }
        Val::object(Object::Macro(MacroValue { node: node.clone(), scope: scope.clone() }))
    }

    fn call_block(&mut self, caller: &Arc<Macro>, call: &Expr, scope: &Rc<Scope>) -> Res<()> {
        let ExprKind::Call(callee, args) = &call.kind else {
            return fault("expected a call");
        };
        let callee = self.eval(callee, scope)?;
        let mut args = self.args(args, scope)?;
        args.named.push((Arc::from("caller"), self.make_macro(caller, scope)));
        self.line = call.line;
        let text = self.call(&callee, args)?.to_text()?;
        self.write(&text)
    }

    fn for_statement(&mut self, node: &Arc<For>, scope: &Rc<Scope>) -> Res<()> {
        let iterable = self.eval(&node.iterable, scope)?;
        self.line = node.line;
        self.for_loop(node, scope, &iterable, 0)
    }

    fn for_loop(&mut self, node: &Arc<For>, scope: &Rc<Scope>, iterable: &Val, depth: usize) -> Res<()> {
        let mut items = iterable.iterate()?;
        self.charge(items.len())?;
        if let Some(test) = &node.test {
            let mut kept = Vec::new();
            for item in items {
                let inner = Scope::inside(scope);
                self.assign(&node.target, item.clone(), &inner)?;
                if self.eval(test, &inner)?.truth() {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            return self.body(&node.otherwise, scope);
        }
        let items = Rc::new(items);
        let state = Rc::new(Object::Loop(LoopValue {
            node: node.clone(),
            scope: scope.clone(),
            items: items.clone(),
            index: Cell::new(0),
            depth,
            last_changed: RefCell::new(None),
        }));
        let loop_name: Arc<str> = Arc::from("loop");
        for (index, item) in items.iter().enumerate() {
            if let Object::Loop(value) = &*state {
                value.index.set(index);
            }
            let inner = Scope::inside(scope);
            inner.set(loop_name.clone(), Val::Object(state.clone()));
            self.assign(&node.target, item.clone(), &inner)?;
            self.body(&node.body, &inner)?;
        }
        Ok(())
    }

    /// Evaluates an expression.
    pub fn eval(&mut self, expr: &Expr, scope: &Rc<Scope>) -> Res<Val> {
        match &expr.kind {
            // Leaves first: they need no depth.
            ExprKind::Const(constant) => {
                self.charge(1)?;
                Ok(match constant {
                    Const::None => Val::None,
                    Const::Bool(flag) => Val::Bool(*flag),
                    Const::Int(number) => Val::Int(*number),
                    Const::Float(number) => Val::Float(*number),
                    Const::Str(text) => Val::Str(Text::template(text.clone())),
                })
            }
            ExprKind::Name(name) => {
                self.charge(1)?;
                self.line = expr.line;
                Ok(self.resolve(name, scope))
            }
            _ => {
                self.enter()?;
                self.line = expr.line;
                let result = self.eval_inner(expr, scope);
                self.depth -= 1;
                result
            }
        }
    }

    fn eval_inner(&mut self, expr: &Expr, scope: &Rc<Scope>) -> Res<Val> {
        match &expr.kind {
            ExprKind::Attr(base, name) => {
                let base = self.eval(base, scope)?;
                self.line = expr.line;
                self.attribute(&base, name)
            }
            ExprKind::Item(base, key) => self.eval_item(base, key, scope),
            ExprKind::Call(callee, args) => self.eval_call(expr.line, callee, args, scope),
            ExprKind::Filter(base, name, args) => {
                let base = match base {
                    Some(base) => self.eval(base, scope)?,
                    None => return fault("a filter has nothing to work on"),
                };
                let args = self.args(args, scope)?;
                self.line = expr.line;
                filters::apply(self, name, base, args)
            }
            ExprKind::Test(base, name, args) => {
                let base = self.eval(base, scope)?;
                let args = self.args(args, scope)?;
                self.line = expr.line;
                Ok(Val::Bool(tests::apply(self, name, &base, args)?))
            }
            ExprKind::Compare(first, rest) => self.eval_compare(first, rest, scope),
            ExprKind::Binary(operator, left, right) => {
                let left = self.eval(left, scope)?;
                let right = self.eval(right, scope)?;
                self.line = expr.line;
                ops::binary(self, *operator, &left, &right)
            }
            _ => self.eval_rest(expr, scope),
        }
    }

    fn eval_rest(&mut self, expr: &Expr, scope: &Rc<Scope>) -> Res<Val> {
        match &expr.kind {
            ExprKind::Tuple(items) => Ok(Val::tuple(self.eval_all(items, scope)?)),
            ExprKind::List(items) => Ok(Val::list(self.eval_all(items, scope)?)),
            ExprKind::Dict(items) => self.eval_dict(items, scope),
            ExprKind::Cond { test, then, otherwise } => {
                if self.eval(test, scope)?.truth() {
                    return self.eval(then, scope);
                }
                match otherwise {
                    Some(otherwise) => self.eval(otherwise, scope),
                    None => Ok(Val::undefined(
                        "the inline `if` has no `else` and its condition is false, so its value is undefined",
                    )),
                }
            }
            ExprKind::And(items) => self.eval_logic(items, false, scope),
            ExprKind::Or(items) => self.eval_logic(items, true, scope),
            ExprKind::Not(inner) => Ok(Val::Bool(!self.eval(inner, scope)?.truth())),
            ExprKind::Neg(inner) => ops::negate(&self.eval(inner, scope)?, true),
            ExprKind::Pos(inner) => ops::negate(&self.eval(inner, scope)?, false),
            ExprKind::Concat(items) => {
                let items = self.eval_all(items, scope)?;
                ops::concat(self, &items)
            }
            ExprKind::Slice(base, bounds) => {
                let base = self.eval(base, scope)?;
                let mut values = [Val::None, Val::None, Val::None];
                for (value, bound) in values.iter_mut().zip(bounds) {
                    if let Some(bound) = bound {
                        *value = self.eval(bound, scope)?;
                    }
                }
                ops::slice(self, &base, values)
            }
            _ => fault("an expression of an unknown kind"),
        }
    }

    fn eval_all(&mut self, items: &[Expr], scope: &Rc<Scope>) -> Res<Vec<Val>> {
        items.iter().map(|item| self.eval(item, scope)).collect()
    }

    fn eval_dict(&mut self, items: &[(Expr, Expr)], scope: &Rc<Scope>) -> Res<Val> {
        let dict = Dict::default();
        for (key, value) in items {
            let key = self.eval(key, scope)?;
            let value = self.eval(value, scope)?;
            let hashed = key.key()?;
            // An equal key keeps its first spelling, as in Python.
            let mut entries = dict.items.borrow_mut();
            let written = entries.get(&hashed).map(|(written, _)| written.clone()).unwrap_or(key);
            entries.insert(hashed, (written, value));
        }
        Ok(Val::Dict(Rc::new(dict)))
    }

    fn eval_logic(&mut self, items: &[Expr], stop_at: bool, scope: &Rc<Scope>) -> Res<Val> {
        let mut value = Val::None;
        for item in items {
            value = self.eval(item, scope)?;
            if value.truth() == stop_at {
                break;
            }
        }
        Ok(value)
    }

    fn eval_compare(&mut self, first: &Expr, rest: &[(Comparison, Expr)], scope: &Rc<Scope>) -> Res<Val> {
        let mut left = self.eval(first, scope)?;
        for (comparison, right) in rest {
            let right = self.eval(right, scope)?;
            if !ops::compare(self, *comparison, &left, &right)? {
                return Ok(Val::Bool(false));
            }
            left = right;
        }
        Ok(Val::Bool(true))
    }

    fn eval_item(&mut self, base: &Expr, key: &Expr, scope: &Rc<Scope>) -> Res<Val> {
        let base = self.eval(base, scope)?;
        let key = self.eval(key, scope)?;
        if let Some(value) = ops::item(&base, &key)? {
            return Ok(value);
        }
        match &key {
            Val::Str(name) => methods::attribute(&base, name.as_str()),
            other => Ok(Val::undefined(format!(
                "{} has no element `{}`",
                methods::a_type(&base),
                other.repr()?.as_str()
            ))),
        }
    }

    fn args(&mut self, args: &Args, scope: &Rc<Scope>) -> Res<CallArgs> {
        let mut call = CallArgs { positional: self.eval_all(&args.positional, scope)?, named: Vec::new() };
        if let Some(star) = &args.star {
            call.positional.extend(self.eval(star, scope)?.iterate()?);
        }
        for (name, value) in &args.named {
            let value = self.eval(value, scope)?;
            call.named.push((name.clone(), value));
        }
        if let Some(double) = &args.double_star {
            match self.eval(double, scope)? {
                Val::Dict(dict) => {
                    for (key, (_, value)) in dict.items.borrow().iter() {
                        match key {
                            Key::Str(name) => call.named.push((name.clone(), value.clone())),
                            _ => return fault("names of arguments must be text"),
                        }
                    }
                }
                other => return fault(format!("`**` asks for a map, not `{}`", other.type_name())),
            }
        }
        Ok(call)
    }

    fn eval_call(&mut self, line: u32, callee: &Expr, args: &Args, scope: &Rc<Scope>) -> Res<Val> {
        // A method is called without making an object of it first.
        if let ExprKind::Attr(base, name) = &callee.kind {
            let base = self.eval(base, scope)?;
            if methods::shadows_nothing(&base, name) {
                let args = self.args(args, scope)?;
                self.line = line;
                return methods::call(self, &base, name, args);
            }
            let callee = self.attribute(&base, name)?;
            let args = self.args(args, scope)?;
            self.line = line;
            return self.call(&callee, args);
        }
        let callee = self.eval(callee, scope)?;
        let args = self.args(args, scope)?;
        self.line = line;
        self.call(&callee, args)
    }

    /// Calls a value.
    pub fn call(&mut self, callee: &Val, args: CallArgs) -> Res<Val> {
        let object = match callee {
            Val::Undefined(message) => return undefined_fault(&**message),
            Val::Object(object) => object.clone(),
            other => return fault(format!("`{}` cannot be called", other.type_name())),
        };
        match &*object {
            Object::Function(name) => globals::call(self, name, args),
            Object::Method(base, name) => methods::call(self, base, name, args),
            Object::Macro(value) => self.call_macro(value, args),
            Object::Loop(state) => self.recurse(state, args),
            Object::Joiner { separator, used } => {
                Ok(if used.replace(true) { separator.clone() } else { Val::template_str("") })
            }
            Object::Block(block) => {
                let inner = Scope::inside(&self.root.clone());
                Ok(Val::Str(self.capture(&block.body, &inner)?))
            }
            Object::Cycler { .. } | Object::Image { .. } | Object::Blocks => {
                fault(format!("`{}` cannot be called", callee.type_name()))
            }
        }
    }

    /// An attribute; those of `self` are blocks.
    fn attribute(&mut self, base: &Val, name: &str) -> Res<Val> {
        if let Val::Object(object) = base
            && let Object::Blocks = **object
            && let Some(block) = self.blocks.blocks.iter().find(|block| &*block.name == name)
        {
            return Ok(Val::object(Object::Block(block.clone())));
        }
        methods::attribute(base, name)
    }

    fn recurse(&mut self, state: &LoopValue, mut args: CallArgs) -> Res<Val> {
        if !state.node.is_recursive {
            return fault("the loop must be marked `recursive` to be called");
        }
        let Some(iterable) = args.take(0, "iterable") else {
            return fault("`loop` asks for what to loop over");
        };
        self.out.push(TextBuilder::default());
        let result = self.for_loop(&state.node, &state.scope, &iterable, state.depth + 1);
        let text = self.out.pop().unwrap_or_default().finish();
        result?;
        Ok(Val::Str(text))
    }

    fn call_macro(&mut self, value: &MacroValue, mut args: CallArgs) -> Res<Val> {
        let node = &value.node;
        let scope = Scope::inside(&value.scope);
        let given = std::mem::take(&mut args.positional);
        let mut positional = given.into_iter();
        let first_default = node.parameters.len() - node.defaults.len();
        for (index, parameter) in node.parameters.iter().enumerate() {
            let named = args.named.iter().position(|(name, _)| name == parameter);
            let value = match (positional.next(), named) {
                (Some(_), Some(_)) => {
                    return fault(format!("macro `{}` got argument `{parameter}` twice", node.name));
                }
                (Some(value), None) => value,
                (None, Some(at)) => args.named.remove(at).1,
                (None, None) if index >= first_default => {
                    self.eval(&node.defaults[index - first_default], &scope)?
                }
                (None, None) => Val::undefined(format!("parameter `{parameter}` was not provided")),
            };
            scope.set(parameter.clone(), value);
        }
        let rest: Vec<Val> = positional.collect();
        if node.takes_varargs {
            scope.set(Arc::from("varargs"), Val::tuple(rest));
        } else if !rest.is_empty() {
            return fault(format!(
                "macro `{}` takes {} arguments, {} were given",
                node.name,
                node.parameters.len(),
                node.parameters.len() + rest.len()
            ));
        }
        if node.takes_caller && !node.parameters.iter().any(|p| &**p == "caller") {
            let caller = match args.named.iter().position(|(name, _)| &**name == "caller") {
                Some(at) => args.named.remove(at).1,
                None => Val::undefined("no caller is defined: use the macro with `{% call %}`"),
            };
            scope.set(Arc::from("caller"), caller);
        }
        if node.takes_kwargs {
            scope.set(Arc::from("kwargs"), Val::dict(args.named));
        } else if let Some((name, _)) = args.named.first() {
            return fault(format!("macro `{}` takes no argument `{name}`", node.name));
        }
        self.capture(&node.body, &scope).map(Val::Str)
    }
}
