//! What a call sets aside on all of its accounts, and what becomes of it.
//!
//! All accounts are locked together while it is looked whether there is room and while the room is taken, always from the
//! agent upwards, so that nobody overshoots and nobody waits in a circle.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use agent_primitives::{Monotonic, Resource};
use smallvec::SmallVec;

use super::super::meter::{Full, Limit};
use super::super::{Amounts, BudgetState, Level, Usage};
use super::{Account, AccountId, Books, News};
use crate::denial::{Reason, Shortage};
use crate::policy::{RuleLimit, Scope};

/// The accounts a call is booked on, from the agent upwards.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    pub(crate) task: Arc<Account>,
    pub(crate) agent: Arc<Account>,
    /// The lives and names of the agents it descends from, its parent's life first: two for each.
    pub(crate) above: Box<[Arc<Account>]>,
    pub(crate) tenant: Option<Arc<Account>>,
    pub(crate) kernel: Arc<Account>,
}

/// What one call holds until it is over.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    /// On which account, of what, how much.
    lines: SmallVec<[(usize, Resource, u64); 4]>,
    /// Accounts whose own limit counts the call.
    own: SmallVec<[usize; 4]>,
    /// Limits of rules that count the call.
    rules: SmallVec<[Counted; 2]>,
    /// Time that is left for the call, where a budget limits time.
    pub(crate) time: Option<Duration>,
}

/// A limit of a rule that counts a call until it is over.
#[derive(Debug)]
struct Counted {
    /// On which account.
    account: usize,
    key: Arc<str>,
    /// Which of the rule's limits.
    place: usize,
    /// What is reserved of which currency.
    cost: Option<(Resource, u64)>,
}

impl Reservation {
    /// How much of which resource is set aside: what one account has of it, and not what all have together.
    #[cfg(feature = "metrics")]
    pub(crate) fn amounts(&self) -> impl Iterator<Item = (Resource, u64)> {
        let mut most: SmallVec<[(Resource, u64); 4]> = SmallVec::new();
        for (_, resource, amount) in &self.lines {
            match most.iter_mut().find(|(known, _)| known == resource) {
                Some((_, known)) => *known = (*known).max(*amount),
                None => most.push((*resource, *amount)),
            }
        }
        most.into_iter()
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.own.is_empty() && self.rules.is_empty() && self.time.is_none()
    }
}

/// Why there is no room, and which rule says so, if one does.
#[derive(Debug)]
pub(crate) struct NoRoom {
    pub(crate) reason: Reason,
    pub(crate) rule: Option<Arc<str>>,
}

/// Accounts by their place in [`Accounts::all`].
type Places<T> = SmallVec<[T; 4]>;

impl Accounts {
    /// Whether some account limits something of its own.
    pub(crate) fn is_limited(&self) -> bool {
        self.all().into_iter().flatten().any(|account| account.is_limited())
    }

    /// How much is used of everything that some account limits.
    pub(crate) fn states(&self) -> Vec<BudgetState> {
        let own = [
            (Some(&self.task), Level::Task),
            (Some(&self.agent), Level::Agent),
            (self.tenant.as_ref(), Level::Tenant),
            (Some(&self.kernel), Level::Kernel),
        ];
        let mut states = Vec::new();
        for (account, level) in own {
            for usage in account
                .filter(|account| account.is_limited())
                .map(|account| account.usage())
                .unwrap_or_default()
            {
                let Usage { resource, limit, used, reserved } = usage;
                states.push(BudgetState { level, resource, limit, used: used.saturating_add(reserved) });
            }
        }
        states
    }

    pub(crate) fn all(&self) -> Places<Option<&Arc<Account>>> {
        let own = [Some(&self.task), Some(&self.agent)];
        let mut all = Places::new();
        all.extend(own.into_iter().chain(self.above.iter().map(Some)));
        all.extend([self.tenant.as_ref(), Some(&self.kernel)]);
        all
    }

    /// Where a rule's limit counts: for an agent on its own account and on that of each agent it descends from.
    fn places(&self, scope: Scope) -> Places<usize> {
        let behind = 2 + self.above.len();
        match scope {
            Scope::Agent => (1..behind).step_by(2).collect(),
            Scope::Tenant => Places::from_slice(&[behind]),
            Scope::Policy => Places::from_slice(&[behind + 1]),
        }
    }

