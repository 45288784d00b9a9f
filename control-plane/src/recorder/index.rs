//! An index of a recording, built by reading it once and kept in memory: what a query goes by, a row for each record.
//!
//! Rows stand in blocks, and each block knows what may be in it, so that a query passes over most of them. What an index
//! says is only ever a hint: every record it leads to is decoded and looked at. It is a cache, never written down, and has
//! no say in whether a recording verifies.
//!
//! Bounds: [`MAX_INDEXED`] records are indexed, the newest; of these the newest [`MAX_INDEX_BYTES`] are kept as they are. Older
//! ones are read from the store again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::query::{Facts, Page, Query};
use super::{Event, RecordingError, Stored};

/// Most records that are indexed; what is older is read through when a query gets there.
pub const MAX_INDEXED: usize = 1 << 20;
/// Most bytes of records that an index keeps.
pub const MAX_INDEX_BYTES: usize = 32 << 20;
/// Most different names that an index tells apart: agents, tools, rules, kinds. Further ones count as one.
pub const MAX_INDEX_NAMES: usize = 1 << 16;

/// Records of one block.
const BLOCK: usize = 512;
/// A name beyond [`MAX_INDEX_NAMES`]: it may be any.
const OTHER: u32 = u32::MAX;
/// No name.
const NONE: u32 = u32::MAX - 1;

/// Reads records from a sequence number on.
pub(super) type Read<'s> = dyn Fn(u64) -> Result<Records, RecordingError> + 's;

/// Records in order.
pub(super) type Records = Box<dyn Iterator<Item = Result<Stored, RecordingError>>>;

/// See the [module](self).
pub(super) struct Index {
    blocks: VecDeque<Block>,
    rows: usize,
    kept_bytes: usize,
    names: Names,
    /// Sets of rules, by the number that rows have for them.
    sets: HashMap<Box<[u32]>, u32>,
    /// The sequence number of the record that would be added next.
    next: u64,
    max_rows: usize,
    max_bytes: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self::bounded(MAX_INDEXED, MAX_INDEX_BYTES)
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({} records, {} bytes kept)", self.rows, self.kept_bytes)
    }
}

/// Consecutive records.
#[derive(Debug)]
struct Block {
    first: u64,
    rows: Vec<Row>,
    /// The records themselves, or nothing once they were let go.
    kept: Vec<Stored>,
    bytes: usize,
    summary: Summary,
}

/// What is known of one record.
#[derive(Clone, Copy, Debug)]
struct Row {
    time: i64,
    call: u64,
    generation: u64,
    agent: u32,
    kind: u32,
    tool: u32,
    rules: u32,
    syscall: u8,
    verdict: u8,
}

/// What may be in a block: a bit for each name, which others share.
#[derive(Clone, Copy, Debug)]
struct Summary {
    times: (i64, i64),
    calls: (u64, u64),
    agents: u64,
    kinds: u64,
    tools: u64,
}

#[derive(Debug, Default)]
struct Names(HashMap<Box<str>, u32>);

impl Names {
    fn add(&mut self, name: &str) -> u32 {
        if let Some(known) = self.0.get(name) {
            return *known;
        }
        if MAX_INDEX_NAMES <= self.0.len() {
            return OTHER;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(OTHER);
        self.0.insert(name.into(), number);
        number
    }

    /// The number of a name; [`OTHER`] for one that was never told apart.
    fn find(&self, name: &str) -> u32 {
        self.0.get(name).copied().unwrap_or(OTHER)
    }
}

/// The bits of a name in a summary.
const fn bits(name: u32) -> u64 {
    match name {
        OTHER => u64::MAX,
        NONE => 0,
        name => 1 << (name % 64),
    }
}

/// An index of which the latest additions may be missing, never half of one.
pub(super) fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
        let mut index = poisoned.into_inner();
        // Whatever was being changed is read again.
        *index = Index::default();
        index
    })
}

