//! One resource of one account. Saturating whole numbers throughout: nothing here wraps, and what saturates is refused.

use agent_primitives::Resource;

/// How far a resource is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// Less than 80 % of the limit.
    Below,
    /// At least 80 %.
    Soft,
    /// All of it, or more.
    Exhausted,
}

/// A limit and what is used of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) resource: Resource,
    pub(crate) limit: u64,
    pub(crate) used: u64,
    /// Set aside for calls under way.
    pub(crate) reserved: u64,
    /// The furthest mark that was told of.
    told: Mark,
}

impl Line {
    pub(crate) fn new(resource: Resource, limit: u64) -> Self {
        Self { resource, limit, used: 0, reserved: 0, told: Mark::Below }
    }

    pub(crate) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used).saturating_sub(self.reserved)
    }

    /// Whether a call that needs `need` has to be refused. Where something was used and nothing is left, also a call that
    /// needs nothing is; a limit of zero lets through what is free.
    pub(crate) fn refuses(&self, need: u64) -> bool {
        self.left() < need || self.mark() == Mark::Exhausted
    }

    /// Whether the refusal may be lifted by calls that are under way now.
    pub(crate) fn may_come_back(&self, need: u64) -> bool {
        self.mark() != Mark::Exhausted && self.used.checked_add(need).is_some_and(|sum| sum <= self.limit)
    }

    pub(crate) fn reserve(&mut self, amount: u64) {
        self.reserved = self.reserved.saturating_add(amount);
    }

    pub(crate) fn release(&mut self, amount: u64) {
        self.reserved = self.reserved.saturating_sub(amount);
    }

    /// Books what was used. Returns the mark it reached, once each.
    #[must_use]
    pub(crate) fn charge(&mut self, amount: u64) -> Option<Mark> {
        self.used = self.used.saturating_add(amount);
        self.news()
    }

    /// Changes the limit; what was used stays used. Returns the mark that the use now stands at, if that was not told yet.
    #[must_use]
    pub(crate) fn set_limit(&mut self, limit: u64) -> Option<Mark> {
        self.limit = limit;
        self.told = self.told.min(self.mark());
        self.news()
    }

    fn news(&mut self) -> Option<Mark> {
        let mark = self.mark();
        let news = self.told < mark;
        self.told = self.told.max(mark);
        news.then_some(mark)
    }

    pub(crate) fn mark(&self) -> Mark {
        let (used, limit) = (u128::from(self.used), u128::from(self.limit));
        if used == 0 {
            Mark::Below
        } else if limit <= used {
            Mark::Exhausted
        } else if limit * 4 <= used * 5 {
            Mark::Soft
        } else {
            Mark::Below
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_mark_is_told_once_until_the_limit_is_raised() {
        let mut line = Line::new(Resource::Calls, 10);
        let told: Vec<Option<Mark>> = [7, 1, 1, 1, 1].map(|amount| line.charge(amount)).into();
        assert_eq!(told, [None, Some(Mark::Soft), None, Some(Mark::Exhausted), None]);
        assert_eq!(line.set_limit(11), None);
        assert_eq!(line.set_limit(100), None);
        assert_eq!(line.charge(80), Some(Mark::Soft));
        assert_eq!(line.set_limit(20), Some(Mark::Exhausted));
    }

    #[test]
    fn a_limit_of_nothing_lets_through_what_is_free() {
        let line = Line::new(Resource::Tokens, 0);
        assert!(!line.refuses(0));
        assert!(line.refuses(1));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(u64),
        /// Settles the oldest reservation with a share of it, in percent.
        Settle(u64),
        Cancel,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..=300).prop_map(Step::Reserve),
            (0u64..=100).prop_map(Step::Settle),
            Just(Step::Cancel)
        ]
    }

    proptest! {
        #[test]
        fn what_is_reserved_first_never_overshoots_and_nothing_is_lost(
            limit in 0u64..=1000, steps in prop::collection::vec(step(), 0..100),
        ) {
            let mut line = Line::new(Resource::Calls, limit);
            let (mut open, mut used) = (std::collections::VecDeque::new(), 0);
            for step in steps {
                match step {
                    Step::Reserve(amount) if !line.refuses(amount) => {
                        line.reserve(amount);
                        open.push_back(amount);
                    }
                    Step::Reserve(amount) => {
                        let all: u64 = used + open.iter().sum::<u64>();
                        prop_assert!(limit < all + amount || (0 < used && limit <= used));
                    }
                    Step::Settle(percent) => if let Some(amount) = open.pop_front() {
                        line.release(amount);
                        let _ = line.charge(amount * percent / 100);
                        used += amount * percent / 100;
                    },
                    Step::Cancel => if let Some(amount) = open.pop_back() {
                        line.release(amount);
                    },
                }
                prop_assert_eq!((line.used, line.reserved), (used, open.iter().sum()));
                prop_assert!(line.used + line.reserved <= limit);
            }
        }

        #[test]
        fn nothing_wraps(limit: u64, a: u64, b: u64, c: u64) {
            let mut line = Line::new(Resource::Calls, limit);
            line.reserve(a);
            line.reserve(b);
            let _ = line.charge(c);
            let _ = line.charge(b);
            prop_assert!(line.used >= c.max(b));
            prop_assert!(line.left() <= limit);
        }
    }
}
