//! Every decision of a recording made again.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use agent_control_plane::policy::simulate::Flip;
use agent_control_plane::recorder::{Recording, Replay, replay, replay_recorded};
use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use super::cut;
use crate::policy::{self, Output};

/// Longest text of a recording shown in a column, in characters.
const WIDTH: usize = 80;

#[derive(Args)]
pub(crate) struct Options {
    /// The folder of the recording
    recording: PathBuf,
    /// A policy, or a folder of layers, to judge by instead of those in the recording
    #[arg(long)]
    policy: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let set = match &options.policy {
        Some(path) => Some(policy::load(path)?.context("the policy does not load")?),
        None => None,
    };
    let recording = Recording::open(&options.recording)?;
    // A record that somebody changed says nothing about what was decided.
    recording.verify(None, |_| {})?;
    let events = recording.events(0)?;
    let replay = match &set {
        Some(set) => replay(events, set)?,
        None => replay_recorded(events)?,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match options.output {
        Output::Json => writeln!(out, "{}", as_json(&replay))?,
        Output::Table => table(&replay, &mut out)?,
    }
    out.flush()?;
    Ok(policy::code(replay.is_exact()))
}

fn table(replay: &Replay, out: &mut impl Write) -> std::io::Result<()> {
    for flip in &replay.changed {
        let rule = |rule: &Option<String>| cut(rule.as_deref().unwrap_or("no rule"), WIDTH);
        let (from, to) = (rule(&flip.from_rule), rule(&flip.to_rule));
        let (agent, what) = (cut(&flip.agent, WIDTH), cut(&flip.what, WIDTH));
        let Flip { seq, call, from: was, to: is, .. } = flip;
        writeln!(out, "{seq:>5}  {agent:<10} {call:<7} {what}  {was} [{from}] -> {is} [{to}]")?;
    }
    for call in &replay.not_judged {
        writeln!(out, "{:>5}  not judged: {}", call.seq, call.cause.name())?;
    }
    let changed = replay.changed.len() as u64 + replay.changed_left_out;
    let not_judged: u64 = replay.not_judged_by.values().sum();
    writeln!(
        out,
        "{} decisions: {} to the byte, {} of the same verdict by another policy, {changed} changed, {not_judged} not judged",
        replay.decisions, replay.identical, replay.same_verdict
    )
}

fn as_json(replay: &Replay) -> Value {
    let flip = |flip: &Flip| {
        json!({ "seq": flip.seq, "agent": flip.agent, "call": flip.call.name(), "what": flip.what,
            "from": flip.from, "from_rule": flip.from_rule, "to": flip.to, "to_rule": flip.to_rule })
    };
    let not_judged: Vec<Value> =
        replay.not_judged.iter().map(|call| json!({ "seq": call.seq, "cause": call.cause.name() })).collect();
    let by: Map<String, Value> = replay
        .not_judged_by
        .iter()
        .map(|(cause, times)| (cause.name().to_owned(), (*times).into()))
        .collect();
    let taken: Map<String, Value> =
        replay.taken.iter().map(|(what, times)| (what.name().to_owned(), (*times).into())).collect();
    json!({
        "version": 1,
        "exact": replay.is_exact(),
        "decisions": replay.decisions,
        "identical": replay.identical,
        "same_verdict": replay.same_verdict,
        "repeated": replay.repeated,
        "changed": replay.changed.iter().map(flip).collect::<Vec<_>>(),
        "changed_left_out": replay.changed_left_out,
        "not_judged": not_judged,
        "not_judged_by": by,
        "taken_from_the_record": taken,
    })
}
