//! Where a source file can be changed, and into what.
//!
//! The changes are those that cargo-mutants makes, and a few more that suit code without panicking arithmetic: operators
//! and the methods in their place are exchanged, conditions and guards become true and false, statements and arms go,
//! functions return at once. Nothing is changed where only constants may stand, in tests, and in what only people read.

use std::ops::Range;

use anyhow::{Context, Result};
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Pat, ReturnType, Stmt, UnOp};

use super::returns;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The function, with the type that it belongs to.
    pub(super) function: String,
    /// First line is 1.
    pub(super) line: usize,
    /// First column is 1.
    pub(super) column: usize,
    /// What is done: `replace == with !=`.
    pub(super) what: String,
    /// The changed text, on one line and not longer than a line.
    pub(super) text: String,
}

/// How the changes of one place are put into its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Other expressions in place of one, in the order of the changes.
    Expression(Vec<String>),
    /// A condition: false, and after that true, if there are two changes.
    Condition,
    /// A statement that is left out.
    Statement,
    /// Statements in front, each of which returns.
    Return(Vec<String>),
    /// A guard for an arm without one, which is then never chosen.
    Guard,
}

/// A place in a file.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// Bytes of the file. Empty where something is only put in.
    pub(super) range: Range<usize>,
    pub(super) form: Form,
    pub(super) changes: Vec<Change>,
}

/// All places of a file, those outside before those inside them.
pub(super) fn find(source: &str) -> Result<Vec<Site>> {
    let file = syn::parse_file(source).context("the file is not Rust")?;
    let mut finder = Finder { source, sites: Vec::new(), path: Vec::new() };
    finder.visit_file(&file);
    Ok(finder.sites)
}

/// The names of the modules in files of their own that are there for tests only.
pub(super) fn test_modules(source: &str) -> Result<Vec<String>> {
    let file = syn::parse_file(source).context("the file is not Rust")?;
    let modules = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if is_of_tests(&module.attrs) => Some(module.ident.to_string()),
        _ => None,
    });
    Ok(modules.collect())
}

struct Finder<'s> {
    source: &'s str,
    sites: Vec<Site>,
    path: Vec<String>,
}

