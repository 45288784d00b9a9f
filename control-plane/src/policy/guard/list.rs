//! Guards on the items of an array and on the texts of a value.

use super::leaves;
use super::{Guard, Operand, Truth};

/// Which items a guard speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Quantifier {
    /// Every item; holds for an empty array.
    Each,
    /// At least one item.
    Some,
    /// The first item; unknown for an empty array.
    First,
    /// The array without its first item; unknown for an empty array.
    Rest,
    /// At least one text, key or value, at any depth.
    AnyLeaf,
    /// Every text, key or value, at any depth.
    EveryLeaf,
}

pub(super) fn judge(quantifier: Quantifier, guard: &Guard, operand: Operand<'_>) -> Truth {
    if matches!(quantifier, Quantifier::AnyLeaf | Quantifier::EveryLeaf) {
        let Some(texts) = leaves::texts(operand) else { return Truth::Unknown };
        let judged = texts.into_iter().map(|text| guard.judge(Operand::Text(text)));
        return if quantifier == Quantifier::AnyLeaf { Truth::any(judged) } else { Truth::all(judged) };
    }
    let Some(items) = operand.items() else { return Truth::Unknown };
    let judged = items.iter().map(|item| guard.judge(Operand::Json(item)));
    match (quantifier, items) {
        (Quantifier::Each, _) => Truth::all(judged),
        (Quantifier::Some, _) => Truth::any(judged),
        (Quantifier::First, [first, ..]) => guard.judge(Operand::Json(first)),
        (Quantifier::Rest, [_, rest @ ..]) => guard.judge(Operand::Items(rest)),
        (Quantifier::First | Quantifier::Rest, []) => Truth::Unknown,
        // Judged above.
        (Quantifier::AnyLeaf | Quantifier::EveryLeaf, _) => Truth::Unknown,
    }
}
