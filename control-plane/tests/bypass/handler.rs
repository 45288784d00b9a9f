//! Handlers of signals that agents of the cases register.

use agent_control_plane::call::Reply;
use agent_control_plane::primitives::Signal;
use agent_control_plane::signal::Notice;
use agent_control_plane::{AgentHandle, CallError};

use crate::case::Step;

/// What a handler does when it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    Nothing,
    Fails,
    Panics,
    Hangs,
    /// Ends its agent in order.
    Exits,
    /// Tells its own agent to go on.
    Resumes,
}

impl Behaviour {
    /// `None` for one this harness does not know.
    pub(crate) fn of(step: &Step) -> Option<Self> {
        let key = step.first(&["behaviour", "behavior", "does", "action"]);
        Some(match key.map_or("noop", |key| step.text(key)) {
            "noop" | "ignore" | "swallow" | "return" => Self::Nothing,
            "throw" | "fail" | "error" | "raise" => Self::Fails,
            "panic" | "crash" => Self::Panics,
            "hang" | "loop" | "block" | "sleep" | "never" => Self::Hangs,
            "exit" => Self::Exits,
            "cont" | "resume" | "continue" => Self::Resumes,
            _ => return None,
        })
    }

    /// Registers it.
    pub(crate) async fn register(self, agent: &AgentHandle, signal: Signal) -> Result<Reply, CallError> {
        let own = agent.clone();
        let handler = move |_notice: Notice| {
            let own = own.clone();
            async move {
                match self {
                    Self::Nothing => Ok(()),
                    Self::Fails => Err("it throws".to_owned()),
                    Self::Panics => panic!("it panics"),
                    Self::Hangs => std::future::pending().await,
                    Self::Exits => own.exit(0, "handled").await.map_err(|error| error.to_string()),
                    Self::Resumes => {
                        let resumed = own.signal(own.id().as_str(), Signal::Cont, "handled").await;
                        resumed.map_err(|error| error.to_string())
                    }
                }
            }
        };
        agent.on_signal(signal, handler).await.map(|()| Reply::Done)
    }
}
