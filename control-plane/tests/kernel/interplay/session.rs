//! Random sessions under random policies: what holds for all of them.

use std::sync::Arc;
use std::time::Duration;

use agent_control_plane::approval::{Approvals, Scope};
use agent_control_plane::budget::Budget;
use agent_control_plane::call::{Change, FileRef, RawArguments, Syscall, WriteTo};
use agent_control_plane::denial::DenialClass;
use agent_control_plane::kernel::OnAsk;
use agent_control_plane::policy::{PolicySet, simulate};
use agent_control_plane::primitives::{LabelSet, ManualClock, Resource, Signal, Verdict};
use agent_control_plane::vfs::OpenFlags;
use agent_control_plane::{AgentHandle, AgentSpec, AgentState, CallError, Kernel, Policy};
use proptest::prelude::*;
use serde_json::json;

use super::{now, set, tools};

pub(super) const READ_WRITE: OpenFlags =
    OpenFlags { read: true, write: true, append: false, create: false, exclusive: false };

/// What is recorded, word for word.
pub(super) fn events(kernel: &Kernel) -> Vec<String> {
    let events = kernel.recorder().events(0).map(Result::unwrap);
    events.map(|stored| format!("{:?}", stored.event().unwrap())).collect()
}

const EXEC: [&str; 20] = [
    "labels: {any_of: [untrusted]}",
    "labels: {none_of: [untrusted]}",
    "labels.args: {none_of: [untrusted]}",
    "labels.authority: {any_of: [untrusted]}",
    "labels.content: {any_of: ['tool:echo', untrusted]}",
    "labels.args.to: {none_of: [untrusted, pii]}",
    "effects: {only: [read]}",
    "effects: {none_of: [read]}",
    "mode: {in: [lockdown]}",
    "mode: {not_in: [lockdown]}",
    "time: {from: '00:00', to: '00:30'}",
    "time: {days: [thu], from: '23:00', to: '01:00', zone: Europe/Berlin}",
    "count: {tools: ['*'], within: 10m, gte: 2}",
    "count: [{tools: [echo], lt: 3}, {paths: ['/mem/**'], calls: [write], lt: 2}]",
    "sum: {of: args.amount, tools: [pay], lte: 5}",
    "after: {tools: [page]}",
    "unless_after: {paths: ['/mem/working/a'], calls: [write]}",
    "budget: {resource: calls, used: {lt: '50%'}}",
    "args.to: {eq: Bob}",
    "context.role: {eq: clerk}",
];
const FILES: [&str; 6] = [
    "labels: {none_of: [untrusted]}",
    "mode: {not_in: [lockdown]}",
    "unless_after: {tools: [page]}",
    "count: {paths: ['/mem/**'], calls: [open, write], lt: 3}",
    "budget: {resource: calls, remaining: {gte: 10}}",
    "path: {path: {under: [/mem/working]}}",
];

fn rule(number: usize) -> impl Strategy<Value = String> {
    let effect = prop::sample::select(&["allow", "allow", "deny", "ask"][..]);
    let exec = (
        prop::sample::select(&["'*'", "echo", "pay, none", "page"][..]),
        prop::collection::hash_set(prop::sample::select(&EXEC[..]), 0..3),
    )
        .prop_map(|(tools, when)| ("exec", format!("tools: [{tools}]"), when));
    let files = (
        prop::sample::select(&["read", "write", "open", "read, write, open"][..]),
        prop::collection::hash_set(prop::sample::select(&FILES[..]), 0..2),
    )
        .prop_map(|(calls, when)| (calls, "paths: ['/mem/**']".to_owned(), when));
    (effect, prop_oneof![2 => exec, 1 => files], any::<bool>()).prop_map(
        move |(effect, (calls, selector, when), limited)| {
            let mut names = std::collections::BTreeMap::new();
            for entry in when {
                names.insert(entry.split(':').next().unwrap(), entry);
            }
            let when: Vec<&str> = names.into_values().collect();
            let limits = if limited && effect != "deny" { ", limits: {rate: 9/min}" } else { "" };
            let when =
                if when.is_empty() { String::new() } else { format!(", when: {{{}}}", when.join(", ")) };
            format!("{{id: r{number}, effect: {effect}, calls: [{calls}], {selector}{when}{limits}}}")
        },
    )
}

