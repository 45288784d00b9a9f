//! The service around the book: what time it is, whose word counts, where tickets are kept, who tells humans.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use agent_primitives::ticket::{Grant, Principal, Scope, TicketState};
use agent_primitives::{AgentId, Digest, Monotonic, TicketId, Timer, Timestamp};

use super::book::{Ask, Book, Claim};
use super::{Answer, ApprovalError, ApprovalStore, Approver, MAX_REASON, Request, StoreError, printable};
use crate::recorder::ApprovalStep;

/// Shortest time between two looks for answers, whatever an approver says.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Something that happened to a ticket and is not on record yet.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) ticket: TicketId,
    pub(crate) step: ApprovalStep,
    pub(crate) agent: AgentId,
    pub(crate) generation: u64,
    pub(crate) binding: Digest,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// The approvals of one kernel.
#[derive(Debug)]
pub(crate) struct Desk {
    book: Mutex<Book>,
    /// Held while the store is written, so that what is written last is the latest.
    writing: Mutex<()>,
    /// Why the store could not be written the last time.
    unkept: Mutex<Option<String>>,
    /// Held while news is put on record, so that the record has the order of the book.
    pub(crate) publishing: Mutex<()>,
    /// When answers were last looked for.
    collected: Mutex<Option<Monotonic>>,
    store: Arc<dyn ApprovalStore>,
    approvers: Vec<Box<dyn Approver>>,
    groups: BTreeMap<Principal, BTreeSet<Principal>>,
    timeout: Duration,
    timer: Arc<dyn Timer>,
    /// A wall-clock time that has been, and the monotonic time of then. The wall clock may be set back; a ticket must not
    /// come back to life by that.
    origin: (Timestamp, Monotonic),
}

impl Desk {
    pub(super) fn open(
        store: Arc<dyn ApprovalStore>,
        approvers: Vec<Box<dyn Approver>>,
        groups: BTreeMap<Principal, BTreeSet<Principal>>,
        timeout: Duration,
        timer: Arc<dyn Timer>,
    ) -> Result<Self, StoreError> {
        let requests = store.load()?;
        let latest = |request: &Request| request.grants().iter().map(|grant| grant.at).max();
        let seen = requests.iter().map(|request| latest(request).unwrap_or_default().max(request.asked()));
        let origin = (seen.max().unwrap_or_default().max(timer.now()), timer.monotonic());
        Ok(Self {
            book: Mutex::new(Book::restore(requests, origin.0)),
            writing: Mutex::new(()),
            unkept: Mutex::new(None),
            publishing: Mutex::new(()),
            collected: Mutex::new(None),
            store,
            approvers,
            groups,
            timeout,
            timer,
            origin,
        })
    }

    /// How long a question stands where no rule says.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The wall clock, or what it must be by the monotonic one, whichever is later.
    pub(crate) fn now(&self) -> Timestamp {
        let (wall, monotonic) = self.origin;
        let passed = self.timer.monotonic().since(monotonic).as_micros();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        Timestamp::from_micros(wall.as_micros().saturating_add(passed)).max(self.timer.now())
    }

    /// When `time` will have come, on the monotonic clock.
    pub(crate) fn monotonic_at(&self, time: Timestamp) -> Monotonic {
        let left = time.as_micros().saturating_sub(self.now().as_micros());
        self.timer.monotonic().after(Duration::from_micros(u64::try_from(left).unwrap_or(0)))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // INVARIANT: a panic under this lock leaves at worst a ticket out of a list, never one that was used unused.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn claim(
        &self,
        ask: Ask<'_>,
        presented: Option<TicketId>,
        take: bool,
        show: impl FnOnce() -> (String, Vec<String>),
    ) -> Claim {
        let at = self.now();
        self.book().claim(ask, presented, take, at, show)
    }

    /// How many tickets wait for an answer.
    pub(crate) fn pending(&self) -> u64 {
        let at = self.now();
        let mut book = self.book();
        book.expire(at);
        book.all().filter(|request| request.state() == TicketState::Pending).count() as u64
    }

    /// Why the store could not be written the last time; `None` when it could.
    pub(crate) fn unkept(&self) -> Option<String> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a ticket of the call with this digest waits to be used.
    pub(crate) fn is_granted(&self, binding: Digest) -> bool {
        let at = self.now();
        let mut book = self.book();
        book.expire(at);
        book.is_granted(binding)
    }

