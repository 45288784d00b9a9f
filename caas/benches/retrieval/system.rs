//! What is measured.

use std::collections::HashMap;

use agent_primitives::{Clock, SystemClock};
use caas_core::eval::{Grades, Tally};

use crate::report::{HITS, Measured};
use crate::set::Set;

/// Something that ranks the texts of a corpus.
pub(crate) trait System {
    /// What the row of the table is called.
    fn name(&self) -> &str;

    /// The best `k` texts by name, best first.
    fn search(&self, question: &str, k: usize) -> anyhow::Result<Vec<String>>;
}

/// Asks a system every question.
pub(crate) fn measure(
    set: &Set,
    grades: &HashMap<String, Grades<String>>,
    system: &dyn System,
) -> anyhow::Result<Measured> {
    let none = Grades::new();
    let clock = SystemClock::new();
    let mut tally = Tally::default();
    let mut latencies = Vec::new();
    for question in &set.questions {
        let start = clock.monotonic();
        let run = system.search(&question.text, HITS)?;
        latencies.push(clock.monotonic().since(start));
        tally.add(&run, grades.get(&question.id).unwrap_or(&none))?;
    }
    let means = tally.means();
    Ok(Measured {
        name: system.name().to_owned(),
        figures: vec![
            ("ndcg_10", means.ndcg_10),
            ("recall_10", means.recall_10),
            ("recall_20", means.recall_20),
            ("recall_100", means.recall_100),
            ("mrr", means.mrr),
        ],
        by_question: tally.ndcg_10().to_vec(),
        latencies,
        skipped: means.skipped,
    })
}
