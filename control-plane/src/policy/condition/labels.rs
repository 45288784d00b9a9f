//! Conditions on where things came from.

use agent_primitives::Label;
use agent_tool_registry::ArgumentRole;

use super::super::error::{Code, Report};
use super::super::fields::{self, Fields};
use super::super::guard::Truth;
use super::super::source::{Entry, Node};
use crate::flow::Argument;
use crate::question::{CallKind, Caller, Question};

/// Whose labels a condition can look at.
pub(in crate::policy) const BEARERS: [&str; 5] =
    ["labels", "labels.args", "labels.args.NAME", "labels.authority", "labels.content"];
pub(in crate::policy) const FIELDS: [&str; 3] = ["any_of", "all_of", "none_of"];

/// Whose labels a condition looks at.
#[derive(Debug)]
pub(in crate::policy) enum Bearer {
    /// The agent: everything it has read.
    Agent,
    /// All arguments together.
    Arguments,
    /// The arguments that decide who, what, where or how much: all that the contract does not call content, since what it
    /// does not speak of may decide anything.
    Authority,
    /// The arguments that the contract calls content.
    Content,
    /// One argument.
    Named(Box<str>),
}

impl Bearer {
    /// What follows `labels` in the name of a condition, if it is one on labels.
    pub(super) fn named_by(key: &str) -> Option<&str> {
        key.strip_prefix("labels").filter(|part| part.is_empty() || part.starts_with('.'))
    }

    pub(super) fn parse(part: &str, entry: &Entry, calls: &[CallKind], report: &mut Report) -> Option<Self> {
        let bearer = match part {
            "" => return Some(Self::Agent),
            ".args" => Self::Arguments,
            ".authority" => Self::Authority,
            ".content" => Self::Content,
            _ => match part.strip_prefix(".args.") {
                Some(name) if !name.is_empty() => Self::Named(name.into()),
                _ => {
                    report.unknown(Code::BadSubject, entry.at, "bearer of labels", &entry.key, &BEARERS);
                    return None;
                }
            },
        };
        if let Some(call) = calls.iter().find(|call| **call != CallKind::Exec) {
            let message = format!("a call of `{call}` has no `{}`", entry.key);
            report.add_help(Code::BadSubject, entry.at, message, "write one rule for each kind of call");
            return None;
        }
        Some(bearer)
    }

    /// Whether the bearer carries `label`. An argument that is not there carries nothing.
    pub(super) fn carries(&self, label: &str, caller: &Caller<'_>, question: &Question<'_>) -> bool {
        let Some(arguments) = question.arguments else { return caller.labels.contains(label) };
        let speaks_of = |argument: &Argument| match self {
            Self::Agent => false,
            Self::Arguments => true,
            Self::Authority => argument.role != ArgumentRole::Content,
            Self::Content => argument.role == ArgumentRole::Content,
            Self::Named(name) => argument.name == **name,
        };
        match self {
            Self::Agent => caller.labels.contains(label),
            _ => arguments.iter().any(|argument| speaks_of(argument) && argument.labels.contains(label)),
        }
    }
}

/// Which labels must, and must not, be there.
#[derive(Debug, Default)]
pub(in crate::policy) struct LabelGuard {
    any_of: Option<Box<[Label]>>,
    all_of: Box<[Label]>,
    none_of: Box<[Label]>,
}

impl LabelGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`labels`", &FIELDS, report)?;
        let (any_of, all_of, none_of) = (guard.get("any_of"), guard.get("all_of"), guard.get("none_of"));
        if any_of.is_none() && all_of.is_none() && none_of.is_none() {
            let help = "name labels under `any_of`, `all_of` or `none_of`";
            report.add_help(Code::Empty, node.at, "`labels` is an empty map, which says nothing", help);
            return None;
        }
        let mut list = |entry: Option<&Entry>| match entry {
            Some(entry) => labels(&entry.value, report).map(Some),
            None => Some(None),
        };
        let (any_of, all_of, none_of) = (list(any_of)?, list(all_of)?, list(none_of)?);
        Some(Self { any_of, all_of: all_of.unwrap_or_default(), none_of: none_of.unwrap_or_default() })
    }

    /// Judges what `carries` says of each label.
    pub(super) fn judge(&self, carries: impl Fn(&str) -> bool) -> Truth {
        let has = |label: &Label| carries(label.as_str());
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