    /// Where a ticket stands; one that is forgotten is settled for certain.
    pub(crate) fn state(&self, ticket: TicketId) -> Option<TicketState> {
        let at = self.now();
        let mut book = self.book();
        book.expire(at);
        book.get(ticket).map(Request::state)
    }

    pub(crate) fn request(&self, ticket: TicketId) -> Option<Request> {
        let at = self.now();
        let mut book = self.book();
        book.expire(at);
        book.get(ticket).cloned()
    }

    /// The tickets that are not settled, the oldest first.
    pub(crate) fn open_requests(&self) -> Vec<Request> {
        let at = self.now();
        let mut book = self.book();
        book.expire(at);
        let mut open: Vec<Request> =
            book.all().filter(|request| !request.state().is_settled()).cloned().collect();
        open.sort_by_key(|request| (request.asked(), request.id()));
        open
    }

    pub(crate) fn take_news(&self) -> Vec<News> {
        self.book().take_news()
    }

    /// The groups of a principal, if it is one that can answer at all.
    fn groups_of(&self, by: &Principal) -> Result<Vec<Principal>, ApprovalError> {
        if self.groups.contains_key(by) {
            return Err(ApprovalError::NotAnApprover(by.clone()));
        }
        let member = self.groups.iter().filter(|(_, members)| members.contains(by));
        Ok(member.map(|(group, _)| group.clone()).collect())
    }

    pub(crate) fn grant(
        &self,
        ticket: TicketId,
        by: &Principal,
        scope: Scope,
    ) -> Result<TicketState, ApprovalError> {
        let groups = self.groups_of(by)?;
        let state = self.book().grant(ticket, Grant { by: by.clone(), groups, scope, at: self.now() })?;
        #[cfg(feature = "metrics")]
        if state == TicketState::Granted {
            self.answered(ticket);
        }
        Ok(state)
    }

    pub(crate) fn refuse(&self, ticket: TicketId, by: &Principal, reason: &str) -> Result<(), ApprovalError> {
        let groups = self.groups_of(by)?;
        self.book().refuse(ticket, (by, &groups), self.now(), &short(reason))?;
        #[cfg(feature = "metrics")]
        self.answered(ticket);
        Ok(())
    }

    /// Tells the metrics how long a ticket waited for the answer it has now.
    #[cfg(feature = "metrics")]
    fn answered(&self, ticket: TicketId) {
        let Some(request) = self.request(ticket) else { return };
        let waited = self.now().as_micros().saturating_sub(request.ticket.asked().as_micros());
        let waited = Duration::from_micros(u64::try_from(waited).unwrap_or(0));
        crate::kernel::meters::approval_answered(waited);
    }

    pub(crate) fn revoke(&self, ticket: TicketId, reason: &str) -> Result<(), ApprovalError> {
        self.book().revoke(ticket, self.now(), &short(reason))
    }

    /// Withdraws everything an agent asked for: in this life, or, without one given, in any. Returns what it withdrew.
    pub(crate) fn withdraw_all(
        &self,
        agent: &AgentId,
        generation: Option<u64>,
        reason: &str,
    ) -> Vec<TicketId> {
        let at = self.now();
        let mut book = self.book();
        let own = |request: &&Request| {
            request.agent() == agent
                && generation.is_none_or(|generation| generation == request.generation)
                && !request.state().is_settled()
        };
        let mut tickets: Vec<(Timestamp, TicketId)> =
            book.all().filter(own).map(|request| (request.asked(), request.id())).collect();
        // So that equal runs leave equal records.
        tickets.sort_unstable();
        let tickets: Vec<TicketId> = tickets.into_iter().map(|(_, ticket)| ticket).collect();
        tickets.iter().for_each(|ticket| book.withdraw(*ticket, at, reason));
        tickets
    }

    /// Writes the present state of a ticket to the store, that of others which the book settled by itself, and forgets there
    /// what the book forgot. May block.
    pub(crate) fn keep(&self, ticket: TicketId) -> Result<(), StoreError> {
        let kept = self.write(ticket);
        // INVARIANT: the only change under this lock is one assignment.
        let mut unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
        *unkept = kept.as_ref().err().map(ToString::to_string);
        kept
    }

