//! A filter as it is put to episodes.

use agent_primitives::Timestamp;

use super::query::{Filter, SourceTrust};
use super::table::Shown;
use crate::episode::Source;

/// What a filter asks of an episode, a condition each.
pub(super) struct Sieve<'f> {
    pub(super) filter: &'f Filter,
    pub(super) agents: Numbers,
    pub(super) sessions: Numbers,
    /// All of which an episode has to have.
    pub(super) tags: Vec<u32>,
    /// Nothing passes: a tag is asked for that no episode has.
    pub(super) impossible: bool,
    /// Sources trusted enough, and sources asked for; a bit for each.
    trusted: u8,
    asked: u8,
    compacted_too: bool,
}

impl<'f> Sieve<'f> {
    /// `tags` are those of the filter, with numbers where they have any.
    pub(super) fn new(
        filter: &'f Filter,
        trust: &SourceTrust,
        agents: Numbers,
        sessions: Numbers,
        tags: &[Option<u32>],
    ) -> Self {
        let trusted = Source::ALL.iter().filter(|source| filter.min_trust <= trust.of(**source));
        Self {
            filter,
            agents,
            sessions,
            tags: tags.iter().copied().flatten().collect(),
            impossible: tags.iter().any(Option::is_none),
            trusted: trusted.copied().fold(0, |bits, source| bits | bit(source)),
            asked: filter.sources.iter().fold(0, |bits, source| bits | bit(*source)),
            compacted_too: filter.past,
        }
    }

    /// Lets pass what a rule stands for, too.
    pub(super) fn with_compacted(self) -> Self {
        Self { compacted_too: true, ..self }
    }

    pub(super) const fn shows(&self, shown: Shown) -> bool {
        match shown {
            Shown::Yes => true,
            Shown::Compacted => self.compacted_too,
            Shown::Corrected => self.filter.past,
            Shown::Hidden | Shown::Gone => false,
        }
    }

    /// Whether it matters who vouches for an episode.
    pub(super) fn weighs_sources(&self) -> bool {
        !self.filter.sources.is_empty() || Source::ALL.iter().any(|source| self.trusted & bit(*source) == 0)
    }

    /// Whether those who vouch for an episode are asked for, one of them, and trusted, all of them: a rule is trusted as
    /// little as the least of those it was made from.
    pub(super) fn believes(&self, sources: u8) -> bool {
        (self.filter.sources.is_empty() || sources & self.asked != 0) && sources & !self.trusted == 0
    }

    pub(super) fn is_within(&self, time: Timestamp) -> bool {
        self.filter.from.is_none_or(|from| from <= time) && self.filter.until.is_none_or(|until| time < until)
    }
}

/// A set of numbers that were given out from 0 on, a bit for each.
#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<u64>);

