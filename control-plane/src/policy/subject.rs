//! What a condition looks at: `args.query`, `path`, `context.team`.

use serde_json::Value;

use super::error::{Code, Mark, Report, nearest, quoted};
use super::guard::Operand;
use crate::question::{CallKind, Caller, Object, Question};

/// Most steps below the root of a subject.
const MAX_STEPS: usize = 16;

/// A place in a question.
#[derive(Debug)]
pub(super) struct Subject {
    root: Root,
    steps: Box<[Step]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Args,
    Path,
    Tool,
    Agent,
    Tenant,
    Target,
    Signal,
    Context,
}

pub(super) const ROOTS: [(&str, Root); 8] = [
    ("args", Root::Args),
    ("path", Root::Path),
    ("tool", Root::Tool),
    ("agent", Root::Agent),
    ("tenant", Root::Tenant),
    ("target", Root::Target),
    ("signal", Root::Signal),
    ("context", Root::Context),
];

/// One level down: a key of an object, or, if it was written as a bare number, also an index of an array.
#[derive(Debug)]
struct Step {
    key: Box<str>,
    index: Option<usize>,
}

impl Step {
    fn of<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match value {
            Value::Object(entries) => entries.get(&*self.key),
            Value::Array(items) => items.get(self.index?),
            _ => None,
        }
    }
}

impl Subject {
    /// Parses `text` for a rule about `calls`.
    pub(super) fn parse(text: &str, calls: &[CallKind], at: Mark, report: &mut Report) -> Option<Self> {
        let subject = match read(text) {
            Ok(subject) => subject,
            Err(Bad::Root(found)) => {
                let known = ROOTS.map(|(name, _)| name);
                let help = match nearest(&found, &known) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("a subject starts with one of: {}", known.join(", ")),
                };
                let message = format!("unknown subject {}", quoted(text));
                report.add_help(Code::BadSubject, at, message, help);
                return None;
            }
            Err(Bad::Steps(reason)) => {
                report.add(Code::BadSubject, at, format!("the subject {}: {reason}", quoted(text)));
                return None;
            }
        };
        if let Some(call) = calls.iter().find(|call| !subject.root.occurs_in(**call)) {
            report.add_help(
                Code::BadSubject,
                at,
                format!("a call of `{call}` has no {}", quoted(text)),
                "write one rule for each kind of call",
            );
            return None;
        }
        Some(subject)
    }

    pub(super) const fn root(&self) -> Root {
        self.root
    }

    /// The value the question has there, if it has one.
    pub(super) fn find<'q>(&self, caller: &Caller<'q>, question: &Question<'q>) -> Option<Operand<'q>> {
        let (start, steps) = match (self.root, &question.object) {
            (Root::Args, Object::Tool { arguments, .. }) => (*arguments, &*self.steps),
            (Root::Context, _) => {
                let (first, rest) = self.steps.split_first()?;
                (caller.facts.get(&*first.key)?, rest)
            }
            (Root::Agent, _) => return Some(Operand::Text(caller.agent.as_str())),
            (Root::Tenant, _) => return caller.tenant.map(|tenant| Operand::Text(tenant.as_str())),
            (Root::Path, Object::File(path)) => return Some(Operand::Text(path.as_str())),
            (Root::Tool, Object::Tool { id, .. }) => return Some(Operand::Text(id.as_str())),
            (Root::Target, Object::Agent { id, .. }) => return Some(Operand::Text(id.as_str())),
            (Root::Signal, Object::Agent { signal, .. }) => return Some(Operand::Text(signal.name())),
            _ => return None,
        };
        steps.iter().try_fold(start, |value, step| step.of(value)).map(Operand::Json)
    }
}

impl Root {
    fn occurs_in(self, call: CallKind) -> bool {
        match self {
            Self::Agent | Self::Tenant | Self::Context => true,
            Self::Args | Self::Tool => call == CallKind::Exec,
            Self::Path => matches!(call, CallKind::Read | CallKind::Write | CallKind::Open),
            Self::Target | Self::Signal => call == CallKind::Signal,
        }
    }
}

enum Bad {
    Root(String),
    Steps(&'static str),
}

fn read(text: &str) -> Result<Subject, Bad> {
    let (name, rest) = text.find('.').and_then(|dot| text.split_at_checked(dot)).unwrap_or((text, ""));
    let root = ROOTS.iter().find(|(known, _)| *known == name).map(|(_, root)| *root);
    let root = root.ok_or_else(|| Bad::Root(name.to_owned()))?;
    let steps = steps(rest)?;
    match root {
        Root::Context if steps.is_empty() => Err(Bad::Steps("`context` needs a key, as in `context.team`")),
        Root::Args | Root::Context => Ok(Subject { root, steps }),
        _ if steps.is_empty() => Ok(Subject { root, steps }),
        _ => Err(Bad::Steps("it is plain text and has no keys")),
    }
}

/// Reads `.key`, `.0` and `."any key"`; inside the quotes `\"` and `\\` stand for themselves.
fn steps(mut rest: &str) -> Result<Box<[Step]>, Bad> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').ok_or(Bad::Steps("after a closing quote comes a dot"))?;
        let step = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (key, after) = quoted_key(quoted).ok_or(Bad::Steps("a quote is not closed"))?;
                rest = after;
                Step { key: key.into(), index: None }
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (key, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
                if key.is_empty() || key.contains(['"', ' ']) {
                    return Err(Bad::Steps("a key that is empty or holds spaces or quotes needs quotes"));
                }
                rest = after;
                Step { key: key.into(), index: index(key) }
            }
        };
        steps.push(step);
        if MAX_STEPS < steps.len() {
            return Err(Bad::Steps("it goes too deep"));
        }
    }
    Ok(steps.into())
}

fn quoted_key(text: &str) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return Some((key, chars.as_str())),
            '\\' => key.push(chars.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            other => key.push(other),
        }
    }
    None
}

/// Only the plain spelling of a number is an index, so that `01` and `1` are not two names for one place.
fn index(key: &str) -> Option<usize> {
    key.parse().ok().filter(|index: &usize| index.to_string() == key)
}