    /// Reserves what a call needs at most on every account, and counts it under each limit, or does neither.
    ///
    /// `None` when the call has nothing to give back, and without `taking`: then it is only looked whether there is room.
    pub(crate) fn reserve<'l>(
        &self,
        now: Monotonic,
        limits: impl Iterator<Item = &'l RuleLimit> + Clone,
        needs: &Amounts,
        taking: bool,
    ) -> Result<Option<Reservation>, NoRoom> {
        let mut wanted: Places<bool> =
            self.all().iter().map(|account| account.is_some_and(|account| account.is_limited())).collect();
        for limit in limits.clone() {
            if limit.per == Scope::Tenant && self.tenant.is_none() {
                let what = "the limit is per tenant, and the agent has none";
                return Err(NoRoom {
                    reason: Reason::Unaccountable { what },
                    rule: Some(Arc::clone(&limit.rule)),
                });
            }
            for place in self.places(limit.per) {
                if let Some(wanted) = wanted.get_mut(place) {
                    *wanted = true;
                }
            }
        }
        let mut open: SmallVec<[Option<Opened<'_>>; 4]> = SmallVec::new();
        for (account, wanted) in self.all().into_iter().zip(wanted) {
            open.push(account.filter(|_| wanted).map(|account| (&**account, account.lock())));
        }
        let mut reservation = Reservation::default();
        for (place, (account, books)) in opened(&mut open) {
            look_at_lines(place, account, books, needs, &mut reservation)?;
            if let Some(own) = &mut books.own {
                own.meter.peek(&own.limit, now, |_| None).map_err(|full| no_room(full, &account.id, None))?;
            }
        }
        let counted =
            limits.clone().flat_map(|limit| self.places(limit.per).into_iter().map(move |at| (limit, at)));
        for (limit, at) in counted.clone() {
            let Some(Some((account, books))) = open.get_mut(at) else { continue };
            let Some(meter) = books.meter(limit, now) else {
                let what = "more limits are counted than an account keeps";
                return Err(NoRoom {
                    reason: Reason::Unaccountable { what },
                    rule: Some(Arc::clone(&limit.rule)),
                });
            };
            let looked = meter.peek(&limit.limit, now, |resource| needs.get(resource));
            looked.map_err(|full| no_room(full, &account.id, Some(&limit.rule)))?;
        }
        if !taking {
            return Ok(None);
        }
        take(&mut open, now, counted, needs, &mut reservation);
        Ok((!reservation.is_empty()).then_some(reservation))
    }

    /// Gives back what a call reserved and books what it used: `used`, and nothing when there was no use.
    pub(crate) fn settle(&self, reservation: Reservation, now: Monotonic, used: &Amounts) -> News {
        let mut news = News::new();
        for (place, account) in self.all().into_iter().enumerate() {
            let Some(account) = account else { continue };
            let here = |at: &usize| *at == place;
            let touched = reservation.lines.iter().any(|(at, ..)| here(at))
                || reservation.own.iter().any(here)
                || reservation.rules.iter().any(|counted| here(&counted.account));
            if !touched && !account.is_limited() {
                continue;
            }
            let mut books = account.lock();
            for (_, resource, reserved) in reservation.lines.iter().filter(|(at, ..)| here(at)) {
                if let Some(line) = books.lines.iter_mut().find(|line| line.resource == *resource) {
                    line.release(*reserved);
                }
            }
            for (resource, amount) in used.iter() {
                let reached = books.charge(account, resource, amount);
                news.extend(reached);
            }
            if let Some(own) = books.own.as_mut().filter(|_| reservation.own.iter().any(here)) {
                own.meter.give_back(now, 0, 0);
            }
            for counted in reservation.rules.iter().filter(|counted| here(&counted.account)) {
                let (reserved, spent) = counted
                    .cost
                    .map_or((0, 0), |(resource, reserved)| (reserved, used.get(resource).unwrap_or(0)));
                let meter =
                    books.meters.get_mut(&counted.key).and_then(|meters| meters.get_mut(counted.place));
                if let Some(meter) = meter {
                    meter.give_back(now, reserved, spent);
                }
            }
        }
        news
    }
}

