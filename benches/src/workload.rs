//! Rule sets and requests: the same in every run, in the form that peers are handed them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::random::Random;

/// Requests of every workload.
pub const REQUESTS: usize = 256;
/// Rules come in blocks of ten, so the number of rules of a workload is a multiple of this.
pub const BLOCK: usize = 10;

/// One rule about one tool. Serialises as the peers read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Distinct in its set.
    pub id: String,
    /// What follows when the rule applies.
    pub effect: Effect,
    /// The exact id of a tool.
    pub tool: String,
    /// `None`: the rule always applies to its tool.
    pub when: Option<Condition>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Grants the call unless something denies it.
    Allow,
    /// Refuses the call whatever else grants it.
    Deny,
}

/// One test on one argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// The argument is text that begins with a folder. Our policies say it as `path: {under: ...}`.
    Prefix {
        /// Key of the argument.
        argument: String,
        /// The folder, with a slash at its end.
        prefix: String,
    },
    /// The argument is a number above another.
    GreaterThan {
        /// Key of the argument.
        argument: String,
        /// The other.
        greater_than: i64,
    },
}

/// One call of one tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The exact id of the tool.
    pub tool: String,
    /// The arguments, none or more of `path` and `amount`.
    pub arguments: Map<String, Value>,
}

/// Rules about tools, and calls of tools.
///
/// Of the calls about 60 in 100 are allowed, 15 denied by a rule without a condition, 5 denied by one on an argument,
/// 15 meet only an allow whose condition fails (a third of them lack the argument), and 5 are about a tool that no rule
/// names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolCalls {
    /// The rules.
    pub rules: Vec<Rule>,
    /// [`REQUESTS`] of them.
    pub requests: Vec<Request>,
}

impl ToolCalls {
    /// A workload of `rules` rules, rounded down to whole blocks, at least one.
    #[must_use]
    pub fn new(rules: usize) -> Self {
        let blocks = (rules / BLOCK).max(1);
        let mut random = Random::new();
        Self {
            rules: (0..blocks).flat_map(tool_block).collect(),
            requests: (0..REQUESTS).map(|_| tool_call(&mut random, blocks)).collect(),
        }
    }

    /// Every tool that a rule names or a request asks for, sorted, each once.
    #[must_use]
    pub fn tools(&self) -> Vec<&str> {
        let named = self.rules.iter().map(|rule| rule.tool.as_str());
        let mut tools: Vec<&str> =
            named.chain(self.requests.iter().map(|request| request.tool.as_str())).collect();
        tools.sort_unstable();
        tools.dedup();
        tools
    }

    /// The rules as a policy document of ours. `on_violation` is `deny`, `stop` or `kill`; `more` is appended as further
    /// entries of `rules`.
    #[must_use]
    pub fn to_yaml(&self, on_violation: &str, more: &str) -> String {
        let mut text = format!("version: 1\nname: bench\non_violation: {on_violation}\nrules:\n");
        for rule in &self.rules {
            let Rule { id, effect, tool, when } = rule;
            let effect = match effect {
                Effect::Allow => "allow",
                Effect::Deny => "deny",
            };
            let when = match when {
                None => String::new(),
                Some(Condition::Prefix { argument, prefix }) => {
                    let folder = prefix.trim_end_matches('/');
                    format!(", when: {{args.{argument}: {{path: {{under: [{folder}]}}}}}}")
                }
                Some(Condition::GreaterThan { argument, greater_than }) => {
                    format!(", when: {{args.{argument}: {{gt: {greater_than}}}}}")
                }
            };
            let _ = writeln!(text, "- {{id: {id}, effect: {effect}, calls: [exec], tools: [{tool}]{when}}}");
        }
        text + more
    }
}

/// Ten rules about eight tools.
fn tool_block(block: usize) -> [Rule; BLOCK] {
    let under = |folder: char| {
        Some(Condition::Prefix { argument: "path".to_owned(), prefix: format!("/data/{folder}{block}/") })
    };
    let above = Some(Condition::GreaterThan { argument: "amount".to_owned(), greater_than: 1000 });
    let rules = [
        (Effect::Allow, 0, None),
        (Effect::Allow, 1, None),
        (Effect::Allow, 2, None),
        (Effect::Allow, 3, None),
        (Effect::Deny, 3, None),
        (Effect::Deny, 4, None),
        (Effect::Allow, 5, under('p')),
        (Effect::Allow, 6, under('q')),
        (Effect::Allow, 7, None),
        (Effect::Deny, 7, above),
    ];
    let mut number = block * BLOCK;
    rules.map(|(effect, tool, when)| {
        number += 1;
        Rule { id: format!("r{number}"), effect, tool: tool_name(block, tool), when }
    })
}

