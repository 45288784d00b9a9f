//! `.agents/security.md`: a Markdown file whose YAML says what an agent may do.
//!
//! What counts is YAML: the front matter between `---` lines at the top, and every block fenced as `yaml` (or `yml`), merged
//! in their order. A file without either is YAML as a whole. Prose is for people: no bullet ever grants anything, and
//! `AGENTS.md` is not read at all.
//!
//! ```yaml
//! kernel:
//!   version: "1.0"
//!   mode: strict              # the only one: there is no mode that executes a denied call
//! policies:
//!   - action: "mail.*"        # a tool, or a pattern
//!     effect: allow           # allow or deny
//!     requires_approval: true # makes an allow an ask
//!     rate_limit: 100/hour    # as `rate` in the `limits` of a rule: for each agent
//!     constraints: { args.to: { matches: '@example\.com$' } }   # as `when` of a rule
//!   - { action: "bank.transfer", effect: deny }
//! signals: [SIGKILL]          # each must be one the kernel has
//! observability: { flight_recorder: true }                      # it cannot be turned off
//! ```
//!
//! It becomes a policy like any other: deny over ask over allow, what no entry allows is denied, and a refused agent is
//! killed; one that comes too often is told when to come again. The policy is called `security`, rules `policy-1`, `policy-2`, … Everything else is an error at its line in the Markdown, a key that
//! is unknown and one that could not be enforced alike: another mode, metrics and traces, a key in two
//! blocks, a fence that a reader of Markdown may take otherwise.

use std::sync::Arc;

use agent_primitives::Signal;
use serde_json::Number;

use super::error::{Code, Mark, PolicyErrors, Report, quoted};
use super::fields::{self, Fields};
use super::source::{self, Entry, Format, Node, Tree};
use super::{MAX_POLICY_BYTES, Policy, document};

mod blocks;

const FIELDS: [&str; 4] = ["kernel", "signals", "policies", "observability"];
const POLICY_FIELDS: [&str; 6] =
    ["action", "effect", "mode", "requires_approval", "rate_limit", "constraints"];
const MODES: [(&str, Mode); 3] =
    [("strict", Mode::Strict), ("permissive", Mode::Permissive), ("audit", Mode::Audit)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Strict,
    Permissive,
    Audit,
}

/// Reads the text of a security file. `source_name` stands in front of every error.
///
/// # Errors
/// [`PolicyErrors`] lists everything that was found wrong; no part of such a file is ever in force.
pub fn load(source_name: &str, text: &str) -> Result<Policy, PolicyErrors> {
    let file: Arc<str> = source_name.into();
    let mut report = Report::new(&file);
    if MAX_POLICY_BYTES < text.len() {
        let message = format!("the file is larger than {MAX_POLICY_BYTES} bytes");
        report.add(Code::TooLarge, Mark::NOWHERE, message);
        return report.finish(None);
    }
    let snapshot = merged(text, &mut report)
        .and_then(|root| translate(&root, &mut report))
        .and_then(|root| document::compile(&file, &root, &mut report));
    report.finish(snapshot).map(Policy::of)
}

/// All blocks of the file as one map.
fn merged(text: &str, report: &mut Report) -> Option<Node> {
    let mut entries: Vec<Entry> = Vec::new();
    for block in blocks::of(text, report)? {
        let root = source::parse(Format::Yaml, &block, report)?;
        let Node { tree, at, .. } = root;
        let more = match tree {
            Tree::Map(more) => more,
            Tree::Reported => return None,
            _ => {
                report.add(Code::WrongType, at, "a block of a security file must be a map");
                return None;
            }
        };
        for entry in more {
            if let Some(earlier) = entries.iter().find(|earlier| earlier.key == entry.key) {
                let message = format!("{} is said in line {} already", quoted(&entry.key), earlier.at.line);
                report.add(Code::DuplicateKey, entry.at, message);
            } else {
                entries.push(entry);
            }
        }
    }
    Some(Node::new(Mark { line: 1, column: 1 }, Tree::Map(entries)))
}

/// The same as a document of the policy language. Each part keeps its place, so that what the compiler finds wrong with
/// it is told at its line.
fn translate(root: &Node, report: &mut Report) -> Option<Node> {
    let fields = Fields::of(root, "the security file", &FIELDS, report)?;
    kernel(&fields, report);
    if let Some(entry) = fields.get("signals") {
        signals(&entry.value, report);
    }
    if let Some(entry) = fields.get("observability") {
        observability(&entry.value, report);
    }
    let policies = match fields.get("policies") {
        Some(entry) => fields::list(&entry.value, "`policies`", report)?,
        None => &[],
    };
    let rules: Vec<Node> =
        policies.iter().enumerate().filter_map(|(index, node)| rule(index + 1, node, report)).collect();
    let at = root.at;
    Some(map(
        at,
        [
            ("version", Node::new(at, Tree::Number(Number::from(1)))),
            ("name", text(at, "security")),
            ("rules", Node::new(at, Tree::List(rules))),
        ],
    ))
}