type Opened<'a> = (&'a Account, MutexGuard<'a, Books>);

fn opened<'o, 'a>(
    open: &'o mut [Option<Opened<'a>>],
) -> impl Iterator<Item = (usize, (&'a Account, &'o mut Books))> + use<'o, 'a> {
    let places = open.iter_mut().enumerate();
    places.filter_map(|(place, open)| open.as_mut().map(|(account, books)| (place, (*account, &mut **books))))
}

/// Looks whether every line has room. Time is not refused while some is left: the call gets what is left of it.
fn look_at_lines(
    place: usize,
    account: &Account,
    books: &Books,
    needs: &Amounts,
    reservation: &mut Reservation,
) -> Result<(), NoRoom> {
    for line in &books.lines {
        let mut need = needs.get(line.resource).unwrap_or(0);
        if line.resource == Resource::WallTime && 0 < need {
            need = need.min(line.left().max(1));
            let time = Duration::from_micros(need);
            reservation.time = Some(reservation.time.map_or(time, |other| other.min(time)));
        }
        if line.refuses(need) {
            let reason = Reason::BudgetExhausted(Box::new(Shortage {
                account: account.id.to_string(),
                resource: line.resource,
                needed: need,
                left: line.left(),
                retryable: line.may_come_back(need),
            }));
            return Err(NoRoom { reason, rule: None });
        }
        if 0 < need {
            reservation.lines.push((place, line.resource, need));
        }
    }
    Ok(())
}

/// Takes everything that was found to have room.
fn take<'l>(
    open: &mut [Option<Opened<'_>>],
    now: Monotonic,
    limits: impl Iterator<Item = (&'l RuleLimit, usize)> + Clone,
    needs: &Amounts,
    reservation: &mut Reservation,
) {
    for (place, (_, books)) in opened(open) {
        for (_, resource, amount) in reservation.lines.iter().filter(|(at, ..)| *at == place) {
            if let Some(line) = books.lines.iter_mut().find(|line| line.resource == *resource) {
                line.reserve(*amount);
            }
        }
        if let Some(own) = &mut books.own {
            own.meter.take(&own.limit, now, 0);
            reservation.own.push(place);
        }
    }
    // A rule before and after a reload counts on one meter, and each call there once.
    let several = limits.clone().nth(1).is_some();
    let mut counted = BTreeMap::new();
    for (limit, place) in limits {
        let Some(Some((_, books))) = open.get_mut(place) else { continue };
        let Some(meter) = books.meter(limit, now) else { continue };
        let mut counts = limit.limit;
        if several {
            let before: &mut Limit = counted.entry((place, &limit.key, limit.place)).or_default();
            counts = counts.beyond(before);
            *before = before.and(&limit.limit);
        }
        let cost = counts.cost.map(|cost| {
            let resource = Resource::Money(cost.money.currency);
            (resource, needs.get(resource).unwrap_or(0))
        });
        meter.take(&counts, now, cost.map_or(0, |(_, amount)| amount));
        if counts.holds() {
            let key = Arc::clone(&limit.key);
            reservation.rules.push(Counted { account: place, key, place: limit.place, cost });
        } else {
            meter.give_back(now, 0, 0);
        }
    }
}

fn no_room(full: Full, account: &AccountId, rule: Option<&Arc<str>>) -> NoRoom {
    let account = || match rule {
        Some(rule) => format!("{account} under rule `{rule}`"),
        None => account.to_string(),
    };
    let reason = match full {
        Full::Rate { retry_after } => Reason::RateLimited { account: account().into(), retry_after },
        Full::Running { limit } => Reason::TooManyRunning { account: account().into(), limit },
        Full::Cost { resource, needed, left, retry_after } => Reason::BudgetExhausted(Box::new(Shortage {
            account: account(),
            resource,
            needed,
            left,
            retryable: retry_after.is_some(),
        })),
        Full::NoPrice => {
            Reason::Unaccountable { what: "the limit is on money, and the tool declares no price in it" }
        }
    };
    NoRoom { reason, rule: rule.map(Arc::clone) }
}
