//! What is done on a request. Whatever changes something is on record before.

use std::time::Duration;

use agent_primitives::AgentId;
use agent_primitives::ticket::{Principal, Scope};
use serde_json::{Value, json};

use super::Shared;
use super::protocol::{Action, Failure, MAX_GRACE_MS, Outcome};
use crate::approval::{ApprovalError, Request as Ticket};
use crate::call::MAX_MESSAGE;
use crate::error::{CallError, SignalError};
use crate::kernel::{Kernel, Raise};

type Answered = Result<Value, Failure>;

impl Shared {
    pub(super) async fn answer(&self, uid: u32, action: Action) -> Outcome {
        match self.act(uid, action).await {
            Ok(value) => Outcome::Ok(value),
            Err(failure) => Outcome::Error(failure),
        }
    }

    async fn act(&self, uid: u32, action: Action) -> Answered {
        let kernel = &self.kernel;
        match action {
            Action::State => Ok(self.state()),
            Action::Ps => Ok(json!({ "agents": self.inner().census() })),
            Action::Metrics => Ok(kernel.metrics().to_json()),
            Action::Policy => {
                let policy = kernel.policy();
                Ok(json!({"generation": kernel.generation(), "digest": policy.digest().to_string(),
                    "name": policy.organisation().name()}))
            }
            Action::Signal { agent, signal, reason } => {
                let id: AgentId = agent.parse().map_err(|_bad| no_such_agent(&agent))?;
                let reason = bounded(reason)?;
                self.record(uid, &format!("raises {signal} against {id}: {reason}"))?;
                let raised = kernel.signal(&id, signal, &by(uid, &reason));
                let raised = raised.map_err(|error| Failure::new(error.code(), &error))?;
                Ok(json!({ "raised": name_of(raised) }))
            }
            Action::KillAll { reason } => {
                let reason = bounded(reason)?;
                self.record(uid, &format!("kills all agents: {reason}"))?;
                Ok(json!({ "killed": kernel.kill_all(&by(uid, &reason)) }))
            }
            Action::Approvals => {
                let open: Vec<Value> = kernel.approvals().iter().map(ticket).collect();
                Ok(json!({ "approvals": open }))
            }
            Action::Approve { ticket, scope } => {
                let (by, scope) = (self.principal(uid)?, scope.unwrap_or(Scope::Once));
                self.record(uid, &format!("grants {ticket} as {by}, scope {scope}"))?;
                let state = self.on_store(move |kernel| kernel.approve(ticket, &by, scope)).await?;
                Ok(json!({ "state": state.to_string() }))
            }
            Action::Deny { ticket, reason } => {
                let (by, reason) = (self.principal(uid)?, bounded(reason)?);
                self.record(uid, &format!("refuses {ticket} as {by}: {reason}"))?;
                self.on_store(move |kernel| kernel.refuse(ticket, &by, &reason)).await?;
                Ok(json!({}))
            }
            Action::Revoke { ticket, reason } => {
                let reason = bounded(reason)?;
                self.record(uid, &format!("revokes {ticket}: {reason}"))?;
                self.on_store(move |kernel| kernel.revoke(ticket, &reason)).await?;
                Ok(json!({}))
            }
            Action::Shutdown { grace_ms } => {
                let grace = Duration::from_millis(grace_ms.min(MAX_GRACE_MS));
                if kernel.shutdown_report().is_none() {
                    self.record(
                        uid,
                        &format!("shuts the kernel down, with {} ms of grace", grace.as_millis()),
                    )?;
                }
                let report = kernel.shutdown(grace).await.map_err(|error| failed(&error))?;
                Ok(report.to_json())
            }
            // Answered line by line.
            Action::Tail { .. } => Err(Failure::new("AK9905", "a tail has no single answer")),
        }
    }

    fn state(&self) -> Value {
        let kernel = &self.kernel;
        let state = kernel.state();
        let reason = match &state {
            crate::kernel::State::Panicked(reason) => Some(reason.as_str()),
            _ => None,
        };
        let impaired: Vec<Value> = kernel
            .impairments()
            .iter()
            .map(|one| json!({"part": one.part.name(), "reason": one.reason, "since": one.since.to_string()}))
            .collect();
        json!({
            "state": state.name(), "reason": reason, "impairments": impaired, "mode": kernel.mode().as_str(),
            "policy_generation": kernel.generation(), "head": kernel.recorder().head().to_string(),
            "agents": kernel.agents().len(),
        })
    }

    /// Puts on record what is about to be done, and for whom.
    fn record(&self, uid: u32, what: &str) -> Result<(), Failure> {
        let action = format!("user {uid} over the control socket {what}");
        self.inner().host_action(&action).map_err(|error| failed(&error))
    }

    fn principal(&self, uid: u32) -> Result<Principal, Failure> {
        let known = self.principals.get(&uid).cloned();
        known.ok_or_else(|| {
            Failure::new("AK0958", format!("user {uid} is no principal whose word counts here"))
        })
    }

    /// Answers a ticket, on a thread that may block on the store.
    async fn on_store<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&Kernel) -> Result<T, ApprovalError> + Send + 'static,
    ) -> Result<T, Failure> {
        let kernel = self.kernel.clone();
        let answered = tokio::task::spawn_blocking(move || answer(&kernel)).await;
        let answered = answered.map_err(|error| Failure::new("AK9906", error))?;
        answered.map_err(|error| Failure::new(error.code(), &error))
    }
}

/// Why an agent is signalled, as it is told and recorded.
fn by(uid: u32, reason: &str) -> String {
    if reason.is_empty() { format!("user {uid}") } else { format!("user {uid}: {reason}") }
}

fn bounded(reason: String) -> Result<String, Failure> {
    if MAX_MESSAGE < reason.len() as u64 {
        let error = crate::error::InvalidCall::TooLarge { field: "reason", limit: MAX_MESSAGE };
        return Err(Failure::new(error.code(), &error));
    }
    Ok(reason)
}

fn no_such_agent(name: &str) -> Failure {
    let error = SignalError::NoSuchAgent(name.chars().take(128).collect());
    Failure::new(error.code(), &error)
}

fn failed(error: &CallError) -> Failure {
    Failure::new(error.code(), error)
}

fn name_of(raised: Raise) -> &'static str {
    match raised {
        Raise::Delivered => "delivered",
        Raise::Pending => "pending",
        Raise::Unchanged => "unchanged",
    }
}

fn ticket(request: &Ticket) -> Value {
    let agreed: Vec<&str> = request.grants().iter().map(|grant| grant.by.as_str()).collect();
    json!({
        "ticket": request.id(), "agent": request.agent(), "generation": request.generation(),
        "tenant": request.tenant(), "what": request.what(), "rules": request.rules(),
        "labels": request.labels(), "terms": request.terms(), "state": request.state().to_string(),
        "agreed": agreed, "asked": request.asked().to_string(), "expires": request.expires().to_string(),
    })
}
