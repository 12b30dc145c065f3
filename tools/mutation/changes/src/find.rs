//! The changes of a file. Code of tests is passed over; what cannot be chosen at run time, such as
//! a constant, or is not compiled here, such as a GPU's half, is listed as untried.

use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, Pat, Signature, UnOp};

use crate::values;

pub struct Change {
    /// As `Type::function`.
    pub function: String,
    pub kind: &'static str,
    pub was: String,
    pub now: String,
    /// Why it cannot be tried.
    pub untried: Option<&'static str>,
    pub at: Range<usize>,
    pub form: Form,
}

/// How a change is put to sleep; an outer form of two at one place comes last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Arm,
    Expression,
    Guard,
    Body,
}

pub fn changes(source: &str) -> syn::Result<Vec<Change>> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder {
        source,
        ..Finder::default()
    };
    finder.visit_file(&file);
    Ok(finder.changes)
}

/// A node's tokens, as they are compared and shown.
pub fn text_of(node: &impl Spanned) -> String {
    node.span().source_text().unwrap_or_default()
}

#[derive(Default)]
pub struct Finder<'s> {
    pub source: &'s str,
    changes: Vec<Change>,
    names: Vec<String>,
    untried: Option<&'static str>,
}

impl Finder<'_> {
    pub fn found(&mut self, kind: &'static str, form: Form, at: Range<usize>, now: String) {
        let was = self.source[at.clone()].to_string();
        self.shown(kind, form, at, was, now);
    }

    pub fn shown(
        &mut self,
        kind: &'static str,
        form: Form,
        at: Range<usize>,
        was: String,
        now: String,
    ) {
        self.changes.push(Change {
            function: self.names.join("::"),
            kind,
            was,
            now,
            untried: self.untried,
            at,
            form,
        });
    }

    pub fn text(&self, node: &impl Spanned) -> &str {
        &self.source[node.span().byte_range()]
    }

    /// Goes on below a node with these attributes, as far as they let it.
    pub fn below(&mut self, attributes: &[Attribute], go: impl FnOnce(&mut Self)) {
        let texts: Vec<_> = attributes.iter().map(text_of).collect();
        let has = |part: &str| texts.iter().any(|text| text.contains(part));
        if has("cfg(test)") || has("#[test]") {
            return;
        }
        let gpu = has("cfg(feature = \"cuda\")").then_some("compiled for a GPU only");
        self.until(gpu, go);
    }

    pub fn until(&mut self, reason: Option<&'static str>, go: impl FnOnce(&mut Self)) {
        let before = self.untried;
        self.untried = before.or(reason);
        go(self);
        self.untried = before;
    }

    fn constant(&mut self, go: impl FnOnce(&mut Self)) {
        self.until(Some("constant"), go);
    }

    fn named(&mut self, name: String, go: impl FnOnce(&mut Self)) {
        self.names.push(name);
        go(self);
        self.names.pop();
    }

    fn function(&mut self, signature: &Signature, body: &Block, go: impl FnOnce(&mut Self)) {
        if signature.unsafety.is_some() || body.stmts.is_empty() {
            return;
        }
        let reason = signature.constness.map(|_| "constant");
        self.until(reason, |finder| {
            finder.named(signature.ident.to_string(), |finder| {
                finder.values(signature, body);
                go(finder);
            });
        });
    }

    fn values(&mut self, signature: &Signature, body: &Block) {
        // A constructor has no value that is wrong and compiles.
        if signature.ident == "new" {
            return;
        }
        let range = body.span().byte_range();
        let at = range.start + 1..range.end - 1;
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        for now in values::of_return(&signature.output) {
            if bare(&now) != bare(&self.source[at.clone()]) {
                self.shown("value", Form::Body, at.clone(), "its value".into(), now);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, of: &'ast syn::ItemFn) {
        self.below(&of.attrs, |finder| {
            finder.function(&of.sig, &of.block, |finder| {
                visit::visit_item_fn(finder, of)
            });
        });
    }

    fn visit_impl_item_fn(&mut self, of: &'ast syn::ImplItemFn) {
        self.below(&of.attrs, |finder| {
            finder.function(&of.sig, &of.block, |finder| {
                visit::visit_impl_item_fn(finder, of)
            });
        });
    }

    fn visit_trait_item_fn(&mut self, of: &'ast syn::TraitItemFn) {
        let Some(body) = &of.default else {
            return;
        };
        self.below(&of.attrs, |finder| {
            finder.function(&of.sig, body, |finder| {
                visit::visit_trait_item_fn(finder, of)
            });
        });
    }

    fn visit_item_impl(&mut self, of: &'ast syn::ItemImpl) {
        let is_default = |path: &syn::Path| path.is_ident("Default");
        if of
            .trait_
            .as_ref()
            .is_some_and(|(_, path, _)| is_default(path))
        {
            return;
        }
        self.below(&of.attrs, |finder| {
            let name = text_of(&of.self_ty);
            finder.named(name, |finder| visit::visit_item_impl(finder, of));
        });
    }

    fn visit_item_trait(&mut self, of: &'ast syn::ItemTrait) {
        self.below(&of.attrs, |finder| {
            finder.named(of.ident.to_string(), |finder| {
                visit::visit_item_trait(finder, of)
            });
        });
    }

    fn visit_item_mod(&mut self, of: &'ast syn::ItemMod) {
        self.below(&of.attrs, |finder| {
            finder.named(of.ident.to_string(), |finder| {
                visit::visit_item_mod(finder, of)
            });
        });
    }

    fn visit_item_const(&mut self, of: &'ast syn::ItemConst) {
        self.constant(|finder| visit::visit_item_const(finder, of));
    }

    fn visit_item_static(&mut self, of: &'ast syn::ItemStatic) {
        self.constant(|finder| visit::visit_item_static(finder, of));
    }

    fn visit_impl_item_const(&mut self, of: &'ast syn::ImplItemConst) {
        self.constant(|finder| visit::visit_impl_item_const(finder, of));
    }

    fn visit_trait_item_const(&mut self, of: &'ast syn::TraitItemConst) {
        self.constant(|finder| visit::visit_trait_item_const(finder, of));
    }

    fn visit_type(&mut self, of: &'ast syn::Type) {
        self.constant(|finder| visit::visit_type(finder, of));
    }

    fn visit_expr_const(&mut self, of: &'ast syn::ExprConst) {
        self.constant(|finder| visit::visit_expr_const(finder, of));
    }

    fn visit_expr_repeat(&mut self, of: &'ast syn::ExprRepeat) {
        self.visit_expr(&of.expr);
        self.constant(|finder| finder.visit_expr(&of.len));
    }

    fn visit_item_enum(&mut self, of: &'ast syn::ItemEnum) {
        self.constant(|finder| visit::visit_item_enum(finder, of));
    }

    fn visit_pat(&mut self, of: &'ast Pat) {
        self.constant(|finder| visit::visit_pat(finder, of));
    }

    fn visit_local(&mut self, of: &'ast syn::Local) {
        self.below(&of.attrs, |finder| visit::visit_local(finder, of));
    }

    fn visit_arm(&mut self, of: &'ast syn::Arm) {
        self.below(&of.attrs, |finder| visit::visit_arm(finder, of));
    }

    fn visit_field_value(&mut self, of: &'ast syn::FieldValue) {
        self.below(&of.attrs, |finder| visit::visit_field_value(finder, of));
    }

    fn visit_expr(&mut self, of: &'ast Expr) {
        match of {
            Expr::Binary(of) => self.forms_of_binary(of),
            Expr::MethodCall(of) => self.forms_of_call(of),
            Expr::Match(of) => self.forms_of_match(of),
            Expr::Struct(of) => self.forms_of_struct(of),
            Expr::Unary(of) if matches!(of.op, UnOp::Not(_) | UnOp::Neg(_)) => {
                let now = self.text(&of.expr).to_string();
                self.found("sign", Form::Expression, of.span().byte_range(), now);
            }
            Expr::Lit(of) => {
                if let syn::Lit::Bool(flag) = &of.lit {
                    let now = (!flag.value).to_string();
                    self.found("flag", Form::Expression, of.span().byte_range(), now);
                }
            }
            _ => {}
        }
        visit::visit_expr(self, of);
    }
}
