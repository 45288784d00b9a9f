//! Detectors of sensitive data: shapes that are checked, not only matched.
//!
//! A card number has to belong to an issuer and pass Luhn's test, an IBAN its remainder, a token its header. [`scan`]
//! looks at a text as it is written; [`find`] looks through its [disguises](crate::text) as well. Both take time linear
//! in the text. A detector cannot know everything that is sensitive: "found" is reliable, "not found" says only that no
//! known shape is there.
//!
//! [`injection`] is of another sort. It is a heuristic over wording, and advisory: it may raise a flag for somebody to
//! look at, and decides nothing.

mod contact;
mod credential;
pub mod injection;
pub(crate) mod key;
mod number;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::suggest;
use crate::text::{Form, Incomplete, Limits, each_view};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What a detector looks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: [Self; 9] = [$(Self::$variant,)*];

            /// The name in policies.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// A payment card number: a known issuer's range and length, Luhn's test; digits together or in the groups printed on
    /// cards.
    Card = "card";
    /// An international bank account number: its country's length, remainder 1 modulo 97 (ISO 13616).
    Iban = "iban";
    /// A social security number of the United States, as `AAA-GG-SSSS`, or nine digits said to be one; no area, group or
    /// serial that was never given out.
    Ssn = "ssn";
    /// An e-mail address with a domain of two labels or more.
    Email = "email";
    /// A telephone number: `+` and 8 to 15 digits (E.164), or ten digits in North American groups.
    Phone = "phone";
    /// A key or token of a service that marks its own: AWS, GitHub, GitLab, OpenAI, Anthropic, Slack, Google, Stripe,
    /// SendGrid, npm, PyPI, Hugging Face, DigitalOcean.
    Key = "api_key";
    /// A JSON web token: its first part is a JSON object that names an algorithm.
    Jwt = "jwt";
    /// A private key in PEM; everything to its end line, or to the end of the text.
    PrivateKey = "private_key";
    /// A secret that is said to be one: `password=…`, `"token": "…"`, `Bearer …`, a URL with a password.
    Credential = "credential";
}

impl Kind {
    /// The kind of this name.
    ///
    /// # Errors
    /// No kind has this name.
    pub fn parse(name: &str) -> Result<Self, UnknownKind> {
        name.parse()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown detector `{found}`{}", suggest::hint(nearest.as_deref()))]
pub struct UnknownKind {
    found: String,
    nearest: Option<String>,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind {
            found: text.chars().take(64).collect(),
            nearest: suggest::nearest(text, Self::ALL.into_iter().map(Self::name)).map(str::to_owned),
        })
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KindSet(u16);

impl KindSet {
    /// No kind.
    pub const EMPTY: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self((1 << Kind::ALL.len()) - 1);

    /// The set plus one kind.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u16)
    }

    /// Whether the kind is in the set.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }

    /// Whether the set holds no kind.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds, in the order of [`Kind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<Kind> for KindSet {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// Something sensitive in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where it is, in bytes; always at character boundaries.
    pub range: Range<usize>,
}

/// What is sensitive in a text as it is written: kind by kind in the order of [`Kind::ALL`], each from left to right without
/// overlap. Lazy; the whole takes time linear in the text.
pub fn scan(text: &str, kinds: KindSet) -> impl Iterator<Item = Finding> + '_ {
    kinds.iter().flat_map(move |kind| detector(kind, text).map(move |range| Finding { kind, range }))
}

/// The ranges of one kind.
fn detector(kind: Kind, text: &str) -> Box<dyn Iterator<Item = Range<usize>> + '_> {
    match kind {
        Kind::Card => Box::new(number::cards(text)),
        Kind::Iban => Box::new(number::ibans(text)),
        Kind::Ssn => Box::new(number::ssns(text)),
        Kind::Email => Box::new(contact::emails(text)),
        Kind::Phone => Box::new(contact::phones(text)),
        Kind::Key | Kind::Jwt | Kind::PrivateKey => Box::new(key::keys(text, kind)),
        Kind::Credential => Box::new(credential::credentials(text)),
    }
}

/// Something sensitive in a reading of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is.
    pub kind: Kind,
    /// Where it is in the text, in bytes; `None` if it shows only in another reading.
    pub range: Option<Range<usize>>,
}

/// The first sensitive thing that shows in any reading of a text.
///
/// # Errors
/// Nothing was found, but not all readings could be looked at: see [`Incomplete`].
pub fn find(text: &str, kinds: KindSet, limits: &Limits) -> Result<Option<Seen>, Incomplete> {
    let found = each_view(text, limits, |view| {
        let kinds = match view.form {
            Form::Plain | Form::Clean | Form::Joined => kinds,
            // Other forms have lost what keys are told by, and show nothing new to the rest.
            Form::Skeleton | Form::Compact => kinds.iter().filter(|kind| is_caseless(*kind)).collect(),
            Form::Folded | Form::Spaced => KindSet::EMPTY,
        };
        match scan(view.text, kinds).next() {
            Some(Finding { kind, range }) => {
                let own = view.layer == 0 && view.form == Form::Plain;
                ControlFlow::Break(Seen { kind, range: own.then_some(range) })
            }
            None => ControlFlow::Continue(()),
        }
    })?;
    Ok(found.break_value())
}

/// Whether a kind is still itself in lower case.
const fn is_caseless(kind: Kind) -> bool {
    matches!(kind, Kind::Card | Kind::Iban | Kind::Ssn | Kind::Email | Kind::Phone)
}

#[cfg(test)]
mod tests;
