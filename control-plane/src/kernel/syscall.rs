//! The one road. Every effect an agent has passes through [`Inner::syscall`], and there is no other way to a service:
//! services take a permit by value, and only a recorded decision yields one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_primitives::{Monotonic, TicketId, Timestamp};

use super::judge::Ruled;
use super::running::Intent;
use super::table::Agent;
use super::{Inner, border, inspect, service};
use crate::call::{BadCall, Reply, Syscall};
use crate::error::{CallError, InvalidCall};
use crate::policy::permit::Permitted;
use crate::question::CallKind;

/// One call on its way down the road.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage<'a> {
    pub(crate) agent: &'a Arc<Agent>,
    /// Number of the call in this life of its agent: intent and outcome share it.
    pub(crate) number: u64,
    /// When the call was made. The caller's own deadline counts from here.
    pub(crate) called: Monotonic,
    /// When it was made or, if it waited for an approval, had it. Every other deadline counts from here.
    pub(crate) started: Monotonic,
    /// Wall-clock time the call is judged at, and recorded with.
    pub(crate) now: Timestamp,
}

impl Inner {
    /// Takes one system call from request to reply. With `presented` an ask is satisfied by that ticket or not at all.
    ///
    /// Cancel safe: a call dropped before its intent has left no trace; one dropped later is recorded as cancelled.
    pub(crate) async fn syscall(
        &self,
        agent: &Arc<Agent>,
        call: Syscall,
        presented: Option<TicketId>,
    ) -> Result<Reply, CallError> {
        if presented.is_some() {
            Box::pin(self.hear()).await;
        }
        let passage = self.passage(agent);

        // Gate: is this agent alive and running? Parked while it is stopped.
        let entered = self.enter(agent, call.kind()).await;
        let _in_flight = self.or_reject(passage, &call, entered)?;
        if agent.snapshots_due.load(Ordering::Relaxed) != 0 {
            let taken = Box::pin(self.take_due_snapshots(agent)).await;
            self.or_reject(passage, &call, taken)?;
        }

        // Border: parse, do not validate. What comes out is what is judged, recorded and executed.
        let parsed = border::parse(self, agent, call);
        let request = parsed.map_err(|refused| self.reject(passage, refused))?;

        // Policy: a pure function of the snapshot, the request and what the kernel's tables say of the caller. Recorder:
        // the decision, before anything follows from it.
        let (passage, decided) = match self.judge(passage, request, presented, None)? {
            Ruled::Decided(decided) => (passage, decided),
            // Human, then policy again.
            Ruled::Held(held) => Box::pin(self.consented(passage, held)).await?,
        };

        // Permit: only a recorded decision yields one.
        let (permitted, open) = self.intent(passage, decided).await?;

        // Service, watched: a kill or a deadline drops it. Then what came back is inspected and its outcome recorded.
        let result = match self.checkpoint(agent).await {
            // A dry run ends here: the permit is dropped, and with it the right to the effect.
            Ok(()) if open.simulated => Err(CallError::Simulated),
            Ok(()) => {
                self.begin(agent, &open.intent);
                self.dispatch(agent, &open.intent, permitted).await
            }
            Err(error) => Err(error),
        };
        self.outcome(&open, inspect::reply(result))
    }

    /// A call that sets out now.
    pub(super) fn passage<'a>(&self, agent: &'a Arc<Agent>) -> Passage<'a> {
        let (started, now) = (self.timer.monotonic(), self.timer.now());
        Passage { agent, number: agent.next_call(), called: started, started, now }
    }

    /// What ring 3 sent is no call at all. It passes the gate and is recorded like any other refusal.
    pub(crate) async fn refuse_unreadable(&self, agent: &Arc<Agent>, error: BadCall) -> CallError {
        let passage = self.passage(agent);
        let refused =
            |error| border::Refused { syscall: CallKind::Exec, what: String::new(), error: Box::new(error) };
        match self.enter(agent, CallKind::Exec).await {
            Ok(_in_flight) => self.reject(passage, refused(InvalidCall::Wire(error).into())),
            Err(error) => self.reject(passage, refused(error)),
        }
    }

    /// Hands a permitted request to its service. No `_ =>`: a ninth call must not compile until it is decided here.
    async fn dispatch(
        &self,
        agent: &Arc<Agent>,
        intent: &Arc<Intent>,
        permitted: Permitted,
    ) -> Result<Reply, CallError> {
        match permitted {
            Permitted::Read(permit) if permit.is_search() => {
                let own_past = permit.is_of_own_past();
                let found = self.search(agent, intent, permit).await;
                self.join_content(agent, own_past, found)
            }
            Permitted::Read(permit) => {
                let own_past = permit.is_of_own_past();
                let read = self.read(agent, intent, permit).await;
                self.join_content(agent, own_past, read)
            }
            Permitted::Write(permit) => {
                let labels = self.carried_by(agent);
                let now = self.timer.now();
                let service = |owner: Arc<Agent>| async move { owner.files.write(permit, labels, now).await };
                self.on_files(agent, intent, service).await
            }
            Permitted::Open(permit) => {
                let labels = self.carried_by(agent);
                self.on_files(agent, intent, |owner| async move { owner.files.open(permit, labels).await })
                    .await
            }
            Permitted::Close(permit) => agent.files.close(permit),
            Permitted::Exec(permit) => self.exec(agent, intent, permit).await,
            Permitted::Own(permit) => self.own_tool(agent, intent, permit),
            Permitted::Spawn(permit) => self.spawn_child(agent, intent, permit),
            Permitted::Signal(permit) => self.send_signal(agent, permit),
            Permitted::Mask(permit) => self.change_mask(agent, intent.call, permit),
            Permitted::Await(permit) => self.await_signal(agent, intent.call, permit).await,
            Permitted::CheckPolicy(permit) => Ok(service::answer(permit)),
            Permitted::Exit(permit) => self.exit(agent, permit),
        }
    }
}
