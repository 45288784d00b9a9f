//! What a daemon can enforce.

use bollard::models::{SystemInfo, SystemInfoCgroupDriverEnum, SystemVersion};

use crate::isolation::{Guarantee, GuaranteeSet};

/// What one daemon says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Daemon {
    /// As Go names them.
    pub(super) system: String,
    pub(super) architecture: String,
    /// The folder with its own files.
    pub(super) root: String,
    pub(super) seccomp: bool,
    pub(super) memory: bool,
    pub(super) processes: bool,
    pub(super) freezer: bool,
    /// Whether a container can be held to a share of the processors.
    pub(super) quota: bool,
    /// How many processors there are.
    pub(super) processors: u32,
}

impl Daemon {
    pub(super) fn new(version: SystemVersion, info: SystemInfo) -> Result<Self, String> {
        let system = version.os.unwrap_or_default();
        if system != "linux" {
            return Err(format!("the daemon runs on `{system}`, not on Linux"));
        }
        let known = |flag: Option<bool>| flag == Some(true);
        let options = info.security_options.unwrap_or_default();
        let driver = info.cgroup_driver.unwrap_or(SystemInfoCgroupDriverEnum::EMPTY);
        let grouped =
            matches!(driver, SystemInfoCgroupDriverEnum::CGROUPFS | SystemInfoCgroupDriverEnum::SYSTEMD);
        Ok(Self {
            system,
            architecture: version.arch.unwrap_or_default(),
            root: info.docker_root_dir.unwrap_or_default(),
            seccomp: options.iter().any(|option| option.split(',').any(|part| part == "name=seccomp")),
            // Without an account of swap, a limit on memory is none on what is swapped out.
            memory: grouped && known(info.memory_limit) && known(info.swap_limit),
            processes: grouped && known(info.pids_limit),
            freezer: grouped,
            quota: grouped && known(info.cpu_cfs_period) && known(info.cpu_cfs_quota),
            processors: info.ncpu.and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1),
        })
    }

    /// What holds of a container of ours.
    pub(super) fn guarantees(&self) -> GuaranteeSet {
        let always = [Guarantee::NoNetwork, Guarantee::FsConfined, Guarantee::NoHostEnv];
        let if_there = [
            (self.memory, Guarantee::MemoryCapTotal),
            (self.processes, Guarantee::PidsCap),
            (self.freezer, Guarantee::HardStop),
            (self.seccomp, Guarantee::SyscallFilter),
        ];
        let there = if_there.into_iter().filter(|(there, _)| *there).map(|(_, guarantee)| guarantee);
        always.into_iter().chain(there).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> SystemInfo {
        SystemInfo {
            memory_limit: Some(true),
            swap_limit: Some(true),
            pids_limit: Some(true),
            cpu_cfs_period: Some(true),
            cpu_cfs_quota: Some(true),
            cgroup_driver: Some(SystemInfoCgroupDriverEnum::CGROUPFS),
            security_options: Some(vec!["name=seccomp,profile=default".to_owned()]),
            ..SystemInfo::default()
        }
    }

    fn lacking(info: SystemInfo) -> Vec<Guarantee> {
        let version = SystemVersion { os: Some("linux".to_owned()), ..SystemVersion::default() };
        let given = Daemon::new(version, info).unwrap().guarantees();
        let all: GuaranteeSet = Guarantee::ALL.into_iter().collect();
        all.missing_from(given).iter().collect()
    }

    #[test]
    fn what_the_daemon_cannot_enforce_is_not_guaranteed() {
        use Guarantee::{HardStop, MemoryCapTotal, PidsCap, SyscallFilter};
        let cases = [
            (info(), vec![]),
            (SystemInfo { swap_limit: Some(false), ..info() }, vec![MemoryCapTotal]),
            (SystemInfo { memory_limit: None, ..info() }, vec![MemoryCapTotal]),
            (SystemInfo { pids_limit: Some(false), ..info() }, vec![PidsCap]),
            (SystemInfo { security_options: None, ..info() }, vec![SyscallFilter]),
            (
                SystemInfo { cgroup_driver: Some(SystemInfoCgroupDriverEnum::NONE), ..info() },
                vec![MemoryCapTotal, PidsCap, HardStop],
            ),
        ];
        for (info, expected) in cases {
            assert_eq!(lacking(info), expected);
        }
    }

    #[test]
    fn a_daemon_elsewhere_than_on_linux_is_refused() {
        let version = SystemVersion { os: Some("windows".to_owned()), ..SystemVersion::default() };
        assert!(Daemon::new(version, info()).is_err());
    }
}