impl Index {
    fn bounded(max_rows: usize, max_bytes: usize) -> Self {
        let (blocks, names, sets) = (VecDeque::new(), Names::default(), HashMap::new());
        Self { blocks, rows: 0, kept_bytes: 0, names, sets, next: 0, max_rows, max_bytes }
    }

    /// The sequence number of the record that would be added next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Adds the record that follows. A seal is passed over.
    pub(super) fn add(&mut self, stored: &Stored) -> Result<(), RecordingError> {
        if stored.is_seal() {
            self.next = stored.seq() + 1;
            return Ok(());
        }
        let stored = stored.detached();
        let row = self.row(&stored.event()?);
        if self.blocks.back().is_none_or(|block| block.rows.len() == BLOCK || block.end() != stored.seq()) {
            self.blocks.push_back(Block::new(stored.seq()));
        }
        let Some(block) = self.blocks.back_mut() else { return Ok(()) };
        self.next = stored.seq() + 1;
        self.rows += 1;
        self.kept_bytes += block.push(row, stored);
        self.shed();
        Ok(())
    }

    fn row(&mut self, event: &Event<'_>) -> Row {
        let facts = Facts::of(event);
        let rules: Box<[u32]> = facts.rules.iter().map(|rule| self.names.add(rule)).collect();
        Row {
            time: event.time.as_micros(),
            call: event.call,
            generation: event.generation,
            agent: self.names.add(event.agent),
            kind: self.names.add(event.kind()),
            tool: facts.tool.map_or(NONE, |tool| self.names.add(tool)),
            rules: if rules.is_empty() { NONE } else { self.set(rules) },
            syscall: facts.syscall.unwrap_or_default(),
            verdict: facts.verdict.map_or(u8::MAX, |verdict| verdict as u8),
        }
    }

    fn set(&mut self, rules: Box<[u32]>) -> u32 {
        let number = u32::try_from(self.sets.len()).unwrap_or(OTHER);
        if let Some(known) = self.sets.get(&rules) {
            return *known;
        }
        if MAX_INDEX_NAMES <= self.sets.len() {
            return OTHER;
        }
        self.sets.insert(rules, number);
        number
    }

    /// Lets go of the oldest beyond the bounds.
    fn shed(&mut self) {
        while self.max_rows < self.rows {
            let Some(oldest) = self.blocks.pop_front() else { break };
            self.rows -= oldest.rows.len();
            self.kept_bytes -= oldest.bytes;
        }
        for block in &mut self.blocks {
            if self.kept_bytes <= self.max_bytes {
                break;
            }
            self.kept_bytes -= block.bytes;
            block.bytes = 0;
            block.kept = Vec::new();
        }
    }

    /// Answers a query; records that are not kept here, from `oldest` on, are read by `read`.
    pub(super) fn query(&self, query: &Query, oldest: u64, read: &Read<'_>) -> Result<Page, RecordingError> {
        let mut found = Found { query, page: Page::default() };
        let begin = self.blocks.front().map_or(self.next, |block| block.first);
        // Written while this was looked up, or let go of by a store in memory.
        let before = oldest < begin;
        if query.oldest_first && before {
            found.read_up(oldest.max(query.page.unwrap_or(0)), begin, read)?;
        }
        let filter = Filter::new(self, query);
        let mut blocks: Box<dyn Iterator<Item = &Block>> = Box::new(self.blocks.iter());
        if !query.oldest_first {
            blocks = Box::new(self.blocks.iter().rev());
        }
        for block in blocks {
            if found.is_full() {
                break;
            }
            if filter.admits(block) {
                self.look_into(block, &filter, &mut found, oldest, read)?;
            }
        }
        if !query.oldest_first && before && !found.is_full() {
            found.read_down(oldest, begin, read)?;
        }
        Ok(found.finish())
    }

