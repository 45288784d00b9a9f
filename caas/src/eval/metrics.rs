//! Metrics of one ranking.

use std::collections::HashMap;
use std::hash::Hash;

use super::EvalError;

/// What people said of things: 0 is wrong, and the more the better. What is not in it was not judged.
pub type Grades<T> = HashMap<T, u32>;

/// Normalised discounted cumulative gain of the first `k`, 0 to 1: the sum of `grade / log2(rank + 1)` divided by the
/// largest such sum that the grades allow (Järvelin and Kekäläinen 2002, with the discount of `trec_eval`).
///
/// 0 where nothing is right.
///
/// # Errors
/// [`EvalError::Duplicate`], wherever in the run.
pub fn ndcg<T: Eq + Hash>(run: &[T], grades: &Grades<T>, k: usize) -> Result<f64, EvalError> {
    distinct(run)?;
    let gained = run.iter().map(|thing| grades.get(thing).copied().unwrap_or_default());
    let mut best: Vec<u32> = grades.values().copied().collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    let ideal = discounted(best.into_iter(), k);
    Ok(if ideal == 0.0 { 0.0 } else { discounted(gained, k) / ideal })
}

fn discounted(grades: impl Iterator<Item = u32>, k: usize) -> f64 {
    let ranks = (1..).take(k);
    grades.zip(ranks).map(|(grade, rank)| f64::from(grade) / (f64::from(rank) + 1.0).log2()).sum()
}

/// The part of what is right that is among the first `k`, 0 to 1; 0 where nothing is right.
///
/// # Errors
/// [`EvalError::Duplicate`], wherever in the run.
pub fn recall<T: Eq + Hash>(run: &[T], grades: &Grades<T>, k: usize) -> Result<f64, EvalError> {
    distinct(run)?;
    let right = grades.values().filter(|grade| 0 < **grade).count();
    let found = run.iter().take(k).filter(|thing| is_right(grades, thing)).count();
    Ok(if right == 0 { 0.0 } else { found as f64 / right as f64 })
}

/// One over the rank of the first that is right; 0 where none is.
///
/// # Errors
/// [`EvalError::Duplicate`], wherever in the run.
pub fn reciprocal_rank<T: Eq + Hash>(run: &[T], grades: &Grades<T>) -> Result<f64, EvalError> {
    distinct(run)?;
    let first = run.iter().position(|thing| is_right(grades, thing));
    Ok(first.map_or(0.0, |place| 1.0 / (place as f64 + 1.0)))
}

fn is_right<T: Eq + Hash>(grades: &Grades<T>, thing: &T) -> bool {
    grades.get(thing).is_some_and(|grade| 0 < *grade)
}

fn distinct<T: Eq + Hash>(run: &[T]) -> Result<(), EvalError> {
    let mut ranks = HashMap::new();
    for (second, thing) in (1..).zip(run) {
        if let Some(first) = ranks.insert(thing, second) {
            return Err(EvalError::Duplicate { first, second });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grades() -> Grades<&'static str> {
        Grades::from([("a", 3), ("b", 2), ("c", 1), ("wrong", 0)])
    }

    #[test]
    fn the_figures_of_a_known_run() {
        let run = ["b", "x", "a"];
        // 3.5 gained: 2 / log2(2) + 0 + 3 / log2(4); 4.7619 to gain: 3 / log2(2) + 2 / log2(3) + 1 / log2(4).
        let ndcg = ndcg(&run, &grades(), 10).unwrap();
        assert!((ndcg - 3.5 / 4.761_859_507).abs() < 1e-9, "{ndcg}");
        assert!((recall(&run, &grades(), 2).unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert!((reciprocal_rank(&run, &grades()).unwrap() - 1.0).abs() < 1e-12);
        assert!((reciprocal_rank(&["x", "wrong", "c"], &grades()).unwrap() - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_there_twice_is_refused() {
        let run = ["b", "x", "b"];
        let error = EvalError::Duplicate { first: 1, second: 3 };
        assert_eq!(ndcg(&run, &grades(), 1), Err(error.clone()));
        assert_eq!(recall(&run, &grades(), 1), Err(error.clone()));
        assert_eq!(reciprocal_rank(&run, &grades()), Err(error));
    }

    #[test]
    fn without_anything_right_all_is_nought() {
        let none = Grades::from([("wrong", 0)]);
        assert_eq!(ndcg(&["wrong"], &none, 10), Ok(0.0));
        assert_eq!(recall(&["wrong"], &none, 10), Ok(0.0));
        assert_eq!(reciprocal_rank(&["wrong"], &none), Ok(0.0));
    }

    proptest! {
        #[test]
        fn the_best_order_is_worth_1_and_no_order_is_worth_more(
            values in prop::collection::vec(0u32..4, 1..20), k in 1usize..25,
        ) {
            let grades: Grades<usize> = values.iter().copied().enumerate().collect();
            let run: Vec<usize> = (0..values.len()).collect();
            let mut best = run.clone();
            best.sort_by_key(|thing| std::cmp::Reverse(values[*thing]));
            let all = f64::from(u8::from(values.iter().any(|grade| 0 < *grade)));
            let ideal = ndcg(&best, &grades, k).unwrap();
            prop_assert!((ideal - all).abs() < 1e-9);
            prop_assert!(ndcg(&run, &grades, k).unwrap() <= ideal + 1e-9);
            prop_assert_eq!(recall(&run, &grades, values.len()), Ok(all));
        }
    }
}
