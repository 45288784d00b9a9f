//! Checkpoints: what an agent holds, written down so that the host can give it back.
//!
//! `SIGUSR1` keeps one in the agent's tree, under a name that the kernel chooses; [`Kernel::checkpoint`] hands one to the
//! host. A checkpoint is of one moment: files, open files, mask, labels and the rest are what they were between two looks at
//! the store that saw the same versions. Calls under way are counted in it and are no part of it: what they have changed by
//! that moment is in it, what they have not is not.
//!
//! A checkpoint holds no rights. What is restored from one is judged by today's policy, booked on today's accounts, bound to
//! no approval of the life before, carries at least the labels it carried, and is stopped until somebody sends `SIGCONT`.

mod form;

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use agent_primitives::{AgentId, Digest, LabelSet, Signal, SignalSet, Timestamp};
use agent_tool_registry::executor::Order;
use bytes::Bytes;

pub use self::form::{BadCheckpoint, Checkpoint};
use self::form::{Content, File, OpenDescriptor, VERSION};
use super::children::CHILD;
use super::running::panic_text;
use super::service::FILE_DEADLINE;
use super::spec::{AgentSpec, SpawnError};
use super::table::{Agent, ExitStatus};
use super::{Inner, Kernel, Raise};
use crate::agent::AgentHandle;
use crate::budget::{BudgetState, Level};
use crate::error::{CallError, SignalError};
use crate::recorder::{Actor, Body};
use crate::tree::{CHECKPOINTS, DIAGNOSTICS, WORKING, WORKING_MEMORY};
use crate::vfs::namespace::snapshot::{Kept, Opened};
use crate::vfs::{BadPath, Descriptor, PathError, Quota, VfsError, VfsPath};

/// Most checkpoints, and most diagnostics, that are kept in an agent's tree; the oldest make room.
pub const MAX_SNAPSHOTS: usize = 8;
/// Most bytes of all checkpoints, or of all diagnostics, in an agent's tree.
pub const MAX_SNAPSHOT_BYTES: u64 = 64 << 20;
/// Longest text that is read as a checkpoint.
pub const MAX_CHECKPOINT_BYTES: usize = 32 << 20;

const DOMAIN: &str = "agent-os checkpoint v1";
const KEYED_DOMAIN: &str = "agent-os keyed checkpoint v1";

/// A secret of the host's that goes into the digest of each checkpoint.
pub(crate) struct Key(pub(super) [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Why an agent was not restored. No agent is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The checkpoint is not as it was written, or was written under another key.
    #[error("the checkpoint does not have the digest it names: it was changed, or its key is another")]
    Altered,
    /// It is of another agent.
    #[error("the checkpoint is of agent `{found}`")]
    OtherAgent {
        /// Whose it is.
        found: AgentId,
    },
    /// It is of another tenant's agent.
    #[error("the checkpoint is of another tenant's agent")]
    OtherTenant,
    /// What it holds does not fit where it belongs.
    #[error("what the checkpoint holds cannot be put back: {0}")]
    File(#[from] PathError),
    /// The agent could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The kernel is down, or the stores took too long.
    #[error(transparent)]
    Kernel(#[from] CallError),
}

impl RestoreError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Altered => "AK0961",
            Self::OtherAgent { .. } => "AK0962",
            Self::OtherTenant => "AK0963",
            Self::File(error) => error.code(),
            Self::Spawn(error) => error.code(),
            Self::Kernel(error) => error.code(),
        }
    }
}

/// An agent that was restored. It is stopped.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored {
    /// The agent, in a life of its own.
    pub agent: AgentHandle,
    /// The files that were open: under which descriptor, and under which they are open now.
    pub descriptors: Vec<Reopened>,
}

/// A file that was open when a checkpoint was taken.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reopened {
    /// What it was open under.
    pub before: Descriptor,
    /// What it is open under now, or why it is not.
    pub now: Result<Descriptor, PathError>,
}

impl Kernel {
    /// Takes a checkpoint of a live agent, which goes on undisturbed.
    ///
    /// Cancel safe: nothing is kept but the record of a checkpoint that was taken.
    ///
    /// # Errors
    /// No such agent; [`CallError::File`] when its memory is too large, keeps changing or cannot be read; a recorder that
    /// fails.
    pub async fn checkpoint(&self, agent: &AgentId) -> Result<Checkpoint, CallError> {
        let cell = self.live(agent)?;
        let checkpoint = self.inner.in_time(self.inner.picture(&cell)).await?;
        let bytes = checkpoint.to_bytes().map_err(unwritten)?.len() as u64;
        let body = Body::Checkpoint { file: "", digest: checkpoint.digest, bytes };
        self.inner.append(cell.source(), 0, body)?;
        Ok(checkpoint)
    }

