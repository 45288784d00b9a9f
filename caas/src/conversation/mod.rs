//! A window over a conversation: the newest that fits, word for word.
//!
//! Nothing is summarised. What leaves the window leaves as a whole group, a question or an answer with its calls and their
//! results, and goes to the archive of the host first. Where there is none, it is counted as dropped.

mod elide;
mod facts;
mod group;
mod window;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use facts::facts;
pub use group::{Call, Message, Role};

use crate::tokens::TokenCounter;
use group::Group;
use window::Window;

/// Names a group of messages in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub(crate) u64);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group-{}", self.0)
    }
}

/// How much of a conversation is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of everything in the window: pinned groups, facts and the rest.
    pub tokens: usize,
    /// Questions in the window, pinned ones aside.
    pub turns: usize,
    /// Tokens of the facts kept of what left; at most half of `tokens`.
    pub facts: usize,
    /// Tokens that a message costs besides its text.
    pub per_message: usize,
    /// Whether the first question stays for good.
    pub pin_first_question: bool,
}

impl Default for Limits {
    /// 8000 tokens, 10 questions, 256 tokens of facts, 4 tokens a message; the first question stays.
    fn default() -> Self {
        Self { tokens: 8000, turns: 10, facts: 256, per_message: 4, pin_first_question: true }
    }
}

/// What is given to an archive.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Archived<'a> {
    /// A group that leaves the window.
    Group(GroupId, &'a [Message]),
    /// The whole text of a message of which the window keeps both ends.
    Text(GroupId, &'a str),
    /// An answer to a group that has left.
    Late(GroupId, &'a Message),
}

/// Where a conversation puts what its window has no room for.
pub trait Archive: fmt::Debug + Send + Sync {
    /// Keeps it, and answers the name under which it is found again.
    ///
    /// # Errors
    /// Whatever the archive says; the conversation stays as it was, and refuses what made it too large.
    fn keep(&self, archived: Archived<'_>) -> Result<String, Box<dyn Error + Send + Sync>>;
}

/// Why a conversation refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// Limits that hold nothing.
    #[error("a conversation needs {0}")]
    BadLimits(&'static str),
    /// What stays for good does not fit.
    #[error("pinned messages have {need} tokens, the window has {limit}")]
    PinsExceedBudget {
        /// Their tokens.
        need: usize,
        /// What there is.
        limit: usize,
    },
    /// A group that does not fit even with its texts cut to nothing.
    #[error("a group needs {need} tokens, the window has {limit}")]
    GroupExceedsBudget {
        /// Its tokens, its texts cut.
        need: usize,
        /// What is left for it.
        limit: usize,
    },
    /// A result of a call that nobody made, or that has its result.
    #[error("no call `{0}` waits for a result")]
    UnknownCall(String),
    /// Something other than a result while calls wait for theirs.
    #[error("{0} calls wait for their results")]
    CallsPending(usize),
    /// Two calls of one name.
    #[error("call `{0}` is made twice")]
    DuplicateCall(String),
    /// A group that never was.
    #[error("`{0}` is no group of this conversation")]
    UnknownGroup(GroupId),
    /// The archive refused; nothing has left the window.
    #[error("the archive refused")]
    Archive {
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ConversationError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadLimits(_) => "AK0653",
            Self::PinsExceedBudget { .. } => "AK0654",
            Self::GroupExceedsBudget { .. } => "AK0655",
            Self::UnknownCall(_) => "AK0656",
            Self::CallsPending(_) => "AK0657",
            Self::DuplicateCall(_) => "AK0658",
            Self::UnknownGroup(_) => "AK0659",
            Self::Archive { .. } => "AK0660",
        }
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The group it is in.
    pub group: GroupId,
    /// The groups that left for it, oldest first.
    pub evicted: Vec<GroupId>,
}

/// What became of an answer that came late.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Late {
    /// It follows what it answers.
    Kept(Placed),
    /// What it answers has left, and the answer went after it: its name in the archive, or nothing where there is none.
    Evicted(Option<String>),
}

/// What left and is in no archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Groups.
    pub groups: u64,
    /// Answers that came late.
    pub late: u64,
    /// Bytes of text, of both and of texts that were cut.
    pub bytes: u64,
}

/// What a model is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The messages in order. It starts with no result, and holds no call without its results.
    pub messages: Vec<&'a Message>,
    /// What is remembered of what left, newest last; word for word.
    pub facts: Vec<&'a str>,
    /// Tokens of both.
    pub tokens: usize,
}