impl Numbers {
    #[inline]
    pub(super) fn have(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

impl FromIterator<u32> for Numbers {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut words = Vec::new();
        for number in numbers {
            let place = number as usize / 64;
            if words.len() <= place {
                words.resize(place + 1, 0);
            }
            if let Some(word) = words.get_mut(place) {
                *word |= 1 << (number % 64);
            }
        }
        Self(words)
    }
}

pub(super) const fn bit(source: Source) -> u8 {
    match source {
        Source::Agent => 1,
        Source::Tool => 1 << 1,
        Source::User => 1 << 2,
        Source::External => 1 << 3,
        Source::Recalled => 1 << 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::mask::Mask;
    use super::super::table::Table;
    use super::*;
    use crate::EntryKind;
    use crate::episode::{Episode, Failure, Outcome};
    use crate::memory::Found;

    const OUTCOMES: [Outcome; 4] = [Outcome::Failure, Outcome::Partial, Outcome::Success, Outcome::Unknown];

    /// An episode by the numbers of what it has, and how it is shown.
    type Made = (Vec<usize>, Shown);

    fn made() -> impl Strategy<Value = Vec<Made>> {
        let shown = prop_oneof![
            4 => Just(Shown::Yes),
            1 => prop::sample::select(vec![Shown::Compacted, Shown::Corrected, Shown::Hidden, Shown::Gone]),
        ];
        prop::collection::vec((prop::collection::vec(0usize..100, 8), shown), 0..200)
    }

    fn episode(of: &[usize]) -> Episode {
        let time = Timestamp::from_micros(1_700_000_000_000_000 + of[3] as i64);
        let built = Episode::builder(format!("agent-{}", of[0] % 5).parse().unwrap(), time)
            .goal("a goal")
            .session(format!("session-{}", of[1] % 70).parse().unwrap())
            .tags(of[4..6].iter().map(|tag| format!("tag-{}", tag % 3)))
            .source(Source::ALL[of[6] % Source::ALL.len()]);
        match OUTCOMES[of[2] % 4] {
            Outcome::Failure => built.failure(Failure {
                kind: agent_primitives::FailureType::Timeout,
                reason: "no answer".to_owned(),
            }),
            outcome => built.outcome(outcome),
        }
        .build()
        .unwrap()
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let few = |most: usize| prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(0..most, 1..4)];
        let time = || prop::option::weighted(0.3, 0i64..100);
        let trust = prop_oneof![3 => Just(0.0), 1 => 0.0f64..1.0];
        (few(7), few(80), few(4), few(5), few(4), (time(), time(), trust, any::<bool>(), any::<bool>()))
            .prop_map(
                |(agents, sessions, outcomes, sources, tags, (from, until, min_trust, past, rules_too))| {
                    let at = |micros| Timestamp::from_micros(1_700_000_000_000_000 + micros);
                    Filter {
                        agents: agents.iter().map(|one| format!("agent-{one}").parse().unwrap()).collect(),
                        sessions: sessions
                            .iter()
                            .map(|one| format!("session-{one}").parse().unwrap())
                            .collect(),
                        outcomes: outcomes.iter().map(|one| OUTCOMES[*one]).collect(),
                        sources: sources.iter().map(|one| Source::ALL[*one]).collect(),
                        kinds: if rules_too { vec![] } else { vec![EntryKind::Episode] },
                        tags: tags.iter().take(2).map(|one| format!("tag-{one}")).collect(),
                        from: from.map(at),
                        until: until.map(at),
                        min_trust,
                        past,
                    }
                },
            )
    }

    /// A filter as it is documented, on the episode itself.
    fn by_the_book(filter: &Filter, episode: &Episode, shown: Shown, compacted_too: bool) -> bool {
        let any = |empty: bool, holds: bool| empty || holds;
        let is_shown = match shown {
            Shown::Yes => true,
            Shown::Compacted => filter.past || compacted_too,
            Shown::Corrected => filter.past,
            Shown::Hidden | Shown::Gone => false,
        };
        is_shown
            && any(filter.agents.is_empty(), filter.agents.contains(episode.agent()))
            && any(
                filter.sessions.is_empty(),
                episode.session().is_some_and(|one| filter.sessions.contains(one)),
            )
            && any(filter.outcomes.is_empty(), filter.outcomes.contains(&episode.outcome()))
            && any(filter.sources.is_empty(), filter.sources.contains(&episode.source()))
            && filter.tags.iter().all(|tag| episode.tags().contains(tag))
            && filter.from.is_none_or(|from| from <= episode.timestamp())
            && filter.until.is_none_or(|until| episode.timestamp() < until)
            && filter.min_trust <= SourceTrust::DEFAULT.of(episode.source())
    }

    proptest! {
        #[test]
        fn a_filter_lets_pass_what_it_says(made in made(), filter in filter()) {
            let (mut table, mut sessions) = (Table::default(), Vec::new());
            let mut episodes = Vec::new();
            for (seq, (of, shown)) in (0u32..).zip(&made) {
                let episode = episode(of);
                sessions.push(table.push(u64::from(seq), &Found::Episode(Box::new(episode.clone()))));
                table.show(seq, *shown);
                episodes.push((episode, *shown));
            }
            let passing = |mask: &Mask| (0..made.len()).map(|place| mask.passes(place)).collect::<Vec<_>>();
            let expected = |compacted_too: bool| -> Vec<bool> {
                let passes = |(one, shown): &(Episode, Shown)| by_the_book(&filter, one, *shown, compacted_too);
                episodes.iter().map(passes).collect()
            };
            let trust = SourceTrust::DEFAULT;
            prop_assert_eq!(passing(&table.mask(&filter, &trust, &sessions)), expected(false));
            prop_assert_eq!(passing(&table.attempts_mask(&filter, &trust, &sessions)), expected(true));
            for outcome in OUTCOMES {
                let of = |place: &usize| episodes[*place].0.outcome() == outcome && expected(false)[*place];
                let newest: Vec<u64> =
                    (0..made.len()).rev().filter(of).map(|place| place as u64).take(3).collect();
                prop_assert_eq!(table.newest(outcome, 3, &filter, &trust, &sessions), newest);
            }
        }
    }
}
