//! The other forms of each kind of expression.

use syn::spanned::Spanned;
use syn::{BinOp, Expr, Pat};

use crate::find::{Finder, Form};

/// Methods of numbers whose result may stand for their receiver.
const ARITHMETIC: [&str; 28] = [
    "abs",
    "ceil",
    "clamp",
    "div_ceil",
    "exp",
    "exp2",
    "exp_m1",
    "floor",
    "ln",
    "ln_1p",
    "max",
    "min",
    "mul_add",
    "next_multiple_of",
    "next_power_of_two",
    "powf",
    "powi",
    "recip",
    "rem_euclid",
    "round",
    "saturating_add",
    "saturating_sub",
    "signum",
    "sqrt",
    "tanh",
    "wrapping_add",
    "wrapping_mul",
    "wrapping_sub",
];

impl Finder<'_> {
    pub fn forms_of_binary(&mut self, of: &syn::ExprBinary) {
        let at = of.span().byte_range();
        let (left, right) = (
            self.text(&of.left).to_string(),
            self.text(&of.right).to_string(),
        );
        let tests_pattern = [&of.left, &of.right]
            .into_iter()
            .any(|side| holds_let(side));
        self.until(tests_pattern.then_some("a pattern's condition"), |finder| {
            for other in others(of.op) {
                let now = format!("({left}) {other} ({right})");
                finder.found("operator", Form::Expression, at.clone(), now);
            }
            let alone: Vec<String> = match of.op {
                BinOp::Add(_) | BinOp::Mul(_) if left == right => vec![left],
                BinOp::Add(_) | BinOp::Mul(_) => vec![left, right],
                BinOp::Sub(_) | BinOp::Div(_) => vec![left],
                BinOp::AddAssign(_)
                | BinOp::SubAssign(_)
                | BinOp::MulAssign(_)
                | BinOp::DivAssign(_) => {
                    vec!["()".into(), format!("{left} = {right}")]
                }
                _ => Vec::new(),
            };
            for now in alone {
                finder.found("left out", Form::Expression, at.clone(), now);
            }
        });
    }

    pub fn forms_of_call(&mut self, of: &syn::ExprMethodCall) {
        let name = of.method.to_string();
        if !ARITHMETIC.contains(&name.as_str()) {
            return;
        }
        let (at, receiver) = (of.span().byte_range(), self.text(&of.receiver).to_string());
        if let Some(other) = [("max", "min"), ("min", "max")]
            .iter()
            .find(|pair| pair.0 == name)
        {
            let method = of.method.span().byte_range();
            let (before, after) = (at.start..method.start, method.end..at.end);
            let now = [&self.source[before], other.1, &self.source[after]].concat();
            self.found("operator", Form::Expression, at.clone(), now);
        }
        self.found("left out", Form::Expression, at, receiver);
    }

    pub fn forms_of_match(&mut self, of: &syn::ExprMatch) {
        let is_rest = |pat: &Pat| matches!(pat, Pat::Wild(_));
        let has_rest = of.arms.iter().any(|arm| is_rest(&arm.pat));
        for arm in &of.arms {
            self.below(&arm.attrs, |finder| {
                if let Some((_, guard)) = &arm.guard {
                    for now in ["true", "false"] {
                        let at = guard.span().byte_range();
                        finder.found("guard", Form::Guard, at, now.into());
                    }
                } else if has_rest && !is_rest(&arm.pat) {
                    let (end, was) = (
                        arm.pat.span().byte_range().end,
                        finder.text(&arm.pat).into(),
                    );
                    finder.shown("arm", Form::Arm, end..end, was, "no arm".into());
                }
            });
        }
    }

    /// A field that is named beside a base: the base's instead.
    pub fn forms_of_struct(&mut self, of: &syn::ExprStruct) {
        let Some(base) = &of.rest else {
            return;
        };
        let (path, base) = (self.text(&of.path).to_string(), self.text(base).to_string());
        for (index, field) in of.fields.iter().enumerate() {
            let others = of
                .fields
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            let others: String = others
                .map(|(_, field)| self.text(field).to_string() + ", ")
                .collect();
            let now = format!("({path} {{ {others}..{base} }})");
            let was = self.text(field).to_string();
            self.shown("field", Form::Expression, of.span().byte_range(), was, now);
        }
    }
}

fn holds_let(side: &Expr) -> bool {
    match side {
        Expr::Let(_) => true,
        Expr::Binary(of) => holds_let(&of.left) || holds_let(&of.right),
        _ => false,
    }
}

fn others(operator: BinOp) -> &'static [&'static str] {
    match operator {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">"],
        BinOp::Ge(_) => &["<"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) | BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["%", "*"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) | BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::DivAssign(_) => &["%=", "*="],
        BinOp::RemAssign(_) => &["/=", "+="],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::ShlAssign(_) => &[">>="],
        BinOp::ShrAssign(_) => &["<<="],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOrAssign(_) => &["&="],
        BinOp::BitXorAssign(_) => &["|=", "&="],
        _ => &[],
    }
}