impl<'s> Finder<'s> {
    fn text(&self, range: Range<usize>) -> &'s str {
        self.source.get(range).unwrap_or_default()
    }

    fn of(&self, node: &impl Spanned) -> &'s str {
        self.text(node.span().byte_range())
    }

    fn change(&self, span: Span, what: impl Into<String>, text: &str) -> Change {
        let at = span.start();
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut text: String = words.join(" ");
        if text.chars().count() > 70 {
            text = text.chars().take(69).chain(['…']).collect();
        }
        Change {
            function: self.path.join("::"),
            line: at.line,
            column: at.column.saturating_add(1),
            what: what.into(),
            text,
        }
    }

    fn add(&mut self, range: Range<usize>, form: Form, changes: Vec<Change>) {
        if !changes.is_empty() && !self.path.is_empty() {
            self.sites.push(Site { range, form, changes });
        }
    }

    /// Other expressions for one: each with what is said of it.
    fn replace(&mut self, node: &impl Spanned, at: Span, others: Vec<(String, String)>) {
        let whole = self.of(node);
        let changes = others.iter().map(|(what, _)| self.change(at, what.clone(), whole)).collect();
        let texts = others.into_iter().map(|(_, text)| text).collect();
        self.add(node.span().byte_range(), Form::Expression(texts), changes);
    }

    /// A condition becomes false, and true.
    fn condition(&mut self, condition: &Expr, what: &str, also_true: bool) {
        if let Expr::Lit(_) = condition {
            return;
        }
        let (span, text) = (condition.span(), self.of(condition));
        let mut changes = vec![self.change(span, format!("replace {what} with false"), text)];
        if also_true {
            changes.push(self.change(span, format!("replace {what} with true"), text));
        }
        self.add(span.byte_range(), Form::Condition, changes);
    }

    /// The conditions of an `if`, whose chain may have patterns in it.
    fn conditions(&mut self, condition: &Expr, what: &str, also_true: bool) {
        match condition {
            Expr::Let(_) => {}
            Expr::Binary(both) if has_let(condition) => {
                self.conditions(&both.left, what, also_true);
                self.conditions(&both.right, what, also_true);
            }
            _ => self.condition(condition, what, also_true),
        }
    }

    fn leave_out(&mut self, statement: &Stmt) {
        let (span, text) = (statement.span(), self.of(statement));
        let changes = vec![self.change(span, "delete the statement", text)];
        self.add(span.byte_range(), Form::Statement, changes);
    }

    fn function(
        &mut self,
        attributes: &[syn::Attribute],
        signature: &syn::Signature,
        block: Option<&syn::Block>,
    ) {
        let Some(block) = block else { return };
        if signature.constness.is_some() || signature.asyncness.is_some() || is_of_tests(attributes) {
            return;
        }
        self.path.push(signature.ident.to_string());
        if !says_nothing(block) {
            let values = match &signature.output {
                ReturnType::Default => vec!["()".to_owned()],
                ReturnType::Type(_, kind) => returns::values(kind),
            };
            let body = block.brace_token.span.join().byte_range();
            let inside = self.text(body.start.saturating_add(1)..body.end.saturating_sub(1)).trim();
            let same = |value: &String| {
                value == inside || answer(block).is_some_and(|answer| self.of(answer) == value)
            };
            let values: Vec<String> = values.into_iter().filter(|value| !same(value)).collect();
            let changes = values
                .iter()
                .map(|value| self.change(signature.ident.span(), format!("return {value} at once"), inside))
                .collect();
            let start = body.start.saturating_add(1);
            self.add(start..start, Form::Return(values), changes);
        }
        self.visit_block(block);
        self.path.pop();
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig, Some(&item.block));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig, Some(&item.block));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.attrs, &item.sig, item.default.as_ref());
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let shown = item.trait_.as_ref().and_then(|(path, _)| path.segments.last());
        if is_of_tests(&item.attrs) || shown.is_some_and(|shown| shown.ident == "Debug") {
            return;
        }
        self.path.push(returns::name(&item.self_ty));
        item.items.iter().for_each(|item| self.visit_impl_item(item));
        self.path.pop();
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.path.push(item.ident.to_string());
        item.items.iter().for_each(|item| self.visit_trait_item(item));
        self.path.pop();
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_of_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    // Where only constants may stand.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_pat(&mut self, pattern: &'ast Pat) {
        if let Pat::Guard(guarded) = pattern {
            self.conditions(&guarded.guard, "guard", true);
            self.visit_expr(&guarded.guard);
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        match block.stmts.split_last() {
            // It would be dropped here in any case.
            Some((Stmt::Expr(Expr::Call(call), Some(_)), before)) if drops_a_name(call) => {
                before.iter().for_each(|statement| self.visit_stmt(statement));
            }
            _ => visit::visit_block(self, block),
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        match statement {
            Stmt::Expr(expression, semicolon) if is_left_out(expression, semicolon.is_some()) => {
                self.leave_out(statement);
            }
            Stmt::Local(local) if is_thrown_away(local) => self.leave_out(statement),
            _ => {}
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr_if(&mut self, branch: &'ast syn::ExprIf) {
        self.conditions(&branch.cond, "condition", true);
        visit::visit_expr_if(self, branch);
    }

    fn visit_expr_while(&mut self, repeated: &'ast syn::ExprWhile) {
        self.conditions(&repeated.cond, "condition", false);
        visit::visit_expr_while(self, repeated);
    }

    fn visit_expr_match(&mut self, choice: &'ast syn::ExprMatch) {
        let ends_with_all = choice.arms.last().is_some_and(|last| takes_all(&last.pat));
        let arms = choice.arms.len().saturating_sub(1);
        for arm in choice.arms.iter().take(if ends_with_all { arms } else { 0 }) {
            if !matches!(arm.pat, Pat::Guard(_)) {
                let (span, text) = (arm.pat.span(), self.of(&arm.pat));
                let changes = vec![self.change(span, "delete the arm", text)];
                let end = span.byte_range().end;
                self.add(end..end, Form::Guard, changes);
            }
        }
        visit::visit_expr_match(self, choice);
    }

    fn visit_expr_binary(&mut self, both: &'ast syn::ExprBinary) {
        let is_chain = has_let(&both.left) || has_let(&both.right);
        if !is_chain {
            let (left, right) = (self.of(&both.left), self.of(&both.right));
            let operator = self.of(&both.op);
            let same = are_flags(both);
            let others = operators(&both.op).iter().filter(|other| !(same && **other == "^")).map(|other| {
                let text = if is_assignment(&both.op) {
                    format!("{left} {other} {right}")
                } else {
                    format!("({left}) {other} ({right})")
                };
                (format!("replace {operator} with {other}"), text)
            });
            self.replace(both, both.op.span(), others.collect());
        }
        visit::visit_expr_binary(self, both);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let operator = match unary.op {
            UnOp::Not(_) => "!",
            UnOp::Neg(_) => "-",
            _ => return visit::visit_expr_unary(self, unary),
        };
        let others = vec![(format!("delete {operator}"), self.of(&unary.expr).to_owned())];
        self.replace(unary, unary.op.span(), others);
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        let (whole, at) = (call.span().byte_range(), call.method.span().byte_range());
        let pair = METHODS.iter().find(|pair| pair.contains(&name.as_str()));
        if let Some([one, other]) = pair {
            let other = if *one == name { other } else { one };
            let text = format!("{}{other}{}", self.text(whole.start..at.start), self.text(at.end..whole.end));
            let others = vec![(format!("replace {name} with {other}"), text)];
            self.replace(call, call.method.span(), others);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_macro(&mut self, call: &'ast syn::ExprMacro) {
        if call.mac.path.is_ident("matches") {
            let others = vec![("negate matches!".to_owned(), format!("!{}", self.of(call)))];
            self.replace(call, call.span(), others);
        }
    }

    fn visit_expr_lit(&mut self, literal: &'ast syn::ExprLit) {
        if let syn::Lit::Bool(truth) = &literal.lit {
            let (is, other) = (truth.value, !truth.value);
            let others = vec![(format!("replace {is} with {other}"), other.to_string())];
            self.replace(literal, literal.span(), others);
        }
    }
}

/// Methods that are exchanged.
const METHODS: &[[&str; 2]] = &[
    ["saturating_add", "saturating_sub"],
    ["wrapping_add", "wrapping_sub"],
    ["checked_add", "checked_sub"],
    ["fetch_add", "fetch_sub"],
    ["is_some", "is_none"],
    ["is_ok", "is_err"],
    ["min", "max"],
    ["any", "all"],
];

fn operators(operator: &BinOp) -> &'static [&'static str] {
    match operator {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">", "<"],
        BinOp::Ge(_) => &["<", ">"],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+"],
        BinOp::Mul(_) => &["+"],
        BinOp::Div(_) => &["*"],
        BinOp::Rem(_) => &["+"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+="],
        BinOp::BitAndAssign(_) => &["|=", "^="],
        BinOp::BitOrAssign(_) => &["&=", "^="],
        BinOp::BitXorAssign(_) => &["|=", "&="],
        _ => &[],
    }
}

/// Whether both sides of an operator are constants: flags, of which `|` and `^` make the same number.
fn are_flags(both: &syn::ExprBinary) -> bool {
    fn is_constant(side: &Expr) -> bool {
        match side {
            Expr::Path(path) => path.path.segments.last().is_some_and(|last| {
                last.ident
                    .to_string()
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            }),
            Expr::Paren(inner) => is_constant(&inner.expr),
            Expr::Binary(both) => matches!(both.op, BinOp::BitOr(_)) && are_flags(both),
            _ => false,
        }
    }
    matches!(both.op, BinOp::BitOr(_)) && is_constant(&both.left) && is_constant(&both.right)
}

fn is_assignment(operator: &BinOp) -> bool {
    matches!(
        operator,
        BinOp::AddAssign(_)
            | BinOp::SubAssign(_)
            | BinOp::BitAndAssign(_)
            | BinOp::BitOrAssign(_)
            | BinOp::BitXorAssign(_)
    )
}

/// Whether a condition is a chain with a pattern in it.
fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(both) => {
            matches!(both.op, BinOp::And(_)) && (has_let(&both.left) || has_let(&both.right))
        }
        _ => false,
    }
}

fn takes_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Ident(name) => {
            name.subpat.is_none() && name.ident.to_string().starts_with(|first: char| first.is_lowercase())
        }
        _ => false,
    }
}