    fn write(&self, ticket: TicketId) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (requests, forgotten) = {
            let mut book = self.book();
            let mut requests: Vec<Request> = book.get(ticket).cloned().into_iter().collect();
            requests.extend(book.take_unsaved().into_iter().filter(|request| request.id() != ticket));
            (requests, book.take_forgotten())
        };
        for (done, request) in requests.iter().enumerate() {
            if let Err(error) = self.store.save(request) {
                let mut book = self.book();
                book.put_back_unsaved(requests.get(done..).unwrap_or_default());
                book.put_back_forgotten(&forgotten);
                return Err(error);
            }
        }
        for (done, ticket) in forgotten.iter().enumerate() {
            if let Err(error) = self.store.remove(*ticket) {
                self.book().put_back_forgotten(forgotten.get(done..).unwrap_or_default());
                return Err(error);
            }
        }
        Ok(())
    }

    /// As [`Desk::keep`], without blocking the task. What was begun is finished, also when this is dropped.
    pub(crate) async fn keep_in_background(self: &Arc<Self>, ticket: TicketId) -> Result<(), StoreError> {
        if self.store.is_immediate() {
            return self.keep(ticket);
        }
        let desk = Arc::clone(self);
        let runtime = tokio::runtime::Handle::try_current().map_err(StoreError::new)?;
        runtime.spawn_blocking(move || desk.keep(ticket)).await.map_err(StoreError::new)?
    }

    /// The task of telling humans of a ticket, for the one caller who is to. Dropped unfinished, it is the next caller's.
    pub(crate) fn tell(&self, ticket: TicketId) -> Option<Telling<'_>> {
        let first = self.book().tell(ticket);
        // Not made otherwise: dropping one gives the task away.
        first.then(|| Telling { desk: self, ticket, told: false })
    }

    /// Tells humans of a request, by every way there is. `false` when there are some and none of them works.
    pub(crate) async fn notify(&self, request: &Request) -> bool {
        let mut told = self.approvers.is_empty();
        for approver in &self.approvers {
            let deadline = self.timer.monotonic().after(super::NOTIFY_DEADLINE);
            let Ok(notify) = catch_unwind(AssertUnwindSafe(|| approver.notify(request))) else { continue };
            match self.contained(notify, deadline).await {
                Some(Ok(())) => told = true,
                Some(Err(error)) => tracing::warn!(ticket = %request.id(), %error, "not told"),
                None => tracing::warn!(ticket = %request.id(), "an approver panicked or took too long"),
            }
        }
        told
    }

    /// How often answers are to be looked for; `None` when no approver has any to be collected.
    pub(crate) fn interval(&self) -> Option<Duration> {
        let intervals = self.approvers.iter().filter_map(|approver| approver.interval());
        intervals.min().map(|interval| interval.max(MIN_INTERVAL))
    }

    /// The answers that came in, unless somebody has just looked.
    pub(crate) async fn collect(&self) -> Vec<Answer> {
        let Some(interval) = self.interval() else { return Vec::new() };
        let now = self.timer.monotonic();
        {
            let mut last = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| now < last.after(interval)) {
                return Vec::new();
            }
            *last = Some(now);
        }
        let pending: Vec<TicketId> = self
            .open_requests()
            .iter()
            .filter(|request| request.state() == TicketState::Pending)
            .map(Request::id)
            .collect();
        let mut answers = Vec::new();
        for approver in self.approvers.iter().filter(|approver| approver.interval().is_some()) {
            let deadline = self.timer.monotonic().after(super::NOTIFY_DEADLINE);
            let Ok(collect) = catch_unwind(AssertUnwindSafe(|| approver.collect(&pending))) else { continue };
            answers.extend(self.contained(collect, deadline).await.unwrap_or_default());
        }
        answers
    }

    /// Runs code of the host: `None` when it panics or is late.
    async fn contained<T>(&self, mut work: super::Answering<'_, T>, deadline: Monotonic) -> Option<T> {
        let mut late = self.timer.sleep_until(deadline);
        std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Err(_panic) => Poll::Ready(None),
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Ok(Poll::Pending) => late.as_mut().poll(context).map(|()| None),
        })
        .await
    }
}

/// See [`Desk::tell`].
#[derive(Debug)]
#[must_use = "humans are told only when this is finished"]
pub(crate) struct Telling<'a> {
    desk: &'a Desk,
    ticket: TicketId,
    told: bool,
}

impl Telling<'_> {
    pub(crate) fn finish(mut self) {
        self.told = true;
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.desk.book().untell(self.ticket);
        }
    }
}

/// A reason as it is kept: one line, bounded.
fn short(reason: &str) -> String {
    printable(&reason.chars().take(MAX_REASON).collect::<String>())
}
