//! What there is on this machine to isolate programs with, and what each level comes to here.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::{GuaranteeSet, Level, Limits, Permissions};
use crate::executor::Executors;

/// What there is on this machine to isolate programs with, found out by trying, and what each executor makes of it.
///
/// It is for people and for monitoring. Nothing is decided by it: an executor answers for itself at each call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IsolationReport {
    /// The user whom the host runs as.
    pub uid: u32,
    /// The ABI of Landlock; absent where it is not there or not enabled. The sandbox needs 4.
    pub landlock_abi: Option<u32>,
    /// Whether Landlock also keeps signals and abstract sockets in, besides the namespaces.
    pub landlock_scopes: bool,
    /// Whether the kernel filters system calls, and there is a list for this processor.
    pub seccomp: bool,
    /// Whether this host can make namespaces of users.
    pub user_namespaces: bool,
    /// Whether it can make namespaces of the network in those.
    pub network_namespaces: bool,
    /// What control groups it can make; absent: none.
    pub cgroup: Option<CgroupReport>,
    /// Functions of the host, and each executor, from the least isolated to the most.
    pub levels: Vec<LevelReport>,
}

/// What control groups can do on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CgroupReport {
    /// The version of the hierarchy that limits memory and processes, 1 or 2.
    pub version: u8,
    /// What can be limited or counted, of `cpu`, `memory` and `pids`.
    pub controllers: Vec<String>,
    /// Whether a group can be stopped as one.
    pub freeze: bool,
    /// Whether a group can be killed as one.
    pub kill: bool,
}

/// Whether programs can be run at a level here, and what is guaranteed of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LevelReport {
    /// The level.
    pub level: Level,
    /// What is guaranteed of a program with no permissions and the default limits. Empty if none can be run.
    pub guarantees: GuaranteeSet,
    /// Why none can be run, for the host.
    pub unavailable: Option<String>,
}

impl IsolationReport {
    /// Looks at this machine, once in the life of the process, and asks each executor. It leaves nothing behind, and
    /// takes some 10 ms the first time.
    #[must_use]
    pub fn probe(executors: &Executors) -> Self {
        static MACHINE: OnceLock<IsolationReport> = OnceLock::new();
        let machine = MACHINE.get_or_init(Self::machine).clone();
        let function =
            LevelReport { level: Level::InProcess, guarantees: GuaranteeSet::NONE, unavailable: None };
        let asked = executors.iter().map(|executor| {
            let given = executor.guarantees(&Permissions::none(), &Limits::DEFAULT);
            let (guarantees, unavailable) = match given {
                Ok(guarantees) => (guarantees, None),
                Err(error) => {
                    let reason = error.host_detail().map_or_else(|| error.to_string(), Cow::into_owned);
                    (GuaranteeSet::NONE, Some(reason))
                }
            };
            LevelReport { level: executor.level(), guarantees, unavailable }
        });
        Self { levels: [function].into_iter().chain(asked).collect(), ..machine }
    }

    #[cfg(target_os = "linux")]
    fn machine() -> Self {
        use crate::executor::process::{self, cgroup::Cgroups, landlock, seccomp};

        let landlock_abi = landlock::abi();
        let groups = process::Process::new().groups().cloned().or_else(|| Cgroups::find(None));
        Self {
            uid: rustix::process::geteuid().as_raw(),
            landlock_abi,
            landlock_scopes: landlock_abi.is_some_and(|abi| landlock::SCOPED_ABI <= abi),
            seccomp: seccomp::is_there() && seccomp::programs().is_ok(),
            user_namespaces: process::makes_user_namespaces(),
            network_namespaces: process::makes_network_namespaces(),
            cgroup: groups.map(|groups| CgroupReport {
                version: groups.version(),
                controllers: ["cpu", "memory", "pids"]
                    .into_iter()
                    .filter(|name| groups.has(name))
                    .map(str::to_owned)
                    .collect(),
                freeze: groups.has("freeze"),
                kill: groups.has("kill"),
            }),
            levels: Vec::new(),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn machine() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            landlock_abi: None,
            landlock_scopes: false,
            seccomp: false,
            user_namespaces: false,
            network_namespaces: false,
            cgroup: None,
            levels: Vec::new(),
        }
    }
}
