//! Signals: how an agent is stopped, told and ended.
//!
//! | signal | no | default action | maskable |
//! | --- | --- | --- | --- |
//! | `SIGSTOP` | 1 | calls park at the gate; those that have begun end | yes |
//! | `SIGCONT` | 2 | parked calls go on | yes |
//! | `SIGINT` | 3 | calls in flight end; the next one answers [`Interrupted`](crate::CallError::Interrupted), once | yes |
//! | `SIGKILL` | 4 | ends the agent now | no |
//! | `SIGTERM` | 5 | the agent may end in order; once the grace period is over it is killed | yes |
//! | `SIGUSR1` | 6 | keeps a checkpoint: see [`crate::kernel`] | yes |
//! | `SIGUSR2` | 7 | keeps diagnostics | yes |
//! | `SIGPOLICY` | 8 | a policy was violated: ends the agent now | no |
//! | `SIGTRUST` | 9 | trust was violated: ends the agent now | no |
//! | `SIGBUDGET` | 10 | a budget is used up: stops as `SIGSTOP` does | yes |
//! | `SIGLOOP` | 11 | the same failure over and over: stops as `SIGSTOP` does | yes |
//! | `SIGDRIFT` | 12 | output or goal drifts: stops as `SIGSTOP` does | yes |
//!
//! A masked signal waits and is delivered when it is unmasked, once; several at a time in ascending number. While it waits it
//! can be awaited instead ([`AgentHandle::await_signal`]), which takes it; a `SIGTERM` can be awaited masked or not. Of each
//! signal one waits at a time, with who raised it first, why and when. `SIGCONT` discards a waiting `SIGSTOP`, and
//! whatever stops an agent discards a waiting `SIGCONT`.
//!
//! What holds whatever an agent masks or handles: the three unmaskable signals end it at once, the gate first; the grace
//! period of `SIGTERM` begins with the raise and ends in `SIGKILL`; a rule with `on_violation: stop` stops it. Who may signal
//! whom is for policy to say; an agent that is stopped makes no calls, so it never continues itself.
//!
//! # Handlers
//!
//! An agent can register an async closure for a maskable signal ([`AgentHandle::on_signal`]), which then runs in place of the
//! default action, except that `SIGCONT` resumes and the grace period of `SIGTERM` runs in any case. It runs where a call of
//! the agent passes the gate, coming in or between decision and effect, and while one waits for a signal or a human; so an
//! agent that makes no calls handles nothing. While the agent is stopped no handler begins. One runs at a time, for at most
//! [`HANDLER_DEADLINE`], and at one pass of the gate each signal is handled at most once.
//!
//! A handler that fails, panics, overruns its deadline or is dropped with the call it ran in has the default action taken
//! after it. It holds no rights: what it does, it does through an [`AgentHandle`] it was given, call by call, each judged and
//! recorded as any.
//!
//! A closure cannot cross a border, so registering one is no system call: it is kept with the agent in this process. An agent
//! elsewhere masks a signal and awaits it, which comes to the same.
//!
//! # On record
//!
//! Every raise ([`Body::Signal`](crate::recorder::Body::Signal)), with whether the default action was taken at once; and for
//! a signal that waited, once, to whom it was delivered ([`Body::Delivered`](crate::recorder::Body::Delivered)). Every
//! handler that is registered, taken away or refused, and how each run of one ended
//! ([`Body::Handler`](crate::recorder::Body::Handler)).
//!
//! [`AgentHandle`]: crate::AgentHandle
//! [`AgentHandle::await_signal`]: crate::AgentHandle::await_signal
//! [`AgentHandle::on_signal`]: crate::AgentHandle::on_signal

mod mailbox;
mod notice;
mod sync;
#[cfg(test)]
mod tests;
mod word;

pub use crate::kernel::HANDLER_DEADLINE;
pub use notice::{MAX_REASON, Notice, Sender};
pub use word::MAX_IN_FLIGHT;

pub(crate) use mailbox::{Due, Mailbox};
pub(crate) use notice::{Letter, cut};
pub(crate) use word::{Entry, Raised, Word};
