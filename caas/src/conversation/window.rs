//! What is in the window, and what has to leave.

use std::collections::VecDeque;

use super::elide::elide;
use super::facts::Facts;
use super::group::{Group, Message, Role};
use super::{Archive, Archived, ConversationError, Dropped, GroupId, Limits};
use crate::tokens::TokenCounter;

#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    groups: VecDeque<Group>,
    next: u64,
    had_question: bool,
    facts: Facts,
    dropped: Dropped,
}

impl Window {
    pub(super) fn groups(&self) -> impl DoubleEndedIterator<Item = &Group> + Clone {
        self.groups.iter()
    }

    pub(super) const fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) const fn dropped(&self) -> Dropped {
        self.dropped
    }

    pub(super) const fn has_had_question(&self) -> bool {
        self.had_question
    }

    pub(super) const fn has_had(&self, group: GroupId) -> bool {
        group.0 < self.next
    }

    pub(super) fn holds(&self, group: GroupId) -> bool {
        self.groups.iter().any(|held| held.id == group)
    }

    pub(super) fn drop_late(&mut self, bytes: usize) {
        self.dropped.late += 1;
        self.dropped.bytes += bytes as u64;
    }

    /// Puts a message at the end: a result to its call, anything else as a new group.
    pub(super) fn push(&mut self, message: Message, pinned: bool) -> Result<GroupId, ConversationError> {
        let open = self.groups.iter_mut().find(|group| !group.is_complete());
        if message.role() == Role::Tool {
            let Some(open) = open else {
                return Err(ConversationError::UnknownCall(message.answers().unwrap_or_default().to_owned()));
            };
            open.answer(message)?;
            return Ok(open.id);
        }
        if let Some(open) = open {
            return Err(ConversationError::CallsPending(open.pending().count()));
        }
        self.had_question |= message.role() == Role::User;
        let group = Group::new(self.take_id(), message, pinned)?;
        let id = group.id;
        self.groups.push_back(group);
        Ok(id)
    }

    /// Puts an answer behind a group, and what answered it already.
    pub(super) fn insert_after(
        &mut self,
        to: GroupId,
        message: Message,
    ) -> Result<GroupId, ConversationError> {
        let found = self.groups.iter().enumerate().find(|(_, group)| group.id == to);
        let (place, group) = found.ok_or(ConversationError::UnknownGroup(to))?;
        if !group.is_complete() {
            return Err(ConversationError::CallsPending(group.pending().count()));
        }
        let group = Group::new(self.take_id(), message, false)?;
        let id = group.id;
        self.groups.insert(place + 1, group);
        Ok(id)
    }

    const fn take_id(&mut self) -> GroupId {
        let id = GroupId(self.next);
        self.next += 1;
        id
    }

    /// Lets the oldest groups go until the rest fits; the newest is cut if it does not fit alone.
    pub(super) fn fit(
        &mut self,
        limits: &Limits,
        counter: &dyn TokenCounter,
        archive: Option<&dyn Archive>,
    ) -> Result<Vec<GroupId>, ConversationError> {
        let sum = |pinned: bool, groups: &VecDeque<Group>| -> usize {
            groups
                .iter()
                .filter(|group| group.pinned == pinned)
                .map(|group| group.tokens(limits, counter))
                .sum()
        };
        // Facts may grow with every group that leaves, so their room is kept from the start.
        let room = limits.tokens - limits.facts;
        let pins = sum(true, &self.groups);
        if room < pins {
            return Err(ConversationError::PinsExceedBudget { need: pins, limit: room });
        }
        let mut evicted = Vec::new();
        while room - pins < sum(false, &self.groups) || limits.turns < self.questions() {
            let Some(place) = self.oldest_but_last() else { break };
            let Some(group) = self.groups.remove(place) else { break };
            self.leave(&group, limits, counter, archive)?;
            evicted.push(group.id);
        }
        self.cut_last(room - pins, limits, counter, archive)?;
        Ok(evicted)
    }

    fn questions(&self) -> usize {
        self.groups.iter().filter(|group| !group.pinned && group.is_question()).count()
    }

    /// The oldest group that may leave. The newest may not, nor what waits for results.
    fn oldest_but_last(&self) -> Option<usize> {
        let mut free = self.groups.iter().enumerate().filter(|(_, group)| !group.pinned);
        let (place, group) = free.next()?;
        (group.is_complete() && free.next().is_some()).then_some(place)
    }

    fn leave(
        &mut self,
        group: &Group,
        limits: &Limits,
        counter: &dyn TokenCounter,
        archive: Option<&dyn Archive>,
    ) -> Result<(), ConversationError> {
        match archive {
            Some(archive) => {
                let kept = archive.keep(Archived::Group(group.id, group.messages()));
                kept.map_err(|source| ConversationError::Archive { source })?;
            }
            None => {
                self.dropped.groups += 1;
                self.dropped.bytes += group.bytes() as u64;
            }
        }
        for message in group.messages() {
            self.facts.take(message.text(), limits.facts, counter);
        }
        Ok(())
    }

    /// Cuts the texts of the only group that is left besides pinned ones, longest result first, until it fits.
    fn cut_last(
        &mut self,
        room: usize,
        limits: &Limits,
        counter: &dyn TokenCounter,
        archive: Option<&dyn Archive>,
    ) -> Result<(), ConversationError> {
        let free = |group: &Group| if group.pinned { 0 } else { group.tokens(limits, counter) };
        let all: usize = self.groups.iter().map(free).sum();
        let Some(group) = self.groups.iter_mut().rfind(|group| !group.pinned) else { return Ok(()) };
        // What waits for its results cannot leave, and takes its part.
        let room = room.saturating_sub(all - group.tokens(limits, counter));
        for place in group.by_length() {
            let excess = group.tokens(limits, counter).saturating_sub(room);
            if excess == 0 {
                return Ok(());
            }
            let Some(text) = group.text_at(place).cloned() else { continue };
            let before = group.cut_at(place).cloned();
            let has = counter.count(&text);
            let marker = counter.count(&elide(&text, before.as_ref(), None, 0, counter).0);
            if has <= marker {
                continue;
            }
            let archived = match (&before, archive) {
                (Some(cut), _) => cut.archived.clone(),
                (None, Some(archive)) => {
                    let kept = archive.keep(Archived::Text(group.id, &text));
                    Some(kept.map_err(|source| ConversationError::Archive { source })?)
                }
                (None, None) => None,
            };
            let (short, cut) = elide(&text, before.as_ref(), archived, has.saturating_sub(excess), counter);
            if archive.is_none() {
                self.dropped.bytes += text.len().saturating_sub(short.len()) as u64;
            }
            group.put_cut(place, short, cut);
        }
        let need = group.tokens(limits, counter);
        if need <= room { Ok(()) } else { Err(ConversationError::GroupExceedsBudget { need, limit: room }) }
    }
}