fn kernel(fields: &Fields<'_>, report: &mut Report) {
    let Some(entry) = fields.require("kernel", "the security file", report) else { return };
    let Some(kernel) = Fields::of(&entry.value, "`kernel`", &["version", "mode"], report) else { return };
    if let Some(version) = kernel.require("version", "`kernel`", report)
        && let Some(found) = fields::text(&version.value, "the version", report)
        && !matches!(found, "1" | "1.0")
    {
        let message = format!("unknown version {}; this is version 1.0", quoted(found));
        report.add(Code::Version, version.value.at, message);
    }
    if let Some(entry) = kernel.require("mode", "`kernel`", report) {
        mode(entry, report);
    }
}

fn mode(entry: &Entry, report: &mut Report) {
    let help = match fields::word(&entry.value, "mode", &MODES, report) {
        Some(Mode::Strict) | None => return,
        Some(Mode::Permissive) => "no mode executes a denied call; allow what is to be allowed",
        Some(Mode::Audit) => {
            "to see what a policy would refuse, judge it beside the one in force: `Kernel::shadow`"
        }
    };
    report.add_help(Code::Unenforceable, entry.value.at, "`strict` is the only mode", help);
}

fn signals(node: &Node, report: &mut Report) {
    let known = Signal::ALL.map(|signal| (signal.name(), signal));
    let Some(nodes) = fields::list(node, "`signals`", report) else { return };
    for node in nodes {
        if let Some(signal @ (Signal::Usr1 | Signal::Usr2)) = fields::word(node, "signal", &known, report) {
            report.add(Code::Unenforceable, node.at, format!("{signal} does nothing yet"));
        }
    }
}

fn observability(node: &Node, report: &mut Report) {
    let known = ["metrics", "traces", "flight_recorder"];
    let Some(fields) = Fields::of(node, "`observability`", &known, report) else { return };
    for (key, has) in known.into_iter().zip([false, false, true]) {
        let Some(entry) = fields.get(key) else { continue };
        match boolean(&entry.value, &format!("`{key}`"), report) {
            Some(false) if has => {
                let message = "the flight recorder cannot be turned off";
                report.add(Code::Unenforceable, entry.value.at, message);
            }
            Some(true) if !has => {
                report.add(
                    Code::Unenforceable,
                    entry.value.at,
                    format!("there are no {key} to turn on here"),
                );
            }
            _ => {}
        }
    }
}

fn rule(number: usize, node: &Node, report: &mut Report) -> Option<Node> {
    let fields = Fields::of(node, "an entry of `policies`", &POLICY_FIELDS, report)?;
    let action = fields.require("action", "the entry", report)?;
    let tool = fields::text(&action.value, "`action`", report)?;
    if let Some(entry) = fields.get("mode") {
        mode(entry, report);
    }
    let effect = fields.require("effect", "the entry", report)?;
    let allows = fields::word(&effect.value, "effect", &[("allow", true), ("deny", false)], report)?;
    let asks = match fields.get("requires_approval") {
        Some(entry) => {
            let asks = boolean(&entry.value, "`requires_approval`", report)?;
            if asks && !allows {
                report.add(Code::Misplaced, entry.at, "nobody can approve what this entry denies");
            }
            asks
        }
        None => false,
    };
    let word = if asks {
        "ask"
    } else if allows {
        "allow"
    } else {
        "deny"
    };
    let list = |at: Mark, item: &str| Node::new(at, Tree::List(vec![text(at, item)]));
    let mut parts = vec![
        ("id", text(node.at, &format!("policy-{number}"))),
        ("effect", text(effect.value.at, word)),
        ("calls", list(action.value.at, "exec")),
        ("tools", list(action.value.at, tool)),
    ];
    match fields.get("rate_limit") {
        Some(entry) if !allows => {
            report.add(
                Code::Misplaced,
                entry.at,
                "`rate_limit` bounds what is allowed, and this entry denies",
            );
        }
        Some(entry) => parts.push(("limits", map(entry.at, [("rate", entry.value.copied())]))),
        None => {}
    }
    if let Some(entry) = fields.get("constraints") {
        parts.push(("when", entry.value.copied()));
    }
    Some(map(node.at, parts))
}

fn boolean(node: &Node, what: &str, report: &mut Report) -> Option<bool> {
    match node.tree {
        Tree::Bool(value) => Some(value),
        Tree::Reported => None,
        _ => {
            report.add(Code::WrongType, node.at, format!("{what} must be true or false"));
            None
        }
    }
}

fn text(at: Mark, text: &str) -> Node {
    Node::new(at, Tree::Text(text.to_owned()))
}

fn map<'k>(at: Mark, parts: impl IntoIterator<Item = (&'k str, Node)>) -> Node {
    let entry = |(key, value): (&str, Node)| Entry { key: key.to_owned(), at: value.at, value };
    Node::new(at, Tree::Map(parts.into_iter().map(entry).collect()))
}
