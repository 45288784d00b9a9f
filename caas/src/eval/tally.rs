//! Metrics over many questions.

use std::hash::Hash;

use super::metrics::{ndcg, recall, reciprocal_rank};
use super::{EvalError, Grades};

/// Gathers the metrics of rankings, question by question.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    ndcg_10: Vec<f64>,
    recall_10: f64,
    recall_20: f64,
    recall_100: f64,
    reciprocal_rank: f64,
    skipped: usize,
}

/// Means over the questions for which something is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Means {
    /// How many questions those are.
    pub questions: usize,
    /// How many were left out, because nothing is known to be right.
    pub skipped: usize,
    /// nDCG of the first 10.
    pub ndcg_10: f64,
    /// Recall in the first 10.
    pub recall_10: f64,
    /// Recall in the first 20.
    pub recall_20: f64,
    /// Recall in the first 100.
    pub recall_100: f64,
    /// Mean reciprocal rank, over the whole rankings.
    pub mrr: f64,
}

impl Tally {
    /// Judges one ranking. A question for which nothing is right is left out, and counted as such.
    ///
    /// # Errors
    /// [`EvalError::Duplicate`]; the tally is as before.
    pub fn add<T: Eq + Hash>(&mut self, run: &[T], grades: &Grades<T>) -> Result<(), EvalError> {
        let gain = ndcg(run, grades, 10)?;
        if grades.values().all(|grade| *grade == 0) {
            self.skipped += 1;
            return Ok(());
        }
        self.recall_10 += recall(run, grades, 10)?;
        self.recall_20 += recall(run, grades, 20)?;
        self.recall_100 += recall(run, grades, 100)?;
        self.reciprocal_rank += reciprocal_rank(run, grades)?;
        self.ndcg_10.push(gain);
        Ok(())
    }

    /// nDCG of the first 10 for each question that was judged, in order.
    #[must_use]
    pub fn ndcg_10(&self) -> &[f64] {
        &self.ndcg_10
    }

    /// The means; all 0 where no question was judged.
    #[must_use]
    pub fn means(&self) -> Means {
        let questions = self.ndcg_10.len();
        // The sum of nothing is negative zero.
        let mean = |sum: f64| (sum + 0.0) / (questions as f64).max(1.0);
        Means {
            questions,
            skipped: self.skipped,
            ndcg_10: mean(self.ndcg_10.iter().sum()),
            recall_10: mean(self.recall_10),
            recall_20: mean(self.recall_20),
            recall_100: mean(self.recall_100),
            mrr: mean(self.reciprocal_rank),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_without_anything_right_are_left_out_and_counted() {
        let mut tally = Tally::default();
        let grades = Grades::from([("a", 1)]);
        tally.add(&["a", "b"], &grades).unwrap();
        tally.add(&["b", "a"], &grades).unwrap();
        tally.add(&["a"], &Grades::new()).unwrap();
        assert!(tally.add(&["b", "b"], &grades).is_err());
        let means = tally.means();
        assert_eq!((means.questions, means.skipped), (2, 1));
        assert!((means.mrr - 0.75).abs() < 1e-12 && (means.recall_10 - 1.0).abs() < 1e-12);
        assert_eq!(tally.ndcg_10().len(), 2);
        assert_eq!(Tally::default().means().ndcg_10.to_bits(), 0.0f64.to_bits());
    }
}