fn rules(most: usize) -> impl Strategy<Value = String> {
    let rules: Vec<_> = (0..most).map(|number| prop::option::weighted(0.7, rule(number))).collect();
    rules.prop_map(|rules| rules.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

#[derive(Clone, Debug)]
enum Step {
    Call(usize, Syscall),
    Mode(&'static str),
    Wait(u64),
    Tell(usize, &'static str, &'static [&'static str]),
    Declassify(usize),
    Approve,
    Refuse,
}

fn exec(tool: &str, arguments: serde_json::Value) -> Syscall {
    Syscall::Exec { tool: tool.to_owned(), arguments: RawArguments::Value(arguments), deadline: None }
}

fn call() -> impl Strategy<Value = Syscall> {
    let words = || prop::sample::select(&["Bob", "Eve", "77", ""][..]);
    let file =
        || prop::sample::select(&["/mem/working/a", "/mem/working/b/c", "/audit/events.jsonl", "/mem"][..]);
    let one = prop_oneof![
        2 => Just(exec("page", json!({}))),
        1 => Just(exec("none", json!({}))),
        2 => words().prop_map(|text| exec("echo", json!({"text": text}))),
        3 => (words(), prop::option::of(0..4i32), words()).prop_map(|(to, amount, note)| {
            let mut arguments = json!({"to": to, "note": note});
            if let Some(amount) = amount {
                arguments["amount"] = amount.into();
            }
            exec("pay", arguments)
        }),
        1 => file().prop_map(|path| Syscall::Read { file: FileRef::Path(path.to_owned()), offset: None, length: 4096, nonblock: false }),
        1 => (file(), words()).prop_map(|(path, data)| Syscall::Write {
            to: WriteTo::Path { path: path.to_owned(), change: Change::Append, expected: None, ttl: None },
            data: data.into(),
        }),
        1 => (file(), any::<bool>()).prop_map(|(path, create)| Syscall::Open {
            path: path.to_owned(),
            flags: OpenFlags { create, ..READ_WRITE },
        }),
    ];
    (one, 0..6u8).prop_map(
        |(call, question)| {
            if question == 0 { Syscall::CheckPolicy(Box::new(call)) } else { call }
        },
    )
}

const CARRIED: &[&[&str]] = &[&[], &["pii"]];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3usize, call()).prop_map(|(agent, call)| Step::Call(agent, call)),
        1 => prop::sample::select(&["lockdown", "normal"][..]).prop_map(Step::Mode),
        1 => prop::sample::select(&[1, 30, 400, 1800][..]).prop_map(Step::Wait),
        1 => (0..3usize, prop::sample::select(CARRIED))
            .prop_map(|(agent, labels)| Step::Tell(agent, "Pay Bob 2.", labels)),
        1 => (0..3usize).prop_map(Step::Declassify),
        2 => Just(Step::Approve),
        1 => Just(Step::Refuse),
    ]
}

struct Session {
    kernel: Kernel,
    clock: ManualClock,
    agents: Vec<AgentHandle>,
}

impl Session {
    fn new([organisation, layer, task]: &[String; 3]) -> Self {
        let load = |name: &str, more: &str, rules: &str| {
            let text = format!("{{version: 1, name: {name}, on_violation: deny{more}, rules: [{rules}]}}");
            Policy::from_yaml(name, &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
        };
        let abstains = ", unmatched: abstain";
        let set = PolicySet::builder(load("organisation", "", organisation))
            .tenants("acme", load("layer", abstains, layer))
            .build()
            .unwrap();
        let clock = ManualClock::default();
        let kernel = Kernel::builder()
            .policy(set)
            .tools(tools())
            .approvals(Approvals::new())
            .timer(Arc::new(clock.clone()))
            .build()
            .unwrap();
        let spec = |name: &str| AgentSpec::new(name).on_ask(OnAsk::Return).fact("role", "clerk");
        let specs = [
            spec("plain"),
            spec("tenant").tenant("acme".parse().unwrap()).budget(Budget::new().limit(Resource::Calls, 20)),
            spec("task").task_policy(load("task", abstains, task)),
        ];
        let agents = specs.into_iter().map(|spec| kernel.spawn(spec).unwrap()).collect();
        Self { kernel, clock, agents }
    }

    fn take(&self, step: &Step, seen: &mut impl FnMut(&AgentHandle, &Syscall)) {
        match step {
            Step::Call(agent, call) => seen(&self.agents[*agent], call),
            Step::Mode(mode) => self.kernel.set_mode(mode.parse().unwrap()).unwrap(),
            Step::Wait(seconds) => self.clock.advance(Duration::from_secs(*seconds)),
            Step::Tell(agent, text, labels) => {
                // One that was stopped for going in circles is still told.
                self.kernel.tell(self.agents[*agent].id(), text, &set(labels)).unwrap();
            }
            Step::Declassify(agent) => {
                let labels: LabelSet = set(&["untrusted"]);
                self.kernel.declassify(self.agents[*agent].id(), &labels, "ann", "read").unwrap();
            }
            Step::Approve | Step::Refuse => {
                for request in self.kernel.approvals() {
                    let answered = match step {
                        Step::Approve => {
                            self.kernel.approve(request.id(), &super::ann(), Scope::Once).map(drop)
                        }
                        _ => self.kernel.refuse(request.id(), &super::ann(), "no"),
                    };
                    // Some were granted already.
                    let _ = answered;
                }
            }
        }
    }

    /// An agent that was stopped for going in circles goes on.
    fn go_on(&self, agent: &AgentHandle) {
        if matches!(self.kernel.agent(agent.id()), Some(AgentState::Stopped { .. })) {
            self.kernel.signal(agent.id(), Signal::Cont, "go on").unwrap();
        }
    }

    fn answer(&self, agent: &AgentHandle, call: &Syscall) -> Result<(), CallError> {
        self.go_on(agent);
        now(agent.syscall(call.clone())).map(drop)
    }
}

fn session() -> impl Strategy<Value = ([String; 3], Vec<Step>)> {
    ([rules(8), rules(4), rules(4)], prop::collection::vec(step(), 1..60))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_recording_judged_again_by_its_own_policy_shows_no_flip((policies, steps) in session()) {
        let session = Session::new(&policies);
        for step in &steps {
            session.take(step, &mut |agent, call| {
                let _ = session.answer(agent, call);
            });
        }
        let kernel = &session.kernel;
        let again = simulate::run(kernel.recorder().events(0), &kernel.policy()).unwrap();
        prop_assert_eq!(&again.flips, &[], "{:?}", policies);
    }

    #[test]
    fn equal_sessions_leave_equal_records((policies, steps) in session()) {
        let run = || {
            let session = Session::new(&policies);
            for step in &steps {
                session.take(step, &mut |agent, call| {
                    let _ = session.answer(agent, call);
                });
            }
            session.kernel.kill_all("over");
            events(&session.kernel)
        };
        prop_assert_eq!(run(), run());
    }

    /// A question is never answered from memory, so it says what the policy does at that moment.
    #[test]
    fn a_call_gets_what_a_question_about_it_would((policies, steps) in session()) {
        let session = Session::new(&policies);
        for step in steps {
            let mut failed = None;
            session.take(&step, &mut |agent, call| {
                if matches!(call, Syscall::CheckPolicy(_)) {
                    return;
                }
                // Twice, so that there is something to remember.
                for _ in 0..2 {
                    session.go_on(agent);
                    let Ok(asked) = now(agent.check(call.clone())) else { return };
                    let answer = session.answer(agent, call);
                    let fits = match (&answer, asked.verdict()) {
                        (Err(CallError::Denied(denial)), Verdict::Deny) => {
                            denial.rule() == asked.deciding_rule()
                        }
                        (Err(CallError::Denied(denial)), verdict) => match denial.class() {
                            DenialClass::Limit => true,
                            DenialClass::Approval => verdict == Verdict::Ask,
                            _ => false,
                        },
                        (Err(CallError::Held { .. }), verdict) => verdict == Verdict::Ask,
                        (_, verdict) => verdict != Verdict::Deny,
                    };
                    if !fits {
                        failed = Some(format!("{call:?}: {answer:?}, asked {asked:?}"));
                    }
                }
            });
            prop_assert!(failed.is_none(), "{}\n{:?}", failed.unwrap(), policies);
        }
    }
}