    fn look_into(
        &self,
        block: &Block,
        filter: &Filter<'_>,
        found: &mut Found<'_>,
        oldest: u64,
        read: &Read<'_>,
    ) -> Result<(), RecordingError> {
        let seqs = (block.first..).zip(&block.rows);
        let wanted = seqs.filter(|(seq, row)| oldest <= *seq && filter.takes(*seq, row)).map(|(seq, _)| seq);
        let mut wanted: Vec<u64> = wanted.collect();
        let again;
        let records = if block.kept.is_empty() && !wanted.is_empty() {
            let first = wanted.first().copied().unwrap_or(block.first);
            let length = wanted.last().map_or(0, |last| last - first + 1);
            again =
                read(first)?.take(usize::try_from(length).unwrap_or(BLOCK)).collect::<Result<Vec<_>, _>>()?;
            &again
        } else {
            &block.kept
        };
        if !found.query.oldest_first {
            wanted.reverse();
        }
        for seq in wanted {
            let at = records.binary_search_by_key(&seq, Stored::seq).ok();
            let Some(stored) = at.and_then(|at| records.get(at)) else { continue };
            found.look_at(stored)?;
            if found.is_full() {
                break;
            }
        }
        Ok(())
    }
}

impl Block {
    fn new(first: u64) -> Self {
        let summary =
            Summary { times: (i64::MAX, i64::MIN), calls: (u64::MAX, 0), agents: 0, kinds: 0, tools: 0 };
        Self { first, rows: Vec::new(), kept: Vec::new(), bytes: 0, summary }
    }

    fn end(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    /// Adds a record, and returns how many bytes of it are kept.
    fn push(&mut self, row: Row, stored: Stored) -> usize {
        let summary = &mut self.summary;
        summary.times = (summary.times.0.min(row.time), summary.times.1.max(row.time));
        summary.calls = (summary.calls.0.min(row.call), summary.calls.1.max(row.call));
        summary.agents |= bits(row.agent);
        summary.kinds |= bits(row.kind);
        summary.tools |= bits(row.tool);
        // A block keeps all of its records or none.
        let keeps = self.kept.len() == self.rows.len();
        let size = if keeps { stored.size() } else { 0 };
        if keeps {
            self.kept.push(stored);
        }
        self.bytes += size;
        self.rows.push(row);
        size
    }
}

/// A query in the numbers of an index.
struct Filter<'q> {
    query: &'q Query,
    agent: Option<u32>,
    kinds: Vec<u32>,
    tool: Option<u32>,
    /// The sets with the rule that is asked for.
    sets: Option<Vec<u32>>,
}

impl<'q> Filter<'q> {
    fn new(index: &Index, query: &'q Query) -> Self {
        let find = |name: &Option<String>| name.as_ref().map(|name| index.names.find(name));
        let with = |rule: u32| {
            let sets = index.sets.iter().filter(|(rules, _)| rules.contains(&rule) || rules.contains(&OTHER));
            sets.map(|(_, number)| *number).chain([OTHER]).collect()
        };
        Self {
            query,
            agent: find(&query.agent),
            kinds: query.kinds.iter().map(|kind| index.names.find(kind)).collect(),
            tool: find(&query.tool),
            sets: find(&query.rule).map(with),
        }
    }

    /// Whether something in a block may be wanted.
    fn admits(&self, block: &Block) -> bool {
        let (query, summary) = (self.query, &block.summary);
        let may = |wanted: Option<u32>, present: u64| wanted.is_none_or(|name| bits(name) & present != 0);
        let after = query.page.is_none_or(|page| match query.oldest_first {
            true => page < block.end(),
            false => block.first <= page,
        });
        after
            && query.since.is_none_or(|since| since.as_micros() <= summary.times.1)
            && query.until.is_none_or(|until| summary.times.0 < until.as_micros())
            && query.call.is_none_or(|call| summary.calls.0 <= call && call <= summary.calls.1)
            && may(self.agent, summary.agents)
            && may(self.tool, summary.tools)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| may(Some(*kind), summary.kinds)))
    }

    /// Whether a record may be wanted.
    fn takes(&self, seq: u64, row: &Row) -> bool {
        let query = self.query;
        let is =
            |wanted: Option<u32>, found: u32| wanted.is_none_or(|wanted| wanted == found || found == OTHER);
        is(self.agent, row.agent)
            && is(self.tool, row.tool)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| is(Some(*kind), row.kind)))
            && self.sets.as_ref().is_none_or(|sets| sets.contains(&row.rules))
            && query.verdict.is_none_or(|verdict| verdict as u8 == row.verdict)
            && query.syscall.is_none_or(|call| call.number() == row.syscall)
            && query.call.is_none_or(|call| call == row.call)
            && query.generation.is_none_or(|generation| generation == row.generation)
            && query.since.is_none_or(|since| since.as_micros() <= row.time)
            && query.until.is_none_or(|until| row.time < until.as_micros())
            && query.page.is_none_or(|page| if query.oldest_first { page <= seq } else { seq <= page })
    }
}