fn tool_call(random: &mut Random, blocks: usize) -> Request {
    let block = random.below(blocks);
    let name = random.below(1000);
    let elsewhere = json!({"path": format!("/data/other/report_{name}.txt"), "amount": 20});
    let (tool, arguments) = match random.below(20) {
        0..5 => (random.below(3), elsewhere),
        5..7 => (5, json!({"path": format!("/data/p{block}/report_{name}.txt"), "amount": 20})),
        7..9 => (6, json!({"path": format!("/data/q{block}/report_{name}.txt"), "amount": 20})),
        9..12 => (7, json!({"path": format!("/data/r{block}/report_{name}.txt"), "amount": name})),
        12..14 => (3, elsewhere),
        14 => (4, elsewhere),
        15 => (5, elsewhere),
        16 => (6, elsewhere),
        17 => (6, json!({"amount": 20})),
        18 => (7, json!({"path": format!("/data/r{block}/report_{name}.txt"), "amount": 2000 + name})),
        _ => return Request { tool: format!("free_{block}"), arguments: object(elsewhere) },
    };
    Request { tool: tool_name(block, tool), arguments: object(arguments) }
}

fn tool_name(block: usize, tool: usize) -> String {
    format!("tool_{}", block * 8 + tool)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(entries) => entries,
        _ => Map::new(),
    }
}

/// Rules about paths, and reads of paths.
///
/// Of ten rules six allow a folder, two deny one file in it, two deny a folder in it. Names differ in length, as those
/// of real folders do.
#[derive(Clone, Debug, PartialEq)]
pub struct Reads {
    /// The rules as a policy document of ours.
    pub policy: String,
    /// [`REQUESTS`] paths, each with what the rules mean it to get.
    pub requests: Vec<(String, bool)>,
}

impl Reads {
    /// A workload of `rules` rules, rounded down to whole blocks, at least one.
    #[must_use]
    pub fn new(rules: usize) -> Self {
        let blocks = (rules / BLOCK).max(1);
        let mut policy = "version: 1\nname: bench\non_violation: deny\nrules:\n".to_owned();
        for block in 0..blocks {
            read_block(&mut policy, block);
        }
        let mut random = Random::new();
        Self { policy, requests: (0..REQUESTS).map(|_| read(&mut random, blocks)).collect() }
    }
}

fn folder(block: usize, number: usize) -> String {
    format!("/data/f{block}_{number}{}", "x".repeat(block % 24))
}

fn read_block(policy: &mut String, block: usize) {
    let allowed = (0..6).map(|number| ("allow", format!("{}/**", folder(block, number))));
    let files = (0..2).map(|number| ("deny", format!("{}/secret.txt", folder(block, number))));
    let folders = (2..4).map(|number| ("deny", format!("{}/private/**", folder(block, number))));
    for (number, (effect, path)) in (block * BLOCK + 1..).zip(allowed.chain(files).chain(folders)) {
        let _ = writeln!(policy, "- {{id: r{number}, effect: {effect}, calls: [read], paths: [{path}]}}");
    }
}

fn read(random: &mut Random, blocks: usize) -> (String, bool) {
    let block = random.below(blocks);
    let name = random.below(1000);
    match random.below(20) {
        0..12 => (format!("{}/notes/report_{name}.txt", folder(block, random.below(6))), true),
        12..14 => (format!("{}/secret.txt", folder(block, random.below(2))), false),
        14..16 => (format!("{}/private/key_{name}.pem", folder(block, 2 + random.below(2))), false),
        _ => (format!("/srv/f{block}/report_{name}.txt"), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naive;

    #[test]
    fn a_workload_has_the_rules_it_was_asked_for_and_is_the_same_each_time() {
        for rules in [10, 100, 1000] {
            let workload = ToolCalls::new(rules);
            assert_eq!((workload.rules.len(), workload.requests.len()), (rules, REQUESTS));
            assert_eq!(workload, ToolCalls::new(rules));
            assert_eq!(Reads::new(rules).policy.matches("- {id: ").count(), rules);
        }
    }

    #[test]
    fn the_mix_has_its_shares() {
        for rules in [10, 100, 1000] {
            let workload = ToolCalls::new(rules);
            let allowed = workload.requests.iter().filter(|request| naive::allows(&workload.rules, request));
            assert!((REQUESTS * 5 / 10..REQUESTS * 7 / 10).contains(&allowed.count()), "{rules}");
            let reads = Reads::new(rules);
            let allowed = reads.requests.iter().filter(|(_, allowed)| *allowed).count();
            assert!((REQUESTS * 5 / 10..REQUESTS * 7 / 10).contains(&allowed), "{rules}");
        }
    }

    #[test]
    fn a_rule_is_written_as_the_peers_read_it() {
        let rules = serde_json::to_value(tool_block(1)).unwrap();
        assert_eq!(rules[0], json!({"id": "r11", "effect": "allow", "tool": "tool_8", "when": null}));
        assert_eq!(rules[6]["when"], json!({"argument": "path", "prefix": "/data/p1/"}));
        assert_eq!(rules[9]["when"], json!({"argument": "amount", "greater_than": 1000}));
    }
}
