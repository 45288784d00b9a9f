//! Equality and order, exact and without coercion.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::mem::discriminant;

use serde_json::{Number, Value};

use super::super::error::{Code, Report};
use super::super::fields;
use super::super::source::{Node, Tree};
use super::{Operand, Truth};

/// The relations on numbers and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Comparison {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Comparison {
    pub(in crate::policy) const NAMES: [(&'static str, Self); 6] = [
        ("eq", Self::Eq),
        ("ne", Self::Ne),
        ("lt", Self::Lt),
        ("lte", Self::Lte),
        ("gt", Self::Gt),
        ("gte", Self::Gte),
    ];

    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Gte => order.is_ge(),
        }
    }
}

/// `lt`, `lte`, `gt` or `gte` with its bound.
#[derive(Debug)]
pub(in crate::policy) struct NumberGuard {
    comparison: Comparison,
    bound: Number,
}

impl NumberGuard {
    pub(super) fn parse(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let (_, comparison) = Comparison::NAMES.into_iter().find(|(known, _)| *known == name)?;
        match &node.tree {
            Tree::Number(bound) => Some(Self { comparison, bound: bound.clone() }),
            Tree::Reported => None,
            _ => {
                let help = "text, dates and booleans have no order here";
                report.add_help(Code::WrongType, node.at, format!("`{name}` compares with a number"), help);
                None
            }
        }
    }

    pub(super) fn judge(&self, operand: Operand<'_>) -> Truth {
        match operand {
            Operand::Json(Value::Number(number)) => compare(number, &self.bound)
                .map_or(Truth::Unknown, |order| self.comparison.holds(order).into()),
            _ => Truth::Unknown,
        }
    }
}

/// The values of `eq`, `ne`, `in` and `not_in`. Texts, which lists mostly hold, are found by hash.
#[derive(Debug)]
pub(in crate::policy) struct Literals {
    texts: HashSet<Box<str>>,
    others: Vec<Value>,
    /// Whether every literal is null, which says nothing about the type that was meant.
    only_null: bool,
}

impl Literals {
    pub(super) fn one(node: &Node) -> Self {
        Self::of(std::slice::from_ref(node))
    }

    pub(super) fn parse(node: &Node, what: &str, report: &mut Report) -> Option<Self> {
        Some(Self::of(fields::some_list(node, what, report)?))
    }

    fn of(nodes: &[Node]) -> Self {
        let mut literals = Self { texts: HashSet::new(), others: Vec::new(), only_null: false };
        for node in nodes {
            match node.to_json() {
                Value::String(text) => {
                    literals.texts.insert(text.into());
                }
                other => literals.others.push(other),
            }
        }
        literals.only_null = literals.texts.is_empty() && literals.others.iter().all(Value::is_null);
        literals
    }

    /// Whether the operand is one of the literals, or none of them if not `wanted`. Unknown if no literal has its type:
    /// otherwise whatever is wrapped in a list would be unequal to the name it must not be.
    pub(super) fn judge(&self, operand: Operand<'_>, wanted: bool) -> Truth {
        match self.contain(operand) {
            false if !self.comparable(operand) => Truth::Unknown,
            contained => (contained == wanted).into(),
        }
    }

    fn comparable(&self, operand: Operand<'_>) -> bool {
        self.only_null
            || match operand {
                Operand::Text(_) | Operand::Json(Value::String(_)) => !self.texts.is_empty(),
                Operand::Json(Value::Null) => true,
                Operand::Json(value) => {
                    self.others.iter().any(|other| discriminant(value) == discriminant(other))
                }
                Operand::Items(_) => self.others.iter().any(Value::is_array),
            }
    }

    fn contain(&self, operand: Operand<'_>) -> bool {
        if let Some(text) = operand.text() {
            return self.texts.contains(text);
        }
        match operand {
            Operand::Json(value) => self.others.iter().any(|other| equal(value, other)),
            Operand::Items(items) => self
                .others
                .iter()
                .any(|other| other.as_array().is_some_and(|other| equal_items(items, other))),
            Operand::Text(_) => false,
        }
    }
}

/// JSON equality with numbers compared by value. Recursion ends with the shallower of the two, and one of them comes
/// from a document of bounded depth.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare(left, right) == Some(Ordering::Equal),
        (Value::Array(left), Value::Array(right)) => equal_items(left, right),
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

fn equal_items(left: &[Value], right: &[Value]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
}

/// The order of two numbers by exact value; `None` only if one is not finite, which JSON cannot say.
fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        (Some(left), None) => against_float(left, right.as_f64()?),
        (None, Some(right)) => against_float(right, left.as_f64()?).map(Ordering::reverse),
        (None, None) => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Compares the whole parts as integers first: rounding the integer to a double could make two numbers equal.
fn against_float(left: i128, right: f64) -> Option<Ordering> {
    if !right.is_finite() {
        return None;
    }
    // A cast from a float saturates, which is what is wanted: no i64 or u64 reaches the ends of an i128.
    let whole = right.trunc();
    Some(
        left.cmp(&(whole as i128))
            .then_with(|| 0.0_f64.partial_cmp(&(right - whole)).unwrap_or(Ordering::Equal)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_compare_by_exact_value() {
        let cases = [
            ("1", "1.0", Ordering::Equal),
            ("0", "-0.0", Ordering::Equal),
            ("9007199254740993", "9007199254740992.0", Ordering::Greater),
            ("18446744073709551615", "18446744073709551616.0", Ordering::Less),
            ("-1", "-1.5", Ordering::Greater),
            ("1", "1.5", Ordering::Less),
            ("-9223372036854775808", "1e308", Ordering::Less),
            ("0.1", "0.1000000000000000055", Ordering::Equal),
            ("1e-300", "0", Ordering::Greater),
        ];
        for (left, right, expected) in cases {
            assert_eq!(compare(&number(left), &number(right)), Some(expected), "{left} {right}");
            assert_eq!(compare(&number(right), &number(left)), Some(expected.reverse()), "{right} {left}");
        }
    }
}