/// What was found so far.
struct Found<'q> {
    query: &'q Query,
    page: Page,
}

impl Found<'_> {
    fn is_full(&self) -> bool {
        self.query.limit <= self.page.records.len()
    }

    fn look_at(&mut self, stored: &Stored) -> Result<(), RecordingError> {
        if self.query.matches(&stored.event()?) {
            self.page.records.push(stored.clone());
        }
        Ok(())
    }

    /// Reads records that are not indexed, up from `from`.
    fn read_up(&mut self, from: u64, end: u64, read: &Read<'_>) -> Result<(), RecordingError> {
        if end <= from {
            return Ok(());
        }
        for stored in read(from)? {
            let stored = stored?;
            if end <= stored.seq() || self.is_full() {
                break;
            }
            self.look_at(&stored)?;
        }
        Ok(())
    }

    /// Reads them as well, and takes the last of them, newest first.
    fn read_down(&mut self, from: u64, end: u64, read: &Read<'_>) -> Result<(), RecordingError> {
        let end = self.query.page.map_or(end, |page| end.min(page.saturating_add(1)));
        let (room, mut last) = (self.query.limit - self.page.records.len(), VecDeque::new());
        if end <= from {
            return Ok(());
        }
        for stored in read(from)? {
            let stored = stored?;
            if end <= stored.seq() {
                break;
            }
            if self.query.matches(&stored.event()?) {
                last.push_back(stored);
                if room < last.len() {
                    last.pop_front();
                }
            }
        }
        self.page.records.extend(last.into_iter().rev());
        Ok(())
    }

    fn finish(mut self) -> Page {
        if self.is_full() {
            let last = self.page.records.last().map(Stored::seq);
            self.page.next = match self.query.oldest_first {
                true => last.map(|seq| seq + 1),
                false => last.and_then(|seq| seq.checked_sub(1)),
            };
        }
        self.page
    }
}

#[cfg(test)]
mod tests {
    use agent_primitives::{Digest, LabelSet, Timestamp, Verdict};
    use proptest::prelude::*;

    use super::*;
    use crate::question::CallKind;
    use crate::recorder::{Body, Decided, EVENT_VERSION, FlightRecorder, Request, Source};

    const RECORDS: u64 = 3000;

    /// A record with some of everything, and the same each time.
    fn recorder() -> FlightRecorder {
        let recorder = FlightRecorder::memory().unwrap();
        for number in 0..RECORDS {
            let agent = ["", "a", "b", "c"][(number % 4) as usize];
            let source = Source { agent, generation: number / 1000, trail: None };
            let decision = |verdict, rule| Decided {
                verdict,
                rules: vec![rule],
                policy: Digest::ZERO,
                generation: 1,
                labels: LabelSet::EMPTY,
                arguments: Vec::new(),
                reason: None,
                mode: "",
                budgets: Vec::new(),
            };
            let request = Request::Read {
                path: "/x",
                descriptor: None,
                offset: None,
                length: 1,
                nonblock: false,
                query: None,
            };
            let tool = ["t0", "t1", "t2", "t3", "t4"][(number % 5) as usize];
            let exec = Request::Exec {
                tool,
                contract: Digest::ZERO,
                effects: Default::default(),
                arguments: b"{}",
                deadline: None,
            };
            let body = match number % 7 {
                0 => Body::Host { action: "x" },
                1 | 2 => {
                    Body::Intent { request: exec, decision: decision(Verdict::Allow, "r1"), ticket: None }
                }
                3 => Body::Refused { request: exec, decision: decision(Verdict::Deny, "r2") },
                4 => Body::Refused { request, decision: decision(Verdict::Deny, "r3") },
                5 => Body::Rejected { syscall: 5, what: "x", code: "AK0905", error: "x" },
                _ => Body::Question { request, decision: decision(Verdict::Ask, "r1") },
            };
            let time = Timestamp::from_micros(i64::try_from(number / 3).unwrap());
            recorder.append(time, source, number / 2, body).unwrap();
        }
        recorder
    }

