//! What the host makes of a server's tools, and what came of importing them.

use std::collections::{BTreeMap, BTreeSet};

use agent_primitives::{Digest, ToolId};
use serde::Serialize;

use super::definition::{Difference, Hints};
use crate::contract::Effect;
use crate::isolation::Limits;
use crate::scan::Finding;

/// What the host makes of the tools of one server, whatever that server claims. All of it is under the digest of each
/// contract, so a tool is approved together with it.
#[derive(Clone, Debug)]
pub struct ImportPolicy {
    /// What every tool is taken to do. Its own claims add to it: [`Effect::Delete`] unless it says that it is not
    /// destructive, and [`Effect::Network`] unless it says that it stays within what the server has.
    pub effects: BTreeSet<Effect>,
    /// Whether a tool that claims to change nothing is believed: its effects are then [`Effect::Read`], and
    /// [`Effect::Network`] as above.
    pub believe_read_only: bool,
    /// How much one call may use. Of these, `deadline` and `output_bytes` bind the server.
    pub limits: Limits,
    /// The labels that outputs carry besides `mcp:<server>`.
    pub labels: Vec<String>,
    /// What the host says of single tools, by the server's names for them.
    pub tools: BTreeMap<String, ToolTerms>,
}

impl Default for ImportPolicy {
    /// Every tool reads and writes and is not believed, its outputs are labelled `untrusted`, and it has the limits that
    /// any tool has.
    fn default() -> Self {
        Self {
            effects: BTreeSet::from([Effect::Read, Effect::Write]),
            believe_read_only: false,
            limits: Limits::DEFAULT,
            labels: vec![agent_primitives::Label::UNTRUSTED.to_owned()],
            tools: BTreeMap::new(),
        }
    }
}

/// What the host says of one tool.
#[derive(Clone, Debug, Default)]
pub struct ToolTerms {
    /// What it does, in place of [`ImportPolicy::effects`] and of what follows from the silence of the server. What the
    /// server claims outright is still added.
    pub effects: Option<BTreeSet<Effect>>,
    /// Whether a second call with the same arguments changes nothing more. What the server says of that does not count.
    pub idempotent: bool,
    /// The arguments that decide who, what, where or how much is affected.
    pub authority: Vec<String>,
    /// The arguments that are payload.
    pub content: Vec<String>,
}

impl ImportPolicy {
    /// The effects of a tool with these claims.
    pub(super) fn effects_of(&self, name: &str, hints: &Hints) -> BTreeSet<Effect> {
        let said = self.tools.get(name).and_then(|terms| terms.effects.as_ref());
        // Where the host has spoken, silence of the server adds nothing.
        let unless_denied = |hint: Option<bool>| hint.unwrap_or(said.is_none());
        let believed = said.is_none() && self.believe_read_only && hints.read_only == Some(true);
        let mut effects = match said {
            Some(said) => said.clone(),
            None if believed => BTreeSet::from([Effect::Read]),
            None => self.effects.clone(),
        };
        if unless_denied(hints.destructive) && !believed {
            effects.insert(Effect::Delete);
        }
        if unless_denied(hints.open_world) {
            effects.insert(Effect::Network);
        }
        effects
    }
}

/// What came of reading a server's tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// New names, registered as proposed.
    pub added: Vec<ToolId>,
    /// New names whose definition was approved before, from the same server, and approved again now.
    pub approved: Vec<ToolId>,
    /// Known names with the definition that was seen last.
    pub unchanged: Vec<ToolId>,
    /// Known names with another definition. None of their versions can be called now; the new one is proposed.
    pub changed: Vec<Changed>,
    /// Names that are gone, and no longer registered.
    pub vanished: Vec<ToolId>,
    /// What cannot be registered.
    pub refused: Vec<Refusal>,
    /// What to look at before those that are new or changed are approved.
    pub flagged: Vec<Flagged>,
    /// Why the approvals that were suspended could not be written to their file. They are suspended until the host ends.
    pub unwritten: Option<String>,
}

/// A tool whose definition is no longer the one that was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Changed {
    /// The tool.
    pub id: ToolId,
    /// Digest of the contract it had.
    pub before: Digest,
    /// Digest of the contract that the new definition makes; none if it was refused.
    pub observed: Option<Digest>,
    /// Where the two definitions differ.
    pub differences: Vec<Difference>,
}

/// A tool with texts that whoever approves it should look at. The findings are also with the
/// [tool](crate::Tool::findings).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Flagged {
    /// The tool.
    pub id: ToolId,
    /// Digest of its contract.
    pub digest: Digest,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A tool that cannot be registered as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The server's name for it, on one line and shortened.
    pub name: String,
    /// Why, for the host.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_only_ever_add_unless_the_host_says_otherwise() {
        use Effect::{Delete, Network, Read, Write};
        let hints = |read_only, destructive, open_world| Hints {
            read_only,
            destructive,
            open_world,
            ..Hints::default()
        };
        let named = ToolTerms { effects: Some(BTreeSet::from([Read])), ..ToolTerms::default() };
        let doubting =
            ImportPolicy { tools: BTreeMap::from([("named".to_owned(), named)]), ..Default::default() };
        let believing = ImportPolicy { believe_read_only: true, ..doubting.clone() };
        let cases = [
            (&doubting, "x", hints(None, None, None), vec![Read, Write, Delete, Network]),
            (&doubting, "x", hints(Some(true), None, None), vec![Read, Write, Delete, Network]),
            (&doubting, "x", hints(Some(true), Some(false), Some(false)), vec![Read, Write]),
            (&doubting, "x", hints(None, Some(true), Some(false)), vec![Read, Write, Delete]),
            (&believing, "x", hints(Some(true), None, Some(false)), vec![Read]),
            (&believing, "x", hints(Some(true), None, None), vec![Read, Network]),
            (&believing, "x", hints(Some(false), None, Some(false)), vec![Read, Write, Delete]),
            (&doubting, "named", hints(None, None, None), vec![Read]),
            (&doubting, "named", hints(Some(true), Some(true), None), vec![Read, Delete]),
            (&believing, "named", hints(Some(true), Some(true), Some(true)), vec![Read, Delete, Network]),
        ];
        for (policy, name, hints, expected) in cases {
            let effects: Vec<Effect> = policy.effects_of(name, &hints).into_iter().collect();
            assert_eq!(effects, expected, "{name} {hints:?}");
        }
    }
}