/// A conversation, and the window over it.
#[derive(Clone, Debug)]
pub struct Conversation {
    limits: Limits,
    counter: Arc<dyn TokenCounter>,
    archive: Option<Arc<dyn Archive>>,
    window: Window,
}

impl Conversation {
    /// An empty conversation without an archive.
    ///
    /// # Errors
    /// `BadLimits` for no tokens, no turns, or facts that take more than half of the tokens.
    pub fn new(limits: Limits, counter: Arc<dyn TokenCounter>) -> Result<Self, ConversationError> {
        let missing = match limits {
            Limits { tokens: 0, .. } => Some("at least one token"),
            Limits { turns: 0, .. } => Some("at least one turn"),
            Limits { tokens, facts, .. } if tokens / 2 < facts => Some("facts in at most half of its tokens"),
            _ => None,
        };
        match missing {
            Some(missing) => Err(ConversationError::BadLimits(missing)),
            None => Ok(Self { limits, counter, archive: None, window: Window::default() }),
        }
    }

    /// With an archive for what leaves.
    #[must_use]
    pub fn with_archive(mut self, archive: Arc<dyn Archive>) -> Self {
        self.archive = Some(archive);
        self
    }

    /// Adds a message. System messages stay for good, and so does the first question where the limits say so.
    ///
    /// # Errors
    /// [`ConversationError`]; the conversation is as before, though the archive may have been given what did not leave in the end.
    pub fn push(&mut self, message: Message) -> Result<Placed, ConversationError> {
        let first = message.role() == Role::User && !self.window.has_had_question();
        let pinned = message.role() == Role::System || first && self.limits.pin_first_question;
        self.place(message, pinned)
    }

    /// Adds a message that stays for good.
    ///
    /// # Errors
    /// As [`Conversation::push`].
    pub fn push_pinned(&mut self, message: Message) -> Result<Placed, ConversationError> {
        self.place(message, true)
    }

    fn place(&mut self, message: Message, pinned: bool) -> Result<Placed, ConversationError> {
        self.change(|window| window.push(message, pinned))
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Window) -> Result<GroupId, ConversationError>,
    ) -> Result<Placed, ConversationError> {
        // Texts are shared, so this copies little; a change that fails leaves no trace.
        let mut window = self.window.clone();
        let group = change(&mut window)?;
        let evicted = window.fit(&self.limits, &*self.counter, self.archive.as_deref())?;
        self.window = window;
        Ok(Placed { group, evicted })
    }

    /// Adds an answer to an earlier group, behind it.
    ///
    /// # Errors
    /// `UnknownGroup`; else as [`Conversation::push`].
    pub fn respond(&mut self, to: GroupId, text: &str) -> Result<Late, ConversationError> {
        let message = Message::assistant(text);
        if self.window.holds(to) {
            return self.change(|window| window.insert_after(to, message)).map(Late::Kept);
        }
        if !self.window.has_had(to) {
            return Err(ConversationError::UnknownGroup(to));
        }
        let Some(archive) = &self.archive else {
            self.window.drop_late(text.len());
            return Ok(Late::Evicted(None));
        };
        let kept = archive.keep(Archived::Late(to, &message));
        kept.map(|name| Late::Evicted(Some(name))).map_err(|source| ConversationError::Archive { source })
    }

    /// What a model is shown. Calls whose results are not all there are left out.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        let shown = self.window.groups().filter(|group| group.is_complete());
        let messages: Vec<&Message> = shown.clone().flat_map(Group::messages).collect();
        let tokens = shown.map(|group| group.tokens(&self.limits, &*self.counter)).sum::<usize>();
        let facts = self.window.facts();
        View { messages, tokens: tokens + facts.tokens(&*self.counter), facts: facts.iter().collect() }
    }

    /// The newest `groups` of the window, in order.
    #[must_use]
    pub fn recent(&self, groups: usize) -> Vec<&[Message]> {
        let mut recent: Vec<_> = self.window.groups().rev().take(groups).map(Group::messages).collect();
        recent.reverse();
        recent
    }

    /// What left and is in no archive.
    #[must_use]
    pub const fn dropped(&self) -> Dropped {
        self.window.dropped()
    }
}

#[cfg(test)]
mod tests;
