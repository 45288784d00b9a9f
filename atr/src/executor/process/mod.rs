//! Programs as child processes that the kernel confines: in namespaces of their own, behind Landlock and seccomp.
//!
//! The host makes everything ready ([`plan`]) and has a process in new namespaces split off by one that it keeps for that
//! ([`zygote`]), which hands over the plan ([`handover`]). The new process becomes a user without rights, builds a root
//! out of what is granted and nothing else, and starts the program ([`child`]); it stays as the first process of the
//! namespace, reaps orphans and reports the end ([`report`]). It dies with the host, and the kernel kills whatever is left
//! in a namespace whose first process dies: that is what makes a kill final.
//!
//! | What | By |
//! |---|---|
//! | files | mount namespace with a root of its own, Landlock |
//! | network, other processes, the host's name | namespaces |
//! | system calls | seccomp |
//! | processes | control group if there is one, and `RLIMIT_NPROC` |
//! | memory | control group; without one, address space of each process, and no guarantee |
//! | signals that wait, timers | `RLIMIT_SIGPENDING` |
//! | processor time | control group if there is one, and `RLIMIT_CPU` for each process |
//! | stop | freezer if there is one, else `SIGSTOP` until nothing runs |

pub(crate) mod cgroup;
mod child;
mod control;
mod environment;
mod handover;
mod kept;
pub(crate) mod landlock;
mod launch;
mod plan;
mod report;
pub(crate) mod seccomp;
mod sys;
mod tree;
mod users;
mod zygote;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, OnceLock};

use libc::sock_filter;

use super::choice::without_fuel;
use super::{Artefact, Executor, Launch, Pending, Session};
use crate::error::ToolError;
use crate::isolation::{Guarantee, GuaranteeSet, Level, Limits, Permissions};
use cgroup::Cgroups;
use plan::unavailable;
use zygote::Zygote;

/// Runs programs in a sandbox made of what the Linux kernel offers. It works for root and for ordinary users, and
/// refuses to run anything where the kernel lacks namespaces of users, Landlock (ABI 4) or seccomp.
///
/// A program sees the folders that it was granted, `/scratch`, `/dev/null`, `/dev/zero`, `/dev/urandom`, and itself. It
/// runs as the user and group 65534. If the host is root, that user is nobody outside as well, and the host's own files
/// in granted folders are shown as belonging to it, where the file system can do that; others' files are strangers'. If
/// the host is an ordinary user, the program has that user's rights in granted folders, its groups' included.
///
/// Its environment is `PATH`, `LANG=C.UTF-8`, `HOME` and `TMPDIR` in `/scratch`, and that of its command. Variables whose
/// name is not of the form `[A-Z][A-Z0-9_]{0,63}`, or begins like one that steers a loader or an interpreter (`LD_`,
/// `PYTHON`, `GIT_` and so on), are refused.
///
/// Programs are split off by a child of the host that is made with the first of them and stays as long as the host, or as
/// the executor that [`Process::in_group`] made. It is made anew when the host has changed what a child inherits.
///
/// Memory in total is capped only where a control group can be made. [`Process::in_group`] names a folder of the unified
/// hierarchy that was delegated to the host.
#[derive(Clone, Debug)]
pub struct Process(Arc<Probed>);

#[derive(Debug, Default)]
struct Probed {
    beneath: Option<PathBuf>,
    host: OnceLock<Result<Host, String>>,
}

/// What this host can do.
#[derive(Debug)]
struct Host {
    zygote: Zygote,
    groups: Option<Cgroups>,
    /// By whom files of a host that is root are shown as the program's; see [`users::of_host`].
    users: Option<OwnedFd>,
    filters: &'static [Vec<sock_filter>],
}

impl Process {
    /// With control groups beneath the host's own, if it may make any.
    #[must_use]
    pub fn new() -> Self {
        static HOST: LazyLock<Arc<Probed>> = LazyLock::new(Arc::default);
        Self(Arc::clone(&HOST))
    }

    /// With control groups beneath a folder of the unified hierarchy that was delegated to the host.
    #[must_use]
    pub fn in_group(folder: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Probed { beneath: Some(folder.into()), host: OnceLock::new() }))
    }

    /// The control groups that it makes; `None`: none, or it cannot run anything.
    pub(crate) fn groups(&self) -> Option<&Cgroups> {
        self.host().ok()?.groups.as_ref()
    }

    fn host(&self) -> Result<&Host, ToolError> {
        let host = self.0.host.get_or_init(|| Host::probe(&self.0));
        host.as_ref().map_err(unavailable)
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    fn probe(probed: &Probed) -> Result<Self, String> {
        static FILTERS: LazyLock<Result<[Vec<sock_filter>; 3], String>> = LazyLock::new(seccomp::programs);
        landlock::Rules::new().map_err(|error| format!("Landlock: {error}"))?;
        let filters = FILTERS.as_ref().map_err(|error| format!("seccomp: {error}"))?;
        if !seccomp::is_there() {
            return Err("seccomp: the kernel does not filter system calls".to_owned());
        }
        let zygote = Zygote::default();
        zygote.probe(sys::ALL_NAMESPACES).map_err(|error| format!("namespaces: {error}"))?;
        let users = users::of_host(&zygote);
        Ok(Self { zygote, groups: Cgroups::find(probed.beneath.as_deref()), users, filters })
    }

    fn caps_memory(&self) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups.has("memory"))
    }

    fn filters(&self) -> &'static [Vec<sock_filter>] {
        self.filters
    }

    fn guarantees(&self) -> GuaranteeSet {
        let all: GuaranteeSet = Guarantee::ALL.into_iter().collect();
        if self.caps_memory() { all } else { all.without(Guarantee::MemoryCapTotal) }
    }
}

/// Whether this host can make namespaces of users.
pub(crate) fn makes_user_namespaces() -> bool {
    makes_namespaces(sys::NEW_USER).is_ok()
}

/// Whether this host can make namespaces of the network in those.
pub(crate) fn makes_network_namespaces() -> bool {
    makes_namespaces(sys::NEW_USER | sys::NEW_NETWORK).is_ok()
}

fn makes_namespaces(namespaces: u64) -> io::Result<()> {
    let (_, process) = sys::split(namespaces, |(): &()| sys::exit(0), &())?;
    sys::reap(process.as_fd())
}

impl Executor for Process {
    fn level(&self) -> Level {
        Level::Process
    }

    fn takes(&self, artefact: &Artefact) -> bool {
        matches!(artefact, Artefact::Command(_))
    }

    fn guarantees(&self, permissions: &Permissions, limits: &Limits) -> Result<GuaranteeSet, ToolError> {
        without_fuel(Level::Process, limits)?;
        permissions.check().map_err(unavailable)?;
        self.host().map(Host::guarantees)
    }

    fn start(&self, launch: Launch) -> Pending<'_, Result<Session, ToolError>> {
        Box::pin(async move { launch::start(self.host()?, launch).await })
    }
}
