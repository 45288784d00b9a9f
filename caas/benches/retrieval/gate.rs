//! What must be reached.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::report::Report;

/// What a figure of a row, or what it is more than that of other rows, is at the least.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gate {
    id: String,
    /// The sets it is about; all, where none is named.
    #[serde(default)]
    sets: Vec<String>,
    row: String,
    metric: String,
    /// The best of these rows is taken off.
    #[serde(default)]
    over: Vec<String>,
    least: f64,
    /// What it takes to measure it. Without that it is neither reached nor missed.
    #[serde(default)]
    needs: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Gates(Vec<Gate>);

/// How a report stands to a gate.
#[derive(Debug)]
pub(crate) struct Verdict {
    what: String,
    figure: Option<f64>,
    least: f64,
    needs: Option<String>,
    pub(crate) reached: bool,
}

impl Gates {
    pub(crate) fn read() -> anyhow::Result<Self> {
        Ok(Self(serde_json::from_str(include_str!("gates.json"))?))
    }

    /// The gates of the report's set.
    pub(crate) fn hold(&self, report: &Report) -> Vec<Verdict> {
        let about = |gate: &&Gate| gate.sets.is_empty() || gate.sets.contains(&report.set);
        self.0.iter().filter(about).map(|gate| gate.hold(report)).collect()
    }
}

impl Gate {
    fn hold(&self, report: &Report) -> Verdict {
        let Self { id, row, metric, over, .. } = self;
        let figure = self.figure(report);
        let over = if over.is_empty() { String::new() } else { format!(" over {}", over.join(", ")) };
        Verdict {
            what: format!("{id}: {metric} of `{row}`{over}"),
            figure,
            least: self.least,
            needs: self.needs.clone(),
            reached: figure.map_or(self.needs.is_some(), |figure| self.least <= figure),
        }
    }

    fn figure(&self, report: &Report) -> Option<f64> {
        let figure = report.figure(&self.row, &self.metric)?;
        let others: Option<Vec<f64>> = self.over.iter().map(|row| report.figure(row, &self.metric)).collect();
        let best = others?.into_iter().reduce(f64::max);
        Some(figure - best.unwrap_or_default())
    }
}

impl Verdict {
    pub(crate) fn json(&self) -> Value {
        json!({ "gate": self.what, "figure": self.figure, "least": self.least, "reached": self.reached })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, least, .. } = self;
        match (self.figure, &self.needs) {
            (Some(figure), _) => {
                let word = if self.reached { "reached" } else { "MISSED" };
                write!(f, "{word:8} {what}: {figure:.4}, at least {least}")
            }
            (None, Some(needs)) => write!(f, "not measured: {what}, for want of {needs}"),
            (None, None) => write!(f, "MISSED   {what}: not measured"),
        }
    }
}
