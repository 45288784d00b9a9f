//! Levels of isolation, and what each is worth.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where code of a tool runs, from the least to the most isolated.
///
/// A level is a place, not a promise: what was really in force is a [`GuaranteeSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// In the host's own address space. It is trusted with the host's memory, files and network, and code of it that
    /// never awaits can be stopped by nothing.
    InProcess,
    /// A child process with the host's rights.
    Child,
    /// A child process in namespaces of its own, behind Landlock and seccomp.
    Process,
    /// WebAssembly, which reaches nothing but what it is handed.
    Wasm,
    /// A container of its own for each call.
    Container,
    /// A virtual machine with a kernel of its own. No executor of this crate offers it.
    MicroVm,
}

impl Level {
    /// The word used in contracts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProcess => "in_process",
            Self::Child => "child",
            Self::Process => "process",
            Self::Wasm => "wasm",
            Self::Container => "container",
            Self::MicroVm => "micro_vm",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that holds of a running program, whatever it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Guarantee {
    /// It reaches no network, loopback included.
    NoNetwork,
    /// It reaches no file but those it was granted.
    FsConfined,
    /// All of its processes and files in memory together stay below the memory limit.
    MemoryCapTotal,
    /// It cannot have more processes and threads than its limit.
    PidsCap,
    /// It can be stopped and killed at any instruction, with everything it has started.
    HardStop,
    /// It sees no environment variable of the host.
    NoHostEnv,
    /// It can make only the system calls of a list.
    SyscallFilter,
}

impl Guarantee {
    /// Every guarantee there is.
    pub const ALL: [Self; 7] = [
        Self::NoNetwork,
        Self::FsConfined,
        Self::MemoryCapTotal,
        Self::PidsCap,
        Self::HardStop,
        Self::NoHostEnv,
        Self::SyscallFilter,
    ];

    /// The word used in contracts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoNetwork => "no_network",
            Self::FsConfined => "fs_confined",
            Self::MemoryCapTotal => "memory_cap_total",
            Self::PidsCap => "pids_cap",
            Self::HardStop => "hard_stop",
            Self::NoHostEnv => "no_host_env",
            Self::SyscallFilter => "syscall_filter",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of guarantees. Serialises as the list of their words.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Guarantee>", into = "Vec<Guarantee>")]
pub struct GuaranteeSet(u8);

impl GuaranteeSet {
    /// No guarantee at all.
    pub const NONE: Self = Self(0);

    /// This set and one more.
    #[must_use]
    pub const fn with(self, guarantee: Guarantee) -> Self {
        Self(self.0 | 1 << guarantee as u8)
    }

    /// This set without one.
    #[must_use]
    pub const fn without(self, guarantee: Guarantee) -> Self {
        Self(self.0 & !(1 << guarantee as u8))
    }

    /// Whether the guarantee is in the set.
    #[must_use]
    pub const fn contains(self, guarantee: Guarantee) -> bool {
        self.0 & 1 << guarantee as u8 != 0
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn missing_from(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The smaller of two sets; this one if they are as large.
    pub(crate) fn fewer(self, other: Self) -> Self {
        if other.0.count_ones() < self.0.count_ones() { other } else { self }
    }

    /// The guarantees in the set.
    pub fn iter(self) -> impl Iterator<Item = Guarantee> {
        Guarantee::ALL.into_iter().filter(move |guarantee| self.contains(*guarantee))
    }
}

impl FromIterator<Guarantee> for GuaranteeSet {
    fn from_iter<I: IntoIterator<Item = Guarantee>>(guarantees: I) -> Self {
        guarantees.into_iter().fold(Self::NONE, Self::with)
    }
}

impl From<Vec<Guarantee>> for GuaranteeSet {
    fn from(guarantees: Vec<Guarantee>) -> Self {
        guarantees.into_iter().collect()
    }
}

impl From<GuaranteeSet> for Vec<Guarantee> {
    fn from(set: GuaranteeSet) -> Self {
        set.iter().collect()
    }
}

impl fmt::Debug for GuaranteeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for GuaranteeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, guarantee) in self.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(guarantee.as_str())?;
        }
        Ok(())
    }
}

/// What must hold wherever a tool runs. A call for which it does not is refused; nothing is ever run with less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxPolicy {
    /// The least isolated level that will do.
    pub min: Level,
    /// What must be guaranteed there.
    #[serde(default)]
    pub require: GuaranteeSet,
}

impl SandboxPolicy {
    /// For functions of the host: anywhere, nothing guaranteed.
    pub const HOST: Self = Self { min: Level::InProcess, require: GuaranteeSet::NONE };

    /// For programs: a sandboxed process or better, without network, host files or host environment, stoppable at any
    /// instruction, and unable to multiply.
    pub const CONFINED: Self = Self {
        min: Level::Process,
        require: GuaranteeSet::NONE
            .with(Guarantee::NoNetwork)
            .with(Guarantee::FsConfined)
            .with(Guarantee::PidsCap)
            .with(Guarantee::HardStop)
            .with(Guarantee::NoHostEnv),
    };

    /// At least `min`, with no guarantee asked for beyond it.
    #[must_use]
    pub const fn at_least(min: Level) -> Self {
        Self { min, require: GuaranteeSet::NONE }
    }

    /// The same and one guarantee more.
    #[must_use]
    pub const fn requiring(self, guarantee: Guarantee) -> Self {
        Self { min: self.min, require: self.require.with(guarantee) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_everywhere() {
        for guarantee in Guarantee::ALL {
            assert_eq!(serde_json::to_value(guarantee).unwrap(), guarantee.as_str());
        }
        let set: GuaranteeSet = Guarantee::ALL.into_iter().collect();
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<GuaranteeSet>(&text).unwrap(), set);
        assert!(serde_json::from_str::<GuaranteeSet>(r#"["no_netwrok"]"#).is_err());
    }

    #[test]
    fn what_is_missing_is_what_only_the_first_set_has() {
        let wanted = GuaranteeSet::NONE.with(Guarantee::NoNetwork).with(Guarantee::HardStop);
        let have = GuaranteeSet::NONE.with(Guarantee::HardStop).with(Guarantee::PidsCap);
        assert_eq!(wanted.missing_from(have), GuaranteeSet::NONE.with(Guarantee::NoNetwork));
    }
}
