//! Conditions on where things came from.

use agent_primitives::{Label, LabelSet};

use super::super::error::{Code, Report};
use super::super::fields::{self, Fields};
use super::super::guard::Truth;
use super::super::source::Node;

/// Which labels must, and must not, be there.
#[derive(Debug, Default)]
pub(in crate::policy) struct LabelGuard {
    any_of: Option<Box<[Label]>>,
    all_of: Box<[Label]>,
    none_of: Box<[Label]>,
}

impl LabelGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`labels`", &["any_of", "all_of", "none_of"], report)?;
        let (any_of, all_of, none_of) = (guard.get("any_of"), guard.get("all_of"), guard.get("none_of"));
        if any_of.is_none() && all_of.is_none() && none_of.is_none() {
            let help = "name labels under `any_of`, `all_of` or `none_of`";
            report.add_help(Code::Empty, node.at, "`labels` is an empty map, which says nothing", help);
            return None;
        }
        let mut list = |entry: Option<&super::super::source::Entry>| match entry {
            Some(entry) => labels(&entry.value, report).map(Some),
            None => Some(None),
        };
        let (any_of, all_of, none_of) = (list(any_of)?, list(all_of)?, list(none_of)?);
        Some(Self { any_of, all_of: all_of.unwrap_or_default(), none_of: none_of.unwrap_or_default() })
    }

    pub(super) fn judge(&self, labels: &LabelSet) -> Truth {
        let has = |label: &Label| labels.contains(label.as_str());
        let holds = self.any_of.as_ref().is_none_or(|wanted| wanted.iter().any(has))
            && self.all_of.iter().all(has)
            && !self.none_of.iter().any(has);
        holds.into()
    }
}

fn labels(node: &Node, report: &mut Report) -> Option<Box<[Label]>> {
    let texts = fields::texts(node, "a list of labels", report)?;
    let parsed: Vec<Option<Label>> = texts
        .into_iter()
        .map(|(text, at)| match text.parse() {
            Ok(label) => Some(label),
            Err(error) => {
                report.add(Code::BadOperand, at, format!("{error}"));
                None
            }
        })
        .collect();
    parsed.into_iter().collect::<Option<Vec<_>>>().map(Vec::into_boxed_slice)
}
