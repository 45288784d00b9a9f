//! What enters and leaves a conversation together.

use std::sync::Arc;

use super::elide::Cut;
use super::{ConversationError, GroupId, Limits};
use crate::tokens::TokenCounter;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The host.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
    /// A tool that was called.
    Tool,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name in the conversation.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// The arguments as they were written.
    pub arguments: Arc<str>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    role: Role,
    pub(super) text: Arc<str>,
    calls: Vec<Call>,
    /// The call of which it is the result.
    answers: Option<String>,
}

impl Message {
    fn of(role: Role, text: &str) -> Self {
        Self { role, text: text.into(), calls: Vec::new(), answers: None }
    }

    /// From the host.
    #[must_use]
    pub fn system(text: &str) -> Self {
        Self::of(Role::System, text)
    }

    /// From who asks.
    #[must_use]
    pub fn user(text: &str) -> Self {
        Self::of(Role::User, text)
    }

    /// From the model.
    #[must_use]
    pub fn assistant(text: &str) -> Self {
        Self::of(Role::Assistant, text)
    }

    /// From the model, with calls whose results follow.
    #[must_use]
    pub fn calling(text: &str, calls: Vec<Call>) -> Self {
        Self { calls, ..Self::of(Role::Assistant, text) }
    }

    /// The result of a call.
    #[must_use]
    pub fn result(call: &str, text: &str) -> Self {
        Self { answers: Some(call.to_owned()), ..Self::of(Role::Tool, text) }
    }

    /// Who says it.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What is said.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it calls.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The call of which it is the result.
    #[must_use]
    pub fn answers(&self) -> Option<&str> {
        self.answers.as_deref()
    }

    fn tokens(&self, limits: &Limits, counter: &dyn TokenCounter) -> usize {
        let calls = self.calls.iter().flat_map(|call| [&*call.id, &*call.tool, &*call.arguments]);
        let texts = calls.chain(self.answers.as_deref()).chain([&*self.text]);
        limits.per_message + texts.map(|text| counter.count(text)).sum::<usize>()
    }
}

/// A message that stands alone, or one with calls and all their results.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) pinned: bool,
    messages: Vec<Message>,
    /// Where a message was cut, by its place.
    cuts: Vec<(usize, Cut)>,
}

impl Group {
    /// # Errors
    /// `UnknownCall` for a result, `DuplicateCall`.
    pub(super) fn new(id: GroupId, message: Message, pinned: bool) -> Result<Self, ConversationError> {
        if let Some(call) = &message.answers {
            return Err(ConversationError::UnknownCall(call.clone()));
        }
        for (place, call) in message.calls.iter().enumerate() {
            if message.calls.iter().skip(place + 1).any(|other| other.id == call.id) {
                return Err(ConversationError::DuplicateCall(call.id.clone()));
            }
        }
        Ok(Self { id, pinned, messages: vec![message], cuts: Vec::new() })
    }

    /// Calls that wait for their results.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Call> {
        let calls = self.messages.iter().flat_map(|message| &message.calls);
        calls.filter(|call| !self.messages.iter().any(|message| message.answers() == Some(&call.id)))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.pending().next().is_none()
    }

    /// Adds the result of one of its calls.
    ///
    /// # Errors
    /// `UnknownCall`.
    pub(super) fn answer(&mut self, result: Message) -> Result<(), ConversationError> {
        let call = result.answers.clone().unwrap_or_default();
        if !self.pending().any(|pending| pending.id == call) {
            return Err(ConversationError::UnknownCall(call));
        }
        self.messages.push(result);
        Ok(())
    }

    pub(super) fn is_question(&self) -> bool {
        self.messages.first().is_some_and(|message| message.role == Role::User)
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(super) fn tokens(&self, limits: &Limits, counter: &dyn TokenCounter) -> usize {
        self.messages.iter().map(|message| message.tokens(limits, counter)).sum()
    }

    /// Bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.text.len()).sum()
    }

    /// The places of its messages in the order in which they are cut: results before all else, the longest first.
    pub(super) fn by_length(&self) -> Vec<usize> {
        let mut places: Vec<(bool, usize, usize)> = self
            .messages
            .iter()
            .enumerate()
            .map(|(place, message)| (message.role == Role::Tool, message.text.len(), place))
            .collect();
        places.sort_unstable_by(|one, other| other.cmp(one));
        places.into_iter().map(|(_, _, place)| place).collect()
    }

    pub(super) fn text_at(&self, place: usize) -> Option<&Arc<str>> {
        self.messages.get(place).map(|message| &message.text)
    }

    pub(super) fn cut_at(&self, place: usize) -> Option<&Cut> {
        self.cuts.iter().find(|(at, _)| *at == place).map(|(_, cut)| cut)
    }

    /// Puts a shorter text in the place of another.
    pub(super) fn put_cut(&mut self, place: usize, text: Arc<str>, cut: Cut) {
        if let Some(message) = self.messages.get_mut(place) {
            message.text = text;
            self.cuts.retain(|(at, _)| *at != place);
            self.cuts.push((place, cut));
        }
    }
}