/// Whether a statement is one that only acts.
fn is_left_out(expression: &Expr, ends: bool) -> bool {
    match expression {
        Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_) | Expr::Try(_) => ends,
        Expr::Binary(both) => ends && is_assignment(&both.op),
        // Statements in it are left out for themselves.
        Expr::Unsafe(block) => {
            ends && matches!(block.block.stmts.as_slice(), [Stmt::Expr(only, None)] if is_left_out(only, true))
        }
        _ => false,
    }
}

/// `drop(name)`
fn drops_a_name(call: &syn::ExprCall) -> bool {
    let names = |expression: &Expr| matches!(expression, Expr::Path(path) if path.path.get_ident().is_some());
    matches!(&*call.func, Expr::Path(path) if path.path.is_ident("drop")) && call.args.iter().all(names)
}

/// `let _ = act();`
fn is_thrown_away(local: &syn::Local) -> bool {
    let acts = |value: &Expr| matches!(value, Expr::Call(_) | Expr::MethodCall(_) | Expr::Unsafe(_));
    matches!(local.pat, Pat::Wild(_)) && local.init.as_ref().is_some_and(|init| acts(&init.expr))
}

/// Whether a body has nothing in it that could be left out.
fn says_nothing(block: &syn::Block) -> bool {
    block.stmts.iter().all(does_nothing)
}

/// `let _ = name;`
fn does_nothing(statement: &Stmt) -> bool {
    match statement {
        Stmt::Local(local) => matches!(local.pat, Pat::Wild(_)) && !is_thrown_away(local),
        _ => false,
    }
}

/// What a body answers that does nothing else.
fn answer(block: &syn::Block) -> Option<&Expr> {
    match block.stmts.split_last() {
        Some((Stmt::Expr(answer, None), before)) if before.iter().all(does_nothing) => Some(answer),
        _ => None,
    }
}

fn is_of_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}