    /// The checkpoints that are kept in the tree of a live agent, the oldest first. They are gone with the agent, unless the
    /// host has mounted a store of its own at [`CHECKPOINTS`].
    ///
    /// # Errors
    /// No such agent, or a store that fails. What is there and is no checkpoint is left out.
    pub async fn checkpoints(&self, agent: &AgentId) -> Result<Vec<Checkpoint>, CallError> {
        let cell = self.live(agent)?;
        let folder = own_path(CHECKPOINTS)?;
        let files = self.inner.in_time(async { Ok(cell.files.kept(&folder, ROOM).await?) }).await?;
        Ok(files.iter().filter_map(|file| Checkpoint::from_bytes(&file.data).ok()).collect())
    }

    /// Starts an agent as `spec` says, with what a checkpoint of it holds: its working memory with labels and expiry, the
    /// labels it carried besides those of `spec`, its mask but for `SIGCONT`, its open files. Rights, budgets and approvals are
    /// those of today; signals that were pending are gone. The agent is stopped: `SIGCONT` lets it begin.
    ///
    /// # Cancel safety
    /// Dropped, it ends the agent by `SIGKILL`.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn restore(&self, spec: AgentSpec, checkpoint: &Checkpoint) -> Result<Restored, RestoreError> {
        let (inner, content) = (&self.inner, &checkpoint.content);
        if inner.sign(content)? != checkpoint.digest {
            return Err(RestoreError::Altered);
        }
        let parent = self.parent_of(&spec)?;
        let named = match &parent {
            Some(parent) => format!("{}{CHILD}{}", parent.id, spec.id),
            None => spec.id.clone(),
        };
        if named != content.agent.as_str() {
            return Err(RestoreError::OtherAgent { found: content.agent.clone() });
        }
        let tenant = parent.as_ref().map_or(&spec.tenant, |parent| &parent.tenant);
        if *tenant != content.tenant {
            return Err(RestoreError::OtherTenant);
        }
        let labels = spec.labels.join(&content.labels).map_err(CallError::from)?;
        let mut spec = spec.labels(labels);
        spec.stopped = true;
        let agent = inner.start(spec, parent.as_ref(), "")?;
        inner.record_signal(&agent, Signal::Stop, Actor::Host, "restored from a checkpoint", true);
        let restoring = Restoring { inner, agent: &agent, done: false };
        let descriptors = match inner.in_time(async { Ok(inner.give_back(&agent, content).await) }).await? {
            Ok(descriptors) => descriptors,
            Err(error) => return Err(error.into()),
        };
        let lost = descriptors.iter().filter(|reopened| reopened.now.is_err()).count() as u64;
        let body = Body::Restored { checkpoint: checkpoint.digest, files: content.memory.len() as u64, lost };
        inner.append(agent.source(), 0, body)?;
        restoring.done();
        Ok(Restored { agent: AgentHandle::new(Arc::clone(inner), agent), descriptors })
    }

    fn live(&self, agent: &AgentId) -> Result<Arc<Agent>, CallError> {
        let cell = self.inner.table.live(agent.as_str());
        Ok(cell.ok_or_else(|| SignalError::NoSuchAgent(agent.to_string()))?)
    }
}

/// An agent that is being restored: given up, it ends.
struct Restoring<'a> {
    inner: &'a Inner,
    agent: &'a Arc<Agent>,
    done: bool,
}

impl Restoring<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Restoring<'_> {
    fn drop(&mut self) {
        if !self.done {
            let reason = "it could not be restored".to_owned();
            self.inner.end(self.agent, ExitStatus::Signaled { signal: Signal::Kill, reason }, Actor::Kernel);
        }
    }
}

/// Signals whose snapshot could not be taken at once, one bit each.
const fn bit(signal: Signal) -> u8 {
    match signal {
        Signal::Usr1 => 1,
        Signal::Usr2 => 2,
        _ => 0,
    }
}