    fn query() -> impl Strategy<Value = Query> {
        let agent = prop::option::of(prop::sample::select(vec!["", "a", "c", "nobody"]));
        let kind = prop::option::of(prop::sample::select(vec!["host", "intent", "refused", "nothing"]));
        let tool = prop::option::of(prop::sample::select(vec!["t0", "t3", "none"]));
        let rule = prop::option::of(prop::sample::select(vec!["r1", "r3", "none"]));
        let verdict =
            prop::option::of(prop::sample::select(vec![Verdict::Allow, Verdict::Ask, Verdict::Deny]));
        let syscall = prop::option::of(prop::sample::select(CallKind::ALL.to_vec()));
        let numbers =
            (prop::option::of(0i64..1000), prop::option::of(0i64..1000), prop::option::of(0u64..1500));
        let shape = (any::<bool>(), 60usize..400, prop::option::of(0u64..4));
        (agent, kind, tool, rule, verdict, syscall, numbers, shape).prop_map(
            |(agent, kind, tool, rule, verdict, syscall, (since, until, call), (up, limit, life))| Query {
                agent: agent.map(str::to_owned),
                generation: life,
                since: since.map(Timestamp::from_micros),
                until: until.map(Timestamp::from_micros),
                kinds: kind.map(str::to_owned).into_iter().collect(),
                tool: tool.map(str::to_owned),
                syscall,
                verdict,
                rule: rule.map(str::to_owned),
                call,
                oldest_first: up,
                limit,
                page: None,
            },
        )
    }

    fn by_index(index: &Index, recorder: &FlightRecorder, query: &Query) -> Vec<u64> {
        let (mut found, mut query) = (Vec::new(), query.clone());
        loop {
            let read = |from| Ok(Box::new(recorder.events(from)) as Records);
            let page = index.query(&query, 0, &read).unwrap();
            assert!(page.records.len() <= query.limit);
            found.extend(page.records.iter().map(Stored::seq));
            match page.next {
                Some(next) => query = query.page(next),
                None => return found,
            }
        }
    }

    #[test]
    fn an_index_finds_what_reading_everything_finds_whatever_it_still_keeps() {
        let recorder = recorder();
        let all: Vec<Stored> = recorder.events(0).map(Result::unwrap).collect();
        // All of it; the rows without the records; a part of the rows; nothing but the latest block.
        let bounds = [(usize::MAX, usize::MAX), (usize::MAX, 4096), (1200, 4096), (0, 0)];
        let indexes = bounds.map(|(rows, bytes)| {
            let mut index = Index::bounded(rows, bytes);
            all.iter().for_each(|stored| index.add(stored).unwrap());
            assert!(index.kept_bytes <= bytes.max(1) && index.rows <= rows);
            index
        });
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(32));
        runner
            .run(&query(), |query| {
                let matching = all.iter().filter(|stored| query.matches(&stored.event().unwrap()));
                let mut expected: Vec<u64> = matching.map(Stored::seq).collect();
                if !query.oldest_first {
                    expected.reverse();
                }
                for index in &indexes {
                    prop_assert_eq!(&by_index(index, &recorder, &query), &expected);
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(EVENT_VERSION, all[0].event().unwrap().version);
    }
}
