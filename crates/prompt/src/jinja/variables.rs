//! Which variables a template reads without setting them, as `jinja2.meta` finds them.

use std::collections::HashSet;
use std::sync::Arc;

use super::ast::{Compiled, Expr, ExprKind, Macro, Stmt, Target};
use super::globals;

/// Names in order of first reading.
pub(crate) fn undeclared(compiled: &Compiled) -> Vec<String> {
    let mut finder = Finder { scopes: vec![HashSet::new()], found: Vec::new() };
    finder.body(&compiled.body);
    finder.found
}

/// True if the statements read this name from outside.
pub(crate) fn reads(body: &[Stmt], name: &str) -> bool {
    let mut finder = Finder { scopes: vec![HashSet::new()], found: Vec::new() };
    finder.body(body);
    finder.found.iter().any(|found| found == name)
}

struct Finder {
    scopes: Vec<HashSet<Arc<str>>>,
    found: Vec<String>,
}

impl Finder {
    fn declare(&mut self, target: &Target) {
        match target {
            Target::Name(name) => {
                if let Some(scope) = self.scopes.last_mut() {
                    scope.insert(name.clone());
                }
            }
            Target::Tuple(targets) => targets.iter().for_each(|target| self.declare(target)),
            Target::Namespace(name, _) => self.name(name),
        }
    }

    fn name(&mut self, name: &Arc<str>) {
        let is_known = self.scopes.iter().any(|scope| scope.contains(name))
            || globals::exists(name)
            || &**name == "self"
            || self.found.iter().any(|found| **found == **name);
        if !is_known {
            self.found.push(name.to_string());
        }
    }

    fn inside(&mut self, work: impl FnOnce(&mut Self)) {
        self.scopes.push(HashSet::new());
        work(self);
        self.scopes.pop();
    }

    fn body(&mut self, body: &[Stmt]) {
        for statement in body {
            self.statement(statement);
        }
    }

    fn macro_body(&mut self, node: &Macro) {
        node.defaults.iter().for_each(|default| self.expr(default));
        self.inside(|finder| {
            for name in node.parameters.iter().map(|name| &**name).chain(["varargs", "kwargs"]) {
                finder.declare(&Target::Name(Arc::from(name)));
            }
            if node.takes_caller {
                finder.declare(&Target::Name(Arc::from("caller")));
            }
            finder.body(&node.body);
        });
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Text(_) => {}
            Stmt::Print(expr) => self.expr(expr),
            Stmt::For(node) => {
                self.expr(&node.iterable);
                self.inside(|finder| {
                    finder.declare(&node.target);
                    finder.declare(&Target::Name(Arc::from("loop")));
                    if let Some(test) = &node.test {
                        finder.expr(test);
                    }
                    finder.body(&node.body);
                });
                self.inside(|finder| finder.body(&node.otherwise));
            }
            Stmt::If(branches, otherwise) => {
                for (test, body) in branches {
                    self.expr(test);
                    self.body(body);
                }
                self.body(otherwise);
            }
            Stmt::Set(target, expr) => {
                self.expr(expr);
                self.declare(target);
            }
            Stmt::SetBlock { target, filter, body } => {
                self.inside(|finder| finder.body(body));
                if let Some(filter) = filter {
                    self.expr(filter);
                }
                self.declare(target);
            }
            Stmt::Macro(node) => {
                self.declare(&Target::Name(node.name.clone()));
                self.macro_body(node);
            }
            Stmt::CallBlock { caller, call } => {
                self.expr(call);
                self.macro_body(caller);
            }
            Stmt::FilterBlock { filter, body } => {
                self.expr(filter);
                self.inside(|finder| finder.body(body));
            }
            Stmt::With(targets, body) => {
                targets.iter().for_each(|(_, expr)| self.expr(expr));
                self.inside(|finder| {
                    targets.iter().for_each(|(target, _)| finder.declare(target));
                    finder.body(body);
                });
            }
            Stmt::Block(block) => self.inside(|finder| finder.body(&block.body)),
            Stmt::Autoescape(on, body) => {
                self.expr(on);
                self.inside(|finder| finder.body(body));
            }
            Stmt::NeedsLoader { sources, names, .. } => {
                sources.iter().for_each(|source| self.expr(source));
                names.iter().for_each(|name| self.declare(&Target::Name(name.clone())));
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        if let ExprKind::Name(name) = &expr.kind {
            self.name(name);
        }
        expr.kind.each_child(&mut |child| self.expr(child));
    }
}