/// How much of a folder of snapshots is read or kept.
const ROOM: Quota = Quota { bytes: MAX_SNAPSHOT_BYTES, files: MAX_SNAPSHOTS as u64 };

impl Inner {
    /// What follows from a signal besides what it does to the agent: its descendants follow some, and two leave a file.
    pub(crate) fn follow_up(&self, agent: &Arc<Agent>, signal: Signal, raised: Raise, reason: &str) {
        if signal == Signal::Term && raised == Raise::Delivered {
            agent.orders.give(Order::Terminate);
            agent.changed.notify_waiters();
        }
        if bit(signal) == 0 {
            return self.pass_down(agent, signal, raised, reason);
        }
        if raised != Raise::Delivered {
            return;
        }
        // Stores in memory are done in one poll. Another is waited for when the agent makes its next call.
        let mut taking = pin!(self.snapshot(agent, signal));
        match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) if !is_busy(&error) => self.not_taken(agent, signal, &error),
            Poll::Ready(Err(_)) | Poll::Pending => {
                agent.snapshots_due.fetch_or(bit(signal), Ordering::SeqCst);
            }
        }
    }

    /// Takes what a signal asked for and could not be taken when it was raised. Nothing more is done once the agent has ended.
    ///
    /// # Errors
    /// It has.
    pub(crate) async fn take_due_snapshots(&self, agent: &Arc<Agent>) -> Result<(), CallError> {
        let due = agent.snapshots_due.swap(0, Ordering::SeqCst);
        for signal in [Signal::Usr1, Signal::Usr2] {
            if due & bit(signal) == 0 {
                continue;
            }
            let mut ended = pin!(self.changed(agent, |_| false));
            let mut taking = pin!(self.snapshot(agent, signal));
            let taken = poll_fn(|context| match ended.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => taking.as_mut().poll(context).map(Some),
            });
            match taken.await {
                None => return Err(self.dead(agent)),
                Some(Err(error)) => self.not_taken(agent, signal, &error),
                Some(Ok(())) => {}
            }
        }
        Ok(())
    }

    fn not_taken(&self, agent: &Agent, signal: Signal, error: &CallError) {
        let body = Body::NotTaken { signal: signal.number(), error: &error.to_string() };
        // A recorder that fails has already panicked the kernel.
        let _ = self.append(agent.source(), 0, body);
    }

    async fn snapshot(&self, agent: &Arc<Agent>, signal: Signal) -> Result<(), CallError> {
        self.in_time(async {
            if signal == Signal::Usr1 {
                let checkpoint = self.picture(agent).await?;
                let data = checkpoint.to_bytes().map_err(unwritten)?;
                let (bytes, labels) = (data.len() as u64, checkpoint.content.carried()?);
                let file = self.keep(agent, CHECKPOINTS, data, labels).await?;
                let body = Body::Checkpoint { file: &file, digest: checkpoint.digest, bytes };
                return self.append(agent.source(), 0, body).map(drop);
            }
            let data = Bytes::from(self.diagnose(agent).to_string());
            let bytes = data.len() as u64;
            let file = self.keep(agent, DIAGNOSTICS, data, self.carried_by(agent)).await?;
            self.append(agent.source(), 0, Body::Diagnostics { file: &file, bytes }).map(drop)
        })
        .await
    }

    /// Waits for stores, no longer than for any file operation; a store that panics has failed.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        let mut work = pin!(work);
        let contained = poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)))
                .unwrap_or_else(|panic| Poll::Ready(Err(CallError::Crashed { panic: panic_text(panic) })))
        });
        let deadline = self.timer.monotonic().after(FILE_DEADLINE);
        self.until(deadline, contained).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Keeps a file in a folder of the agent's and answers its path. Its name is the time, moved on where that is taken.
    async fn keep(
        &self,
        agent: &Agent,
        folder: &str,
        data: Bytes,
        labels: LabelSet,
    ) -> Result<String, CallError> {
        let at = own_path(folder)?;
        let now = self.timer.now().as_micros();
        let take = |last: i64| Some(now.max(last.saturating_add(1)));
        let last = agent.last_snapshot.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        let time = Timestamp::from_micros(now.max(last.unwrap_or(0).saturating_add(1)));
        let name = format!("{}.json", time.to_string().replace(':', ""));
        let file = Kept { path: name.clone(), data, labels, expires: None };
        agent.files.keep(&at, file, ROOM, is_snapshot).await?;
        Ok(format!("{folder}/{name}"))
    }

    async fn picture(&self, agent: &Arc<Agent>) -> Result<Checkpoint, CallError> {
        let working = own_path(WORKING)?;
        let look = || {
            let seen = agent.word.load();
            let (policy, policy_generation) =
                agent.footing.with(|standing| (standing.digest(), standing.generation));
            Content {
                version: VERSION,
                agent: agent.id.clone(),
                tenant: agent.tenant.clone(),
                taken: self.timer.now(),
                policy,
                policy_generation,
                calls: agent.calls(),
                in_flight: seen.in_flight(),
                labels: self.carried_by(agent),
                masked: seen.masked().iter().collect(),
                pending: seen.pending().iter().collect(),
                budgets: own_budgets(agent),
                descriptors: Vec::new(),
                memory: Vec::new(),
            }
        };
        let (files, open, mut content) = agent.files.picture(&working, WORKING_MEMORY, look).await?;
        content.descriptors = open.into_iter().map(OpenDescriptor::from).collect();
        content.memory = files.into_iter().map(File::from).collect();
        let digest = self.sign(&content)?;
        Ok(Checkpoint { content, digest })
    }

    fn sign(&self, content: &Content) -> Result<Digest, CallError> {
        let bytes = serde_json::to_vec(content)
            .map_err(|error| unwritten(BadCheckpoint { reason: error.to_string() }))?;
        Ok(match &self.checkpoint_key {
            None => Digest::of(DOMAIN, &bytes),
            Some(Key(key)) => {
                Digest::of(KEYED_DOMAIN, &key.iter().chain(&bytes).copied().collect::<Vec<u8>>())
            }
        })
    }

    /// Puts back what a checkpoint holds, as far as it may be there today.
    async fn give_back(&self, agent: &Agent, content: &Content) -> Result<Vec<Reopened>, PathError> {
        let now = self.timer.now();
        for file in content.memory.iter().filter(|file| file.expires.is_none_or(|expires| now < expires)) {
            let path = parsed(&format!("{WORKING}/{}", file.path))?;
            let data = file.data().ok_or_else(|| PathError::at(&path, VfsError::Backend))?;
            let (labels, expires) = (file.labels.clone(), file.expires);
            let file = Kept { path: file.path.clone(), data, labels, expires };
            agent.files.put_back(&path, file).await?;
        }
        let mut descriptors = Vec::new();
        for open in &content.descriptors {
            let now = match parsed(&open.path) {
                Ok(path) => {
                    let (descriptor, flags, position) = (open.descriptor, open.flags, open.position);
                    agent.files.open_again(&Opened { descriptor, path, flags, position }).await
                }
                Err(error) => Err(error),
            };
            descriptors.push(Reopened { before: open.descriptor, now });
        }
        // It is stopped, and could not let go of a SIGCONT that it holds back.
        let masked = content.masked.iter().copied().collect::<SignalSet>().without(Signal::Cont);
        let _nothing_is_due = agent.mailbox.mask(&agent.word, masked, SignalSet::EMPTY);
        Ok(descriptors)
    }
}

/// How much is used of what limits the agent itself: what others use beside it is not its business.
pub(super) fn own_budgets(agent: &Agent) -> Vec<BudgetState> {
    let own = |state: &BudgetState| matches!(state.level, Level::Task | Level::Agent);
    agent.accounts.states().into_iter().filter(own).collect()
}

/// Whether a file in a folder of snapshots is one of the kernel's, and may make room for the next.
fn is_snapshot(name: &str) -> bool {
    let time = name.strip_suffix("Z.json");
    time.is_some_and(|time| {
        time.len() == 24
            && time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'T' | b'.'))
    })
}

/// Whether trying again when the agent makes its next call may do.
fn is_busy(error: &CallError) -> bool {
    matches!(error, CallError::File(error) if error.error() == VfsError::Conflict)
}

fn own_path(path: &str) -> Result<VfsPath, CallError> {
    Ok(parsed(path)?)
}

fn parsed(path: &str) -> Result<VfsPath, PathError> {
    VfsPath::parse(path).map_err(|_: BadPath| PathError::pathless(VfsError::InvalidPath))
}

fn unwritten(error: BadCheckpoint) -> CallError {
    CallError::Crashed { panic: error.to_string() }
}
