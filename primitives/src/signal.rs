//! The vocabulary of signals. Numbers are ABI and never change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::suggest;

macro_rules! signals {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What can be raised against an agent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Signal { $($(#[$doc])* $variant = $number,)* }

        impl Signal {
            /// Every signal, in ascending number.
            pub const ALL: [Self; 12] = [$(Self::$variant,)*];

            /// The POSIX-style name, `SIG…`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

signals! {
    /// Park at the next checkpoint.
    Stop = 1, "SIGSTOP";
    /// Resume what was parked.
    Cont = 2, "SIGCONT";
    /// Finish the call in flight; the next one answers that it was interrupted, once.
    Int = 3, "SIGINT";
    /// Terminate now.
    Kill = 4, "SIGKILL";
    /// Shut down in an orderly way; becomes `SIGKILL` after the grace period.
    Term = 5, "SIGTERM";
    /// Take a checkpoint.
    Usr1 = 6, "SIGUSR1";
    /// Write a diagnostic dump.
    Usr2 = 7, "SIGUSR2";
    /// A policy was violated; terminates.
    Policy = 8, "SIGPOLICY";
    /// Trust was violated; terminates.
    Trust = 9, "SIGTRUST";
    /// A budget is exhausted; stops.
    Budget = 10, "SIGBUDGET";
    /// The same failing call over and over; stops.
    Loop = 11, "SIGLOOP";
    /// Output or goal drifts; stops.
    Drift = 12, "SIGDRIFT";
}

impl Signal {
    /// The ABI number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether an agent may hold the signal back. `SIGKILL`, `SIGPOLICY` and `SIGTRUST` never wait.
    #[must_use]
    pub const fn maskable(self) -> bool {
        !matches!(self, Self::Kill | Self::Policy | Self::Trust)
    }

    /// The signal with this ABI number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.number() == number)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal `{found}`{}", suggest::hint(nearest.as_deref()))]
pub struct UnknownSignal {
    found: String,
    nearest: Option<String>,
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    /// By name only: numbers differ between the tables people know.
    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        Self::ALL.into_iter().find(|signal| signal.name() == text).ok_or_else(|| UnknownSignal {
            found: text.to_owned(),
            nearest: suggest::nearest(text, Self::ALL.into_iter().map(Self::name)).map(str::to_owned),
        })
    }
}

impl Serialize for Signal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of signals: one bit each, bit = number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SignalSet(u16);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// The three that cannot be masked, caught or outwaited.
    pub const UNMASKABLE: Self = Self::EMPTY.with(Signal::Kill).with(Signal::Policy).with(Signal::Trust);

    /// The set plus one signal.
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << signal as u8)
    }

    /// The set less one signal.
    #[must_use]
    pub const fn without(self, signal: Signal) -> Self {
        Self(self.0 & !(1 << signal as u8))
    }

    /// Whether the signal is in the set.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & 1 << signal as u8 != 0
    }

    /// Whether the set holds no signal.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Signals in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Signals in this set and not in the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The bits, for storage in an atomic word.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Rebuilds a set from [`SignalSet::bits`]; bits that name no signal are dropped.
    #[must_use]
    pub fn from_bits(bits: u16) -> Self {
        Signal::ALL.into_iter().filter(|signal| bits & 1 << signal.number() != 0).collect()
    }

    /// The one to deliver first: the three unmaskable go ahead, then the lowest number.
    #[must_use]
    pub fn first(self) -> Option<Signal> {
        let urgent = Self(self.0 & Self::UNMASKABLE.0);
        let from = if urgent.is_empty() { self } else { urgent };
        Signal::ALL.into_iter().find(|signal| from.contains(*signal))
    }

    /// The members, in ascending number.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        Signal::ALL.into_iter().filter(move |signal| self.contains(*signal))
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        signals.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_contract() {
        let numbers: Vec<u8> = Signal::ALL.into_iter().map(Signal::number).collect();
        assert_eq!(numbers, (1..=12).collect::<Vec<u8>>());
    }

    #[test]
    fn only_three_cannot_be_masked() {
        let fixed: Vec<Signal> = Signal::ALL.into_iter().filter(|signal| !signal.maskable()).collect();
        assert_eq!(fixed, [Signal::Kill, Signal::Policy, Signal::Trust]);
        assert_eq!(fixed.into_iter().collect::<SignalSet>(), SignalSet::UNMASKABLE);
    }

    #[test]
    fn unmaskable_are_delivered_first_then_lowest_number() {
        let mut pending =
            [Signal::Int, Signal::Trust, Signal::Stop, Signal::Policy].into_iter().collect::<SignalSet>();
        let mut order = Vec::new();
        while let Some(signal) = pending.first() {
            order.push(signal);
            pending = pending.without(signal);
        }
        assert_eq!(order, [Signal::Policy, Signal::Trust, Signal::Stop, Signal::Int]);
    }

    #[test]
    fn names_parse_and_near_misses_are_explained() {
        for signal in Signal::ALL {
            assert_eq!(signal.name().parse(), Ok(signal));
        }
        assert_eq!(
            "SIGKILLL".parse::<Signal>().unwrap_err().to_string(),
            "unknown signal `SIGKILLL`; did you mean `SIGKILL`?"
        );
        assert!("9".parse::<Signal>().is_err());
    }

    #[test]
    fn bits_round_trip_and_foreign_bits_are_dropped() {
        assert_eq!(SignalSet::from_bits(SignalSet::UNMASKABLE.bits()), SignalSet::UNMASKABLE);
        assert_eq!(SignalSet::from_bits(1 | 1 << 13), SignalSet::EMPTY);
    }
}
